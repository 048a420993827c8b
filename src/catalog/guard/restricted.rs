//! A table with the rows that its policies leave, and masks in the place of columns.
//!
//! `user's filters ← barrier ← masks ← policies ← table`. The part up to the barrier is planned on its own, and is one
//! leaf to whatever stands above: no filter, limit, statistic or `EXPLAIN` gets through it, and of an error only that there was
//! one. So `1 / (amount - 5)` never sees a row that the policies hide, and an error never quotes one.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::TryStreamExt;

use super::super::access::{Object, Restriction};
use super::external;
use crate::error::{Error, Fault};
use crate::postgres::rewrite::expression;

/// A table that is read.
pub struct Table {
    /// Its name.
    pub name: Object,
    /// Its rows.
    pub provider: Arc<dyn TableProvider>,
    /// Its columns, as those who read it see them.
    pub schema: SchemaRef,
}

/// The columns that expressions name.
pub fn columns_of(expressions: &[Expr]) -> BTreeSet<String> {
    let columns = expressions.iter().flat_map(Expr::column_refs);
    columns.map(|column| column.name.clone()).collect()
}

/// Plans a condition or mask over a table's own columns.
///
/// # Errors
/// Whatever is wrong with it.
pub fn plan_expression(
    state: &SessionState,
    schema: &Schema,
    text: &str,
) -> Result<Expr, DataFusionError> {
    let expr = datafusion::sql::sqlparser::ast::ExprWithAlias {
        expr: expression(text)?,
        alias: None,
    };
    let schema = DFSchema::try_from(schema.clone())?;
    state.create_logical_expr_from_sql_expr(expr, &schema)
}

/// Reads what is left of a table.
pub async fn scan(
    table: &Table,
    restriction: &Restriction,
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let state = state
        .as_any()
        .downcast_ref::<SessionState>()
        .ok_or_else(|| DataFusionError::Internal("a session of another engine".to_owned()))?;
    let all: Vec<usize> = (0..table.schema.fields().len()).collect();
    let wanted = projection.unwrap_or(&all);
    let for_filters = columns_of(filters);
    let needed =
        |at: &usize| wanted.contains(at) || for_filters.contains(table.schema.field(*at).name());
    let mut kept: Vec<usize> = all.iter().copied().filter(needed).collect();
    // Rows that are only counted have a column as well.
    if kept.is_empty() {
        kept.extend(all.first());
    }
    let schema = Arc::new(table.schema.project(&kept)?);
    let planned = match plan(table, restriction, state, &kept) {
        Ok(plan) => state.create_physical_plan(&plan).await,
        Err(error) => Err(error),
    };
    let planned = planned.map_err(|error| hidden(&table.name, &error))?;
    let barrier = Barrier::new(table.name.clone(), Arc::clone(&schema), planned);
    let mut plan: Arc<dyn ExecutionPlan> = Arc::new(barrier);
    if let Some(condition) = conjunction(filters.iter().cloned()) {
        let condition = state.create_physical_expr(condition, &DFSchema::try_from(schema)?)?;
        plan = Arc::new(FilterExec::try_new(condition, plan)?);
    }
    let columns = wanted.iter().map(|at| {
        let name = table.schema.field(*at).name();
        let column = PhysicalColumn::new_with_schema(name, &plan.schema())?;
        Ok((Arc::new(column) as Arc<dyn PhysicalExpr>, name.clone()))
    });
    let columns = columns.collect::<Result<Vec<_>, DataFusionError>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

/// Policies see a row as it is; only what is left of the rows is masked.
fn plan(
    table: &Table,
    restriction: &Restriction,
    state: &SessionState,
    columns: &[usize],
) -> Result<LogicalPlan, DataFusionError> {
    let own = table.provider.schema();
    let source = provider_as_source(Arc::clone(&table.provider));
    let mut builder =
        LogicalPlanBuilder::scan(TableReference::bare(table.name.name()), source, None)?;
    if let Some(condition) = &restriction.rows {
        builder = builder.filter(plan_expression(state, &own, condition)?)?;
    }
    let seen = columns.iter().map(|at| {
        let field = own.field(*at);
        let mut masks = restriction.columns.iter();
        Ok(match masks.find(|(column, _)| column == field.name()) {
            Some((_, mask)) => {
                let mask = plan_expression(state, &own, mask)?;
                cast(mask, field.data_type().clone()).alias(field.name())
            }
            None => Expr::Column(Column::from_name(field.name())),
        })
    });
    let seen = seen.collect::<Result<Vec<_>, DataFusionError>>()?;
    builder.project(seen)?.build()
}

/// An error from behind the barrier, which may quote what is hidden.
fn hidden(table: &Object, error: &DataFusionError) -> DataFusionError {
    if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
        return DataFusionError::ResourcesExhausted(format!("reading \"{}\"", table.name()));
    }
    tracing::error!(%error, %table, "a table with policies or masks can't be read");
    external(Error::Query {
        fault: Fault::Semantic,
        message: format!(
            "table \"{}\" can't be read under its policies and masks",
            table.name()
        ),
        position: None,
    })
}

/// A plan that nothing is seen of but its rows.
#[derive(Debug)]
struct Barrier {
    table: Object,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Barrier {
    fn new(table: Object, schema: SchemaRef, input: Arc<dyn ExecutionPlan>) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self {
            table,
            input,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for Barrier {
    fn fmt_as(&self, _kind: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "RowSecurity: table={}", self.table.name())
    }
}

impl ExecutionPlan for Barrier {
    fn name(&self) -> &str {
        "RowSecurity"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    /// None: what is behind it has been planned to its end.
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    /// A plan that is run again has to be as new behind the barrier too.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let input =
            datafusion::physical_plan::execution_plan::reset_plan_states(Arc::clone(&self.input))?;
        Ok(Arc::new(Self::new(
            self.table.clone(),
            self.schema(),
            input,
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let (schema, table) = (self.schema(), self.table.clone());
        let of_errors = table.clone();
        let rows = self
            .input
            .execute(partition, context)
            .map_err(|error| hidden(&table, &error))?;
        let target = Arc::clone(&schema);
        let rows = rows
            .map_err(move |error| hidden(&of_errors, &error))
            .and_then(move |batch| {
                let options = datafusion::arrow::array::RecordBatchOptions::new()
                    .with_row_count(Some(batch.num_rows()));
                let columns = batch.columns().to_vec();
                let batch =
                    RecordBatch::try_new_with_options(Arc::clone(&target), columns, &options);
                std::future::ready(batch.map_err(|error| hidden(&table, &error.into())))
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}
