//! RiskLoc: combinations of elements of any number of dimensions, by their weighted risk.
//!
//! Each combination of all dimensions (a leaf) deviates by `d = 2 (F - A) / (F + A)`. The leaves are cut in two by a cut-off: the extreme `d` on
//! the side where the usual ones end, without the five outermost, turned round. Those beyond it are abnormal with weight `|d|`, the others weigh by
//! their distance from the cut-off, at most 1. An element of any dimensions then has the risk
//!
//! `abnormal / (abnormal + normal + 1) - mean |d'| / mean |d|`,
//!
//! the share of abnormal weights among its leaves, less how well one common factor explains them: `d'` are the deviations from `F` times that
//! factor. Layer by layer, from one dimension to all, the element is taken that has the highest explanatory power of those with a risk of at least
//! 0.5; its leaves are left out, and the search goes on while the abnormal leaves account for 2 % of what they did. Elements that account for less, or
//! without abnormal leaves, aren't looked at again in combinations. M. Kalander, arXiv 2205.10004 (2022). Ties by name.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cause, Cell, Leaves, Options, explanatory_powers, sum, surprise};

/// The risk from which on an element is a cause. One leaf alone has 0.5 at most, which its last bit must not decide on.
const RISK: f64 = 0.5 - 1e-9;
/// The part of the abnormal leaves' explanatory power that a cause must have.
const LEAST_POWER: f64 = 0.02;
/// The deviations that don't count for the cut-off, on each side.
const OUTERMOST: usize = 5;

/// A combination of all dimensions.
struct Leaf {
    base: f64,
    current: f64,
    deviation: f64,
    power: f64,
    is_abnormal: bool,
    weight: f64,
}

/// An element that was found.
struct Element {
    dimensions: Vec<usize>,
    codes: Vec<u32>,
    power: f64,
}

/// The causes, in the order in which they were found.
pub(super) fn search(cells: &[Cell], options: &Options) -> Vec<Cause> {
    let table = Leaves::new(cells);
    let Some(leaves) = leaves(&table, options) else {
        return Vec::new();
    };
    let abnormal_power = |alive: &[usize]| {
        let abnormal = alive.iter().filter(|leaf| leaves[**leaf].is_abnormal);
        abnormal.map(|leaf| leaves[*leaf].power).sum::<f64>()
    };
    let mut alive: Vec<usize> = (0..leaves.len()).collect();
    let least = LEAST_POWER * abnormal_power(&alive);
    let mut pruned: BTreeSet<(usize, u32)> = BTreeSet::new();
    let whole = sum(table.sides.iter().copied());
    let mut causes = Vec::new();
    while causes.len() < options.k && abnormal_power(&alive) >= least {
        let Some(found) = best(&table, &leaves, &alive, least, &mut pruned) else {
            break;
        };
        alive.retain(|leaf| !table.is_of(*leaf, &found.dimensions, &found.codes));
        let mut cause = table.cause(&found.dimensions, &[found.codes], found.power, 0.0);
        cause.surprise = surprise(&cause.sides, &whole, options.measure);
        causes.push(cause);
    }
    causes
}

fn leaves(table: &Leaves, options: &Options) -> Option<Vec<Leaf>> {
    let powers = explanatory_powers(&table.sides, options.measure)?;
    let mut leaves: Vec<Leaf> = table
        .sides
        .iter()
        .zip(powers)
        .map(|(sides, power)| {
            let [base, current] = sides.map(|side| side.value(options.measure).unwrap_or(0.0));
            Leaf {
                base,
                current,
                deviation: deviation(base, current),
                power,
                is_abnormal: false,
                weight: 0.0,
            }
        })
        .collect();
    let (cut_off, is_above) = cut_off(&leaves)?;
    for leaf in &mut leaves {
        leaf.is_abnormal = match is_above {
            true => leaf.deviation > cut_off,
            false => leaf.deviation < cut_off,
        };
        let weight = match (leaf.is_abnormal, leaf.base == 0.0 && leaf.current == 0.0) {
            (true, _) => leaf.deviation.abs(),
            (false, true) => 0.0,
            (false, false) => (cut_off - leaf.deviation).abs(),
        };
        leaf.weight = weight.min(1.0);
    }
    let abnormal: f64 = leaves
        .iter()
        .filter(|leaf| leaf.is_abnormal)
        .map(|leaf| leaf.power)
        .sum();
    if abnormal < 0.0 {
        for leaf in &mut leaves {
            leaf.power = -leaf.power;
        }
    }
    Some(leaves)
}

/// `2 (base - current) / (base + current)`; 0 where both are.
fn deviation(base: f64, current: f64) -> f64 {
    match base + current == 0.0 {
        true => 0.0,
        false => 2.0 * (base - current) / (base + current),
    }
}

/// The cut-off, and whether what is abnormal lies above it.
///
/// Of few different deviations fewer are outermost, at most a quarter, where the published number would leave none.
fn cut_off(leaves: &[Leaf]) -> Option<(f64, bool)> {
    let mut deviations: Vec<f64> = leaves.iter().map(|leaf| leaf.deviation).collect();
    deviations.sort_by(f64::total_cmp);
    deviations.dedup();
    let last = deviations.len().checked_sub(1)?;
    let outermost = OUTERMOST.min(last / 4);
    let (low, high) = (deviations[outermost], deviations[last - outermost]);
    let is_low = low.abs() <= high.abs();
    let cut_off = if is_low { -low } else { -high };
    Some((cut_off, cut_off > 0.0 || (cut_off == 0.0 && is_low)))
}

/// What is summed over the leaves of an element.
#[derive(Default)]
struct Sums {
    power: f64,
    positive_power: f64,
    abnormal: usize,
    leaves: Vec<usize>,
}

/// The best element of the first layer that has one.
fn best(
    table: &Leaves,
    leaves: &[Leaf],
    alive: &[usize],
    least: f64,
    pruned: &mut BTreeSet<(usize, u32)>,
) -> Option<Element> {
    let dimensions = table.names.len();
    for layer in 1..=dimensions {
        let mut best: Option<Element> = None;
        for combination in combinations(dimensions, layer) {
            let mut elements: BTreeMap<Vec<u32>, Sums> = BTreeMap::new();
            for leaf in alive {
                let codes: Vec<u32> = combination
                    .iter()
                    .map(|at| table.codes[*leaf][*at])
                    .collect();
                if combination
                    .iter()
                    .zip(&codes)
                    .any(|(at, code)| pruned.contains(&(*at, *code)))
                {
                    continue;
                }
                let sums = elements.entry(codes).or_default();
                sums.power += leaves[*leaf].power;
                sums.positive_power += leaves[*leaf].power.max(0.0);
                sums.abnormal += usize::from(leaves[*leaf].is_abnormal);
                sums.leaves.push(*leaf);
            }
            if let [dimension] = combination.as_slice() {
                let useless = elements
                    .iter()
                    .filter(|(_, sums)| sums.positive_power < least || sums.abnormal == 0);
                pruned.extend(useless.filter_map(|(codes, _)| Some((*dimension, *codes.first()?))));
            }
            let bar = best.as_ref().map_or(least, |best| best.power);
            let mut candidates: Vec<(&Vec<u32>, &Sums)> = elements
                .iter()
                .filter(|(_, sums)| sums.abnormal > 0 && sums.power > bar)
                .collect();
            candidates.sort_by(|one, other| other.1.power.total_cmp(&one.1.power));
            let found = candidates
                .into_iter()
                .find(|(_, sums)| risk(leaves, &sums.leaves) >= RISK);
            if let Some((codes, sums)) = found {
                best = Some(Element {
                    dimensions: combination.clone(),
                    codes: codes.clone(),
                    power: sums.power,
                });
            }
        }
        if best.is_some() {
            return best;
        }
    }
    None
}

fn risk(leaves: &[Leaf], of: &[usize]) -> f64 {
    let weight = |is_abnormal: bool| {
        let those = of
            .iter()
            .map(|leaf| &leaves[*leaf])
            .filter(|leaf| leaf.is_abnormal == is_abnormal);
        those.map(|leaf| leaf.weight).sum::<f64>()
    };
    let (abnormal, normal) = (weight(true), weight(false) + 1.0);
    abnormal / (abnormal + normal) - low_risk(leaves, of)
}

fn low_risk(leaves: &[Leaf], of: &[usize]) -> f64 {
    let both: Vec<&Leaf> = of
        .iter()
        .map(|leaf| &leaves[*leaf])
        .filter(|leaf| leaf.base != 0.0 && leaf.current != 0.0)
        .collect();
    let sum = |of: &dyn Fn(&Leaf) -> f64| both.iter().map(|leaf| of(leaf)).sum::<f64>();
    let factor = sum(&|leaf| leaf.current) / sum(&|leaf| leaf.base);
    let left = sum(&|leaf| deviation(leaf.base * factor, leaf.current).abs());
    let all = sum(&|leaf| leaf.deviation.abs());
    match all > 0.0 {
        true => left / all,
        false => 0.0,
    }
}

/// The sets of that many of the first numbers, in their order.
fn combinations(of: usize, size: usize) -> Vec<Vec<usize>> {
    let mut sets: Vec<Vec<usize>> = (0..1_u64 << of)
        .filter(|set| set.count_ones() as usize == size)
        .map(|set| (0..of).filter(|at| set >> at & 1 == 1).collect())
        .collect();
    sets.sort();
    sets
}
