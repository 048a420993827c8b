//! How many follow-ups ended at each time, and how.
//!
//! [`FollowUps`] is what rows are added to: a sorted map, so the order of rows and the way they were split don't matter;
//! merging adds, retracting subtracts. [`LifeTable`] is the finished list that the estimates read.

use std::collections::BTreeMap;

use crate::error::FunnelError;

/// How an entity's follow-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It reached the goal.
    Won,
    /// It was lost, and can't reach the goal any more.
    Lost,
    /// It was still under way when it was last looked at.
    Open,
}

impl Outcome {
    /// The outcome of that name, in lower case.
    ///
    /// `passed` (a stage) is a win; `expired` is open, as nobody knows what would have come of it.
    ///
    /// - errors: 22023 when it is none of `won`, `passed`, `lost`, `open` and `expired`
    pub fn parse(name: &str) -> Result<Outcome, FunnelError> {
        match name {
            "won" | "passed" => Ok(Outcome::Won),
            "lost" => Ok(Outcome::Lost),
            "open" | "expired" => Ok(Outcome::Open),
            _ => Err(FunnelError::InvalidArgument {
                message: format!(
                    "outcome \"{name}\" is not one of won, passed, lost, open and expired"
                ),
                hint: "Use CASE to turn your outcomes into 'won', 'lost' and 'open'.".to_owned(),
            }),
        }
    }
}

/// Which outcomes are the event that is waited for; the others end the follow-up without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Event {
    /// Won or lost, whichever comes first.
    #[default]
    Any,
    /// Won; those that are lost are censored.
    Won,
    /// Lost; those that are won are censored.
    Lost,
}

impl Event {
    /// The event of that name, in lower case.
    ///
    /// - errors: 22023 when it is none of `any`, `won` and `lost`
    pub fn parse(name: &str) -> Result<Event, FunnelError> {
        match name {
            "any" => Ok(Event::Any),
            "won" => Ok(Event::Won),
            "lost" => Ok(Event::Lost),
            _ => Err(FunnelError::InvalidArgument {
                message: format!("event \"{name}\" is not one of any, won and lost"),
                hint: "Use one of 'any', 'won', 'lost'.".to_owned(),
            }),
        }
    }

    /// How many of these ends are the event.
    pub fn count(self, ends: Counts) -> i64 {
        match self {
            Event::Any => ends.won + ends.lost,
            Event::Won => ends.won,
            Event::Lost => ends.lost,
        }
    }
}

/// How many follow-ups ended at a time, by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ended by the goal.
    pub won: i64,
    /// Ended by a loss.
    pub lost: i64,
    /// Still under way.
    pub open: i64,
}

impl Counts {
    /// One entity.
    pub fn one(outcome: Outcome) -> Counts {
        let mut counts = Counts::default();
        match outcome {
            Outcome::Won => counts.won = 1,
            Outcome::Lost => counts.lost = 1,
            Outcome::Open => counts.open = 1,
        }
        counts
    }

    /// All of them. It can't overflow in a [`LifeTable`], which checks the sum of all rows.
    pub fn total(self) -> i64 {
        self.won + self.lost + self.open
    }

    fn is_negative(self) -> bool {
        self.won < 0 || self.lost < 0 || self.open < 0
    }

    fn checked_add(self, other: Counts) -> Option<Counts> {
        Some(Counts {
            won: self.won.checked_add(other.won)?,
            lost: self.lost.checked_add(other.lost)?,
            open: self.open.checked_add(other.open)?,
        })
    }

    fn checked_total(self) -> Option<i64> {
        self.won.checked_add(self.lost)?.checked_add(self.open)
    }
}

/// The end of each follow-up: the mergeable state of the estimates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowUps {
    /// By the bits of the time, which for floats that aren't negative sort as the floats do. No entry is all zero.
    by_time: BTreeMap<u64, Counts>,
}

impl FollowUps {
    /// Adds entities whose follow-up ended after `t` days.
    ///
    /// - errors: 22023 when `t` is negative, infinite or NaN
    pub fn add(&mut self, t: f64, ends: Counts) -> Result<(), FunnelError> {
        let sum = self.by_time.entry(time(t)?.to_bits()).or_default();
        // Counts of rows: 2^63 of them can't be read in a lifetime.
        sum.won += ends.won;
        sum.lost += ends.lost;
        sum.open += ends.open;
        Ok(())
    }

    /// Takes entities out that were added before, as a window frame moves on.
    ///
    /// - returns whether they were there; if not, nothing changes
    /// - errors: 22023 when `t` is negative, infinite or NaN
    pub fn retract(&mut self, t: f64, ends: Counts) -> Result<bool, FunnelError> {
        let key = time(t)?.to_bits();
        let Some(sum) = self.by_time.get_mut(&key) else {
            return Ok(false);
        };
        let left = Counts {
            won: sum.won - ends.won,
            lost: sum.lost - ends.lost,
            open: sum.open - ends.open,
        };
        if left.is_negative() {
            return Ok(false);
        }
        *sum = left;
        if left == Counts::default() {
            self.by_time.remove(&key);
        }
        Ok(true)
    }

    /// Whether nobody was followed.
    pub fn is_empty(&self) -> bool {
        self.by_time.is_empty()
    }

    /// Times in ascending order, each with its counts.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        self.by_time.iter().map(|(bits, ends)| Row {
            t: f64::from_bits(*bits),
            ends: *ends,
        })
    }

    /// Bytes of the heap, about: entries of a B-tree are two thirds of its nodes.
    pub fn heap_size(&self) -> usize {
        self.by_time.len() * size_of::<(u64, Counts)>() * 3 / 2
    }

    /// The finished table.
    ///
    /// - errors: 22003 when there are more than 2^63 entities
    pub fn table(&self) -> Result<LifeTable, FunnelError> {
        LifeTable::new(self.rows().collect())
    }
}

/// A time as it is kept; `+ 0.0` makes -0.0 and 0.0 one.
fn time(t: f64) -> Result<f64, FunnelError> {
    if t.is_finite() && t >= 0.0 {
        return Ok(t + 0.0);
    }
    Err(FunnelError::InvalidArgument {
        message: format!("a follow-up can't last {t} days"),
        hint: "Give the days from the start to the outcome, or to the last look at what is open."
            .to_owned(),
    })
}

/// The follow-ups that ended at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Days since the start.
    pub t: f64,
    /// How they ended.
    pub ends: Counts,
}

/// The follow-ups that ended, by time: ascending distinct times, at each of which at least one ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LifeTable {
    rows: Vec<Row>,
    entities: i64,
}

impl LifeTable {
    /// A table of rows in any order; rows of the same time are added up, those without ends left out.
    ///
    /// - errors: 22023 when a time is negative, infinite or NaN, or a count negative; 22003 when there are more than 2^63
    ///   entities
    pub fn new(mut rows: Vec<Row>) -> Result<LifeTable, FunnelError> {
        for row in &mut rows {
            row.t = time(row.t)?;
            if row.ends.is_negative() {
                return Err(negative_count(row.t));
            }
        }
        let all = rows
            .iter()
            .try_fold(Counts::default(), |all, row| all.checked_add(row.ends));
        let entities = all.and_then(Counts::checked_total).ok_or_else(|| {
            let message = "a life table can't have more than 2^63 entities".to_owned();
            FunnelError::OutOfRange { message }
        })?;
        rows.retain(|row| row.ends != Counts::default());
        if !rows.is_sorted_by(|a, b| a.t < b.t) {
            rows.sort_by(|a, b| a.t.total_cmp(&b.t));
            rows.dedup_by(|next, kept| next.t == kept.t && kept.take(next));
        }
        Ok(LifeTable { rows, entities })
    }

    /// Ascending times, each with how many follow-ups ended there.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many were followed.
    pub fn entities(&self) -> i64 {
        self.entities
    }

    /// The longest follow-up in days; `None` where nobody was followed.
    pub fn last_time(&self) -> Option<f64> {
        self.rows.last().map(|row| row.t)
    }

    /// Each row with how many were followed until its time or longer. Its own ends are among them: an event comes before a
    /// censoring of the same time.
    pub fn at_risk(&self) -> impl Iterator<Item = (i64, Row)> {
        self.rows.iter().scan(self.entities, |left, row| {
            let at_risk = *left;
            *left -= row.ends.total();
            Some((at_risk, *row))
        })
    }
}

impl Row {
    /// Adds the ends of another row; always true.
    fn take(&mut self, other: &Row) -> bool {
        self.ends.won += other.ends.won;
        self.ends.lost += other.ends.lost;
        self.ends.open += other.ends.open;
        true
    }
}

fn negative_count(t: f64) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("a life table's count at {t} days is negative"),
        hint: "Make the table with life_table(t, outcome).".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of the estimates share.
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::Outcome::{Lost, Open, Won};
    use super::*;

    /// An entity's time and outcome.
    pub(crate) type Entity = (f64, Outcome);

    /// The table of some entities.
    pub(crate) fn table(entities: &[Entity]) -> LifeTable {
        follow_ups(entities).table().unwrap()
    }

    /// The state of some entities.
    pub(crate) fn follow_ups(entities: &[Entity]) -> FollowUps {
        let mut all = FollowUps::default();
        for (t, outcome) in entities {
            all.add(*t, Counts::one(*outcome)).unwrap();
        }
        all
    }

    /// Follow-ups in whole days, so that there are ties.
    pub(crate) fn entities() -> impl Strategy<Value = Vec<Entity>> {
        let outcome = proptest::sample::select(vec![Won, Lost, Open]);
        let entity = ((0_u8..40).prop_map(f64::from), outcome);
        proptest::collection::vec(entity, 1..200)
    }

    /// Each entity so many times.
    pub(crate) fn repeated(entities: &[Entity], times: usize) -> Vec<Entity> {
        entities
            .iter()
            .flat_map(|entity| std::iter::repeat_n(*entity, times))
            .collect()
    }

    /// Ties of wins, losses and censorings, with t = 1 and t = 5 censored.
    pub(crate) const TIES: [Entity; 12] = [
        (1.0, Won),
        (1.0, Open),
        (2.0, Lost),
        (2.0, Won),
        (2.0, Open),
        (3.0, Won),
        (3.0, Won),
        (5.0, Lost),
        (5.0, Open),
        (8.0, Won),
        (8.0, Lost),
        (13.0, Open),
    ];

    /// Weeks of remission of 21 patients given 6-mercaptopurine; E. J. Freireich and others, Blood 21 (1963), 699–716.
    pub(crate) const MERCAPTOPURINE: [Entity; 21] = [
        (6.0, Won),
        (6.0, Won),
        (6.0, Won),
        (6.0, Open),
        (7.0, Won),
        (9.0, Open),
        (10.0, Won),
        (10.0, Open),
        (11.0, Open),
        (13.0, Won),
        (16.0, Won),
        (17.0, Open),
        (19.0, Open),
        (20.0, Open),
        (22.0, Won),
        (23.0, Won),
        (25.0, Open),
        (32.0, Open),
        (32.0, Open),
        (34.0, Open),
        (35.0, Open),
    ];

    /// The 21 patients of the same trial that were given a placebo; every remission ended.
    pub(crate) fn placebo() -> Vec<Entity> {
        [
            1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23,
        ]
        .map(|week| (f64::from(week), Won))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::Outcome::{Lost, Open, Won};
    use super::testing::{TIES, entities, follow_ups, table};
    use super::*;

    #[test]
    fn the_ends_of_a_time_are_one_row() {
        let rows = [
            (1.0, 1, 0, 1),
            (2.0, 1, 1, 1),
            (3.0, 2, 0, 0),
            (5.0, 0, 1, 1),
            (8.0, 1, 1, 0),
            (13.0, 0, 0, 1),
        ];
        let rows = rows.map(|(t, won, lost, open)| Row {
            t,
            ends: Counts { won, lost, open },
        });
        let found = table(&TIES);
        assert_eq!(found.rows(), rows);
        assert_eq!((found.entities(), found.last_time()), (12, Some(13.0)));
        let at_risk = found.at_risk().map(|(at_risk, _)| at_risk);
        assert_eq!(at_risk.collect::<Vec<_>>(), [12, 10, 7, 5, 3, 1]);
    }

    #[test]
    fn minus_zero_is_zero_and_nobody_has_no_rows() {
        assert_eq!(table(&[(0.0, Won), (-0.0, Won)]).rows().len(), 1);
        assert_eq!(table(&[]).last_time(), None);
        assert!(FollowUps::default().is_empty());
    }

    #[test]
    fn five_words_name_three_outcomes() {
        let words = ["won", "passed", "lost", "open", "expired"];
        let outcomes = words.map(|word| Outcome::parse(word).unwrap());
        assert_eq!(outcomes, [Won, Won, Lost, Open, Open]);
        let error = Outcome::parse("Won").unwrap_err();
        assert_eq!(error.code(), "22023");
        let words = "won, passed, lost, open and expired";
        assert_eq!(
            error.to_string(),
            format!("outcome \"Won\" is not one of {words}")
        );
        assert_eq!(Event::parse("gone").unwrap_err().code(), "22023");
    }

    #[test]
    fn impossible_times_and_counts_are_errors() {
        for t in [-1.0, f64::NAN, f64::INFINITY] {
            let error = FollowUps::default().add(t, Counts::one(Won)).unwrap_err();
            assert_eq!(error.code(), "22023", "{t}");
        }
        let of = |won, lost, open| {
            LifeTable::new(vec![Row {
                t: 1.0,
                ends: Counts { won, lost, open },
            }])
        };
        assert_eq!(of(1, -1, 1).unwrap_err().code(), "22023");
        assert_eq!(of(i64::MAX, 1, 0).unwrap_err().code(), "22003");
        assert_eq!(of(i64::MAX, 0, 0).unwrap().entities(), i64::MAX);
        assert_eq!(of(0, 0, 0).unwrap(), LifeTable::default());
    }

    #[test]
    fn retract_of_an_unseen_follow_up_changes_nothing() {
        let mut all = follow_ups(&TIES);
        assert!(!all.retract(4.0, Counts::one(Won)).unwrap());
        assert!(!all.retract(13.0, Counts::one(Won)).unwrap());
        assert_eq!(all, follow_ups(&TIES));
    }

    proptest! {
        #[test]
        fn order_and_partition_change_nothing(
            (entities, shuffled) in entities().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
            split in 0.0..1.0,
        ) {
            let (left, right) = shuffled.split_at((split * shuffled.len() as f64) as usize);
            let mut merged = follow_ups(left);
            for row in follow_ups(right).rows() {
                merged.add(row.t, row.ends).unwrap();
            }
            prop_assert_eq!(&merged, &follow_ups(&entities));

            for row in follow_ups(right).rows() {
                prop_assert!(merged.retract(row.t, row.ends).unwrap());
            }
            prop_assert_eq!(merged, follow_ups(left));
        }

        #[test]
        fn rows_in_any_order_and_in_parts_are_the_same_table(
            (entities, shuffled) in entities().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let rows = shuffled.iter().map(|(t, outcome)| Row { t: *t, ends: Counts::one(*outcome) });
            prop_assert_eq!(LifeTable::new(rows.collect()).unwrap(), table(&entities));
        }
    }
}
