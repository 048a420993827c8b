//! One group of rows, made ready for the search, and what becomes of a chain in it.

use std::cmp::{Ordering, Reverse};

use super::cuts::Cuts;
use super::kernel::{Ended, Row};
use super::rules::Rules;
use crate::definition::model::Counting;

/// A row seen as one of the steps that it meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    /// The value that the chain must hold; `None` where none is held.
    pub held: Option<u32>,
    pub time: i64,
    /// The place of the row in the order of the counting.
    pub position: usize,
    /// From 1.
    pub step: usize,
    /// The place of the next row that doesn't meet the step, where only the row there and those before it
    /// can carry on; `usize::MAX` where other rows don't matter.
    pub run_end: usize,
}

/// The buffers behind a [`Group`].
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// The index of the row at each position.
    order: Vec<usize>,
    visits: Vec<Visit>,
    cuts: Cuts,
    /// By step: the position of the next row that doesn't meet it.
    breaks: Vec<usize>,
}

impl Prepared {
    /// Makes `rows` ready, all of which are known.
    pub fn fill(&mut self, rows: &[Row], rules: &Rules) {
        let strict = rules.counting() == Counting::Strict;
        self.order.clear();
        self.order.extend(0..rows.len());
        if strict {
            // Sorted by time already, so this moves rows within a time only.
            self.order
                .sort_by_key(|row| (rows[*row].time, lowest_condition(&rows[*row])));
        }
        self.fill_visits(rows, rules, strict);
        if strict {
            self.visits
                .sort_unstable_by_key(|visit| (visit.held, visit.position, visit.step));
        } else {
            self.visits
                .sort_unstable_by_key(|visit| (visit.held, visit.time, visit.step, visit.position));
        }
        self.cuts.fill(rows, rules);
    }

    /// All visits, in the order of position and step. It walks from the end, to know where each run ends.
    fn fill_visits(&mut self, rows: &[Row], rules: &Rules, strict: bool) {
        self.visits.clear();
        self.breaks.clear();
        self.breaks.resize(rules.steps(), rows.len());
        for (position, index) in self.order.iter().enumerate().rev() {
            let row = &rows[*index];
            let conditions = row.conditions & rules.all_steps();
            if !rules.held() || row.held.is_some() {
                let breaks = &self.breaks;
                let visits = steps_from_last(conditions).map(|step| Visit {
                    held: row.held.filter(|_| rules.held()),
                    time: row.time,
                    position,
                    step,
                    run_end: if strict { breaks[step - 1] } else { usize::MAX },
                });
                self.visits.extend(visits);
            }
            if strict {
                for step in steps_from_last(!conditions & rules.all_steps()) {
                    self.breaks[step - 1] = position;
                }
            }
        }
        self.visits.reverse();
    }
}

/// The number of the first step that a row meets; 0 where it meets none.
fn lowest_condition(row: &Row) -> u32 {
    match row.conditions {
        0 => 0,
        conditions => conditions.trailing_zeros() + 1,
    }
}

/// The steps whose bits are set, the last one first.
fn steps_from_last(mut bits: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let highest = bits.checked_ilog2()?;
        bits &= !(1 << highest);
        Some(highest as usize + 1)
    })
}

/// Where a chain stands after its last row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub held: Option<u32>,
    pub level: usize,
    /// The time of its first row.
    pub start: i64,
    /// The time of its last row.
    pub reached: i64,
    /// See [`Visit::run_end`].
    pub run_end: usize,
}

/// How good a chain is to report: its level, whether no exclusion cut it, how early it got there, how late it
/// started. The greater, the better.
pub(super) type Rank = (usize, bool, Reverse<i64>, i64);

impl Standing {
    pub fn rank(&self, ended: Ended) -> Rank {
        let clean = ended != Ended::Excluded;
        (self.level, clean, Reverse(self.reached), self.start)
    }
}

/// From where on the rows belong to the next attempt. It is always behind the rows that the chain took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// Behind the chain's last row.
    BehindLastRow,
    /// At this position.
    At(usize),
    /// At this time.
    From(i64),
    /// Later than this time.
    Behind(i64),
    /// Nowhere: the attempt goes on.
    Never,
}

/// A chain to report, in positions.
#[derive(Debug)]
pub(super) struct Found {
    pub standing: Standing,
    pub positions: Vec<Option<usize>>,
}

impl Found {
    /// The first position behind all rows of the chain.
    pub fn end(&self) -> usize {
        let last = self.positions.iter().flatten().max();
        last.map_or(0, |last| last + 1)
    }

    /// Compares by the rows of each step, from step 1: the chain whose rows come first is less, and a step that
    /// was passed over comes last.
    pub fn cmp_rows(&self, other: &Found) -> Ordering {
        let place = |position: &Option<usize>| position.unwrap_or(usize::MAX);
        let others = other.positions.iter().map(place);
        self.positions.iter().map(place).cmp(others)
    }
}

/// A group of rows and the rules to search it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group<'a> {
    pub rows: &'a [Row],
    pub rules: &'a Rules,
    /// Up to when the rows are known.
    pub as_of: i64,
    prepared: &'a Prepared,
}

impl<'a> Group<'a> {
    /// The group of `rows`, from which `prepared` was filled. There is none without rows.
    pub fn new(rows: &'a [Row], rules: &'a Rules, prepared: &'a Prepared) -> Option<Self> {
        let last = rows.last()?;
        Some(Group {
            rows,
            rules,
            as_of: rules.as_of().unwrap_or(last.time),
            prepared,
        })
    }

    /// All visits: those of a held value together; in it by time and step, or by row where counting is strict.
    pub fn visits(&self) -> &'a [Visit] {
        &self.prepared.visits
    }

    /// The visits of each held value.
    pub fn values(&self) -> impl Iterator<Item = &'a [Visit]> {
        self.visits().chunk_by(|one, next| one.held == next.held)
    }

    /// The index of the row at a position.
    pub fn row_at(&self, position: usize) -> usize {
        self.prepared.order[position]
    }

    /// The time of the row at a position.
    pub fn time_at(&self, position: usize) -> i64 {
        // A position differs from an index within a time only.
        self.rows[position].time
    }

    /// When the first exclusion comes that cuts a chain of `level` whose last row is at `time`.
    pub fn cut_after(&self, level: usize, held: Option<u32>, time: i64) -> Option<i64> {
        let in_force = self.rules.in_force(level);
        self.prepared.cuts.first_after(in_force, held, time)
    }

    /// What becomes of a chain that takes no further step.
    pub fn fate(&self, standing: &Standing) -> (Ended, Resume) {
        let Standing { level, .. } = *standing;
        if level == self.rules.steps() {
            return (Ended::Converted, Resume::BehindLastRow);
        }
        let limit = self
            .rules
            .last_chance(level, standing.start, standing.reached);
        let broken = self.rows.get(standing.run_end).map(|row| row.time);
        let broken = broken.filter(|time| *time <= limit);
        let cut = self.cut_after(level, standing.held, standing.reached);
        let cut = cut.filter(|time| *time <= broken.unwrap_or(limit));
        match (cut, broken) {
            (Some(time), _) => (Ended::Excluded, Resume::From(time)),
            (None, Some(_)) => (Ended::TimedOut, Resume::At(standing.run_end)),
            (None, None) if self.as_of <= limit => (Ended::Open, Resume::Never),
            (None, None) => (Ended::TimedOut, Resume::Behind(limit)),
        }
    }

    /// The first position of the attempt after the one that ended with `found`.
    pub fn next_attempt(&self, found: &Found) -> Option<usize> {
        let (_, resume) = self.fate(&found.standing);
        match resume {
            Resume::BehindLastRow => Some(found.end()),
            Resume::At(position) => Some(position),
            Resume::From(time) => Some(self.rows.partition_point(|row| row.time < time)),
            Resume::Behind(time) => Some(self.rows.partition_point(|row| row.time <= time)),
            Resume::Never => None,
        }
    }
}
