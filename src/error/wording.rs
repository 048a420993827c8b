//! What DataFusion says, in PostgreSQL's words and with its SQLSTATE.
//!
//! DataFusion has one variant for most faults of planning, so that their kind shows only in the text. Each pattern is
//! DataFusion 55's or Arrow 59's. What none of them fits keeps its text, with types called as in SQL.

use super::type_names::{leading_type, listed, operation_in, two_types, with_sql_types};
use super::{Fault, between, lower_first};
use crate::postgres::types;

/// A fault, and what a user is told of it.
type Said = (Fault, String);

/// What stands before the text of an error inside of another one.
const PREFIXES: [&str; 12] = [
    "Error during planning: ",
    "Execution error: ",
    "Arrow error: ",
    "Cast error: ",
    "Parser error: ",
    "Compute error: ",
    "Schema error: ",
    "External error: ",
    "Invalid argument error: ",
    "This feature is not implemented: ",
    "Optimizer rule 'type_coercion' failed: ",
    "type_coercion caused by ",
];

/// What stands before two types and an operator between them that doesn't take them.
const OPERATIONS: [&str; 15] = [
    "argument type for comparison operation ",
    "argument type for regex operation ",
    "argument type for AtAt operation ",
    "argument type for operation ",
    "common type for bitwise operation ",
    "string type for string concat operation ",
    "result type for arithmetic operation ",
    "result type for temporal operation ",
    "result type for decimal operation ",
    "Cannot coerce arithmetic expression ",
    "Invalid arithmetic operation: ",
    "Invalid timestamp arithmetic operation: ",
    "Invalid interval arithmetic operation: ",
    "Invalid date arithmetic operation: ",
    "Invalid comparison operation: ",
];

/// Operators that are functions of ours.
const OPERATORS: [(&str, &str); 5] = [
    ("pg_plus", "+"),
    ("pg_minus", "-"),
    ("pg_times", "*"),
    ("pg_over", "/"),
    ("pg_mod", "%"),
];

/// Functions that are called without OVER by mistake only.
const WINDOW_FUNCTIONS: [&str; 8] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
];

/// What an error says, where it is a fault that PostgreSQL has words for.
pub(super) fn said(message: &str) -> Option<Said> {
    let message = without_prefixes(message);
    let line = message.lines().next().unwrap_or_default();
    of_call(message)
        .or_else(|| of_grouping(line))
        .or_else(|| of_operation(line))
        .or_else(|| of_types(line))
        .or_else(|| of_condition(line))
        .or_else(|| of_columns(line))
        .or_else(|| of_window(line))
        .or_else(|| of_parameter(line))
        .or_else(|| of_value(line))
        .or_else(|| of_arguments(line))
}

/// What an error says about something that there isn't here, and what to write instead.
pub(super) fn unsupported(message: &str) -> Option<(String, Option<String>)> {
    let message = without_prefixes(message);
    let line = message.lines().next().unwrap_or_default();
    let subquery = [
        "Correlated scalar subquery ",
        "In/Exist/SetComparison subquery can only be used in ",
        "Accessing outer reference columns is not allowed in the plan",
        "A GROUP BY clause in a scalar correlated subquery ",
        "Window expressions should not contain a mixed of outer references",
        "Physical plan does not support logical expression InSubquery",
        "Physical plan does not support logical expression Exists",
        "Physical plan does not support logical expression ScalarSubquery",
        "Physical plan does not support logical expression SetComparison",
        "Physical plan does not support logical expression OuterReferenceColumn",
    ];
    if subquery.iter().any(|start| line.starts_with(start)) {
        let hint = "Write it as a join, or as a query in WITH that is joined.";
        return Some((
            "a subquery that depends on the row outside of it is not supported here".to_owned(),
            Some(hint.to_owned()),
        ));
    }
    let written = [
        "Physical plan does not support logical expression ",
        "Unsupported ast node in sqltorel: ",
        "Unsupported Value '",
        "Unsupported interval argument. Expected string literal or number, got: ",
    ];
    let written = written.iter().find_map(|start| line.strip_prefix(start))?;
    // What follows is the expression as the program keeps it; its first word is what kind of thing it is.
    let kind = written
        .split(|character: char| !character.is_alphanumeric())
        .next()
        .unwrap_or_default();
    Some((
        format!("an expression of this kind ({kind}) is not supported here"),
        None,
    ))
}

/// The text of an error that is told as it is.
pub(super) fn plain(message: &str) -> String {
    let message = without_prefixes(message);
    let line = message.lines().next().unwrap_or_default();
    // `LIMIT must …` begins with a word of SQL.
    let is_word = line.chars().nth(1).is_some_and(char::is_lowercase);
    let called = with_sql_types(line);
    match is_word {
        true => lower_first(&called),
        false => called,
    }
}

fn without_prefixes(message: &str) -> &str {
    let mut message = message;
    while let Some(rest) = PREFIXES
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
    {
        message = rest;
    }
    message
}

/// A call with arguments that no function of its name takes.
fn of_call(message: &str) -> Option<Said> {
    let start = "given name and argument types '";
    let (name, arguments) = match between(message, start, "'. You might need") {
        Some(call) => call.strip_suffix(')')?.split_once('(')?,
        None => {
            let (_, rest) = message.split_once("to satisfy a call to '")?;
            let (name, rest) = rest.split_once("' function: coercion from ")?;
            (name, rest.split_once(" to the signature ")?.0)
        }
    };
    let given = listed(arguments);
    if let (Some(kind), [from, ..]) = (name.strip_prefix("cast_as_"), given.as_slice()) {
        let message = format!("cannot cast type {from} to {}", types::sql_name(kind, -1));
        return Some((Fault::CannotCoerce, message));
    }
    let operator = OPERATORS.iter().find(|(known, _)| *known == name);
    if let (Some((_, operator)), [left, right]) = (operator, given.as_slice()) {
        return Some(no_operator(left, operator, right));
    }
    let several = match name {
        "make_array" => Some("ARRAY"),
        "coalesce" => Some("COALESCE"),
        "greatest" => Some("GREATEST"),
        "least" => Some("LEAST"),
        _ => None,
    };
    if let Some(several) = several
        && let Some((one, other)) = differing(&given)
    {
        return Some(unmatched(several, one, other));
    }
    let name = called(name);
    let message = format!("function {name}({}) does not exist", given.join(", "));
    Some((Fault::UndefinedFunction, message))
}

/// What a user calls a function of ours that stands for one of DataFusion's.
fn called(name: &str) -> &str {
    match name {
        "pg_sum" | "pg_avg" | "pg_array_agg" => name.trim_start_matches("pg_"),
        other => other,
    }
}

/// Calls whose arguments a function doesn't say the types of, and fields of what has none.
fn of_arguments(line: &str) -> Option<Said> {
    if let Some(name) = between(line, "[return_type] ", " not supported for Null") {
        let message = format!("function {}() does not exist", name.to_lowercase());
        return Some((Fault::UndefinedFunction, message));
    }
    if line.starts_with("unnest() can only be applied to array") {
        let message = "function unnest() does not exist for what is no array";
        return Some((Fault::UndefinedFunction, message.to_owned()));
    }
    if line.starts_with("NTILE requires a positive integer") {
        let message = "argument of ntile must be greater than zero";
        return Some((Fault::InvalidTiles, message.to_owned()));
    }
    if line.eq_ignore_ascii_case("step cannot be zero") {
        let message = "step size cannot equal zero";
        return Some((Fault::InvalidArgument, message.to_owned()));
    }
    let rest = line.strip_prefix("Cannot access field at argument ")?;
    let (_, rest) = rest.split_once(": type ")?;
    let kind = leading_type(rest)?.0;
    let message = format!("column notation applied to type {kind}, which is not a composite type");
    Some((Fault::WrongObjectType, message))
}

/// Columns outside of GROUP BY, and calls of aggregates where there can be none.
fn of_grouping(line: &str) -> Option<Said> {
    let outside = |column: &str| {
        let message = format!(
            "column \"{column}\" must appear in the GROUP BY clause or be used in an aggregate function"
        );
        (Fault::Grouping, message)
    };
    if let Some(column) = between(
        line,
        "While expanding wildcard, column \"",
        "\" must appear in the GROUP BY",
    ) {
        return Some(outside(column));
    }
    if let Some(condition) = between(
        line,
        "HAVING clause references: ",
        " must appear in the GROUP BY clause",
    ) {
        // What is named is the whole condition; its column isn't known.
        return Some(match condition.contains(' ') {
            true => (
                Fault::Grouping,
                "a column in HAVING must appear in the GROUP BY clause or be used in an aggregate function".to_owned(),
            ),
            false => outside(condition),
        });
    }
    let (fault, message) = if line.starts_with("Aggregate functions are not allowed in the WHERE") {
        (
            Fault::Grouping,
            "aggregate functions are not allowed in WHERE",
        )
    } else if line.starts_with("Aggregate function calls cannot be nested") {
        (Fault::Grouping, "aggregate function calls cannot be nested")
    } else if line.starts_with("Aggregate function calls cannot contain window") {
        (
            Fault::Grouping,
            "aggregate function calls cannot contain window function calls",
        )
    } else if line.starts_with("Window function calls cannot be nested") {
        (Fault::Windowing, "window function calls cannot be nested")
    } else if line.contains(" to grouping function is not in grouping columns ") {
        (
            Fault::Grouping,
            "arguments to GROUPING must be grouping expressions of the associated query level",
        )
    } else {
        return None;
    };
    Some((fault, message.to_owned()))
}

/// An operator between values of types that it doesn't take.
fn of_operation(line: &str) -> Option<Said> {
    if let Some((_, operation)) = line.split_once("type for logical boolean operation ") {
        let (left, operator, right) = operation_in(operation)?;
        let other = if left == "boolean" { right } else { left };
        return Some(no_condition(operator, &other));
    }
    let operation = OPERATIONS
        .iter()
        .find_map(|start| line.split_once(start))
        .map(|(_, operation)| operation);
    if let Some((left, operator, right)) = operation.and_then(operation_in) {
        return Some(no_operator(&left, operator, &right));
    }
    if let Some(rest) = line.strip_prefix("There isn't a common type to coerce ") {
        let (left, right, rest) = two_types(rest, " and ")?;
        let operator = rest.strip_prefix(" in ")?.strip_suffix(" expression")?;
        return Some(no_operator(&left, operator, &right));
    }
    if let Some(rest) = line.strip_prefix("expr type ") {
        let (left, right, rest) = two_types(rest, " can't cast to ")?;
        return rest
            .starts_with(" in ")
            .then(|| no_operator(&left, "=", &right));
    }
    if let Some(rest) = line.strip_prefix("Can not find compatible types to compare ") {
        let (left, right, _) = two_types(rest, " with [")?;
        return Some(no_operator(&left, "=", &right));
    }
    if let Some(rest) = line.strip_prefix("Failed to coerce case (") {
        let (left, right, _) = two_types(rest, ") and when (")?;
        return Some(no_operator(&left, "=", &right));
    }
    let sign = if line.starts_with("Unary operator '-'") || line.starts_with("Negation only") {
        '-'
    } else if line.starts_with("Unary operator '+'") {
        '+'
    } else {
        return None;
    };
    let message = format!("operator does not exist: {sign} of a value of this type");
    Some((Fault::UndefinedOperator, message))
}

/// Values of types that have none in common, and casts that there aren't.
fn of_types(line: &str) -> Option<Said> {
    if let Some(rest) = line.strip_prefix("Failed to coerce then (") {
        let (results, rest) = rest.split_once(") and else (")?;
        let otherwise = leading_type(rest).map(|(name, _)| name);
        // Postgres looks at ELSE first.
        let kinds: Vec<String> = otherwise.into_iter().chain(listed(results)).collect();
        let (one, other) = differing(&kinds)?;
        return Some(unmatched("CASE", one, other));
    }
    if let Some((_, rest)) = line.split_once("Previous inputs were of type ") {
        let (one, other, _) = two_types(rest, ", but got incompatible type ")?;
        return Some(unmatched("UNION", &one, &other));
    }
    if let Some((_, rest)) = line.split_once("Inconsistent data type across values list ") {
        let (_, rest) = rest.split_once("Was ")?;
        let (one, other, _) = two_types(rest, " but found ")?;
        return Some(unmatched("VALUES", &one, &other));
    }
    let cast = [
        "Unsupported CAST from ",
        "Unsupported TRY_CAST from ",
        "Casting from ",
        "Casting from type ",
        "Cannot automatically convert ",
    ];
    let (from, to, _) = cast
        .iter()
        .filter_map(|start| line.strip_prefix(start))
        .find_map(|rest| two_types(rest, " to "))?;
    let message = format!("cannot cast type {from} to {to}");
    Some((Fault::CannotCoerce, message))
}

/// What isn't a condition, or isn't a number of rows.
fn of_condition(line: &str) -> Option<Said> {
    if line.starts_with("Cannot create filter with non-boolean predicate ") {
        let (_, kind) = line.rsplit_once(" returning ")?;
        return Some(no_condition("WHERE", &leading_type(kind)?.0));
    }
    if let Some((place, kind)) = line.split_once(" must be boolean type, but got ") {
        let place = match place {
            "Join condition" => "JOIN/ON",
            "MERGE ON condition" => "ON",
            "MERGE WHEN condition" => "WHEN",
            other => other,
        };
        return Some(no_condition(place, &leading_type(kind)?.0));
    }
    if let Some((_, kind)) = line.split_once("'NOT' requires a boolean expression, got ") {
        return Some(no_condition("NOT", &leading_type(kind)?.0));
    }
    let (clause, kind) = line
        .strip_prefix("Expected ")?
        .split_once(" to be an integer or null, but got ")?;
    let kind = leading_type(kind)?.0;
    let message = format!("argument of {clause} must be type bigint, not type {kind}");
    Some((Fault::DatatypeMismatch, message))
}

/// More or fewer columns than there have to be, and places that no column has.
fn of_columns(line: &str) -> Option<Said> {
    let said = |fault, message: &str| Some((fault, message.to_owned()));
    let position = |clause: &str, place: &str| {
        let message = format!("{clause} position {place} is not in select list");
        Some((Fault::InvalidColumnReference, message))
    };
    if let Some(rest) = line.strip_prefix("Order by column out of bounds, specified: ") {
        return position("ORDER BY", rest.split_once(',')?.0);
    }
    if line.starts_with("Order by index starts at 1 ") {
        return position("ORDER BY", "0");
    }
    if let Some(place) = between(
        line,
        "Cannot find column with position ",
        " in SELECT clause",
    ) {
        return position("GROUP BY", place);
    }
    if line.starts_with("For SELECT DISTINCT, ORDER BY expressions ") {
        return said(
            Fault::InvalidColumnReference,
            "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
        );
    }
    if let Some((operation, _)) = line.split_once(" queries have different number of columns") {
        let message = format!("each {operation} query must have the same number of columns");
        return Some((Fault::Syntax, message));
    }
    if line.starts_with("Union schemas have different number of fields")
        || line.starts_with("Non-recursive term and recursive term must have the same number")
    {
        return said(
            Fault::Syntax,
            "each UNION query must have the same number of columns",
        );
    }
    if line.starts_with("INTERSECT/EXCEPT query must have the same number of columns") {
        return said(
            Fault::Syntax,
            "each INTERSECT or EXCEPT query must have the same number of columns",
        );
    }
    if line.starts_with("Inconsistent data length across values list") {
        return said(Fault::Syntax, "VALUES lists must all be the same length");
    }
    if line.starts_with("Too many columns! The subquery should only return one column")
        || line.contains("ubquery should only return one column")
    {
        return said(Fault::Syntax, "subquery must return only one column");
    }
    if line.contains("ubquery returned more than one row") {
        return said(
            Fault::Cardinality,
            "more than one row returned by a subquery used as an expression",
        );
    }
    if line.starts_with("SELECT * with no tables specified is not valid") {
        return said(
            Fault::Syntax,
            "SELECT * with no tables specified is not valid",
        );
    }
    if let Some(rest) = line.strip_prefix("Source table contains ") {
        let (there, rest) = rest.split_once(" columns but only ")?;
        let (given, _) = rest.split_once(" names given as column alias")?;
        let message = format!("table has {there} columns available but {given} columns specified");
        return Some((Fault::InvalidColumnReference, message));
    }
    if let Some(name) = between(line, "WITH query name \"", "\" specified more than once") {
        let message = format!("WITH query name \"{name}\" specified more than once");
        return Some((Fault::DuplicateAlias, message));
    }
    if line.starts_with("LIMIT must be >= 0") {
        return said(Fault::InvalidLimit, "LIMIT must not be negative");
    }
    if line.starts_with("OFFSET must be >=") {
        return said(Fault::InvalidOffset, "OFFSET must not be negative");
    }
    None
}

/// Windows that can't be.
fn of_window(line: &str) -> Option<Said> {
    let said = |fault, message: &str| Some((fault, message.to_owned()));
    if let Some(name) = between(line, "The window ", " is not defined!") {
        let message = format!("window \"{name}\" does not exist");
        return Some((Fault::UndefinedObject, message));
    }
    if let Some(name) = between(line, "The window ", " is defined multiple times!") {
        let message = format!("window \"{name}\" is already defined");
        return Some((Fault::Windowing, message));
    }
    if let Some(name) = line.strip_prefix("There is no window function named ") {
        let message = format!("window function \"{name}\" does not exist");
        return Some((Fault::UndefinedFunction, message));
    }
    if let Some(name) = between(line, "Invalid function '", "'")
        && WINDOW_FUNCTIONS.contains(&name)
    {
        let message = format!("window function {name} requires an OVER clause");
        return Some((Fault::WrongObjectType, message));
    }
    if line.starts_with("Aggregate ORDER BY is not implemented for window functions") {
        return said(
            Fault::Unsupported,
            "aggregate ORDER BY is not implemented for window functions",
        );
    }
    if line.starts_with("FILTER clause can only be used with aggregate window functions") {
        return said(
            Fault::Unsupported,
            "FILTER is not implemented for non-aggregate window functions",
        );
    }
    if line.starts_with("RANGE requires exactly one ORDER BY column") {
        return said(
            Fault::Windowing,
            "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column",
        );
    }
    if line.starts_with("GROUPS requires an ORDER BY clause") {
        return said(Fault::Windowing, "GROUPS mode requires an ORDER BY clause");
    }
    let frame = line.strip_prefix("Invalid window frame: ")?;
    if frame.starts_with("start bound cannot be UNBOUNDED FOLLOWING") {
        return said(
            Fault::Windowing,
            "frame start cannot be UNBOUNDED FOLLOWING",
        );
    }
    if frame.starts_with("end bound cannot be UNBOUNDED PRECEDING") {
        return said(Fault::Windowing, "frame end cannot be UNBOUNDED PRECEDING");
    }
    if frame.starts_with("frame offsets for ROWS / GROUPS must be non negative") {
        return said(
            Fault::InvalidFrame,
            "a frame's offset must not be negative, and must be a whole number",
        );
    }
    Some((
        Fault::Windowing,
        format!("invalid window frame: {}", with_sql_types(frame)),
    ))
}

/// Parameters that there aren't.
fn of_parameter(line: &str) -> Option<Said> {
    let id = line
        .strip_prefix("No value found for placeholder with id ")
        .or_else(|| line.strip_prefix("No value found for placeholder with name "))
        .or_else(|| line.strip_prefix("Invalid placeholder, zero is not a valid index: "))
        .or_else(|| line.strip_prefix("Unknown placeholder: "))
        .or_else(|| between(line, "Placeholder '", "' was not provided a value"))?;
    let message = format!("there is no parameter ${}", id.trim_start_matches('$'));
    Some((Fault::UndefinedParameter, message))
}

/// Texts that aren't what they are read as, and numbers and times that don't fit.
fn of_value(line: &str) -> Option<Said> {
    let said = |fault, message: &str| Some((fault, message.to_owned()));
    let unread = |kind: &str, text: &str| {
        let fault = match kind {
            "date" => Fault::InvalidDatetime,
            kind if kind.starts_with("time") || kind == "interval" => Fault::InvalidDatetime,
            _ => Fault::InvalidText,
        };
        // Types of times go without their zone here, as in Postgres.
        let kind = match kind {
            "timestamp without time zone" => "timestamp",
            "time without time zone" => "time",
            kind => kind,
        };
        let message = format!("invalid input syntax for type {kind}: \"{text}\"");
        Some((fault, message))
    };
    let cast = line
        .strip_prefix("Cannot cast string '")
        .or_else(|| line.strip_prefix("Cannot cast value '"));
    if let Some(rest) = cast {
        let (text, kind) = rest.rsplit_once("' to value of ")?;
        return unread(&leading_type(kind)?.0, text);
    }
    if let Some(rest) = line.strip_prefix("Error parsing timestamp from '") {
        return unread("timestamp", rest.rsplit_once("': ")?.0);
    }
    if let Some(text) = between(line, "can't parse the string value ", " to decimal") {
        return unread("numeric", text);
    }
    if let Some(text) = between(line, "Failed to parse '", "' as time") {
        return unread("time", text);
    }
    if let Some(text) = between(line, "Invalid input syntax for type interval: \"", "\"") {
        return unread("interval", text);
    }
    if line.contains(" too large to store in a Decimal")
        || line.contains(" too small to store in a Decimal")
        || line.starts_with("parse decimal overflow")
        || (line.starts_with("Cannot cast to Decimal") && line.contains("verflow"))
    {
        return said(Fault::OutOfRange, "numeric field overflow");
    }
    if line.starts_with("Overflow converting ") || line == "Timestamp out of range" {
        return said(Fault::DatetimeOverflow, "timestamp out of range");
    }
    if line.starts_with("Unable to represent ") {
        return said(Fault::DatetimeOverflow, "interval out of range");
    }
    if line.starts_with("Overflow happened on: ") {
        return said(Fault::OutOfRange, "value out of range");
    }
    if line.to_lowercase().starts_with("divide by zero") {
        return said(Fault::DivisionByZero, "division by zero");
    }
    None
}

fn no_operator(left: &str, operator: &str, right: &str) -> Said {
    let operator = match operator {
        "!=" => "<>",
        "==" | "IS DISTINCT FROM" | "IS NOT DISTINCT FROM" => "=",
        "LIKE" => "~~",
        "NOT LIKE" => "!~~",
        "ILIKE" => "~~*",
        "NOT ILIKE" => "!~~*",
        "SIMILAR TO" => "~",
        other => other,
    };
    let message = format!("operator does not exist: {left} {operator} {right}");
    (Fault::UndefinedOperator, message)
}

fn no_condition(place: &str, kind: &str) -> Said {
    let message = format!("argument of {place} must be type boolean, not type {kind}");
    (Fault::DatatypeMismatch, message)
}

fn unmatched(place: &str, one: &str, other: &str) -> Said {
    let message = format!("{place} types {one} and {other} cannot be matched");
    (Fault::DatatypeMismatch, message)
}

/// The first of types, and the next that is another; what has no type of its own is none.
fn differing(kinds: &[String]) -> Option<(&str, &str)> {
    let mut known = kinds
        .iter()
        .map(String::as_str)
        .filter(|kind| *kind != "unknown");
    let first = known.next()?;
    let other = known.find(|kind| *kind != first)?;
    Some((first, other))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::error::DataFusionError;

    use super::super::Error;
    use super::*;

    /// Expected: PostgreSQL 15.18, asked for the same fault of integers, texts and the like.
    #[test]
    fn faults_of_planning_are_told_as_postgres_tells_them() {
        for (engine, code, expected) in [
            (
                "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"t.id\" must appear in the GROUP BY clause or must be part of an aggregate function, currently only \"t.name\" appears in the SELECT clause satisfies this requirement",
                "42803",
                "column \"t.id\" must appear in the GROUP BY clause or be used in an aggregate function",
            ),
            (
                "Aggregate functions are not allowed in the WHERE clause. Consider using HAVING instead",
                "42803",
                "aggregate functions are not allowed in WHERE",
            ),
            (
                "Aggregate function calls cannot be nested: 'count(*)' is nested inside 'sum(count(*))'",
                "42803",
                "aggregate function calls cannot be nested",
            ),
            (
                "Cannot create filter with non-boolean predicate 'Int32(1)' returning Int32",
                "42804",
                "argument of WHERE must be type boolean, not type integer",
            ),
            (
                "Join condition must be boolean type, but got Int32",
                "42804",
                "argument of JOIN/ON must be type boolean, not type integer",
            ),
            (
                "Cannot infer common argument type for logical boolean operation Int32 AND Boolean",
                "42804",
                "argument of AND must be type boolean, not type integer",
            ),
            (
                "Failed to coerce then (Int32) and else (Timestamp(µs)) to common types in CASE WHEN expression",
                "42804",
                "CASE types timestamp without time zone and integer cannot be matched",
            ),
            (
                "Failed to coerce case (Int32) and when (Timestamp(µs)) to common types in CASE WHEN expression",
                "42883",
                "operator does not exist: integer = timestamp without time zone",
            ),
            (
                "Incompatible inputs for Union: Previous inputs were of type Int32, but got incompatible type Timestamp(µs) on column 'id'",
                "42804",
                "UNION types integer and timestamp without time zone cannot be matched",
            ),
            (
                "Cannot infer common argument type for comparison operation Date32 >= Int32",
                "42883",
                "operator does not exist: date >= integer",
            ),
            (
                "Cannot infer common argument type for comparison operation Timestamp(ns, \"UTC\") IS DISTINCT FROM List(Int64)",
                "42883",
                "operator does not exist: timestamp with time zone = bigint[]",
            ),
            (
                "There isn't a common type to coerce Int32 and Utf8 in LIKE expression",
                "42883",
                "operator does not exist: integer ~~ text",
            ),
            (
                "expr type Int32 can't cast to Timestamp(µs) in InSubquery",
                "42883",
                "operator does not exist: integer = timestamp without time zone",
            ),
            (
                "Failed to coerce arguments to satisfy a call to 'upper' function: coercion from Utf8, Utf8 to the signature Uniform(1, [Utf8]) failed. No function matches the given name and argument types 'upper(Utf8, Utf8)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tupper(Utf8)",
                "42883",
                "function upper(text, text) does not exist",
            ),
            (
                "Failed to coerce arguments to satisfy a call to 'sum' function: coercion from Utf8View to the signature UserDefined failed",
                "42883",
                "function sum(text) does not exist",
            ),
            (
                "Failed to coerce arguments to satisfy a call to 'make_array' function: coercion from Int32, Date32 to the signature UserDefined failed",
                "42804",
                "ARRAY types integer and date cannot be matched",
            ),
            (
                "Unsupported CAST from Boolean to Date32",
                "42846",
                "cannot cast type boolean to date",
            ),
            (
                "UNION queries have different number of columns",
                "42601",
                "each UNION query must have the same number of columns",
            ),
            (
                "Too many columns! The subquery should only return one column: t.id, t.name",
                "42601",
                "subquery must return only one column",
            ),
            (
                "Inconsistent data length across values list: got 2 values in row 1 but expected 1",
                "42601",
                "VALUES lists must all be the same length",
            ),
            (
                "Order by column out of bounds, specified: 3, max: 1",
                "42P10",
                "ORDER BY position 3 is not in select list",
            ),
            (
                "Cannot find column with position 3 in SELECT clause. Valid columns: 1 to 1",
                "42P10",
                "GROUP BY position 3 is not in select list",
            ),
            (
                "For SELECT DISTINCT, ORDER BY expressions t.id must appear in select list",
                "42P10",
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            ),
            (
                "Expected LIMIT to be an integer or null, but got Timestamp(µs)",
                "42804",
                "argument of LIMIT must be type bigint, not type timestamp without time zone",
            ),
            (
                "WITH query name \"a\" specified more than once",
                "42712",
                "WITH query name \"a\" specified more than once",
            ),
            (
                "The window w is not defined!",
                "42704",
                "window \"w\" does not exist",
            ),
            (
                "Invalid window frame: start bound cannot be UNBOUNDED FOLLOWING",
                "42P20",
                "frame start cannot be UNBOUNDED FOLLOWING",
            ),
            (
                "Invalid function 'rank'.\nDid you mean 'range'?",
                "42809",
                "window function rank requires an OVER clause",
            ),
            (
                "Invalid placeholder, zero is not a valid index: $0",
                "42P02",
                "there is no parameter $0",
            ),
        ] {
            let error = Error::from_engine(&DataFusionError::Plan(engine.to_owned()), "");
            assert_eq!((error.code(), error.to_string().as_str()), (code, expected));
        }
    }

    /// Expected: PostgreSQL 15.18.
    #[test]
    fn faults_of_values_are_told_as_postgres_tells_them() {
        for (engine, code, expected) in [
            (
                "Cannot cast string 'a' to value of Int32 type",
                "22P02",
                "invalid input syntax for type integer: \"a\"",
            ),
            (
                "Error parsing timestamp from 'foo': timestamp must contain at least 10 characters",
                "22007",
                "invalid input syntax for type timestamp: \"foo\"",
            ),
            (
                "123456.00 is too large to store in a Decimal128 of precision 4. Max is 99.99",
                "22003",
                "numeric field overflow",
            ),
            ("Divide by zero error", "22012", "division by zero"),
            (
                "NTILE requires a positive integer",
                "22014",
                "argument of ntile must be greater than zero",
            ),
            (
                "Compute error: Timestamp out of range",
                "22008",
                "timestamp out of range",
            ),
            (
                "[return_type] SUM not supported for Null",
                "42883",
                "function sum() does not exist",
            ),
            (
                "Failed to coerce arguments to satisfy a call to 'pg_sum' function: coercion from Utf8View to the signature UserDefined failed",
                "42883",
                "function sum(text) does not exist",
            ),
        ] {
            let error = Error::from_engine(&DataFusionError::Execution(engine.to_owned()), "");
            assert_eq!((error.code(), error.to_string().as_str()), (code, expected));
        }
    }

    #[test]
    fn what_has_no_other_words_keeps_its_own() {
        assert_eq!(
            plain("Execution error: Cannot read Int8"),
            "cannot read smallint"
        );
    }

    #[test]
    fn what_the_program_calls_an_expression_is_not_told() {
        let error = DataFusionError::NotImplemented(
            "Physical plan does not support logical expression Exists(Exists { subquery: <subquery> })"
                .to_owned(),
        );
        let error = Error::from_engine(&error, "");
        assert_eq!(error.code(), "0A000");
        assert!(!error.to_string().contains("Exists"), "{error}");
        assert!(error.hint().is_some());
    }
}
