//! JSON as Postgres keeps it: `json` as it was written, `jsonb` with its keys in order.

use serde_json::{Map, Value};

use super::casts::invalid;
use super::function::Result;

/// The text itself, where it is JSON.
pub fn checked(text: &str) -> Result<String> {
    match serde_json::from_str::<Value>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => invalid("json", text),
    }
}

/// The text as `jsonb` writes it.
pub fn normal(text: &str) -> Result<String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => Ok(written(&value)),
        Err(_) => invalid("json", text),
    }
}

/// `{"a": 1, "bb": [1, 2]}`: shorter keys come first, a space stands behind commas and colons.
pub fn written(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(written).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = ordered(map)
                .into_iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), written(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn ordered(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    pairs
}

/// Whether a value holds another, as `@>` has it.
pub fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|held| contains(held, value))),
        (Value::Array(whole), Value::Array(part)) => part
            .iter()
            .all(|value| whole.iter().any(|held| contains(held, value))),
        // An array holds its elements.
        (Value::Array(whole), part) if !part.is_object() => whole.contains(part),
        (whole, part) => whole == part,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `SELECT x::jsonb`.
    #[test]
    fn jsonb_is_written_as_postgres_writes_it() {
        assert_eq!(
            normal(r#"{"bb":1,"a":[1,{"c":null}]}"#).unwrap(),
            r#"{"a": [1, {"c": null}], "bb": 1}"#
        );
        assert!(normal("{a}").is_err());
    }
}
