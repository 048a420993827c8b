//! Which covariates make the event come sooner or later? Cox's proportional hazards, with Efron's way of ties.
//!
//! The hazard of an entity with covariates `x` is `h(t) exp(x β)`, with any `h`. At a time with `d` events, `R` those
//! whose follow-up lasts as long or longer and `D ⊂ R` those with the event, the log-likelihood grows by
//! `Σ_D x β - Σ_{l<d} ln(Σ_R exp(x β) - l/d Σ_D exp(x β))`. Cause-specific: what ends a follow-up by another cause
//! is censored, so the hazard is that of the event among those that are still under way.
//!
//! Ties: events come before what is censored at the same time. A time of 0 is a time like others. Efron's way isn't
//! Breslow's: every row twice makes ties, and so a slightly other coefficient.
//!
//! Cost: one sort; then for each of about 10 steps a product of each two covariates a distinct row, and a logarithm
//! an event. Bytes: the covariates of each distinct row, twice.
//!
//! Source: D. R. Cox, JRSS B 34 (1972), 187–220; B. Efron, JASA 72 (1977), 557–565; J. Kalbfleisch and R. Prentice,
//! The Statistical Analysis of Failure Time Data (2002), section 4.2 and, for competing causes, section 8.2.

use super::newton::{LogLikelihood, Point, Symmetric, maximise};
use super::regression::{Design, Fit, Observations, Term};

/// Fits the hazard of the event on the covariates.
///
/// - a positive coefficient: the event comes sooner; `exp` of it is the ratio of hazards for one unit
/// - [`Term::NoVariation`] for a covariate that is the same, or a combination of those before it, among the follow-ups
///   that last until the first event or longer; only those say anything
/// - [`Term::Separated`] where the coefficient would be infinite; the others are then those of that limit
/// - the log-likelihood is the partial one
pub fn fit(observations: &Observations) -> Fit {
    if observations.count() == 0 {
        return Fit::without(observations, Term::NoData);
    }
    let Some(first_event) = observations.first_event() else {
        return Fit::without(observations, Term::NoEvents);
    };
    let design = Design::new(observations, |time, _| {
        (time >= first_event).then_some(time)
    });
    let start = vec![0.0; design.columns.len()];
    let partial = PartialLikelihood { design: &design };
    let maximum = maximise(&partial, start);
    let terms = design.terms(maximum.as_ref(), 0, |maximum, at| {
        (maximum.parameters[at], maximum.covariance.get(at, at))
    });
    Fit {
        terms,
        log_likelihood: maximum.as_ref().map(|maximum| maximum.value),
        n: observations.count(),
        events: observations.event_count(),
        converged: maximum.is_some(),
    }
}

struct PartialLikelihood<'a> {
    design: &'a Design,
}

/// Sums over a set of entities, weighted by `exp(x β)`.
struct Sums {
    weight: f64,
    first: Vec<f64>,
    second: Symmetric,
}

impl Sums {
    fn zero(size: usize) -> Sums {
        Sums {
            weight: 0.0,
            first: vec![0.0; size],
            second: Symmetric::zero(size),
        }
    }

    fn add(&mut self, weight: f64, x: &[f64]) {
        self.weight += weight;
        add_scaled(&mut self.first, weight, x);
        self.second.add_square(weight, x);
    }

    fn clear(&mut self) {
        self.weight = 0.0;
        self.first.fill(0.0);
        self.second.clear();
    }
}

fn add_scaled(sum: &mut [f64], weight: f64, x: &[f64]) {
    sum.iter_mut()
        .zip(x)
        .for_each(|(sum, x)| *sum += weight * x);
}

impl LogLikelihood for PartialLikelihood<'_> {
    fn at(&self, parameters: &[f64]) -> Point {
        let design = self.design;
        let size = parameters.len();
        let predictors = (0..design.rows.len())
            .map(|row| design.predictor(row, parameters))
            .collect::<Vec<_>>();
        // The likelihood is one of ratios: what all predictors have in common falls out, and `exp` stays finite.
        let highest = predictors.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut point = Point {
            value: 0.0,
            gradient: vec![0.0; size],
            information: Symmetric::zero(size),
        };
        let (mut at_risk, mut tied) = (Sums::zero(size), Sums::zero(size));
        let mut row = 0;
        for same_time in design.rows.chunk_by(|a, b| a.time == b.time) {
            tied.clear();
            let mut events = 0.0;
            for entities in same_time {
                let x = design.covariates(row);
                let predictor = predictors[row] - highest;
                let weight = predictor.exp();
                at_risk.add(entities.total * weight, x);
                if entities.events > 0.0 {
                    tied.add(entities.events * weight, x);
                    events += entities.events;
                    point.value += entities.events * predictor;
                    add_scaled(&mut point.gradient, entities.events, x);
                }
                row += 1;
            }
            add_events(&mut point, events, &at_risk, &tied);
        }
        point
    }

    fn change(&self, step: &[f64]) -> f64 {
        let changes = (0..self.design.rows.len()).map(|row| self.design.predictor(row, step));
        // Only differences between rows matter.
        let (least, most) = changes.fold((0.0_f64, 0.0_f64), |(least, most), change| {
            (least.min(change), most.max(change))
        });
        most - least
    }
}

/// Adds what the events of one time contribute through those at risk.
///
/// With `φ_l = Σ_R - l/d Σ_D`, all sums over `l` are sums of powers of `l/d` over powers of `φ_l`: a time with many
/// events costs a few numbers for each, not a matrix.
fn add_events(point: &mut Point, events: f64, at_risk: &Sums, tied: &Sums) {
    let (mut inverse, mut share_inverse) = (0.0, 0.0);
    let (mut square, mut share_square, mut share2_square) = (0.0, 0.0, 0.0);
    for before in 0..events as u64 {
        let share = before as f64 / events;
        let left = at_risk.weight - share * tied.weight;
        point.value -= left.ln();
        inverse += 1.0 / left;
        share_inverse += share / left;
        square += 1.0 / (left * left);
        share_square += share / (left * left);
        share2_square += share * share / (left * left);
    }
    if events == 0.0 {
        return;
    }
    add_scaled(&mut point.gradient, -inverse, &at_risk.first);
    add_scaled(&mut point.gradient, share_inverse, &tied.first);
    let information = &mut point.information;
    information.add_scaled(inverse, &at_risk.second);
    information.add_square(-square, &at_risk.first);
    if share_inverse > 0.0 {
        information.add_scaled(-share_inverse, &tied.second);
        information.add_product(share_square, &at_risk.first, &tied.first);
        information.add_square(-share2_square, &tied.first);
    }
}
