//! The plan that turns a funnel's rows into journeys: one row for each entity.
//!
//! - **Events and stage histories**: rows with a time up to `as_of` → one bit for each stage that a row
//!   enters → `GROUP BY entity` with the [`journey`](crate::aggregate::journey) aggregate. A dimension is
//!   the entity's earliest value that isn't NULL, owner and value are the latest ones; of values at the
//!   same time the smallest is the earliest and the greatest the latest, so that the order in which rows
//!   arrive never matters.
//! - **Wide tables**: each row is a journey already; [`journey_row`](crate::scalar::journey_row) applies
//!   the same rules to its dates. Nothing is grouped, so a filter on a dimension reaches the scan.
//!
//! Rows whose entity is NULL belong to nobody and are left out.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, cast, lit, when,
};
use datafusion::prelude::get_field;

use super::model::Counting;
use super::resolve::{ResolvedFunnel, Shape, column, instant_type, stage_column};
use crate::UTC;
use crate::aggregate::journey::{MAX_STAGES, field, journey_udaf};
use crate::aggregate::touch::{first_touch_udaf, last_touch_udaf};
use crate::scalar::condition_mask::condition_mask;
use crate::scalar::journey_row::journey_row_udf;

/// Hidden columns behind those of `journeys`, for the functions that aggregate them.
pub mod hidden {
    /// One element for each stage; see [`crate::aggregate::journey`].
    pub const STEPS: &str = "__steps";
    /// Whether the journey's whole window lies before `as_of`.
    pub const MATURE: &str = "__mature";
    /// When its window ends; NULL without one.
    pub const DEADLINE: &str = "__deadline";
    /// The highest stage reached, from 1.
    pub const FURTHEST: &str = "__furthest";
}

const JOURNEY: &str = "__journey";
const ENTITY: &str = "__entity";
const TIME: &str = "__time";
const STAGES: &str = "__stages";
const LOST: &str = "__lost";
const REASON: &str = "__reason";
const VALUE: &str = "__value";
const OWNER: &str = "__owner";

/// What a query may say about how journeys are made.
#[derive(Debug, Clone)]
pub struct JourneyOptions {
    /// How entries count.
    pub counting: Counting,
    /// An instant; what happened after it is not known yet.
    pub as_of: Expr,
    /// Where a date or a timestamp without a zone lies.
    pub time_zone: String,
}

/// The journeys of `funnel`: the public columns, then the [`hidden`] ones.
///
/// # Errors
/// XX000 when the plan's parts don't fit together, which a resolved funnel rules out.
pub fn journeys(funnel: &ResolvedFunnel, options: &JourneyOptions) -> Result<LogicalPlan> {
    let grouped = match &funnel.shape {
        Shape::Events { time, stages, lost } => {
            from_events(funnel, options, time, stages, lost.as_ref())?
        }
        Shape::Wide { stages, lost } => from_rows(funnel, options, stages, lost.as_ref())?,
    };
    LogicalPlanBuilder::from(grouped)
        .project(columns(funnel, options)?)?
        .build()
}

fn from_events(
    funnel: &ResolvedFunnel,
    options: &JourneyOptions,
    time: &Expr,
    stages: &[Expr],
    lost: Option<&Expr>,
) -> Result<LogicalPlan> {
    let source = LogicalPlanBuilder::from(funnel.source.clone());
    let instant = to_instant(time, funnel.source.schema(), &options.time_zone)?;
    let known = funnel
        .entity
        .clone()
        .is_not_null()
        .and(time.clone().is_not_null())
        .and(instant.clone().lt_eq(options.as_of.clone()));
    let mut projected = vec![
        funnel.entity.clone().alias(ENTITY),
        instant.alias(TIME),
        condition_mask(stages.to_vec(), MAX_STAGES).alias(STAGES),
    ];
    // What the funnel doesn't define stays a constant in the call, so that planning knows it.
    let mut argument = |value: Option<&Expr>, name: &str, otherwise: Expr| match value {
        Some(value) => {
            projected.push(value.clone().alias(name));
            column(name)
        }
        None => otherwise,
    };
    let lost = argument(lost, LOST, lit(false));
    let reason = argument(funnel.reason.as_ref(), REASON, lit(ScalarValue::Utf8(None)));
    projected.extend(
        attributes(funnel)
            .into_iter()
            .map(|(name, value, _)| value.alias(name)),
    );
    let mut aggregates = vec![journey_call(funnel, options, lost, reason).alias(JOURNEY)];
    for (name, _, end) in attributes(funnel) {
        aggregates.push(at_end(&name, end).alias(&name));
    }
    source
        .filter(known)?
        .project(projected)?
        .aggregate(vec![column(ENTITY)], aggregates)?
        .filter(column(JOURNEY).is_not_null())?
        .build()
}

/// Which value of an entity's rows stands for it.
#[derive(Clone, Copy)]
enum End {
    Earliest,
    Latest,
}

/// Dimensions, value and owner, under the names that they have until the last projection.
fn attributes(funnel: &ResolvedFunnel) -> Vec<(String, Expr, End)> {
    let mut attributes: Vec<(String, Expr, End)> = funnel
        .dimensions
        .iter()
        .enumerate()
        .map(|(at, (_, value))| (dimension_name(at), value.clone(), End::Earliest))
        .collect();
    attributes.extend(
        funnel
            .value
            .iter()
            .map(|value| (VALUE.to_owned(), value.clone(), End::Latest)),
    );
    attributes.extend(
        funnel
            .owner
            .iter()
            .map(|owner| (OWNER.to_owned(), owner.clone(), End::Latest)),
    );
    attributes
}

fn dimension_name(at: usize) -> String {
    format!("__dimension_{at}")
}

fn at_end(name: &str, end: End) -> Expr {
    let function = match end {
        End::Earliest => first_touch_udaf(),
        End::Latest => last_touch_udaf(),
    };
    function.call(vec![column(name), column(TIME)])
}

fn journey_call(
    funnel: &ResolvedFunnel,
    options: &JourneyOptions,
    lost: Expr,
    reason: Expr,
) -> Expr {
    let stage_count = i32::try_from(funnel.definition.stages.len()).unwrap_or(i32::MAX);
    let arguments = vec![
        column(TIME),
        column(STAGES),
        lost,
        reason,
        lit(options.counting.to_string()),
        window(funnel),
        lit(stage_count),
    ];
    Expr::AggregateFunction(AggregateFunction::new_udf(
        journey_udaf(),
        arguments,
        false,
        None,
        vec![],
        None,
    ))
}

fn window(funnel: &ResolvedFunnel) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(funnel.window))
}

fn from_rows(
    funnel: &ResolvedFunnel,
    options: &JourneyOptions,
    stages: &[Expr],
    lost: Option<&Expr>,
) -> Result<LogicalPlan> {
    let schema = funnel.source.schema();
    let known = |time: &Expr| -> Result<Expr> {
        let instant = to_instant(time, schema, &options.time_zone)?;
        when(instant.clone().lt_eq(options.as_of.clone()), instant).end()
    };
    let times = stages.iter().map(known).collect::<Result<Vec<_>>>()?;
    // A journey has a start: in strict counting the first stage's, otherwise that of any stage.
    let starts = match options.counting {
        Counting::Strict => &times[..1],
        Counting::Ordered | Counting::Any => &times[..],
    };
    let started = starts
        .iter()
        .map(|time| time.clone().is_not_null())
        .reduce(Expr::or)
        .unwrap_or_else(|| lit(false));
    let mut arguments = vec![lit(options.counting.to_string()), window(funnel)];
    arguments.extend(times);
    arguments.push(match lost {
        Some(lost) => known(lost)?,
        None => lit(ScalarValue::try_from(&instant_type())?),
    });
    arguments.push(
        funnel
            .reason
            .clone()
            .unwrap_or_else(|| lit(ScalarValue::Utf8(None))),
    );
    let mut projected = vec![
        funnel.entity.clone().alias(ENTITY),
        journey_row_udf().call(arguments).alias(JOURNEY),
    ];
    projected.extend(
        attributes(funnel)
            .into_iter()
            .map(|(name, value, _)| value.alias(name)),
    );
    LogicalPlanBuilder::from(funnel.source.clone())
        .filter(funnel.entity.clone().is_not_null().and(started))?
        .project(projected)?
        .build()
}

/// The public columns and the hidden ones, from the struct that the kernel returns.
fn columns(funnel: &ResolvedFunnel, options: &JourneyOptions) -> Result<Vec<Expr>> {
    let journey = |name: &str| get_field(column(JOURNEY), name);
    let outcome = journey(field::OUTCOME);
    let deadline = journey(field::DEADLINE);
    let past = deadline.clone().lt(options.as_of.clone());
    let status = when(outcome.clone().is_not_null(), outcome)
        .when(past.clone(), lit("expired"))
        .otherwise(lit("open"))?;
    let unfinished = journey(field::OUTCOME).is_null();
    let ended =
        when(unfinished.and(past.clone()), deadline.clone()).otherwise(journey(field::ENDED_AT))?;
    let furthest_stage = stage_name(funnel, &journey(field::FURTHEST))?;
    let lost_stage = when(
        status
            .clone()
            .in_list(vec![lit("lost"), lit("expired")], false),
        furthest_stage.clone(),
    )
    .end()?;
    let mut columns = vec![column(ENTITY).alias(&funnel.entity_name)];
    for (at, (name, _)) in funnel.dimensions.iter().enumerate() {
        columns.push(column(&dimension_name(at)).alias(name));
    }
    let owner = funnel.owner.as_ref().map(|_| column(OWNER));
    columns.push(
        owner
            .unwrap_or_else(|| lit(ScalarValue::Utf8(None)))
            .alias("owner"),
    );
    columns.push(journey(field::STARTED_AT).alias("started_at"));
    for (at, stage) in funnel.stage_names().iter().enumerate() {
        columns.push(entered_at(at).alias(stage_column(stage)));
    }
    let value = funnel.value.as_ref().map(|_| column(VALUE));
    columns.extend([
        furthest_stage.alias("furthest_stage"),
        status.alias("status"),
        ended.alias("ended_at"),
        lost_stage.alias("lost_stage"),
        journey(field::LOST_REASON).alias("lost_reason"),
        value
            .unwrap_or_else(|| lit(ScalarValue::Float64(None)))
            .alias("value"),
        journey(field::SKIPPED).alias("skipped"),
        journey(field::REENTERED).alias("reentered"),
        journey(field::BACK_MOVES).alias("back_moves"),
        journey(field::STEPS).alias(hidden::STEPS),
        deadline.clone().is_null().or(past).alias(hidden::MATURE),
        deadline.alias(hidden::DEADLINE),
        journey(field::FURTHEST).alias(hidden::FURTHEST),
    ]);
    Ok(columns)
}

fn entered_at(stage_idx: usize) -> Expr {
    let number = i64::try_from(stage_idx + 1).unwrap_or(i64::MAX);
    let steps = get_field(column(JOURNEY), field::STEPS);
    // NULL beyond the furthest stage, where the list has ended.
    let step = datafusion::functions_nested::expr_fn::array_element(steps, lit(number));
    get_field(step, field::ENTERED_AT)
}

/// The name of the stage of that number, from 1.
fn stage_name(funnel: &ResolvedFunnel, number: &Expr) -> Result<Expr> {
    let names = funnel.stage_names();
    let mut cases = datafusion::logical_expr::case(number.clone());
    let mut last = None;
    for (at, name) in names.iter().enumerate() {
        let number = i32::try_from(at + 1).unwrap_or(i32::MAX);
        last = Some(cases.when(lit(number), lit(name.as_str())));
    }
    match last {
        Some(cases) => cases.end(),
        None => Ok(lit(ScalarValue::Utf8(None))),
    }
}

/// A date or timestamp as an instant, in microseconds. One without a zone lies in `time_zone`, as
/// Postgres reads it.
///
/// # Errors
/// An expression whose columns `schema` doesn't have.
pub fn to_instant(
    time: &Expr,
    schema: &datafusion::common::DFSchema,
    time_zone: &str,
) -> Result<Expr> {
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some(time_zone.into()));
    Ok(match time.get_type(schema)? {
        found if found == instant_type() => time.clone(),
        DataType::Timestamp(_, Some(_)) => cast(time.clone(), instant_type()),
        _ if is_utc(time_zone) => cast(cast(time.clone(), local), instant_type()),
        _ => cast(cast(cast(time.clone(), local), zoned), instant_type()),
    })
}

fn is_utc(time_zone: &str) -> bool {
    time_zone == "UTC" || time_zone == UTC
}
