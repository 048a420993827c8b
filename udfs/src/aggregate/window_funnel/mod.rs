//! How far does each user get through the steps of a funnel, within a window of time?
//!
//! ```sql
//! SELECT level, count(*) FROM (
//!   SELECT user_id, window_funnel(INTERVAL '14 days', ts, event = 'visit', event = 'order') AS level
//!   FROM events GROUP BY user_id)
//! GROUP BY level
//! ```
//!
//! `window_funnel` gives the highest step that was reached, 0 without the first; `window_funnel_events` gives
//! the times of the steps, as long a list.
//!
//! # Arguments
//! - `window`, a literal: how long a chain may take from its first step on, its end included. An interval; or
//!   a number: seconds for timestamps, days for dates, the column's own unit for integers. NULL is any
//!   length; 0 is the same moment.
//! - `mode`, literals, may be left out: one or more texts, each one mode or a list with commas; or StarRocks'
//!   number. See below.
//! - `ts`: a timestamp of any unit and zone, a date or an integer, at its full precision. A row without it is
//!   left out.
//! - 1 to 64 conditions, the steps in order: booleans, or integers that aren't 0. NULL is false.
//!
//! # Ties
//! Rows are looked at by time, at one time by step: two steps at one moment, or in one row, are in the right
//! order whatever the order in which the rows arrived.
//!
//! # Modes
//! | mode | rule |
//! |---|---|
//! | none | the longest chain in which each step is not before the one before it |
//! | `strict_order` | ClickHouse's: a row that meets no condition, or a step that comes too early, ends the search, once a first step was met |
//! | `allow_reentry` | with `strict_order`: a step that comes too early is passed over |
//! | `strict_deduplication` | ClickHouse's: a step after the first that is met again ends the search |
//! | `strict_increase` | each step is strictly later than the one before |
//! | `strict_once` | a row is one step of a chain at most |
//! | `default` | Doris': a step and the next one are different rows |
//! | `deduplication` | Doris': a row that repeats an earlier step ends its chain; the next first step starts another |
//! | `fixed` | Doris': each row that meets a condition has to be the next step |
//! | `increase` | Doris': each step is strictly later than the one before, as seen from each first step |
//! | 0 to 7 | StarRocks': the sum of 1 (deduplication), 2 (fixed) and 4 (increase) |
//!
//! The first five can be combined. Over `A x B C` (`x` meets nothing) `strict_order` is 1 and `fixed` 3; over
//! `A B A C` `strict_deduplication` is 3 and `deduplication` 2: a name stands for the rules of its own engine.
//!
//! # Differences
//! - DIFFERENCE to ClickHouse, which drops a row with any NULL condition: NULL is false here.
//! - DIFFERENCE to ClickHouse and StarRocks: `strict_increase` is the longest chain; there, a step that is
//!   met again at the time of the next one hides an earlier one that would have done.
//! - DIFFERENCE to ClickHouse and Doris: where rows of one time have to be told apart (`strict_once`, Doris'
//!   modes), the result doesn't depend on which arrived first.
//! - No rows are level 0, not NULL.
//!
//! # Cost
//! A row that meets a condition takes 16 bytes, of more than 32 conditions 24; the others take none, but
//! under `strict_order`. Linear in the rows where they come in the order of time.
//!
//! # Errors
//! 22023 for a window that is negative or no length, an unknown mode, literals that depend on a row, more
//! than 64 conditions; 42804 for a type; 42883 for another number of arguments.

mod kernel;
mod mode;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Int32Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use self::kernel::{Rules, Scratch};
use self::mode::Mode;
use super::Log;
use super::columns::{item_field, lists};
use super::hits::{self, EventAggregate, EventFunction, Hit, HitFunction, Window, time};
use crate::error::FunnelError;

/// The aggregate function `window_funnel`.
pub fn window_funnel_udaf() -> Arc<AggregateUDF> {
    EventAggregate::udaf(WindowFunnel)
}

/// The aggregate function `window_funnel_events`.
pub fn window_funnel_events_udaf() -> Arc<AggregateUDF> {
    EventAggregate::udaf(WindowFunnelEvents)
}

/// The log of a call that the optimizer simplified.
pub(super) fn log_of(function: &AggregateUDF) -> Option<Log> {
    hits::log_of::<Level>(function).or_else(|| hits::log_of::<StepTimes>(function))
}

/// How many literals stand before the time: the window, then texts, or a number that a time follows.
fn literals(arguments: &[DataType]) -> usize {
    let is_text = |given: &DataType| given.is_string();
    let texts = arguments
        .iter()
        .skip(1)
        .take_while(|given| is_text(given))
        .count();
    if texts > 0 {
        return 1 + texts;
    }
    let is_number_before_time = matches!(
        arguments,
        [_, number, time, condition, ..]
            if number.is_integer() && time::time_type(time).is_some() && !condition.is_integer()
    );
    1 + usize::from(is_number_before_time)
}

/// The rules that the literals of a call stand for.
fn rules(
    literals: &[ScalarValue],
    time_type: &DataType,
    steps: usize,
    function: &str,
) -> Result<Rules, FunnelError> {
    let (window, modes) = match literals.split_first() {
        Some((window, modes)) => (Window::from_literal(window, time_type, function)?, modes),
        None => (Window::Unlimited, literals),
    };
    Ok(Rules {
        steps,
        window,
        mode: mode(modes, function)?,
    })
}

fn mode(modes: &[ScalarValue], function: &str) -> Result<Mode, FunnelError> {
    if let [number] = modes
        && number.data_type().is_integer()
        && let Ok(ScalarValue::Int64(Some(number))) = number.cast_to(&DataType::Int64)
    {
        return Mode::parse_number(number);
    }
    let texts = modes
        .iter()
        .map(|mode| mode.try_as_str().flatten())
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| FunnelError::InvalidArgument {
            message: format!("the mode of {function}() is NULL"),
            hint: format!("Leave it out, or write one of: {}.", Mode::NAMES.join(", ")),
        })?;
    Mode::parse_names(texts)
}

/// `window_funnel(window, [mode, …] ts, step1, …)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct WindowFunnel;

impl EventFunction for WindowFunnel {
    type Function = Level;

    fn name(&self) -> &'static str {
        "window_funnel"
    }

    fn syntax(&self) -> &'static str {
        "window_funnel(INTERVAL '14 days', ts, step1, step2, …), with a mode before ts if need be"
    }

    fn aliases(&self) -> &'static [String] {
        static ALIASES: LazyLock<[String; 1]> = LazyLock::new(|| ["windowfunnel".to_owned()]);
        ALIASES.as_slice()
    }

    fn literals(&self, arguments: &[DataType]) -> usize {
        literals(arguments)
    }

    fn least_conditions(&self) -> usize {
        1
    }

    fn result_type(&self, _time_type: &DataType) -> DataType {
        DataType::Int32
    }

    fn function(
        &self,
        literals: &[ScalarValue],
        time_type: &DataType,
        conditions: usize,
    ) -> Result<Level, FunnelError> {
        Ok(Level {
            rules: rules(literals, time_type, conditions, self.name())?,
        })
    }

    fn documentation(&self) -> &'static Documentation {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            page(
                "How many steps of a funnel were taken in order, within a window of time.",
                "window_funnel(\"window\" interval, [mode text, ...] ts timestamp, step1 boolean, ...)",
            )
        });
        &PAGE
    }
}

fn page(description: &'static str, syntax: &'static str) -> Documentation {
    Documentation::builder(DOC_SECTION_GENERAL, description, syntax)
        .with_argument(
            "window",
            "How long a chain may take: an interval; or a number of seconds, of days for dates, of the \
             column's own unit for integers; NULL for any length. A literal.",
        )
        .with_argument("mode", "Modes by name, or StarRocks' number; literals.")
        .with_argument("ts", "When the row happened.")
        .with_argument("step1, ...", "Whether the row is that step; 1 to 64 of them.")
        .build()
}

/// The level of each group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Level {
    rules: Rules,
}

impl HitFunction for Level {
    type Results = (Vec<i32>, Scratch);

    fn results(&self, groups: usize) -> Self::Results {
        (Vec::with_capacity(groups), Scratch::default())
    }

    fn append(&self, hits: &[Hit], (levels, scratch): &mut Self::Results) {
        levels.push(kernel::level(hits, &self.rules, scratch) as i32); // at most 64
    }

    fn finish(&self, (levels, _): Self::Results) -> Result<ArrayRef> {
        Ok(Arc::new(Int32Array::from(levels)))
    }

    fn needs_all_rows(&self) -> bool {
        self.rules.mode.needs_all_rows()
    }
}

/// `window_funnel_events(window, [mode, …] ts, step1, …)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct WindowFunnelEvents;

impl EventFunction for WindowFunnelEvents {
    type Function = StepTimes;

    fn name(&self) -> &'static str {
        "window_funnel_events"
    }

    fn syntax(&self) -> &'static str {
        "window_funnel_events(INTERVAL '14 days', ts, step1, step2, …), with a mode before ts if need be"
    }

    fn aliases(&self) -> &'static [String] {
        &[]
    }

    fn literals(&self, arguments: &[DataType]) -> usize {
        literals(arguments)
    }

    fn least_conditions(&self) -> usize {
        1
    }

    fn result_type(&self, time_type: &DataType) -> DataType {
        DataType::List(item_field(time_type.clone()))
    }

    fn function(
        &self,
        literals: &[ScalarValue],
        time_type: &DataType,
        conditions: usize,
    ) -> Result<StepTimes, FunnelError> {
        Ok(StepTimes {
            rules: rules(literals, time_type, conditions, self.name())?,
            time_type: time_type.clone(),
        })
    }

    fn documentation(&self) -> &'static Documentation {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            page(
                "When each step of a funnel was taken: the times of the chain that window_funnel counts.",
                "window_funnel_events(\"window\" interval, [mode text, ...] ts timestamp, step1 boolean, ...)",
            )
        });
        &PAGE
    }
}

/// The times of the steps of each group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StepTimes {
    rules: Rules,
    time_type: DataType,
}

/// Lists of times so far, and what is used again from group to group.
#[derive(Debug, Default)]
struct StepTimesResults {
    times: Vec<i64>,
    lengths: Vec<usize>,
    chain: Vec<usize>,
    scratch: Scratch,
}

impl HitFunction for StepTimes {
    type Results = StepTimesResults;

    fn results(&self, _groups: usize) -> Self::Results {
        StepTimesResults::default()
    }

    fn append(&self, hits: &[Hit], results: &mut Self::Results) {
        let StepTimesResults {
            times,
            lengths,
            chain,
            scratch,
        } = results;
        lengths.push(kernel::chain(hits, &self.rules, scratch, chain));
        times.extend(chain.iter().map(|row| hits[*row].time));
    }

    fn finish(&self, results: Self::Results) -> Result<ArrayRef> {
        lists(
            time::times(results.times, &self.time_type)?,
            results.lengths,
        )
    }

    fn needs_all_rows(&self) -> bool {
        self.rules.mode.needs_all_rows()
    }
}
