//! Aggregates over a group's values in order, as functions of their list.
//!
//! `percentile_disc(0.5) WITHIN GROUP (ORDER BY x)` is `pg_percentile_disc(array_agg(x ORDER BY x), 0.5)`, and
//! `json_agg(x)` is `pg_json_list(array_agg(x))`; FILTER and DISTINCT stay with the list.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, GroupByExpr, Ident, ObjectName, OrderByExpr, OrderByOptions, Select,
    SelectItem, Value, visit_expressions,
};

use super::{last_name, syntax};

/// The call in these words; nothing where it needs none.
pub fn rewrite(function: &mut Function) -> Option<Expr> {
    if function.over.is_some() {
        return None;
    }
    if let FunctionArguments::List(list) = &mut function.args {
        for clause in &mut list.clauses {
            // A number is a number here, and no column's place.
            if let FunctionArgumentClause::OrderBy(order) = clause {
                order.retain(|by| !matches!(&by.expr, Expr::Value(value) if matches!(value.value, Value::Number(..))));
            }
        }
    }
    order_distinct(function);
    match last_name(&function.name).as_str() {
        "percentile_disc" => ordered_set(function, "pg_percentile_disc"),
        // DataFusion's own rounds where it is between two values.
        "percentile_cont" => ordered_set(function, "pg_percentile_cont"),
        "string_agg" => texts(function),
        "mode" => ordered_set(function, "pg_mode"),
        "json_agg" => Some(listed(function, "pg_json_list")),
        "jsonb_agg" => Some(listed(function, "pg_jsonb_list")),
        "json_object_agg" => pairs(function, "pg_json_pairs"),
        "jsonb_object_agg" => pairs(function, "pg_jsonb_pairs"),
        _ => None,
    }
}

/// The places of columns in `ROLLUP (1, 2)`, `CUBE` and `GROUPING SETS` as the columns; DataFusion knows those of a plain
/// `GROUP BY`.
pub fn name_grouped(select: &mut Select) {
    let GroupByExpr::Expressions(grouped, _) = &mut select.group_by else {
        return;
    };
    for sets in grouped {
        let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = sets else {
            continue;
        };
        for element in sets.iter_mut().flatten() {
            let place = match element {
                Expr::Value(value) => match &value.value {
                    Value::Number(place, _) => place.parse::<usize>().ok(),
                    _ => None,
                },
                _ => None,
            };
            let item = place.and_then(|place| select.projection.get(place.checked_sub(1)?));
            if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
                item
            {
                *element = expr.clone();
            }
        }
    }
}

/// `SELECT 1 HAVING false` as `SELECT 1 WHERE false`: the one row is the one group, where nothing is aggregated.
pub fn filter_one_row(select: &mut Select) {
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if is_grouped || !select.from.is_empty() || select.selection.is_some() {
        return;
    }
    let calls = |part: &Expr| {
        let found = visit_expressions(part, |part| match part {
            Expr::Function(_) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        found.is_break()
    };
    let is_plain = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. } => {
            !calls(value)
        }
        _ => false,
    };
    if select.projection.iter().all(is_plain) && !select.having.as_ref().is_some_and(calls) {
        select.selection = select.having.take();
    }
}

/// Values that are distinct come in their order, as in Postgres, which sorts them to find out.
fn order_distinct(function: &mut Function) {
    let name = last_name(&function.name);
    if !matches!(
        name.as_str(),
        "string_agg" | "array_agg" | "json_agg" | "jsonb_agg"
    ) {
        return;
    }
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let ordered = |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(order) if !order.is_empty());
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && !list.clauses.iter().any(ordered)
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.first()
    {
        let order = OrderByExpr {
            expr: value.clone(),
            options: OrderByOptions::default(),
            with_fill: None,
        };
        list.clauses = vec![FunctionArgumentClause::OrderBy(vec![order])];
    }
}

/// `string_agg(DISTINCT x, ', ')` and one in an order, of which DataFusion has no two in a query.
fn texts(function: &mut Function) -> Option<Expr> {
    let [_, between] = arguments(function).try_into().ok()?;
    let between = between.clone();
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    if list.duplicate_treatment.is_none() && list.clauses.is_empty() {
        return None;
    }
    let mut list = function.clone();
    list.name = array_agg();
    if let FunctionArguments::List(arguments) = &mut list.args {
        arguments.args.truncate(1);
    }
    Some(syntax::call(
        "pg_text_list",
        vec![Expr::Function(list), between],
    ))
}

fn arguments(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Vec::new();
    };
    let argument = |argument| match argument {
        &FunctionArg::Unnamed(FunctionArgExpr::Expr(ref value)) => Some(value),
        _ => None,
    };
    list.args.iter().filter_map(argument).collect()
}

/// `name(fractions) WITHIN GROUP (ORDER BY x)`
fn ordered_set(function: &mut Function, name: &str) -> Option<Expr> {
    let [order] = function.within_group.as_slice() else {
        return None;
    };
    let order = order.clone();
    let fractions: Vec<Expr> = arguments(function).into_iter().cloned().collect();
    function.within_group.clear();
    let mut list = function.clone();
    list.name = array_agg();
    if let FunctionArguments::List(arguments) = &mut list.args {
        arguments.args = vec![syntax::argument(order.expr.clone())];
        arguments.clauses = vec![FunctionArgumentClause::OrderBy(vec![order])];
    }
    let values = std::iter::once(Expr::Function(list)).chain(fractions);
    Some(syntax::call(name, values.collect()))
}

fn listed(function: &mut Function, name: &str) -> Expr {
    let mut list = function.clone();
    list.name = array_agg();
    syntax::call(name, vec![Expr::Function(list)])
}

fn pairs(function: &mut Function, name: &str) -> Option<Expr> {
    let [key, value] = arguments(function).try_into().ok()?;
    let side = |expression: &Expr| {
        let mut list = function.clone();
        list.name = array_agg();
        if let FunctionArguments::List(arguments) = &mut list.args {
            arguments.args = vec![syntax::argument(expression.clone())];
        }
        Expr::Function(list)
    };
    Some(syntax::call(name, vec![side(key), side(value)]))
}

fn array_agg() -> ObjectName {
    ObjectName::from(vec![Ident::new("pg_array_agg")])
}
