//! The Aalen–Johansen estimate: the shares that were won and lost by a time, where each outcome competes with the other.
//!
//! `F_k(t) = Σ S(t-) d_k / n` over the times `<= t`, with `d_k` ends by outcome `k`, `n` follow-ups that last until then or
//! longer, and `S` the share that has neither outcome. `S + F_won + F_lost = 1` at every time. Everything, the variances
//! too, is one pass over the distinct times.
//!
//! Source: O. Aalen and S. Johansen, Scandinavian Journal of Statistics 5 (1978), 141–150.

use super::QUANTILE_TOLERANCE;
use super::kaplan_meier::check_share;
use super::life_table::{Counts, LifeTable};
use super::log_log::log_log_limits;
use crate::error::FunnelError;
use crate::scalar::rate_ci::interval::Confidence;

/// The estimate at every time at which a follow-up ended.
#[derive(Debug, Clone)]
pub struct Curve {
    steps: Vec<Step>,
}

/// The estimate just after one of the times at which a follow-up ended.
#[derive(Debug, Clone, Copy)]
struct Step {
    t: f64,
    /// Follow-ups that last until here or longer, this time's ends among them.
    at_risk: i64,
    ends: Counts,
    /// The share that has neither outcome.
    survival: f64,
    won: Share,
    lost: Share,
    /// The entities that won until here.
    won_count: i64,
}

/// An estimated share, and how sure it is.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    estimate: f64,
    variance: f64,
}

/// A share of entities with its limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShareInterval {
    /// The share, a fraction.
    pub estimate: f64,
    /// The lower limit; `None` where everybody has the outcome.
    pub lo: Option<f64>,
    /// The upper limit; `None` where nobody has the outcome.
    pub hi: Option<f64>,
}

/// The estimate just after one of the times at which a follow-up ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Days since the start.
    pub t: f64,
    /// Follow-ups that last until here or longer, this time's ends among them.
    pub at_risk: i64,
    /// The follow-ups that ended at just this time.
    pub ends: Counts,
    /// The share that has neither outcome.
    pub open_survival: f64,
    /// The share that won.
    pub won: ShareInterval,
    /// The share that was lost.
    pub lost: ShareInterval,
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
    /// The probability to win by the age; `None` beyond the longest follow-up.
    pub share: Option<ShareInterval>,
}

impl Curve {
    /// The estimate from a life table.
    pub fn new(table: &LifeTable) -> Curve {
        let mut survival = 1.0;
        let mut won_count = 0;
        let (mut won, mut lost) = (Growth::default(), Growth::default());
        let steps = table.at_risk().map(|(at_risk, row)| {
            let events = row.ends.won + row.ends.lost;
            let before = Before {
                at_risk,
                survival,
                events,
            };
            won_count += row.ends.won;
            // Those open at this time leave after its events, so they are at risk here.
            survival *= (at_risk - events) as f64 / at_risk as f64;
            Step {
                t: row.t,
                at_risk,
                ends: row.ends,
                survival,
                won: won.advance(before, row.ends.won),
                lost: lost.advance(before, row.ends.lost),
                won_count,
            }
        });
        Curve {
            steps: steps.collect(),
        }
    }

    /// The shares after each time at which a follow-up ended, with limits at the given confidence.
    pub fn points(&self, confidence: Confidence) -> Vec<Point> {
        let point = |step: &Step| Point {
            t: step.t,
            at_risk: step.at_risk,
            ends: step.ends,
            open_survival: step.survival,
            won: step.won.interval(confidence),
            lost: step.lost.interval(confidence),
        };
        self.steps.iter().map(point).collect()
    }

    /// The probability to win by an age in days `>= 0`, with limits at the given confidence.
    pub fn at(&self, age: f64, confidence: Confidence) -> AtAge {
        let reached = self.last_until(age);
        let next = self.steps.partition_point(|step| step.t < age);
        let share = reached.map_or_else(Share::default, |step| step.won);
        AtAge {
            age,
            at_risk: self.steps.get(next).map_or(0, |step| step.at_risk),
            won: reached.map_or(0, |step| step.won_count),
            share: self.covers(age).then(|| share.interval(confidence)),
        }
    }

    /// The time by which a share `q` of all has won: the smallest `t` with `F_won(t) >= q`.
    ///
    /// - `q`: in [0, 1]; 0 is reached at the start, after 0 days
    /// - returns days; `None` where the share is never reached, and where nobody was followed
    /// - a share that is below `q` by 1e-9 or less has reached it, see [`QUANTILE_TOLERANCE`]
    /// - errors: 22023 when `q` is outside of [0, 1]
    pub fn quantile(&self, q: f64) -> Result<Option<f64>, FunnelError> {
        check_share(q)?;
        let reached = |share: f64| share >= q - QUANTILE_TOLERANCE;
        if reached(0.0) {
            return Ok((!self.steps.is_empty()).then_some(0.0));
        }
        let mut steps = self.steps.iter();
        Ok(steps
            .find(|step| reached(step.won.estimate))
            .map(|step| step.t))
    }

    /// The chance that who is open at an age `t` wins by the longest follow-up `T`: `(F_won(T) - F_won(t)) / S(t)`.
    ///
    /// - `t`: days, after the events of that time
    /// - returns a fraction; `None` where nobody is open any more, beyond the longest follow-up, and where nobody was followed
    /// - errors: 22023 when `t` is negative or not finite
    pub fn win_probability(&self, t: f64) -> Result<Option<f64>, FunnelError> {
        Ok(self.chance_after(check_age(t)?))
    }

    fn chance_after(&self, t: f64) -> Option<f64> {
        let end = self.steps.last().filter(|end| t <= end.t)?;
        let (survival, won) = match self.last_until(t) {
            Some(step) => (step.survival, step.won.estimate),
            None => (1.0, 0.0),
        };
        // Rounding can leave more to win than is open.
        (survival > 0.0).then(|| ((end.won.estimate - won) / survival).clamp(0.0, 1.0))
    }

    fn covers(&self, age: f64) -> bool {
        self.steps.last().is_some_and(|last| age <= last.t)
    }

    fn last_until(&self, age: f64) -> Option<&Step> {
        let count = self.steps.partition_point(|step| step.t <= age);
        self.steps[..count].last()
    }
}

/// Checks an age in days.
///
/// - errors: 22023 when it is negative or not finite
pub fn check_age(age: f64) -> Result<f64, FunnelError> {
    match age.is_finite() && age >= 0.0 {
        true => Ok(age),
        false => Err(FunnelError::InvalidArgument {
            message: format!("{age} days is not an age"),
            hint: "Give days that are not negative, such as 30.".to_owned(),
        }),
    }
}

impl Share {
    /// The limits by the log(-log) transform.
    ///
    /// At 0 and 1 the transform has no value. The limit on the outer side is known there, the other one isn't.
    fn interval(self, confidence: Confidence) -> ShareInterval {
        /// One of fewer than 1e12 entities is further from 1 than this; what is nearer is rounding.
        const ONE: f64 = 1.0 - 1e-12;
        // A sum of shares can be an ulp above 1.
        let estimate = self.estimate.min(1.0);
        let (lo, hi) = if estimate <= 0.0 {
            (Some(0.0), None)
        } else if estimate >= ONE {
            (None, Some(1.0))
        } else {
            let (lo, hi) = log_log_limits(estimate, self.variance, confidence);
            (Some(lo), Some(hi))
        };
        ShareInterval { estimate, lo, hi }
    }
}

/// What was known just before a time, and how many had any outcome then.
#[derive(Debug, Clone, Copy)]
struct Before {
    at_risk: i64,
    survival: f64,
    events: i64,
}

/// The share of one outcome, brought forward from time to time together with Aalen's variance.
///
/// With `F` the share now, `S⁻` the survival before, `n` at risk, `d` events and `k` events of this outcome at a time, and
/// `Δ` what `F` has grown since that time, the variance is the sum over all times until now of
///
/// `Δ² a + b - 2 Δ c`, where `a = d / ((n-1)(n-d))`, `b = S⁻² k(n-k) / (n²(n-1))`, `c = S⁻ k(n-k) / (n(n-d)(n-1))`
///
/// As `F` grows, every `Δ` grows by the same amount, so a few sums are enough, and no time is looked at twice. All of their
/// terms are positive: nothing cancels but in the last subtraction.
///
/// Source: O. Aalen, Annals of Statistics 6 (1978), 534–545, as in M. Pintilie, "Competing Risks" (2006), equation 4.5.
#[derive(Debug, Default)]
struct Growth {
    /// `F`
    share: f64,
    /// `Σ a`
    a: f64,
    /// `Σ Δ a`
    growth_a: f64,
    /// `Σ Δ² a`
    growth_square_a: f64,
    /// `Σ b`
    b: f64,
    /// `Σ c`
    c: f64,
    /// `Σ Δ c`
    growth_c: f64,
}

impl Growth {
    /// The share after a time at which so many had this outcome.
    fn advance(&mut self, before: Before, ends: i64) -> Share {
        self.grow(before.survival * (ends as f64 / before.at_risk as f64));
        self.add_terms(before, ends as f64);
        // A variance of zero can be rounded to a little below it.
        let variance = (self.growth_square_a + self.b - 2.0 * self.growth_c).max(0.0);
        Share {
            estimate: self.share,
            variance,
        }
    }

    fn grow(&mut self, by: f64) {
        self.share += by;
        self.growth_square_a += by * (2.0 * self.growth_a + by * self.a);
        self.growth_a += by * self.a;
        self.growth_c += by * self.c;
    }

    fn add_terms(&mut self, before: Before, ends: f64) {
        let (n, d) = (before.at_risk as f64, before.events as f64);
        // The last entity at risk adds no term: every one would be 0 / 0.
        if n <= 1.0 || d == 0.0 {
            return;
        }
        self.b += before.survival.powi(2) * ends * (n - ends) / (n * n * (n - 1.0));
        // Nor do those whose events leave nobody: nothing grows after them.
        if d < n {
            self.a += d / ((n - 1.0) * (n - d));
            self.c += before.survival * ends * (n - ends) / (n * (n - d) * (n - 1.0));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::super::kaplan_meier;
    use super::super::life_table::Event;
    use super::super::life_table::Outcome::{self, Lost, Open, Won};
    use super::super::life_table::testing::{Entity, TIES, entities, repeated, table};
    use super::*;

    fn curve(entities: &[Entity]) -> Curve {
        Curve::new(&table(entities))
    }

    fn at(entities: &[Entity], age: f64, confidence: f64) -> AtAge {
        curve(entities).at(age, Confidence::new(confidence).unwrap())
    }

    fn points(entities: &[Entity]) -> Vec<Point> {
        curve(entities).points(Confidence::new(0.95).unwrap())
    }

    #[track_caller]
    fn check(entities: &[Entity], confidence: f64, expected: &[(f64, f64, f64, f64)]) {
        for (age, estimate, lo, hi) in expected {
            let found = at(entities, *age, confidence).share.unwrap();
            assert_near(found, [*estimate, *lo, *hi], *age);
        }
    }

    #[track_caller]
    fn assert_near(found: ShareInterval, expected: [f64; 3], t: f64) {
        let values = [found.estimate, found.lo.unwrap(), found.hi.unwrap()];
        for (value, wanted) in values.into_iter().zip(expected) {
            assert!(
                (value - wanted).abs() < 1e-12,
                "{t}: {found:?}, not {wanted}"
            );
        }
    }

    /// `sksurv.datasets.load_bmt()` (Scrucca, Santucci and Aversa, Bone Marrow Transplantation 40 (2007), 381–387):
    /// of 35 patients, those with status 1 here are won, those with 2 lost.
    const TRANSPLANTS: [Entity; 35] = [
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
        let last = points(&rows).pop().unwrap();
        assert!((last.lost.estimate - 0.5).abs() < 1e-12, "{last:?}");
        assert!((last.open_survival - 0.2).abs() < 1e-12, "{last:?}");
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
        assert_eq!(at(&TIES, 13.5, 0.95).share, None);
        assert_eq!(at(&[], 0.0, 0.95).share, None);
        // Also where the last event left nobody at risk.
        assert_eq!(at(&[(1.0, Won)], 2.0, 0.95).share, None);
    }

    #[test]
    fn at_0_and_1_only_the_outer_limit_is_known() {
        // DIFFERENCE: scikit-survival 0.28.0 gives [0, 0] while nobody has won, as if nothing were uncertain.
        let share = |entities: &[Entity], age| at(entities, age, 0.95).share.unwrap();
        let none = share(&[(1.0, Lost), (2.0, Open)], 2.0);
        assert_eq!((none.estimate, none.lo, none.hi), (0.0, Some(0.0), None));
        let all = share(&[(1.0, Won), (2.0, Won), (3.0, Won)], 3.0);
        assert_eq!((all.lo, all.hi), (None, Some(1.0)));
        assert!((all.estimate - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_curve_has_both_outcomes_with_their_limits() {
        // scikit-survival 0.28.0, as above; each row the time, the share, and its limits.
        let won = [
            (
                2.0,
                [0.175, 0.023_971_843_713_081_46, 0.442_962_316_198_319_4],
            ),
            (
                8.0,
                [
                    0.524_206_349_206_349_1,
                    0.143_153_827_054_235_18,
                    0.806_863_791_055_305_3,
                ],
            ),
        ];
        let lost = [
            (
                2.0,
                [
                    0.091_666_666_666_666_67,
                    0.004_317_460_011_202_886,
                    0.350_398_916_896_297_1,
                ],
            ),
            (
                5.0,
                [
                    0.196_428_571_428_571_45,
                    0.023_926_972_679_326_343,
                    0.491_859_898_041_000_7,
                ],
            ),
            (
                13.0,
                [
                    0.336_111_111_111_111_14,
                    0.054_301_587_147_460_716,
                    0.664_933_877_301_320_5,
                ],
            ),
        ];
        let points = points(&TIES);
        let at = |t: f64| points.iter().find(|point| point.t == t).unwrap();
        for (t, expected) in won {
            assert_near(at(t).won, expected, t);
        }
        for (t, expected) in lost {
            assert_near(at(t).lost, expected, t);
        }
    }

    #[test]
    fn a_quantile_is_the_first_time_of_its_share() {
        let of = |entities: &[Entity], q| curve(entities).quantile(q).unwrap();
        // The shares of TIES that won are 0.083, 0.175, 0.385 and 0.524 after 1, 2, 3 and 8 days.
        let found = [0.0, 0.08, 0.1, 0.175, 0.3, 0.5, 0.53].map(|q| of(&TIES, q));
        let days = [0.0, 1.0, 2.0, 2.0, 3.0, 8.0].map(Some);
        assert_eq!(found[..6], days);
        assert_eq!(found[6], None);
        assert_eq!(of(&[(1.0, Lost)], 0.5), None);
        assert_eq!((of(&[], 0.5), of(&[], 0.0)), (None, None));
        // A sum of tenths is below 0.8 and below 1 by the last bits.
        let ten = (1..=10)
            .map(|day| (f64::from(day), Won))
            .collect::<Vec<_>>();
        for tenths in 1..=10 {
            assert_eq!(of(&ten, f64::from(tenths) / 10.0), Some(f64::from(tenths)));
        }
        for q in [-0.1, 1.1, f64::NAN] {
            assert_eq!(curve(&TIES).quantile(q).unwrap_err().code(), "22023");
        }
    }

    #[test]
    fn the_chance_of_who_is_still_open() {
        // By hand: of four, one is won on day 1, one lost on 2, one won on 3, one open until 4.
        let four = [(1.0, Won), (2.0, Lost), (3.0, Won), (4.0, Open)];
        let found =
            [0.0, 1.0, 2.0, 3.0, 4.0, 4.1].map(|t| curve(&four).win_probability(t).unwrap());
        let near = |found: Option<f64>, value: f64| (found.unwrap() - value).abs() < 1e-12;
        let expected = [0.5, 1.0 / 3.0, 0.5, 0.0, 0.0];
        for (found, value) in found.into_iter().zip(expected) {
            assert!(near(found, value), "{found:?}, not {value}");
        }
        assert_eq!(found[5], None);
        // Nobody is open after the last event; nobody was followed.
        assert_eq!(
            curve(&[(1.0, Won), (2.0, Lost)]).win_probability(2.0),
            Ok(None)
        );
        assert_eq!(curve(&[]).win_probability(0.0), Ok(None));
        assert_eq!(
            curve(&four).win_probability(-1.0).unwrap_err().code(),
            "22023"
        );
    }

    /// Aalen's variance of the last point's share of wins, summed over all times as it is defined.
    fn variance_by_definition(points: &[Point], of: fn(&Point) -> (f64, i64)) -> f64 {
        let end = points.last().map_or(0.0, |point| of(point).0);
        let before = std::iter::once(1.0).chain(points.iter().map(|point| point.open_survival));
        let terms = points.iter().zip(before).map(|(point, survival)| {
            let (share, ends) = of(point);
            let (n, k) = (point.at_risk as f64, ends as f64);
            let d = (point.ends.won + point.ends.lost) as f64;
            if n <= 1.0 || d == 0.0 {
                return 0.0;
            }
            let own = survival * survival * k * (n - k) / (n * n * (n - 1.0));
            if n == d {
                return own;
            }
            let growth = end - share;
            own + growth * growth * d / ((n - 1.0) * (n - d))
                - 2.0 * growth * survival * k * (n - k) / (n * (n - d) * (n - 1.0))
        });
        terms.sum()
    }

    /// The share with an outcome by an age, by its definition: for each time, all entities are counted.
    fn by_definition(entities: &[Entity], outcome: Outcome, age: f64) -> f64 {
        let mut times = entities.iter().map(|entity| entity.0).collect::<Vec<_>>();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let (mut survival, mut share) = (1.0, 0.0);
        for time in times.iter().filter(|time| **time <= age) {
            let n = entities.iter().filter(|entity| entity.0 >= *time).count() as f64;
            let here = || entities.iter().filter(|entity| entity.0 == *time);
            share += survival * here().filter(|entity| entity.1 == outcome).count() as f64 / n;
            survival *= 1.0 - here().filter(|entity| entity.1 != Open).count() as f64 / n;
        }
        share
    }

    proptest! {
        #[test]
        fn the_shares_are_as_defined_and_sum_to_1(entities in entities()) {
            for point in points(&entities) {
                let won = by_definition(&entities, Won, point.t);
                let lost = by_definition(&entities, Lost, point.t);
                prop_assert!((point.won.estimate - won).abs() < 1e-12, "{point:?} {won}");
                prop_assert!((point.lost.estimate - lost).abs() < 1e-12, "{point:?} {lost}");
                let sum = point.open_survival + point.won.estimate + point.lost.estimate;
                prop_assert!((sum - 1.0).abs() < 1e-12, "{point:?}");
            }
        }

        #[test]
        fn the_open_share_is_kaplan_and_meiers(entities in entities()) {
            let confidence = Confidence::new(0.95).unwrap();
            let survival = kaplan_meier::curve(&table(&entities), Event::Any, confidence);
            for (point, survival) in points(&entities).iter().zip(&survival) {
                prop_assert_eq!((point.t, point.at_risk), (survival.t, survival.at_risk));
                prop_assert_eq!(point.open_survival, survival.survival);
            }
        }

        #[test]
        fn one_pass_gives_the_variance_of_the_definition(entities in entities()) {
            let all = points(&entities);
            for (at, step) in curve(&entities).steps.iter().enumerate() {
                let won = variance_by_definition(&all[..=at], |point| (point.won.estimate, point.ends.won));
                let lost = variance_by_definition(&all[..=at], |point| (point.lost.estimate, point.ends.lost));
                prop_assert!((step.won.variance - won).abs() < 1e-13, "{step:?} {won}");
                prop_assert!((step.lost.variance - lost).abs() < 1e-13, "{step:?} {lost}");
            }
        }

        #[test]
        fn an_age_has_the_share_of_the_last_point(entities in entities(), age in 0_u8..40) {
            let found = at(&entities, f64::from(age), 0.95);
            let points = points(&entities);
            let reached = points.iter().rfind(|point| point.t <= f64::from(age));
            if let (Some(share), Some(point)) = (found.share, reached) {
                prop_assert_eq!(share, point.won);
            }
            let watched = entities.iter().filter(|entity| entity.0 >= f64::from(age)).count();
            prop_assert_eq!(found.at_risk, watched as i64);
            prop_assert_eq!(found.share.is_some(), watched > 0);
        }

        #[test]
        fn limits_are_numbers_around_the_estimate(entities in entities(), confidence in 0.01..0.999_999) {
            for point in curve(&entities).points(Confidence::new(confidence).unwrap()) {
                for share in [point.won, point.lost] {
                    prop_assert!((0.0..=1.0).contains(&share.estimate), "{share:?}");
                    prop_assert!(share.lo.is_none_or(|lo| (0.0..=share.estimate + 1e-12).contains(&lo)), "{share:?}");
                    prop_assert!(share.hi.is_none_or(|hi| (share.estimate - 1e-12..=1.0).contains(&hi)), "{share:?}");
                }
            }
        }

        #[test]
        fn every_row_many_times_leaves_the_estimate(entities in entities(), times in 2_usize..5) {
            let often = repeated(&entities, times);
            for (once, often) in points(&entities).iter().zip(points(&often)) {
                prop_assert!((once.won.estimate - often.won.estimate).abs() < 1e-12);
                prop_assert!((once.lost.estimate - often.lost.estimate).abs() < 1e-12);
                prop_assert_eq!(once.ends.won * times as i64, often.ends.won);
            }
            for q in [0.1, 0.25, 0.5] {
                prop_assert_eq!(curve(&entities).quantile(q), curve(&often).quantile(q));
            }
        }

        #[test]
        fn those_that_nobody_watched_change_no_later_share(entities in entities(), times in 1_usize..50) {
            // Who is open at 0 is at risk of what happens there.
            let mut entities = entities;
            entities.retain(|entity| entity.0 > 0.0 || entity.1 == Open);
            let mut more = entities.clone();
            more.extend(std::iter::repeat_n((0.0, Open), times));
            let many = points(&more);
            for point in points(&entities).iter().filter(|point| point.t > 0.0) {
                prop_assert!(many.contains(point), "{point:?}");
            }
        }

        #[test]
        fn a_chance_is_a_share_of_the_open(entities in entities(), t in 0_u8..40) {
            let curve = curve(&entities);
            let t = f64::from(t);
            if let Some(chance) = curve.win_probability(t).unwrap() {
                let (now, end) = (by_definition(&entities, Won, t), by_definition(&entities, Won, 99.0));
                let open = 1.0 - now - by_definition(&entities, Lost, t);
                prop_assert!((chance * open - (end - now)).abs() < 1e-12, "{chance} {open}");
            }
        }

        #[test]
        fn without_open_ones_it_is_the_plain_rate(entities in entities(), age in 0_u8..40) {
            let closed = entities.into_iter().filter(|entity| entity.1 != Open).collect::<Vec<_>>();
            let found = at(&closed, f64::from(age), 0.95);
            if let Some(share) = found.share {
                prop_assert!((share.estimate - found.won as f64 / closed.len() as f64).abs() < 1e-12, "{found:?}");
            }
        }
    }
}
