//! What would a stage's better rate bring, and how sure is that?
//!
//! Of `N` entities that enter, `N·Πr_j` get through all stages. With the rate `b` in the place of `r_k` there would be
//! `gain = N·Π_{j≠k} r_j·(b - r_k)` more. By the delta method, with `Q = N·Π_{j≠k} r_j`,
//!
//! `var = Q² (var b + var r_k) + (b - r_k)² Q² Σ_{j≠k} var r_j / r_j²`, where `var r = r(1-r)/n`.
//!
//! - A stage that nobody entered has no rate; its benchmark stands in its place (*imputed*), so that the stage before it, which
//!   lets nobody pass, has a gain.
//! - At `k = 0` and `k = n` the variance of a rate isn't zero: it is that of `(k + ½) / (n + 1)`.
//! - Where another stage's rate is zero, this one's benchmark brings nothing by itself: the gain is 0, without limits
//!   (`product_zero`).
//! - `worth` is what one more success is worth; its own uncertainty is added in the same way.
//!
//! - source: the delta method of a product, L. A. Goodman, JASA 55 (1960), 708–713
//! - cost: the square of the number of stages

use statrs::distribution::{ContinuousCDF, Normal};

/// What is known of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Those that went on.
    pub k: f64,
    /// Those that entered.
    pub n: f64,
    /// The rate that it is held against.
    pub benchmark: Option<f64>,
    /// Its standard error; 0 where it is a promise and no estimate.
    pub benchmark_se: f64,
}

/// What one more success is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub se: f64,
}

/// What a stage's benchmark would bring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// How much more, not below 0; `None` where it isn't known.
    pub gain: Option<f64>,
    /// Its lower limit, not below 0.
    pub lo: Option<f64>,
    /// Its upper limit, not below 0.
    pub hi: Option<f64>,
    /// The probability that it is above 0.
    pub p_positive: Option<f64>,
    /// Whether the benchmark stands in the place of a rate that isn't known.
    pub imputed: bool,
    /// `ok`, `no_data`, `no_benchmark`, `product_zero`
    pub status: &'static str,
}

/// A rate as it enters the product.
#[derive(Clone, Copy)]
struct Factor {
    rate: f64,
    variance: f64,
}

impl Stage {
    fn observed(&self) -> Option<Factor> {
        (self.n > 0.0).then(|| {
            let is_corner = self.k == 0.0 || self.k == self.n;
            let inner = match is_corner {
                true => (self.k + 0.5) / (self.n + 1.0),
                false => self.k / self.n,
            };
            Factor {
                rate: self.k / self.n,
                variance: inner * (1.0 - inner) / self.n,
            }
        })
    }

    fn benchmark(&self) -> Option<Factor> {
        self.benchmark.map(|rate| Factor {
            rate,
            variance: self.benchmark_se * self.benchmark_se,
        })
    }
}

/// What each stage's benchmark would bring; the stages in their order, the last one's successes are what counts.
///
/// - `deviate`: the standard normal deviate of the limits, 1.96 for 95 %
pub fn gains(stages: &[Stage], worth: Worth, deviate: f64) -> Vec<Gain> {
    let entered = stages.first().map_or(0.0, |stage| stage.n);
    (0..stages.len())
        .map(|at| gain(stages, at, entered, worth, deviate))
        .collect()
}

fn gain(stages: &[Stage], at: usize, entered: f64, worth: Worth, deviate: f64) -> Gain {
    let stage = &stages[at];
    let without = |status| Gain {
        gain: None,
        lo: None,
        hi: None,
        p_positive: None,
        imputed: stage.n <= 0.0 && stage.benchmark.is_some(),
        status,
    };
    let Some(own) = stage.observed() else {
        return without("no_data");
    };
    let Some(benchmark) = stage.benchmark() else {
        return without("no_benchmark");
    };
    let others = stages.iter().enumerate().filter(|(other, _)| *other != at);
    let others = others.map(|(_, other)| other.observed().or(other.benchmark()));
    let Some(others) = others.collect::<Option<Vec<Factor>>>() else {
        return without("no_data");
    };
    if others.iter().any(|other| other.rate <= 0.0) {
        return Gain {
            gain: Some(0.0),
            ..without("product_zero")
        };
    }
    let product = entered * others.iter().map(|other| other.rate).product::<f64>();
    let spread: f64 = others
        .iter()
        .map(|other| other.variance / (other.rate * other.rate))
        .sum();
    let gap = benchmark.rate - own.rate;
    let scale = product * worth.mean;
    let mut variance = scale * scale * (benchmark.variance + own.variance + gap * gap * spread);
    variance += (product * gap * worth.se).powi(2);
    let (raw, se) = (scale * gap, variance.sqrt());
    Gain {
        gain: Some(raw.max(0.0)),
        lo: Some((raw - deviate * se).max(0.0)),
        hi: Some((raw + deviate * se).max(0.0)),
        p_positive: (se > 0.0).then(|| Normal::standard().cdf(raw / se)),
        ..without("ok")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const ONE: Worth = Worth { mean: 1.0, se: 0.0 };
    const DEVIATE: f64 = 1.959_963_984_540_054;

    fn stage(k: f64, n: f64, benchmark: f64) -> Stage {
        Stage {
            k,
            n,
            benchmark: Some(benchmark),
            benchmark_se: 0.0,
        }
    }

    #[track_caller]
    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
            "{found}, not {expected}"
        );
    }

    #[test]
    fn the_lowest_rate_is_not_the_largest_gain() {
        // By hand: 1000 enter, 200 → 150 → 90. The first stage has the lowest rate and is near its benchmark.
        let stages = [
            stage(200.0, 1000.0, 0.21),
            stage(150.0, 200.0, 0.80),
            stage(90.0, 150.0, 0.80),
        ];
        let found = gains(&stages, ONE, DEVIATE);
        near(found[0].gain, 1000.0 * 0.75 * 0.6 * 0.01);
        near(found[1].gain, 1000.0 * 0.2 * 0.6 * 0.05);
        near(found[2].gain, 1000.0 * 0.2 * 0.75 * 0.2);
        // The limits by numpy 2.4.6: 30 ± 1.959963984540054 sqrt(150² · 0.6·0.4/150 + 30² (0.8/(1000·0.2) + 0.25/(200·0.75)))
        near(found[2].lo, 17.434_811_679_464_23);
        near(found[2].hi, 42.565_188_320_535_77);
        near(found[2].p_positive, 0.999_998_562_190_614_1);
    }

    #[test]
    fn a_rate_above_its_benchmark_gains_nothing() {
        let found = gains(
            &[stage(90.0, 100.0, 0.5), stage(30.0, 90.0, 0.4)],
            ONE,
            DEVIATE,
        );
        assert_eq!(
            (found[0].gain, found[0].lo, found[0].hi),
            (Some(0.0), Some(0.0), Some(0.0))
        );
        assert!(found[0].p_positive.unwrap() < 1e-6);
    }

    #[test]
    fn the_stage_before_one_that_nobody_entered_still_counts() {
        let stages = [
            stage(50.0, 100.0, 0.6),
            stage(0.0, 50.0, 0.4),
            stage(0.0, 0.0, 0.5),
        ];
        let found = gains(&stages, ONE, DEVIATE);
        // 100 · 0.5 · 0.5 · 0.4: the third stage's benchmark stands in the place of its rate.
        near(found[1].gain, 10.0);
        assert!(found[1].lo.unwrap() > 0.0);
        assert_eq!((found[1].status, found[1].imputed), ("ok", false));
        assert_eq!(
            (found[2].status, found[2].imputed, found[2].gain),
            ("no_data", true, None)
        );
        // Nobody passes the second stage, so the first one's benchmark brings nothing by itself.
        assert_eq!(
            (found[0].status, found[0].gain, found[0].hi),
            ("product_zero", Some(0.0), None)
        );
    }

    #[test]
    fn two_zeros_leave_no_gain() {
        let stages = [stage(0.0, 100.0, 0.6), stage(0.0, 50.0, 0.4)];
        for found in gains(&stages, ONE, DEVIATE) {
            assert_eq!(
                (found.status, found.gain, found.lo),
                ("product_zero", Some(0.0), None)
            );
        }
    }

    #[test]
    fn what_is_not_known_has_no_gain() {
        let unknown = Stage {
            benchmark: None,
            ..stage(5.0, 10.0, 0.0)
        };
        let found = gains(&[unknown, stage(2.0, 5.0, 0.5)], ONE, DEVIATE);
        assert_eq!((found[0].status, found[0].gain), ("no_benchmark", None));
        near(found[1].gain, 10.0 * 0.5 * 0.1);
        let empty = Stage {
            n: 0.0,
            k: 0.0,
            ..unknown
        };
        let found = gains(&[stage(5.0, 10.0, 0.6), empty], ONE, DEVIATE);
        assert_eq!((found[0].status, found[1].status), ("no_data", "no_data"));
        assert!(!found[1].imputed);
        assert!(gains(&[], ONE, DEVIATE).is_empty());
    }

    #[test]
    fn worth_scales_the_gain_and_adds_its_own_error() {
        let stages = [stage(50.0, 100.0, 0.6), stage(20.0, 50.0, 0.4)];
        let one = gains(&stages, ONE, DEVIATE)[0];
        let many = gains(
            &stages,
            Worth {
                mean: 1000.0,
                se: 0.0,
            },
            DEVIATE,
        )[0];
        near(many.gain, 1000.0 * one.gain.unwrap());
        near(many.hi, 1000.0 * one.hi.unwrap());
        let unsure = gains(
            &stages,
            Worth {
                mean: 1000.0,
                se: 100.0,
            },
            DEVIATE,
        )[0];
        let square = |hi: f64| ((hi - 4000.0) / DEVIATE).powi(2);
        near(
            Some(square(unsure.hi.unwrap())),
            square(many.hi.unwrap()) + 400.0_f64.powi(2),
        );
    }

    #[test]
    fn limits_hold_the_true_gain_nineteen_times_in_twenty() {
        let mut seed = 5_u64;
        let mut uniform = || {
            // SplitMix64
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = seed;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        let rates = [0.6, 0.5, 0.7];
        let (benchmark, base) = (0.62, 400.0);
        let truth = 1000.0 * 0.6 * 0.7 * (benchmark - 0.5);
        let (mut held, runs) = (0, 1_000);
        for _ in 0..runs {
            let mut of = 1000.0;
            let mut stages = Vec::new();
            for rate in rates {
                let k = (0..of as i64).filter(|_| uniform() < rate).count() as f64;
                stages.push(stage(k, of, rate));
                of = k;
            }
            // The benchmark of the second stage is estimated from 400 entities of their own.
            let found = (0..400).filter(|_| uniform() < benchmark).count() as f64 / base;
            stages[1].benchmark = Some(found);
            stages[1].benchmark_se = (found * (1.0 - found) / base).sqrt();
            let gain = gains(&stages, ONE, DEVIATE)[1];
            held += i32::from((gain.lo.unwrap()..=gain.hi.unwrap()).contains(&truth));
        }
        let coverage = f64::from(held) / f64::from(runs);
        assert!((0.935..0.965).contains(&coverage), "{coverage}");
    }
}
