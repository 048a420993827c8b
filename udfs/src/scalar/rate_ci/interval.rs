//! The intervals themselves, on numbers.
//!
//! With `p = k/n`, `z` the normal deviate of the confidence `c`, and `α = 1 - c`:
//!
//! - Wilson: centre `(p + z²/2n) / (1 + z²/n)`, half-width `z / (1 + z²/n) · √(p(1-p)/n + z²/4n²)`
//! - Clopper–Pearson: the α/2 quantiles, from below of Beta(k, n-k+1) and from above of Beta(k+1, n-k)
//! - Jeffreys: the α/2 quantiles of Beta(k+½, n-k+½)
//! - Wald: `p ± z √(p(1-p)/n)`, cut to [0, 1]; of zero width at `k = 0` and `k = n`, so never the default
//!
//! The lower limit of none and the upper limit of all are 0 and 1, exactly.

use statrs::distribution::{ContinuousCDF, Normal};

use super::beta::{self, Tail};
use crate::error::FunnelError;

/// How sure an interval is when nobody says: 95 %.
pub const DEFAULT_CONFIDENCE: f64 = 0.95;

/// A rate of counts and the limits around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateInterval {
    /// `k / n`, a fraction.
    pub rate: f64,
    /// The lower limit, a fraction.
    pub lo: f64,
    /// The upper limit, a fraction.
    pub hi: f64,
}

/// A ratio of two rates or of their odds, and the limits around it.
///
/// No data is not zero, and there is no largest number: what would be `0 / 0` or infinite is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatioInterval {
    /// The ratio of the counts as they are; `None` where its denominator is zero.
    pub ratio: Option<f64>,
    /// The lower limit, 0 where the counts allow any smaller ratio.
    pub lo: Option<f64>,
    /// The upper limit; `None` where there is none, as the counts allow any larger ratio.
    pub hi: Option<f64>,
}

impl RatioInterval {
    /// From the limits of a ratio and the lower limit of its inverse; whatever isn't finite becomes `None`.
    pub(crate) fn new(ratio: f64, lo: f64, lo_of_inverse: f64) -> RatioInterval {
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        // A limit may be on the wrong side by its last bit. `min` and `max` leave out the NaN of `0 / 0`.
        RatioInterval {
            ratio: finite(ratio),
            lo: finite(lo.min(ratio)),
            hi: finite(lo_of_inverse.recip().max(ratio)),
        }
    }
}

/// How the limits of a rate are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Wilson's score interval: right on average, and short. E. B. Wilson, JASA 22 (1927), 209–212.
    #[default]
    Wilson,
    /// Clopper and Pearson's: never covers less than promised. Biometrika 26 (1934), 404–413.
    ClopperPearson,
    /// Jeffreys' prior, with limits 0 and 1 at the corners.
    /// L. D. Brown, T. T. Cai, A. DasGupta, Statistical Science 16 (2001), 101–133.
    Jeffreys,
    /// The textbook's normal approximation, for comparison with other tools.
    Wald,
}

impl Method {
    /// Each method with the name that SQL knows it by.
    const NAMES: [(&'static str, Method); 4] = [
        ("wilson", Method::Wilson),
        ("clopper_pearson", Method::ClopperPearson),
        ("jeffreys", Method::Jeffreys),
        ("wald", Method::Wald),
    ];

    /// The method of that name, in lower case.
    ///
    /// - errors: 22023 when there is none
    pub fn parse(name: &str) -> Result<Method, FunnelError> {
        method_named(&Self::NAMES, name, "a rate")
    }
}

/// The method of that name among those for the interval of `what`.
///
/// - errors: 22023 when there is none
pub(crate) fn method_named<M: Copy>(
    methods: &[(&str, M)],
    name: &str,
    what: &str,
) -> Result<M, FunnelError> {
    let found = methods.iter().find(|(candidate, _)| *candidate == name);
    found.map(|(_, method)| *method).ok_or_else(|| {
        let names = methods.iter().map(|(name, _)| format!("'{name}'"));
        FunnelError::InvalidArgument {
            message: format!("method \"{name}\" is not one of {what}'s intervals"),
            hint: format!("Use one of {}.", names.collect::<Vec<_>>().join(", ")),
        }
    })
}

/// A confidence in (0, 1), and what it means in standard deviations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Confidence {
    /// The probability outside of the interval, on one side: in (0, 1/2].
    tail: f64,
    /// The standard normal deviate that has `tail` above it.
    deviate: f64,
}

impl Confidence {
    /// Checks a confidence as the user wrote it.
    ///
    /// - errors: 22023 when it isn't between 0 and 1
    pub fn new(confidence: f64) -> Result<Confidence, FunnelError> {
        // One half of the last float below 1 is the least tail, so the quantile is always finite.
        if confidence > 0.0 && confidence < 1.0 {
            let tail = (1.0 - confidence) / 2.0;
            // `inverse_cdf` panics outside of [0, 1]; `+ 0.0` makes the -0.0 of a half a zero.
            let deviate = -Normal::standard().inverse_cdf(tail) + 0.0;
            return Ok(Confidence { tail, deviate });
        }
        Err(FunnelError::InvalidArgument {
            message: format!("confidence {confidence} is not between 0 and 1"),
            hint: "Write a fraction, such as 0.95.".to_owned(),
        })
    }

    /// The standard normal deviate of a two-sided interval, 1.96 for 95 %.
    pub fn deviate(self) -> f64 {
        self.deviate
    }
}

/// The interval of a rate `k / n`.
///
/// - `k`, `n`: counts of entities, `0 <= k <= n`
/// - returns fractions; `None` where `n = 0`, as no data is not zero
/// - errors: 22023 when the counts are negative or `k > n`
pub fn rate_interval(
    k: i64,
    n: i64,
    confidence: Confidence,
    method: Method,
) -> Result<Option<RateInterval>, FunnelError> {
    check_counts(k, n)?;
    if n == 0 {
        return Ok(None);
    }
    let (successes, trials) = (k as f64, n as f64);
    let (lo, hi) = match method {
        Method::Wilson => wilson(successes, trials, confidence),
        Method::ClopperPearson => clopper_pearson(k, n, confidence),
        Method::Jeffreys => jeffreys(successes, trials, confidence),
        Method::Wald => wald(successes, trials, confidence),
    };
    Ok(Some(RateInterval {
        rate: successes / trials,
        lo: if k == 0 { 0.0 } else { lo.max(0.0) },
        hi: if k == n { 1.0 } else { hi.min(1.0) },
    }))
}

/// - errors: 22023 unless `0 <= k <= n`
pub(crate) fn check_counts(k: i64, n: i64) -> Result<(), FunnelError> {
    if n < 0 {
        return Err(FunnelError::InvalidArgument {
            message: format!("a rate can't be of {n} entities"),
            hint: "Give a count that is not negative.".to_owned(),
        });
    }
    if k < 0 || k > n {
        return Err(FunnelError::InvalidArgument {
            message: format!("a rate can't be {k} of {n} entities"),
            hint: "Give first those that reached the goal, then all of them.".to_owned(),
        });
    }
    Ok(())
}

fn wilson(k: f64, n: f64, confidence: Confidence) -> (f64, f64) {
    let z = confidence.deviate;
    let p = k / n;
    let z_square_per_n = z * z / n;
    let centre = p + z_square_per_n / 2.0;
    let half_width = z * (p * (1.0 - p) / n + z_square_per_n / (4.0 * n)).sqrt();
    let scale = 1.0 + z_square_per_n;
    ((centre - half_width) / scale, (centre + half_width) / scale)
}

/// Counts stay integers until here: Beta(0, ·) and Beta(·, 0) have no quantiles, and the caller knows those limits.
fn clopper_pearson(k: i64, n: i64, confidence: Confidence) -> (f64, f64) {
    let (successes, failures) = (k as f64, (n - k) as f64);
    let lo = if k == 0 {
        0.0
    } else {
        beta_limit(Tail::Lower, confidence, successes, failures + 1.0)
    };
    let hi = if k == n {
        1.0
    } else {
        beta_limit(Tail::Upper, confidence, successes + 1.0, failures)
    };
    (lo, hi)
}

fn jeffreys(k: f64, n: f64, confidence: Confidence) -> (f64, f64) {
    beta_interval(k + 0.5, n - k + 0.5, confidence)
}

/// The points of Beta(`a`, `b`) with as much probability below and above them, both together `1 - confidence`.
pub(crate) fn beta_interval(a: f64, b: f64, confidence: Confidence) -> (f64, f64) {
    (
        beta_limit(Tail::Lower, confidence, a, b),
        beta_limit(Tail::Upper, confidence, a, b),
    )
}

fn beta_limit(tail: Tail, confidence: Confidence, a: f64, b: f64) -> f64 {
    beta::quantile(tail, confidence.tail, confidence.deviate, a, b)
}

fn wald(k: f64, n: f64, confidence: Confidence) -> (f64, f64) {
    let p = k / n;
    let half_width = confidence.deviate * (p * (1.0 - p) / n).sqrt();
    (p - half_width, p + half_width)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn interval(k: i64, n: i64, confidence: f64, method: Method) -> RateInterval {
        let confidence = Confidence::new(confidence).unwrap();
        rate_interval(k, n, confidence, method).unwrap().unwrap()
    }

    #[track_caller]
    fn check(
        k: i64,
        n: i64,
        confidence: f64,
        method: Method,
        (lo, hi): (f64, f64),
        tolerance: f64,
    ) {
        let found = interval(k, n, confidence, method);
        assert!(
            (found.lo - lo).abs() <= tolerance,
            "{method:?} {k}/{n}: {found:?}, not {lo}"
        );
        assert!(
            (found.hi - hi).abs() <= tolerance,
            "{method:?} {k}/{n}: {found:?}, not {hi}"
        );
    }

    #[test]
    fn limits_equal_statsmodels() {
        // statsmodels 0.15.0: proportion_confint(k, n, alpha=1-c, method=m), m in wilson, beta, jeffreys, normal.
        use Method::{ClopperPearson, Jeffreys, Wald, Wilson};
        for (k, n, confidence, method, limits) in [
            (0, 5, 0.95, Wilson, (0.0, 0.434_482_464_783_174_87)),
            (0, 5, 0.95, ClopperPearson, (0.0, 0.521_823_750_104_981_5)),
            (5, 5, 0.95, Wilson, (0.565_517_535_216_825_2, 1.0)),
            (5, 5, 0.95, ClopperPearson, (0.478_176_249_895_018_5, 1.0)),
            (
                8,
                10,
                0.95,
                Wilson,
                (0.490_162_471_536_641_83, 0.943_317_848_545_624_7),
            ),
            (
                8,
                10,
                0.95,
                ClopperPearson,
                (0.443_904_537_692_358_5, 0.974_789_273_673_166_6),
            ),
            (
                8,
                10,
                0.95,
                Jeffreys,
                (0.497_225_503_560_006_9, 0.955_940_586_447_369_2),
            ),
            (8, 10, 0.95, Wald, (0.552_081_987_078_175_4, 1.0)),
            (1, 3, 0.95, Wald, (0.0, 0.866_767_964_039_479)),
            (
                1,
                10,
                0.9,
                Wilson,
                (0.022_634_908_730_867_18, 0.347_718_667_335_858_43),
            ),
            (
                1,
                10,
                0.9,
                ClopperPearson,
                (0.005_116_196_891_823_701, 0.394_163_302_436_504_77),
            ),
            (
                1,
                10,
                0.9,
                Jeffreys,
                (0.017_891_988_055_747_824, 0.330_562_803_260_134_65),
            ),
            (
                81,
                263,
                0.95,
                Wilson,
                (0.255_288_519_878_274_2, 0.366_209_576_982_800_04),
            ),
            (
                81,
                263,
                0.95,
                ClopperPearson,
                (0.252_736_745_585_271_26, 0.367_621_922_601_351_4),
            ),
            (
                81,
                263,
                0.95,
                Jeffreys,
                (0.254_521_934_991_023_6, 0.365_647_499_174_082_46),
            ),
            (
                81,
                263,
                0.95,
                Wald,
                (0.252_190_126_213_107_2, 0.363_779_455_535_942_26),
            ),
        ] {
            check(k, n, confidence, method, limits, 1e-12);
        }
    }

    #[test]
    fn jeffreys_limits_are_clamped_at_the_corners() {
        // DIFFERENCE: statsmodels 0.15.0 has 9.3e-5 and 0.99991 for the outer limits; Brown, Cai and DasGupta clamp.
        check(
            0,
            5,
            0.95,
            Method::Jeffreys,
            (0.0, 0.379_377_142_299_039_4),
            1e-12,
        );
        check(
            5,
            5,
            0.95,
            Method::Jeffreys,
            (0.620_622_857_700_960_6, 1.0),
            1e-12,
        );
    }

    #[test]
    fn large_counts_keep_their_digits() {
        // statsmodels 0.15.0 over scipy 1.17.1, as above.
        use Method::{ClopperPearson, Jeffreys, Wilson};
        for (k, n, confidence, method, limits, tolerance) in [
            (
                3,
                1_000_000,
                0.99,
                Wilson,
                (7.577_586_311_244_589e-7, 1.187_705_413_922_045_2e-5),
                1e-16,
            ),
            (
                3,
                1_000_000,
                0.99,
                ClopperPearson,
                (3.378_636_695_156_396e-7, 1.097_743_370_909_837_5e-5),
                1e-14,
            ),
            (
                3,
                1_000_000,
                0.99,
                Jeffreys,
                (4.946_283_375_236_711e-7, 1.013_883_121_280_344_7e-5),
                1e-14,
            ),
            (
                1,
                100_000_000,
                0.95,
                Wilson,
                (1.765_245_551_532_548_2e-9, 5.664_934_041_143_645_6e-8),
                1e-20,
            ),
            (
                1,
                100_000_000,
                0.95,
                ClopperPearson,
                (2.531_780_798_108_492e-10, 5.571_643_258_042_463e-8),
                1e-15,
            ),
            (
                1,
                100_000_000,
                0.95,
                Jeffreys,
                (1.078_976_415_234_835_5e-9, 4.674_201_704_692_767_5e-8),
                1e-15,
            ),
            (
                30_000_000,
                100_000_000,
                0.95,
                Wilson,
                (0.299_910_190_851_128_47, 0.300_089_824_514_706_2),
                1e-14,
            ),
            (
                30_000_000,
                100_000_000,
                0.95,
                ClopperPearson,
                (0.299_910_183_956_830_2, 0.300_089_827_621_248_6),
                1e-11,
            ),
            (
                30_000_000,
                100_000_000,
                0.95,
                Jeffreys,
                (0.299_910_188_956_402_3, 0.300_089_822_620_820_96),
                1e-11,
            ),
        ] {
            check(k, n, confidence, method, limits, tolerance);
        }
    }

    #[test]
    fn rates_of_a_hundred_million_keep_seven_digits_by_every_method() {
        // mpmath 1.3, 40 digits: the formulas of this page; for the beta quantiles Newton steps over Gauss's continued
        // fraction. Where Clopper–Pearson's and Jeffreys' limits change to an approximation is between the middle counts.
        use Method::{ClopperPearson, Jeffreys, Wald, Wilson};
        for (k, method, (lo, hi)) in [
            (
                1,
                Wilson,
                (1.765_245_551_532_550_5e-9, 5.664_934_041_143_644e-8),
            ),
            (
                1,
                ClopperPearson,
                (2.531_780_798_108_492e-10, 5.571_643_263_581_067e-8),
            ),
            (
                1,
                Jeffreys,
                (1.078_976_415_234_835_3e-9, 4.674_201_704_692_767_5e-8),
            ),
            (1, Wald, (0.0, 2.959_963_974_740_234_2e-8)),
            (
                1_000,
                Wilson,
                (9.399_117_455_015_202e-6, 1.063_929_636_342_432_3e-5),
            ),
            (
                1_000,
                ClopperPearson,
                (9.389_733_002_270_437e-6, 1.063_951_795_805_474_2e-5),
            ),
            (
                1_000,
                Jeffreys,
                (9.394_578_061_817_164e-6, 1.063_436_305_592_901e-5),
            ),
            (
                1_000,
                Wald,
                (9.380_208_066_678_348e-6, 1.061_979_193_332_165_2e-5),
            ),
            (
                9_900_000,
                Wilson,
                (0.098_941_478_723_790_5, 0.099_058_552_084_708_05),
            ),
            (
                9_900_000,
                ClopperPearson,
                (0.098_941_469_927_949_62, 0.099_058_553_287_014_64),
            ),
            (
                9_900_000,
                Jeffreys,
                (0.098_941_474_926_633_7, 0.099_058_548_285_699),
            ),
            (
                9_900_000,
                Wald,
                (0.098_941_463_320_443_75, 0.099_058_536_679_556_25),
            ),
            (
                10_100_000,
                Wilson,
                (0.100_940_955_981_880_71, 0.101_059_074_672_959_5),
            ),
            (
                10_100_000,
                ClopperPearson,
                (0.100_940_947_204_935_92, 0.101_059_075_894_219_82),
            ),
            (
                10_100_000,
                Jeffreys,
                (0.100_940_952_203_638_13, 0.101_059_070_892_922_33),
            ),
            (
                10_100_000,
                Wald,
                (0.100_940_940_655_315_17, 0.101_059_059_344_684_83),
            ),
            (
                50_000_000,
                Wilson,
                (0.499_902_001_802_655_26, 0.500_097_998_197_344_7),
            ),
            (
                50_000_000,
                ClopperPearson,
                (0.499_901_996_801_959_3, 0.500_098_003_198_040_8),
            ),
            (
                50_000_000,
                Jeffreys,
                (0.499_902_001_801_959_15, 0.500_097_998_198_040_9),
            ),
            (
                50_000_000,
                Wald,
                (0.499_902_001_800_773, 0.500_097_998_199_227),
            ),
            (
                99_999_999,
                Wilson,
                (0.999_999_943_350_659_6, 0.999_999_998_234_754_5),
            ),
            (
                99_999_999,
                ClopperPearson,
                (0.999_999_944_283_567_3, 0.999_999_999_746_822),
            ),
            (
                99_999_999,
                Jeffreys,
                (0.999_999_953_257_983, 0.999_999_998_921_023_5),
            ),
            (99_999_999, Wald, (0.999_999_970_400_360_3, 1.0)),
        ] {
            let found = interval(k, 100_000_000, 0.95, method);
            for (found, expected) in [(found.lo, lo), (found.hi, hi)] {
                assert!(
                    (found - expected).abs() <= 1e-9 * expected,
                    "{method:?} {k}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn a_clopper_pearson_limit_holds_the_promised_tail() {
        // mpmath 1.3: betainc(1000, 999001, 0, x, regularized=True) = 0.995; scipy 1.17.1's isf is off by 4e-11 there.
        let found = interval(999, 1_000_000, 0.99, Method::ClopperPearson);
        assert!(
            (found.hi - 0.001_083_286_460_291_663).abs() < 1e-15,
            "{found:?}"
        );
    }

    #[test]
    fn no_entities_have_no_rate_and_impossible_counts_are_errors() {
        let confidence = Confidence::new(0.95).unwrap();
        let of = |k, n| rate_interval(k, n, confidence, Method::Wilson);
        assert_eq!(of(0, 0), Ok(None));
        for (k, n) in [(-1, 5), (6, 5), (1, 0), (0, -1), (i64::MIN, i64::MAX)] {
            assert_eq!(of(k, n).unwrap_err().code(), "22023", "{k}/{n}");
        }
    }

    #[test]
    fn a_confidence_is_between_0_and_1() {
        for confidence in [0.0, 1.0, -0.5, 95.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                Confidence::new(confidence).unwrap_err().code(),
                "22023",
                "{confidence}"
            );
        }
        // scipy 1.17.1: norm.ppf(0.975)
        assert!((Confidence::new(0.95).unwrap().deviate() - 1.959_963_984_540_054).abs() < 1e-14);
    }

    #[test]
    fn extreme_arguments_give_numbers() {
        for method in Method::NAMES.map(|(_, method)| method) {
            for confidence in [f64::MIN_POSITIVE, 0.5, 1.0 - f64::EPSILON / 2.0] {
                for (k, n) in [
                    (0, 1),
                    (1, 1),
                    (1, i64::MAX),
                    (i64::MAX / 2, i64::MAX),
                    (i64::MAX, i64::MAX),
                ] {
                    let found = interval(k, n, confidence, method);
                    assert!(
                        0.0 <= found.lo && found.lo <= found.hi && found.hi <= 1.0,
                        "{method:?} {k}/{n} {found:?}"
                    );
                }
            }
        }
    }

    fn method() -> impl Strategy<Value = Method> {
        proptest::sample::select(Method::NAMES.map(|(_, method)| method).to_vec())
    }

    /// `(k, n)` with `0 <= k <= n`, `n >= 1`.
    fn counts() -> impl Strategy<Value = (i64, i64)> {
        (1_i64..100_000_000).prop_flat_map(|n| (0..=n, Just(n)))
    }

    proptest! {
        #[test]
        fn the_interval_is_inside_0_to_1_around_the_rate(
            (k, n) in counts(), confidence in 0.5..0.9999, method in method(),
        ) {
            let found = interval(k, n, confidence, method);
            prop_assert!(0.0 <= found.lo && found.hi <= 1.0, "{found:?}");
            prop_assert!(found.lo <= found.rate && found.rate <= found.hi, "{found:?}");
        }

        #[test]
        fn more_of_the_same_narrows_the_interval(
            (k, n) in counts(), times in 2_i64..100, confidence in 0.5..0.9999, method in method(),
        ) {
            let once = interval(k, n, confidence, method);
            let often = interval(k * times, n * times, confidence, method);
            prop_assert_eq!(once.rate, often.rate);
            prop_assert!(often.hi - often.lo <= once.hi - once.lo, "{once:?} {often:?}");
        }

        #[test]
        fn a_higher_confidence_is_wider((k, n) in counts(), confidence in 0.5..0.99, method in method()) {
            let (narrow, wide) =
                (interval(k, n, confidence, method), interval(k, n, confidence + 0.009, method));
            prop_assert!(wide.lo <= narrow.lo && narrow.hi <= wide.hi, "{narrow:?} {wide:?}");
        }

        #[test]
        fn those_who_failed_have_the_mirrored_interval(
            (k, n) in counts(), confidence in 0.5..0.9999, method in method(),
        ) {
            let (won, lost) = (interval(k, n, confidence, method), interval(n - k, n, confidence, method));
            prop_assert!((won.lo - (1.0 - lost.hi)).abs() < 1e-10, "{won:?} {lost:?}");
            prop_assert!((won.hi - (1.0 - lost.lo)).abs() < 1e-10, "{won:?} {lost:?}");
        }
    }
}
