//! What the regressions on follow-ups share: rows with covariates in, terms with their standard errors out.

use std::cmp::Ordering;

use statrs::function::erf::erfc;

use super::newton::{Maximum, Symmetric};

/// The standard normal deviate of a 95 % interval.
const DEVIATE_95: f64 = 1.959_963_984_540_054;
/// A term runs away when a step on the way to infinity changes a row's predictor by this much through it.
const RUNAWAY_TERM: f64 = 1e-3;
/// Where some terms run away, others may be left without information at that limit: their share of a row's predictor
/// then has a standard error above this.
const UNKNOWN: f64 = 1000.0;

/// Follow-ups with covariates: equal ones may be one row with counts, or many rows; the results are the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observations {
    terms: usize,
    times: Vec<f64>,
    events: Vec<f64>,
    censored: Vec<f64>,
    covariates: Vec<f64>,
}

impl Observations {
    /// None yet, each with so many covariates.
    pub fn new(terms: usize) -> Observations {
        Observations {
            terms,
            ..Observations::default()
        }
    }

    /// Adds follow-ups of the same covariates that ended at the same time.
    ///
    /// - `time`: finite, `>= 0`, in any unit
    /// - `events`, `censored`: how many of them ended by the event, and otherwise
    /// - `covariates`: one finite number a term
    pub fn push(&mut self, time: f64, events: i64, censored: i64, covariates: &[f64]) {
        debug_assert_eq!(covariates.len(), self.terms);
        self.times.push(time);
        self.events.push(events as f64);
        self.censored.push(censored as f64);
        self.covariates.extend_from_slice(covariates);
    }

    /// How many follow-ups there are.
    pub fn count(&self) -> i64 {
        (self.event_count() as f64 + self.censored.iter().sum::<f64>()) as i64
    }

    /// How many of them ended by the event.
    pub fn event_count(&self) -> i64 {
        self.events.iter().sum::<f64>() as i64
    }

    /// The time of the first event.
    pub(crate) fn first_event(&self) -> Option<f64> {
        let events = self.events.iter().zip(&self.times);
        events
            .filter(|(events, _)| **events > 0.0)
            .map(|(_, time)| *time)
            .min_by(f64::total_cmp)
    }

    /// The shortest time above zero.
    pub(crate) fn shortest(&self) -> Option<f64> {
        let positive = self.times.iter().filter(|time| **time > 0.0);
        positive.copied().min_by(f64::total_cmp)
    }

    fn covariates(&self, row: usize) -> &[f64] {
        &self.covariates[row * self.terms..(row + 1) * self.terms]
    }
}

/// A row of a [`Design`]: follow-ups that have everything in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) time: f64,
    pub(crate) events: f64,
    /// Events and censored ones.
    pub(crate) total: f64,
}

/// A covariate that stays in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Column {
    /// Its position among all the terms.
    term: usize,
    /// Its standard deviation, which is 1 in the design.
    deviation: f64,
    /// From its least to its largest value, in standard deviations.
    range: f64,
}

/// Follow-ups in the order of the model, the latest first, with the covariates that can be told apart.
///
/// Covariates have mean 0 and standard deviation 1, so that sums of their squares lose no digits. Rows are sorted by
/// all that they hold: the order in which they came doesn't change a bit of any result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Design {
    pub(crate) rows: Vec<Row>,
    pub(crate) columns: Vec<Column>,
    covariates: Vec<f64>,
    terms: usize,
}

impl Design {
    /// The design of the rows for which there is a time.
    ///
    /// - cost: one sort, and for the correlations a product of each two columns
    pub(crate) fn new(
        observations: &Observations,
        time_of: impl Fn(f64, f64) -> Option<f64>,
    ) -> Design {
        let (rows, places) = grouped(observations, time_of);
        let total = rows.iter().map(|row| row.total).sum::<f64>();
        let mut columns = Vec::new();
        let mut values = Vec::new();
        for term in 0..observations.terms {
            let raw = places
                .iter()
                .map(|place| observations.covariates(*place)[term])
                .collect::<Vec<_>>();
            if let Some((deviation, range, scaled)) = standardised(&raw, &rows, total) {
                columns.push(Column {
                    term,
                    deviation,
                    range,
                });
                values.push(scaled);
            }
        }
        keep_independent(&mut columns, &mut values, &rows, total);
        let covariates = (0..rows.len())
            .flat_map(|row| values.iter().map(move |column| column[row]))
            .collect();
        Design {
            rows,
            columns,
            covariates,
            terms: observations.terms,
        }
    }

    pub(crate) fn covariates(&self, row: usize) -> &[f64] {
        let width = self.columns.len();
        &self.covariates[row * width..(row + 1) * width]
    }

    /// The product of a row's covariates with coefficients.
    pub(crate) fn predictor(&self, row: usize, coefficients: &[f64]) -> f64 {
        let products = self.covariates(row).iter().zip(coefficients);
        products.map(|(x, coefficient)| x * coefficient).sum()
    }

    /// Every term with the same status.
    pub(crate) fn all(&self, term: Term) -> Vec<Term> {
        vec![term; self.terms]
    }

    /// The terms of a fit; those that aren't in the design have no variation.
    ///
    /// - `estimate`: coefficient and variance of a column, in its standard deviations
    /// - `first`: where among the parameters of the maximum the columns begin
    pub(crate) fn terms(
        &self,
        maximum: Option<&Maximum>,
        first: usize,
        estimate: impl Fn(&Maximum, usize) -> (f64, f64),
    ) -> Vec<Term> {
        let mut terms = self.all(Term::NoVariation);
        for (at, column) in self.columns.iter().enumerate() {
            let Some(maximum) = maximum else {
                terms[column.term] = Term::NotConverged;
                continue;
            };
            let (coefficient, variance) = estimate(maximum, at);
            let step = maximum.runaway.as_ref().map(|step| step[first + at]);
            let is_separated = step.is_some_and(|step| {
                (step * column.range).abs() >= RUNAWAY_TERM
                    || variance.sqrt() * column.range >= UNKNOWN
            });
            terms[column.term] = match is_separated {
                true => Term::Separated,
                false => Term::estimated(
                    coefficient / column.deviation,
                    variance.sqrt() / column.deviation,
                ),
            };
        }
        terms
    }
}

/// The distinct rows, the latest first, and where each has its covariates.
fn grouped(
    observations: &Observations,
    time_of: impl Fn(f64, f64) -> Option<f64>,
) -> (Vec<Row>, Vec<usize>) {
    let times = observations.times.iter().zip(&observations.events);
    let mut order = times
        .enumerate()
        .filter_map(|(place, (time, events))| Some((time_of(*time, *events)?, place)))
        .collect::<Vec<_>>();
    let compare = |a: usize, b: usize| {
        let (a, b) = (observations.covariates(a), observations.covariates(b));
        let unequal = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
        unequal
            .into_iter()
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    order.sort_unstable_by(|(time_a, a), (time_b, b)| {
        time_b.total_cmp(time_a).then_with(|| compare(*a, *b))
    });
    let mut rows: Vec<Row> = Vec::with_capacity(order.len());
    let mut places: Vec<usize> = Vec::with_capacity(order.len());
    for (time, place) in order {
        let events = observations.events[place];
        let total = events + observations.censored[place];
        match (rows.last_mut(), places.last()) {
            (Some(last), Some(same)) if last.time == time && compare(*same, place).is_eq() => {
                last.events += events;
                last.total += total;
            }
            _ => {
                rows.push(Row {
                    time,
                    events,
                    total,
                });
                places.push(place);
            }
        }
    }
    (rows, places)
}

/// A covariate's standard deviation, its range in standard deviations, and its values of mean 0 and deviation 1;
/// `None` when it is the same in all rows.
fn standardised(raw: &[f64], rows: &[Row], total: f64) -> Option<(f64, f64, Vec<f64>)> {
    let least = raw.iter().copied().min_by(f64::total_cmp)?;
    let range = raw.iter().copied().max_by(f64::total_cmp)? - least;
    // Positions within the range are near 1, whatever the unit.
    let mut values = raw
        .iter()
        .map(|value| (value - least) / range)
        .collect::<Vec<_>>();
    let mean = |values: &[f64]| {
        let weighted = values
            .iter()
            .zip(rows)
            .map(|(value, row)| value * row.total);
        weighted.sum::<f64>() / total
    };
    let centre = mean(&values);
    values.iter_mut().for_each(|value| *value -= centre);
    let squares = values.iter().map(|value| value * value).collect::<Vec<_>>();
    let deviation = mean(&squares).sqrt();
    // A range of zero, and one that is infinite, have made it NaN or zero.
    if deviation.is_nan() || deviation <= 0.0 {
        return None;
    }
    values.iter_mut().for_each(|value| *value /= deviation);
    Some((deviation * range, 1.0 / deviation, values))
}

/// Takes out the columns that are linear combinations of those before them.
fn keep_independent(
    columns: &mut Vec<Column>,
    values: &mut Vec<Vec<f64>>,
    rows: &[Row],
    total: f64,
) {
    let mut correlations = Symmetric::zero(values.len());
    for (at, left) in values.iter().enumerate() {
        for (other, right) in values.iter().enumerate().take(at + 1) {
            let products = left.iter().zip(right).zip(rows);
            let sum = products.map(|((left, right), row)| left * right * row.total);
            correlations.add(at, other, sum.sum::<f64>() / total);
        }
    }
    let kept = correlations.independent();
    let mut keep = kept.iter();
    columns.retain(|_| keep.next() == Some(&true));
    let mut keep = kept.iter();
    values.retain(|_| keep.next() == Some(&true));
}

/// A coefficient and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The coefficient, for one unit of the covariate.
    pub coefficient: f64,
    /// Its standard error, from the observed information.
    pub standard_error: f64,
    /// The coefficient in standard errors: Wald's statistic.
    pub z: f64,
    /// Its two-sided probability when the covariate makes no difference.
    pub p: f64,
}

impl Estimate {
    /// The limits of the coefficient at 95 %, by Wald.
    pub fn limits(&self) -> (f64, f64) {
        let width = DEVIATE_95 * self.standard_error;
        (self.coefficient - width, self.coefficient + width)
    }
}

/// What a regression says of a covariate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Term {
    /// A coefficient.
    Estimated(Estimate),
    /// There are no follow-ups.
    NoData,
    /// No follow-up ended by the event.
    NoEvents,
    /// The covariate is the same for all that count, or a linear combination of the terms before it.
    NoVariation,
    /// The likelihood has no maximum: the covariate tells without exception who is next, so the data set no limit to
    /// its effect.
    Separated,
    /// The search for the maximum ended without one.
    NotConverged,
}

impl Term {
    fn estimated(coefficient: f64, standard_error: f64) -> Term {
        let z = coefficient / standard_error;
        if !z.is_finite() {
            return Term::NotConverged;
        }
        Term::Estimated(Estimate {
            coefficient,
            standard_error,
            z,
            p: erfc(z.abs() / std::f64::consts::SQRT_2),
        })
    }

    /// The estimate, where there is one.
    pub fn estimate(&self) -> Option<&Estimate> {
        match self {
            Term::Estimated(estimate) => Some(estimate),
            _ => None,
        }
    }

    /// A word for results.
    pub fn status(&self) -> &'static str {
        match self {
            Term::Estimated(_) => "ok",
            Term::NoData => "no_data",
            Term::NoEvents => "no_events",
            Term::NoVariation => "no_variation",
            Term::Separated => "separated",
            Term::NotConverged => "not_converged",
        }
    }
}

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// One for each covariate, in their order.
    pub terms: Vec<Term>,
    /// The log-likelihood at the maximum, or its limit where a term is separated.
    pub log_likelihood: Option<f64>,
    /// Follow-ups.
    pub n: i64,
    /// Follow-ups that ended by the event.
    pub events: i64,
    /// Whether the maximum, or the limit, was found.
    pub converged: bool,
}

impl Fit {
    /// A fit without estimates.
    pub(crate) fn without(observations: &Observations, term: Term) -> Fit {
        Fit {
            terms: vec![term; observations.terms],
            log_likelihood: None,
            n: observations.count(),
            events: observations.event_count(),
            converged: false,
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Data that the tests of the regressions share.
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    /// A follow-up: its time, whether the event ended it, and its covariates.
    pub(crate) type Entity = (f64, bool, Vec<f64>);

    /// Weeks of remission of 21 patients with 6-mercaptopurine and of 21 with a placebo.
    /// E. Freireich and others, Blood 21 (1963), 699–716; the covariate is 1 for the placebo.
    pub(crate) fn freireich() -> Vec<Entity> {
        let treated = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|time| (time, true, 0));
        let censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|time| (time, false, 0));
        let placebo = [
            1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23,
        ]
        .map(|time| (time, true, 1));
        let all = treated.into_iter().chain(censored).chain(placebo);
        all.map(|(time, event, x)| (f64::from(time), event, vec![f64::from(x)]))
            .collect()
    }

    /// 60 generated deals, their times so coarse that most are tied: time, event, size, years, web.
    #[rustfmt::skip]
    const DEALS: [(i32, i32, i32, i32, i32); 60] = [
        (6, 1, 20, 5, 1), (4, 0, 27, 7, 1), (7, 1, 15, 6, 1), (5, 0, 8, 8, 0), (2, 1, 13, 11, 1), (1, 0, 7, 1, 1),
        (1, 0, 21, 6, 0), (2, 0, 77, 5, 0), (3, 1, 12, 4, 0), (2, 0, 11, 2, 1), (7, 0, 33, 0, 0), (1, 0, 29, 4, 0),
        (5, 1, 22, 9, 1), (4, 0, 8, 1, 0), (5, 1, 20, 4, 1), (1, 0, 40, 11, 0), (6, 1, 5, 11, 1), (4, 0, 13, 2, 0),
        (5, 1, 3, 0, 0), (5, 0, 6, 8, 1), (2, 1, 3, 0, 0), (5, 0, 16, 3, 1), (4, 0, 6, 5, 1), (3, 1, 26, 10, 0),
        (2, 0, 23, 1, 0), (2, 1, 17, 7, 1), (2, 1, 2, 6, 0), (4, 1, 12, 1, 1), (5, 1, 19, 10, 1), (3, 1, 22, 10, 0),
        (3, 0, 4, 5, 0), (4, 1, 12, 11, 1), (8, 1, 8, 7, 0), (4, 0, 9, 10, 1), (7, 1, 58, 11, 1), (5, 1, 9, 6, 0),
        (5, 1, 19, 3, 1), (5, 1, 49, 1, 1), (2, 1, 11, 6, 1), (2, 1, 18, 2, 1), (4, 0, 22, 9, 1), (4, 1, 21, 11, 1),
        (3, 1, 6, 2, 1), (6, 1, 22, 6, 0), (2, 0, 78, 0, 0), (5, 1, 4, 2, 1), (9, 0, 47, 4, 0), (2, 1, 23, 10, 0),
        (4, 1, 11, 11, 1), (2, 1, 148, 7, 1), (4, 1, 43, 7, 1), (4, 1, 6, 6, 1), (1, 0, 22, 0, 1), (1, 1, 36, 4, 0),
        (2, 1, 17, 11, 1), (10, 1, 40, 4, 0), (8, 0, 19, 2, 1), (6, 1, 39, 2, 1), (3, 1, 85, 8, 1), (11, 1, 10, 0, 0),
    ];

    pub(crate) fn deals() -> Vec<Entity> {
        let entity = |(time, event, size, years, web): (i32, i32, i32, i32, i32)| {
            let covariates = [size, years, web].map(f64::from).to_vec();
            (f64::from(time), event == 1, covariates)
        };
        DEALS.into_iter().map(entity).collect()
    }

    pub(crate) fn observations(entities: &[Entity]) -> Observations {
        let terms = entities.first().map_or(0, |entity| entity.2.len());
        let mut observations = Observations::new(terms);
        for (time, event, covariates) in entities {
            observations.push(*time, i64::from(*event), i64::from(!*event), covariates);
        }
        observations
    }

    /// The same entities with other covariates.
    pub(crate) fn with(entities: &[Entity], change: impl Fn(&[f64]) -> Vec<f64>) -> Vec<Entity> {
        let changed = entities
            .iter()
            .map(|(time, event, x)| (*time, *event, change(x)));
        changed.collect()
    }

    /// Numbers between 0 and 1 that look random, the same every time (splitmix64).
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::EPSILON
        }
    }

    /// ln 0.71 for each unit of ln(size), ln 1.085 for each year of experience: what [`simulated`] is made with.
    pub(crate) const TRUTH: [f64; 2] = [-0.34, 0.082];
    /// The shape of the cycles that [`simulated`] makes.
    pub(crate) const TRUE_SHAPE: f64 = 1.5;

    /// Deals whose cycle is Weibull with the hazard ratios of [`TRUTH`], some of which are lost first, and some are
    /// still open when they are looked at. Times are whole days.
    pub(crate) fn simulated(count: usize, seed: u64) -> Vec<Entity> {
        let mut random = Random(seed);
        let mut entity = |_| {
            // A sum of uniform ones is normal enough for a log size.
            let log_size = 8.0 + (0..6).map(|_| random.next()).sum::<f64>();
            let years = (random.next() * 15.0).floor();
            let hazard = (TRUTH[0] * (log_size - 11.0) + TRUTH[1] * (years - 7.0)).exp();
            let won = 90.0 * (-random.next().ln() / hazard).powf(1.0 / TRUE_SHAPE);
            let lost = 150.0 * -random.next().ln();
            let open = 20.0 + 180.0 * random.next();
            let event = won <= lost.min(open);
            (won.min(lost).min(open).ceil(), event, vec![log_size, years])
        };
        (0..count).map(&mut entity).collect()
    }

    /// Entities with ties, two numbers and a yes or no.
    pub(crate) fn entities() -> impl Strategy<Value = Vec<Entity>> {
        let entity = (1_u8..20, any::<bool>(), 0_u8..50, 0.0..5.0, any::<bool>());
        let entity = entity.prop_map(|(time, event, a, b, c)| {
            let covariates = vec![f64::from(a), b, f64::from(u8::from(c))];
            (f64::from(time), event, covariates)
        });
        proptest::collection::vec(entity, 1..120)
    }

    /// Another order, by a seed.
    pub(crate) fn shuffled<T>(mut entities: Vec<T>, seed: u64) -> Vec<T> {
        let mut random = Random(seed);
        entities.sort_by_cached_key(|_| random.next().to_bits());
        entities
    }

    /// Whether a term is the expected one, its numbers within a relative tolerance.
    #[track_caller]
    pub(crate) fn assert_close(found: &Term, coefficient: f64, standard_error: f64, within: f64) {
        let found = found
            .estimate()
            .unwrap_or_else(|| panic!("{}", found.status()));
        let near =
            |found: f64, expected: f64| (found - expected).abs() <= within * (1.0 + expected.abs());
        assert!(
            near(found.coefficient, coefficient) && near(found.standard_error, standard_error),
            "{found:?} is not {coefficient} ± {standard_error}"
        );
    }

    /// Whether the terms of two fits agree: statuses are the same, and coefficients within a share of their errors.
    /// Beside a separated term the others are only near their limit.
    pub(crate) fn agree(found: &[Term], expected: &[Term]) -> bool {
        let within = if expected.contains(&Term::Separated) {
            1e-4
        } else {
            1e-7
        };
        found.len() == expected.len()
            && found.iter().zip(expected).all(|terms| match terms {
                (Term::Estimated(a), Term::Estimated(b)) => {
                    let (difference, ratio) = (
                        a.coefficient - b.coefficient,
                        a.standard_error / b.standard_error,
                    );
                    difference.abs() <= within * b.standard_error && (ratio - 1.0).abs() <= within
                }
                (a, b) => a == b,
            })
    }
}
