//! `pg_settings`: the settings of Postgres, and the values that the session has.

use super::values::{Row, row};
use crate::engine::settings::{DEFINITIONS, Definition};

/// A row for each setting; `values` are name, value and the value after a `RESET`.
pub fn rows(values: &[(String, String, String)]) -> Vec<Row> {
    let row = |(name, value, reset): &(String, String, String)| {
        let definition = DEFINITIONS
            .iter()
            .find(|definition| definition.name.eq_ignore_ascii_case(name));
        let text = |of: fn(&Definition) -> &'static str| {
            definition.map(of).filter(|text| !text.is_empty())
        };
        let choices = text(|definition| definition.choices).map(|list| {
            list.trim_matches(['{', '}'])
                .split(',')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        let default = definition.map_or("", |definition| definition.default);
        let source = match value.as_str() {
            value if value == default => "default",
            value if value == reset => "client",
            _ => "session",
        };
        row! {
            "name": name.as_str(), "setting": value.as_str(), "unit": text(|d| d.unit), "category": text(|d| d.category),
            "short_desc": text(|d| d.description), "context": text(|d| d.context).unwrap_or("user"), "vartype": text(|d| d.kind).unwrap_or("string"),
            "source": source, "min_val": text(|d| d.least), "max_val": text(|d| d.most),
            "enumvals": choices, "boot_val": default, "reset_val": reset.as_str(), "pending_restart": false,
        }
    };
    values.iter().map(row).collect()
}
