//! By which factor does a covariate stretch the time to the event? Weibull's accelerated failure time.
//!
//! The time of an entity with covariates `x` is that of another, times `exp((x - x') α)`; the share that is still
//! without the event at `t` is `exp(-(t / exp(α₀ + x α))^ρ)`. With `ρ` free, and follow-ups that end otherwise
//! censored, it is fitted by maximum likelihood.
//!
//! A time of 0: a Weibull time is never 0, so the likelihood of an event there is 0 or infinite. Times in whole days
//! do have it: the event came within the first one. It counts as an event after half of the shortest time above 0
//! of all follow-ups. A follow-up that is censored at 0 says nothing, and is left out.
//!
//! Cost: one sort, and for each of about 10 steps a product of each two covariates a distinct row. Bytes: the
//! covariates of each distinct row, twice.
//!
//! Source: J. Kalbfleisch and R. Prentice, The Statistical Analysis of Failure Time Data (2002), sections 2.3 and 3.6.

use super::newton::{LogLikelihood, Maximum, Point, Symmetric, maximise};
use super::regression::{Design, Fit, Observations, Term};

/// A fitted Weibull regression.
#[derive(Debug, Clone, PartialEq)]
pub struct WeibullFit {
    /// The coefficients `α`, whose `exp` are ratios of times, and the rest. The log-likelihood is that of the times.
    pub fit: Fit,
    /// `ρ`: above 1 the event gets likelier the longer one waits.
    pub shape: Option<f64>,
}

/// Fits the time to the event on the covariates.
///
/// - a positive coefficient: the event comes later
/// - statuses as in [`super::cox::fit`], where no follow-up is without a say except those censored at 0
/// - [`Term::NotConverged`] where the likelihood has no maximum in `ρ`, as when all events have the same time and
///   nobody is followed for longer, or when the covariates tell each event's time
pub fn fit(observations: &Observations) -> WeibullFit {
    let without = |term| WeibullFit {
        fit: Fit::without(observations, term),
        shape: None,
    };
    if observations.count() == 0 {
        return without(Term::NoData);
    }
    if observations.event_count() == 0 {
        return without(Term::NoEvents);
    }
    // Without a time above 0 there is no unit of time either.
    let Some(shortest) = observations.shortest() else {
        return without(Term::NotConverged);
    };
    let design = Design::new(observations, |time, events| match time > 0.0 {
        true => Some(time),
        false => (events > 0.0).then_some(shortest / 2.0),
    });
    let likelihood = WeibullLikelihood::new(&design);
    let maximum = maximise(&likelihood, likelihood.start())
        .filter(|maximum| maximum.parameters[SHAPE] <= LARGEST_SHAPE);
    let terms = design.terms(maximum.as_ref(), FIRST_COLUMN, stretch);
    WeibullFit {
        fit: Fit {
            terms,
            log_likelihood: maximum
                .as_ref()
                .map(|maximum| maximum.value - likelihood.events * likelihood.centre),
            n: observations.count(),
            events: observations.event_count(),
            converged: maximum.is_some(),
        },
        shape: maximum.map(|maximum| maximum.parameters[SHAPE]),
    }
}

/// The position of `ρ` among the parameters; the constant is next to it.
const SHAPE: usize = 0;
/// The position of the first covariate's parameter.
const FIRST_COLUMN: usize = 2;

/// A shape above this is on its way to infinity: times that differ by 0.01 % are rounded, or explained exactly.
const LARGEST_SHAPE: f64 = 1e4;

/// The coefficient `α = γ / ρ` of a column and, by the delta method, its variance.
fn stretch(maximum: &Maximum, column: usize) -> (f64, f64) {
    let at = FIRST_COLUMN + column;
    let shape = maximum.parameters[SHAPE];
    let stretch = maximum.parameters[at] / shape;
    let covariance = &maximum.covariance;
    let variance = covariance.get(at, at) - 2.0 * stretch * covariance.get(at, SHAPE)
        + stretch * stretch * covariance.get(SHAPE, SHAPE);
    (stretch, variance / (shape * shape))
}

/// The likelihood in `ρ` and `γ = ρ α`, in which it is concave: with `u = ρ ln t - γ₀ - x γ` it is the sum of
/// `ln ρ + u - ln t` over the events, less that of `exp(u)` over all.
struct WeibullLikelihood<'a> {
    design: &'a Design,
    /// The logarithms of the times, less `centre`.
    logs: Vec<f64>,
    /// The mean logarithm of the events' times. The constant takes it up; sums of squares keep their digits.
    centre: f64,
    events: f64,
}

impl WeibullLikelihood<'_> {
    fn new(design: &Design) -> WeibullLikelihood<'_> {
        let rows = &design.rows;
        let events = rows.iter().map(|row| row.events).sum::<f64>();
        let sum = rows
            .iter()
            .map(|row| row.events * row.time.ln())
            .sum::<f64>();
        let centre = sum / events;
        WeibullLikelihood {
            design,
            logs: rows.iter().map(|row| row.time.ln() - centre).collect(),
            centre,
            events,
        }
    }

    /// The exponential distribution without covariates.
    fn start(&self) -> Vec<f64> {
        let logs = self.logs.iter().zip(&self.design.rows);
        let time = logs.map(|(log, row)| row.total * log.exp()).sum::<f64>();
        let mut start = vec![0.0; FIRST_COLUMN + self.design.columns.len()];
        start[SHAPE] = 1.0;
        start[SHAPE + 1] = (time / self.events).ln();
        start
    }

    /// What the parameters of a row are multiplied with.
    fn factors(&self, row: usize, factors: &mut [f64]) {
        factors[SHAPE] = self.logs[row];
        factors[SHAPE + 1] = -1.0;
        let x = self.design.covariates(row);
        for (factor, x) in factors[FIRST_COLUMN..].iter_mut().zip(x) {
            *factor = -x;
        }
    }

    fn predictor(&self, row: usize, parameters: &[f64]) -> f64 {
        parameters[SHAPE] * self.logs[row]
            - parameters[SHAPE + 1]
            - self.design.predictor(row, &parameters[FIRST_COLUMN..])
    }
}

impl LogLikelihood for WeibullLikelihood<'_> {
    fn at(&self, parameters: &[f64]) -> Point {
        let shape = parameters[SHAPE];
        let mut point = Point {
            // NaN for a shape below 0.
            value: self.events * shape.ln(),
            gradient: vec![0.0; parameters.len()],
            information: Symmetric::zero(parameters.len()),
        };
        point.gradient[SHAPE] = self.events / shape;
        point
            .information
            .add(SHAPE, SHAPE, self.events / (shape * shape));
        let mut factors = vec![0.0; parameters.len()];
        for (at, row) in self.design.rows.iter().enumerate() {
            let predictor = self.predictor(at, parameters);
            let expected = row.total * predictor.exp();
            point.value += row.events * predictor - expected;
            self.factors(at, &mut factors);
            for (sum, factor) in point.gradient.iter_mut().zip(&factors) {
                *sum += (row.events - expected) * factor;
            }
            point.information.add_square(expected, &factors);
        }
        point
    }

    fn change(&self, step: &[f64]) -> f64 {
        (0..self.design.rows.len())
            .map(|row| self.predictor(row, step).abs())
            .fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::super::regression::testing::*;
    use super::*;

    fn fitted(entities: &[Entity]) -> WeibullFit {
        fit(&observations(entities))
    }

    fn statuses(entities: &[Entity]) -> Vec<&'static str> {
        let terms = fitted(entities).fit.terms;
        terms.iter().map(Term::status).collect()
    }

    #[test]
    fn it_equals_lifelines() {
        // lifelines 0.30.3, WeibullAFTFitter().fit(…): lambda_ and the exponential of rho_.
        let remission = fitted(&freireich());
        assert_close(&remission.fit.terms[0], -1.267_334_6, 0.310_639_9, 1e-6);
        assert!((remission.shape.unwrap().ln() - 0.311_709_2).abs() < 1e-6);
        assert!((remission.fit.log_likelihood.unwrap() + 106.579_491_581_5).abs() < 1e-9);

        let drivers = fitted(&deals());
        let expected = [
            (-0.000_441_134, 0.003_687_532),
            (-0.037_145_658, 0.020_829_584),
            (-0.184_730_669, 0.159_358_610),
        ];
        for (term, (coefficient, standard_error)) in drivers.fit.terms.iter().zip(expected) {
            assert_close(term, coefficient, standard_error, 1e-6);
        }
        assert!((drivers.shape.unwrap().ln() - 0.856_027_3).abs() < 1e-6);
        assert!((drivers.fit.log_likelihood.unwrap() + 91.523_026_315_6).abs() < 1e-6);
    }

    #[test]
    fn planted_time_ratios_are_found_again() {
        let found = fitted(&simulated(5_000, 1));
        for (term, truth) in found.fit.terms.iter().zip(TRUTH) {
            let (low, high) = term.estimate().unwrap().limits();
            let stretch = -truth / TRUE_SHAPE;
            assert!(low < stretch && stretch < high, "{term:?}");
        }
        assert!(
            (found.shape.unwrap() - TRUE_SHAPE).abs() < 0.08,
            "{:?}",
            found.shape
        );
    }

    #[test]
    fn an_event_at_once_comes_after_half_of_the_shortest_time() {
        let mut at_once = deals();
        at_once.push((0.0, true, vec![20.0, 3.0, 1.0]));
        let mut halved = deals();
        halved.push((0.5, true, vec![20.0, 3.0, 1.0]));
        assert_eq!(fitted(&at_once), fitted(&halved));

        // Whoever is looked at once, at the start, says nothing.
        let mut censored = deals();
        censored.push((0.0, false, vec![20.0, 3.0, 1.0]));
        let found = fitted(&censored);
        assert_eq!(found.fit.terms, fitted(&deals()).fit.terms);
        assert_eq!(found.fit.n, 61);
    }

    #[test]
    fn without_a_maximum_there_is_no_estimate() {
        let x = |x: f64| vec![x];
        let same_time = [
            (3.0, true, x(1.0)),
            (3.0, true, x(2.0)),
            (1.0, false, x(4.0)),
        ];
        assert_eq!(statuses(&same_time), ["not_converged"]);
        let all_at_once = [(0.0, true, x(1.0)), (0.0, true, x(2.0))];
        assert_eq!(statuses(&all_at_once), ["not_converged"]);
        assert_eq!(fitted(&all_at_once).shape, None);
        let open = [(3.0, false, x(1.0)), (4.0, false, x(2.0))];
        assert_eq!(statuses(&open), ["no_events"]);
        assert_eq!(fit(&Observations::new(1)).fit.terms, [Term::NoData]);
    }

    #[test]
    fn a_group_without_events_is_separated_and_the_others_are_as_without_it() {
        let present = fitted(&deals());
        let mut entities = with(&deals(), |x| [x, &[0.0]].concat());
        for time in [2.0, 5.0, 12.0] {
            entities.push((time, false, vec![10.0, 3.0, 1.0, 1.0]));
        }
        let found = fitted(&entities);
        assert_eq!(found.fit.terms[3], Term::Separated);
        for (found, expected) in found.fit.terms.iter().zip(&present.fit.terms) {
            let expected = expected.estimate().unwrap();
            assert_close(found, expected.coefficient, expected.standard_error, 1e-6);
        }
    }

    proptest! {
        #[test]
        fn every_row_many_times_leaves_the_coefficients(entities in entities(), times in 2_i64..5) {
            let once = fitted(&entities);
            let mut often = Observations::new(3);
            for (time, event, covariates) in &entities {
                let events = if *event { times } else { 0 };
                often.push(*time, events, times - events, covariates);
            }
            let often = fit(&often);
            let mut expected = once.fit.terms.clone();
            for term in &mut expected {
                if let Term::Estimated(estimate) = term {
                    estimate.standard_error /= (times as f64).sqrt();
                }
            }
            prop_assert!(agree(&often.fit.terms, &expected), "{often:?} {expected:?}");
        }

        #[test]
        fn order_changes_no_bit(entities in entities(), seed in any::<u64>()) {
            prop_assert_eq!(fitted(&shuffled(entities.clone(), seed)), fitted(&entities));
        }

        #[test]
        fn units_scale_coefficients_and_the_unit_of_time_changes_none(
            entities in entities(), unit in 0.001..1000.0, hours in 0.01..100.0,
        ) {
            let mut changed = with(&entities, |x| vec![x[0] * unit - 7.0, x[1], 1.0 - x[2]]);
            changed.iter_mut().for_each(|entity| entity.0 *= hours);
            let changed = fitted(&changed);
            let mut expected = fitted(&entities);
            for (at, factor) in [(0, 1.0 / unit), (2, -1.0)] {
                if let Term::Estimated(estimate) = &mut expected.fit.terms[at] {
                    estimate.coefficient *= factor;
                    estimate.standard_error *= factor.abs();
                }
            }
            prop_assert!(agree(&changed.fit.terms, &expected.fit.terms), "{changed:?} {expected:?}");
        }
    }
}
