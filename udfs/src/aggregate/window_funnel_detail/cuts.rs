//! The exclusions of a group, to be asked for the first one behind a moment.

use super::kernel::Row;
use super::rules::Rules;

/// Every exclusion of every row, as (which one, the held value it concerns, when), sorted.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    entries: Vec<(u32, Option<u32>, i64)>,
}

impl Cuts {
    /// Replaces what it holds by the exclusions of `rows`.
    pub fn fill(&mut self, rows: &[Row], rules: &Rules) {
        self.entries.clear();
        for row in rows {
            let held = row.held.filter(|_| rules.held());
            let mut bits = row.exclusions & rules.all_exclusions();
            while bits != 0 {
                let exclusion = bits.trailing_zeros();
                self.entries.push((exclusion, held, row.time));
                bits &= bits - 1;
            }
        }
        self.entries.sort_unstable();
    }

    /// When the first of the exclusions `in_force` comes that concerns chains of `held` and lies behind `time`.
    pub fn first_after(&self, in_force: u64, held: Option<u32>, time: i64) -> Option<i64> {
        if self.entries.is_empty() {
            return None;
        }
        let mut first = None;
        let mut bits = in_force;
        while bits != 0 {
            let exclusion = bits.trailing_zeros();
            // An exclusion without a held value concerns every chain.
            let everyone = self.next((exclusion, None, time));
            let own = held.and_then(|_| self.next((exclusion, held, time)));
            first = [first, everyone, own].into_iter().flatten().min();
            bits &= bits - 1;
        }
        first
    }

    /// The time of the entry behind `entry` that differs from it in time only.
    fn next(&self, entry: (u32, Option<u32>, i64)) -> Option<i64> {
        let index = self.entries.partition_point(|other| *other <= entry);
        let (exclusion, held, time) = self.entries.get(index)?;
        ((*exclusion, *held) == (entry.0, entry.1)).then_some(*time)
    }
}
