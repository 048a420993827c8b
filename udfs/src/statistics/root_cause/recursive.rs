//! Recursive Adtributor: the elements of a dimension, and within each of them those of the other dimensions.
//!
//! At each level a dimension is a candidate where some of its elements, not all, have an explanatory power above `teep`; the `k` most
//! surprising candidates stay. Within each of a candidate's elements the same is done with the other dimensions: where every element has
//! candidates of its own, they stand for it, with its explanatory power times theirs; otherwise the candidate stays as it
//! is. M. Persson, L. Rudenius, Anomaly Detection and Fault Localization (Chalmers, 2018). Ties by the dimensions' order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cause, Cell, Leaves, Options, Sides, explanatory_powers, sum, surprise};

/// Elements of some dimensions.
#[derive(Debug, Clone)]
struct Found {
    dimensions: Vec<usize>,
    elements: Vec<Vec<u32>>,
    power: f64,
    surprise: f64,
}

/// The causes, the most surprising one first.
pub(super) fn search(cells: &[Cell], options: &Options) -> Vec<Cause> {
    let leaves = Leaves::new(cells);
    let all: Vec<usize> = (0..leaves.codes.len()).collect();
    let dimensions: Vec<usize> = (0..leaves.names.len()).collect();
    let mut found = level(&leaves, &all, &dimensions, options);
    let mut seen = BTreeSet::new();
    found.retain(|found| seen.insert((found.dimensions.clone(), found.elements.clone())));
    found.sort_by(|one, other| other.surprise.total_cmp(&one.surprise));
    found
        .iter()
        .map(|found| {
            leaves.cause(
                &found.dimensions,
                &found.elements,
                found.power,
                found.surprise,
            )
        })
        .collect()
}

fn level(leaves: &Leaves, rows: &[usize], dimensions: &[usize], options: &Options) -> Vec<Found> {
    let mut candidates: Vec<Found> = dimensions
        .iter()
        .filter_map(|dimension| candidate(leaves, rows, *dimension, options))
        .collect();
    candidates.sort_by(|one, other| other.surprise.total_cmp(&one.surprise));
    candidates.truncate(options.k);
    candidates
        .into_iter()
        .flat_map(|candidate| {
            within(leaves, rows, dimensions, &candidate, options).unwrap_or_else(|| vec![candidate])
        })
        .collect()
}

/// What the elements of a candidate are made of, where each of them is.
fn within(
    leaves: &Leaves,
    rows: &[usize],
    dimensions: &[usize],
    candidate: &Found,
    options: &Options,
) -> Option<Vec<Found>> {
    let own = *candidate.dimensions.first()?;
    let others: Vec<usize> = dimensions
        .iter()
        .copied()
        .filter(|other| *other != own)
        .collect();
    if others.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    for element in &candidate.elements {
        let inside: Vec<usize> = rows
            .iter()
            .copied()
            .filter(|row| leaves.is_of(*row, &candidate.dimensions, element))
            .collect();
        let found = level(leaves, &inside, &others, options);
        if found.is_empty() {
            return None;
        }
        all.extend(
            found
                .into_iter()
                .map(|found| joined(own, element, found, candidate.power)),
        );
    }
    Some(all)
}

/// The elements found within an element, as combinations with it.
fn joined(own: usize, element: &[u32], found: Found, power: f64) -> Found {
    let at = found
        .dimensions
        .partition_point(|dimension| *dimension < own);
    let mut dimensions = found.dimensions;
    dimensions.insert(at, own);
    let elements = found.elements.into_iter().map(|mut codes| {
        codes.splice(at..at, element.iter().copied());
        codes
    });
    Found {
        dimensions,
        elements: elements.collect(),
        power: power * found.power,
        surprise: found.surprise,
    }
}

fn candidate(
    leaves: &Leaves,
    rows: &[usize],
    dimension: usize,
    options: &Options,
) -> Option<Found> {
    let mut elements: BTreeMap<u32, Sides> = BTreeMap::new();
    for row in rows {
        let sides = elements.entry(leaves.codes[*row][dimension]).or_default();
        *sides = sum([*sides, leaves.sides[*row]].into_iter());
    }
    let sides: Vec<Sides> = elements.values().copied().collect();
    let powers = explanatory_powers(&sides, options.measure)?;
    let whole = sum(sides.iter().copied());
    let mut found = Found {
        dimensions: vec![dimension],
        elements: Vec::new(),
        power: 0.0,
        surprise: 0.0,
    };
    for ((code, sides), power) in elements.iter().zip(&powers) {
        if *power > options.teep {
            found.elements.push(vec![*code]);
            found.power += power;
            found.surprise += surprise(sides, &whole, options.measure);
        }
    }
    let is_some = !found.elements.is_empty() && found.elements.len() < elements.len();
    is_some.then_some(found)
}
