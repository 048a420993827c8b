//! Leaves out rows that can't make a difference to a funnel, before they are sent on and grouped.
//!
//! Of an event log, mostly a minority of rows meets any of a funnel's conditions; the others only say that
//! their user exists, once would do. A row passes if it meets a condition, or if its key wasn't seen before.
//! What was seen is kept in little memory: whatever isn't remembered passes again, which is never wrong.
//!
//! Keys are remembered exactly in a bitmap, from 0 to 2^28 - 1, which takes up to 32 MiB; other integers by
//! the last key of each of 2^16 places, 512 KiB. Where most rows pass anyway, it stops looking.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Int64Type, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::{Stream, StreamExt};

use crate::aggregate::hits::log::each_mask;

/// The operator: the input's rows without those that meet no condition and whose key was seen before, in the
/// order they have. What one partition has seen doesn't matter to another.
#[derive(Debug)]
pub struct RelevantRowsExec {
    input: Arc<dyn ExecutionPlan>,
    /// The column of the key, an integer.
    key: usize,
    /// The columns with a bit for each condition, unsigned integers.
    conditions: Vec<usize>,
}

impl RelevantRowsExec {
    /// - `key`: the position of the column that rows will be grouped by
    /// - `conditions`: the positions of the columns that say which conditions a row meets
    pub fn new(input: Arc<dyn ExecutionPlan>, key: usize, conditions: Vec<usize>) -> Self {
        Self {
            input,
            key,
            conditions,
        }
    }

    /// The rows that it chooses from.
    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Whether keys of a type can be remembered.
    pub fn supports(key: &DataType) -> bool {
        key.is_integer() && *key != DataType::UInt64
    }
}

impl DisplayAs for RelevantRowsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let schema = self.input.schema();
        let name = |at: &usize| schema.field(*at).name().clone();
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(
                f,
                "RelevantRowsExec: key={}, conditions=[{}]",
                name(&self.key),
                self.conditions
                    .iter()
                    .map(name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            DisplayFormatType::TreeRender => write!(f, "key={}", name(&self.key)),
        }
    }
}

impl ExecutionPlan for RelevantRowsExec {
    fn name(&self) -> &str {
        "RelevantRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(input) => Arc::new(Self::new(input, self.key, self.conditions.clone())),
            None => self,
        })
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        Ok(Box::pin(RelevantRows {
            input: self.input.execute(partition, context)?,
            key: self.key,
            conditions: self.conditions.clone(),
            seen: SeenKeys::default(),
            looked_at: 0,
            left_out: 0,
        }))
    }
}

/// A partition's rows.
struct RelevantRows {
    input: SendableRecordBatchStream,
    key: usize,
    conditions: Vec<usize>,
    seen: SeenKeys,
    looked_at: usize,
    left_out: usize,
}

/// After so many rows, it is decided whether to go on looking.
const TRIAL_ROWS: usize = 1 << 20;

impl RelevantRows {
    fn relevant(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        // Below a fifth, sending the rows on costs less than leaving them out.
        if self.looked_at > TRIAL_ROWS && self.left_out < self.looked_at / 5 {
            return Ok(batch);
        }
        let keys = cast(batch.column(self.key), &DataType::Int64)?;
        let keys = keys.as_primitive::<Int64Type>();
        let met = self.met(&batch)?;
        let mut passes = |row: usize| {
            // A key is remembered by whatever row it came with.
            let is_new = keys.is_null(row) || self.seen.insert(keys.value(row));
            is_new || met[row]
        };
        let passing = BooleanBuffer::collect_bool(batch.num_rows(), &mut passes);
        let passing = BooleanArray::new(passing, None);
        let relevant = filter_record_batch(&batch, &passing)?;
        self.looked_at += batch.num_rows();
        self.left_out += batch.num_rows() - relevant.num_rows();
        Ok(relevant)
    }

    /// Which rows meet a condition.
    fn met(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let mut met = vec![false; batch.num_rows()];
        for at in &self.conditions {
            each_mask(batch.column(*at), |row, bits| met[row] |= bits != 0)?;
        }
        Ok(met)
    }
}

impl Stream for RelevantRows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.input
            .poll_next_unpin(context)
            .map(|next| next.map(|batch| batch.and_then(|batch| self.relevant(batch))))
    }
}

impl RecordBatchStream for RelevantRows {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

/// Keys below this have a bit of their own.
const BITMAP_KEYS: u64 = 1 << 28;

/// How many keys are remembered of the others, as a power of 2.
const PLACES_LOG2: u32 = 16;

/// Keys that were seen; it may forget some.
#[derive(Debug, Default)]
struct SeenKeys {
    bitmap: Vec<u64>,
    places: Vec<Option<i64>>,
}

impl SeenKeys {
    /// Remembers a key; whether it wasn't remembered before.
    fn insert(&mut self, key: i64) -> bool {
        match u64::try_from(key) {
            Ok(key) if key < BITMAP_KEYS => self.insert_small(key as usize),
            _ => self.insert_other(key),
        }
    }

    fn insert_small(&mut self, key: usize) -> bool {
        let (word, bit) = (key / 64, 1 << (key % 64));
        if word >= self.bitmap.len() {
            self.bitmap.resize((word + 1).next_power_of_two(), 0);
        }
        let is_new = self.bitmap[word] & bit == 0;
        self.bitmap[word] |= bit;
        is_new
    }

    fn insert_other(&mut self, key: i64) -> bool {
        if self.places.is_empty() {
            self.places = vec![None; 1 << PLACES_LOG2];
        }
        // Fibonacci hashing: the upper bits of the product with 2^64 / golden ratio.
        let hash = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = &mut self.places[(hash >> (u64::BITS - PLACES_LOG2)) as usize];
        let is_new = *place != Some(key);
        *place = Some(key);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once_wherever_it_lies() {
        let mut seen = SeenKeys::default();
        let keys = [0, 1, 63, 64, 1 << 27, 1 << 28, -1, i64::MIN, i64::MAX];
        for key in keys {
            assert!(seen.insert(key), "{key}");
            assert!(!seen.insert(key), "{key}");
        }
    }

    #[test]
    fn of_two_keys_of_one_place_the_last_is_remembered() {
        let mut seen = SeenKeys::default();
        let keys = (1_i64 << 40..).take(200_000).collect::<Vec<_>>();
        for key in &keys {
            seen.insert(*key);
        }
        // Far more keys than places: forgetting is allowed, remembering what never came is not.
        assert!(seen.insert(1 << 50));
        assert!(keys.iter().rev().any(|key| !seen.insert(*key)));
    }
}
