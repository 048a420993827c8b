//! What a funnel is: the clauses of `CREATE FUNNEL`, as data.
//!
//! Expressions are kept as the SQL that the user wrote. They get their meaning when the funnel is
//! resolved against its source ([`super::resolve`]), so a definition outlives a change of its table.

use std::fmt;

use datafusion::arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
use datafusion::arrow::datatypes::IntervalMonthDayNano;
use serde::{Deserialize, Serialize};

use super::related::RelatedDefinition;
use crate::error::FunnelError;

/// A funnel as its owner defined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunnelDefinition {
    /// The funnel's name, unique in its catalog.
    pub name: String,
    /// Where the rows come from.
    pub source: Source,
    /// The expression that tells the entities (leads, deals, customers) apart.
    pub entity: String,
    /// When a row happened; `None` where every stage has its own `AT`.
    pub time: Option<String>,
    /// The stages, first to last; at least two.
    pub stages: Vec<StageDefinition>,
    /// What ends a journey without success.
    pub lost: Option<LostDefinition>,
    /// What a journey is worth.
    pub value: Option<String>,
    /// Who is responsible for it.
    pub owner: Option<String>,
    /// Attributes to break numbers down by.
    pub dimensions: Vec<Dimension>,
    /// How long a journey may take from its start; unlimited where absent.
    pub window: Option<Interval>,
    /// How entries count, unless a query says otherwise.
    #[serde(default)]
    pub counting: Counting,
    /// What the journeys are looked at together with; at most one of each kind.
    #[serde(default)]
    pub related: Vec<RelatedDefinition>,
    /// What `COMMENT ON FUNNEL` said.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Where a funnel's rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A table or view, as written: `crm.events`.
    Table(String),
    /// A query, without its parentheses.
    Query(String),
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageDefinition {
    /// Any text.
    pub name: String,
    /// The condition of a row that enters the stage; every row with a time where absent.
    pub when: Option<String>,
    /// The stage's own time, in a wide table.
    pub at: Option<String>,
    /// How soon the stage should follow the one before (a service level, no filter).
    pub within: Option<Interval>,
}

/// What ends a journey without success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostDefinition {
    /// The condition of a row that ends the journey.
    pub when: Option<String>,
    /// The loss's own time, in a wide table.
    pub at: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// An attribute to break numbers down by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// The column's name in the results.
    pub name: String,
    /// Its value.
    pub expression: String,
}

/// How entries into stages count; see [`crate::aggregate::journey`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Counting {
    /// A later stage counts for the ones it skipped.
    #[default]
    Ordered,
    /// Every stage, one after the other.
    Strict,
    /// Each stage by itself.
    Any,
}

impl Counting {
    /// The names that SQL accepts, in the order of their documentation.
    pub const NAMES: [&'static str; 3] = ["ordered", "strict", "any"];

    /// The counting that SQL calls `name`, in any case.
    ///
    /// # Errors
    /// 22023 with the list of names.
    pub fn parse(name: &str) -> Result<Self, FunnelError> {
        match name.to_lowercase().as_str() {
            "ordered" => Ok(Counting::Ordered),
            "strict" => Ok(Counting::Strict),
            "any" => Ok(Counting::Any),
            _ => Err(FunnelError::InvalidArgument {
                message: format!("\"{name}\" is not a way of counting"),
                hint: format!("Write one of: {}.", Self::NAMES.join(", ")),
            }),
        }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Counting::Ordered => "ordered",
            Counting::Strict => "strict",
            Counting::Any => "any",
        })
    }
}

/// A length of time with its calendar: months and days are kept apart from seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval {
    text: String,
    value: IntervalMonthDayNano,
}

impl Interval {
    /// Reads what stands in `INTERVAL '…'`: `180 days`, `1 month 2 hours`.
    ///
    /// # Errors
    /// 22023 when it can't be read, or isn't longer than nothing.
    pub fn parse(text: &str) -> Result<Self, FunnelError> {
        let invalid = |message: String| FunnelError::InvalidArgument {
            message,
            hint: "Write a positive length of time, such as INTERVAL '180 days'.".to_owned(),
        };
        let value = parse_interval_month_day_nano(text)
            .map_err(|_| invalid(format!("\"{text}\" is not an interval")))?;
        let parts = [
            i64::from(value.months),
            i64::from(value.days),
            value.nanoseconds,
        ];
        if parts.iter().any(|part| *part < 0) || parts.iter().all(|part| *part == 0) {
            return Err(invalid(format!(
                "interval \"{text}\" is not longer than zero"
            )));
        }
        Ok(Self {
            text: text.trim().to_owned(),
            value,
        })
    }

    /// The text inside `INTERVAL '…'`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its months, days and nanoseconds; none is negative and one isn't zero.
    pub fn value(&self) -> IntervalMonthDayNano {
        self.value
    }
}

impl TryFrom<String> for Interval {
    type Error = FunnelError;
    fn try_from(text: String) -> Result<Self, FunnelError> {
        Interval::parse(&text)
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> String {
        interval.text
    }
}
