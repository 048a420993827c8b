//! Computes its input once for several places of a plan that read the same rows.
//!
//! A plan is a tree, so that what two branches need is computed by each of them. Here each branch has a
//! [`SharedExec`] over one [`SharedInput`]. The first that is polled for a partition computes that partition, and its
//! rows are kept for the others.
//!
//! - **All rows are kept**, and not passed on as they come: a join may read one branch to its end before it looks at
//!   the other, and a channel between them would fill up and never move again.
//! - **Memory** is asked for from the pool. What the pool doesn't give goes to disk, and the branches read it from there.
//!   A partition's rows are let go when each branch has read them, or was dropped.
//! - **An error** reaches each branch. A branch that is dropped keeps nobody from going on: whoever is polled next
//!   computes what is left. Where nobody is left, the work stops.
//! - **An execution**, told by its [`TaskContext`], computes its own rows, so a plan that is run again sees what its
//!   tables hold then.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SpillFile, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{EmissionType, SchedulingType, reset_plan_states};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput, SpillMetrics,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, SpillManager, Statistics, StatisticsArgs, StatisticsContext,
};
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};

/// Gives one value to each of a number of references. The value is let go with the last of them; one that asks again
/// starts a new turn, with a new value.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    taken: Vec<bool>,
    value: Option<T>,
}

impl<T: Clone> Turn<T> {
    /// A value for each of so many references.
    pub(crate) fn new(references: usize) -> Self {
        Self {
            taken: vec![false; references],
            value: None,
        }
    }

    /// The value for reference `reference`, from 0; `make` makes that of a new turn.
    pub(crate) fn take(&mut self, reference: usize, make: impl FnOnce() -> T) -> T {
        let is_known = self.taken.get(reference).is_some_and(|taken| !taken);
        let value = match self.value.take() {
            Some(value) if is_known => value,
            _ => {
                self.taken.fill(false);
                make()
            }
        };
        if let Some(taken) = self.taken.get_mut(reference) {
            *taken = true;
        }
        if !self.taken.iter().all(|taken| *taken) {
            self.value = Some(value.clone());
        }
        value
    }
}

/// A mutex whose holder never leaves it half-changed: a panic elsewhere doesn't spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all references of one plan read.
#[derive(Debug)]
pub struct SharedInput {
    /// Its number in the plan, for people.
    id: usize,
    references: usize,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    /// What is known of all its rows: without it, a join may take it for the smaller side.
    statistics: Arc<Statistics>,
    executions: Mutex<Vec<Execution>>,
    /// What comes in its place when the plan is reset.
    successors: Mutex<Turn<Arc<SharedInput>>>,
    metrics: ExecutionPlanMetricsSet,
}

/// The rows of one run of the plan.
#[derive(Debug)]
struct Execution {
    /// Tells the run; a weak one, because its rows are for nobody once the run is over.
    context: Weak<TaskContext>,
    partitions: Vec<Turn<PartitionRows>>,
}

/// A partition's rows, once somebody has waited for them.
type PartitionRows = Shared<BoxFuture<'static, Result<Arc<Rows>, Arc<DataFusionError>>>>;

impl SharedInput {
    /// - `id`: what `EXPLAIN` calls it
    /// - `references`: how many [`SharedExec`]s will read it
    /// - `input`: a plan that is complete; what it needs of its inputs isn't looked at again
    pub fn new(id: usize, references: usize, input: Arc<dyn ExecutionPlan>) -> Self {
        let properties = PlanProperties::clone(input.properties())
            .with_emission_type(EmissionType::Final)
            .with_scheduling_type(SchedulingType::Cooperative);
        let statistics = StatisticsContext::new().compute(input.as_ref(), &StatisticsArgs::new());
        let statistics =
            statistics.unwrap_or_else(|_| Arc::new(Statistics::new_unknown(&input.schema())));
        Self {
            id,
            references,
            input,
            properties: Arc::new(properties),
            statistics,
            executions: Mutex::default(),
            successors: Mutex::new(Turn::new(references)),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The plan that computes the rows.
    pub(crate) fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The rows of a partition for one of the references.
    fn rows(
        &self,
        reference: usize,
        partition: usize,
        context: &Arc<TaskContext>,
    ) -> Result<PartitionRows> {
        let mut executions = lock(&self.executions);
        executions.retain(|execution| execution.context.strong_count() > 0);
        let this = Arc::downgrade(context);
        let known = executions
            .iter()
            .position(|execution| execution.context.ptr_eq(&this));
        let at = known.unwrap_or_else(|| {
            let partitions = self.properties.partitioning.partition_count();
            let turns = std::iter::repeat_with(|| Turn::new(self.references));
            executions.push(Execution {
                context: this,
                partitions: turns.take(partitions).collect(),
            });
            executions.len() - 1
        });
        let turn = executions[at].partitions.get_mut(partition);
        let turn = turn.ok_or_else(|| {
            DataFusionError::Internal(format!("shared rows have no partition {partition}"))
        })?;
        Ok(turn.take(reference, || self.start(partition, Arc::clone(context))))
    }

    /// The work on a partition; nothing runs before it is polled.
    fn start(&self, partition: usize, context: Arc<TaskContext>) -> PartitionRows {
        let input = Arc::clone(&self.input);
        let spills = SpillManager::new(
            context.runtime_env(),
            SpillMetrics::new(&self.metrics, partition),
            input.schema(),
        );
        let memory = Memory {
            counter: RecordBatchMemoryCounter::new(),
            batches: Vec::new(),
            reservation: MemoryConsumer::new(format!("Shared[{}, {partition}]", self.id))
                .with_can_spill(true)
                .register(context.memory_pool()),
        };
        let work = async move {
            let batches = input.execute(partition, context)?;
            keep(batches, memory, spills).await
        };
        work.map(|rows| rows.map(Arc::new).map_err(Arc::new))
            .boxed()
            .shared()
    }

    /// The same over an input that was never run, for a plan that is to run again.
    fn renewed(&self) -> Result<Self> {
        let input = reset_plan_states(Arc::clone(&self.input))?;
        Ok(Self::new(self.id, self.references, input))
    }
}

/// Rows in memory, while they are computed.
struct Memory {
    counter: RecordBatchMemoryCounter,
    batches: Vec<RecordBatch>,
    reservation: MemoryReservation,
}

impl Memory {
    /// Keeps the batch, whether or not there is memory for it; whether there is.
    fn keep(&mut self, batch: RecordBatch) -> Result<bool> {
        // Batches may be slices of one: each buffer counts once.
        let more = self.counter.count_batch(&batch);
        self.batches.push(batch);
        match self.reservation.try_grow(more) {
            Ok(()) => Ok(true),
            Err(DataFusionError::ResourcesExhausted(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Reads a partition to its end: into memory, or all of it to disk where memory runs out, so that what it held is
/// there for whoever else needs it.
async fn keep(
    mut input: SendableRecordBatchStream,
    mut memory: Memory,
    spills: SpillManager,
) -> Result<Rows> {
    let mut has_room = true;
    while has_room {
        match input.next().await.transpose()? {
            Some(batch) if batch.num_rows() > 0 => has_room = memory.keep(batch)?,
            Some(_) => {}
            None => {
                return Ok(Rows {
                    batches: memory.batches,
                    file: None,
                    spills,
                    _reservation: memory.reservation,
                });
            }
        }
    }
    let mut file = spills.create_in_progress_file("shared rows")?;
    for batch in memory.batches.drain(..) {
        file.append_batch(&batch)?;
    }
    memory.reservation.free();
    while let Some(batch) = input.next().await.transpose()? {
        if batch.num_rows() > 0 {
            file.append_batch(&batch)?;
        }
    }
    Ok(Rows {
        batches: Vec::new(),
        file: file.finish()?,
        spills,
        _reservation: memory.reservation,
    })
}

/// A partition's rows, in memory or on disk.
struct Rows {
    batches: Vec<RecordBatch>,
    file: Option<Arc<dyn SpillFile>>,
    spills: SpillManager,
    /// The memory of the batches, for as long as they are there.
    _reservation: MemoryReservation,
}

impl Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let is_on_disk = self.file.is_some();
        f.debug_struct("Rows")
            .field("batches", &self.batches.len())
            .field("is_on_disk", &is_on_disk)
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// The rows, in the order in which they were computed.
    fn read(self: Arc<Self>) -> Result<SendableRecordBatchStream> {
        if let Some(file) = &self.file {
            return self.spills.read_spill_as_stream(Arc::clone(file), None);
        }
        let schema = Arc::clone(self.spills.schema());
        let batches = (0..self.batches.len()).map(move |at| Ok(self.batches[at].clone()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            schema,
            stream::iter(batches),
        )))
    }
}

/// The operator: the rows of a [`SharedInput`] at one of the places that read them.
///
/// `EXPLAIN` shows the input below the first reference only.
#[derive(Debug)]
pub struct SharedExec {
    shared: Arc<SharedInput>,
    /// From 0.
    reference: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl SharedExec {
    /// - `reference`: which of the references it is, from 0
    pub fn new(shared: Arc<SharedInput>, reference: usize) -> Self {
        Self {
            shared,
            reference,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn is_first(&self) -> bool {
        self.reference == 0
    }
}

impl DisplayAs for SharedExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (id, references) = (self.shared.id, self.shared.references);
        match format {
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(f, "SharedExec: id={id}, references={references}")
            }
            DisplayFormatType::TreeRender => write!(f, "id={id}\nreferences={references}"),
        }
    }
}

impl ExecutionPlan for SharedExec {
    fn name(&self) -> &str {
        "SharedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.shared.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        match self.is_first() {
            true => vec![&self.shared.input],
            false => Vec::new(),
        }
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true; self.children().len()]
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

    /// The input stays: it is a complete plan of its own, and all references must read the same.
    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(
        &self,
        _input_statistics: &[Arc<Statistics>],
        arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        Ok(match arguments.partition() {
            None => Arc::clone(&self.shared.statistics),
            Some(_) => Arc::new(Statistics::new_unknown(&self.schema())),
        })
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let renewed = Arc::new(self.shared.renewed()?);
        let successor = lock(&self.shared.successors).take(self.reference, || renewed);
        Ok(Arc::new(Self::new(successor, self.reference)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut metrics = self.metrics.clone_inner();
        if self.is_first() {
            for metric in self.shared.metrics.clone_inner().iter() {
                metrics.push(Arc::clone(metric));
            }
        }
        Some(metrics)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.shared.rows(self.reference, partition, &context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = rows
            .map(|rows| rows.map_err(DataFusionError::Shared)?.read())
            .try_flatten_stream()
            .inspect_ok(move |batch| {
                batch.record_output(&metrics);
            });
        let adapter = RecordBatchStreamAdapter::new(self.schema(), batches);
        Ok(Box::pin(cooperative(adapter)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::SchemaRef;
    use datafusion::common::stats::Precision;
    use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
    use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
    use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

    use super::*;

    type Batches = UnboundedReceiver<Result<RecordBatch>>;

    /// A partition whose batches the test sends.
    #[derive(Debug)]
    struct Sent {
        schema: SchemaRef,
        batches: Mutex<Vec<Batches>>,
        started: Arc<AtomicUsize>,
    }

    impl PartitionStream for Sent {
        fn schema(&self) -> &SchemaRef {
            &self.schema
        }

        fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
            self.started.fetch_add(1, Ordering::SeqCst);
            let batches = lock(&self.batches).pop().unwrap();
            Box::pin(RecordBatchStreamAdapter::new(
                Arc::clone(&self.schema),
                batches,
            ))
        }
    }

    /// References to one shared partition, and where its batches come from.
    struct Setting {
        references: Vec<SharedExec>,
        /// One for each run, the last first.
        senders: Vec<UnboundedSender<Result<RecordBatch>>>,
        started: Arc<AtomicUsize>,
    }

    fn setting(references: usize, runs: usize) -> Setting {
        let schema = batch(0).schema();
        let (senders, batches) = (0..runs).map(|_| unbounded()).unzip();
        let started = Arc::default();
        let partition = Arc::new(Sent {
            schema: Arc::clone(&schema),
            batches: Mutex::new(batches),
            started: Arc::clone(&started),
        });
        let input = StreamingTableExec::try_new(
            Arc::clone(&schema),
            vec![partition],
            None,
            vec![],
            false,
            None,
        );
        let shared = Arc::new(SharedInput::new(1, references, Arc::new(input.unwrap())));
        let references = (0..references).map(|at| SharedExec::new(Arc::clone(&shared), at));
        Setting {
            references: references.collect(),
            senders,
            started,
        }
    }

    /// A hundred rows of some kilobytes.
    fn batch(number: i64) -> RecordBatch {
        let numbers: Int64Array = (number * 100..(number + 1) * 100).collect();
        let texts = StringArray::from_iter_values(numbers.values().iter().map(|number| {
            let text = number.to_string();
            text.repeat(10)
        }));
        RecordBatch::try_from_iter([
            ("number", Arc::new(numbers) as _),
            ("text", Arc::new(texts) as _),
        ])
        .unwrap()
    }

    async fn rows(stream: SendableRecordBatchStream) -> Result<Vec<RecordBatch>> {
        stream.try_collect().await
    }

    #[tokio::test]
    async fn each_reference_gets_all_rows_of_one_computation() {
        let setting = setting(3, 1);
        let context = Arc::new(TaskContext::default());
        for number in 0..3 {
            setting.senders[0]
                .unbounded_send(Ok(batch(number)))
                .unwrap();
        }
        setting.senders[0].close_channel();
        for reference in &setting.references {
            let stream = reference.execute(0, Arc::clone(&context)).unwrap();
            let expected: Vec<_> = (0..3).map(batch).collect();
            assert_eq!(rows(stream).await.unwrap(), expected);
            let output = reference.metrics().unwrap().output_rows();
            assert_eq!(output, Some(300));
        }
        assert_eq!(setting.started.load(Ordering::SeqCst), 1);
        let executions = lock(&setting.references[0].shared.executions);
        assert!(
            executions[0].partitions[0].value.is_none(),
            "the rows are let go"
        );
    }

    #[tokio::test]
    async fn a_reference_that_is_dropped_keeps_nobody_waiting() {
        let setting = setting(2, 1);
        let context = Arc::new(TaskContext::default());
        let [first, second] = [0, 1].map(|at| {
            let stream = setting.references[at].execute(0, Arc::clone(&context));
            tokio::spawn(rows(stream.unwrap()))
        });
        setting.senders[0].unbounded_send(Ok(batch(0))).unwrap();
        while setting.started.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        // It was polled first, and would be told of the next batch.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        setting.senders[0].unbounded_send(Ok(batch(1))).unwrap();
        setting.senders[0].close_channel();
        assert_eq!(second.await.unwrap().unwrap(), vec![batch(0), batch(1)]);
    }

    #[tokio::test]
    async fn when_all_references_are_dropped_the_work_stops() {
        let setting = setting(2, 1);
        let context = Arc::new(TaskContext::default());
        let streams: Vec<_> = setting
            .references
            .iter()
            .map(|reference| reference.execute(0, Arc::clone(&context)).unwrap())
            .collect();
        for mut stream in streams {
            assert!(stream.next().now_or_never().is_none());
        }
        assert!(setting.senders[0].is_closed());
    }

    #[tokio::test]
    async fn an_error_reaches_all_references() {
        let setting = setting(2, 1);
        let context = Arc::new(TaskContext::default());
        let error = DataFusionError::Execution("no more".to_owned());
        setting.senders[0].unbounded_send(Ok(batch(0))).unwrap();
        setting.senders[0].unbounded_send(Err(error)).unwrap();
        for reference in &setting.references {
            let stream = reference.execute(0, Arc::clone(&context)).unwrap();
            let error = rows(stream).await.unwrap_err();
            assert!(
                matches!(error.find_root(), DataFusionError::Execution(text) if text == "no more")
            );
        }
    }

    #[tokio::test]
    async fn a_reference_that_stops_early_and_one_that_never_starts_hold_up_nobody() {
        let setting = setting(3, 1);
        let context = Arc::new(TaskContext::default());
        for number in 0..2 {
            setting.senders[0]
                .unbounded_send(Ok(batch(number)))
                .unwrap();
        }
        setting.senders[0].close_channel();
        let mut first = setting.references[0]
            .execute(0, Arc::clone(&context))
            .unwrap();
        assert_eq!(first.next().await.unwrap().unwrap(), batch(0));
        drop(first);
        let second = setting.references[1]
            .execute(0, Arc::clone(&context))
            .unwrap();
        assert_eq!(rows(second).await.unwrap(), vec![batch(0), batch(1)]);
    }

    #[tokio::test]
    async fn each_execution_computes_its_own_rows() {
        let setting = setting(2, 3);
        for (run, sender) in (0..).zip(setting.senders.iter().rev()) {
            sender.unbounded_send(Ok(batch(run))).unwrap();
            sender.close_channel();
        }
        let [one, other] = [(); 2].map(|()| Arc::new(TaskContext::default()));
        let read = async |reference: usize, context: &Arc<TaskContext>| {
            let stream = setting.references[reference].execute(0, Arc::clone(context));
            rows(stream.unwrap()).await.unwrap()
        };
        assert_eq!(read(0, &one).await, vec![batch(0)]);
        assert_eq!(read(0, &other).await, vec![batch(1)]);
        assert_eq!(read(1, &other).await, vec![batch(1)]);
        assert_eq!(read(1, &one).await, vec![batch(0)]);
        // Both have read it in this context: who asks again, runs it again.
        assert_eq!(read(1, &one).await, vec![batch(2)]);
        assert_eq!(read(0, &one).await, vec![batch(2)]);
    }

    #[tokio::test]
    async fn a_plan_that_is_reset_is_shared_again() {
        let setting = setting(2, 1);
        setting.senders[0].unbounded_send(Ok(batch(0))).unwrap();
        setting.senders[0].close_channel();
        let context = Arc::new(TaskContext::default());
        for reference in setting.references {
            let reset = Arc::new(reference).reset_state().unwrap();
            let stream = reset.execute(0, Arc::clone(&context)).unwrap();
            assert_eq!(rows(stream).await.unwrap(), vec![batch(0)]);
        }
        assert_eq!(setting.started.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn each_reference_knows_how_many_rows_there_are() {
        let row = Arc::new(PlaceholderRowExec::new(batch(0).schema()));
        let shared = Arc::new(SharedInput::new(1, 2, row));
        for reference in 0..2 {
            let reference = SharedExec::new(Arc::clone(&shared), reference);
            let known = StatisticsContext::new().compute(&reference, &StatisticsArgs::new());
            assert_eq!(known.unwrap().num_rows, Precision::Exact(1));
        }
    }

    fn context_of(pool: &Arc<GreedyMemoryPool>, disk: DiskManagerMode) -> Arc<TaskContext> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(pool) as _)
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .unwrap();
        Arc::new(TaskContext::default().with_runtime(runtime))
    }

    #[tokio::test]
    async fn what_memory_does_not_hold_is_read_from_disk() {
        let batches: Vec<_> = (0..8).map(batch).collect();
        for kib in [1, 12, 1_000] {
            let pool = Arc::new(GreedyMemoryPool::new(kib * 1_024));
            let context = context_of(&pool, DiskManagerMode::OsTmpDirectory);
            let setting = setting(2, 1);
            for batch in &batches {
                setting.senders[0]
                    .unbounded_send(Ok(batch.clone()))
                    .unwrap();
            }
            setting.senders[0].close_channel();
            for reference in &setting.references {
                let stream = reference.execute(0, Arc::clone(&context)).unwrap();
                assert_eq!(rows(stream).await.unwrap(), batches, "{kib} KiB");
            }
            let spills = setting.references[0].metrics().unwrap().spill_count();
            assert_eq!(spills, Some(usize::from(kib < 1_000)));
            assert_eq!(pool.reserved(), 0);
        }
    }

    #[tokio::test]
    async fn without_memory_or_disk_it_fails_for_all_references() {
        let pool = Arc::new(GreedyMemoryPool::new(1_024));
        let context = context_of(&pool, DiskManagerMode::Disabled);
        let setting = setting(2, 1);
        setting.senders[0].unbounded_send(Ok(batch(0))).unwrap();
        for reference in &setting.references {
            let stream = reference.execute(0, Arc::clone(&context)).unwrap();
            let error = rows(stream).await.unwrap_err();
            let root = error.find_root();
            assert!(
                matches!(root, DataFusionError::ResourcesExhausted(_)),
                "{error}"
            );
        }
        assert_eq!(pool.reserved(), 0);
    }
}
