//! `INTERSECT ALL` and `EXCEPT ALL`, which count how often a row is there.
//!
//! DataFusion's don't count. So the rows of each side that are the same are numbered: the second of them is another row than the first,
//! and the plain operation does the rest. How many columns there are has to be written: those of `*` are known too late.
//!
//! Rows of `VALUES` with a query in them are selects that are put together: DataFusion computes `VALUES` while it plans.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, Values,
};
use datafusion_funnel::definition::text::folded;

use super::subqueries::rows_alias;
use super::syntax;
use crate::postgres::names;

/// Writes those of a query's body as operations without `ALL`.
pub fn count_rows(body: &mut SetExpr) {
    let SetExpr::SetOperation {
        op,
        set_quantifier,
        left,
        right,
    } = body
    else {
        return;
    };
    count_rows(left);
    count_rows(right);
    if *op == SetOperator::Union || *set_quantifier != SetQuantifier::All {
        return;
    }
    let Some(columns) = columns_of(left) else {
        return;
    };
    let counted = counted(*op, left, right, &columns);
    if let Some(counted) = counted {
        *body = *counted.body;
    }
}

fn counted(op: SetOperator, left: &SetExpr, right: &SetExpr, columns: &[String]) -> Option<Query> {
    let side = |side: &SetExpr| {
        let query = numbered(side.clone(), columns.len())?;
        Some(Box::new(SetExpr::Query(Box::new(query))))
    };
    let mut both = syntax::parsed("SELECT 1")?;
    *both.body = SetExpr::SetOperation {
        op,
        set_quantifier: SetQuantifier::None,
        left: side(left)?,
        right: side(right)?,
    };
    let (alias, values) = rows_alias(columns.len() + 1);
    let mut query = syntax::over("SELECT 1", both, alias)?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let items = values.into_iter().zip(columns);
        let items = items.map(|(expr, name)| SelectItem::ExprWithAlias {
            expr,
            alias: Ident::with_quote('"', name),
        });
        select.projection = items.collect();
    }
    Some(query)
}

/// The rows of a side, those that are the same with a number of their own.
fn numbered(side: SetExpr, columns: usize) -> Option<Query> {
    let inner = match side {
        SetExpr::Query(query) => *query,
        body => {
            let mut query = syntax::parsed("SELECT 1")?;
            *query.body = body;
            query
        }
    };
    let (alias, values) = rows_alias(columns);
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    let values = values.join(", ");
    syntax::over(
        &format!("SELECT {values}, row_number() OVER (PARTITION BY {values})"),
        inner,
        alias,
    )
}

/// Rows of values as selects; nothing where they aren't of the same length.
pub fn of_values(values: &Values) -> Option<SetExpr> {
    let width = values.rows.first()?.content.len();
    if values.rows.iter().any(|row| row.content.len() != width) {
        return None;
    }
    let rows = values.rows.iter().map(|row| selected(&row.content));
    let mut rows: Vec<SetExpr> = rows.collect::<Option<_>>()?;
    // In pairs, so that many rows aren't as deep as they are many.
    while rows.len() > 1 {
        let mut pairs = Vec::with_capacity(rows.len().div_ceil(2));
        let mut single = rows.into_iter();
        while let Some(left) = single.next() {
            pairs.push(match single.next() {
                Some(right) => SetExpr::SetOperation {
                    op: SetOperator::Union,
                    set_quantifier: SetQuantifier::All,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                None => left,
            });
        }
        rows = pairs;
    }
    rows.pop()
}

/// One row, with the names that the columns of `VALUES` have.
fn selected(row: &[Expr]) -> Option<SetExpr> {
    let mut query = syntax::parsed("SELECT 1")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        let items = row.iter().enumerate();
        let items = items.map(|(at, value)| SelectItem::ExprWithAlias {
            expr: value.clone(),
            alias: Ident::with_quote('"', format!("column{}", at + 1)),
        });
        select.projection = items.collect();
    }
    Some(*query.body)
}

/// What the columns of a query's body are called; nothing where they aren't written.
fn columns_of(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Query(query) => columns_of(&query.body),
        SetExpr::SetOperation { left, .. } => columns_of(left),
        SetExpr::Values(values) => {
            let width = values.rows.first()?.content.len();
            Some((1..=width).map(|at| format!("column{at}")).collect())
        }
        SetExpr::Select(select) => {
            let name = |item: &SelectItem| match item {
                SelectItem::UnnamedExpr(value) => Some(names::name_of(value)),
                SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                _ => None,
            };
            select.projection.iter().map(name).collect()
        }
        _ => None,
    }
}
