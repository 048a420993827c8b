//! Statements of DataFusion's: planned with the funnels that they name, described, run.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, UInt64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_funnel::error::{FunnelError, Kind};
use futures::TryStreamExt;

use super::outcome::{Described, Outcome, Prepared};
use super::plan::Planned;
use super::session::Session;
use super::{definitions, output, parameters, plan};
use crate::catalog::{self, Change, Target};
use crate::error::{Error, Result};
use crate::postgres::rewrite::{Scope, rewrite};
use crate::postgres::{apply, columns};
use crate::sql::Statement;

impl Session {
    /// Plans a statement of DataFusion's, in the meaning that Postgres gives it.
    pub(super) async fn plan(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        values: Option<&[ScalarValue]>,
    ) -> Result<Planned> {
        let mut engine_statement = engine_statement.clone();
        let state = self.context.state();
        if let Some(inner) = plan::inner_mut(&mut engine_statement) {
            self.check_functions(inner)?;
            rewrite(
                inner,
                &Names {
                    session: self,
                    state: &state,
                },
            );
        }
        let role = self.current_user();
        plan::plan(state, &self.engine.catalog, &role, engine_statement, values)
            .await
            .map_err(|error| self.explain_error(Error::from_engine(&error, &statement.sql)))
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

    pub(super) fn describe_plan(&self, plan: &LogicalPlan) -> Described {
        match plan {
            LogicalPlan::Ddl(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::Statement(_) => Described::Nothing,
            plan => {
                let marked = columns::marked(plan, plan.schema().as_arrow());
                Described::Rows(output::zoned_schema(&marked, &self.zone()))
            }
        }
    }

    pub(super) fn zone(&self) -> String {
        self.setting("timezone")
            .unwrap_or_else(|_| "UTC".to_owned())
    }

    pub(super) async fn run_plan(
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
                self.check_definition(&definition)?;
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
                let marked = columns::marked(&plan, plan.schema().as_arrow());
                let stream = self.stream(plan, sql).await?;
                Ok(Outcome::Rows {
                    tag,
                    stream: output::in_zone(output::with_marks(stream, &marked), &self.zone()),
                    notices: Vec::new(),
                })
            }
        }
    }

    /// Refuses a definition of what others see to whoever isn't a superuser.
    fn check_definition(&self, definition: &DdlStatement) -> Result<()> {
        let change = Change::of(definition)?;
        let own = self.identity.temporary_schema();
        match &change.target {
            Target::Relation(relation, _) if relation.schema() == Some(own) => Ok(()),
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
        let state = self.context.state();
        execute_stream(physical, state.task_ctx()).map_err(|error| Error::from_engine(&error, sql))
    }

    /// The operators that run a plan.
    pub(super) async fn physical(
        &self,
        plan: LogicalPlan,
        sql: &str,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let state = self.context.state();
        let explain = |error| self.explain_error(Error::from_engine(&error, sql));
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

/// What names mean to a statement of a session.
struct Names<'a> {
    session: &'a Session,
    state: &'a SessionState,
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
