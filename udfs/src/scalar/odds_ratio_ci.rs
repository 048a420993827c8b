//! How many times as high are the odds of one group as another's? The interval around `(k1/(n1-k1)) / (k2/(n2-k2))`.
//!
//! - `miettinen_nurminen`, when no method is given: the score interval, every odds ratio ψ with
//!   `n1² (p1 - r1)² / V(ψ) <= z²`, where `1/V(ψ) = (1/(n1 r1 (1-r1)) + 1/(n2 r2 (1-r2))) · (N-1)/N`, `r1` and `r2` are the
//!   likeliest rates with the odds ratio ψ, and `N = n1 + n2`
//! - `woolf`: the logit interval `ln ψ ± z √(1/a + 1/b + 1/c + 1/d)` of the four counts, those who reached the goal and those
//!   who missed it in each group. Where one of them is zero, 1/2 is added to all four (Haldane and Anscombe) for the limits.
//!   As every textbook has it; too wide where counts are small
//! - `haldane`: as `woolf`, with 1/2 added to all four counts always, for the odds ratio too: it is then less biased where counts are
//!   small, and never 0 or without a value. What compares many factors uses it, as one without a value can't be ranked
//!
//! By the first two:
//!
//! - `k1 = 0` or `k2 = n2`: the odds ratio and `lo` are exactly 0.
//! - `k2 = 0` or `k1 = n1`: there is no odds ratio and no upper limit; both are NULL, and `lo` stays.
//! - Both, so that nobody or everybody reached the goal: any odds ratio is possible; it is NULL, `lo` 0 and `hi` NULL.
//!
//! Swapping the two groups inverts the odds ratio and its limits. NULL as a whole where an argument is, and where a group is
//! empty: no data is not zero. Never infinite. Counts up to 1e8 keep more than seven digits. Cost: constant a row, some 1 µs.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use super::rate_ci::Part;
use super::rate_ci::comparison::{Measure, comparison_udf};
use super::rate_ci::interval::{Confidence, RatioInterval, method_named};
use super::rate_ci::score::{Group, miettinen_nurminen, odds_ratio_lower};
use crate::error::FunnelError;

/// Odds ratio of two groups with a confidence interval.
///
/// - `k1`, `n1`, `k2`, `n2`: integer counts of entities of either group, `0 <= k <= n`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - `method`: `'miettinen_nurminen'` (when left out); `'woolf'`, with 1/2 added to all four counts where one is zero; or
///   `'haldane'`, with 1/2 added always
/// - returns `Struct { odds_ratio, lo, hi }`, Float64, odds of the first group to those of the second; `odds_ratio` and `hi`
///   NULL where `k2 = 0` or `k1 = n1`, all NULL where a group is empty or an argument is NULL
/// - errors: 22023 when `k > n`, a count is negative, `confidence` is outside of (0, 1) or `method` unknown
/// - source: O. Miettinen, M. Nurminen, Statistics in Medicine 4 (1985), 213–226; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="score", compare="odds-ratio")`
/// ```slt
/// query RRR
/// SELECT round(i['odds_ratio'], 4), round(i['lo'], 4), round(i['hi'], 4)
/// FROM (SELECT odds_ratio_ci(56, 70, 48, 80) AS i)
/// ----
/// 2.6667 1.2816 5.5402
/// ```
pub fn odds_ratio_ci_udf() -> Arc<ScalarUDF> {
    comparison_udf::<OddsRatio>(Part::All)
}

/// Lower confidence limit of the odds ratio of two groups.
///
/// - arguments and errors: as for [`odds_ratio_ci_udf`]
/// - returns Float64, 0 where `k1 = 0` or `k2 = n2`; above one if the odds of the first group are surely the higher ones
/// - source: B. Woolf, Annals of Human Genetics 19 (1955), 251–253; the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(56, 70, 48, 80, method="logit", compare="odds-ratio")`
/// ```slt
/// query R
/// SELECT round(odds_ratio_lower(56, 70, 48, 80, 0.95, 'woolf'), 4)
/// ----
/// 1.2762
/// ```
pub fn odds_ratio_lower_udf() -> Arc<ScalarUDF> {
    comparison_udf::<OddsRatio>(Part::Lower)
}

/// Upper confidence limit of the odds ratio of two groups.
///
/// - arguments and errors: as for [`odds_ratio_ci_udf`]
/// - returns Float64, NULL where `k2 = 0` or `k1 = n1`, as there is no upper limit; below one if the odds of the first group
///   are surely the lower ones
/// - source: as for [`odds_ratio_ci_udf`]; the first value of the example equals statsmodels 0.15.0,
///   `confint_proportions_2indep(9, 10, 3, 10, method="score", compare="odds-ratio")`
/// ```slt
/// query RR
/// SELECT round(odds_ratio_upper(9, 10, 3, 10), 4), odds_ratio_upper(10, 10, 3, 10)
/// ----
/// 189.6218 NULL
/// ```
pub fn odds_ratio_upper_udf() -> Arc<ScalarUDF> {
    comparison_udf::<OddsRatio>(Part::Upper)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OddsRatio;

impl Measure for OddsRatio {
    const NAMES: [&'static str; 3] = ["odds_ratio_ci", "odds_ratio_lower", "odds_ratio_upper"];
    const ESTIMATE: &'static str = "odds_ratio";
    const DESCRIPTIONS: [&'static str; 3] = [
        "The odds ratio (k1 / (n1 - k1)) / (k2 / (n2 - k2)) of two groups with its confidence interval, as a struct of \
         odds_ratio, lo and hi. The odds ratio and hi are NULL where k2 is 0 or k1 is n1; NULL where a group is empty.",
        "The lower confidence limit of the odds ratio (k1 / (n1 - k1)) / (k2 / (n2 - k2)) of two groups. NULL where a group \
         is empty.",
        "The upper confidence limit of the odds ratio (k1 / (n1 - k1)) / (k2 / (n2 - k2)) of two groups. NULL where k2 is 0 \
         or k1 is n1, as there is no upper limit, and where a group is empty.",
    ];
    const METHODS: &'static str = "'miettinen_nurminen' (when left out), 'woolf' (with Haldane and Anscombe's 1/2 added to all four counts where one \
         is zero), or 'haldane' (with 1/2 added always).";

    fn compare(
        first: (i64, i64),
        second: (i64, i64),
        confidence: Confidence,
        method: Option<&str>,
    ) -> Result<Option<[Option<f64>; 3]>, FunnelError> {
        let method = method.map_or(Ok(OddsRatioMethod::default()), OddsRatioMethod::parse)?;
        let found = odds_ratio(first, second, confidence, method)?;
        Ok(found.map(|found| [found.ratio, found.lo, found.hi]))
    }
}

/// How the limits of an odds ratio are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OddsRatioMethod {
    /// Miettinen and Nurminen's score interval. Statistics in Medicine 4 (1985), 213–226.
    #[default]
    MiettinenNurminen,
    /// Woolf's logit interval, Annals of Human Genetics 19 (1955), 251–253, with the 1/2 of J. B. S. Haldane and
    /// F. J. Anscombe (both 1956) where a count is zero.
    Woolf,
    /// The same with 1/2 added to all four counts always, for the odds ratio too. J. B. S. Haldane, Annals of Human Genetics 20
    /// (1956), 309–311; J. J. Gart and J. R. Zweifel, Biometrika 54 (1967), 181–187, for the variance.
    Haldane,
}

impl OddsRatioMethod {
    /// Each method with the name that SQL knows it by.
    const NAMES: [(&'static str, OddsRatioMethod); 3] = [
        ("miettinen_nurminen", OddsRatioMethod::MiettinenNurminen),
        ("woolf", OddsRatioMethod::Woolf),
        ("haldane", OddsRatioMethod::Haldane),
    ];

    /// The method of that name, in lower case.
    ///
    /// - errors: 22023 when there is none
    pub fn parse(name: &str) -> Result<OddsRatioMethod, FunnelError> {
        method_named(&Self::NAMES, name, "an odds ratio")
    }
}

/// The interval of an odds ratio.
///
/// - `first`, `second`: each group's count that reached the goal, and its size
/// - returns `None` where a group is empty
/// - errors: 22023 when a count is negative or larger than its group
pub fn odds_ratio(
    first: (i64, i64),
    second: (i64, i64),
    confidence: Confidence,
    method: OddsRatioMethod,
) -> Result<Option<RatioInterval>, FunnelError> {
    let (Some(first), Some(second)) = (Group::new(first)?, Group::new(second)?) else {
        return Ok(None);
    };
    let deviate = confidence.deviate();
    if method == OddsRatioMethod::Haldane {
        return Ok(Some(haldane(first, second, deviate)));
    }
    let lower = |one: Group, other: Group| match method {
        OddsRatioMethod::MiettinenNurminen => {
            odds_ratio_lower(one, other, miettinen_nurminen(deviate, one, other))
        }
        OddsRatioMethod::Woolf | OddsRatioMethod::Haldane => woolf_lower(one, other, deviate),
    };
    Ok(Some(RatioInterval::new(
        first.odds() / second.odds(),
        lower(first, second),
        lower(second, first),
    )))
}

/// The lower limit by Woolf's method.
fn woolf_lower(first: Group, second: Group, deviate: f64) -> f64 {
    if first.reached == 0.0 || second.missed == 0.0 {
        // What was seen is 0, so no positive number is a lower limit, whatever the halves would make of it.
        return 0.0;
    }
    let counts = [first.reached, first.missed, second.reached, second.missed];
    let added = if counts.contains(&0.0) { 0.5 } else { 0.0 };
    let [a, b, c, d] = counts.map(|count| count + added);
    let deviation = (1.0 / a + 1.0 / b + 1.0 / c + 1.0 / d).sqrt();
    a / b * (d / c) * (-deviate * deviation).exp()
}

/// The odds ratio of counts that are all a half higher, and its limits.
fn haldane(first: Group, second: Group, deviate: f64) -> RatioInterval {
    let counts = [first.reached, first.missed, second.reached, second.missed];
    let [a, b, c, d] = counts.map(|count| count + 0.5);
    let ratio = a / b * (d / c);
    let factor = (deviate * (1.0 / a + 1.0 / b + 1.0 / c + 1.0 / d).sqrt()).exp();
    RatioInterval {
        ratio: Some(ratio),
        lo: Some(ratio / factor),
        hi: Some(ratio * factor),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use datafusion::prelude::SessionContext;
    use proptest::prelude::*;

    use super::super::rate_ci::arguments::testing;
    use super::OddsRatioMethod::{MiettinenNurminen, Woolf};
    use super::*;

    fn ratio(
        first: (i64, i64),
        second: (i64, i64),
        confidence: f64,
        method: OddsRatioMethod,
    ) -> RatioInterval {
        let confidence = Confidence::new(confidence).unwrap();
        odds_ratio(first, second, confidence, method)
            .unwrap()
            .unwrap()
    }

    /// Whether a limit is the expected one to eleven digits, or none where none is expected.
    fn near(found: Option<f64>, expected: Option<f64>) -> bool {
        match (found, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 1e-11 * expected,
            (found, expected) => found == expected,
        }
    }

    #[track_caller]
    fn check_limits(
        counts: [(i64, i64); 2],
        method: OddsRatioMethod,
        lo: Option<f64>,
        hi: Option<f64>,
    ) {
        let found = ratio(counts[0], counts[1], 0.95, method);
        assert!(near(found.lo, lo), "{counts:?}: {found:?}, not {lo:?}");
        assert!(near(found.hi, hi), "{counts:?}: {found:?}, not {hi:?}");
    }

    const MANY: i64 = 100_000_000;

    #[test]
    fn a_half_more_of_each_count_always_has_an_odds_ratio() {
        // statsmodels 0.15.0: Table2x2(np.array([[a, b], [c, d]]) + 0.5), oddsratio and oddsratio_confint().
        for (first, second, expected) in [
            (
                (56, 70),
                (48, 80),
                [2.611091361535727, 1.2605343313122692, 5.408657209033637],
            ),
            (
                (10, 10),
                (0, 20),
                [861.0, 15.930296472292289, 46535.292126508],
            ),
            (
                (0, 3),
                (0, 5),
                [1.5714285714285714, 0.024954521825190323, 98.95552286677436],
            ),
        ] {
            let found = ratio(first, second, 0.95, OddsRatioMethod::Haldane);
            let limits = [found.ratio, found.lo, found.hi];
            for (found, expected) in limits.into_iter().zip(expected) {
                assert!(
                    near(found, Some(expected)),
                    "{first:?} {second:?}: {found:?}"
                );
            }
        }
    }

    #[test]
    fn score_limits_hold_the_statistic() {
        // mpmath 1.3, 60 digits: bisection for χ²(ψ) · (N-1)/N = 2 erfinv(c)², the restricted rates by the closed-form
        // quadratic; a restricted likelihood maximised by scipy 1.17.1 gives the same within 1e-6. statsmodels 0.15.0,
        // confint_proportions_2indep(k1, n1, k2, n2, method="score", compare="odds-ratio"), gives the same within 1e-10 where
        // no count is zero. DIFFERENCE: where one is, it divides by zero.
        for (first, second, lo, hi) in [
            (
                (56, 70),
                (48, 80),
                Some(1.281_573_193_262_981_5),
                Some(5.540_202_222_190_704),
            ),
            (
                (9, 10),
                (3, 10),
                Some(2.021_588_848_355_417_4),
                Some(189.621_819_705_883_04),
            ),
            (
                (1, 1000),
                (3, 900),
                Some(0.042_808_629_283_384_594),
                Some(2.094_694_217_528_91),
            ),
            ((10, 10), (7, 20), Some(3.940_179_046_956_573_4), None),
            ((10, 10), (0, 20), Some(50.783_051_128_398_42), None),
            ((0, 10), (5, 20), Some(0.0), Some(1.378_473_039_580_582_9)),
            ((3, 10), (20, 20), Some(0.0), Some(0.116_842_041_877_731_44)),
            (
                (3, MANY),
                (7, MANY),
                Some(0.120_813_948_432_370_69),
                Some(1.520_300_082_969_989_8),
            ),
            (
                (50_000_000, MANY),
                (49_990_000, MANY),
                Some(0.999_845_650_383_566_5),
                Some(1.000_954_817_088_110_4),
            ),
            (
                (30_000_000, MANY),
                (299, 1000),
                Some(0.877_647_071_165_762_3),
                Some(1.150_323_999_570_047_8),
            ),
            (
                (99_999_999, MANY),
                (99_999_990, MANY),
                Some(1.650_000_479_755_246),
                Some(60.606_053_162_442_01),
            ),
            (
                (1, MANY),
                (1, 3),
                Some(1.417_704_898_216_158_6e-9),
                Some(2.553_928_271_800_781_4e-7),
            ),
        ] {
            check_limits([first, second], MiettinenNurminen, lo, hi);
        }
    }

    #[test]
    fn woolf_limits_equal_statsmodels() {
        // statsmodels 0.15.0: confint_proportions_2indep(k1, n1, k2, n2, method="logit", compare="odds-ratio"); where a count
        // is zero method="logit-adjusted", which always adds 1/2, and its outer limit replaced by what is possible; the
        // corner of all and all and the large counts: the formula, in mpmath 1.3.
        for (first, second, lo, hi) in [
            (
                (56, 70),
                (48, 80),
                Some(1.276_217_870_536_433_8),
                Some(5.572_019_696_074_379),
            ),
            (
                (9, 10),
                (3, 10),
                Some(1.777_485_851_006_425_8),
                Some(248.103_240_737_642_18),
            ),
            ((0, 10), (5, 20), Some(0.0), Some(2.693_240_304_753_053)),
            ((5, 20), (0, 10), Some(0.371_299_953_530_025_4), None),
            ((10, 10), (7, 20), Some(1.931_250_202_412_087), None),
            ((10, 10), (20, 20), Some(0.0), None),
            (
                (3, MANY),
                (7, MANY),
                Some(0.110_825_146_984_938_26),
                Some(1.657_326_515_604_257_6),
            ),
            (
                (99_999_999, MANY),
                (49_999_999, MANY),
                Some(14_086_349.141_693_8),
                Some(709_907_194.505_160_2),
            ),
        ] {
            check_limits([first, second], Woolf, lo, hi);
        }
    }

    #[test]
    fn the_corners_are_exact() {
        let values = |found: RatioInterval| (found.ratio, found.lo, found.hi);
        for method in [MiettinenNurminen, Woolf] {
            for (first, second) in [((0, 10), (5, 20)), ((5, 10), (20, 20)), ((0, 10), (20, 20))] {
                let found = ratio(first, second, 0.95, method);
                assert_eq!((found.ratio, found.lo), (Some(0.0), Some(0.0)));
                assert!(found.hi.is_some_and(|hi| hi > 0.0), "{found:?}");
                let swapped = ratio(second, first, 0.95, method);
                assert_eq!((swapped.ratio, swapped.hi), (None, None));
                assert!(swapped.lo.is_some_and(|lo| lo > 0.0), "{swapped:?}");
            }
            for (first, second) in [((0, 10), (0, 20)), ((10, 10), (20, 20))] {
                let found = ratio(first, second, 0.95, method);
                assert_eq!(values(found), (None, Some(0.0), None));
            }
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
                for method in [MiettinenNurminen, Woolf] {
                    let found = ratio(first, second, confidence, method);
                    assert!(
                        is_ordered(&found),
                        "{first:?} {second:?} {confidence}: {found:?}"
                    );
                }
            }
        }
    }

    /// Finite where there is a value, not negative, and the odds ratio inside of the limits.
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

    fn method() -> impl Strategy<Value = OddsRatioMethod> {
        proptest::sample::select(vec![MiettinenNurminen, Woolf])
    }

    /// Whether the first interval is inside of the second, up to rounding.
    fn is_inside(inner: &RatioInterval, outer: &RatioInterval) -> bool {
        let lo = |found: &RatioInterval| found.lo.unwrap_or(0.0);
        let hi = |found: &RatioInterval| found.hi.unwrap_or(f64::INFINITY);
        lo(inner) >= lo(outer) * (1.0 - 1e-9) && hi(inner) <= hi(outer) * (1.0 + 1e-9)
    }

    proptest! {
        #[test]
        fn the_odds_ratio_is_inside_of_its_limits(
            first in counts(), second in counts(), confidence in 0.01..0.9999, method in method(),
        ) {
            let found = ratio(first, second, confidence, method);
            prop_assert!(is_ordered(&found), "{found:?}");
            let no_upper = second.0 == 0 || first.0 == first.1;
            prop_assert_eq!(found.hi.is_none(), no_upper, "{:?}", found);
            let no_lower = first.0 == 0 || second.0 == second.1;
            prop_assert_eq!(found.lo == Some(0.0), no_lower, "{:?}", found);
        }

        #[test]
        fn swapping_the_groups_or_the_outcomes_inverts_the_odds_ratio(
            first in counts(), second in counts(), confidence in 0.01..0.9999, method in method(),
        ) {
            let found = ratio(first, second, confidence, method);
            let mirror = |(k, n): (i64, i64)| (n - k, n);
            let inverse = |value: Option<f64>| {
                Some(value.map_or(0.0, f64::recip)).filter(|inverse| inverse.is_finite())
            };
            for other in [
                ratio(second, first, confidence, method),
                ratio(mirror(first), mirror(second), confidence, method),
            ] {
                prop_assert!(near(found.hi, inverse(other.lo)), "{found:?} {other:?}");
                prop_assert!(near(found.lo, inverse(other.hi)), "{found:?} {other:?}");
            }
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
            odds_ratio_ci_udf(),
            odds_ratio_lower_udf(),
            odds_ratio_upper_udf(),
        ] {
            context.register_udf(function.as_ref().clone());
        }
        context
    }

    #[test]
    fn literals_columns_and_nulls() {
        let check = |sql, expected: &[&str]| testing::check(&context(), sql, expected);
        check(
            "SELECT k, round(i['odds_ratio'], 4), round(i['lo'], 4), round(i['hi'], 4) FROM ( \
               SELECT k, odds_ratio_ci(k, n, 3, 10, c, m) AS i \
               FROM (VALUES (9, 10, 0.95, 'woolf'), (9, 10, 0.95, 'miettinen_nurminen'), (0, 0, 0.9, 'woolf'), \
                 (NULL, 10, 0.9, 'woolf'), (9, 10, NULL, 'woolf'), (9, 10, 0.9, NULL)) AS t(k, n, c, m))",
            &[
                "9 21.0 1.7775 248.1032",
                "9 21.0 2.0216 189.6218",
                "0 NULL NULL NULL",
                "NULL NULL NULL NULL",
                "9 NULL NULL NULL",
                "9 NULL NULL NULL",
            ],
        );
        check(
            "SELECT odds_ratio_ci(0, 20, 0, 10), odds_ratio_ci(0, 0, 1, 2), odds_ratio_upper(5, 5, 1, 10)",
            &["{odds_ratio: NULL, lo: 0.0, hi: NULL} NULL NULL"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let check_error = |sql, code, part| testing::check_error(&context(), sql, code, part);
        check_error(
            "SELECT odds_ratio_ci(6, 5, 1, 2)",
            "22023",
            "can't be 6 of 5",
        );
        check_error(
            "SELECT odds_ratio_lower(1, 5, 1, 2, 1.5)",
            "22023",
            "confidence 1.5 is not between",
        );
        check_error(
            "SELECT odds_ratio_upper(1, 5, 1, 2, 0.9, 'wolf')",
            "22023",
            "method \"wolf\" is not one of an odds ratio's intervals \
             HINT: Use one of 'miettinen_nurminen', 'woolf', 'haldane'.",
        );
        check_error(
            "SELECT odds_ratio_ci(1, 5, 1)",
            "42883",
            "HINT: Write odds_ratio_ci(k1, n1, k2, n2 [, confidence [, method]]).",
        );
    }
}
