//! `AND` and `OR` whose right side is looked at only where the left one doesn't decide.
//!
//! `visits > 0 AND orders / visits > 0.1` must not divide by the zeros that its first condition keeps out, and `kind = 'number'
//! AND value::int > 5` must not read the other texts. DataFusion evaluates the right side for all rows, unless few of them are
//! left; it makes an `AND` of a `CASE` of conditions, too. Here a right side that may fail is evaluated for the rows that need it.
//!
//! `SELECT id, a / b … WHERE b <> 0` must not divide before the condition, where DataFusion computes columns beneath a filter when
//! they are fewer than those that it reads.

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, NullArray, RecordBatch, RecordBatchOptions,
};
use datafusion::arrow::compute::{and_kleene, is_null, not, or, or_kleene};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateInputMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};

/// Functions that can fail on a value; those that cast are called `cast_as_…`.
const FALLIBLE: [&str; 20] = [
    "chr",
    "exp",
    "ln",
    "log",
    "log10",
    "make_time",
    "make_timestamp",
    "pg_make_date",
    "pg_abs",
    "pg_minus",
    "pg_negate",
    "pg_mod",
    "pg_over",
    "pg_plus",
    "pg_power",
    "pg_read_as",
    "pg_sqrt",
    "pg_times",
    "pg_to_date",
    "to_number",
];

/// Functions that can fail where their second argument, a pattern, isn't one of the statement's.
const OF_PATTERNS: [&str; 11] = [
    "pg_regex",
    "pg_regex_fold",
    "pg_regexp_count",
    "pg_regexp_instr",
    "pg_regexp_like",
    "pg_regexp_match",
    "pg_regexp_replace",
    "pg_substring",
    "regexp_split_to_array",
    "regexp_substr",
    "similar_to_escape",
];

/// Lets conditions keep the rows that they exclude from those behind them.
#[derive(Debug)]
pub enum ShortCircuit {
    /// Those in the columns of a result. The first of the rules, for a scan may take the columns over.
    OfColumns,
    /// All of them. The last of the rules: it makes of a condition what no other rule takes apart.
    OfAll,
}

impl PhysicalOptimizerRule for ShortCircuit {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let guarded = plan.transform_up(|node| match self {
            ShortCircuit::OfColumns if !node.is::<ProjectionExec>() => Ok(Transformed::no(node)),
            ShortCircuit::OfColumns => guarded_node(node)?.transform_data(fenced),
            ShortCircuit::OfAll => guarded_node(node),
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &str {
        match self {
            ShortCircuit::OfColumns => "short_circuit_of_columns",
            ShortCircuit::OfAll => "short_circuit",
        }
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn guarded_node(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        let predicate = guarded(filter.predicate())?;
        if predicate.transformed {
            let builder = FilterExecBuilder::from(filter).with_predicate(predicate.data);
            return Ok(Transformed::yes(Arc::new(builder.build()?)));
        }
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        let mut changed = false;
        let expressions = projection.expr().iter().map(|item| {
            let expression = guarded(&item.expr)?;
            changed |= expression.transformed;
            Ok((expression.data, item.alias.clone()))
        });
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        if changed {
            let projection = ProjectionExec::try_new(expressions, Arc::clone(projection.input()))?;
            return Ok(Transformed::yes(Arc::new(projection)));
        }
    } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>()
        && let Some(aggregate) = guarded_aggregate(aggregate)?
    {
        return Ok(Transformed::yes(Arc::new(aggregate)));
    }
    Ok(Transformed::no(node))
}

/// A projection that may fail over a filter that it can't be computed beneath.
fn fenced(node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = node.downcast_ref::<ProjectionExec>() else {
        return Ok(Transformed::no(node));
    };
    let (mut fallible, mut kept) = (false, HashSet::new());
    for item in projection.expr() {
        fallible |= may_fail(&item.expr)?;
        kept.extend(item.expr.downcast_ref::<Column>().map(Column::index));
    }
    // It would be computed beneath a filter that reads only columns that the projection hands on.
    let schema = projection.input().schema();
    let dropped = (0..schema.fields().len()).find(|at| !kept.contains(at));
    let (true, Some(dropped)) = (fallible, dropped) else {
        return Ok(Transformed::no(node));
    };
    let column = Column::new(schema.field(dropped).name(), dropped);
    match fence(projection.input(), &column)? {
        Some(input) => Ok(Transformed::yes(replace_children_if_necessary(
            node,
            vec![input],
        )?)),
        None => Ok(Transformed::no(node)),
    }
}

/// The first filter beneath, behind what hands on rows as they are, with a condition that names a column more.
fn fence(node: &Arc<dyn ExecutionPlan>, column: &Column) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        // A plan inside of another one comes here twice.
        let conditions = split_conjunction(filter.predicate());
        if filter.projection().is_some() || conditions.iter().any(|part| part.is::<Fence>()) {
            return Ok(None);
        }
        let fence = Arc::new(Fence(Arc::new(column.clone())));
        let predicate = BinaryExpr::new(Arc::clone(filter.predicate()), Operator::And, fence);
        let builder = FilterExecBuilder::from(filter).with_predicate(Arc::new(predicate));
        return Ok(Some(Arc::new(builder.build()?)));
    }
    let children = node.children();
    let ([child], true) = (children.as_slice(), hands_on(node)) else {
        return Ok(None);
    };
    match fence(child, column)? {
        Some(child) => Ok(Some(replace_children_if_necessary(
            Arc::clone(node),
            vec![child],
        )?)),
        None => Ok(None),
    }
}

/// Whether an operator hands on the rows of the one beneath as they are, so that columns may be computed beneath it.
fn hands_on(node: &Arc<dyn ExecutionPlan>) -> bool {
    node.is::<SortExec>()
        || node.is::<SortPreservingMergeExec>()
        || node.is::<CoalescePartitionsExec>()
        || node.is::<RepartitionExec>()
        || node.is::<GlobalLimitExec>()
        || node.is::<LocalLimitExec>()
}

/// The same aggregate over guarded arguments and filters; nothing where there is nothing to guard.
fn guarded_aggregate(aggregate: &AggregateExec) -> Result<Option<AggregateExec>> {
    // The second of two reads the states of the first.
    if aggregate.mode().input_mode() != AggregateInputMode::Raw {
        return Ok(None);
    }
    let mut changed = false;
    let mut of = |expression: &Arc<dyn PhysicalExpr>| {
        let expression = guarded(expression)?;
        changed |= expression.transformed;
        Ok::<_, datafusion::error::DataFusionError>(expression.data)
    };
    let mut functions = Vec::with_capacity(aggregate.aggr_expr().len());
    for function in aggregate.aggr_expr() {
        let expressions = function.all_expressions();
        let arguments = expressions.args.iter().map(&mut of);
        let arguments = arguments.collect::<Result<Vec<_>>>()?;
        let order = expressions.order_by_exprs.iter().map(&mut of);
        let order = order.collect::<Result<Vec<_>>>()?;
        functions.push(match function.with_new_expressions(arguments, order) {
            Some(function) => Arc::new(function),
            None => Arc::clone(function),
        });
    }
    let filters = aggregate
        .filter_expr()
        .iter()
        .map(|filter| filter.as_ref().map(&mut of).transpose());
    let filters = filters.collect::<Result<Vec<_>>>()?;
    if !changed {
        return Ok(None);
    }
    let guarded = AggregateExec::try_new(
        *aggregate.mode(),
        aggregate.group_expr().clone(),
        functions,
        filters,
        Arc::clone(aggregate.input()),
        aggregate.input_schema(),
    )?;
    Ok(Some(guarded.with_limit_options(aggregate.limit_options())))
}

/// The expression with its conditions guarded.
fn guarded(expression: &Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    Arc::clone(expression).transform_up(|node| {
        let Some(binary) = node.downcast_ref::<BinaryExpr>() else {
            return Ok(Transformed::no(node));
        };
        let decisive = match binary.op() {
            Operator::And => false,
            Operator::Or => true,
            _ => return Ok(Transformed::no(node)),
        };
        if !may_fail(binary.right())? {
            return Ok(Transformed::no(node));
        }
        let guard = Guarded::new(decisive, binary.left(), binary.right());
        Ok(Transformed::yes(Arc::new(guard)))
    })
}

/// Whether an expression may be an error for some rows.
fn may_fail(expression: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    let mut fallible = false;
    expression.apply(|node| {
        fallible |= if let Some(call) = node.downcast_ref::<ScalarFunctionExpr>() {
            let is_written = |pattern: Option<&Arc<dyn PhysicalExpr>>| {
                pattern.is_some_and(|pattern| pattern.is::<Literal>())
            };
            call.name().starts_with("cast_as_")
                || FALLIBLE.contains(&call.name())
                || OF_PATTERNS.contains(&call.name()) && !is_written(call.args().get(1))
        } else if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
            matches!(binary.op(), Operator::Divide | Operator::Modulo)
        } else {
            node.is::<CastExpr>()
        };
        Ok(match fallible {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(fallible)
}

/// What always holds, and names a column.
#[derive(Debug)]
struct Fence(Arc<dyn PhysicalExpr>);

impl PartialEq for Fence {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Fence {}

impl Hash for Fence {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true")
    }
}

impl PhysicalExpr for Fence {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, _batch: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match children.into_iter().next() {
            Some(column) => Ok(Arc::new(Self(column))),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("true")
    }
}

/// `left AND right` or `left OR right`, with `right` evaluated for the rows that `left` doesn't decide.
#[derive(Debug)]
struct Guarded {
    /// The value of the left side that is the result's: false of an `AND`, true of an `OR`.
    decisive: bool,
    /// The columns of the right side.
    used: HashSet<usize>,
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.decisive == other.decisive && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.decisive.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl Guarded {
    fn new(decisive: bool, left: &Arc<dyn PhysicalExpr>, right: &Arc<dyn PhysicalExpr>) -> Self {
        let used = collect_columns(right);
        Self {
            decisive,
            used: used.iter().map(|column| column.index()).collect(),
            left: Arc::clone(left),
            right: Arc::clone(right),
        }
    }

    fn word(&self) -> &'static str {
        match self.decisive {
            true => "OR",
            false => "AND",
        }
    }

    /// The batch with nothing in the columns that the right side doesn't name: there is nothing to copy of them.
    fn narrowed(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let (fields, columns): (Vec<_>, Vec<ArrayRef>) = batch
            .schema_ref()
            .fields()
            .iter()
            .zip(batch.columns())
            .enumerate()
            .map(|(at, (field, column))| match self.used.contains(&at) {
                true => (Arc::clone(field), Arc::clone(column)),
                false => (
                    Arc::new(Field::new(field.name(), DataType::Null, true)),
                    Arc::new(NullArray::new(column.len())) as ArrayRef,
                ),
            })
            .unzip();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(Schema::new(fields));
        Ok(RecordBatch::try_new_with_options(
            schema, columns, &options,
        )?)
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {} {}", self.left, self.word(), self.right)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.left.nullable(schema)? || self.right.nullable(schema)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let left = self.left.evaluate(batch)?.into_array(rows)?;
        let left = left.as_boolean();
        // NULL decides nothing.
        let undecided = match self.decisive {
            true => not(left)?,
            false => left.clone(),
        };
        let undecided = match undecided.null_count() {
            0 => undecided,
            _ => or(&unknown_is_false(&undecided), &is_null(left)?)?,
        };
        if !undecided.has_true() {
            return Ok(ColumnarValue::Array(Arc::new(left.clone())));
        }
        let right = match undecided.has_false() {
            true => {
                let narrowed = self.narrowed(batch)?;
                self.right.evaluate_selection(&narrowed, &undecided)?
            }
            false => self.right.evaluate(batch)?,
        };
        let right = right.into_array(rows)?;
        // Where the left side decides, the right one is NULL, which changes nothing.
        let right = right.as_boolean();
        let both = match self.decisive {
            true => or_kleene(left, right)?,
            false => and_kleene(left, right)?,
        };
        Ok(ColumnarValue::Array(Arc::new(both)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [left, right] = children.as_slice() else {
            return Ok(self);
        };
        Ok(Arc::new(Self::new(self.decisive, left, right)))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.left.fmt_sql(formatter)?;
        write!(formatter, " {} ", self.word())?;
        self.right.fmt_sql(formatter)
    }
}

/// The same with false for NULL.
fn unknown_is_false(values: &BooleanArray) -> BooleanArray {
    match values.nulls() {
        Some(valid) => BooleanArray::new(values.values() & valid.inner(), None),
        None => values.clone(),
    }
}
