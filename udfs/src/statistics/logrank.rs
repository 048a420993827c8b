//! The log-rank test: does an event come equally fast in all groups?
//!
//! At each time with events, those are expected in each group by its share of the entities at risk; `χ²` compares what was
//! observed over all times with that, by the covariance of sampling without replacement:
//!
//! `χ² = (O - E)ᵀ V⁻¹ (O - E)`, `V_ij = Σ d (n - d) / (n - 1) · n_i / n · ([i = j] - n_j / n)`, of all groups but one
//!
//! It is cause-specific: an outcome that isn't the event ends a follow-up without it. Events come before censorings of the
//! same time.
//!
//! Source: N. Mantel, Cancer Chemotherapy Reports 50 (1966), 163–170; R. Peto and J. Peto, JRSS A 135 (1972), 185–207.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::life_table::{Event, LifeTable};
use crate::error::FunnelError;

/// The most groups of a test: its covariance has the square of their number.
pub const MOST_GROUPS: usize = 1_000;

/// A log-rank test's result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogRank {
    /// The statistic.
    pub chi2: f64,
    /// Its degrees of freedom: one fewer than there are groups at risk.
    pub dof: i64,
    /// How often a statistic is this large where all groups are equal.
    pub p: f64,
}

/// Compares groups, a life table each, in any order.
///
/// - returns `None` where there is nothing to compare: no events, fewer than two groups of which somebody was at risk when
///   one happened (the other groups are left out), or everybody at risk had the event at each of its times
/// - errors: 22023 when there are more than [`MOST_GROUPS`] groups; 22003 when there are more than 2^63 entities
/// - cost: the distinct times with events by the square of the number of groups, and that number's cube
pub fn logrank(tables: &[LifeTable], event: Event) -> Result<Option<LogRank>, FunnelError> {
    check_size(tables)?;
    let mut sums = Sums::new(tables.len());
    let mut at_risk = tables.iter().map(LifeTable::entities).collect::<Vec<_>>();
    for moment in moments(tables, event).chunk_by(|a, b| a.t == b.t) {
        sums.add(&at_risk, moment);
        for ends in moment {
            at_risk[ends.group] -= ends.total;
        }
    }
    Ok(sums.result())
}

fn check_size(tables: &[LifeTable]) -> Result<(), FunnelError> {
    if tables.len() > MOST_GROUPS {
        return Err(FunnelError::InvalidArgument {
            message: format!("a log-rank test can't compare {} groups", tables.len()),
            hint: format!("Compare at most {MOST_GROUPS}."),
        });
    }
    let all = tables
        .iter()
        .try_fold(0_i64, |all, table| all.checked_add(table.entities()));
    match all {
        Some(_) => Ok(()),
        None => Err(FunnelError::OutOfRange {
            message: "a log-rank test can't have more than 2^63 entities".to_owned(),
        }),
    }
}

/// The follow-ups of a group that ended at a time.
#[derive(Debug, Clone, Copy)]
struct Ends {
    t: f64,
    group: usize,
    events: i64,
    total: i64,
}

/// The ends of all groups by time.
fn moments(tables: &[LifeTable], event: Event) -> Vec<Ends> {
    let of_group = |(group, table): (usize, &LifeTable)| {
        let ends = |row: &super::life_table::Row| Ends {
            t: row.t,
            group,
            events: event.count(row.ends),
            total: row.ends.total(),
        };
        table.rows().iter().map(ends).collect::<Vec<_>>()
    };
    let mut all = tables
        .iter()
        .enumerate()
        .flat_map(of_group)
        .collect::<Vec<_>>();
    all.sort_by(|a, b| a.t.total_cmp(&b.t));
    all
}

/// What the test adds up over the times.
struct Sums {
    expected: Vec<f64>,
    /// Observed less expected.
    excess: Vec<f64>,
    /// The lower triangle is used.
    covariance: Vec<Vec<f64>>,
}

impl Sums {
    fn new(groups: usize) -> Sums {
        Sums {
            expected: vec![0.0; groups],
            excess: vec![0.0; groups],
            covariance: (1..=groups).map(|length| vec![0.0; length]).collect(),
        }
    }

    /// Adds the ends of one time.
    fn add(&mut self, at_risk: &[i64], moment: &[Ends]) {
        let events = moment.iter().map(|ends| ends.events).sum::<i64>() as f64;
        if events == 0.0 {
            return;
        }
        let n = at_risk.iter().sum::<i64>() as f64;
        let shares = at_risk
            .iter()
            .map(|group| *group as f64 / n)
            .collect::<Vec<_>>();
        for (group, share) in shares.iter().enumerate() {
            self.expected[group] += events * share;
            self.excess[group] -= events * share;
        }
        for ends in moment {
            self.excess[ends.group] += ends.events as f64;
        }
        // Where all have the event, or one is left, nothing is random.
        if events < n {
            self.add_covariance(&shares, events * (n - events) / (n - 1.0));
        }
    }

    fn add_covariance(&mut self, shares: &[f64], scale: f64) {
        for (i, row) in self
            .covariance
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| shares[*i] > 0.0)
        {
            for (cell, share) in row.iter_mut().zip(&shares[..i]) {
                *cell -= scale * shares[i] * share;
            }
            row[i] += scale * shares[i] * (1.0 - shares[i]);
        }
    }

    fn result(self) -> Option<LogRank> {
        let groups = (0..self.expected.len()).filter(|group| self.expected[*group] > 0.0);
        let groups = groups.collect::<Vec<_>>();
        // The excesses of all groups sum to 0, so one of them says nothing new.
        let (_, kept) = groups.split_last().filter(|(_, kept)| !kept.is_empty())?;
        let excess = kept
            .iter()
            .map(|group| self.excess[*group])
            .collect::<Vec<_>>();
        let covariance = kept
            .iter()
            .enumerate()
            .map(|(i, row)| {
                kept[..=i]
                    .iter()
                    .map(|column| self.covariance[*row][*column])
                    .collect()
            })
            .collect();
        let chi2 = quadratic_form(covariance, excess)?;
        let dof = kept.len();
        // Degrees of freedom above 0 always have a distribution.
        let p = ChiSquared::new(dof as f64).ok()?.sf(chi2);
        Some(LogRank {
            chi2,
            dof: dof as i64,
            p,
        })
    }
}

/// `xᵀ A⁻¹ x`, by Cholesky's `A = L Lᵀ`: the square of the length of `L⁻¹ x`.
///
/// - `matrix`: symmetric and not negative, its lower triangle
/// - returns `None` where the matrix has no inverse
fn quadratic_form(mut matrix: Vec<Vec<f64>>, mut vector: Vec<f64>) -> Option<f64> {
    /// What is left of a diagonal element by rounding alone, as a part of it.
    const NOTHING: f64 = 1e-12;
    for i in 0..matrix.len() {
        let (done, rest) = matrix.split_at_mut(i);
        let row = rest.first_mut()?;
        for (j, other) in done.iter().enumerate() {
            let sum = dot(&row[..j], &other[..j]);
            row[j] = (row[j] - sum) / other[j];
        }
        let left = row[i] - dot(&row[..i], &row[..i]);
        if left <= NOTHING * row[i] {
            return None;
        }
        row[i] = left.sqrt();
        vector[i] = (vector[i] - dot(&row[..i], &vector[..i])) / row[i];
    }
    Some(dot(&vector, &vector))
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::super::life_table::Outcome::{self, Lost, Open, Won};
    use super::super::life_table::testing::{
        Entity, MERCAPTOPURINE, TIES, entities, placebo, repeated, table,
    };
    use super::*;

    fn test(groups: &[&[Entity]], event: Event) -> Option<LogRank> {
        let tables = groups.iter().map(|group| table(group)).collect::<Vec<_>>();
        logrank(&tables, event).unwrap()
    }

    #[track_caller]
    fn assert_near(found: Option<LogRank>, chi2: f64, dof: i64, p: f64) {
        let found = found.unwrap();
        assert_eq!(found.dof, dof);
        assert!(
            (found.chi2 / chi2 - 1.0).abs() < 1e-11,
            "{found:?}, not {chi2}"
        );
        assert!((found.p / p - 1.0).abs() < 1e-9, "{found:?}, not {p}");
    }

    #[test]
    fn statistics_equal_lifelines() {
        // lifelines 0.30.3: statistics.logrank_test(t_a, t_b, e_a, e_b) and multivariate_logrank_test(t, group, e). The
        // first is Freireich's trial, published as 16.793.
        let placebo = placebo();
        let two = test(&[&MERCAPTOPURINE, &placebo], Event::Any);
        assert_near(two, 16.792_940_989_216_547, 1, 4.168_809_109_334_511e-5);
        let three: [&[Entity]; 3] = [&MERCAPTOPURINE, &placebo, &TIES];
        assert_near(
            test(&three, Event::Any),
            20.402_005_402_230_074,
            2,
            3.713_306_664_358_825_6e-5,
        );
        assert_near(
            test(&three, Event::Won),
            16.539_909_943_979_08,
            2,
            2.560_968_225_279_181e-4,
        );
    }

    #[test]
    fn nothing_to_compare_is_no_result() {
        let open: [Entity; 2] = [(1.0, Open), (5.0, Open)];
        assert_eq!(test(&[], Event::Any), None);
        assert_eq!(test(&[&TIES], Event::Any), None);
        assert_eq!(test(&[&open, &open], Event::Any), None);
        assert_eq!(
            test(&[&[(1.0, Lost)], &[(1.0, Lost), (2.0, Open)]], Event::Won),
            None
        );
        // Everybody has the event at once: nothing is random.
        assert_eq!(
            test(&[&[(1.0, Won), (1.0, Won)], &[(1.0, Won)]], Event::Any),
            None
        );
    }

    #[test]
    fn groups_that_nobody_watched_long_enough_are_left_out() {
        let with: [&[Entity]; 4] = [&MERCAPTOPURINE, &[], &[(0.5, Open)], &placebo()];
        assert_eq!(test(&with, Event::Any).unwrap().dof, 1);
        let without: [&[Entity]; 2] = [&MERCAPTOPURINE, &placebo()];
        assert_eq!(test(&with, Event::Any), test(&without, Event::Any));
        assert_eq!(test(&[&[(0.5, Open)], &placebo()], Event::Any), None);
    }

    #[test]
    fn too_many_groups_and_entities_are_errors() {
        let many = vec![LifeTable::default(); MOST_GROUPS + 1];
        assert_eq!(logrank(&many, Event::Any).unwrap_err().code(), "22023");
        let ends = super::super::life_table::Counts {
            won: i64::MAX,
            lost: 0,
            open: 0,
        };
        let full = LifeTable::new(vec![super::super::life_table::Row { t: 1.0, ends }]).unwrap();
        let error = logrank(&[full, table(&TIES)], Event::Any).unwrap_err();
        assert_eq!(error.code(), "22003");
    }

    /// Whether an outcome is the event.
    type IsEvent = fn(Outcome) -> bool;

    /// The statistic of two groups by its definition: at each time, all entities are counted.
    fn by_definition(groups: [&[Entity]; 2], is_event: IsEvent) -> Option<f64> {
        let all = groups.concat();
        let mut times = all.iter().map(|entity| entity.0).collect::<Vec<_>>();
        times.sort_by(f64::total_cmp);
        times.dedup();
        let (mut excess, mut variance) = (0.0, 0.0);
        for t in times {
            let at_risk = |of: &[Entity]| of.iter().filter(|entity| entity.0 >= t).count() as f64;
            let events = |of: &[Entity]| {
                of.iter()
                    .filter(|entity| entity.0 == t && is_event(entity.1))
                    .count() as f64
            };
            let (n, d, share) = (
                at_risk(&all),
                events(&all),
                at_risk(groups[0]) / at_risk(&all),
            );
            excess += events(groups[0]) - d * share;
            if n > 1.0 {
                variance += share * (1.0 - share) * d * (n - d) / (n - 1.0);
            }
        }
        (variance > 0.0).then(|| excess * excess / variance)
    }

    proptest! {
        #[test]
        fn two_groups_are_as_defined(a in entities(), b in entities()) {
            let cases: [(Event, IsEvent); 3] = [
                (Event::Any, |outcome| outcome != Open),
                (Event::Won, |outcome| outcome == Won),
                (Event::Lost, |outcome| outcome == Lost),
            ];
            for (event, is_event) in cases {
                let found = test(&[&a, &b], event).map(|found| found.chi2);
                let expected = by_definition([&a, &b], is_event);
                prop_assert_eq!(found.is_some(), expected.is_some(), "{:?} {:?}", found, expected);
                if let (Some(found), Some(expected)) = (found, expected) {
                    prop_assert!((found - expected).abs() < 1e-9 * expected.max(1.0), "{found} {expected}");
                }
            }
        }

        #[test]
        fn the_order_of_groups_changes_nothing(
            (groups, shuffled) in proptest::collection::vec(entities(), 2..6)
                .prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let of = |groups: &[Vec<Entity>]| {
                let groups = groups.iter().map(Vec::as_slice).collect::<Vec<_>>();
                test(&groups, Event::Any)
            };
            let (one, other) = (of(&groups), of(&shuffled));
            prop_assert_eq!(one.map(|one| one.dof), other.map(|other| other.dof));
            if let (Some(one), Some(other)) = (one, other) {
                prop_assert!((one.chi2 - other.chi2).abs() < 1e-9 * one.chi2.max(1.0), "{one:?} {other:?}");
                prop_assert!((0.0..=1.0).contains(&one.p) && one.chi2 >= 0.0, "{one:?}");
            }
        }

        #[test]
        fn equal_groups_do_not_differ(entities in entities(), times in 1_usize..4) {
            let often = repeated(&entities, times);
            if let Some(found) = test(&[&entities, &often, &entities], Event::Any) {
                prop_assert!(found.chi2 < 1e-9 && found.p > 0.9999, "{found:?}");
            }
        }
    }
}
