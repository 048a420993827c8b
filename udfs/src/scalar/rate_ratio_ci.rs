//! How many times as high is one conversion rate as another? The interval around `(k1/n1) / (k2/n2)`.
//!
//! The score interval: every ratio θ with `(p1 - θ p2)² / V(θ) <= z²`, where `V(θ) = r1 (1-r1)/n1 + θ² r2 (1-r2)/n2`, and `r1`
//! and `r2` are the likeliest rates with the ratio θ. That is `koopman`; `miettinen_nurminen`, when no method is given, takes
//! `N/(N-1)` times the variance, with `N = n1 + n2`, and is wider in small groups.
//!
//! - Nobody of the first group reached the goal: the ratio and `lo` are exactly 0.
//! - Nobody of the second did: there is no ratio and no upper limit; both are NULL, and `lo` stays.
//! - Nobody did at all: any ratio is possible; the ratio is NULL, `lo` 0 and `hi` NULL.
//!
//! Swapping the two groups inverts the ratio and its limits. NULL as a whole where an argument is, and where a group is
//! empty: no data is not zero. Never infinite. Counts up to 1e8 keep more than seven digits. Cost: constant a row, some 1 µs.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use super::rate_ci::Part;
use super::rate_ci::comparison::{Measure, comparison_udf};
use super::rate_ci::interval::{Confidence, RatioInterval, method_named};
use super::rate_ci::score::{Group, miettinen_nurminen, ratio_lower};
use crate::error::FunnelError;

/// Ratio of two conversion rates with a confidence interval.
///
/// - `k1`, `n1`, `k2`, `n2`: integer counts of entities of either group, `0 <= k <= n`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - `method`: `'miettinen_nurminen'` (when left out) or `'koopman'`
/// - returns `Struct { ratio, lo, hi }`, Float64, first rate to second; `ratio` and `hi` NULL where `k2 = 0`, all NULL where
///   a group is empty or an argument is NULL
/// - errors: 22023 when `k > n`, a count is negative, `confidence` is outside of (0, 1) or `method` unknown
/// - source: O. Miettinen, M. Nurminen, Statistics in Medicine 4 (1985), 213–226; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="score", compare="ratio")`
/// ```slt
/// query RRR
/// SELECT round(i['ratio'], 4), round(i['lo'], 4), round(i['hi'], 4)
/// FROM (SELECT rate_ratio_ci(56, 70, 48, 80) AS i)
/// ----
/// 1.3333 1.079 1.6721
/// ```
pub fn rate_ratio_ci_udf() -> Arc<ScalarUDF> {
    comparison_udf::<Ratio>(Part::All)
}

/// Lower confidence limit of the ratio of two conversion rates.
///
/// - arguments and errors: as for [`rate_ratio_ci_udf`]
/// - returns Float64, 0 where `k1 = 0`; above one if the first rate is surely the higher one
/// - source: P. A. R. Koopman, Biometrics 40 (1984), 513–517; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="score", compare="ratio", correction=False)`
/// ```slt
/// query R
/// SELECT round(rate_ratio_lower(56, 70, 48, 80, 0.95, 'koopman'), 4)
/// ----
/// 1.0798
/// ```
pub fn rate_ratio_lower_udf() -> Arc<ScalarUDF> {
    comparison_udf::<Ratio>(Part::Lower)
}

/// Upper confidence limit of the ratio of two conversion rates.
///
/// - arguments and errors: as for [`rate_ratio_ci_udf`]
/// - returns Float64, NULL where `k2 = 0`, as there is no upper limit; below one if the first rate is surely the lower one
/// - source: as for [`rate_ratio_ci_udf`]; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(0, 10, 5, 20, method="score", compare="ratio")`
/// ```slt
/// query RR
/// SELECT round(rate_ratio_upper(0, 10, 5, 20), 4), rate_ratio_upper(5, 20, 0, 10)
/// ----
/// 1.2849 NULL
/// ```
pub fn rate_ratio_upper_udf() -> Arc<ScalarUDF> {
    comparison_udf::<Ratio>(Part::Upper)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Ratio;

impl Measure for Ratio {
    const NAMES: [&'static str; 3] = ["rate_ratio_ci", "rate_ratio_lower", "rate_ratio_upper"];
    const ESTIMATE: &'static str = "ratio";
    const DESCRIPTIONS: [&'static str; 3] = [
        "The ratio (k1 / n1) / (k2 / n2) of two conversion rates with its confidence interval, as a struct of ratio, lo \
         and hi. The ratio and hi are NULL where k2 is 0; NULL where a group is empty.",
        "The lower confidence limit of the ratio (k1 / n1) / (k2 / n2) of two conversion rates. NULL where a group is empty.",
        "The upper confidence limit of the ratio (k1 / n1) / (k2 / n2) of two conversion rates. NULL where k2 is 0, as there \
         is no upper limit, and where a group is empty.",
    ];
    const METHODS: &'static str = "'miettinen_nurminen' (when left out) or 'koopman'.";

    fn compare(
        first: (i64, i64),
        second: (i64, i64),
        confidence: Confidence,
        method: Option<&str>,
    ) -> Result<Option<[Option<f64>; 3]>, FunnelError> {
        let method = method.map_or(Ok(RatioMethod::default()), RatioMethod::parse)?;
        let found = rate_ratio(first, second, confidence, method)?;
        Ok(found.map(|found| [found.ratio, found.lo, found.hi]))
    }
}

/// How the limits of a ratio of rates are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RatioMethod {
    /// Miettinen and Nurminen's score interval. Statistics in Medicine 4 (1985), 213–226.
    #[default]
    MiettinenNurminen,
    /// Koopman's score interval, without their factor of the variance. Biometrics 40 (1984), 513–517.
    Koopman,
}

impl RatioMethod {
    /// Each method with the name that SQL knows it by.
    const NAMES: [(&'static str, RatioMethod); 2] = [
        ("miettinen_nurminen", RatioMethod::MiettinenNurminen),
        ("koopman", RatioMethod::Koopman),
    ];

    /// The method of that name, in lower case.
    ///
    /// - errors: 22023 when there is none
    pub fn parse(name: &str) -> Result<RatioMethod, FunnelError> {
        method_named(&Self::NAMES, name, "a ratio")
    }
}

/// The interval of a ratio of rates.
///
/// - `first`, `second`: each group's count that reached the goal, and its size
/// - returns `None` where a group is empty
/// - errors: 22023 when a count is negative or larger than its group
pub fn rate_ratio(
    first: (i64, i64),
    second: (i64, i64),
    confidence: Confidence,
    method: RatioMethod,
) -> Result<Option<RatioInterval>, FunnelError> {
    let (Some(first), Some(second)) = (Group::new(first)?, Group::new(second)?) else {
        return Ok(None);
    };
    let largest = match method {
        RatioMethod::MiettinenNurminen => miettinen_nurminen(confidence.deviate(), first, second),
        RatioMethod::Koopman => confidence.deviate() * confidence.deviate(),
    };
    Ok(Some(RatioInterval::new(
        first.rate() / second.rate(),
        ratio_lower(first, second, largest),
        ratio_lower(second, first, largest),
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::super::rate_ci::arguments::testing;
    use super::RatioMethod::{Koopman, MiettinenNurminen};
    use super::*;

    fn ratio(
        first: (i64, i64),
        second: (i64, i64),
        confidence: f64,
        method: RatioMethod,
    ) -> RatioInterval {
        let confidence = Confidence::new(confidence).unwrap();
        rate_ratio(first, second, confidence, method)
            .unwrap()
            .unwrap()
    }

    /// Whether a limit is the expected one to twelve digits, or none where none is expected.
    fn near(found: Option<f64>, expected: Option<f64>) -> bool {
        match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected,
            (found, expected) => found == expected,
        }
    }

    #[test]
    fn limits_hold_the_statistic() {
        // mpmath 1.3, 60 digits: bisection for χ²(θ) = 2 erfinv(c)², by Miettinen and Nurminen times (N-1)/N, the restricted
        // rates by the closed-form quadratic; a restricted likelihood maximised by scipy 1.17.1 gives the same within 1e-9.
        // statsmodels 0.15.0 gives the same as far as it goes, within 1e-8: confint_proportions_2indep(k1, n1, k2, n2,
        // method="score", compare="ratio", correction=c). DIFFERENCE: where all of a group reached the goal it has the ratio
        // itself, or another limit that doesn't hold the statistic.
        const MANY: i64 = 100_000_000;
        for (first, second, method, lo, hi) in [
            (
                (56, 70),
                (48, 80),
                MiettinenNurminen,
                Some(1.079_047_119_534_426_4),
                Some(1.672_145_359_089_767_7),
            ),
            (
                (56, 70),
                (48, 80),
                Koopman,
                Some(1.079_821_506_361_898_3),
                Some(1.670_805_578_019_111_8),
            ),
            (
                (9, 10),
                (3, 10),
                MiettinenNurminen,
                Some(1.327_956_573_483_524_6),
                Some(8.691_914_949_017_297),
            ),
            (
                (9, 10),
                (3, 10),
                Koopman,
                Some(1.353_237_193_866_728_7),
                Some(8.467_668_686_709_777),
            ),
            (
                (1, 1000),
                (3, 900),
                MiettinenNurminen,
                Some(0.043_009_854_613_181_73),
                Some(2.090_607_186_980_914),
            ),
            // All of the first group, so that the lower limit is where the multiplier stands still.
            (
                (10, 10),
                (7, 20),
                MiettinenNurminen,
                Some(1.738_559_082_735_019),
                Some(5.583_880_206_868_796),
            ),
            (
                (10, 10),
                (7, 20),
                Koopman,
                Some(1.761_547_531_748_408_4),
                Some(5.519_012_819_486_418),
            ),
            (
                (3, 10),
                (20, 20),
                MiettinenNurminen,
                Some(0.105_967_935_735_076_29),
                Some(0.607_784_600_078_674_6),
            ),
            // None of a group.
            (
                (10, 10),
                (0, 20),
                MiettinenNurminen,
                Some(6.032_810_251_455_444),
                None,
            ),
            (
                (10, 10),
                (0, 20),
                Koopman,
                Some(6.206_355_432_540_113),
                None,
            ),
            (
                (0, 10),
                (5, 20),
                MiettinenNurminen,
                Some(0.0),
                Some(1.284_944_287_801_461_6),
            ),
            (
                (0, 10),
                (20, 20),
                Koopman,
                Some(0.0),
                Some(0.277_532_799_862_889_26),
            ),
            // As many as there may be.
            (
                (3, MANY),
                (7, MANY),
                MiettinenNurminen,
                Some(0.120_813_958_929_625_14),
                Some(1.520_300_046_253_177_3),
            ),
            (
                (50_000_000, MANY),
                (49_990_000, MANY),
                MiettinenNurminen,
                Some(0.999_922_814_495_890_9),
                Some(1.000_477_342_387_715_8),
            ),
            (
                (30_000_000, MANY),
                (299, 1000),
                Koopman,
                Some(0.914_352_914_724_977_7),
                Some(1.105_226_757_280_686_2),
            ),
            (
                (99_999_999, MANY),
                (99_999_990, MANY),
                Koopman,
                Some(1.000_000_031_388_269),
                Some(1.000_000_175_205_654_7),
            ),
            (
                (1, MANY),
                (1, 3),
                MiettinenNurminen,
                Some(3.883_111_767_336_426e-9),
                Some(2.796_122_995_875_985_4e-7),
            ),
        ] {
            let found = ratio(first, second, 0.95, method);
            assert!(
                near(found.lo, lo),
                "{first:?} {second:?}: {found:?}, not {lo:?}"
            );
            assert!(
                near(found.hi, hi),
                "{first:?} {second:?}: {found:?}, not {hi:?}"
            );
        }
    }

    #[test]
    fn without_a_denominator_there_is_no_ratio_and_without_a_numerator_it_is_0() {
        for method in [MiettinenNurminen, Koopman] {
            let none_of_first = ratio((0, 10), (5, 20), 0.95, method);
            assert_eq!(
                (none_of_first.ratio, none_of_first.lo),
                (Some(0.0), Some(0.0))
            );
            let none_of_second = ratio((5, 20), (0, 10), 0.95, method);
            assert_eq!((none_of_second.ratio, none_of_second.hi), (None, None));
            let none = ratio((0, 20), (0, 10), 0.95, method);
            assert_eq!((none.ratio, none.lo, none.hi), (None, Some(0.0), None));
        }
    }

    #[test]
    fn extreme_arguments_give_numbers() {
        const MOST: i64 = i64::MAX;
        let counts = [
            (0, 1),
            (1, 1),
            (0, MOST),
            (1, MOST),
            (MOST / 2, MOST),
            (MOST, MOST),
        ];
        for (first, second) in counts
            .iter()
            .flat_map(|one| counts.map(|other| (*one, other)))
        {
            for confidence in [f64::MIN_POSITIVE, 0.5, 1.0 - f64::EPSILON / 2.0] {
                for method in [MiettinenNurminen, Koopman] {
                    let found = ratio(first, second, confidence, method);
                    assert!(
                        is_ordered(&found),
                        "{first:?} {second:?} {confidence}: {found:?}"
                    );
                }
            }
        }
    }

    /// Finite where there is a value, not negative, and the ratio inside of the limits.
    fn is_ordered(found: &RatioInterval) -> bool {
        let values = [Some(0.0), found.lo, found.ratio, found.hi];
        let there = values.into_iter().flatten().collect::<Vec<_>>();
        there.is_sorted() && there.iter().all(|value| value.is_finite())
    }

    /// `(k, n)`, with small groups and the corners more often than by chance.
    fn counts() -> impl Strategy<Value = (i64, i64)> {
        prop_oneof![1_i64..5, 1_i64..100_000_000]
            .prop_flat_map(|n| (prop_oneof![Just(0), Just(n), 0..=n], Just(n)))
    }

    fn method() -> impl Strategy<Value = RatioMethod> {
        proptest::sample::select(vec![MiettinenNurminen, Koopman])
    }

    /// Whether the first interval is inside of the second, up to rounding.
    fn is_inside(inner: &RatioInterval, outer: &RatioInterval) -> bool {
        let lo = |found: &RatioInterval| found.lo.unwrap_or(0.0);
        let hi = |found: &RatioInterval| found.hi.unwrap_or(f64::INFINITY);
        lo(inner) >= lo(outer) * (1.0 - 1e-9) && hi(inner) <= hi(outer) * (1.0 + 1e-9)
    }

    proptest! {
        #[test]
        fn the_ratio_is_inside_of_its_limits(
            first in counts(), second in counts(), confidence in 0.01..0.9999, method in method(),
        ) {
            let found = ratio(first, second, confidence, method);
            prop_assert!(is_ordered(&found), "{found:?}");
            prop_assert_eq!(found.hi.is_none(), second.0 == 0, "{:?}", found);
            prop_assert_eq!(found.lo == Some(0.0), first.0 == 0, "{:?}", found);
        }

        #[test]
        fn swapping_the_groups_inverts_the_ratio(
            first in counts(), second in counts(), confidence in 0.01..0.9999, method in method(),
        ) {
            let found = ratio(first, second, confidence, method);
            let swapped = ratio(second, first, confidence, method);
            let inverse = |value: Option<f64>| {
                Some(value.map_or(0.0, f64::recip)).filter(|inverse| inverse.is_finite())
            };
            prop_assert!(near(found.hi, inverse(swapped.lo)), "{found:?} {swapped:?}");
            prop_assert!(near(found.lo, inverse(swapped.hi)), "{found:?} {swapped:?}");
        }

        #[test]
        fn more_of_the_same_narrows_the_interval(
            first in counts(), second in counts(), times in 2_i64..100, method in method(),
        ) {
            let more = |(k, n): (i64, i64)| (k * times, n * times);
            let once = ratio(first, second, 0.95, method);
            let often = ratio(more(first), more(second), 0.95, method);
            prop_assert_eq!(once.ratio, often.ratio);
            prop_assert!(is_inside(&often, &once), "{once:?} {often:?}");
        }

        #[test]
        fn a_higher_confidence_is_wider(
            first in counts(), second in counts(), confidence in 0.01..0.99, method in method(),
        ) {
            let narrow = ratio(first, second, confidence, method);
            let wide = ratio(first, second, confidence + 0.009, method);
            prop_assert!(is_inside(&narrow, &wide), "{narrow:?} {wide:?}");
        }
    }

    fn context() -> SessionContext {
        let context = SessionContext::new();
        for function in [
            rate_ratio_ci_udf(),
            rate_ratio_lower_udf(),
            rate_ratio_upper_udf(),
        ] {
            context.register_udf(function.as_ref().clone());
        }
        context
    }

    #[test]
    fn literals_columns_and_nulls() {
        let check = |sql, expected: &[&str]| testing::check(&context(), sql, expected);
        check(
            "SELECT k, round(i['ratio'], 4), round(i['lo'], 4), round(i['hi'], 4) FROM ( \
               SELECT k, rate_ratio_ci(k, n, 3, 10, c, m) AS i \
               FROM (VALUES (9, 10, 0.95, 'koopman'), (0, 10, 0.95, 'miettinen_nurminen'), (0, 0, 0.9, 'koopman'), \
                 (NULL, 10, 0.9, 'koopman'), (9, 10, NULL, 'koopman'), (9, 10, 0.9, NULL)) AS t(k, n, c, m))",
            &[
                "9 3.0 1.3532 8.4677",
                "0 0.0 0.0 1.1354",
                "0 NULL NULL NULL",
                "NULL NULL NULL NULL",
                "9 NULL NULL NULL",
                "9 NULL NULL NULL",
            ],
        );
        check(
            "SELECT rate_ratio_ci(0, 20, 0, 10), rate_ratio_ci(0, 0, 1, 2), rate_ratio_upper(5, 20, 0, 10)",
            &["{ratio: NULL, lo: 0.0, hi: NULL} NULL NULL"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let check_error = |sql, code, part| testing::check_error(&context(), sql, code, part);
        check_error(
            "SELECT rate_ratio_ci(6, 5, 1, 2)",
            "22023",
            "can't be 6 of 5",
        );
        check_error(
            "SELECT rate_ratio_ci(1, 5, -1, 2)",
            "22023",
            "can't be -1 of 2",
        );
        check_error(
            "SELECT rate_ratio_upper(1, 5, 1, 2, 0)",
            "22023",
            "confidence 0 is not between",
        );
        check_error(
            "SELECT rate_ratio_lower(1, 5, 1, 2, 0.9, 'newcombe')",
            "22023",
            "method \"newcombe\" is not one of a ratio's intervals \
             HINT: Use one of 'miettinen_nurminen', 'koopman'.",
        );
        check_error(
            "SELECT rate_ratio_lower(1, 5, 'one', 2)",
            "42804",
            "takes an integer as k2",
        );
    }
}
