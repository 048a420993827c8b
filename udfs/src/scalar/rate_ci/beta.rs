//! Quantiles of the beta distribution, for counts from one to hundreds of millions.
//!
//! `I_x(a, b) = x^a (1-x)^b / (a B(a, b)) · F`, with `F` Gauss's continued fraction (NIST DLMF 8.17.22), solved for `x` by
//! Newton steps inside a bracket. The factor in front is taken apart into deviances (C. Loader, "Fast and accurate
//! computation of binomial probabilities", 2000), because the difference of three log-gammas of 1e8 keeps only seven digits.
//!
//! `statrs` 0.19.1 isn't used for it: its fraction stops after 140 terms, and `Beta::inverse_cdf` never returns for one
//! success in 1e8.
//!
//! Cost: up to `√max(a, b)` terms a step and some six steps; constant from [`LARGE_SHAPE`] on.

use std::f64::consts::TAU;

use crate::statistics::binomial::stirling_error;

/// Which end of the distribution holds the given probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Below the quantile.
    Lower,
    /// Above it.
    Upper,
}

/// From here on, for both shapes, Carter's approximation is used: it is within 1e-13 of the exact quantile
/// at 95 %, where a continued fraction would need thousands of terms.
const LARGE_SHAPE: f64 = 1e7;

/// The point of Beta(`a`, `b`) that has `probability` in the given tail.
///
/// - `probability`: in (0, 1/2], and `deviate` the standard normal's point with as much above it, so `>= 0`
/// - `a`, `b`: positive; the shapes of counts are 1/2 or more
/// - returns a point of [0, 1], within 1e-11 of the truth, and within one part in 1e9 of it near zero
pub(super) fn quantile(tail: Tail, probability: f64, deviate: f64, a: f64, b: f64) -> f64 {
    // Work at the end where the mass is nearer to zero, where floats are densest.
    if a > b {
        return 1.0 - quantile(tail.opposite(), probability, deviate, b, a);
    }
    let side = match tail {
        Tail::Lower => -deviate,
        Tail::Upper => deviate,
    };
    if a >= LARGE_SHAPE {
        return carter(side, a, b);
    }
    solve(tail, probability, first_guess(side, a, b), a, b)
}

impl Tail {
    fn opposite(self) -> Tail {
        match self {
            Tail::Lower => Tail::Upper,
            Tail::Upper => Tail::Lower,
        }
    }
}

/// Carter's approximation, from a standard normal deviate; L. R. Carter, JRSS C 26 (1977), algorithm AS 109.
fn carter(deviate: f64, a: f64, b: f64) -> f64 {
    let by_a = 1.0 / (2.0 * a - 1.0);
    let by_b = 1.0 / (2.0 * b - 1.0);
    let harmonic = 2.0 / (by_a + by_b);
    let skew = (deviate * deviate - 3.0) / 6.0;
    let w = deviate * (harmonic + skew).sqrt() / harmonic
        + (by_b - by_a) * (skew + 5.0 / 6.0 - 2.0 / (3.0 * harmonic));
    a / (a + b * (-2.0 * w).exp())
}

/// The score limit of a rate `a / (a + b)`: never outside of (0, 1), and seldom off by more than a factor of five.
fn first_guess(deviate: f64, a: f64, b: f64) -> f64 {
    let total = a + b;
    let mean = a / total;
    let square = deviate * deviate;
    let half_width = deviate * (mean * (b / total) / total + square / (4.0 * total * total)).sqrt();
    (mean + square / (2.0 * total) + half_width) / (1.0 + square / total)
}

/// Newton's method, with a bisection where a step would leave the bracket.
fn solve(tail: Tail, probability: f64, guess: f64, a: f64, b: f64) -> f64 {
    /// Bisection alone halves [0, 1] to the last bit of 1e-10 in 87 steps; Newton takes about six.
    const STEPS: usize = 100;
    /// After a step this small the error is far below the last bit, as Newton squares it.
    const ENOUGH: f64 = 1e-10;
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = guess;
    for _ in 0..STEPS {
        let point = evaluate(a, b, x);
        let excess = match tail {
            Tail::Lower => point.lower - probability,
            Tail::Upper => probability - point.upper,
        };
        let newton = x - excess / point.density;
        if (newton - x).abs() <= ENOUGH * x {
            return newton;
        }
        if excess > 0.0 {
            high = x;
        } else {
            low = x;
        }
        // The comparison is also false for the NaN of an excess and a density of zero.
        x = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
    }
    x
}

/// The distribution at one point: the probability on either side, and the density.
struct Point {
    lower: f64,
    upper: f64,
    density: f64,
}

/// `0 < x < 1`.
fn evaluate(a: f64, b: f64, x: f64) -> Point {
    let weight = weight(a, b, x);
    let density = weight / (x * (1.0 - x));
    // The fraction converges fast on this side only; on the other the complement's does.
    if x < (a + 1.0) / (a + b + 2.0) {
        let lower = weight * continued_fraction(a, b, x) / a;
        Point {
            lower,
            upper: 1.0 - lower,
            density,
        }
    } else {
        let upper = weight * continued_fraction(b, a, 1.0 - x) / b;
        Point {
            lower: 1.0 - upper,
            upper,
            density,
        }
    }
}

/// `x^a (1-x)^b / B(a, b)`, by deviances from the mean `a / (a + b)`.
pub(crate) fn weight(a: f64, b: f64, x: f64) -> f64 {
    let total = a + b;
    let distance = x * total - a;
    // Near the mean the distance is exact; near zero `x` is, and the distance rounded.
    let near_mean = distance.abs() < 0.5 * a;
    let ln_ratio = if near_mean {
        (distance / a).ln_1p()
    } else {
        (x / a * total).ln()
    };
    let deviance = a * ln_ratio + b * (-distance / b).ln_1p();
    let correction = stirling_error(total) - stirling_error(a) - stirling_error(b);
    (deviance + correction).exp() * (a / total * b / TAU).sqrt()
}

/// Gauss's continued fraction of the incomplete beta function, by the modified Lentz method.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    /// Enough for shapes below [`LARGE_SHAPE`], and for one below and the other beyond it.
    const TERMS: usize = 50_000;
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for term in 1..TERMS {
        let m = term as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let factor = d * c;
        fraction *= factor;
        if (factor - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    fraction
}

/// Lentz's method divides by its partial denominators; a zero one becomes a tiny one.
fn away_from_zero(denominator: f64) -> f64 {
    const TINY: f64 = 1e-300;
    if denominator.abs() < TINY {
        TINY
    } else {
        denominator
    }
}
