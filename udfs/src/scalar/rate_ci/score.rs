//! Score limits of two rates: every difference, ratio or odds ratio that the counts don't speak against.
//!
//! For a supposed value θ, let `r1` and `r2` be the likeliest rates that have it. The score statistic is
//! `χ²(θ) = Σ (k - n r)² / (n r (1-r))` over the two groups, and a limit is a θ where it reaches the square of the normal
//! deviate; Miettinen and Nurminen's takes `N / (N-1)` of that, with `N = n1 + n2`.
//!
//! The rates for a θ are usually found from a cubic equation (difference) or a quadratic one (ratios), where counts of
//! millions lose digits. Lagrange's multiplier λ of the restriction takes the equation apart, and gives the same rates:
//!
//! - difference `r1 - r2`: `k - n r = ±λ r (1-r)`
//! - ratio `r1 / r2`: `k - n r = ±λ (1-r)`
//! - odds ratio `r1 (1-r2) / (r2 (1-r1))`: `k - n r = ±λ`
//!
//! with `+` in the first group and `-` in the second. As λ grows from 0, `r1` falls and `r2` rises, so θ falls from its
//! estimate, and no term of `χ²` ever falls; the functions below say why. So the lower limit is the θ of the largest λ
//! that is within, and it is found by halving. The upper limit is the lower one of the groups swapped.
//!
//! Source: O. Miettinen and M. Nurminen, Statistics in Medicine 4 (1985), 213–226; P. A. R. Koopman, Biometrics 40 (1984),
//! 513–517, for the ratio. Cost: 64 evaluations a limit, of a few dozen operations, whatever the counts.

use super::interval::check_counts;
use crate::error::FunnelError;

/// A group that is not empty: how many of it reached the goal, and how many it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Group {
    pub(crate) reached: f64,
    /// Counted before the conversion, because the difference of two large floats may be off by one.
    pub(crate) missed: f64,
    pub(crate) size: f64,
}

impl Group {
    /// The group of `k` of `n`; `None` where it is empty.
    ///
    /// - errors: 22023 when a count is negative or `k > n`
    pub(crate) fn new((k, n): (i64, i64)) -> Result<Option<Group>, FunnelError> {
        check_counts(k, n)?;
        Ok((n > 0).then_some(Group {
            reached: k as f64,
            missed: (n - k) as f64,
            size: n as f64,
        }))
    }

    /// The share that reached the goal.
    pub(crate) fn rate(self) -> f64 {
        self.reached / self.size
    }

    /// Those who reached the goal to one who didn't; infinite where all did.
    pub(crate) fn odds(self) -> f64 {
        self.reached / self.missed
    }

    /// The same group, asked who missed the goal.
    fn mirrored(self) -> Group {
        Group {
            reached: self.missed,
            missed: self.reached,
            size: self.size,
        }
    }
}

/// The largest `χ²` inside of the interval by Miettinen and Nurminen, whose variance is `N / (N-1)` of Koopman's.
pub(crate) fn miettinen_nurminen(deviate: f64, first: Group, second: Group) -> f64 {
    // Two groups that are not empty have at least two entities.
    let entities = first.size + second.size;
    deviate * deviate * (entities / (entities - 1.0))
}

/// How far the lower limit of the difference `p1 - p2` is below the difference itself.
///
/// - `largest`: the largest `χ²` inside of the interval
/// - returns a number from 0 to 2, zero where the difference is -1
pub(crate) fn difference_below(first: Group, second: Group, largest: f64) -> f64 {
    // To raise the second rate is to lower the rate of those who missed.
    let second = second.mirrored();
    if largest == 0.0 || (first.reached == 0.0 && second.reached == 0.0) {
        return 0.0;
    }
    // From `r <= 2k / (n+λ)` follows `λ drop >= k (λ/n - 2)`, so here `χ²` is beyond.
    let bound = (first.size + second.size) * (largest + 2.0);
    let multiplier = largest_within(bound, largest, |multiplier| {
        multiplier * (drop(first, multiplier) + drop(second, multiplier))
    });
    // The sum of the drops, by what it has to be: where all of a large group missed the goal, a drop itself has few digits.
    largest / multiplier
}

/// By how much the multiplier `λ >= 0` lowers a group's rate: `k/n - r = λ r (1-r) / n`, where `k - n r = λ r (1-r)`.
///
/// It rises with `λ`, and so does `λ` times it, which is the group's part of `χ²`: in `(n + λ (1-2r)) dr = -r (1-r) dλ`
/// the factor on the left is the root below, which is not negative, so `r` falls.
fn drop(group: Group, multiplier: f64) -> f64 {
    let Group {
        reached,
        missed,
        size,
    } = group;
    // √((n+λ)² - 4λk), written as a sum of what is positive; so are both fractions.
    let excess = size - multiplier;
    let root = (excess * excess + 4.0 * multiplier * missed).sqrt();
    let rate = 2.0 * reached / (size + multiplier + root);
    let rest = if excess > 0.0 {
        2.0 * missed / (excess + root)
    } else {
        (root - excess) / (2.0 * multiplier)
    };
    multiplier * rate * rest / size
}

/// The lower limit of the ratio `p1 / p2`.
///
/// - `largest`: the largest `χ²` inside of the interval
/// - returns 0 where nobody of the first group reached the goal; infinity only where nobody of the second did and
///   `largest` is 0
pub(crate) fn ratio_lower(first: Group, second: Group, largest: f64) -> f64 {
    if first.reached == 0.0 {
        return 0.0;
    }
    // `r1 = (k1-λ) / (n1-λ)` and `r2 = (k2+λ) / (n2+λ)`. A term of `χ²` is `λ² (1-r) / (n r)`, here `λ² / (k-λ)` and there
    // `λ² / (k+λ)` times a constant; both rise.
    let of_second = |multiplier: f64| {
        multiplier * (multiplier / (second.reached + multiplier)) * (second.missed / second.size)
    };
    let ratio = |rate: f64, multiplier: f64| {
        rate * ((second.size + multiplier) / (second.reached + multiplier))
    };
    if first.missed == 0.0 {
        // `r1` is 1 up to `λ = n1`, and there it has any value: λ stands still while the first term, `n1 (1-r1) / r1`, rises.
        let left = largest - of_second(first.size);
        if left >= 0.0 {
            return ratio(first.size / (first.size + left), first.size);
        }
    }
    let multiplier = largest_within(first.reached, largest, |multiplier| {
        let of_first =
            multiplier * (multiplier / (first.reached - multiplier)) * (first.missed / first.size);
        of_first + of_second(multiplier)
    });
    let rate = (first.reached - multiplier) / (first.size - multiplier);
    ratio(rate, multiplier)
}

/// The lower limit of the odds ratio `p1 (1-p2) / (p2 (1-p1))`.
///
/// - `largest`: the largest `χ²` inside of the interval
/// - returns 0 where nobody of the first group reached the goal or all of the second did; infinity only where nobody of the
///   second or all of the first did and `largest` is 0
pub(crate) fn odds_ratio_lower(first: Group, second: Group, largest: f64) -> f64 {
    // `n1 r1 = k1-λ` and `n2 r2 = k2+λ`. To raise the second rate is to lower the rate of those who missed.
    let second = second.mirrored();
    let bound = first.reached.min(second.reached);
    if bound == 0.0 {
        return 0.0;
    }
    // A term is `λ² / (n r (1-r))`. With `a = k-λ` and `b = n-k+λ` it is `n λ² / (a b)`; `1/a` rises, and so does `λ/b`.
    let term = |group: Group, multiplier: f64| {
        let odds = multiplier / (group.reached - multiplier);
        odds * (multiplier * group.size / (group.missed + multiplier))
    };
    let multiplier = largest_within(bound, largest, |multiplier| {
        term(first, multiplier) + term(second, multiplier)
    });
    let odds = |group: Group| (group.reached - multiplier) / (group.missed + multiplier);
    odds(first) * odds(second)
}

/// The largest number from 0 to below `bound` whose statistic is not larger than `largest`.
///
/// - `bound`: not negative
/// - `statistic`: never falls; 0 at 0. It isn't asked there, so it may divide by its argument.
fn largest_within(bound: f64, largest: f64, statistic: impl Fn(f64) -> f64) -> f64 {
    // Floats that are not negative are in the order of their bits, so that each step halves what is left of 2^63 numbers:
    // the last bit is found in 63 steps at most, at any scale.
    let (mut within, mut beyond) = (0, bound.to_bits());
    while beyond - within > 1 {
        let middle = within + (beyond - within) / 2;
        if statistic(f64::from_bits(middle)) <= largest {
            within = middle;
        } else {
            beyond = middle;
        }
    }
    f64::from_bits(within)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn group(counts: (i64, i64)) -> Group {
        Group::new(counts).unwrap().unwrap()
    }

    /// `χ²` as it is published, over both groups, from a restricted rate of each.
    fn statistic(groups: [Group; 2], rates: [f64; 2]) -> f64 {
        let term = |group: Group, rate: f64| {
            (group.reached - group.size * rate).powi(2) / (group.size * rate * (1.0 - rate))
        };
        term(groups[0], rates[0]) + term(groups[1], rates[1])
    }

    /// The restricted rates of a difference, by the cubic equation in the appendix of Miettinen and Nurminen, for the
    /// second rate.
    fn rates_of_difference([first, second]: [Group; 2], diff: f64) -> [f64; 2] {
        let (n1, n2) = (first.size, second.size);
        let (k2, all) = (second.reached, first.reached + second.reached);
        let third = n1 + n2;
        let square = (n1 + 2.0 * n2) * diff - third - all;
        let linear = (n2 * diff - third - 2.0 * k2) * diff + all;
        let constant = k2 * diff * (1.0 - diff);
        let shift = square / (3.0 * third);
        let q = shift.powi(3) - square * linear / (6.0 * third * third) + constant / (2.0 * third);
        let p = (shift * shift - linear / (3.0 * third)).sqrt().copysign(q);
        let angle = (std::f64::consts::PI + (q / p.powi(3)).clamp(-1.0, 1.0).acos()) / 3.0;
        let rate = 2.0 * p * angle.cos() - shift;
        [rate + diff, rate]
    }

    /// The restricted rates of a ratio, by the quadratic equation for the second.
    fn rates_of_ratio([first, second]: [Group; 2], ratio: f64) -> [f64; 2] {
        let square = (first.size + second.size) * ratio;
        let linear = first.size * ratio + first.reached + second.size + second.reached * ratio;
        let constant = first.reached + second.reached;
        let rate = (linear - (linear * linear - 4.0 * square * constant).sqrt()) / (2.0 * square);
        [rate * ratio, rate]
    }

    /// The restricted rates of an odds ratio, by the quadratic equation for the second.
    fn rates_of_odds_ratio([first, second]: [Group; 2], ratio: f64) -> [f64; 2] {
        let all = first.reached + second.reached;
        let square = second.size * (ratio - 1.0);
        let linear = first.size * ratio + second.size - all * (ratio - 1.0);
        // Muller's form of the root, which is also good where the equation is linear.
        let rate = 2.0 * all / (linear + (linear * linear + 4.0 * square * all).sqrt());
        [rate * ratio / (1.0 + rate * (ratio - 1.0)), rate]
    }

    /// Neither none nor all, where the published equations have one good root.
    fn inner() -> impl Strategy<Value = Group> {
        (2_i64..2000)
            .prop_flat_map(|n| (1..n, Just(n)))
            .prop_map(group)
    }

    proptest! {
        #[test]
        fn the_limit_is_where_the_published_statistic_is_as_large_as_allowed(
            first in inner(), second in inner(), largest in 0.1..20.0,
        ) {
            let groups = [first, second];
            let diff = first.rate() - second.rate() - difference_below(first, second, largest);
            let ratio = ratio_lower(first, second, largest);
            let odds_ratio = odds_ratio_lower(first, second, largest);
            for (what, rates) in [
                ("difference", rates_of_difference(groups, diff)),
                ("ratio", rates_of_ratio(groups, ratio)),
                ("odds ratio", rates_of_odds_ratio(groups, odds_ratio)),
            ] {
                let found = statistic(groups, rates);
                prop_assert!((found / largest - 1.0).abs() < 1e-5, "{what}: {found}, {rates:?}");
            }
        }

        #[test]
        fn halving_finds_the_last_bit_at_any_scale(exact in 1e-300..1e300_f64, over in 1.0..1e8_f64) {
            let mut steps = 0;
            let counted = std::cell::RefCell::new(&mut steps);
            let found = largest_within(exact * over, exact, |value| {
                **counted.borrow_mut() += 1;
                value
            });
            // What is looked for is below the bound, so a bound that is met leaves the float before it.
            prop_assert!(found == exact || found.next_up() == exact, "{found}");
            prop_assert!(steps <= 63);
        }
    }

    #[test]
    fn halving_ends_without_room_and_where_all_or_nothing_is_within() {
        assert_eq!(largest_within(0.0, 1.0, |value| value), 0.0);
        assert_eq!(largest_within(5.0, 1.0, |_| f64::NAN), 0.0);
        assert_eq!(largest_within(5.0, 1.0, |_| 0.0), 5.0_f64.next_down());
    }

    #[test]
    fn nobody_and_everybody_have_the_lowest_difference_and_ratios() {
        let (nobody, everybody) = (group((0, 10)), group((20, 20)));
        assert_eq!(difference_below(nobody, everybody, 3.84), 0.0);
        assert_eq!(ratio_lower(nobody, everybody, 3.84), 0.0);
        assert_eq!(odds_ratio_lower(nobody, everybody, 3.84), 0.0);
    }

    #[test]
    fn a_limit_far_out_where_the_multiplier_stands_still() {
        // All of both groups: the restricted rates are θ and 1, so χ² = n1 (1-θ) / θ, and θ = n1 / (n1 + χ²).
        let lower = ratio_lower(group((10, 10)), group((20, 20)), 4.0);
        assert!((lower - 10.0 / 14.0).abs() < 1e-15, "{lower}");
    }
}
