//! How likely is it to win by day 30, 60 and 90, by a life table? The Aalen–Johansen estimate at some ages.
//!
//! `incidence_at(life_table(t, outcome), ages)` is `cumulative_incidence(t, outcome, ages)`, for a table that other functions
//! read too; see [`cumulative_incidence`](crate::aggregate::cumulative_incidence) for the method, ties and limits.
//!
//! NULL where an argument is; a NULL age is a NULL element. An age beyond the longest follow-up has no estimate.
//!
//! Cost: one pass over the distinct times, and a search for each age.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::cast::as_float64_array;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::{confidences, lists};
use crate::aggregate::columns::list;
use crate::aggregate::cumulative_incidence::{item_field, items};
use crate::aggregate::life_table::column::LifeTables;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::scalar::rate_ci::interval::Confidence;
use crate::statistics::aalen_johansen::{AtAge, Curve, check_age};

const NAME: &str = "incidence_at";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[
        ("life_table", Kind::LifeTable),
        ("ages", Kind::Numbers),
        ("confidence", Kind::Number),
    ],
};

/// Probability to have won by each of some ages, by a life table.
///
/// - `life_table`: a result of `life_table(t, outcome)`
/// - `ages`: list of days, `>= 0`; the result keeps its order
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `List<Struct { age, at_risk, won, estimate, lo, hi }>` as `cumulative_incidence` does: `estimate`, `lo` and `hi` are
///   NULL beyond the longest follow-up
/// - errors: 22023 when an age is negative or not finite, or `confidence` outside of (0, 1)
/// - source: O. Aalen and S. Johansen, Scandinavian Journal of Statistics 5 (1978), 141–150; the example equals
///   scikit-survival 0.28.0, `cumulative_incidence_competing_risks(event, time, conf_type="log-log", var_type="Aalen")`
/// ```slt
/// query IIIRRR
/// SELECT i['age']::BIGINT, i['at_risk'], i['won'], round(i['estimate'], 4), round(i['lo'], 4), round(i['hi'], 4)
/// FROM (
///   SELECT unnest(incidence_at(life_table(t, outcome), [2, 20])) AS i
///   FROM (VALUES (1, 'won'), (1, 'open'), (2, 'lost'), (2, 'won'), (2, 'open'), (3, 'won'), (3, 'won'),
///     (5, 'lost'), (5, 'open'), (8, 'won'), (8, 'lost'), (13, 'open')) AS deals(t, outcome)
/// )
/// ----
/// 2 10 2 0.175 0.024 0.443
/// 20 0 5 NULL NULL NULL
/// ```
pub fn incidence_at_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(IncidenceAt {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IncidenceAt {
    signature: Signature,
}

impl ScalarUDFImpl for IncidenceAt {
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
        Ok(DataType::List(item_field()))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let tables = LifeTables::new(rows.required(0)?)?;
        let (ages, confidences) = (list(rows.required(1)?)?, confidences(&rows, 2)?);
        let found = rows.map(|row| {
            let curve = Curve::new(&tables.table(row)?);
            at_ages(&curve, &ages.value(row), confidences(row)?).map(Some)
        })?;
        rows.finish(lists(found, item_field(), items)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn at_ages(curve: &Curve, ages: &dyn Array, confidence: Confidence) -> Result<Vec<Option<AtAge>>> {
    let at = |age| Ok(curve.at(check_age(age)?, confidence));
    let ages = as_float64_array(ages)?.iter();
    ages.map(|age| age.map(at).transpose()).collect()
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "The probability to have won by each of some ages, by a life table, where losing competes (Aalen–Johansen): a list of \
         structs of age, at_risk, won, estimate, lo and hi. An age beyond the longest follow-up has no estimate.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("life_table", super::LIFE_TABLE)
    .with_argument("ages", "A list of ages in days, such as [30, 60, 90].")
    .with_argument("confidence", super::CONFIDENCE)
    .with_sql_example(
        "```sql\nSELECT cohort, unnest(incidence_at(life_table(days, outcome), [30, 60, 90])) FROM deals GROUP BY cohort;\n```",
    )
    .build()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, check_error};

    #[test]
    fn ages_keep_their_order_and_null_ages_are_null() {
        // scikit-survival 0.28.0, as in the statistics' own tests.
        check(
            "SELECT i['age'], i['at_risk'], i['won'], round(i['estimate'], 4), round(i['lo'], 4), round(i['hi'], 4) \
             FROM (SELECT unnest(incidence_at(TABLE, [20, 8, NULL, 2, 0.5])) AS i)",
            &[
                "20.0 0 5 NULL NULL NULL",
                "8.0 3 5 0.5242 0.1432 0.8069",
                "NULL NULL NULL NULL NULL NULL",
                "2.0 10 2 0.175 0.024 0.443",
                "0.5 12 0 0.0 0.0 NULL",
            ],
        );
    }

    #[test]
    fn ages_and_confidence_may_be_columns() {
        check(
            "SELECT round(incidence_at(TABLE, ages, c)[1]['lo'], 4) \
             FROM (VALUES ([3], 0.9), ([3, 8], 0.95), (NULL, 0.9), ([], 0.9), ([3], NULL)) AS s(ages, c)",
            &["0.139", "0.1036", "NULL", "NULL", "NULL"],
        );
        check("SELECT incidence_at(TABLE, [])", &["[]"]);
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT incidence_at(TABLE, [-2])",
            "22023",
            "-2 days is not an age",
        );
        check_error(
            "SELECT incidence_at(TABLE, [2], 2)",
            "22023",
            "confidence 2 is not",
        );
        check_error(
            "SELECT incidence_at(TABLE, 2)",
            "42804",
            "takes a list of numbers as ages",
        );
        check_error(
            "SELECT incidence_at(TABLE)",
            "42883",
            "HINT: Write incidence_at(life_table, ages [, confidence]).",
        );
    }
}
