//! The Kaplan–Meier estimate: the share that is still waiting for an event.
//!
//! `S(t) = Π (1 - d/n)` over the times `<= t`, with `d` events and `n` follow-ups that last until then or longer. Events come
//! before the censorings of the same time. Everything is one pass over the distinct times.
//!
//! Source: E. L. Kaplan and P. Meier, JASA 53 (1958), 457–481.

use super::QUANTILE_TOLERANCE;
use super::life_table::{Event, LifeTable};
use super::log_log::log_log_limits;
use crate::error::FunnelError;
use crate::scalar::rate_ci::interval::Confidence;

/// The estimate just after one of the times at which a follow-up ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Days since the start.
    pub t: f64,
    /// Follow-ups that last until here or longer, this time's ends among them.
    pub at_risk: i64,
    /// How many had the event.
    pub events: i64,
    /// How many follow-ups ended without the event.
    pub censored: i64,
    /// The share that hasn't had the event.
    pub survival: f64,
    /// Its standard error, by Greenwood; `None` where nobody is left.
    pub se: Option<f64>,
    /// Its lower limit; `None` where nobody is left.
    pub lo: Option<f64>,
    /// Its upper limit; `None` where nobody is left.
    pub hi: Option<f64>,
}

/// The share that hasn't had the event, after each time at which a follow-up ended.
///
/// The standard error is Greenwood's, `S √Σ d / (n (n - d))`; the limits are by the log(-log) transform. Two shares have no
/// transform:
///
/// - 1, before the first event: the error is 0 and both limits are 1, as scikit-survival and lifelines have it; R has NA
/// - 0, where the last one followed had the event: no error and no limits, as in R; scikit-survival and lifelines have 0
///
/// Source: M. Greenwood, Reports on Public Health and Medical Subjects 33 (1926), 1–26.
pub fn curve(table: &LifeTable, event: Event, confidence: Confidence) -> Vec<Point> {
    let points = steps(table, event).map(|step| {
        let mut point = Point {
            t: step.t,
            at_risk: step.at_risk,
            events: step.events,
            censored: step.censored,
            survival: step.survival,
            se: None,
            lo: None,
            hi: None,
        };
        if step.survival > 0.0 {
            let variance = step.survival.powi(2) * step.relative_variance;
            let (lo, hi) = if step.survival < 1.0 {
                log_log_limits(step.survival, variance, confidence)
            } else {
                (1.0, 1.0)
            };
            (point.se, point.lo, point.hi) = (Some(variance.sqrt()), Some(lo), Some(hi));
        }
        point
    });
    points.collect()
}

/// The time by which a share `q` has had the event: the smallest `t` with `S(t) <= 1 - q`; the median for `q = 0.5`.
///
/// - `q`: in [0, 1]; 0 is reached at the start, after 0 days
/// - returns days; `None` where the share is never reached, and where nobody was followed
/// - a share that is above `1 - q` by 1e-9 or less has reached it, see [`QUANTILE_TOLERANCE`]. DIFFERENCE: where the curve is
///   flat at just `1 - q`, R takes the middle of the flat part; this is its beginning
/// - errors: 22023 when `q` is outside of [0, 1]
pub fn quantile(table: &LifeTable, q: f64, event: Event) -> Result<Option<f64>, FunnelError> {
    check_share(q)?;
    let reached = |survival: f64| survival <= 1.0 - q + QUANTILE_TOLERANCE;
    if table.rows().is_empty() {
        return Ok(None);
    }
    if reached(1.0) {
        return Ok(Some(0.0));
    }
    let mut steps = steps(table, event);
    Ok(steps.find(|step| reached(step.survival)).map(|step| step.t))
}

/// The mean time until the event, where what takes longer than `tau` counts as `tau`: the area under the curve up to there.
///
/// - `tau`: days, `>= 0`
/// - returns days; `None` where the follow-up ends before `tau` while some still wait, as nobody knows for how long
/// - errors: 22023 when `tau` is negative or not finite
/// - source: P. Royston and M. K. B. Parmar, BMC Medical Research Methodology 13 (2013), 152
pub fn restricted_mean(
    table: &LifeTable,
    tau: f64,
    event: Event,
) -> Result<Option<f64>, FunnelError> {
    check_length(tau)?;
    if table.rows().is_empty() {
        return Ok(None);
    }
    let (mut area, mut since, mut survival) = (0.0, 0.0, 1.0);
    for step in steps(table, event) {
        if step.t >= tau {
            return Ok(Some(area + survival * (tau - since)));
        }
        area += survival * (step.t - since);
        (since, survival) = (step.t, step.survival);
    }
    Ok((survival == 0.0).then_some(area))
}

/// The standard error of [`restricted_mean`]: Greenwood's `√Σ A² d / (n (n - d))` over the times of events before `tau`, `A` being
/// the area under the curve from there to `tau`.
///
/// - returns days; `None` where the mean is
/// - errors: 22023 when `tau` is negative or not finite
/// - source: J. P. Klein and M. L. Moeschberger, Survival Analysis (2003), section 4.5
pub fn restricted_mean_error(
    table: &LifeTable,
    tau: f64,
    event: Event,
) -> Result<Option<f64>, FunnelError> {
    if restricted_mean(table, tau, event)?.is_none() {
        return Ok(None);
    }
    let before: Vec<Step> = steps(table, event)
        .take_while(|step| step.t < tau)
        .collect();
    let (mut area, mut until, mut variance) = (0.0, tau, 0.0);
    for step in before.iter().rev() {
        area += step.survival * (until - step.t);
        until = step.t;
        let left = step.at_risk - step.events;
        if step.events > 0 && left > 0 {
            variance += area * area * step.events as f64 / (step.at_risk as f64 * left as f64);
        }
    }
    Ok(Some(variance.sqrt()))
}

/// A share as a quantile takes it.
///
/// - errors: 22023 outside of [0, 1]
pub(super) fn check_share(q: f64) -> Result<(), FunnelError> {
    match (0.0..=1.0).contains(&q) {
        true => Ok(()),
        false => Err(FunnelError::InvalidArgument {
            message: format!("q {q} is not between 0 and 1"),
            hint: "Write a fraction, such as 0.5 for the median.".to_owned(),
        }),
    }
}

fn check_length(tau: f64) -> Result<(), FunnelError> {
    match tau.is_finite() && tau >= 0.0 {
        true => Ok(()),
        false => Err(FunnelError::InvalidArgument {
            message: format!("a mean time can't be restricted to {tau} days"),
            hint: "Give days that are not negative, such as 90.".to_owned(),
        }),
    }
}

/// The estimate just after a time, without its limits.
struct Step {
    t: f64,
    at_risk: i64,
    events: i64,
    censored: i64,
    survival: f64,
    /// Greenwood's sum, the variance of the share over the share's square. Of no meaning where the share is 0.
    relative_variance: f64,
}

fn steps(table: &LifeTable, event: Event) -> impl Iterator<Item = Step> {
    let (mut survival, mut relative_variance) = (1.0, 0.0);
    table.at_risk().map(move |(at_risk, row)| {
        let events = event.count(row.ends);
        let (n, left) = (at_risk as f64, (at_risk - events) as f64);
        if events > 0 {
            survival *= left / n;
            relative_variance += events as f64 / (n * left);
        }
        Step {
            t: row.t,
            at_risk,
            events,
            censored: row.ends.total() - events,
            survival,
            relative_variance,
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::super::life_table::Outcome::{Lost, Open, Won};
    use super::super::life_table::testing::{
        Entity, MERCAPTOPURINE, TIES, entities, placebo, repeated, table,
    };
    use super::*;

    const EVENTS: [Event; 3] = [Event::Any, Event::Won, Event::Lost];

    fn points(entities: &[Entity], event: Event) -> Vec<Point> {
        curve(&table(entities), event, Confidence::new(0.95).unwrap())
    }

    #[track_caller]
    fn check(entities: &[Entity], event: Event, expected: &[(f64, f64, f64, f64, f64)]) {
        let points = points(entities, event);
        for (t, survival, se, lo, hi) in expected {
            let point = points.iter().rfind(|point| point.t <= *t).unwrap();
            let found = [
                point.survival,
                point.se.unwrap(),
                point.lo.unwrap(),
                point.hi.unwrap(),
            ];
            for (found, value) in found.into_iter().zip([survival, se, lo, hi]) {
                assert!((found - value).abs() < 1e-12, "{t}: {point:?}, not {value}");
            }
        }
    }

    #[test]
    fn shares_and_limits_equal_scikit_survival() {
        // scikit-survival 0.28.0: kaplan_meier_estimator(event, time, conf_type="log-log"); standard errors of lifelines
        // 0.30.3: KaplanMeierFitter().fit(time, event), survival_function_ * sqrt(_cumulative_sq_).
        check(
            &TIES,
            Event::Any,
            &[
                (
                    1.0,
                    0.916_666_666_666_666_6,
                    0.079_785_592_313_028_18,
                    0.538_977_180_570_741_2,
                    0.987_825_565_400_458,
                ),
                (
                    3.0,
                    0.523_809_523_809_523_8,
                    0.156_897_011_015_671_24,
                    0.201_281_311_479_774_43,
                    0.770_410_584_711_392,
                ),
                (
                    4.5,
                    0.523_809_523_809_523_8,
                    0.156_897_011_015_671_24,
                    0.201_281_311_479_774_43,
                    0.770_410_584_711_392,
                ),
                (
                    13.0,
                    0.139_682_539_682_539_7,
                    0.125_433_464_800_390_25,
                    0.008_121_866_677_626_538,
                    0.447_096_336_173_777_14,
                ),
            ],
        );
        check(
            &TIES,
            Event::Won,
            &[
                (
                    2.0,
                    0.825,
                    0.112_777_435_686_399_6,
                    0.460_945_677_052_834_46,
                    0.953_340_390_497_232_7,
                ),
                (
                    13.0,
                    0.392_857_142_857_142_9,
                    0.193_458_267_832_982_87,
                    0.072_440_796_873_585_82,
                    0.717_094_240_797_389_6,
                ),
            ],
        );
        check(
            &TIES,
            Event::Lost,
            &[
                (1.0, 1.0, 0.0, 1.0, 1.0),
                (
                    2.0,
                    0.9,
                    0.094_868_329_805_051_37,
                    0.473_009_271_362_050_3,
                    0.985_281_393_367_343_1,
                ),
                (
                    8.0,
                    0.480_000_000_000_000_1,
                    0.229_085_137_012_421_7,
                    0.072_422_628_478_191_4,
                    0.814_480_610_670_507,
                ),
            ],
        );
        check(
            &MERCAPTOPURINE,
            Event::Any,
            &[
                (
                    6.0,
                    0.857_142_857_142_857_2,
                    0.076_360_354_832_121_25,
                    0.619_717_955_265_983_7,
                    0.951_551_747_646_997_1,
                ),
                (
                    10.0,
                    0.752_941_176_470_588_2,
                    0.096_349_652_994_320_51,
                    0.503_199_510_799_956_4,
                    0.889_361_835_169_265_6,
                ),
                (
                    35.0,
                    0.448_179_271_708_683_55,
                    0.134_591_456_755_760_48,
                    0.188_052_005_959_232_4,
                    0.680_142_628_495_241_5,
                ),
            ],
        );
    }

    #[test]
    fn freireichs_remissions_last_for_23_and_8_weeks() {
        // The published values: S(6) = 0.857, S(10) = 0.753, median 23, and 8 for the placebo.
        let shown = points(&MERCAPTOPURINE, Event::Any)
            .iter()
            .filter(|point| point.events > 0)
            .map(|point| format!("{:.0} {:.3}", point.t, point.survival))
            .collect::<Vec<_>>();
        assert_eq!(
            shown,
            [
                "6 0.857", "7 0.807", "10 0.753", "13 0.690", "16 0.627", "22 0.538", "23 0.448"
            ]
        );
        let median = |entities: &[Entity]| quantile(&table(entities), 0.5, Event::Any).unwrap();
        assert_eq!(median(&MERCAPTOPURINE), Some(23.0));
        assert_eq!(median(&placebo()), Some(8.0));
    }

    #[test]
    fn a_quantile_that_is_never_reached_is_none() {
        let of = |entities: &[Entity], q| quantile(&table(entities), q, Event::Any).unwrap();
        assert_eq!(of(&MERCAPTOPURINE, 0.6), None);
        assert_eq!(of(&[(1.0, Open), (2.0, Open)], 0.01), None);
        assert_eq!(of(&[(1.0, Open)], 0.0), Some(0.0));
        assert_eq!(of(&[(1.0, Won), (2.0, Lost)], 1.0), Some(2.0));
        assert_eq!(of(&[], 0.5), None);
        assert_eq!(of(&[], 0.0), None);
    }

    #[test]
    fn a_share_of_just_a_quantile_has_reached_it() {
        // By their counts these shares are 1 - d/10 after d days; as products some are above by the last bit.
        let ten = (1..=10)
            .map(|day| (f64::from(day), Won))
            .collect::<Vec<_>>();
        assert!(points(&ten, Event::Any).iter().any(|point| {
            let share = 1.0 - point.t / 10.0;
            point.survival > share && point.survival < share + 1e-12
        }));
        for tenths in 1..=10 {
            let found = quantile(&table(&ten), f64::from(tenths) / 10.0, Event::Any);
            assert_eq!(found, Ok(Some(f64::from(tenths))));
        }
    }

    #[test]
    fn the_event_decides_what_is_censored() {
        let counts = |event| {
            let points = points(&TIES, event);
            let counts = points.iter().map(|point| (point.events, point.censored));
            counts.collect::<Vec<_>>()
        };
        assert_eq!(
            counts(Event::Any),
            [(1, 1), (2, 1), (2, 0), (1, 1), (2, 0), (0, 1)]
        );
        assert_eq!(
            counts(Event::Won),
            [(1, 1), (1, 2), (2, 0), (0, 2), (1, 1), (0, 1)]
        );
        assert_eq!(
            counts(Event::Lost),
            [(0, 2), (1, 2), (0, 2), (1, 1), (1, 1), (0, 1)]
        );
    }

    #[test]
    fn before_the_first_event_all_are_there_and_after_the_last_nobody() {
        let found = points(&[(1.0, Open), (2.0, Won), (3.0, Lost)], Event::Any);
        let parts = |point: &Point| (point.survival, point.se, point.lo, point.hi);
        assert_eq!(parts(&found[0]), (1.0, Some(0.0), Some(1.0), Some(1.0)));
        assert_eq!(parts(&found[2]), (0.0, None, None, None));
        assert_eq!(points(&[], Event::Any), []);
    }

    #[test]
    fn the_restricted_mean_is_the_area_under_the_curve() {
        let of = |entities: &[Entity], tau| restricted_mean(&table(entities), tau, Event::Any);
        let near = |found: Result<Option<f64>, FunnelError>, value: f64| {
            assert!(
                (found.clone().unwrap().unwrap() - value).abs() < 1e-12,
                "{found:?}"
            );
        };
        // lifelines 0.30.3: utils.restricted_mean_survival_time(KaplanMeierFitter().fit(t, e), t=tau)
        near(of(&MERCAPTOPURINE, 10.0), 9.277_310_924_369_745);
        near(of(&MERCAPTOPURINE, 20.0), 16.116_526_610_644_254);
        near(of(&MERCAPTOPURINE, 35.0), 23.287_394_957_983_185);
        near(of(&TIES, 8.0), 4.954_761_904_761_904);
        // By hand: 1 day, and one half of another.
        near(of(&[(1.0, Won), (2.0, Won)], 1.5), 1.25);
        near(of(&[(1.0, Won), (2.0, Won)], 100.0), 1.5);
        near(of(&[(1.0, Won), (2.0, Open)], 2.0), 1.5);
        near(of(&[(1.0, Won)], 0.0), 0.0);
        assert_eq!(of(&[(1.0, Won), (2.0, Open)], 2.1), Ok(None));
        assert_eq!(of(&[], 0.0), Ok(None));
    }

    #[test]
    fn the_error_of_a_mean_without_open_ones_is_that_of_a_plain_mean() {
        let of = |entities: &[Entity], tau| {
            restricted_mean_error(&table(entities), tau, Event::Any).unwrap()
        };
        let near = |found: Option<f64>, value: f64| {
            assert!((found.unwrap() - value).abs() < 1e-12, "{found:?}");
        };
        // By hand: of min(t, 4) = 1, 2, 2, 4, 4 the variance is 1.44, over 5.
        let closed = [(1.0, Won), (2.0, Won), (2.0, Lost), (4.0, Won), (9.0, Won)];
        near(of(&closed, 4.0), (1.44_f64 / 5.0).sqrt());
        // By hand: S = 2/3 from 1 on and 0 from 3 on, of 3 and then 1 at risk; A = 4/3.
        near(
            of(&[(1.0, Won), (2.0, Open), (3.0, Won)], 5.0),
            (16.0_f64 / 9.0 / 6.0).sqrt(),
        );
        near(of(&[(1.0, Won)], 0.5), 0.0);
        assert_eq!(of(&[(1.0, Won), (2.0, Open)], 2.1), None);
        assert_eq!(of(&[], 1.0), None);
    }

    #[test]
    fn impossible_shares_and_lengths_are_errors() {
        let table = table(&TIES);
        for q in [-0.1, 1.1, f64::NAN] {
            assert_eq!(quantile(&table, q, Event::Any).unwrap_err().code(), "22023");
        }
        for tau in [-0.1, f64::INFINITY, f64::NAN] {
            assert_eq!(
                restricted_mean(&table, tau, Event::Any).unwrap_err().code(),
                "22023"
            );
        }
    }

    /// Whether an outcome is an event, in words of the definition.
    fn is_event(event: Event, entity: &Entity) -> bool {
        match event {
            Event::Any => entity.1 != Open,
            Event::Won => entity.1 == Won,
            Event::Lost => entity.1 == Lost,
        }
    }

    /// The share by its definition: for each entity's time that is early enough, all entities are counted.
    fn by_definition(entities: &[Entity], event: Event, t: f64) -> (f64, f64) {
        let mut times = entities.iter().map(|entity| entity.0).collect::<Vec<_>>();
        times.sort_by(f64::total_cmp);
        times.dedup();
        times
            .iter()
            .filter(|time| **time <= t)
            .fold((1.0, 0.0), |(share, sum), time| {
                let n = entities.iter().filter(|entity| entity.0 >= *time).count() as f64;
                let here = entities.iter().filter(|entity| entity.0 == *time);
                let d = here.filter(|entity| is_event(event, entity)).count() as f64;
                (share * (1.0 - d / n), sum + d / (n * (n - d)))
            })
    }

    proptest! {
        #[test]
        fn the_curve_is_as_defined(entities in entities()) {
            for event in EVENTS {
                for point in points(&entities, event) {
                    let (share, sum) = by_definition(&entities, event, point.t);
                    prop_assert!((point.survival - share).abs() < 1e-12, "{point:?} {share}");
                    if let Some(se) = point.se {
                        prop_assert!((se - share * sum.sqrt()).abs() < 1e-12, "{point:?} {sum}");
                    }
                }
            }
        }

        #[test]
        fn it_falls_within_its_limits_and_counts_everybody_once(entities in entities()) {
            for event in EVENTS {
                let points = points(&entities, event);
                let ends = points.iter().map(|point| point.events + point.censored).sum::<i64>();
                prop_assert_eq!(ends, entities.len() as i64);
                prop_assert!(points.is_sorted_by(|a, b| a.survival >= b.survival && a.t < b.t));
                for point in points {
                    prop_assert!((0.0..=1.0).contains(&point.survival), "{point:?}");
                    prop_assert_eq!(point.se.is_some(), point.survival > 0.0);
                    prop_assert!(point.lo.is_none_or(|lo| (0.0..=point.survival).contains(&lo)), "{point:?}");
                    prop_assert!(point.hi.is_none_or(|hi| (point.survival..=1.0).contains(&hi)), "{point:?}");
                }
            }
        }

        #[test]
        fn every_row_many_times_leaves_the_estimates(entities in entities(), times in 2_usize..5) {
            let often = repeated(&entities, times);
            for event in EVENTS {
                for (once, often) in points(&entities, event).into_iter().zip(points(&often, event)) {
                    prop_assert!((once.survival - often.survival).abs() < 1e-12);
                    prop_assert_eq!(once.events * times as i64, often.events);
                }
                for q in [0.1, 0.25, 0.5, 0.75, 0.9] {
                    prop_assert_eq!(
                        quantile(&table(&entities), q, event), quantile(&table(&often), q, event)
                    );
                }
            }
        }

        #[test]
        fn those_that_nobody_watched_change_nothing(entities in entities(), times in 1_usize..50) {
            // Not even where somebody has the event at once: who is open at 0 is at risk of that.
            let mut entities = entities;
            entities.retain(|entity| entity.0 > 0.0 || entity.1 == Open);
            let mut more = entities.clone();
            more.extend(std::iter::repeat_n((0.0, Open), times));
            for event in EVENTS {
                let (few, many) = (points(&entities, event), points(&more, event));
                for point in few.iter().filter(|point| point.t > 0.0) {
                    prop_assert!(many.contains(point), "{point:?}");
                }
                let mean = |all: &[Entity]| restricted_mean(&table(all), 20.0, event);
                prop_assert_eq!(mean(&entities), mean(&more));
            }
        }

        #[test]
        fn without_censoring_it_is_the_plain_share(entities in entities(), t in 0_u8..40) {
            let closed = entities.into_iter().filter(|entity| entity.1 != Open).collect::<Vec<_>>();
            let left = closed.iter().filter(|entity| entity.0 > f64::from(t)).count() as f64;
            let points = points(&closed, Event::Any);
            if let Some(point) = points.iter().rfind(|point| point.t <= f64::from(t)) {
                prop_assert!((point.survival - left / closed.len() as f64).abs() < 1e-12);
            }
            if let Ok(Some(mean)) = restricted_mean(&table(&closed), f64::from(t), Event::Any) {
                let times = closed.iter().map(|entity| entity.0.min(f64::from(t)));
                prop_assert!((mean - times.sum::<f64>() / closed.len() as f64).abs() < 1e-9);
            }
        }
    }
}
