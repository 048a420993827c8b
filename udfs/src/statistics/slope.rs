//! The slope of a straight line through points, and its limits.
//!
//! Least squares: slope = sxy / sxx, with the standard error √((syy − slope · sxy) / (n − 2) / sxx) and Student's t of n − 2
//! degrees of freedom.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A slope and its limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// More of y for one more of x.
    pub slope: f64,
    /// The lower limit.
    pub lo: f64,
    /// The upper limit.
    pub hi: f64,
}

/// The slope of `n` points whose sums of squares and products around their means are these; nothing for fewer than three
/// points, or where x is always the same.
pub fn slope(n: i64, sxx: f64, sxy: f64, syy: f64, confidence: f64) -> Option<Slope> {
    if n < 3 || !(sxx > 0.0 && sxy.is_finite() && syy.is_finite()) {
        return None;
    }
    let slope = sxy / sxx;
    let freedom = (n - 2) as f64;
    let error = ((syy - slope * sxy).max(0.0) / freedom / sxx).sqrt();
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    let reach = student.inverse_cdf(1.0 - (1.0 - confidence) / 2.0) * error;
    Some(Slope {
        slope,
        lo: slope - reach,
        hi: slope + reach,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// scipy 1.17.1: r = linregress([1, 2, 3, 4, 5], [2.1, 3.9, 6.2, 7.8, 10.1]); t.ppf(0.975, 3) * r.stderr
    #[test]
    fn a_slope_and_its_limits_are_scipys() {
        let found = slope(5, 10.0, 19.9, 39.708, 0.95).unwrap();
        assert!((found.slope - 1.99).abs() < 1e-12);
        assert!((found.lo - SCIPY_LO).abs() < 1e-9, "{}", found.lo);
        assert!((found.hi - (2.0 * 1.99 - SCIPY_LO)).abs() < 1e-9);
    }

    const SCIPY_LO: f64 = 1.799_939_290_400_537_1;

    #[test]
    fn too_few_points_and_equal_ones_have_no_slope() {
        assert_eq!(slope(2, 1.0, 1.0, 1.0, 0.95), None);
        assert_eq!(slope(9, 0.0, 0.0, 1.0, 0.95), None);
        // On a line, without error.
        let found = slope(9, 2.0, 4.0, 8.0, 0.95).unwrap();
        assert_eq!((found.lo, found.hi), (2.0, 2.0));
    }
}
