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
//! over these columns); `steps` (false), which adds:
//! - `steps` list of structs, one for each stage up to the furthest: `stage_no`, `entered_at`, `left_at`,
//!   `reached`, `passed`, `reentered`, `back_moves`, as [`journey`](crate::aggregate::journey) returns them
//! - `mature` boolean: the journey's whole window lies before `as_of`; true without a window
//! - `deadline` timestamptz: when its window ends; NULL without one
//! - `furthest_stage_no` integer: the number of `furthest_stage`, from 1

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::functions::datetime::expr_fn::now;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Given, take_funnel};
use super::{journeys_sql, sql};
use crate::definition::journeys::{JourneyOptions, hidden, journeys};
use crate::definition::model::Counting;
use crate::definition::resolve::{ResolvedFunnel, column, instant_type};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "journeys",
    arguments: || call::arguments(&["steps"]),
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "journeys".to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, {}, steps boolean DEFAULT false",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description:
            "One row for each entity of a funnel: when it reached each stage, how it ended."
                .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let with_steps = arguments.take_bool("steps")?;
    // What is shown is written from the arguments, which planning takes.
    let given = Given::look(arguments);
    let funnel = take_funnel(arguments)?;
    let call = given.of(Arc::clone(&funnel));
    let options = options(arguments, &funnel)?;
    let condition = arguments.condition_text("where")?;
    let query = journeys_sql::query(&call, options.counting, condition.as_deref(), with_steps);
    arguments.record(&*sql::parse(&query)?);
    let plan = journeys(&funnel, &options)?;
    let plan = chosen(plan, arguments)?;
    match with_steps {
        true => with_hidden(plan),
        false => without_hidden(plan),
    }
}

fn options(arguments: &mut Arguments, funnel: &ResolvedFunnel) -> Result<JourneyOptions> {
    let counting = match arguments.take_text("counting")? {
        Some(name) => Counting::parse(&name)?,
        None => funnel.counting(),
    };
    let as_of = match arguments.take_instant("as_of")? {
        Some(instant) => instant,
        None => cast(now(), instant_type()),
    };
    Ok(JourneyOptions {
        counting,
        as_of,
        time_zone: arguments.time_zone(),
    })
}

/// The journeys that started in [since, until) and meet the condition.
fn chosen(plan: LogicalPlan, arguments: &mut Arguments) -> Result<LogicalPlan> {
    let since = arguments.take_instant("since")?;
    let until = arguments.take_instant("until")?;
    let condition = arguments.take_condition("where", plan.schema())?;
    let mut filters = Vec::new();
    filters.extend(since.map(|since| column("started_at").gt_eq(since)));
    filters.extend(until.map(|until| column("started_at").lt(until)));
    filters.extend(condition);
    match filters.into_iter().reduce(Expr::and) {
        Some(filter) => LogicalPlanBuilder::from(plan).filter(filter)?.build(),
        None => Ok(plan),
    }
}

/// The journeys of a funnel without the hidden columns.
///
/// # Errors
/// XX000 when the plan's parts don't fit together, which a resolved funnel rules out.
pub fn public(funnel: &ResolvedFunnel, options: &JourneyOptions) -> Result<LogicalPlan> {
    without_hidden(journeys(funnel, options)?)
}

/// The hidden columns, under the names that they have with `steps => true`.
const STEPS: [(&str, &str); 4] = [
    (hidden::STEPS, "steps"),
    (hidden::MATURE, "mature"),
    (hidden::DEADLINE, "deadline"),
    (hidden::FURTHEST, "furthest_stage_no"),
];

fn with_hidden(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns: Vec<_> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let name = field.name().as_str();
            let shown = STEPS.iter().find(|(hidden, _)| *hidden == name);
            column(name).alias(shown.map_or(name, |(_, shown)| shown))
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn without_hidden(plan: LogicalPlan) -> Result<LogicalPlan> {
    let public: Vec<_> = plan
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| STEPS.iter().all(|(hidden, _)| hidden != name))
        .map(column)
        .collect();
    LogicalPlanBuilder::from(plan).project(public)?.build()
}
