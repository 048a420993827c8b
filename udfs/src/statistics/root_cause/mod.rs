//! Where a change lies: the elements of dimensions, or combinations of them, that account for it.
//!
//! With `F` the measure of the base period and `A` that of the current one, of an element `i` and of all:
//!
//! - explanatory power: `EP_i = (A_i - F_i) / (A - F)`; of a rate `a / b` what the rate of all would have changed had only this element
//!   changed, `((ΔA_a) F_b - (ΔA_b) F_a) / (F_b (F_b + ΔA_b))`, with the elements' sum made 1
//! - surprise: `½ (p ln(2p / (p+q)) + q ln(2q / (p+q)))` with `p = F_i / F`, `q = A_i / A`; of a rate the sum of that of numerator and denominator
//!
//! R. Bhagwan and others, Adtributor, NSDI 2014. How elements are chosen by these: [`adtributor`], [`recursive`], [`riskloc`].
//!
//! What a cause accounts for, `contribution`, is `A_i - F_i` with limits of Poisson counts, and of a rate its rate and mix effect
//! ([`mix_rate`](super::mix_rate)) beside all others: over elements that are all there are it sums to the change.

pub mod adtributor;
pub mod recursive;
pub mod riskloc;

use std::collections::BTreeSet;

use super::adjust::{Adjustment, adjusted};
use super::mix_rate::{Counted, Limited, mix_rate};
use super::{two_rates, two_sided};
use crate::error::FunnelError;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Measure {
    /// `k / n`.
    #[default]
    Rate,
    /// `n`.
    Volume,
    /// What the successes are worth.
    Amount,
}

/// How causes are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// The best elements of each dimension.
    #[default]
    Adtributor,
    /// The best elements of each dimension, and within each of the other dimensions.
    Recursive,
    /// Combinations by their weighted risk.
    RiskLoc,
}

/// Numbers of one period.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Side {
    /// The successes.
    pub k: f64,
    /// All.
    pub n: f64,
    /// What the successes are worth.
    pub amount: f64,
    /// The squares of what each is worth.
    pub squares: f64,
}

impl Side {
    fn add(&mut self, other: Side) {
        self.k += other.k;
        self.n += other.n;
        self.amount += other.amount;
        self.squares += other.squares;
    }

    fn less(self, other: Side) -> Side {
        Side {
            k: self.k - other.k,
            n: self.n - other.n,
            amount: self.amount - other.amount,
            squares: self.squares - other.squares,
        }
    }

    /// The measure; none of a rate without a denominator.
    pub fn value(self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Rate => (self.n > 0.0).then(|| self.k / self.n),
            Measure::Volume => Some(self.n),
            Measure::Amount => Some(self.amount),
        }
    }

    /// The numbers that are added up over elements: numerator and denominator of a rate, or the measure and nothing.
    fn sums(self, measure: Measure) -> (f64, f64) {
        match measure {
            Measure::Rate => (self.k, self.n),
            Measure::Volume => (self.n, 0.0),
            Measure::Amount => (self.amount, 0.0),
        }
    }
}

/// An element's name; it may be NULL.
pub type Name = Option<String>;

/// Base and current.
pub type Sides = [Side; 2];

/// Counts of an element, or of a combination of one element of each dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The element's dimension; none of a combination.
    pub dimension: Option<usize>,
    /// The element, or one of each dimension.
    pub values: Vec<Name>,
    /// Base and current.
    pub sides: Sides,
}

/// How a search goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// What changed.
    pub measure: Measure,
    /// How causes are searched.
    pub search: Search,
    /// The explanatory power that an element must exceed.
    pub teep: f64,
    /// What the elements of a dimension must exceed together.
    pub tep: f64,
    /// The most causes.
    pub k: usize,
}

/// Elements that account for a part of the change.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// The dimensions, in their order.
    pub dimensions: Vec<usize>,
    /// The elements, each with a value of every dimension.
    pub elements: Vec<Vec<Name>>,
    /// Their part of the change.
    pub explanatory_power: f64,
    /// How much their share of all changed.
    pub surprise: f64,
    /// Their numbers.
    pub sides: Sides,
}

/// A cause with what it accounts for.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The cause.
    pub cause: Cause,
    /// Its part of the change, with its limits.
    pub contribution: Limited,
    /// Of the hypothesis that its own measure didn't change.
    pub p: Option<f64>,
    /// The same over all candidates (Benjamini–Hochberg).
    pub q: Option<f64>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The measure's numbers of all.
    pub sides: Sides,
    /// The change of all with its limits; none without data of both periods.
    pub change: Option<Limited>,
    /// Whether the change is beyond chance. There are no causes where it isn't.
    pub is_beyond_chance: bool,
    /// The causes, the first one first.
    pub causes: Vec<Judged>,
}

/// Searches the causes of a change, if it is one.
///
/// - `cells`: for [`Search::Adtributor`] of each element of each dimension, otherwise of each combination
/// - errors: 22023 for counts that can't be
pub fn root_causes(mut cells: Vec<Cell>, options: &Options) -> Result<Report, FunnelError> {
    cells.sort_by(|a, b| (a.dimension, &a.values).cmp(&(b.dimension, &b.values)));
    let whole = whole(&cells);
    let change = change(whole, options.measure)?;
    let is_beyond_chance = change.is_some_and(|change| {
        let (lo, hi) = change.limits;
        lo > 0.0 || hi < 0.0
    });
    let mut report = Report {
        sides: whole,
        change,
        is_beyond_chance,
        causes: Vec::new(),
    };
    if !is_beyond_chance {
        return Ok(report);
    }
    let causes = match options.search {
        Search::Adtributor => adtributor::search(&cells, options),
        Search::Recursive => recursive::search(&cells, options),
        Search::RiskLoc => riskloc::search(&cells, options),
    };
    let p: Vec<Option<f64>> = causes
        .iter()
        .map(|cause| own_change_p(cause.sides, options.measure))
        .collect();
    let q = adjusted(&p, Adjustment::BenjaminiHochberg)?;
    for ((cause, p), q) in causes.into_iter().zip(p).zip(q).take(options.k) {
        let contribution = contribution(cause.sides, whole, options.measure)?;
        report.causes.push(Judged {
            cause,
            contribution,
            p,
            q,
        });
    }
    Ok(report)
}

/// All elements of one dimension, or all combinations.
fn whole(cells: &[Cell]) -> Sides {
    let first = cells.first().map(|cell| cell.dimension);
    sum(cells
        .iter()
        .filter(|cell| Some(cell.dimension) == first)
        .map(|cell| cell.sides))
}

fn sum(sides: impl Iterator<Item = Sides>) -> Sides {
    let mut whole = Sides::default();
    for [base, current] in sides {
        whole[0].add(base);
        whole[1].add(current);
    }
    whole
}

/// The change of a measure with its limits: Newcombe's of a rate, else those of Poisson counts.
fn change([base, current]: Sides, measure: Measure) -> Result<Option<Limited>, FunnelError> {
    let difference = |value: f64, variance: f64| Limited {
        value,
        limits: two_sided(value, variance.sqrt()),
    };
    Ok(match measure {
        Measure::Rate => {
            mix_rate(&[[counted(base), counted(current)]])?.map(|(whole, _)| whole.total)
        }
        Measure::Volume if base.n + current.n > 0.0 => {
            Some(difference(current.n - base.n, current.n + base.n))
        }
        Measure::Amount if base.squares + current.squares > 0.0 => Some(difference(
            current.amount - base.amount,
            current.squares + base.squares,
        )),
        Measure::Volume | Measure::Amount => None,
    })
}

fn counted(side: Side) -> Counted {
    Counted {
        k: side.k as i64,
        n: side.n as i64,
    }
}

fn contribution(sides: Sides, whole: Sides, measure: Measure) -> Result<Limited, FunnelError> {
    let nothing = Limited {
        value: 0.0,
        limits: (0.0, 0.0),
    };
    match measure {
        Measure::Rate => {
            let rest = [0, 1].map(|at| whole[at].less(sides[at]));
            let segments = [sides, rest].map(|sides| sides.map(counted));
            let found = mix_rate(&segments)?;
            let of_cause = found.and_then(|(_, parts)| parts.first().map(|part| part.total));
            Ok(of_cause.unwrap_or(nothing))
        }
        Measure::Volume | Measure::Amount => Ok(change(sides, measure)?.unwrap_or(nothing)),
    }
}

/// `p` of the hypothesis that the measure of these elements didn't change; none where there is nothing to compare.
fn own_change_p([base, current]: Sides, measure: Measure) -> Option<f64> {
    let (difference, variance) = match measure {
        Measure::Rate => {
            let (rate, base_rate) = (current.value(measure)?, base.value(measure)?);
            let pooled = (base.k + current.k) / (base.n + current.n);
            let variance = pooled * (1.0 - pooled) * (base.n.recip() + current.n.recip());
            (rate - base_rate, variance)
        }
        Measure::Volume => (current.n - base.n, current.n + base.n),
        Measure::Amount => (current.amount - base.amount, current.squares + base.squares),
    };
    match variance > 0.0 {
        true => Some(two_rates::two_sided(difference / variance.sqrt())),
        false => (difference == 0.0).then_some(1.0),
    }
}

/// The explanatory power of each element of one dimension; nothing where nothing changed.
fn explanatory_powers(elements: &[Sides], measure: Measure) -> Option<Vec<f64>> {
    let total = sum(elements.iter().copied());
    let (base_a, base_b) = total[0].sums(measure);
    let (current_a, _) = total[1].sums(measure);
    let raw = |[base, current]: &Sides| {
        let (base_a_i, base_b_i) = base.sums(measure);
        let (current_a_i, current_b_i) = current.sums(measure);
        match measure {
            Measure::Rate => {
                let (change_a, change_b) = (current_a_i - base_a_i, current_b_i - base_b_i);
                let denominator = base_b * (base_b + change_b);
                match denominator > 0.0 {
                    true => (change_a * base_b - change_b * base_a) / denominator,
                    false => 0.0,
                }
            }
            Measure::Volume | Measure::Amount => (current_a_i - base_a_i) / (current_a - base_a),
        }
    };
    let powers: Vec<f64> = elements.iter().map(raw).collect();
    let scale = match measure {
        Measure::Rate => powers.iter().sum(),
        Measure::Volume | Measure::Amount => 1.0,
    };
    let powers: Vec<f64> = powers.iter().map(|power| power / scale).collect();
    powers
        .iter()
        .all(|power| power.is_finite())
        .then_some(powers)
}

/// How much an element's share of the whole changed.
fn surprise(element: &Sides, whole: &Sides, measure: Measure) -> f64 {
    let of = |part: fn((f64, f64)) -> f64| {
        let [base, current] = [0, 1].map(|at| {
            let all = part(whole[at].sums(measure));
            match all > 0.0 {
                true => (part(element[at].sums(measure)) / all).max(0.0),
                false => 0.0,
            }
        });
        let term = |share: f64| match share > 0.0 {
            true => share * (2.0 * share / (base + current)).ln(),
            false => 0.0,
        };
        // Its two terms cancel where nothing changed.
        (0.5 * (term(base) + term(current))).max(0.0)
    };
    match measure {
        Measure::Rate => of(|(a, _)| a) + of(|(_, b)| b),
        Measure::Volume | Measure::Amount => of(|(a, _)| a),
    }
}

/// Combinations as numbers: of each dimension the names of its elements, and of each combination their positions.
struct Leaves {
    names: Vec<Vec<Name>>,
    codes: Vec<Vec<u32>>,
    sides: Vec<Sides>,
}

impl Leaves {
    fn new(cells: &[Cell]) -> Self {
        let dimensions = cells.first().map_or(0, |cell| cell.values.len());
        let names: Vec<Vec<Name>> = (0..dimensions)
            .map(|at| {
                let names: BTreeSet<&Name> = cells
                    .iter()
                    .filter_map(|cell| cell.values.get(at))
                    .collect();
                names.into_iter().cloned().collect()
            })
            .collect();
        let code = |at: usize, name: &Name| names[at].binary_search(name).unwrap_or(0) as u32;
        let codes = cells
            .iter()
            .map(|cell| {
                cell.values
                    .iter()
                    .enumerate()
                    .map(|(at, name)| code(at, name))
                    .collect()
            })
            .collect();
        Self {
            codes,
            sides: cells.iter().map(|cell| cell.sides).collect(),
            names,
        }
    }

    fn name(&self, dimension: usize, code: u32) -> Name {
        self.names[dimension].get(code as usize).cloned().flatten()
    }

    /// Whether a combination has these values of these dimensions.
    fn is_of(&self, leaf: usize, dimensions: &[usize], codes: &[u32]) -> bool {
        dimensions
            .iter()
            .zip(codes)
            .all(|(dimension, code)| self.codes[leaf][*dimension] == *code)
    }

    /// The numbers of the combinations with these values.
    fn sides_of(&self, dimensions: &[usize], elements: &[Vec<u32>]) -> Sides {
        let leaves = (0..self.codes.len()).filter(|leaf| {
            elements
                .iter()
                .any(|codes| self.is_of(*leaf, dimensions, codes))
        });
        sum(leaves.map(|leaf| self.sides[leaf]))
    }

    /// The cause of these elements.
    fn cause(
        &self,
        dimensions: &[usize],
        elements: &[Vec<u32>],
        power: f64,
        surprise: f64,
    ) -> Cause {
        let name = |codes: &Vec<u32>| {
            let pairs = dimensions.iter().zip(codes);
            pairs
                .map(|(dimension, code)| self.name(*dimension, *code))
                .collect()
        };
        Cause {
            dimensions: dimensions.to_vec(),
            elements: elements.iter().map(name).collect(),
            explanatory_power: power,
            surprise,
            sides: self.sides_of(dimensions, elements),
        }
    }
}

#[cfg(test)]
mod tests;
