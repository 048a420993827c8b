//! How many are still open after how many days? The Kaplan–Meier curve of a life table.
//!
//! `S(t) = Π (1 - d/n)` over the times `<= t`, with `d` events and `n` follow-ups that last until then or longer. What is
//! still open counts for as long as it was watched. An `event` is any outcome, or only `'won'` or `'lost'`; the curve of one
//! outcome is of a world in which the other can't happen, so to count wins use
//! [`incidence_curve`](super::incidence_curve) instead.
//!
//! NULL where an argument is. Ties: events come before the open ones of the same time. Before the first event the share is 1,
//! its error 0 and both limits 1, as scikit-survival and lifelines have it (R has no limits there); where nobody is left, the
//! share is 0, and there is no error and no limits, as in R.
//!
//! Cost: one pass over the distinct times.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::StructArray;
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{confidences, counts, events, fields, item_field, lists, numbers};
use crate::aggregate::life_table::column::LifeTables;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::statistics::kaplan_meier::{self, Point};

const NAME: &str = "survival_curve";

const PARAMETERS: Parameters = Parameters {
    required: 1,
    list: &[
        ("life_table", Kind::LifeTable),
        ("event", Kind::Text),
        ("confidence", Kind::Number),
    ],
};

/// Share that is still open after each time, with a confidence interval.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `event`: `'any'` (when left out), `'won'` or `'lost'`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `List<Struct { t, at_risk, events, censored, survival, se, lo, hi }>`, an element for each distinct time: `t`
///   Float64 days, `at_risk`, `events` and `censored` Int64 entities, the others Float64 fractions; `se` by Greenwood, `lo`
///   and `hi` by the log(-log) transform, all three NULL where `survival` is 0
/// - errors: 22023 when `event` is another text or `confidence` outside of (0, 1)
/// - source: E. L. Kaplan and P. Meier, JASA 53 (1958), 457–481; the example is of Freireich's trial, Blood 21 (1963), 699–716,
///   and equals scikit-survival 0.28.0, `kaplan_meier_estimator(event, time, conf_type="log-log")`
/// ```slt
/// query RIIIRRRR
/// SELECT c['t'], c['at_risk'], c['events'], c['censored'], round(c['survival'], 3), round(c['se'], 4), round(c['lo'], 4),
///   round(c['hi'], 4)
/// FROM (
///   SELECT unnest(survival_curve(life_table(week, outcome))) AS c
///   FROM (VALUES (6, 'won'), (6, 'won'), (6, 'won'), (6, 'open'), (7, 'won'), (9, 'open'), (10, 'won'), (10, 'open'),
///     (11, 'open'), (13, 'won'), (16, 'won'), (17, 'open'), (19, 'open'), (20, 'open'), (22, 'won'), (23, 'won'),
///     (25, 'open'), (32, 'open'), (32, 'open'), (34, 'open'), (35, 'open')) AS patients(week, outcome)
/// )
/// LIMIT 4
/// ----
/// 6 21 3 1 0.857 0.0764 0.6197 0.9516
/// 7 17 1 0 0.807 0.0869 0.5631 0.9228
/// 9 16 0 1 0.807 0.0869 0.5631 0.9228
/// 10 15 1 1 0.753 0.0963 0.5032 0.8894
/// ```
pub fn survival_curve_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(SurvivalCurve {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SurvivalCurve {
    signature: Signature,
}

impl ScalarUDFImpl for SurvivalCurve {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::List(item_field(point_fields())))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let tables = LifeTables::new(rows.required(0)?)?;
        let (events, confidences) = (events(&rows, 1)?, confidences(&rows, 2)?);
        let curves = rows.map(|row| {
            let table = tables.table(row)?;
            Ok(Some(kaplan_meier::curve(
                &table,
                events(row)?,
                confidences(row)?,
            )))
        })?;
        rows.finish(lists(curves, item_field(point_fields()), elements)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "The share that is still open after each time, where open entities count for as long as they were followed \
         (Kaplan–Meier): a list of structs of t, at_risk, events, censored, survival, se, lo and hi.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("life_table", super::LIFE_TABLE)
    .with_argument("event", super::EVENT)
    .with_argument("confidence", super::CONFIDENCE)
    .with_sql_example(
        "```sql\nSELECT channel, unnest(survival_curve(life_table(days, outcome))) FROM deals GROUP BY channel;\n```",
    )
    .build()
}

fn point_fields() -> Fields {
    fields(&[
        ("t", DataType::Float64),
        ("at_risk", DataType::Int64),
        ("events", DataType::Int64),
        ("censored", DataType::Int64),
        ("survival", DataType::Float64),
        ("se", DataType::Float64),
        ("lo", DataType::Float64),
        ("hi", DataType::Float64),
    ])
}

fn elements(points: &[Point]) -> Result<StructArray> {
    let columns = vec![
        numbers(points, |point| Some(point.t)),
        counts(points, |point| point.at_risk),
        counts(points, |point| point.events),
        counts(points, |point| point.censored),
        numbers(points, |point| Some(point.survival)),
        numbers(points, |point| point.se),
        numbers(points, |point| point.lo),
        numbers(points, |point| point.hi),
    ];
    Ok(StructArray::try_new(point_fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_error};

    /// Selects the elements of the list, rounded.
    fn elements(call: &str) -> String {
        format!(
            "SELECT c['t'], c['at_risk'], c['events'], c['censored'], round(c['survival'], 4), round(c['se'], 4), \
             round(c['lo'], 4), round(c['hi'], 4) FROM (SELECT unnest({call}) AS c)"
        )
    }

    #[test]
    fn one_element_for_each_time() {
        // scikit-survival 0.28.0 and lifelines 0.30.3, as in the statistics' own tests.
        check(
            &elements("survival_curve(TABLE)"),
            &[
                "1.0 12 1 1 0.9167 0.0798 0.539 0.9878",
                "2.0 10 2 1 0.7333 0.1324 0.379 0.9056",
                "3.0 7 2 0 0.5238 0.1569 0.2013 0.7704",
                "5.0 5 1 1 0.419 0.1566 0.1327 0.6875",
                "8.0 3 2 0 0.1397 0.1254 0.0081 0.4471",
                "13.0 1 0 1 0.1397 0.1254 0.0081 0.4471",
            ],
        );
        check(
            &elements("survival_curve(TABLE, 'lost')[1:2]"),
            &[
                "1.0 12 0 2 1.0 0.0 1.0 1.0",
                "2.0 10 1 2 0.9 0.0949 0.473 0.9853",
            ],
        );
    }

    #[test]
    fn arguments_may_be_columns_or_named() {
        check(
            "SELECT e, round(survival_curve(event => e, confidence => 0.9, life_table => TABLE)[2]['survival'], 3) \
             FROM (VALUES ('any'), ('won'), (NULL)) AS s(e)",
            &["any 0.733", "won 0.825", "NULL NULL"],
        );
    }

    #[test]
    fn nobody_left_has_no_limits() {
        check(
            "SELECT survival_curve([{t: 1, won: 2, lost: 0, open: 0}])",
            &[
                "[{t: 1.0, at_risk: 2, events: 2, censored: 0, survival: 0.0, se: NULL, lo: NULL, hi: NULL}]",
            ],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT survival_curve(TABLE, 'gone')",
            "22023",
            "event \"gone\" is not one of any, won and lost HINT: Use one of 'any', 'won', 'lost'.",
        );
        check_error(
            "SELECT survival_curve(TABLE, 'any', 2)",
            "22023",
            "confidence 2 is not",
        );
        check_error(
            "SELECT survival_curve()",
            "42883",
            "HINT: Write survival_curve(life_table [, event [, confidence]]).",
        );
    }
}
