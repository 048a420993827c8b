//! `FETCH FIRST 3 ROWS ONLY` as `LIMIT 3`, and those `WITH TIES` as the rows whose rank is no higher.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SetExpr, Value, WindowSpec, WindowType,
};
use datafusion_funnel::definition::text::folded;

use super::syntax;

/// Writes a query's first rows so.
pub fn limit(query: &mut Query) {
    let Some(fetch) = &query.fetch else {
        return;
    };
    if fetch.percent || fetch.with_ties && !keep_ties(query) {
        return;
    }
    let Some(fetch) = query.fetch.take().filter(|fetch| !fetch.with_ties) else {
        return;
    };
    let count = fetch.quantity.unwrap_or_else(|| syntax::number(1));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, .. }) => *limit = Some(count),
        clause => {
            *clause = Some(LimitClause::LimitOffset {
                limit: Some(count),
                offset: None,
                limit_by: Vec::new(),
            });
        }
    }
}

/// Keeps the rows that aren't behind the last one that is wanted; whether that can be said of the query.
fn keep_ties(query: &mut Query) -> bool {
    let count = query
        .fetch
        .as_ref()
        .and_then(|fetch| fetch.quantity.clone());
    let mut count = count.unwrap_or_else(|| syntax::number(1));
    if let Some(LimitClause::LimitOffset {
        offset: Some(offset),
        ..
    }) = &query.limit_clause
    {
        // Those that are passed over have the first ranks.
        count = Expr::BinaryOp {
            left: Box::new(count),
            op: BinaryOperator::Plus,
            right: Box::new(offset.value.clone()),
        };
    }
    let Some(OrderBy {
        kind: OrderByKind::Expressions(order),
        ..
    }) = &query.order_by
    else {
        return false;
    };
    let SetExpr::Select(select) = query.body.as_mut() else {
        return false;
    };
    if order.is_empty() || select.distinct.is_some() || select.qualify.is_some() {
        return false;
    }
    let order_by = order.iter().map(|by| OrderByExpr {
        expr: meant(&by.expr, select),
        ..by.clone()
    });
    let window = WindowSpec {
        window_name: None,
        partition_by: Vec::new(),
        order_by: order_by.collect(),
        window_frame: None,
    };
    let mut rank = syntax::call("rank", Vec::new());
    if let Expr::Function(function) = &mut rank {
        function.over = Some(WindowType::WindowSpec(window));
    }
    select.qualify = Some(Expr::BinaryOp {
        left: Box::new(rank),
        op: BinaryOperator::LtEq,
        right: Box::new(count),
    });
    true
}

/// The expression that a place or the name of a column stands for in `ORDER BY`.
fn meant(by: &Expr, select: &Select) -> Expr {
    let item = match by {
        Expr::Value(value) => match &value.value {
            Value::Number(place, _) => place
                .parse::<usize>()
                .ok()
                .and_then(|place| select.projection.get(place.checked_sub(1)?)),
            _ => None,
        },
        Expr::Identifier(name) => select.projection.iter().find(|item| {
            matches!(item, SelectItem::ExprWithAlias { alias, .. } if folded(alias) == folded(name))
        }),
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => {
            expr.clone()
        }
        _ => by.clone(),
    }
}
