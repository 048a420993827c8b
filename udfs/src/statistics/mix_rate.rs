//! How much of a rate's change lies in the segments' own rates, and how much in who is there.
//!
//! With a segment's share `w = n / Σ n`, its rate `r = k / n`, `R = Σ w r`, a bar for the mean of the two periods and `Δ` for the
//! difference, `ΔR = Σ (rate effect + mix effect)` exactly:
//!
//! - rate effect `= w̄ · Δr`
//! - mix effect `= Δw · (r̄ - R̄)`: more of a segment that is better than the average lifts the rate
//!
//! A segment that is there in one period only has no `Δr`; all of its effect is mix. E. M. Kitagawa, JASA 50 (1955), 1168–1194.
//!
//! The intervals are by the delta method: the segments' rates are binomial, their shares multinomial, the periods independent. A rate
//! of 0 or 1 counts as `(k + ½) / (n + 1)` for its variance, which would be none otherwise. The limits of the whole change are Newcombe's.
//!
//! Simpson's paradox: (nearly) all segments go one way, and the whole goes the other.

use super::two_sided;
use crate::error::FunnelError;
use crate::scalar::rate_ci::interval::Confidence;
use crate::scalar::rate_diff_ci::{DifferenceMethod, rate_difference};

/// Segments that go the same way, by their share of both periods, for the paradox to be one of (nearly) all segments.
const NEARLY_ALL: f64 = 0.9;

/// Entities and those of them that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// The successes.
    pub k: i64,
    /// All.
    pub n: i64,
}

/// A number with its limits at 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limited {
    /// The number.
    pub value: f64,
    /// The limits.
    pub limits: (f64, f64),
}

/// The parts of a segment, or of all together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixRate {
    /// What the rates of the segments changed.
    pub rate: Limited,
    /// What their shares changed.
    pub mix: Limited,
    /// Both.
    pub total: Limited,
    /// Whether it is part of Simpson's paradox.
    pub simpson: bool,
}

/// The parts of all together, and of each segment; nothing where a period is empty.
///
/// - `segments`: base and current of each
/// - errors: 22023 for counts that can't be
pub fn mix_rate(segments: &[[Counted; 2]]) -> Result<Option<(MixRate, Vec<MixRate>)>, FunnelError> {
    for counted in segments.iter().flatten() {
        if counted.k < 0 || counted.k > counted.n {
            return Err(FunnelError::InvalidArgument {
                message: format!("{} of {} can't succeed", counted.k, counted.n),
                hint: "Give counts with 0 <= k <= n.".to_owned(),
            });
        }
    }
    let whole = [0, 1].map(|period| {
        let of_period = segments.iter().map(|segment| segment[period]);
        of_period.fold(Counted::default(), |sum, one| Counted {
            k: sum.k + one.k,
            n: sum.n + one.n,
        })
    });
    if whole.iter().any(|period| period.n == 0) {
        return Ok(None);
    }
    let parts: Vec<Part> = segments
        .iter()
        .map(|segment| Part::new(*segment, whole))
        .collect();
    let all = All::new(&parts, whole);
    let total = whole_change(whole)?;
    let is_paradox = is_paradox(&parts, total.value);
    let found = parts.iter().map(|part| MixRate {
        rate: part.rate_effect(&all),
        mix: part.mix_effect(&all),
        total: part.total(&all),
        simpson: is_paradox
            && part
                .change()
                .is_some_and(|change| change * total.value < 0.0),
    });
    let whole = MixRate {
        rate: all.rate_effect(&parts),
        mix: all.mix_effect(&parts),
        total,
        simpson: is_paradox,
    };
    Ok(Some((whole, found.collect())))
}

/// The change of a rate with Newcombe's limits.
fn whole_change([base, current]: [Counted; 2]) -> Result<Limited, FunnelError> {
    let found = rate_difference(
        (current.k, current.n),
        (base.k, base.n),
        Confidence::new(0.95)?,
        DifferenceMethod::default(),
    )?;
    Ok(match found {
        Some(found) => Limited {
            value: found.diff,
            limits: (found.lo, found.hi),
        },
        None => Limited {
            value: 0.0,
            limits: (0.0, 0.0),
        },
    })
}

fn is_paradox(parts: &[Part], total: f64) -> bool {
    if total == 0.0 {
        return false;
    }
    let weight = |part: &Part| part.share[0] + part.share[1];
    let against: Vec<&Part> = parts
        .iter()
        .filter(|part| part.change().is_some_and(|change| change * total < 0.0))
        .collect();
    against.len() >= 2 && against.iter().map(|part| weight(part)).sum::<f64>() >= 2.0 * NEARLY_ALL
}

/// One segment, base and current.
struct Part {
    share: [f64; 2],
    rate: [Option<f64>; 2],
    /// Of the rates.
    variance: [f64; 2],
}

/// What all segments have in common.
struct All {
    volume: [f64; 2],
    rate: [f64; 2],
    /// Σ w r² and Σ v w², in each period.
    squares: [(f64, f64); 2],
}

/// A linear form of a period's shares and rates: `h` of the own share, `b` of the own rate, `-c` of the rate of all.
struct Slopes {
    h: f64,
    b: f64,
    c: f64,
}

impl Part {
    fn new(counted: [Counted; 2], whole: [Counted; 2]) -> Self {
        let period = |at: usize| (counted[at].k as f64, counted[at].n as f64);
        Self {
            share: [0, 1].map(|at| period(at).1 / whole[at].n as f64),
            rate: [0, 1].map(|at| (counted[at].n > 0).then(|| period(at).0 / period(at).1)),
            variance: [0, 1].map(|at| rate_variance(period(at).0, period(at).1)),
        }
    }

    /// `Δr`, where the segment is there in both periods.
    fn change(&self) -> Option<f64> {
        Some(self.rate[1]? - self.rate[0]?)
    }

    fn mean_share(&self) -> f64 {
        (self.share[0] + self.share[1]) / 2.0
    }

    fn share_change(&self) -> f64 {
        self.share[1] - self.share[0]
    }

    /// `r̄`: the mean of both rates, or the one that there is.
    fn mean_rate(&self) -> f64 {
        match self.rate {
            [Some(base), Some(current)] => (base + current) / 2.0,
            [base, current] => base.or(current).unwrap_or(0.0),
        }
    }

    /// By how much of a period's rate `r̄` moves.
    fn rate_weight(&self, period: usize) -> f64 {
        match self.rate {
            [Some(_), Some(_)] => 0.5,
            _ => f64::from(u8::from(self.rate[period].is_some())),
        }
    }

    fn rate_slopes(&self, period: usize) -> Slopes {
        let change = self.change().unwrap_or(0.0);
        let sign = [-1.0, 1.0][period];
        let is_in_both = self.change().is_some();
        Slopes {
            h: change / 2.0,
            b: sign * self.mean_share() * f64::from(u8::from(is_in_both)),
            c: 0.0,
        }
    }

    fn mix_slopes(&self, period: usize, all: &All) -> Slopes {
        let sign = [-1.0, 1.0][period];
        Slopes {
            h: sign * (self.mean_rate() - all.mean_rate()),
            b: self.share_change() * self.rate_weight(period),
            c: self.share_change() / 2.0,
        }
    }

    fn limited(&self, value: f64, all: &All, slopes: impl Fn(usize) -> Slopes) -> Limited {
        let variance = [0, 1].map(|period| {
            let Slopes { h, b, c } = slopes(period);
            let (w, v) = (self.share[period], self.variance[period]);
            let r = self.rate[period].unwrap_or(0.0);
            let (rate_squares, variance_squares) = all.squares[period];
            let of_rates = c * c * variance_squares - 2.0 * c * b * w * v + b * b * v;
            let square = c * c * rate_squares - 2.0 * c * h * w * r + h * h * w;
            let mean = h * w - c * all.rate[period];
            of_rates + (square - mean * mean) / all.volume[period]
        });
        let spread = (variance[0] + variance[1]).max(0.0).sqrt();
        Limited {
            value,
            limits: two_sided(value, spread),
        }
    }

    fn rate_effect(&self, all: &All) -> Limited {
        let value = self.mean_share() * self.change().unwrap_or(0.0);
        self.limited(value, all, |period| self.rate_slopes(period))
    }

    fn mix_value(&self, all: &All) -> f64 {
        self.share_change() * (self.mean_rate() - all.mean_rate())
    }

    fn mix_effect(&self, all: &All) -> Limited {
        self.limited(self.mix_value(all), all, |period| {
            self.mix_slopes(period, all)
        })
    }

    fn total(&self, all: &All) -> Limited {
        let value = self.mean_share() * self.change().unwrap_or(0.0) + self.mix_value(all);
        self.limited(value, all, |period| {
            let (rate, mix) = (self.rate_slopes(period), self.mix_slopes(period, all));
            Slopes {
                h: rate.h + mix.h,
                b: rate.b + mix.b,
                c: rate.c + mix.c,
            }
        })
    }
}

impl All {
    fn new(parts: &[Part], whole: [Counted; 2]) -> Self {
        let sum = |of: &dyn Fn(&Part) -> f64| parts.iter().map(of).sum::<f64>();
        Self {
            volume: whole.map(|period| period.n as f64),
            rate: whole.map(|period| period.k as f64 / period.n as f64),
            squares: [0, 1].map(|at| {
                let rates = sum(&|part| part.share[at] * part.rate[at].unwrap_or(0.0).powi(2));
                let variances = sum(&|part| part.variance[at] * part.share[at].powi(2));
                (rates, variances)
            }),
        }
    }

    fn mean_rate(&self) -> f64 {
        (self.rate[0] + self.rate[1]) / 2.0
    }

    /// The sum of the segments' effects, where a period's slope by a segment's share is the first and by its rate the second number.
    fn summed(
        &self,
        parts: &[Part],
        value: impl Fn(&Part) -> f64,
        slopes: impl Fn(&Part, usize) -> (f64, f64),
    ) -> Limited {
        let variance = [0, 1].map(|period| {
            let (mut of_rates, mut square, mut mean) = (0.0, 0.0, 0.0);
            for part in parts {
                let (h, b) = slopes(part, period);
                of_rates += b * b * part.variance[period];
                square += h * h * part.share[period];
                mean += h * part.share[period];
            }
            of_rates + (square - mean * mean) / self.volume[period]
        });
        let value = parts.iter().map(value).sum();
        let spread = (variance[0] + variance[1]).max(0.0).sqrt();
        Limited {
            value,
            limits: two_sided(value, spread),
        }
    }

    fn rate_effect(&self, parts: &[Part]) -> Limited {
        let value = |part: &Part| part.mean_share() * part.change().unwrap_or(0.0);
        self.summed(parts, value, |part, period| {
            let Slopes { h, b, .. } = part.rate_slopes(period);
            (h, b)
        })
    }

    /// `Σ Δw (r̄ - R̄)`, where `R̄` has no effect on the sum.
    fn mix_effect(&self, parts: &[Part]) -> Limited {
        let value = |part: &Part| part.mix_value(self);
        self.summed(parts, value, |part, period| {
            let Slopes { h, b, .. } = part.mix_slopes(period, self);
            (h, b)
        })
    }
}

/// The variance of a rate; a rate of 0 or 1 counts as half a success away from it.
fn rate_variance(k: f64, n: f64) -> f64 {
    if n <= 0.0 {
        return 0.0;
    }
    let rate = match k <= 0.0 || k >= n {
        true => (k + 0.5) / (n + 1.0),
        false => k / n,
    };
    rate * (1.0 - rate) / n
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn counted(k: i64, n: i64) -> Counted {
        Counted { k, n }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn all_segments_rise_and_the_whole_falls() {
        // Both go up by five points, from 60 and 20 to 65 and 25 %; the weak one's share goes from 25 to 85 %.
        let segments = [
            [counted(450, 750), counted(98, 150)],
            [counted(50, 250), counted(212, 850)],
        ];
        let (whole, parts) = mix_rate(&segments).unwrap().unwrap();
        assert!(near(whole.total.value, 0.31 - 0.5), "{whole:?}");
        assert!(whole.simpson && parts.iter().all(|part| part.simpson));
        assert!(whole.rate.value > 0.0 && whole.mix.value < whole.total.value);
        assert!(near(whole.rate.value + whole.mix.value, whole.total.value));
        assert!(whole.total.limits.1 < 0.0 && whole.rate.limits.0 > 0.0);
    }

    #[test]
    fn a_segment_of_one_period_is_all_mix() {
        let segments = [
            [counted(50, 100), counted(50, 100)],
            [counted(0, 0), counted(10, 100)],
        ];
        let (whole, parts) = mix_rate(&segments).unwrap().unwrap();
        assert!(near(parts[1].rate.value, 0.0));
        assert!(near(whole.total.value, 0.3 - 0.5));
        // 1/2 · (0.1 - 0.4) and, of the other one, -1/2 · (0.5 - 0.4)
        assert!(near(parts[1].mix.value, -0.15) && near(parts[0].total.value, -0.05));
        assert!(!whole.simpson);
    }

    #[test]
    fn without_a_period_there_is_nothing_to_say() {
        assert_eq!(mix_rate(&[[counted(0, 0), counted(1, 2)]]).unwrap(), None);
        assert_eq!(mix_rate(&[]).unwrap(), None);
        assert!(mix_rate(&[[counted(3, 2), counted(1, 2)]]).is_err());
    }

    proptest! {
        #[test]
        fn effects_sum_to_the_change_and_turn_round_with_the_periods(
            raw in prop::collection::vec([(0_i64..50, 0_i64..50), (0_i64..50, 0_i64..50)], 1..8)
        ) {
            let segments: Vec<[Counted; 2]> = raw
                .iter()
                .map(|pair| pair.map(|(k, more)| counted(k, k + more)))
                .collect();
            let Some((whole, parts)) = mix_rate(&segments).unwrap() else { return Ok(()); };
            let sum: f64 = parts.iter().map(|part| part.total.value).sum();
            prop_assert!((sum - whole.total.value).abs() < 1e-9);
            prop_assert!((whole.rate.value + whole.mix.value - whole.total.value).abs() < 1e-9);
            for part in parts.iter().chain([&whole]) {
                for limited in [part.rate, part.mix, part.total] {
                    let (lo, hi) = limited.limits;
                    prop_assert!(lo <= limited.value + 1e-12 && limited.value <= hi + 1e-12);
                }
            }
            let turned: Vec<[Counted; 2]> = segments.iter().map(|[base, current]| [*current, *base]).collect();
            let (back, back_parts) = mix_rate(&turned).unwrap().unwrap();
            prop_assert!((back.total.value + whole.total.value).abs() < 1e-9);
            for (one, other) in parts.iter().zip(&back_parts) {
                prop_assert!((one.rate.value + other.rate.value).abs() < 1e-9);
                prop_assert!((one.mix.limits.0 + other.mix.limits.1).abs() < 1e-9);
            }
        }

        /// The slopes against differences of the whole computation.
        #[test]
        fn standard_errors_are_those_of_numeric_derivatives(
            raw in prop::collection::vec([(5_i64..50, 5_i64..50), (5_i64..50, 5_i64..50)], 2..5)
        ) {
            let segments: Vec<[(f64, f64); 2]> = raw
                .iter()
                .map(|pair| pair.map(|(k, more)| (k as f64, (k + more) as f64)))
                .collect();
            // Of the total of the first segment, by the independent Poisson counts and rates.
            let total = |n: &[[f64; 2]], r: &[[f64; 2]]| {
                let all = [0, 1].map(|p| n.iter().map(|n| n[p]).sum::<f64>());
                let rate = [0, 1].map(|p| n.iter().zip(r).map(|(n, r)| n[p] * r[p] / all[p]).sum::<f64>());
                let w = [0, 1].map(|p| n[0][p] / all[p]);
                let mean = (rate[0] + rate[1]) / 2.0;
                (w[0] + w[1]) / 2.0 * (r[0][1] - r[0][0]) + (w[1] - w[0]) * ((r[0][0] + r[0][1]) / 2.0 - mean)
            };
            let n: Vec<[f64; 2]> = segments.iter().map(|s| s.map(|(_, n)| n)).collect();
            let r: Vec<[f64; 2]> = segments.iter().map(|s| s.map(|(k, n)| k / n)).collect();
            let mut variance = 0.0;
            for s in 0..n.len() {
                for p in 0..2 {
                    let slope = |of_n: bool| {
                        let step = if of_n { n[s][p] * 1e-5 } else { 1e-5 };
                        let at = |sign: f64| {
                            let (mut n, mut r) = (n.clone(), r.clone());
                            if of_n { n[s][p] += sign * step } else { r[s][p] += sign * step }
                            total(&n, &r)
                        };
                        (at(1.0) - at(-1.0)) / (2.0 * step)
                    };
                    variance += slope(true).powi(2) * n[s][p];
                    variance += slope(false).powi(2) * r[s][p] * (1.0 - r[s][p]) / n[s][p];
                }
            }
            let counts: Vec<[Counted; 2]> = segments
                .iter()
                .map(|s| s.map(|(k, n)| counted(k as i64, n as i64)))
                .collect();
            let (_, parts) = mix_rate(&counts).unwrap().unwrap();
            let found = (parts[0].total.limits.1 - parts[0].total.value) / 1.959963984540054;
            prop_assert!((found - variance.sqrt()).abs() < 1e-6 * variance.sqrt(), "{} {}", found, variance.sqrt());
        }
    }
}
