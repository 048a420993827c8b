//! The one place that assembles the engine: functions, catalogs, storage, limits.
//!
//! An [`Engine`] belongs to a data directory. Everybody who asks something has a [`Session`] of their
//! own: settings and prepared statements are the session's, tables and funnels are the engine's.

mod access;
mod annotate;
mod changes;
mod cooperation;
mod definitions;
mod explain;
mod info;
mod outcome;
mod output;
mod parameters;
mod plan;
mod prepared;
mod query;
mod roles;
mod session;
pub mod settings;
mod transaction;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider};
use datafusion::execution::cache::cache_manager::CacheManagerConfig;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::catalog::Catalog;
use crate::error::Result;

pub use info::{Activity, Asker, ConnectionInfo, Identity, SessionInfo};
pub use outcome::{Described, Notice, Outcome, Prepared};
pub use output::{text_rows, with_postgres_texts};
pub use session::Session;

/// The name of the one database.
pub const DATABASE: &str = "funnelsql";
/// The schema that a name without one is looked for in.
pub const DEFAULT_SCHEMA: &str = "public";

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Where definitions and tables are kept; made if it isn't there.
    pub data_dir: PathBuf,
    /// The most memory that queries may use together, in bytes; as much as they like where absent.
    pub memory_limit: Option<usize>,
}

impl EngineOptions {
    /// The options with nothing but a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            memory_limit: None,
        }
    }
}

/// Tables, funnels and functions over one data directory.
#[derive(Debug)]
pub struct Engine {
    /// The state that every session's starts as.
    base: SessionState,
    catalog: Arc<Catalog>,
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
    /// 58030 when the directory can't be made or read.
    pub async fn open(options: EngineOptions) -> Result<Arc<Self>> {
        let catalog = Arc::new(Catalog::open(&options.data_dir)?);
        let context = SessionContext::new_with_state(base_state(&options)?);
        datafusion_funnel::register_functions(&context)?;
        crate::catalog::register_schemas(&context, &catalog).await?;
        let engine = Arc::new(Self {
            base: context.state(),
            catalog,
            activity: OnceLock::new(),
        });
        engine.catalog.attach(&engine.base);
        engine.restore(&options.data_dir).await?;
        Ok(engine)
    }

    /// A new session for `user`.
    pub fn session(self: &Arc<Self>, user: &str) -> Session {
        Session::new(Arc::clone(self), user)
    }

    /// Tells the engine whose connections its sessions are.
    pub fn attach(&self, activity: Arc<dyn Activity>) {
        // The first server is the engine's; a second one's connections are not listed.
        let _ = self.activity.set(activity);
    }

    /// What the data directory holds.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Registers the tables that lie in the data directory and runs the kept definitions again.
    async fn restore(self: &Arc<Self>, data_dir: &std::path::Path) -> Result<()> {
        for (key, error) in crate::catalog::register_files(&self.base, data_dir).await? {
            self.catalog.note_broken(key, Arc::new(error));
        }
        let session = self.session("funnelsql");
        let mut waiting = self.catalog.kept_statements();
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
            return Ok(());
        }
    }
}

fn base_state(options: &EngineOptions) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(DATABASE, DEFAULT_SCHEMA)
        .with_create_default_catalog_and_schema(false)
        // The catalogs are ours: those of Postgres have more in them.
        .with_information_schema(false);
    let settings = config.options_mut();
    settings.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    // A table function's rows come in the order of its stages, unless the query says otherwise.
    settings.sql_parser.enable_subquery_sort_elimination = false;
    // Positions in error messages.
    settings.sql_parser.collect_spans = true;
    settings.execution.time_zone = Some("UTC".to_owned());
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime(options)?)
        .with_default_features()
        .with_physical_optimizer_rules(physical_rules())
        .build();
    let database = MemoryCatalogProvider::new();
    database.register_schema(DEFAULT_SCHEMA, Arc::new(MemorySchemaProvider::new()))?;
    state
        .catalog_list()
        .register_catalog(DATABASE.to_owned(), Arc::new(database));
    Ok(state)
}

/// DataFusion's rules between ours.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = datafusion_funnel::optimizer::physical_rules();
    rules.push(Arc::new(cooperation::PauseInJoins));
    rules
}

fn runtime(options: &EngineOptions) -> Result<Arc<RuntimeEnv>> {
    // What was listed once would never be listed again: a file that is added to a folder must be seen.
    let caches = CacheManagerConfig::default().with_list_files_cache_limit(0);
    let mut builder = RuntimeEnvBuilder::new().with_cache_manager(caches);
    if let Some(limit) = options.memory_limit {
        builder = builder.with_memory_limit(limit, 1.0);
    }
    Ok(builder.build_arc()?)
}
