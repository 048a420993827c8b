//! What a data directory holds: funnels, and the statements that made its tables, schemas and views.
//!
//! ```text
//! DATA_DIR/
//!   tables/crm/events.parquet     a table by being there: crm.events
//!   catalog/tables/….json         a durable table; see `crate::tables`
//!   delta/…/                      its rows
//!   catalog/funnels/sales.json    a funnel
//!   catalog/metrics/win_big.json  the versions of a metric
//!   catalog/changes/script.json   a change of a stage, and its reviews
//!   catalog/roles/ana.json        a role, with what is kept of its password
//!   catalog/access/….json         who may see what of an object
//!   views/mv-3/…                  the rows of a materialized view; see `materialized`
//!   catalog/servers/crm.json      a foreign server; see `servers`
//!   audit/audit-….jsonl           what was asked; see `crate::audit`
//!   catalog/objects/….json        a CREATE EXTERNAL TABLE, SCHEMA or VIEW, run again at each start
//!   catalog/table_secrets/….json  the secrets among a table's options, for the process' owner alone
//! ```

pub mod access;
mod annotations;
mod audit_log;
mod changes;
mod files;
mod guard;
mod materialized;
mod metrics;
mod objects;
mod pg;
pub mod roles;
mod schemas;
mod servers;
mod store;
mod views;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::CatalogProviderList;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion_funnel::definition::model::{FunnelDefinition, Source};
use datafusion_funnel::definition::resolve::{
    ResolveError, ResolvedFunnel, resolve, source_columns,
};
use datafusion_funnel::definition::template;
use datafusion_funnel::definition::text::identifier;
use datafusion_funnel::error::{FunnelError, Kind};

use crate::engine::{DEFAULT_SCHEMA, Identity};
use crate::error::{Error, Result};
use crate::external::KeptTable;
use crate::sql::{CreateFunnel, Part, Relation, renamed};
use crate::storage::Place;
use access::{Access, Object, Privilege};
use changes::Changes;
use guard::{GuardedCatalogs, Who};
use metrics::Metrics;
use objects::Objects;
use roles::Roles;
pub use store::Store;

pub use annotations::{
    Annotations, DeclaredKey, ForeignKey, KeyOrder, ReferentialAction, RelationNotes,
};
pub use changes::now;
pub use files::{TABLES_FOLDER, check_files, local_path, register_files};
pub use guard::{GuardedTable, TEMPORARY, plan_expression, unguarded};
pub use materialized::{FETCHED, MaterializedView, Recipe, Rows, VIEWS_FOLDER};
pub use objects::{Change, KeptStatement, Target, relation_key};
pub use pg::{
    CatalogNames, Row, Value, is_system_relation, is_system_schema, register_session_functions,
    relation_oid,
};
pub use schemas::{FUNNEL_SCHEMA, register_schemas};
pub use servers::{Mapping, Server, Servers};
pub use views::{Depth, read_by};

/// The funnels and objects of a data directory.
///
/// One belongs to an engine and is shared by its sessions. A change is on disk before it is seen.
#[derive(Debug)]
pub struct Catalog {
    store: Store<FunnelDefinition>,
    funnels: RwLock<BTreeMap<String, Kept>>,
    metrics: Metrics,
    changes: Changes,
    objects: Objects,
    roles: Roles,
    access: Access,
    servers: Arc<Servers>,
    annotations: Annotations,
    /// Where the audit log is.
    audit_folder: PathBuf,
    /// The state that what a funnel reads is planned with: everything is there, and guarded.
    base: OnceLock<SessionState>,
}

/// A funnel as it was found on disk.
#[derive(Debug, Clone)]
enum Kept {
    Good(Arc<FunnelDefinition>),
    /// The file and why it can't be read.
    Corrupt {
        file: String,
        reason: String,
    },
}

impl Kept {
    fn definition(&self) -> Result<Arc<FunnelDefinition>> {
        match self {
            Kept::Good(definition) => Ok(Arc::clone(definition)),
            Kept::Corrupt { file, reason } => Err(Error::Corrupt {
                kind: "funnel",
                file: file.clone(),
                reason: reason.clone(),
            }),
        }
    }
}

impl Catalog {
    /// Reads the definitions of a data directory.
    ///
    /// # Errors
    /// 58030 when the directory can't be made or read.
    pub fn open(data_dir: &Place, audit_folder: PathBuf) -> Result<Self> {
        let folder = data_dir.join("catalog");
        let store: Store<FunnelDefinition> = Store::open(folder.join("funnels"), "funnel")?;
        let mut funnels = BTreeMap::new();
        for (name, loaded) in store.load()? {
            let kept = match loaded {
                Ok(definition) if definition.name != name => Kept::Corrupt {
                    file: store.file(&name).to_string(),
                    reason: format!("it defines \"{}\"", definition.name),
                },
                Ok(definition) => Kept::Good(Arc::new(definition)),
                Err(Error::Corrupt { file, reason, .. }) => {
                    tracing::error!(file, reason, "a funnel's definition can't be read");
                    Kept::Corrupt { file, reason }
                }
                Err(error) => return Err(error),
            };
            funnels.insert(name, kept);
        }
        let metrics = Metrics::open(folder.join("metrics"))?;
        let changes = Changes::open(folder.join("changes"))?;
        let objects = Objects::open(folder.join("objects"), folder.join("table_secrets"))?;
        let roles = Roles::open(folder.join("roles"))?;
        let access = Access::open(folder.join("access"))?;
        let servers = Arc::new(Servers::open(folder)?);
        Ok(Self {
            store,
            funnels: RwLock::new(funnels),
            metrics,
            changes,
            objects,
            roles,
            access,
            servers,
            annotations: Annotations::default(),
            audit_folder,
            base: OnceLock::new(),
        })
    }

    /// Gives the catalog the state that relations without a session are planned with.
    pub fn attach(self: &Arc<Self>, base: &SessionState) {
        let catalogs = Arc::clone(base.catalog_list());
        let catalogs = GuardedCatalogs::new(catalogs, Arc::clone(self), Who::Owner);
        let owner = SessionStateBuilder::new_from_existing(base.clone())
            .with_catalog_list(Arc::new(catalogs))
            .build();
        // The first is the engine's; there is no second.
        let _ = self.base.set(owner);
    }

    /// The catalogs as a session sees them.
    pub fn seen_by(
        self: &Arc<Self>,
        base: &SessionState,
        identity: &Arc<Identity>,
    ) -> Arc<dyn CatalogProviderList> {
        let catalogs = Arc::clone(base.catalog_list());
        let who = Who::Session(Arc::clone(identity));
        Arc::new(GuardedCatalogs::new(catalogs, Arc::clone(self), who))
    }

    /// Where the audit log is.
    pub fn audit_folder(&self) -> &Path {
        &self.audit_folder
    }

    /// What is said about relations beside their data.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// The company's own metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The changes that were made to stages.
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Who may see what.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Foreign servers, and as whom they are entered.
    pub fn servers(&self) -> &Arc<Servers> {
        &self.servers
    }

    /// Whether a role may ask a funnel.
    pub fn may_ask(&self, role: &str, funnel: &str) -> bool {
        let entry = self.access.known(&Object::Funnel(funnel.to_owned()));
        entry.allows(&self.roles, role, Privilege::Select)
    }

    /// Refuses a funnel that a role may not ask, or that there isn't.
    ///
    /// # Errors
    /// 42501 and 42704.
    pub fn check_funnel(&self, role: &str, funnel: &str) -> Result<()> {
        let exists = self.read().contains_key(funnel);
        match (exists, exists && self.may_ask(role, funnel)) {
            (true, true) => Ok(()),
            (true, false) => Err(Object::Funnel(funnel.to_owned()).denied()),
            (false, _) => Err(self.unknown(funnel, self.funnel_names_for(role))),
        }
    }

    /// Who may connect.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The funnels' names, in order.
    pub fn funnel_names(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// Those that a role may ask.
    pub fn funnel_names_for(&self, role: &str) -> Vec<String> {
        let mut names = self.funnel_names();
        names.retain(|name| self.may_ask(role, name));
        names
    }

    /// The funnel of that name.
    ///
    /// # Errors
    /// 42704 where there is none; XX001 where its file can't be read.
    pub fn funnel(&self, name: &str) -> Result<Arc<FunnelDefinition>> {
        let funnels = self.read();
        match funnels.get(name) {
            Some(kept) => kept.definition(),
            None => Err(self.unknown(name, funnels.keys().cloned().collect())),
        }
    }

    /// The funnel of that name with its expressions planned over its source, which is read with its owner's
    /// privileges, in the settings of `state`.
    ///
    /// # Errors
    /// As [`Catalog::funnel`], and whatever the source or an expression has become wrong with since it
    /// was defined.
    pub async fn resolve(
        &self,
        state: &SessionState,
        name: &str,
    ) -> Result<Arc<ResolvedFunnel>, DataFusionError> {
        let definition = match self.funnel(name) {
            Ok(definition) => definition,
            Err(Error::Funnel { error, .. }) => return Err(error.into()),
            Err(other) => return Err(DataFusionError::External(Box::new(other))),
        };
        let catalogs = self.base()?.catalog_list();
        let owners;
        let state = match Arc::ptr_eq(state.catalog_list(), catalogs) {
            true => state,
            false => {
                owners = SessionStateBuilder::new_from_existing(state.clone())
                    .with_catalog_list(Arc::clone(catalogs))
                    .build();
                &owners
            }
        };
        match resolve(state, &definition).await {
            Ok(resolved) => Ok(Arc::new(resolved)),
            Err(ResolveError { error, .. }) => Err(error),
        }
    }

    /// Defines a funnel; tells whether it did (an existing one is left alone where that was asked).
    ///
    /// # Errors
    /// 42710 when the name is taken, and every fault of the definition with its place.
    pub async fn create_funnel(&self, state: &SessionState, create: &CreateFunnel) -> Result<bool> {
        if self.read().contains_key(&create.name) && !create.or_replace {
            return match create.if_not_exists {
                true => Ok(false),
                false => Err(FunnelError::AlreadyExists {
                    kind: Kind::Funnel,
                    name: create.name.clone(),
                }
                .into()),
            };
        }
        let definition = Arc::new(self.definition(state, create).await?);
        let resolved = resolve(state, &definition)
            .await
            .map_err(|fault| place(create, &fault))?;
        for related in &resolved.related {
            if let Err(error) = related.checked() {
                let part = Some(Part::Related(related.kind));
                return Err(place(create, &ResolveError { part, error }));
            }
        }
        datafusion_funnel::table::check(&resolved)?;
        self.keep(definition)?;
        Ok(true)
    }

    /// The clauses as written, and those that a template adds.
    async fn definition(
        &self,
        state: &SessionState,
        create: &CreateFunnel,
    ) -> Result<FunnelDefinition> {
        let mut body = create.body.clone();
        if let Some(name) = &create.template {
            let position = create.positions.get(&Part::Template).copied();
            let at_template = |error| Error::Funnel { error, position };
            let template = template::find(name).map_err(at_template)?;
            let columns = source_columns(state, &create.source)
                .await
                .map_err(|fault| place(create, &fault))?;
            body = template.fill(body, &columns).map_err(at_template)?;
        }
        Ok(body.into_definition(create.name.clone(), create.source.clone()))
    }

    fn keep(&self, definition: Arc<FunnelDefinition>) -> Result<()> {
        self.store.put(&definition.name, &definition)?;
        let name = definition.name.clone();
        self.write().insert(name, Kept::Good(definition));
        Ok(())
    }

    /// Forgets funnels; all of them or, when one is missing, none. Returns the missing ones where they
    /// are no error.
    ///
    /// # Errors
    /// 42704 for a missing funnel.
    pub fn drop_funnels(&self, names: &[String], if_exists: bool) -> Result<Vec<String>> {
        let mut funnels = self.write();
        let missing: Vec<String> = names
            .iter()
            .filter(|name| !funnels.contains_key(*name))
            .cloned()
            .collect();
        if let (Some(name), false) = (missing.first(), if_exists) {
            return Err(self.unknown(name, funnels.keys().cloned().collect()));
        }
        for name in names {
            self.store.remove(name)?;
            funnels.remove(name);
            self.access.forget(&Object::Funnel(name.clone()))?;
        }
        Ok(missing)
    }

    /// Sets or takes away a funnel's comment.
    ///
    /// # Errors
    /// 42704 for a missing funnel.
    pub fn comment_on_funnel(&self, name: &str, comment: Option<String>) -> Result<()> {
        let mut definition = self.funnel(name)?.as_ref().clone();
        definition.comment = comment;
        self.keep(Arc::new(definition))
    }

    /// The statement that would define the funnel again.
    ///
    /// # Errors
    /// 42704 for a missing funnel.
    pub fn show_create_funnel(&self, name: &str) -> Result<String> {
        Ok(self.funnel(name)?.to_string())
    }

    /// One row for each funnel that a role may ask: see [`show_funnels_schema`].
    ///
    /// # Errors
    /// XX000 never; the batch has the schema's columns.
    pub fn show_funnels(&self, role: &str) -> Result<RecordBatch> {
        let rows: Vec<[Option<String>; 5]> = self
            .read()
            .iter()
            .filter(|(name, _)| self.may_ask(role, name))
            .map(|(name, kept)| funnel_row(name, kept))
            .collect();
        let columns = (0..5).map(|at| {
            let values = rows.iter().map(|row| row[at].as_deref());
            Arc::new(values.collect::<StringArray>()) as ArrayRef
        });
        Ok(
            RecordBatch::try_new(show_funnels_schema(), columns.collect())
                .map_err(DataFusionError::from)?,
        )
    }

    /// The funnels that can be read.
    pub fn definitions(&self) -> Vec<Arc<FunnelDefinition>> {
        self.read()
            .values()
            .filter_map(|kept| kept.definition().ok())
            .collect()
    }

    /// The statements that made the tables, schemas and views, oldest first.
    pub fn kept_statements(&self) -> Vec<KeptStatement> {
        self.objects.kept()
    }

    /// Refuses a change of what belongs to the engine.
    ///
    /// # Errors
    /// 42501 for a change in a schema that is made by the engine.
    pub fn check_change(&self, change: &Change) -> Result<()> {
        self.objects.check(change)
    }

    /// Keeps a change for the next start.
    ///
    /// # Errors
    /// 58030 when it can't be written.
    pub fn keep_change(&self, change: &Change, sql: &str) -> Result<()> {
        self.objects.keep(change, sql)
    }

    /// The same for a table over files, with what is kept of it beside its statement.
    ///
    /// # Errors
    /// 58030 when it can't be written.
    pub fn keep_table(&self, change: &Change, sql: &str, table: KeptTable) -> Result<()> {
        self.objects.keep_table(change, sql, table)
    }

    /// What is kept of a table over files, beside its statement.
    pub fn kept_table(&self, change: &Change) -> Option<KeptTable> {
        self.objects.kept_table(change)
    }

    /// Forgets who may see the object of `change`, or what is in its schema.
    ///
    /// # Errors
    /// 58030 when a file can't be removed.
    pub fn forget_access(&self, change: &Change) -> Result<()> {
        match &change.target {
            Target::Schema(name) => self.access.forget_schema(name),
            Target::Relation(reference, _) => {
                let schema = reference.schema().unwrap_or(DEFAULT_SCHEMA);
                let object = Object::relation(schema, reference.table());
                self.access.forget(&object)
            }
        }
    }

    /// Refuses another name for what isn't the user's, or is there because its file is.
    ///
    /// # Errors
    /// 42501 for a relation of the engine's own.
    pub fn check_rename(&self, schema: &str, name: &str) -> Result<()> {
        self.objects.check_rename(schema, name)
    }

    /// The statement that made a relation makes it under another name from now on.
    ///
    /// # Errors
    /// 58030 when it can't be written; 0A000 for a relation whose statement can't be changed.
    pub fn rename_kept(&self, schema: &str, from: &str, to: &str) -> Result<()> {
        self.objects.rename(schema, from, to)
    }

    /// The funnels over a relation read it under its new name.
    ///
    /// # Errors
    /// 58030 when a definition can't be written.
    pub fn rename_in_funnels(&self, from: &Relation, to: &Relation) -> Result<()> {
        for definition in self.definitions() {
            let mut changed = definition.as_ref().clone();
            let related = changed.related.iter_mut();
            let related = related.map(|related| &mut related.source);
            for source in related.chain([&mut changed.source]) {
                match source {
                    Source::Query(text) => *text = renamed(text, from, to)?,
                    Source::Table(text) => {
                        let begin = "SELECT * FROM ";
                        let query = renamed(&format!("{begin}{text}"), from, to)?;
                        let table = query.strip_prefix(begin).unwrap_or(&query);
                        let alias = format!(" AS {}", identifier(&from.1));
                        table.strip_suffix(&alias).unwrap_or(table).clone_into(text);
                    }
                }
            }
            if changed != *definition {
                self.keep(Arc::new(changed))?;
            }
        }
        Ok(())
    }

    /// Whether the object of `change` was made by a statement that is kept.
    pub fn is_kept(&self, change: &Change) -> bool {
        self.objects.is_kept(change)
    }

    /// Notes that the object of that key could not be made again at the start.
    pub fn note_broken(&self, key: String, error: Arc<Error>) {
        self.objects.note_broken(key, error);
    }

    /// Whether the object of `change` could not be made again at the start.
    pub fn is_broken(&self, change: &Change) -> bool {
        self.objects.broken(change).is_some()
    }

    /// What is wrong with the table or view of that name, where it could not be made again at the start.
    pub fn broken_relation(&self, name: &str) -> Option<Error> {
        let cause = self.objects.broken_relation(name)?;
        Some(Error::Broken {
            name: name.to_owned(),
            cause,
        })
    }

    fn base(&self) -> Result<&SessionState, DataFusionError> {
        self.base.get().ok_or_else(|| {
            DataFusionError::Internal("the catalog is asked before its engine is there".to_owned())
        })
    }

    fn unknown(&self, name: &str, existing: Vec<String>) -> Error {
        let name = name.to_owned();
        FunnelError::Unknown {
            kind: Kind::Funnel,
            name,
            place: String::new(),
            existing,
        }
        .into()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Kept>> {
        // A map is whole after a panic: each change of it is one call.
        self.funnels.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Kept>> {
        self.funnels.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The columns of `SHOW FUNNELS`: name, source, stages (with arrows), window, comment.
pub fn show_funnels_schema() -> SchemaRef {
    let names = ["funnel", "source", "stages", "window", "comment"];
    let fields: Vec<Field> = names
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn funnel_row(name: &str, kept: &Kept) -> [Option<String>; 5] {
    let name = Some(name.to_owned());
    let definition = match kept.definition() {
        Ok(definition) => definition,
        Err(error) => return [name, None, None, None, Some(error.to_string())],
    };
    let source = definition.source.to_string();
    let stages: Vec<&str> = definition
        .stages
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    let window = definition
        .window
        .as_ref()
        .map(|window| window.text().to_owned());
    [
        name,
        Some(source),
        Some(stages.join(" → ")),
        window,
        definition.comment.clone(),
    ]
}

/// A fault of a definition at the clause that has it.
fn place(create: &CreateFunnel, fault: &ResolveError) -> Error {
    let position = fault
        .part
        .and_then(|part| create.positions.get(&part).copied());
    match Error::from_engine(&fault.error, "") {
        Error::Funnel { error, .. } => Error::Funnel { error, position },
        Error::Query { fault, message, .. } => Error::Query {
            fault,
            message,
            position,
        },
        Error::Syntax { message, .. } => Error::Syntax { message, position },
        other => other,
    }
}
