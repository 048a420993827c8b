//! One durable table: its folder, its log, and who changes it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use datafusion::datasource::listing::ListingTableUrl;
use deltalake::kernel::transaction::CommitData;
use deltalake::kernel::{Action, Add};
use deltalake::logstore::{CommitOrBytes, LogStoreRef, StorageConfig, default_logstore};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableBuilder};
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use uuid::Uuid;

use super::definition::{ColumnDefinition, Shape, TableDefinition};
use super::failed;
use super::version::{DataFile, Version};
use crate::error::{ChangeFault, Error, ForeignFault, Result};
use crate::storage::Place;

/// Where Delta's log is in a table's folder.
const LOG: &str = "_delta_log";

/// A table of the data directory.
#[derive(Debug)]
pub struct Table {
    place: Place,
    log: LogStoreRef,
    shape: RwLock<Arc<Shape>>,
    /// Held by whoever commits; the others wait in line.
    pub writing: Arc<tokio::sync::Mutex<()>>,
    /// Whether small files are being put together.
    pub compacting: AtomicBool,
    /// How many statements and transactions have files that aren't committed yet.
    pub unfinished: AtomicUsize,
    /// What was in it when it was dropped: a view may still read it.
    last: Mutex<Option<Arc<Version>>>,
    /// Versions that may still be read.
    read: Mutex<Vec<Weak<Version>>>,
}

impl Table {
    fn new(place: Place, shape: Shape) -> Result<Self> {
        Ok(Self {
            log: log_of(&place)?,
            place,
            shape: RwLock::new(Arc::new(shape)),
            writing: Arc::default(),
            compacting: AtomicBool::new(false),
            unfinished: AtomicUsize::new(0),
            last: Mutex::default(),
            read: Mutex::default(),
        })
    }

    /// Makes a table with these files, which are in its folder already.
    ///
    /// # Errors
    /// 58030 when its log can't be written.
    pub async fn create(
        place: Place,
        definition: TableDefinition,
        files: &[Arc<DataFile>],
    ) -> Result<(Self, Version)> {
        let table = Self::new(place, Shape::new(definition)?)?;
        let shape = table.shape();
        let columns = shape
            .definition
            .columns
            .iter()
            .map(ColumnDefinition::delta_field);
        let partitions = shape.partitions();
        let partitions = partitions
            .iter()
            .map(|at| shape.stored.field(*at).name().clone());
        let adds = files.iter().map(|file| Action::Add(file.add.clone()));
        CreateBuilder::new()
            .with_log_store(Arc::clone(&table.log))
            .with_columns(columns.collect::<Vec<_>>())
            .with_partition_columns(partitions.collect::<Vec<_>>())
            .with_actions(adds.collect::<Vec<_>>())
            .await
            .map_err(failed)?;
        table.sync(0).await?;
        let version = Version {
            number: 0,
            files: files.to_vec(),
        };
        Ok((table, version))
    }

    /// The folder and writer's store of a table that is about to be made.
    ///
    /// # Errors
    /// 58030 when the folder can't be made.
    pub fn prepare(place: Place, definition: TableDefinition) -> Result<Self> {
        place.make()?;
        Self::new(place, Shape::new(definition)?)
    }

    /// Reads a table's log.
    ///
    /// # Errors
    /// XX001 for one that can't be read, 08001 when its store can't be reached.
    pub async fn open(place: Place, definition: TableDefinition) -> Result<(Self, Version)> {
        let table = Self::new(place, Shape::new(definition)?)?;
        let version = table.load(None).await?;
        Ok((table, version))
    }

    /// A version as the log has it; the newest where none is named.
    ///
    /// # Errors
    /// XX001 for a log that can't be read.
    pub async fn load(&self, number: Option<u64>) -> Result<Version> {
        let mut delta = DeltaTable::new(Arc::clone(&self.log));
        let loaded = match number {
            Some(number) => delta.load_version(number).await,
            None => delta.load().await,
        };
        loaded.map_err(|error| self.unreadable(&error))?;
        version_of(&delta).map_err(|error| self.unreadable(&error))
    }

    /// The version at an instant, in milliseconds since 1970.
    ///
    /// # Errors
    /// XX001 for a log that can't be read.
    pub async fn load_at(&self, at: chrono::DateTime<chrono::Utc>) -> Result<Version> {
        let mut delta = DeltaTable::new(Arc::clone(&self.log));
        let loaded = delta.load_with_datetime(at).await;
        loaded.map_err(|error| self.unreadable(&error))?;
        version_of(&delta).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &deltalake::DeltaTableError) -> Error {
        crate::external::find_fault(error).unwrap_or_else(|| Error::Corrupt {
            kind: "table",
            file: self.place.to_string(),
            reason: error.to_string(),
        })
    }

    /// Its folder.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its folder's name.
    pub fn id(&self) -> String {
        self.shape().definition.id.clone()
    }

    /// Where its files are written.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.log.object_store(None)
    }

    /// Delta's own view of it.
    ///
    /// # Errors
    /// XX001 for a log that can't be read.
    pub async fn delta(&self) -> Result<DeltaTable> {
        let mut delta = DeltaTable::new(Arc::clone(&self.log));
        delta
            .load()
            .await
            .map_err(|error| self.unreadable(&error))?;
        Ok(delta)
    }

    /// Its columns now.
    pub fn shape(&self) -> Arc<Shape> {
        Arc::clone(&self.shape.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// It has other columns from now on.
    pub fn reshape(&self, shape: Shape) {
        *self.shape.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shape);
    }

    /// The bytes of a commit.
    ///
    /// # Errors
    /// XX000 for actions that can't be written.
    pub fn entry(actions: Vec<Action>, operation: DeltaOperation) -> Result<Vec<u8>> {
        let data = CommitData::new(actions, operation, HashMap::new(), Vec::new());
        let bytes = data.get_bytes().map_err(|error| failed(error.into()))?;
        Ok(bytes.to_vec())
    }

    /// Writes a commit, which is on the disk or in the store then.
    pub async fn commit(&self, number: u64, entry: &[u8]) -> Committed {
        if let Place::Store(remote, _) = &self.place
            && let Err(error) = remote.check_owned()
        {
            return Committed::Failed(error);
        }
        let lines = CommitOrBytes::LogBytes(entry.to_vec().into());
        let written = self
            .log
            .write_commit_entry(number, lines, Uuid::new_v4())
            .await;
        let written = match written {
            Ok(()) => self.sync(number).await,
            Err(error) => Err(failed(error.into())),
        };
        match (written, &self.place) {
            (Ok(()), _) => Committed::Done,
            (Err(error), Place::Folder(_)) => match self.undo(number) {
                true => Committed::Failed(error),
                false => Committed::Unknown(error),
            },
            // The store may have it, although its answer didn't come.
            (Err(error), Place::Store(..)) => match self.log.read_commit_entry(number).await {
                Ok(Some(there)) if there.as_ref() == entry => Committed::Done,
                Ok(Some(_)) => Committed::Taken(self.taken()),
                Ok(None) | Err(_) => Committed::Unknown(error),
            },
        }
    }

    /// Finds out whether a commit is in the log of which that isn't known. Its number is used for one that changes nothing
    /// if it isn't, so that what may be under way still comes to nothing.
    pub async fn settle(&self, number: u64, entry: &[u8]) -> Committed {
        let blank = match Self::entry(Vec::new(), operation(false)) {
            Ok(blank) => blank,
            Err(error) => return Committed::Unknown(error),
        };
        match self.commit(number, &blank).await {
            Committed::Done => Committed::Blank,
            // It wasn't tried.
            Committed::Failed(error) => Committed::Unknown(error),
            Committed::Taken(error) => match self.log.read_commit_entry(number).await {
                Ok(Some(there)) if there.as_ref() == entry => Committed::Done,
                Ok(Some(_)) => Committed::Taken(error),
                _ => Committed::Unknown(error),
            },
            other => other,
        }
    }

    fn taken(&self) -> Error {
        let name = self.shape().definition.name.clone();
        ChangeFault::Serialization
            .error("could not serialize access due to concurrent update")
            .detail(format!(
                "The log of table \"{name}\" went on without this server."
            ))
            .hint("Run the transaction again.")
            .into()
    }

    /// Takes back a commit that nobody was told of; whether it isn't there then.
    fn undo(&self, number: u64) -> bool {
        match self.log_file(number) {
            Some(file) => !file.exists() || std::fs::remove_file(file).is_ok(),
            None => false,
        }
    }

    fn log_file(&self, number: u64) -> Option<PathBuf> {
        let folder = self.place.folder()?;
        Some(folder.join(LOG).join(format!("{number:020}.json")))
    }

    /// A commit's file and its folders on the disk; what a store has acknowledged is there.
    pub(super) async fn sync(&self, number: u64) -> Result<()> {
        let (Some(file), Some(folder)) = (self.log_file(number), self.place.folder()) else {
            return Ok(());
        };
        let folder = folder.to_owned();
        let synced = tokio::task::spawn_blocking(move || {
            let sync = |path: &Path| std::fs::File::open(path)?.sync_all();
            sync(&file)?;
            sync(&folder.join(LOG))?;
            if number == 0 {
                sync(&folder)?;
                folder.parent().map_or(Ok(()), sync)?;
            }
            std::io::Result::Ok(())
        });
        let synced = synced
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)));
        synced.map_err(|error| Error::io("can't write a table's log", error))
    }

    /// Notes that a version may be read from now on.
    pub fn note(&self, version: &Arc<Version>) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|version| version.strong_count() > 0);
        read.push(Arc::downgrade(version));
    }

    /// The versions that somebody may still read.
    pub fn in_use(&self) -> Vec<Arc<Version>> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.iter().filter_map(Weak::upgrade).collect()
    }

    /// What was in it when it was dropped.
    pub fn last(&self) -> Option<Arc<Version>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(Arc::clone)
    }

    /// It is dropped, and this was in it; nothing once nobody can read it any more.
    pub fn set_last(&self, version: Option<Arc<Version>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Files are being written that aren't committed.
    pub fn begin(self: &Arc<Self>) -> Unfinished {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        Unfinished(Arc::clone(self))
    }
}

/// What became of a commit.
#[derive(Debug)]
pub enum Committed {
    /// It is in the log.
    Done,
    /// It isn't, and its number is free.
    Failed(Error),
    /// It isn't, and its number is used by one that changes nothing.
    Blank,
    /// It isn't, and its number is used by another one.
    Taken(Error),
    /// Nobody knows.
    Unknown(Error),
}

impl Committed {
    /// Whether it is in the log.
    ///
    /// # Errors
    /// Why it isn't, or may not be.
    pub fn done(self) -> Result<()> {
        match self {
            Self::Done => Ok(()),
            Self::Failed(error) | Self::Taken(error) | Self::Unknown(error) => Err(error),
            Self::Blank => Err(Error::io(
                "can't write a table's log",
                std::io::Error::other("its number was used meanwhile"),
            )),
        }
    }
}

/// The log of a table in a place.
fn log_of(place: &Place) -> Result<LogStoreRef> {
    match place {
        Place::Folder(folder) => {
            let url = deltalake::ensure_table_uri(folder.to_string_lossy()).map_err(failed)?;
            DeltaTableBuilder::from_url(url)
                .and_then(|builder| builder.build_storage())
                .map_err(failed)
        }
        Place::Store(remote, path) => {
            let root = remote.store();
            let mut url = ListingTableUrl::parse(format!("{remote}/"))?
                .get_url()
                .clone();
            url.path_segments_mut()
                .map_err(|()| {
                    let message = format!("\"{place}\" can't be a table's place");
                    ForeignFault::OptionValue.error(message, Some("Write s3://bucket/prefix."))
                })?
                .pop_if_empty()
                .extend(path.parts().map(|part| part.as_ref().to_owned()));
            let table = PrefixStore::new(Arc::clone(&root), path.clone());
            let options = StorageConfig::default();
            Ok(default_logstore(Arc::new(table), root, &url, &options))
        }
    }
}

/// Somebody's files that aren't committed yet.
#[derive(Debug)]
pub struct Unfinished(Arc<Table>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.unfinished.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The operation that a commit which adds and removes rows is in the log.
pub fn operation(removes: bool) -> DeltaOperation {
    match removes {
        true => DeltaOperation::Update { predicate: None },
        false => DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: None,
            predicate: None,
        },
    }
}

fn version_of(delta: &DeltaTable) -> Result<Version, deltalake::DeltaTableError> {
    let snapshot = delta.snapshot()?;
    let log = snapshot.log_data();
    let files = log.iter().map(|file| {
        let add = Add {
            path: file.path().into_owned(),
            partition_values: file.partition_values_map(),
            size: file.size(),
            modification_time: file.modification_time(),
            data_change: true,
            stats: file.stats(),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        };
        Arc::new(DataFile::new(add))
    });
    let files = files.collect();
    Ok(Version {
        number: snapshot.version(),
        files,
    })
}
