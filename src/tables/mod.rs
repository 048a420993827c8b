//! Durable tables: each one a Delta table in a folder of the data directory.
//!
//! ```text
//! DATA_DIR/catalog/tables/ID.json    name, columns, keys, checks, defaults, comments: replaced atomically
//! DATA_DIR/catalog/sequences/ID.json what rows are numbered by; see `sequences`
//! DATA_DIR/delta/ID/_delta_log/      what is in it, a file for each change: the newest one decides
//! DATA_DIR/delta/ID/part-….parquet   its rows
//! DATA_DIR/delta/redo/….json         a transaction of several tables, until each of them has it
//! ```
//!
//! **A change is one file in the log of its table.** Its rows are on the disk before it, and it is on the disk before it is
//! acknowledged; nobody reads what no log names. In a store it is the same: objects are written before the one that names
//! them, and that one only if there is none of its name. One server owns a data directory, so that what is in the logs is known
//! without looking: a [`Moment`] has the newest version of each table, and is replaced as a whole.

mod compact;
mod definition;
mod keys;
mod provider;
mod redo;
mod scan;
mod sequence_relation;
mod sequences;
mod table;
mod transaction;
mod version;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use crate::catalog::Store;
use crate::error::{Error, Fault, Result};
use crate::storage::Place;

pub use definition::{
    CheckDefinition, ColumnDefinition, IdentityKind, Key, Shape, TableDefinition, UniqueDefinition,
    columns_of_expression, sequence_of, sequence_parts, with_sequences,
};
pub use keys::{KeySet, NewRows, check_new_keys, distinct, duplicated};
pub use provider::DurableTable;
pub use scan::{FILE, ROW, read_file};
pub use sequence_relation::SequenceRelation;
pub use sequences::{Restarts, Sequence, SequenceDefinition, SequenceOwner, Sequences};
pub use table::{Table, Unfinished};
pub use transaction::{Block, Change, Staged, View, check_shape};
pub use version::{DataFile, Version};
pub use writer::{Writer, converted, row_text};

/// Where the tables are in a data directory.
pub const FOLDER: &str = "delta";

/// The option that says by which columns a table is partitioned; `PARTITIONED BY (…)` is read as it.
pub const PARTITIONED_BY: &str = "partitioned_by";

/// The newest version of each table at one moment, by the tables' IDs.
pub type Moment = HashMap<String, Arc<Version>>;

/// The durable tables of a data directory.
#[derive(Debug)]
pub struct Tables {
    place: Place,
    definitions: Store<TableDefinition>,
    sequences: Sequences,
    tables: RwLock<HashMap<String, Arc<Table>>>,
    moment: RwLock<Arc<Moment>>,
}

impl Tables {
    /// Reads the tables of a data directory. Those that can't be read are returned: schema, name and why.
    ///
    /// # Errors
    /// 58030 when the directory can't be read.
    pub async fn open(data_dir: &Place) -> Result<(Arc<Self>, Vec<(String, String, Error)>)> {
        let place = data_dir.join(FOLDER);
        let definitions = Store::open(data_dir.join("catalog").join("tables"), "table")?;
        let sequences = Sequences::open(data_dir.join("catalog").join("sequences"))?;
        let redo = redo::pending(&place)?;
        let tables = Self {
            place,
            definitions,
            sequences,
            tables: RwLock::default(),
            moment: RwLock::default(),
        };
        let mut broken = Vec::new();
        let mut known = HashMap::new();
        let mut moment = Moment::new();
        for (id, loaded) in tables.definitions.load()? {
            let definition = match loaded {
                Ok(definition) => definition,
                Err(error) => {
                    tracing::error!(%error, "a table's definition can't be read");
                    // Its rows stay: the folder is known.
                    moment.insert(id, Arc::new(Version::empty(0)));
                    continue;
                }
            };
            let place = tables.place.join(&id);
            let (schema, name) = (definition.schema.clone(), definition.name.clone());
            redo::finish(&redo, &id, &place, &definition).await?;
            match Table::open(place, definition).await {
                Ok((table, version)) => {
                    let version = Arc::new(version);
                    table.note(&version);
                    moment.insert(id.clone(), version);
                    known.insert(id, Arc::new(table));
                }
                Err(error) => {
                    tracing::error!(%error, schema, name, "a table can't be read");
                    moment.insert(id, Arc::new(Version::empty(0)));
                    broken.push((schema, name, error));
                }
            }
        }
        redo::forget(&redo)?;
        tables.remove_strays(&moment);
        tables
            .sequences
            .remove_strays(|id| moment.contains_key(id))?;
        moment.retain(|id, _| known.contains_key(id));
        *tables
            .tables
            .write()
            .unwrap_or_else(PoisonError::into_inner) = known;
        *tables
            .moment
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(moment);
        Ok((Arc::new(tables), broken))
    }

    /// Removes the folders of tables that were dropped, or never finished, when the process ended.
    fn remove_strays(&self, known: &Moment) {
        let Ok(entries) = self.place.entries() else {
            return;
        };
        for (name, _) in entries {
            if name != redo::FOLDER
                && !known.contains_key(&name)
                && Uuid::parse_str(&name).is_ok()
                && let Err(error) = self.place.join(&name).remove_all()
            {
                tracing::warn!(%error, folder = name, "a dropped table's folder can't be removed");
            }
        }
    }

    /// The sequences.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// The tables.
    pub fn all(&self) -> Vec<Arc<Table>> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables.values().map(Arc::clone).collect()
    }

    /// The table of that name.
    pub fn named(&self, schema: &str, name: &str) -> Option<Arc<Table>> {
        self.all().into_iter().find(|table| {
            let shape = table.shape();
            shape.definition.schema == schema && shape.definition.name == name
        })
    }

    /// What is in all tables now.
    pub fn moment(&self) -> Arc<Moment> {
        Arc::clone(&self.moment.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is in a table now.
    pub fn current(&self, table: &Table) -> Arc<Version> {
        match self.moment().get(&table.id()) {
            Some(version) => Arc::clone(version),
            None => table.last().unwrap_or_else(|| Arc::new(Version::empty(0))),
        }
    }

    /// Several tables are at other versions from now on, all at once.
    fn publish(&self, changed: Vec<(String, Arc<Version>)>) {
        let mut moment = self.moment.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = moment.as_ref().clone();
        next.extend(changed);
        *moment = Arc::new(next);
    }

    /// An ID for a new table, and the folder that it will have.
    pub fn new_id(&self) -> (String, Place) {
        let id = Uuid::new_v4().simple().to_string();
        let place = self.place.join(&id);
        (id, place)
    }

    /// Makes a table of files that are in its folder already.
    ///
    /// # Errors
    /// 58030 and 53100 when it can't be written; then it isn't there.
    pub async fn create(
        &self,
        definition: TableDefinition,
        files: &[Arc<DataFile>],
    ) -> Result<Arc<Table>> {
        let place = self.place.join(&definition.id);
        let made = Table::create(place.clone(), definition, files).await;
        let made = made.and_then(|made| {
            self.keep(&made.0)?;
            Ok(made)
        });
        let (table, version) = match made {
            Ok(made) => made,
            Err(error) => {
                // Without a definition it is removed at the next start at the latest.
                let _ = place.remove_all();
                return Err(error);
            }
        };
        let (table, version) = (Arc::new(table), Arc::new(version));
        table.note(&version);
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.insert(table.id(), Arc::clone(&table));
        drop(tables);
        self.publish(vec![(table.id(), version)]);
        Ok(table)
    }

    fn keep(&self, table: &Table) -> Result<()> {
        let shape = table.shape();
        self.definitions
            .put(&shape.definition.id, &shape.definition)
    }

    /// Changes a table's definition.
    ///
    /// # Errors
    /// 58030 when it can't be written; then it is as before.
    pub fn redefine(&self, table: &Table, change: impl FnOnce(&mut TableDefinition)) -> Result<()> {
        let mut definition = table.shape().definition.clone();
        change(&mut definition);
        let shape = Shape::new(definition)?;
        self.definitions
            .put(&shape.definition.id, &shape.definition)?;
        table.reshape(shape);
        Ok(())
    }

    /// Tells Delta's log of another column; the version that has it.
    ///
    /// # Errors
    /// 58030 when the log can't be written.
    pub async fn add_stored_column(
        &self,
        table: &Table,
        column: deltalake::kernel::StructField,
    ) -> Result<Arc<Version>> {
        let delta = table.delta().await?;
        delta
            .add_columns()
            .with_fields(vec![column])
            .await
            .map_err(failed)?;
        let version = Arc::new(table.load(None).await?);
        table.sync(version.number).await?;
        table.note(&version);
        self.publish(vec![(table.id(), Arc::clone(&version))]);
        Ok(version)
    }

    /// Forgets a table. Its files go when nobody reads them any more.
    ///
    /// # Errors
    /// 58030 when its definition can't be removed; then it is still there.
    pub fn drop(self: &Arc<Self>, table: &Arc<Table>) -> Result<()> {
        let id = table.id();
        self.definitions.remove(&id)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.remove(&id);
        drop(tables);
        let mut moment = self.moment.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = moment.as_ref().clone();
        table.set_last(next.remove(&id));
        *moment = Arc::new(next);
        drop(moment);
        compact::remove_when_unread(Arc::clone(table));
        Ok(())
    }
}

/// An error of the library that writes tables.
// It takes what `map_err` gives.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: deltalake::DeltaTableError) -> Error {
    if let Some(fault) = crate::external::find_fault(&error) {
        return fault;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<std::io::Error>()
            && matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        {
            return Error::Query {
                fault: Fault::DiskFull,
                message: error.to_string(),
                position: None,
            };
        }
        cause = inner.source();
    }
    Error::Query {
        fault: Fault::Io,
        message: error.to_string(),
        position: None,
    }
}
