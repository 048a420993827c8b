//! StarRocks' modes (`be/src/exprs/agg/window_funnel.h`): the sum of 1, 2 and 4.
//!
//! Entries go by (time, step), and of each length the chain that started last is kept, as in ClickHouse. Rows that
//! meet no condition are never looked at.
//!
//! - 1, deduplication: a step after the first that is reached already ends all chains. The level so far
//!   counts; the entry itself is used for nothing; the search goes on without any chain.
//! - 2, fixed: a step more than one beyond what is reached ends all chains in the same way. Asked after 1.
//! - 4, increase: each step is strictly later than the one before. A step that comes again counts as its later
//!   coming, and the newest step 1 as the only one, so `A@1 A@2 B@2` is 1, not 2. With 1 or 2, step 2
//!   may come at the time of step 1.
//!
//! These are StarRocks' results to the letter, with what looks like mistakes; ClickHouse's modes have other names.
//!
//! Where a step came several times, the reported chain has its first coming; under 4, its last before the next step.

use super::{Chain, Reached, Rules, Scratch, Trail, bits, moments};
use crate::aggregate::hits::{Hit, Window};

pub(super) fn scan(
    hits: &[Hit],
    rules: &Rules,
    mode: u8,
    scratch: &mut Scratch,
    trail: &mut impl Trail,
) -> Reached {
    scratch.chains.clear();
    let mut scan = Scan {
        deduplication: mode & 1 != 0,
        fixed: mode & 2 != 0,
        increase: mode & 4 != 0,
        window: rules.window,
        chains: &mut scratch.chains,
        trail,
        reached: Reached::default(),
    };
    for moment in moments(hits, rules.mask()) {
        for step in bits(moment.conditions) {
            // Only deduplication asks whether a second row does the same.
            let rows = if scan.deduplication { usize::MAX } else { 1 };
            for row in moment.rows_of(step).take(rows) {
                scan.entry(moment.time, step, row);
                if scan.reached.level == rules.steps {
                    return scan.reached;
                }
            }
        }
    }
    scan.reached
}

struct Scan<'a, T> {
    deduplication: bool,
    fixed: bool,
    increase: bool,
    window: Window,
    /// The chain of each length that started last; there is one for every length up to the greatest.
    chains: &'a mut Vec<Chain>,
    trail: &'a mut T,
    reached: Reached,
}

impl<T: Trail> Scan<'_, T> {
    fn entry(&mut self, time: i64, step: usize, row: usize) {
        let length = self.chains.len();
        if step == 0 {
            let start = Chain::starting(time, self.window);
            self.go_on(start, step, time, row);
        } else if self.deduplication && step < length || self.fixed && step > length {
            self.chains.clear();
        } else if step <= length {
            let before = self.chains[step - 1];
            let strictly = self.increase && (step > 1 || !self.deduplication && !self.fixed);
            if time <= before.deadline && (!strictly || before.end < time) {
                self.go_on(before, step, time, row);
            }
        }
    }

    fn go_on(&mut self, before: Chain, step: usize, time: i64, row: usize) {
        let kept = self.chains.get_mut(step);
        if let Some(kept) = &kept
            && before.start == kept.start
            && (kept.end == time || !self.increase)
        {
            return;
        }
        let node = self.trail.go_on(before.node, row);
        let chain = Chain {
            end: time,
            node,
            ..before
        };
        match kept {
            Some(kept) => *kept = chain,
            None => {
                self.chains.push(chain);
                let level = self.chains.len();
                if level > self.reached.level {
                    self.reached = Reached { level, node };
                }
            }
        }
    }
}
