//! `pg_stat_progress_copy`: what each copy that runs has done so far.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::engine::session::lock;

/// The copies that run.
#[derive(Debug, Default)]
pub struct Copies {
    running: Mutex<BTreeMap<u64, Arc<CopyProgress>>>,
    begun: AtomicU64,
}

impl Copies {
    /// What each of them has done, the oldest first.
    pub fn running(&self) -> Vec<Arc<CopyProgress>> {
        lock(&self.running).values().cloned().collect()
    }

    /// A copy begins; it is over when what is returned is dropped.
    pub fn begin(self: &Arc<Self>, progress: CopyProgress) -> RunningCopy {
        let key = self.begun.fetch_add(1, Ordering::Relaxed);
        let progress = Arc::new(progress);
        lock(&self.running).insert(key, Arc::clone(&progress));
        RunningCopy {
            copies: Arc::clone(self),
            key,
            progress,
        }
    }
}

/// What a copy has done so far.
#[derive(Debug)]
pub struct CopyProgress {
    /// The number of its connection; 0 where there is none.
    pub number: i32,
    /// Whose it is.
    pub user: String,
    /// The table's schema and name; nothing for a query.
    pub relation: Option<(String, String)>,
    /// `COPY FROM` or `COPY TO`
    pub command: &'static str,
    bytes: AtomicU64,
    rows: AtomicU64,
    excluded: AtomicU64,
}

impl CopyProgress {
    /// Nothing yet.
    pub fn new(
        number: i32,
        user: &str,
        relation: Option<(String, String)>,
        command: &'static str,
    ) -> Self {
        Self {
            number,
            user: user.to_owned(),
            relation,
            command,
            bytes: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            excluded: AtomicU64::new(0),
        }
    }

    /// So many bytes came, or were sent.
    pub fn add_bytes(&self, bytes: usize) {
        add(&self.bytes, bytes);
    }

    /// So many rows were copied.
    pub fn add_rows(&self, rows: usize) {
        add(&self.rows, rows);
    }

    /// So many rows were left out by `WHERE`.
    pub fn add_excluded(&self, rows: usize) {
        add(&self.excluded, rows);
    }

    /// Bytes, rows, and rows that were left out.
    pub fn counts(&self) -> [i64; 3] {
        [&self.bytes, &self.rows, &self.excluded]
            .map(|count| i64::try_from(count.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
    }
}

fn add(count: &AtomicU64, more: usize) {
    count.fetch_add(u64::try_from(more).unwrap_or(0), Ordering::Relaxed);
}

/// A copy that runs, listed until this is dropped.
#[derive(Debug)]
pub struct RunningCopy {
    copies: Arc<Copies>,
    key: u64,
    /// What it has done.
    pub progress: Arc<CopyProgress>,
}

impl Drop for RunningCopy {
    fn drop(&mut self) {
        lock(&self.copies.running).remove(&self.key);
    }
}
