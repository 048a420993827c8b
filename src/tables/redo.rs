//! A transaction of several tables: its commits are written down together first, so that a crash between two of them
//! leaves none of them out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::definition::TableDefinition;
use super::table::Table;
use crate::catalog::Store;
use crate::error::Result;
use crate::storage::Place;

/// Where they are in the folder of tables.
pub const FOLDER: &str = "redo";

/// The commits of a transaction, by their tables' IDs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The commits.
    pub commits: BTreeMap<String, Commit>,
}

/// A commit of one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The number that it has in its table's log.
    pub number: u64,
    /// Its lines.
    pub entry: String,
}

/// The transactions that were acknowledged, or nearly so.
#[derive(Debug)]
pub struct Pending {
    store: Store<Record>,
    records: Vec<(String, Record)>,
}

/// The transactions whose tables may not have them yet.
///
/// # Errors
/// 58030 when they can't be listed.
pub fn pending(tables: &Place) -> Result<Pending> {
    let store = Store::open(tables.join(FOLDER), "transaction")?;
    let mut records = Vec::new();
    for (name, loaded) in store.load()? {
        // A record is whole or not there; one that can't be read keeps the directory closed, for half of it may be in the logs.
        records.push((name, loaded?));
    }
    Ok(Pending { store, records })
}

/// Writes what a table's log lacks of them.
///
/// # Errors
/// 58030 when it can't be written.
pub async fn finish(
    pending: &Pending,
    id: &str,
    place: &Place,
    definition: &TableDefinition,
) -> Result<()> {
    for (_, record) in &pending.records {
        if let Some(commit) = record.commits.get(id) {
            let (table, version) = Table::open(place.clone(), definition.clone()).await?;
            if version.number < commit.number {
                let entry = commit.entry.clone().into_bytes();
                table.commit(commit.number, &entry).await.done()?;
            }
        }
    }
    Ok(())
}

/// Forgets them: every table has them now.
///
/// # Errors
/// 58030 when a file can't be removed.
pub fn forget(pending: &Pending) -> Result<()> {
    let mut records = pending.records.iter();
    records.try_for_each(|(name, _)| pending.store.remove(name))
}

/// A transaction that is written down, until every table has it.
#[derive(Debug)]
pub struct Written {
    store: Store<Record>,
    name: String,
}

impl Written {
    /// A name for a transaction that isn't written down yet.
    ///
    /// # Errors
    /// 58030 when there is no place for it.
    pub fn prepare(tables: &Place) -> Result<Self> {
        Ok(Self {
            store: Store::open(tables.join(FOLDER), "transaction")?,
            name: Uuid::new_v4().simple().to_string(),
        })
    }

    /// Writes it down: from here on it is done, whatever happens.
    ///
    /// # Errors
    /// 58030 when it can't be written, 08001 when its store can't be reached. [`Written::forget`] tells whether it is there.
    pub fn write(&self, record: &Record) -> Result<()> {
        self.store.put(&self.name, record)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// As [`Written::write`]; then it may be there still.
    pub fn forget(&self) -> Result<()> {
        self.store.remove(&self.name)
    }
}
