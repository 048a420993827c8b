//! Does a pattern occur in what each user did, how often, and when?
//!
//! ```sql
//! SELECT user_id, sequence_match('(?1).*(?2)(?t<=3600)(?3)', ts, event = 'quote', event = 'call', event = 'order')
//! FROM events GROUP BY user_id
//! ```
//!
//! - `sequence_match` (boolean): whether the pattern occurs.
//! - `sequence_count` (bigint): how often, one match behind the other.
//! - `sequence_match_events` (list of times): when the rows of the match were taken by `(?N)`; where the whole
//!   pattern doesn't occur, those of the longest beginning of it that does.
//!
//! # Arguments
//! - `pattern`, a literal; see below.
//! - `ts`: a timestamp, a date or an integer. A row without it is left out.
//! - 1 to 64 conditions, which the pattern names by their numbers: booleans, or integers that aren't 0. NULL
//!   is false. A row that meets none isn't part of the sequence.
//!
//! # The pattern
//! | element | stands for |
//! |---|---|
//! | `(?2)` | a row that meets condition 2 |
//! | `.` | any row of the sequence |
//! | `.*` | any number of rows |
//! | `(?t<=10)` | the row here is at most 10 after the row taken last; also `<`, `>=`, `>`, `==` |
//!
//! The number of a gate is in seconds for timestamps, in days for dates, in the column's own unit for integers.
//! The pattern may begin at any row and need not go up to the last. A gate takes no row and may skip some, as
//! `.*` does; several gates in a row hold at the same row. Blanks between elements don't matter.
//!
//! # Ties
//! Rows of one time are ordered by the conditions that they meet, never by arrival: those that meet only lower
//! conditions come first.
//!
//! # Differences
//! - DIFFERENCE to ClickHouse: a gate behind `.*` is measured from the row taken last, too; rows of one time
//!   don't stand as they arrived; a row with a NULL condition isn't dropped; there is no limit of steps;
//!   `sequence_match_events` of a pattern that occurs are the rows of that match.
//!
//! # Cost
//! Rows times elements of the pattern, whatever it is. A row of the sequence takes 16 bytes, of more than 32
//! conditions 24.
//!
//! # Errors
//! 22023 with the position for a pattern that can't be read or names a condition that isn't there; 42804 for a
//! type; 42883 for another number of arguments.

mod matcher;
mod pattern;
#[cfg(test)]
mod reference;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use self::matcher::Scratch;
use self::pattern::Pattern;
use super::Log;
use super::columns::{item_field, lists};
use super::hits::{self, EventAggregate, EventFunction, Hit, HitFunction, time};
use crate::error::FunnelError;

/// The aggregate function `sequence_match`.
pub fn sequence_match_udaf() -> Arc<AggregateUDF> {
    EventAggregate::udaf(Sequence::Match)
}

/// The aggregate function `sequence_count`.
pub fn sequence_count_udaf() -> Arc<AggregateUDF> {
    EventAggregate::udaf(Sequence::Count)
}

/// The aggregate function `sequence_match_events`.
pub fn sequence_match_events_udaf() -> Arc<AggregateUDF> {
    EventAggregate::udaf(Sequence::Events)
}

/// The log of a call that the optimizer simplified.
pub(super) fn log_of(function: &AggregateUDF) -> Option<Log> {
    hits::log_of::<Search>(function)
}

/// The three functions of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sequence {
    Match,
    Count,
    Events,
}

impl EventFunction for Sequence {
    type Function = Search;

    fn name(&self) -> &'static str {
        match self {
            Sequence::Match => "sequence_match",
            Sequence::Count => "sequence_count",
            Sequence::Events => "sequence_match_events",
        }
    }

    fn syntax(&self) -> &'static str {
        match self {
            Sequence::Match => "sequence_match('(?1).*(?2)', ts, condition1, condition2, …)",
            Sequence::Count => "sequence_count('(?1).*(?2)', ts, condition1, condition2, …)",
            Sequence::Events => {
                "sequence_match_events('(?1).*(?2)', ts, condition1, condition2, …)"
            }
        }
    }

    fn aliases(&self) -> &'static [String] {
        static ALIASES: LazyLock<[String; 3]> = LazyLock::new(|| {
            ["sequencematch", "sequencecount", "sequencematchevents"].map(str::to_owned)
        });
        let at = match self {
            Sequence::Match => 0,
            Sequence::Count => 1,
            Sequence::Events => 2,
        };
        &ALIASES[at..=at]
    }

    fn literals(&self, _arguments: &[DataType]) -> usize {
        1
    }

    fn least_conditions(&self) -> usize {
        1
    }

    fn result_type(&self, time_type: &DataType) -> DataType {
        match self {
            Sequence::Match => DataType::Boolean,
            Sequence::Count => DataType::Int64,
            Sequence::Events => DataType::List(item_field(time_type.clone())),
        }
    }

    fn function(
        &self,
        literals: &[ScalarValue],
        time_type: &DataType,
        conditions: usize,
    ) -> Result<Search, FunnelError> {
        let text = literals
            .first()
            .and_then(|text| text.try_as_str().flatten());
        let text = text.ok_or_else(|| FunnelError::InvalidArgument {
            message: format!("the pattern of {}() is no text", self.name()),
            hint: format!("Write {}.", self.syntax()),
        })?;
        let factor = time::units_per_second(time_type).unwrap_or(1);
        Ok(Search {
            sought: *self,
            pattern: Pattern::parse(text, conditions)?.scaled(factor),
            time_type: time_type.clone(),
        })
    }

    fn documentation(&self) -> &'static Documentation {
        static PAGES: LazyLock<[Documentation; 3]> = LazyLock::new(|| {
            [
                page(
                    "Whether a pattern occurs in the rows of a group.",
                    "sequence_match(pattern text, ts timestamp, condition1 boolean, ...)",
                ),
                page(
                    "How often a pattern occurs in the rows of a group, one match behind the other.",
                    "sequence_count(pattern text, ts timestamp, condition1 boolean, ...)",
                ),
                page(
                    "When the rows of a pattern's match happened.",
                    "sequence_match_events(pattern text, ts timestamp, condition1 boolean, ...)",
                ),
            ]
        });
        &PAGES[*self as usize]
    }
}

fn page(description: &'static str, syntax: &'static str) -> Documentation {
    Documentation::builder(DOC_SECTION_GENERAL, description, syntax)
        .with_argument(
            "pattern",
            "(?1) a row of condition 1, . any row, .* any number of rows, (?t<=10) at most 10 after the row \
             taken last; a literal.",
        )
        .with_argument("ts", "When the row happened.")
        .with_argument("condition1, ...", "What the pattern names by number; 1 to 64 of them.")
        .build()
}

/// A pattern, and what is wanted of its matches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Search {
    sought: Sequence,
    pattern: Pattern,
    time_type: DataType,
}

/// What was found so far: one of the three, and what is used again from group to group.
#[derive(Debug, Default)]
struct Found {
    matches: Vec<bool>,
    counts: Vec<i64>,
    times: Vec<i64>,
    lengths: Vec<usize>,
    of_group: Vec<i64>,
    scratch: Scratch,
}

impl HitFunction for Search {
    type Results = Found;

    fn results(&self, _groups: usize) -> Found {
        Found::default()
    }

    fn append(&self, hits: &[Hit], found: &mut Found) {
        match self.sought {
            Sequence::Match => {
                let is_match = matcher::matches(hits, &self.pattern, &mut found.scratch);
                found.matches.push(is_match);
            }
            Sequence::Count => {
                let count = matcher::count(hits, &self.pattern, &mut found.scratch);
                found.counts.push(count as i64); // at most one for each row
            }
            Sequence::Events => {
                let times = &mut found.of_group;
                matcher::events(hits, &self.pattern, &mut found.scratch, times);
                found.lengths.push(times.len());
                found.times.append(times);
            }
        }
    }

    fn finish(&self, found: Found) -> Result<ArrayRef> {
        Ok(match self.sought {
            Sequence::Match => Arc::new(BooleanArray::from(found.matches)),
            Sequence::Count => Arc::new(Int64Array::from(found.counts)),
            Sequence::Events => lists(time::times(found.times, &self.time_type)?, found.lengths)?,
        })
    }

    fn needs_all_rows(&self) -> bool {
        false
    }
}
