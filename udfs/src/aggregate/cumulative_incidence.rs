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
//! It is `incidence_at(life_table(t, outcome), ages)` in one call; see [`life_table`] and
//! [`incidence_at`](crate::scalar::survival::incidence_at).
//!
//! Cost: a row is one insertion to a sorted map; the result is one pass over the distinct times. State: 48 bytes a distinct
//! time, in whole days mostly some hundred.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use datafusion::common::cast::as_float64_array;
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, internal_err, not_impl_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Documentation, Signature,
};
use datafusion::physical_plan::PhysicalExpr;

use super::life_table;
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::scalar::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::statistics::aalen_johansen::{self, AtAge, Curve};
use crate::statistics::life_table::FollowUps;

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
/// - `outcome`: `'won'` or `'passed'`; `'lost'`; `'open'` or `'expired'`
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
        Ok(life_table::state_fields(call.name))
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
    .with_argument("outcome", "'won' or 'passed', 'lost', 'open' or 'expired'.")
    .with_argument("ages", "A literal list of ages in days, such as [30, 60, 90].")
    .with_argument("confidence", "A literal fraction: how often the limits hold the truth, 0.95 when left out.")
    .with_sql_example(
        "```sql\nSELECT cohort, unnest(cumulative_incidence(days, outcome, [30, 60, 90])) FROM deals GROUP BY cohort;\n```",
    )
    .build()
}

/// One element of the result.
pub(crate) fn item_fields() -> Fields {
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

pub(crate) fn item_field() -> FieldRef {
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
    as_float64_array(&ages)?.iter().map(literal_age).collect()
}

fn literal_age(age: Option<f64>) -> Result<f64> {
    match age {
        Some(age) => Ok(aalen_johansen::check_age(age)?),
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
        life_table::update(&mut self.follow_ups, values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let curve = Curve::new(&self.follow_ups.table()?);
        let found = self
            .ages
            .iter()
            .map(|age| Some(curve.at(*age, self.confidence)));
        let items = Arc::new(items(&found.collect::<Vec<_>>())?);
        Ok(SingleRowListArrayBuilder::new(items)
            .with_field(&item_field())
            .build_list_scalar())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.follow_ups.heap_size() + self.ages.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        life_table::state(&self.follow_ups)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        life_table::merge(&mut self.follow_ups, states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        life_table::retract(&mut self.follow_ups, values)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// Elements of the result; `None` is NULL.
pub(crate) fn items(found: &[Option<AtAge>]) -> Result<StructArray> {
    let number = |of: fn(&AtAge) -> Option<f64>| -> ArrayRef {
        let values = found.iter().map(|at| at.as_ref().and_then(of));
        Arc::new(values.collect::<Float64Array>())
    };
    let count = |of: fn(&AtAge) -> i64| -> ArrayRef {
        Arc::new(
            found
                .iter()
                .map(|at| at.as_ref().map(of))
                .collect::<Int64Array>(),
        )
    };
    let columns = vec![
        number(|at| Some(at.age)),
        count(|at| at.at_risk),
        count(|at| at.won),
        number(|at| at.share.map(|share| share.estimate)),
        number(|at| at.share.and_then(|share| share.lo)),
        number(|at| at.share.and_then(|share| share.hi)),
    ];
    let nulls = found.iter().map(Option::is_some).collect();
    Ok(StructArray::try_new(item_fields(), columns, Some(nulls))?)
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
