//! By how much do two conversion rates differ? The interval around `k1/n1 - k2/n2`.
//!
//! Newcombe's hybrid score interval (his method 10): with `p` a rate and `(l, u)` its Wilson limits,
//!
//! `lo = d - √((p1 - l1)² + (u2 - p2)²)`, `hi = d + √((u1 - p1)² + (p2 - l2)²)`, where `d = p1 - p2`
//!
//! Swapping the two groups negates the difference and its limits, to the last bit. NULL where an argument is, and where a
//! group is empty: no data is not zero. Cost: constant a row.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::Part;
use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use super::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE, Method, rate_interval};
use crate::error::FunnelError;

const PARAMETERS: Parameters = Parameters {
    required: 4,
    list: &[
        ("k1", Kind::Count),
        ("n1", Kind::Count),
        ("k2", Kind::Count),
        ("n2", Kind::Count),
        ("confidence", Kind::Number),
    ],
};

/// Difference of two conversion rates with a confidence interval.
///
/// - `k1`, `n1`, `k2`, `n2`: integer counts of entities of either group, `0 <= k <= n`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `Struct { diff, lo, hi }`, Float64 in [-1, 1], first rate less second; NULL where a group is empty or an
///   argument is NULL
/// - errors: 22023 when `k > n`, a count is negative or `confidence` is outside of (0, 1)
/// - source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890, method 10; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="newcomb")`
/// ```slt
/// query RRR
/// SELECT round(i['diff'], 4), round(i['lo'], 4), round(i['hi'], 4)
/// FROM (SELECT rate_diff_ci(56, 70, 48, 80) AS i)
/// ----
/// 0.2 0.0524 0.3339
/// ```
pub fn rate_diff_ci_udf() -> Arc<ScalarUDF> {
    RateDiffCi::udf(Part::All)
}

/// Lower confidence limit of the difference of two conversion rates.
///
/// - arguments and errors: as for [`rate_diff_ci_udf`]
/// - returns Float64 in [-1, 1]; above zero if the first rate is surely the higher one
/// - source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890, method 10; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="newcomb")`
/// ```slt
/// query R
/// SELECT round(rate_diff_lower(56, 70, 48, 80), 4)
/// ----
/// 0.0524
/// ```
pub fn rate_diff_lower_udf() -> Arc<ScalarUDF> {
    RateDiffCi::udf(Part::Lower)
}

/// Upper confidence limit of the difference of two conversion rates.
///
/// - arguments and errors: as for [`rate_diff_ci_udf`]
/// - returns Float64 in [-1, 1]; below zero if the first rate is surely the lower one
/// - source: R. G. Newcombe, Statistics in Medicine 17 (1998), 873–890, method 10; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="newcomb")`
/// ```slt
/// query R
/// SELECT round(rate_diff_upper(56, 70, 48, 80), 4)
/// ----
/// 0.3339
/// ```
pub fn rate_diff_upper_udf() -> Arc<ScalarUDF> {
    RateDiffCi::udf(Part::Upper)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RateDiffCi {
    part: Part,
    signature: Signature,
}

impl RateDiffCi {
    fn udf(part: Part) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(RateDiffCi {
            part,
            signature: PARAMETERS.signature(),
        }))
    }
}

impl ScalarUDFImpl for RateDiffCi {
    fn name(&self) -> &str {
        self.part
            .pick("rate_diff_ci", "rate_diff_lower", "rate_diff_upper")
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(self.name(), coerced)?;
        Ok(self.part.data_type("diff"))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let (k1, n1) = (rows.counts(0)?, rows.counts(1)?);
        let (k2, n2) = (rows.counts(2)?, rows.counts(3)?);
        let confidences = rows.optional_numbers(4)?;
        let limits = rows.map(|row| {
            let confidence = confidences.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
            let first = (k1.value(row), n1.value(row));
            let second = (k2.value(row), n2.value(row));
            let found = rate_difference(first, second, Confidence::new(confidence)?)?;
            Ok(found.map(|found| [found.diff, found.lo, found.hi]))
        })?;
        rows.finish(self.part.column("diff", &limits)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGES: LazyLock<[Documentation; 3]> =
            LazyLock::new(|| Part::EACH.map(documentation));
        let [all, lower, upper] = &*PAGES;
        Some(self.part.pick(all, lower, upper))
    }
}

fn documentation(part: Part) -> Documentation {
    let name = part.pick("rate_diff_ci", "rate_diff_lower", "rate_diff_upper");
    let description = part.pick(
        "The difference k1 / n1 - k2 / n2 of two conversion rates with its confidence interval, as a struct of diff, lo \
         and hi. NULL where a group is empty.",
        "The lower confidence limit of the difference k1 / n1 - k2 / n2 of two conversion rates. NULL where a group is empty.",
        "The upper confidence limit of the difference k1 / n1 - k2 / n2 of two conversion rates. NULL where a group is empty.",
    );
    Documentation::builder(STATISTICS, description, PARAMETERS.syntax(name))
        .with_argument(
            "k1",
            "How many entities of the first group reached the goal: an integer from 0 to n1.",
        )
        .with_argument("n1", "How many entities the first group has.")
        .with_argument(
            "k2",
            "How many entities of the second group reached the goal: an integer from 0 to n2.",
        )
        .with_argument("n2", "How many entities the second group has.")
        .with_argument(
            "confidence",
            "How often the interval holds the true difference: a fraction, 0.95 when left out.",
        )
        .with_sql_example(format!("```sql\nSELECT {name}(56, 70, 48, 80);\n```"))
        .build()
}

/// A difference of two rates and the limits around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateDifference {
    /// The first rate less the second, in [-1, 1].
    pub diff: f64,
    /// The lower limit.
    pub lo: f64,
    /// The upper limit.
    pub hi: f64,
}

/// The interval of a difference of rates, by Newcombe's method 10.
///
/// - `first`, `second`: each group's count that reached the goal, and its size
/// - returns `None` where a group is empty
/// - errors: 22023 when a count is negative or larger than its group
pub fn rate_difference(
    first: (i64, i64),
    second: (i64, i64),
    confidence: Confidence,
) -> Result<Option<RateDifference>, FunnelError> {
    let interval = |(k, n)| rate_interval(k, n, confidence, Method::Wilson);
    let (Some(first), Some(second)) = (interval(first)?, interval(second)?) else {
        return Ok(None);
    };
    let diff = first.rate - second.rate;
    let below = (first.rate - first.lo).hypot(second.hi - second.rate);
    let above = (first.hi - first.rate).hypot(second.rate - second.lo);
    // Without rounding the limits can't leave [-1, 1], as the Wilson limits don't leave [0, 1].
    Ok(Some(RateDifference {
        diff,
        lo: (diff - below).max(-1.0),
        hi: (diff + above).min(1.0),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::super::rate_ci::arguments::testing;
    use super::*;

    fn difference(first: (i64, i64), second: (i64, i64), confidence: f64) -> RateDifference {
        rate_difference(first, second, Confidence::new(confidence).unwrap())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn limits_equal_statsmodels() {
        // statsmodels 0.15.0: confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff", alpha=1-c).
        for (first, second, confidence, lo, hi) in [
            (
                (56, 70),
                (48, 80),
                0.95,
                0.052_431_472_402_364_98,
                0.333_872_654_036_906_14,
            ),
            (
                (9, 10),
                (3, 10),
                0.95,
                0.170_522_723_934_502_9,
                0.809_017_973_535_488,
            ),
            ((10, 10), (0, 20), 0.95, 0.679_086_037_141_914_5, 1.0),
            (
                (0, 10),
                (0, 20),
                0.95,
                -0.161_125_158_052_819_24,
                0.277_532_799_862_889_26,
            ),
            (
                (5, 56),
                (0, 29),
                0.95,
                -0.038_137_147_903_536_936,
                0.192_560_013_855_111_65,
            ),
            (
                (9, 10),
                (3, 10),
                0.9,
                0.242_112_400_884_944_57,
                0.789_623_507_372_127,
            ),
        ] {
            let found = difference(first, second, confidence);
            assert!(
                (found.lo - lo).abs() < 1e-12,
                "{first:?} {second:?}: {found:?}, not {lo}"
            );
            assert!(
                (found.hi - hi).abs() < 1e-12,
                "{first:?} {second:?}: {found:?}, not {hi}"
            );
        }
    }

    fn counts() -> impl Strategy<Value = (i64, i64)> {
        (1_i64..100_000_000).prop_flat_map(|n| (0..=n, Just(n)))
    }

    proptest! {
        #[test]
        fn swapping_the_groups_negates_the_difference(
            first in counts(), second in counts(), confidence in 0.01..0.9999,
        ) {
            let (found, swapped) =
                (difference(first, second, confidence), difference(second, first, confidence));
            prop_assert_eq!(found.diff, -swapped.diff);
            prop_assert_eq!((found.lo, found.hi), (-swapped.hi, -swapped.lo));
        }

        #[test]
        fn the_interval_is_inside_minus_1_to_1_around_the_difference(
            first in counts(), second in counts(), confidence in 0.01..0.9999,
        ) {
            let found = difference(first, second, confidence);
            prop_assert!(-1.0 <= found.lo && found.lo <= found.diff, "{found:?}");
            prop_assert!(found.diff <= found.hi && found.hi <= 1.0, "{found:?}");
        }

        #[test]
        fn more_of_the_same_narrows_the_interval(first in counts(), second in counts(), times in 2_i64..100) {
            let more = |(k, n): (i64, i64)| (k * times, n * times);
            let (once, often) =
                (difference(first, second, 0.95), difference(more(first), more(second), 0.95));
            prop_assert_eq!(once.diff, often.diff);
            prop_assert!(often.hi - often.lo <= once.hi - once.lo, "{once:?} {often:?}");
        }
    }

    fn context() -> SessionContext {
        let context = SessionContext::new();
        for function in [
            rate_diff_ci_udf(),
            rate_diff_lower_udf(),
            rate_diff_upper_udf(),
        ] {
            context.register_udf(function.as_ref().clone());
        }
        context
    }

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        testing::check(&context(), sql, expected);
    }

    #[test]
    fn literals_columns_and_nulls() {
        check(
            "SELECT round(rate_diff_lower(56, 70, 48, 80), 4), round(rate_diff_upper(56, 70, 48, 80), 4)",
            &["0.0524 0.3339"],
        );
        check(
            "SELECT round(i['diff'], 4), round(i['lo'], 4), round(i['hi'], 4) FROM ( \
               SELECT rate_diff_ci(k, n, 3, 10, c) AS i \
               FROM (VALUES (9, 10, 0.95), (9, 10, 0.9), (0, 0, 0.9), (9, NULL, 0.9), (9, 10, NULL)) AS t(k, n, c))",
            &[
                "0.6 0.1705 0.809",
                "0.6 0.2421 0.7896",
                "NULL NULL NULL",
                "NULL NULL NULL",
                "NULL NULL NULL",
            ],
        );
        check(
            "SELECT rate_diff_ci(0, 0, 1, 2), rate_diff_lower(1, 2, 0, 0)",
            &["NULL NULL"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let check_error = |sql, code, part| testing::check_error(&context(), sql, code, part);
        check_error(
            "SELECT rate_diff_ci(6, 5, 1, 2)",
            "22023",
            "can't be 6 of 5",
        );
        check_error(
            "SELECT rate_diff_ci(1, 5, 3, 2)",
            "22023",
            "can't be 3 of 2",
        );
        check_error(
            "SELECT rate_diff_ci(1, 5, 1, 2, 95)",
            "22023",
            "confidence 95 is not between",
        );
        check_error(
            "SELECT rate_diff_lower(1, 5, 1)",
            "42883",
            "HINT: Write rate_diff_lower(k1, n1, k2, n2 [, confidence]).",
        );
    }
}
