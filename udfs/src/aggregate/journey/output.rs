//! Journeys written down as an Arrow struct, see [`journey_type`](super::journey_type).

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Int32Array, ListArray, NullBufferBuilder,
    StringBuilder, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
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
            steps: StepsBuilder::new(rules.stage_count(), capacity),
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
    }

    /// The journeys as an array of [`journey_type`](super::journey_type).
    pub fn finish(mut self) -> Result<StructArray> {
        let present = self.present.finish();
        let count = present.len();
        // Every field is NULL where the journey is, so that a field may be read without its struct.
        let nulls = Some(NullBuffer::new(present.clone())).filter(|nulls| nulls.null_count() > 0);
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
            Arc::new(self.steps.finish(&present, nulls.clone())?),
        ];
        Ok(StructArray::try_new(journey_fields(), columns, nulls)?)
    }
}

/// Writes the steps of journeys down: as many for each as there are stages.
#[derive(Debug)]
struct StepsBuilder {
    stage_count: usize,
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
    fn new(stage_count: usize, journeys: usize) -> Self {
        let capacity = stage_count * journeys;
        Self {
            stage_count,
            entered_at_us: Vec::with_capacity(capacity),
            entered: BooleanBufferBuilder::new(capacity),
            left_at_us: Vec::with_capacity(capacity),
            left: BooleanBufferBuilder::new(capacity),
            reached: BooleanBufferBuilder::new(capacity),
            passed: BooleanBufferBuilder::new(capacity),
            reentered: Vec::with_capacity(capacity),
            back_moves: Vec::with_capacity(capacity),
        }
    }

    fn append(&mut self, journey: &Journey) {
        self.entered_at_us
            .extend_from_slice(journey.entered_at_us());
        self.entered.append_word(journey.entered, self.stage_count);
        let left = self.append_left_at(journey);
        self.left.append_word(left, self.stage_count);
        self.reached
            .append_word(journey.reached(), self.stage_count);
        self.passed.append_word(journey.passed(), self.stage_count);
        self.reentered.extend_from_slice(journey.reentered());
        self.back_moves.extend_from_slice(journey.back_moves());
    }

    /// Appends when each stage was left, and gives the stages where that is known.
    ///
    /// A stage is left when the next one that has a time is entered, if that isn't earlier.
    fn append_left_at(&mut self, journey: &Journey) -> u64 {
        let first = self.left_at_us.len();
        self.left_at_us.resize(first + self.stage_count, 0);
        let left_at_us = &mut self.left_at_us[first..];
        let entered_at_us = journey.entered_at_us();
        let mut left = 0;
        let mut later = None;
        for stage_idx in (0..self.stage_count).rev() {
            if journey.entered >> stage_idx & 1 == 0 {
                continue;
            }
            let at_us = entered_at_us[stage_idx];
            if let Some(later_us) = later.filter(|later_us| *later_us >= at_us) {
                left_at_us[stage_idx] = later_us;
                left |= 1 << stage_idx;
            }
            later = Some(at_us);
        }
        left
    }

    fn finish(mut self, present: &BooleanBuffer, nulls: Option<NullBuffer>) -> Result<ListArray> {
        let (steps, stage_count) = (self.entered_at_us.len(), self.stage_count);
        if i32::try_from(steps).is_err() {
            return Err(resources_datafusion_err!(
                "journey() has too many steps for one batch"
            ));
        }
        let stage_no = (0..steps).map(|step| stage_number(step % stage_count));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(stage_no)),
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
        let lengths = present
            .iter()
            .map(|present| if present { stage_count } else { 0 });
        let values = StructArray::try_new(step_fields(), columns, None)?;
        let offsets = OffsetBuffer::from_lengths(lengths);
        Ok(ListArray::try_new(
            step_field(),
            offsets,
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
