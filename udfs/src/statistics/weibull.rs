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
///   nobody is followed for longer
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
    let maximum = maximise(&likelihood, likelihood.start());
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
        let sum = rows.iter().map(|row| row.events * row.time.ln()).sum::<f64>();
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
