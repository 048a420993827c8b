//! The one place that assembles the engine: functions, catalogs, storage, limits.
//!
//! An [`Engine`] belongs to a data directory. Everybody who asks something has a [`Session`] of their
//! own: settings and prepared statements are the session's, tables and funnels are the engine's.

mod access;
mod annotate;
mod binary;
mod changes;
mod clauses;
mod cooperation;
mod copy;
mod definitions;
mod explain;
mod foreign;
mod info;
mod keys;
mod materialized;
mod memory;
mod outcome;
mod output;
mod parameters;
mod placed;
mod plan;
mod plans;
mod prepared;
mod query;
mod roles;
mod search_path;
mod sequences;
mod session;
pub mod settings;
mod short_circuit;
mod tables;
mod transaction;
mod turns;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider,
};
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::audit::{Audit, AuditOptions};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::external::{ConfiguredStore, Stores};
use crate::federation::PushAggregates;
use crate::postgres::input_order::InputOrder;
use crate::postgres::interval_order::IntervalOrder;
use crate::postgres::mixed_types::MixedTypes;
use crate::postgres::zones;
use crate::storage::{Place, Storage};
use crate::tables::{DurableTable, Table, Tables};
use memory::{EnginePool, SessionPool};
use short_circuit::ShortCircuit;

pub use copy::{Copies, CopyDone, CopyIn, CopyProgress, RunningCopy, numeric_text};
pub use info::{Activity, Asker, ConnectionInfo, Identity, SessionInfo};
pub use materialized::Refreshed;
pub use memory::Reservation;
pub use outcome::{Described, Notice, Outcome, Prepared};
pub use output::{named_text_rows, text_rows, with_postgres_texts};
pub use parameters::{UNSCALED, parameter_field};
pub use prepared::NamedStatement;
pub use search_path::SearchPath;
pub use session::Session;

/// The name of the one database.
pub const DATABASE: &str = "funnelsql";
/// The schema that a name without one is looked for in.
pub const DEFAULT_SCHEMA: &str = "public";

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where definitions and tables are kept, made if it isn't there: a folder, or `s3://bucket/prefix`.
    pub data_dir: PathBuf,
    /// The most memory that queries may use together, in bytes; as much as they like where absent.
    pub memory_limit: Option<usize>,
    /// The most memory that one session's queries may use, in bytes; as much as is left where absent.
    pub session_memory_limit: Option<usize>,
    /// Where queries write what doesn't fit into memory; the system's folder for temporary files where absent.
    pub temp_dir: Option<PathBuf>,
    /// The most that they may write there together, in bytes.
    pub temp_limit: u64,
    /// How many statements a session may have prepared, and how many cursors and portals opened.
    pub max_prepared_statements: usize,
    /// The audit log of the server that is over it; none where absent.
    pub audit: Option<AuditOptions>,
    /// What sessions' settings are before anybody sets them, where it isn't what Postgres has.
    pub settings: BTreeMap<String, String>,
    /// How stores of files are entered whose tables don't say it.
    pub object_stores: Vec<ConfiguredStore>,
}

impl EngineOptions {
    /// The options with nothing but a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            memory_limit: None,
            session_memory_limit: None,
            temp_dir: None,
            temp_limit: 100 << 30,
            max_prepared_statements: 2000,
            audit: None,
            settings: BTreeMap::new(),
            object_stores: Vec::new(),
        }
    }
}

/// Tables, funnels and functions over one data directory.
#[derive(Debug)]
pub struct Engine {
    /// The state that every session's starts as.
    base: SessionState,
    memory: Arc<EnginePool>,
    session_memory_limit: Option<usize>,
    max_prepared_statements: usize,
    /// The defaults of sessions' settings that were changed.
    settings: Arc<BTreeMap<String, String>>,
    audit: Option<Arc<Audit>>,
    catalog: Arc<Catalog>,
    /// Its durable tables.
    tables: Arc<Tables>,
    /// The plans of queries that came before.
    plans: plans::Plans,
    /// The turns that statements take.
    turns: Arc<turns::Turns>,
    /// The stores that its external tables' files are in.
    stores: Stores,
    /// The copies that run.
    copies: Arc<Copies>,
    /// Set when what is kept has been made again.
    restored: OnceLock<()>,
    /// Where everything is kept. Held while it is this engine's.
    storage: Arc<Storage>,
    /// The connections of the server that is over it.
    activity: OnceLock<Arc<dyn Activity>>,
}

impl Engine {
    /// Opens a data directory: its tables, schemas, views and funnels are there again.
    ///
    /// A definition that can't be read, or a table whose file vanished, is reported in the log and is an
    /// error where it is used; it doesn't keep the rest from working.
    ///
    /// # Errors
    /// 58030 when the directory can't be made or read; 55006 when another server has it open; 08001 when its store can't be
    /// reached; 22023 and 42704 for a setting that can't be.
    pub async fn open(options: EngineOptions) -> Result<Arc<Self>> {
        Self::open_with(options, &[]).await
    }

    /// The same, with functions of the caller's.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub async fn open_with(options: EngineOptions, functions: &[ScalarUDF]) -> Result<Arc<Self>> {
        let settings = Arc::new(settings::defaults(&options.settings)?);
        let audit_folder = match &options.audit {
            Some(audit) => audit.folder.clone(),
            None => crate::storage::audit_folder(&options.data_dir),
        };
        let (stores, scratch) = (&options.object_stores, options.temp_dir.as_deref());
        let storage = Storage::open(&options.data_dir, stores, scratch).await?;
        let catalog = Arc::new(Catalog::open(storage.root(), audit_folder)?);
        let (tables, broken) = Tables::open(storage.root()).await?;
        let memory = Arc::new(EnginePool::new(options.memory_limit));
        let context = SessionContext::new_with_state(base_state(&options, &memory, &settings)?);
        if let Some(remote) = storage.remote() {
            let (url, store) = (remote.url(), remote.store());
            context.register_object_store(url.as_ref(), store);
        }
        datafusion_funnel::register_functions(&context)?;
        for function in functions {
            context.register_udf(function.clone());
        }
        crate::catalog::register_schemas(&context, &catalog).await?;
        for function in sequences::functions(&tables, &catalog) {
            context.register_udf(function);
        }
        let engine = Arc::new(Self {
            base: context.state(),
            memory,
            session_memory_limit: options.session_memory_limit,
            max_prepared_statements: options.max_prepared_statements,
            settings,
            audit: options.audit.clone().map(Audit::start).transpose()?,
            catalog,
            tables,
            plans: plans::Plans::default(),
            turns: Arc::new(turns::Turns::new()),
            stores: Stores::new(options.object_stores.clone()),
            copies: Arc::default(),
            restored: OnceLock::new(),
            storage: Arc::new(storage),
            activity: OnceLock::new(),
        });
        engine.catalog.attach(&engine.base);
        for (schema, name, error) in broken {
            let key = crate::catalog::relation_key(&schema, &name);
            engine.catalog.note_broken(key, Arc::new(error));
        }
        let root = engine.storage.root().clone();
        engine.restore(&root).await?;
        let _ = engine.restored.set(());
        Ok(engine)
    }

    /// A new session for `user`.
    pub fn session(self: &Arc<Self>, user: &str) -> Session {
        Session::new(Arc::clone(self), user)
    }

    /// The audit log.
    pub fn audit(&self) -> Option<&Arc<Audit>> {
        self.audit.as_ref()
    }

    /// What its queries hold at the moment.
    pub fn usage(&self) -> Usage {
        let runtime = self.base.runtime_env();
        let (kept_plans, reused_plans) = self.plans.counts();
        Usage {
            memory_bytes: self.memory.reserved(),
            most_memory_bytes: self.memory.most_used(),
            memory_limit: self.memory.limit(),
            temp_bytes: runtime.disk_manager.used_disk_space(),
            temp_limit: runtime.disk_manager.max_temp_directory_size(),
            kept_plans,
            reused_plans,
        }
    }

    /// How many statements a session may have prepared, and how many cursors and portals opened.
    pub fn max_prepared_statements(&self) -> usize {
        self.max_prepared_statements
    }

    /// What a session's statements run in: a part of the engine's memory.
    fn session_runtime(&self) -> Arc<RuntimeEnv> {
        let runtime = self.base.runtime_env();
        match self.session_memory_limit {
            None => Arc::clone(runtime),
            Some(limit) => {
                let pool = SessionPool::new(limit, Arc::clone(&self.memory));
                Arc::new(RuntimeEnv {
                    memory_pool: Arc::new(pool),
                    ..runtime.as_ref().clone()
                })
            }
        }
    }

    /// Tells the engine whose connections its sessions are.
    pub fn attach(&self, activity: Arc<dyn Activity>) {
        // The first server is the engine's; a second one's connections are not listed.
        let _ = self.activity.set(activity);
    }

    /// The stores of files.
    fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What is kept is being made again.
    fn is_restoring(&self) -> bool {
        self.restored.get().is_none()
    }

    /// The durable tables.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// A durable table can be found under its name.
    pub(crate) fn register(&self, table: &Arc<Table>, schema: &dyn SchemaProvider) -> Result<()> {
        let shape = table.shape();
        let definition = &shape.definition;
        let provider = DurableTable::new(&self.tables, table).with_views();
        schema.register_table(definition.name.clone(), Arc::new(provider))?;
        let mut notes = definition.notes.clone();
        for column in &definition.columns {
            if let Some(default) = &column.default
                && column.identity.is_none()
            {
                notes.defaults.insert(column.name.clone(), default.clone());
            }
        }
        let annotations = self.catalog.annotations();
        annotations.note(&definition.schema, &definition.name, |known| *known = notes);
        Ok(())
    }

    /// Looks after a table that was changed.
    fn look_after(&self, table: &Arc<Table>) {
        let context = SessionContext::new_with_state(self.base.clone());
        // The directory is this engine's until that is done.
        let directory = Arc::clone(&self.storage);
        self.tables.look_after(&context, table, directory);
    }

    /// What the data directory holds.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// A session for statements that were kept: their names mean the same whatever `search_path` is by default.
    fn session_for_kept(self: &Arc<Self>, user: &str) -> Session {
        let session = self.session(user);
        // It is a setting that any session may change to any value.
        let _ = session::lock(&session.settings).set("search_path", Some(DEFAULT_SCHEMA), false);
        session
    }

    /// Registers the tables that lie in the data directory and runs the kept definitions again.
    async fn restore(self: &Arc<Self>, data_dir: &Place) -> Result<()> {
        for (key, error) in crate::catalog::register_files(&self.base, data_dir).await? {
            self.catalog.note_broken(key, Arc::new(error));
        }
        let session = self.session_for_kept(crate::catalog::roles::OWNER);
        let mut waiting = self.catalog.kept_statements();
        // Tables are in schemas, and views read tables.
        let mut others = Vec::with_capacity(waiting.len());
        for kept in waiting {
            if !kept.name.starts_with("schema ") || session.run(&kept.sql).await.is_err() {
                others.push(kept);
            }
        }
        waiting = others;
        let database = self.base.catalog_list().catalog(DATABASE);
        for table in self.tables.all() {
            let schema = table.shape().definition.schema.clone();
            let found = database
                .as_ref()
                .and_then(|database| database.schema(&schema));
            match found {
                Some(schema) => self.register(&table, schema.as_ref())?,
                None => tracing::error!(schema, "the schema of a table is gone"),
            }
        }
        for sequence in self.tables.sequences().all() {
            let schema = sequence.definition().schema;
            let found = database
                .as_ref()
                .and_then(|database| database.schema(&schema));
            match found {
                Some(schema) => self.register_sequence(&sequence, schema.as_ref())?,
                None => tracing::error!(schema, "the schema of a sequence is gone"),
            }
        }
        loop {
            let count = waiting.len();
            let mut failed = Vec::new();
            for kept in waiting {
                if let Err(error) = session.run(&kept.sql).await {
                    let error = Arc::new(error);
                    self.catalog
                        .note_broken(kept.name.clone(), Arc::clone(&error));
                    failed.push((kept, error));
                }
            }
            // A table that was replaced stands behind the views that read it: they come again.
            if failed.len() < count {
                waiting = failed.into_iter().map(|(kept, _)| kept).collect();
                continue;
            }
            for (kept, error) in failed {
                tracing::error!(%error, object = kept.name, "can't restore a definition");
            }
            materialized::remove_orphans(data_dir, &self.catalog.kept_statements());
            return Ok(());
        }
    }
}

impl Drop for Engine {
    /// The directory is still this engine's.
    fn drop(&mut self) {
        self.tables.sequences().settle();
    }
}

/// What the queries of an engine hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory, in bytes.
    pub memory_bytes: usize,
    /// The most that it has been.
    pub most_memory_bytes: usize,
    /// The most that it may be; anything where absent.
    pub memory_limit: Option<usize>,
    /// Files of what didn't fit into memory, in bytes.
    pub temp_bytes: u64,
    /// The most that they may take.
    pub temp_limit: u64,
    /// Queries whose plans are kept.
    pub kept_plans: usize,
    /// Queries that were run by a plan that was kept, since the engine was opened.
    pub reused_plans: u64,
}

fn base_state(
    options: &EngineOptions,
    memory: &Arc<EnginePool>,
    defaults: &BTreeMap<String, String>,
) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, DEFAULT_SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // The catalogs are ours: those of Postgres have more in them.
        .with_information_schema(false);
    let settings = config.options_mut();
    settings.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    // A table function's rows come in the order of its stages, unless the query says otherwise.
    settings.sql_parser.enable_subquery_sort_elimination = false;
    // DataFusion's two ideas of whether a column can be NULL differ for some expressions (`CASE WHEN x IS TRUE …`).
    settings.execution.skip_physical_aggregate_schema_check = true;
    // Positions in error messages.
    settings.sql_parser.collect_spans = true;
    let zone = defaults.get("timezone").map_or("UTC", String::as_str);
    settings.execution.time_zone = zones::of_setting(zone);
    // Each sort keeps as much back to merge what it has written; a small limit would be nothing but that.
    let smallest = options.session_memory_limit.or(options.memory_limit);
    let kept_back = &mut settings.execution.sort_spill_reservation_bytes;
    *kept_back = smallest.map_or(*kept_back, |limit| (limit / 32).min(*kept_back));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime(options, memory)?)
        .with_default_features()
        .with_physical_optimizer_rules(physical_rules())
        .with_analyzer_rules(analyzer_rules())
        .build();
    let database = MemoryCatalogProvider::new();
    database.register_schema(DEFAULT_SCHEMA, Arc::new(MemorySchemaProvider::new()))?;
    state
        .catalog_list()
        .register_catalog(DATABASE.to_owned(), Arc::new(database));
    Ok(state)
}

/// DataFusion's rules between ours.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(MixedTypes::default()));
    rules.insert(1, Arc::new(IntervalOrder::default()));
    rules.push(Arc::new(InputOrder));
    rules.push(Arc::new(keys::ForgetKeys));
    rules
}

/// The same for plans of operators.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = datafusion_funnel::optimizer::physical_rules();
    // Before an aggregate is spread over partitions.
    rules.insert(0, Arc::new(PushAggregates));
    rules.insert(0, Arc::new(ShortCircuit::OfColumns));
    rules.push(Arc::new(cooperation::PauseInJoins));
    rules.push(Arc::new(ShortCircuit::OfAll));
    rules
}

fn runtime(options: &EngineOptions, memory: &Arc<EnginePool>) -> Result<Arc<RuntimeEnv>> {
    // What was listed once would never be listed again: a file that is added to a folder must be seen.
    let caches = CacheManagerConfig::default().with_list_files_cache_limit(0);
    let place = match &options.temp_dir {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default()
        .with_mode(place)
        .with_max_temp_directory_size(options.temp_limit);
    let pool = Arc::clone(memory) as Arc<dyn MemoryPool>;
    let builder = RuntimeEnvBuilder::new()
        .with_cache_manager(caches)
        .with_memory_pool(pool)
        .with_disk_manager_builder(disk);
    Ok(builder.build_arc()?)
}
