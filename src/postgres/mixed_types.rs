//! Values of several types in one place, as Postgres makes one type of them.
//!
//! Where DataFusion settles types, a local time beside an instant is one of UTC, and a double beside a numeric a numeric. In
//! Postgres the first is one of the session's time zone and the second a double: in comparisons, lists, `CASE`, `coalesce` and
//! its like, and the columns of a `UNION`. So the values are cast before DataFusion looks at them. A text that stands in the statement
//! is of the type that it stands beside, and is read as a cast reads it. What a list computes is compared beside it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF,
    Subquery, Union, binary_expr,
};
use datafusion::optimizer::AnalyzerRule;

use super::function::fault;
use super::functions::LINKS;
use super::style::Locale;
use super::{casts, types};
use crate::error::Fault;

/// Functions whose arguments are of one type.
pub const ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

/// Operators that are functions of ours.
pub const OPERATORS: [&str; 5] = ["pg_plus", "pg_minus", "pg_times", "pg_over", "pg_mod"];

/// Casts what stands beside another type. The first of the rules: after it, types are settled as DataFusion does it.
#[derive(Debug)]
pub struct MixedTypes {
    to_instant: Arc<ScalarUDF>,
}

impl Default for MixedTypes {
    fn default() -> Self {
        Self {
            to_instant: Arc::new(casts::to_instant()),
        }
    }
}

impl AnalyzerRule for MixedTypes {
    fn name(&self) -> &'static str {
        "mixed_types"
    }

    fn analyze(&self, plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
        let locale = Locale::of_session(options);
        plan.transform_up_with_subqueries(|node| self.node(node, &locale))
            .map(|plan| plan.data)
    }
}

/// Reads the texts of the statement among values as the type of the others; whether there are any.
fn read_literals(places: &mut [Place<'_>], schema: &DFSchema, locale: &Locale) -> Result<bool> {
    if !places.iter().any(|place| written(place).is_some()) {
        return Ok(false);
    }
    let known = places.iter().find_map(|place| {
        let stands_alone = matches!(place, Expr::Literal(..) | Expr::Placeholder(_));
        let field = (!stands_alone).then(|| place.to_field(schema).ok());
        let (_, field) = field.flatten()?;
        is_read(&field).then_some(field)
    });
    let Some(known) = known else {
        return Ok(false);
    };
    for place in places {
        if let Some(text) = written(place) {
            **place = literal(text, &known, locale)?;
        }
    }
    Ok(true)
}

/// The text of a literal that has no type of its own.
fn written(value: &Expr) -> Option<&str> {
    match value {
        Expr::Literal(ScalarValue::Utf8(Some(text)), None) => Some(text),
        _ => None,
    }
}

/// Whether a text is something else beside values of that type.
fn is_read(field: &Field) -> bool {
    match types::type_of(field).as_str() {
        "text" | "varchar" | "bpchar" | "name" | "char" | "unknown" | "interval" => false,
        kind => {
            !field.data_type().is_null() && !kind.starts_with("reg") && !kind.ends_with("vector")
        }
    }
}

fn literal(text: &str, beside: &Field, locale: &Locale) -> Result<Expr> {
    let value = casts::of_literal(text, &types::type_of(beside), locale)?;
    let metadata = (!beside.metadata().is_empty()).then(|| beside.metadata().clone().into());
    Ok(Expr::Literal(value, metadata))
}

/// `day - '2026-01-01'`, `'1 day' + moment`, `n + NULL`: what has no type of its own is of the other operand's, or an interval that is
/// added to a moment.
fn read_operand(call: &mut ScalarFunction, schema: &DFSchema, locale: &Locale) -> Result<bool> {
    let minus = call.func.name() == "pg_minus";
    let [left, right] = call.args.as_mut_slice() else {
        return Ok(false);
    };
    let is_untyped = |value: &Expr| {
        matches!(value, Expr::Literal(value, None) if value.is_null() && matches!(value, ScalarValue::Null | ScalarValue::Utf8(None)))
            || written(value).is_some()
    };
    let (operand, other) = match (is_untyped(left), is_untyped(right)) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return Ok(false),
    };
    if matches!(other, Expr::Placeholder(_)) {
        return Ok(false);
    }
    let Ok((_, field)) = other.to_field(schema) else {
        return Ok(false);
    };
    let kind = field.data_type();
    let is_moment = matches!(kind, DataType::Date32 | DataType::Timestamp(..));
    let beside = match is_moment && !minus {
        true => types::field("", "interval"),
        false => field.as_ref().clone(),
    };
    match written(operand) {
        Some(text) if is_moment => *operand = literal(text, &beside, locale)?,
        None if is_moment || kind.is_numeric() || matches!(kind, DataType::Interval(_)) => {
            let null = ScalarValue::try_from(beside.data_type())?;
            *operand = Expr::Literal(null, None);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// There is no arithmetic of texts, but of those that have no type of their own.
fn refuse_texts(call: &ScalarFunction, schema: &DFSchema) -> Result<()> {
    let [left, right] = call.args.as_slice() else {
        return Ok(());
    };
    let kind = |value: &Expr| match value {
        Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(_), None) | Expr::Placeholder(_) => {
            Some("unknown".to_owned())
        }
        value => {
            let (_, field) = value.to_field(schema).ok()?;
            (!field.data_type().is_null()).then(|| types::type_of(&field))
        }
    };
    let (Some(left), Some(right)) = (kind(left), kind(right)) else {
        return Ok(());
    };
    let is_text = |kind: &str| matches!(kind, "text" | "varchar" | "bpchar");
    let takes_from_json = left == "jsonb";
    if takes_from_json || !is_text(&left) && !is_text(&right) {
        return Ok(());
    }
    let mut links = LINKS.iter();
    let symbol = links
        .find(|(name, _)| *name == call.func.name())
        .map_or('+', |(_, symbol)| *symbol);
    let [left, right] = [left, right].map(|kind| types::sql_name(&kind, -1));
    fault(
        Fault::UndefinedFunction,
        format!("operator does not exist: {left} {symbol} {right}"),
    )
}

/// The type that values become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Common {
    /// The local times become instants of the session's time zone, and so do texts that stand in the statement.
    Instant,
    /// The numerics become doubles.
    Double,
    /// The numerics become reals.
    Real,
}

impl Common {
    /// What values of these types become; nothing where DataFusion's rules are Postgres'.
    fn of(kinds: &[DataType]) -> Option<Self> {
        let any = |is: fn(&DataType) -> bool| kinds.iter().any(is);
        if any(|kind| matches!(kind, DataType::Timestamp(_, Some(_)))) {
            let others = any(|kind| {
                kind.is_string() || matches!(kind, DataType::Date32 | DataType::Timestamp(_, None))
            });
            return others.then_some(Common::Instant);
        }
        if !any(DataType::is_decimal) {
            return None;
        }
        match any(|kind| *kind == DataType::Float64) {
            true => Some(Common::Double),
            false => any(|kind| *kind == DataType::Float32).then_some(Common::Real),
        }
    }

    /// The same for values that are compared: there is no comparison of reals with numerics.
    fn of_compared(kinds: &[DataType]) -> Option<Self> {
        match Self::of(kinds) {
            Some(Common::Real) => Some(Common::Double),
            other => other,
        }
    }
}

/// An expression in the place where it stands.
type Place<'a> = &'a mut Expr;

impl MixedTypes {
    fn node(&self, node: LogicalPlan, locale: &Locale) -> Result<Transformed<LogicalPlan>> {
        let node = match node {
            LogicalPlan::Union(union) => return self.union(union),
            LogicalPlan::Join(mut join) => {
                let (left, right) = (join.left.schema(), join.right.schema());
                let mut changed = false;
                for (a, b) in &mut join.on {
                    if let (Ok(a_kind), Ok(b_kind)) = (a.get_type(left), b.get_type(right))
                        && let Some(common) = Common::of_compared(&[a_kind.clone(), b_kind.clone()])
                    {
                        changed |= self.cast(a, &a_kind, common) | self.cast(b, &b_kind, common);
                    }
                }
                match changed {
                    true => return Ok(Transformed::yes(LogicalPlan::Join(join))),
                    false => LogicalPlan::Join(join),
                }
            }
            node => node,
        };
        let schema = match node.inputs().as_slice() {
            [input] => Arc::clone(input.schema()),
            inputs => Arc::new(merge_schema(inputs)),
        };
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let settled = expression
                .transform_up(|expression| self.expression(expression, &schema, locale))?;
            Ok(settled.update_data(|expression| name.restore(expression)))
        })?;
        match node.transformed {
            true => Ok(Transformed::yes(node.data.recompute_schema()?)),
            false => Ok(node),
        }
    }

    fn expression(
        &self,
        mut expression: Expr,
        schema: &DFSchema,
        locale: &Locale,
    ) -> Result<Transformed<Expr>> {
        let changed = match &mut expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
                self.settle(vec![left, right], schema, locale, Common::of_compared)?
            }
            Expr::Between(Between {
                expr, low, high, ..
            }) => self.settle(vec![expr, low, high], schema, locale, Common::of_compared)?,
            Expr::InList(found) => {
                let places = std::iter::once(found.expr.as_mut()).chain(&mut found.list);
                let settled = self.settle(places.collect(), schema, locale, Common::of_compared)?;
                match compared_apart(found) {
                    Some(compared) => {
                        expression = compared;
                        true
                    }
                    None => settled,
                }
            }
            Expr::Case(Case {
                expr: None,
                when_then_expr,
                else_expr,
            }) => {
                let results = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
                let places = results.chain(else_expr.as_deref_mut()).collect();
                self.settle(places, schema, locale, Common::of)?
            }
            Expr::ScalarFunction(call) if ONE_TYPE.contains(&call.func.name()) => {
                let places = call.args.iter_mut().collect();
                self.settle(places, schema, locale, Common::of)?
            }
            Expr::ScalarFunction(call) if OPERATORS.contains(&call.func.name()) => {
                refuse_texts(call, schema)?;
                read_operand(call, schema, locale)?
            }
            Expr::InSubquery(found) => self.found(found, schema)?,
            _ => false,
        };
        Ok(match changed {
            true => Transformed::yes(expression),
            false => Transformed::no(expression),
        })
    }

    /// Casts values to the type that is common to them; whether one was.
    fn settle(
        &self,
        mut places: Vec<Place<'_>>,
        schema: &DFSchema,
        locale: &Locale,
        common: fn(&[DataType]) -> Option<Common>,
    ) -> Result<bool> {
        let read = read_literals(&mut places, schema, locale)?;
        Ok(self.cast_all(places, schema, common) | read)
    }

    fn cast_all(
        &self,
        places: Vec<Place<'_>>,
        schema: &DFSchema,
        common: fn(&[DataType]) -> Option<Common>,
    ) -> bool {
        let kinds = places.iter().map(|place| match place {
            // A number in the statement is whatever stands beside it.
            Expr::Literal(ScalarValue::Float64(_), _) => Ok(DataType::Null),
            place => place.get_type(schema),
        });
        // What has no type is DataFusion's to refuse.
        let Ok(kinds) = kinds.collect::<Result<Vec<_>>>() else {
            return false;
        };
        let Some(common) = common(&kinds) else {
            return false;
        };
        let mut changed = false;
        for (place, kind) in places.into_iter().zip(&kinds) {
            changed |= self.cast(place, kind, common);
        }
        changed
    }

    fn cast(&self, place: Place<'_>, kind: &DataType, common: Common) -> bool {
        let is_literal = matches!(place, Expr::Literal(..));
        match (common, kind) {
            (Common::Instant, DataType::Date32 | DataType::Timestamp(_, None)) => {}
            // A text that isn't in the statement is no time, which DataFusion says.
            (Common::Instant, kind) if kind.is_string() && is_literal => {}
            (Common::Double | Common::Real, kind) if kind.is_decimal() => {}
            _ => return false,
        }
        let value = std::mem::take(place);
        *place = match common {
            Common::Instant => Expr::ScalarFunction(ScalarFunction::new_udf(
                Arc::clone(&self.to_instant),
                vec![value],
            )),
            Common::Double => Expr::Cast(Cast::new(Box::new(value), DataType::Float64)),
            Common::Real => Expr::Cast(Cast::new(Box::new(value), DataType::Float32)),
        };
        true
    }

    /// `value IN (query)`
    fn found(&self, found: &mut InSubquery, schema: &DFSchema) -> Result<bool> {
        let plan = &found.subquery.subquery;
        let mut columns = plan.schema().columns();
        let (Ok(kind), Some(column), true) = (
            found.expr.get_type(schema),
            columns.pop(),
            columns.is_empty(),
        ) else {
            return Ok(false);
        };
        let mut column = Expr::Column(column);
        let column_kind = column.get_type(plan.schema())?;
        let Some(common) = Common::of_compared(&[kind.clone(), column_kind.clone()]) else {
            return Ok(false);
        };
        let mut changed = self.cast(&mut found.expr, &kind, common);
        if self.cast(&mut column, &column_kind, common) {
            let plan = LogicalPlanBuilder::from(plan.as_ref().clone())
                .project([column])?
                .build()?;
            found.subquery = Subquery {
                subquery: Arc::new(plan),
                outer_ref_columns: found.subquery.outer_ref_columns.clone(),
                spans: found.subquery.spans.clone(),
            };
            changed = true;
        }
        Ok(changed)
    }

    fn union(&self, union: Union) -> Result<Transformed<LogicalPlan>> {
        let columns = union.schema.fields().len();
        let kinds = |at: usize| {
            let inputs = union.inputs.iter();
            let fields = inputs.filter_map(|input| input.schema().fields().get(at).cloned());
            fields
                .map(|field| field.data_type().clone())
                .collect::<Vec<_>>()
        };
        let common: Vec<Option<Common>> = (0..columns).map(|at| Common::of(&kinds(at))).collect();
        if common.iter().all(Option::is_none) {
            return Ok(Transformed::no(LogicalPlan::Union(union)));
        }
        let input = |input: Arc<LogicalPlan>| {
            let mut changed = false;
            let columns = input.schema().iter().zip(&common);
            let columns = columns.map(|((relation, field), common)| {
                let mut value = Expr::Column(Column::from((relation, field)));
                let Some(common) = common else {
                    return value;
                };
                match self.cast(&mut value, field.data_type(), *common) {
                    true => {
                        changed = true;
                        value.alias_qualified(relation.cloned(), field.name())
                    }
                    false => value,
                }
            });
            let columns: Vec<Expr> = columns.collect();
            Ok(match changed {
                true => Arc::new(
                    LogicalPlanBuilder::from(Arc::unwrap_or_clone(input))
                        .project(columns)?
                        .build()?,
                ),
                false => input,
            })
        };
        let inputs = union.inputs.into_iter().map(input);
        let union = Union::try_new_with_loose_types(inputs.collect::<Result<Vec<_>>>()?)?;
        Ok(Transformed::yes(LogicalPlan::Union(union)))
    }
}

/// `x IN (CASE … END, 2)` as `x = CASE … END OR x IN (2)`; nothing where all items are plain.
///
/// DataFusion takes a list for constant whose items have one value each where there are no rows, and so it does with many a `CASE`,
/// which `coalesce` and its like are as well.
fn compared_apart(found: &mut InList) -> Option<Expr> {
    if found.list.iter().all(is_plain) || found.expr.is_volatile() {
        return None;
    }
    let (plain, computed): (Vec<Expr>, Vec<Expr>) = std::mem::take(&mut found.list)
        .into_iter()
        .partition(is_plain);
    let value = found.expr.as_ref();
    let negated = found.negated;
    let (op, joined) = match negated {
        true => (Operator::NotEq, Operator::And),
        false => (Operator::Eq, Operator::Or),
    };
    let compared = computed
        .into_iter()
        .map(|item| binary_expr(value.clone(), op, item));
    let listed = (!plain.is_empty())
        .then(|| Expr::InList(InList::new(Box::new(value.clone()), plain, negated)));
    listed
        .into_iter()
        .chain(compared)
        .reduce(|left, right| binary_expr(left, joined, right))
}

/// Whether DataFusion knows without rows that an expression depends on them.
fn is_plain(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(..)
        | Expr::Column(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Placeholder(_)
        | Expr::ScalarSubquery(_) => true,
        Expr::Cast(cast) => is_plain(&cast.expr),
        Expr::Negative(inner) => is_plain(inner),
        Expr::ScalarFunction(call) => {
            !ONE_TYPE.contains(&call.func.name()) && call.args.iter().all(is_plain)
        }
        _ => false,
    }
}

fn is_comparison(op: Operator) -> bool {
    matches!(
        op,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}
