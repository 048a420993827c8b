//! How likely is it to win by day 30, 60 and 90? The cumulative incidence of winning, where losing competes.
//!
//! Aalen and Johansen's estimate: `F(a) = Σ S(t-) · w(t) / n(t)` over the times `t <= a`, with `w` wins, `n` follow-ups that
//! last until `t` or longer, and `S` the share that has neither won nor lost. An entity that is still open counts for as long
//! as it was watched; a young cohort isn't read as a bad one, and a lost entity isn't read as one that might still win.
//!
//! NULL time or outcome: the row is ignored. Ties: wins and losses come before the open ones of the same time. An age is NULL
//! beyond the longest follow-up of the group, since nobody was watched for so long; so it is for a group without rows. The
//! limits are by Aalen's variance and a log(-log) transform; while nobody has won the upper one is NULL, and where all have
//! won the lower one. Never NaN or infinite.
//!
//! Cost: a row is one insertion to a sorted map; the result is one pass over the distinct times for each age. State: 48 bytes a
//! distinct time, in whole days mostly some hundred.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StructArray,
};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float64Type, Int64Type, Schema,
};
use datafusion::common::cast::{as_float64_array, as_list_array, as_string_array};
use datafusion::common::utils::{SingleRowListArrayBuilder, take_function_args};
use datafusion::common::{Result, ScalarValue, internal_err, not_impl_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, Signature,
};
use datafusion::physical_plan::PhysicalExpr;

pub mod kernel;

use self::kernel::{AtAge, Counts, FollowUps, Outcome};
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::scalar::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};

const NAME: &str = "cumulative_incidence";

const PARAMETERS: Parameters = Parameters {
    required: 3,
    list: &[
        ("t", Kind::Number),
        ("outcome", Kind::Text),
        ("ages", Kind::Numbers),
        ("confidence", Kind::Number),
    ],
};

/// Probability to have won by each of some ages, where losing competes and open ones are followed for as long as they were.
///
/// - `t`: Float64 days from the start to the outcome, or to the last look at what is open, `>= 0`; one row per entity
/// - `outcome`: `'won'`, `'lost'` or `'open'`
/// - `ages`: literal list of days, `>= 0`; the result keeps its order
/// - `confidence`: Float64 literal in (0, 1), 0.95 when left out
/// - returns `List<Struct { age, at_risk, won, estimate, lo, hi }>`, one element for each age: `at_risk` Int64 entities followed for
///   at least `age`, `won` Int64 entities that won by then, the others Float64 (fractions, and `age` in days); `estimate`,
///   `lo` and `hi` are NULL beyond the longest follow-up
/// - errors: 22023 when a time is negative or not finite, an outcome is another text, or `ages` or `confidence` is not a
///   literal of possible values
/// - source: O. Aalen and S. Johansen, Scandinavian Journal of Statistics 5 (1978), 141–150; the example equals
///   scikit-survival 0.28.0, `cumulative_incidence_competing_risks(event, time, conf_type="log-log", var_type="Aalen")`
/// ```slt
/// query IIIRRR
/// SELECT i['age']::BIGINT, i['at_risk'], i['won'], round(i['estimate'], 4), round(i['lo'], 4), round(i['hi'], 4)
/// FROM (
///   SELECT unnest(cumulative_incidence(t, outcome, [2, 20])) AS i
///   FROM (VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), (3, 'won'),
///     (5, 'lost'), (5, 'open'), (8, 'won'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 2 10 2 0.175 0.024 0.443
/// 20 0 5 NULL NULL NULL
/// ```
pub fn cumulative_incidence_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(CumulativeIncidence {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CumulativeIncidence {
    signature: Signature,
}

impl AggregateUDFImpl for CumulativeIncidence {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::List(item_field()))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if call.is_distinct {
            return not_impl_err!(
                "{NAME}(DISTINCT …): two entities may well have the same time and outcome"
            );
        }
        Ok(Box::new(IncidenceAccumulator {
            follow_ups: FollowUps::default(),
            ages: literal_ages(call.exprs)?,
            confidence: literal_confidence(call.exprs)?,
        }))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| -> FieldRef {
            Arc::new(Field::new_list(
                format_state_name(call.name, part),
                Field::new_list_field(item, true),
                false,
            ))
        };
        let times = list("times", DataType::Float64);
        let counts = ["won", "lost", "open"].map(|part| list(part, DataType::Int64));
        Ok(std::iter::once(times).chain(counts).collect())
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "The probability to have won by each of some ages, where losing competes and open entities count for as long as they \
         were followed (Aalen–Johansen): a list of structs of age, at_risk, won, estimate, lo and hi. An age beyond the \
         longest follow-up has no estimate.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("t", "Days from the start to the outcome, or to the last look at what is open. One row an entity.")
    .with_argument("outcome", "'won', 'lost' or 'open'.")
    .with_argument("ages", "A literal list of ages in days, such as [30, 60, 90].")
    .with_argument("confidence", "A literal fraction: how often the limits hold the truth, 0.95 when left out.")
    .with_sql_example(
        "```sql\nSELECT cohort, unnest(cumulative_incidence(days, outcome, [30, 60, 90])) FROM deals GROUP BY cohort;\n```",
    )
    .build()
}

/// One element of the result.
fn item_fields() -> Fields {
    [
        ("age", DataType::Float64),
        ("at_risk", DataType::Int64),
        ("won", DataType::Int64),
        ("estimate", DataType::Float64),
        ("lo", DataType::Float64),
        ("hi", DataType::Float64),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(item_fields()), true))
}

/// The value of an argument that has to be the same for every row.
fn literal(
    exprs: &[Arc<dyn PhysicalExpr>],
    position: usize,
    name: &str,
) -> Result<Option<ScalarValue>> {
    let Some(expr) = exprs.get(position) else {
        return Ok(None);
    };
    // A literal, cast or not, needs no columns; a column isn't found in a batch without any.
    let no_columns = RecordBatch::new_empty(Arc::new(Schema::empty()));
    match expr.evaluate(&no_columns) {
        Ok(ColumnarValue::Scalar(value)) => Ok(Some(value)),
        _ => Err(invalid(format!("{name} of {NAME}() is not a literal"))),
    }
}

fn literal_ages(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Vec<f64>> {
    let Some(ScalarValue::List(list)) = literal(exprs, 2, "ages")? else {
        return internal_err!("ages of {NAME}() are not a list after the check");
    };
    if list.is_null(0) {
        return Err(invalid(format!("ages of {NAME}() is NULL")));
    }
    let ages = list.value(0);
    as_float64_array(&ages)?.iter().map(check_age).collect()
}

fn check_age(age: Option<f64>) -> Result<f64> {
    match age {
        Some(age) if age.is_finite() && age >= 0.0 => Ok(age),
        Some(age) => Err(invalid(format!("{age} days is not an age"))),
        None => Err(invalid(format!("an age of {NAME}() is NULL"))),
    }
}

fn literal_confidence(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Confidence> {
    match literal(exprs, 3, "confidence")? {
        None => Ok(Confidence::new(DEFAULT_CONFIDENCE)?),
        Some(ScalarValue::Float64(Some(confidence))) => Ok(Confidence::new(confidence)?),
        Some(_) => Err(invalid(format!("confidence of {NAME}() is NULL"))),
    }
}

fn invalid(message: String) -> datafusion::error::DataFusionError {
    let hint = "Write the ages as [30, 60, 90] and the confidence as 0.95.".to_owned();
    FunnelError::InvalidArgument { message, hint }.into_datafusion()
}

#[derive(Debug)]
struct IncidenceAccumulator {
    follow_ups: FollowUps,
    ages: Vec<f64>,
    confidence: Confidence,
}

impl Accumulator for IncidenceAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_row(values, |time, outcome| {
            Ok(self.follow_ups.add(time, Counts::one(outcome))?)
        })
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let curve = self.follow_ups.curve();
        let found = self
            .ages
            .iter()
            .map(|age| curve.at(*age, self.confidence))
            .collect::<Vec<_>>();
        let items = Arc::new(items(&found)?);
        Ok(SingleRowListArrayBuilder::new(items)
            .with_field(&item_field())
            .build_list_scalar())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.follow_ups.heap_size() + self.ages.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let times = self
            .follow_ups
            .iter()
            .map(|(time, _)| time)
            .collect::<Float64Array>();
        let counts = |of: fn(Counts) -> i64| -> ArrayRef {
            Arc::new(
                self.follow_ups
                    .iter()
                    .map(|(_, counts)| of(counts))
                    .collect::<Int64Array>(),
            )
        };
        let columns: [ArrayRef; 4] = [
            Arc::new(times),
            counts(|counts| counts.won),
            counts(|counts| counts.lost),
            counts(|counts| counts.open),
        ];
        let lists =
            columns.map(|column| SingleRowListArrayBuilder::new(column).build_list_scalar());
        Ok(lists.into())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [times, won, lost, open] = take_function_args(NAME, states)?;
        let times = as_list_array(times)?;
        let counts = [
            as_list_array(won)?,
            as_list_array(lost)?,
            as_list_array(open)?,
        ];
        (0..times.len()).try_for_each(|row| self.merge(times, counts, row))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        each_row(values, |time, outcome| {
            if self.follow_ups.retract(time, Counts::one(outcome))? {
                return Ok(());
            }
            internal_err!("{NAME}() is asked to retract a row that it hasn't seen")
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

impl IncidenceAccumulator {
    /// Adds the state of one partial aggregate.
    fn merge(&mut self, times: &ListArray, counts: [&ListArray; 3], row: usize) -> Result<()> {
        let times = times.value(row);
        let [won, lost, open] = counts.map(|list| list.value(row));
        let [won, lost, open] =
            [&won, &lost, &open].map(|column| column.as_primitive::<Int64Type>());
        for (at, time) in times
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .enumerate()
        {
            let counts = Counts {
                won: won.value(at),
                lost: lost.value(at),
                open: open.value(at),
            };
            self.follow_ups.add(*time, counts)?;
        }
        Ok(())
    }
}

/// Calls `take` with the time and the outcome of each row that has both.
fn each_row(values: &[ArrayRef], mut take: impl FnMut(f64, Outcome) -> Result<()>) -> Result<()> {
    let [times, outcomes, ..] = values else {
        return internal_err!("{NAME}() takes a time and an outcome");
    };
    let (times, outcomes) = (as_float64_array(times)?, as_string_array(outcomes)?);
    for (time, outcome) in times.iter().zip(outcomes) {
        if let (Some(time), Some(outcome)) = (time, outcome) {
            take(time, Outcome::parse(outcome)?)?;
        }
    }
    Ok(())
}

fn items(found: &[AtAge]) -> Result<StructArray> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(found.iter().map(|at| at.age).collect::<Float64Array>()),
        Arc::new(found.iter().map(|at| at.at_risk).collect::<Int64Array>()),
        Arc::new(found.iter().map(|at| at.won).collect::<Int64Array>()),
        Arc::new(found.iter().map(|at| at.estimate).collect::<Float64Array>()),
        Arc::new(found.iter().map(|at| at.lo).collect::<Float64Array>()),
        Arc::new(found.iter().map(|at| at.hi).collect::<Float64Array>()),
    ];
    Ok(StructArray::try_new(item_fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::scalar::rate_ci::arguments::testing;

    const DEALS: &str = "(VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), \
        (3, 'won'), (5, 'lost'), (5, 'open'), (8, 'won'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)";

    fn context() -> SessionContext {
        let context = SessionContext::new();
        context.register_udaf(cumulative_incidence_udaf().as_ref().clone());
        context
    }

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        testing::check(&context(), &sql.replace("DEALS", DEALS), expected);
    }

    #[track_caller]
    fn check_error(sql: &str, code: &str, part: &str) {
        testing::check_error(&context(), &sql.replace("DEALS", DEALS), code, part);
    }

    /// Selects the elements of the list, rounded.
    fn elements(call: &str) -> String {
        format!(
            "SELECT i['age'], i['at_risk'], i['won'], round(i['estimate'], 4), round(i['lo'], 4), round(i['hi'], 4) \
             FROM (SELECT unnest({call}) AS i FROM DEALS)"
        )
    }

    #[test]
    fn ages_keep_their_order() {
        // scikit-survival 0.28.0, as in the kernel's tests.
        check(
            &elements("cumulative_incidence(t, outcome, [20, 8, 2, 0.5])"),
            &[
                "20.0 0 5 NULL NULL NULL",
                "8.0 3 5 0.5242 0.1432 0.8069",
                "2.0 10 2 0.175 0.024 0.443",
                "0.5 12 0 0.0 0.0 NULL",
            ],
        );
    }

    #[test]
    fn arguments_are_cast_and_can_be_named() {
        check(
            &elements(
                "cumulative_incidence(arrow_cast(t, 'Decimal128(9, 2)'), arrow_cast(outcome, 'Dictionary(Int8, Utf8)'), \
                 confidence => 0.9, ages => make_array(3))",
            ),
            &["3.0 7 4 0.3845 0.139 0.6295"],
        );
    }

    #[test]
    fn rows_with_a_null_are_ignored() {
        check(
            "SELECT cumulative_incidence(t, outcome, [2])[1]['at_risk'] \
             FROM (VALUES (2, 'won'), (NULL, 'won'), (2, NULL), (3, 'open')) AS deals(t, outcome)",
            &["2"],
        );
    }

    #[test]
    fn no_rows_give_no_estimate() {
        let none = "[{age: 2.0, at_risk: 0, won: 0, estimate: NULL, lo: NULL, hi: NULL}]";
        check(
            "SELECT cumulative_incidence(t, outcome, [2]) FROM DEALS WHERE t > 99",
            &[none],
        );
        check(
            "SELECT cumulative_incidence(NULL, NULL, [2]) FROM DEALS",
            &[none],
        );
        check(
            "SELECT cumulative_incidence(t, outcome, []) FROM DEALS",
            &["[]"],
        );
        check(
            "SELECT t, cumulative_incidence(t, outcome, [2]) FROM DEALS WHERE t > 99 GROUP BY t",
            &[],
        );
    }

    #[test]
    fn groups_and_filters() {
        check(
            "SELECT 渠道, cumulative_incidence(t, outcome, [9]) FILTER (WHERE t < 90)[1]['estimate'] \
             FROM (VALUES ('搜索', 1, 'won'), ('搜索', 9, 'open'), ('广告', 9, 'lost'), ('广告', 99, 'won')) \
               AS deals(渠道, t, outcome) GROUP BY 渠道 ORDER BY 渠道",
            &["广告 0.0", "搜索 0.5"],
        );
    }

    #[test]
    fn a_moving_window_retracts_what_it_leaves() {
        check(
            "SELECT cumulative_incidence(t, outcome, [3]) OVER (ORDER BY t ROWS 1 PRECEDING)[1]['estimate'] \
             FROM (VALUES (1, 'won'), (2, 'won'), (3, 'lost'), (4, 'open')) AS deals(t, outcome)",
            &["NULL", "NULL", "0.5", "0.0"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT cumulative_incidence(-t, outcome, [2]) FROM DEALS",
            "22023",
            "can't last -1 days",
        );
        check_error(
            "SELECT cumulative_incidence(t, 'gone', [2]) FROM DEALS",
            "22023",
            "outcome \"gone\" is not one of",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, [-2]) FROM DEALS",
            "22023",
            "-2 days is not an age",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, [NULL, 2]) FROM DEALS",
            "22023",
            "is NULL",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, NULL) FROM DEALS",
            "22023",
            "ages of",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, [t]) FROM DEALS",
            "22023",
            "is not a literal",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, [2], t) FROM DEALS",
            "22023",
            "is not a literal",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, [2], 2) FROM DEALS",
            "22023",
            "confidence 2 is not",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome, 2) FROM DEALS",
            "42804",
            "takes a list of numbers as ages",
        );
        check_error(
            "SELECT cumulative_incidence(t, outcome) FROM DEALS",
            "42883",
            "HINT: Write cumulative_incidence(t, outcome, ages [, confidence]).",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        let sql = "SELECT v % 3 AS g, cumulative_incidence(v * 7 % 41, CASE v % 4 WHEN 0 THEN 'won' WHEN 1 THEN 'lost' \
            ELSE 'open' END, [5, 20, 40]) AS i FROM generate_series(1, 20000) AS s(v) GROUP BY g ORDER BY g";
        let rows = |partitions: usize| {
            let config = SessionConfig::new()
                .with_target_partitions(partitions)
                .with_batch_size(100);
            let context = SessionContext::new_with_config(config);
            context.register_udaf(cumulative_incidence_udaf().as_ref().clone());
            let batches = testing::block_on(testing::run(&context, sql)).unwrap();
            datafusion::arrow::util::pretty::pretty_format_batches(&batches)
                .unwrap()
                .to_string()
        };
        assert_eq!(rows(1), rows(8));
    }
}
