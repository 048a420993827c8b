//! `metric('name')`: one metric of the dictionary, by any segment.
//!
//! Of a metric that `CREATE METRIC` defined, a row for each segment; of a built-in one, the rows that
//! [`stage_metrics`](super::stage_metrics) has of it: one for each segment and stage. `name@1` is version 1 of a
//! metric that was defined again since.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `stage` text: of a built-in metric; NULL for others, which are of whole journeys
//! - `metric` text, `version` integer: NULL for a built-in metric
//! - `value` double precision: the metric, in its `unit`; NULL where there is nothing to measure
//! - `k`, `n` bigint, `rate`, `lo`, `hi`: of a metric that is one count over another, with its 95 % Wilson interval;
//!   NULL for others
//! - `unit` text
//! - `journeys` bigint: the journeys of the segment
//! - `status` text: `ok`; `immature` (a rate without a journey below); `no_data`
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion) but for the first, which is the metric; `funnel`: needed for
//! a built-in metric unless there is only one funnel; `stage`: one stage of a built-in metric.
//!
//! # Errors
//! 42704 for an unknown metric or version.
//!
//! Cost: one pass over the journeys.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, Value};

use super::TableFunction;
use super::arguments::{Arguments, Text};
use super::call::{self, Call, named};
use super::population::Population;
use super::sql::{self, lines};
use crate::definition::metric::{Metric, MetricDefinition};
use crate::definition::text::{literal, written};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by", "funnel"]),
    plan,
    population: Some(|arguments| {
        let (definition, call) = own_metric(arguments)?;
        Ok(population(&definition, &call))
    }),
    info,
};

const NAME: &str = "metric";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "metric text, by text DEFAULT NULL, funnel text DEFAULT NULL, stage text DEFAULT NULL, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "One metric of the dictionary, by any segment.".to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 14] = [
    "segment",
    "stage",
    "metric",
    "version",
    "value",
    "k",
    "n",
    "rate",
    "lo",
    "hi",
    "unit",
    "journeys",
    "status",
    "drill_key",
];

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let name = metric_name(arguments)?;
    if let Some(metric) = Metric::find(&name) {
        return built_in(arguments, metric);
    }
    let (definition, call) = own_metric(arguments)?;
    sql::plan(arguments, call.written(), &query(&definition, &call))
}

/// The name in the first argument, which stays.
fn metric_name(arguments: &Arguments) -> Result<String> {
    let name = match arguments.peek_positional() {
        Some(first) => arguments.text("the metric", first)?.map(Text::into_string),
        None => None,
    };
    name.ok_or_else(|| {
        FunnelError::WrongCall {
            message: "metric() needs the name of a metric".to_owned(),
            hint: "Write metric('win_rate', funnel => 'sales'); funnel.metrics lists them."
                .to_owned(),
        }
        .into()
    })
}

/// The metric of the first argument, and the call over its funnel.
fn own_metric(arguments: &mut Arguments) -> Result<(Arc<MetricDefinition>, Call)> {
    let name = metric_name(arguments)?;
    let definition = arguments.lookup().metric(&name)?;
    if let Some(funnel) = arguments.take_text("funnel")?
        && funnel != definition.funnel
    {
        return Err(FunnelError::InvalidArgument {
            message: format!("metric \"{name}\" is of funnel \"{}\"", definition.funnel),
            hint: "Leave funnel out, or create a metric on the other funnel.".to_owned(),
        }
        .into());
    }
    let funnel = text(&definition.funnel);
    arguments.replace_positional(funnel);
    let call = Call::take(arguments)?;
    Ok((definition, call))
}

fn text(text: &str) -> SqlExpr {
    SqlExpr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

/// The rows of `stage_metrics` of one metric.
fn built_in(arguments: &mut Arguments, metric: &Metric) -> Result<LogicalPlan> {
    let funnel = match arguments.take_text("funnel")? {
        Some(funnel) => funnel,
        None => match arguments.lookup().funnels().as_slice() {
            [only] => only.clone(),
            _ => {
                return Err(FunnelError::WrongCall {
                    message: format!("metric \"{}\" is of every funnel", metric.name),
                    hint: format!("Write metric('{}', funnel => 'sales').", metric.name),
                }
                .into());
            }
        },
    };
    let mut given = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(text(&funnel)))];
    given.push(named("metrics", text(metric.name)));
    for name in call::arguments(&["by"]) {
        given.extend(arguments.take(name).map(|value| named(name, value)));
    }
    arguments.only_positional()?;
    let shown: Vec<String> = given.iter().map(written).collect();
    let query = format!("SELECT * FROM stage_metrics({})", shown.join(", "));
    sql::plan(arguments, &given, &query)
}

fn population(definition: &MetricDefinition, call: &Call) -> Population {
    let mut counts = vec![("journeys", "true".to_owned())];
    if let Some(parts) = definition.rate() {
        counts.push(("k", parts.k));
        counts.push(("n", parts.n));
    }
    Population {
        funnel: call.funnel(),
        rows: call.journeys_with_steps(),
        of_stages: false,
        cell: call.segments.cell(),
        parameters: Vec::new(),
        counts,
    }
}

fn query(definition: &MetricDefinition, call: &Call) -> String {
    let population = population(definition, call);
    let mut columns = call.segments.projected();
    columns.extend(population.counted());
    if definition.rate().is_none() {
        columns.push(format!(
            "CAST({} AS double precision) AS measure",
            definition.expression
        ));
    }
    let group = match call.segments.names.is_empty() {
        true => String::new(),
        false => format!("\nGROUP BY {}", call.segments.columns().join(", ")),
    };
    let order = match call.segments.names.is_empty() {
        true => String::new(),
        false => format!("\nORDER BY {}", call.segments.grouped().join(", ")),
    };
    format!(
        "SELECT\n{}\nFROM (\nSELECT\n{}\nFROM {}{group}\n) AS measured{order}",
        lines(&result(definition, call)),
        lines(&columns),
        population.rows,
    )
}

fn result(definition: &MetricDefinition, call: &Call) -> Vec<String> {
    let is_rate = definition.rate().is_some();
    let rate = "CASE WHEN n > 0 THEN k / CAST(n AS double precision) END";
    let unit = match (&definition.unit, is_rate) {
        (Some(unit), _) => literal(unit),
        (None, true) => "'rate'".to_owned(),
        (None, false) => "CAST(NULL AS text)".to_owned(),
    };
    let full_name = format!("{}@{}", definition.name, definition.version);
    let key = call.drill_key_on(NAME, &full_name, &[], &call.segments.grouped_cell());
    let mut columns = call.segments.shown(&COLUMNS);
    columns.push(format!("{} AS segment", call.segments.text()));
    columns.push("CAST(NULL AS text) AS stage".to_owned());
    columns.push(format!("{} AS metric", literal(&definition.name)));
    columns.push(format!(
        "CAST({} AS integer) AS version",
        definition.version
    ));
    match is_rate {
        true => columns.extend([
            format!("{rate} AS value"),
            "k".to_owned(),
            "n".to_owned(),
            format!("{rate} AS rate"),
            "rate_lower(k, n) AS lo".to_owned(),
            "rate_upper(k, n) AS hi".to_owned(),
        ]),
        false => {
            columns.push("measure AS value".to_owned());
            columns.extend(["k", "n"].map(|name| format!("CAST(NULL AS bigint) AS {name}")));
            columns.extend(
                ["rate", "lo", "hi"]
                    .map(|name| format!("CAST(NULL AS double precision) AS {name}")),
            );
        }
    }
    columns.push(format!("{unit} AS unit"));
    columns.push("journeys".to_owned());
    columns.push(match is_rate {
        true => "CASE WHEN journeys = 0 THEN 'no_data' WHEN n = 0 THEN 'immature' ELSE 'ok' END AS status"
            .to_owned(),
        false => "CASE WHEN journeys = 0 THEN 'no_data' ELSE 'ok' END AS status".to_owned(),
    });
    columns.push(format!("{key} AS drill_key"));
    columns
}
