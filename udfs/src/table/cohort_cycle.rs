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
//! - `age` double precision: days since the start
//! - `k` bigint: of these, those that are known to have reached the stage by that age
//! - `rate`: the share that reached the stage by that age, with `lo` and `hi`, its 95 % interval
//! - `mature` boolean: every journey of the cohort has been watched for that long
//! - `n_full_window` bigint: journeys that have been watched for that long
//! - `status` text: `ok`; `immature` (not mature: no rate); `partial` (not mature: estimated)
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! A mature cell is k / n with Wilson's interval. An immature one is NULL, or with `partial => true` the
//! Aalen–Johansen estimate of the cumulative incidence: a journey that is open or expired is censored, a
//! lost one is a competing outcome. It is NULL beyond the longest time that a journey of the cohort has
//! been watched. See [`cumulative_incidence`](crate::aggregate::cumulative_incidence).
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion); `every`: `day`, `week`, `month`, `quarter`, `year`
//! or a number of them, `2 weeks`; `week_start`: `monday`; `ages`: days or lengths, `[7, 30, '36 hours']`;
//! `stage`: the last one; `partial`.
//!
//! Cost: one pass over the journeys.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::{Arguments, days};
use super::call::{self, Call};
use super::period::Period;
use super::population::Population;
use super::sql::{self, lines};
use crate::definition::resolve::stage_column;
use crate::definition::text::identifier;
use crate::error::{FunnelError, Kind};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by", "every", "week_start", "ages", "partial"]),
    plan,
    population: Some(|arguments| {
        let cohorts = Cohorts::take(arguments)?;
        Ok(cohorts.population())
    }),
    info,
};

const NAME: &str = "cohort_cycle";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, every text DEFAULT 'month', ages double precision[] DEFAULT '{{30,60,90}}', \
             stage text DEFAULT NULL, partial boolean DEFAULT false, by text DEFAULT NULL, {}, \
             week_start text DEFAULT 'monday'",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "How many of each cohort reached a stage by the same age, with maturity."
            .to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 12] = [
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
    "drill_key",
];

/// What is counted of a cohort at an age.
const COUNTS: [(&str, &str); 3] = [
    ("n", "true"),
    ("k", "__outcome = 'won' AND __days <= __age"),
    ("n_full_window", "__watched >= __age"),
];

const DEFAULT_AGES: [f64; 3] = [30.0, 60.0, 90.0];

/// One call's arguments.
struct Cohorts {
    call: Call,
    every: Period,
    /// Days, ascending.
    ages: Vec<f64>,
    /// The stage to reach, from 0.
    stage_idx: usize,
    partial: bool,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let cohorts = Cohorts::take(arguments)?;
    sql::plan(arguments, cohorts.call.written(), &cohorts.query())
}

impl Cohorts {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let every = Period::take(arguments)?;
        let ages = take_ages(arguments)?;
        let partial = arguments.take_bool("partial")?;
        // Over a query, `stage` names the column of the stages.
        let stage = match arguments.is_over_query() {
            true => None,
            false => arguments.take_text("stage")?,
        };
        let call = Call::take(arguments)?;
        arguments.look_at("stage");
        Ok(Self {
            stage_idx: stage_idx(&call, stage.as_deref())?,
            call,
            every,
            ages,
            partial,
        })
    }

    /// A row for each journey and age.
    fn population(&self) -> Population {
        let mut cell = self.call.segments.cell();
        cell.push(("cohort".to_owned(), "__cohort".to_owned()));
        cell.push(("age".to_owned(), "__age".to_owned()));
        let counts = COUNTS.map(|(name, condition)| (name, condition.to_owned()));
        Population {
            funnel: self.call.funnel(),
            rows: format!(
                "(\n  SELECT * FROM {} CROSS JOIN {}\n) AS at_ages",
                self.watched(),
                self.age_rows()
            ),
            of_stages: false,
            cell,
            parameters: Vec::new(),
            counts: counts.to_vec(),
        }
    }

    fn age_rows(&self) -> String {
        let ages = self.ages.iter().zip(1..);
        let rows = ages.map(|(age, no)| format!("({}, {no})", days_literal(*age)));
        let rows = rows.collect::<Vec<_>>().join(", ");
        format!("(VALUES {rows}) AS ages(__age, __age_no)")
    }

    /// Each journey with its cohort, how long it took or has been watched, and how that ended.
    fn watched(&self) -> String {
        // A stage that was passed over is reached with the next one that was entered.
        let later: Vec<String> = self.call.funnel.stage_names()[self.stage_idx..]
            .iter()
            .map(|stage| identifier(&stage_column(stage)))
            .collect();
        let reached_at = format!("coalesce({})", later.join(", "));
        let as_of = self.call.as_of();
        let cohort = self.every.start_of("started_at");
        let since_start = |instant: &str| {
            format!("(CAST({instant} AS bigint) - CAST(started_at AS bigint)) / 86400000000.0")
        };
        let end = since_start("__ended_at");
        let watched = since_start(&as_of);
        format!(
            "(
  SELECT *, {end} AS __days, {watched} AS __watched
  FROM (
    SELECT *, {cohort} AS __cohort,
           CASE WHEN {reached_at} IS NOT NULL THEN 'won' WHEN status = 'lost' THEN 'lost' ELSE 'open' END AS __outcome,
           CASE WHEN {reached_at} IS NOT NULL THEN {reached_at} WHEN status = 'lost' THEN ended_at
                ELSE least({as_of}, coalesce(deadline, {as_of})) END AS __ended_at
    FROM {journeys}
  ) AS ended
) AS watched",
            journeys = self.call.journeys_with_steps(),
        )
    }

    /// One row for each segment and cohort, with the counts of every age beside each other: a row for each journey
    /// and age would be grouped several times as long.
    fn counted(&self) -> String {
        let segments = &self.call.segments;
        let mut columns = segments.projected();
        columns.push("__cohort".to_owned());
        for (age, no) in self.ages.iter().zip(1..) {
            columns.extend(COUNTS.iter().map(|(name, condition)| {
                let condition = condition.replace("__age", &days_literal(*age));
                format!("count(*) FILTER (WHERE {condition}) AS {name}_{no}")
            }));
        }
        if self.partial {
            let ages: Vec<String> = self.ages.iter().map(|age| days_literal(*age)).collect();
            // A clock that runs backwards in the source must not stop the query; such a time counts as none.
            columns.push(format!(
                "cumulative_incidence(greatest(__days, 0.0), __outcome, ARRAY[{}]) AS incidence",
                ages.join(", ")
            ));
        }
        let mut groups = segments.columns();
        groups.push("__cohort".to_owned());
        format!(
            "SELECT\n{}\nFROM {}\nGROUP BY {}",
            lines(&columns),
            self.watched(),
            groups.join(", "),
        )
    }

    fn query(&self) -> String {
        let segments = &self.call.segments;
        let mut columns = segments.grouped();
        columns.extend(["__cohort", "__age", "__age_no"].map(str::to_owned));
        columns.extend(COUNTS.map(|(name, _)| {
            let ages = 1..=self.ages.len();
            let cases = ages.map(|no| format!("WHEN {no} THEN {name}_{no}"));
            let cases = cases.collect::<Vec<_>>().join(" ");
            format!("CASE __age_no {cases} END AS {name}")
        }));
        if self.partial {
            columns.push("incidence".to_owned());
        }
        let mut order = segments.grouped();
        order.extend(["__cohort", "__age"].map(str::to_owned));
        format!(
            "SELECT\n{}\nFROM (\nSELECT\n{}\nFROM (\n{}\n) AS cohorts\nCROSS JOIN {}\n) AS counted\nORDER BY {}",
            lines(&self.result()),
            lines(&columns),
            self.counted(),
            self.age_rows(),
            order.join(", "),
        )
    }

    fn result(&self) -> Vec<String> {
        let segments = &self.call.segments;
        let mature = "n_full_window = n";
        let cell = |exact: &str, part: &str| match self.partial {
            true => {
                format!("CASE WHEN {mature} THEN {exact} ELSE incidence[__age_no]['{part}'] END")
            }
            false => format!("CASE WHEN {mature} THEN {exact} END"),
        };
        let partial = match self.partial {
            true => "WHEN incidence[__age_no]['estimate'] IS NOT NULL THEN 'partial' ",
            false => "",
        };
        let mut key = segments.grouped_cell();
        key.push(("cohort".to_owned(), "__cohort".to_owned()));
        key.push(("age".to_owned(), "__age".to_owned()));
        let ages: Vec<String> = self.ages.iter().map(f64::to_string).collect();
        let own = [
            ("every", self.every.to_string()),
            ("week_start", self.every.week_start().to_owned()),
            ("ages", ages.join(",")),
            (
                "stage",
                self.call.funnel.definition.stages[self.stage_idx]
                    .name
                    .clone(),
            ),
        ];
        let mut columns = segments.shown(&COLUMNS);
        columns.push(format!("{} AS segment", segments.text()));
        columns.push("__cohort AS cohort".to_owned());
        columns.push("n".to_owned());
        columns.push("__age AS age".to_owned());
        columns.push("k".to_owned());
        columns.extend([
            format!(
                "{} AS rate",
                cell("k / CAST(n AS double precision)", "estimate")
            ),
            format!("{} AS lo", cell("rate_lower(k, n)", "lo")),
            format!("{} AS hi", cell("rate_upper(k, n)", "hi")),
            format!("{mature} AS mature"),
            "n_full_window".to_owned(),
            format!("CASE WHEN {mature} THEN 'ok' {partial}ELSE 'immature' END AS status"),
            format!("{} AS drill_key", self.call.drill_key(NAME, &own, &key)),
        ]);
        columns
    }
}

fn days_literal(days: f64) -> String {
    format!("CAST({days} AS double precision)")
}

/// The stage of that name, from 0; the last one without a name.
///
/// # Errors
/// 42704 where there is none.
pub(super) fn stage_idx(call: &Call, name: Option<&str>) -> Result<usize> {
    let stages = call.funnel.stage_names();
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
                place: format!(" in funnel \"{}\"", call.funnel.definition.name),
                existing: stages,
            }
            .into()
        })
}

/// `ages`: days, or lengths such as `12 hours` and `2 weeks`. A month has no fixed length.
fn take_ages(arguments: &mut Arguments) -> Result<Vec<f64>> {
    let Some(given) = arguments.take_texts("ages")? else {
        return Ok(DEFAULT_AGES.to_vec());
    };
    let mut ages = Vec::with_capacity(given.len());
    for age in &given {
        let days = days(age).ok_or_else(|| {
            let wanted =
                "positive numbers of days, such as [30, 60, 90], or lengths such as '12 hours'";
            arguments.invalid("ages", age, wanted)
        })?;
        ages.push(days);
    }
    if ages.is_empty() {
        return Err(arguments.invalid(
            "ages",
            "empty",
            "positive numbers of days, such as [30, 60, 90]",
        ));
    }
    ages.sort_by(f64::total_cmp);
    ages.dedup();
    Ok(ages)
}
