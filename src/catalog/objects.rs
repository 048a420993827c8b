//! Tables, schemas and views that were made by a statement: the statement is kept, and run again at the
//! next start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::common::TableReference;
use datafusion::logical_expr::{DdlStatement, TableType};
use datafusion_funnel::table::JOURNEYS_SCHEMA;
use serde::{Deserialize, Serialize};

use super::FUNNEL_SCHEMA;
use super::store::Store;
use crate::engine::DEFAULT_SCHEMA;
use crate::error::{Error, Result};
use crate::external::KeptTable;
use crate::storage::Place;

/// A statement that made an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptStatement {
    /// The object: `table crm.events`.
    pub name: String,
    /// Its place in the order of making: a view comes after its tables.
    pub sequence: u64,
    /// The statement. What is secret in it is kept apart.
    pub sql: String,
    /// The columns of files behind a network; see `crate::external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<String>,
}

/// The secrets among a table's options.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Secrets {
    options: BTreeMap<String, String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// What a statement changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Postgres' tag of the command.
    pub tag: &'static str,
    /// The object's name as it is shown: `events`, `crm.events`.
    pub name: String,
    /// What kind of object it is about.
    pub target: Target,
    /// The object goes.
    pub drops: bool,
    /// `IF EXISTS` or `IF NOT EXISTS`: what is so already is no error.
    pub lenient: bool,
    schema: String,
    key: String,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A table or view, and which of them.
    Relation(TableReference, TableType),
    /// A schema of that name.
    Schema(String),
}

impl Change {
    /// What a definition of DataFusion's changes.
    ///
    /// # Errors
    /// 0A000 for one that can't be kept.
    pub fn of(definition: &DdlStatement) -> Result<Self> {
        use DdlStatement as Ddl;
        use TableType::{Base, View};
        Ok(match definition {
            Ddl::CreateExternalTable(create) => {
                Self::relation("CREATE EXTERNAL TABLE", &create.name, Base)
                    .lenient(create.if_not_exists)
            }
            Ddl::CreateMemoryTable(create) => {
                Self::relation("CREATE TABLE", &create.name, Base).lenient(create.if_not_exists)
            }
            Ddl::DropTable(drop) => Self::relation("DROP TABLE", &drop.name, Base)
                .drops()
                .lenient(drop.if_exists),
            Ddl::CreateView(create) => Self::relation("CREATE VIEW", &create.name, View),
            Ddl::DropView(drop) => Self::relation("DROP VIEW", &drop.name, View)
                .drops()
                .lenient(drop.if_exists),
            Ddl::CreateCatalogSchema(create) => {
                Self::schema("CREATE SCHEMA", &create.schema_name).lenient(create.if_not_exists)
            }
            Ddl::DropCatalogSchema(drop) => Self::schema("DROP SCHEMA", drop.name.schema_name())
                .drops()
                .lenient(drop.if_exists),
            other => {
                return Err(Error::Unsupported {
                    message: format!("{} is not supported", other.name()),
                    hint: None,
                });
            }
        })
    }

    /// Tables and views share their names, as in Postgres.
    fn relation(tag: &'static str, reference: &TableReference, kind: TableType) -> Self {
        let schema = reference.schema().unwrap_or(DEFAULT_SCHEMA).to_owned();
        let key = relation_key(&schema, reference.table());
        let target = Target::Relation(reference.clone(), kind);
        Self {
            tag,
            name: reference.to_string(),
            target,
            drops: false,
            lenient: false,
            schema,
            key,
        }
    }

    /// A foreign table that is made, or goes.
    pub fn foreign_table(reference: &TableReference, drops: bool) -> Self {
        match drops {
            false => Self::relation("CREATE FOREIGN TABLE", reference, TableType::Base),
            true => Self::relation("DROP FOREIGN TABLE", reference, TableType::Base).drops(),
        }
    }

    /// A materialized view that is made, or goes.
    pub fn materialized(reference: &TableReference, drops: bool) -> Self {
        match drops {
            false => Self::relation("CREATE MATERIALIZED VIEW", reference, TableType::Base),
            true => Self::relation("DROP MATERIALIZED VIEW", reference, TableType::Base).drops(),
        }
    }

    fn schema(tag: &'static str, name: &str) -> Self {
        let name = name.rsplit('.').next().unwrap_or(name).to_owned();
        let key = format!("schema {name}");
        let target = Target::Schema(name.clone());
        Self {
            tag,
            schema: name.clone(),
            target,
            drops: false,
            lenient: false,
            key,
            name,
        }
    }

    fn drops(self) -> Self {
        Self {
            drops: true,
            ..self
        }
    }

    fn lenient(self, lenient: bool) -> Self {
        Self { lenient, ..self }
    }

    /// Whether the object of that key goes with this change: itself, or what is in its schema.
    fn takes(&self, key: &str) -> bool {
        match &self.target {
            Target::Relation(..) => key == self.key,
            Target::Schema(name) => key == self.key || key.starts_with(&relation_key(name, "")),
        }
    }
}

/// The key of a table or view: `table crm.events`.
pub fn relation_key(schema: &str, name: &str) -> String {
    format!("table {schema}.{name}")
}

/// The kept statements of a data directory.
#[derive(Debug)]
pub struct Objects {
    store: Store<KeptStatement>,
    kept: Mutex<BTreeMap<String, KeptStatement>>,
    /// The secrets of tables over files, by their keys.
    secret_store: Store<Secrets>,
    secrets: Mutex<BTreeMap<String, Secrets>>,
    /// What could not be made again at the start, by its key, and why.
    broken: Mutex<BTreeMap<String, Arc<Error>>>,
}

impl Objects {
    /// Reads the statements in `folder`, and the secrets in the other one, which is nobody else's.
    ///
    /// # Errors
    /// 58030 when a folder can't be made or read.
    pub fn open(place: impl Into<Place>, secrets: impl Into<Place>) -> Result<Self> {
        let store = Store::open(place, "object")?;
        let secret_store: Store<Secrets> = Store::open_private(secrets, "secret")?;
        let mut secrets = BTreeMap::new();
        for (name, loaded) in secret_store.load()? {
            match loaded {
                Ok(secret) => {
                    secrets.insert(name, secret);
                }
                // Its text may be in the error.
                Err(_) => tracing::error!(name, "the secrets of a table can't be read"),
            }
        }
        let mut kept = BTreeMap::new();
        let mut broken = BTreeMap::new();
        for (name, loaded) in store.load()? {
            match loaded {
                Ok(statement) => {
                    kept.insert(name, statement);
                }
                Err(error) => {
                    tracing::error!(%error, "an object's definition can't be read");
                    broken.insert(name, Arc::new(error));
                }
            }
        }
        Ok(Self {
            store,
            kept: Mutex::new(kept),
            secret_store,
            secrets: Mutex::new(secrets),
            broken: Mutex::new(broken),
        })
    }

    /// What is kept of a table over files, beside its statement.
    pub fn kept_table(&self, change: &Change) -> Option<KeptTable> {
        let kept = lock(&self.kept);
        let secrets = lock(&self.secrets);
        Some(KeptTable {
            columns: kept.get(&change.key)?.columns.clone(),
            secrets: match secrets.get(&change.key) {
                Some(secrets) => secrets.options.clone(),
                None => BTreeMap::new(),
            },
        })
    }

    /// The statements, oldest first.
    pub fn kept(&self) -> Vec<KeptStatement> {
        let mut kept: Vec<KeptStatement> = lock(&self.kept).values().cloned().collect();
        kept.sort_by_key(|statement| statement.sequence);
        kept
    }

    /// Refuses a change in a schema that the engine makes.
    ///
    /// # Errors
    /// 42501.
    pub fn check(&self, change: &Change) -> Result<()> {
        let own = [
            FUNNEL_SCHEMA,
            JOURNEYS_SCHEMA,
            "pg_catalog",
            "information_schema",
        ];
        if own.contains(&change.schema.as_str()) {
            return Err(Error::Denied {
                message: format!("schema \"{}\" belongs to the engine", change.schema),
                hint: "Use a schema of your own: CREATE SCHEMA crm.".to_owned(),
            });
        }
        Ok(())
    }

    /// Refuses another name for a relation in a schema that the engine makes.
    ///
    /// # Errors
    /// 42501.
    pub fn check_rename(&self, schema: &str, name: &str) -> Result<()> {
        let reference = TableReference::partial(schema, name);
        self.check(&Change::relation(
            "ALTER TABLE",
            &reference,
            TableType::Base,
        ))
    }

    /// Keeps the statement that made a relation under its new name. Its text says the old one, so the new one is
    /// put in its place.
    ///
    /// # Errors
    /// 58030 when it can't be written.
    pub fn rename(&self, schema: &str, from: &str, to: &str) -> Result<()> {
        let (old, new) = (relation_key(schema, from), relation_key(schema, to));
        let mut kept = lock(&self.kept);
        let Some(mut statement) = kept.get(&old).cloned() else {
            return Ok(());
        };
        statement.sql = renamed(&statement.sql, schema, to);
        statement.name.clone_from(&new);
        let mut secrets = lock(&self.secrets);
        let moved = secrets.get(&old).cloned();
        // They are there under both names before the statement is under the new one.
        if let Some(moved) = &moved {
            self.secret_store.put(&new, moved)?;
        }
        self.store.put(&new, &statement)?;
        self.store.remove(&old)?;
        if let Some(moved) = moved {
            self.secret_store.remove(&old)?;
            secrets.remove(&old);
            secrets.insert(new.clone(), moved);
        }
        kept.remove(&old);
        kept.insert(new, statement);
        Ok(())
    }

    /// Keeps or forgets the object that `change` is about.
    ///
    /// # Errors
    /// 58030 when it can't be written.
    pub fn keep(&self, change: &Change, sql: &str) -> Result<()> {
        self.keep_table(change, sql, KeptTable::default())
    }

    /// The same with what is kept of a table over files beside its statement.
    ///
    /// # Errors
    /// 58030 when it can't be written.
    pub fn keep_table(&self, change: &Change, sql: &str, table: KeptTable) -> Result<()> {
        if change.drops {
            return self.forget(change);
        }
        let mut kept = lock(&self.kept);
        self.keep_secrets(&change.key, table.secrets)?;
        // At a start the statements come by here again.
        if kept
            .get(&change.key)
            .is_none_or(|statement| statement.sql != sql || statement.columns != table.columns)
        {
            let sequence = kept
                .values()
                .map(|statement| statement.sequence)
                .max()
                .unwrap_or(0)
                + 1;
            let statement = KeptStatement {
                name: change.key.clone(),
                sequence,
                sql: sql.to_owned(),
                columns: table.columns,
            };
            self.store.put(&change.key, &statement)?;
            kept.insert(change.key.clone(), statement);
        }
        lock(&self.broken).remove(&change.key);
        Ok(())
    }

    fn keep_secrets(&self, key: &str, options: BTreeMap<String, String>) -> Result<()> {
        let mut secrets = lock(&self.secrets);
        let new = Secrets { options };
        match (secrets.get(key), new.options.is_empty()) {
            (None, true) => Ok(()),
            (Some(old), false) if *old == new => Ok(()),
            (_, true) => {
                self.secret_store.remove(key)?;
                secrets.remove(key);
                Ok(())
            }
            (_, false) => {
                self.secret_store.put(key, &new)?;
                secrets.insert(key.to_owned(), new);
                Ok(())
            }
        }
    }

    fn forget(&self, change: &Change) -> Result<()> {
        let mut kept = lock(&self.kept);
        let mut broken = lock(&self.broken);
        let keys: Vec<String> = kept
            .keys()
            .chain(broken.keys())
            .filter(|key| change.takes(key))
            .cloned()
            .collect();
        for key in keys {
            self.keep_secrets(&key, BTreeMap::new())?;
            self.store.remove(&key)?;
            kept.remove(&key);
            broken.remove(&key);
        }
        Ok(())
    }

    /// Whether the object of `change` was made by a statement that is kept.
    pub fn is_kept(&self, change: &Change) -> bool {
        lock(&self.kept).contains_key(&change.key)
    }

    /// Notes that the object of that key could not be made again.
    pub fn note_broken(&self, key: String, error: Arc<Error>) {
        lock(&self.broken).insert(key, error);
    }

    /// Why the object of `change` could not be made again.
    pub fn broken(&self, change: &Change) -> Option<Arc<Error>> {
        lock(&self.broken).get(&change.key).cloned()
    }

    /// Why the table or view of that name, as it is written, could not be made again.
    pub fn broken_relation(&self, name: &str) -> Option<Arc<Error>> {
        let broken = lock(&self.broken);
        let qualified = name
            .split_once('.')
            .map(|(schema, table)| relation_key(schema, table));
        qualified
            .and_then(|key| broken.get(&key))
            .or_else(|| broken.get(&relation_key(DEFAULT_SCHEMA, name)))
            .cloned()
    }
}

/// A definition under another name: the first name behind its words.
fn renamed(sql: &str, schema: &str, to: &str) -> String {
    use datafusion_funnel::definition::text::identifier;
    let words = [
        "create",
        "or",
        "replace",
        "external",
        "foreign",
        "materialized",
        "unbounded",
        "table",
        "view",
        "if",
        "not",
        "exists",
    ];
    let mut rest = sql;
    loop {
        rest = rest.trim_start();
        let end = rest
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(rest.len());
        match words.contains(&rest[..end].to_lowercase().as_str()) {
            true => rest = &rest[end..],
            false => break,
        }
    }
    let before = &sql[..sql.len() - rest.len()];
    // The old name ends where its parts do.
    let mut quoted = false;
    let end = rest
        .find(|c: char| {
            quoted ^= c == '"';
            !quoted && c != '"' && (c.is_whitespace() || c == '(')
        })
        .unwrap_or(rest.len());
    format!(
        "{before}{}.{}{}",
        identifier(schema),
        identifier(to),
        &rest[end..]
    )
}

/// A map is whole after a panic: each change of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_apart_and_go_with_their_table() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let path = folder.path();
            Objects::open(path.join("objects"), path.join("table_secrets")).unwrap()
        };
        let change = |drops| {
            let reference = TableReference::partial("crm", "deals");
            Change::foreign_table(&reference, drops)
        };
        let table = KeptTable {
            columns: Some("id".to_owned()),
            secrets: BTreeMap::from([("aws.secret_access_key".to_owned(), "geheim".to_owned())]),
        };
        let objects = open();
        let sql = "CREATE EXTERNAL TABLE crm.deals STORED AS CSV LOCATION 's3://b/'";
        objects
            .keep_table(&change(false), sql, table.clone())
            .unwrap();
        assert!(!format!("{objects:?}").contains("geheim"));
        assert_eq!(open().kept_table(&change(false)), Some(table.clone()));
        objects.rename("crm", "deals", "won").unwrap();
        let renamed = Change::foreign_table(&TableReference::partial("crm", "won"), false);
        assert_eq!(open().kept_table(&renamed), Some(table));
        assert_eq!(open().kept_table(&change(false)), None);
        objects
            .forget(&Change::foreign_table(
                &TableReference::partial("crm", "won"),
                true,
            ))
            .unwrap();
        let left = std::fs::read_dir(folder.path().join("table_secrets")).unwrap();
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_kept_statement_gets_another_name() {
        assert_eq!(
            renamed("create  view \"a\".\"b c\"\n as (select 1)", "a", "d"),
            "create  view a.d\n as (select 1)"
        );
        assert_eq!(
            renamed("CREATE OR REPLACE VIEW v AS SELECT 1", "public", "W x"),
            "CREATE OR REPLACE VIEW public.\"W x\" AS SELECT 1"
        );
    }
}
