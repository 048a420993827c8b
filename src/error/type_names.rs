//! Arrow's types in the texts of errors, called as in SQL.

use crate::postgres::types;

/// `Int64 + Utf8`: the types, and the operator between them.
pub(super) fn operation_in(text: &str) -> Option<(String, &str, String)> {
    let (left, rest) = leading_type(text)?;
    let rest = rest.strip_prefix(' ')?;
    rest.match_indices(' ').find_map(|(at, _)| {
        let (right, _) = leading_type(&rest[at + 1..])?;
        Some((left.clone(), &rest[..at], right))
    })
}

/// Two types with a text between them, and what follows.
pub(super) fn two_types<'a>(text: &'a str, between: &str) -> Option<(String, String, &'a str)> {
    let (one, rest) = leading_type(text)?;
    let (other, rest) = leading_type(rest.strip_prefix(between)?)?;
    Some((one, other, rest))
}

/// The types of a list.
pub(super) fn listed(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let after = match leading_type(rest) {
            Some((name, after)) => {
                names.push(name);
                after
            }
            None => {
                let end = rest.find(", ").unwrap_or(rest.len());
                names.push(rest[..end].to_lowercase());
                &rest[end..]
            }
        };
        rest = match after.split_once(", ") {
            Some((_, next)) => next,
            None => "",
        };
    }
    names
}

/// A text with the types in it called as in SQL: `Int64` is `bigint`. A value with its type, `Int64(5)`, is the value.
pub(super) fn with_sql_types(text: &str) -> String {
    let mut called = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        let begins = next.is_ascii_uppercase() && !before.is_alphanumeric() && before != '_';
        // `Null` is a word of sentences too.
        let found = match begins && !rest.starts_with("Null") {
            true => leading_type(rest),
            false => None,
        };
        let Some((name, after)) = found.filter(|(_, after)| !goes_on(before, after)) else {
            called.push(next);
            before = next;
            rest = &rest[next.len_utf8()..];
            continue;
        };
        match parenthesized(after) {
            Some((value, after)) => {
                let text = value
                    .strip_prefix('"')
                    .and_then(|text| text.strip_suffix('"'));
                match text {
                    Some(text) => called.extend(["'", text, "'"]),
                    None => called.push_str(value),
                }
                rest = after;
            }
            None => {
                called.push_str(&name);
                rest = after;
            }
        }
        before = ')';
    }
    called
}

/// Whether a word is only the beginning of a name, or stands in quotes: a name of the user's.
fn goes_on(before: char, after: &str) -> bool {
    match after.chars().next() {
        Some(next @ ('\'' | '"')) => next == before,
        Some(next) => next.is_alphanumeric() || next == '_',
        None => false,
    }
}

/// The type that a text begins with, as SQL calls it, and what follows.
pub(super) fn leading_type(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix("non-null ").unwrap_or(text);
    let end = text
        .find(|character: char| !character.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if let Some(name) = plain_type(word) {
        return Some((types::sql_name(name, -1), rest));
    }
    let (inside, rest) = parenthesized(rest)?;
    let name = match word {
        "Timestamp" if inside.contains('"') => "timestamptz",
        "Timestamp" => "timestamp",
        "Time32" | "Time64" => "time",
        "Interval" | "Duration" => "interval",
        "Decimal32" | "Decimal64" | "Decimal128" | "Decimal256" => "numeric",
        "FixedSizeBinary" => "bytea",
        "Struct" | "Map" | "Union" => "record",
        "Dictionary" => {
            let (name, _) = leading_type(inside.split_once(", ")?.1)?;
            return Some((name, rest));
        }
        "List" | "LargeList" | "ListView" | "LargeListView" | "FixedSizeList" => {
            let item = match inside.split_once("data_type: ") {
                Some((_, kind)) => kind,
                None => inside.split_once(" x ").map_or(inside, |(_, kind)| kind),
            };
            let (name, _) = leading_type(item)?;
            return Some((format!("{}[]", name.trim_end_matches("[]")), rest));
        }
        _ => return None,
    };
    Some((types::sql_name(name, -1), rest))
}

fn plain_type(word: &str) -> Option<&'static str> {
    Some(match word {
        "Null" => "unknown",
        "Boolean" => "bool",
        "Int8" | "Int16" | "UInt8" => "int2",
        "Int32" | "UInt16" => "int4",
        "Int64" | "UInt32" | "UInt64" => "int8",
        "Float16" | "Float32" => "float4",
        "Float64" => "float8",
        "Utf8" | "LargeUtf8" | "Utf8View" => "text",
        "Binary" | "LargeBinary" | "BinaryView" => "bytea",
        "Date32" | "Date64" => "date",
        _ => return None,
    })
}

/// What stands in the parentheses that a text begins with, and what follows them.
fn parenthesized(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('(')?;
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], &text[at + 1..])),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

    use super::*;

    #[test]
    fn types_are_called_as_in_sql_wherever_they_stand() {
        let kinds = [
            (DataType::Utf8View, "text"),
            (DataType::Decimal128(38, 10), "numeric"),
            (
                DataType::Timestamp(TimeUnit::Nanosecond, None),
                "timestamp without time zone",
            ),
            (
                DataType::Timestamp(TimeUnit::Microsecond, Some("+08:00".into())),
                "timestamp with time zone",
            ),
            (DataType::Interval(IntervalUnit::MonthDayNano), "interval"),
            (
                DataType::new_list(DataType::Float64, true),
                "double precision[]",
            ),
            (
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
                "text",
            ),
        ];
        for (kind, expected) in kinds {
            for written in [kind.to_string(), format!("{kind:?}")] {
                assert_eq!(
                    with_sql_types(&format!("not {written}, no")),
                    format!("not {expected}, no")
                );
            }
        }
        assert_eq!(
            with_sql_types("Int64(5) of \"Int64\" and Int64_id is Utf8(\"x\")"),
            "5 of \"Int64\" and Int64_id is 'x'"
        );
    }
}
