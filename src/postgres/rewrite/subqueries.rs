//! `IN (query)`, where DataFusion's join with the query isn't what Postgres means by it.
//!
//! DataFusion joins where `IN` is a condition. Such a join knows true and not true: it is right where a NULL is as good as false, and
//! for `column NOT IN (query)` as a condition of its own. Elsewhere the value is looked for in the array of the query's rows, or
//! `NOT IN` is asked in parts.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableAlias,
    TableAliasColumnDef, UnaryOperator, Value,
};

use super::expressions::rows_compared;
use super::{last_name, syntax};

/// Those in the columns and conditions of a select.
pub fn settle(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression)
        | SelectItem::ExprWithAlias {
            expr: expression, ..
        } = item
        {
            lists_in_values(expression);
        }
    }
    let conditions = [&mut select.selection, &mut select.having];
    for condition in conditions.into_iter().flatten() {
        settle_condition(condition, true);
    }
}

/// Those in the condition of a change of rows.
pub fn settle_change(statement: &mut Statement) {
    let condition = match statement {
        Statement::Update(update) => &mut update.selection,
        Statement::Delete(delete) => &mut delete.selection,
        _ => return,
    };
    if let Some(condition) = condition {
        settle_condition(condition, true);
    }
}

/// Those in what a row has to meet. `alone` says that it has to in any case.
fn settle_condition(condition: &mut Expr, alone: bool) {
    match condition {
        Expr::Nested(inner) => settle_condition(inner, alone),
        Expr::BinaryOp {
            left,
            op: op @ (BinaryOperator::And | BinaryOperator::Or),
            right,
        } => {
            let alone = alone && *op == BinaryOperator::And;
            settle_condition(left, alone);
            settle_condition(right, alone);
        }
        Expr::InSubquery { negated: false, .. } => {}
        Expr::InSubquery { expr, subquery, .. } => {
            let is_column = matches!(
                expr.as_ref(),
                Expr::Identifier(_) | Expr::CompoundIdentifier(_)
            );
            if !(alone && is_column)
                && let Some(parts) = not_in(expr, subquery)
            {
                *condition = parts;
            }
        }
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: inner,
        } => {
            let mut asked = inner.as_mut();
            while let Expr::Nested(nested) = asked {
                asked = nested.as_mut();
            }
            match asked {
                Expr::InSubquery { negated, .. } => {
                    *negated = !*negated;
                    *condition = syntax::take(asked);
                    settle_condition(condition, alone);
                }
                _ => lists_in_values(inner),
            }
        }
        // A text that stands for a truth.
        Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)) => {
            let text = syntax::take(condition);
            *condition = syntax::call("cast_as_bool", vec![text]);
        }
        other => lists_in_values(other),
    }
}

/// `value NOT IN (query)` as a condition: no row is the value, none is NULL, and the value isn't NULL unless there are no rows.
fn not_in(value: &Expr, query: &Query) -> Option<Expr> {
    let (alias, columns) = rows_alias(1);
    let column = columns.into_iter().next()?;
    let over = |select: &str| syntax::over(select, query.clone(), alias.clone());
    let none = |query: Query| Expr::BinaryOp {
        left: Box::new(Expr::Subquery(Box::new(query))),
        op: BinaryOperator::Eq,
        right: Box::new(syntax::number(0)),
    };
    let and = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    };
    let mut same = over("SELECT 1")?;
    if let SetExpr::Select(select) = same.body.as_mut() {
        select.selection = Some(Expr::BinaryOp {
            left: Box::new(column.clone()),
            op: BinaryOperator::Eq,
            right: Box::new(value.clone()),
        });
    }
    let mut nulls = over("SELECT count(*)")?;
    if let SetExpr::Select(select) = nulls.body.as_mut() {
        select.selection = Some(Expr::IsNull(Box::new(column)));
    }
    let exists = Expr::Exists {
        subquery: Box::new(same),
        negated: true,
    };
    let mut parts = and(exists, none(nulls));
    let is_known = matches!(value, Expr::Value(value) if !matches!(value.value, Value::Null | Value::Placeholder(_)));
    if !is_known {
        let or = Expr::BinaryOp {
            left: Box::new(Expr::IsNotNull(Box::new(value.clone()))),
            op: BinaryOperator::Or,
            right: Box::new(none(over("SELECT count(*)")?)),
        };
        parts = and(parts, Expr::Nested(Box::new(or)));
    }
    Some(Expr::Nested(Box::new(parts)))
}

/// What the rows of a query are called where something is asked of them, and their columns; no keyboard has the names.
pub fn rows_alias(columns: usize) -> (TableAlias, Vec<Expr>) {
    let names = (1..=columns).map(|at| format!("\u{1f}c{at}"));
    let names: Vec<Ident> = names.map(|name| Ident::with_quote('"', name)).collect();
    let column = |name: &Ident| TableAliasColumnDef {
        name: name.clone(),
        data_type: None,
    };
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "\u{1f}rows"),
        columns: names.iter().map(column).collect(),
        at: None,
    };
    (alias, names.into_iter().map(Expr::Identifier).collect())
}

/// `IN (VALUES …)` as a query for the rows, whose columns have names: it is planned as a join.
pub fn select_values(query: &mut Query) {
    let SetExpr::Values(values) = query.body.as_ref() else {
        return;
    };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let (alias, columns) = rows_alias(width);
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let select = format!("SELECT {}", columns.join(", "));
    if let Some(selected) = syntax::over(&select, query.clone(), alias) {
        *query = selected;
    }
}

/// `(a, b) IN (query)` as the question whether the query has such a row. `NOT IN` is true where no row may be equal.
pub fn row_in(fields: Vec<Expr>, query: Query, negated: bool) -> Option<Expr> {
    let (alias, columns) = rows_alias(fields.len());
    let same = rows_compared(fields, &BinaryOperator::Eq, columns);
    let condition = match negated {
        true => Expr::IsNotFalse(Box::new(same)),
        false => same,
    };
    let mut query = syntax::over("SELECT 1", query, alias)?;
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    select.selection = Some(condition);
    Some(Expr::Exists {
        subquery: Box::new(query),
        negated,
    })
}

/// `x IN (query)` where a NULL isn't false: `x` is looked for in the array of its rows.
pub fn lists_in_values(expression: &mut Expr) {
    syntax::change_own(expression, |expression| {
        if let Expr::InSubquery {
            expr,
            subquery,
            negated,
        } = expression
            && let Some(list) = array_of(subquery.as_ref().clone())
        {
            let (name, symbol) = match negated {
                true => ("pg_all", "<>"),
                false => ("pg_any", "="),
            };
            let operands = vec![syntax::text(symbol), syntax::take(expr), list];
            *expression = syntax::call(name, operands);
        }
        if let Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        }
        | Expr::AllOp {
            left,
            compare_op,
            right,
        } = &*expression
            && let Expr::Subquery(query) = right.as_ref()
            && let Some(list) = array_of(query.as_ref().clone())
        {
            let name = match expression {
                Expr::AllOp { .. } => "pg_all",
                _ => "pg_any",
            };
            let symbol = syntax::text(&compare_op.to_string());
            *expression = syntax::call(name, vec![symbol, left.as_ref().clone(), list]);
        }
    });
}

/// `ARRAY(query)`: the query's rows in their order, and an empty array for none.
pub fn array_of(query: Query) -> Option<Expr> {
    let alias = TableAlias {
        explicit: true,
        name: Ident::new("s"),
        columns: vec![TableAliasColumnDef::from_name("c")],
        at: None,
    };
    let query = syntax::over(
        "SELECT pg_array_or_empty(pg_array_agg(c)) AS \"array\"",
        query,
        alias,
    )?;
    Some(Expr::Subquery(Box::new(query)))
}

/// Whether a query is what [`array_of`] makes: it has one row, an array.
pub fn is_array(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    matches!(
        select.projection.as_slice(),
        [SelectItem::ExprWithAlias { expr: Expr::Function(function), .. }]
            if last_name(&function.name) == "pg_array_or_empty"
    )
}
