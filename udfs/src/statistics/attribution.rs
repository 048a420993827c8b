//! Who gets the credit for a conversion: the channels that touched a journey before it.
//!
//! A **path** is a journey's touches in order of time, as channels. Every model splits each conversion among the channels of its
//! path, so that the credits sum to the conversions; an empty path's goes to nobody. Models of one path are
//! [`weights`]; [`markov`] looks at all paths together.

pub mod journeys;
pub mod markov;

use std::collections::BTreeSet;

use crate::error::FunnelError;

/// How credit is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Model {
    /// All to the first touch.
    First,
    /// All to the last touch.
    Last,
    /// To each touch the same.
    Linear,
    /// 40 % to the first, 40 % to the last, 20 % to those between.
    Position,
    /// Half as much for each half-life that a touch is earlier.
    TimeDecay,
    /// By how many conversions a Markov chain loses without the channel.
    Markov,
    /// The Shapley value of the channels of a path: to each distinct one the same.
    Shapley,
}

impl Model {
    /// Each model by its name.
    pub const ALL: [(&'static str, Model); 7] = [
        ("first", Model::First),
        ("last", Model::Last),
        ("linear", Model::Linear),
        ("position", Model::Position),
        ("time_decay", Model::TimeDecay),
        ("markov", Model::Markov),
        ("shapley", Model::Shapley),
    ];

    /// The model of that name, in any case.
    ///
    /// # Errors
    /// 22023 for another name.
    pub fn parse(name: &str) -> Result<Self, FunnelError> {
        let found = Self::ALL
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, model)| model).ok_or_else(|| {
            let names = Self::ALL.map(|(known, _)| format!("'{known}'"));
            FunnelError::InvalidArgument {
                message: format!("there is no attribution model \"{name}\""),
                hint: format!("Write one of {}.", names.join(", ")),
            }
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(_, model)| *model == self);
        found.map_or("", |(name, _)| name)
    }
}

/// The share of one path's credit for each of its touches, in their order; they sum to 1.
///
/// `days`: how long before the conversion each touch was. Only time decay reads it, and only its differences count. A model
/// that looks at all paths ([`Model::Markov`]) has no weights of its own: each distinct channel gets the same, as Shapley's.
pub fn weights(model: Model, path: &[u32], days: &[f64], half_life: f64) -> Vec<f64> {
    let touches = path.len();
    let mut weights = vec![0.0; touches];
    let (Some(last), true) = (touches.checked_sub(1), touches > 1) else {
        return vec![1.0; touches];
    };
    match model {
        Model::First => weights[0] = 1.0,
        Model::Last => weights[last] = 1.0,
        Model::Linear => weights.fill(1.0 / touches as f64),
        Model::Position if touches == 2 => weights.fill(0.5),
        Model::Position => {
            weights.fill(0.2 / (touches - 2) as f64);
            weights[0] = 0.4;
            weights[last] = 0.4;
        }
        Model::TimeDecay => {
            // Counted from the latest touch, so that the powers can't all vanish.
            let latest = days.iter().copied().fold(f64::INFINITY, f64::min);
            for (weight, days) in weights.iter_mut().zip(days) {
                *weight = (-(days - latest) / half_life).exp2();
            }
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= total);
        }
        Model::Shapley | Model::Markov => {
            let mut seen = BTreeSet::new();
            for (weight, channel) in weights.iter_mut().zip(path) {
                *weight = f64::from(u8::from(seen.insert(channel)));
            }
            let distinct = seen.len() as f64;
            weights.iter_mut().for_each(|weight| *weight /= distinct);
        }
    }
    weights
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(model: Model, path: &[u32]) -> Vec<f64> {
        weights(model, path, &vec![0.0; path.len()], 7.0)
    }

    #[track_caller]
    fn check(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn one_touch_gets_everything_and_no_touch_nothing() {
        for (_, model) in Model::ALL {
            assert_eq!(of(model, &[3]), [1.0]);
            assert_eq!(of(model, &[]), [0.0; 0]);
        }
    }

    #[test]
    fn each_model_has_its_weights() {
        check(&of(Model::First, &[1, 2, 1]), &[1.0, 0.0, 0.0]);
        check(&of(Model::Last, &[1, 2, 1]), &[0.0, 0.0, 1.0]);
        check(&of(Model::Linear, &[1, 2, 1, 3]), &[0.25; 4]);
        check(&of(Model::Position, &[1, 2]), &[0.5, 0.5]);
        check(&of(Model::Position, &[1, 2, 3]), &[0.4, 0.2, 0.4]);
        check(&of(Model::Position, &[1, 2, 3, 4]), &[0.4, 0.1, 0.1, 0.4]);
        check(&of(Model::Shapley, &[1, 2, 1, 1]), &[0.5, 0.5, 0.0, 0.0]);
    }

    #[test]
    fn a_touch_that_is_a_half_life_earlier_counts_half() {
        let found = weights(Model::TimeDecay, &[1, 2, 3], &[14.0, 7.0, 0.0], 7.0);
        check(&found, &[1.0 / 7.0, 2.0 / 7.0, 4.0 / 7.0]);
        // The same when the conversion is ten thousand days later.
        let found = weights(Model::TimeDecay, &[1, 2], &[10_007.0, 10_000.0], 7.0);
        check(&found, &[1.0 / 3.0, 2.0 / 3.0]);
        let found = weights(Model::TimeDecay, &[1, 2], &[1e9, 0.0], 1e-3);
        check(&found, &[0.0, 1.0]);
    }

    /// Σ over the sets S without a channel of |S|! (n − |S| − 1)! / n! · (v(S + channel) − v(S)), where v(S) are the conversions
    /// of paths that have no channel outside of S.
    #[test]
    fn equal_shares_are_the_shapley_value_of_two_to_the_n_coalitions() {
        let paths: [(&[u32], f64); 6] = [
            (&[0, 1, 0], 3.0),
            (&[2], 5.0),
            (&[0, 1, 2, 3], 2.0),
            (&[3, 3], 1.0),
            (&[1, 3, 2, 1], 7.0),
            (&[4, 0], 4.0),
        ];
        let n = 5;
        let value = |coalition: u32| -> f64 {
            let inside = paths
                .iter()
                .filter(|(path, _)| path.iter().all(|channel| coalition & (1 << channel) != 0));
            inside.map(|(_, conversions)| conversions).sum()
        };
        let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
        for channel in 0..n {
            let without = (0_u32..1 << n).filter(|set| set & (1 << channel) == 0);
            let shapley: f64 = without
                .map(|set| {
                    let size = set.count_ones();
                    factorial(size) * factorial(n - size - 1) / factorial(n)
                        * (value(set | 1 << channel) - value(set))
                })
                .sum();
            let credit: f64 = paths
                .iter()
                .map(|(path, conversions)| {
                    let shares = of(Model::Shapley, path);
                    let own = path.iter().zip(shares).filter(|(of, _)| **of == channel);
                    conversions * own.map(|(_, share)| share).sum::<f64>()
                })
                .sum();
            assert!((shapley - credit).abs() < 1e-9, "{channel}");
        }
    }

    #[test]
    fn an_unknown_model_is_an_error_that_lists_them() {
        assert_eq!(Model::parse("MARKOV").unwrap(), Model::Markov);
        let error = Model::parse("lst").unwrap_err();
        assert_eq!(error.code(), "22023");
        assert!(error.hint().unwrap_or_default().contains("'time_decay'"));
    }
}
