//! Aggregates that keep the order of their rows: `SELECT string_agg(name, ',') FROM (SELECT name FROM leads ORDER BY id)`.
//!
//! To DataFusion the rows of a query in `FROM` have no order. Here its `ORDER BY` becomes that of the aggregates over it that
//! have none of their own.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, Limit, LogicalPlan, Projection, SubqueryAlias,
};
use datafusion::optimizer::AnalyzerRule;

/// The aggregates whose result depends on the order of the rows.
const ORDERED: [&str; 6] = [
    "array_agg",
    "first_value",
    "last_value",
    "nth_value",
    "pg_array_agg",
    "string_agg",
];
/// How columns are called that are handed on for the order alone; no keyboard has the first character.
const HANDED_ON: &str = "\u{1f}order";

/// Gives aggregates the order of the query that they are over.
#[derive(Debug, Default)]
pub struct InputOrder;

impl AnalyzerRule for InputOrder {
    fn name(&self) -> &'static str {
        "input_order"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let ordered = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => ordered(aggregate),
            node => Ok(Transformed::no(node)),
        })?;
        Ok(ordered.data)
    }
}

fn ordered(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let unchanged = |aggregate| Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    if !aggregate.aggr_expr.iter().any(has_no_order) {
        return unchanged(aggregate);
    }
    let Some((input, order)) = with_order(&aggregate.input)? else {
        return unchanged(aggregate);
    };
    let functions = aggregate.aggr_expr.into_iter();
    let functions = functions.map(|expression| give(expression, &order));
    let functions = functions.collect();
    let ordered = Aggregate::try_new(Arc::new(input), aggregate.group_expr, functions)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(ordered)))
}

/// Whether an expression is an aggregate that the order of rows matters to, and that says none.
fn has_no_order(expression: &Expr) -> bool {
    match expression {
        Expr::Alias(alias) => has_no_order(&alias.expr),
        Expr::AggregateFunction(AggregateFunction { func, params }) => {
            ORDERED.contains(&func.name()) && params.order_by.is_empty() && !params.distinct
        }
        _ => false,
    }
}

fn give(expression: Expr, order: &[SortExpr]) -> Expr {
    if !has_no_order(&expression) {
        return expression;
    }
    // The name of a function says its order; the column keeps the one that it has.
    let name = expression.schema_name().to_string();
    match expression {
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(give(*alias.expr, order));
            Expr::Alias(alias)
        }
        Expr::AggregateFunction(mut function) => {
            function.params.order_by = order.to_vec();
            Expr::AggregateFunction(function).alias(name)
        }
        other => other,
    }
}

/// A plan whose rows have an order of their own, with the columns that say it, and the order by its columns.
fn with_order(plan: &LogicalPlan) -> Result<Option<(LogicalPlan, Vec<SortExpr>)>> {
    let input = match plan {
        LogicalPlan::Sort(sort) => return Ok(Some((plan.clone(), sort.expr.clone()))),
        LogicalPlan::Limit(Limit { input, .. })
        | LogicalPlan::Filter(Filter { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
        | LogicalPlan::Projection(Projection { input, .. }) => input,
        _ => return Ok(None),
    };
    let Some((input, order)) = with_order(input)? else {
        return Ok(None);
    };
    let input = Arc::new(input);
    Ok(match plan {
        LogicalPlan::Limit(limit) => {
            let limit = Limit {
                input,
                ..limit.clone()
            };
            Some((LogicalPlan::Limit(limit), order))
        }
        LogicalPlan::Filter(filter) => {
            let filter = Filter::try_new(filter.predicate.clone(), input)?;
            Some((LogicalPlan::Filter(filter), order))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let alias = SubqueryAlias::try_new(Arc::clone(&input), alias.alias.clone())?;
            let columns = alias.schema.columns();
            // The same columns have other names outside.
            let outside = |expression: Expr| match &expression {
                Expr::Column(column) => {
                    let at = input.schema().index_of_column(column)?;
                    Ok(Transformed::yes(Expr::Column(columns[at].clone())))
                }
                _ => Ok(Transformed::no(expression)),
            };
            let order = order.into_iter().map(|by| {
                let expr = by.expr.transform_up(outside)?.data;
                Ok(SortExpr { expr, ..by })
            });
            let order = order.collect::<Result<Vec<_>>>().ok();
            order.map(|order| (LogicalPlan::SubqueryAlias(alias), order))
        }
        LogicalPlan::Projection(projection) => Some(handed_on(projection, input, order)?),
        _ => None,
    })
}

/// A projection that hands on what its rows are ordered by.
fn handed_on(
    projection: &Projection,
    input: Arc<LogicalPlan>,
    order: Vec<SortExpr>,
) -> Result<(LogicalPlan, Vec<SortExpr>)> {
    let mut expressions = projection.expr.clone();
    let mut keys = Vec::with_capacity(order.len());
    for by in order {
        let at = expressions.iter().position(|expression| {
            let mut inner = expression;
            while let Expr::Alias(alias) = inner {
                inner = &alias.expr;
            }
            *inner == by.expr
        });
        let at = match at {
            Some(at) => at,
            None => {
                let name = format!("{HANDED_ON}{}", expressions.len());
                expressions.push(by.expr.clone().alias(name));
                expressions.len() - 1
            }
        };
        keys.push((at, by));
    }
    let projection = Projection::try_new(expressions, input)?;
    let columns: Vec<Column> = projection.schema.columns();
    let order = keys.into_iter().map(|(at, by)| SortExpr {
        expr: Expr::Column(columns[at].clone()),
        ..by
    });
    let order = order.collect();
    Ok((LogicalPlan::Projection(projection), order))
}
