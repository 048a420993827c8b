//! Tests of two rates by the normal distribution.

use std::f64::consts::FRAC_1_SQRT_2;

use statrs::function::erf::erfc;

/// Two-sided probability of a standard normal value at least this far from 0.
pub fn two_sided(z: f64) -> f64 {
    erfc(z.abs() * FRAC_1_SQRT_2)
}

/// Two-sided `p` of the pooled test that both rates are equal; `None` where a group is empty, or all or none succeeded.
///
/// `z = (k1/n1 - k2/n2) / √(p̄ (1 - p̄) (1/n1 + 1/n2))` with `p̄ = (k1 + k2) / (n1 + n2)`.
pub fn z_test_p(first: (i64, i64), second: (i64, i64)) -> Option<f64> {
    let [k1, n1, k2, n2] = [first.0, first.1, second.0, second.1].map(|count| count as f64);
    let pooled = (k1 + k2) / (n1 + n2);
    let variance = pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2);
    let z = (k1 / n1 - k2 / n2) / variance.sqrt();
    (n1 > 0.0 && n2 > 0.0 && variance > 0.0).then(|| two_sided(z))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// statsmodels 0.15.0: `proportions_ztest([k1, k2], [n1, n2])[1]`.
    #[test]
    fn it_equals_statsmodels() {
        for (first, second, expected) in [
            ((56, 70), (48, 80), 0.00804508136819656),
            ((1_234, 10_000), (1_180, 10_000), 0.2411656592650856),
            (
                (250_500, 1_000_000),
                (250_000, 1_000_000),
                0.4143716395723067,
            ),
            ((3, 1_000), (0, 900), 0.10007988925429595),
        ] {
            let found = z_test_p(first, second).unwrap_or(f64::NAN);
            assert!(
                (found - expected).abs() <= 1e-10 * expected,
                "{first:?} {second:?}: {found}"
            );
            assert_eq!(z_test_p(second, first), Some(found));
        }
    }

    #[test]
    fn without_variance_there_is_no_test() {
        assert_eq!(z_test_p((0, 5), (0, 9)), None);
        assert_eq!(z_test_p((5, 5), (9, 9)), None);
        assert_eq!(z_test_p((0, 0), (1, 9)), None);
        assert_eq!(z_test_p((1, 9), (0, 0)), None);
    }
}
