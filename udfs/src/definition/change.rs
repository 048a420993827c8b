//! A change that was made to a stage, and what its reviews found.
//!
//! `CREATE CHANGE` keeps a [`ChangeDefinition`]; `REVIEW CHANGE` adds a [`Review`] to it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::{identifier, literal};
use crate::error::{FunnelError, Kind};

/// What was changed, where and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeDefinition {
    /// Its name.
    pub name: String,
    /// The funnel.
    pub funnel: String,
    /// The stage whose conversion to the next one it is meant to raise.
    pub stage: String,
    /// From when on it acts, as it was written: a date or timestamp, of the session's time zone where it says none.
    pub at: String,
    /// The condition of the journeys that it acts on; all of them where absent. The others are the control.
    #[serde(default)]
    pub segment: Option<String>,
    /// What was done.
    #[serde(default)]
    pub note: Option<String>,
    /// Whether the stage was chosen because it was the worst.
    #[serde(default)]
    pub because_worst: bool,
}

impl ChangeDefinition {
    /// The statement that makes it, under another name and from another time on where they are given.
    pub fn statement(&self, name: &str, at: &str) -> String {
        let mut sql = format!(
            "CREATE CHANGE {} ON FUNNEL {} STAGE {} AT {}",
            identifier(name),
            identifier(&self.funnel),
            identifier(&self.stage),
            literal(at)
        );
        if let Some(segment) = &self.segment {
            sql.push_str(&format!("\n  SEGMENT {segment}"));
        }
        if self.because_worst {
            sql.push_str("\n  BECAUSE WORST");
        }
        if let Some(note) = &self.note {
            sql.push_str(&format!("\n  NOTE {}", literal(note)));
        }
        sql.push(';');
        sql
    }
}

impl fmt::Display for ChangeDefinition {
    /// Writes `CREATE CHANGE …`, so that running it gives an equal definition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.statement(&self.name, &self.at))
    }
}

/// What a review found of the changed stage's conversion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Review {
    /// When it was made, RFC 3339.
    pub reviewed_at: String,
    /// Up to when things were known to it.
    pub as_of: String,
    /// `stage_conversion`.
    pub metric: String,
    /// `did`, `its`, `difference`; nothing where there was nothing to compare.
    pub method: Option<String>,
    /// The rate that was expected without the change.
    pub counterfactual: Option<f64>,
    /// The rate after it.
    pub after: Option<f64>,
    /// The one less the other.
    pub effect: Option<f64>,
    /// The lower limit of its 95 % interval.
    pub lo: Option<f64>,
    /// The upper limit.
    pub hi: Option<f64>,
    /// `proven`, `no_effect`, `harmful`, `too_early`, `weak_evidence`.
    pub decision: String,
    /// The decision in words.
    pub verdict: String,
}

impl Review {
    /// The decision that makes a change a template.
    pub const PROVEN: &'static str = "proven";
}

/// A change with its reviews.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptChange {
    /// The change.
    pub definition: ChangeDefinition,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// The reviews, oldest first.
    #[serde(default)]
    pub reviews: Vec<Review>,
}

impl KeptChange {
    /// The newest review.
    pub fn latest(&self) -> Option<&Review> {
        self.reviews.last()
    }

    /// The statement that does the same again, with the time left to fill in; nothing unless the latest review calls
    /// it proven.
    pub fn reuse(&self) -> Option<String> {
        self.latest()
            .filter(|review| review.decision == Review::PROVEN)?;
        let name = format!("{}_again", self.definition.name);
        Some(self.definition.statement(&name, "YYYY-MM-DD"))
    }
}

/// That there is no change of that name.
pub fn unknown_change(name: &str, existing: &[String]) -> FunnelError {
    FunnelError::Unknown {
        kind: Kind::Change,
        name: name.to_owned(),
        place: String::new(),
        existing: existing.to_vec(),
    }
}
