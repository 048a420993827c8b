//! The difference of two means: Welch's test and its interval, which don't ask for equal variances.
//!
//! `d = m1 - m2`, `v = s1²/n1 + s2²/n2`, limits `d ± t √v` with the degrees of freedom `v² / (s1⁴/(n1²(n1 - 1)) + s2⁴/(n2²(n2 - 1)))`.
//! Source: B. L. Welch, Biometrika 34 (1947), 28–35.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

use super::sample_size::normal_quantile;
use super::two_rates::two_sided;

/// How many values a group has, their mean, and their sample variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Values.
    pub n: f64,
    /// Their mean.
    pub mean: f64,
    /// Their variance, by n - 1.
    pub variance: f64,
}

/// A difference of means, its interval and its test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The difference.
    pub diff: f64,
    /// The lower and the upper limit, the two-sided `p`, and the degrees of freedom; `None` without variance.
    pub limits: Option<[f64; 4]>,
}

/// From here on Student's distribution is the normal one, up to 1e-8 of a limit.
const NORMAL_FROM: f64 = 1e8;

/// `None` where a group is empty.
///
/// - `confidence`: in (0, 1)
pub fn welch(first: Group, second: Group, confidence: f64) -> Option<Difference> {
    if first.n < 1.0 || second.n < 1.0 {
        return None;
    }
    let diff = first.mean - second.mean;
    let (a, b) = (first.variance / first.n, second.variance / second.n);
    let variance = a + b;
    let below = a * a / (first.n - 1.0) + b * b / (second.n - 1.0);
    let freedom = variance * variance / below;
    let known = variance > 0.0 && first.n > 1.0 && second.n > 1.0 && freedom.is_finite();
    let limits = known.then(|| {
        let (error, t) = (variance.sqrt(), diff / variance.sqrt());
        let student = (freedom < NORMAL_FROM)
            .then(|| StudentsT::new(0.0, 1.0, freedom).ok())
            .flatten();
        let upper = 0.5 + 0.5 * confidence;
        let (quantile, p) = match student {
            Some(student) => (quantile(student, upper), 2.0 * student.cdf(-t.abs())),
            None => (normal_quantile(upper), two_sided(t)),
        };
        [
            diff - quantile * error,
            diff + quantile * error,
            p.min(1.0),
            freedom,
        ]
    });
    Some(Difference { diff, limits })
}

/// The point with that probability below it. The one of `statrs` has eight digits, which a step of Newton's method doubles.
fn quantile(student: StudentsT, probability: f64) -> f64 {
    let guess = student.inverse_cdf(probability);
    guess - (student.cdf(guess) - probability) / student.pdf(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn group(n: f64, mean: f64, variance: f64) -> Group {
        Group { n, mean, variance }
    }

    /// SciPy 1.17.1: `t = ttest_ind_from_stats(m1, s1, n1, m2, s2, n2, equal_var=False)`, `t.pvalue`, `t.confidence_interval(0.95)`.
    #[test]
    fn it_equals_scipy() {
        for (first, second, expected) in [
            (
                group(20.0, 20.82, 7.84),
                group(16.0, 23.7, 2.89),
                [
                    -4.421480903643307,
                    -1.3385190963566909,
                    0.0006032778015517902,
                    31.950892680302783,
                ],
            ),
            (
                group(5.0, 1.0, 2.0),
                group(300.0, 1.1, 0.5),
                [
                    -1.8539004929728173,
                    1.6539004929728172,
                    0.8822104313911149,
                    4.0334018409973424,
                ],
            ),
            (
                group(100000.0, 1000.25, 9000000.0),
                group(120000.0, 1010.5, 8100000.0),
                [
                    -34.847495574800696,
                    14.347495574800696,
                    0.41407821764114217,
                    208508.6641012775,
                ],
            ),
            (
                group(2.0, 1.0, 1.0),
                group(3.0, 9.0, 4.0),
                [
                    -12.3496271613617,
                    -3.650372838638299,
                    0.010137711744116913,
                    2.951219512195122,
                ],
            ),
        ] {
            let found = welch(first, second, 0.95).and_then(|found| found.limits);
            let found = found.unwrap_or([f64::NAN; 4]);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() <= 1e-8 * expected.abs().max(1e-3),
                    "{found} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn without_variance_there_are_no_limits() {
        let constant = group(5.0, 3.0, 0.0);
        assert_eq!(
            welch(constant, constant, 0.95),
            Some(Difference {
                diff: 0.0,
                limits: None
            })
        );
        assert_eq!(welch(group(0.0, 0.0, 0.0), constant, 0.95), None);
        let one = welch(group(1.0, 2.0, f64::NAN), group(9.0, 1.0, 2.0), 0.95);
        assert_eq!(one.and_then(|found| found.limits), None);
    }
}
