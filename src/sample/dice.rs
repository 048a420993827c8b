//! Random draws that are the same on every platform.
//!
//! The draws are written here rather than taken from a crate of distributions, whose next version may
//! draw differently: the sample must stay the same company.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Largest multiple of the median that [`Dice::skewed`] returns: no wait outlasts the records by years.
const LONGEST_SKEW: f64 = 14.0;

/// What a series of draws is for.
///
/// Each has its own stream, so a change to one leaves the draws of all others alone.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// How busy a day is, by day number.
    Traffic(i64),
    /// What the channels cost on a day, by day number.
    Costs(i64),
    /// When a lead arrives and what it is like, by lead.
    Lead(i64),
    /// How a lead moves through the stages, by lead.
    Journey(i64),
    /// The follow-ups of a lead.
    Followups(i64),
    /// The orders of a customer, by lead.
    Orders(i64),
    /// The marketing touches of a lead.
    Touches(i64),
    /// The tags of a lead's losses.
    LossTags(i64),
}

impl Stream {
    /// The purpose is in the low three bits, the day or lead above them; it is positive and far below
    /// 2^60.
    fn number(self) -> u64 {
        let (purpose, key) = match self {
            Self::Traffic(day) => (0, day),
            Self::Costs(day) => (1, day),
            Self::Lead(lead) => (2, lead),
            Self::Journey(lead) => (3, lead),
            Self::Followups(lead) => (4, lead),
            Self::Orders(lead) => (5, lead),
            Self::Touches(lead) => (6, lead),
            Self::LossTags(lead) => (7, lead),
        };
        (key.unsigned_abs() << 3) | purpose
    }
}

/// A source of draws, fixed by a seed and a stream.
#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64, stream: Stream) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream.number());
        Self(generator)
    }

    /// Uniform on [0, 1), a multiple of 2^-53, so that it is exact.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform on [low, high).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// True with the given probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Uniform on 0..count, and 0 when `count` is 0.
    pub(super) fn below(&mut self, count: usize) -> usize {
        let index = (self.uniform() * count as f64) as usize;
        // For a huge count the product may round up to it.
        index.min(count.saturating_sub(1))
    }

    /// One of the values, each with a probability in proportion to its weight.
    pub(super) fn pick<T: Copy, const N: usize>(&mut self, weighted: &[(T, f64); N]) -> T {
        let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut left = self.uniform() * total;
        for &(value, weight) in weighted {
            if left < weight {
                return value;
            }
            left -= weight;
        }
        // Reached only when rounding leaves a crumb after the last weight.
        weighted[N - 1].0
    }

    /// A long-tailed positive number with the given median: log-logistic of shape 2.
    ///
    /// It is as skewed as the usual lognormal, and its quantile function needs only a square root.
    pub(super) fn skewed(&mut self, median: f64) -> f64 {
        let uniform = self.uniform();
        median * (uniform / (1.0 - uniform)).sqrt().min(LONGEST_SKEW)
    }

    /// Like [`Self::skewed`] with a shorter tail: log-logistic of shape 4, whose quartiles are at 0.76 and
    /// 1.32 medians.
    pub(super) fn mildly_skewed(&mut self, median: f64) -> f64 {
        median * self.skewed(1.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_different_purpose_or_key_differ() {
        let streams = [
            Stream::Traffic(1),
            Stream::Costs(1),
            Stream::Lead(1),
            Stream::Journey(1),
            Stream::Followups(1),
            Stream::Orders(1),
            Stream::Orders(2),
            Stream::Touches(1),
            Stream::LossTags(1),
        ];
        let mut first_draws: Vec<u64> = streams
            .iter()
            .map(|stream| Dice::new(7, *stream).uniform().to_bits())
            .collect();
        first_draws.sort_unstable();
        first_draws.dedup();
        assert_eq!(first_draws.len(), streams.len());
    }

    /// The value is from rand_chacha 0.9.0 on x86-64: an update that changes it changes the company.
    #[test]
    fn first_draw_is_pinned() {
        let draw = Dice::new(42, Stream::Lead(1)).uniform();
        assert_eq!(draw, 0.528_113_746_297_839_8);
    }

    #[test]
    fn skewed_has_its_median() {
        let mut dice = Dice::new(1, Stream::Lead(1));
        let below = (0..10_000).filter(|_| dice.skewed(30.0) < 30.0).count();
        assert!((4_800..5_200).contains(&below), "{below}");
    }

    #[test]
    fn pick_follows_the_weights() {
        let mut dice = Dice::new(1, Stream::Lead(1));
        let picked = (0..10_000)
            .filter(|_| dice.pick(&[('a', 3.0), ('b', 1.0)]) == 'a')
            .count();
        assert!((7_300..7_700).contains(&picked), "{picked}");
    }

    #[test]
    fn below_nothing_is_zero() {
        assert_eq!(Dice::new(1, Stream::Lead(1)).below(0), 0);
    }
}
