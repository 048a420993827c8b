//! `journey_stages('funnel')`: one row for each journey and stage that it reached.
//!
//! # Columns
//! - those of [`journeys`](super::journeys), without `skipped`, `reentered` and `back_moves`
//! - `stage_no` integer from 1, `stage` text
//! - `stage_entered_at` timestamptz: the first entry that counts; NULL where the stage was passed over
//! - `stage_left_at` timestamptz: when a later stage was entered; NULL where none was, or the stage was passed over
//! - `stage_outcome` text: `passed` (a later stage was reached; the last stage is always passed), `lost` or
//!   `expired` (the journey ended here), `open` (it is still here)
//! - `stage_days` double precision: days of 24 hours spent here: to `stage_left_at`, to the end of a journey that ended
//!   here, to `as_of` of one that is open; NULL where the entry or the end isn't known, and for the last stage
//! - `mature` boolean: the journey's whole window lies before `as_of`; true without a window
//! - `skipped` boolean: the stage was passed over
//! - `reentered` integer: how often it was entered again; `back_moves` integer: of these and of its first
//!   entry, those from a later stage
//!
//! # Arguments
//! those of [`journeys`](super::journeys).
//!
//! Cost: one pass over the journeys.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::sql;
use crate::definition::resolve::{ResolvedFunnel, stage_column};
use crate::definition::text::{identifier, literal};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "journey_stages",
    arguments: || call::arguments(&[]),
    plan,
    population: None,
    info,
};

/// The function's own columns, which no dimension may be called like.
pub const COLUMNS: [&str; 7] = [
    "stage_no",
    "stage",
    "stage_entered_at",
    "stage_left_at",
    "stage_outcome",
    "stage_days",
    "mature",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "journey_stages".to_owned(),
        kind: FunctionKind::Table,
        arguments: format!("funnel text, {}", call::SIGNATURE),
        result: "SETOF record".to_owned(),
        description:
            "One row for each journey of a funnel and each stage that it reached: when, for \
                      how long, and how that ended."
                .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let call = Call::take_without_segments(arguments)?;
    sql::plan(arguments, call.written(), &query(&call))
}

fn query(call: &Call) -> String {
    let last = call.funnel.definition.stages.len();
    let kept = journey_columns(&call.funnel).join(", ");
    let name = stage_name(&call.funnel);
    let journeys = call.journeys_with_steps();
    let as_of = call.as_of();
    format!(
        "SELECT {kept}, stage_no, stage, stage_entered_at, stage_left_at, stage_outcome,
       (CAST(CASE stage_outcome WHEN 'passed' THEN stage_left_at WHEN 'open' THEN {as_of} ELSE ended_at END AS bigint)
         - CAST(stage_entered_at AS bigint)) / 86400000000.0 AS stage_days,
       mature, stage_entered_at IS NULL AS skipped, reentered, back_moves
FROM (
  SELECT {kept}, mature,
         step['stage_no'] AS stage_no,
         {name} AS stage,
         step['entered_at'] AS stage_entered_at,
         step['left_at'] AS stage_left_at,
         CASE WHEN step['passed'] OR step['stage_no'] = {last} THEN 'passed' ELSE status END AS stage_outcome,
         step['reentered'] AS reentered,
         step['back_moves'] AS back_moves
  FROM (SELECT {kept}, mature, unnest(steps) AS step FROM {journeys}) AS steps
  WHERE step['reached']
) AS reached"
    )
}

/// The columns of `journeys` that say something of each stage, too.
pub(super) fn journey_columns(funnel: &ResolvedFunnel) -> Vec<String> {
    let mut columns = vec![identifier(&funnel.entity_name)];
    columns.extend(funnel.dimensions.iter().map(|(name, _)| identifier(name)));
    columns.extend(["owner", "started_at"].map(str::to_owned));
    let stages = funnel.stage_names();
    columns.extend(stages.iter().map(|stage| identifier(&stage_column(stage))));
    let end = [
        "furthest_stage",
        "status",
        "ended_at",
        "lost_stage",
        "lost_reason",
        "value",
    ];
    columns.extend(end.map(identifier));
    columns
}

fn stage_name(funnel: &ResolvedFunnel) -> String {
    let names = funnel.stage_names();
    let cases = (1..)
        .zip(&names)
        .map(|(no, name)| format!("WHEN {no} THEN {}", literal(name)));
    format!(
        "CASE step['stage_no'] {} END",
        cases.collect::<Vec<_>>().join(" ")
    )
}
