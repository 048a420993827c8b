//! `stage_conversion('funnel')`: for each stage how many entered it, went on, dropped out or are still in it.
//!
//! One row for each stage, or for each segment and stage with `by`. Every row keeps
//! `entered = passed + lost + open`.
//!
//! # Columns
//! - each column of `by`, under its name; not where `by` is a parameter, which can't decide columns, or
//!   where the name is one of those below
//! - `segment` text: the values of `by` in one text, `web · north`; `all` without `by`
//! - `stage_no` integer from 1, `stage` text
//! - `entered` bigint: journeys that reached the stage; in `ordered` counting those that passed it over too
//! - `passed` bigint: of these, those that reached a later stage (for the last stage: all of them)
//! - `lost` bigint: of these, those that were lost at it, or whose window ended there
//! - `open` bigint: of these, those that are still in it
//! - `expired` bigint: of `lost`, those whose window ended without a loss being recorded
//! - `k`, `n` bigint: `passed` and `entered` among mature journeys, those whose whole window lies before
//!   `as_of`; a funnel without a window counts them all
//! - `rate` = k / n, with `lo` and `hi`, its 95 % Wilson interval; NULL where n = 0, and for the last
//!   stage, which has none to go on to
//! - `cum_rate`: of the mature journeys, the share that reached the stage
//! - `dropoff_rate` = 1 - rate
//! - `skipped` bigint: journeys that passed the stage over; `reentered` bigint: journeys that came into it
//!   again; `back_moves` bigint: moves back into it
//! - `median_days`, `p90_days` double precision: days of 24 hours from entering the stage to entering the
//!   next one, of those that did; a plain quantile of finished waits, so it is short while many wait
//! - `amount` double precision: the value of the journeys that entered
//! - `status` text: `ok`; `immature` (no journey is mature, or without a window some are open); `no_data`
//! - `drill_key` text: the row as JSON, for the way to the journeys behind it
//! - `bar` text: `entered` drawn against the first stage
//!
//! # Arguments
//! those of [`journeys`](super::journeys), and `by`: names of dimensions, or `owner`, `status`,
//! `lost_stage`, `lost_reason`, `furthest_stage`, as `'channel'`, `'channel, region'` or an array.
//!
//! Cost: one pass over the journeys; an element for each journey and stage is grouped.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::population::Population;
use super::sql::{self, lines};
use crate::definition::text::literal;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by"]),
    plan,
    population: Some(|arguments| Ok(population(&Call::take(arguments)?))),
    info,
};

const NAME: &str = "stage_conversion";

/// Width of the longest bar, in characters.
const BAR_WIDTH: i64 = 30;

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!("funnel text, by text DEFAULT NULL, {}", call::SIGNATURE),
        result: "SETOF record".to_owned(),
        description:
            "For each stage of a funnel: entered, passed, lost, open, the conversion rate with \
                      its interval, times and value."
                .to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 24] = [
    "segment",
    "stage_no",
    "stage",
    "entered",
    "passed",
    "lost",
    "open",
    "expired",
    "k",
    "n",
    "rate",
    "lo",
    "hi",
    "cum_rate",
    "dropoff_rate",
    "skipped",
    "reentered",
    "back_moves",
    "median_days",
    "p90_days",
    "amount",
    "status",
    "drill_key",
    "bar",
];

/// What is measured at a stage; NULL where nobody came.
const MEASURES: [(&str, &str); 3] = [
    (
        "median_days",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN stage_outcome = 'passed' THEN stage_days END)",
    ),
    (
        "p90_days",
        "percentile_cont(0.9) WITHIN GROUP (ORDER BY CASE WHEN stage_outcome = 'passed' THEN stage_days END)",
    ),
    ("amount", "sum(value)"),
];

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let call = Call::take(arguments)?;
    sql::plan(arguments, call.written(), &query(&call))
}

fn population(call: &Call) -> Population {
    let count = |name, condition: &str| (name, condition.to_owned());
    let mut cell = call.segments.cell();
    cell.push(("stage".to_owned(), "stage".to_owned()));
    Population {
        funnel: call.funnel(),
        rows: call.journey_stages(),
        of_stages: true,
        cell,
        parameters: Vec::new(),
        counts: vec![
            count("entered", "true"),
            count("passed", "stage_outcome = 'passed'"),
            count("lost", "stage_outcome IN ('lost', 'expired')"),
            count("open", "stage_outcome = 'open'"),
            count("expired", "stage_outcome = 'expired'"),
            count("k", "mature AND stage_outcome = 'passed'"),
            count("n", "mature"),
            count("skipped", "skipped"),
            count("reentered", "reentered > 0"),
        ],
    }
}

/// One row for each segment and stage that somebody reached.
fn counted(call: &Call, population: &Population) -> String {
    let mut columns = call.segments.projected();
    columns.push("stage_no".to_owned());
    columns.extend(population.counted());
    columns.push("sum(back_moves) AS back_moves".to_owned());
    columns.extend(MEASURES.map(|(name, measure)| format!("{measure} AS {name}")));
    let mut groups = call.segments.columns();
    groups.push("stage_no".to_owned());
    format!(
        "SELECT\n{}\nFROM {}\nGROUP BY {}",
        lines(&columns),
        population.rows,
        groups.join(", ")
    )
}

/// One row for each segment and stage, whether somebody reached it or not. Without `by` there is a segment
/// even if nobody entered the funnel.
fn filled(call: &Call, population: &Population) -> String {
    let own = |name: &str| format!("max({name}) FILTER (WHERE stage_no = no)");
    let counts = population.counts.iter().map(|(name, _)| *name);
    let mut columns = call.segments.grouped();
    columns.extend(["no", "stage"].map(str::to_owned));
    columns.extend(
        counts
            .chain(["back_moves"])
            .map(|name| format!("coalesce({}, 0) AS {name}", own(name))),
    );
    columns.extend(MEASURES.map(|(name, _)| format!("{} AS {name}", own(name))));
    let mut groups = call.segments.grouped();
    groups.extend(["no", "stage"].map(str::to_owned));
    let join = match call.segments.names.is_empty() {
        true => "LEFT JOIN counted ON true",
        false => "CROSS JOIN counted",
    };
    format!(
        "SELECT\n{}\nFROM (VALUES {}) AS stages(no, stage)\n{join}\nGROUP BY {}",
        lines(&columns),
        stage_rows(call),
        groups.join(", ")
    )
}

fn stage_rows(call: &Call) -> String {
    let names = call.funnel.stage_names();
    let rows = (1..)
        .zip(&names)
        .map(|(no, name)| format!("({no}, {})", literal(name)));
    rows.collect::<Vec<_>>().join(", ")
}

fn query(call: &Call) -> String {
    let population = population(call);
    let segments = call.segments.grouped();
    let partition = match segments.is_empty() {
        true => String::new(),
        false => format!("PARTITION BY {} ", segments.join(", ")),
    };
    let first = format!("OVER ({partition}ORDER BY no)");
    let order = [segments, vec!["no".to_owned()]].concat().join(", ");
    format!(
        "WITH counted AS (\n{}\n),\nfilled AS (\n{}\n)\nSELECT\n{}\nFROM (\n  \
         SELECT *, first_value(n) {first} AS first_n, first_value(entered) {first} AS first_entered\n  \
         FROM filled\n) AS compared\nORDER BY {order}",
        counted(call, &population),
        filled(call, &population),
        lines(&result(call)),
    )
}

fn result(call: &Call) -> Vec<String> {
    let last = call.funnel.definition.stages.len();
    let rated = format!("no < {last}");
    let rate = "k / CAST(n AS double precision)";
    let immature = match call.funnel.window {
        Some(_) => "n = 0",
        None => "open > 0",
    };
    let mut cell = call.segments.grouped_cell();
    cell.push(("stage".to_owned(), "stage".to_owned()));
    let key = call.drill_key(NAME, &[], &cell);
    let segment = call.segments.text();
    let mut columns = call.segments.shown(&COLUMNS);
    columns.extend([
        format!("{segment} AS segment"),
        "CAST(no AS integer) AS stage_no".to_owned(),
    ]);
    let counts = [
        "stage", "entered", "passed", "lost", "open", "expired", "k", "n",
    ];
    columns.extend(counts.map(str::to_owned));
    columns.extend([
        format!("CASE WHEN {rated} AND n > 0 THEN {rate} END AS rate"),
        format!("CASE WHEN {rated} THEN rate_lower(k, n) END AS lo"),
        format!("CASE WHEN {rated} THEN rate_upper(k, n) END AS hi"),
        "CASE WHEN first_n > 0 THEN n / CAST(first_n AS double precision) END AS cum_rate"
            .to_owned(),
        format!("CASE WHEN {rated} AND n > 0 THEN 1.0 - {rate} END AS dropoff_rate"),
    ]);
    let others = [
        "skipped",
        "reentered",
        "back_moves",
        "median_days",
        "p90_days",
        "amount",
    ];
    columns.extend(others.map(str::to_owned));
    columns.extend([
        format!("CASE WHEN entered = 0 THEN 'no_data' WHEN {immature} THEN 'immature' ELSE 'ok' END AS status"),
        format!("{key} AS drill_key"),
        // Nobody entered: there is nothing to draw against.
        format!("CASE WHEN first_entered > 0 THEN bar(entered, 0, first_entered, {BAR_WIDTH}) ELSE '' END AS bar"),
    ]);
    columns
}
