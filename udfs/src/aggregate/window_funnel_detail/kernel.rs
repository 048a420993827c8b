//! Which chain of steps a group of rows goes furthest with, and why it ended: rows in, chains out.
//!
//! # Chains
//! The rows are those up to `as_of` (up to the last row where it is absent); later ones don't exist. With a
//! **held** value, all rows of a chain have the same one, and it isn't NULL. A row may take several steps, and
//! another row that meets a step doesn't undo it.
//!
//! **ordered**: a chain takes step 1 and then further steps, each later in the funnel than the one before.
//! Steps that it passes over below its last one are optional. A step's time is
//! - not before that of the step taken before it (rows of one time are in whichever order suits the chain),
//! - within the window, counted from the time of step 1, and within the step's own window, counted from the
//!   step taken before it; both include their last moment.
//!
//! Its **level** is the number of its last step.
//!
//! **strict**: an ordered chain whose rows follow each other among all rows of the group, whatever they hold.
//! The rows of one time are in the order of the first step that they meet, rows that meet none before them,
//! then as they were given. A row may take the next step as well; and a row that meets the step just taken, with
//! whatever held value, doesn't stand in between.
//!
//! **any**: a chain takes steps in any order, each by one row, no two of them further apart than the window. Its
//! level is how many it takes.
//!
//! # Exclusions
//! An exclusion after step a and before step b is in force for a chain once it has taken step a or, passing a
//! over, a later one, until it has taken step b or a later one; under `any`, always. A chain can't take two steps,
//! one after the other, with a row in between that meets an exclusion then in force. In between is later than
//! the first and earlier than the second: at the time of a step that the chain takes, an exclusion does
//! nothing, so ties favour the funnel. With a held value, a row concerns the chains of its own; a row without
//! one concerns all.
//!
//! # How a chain ended
//! - `Converted`: it took the last step (under `any`, every step).
//! - `Excluded`: otherwise, if an exclusion in force comes later than its last step and not later than the last
//!   moment at which it could go on: the end of its window, or of the longest window of the steps that may come
//!   next, if that is earlier; under `strict`, not later than the first row that stands in between either.
//! - `Open`: otherwise, if `as_of` is not later than that moment, and under `strict` nothing stands in between.
//!   Without a window, it stays open.
//! - `TimedOut`: otherwise.
//!
//! # The reported chain
//! Of the chains of one level that end with the same row (under `any`: at the same time, with the same held
//! value), only those with the latest start count. Of the chains that count, the reported one has the highest
//! level; then isn't `Excluded`; then took its last step first; then started last; then has the rows that come
//! first, compared step by step from step 1, where a step that was passed over comes last. Rows that come first
//! are earlier in the order given (under `strict`, in the order above).
//!
//! # Attempts
//! An attempt begins with the first row left to it that meets step 1 (under `any`: any step). Its chain is the one
//! to report among those that use only rows left to it and start with this row (under `any`: at its time, with
//! its held value), so a step 1 in between doesn't start it anew. It ends where this chain does, and to the next
//! one are left the rows
//! - behind the chain's last row, if it converted,
//! - at the time of the exclusion or later, if it was excluded,
//! - later than the last moment at which it could go on, if it timed out; under `strict` from the row on that
//!   stood in between, if there was one.
//!
//! An open chain is the last. Each held value has attempts of its own, beside those of others.
//!
//! # Cost
//! With r rows, s steps and e exclusions, [`detail`] takes O(r s log r) time, and O(r s e log r) at the worst with
//! exclusions; the memory is some words for each true condition. It is mostly linear: the rows come almost
//! sorted. [`attempts`] takes that much for the rows from the start of each attempt to the end of its window, or to
//! where none of its chains can go on. Where attempts end long before, because an exclusion between later steps
//! cuts them in a long window, that can come to the square of the rows in a window.

use super::any::AnyOrder;
use super::chains::Chains;
use super::group::{Found, Group, Prepared, Visit};
use super::rules::Rules;
use crate::definition::model::Counting;

/// One row of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    /// When it happened.
    pub time: i64,
    /// The steps that it meets, bit k - 1 for the k-th.
    pub conditions: u64,
    /// The exclusions that it meets, bit i for the i-th.
    pub exclusions: u64,
    /// A number for its held value; `None` for NULL. It has no meaning where no value is held.
    pub held: Option<u32>,
}

/// How a chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the last step.
    Converted,
    /// No step came in time.
    TimedOut,
    /// It hasn't: a step can still come.
    Open,
    /// An exclusion cut it.
    Excluded,
}

/// A chain of steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    /// The number of the last step taken; where steps have no order, how many were taken.
    pub level: usize,
    /// The index of each step's row, up to `level`; where steps have no order, for all steps of the funnel.
    /// `None` for a step that wasn't taken.
    pub rows: Vec<Option<usize>>,
    /// How it ended.
    pub ended: Ended,
}

/// Buffers that one group after the other uses.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    prepared: Prepared,
    chains: Chains,
    any: AnyOrder,
}

/// The chain to report for a group; `None` where no row starts one.
///
/// `rows` are sorted, by all their fields and by whatever else tells them apart. They are all rows with a time
/// under `strict` counting, else at least those that meet a step or an exclusion.
pub(crate) fn detail(rows: &[Row], rules: &Rules, scratch: &mut Scratch) -> Option<Chain> {
    let rows = known(rows, rules);
    scratch.prepared.fill(rows, rules);
    let group = Group::new(rows, rules, &scratch.prepared)?;
    let found = match rules.counting() {
        Counting::Any => scratch.any.best(&group),
        Counting::Ordered | Counting::Strict => scratch.chains.best(&group),
    };
    found.map(|found| chain(&group, &found))
}

/// Adds the chain of every attempt of a group to `out`, in the order of their first rows.
///
/// `rows` are as for [`detail`].
pub(crate) fn attempts(rows: &[Row], rules: &Rules, scratch: &mut Scratch, out: &mut Vec<Chain>) {
    let rows = known(rows, rules);
    scratch.prepared.fill(rows, rules);
    let Some(group) = Group::new(rows, rules, &scratch.prepared) else {
        return;
    };
    let mut found = Vec::new();
    for visits in group.values() {
        let mut begin = Some(0);
        while let Some(position) = begin.filter(|position| *position < rows.len()) {
            let visits = visits_from(visits, group.time_at(position));
            let attempt = match rules.counting() {
                Counting::Any => scratch.any.attempt(&group, visits, position),
                _ => scratch.chains.attempt(&group, visits, position),
            };
            begin = attempt.as_ref().and_then(|end| group.next_attempt(end));
            found.extend(attempt);
        }
    }
    if rules.held() {
        found.sort_by_key(|attempt| attempt.positions.iter().flatten().min().copied());
    }
    out.extend(found.iter().map(|found| chain(&group, found)));
}

/// The rows up to `as_of`.
fn known<'a>(rows: &'a [Row], rules: &Rules) -> &'a [Row] {
    let end = match rules.as_of() {
        Some(as_of) => rows.partition_point(|row| row.time <= as_of),
        None => rows.len(),
    };
    &rows[..end]
}

/// The visits of one held value from a time on.
fn visits_from(visits: &[Visit], time: i64) -> &[Visit] {
    &visits[visits.partition_point(|visit| visit.time < time)..]
}

fn chain(group: &Group, found: &Found) -> Chain {
    let rows = found.positions.iter();
    Chain {
        level: found.standing.level,
        rows: rows
            .map(|position| position.map(|position| group.row_at(position)))
            .collect(),
        ended: group.fate(&found.standing).0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::reference::{rows, tell};
    use super::super::rules::{Exclusion, Options};
    use super::*;
    use crate::aggregate::hits::Window;

    /// Three steps within 10.
    fn three() -> Options {
        Options::plain(3, Window::Units(10))
    }

    fn strict() -> Options {
        Options {
            counting: Counting::Strict,
            ..three()
        }
    }

    fn any() -> Options {
        Options {
            counting: Counting::Any,
            ..three()
        }
    }

    fn held(options: Options) -> Options {
        Options {
            held: true,
            ..options
        }
    }

    fn as_of(as_of: i64, options: Options) -> Options {
        Options {
            as_of: Some(as_of),
            ..options
        }
    }

    fn excluding(after: usize, before: usize, options: Options) -> Options {
        Options {
            exclusions: vec![Exclusion { after, before }],
            ..options
        }
    }

    fn optional(steps: usize, optional: &[usize]) -> Options {
        Options {
            optional: optional.iter().fold(0, |bits, step| bits | 1 << (step - 1)),
            ..Options::plain(steps, Window::Units(10))
        }
    }

    fn step_windows(windows: &[i64], options: Options) -> Options {
        Options {
            step_windows: windows.iter().map(|units| Window::Units(*units)).collect(),
            ..options
        }
    }

    fn check(text: &str, options: Options, expected: &str) {
        let rows = rows(text);
        let rules = Rules::new(options).expect("the rules make sense");
        let chain = detail(&rows, &rules, &mut Scratch::default());
        let chain = chain.map_or("none".to_owned(), |chain| tell(&rows, &chain));
        assert_eq!(chain, expected, "{text}");
    }

    fn check_attempts(text: &str, options: Options, expected: &[&str]) {
        let rows = rows(text);
        let rules = Rules::new(options).expect("the rules make sense");
        let mut chains = Vec::new();
        attempts(&rows, &rules, &mut Scratch::default(), &mut chains);
        let chains: Vec<String> = chains.iter().map(|chain| tell(&rows, chain)).collect();
        assert_eq!(chains, expected, "{text}");
    }

    #[test]
    fn no_row_of_step_1_is_no_chain() {
        check("", three(), "none");
        check("B@0 C@1", three(), "none");
        check("A@5", as_of(4, three()), "none");
        check_attempts("", three(), &[]);
        check_attempts("B@0 C@1", three(), &[]);
    }

    #[test]
    fn steps_follow_each_other_within_the_window() {
        check("A@0 B@3 C@10", three(), "converted A@0 B@3 C@10");
        check("A@0 B@3 C@11", three(), "timed_out A@0 B@3");
        check("A@0 C@1 A@2 B@4", three(), "open A@2 B@4");
        check("A@0 B@8 A@9 B@12 C@15", three(), "converted A@9 B@12 C@15");
    }

    #[test]
    fn a_row_takes_several_steps_and_ties_favour_the_funnel() {
        check("ABC@5", three(), "converted A@5 B@5 C@5");
        check("C@5 B@5 A@5", three(), "converted A@5 B@5 C@5");
    }

    #[test]
    fn the_first_to_reach_the_level_is_reported_and_starts_last() {
        check("A@0 B@1 A@2 B@3", three(), "open A@0 B@1");
        check(
            "A@0 A@2 B@3 C@4 A@5 B@6 C@7",
            three(),
            "converted A@2 B@3 C@4",
        );
        check("A@0 B@1 B@2 C@3", three(), "converted A@0 B@1 C@3");
    }

    #[test]
    fn a_step_has_a_window_from_the_one_before() {
        let options = || step_windows(&[0, 2, 3], three());
        check("A@0 B@2 C@5", options(), "converted A@0 B@2 C@5");
        check("A@0 B@3", options(), "timed_out A@0");
        check("A@0 B@1 C@5", options(), "timed_out A@0 B@1");
        // A step that comes again can bridge what the first one can't.
        check("A@0 B@1 B@2 C@5", options(), "converted A@0 B@2 C@5");
        let long_second = || step_windows(&[0, 9, 1], three());
        check(
            "A@0 A@4 B@5 B@9 C@10",
            long_second(),
            "converted A@4 B@9 C@10",
        );
        check("A@0 B@2", as_of(5, options()), "open A@0 B@2");
        check("A@0 B@2", as_of(6, options()), "timed_out A@0 B@2");
    }

    #[test]
    fn optional_steps_may_be_passed_over() {
        check("A@0 C@5", optional(3, &[2]), "converted A@0 - C@5");
        check("A@0 B@3 C@5", optional(3, &[2]), "converted A@0 B@3 C@5");
        check("A@0 D@5", optional(4, &[2, 3]), "converted A@0 - - D@5");
        check("A@0 D@5", optional(4, &[2]), "open A@0");
        check("A@0 C@3", optional(4, &[2, 3]), "open A@0 - C@3");
        // A later start counts more than a step that could be passed over.
        check("A@0 B@3 A@4 C@5", optional(3, &[2]), "converted A@4 - C@5");
        // Step 3 may still come when step 2 can't any more.
        let options = || step_windows(&[0, 1, 5], optional(3, &[2]));
        check("A@0", as_of(4, options()), "open A@0");
        check("A@0", as_of(6, options()), "timed_out A@0");
    }

    #[test]
    fn an_older_start_with_a_newer_step_waits_beside_a_newer_start() {
        // Step 3 is taken at 5 by the chain from 4, which passes step 2 over and is cut at 6; and at 7 by the
        // chain from 0, which has taken step 2 and isn't.
        let options = |windows: &[i64], steps, steps_passed| Options {
            step_windows: windows.iter().map(|units| Window::Units(*units)).collect(),
            ..excluding(1, 2, optional(steps, steps_passed))
        };
        let text = "A@0 B@3 A@4 C@5 x@6 C@7 D@";
        let check_at = |time: i64, options, expected| {
            check(&format!("{text}{time}"), options, expected);
        };
        let four = |window| options(&[0, 9, 9, window], 4, &[2]);
        check_at(12, four(9), "converted A@4 - C@5 D@12");
        check_at(10, four(3), "converted A@0 B@3 C@7 D@10");
        check_at(12, four(6), "timed_out A@4 - C@5");
        check_at(12, options(&[0, 9, 9, 6, 9], 5, &[2, 4]), "open A@4 - C@5");
    }

    #[test]
    fn a_held_value_is_the_same_in_all_rows_and_not_null() {
        check("A@0:1 B@1:2 C@2:1", held(three()), "open A@0");
        check(
            "A@0:1 A@1:2 B@2:1 C@3:2 C@4:1",
            held(three()),
            "converted A@0 B@2 C@4",
        );
        check("A@0 B@1 C@2", held(three()), "none");
        check("A@0:1 B@1:2 C@2", three(), "converted A@0 B@1 C@2");
    }

    #[test]
    fn an_exclusion_cuts_a_chain() {
        let options = || excluding(1, 3, three());
        check("A@0 x@1 B@2 C@3", options(), "excluded A@0");
        check("A@0 B@2 x@3 C@4", options(), "excluded A@0 B@2");
        check("A@0 B@2 C@4 x@5", options(), "converted A@0 B@2 C@4");
        check("x@0 A@1 B@2 C@4", options(), "converted A@1 B@2 C@4");
        // A newer chain as long as the one that was cut.
        check("A@0 x@1 A@2", options(), "open A@2");
        check("A@0 x@1 A@2 B@3", options(), "open A@2 B@3");
        // A shorter one doesn't count for more.
        check("A@0 B@1 x@2 A@3", options(), "excluded A@0 B@1");
    }

    #[test]
    fn an_exclusion_does_nothing_at_the_time_of_a_step_or_out_of_the_window() {
        let options = || excluding(1, 3, three());
        check(
            "A@0 x@0 B@2 x@2 C@4 x@4",
            options(),
            "converted A@0 B@2 C@4",
        );
        check("A@0 B@2 x@10", options(), "excluded A@0 B@2");
        check("A@0 B@2 x@11", options(), "timed_out A@0 B@2");
        check("A@0 B@2 x@5", as_of(4, options()), "open A@0 B@2");
    }

    #[test]
    fn an_exclusion_is_in_force_between_its_steps() {
        check(
            "A@0 x@1 B@2 x@3 C@4",
            excluding(2, 3, three()),
            "excluded A@0 B@2",
        );
        check(
            "A@0 x@1 B@2 C@4",
            excluding(2, 3, three()),
            "converted A@0 B@2 C@4",
        );
        check(
            "A@0 B@2 x@3 C@4",
            excluding(1, 2, three()),
            "converted A@0 B@2 C@4",
        );
        check("A@0 x@1 B@2 C@4", excluding(1, 2, three()), "excluded A@0");
        // Step 2 is taken again, behind the exclusion.
        check(
            "A@0 B@1 x@2 B@3 C@4",
            excluding(2, 3, three()),
            "converted A@0 B@3 C@4",
        );
    }

    #[test]
    fn a_passed_over_step_neither_brings_an_exclusion_in_force_nor_keeps_it() {
        let from_2 = Options {
            optional: 0b10,
            ..excluding(2, 3, three())
        };
        check("A@0 x@1 C@2", from_2, "converted A@0 - C@2");
        let to_2 = Options {
            optional: 0b10,
            ..excluding(1, 2, three())
        };
        check("A@0 x@1 C@2", to_2, "excluded A@0");
    }

    #[test]
    fn an_exclusion_concerns_its_held_value_or_all() {
        let options = || held(excluding(1, 2, Options::plain(2, Window::Units(10))));
        check("A@0:1 x@1:2 B@2:1", options(), "converted A@0 B@2");
        check("A@0:1 x@1:1 B@2:1", options(), "excluded A@0");
        check("A@0:1 x@1 B@2:1", options(), "excluded A@0");
    }

    #[test]
    fn strict_rows_follow_each_other() {
        check("A@0 B@1 C@2", strict(), "converted A@0 B@1 C@2");
        check("A@0 -@1 B@2", strict(), "timed_out A@0");
        check("A@0 A@1 B@2 B@3 C@4", strict(), "converted A@1 B@2 C@4");
        check("A@0 B@1 A@2 C@3", strict(), "timed_out A@0 B@1");
        check("A@0 -@1 A@2 B@3 C@4", strict(), "converted A@2 B@3 C@4");
        check("AB@0 C@1", strict(), "converted A@0 B@0 C@1");
        check("A@0 B@1", strict(), "open A@0 B@1");
    }

    #[test]
    fn strict_rows_of_one_time_are_in_the_order_of_their_first_step() {
        check("B@1 A@1 C@1", strict(), "converted A@1 B@1 C@1");
        check("A@0 B@1 -@1", strict(), "timed_out A@0");
        check("A@0 -@0 B@1", strict(), "open A@0 B@1");
        // AC comes before B, as its first step is A.
        check("A@0 B@1 AC@1", strict(), "open A@1 B@1");
    }

    #[test]
    fn strict_rows_of_other_held_values_stand_in_between() {
        check("A@0:1 B@1:2 B@2:1", held(strict()), "timed_out A@0");
        check("A@0:1 A@1:2 B@2:1", held(strict()), "open A@0 B@2");
    }

    #[test]
    fn a_strict_chain_is_excluded_only_before_it_is_broken() {
        let options = || excluding(1, 3, strict());
        check("A@0 x@1 B@2", options(), "excluded A@0");
        check("A@0 -@1 x@2", options(), "timed_out A@0");
        check("A@0 Ax@1 B@2 A@9", options(), "timed_out A@1 B@2");
    }

    #[test]
    fn any_order_counts_different_steps() {
        check("C@0 A@3 B@10", any(), "converted A@3 B@10 C@0");
        check("C@0 A@3 B@11", any(), "timed_out A@3 - C@0");
        check("C@0 C@1 A@20", as_of(40, any()), "timed_out - - C@0");
        check("AC@4", any(), "open A@4 - C@4");
        check("A@0 A@2 B@4 A@6 C@8", any(), "converted A@6 B@4 C@8");
    }

    #[test]
    fn any_order_knows_held_values_and_exclusions() {
        check(
            "C@0:1 A@3:2 B@4:1 A@5:1",
            held(any()),
            "converted A@5 B@4 C@0",
        );
        let options = || excluding(1, 3, any());
        check("C@0 x@1 A@3 B@4", options(), "open A@3 B@4 -");
        check("C@0 A@3 x@5 B@6", options(), "excluded A@3 - C@0");
        check("C@0 A@3 x@6 B@6", options(), "converted A@3 B@6 C@0");
        check("C@0 A@3 x@11", options(), "timed_out A@3 - C@0");
    }

    #[test]
    fn chains_stay_open_without_a_window() {
        let options = Options::plain(2, Window::Unlimited);
        check("A@0", as_of(i64::MAX, options), "open A@0");
    }

    #[test]
    fn a_single_step_converts_every_time() {
        let options = || Options::plain(1, Window::Units(0));
        check("A@3 A@5", options(), "converted A@3");
        check_attempts(
            "A@3 A@5 A@5",
            options(),
            &["converted A@3", "converted A@5", "converted A@5"],
        );
    }

    #[test]
    fn an_attempt_is_not_started_anew() {
        let two = || Options::plain(2, Window::Units(10));
        check_attempts("A@0 A@2 B@3 B@4", two(), &["converted A@0 B@3"]);
        check_attempts("A@0 A@2 B@11", two(), &["timed_out A@0"]);
        check_attempts(
            "A@0 A@10 A@11 B@21 A@22",
            two(),
            &["timed_out A@0", "converted A@11 B@21", "open A@22"],
        );
    }

    #[test]
    fn an_attempt_ends_with_its_chain() {
        let two = || Options::plain(2, Window::Units(10));
        check_attempts(
            "A@0 x@1 A@2 B@3",
            excluding(1, 2, two()),
            &["excluded A@0", "converted A@2 B@3"],
        );
        // The row at the time of the exclusion belongs to the next attempt.
        check_attempts(
            "A@0 x@2 A@2 B@3",
            excluding(1, 2, two()),
            &["excluded A@0", "converted A@2 B@3"],
        );
        check_attempts(
            "A@0 A@3 B@4",
            step_windows(&[0, 2], Options::plain(2, Window::Unlimited)),
            &["timed_out A@0", "converted A@3 B@4"],
        );
        check_attempts(
            "A@0 -@1 A@2 B@3 C@4 A@5",
            strict(),
            &["timed_out A@0", "converted A@2 B@3 C@4", "open A@5"],
        );
    }

    #[test]
    fn held_values_have_attempts_side_by_side() {
        check_attempts(
            "A@0:2 A@1:1 B@2:1 B@3:2 A@4:1",
            held(Options::plain(2, Window::Units(10))),
            &["converted A@0 B@3", "converted A@1 B@2", "open A@4"],
        );
    }

    #[test]
    fn attempts_in_any_order_begin_with_any_step() {
        check_attempts(
            "B@0 B@1 A@2 C@3 C@4 A@15",
            any(),
            &[
                "converted A@2 B@0 C@3",
                "timed_out - - C@4",
                "open A@15 - -",
            ],
        );
    }

    #[test]
    fn buffers_hold_nothing_over_from_group_to_group() {
        let (long, short) = (rows("A@0 B@1 C@2"), rows("C@0 A@1"));
        let rules = Rules::new(three()).unwrap();
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            let chain = detail(&long, &rules, &mut scratch).unwrap();
            assert_eq!(chain.ended, Ended::Converted);
            let chain = detail(&short, &rules, &mut scratch).unwrap();
            assert_eq!(tell(&short, &chain), "open A@1");
        }
    }

    #[test]
    fn sixty_four_steps_and_large_times_fit() {
        let row = |step: i64| Row {
            time: i64::MAX - 64 + step,
            conditions: 1 << step,
            exclusions: 0,
            held: None,
        };
        let rows: Vec<Row> = (0..64).map(row).collect();
        for counting in [Counting::Ordered, Counting::Strict, Counting::Any] {
            let options = Options {
                counting,
                ..Options::plain(64, Window::Units(i64::MAX))
            };
            let rules = Rules::new(options).unwrap();
            let chain = detail(&rows, &rules, &mut Scratch::default()).unwrap();
            assert_eq!((chain.level, chain.ended), (64, Ended::Converted));
        }
    }
}
