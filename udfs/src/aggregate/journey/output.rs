//! Journeys written down as an Arrow struct, see [`journey_type`](super::journey_type).

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Int32Array, ListArray, NullBufferBuilder,
    StringBuilder, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::common::{Result, resources_datafusion_err};

use super::kernel::{Journey, Outcome, Rules};
use super::{LOST, WON, journey_fields, step_field, step_fields};
use crate::UTC;

/// Appends a text, unless there would be more than an array can hold.
pub(super) fn append_text(builder: &mut StringBuilder, text: Option<&str>) -> Result<()> {
    let length = builder.values_slice().len() + text.map_or(0, str::len);
    if length > i32::MAX as usize {
        return Err(resources_datafusion_err!(
            "journey() has too much text for one batch"
        ));
    }
    builder.append_option(text);
    Ok(())
}

/// Writes journeys down, one after the other.
#[derive(Debug)]
pub(crate) struct JourneyBuilder {
    has_window: bool,
    /// Which rows are a journey.
    present: BooleanBufferBuilder,
    started_at_us: Vec<i64>,
    deadline_us: Vec<i64>,
    furthest: Vec<i32>,
    outcome: StringBuilder,
    ended_at_us: Vec<i64>,
    ended: NullBufferBuilder,
    lost_reason: StringBuilder,
    skipped: Vec<i32>,
    reentered: Vec<i32>,
    back_moves: Vec<i32>,
    steps: StepsBuilder,
}

impl JourneyBuilder {
    /// Space for so many journeys.
    pub fn new(rules: &Rules, capacity: usize) -> Self {
        Self {
            has_window: rules.has_window(),
            present: BooleanBufferBuilder::new(capacity),
            started_at_us: Vec::with_capacity(capacity),
            deadline_us: Vec::with_capacity(capacity),
            furthest: Vec::with_capacity(capacity),
            outcome: StringBuilder::with_capacity(capacity, 0),
            ended_at_us: Vec::with_capacity(capacity),
            ended: NullBufferBuilder::new(capacity),
            lost_reason: StringBuilder::with_capacity(capacity, 0),
            skipped: Vec::with_capacity(capacity),
            reentered: Vec::with_capacity(capacity),
            back_moves: Vec::with_capacity(capacity),
            steps: StepsBuilder::new(capacity),
        }
    }

    /// Appends a journey; `reason_of` tells the text behind the code of its loss.
    pub fn append<'a>(
        &mut self,
        journey: &Journey,
        reason_of: impl FnOnce(u32) -> Option<&'a str>,
    ) -> Result<()> {
        let (outcome, ended_at_us, reason) = match journey.outcome() {
            Outcome::Won { at_us } => (Some(WON), Some(at_us), None),
            Outcome::Lost { at_us, code } => (Some(LOST), Some(at_us), reason_of(code)),
            Outcome::Unfinished => (None, None, None),
        };
        append_text(&mut self.outcome, outcome)?;
        append_text(&mut self.lost_reason, reason)?;
        self.present.append(true);
        self.started_at_us.push(journey.started_at_us);
        self.deadline_us
            .push(journey.deadline_us.unwrap_or_default());
        self.furthest.push(stage_number(journey.furthest_idx));
        self.ended_at_us.push(ended_at_us.unwrap_or_default());
        self.ended.append(ended_at_us.is_some());
        self.skipped.push(journey.skipped() as i32); // at most 63
        self.reentered.push(total(journey.reentered()));
        self.back_moves.push(total(journey.back_moves()));
        self.steps.append(journey);
        Ok(())
    }

    /// Appends NULL, for an entity without a journey.
    pub fn append_null(&mut self) {
        self.present.append(false);
        self.started_at_us.push(0);
        self.deadline_us.push(0);
        self.furthest.push(0);
        self.outcome.append_null();
        self.ended_at_us.push(0);
        self.ended.append_null();
        self.lost_reason.append_null();
        self.skipped.push(0);
        self.reentered.push(0);
        self.back_moves.push(0);
        self.steps.append_null();
    }

    /// The journeys as an array of [`journey_type`](super::journey_type).
    pub fn finish(mut self) -> Result<StructArray> {
        let present = self.present.finish();
        let count = present.len();
        // Every field is NULL where the journey is, so that a field may be read without its struct.
        let nulls = Some(NullBuffer::new(present)).filter(|nulls| nulls.null_count() > 0);
        let with_deadline = if self.has_window {
            nulls.clone()
        } else {
            Some(NullBuffer::new_null(count))
        };
        let integers = |values: Vec<i32>| -> ArrayRef {
            Arc::new(Int32Array::new(values.into(), nulls.clone()))
        };
        let columns: Vec<ArrayRef> = vec![
            timestamps(self.started_at_us, nulls.clone()),
            timestamps(self.deadline_us, with_deadline),
            integers(self.furthest),
            Arc::new(self.outcome.finish()),
            timestamps(self.ended_at_us, self.ended.finish()),
            Arc::new(self.lost_reason.finish()),
            integers(self.skipped),
            integers(self.reentered),
            integers(self.back_moves),
            Arc::new(self.steps.finish(nulls.clone())?),
        ];
        Ok(StructArray::try_new(journey_fields(), columns, nulls)?)
    }
}

/// Writes the steps of journeys down: one for each stage, up to the furthest.
#[derive(Debug)]
struct StepsBuilder {
    lengths: Vec<usize>,
    stage_no: Vec<i32>,
    entered_at_us: Vec<i64>,
    entered: BooleanBufferBuilder,
    left_at_us: Vec<i64>,
    left: BooleanBufferBuilder,
    reached: BooleanBufferBuilder,
    passed: BooleanBufferBuilder,
    reentered: Vec<i32>,
    back_moves: Vec<i32>,
}

impl StepsBuilder {
    fn new(journeys: usize) -> Self {
        Self {
            lengths: Vec::with_capacity(journeys),
            // A journey has a step at least.
            stage_no: Vec::with_capacity(journeys),
            entered_at_us: Vec::with_capacity(journeys),
            entered: BooleanBufferBuilder::new(journeys),
            left_at_us: Vec::with_capacity(journeys),
            left: BooleanBufferBuilder::new(journeys),
            reached: BooleanBufferBuilder::new(journeys),
            passed: BooleanBufferBuilder::new(journeys),
            reentered: Vec::with_capacity(journeys),
            back_moves: Vec::with_capacity(journeys),
        }
    }

    fn append(&mut self, journey: &Journey) {
        let length = journey.furthest_idx + 1;
        self.lengths.push(length);
        self.stage_no.extend((0..length).map(stage_number));
        let entered_at_us = &journey.entered_at_us()[..length];
        self.entered_at_us.extend_from_slice(entered_at_us);
        self.entered.append_word(journey.entered, length);
        let left = self.append_left_at(journey.entered, entered_at_us);
        self.left.append_word(left, length);
        self.reached.append_word(journey.reached(), length);
        self.passed.append_word(journey.passed(), length);
        self.reentered
            .extend_from_slice(&journey.reentered()[..length]);
        self.back_moves
            .extend_from_slice(&journey.back_moves()[..length]);
    }

    fn append_null(&mut self) {
        self.lengths.push(0);
    }

    /// Appends when each stage was left, and gives the stages where that is known.
    ///
    /// A stage is left when the next one that has a time is entered, if that isn't earlier.
    fn append_left_at(&mut self, entered: u64, entered_at_us: &[i64]) -> u64 {
        let first = self.left_at_us.len();
        self.left_at_us.resize(first + entered_at_us.len(), 0);
        let left_at_us = &mut self.left_at_us[first..];
        let mut left = 0;
        let mut later = None;
        for (stage_idx, at_us) in entered_at_us.iter().copied().enumerate().rev() {
            if entered >> stage_idx & 1 == 0 {
                continue;
            }
            if let Some(later_us) = later.filter(|later_us| *later_us >= at_us) {
                left_at_us[stage_idx] = later_us;
                left |= 1 << stage_idx;
            }
            later = Some(at_us);
        }
        left
    }

    fn finish(mut self, nulls: Option<NullBuffer>) -> Result<ListArray> {
        if i32::try_from(self.stage_no.len()).is_err() {
            return Err(resources_datafusion_err!(
                "journey() has too many steps for one batch"
            ));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::new(self.stage_no.into(), None)),
            timestamps(
                self.entered_at_us,
                Some(NullBuffer::new(self.entered.finish())),
            ),
            timestamps(self.left_at_us, Some(NullBuffer::new(self.left.finish()))),
            Arc::new(BooleanArray::new(self.reached.finish(), None)),
            Arc::new(BooleanArray::new(self.passed.finish(), None)),
            Arc::new(Int32Array::new(self.reentered.into(), None)),
            Arc::new(Int32Array::new(self.back_moves.into(), None)),
        ];
        let values = StructArray::try_new(step_fields(), columns, None)?;
        Ok(ListArray::try_new(
            step_field(),
            OffsetBuffer::from_lengths(self.lengths),
            Arc::new(values),
            nulls,
        )?)
    }
}

fn timestamps(values: Vec<i64>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone(UTC))
}

/// A stage's number, from 1.
fn stage_number(stage_idx: usize) -> i32 {
    stage_idx as i32 + 1 // there are at most 64
}

fn total(counts: &[i32]) -> i32 {
    counts
        .iter()
        .fold(0, |sum, count| i32::saturating_add(sum, *count))
}
