//! Groups the rows of an event log by an integer key, for functions over the hits of each group.
//!
//! It does what DataFusion's grouping and [`HitFunction`](crate::aggregate::hits::HitFunction)s do together,
//! with the cache in mind. There, each row looks its key up in a table of all keys, which for a million users is
//! three misses of the cache. Here rows are first written to one of 256 buckets, by a hash of the key; when all have
//! come, each bucket is grouped by itself, in a table that stays in the cache, and its results are sent on.
//!
//! **Memory**: 24 bytes a row. What the memory pool doesn't give goes to disk, in 16 files of 16 buckets each
//! time; a sixteenth of the partition's rows must fit in the end, or the query fails for lack of memory.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SpillFile;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions, SpillManager,
};
use futures::StreamExt;
use tokio::sync::mpsc::Sender;

use crate::aggregate::hits::log::each_mask;
use crate::aggregate::hits::time::numbers;
use crate::aggregate::hits::{Hit, HitResults, HitRuns};

const BUCKET_BITS: u32 = 8;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// So many buckets share a file.
const BUCKETS_OF_FILE: usize = 16;

/// Where the columns of the input are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HitColumns {
    /// The key, an integer of at most 64 bits with a sign.
    pub key: usize,
    /// The time.
    pub time: usize,
    /// The conditions as bits.
    pub conditions: usize,
}

/// The operator: one row for each key, with the result of each function.
#[derive(Debug)]
pub struct HitGroupsExec {
    input: Arc<dyn ExecutionPlan>,
    columns: HitColumns,
    functions: Vec<Arc<dyn HitResults>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl HitGroupsExec {
    /// `schema`: the key, then the result of each function.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: HitColumns,
        functions: Vec<Arc<dyn HitResults>>,
        schema: SchemaRef,
    ) -> Self {
        let partitions = input.properties().output_partitioning().partition_count();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            input,
            columns,
            functions,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The rows that it groups.
    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The column with the conditions of a row.
    pub(crate) fn conditions(&self) -> Arc<dyn PhysicalExpr> {
        self.column(self.columns.conditions)
    }

    /// Whether a key none of whose rows meets a condition has NULL as the result of every function.
    pub(crate) fn is_null_without_hits(&self) -> bool {
        let mut functions = self.functions.iter();
        functions.all(|function| function.is_null_without_hits())
    }

    fn column(&self, at: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.input.schema().field(at).name(), at))
    }

    fn key(&self) -> Arc<dyn PhysicalExpr> {
        self.column(self.columns.key)
    }
}

impl DisplayAs for HitGroupsExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let names = self.schema.fields().iter().skip(1);
        let names = names.map(|field| field.name().as_str()).collect::<Vec<_>>();
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => write!(
                f,
                "HitGroupsExec: gby=[{}], functions=[{}]",
                self.key(),
                names.join(", ")
            ),
            DisplayFormatType::TreeRender => write!(f, "gby={}", self.key()),
        }
    }
}

impl ExecutionPlan for HitGroupsExec {
    fn name(&self) -> &str {
        "HitGroupsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(vec![self.key()])])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        f(&self.key())
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(match children.pop() {
            Some(input) => Arc::new(Self::new(
                input,
                self.columns,
                self.functions.clone(),
                Arc::clone(&self.schema),
            )),
            None => self,
        })
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let recompute = datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(recompute))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, Arc::clone(&context))?;
        let spills = SpillManager::new(
            context.runtime_env(),
            SpillMetrics::new(&self.metrics, partition),
            entry_schema(),
        );
        let work = Grouping {
            columns: self.columns,
            functions: self.functions.clone(),
            schema: Arc::clone(&self.schema),
            batch_rows: context.session_config().batch_size(),
            buckets: Buckets::default(),
            spilled: Vec::new(),
            spills,
            reservation: MemoryConsumer::new(format!("HitGroups[{partition}]"))
                .with_can_spill(true)
                .register(context.memory_pool()),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), 2);
        let sender = stream.tx();
        stream.spawn(work.run(input, sender));
        Ok(stream.build())
    }
}

/// A row: 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: i64,
    time: i64,
    /// None is set where the row only says that its key exists.
    conditions: u64,
}

/// Entries in pieces, so that what is there is never copied to make room: 24 KiB each, the first one growing.
#[derive(Debug, Default)]
struct Bucket {
    pieces: Vec<Vec<Entry>>,
}

const PIECE_ENTRIES: usize = 1_024;

impl Bucket {
    fn push(&mut self, entry: Entry) {
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE_ENTRIES => piece.push(entry),
            Some(_) => {
                let mut piece = Vec::with_capacity(PIECE_ENTRIES);
                piece.push(entry);
                self.pieces.push(piece);
            }
            None => self.pieces.push(vec![entry]),
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        self.pieces.iter().flatten()
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    /// The memory that it holds, in bytes.
    fn size(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::capacity);
        let full = self.pieces.len().saturating_sub(1) * PIECE_ENTRIES;
        (full + last) * size_of::<Entry>()
    }
}

/// The rows of a partition.
#[derive(Debug, Default)]
struct Buckets {
    /// Of all keys that aren't NULL, by their hash; empty before the first row.
    of_keys: Vec<Bucket>,
    /// Of the key NULL.
    of_null: Bucket,
}

impl Buckets {
    fn append(&mut self, batch: &RecordBatch, columns: HitColumns) -> Result<()> {
        let keys = cast(batch.column(columns.key), &DataType::Int64)?;
        let keys = keys.as_primitive::<Int64Type>();
        let times = numbers(batch.column(columns.time))?;
        self.of_keys.resize_with(BUCKETS, Bucket::default);
        let push = |row: usize, conditions: u64| {
            let key = keys.value(row);
            let bucket = match keys.is_null(row) {
                true => &mut self.of_null,
                false => &mut self.of_keys[bucket_of(key)],
            };
            bucket.push(Entry {
                key,
                time: times.value(row),
                conditions: if times.is_valid(row) { conditions } else { 0 },
            });
        };
        each_mask(batch.column(columns.conditions), push)
    }

    /// The memory that it holds, in bytes.
    fn size(&self) -> usize {
        self.of_keys.iter().map(Bucket::size).sum::<usize>() + self.of_null.size()
    }
}

/// Fibonacci hashing: the upper bits of the product with 2^64 / golden ratio are the best ones.
fn hash(key: i64) -> u64 {
    (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn bucket_of(key: i64) -> usize {
    (hash(key) >> (u64::BITS - BUCKET_BITS)) as usize
}

fn entry_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("time", DataType::Int64, false),
        Field::new("conditions", DataType::UInt64, false),
    ]))
}

/// The work of one partition.
struct Grouping {
    columns: HitColumns,
    functions: Vec<Arc<dyn HitResults>>,
    schema: SchemaRef,
    batch_rows: usize,
    buckets: Buckets,
    /// For each time that memory ran out, a file for each run of buckets.
    spilled: Vec<Vec<Option<Arc<dyn SpillFile>>>>,
    spills: SpillManager,
    reservation: MemoryReservation,
    metrics: BaselineMetrics,
}

impl Grouping {
    async fn run(
        mut self,
        mut input: SendableRecordBatchStream,
        output: Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        while let Some(batch) = input.next().await {
            let batch = batch?;
            let time = self.metrics.elapsed_compute().clone();
            let _timer = time.timer();
            self.buckets.append(&batch, self.columns)?;
            self.reserve()?;
        }
        drop(input);
        let of_null = std::mem::take(&mut self.buckets.of_null);
        if !self.send_bucket(&of_null, true, &output).await? {
            return Ok(());
        }
        self.buckets.of_keys.resize_with(BUCKETS, Bucket::default);
        for file in 0..BUCKETS / BUCKETS_OF_FILE {
            self.read_spilled(file).await?;
            for bucket in file * BUCKETS_OF_FILE..(file + 1) * BUCKETS_OF_FILE {
                let bucket = std::mem::take(&mut self.buckets.of_keys[bucket]);
                if !self.send_bucket(&bucket, false, &output).await? {
                    return Ok(()); // nobody listens any more
                }
            }
            self.reservation.resize(self.buckets.size());
        }
        Ok(())
    }

    /// Asks for the memory that the buckets hold, and writes them down where there isn't as much.
    fn reserve(&mut self) -> Result<()> {
        let size = self.buckets.size();
        // Asking goes to a lock that all partitions share, so not for each batch.
        if size <= self.reservation.size() {
            return Ok(());
        }
        match self.reservation.try_resize(size + size / 8) {
            Ok(()) => Ok(()),
            Err(DataFusionError::ResourcesExhausted(_)) => self.spill(),
            Err(error) => Err(error),
        }
    }

    /// Writes all rows but those of the key NULL to disk.
    fn spill(&mut self) -> Result<()> {
        let files = self
            .buckets
            .of_keys
            .chunks_mut(BUCKETS_OF_FILE)
            .map(|buckets| {
                let rows = entry_batch(buckets)?;
                buckets.fill_with(Bucket::default);
                self.spills
                    .spill_record_batch_and_finish(&[rows], "HitGroups")
            })
            .collect::<Result<Vec<_>>>()?;
        self.spilled.push(files);
        self.reservation.try_resize(self.buckets.size())
    }

    /// Brings back what was written of some buckets.
    async fn read_spilled(&mut self, file: usize) -> Result<()> {
        for files in &mut self.spilled {
            let Some(file) = files[file].take() else {
                continue;
            };
            let mut rows = self.spills.read_spill_as_stream(file, None)?;
            while let Some(batch) = rows.next().await {
                let columns = HitColumns {
                    key: 0,
                    time: 1,
                    conditions: 2,
                };
                self.buckets.append(&batch?, columns)?;
            }
            let size = self.buckets.size();
            self.reservation.try_resize(size)?;
        }
        Ok(())
    }

    /// Sends the results of a bucket's keys; whether somebody still listens.
    async fn send_bucket(
        &self,
        bucket: &Bucket,
        is_null: bool,
        output: &Sender<Result<RecordBatch>>,
    ) -> Result<bool> {
        if bucket.pieces.is_empty() {
            return Ok(true);
        }
        let results = {
            let _timer = self.metrics.elapsed_compute().timer();
            self.results(bucket, is_null)?
        };
        for first in (0..results.num_rows()).step_by(self.batch_rows) {
            let rows = self.batch_rows.min(results.num_rows() - first);
            self.metrics.output_rows().add(rows);
            if output.send(Ok(results.slice(first, rows))).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn results(&self, bucket: &Bucket, is_null: bool) -> Result<RecordBatch> {
        let (keys, mut runs) = grouped(bucket);
        let keys: ArrayRef = match is_null {
            true => Arc::new(Int64Array::new_null(keys.len())),
            false => Arc::new(Int64Array::from(keys)),
        };
        let mut columns = vec![cast(&keys, self.schema.field(0).data_type())?];
        for function in &self.functions {
            columns.push(function.results_of(&mut runs)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn entry_batch(buckets: &[Bucket]) -> Result<RecordBatch> {
    let entries = || buckets.iter().flat_map(Bucket::entries);
    let keys = Int64Array::from_iter_values(entries().map(|entry| entry.key));
    let times = Int64Array::from_iter_values(entries().map(|entry| entry.time));
    let conditions = UInt64Array::from_iter_values(entries().map(|entry| entry.conditions));
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), Arc::new(times), Arc::new(conditions)];
    Ok(RecordBatch::try_new(entry_schema(), columns)?)
}

/// The keys of a bucket in the order in which they were first met, and the hits of each.
fn grouped(bucket: &Bucket) -> (Vec<i64>, HitRuns) {
    const EMPTY: u32 = u32::MAX;
    // At most half full, so that a free place is always near.
    let place_bits = (2 * bucket.len()).next_power_of_two().trailing_zeros();
    let mut places = vec![EMPTY; 1 << place_bits];
    let last_place = places.len() - 1;
    let mut keys: Vec<i64> = Vec::new();
    let group_of = |entry: &Entry| {
        // The uppermost bits are the bucket's, and the same for all.
        let start = (hash(entry.key) << BUCKET_BITS) >> (u64::BITS - place_bits);
        let mut place = start as usize;
        loop {
            match places[place] {
                EMPTY => {
                    places[place] = keys.len() as u32;
                    keys.push(entry.key);
                    return places[place];
                }
                group if keys[group as usize] == entry.key => return group,
                _ => place = (place + 1) & last_place,
            }
        }
    };
    let groups = bucket.entries().map(group_of).collect::<Vec<_>>();
    let hits = groups
        .iter()
        .zip(bucket.entries())
        .filter_map(|(group, entry)| {
            let hit = Hit {
                time: entry.time,
                conditions: entry.conditions,
            };
            (entry.conditions != 0).then_some((*group, hit))
        });
    let runs = HitRuns::new(hits, keys.len());
    (keys, runs)
}
