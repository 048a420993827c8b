//! Small files into larger ones, and files that nobody reads any more away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::scan::Scan;
use super::table::Table;
use super::transaction::Change;
use super::version::{DataFile, Version};
use super::writer::Writer;
use super::{Tables, failed};
use crate::error::Result;
use crate::storage::Storage;

/// A partition with as many small files is compacted.
pub const MANY: usize = 64;
/// A checkpoint is made after as many commits.
const CHECKPOINT: u64 = 50;
/// How often is looked whether somebody still reads a table that was dropped.
const LOOK: Duration = Duration::from_millis(500);

impl Tables {
    /// Looks after a table that was changed, while nobody waits for it: small files become larger ones, and its log is
    /// put together. What goes wrong is in the server's log. `directory` is held until that is done.
    pub fn look_after(
        self: &Arc<Self>,
        context: &SessionContext,
        table: &Arc<Table>,
        directory: Arc<Storage>,
    ) {
        let version = self.current(table);
        let many = !version.many_small(MANY).is_empty();
        let checkpoint = version.number.is_multiple_of(CHECKPOINT) && version.number > 0;
        if !many && !checkpoint || table.compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (tables, table) = (Arc::clone(self), Arc::clone(table));
        let context = context.clone();
        tokio::spawn(async move {
            let name = table.shape().written_name();
            if checkpoint && let Err(error) = checkpointed(&table).await {
                tracing::warn!(%error, table = name, "a table's log can't be put together");
            }
            // Changes that came meanwhile found somebody at it and left theirs.
            let many = || !tables.current(&table).many_small(MANY).is_empty();
            loop {
                if many()
                    && let Err(error) = tables.compact(&context, &table, MANY).await
                {
                    tracing::warn!(%error, table = name, "small files can't be put together");
                    table.compacting.store(false, Ordering::Release);
                    break;
                }
                table.compacting.store(false, Ordering::Release);
                if !many() || table.compacting.swap(true, Ordering::AcqRel) {
                    break;
                }
            }
            drop(directory);
        });
    }

    /// Puts the small files of each partition that has at least `many` into larger ones; how many files went and came.
    ///
    /// # Errors
    /// 53100 and 58030 where files can't be read or written; the table is then as it was.
    pub async fn compact(
        self: &Arc<Self>,
        context: &SessionContext,
        table: &Arc<Table>,
        many: usize,
    ) -> Result<(usize, usize)> {
        let lock = Arc::clone(&table.writing).lock_owned().await;
        let base = self.current(table);
        let _unfinished = table.begin();
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for files in base.many_small(many) {
            added.extend(rewritten(context, table, &files).await?);
            removed.extend(files);
        }
        let counts = (removed.len(), added.len());
        if counts.0 > 0 {
            let change = Change {
                table: Arc::clone(table),
                base,
                removed,
                added,
                moves_rows: true,
            };
            self.commit(vec![change], vec![lock]).await?;
        }
        Ok(counts)
    }

    /// Removes the files that no version since `retention` has, and that nobody reads; how many.
    ///
    /// # Errors
    /// 55006 while somebody has files that aren't committed and would be taken for such, 58030.
    pub async fn vacuum(
        self: &Arc<Self>,
        table: &Arc<Table>,
        retention: Duration,
    ) -> Result<usize> {
        let _lock = Arc::clone(&table.writing).lock_owned().await;
        let shortest = Duration::from_secs(24 * 3600);
        if retention < shortest && table.unfinished.load(Ordering::Relaxed) > 0 {
            let name = table.shape().definition.name.clone();
            let error = crate::error::ChangeFault::InUse
                .error(format!(
                    "table \"{name}\" is being changed by a transaction"
                ))
                .hint("VACUUM it later, or RETAIN 24 HOURS or more.");
            return Err(error.into());
        }
        let kept: Vec<u64> = table
            .in_use()
            .iter()
            .map(|version| version.number)
            .collect();
        let delta = table.delta().await?;
        let retention = chrono::Duration::from_std(retention).unwrap_or(chrono::Duration::MAX);
        let (_, metrics) = delta
            .vacuum()
            .with_retention_period(retention)
            .with_enforce_retention_duration(false)
            .with_keep_versions(&kept)
            .await
            .map_err(failed)?;
        // It writes down that it was here.
        let version = Arc::new(table.load(None).await?);
        table.note(&version);
        self.publish(vec![(table.id(), version)]);
        Ok(metrics.files_deleted.len())
    }
}

async fn rewritten(
    context: &SessionContext,
    table: &Arc<Table>,
    files: &[Arc<DataFile>],
) -> Result<Vec<Arc<DataFile>>> {
    let shape = table.shape();
    let version = Version {
        number: 0,
        files: files.to_vec(),
    };
    let scan = Scan {
        place: table.place(),
        shape: &shape,
        version: &version,
        places: false,
        views: false,
    };
    let state = context.state();
    let plan = scan.plan(&state, None, None)?;
    let mut rows = execute_stream(plan, state.task_ctx())?;
    let mut writer = Writer::new(table, &shape);
    loop {
        match rows.try_next().await {
            Ok(Some(batch)) => writer.write(&batch).await?,
            Ok(None) => return writer.finish().await,
            Err(error) => {
                writer.abort().await;
                return Err(error.into());
            }
        }
    }
}

async fn checkpointed(table: &Table) -> Result<()> {
    let delta = table.delta().await?;
    let made = deltalake::checkpoints::create_checkpoint(&delta, None).await;
    made.map_err(failed)
}

/// Removes a dropped table's folder once nobody reads it.
pub fn remove_when_unread(table: Arc<Table>) {
    let remove = |table: &Table| {
        if let Err(error) = table.place().remove_all() {
            tracing::warn!(%error, "a dropped table's folder can't be removed");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(async move {
                // Views that were made over it, and plans that read it.
                while Arc::strong_count(&table) > 1 {
                    tokio::time::sleep(LOOK).await;
                }
                table.set_last(None);
                while !table.in_use().is_empty() {
                    tokio::time::sleep(LOOK).await;
                }
                remove(&table);
            });
        }
        Err(_) => remove(&table),
    }
}
