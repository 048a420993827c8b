//! `stage_logrank('funnel', by => 'channel')`: whether segments leave a stage at different speeds.
//!
//! The log-rank test (Mantel 1966) for each stage but the last, over the segments of `by`. With `event => 'passed'` it is cause-specific: a
//! loss is censored.
//!
//! # Columns
//! - `stage_no` integer, `stage` text; NULL with `cycle` and over a query
//! - `groups` bigint: segments; `n` bigint: journeys whose time is known; `events` bigint: those that left
//! - `chi2` double precision, `dof` bigint, `p` double precision: the chance of a difference at least as large where there is none;
//!   NULL where `status` isn't `ok`
//! - `status` text: `ok`; `one_group`; `no_events`: nobody left, which says nothing about the difference
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`stage_survival`](super::stage_survival); `by` is needed.
//!
//! Cost: as there.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call;
use super::durations::{self, Durations};
use super::sql;
use super::stage_survival::Event;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || durations::arguments(&["event"]),
    plan,
    population: Some(|arguments| {
        let (event, durations) = take(arguments)?;
        durations
            .across_segments()
            .population(counts(event), Vec::new())
    }),
    info,
};

const NAME: &str = "stage_logrank";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, by text, event text DEFAULT 'any', stage text DEFAULT NULL, cycle boolean DEFAULT false, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Whether segments leave a stage at different speeds (log-rank test)."
            .to_owned(),
    }
}

fn take(arguments: &mut Arguments) -> Result<(Event, Durations)> {
    let event = Event::take(arguments)?;
    let durations = Durations::take(arguments)?;
    if durations.segments.names.is_empty() {
        return Err(FunnelError::WrongCall {
            message: "stage_logrank() needs by".to_owned(),
            hint: "Write by => 'channel': the segments to compare.".to_owned(),
        }
        .into());
    }
    Ok((event, durations))
}

fn counts(event: Event) -> Vec<(&'static str, String)> {
    let known = "__t IS NOT NULL";
    vec![
        ("n", known.to_owned()),
        (
            "events",
            format!("{known} AND __outcome IN ({})", event.outcomes()),
        ),
    ]
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let (event, durations) = take(arguments)?;
    let (stage, group) = match durations.of_stages {
        true => ("stage_no, stage", "\n  GROUP BY stage_no, stage"),
        false => (
            "CAST(NULL AS integer) AS stage_no, CAST(NULL AS text) AS stage",
            "",
        ),
    };
    let counted: Vec<String> = counts(event)
        .iter()
        .map(|(name, condition)| format!("count(*) FILTER (WHERE {condition}) AS {name}"))
        .collect();
    let life_tables = durations.life_tables(&counted);
    let durations = durations.across_segments();
    let own = [("event", event.name().to_owned())];
    let query = format!(
        "SELECT stage_no, stage, groups, n, events, test['chi2'] AS chi2, test['dof'] AS dof, test['p'] AS p,
  CASE WHEN groups < 2 THEN 'one_group' WHEN test['p'] IS NULL THEN 'no_events' ELSE 'ok' END AS status,
  {} AS drill_key
FROM (
  SELECT {stage}, count(life_table) AS groups, sum(n) AS n, sum(events) AS events,
    logrank(array_agg(life_table), '{}') AS test
  FROM {life_tables}{group}
) AS tests
ORDER BY stage_no",
        durations.drill_key(NAME, &own, &[]),
        event.name(),
    );
    sql::plan(arguments, durations.written(), &query)
}
