//! How many entities does a comparison of two rates need?
//!
//! The two-sided normal test with the pooled variance where nothing differs, and each group's own where something does. With the rates `p`
//! and `q = p + mde`, `r` entities of the second group for each of the first, `p̄ = (p + r q) / (1 + r)`, and the first group of size `n`:
//!
//! `n = ((z_{1-α/2} √(p̄ (1 - p̄) (1 + 1/r)) + z_{power} √(p (1 - p) + q (1 - q)/r)) / mde)²`
//!
//! The chance to be significant in the wrong direction is left out, as in statsmodels and R. Source: J. L. Fleiss, Statistical Methods for
//! Rates and Proportions (1981), chapter 3.

use statrs::distribution::{ContinuousCDF, Normal};

/// What is asked of a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// Rate of the first group, in (0, 1).
    pub rate: f64,
    /// The chance of a false alarm, in (0, 1).
    pub alpha: f64,
    /// Entities of the second group for each of the first.
    pub ratio: f64,
}

impl Design {
    /// The size of the first group at which a difference of `mde` is found with the chance `power`; `None` where the second rate isn't one.
    pub fn sample_size(self, mde: f64, power: f64) -> Option<f64> {
        let (null, alternative) = self.deviations(mde)?;
        let root = (self.critical() * null + normal_quantile(power) * alternative) / mde;
        (mde != 0.0).then_some(root * root)
    }

    /// The chance to find a difference of `mde`, when the first group has the size `n`; `None` where the second rate isn't one.
    pub fn power(self, mde: f64, n: f64) -> Option<f64> {
        let (null, alternative) = self.deviations(mde)?;
        let deviate = (mde.abs() * n.sqrt() - self.critical() * null) / alternative;
        Some(Normal::standard().cdf(deviate))
    }

    /// The smallest rise that is found with the chance `power`; `None` where even the largest isn't.
    pub fn mde(self, n: f64, power: f64) -> Option<f64> {
        let enough = |mde: f64| self.power(mde, n).is_some_and(|found| found >= power);
        // The rise to the rate of 1 has no variance of its own, but can be found.
        let (mut too_small, mut large) = (0.0, 1.0 - self.rate);
        if !enough(large) {
            return None;
        }
        // 200 halvings are more than a float has.
        for _ in 0..200 {
            let middle = 0.5 * (too_small + large);
            if middle <= too_small || middle >= large {
                break;
            }
            match enough(middle) {
                true => large = middle,
                false => too_small = middle,
            }
        }
        Some(large)
    }

    fn critical(self) -> f64 {
        -normal_quantile(self.alpha / 2.0)
    }

    /// Standard deviations of `√n` times the difference, where there is none and where it is `mde`.
    fn deviations(self, mde: f64) -> Option<(f64, f64)> {
        let (p, q, r) = (self.rate, self.rate + mde, self.ratio);
        let pooled = (p + r * q) / (1.0 + r);
        let null = (pooled * (1.0 - pooled) * (1.0 + 1.0 / r)).sqrt();
        let alternative = (p * (1.0 - p) + (q * (1.0 - q)).max(0.0) / r).sqrt();
        (0.0..=1.0).contains(&q).then_some((null, alternative))
    }
}

/// The standard normal's point with that probability below it; in (0, 1).
pub fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Option<f64>, expected: f64, within: f64) {
        let found = found.unwrap_or(f64::NAN);
        assert!(
            (found - expected).abs() < within,
            "{found} is not {expected}"
        );
    }

    const fn design(rate: f64, ratio: f64) -> Design {
        Design {
            rate,
            alpha: 0.05,
            ratio,
        }
    }

    /// The examples of R's help page of `power.prop.test`: `(n = 50, p1 = .50, p2 = .75)` has power 0.740, `(p1 = .50, p2 = .75,
    /// power = .90)` needs n = 76.7, and `(n = 50, p1 = .5, power = .90)` finds p2 = 0.8026 and up.
    #[test]
    fn it_equals_r() {
        near(design(0.5, 1.0).power(0.25, 50.0), 0.7401659, 1e-7);
        near(design(0.5, 1.0).sample_size(0.25, 0.9), 76.7, 0.05);
        near(design(0.5, 1.0).mde(50.0, 0.9), 0.3026, 5e-5);
    }

    /// statsmodels 0.15.0: `samplesize_proportions_2indep_onetail(diff, prop2, power, ratio=1/r)`, whose first group is our second, with
    /// `n_a = nobs1 / r`.
    #[test]
    fn it_equals_statsmodels() {
        near(
            design(0.1, 1.0).sample_size(0.02, 0.8),
            3840.8474824362734,
            1e-5,
        );
        near(
            design(0.05, 1.0).sample_size(-0.01, 0.9),
            9029.05285394167,
            1e-5,
        );
        near(
            design(0.3, 2.0).sample_size(0.03, 0.8),
            2831.1523941595556,
            1e-5,
        );
        near(
            design(0.02, 0.5).sample_size(0.004, 0.8),
            31281.89941432932,
            1e-5,
        );
    }

    #[test]
    fn what_cannot_be_found_has_no_size() {
        assert_eq!(design(0.9, 1.0).sample_size(0.2, 0.8), None);
        assert_eq!(design(0.9, 1.0).sample_size(0.0, 0.8), None);
        assert_eq!(design(0.5, 1.0).mde(2.0, 0.9), None);
    }

    #[test]
    fn size_power_and_difference_say_the_same() {
        for (rate, mde, ratio) in [(0.1, 0.02, 1.0), (0.02, 0.005, 3.0), (0.6, 0.05, 0.25)] {
            let n = design(rate, ratio)
                .sample_size(mde, 0.8)
                .unwrap_or(f64::NAN);
            near(design(rate, ratio).power(mde, n), 0.8, 1e-9);
            near(design(rate, ratio).mde(n, 0.8), mde, 1e-9);
        }
    }
}
