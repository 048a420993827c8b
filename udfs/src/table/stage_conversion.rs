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

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{count, max, sum};
use datafusion::functions_aggregate::percentile_cont::percentile_cont;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, LogicalPlan, LogicalPlanBuilder, WindowFunctionDefinition,
    cast, lit, when,
};
use datafusion::prelude::get_field;

use super::TableFunction;
use super::arguments::Arguments;
use super::base::Base;
use crate::aggregate::journey::field;
use crate::definition::journeys::hidden;
use crate::definition::resolve::column;
use crate::scalar::bar::bar_udf;
use crate::scalar::drill_key::drill_key_udf;
use crate::scalar::rate_ci::{rate_lower_udf, rate_upper_udf};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "stage_conversion",
    arguments: &[
        "as_of", "by", "counting", "entity", "since", "stage", "stages", "time", "until", "value",
        "where", "window",
    ],
    plan,
    info,
};

/// Width of the longest bar, in characters.
const BAR_WIDTH: i64 = 30;

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "stage_conversion".to_owned(),
        kind: FunctionKind::Table,
        arguments:
            "funnel text, by text DEFAULT NULL, since timestamp with time zone DEFAULT NULL, \
                    until timestamp with time zone DEFAULT NULL, \
                    as_of timestamp with time zone DEFAULT now(), counting text DEFAULT NULL, \
                    \"where\" text DEFAULT NULL"
                .to_owned(),
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

/// What is counted at a stage; 0 where nobody came.
const COUNTS: [&str; 10] = [
    "entered",
    "passed",
    "lost",
    "open",
    "expired",
    "k",
    "n",
    "skipped",
    "reentered",
    "back_moves",
];

/// What is measured at a stage; NULL where nobody came.
const MEASURES: [&str; 3] = ["median_days", "p90_days", "amount"];

const STEP: &str = "__step";
const STAGE_NO: &str = "stage_no";

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let base = Base::take(arguments)?;
    let grouped = group_steps(&base)?;
    let stages = with_stage_names(&base, grouped)?;
    finish(&base, stages)
}

/// One row for each journey and stage → one for each segment and stage.
fn group_steps(base: &Base) -> Result<LogicalPlan> {
    let mut kept = base.segments.projected();
    kept.extend([
        column("status").alias("__status"),
        column("value").alias("__value"),
        Base::mature(),
        column(hidden::STEPS).alias(STEP),
    ]);
    let last = i32::try_from(base.funnel.definition.stages.len()).unwrap_or(i32::MAX);
    let mut groups = base.segments.grouped();
    groups.push(column(STAGE_NO));
    LogicalPlanBuilder::from(base.plan.clone())
        .project(kept)?
        .unnest_column(Column::new_unqualified(STEP))?
        .project(step_columns(base, last))?
        .aggregate(groups, totals()?)?
        .build()
}

/// What a journey was at one stage, as conditions that can be counted.
fn step_columns(base: &Base, last: i32) -> Vec<Expr> {
    let step = |name: &str| get_field(column(STEP), name);
    let reached = step(field::REACHED);
    let passed = step(field::PASSED).or(step(field::STAGE_NO).eq(lit(last)));
    let stuck = reached.clone().and(!passed.clone());
    let mature = reached.clone().and(Base::mature());
    let is = |status: &str| column("__status").eq(lit(status));
    let mut columns = base.segments.grouped();
    columns.extend([
        step(field::STAGE_NO).alias(STAGE_NO),
        reached.clone().alias("__reached"),
        reached.clone().and(passed.clone()).alias("__passed"),
        stuck
            .clone()
            .and(is("lost").or(is("expired")))
            .alias("__lost"),
        stuck.clone().and(is("expired")).alias("__expired"),
        stuck.and(is("open")).alias("__open"),
        mature.clone().alias("__mature"),
        mature.and(passed).alias("__mature_passed"),
        reached
            .clone()
            .and(step(field::ENTERED_AT).is_null())
            .alias("__skipped"),
        step(field::REENTERED).gt(lit(0)).alias("__reentered"),
        step(field::BACK_MOVES).alias("__back_moves"),
        days_between(step(field::ENTERED_AT), step(field::LEFT_AT)).alias("__days"),
        column("__value"),
    ]);
    columns
}

/// Days of 24 hours from one instant to another; NULL where one is.
fn days_between(from: Expr, to: Expr) -> Expr {
    let microseconds = |instant| cast(cast(instant, DataType::Int64), DataType::Float64);
    (microseconds(to) - microseconds(from)) / lit(86_400_000_000.0)
}

fn totals() -> Result<Vec<Expr>> {
    let counted = |name: &str, of: &str| -> Result<Expr> {
        Ok(count(lit(1)).filter(column(of)).build()?.alias(name))
    };
    let quantile = |name: &str, share: f64| -> Result<Expr> {
        let days = column("__days").sort(true, false);
        Ok(percentile_cont(days, lit(share)).alias(name))
    };
    Ok(vec![
        counted("entered", "__reached")?,
        counted("passed", "__passed")?,
        counted("lost", "__lost")?,
        counted("open", "__open")?,
        counted("expired", "__expired")?,
        counted("k", "__mature_passed")?,
        counted("n", "__mature")?,
        counted("skipped", "__skipped")?,
        counted("reentered", "__reentered")?,
        sum(cast(column("__back_moves"), DataType::Int64)).alias("back_moves"),
        quantile("median_days", 0.5)?,
        quantile("p90_days", 0.9)?,
        sum(column("__value"))
            .filter(column("__reached"))
            .build()?
            .alias("amount"),
    ])
}

/// Names the stages, and gives each segment a row for every stage. Without `by` there is a segment even if
/// nobody entered the funnel.
fn with_stage_names(base: &Base, grouped: LogicalPlan) -> Result<LogicalPlan> {
    let rows = base
        .funnel
        .stage_names()
        .into_iter()
        .enumerate()
        .map(|(at, name)| vec![lit(i32::try_from(at + 1).unwrap_or(i32::MAX)), lit(name)])
        .collect();
    let names = LogicalPlanBuilder::values(rows)?
        .project(vec![
            column("column1").alias("__no"),
            column("column2").alias("stage"),
        ])?
        .build()?;
    let names = LogicalPlanBuilder::from(names);
    let is_stage = column("__no").eq(column(STAGE_NO));
    if base.segments.names.is_empty() {
        return names.join_on(grouped, JoinType::Left, [is_stage])?.build();
    }
    // Steps end with the furthest stage, but each begins with the first: that row stands for the segment.
    let stands_for_segment = column(STAGE_NO).eq(lit(1));
    let mut groups = base.segments.grouped();
    groups.extend([column("__no"), column("stage")]);
    let own = |name: &str| -> Result<Expr> {
        let value = max(column(name)).filter(is_stage.clone()).build()?;
        Ok(value.alias(name))
    };
    let totals = COUNTS
        .into_iter()
        .chain(MEASURES)
        .map(own)
        .collect::<Result<Vec<_>>>()?;
    names
        .join_on(
            grouped,
            JoinType::Inner,
            [is_stage.clone().or(stands_for_segment)],
        )?
        .aggregate(groups, totals)?
        .build()
}

fn finish(base: &Base, stages: LogicalPlan) -> Result<LogicalPlan> {
    let counted = |name: &str| or_zero(column(name), lit(0_i64));
    let mut columns = base.segments.grouped();
    columns.extend([
        base.segments.text()?.alias("segment"),
        column("__no"),
        column("stage"),
    ]);
    for name in COUNTS {
        columns.push(counted(name)?.alias(name));
    }
    columns.extend(MEASURES.map(column));
    let first = |name: &str| first_stage(base, column(name));
    let counted = LogicalPlanBuilder::from(stages)
        .project(columns)?
        .window([
            first("n")?.alias("__first_n"),
            first("entered")?.alias("__first_entered"),
        ])?
        .build()?;
    let mut order: Vec<_> = base
        .segments
        .grouped()
        .into_iter()
        .map(|name| name.sort(true, false))
        .collect();
    order.push(column("__no").sort(true, false));
    LogicalPlanBuilder::from(counted)
        .sort(order)?
        .project(result(base)?)?
        .build()
}

/// The first stage's value, on every row of its segment.
fn first_stage(base: &Base, value: Expr) -> Result<Expr> {
    let function = WindowFunctionDefinition::WindowUDF(
        datafusion::functions_window::nth_value::first_value_udwf(),
    );
    Expr::from(WindowFunction::new(function, vec![value]))
        .partition_by(base.segments.grouped())
        .order_by(vec![column("__no").sort(true, false)])
        .build()
}

fn or_zero(value: Expr, zero: Expr) -> Result<Expr> {
    when(value.clone().is_null(), zero).otherwise(value)
}

fn result(base: &Base) -> Result<Vec<Expr>> {
    let last = i32::try_from(base.funnel.definition.stages.len()).unwrap_or(i32::MAX);
    let goes_on = column("__no").lt(lit(last));
    let no_rate = lit(ScalarValue::Float64(None));
    let of = |k: Expr, n: Expr| -> Result<Expr> {
        let rate = cast(k, DataType::Float64) / cast(n.clone(), DataType::Float64);
        when(n.gt(lit(0_i64)), rate).otherwise(no_rate.clone())
    };
    let rated = |value: Expr| when(goes_on.clone(), value).otherwise(no_rate.clone());
    let rate = of(column("k"), column("n"))?;
    let bound = |function: std::sync::Arc<datafusion::logical_expr::ScalarUDF>| {
        function.call(vec![column("k"), column("n")])
    };
    let mut columns = base.segments.shown(&COLUMNS);
    columns.extend([
        column("segment"),
        column("__no").alias(STAGE_NO),
        column("stage"),
    ]);
    columns.extend(["entered", "passed", "lost", "open", "expired", "k", "n"].map(column));
    columns.extend([
        rated(rate.clone())?.alias("rate"),
        rated(bound(rate_lower_udf()))?.alias("lo"),
        rated(bound(rate_upper_udf()))?.alias("hi"),
        of(column("n"), column("__first_n"))?.alias("cum_rate"),
        rated(lit(1.0) - rate)?.alias("dropoff_rate"),
    ]);
    columns.extend(
        [
            "skipped",
            "reentered",
            "back_moves",
            "median_days",
            "p90_days",
            "amount",
        ]
        .map(column),
    );
    columns.extend([
        status(base)?.alias("status"),
        drill_key(base).alias("drill_key"),
        bar()?.alias("bar"),
    ]);
    Ok(columns)
}

fn status(base: &Base) -> Result<Expr> {
    let immature = match base.funnel.window {
        Some(_) => column("n").eq(lit(0_i64)),
        None => column("open").gt(lit(0_i64)),
    };
    when(column("entered").eq(lit(0_i64)), lit("no_data"))
        .when(immature, lit("immature"))
        .otherwise(lit("ok"))
}

fn drill_key(base: &Base) -> Expr {
    let text = |value: Expr| cast(value, DataType::Utf8);
    let given = |value: &Option<Expr>| match value {
        Some(value) => text(value.clone()),
        None => lit(ScalarValue::Utf8(None)),
    };
    let mut pairs = vec![
        lit(6_i64),
        lit("funnel"),
        lit(base.funnel.definition.name.as_str()),
        lit("counting"),
        lit(base.options.counting.to_string()),
        lit("since"),
        given(&base.since),
        lit("until"),
        given(&base.until),
        lit("as_of"),
        text(base.options.as_of.clone()),
        lit("stage"),
        column("stage"),
    ];
    pairs.extend(base.segments.pairs());
    drill_key_udf().call(pairs)
}

fn bar() -> Result<Expr> {
    let first = column("__first_entered");
    let drawn = bar_udf().call(vec![
        cast(column("entered"), DataType::Float64),
        lit(0.0),
        cast(first.clone(), DataType::Float64),
        lit(BAR_WIDTH),
    ]);
    // Nobody entered: there is nothing to draw against.
    when(first.gt(lit(0_i64)), drawn).otherwise(lit(""))
}
