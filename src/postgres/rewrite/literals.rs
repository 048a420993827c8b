//! The types of numbers that a statement writes: `1` is an integer, `1.5` a numeric with one digit behind the point.
//!
//! DataFusion reads them as a bigint and a double. That matters where the number's type becomes the type of a column, so
//! they are cast there, and only there: a comparison or a function's option is left as it is.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, ExactNumberInfo, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, GroupByExpr, OrderBy, OrderByKind, Query, Select,
    SelectItem, UnaryOperator, Value, Values, WindowType,
};

use super::{last_name, syntax};
use crate::postgres::rows;

/// Functions whose result has the type of their arguments, or their digits.
const TYPED_BY_ARGUMENTS: [&str; 60] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "sum",
    "avg",
    "min",
    "max",
    "abs",
    "array_agg",
    "round",
    "trunc",
    "ceil",
    "ceiling",
    "floor",
    "generate_series",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
    "mod",
    "div",
    "sign",
    "stddev",
    "variance",
    "stddev_samp",
    "stddev_pop",
    "var_samp",
    "var_pop",
    "pg_typeof",
    "gcd",
    "lcm",
    "unnest",
    "log",
    "array_append",
    "array_cat",
    "array_fill",
    "array_prepend",
    "array_remove",
    "array_replace",
    "array_positions",
    "row",
    "trim_array",
    "scale",
    "min_scale",
    "trim_scale",
    "array_to_string",
    "concat",
    "concat_ws",
    "format",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "quote_literal",
    "quote_nullable",
    "to_char",
    "to_json",
    "to_jsonb",
];

/// Gives the numbers of a select's columns their types.
pub fn give_types(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression)
        | SelectItem::ExprWithAlias {
            expr: expression, ..
        } = item
        {
            give(expression);
        }
    }
    if let GroupByExpr::Expressions(by, _) = &mut select.group_by {
        by.iter_mut().for_each(give_parts);
    }
    if let Some(having) = &mut select.having {
        give_parts(having);
    }
}

/// Gives the numbers of what a query is ordered by their types; a number alone is a column's place.
pub fn give_order(query: &mut Query) {
    if let Some(OrderBy {
        kind: OrderByKind::Expressions(order),
        ..
    }) = &mut query.order_by
    {
        order.iter_mut().for_each(|by| give_parts(&mut by.expr));
    }
}

/// An expression that must be the same as a column has numbers of the same types.
fn give_parts(expression: &mut Expr) {
    match expression {
        Expr::Value(_) => {}
        Expr::BinaryOp { left, op, right } if !is_arithmetic(op) => {
            give_parts(left);
            give_parts(right);
        }
        other => give(other),
    }
}

/// Gives the numbers of rows of values their types, and the texts of those that no table takes the types that stand beside them.
pub fn give_values(values: &mut Values, is_inserted: bool) {
    for row in &mut values.rows {
        for value in row.content.iter_mut() {
            give(value);
        }
    }
    if is_inserted {
        return;
    }
    let columns = values.rows.iter().map(|row| row.content.len()).min();
    for column in 0..columns.unwrap_or(0) {
        let mut typed = values.rows.iter().map(|row| &row.content[column]);
        let Some(beside) = typed.find(|value| has_type(value)).cloned() else {
            continue;
        };
        for row in &mut values.rows {
            let value = &mut row.content[column];
            if is_text(value) {
                *value = syntax::call("pg_read_as", vec![syntax::take(value), beside.clone()]);
            }
        }
    }
}

/// Whether a value has a type of its own, which texts, NULL and parameters don't.
fn has_type(value: &Expr) -> bool {
    match value {
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => has_type(inner),
        Expr::Value(value) => matches!(value.value, Value::Number(..) | Value::Boolean(_)),
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => false,
        _ => true,
    }
}

fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// Gives an expression's numbers their types.
pub fn give(expression: &mut Expr) {
    match expression {
        Expr::Value(value) => {
            if let Value::Number(digits, _) = &value.value
                && let Some(data_type) = type_of(digits)
            {
                let number = Box::new(expression.clone());
                *expression = Expr::Cast {
                    kind: CastKind::DoubleColon,
                    expr: number,
                    data_type,
                    array: false,
                    format: None,
                };
            }
        }
        Expr::Nested(inner)
        | Expr::UnaryOp {
            op:
                UnaryOperator::Minus
                | UnaryOperator::Plus
                | UnaryOperator::PGAbs
                | UnaryOperator::BitwiseNot,
            expr: inner,
        } => give(inner),
        Expr::BinaryOp { left, op, right } if is_arithmetic(op) => {
            give(left);
            give(right);
        }
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            for condition in conditions {
                give(&mut condition.result);
            }
            if let Some(result) = else_result {
                give(result);
            }
        }
        Expr::Array(array) => array.elem.iter_mut().for_each(give),
        Expr::Tuple(elements) => elements.iter_mut().for_each(give),
        Expr::Ceil { expr, .. } | Expr::Floor { expr, .. } => give(expr),
        Expr::Cast { expr, .. } if !matches!(expr.as_ref(), Expr::Value(_)) => give(expr),
        Expr::CompoundFieldAccess { root, .. } => give(root),
        Expr::Function(function) => give_arguments(function),
        _ => {}
    }
}

fn give_arguments(function: &mut Function) {
    let name = last_name(&function.name);
    // What returns rows is called by its own name or that of its list.
    let name = name.strip_prefix(rows::LIST).unwrap_or(&name);
    let typed = match name {
        // The number of digits is an option.
        "round" | "trunc" | "nth_value" | "lag" | "lead" => 1,
        name if TYPED_BY_ARGUMENTS.contains(&name) => usize::MAX,
        _ => 0,
    };
    if let Some(WindowType::WindowSpec(window)) = &mut function.over {
        window.partition_by.iter_mut().for_each(give_parts);
        let order = window.order_by.iter_mut();
        order.for_each(|by| give_parts(&mut by.expr));
    }
    if let FunctionArguments::List(list) = &mut function.args {
        for argument in list.args.iter_mut().take(typed) {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument {
                give(expression);
            }
        }
    }
}

fn is_arithmetic(op: &BinaryOperator) -> bool {
    use BinaryOperator as O;
    matches!(
        op,
        O::Plus
            | O::Minus
            | O::Multiply
            | O::Divide
            | O::Modulo
            | O::PGExp
            | O::StringConcat
            | O::BitwiseAnd
            | O::BitwiseOr
            | O::BitwiseXor
            | O::PGBitwiseXor
            | O::PGBitwiseShiftLeft
            | O::PGBitwiseShiftRight
    )
}

/// The type of a number by its digits; nothing for one that DataFusion reads as Postgres does.
pub fn type_of(digits: &str) -> Option<SqlType> {
    if digits.contains(['e', 'E']) {
        return None;
    }
    if let Some((whole, part)) = digits.split_once('.') {
        let scale = i64::try_from(part.len()).ok()?;
        let precision = u64::try_from(whole.trim_start_matches('0').len() + part.len())
            .ok()?
            .max(1);
        // The cast of a literal keeps the digits that it has.
        return (precision <= 38 && scale <= 30).then_some(SqlType::Numeric(ExactNumberInfo::None));
    }
    digits.parse::<i32>().is_ok().then_some(SqlType::Int4(None))
}
