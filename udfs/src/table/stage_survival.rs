//! `stage_survival('funnel')`: which share of the journeys is still in a stage after so many days.
//!
//! The Kaplan–Meier estimate (Kaplan and Meier 1958) for each stage but the last: a journey that is still in the stage, or whose window
//! ended there, is censored, so that it counts for as long as it was watched. One row for each time at which something
//! happened.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `stage_no` integer, `stage` text; NULL with `cycle` and over a query
//! - `t` double precision: days in the stage
//! - `at_risk` bigint: journeys that were in it for at least so long; `events` bigint: of these, those that left it then;
//!   `censored` bigint: those that were watched no longer
//! - `survival`: the share that is still in it after `t` days; `se`, its standard error by Greenwood; `lo`, `hi`: its 95 %
//!   interval by the log(−log) transformation; NULL where `survival` is 0
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion); `stage`: one stage; `cycle`: whole journeys in place of stages, from the start
//! to winning or loss; `event`: what counts as leaving, `any` (passing and loss), `passed` or `lost` (the other one is then
//! censored, which supposes that the two have nothing to do with each other: prefer [`stage_cif`](super::stage_cif)).
//!
//! Over any query: `stage_survival((SELECT …), t => 'days', outcome => 'outcome', by => 'arm')`, with outcomes `passed` or `won`,
//! `lost`, `open` or `expired`.
//!
//! Cost: one pass over the journeys; a sort of the distinct times.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call;
use super::durations::{self, Durations};
use super::sql::{self, lines};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || durations::arguments(&["event"]),
    plan,
    population: Some(|arguments| {
        let event = Event::take(arguments)?;
        let durations = Durations::take(arguments)?;
        let outcomes = event.outcomes();
        durations.population(
            vec![
                ("at_risk", "__t >= :t".to_owned()),
                ("events", format!("__t = :t AND __outcome IN ({outcomes})")),
                (
                    "censored",
                    format!("__t = :t AND __outcome NOT IN ({outcomes})"),
                ),
            ],
            vec!["t"],
        )
    }),
    info,
};

const NAME: &str = "stage_survival";

/// The function's own columns.
const COLUMNS: [&str; 12] = [
    "segment",
    "stage_no",
    "stage",
    "t",
    "at_risk",
    "events",
    "censored",
    "survival",
    "se",
    "lo",
    "hi",
    "drill_key",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, event text DEFAULT 'any', {}, {}",
            durations::SIGNATURE,
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description:
            "Which share of the journeys is still in a stage after so many days (Kaplan-Meier)."
                .to_owned(),
    }
}

/// What counts as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Any,
    Passed,
    Lost,
}

impl Event {
    /// Takes `event`; any where it isn't given.
    ///
    /// # Errors
    /// 22023 for another word.
    pub(super) fn take(arguments: &mut Arguments) -> Result<Self> {
        let Some(event) = arguments.take_text("event")? else {
            return Ok(Self::Any);
        };
        match event.to_lowercase().as_str() {
            "any" => Ok(Self::Any),
            "passed" | "won" => Ok(Self::Passed),
            "lost" => Ok(Self::Lost),
            _ => Err(arguments.invalid("event", &format!("\"{event}\""), "any, passed or lost")),
        }
    }

    /// As the functions over life tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Passed => "won",
            Self::Lost => "lost",
        }
    }

    /// Its outcomes as a list in SQL.
    pub(super) fn outcomes(self) -> &'static str {
        match self {
            Self::Any => "'passed', 'won', 'lost'",
            Self::Passed => "'passed', 'won'",
            Self::Lost => "'lost'",
        }
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let event = Event::take(arguments)?;
    let durations = Durations::take(arguments)?;
    let mut columns = durations.shown(&COLUMNS);
    let points = [
        "t", "at_risk", "events", "censored", "survival", "se", "lo", "hi",
    ];
    columns.extend(points.map(str::to_owned));
    let own = [("event", event.name().to_owned())];
    let key = durations.drill_key(NAME, &own, &["t"]);
    columns.push(format!("{key} AS drill_key"));
    let mut inner = durations.grouped();
    inner.extend(points.map(|name| format!("point['{name}'] AS {name}")));
    let mut groups = durations.grouped();
    groups.push(format!(
        "unnest(survival_curve(life_table, '{}')) AS point",
        event.name()
    ));
    let mut order = durations.grouped();
    order.retain(|name| name != "stage");
    order.push("t".to_owned());
    let query = format!(
        "SELECT\n{}\nFROM (\nSELECT\n{}\nFROM (SELECT {} FROM {}) AS curves\n) AS points\nORDER BY {}",
        lines(&columns),
        lines(&inner),
        groups.join(", "),
        durations.life_tables(&[]),
        order.join(", ")
    );
    sql::plan(arguments, durations.written(), &query)
}
