//! The search for the most steps in any order.
//!
//! A walk over the times of a held value keeps when each step was last met. At a time, the chain to look at
//! takes every step that was met late enough for the window and for the exclusions, each as late as possible:
//! no other one has more steps, and none of its length starts later.

use super::group::{Found, Group, Rank, Standing, Visit};

/// The last time at which a step was met.
#[derive(Debug, Clone, Copy)]
struct Seen {
    time: i64,
    /// Until when a chain that starts there can go on.
    until: i64,
}

/// The buffers of the search.
#[derive(Debug, Default)]
pub(super) struct AnyOrder {
    /// By step, from 0.
    seen: Vec<Option<Seen>>,
    /// The best chains so far.
    rank: Option<Rank>,
    /// Where they stand, and the index behind their last visit.
    ends: Vec<(Standing, usize)>,
}

impl AnyOrder {
    /// The chain to report.
    pub fn best(&mut self, group: &Group) -> Option<Found> {
        self.rank = None;
        self.ends.clear();
        let mut offset = 0;
        for value in group.values() {
            self.walk(group, value, offset);
            offset += value.len();
        }
        let chains = self.ends.iter().filter_map(|(standing, end)| {
            let visits = &group.visits()[..*end];
            let key = (standing.held, standing.start);
            let first = visits.partition_point(|visit| (visit.held, visit.time) < key);
            assign(group, visits[first..].iter(), *standing)
        });
        chains.min_by(Found::cmp_rows)
    }

    /// The chain to report of those that start with the first row from the position `begin` on that meets a
    /// step; `visits` are of one held value.
    pub fn attempt(&mut self, group: &Group, visits: &[Visit], begin: usize) -> Option<Found> {
        let rows = visits.iter().filter(|visit| visit.position >= begin);
        let first = rows.clone().next()?;
        let until = until(group, first);
        let rows = rows.take_while(|visit| visit.time <= until);
        let mut met = 0_u64;
        let mut reached = first.time;
        for visit in rows.clone() {
            let bit = 1 << (visit.step - 1);
            if met & bit == 0 {
                met |= bit;
                reached = visit.time;
            }
            if met == group.rules.all_steps() {
                break;
            }
        }
        // Beside getting there first, a chain may have a row at the time of the exclusion that would cut it.
        let ends = [reached, until];
        let chains = ends.into_iter().filter_map(|reached| {
            let standing = Standing {
                held: first.held,
                level: met.count_ones() as usize,
                start: first.time,
                reached,
                run_end: usize::MAX,
            };
            let rows = rows.clone().take_while(|visit| visit.time <= reached);
            assign(group, rows, standing)
        });
        chains.max_by_key(|found| found.standing.rank(group.fate(&found.standing).0))
    }

    /// Walks over the visits of one held value; `offset` is the index of the first.
    fn walk(&mut self, group: &Group, visits: &[Visit], offset: usize) {
        self.seen.clear();
        self.seen.resize(group.rules.steps(), None);
        let mut end = offset;
        for same_time in visits.chunk_by(|one, next| one.time == next.time) {
            end += same_time.len();
            let Some(first) = same_time.first() else {
                continue;
            };
            let seen = Seen {
                time: first.time,
                until: until(group, first),
            };
            for visit in same_time {
                self.seen[visit.step - 1] = Some(seen);
            }
            self.consider(group, first, end);
        }
    }

    /// Remembers the chain that ends with these visits, if it is at least as good as the best so far.
    fn consider(&mut self, group: &Group, last: &Visit, end: usize) {
        let usable = self.seen.iter().flatten();
        let usable = usable.filter(|seen| seen.until >= last.time);
        let (level, start) = usable.fold((0, last.time), |(level, start), seen| {
            (level + 1, start.min(seen.time))
        });
        if self.rank.is_some_and(|(best, ..)| best > level) {
            return;
        }
        let standing = Standing {
            held: last.held,
            level,
            start,
            reached: last.time,
            run_end: usize::MAX,
        };
        let rank = Some(standing.rank(group.fate(&standing).0));
        if rank > self.rank {
            self.rank = rank;
            self.ends.clear();
        }
        if rank == self.rank {
            self.ends.push((standing, end));
        }
    }
}

/// Until when a chain that starts with this visit can go on.
fn until(group: &Group, visit: &Visit) -> i64 {
    let deadline = group.rules.deadline(visit.time);
    // Exclusions are of the whole chain, so they are in force from its first row on.
    let cut = group.cut_after(1, visit.held, visit.time);
    deadline.min(cut.unwrap_or(i64::MAX))
}

/// The first row of `visits` for each step, such that one of them is at the start and one at the end; `None`
/// where there is no such choice.
///
/// `visits` are those from the start to the end, and meet just the steps of the chain.
fn assign<'a>(
    group: &Group,
    visits: impl Iterator<Item = &'a Visit>,
    standing: Standing,
) -> Option<Found> {
    let mut positions: Vec<Option<usize>> = vec![None; group.rules.steps()];
    let mut at_the_end = positions.clone();
    for visit in visits {
        positions[visit.step - 1].get_or_insert(visit.position);
        if visit.time == standing.reached {
            at_the_end[visit.step - 1].get_or_insert(visit.position);
        }
    }
    let taken_at = |positions: &[Option<usize>], time: i64| {
        let mut taken = positions.iter().flatten();
        taken.any(|position| group.time_at(*position) == time)
    };
    if !taken_at(&positions, standing.reached) {
        // Giving way at the last step possible leaves the earlier ones at their first rows.
        let given_way = (0..positions.len()).rev().find_map(|step| {
            let mut changed = positions.clone();
            changed[step] = Some(at_the_end[step]?);
            taken_at(&changed, standing.start).then_some(changed)
        });
        positions = given_way?;
    }
    Some(Found {
        standing,
        positions,
    })
}
