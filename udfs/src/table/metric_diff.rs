//! `metric_diff('name', 1, 2)`: what a metric says under two of its versions.
//!
//! # Columns
//! - `metric` text, `segment` text: the values of `by`, `all` without it
//! - `value_1`, `value_2` double precision: the metric by the first and by the second version
//! - `difference` double precision: `value_2` − `value_1`; NULL where one of them is
//! - `k_1`, `n_1`, `k_2`, `n_2` bigint: of a rate
//! - `unit_1`, `unit_2` text
//!
//! # Arguments
//! the metric, a version, another one; then those of [`metric`](super::metric) but `funnel` and `stage`. Ordered by
//! `segment`.
//!
//! # Errors
//! 42704 for an unknown metric or version.
//!
//! Cost: two passes over the journeys.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::{Arguments, Text};
use super::call::{self, named};
use super::sql;
use crate::definition::text::{literal, written};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "metric_diff",
    arguments: || ["as_of", "by", "counting", "since", "until", "where"].to_vec(),
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "metric_diff".to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "metric text, version_1 bigint, version_2 bigint, by text DEFAULT NULL, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "What a metric says under two of its versions.".to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let [name, first, second] =
        arguments.positional("the metric and two of its versions", "'win_rate', 1, 2")?;
    let text = |arguments: &Arguments, what: &str, value| match arguments.text(what, value)? {
        Some(text) => Ok(Text::into_string(text)),
        None => Err(arguments.invalid(what, "NULL", "its name")),
    };
    let name = text(arguments, "the metric", &name)?;
    let mut versions = Vec::new();
    for version in [&first, &second] {
        let version = version.to_string().trim_matches('\'').to_owned();
        let full_name = format!("{name}@{version}");
        if version.parse::<u32>().is_err() {
            return Err(FunnelError::InvalidArgument {
                message: format!("a version of a metric can't be {version}"),
                hint: "Write its number, as funnel.metrics has it.".to_owned(),
            }
            .into());
        }
        arguments.lookup().metric(&full_name)?;
        versions.push(full_name);
    }
    let mut given = Vec::new();
    for name in (FUNCTION.arguments)() {
        given.extend(arguments.take(name).map(|value| named(name, value)));
    }
    let given: String = given
        .iter()
        .map(|argument| format!(", {}", written(argument)))
        .collect();
    let query = format!(
        "SELECT {} AS metric, coalesce(a.segment, b.segment) AS segment,
  a.value AS value_1, b.value AS value_2, b.value - a.value AS difference,
  a.k AS k_1, a.n AS n_1, b.k AS k_2, b.n AS n_2, a.unit AS unit_1, b.unit AS unit_2
FROM metric({}{given}) AS a
FULL JOIN metric({}{given}) AS b ON b.segment = a.segment
ORDER BY segment",
        literal(&name),
        literal(&versions[0]),
        literal(&versions[1]),
    );
    sql::plan(arguments, &[], &query)
}
