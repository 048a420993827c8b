//! Entries brought together by group, and what becomes of them: journeys, or a partial state.
//!
//! Bringing them together is a counting sort, linear in entries and groups; what is left to sort within a
//! group is short, and mostly in order.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayBuilder, ArrayRef, Int64Array, ListArray, StringBuilder, UInt8Array,
};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, resources_datafusion_err};

use super::kernel::{Entry, FIRST_LOSS, Journey, Rules, sort, walk};
use super::output::{JourneyBuilder, append_text};

/// The code of any loss in a partial state, where reasons lie apart.
pub(super) const LOST_CODE: u8 = FIRST_LOSS as u8;

/// The types of a partial state: times and codes of all entries, reasons of those that are losses.
pub(super) fn state_types() -> [(&'static str, DataType); 3] {
    [
        ("times", DataType::new_list(DataType::Int64, true)),
        ("codes", DataType::new_list(DataType::UInt8, true)),
        ("reasons", DataType::new_list(DataType::Utf8, true)),
    ]
}

/// The text behind an entry's code, if it is a loss with a reason.
pub(super) fn text_of(texts: &[Arc<str>], code: u32) -> Option<&str> {
    let number = code.checked_sub(FIRST_LOSS)?;
    texts.get(number as usize).map(AsRef::as_ref)
}

/// The entries of some groups, those of each group together.
#[derive(Debug)]
pub(super) struct Runs {
    entries: Vec<Entry>,
    /// The bounds of the groups: one more than there are groups.
    offsets: Vec<usize>,
    texts: Vec<Arc<str>>,
}

impl Runs {
    /// Entries of groups below `groups`, whose losses have the numbers of these texts.
    pub fn new(entries: Vec<Entry>, groups: usize, texts: Vec<Arc<str>>) -> Self {
        let (entries, offsets) = by_group(entries, groups);
        Self {
            entries,
            offsets,
            texts,
        }
    }

    /// The journey of each group, or NULL where it has none.
    pub fn journeys(mut self, rules: &Rules) -> Result<ArrayRef> {
        self.rank_reasons();
        let mut journeys = JourneyBuilder::new(rules, self.offsets.len() - 1);
        let mut journey = Journey::new(rules);
        for bounds in self.offsets.windows(2) {
            let entries = &mut self.entries[bounds[0]..bounds[1]];
            sort(entries);
            if walk(entries, rules, &mut journey) {
                journeys.append(&journey, |code| text_of(&self.texts, code))?;
            } else {
                journeys.append_null();
            }
        }
        Ok(Arc::new(journeys.finish()?))
    }

    /// Sorts the reasons, so that the order of codes is the order of texts.
    fn rank_reasons(&mut self) {
        if self.texts.is_empty() {
            return;
        }
        let mut order = (0..self.texts.len() as u32).collect::<Vec<_>>(); // fewer than codes
        order.sort_unstable_by(|a, b| self.texts[*a as usize].cmp(&self.texts[*b as usize]));
        let mut codes = vec![0; order.len()];
        for (code, number) in (FIRST_LOSS..).zip(&order) {
            codes[*number as usize] = code;
        }
        for entry in self
            .entries
            .iter_mut()
            .filter(|entry| entry.code >= FIRST_LOSS)
        {
            // NO_REASON has no number, and stays the last.
            if let Some(code) = codes.get((entry.code - FIRST_LOSS) as usize) {
                entry.code = *code;
            }
        }
        self.texts.sort_unstable();
    }

    /// The partial state of each group; see [`state_types`].
    pub fn state(self) -> Result<Vec<ArrayRef>> {
        let mut reasons = StringBuilder::new();
        let mut reason_offsets = Vec::with_capacity(self.offsets.len());
        reason_offsets.push(0);
        for bounds in self.offsets.windows(2) {
            for entry in &self.entries[bounds[0]..bounds[1]] {
                if entry.code >= FIRST_LOSS {
                    append_text(&mut reasons, text_of(&self.texts, entry.code))?;
                }
            }
            reason_offsets.push(reasons.len());
        }
        let times = self.entries.iter().map(|entry| entry.time_us);
        let codes = self
            .entries
            .iter()
            .map(|entry| entry.code.min(FIRST_LOSS) as u8);
        Ok(vec![
            list(&self.offsets, Arc::new(Int64Array::from_iter_values(times)))?,
            list(&self.offsets, Arc::new(UInt8Array::from_iter_values(codes)))?,
            list(&reason_offsets, Arc::new(reasons.finish()))?,
        ])
    }
}

/// Brings the entries of each group together, in the order they have.
fn by_group(entries: Vec<Entry>, groups: usize) -> (Vec<Entry>, Vec<usize>) {
    let mut offsets = vec![0; groups + 1];
    for entry in &entries {
        offsets[entry.group as usize + 1] += 1;
    }
    for group in 0..groups {
        offsets[group + 1] += offsets[group];
    }
    // Where the rows of an entity lie together already, so do its entries.
    if entries.is_sorted_by_key(|entry| entry.group) {
        return (entries, offsets);
    }
    let mut next = offsets.clone();
    let mut grouped = vec![
        Entry {
            time_us: 0,
            group: 0,
            code: 0
        };
        entries.len()
    ];
    for entry in entries {
        let position = &mut next[entry.group as usize];
        grouped[*position] = entry;
        *position += 1;
    }
    (grouped, offsets)
}

fn list(offsets: &[usize], values: ArrayRef) -> Result<ArrayRef> {
    let offsets = offsets
        .iter()
        .map(|offset| i32::try_from(*offset))
        .collect::<Result<ScalarBuffer<i32>, _>>()
        .map_err(|_| resources_datafusion_err!("journey() has too many entries for one batch"))?;
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(
        field,
        OffsetBuffer::new(offsets),
        values,
        None,
    )?))
}
