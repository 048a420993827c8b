//! `[[refresh]]`: a materialized view, and how often it is refreshed.

use std::time::Duration;

use datafusion_funnel::error::nearest;
use toml::{Table, Value};

use super::{Origin, Setting, unknown_key};
use crate::cli::exit::Failure;
use crate::server::Refresh;

const KEYS: [&str; 2] = ["view", "every"];

/// A number without a unit is in seconds.
const SECONDS: [(&str, u64); 6] = [
    ("", 1),
    ("s", 1),
    ("m", 60),
    ("min", 60),
    ("h", 3600),
    ("d", 86_400),
];

/// Reads the tables.
pub fn read(value: &Value, origin: &Origin) -> Result<Vec<Refresh>, Failure> {
    let tables = value
        .as_array()
        .filter(|tables| tables.iter().all(Value::is_table));
    let Some(tables) = tables else {
        let setting = Setting {
            key: "refresh",
            value,
            origin,
        };
        return Err(
            setting.invalid("each view as a table: [[refresh]] on a line, view and every below")
        );
    };
    tables
        .iter()
        .filter_map(Value::as_table)
        .map(|table| refresh(table, origin))
        .collect()
}

fn refresh(table: &Table, origin: &Origin) -> Result<Refresh, Failure> {
    let Origin::File(path) = origin else {
        return Err(Failure::usage(
            "refreshes ([[refresh]]) can't come from the environment".to_owned(),
            "Write them into a file for --config.",
        ));
    };
    let (mut view, mut every) = (None, None);
    for (key, value) in table {
        let setting = Setting { key, value, origin };
        match key.as_str() {
            "view" => {
                let example = "a view's name: \"crm.deals_copy\"";
                let name = setting.text(example)?;
                crate::sql::relation_name(name).map_err(|_| setting.invalid(example))?;
                view = Some(name.to_owned());
            }
            "every" => {
                let seconds = setting.amount(&SECONDS, "\"15m\", \"1h\" or a number of seconds")?;
                every = Some(Duration::from_secs(seconds));
            }
            _ => {
                let near = nearest(key, &KEYS.map(str::to_owned)).map(str::to_owned);
                let key = format!("refresh.{key}");
                return Err(unknown_key(&key, near.as_deref(), &KEYS, path));
            }
        }
    }
    match (view, every) {
        (Some(view), Some(every)) => Ok(Refresh { view, every }),
        _ => Err(Failure::usage(
            format!(
                "a [[refresh]] in \"{}\" lacks view or every",
                path.display()
            ),
            "Write view = \"crm.deals_copy\" and every = \"15m\" below it.",
        )),
    }
}
