//! Expressions in the words that DataFusion plans.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType as SqlType, DateTimeField, Expr, Function,
    FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    Ident, Interval, IntervalFields, ObjectName, Query, SelectItem, SetExpr, Subscript,
    UnaryOperator, Value,
};
use datafusion_funnel::definition::text::folded;

use super::subqueries::{array_of, is_array, lists_in_values, row_in};
use super::{Scope, aggregates, chains, intervals, last_name, relations, syntax, system_columns};
use crate::postgres::functions::OVERRIDDEN;
use crate::postgres::mixed_types::ONE_TYPE;
use crate::postgres::{regex, rows, types};

/// What the first bound of `BETWEEN SYMMETRIC` is an argument of.
pub const SYMMETRIC: &str = "pg_symmetric";

/// Rewrites an expression whose parts are rewritten already.
pub fn rewrite(expression: &mut Expr, scope: &dyn Scope, aliases: &HashMap<String, String>) {
    match expression {
        Expr::Function(_) => function(expression),
        Expr::Cast { .. } => cast(expression),
        Expr::TypedString(typed) => {
            if let Some((kind, modifiers)) = types::of_sql(&typed.data_type)
                && let Some(text) = typed.value.value.clone().into_string()
            {
                *expression = cast_call(&kind, syntax::text(&text), &modifiers);
            }
        }
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => distinct(expression),
        Expr::Collate { expr, .. } => *expression = syntax::take(expr),
        Expr::BinaryOp { .. } => binary(expression),
        Expr::IsNull(inner) => {
            if let Some(fields) = row(inner) {
                *expression = rows_null(fields, true);
            }
        }
        Expr::IsNotNull(inner) => {
            if let Some(fields) = row(inner) {
                *expression = rows_null(fields, false);
            }
        }
        Expr::UnaryOp { .. } => unary(expression),
        Expr::AnyOp { .. } | Expr::AllOp { .. } => any_or_all(expression),
        Expr::InSubquery {
            expr,
            subquery,
            negated,
        } => {
            if let Some(fields) = row(expr)
                && let Some(exists) = row_in(fields, subquery.as_ref().clone(), *negated)
            {
                *expression = exists;
            }
        }
        Expr::InList {
            expr,
            list,
            negated,
        } => {
            let fields = row(expr);
            let rows = list.iter().map(row).collect::<Option<Vec<_>>>();
            if let (Some(fields), Some(rows)) = (fields, rows)
                && rows.iter().all(|row| row.len() == fields.len())
            {
                let same = rows
                    .into_iter()
                    .map(|row| rows_compared(fields.clone(), &BinaryOperator::Eq, row));
                let found = joined(same, &BinaryOperator::Or);
                *expression = maybe_not(found, *negated);
            }
        }
        // `LIKE ALL (array)`, which sqlparser reads as a function.
        Expr::Like {
            negated,
            expr,
            pattern,
            ..
        } if is_all(pattern) => *expression = like_all("~~", *negated, expr, pattern),
        Expr::ILike {
            negated,
            expr,
            pattern,
            ..
        } if is_all(pattern) => *expression = like_all("~~*", *negated, expr, pattern),
        Expr::IsNormalized {
            expr,
            form,
            negated,
        } => {
            let mut arguments = vec![syntax::take(expr)];
            arguments.extend(form.map(|form| syntax::text(&form.to_string())));
            *expression = maybe_not(syntax::call("pg_is_normalized", arguments), *negated);
        }
        Expr::Like {
            negated,
            expr,
            pattern,
            escape_char: Some(escape),
            any: false,
        } => {
            let call = syntax::call(
                "pg_like",
                vec![
                    syntax::take(expr),
                    syntax::take(pattern),
                    Expr::Value(escape.clone()),
                ],
            );
            *expression = maybe_not(call, *negated);
        }
        Expr::ILike {
            negated,
            expr,
            pattern,
            escape_char: Some(escape),
            any: false,
        } => {
            let call = syntax::call(
                "pg_ilike",
                vec![
                    syntax::take(expr),
                    syntax::take(pattern),
                    Expr::Value(escape.clone()),
                ],
            );
            *expression = maybe_not(call, *negated);
        }
        // `LIKE ANY (array)`
        Expr::Like {
            negated,
            expr,
            pattern,
            any: true,
            ..
        } => *expression = like_any("~~", *negated, expr, pattern),
        Expr::ILike {
            negated,
            expr,
            pattern,
            any: true,
            ..
        } => *expression = like_any("~~*", *negated, expr, pattern),
        Expr::Subquery(query) => nullable(query),
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => {
            let mut arguments = vec![syntax::take(expr), syntax::take(pattern)];
            arguments.extend(escape_char.take().map(Expr::Value));
            let pattern = syntax::call("similar_to_escape", arguments.split_off(1));
            arguments.push(pattern);
            *expression = maybe_not(syntax::call("pg_regex", arguments), *negated);
        }
        Expr::AtTimeZone {
            timestamp,
            time_zone,
        } => {
            *expression = syntax::call(
                "pg_timezone",
                vec![syntax::take(time_zone), syntax::take(timestamp)],
            );
        }
        Expr::Between {
            expr,
            negated,
            low,
            high,
        } if symmetric(low).is_some() => {
            if let Some(low) = symmetric(low) {
                let between = Expr::BinaryOp {
                    left: Box::new(compared_with_both(expr, low, high)),
                    op: BinaryOperator::Or,
                    right: Box::new(compared_with_both(expr, high, low)),
                };
                *expression = maybe_not(Expr::Nested(Box::new(between)), *negated);
            }
        }
        // Two comparisons: each of them looks at what its sides are.
        Expr::Between {
            expr,
            negated,
            low,
            high,
        } if matches!(
            expr.as_ref(),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_)
        ) =>
        {
            let both = compared_with_both(expr, low, high);
            *expression = maybe_not(both, *negated);
        }
        Expr::Interval(interval) => intervals::plain(interval),
        Expr::Case { operand: None, .. } => {
            lists_in_values(expression);
        }
        Expr::Case {
            operand,
            conditions,
            ..
        } if operand.is_some() => {
            // Each comparison is one of its own, so that a text beside a boolean is read as one.
            if let Some(operand) = operand.take() {
                for condition in conditions {
                    let right = Box::new(syntax::take(&mut condition.condition));
                    condition.condition = Expr::BinaryOp {
                        left: operand.clone(),
                        op: BinaryOperator::Eq,
                        right,
                    };
                }
            }
        }
        Expr::Extract { field, expr, .. } => {
            let field = syntax::text(&field.to_string().trim_matches('\'').to_lowercase());
            *expression = syntax::call("pg_extract", vec![field, syntax::take(expr)]);
        }
        Expr::Substring {
            expr,
            substring_from: Some(from),
            substring_for,
            ..
        } => {
            let mut arguments = vec![syntax::take(expr), syntax::take(from)];
            arguments.extend(substring_for.as_mut().map(|length| syntax::take(length)));
            *expression = syntax::call("pg_substring", arguments);
        }
        Expr::Substring {
            expr,
            substring_from: None,
            substring_for: Some(length),
            ..
        } => {
            *expression = syntax::call(
                "pg_substring",
                vec![syntax::take(expr), syntax::number(1), syntax::take(length)],
            );
        }
        Expr::Overlay {
            expr,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let mut arguments = vec![
                syntax::take(expr),
                syntax::take(overlay_what),
                syntax::take(overlay_from),
            ];
            arguments.extend(overlay_for.as_mut().map(|length| syntax::take(length)));
            *expression = syntax::call("pg_overlay", arguments);
        }
        Expr::Ceil { expr, .. } => *expression = syntax::call("pg_ceil", vec![syntax::take(expr)]),
        Expr::Floor { expr, .. } => {
            *expression = syntax::call("pg_floor", vec![syntax::take(expr)])
        }
        Expr::CompoundFieldAccess { .. } => access(expression),
        Expr::CompoundIdentifier(parts)
            if parts.len() > 2
                && parts.len() < 5
                && aliases.contains_key(&folded(&parts[parts.len() - 2])) =>
        {
            // A relation is known by its own name; its schema says nothing more.
            parts.drain(..parts.len() - 2);
            system_column(system_columns::value(parts, scope, aliases), expression);
        }
        Expr::CompoundIdentifier(parts) => {
            system_column(system_columns::value(parts, scope, aliases), expression)
        }
        Expr::Identifier(ident) if ident.quote_style.is_none() => {
            if matches!(
                ident.value.to_lowercase().as_str(),
                "current_schema" | "current_catalog" | "current_role" | "localtime"
            ) {
                *expression = syntax::call(&ident.value.to_lowercase(), Vec::new());
            }
        }
        Expr::Prefixed { prefix, value } if prefix.value.eq_ignore_ascii_case("b") => {
            *expression = cast_call("bit", syntax::take(value), &[]);
        }
        Expr::Value(value) => {
            if let Value::SingleQuotedByteStringLiteral(bits) = &value.value {
                *expression = cast_call("bit", syntax::text(bits), &[]);
            } else if let Value::UnicodeStringLiteral(text) = &value.value {
                *expression = syntax::text(text);
            }
        }
        _ => {}
    }
}

/// The first bound of `BETWEEN SYMMETRIC`; either of the two may be the lower one.
fn symmetric(bound: &Expr) -> Option<&Expr> {
    match bound {
        Expr::Function(function) if last_name(&function.name) == SYMMETRIC => {
            arguments_of(function).first().copied()
        }
        _ => None,
    }
}

/// `(value >= low AND value <= high)`
fn compared_with_both(value: &Expr, low: &Expr, high: &Expr) -> Expr {
    let compared = |op: BinaryOperator, bound: &Expr| {
        Box::new(Expr::BinaryOp {
            left: Box::new(value.clone()),
            op,
            right: Box::new(bound.clone()),
        })
    };
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: compared(BinaryOperator::GtEq, low),
        op: BinaryOperator::And,
        right: compared(BinaryOperator::LtEq, high),
    }))
}

/// `a IS DISTINCT FROM b AND c` is read as if `b AND c` stood in parentheses; AND binds looser than that.
fn distinct(expression: &mut Expr) {
    let (left, right, distinct) = match expression {
        Expr::IsDistinctFrom(left, right) => (left, right, true),
        Expr::IsNotDistinctFrom(left, right) => (left, right, false),
        _ => return,
    };
    if !matches!(
        right.as_ref(),
        Expr::BinaryOp {
            op: BinaryOperator::And | BinaryOperator::Or,
            ..
        }
    ) {
        return;
    }
    let left = Box::new(syntax::take(left));
    let mut whole = syntax::take(right);
    let mut innermost = &mut whole;
    while let Expr::BinaryOp {
        op: BinaryOperator::And | BinaryOperator::Or,
        left,
        ..
    } = innermost
    {
        innermost = left.as_mut();
    }
    let operand = Box::new(syntax::take(innermost));
    *innermost = match distinct {
        true => Expr::IsDistinctFrom(left, operand),
        false => Expr::IsNotDistinctFrom(left, operand),
    };
    *expression = whole;
}

fn is_all(pattern: &Expr) -> bool {
    matches!(pattern, Expr::Function(function) if last_name(&function.name) == "all")
}

fn like_all(operator: &str, negated: bool, value: &mut Expr, patterns: &mut Expr) -> Expr {
    let operator = format!("{}{operator}", if negated { "!" } else { "" });
    let mut operands = vec![syntax::text(&operator), syntax::take(value)];
    if let Expr::Function(function) = patterns {
        operands.extend(arguments_of(function).into_iter().cloned());
    }
    syntax::call("pg_all", operands)
}

fn like_any(operator: &str, negated: bool, value: &mut Expr, patterns: &mut Expr) -> Expr {
    let operator = match negated {
        true => format!("!{operator}"),
        false => operator.to_owned(),
    };
    let operands = vec![
        syntax::text(&operator),
        syntax::take(value),
        syntax::take(patterns),
    ];
    syntax::call("pg_any", operands)
}

/// The value of a subquery is NULL where it has no row, whatever its column says. An aggregate has always one.
fn nullable(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_mut_slice()
    else {
        return;
    };
    let plain = match &*value {
        Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Cast { expr, .. } => matches!(expr.as_ref(), Expr::Value(_)),
        Expr::Function(function) => last_name(&function.name).starts_with("cast_as_"),
        _ => false,
    };
    if plain {
        *value = syntax::call("pg_nullable", vec![syntax::take(value)]);
    }
}

fn maybe_not(expression: Expr, negated: bool) -> Expr {
    match negated {
        true => syntax::not(expression),
        false => expression,
    }
}

fn cast(expression: &mut Expr) {
    let Expr::Cast {
        expr, data_type, ..
    } = expression
    else {
        return;
    };
    let Some((kind, modifiers)) = types::of_sql(data_type) else {
        return;
    };
    // What a parameter is cast to is its type, and a number that was given its type has it. The name of an object is a text.
    if matches!(expr.as_ref(), Expr::Value(value) if matches!(value.value, Value::Placeholder(_))) {
        if kind.starts_with("reg") {
            *data_type = SqlType::Text;
            let text = syntax::take(expression);
            *expression = cast_call(&kind, text, &modifiers);
        } else if let (true, Some(digits)) = (types::is_of_time(&kind), modifiers.first()) {
            if let SqlType::Timestamp(written, _) | SqlType::Time(written, _) = data_type {
                *written = None;
            }
            let moment = syntax::take(expression);
            let digits = syntax::number(*digits);
            *expression = syntax::call("pg_time_precision", vec![moment, digits]);
        }
        return;
    }
    if let Expr::Value(value) = expr.as_ref()
        && let Value::Number(digits, _) = &value.value
        && (!digits.contains('.') || kind.starts_with("float"))
        && matches!(
            kind.as_str(),
            "int2" | "int4" | "int8" | "float4" | "float8"
        )
    {
        return;
    }
    if let Expr::Value(value) = expr.as_ref()
        && let Value::Number(digits, _) = &value.value
        && kind == "numeric"
    {
        let digits = digits.clone();
        *expression = cast_call("numeric", syntax::text(&digits), &modifiers);
        return;
    }
    let mut value = syntax::take(expr);
    if let Expr::Value(literal) = &value
        && let Value::Number(digits, _) = &literal.value
        && digits.parse::<i64>().is_err()
    {
        value = cast_call("numeric", syntax::text(digits), &[]);
    }
    *expression = match data_type {
        SqlType::Interval { fields, precision } if fields.is_some() || precision.is_some() => {
            interval_call(value, fields.as_ref(), *precision)
        }
        _ => cast_call(&kind, value, &modifiers),
    };
}

/// `x::interval hour to minute`, `x::interval(2)`: what is smaller than the last field isn't kept.
fn interval_call(mut value: Expr, fields: Option<&IntervalFields>, digits: Option<u64>) -> Expr {
    let written = fields.map_or("second".to_owned(), |fields| {
        fields.to_string().to_lowercase()
    });
    let words: Vec<&str> = written.split(" to ").collect();
    let last = words.last().copied().unwrap_or("second");
    let is_text =
        matches!(&value, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)));
    if is_text && fields.is_some() {
        // A number alone counts the last of the fields.
        let first = words.first().copied().and_then(field_of_interval);
        let mut interval = Interval {
            value: Box::new(value),
            leading_field: first,
            leading_precision: None,
            last_field: field_of_interval(last),
            fractional_seconds_precision: digits,
        };
        intervals::plain(&mut interval);
        if interval.leading_field.is_none() {
            return Expr::Interval(interval);
        }
        // What can't be read is refused as any other text.
        value = *interval.value;
    }
    let digits = digits.and_then(|digits| i64::try_from(digits).ok());
    let cast = cast_call("interval", value, &[]);
    let arguments = vec![
        cast,
        syntax::text(last),
        syntax::number(digits.unwrap_or(6)),
    ];
    syntax::call("pg_interval_fields", arguments)
}

fn field_of_interval(word: &str) -> Option<DateTimeField> {
    Some(match word {
        "year" => DateTimeField::Year,
        "month" => DateTimeField::Month,
        "day" => DateTimeField::Day,
        "hour" => DateTimeField::Hour,
        "minute" => DateTimeField::Minute,
        "second" => DateTimeField::Second,
        _ => return None,
    })
}

fn cast_call(kind: &str, value: Expr, modifiers: &[i64]) -> Expr {
    // The moment of `'now'` is that of `now()`.
    let value = match matches!(kind, "timestamp" | "timestamptz" | "date") && is_now(&value) {
        true => syntax::call("now", Vec::new()),
        false => value,
    };
    let mut arguments = vec![value];
    arguments.extend(modifiers.iter().map(|modifier| syntax::number(*modifier)));
    // So many digits of a second are left.
    if let ("timestamp" | "timestamptz" | "time", [digits]) = (kind, modifiers) {
        arguments.truncate(1);
        let cast = syntax::call(&format!("cast_as_{kind}"), arguments);
        return syntax::call("pg_time_precision", vec![cast, syntax::number(*digits)]);
    }
    syntax::call(&format!("cast_as_{kind}"), arguments)
}

fn is_now(value: &Expr) -> bool {
    let Expr::Value(literal) = value else {
        return false;
    };
    match &literal.value {
        Value::SingleQuotedString(text) => text.trim().eq_ignore_ascii_case("now"),
        _ => false,
    }
}

/// How many digits of a second are asked for, if any, where the call is one that Postgres knows.
fn digits_of(name: &str, arguments: &[&Expr]) -> Option<Vec<i64>> {
    match arguments {
        [] => Some(Vec::new()),
        [Expr::Value(digits)] if matches!(name, "current_timestamp" | "localtimestamp") => {
            match &digits.value {
                Value::Number(digits, _) => digits.parse().ok().map(|digits| vec![digits]),
                _ => None,
            }
        }
        _ => None,
    }
}

fn function(expression: &mut Expr) {
    let Expr::Function(function) = expression else {
        return;
    };
    relations::unqualify(&mut function.name);
    let name = last_name(&function.name);
    if name == "array"
        && let FunctionArguments::Subquery(query) = &mut function.args
    {
        let query = std::mem::replace(query.as_mut(), empty_query());
        if let Some(array) = array_of(query) {
            *expression = array;
        }
        return;
    }
    if matches!(
        name.as_str(),
        "now"
            | "current_timestamp"
            | "transaction_timestamp"
            | "statement_timestamp"
            | "localtimestamp"
    ) && let Some(digits) = digits_of(&name, &arguments_of(function))
    {
        // DataFusion counts nanoseconds, which end in the year 2262.
        let kind = match name.as_str() {
            "localtimestamp" => "timestamp",
            _ => "timestamptz",
        };
        *expression = cast_call(kind, syntax::call("now", Vec::new()), &digits);
        return;
    }
    if let FunctionArguments::None = function.args {
        let words = [
            "current_user",
            "session_user",
            "user",
            "current_schema",
            "current_catalog",
            "current_role",
            "localtime",
        ];
        if words.contains(&name.as_str()) {
            *expression = syntax::call(&name, Vec::new());
        }
        return;
    }
    if function.over.is_none() && function.filter.is_none() && function.within_group.is_empty() {
        if rows::is_list_function(&name) {
            function.name = ObjectName::from(vec![Ident::new(rows::list_name(&name))]);
            let list = syntax::take(expression);
            *expression = syntax::call("unnest", vec![list]);
            return;
        }
        if name == "unnest"
            && let FunctionArguments::List(FunctionArgumentList { args, .. }) = &function.args
            && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] = args.as_slice()
        {
            *expression = rows::element(list.clone());
            return;
        }
    }
    if name == "array_positions" {
        *expression = cast_call("_int4", syntax::take(expression), &[]);
        return;
    }
    if BYTES.contains(&name.as_str())
        && let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = args.first_mut()
        && matches!(&*value, Expr::Value(literal) if matches!(literal.value, Value::SingleQuotedString(_)))
    {
        *value = cast_call("bytea", syntax::take(value), &[]);
    }
    if COUNTS.contains(&name.as_str()) {
        *expression = cast_call("int4", syntax::take(expression), &[]);
        return;
    }
    if let Some(listed) = aggregates::rewrite(function) {
        *expression = listed;
        return;
    }
    if CASTS.contains(&name.as_str()) && function.over.is_none() {
        let arguments = arguments_of(function);
        if let [value] = arguments.as_slice() {
            *expression = cast_call(&name, (*value).clone(), &[]);
            return;
        }
    }
    if name == "make_interval" {
        positional(
            function,
            &["years", "months", "weeks", "days", "hours", "mins", "secs"],
        );
    }
    if name == "avg"
        && let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = args.as_mut_slice()
    {
        // A numeric's average has as many digits as a quotient.
        *value = syntax::call("pg_summand", vec![syntax::take(value)]);
        function.name = ObjectName::from(vec![Ident::new("pg_avg")]);
        let average = syntax::take(expression);
        *expression = syntax::call("pg_quotient", vec![average]);
        return;
    }
    if name == "sum"
        && let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args
        && let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = args.as_mut_slice()
    {
        *value = syntax::call("pg_addend", vec![syntax::take(value)]);
        function.name = ObjectName::from(vec![Ident::new("pg_sum")]);
        return;
    }
    if ONE_TYPE.contains(&name.as_str()) {
        read_texts(function);
        return;
    }
    if let Some(known) = renamed(&name) {
        function.name = ObjectName::from(vec![Ident::new(known)]);
        return;
    }
    if OVERRIDDEN.contains(&name.as_str()) && function.over.is_none() {
        function.name = ObjectName::from(vec![Ident::new(format!("pg_{name}"))]);
    }
    // The order of an ordinary aggregate's arguments is its clause; Postgres writes none for the others.
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses.retain(
            |clause| !matches!(clause, FunctionArgumentClause::OrderBy(order) if order.is_empty()),
        );
    }
}

/// Functions that count in integers, and in bigints where they are DataFusion's.
const COUNTS: [&str; 1] = ["ntile"];

/// Functions of bytes only: a text of the statement is read as such.
const BYTES: [&str; 8] = [
    "bit_count",
    "encode",
    "get_byte",
    "set_byte",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
];

/// Types whose names are functions that cast to them: `date(x)`.
const CASTS: [&str; 20] = [
    "bool",
    "bpchar",
    "date",
    "float4",
    "float8",
    "int2",
    "int4",
    "int8",
    "json",
    "jsonb",
    "money",
    "name",
    "numeric",
    "oid",
    "regclass",
    "regtype",
    "text",
    "timestamptz",
    "uuid",
    "varchar",
];

fn arguments_of(function: &Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Vec::new();
    };
    let values = list.args.iter().filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
        _ => None,
    });
    values.collect()
}

/// `f(days => 10)` as `f(0, 0, 0, 10)`.
fn positional(function: &mut Function, parameters: &[&str]) {
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    let mut values: Vec<FunctionArg> = Vec::with_capacity(parameters.len());
    for (at, argument) in list.args.drain(..).enumerate() {
        let (at, value) = match argument {
            FunctionArg::Named { name, arg, .. } => (place(parameters, &name), arg),
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg,
                ..
            } => (place(parameters, &name), arg),
            FunctionArg::Unnamed(value) => (at, value),
            FunctionArg::ExprNamed { arg, .. } => (at, arg),
        };
        while values.len() <= at {
            values.push(syntax::argument(syntax::number(0)));
        }
        values[at] = FunctionArg::Unnamed(value);
    }
    list.args = values;
}

/// The place of a parameter; one that there isn't comes behind all of them, where there is no such function.
fn place(parameters: &[&str], name: &Ident) -> usize {
    let name = folded(name);
    let mut known = parameters.iter();
    known
        .position(|known| *known == name)
        .unwrap_or(parameters.len())
}

fn empty_query() -> Query {
    // Only ever looked at when our own syntax could not be read, which a test would show.
    syntax::parsed("SELECT 1").unwrap_or_else(|| Query {
        with: None,
        body: Box::new(datafusion::sql::sqlparser::ast::SetExpr::Values(
            datafusion::sql::sqlparser::ast::Values {
                explicit_row: false,
                value_keyword: false,
                rows: Vec::new(),
            },
        )),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    })
}

/// The texts among a function's arguments as what stands beside them.
fn read_texts(function: &mut Function) {
    let values = arguments_of(function).into_iter();
    let mut others = values.filter(|value| !matches!(value, Expr::Value(_)));
    let Some(beside) = others.next().cloned() else {
        return;
    };
    let FunctionArguments::List(list) = &mut function.args else {
        return;
    };
    for argument in &mut list.args {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument
            && is_text(value)
        {
            *value = syntax::call("pg_read_as", vec![syntax::take(value), beside.clone()]);
        }
    }
}

/// Whether a value is a text of the statement, or a parameter, which may be one.
fn is_text(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::Placeholder(_)))
}

/// `'{}'`, which beside an array is one.
fn is_array_text(value: &Expr) -> bool {
    let Expr::Value(value) = value else {
        return false;
    };
    matches!(&value.value, Value::SingleQuotedString(text) if text.starts_with('{') && text.ends_with('}'))
}

/// What DataFusion calls a function of Postgres.
fn renamed(name: &str) -> Option<&'static str> {
    Some(match name {
        "variance" => "var_samp",
        "every" => "bool_and",
        "gen_random_uuid" => "uuid",
        "char_length" | "character_length" | "length" => "pg_length",
        "array_cat" => "pg_concat_op",
        "array_remove" => "array_remove_all",
        "array_replace" => "array_replace_all",
        // What reads a type's texts casts them.
        "regclassin" => "cast_as_regclass",
        "regprocin" => "cast_as_regproc",
        "regprocedurein" => "cast_as_regprocedure",
        "regtypein" => "cast_as_regtype",
        _ => return None,
    })
}

/// The fields of a row that is written as one: `(1, 2)`, `ROW(1, 2)`.
pub fn row(expression: &Expr) -> Option<Vec<Expr>> {
    match expression {
        Expr::Tuple(fields) => Some(fields.clone()),
        Expr::Nested(inner) => row(inner),
        Expr::Function(function)
            if matches!(last_name(&function.name).as_str(), "row" | "pg_row") =>
        {
            Some(arguments_of(function).into_iter().cloned().collect())
        }
        _ => None,
    }
}

/// Rows are equal where all of their fields are, and one is less where it is in the first field that isn't equal; with the three
/// values of SQL's logic.
pub fn rows_compared(left: Vec<Expr>, op: &BinaryOperator, right: Vec<Expr>) -> Expr {
    let strict = match op {
        BinaryOperator::Lt | BinaryOperator::LtEq => Some(BinaryOperator::Lt),
        BinaryOperator::Gt | BinaryOperator::GtEq => Some(BinaryOperator::Gt),
        _ => None,
    };
    if let Some(strict) = strict {
        return rows_ordered(&left, op, &strict, &right);
    }
    let all = match op {
        BinaryOperator::NotEq => BinaryOperator::Or,
        _ => BinaryOperator::And,
    };
    let fields = left.into_iter().zip(right).map(|(left, right)| {
        let mut compared = Expr::BinaryOp {
            left: Box::new(left),
            op: op.clone(),
            right: Box::new(right),
        };
        // A row in a row.
        binary(&mut compared);
        compared
    });
    joined(fields, &all)
}

/// `(a, b) < (c, d)` as `a < c OR a = c AND b < d`; the last fields are compared by the operator itself.
fn rows_ordered(
    left: &[Expr],
    op: &BinaryOperator,
    strict: &BinaryOperator,
    right: &[Expr],
) -> Expr {
    let compared = |left: &Expr, op: &BinaryOperator, right: &Expr| {
        let mut compared = Expr::BinaryOp {
            left: Box::new(left.clone()),
            op: op.clone(),
            right: Box::new(right.clone()),
        };
        // A row in a row.
        binary(&mut compared);
        compared
    };
    let mut fields = left.iter().zip(right).rev();
    let last = fields.next().map(|(left, right)| compared(left, op, right));
    let whole = fields.fold(last, |rest, (left, right)| {
        let goes_on = [Some(compared(left, &BinaryOperator::Eq, right)), rest];
        let goes_on = joined(goes_on.into_iter().flatten(), &BinaryOperator::And);
        let either = [compared(left, strict, right), goes_on];
        Some(joined(either.into_iter(), &BinaryOperator::Or))
    });
    whole.unwrap_or_else(|| Expr::value(Value::Boolean(false)))
}

/// A row is NULL where all of its fields are, and NOT NULL where none of them is.
fn rows_null(fields: Vec<Expr>, null: bool) -> Expr {
    let fields = fields.into_iter().map(|field| match null {
        true => Expr::IsNull(Box::new(field)),
        false => Expr::IsNotNull(Box::new(field)),
    });
    joined(fields, &BinaryOperator::And)
}

fn joined(conditions: impl Iterator<Item = Expr>, op: &BinaryOperator) -> Expr {
    let all = conditions.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: op.clone(),
        right: Box::new(right),
    });
    all.map_or_else(
        || Expr::value(Value::Boolean(true)),
        |all| Expr::Nested(Box::new(all)),
    )
}

fn binary(expression: &mut Expr) {
    let Expr::BinaryOp { left, op, right } = expression else {
        return;
    };
    if let BinaryOperator::PGCustomBinaryOperator(parts) = &*op
        && let Some(plain) = parts.last().and_then(|symbol| operator(symbol))
    {
        *op = plain;
    }
    use BinaryOperator as O;
    if matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq)
        && let (Some(left), Some(right)) = (row(left), row(right))
        && left.len() == right.len()
    {
        *expression = rows_compared(left, op, right);
        return;
    }
    let searched = match op {
        O::PGRegexMatch => Some((false, false)),
        O::PGRegexIMatch => Some((true, false)),
        O::PGRegexNotMatch => Some((false, true)),
        O::PGRegexNotIMatch => Some((true, true)),
        _ => None,
    };
    if let Some((fold, negated)) = searched {
        // What means the same to DataFusion may become a `LIKE`, or go to another server.
        let is_the_same = matches!(right.as_ref(), Expr::Value(value)
            if matches!(&value.value, Value::SingleQuotedString(text) if regex::is_the_same(text)));
        if !is_the_same || fold {
            let name = if fold { "pg_regex_fold" } else { "pg_regex" };
            let operands = vec![text_operand(left), text_operand(right)];
            *expression = maybe_not(syntax::call(name, operands), negated);
        }
        return;
    }
    if matches!(op, O::Overlaps)
        && let (Expr::Tuple(left), Expr::Tuple(right)) = (left.as_ref(), right.as_ref())
        && let ([_, _], [_, _]) = (left.as_slice(), right.as_slice())
    {
        let ends = left.iter().chain(right).cloned().collect();
        *expression = syntax::call("pg_overlaps", ends);
        return;
    }
    if matches!(op, O::StringConcat) {
        // A text beside an array is one of its elements, a literal such as '{a,b}' an array.
        match (left.as_mut(), right.as_mut()) {
            (literal, other) | (other, literal)
                if is_array_text(literal) && !matches!(other, Expr::Value(_)) =>
            {
                *literal = syntax::call("pg_read_as", vec![syntax::take(literal), other.clone()]);
            }
            _ => {}
        }
    }
    let name = match op {
        O::PGExp => "pg_power",
        O::Plus => "pg_plus",
        O::Minus => "pg_minus",
        O::Multiply => "pg_times",
        O::Divide => "pg_over",
        O::Modulo => "pg_mod",
        O::Arrow => "pg_json_get",
        O::LongArrow => "pg_json_get_text",
        O::HashArrow => "pg_json_path",
        O::HashLongArrow => "pg_json_path_text",
        O::AtArrow => "pg_contains",
        O::ArrowAt => "pg_contained",
        O::PGOverlap => "pg_overlap",
        O::Question => "pg_json_exists",
        O::QuestionPipe => "pg_json_exists_any",
        O::QuestionAnd => "pg_json_exists_all",
        O::HashMinus => "pg_json_without_path",
        O::StringConcat => "pg_concat_op",
        O::PGStartsWith => "starts_with",
        _ => return,
    };
    *expression = chains::linked(name, syntax::take(left), syntax::take(right));
}

/// An operand that is a text; a parameter is one.
fn text_operand(operand: &mut Expr) -> Expr {
    let operand = syntax::take(operand);
    match &operand {
        Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => Expr::Cast {
            kind: CastKind::DoubleColon,
            expr: Box::new(operand),
            data_type: datafusion::sql::sqlparser::ast::DataType::Text,
            array: false,
            format: None,
        },
        _ => operand,
    }
}

/// The operator of that symbol, where it was written as `OPERATOR(pg_catalog.~)`.
fn operator(symbol: &str) -> Option<BinaryOperator> {
    use BinaryOperator as O;
    Some(match symbol {
        "=" => O::Eq,
        "<>" | "!=" => O::NotEq,
        "<" => O::Lt,
        ">" => O::Gt,
        "<=" => O::LtEq,
        ">=" => O::GtEq,
        "+" => O::Plus,
        "-" => O::Minus,
        "*" => O::Multiply,
        "/" => O::Divide,
        "%" => O::Modulo,
        "||" => O::StringConcat,
        "~" => O::PGRegexMatch,
        "~*" => O::PGRegexIMatch,
        "!~" => O::PGRegexNotMatch,
        "!~*" => O::PGRegexNotIMatch,
        "~~" => O::PGLikeMatch,
        "~~*" => O::PGILikeMatch,
        "!~~" => O::PGNotLikeMatch,
        "!~~*" => O::PGNotILikeMatch,
        "@>" => O::AtArrow,
        "<@" => O::ArrowAt,
        "&&" => O::PGOverlap,
        _ => return None,
    })
}

fn unary(expression: &mut Expr) {
    let Expr::UnaryOp { op, expr } = expression else {
        return;
    };
    if matches!(op, UnaryOperator::Minus) && matches!(expr.as_ref(), Expr::Interval(_)) {
        // DataFusion would negate the first of its parts.
        let minus = Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: Box::new(syntax::number(1)),
        };
        *expression = syntax::call("pg_times", vec![syntax::take(expr), minus]);
        return;
    }
    let name = match op {
        UnaryOperator::BitwiseNot => "pg_bitwise_not",
        UnaryOperator::PGSquareRoot => "pg_sqrt",
        UnaryOperator::PGCubeRoot => "cbrt",
        UnaryOperator::PGAbs => "pg_abs",
        // DataFusion doesn't look whether there is such a number.
        UnaryOperator::Minus if !is_constant(expr) => "pg_negate",
        _ => return,
    };
    *expression = syntax::call(name, vec![syntax::take(expr)]);
}

/// Whether an expression is a value of the statement, which may be cast and have signs.
fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Value(_) | Expr::Interval(_) => true,
        Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Cast { expr: inner, .. } => is_constant(inner),
        Expr::Function(function) if last_name(&function.name).starts_with("cast_as_") => {
            arguments_of(function)
                .first()
                .is_some_and(|value| is_constant(value))
        }
        _ => false,
    }
}

/// `x = ANY (array)` with the three values of SQL's logic; over a query it is an `IN`.
fn any_or_all(expression: &mut Expr) {
    let (left, op, right, all) = match expression {
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => (left, compare_op, right, false),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => (left, compare_op, right, true),
        _ => return,
    };
    if let BinaryOperator::PGCustomBinaryOperator(parts) = &*op
        && let Some(plain) = parts.last().and_then(|symbol| operator(symbol))
    {
        *op = plain;
    }
    let mut inner = right.as_mut();
    while let Expr::Nested(nested) = inner {
        inner = nested.as_mut();
    }
    if let Expr::Subquery(query) = inner
        && !is_array(query)
    {
        let negated = match (&op, all) {
            (BinaryOperator::Eq, false) => false,
            (BinaryOperator::NotEq, true) => true,
            _ => return,
        };
        let subquery = Box::new(std::mem::replace(query.as_mut(), empty_query()));
        let expr = Box::new(syntax::take(left));
        *expression = Expr::InSubquery {
            expr,
            subquery,
            negated,
        };
        return;
    }
    let name = if all { "pg_all" } else { "pg_any" };
    let symbol = syntax::text(&op.to_string());
    *expression = syntax::call(name, vec![symbol, syntax::take(left), syntax::take(right)]);
}

/// Subscripts and fields: `a[1]`, `a[2:3]`, `(r).n`.
fn access(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else {
        return;
    };
    let mut value = syntax::take(root);
    // `t.a[1]` is read as a field of `t`: it is a column of a table.
    let mut steps = access_chain.drain(..).peekable();
    if let Expr::Identifier(table) = &value {
        let mut parts = vec![table.clone()];
        while let Some(AccessExpr::Dot(Expr::Identifier(_))) = steps.peek() {
            if let Some(AccessExpr::Dot(Expr::Identifier(part))) = steps.next() {
                parts.push(part);
            }
        }
        if parts.len() > 1 {
            value = Expr::CompoundIdentifier(parts);
        }
    }
    for step in steps {
        value = match step {
            AccessExpr::Dot(Expr::Identifier(name)) => field(value, &folded(&name)),
            AccessExpr::Subscript(Subscript::Index { index }) => match &index {
                Expr::Value(literal) if matches!(literal.value, Value::SingleQuotedString(_)) => {
                    syntax::call("get_field", vec![value, index])
                }
                _ => subscripted(value, index),
            },
            AccessExpr::Subscript(Subscript::Slice {
                lower_bound,
                upper_bound,
                ..
            }) => {
                let null = || Expr::value(Value::Null);
                let bounds = [
                    lower_bound.unwrap_or_else(null),
                    upper_bound.unwrap_or_else(null),
                ];
                syntax::call("pg_slice", std::iter::once(value).chain(bounds).collect())
            }
            AccessExpr::Dot(_) => value,
        };
    }
    *expression = value;
}

/// `a[2][1]` is one call with both subscripts.
fn subscripted(mut value: Expr, index: Expr) -> Expr {
    if let Expr::Function(function) = &mut value
        && last_name(&function.name) == "pg_subscript"
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(syntax::argument(index));
        return value;
    }
    syntax::call("pg_subscript", vec![value, index])
}

fn field(value: Expr, name: &str) -> Expr {
    let inner = match value {
        Expr::Nested(inner) => *inner,
        other => other,
    };
    syntax::call("get_field", vec![inner, syntax::text(name)])
}

fn system_column(found: Option<Expr>, expression: &mut Expr) {
    if let Some(found) = found {
        *expression = found;
    }
}
