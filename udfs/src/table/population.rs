//! What a table function counts, so that every number can be turned into the rows behind it.

use std::sync::Arc;

use crate::definition::resolve::ResolvedFunnel;

/// The rows that a function counts, how they fall into cells, and which of them each number counts.
///
/// The function's own query and [`funnel_drill`](super::funnel_drill) are both written from it, so a count and
/// its list can't be of different rows.
pub struct Population {
    /// The funnel.
    pub funnel: Arc<ResolvedFunnel>,
    /// SQL of a relation with one row for each thing that is counted, and the columns of `journeys`.
    pub rows: String,
    /// Whether `rows` has the columns of `journey_stages` too.
    pub of_stages: bool,
    /// What tells cells apart: names, and SQL over `rows`.
    pub cell: Vec<(String, String)>,
    /// Names of the key's cell that stand as `:name` in the conditions of `counts`.
    pub parameters: Vec<&'static str>,
    /// Each number: the name of its column, and the condition of the rows that it counts.
    pub counts: Vec<(&'static str, String)>,
}

impl Population {
    /// `count(*) FILTER (WHERE …) AS name` of every number.
    pub fn counted(&self) -> Vec<String> {
        let counts = self.counts.iter();
        counts
            .map(|(name, condition)| match condition.as_str() {
                "true" => format!("count(*) AS {name}"),
                condition => format!("count(*) FILTER (WHERE {condition}) AS {name}"),
            })
            .collect()
    }
}
