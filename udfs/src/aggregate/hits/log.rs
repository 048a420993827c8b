//! The hits of all groups in one flat vector, in the order in which they were heard of.
//!
//! A row that counts takes 16 bytes, of more than 32 conditions 24; the others take none. Only when results
//! or partial states are asked for are hits brought together by group, in linear time.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder};
use datafusion::arrow::datatypes::{DataType, UInt8Type, UInt32Type, UInt64Type};
use datafusion::common::{Result, internal_datafusion_err, resources_datafusion_err};

use super::Hit;
use super::time::numbers;
use crate::aggregate::columns::kept_rows;

/// A set of conditions as a log keeps it: `u32` for up to 32 of them, `u64` for more.
pub(crate) trait Mask: Copy + Default + Send + Sync + std::fmt::Debug + 'static {
    /// From the bits; those that don't fit are cut off.
    fn from_bits(bits: u64) -> Self;
    /// The bits.
    fn bits(self) -> u64;
}

impl Mask for u32 {
    fn from_bits(bits: u64) -> Self {
        bits as u32
    }

    fn bits(self) -> u64 {
        u64::from(self)
    }
}

impl Mask for u64 {
    fn from_bits(bits: u64) -> Self {
        bits
    }

    fn bits(self) -> u64 {
        self
    }
}

/// A hit and its group.
#[derive(Debug, Clone, Copy, Default)]
struct Entry<M> {
    time: i64,
    group: u32,
    conditions: M,
}

/// What happened in every group.
#[derive(Debug)]
pub(crate) struct HitLog<M> {
    entries: Vec<Entry<M>>,
}

impl<M> Default for HitLog<M> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

impl<M: Mask> HitLog<M> {
    /// Appends the rows that meet a condition, under `keep_all` the others too; `group_of` tells the group
    /// of a row. A row without a time, or one that the filter doesn't keep, is left out.
    pub fn append(
        &mut self,
        times: &ArrayRef,
        conditions: &ArrayRef,
        filter: Option<&BooleanArray>,
        keep_all: bool,
        group_of: impl Fn(usize) -> usize,
    ) -> Result<()> {
        check_groups(times.len(), &group_of)?;
        let kept = kept_rows(filter, &[times.as_ref()]);
        let numbers = numbers(times)?;
        let push = |row: usize, bits: u64| {
            let is_kept = kept.as_ref().is_none_or(|kept| kept.value(row));
            if (bits != 0 || keep_all) && is_kept {
                self.entries.push(Entry {
                    time: numbers.value(row),
                    group: group_of(row) as u32,
                    conditions: M::from_bits(bits),
                });
            }
        };
        each_mask(conditions, push)
    }

    /// Appends partial states; `group_of` tells the group of a row.
    pub fn merge(&mut self, states: &[ArrayRef], group_of: impl Fn(usize) -> usize) -> Result<()> {
        let [states] = states else {
            return Err(internal_datafusion_err!(
                "the state of hits has {} parts",
                states.len()
            ));
        };
        check_groups(states.len(), &group_of)?;
        let states = states.as_binary::<i64>();
        self.entries
            .reserve(states.value_data().len() / Self::PACKED_BYTES);
        for row in 0..states.len() {
            if states.is_null(row) {
                continue;
            }
            let group = group_of(row) as u32;
            for packed in states.value(row).chunks_exact(Self::PACKED_BYTES) {
                let hit = unpack(packed)?;
                self.entries.push(Entry {
                    time: hit.time,
                    group,
                    conditions: M::from_bits(hit.conditions),
                });
            }
        }
        Ok(())
    }

    /// How many bytes a hit has in a partial state.
    const PACKED_BYTES: usize = size_of::<i64>() + size_of::<M>();

    /// Takes the hits of all groups, of which there are `groups`.
    pub fn take_all(&mut self, groups: usize) -> HitRuns {
        runs_of(&std::mem::take(&mut self.entries), groups)
    }

    /// Takes the hits of the first `groups` groups; those behind them move to the front.
    pub fn take_first(&mut self, groups: usize) -> HitRuns {
        let is_taken = |entry: &Entry<M>| (entry.group as usize) < groups;
        // Groups are taken early where they arrive sorted, and then they lie in front.
        let front = self.entries.iter().position(|entry| !is_taken(entry));
        let mut taken: Vec<_> = self
            .entries
            .drain(..front.unwrap_or(self.entries.len()))
            .collect();
        taken.extend(self.entries.extract_if(.., |entry| is_taken(entry)));
        for entry in &mut self.entries {
            entry.group -= groups as u32;
        }
        runs_of(&taken, groups)
    }

    /// Partial states from [`HitLog::take_all`] and the like, one for each group.
    pub fn state(runs: &HitRuns) -> ArrayRef {
        let bytes = runs.hits.len() * Self::PACKED_BYTES;
        let mut states = LargeBinaryBuilder::with_capacity(runs.offsets.len(), bytes);
        let mut packed = Vec::new();
        for group in runs.groups() {
            packed.clear();
            for hit in group {
                packed.extend_from_slice(&hit.time.to_le_bytes());
                packed.extend_from_slice(&hit.conditions.to_le_bytes()[..size_of::<M>()]);
            }
            states.append_value(&packed);
        }
        Arc::new(states.finish())
    }

    /// The memory that it holds, in bytes.
    pub fn size(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<M>>()
    }
}

/// The type of a partial state: the hits of a group, each a time and its conditions, packed.
pub(crate) fn state_type() -> DataType {
    DataType::LargeBinary
}

/// Hits brought together by group, those of each group in the order they were heard of.
#[derive(Debug)]
pub(crate) struct HitRuns {
    hits: Vec<Hit>,
    /// The bounds of the groups: one more than there are groups.
    offsets: Vec<usize>,
}

impl HitRuns {
    /// Hits with the numbers of their groups, which are below `groups`.
    pub fn new(hits: impl Iterator<Item = (u32, Hit)> + Clone, groups: usize) -> Self {
        let mut offsets = vec![0; groups + 1];
        for (group, _) in hits.clone() {
            offsets[group as usize + 1] += 1;
        }
        for group in 0..groups {
            offsets[group + 1] += offsets[group];
        }
        // Where the rows of a group lie together already, so do its hits.
        if hits.clone().is_sorted_by_key(|(group, _)| group) {
            let hits = hits.map(|(_, hit)| hit).collect();
            return Self { hits, offsets };
        }
        let mut next = offsets.clone();
        let mut by_group = vec![Hit::default(); offsets[groups]];
        for (group, hit) in hits {
            let position = &mut next[group as usize];
            by_group[*position] = hit;
            *position += 1;
        }
        Self {
            hits: by_group,
            offsets,
        }
    }

    /// The hits of each group.
    pub fn groups(&self) -> impl Iterator<Item = &[Hit]> {
        self.offsets
            .windows(2)
            .map(|bounds| &self.hits[bounds[0]..bounds[1]])
    }

    /// Calls `each` with the hits of each group, sorted by time and conditions.
    pub fn sorted_groups(&mut self, mut each: impl FnMut(&[Hit])) {
        for bounds in self.offsets.windows(2) {
            let hits = &mut self.hits[bounds[0]..bounds[1]];
            // Most logs are written in the order of time, and looking is a fraction of sorting.
            if !hits.is_sorted() {
                hits.sort_unstable();
            }
            each(hits);
        }
    }

    /// How many groups there are.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }
}

fn runs_of<M: Mask>(entries: &[Entry<M>], groups: usize) -> HitRuns {
    let hit = |entry: &Entry<M>| {
        let hit = Hit {
            time: entry.time,
            conditions: entry.conditions.bits(),
        };
        (entry.group, hit)
    };
    HitRuns::new(entries.iter().map(hit), groups)
}

/// That groups can be told apart by what an entry keeps of them.
fn check_groups(rows: usize, group_of: &impl Fn(usize) -> usize) -> Result<()> {
    // A new group is never numbered below an earlier one, so that a batch's greatest decides; reading the
    // numbers twice costs less than a check in the loop.
    match (0..rows).map(group_of).max() {
        Some(group) if group > u32::MAX as usize => Err(resources_datafusion_err!(
            "there are more than {} groups of events",
            u32::MAX
        )),
        _ => Ok(()),
    }
}

/// Calls `each` with every row and its conditions; a NULL meets none.
///
/// # Errors
/// XX000 for a column that isn't what [`condition_mask`](crate::scalar::condition_mask) makes.
pub(crate) fn each_mask(conditions: &ArrayRef, mut each: impl FnMut(usize, u64)) -> Result<()> {
    macro_rules! walk {
        ($type:ty) => {{
            let array = conditions.as_primitive::<$type>();
            let nulls = array.nulls();
            for (row, bits) in array.values().iter().enumerate() {
                let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
                each(row, if is_null { 0 } else { u64::from(*bits) });
            }
        }};
    }
    match conditions.data_type() {
        DataType::UInt8 => walk!(UInt8Type),
        DataType::UInt32 => walk!(UInt32Type),
        DataType::UInt64 => walk!(UInt64Type),
        other => return Err(internal_datafusion_err!("conditions can't be {other}")),
    }
    Ok(())
}

fn unpack(packed: &[u8]) -> Result<Hit> {
    let (time, conditions) = packed
        .split_first_chunk::<8>()
        .ok_or_else(|| internal_datafusion_err!("a packed hit has {} bytes", packed.len()))?;
    let mut bits = [0; 8];
    bits[..conditions.len()].copy_from_slice(conditions);
    Ok(Hit {
        time: i64::from_le_bytes(*time),
        conditions: u64::from_le_bytes(bits),
    })
}
