//! A log of all groups in one vector, for functions that have to look at a group's rows together.
//!
//! Items are appended as they come. Only when results or states are asked for, or when the log has doubled,
//! are they brought together by group, in linear time.

use std::mem::size_of;

use datafusion::common::Result;
use datafusion::logical_expr::EmitTo;

use super::columns::group_number;

/// A log isn't tidied before it has so many items, as that would not be worth the time.
const SMALL_LOG: usize = 4_096;

/// What happened to every group, in the order it was heard of.
#[derive(Debug)]
pub(crate) struct GroupLog<T> {
    items: Vec<T>,
    /// The group of each item.
    item_groups: Vec<u32>,
    /// How many groups there are, those without an item too.
    groups: usize,
    /// How many items the log had when it was tidied last.
    tidied: usize,
}

impl<T> Default for GroupLog<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            item_groups: Vec::new(),
            groups: 0,
            tidied: 0,
        }
    }
}

/// The items of groups, one group after another.
#[derive(Debug)]
pub(crate) struct Runs<T> {
    items: Vec<T>,
    /// Where each group's items end.
    ends: Vec<usize>,
}

impl<T> Runs<T> {
    /// The items of each group.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut [T]> {
        let mut rest = self.items.as_mut_slice();
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let (run, others) = std::mem::take(&mut rest).split_at_mut(end - start);
            rest = others;
            start = *end;
            run
        })
    }
}

impl<T: Copy> GroupLog<T> {
    /// Makes room for so many groups.
    pub fn set_groups(&mut self, groups: usize) {
        self.groups = groups;
    }

    /// Appends an item.
    pub fn push(&mut self, group: usize, item: T) -> Result<()> {
        self.item_groups.push(group_number(group)?);
        self.items.push(item);
        Ok(())
    }

    /// The items themselves, in no order.
    pub fn items_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    /// Takes groups out, and moves the others down.
    pub fn take(&mut self, emit_to: EmitTo) -> Runs<T> {
        match emit_to {
            EmitTo::All => {
                let groups = std::mem::take(&mut self.groups);
                self.tidied = 0;
                let (items, item_groups) = (
                    std::mem::take(&mut self.items),
                    std::mem::take(&mut self.item_groups),
                );
                by_group(items, &item_groups, groups)
            }
            EmitTo::First(groups) => self.take_first(groups),
        }
    }

    fn take_first(&mut self, groups: usize) -> Runs<T> {
        let (mut taken, mut taken_groups) = (Vec::new(), Vec::new());
        let (mut left, mut left_groups) = (Vec::new(), Vec::new());
        for (item, group) in self.items.iter().zip(&self.item_groups) {
            match (*group as usize).checked_sub(groups) {
                None => {
                    taken.push(*item);
                    taken_groups.push(*group);
                }
                // Smaller than a `u32` was before, so nothing is cut off.
                Some(moved) => {
                    left.push(*item);
                    left_groups.push(moved as u32);
                }
            }
        }
        (self.items, self.item_groups) = (left, left_groups);
        self.groups = self.groups.saturating_sub(groups);
        self.tidied = 0;
        by_group(taken, &taken_groups, groups)
    }

    /// Lets `tidy` drop what can't matter any more, if the log has doubled since it did so last.
    ///
    /// `tidy` gets the items of one group, and appends those to keep to the vector. Returns whether it was
    /// called. Each item is looked at a few times at most, however long the log gets.
    pub fn tidy_if_doubled(&mut self, mut tidy: impl FnMut(&mut [T], &mut Vec<T>)) -> bool {
        if self.items.len() < SMALL_LOG.max(2 * self.tidied) {
            return false;
        }
        let groups = self.groups;
        let mut runs = self.take(EmitTo::All);
        self.groups = groups;
        // Group numbers are those of items that were pushed, so they fit.
        for (group, run) in runs.iter_mut().enumerate() {
            tidy(run, &mut self.items);
            self.item_groups.resize(self.items.len(), group as u32);
        }
        self.tidied = self.items.len();
        true
    }

    /// The bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.items.capacity() * size_of::<T>() + self.item_groups.capacity() * size_of::<u32>()
    }
}

/// Brings the items of each group together, in the order in which they were.
fn by_group<T: Copy>(items: Vec<T>, item_groups: &[u32], groups: usize) -> Runs<T> {
    let mut ends = vec![0; groups];
    for group in item_groups {
        ends[*group as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    if item_groups.is_sorted() {
        return Runs { items, ends };
    }
    let mut places = ends.clone();
    let mut sorted = items.clone();
    // From the back, as each group is filled from its end.
    for (item, group) in items.iter().zip(item_groups).rev() {
        let place = &mut places[*group as usize];
        *place -= 1;
        sorted[*place] = *item;
    }
    Runs {
        items: sorted,
        ends,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn shown(mut runs: Runs<char>) -> Vec<String> {
        runs.iter_mut().map(|run| run.iter().collect()).collect()
    }

    fn log(items: &[(usize, char)], groups: usize) -> GroupLog<char> {
        let mut log = GroupLog::default();
        log.set_groups(groups);
        for (group, item) in items {
            log.push(*group, *item).unwrap();
        }
        log
    }

    #[test]
    fn items_come_by_group_in_the_order_they_came() {
        let items = [(2, 'a'), (0, 'b'), (2, 'c'), (0, 'd'), (3, 'e')];
        assert_eq!(
            shown(log(&items, 5).take(EmitTo::All)),
            ["bd", "", "ac", "e", ""]
        );
        assert!(shown(log(&[], 0).take(EmitTo::All)).is_empty());
    }

    #[test]
    fn the_groups_that_stay_move_down() {
        let mut log = log(&[(2, 'a'), (0, 'b'), (1, 'c'), (2, 'd')], 3);
        assert_eq!(shown(log.take(EmitTo::First(2))), ["b", "c"]);
        log.push(1, 'e').unwrap();
        log.set_groups(2);
        assert_eq!(shown(log.take(EmitTo::All)), ["ad", "e"]);
    }

    #[test]
    fn a_log_that_has_doubled_is_tidied() {
        let mut log = GroupLog::default();
        log.set_groups(3);
        let mut times = 0;
        for number in 0..100_000_usize {
            log.push(number % 3, number).unwrap();
            let tidied = log.tidy_if_doubled(|run, kept| kept.extend(run.iter().max()));
            times += usize::from(tidied);
        }
        assert!((20..30).contains(&times), "{times}");
        let mut runs = log.take(EmitTo::All);
        let last = runs.iter_mut().map(|run| *run.last().unwrap());
        assert_eq!(last.collect::<Vec<_>>(), [99_999, 99_997, 99_998]);
    }
}
