//! Probabilities of counts, exact to the last digits for counts of hundreds of millions.
//!
//! The logarithm of a binomial probability is taken apart into deviances (C. Loader, "Fast and accurate computation of
//! binomial probabilities", 2000), because the difference of three log-gammas of 1e8 keeps only seven digits.

use std::f64::consts::TAU;

use statrs::function::gamma::ln_gamma;

/// `ln C(n, k) p^k (1 - p)^(n - k)`.
///
/// - `0 <= k <= n`, `0 < p < 1`
pub fn ln_binomial(k: f64, n: f64, p: f64) -> f64 {
    let q = 1.0 - p;
    if k <= 0.0 {
        return n * (-p).ln_1p();
    }
    if k >= n {
        return n * p.ln();
    }
    let rest = n - k;
    stirling_error(n)
        - stirling_error(k)
        - stirling_error(rest)
        - deviance(k, n * p)
        - deviance(rest, n * q)
        - 0.5 * (TAU * k * (rest / n)).ln()
}

/// The logarithm of the hypergeometric probability of `k` marked ones among `drawn` of `marked + unmarked`.
///
/// - `max(0, drawn - unmarked) <= k <= min(drawn, marked)`
pub fn ln_hypergeometric(k: f64, marked: f64, unmarked: f64, drawn: f64) -> f64 {
    let all = marked + unmarked;
    // All or none are drawn: there is only one way.
    if drawn <= 0.0 || drawn >= all {
        return 0.0;
    }
    let p = drawn / all;
    ln_binomial(k, marked, p) + ln_binomial(drawn - k, unmarked, p) - ln_binomial(drawn, all, p)
}

/// `x ln(x / mean) + mean - x`, without the loss of digits where both are nearly the same.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() < 0.1 * (x + mean) {
        // With v = (x - mean) / (x + mean): x/mean = (1 + v) / (1 - v), so its logarithm is 2 (v + v³/3 + v⁵/5 + …).
        let v = difference / (x + mean);
        let mut sum = difference * v;
        let mut term = 2.0 * x * v;
        let square = v * v;
        for odd in (3..).step_by(2).take(500) {
            term *= square;
            let next = sum + term / f64::from(odd);
            if next == sum {
                break;
            }
            sum = next;
        }
        return sum;
    }
    x * (x / mean).ln() + mean - x
}

/// `ln Γ(a)` less Stirling's formula `(a - 1/2) ln a - a + ln √2π` for `n! = Γ(n + 1)`, that is `ln n!` less
/// `(n + 1/2) ln n - n + ln √2π`: the two are the same function.
pub fn stirling_error(a: f64) -> f64 {
    /// Where the first term left out of the series, 1/(1188 a⁹), is below 1e-16.
    const SERIES_FROM: f64 = 30.0;
    if a < SERIES_FROM {
        return ln_gamma(a) - ((a - 0.5) * a.ln() - a + 0.5 * TAU.ln());
    }
    let square = 1.0 / (a * a);
    (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-11 * expected.abs().max(1.0),
            "{found} is not {expected}"
        );
    }

    #[test]
    fn small_probabilities_are_those_of_a_table() {
        // 10 choose 3 = 120.
        is_near(ln_binomial(3.0, 10.0, 0.5).exp(), 120.0 / 1024.0);
        is_near(ln_binomial(0.0, 10.0, 0.25).exp(), 0.75_f64.powi(10));
        is_near(ln_binomial(10.0, 10.0, 0.25).exp(), 0.25_f64.powi(10));
        // The tea: 4 marked of 8, 4 drawn, 3 of them right.
        is_near(ln_hypergeometric(3.0, 4.0, 4.0, 4.0).exp(), 16.0 / 70.0);
        is_near(ln_hypergeometric(0.0, 4.0, 4.0, 0.0), 0.0);
    }
}
