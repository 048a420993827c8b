//! Numerics of recursive queries: `SELECT 1::numeric AS x UNION ALL SELECT x / 3 FROM r`.
//!
//! A column has the type of the first term, and to DataFusion the digits behind the point are a part of that. Which ones the second
//! term has is known when it is planned; where they are more, the first term is given them, and the query is planned again.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr as Planned, ExprSchemable, LogicalPlan, RecursiveQuery};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, SetOperator, Statement, VisitMut, VisitorMut,
};
use datafusion_funnel::definition::text::folded;

use super::function::{Result, fault};
use super::{names, rewrite, types};
use crate::error::Fault;

/// The function of a numeric that has so many digits.
pub const WIDENED: &str = "pg_widened";

/// How many digits numerics have that say no number, and how many those that were divided.
const DIGITS: [i8; 2] = [10, 20];

/// The recursive queries of a plan by their names, with the digits that their columns lack.
pub type Lacking = HashMap<String, Vec<Option<i8>>>;

/// What the first terms of a plan's recursive queries lack.
///
/// # Errors
/// 42804 for a column of whole numbers whose second term has others.
pub fn lacking(plan: &LogicalPlan) -> Result<Lacking> {
    let mut found = Lacking::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::RecursiveQuery(query) = node {
            let columns = columns_of(query)?;
            if columns.iter().any(Option::is_some) {
                found.insert(query.name.clone(), columns);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn columns_of(query: &RecursiveQuery) -> Result<Vec<Option<i8>>> {
    let LogicalPlan::Projection(second) = query.recursive_term.as_ref() else {
        return Ok(Vec::new());
    };
    let first = query.static_term.schema().fields();
    let columns = second.expr.iter().zip(first.iter()).enumerate();
    let columns = columns.map(|(at, (expression, field))| {
        let mut inner = expression;
        while let Planned::Alias(alias) = inner {
            inner = &alias.expr;
        }
        let Planned::Cast(cast) = inner else {
            return Ok(None);
        };
        if cast.field.data_type() != field.data_type() {
            return Ok(None);
        }
        let kind = cast.expr.get_type(second.input.schema())?;
        let wanted = match &kind {
            DataType::Decimal128(_, scale) => *scale,
            kind if kind.is_floating() => DIGITS[0],
            _ => return Ok(None),
        };
        match field.data_type() {
            DataType::Decimal128(_, scale) if *scale < wanted.min(DIGITS[1]) => {
                Ok(Some(wanted.clamp(DIGITS[0], DIGITS[1])))
            }
            first if first.is_integer() => {
                let name = |kind: Option<String>| types::sql_name(&kind.unwrap_or_default(), -1);
                fault(
                    Fault::DatatypeMismatch,
                    format!(
                        "recursive query \"{}\" column {} has type {} in non-recursive term but \
                         type {} overall",
                        query.name,
                        at + 1,
                        name(types::natural(first)),
                        name(types::natural(&kind)),
                    ),
                )
            }
            _ => Ok(None),
        }
    });
    columns.collect()
}

/// Gives the terms of a statement's recursive queries what the first ones lack; whether any could be.
pub fn widen(statement: &mut Statement, lacking: &Lacking) -> bool {
    let mut widen = Widen {
        lacking,
        any: false,
    };
    let _ = statement.visit(&mut widen);
    widen.any
}

struct Widen<'a> {
    lacking: &'a Lacking,
    any: bool,
}

impl VisitorMut for Widen<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let recursive = query.with.iter_mut().filter(|with| with.recursive);
        for cte in recursive.flat_map(|with| &mut with.cte_tables) {
            if let Some(columns) = self.lacking.get(&folded(&cte.alias.name))
                && let SetExpr::SetOperation {
                    op: SetOperator::Union,
                    left,
                    right,
                    ..
                } = cte.query.body.as_mut()
                && widen_term(left, columns)
            {
                // The second term is to have the same type to the letter.
                widen_term(right, columns);
                self.any = true;
            }
        }
        ControlFlow::Continue(())
    }
}

fn widen_term(term: &mut SetExpr, columns: &[Option<i8>]) -> bool {
    match term {
        SetExpr::Query(query) => widen_term(&mut query.body, columns),
        SetExpr::SetOperation { left, right, .. } => {
            widen_term(left, columns) & widen_term(right, columns)
        }
        SetExpr::Values(values) => {
            for row in &mut values.rows {
                for (value, digits) in row.content.iter_mut().zip(columns) {
                    if let Some(digits) = digits {
                        *value = widened(value, *digits);
                    }
                }
            }
            true
        }
        SetExpr::Select(select) => {
            let is_value = |item: &SelectItem| {
                matches!(
                    item,
                    SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
                )
            };
            // Which columns `*` has isn't known here.
            if !select.projection.iter().all(is_value) {
                return false;
            }
            for (item, digits) in select.projection.iter_mut().zip(columns) {
                let Some(digits) = digits else { continue };
                match item {
                    SelectItem::UnnamedExpr(value) => {
                        *item = SelectItem::ExprWithAlias {
                            alias: Ident::with_quote('"', names::name_of(value)),
                            expr: widened(value, *digits),
                        };
                    }
                    SelectItem::ExprWithAlias { expr, .. } => *expr = widened(expr, *digits),
                    _ => {}
                }
            }
            true
        }
        _ => false,
    }
}

fn widened(value: &Expr, digits: i8) -> Expr {
    let digits = rewrite::number(i64::from(digits));
    rewrite::call(WIDENED, vec![value.clone(), digits])
}
