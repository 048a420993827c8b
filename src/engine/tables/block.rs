//! Changes alone and in transaction blocks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::target::Target;
use crate::engine::session::{Session, lock};
use crate::error::{Error, Result};
use crate::tables::{
    Block, Change, DataFile, KeySet, NewRows, Staged, Table, Version, View, Writer, check_new_keys,
    check_shape,
};

/// As many bytes of added rows wait in memory for their file.
const PENDING_BYTES: usize = 16 << 20;
/// As many of them.
const PENDING_BATCHES: usize = 512;
/// As long an implicit block waits for its second table, and those behind it; as Postgres' `deadlock_timeout`.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The locks of tables, by the tables' IDs.
type Held = BTreeMap<String, OwnedMutexGuard<()>>;

/// How a change becomes everybody's.
#[derive(Debug)]
pub enum Writing {
    /// When it is done; until then nobody else changes the table.
    Alone(OwnedMutexGuard<()>),
    /// With its transaction block.
    InBlock,
}

impl Writing {
    /// What keeps others from changing the table.
    pub fn held(self) -> Option<OwnedMutexGuard<()>> {
        match self {
            Self::Alone(held) => Some(held),
            Self::InBlock => None,
        }
    }
}

impl Session {
    /// Whether a transaction block is open.
    pub(in crate::engine) fn in_block(&self) -> bool {
        lock(&self.block).is_some()
    }

    /// A statement begins: it sees what others have committed before it, and what its transaction block has changed.
    pub(in crate::engine) fn begin_statement(&self) {
        self.see(true);
    }

    /// What comes sees the tables as they are now, or as its transaction block has them.
    pub(in crate::engine) fn take_view(&self) {
        self.see(false);
    }

    fn see(&self, begins: bool) {
        let now = self.engine.tables().moment();
        let repeatable = self.setting("transaction_isolation");
        let repeatable = repeatable
            .is_ok_and(|level| matches!(level.as_str(), "repeatable read" | "serializable"));
        let view = match lock(&self.block).as_mut() {
            None => View::new(now),
            Some(block) => {
                match repeatable {
                    true => {
                        block.pinned.get_or_insert_with(|| Arc::clone(&now));
                    }
                    // In the middle of a statement nothing moves.
                    false if begins => block.follow(&now),
                    false => {}
                }
                block.view(now)
            }
        };
        self.info.set_view(view);
    }

    /// Begins a change: what is in the table, and how the change will be finished.
    pub(super) async fn begin_change(&self, target: &Target) -> Result<(Arc<Version>, Writing)> {
        let table = &target.table;
        if self.in_block() {
            let waited = self.hold(table).await;
            self.flush_pending().await?;
            if waited {
                self.catch_up(table).await?;
            }
            return Ok((self.seen(table), Writing::InBlock));
        }
        let held = Arc::clone(&table.writing).lock_owned().await;
        check_shape(table, &target.shape)?;
        self.take_view();
        Ok((self.engine.tables().current(table), Writing::Alone(held)))
    }

    /// An implicit block changes rows as its statements alone would: it waits for others, and they for it, so that it doesn't
    /// fail where they wouldn't. Returns whether it has waited for the table just now.
    async fn hold(&self, table: &Arc<Table>) -> bool {
        let id = table.id();
        let first = match lock(&self.block).as_ref() {
            Some(block) if block.implicit && !block.held.contains_key(&id) => block.held.is_empty(),
            _ => return false,
        };
        let waiting = Arc::clone(&table.writing).lock_owned();
        let held = match first {
            true => waiting.await,
            // Two that wait for each other's tables would do so for ever; one of them finds a conflict instead.
            false => match timeout(LONGEST_WAIT, waiting).await {
                Ok(held) => held,
                Err(_) => return false,
            },
        };
        if let Some(block) = lock(&self.block).as_mut() {
            block.held.insert(id, held);
        }
        true
    }

    /// Rows that a block has only added so far go with what others have committed since.
    async fn catch_up(&self, table: &Arc<Table>) -> Result<()> {
        let id = table.id();
        let changes = lock(&self.block).as_ref().map(Block::changes);
        let mut changes = changes.unwrap_or_default().into_iter();
        let Some(change) = changes.find(|change| change.table.id() == id) else {
            return Ok(());
        };
        if !change.removed.is_empty() {
            return Ok(());
        }
        self.check_meanwhile(&change).await?;
        let now = self.engine.tables().current(table);
        let version = Arc::new(now.changed(&HashSet::new(), &change.added));
        table.note(&version);
        if let Some(block) = lock(&self.block).as_mut()
            && let Some(staged) = block.staged.get_mut(&id)
        {
            staged.compared = Arc::clone(&now);
            staged.base = now;
            staged.version = version;
        }
        self.take_view();
        Ok(())
    }

    /// What is in a table with all that the block has changed in it, where it has: the part of a statement that changes it may see
    /// less.
    pub(super) fn written(&self, table: &Table) -> Option<Arc<Version>> {
        let block = lock(&self.block);
        let staged = block.as_ref()?.staged.get(&table.id())?;
        Some(Arc::clone(&staged.version))
    }

    /// What a block sees in a table.
    fn seen(&self, table: &Arc<Table>) -> Arc<Version> {
        let seen = self.info.view().and_then(|view| view.of(table));
        seen.unwrap_or_else(|| self.engine.tables().current(table))
    }

    /// Ends a change: it is everybody's, or its transaction block's. Nobody else changes the table while what is returned is held.
    pub(super) async fn end_change(
        &self,
        target: &Target,
        base: Arc<Version>,
        writing: Writing,
        removed: Vec<Arc<DataFile>>,
        added: Vec<Arc<DataFile>>,
    ) -> Result<Option<OwnedMutexGuard<()>>> {
        if removed.is_empty() && added.is_empty() {
            return Ok(writing.held());
        }
        let table = &target.table;
        let change = |base, removed, added| Change {
            table: Arc::clone(table),
            base,
            removed,
            added,
            moves_rows: false,
        };
        match writing {
            Writing::Alone(held) => {
                let tables = self.engine.tables();
                let held = tables
                    .commit(vec![change(base, removed, added)], vec![held])
                    .await?;
                self.engine.look_after(table);
                Ok(held.into_iter().next())
            }
            Writing::InBlock => {
                let before = self.written(table).unwrap_or_else(|| Arc::clone(&base));
                let there = before.paths();
                if removed.iter().any(|file| !there.contains(file.path())) {
                    change(base, removed, added).discard();
                    return Err(changed_before(target));
                }
                let paths = removed.iter().map(|file| file.path().to_owned()).collect();
                let version = Arc::new(before.changed(&paths, &added));
                table.note(&version);
                self.stage(target, &base, |staged| staged.version = version)?;
                self.take_view();
                Ok(None)
            }
        }
    }

    /// Changes what the block has of a table.
    fn stage(
        &self,
        target: &Target,
        base: &Arc<Version>,
        change: impl FnOnce(&mut Staged),
    ) -> Result<()> {
        if let Some(block) = lock(&self.block).as_mut() {
            let new = || {
                let (table, shape) = (Arc::clone(&target.table), Arc::clone(&target.shape));
                Staged::new(table, shape, Arc::clone(base))
            };
            let staged = block.staged.entry(target.table.id()).or_insert_with(new);
            // Rows of one shape don't go together with those of another.
            check_shape(&target.table, &staged.shape)?;
            check_shape(&target.table, &target.shape)?;
            change(staged);
        }
        Ok(())
    }

    /// Adds files of rows to a table.
    pub(in crate::engine) async fn append_files(
        &self,
        target: &Target,
        files: Vec<Arc<DataFile>>,
        new: &NewRows,
    ) -> Result<()> {
        let (base, writing) = self.begin_change(target).await?;
        let there = self
            .written(&target.table)
            .unwrap_or_else(|| Arc::clone(&base));
        let checked = self.check_keys(target, new, &there.files).await;
        if let Err(error) = checked {
            let change = Change {
                table: Arc::clone(&target.table),
                base,
                removed: Vec::new(),
                added: files,
                moves_rows: false,
            };
            change.discard();
            return Err(error);
        }
        self.end_change(target, base, writing, Vec::new(), files)
            .await?;
        Ok(())
    }

    /// Refuses rows whose keys there are already.
    pub(super) async fn check_keys(
        &self,
        target: &Target,
        new: &NewRows,
        old: &[Arc<DataFile>],
    ) -> Result<()> {
        let tables = self.engine.tables();
        let (table, shape) = (&target.table, &target.shape);
        check_new_keys(&self.context, tables, table, shape, new, old).await
    }

    /// Adds a few rows to a block. They are written with those that follow.
    pub(super) async fn stage_rows(&self, target: &Target, rows: RecordBatch) -> Result<()> {
        let table = &target.table;
        let base = self.written(table).unwrap_or_else(|| self.seen(table));
        let waiting: Vec<RecordBatch> = lock(&self.block)
            .as_ref()
            .and_then(|block| Some(block.staged.get(&table.id())?.pending.clone()))
            .unwrap_or_default();
        let keys = target.shape.keys();
        for key in &keys {
            let mut seen = KeySet::new(&target.shape, key)?;
            for batch in &waiting {
                seen.add(batch)?;
            }
            // Those that wait were compared with the files before.
            if seen.add(&rows)?.contains(&false) {
                let all = waiting.iter().chain([&rows]).cloned().collect();
                self.check_keys(target, &NewRows::Batches(all), &[]).await?;
            }
        }
        if !keys.is_empty() {
            let new = NewRows::Batches(vec![rows.clone()]);
            self.check_keys(target, &new, &base.files).await?;
        }
        let bytes = waiting
            .iter()
            .map(RecordBatch::get_array_memory_size)
            .sum::<usize>();
        let full = bytes + rows.get_array_memory_size() > PENDING_BYTES
            || waiting.len() >= PENDING_BATCHES;
        self.stage(target, &base, |staged| staged.pending.push(rows))?;
        match full {
            true => self.flush_pending().await,
            false => Ok(()),
        }
    }

    /// Writes the rows that wait in memory, so that the block's next statement sees them.
    pub(in crate::engine) async fn flush_pending(&self) -> Result<()> {
        let waiting: Vec<Staged> = match lock(&self.block).as_ref() {
            None => return Ok(()),
            Some(block) => block
                .staged
                .values()
                .filter(|staged| !staged.pending.is_empty())
                .cloned()
                .collect(),
        };
        for staged in waiting {
            let mut writer = Writer::new(&staged.table, &staged.shape);
            for rows in &staged.pending {
                if let Err(error) = writer.write(rows).await {
                    writer.abort().await;
                    return Err(error);
                }
            }
            let files = writer.finish().await?;
            let none = HashSet::new();
            let version = Arc::new(staged.version.changed(&none, &files));
            staged.table.note(&version);
            if let Some(block) = lock(&self.block).as_mut()
                && let Some(staged) = block.staged.get_mut(&staged.table.id())
            {
                staged.pending.clear();
                staged.version = version;
            }
        }
        self.take_view();
        Ok(())
    }

    /// Opens a block.
    pub(in crate::engine) fn begin_block(&self) {
        lock(&self.block).get_or_insert_default().begin();
    }

    /// Opens a block that nobody began, unless there is one.
    pub(in crate::engine) fn open_implicit_block(&self) {
        lock(&self.block).get_or_insert_with(Block::unspoken);
    }

    /// Whether there is a block that nobody began.
    pub fn has_implicit_block(&self) -> bool {
        let block = lock(&self.block);
        block.as_ref().is_some_and(|block| block.implicit)
    }

    /// What a block has changed so far can be gone back to.
    pub(in crate::engine) fn savepoint(&self, name: &str) {
        if let Some(block) = lock(&self.block).as_mut() {
            block.savepoint(name);
        }
    }

    /// A savepoint can't be gone back to any more.
    pub(in crate::engine) fn release(&self, name: &str) {
        if let Some(block) = lock(&self.block).as_mut() {
            block.release(name);
        }
    }

    /// A block has changed what it had at a savepoint.
    pub(in crate::engine) fn roll_back_to(&self, name: &str) {
        if let Some(block) = lock(&self.block).as_mut() {
            block.roll_back_to(name);
        }
    }

    /// A block's changes are nobody's.
    pub(in crate::engine) fn roll_back(&self) {
        if let Some(block) = lock(&self.block).take() {
            block.changes().iter().for_each(Change::discard);
        }
    }

    /// A block's changes are everybody's, all of them or none.
    pub(in crate::engine) async fn commit_block(&self) -> Result<()> {
        if let Err(error) = self.flush_pending().await {
            self.roll_back();
            return Err(error);
        }
        let Some(mut block) = lock(&self.block).take() else {
            return Ok(());
        };
        let changes = block.changes();
        if changes.is_empty() {
            block.restarts.keep();
            return Ok(());
        }
        let held = std::mem::take(&mut block.held);
        let locks = locks_of(&changes, held).await;
        let touched: Vec<Arc<Table>> = changes
            .iter()
            .map(|change| Arc::clone(&change.table))
            .collect();
        let mut checked = block.check_shapes();
        for change in &changes {
            if checked.is_ok() {
                checked = self.check_meanwhile(change).await;
            }
        }
        if let Err(error) = checked {
            changes.iter().for_each(Change::discard);
            return Err(error);
        }
        self.engine.tables().commit(changes, locks).await?;
        block.restarts.keep();
        for table in &touched {
            self.engine.look_after(table);
        }
        Ok(())
    }

    /// Compares added rows' keys with those that came since.
    async fn check_meanwhile(&self, change: &Change) -> Result<()> {
        let tables = self.engine.tables();
        let head = tables.current(&change.table);
        let shape = change.table.shape();
        let there = head.paths();
        // What was changed by somebody else is found, and said, by the commit.
        if change
            .removed
            .iter()
            .any(|file| !there.contains(file.path()))
        {
            return Ok(());
        }
        let mut since = head.beyond(&change.base);
        if since.is_empty() || change.added.is_empty() {
            return Ok(());
        }
        // Rows that came since in files that it writes anew are among its own, whose keys are compared with each other.
        let gone: HashSet<&str> = change.removed.iter().map(|file| file.path()).collect();
        since.retain(|file| !gone.contains(file.path()));
        let new = NewRows::Files(change.added.clone());
        check_new_keys(&self.context, tables, &change.table, &shape, &new, &since).await
    }
}

/// Rows of a file that an earlier part of the same statement has written anew: where they are now isn't known.
fn changed_before(target: &Target) -> Error {
    Error::Unsupported {
        message: format!(
            "changing rows of table \"{}\" twice in one statement is not supported",
            target.name()
        ),
        hint: Some("Send the changes one after the other, in a transaction.".to_owned()),
    }
}

/// What keeps others from changing a block's tables while it is committed; `held` are those of them that are held already.
async fn locks_of(changes: &[Change], held: Held) -> Vec<OwnedMutexGuard<()>> {
    if !held.is_empty()
        && let Ok(locks) = timeout(LONGEST_WAIT, all_locks(changes, held)).await
    {
        return locks;
    }
    // None is held here: somebody who waits for one of them goes on.
    all_locks(changes, Held::new()).await
}

async fn all_locks(changes: &[Change], mut held: Held) -> Vec<OwnedMutexGuard<()>> {
    // Always in the same order, so that two of them don't wait for each other.
    let mut locks = Vec::with_capacity(changes.len());
    for change in changes {
        let lock = match held.remove(&change.table.id()) {
            Some(lock) => lock,
            None => Arc::clone(&change.table.writing).lock_owned().await,
        };
        locks.push(lock);
    }
    locks
}
