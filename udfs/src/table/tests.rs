//! The aggregates of journeys against counting them one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use crate::UTC;
use crate::definition::model::{
    Counting, Dimension, FunnelDefinition, Interval, LostDefinition, Source, StageDefinition,
};

const DAY_US: i64 = 86_400_000_000;
const STAGES: [&str; 3] = ["a", "b", "c"];
const AS_OF_DAY: i64 = 40;
const WINDOW_DAYS: i64 = 12;

/// One row of the log: who, what, on which day, from where, for how much.
type Row = (i64, &'static str, i64, Option<&'static str>, i64);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0..12_i64,
        prop::sample::select(vec!["a", "a", "b", "b", "c", "lost", "other"]),
        0..45_i64,
        prop::sample::select(vec![None, Some("web"), Some("展会")]),
        0..5_i64,
    );
    prop::collection::vec(row, 0..60)
}

async fn context(rows: &[Row], partitions: usize) -> SessionContext {
    let config = SessionConfig::new().with_target_partitions(partitions);
    let context = SessionContext::new_with_config(config);
    let registry = crate::register_all(&context).unwrap();
    let times = rows.iter().map(|row| row.2 * DAY_US).collect::<Vec<_>>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "who",
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        ),
        (
            "what",
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone(UTC)),
        ),
        (
            "channel",
            Arc::new(rows.iter().map(|row| row.3).collect::<StringArray>()),
        ),
        (
            "amount",
            Arc::new(rows.iter().map(|row| Some(row.4)).collect::<Int64Array>()),
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .unwrap();
    let batches = (0..batch.num_rows())
        .map(|row| vec![batch.slice(row, 1)])
        .collect::<Vec<_>>();
    let batches = if batches.is_empty() {
        vec![vec![]]
    } else {
        batches
    };
    let table = MemTable::try_new(batch.schema(), batches).unwrap();
    context.register_table("log", Arc::new(table)).unwrap();
    registry.define(&context, definition()).await.unwrap();
    context
}

fn definition() -> FunnelDefinition {
    let stage = |name: &&str| StageDefinition {
        name: (*name).to_owned(),
        when: Some(format!("what = '{name}'")),
        at: None,
        within: None,
    };
    FunnelDefinition {
        name: "f".to_owned(),
        source: Source::Table("log".to_owned()),
        entity: "who".to_owned(),
        time: Some("at".to_owned()),
        stages: STAGES.iter().map(stage).collect(),
        lost: Some(LostDefinition {
            when: Some("what = 'lost'".to_owned()),
            at: None,
            reason: None,
        }),
        value: Some("amount".to_owned()),
        owner: None,
        dimensions: vec![Dimension {
            name: "channel".to_owned(),
            expression: "channel".to_owned(),
        }],
        window: Some(Interval::parse(&format!("{WINDOW_DAYS} days")).unwrap()),
        counting: Counting::Ordered,
        related: Vec::new(),
        comment: None,
    }
}

async fn query(context: &SessionContext, sql: &str) -> RecordBatch {
    let frame = context.sql(sql).await.unwrap();
    let schema = Arc::clone(frame.schema().inner());
    let batches = frame.collect().await.unwrap();
    concat_batches(&schema, &batches).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn as_of() -> String {
    format!("to_timestamp({})", AS_OF_DAY * 86_400)
}

/// A journey as `journeys` gives it.
#[derive(Debug)]
struct Journey {
    channel: Option<String>,
    started_day: i64,
    at_days: Vec<Option<i64>>,
    furthest: usize,
    status: String,
    value: Option<f64>,
}

async fn journeys(context: &SessionContext) -> Vec<Journey> {
    let batch = query(
        context,
        &format!("SELECT * FROM journeys('f', as_of => {})", as_of()),
    )
    .await;
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap();
        let column = datafusion::arrow::compute::cast(column, &DataType::Utf8).unwrap();
        let column = column.as_string::<i32>();
        (!column.is_null(row)).then(|| column.value(row).to_owned())
    };
    let day = |name: &str, row: usize| {
        let column = batch
            .column_by_name(name)
            .unwrap()
            .as_primitive::<TimestampMicrosecondType>();
        (!column.is_null(row)).then(|| column.value(row) / DAY_US)
    };
    (0..batch.num_rows())
        .map(|row| {
            let values = batch
                .column_by_name("value")
                .unwrap()
                .as_primitive::<Float64Type>();
            let furthest = text("furthest_stage", row).unwrap();
            Journey {
                channel: text("channel", row),
                started_day: day("started_at", row).unwrap(),
                at_days: STAGES
                    .iter()
                    .map(|stage| day(&format!("{stage}_at"), row))
                    .collect(),
                furthest: STAGES.iter().position(|stage| **stage == furthest).unwrap(),
                status: text("status", row).unwrap(),
                value: (!values.is_null(row)).then(|| values.value(row)),
            }
        })
        .collect()
}

/// Linear interpolation between order statistics, as PERCENTILE_CONT is defined.
fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let position = share * (values.len().checked_sub(1)? as f64);
    let (low, high) = (
        values[position.floor() as usize],
        values[position.ceil() as usize],
    );
    Some(low + (high - low) * position.fract())
}

/// entered, passed, lost, open, expired, k, n, skipped; median, amount
type Counts = ([i64; 8], Option<f64>, Option<f64>);

fn counted(journeys: &[&Journey], stage: usize) -> Counts {
    let reached: Vec<&&Journey> = journeys.iter().filter(|j| j.furthest >= stage).collect();
    let is_last = stage + 1 == STAGES.len();
    let passed = |j: &Journey| is_last || j.furthest > stage;
    let mature = |j: &Journey| j.started_day + WINDOW_DAYS < AS_OF_DAY;
    let count = |of: &dyn Fn(&Journey) -> bool| reached.iter().filter(|j| of(j)).count() as i64;
    let stuck = |status: &str| count(&|j| !passed(j) && j.status == status);
    let days = reached.iter().filter_map(|j| {
        let next = j.at_days[stage + 1..].iter().flatten().next()?;
        Some((next - j.at_days[stage]?) as f64)
    });
    let amounts: Vec<f64> = reached.iter().filter_map(|j| j.value).collect();
    let counts = [
        reached.len() as i64,
        count(&passed),
        stuck("lost") + stuck("expired"),
        stuck("open"),
        stuck("expired"),
        count(&|j| mature(j) && passed(j)),
        count(&mature),
        count(&|j| j.at_days[stage].is_none()),
    ];
    let amount = (!amounts.is_empty()).then(|| amounts.iter().sum());
    (counts, quantile(days.collect(), 0.5), amount)
}

fn by_channel(journeys: &[Journey]) -> BTreeMap<String, Vec<&Journey>> {
    let mut segments: BTreeMap<String, Vec<&Journey>> = BTreeMap::new();
    for journey in journeys {
        let segment = journey
            .channel
            .clone()
            .unwrap_or_else(|| "(null)".to_owned());
        segments.entry(segment).or_default().push(journey);
    }
    segments
}

/// A column of texts, whatever kind of text it has.
fn text(column: &ArrayRef) -> StringArray {
    let column = datafusion::arrow::compute::cast(column, &DataType::Utf8).unwrap();
    column.as_string::<i32>().clone()
}

async fn conversion(context: &SessionContext) -> BTreeMap<(String, usize), Counts> {
    let sql = format!(
        "SELECT * FROM stage_conversion('f', by => 'channel', as_of => {})",
        as_of()
    );
    let batch = query(context, &sql).await;
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let float = |name: &str, row: usize| {
        let values = column(name).as_primitive::<Float64Type>();
        (!values.is_null(row)).then(|| values.value(row))
    };
    let names = [
        "entered", "passed", "lost", "open", "expired", "k", "n", "skipped",
    ];
    (0..batch.num_rows())
        .map(|row| {
            let segment = text(column("segment")).value(row).to_owned();
            let stage = column("stage_no").as_primitive::<Int32Type>().value(row) as usize - 1;
            let counts = names.map(|name| column(name).as_primitive::<Int64Type>().value(row));
            (
                (segment, stage),
                (counts, float("median_days", row), float("amount", row)),
            )
        })
        .collect()
}

/// Cohort's first day and age → n, k, n_full_window
type Cohorts = BTreeMap<(i64, i64), [i64; 3]>;

async fn cohorts(context: &SessionContext) -> Cohorts {
    let sql = format!(
        "SELECT * FROM cohort_cycle('f', every => 'week', ages => [3, 10], as_of => {})",
        as_of()
    );
    let batch = query(context, &sql).await;
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let number = |name: &str, row: usize| column(name).as_primitive::<Int64Type>().value(row);
    (0..batch.num_rows())
        .map(|row| {
            let cohort = i64::from(column("cohort").as_primitive::<Date32Type>().value(row));
            let counts = ["n", "k", "n_full_window"].map(|name| number(name, row));
            let age = column("age").as_primitive::<Float64Type>().value(row);
            ((cohort, age as i64), counts)
        })
        .collect()
}

fn counted_cohorts(journeys: &[Journey]) -> Cohorts {
    let mut cohorts = Cohorts::new();
    for journey in journeys {
        // 1970-01-01 was a Thursday: weeks begin on day -3.
        let monday = (journey.started_day + 3).div_euclid(7) * 7 - 3;
        for age in [3, 10] {
            let counts = cohorts.entry((monday, age)).or_default();
            counts[0] += 1;
            let won = journey.at_days[STAGES.len() - 1];
            counts[1] += i64::from(won.is_some_and(|day| day - journey.started_day <= age));
            counts[2] += i64::from(AS_OF_DAY - journey.started_day >= age);
        }
    }
    cohorts
}

/// Calls of every function whose rows can be drilled into, and the numbers that they count.
fn drilled_calls() -> Vec<(String, Vec<&'static str>)> {
    let as_of = as_of();
    vec![
        (
            format!(
                "stage_conversion('f', by => 'channel', \"where\" => channel IS NULL OR channel <> 'x''y', as_of => {as_of})"
            ),
            vec![
                "entered",
                "passed",
                "lost",
                "open",
                "expired",
                "k",
                "n",
                "skipped",
                "reentered",
            ],
        ),
        (
            format!(
                "change_decompose('f', by => 'channel', current => '1970-02', base => '1970-01', as_of => {as_of})"
            ),
            vec!["current_n", "base_n"],
        ),
        (
            format!(
                "mix_rate_decompose('f', by => 'channel', current => '1970-02', base => '1970-01', as_of => {as_of})"
            ),
            vec!["current_n", "current_k", "base_n", "base_k"],
        ),
        (
            format!(
                "root_cause('f', dims => 'channel', current => '1970-02', base => '1970-01', as_of => {as_of})"
            ),
            vec!["current_n", "current_k", "base_n", "base_k"],
        ),
        (
            format!(
                "stage_conversion('f', since => '1970-01-03', until => '1970-02-01', counting => 'any', as_of => {as_of})"
            ),
            vec!["entered", "passed", "k", "n"],
        ),
        (
            format!(
                "cohort_cycle('f', every => '2 weeks', week_start => 'sunday', ages => [0.5, 10], by => 'channel', as_of => {as_of})"
            ),
            vec!["n", "k", "n_full_window"],
        ),
        (
            format!(
                "funnel_trend('f', every => 'week', by => 'channel', age => 3, as_of => {as_of})"
            ),
            vec!["entered", "reached", "lost", "open", "k", "n"],
        ),
        (
            format!(
                "funnel_trend('f', every => '10 days', calendar => 'stage', stage => 'b', since => '1970-01-05', as_of => {as_of})"
            ),
            vec!["entered", "reached", "lost", "open", "k", "n"],
        ),
        (
            format!(
                "stage_metrics('f', metrics => 'pass_rate', by => 'channel', as_of => {as_of})"
            ),
            vec!["journeys", "k", "n"],
        ),
        (
            format!("followup_sla('f', by => 'status', limit_hours => 48, as_of => {as_of})"),
            vec![
                "met",
                "breached_touched",
                "breached_open",
                "pending",
                "k",
                "n",
            ],
        ),
        (
            format!("stage_times('f', by => 'channel', as_of => {as_of})"),
            vec!["n", "passed", "lost", "open"],
        ),
        (
            format!("stage_survival('f', stage => 'b', event => 'passed', as_of => {as_of})"),
            vec!["at_risk", "events", "censored"],
        ),
        (
            format!(
                "eb_rate('f', by => 'channel', stage => 'a', to_stage => 'b', age => 5, as_of => {as_of})"
            ),
            vec!["n", "k"],
        ),
        (
            format!("funnel_bottleneck('f', by => 'channel', as_of => {as_of})"),
            vec!["n", "k"],
        ),
        (
            format!(
                "funnel_bottleneck('f', value => 'days', current => '1970-01-15/1970-02-01', lang => 'zh', as_of => {as_of})"
            ),
            vec!["n", "k"],
        ),
        (
            format!("loss_reasons('f', by => 'channel', stage => 'b', as_of => {as_of})"),
            vec!["lost"],
        ),
        (
            format!(
                "loss_reasons('f', stage => 'a', current => '1970-01-15/1970-02-01', as_of => {as_of})"
            ),
            vec!["lost", "before"],
        ),
        (
            format!("outcome_drivers('f', at_stage => 'a', outcome => 'b', as_of => {as_of})"),
            vec!["with_win", "with_loss"],
        ),
        (
            format!("stage_cif('f', cycle => true, by => 'channel', as_of => {as_of})"),
            vec!["at_risk", "passed", "lost", "open"],
        ),
        (
            format!("stage_logrank('f', by => 'channel', event => 'lost', as_of => {as_of})"),
            vec!["n", "events"],
        ),
        (
            format!(
                "cycle_bands('f', size => CASE WHEN value > 2 THEN 'it''s big' ELSE 'small' END, experience => channel, as_of => {as_of})"
            ),
            vec!["n", "won", "lost", "open"],
        ),
        (
            format!(
                "cycle_drivers('f', covariates => ['ln(value)', 'channel', 'reentered > 0'], as_of => {as_of})"
            ),
            vec!["n", "events"],
        ),
    ]
}

/// How many of a call's rows are drilled into; each of their numbers is a query of its own, which takes its time to plan.
const DRILLED_ROWS: usize = 4;

/// Each number of some rows of every call, beside the number of rows that drilling into it gives; `offset` chooses the rows.
async fn drilled(context: &SessionContext, offset: usize) -> Vec<(String, i64, i64)> {
    let mut found = Vec::new();
    for (call, counts) in drilled_calls() {
        let batch = query(context, &format!("SELECT * FROM {call}")).await;
        let column = |name: &str| Arc::clone(batch.column_by_name(name).unwrap());
        let keys = text(&column("drill_key"));
        let step = batch.num_rows().div_ceil(DRILLED_ROWS).max(1);
        for row in (offset % step..batch.num_rows()).step_by(step) {
            for count in &counts {
                let number = column(count).as_primitive::<Int64Type>().value(row);
                let key = keys.value(row).replace('\'', "''");
                let sql =
                    format!("SELECT count(*) AS c FROM funnel_drill('{key}', of => '{count}')");
                let rows = query(context, &sql).await;
                let rows = rows.column(0).as_primitive::<Int64Type>().value(0);
                found.push((format!("{count} of {key}"), number, rows));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    #[test]
    fn a_number_is_as_many_rows_as_it_says(rows in rows(), offset in 0..1000_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async { drilled(&context(&rows, 2).await, offset).await });
        for (what, number, rows) in found {
            prop_assert_eq!(number, rows, "{}", what);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn conversion_and_cohorts_are_what_counting_journeys_gives(rows in rows(), partitions in 1..4_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (journeys, found, found_cohorts) = runtime.block_on(async {
            let context = context(&rows, partitions).await;
            (journeys(&context).await, conversion(&context).await, cohorts(&context).await)
        });
        let mut expected = BTreeMap::new();
        for (segment, journeys) in by_channel(&journeys) {
            for stage in 0..STAGES.len() {
                expected.insert((segment.clone(), stage), counted(&journeys, stage));
            }
        }
        for ([entered, passed, lost, open, ..], ..) in found.values() {
            prop_assert_eq!(*entered, passed + lost + open);
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(found_cohorts, counted_cohorts(&journeys));
    }
}
