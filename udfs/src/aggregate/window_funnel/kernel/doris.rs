//! Doris' modes, with the rules of its version 4.1 (`aggregate_function_window_funnel_v2.h`).
//!
//! Rows that meet no condition are never looked at. Each step needs another row than the one before.
//!
//! - `default`: the longest chain, as in ClickHouse, but for that.
//! - `increase`: each step is strictly later than the one before. A step that comes again counts as its later
//!   coming, for all chains that are still in their window; so `A@0 B@1 B@2 C@2` is 2, not 3.
//! - `deduplication`: each step 1 is a start of its own. A row that isn't the next step ends its chain if it meets an
//!   earlier one; if it meets later ones only, it is passed over.
//! - `fixed`: each step 1 is a start of its own. A row that isn't the next step ends its chain.
//!
//! DIFFERENCE: rows of one time stand in the order of their lowest condition, then of all their conditions; in
//! Doris they stand as they arrived. `B A` at one time is 1 there, and 2 here, as `A B` is.
//!
//! Where a step of `increase` came several times, the reported chain has its last coming before the next step.
//!
//! All are linear in the rows: in `deduplication` and `fixed` a chain can pass over a step 1 only by taking its row
//! for another step, so a row is looked at for as many starts as there are steps.

use super::{Chain, Reached, Rules, Scratch, Trail, bits_down, lowest, moments};
use crate::aggregate::hits::Hit;
use crate::aggregate::window_funnel::mode::DorisMode;

pub(super) fn scan(
    hits: &[Hit],
    rules: &Rules,
    mode: DorisMode,
    scratch: &mut Scratch,
    trail: &mut impl Trail,
) -> Reached {
    fill_rows(hits, rules.mask(), &mut scratch.rows);
    let group = Group {
        hits,
        rows: &scratch.rows,
        rules,
    };
    match mode {
        DorisMode::Default => group.newest(false, &mut scratch.chains, trail),
        DorisMode::Increase => group.newest(true, &mut scratch.chains, trail),
        DorisMode::Deduplication => group.best_start(false, trail),
        DorisMode::Fixed => group.best_start(true, trail),
    }
}

/// The rows that meet a condition, in the order in which they are looked at.
fn fill_rows(hits: &[Hit], mask: u64, rows: &mut Vec<usize>) {
    rows.clear();
    for moment in moments(hits, mask) {
        let start = rows.len();
        let met = moment.hits.iter().enumerate();
        rows.extend(
            met.filter(|(_, hit)| hit.conditions & mask != 0)
                .map(|(row, _)| moment.first_row + row),
        );
        rows[start..].sort_by_key(|&row| {
            let conditions = hits[row].conditions & mask;
            (conditions.trailing_zeros(), conditions)
        });
    }
}

struct Group<'a> {
    hits: &'a [Hit],
    rows: &'a [usize],
    rules: &'a Rules,
}

impl Group<'_> {
    /// The modes that keep the chain that started last, of each length.
    fn newest(&self, increase: bool, chains: &mut Vec<Chain>, trail: &mut impl Trail) -> Reached {
        chains.clear();
        // Of two steps 1, `increase` may need the one before the newest.
        let mut earlier_start = None;
        let mut reached = Reached::default();
        for &row in self.rows {
            let Hit { time, conditions } = self.hits[row];
            let possible = lowest((chains.len() + 1).min(self.rules.steps));
            // From the last step to the first, so that none goes on from its own row.
            for step in bits_down(conditions & possible) {
                let before = match step {
                    0 => Some(Chain::starting(time, self.rules.window)),
                    1 if increase && chains[0].start == time => earlier_start,
                    _ => Some(chains[step - 1]).filter(|chain| !increase || chain.end < time),
                };
                let Some(before) = before.filter(|chain| time <= chain.deadline) else {
                    continue;
                };
                let kept = chains.get(step).copied();
                if kept.is_some_and(|kept| {
                    before.start == kept.start && (kept.end == time || !increase)
                }) {
                    continue;
                }
                if step == 0 {
                    earlier_start = kept;
                }
                let node = trail.go_on(before.node, row);
                let chain = Chain {
                    end: time,
                    node,
                    ..before
                };
                match chains.get_mut(step) {
                    Some(kept) => *kept = chain,
                    None => {
                        chains.push(chain);
                        reached = Reached {
                            level: chains.len(),
                            node,
                        };
                    }
                }
            }
            if reached.level == self.rules.steps {
                break;
            }
        }
        reached
    }

    /// The modes that try every step 1: the first of the starts that get furthest.
    ///
    /// A later start that gets as far gets there later.
    fn best_start(&self, fixed: bool, trail: &mut impl Trail) -> Reached {
        let (mut level, mut best) = (0, 0);
        for (start, row) in self.rows.iter().enumerate() {
            if self.hits[*row].conditions & 1 == 0 {
                continue;
            }
            let steps = self.follow(start, fixed, |_| {});
            if steps > level {
                (level, best) = (steps, start);
            }
            if level == self.rules.steps {
                break;
            }
        }
        let mut node = 0;
        if level > 0 {
            self.follow(best, fixed, |row| node = trail.go_on(node, row));
        }
        Reached { level, node }
    }

    /// How many steps the chain takes that starts there, and by which rows.
    fn follow(&self, start: usize, fixed: bool, mut take: impl FnMut(usize)) -> usize {
        let rows = &self.rows[start..];
        let deadline = self.rules.window.deadline(self.hits[rows[0]].time);
        take(rows[0]);
        let mut taken = 1;
        for &row in &rows[1..] {
            let Hit { time, conditions } = self.hits[row];
            if taken == self.rules.steps || time > deadline {
                break;
            }
            if conditions >> taken & 1 != 0 {
                take(row);
                taken += 1;
            } else if fixed || conditions & lowest(taken) != 0 {
                break;
            }
        }
        taken
    }
}
