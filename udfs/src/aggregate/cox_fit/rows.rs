//! The state of the regression: how many rows have the same time, numbers and labels, and how they ended.
//!
//! Rows are counted in a map, so their order and the way they were split don't matter; merging adds. Labels are
//! written as numbers of their levels, by order of arrival; the results sort them by name.

use std::collections::HashMap;

use crate::error::FunnelError;
use crate::statistics::regression::{Estimate, Fit, Observations, Term};
use crate::statistics::weibull::WeibullFit;
use crate::statistics::{cox, weibull};

/// A label of more levels than this is an identifier rather than a group.
const MOST_LEVELS: usize = 50;
/// The cost grows with the square of the terms, and a product of each two is summed for each row.
const MOST_TERMS: usize = 100;

/// How rows that are otherwise the same ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ends {
    /// By the event.
    pub events: i64,
    /// Otherwise.
    pub censored: i64,
}

impl Ends {
    /// One row.
    pub fn one(event: bool) -> Ends {
        Ends {
            events: i64::from(event),
            censored: i64::from(!event),
        }
    }

    fn add(&mut self, other: Ends) {
        // Counts of rows: 2^63 of them can't be read in a lifetime.
        self.events += other.events;
        self.censored += other.censored;
    }

    fn total(self) -> i64 {
        self.events + self.censored
    }
}

/// Rows by what they hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// How many of the covariates are numbers; unknown before the first row.
    numbers: Option<usize>,
    /// The names of each label's levels, by order of arrival.
    levels: Vec<Vec<String>>,
    /// By the bits of the time and of the numbers, and the numbers of the labels' levels.
    counts: HashMap<Box<[u64]>, Ends>,
    left_out: i64,
}

impl Rows {
    /// Adds a row that can't be used, because something is missing.
    pub fn leave_out(&mut self, rows: i64) {
        self.left_out += rows;
    }

    /// How many rows can't be used.
    pub fn left_out(&self) -> i64 {
        self.left_out
    }

    /// How many of the covariates are numbers, when there was a row that says so.
    pub fn numbers(&self) -> Option<usize> {
        self.numbers
    }

    /// The names of each label's levels; a row's key has their positions.
    pub fn levels(&self) -> &[Vec<String>] {
        &self.levels
    }

    /// Each distinct row with its key and its counts, in any order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u64], Ends)> {
        self.counts.iter().map(|(key, ends)| (&**key, *ends))
    }

    /// Fixes how many covariates are numbers, and how many labels.
    ///
    /// - errors: 22023 when together they aren't as many as the terms, or other rows have other numbers of them
    pub fn shape(
        &mut self,
        terms: usize,
        numbers: usize,
        labels: usize,
    ) -> Result<(), FunnelError> {
        if numbers + labels != terms || self.numbers.is_some_and(|known| known != numbers) {
            return Err(wrong_shape(terms, numbers, labels));
        }
        self.numbers = Some(numbers);
        self.levels.resize(labels, Vec::new());
        Ok(())
    }

    /// Adds rows of a key whose labels have the numbers of [`Self::level`].
    pub fn add(&mut self, key: &[u64], ends: Ends) {
        match self.counts.get_mut(key) {
            Some(sum) => sum.add(ends),
            None => {
                self.counts.insert(key.into(), ends);
            }
        }
    }

    /// The number of a label's level, a new one where the level is new.
    ///
    /// - errors: 22023 when the label has too many levels
    pub fn level(&mut self, label: usize, name: &str, term: &str) -> Result<u64, FunnelError> {
        let levels = &mut self.levels[label];
        // There are few; the frequent ones come first.
        let position = levels.iter().position(|level| level == name);
        if position.is_none() {
            if levels.len() == MOST_LEVELS {
                return Err(too_many_levels(term));
            }
            levels.push(name.to_owned());
        }
        Ok(position.unwrap_or(levels.len() - 1) as u64)
    }

    /// Bytes of the heap, about.
    pub fn heap_size(&self) -> usize {
        let key = size_of::<u64>() * self.counts.keys().next().map_or(0, |key| key.len());
        let names = self.levels.iter().flatten();
        let names = names.map(|name| size_of::<String>() + name.capacity());
        // A map keeps a byte of its own for each place, an allocator two words for each key.
        self.counts.capacity() * (size_of::<(Box<[u64]>, Ends)>() + 1)
            + self.counts.len() * (key + 16)
            + names.sum::<usize>()
    }

    /// Fits both regressions; see [`super::cox_fit_udaf`] for the result.
    ///
    /// - errors: 22023 when the levels make too many terms
    pub fn fit(&self, terms: &[String]) -> Result<Vec<Found>, FunnelError> {
        let Some(numbers) = self.numbers.filter(|_| !self.counts.is_empty()) else {
            let found = terms.iter().map(|term| self.without_rows(term));
            return Ok(found.collect());
        };
        let labels = self.labels(&terms[numbers..], numbers);
        let columns = numbers
            + labels
                .iter()
                .map(|label| label.columns().count())
                .sum::<usize>();
        if columns > MOST_TERMS {
            return Err(too_many_terms(columns));
        }
        let observations = self.observations(numbers, columns, &labels);
        let fits = Fits {
            cox: cox::fit(&observations),
            weibull: weibull::fit(&observations),
            left_out: self.left_out,
        };
        let mut column = 0;
        let mut found = Vec::with_capacity(columns + labels.len());
        for term in &terms[..numbers] {
            let all = Ends {
                events: fits.cox.events,
                censored: fits.cox.n - fits.cox.events,
            };
            found.push(fits.term(term.clone(), all, column));
            column += 1;
        }
        for label in &labels {
            for (position, level) in label.levels.iter().enumerate() {
                let name = format!("{} = {}", label.term, level.name);
                if position == label.reference {
                    found.push(fits.reference(name, level.ends, label.levels.len()));
                } else {
                    found.push(fits.term(name, level.ends, column));
                    column += 1;
                }
            }
        }
        Ok(found)
    }

    fn without_rows(&self, term: &str) -> Found {
        Found::without(term.to_owned(), Ends::default(), self.left_out, "no_data")
    }

    /// The labels with their levels by name, each with its rows.
    fn labels<'a>(&'a self, terms: &'a [String], numbers: usize) -> Vec<Label<'a>> {
        let mut labels = Vec::with_capacity(terms.len());
        for (at, (term, names)) in terms.iter().zip(&self.levels).enumerate() {
            let mut levels = names
                .iter()
                .enumerate()
                .map(|(id, name)| Level {
                    name,
                    id: id as u64,
                    ends: Ends::default(),
                })
                .collect::<Vec<_>>();
            for (key, ends) in &self.counts {
                levels[key[1 + numbers + at] as usize].ends.add(*ends);
            }
            levels.sort_by_key(|level| level.name);
            labels.push(Label::new(term, levels));
        }
        labels
    }

    fn observations(&self, numbers: usize, columns: usize, labels: &[Label]) -> Observations {
        let mut observations = Observations::new(columns);
        let mut covariates = Vec::with_capacity(columns);
        for (key, ends) in &self.counts {
            let (values, ids) = key.split_at(1 + numbers);
            covariates.clear();
            covariates.extend(values[1..].iter().map(|bits| f64::from_bits(*bits)));
            for (label, id) in labels.iter().zip(ids) {
                covariates.extend(
                    label
                        .columns()
                        .map(|level| if level.id == *id { 1.0 } else { 0.0 }),
                );
            }
            observations.push(
                f64::from_bits(values[0]),
                ends.events,
                ends.censored,
                &covariates,
            );
        }
        observations
    }
}

/// A categorical covariate.
struct Label<'a> {
    term: &'a str,
    /// By name.
    levels: Vec<Level<'a>>,
    /// The position of the level that the others are compared with.
    reference: usize,
}

struct Level<'a> {
    name: &'a str,
    id: u64,
    ends: Ends,
}

impl<'a> Label<'a> {
    /// The reference is the most frequent level, ties by name, of those with an event: compared with a level without
    /// one, every other would be infinitely faster.
    fn new(term: &'a str, levels: Vec<Level<'a>>) -> Label<'a> {
        let rank = |position: &usize| {
            let ends = levels[*position].ends;
            (ends.events > 0, ends.total(), std::cmp::Reverse(*position))
        };
        let reference = (0..levels.len()).max_by_key(rank).unwrap_or(0);
        Label {
            term,
            levels,
            reference,
        }
    }

    /// The levels that have a column of zeros and ones.
    fn columns(&self) -> impl Iterator<Item = &Level<'a>> {
        let others = self.levels.iter().enumerate();
        others
            .filter(|(position, _)| *position != self.reference)
            .map(|(_, level)| level)
    }
}

/// A ratio and its limits at 95 %; none that is no finite number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ratio {
    /// The ratio.
    pub ratio: Option<f64>,
    /// Its lower limit.
    pub lo: Option<f64>,
    /// Its upper limit.
    pub hi: Option<f64>,
}

impl Ratio {
    fn of(estimate: Option<&Estimate>) -> Ratio {
        let Some(estimate) = estimate else {
            return Ratio::default();
        };
        let (low, high) = estimate.limits();
        let [ratio, lo, hi] = [estimate.coefficient, low, high].map(|coefficient| {
            let ratio = coefficient.exp();
            ratio.is_finite().then_some(ratio)
        });
        Ratio { ratio, lo, hi }
    }

    /// The ratio of something to itself, where it has an estimate.
    fn one(known: bool) -> Ratio {
        Ratio {
            ratio: known.then_some(1.0),
            ..Ratio::default()
        }
    }
}

/// What is found of a term: one element of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The term's name; of a label with the level.
    pub term: String,
    /// The rows: all that were used, or those of the level.
    pub n: i64,
    /// Of them, those that ended by the event.
    pub events: i64,
    /// All rows that couldn't be used.
    pub left_out: i64,
    /// The ratio of hazards.
    pub hazard: Ratio,
    /// The probability when the ratio of hazards is 1.
    pub p: Option<f64>,
    /// The ratio of times.
    pub time: Ratio,
    /// Why there is an estimate or none.
    pub status: &'static str,
}

impl Found {
    fn without(term: String, ends: Ends, left_out: i64, status: &'static str) -> Found {
        Found {
            term,
            n: ends.total(),
            events: ends.events,
            left_out,
            hazard: Ratio::default(),
            p: None,
            time: Ratio::default(),
            status,
        }
    }
}

/// Both regressions on the same rows.
struct Fits {
    cox: Fit,
    weibull: WeibullFit,
    left_out: i64,
}

impl Fits {
    fn term(&self, name: String, ends: Ends, column: usize) -> Found {
        let hazard = &self.cox.terms[column];
        let mut found = Found::without(name, ends, self.left_out, hazard.status());
        if let Some(estimate) = hazard.estimate() {
            found.hazard = Ratio::of(Some(estimate));
            found.p = Some(estimate.p);
            found.time = Ratio::of(self.weibull.fit.terms[column].estimate());
        }
        found
    }

    fn reference(&self, name: String, ends: Ends, levels: usize) -> Found {
        let status = match (self.cox.events, levels) {
            (0, _) => Term::NoEvents.status(),
            (_, 1) => Term::NoVariation.status(),
            _ => "reference",
        };
        let mut found = Found::without(name, ends, self.left_out, status);
        if status == "reference" {
            found.hazard = Ratio::one(self.cox.converged);
            found.time = Ratio::one(self.weibull.fit.converged);
        }
        found
    }
}

fn wrong_shape(terms: usize, numbers: usize, labels: usize) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("cox_fit() has {terms} terms for {numbers} numbers and {labels} labels"),
        hint: "Name each number, then each label: cox_fit(days, outcome, [ln(amount)], [channel], ['ln(amount)', 'channel'])."
            .to_owned(),
    }
}

fn too_many_levels(term: &str) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("label \"{term}\" has more than {MOST_LEVELS} levels"),
        hint: "Group the rare ones with CASE, or give a number instead of its text.".to_owned(),
    }
}

fn too_many_terms(terms: usize) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("the levels of the labels make {terms} terms, more than {MOST_TERMS}"),
        hint: "Group rare levels with CASE, band them, or leave labels out.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    /// A time, whether the event ended it, a number and two labels.
    type Deal = (u8, bool, u8, &'static str, &'static str);

    fn rows(deals: &[Deal], turned: bool) -> Rows {
        let mut rows = Rows::default();
        for (time, event, number, channel, region) in deals {
            rows.shape(3, 1, 2).unwrap();
            let [first, second] = if turned {
                [region, channel]
            } else {
                [channel, region]
            };
            let key = [
                f64::from(*time).to_bits(),
                f64::from(*number).to_bits(),
                rows.level(0, first, "first").unwrap(),
                rows.level(1, second, "second").unwrap(),
            ];
            rows.add(&key, Ends::one(*event));
        }
        rows
    }

    fn fitted(deals: &[Deal], turned: bool) -> Vec<Found> {
        let labels = if turned {
            ["region", "channel"]
        } else {
            ["channel", "region"]
        };
        let terms = ["size", labels[0], labels[1]].map(str::to_owned);
        rows(deals, turned).fit(&terms).unwrap()
    }

    fn deals() -> impl Strategy<Value = Vec<Deal>> {
        let channel = proptest::sample::select(vec!["web", "partner", "展会"]);
        let region = proptest::sample::select(vec!["north", "south"]);
        proptest::collection::vec(
            (0_u8..30, any::<bool>(), 0_u8..40, channel, region),
            60..150,
        )
    }

    /// A number as relative to its size, NULL as another one.
    fn near(found: Option<f64>, expected: Option<f64>) -> bool {
        match (found, expected) {
            (Some(found), Some(expected)) => (found / expected - 1.0).abs() < 1e-9,
            (found, expected) => found == expected,
        }
    }

    proptest! {
        #[test]
        fn the_order_of_rows_changes_no_bit(deals in deals(), at in any::<prop::sample::Index>()) {
            let mut other = deals.clone();
            other.rotate_left(at.index(deals.len()));
            prop_assert_eq!(fitted(&other, false), fitted(&deals, false));
            other.reverse();
            prop_assert_eq!(fitted(&other, false), fitted(&deals, false));
        }

        #[test]
        fn the_order_of_labels_changes_that_of_the_result(deals in deals()) {
            let (mut found, mut expected) = (fitted(&deals, true), fitted(&deals, false));
            found.sort_by(|a, b| a.term.cmp(&b.term));
            expected.sort_by(|a, b| a.term.cmp(&b.term));
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!((&found.term, found.status), (&expected.term, expected.status));
                let same = near(found.hazard.ratio, expected.hazard.ratio)
                    && near(found.hazard.hi, expected.hazard.hi)
                    && near(found.time.lo, expected.time.lo);
                prop_assert!(same || found.status != "ok", "{found:?} {expected:?}");
            }
        }
    }

    #[test]
    fn memory_grows_with_distinct_rows_only() {
        let deal = (3, true, 5, "web", "north");
        let once = rows(&[deal], false).heap_size();
        assert_eq!(rows(&[deal; 1000], false).heap_size(), once);
        assert!(once >= 4 * 8 + 16);
    }
}
