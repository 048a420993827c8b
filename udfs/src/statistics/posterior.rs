//! What is known of a rate or a mean after some data, and which of several is best.
//!
//! A rate with `k` of `n` is known as Beta(α + k, β + n - k), from a prior Beta(α, β); a mean as a normal distribution. With the density `f_i`
//! and the distribution `F_i` of each:
//!
//! - the chance to be the best: `∫ f_i Π_{j≠i} F_j`
//! - the expected loss of choosing it: `E[max_j θ_j - θ_i] = ∫ F_i (1 - Π_{j≠i} F_j) dθ`
//! - the distribution of a difference: `P(θ_b - θ_a <= δ) = ∫ f_a(θ) F_b(θ + δ) dθ`
//!
//! Integrals are sums over panels that follow each distribution's own centre and spread, a rate's on the scale of log odds, where its density
//! falls exponentially on both sides. So the same code is exact, to some twelve digits, for ten and for 1e8 entities.
//!
//! Cost: some 500 points an arm, at each of which every arm is evaluated.

use super::quadrature::{POINTS, RULE, integral};
use crate::scalar::rate_ci::beta::weight;

/// A distribution of what is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// A rate: Beta(a, b).
    Rate {
        /// Successes, and the prior's.
        a: f64,
        /// Failures, and the prior's.
        b: f64,
    },
    /// A mean with its standard error.
    Mean {
        /// The mean.
        mean: f64,
        /// Its standard error, positive.
        error: f64,
    },
}

/// Panels end this many spreads from the centre, on both sides. A density on the scale of log odds falls as slowly as `e^(a u)`, which for
/// a = 1/2 is 1e-15 only at 50 spreads.
const ENDS: [f64; 17] = [
    0.75, 1.5, 2.25, 3.0, 3.75, 4.5, 5.5, 6.5, 8.0, 10.0, 13.0, 17.0, 22.0, 30.0, 42.0, 60.0, 90.0,
];

impl Known {
    /// The expected value.
    pub fn mean(self) -> f64 {
        match self {
            Known::Rate { a, b } => a / (a + b),
            Known::Mean { mean, .. } => mean,
        }
    }

    /// The standard deviation.
    pub fn deviation(self) -> f64 {
        match self {
            Known::Rate { a, b } => (a / (a + b) * (b / (a + b)) / (a + b + 1.0)).sqrt(),
            Known::Mean { error, .. } => error,
        }
    }

    /// Where its panels end, on its axis: the log odds of a rate, a mean itself.
    fn ends(self) -> Vec<f64> {
        let (centre, spread) = match self {
            Known::Rate { a, b } => ((a / b).ln(), (1.0 / a + 1.0 / b).sqrt()),
            Known::Mean { mean, error } => (mean, error),
        };
        let below = ENDS.iter().rev().map(|end| centre - spread * end);
        let above = ENDS.iter().map(|end| centre + spread * end);
        below.chain([centre]).chain(above).collect()
    }

    /// The density on the axis.
    fn density(self, x: f64) -> f64 {
        match self {
            // The side that is nearer to 0 keeps its digits.
            Known::Rate { a, b } if x > 0.0 => weight(b, a, odds_to_rate(-x)),
            Known::Rate { a, b } => weight(a, b, odds_to_rate(x)),
            Known::Mean { mean, error } => {
                let z = (x - mean) / error;
                (-0.5 * z * z).exp() / (error * std::f64::consts::TAU.sqrt())
            }
        }
    }

    /// The value at a place of the axis.
    fn value(self, x: f64) -> f64 {
        match self {
            Known::Rate { .. } => odds_to_rate(x),
            Known::Mean { .. } => x,
        }
    }

    /// How fast the value grows there.
    fn slope(self, x: f64) -> f64 {
        match self {
            Known::Rate { .. } => odds_to_rate(x) * odds_to_rate(-x),
            Known::Mean { .. } => 1.0,
        }
    }

    /// The place of a value.
    fn place(self, value: f64) -> f64 {
        match self {
            Known::Rate { .. } if value <= 0.0 => f64::NEG_INFINITY,
            Known::Rate { .. } if value >= 1.0 => f64::INFINITY,
            Known::Rate { .. } => (value / (1.0 - value)).ln(),
            Known::Mean { .. } => value,
        }
    }
}

fn odds_to_rate(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A distribution with its integral, panel by panel.
struct Curve {
    ends: Vec<f64>,
    panels: Vec<Panel>,
    total: f64,
}

struct Panel {
    before: f64,
    half_width: f64,
    coefficients: [f64; POINTS],
}

impl Curve {
    fn new(known: Known) -> Self {
        let ends = known.ends();
        let mut total = 0.0;
        let mut panels = Vec::with_capacity(ends.len());
        for pair in ends.windows(2) {
            let (middle, half_width) = (0.5 * (pair[0] + pair[1]), 0.5 * (pair[1] - pair[0]));
            let values = RULE
                .points
                .map(|point| known.density(middle + half_width * point));
            let panel = Panel {
                before: total,
                half_width,
                coefficients: RULE.coefficients(&values),
            };
            total += half_width * integral(&panel.coefficients, 1.0);
            panels.push(panel);
        }
        Self {
            ends,
            panels,
            total,
        }
    }

    /// The probability below a place.
    fn below(&self, x: f64) -> f64 {
        let after = self.ends.partition_point(|end| *end <= x);
        let Some(panel) = after.checked_sub(1).and_then(|at| self.panels.get(at)) else {
            return if after == 0 { 0.0 } else { 1.0 };
        };
        let start = self.ends[after - 1];
        let at = (x - start) / panel.half_width - 1.0;
        let inside = panel.half_width * integral(&panel.coefficients, at);
        ((panel.before + inside) / self.total).clamp(0.0, 1.0)
    }
}

/// The sum over all panels between `ends` of the weights times `function`.
fn integrate<const N: usize>(
    ends: &mut Vec<f64>,
    mut function: impl FnMut(f64, f64) -> [f64; N],
) -> [f64; N] {
    ends.retain(|end| end.is_finite());
    ends.sort_by(f64::total_cmp);
    let mut sums = [0.0; N];
    for pair in ends.windows(2) {
        let (middle, half_width) = (0.5 * (pair[0] + pair[1]), 0.5 * (pair[1] - pair[0]));
        if half_width <= 0.0 {
            continue;
        }
        for (point, weight) in RULE.points.iter().zip(&RULE.weights) {
            let values = function(middle + half_width * point, half_width * weight);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
    sums
}

/// The chance of each to be the best, and the expected loss of choosing it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// The chance to be the best; of all together 1.
    pub probability: f64,
    /// How much the best one is expected to be better.
    pub expected_loss: f64,
}

/// Which of several is best; all rates or all means.
pub fn best(arms: &[Known]) -> Vec<Best> {
    let curves: Vec<Curve> = arms.iter().map(|arm| Curve::new(*arm)).collect();
    let mut ends: Vec<f64> = curves.iter().flat_map(|curve| curve.ends.clone()).collect();
    let nothing = Best {
        probability: 0.0,
        expected_loss: 0.0,
    };
    let mut found = vec![nothing; arms.len()];
    integrate(&mut ends, |x, weight| {
        let below: Vec<f64> = curves.iter().map(|curve| curve.below(x)).collect();
        for (at, (arm, found)) in arms.iter().zip(&mut found).enumerate() {
            let others = below.iter().enumerate().filter(|(other, _)| *other != at);
            let others: f64 = others.map(|(_, below)| below).product();
            found.probability += weight * arm.density(x) / curves[at].total * others;
            found.expected_loss += weight * arm.slope(x) * below[at] * (1.0 - others);
        }
        []
    });
    found
}

/// The difference `b - a`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Its expected value.
    pub mean: f64,
    /// The lower end of the interval.
    pub lo: f64,
    /// The upper end of the interval.
    pub hi: f64,
}

/// The difference of two, with the interval that has `(1 - confidence) / 2` on either side.
pub fn difference(a: Known, b: Known, confidence: f64) -> Difference {
    let (curve_a, curve_b) = (Curve::new(a), Curve::new(b));
    let below = |delta: f64| {
        let mut ends = curve_a.ends.clone();
        let shifted = curve_b.ends.iter();
        ends.extend(shifted.map(|end| a.place(b.value(*end) - delta)));
        let lowest = curve_a.ends.first().copied().unwrap_or_default();
        let highest = curve_a.ends.last().copied().unwrap_or_default();
        ends.retain(|end| (lowest..=highest).contains(end));
        let [sum] = integrate(&mut ends, |x, weight| {
            [weight * a.density(x) * curve_b.below(b.place(a.value(x) + delta))]
        });
        sum / curve_a.total
    };
    let tail = 0.5 * (1.0 - confidence);
    let mean = b.mean() - a.mean();
    let deviation = a.deviation().hypot(b.deviation());
    Difference {
        mean,
        lo: root(|delta| below(delta) - tail, mean, -deviation),
        hi: root(|delta| (1.0 - tail) - below(delta), mean, deviation),
    }
}

/// Where a function is 0 that is positive at `near` and falls on the way to the side of `step`.
fn root(function: impl Fn(f64) -> f64, near: f64, step: f64) -> f64 {
    let (mut inside, mut outside) = (near, near + 2.0 * step);
    for _ in 0..60 {
        if function(outside) <= 0.0 {
            break;
        }
        inside = outside;
        outside += step;
    }
    let (mut at_inside, mut at_outside) = (function(inside), function(outside));
    // The Illinois method: the secant, with a halved value for the end that stays.
    for _ in 0..60 {
        let next = outside - at_outside * (outside - inside) / (at_outside - at_inside);
        if !next.is_finite() || (outside - inside).abs() <= 1e-13 * step.abs() {
            break;
        }
        let at_next = function(next);
        if (at_next > 0.0) == (at_outside > 0.0) {
            at_inside *= 0.5;
        } else {
            (inside, at_inside) = (outside, at_outside);
        }
        let moved = (next - outside).abs();
        (outside, at_outside) = (next, at_next);
        if moved <= 1e-12 * step.abs() {
            break;
        }
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_near(found: f64, expected: f64, within: f64) {
        assert!(
            (found - expected).abs() <= within,
            "{found} is not {expected}"
        );
    }

    const fn rate(k: f64, n: f64) -> Known {
        Known::Rate {
            a: 1.0 + k,
            b: 1.0 + n - k,
        }
    }

    /// The closed form for whole shapes, `Σ B(a_a + i, b_a + b_b) / ((b_b + i) B(1 + i, b_b) B(a_a, b_a))` over `i < a_b` (E. Miller, "Formulas
    /// for Bayesian A/B testing", 2015) and the losses from it, by mpmath 1.3 with 40 digits.
    #[test]
    fn chances_and_losses_are_those_of_the_closed_form() {
        for (a, b, probability_b, loss_a, loss_b) in [
            (
                rate(10.0, 100.0),
                rate(15.0, 100.0),
                0.8532837899339661,
                0.0525976959738483,
                0.003578088130711048,
            ),
            (
                rate(0.0, 0.0),
                rate(3.0, 10.0),
                0.3333333333333333,
                0.0641025641025641,
                0.2307692307692308,
            ),
            (
                rate(120.0, 1000.0),
                rate(150.0, 1000.0),
                0.9750678368121441,
                0.03008429761559087,
                0.0001441778551118327,
            ),
            (
                rate(5.0, 5.0),
                rate(0.0, 3.0),
                0.004761904761904762,
                0.0004329004329004329,
                0.6575757575757576,
            ),
            (
                rate(1000.0, 10000.0),
                rate(1100.0, 10000.0),
                0.989457354431714,
                0.01001358284375222,
                1.558244383220136e-5,
            ),
        ] {
            let found = best(&[a, b]);
            is_near(found[1].probability, probability_b, 1e-12);
            is_near(found[0].probability + found[1].probability, 1.0, 1e-12);
            is_near(found[0].expected_loss, loss_a, 1e-13);
            is_near(found[1].expected_loss, loss_b, 1e-13);
        }
    }

    /// SciPy 1.17.1: `brentq(lambda d: quad(lambda x: beta.pdf(x) * beta.cdf(x + d), 0, 1) - q, -1, 1)`.
    #[test]
    fn the_interval_of_a_difference_has_the_tails_it_should() {
        for (a, b, lo, hi) in [
            (
                rate(10.0, 100.0),
                rate(15.0, 100.0),
                -0.043021674232726084,
                0.14235194675958576,
            ),
            (
                rate(120.0, 1000.0),
                rate(150.0, 1000.0),
                1.7764227256085215e-05,
                0.0599346105070269,
            ),
            (
                rate(0.0, 0.0),
                rate(3.0, 10.0),
                -0.731228694778797,
                0.40890458639113286,
            ),
        ] {
            let found = difference(a, b, 0.95);
            is_near(found.lo, lo, 1e-10);
            is_near(found.hi, hi, 1e-10);
            let swapped = difference(b, a, 0.95);
            is_near(swapped.lo, -hi, 1e-10);
            is_near(swapped.mean, -found.mean, 1e-15);
        }
    }

    #[test]
    fn a_hundred_million_is_nearly_normal() {
        let (a, b) = (rate(25_000_000.0, 1e8), rate(25_003_000.0, 1e8));
        let found = best(&[a, b]);
        // Φ(3e-5 / √(2 · 0.25 · 0.75 / 1e8)) = Φ(0.48989).
        is_near(found[1].probability, 0.68790, 2e-5);
        is_near(found[0].probability + found[1].probability, 1.0, 1e-12);
        let found = difference(a, b, 0.95);
        is_near(found.hi - found.mean, 1.959964 * 6.1238e-5, 1e-8);
        // A narrow one between the wide tails of another.
        let found = best(&[rate(3.0, 10.0), rate(25_000_000.0, 1e8)]);
        // scipy.stats.beta.sf(0.25, 4, 8) = 0.7133…, of the wide one.
        is_near(found[0].probability, 0.7133045196533203, 1e-6);
    }

    #[test]
    fn means_are_normal() {
        let (a, b) = (
            Known::Mean {
                mean: 10.0,
                error: 3.0,
            },
            Known::Mean {
                mean: 12.0,
                error: 4.0,
            },
        );
        let found = best(&[a, b]);
        // Φ(2 / 5), and of three equal ones each a third.
        is_near(found[1].probability, 0.6554217416103242, 1e-12);
        let found = difference(a, b, 0.9);
        is_near(found.hi, 2.0 + 5.0 * 1.6448536269514722, 1e-9);
        for arm in best(&[a, a, a]) {
            is_near(arm.probability, 1.0 / 3.0, 1e-12);
        }
    }
}
