//! The log behind both accumulators: what happened to every group, in one flat vector.
//!
//! Rows are appended as they come, 16 bytes for each entry that counts and nothing for the others. Only
//! when journeys or partial states are asked for are they brought together by group, as [`Runs`].

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, StringArray};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::datatypes::{Int64Type, UInt8Type};
use datafusion::common::cast::{
    as_boolean_array, as_list_array, as_string_array, as_timestamp_microsecond_array,
    as_uint64_array,
};
use datafusion::common::{Result, internal_datafusion_err, resources_datafusion_err};

use super::kernel::{Entry, FIRST_LOSS, NO_REASON};
use super::runs::{LOST_CODE, Runs, text_of};
use crate::aggregate::columns::true_bits;

/// The argument columns of some rows.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    times_us: &'a [i64],
    stages: &'a [u64],
    stages_nulls: Option<&'a NullBuffer>,
    lost: BooleanBuffer,
    reasons: &'a StringArray,
    /// The rows to look at; all where absent.
    kept: Option<BooleanBuffer>,
}

impl<'a> Rows<'a> {
    /// Reads the columns `ts`, `stages`, `lost`, `reason`; rows that the filter doesn't keep are left out.
    pub fn try_new(values: &'a [ArrayRef], filter: Option<&BooleanArray>) -> Result<Self> {
        let [times, stages, lost, reasons, ..] = values else {
            return Err(internal_datafusion_err!(
                "journey has {} arguments",
                values.len()
            ));
        };
        let times = as_timestamp_microsecond_array(times)?;
        let stages = as_uint64_array(stages)?;
        let timed = times.nulls().map(NullBuffer::inner);
        let kept = match (timed, filter.map(true_bits)) {
            (Some(timed), Some(filtered)) => Some(timed & &filtered),
            (Some(timed), None) => Some(timed.clone()),
            (None, filtered) => filtered,
        };
        Ok(Self {
            times_us: times.values(),
            stages: stages.values(),
            stages_nulls: stages.nulls(),
            lost: true_bits(as_boolean_array(lost)?),
            reasons: as_string_array(reasons)?,
            kept,
        })
    }

    /// How many rows there are, those left out too.
    pub fn len(&self) -> usize {
        self.times_us.len()
    }

    /// The stages that a row enters; what lies under a NULL is none.
    fn stages(&self, row: usize) -> u64 {
        match self.stages_nulls {
            Some(nulls) if nulls.is_null(row) => 0,
            _ => self.stages[row],
        }
    }

    fn is_kept(&self, row: usize) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.value(row))
    }

    fn reason(&self, row: usize) -> Option<&str> {
        self.reasons.is_valid(row).then(|| self.reasons.value(row))
    }
}

/// What happened, in the order it was heard of.
///
/// The code of a loss is [`FIRST_LOSS`] + the number of its reason here; only [`Runs`] make it a rank.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    reasons: Reasons,
}

impl Log {
    /// Appends the rows that enter a stage or lose; `group_of` tells the group of a row.
    pub fn append(
        &mut self,
        rows: &Rows,
        stage_mask: u64,
        group_of: impl Fn(usize) -> usize,
    ) -> Result<()> {
        for row in 0..rows.len() {
            let mut stages = rows.stages(row) & stage_mask;
            let lost = rows.lost.value(row);
            if (stages == 0 && !lost) || !rows.is_kept(row) {
                continue;
            }
            let (time_us, group) = (rows.times_us[row], group_number(group_of(row))?);
            while stages != 0 {
                self.entries.push(Entry {
                    time_us,
                    group,
                    code: stages.trailing_zeros(),
                });
                stages &= stages - 1; // takes the lowest bit away
            }
            if lost {
                let code = self.reasons.code_of(rows.reason(row))?;
                self.entries.push(Entry {
                    time_us,
                    group,
                    code,
                });
            }
        }
        Ok(())
    }

    /// Appends partial states; `group_of` tells the group of a row.
    pub fn merge(&mut self, states: &[ArrayRef], group_of: impl Fn(usize) -> usize) -> Result<()> {
        let [times, codes, reasons] = states else {
            return Err(internal_datafusion_err!(
                "a journey's state has {} parts",
                states.len()
            ));
        };
        let (times, codes, reasons) = (
            as_list_array(times)?,
            as_list_array(codes)?,
            as_list_array(reasons)?,
        );
        let times_us = times.values().as_primitive::<Int64Type>().values();
        let code_values = codes.values().as_primitive::<UInt8Type>().values();
        let texts = as_string_array(reasons.values())?;
        self.entries.reserve(code_values.len());
        for row in 0..times.len() {
            let group = group_number(group_of(row))?;
            let mut text = reasons.value_offsets()[row] as usize;
            for (time_us, code) in
                items(times, times_us, row)
                    .iter()
                    .zip(items(codes, code_values, row))
            {
                let code = if *code < LOST_CODE {
                    u32::from(*code)
                } else {
                    let reason = texts.is_valid(text).then(|| texts.value(text));
                    text += 1;
                    self.reasons.code_of(reason)?
                };
                self.entries.push(Entry {
                    time_us: *time_us,
                    group,
                    code,
                });
            }
        }
        Ok(())
    }

    /// Takes the entries of all groups, of which there are `groups`.
    pub fn take_all(&mut self, groups: usize) -> Runs {
        let taken = std::mem::take(self);
        Runs::new(taken.entries, groups, taken.reasons.texts)
    }

    /// Takes the entries of the first `groups` groups; those behind them move to the front.
    pub fn take_first(&mut self, groups: usize) -> Result<Runs> {
        let first = group_number(groups)?;
        let taken = self
            .entries
            .extract_if(.., |entry| entry.group < first)
            .collect();
        for entry in &mut self.entries {
            entry.group -= first;
        }
        let texts = self.reasons.texts.clone();
        self.reasons.retain_used(&mut self.entries)?;
        Ok(Runs::new(taken, groups, texts))
    }

    /// A copy of all entries, of which there are `groups` groups.
    pub fn copy_all(&self, groups: usize) -> Runs {
        Runs::new(self.entries.clone(), groups, self.reasons.texts.clone())
    }

    /// The memory that it holds, in bytes.
    pub fn size(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.reasons.size()
    }
}

/// A group's number as entries carry it.
fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group)
        .map_err(|_| resources_datafusion_err!("journey() has more than {} groups", u32::MAX))
}

/// The values of a list in row `row`; what lies under a NULL is nothing.
fn items<'a, T>(lists: &ListArray, values: &'a [T], row: usize) -> &'a [T] {
    if lists.is_null(row) {
        return &[];
    }
    let offsets = lists.value_offsets();
    &values[offsets[row] as usize..offsets[row + 1] as usize]
}

/// The reasons of losses, each text once: there are few, however many are lost.
#[derive(Debug, Clone, Default)]
struct Reasons {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
    /// Length of all texts together.
    text_bytes: usize,
}

impl Reasons {
    fn code_of(&mut self, reason: Option<&str>) -> Result<u32> {
        let Some(text) = reason else {
            return Ok(NO_REASON);
        };
        if let Some(number) = self.numbers.get(text) {
            return Ok(FIRST_LOSS + number);
        }
        let number = u32::try_from(self.texts.len())
            .ok()
            .filter(|number| *number < NO_REASON - FIRST_LOSS)
            .ok_or_else(|| resources_datafusion_err!("journey() has too many different reasons"))?;
        let text: Arc<str> = Arc::from(text);
        self.text_bytes += text.len();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        Ok(FIRST_LOSS + number)
    }

    /// Forgets the texts that no entry uses, once they are the greater part.
    ///
    /// Without this, a sorted input with free-text reasons would fill the memory with reasons of groups
    /// that are long gone.
    fn retain_used(&mut self, entries: &mut [Entry]) -> Result<()> {
        if self.texts.len() <= 2 * entries.len() {
            return Ok(());
        }
        let old = std::mem::take(self);
        for entry in entries {
            if let Some(text) = text_of(&old.texts, entry.code) {
                entry.code = self.code_of(Some(text))?;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        // Each text is one allocation with two counters, shared by the list and the map.
        let per_text = size_of::<Arc<str>>();
        self.texts.capacity() * per_text
            + self.numbers.capacity() * (per_text + size_of::<u32>())
            + self.texts.len() * 2 * size_of::<usize>()
            + self.text_bytes
    }
}
