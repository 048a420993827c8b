//! Intervals that may be looked at any number of times.
//!
//! An asymptotic confidence sequence: for any number of looks, the chance that it ever misses the true difference is at most `alpha`. With
//! `N` entities in both groups, `v` the variance of the estimate and `N*` the total at which it is to be narrowest (`tuning`):
//!
//! - `ρ² = (-2 ln α + ln(1 - 2 ln α)) / N*`
//! - half-width `√(v (1 + 1/(Nρ²)) (2 ln(1/a) + ln(Nρ² + 1)))` at the level `a`, which is `α` unless several arms share it
//! - `p = min(1, 1/Λ)`, `Λ = exp(d² ρ² N / (2 v (1 + Nρ²))) / √(1 + Nρ²)`, so that `p < a` exactly where the interval leaves out 0
//!
//! Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, "Time-uniform central limit theory and asymptotic confidence
//! sequences", arXiv 2103.06476v7, equations 9, 155 and 161, as in gbstats 0.8.

/// What an interval is made for: its level, and where it is narrowest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sequence {
    rho_squared: f64,
}

/// The entities at which an interval is narrowest, when nobody says.
pub const DEFAULT_TUNING: f64 = 5_000.0;

impl Sequence {
    /// - `alpha`: in (0, 1); `tuning`: positive
    pub fn new(alpha: f64, tuning: f64) -> Self {
        let twice = -2.0 * alpha.ln();
        Self {
            rho_squared: (twice + twice.ln_1p()) / tuning,
        }
    }

    /// ρ², for whoever writes the interval as SQL.
    pub fn rho_squared(self) -> f64 {
        self.rho_squared
    }

    /// Half the width of the interval at `level`.
    ///
    /// - `variance`: of the estimate, positive; `n`: entities of both groups
    pub fn half_width(self, variance: f64, n: f64, level: f64) -> f64 {
        let scaled = n * self.rho_squared;
        (variance * (1.0 + 1.0 / scaled) * (-2.0 * level.ln() + scaled.ln_1p())).sqrt()
    }

    /// The `p` of the hypothesis that the difference is 0.
    pub fn p(self, difference: f64, variance: f64, n: f64) -> f64 {
        let scaled = n * self.rho_squared;
        let squares = difference * difference / variance;
        (0.5 * scaled.ln_1p() - 0.5 * squares * scaled / (1.0 + scaled))
            .exp()
            .min(1.0)
    }
}

/// A difference, what is known of it, and the `p` of the hypothesis that it is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// The difference.
    pub estimate: f64,
    /// Its limits and `p`; `None` where a group has no variance, so that nothing is known of them.
    pub limits: Option<(f64, f64, f64)>,
}

/// What is known of `rate_b - rate_a`, or with `relative` of `rate_b / rate_a - 1`; `None` where it has no value.
///
/// - each group's count that succeeded, and its size: `0 <= k <= n`
pub fn compare_rates(
    a: (i64, i64),
    b: (i64, i64),
    relative: bool,
    alpha: f64,
    tuning: f64,
) -> Option<Found> {
    if a.1 == 0 || b.1 == 0 || (relative && a.0 == 0) {
        return None;
    }
    let group = |(k, n): (i64, i64)| {
        let (n, rate) = (n as f64, k as f64 / n as f64);
        (n, rate, rate * (1.0 - rate) / n)
    };
    let ((n_a, rate_a, variance_a), (n_b, rate_b, variance_b)) = (group(a), group(b));
    let (estimate, variance) = match relative {
        false => (rate_b - rate_a, variance_a + variance_b),
        true => {
            let ratio = rate_b / rate_a;
            let variance = (variance_b + variance_a * ratio * ratio) / (rate_a * rate_a);
            (ratio - 1.0, variance)
        }
    };
    if variance_a <= 0.0 || variance_b <= 0.0 {
        return Some(Found {
            estimate,
            limits: None,
        });
    }
    let sequence = Sequence::new(alpha, tuning);
    let (n, half) = (n_a + n_b, sequence.half_width(variance, n_a + n_b, alpha));
    Some(Found {
        estimate,
        limits: Some((
            estimate - half,
            estimate + half,
            sequence.p(estimate, variance, n),
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gbstats 0.8.0: `SequentialTwoSidedTTest(ProportionStatistic(n=n_a, sum=k_a), ProportionStatistic(n=n_b, sum=k_b),
    /// SequentialConfig(difference_type=…, sequential_tuning_parameter=…, alpha=0.05)).compute_result()`.
    #[test]
    fn it_equals_gbstats() {
        for (tuning, a, b, relative, [estimate, lo, hi, p]) in [
            (
                5000.0,
                (1000, 10000),
                (1300, 10000),
                false,
                [
                    0.03,
                    0.01590715434548288,
                    0.04409284565451711,
                    2.685078074682312e-09,
                ],
            ),
            (
                5000.0,
                (1000, 10000),
                (1300, 10000),
                true,
                [
                    0.3,
                    0.13896121186180946,
                    0.46103878813819055,
                    4.105555852867802e-07,
                ],
            ),
            (
                5000.0,
                (100, 1000),
                (130, 1000),
                false,
                [
                    0.03,
                    -0.014517962102267787,
                    0.07451796210226778,
                    0.37893150758579747,
                ],
            ),
            (
                5000.0,
                (100, 1000),
                (130, 1000),
                true,
                [
                    0.3,
                    -0.20870625018398686,
                    0.8087062501839868,
                    0.5622208729310174,
                ],
            ),
            (
                5000.0,
                (30, 200),
                (45, 180),
                false,
                [
                    0.1,
                    -0.06984527381947364,
                    0.26984527381947365,
                    0.413005276287232,
                ],
            ),
            (
                5000.0,
                (30, 200),
                (45, 180),
                true,
                [
                    0.6666666666666667,
                    -0.7987514988791142,
                    2.1320848322124477,
                    0.6486488370374258,
                ],
            ),
            (
                5000.0,
                (500, 5000),
                (480, 4900),
                false,
                [
                    -0.002040816326530623,
                    -0.020413818381642634,
                    0.01633218572858139,
                    1.0,
                ],
            ),
            (
                5000.0,
                (500, 5000),
                (480, 4900),
                true,
                [
                    -0.02040816326530623,
                    -0.20227478393999831,
                    0.16145845740938586,
                    1.0,
                ],
            ),
            (
                500.0,
                (1000, 10000),
                (1300, 10000),
                false,
                [
                    0.03,
                    0.014524391533457193,
                    0.045475608466542805,
                    4.5630743784167235e-09,
                ],
            ),
            (
                500.0,
                (1000, 10000),
                (1300, 10000),
                true,
                [
                    0.3,
                    0.12316039682486915,
                    0.47683960317513086,
                    8.042832785077837e-07,
                ],
            ),
            (
                500.0,
                (100, 1000),
                (130, 1000),
                false,
                [
                    0.03,
                    -0.014565490981480508,
                    0.0745654909814805,
                    0.6678957223988312,
                ],
            ),
            (
                500.0,
                (100, 1000),
                (130, 1000),
                true,
                [0.3, -0.20924936214998852, 0.8092493621499885, 1.0],
            ),
            (
                500.0,
                (30, 200),
                (45, 180),
                false,
                [
                    0.1,
                    -0.024686517060965738,
                    0.22468651706096576,
                    0.2061827679616901,
                ],
            ),
            (
                500.0,
                (30, 200),
                (45, 180),
                true,
                [
                    0.6666666666666667,
                    -0.40912356870945343,
                    1.742456902042787,
                    0.5770952056384522,
                ],
            ),
            (
                500.0,
                (500, 5000),
                (480, 4900),
                false,
                [
                    -0.002040816326530623,
                    -0.022062811239908397,
                    0.01798117858684715,
                    1.0,
                ],
            ),
            (
                500.0,
                (500, 5000),
                (480, 4900),
                true,
                [
                    -0.02040816326530623,
                    -0.2185974707687441,
                    0.17778114423813166,
                    1.0,
                ],
            ),
        ] {
            let found = compare_rates(a, b, relative, 0.05, tuning).map(|found| {
                let (lo, hi, p) = found.limits.unwrap_or((f64::NAN, f64::NAN, f64::NAN));
                [found.estimate, lo, hi, p]
            });
            let found = found.unwrap_or([f64::NAN; 4]);
            for (found, expected) in found.iter().zip([estimate, lo, hi, p]) {
                assert!(
                    (found - expected).abs() < 1e-10,
                    "{found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn the_interval_leaves_out_zero_exactly_where_p_is_below_alpha() {
        for k_b in 0..=400 {
            let (alpha, tuning) = (0.03, 300.0);
            let found = compare_rates((80, 400), (k_b, 400), false, alpha, tuning);
            if let Some((lo, hi, p)) = found.and_then(|found| found.limits) {
                assert_eq!(p < alpha, lo > 0.0 || hi < 0.0, "{k_b}");
            }
        }
    }

    #[test]
    fn without_variance_there_are_no_limits() {
        let found = compare_rates((0, 10), (3, 10), false, 0.05, 5000.0);
        assert_eq!(
            found,
            Some(Found {
                estimate: 0.3,
                limits: None
            })
        );
        assert_eq!(compare_rates((0, 10), (3, 10), true, 0.05, 5000.0), None);
        assert_eq!(compare_rates((0, 0), (3, 10), false, 0.05, 5000.0), None);
    }

    #[test]
    fn exchanged_groups_have_the_opposite_difference() {
        let one = compare_rates((30, 200), (45, 180), false, 0.05, 5000.0);
        let other = compare_rates((45, 180), (30, 200), false, 0.05, 5000.0);
        let (one, other) = (one.and_then(|f| f.limits), other.and_then(|f| f.limits));
        let negated = other.map(|(lo, hi, p)| (-hi, -lo, p));
        assert_eq!(one, negated);
    }
}
