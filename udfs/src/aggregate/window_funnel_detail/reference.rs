//! The definition of [`kernel`](super::kernel), word for word: every choice of rows is tried. And a short
//! notation for rows and chains.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Reverse;

use proptest::prelude::*;

use super::kernel::{Chain, Ended, Row, Scratch, attempts, detail};
use super::rules::{Exclusion, Options, Rules};
use crate::aggregate::hits::Window;
use crate::definition::model::Counting;

/// Reads rows such as `A@0 BC@5 x@7 A@8:2`: the steps that they meet in capitals, the exclusions from `x` on,
/// the time, the held value. `-@4` meets nothing.
pub(super) fn rows(text: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = text.split_whitespace().map(row).collect();
    rows.sort();
    rows
}

fn row(token: &str) -> Row {
    let (names, rest) = token.split_once('@').expect("a token has an @");
    let (time, held) = match rest.split_once(':') {
        Some((time, held)) => (
            time,
            Some(held.parse().expect("the held value is a number")),
        ),
        None => (rest, None),
    };
    let bits = |first: u8| {
        let bits = names
            .bytes()
            .filter(move |name| (first..=first + 25).contains(name));
        bits.fold(0, |all, name| all | 1_u64 << (name - first))
    };
    Row {
        time: time.parse().expect("the time is a number"),
        conditions: bits(b'A'),
        exclusions: bits(b'x'),
        held,
    }
}

/// Writes a chain such as `converted A@0 - C@5`: how it ended, and the time of each step, `-` where it wasn't
/// taken.
pub(super) fn tell(rows: &[Row], chain: &Chain) -> String {
    let ended = match chain.ended {
        Ended::Converted => "converted",
        Ended::TimedOut => "timed_out",
        Ended::Open => "open",
        Ended::Excluded => "excluded",
    };
    let steps = (b'A'..).zip(&chain.rows).map(|(name, row)| match row {
        Some(row) => format!(" {}@{}", name as char, rows[*row].time),
        None => " -".to_owned(),
    });
    ended.to_owned() + &steps.collect::<String>()
}

/// The row of each step, as an index into the rows in the order of the counting.
type Choice = Vec<Option<usize>>;

/// The rows of a group that exist, in the order of the counting, each with its index.
struct Reference {
    rows: Vec<(usize, Row)>,
    options: Options,
}

impl Reference {
    fn new(rows: &[Row], options: &Options) -> Self {
        let known = |row: &Row| options.as_of.is_none_or(|as_of| row.time <= as_of);
        let rows = rows.iter().copied().enumerate();
        let mut rows: Vec<_> = rows.filter(|(_, row)| known(row)).collect();
        if options.counting == Counting::Strict {
            let first_step =
                |row: &Row| (1..=64).find(|step| row.conditions >> (step - 1) & 1 == 1);
            rows.sort_by_key(|(index, row)| (row.time, first_step(row), *index));
        }
        Self {
            rows,
            options: options.clone(),
        }
    }

    fn row(&self, index: usize) -> &Row {
        &self.rows[index].1
    }

    fn meets(&self, index: usize, step: usize) -> bool {
        self.row(index).conditions >> (step - 1) & 1 == 1
    }

    /// Every chain of the rows.
    fn chains(&self) -> Vec<Choice> {
        let mut choices: Vec<Choice> = vec![Vec::new()];
        for step in 1..=self.options.steps {
            let rows = (0..self.rows.len()).filter(|row| self.meets(*row, step));
            let rows: Vec<_> = [None].into_iter().chain(rows.map(Some)).collect();
            let longer = choices
                .iter()
                .flat_map(|choice| rows.iter().map(|row| [choice.as_slice(), &[*row]].concat()));
            choices = longer.collect();
        }
        choices.retain(|choice| self.is_chain(choice));
        choices
    }

    fn is_chain(&self, choice: &Choice) -> bool {
        let rows: Vec<&Row> = choice.iter().flatten().map(|row| self.row(*row)).collect();
        let same_held = || {
            let mut values = rows.iter().map(|row| row.held);
            values.all(|held| held.is_some() && held == rows[0].held)
        };
        if rows.is_empty() || (self.options.held && !same_held()) {
            return false;
        }
        if self.last_time(choice) > self.options.window.deadline(self.start(choice)) {
            return false;
        }
        if self.options.counting == Counting::Any {
            let (start, end) = (self.start(choice), self.last_time(choice));
            return !self
                .cuts(choice, 1)
                .iter()
                .any(|cut| start < *cut && *cut < end);
        }
        let taken = taken(choice);
        let passed_over = |from: usize, to: usize| {
            (from + 1..to).all(|step| self.options.optional >> (step - 1) & 1 == 1)
        };
        taken[0].0 == 1
            && taken.windows(2).all(|pair| {
                passed_over(pair[0].0, pair[1].0) && self.follows(choice, pair[0], pair[1])
            })
    }

    /// Whether the step and row of `next` may come right after those of `last`.
    fn follows(&self, choice: &Choice, last: (usize, usize), next: (usize, usize)) -> bool {
        let (from, to) = (self.row(last.1).time, self.row(next.1).time);
        let in_order = match self.options.counting {
            Counting::Strict => {
                let between = last.1 + 1..next.1;
                last.1 <= next.1 && between.into_iter().all(|row| self.meets(row, last.0))
            }
            _ => from <= to,
        };
        let cut = self.cuts(choice, last.0);
        in_order
            && to <= self.step_deadline(next.0, from)
            && !cut.iter().any(|cut| from < *cut && *cut < to)
    }

    fn step_deadline(&self, step: usize, last: i64) -> i64 {
        match self.options.step_windows.get(step - 1) {
            Some(window) => window.deadline(last),
            None => i64::MAX,
        }
    }

    /// The times of the exclusions that are in force for a chain once it has taken `step`.
    fn cuts(&self, choice: &Choice, step: usize) -> Vec<i64> {
        let held = self
            .row(choice.iter().flatten().copied().next().unwrap())
            .held;
        let concerns = |row: &Row| !self.options.held || row.held.is_none() || row.held == held;
        let in_force = |row: &Row| {
            let mut exclusions = self.options.exclusions.iter().enumerate();
            exclusions.any(|(index, exclusion)| {
                row.exclusions >> index & 1 == 1
                    && (exclusion.after..exclusion.before).contains(&step)
            })
        };
        let rows = self.rows.iter().map(|(_, row)| row);
        rows.filter(|row| concerns(row) && in_force(row))
            .map(|row| row.time)
            .collect()
    }

    fn start(&self, choice: &Choice) -> i64 {
        let times = choice.iter().flatten().map(|row| self.row(*row).time);
        times.min().unwrap()
    }

    fn last_time(&self, choice: &Choice) -> i64 {
        let times = choice.iter().flatten().map(|row| self.row(*row).time);
        times.max().unwrap()
    }

    fn level(&self, choice: &Choice) -> usize {
        let taken = taken(choice);
        match self.options.counting {
            Counting::Any => taken.len(),
            _ => taken.last().unwrap().0,
        }
    }

    /// The last moment at which a chain can go on, and the row that stands in the way until then.
    fn limit(&self, choice: &Choice) -> (i64, Option<usize>) {
        let deadline = self.options.window.deadline(self.start(choice));
        if self.options.counting == Counting::Any {
            return (deadline, None);
        }
        let (level, row) = *taken(choice).last().unwrap();
        let last = self.last_time(choice);
        let mut latest = i64::MIN;
        for step in level + 1..=self.options.steps {
            latest = latest.max(self.step_deadline(step, last));
            if self.options.optional >> (step - 1) & 1 == 0 {
                break;
            }
        }
        let limit = deadline.min(latest);
        let mut behind = row + 1..self.rows.len();
        let obstacle = match self.options.counting {
            Counting::Strict => behind.find(|row| !self.meets(*row, level)),
            _ => None,
        };
        (limit, obstacle.filter(|row| self.row(*row).time <= limit))
    }

    /// How a chain ended, and the row from which on another attempt may begin.
    fn ended(&self, choice: &Choice) -> (Ended, usize) {
        let level = self.level(choice);
        let used = choice.iter().flatten().max().unwrap() + 1;
        if level == self.options.steps {
            return (Ended::Converted, used);
        }
        let (limit, obstacle) = self.limit(choice);
        let last = self.last_time(choice);
        let until = obstacle.map_or(limit, |row| self.row(row).time);
        let cuts = self.cuts(
            choice,
            if self.options.counting == Counting::Any {
                1
            } else {
                level
            },
        );
        let cut = cuts
            .into_iter()
            .filter(|cut| last < *cut && *cut <= until)
            .min();
        let as_of = self
            .options
            .as_of
            .unwrap_or(self.rows.last().unwrap().1.time);
        let first = |found: &dyn Fn(i64) -> bool| {
            let row = self.rows.iter().position(|(_, row)| found(row.time));
            row.unwrap_or(self.rows.len()).max(used)
        };
        match (cut, obstacle) {
            (Some(cut), _) => (Ended::Excluded, first(&|time| time >= cut)),
            (None, Some(row)) => (Ended::TimedOut, row),
            (None, None) if as_of <= limit => (Ended::Open, self.rows.len()),
            (None, None) => (Ended::TimedOut, first(&|time| time > limit)),
        }
    }

    /// The chain to report.
    fn best(&self, chains: &[Choice]) -> Option<Choice> {
        let end = |choice: &Choice| match self.options.counting {
            Counting::Any => {
                let first = *choice.iter().flatten().next().unwrap();
                let held = self.row(first).held.filter(|_| self.options.held);
                (self.level(choice), self.last_time(choice), held, 0)
            }
            _ => (self.level(choice), 0, None, taken(choice).last().unwrap().1),
        };
        let counts = |choice: &&Choice| {
            let mut rivals = chains.iter().filter(|rival| end(rival) == end(choice));
            rivals.all(|rival| self.start(rival) <= self.start(choice))
        };
        let best = chains.iter().filter(counts).min_by_key(|choice| {
            let precedence = choice.iter().map(|row| row.unwrap_or(usize::MAX));
            (
                Reverse(self.level(choice)),
                self.ended(choice).0 == Ended::Excluded,
                self.last_time(choice),
                Reverse(self.start(choice)),
                precedence.collect::<Vec<_>>(),
            )
        });
        best.cloned()
    }

    fn report(&self, choice: &Choice) -> Chain {
        let level = self.level(choice);
        let shown = match self.options.counting {
            Counting::Any => self.options.steps,
            _ => level,
        };
        let rows = choice[..shown].iter();
        Chain {
            level,
            rows: rows.map(|row| row.map(|row| self.rows[row].0)).collect(),
            ended: self.ended(choice).0,
        }
    }

    fn detail(&self) -> Option<Chain> {
        let best = self.best(&self.chains());
        best.map(|best| self.report(&best))
    }

    /// Whether a row can begin an attempt.
    fn begins(&self, row: usize) -> bool {
        let steps = match self.options.counting {
            Counting::Any => self.options.steps,
            _ => 1,
        };
        (1..=steps).any(|step| self.meets(row, step))
    }

    fn attempts(&self) -> Vec<Chain> {
        let chains = self.chains();
        let held = |row: usize| self.row(row).held.filter(|_| self.options.held);
        let mut values: Vec<_> = (0..self.rows.len()).map(held).collect();
        if self.options.held {
            values.retain(Option::is_some);
        }
        values.sort();
        values.dedup();
        let mut found = Vec::new();
        for value in values {
            let mut begin = 0;
            while let Some(first) =
                (begin..self.rows.len()).find(|row| held(*row) == value && self.begins(*row))
            {
                let of_attempt = |choice: &&Choice| {
                    let mut rows = choice.iter().flatten();
                    let starts = match self.options.counting {
                        Counting::Any => self.start(choice) == self.row(first).time,
                        _ => choice[0] == Some(first),
                    };
                    starts && rows.all(|row| *row >= begin && held(*row) == value)
                };
                let own: Vec<Choice> = chains.iter().filter(of_attempt).cloned().collect();
                let best = self.best(&own).unwrap();
                begin = self.ended(&best).1;
                found.push(best);
            }
        }
        found.sort_by_key(|choice| choice.iter().flatten().min().copied());
        found.iter().map(|choice| self.report(choice)).collect()
    }
}

/// The steps that a chain takes, with their rows.
fn taken(choice: &Choice) -> Vec<(usize, usize)> {
    let rows = choice.iter().enumerate();
    rows.filter_map(|(index, row)| row.map(|row| (index + 1, row)))
        .collect()
}

fn any_window() -> impl Strategy<Value = Window> {
    prop_oneof![
        1 => Just(Window::Unlimited),
        4 => (0..8_i64).prop_map(Window::Units),
    ]
}

fn any_conditions() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0_u64),
        6 => (0..4_u32).prop_map(|step| 1 << step),
        2 => 0..16_u64,
    ]
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    let exclusions = prop_oneof![4 => Just(0_u64), 2 => 1..4_u64];
    let held = prop_oneof![1 => Just(None), 6 => (0..2_u32).prop_map(Some)];
    let row = (0..10_i64, any_conditions(), exclusions, held);
    let row = row.prop_map(|(time, conditions, exclusions, held)| Row {
        time,
        conditions,
        exclusions,
        held,
    });
    prop::collection::vec(row, 0..=7)
}

/// Options without what `any` refuses.
fn any_options(counting: Counting) -> impl Strategy<Value = Options> {
    let exclusion = (1..4_usize, 1..4_usize, any::<bool>());
    let exclusions = prop::collection::vec(exclusion, 0..=2);
    let step_windows = prop_oneof![Just(0), Just(4)]
        .prop_flat_map(|count| prop::collection::vec(any_window(), count));
    let as_of = prop::option::weighted(0.4, 0..15_i64);
    let held = prop::bool::weighted(0.4);
    let parts = (
        1..=4_usize,
        any_window(),
        step_windows,
        0..16_u64,
        exclusions,
        held,
        as_of,
    );
    parts.prop_map(
        move |(steps, window, mut windows, optional, exclusions, held, as_of)| {
            let ordered = counting != Counting::Any;
            windows.truncate(if ordered { steps } else { 0 });
            let exclusions = exclusions.into_iter().filter(|_| steps > 1);
            let between = (2..steps).fold(0, |bits, step| bits | 1_u64 << (step - 1));
            Options {
                steps,
                window,
                step_windows: windows,
                optional: if ordered { optional & between } else { 0 },
                exclusions: exclusions
                    .map(|(one, other, whole)| {
                        let after = one.min(steps - 1);
                        match whole || !ordered {
                            true => Exclusion {
                                after: 1,
                                before: steps,
                            },
                            false => Exclusion {
                                after,
                                before: steps.min(after + other),
                            },
                        }
                    })
                    .collect(),
                held,
                counting,
                as_of,
            }
        },
    )
}

/// The rows that the kernel gets, sorted.
fn given(mut rows: Vec<Row>, options: &Options) -> Vec<Row> {
    let all_steps = (1 << options.steps) - 1;
    rows.iter_mut().for_each(|row| row.conditions &= all_steps);
    if options.counting != Counting::Strict {
        rows.retain(|row| row.conditions != 0 || row.exclusions != 0);
    }
    rows.sort();
    rows
}

fn agrees(rows: Vec<Row>, options: &Options) -> Result<(), TestCaseError> {
    let rows = given(rows, options);
    let rules = Rules::new(options.clone()).unwrap();
    let reference = Reference::new(&rows, options);
    let mut scratch = Scratch::default();
    prop_assert_eq!(detail(&rows, &rules, &mut scratch), reference.detail());
    let mut found = Vec::new();
    attempts(&rows, &rules, &mut scratch, &mut found);
    prop_assert_eq!(found, reference.attempts());
    Ok(())
}

/// The longest chain as ClickHouse's `windowFunnel` finds it (`AggregateFunctionWindowFunnel.cpp`, no mode):
/// each level has its newest chain.
fn window_funnel(rows: &[Row], steps: usize, window: Window) -> usize {
    let visits = (1..=steps).flat_map(|step| {
        let rows = rows
            .iter()
            .filter(move |row| row.conditions >> (step - 1) & 1 == 1);
        rows.map(move |row| (row.time, step))
    });
    let mut visits: Vec<_> = visits.collect();
    visits.sort_unstable();
    let mut starts: Vec<Option<i64>> = vec![None; steps + 1];
    for (time, step) in visits {
        let start = if step == 1 {
            Some(time)
        } else {
            starts[step - 1]
        };
        if start.is_some_and(|start| time <= window.deadline(start)) {
            starts[step] = start;
        }
    }
    starts.iter().rposition(Option::is_some).unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn ordered_chains_are_those_of_the_definition(
        rows in any_rows(),
        options in any_options(Counting::Ordered),
    ) {
        agrees(rows, &options)?;
    }

    #[test]
    fn strict_chains_are_those_of_the_definition(
        rows in any_rows(),
        options in any_options(Counting::Strict),
    ) {
        agrees(rows, &options)?;
    }

    #[test]
    fn chains_in_any_order_are_those_of_the_definition(
        rows in any_rows(),
        options in any_options(Counting::Any),
    ) {
        agrees(rows, &options)?;
    }

    #[test]
    fn without_options_the_level_is_that_of_window_funnel(
        rows in any_rows(),
        steps in 1..=4_usize,
        window in any_window(),
    ) {
        let options = Options::plain(steps, window);
        let rows = given(rows, &options);
        let rules = Rules::new(options).unwrap();
        let chain = detail(&rows, &rules, &mut Scratch::default());
        let level = chain.map_or(0, |chain| chain.level);
        prop_assert_eq!(level, window_funnel(&rows, steps, window));
    }
}
