//! The Aalen–Johansen estimate, on counts of outcomes by time.
//!
//! The state is a sorted map from time to counts, so the order of rows and the way they were split don't matter: merging adds,
//! retracting subtracts.

use std::collections::BTreeMap;

use crate::error::FunnelError;
use crate::scalar::rate_ci::interval::Confidence;

/// How an entity's follow-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It reached the goal.
    Won,
    /// It was lost, and can't reach the goal any more.
    Lost,
    /// It was still under way when it was last looked at.
    Open,
}

impl Outcome {
    /// The outcome of that name, in lower case.
    ///
    /// - errors: 22023 when it is none of `won`, `lost` and `open`
    pub fn parse(name: &str) -> Result<Outcome, FunnelError> {
        match name {
            "won" => Ok(Outcome::Won),
            "lost" => Ok(Outcome::Lost),
            "open" => Ok(Outcome::Open),
            _ => Err(FunnelError::InvalidArgument {
                message: format!("outcome \"{name}\" is not one of won, lost and open"),
                hint: "Use CASE to turn your outcomes into 'won', 'lost' and 'open'.".to_owned(),
            }),
        }
    }
}

/// How many follow-ups ended at a time, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended by the goal.
    pub won: i64,
    /// Ended by a loss.
    pub lost: i64,
    /// Still under way.
    pub open: i64,
}

impl Counts {
    /// One entity.
    pub fn one(outcome: Outcome) -> Counts {
        let mut counts = Counts::default();
        match outcome {
            Outcome::Won => counts.won = 1,
            Outcome::Lost => counts.lost = 1,
            Outcome::Open => counts.open = 1,
        }
        counts
    }

    fn total(self) -> i64 {
        self.won + self.lost + self.open
    }
}

/// The end of each follow-up: the mergeable state of the estimate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowUps {
    /// By the bits of the time, which for floats that aren't negative sort as the floats do. No entry is all zero.
    by_time: BTreeMap<u64, Counts>,
}

impl FollowUps {
    /// Adds entities whose follow-up ended after `time` days.
    ///
    /// - errors: 22023 when `time` is negative, infinite or NaN
    pub fn add(&mut self, time: f64, counts: Counts) -> Result<(), FunnelError> {
        let sum = self.by_time.entry(key(time)?).or_default();
        // Counts of rows: 2^63 of them can't be read in a lifetime.
        sum.won += counts.won;
        sum.lost += counts.lost;
        sum.open += counts.open;
        Ok(())
    }

    /// Takes entities out that were added before, as a window frame moves on.
    ///
    /// - returns whether they were there; if not, nothing changes
    /// - errors: 22023 when `time` is negative, infinite or NaN
    pub fn retract(&mut self, time: f64, counts: Counts) -> Result<bool, FunnelError> {
        let key = key(time)?;
        let Some(sum) = self.by_time.get_mut(&key) else {
            return Ok(false);
        };
        let left = Counts {
            won: sum.won - counts.won,
            lost: sum.lost - counts.lost,
            open: sum.open - counts.open,
        };
        if left.won < 0 || left.lost < 0 || left.open < 0 {
            return Ok(false);
        }
        *sum = left;
        if left == Counts::default() {
            self.by_time.remove(&key);
        }
        Ok(true)
    }

    /// Times in ascending order, each with its counts.
    pub fn iter(&self) -> impl Iterator<Item = (f64, Counts)> {
        self.by_time
            .iter()
            .map(|(bits, counts)| (f64::from_bits(*bits), *counts))
    }

    /// Bytes of the heap, about: entries of a B-tree are two thirds of its nodes.
    pub fn heap_size(&self) -> usize {
        self.by_time.len() * size_of::<(u64, Counts)>() * 3 / 2
    }

    /// The estimate as a curve over time.
    pub fn curve(&self) -> Curve {
        let mut at_risk = self
            .by_time
            .values()
            .map(|counts| counts.total())
            .sum::<i64>();
        let (mut survival, mut won, mut lost) = (1.0, 0.0, 0.0);
        let mut won_count = 0;
        let mut steps = Vec::with_capacity(self.by_time.len());
        for (time, counts) in self.iter() {
            let share = survival / at_risk as f64;
            let survival_before = survival;
            won += share * counts.won as f64;
            lost += share * counts.lost as f64;
            // Those open at this time leave after its events, so they are at risk here.
            survival = share * (at_risk - counts.won - counts.lost) as f64;
            won_count += counts.won;
            steps.push(Step {
                time,
                counts,
                at_risk,
                survival_before,
                survival,
                won,
                lost,
                won_count,
            });
            at_risk -= counts.total();
        }
        Curve { steps }
    }
}

/// The key of a time; `+ 0.0` makes -0.0 and 0.0 one.
fn key(time: f64) -> Result<u64, FunnelError> {
    if time.is_finite() && time >= 0.0 {
        return Ok((time + 0.0).to_bits());
    }
    Err(FunnelError::InvalidArgument {
        message: format!("a follow-up can't last {time} days"),
        hint: "Give the days from the start to the outcome, or to the last look at what is open."
            .to_owned(),
    })
}

/// The estimate just after one of the times at which a follow-up ended.
#[derive(Debug, Clone, Copy)]
struct Step {
    time: f64,
    counts: Counts,
    /// Follow-ups that last until here or longer, this time's ends among them.
    at_risk: i64,
    /// The share that has neither outcome just before.
    survival_before: f64,
    /// The share that has neither outcome.
    survival: f64,
    /// The share that won.
    won: f64,
    /// The share that was lost.
    lost: f64,
    /// The entities that won.
    won_count: i64,
}

/// The estimate at every time at which a follow-up ended.
#[derive(Debug, Clone)]
pub struct Curve {
    steps: Vec<Step>,
}

/// The shares of entities by what has happened to them; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Neither outcome yet.
    pub open: f64,
    /// Reached the goal.
    pub won: f64,
    /// Lost.
    pub lost: f64,
}

/// The estimate at an age.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtAge {
    /// The age, in days.
    pub age: f64,
    /// Follow-ups that last until the age or longer.
    pub at_risk: i64,
    /// Entities that won by the age.
    pub won: i64,
    /// The probability to win by the age.
    pub estimate: Option<f64>,
    /// Its lower limit.
    pub lo: Option<f64>,
    /// Its upper limit.
    pub hi: Option<f64>,
}

impl Curve {
    /// The estimate at an age in days, with limits at the given confidence.
    ///
    /// - no estimate and no limits beyond the longest follow-up
    /// - no upper limit while nobody has won, no lower one where all have
    pub fn at(&self, age: f64, confidence: Confidence) -> AtAge {
        let reached = self.steps_until(age);
        let at_risk = self
            .steps
            .iter()
            .find(|step| step.time >= age)
            .map_or(0, |step| step.at_risk);
        let won = reached.last().map_or(0, |step| step.won_count);
        let mut found = AtAge {
            age,
            at_risk,
            won,
            estimate: None,
            lo: None,
            hi: None,
        };
        if self.covers(age) {
            // A sum of shares can be an ulp above 1.
            let estimate = reached.last().map_or(0.0, |step| step.won).min(1.0);
            found.estimate = Some(estimate);
            (found.lo, found.hi) = limits(estimate, aalen_variance(reached), confidence);
        }
        found
    }

    /// The shares of all three fates at an age; `None` beyond the longest follow-up.
    pub fn shares(&self, age: f64) -> Option<Shares> {
        let last = self.steps_until(age).last();
        let shares = last.map_or(
            Shares {
                open: 1.0,
                won: 0.0,
                lost: 0.0,
            },
            |step| Shares {
                open: step.survival,
                won: step.won,
                lost: step.lost,
            },
        );
        self.covers(age).then_some(shares)
    }

    fn covers(&self, age: f64) -> bool {
        self.steps.last().is_some_and(|last| age <= last.time)
    }

    fn steps_until(&self, age: f64) -> &[Step] {
        &self.steps[..self.steps.partition_point(|step| step.time <= age)]
    }
}

/// Aalen's variance of the last step's estimate; O. Aalen, Annals of Statistics 6 (1978), 534–545, as in
/// M. Pintilie, "Competing Risks" (2006), equation 4.5.
///
/// With `F` the estimate, `S⁻` the survival before, `n` at risk, `d` events and `w` wins at a time, and `Δ` what `F` still
/// grows after it: `Σ Δ² d / ((n-1)(n-d)) + S⁻² w(n-w) / (n²(n-1)) - 2 Δ S⁻ w(n-w) / (n(n-d)(n-1))`.
fn aalen_variance(steps: &[Step]) -> f64 {
    let Some(end) = steps.last() else { return 0.0 };
    let variance = steps.iter().map(|step| {
        let at_risk = step.at_risk as f64;
        let wins = step.counts.won as f64;
        let events = wins + step.counts.lost as f64;
        // The last entity at risk adds no term: every one would be 0 / 0.
        if at_risk <= 1.0 || events == 0.0 {
            return 0.0;
        }
        let own = step.survival_before.powi(2) * wins * (at_risk - wins)
            / (at_risk * at_risk * (at_risk - 1.0));
        // Nor do those whose events leave nobody: nothing grows after them.
        let left = at_risk - events;
        if left <= 0.0 {
            return own;
        }
        let growth = end.won - step.won;
        let shared = growth * growth * events / ((at_risk - 1.0) * left);
        let mixed = growth * step.survival_before * wins * (at_risk - wins)
            / (at_risk * left * (at_risk - 1.0));
        shared + own - 2.0 * mixed
    });
    // A variance of zero can be rounded to a little below it.
    variance.sum::<f64>().max(0.0)
}

/// The limits by the log(-log) transform, `F^exp(±z σ / (F ln F))`, which stays inside of (0, 1).
///
/// At 0 and 1 the transform has no value. The limit on the outer side is known there, the other one isn't.
fn limits(estimate: f64, variance: f64, confidence: Confidence) -> (Option<f64>, Option<f64>) {
    /// One of fewer than 1e12 entities is further from 1 than this; what is nearer is rounding.
    const ONE: f64 = 1.0 - 1e-12;
    if estimate <= 0.0 {
        return (Some(0.0), None);
    }
    if estimate >= ONE {
        return (None, Some(1.0));
    }
    let log = estimate.ln();
    let width = confidence.deviate() * variance.sqrt() / (estimate * -log);
    (
        Some((log * width.exp()).exp()),
        Some((log * (-width).exp()).exp()),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::Outcome::{Lost, Open, Won};
    use super::*;

    fn follow_ups(rows: &[(f64, Outcome)]) -> FollowUps {
        let mut all = FollowUps::default();
        for (time, outcome) in rows {
            all.add(*time, Counts::one(*outcome)).unwrap();
        }
        all
    }

    fn at(rows: &[(f64, Outcome)], age: f64, confidence: f64) -> AtAge {
        follow_ups(rows)
            .curve()
            .at(age, Confidence::new(confidence).unwrap())
    }

    #[track_caller]
    fn check(rows: &[(f64, Outcome)], confidence: f64, expected: &[(f64, f64, f64, f64)]) {
        for (age, estimate, lo, hi) in expected {
            let found = at(rows, *age, confidence);
            let pairs = [(found.estimate, estimate), (found.lo, lo), (found.hi, hi)];
            for (found_value, value) in pairs {
                assert!(
                    (found_value.unwrap() - value).abs() < 1e-12,
                    "{age}: {found:?}, not {value}"
                );
            }
        }
    }

    /// Ties of wins, losses and censorings, with t = 1 and t = 5 censored.
    const TIES: [(f64, Outcome); 12] = [
        (1.0, Won),
        (1.0, Open),
        (2.0, Lost),
        (2.0, Won),
        (2.0, Open),
        (3.0, Won),
        (3.0, Won),
        (5.0, Lost),
        (5.0, Open),
        (8.0, Won),
        (8.0, Lost),
        (13.0, Open),
    ];

    /// `sksurv.datasets.load_bmt()` (Scrucca, Santucci and Aversa, Bone Marrow Transplantation 40 (2007), 381–387):
    /// of 35 patients, those with status 1 here are won, those with 2 lost.
    const TRANSPLANTS: [(f64, Outcome); 35] = [
        (13.0, Lost),
        (1.0, Won),
        (72.0, Open),
        (7.0, Lost),
        (8.0, Lost),
        (67.0, Open),
        (9.0, Lost),
        (5.0, Lost),
        (70.0, Open),
        (4.0, Open),
        (7.0, Open),
        (68.0, Open),
        (1.0, Lost),
        (10.0, Lost),
        (7.0, Lost),
        (3.0, Won),
        (4.0, Won),
        (4.0, Won),
        (3.0, Won),
        (3.0, Won),
        (22.0, Lost),
        (8.0, Won),
        (2.0, Lost),
        (0.0, Lost),
        (0.0, Won),
        (35.0, Open),
        (35.0, Open),
        (4.0, Lost),
        (14.0, Lost),
        (26.0, Lost),
        (3.0, Lost),
        (2.0, Open),
        (8.0, Open),
        (32.0, Open),
        (12.0, Won),
    ];

    #[test]
    fn estimates_and_limits_equal_scikit_survival() {
        // scikit-survival 0.28.0: cumulative_incidence_competing_risks(event, time, conf_type="log-log",
        // var_type="Aalen", conf_level=c), with won = 1, lost = 2, open = 0.
        check(
            &TIES,
            0.95,
            &[
                (
                    1.0,
                    0.083_333_333_333_333_33,
                    0.004_218_054_979_828_888,
                    0.323_299_764_822_421_95,
                ),
                (
                    2.0,
                    0.175,
                    0.023_971_843_713_081_46,
                    0.442_962_316_198_319_4,
                ),
                (
                    4.5,
                    0.384_523_809_523_809_5,
                    0.103_568_041_700_045_88,
                    0.668_417_011_830_751_3,
                ),
                (
                    8.0,
                    0.524_206_349_206_349_1,
                    0.143_153_827_054_235_18,
                    0.806_863_791_055_305_3,
                ),
                (
                    13.0,
                    0.524_206_349_206_349_1,
                    0.143_153_827_054_235_18,
                    0.806_863_791_055_305_3,
                ),
            ],
        );
        check(
            &TIES,
            0.9,
            &[(
                3.0,
                0.384_523_809_523_809_5,
                0.138_974_868_107_773_07,
                0.629_474_202_230_814_1,
            )],
        );
        check(
            &TRANSPLANTS,
            0.95,
            &[
                (
                    0.0,
                    0.028_571_428_571_428_57,
                    0.002_090_898_356_865_393,
                    0.128_908_843_494_156_63,
                ),
                (
                    3.0,
                    0.145_812_807_881_773_4,
                    0.052_218_713_099_055_93,
                    0.284_870_018_440_673_44,
                ),
                (
                    8.0,
                    0.237_711_636_378_689_42,
                    0.110_084_089_068_693_13,
                    0.392_406_104_247_958_3,
                ),
                (
                    72.0,
                    0.272_838_987_811_873_55,
                    0.133_136_122_553_727_95,
                    0.433_145_166_867_927_76,
                ),
            ],
        );
    }

    #[test]
    fn three_of_ten_won_is_30_percent_with_losses_competing() {
        // The naive 1 - Kaplan-Meier with losses censored says more. scikit-survival 0.28.0, as above.
        let rows = [5.0, 10.0, 12.0, 15.0, 20.0, 25.0, 28.0, 30.0, 31.0, 40.0]
            .into_iter()
            .zip([Lost, Won, Lost, Won, Lost, Lost, Won, Lost, Open, Open])
            .collect::<Vec<_>>();
        check(
            &rows,
            0.95,
            &[(40.0, 0.3, 0.056_990_734_517_041_82, 0.602_917_518_454_019_2)],
        );
        let shares = follow_ups(&rows).curve().shares(40.0).unwrap();
        assert!(
            (shares.lost - 0.5).abs() < 1e-12 && (shares.open - 0.2).abs() < 1e-12,
            "{shares:?}"
        );
    }

    #[test]
    fn counts_at_an_age() {
        let counts = |age| {
            let found = at(&TIES, age, 0.95);
            (found.at_risk, found.won)
        };
        assert_eq!(counts(0.0), (12, 0));
        assert_eq!(counts(2.0), (10, 2));
        assert_eq!(counts(2.5), (7, 2));
        assert_eq!(counts(13.0), (1, 5));
        assert_eq!(counts(14.0), (0, 5));
    }

    #[test]
    fn there_is_no_estimate_beyond_the_longest_follow_up() {
        let beyond = at(&TIES, 13.5, 0.95);
        assert_eq!((beyond.estimate, beyond.lo, beyond.hi), (None, None, None));
        assert_eq!(at(&[], 0.0, 0.95).estimate, None);
        // Also where the last event left nobody at risk.
        assert_eq!(at(&[(1.0, Won)], 2.0, 0.95).estimate, None);
    }

    #[test]
    fn at_0_and_1_only_the_outer_limit_is_known() {
        // DIFFERENCE: scikit-survival 0.28.0 gives [0, 0] while nobody has won, as if nothing were uncertain.
        let none = at(&[(1.0, Lost), (2.0, Open)], 2.0, 0.95);
        assert_eq!(
            (none.estimate, none.lo, none.hi),
            (Some(0.0), Some(0.0), None)
        );
        let all = at(&[(1.0, Won), (2.0, Won), (3.0, Won)], 3.0, 0.95);
        assert_eq!((all.lo, all.hi), (None, Some(1.0)));
        assert!((all.estimate.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn impossible_times_and_outcomes_are_errors() {
        for time in [-1.0, f64::NAN, f64::INFINITY] {
            let error = FollowUps::default()
                .add(time, Counts::one(Won))
                .unwrap_err();
            assert_eq!(error.code(), "22023", "{time}");
        }
        assert_eq!(Outcome::parse("Won").unwrap_err().code(), "22023");
        assert_eq!(follow_ups(&[(0.0, Won), (-0.0, Won)]).by_time.len(), 1);
    }

    #[test]
    fn retract_of_an_unseen_follow_up_changes_nothing() {
        let mut all = follow_ups(&TIES);
        assert!(!all.retract(4.0, Counts::one(Won)).unwrap());
        assert!(!all.retract(13.0, Counts::one(Won)).unwrap());
        assert_eq!(all, follow_ups(&TIES));
    }

    /// Follow-ups in whole days, so that there are ties.
    fn rows() -> impl Strategy<Value = Vec<(f64, Outcome)>> {
        let outcome = proptest::sample::select(vec![Won, Lost, Open]);
        proptest::collection::vec(
            (0_u8..40)
                .prop_map(f64::from)
                .prop_flat_map(move |t| (Just(t), outcome.clone())),
            1..200,
        )
    }

    proptest! {
        #[test]
        fn the_shares_sum_to_1(rows in rows()) {
            let curve = follow_ups(&rows).curve();
            for age in 0..40 {
                if let Some(shares) = curve.shares(f64::from(age)) {
                    prop_assert!((shares.open + shares.won + shares.lost - 1.0).abs() < 1e-12, "{shares:?}");
                }
            }
        }

        #[test]
        fn limits_are_numbers_around_the_estimate(rows in rows(), confidence in 0.01..0.999_999) {
            for age in 0..40 {
                let found = at(&rows, f64::from(age), confidence);
                let Some(estimate) = found.estimate else { continue };
                prop_assert!((0.0..=1.0).contains(&estimate), "{found:?}");
                prop_assert!(found.lo.is_none_or(|lo| (0.0..=estimate + 1e-12).contains(&lo)), "{found:?}");
                prop_assert!(found.hi.is_none_or(|hi| (estimate - 1e-12..=1.0).contains(&hi)), "{found:?}");
            }
        }

        #[test]
        fn order_and_partition_change_nothing(rows in rows(), shuffled in any::<u64>(), split in 0.0..1.0) {
            let mut other_order = rows.clone();
            // A cheap permutation: rows by a hash of their position.
            let mut position = shuffled;
            other_order.sort_by_cached_key(|_| {
                position = position.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                position
            });
            prop_assert_eq!(follow_ups(&other_order), follow_ups(&rows));

            let (left, right) = other_order.split_at((split * rows.len() as f64) as usize);
            let mut merged = follow_ups(left);
            for (time, counts) in follow_ups(right).iter() {
                merged.add(time, counts).unwrap();
            }
            prop_assert_eq!(&merged, &follow_ups(&rows));

            for (time, counts) in follow_ups(right).iter() {
                prop_assert!(merged.retract(time, counts).unwrap());
            }
            prop_assert_eq!(merged, follow_ups(left));
        }

        #[test]
        fn every_row_many_times_leaves_the_estimate(rows in rows(), times in 2_usize..5) {
            let often = rows.iter().flat_map(|row| std::iter::repeat_n(*row, times)).collect::<Vec<_>>();
            for age in [0.0, 10.0, 39.0] {
                let (once, often) = (at(&rows, age, 0.95), at(&often, age, 0.95));
                prop_assert_eq!(once.won * times as i64, often.won);
                prop_assert_eq!(once.estimate.is_some(), often.estimate.is_some());
                let difference = once.estimate.unwrap_or(0.0) - often.estimate.unwrap_or(0.0);
                prop_assert!(difference.abs() < 1e-12, "{once:?} {often:?}");
            }
        }

        #[test]
        fn without_open_ones_it_is_the_plain_rate(rows in rows(), age in 0_u8..40) {
            let closed = rows.into_iter().filter(|(_, outcome)| *outcome != Open).collect::<Vec<_>>();
            let found = at(&closed, f64::from(age), 0.95);
            if let Some(estimate) = found.estimate {
                prop_assert!((estimate - found.won as f64 / closed.len() as f64).abs() < 1e-12, "{found:?}");
            }
        }
    }
}
