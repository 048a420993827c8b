//! Tables, schemas and views that were made by a statement: the statement is kept, and run again at the
//! next start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::TableReference;
use datafusion::logical_expr::DdlStatement;
use serde::{Deserialize, Serialize};

use super::store::Store;
use super::{FUNNEL_SCHEMA, JOURNEYS_SCHEMA};
use crate::engine::DEFAULT_SCHEMA;
use crate::error::{Error, Result};

/// A statement that made an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptStatement {
    /// The object: `table crm.events`.
    pub name: String,
    /// Its place in the order of making: a view comes after its tables.
    pub sequence: u64,
    /// The statement.
    pub sql: String,
}

/// What a statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Postgres' tag of the command.
    pub tag: &'static str,
    /// The object's name as it is shown: `events`, `crm.events`.
    pub name: String,
    schema: String,
    key: String,
    drops: bool,
}

impl Change {
    /// What a definition of DataFusion's changes.
    ///
    /// # Errors
    /// 0A000 for one that can't be kept.
    pub fn of(definition: &DdlStatement) -> Result<Self> {
        Ok(match definition {
            DdlStatement::CreateExternalTable(create) => {
                Self::table("CREATE EXTERNAL TABLE", &create.name, false)
            }
            DdlStatement::CreateMemoryTable(create) => {
                Self::table("CREATE TABLE", &create.name, false)
            }
            DdlStatement::DropTable(drop) => Self::table("DROP TABLE", &drop.name, true),
            DdlStatement::CreateView(create) => Self::table("CREATE VIEW", &create.name, false),
            DdlStatement::DropView(drop) => Self::table("DROP VIEW", &drop.name, true),
            DdlStatement::CreateCatalogSchema(create) => {
                Self::schema("CREATE SCHEMA", &create.schema_name, false)
            }
            DdlStatement::DropCatalogSchema(drop) => {
                Self::schema("DROP SCHEMA", drop.name.schema_name(), true)
            }
            other => {
                return Err(Error::Unsupported {
                    message: format!("{} is not supported", other.name()),
                    hint: None,
                });
            }
        })
    }

    /// Tables and views share their names, as in Postgres.
    fn table(tag: &'static str, reference: &TableReference, drops: bool) -> Self {
        let schema = reference.schema().unwrap_or(DEFAULT_SCHEMA).to_owned();
        let key = format!("table {schema}.{}", reference.table());
        Self { tag, name: reference.to_string(), schema, key, drops }
    }

    fn schema(tag: &'static str, name: &str, drops: bool) -> Self {
        let name = name.rsplit('.').next().unwrap_or(name).to_owned();
        Self { tag, schema: name.clone(), key: format!("schema {name}"), name, drops }
    }
}

/// The kept statements of a data directory.
#[derive(Debug)]
pub struct Objects {
    store: Store<KeptStatement>,
    kept: Mutex<BTreeMap<String, KeptStatement>>,
}

impl Objects {
    /// Reads the statements in `folder`.
    ///
    /// # Errors
    /// 58030 when the folder can't be made or read.
    pub fn open(folder: PathBuf) -> Result<Self> {
        let store = Store::open(folder, "object")?;
        let mut kept = BTreeMap::new();
        for (name, loaded) in store.load()? {
            match loaded {
                Ok(statement) => {
                    kept.insert(name, statement);
                }
                Err(error) => tracing::error!(%error, "an object's definition can't be read"),
            }
        }
        Ok(Self { store, kept: Mutex::new(kept) })
    }

    /// The statements, oldest first.
    pub fn kept(&self) -> Vec<KeptStatement> {
        let mut kept: Vec<KeptStatement> = self.lock().values().cloned().collect();
        kept.sort_by_key(|statement| statement.sequence);
        kept
    }

    /// Refuses a change in a schema that the engine makes.
    ///
    /// # Errors
    /// 42501.
    pub fn check(&self, change: &Change) -> Result<()> {
        let own = [FUNNEL_SCHEMA, JOURNEYS_SCHEMA, "pg_catalog", "information_schema"];
        if own.contains(&change.schema.as_str()) {
            return Err(Error::Denied {
                message: format!("schema \"{}\" belongs to the engine", change.schema),
                hint: "Use a schema of your own: CREATE SCHEMA crm.".to_owned(),
            });
        }
        Ok(())
    }

    /// Keeps or forgets the object that `change` is about.
    ///
    /// # Errors
    /// 58030 when it can't be written.
    pub fn keep(&self, change: &Change, sql: &str) -> Result<()> {
        let mut kept = self.lock();
        if change.drops {
            self.store.remove(&change.key)?;
            kept.remove(&change.key);
            return Ok(());
        }
        // At a start the statements come by here again.
        if kept.get(&change.key).is_some_and(|statement| statement.sql == sql) {
            return Ok(());
        }
        let sequence = kept.values().map(|statement| statement.sequence).max().unwrap_or(0) + 1;
        let statement = KeptStatement { name: change.key.clone(), sequence, sql: sql.to_owned() };
        self.store.put(&change.key, &statement)?;
        kept.insert(change.key.clone(), statement);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, KeptStatement>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
