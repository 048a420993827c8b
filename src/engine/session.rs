//! A session: who asks, with which settings, and the statements that they have prepared.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{Expr, SessionContext};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_funnel::error::FunnelError;
use futures::TryStreamExt;

use super::settings::Settings;
use super::{Engine, definitions, output, parameters, plan};
use crate::catalog;
use crate::error::{Error, Result};
use crate::sql::{self, Statement, StatementKind};

/// One user's conversation with an engine.
///
/// Everything in it is the session's own: the engine's tables and funnels are reached through it, and
/// nothing that is set here is seen by another session. Dropping it forgets it.
pub struct Session {
    engine: Arc<Engine>,
    user: String,
    context: SessionContext,
    settings: Mutex<Settings>,
    /// Statements prepared in SQL (`PREPARE`); those of the protocol are the server's.
    prepared: Mutex<BTreeMap<String, Arc<Prepared>>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A statement that is ready to run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement.
    pub statement: Statement,
    /// The types of its parameters, `$1` first.
    pub parameter_types: Vec<DataType>,
    /// What it returns.
    pub described: Described,
}

/// What a statement returns.
#[derive(Debug, Clone)]
pub enum Described {
    /// No rows.
    Nothing,
    /// Rows of these columns.
    Rows(SchemaRef),
    /// Rows whose columns depend on parameters that have no value yet; describe it again when they have.
    Later,
}

/// What running a statement gave.
pub enum Outcome {
    /// Rows, to be read while they are computed. The tag is the command's first word: `SELECT`.
    Rows {
        /// The command.
        tag: &'static str,
        /// The rows.
        stream: SendableRecordBatchStream,
    },
    /// No rows.
    Done {
        /// The command as Postgres tags it: `CREATE FUNNEL`, `SET`, `INSERT 0 5`.
        tag: String,
        /// What the user should know beside it.
        notices: Vec<Notice>,
        /// Settings that the client has to be told of, with their values.
        reported: Vec<(&'static str, String)>,
    },
}

/// A message beside a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    /// Five characters, as an error's.
    pub code: &'static str,
    /// The text.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Notice {
    pub(super) fn plain(message: String) -> Self {
        Self {
            severity: "NOTICE",
            code: "00000",
            message,
            hint: None,
        }
    }
}

impl Outcome {
    pub(super) fn done(tag: impl Into<String>) -> Self {
        Outcome::Done {
            tag: tag.into(),
            notices: Vec::new(),
            reported: Vec::new(),
        }
    }

    pub(super) fn noted(tag: &str, notice: Notice) -> Self {
        Outcome::Done {
            tag: tag.to_owned(),
            notices: vec![notice],
            reported: Vec::new(),
        }
    }

    fn table(tag: &'static str, batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let rows = futures::stream::iter([Ok(batch)]);
        Outcome::Rows {
            tag,
            stream: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
        }
    }
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>, user: &str) -> Self {
        let state = SessionStateBuilder::new_from_existing(engine.base.clone())
            .with_session_id(String::new())
            .build();
        let context = SessionContext::new_with_state(state);
        catalog::register_session_functions(&context, user);
        Self {
            engine,
            user: user.to_owned(),
            context,
            settings: Mutex::default(),
            prepared: Mutex::default(),
        }
    }

    /// Who asks.
    pub fn user(&self) -> &str {
        &self.user
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
            parameter_types: Vec::new(),
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
            StatementKind::Show(name) => Described::Rows(text_schema(&[show_column(name)])),
            StatementKind::ShowAll => {
                Described::Rows(text_schema(&["name", "setting", "description"]))
            }
            StatementKind::Execute { name, .. } => self.prepared_named(name)?.described.clone(),
            _ => Described::Nothing,
        };
        Ok(Prepared {
            statement,
            parameter_types: Vec::new(),
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
                let plan = self
                    .plan(&prepared.statement, statement, Some(values))
                    .await?;
                Ok(self.describe_plan(&plan))
            }
            (described, _) => Ok(described.clone()),
        }
    }

    /// Runs a prepared statement with these parameters.
    ///
    /// # Errors
    /// The statement's; those of its rows come with the stream.
    pub async fn execute(&self, prepared: &Prepared, values: Vec<ScalarValue>) -> Result<Outcome> {
        let statement = &prepared.statement;
        match &statement.kind {
            StatementKind::Engine(engine_statement) => {
                let plan = self
                    .plan(statement, engine_statement, Some(&values))
                    .await?;
                self.run_plan(statement, plan, values).await
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
                let notices = missing
                    .iter()
                    .map(|name| {
                        Notice::plain(format!("funnel \"{name}\" does not exist, skipping"))
                    })
                    .collect();
                Ok(Outcome::Done {
                    tag: "DROP FUNNEL".to_owned(),
                    notices,
                    reported: Vec::new(),
                })
            }
            StatementKind::CommentOnFunnel { name, comment } => {
                self.engine
                    .catalog
                    .comment_on_funnel(name, comment.clone())?;
                Ok(Outcome::done("COMMENT"))
            }
            StatementKind::ShowFunnels => {
                Ok(Outcome::table("SHOW", self.engine.catalog.show_funnels()?))
            }
            StatementKind::ShowCreateFunnel(name) => {
                let text = self.engine.catalog.show_create_funnel(name)?;
                self.text_table(&["create_funnel"], &[vec![text]])
            }
            StatementKind::Set { name, value } => self.set(name, value.as_deref()).await,
            StatementKind::ResetAll => self.reset_all().await,
            StatementKind::Show(name) => {
                let value = self.setting(name)?;
                self.text_table(&[show_column(name)], &[vec![value]])
            }
            StatementKind::ShowAll => self.show_all(),
            StatementKind::Begin => Ok(Outcome::done("BEGIN")),
            StatementKind::Commit => Ok(Outcome::done("COMMIT")),
            StatementKind::Rollback => Ok(Outcome::done("ROLLBACK")),
            StatementKind::Prepare {
                name,
                types,
                statement,
            } => {
                self.prepare_named(name, types, statement.as_ref().clone())
                    .await
            }
            StatementKind::Execute { name, values } => self.execute_named(name, values).await,
            StatementKind::Deallocate(name) => self.deallocate(name.as_deref()),
            StatementKind::DiscardAll => {
                lock(&self.prepared).clear();
                self.reset_all().await?;
                Ok(Outcome::done("DISCARD ALL"))
            }
        }
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
            "session_authorization" | "role" => Ok(self.user.clone()),
            _ => lock(&self.settings).get(name).map(str::to_owned),
        }
    }

    /// Sets a setting, as `SET` does; for the options that a client sends when it connects.
    ///
    /// # Errors
    /// 42704 for one that there isn't, 22023 for a value that it can't have.
    pub async fn set(&self, name: &str, value: Option<&str>) -> Result<Outcome> {
        let tag = if value.is_some() { "SET" } else { "RESET" };
        if name.starts_with("datafusion.") {
            self.set_engine_option(name, value).await?;
            return Ok(Outcome::done(tag));
        }
        let reported = lock(&self.settings).set(name, value)?;
        if name.eq_ignore_ascii_case("timezone") {
            let zone = self.setting("timezone")?;
            self.set_engine_option("datafusion.execution.time_zone", Some(&zone))
                .await?;
        }
        let reported = match reported {
            Some(wire_name) => vec![(wire_name, self.setting(name)?)],
            None => Vec::new(),
        };
        Ok(Outcome::Done {
            tag: tag.to_owned(),
            notices: Vec::new(),
            reported,
        })
    }

    /// The settings that a client is told when it connects.
    pub fn reported_settings(&self) -> Vec<(&'static str, String)> {
        let mut reported = lock(&self.settings).reported();
        reported.push(("session_authorization", self.user.clone()));
        reported
    }

    async fn reset_all(&self) -> Result<Outcome> {
        let before = self.reported_settings();
        *lock(&self.settings) = Settings::default();
        self.set_engine_option("datafusion.execution.time_zone", Some("UTC"))
            .await?;
        let after = self.reported_settings();
        let reported = after
            .into_iter()
            .filter(|setting| !before.contains(setting))
            .collect();
        Ok(Outcome::Done {
            tag: "RESET".to_owned(),
            notices: Vec::new(),
            reported,
        })
    }

    /// Settings of the engine belong to the session as well: its context is its own.
    async fn set_engine_option(&self, name: &str, value: Option<&str>) -> Result<()> {
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
            .map(|(name, value, description)| {
                vec![name.to_owned(), value.to_owned(), description.to_owned()]
            })
            .collect();
        self.text_table(&["name", "setting", "description"], &rows)
    }

    fn text_table(&self, columns: &[&str], rows: &[Vec<String>]) -> Result<Outcome> {
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

    /// Plans a statement of DataFusion's. Statements about the Postgres catalogs are rewritten first:
    /// their spelling is Postgres' own, and no other statement may be touched by those rules.
    async fn plan(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        values: Option<&[ScalarValue]>,
    ) -> Result<LogicalPlan> {
        let rewritten = self.rewrite_catalog_statement(statement, engine_statement);
        let is_rewritten = rewritten.is_some();
        let engine_statement = rewritten.unwrap_or_else(|| engine_statement.clone());
        let state = self.context.state();
        plan::plan(state, &self.engine.catalog, engine_statement, values)
            .await
            .map_err(|error| {
                // A rewritten statement's places are not those of the user's text.
                let sql = if is_rewritten {
                    ""
                } else {
                    statement.sql.as_ref()
                };
                self.explain_error(Error::from_engine(&error, sql))
            })
    }

    /// Adds what only the catalog knows: the names that a missing one is near to.
    fn explain_error(&self, error: Error) -> Error {
        use datafusion_funnel::error::Kind;
        let Error::Funnel {
            error:
                FunnelError::Unknown {
                    kind,
                    name,
                    place,
                    mut existing,
                },
            position,
        } = error
        else {
            return error;
        };
        if kind == Kind::Table
            && let Some(broken) = self.engine.catalog.broken_relation(&name)
        {
            return broken;
        }
        let state = self.context.state();
        match kind {
            Kind::Table if existing.is_empty() => {
                existing = datafusion_funnel::definition::resolve::table_names(&state);
            }
            Kind::Function if existing.is_empty() => {
                existing = state.scalar_functions().keys().cloned().collect();
                existing.extend(state.aggregate_functions().keys().cloned());
                let near = datafusion_funnel::error::nearest(&name, &existing).map(str::to_owned);
                existing = near.into_iter().collect();
            }
            _ => {}
        }
        Error::Funnel {
            error: FunnelError::Unknown {
                kind,
                name,
                place,
                existing,
            },
            position,
        }
    }

    fn rewrite_catalog_statement(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
    ) -> Option<EngineStatement> {
        if !catalog::is_catalog_statement(engine_statement) {
            return None;
        }
        let mut statements = self.engine.compatibility.parse(&statement.text).ok()?;
        match statements.len() {
            1 => Some(EngineStatement::Statement(Box::new(statements.remove(0)))),
            _ => None,
        }
    }

    async fn prepare_engine(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        declared: &[Option<DataType>],
    ) -> Result<Prepared> {
        let count = parameter_count(engine_statement).max(declared.len());
        let plan = match self.plan(statement, engine_statement, None).await {
            Ok(plan) => Some(plan),
            // The columns depend on a parameter: they are known when it is bound.
            Err(Error::Funnel {
                error: FunnelError::UnboundParameter { .. },
                ..
            }) => None,
            Err(error) => return Err(error),
        };
        let inferred = plan
            .as_ref()
            .map(parameters::types)
            .transpose()?
            .unwrap_or_default();
        let parameter_types: Vec<DataType> = (0..count)
            .map(|at| {
                let declared = declared.get(at).cloned().flatten();
                let inferred = inferred.get(&format!("${}", at + 1)).cloned();
                declared.or(inferred).unwrap_or(DataType::Utf8)
            })
            .collect();
        let described = match plan {
            Some(plan) => self.describe_plan(&parameters::assume(plan, &parameter_types)?),
            None => Described::Later,
        };
        Ok(Prepared {
            statement: statement.clone(),
            parameter_types,
            described,
        })
    }

    fn describe_plan(&self, plan: &LogicalPlan) -> Described {
        match plan {
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Statement(_) => Described::Nothing,
            plan => Described::Rows(output::zoned_schema(plan.schema().as_arrow(), &self.zone())),
        }
    }

    fn zone(&self) -> String {
        self.setting("timezone")
            .unwrap_or_else(|_| "UTC".to_owned())
    }

    async fn run_plan(
        &self,
        statement: &Statement,
        plan: LogicalPlan,
        values: Vec<ScalarValue>,
    ) -> Result<Outcome> {
        let sql = statement.sql.as_ref();
        let plan = match values.is_empty() {
            true => plan,
            false => plan
                .with_param_values(ParamValues::from(values))
                .map_err(|error| Error::from_engine(&error, sql))?,
        };
        match plan {
            LogicalPlan::Ddl(definition) => {
                definitions::run(&self.context, &self.engine.catalog, statement, definition).await
            }
            LogicalPlan::Copy(_) => Err(Error::Unsupported {
                message: "COPY is not supported".to_owned(),
                hint: Some("Use psql's \\g or \\o, or funnelsql sql --format csv.".to_owned()),
            }),
            LogicalPlan::Statement(_) => Err(Error::Unsupported {
                message: "this statement is not supported".to_owned(),
                hint: None,
            }),
            LogicalPlan::Dml(change) => {
                let verb = change.op.to_string();
                let stream = self.stream(LogicalPlan::Dml(change), sql).await?;
                let batches: Vec<RecordBatch> = stream
                    .try_collect()
                    .await
                    .map_err(|error| Error::from_engine(&error, sql))?;
                Ok(Outcome::done(change_tag(&verb, changed_rows(&batches))))
            }
            plan => {
                let tag = match plan {
                    LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => "EXPLAIN",
                    _ => "SELECT",
                };
                let stream = self.stream(plan, sql).await?;
                Ok(Outcome::Rows {
                    tag,
                    stream: output::in_zone(stream, &self.zone()),
                })
            }
        }
    }

    async fn stream(&self, plan: LogicalPlan, sql: &str) -> Result<SendableRecordBatchStream> {
        let state = self.context.state();
        let physical = state
            .create_physical_plan(&plan)
            .await
            .map_err(|error| self.explain_error(Error::from_engine(&error, sql)))?;
        execute_stream(physical, state.task_ctx()).map_err(|error| Error::from_engine(&error, sql))
    }

    async fn prepare_named(
        &self,
        name: &str,
        types: &[ast::DataType],
        statement: Statement,
    ) -> Result<Outcome> {
        if lock(&self.prepared).contains_key(name) {
            return Err(Error::DuplicateStatement(name.to_owned()));
        }
        let mut declared = Vec::with_capacity(types.len());
        for sql_type in types {
            declared.push(Some(self.type_of(sql_type)?));
        }
        let prepared = self.prepare(statement, &declared).await?;
        lock(&self.prepared).insert(name.to_owned(), Arc::new(prepared));
        Ok(Outcome::done("PREPARE"))
    }

    async fn execute_named(&self, name: &str, values: &[ast::Expr]) -> Result<Outcome> {
        let prepared = self.prepared_named(name)?;
        let expected = prepared.parameter_types.len();
        if expected != values.len() {
            let name = name.to_owned();
            return Err(Error::ParameterCount {
                name,
                expected,
                given: values.len(),
            });
        }
        let mut scalars = Vec::with_capacity(values.len());
        for (value, wanted) in values.iter().zip(&prepared.parameter_types) {
            let scalar = self.constant(value)?;
            scalars.push(scalar.cast_to(wanted)?);
        }
        Box::pin(self.execute(&prepared, scalars)).await
    }

    fn prepared_named(&self, name: &str) -> Result<Arc<Prepared>> {
        let prepared = lock(&self.prepared).get(name).map(Arc::clone);
        prepared.ok_or_else(|| Error::UnknownStatement(name.to_owned()))
    }

    fn deallocate(&self, name: Option<&str>) -> Result<Outcome> {
        let mut prepared = lock(&self.prepared);
        match name {
            None => {
                prepared.clear();
                Ok(Outcome::done("DEALLOCATE ALL"))
            }
            Some(name) => match prepared.remove(name) {
                Some(_) => Ok(Outcome::done("DEALLOCATE")),
                None => Err(Error::UnknownStatement(name.to_owned())),
            },
        }
    }

    /// The value of an expression without columns.
    fn constant(&self, expression: &ast::Expr) -> Result<ScalarValue> {
        let state = self.context.state();
        let schema = Arc::new(DFSchema::empty());
        let planned = state.create_logical_expr(&expression.to_string(), &schema)?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&schema))
            .build();
        match ExprSimplifier::new(context).simplify(planned)? {
            Expr::Literal(value, _) => Ok(value),
            other => Err(Error::from(FunnelError::InvalidArgument {
                message: format!("a parameter must be a constant, not {other}"),
                hint: "Write a literal.".to_owned(),
            })),
        }
    }

    fn type_of(&self, sql_type: &ast::DataType) -> Result<DataType> {
        let state = self.context.state();
        let text = format!("CAST(NULL AS {sql_type})");
        let schema = DFSchema::empty();
        let expression = state.create_logical_expr(&text, &schema)?;
        use datafusion::logical_expr::ExprSchemable;
        Ok(expression.get_type(&schema)?)
    }
}

/// A panic while a lock is held leaves a map that is whole: each change of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text_schema(columns: &[&str]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Postgres heads a setting's value with its name as clients know it.
fn show_column(name: &str) -> &str {
    match name {
        "timezone" => "TimeZone",
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        other => other,
    }
}

/// The highest number of a `$n` in the statement.
fn parameter_count(statement: &EngineStatement) -> usize {
    let statement = match statement {
        EngineStatement::Statement(statement) => statement,
        EngineStatement::Explain(explain) => return parameter_count(&explain.statement),
        _ => return 0,
    };
    let mut highest = 0;
    let _ = ast::visit_expressions(statement.as_ref(), |expression| {
        if let ast::Expr::Value(value) = expression
            && let ast::Value::Placeholder(name) = &value.value
            && let Some(Ok(number)) = name.strip_prefix('$').map(str::parse::<usize>)
        {
            highest = highest.max(number);
        }
        ControlFlow::<()>::Continue(())
    });
    highest
}

/// DataFusion answers a change with one number.
fn changed_rows(batches: &[RecordBatch]) -> u64 {
    batches
        .iter()
        .filter_map(|batch| {
            batch
                .columns()
                .first()?
                .as_any()
                .downcast_ref::<UInt64Array>()
        })
        .flat_map(|counts| counts.iter().flatten())
        .sum()
}

fn change_tag(verb: &str, rows: u64) -> String {
    match verb.to_lowercase().as_str() {
        verb if verb.starts_with("insert") => format!("INSERT 0 {rows}"),
        verb if verb.starts_with("delete") => format!("DELETE {rows}"),
        verb if verb.starts_with("update") => format!("UPDATE {rows}"),
        _ => format!("{} {rows}", verb.to_uppercase()),
    }
}
