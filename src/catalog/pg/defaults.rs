//! Columns' defaults as Postgres shows them: a text with its type, `'new'::text`, and words of SQL in capitals,
//! `CURRENT_DATE`. What isn't read here is shown as it was written.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion_funnel::definition::text::folded;

use super::snapshot::Column;
use crate::postgres::casts::boolean;
use crate::postgres::types;

/// The type of an expression that nothing is known of.
const UNKNOWN: &str = "";

/// Words that are functions without parentheses.
const WORDS: [&str; 11] = [
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "user",
];

/// The default of a column. NULL is none, for that is what a column without one is.
pub fn shown(column: &Column) -> Option<String> {
    let written = column.default.as_ref()?;
    let Some(expression) = parsed(written) else {
        return Some(written.clone());
    };
    if is_null(&expression) {
        return None;
    }
    Some(expression_text(&expression, &column.kind).unwrap_or_else(|| written.clone()))
}

fn parsed(text: &str) -> Option<Expr> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).ok()?;
    let expression = parser.parse_expr().ok()?;
    parser.expect_token(&Token::EOF).ok()?;
    Some(expression)
}

fn is_null(expression: &Expr) -> bool {
    match expression {
        Expr::Value(value) => value.value == Value::Null,
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => is_null(inner),
        _ => false,
    }
}

/// An expression whose texts are of the type `kind`; nothing where it isn't known how Postgres writes it.
fn expression_text(expression: &Expr, kind: &str) -> Option<String> {
    match expression {
        Expr::Nested(inner) => expression_text(inner, kind),
        Expr::Value(value) => literal(&value.value, kind),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(value) => negative(&value.value),
            _ => None,
        },
        Expr::Cast {
            expr, data_type, ..
        } => match expr.as_ref() {
            Expr::Value(value) => {
                let (kind, modifiers) = types::of_sql(data_type)?;
                cast(&value.value, &kind, &modifiers)
            }
            _ => None,
        },
        Expr::TypedString(typed) => {
            let (kind, modifiers) = types::of_sql(&typed.data_type)?;
            cast(&typed.value.value, &kind, &modifiers)
        }
        Expr::Identifier(word) if word.quote_style.is_none() => sql_word(&folded(word)),
        Expr::Function(function) => call(function),
        Expr::AtTimeZone {
            timestamp,
            time_zone,
        } => Some(format!(
            "({} AT TIME ZONE {})",
            expression_text(timestamp, UNKNOWN)?,
            expression_text(time_zone, "text")?
        )),
        Expr::BinaryOp { left, op, right } => Some(format!(
            "({} {op} {})",
            expression_text(left, UNKNOWN)?,
            expression_text(right, UNKNOWN)?
        )),
        _ => None,
    }
}

fn literal(value: &Value, kind: &str) -> Option<String> {
    match value {
        Value::Number(digits, _) => number(digits),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) if kind != UNKNOWN => {
            cast(value, kind, &[])
        }
        _ => None,
    }
}

/// A number that is no integer has its type behind it, unless its point says that it is a numeric.
fn number(digits: &str) -> Option<String> {
    if digits.parse::<i32>().is_ok() || is_decimal(digits) {
        return Some(digits.to_owned());
    }
    match digits.parse::<i64>() {
        Ok(_) => Some(format!("'{digits}'::bigint")),
        Err(_) => digits
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| format!("'{digits}'::numeric")),
    }
}

fn negative(value: &Value) -> Option<String> {
    let Value::Number(digits, _) = value else {
        return None;
    };
    let kind = match digits.parse::<i64>() {
        Ok(number) if i32::try_from(number).is_ok() => "integer",
        Ok(_) => "bigint",
        Err(_) if is_decimal(digits) => "numeric",
        Err(_) => return None,
    };
    Some(format!("'-{digits}'::{kind}"))
}

/// `1.5`
fn is_decimal(text: &str) -> bool {
    let mut parts = text.split('.');
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()))
    };
    is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()
}

/// A text as a constant of a type: `'new'::text`, `5`, `true`.
fn cast(value: &Value, kind: &str, modifiers: &[i64]) -> Option<String> {
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = value else {
        return None;
    };
    let modifier = match (kind, modifiers) {
        (_, []) => -1,
        ("varchar", [length]) => i32::try_from(*length).ok()?.checked_add(4)?,
        _ => return None,
    };
    match kind {
        "bool" => {
            if let Some(truth) = boolean(text) {
                return Some(truth.to_string());
            }
        }
        "int4" if text.bytes().all(|digit| digit.is_ascii_digit()) => return Some(text.clone()),
        "numeric" if is_decimal(text) => return Some(text.clone()),
        _ => {}
    }
    let kind = match kind {
        "bpchar" | "_bpchar" => kind.replace("_bpchar", "bpchar[]"),
        kind => types::sql_name(kind, modifier),
    };
    Some(format!("'{}'::{kind}", text.replace('\'', "''")))
}

fn sql_word(name: &str) -> Option<String> {
    WORDS.contains(&name).then(|| name.to_uppercase())
}

/// A call of a function that is named without its schema.
fn call(function: &Function) -> Option<String> {
    let [name] = function.name.0.as_slice() else {
        return None;
    };
    let name = name.as_ident().map(folded)?;
    let list = match &function.args {
        FunctionArguments::None => return sql_word(&name),
        FunctionArguments::List(list) => list,
        FunctionArguments::Subquery(_) => return None,
    };
    if function.over.is_some() || function.filter.is_some() {
        return None;
    }
    let kind = argument_kind(&name);
    let argument = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => expression_text(value, kind),
        _ => None,
    };
    let arguments: Vec<String> = list.args.iter().map(argument).collect::<Option<_>>()?;
    let name = sql_word(&name)
        .filter(|_| !arguments.is_empty())
        .unwrap_or(name);
    Some(format!("{name}({})", arguments.join(", ")))
}

/// What the texts among a function's arguments are.
fn argument_kind(function: &str) -> &'static str {
    match function {
        "nextval" | "currval" => "regclass",
        "lower" | "upper" | "initcap" | "md5" | "btrim" | "ltrim" | "rtrim" | "to_char"
        | "date_trunc" | "timezone" => "text",
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(kind: &str, written: &str) -> Option<String> {
        shown(&Column {
            name: "c".to_owned(),
            kind: kind.to_owned(),
            modifier: -1,
            nullable: true,
            default: Some(written.to_owned()),
            stored_as: None,
            identity: None,
            generated: None,
            remote_name: None,
        })
    }

    #[test]
    fn defaults_are_written_as_postgres_writes_them() {
        // PostgreSQL 15.18: select column_default from information_schema.columns
        for (kind, written, expected) in [
            ("text", "'new'", "'new'::text"),
            ("text", "'it''s'", "'it''s'::text"),
            ("varchar", "'x'", "'x'::character varying"),
            ("bpchar", "'abc'", "'abc'::bpchar"),
            ("date", "current_date", "CURRENT_DATE"),
            ("timestamptz", "current_timestamp", "CURRENT_TIMESTAMP"),
            ("timestamp", "current_timestamp(3)", "CURRENT_TIMESTAMP(3)"),
            ("timestamp", "now()", "now()"),
            (
                "timestamptz",
                "timezone('utc', now())",
                "timezone('utc'::text, now())",
            ),
            (
                "timestamp",
                "now() AT TIME ZONE 'utc'",
                "(now() AT TIME ZONE 'utc'::text)",
            ),
            ("text", "current_user", "CURRENT_USER"),
            ("int4", "-1", "'-1'::integer"),
            ("int4", "7", "7"),
            ("int4", "'7'", "7"),
            ("int8", "'5'", "'5'::bigint"),
            ("int8", "99999999999", "'99999999999'::bigint"),
            ("numeric", "1.5", "1.5"),
            ("numeric", "-1.5", "'-1.5'::numeric"),
            ("int4", "1 + 2", "(1 + 2)"),
            ("bool", "TRUE", "true"),
            ("bool", "'false'", "false"),
            ("jsonb", "'{}'", "'{}'::jsonb"),
            ("_text", "'{}'", "'{}'::text[]"),
            ("date", "'2026-01-01'", "'2026-01-01'::date"),
            ("date", "DATE '2026-01-01'", "'2026-01-01'::date"),
            ("text", "'a'::VARCHAR", "'a'::character varying"),
            ("varchar", "'x'::VARCHAR(10)", "'x'::character varying(10)"),
            ("text", "lower('A')", "lower('A'::text)"),
            ("int8", "nextval('s'::regclass)", "nextval('s'::regclass)"),
            ("uuid", "gen_random_uuid()", "gen_random_uuid()"),
        ] {
            assert_eq!(
                default_of(kind, written).as_deref(),
                Some(expected),
                "{written}"
            );
        }
    }

    #[test]
    fn null_is_no_default() {
        assert_eq!(default_of("int4", "NULL"), None);
        assert_eq!(default_of("text", "NULL::TEXT"), None);
    }

    #[test]
    fn what_is_not_known_is_shown_as_it_was_written() {
        let written = "CASE WHEN true THEN 'a' ELSE 'b' END";
        assert_eq!(default_of("text", written).as_deref(), Some(written));
    }
}
