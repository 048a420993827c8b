//! How much do the true rates of some segments differ, and what is each segment's rate once chance is taken out?
//!
//! Each segment's true rate is drawn from Beta(α, β), and its `k` of `n` are binomial: `k` is beta-binomial,
//! `P(k) = C(n, k) B(k+α, n-k+β) / B(α, β)`. α and β maximise the product of these (marginal maximum likelihood, parametric
//! empirical Bayes). A segment's rate is then the mean of Beta(k+α, n-k+β): few entities are drawn to the mean of all, many stay
//! where they are.
//!
//! With `μ = α/(α+β)` and `M = α+β`, the likelihood is concave in `μ` for each `M`, so the best `μ` of an `M` is found by Newton's
//! method in a bracket; `M` by the sign changes of the slope along `ln M`. Where the likelihood rises up to `M = ∞`, the rates
//! differ by no more than chance; where it rises down to `M = 0`, each segment is all or nothing, and no prior describes them.
//!
//! - source: H. Robbins, Berkeley Symposium 1 (1956), 157–163; D. A. Griffiths, Biometrics 29 (1973), 637–648, for the likelihood
//! - cost: some 400 passes over the distinct pairs of `k` and `n`, each with eight digammas or trigammas

use statrs::function::gamma::{digamma, ln_gamma};

use crate::error::FunnelError;
use crate::scalar::rate_ci::interval::{Confidence, RateInterval, beta_interval, check_counts};

/// Segments with as many successes and entities, and how many there are of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// Successes.
    pub k: i64,
    /// Entities.
    pub n: i64,
    /// How many segments have them.
    pub count: i64,
}

/// What the rates of segments were drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prior {
    /// No segment has an entity.
    NoData,
    /// One has, so that nothing says how much segments differ.
    OneGroup,
    /// They differ by no more than chance: all have one rate.
    NoHeterogeneity,
    /// Each succeeds always or never.
    Separated,
    /// Beta(`alpha`, `beta`).
    Beta {
        /// Prior successes.
        alpha: f64,
        /// Prior failures.
        beta: f64,
    },
}

impl Prior {
    /// Its name as a status.
    pub fn status(self) -> &'static str {
        match self {
            Prior::NoData => "no_data",
            Prior::OneGroup => "one_group",
            Prior::NoHeterogeneity => "no_heterogeneity",
            Prior::Separated => "separated",
            Prior::Beta { .. } => "ok",
        }
    }
}

/// Below this sum of α and β a prior is all or nothing.
const LEAST_SIZE: f64 = 1e-3;
/// Up to how many times the largest segment α + β is looked for: there the variance is a ten-thousandth above the binomial's.
const LARGEST_SIZE: f64 = 1e4;
/// A step of 0.7 in the logarithm at most; the profile likelihood is smooth on that scale.
const GRID: usize = 48;
/// By how much a likelihood must be above that of one common rate to count as above it.
const LIKELIER: f64 = 1e-9;

/// The prior that makes the counts likeliest.
///
/// - `segments`: those with `n = 0` say nothing; the order doesn't matter
/// - errors: 22023 unless `0 <= k <= n`
pub fn fit(segments: &[Segments]) -> Result<Prior, FunnelError> {
    for segment in segments {
        check_counts(segment.k, segment.n)?;
    }
    let mut told: Vec<Segments> = segments
        .iter()
        .copied()
        .filter(|segment| segment.n > 0 && segment.count > 0)
        .collect();
    // Sums are then of the same numbers in the same order, whatever the order of rows.
    told.sort_unstable_by_key(|segment| (segment.n, segment.k));
    let total = |of: fn(&Segments) -> i64| {
        told.iter()
            .map(|segment| (of(segment) * segment.count) as f64)
            .sum::<f64>()
    };
    let (groups, k, n) = (total(|_| 1), total(|it| it.k), total(|it| it.n));
    if groups == 0.0 {
        return Ok(Prior::NoData);
    }
    if groups == 1.0 {
        return Ok(Prior::OneGroup);
    }
    if k == 0.0 || k == n {
        return Ok(Prior::NoHeterogeneity);
    }
    Ok(likeliest(&Likelihood { told, rate: k / n }))
}

/// A segment's rate under a prior, with its credible interval.
///
/// - `alpha`, `beta`: positive and finite
/// - errors: 22023 unless `0 <= k <= n`, and for a prior that is none
pub fn posterior(
    k: i64,
    n: i64,
    (alpha, beta): (f64, f64),
    confidence: Confidence,
) -> Result<RateInterval, FunnelError> {
    check_counts(k, n)?;
    let is_prior = |shape: f64| shape.is_finite() && shape > 0.0;
    if !(is_prior(alpha) && is_prior(beta)) {
        return Err(FunnelError::InvalidArgument {
            message: format!("there is no Beta({alpha}, {beta})"),
            hint: "Give two positive numbers, such as eb_prior() finds.".to_owned(),
        });
    }
    let (a, b) = (k as f64 + alpha, (n - k) as f64 + beta);
    let (lo, hi) = beta_interval(a, b, confidence);
    Ok(RateInterval {
        rate: a / (a + b),
        lo,
        hi,
    })
}

/// The standard deviation of Beta(`a`, `b`).
pub fn beta_deviation(a: f64, b: f64) -> f64 {
    let total = a + b;
    (a / total * (b / total) / (total + 1.0)).sqrt()
}

/// The counts, and their rate as if they were of one segment.
struct Likelihood {
    told: Vec<Segments>,
    rate: f64,
}

fn likeliest(likelihood: &Likelihood) -> Prior {
    let largest = likelihood.told.iter().map(|segment| segment.n).max();
    let top = (LARGEST_SIZE * largest.unwrap_or(1) as f64).ln();
    let bottom = LEAST_SIZE.ln();
    let step = (top - bottom) / GRID as f64;
    let mut best = Prior::NoHeterogeneity;
    let mut highest = LIKELIER;
    let mut mean = likelihood.rate;
    let mut above = {
        let point = likelihood.best_mean(top, mean);
        mean = point.mean;
        (top, point)
    };
    for at in (0..GRID).rev() {
        let size = bottom + step * at as f64;
        let point = likelihood.best_mean(size, mean);
        mean = point.mean;
        if point.slope > 0.0 && above.1.slope <= 0.0 {
            let (size, mean) = likelihood.top_between((size, point), above);
            let found = likelihood.above_binomial(mean, size.exp());
            if found > highest {
                highest = found;
                best = Prior::Beta {
                    alpha: mean * size.exp(),
                    beta: (1.0 - mean) * size.exp(),
                };
            }
        }
        above = (size, point);
    }
    // Still rising where no prior is left.
    let (size, point) = above;
    if point.slope < 0.0 && likelihood.above_binomial(point.mean, size.exp()) > highest {
        best = Prior::Separated;
    }
    best
}

/// The best mean for a size, and the slope of the likelihood along the logarithm of the size there.
#[derive(Clone, Copy)]
struct Profile {
    mean: f64,
    slope: f64,
}

impl Likelihood {
    /// The mean that is likeliest for `ln_size`, sought from `guess`.
    fn best_mean(&self, ln_size: f64, guess: f64) -> Profile {
        /// Newton takes about five; a bisection of the logit's range to the last bit sixty.
        const STEPS: usize = 80;
        let size = ln_size.exp();
        let logit = |mean: f64| (mean / (1.0 - mean)).ln();
        let (mut low, mut high) = (-700.0, 700.0);
        let mut x = logit(guess);
        for _ in 0..STEPS {
            let (mean, rest) = (1.0 / (1.0 + (-x).exp()), 1.0 / (1.0 + x.exp()));
            let (slope, curvature) = self.by_mean(mean * size, rest * size);
            if slope == 0.0 {
                break;
            }
            match slope > 0.0 {
                true => low = x,
                false => high = x,
            }
            // By the logit: dμ = μ(1-μ) dx.
            let scale = mean * rest * size;
            let second = curvature * scale * scale + slope * scale * (rest - mean);
            let step = -slope * scale / second;
            let next = match second < 0.0 && (low..=high).contains(&(x + step)) {
                true => x + step,
                false => 0.5 * (low + high),
            };
            let moved = (next - x).abs();
            x = next;
            if moved <= 1e-13 * (1.0 + x.abs()) {
                break;
            }
        }
        let (mean, rest) = (1.0 / (1.0 + (-x).exp()), 1.0 / (1.0 + x.exp()));
        Profile {
            mean,
            slope: self.by_size(mean, rest, size),
        }
    }

    /// First and second derivative by `α` at a fixed `α + β`.
    fn by_mean(&self, alpha: f64, beta: f64) -> (f64, f64) {
        let (at_alpha, at_beta) = (digamma(alpha), digamma(beta));
        let (bend_alpha, bend_beta) = (trigamma(alpha), trigamma(beta));
        let (mut slope, mut curvature) = (0.0, 0.0);
        for segment in &self.told {
            let count = segment.count as f64;
            let (k, missed) = (segment.k as f64, (segment.n - segment.k) as f64);
            slope += count * ((digamma(k + alpha) - at_alpha) - (digamma(missed + beta) - at_beta));
            curvature += count
                * ((trigamma(k + alpha) - bend_alpha) + (trigamma(missed + beta) - bend_beta));
        }
        (slope, curvature)
    }

    /// The derivative by the logarithm of `M = α + β` at a fixed mean.
    fn by_size(&self, mean: f64, rest: f64, size: f64) -> f64 {
        let (alpha, beta) = (mean * size, rest * size);
        let (at_alpha, at_beta, at_size) = (digamma(alpha), digamma(beta), digamma(size));
        let slope = self.told.iter().map(|segment| {
            let (k, missed) = (segment.k as f64, (segment.n - segment.k) as f64);
            let of_success = mean * (digamma(k + alpha) - at_alpha);
            let of_failure = rest * (digamma(missed + beta) - at_beta);
            let of_all = digamma(segment.n as f64 + size) - at_size;
            segment.count as f64 * (of_success + of_failure - of_all)
        });
        size * slope.sum::<f64>()
    }

    /// The maximum between a size where the likelihood rises and a larger one where it falls: `ln M` and the mean.
    fn top_between(&self, rising: (f64, Profile), falling: (f64, Profile)) -> (f64, f64) {
        let ((mut low, mut point), (mut high, _)) = (rising, falling);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            point = self.best_mean(middle, point.mean);
            match point.slope > 0.0 {
                true => low = middle,
                false => high = middle,
            }
        }
        let size = 0.5 * (low + high);
        (size, self.best_mean(size, point.mean).mean)
    }

    /// The logarithm of the likelihood less that of one common rate.
    fn above_binomial(&self, mean: f64, size: f64) -> f64 {
        let (alpha, beta) = (mean * size, (1.0 - mean) * size);
        let rising = |count: f64, from: f64| ln_gamma(count + from) - ln_gamma(from);
        let of_each = self.told.iter().map(|segment| {
            let (k, missed) = (segment.k as f64, (segment.n - segment.k) as f64);
            let found = rising(k, alpha) + rising(missed, beta) - rising(k + missed, size);
            let common = k * self.rate.ln() + missed * (-self.rate).ln_1p();
            segment.count as f64 * (found - common)
        });
        of_each.sum()
    }
}

/// The derivative of the digamma function, for positive numbers: Bernoulli's series from 12 on, and the recurrence before.
fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 12.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = 1.0 / 6.0
        - square
            * (1.0 / 30.0 - square * (1.0 / 42.0 - square * (1.0 / 30.0 - square * 5.0 / 66.0)));
    sum + 1.0 / x + 0.5 * square + square * series / x
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn segments(counts: &[(i64, i64)]) -> Vec<Segments> {
        let one = |(k, n): &(i64, i64)| Segments {
            k: *k,
            n: *n,
            count: 1,
        };
        counts.iter().map(one).collect()
    }

    #[track_caller]
    fn prior(counts: &[(i64, i64)]) -> (f64, f64) {
        match fit(&segments(counts)).unwrap() {
            Prior::Beta { alpha, beta } => (alpha, beta),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_trigamma_function_has_its_known_values() {
        let pi_square = std::f64::consts::PI.powi(2);
        for (x, known) in [(1.0, pi_square / 6.0), (0.5, pi_square / 2.0)] {
            assert!((trigamma(x) / known - 1.0).abs() < 1e-14, "{x}");
        }
        // scipy 1.17.1: polygamma(1, 30)
        assert!((trigamma(30.0) - 0.033_895_060_357_739_946).abs() < 1e-15);
    }

    #[test]
    fn the_prior_is_the_one_that_makes_the_counts_likeliest() {
        // mpmath 1.3, 40 digits: findroot of the two derivatives of the log-likelihood. scipy 1.17.1, the sum of
        // stats.betabinom.logpmf(k, n, a, b) maximised by optimize.minimize(method="Nelder-Mead"), gives the same within 2e-6.
        for (counts, alpha, beta) in [
            (
                vec![(12, 100), (30, 120), (9, 80), (55, 200), (3, 40), (25, 60)],
                3.218_749_588_410_44,
                12.053_910_184_682_3,
            ),
            (
                vec![(0, 3), (1, 4), (3, 5), (2, 2), (0, 6), (4, 9)],
                1.151_174_144_959_78,
                2.142_528_172_402_25,
            ),
            (
                vec![
                    (3, 20_000),
                    (40, 50_000),
                    (11, 9_000),
                    (0, 4_000),
                    (25, 15_000),
                ],
                1.285_023_481_323_22,
                1_619.426_098_384_22,
            ),
            (
                vec![(30, 100), (60, 110)],
                8.009_970_093_662_32,
                10.904_018_116_805_9,
            ),
        ] {
            let (a, b) = prior(&counts);
            assert!((a / alpha - 1.0).abs() < 1e-9, "{counts:?}: {a} {b}");
            assert!((b / beta - 1.0).abs() < 1e-9, "{counts:?}: {a} {b}");
        }
    }

    #[test]
    fn hundreds_of_millions_keep_their_prior() {
        // As above; there the log-gammas of 1e8 leave four digits.
        let many = 100_000_000;
        let counts = [
            (50_000_000, many),
            (50_400_000, many),
            (49_900_000, many),
            (600, 1_000),
        ];
        let (alpha, beta) = prior(&counts);
        assert!((alpha / 85.097 - 1.0).abs() < 1e-3, "{alpha}");
        assert!((beta / 77.562 - 1.0).abs() < 1e-3, "{beta}");
    }

    #[test]
    fn the_slope_at_the_prior_is_zero() {
        let counts = segments(&[(12, 100), (30, 120), (9, 80), (55, 200)]);
        let Prior::Beta { alpha, beta } = fit(&counts).unwrap() else {
            panic!("no prior");
        };
        let likelihood = Likelihood {
            told: counts,
            rate: 106.0 / 500.0,
        };
        let at =
            |alpha: f64, beta: f64| likelihood.above_binomial(alpha / (alpha + beta), alpha + beta);
        for (a, b) in [
            (1.02, 1.0),
            (0.98, 1.0),
            (1.0, 1.02),
            (1.0, 0.98),
            (1.1, 1.1),
            (0.9, 0.9),
        ] {
            assert!(at(alpha * a, beta * b) < at(alpha, beta));
        }
    }

    #[test]
    fn segments_that_say_nothing_have_no_prior() {
        let found = |counts: &[(i64, i64)]| fit(&segments(counts)).unwrap();
        assert_eq!(found(&[]), Prior::NoData);
        assert_eq!(found(&[(0, 0)]), Prior::NoData);
        assert_eq!(found(&[(3, 9), (0, 0)]), Prior::OneGroup);
        assert_eq!(found(&[(0, 9), (0, 20)]), Prior::NoHeterogeneity);
        assert_eq!(found(&[(9, 9), (20, 20)]), Prior::NoHeterogeneity);
        assert_eq!(
            found(&[(10, 100), (11, 110), (9, 90), (10, 101)]),
            Prior::NoHeterogeneity
        );
        // Of one entity each, nothing says whether the rates differ.
        assert_eq!(
            found(&[(0, 1), (1, 1), (0, 1), (1, 1)]),
            Prior::NoHeterogeneity
        );
        assert_eq!(
            found(&[(0, 40), (50, 50), (0, 30), (60, 60)]),
            Prior::Separated
        );
        let wrong = fit(&segments(&[(3, 2)])).unwrap_err();
        assert_eq!(wrong.code(), "22023");
    }

    #[test]
    fn a_posterior_lies_between_the_rate_and_the_prior() {
        // scipy 1.17.1: stats.beta.ppf([.025, .975], 12 + 3.21875, 88 + 12.05391)
        let sure = Confidence::new(0.95).unwrap();
        let found = posterior(12, 100, (3.218_750_081, 12.053_912_203), sure).unwrap();
        assert!((found.rate - 0.132_023_931_6).abs() < 1e-9, "{found:?}");
        assert!((found.lo - 0.076_854_81).abs() < 1e-7, "{found:?}");
        assert!((found.hi - 0.199_255_27).abs() < 1e-7, "{found:?}");
        // Small shapes: beta.ppf([.025, .975], 0.05, 3.2)
        let found = posterior(0, 3, (0.05, 0.2), sure).unwrap();
        assert!(found.lo < 1e-25 && found.lo >= 0.0, "{found:?}");
        assert!((found.hi - 0.186_488_697).abs() < 1e-7, "{found:?}");
        for prior in [(0.0, 1.0), (1.0, f64::INFINITY), (f64::NAN, 1.0)] {
            assert_eq!(posterior(1, 2, prior, sure).unwrap_err().code(), "22023");
        }
    }

    #[test]
    fn limits_hold_the_true_rates_of_drawn_segments() {
        // 40 segments of 100 with true rates from Beta(8, 32): nineteen in twenty limits hold theirs.
        let mut seed = 11_u64;
        let mut uniform = || {
            // SplitMix64
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = seed;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        let sure = Confidence::new(0.95).unwrap();
        let (mut held, mut all) = (0, 0);
        for _ in 0..25 {
            let mut rates = Vec::new();
            let mut counts = Vec::new();
            for _ in 0..40 {
                // The eighth smallest of 39 uniform numbers has Beta(8, 32).
                let mut sorted: Vec<f64> = (0..39).map(|_| uniform()).collect();
                sorted.sort_by(f64::total_cmp);
                rates.push(sorted[7]);
                let k = (0..100).filter(|_| uniform() < sorted[7]).count();
                counts.push((k as i64, 100));
            }
            let prior = prior(&counts);
            for ((k, n), rate) in counts.iter().zip(rates) {
                let found = posterior(*k, *n, prior, sure).unwrap();
                held += i32::from((found.lo..=found.hi).contains(&rate));
                all += 1;
            }
        }
        let coverage = f64::from(held) / f64::from(all);
        assert!((0.925..0.975).contains(&coverage), "{coverage}");
    }
}
