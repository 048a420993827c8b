//! `template_library()`: the changes that are proven, to do again elsewhere.
//!
//! One row for each change whose latest kept review (`REVIEW CHANGE`) calls it proven, the largest effect first.
//!
//! # Columns
//! - `change`, `funnel`, `stage`, `segment`, `note` text: what was done, where
//! - `effect`, `lo`, `hi` double precision: what it did to the stage's conversion, with its 95 % interval; `method` text;
//!   `reviewed_at` text
//! - `reuse` text: the statement that does it again, with the time left to fill in
//!
//! Cost: nothing is read but the changes.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::sql;
use crate::definition::change::KeptChange;
use crate::definition::text::literal;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "template_library",
    arguments: Vec::new,
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "template_library".to_owned(),
        kind: FunctionKind::Table,
        arguments: String::new(),
        result: "SETOF record".to_owned(),
        description: "The changes whose latest review calls them proven, with the statement to do them again."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    arguments.no_positional()?;
    let changes = arguments.lookup().changes();
    let rows: Vec<String> = changes.iter().filter_map(|change| row(change)).collect();
    let columns =
        "change, funnel, stage, segment, note, effect, lo, hi, method, reviewed_at, reuse";
    let (values, condition) = match rows.is_empty() {
        // VALUES needs a row.
        true => (empty(), " WHERE false"),
        false => (rows.join(",\n"), ""),
    };
    let query = format!(
        "SELECT * FROM (VALUES {values}) AS templates({columns}){condition}\nORDER BY effect DESC, change"
    );
    sql::plan(arguments, &[], &query)
}

fn text(value: Option<&str>) -> String {
    match value {
        Some(value) => literal(value),
        None => "CAST(NULL AS text)".to_owned(),
    }
}

fn number(value: Option<f64>) -> String {
    match value {
        Some(value) => format!("CAST({value:?} AS double precision)"),
        None => "CAST(NULL AS double precision)".to_owned(),
    }
}

fn row(change: &KeptChange) -> Option<String> {
    let reuse = change.reuse()?;
    let review = change.latest()?;
    let definition = &change.definition;
    let values = [
        text(Some(&definition.name)),
        text(Some(&definition.funnel)),
        text(Some(&definition.stage)),
        text(definition.segment.as_deref()),
        text(definition.note.as_deref()),
        number(review.effect),
        number(review.lo),
        number(review.hi),
        text(review.method.as_deref()),
        text(Some(&review.reviewed_at)),
        text(Some(&reuse)),
    ];
    Some(format!("({})", values.join(", ")))
}

fn empty() -> String {
    let values = [
        vec![text(None); 5],
        vec![number(None); 3],
        vec![text(None); 3],
    ]
    .concat();
    format!("({})", values.join(", "))
}
