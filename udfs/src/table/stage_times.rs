//! `stage_times('funnel')`: how long each stage takes, once the deals that are still in it count.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `stage_no` integer, `stage` text; NULL with `cycle` and over a query
//! - `n` bigint: journeys whose time in the stage is known; `passed`, `lost`, `open` bigint: how that ended so far, where
//!   `open` are also those whose window ended
//! - `p25`, `median`, `p75` double precision: Kaplan–Meier quantiles of the days until the stage is left; NULL where fewer than
//!   that share have left
//! - `rmst` double precision: the mean of the days in the stage up to `tau` days (restricted mean survival time); NULL where the longest
//!   time is shorter than `tau` and some are still in it
//! - `tau` double precision
//! - `mean_of_closed` double precision: the plain mean over journeys that left; too short while many are open
//! - `status` text: `ok`; `no_events`: nobody has left
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`stage_survival`](super::stage_survival); `tau` (30): days.
//!
//! Sources: Kaplan and Meier 1958; Royston and Parmar 2013 for the restricted mean. Cost: one pass over the journeys; a sort of the distinct times.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call;
use super::durations::{self, Durations};
use super::population::Population;
use super::sql::{self, lines};
use super::stage_survival::Event;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || durations::arguments(&["event", "tau"]),
    plan,
    population: Some(|arguments| {
        arguments.take("event");
        arguments.take("tau");
        population(&Durations::take(arguments)?)
    }),
    info,
};

const NAME: &str = "stage_times";
const DEFAULT_TAU: f64 = 30.0;

/// The function's own columns.
const COLUMNS: [&str; 15] = [
    "segment",
    "stage_no",
    "stage",
    "n",
    "passed",
    "lost",
    "open",
    "p25",
    "median",
    "p75",
    "rmst",
    "tau",
    "mean_of_closed",
    "status",
    "drill_key",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, tau double precision DEFAULT 30, event text DEFAULT 'any', {}, {}",
            durations::SIGNATURE,
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "How long each stage takes, once the deals that are still in it count."
            .to_owned(),
    }
}

fn population(durations: &Durations) -> Result<Population> {
    let known = |outcomes: &str| format!("__t IS NOT NULL AND __outcome IN ({outcomes})");
    durations.population(
        vec![
            ("n", "__t IS NOT NULL".to_owned()),
            ("passed", known("'passed', 'won'")),
            ("lost", known("'lost'")),
            ("open", known("'open', 'expired'")),
        ],
        Vec::new(),
    )
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let event = Event::take(arguments)?;
    let tau = arguments.take_positive("tau")?.unwrap_or(DEFAULT_TAU);
    let durations = Durations::take(arguments)?;
    let counted =
        |name: &str, condition: &str| format!("count(*) FILTER (WHERE {condition}) AS {name}");
    let known = |outcomes: &str| format!("__t IS NOT NULL AND __outcome IN ({outcomes})");
    let more = [
        counted("n", "__t IS NOT NULL"),
        counted("passed", &known("'passed', 'won'")),
        counted("lost", &known("'lost'")),
        counted("open", &known("'open', 'expired'")),
        "avg(CASE WHEN __outcome IN ('passed', 'won', 'lost') THEN __t END) AS mean_of_closed"
            .to_owned(),
    ];
    let mut columns = durations.shown(&COLUMNS);
    columns.extend(["n", "passed", "lost", "open"].map(str::to_owned));
    let event_name = event.name();
    for (name, q) in [("p25", 0.25), ("median", 0.5), ("p75", 0.75)] {
        columns.push(format!(
            "survival_quantile(life_table, {q}, '{event_name}') AS {name}"
        ));
    }
    columns.push(format!(
        "survival_rmst(life_table, CAST({tau} AS double precision), '{event_name}') AS rmst"
    ));
    columns.push(format!("CAST({tau} AS double precision) AS tau"));
    columns.push("mean_of_closed".to_owned());
    let events = match event {
        Event::Any => "passed + lost",
        Event::Passed => "passed",
        Event::Lost => "lost",
    };
    columns.push(format!(
        "CASE WHEN {events} > 0 THEN 'ok' ELSE 'no_events' END AS status"
    ));
    columns.push(format!(
        "{} AS drill_key",
        durations.drill_key(NAME, &[], &[])
    ));
    let mut order = durations.grouped();
    order.retain(|name| name != "stage");
    let order = match order.is_empty() {
        true => String::new(),
        false => format!("\nORDER BY {}", order.join(", ")),
    };
    let query = format!(
        "SELECT\n{}\nFROM {}{order}",
        lines(&columns),
        durations.life_tables(&more)
    );
    sql::plan(arguments, durations.written(), &query)
}
