//! When did an entity reach each stage, and how did it end? Many rows become one journey.
//!
//! ```sql
//! SELECT lead_id, journey(occurred_at, stages, lost, lost_reason, 'ordered', INTERVAL '180 days', 6)
//! FROM events GROUP BY lead_id
//! ```
//!
//! # Arguments
//! - `ts` Timestamp: when the row happened. A row whose `ts` is NULL is left out.
//! - `stages` UInt64: the stages that the row enters, as bits, stage 1 the lowest. NULL is none; bits
//!   above `stage_count` are none.
//! - `lost` Boolean: the row ends the journey without success. NULL is false.
//! - `reason` Utf8: why, or NULL. Only looked at where `lost`.
//! - `counting` Utf8 literal: how entries count, `ordered`, `strict` or `any`.
//! - `window` Interval literal: how long a journey may take; NULL for any length.
//! - `stage_count` Int32 literal: 2 to 64.
//!
//! Errors: 22023 for a literal that is none, or is out of its range; 42804 for an argument's type; 42883
//! for another number of arguments.
//!
//! # Which entries there are
//! A row gives an entry (`ts`, stage) for each stage, and (`ts`, loss, `reason`) if it is lost. They are
//! sorted by time; at one time by stage, a loss behind the stages, losses by reason with NULL behind. So
//! neither the order in which rows arrive nor the way they are split into parts makes a difference, and an
//! entry that is there twice counts once.
//!
//! # Start and end
//! - The journey starts at the first entry of any stage, under `strict` at the first entry of stage 1.
//!   Without one, the result is NULL. Entries before the start don't count; a loss at the same time does.
//! - deadline = start + window, months by the calendar in UTC (31 January + 1 month = 28 or 29 February), days
//!   of 24 hours; never beyond the last timestamp there is. An entry at the deadline counts, one after it
//!   doesn't, whatever it is.
//! - The entry of the last stage wins. That is final: no later entry changes outcome, end or counts.
//!
//! # What an entry does
//! Let *current* be the stage the entity is in, and *furthest* the highest that it reached.
//!
//! | entry                                 | `ordered`          | `strict`      | `any`                       |
//! |---------------------------------------|--------------------|---------------|-----------------------------|
//! | of furthest + 1                       | advances           | advances      | advances                    |
//! | of a stage beyond that                | advances, skipping | doesn't count | advances                    |
//! | of the current stage                  | repeats: nothing   | the same      | the same                    |
//! | of another stage, not beyond furthest | moves              | moves         | moves; its first has a time |
//! | loss                                  | stands             | stands        | stands                      |
//!
//! - To advance sets the stage's `entered_at`. A stage that is first entered by going back has none.
//! - To move counts in `back_moves` of the stage if it lies before the current one, and in `reentered` if the
//!   stage was entered before, in order or not.
//! - A loss stands until a stage is entered, be it the current one, which is then entered again. Until then
//!   further losses don't count, except that the first reason given completes a loss that has none.
//! - Under `any`, the other stages still get their `entered_at` after a win.
//!
//! # Result
//! See [`journey_type`]. `steps` ends with the furthest stage. For stage k:
//! - `reached`: k ≤ furthest, as a later stage counts for those before it; under `any`, `entered_at` is set.
//! - `passed`: reached, and so was a later one.
//! - `left_at`: the `entered_at` of the next later stage that has one, unless that is earlier (under `any`).
//! - `skipped`: how many stages are reached without `entered_at`; always 0 under `strict` and `any`.
//!
//! `outcome` is `won`, `lost` if a loss stands, or NULL. A journey without an outcome is open while its
//! deadline lies ahead; that depends on who asks when, so it is left to the query.
//!
//! # Cost
//! Rows that enter no stage and aren't lost cost a look. Every entry takes 16 bytes until the journeys are
//! asked for, a distinct reason its text; then entries are brought together by group in linear time, and
//! sorted within a group if they weren't in order. A partial state has 9 bytes for each entry.

mod accumulator;
pub(crate) mod arguments;
mod hits;
pub(crate) mod kernel;
mod log;
pub(crate) mod output;
mod runs;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
    Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use self::accumulator::{JourneyAccumulator, JourneyGroupsAccumulator};
use self::arguments::{Argument, check_types, coerce, counting, literal, stage_count, window};
use self::hits::JourneysOfHits;
use self::kernel::Rules;
use super::Log;
use crate::UTC;

/// The most stages that a journey can have: as many as `stages` has bits.
pub const MAX_STAGES: usize = 64;

/// The `outcome` of a journey that reached the last stage.
pub const WON: &str = "won";

/// The `outcome` of a journey whose loss stands.
pub const LOST: &str = "lost";

/// Names of the fields of a journey and of its steps, for `get_field`.
pub mod field {
    /// Timestamp: the first entry that counts.
    pub const STARTED_AT: &str = "started_at";
    /// Timestamp: `started_at` + window, the last moment that counts; NULL without a window.
    pub const DEADLINE: &str = "deadline";
    /// Int32: the highest stage reached, from 1.
    pub const FURTHEST: &str = "furthest";
    /// Utf8: [`won`](super::WON), [`lost`](super::LOST), or NULL.
    pub const OUTCOME: &str = "outcome";
    /// Timestamp: when the last stage was entered, or the standing loss happened; NULL without an outcome.
    pub const ENDED_AT: &str = "ended_at";
    /// Utf8: why it was lost; NULL without a reason, and for any other outcome.
    pub const LOST_REASON: &str = "lost_reason";
    /// Int32: how many stages were passed over.
    pub const SKIPPED: &str = "skipped";
    /// Int32: how often a stage was entered again; of a step, or the sum over them.
    pub const REENTERED: &str = "reentered";
    /// Int32: how often a stage was entered from a later one; of a step, or the sum over them.
    pub const BACK_MOVES: &str = "back_moves";
    /// List: one step for each stage, up to the furthest.
    pub const STEPS: &str = "steps";
    /// Int32, of a step: the stage, from 1.
    pub const STAGE_NO: &str = "stage_no";
    /// Timestamp, of a step: when the stage was entered; NULL if it wasn't, or only out of order.
    pub const ENTERED_AT: &str = "entered_at";
    /// Timestamp, of a step: when the next stage was entered; NULL where that isn't known.
    pub const LEFT_AT: &str = "left_at";
    /// Boolean, of a step: the stage counts as reached.
    pub const REACHED: &str = "reached";
    /// Boolean, of a step: so does a later one.
    pub const PASSED: &str = "passed";
}

/// The type of a journey: a struct of the fields in [`field`], up to `steps`, whose items are structs of
/// `stage_no`, `entered_at`, `left_at`, `reached`, `passed`, `reentered` and `back_moves`.
///
/// All fields are declared nullable, as a NULL journey's are NULL. In a journey that isn't, only `deadline`,
/// `outcome`, `ended_at` and `lost_reason` can be; in its steps, only `entered_at` and `left_at`.
pub fn journey_type() -> DataType {
    DataType::Struct(journey_fields())
}

fn journey_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![
            Field::new(field::STARTED_AT, timestamp_type(), true),
            Field::new(field::DEADLINE, timestamp_type(), true),
            Field::new(field::FURTHEST, DataType::Int32, true),
            Field::new(field::OUTCOME, DataType::Utf8, true),
            Field::new(field::ENDED_AT, timestamp_type(), true),
            Field::new(field::LOST_REASON, DataType::Utf8, true),
            Field::new(field::SKIPPED, DataType::Int32, true),
            Field::new(field::REENTERED, DataType::Int32, true),
            Field::new(field::BACK_MOVES, DataType::Int32, true),
            Field::new(field::STEPS, DataType::List(step_field()), true),
        ])
    });
    FIELDS.clone()
}

fn step_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(step_fields()), true))
}

fn step_fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        Fields::from(vec![
            Field::new(field::STAGE_NO, DataType::Int32, true),
            Field::new(field::ENTERED_AT, timestamp_type(), true),
            Field::new(field::LEFT_AT, timestamp_type(), true),
            Field::new(field::REACHED, DataType::Boolean, true),
            Field::new(field::PASSED, DataType::Boolean, true),
            Field::new(field::REENTERED, DataType::Int32, true),
            Field::new(field::BACK_MOVES, DataType::Int32, true),
        ])
    });
    FIELDS.clone()
}

fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()))
}

/// The aggregate function `journey`.
pub fn journey_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(JourneyFunction::new())));
    Arc::clone(&FUNCTION)
}

/// Whether an aggregate is `journey`.
pub(crate) fn is_journey(function: &AggregateUDF) -> bool {
    function.inner().downcast_ref::<JourneyFunction>().is_some()
}

/// The log that a call of `journey` keeps: where nothing is ever lost, the rows that enter a stage are all.
pub(super) fn log_of(function: &AggregateUDF, exprs: &[Arc<dyn PhysicalExpr>]) -> Option<Log> {
    if !is_journey(function) {
        return None;
    }
    let lost = literal(exprs.get(2)?, JourneyFunction::NAME, "lost");
    let rules = JourneyFunction::rules(exprs);
    Some(match (lost, rules) {
        (Ok(ScalarValue::Boolean(None | Some(false))), Ok(rules)) => {
            Log::OfMetConditions(Arc::new(JourneysOfHits::new(rules)))
        }
        _ => Log::OfAllRows,
    })
}

const ARGUMENTS: [Argument; 7] = [
    Argument::Time("ts"),
    Argument::Stages("stages"),
    Argument::Flag("lost"),
    Argument::Text("reason"),
    Argument::Text("counting"),
    Argument::Window("window"),
    Argument::Count("stage_count"),
];

/// `journey(ts, stages, lost, reason, counting, window, stage_count)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JourneyFunction {
    signature: Signature,
}

impl JourneyFunction {
    const NAME: &'static str = "journey";

    fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    fn rules(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Rules> {
        let [.., counting_expr, window_expr, stage_count_expr] = exprs else {
            return Err(arguments::wrong_count(Self::NAME, &ARGUMENTS, exprs.len()).into());
        };
        Ok(Rules::new(
            counting(&literal(counting_expr, Self::NAME, "counting")?, Self::NAME)?,
            window(&literal(window_expr, Self::NAME, "window")?, Self::NAME)?,
            stage_count(
                &literal(stage_count_expr, Self::NAME, "stage_count")?,
                Self::NAME,
            )?,
        )?)
    }
}

impl AggregateUDFImpl for JourneyFunction {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_GENERAL,
                "When an entity reached each stage, and how that ended: many rows become one journey.",
                "journey(ts timestamp with time zone, stages bigint, lost boolean, reason text, \
                 counting text, \"window\" interval, stage_count integer)",
            )
            .with_argument("ts", "When the row happened.")
            .with_argument("stages", "The stages that the row enters, as bits.")
            .with_argument("lost", "Whether the row ends the journey without success.")
            .with_argument("reason", "Why.")
            .with_argument("counting", "ordered, strict or any; a literal.")
            .with_argument("window", "How long a journey may take; a literal, or NULL.")
            .with_argument("stage_count", "How many stages there are; a literal.")
            .build()
        });
        Some(&PAGE)
    }

    /// Types that can't be coerced were left as they are, and are named here, as an error of
    /// [`Self::coerce_types`] would lose its SQLSTATE on the way.
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        check_types(Self::NAME, &ARGUMENTS, arg_types)?;
        Ok(journey_type())
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(JourneyAccumulator::new(Self::rules(
            acc_args.exprs,
        )?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |(name, data_type)| {
            Arc::new(Field::new(
                format_state_name(args.name, name),
                data_type,
                true,
            ))
        };
        Ok(runs::state_types().into_iter().map(field).collect())
    }

    /// Always: neither DISTINCT nor ORDER BY makes a difference to a journey.
    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(JourneyGroupsAccumulator::new(Self::rules(
            args.exprs,
        )?)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(coerce(ARGUMENTS, arg_types))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use datafusion::arrow::compute::concat_batches;
    use datafusion::arrow::datatypes::{IntervalMonthDayNano, Schema};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::common::DataFusionError;
    use datafusion::datasource::MemTable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::testing::{Event, Row, columns, events, journey_of};
    use super::*;
    use crate::definition::model::Counting;
    use crate::error::FunnelError;

    /// A session with a table `events(entity, ts, stages, lost, reason)` in so many parts.
    fn session(partitions: usize, rows: &[(i64, Event)]) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(64);
        let context = SessionContext::new_with_config(config);
        context.register_udaf(journey_udaf().as_ref().clone());
        let parts = (0..partitions)
            .map(|part| {
                let rows = rows.iter().skip(part).step_by(partitions);
                vec![batch(&rows.cloned().collect::<Vec<_>>())]
            })
            .collect::<Vec<_>>();
        let table = MemTable::try_new(parts[0][0].schema(), parts).unwrap();
        context.register_table("events", Arc::new(table)).unwrap();
        context
    }

    fn batch(rows: &[(i64, Event)]) -> RecordBatch {
        let (entities, events): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
        let entities: ArrayRef = Arc::new(Int64Array::from(entities));
        let names = ["entity", "ts", "stages", "lost", "reason"];
        let columns = [entities].into_iter().chain(columns(&events));
        let fields = names
            .iter()
            .zip(columns.clone())
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
            .collect::<Vec<_>>();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).unwrap()
    }

    async fn query(context: &SessionContext, sql: &str) -> Result<RecordBatch, DataFusionError> {
        let frame = context.sql(sql).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        Ok(concat_batches(&schema, &frame.collect().await?)?)
    }

    /// 300 entities, with rows of all kinds, in an order that is not that of time.
    fn many_rows() -> Vec<(i64, Event)> {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            // Knuth's MMIX generator; its high bits are good enough to mix rows.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        (0..3_000)
            .map(|_| {
                let lost = next(8) == 0;
                let event = Event {
                    ts: (next(40) > 0).then(|| next(1_000) as i64),
                    stages: Some(if next(3) == 0 { 0 } else { 1 << next(4) }),
                    lost: Some(lost),
                    reason: lost.then(|| format!("reason {}", next(4))),
                };
                (next(300) as i64, event)
            })
            .collect()
    }

    #[tokio::test]
    async fn partitions_make_no_difference() {
        let rows = many_rows();
        let window = "INTERVAL '500 microseconds'";
        for counting in Counting::NAMES {
            let window_value = Some(IntervalMonthDayNano::new(0, 0, 500_000));
            let rules = Rules::new(Counting::parse(counting).unwrap(), window_value, 4).unwrap();
            let expected = (0..300)
                .map(|entity| {
                    let of_entity = rows.iter().filter(|(e, _)| *e == entity);
                    journey_of(
                        &of_entity
                            .map(|(_, event)| event.clone())
                            .collect::<Vec<_>>(),
                        &rules,
                    )
                })
                .collect::<Vec<_>>();
            assert!(expected.iter().any(Option::is_some));
            let call = format!("journey(ts, stages, lost, reason, '{counting}', {window}, 4)");
            for partitions in [1, 2, 7] {
                let context = session(partitions, &rows);
                // Unsorted, and with the rows of an entity together.
                for source in ["events", "(SELECT * FROM events ORDER BY entity)"] {
                    let sql = format!(
                        "SELECT entity, {call} FROM {source} GROUP BY entity ORDER BY entity"
                    );
                    let result = query(&context, &sql).await.unwrap();
                    assert_eq!(
                        Row::read_all(result.column(1)),
                        expected,
                        "{partitions} {sql}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn partial_aggregation_may_be_skipped() {
        let rows = (0..3_000)
            .flat_map(|entity| {
                events("A@1 Bx@2:price")
                    .into_iter()
                    .map(move |event| (entity, event))
            })
            .collect::<Vec<_>>();
        let context = session(4, &rows);
        for setting in ["probe_rows_threshold = 10", "probe_ratio_threshold = 0.1"] {
            let sql = format!("SET datafusion.execution.skip_partial_aggregation_{setting}");
            context.sql(&sql).await.unwrap();
        }
        let sql = "SELECT journey(ts, stages, lost, reason, 'ordered', NULL, 3) FROM events GROUP BY entity";
        let plan = query(&context, &format!("EXPLAIN ANALYZE {sql}"))
            .await
            .unwrap();
        let plan = pretty_format_batches(&[plan]).unwrap().to_string();
        assert!(plan.contains("skipped_aggregation_rows="), "{plan}");
        assert!(!plan.contains("skipped_aggregation_rows=0"), "{plan}");
        let journeys = query(&context, sql).await.unwrap();
        assert_eq!(journeys.num_rows(), 3_000);
        for row in Row::read_all(journeys.column(0)) {
            assert_eq!(row.unwrap().to_string(), "lost@2:price | A@1>2 B@2");
        }
    }

    #[tokio::test]
    async fn one_entity_no_rows_and_windows() {
        let rows = events("A@1 B@2 x@3:price C@4")
            .into_iter()
            .map(|event| (1, event));
        let context = session(2, &rows.collect::<Vec<_>>());
        let call = "journey(ts, stages, lost, reason, 'ordered', NULL, 3)";
        let shown = async |sql: &str| {
            let batch = query(&context, sql).await.unwrap();
            let show = |row: Option<Row>| row.map_or("none".to_owned(), |row| row.to_string());
            Row::read_all(batch.column(0))
                .into_iter()
                .map(show)
                .collect::<Vec<_>>()
        };
        let won = "won@4 | A@1>2 B@2>4 C@4";
        assert_eq!(shown(&format!("SELECT {call} FROM events")).await, [won]);
        assert_eq!(
            shown(&format!("SELECT {call} FROM events WHERE ts IS NULL")).await,
            ["none"]
        );
        // DISTINCT and ORDER BY are allowed, and make no difference.
        let distinct = call.replace("journey(", "journey(DISTINCT ");
        assert_eq!(
            shown(&format!("SELECT {distinct} FROM events GROUP BY entity")).await,
            [won]
        );
        let ordered = call.replace(", 3)", ", 3 ORDER BY ts DESC)");
        assert_eq!(
            shown(&format!("SELECT {ordered} FROM events GROUP BY entity")).await,
            [won]
        );
        let filtered = format!("SELECT {call} FILTER (WHERE NOT lost AND stages < 4) FROM events");
        assert_eq!(shown(&filtered).await, ["open | A@1>2 B@2"]);
        let growing = format!("SELECT {call} OVER (ORDER BY ts) FROM events ORDER BY ts");
        assert_eq!(
            shown(&growing).await,
            [
                "open | A@1",
                "open | A@1>2 B@2",
                "lost@3:price | A@1>2 B@2",
                won
            ]
        );
    }

    #[tokio::test]
    async fn fields_are_read_by_name() {
        let rows = events("A@1 C@4")
            .into_iter()
            .map(|event| (1, event))
            .collect::<Vec<_>>();
        let context = session(1, &rows);
        let sql = "SELECT j['furthest'] f, j['skipped'] s, step['stage_no'] k, step['reached'] r,
                          step['passed'] p, CAST(step['entered_at'] AS BIGINT) e
                   FROM (SELECT j, unnest(j['steps']) step FROM (
                       SELECT journey(ts, stages, lost, reason, 'ordered', INTERVAL '1 month', 4) j
                       FROM events))";
        let batch = query(&context, sql).await.unwrap();
        let expected = "\
+---+---+---+------+-------+---+
| f | s | k | r    | p     | e |
+---+---+---+------+-------+---+
| 3 | 1 | 1 | true | true  | 1 |
| 3 | 1 | 2 | true | true  |   |
| 3 | 1 | 3 | true | false | 4 |
+---+---+---+------+-------+---+";
        assert_eq!(
            pretty_format_batches(&[batch]).unwrap().to_string(),
            expected
        );
    }

    #[tokio::test]
    async fn types_are_coerced() {
        let context = session(1, &[]);
        let sql = "SELECT journey(t, s, l, arrow_cast(r, 'Utf8View'), 'STRICT', NULL, arrow_cast(2, 'UInt8'))
                   FROM (VALUES (DATE '1970-01-02', 1, NULL, 'x'), (DATE '1970-01-03', 0, true, 'why')) v(t, s, l, r)";
        let batch = query(&context, sql).await.unwrap();
        let row = Row::read(batch.column(0), 0).unwrap();
        assert_eq!(row.to_string(), "lost@172800000000:why | A@86400000000");
    }

    #[tokio::test]
    async fn what_cannot_be_called_says_why() {
        let context = session(2, &[(1, Event::default())]);
        let check = async |arguments: &str, code: &str, message: &str| {
            let sql = format!("SELECT entity, journey({arguments}) FROM events GROUP BY entity");
            let error = query(&context, &sql).await.unwrap_err();
            let error = FunnelError::find(&error).unwrap_or_else(|| panic!("{error}"));
            assert_eq!(
                (error.code(), error.to_string().as_str()),
                (code, message),
                "{arguments}"
            );
        };
        let four = "ts, stages, lost, reason";
        check(four, "42883", "journey() can't be called with 4 arguments").await;
        check(
            "reason, stages, lost, reason, 'any', NULL, 3",
            "42804",
            "argument ts of journey() can't be Utf8",
        )
        .await;
        check(
            &format!("{four}, 'any', '3 days', 3"),
            "42804",
            "argument window of journey() can't be Utf8",
        )
        .await;
        check(
            &format!("{four}, reason, NULL, 3"),
            "22023",
            "argument counting of journey() is not a literal",
        )
        .await;
        check(
            &format!("{four}, NULL, NULL, 3"),
            "22023",
            "argument counting of journey() is not a text",
        )
        .await;
        check(
            &format!("{four}, 'loose', NULL, 3"),
            "22023",
            "\"loose\" is not a way of counting",
        )
        .await;
        check(
            &format!("{four}, 'any', INTERVAL '0 days', 3"),
            "22023",
            "the window of a journey is not longer than zero",
        )
        .await;
        check(
            &format!("{four}, 'any', NULL, 65"),
            "22023",
            "a journey can't have 65 stages",
        )
        .await;
        check(
            &format!("{four}, 'any', NULL, -1"),
            "22023",
            "argument stage_count of journey() is not a number of stages",
        )
        .await;
    }
}
