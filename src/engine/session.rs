//! A session: who asks, with which settings, and the statements that they have prepared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use futures::TryStreamExt;

use super::Engine;
use super::changes::{CHANGES_COLUMNS, REVIEW_COLUMNS};
use super::info::SessionInfo;
use super::info::{Asker, Identity};
use super::memory::Reservation;
use super::outcome::{Described, Notice, Outcome, Prepared};
use super::search_path::SearchPath;
use super::settings::{self, Settings};
use crate::catalog::{self, CatalogNames};
use datafusion_funnel::definition::change::unknown_change;
use datafusion_funnel::definition::metric::unknown_metric;
use datafusion_funnel::definition::text::literal;

use crate::error::{Error, Result};
use crate::postgres::encoding::{Encoding, UTF8};
use crate::postgres::names_of_objects::Names;
use crate::postgres::style::Style;
use crate::sql::{self, CreateMetric, Statement, StatementKind};
use crate::tables::Block;

/// One user's conversation with an engine.
///
/// Everything in it is the session's own: the engine's tables and funnels are reached through it, and
/// nothing that is set here is seen by another session. Dropping it forgets it.
pub struct Session {
    pub(super) engine: Arc<Engine>,
    /// Who asks, and as whom.
    pub(super) identity: Arc<Identity>,
    pub(super) context: SessionContext,
    pub(super) settings: Arc<Mutex<Settings>>,
    /// What the catalogs know of it.
    pub(super) info: Arc<SessionInfo>,
    /// What its transaction block has changed.
    pub(super) block: Mutex<Option<Block>>,
    /// It has set options of DataFusion's.
    tuned: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.identity.user())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>, user: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let settings = Settings::with_defaults(&engine.settings);
        let settings = Arc::new(Mutex::new(settings));
        let identity = Arc::new(Identity::new(user, NEXT.fetch_add(1, Ordering::Relaxed)));
        let catalogs = engine.catalog.seen_by(&engine.base, &identity);
        let path = SearchPath::new(&identity, &catalogs, &settings);
        let names = CatalogNames::new(
            Arc::clone(&catalogs),
            Arc::clone(&engine.catalog),
            Some(path.clone()),
        );
        let activity = engine.activity.get().map(Arc::clone);
        let info = Arc::new(SessionInfo::new(
            &identity,
            Arc::clone(&catalogs),
            Arc::new(names),
            path,
            &settings,
            activity,
            &engine.copies,
        ));
        let mut state = SessionStateBuilder::new_from_existing(engine.base.clone())
            .with_session_id(String::new())
            .with_catalog_list(catalogs)
            .with_runtime_env(engine.session_runtime())
            .build();
        let config = state.config_mut();
        config.set_extension(Arc::clone(&info));
        let options = config.options_mut();
        options.extensions.insert(Asker(Arc::clone(&info)));
        let context = SessionContext::new_with_state(state);
        catalog::register_session_functions(&context, &settings, &info);
        Self {
            engine,
            identity,
            context,
            settings,
            info,
            block: Mutex::default(),
            tuned: AtomicBool::new(false),
        }
    }

    /// How many statements it may have prepared, and how many cursors and portals opened.
    pub fn max_prepared_statements(&self) -> usize {
        self.engine.max_prepared_statements()
    }

    /// Memory that the session holds beside what its queries do.
    pub fn reserve(&self, what: &'static str) -> Reservation {
        Reservation::new(what, &self.context.runtime_env().memory_pool)
    }

    /// The session is a connection's of that number.
    pub fn set_connection(&self, number: i32) {
        self.info.set_number(number);
    }

    /// The names that OIDs stand for.
    pub fn names(&self) -> Arc<dyn Names> {
        Arc::clone(self.info.names()) as Arc<dyn Names>
    }

    /// Its time zone, as Arrow knows it.
    pub fn zone(&self) -> String {
        lock(&self.settings).zone()
    }

    /// How it reads and writes values.
    pub fn style(&self) -> Style {
        self.info.style()
    }

    /// Who asks.
    pub fn user(&self) -> &str {
        self.identity.user()
    }

    /// Reads a text into statements; see [`sql::parse`].
    ///
    /// # Errors
    /// 42601 and 54001, as [`sql::parse`].
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        sql::parse(sql)
    }

    /// Runs a text of statements and throws its rows away.
    ///
    /// # Errors
    /// The first statement's that fails; those behind it are not run.
    pub async fn run(&self, sql: &str) -> Result<()> {
        for statement in self.parse(sql)? {
            let outcome = self.execute_statement(statement).await?;
            if let Outcome::Rows { stream, .. } = outcome {
                stream.try_for_each(|_| async { Ok(()) }).await?;
            }
        }
        Ok(())
    }

    /// Runs a text of one query and collects its rows.
    ///
    /// # Errors
    /// The query's.
    pub async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        for statement in self.parse(sql)? {
            if let Outcome::Rows { stream, .. } = self.execute_statement(statement).await? {
                batches = stream
                    .try_collect()
                    .await
                    .map_err(|error| Error::from_engine(&error, sql))?;
            }
        }
        Ok(batches)
    }

    /// Runs a statement without parameters.
    ///
    /// # Errors
    /// The statement's.
    pub async fn execute_statement(&self, statement: Statement) -> Result<Outcome> {
        let prepared = Prepared {
            statement,
            parameters: Vec::new(),
            described: Described::Later,
        };
        self.execute(&prepared, Vec::new()).await
    }

    /// Finds out what a statement returns and which parameters it takes, without running it.
    /// `declared` are the types that the client gave, where it gave one.
    ///
    /// # Errors
    /// The statement's, as far as planning finds them.
    pub async fn prepare(
        &self,
        statement: Statement,
        declared: &[Option<DataType>],
    ) -> Result<Prepared> {
        let described = match &statement.kind {
            StatementKind::Engine(engine_statement) => {
                return self
                    .prepare_engine(&statement, engine_statement, declared)
                    .await;
            }
            StatementKind::ShowFunnels => Described::Rows(catalog::show_funnels_schema()),
            StatementKind::ShowCreateFunnel(_) => Described::Rows(text_schema(&["create_funnel"])),
            StatementKind::ShowCreateMetric(_) => Described::Rows(text_schema(&["create_metric"])),
            StatementKind::ShowCreateChange(_) => Described::Rows(text_schema(&["create_change"])),
            StatementKind::ShowChanges => Described::Rows(text_schema(&CHANGES_COLUMNS)),
            StatementKind::ReviewChange(_) => Described::Rows(text_schema(&REVIEW_COLUMNS)),
            StatementKind::ShowSql(_) => Described::Rows(text_schema(&["sql"])),
            StatementKind::Show(name) => {
                Described::Rows(text_schema(&[&settings::written_name(name)]))
            }
            StatementKind::ShowAll => {
                Described::Rows(text_schema(&["name", "setting", "description"]))
            }
            StatementKind::Explain {
                options,
                statement: explained,
            } => {
                let described = Described::Rows(super::explain::schema(*options));
                let parameters = self
                    .explained_parameters(&statement, explained, declared)
                    .await?;
                return Ok(Prepared {
                    statement,
                    parameters,
                    described,
                });
            }
            StatementKind::Execute { name, .. } => self.prepared_named(name)?.described.clone(),
            StatementKind::Declare { query, .. } => {
                // A cursor has the parameters of its query.
                let inner = Box::pin(self.prepare(query.as_ref().clone(), declared)).await?;
                return Ok(Prepared {
                    statement,
                    parameters: inner.parameters,
                    described: Described::Nothing,
                });
            }
            _ => Described::Nothing,
        };
        Ok(Prepared {
            statement,
            parameters: Vec::new(),
            described,
        })
    }

    /// What a prepared statement returns once its parameters have these values.
    ///
    /// # Errors
    /// The statement's, as far as planning finds them.
    pub async fn describe(&self, prepared: &Prepared, values: &[ScalarValue]) -> Result<Described> {
        match (&prepared.described, &prepared.statement.kind) {
            (Described::Later, StatementKind::Engine(statement)) => {
                let planned = self
                    .plan(&prepared.statement, statement, Some(values))
                    .await?;
                Ok(self.describe_plan(&planned.plan))
            }
            (described, _) => Ok(described.clone()),
        }
    }

    /// Runs a prepared statement with these parameters.
    ///
    /// # Errors
    /// The statement's; those of its rows come with the stream.
    pub async fn execute(&self, prepared: &Prepared, values: Vec<ScalarValue>) -> Result<Outcome> {
        let statement = self.in_path(&prepared.statement)?;
        let statement = statement.as_ref();
        let _forgetting = self.engine.plans.forget_after(&statement.kind);
        self.check_writes(statement)?;
        self.check_allowed(&statement.kind)?;
        // Whoever only adds rows reads none of those that wait, and nobody needs those that are undone.
        match &statement.kind {
            StatementKind::Rollback { .. } => {}
            StatementKind::Engine(statement) if is_insert(statement) => {}
            _ => Box::pin(self.flush_pending()).await?,
        }
        self.begin_statement();
        match &statement.kind {
            StatementKind::Engine(engine_statement) => {
                // Boxed: it is large, and most statements are others.
                let on_tables = Box::pin(self.run_on_tables(statement, engine_statement, &values));
                if let Some(outcome) = on_tables.await? {
                    return Ok(outcome);
                }
                let planned = self
                    .plan(statement, engine_statement, Some(&values))
                    .await?;
                self.run_planned(statement, planned, values).await
            }
            StatementKind::CreateFunnel(create) => {
                let state = self.context.state();
                let created = self.engine.catalog.create_funnel(&state, create).await;
                let created = created.map_err(|error| self.explain_error(error))?;
                Ok(match created {
                    true => Outcome::done("CREATE FUNNEL"),
                    false => Outcome::noted(
                        "CREATE FUNNEL",
                        Notice::plain(format!(
                            "funnel \"{}\" already exists, skipping",
                            create.name
                        )),
                    ),
                })
            }
            StatementKind::DropFunnel { names, if_exists } => {
                let missing = self.engine.catalog.drop_funnels(names, *if_exists)?;
                Ok(skipped("DROP FUNNEL", "funnel", &missing))
            }
            StatementKind::CommentOnFunnel { name, comment } => {
                self.engine
                    .catalog
                    .comment_on_funnel(name, comment.clone())?;
                Ok(Outcome::done("COMMENT"))
            }
            StatementKind::ShowFunnels => Ok(Outcome::table(
                "SHOW",
                self.engine.catalog.show_funnels(&self.current_user())?,
            )),
            StatementKind::ShowCreateFunnel(name) => {
                let catalog = &self.engine.catalog;
                catalog.check_funnel(&self.current_user(), name)?;
                let text = catalog.show_create_funnel(name)?;
                self.text_table(&["create_funnel"], &[vec![text]])
            }
            StatementKind::CreateMetric(create) => self.create_metric(create).await,
            StatementKind::DropMetric { names, if_exists } => {
                let missing = self.engine.catalog.metrics().drop(names, *if_exists)?;
                Ok(skipped("DROP METRIC", "metric", &missing))
            }
            StatementKind::ShowCreateMetric(name) => {
                let mut metrics = self.engine.catalog.metrics().newest();
                metrics.retain(|metric| self.may_ask(&metric.funnel));
                let found = metrics.iter().find(|metric| metric.name == *name);
                let names: Vec<String> = metrics.iter().map(|metric| metric.name.clone()).collect();
                let found = found.ok_or_else(|| unknown_metric(name, &names))?;
                self.text_table(&["create_metric"], &[vec![found.to_string()]])
            }
            StatementKind::CreateChange(create) => self.create_change(create).await,
            StatementKind::DropChange { names, if_exists } => {
                let missing = self.engine.catalog.changes().drop(names, *if_exists)?;
                Ok(skipped("DROP CHANGE", "change", &missing))
            }
            StatementKind::CommentOnChange { name, note } => {
                self.engine.catalog.changes().comment(name, note.clone())?;
                Ok(Outcome::done("COMMENT"))
            }
            StatementKind::ReviewChange(review) => self.review_change(review).await,
            StatementKind::ShowCreateChange(name) => {
                let changes = self.engine.catalog.changes().all();
                let mut changes = changes
                    .into_iter()
                    .filter(|change| self.may_ask(&change.definition.funnel));
                let change = changes
                    .find(|change| change.definition.name == *name)
                    .ok_or_else(|| unknown_change(name, &[]))?;
                self.text_table(&["create_change"], &[vec![change.definition.to_string()]])
            }
            StatementKind::ShowChanges => self.show_changes().await,
            StatementKind::ShowSql(shown) => {
                let sql = self.sql_behind(statement, shown).await?;
                self.text_table(&["sql"], &[vec![sql]])
            }
            StatementKind::Role(role) => self.run_role(role),
            StatementKind::Access(access) => self.run_access(access),
            StatementKind::Foreign(foreign) => self.run_foreign(foreign).await,
            StatementKind::Materialized(view) => self.run_materialized(view).await,
            StatementKind::Set {
                name,
                value,
                local,
                tag,
            } => self.set_for(name, value.as_deref(), *local, tag).await,
            StatementKind::SetModes { modes, session } => self.set_modes(modes, *session).await,
            StatementKind::Annotate(annotation) => Box::pin(self.annotate(annotation)).await,
            StatementKind::Explain {
                options,
                statement: explained,
            } => self.explain(statement, explained, *options, &values).await,
            StatementKind::Nothing(tag) => Ok(Outcome::done(*tag)),
            StatementKind::Sequence(sequence) => self.run_sequence(sequence),
            StatementKind::Index(index) => Box::pin(self.run_index(index)).await,
            StatementKind::DiscardSequences => {
                self.info.forget_numbers();
                Ok(Outcome::done("DISCARD SEQUENCES"))
            }
            StatementKind::Maintain(maintenance) => Box::pin(self.maintain(maintenance)).await,
            StatementKind::DiscardTemporary => {
                self.drop_temporary();
                Ok(Outcome::done("DISCARD TEMP"))
            }
            StatementKind::CreateTemporary(create) => {
                self.create_temporary(statement, create).await
            }
            StatementKind::Savepoint(name) => {
                self.savepoint(name);
                Ok(Outcome::done("SAVEPOINT"))
            }
            StatementKind::Release(name) => {
                self.release(name);
                Ok(Outcome::done("RELEASE"))
            }
            StatementKind::RollbackTo(name) => {
                self.roll_back_to(name);
                Ok(Outcome::done("ROLLBACK"))
            }
            StatementKind::Listen(_)
            | StatementKind::Unlisten(_)
            | StatementKind::Notify { .. }
            | StatementKind::Declare { .. }
            | StatementKind::Fetch { .. }
            | StatementKind::CloseCursor(_)
            | StatementKind::Copy(_) => Err(Error::Unsupported {
                message: "this statement needs a connection to a server".to_owned(),
                hint: Some("Connect with psql to funnelsql serve.".to_owned()),
            }),
            StatementKind::ResetAll => self.reset_all().await,
            StatementKind::Show(name) => {
                let value = self.setting(name)?;
                self.text_table(&[&settings::written_name(name)], &[vec![value]])
            }
            StatementKind::ShowAll => self.show_all(),
            StatementKind::Begin(modes) => self.begin(modes, statement),
            StatementKind::Commit { chain } => self.end(false, *chain).await,
            StatementKind::Rollback { chain } => self.end(true, *chain).await,
            StatementKind::Prepare {
                name,
                types,
                statement: prepared,
            } => {
                let text = statement.text.clone();
                self.prepare_named(name, types, prepared.as_ref().clone(), text)
                    .await
            }
            StatementKind::Execute { name, values } => self.execute_named(name, values).await,
            StatementKind::Deallocate(name) => self.deallocate(name.as_deref()),
            StatementKind::DiscardAll => {
                self.info.statements().clear();
                self.info.forget_numbers();
                self.set_role(None)?;
                self.drop_temporary();
                self.reset_all().await?;
                Ok(Outcome::done("DISCARD ALL"))
            }
        }
    }

    async fn create_metric(&self, create: &CreateMetric) -> Result<Outcome> {
        let definition = &create.definition;
        let metrics = self.engine.catalog.metrics();
        if create.if_not_exists && metrics.find(&definition.name).is_some() {
            let message = format!("metric \"{}\" already exists, skipping", definition.name);
            return Ok(Outcome::noted("CREATE METRIC", Notice::plain(message)));
        }
        // As metric() computes it: an aggregate over the funnel's journeys, of a number.
        let trial = format!(
            "SELECT CAST({} AS double precision) AS value, count(*) AS journeys FROM journeys({}, steps => true)",
            definition.expression,
            literal(&definition.funnel)
        );
        for statement in self.parse(&trial)? {
            if let StatementKind::Engine(engine_statement) = &statement.kind {
                let planned = self.plan(&statement, engine_statement, None).await;
                planned.map_err(|error| error.at(create.position))?;
            }
        }
        metrics.create(definition.clone(), create.or_replace)?;
        Ok(Outcome::done("CREATE METRIC"))
    }

    /// Whether it has set options of DataFusion's, on which each plan may depend.
    pub(super) fn has_engine_options(&self) -> bool {
        self.tuned.load(Ordering::Relaxed)
    }

    /// The value of a setting.
    ///
    /// # Errors
    /// 42704 for one that there isn't.
    pub fn setting(&self, name: &str) -> Result<String> {
        if name.starts_with("datafusion.") {
            let state = self.context.state();
            let entries = state.config_options().entries();
            let entry = entries.into_iter().find(|entry| entry.key == name);
            let entry = entry.ok_or_else(|| Error::UnknownSetting(name.to_owned()))?;
            return Ok(entry.value.unwrap_or_default());
        }
        match name {
            "session_authorization" => Ok(self.user().to_owned()),
            "role" => Ok(self
                .identity
                .chosen_role()
                .unwrap_or_else(|| "none".to_owned())),
            "is_superuser" => Ok(if self.is_superuser() { "on" } else { "off" }.to_owned()),
            "password_encryption" => Ok("scram-sha-256".to_owned()),
            _ => lock(&self.settings).get(name),
        }
    }

    /// What its statements said by `pg_notify()` since this was asked last: channels and texts.
    pub fn take_said(&self) -> Vec<(String, String)> {
        self.info.take_said()
    }

    /// The encoding of what the client sends and gets.
    pub fn client_encoding(&self) -> &'static Encoding {
        let name = lock(&self.settings).get("client_encoding");
        name.ok()
            .and_then(|name| Encoding::named(&name))
            .unwrap_or(UTF8)
    }

    /// Sets a setting, as `SET` does; for the options that a client sends when it connects.
    ///
    /// # Errors
    /// 42704 for one that there isn't, 22023 for a value that it can't have.
    pub async fn set(&self, name: &str, value: Option<&str>) -> Result<Outcome> {
        self.set_for(name, value, false, "SET").await
    }

    /// The client is connected: what was set so far is what `RESET` and `DISCARD ALL` go back to.
    pub fn keep_settings(&self) {
        lock(&self.settings).keep_as_startup();
    }

    async fn set_for(
        &self,
        name: &str,
        value: Option<&str>,
        local: bool,
        tag: &'static str,
    ) -> Result<Outcome> {
        if name.starts_with("datafusion.") {
            self.set_engine_option(name, value).await?;
            return Ok(Outcome::done(tag));
        }
        if name.eq_ignore_ascii_case("role") {
            return self.set_role(value).map(|()| Outcome::done(tag));
        }
        if settings::is_for_superusers(name) && !self.is_superuser() {
            return Err(Error::Denied {
                message: format!("permission denied to set parameter \"{name}\""),
                hint: "Ask a superuser.".to_owned(),
            });
        }
        self.change_settings(tag, |settings| settings.set(name, value, local).map(drop))
            .await
    }

    /// Changes settings, and tells what the client has to know of it.
    pub(super) async fn change_settings(
        &self,
        tag: &str,
        change: impl FnOnce(&mut Settings) -> Result<()>,
    ) -> Result<Outcome> {
        let before = self.reported_settings();
        change(&mut lock(&self.settings))?;
        self.settle(before, tag).await
    }

    /// The engine follows the session's time zone, and the client is told of settings that differ.
    pub(super) async fn settle(
        &self,
        before: Vec<(&'static str, String)>,
        tag: &str,
    ) -> Result<Outcome> {
        let after = self.reported_settings();
        let reported: Vec<_> = after
            .into_iter()
            .filter(|setting| !before.contains(setting))
            .collect();
        if reported.iter().any(|(name, _)| *name == "TimeZone") {
            self.set_engine_option("datafusion.execution.time_zone", Some(&self.zone()))
                .await?;
        }
        Ok(Outcome::Done {
            tag: tag.to_owned(),
            notices: Vec::new(),
            reported,
        })
    }

    /// The settings that a client is told when it connects.
    pub fn reported_settings(&self) -> Vec<(&'static str, String)> {
        let mut reported = lock(&self.settings).reported();
        let superuser = if self.is_superuser() { "on" } else { "off" };
        for (name, value) in &mut reported {
            if *name == "is_superuser" {
                superuser.clone_into(value);
            }
        }
        reported.push(("session_authorization", self.user().to_owned()));
        reported
    }

    async fn reset_all(&self) -> Result<Outcome> {
        self.change_settings("RESET", |settings| {
            settings.reset();
            Ok(())
        })
        .await
    }

    /// Settings of the engine belong to the session as well: its context is its own.
    async fn set_engine_option(&self, name: &str, value: Option<&str>) -> Result<()> {
        check_engine_option(name, value)?;
        // The time zone is one of the session's settings.
        if name != "datafusion.execution.time_zone" {
            self.tuned.store(true, Ordering::Relaxed);
        }
        let statement = match value {
            Some(value) => format!("SET {name} = '{}'", value.replace('\'', "''")),
            None => format!("RESET {name}"),
        };
        self.context
            .sql(&statement)
            .await
            .map_err(|error| match error.find_root() {
                DataFusionError::Configuration(_) => Error::InvalidSetting {
                    message: error.strip_backtrace(),
                    hint: None,
                },
                _ => Error::from(error),
            })?;
        Ok(())
    }

    fn show_all(&self) -> Result<Outcome> {
        let settings = lock(&self.settings).clone();
        let rows: Vec<Vec<String>> = settings
            .all()
            .into_iter()
            .map(|(name, value, description)| vec![name, value, description])
            .collect();
        self.text_table(&["name", "setting", "description"], &rows)
    }

    pub(super) fn text_table(&self, columns: &[&str], rows: &[Vec<String>]) -> Result<Outcome> {
        let arrays: Vec<ArrayRef> = (0..columns.len())
            .map(|at| {
                let values = rows.iter().map(|row| row.get(at).map(String::as_str));
                Arc::new(values.collect::<StringArray>()) as ArrayRef
            })
            .collect();
        let batch =
            RecordBatch::try_new(text_schema(columns), arrays).map_err(DataFusionError::from)?;
        Ok(Outcome::table("SHOW", batch))
    }
}

/// An option that reaches beyond the session, or makes its statements cost what no limit counts.
fn check_engine_option(name: &str, value: Option<&str>) -> Result<()> {
    if name.starts_with("datafusion.runtime.") {
        return Err(Error::FixedSetting(format!(
            "parameter \"{name}\" cannot be changed without restarting the server"
        )));
    }
    let most = match name {
        "datafusion.execution.target_partitions" | "datafusion.execution.planning_concurrency" => {
            256
        }
        "datafusion.execution.batch_size" => 65_536,
        _ => return Ok(()),
    };
    match value.and_then(|value| value.trim().parse::<u64>().ok()) {
        Some(number) if number > most => Err(Error::InvalidSetting {
            message: format!(
                "{number} is outside the valid range for parameter \"{name}\" (1 .. {most})"
            ),
            hint: None,
        }),
        _ => Ok(()),
    }
}

/// A panic while a lock is held leaves a map that is whole: each change of it is one call.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_insert(statement: &EngineStatement) -> bool {
    matches!(statement, EngineStatement::Statement(inner) if matches!(inner.as_ref(), ast::Statement::Insert(_)))
}

/// The end of a `DROP` that found some of its objects missing.
pub(super) fn skipped(tag: &str, kind: &str, missing: &[String]) -> Outcome {
    let notices = missing
        .iter()
        .map(|name| Notice::plain(format!("{kind} \"{name}\" does not exist, skipping")))
        .collect();
    Outcome::done(tag).with(notices)
}

pub(super) fn text_schema(columns: &[&str]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, true))
        .collect();
    Arc::new(Schema::new(fields))
}
