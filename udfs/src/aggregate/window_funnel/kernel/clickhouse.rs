//! ClickHouse's modes (`AggregateFunctionWindowFunnel.cpp`), in any combination.
//!
//! Without a mode the level is the length of the longest chain. For each length it is enough to keep the chain
//! that started last: its window ends last.
//!
//! With modes, entries go by (time, step) and these tests come first, in this order; "reached" is the length of
//! the longest chain so far, of this moment too:
//!
//! 1. `strict_order`: a row that meets no condition ends the search once a step 1 was seen. It goes before the
//!    steps of its moment.
//! 2. `strict_deduplication`: a step after the first that is reached already ends the search.
//! 3. `strict_order`: a step more than one beyond what is reached ends the search once a step 1 was seen; with
//!    `allow_reentry` it is passed over.
//!
//! Then a step goes on from a chain of one step less. `strict_increase` asks that it is strictly later than that
//! chain's end, `strict_once` that its row isn't in that chain.
//!
//! DIFFERENCE: under `strict_increase` ClickHouse forgets a chain when another one of its length ends later, even
//! if only the forgotten one can go on: `A@1 A@2 B@2` is 1 there and 2 here. Here the longest chain is found:
//! the level is what ClickHouse gives for `strict_increase, strict_once`. With `strict_deduplication` it can be lower
//! than what it gives without `strict_once`, because a step that is reached sooner comes again sooner.
//!
//! DIFFERENCE: with `strict_deduplication, strict_once` and several rows of one time and step, ClickHouse looks
//! at them in the order in which they arrived; here they go by their conditions. It matters where the first
//! of them is in the chain already, so that the second is no repetition.

use super::matching::Matching;
use super::{
    Chain, Flow, Moment, Reached, Rules, Scratch, Trail, bits, bits_down, lowest, moments,
};
use crate::aggregate::hits::{Hit, Window};
use crate::aggregate::window_funnel::mode::Flags;

/// What is kept of the chains of one length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// The one that started last; of those, the one that ended first.
    newest: Chain,
    /// The same of those that ended before `newest` did, if there was one.
    earlier: Option<Chain>,
}

impl Slot {
    /// The chain that started last of those that ended before `time`, the time of the scan.
    fn before(&self, time: i64) -> Option<Chain> {
        if self.newest.end < time {
            Some(self.newest)
        } else {
            self.earlier
        }
    }

    /// Takes a chain that ends at the time of the scan, if it started later.
    fn replace(&mut self, chain: Chain) {
        if self.newest.end < chain.end {
            self.earlier = Some(self.newest);
        }
        self.newest = chain;
    }
}

/// The level where no test stops the search and rows needn't be told apart, without any memory; nothing for
/// other flags.
pub(super) fn quick_level(hits: &[Hit], rules: &Rules, flags: Flags) -> Option<usize> {
    let Flags {
        order: false,
        deduplication: false,
        increase,
        once,
        ..
    } = flags
    else {
        return None;
    };
    let (steps, window) = (rules.steps, rules.window);
    match (increase, once, steps) {
        // Rows of different times are different rows.
        (true, _, ..=8) => Some(longest::<8, true>(hits, steps, window)),
        (true, _, _) => Some(longest::<64, true>(hits, steps, window)),
        (false, false, ..=8) => Some(longest::<8, false>(hits, steps, window)),
        (false, false, _) => Some(longest::<64, false>(hits, steps, window)),
        (false, true, _) => None,
    }
}

/// The length of the longest chain; of those with strictly later steps if `INCREASE`.
///
/// Of each length only the deadline of the chain that started last is kept. Steps of one moment go up, so that
/// each can use the one before; if `INCREASE`, they go down, so that none can.
fn longest<const SLOTS: usize, const INCREASE: bool>(
    hits: &[Hit],
    steps: usize,
    window: Window,
) -> usize {
    let mut deadlines = [0_i64; SLOTS];
    let mut reached = 0;
    let mut at = 0;
    while let Some(&Hit {
        time,
        mut conditions,
    }) = hits.get(at)
    {
        at += 1;
        while let Some(hit) = hits.get(at).filter(|hit| hit.time == time) {
            conditions |= hit.conditions;
            at += 1;
        }
        let mut extend = |step: usize, reached: &mut usize| {
            if step == 0 {
                deadlines[0] = window.deadline(time);
            } else if time <= deadlines[step - 1] {
                deadlines[step] = deadlines[step - 1];
            } else {
                return;
            }
            *reached = (*reached).max(step + 1);
        };
        if INCREASE {
            for step in bits_down(conditions & lowest((reached + 1).min(steps))) {
                extend(step, &mut reached);
            }
        } else {
            for step in bits(conditions & lowest(steps)) {
                if step > reached {
                    break;
                }
                extend(step, &mut reached);
            }
        }
        if reached == steps {
            break;
        }
    }
    reached
}

/// The level and its chain, for all flags.
pub(super) fn scan(
    hits: &[Hit],
    rules: &Rules,
    flags: Flags,
    scratch: &mut Scratch,
    trail: &mut impl Trail,
) -> Reached {
    scratch.slots.clear();
    let mut scan = Scan {
        flags,
        steps: rules.steps,
        window: rules.window,
        matching: &mut scratch.matching,
        longest: Longest {
            slots: &mut scratch.slots,
            trail,
            node: 0,
        },
    };
    for moment in moments(hits, rules.mask()) {
        if scan.moment(&moment).is_break() {
            break;
        }
    }
    Reached {
        level: scan.longest.length(),
        node: scan.longest.node,
    }
}

/// What the tests say of an entry.
enum Admission {
    /// The search is over.
    Stop,
    /// Neither this step nor a later one of the moment can go on from a chain.
    TooEarly,
    /// It may go on from a chain.
    Admitted,
}

struct Scan<'a, T> {
    flags: Flags,
    steps: usize,
    window: Window,
    matching: &'a mut Matching,
    longest: Longest<'a, T>,
}

impl<T: Trail> Scan<'_, T> {
    fn moment(&mut self, moment: &Moment<'_>) -> Flow {
        if self.flags.order && self.longest.length() > 0 && moment.has_stranger() {
            return Flow::Break(());
        }
        // Rows of different times are different rows, and so are rows that meet one condition each.
        if self.flags.increase || self.flags.once && moment.hits.len() == 1 {
            self.extend_chains(moment, |slot| slot.before(moment.time))
        } else if self.flags.once && moment.has_double() {
            self.extend_by_matching(moment)
        } else {
            self.extend_chains(moment, |slot| Some(slot.newest))
        }
    }

    /// Goes on from the chain that `usable` finds among those of one step less.
    fn extend_chains(
        &mut self,
        moment: &Moment<'_>,
        usable: impl Fn(&Slot) -> Option<Chain>,
    ) -> Flow {
        for step in bits(moment.conditions) {
            for row in moment.rows_of(step) {
                match self.admit(step) {
                    Admission::Stop => return Flow::Break(()),
                    Admission::TooEarly => return Flow::Continue(()),
                    Admission::Admitted => {}
                }
                let before = match step {
                    0 => Some(Chain::starting(moment.time, self.window)),
                    _ => usable(&self.longest.slots[step - 1]),
                };
                if let Some(before) = before.filter(|chain| moment.time <= chain.deadline) {
                    self.longest.go_on(before, step, moment.time, [row]);
                }
                if self.longest.length() == self.steps {
                    return Flow::Break(());
                }
                if !self.flags.deduplication {
                    // Further rows could only do the same.
                    break;
                }
            }
        }
        Flow::Continue(())
    }

    /// Goes on where a row may meet several conditions, of which it fills one step only.
    ///
    /// A chain of length j from before this moment becomes one of length k if the steps j + 1 to k can each have
    /// a row of their own here. The smaller j, the later its chain started, so the smallest does.
    fn extend_by_matching(&mut self, moment: &Moment<'_>) -> Flow {
        self.matching.begin(moment.hits.len());
        for step in bits(moment.conditions) {
            match self.admit(step) {
                Admission::Stop => return Flow::Break(()),
                Admission::TooEarly => return Flow::Continue(()),
                Admission::Admitted => {}
            }
            let mut first = self.matching.add(moment.hits, step, moment.hits.len());
            if self.source(moment.time, first).is_none() {
                continue;
            }
            let mut comes_again = false;
            if self.flags.deduplication && step > 0 {
                (first, comes_again) = self.give_to_first_row(moment, step);
            }
            let Some(before) = self.source(moment.time, first) else {
                continue;
            };
            let rows = self.matching.rows(first, step);
            let rows = rows.iter().map(|row| moment.first_row + row);
            self.longest.go_on(before, first, moment.time, rows);
            if comes_again || self.longest.length() == self.steps {
                return Flow::Break(());
            }
        }
        Flow::Continue(())
    }

    /// Gives a step to the first row that can take it, since another one after that is a repetition. Returns the
    /// first step of the run, and whether there is such a repetition.
    ///
    /// A row that can't take the step is one that each chain needs for another step, so no more are tried in vain
    /// than there are steps.
    fn give_to_first_row(&mut self, moment: &Moment<'_>, step: usize) -> (usize, bool) {
        let all = moment.hits.len();
        let mut rows = moment.rows_of(step);
        while let Some(row) = rows.next() {
            self.matching.begin(all);
            for earlier in bits(moment.conditions & lowest(step)) {
                self.matching.add(moment.hits, earlier, all);
            }
            let tried = row - moment.first_row + 1;
            let first = self.matching.add(moment.hits, step, tried);
            if self.source(moment.time, first).is_some() {
                return (first, rows.next().is_some());
            }
        }
        (step, false)
    }

    /// The chain of that length that a run of steps at this moment can go on from.
    fn source(&self, time: i64, length: usize) -> Option<Chain> {
        match length {
            0 => Some(Chain::starting(time, self.window)),
            _ => self.longest.slots.get(length - 1)?.before(time),
        }
        .filter(|chain| time <= chain.deadline)
    }

    fn admit(&self, step: usize) -> Admission {
        let reached = self.longest.length();
        if self.flags.deduplication && step > 0 && step < reached {
            Admission::Stop
        } else if step <= reached {
            Admission::Admitted
        } else if self.flags.order && !self.flags.reentry && reached > 0 {
            Admission::Stop
        } else {
            Admission::TooEarly
        }
    }
}

/// The chains that are worth keeping, of each length.
struct Longest<'a, T> {
    /// The slot of each length that was reached; a length is reached only after all smaller ones.
    slots: &'a mut Vec<Slot>,
    trail: &'a mut T,
    /// The first chain of the greatest length.
    node: usize,
}

impl<T: Trail> Longest<'_, T> {
    fn length(&self) -> usize {
        self.slots.len()
    }

    /// Makes a chain longer by rows of one moment, which take the steps from `first` on, and keeps it if it
    /// started later than the one of its length.
    fn go_on(
        &mut self,
        before: Chain,
        first: usize,
        time: i64,
        rows: impl IntoIterator<Item = usize, IntoIter: ExactSizeIterator>,
    ) {
        let rows = rows.into_iter();
        let kept = self.slots.get_mut(first + rows.len() - 1);
        if let Some(slot) = &kept
            && before.start <= slot.newest.start
        {
            return;
        }
        let chain = Chain {
            end: time,
            node: rows.fold(before.node, |node, row| self.trail.go_on(node, row)),
            ..before
        };
        match kept {
            Some(slot) => slot.replace(chain),
            None => {
                self.slots.push(Slot {
                    newest: chain,
                    earlier: None,
                });
                self.node = chain.node;
            }
        }
    }
}
