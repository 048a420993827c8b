//! Did a change work, against a group that it didn't touch? The difference of two differences.
//!
//! With the means `y` of four cells, `effect = (y_ta - y_tb) - (y_ca - y_cb)`: what the treated became after the change, less
//! what they were before, less the same of the control. It is a cause as far as both would have moved alike without the
//! change. Whether they did before it is tested: `slope` is by how much a period's difference of the two groups grew from
//! period to period.
//!
//! The variance is the sum of the four cells' `s² / n` with `s²` the mean square around the cell's mean, which for a rate is
//! `r (1 - r) / n`; the regression `y ~ treated + after + treated · after` has the same, up to a factor `n / (n - 4)`. A cell
//! where all are 0 or all are 1 has no variance to see, and gets that of `(k + 1) / (n + 2)`. Where values have clusters, as
//! deals have owners, those of one cluster resemble one another: the regression's standard error clustered by them, with
//! Student's t of `G - 1` degrees of freedom, is taken where its interval is the wider one.
//!
//! Cost: one pass over the groups. Source: J. Angrist and J.-S. Pischke, Mostly Harmless Econometrics (2009), chapters 5
//! and 8; A. Agresti and B. Caffo, The American Statistician 54 (2000), 280–288, for the added two.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::least_squares::{Fit, Row};

/// The standard normal deviate of a 95 % interval.
const DEVIATE_95: f64 = 1.959_963_984_540_054;
/// Fewer periods than this before the change, of either group, have no trend to test.
const LEAST_PERIODS: usize = 3;

/// Values of one cluster, period and group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Its number.
    pub cluster: usize,
    /// The period; those below 0 lie before the change.
    pub t: i64,
    /// Whether the change is meant for them.
    pub treated: bool,
    /// What the values are.
    pub values: Values,
}

/// Values, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Values {
    /// How many.
    pub n: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Values {
    /// One value.
    pub fn one(y: f64) -> Values {
        Values {
            n: 1.0,
            sum: y,
            squares: y * y,
        }
    }

    /// Adds others.
    pub fn add(&mut self, other: Values) {
        self.n += other.n;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The mean; `None` of no values.
    pub fn mean(self) -> Option<f64> {
        (self.n > 0.0).then(|| self.sum / self.n)
    }

    /// The sum of squares around the mean.
    fn within(self) -> f64 {
        // Of ones and zeros it is exact; of others a difference that rounding can bring below zero.
        (self.squares - self.sum * self.sum / self.n).max(0.0)
    }

    /// The variance of the mean.
    fn variance(self) -> f64 {
        let is_share = self.sum == 0.0 || (self.sum == self.n && self.squares == self.n);
        if is_share && self.squares == self.sum {
            let rate = (self.sum + 1.0) / (self.n + 2.0);
            return rate * (1.0 - rate) / (self.n + 2.0);
        }
        self.within() / self.n / self.n
    }
}

/// A difference with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The difference.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The degrees of freedom of Student's t; infinite for the normal distribution.
    pub freedom: f64,
}

impl Difference {
    fn normal(value: f64, variance: f64) -> Difference {
        Difference {
            value,
            standard_error: variance.max(0.0).sqrt(),
            freedom: f64::INFINITY,
        }
    }

    /// What varies by no more than rounding does doesn't vary.
    fn without_rounding(mut self, largest: f64) -> Difference {
        if self.standard_error <= 1e-12 * largest {
            self.standard_error = 0.0;
        }
        self
    }

    /// The 95 % interval; `None` where nothing varies.
    pub fn limits(&self) -> Option<(f64, f64)> {
        let half = self.deviate()? * self.standard_error;
        Some((self.value - half, self.value + half))
    }

    /// How often a difference as large comes by chance; `None` where nothing varies.
    pub fn p(&self) -> Option<f64> {
        if self.standard_error <= 0.0 {
            return None;
        }
        let z = -(self.value / self.standard_error).abs();
        let below = match self.freedom.is_finite() {
            true => StudentsT::new(0.0, 1.0, self.freedom).ok()?.cdf(z),
            false => Normal::standard().cdf(z),
        };
        Some(2.0 * below)
    }

    fn deviate(&self) -> Option<f64> {
        match (self.standard_error > 0.0, self.freedom.is_finite()) {
            (false, _) => None,
            (true, false) => Some(DEVIATE_95),
            (true, true) => StudentsT::new(0.0, 1.0, self.freedom)
                .ok()
                .map(|student| student.inverse_cdf(0.975)),
        }
    }

    fn half(&self) -> f64 {
        self.deviate().unwrap_or(0.0) * self.standard_error
    }
}

/// The four cells.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cells {
    /// The treated before the change.
    pub before: Values,
    /// The treated after it.
    pub after: Values,
    /// The control before it.
    pub control_before: Values,
    /// The control after it.
    pub control_after: Values,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The cells.
    pub cells: Cells,
    /// How many clusters there are.
    pub clusters: usize,
    /// The difference of the differences; `None` where a cell is empty.
    pub effect: Option<Difference>,
    /// The treated after less before.
    pub change: Option<Difference>,
    /// The treated less the control, after.
    pub gap: Option<Difference>,
    /// How much the two groups' difference grew before the change, a period; `None` where it can't be tested.
    pub slope: Option<Difference>,
}

/// Compares the groups.
pub fn compare(groups: &[Group]) -> Comparison {
    let mut cells = Cells::default();
    for group in groups.iter().filter(|group| group.values.n > 0.0) {
        let cell = match (group.treated, group.t < 0) {
            (true, true) => &mut cells.before,
            (true, false) => &mut cells.after,
            (false, true) => &mut cells.control_before,
            (false, false) => &mut cells.control_after,
        };
        cell.add(group.values);
    }
    let mut numbers: Vec<usize> = groups.iter().map(|group| group.cluster).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let all = [
        cells.before,
        cells.after,
        cells.control_before,
        cells.control_after,
    ];
    let means = all.iter().filter_map(|cell| cell.mean());
    let largest = means.map(f64::abs).fold(0.0, f64::max);
    let exact = |found: Option<Difference>| found.map(|found| found.without_rounding(largest));
    Comparison {
        cells,
        clusters: numbers.len(),
        effect: exact(effect(&cells, groups)),
        change: exact(difference(&[(1.0, cells.after), (-1.0, cells.before)])),
        gap: exact(difference(&[
            (1.0, cells.after),
            (-1.0, cells.control_after),
        ])),
        slope: exact(slope(groups)),
    }
}

/// A sum of means, each times a factor.
fn difference(parts: &[(f64, Values)]) -> Option<Difference> {
    let mut value = 0.0;
    let mut variance = 0.0;
    for (factor, values) in parts {
        value += factor * values.mean()?;
        variance += values.variance();
    }
    Some(Difference::normal(value, variance))
}

fn effect(cells: &Cells, groups: &[Group]) -> Option<Difference> {
    let plain = difference(&[
        (1.0, cells.after),
        (-1.0, cells.before),
        (-1.0, cells.control_after),
        (1.0, cells.control_before),
    ])?;
    let post = |group: &Group| if group.t < 0 { 0.0 } else { 1.0 };
    Some(wider(plain, clustered(groups, post, plain.value)))
}

/// The difference of the groups' trends before the change.
fn slope(groups: &[Group]) -> Option<Difference> {
    let before: Vec<Group> = groups
        .iter()
        .filter(|group| group.t < 0 && group.values.n > 0.0)
        .copied()
        .collect();
    for treated in [true, false] {
        let of_group = before.iter().filter(|group| group.treated == treated);
        let mut periods: Vec<i64> = of_group.map(|group| group.t).collect();
        periods.sort_unstable();
        periods.dedup();
        if periods.len() < LEAST_PERIODS {
            return None;
        }
    }
    let scale = before.iter().map(|group| group.t.abs()).max()?.max(1) as f64;
    let time = |group: &Group| group.t as f64 / scale;
    let fit = Fit::new(rows(&before, time))?;
    let contrast = [0.0, 0.0, 0.0, 1.0 / scale];
    let value = fit.value(&contrast);
    let plain = Difference::normal(value, fit.robust(&contrast));
    Some(wider(plain, clustered_fit(&fit, &before, &contrast, value)))
}

/// `y ~ 1 + treated + x + treated x`.
fn rows(groups: &[Group], x: impl Fn(&Group) -> f64) -> Vec<Row> {
    let row = |group: &Group| {
        let treated = if group.treated { 1.0 } else { 0.0 };
        let x = x(group);
        Row {
            x: vec![1.0, treated, x, treated * x],
            y: group.values.sum / group.values.n,
            weight: group.values.n,
            within: group.values.within(),
        }
    };
    groups.iter().map(row).collect()
}

fn clustered(groups: &[Group], x: impl Fn(&Group) -> f64, value: f64) -> Option<Difference> {
    let groups: Vec<Group> = groups
        .iter()
        .filter(|group| group.values.n > 0.0)
        .copied()
        .collect();
    let fit = Fit::new(rows(&groups, x))?;
    clustered_fit(&fit, &groups, &[0.0, 0.0, 0.0, 1.0], value)
}

fn clustered_fit(fit: &Fit, groups: &[Group], contrast: &[f64], value: f64) -> Option<Difference> {
    let clusters: Vec<usize> = groups.iter().map(|group| group.cluster).collect();
    let variance = fit.clustered(contrast, &clusters)?;
    let count: BTreeMap<usize, ()> = clusters.iter().map(|cluster| (*cluster, ())).collect();
    Some(Difference {
        value,
        standard_error: variance.max(0.0).sqrt(),
        freedom: (count.len() - 1) as f64,
    })
}

/// The one with the wider interval.
fn wider(plain: Difference, clustered: Option<Difference>) -> Difference {
    match clustered {
        Some(clustered) if clustered.half() > plain.half() => clustered,
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::interrupted_series::tests::Dice;
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-8, "{found} {expected}");
    }

    fn counted(cluster: usize, t: i64, treated: bool, k: f64, n: f64) -> Group {
        let values = Values {
            n,
            sum: k,
            squares: k,
        };
        Group {
            cluster,
            t,
            treated,
            values,
        }
    }

    /// Four cells of one cluster.
    fn four(cells: [(f64, f64); 4]) -> Vec<Group> {
        let places = [(-1, true), (0, true), (-1, false), (0, false)];
        let cells = places.into_iter().zip(cells);
        cells
            .map(|((t, treated), (k, n))| counted(0, t, treated, k, n))
            .collect()
    }

    /// By hand: 0.55 - 0.40 - (0.47 - 0.45), and the root of 0.55 0.45 / 200 + 0.4 0.6 / 100 + 0.47 0.53 / 300 + 0.45 0.55 / 400.
    #[test]
    fn four_cells_by_hand() {
        let found = compare(&four([
            (40.0, 100.0),
            (110.0, 200.0),
            (180.0, 400.0),
            (141.0, 300.0),
        ]));
        let effect = found.effect.unwrap();
        close(effect.value, 0.13);
        close(effect.standard_error, 0.07132028696894968);
        close(effect.limits().unwrap().0, -0.009785193826202715);
        close(effect.p().unwrap(), 0.0683392518841008);
        close(found.change.unwrap().value, 0.15);
        close(found.gap.unwrap().value, 0.08);
        assert_eq!((found.clusters, found.slope), (1, None));
    }

    #[test]
    fn an_empty_cell_has_no_effect() {
        let found = compare(&four([
            (0.0, 0.0),
            (110.0, 200.0),
            (180.0, 400.0),
            (141.0, 300.0),
        ]));
        assert_eq!((found.effect, found.change), (None, None));
        close(found.gap.unwrap().value, 0.08);
        let none = compare(&[]);
        assert_eq!((none.effect, none.gap, none.clusters), (None, None, 0));
    }

    #[test]
    fn nobody_and_everybody_still_have_an_interval() {
        let found = compare(&four([(0.0, 20.0), (30.0, 30.0), (0.0, 40.0), (0.0, 40.0)]));
        let (low, high) = found.effect.unwrap().limits().unwrap();
        assert!(0.8 < low && low < 1.0 && high > 1.0, "{low} {high}");
        let huge = compare(&four([(0.0, 1e8), (5e7, 1e8), (5e7, 1e8), (5e7, 1e8)]));
        close(huge.effect.unwrap().value, 0.5);
    }

    /// statsmodels 0.15.0 over the single values: `OLS(y, [1, treated, after, treated·after])` with `cov_type='cluster'` and,
    /// times the root of `(n - 4) / n`, `'HC1'`; `OLS(y, [1, treated, t, treated·t])` of those before. scipy's `stats.t` with
    /// three degrees of freedom.
    #[test]
    fn clusters_are_those_of_statsmodels() {
        let counts = [
            (true, 20.0, [6.0, 8.0, 9.0, 12.0, 14.0]),
            (true, 10.0, [3.0, 3.0, 2.0, 3.0, 4.0]),
            (false, 25.0, [10.0, 9.0, 12.0, 11.0, 12.0]),
            (false, 15.0, [5.0, 6.0, 4.0, 8.0, 6.0]),
        ];
        let groups = |clustered: bool| -> Vec<Group> {
            let owners = counts.iter().enumerate();
            owners
                .flat_map(|(owner, (treated, n, ks))| {
                    let cluster = if clustered { owner } else { 0 };
                    (-3..)
                        .zip(ks)
                        .map(move |(t, k)| counted(cluster, t, *treated, *k, *n))
                })
                .collect()
        };
        let plain = compare(&groups(false));
        close(plain.effect.unwrap().value, 0.12638888888888883);
        close(plain.effect.unwrap().standard_error, 0.10821850861169068);
        let slope = plain.slope.unwrap();
        close(slope.value, 0.02083333333333369);
        close(slope.standard_error, 0.08234970859207077);
        close(slope.p().unwrap(), 0.8002789383376011);

        let mut shuffled = groups(true);
        shuffled.reverse();
        let found = compare(&shuffled);
        assert_eq!(found.clusters, 4);
        let effect = found.effect.unwrap();
        close(effect.standard_error, 0.07466144827854139);
        assert_eq!(effect.freedom, 3.0);
        let (low, high) = effect.limits().unwrap();
        close(high - low, 2.0 * 3.1824463052837078 * 0.07466144827854139);
        let slope = found.slope.unwrap();
        close(slope.standard_error, 0.05372905233474581);
        close(slope.p().unwrap(), 0.7240776901624818);
    }

    #[test]
    fn equal_values_have_no_interval() {
        let group = |t, treated, y: f64| {
            let mut values = Values::one(y);
            values.add(Values::one(y));
            Group {
                cluster: 0,
                t,
                treated,
                values,
            }
        };
        let found = compare(&[
            group(-1, true, 3.0),
            group(0, true, 4.0),
            group(-1, false, 5.0),
            group(0, false, 5.0),
        ]);
        let effect = found.effect.unwrap();
        assert_eq!(
            (effect.value, effect.limits(), effect.p()),
            (1.0, None, None)
        );
    }

    /// Runs with 12 weeks on a side and owners of different skill: the share whose interval holds the truth, and lies above it.
    fn coverage(effect: f64, skill: f64, runs: usize) -> (f64, f64) {
        let mut dice = Dice::new(3);
        let (mut held, mut above) = (0, 0);
        for _ in 0..runs {
            let mut groups = Vec::new();
            for owner in 0..16_usize {
                let treated = owner % 2 == 0;
                // What an owner's change over time is beyond that of others.
                let drift = skill * dice.normal();
                let level = 0.4 + 0.05 * dice.normal();
                for t in [-2_i64, -1, 0, 1] {
                    let post = if t < 0 { 0.0 } else { 1.0 };
                    let rate = level + post * (0.05 + drift + if treated { effect } else { 0.0 });
                    let n = 40;
                    let k = (0..n).filter(|_| dice.uniform() < rate).count();
                    groups.push(counted(owner, t, treated, k as f64, f64::from(n)));
                }
            }
            let (low, high) = compare(&groups).effect.unwrap().limits().unwrap();
            held += usize::from(low <= effect && effect <= high);
            above += usize::from(low > effect);
        }
        (held as f64 / runs as f64, above as f64 / runs as f64)
    }

    #[test]
    fn intervals_hold_the_truth() {
        for (effect, skill) in [(0.0, 0.0), (0.08, 0.0), (0.0, 0.06)] {
            let (held, above) = coverage(effect, skill, 250);
            assert!(held >= 0.92, "{effect} {skill}: {held}");
            assert!(above <= 0.05, "{effect} {skill}: {above}");
        }
    }
}
