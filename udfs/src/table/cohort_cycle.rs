//! `cohort_cycle('funnel')`: how many of each cohort won by the same age, so that young cohorts are not
//! taken for bad ones.
//!
//! A cohort is the journeys that started in one calendar period of the session's time zone. For each age
//! (days of 24 hours since the start) there is a row.
//!
//! # Columns
//! - each column of `by`, under its name, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `cohort` date: the first day of the period
//! - `n` bigint: journeys of the cohort
//! - `age` bigint: days since the start
//! - `k` bigint: of these, those that are known to have reached the stage by that age
//! - `rate`: the share that reached the stage by that age, with `lo` and `hi`, its 95 % interval
//! - `mature` boolean: every journey of the cohort has been watched for that long
//! - `n_full_window` bigint: journeys that have been watched for that long
//! - `status` text: `ok`; `immature` (not mature: no rate); `partial` (not mature: estimated)
//!
//! A mature cell is k / n with Wilson's interval. An immature one is NULL, or with `partial => true` the
//! Aalen–Johansen estimate of the cumulative incidence: a journey that is open or expired is censored, a
//! lost one is a competing outcome. It is NULL beyond the longest time that a journey of the cohort has
//! been watched. See [`cumulative_incidence`](crate::aggregate::cumulative_incidence).
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion); `every`: `day`, `week` (from Monday), `month`,
//! `quarter`, `year`; `ages`: whole days, `[30, 60, 90]`; `stage`: the last one; `partial`.
//!
//! Cost: one pass over the journeys, and a row for each journey and age.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::{coalesce, greatest, least};
use datafusion::functions::datetime::expr_fn::{date_trunc, to_local_time};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::functions_nested::expr_fn::{array_element, make_array};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, LogicalPlan, LogicalPlanBuilder, cast, lit, when,
};
use datafusion::prelude::get_field;

use super::TableFunction;
use super::arguments::Arguments;
use super::base::Base;
use crate::aggregate::cumulative_incidence::cumulative_incidence_udaf;
use crate::definition::journeys::hidden;
use crate::definition::resolve::{column, stage_column};
use crate::error::{FunnelError, Kind};
use crate::scalar::rate_ci::{rate_lower_udf, rate_upper_udf};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "cohort_cycle",
    arguments: &[
        "ages", "as_of", "by", "counting", "entity", "every", "partial", "since", "stage",
        "stages", "time", "until", "value", "where", "window",
    ],
    plan,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "cohort_cycle".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text, every text DEFAULT 'month', ages bigint[] DEFAULT '{30,60,90}', \
                    stage text DEFAULT NULL, partial boolean DEFAULT false, by text DEFAULT NULL, \
                    since timestamp with time zone DEFAULT NULL, \
                    until timestamp with time zone DEFAULT NULL, \
                    as_of timestamp with time zone DEFAULT now(), counting text DEFAULT NULL, \
                    \"where\" text DEFAULT NULL"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description: "How many of each cohort reached a stage by the same age, with maturity."
            .to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 11] = [
    "segment",
    "cohort",
    "n",
    "age",
    "k",
    "rate",
    "lo",
    "hi",
    "mature",
    "n_full_window",
    "status",
];

const PERIODS: [&str; 5] = ["day", "week", "month", "quarter", "year"];
const DEFAULT_AGES: [i64; 3] = [30, 60, 90];
const DAY_US: f64 = 86_400_000_000.0;

struct Cohorts {
    every: String,
    ages: Vec<i64>,
    stage_idx: usize,
    partial: bool,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let every = arguments
        .take_text("every")?
        .unwrap_or_else(|| "month".to_owned())
        .to_lowercase();
    if !PERIODS.contains(&every.as_str()) {
        let periods = format!("one of {}", PERIODS.join(", "));
        return Err(arguments.invalid("every", &format!("\"{every}\""), &periods));
    }
    let ages = arguments
        .take_numbers("ages")?
        .unwrap_or_else(|| DEFAULT_AGES.to_vec());
    let partial = arguments.take_bool("partial")?;
    // Over a query, `stage` names the column of the stages.
    let stage = match arguments.is_over_query() {
        true => None,
        false => arguments.take_text("stage")?,
    };
    let base = Base::take(arguments)?;
    arguments.look_at("stage");
    let stage_idx = stage_idx(&base, stage.as_deref())?;
    let cohorts = Cohorts {
        every,
        ages,
        stage_idx,
        partial,
    };
    let watched = watched(&base, &cohorts)?;
    let grouped = group(&base, &cohorts, watched)?;
    finish(&base, &cohorts, grouped)
}

fn stage_idx(base: &Base, name: Option<&str>) -> Result<usize> {
    let stages = base.funnel.stage_names();
    let Some(name) = name else {
        return Ok(stages.len() - 1);
    };
    stages
        .iter()
        .position(|stage| stage == name)
        .ok_or_else(|| {
            FunnelError::Unknown {
                kind: Kind::Stage,
                name: name.to_owned(),
                place: format!(" in funnel \"{}\"", base.funnel.definition.name),
                existing: stages,
            }
            .into()
        })
}

/// Each journey with its cohort, how long it took or has been watched, and how that ended.
fn watched(base: &Base, cohorts: &Cohorts) -> Result<LogicalPlan> {
    // A stage that was passed over is reached with the next one that was entered.
    let later: Vec<Expr> = base.funnel.stage_names()[cohorts.stage_idx..]
        .iter()
        .map(|stage| column(&stage_column(stage)))
        .collect();
    let reached_at = coalesce(later);
    let as_of = base.options.as_of.clone();
    let watched_until = least(vec![
        as_of,
        coalesce(vec![column(hidden::DEADLINE), base.options.as_of.clone()]),
    ]);
    let lost = column("status").eq(lit("lost"));
    let outcome = when(reached_at.clone().is_not_null(), lit("won"))
        .when(lost.clone(), lit("lost"))
        .otherwise(lit("open"))?;
    let end = when(reached_at.clone().is_not_null(), reached_at.clone())
        .when(lost, column("ended_at"))
        .otherwise(watched_until)?;
    let mut columns = base.segments.projected();
    columns.extend([
        cohort(base, &cohorts.every).alias("cohort"),
        days_since_start(end).alias("__days"),
        outcome.alias("__outcome"),
        days_since_start(base.options.as_of.clone()).alias("__watched"),
    ]);
    LogicalPlanBuilder::from(base.plan.clone())
        .project(columns)?
        .build()
}

/// The first day of the period, by the session's calendar.
fn cohort(base: &Base, every: &str) -> Expr {
    let zone = base.options.time_zone.as_str();
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()));
    let local = to_local_time(vec![cast(column("started_at"), zoned)]);
    cast(date_trunc(lit(every), local), DataType::Date32)
}

fn days_since_start(instant: Expr) -> Expr {
    let microseconds = |instant| cast(cast(instant, DataType::Int64), DataType::Float64);
    (microseconds(instant) - microseconds(column("started_at"))) / lit(DAY_US)
}

fn ages_array(cohorts: &Cohorts) -> Expr {
    make_array(cohorts.ages.iter().map(|age| lit(*age as f64)).collect())
}

/// One row for each cohort and age.
fn group(base: &Base, cohorts: &Cohorts, watched: LogicalPlan) -> Result<LogicalPlan> {
    let rows = cohorts
        .ages
        .iter()
        .enumerate()
        .map(|(at, age)| vec![lit(*age), lit(i64::try_from(at + 1).unwrap_or(i64::MAX))])
        .collect();
    let ages = LogicalPlanBuilder::values(rows)?
        .project(vec![
            column("column1").alias("age"),
            column("column2").alias("__age_no"),
        ])?
        .build()?;
    let age = cast(column("age"), DataType::Float64);
    let counted = |name: &str, of: Expr| -> Result<Expr> {
        Ok(count(lit(1)).filter(of).build()?.alias(name))
    };
    let won_by = column("__outcome")
        .eq(lit("won"))
        .and(column("__days").lt_eq(age.clone()));
    let full = column("__watched").gt_eq(age);
    let mut totals = vec![
        count(lit(1)).alias("n"),
        counted("k", won_by)?,
        counted("n_full_window", full)?,
        max(column("__watched")).alias("__longest"),
    ];
    if cohorts.partial {
        totals.push(incidence(cohorts).alias("__incidence"));
    }
    let mut groups = base.segments.grouped();
    groups.extend([column("cohort"), column("age"), column("__age_no")]);
    LogicalPlanBuilder::from(watched)
        .cross_join(ages)?
        .aggregate(groups, totals)?
        .build()
}

fn incidence(cohorts: &Cohorts) -> Expr {
    // A clock that runs backwards in the source must not stop the query; such a time counts as none.
    let days = greatest(vec![column("__days"), lit(0.0)]);
    let arguments = vec![days, column("__outcome"), ages_array(cohorts)];
    Expr::AggregateFunction(AggregateFunction::new_udf(
        cumulative_incidence_udaf(),
        arguments,
        false,
        None,
        vec![],
        None,
    ))
}

fn finish(base: &Base, cohorts: &Cohorts, grouped: LogicalPlan) -> Result<LogicalPlan> {
    let mature = column("n_full_window").eq(column("n"));
    let none = lit(ScalarValue::Float64(None));
    let estimate = |name: &str| -> Expr {
        match cohorts.partial {
            true => get_field(
                array_element(column("__incidence"), column("__age_no")),
                name,
            ),
            false => none.clone(),
        }
    };
    let cell = |exact: Expr, estimated: Expr| when(mature.clone(), exact).otherwise(estimated);
    let ratio = cast(column("k"), DataType::Float64) / cast(column("n"), DataType::Float64);
    let bound = |function: std::sync::Arc<datafusion::logical_expr::ScalarUDF>| {
        function.call(vec![column("k"), column("n")])
    };
    let status = when(mature.clone(), lit("ok"))
        .when(estimate("estimate").is_not_null(), lit("partial"))
        .otherwise(lit("immature"))?;
    let mut columns = base.segments.shown(&COLUMNS);
    columns.extend([
        base.segments.text()?.alias("segment"),
        column("cohort"),
        column("n"),
        column("age"),
        column("k"),
        cell(ratio, estimate("estimate"))?.alias("rate"),
        cell(bound(rate_lower_udf()), estimate("lo"))?.alias("lo"),
        cell(bound(rate_upper_udf()), estimate("hi"))?.alias("hi"),
        mature.clone().alias("mature"),
        column("n_full_window"),
        status.alias("status"),
    ]);
    let mut order: Vec<_> = base
        .segments
        .grouped()
        .into_iter()
        .map(|name| name.sort(true, false))
        .collect();
    order.extend([
        column("cohort").sort(true, false),
        column("age").sort(true, false),
    ]);
    LogicalPlanBuilder::from(grouped)
        .sort(order)?
        .project(columns)?
        .build()
}
