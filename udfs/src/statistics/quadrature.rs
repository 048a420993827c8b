//! Integrals of smooth functions that are given panel by panel: Gauss–Legendre with sixteen points each.

use std::sync::LazyLock;

/// Points of a panel.
pub const POINTS: usize = 16;

/// The rule on [-1, 1]: its points and weights, and the Legendre polynomials at them.
pub struct Rule {
    /// The points, ascending.
    pub points: [f64; POINTS],
    /// Their weights.
    pub weights: [f64; POINTS],
    /// `polynomials[j][n]` is the n-th Legendre polynomial at point j.
    polynomials: [[f64; POINTS + 1]; POINTS],
}

/// The rule.
pub static RULE: LazyLock<Rule> = LazyLock::new(Rule::new);

impl Rule {
    fn new() -> Self {
        let mut rule = Rule {
            points: [0.0; POINTS],
            weights: [0.0; POINTS],
            polynomials: [[0.0; POINTS + 1]; POINTS],
        };
        let degree = POINTS as f64;
        for at in 0..POINTS {
            let mut x = -(std::f64::consts::PI * (at as f64 + 0.75) / (degree + 0.5)).cos();
            let mut slope = 1.0;
            // Newton's method doubles the digits of a guess that has two; ten steps are more than enough.
            for _ in 0..10 {
                let values = legendre(x);
                slope = degree * (x * values[POINTS] - values[POINTS - 1]) / (x * x - 1.0);
                x -= values[POINTS] / slope;
            }
            rule.points[at] = x;
            rule.weights[at] = 2.0 / ((1.0 - x * x) * slope * slope);
            rule.polynomials[at] = legendre(x);
        }
        rule
    }

    /// Coefficients of the polynomial through the values at the points, by Legendre polynomials.
    pub fn coefficients(&self, values: &[f64; POINTS]) -> [f64; POINTS] {
        let mut coefficients = [0.0; POINTS];
        for (n, coefficient) in coefficients.iter_mut().enumerate() {
            let products =
                (0..POINTS).map(|at| self.weights[at] * values[at] * self.polynomials[at][n]);
            *coefficient = (n as f64 + 0.5) * products.sum::<f64>();
        }
        coefficients
    }
}

/// The integral of the polynomial with these coefficients from -1 to `x`.
pub fn integral(coefficients: &[f64; POINTS], x: f64) -> f64 {
    let values = legendre(x);
    let mut sum = coefficients[0] * (x + 1.0);
    for n in 1..POINTS {
        sum += coefficients[n] * (values[n + 1] - values[n - 1]) / (2 * n + 1) as f64;
    }
    sum
}

/// The Legendre polynomials up to degree [`POINTS`] at `x`.
fn legendre(x: f64) -> [f64; POINTS + 1] {
    let mut values = [1.0; POINTS + 1];
    values[1] = x;
    for n in 1..POINTS {
        let degree = n as f64;
        values[n + 1] =
            ((2.0 * degree + 1.0) * x * values[n] - degree * values[n - 1]) / (degree + 1.0);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        let rule = &*RULE;
        let weights: f64 = rule.weights.iter().sum();
        assert!((weights - 2.0).abs() < 1e-14);
        let values = rule.points.map(|x| x.powi(7) - 3.0 * x * x + 1.0);
        let coefficients = rule.coefficients(&values);
        let expected = |x: f64| x.powi(8) / 8.0 - x.powi(3) + x;
        for x in [-1.0, -0.3, 0.0, 0.77, 1.0] {
            let found = integral(&coefficients, x);
            assert!(
                (found - (expected(x) - expected(-1.0))).abs() < 1e-14,
                "{x}"
            );
        }
    }
}
