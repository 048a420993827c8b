//! The search for a chain whose steps have an order: `ordered` and `strict` counting.
//!
//! A walk over the visits keeps, for each level, the chains that wait for their next step. Of two such chains
//! one is superfluous when it started no later and took its last step no later than the other: the other can
//! do whatever it can. So the chains that wait at a level, the one with the oldest last step first, have ever
//! earlier starts, and a new one makes some at the end superfluous. The best one for a step is the first
//! that the step isn't too late for. It takes an optional step for two of them to wait at one level: one that took
//! the step and one that passed it over.
//!
//! All this needs [`Window::deadline`](crate::aggregate::hits::Window::deadline) never to be earlier for a later
//! start.
//!
//! The walk finds out where the reported chain starts and ends; [`Chains::trace`] walks back over this part,
//! marks the visits from which the end can be reached, and takes the first of them for each step.

use std::collections::VecDeque;

use super::group::{Found, Group, Rank, Standing, Visit};

/// A chain that waits for its next step.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    start: i64,
    last: Last,
}

/// The last step that a chain has taken, and how far from it the next one can be.
#[derive(Debug, Clone, Copy)]
struct Last {
    time: i64,
    /// The first exclusion behind it; `i64::MAX` where there is none.
    cut: i64,
    run_end: usize,
}

impl Last {
    fn of(visit: &Visit, group: &Group) -> Self {
        let cut = group.cut_after(visit.step, visit.held, visit.time);
        Last {
            time: visit.time,
            cut: cut.unwrap_or(i64::MAX),
            run_end: visit.run_end,
        }
    }

    /// Whether `step` can follow at this time and position, the window of the whole chain aside.
    fn allows(&self, step: usize, time: i64, position: usize, group: &Group) -> bool {
        time <= self.cut
            && position <= self.run_end
            && time <= group.rules.step_deadline(step, self.time)
    }
}

/// Which visits of step 1 start a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Starts {
    Every,
    First,
}

/// The buffers of the search.
#[derive(Debug, Default)]
pub(super) struct Chains {
    /// By level: the chains that wait there, their last steps ascending, their starts descending.
    waiting: Vec<VecDeque<Waiting>>,
    /// The best chains so far.
    rank: Option<Rank>,
    /// Where they end, as indices of visits, ascending.
    ends: Vec<usize>,
    /// Up to which time and position a chain can still go on.
    alive: (i64, usize),
    /// By visit of the traced part: whether the end can be reached from it.
    reaches_end: Vec<bool>,
    /// By step: time and position of the nearest visit that reaches the end.
    nearest: Vec<Option<(i64, usize)>>,
}

impl Chains {
    /// The chain to report.
    pub fn best(&mut self, group: &Group) -> Option<Found> {
        self.reset();
        let mut offset = 0;
        for value in group.values() {
            self.walk(group, value, offset, Starts::Every, 0);
            offset += value.len();
        }
        self.found(group, group.visits(), 0)
    }

    /// The chain to report of those that start with the first step 1 from the position `begin` on; `visits`
    /// are of one held value.
    pub fn attempt(&mut self, group: &Group, visits: &[Visit], begin: usize) -> Option<Found> {
        self.reset();
        self.walk(group, visits, 0, Starts::First, begin);
        self.found(group, visits, begin)
    }

    fn reset(&mut self) {
        self.rank = None;
        self.ends.clear();
    }

    /// Walks over the visits of one held value; `offset` is the index of the first.
    fn walk(
        &mut self,
        group: &Group,
        visits: &[Visit],
        offset: usize,
        starts: Starts,
        begin: usize,
    ) {
        self.waiting.iter_mut().for_each(VecDeque::clear);
        self.waiting
            .resize_with(group.rules.steps() + 1, VecDeque::new);
        self.alive = (i64::MIN, 0);
        let mut started = false;
        for (index, visit) in visits.iter().enumerate() {
            let only_one = started && starts == Starts::First;
            if self.is_settled(group, visit) || (only_one && self.is_over(visit)) {
                break;
            }
            if visit.position < begin || (only_one && visit.step == 1) {
                continue;
            }
            if let Some(start) = self.start_of(group, visit) {
                started = true;
                self.arrive(group, visit, start, offset + index);
            }
        }
    }

    /// Whether neither this visit nor one behind it can end a better chain.
    fn is_settled(&self, group: &Group, visit: &Visit) -> bool {
        self.rank.is_some_and(|(level, _, reached, _)| {
            level == group.rules.steps() && visit.time > reached.0
        })
    }

    /// Whether no chain can take this visit or one behind it.
    fn is_over(&self, visit: &Visit) -> bool {
        visit.time > self.alive.0 || visit.position > self.alive.1
    }

    /// The latest start of the chains that can take this visit.
    fn start_of(&mut self, group: &Group, visit: &Visit) -> Option<i64> {
        if visit.step == 1 {
            return Some(visit.time);
        }
        let levels = group.rules.steps_before(visit.step);
        levels
            .filter_map(|level| self.latest_start_at(group, level, visit))
            .max()
    }

    fn latest_start_at(&mut self, group: &Group, level: usize, visit: &Visit) -> Option<i64> {
        let waiting = self.waiting.get_mut(level)?;
        let is_over = |chain: &Waiting| {
            let limit = group.rules.last_chance(level, chain.start, chain.last.time);
            visit.time > limit.min(chain.last.cut) || visit.position > chain.last.run_end
        };
        while waiting.front().is_some_and(is_over) {
            waiting.pop_front();
        }
        // The ones that the step is too late for have the oldest last steps.
        let first = waiting.partition_point(|chain| {
            let last = &chain.last;
            !last.allows(visit.step, visit.time, visit.position, group)
        });
        let start = waiting.get(first)?.start;
        (visit.time <= group.rules.deadline(start)).then_some(start)
    }

    /// A chain that started at `start` takes the visit with this index.
    fn arrive(&mut self, group: &Group, visit: &Visit, start: i64, index: usize) {
        self.consider(group, &standing(visit, start), index);
        if visit.step == group.rules.steps() {
            return;
        }
        let last = Last::of(visit, group);
        let limit = group.rules.last_chance(visit.step, start, visit.time);
        self.alive.0 = self.alive.0.max(limit.min(last.cut));
        self.alive.1 = self.alive.1.max(last.run_end);
        let waiting = &mut self.waiting[visit.step];
        while waiting.back().is_some_and(|chain| chain.start <= start) {
            waiting.pop_back();
        }
        waiting.push_back(Waiting { start, last });
    }

    /// Remembers a chain that is at least as good as the best so far.
    fn consider(&mut self, group: &Group, standing: &Standing, index: usize) {
        if self.rank.is_some_and(|(level, ..)| level > standing.level) {
            return;
        }
        let (ended, _) = group.fate(standing);
        let rank = Some(standing.rank(ended));
        if rank > self.rank {
            self.rank = rank;
            self.ends.clear();
        }
        if rank == self.rank {
            self.ends.push(index);
        }
    }

    /// The best chain, with the rows that come first. The held values compete here for the last time.
    fn found(&mut self, group: &Group, visits: &[Visit], begin: usize) -> Option<Found> {
        let (_, _, _, start) = self.rank?;
        let ends = std::mem::take(&mut self.ends);
        let of_one_value = ends.chunk_by(|one, next| visits[*one].held == visits[*next].held);
        let found = of_one_value
            .filter_map(|ends| self.trace(group, visits, ends, start, begin))
            .min_by(Found::cmp_rows);
        self.ends = ends;
        found
    }

    /// The first rows by which a chain gets from `start` to one of `ends`, all of them of one held value.
    fn trace(
        &mut self,
        group: &Group,
        visits: &[Visit],
        ends: &[usize],
        start: i64,
        begin: usize,
    ) -> Option<Found> {
        let last = *ends.last()?;
        let held = visits[last].held;
        let first =
            visits[..last].partition_point(|visit| (visit.held, visit.time) < (held, start));
        let part = &visits[first..=last];
        self.mark(group, part, begin, |index| {
            ends.binary_search(&(first + index)).is_ok()
        });
        self.follow(group, part, visits[last].step, start)
    }

    /// Marks the visits from which a chain can get to an end.
    fn mark(
        &mut self,
        group: &Group,
        part: &[Visit],
        begin: usize,
        is_end: impl Fn(usize) -> bool,
    ) {
        self.reaches_end.clear();
        self.reaches_end.resize(part.len(), false);
        self.nearest.clear();
        self.nearest.resize(group.rules.steps() + 1, None);
        for (index, visit) in part.iter().enumerate().rev() {
            if visit.position < begin {
                continue;
            }
            if is_end(index) || self.can_go_on(group, visit) {
                self.reaches_end[index] = true;
                self.nearest[visit.step] = Some((visit.time, visit.position));
            }
        }
    }

    fn can_go_on(&self, group: &Group, visit: &Visit) -> bool {
        let mut next_steps = group.rules.steps_after(visit.step);
        if next_steps.clone().all(|step| self.nearest[step].is_none()) {
            return false;
        }
        let last = Last::of(visit, group);
        next_steps.any(|step| {
            let nearest = self.nearest[step];
            nearest.is_some_and(|(time, position)| last.allows(step, time, position, group))
        })
    }

    /// Takes the first marked visit for each step, and passes a step over only where there is none.
    fn follow(&self, group: &Group, part: &[Visit], level: usize, start: i64) -> Option<Found> {
        let marked = |index: &usize| self.reaches_end[*index];
        let mut current = (0..part.len())
            .filter(marked)
            .find(|index| part[*index].step == 1 && part[*index].time == start)?;
        let mut positions = vec![Some(part[current].position)];
        while part[current].step < level {
            let last = Last::of(&part[current], group);
            let next = group
                .rules
                .steps_after(part[current].step)
                .find_map(|step| {
                    let in_time = |index: &usize| {
                        let Visit { time, position, .. } = part[*index];
                        last.allows(step, time, position, group)
                    };
                    (current + 1..part.len())
                        .take_while(in_time)
                        .filter(marked)
                        .find(|index| part[*index].step == step)
                });
            current = next?;
            positions.resize(part[current].step - 1, None);
            positions.push(Some(part[current].position));
        }
        Some(Found {
            standing: standing(&part[current], start),
            positions,
        })
    }
}

fn standing(visit: &Visit, start: i64) -> Standing {
    Standing {
        held: visit.held,
        level: visit.step,
        start,
        reached: visit.time,
        run_end: visit.run_end,
    }
}
