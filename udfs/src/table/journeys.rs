//! `journeys('funnel')`: one row for each entity, when it reached each stage and how it ended.
//!
//! # Columns
//! - the entity, under its own name
//! - each dimension, under its name
//! - `owner` text: who is responsible last
//! - `started_at` timestamptz: when the journey began; never NULL
//! - `<stage>_at` timestamptz, one for each stage: its first entry; NULL when it wasn't entered, or was
//!   passed over and entered afterwards
//! - `furthest_stage` text: the highest stage that was reached
//! - `status` text: `won` (the last stage), `lost`, `expired` (the window is over), `open`
//! - `ended_at` timestamptz: when it was won or lost, or its window ended; NULL while open
//! - `lost_stage` text: the furthest stage of a journey that was lost or expired
//! - `lost_reason` text: why it was lost
//! - `value` double precision: what it is worth
//! - `skipped` integer: stages that were passed over; `reentered` integer: entries into a stage that had
//!   been entered before; `back_moves` integer: moves to an earlier stage
//!
//! # Arguments
//! `as_of` (an instant, now): what happened after it isn't known; `since`, `until` (instants): journeys
//! that started at or after, and before; `counting` (`ordered`, `strict`, `any`); `where` (a condition
//! over these columns).

use datafusion::error::Result;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};

use super::TableFunction;
use super::arguments::Arguments;
use super::base::Base;
use crate::definition::journeys::{JourneyOptions, hidden, journeys};
use crate::definition::resolve::{ResolvedFunnel, column};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "journeys",
    arguments: &[
        "as_of", "counting", "entity", "since", "stage", "stages", "time", "until", "value",
        "where", "window",
    ],
    plan,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "journeys".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text, since timestamp with time zone DEFAULT NULL, \
                    until timestamp with time zone DEFAULT NULL, \
                    as_of timestamp with time zone DEFAULT now(), counting text DEFAULT NULL, \
                    \"where\" text DEFAULT NULL"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description:
            "One row for each entity of a funnel: when it reached each stage, how it ended."
                .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let base = Base::take(arguments)?;
    without_hidden(base.plan)
}

/// The journeys of a funnel without the hidden columns.
///
/// # Errors
/// XX000 when the plan's parts don't fit together, which a resolved funnel rules out.
pub fn public(funnel: &ResolvedFunnel, options: &JourneyOptions) -> Result<LogicalPlan> {
    without_hidden(journeys(funnel, options)?)
}

fn without_hidden(plan: LogicalPlan) -> Result<LogicalPlan> {
    let hidden = [
        hidden::STEPS,
        hidden::MATURE,
        hidden::DEADLINE,
        hidden::FURTHEST,
    ];
    let public: Vec<_> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !hidden.contains(name))
        .map(column)
        .collect();
    LogicalPlanBuilder::from(plan).project(public)?.build()
}
