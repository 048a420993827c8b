//! A row of its own for each of several steps, among the rows of one time.

use crate::aggregate::hits::Hit;

/// The owner of a row that has none.
const FREE: usize = usize::MAX;

/// Different rows for a run of steps, one after the other without a gap; the run loses its first steps where
/// there are too few rows for all.
///
/// This is a bipartite matching that grows by augmenting paths. Adding a step to a run of s steps among r rows
/// costs at most s · r for each step that the run loses, and one more; so all n steps cost at most 2 n² · r.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// The step that each row is for.
    owners: Vec<usize>,
    /// The rows that the search for a path has seen.
    seen: Vec<bool>,
    /// The row of each step of the run.
    rows: Vec<usize>,
    /// The run's first step.
    first: usize,
    /// The step after its last.
    next: usize,
}

impl Matching {
    /// Starts anew with so many rows.
    pub fn begin(&mut self, rows: usize) {
        self.owners.clear();
        self.owners.resize(rows, FREE);
        self.seen.resize(rows, false);
        (self.first, self.next) = (0, 0);
    }

    /// Adds a step that some row meets, after all earlier ones, and returns the first step of the run that ends
    /// with it. Only the first so many `rows` are for that step; one of them has to meet it.
    pub fn add(&mut self, hits: &[Hit], step: usize, rows: usize) -> usize {
        if step != self.next {
            self.owners.fill(FREE);
            self.first = step;
        }
        self.next = step + 1;
        self.rows.resize(self.next, FREE);
        loop {
            self.seen.fill(false);
            if self.find_row(hits, step, rows) || self.first == step {
                return self.first;
            }
            self.owners[self.rows[self.first]] = FREE;
            self.first += 1;
        }
    }

    /// The rows of these steps of the run, the last included.
    pub fn rows(&self, first: usize, last: usize) -> &[usize] {
        &self.rows[first..=last]
    }

    /// Finds one of the first `rows` for a step; rows may change their owners for it. Its depth is at most that of the run.
    fn find_row(&mut self, hits: &[Hit], step: usize, rows: usize) -> bool {
        for (row, hit) in hits[..rows].iter().enumerate() {
            if self.seen[row] || hit.conditions >> step & 1 == 0 {
                continue;
            }
            self.seen[row] = true;
            let owner = self.owners[row];
            if owner == FREE || self.find_row(hits, owner, hits.len()) {
                self.owners[row] = step;
                self.rows[step] = row;
                return true;
            }
        }
        false
    }
}
