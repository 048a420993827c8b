//! What the tests of journeys share: a short notation for rows, journeys read back from Arrow, and a slow
//! second implementation to compare with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, StringArray, StructArray, TimestampMicrosecondArray,
    UInt64Array,
};
use datafusion::arrow::datatypes::{Int32Type, IntervalMonthDayNano, TimestampMicrosecondType};
use proptest::prelude::*;

use super::field;
use super::kernel::Rules;
use super::log::{Log, Rows};
use crate::UTC;
use crate::definition::model::Counting;

/// A row of the table that `journey` is called on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Event {
    pub ts: Option<i64>,
    pub stages: Option<u64>,
    pub lost: Option<bool>,
    pub reason: Option<String>,
}

/// Reads rows such as `A@0 BC@5 x@7:price`: stages by letter, `x` for lost, the time, the reason.
pub(crate) fn events(text: &str) -> Vec<Event> {
    text.split_whitespace().map(event).collect()
}

fn event(token: &str) -> Event {
    let (names, rest) = token.split_once('@').expect("a token has an @");
    let (time, reason) = match rest.split_once(':') {
        Some((time, reason)) => (time, Some(reason.to_owned())),
        None => (rest, None),
    };
    let bits = names
        .bytes()
        .filter(u8::is_ascii_uppercase)
        .map(|name| 1_u64 << (name - b'A'));
    Event {
        ts: Some(time.parse().expect("the time is a number")),
        stages: Some(bits.fold(0, |all, bit| all | bit)),
        lost: Some(names.contains('x')),
        reason,
    }
}

/// The argument columns of some rows.
pub(crate) fn columns(events: &[Event]) -> Vec<ArrayRef> {
    let ts = events
        .iter()
        .map(|event| event.ts)
        .collect::<TimestampMicrosecondArray>();
    vec![
        Arc::new(ts.with_timezone(UTC)),
        Arc::new(
            events
                .iter()
                .map(|event| event.stages)
                .collect::<UInt64Array>(),
        ),
        Arc::new(
            events
                .iter()
                .map(|event| event.lost)
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            events
                .iter()
                .map(|event| event.reason.as_deref())
                .collect::<StringArray>(),
        ),
    ]
}

/// The journey of some rows.
pub(crate) fn journey_of(events: &[Event], rules: &Rules) -> Option<Row> {
    let columns = columns(events);
    let mut log = Log::default();
    log.append(
        &Rows::try_new(&columns, None).unwrap(),
        rules.stage_mask(),
        |_| 0,
    )
    .unwrap();
    Row::read(&log.take_all(1).journeys(rules).unwrap(), 0)
}

/// A journey, read from its struct.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub started_at: i64,
    pub deadline: Option<i64>,
    pub furthest: i32,
    pub outcome: Option<String>,
    pub ended_at: Option<i64>,
    pub lost_reason: Option<String>,
    pub skipped: i32,
    pub reentered: i32,
    pub back_moves: i32,
    pub steps: Vec<Step>,
}

/// A step of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub stage_no: i32,
    pub entered_at: Option<i64>,
    pub left_at: Option<i64>,
    pub reached: bool,
    pub passed: bool,
    pub reentered: i32,
    pub back_moves: i32,
}

impl Row {
    pub fn read(journeys: &dyn Array, row: usize) -> Option<Row> {
        let journeys = journeys.as_struct();
        if journeys.is_null(row) {
            // Every field is NULL, so that it may be read without its struct.
            assert!(journeys.columns().iter().all(|column| column.is_null(row)));
            return None;
        }
        let steps = journeys
            .column_by_name(field::STEPS)
            .unwrap()
            .as_list::<i32>()
            .value(row);
        let steps = steps.as_struct();
        Some(Row {
            started_at: timestamp(journeys, field::STARTED_AT, row).unwrap(),
            deadline: timestamp(journeys, field::DEADLINE, row),
            furthest: integer(journeys, field::FURTHEST, row),
            outcome: text(journeys, field::OUTCOME, row),
            ended_at: timestamp(journeys, field::ENDED_AT, row),
            lost_reason: text(journeys, field::LOST_REASON, row),
            skipped: integer(journeys, field::SKIPPED, row),
            reentered: integer(journeys, field::REENTERED, row),
            back_moves: integer(journeys, field::BACK_MOVES, row),
            steps: (0..steps.len())
                .map(|step| Step {
                    stage_no: integer(steps, field::STAGE_NO, step),
                    entered_at: timestamp(steps, field::ENTERED_AT, step),
                    left_at: timestamp(steps, field::LEFT_AT, step),
                    reached: flag(steps, field::REACHED, step),
                    passed: flag(steps, field::PASSED, step),
                    reentered: integer(steps, field::REENTERED, step),
                    back_moves: integer(steps, field::BACK_MOVES, step),
                })
                .collect(),
        })
    }

    pub fn read_all(journeys: &dyn Array) -> Vec<Option<Row>> {
        (0..journeys.len())
            .map(|row| Row::read(journeys, row))
            .collect()
    }
}

fn timestamp(of: &StructArray, name: &str, row: usize) -> Option<i64> {
    let column = of
        .column_by_name(name)
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    column.is_valid(row).then(|| column.value(row))
}

fn integer(of: &StructArray, name: &str, row: usize) -> i32 {
    let column = of.column_by_name(name).unwrap().as_primitive::<Int32Type>();
    assert!(column.is_valid(row), "{name} is NULL");
    column.value(row)
}

fn flag(of: &StructArray, name: &str, row: usize) -> bool {
    let column = of.column_by_name(name).unwrap().as_boolean();
    assert!(column.is_valid(row), "{name} is NULL");
    column.value(row)
}

fn text(of: &StructArray, name: &str, row: usize) -> Option<String> {
    let column = of.column_by_name(name).unwrap().as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

/// Writes a journey as `lost@9:price | A@0>5 B-b1 C@5`: how it ended (`open` for not), then the stages that
/// were reached, with the times when they were entered and left, how often reentered and moved back to.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.outcome.as_deref().unwrap_or("open"))?;
        if let Some(ended_at) = self.ended_at {
            write!(f, "@{ended_at}")?;
        }
        if let Some(reason) = &self.lost_reason {
            write!(f, ":{reason}")?;
        }
        f.write_str(" |")?;
        for step in &self.steps {
            if !step.reached && step.reentered + step.back_moves == 0 {
                continue;
            }
            let letter = char::from(b'A' + step.stage_no as u8 - 1);
            write!(f, " {letter}")?;
            match step.entered_at {
                Some(entered_at) => write!(f, "@{entered_at}")?,
                None => f.write_str("-")?,
            }
            if let Some(left_at) = step.left_at {
                write!(f, ">{left_at}")?;
            }
            if step.reentered > 0 {
                write!(f, "r{}", step.reentered)?;
            }
            if step.back_moves > 0 {
                write!(f, "b{}", step.back_moves)?;
            }
        }
        Ok(())
    }
}

/// Rows, and the rules to see them by.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub counting: Counting,
    pub window_us: Option<i64>,
    pub stage_count: usize,
    pub events: Vec<Event>,
}

impl Case {
    pub fn rules(&self) -> Rules {
        let window = self
            .window_us
            .map(|us| IntervalMonthDayNano::new(0, 0, us * 1_000));
        Rules::new(self.counting, window, self.stage_count).unwrap()
    }
}

/// Cases with few times, stages and reasons, so that ties, repeats and moves are frequent.
pub(crate) fn cases(events: usize) -> impl Strategy<Value = Case> {
    let counting = prop_oneof![
        Just(Counting::Ordered),
        Just(Counting::Strict),
        Just(Counting::Any)
    ];
    let window_us = proptest::option::of(1_i64..30);
    (counting, window_us, 2_usize..6).prop_flat_map(move |(counting, window_us, stage_count)| {
        proptest::collection::vec(any_event(stage_count), 0..events).prop_map(move |events| Case {
            counting,
            window_us,
            stage_count,
            events,
        })
    })
}

fn any_event(stage_count: usize) -> impl Strategy<Value = Event> {
    let stages = prop_oneof![
        6 => (0..stage_count).prop_map(|stage| Some(1 << stage)),
        1 => (0_u64..1 << stage_count).prop_map(Some),
        // The bits above the last stage are none.
        1 => any::<u64>().prop_map(move |bits| Some(bits << stage_count)),
        1 => Just(None),
    ];
    (
        proptest::option::weighted(0.95, 0_i64..40),
        stages,
        prop_oneof![5 => Just(Some(false)), 2 => Just(Some(true)), 1 => Just(None)],
        proptest::option::of(prop_oneof![Just("price"), Just("时机"), Just("")]),
    )
        .prop_map(|(ts, stages, lost, reason)| Event {
            ts,
            stages,
            lost,
            reason: reason.map(str::to_owned),
        })
}

/// What a journey is, said again without a walk: each field by its own look at all entries.
pub(crate) fn reference(case: &Case) -> Option<Row> {
    /// Stage from 1, or a loss. The derived order is that of ties; `Option` has None first, so no reason
    /// is a `true` before the text.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    enum What {
        Stage(usize),
        Lost(bool, String),
    }
    let last = case.stage_count;
    let mut all = BTreeSet::new();
    for event in &case.events {
        let Some(time) = event.ts else { continue };
        for stage in 1..=last {
            if event.stages.unwrap_or(0) >> (stage - 1) & 1 == 1 {
                all.insert((time, What::Stage(stage)));
            }
        }
        if event.lost == Some(true) {
            let reason = event.reason.clone();
            all.insert((
                time,
                What::Lost(reason.is_none(), reason.unwrap_or_default()),
            ));
        }
    }
    let all = all.into_iter().collect::<Vec<_>>();

    let starts = |what: &What| match case.counting {
        Counting::Strict => *what == What::Stage(1),
        _ => matches!(what, What::Stage(_)),
    };
    let start = all.iter().position(|(_, what)| starts(what))?;
    let started_at = all[start].0;
    let deadline = case.window_us.map(|window| started_at + window);
    let inside = |time: i64| deadline.is_none_or(|deadline| time <= deadline);
    let all = all[start..]
        .iter()
        .filter(|(time, _)| inside(*time))
        .collect::<Vec<_>>();

    // Where each stage gets its time.
    let first_after =
        |stage: usize, from: usize| (from..all.len()).find(|at| all[*at].1 == What::Stage(stage));
    let mut advance = vec![None; last + 1];
    for stage in 1..=last {
        advance[stage] = match case.counting {
            Counting::Any => first_after(stage, 0),
            Counting::Strict if stage == 1 => Some(0),
            Counting::Strict => advance[stage - 1].and_then(|before| first_after(stage, before)),
            Counting::Ordered => first_after(stage, 0).filter(|at| {
                (stage + 1..=last)
                    .all(|later| !all[..*at].iter().any(|e| e.1 == What::Stage(later)))
            }),
        };
    }
    // Once won, nothing counts but, where each stage counts by itself, its time.
    let end = advance[last].map_or(all.len(), |won| won + 1);
    if case.counting == Counting::Ordered {
        advance
            .iter_mut()
            .for_each(|at| *at = at.filter(|at| *at < end));
    }
    let furthest = (1..=last)
        .filter(|stage| advance[*stage].is_some())
        .max()
        .unwrap();

    // The stage entries that count, each with its place.
    let counts = |stage: usize, at: usize| {
        case.counting != Counting::Strict || advance[stage].is_some_and(|first| at >= first)
    };
    let moves = (0..end)
        .filter_map(|at| match all[at].1 {
            What::Stage(stage) if counts(stage, at) => Some((at, stage)),
            _ => None,
        })
        .collect::<Vec<_>>();
    let lost_between =
        |from: usize, to: usize| all[from..to].iter().any(|e| matches!(e.1, What::Lost(..)));
    let steps = (1..=furthest)
        .map(|stage| {
            let pairs = || moves.windows(2).filter(|pair| pair[1].1 == stage);
            let seen = |before: usize| moves.iter().any(|(at, s)| *at < before && *s == stage);
            let reached = match case.counting {
                Counting::Any => advance[stage].is_some(),
                _ => stage <= furthest,
            };
            let entered_at = advance[stage].map(|at| all[at].0);
            let next = (stage + 1..=last).find_map(|later| advance[later].map(|at| all[at].0));
            Step {
                stage_no: stage as i32,
                entered_at,
                left_at: next.filter(|next| entered_at.is_some_and(|entered| *next >= entered)),
                reached,
                passed: reached && stage < furthest,
                reentered: pairs()
                    .filter(|pair| {
                        seen(pair[1].0)
                            && (pair[0].1 != stage || lost_between(pair[0].0, pair[1].0))
                    })
                    .count() as i32,
                back_moves: pairs().filter(|pair| pair[0].1 > stage).count() as i32,
            }
        })
        .collect::<Vec<_>>();

    let after_moves = moves.last().map_or(0, |(at, _)| at + 1);
    let losses = all[after_moves..end]
        .iter()
        .filter_map(|(time, what)| match what {
            What::Lost(silent, reason) => Some((*time, (!silent).then(|| reason.clone()))),
            What::Stage(_) => None,
        })
        .collect::<Vec<_>>();
    let (outcome, ended_at, lost_reason) = match (advance[last], losses.first()) {
        (Some(won), _) => (Some("won"), Some(all[won].0), None),
        (None, Some((time, _))) => (
            Some("lost"),
            Some(*time),
            losses.iter().find_map(|(_, reason)| reason.clone()),
        ),
        (None, None) => (None, None, None),
    };
    let skipped = steps
        .iter()
        .filter(|step| step.reached && step.entered_at.is_none())
        .count();
    Some(Row {
        started_at,
        deadline,
        furthest: furthest as i32,
        outcome: outcome.map(str::to_owned),
        ended_at,
        lost_reason,
        skipped: skipped as i32,
        reentered: steps.iter().map(|step| step.reentered).sum(),
        back_moves: steps.iter().map(|step| step.back_moves).sum(),
        steps,
    })
}
