//! Subqueries that depend on the row outside of them, run row by row.
//!
//! DataFusion turns most of them into joins. One that it can't (`ARRAY(SELECT …)` of the row's array, a subquery without an
//! aggregate, `LATERAL`) becomes here a function of the outer columns that it names: it runs the subquery with their values
//! in the place of the columns, once for each combination of values. That is slower than a join, and right.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{Array, ArrayRef, GenericListArray, RecordBatch, StructArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, NullHandling, ScalarValue, UnnestOptions};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::{Exists, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Subquery, TypeSignature, Volatility,
};
use datafusion::physical_plan::collect;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::function::{Result, fault};
use crate::error::Fault;

/// Whether a plan has a subquery that can be run row by row.
pub fn depends(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Subquery(subquery) = node {
            found |= !subquery.outer_ref_columns.is_empty();
        }
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                found |= matches!(
                    expression,
                    Expr::OuterReferenceColumn(..)
                        | Expr::Exists(_)
                        | Expr::InSubquery(_)
                        | Expr::ScalarSubquery(_)
                );
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found
}

/// Whether a plan has a dependent subquery whose rows are counted, numbered or passed over: turned into a join, that would be done to
/// the rows of all outer rows together.
pub fn only_by_row(plan: &LogicalPlan) -> bool {
    let counts = |node: &LogicalPlan| {
        Ok(match node {
            LogicalPlan::Window(_) => true,
            LogicalPlan::Limit(limit) => limit.skip.is_some(),
            LogicalPlan::Aggregate(aggregate) => aggregate
                .group_expr
                .iter()
                .any(|expression| matches!(expression, Expr::GroupingSet(_))),
            _ => false,
        })
    };
    let mut found = false;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Subquery(subquery) = node
            && !subquery.outer_ref_columns.is_empty()
        {
            found |= subquery.subquery.exists(counts)?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The plan with its dependent subqueries run row by row.
pub fn by_row(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let mut state = state.clone();
    // A subquery of one row gains nothing from more threads, and each of them costs.
    state.config_mut().options_mut().execution.target_partitions = 1;
    Rows { state }.plan(plan)
}

struct Rows {
    state: SessionState,
}

impl Rows {
    fn plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = match plan {
            LogicalPlan::Join(join) if dependent(&join.right).is_some() => self.lateral(join)?,
            other => {
                other
                    .map_children(|child| Ok(Transformed::yes(self.plan(child)?)))?
                    .data
            }
        };
        // A query in FROM that depends on a row further out has its values by the time it runs.
        let plan = match plan {
            LogicalPlan::Subquery(subquery) => Arc::unwrap_or_clone(subquery.subquery),
            other => other,
        };
        let schemas: Vec<DFSchemaRef> = plan
            .inputs()
            .iter()
            .map(|input| Arc::clone(input.schema()))
            .collect();
        let names = NamePreserver::new(&plan);
        let mut changed = false;
        let plan = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten =
                expression.transform_up(|expression| self.expression(expression, &schemas))?;
            changed |= rewritten.transformed;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })?;
        match changed {
            true => plan.data.recompute_schema(),
            false => Ok(plan.data),
        }
    }

    fn expression(&self, expression: Expr, schemas: &[DFSchemaRef]) -> Result<Transformed<Expr>> {
        let (subquery, kind, value, negated) = match expression {
            Expr::ScalarSubquery(subquery) => (subquery, Kind::Scalar, None, false),
            Expr::Exists(Exists { subquery, negated }) => (subquery, Kind::Exists, None, negated),
            Expr::InSubquery(InSubquery {
                expr,
                subquery,
                negated,
            }) => (subquery, Kind::In, Some(*expr), negated),
            other => return Ok(Transformed::no(other)),
        };
        let plan = self.plan(Arc::unwrap_or_clone(subquery.subquery))?;
        let outer = plan.all_out_ref_exprs();
        // DataFusion runs an `EXISTS` only as a condition.
        if outer.is_empty() && kind != Kind::Exists {
            let subquery = Subquery {
                subquery: Arc::new(plan),
                outer_ref_columns: Vec::new(),
                spans: subquery.spans,
            };
            return Ok(Transformed::yes(match (kind, value) {
                (Kind::In, Some(value)) => {
                    Expr::InSubquery(InSubquery::new(Box::new(value), subquery, negated))
                }
                _ => Expr::ScalarSubquery(subquery),
            }));
        }
        let call = self.call(plan, kind, value, outer, schemas);
        Ok(Transformed::yes(if negated {
            Expr::Not(Box::new(call))
        } else {
            call
        }))
    }

    /// The function that runs `plan`, of the value that is looked for and the columns outside.
    fn call(
        &self,
        plan: LogicalPlan,
        kind: Kind,
        value: Option<Expr>,
        outer: Vec<Expr>,
        schemas: &[DFSchemaRef],
    ) -> Expr {
        let mut columns = Vec::new();
        let mut arguments: Vec<Expr> = value.into_iter().collect();
        for reference in outer {
            let Expr::OuterReferenceColumn(_, column) = &reference else {
                continue;
            };
            columns.push(column.clone());
            // A column of a query further out is that query's to give.
            let here = schemas.iter().any(|schema| schema.has_column(column));
            arguments.push(if here {
                Expr::Column(column.clone())
            } else {
                reference
            });
        }
        let function = Apply::new(plan, kind, columns, self.state.clone());
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(ScalarUDF::from(function)),
            arguments,
        ))
    }

    /// A join with rows that depend on the left side: a list of them for each row on the left, unnested.
    fn lateral(&self, join: Join) -> Result<LogicalPlan> {
        let Some(subquery) = dependent(&join.right) else {
            return Ok(LogicalPlan::Join(join));
        };
        let is_true = |filter: &Option<Expr>| match filter {
            None => true,
            Some(filter) => matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _)),
        };
        let supported = join.on.is_empty()
            && match join.join_type {
                JoinType::Inner => true,
                JoinType::Left => is_true(&join.filter),
                _ => false,
            };
        if !supported {
            let plan = LogicalPlan::Join(join);
            return Ok(plan
                .map_children(|child| Ok(Transformed::yes(self.plan(child)?)))?
                .data);
        }
        let plan = self.plan(subquery)?;
        let outer = plan.all_out_ref_exprs();
        let schemas = [Arc::clone(join.left.schema())];
        let kind = if join.join_type == JoinType::Left {
            Kind::RowsOrNull
        } else {
            Kind::Rows
        };
        let call = self.call(plan, kind, None, outer, &schemas).alias(ROWS);
        let left: Vec<Expr> = join
            .left
            .schema()
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect();
        let listed = left.iter().cloned().chain([call]);
        let null_handling = match join.join_type {
            JoinType::Left => NullHandling::Preserve,
            _ => NullHandling::Drop,
        };
        let options = UnnestOptions {
            null_handling,
            ..UnnestOptions::default()
        };
        let right = join.right.schema();
        let rows = right.iter().enumerate().map(|(at, (relation, field))| {
            let value = get_field(Expr::Column(Column::from_name(ROWS)), column_name(at));
            value.alias_qualified(relation.cloned(), field.name())
        });
        let columns: Vec<Expr> = left.iter().cloned().chain(rows).collect();
        let left_plan = self.plan(Arc::unwrap_or_clone(join.left))?;
        let mut builder = LogicalPlanBuilder::from(left_plan)
            .project(listed)?
            .unnest_column_with_options(ROWS, options)?
            .project(columns)?;
        if let Some(filter) = join.filter.filter(|filter| !is_true(&Some(filter.clone()))) {
            builder = builder.filter(filter)?;
        }
        builder.build()
    }
}

const ROWS: &str = "__rows";

fn column_name(at: usize) -> String {
    format!("c{at}")
}

/// The query behind `LATERAL`, where it depends on what stands before it.
fn dependent(plan: &LogicalPlan) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            Some(subquery.subquery.as_ref().clone())
        }
        LogicalPlan::SubqueryAlias(alias) => dependent(&alias.input),
        LogicalPlan::Projection(projection) => {
            // An alias of columns is a projection over the query.
            let inner = dependent(&projection.input)?;
            LogicalPlanBuilder::from(inner)
                .project(projection.expr.clone())
                .ok()?
                .build()
                .ok()
        }
        _ => None,
    }
}

/// What is asked of a subquery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its only value.
    Scalar,
    /// Whether it has rows.
    Exists,
    /// Whether it has the first argument.
    In,
    /// Its rows.
    Rows,
    /// Its rows, NULL for none.
    RowsOrNull,
}

/// A subquery as a function of the outer columns.
#[derive(Debug, Clone)]
struct Apply {
    number: u64,
    plan: LogicalPlan,
    /// The plan is optimized but for the values of the outer columns.
    optimized: bool,
    kind: Kind,
    outer: Vec<Column>,
    state: SessionState,
    signature: Signature,
}

impl Apply {
    fn new(plan: LogicalPlan, kind: Kind, outer: Vec<Column>, state: SessionState) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let types = |plan: &LogicalPlan| {
            plan.schema()
                .fields()
                .iter()
                .map(|field| field.data_type().clone())
                .collect::<Vec<_>>()
        };
        // What doesn't depend on the values is done once.
        let optimized = state
            .optimize(&plan)
            .ok()
            .filter(|optimized| types(optimized) == types(&plan));
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            optimized: optimized.is_some(),
            plan: optimized.unwrap_or(plan),
            kind,
            outer,
            state,
            signature: Signature::one_of(
                vec![TypeSignature::VariadicAny, TypeSignature::Nullary],
                Volatility::Volatile,
            ),
        }
    }

    fn row_fields(&self) -> Fields {
        let fields = self.plan.schema().fields().iter().enumerate();
        fields
            .map(|(at, field)| {
                field
                    .as_ref()
                    .clone()
                    .with_name(column_name(at))
                    .with_nullable(true)
            })
            .collect()
    }

    /// The subquery's rows with these values in the place of the outer columns.
    fn run(&self, values: &[ScalarValue]) -> Result<RecordBatch> {
        let plan = self.plan.clone().transform_up_with_subqueries(|node| {
            node.map_expressions(|expression| {
                expression.transform_up(|expression| {
                    let Expr::OuterReferenceColumn(field, column) = &expression else {
                        return Ok(Transformed::no(expression));
                    };
                    let Some(at) = self.outer.iter().position(|outer| outer == column) else {
                        return Ok(Transformed::no(expression));
                    };
                    let metadata =
                        (!field.metadata().is_empty()).then(|| field.metadata().clone().into());
                    Ok(Transformed::yes(Expr::Literal(
                        values[at].clone(),
                        metadata,
                    )))
                })
            })
        })?;
        let rows = async {
            let plan = match self.optimized {
                true => {
                    self.state
                        .query_planner()
                        .create_physical_plan(&plan.data, &self.state)
                        .await?
                }
                false => self.state.create_physical_plan(&plan.data).await?,
            };
            let schema = plan.schema();
            let batches = collect(plan, self.state.task_ctx()).await?;
            Ok::<_, DataFusionError>(concat_batches(&schema, &batches)?)
        };
        wait(rows)
    }

    fn answer(&self, rows: &RecordBatch, value: Option<&ScalarValue>) -> Result<ScalarValue> {
        let unknown = |values: &ArrayRef| ScalarValue::try_from(values.data_type());
        match self.kind {
            Kind::Exists => Ok(ScalarValue::Boolean(Some(rows.num_rows() > 0))),
            Kind::Scalar => match rows.num_rows() {
                0 => unknown(rows.column(0)),
                1 => ScalarValue::try_from_array(rows.column(0), 0),
                _ => fault(
                    Fault::Cardinality,
                    "more than one row returned by a subquery used as an expression",
                ),
            },
            Kind::In => {
                let Some(value) = value else {
                    return fault(Fault::Internal, "nothing to look for in a subquery");
                };
                let column = rows.column(0);
                let mut has_null = value.is_null() && !column.is_empty();
                for row in 0..column.len() {
                    let element = ScalarValue::try_from_array(column, row)?;
                    has_null |= element.is_null();
                    if !value.is_null() && element.cast_to(&value.data_type())? == *value {
                        return Ok(ScalarValue::Boolean(Some(true)));
                    }
                }
                Ok(ScalarValue::Boolean((!has_null).then_some(false)))
            }
            Kind::Rows | Kind::RowsOrNull => {
                let fields = self.row_fields();
                let item = Arc::new(Field::new_list_field(
                    DataType::Struct(fields.clone()),
                    true,
                ));
                if rows.num_rows() == 0 && self.kind == Kind::RowsOrNull {
                    return ScalarValue::try_from(&DataType::List(item));
                }
                let schema = Arc::new(Schema::new(fields.clone()));
                let rows = RecordBatch::try_new(schema, rows.columns().to_vec())?;
                let values = StructArray::from(rows);
                let offsets = OffsetBuffer::from_lengths([values.len()]);
                let list = GenericListArray::<i32>::try_new(item, offsets, Arc::new(values), None)?;
                Ok(ScalarValue::List(Arc::new(list)))
            }
        }
    }
}

// Two of the same number are the same.
impl PartialEq for Apply {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Apply {}

impl Hash for Apply {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl ScalarUDFImpl for Apply {
    fn name(&self) -> &str {
        "subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(
            "the type of a subquery is its column's".to_owned(),
        ))
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let field = match self.kind {
            Kind::Exists | Kind::In => Field::new("", DataType::Boolean, true),
            Kind::Scalar => self
                .plan
                .schema()
                .field(0)
                .as_ref()
                .clone()
                .with_nullable(true),
            Kind::Rows | Kind::RowsOrNull => {
                let item = Field::new_list_field(DataType::Struct(self.row_fields()), true);
                Field::new("", DataType::List(Arc::new(item)), true)
            }
        };
        Ok(Arc::new(field.with_name("subquery")))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let columns = arguments
            .args
            .iter()
            .map(|value| value.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let searched = usize::from(self.kind == Kind::In);
        let mut known: HashMap<Vec<ScalarValue>, RecordBatch> = HashMap::new();
        let mut answers = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = columns
                .iter()
                .map(|column| ScalarValue::try_from_array(column, row))
                .collect::<Result<Vec<_>>>()?;
            let outer = values[searched..].to_vec();
            let found = match known.get(&outer) {
                Some(found) => found.clone(),
                None => {
                    let found = self.run(&outer)?;
                    known.insert(outer, found.clone());
                    found
                }
            };
            answers.push(self.answer(&found, values.first())?);
        }
        match answers.is_empty() {
            true => Ok(ColumnarValue::Array(
                datafusion::arrow::array::new_empty_array(arguments.return_field.data_type()),
            )),
            false => {
                let array = ScalarValue::iter_to_array(answers)?;
                let wanted = arguments.return_field.data_type();
                Ok(ColumnarValue::Array(match array.data_type() == wanted {
                    true => array,
                    false => datafusion::arrow::compute::cast(&array, wanted)?,
                }))
            }
        }
    }
}

/// Waits for a query inside of a query, on its thread.
fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    match Handle::try_current() {
        Ok(handle) if handle.runtime_flavor() == RuntimeFlavor::MultiThread => {
            tokio::task::block_in_place(|| handle.block_on(future))
        }
        Ok(_) => fault(
            Fault::Internal,
            "a dependent subquery needs threads to run on",
        ),
        Err(_) => futures::executor::block_on(future),
    }
}
