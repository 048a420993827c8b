//! How much more of y comes with one more of x: the slope of a straight line, with its limits.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::Part;
use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use super::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::statistics::slope::slope;

const NAME: &str = "slope_ci";

const PARAMETERS: Parameters = Parameters {
    required: 4,
    list: &[
        ("n", Kind::Count),
        ("sxx", Kind::Number),
        ("sxy", Kind::Number),
        ("syy", Kind::Number),
        ("confidence", Kind::Number),
    ],
};

/// The slope of a least-squares line with its confidence interval, from the sums that SQL's own aggregates give.
///
/// - `n`: Int64 points, `regr_count(y, x)`
/// - `sxx`, `sxy`, `syy`: Float64, `regr_sxx(y, x)` and so on
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `Struct { slope, lo, hi }`; NULL where there are fewer than three points, x is always the same, or an argument is
///   NULL
/// - errors: 22023 when `confidence` is outside (0, 1)
/// - source: Student's t of n − 2 degrees of freedom; the example is scipy 1.17.1's `linregress`
/// ```slt
/// query RRR
/// SELECT round(s['slope'], 4), round(s['lo'], 4), round(s['hi'], 4)
/// FROM (
///   SELECT slope_ci(regr_count(y, x), regr_sxx(y, x), regr_sxy(y, x), regr_syy(y, x)) AS s
///   FROM (VALUES (1, 2.1), (2, 3.9), (3, 6.2), (4, 7.8), (5, 10.1)) AS points(x, y)
/// )
/// ----
/// 1.99 1.7999 2.1801
/// ```
pub fn slope_ci_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(SlopeCi {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SlopeCi {
    signature: Signature,
}

impl ScalarUDFImpl for SlopeCi {
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
        Ok(Part::All.data_type("slope"))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let n = rows.counts(0)?;
        let (sxx, sxy, syy) = (rows.numbers(1)?, rows.numbers(2)?, rows.numbers(3)?);
        let confidences = rows.optional_numbers(4)?;
        let found = rows.map(|row| {
            let confidence = confidences.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
            Confidence::new(confidence)?;
            let found = slope(
                n.value(row),
                sxx.value(row),
                sxy.value(row),
                syy.value(row),
                confidence,
            );
            Ok(found.map(|found| [found.slope, found.lo, found.hi]))
        })?;
        rows.finish(Part::All.column("slope", &found)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "How much more of y comes with one more of x: the slope of a least-squares line with its confidence interval, as a \
                 struct of slope, lo and hi. NULL for fewer than three points, or where x is always the same.",
                PARAMETERS.syntax(NAME),
            )
            .with_argument("n", "How many points there are: regr_count(y, x).")
            .with_argument("sxx", "regr_sxx(y, x).")
            .with_argument("sxy", "regr_sxy(y, x).")
            .with_argument("syy", "regr_syy(y, x).")
            .with_argument("confidence", "How often the interval holds the true slope: a fraction, 0.95 when left out.")
            .with_sql_example(
                "```sql\nSELECT slope_ci(regr_count(leads, cost), regr_sxx(leads, cost), regr_sxy(leads, cost), regr_syy(leads, cost)) FROM weeks;\n```",
            )
            .build()
        });
        Some(&PAGE)
    }
}
