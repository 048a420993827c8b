//! The walk over the entries of one entity: integers in, a journey out.
//!
//! [`walk`] is the whole semantics of [`journey`](super): one pass over a sorted slice, with no
//! allocation. Everything around it only brings entries together and writes journeys down.

use chrono::{DateTime, Months};
use datafusion::arrow::datatypes::IntervalMonthDayNano;

use super::MAX_STAGES;
use crate::definition::model::Counting;
use crate::error::FunnelError;

/// The lowest code of a loss; the codes below it are stages, counted from 0.
///
/// Being above every stage, it sorts a loss after the stages that were entered at the same time.
pub(crate) const FIRST_LOSS: u32 = MAX_STAGES as u32;

/// The code of a loss without a reason; it sorts after the losses that have one.
pub(crate) const NO_REASON: u32 = u32::MAX;

const US_PER_DAY: i128 = 86_400_000_000;

/// One thing that happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When, in microseconds since 1970 UTC.
    pub time_us: i64,
    /// Whose it is. The walk doesn't look at it; it fills what would be padding.
    pub group: u32,
    /// Which stage was entered, from 0; or [`FIRST_LOSS`] + the rank of the reason; or [`NO_REASON`].
    pub code: u32,
}

impl Entry {
    /// The order that [`walk`] wants.
    fn key(&self) -> (i64, u32) {
        (self.time_us, self.code)
    }
}

/// What the literal arguments say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    counting: Counting,
    window: Option<IntervalMonthDayNano>,
    stage_count: usize,
}

impl Rules {
    /// Rules that make sense.
    ///
    /// # Errors
    /// 22023 when there are not 2 to 64 stages, or the window isn't longer than zero.
    pub fn new(
        counting: Counting,
        window: Option<IntervalMonthDayNano>,
        stage_count: usize,
    ) -> Result<Self, FunnelError> {
        if !(2..=MAX_STAGES).contains(&stage_count) {
            return Err(FunnelError::InvalidArgument {
                message: format!("a journey can't have {stage_count} stages"),
                hint: format!("Write a number of stages from 2 to {MAX_STAGES}."),
            });
        }
        if window.is_some_and(|window| !is_positive(window)) {
            return Err(FunnelError::InvalidArgument {
                message: "the window of a journey is not longer than zero".to_owned(),
                hint: "Write a positive length of time, such as INTERVAL '180 days', or NULL."
                    .to_owned(),
            });
        }
        Ok(Self {
            counting,
            window,
            stage_count,
        })
    }

    /// Whether a journey has a deadline.
    pub fn has_window(&self) -> bool {
        self.window.is_some()
    }

    /// A bit for each stage.
    pub fn stage_mask(&self) -> u64 {
        bits_up_to(self.stage_count - 1)
    }

    /// The last moment of a journey that started then.
    fn deadline_us(&self, started_at_us: i64) -> Option<i64> {
        self.window
            .map(|window| add_interval(started_at_us, window))
    }

    /// The stages after which no entry can change anything.
    ///
    /// Where each stage counts by itself, those before a win still get their times.
    fn final_stages(&self) -> u64 {
        match self.counting {
            Counting::Ordered | Counting::Strict => 1 << (self.stage_count - 1),
            Counting::Any => self.stage_mask(),
        }
    }
}

/// Whether an interval is longer than zero, with no part that goes back.
fn is_positive(interval: IntervalMonthDayNano) -> bool {
    let parts = [
        i64::from(interval.months),
        i64::from(interval.days),
        interval.nanoseconds,
    ];
    parts.iter().all(|part| *part >= 0) && parts.iter().any(|part| *part > 0)
}

/// A time and a positive interval: months by the calendar in UTC, then days of 24 hours, then the rest.
///
/// What lies beyond the last timestamp, or beyond the calendar (some 262 thousand years), is the last
/// timestamp: no deadline that an entry could miss.
fn add_interval(time_us: i64, interval: IntervalMonthDayNano) -> i64 {
    let Some(time_us) = add_months(time_us, interval.months) else {
        return i64::MAX;
    };
    let sum = i128::from(time_us)
        + i128::from(interval.days) * US_PER_DAY
        + i128::from(interval.nanoseconds / 1_000);
    i64::try_from(sum).unwrap_or(i64::MAX)
}

fn add_months(time_us: i64, months: i32) -> Option<i64> {
    if months == 0 {
        return Some(time_us);
    }
    let months = Months::new(u32::try_from(months).ok()?);
    let time = DateTime::from_timestamp_micros(time_us)?.checked_add_months(months)?;
    Some(time.timestamp_micros())
}

/// Brings the entries of an entity into the order that [`walk`] wants.
pub(crate) fn sort(entries: &mut [Entry]) {
    // Most logs are written in the order of time, and looking is a fraction of sorting.
    if !entries.is_sorted_by_key(Entry::key) {
        entries.sort_unstable_by_key(Entry::key);
    }
}

/// How a journey ended, as far as its entries say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It reached the last stage.
    Won {
        /// When.
        at_us: i64,
    },
    /// It was lost, and no stage was entered since.
    Lost {
        /// When.
        at_us: i64,
        /// The code of the loss, which tells its reason.
        code: u32,
    },
    /// Neither; whether it is open or too late depends on the time of asking.
    Unfinished,
}

/// A journey: the result of a [`walk`], and its scratch space, to be used again for the next.
///
/// Sets of stages are bits, the first stage the lowest. A time is only meaningful where its stage's bit
/// is set, so that nothing needs to be cleared but the counters.
#[derive(Debug)]
pub(crate) struct Journey {
    stage_count: usize,
    counting: Counting,
    /// The time of the first entry that counts.
    pub started_at_us: i64,
    /// The last moment that counts.
    pub deadline_us: Option<i64>,
    /// The highest stage reached.
    pub furthest_idx: usize,
    /// The stages that have an entry time.
    pub entered: u64,
    entered_at_us: [i64; MAX_STAGES],
    reentered: [i32; MAX_STAGES],
    back_moves: [i32; MAX_STAGES],
    /// The stages that were ever entered, those out of order too.
    seen: u64,
    current_idx: usize,
    /// Time and code of the loss that stands.
    loss: Option<(i64, u32)>,
}

impl Journey {
    /// Space for a journey under these rules.
    pub fn new(rules: &Rules) -> Self {
        Self {
            stage_count: rules.stage_count,
            counting: rules.counting,
            started_at_us: 0,
            deadline_us: None,
            furthest_idx: 0,
            entered: 0,
            entered_at_us: [0; MAX_STAGES],
            reentered: [0; MAX_STAGES],
            back_moves: [0; MAX_STAGES],
            seen: 0,
            current_idx: 0,
            loss: None,
        }
    }

    /// Entry times by stage; see [`Self::entered`] for which of them are meant.
    pub fn entered_at_us(&self) -> &[i64] {
        &self.entered_at_us[..self.stage_count]
    }

    /// How often each stage was entered again.
    pub fn reentered(&self) -> &[i32] {
        &self.reentered[..self.stage_count]
    }

    /// How often each stage was entered from a later one.
    pub fn back_moves(&self) -> &[i32] {
        &self.back_moves[..self.stage_count]
    }

    /// The stages that count as reached: a later one counts for those before it, unless each counts by itself.
    pub fn reached(&self) -> u64 {
        match self.counting {
            Counting::Ordered | Counting::Strict => bits_up_to(self.furthest_idx),
            Counting::Any => self.entered,
        }
    }

    /// The reached stages that were left behind for a later one.
    pub fn passed(&self) -> u64 {
        self.reached() & !(1 << self.furthest_idx)
    }

    /// How many stages were passed over: reached without an entry of their own.
    pub fn skipped(&self) -> u32 {
        (self.reached() & !self.entered).count_ones()
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        match self.loss {
            _ if self.won() => Outcome::Won {
                at_us: self.entered_at_us[self.stage_count - 1],
            },
            Some((at_us, code)) => Outcome::Lost { at_us, code },
            None => Outcome::Unfinished,
        }
    }

    fn won(&self) -> bool {
        self.entered >> (self.stage_count - 1) != 0
    }

    fn start(&mut self, rules: &Rules, stage_idx: usize, time_us: i64) {
        self.started_at_us = time_us;
        self.deadline_us = rules.deadline_us(time_us);
        self.furthest_idx = stage_idx;
        self.current_idx = stage_idx;
        self.entered = 1 << stage_idx;
        self.seen = self.entered;
        self.entered_at_us[stage_idx] = time_us;
        self.reentered[..self.stage_count].fill(0);
        self.back_moves[..self.stage_count].fill(0);
        self.loss = None;
    }

    fn enter(&mut self, stage_idx: usize, time_us: i64) {
        let stage = 1 << stage_idx;
        let won = self.won();
        let advances = match self.counting {
            Counting::Ordered => stage_idx > self.furthest_idx,
            Counting::Strict if stage_idx > self.furthest_idx + 1 => return,
            Counting::Strict => stage_idx > self.furthest_idx,
            Counting::Any => self.entered & stage == 0,
        };
        if advances {
            self.entered |= stage;
            self.entered_at_us[stage_idx] = time_us;
            self.furthest_idx = self.furthest_idx.max(stage_idx);
        }
        if won {
            return; // a win is final; only the times of other stages were still missing
        }
        // Saturating, as a counter that stands still is better than one that turns negative.
        if stage_idx < self.current_idx {
            self.back_moves[stage_idx] = self.back_moves[stage_idx].saturating_add(1);
        }
        let moved = stage_idx != self.current_idx || self.loss.is_some();
        if moved && self.seen & stage != 0 {
            self.reentered[stage_idx] = self.reentered[stage_idx].saturating_add(1);
        }
        self.seen |= stage;
        self.current_idx = stage_idx;
        self.loss = None;
    }

    fn lose(&mut self, time_us: i64, code: u32) {
        if self.won() {
            return;
        }
        match &mut self.loss {
            None => self.loss = Some((time_us, code)),
            Some((_, standing)) if *standing == NO_REASON => *standing = code,
            Some(_) => {}
        }
    }
}

/// Walks over the sorted entries of one entity; false when they hold no journey.
pub(crate) fn walk(entries: &[Entry], rules: &Rules, journey: &mut Journey) -> bool {
    let starts = |entry: &Entry| match rules.counting {
        Counting::Ordered | Counting::Any => entry.code < FIRST_LOSS,
        Counting::Strict => entry.code == 0,
    };
    let Some(start) = entries.iter().position(starts) else {
        return false;
    };
    journey.start(rules, entries[start].code as usize, entries[start].time_us);
    let last_us = journey.deadline_us.unwrap_or(i64::MAX);
    let final_stages = rules.final_stages();
    for entry in &entries[start + 1..] {
        if entry.time_us > last_us || journey.entered & final_stages == final_stages {
            break;
        }
        if entry.code < FIRST_LOSS {
            journey.enter(entry.code as usize, entry.time_us);
        } else {
            journey.lose(entry.time_us, entry.code);
        }
    }
    true
}

/// The bits of all stages up to and with this one.
fn bits_up_to(stage_idx: usize) -> u64 {
    u64::MAX >> (MAX_STAGES - 1 - stage_idx)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::super::testing::{Row, cases, events, journey_of, reference};
    use super::*;

    const NO_WINDOW: Option<IntervalMonthDayNano> = None;

    fn days(days: i32) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(0, days, 0)
    }

    fn microseconds(us: i64) -> IntervalMonthDayNano {
        IntervalMonthDayNano::new(0, 0, us * 1_000)
    }

    fn row(
        counting: Counting,
        window: Option<IntervalMonthDayNano>,
        stage_count: usize,
        rows: &str,
    ) -> Option<Row> {
        journey_of(
            &events(rows),
            &Rules::new(counting, window, stage_count).unwrap(),
        )
    }

    fn check(counting: Counting, stage_count: usize, rows: &str, expected: &str) {
        let row = row(counting, NO_WINDOW, stage_count, rows);
        let shown = row.map_or("none".to_owned(), |row| row.to_string());
        assert_eq!(shown, expected, "{counting} {rows}");
    }

    #[test]
    fn ordered_advances_and_a_later_stage_counts_for_those_before() {
        let check = |rows, expected| check(Counting::Ordered, 4, rows, expected);
        check("A@0 B@2 C@5 D@9", "won@9 | A@0>2 B@2>5 C@5>9 D@9");
        check("A@0 C@5", "open | A@0>5 B- C@5");
        check("A@0 D@5", "won@5 | A@0>5 B- C- D@5");
        check("C@3", "open | A- B- C@3");
        check("D@3", "won@3 | A- B- C- D@3");
        // Several stages of one row, and of several rows at one time, are entered first to last.
        check("ABD@3", "won@3 | A@3>3 B@3>3 C- D@3");
        check("C@3 A@3 B@3", "open | A@3>3 B@3>3 C@3");
    }

    #[test]
    fn ordered_moves_are_counted_and_set_no_time() {
        let check = |rows, expected| check(Counting::Ordered, 5, rows, expected);
        check("A@0 B@1 A@2", "open | A@0>1r1b1 B@1");
        check("A@0 C@1 B@2", "open | A@0>1 B-b1 C@1");
        // The second time back to B it had been entered, though it has no time.
        check("A@0 C@1 B@2 C@3 B@4", "open | A@0>1 B-r1b2 C@1r1");
        // Forward again to a stage that was passed over, or that was entered before.
        check("A@0 D@1 B@2 C@3", "open | A@0>1 B-b1 C- D@1");
        check("A@0 B@1 A@2 B@3 C@4", "open | A@0>1r1b1 B@1>4r1 C@4");
        check("A@0 A@1 A@2 B@3 B@4", "open | A@0>3 B@3");
        // An entry that is there twice counts once.
        check("A@0 B@1 A@2 A@2", "open | A@0>1r1b1 B@1");
    }

    #[test]
    fn a_loss_stands_until_a_stage_is_entered() {
        let check = |rows, expected| check(Counting::Ordered, 4, rows, expected);
        check("A@0 x@5:price", "lost@5:price | A@0");
        check("A@0 x@5", "lost@5 | A@0");
        check("A@0 x@5:price B@6", "open | A@0>6 B@6");
        check("A@0 x@5:price A@6", "open | A@0r1");
        check("A@0 B@1 x@5:price A@6", "open | A@0>1r1b1 B@1");
        check("A@0 x@5:price A@6 x@7:timing", "lost@7:timing | A@0r1");
    }

    #[test]
    fn a_further_loss_only_completes_the_reason() {
        let check = |rows, expected| check(Counting::Ordered, 4, rows, expected);
        check("A@0 x@5 x@6:price x@7:timing", "lost@5:price | A@0");
        check("A@0 x@5:price x@6:timing", "lost@5:price | A@0");
        check("A@0 x@5 A@6 x@7 x@8:price", "lost@7:price | A@0r1");
        // At one time, by the text, and NULL last; an empty text is a reason.
        check("A@0 x@5 x@5:timing x@5:price", "lost@5:price | A@0");
        check("A@0 x@5 x@5:", "lost@5: | A@0");
    }

    #[test]
    fn losses_before_the_start_are_ignored_and_those_at_its_time_are_not() {
        check(Counting::Ordered, 3, "x@1:early A@2", "open | A@2");
        check(Counting::Ordered, 3, "x@2:now A@2", "lost@2:now | A@2");
        check(Counting::Ordered, 3, "Ax@2:now", "lost@2:now | A@2");
        check(Counting::Strict, 3, "B@0 x@1:early A@2", "open | A@2");
    }

    #[test]
    fn without_a_start_there_is_no_journey() {
        for counting in [Counting::Ordered, Counting::Strict, Counting::Any] {
            check(counting, 3, "", "none");
            check(counting, 3, "x@5:price", "none");
            // Stages that don't exist.
            check(counting, 3, "D@5 Z@6", "none");
        }
        check(Counting::Strict, 3, "B@1 C@2", "none");
    }

    #[test]
    fn winning_is_final() {
        let moves = "A@0 C@5 B@7 C@8 x@9:late";
        check(Counting::Ordered, 3, moves, "won@5 | A@0>5 B- C@5");
        check(Counting::Any, 3, moves, "won@5 | A@0>7 B@7 C@5");
        check(
            Counting::Strict,
            2,
            "A@0 B@5 A@7 x@9:late",
            "won@5 | A@0>5 B@5",
        );
        // At the same time too, as a loss sorts after the stages.
        check(Counting::Ordered, 2, "A@0 Bx@5:late", "won@5 | A@0>5 B@5");
        check(
            Counting::Ordered,
            2,
            "A@0 x@3:early B@5",
            "won@5 | A@0>5 B@5",
        );
    }

    #[test]
    fn strict_takes_one_stage_after_the_other() {
        let check = |rows, expected| check(Counting::Strict, 4, rows, expected);
        check("A@0 B@2 C@5 D@9", "won@9 | A@0>2 B@2>5 C@5>9 D@9");
        check("A@0 C@1 B@2 C@5", "open | A@0>2 B@2>5 C@5");
        check("B@0 A@1 C@2", "open | A@1");
        check("B@0 A@1 B@2 A@3", "open | A@1>2r1b1 B@2");
        // A stage too far doesn't open a lost journey again; the next one does.
        check("A@0 x@1:price C@2", "lost@1:price | A@0");
        check("A@0 x@1:price B@2", "open | A@0>2 B@2");
    }

    #[test]
    fn any_counts_each_stage_by_itself() {
        let check = |rows, expected| check(Counting::Any, 4, rows, expected);
        check("A@0 C@5", "open | A@0>5 C@5");
        check("C@0 A@5", "open | A@5b1 C@0");
        check("C@0 A@5 B@7", "open | A@5>7b1 B@7 C@0");
        check("C@0 A@5 C@7", "open | A@5b1 C@0r1");
        check("C@0 x@1:price A@5", "open | A@5b1 C@0");
        check("D@0 A@5 x@6:late", "won@0 | A@5 D@0");
    }

    #[test]
    fn the_fields_beside_the_steps_are_sums_and_bounds() {
        let row = row(
            Counting::Ordered,
            Some(days(1)),
            5,
            "A@0 D@1 B@2 A@3 B@4 D@5",
        )
        .unwrap();
        assert_eq!(row.started_at, 0);
        assert_eq!(row.deadline, Some(86_400_000_000));
        assert_eq!((row.furthest, row.skipped), (4, 2));
        assert_eq!((row.reentered, row.back_moves), (3, 2));
        let of_steps = |of: fn(&super::super::testing::Step) -> bool| {
            row.steps.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(of_steps(|step| step.reached), [true; 4]);
        assert_eq!(of_steps(|step| step.passed), [true, true, true, false]);
    }

    #[test]
    fn the_end_of_the_window_is_inside() {
        let check = |rows, expected: &str| {
            let row = row(Counting::Ordered, Some(microseconds(10)), 3, rows).unwrap();
            assert_eq!(row.to_string(), expected, "{rows}");
        };
        check("A@5 C@15", "won@15 | A@5>15 B- C@15");
        check("A@5 C@16", "open | A@5");
        check("A@5 x@15:price", "lost@15:price | A@5");
        check("A@5 x@16:price", "open | A@5");
        // A reason that comes too late is not heard.
        check("A@5 x@15 x@16:price", "lost@15 | A@5");
    }

    #[test]
    fn months_go_by_the_calendar() {
        let us = |text: &str| {
            text.parse::<chrono::DateTime<chrono::Utc>>()
                .unwrap()
                .timestamp_micros()
        };
        let check = |start, interval, expected| {
            assert_eq!(add_interval(us(start), interval), us(expected), "{start}");
        };
        let month = IntervalMonthDayNano::new(1, 0, 0);
        check(
            "2024-01-31T10:00:00.000001Z",
            month,
            "2024-02-29T10:00:00.000001Z",
        );
        check("2023-01-31T10:00:00Z", month, "2023-02-28T10:00:00Z");
        check("1969-12-31T23:00:00Z", month, "1970-01-31T23:00:00Z");
        // First the months, then the days, then the rest: 29 February and not 2 March.
        let mixed = IntervalMonthDayNano::new(1, 1, 1_999);
        check("2023-01-31T00:00:00Z", mixed, "2023-03-01T00:00:00.000001Z");
        check("2024-02-28T00:00:00Z", days(1), "2024-02-29T00:00:00Z");
    }

    #[test]
    fn a_deadline_beyond_all_timestamps_is_the_last_one() {
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(add_interval(i64::MAX - 5, microseconds(5)), i64::MAX);
        assert_eq!(add_interval(i64::MAX - 5, microseconds(6)), i64::MAX);
        assert_eq!(add_interval(i64::MAX, IntervalMonthDayNano::MAX), i64::MAX);
        assert_eq!(add_interval(i64::MAX, month), i64::MAX);
        // Before the calendar begins.
        assert_eq!(add_interval(i64::MIN, month), i64::MAX);
        assert_eq!(add_interval(i64::MIN, microseconds(1)), i64::MIN + 1);
        // More days than fit before the sum does.
        assert_eq!(add_interval(i64::MIN, days(i32::MAX)), i64::MAX);
        let (min, max) = (i64::MIN, i64::MAX);
        let rows = format!("B@{max} A@{min}");
        check(
            Counting::Ordered,
            2,
            &rows,
            &format!("won@{max} | A@{min}>{max} B@{max}"),
        );
        let row = row(Counting::Ordered, Some(days(1)), 2, &rows).unwrap();
        assert_eq!(
            (row.outcome, row.deadline),
            (None, Some(min + 86_400_000_000))
        );
    }

    #[test]
    fn sixty_four_stages_are_the_most() {
        let row_of = |stages: u64| {
            let event = super::super::testing::Event {
                ts: Some(7),
                stages: Some(stages),
                ..Default::default()
            };
            let rules = Rules::new(Counting::Any, None, 64).unwrap();
            journey_of(&[event], &rules).unwrap()
        };
        let row = row_of(u64::MAX);
        assert_eq!(
            (row.furthest, row.ended_at, row.steps.len()),
            (64, Some(7), 64)
        );
        assert!(
            row.steps
                .iter()
                .all(|step| step.reached && step.entered_at == Some(7))
        );
        let row = row_of(1 << 62);
        assert_eq!((row.furthest, row.outcome, row.steps.len()), (63, None, 63));

        for stage_count in [0, 1, 65] {
            let error = Rules::new(Counting::Any, None, stage_count).unwrap_err();
            assert_eq!(error.code(), "22023");
        }
    }

    #[test]
    fn a_window_goes_forward() {
        for window in [days(0), days(-1), IntervalMonthDayNano::new(1, -1, 0)] {
            let error = Rules::new(Counting::Ordered, Some(window), 3).unwrap_err();
            assert_eq!(error.code(), "22023");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_walk_agrees_with_the_definition(case in cases(14)) {
            prop_assert_eq!(journey_of(&case.events, &case.rules()), reference(&case));
        }

        #[test]
        fn the_order_of_rows_makes_no_difference(
            (case, shuffled) in cases(14).prop_flat_map(|case| {
                let shuffled = Just(case.events.clone()).prop_shuffle();
                (Just(case), shuffled)
            })
        ) {
            let rules = case.rules();
            prop_assert_eq!(journey_of(&case.events, &rules), journey_of(&shuffled, &rules));
        }
    }
}
