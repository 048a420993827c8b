//! How many are won, lost and still open after how many days? The Aalen–Johansen curves of a life table.
//!
//! `F_k(t) = Σ S(t-) d_k / n` over the times `<= t`, with `d_k` ends by outcome `k`, `n` follow-ups that last until then or
//! longer, and `S` the share that has neither outcome: `open_survival + cif_won + cif_lost = 1`. What was lost can't be won
//! any more, which the curve of [`survival_curve`](super::survival_curve) for `'won'` would ignore.
//!
//! NULL where an argument is. Ties: wins and losses come before the open ones of the same time. The limits are by Aalen's
//! variance and a log(-log) transform; while nobody has an outcome its upper limit is NULL, and where all have it the lower
//! one.
//!
//! Cost: one pass over the distinct times.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::StructArray;
use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{confidences, counts, fields, item_field, lists, numbers};
use crate::aggregate::life_table::column::LifeTables;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::statistics::aalen_johansen::{Curve, Point};

const NAME: &str = "incidence_curve";

const PARAMETERS: Parameters = Parameters {
    required: 1,
    list: &[
        ("life_table", Kind::LifeTable),
        ("confidence", Kind::Number),
    ],
};

/// Shares that were won, lost and are still open after each time.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `List<Struct { t, at_risk, won, lost, open, open_survival, cif_won, cif_won_lo, cif_won_hi, cif_lost, cif_lost_lo,
///   cif_lost_hi }>`, an element for each distinct time: `t` Float64 days, `at_risk` Int64 entities followed until then, `won`,
///   `lost` and `open` Int64 entities whose follow-up ended just then, the others Float64 fractions
/// - errors: 22023 when `confidence` is outside of (0, 1)
/// - source: O. Aalen and S. Johansen, Scandinavian Journal of Statistics 5 (1978), 141–150; the example equals
///   scikit-survival 0.28.0, `cumulative_incidence_competing_risks(event, time, conf_type="log-log", var_type="Aalen")`
/// ```slt
/// query RIRRRRR
/// SELECT c['t'], c['at_risk'], round(c['open_survival'], 4), round(c['cif_won'], 4), round(c['cif_won_lo'], 4),
///   round(c['cif_won_hi'], 4), round(c['cif_lost'], 4)
/// FROM (
///   SELECT unnest(incidence_curve(life_table(t, outcome))) AS c
///   FROM (VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), (3, 'won'),
///     (5, 'lost'), (5, 'open'), (8, 'won'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 1 12 0.9167 0.0833 0.0042 0.3233 0
/// 2 10 0.7333 0.175 0.024 0.443 0.0917
/// 3 7 0.5238 0.3845 0.1036 0.6684 0.0917
/// 5 5 0.419 0.3845 0.1036 0.6684 0.1964
/// 8 3 0.1397 0.5242 0.1432 0.8069 0.3361
/// 13 1 0.1397 0.5242 0.1432 0.8069 0.3361
/// ```
pub fn incidence_curve_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(IncidenceCurve {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IncidenceCurve {
    signature: Signature,
}

impl ScalarUDFImpl for IncidenceCurve {
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
        let confidences = confidences(&rows, 1)?;
        let curves = rows.map(|row| {
            let curve = Curve::new(&tables.table(row)?);
            Ok(Some(curve.points(confidences(row)?)))
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
        "The shares that were won, lost and are still open after each time, where each outcome competes with the other \
         (Aalen–Johansen): a list of structs of t, at_risk, won, lost, open, open_survival, cif_won, cif_lost and their limits.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("life_table", super::LIFE_TABLE)
    .with_argument("confidence", super::CONFIDENCE)
    .with_sql_example(
        "```sql\nSELECT channel, unnest(incidence_curve(life_table(days, outcome))) FROM deals GROUP BY channel;\n```",
    )
    .build()
}

fn point_fields() -> Fields {
    fields(&[
        ("t", DataType::Float64),
        ("at_risk", DataType::Int64),
        ("won", DataType::Int64),
        ("lost", DataType::Int64),
        ("open", DataType::Int64),
        ("open_survival", DataType::Float64),
        ("cif_won", DataType::Float64),
        ("cif_won_lo", DataType::Float64),
        ("cif_won_hi", DataType::Float64),
        ("cif_lost", DataType::Float64),
        ("cif_lost_lo", DataType::Float64),
        ("cif_lost_hi", DataType::Float64),
    ])
}

fn elements(points: &[Point]) -> Result<StructArray> {
    let columns = vec![
        numbers(points, |point| Some(point.t)),
        counts(points, |point| point.at_risk),
        counts(points, |point| point.ends.won),
        counts(points, |point| point.ends.lost),
        counts(points, |point| point.ends.open),
        numbers(points, |point| Some(point.open_survival)),
        numbers(points, |point| Some(point.won.estimate)),
        numbers(points, |point| point.won.lo),
        numbers(points, |point| point.won.hi),
        numbers(points, |point| Some(point.lost.estimate)),
        numbers(points, |point| point.lost.lo),
        numbers(points, |point| point.lost.hi),
    ];
    Ok(StructArray::try_new(point_fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_error};

    #[test]
    fn both_outcomes_have_limits() {
        // scikit-survival 0.28.0, as in the statistics' own tests.
        check(
            "SELECT c['t'], c['won'], c['lost'], c['open'], round(c['cif_lost'], 4), round(c['cif_lost_lo'], 4), \
             round(c['cif_lost_hi'], 4) FROM (SELECT unnest(incidence_curve(TABLE)) AS c)",
            &[
                "1.0 1 0 1 0.0 0.0 NULL",
                "2.0 1 1 1 0.0917 0.0043 0.3504",
                "3.0 2 0 0 0.0917 0.0043 0.3504",
                "5.0 0 1 1 0.1964 0.0239 0.4919",
                "8.0 1 1 0 0.3361 0.0543 0.6649",
                "13.0 0 0 1 0.3361 0.0543 0.6649",
            ],
        );
    }

    #[test]
    fn the_confidence_may_be_a_column_and_null() {
        check(
            "SELECT c, round(incidence_curve(TABLE, c)[3]['cif_won_lo'], 4) FROM (VALUES (0.9), (0.95), (NULL)) AS s(c)",
            &["0.9 0.139", "0.95 0.1036", "NULL NULL"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT incidence_curve(TABLE, 0)",
            "22023",
            "confidence 0 is not between",
        );
        check_error(
            "SELECT incidence_curve()",
            "42883",
            "HINT: Write incidence_curve(life_table [, confidence]).",
        );
    }
}
