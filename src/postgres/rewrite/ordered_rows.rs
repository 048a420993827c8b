//! `SELECT unnest(tags) FROM t ORDER BY id`: functions that return rows beside an order by what isn't in the list.
//!
//! DataFusion knows behind such a function only the columns of the list. So the others stand in the list of an inner query, and with
//! them the numbers of a function's rows, which keep their order where the order says nothing of them.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderBy,
    OrderByExpr, OrderByKind, OrderByOptions, Query, Select, SelectItem, SetExpr, Value,
};
use datafusion_funnel::definition::text::folded;

use super::subqueries::rows_alias;
use super::{last_name, syntax};
use crate::postgres::{names, rows};

/// Puts what a query is ordered by into its list, and that into a query of its own.
pub fn keep(query: &mut Query) {
    if let Some((body, order)) = kept(query) {
        query.body = body;
        query.order_by = Some(OrderBy {
            kind: OrderByKind::Expressions(order),
            interpolate: None,
        });
    }
}

fn kept(query: &Query) -> Option<(Box<SetExpr>, Vec<OrderByExpr>)> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let Some(OrderBy {
        kind: OrderByKind::Expressions(order),
        ..
    }) = &query.order_by
    else {
        return None;
    };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if is_grouped || select.distinct.is_some() || select.qualify.is_some() {
        return None;
    }
    let items = items_of(select)?;
    let lists: Vec<Expr> = items
        .iter()
        .flat_map(|(_, value)| lists_in(value))
        .collect();
    let places: Vec<Option<usize>> = order.iter().map(|by| place(&by.expr, &items)).collect();
    let is_known = places.iter().all(Option::is_some);
    let mut others = lists.iter().chain(order.iter().map(|by| &by.expr));
    if lists.is_empty() || is_known || others.any(|other| !lists_in(other).is_empty()) {
        return None;
    }
    let mut inner = select.clone();
    let keys = order.iter().zip(&places);
    let keys = keys.filter(|(_, place)| place.is_none());
    let keys = keys.map(|(by, _)| by.expr.clone());
    let numbers = syntax::call("unnest", vec![syntax::call("pg_ordinals", lists)]);
    let others = keys.chain(std::iter::once(numbers));
    inner.projection.extend(
        others
            .enumerate()
            .map(|(at, expr)| SelectItem::ExprWithAlias {
                expr,
                alias: Ident::with_quote('"', format!("\u{1f}key{at}")),
            }),
    );
    let (alias, mut columns) = rows_alias(inner.projection.len());
    let mut whole = syntax::parsed("SELECT 1")?;
    *whole.body = SetExpr::Select(inner);
    let mut outer = syntax::over("SELECT 1", whole, alias)?;
    let mut keys = columns.split_off(items.len()).into_iter();
    let by = |expr: Expr, options: OrderByOptions| OrderByExpr {
        expr,
        options,
        with_fill: None,
    };
    let mut ordered = Vec::with_capacity(order.len() + 1);
    for (known, place) in order.iter().zip(places) {
        let expr = match place {
            Some(at) => syntax::number(i64::try_from(at + 1).ok()?),
            None => keys.next()?,
        };
        ordered.push(by(expr, known.options));
    }
    ordered.push(by(keys.next()?, OrderByOptions::default()));
    if let SetExpr::Select(select) = outer.body.as_mut() {
        let items = columns.into_iter().zip(&items);
        let items = items.map(|(expr, (name, _))| SelectItem::ExprWithAlias {
            expr,
            alias: Ident::with_quote('"', name),
        });
        select.projection = items.collect();
    }
    Some((outer.body, ordered))
}

/// The columns of a select with their names; nothing where they aren't written.
fn items_of(select: &Select) -> Option<Vec<(String, Expr)>> {
    let items = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(value) => Some((names::name_of(value), value.clone())),
        SelectItem::ExprWithAlias { expr, alias } => Some((folded(alias), expr.clone())),
        _ => None,
    });
    items.collect()
}

/// The place of the column that an expression of `ORDER BY` is.
fn place(by: &Expr, items: &[(String, Expr)]) -> Option<usize> {
    match by {
        Expr::Value(value) => match &value.value {
            Value::Number(place, _) => place.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Identifier(name) => {
            let name = folded(name);
            items.iter().position(|(item, _)| *item == name)
        }
        by => items.iter().position(|(_, value)| value == by),
    }
}

/// The lists whose elements are the rows of functions in an expression.
fn lists_in(expression: &Expr) -> Vec<Expr> {
    let mut lists = Vec::new();
    syntax::change_own(&mut expression.clone(), |expression| {
        let Expr::Function(function) = &*expression else {
            return;
        };
        let name = last_name(&function.name);
        let FunctionArguments::List(list) = &function.args else {
            return;
        };
        let arguments = list.args.iter().filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
            _ => None,
        });
        if name == "unnest" {
            lists.extend(arguments);
        } else if rows::is_list_function(&name) {
            lists.push(syntax::call(&rows::list_name(&name), arguments.collect()));
        }
    });
    lists
}
