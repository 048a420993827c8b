//! How far did each user get, when was each step, by which row, and why did it end there?
//!
//! ```sql
//! SELECT user_id, d['level'], d['step_times'][2] - d['step_times'][1] AS to_order, d['ended'] FROM (
//!   SELECT user_id, window_funnel_detail(INTERVAL '14 days', ts, event = 'visit', event = 'order', event = 'pay',
//!     key => event_id, exclude => event = 'refund') AS d
//!   FROM events GROUP BY user_id)
//! ```
//!
//! `window_funnel_detail` gives the chain that went furthest; of several the first to get there.
//! `window_funnel_attempts` gives a list of the chains of every attempt, for counting conversions rather than users:
//! the next attempt begins behind the one before.
//!
//! # Result
//! A record, `window_funnel_attempts` a list of them:
//! - `level` integer: the last step that was taken; without an order of steps, how many were. 0 for a group without a first step
//! - `step_times`, of the type of `ts`: the time of each step up to the level; NULL for an optional step that was passed over.
//!   Without an order of steps, an element for each step of the funnel
//! - `step_keys`, of the type of `key`: the key of each of these rows; without `key` text, all NULL
//! - `ended` text: `converted`; `timed_out`, no step came in time; `open`, a step can still come; `excluded`. NULL at level 0
//!
//! A group without a first step has level 0 and empty lists, and no attempts.
//!
//! # Arguments
//! - `window`, `ts` and 1 to 64 conditions, as of [`window_funnel`](super::window_funnel); the conditions may be one array.
//!   There are no modes
//! - options by name, constant but for `key`, `hold` and `exclude`; each may be left out, and NULL is as if it were:
//!
//! | option | value | without it |
//! |---|---|---|
//! | `key` | what a row is known by: a column of any type that has an order | `step_keys` are NULL |
//! | `hold` | a value that all rows of a chain share, such as a product; rows where it is NULL start no chain | rows of any kind make a chain |
//! | `as_of` | the moment up to which rows are known; later ones don't count | the statement's `now()`; for integer times, the group's last row |
//! | `counting` | `'ordered'`; `'strict'`: no other row in between; `'any'`: steps in any order | `'ordered'` |
//! | `optional` | numbers of steps that may be passed over, `ARRAY[2, 3]`: none is the first or the last | no step is |
//! | `step_windows` | how long each step may take from the one before, an element for each step, the first without meaning | only `window` counts |
//! | `exclude` | a condition, or an array of them: a row that meets it ends the chains that wait for a step | nothing does |
//! | `exclude_between` | a text for each exclusion: `'2-3'`, between steps 2 and 3 only; NULL for the whole chain | the whole chain |
//!
//! # Rules
//! - A chain is ordered unless `counting` says otherwise: each step not before the one before it and within the window, which
//!   starts with step 1 and includes its end. A row may take several steps, under `any` only one.
//! - Ties: rows of one time are in the order that suits the chain; an exclusion at the time of a step does nothing. Rows
//!   that are alike in time, conditions and exclusions come in the order of `hold`, then of `key`; so the same rows give the same result
//!   in whatever order they arrive.
//! - Of the chains of the highest level, one that isn't excluded comes before one that is, then the one that got there first,
//!   then the one that started last.
//! - `strict`: every row counts that has a time, whether it meets a condition or not.
//! - A NULL condition is false; a row without a time is left out.
//! - Over a window of rows, `OVER (…)`, timestamps and dates need `as_of`.
//! - Without options, `level` is that of `window_funnel` over the rows up to `as_of`.
//!
//! # Cost
//! A row that meets a condition takes 36 bytes, and each distinct value of `hold` and `key` its own bytes and 16 to 24 more; the
//! other rows take none, but under `strict`. Time is mostly linear in the rows.
//!
//! # Errors
//! 22023 for options that can't be, or that depend on a row; 42804 for a type; 42883 for another number of arguments and for an unknown option.

mod any;
mod call;
mod chains;
mod cuts;
mod group;
mod groups;
mod kernel;
mod options;
#[cfg(test)]
mod reference;
mod results;
mod rules;
#[cfg(test)]
mod tests;
mod values;

use std::sync::{Arc, LazyLock};

use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::{AggregateUDF, Documentation};

use super::Log;
use call::{Detail, PlannedDetail};

/// The aggregate function `window_funnel_detail`.
pub fn window_funnel_detail_udaf() -> Arc<AggregateUDF> {
    static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
        page(
            "The furthest chain of a funnel: its level, the time and key of each step, and why it ended.",
            "window_funnel_detail(\"window\" interval, ts timestamp, step1 boolean, ..., option => any, ...)",
        )
    });
    Detail::udaf("window_funnel_detail", false, &PAGE)
}

/// The aggregate function `window_funnel_attempts`.
pub fn window_funnel_attempts_udaf() -> Arc<AggregateUDF> {
    static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
        page(
            "Every attempt at a funnel, one after the other, each as window_funnel_detail shows it.",
            "window_funnel_attempts(\"window\" interval, ts timestamp, step1 boolean, ..., option => any, ...)",
        )
    });
    Detail::udaf("window_funnel_attempts", true, &PAGE)
}

/// The log of a call that the optimizer simplified.
pub(super) fn log_of(function: &AggregateUDF) -> Option<Log> {
    let planned = function.inner().downcast_ref::<PlannedDetail>();
    planned.map(|_| Log::OfAllRows)
}

pub(super) fn reads_clock(function: &AggregateUDF) -> bool {
    function.inner().downcast_ref::<Detail>().is_some()
}

fn page(description: &'static str, syntax: &'static str) -> Documentation {
    Documentation::builder(DOC_SECTION_GENERAL, description, syntax)
        .with_argument(
            "window",
            "How long a chain may take, as of window_funnel. A literal.",
        )
        .with_argument("ts", "When the row happened.")
        .with_argument(
            "step1, ...",
            "Whether the row is that step; 1 to 64 of them.",
        )
        .with_argument(
            "option",
            "key, hold, as_of, counting, optional, step_windows, exclude or exclude_between.",
        )
        .build()
}
