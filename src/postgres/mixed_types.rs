//! Values of several types in one place, as Postgres makes one type of them.
//!
//! Where DataFusion settles types, a local time beside an instant is one of UTC, and a double beside a numeric a numeric. In
//! Postgres the first is one of the session's time zone and the second a double: in comparisons, lists, `CASE`, `coalesce` and
//! its like, and the columns of a `UNION`. So the values are cast before DataFusion looks at them.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, Case, InList, InSubquery, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, ScalarUDF,
    Subquery, Union,
};
use datafusion::optimizer::AnalyzerRule;

use super::casts;

/// Functions whose arguments are of one type.
pub const ONE_TYPE: [&str; 4] = ["coalesce", "greatest", "least", "nullif"];

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

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| self.node(node))
            .map(|plan| plan.data)
    }
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
    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
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
            let settled =
                expression.transform_up(|expression| self.expression(expression, &schema))?;
            Ok(settled.update_data(|expression| name.restore(expression)))
        })?;
        match node.transformed {
            true => Ok(Transformed::yes(node.data.recompute_schema()?)),
            false => Ok(node),
        }
    }

    fn expression(&self, mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let changed = match &mut expression {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
                self.settle(vec![left, right], schema, Common::of_compared)
            }
            Expr::Between(Between {
                expr, low, high, ..
            }) => self.settle(vec![expr, low, high], schema, Common::of_compared),
            Expr::InList(InList { expr, list, .. }) => {
                let places = std::iter::once(expr.as_mut()).chain(list).collect();
                self.settle(places, schema, Common::of_compared)
            }
            Expr::Case(Case {
                expr: None,
                when_then_expr,
                else_expr,
            }) => {
                let results = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
                let places = results.chain(else_expr.as_deref_mut()).collect();
                self.settle(places, schema, Common::of)
            }
            Expr::ScalarFunction(call) if ONE_TYPE.contains(&call.func.name()) => {
                self.settle(call.args.iter_mut().collect(), schema, Common::of)
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
