//! A filter on a dimension of journeys reaches the scan of the events behind them.
//!
//! `journeys('sales') WHERE channel = 'web'` over an event log filters an aggregate: a journey's channel is
//! its entity's earliest one, which is known when all its rows have been read. DataFusion stops there. But
//! an entity whose channel is `web` has a row that says `web`, so only the entities that have such a row
//! need be grouped:
//!
//! ```text
//! Filter: channel = 'web'                     Filter: channel = 'web'
//!   Aggregate: groupBy=[entity]        →        Aggregate: groupBy=[entity]
//!     events                                      LeftSemi Join: entity
//!                                                   events
//!                                                   Projection: entity
//!                                                     Filter: channel = 'web'
//!                                                       events
//! ```
//!
//! The new filter goes down to the scan by DataFusion's own rules. The old one stays, since another row of
//! the entity may be earlier. The events are read twice, which pays where the filter keeps few entities;
//! so only equality and `IN` with constants are taken.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Operator};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// The join's column on the side of the chosen entities; its presence tells that the rule was applied.
const CHOSEN: &str = "__chosen";

/// The rule; see the module's page.
#[derive(Debug, Default)]
pub struct DimensionFilter;

impl OptimizerRule for DimensionFilter {
    fn name(&self) -> &str {
        "funnel_dimension_filter"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else {
            return Ok(Transformed::no(plan));
        };
        match choose(&filter.input, &filter.predicate)? {
            Some(input) => {
                let chosen = plan.with_new_exprs(plan.expressions(), vec![input])?;
                Ok(Transformed::yes(chosen))
            }
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The filter's input with fewer entities to group, where the predicate allows it.
fn choose(input: &LogicalPlan, predicate: &Expr) -> Result<Option<LogicalPlan>> {
    match input {
        // Columns that only pass through a projection have another name below it.
        LogicalPlan::Projection(projection) => {
            let below = |name: &str| passed_through(&projection.expr, name);
            let conjuncts = split_conjunction(predicate).into_iter();
            let renamed: Vec<Expr> = conjuncts
                .filter_map(|conjunct| rename(conjunct, &below))
                .collect();
            let Some(predicate) = conjunction(renamed) else {
                return Ok(None);
            };
            let Some(chosen) = choose(&projection.input, &predicate)? else {
                return Ok(None);
            };
            input
                .with_new_exprs(input.expressions(), vec![chosen])
                .map(Some)
        }
        LogicalPlan::Aggregate(aggregate) => choose_entities(aggregate, predicate),
        _ => Ok(None),
    }
}

fn choose_entities(aggregate: &Aggregate, predicate: &Expr) -> Result<Option<LogicalPlan>> {
    let [Expr::Column(entity)] = aggregate.group_expr.as_slice() else {
        return Ok(None);
    };
    if !aggregate.aggr_expr.iter().any(is_journey) || has_chosen(&aggregate.input) {
        return Ok(None);
    }
    let attribute = |name: &str| attribute_of(&aggregate.aggr_expr, name);
    let mut input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
    let mut is_chosen = false;
    for conjunct in split_conjunction(predicate)
        .into_iter()
        .filter(|it| is_selective(it))
    {
        let Some(of_row) = rename(conjunct, &attribute) else {
            continue;
        };
        let entities = LogicalPlanBuilder::from(aggregate.input.as_ref().clone())
            .filter(of_row)?
            .project(vec![Expr::Column(entity.clone()).alias(CHOSEN)])?
            .build()?;
        let keys = (vec![entity.clone()], vec![Column::new_unqualified(CHOSEN)]);
        input = input.join(entities, JoinType::LeftSemi, keys, None)?;
        is_chosen = true;
    }
    if !is_chosen {
        return Ok(None);
    }
    let groups = aggregate.group_expr.clone();
    let chosen = Aggregate::try_new(
        Arc::new(input.build()?),
        groups,
        aggregate.aggr_expr.clone(),
    )?;
    Ok(Some(LogicalPlan::Aggregate(chosen)))
}

/// The name below a projection of a column that it only passes on.
fn passed_through(expressions: &[Expr], name: &str) -> Option<Column> {
    expressions.iter().find_map(|expression| match expression {
        Expr::Column(column) if column.name == name => Some(column.clone()),
        Expr::Alias(alias) if alias.name == name => match alias.expr.as_ref() {
            Expr::Column(column) => Some(column.clone()),
            _ => None,
        },
        _ => None,
    })
}

/// The column of the rows whose earliest or latest value the aggregate's column `name` is.
fn attribute_of(aggregates: &[Expr], name: &str) -> Option<Column> {
    aggregates.iter().find_map(|expression| {
        let Expr::Alias(alias) = expression else {
            return None;
        };
        let Expr::AggregateFunction(function) = alias.expr.as_ref() else {
            return None;
        };
        let is_value_of_a_row = ["first_touch", "last_touch"].contains(&function.func.name());
        match function.params.args.as_slice() {
            [Expr::Column(column), _time] if alias.name == name && is_value_of_a_row => {
                Some(column.clone())
            }
            _ => None,
        }
    })
}

fn is_journey(expression: &Expr) -> bool {
    let expression = match expression {
        Expr::Alias(alias) => alias.expr.as_ref(),
        other => other,
    };
    matches!(expression, Expr::AggregateFunction(function) if function.func.name() == "journey")
}

fn has_chosen(input: &LogicalPlan) -> bool {
    match input {
        LogicalPlan::Join(join) => {
            join.join_type == JoinType::LeftSemi
                && join
                    .right
                    .schema()
                    .field_with_unqualified_name(CHOSEN)
                    .is_ok()
        }
        // Projections and filters are moved around the join by other rules.
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) => {
            input.inputs().into_iter().any(has_chosen)
        }
        _ => false,
    }
}

/// The expression over other columns; nothing when a column of it has no counterpart.
fn rename(expression: &Expr, below: &dyn Fn(&str) -> Option<Column>) -> Option<Expr> {
    let mut is_complete = true;
    let renamed = expression.clone().transform(|part| {
        let Expr::Column(old) = &part else {
            return Ok(Transformed::no(part));
        };
        Ok(match below(&old.name) {
            Some(new) => Transformed::yes(Expr::Column(new)),
            None => {
                is_complete = false;
                Transformed::no(part)
            }
        })
    });
    match renamed {
        Ok(renamed) if is_complete => Some(renamed.data),
        _ => None,
    }
}

/// Equality or `IN` of one column with constants: keeps few values, and never NULL.
fn is_selective(predicate: &Expr) -> bool {
    match predicate {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Eq => is_column_and_constant(&binary.left, &binary.right),
            Operator::Or => {
                is_selective(&binary.left)
                    && is_selective(&binary.right)
                    && predicate.column_refs().len() == 1
            }
            _ => false,
        },
        Expr::InList(list) => {
            !list.negated
                && matches!(list.expr.as_ref(), Expr::Column(_))
                && list
                    .list
                    .iter()
                    .all(|value| matches!(value, Expr::Literal(..)))
        }
        _ => false,
    }
}

fn is_column_and_constant(left: &Expr, right: &Expr) -> bool {
    let is_constant = |side: &Expr| matches!(side, Expr::Literal(value, _) if !value.is_null());
    match (left, right) {
        (Expr::Column(_), other) | (other, Expr::Column(_)) => is_constant(other),
        _ => false,
    }
}
