//! Statements of DataFusion's: planned with the funnels that they name, described, run.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchemaRef, ScalarValue, TableReference};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{self, Visit, VisitMut, Visitor, VisitorMut};
use datafusion_funnel::error::{FunnelError, Kind};
use futures::TryStreamExt;

use super::outcome::{Described, Outcome, Prepared};
use super::plan::Planned;
use super::plans::{self, Circumstances};
use super::session::{Session, lock};
use super::tables::Local;
use super::{UNSCALED, clauses, definitions, output, parameters, plan, tables};
use crate::catalog::{self, Change, Target, check_files};
use crate::error::{Error, Result};
use crate::postgres::rewrite::{Scope, rewrite};
use crate::postgres::style::Locale;
use crate::postgres::{apply, columns, origins};
use crate::sql::{Statement, StatementKind, changes_rows_anywhere, changing_query};

impl Session {
    /// Plans a statement of DataFusion's, in the meaning that Postgres gives it.
    pub(super) async fn plan(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        values: Option<&[ScalarValue]>,
    ) -> Result<Planned> {
        self.plan_with(statement, engine_statement, values, &Local::default())
            .await
    }

    /// The same with tables that only the statement sees.
    pub(super) async fn plan_with(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        values: Option<&[ScalarValue]>,
        local: &Local,
    ) -> Result<Planned> {
        let circumstances = match plans::is_query(statement, engine_statement) && local.is_empty() {
            true => self.circumstances(statement, values),
            false => None,
        };
        let Some(circumstances) = circumstances else {
            let planned = self.plan_anew(statement, engine_statement, values, local);
            return planned.await.map(|(planned, _)| planned);
        };
        let (found, asked) = self.engine.plans.find(&circumstances, engine_statement);
        if let Some(found) = found {
            let checked = check_files(&found.plan);
            checked.map_err(|error| Error::from_engine(&error, &statement.sql))?;
            return Ok(found.into());
        }
        let planned = self.plan_anew(statement, engine_statement, values, local);
        let (planned, local) = planned.await?;
        let values = circumstances.values.clone();
        let bound = parameters::bound(planned.plan.clone(), &values, &self.locale())
            .map_err(|error| Error::from_engine(&error, &statement.sql))?;
        if !local.is_empty()
            || apply::only_by_row(&bound)
            || !plans::can_be_kept(&bound, &self.engine.base, &self.context.state())
        {
            return Ok(planned);
        }
        let Planned { notices, .. } = planned;
        let statement = engine_statement.clone();
        let plans = &self.engine.plans;
        let kept = plans.keep(circumstances, statement, bound, notices, asked);
        Ok(kept.into())
    }

    /// What a plan of a statement depends on; nothing where the session has plans of its own.
    fn circumstances(
        &self,
        statement: &Statement,
        values: Option<&[ScalarValue]>,
    ) -> Option<Circumstances> {
        let settings = lock(&self.settings).planned_with();
        let mode = lock(&self.settings).get("plan_cache_mode");
        let keeps = mode.is_ok_and(|mode| mode != "force_custom_plan");
        if !keeps || self.has_engine_options() || self.has_temporary() {
            return None;
        }
        Some(Circumstances {
            sql: Arc::clone(&statement.sql),
            values: values.unwrap_or_default().to_vec(),
            role: self.current_user(),
            settings,
            day: chrono::Utc::now().date_naive(),
        })
    }

    /// A plan, and the tables that only the statement sees.
    async fn plan_anew(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        values: Option<&[ScalarValue]>,
        local: &Local,
    ) -> Result<(Planned, Local)> {
        let mut engine_statement = engine_statement.clone();
        let mut local = local.clone();
        if let Some(inner) = plan::inner_mut(&mut engine_statement) {
            Box::pin(self.travel(inner, values, &mut local)).await?;
        }
        let state = local.over(self.context.state());
        if let Some(inner) = plan::inner_mut(&mut engine_statement) {
            self.check_functions(inner)?;
            check_changes(inner)?;
            let aggregates = state.aggregate_functions();
            let is_aggregate = |name: &str| aggregates.contains_key(name);
            clauses::check(inner, &statement.sql, &is_aggregate)?;
            rewrite(
                inner,
                &Names {
                    session: self,
                    state: &state,
                },
            )?;
            check_set_operations(inner)?;
        }
        let role = self.current_user();
        let planned = plan::plan(state, &self.engine.catalog, &role, engine_statement, values);
        let planned = planned.await.and_then(|planned| {
            check_files(&planned.plan)?;
            Ok(planned)
        });
        let explain = |error| self.explain_error(Error::from_engine(&error, &statement.sql));
        Ok((planned.map_err(explain)?, local))
    }

    /// The statement with the query that each table function stands for in the place of its call.
    pub(super) async fn sql_behind(
        &self,
        statement: &Statement,
        shown: &EngineStatement,
    ) -> Result<String> {
        if let Some(inner) = plan::inner(shown) {
            self.check_functions(inner)?;
        }
        let (state, role) = (self.context.state(), self.current_user());
        plan::expand(state, &self.engine.catalog, &role, shown.clone())
            .await
            .map_err(|error| self.explain_error(Error::from_engine(&error, &statement.sql)))
    }

    /// Adds what only the catalog knows: the names that a missing one is near to.
    pub(super) fn explain_error(&self, error: Error) -> Error {
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

    pub(super) async fn prepare_engine(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        declared: &[Option<DataType>],
    ) -> Result<Prepared> {
        let count = parameter_count(engine_statement).max(declared.len());
        if tables::defines(engine_statement) {
            return Ok(Prepared {
                statement: statement.clone(),
                parameters: parameters::settled(count, declared, &[]),
                described: Described::Nothing,
            });
        }
        // A numeric that is assigned is one of its column.
        let own = |kind: &Option<DataType>| kind.clone().filter(|kind| *kind != UNSCALED);
        if let Some(whole) = plan::inner(engine_statement).and_then(changing_query) {
            let declared: Vec<_> = declared.iter().map(own).collect();
            return Box::pin(self.prepare_together(statement, whole, count, &declared)).await;
        }
        if let Some(change) = self.row_change(engine_statement)? {
            let declared: Vec<_> = declared.iter().map(own).collect();
            let prepared = self.prepare_change(statement, &change, count, &declared, Vec::new());
            return Box::pin(prepared).await;
        }
        let mut statement = statement.clone();
        let mut declaring = engine_statement.clone();
        declare(&mut declaring, declared);
        let engine_statement = &declaring;
        statement.kind = StatementKind::Engine(Box::new(declaring.clone()));
        let statement = &statement;
        let plan = match self
            .plan(statement, engine_statement, None)
            .await
            .map(|planned| planned.plan)
        {
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
        let parameters = parameters::settled(count, declared, &[&inferred]);
        let described = match plan {
            Some(plan) => self.describe_plan(&parameters::assume(plan, &parameters)?),
            None => Described::Later,
        };
        Ok(Prepared {
            statement: statement.clone(),
            parameters,
            described,
        })
    }

    /// The parameters of a statement that is explained.
    pub(super) async fn explained_parameters(
        &self,
        statement: &Statement,
        explained: &EngineStatement,
        declared: &[Option<DataType>],
    ) -> Result<Vec<FieldRef>> {
        let is_execute = matches!(plan::inner(explained), Some(ast::Statement::Execute { .. }));
        // Most have none, and needn't be planned for them.
        if is_execute || parameter_count(explained) == 0 {
            return Ok(parameters::settled(declared.len(), declared, &[]));
        }
        let prepared = Box::pin(self.prepare_engine(statement, explained, declared)).await?;
        Ok(prepared.parameters)
    }

    /// The types that a plan's rows have when it runs: those of a CASE or a UNION are settled by the analyzer. A plan that can't be
    /// analyzed fails when it is run.
    pub(super) fn settled_schema(&self, plan: &LogicalPlan) -> DFSchemaRef {
        let state = self.context.state();
        let settled =
            state
                .analyzer()
                .execute_and_check(plan.clone(), state.config_options(), |_, _| {});
        match settled {
            Ok(settled) => Arc::clone(settled.schema()),
            Err(_) => Arc::clone(plan.schema()),
        }
    }

    pub(super) fn describe_plan(&self, plan: &LogicalPlan) -> Described {
        self.describe_plan_of(plan, None)
    }

    /// The same of a query over rows of one relation, whatever it calls them.
    pub(super) fn describe_plan_of(
        &self,
        plan: &LogicalPlan,
        rows_of: Option<&TableReference>,
    ) -> Described {
        match plan {
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Statement(_) => Described::Nothing,
            plan => {
                let schema = self.settled_schema(plan);
                let marked = self.result_schema(plan, schema.as_arrow(), rows_of);
                Described::Rows(output::zoned_schema(&marked, &self.zone()))
            }
        }
    }

    /// The columns of a plan's rows with their Postgres types, and the columns of relations that they are.
    pub(super) fn result_schema(
        &self,
        plan: &LogicalPlan,
        schema: &Schema,
        rows_of: Option<&TableReference>,
    ) -> SchemaRef {
        let names = self.names();
        let marked = columns::marked(plan, schema);
        origins::with_origins(&marked, plan, |relation| {
            let relation = rows_of.unwrap_or(relation);
            names.oid("regclass", &relation.to_quoted_string())
        })
    }

    /// What the session reads texts by.
    pub fn locale(&self) -> Locale {
        Locale {
            zone: self.zone(),
            style: self.style(),
        }
    }

    /// Runs what was planned, with the values of its parameters.
    pub(super) async fn run_planned(
        &self,
        statement: &Statement,
        planned: Planned,
        values: Vec<ScalarValue>,
    ) -> Result<Outcome> {
        if planned.kept.is_none() {
            let outcome = self.run_plan(statement, planned.plan, values).await?;
            return Ok(outcome.with(planned.notices));
        }
        let sql = statement.sql.as_ref();
        let operators = self.operators(&planned, sql).await?;
        let stream = self.run_operators(operators, sql)?;
        Ok(self
            .rows("SELECT", &planned.plan, stream)
            .with(planned.notices))
    }

    /// Rows of a plan as the client is to see them.
    fn rows(
        &self,
        tag: &'static str,
        plan: &LogicalPlan,
        stream: SendableRecordBatchStream,
    ) -> Outcome {
        let marked = self.result_schema(plan, plan.schema().as_arrow(), None);
        Outcome::Rows {
            tag,
            stream: output::in_zone(output::with_marks(stream, &marked), &self.zone()),
            notices: Vec::new(),
        }
    }

    pub(super) async fn run_plan(
        &self,
        statement: &Statement,
        plan: LogicalPlan,
        values: Vec<ScalarValue>,
    ) -> Result<Outcome> {
        let sql = statement.sql.as_ref();
        let plan = parameters::bound(plan, &values, &self.locale())
            .map_err(|error| Error::from_engine(&error, sql))?;
        match plan {
            LogicalPlan::Ddl(definition) => {
                self.check_definition(&definition)?;
                definitions::run(&self.context, &self.engine, statement, definition).await
            }
            LogicalPlan::Statement(_) => Err(Error::Unsupported {
                message: "this statement is not supported".to_owned(),
                hint: None,
            }),
            // They name files, and the tables beneath views.
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) if !self.is_superuser() => {
                Err(Error::Unsupported {
                    message: "EXPLAIN in the engine's own formats is the superusers'".to_owned(),
                    hint: Some("Use EXPLAIN, EXPLAIN (FORMAT JSON) or EXPLAIN ANALYZE.".to_owned()),
                })
            }
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
                let stream = self.stream(plan.clone(), sql).await?;
                Ok(self.rows(tag, &plan, stream))
            }
        }
    }

    /// Refuses a definition of what others see to whoever isn't a superuser.
    fn check_definition(&self, definition: &DdlStatement) -> Result<()> {
        let change = Change::of(definition)?;
        let own = self.identity.temporary_schema();
        // One's own temporary table, but not over files of the server's or stores that it may enter.
        let reads_files = matches!(definition, DdlStatement::CreateExternalTable(_));
        match &change.target {
            Target::Relation(relation, _) if relation.schema() == Some(own) && !reads_files => {
                Ok(())
            }
            _ => self.check_superuser_to(&format!("run {}", change.tag)),
        }
    }

    /// Whether the session's role may ask a funnel.
    pub(super) fn may_ask(&self, funnel: &str) -> bool {
        self.engine.catalog.may_ask(&self.current_user(), funnel)
    }

    pub(super) async fn stream(
        &self,
        plan: LogicalPlan,
        sql: &str,
    ) -> Result<SendableRecordBatchStream> {
        let physical = self.physical(plan, sql).await?;
        self.run_operators(physical, sql)
    }

    /// Runs operators, by turns with the other statements.
    fn run_operators(
        &self,
        operators: Arc<dyn ExecutionPlan>,
        sql: &str,
    ) -> Result<SendableRecordBatchStream> {
        let operators = self.engine.turns.taken_by(operators)?;
        execute_stream(operators, self.context.task_ctx())
            .map_err(|error| Error::from_engine(&error, sql))
    }

    /// The operators that run a plan, which may be one that is kept.
    pub(super) async fn operators(
        &self,
        planned: &Planned,
        sql: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(kept) = &planned.kept {
            let state = self.context.state();
            let physical = match kept.optimized(&state) {
                Ok(plan) => {
                    let planner = state.query_planner();
                    planner.create_physical_plan(&plan, &state).await
                }
                Err(error) => Err(error),
            };
            match physical {
                Ok(physical) => return Ok(physical),
                // How else it is run is found the usual way.
                Err(_) if apply::depends(&planned.plan) => {}
                Err(error) => {
                    return Err(self.explain_error(Error::from_engine(&error, sql)));
                }
            }
        }
        self.physical(planned.plan.clone(), sql).await
    }

    /// The same, where rows have to come in the order that a part of the plan gives them.
    pub(super) async fn stream_in_order(
        &self,
        plan: LogicalPlan,
        sql: &str,
    ) -> Result<SendableRecordBatchStream> {
        let mut state = self.context.state();
        let options = state.config_mut().options_mut();
        // Rows aren't dealt out to several tasks again once they are sorted.
        options.optimizer.enable_round_robin_repartition = false;
        match state.create_physical_plan(&plan).await {
            Ok(physical) => execute_stream(physical, state.task_ctx())
                .map_err(|error| Error::from_engine(&error, sql)),
            // What is wrong with it, or how else it is run, is found the usual way.
            Err(_) => self.stream(plan, sql).await,
        }
    }

    /// The operators that run a plan.
    pub(super) async fn physical(
        &self,
        plan: LogicalPlan,
        sql: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        refuse_files_written(&plan)?;
        let state = self.context.state();
        let explain = |error| self.explain_error(Error::from_engine(&error, sql));
        if apply::only_by_row(&plan) {
            let by_row = apply::by_row(plan, &state).map_err(explain)?;
            return state.create_physical_plan(&by_row).await.map_err(explain);
        }
        match state.create_physical_plan(&plan).await {
            Ok(physical) => Ok(physical),
            // What DataFusion can't turn into joins is run row by row.
            Err(error) if apply::depends(&plan) => {
                let by_row = apply::by_row(plan, &state).map_err(explain)?;
                state.create_physical_plan(&by_row).await.map_err(|second| {
                    tracing::debug!(%error, "a dependent subquery can't be planned");
                    explain(second)
                })
            }
            Err(error) => Err(explain(error)),
        }
    }
}

/// Refuses DataFusion's `COPY … TO 'file'` wherever it stands, under `EXPLAIN ANALYZE` too: nobody writes files of the server's.
fn refuse_files_written(plan: &LogicalPlan) -> Result<()> {
    let writes = plan.exists(|node| Ok(matches!(node, LogicalPlan::Copy(_))))?;
    match writes {
        true => Err(Error::Unsupported {
            message: "COPY to a file of the server's is not supported".to_owned(),
            hint: Some(
                "Use COPY … TO STDOUT, psql's \\copy, or funnelsql sql --format csv.".to_owned(),
            ),
        }),
        false => Ok(()),
    }
}

/// Says the declared types of a query's parameters in the query, where its plan depends on them: `$1` is `$1::interval`.
fn declare(statement: &mut EngineStatement, declared: &[Option<DataType>]) {
    struct Declare<'a>(&'a [Option<DataType>]);
    impl VisitorMut for Declare<'_> {
        type Break = ();

        fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
            let ast::Expr::Value(value) = &*expression else {
                return ControlFlow::Continue(());
            };
            let ast::Value::Placeholder(name) = &value.value else {
                return ControlFlow::Continue(());
            };
            let declared = parameters::number(name)
                .and_then(|number| self.0.get(number.checked_sub(1)?)?.as_ref());
            let kind = match declared {
                Some(DataType::Interval(_)) => ast::DataType::Interval {
                    fields: None,
                    precision: None,
                },
                Some(DataType::Decimal128(..)) => {
                    ast::DataType::Numeric(ast::ExactNumberInfo::None)
                }
                Some(DataType::Date32) => ast::DataType::Date,
                Some(DataType::Timestamp(_, None)) => {
                    ast::DataType::Timestamp(None, ast::TimezoneInfo::None)
                }
                Some(DataType::Timestamp(_, Some(_))) => {
                    ast::DataType::Timestamp(None, ast::TimezoneInfo::WithTimeZone)
                }
                _ => return ControlFlow::Continue(()),
            };
            let expr = Box::new(std::mem::replace(
                expression,
                ast::Expr::value(ast::Value::Null),
            ));
            *expression = ast::Expr::Cast {
                kind: ast::CastKind::DoubleColon,
                expr,
                data_type: kind,
                array: false,
                format: None,
            };
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
            // How many rows there are is a whole number, whatever was declared.
            if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) =
                &mut query.limit_clause
            {
                let offset = offset.as_mut().map(|offset| &mut offset.value);
                for count in limit.as_mut().into_iter().chain(offset) {
                    if let ast::Expr::Cast { expr, .. } = count
                        && matches!(expr.as_ref(), ast::Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)))
                    {
                        *count = expr.as_ref().clone();
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    if let Some(inner) = plan::inner_mut(statement) {
        let _ = inner.visit(&mut Declare(declared));
    }
}

/// Refuses what DataFusion answers otherwise: its `INTERSECT ALL` and `EXCEPT ALL` don't count how often a row is there, and they
/// could be written otherwise only where the columns are.
fn check_set_operations(statement: &ast::Statement) -> Result<()> {
    struct Find(Option<ast::SetOperator>);
    impl Find {
        fn look(&mut self, body: &ast::SetExpr) {
            if let ast::SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } = body
            {
                if *op != ast::SetOperator::Union && *set_quantifier == ast::SetQuantifier::All {
                    self.0 = Some(*op);
                }
                self.look(left);
                self.look(right);
            }
        }
    }
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
            self.look(&query.body);
            ControlFlow::Continue(())
        }
    }
    let mut find = Find(None);
    let _ = statement.visit(&mut find);
    match find.0 {
        None => Ok(()),
        Some(op) => Err(Error::Unsupported {
            message: format!("{op} ALL of all columns is not supported"),
            hint: Some(format!(
                "Write the names of the columns in the place of *, at least on the left of {op} ALL."
            )),
        }),
    }
}

/// Refuses a query whose WITH changes rows: it is no statement of its own.
fn check_changes(statement: &ast::Statement) -> Result<()> {
    if !changes_rows_anywhere(statement) {
        return Ok(());
    }
    let message = match statement {
        ast::Statement::CreateView(_) => "views must not contain data-modifying statements in WITH",
        _ => "WITH clause containing a data-modifying statement must be at the top level",
    };
    Err(Error::Unsupported {
        message: message.to_owned(),
        hint: None,
    })
}

/// What names mean to a statement of a session.
struct Names<'a> {
    session: &'a Session,
    state: &'a SessionState,
}

impl Names<'_> {
    /// The columns of a relation, where it is there.
    fn columns_of(&self, relation: &str) -> Option<SchemaRef> {
        let relation = TableReference::parse_str(relation);
        let schema = match relation.schema() {
            Some(schema) => Some(schema.to_owned()),
            None => self.schema_of(relation.table()),
        };
        let parts: Vec<String> = schema
            .into_iter()
            .chain([relation.table().to_owned()])
            .collect();
        let (_, _, table) = self.session.table_of(&parts).ok()?;
        Some(table.schema())
    }
}

impl Scope for Names<'_> {
    fn schema_of(&self, relation: &str) -> Option<String> {
        if catalog::is_system_relation(relation) {
            return Some("pg_catalog".to_owned());
        }
        self.session.schema_of_relation(relation)
    }

    fn reads_its_arguments(&self, function: &str) -> bool {
        datafusion_funnel::table::is_function(function)
    }

    fn is_table_function(&self, function: &str) -> bool {
        self.state.table_functions().contains_key(function)
    }

    fn relation_oid(&self, relation: &str) -> Option<i32> {
        self.session.names().oid("regclass", relation)
    }

    fn lacks_column(&self, relation: &str, column: &str) -> bool {
        self.columns_of(relation)
            .is_some_and(|columns| columns.field_with_name(column).is_err())
    }

    fn has_column(&self, relation: &str, column: &str) -> bool {
        self.columns_of(relation)
            .is_some_and(|columns| columns.field_with_name(column).is_ok())
    }
}

/// The highest number of a `$n` in the statement.
fn parameter_count(statement: &EngineStatement) -> usize {
    let Some(statement) = plan::inner(statement) else {
        return 0;
    };
    let mut highest = 0;
    let _ = ast::visit_expressions(statement, |expression| {
        if let ast::Expr::Value(value) = expression
            && let ast::Value::Placeholder(name) = &value.value
            && let Some(number) = parameters::number(name)
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
