//! Adtributor: of each dimension the elements that surprise most and account for the change together.
//!
//! The elements of a dimension are taken from the most to the least surprising one, those whose explanatory power is at most `teep` left out,
//! until they account for more than `tep` together; a dimension where they never do isn't a candidate. Candidates are
//! ranked by the surprise of the elements that were taken. R. Bhagwan and others, NSDI 2014, algorithm 1. Ties by name.

use super::{Cause, Cell, Options, explanatory_powers, sum, surprise};

/// The candidates, the most surprising one first.
pub(super) fn search(cells: &[Cell], options: &Options) -> Vec<Cause> {
    let mut causes: Vec<Cause> = cells
        .chunk_by(|one, other| one.dimension == other.dimension)
        .filter_map(|elements| candidate(elements, options))
        .collect();
    // By then they are in the order of their dimensions.
    causes.sort_by(|one, other| other.surprise.total_cmp(&one.surprise));
    causes
}

fn candidate(elements: &[Cell], options: &Options) -> Option<Cause> {
    let dimension = elements.first()?.dimension?;
    let sides: Vec<_> = elements.iter().map(|element| element.sides).collect();
    let powers = explanatory_powers(&sides, options.measure)?;
    let whole = sum(sides.iter().copied());
    let surprises: Vec<f64> = sides
        .iter()
        .map(|sides| surprise(sides, &whole, options.measure))
        .collect();
    let mut order: Vec<usize> = (0..elements.len()).collect();
    order.sort_by(|one, other| surprises[*other].total_cmp(&surprises[*one]));
    let mut cause = Cause {
        dimensions: vec![dimension],
        elements: Vec::new(),
        explanatory_power: 0.0,
        surprise: 0.0,
        sides: Default::default(),
    };
    for at in order.into_iter().filter(|at| powers[*at] > options.teep) {
        cause.elements.push(elements[at].values.clone());
        cause.explanatory_power += powers[at];
        cause.surprise += surprises[at];
        cause.sides = sum([cause.sides, sides[at]].into_iter());
        if cause.explanatory_power > options.tep {
            return Some(cause);
        }
    }
    None
}
