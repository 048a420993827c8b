//! The [journey](crate::aggregate::journey) of a row that has a time for each stage.
//!
//! ```sql
//! SELECT journey_row('ordered', INTERVAL '180 days', created_at, qualified_at, signed_at, lost_at, lost_reason)
//! FROM deals
//! ```
//!
//! # Arguments
//! - `counting` Utf8 literal: `ordered`, `strict` or `any`.
//! - `window` Interval literal: how long a journey may take; NULL for any length.
//! - `t1` … `tn` Timestamp: when each of 2 to 64 stages was entered; NULL where it wasn't.
//! - `lost_at` Timestamp: when it was lost; NULL if it wasn't.
//! - `reason` Utf8: why, or NULL. Only looked at where `lost_at` is set.
//!
//! Returns [`journey_type`], the same as `journey` makes of a row for each of these times, by the same walk.
//! NULL where no stage was entered (under `strict`: not the first). Ties and times that are out of order
//! mean what they mean there: a later stage at an earlier time comes first, so that under `ordered` the
//! earlier stage is a move back.
//!
//! Errors: 22023 for a literal that is none, or is out of its range; 42804 for an argument's type; 42883
//! for a number of arguments that leaves less than 2 stages or more than 64.
//!
//! Cost: a sort of at most 65 entries for each row, and no state.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_string_array, as_timestamp_microsecond_array};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_OTHER;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::aggregate::journey::arguments::{
    Argument, check_types, coerce, counting, not_literal, window, wrong_count,
};
use crate::aggregate::journey::kernel::{Entry, FIRST_LOSS, Journey, NO_REASON, Rules, sort, walk};
use crate::aggregate::journey::output::JourneyBuilder;
use crate::aggregate::journey::{MAX_STAGES, journey_type};
use crate::error::FunnelError;

/// The scalar function `journey_row`.
pub fn journey_row_udf() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(JourneyRow::new())));
    Arc::clone(&FUNCTION)
}

/// `journey_row(counting, window, t1, ..., tn, lost_at, reason)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JourneyRow {
    signature: Signature,
}

impl JourneyRow {
    const NAME: &'static str = "journey_row";
    /// The arguments that aren't the time of a stage.
    const OTHERS: usize = 4;

    fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// The arguments of a call with so many stages.
fn arguments(stages: usize) -> Vec<Argument> {
    let mut arguments = vec![Argument::Text("counting"), Argument::Window("window")];
    arguments.extend(std::iter::repeat_n(Argument::Time("t1, ..., tn"), stages));
    arguments.extend([Argument::Time("lost_at"), Argument::Text("reason")]);
    arguments
}

impl ScalarUDFImpl for JourneyRow {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_OTHER,
                "The journey of a row that has a time for each stage.",
                "journey_row(counting text, \"window\" interval, t1 timestamp with time zone, ..., \
                 lost_at timestamp with time zone, reason text)",
            )
            .with_argument("counting", "ordered, strict or any; a literal.")
            .with_argument("window", "How long a journey may take; a literal, or NULL.")
            .with_argument("t1 …", "When each stage was entered.")
            .with_argument("lost_at", "When it was lost.")
            .with_argument("reason", "Why.")
            .build()
        });
        Some(&PAGE)
    }

    /// Types that can't be coerced were left as they are, and are named here, as an error of
    /// [`Self::coerce_types`] would lose its SQLSTATE on the way.
    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let stages = arg_types.len().saturating_sub(Self::OTHERS);
        if !(2..=MAX_STAGES).contains(&stages) {
            return Err(wrong_count(Self::NAME, &arguments(1), arg_types.len()).into());
        }
        check_types(Self::NAME, &arguments(stages), arg_types)?;
        Ok(journey_type())
    }

    /// Also checks the literals that are known as early as this; some are still to be cast.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone());
        let return_type = self.return_type(&types.collect::<Vec<_>>())?;
        if let [Some(counting_value), Some(window_value), ..] = args.scalar_arguments {
            rules(
                counting_value,
                window_value,
                args.arg_fields.len() - Self::OTHERS,
            )?;
        }
        Ok(Arc::new(Field::new(Self::NAME, return_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [counting_value, window_value, columns @ ..] = args.args.as_slice() else {
            return internal_err!("journey_row has {} arguments", args.args.len());
        };
        let counting_value = scalar(counting_value, "counting")?;
        let window_value = scalar(window_value, "window")?;
        let rules = rules(counting_value, window_value, args.args.len() - Self::OTHERS)?;
        let columns = columns
            .iter()
            .map(|column| column.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(journeys(
            &columns,
            args.number_rows,
            &rules,
        )?))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(coerce(
            arguments(arg_types.len().saturating_sub(Self::OTHERS)),
            arg_types,
        ))
    }
}

/// The value of an argument that is the same for all rows.
fn scalar<'a>(value: &'a ColumnarValue, argument: &str) -> Result<&'a ScalarValue, FunnelError> {
    match value {
        ColumnarValue::Scalar(value) => Ok(value),
        ColumnarValue::Array(_) => Err(not_literal(JourneyRow::NAME, argument)),
    }
}

fn rules(
    counting_value: &ScalarValue,
    window_value: &ScalarValue,
    stage_count: usize,
) -> Result<Rules, FunnelError> {
    Rules::new(
        counting(counting_value, JourneyRow::NAME)?,
        window(window_value, JourneyRow::NAME)?,
        stage_count,
    )
}

/// The journeys of `rows` rows, of columns for each stage's time, the loss's time and its reason.
fn journeys(columns: &[ArrayRef], rows: usize, rules: &Rules) -> Result<ArrayRef> {
    let [stages @ .., lost_at, reasons] = columns else {
        return internal_err!("journey_row has {} columns", columns.len());
    };
    let stages = stages
        .iter()
        .map(|times| as_timestamp_microsecond_array(times))
        .collect::<Result<Vec<_>>>()?;
    let (lost_at, reasons) = (
        as_timestamp_microsecond_array(lost_at)?,
        as_string_array(reasons)?,
    );
    let mut journeys = JourneyBuilder::new(rules, rows);
    let mut journey = Journey::new(rules);
    let mut entries = Vec::with_capacity(stages.len() + 1);
    for row in 0..rows {
        let reason = reasons.is_valid(row).then(|| reasons.value(row));
        let loss_code = if reason.is_some() {
            FIRST_LOSS
        } else {
            NO_REASON
        };
        let times = (0..).zip(&stages).chain([(loss_code, &lost_at)]);
        entries.clear();
        entries.extend(
            times
                .filter(|(_, times)| times.is_valid(row))
                .map(|(code, times)| Entry {
                    time_us: times.value(row),
                    group: 0,
                    code,
                }),
        );
        sort(&mut entries);
        if walk(&entries, rules, &mut journey) {
            journeys.append(&journey, |_| reason)?;
        } else {
            journeys.append_null();
        }
    }
    Ok(Arc::new(journeys.finish()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use datafusion::arrow::array::{StringArray, TimestampMicrosecondArray};
    use datafusion::arrow::compute::concat_batches;
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::*;
    use crate::UTC;
    use crate::aggregate::journey::testing::{Case, Event, Row, journey_of};
    use crate::definition::model::Counting;

    fn times(times: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone(UTC))
    }

    /// A row of a wide table: a time for each stage, the loss's time, and its reason.
    type Wide = (Vec<Option<i64>>, Option<i64>, Option<String>);

    fn wide_rows() -> impl Strategy<Value = (Case, Vec<Wide>)> {
        let time = || proptest::option::weighted(0.7, 0_i64..20);
        let reason = || proptest::option::of(Just("why".to_owned()));
        let counting = prop_oneof![
            Just(Counting::Ordered),
            Just(Counting::Strict),
            Just(Counting::Any)
        ];
        (counting, proptest::option::of(1_i64..20), 2_usize..6).prop_flat_map(
            move |(counting, window_us, stage_count)| {
                let stages = proptest::collection::vec(time(), stage_count);
                let rows = proptest::collection::vec((stages, time(), reason()), 0..8);
                let case = Case {
                    counting,
                    window_us,
                    stage_count,
                    events: Vec::new(),
                };
                rows.prop_map(move |rows| (case.clone(), rows))
            },
        )
    }

    /// The same as one row for each event.
    fn long_rows((stages, lost_at, reason): &Wide) -> Vec<Event> {
        let entries = stages.iter().enumerate().map(|(stage, ts)| Event {
            ts: *ts,
            stages: Some(1 << stage),
            ..Event::default()
        });
        let loss = Event {
            ts: *lost_at,
            lost: Some(true),
            reason: reason.clone(),
            ..Event::default()
        };
        entries.chain([loss]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_wide_row_is_the_journey_of_its_events((case, rows) in wide_rows()) {
            let rules = case.rules();
            let mut columns = (0..case.stage_count)
                .map(|stage| times(rows.iter().map(|row| row.0[stage]).collect()))
                .collect::<Vec<_>>();
            columns.push(times(rows.iter().map(|row| row.1).collect()));
            columns.push(Arc::new(rows.iter().map(|row| row.2.as_deref()).collect::<StringArray>()));
            let journeys = journeys(&columns, rows.len(), &rules).unwrap();
            let expected =
                rows.iter().map(|row| journey_of(&long_rows(row), &rules)).collect::<Vec<_>>();
            prop_assert_eq!(Row::read_all(&journeys), expected);
        }
    }

    /// The journeys of a call on the rows `(a, b, c, lost_at, reason)`, times in microseconds.
    async fn query(call: &str, rows: &str) -> Result<Vec<String>> {
        let context = SessionContext::new();
        context.register_udf(journey_row_udf().as_ref().clone());
        let names = ["a", "b", "c", "lost_at"];
        let times =
            names.map(|name| format!("arrow_cast({name}, 'Timestamp(Microsecond, None)') {name}"));
        let sql = format!(
            "SELECT {call} FROM (SELECT {}, reason FROM (VALUES {rows}) v(a, b, c, lost_at, reason))",
            times.join(", ")
        );
        let frame = context.sql(&sql).await?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batch = concat_batches(&schema, &frame.collect().await?)?;
        let show = |row: Option<Row>| row.map_or("none".to_owned(), |row| row.to_string());
        Ok(Row::read_all(batch.column(0))
            .into_iter()
            .map(show)
            .collect())
    }

    #[tokio::test]
    async fn columns_literals_and_nulls() {
        let rows = "(1, 2, 3, NULL, NULL), (1, NULL, NULL, 7, 'why'), (NULL, NULL, NULL, 7, 'why'), \
                    (5, 2, NULL, 9, NULL)";
        let call = "journey_row('ordered', INTERVAL '6 microseconds', a, b, c, lost_at, reason)";
        assert_eq!(
            query(call, rows).await.unwrap(),
            [
                "won@3 | A@1>2 B@2>3 C@3",
                "lost@7:why | A@1",
                "none",
                "open | A-b1 B@2"
            ]
        );
        let call = "journey_row('any', NULL, a, b, lost_at, NULL)";
        assert_eq!(
            query(call, rows).await.unwrap(),
            [
                "won@2 | A@1>2 B@2",
                "lost@7 | A@1",
                "none",
                "won@2 | A@5 B@2"
            ]
        );
        // Nothing but literals.
        let call =
            "journey_row('strict', NULL, TIMESTAMP '1970-01-01', NULL, DATE '1970-01-02', 'why')";
        let rows = "(1, 2, 3, 4, 'x'), (1, 2, 3, 4, 'y')";
        assert_eq!(
            query(call, rows).await.unwrap(),
            ["lost@86400000000:why | A@0"; 2]
        );
    }

    #[tokio::test]
    async fn what_cannot_be_called_says_why() {
        let check = async |arguments: &str, code: &str, message: &str| {
            let call = format!("journey_row({arguments})");
            let error = query(&call, "(1, 2, 3, NULL, 'why')").await.unwrap_err();
            let error = FunnelError::find(&error).unwrap_or_else(|| panic!("{error}"));
            assert_eq!(
                (error.code(), error.to_string().as_str()),
                (code, message),
                "{arguments}"
            );
        };
        let few = "journey_row() can't be called with 5 arguments";
        check("'any', NULL, a, lost_at, reason", "42883", few).await;
        let many = format!("'any', NULL, {}, lost_at, reason", ["a"; 65].join(", "));
        check(
            &many,
            "42883",
            "journey_row() can't be called with 69 arguments",
        )
        .await;
        let wrong = "argument lost_at of journey_row() can't be Utf8";
        check("'any', NULL, a, b, reason, reason", "42804", wrong).await;
        let unknown = "\"loose\" is not a way of counting";
        check("'loose', NULL, a, b, lost_at, reason", "22023", unknown).await;
        let column = "argument counting of journey_row() is not a literal";
        check("reason, NULL, a, b, lost_at, reason", "22023", column).await;
        let zero = "the window of a journey is not longer than zero";
        check(
            "'any', INTERVAL '0 days', a, b, lost_at, reason",
            "22023",
            zero,
        )
        .await;
    }
}
