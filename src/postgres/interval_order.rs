//! Intervals by their lengths: 35 hours are more than a day.
//!
//! Postgres compares intervals as if a month had 30 days and a day 24 hours; Arrow compares months, then days, then the rest. So what is
//! sorted, ranked, looked for or the least is the length. Operators are planned so by [`super::operators`]; values that are grouped
//! or made distinct stay apart where they are written differently.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, InList, ScalarFunction, Sort as SortExpr};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, when,
};
use datafusion::optimizer::AnalyzerRule;

use super::functions::interval_length;

/// Puts lengths in the place of intervals where their order matters.
#[derive(Debug)]
pub struct IntervalOrder {
    length: Arc<ScalarUDF>,
}

impl Default for IntervalOrder {
    fn default() -> Self {
        Self {
            length: Arc::new(interval_length()),
        }
    }
}

impl AnalyzerRule for IntervalOrder {
    fn name(&self) -> &'static str {
        "interval_order"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| self.node(node))
            .map(|plan| plan.data)
    }
}

impl IntervalOrder {
    fn node(&self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let schema = match node.inputs().as_slice() {
            [input] => Arc::clone(input.schema()),
            inputs => Arc::new(merge_schema(inputs)),
        };
        let (node, sorted) = match node {
            LogicalPlan::Sort(mut sort) => {
                let sorted = self.order(&mut sort.expr, &schema);
                (LogicalPlan::Sort(sort), sorted)
            }
            node => (node, false),
        };
        let names = NamePreserver::new(&node);
        let mut node = node.map_expressions(|expression| {
            let name = names.save(&expression);
            let ordered =
                expression.transform_up(|expression| self.expression(expression, &schema))?;
            Ok(ordered.update_data(|expression| name.restore(expression)))
        })?;
        if node.transformed {
            node.data = node.data.recompute_schema()?;
        }
        node.transformed |= sorted;
        Ok(node)
    }

    fn expression(&self, mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
        let changed = match &mut expression {
            Expr::WindowFunction(call) => self.order(&mut call.params.order_by, schema),
            Expr::AggregateFunction(call) => {
                self.order(&mut call.params.order_by, schema) | self.extreme(call, schema)
            }
            Expr::InList(InList { expr, list, .. }) => {
                self.all_lengths(std::iter::once(expr.as_mut()).chain(list), schema)
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom,
                right,
            }) => self.all_lengths([left.as_mut(), right.as_mut()].into_iter(), schema),
            Expr::ScalarFunction(call) if ["greatest", "least"].contains(&call.func.name()) => {
                if let Some(chosen) = self.chosen(call, schema)? {
                    return Ok(Transformed::yes(chosen));
                }
                false
            }
            _ => false,
        };
        Ok(match changed {
            true => Transformed::yes(expression),
            false => Transformed::no(expression),
        })
    }

    fn length_of(&self, interval: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::clone(&self.length),
            vec![interval],
        ))
    }

    /// Orders by lengths; whether by any.
    fn order(&self, order: &mut [SortExpr], schema: &DFSchema) -> bool {
        let mut changed = false;
        for by in order {
            if is_interval(&by.expr, schema) {
                by.expr = self.length_of(std::mem::take(&mut by.expr));
                changed = true;
            }
        }
        changed
    }

    /// Compares lengths where one of the values is an interval; whether one is.
    fn all_lengths<'a>(
        &self,
        values: impl Iterator<Item = &'a mut Expr>,
        schema: &DFSchema,
    ) -> bool {
        let values: Vec<&mut Expr> = values.collect();
        if !values.iter().any(|value| is_interval(value, schema)) {
            return false;
        }
        for value in values {
            *value = self.length_of(std::mem::take(value));
        }
        true
    }

    /// The least and the greatest interval are the first of their order.
    fn extreme(&self, call: &mut AggregateFunction, schema: &DFSchema) -> bool {
        let ascending = match call.func.name() {
            "min" => true,
            "max" => false,
            _ => return false,
        };
        let [value] = call.params.args.as_slice() else {
            return false;
        };
        if !is_interval(value, schema) {
            return false;
        }
        let length = self.length_of(value.clone());
        call.func = first_value_udaf();
        call.params.distinct = false;
        call.params.order_by = vec![length.sort(ascending, false)];
        true
    }

    /// `greatest(a, b)` of intervals as a `CASE`: the first of those that are as long.
    fn chosen(&self, call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
        if !call.args.iter().any(|value| is_interval(value, schema)) {
            return Ok(None);
        }
        let mut values = call.args.iter().cloned();
        let Some(mut chosen) = values.next() else {
            return Ok(None);
        };
        for value in values {
            let lengths = (
                self.length_of(chosen.clone()),
                self.length_of(value.clone()),
            );
            let stays = match call.func.name() {
                "greatest" => lengths.0.gt_eq(lengths.1),
                _ => lengths.0.lt_eq(lengths.1),
            };
            chosen = when(stays.or(value.clone().is_null()), chosen).otherwise(value)?;
        }
        Ok(Some(chosen))
    }
}

fn is_interval(value: &Expr, schema: &DFSchema) -> bool {
    matches!(value.get_type(schema), Ok(DataType::Interval(_)))
}
