//! How far the rows of one group get through the steps of `window_funnel`, and by which rows.
//!
//! A chain is one row for each of the steps 1, 2, …, k, in the order of (time, step), with
//! `time of each <= deadline(time of step 1)`. The level is the length of the longest chain that the mode
//! lets happen, 0 without a row of step 1. What a mode adds is told where it is done: [`clickhouse`],
//! [`doris`], [`starrocks`].
//!
//! # Ties
//! Nothing depends on the order in which rows arrived. Entries, the conditions that a row meets, are looked at
//! by (time, step); where rows have to be told apart, the one that comes first in `hits` goes first, and the
//! hits are sorted by (time, conditions).
//!
//! # The reported chain
//! Of the chains that reach the level, the one whose last entry is the first by (time, step); of those, the one
//! that starts last; of those, the one that takes every step as early as it can, by the row that comes first in
//! `hits`. (Modes that need it differ in the last point and say so.) It is found by the same scan as the level.
//!
//! # Cost
//! Linear in the rows, times the steps for rows of one time; [`matching`] says what `strict_once` adds.
//! Memory: none for a level without modes, about 100 bytes a step otherwise; a reported chain adds 16 bytes
//! for each entry that led on.

mod clickhouse;
mod doris;
mod matching;
#[cfg(test)]
mod reference;
mod starrocks;
#[cfg(test)]
mod tests;
mod trail;

use std::ops::ControlFlow;

use super::mode::Mode;
use crate::aggregate::hits::{Hit, Window};
use trail::{Node, Trail, Untold};

/// What a chain has to obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    /// How many steps there are, 1 to 64; conditions beyond them are not looked at.
    pub steps: usize,
    /// How long a chain may take from its first step on; its end is included.
    pub window: Window,
    /// What else it has to obey.
    pub mode: Mode,
}

impl Rules {
    /// The conditions that are steps.
    fn mask(&self) -> u64 {
        lowest(self.steps)
    }
}

/// Memory that one group leaves to the next; what is in it doesn't matter.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    slots: Vec<clickhouse::Slot>,
    chains: Vec<Chain>,
    rows: Vec<usize>,
    nodes: Vec<Node>,
    matching: matching::Matching,
}

/// A chain up to some step.
#[derive(Debug, Clone, Copy)]
struct Chain {
    /// When its first step was.
    start: i64,
    /// The last moment for its other steps.
    deadline: i64,
    /// When its last step was.
    end: i64,
    /// Its last step on the trail.
    node: usize,
}

impl Chain {
    /// One that is about to take its first step.
    fn starting(time: i64, window: Window) -> Self {
        Chain {
            start: time,
            deadline: window.deadline(time),
            end: time,
            node: 0,
        }
    }
}

/// How far a scan came, and the trail's node of the first chain that got there.
#[derive(Debug, Clone, Copy, Default)]
struct Reached {
    level: usize,
    node: usize,
}

/// The highest level that the rows of a group reach: 0 to `rules.steps`.
///
/// `hits` are sorted by (time, conditions); those that meet no condition matter where
/// [`Mode::needs_all_rows`] says so, and do no harm elsewhere.
pub(crate) fn level(hits: &[Hit], rules: &Rules, scratch: &mut Scratch) -> usize {
    let (_, hits) = from_first_start(hits);
    if let Mode::Flags(flags) = rules.mode
        && let Some(level) = clickhouse::quick_level(hits, rules, flags)
    {
        return level;
    }
    scan(hits, rules, scratch, &mut Untold).level
}

/// The same level, and in `chain` the index of the row that took each of its steps.
///
/// An index is that in `hits`; which of two equal hits is meant doesn't follow from them, so it is the first.
pub(crate) fn chain(
    hits: &[Hit],
    rules: &Rules,
    scratch: &mut Scratch,
    chain: &mut Vec<usize>,
) -> usize {
    let (skipped, hits) = from_first_start(hits);
    let mut nodes = std::mem::take(&mut scratch.nodes);
    nodes.clear();
    let reached = scan(hits, rules, scratch, &mut nodes);
    trail::rows(&nodes, reached.node, reached.level, chain);
    for row in chain.iter_mut() {
        *row += skipped;
    }
    scratch.nodes = nodes;
    reached.level
}

fn scan(hits: &[Hit], rules: &Rules, scratch: &mut Scratch, trail: &mut impl Trail) -> Reached {
    match rules.mode {
        Mode::Flags(flags) => clickhouse::scan(hits, rules, flags, scratch, trail),
        Mode::Doris(mode) => doris::scan(hits, rules, mode, scratch, trail),
        Mode::StarRocks(mode) => starrocks::scan(hits, rules, mode, scratch, trail),
    }
}

/// The hits from the time of the first step 1 on, and how many come before: they take part in no chain, and no
/// mode looks at them.
fn from_first_start(hits: &[Hit]) -> (usize, &[Hit]) {
    let Some(first) = hits.iter().position(|hit| hit.conditions & 1 != 0) else {
        return (hits.len(), &[]);
    };
    let time = hits[first].time;
    let skipped = hits[..first]
        .iter()
        .rposition(|hit| hit.time != time)
        .map_or(0, |before| before + 1);
    (skipped, &hits[skipped..])
}

/// The rows of one time, as the scans see them.
#[derive(Clone, Copy)]
struct Moment<'a> {
    time: i64,
    hits: &'a [Hit],
    /// The index of the first of them.
    first_row: usize,
    /// The steps that any of them meets.
    conditions: u64,
    mask: u64,
}

impl<'a> Moment<'a> {
    /// Whether a row meets no condition.
    fn has_stranger(&self) -> bool {
        self.hits.iter().any(|hit| hit.conditions & self.mask == 0)
    }

    /// Whether a row meets more than one condition.
    fn has_double(&self) -> bool {
        self.hits
            .iter()
            .any(|hit| (hit.conditions & self.mask).count_ones() > 1)
    }

    /// The rows that meet a step, in order.
    fn rows_of(self, step: usize) -> impl Iterator<Item = usize> + 'a {
        let hits = self.hits.iter().enumerate();
        hits.filter(move |(_, hit)| hit.conditions >> step & 1 != 0)
            .map(move |(row, _)| self.first_row + row)
    }
}

/// The moments of a group, in order.
fn moments(hits: &[Hit], mask: u64) -> impl Iterator<Item = Moment<'_>> {
    let mut first_row = 0;
    hits.chunk_by(|one, other| one.time == other.time)
        .map(move |hits| {
            let moment = Moment {
                time: hits[0].time,
                hits,
                first_row,
                conditions: mask & hits.iter().fold(0, |all, hit| all | hit.conditions),
                mask,
            };
            first_row += hits.len();
            moment
        })
}

/// The numbers of the bits that are set, from the lowest; step k is bit k - 1.
fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        bit
    })
}

/// The same from the highest.
fn bits_down(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (mask != 0).then(|| 63 - mask.leading_zeros() as usize)?;
        mask ^= 1 << bit;
        Some(bit)
    })
}

/// So many of the lowest bits.
fn lowest(count: usize) -> u64 {
    match count {
        0 => 0,
        1..64 => u64::MAX >> (64 - count),
        _ => u64::MAX,
    }
}

/// Whether a scan goes on.
type Flow = ControlFlow<()>;
