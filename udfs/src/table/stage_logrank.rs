//! `stage_logrank('funnel', by => 'channel')`: whether segments leave a stage at different speeds.
//!
//! The log-rank test (Mantel 1966) for each stage but the last, over the segments of `by`. With `event => 'passed'` it is cause-specific: a
//! loss is censored.
//!
//! # Columns
//! - `stage_no` integer, `stage` text; NULL with `cycle` and over a query
//! - `groups` bigint: segments; `n` bigint: journeys; `events` bigint
//! - `chi2` double precision, `dof` bigint, `p` double precision: the chance of a difference at least as large where there is none;
//!   NULL where `status` isn't `ok`
//! - `status` text: `ok`; `one_group`; `no_events`: nobody left, which says nothing about the difference
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
    name: "stage_logrank",
    arguments: || durations::arguments(&["event"]),
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "stage_logrank".to_owned(),
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

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let event = Event::take(arguments)?;
    let durations = Durations::take(arguments)?;
    if durations.segments.names.is_empty() {
        return Err(FunnelError::WrongCall {
            message: "stage_logrank() needs by".to_owned(),
            hint: "Write by => 'channel': the segments to compare.".to_owned(),
        }
        .into());
    }
    let (stage, group) = match durations.of_stages {
        true => ("stage_no, stage", "\n  GROUP BY stage_no, stage"),
        false => (
            "CAST(NULL AS integer) AS stage_no, CAST(NULL AS text) AS stage",
            "",
        ),
    };
    let count = |outcomes: &str| format!("count(*) FILTER (WHERE __outcome IN ({outcomes}))");
    let events = match event {
        Event::Any => count("'passed', 'won', 'lost'"),
        Event::Passed => count("'passed', 'won'"),
        Event::Lost => count("'lost'"),
    };
    let more = ["count(*) AS n".to_owned(), format!("{events} AS events")];
    let query = format!(
        "SELECT stage_no, stage, groups, n, events, test['chi2'] AS chi2, test['dof'] AS dof, test['p'] AS p,
  CASE WHEN groups < 2 THEN 'one_group' WHEN test['p'] IS NULL THEN 'no_events' ELSE 'ok' END AS status
FROM (
  SELECT {stage}, count(life_table) AS groups, sum(n) AS n, sum(events) AS events,
    logrank(array_agg(life_table), '{}') AS test
  FROM {}{group}
) AS tests
ORDER BY stage_no",
        event.name(),
        durations.life_tables(&more),
    );
    sql::plan(arguments, durations.written(), &query)
}
