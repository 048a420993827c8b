#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::optimizer::Analyzer;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{collect, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{StreamExt, stream};
use proptest::prelude::*;

use super::*;
use crate::UTC;
use crate::definition::model::{
    Counting, Dimension, FunnelDefinition, Interval, LostDefinition, Source, StageDefinition,
};

const DAY_US: i64 = 86_400_000_000;

/// Who, what, on which day, from where.
type Row = (i64, &'static str, i64, Option<&'static str>);

/// A partition that counts what is read of it, and fails where it is told to.
#[derive(Debug)]
struct Counted {
    batch: RecordBatch,
    schema: SchemaRef,
    read: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    end: End,
}

/// How a partition ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    InAnError,
    Never,
}

/// Counts down when it is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl PartitionStream for Counted {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        let read = Arc::clone(&self.read);
        let batch = self.batch.clone();
        let rows = stream::once(async move {
            read.fetch_add(batch.num_rows(), Ordering::SeqCst);
            Ok(batch)
        });
        let rest = match self.end {
            End::Well => stream::empty().boxed(),
            End::InAnError => {
                stream::iter([Err(DataFusionError::Execution("unread".into()))]).boxed()
            }
            End::Never => stream::pending().boxed(),
        };
        let rows = rows.chain(rest).inspect(move |_| {
            let _held = &running;
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            Box::pin(rows),
        ))
    }
}

/// A session with a funnel over events, `sales`, and one over a wide table, `deals`.
struct Setting {
    shared: SessionContext,
    /// The same without the rule.
    apart: SessionContext,
    read: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
}

impl Setting {
    async fn new(rows: &[Row], partitions: usize) -> Self {
        Self::with(rows, partitions, Arc::default(), End::Well).await
    }

    async fn with(rows: &[Row], partitions: usize, runtime: Arc<RuntimeEnv>, end: End) -> Self {
        let config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(4);
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_physical_optimizer_rules(crate::optimizer::physical_rules())
            .build();
        let shared = SessionContext::new_with_state(state);
        let registry = crate::register_all(&shared).unwrap();
        let (read, running) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let batch = log(rows);
        let part = batch.num_rows().div_ceil(2);
        let parts = [
            batch.slice(0, part),
            batch.slice(part, batch.num_rows() - part),
        ];
        let parts = parts.map(|batch| {
            Arc::new(Counted {
                schema: batch.schema(),
                batch,
                read: Arc::clone(&read),
                running: Arc::clone(&running),
                end,
            }) as Arc<dyn PartitionStream>
        });
        let table = StreamingTable::try_new(batch.schema(), parts.to_vec()).unwrap();
        shared.register_table("log", Arc::new(table)).unwrap();
        registry.define(&shared, sales()).await.unwrap();
        registry.define(&shared, deals()).await.unwrap();
        let apart = SessionStateBuilder::new_from_existing(shared.state())
            .with_analyzer_rules(Analyzer::new().rules)
            .build();
        Self {
            shared,
            apart: SessionContext::new_with_state(apart),
            read,
            running,
        }
    }
}

fn log(rows: &[Row]) -> RecordBatch {
    let times: Vec<i64> = rows.iter().map(|row| row.2 * DAY_US).collect();
    let columns: [(&str, ArrayRef); 4] = [
        (
            "who",
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
        ),
        (
            "what",
            Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>()),
        ),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone(UTC)),
        ),
        (
            "channel",
            Arc::new(rows.iter().map(|row| row.3).collect::<StringArray>()),
        ),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn stage(name: &str, when: Option<&str>, at: Option<&str>) -> StageDefinition {
    StageDefinition {
        name: name.to_owned(),
        when: when.map(str::to_owned),
        at: at.map(str::to_owned),
        within: None,
    }
}

fn sales() -> FunnelDefinition {
    FunnelDefinition {
        name: "sales".to_owned(),
        source: Source::Table("log".to_owned()),
        entity: "who".to_owned(),
        time: Some("at".to_owned()),
        stages: vec![
            stage("acquired", Some("what = 'a'"), None),
            stage("proposed", Some("what = 'b'"), None),
            stage("won", Some("what = 'c'"), None),
        ],
        lost: Some(LostDefinition {
            when: Some("what = 'lost'".to_owned()),
            at: None,
            reason: None,
        }),
        value: None,
        owner: None,
        dimensions: vec![Dimension {
            name: "channel".to_owned(),
            expression: "channel".to_owned(),
        }],
        window: Some(Interval::parse("12 days").unwrap()),
        counting: Counting::Ordered,
        related: Vec::new(),
        comment: None,
    }
}

fn deals() -> FunnelDefinition {
    let first = |what: &str| format!("min(at) FILTER (WHERE what = '{what}')");
    let query = format!(
        "SELECT who, min(channel) AS channel, {} AS a_at, {} AS b_at, {} AS c_at FROM log GROUP BY who",
        first("a"),
        first("b"),
        first("c")
    );
    FunnelDefinition {
        name: "deals".to_owned(),
        source: Source::Query(query),
        time: None,
        stages: vec![
            stage("acquired", None, Some("a_at")),
            stage("proposed", None, Some("b_at")),
            stage("won", None, Some("c_at")),
        ],
        lost: None,
        ..sales()
    }
}

async fn rows_of(context: &SessionContext, sql: &str) -> Result<String> {
    let batches = context.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches)?.to_string())
}

async fn explained(context: &SessionContext, sql: &str) -> String {
    rows_of(context, &format!("EXPLAIN {sql}")).await.unwrap()
}

const ROWS: [Row; 10] = [
    (1, "a", 0, Some("web")),
    (1, "b", 2, None),
    (1, "c", 5, Some("fair")),
    (2, "a", 1, Some("fair")),
    (2, "lost", 3, None),
    (3, "a", 3, None),
    (3, "b", 4, Some("web")),
    (4, "a", 9, Some("web")),
    (5, "b", 9, Some("展会")),
    (6, "other", 9, None),
];

const THREE: &str = "SELECT stage AS key, entered AS n FROM stage_conversion('sales')
 UNION ALL SELECT segment, n FROM cohort_cycle('sales', every => 'month', by => 'channel')
 UNION ALL SELECT status, count(*) FROM journeys('sales') WHERE channel = 'web' GROUP BY status ORDER BY key, n";

#[tokio::test]
async fn three_functions_read_the_source_once() {
    let setting = Setting::new(&ROWS, 2).await;
    let expected = rows_of(&setting.apart, THREE).await.unwrap();
    assert_eq!(setting.read.swap(0, Ordering::SeqCst), 4 * ROWS.len());
    assert_eq!(rows_of(&setting.shared, THREE).await.unwrap(), expected);
    assert_eq!(setting.read.load(Ordering::SeqCst), ROWS.len());

    let plan = explained(&setting.shared, THREE).await;
    assert_eq!(
        plan.matches("SharedExec: id=1, references=3").count(),
        3,
        "{plan}"
    );
    assert_eq!(plan.matches("StreamingTableExec").count(), 1, "{plan}");
}

#[tokio::test]
async fn a_statement_with_one_reference_is_planned_as_it_was() {
    let setting = Setting::new(&ROWS, 2).await;
    let sales = "journeys('sales', as_of => '1970-02-10')";
    for sql in [
        "SELECT * FROM stage_conversion('sales', by => 'channel', as_of => '1970-02-10') WHERE channel = 'web'",
        "SELECT count(*) FROM journeys('deals', as_of => '1970-02-10')",
        &format!(
            "SELECT * FROM {sales} UNION ALL SELECT * FROM journeys('sales', as_of => '1970-02-11')"
        ),
        &format!(
            "SELECT * FROM {sales} UNION ALL SELECT * FROM journeys('sales', as_of => '1970-02-10', counting => 'any')"
        ),
    ] {
        let plan = explained(&setting.shared, sql).await;
        assert_eq!(plan, explained(&setting.apart, sql).await, "{sql}");
    }
    // Of two one is left, and nothing is kept for it.
    let sql =
        format!("SELECT * FROM {sales} UNION ALL SELECT * FROM {sales} WHERE false ORDER BY who");
    let plan = explained(&setting.shared, &sql).await;
    assert!(!plan.contains("SharedExec"), "{plan}");
    let expected = rows_of(&setting.apart, &sql).await.unwrap();
    assert_eq!(rows_of(&setting.shared, &sql).await.unwrap(), expected);
}

#[tokio::test]
async fn what_could_differ_is_not_shared() {
    let setting = Setting::new(&ROWS, 2).await;
    let random = "journeys((SELECT who + CAST(random() * 9 AS bigint) AS who, what, at FROM log),
        entity => 'who', time => 'at', stage => 'what', stages => ['a', 'b'])";
    let plan = explained(
        &setting.shared,
        &format!("SELECT who FROM {random} UNION ALL SELECT who FROM {random}"),
    )
    .await;
    assert!(!plan.contains("Shared"), "{plan}");
}

#[tokio::test]
async fn only_what_a_reference_needs_is_kept_and_what_one_leaves_out_is_there_for_the_other() {
    let setting = Setting::new(&ROWS, 2).await;
    let sql = "SELECT who, status FROM journeys('sales') WHERE channel = 'web' AND status = 'won'
        UNION ALL SELECT who, furthest_stage FROM journeys('sales') WHERE channel = 'fair' AND status = 'won'";
    let plan = explained(&setting.shared, sql).await;
    let shared = plan.split("SharedExec").nth(1).unwrap();
    // The dimension of either is found in the scan, as the semi-join of the one reference would.
    assert!(
        shared.contains("RightSemi") || shared.contains("LeftSemi"),
        "{plan}"
    );
    assert!(!shared.contains("started_at"), "{plan}");
    assert_eq!(
        rows_of(&setting.shared, sql).await.unwrap(),
        rows_of(&setting.apart, sql).await.unwrap()
    );
}

#[tokio::test]
async fn a_plan_that_runs_again_reads_again() {
    let setting = Setting::new(&ROWS, 2).await;
    let state = setting.shared.state();
    let logical = setting
        .shared
        .sql(THREE)
        .await
        .unwrap()
        .into_optimized_plan()
        .unwrap();
    let physical = state.create_physical_plan(&logical).await.unwrap();
    for run in 1..=3 {
        // DataFusion wants it reset before it runs again.
        let again = reset_plan_states(Arc::clone(&physical)).unwrap();
        collect(again, setting.shared.task_ctx()).await.unwrap();
        assert_eq!(setting.read.load(Ordering::SeqCst), run * ROWS.len());
    }
    // Planned again from the same logical plan.
    for run in 4..=5 {
        let again = state.create_physical_plan(&logical).await.unwrap();
        collect(again, setting.shared.task_ctx()).await.unwrap();
        assert_eq!(setting.read.load(Ordering::SeqCst), run * ROWS.len());
    }
    rows_of(&setting.shared, &format!("EXPLAIN ANALYZE {THREE}"))
        .await
        .unwrap();
    assert_eq!(setting.read.load(Ordering::SeqCst), 6 * ROWS.len());
}

#[tokio::test]
async fn an_error_reaches_whoever_reads() {
    let setting = Setting::with(&ROWS, 2, Arc::default(), End::InAnError).await;
    let error = rows_of(&setting.shared, THREE).await.unwrap_err();
    assert!(error.to_string().contains("unread"), "{error}");
}

/// Lets the tasks of a repartition end, which they do when they are next looked at.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_query_that_is_dropped_leaves_nothing_running() {
    let setting = Setting::with(&ROWS, 2, Arc::default(), End::Never).await;
    let plan = setting
        .shared
        .sql(THREE)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    let mut stream = execute_stream(plan, setting.shared.task_ctx()).unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), stream.next()).await;
    assert!(waited.is_err());
    assert_eq!(setting.running.load(Ordering::SeqCst), 2);
    drop(stream);
    settle().await;
    assert_eq!(setting.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn memory_that_is_short_is_an_error_or_changes_nothing() {
    let rows: Vec<Row> = (0..4_000)
        .map(|at| (at, ["a", "b", "c"][at as usize % 3], at % 30, Some("web")))
        .collect();
    let sql = "SELECT count(*), sum(l.skipped), max(r.status) FROM journeys('sales') l JOIN journeys('sales') r ON l.who = r.who";
    let expected = {
        let setting = Setting::new(&rows, 2).await;
        rows_of(&setting.apart, sql).await.unwrap()
    };
    let mut answered = 0;
    for kib in [64, 256, 512, 1_024, 2_048, 4_096, 16_384] {
        let pool = Arc::new(GreedyMemoryPool::new(kib * 1024));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::clone(&pool) as _)
            .build_arc()
            .unwrap();
        let setting = Setting::with(&rows, 2, runtime, End::Well).await;
        match rows_of(&setting.shared, sql).await {
            Ok(found) => {
                answered += 1;
                assert_eq!(found, expected);
            }
            Err(error) => {
                let root = error.find_root();
                assert!(
                    matches!(root, DataFusionError::ResourcesExhausted(_)),
                    "{error}"
                );
            }
        }
        settle().await;
        assert_eq!(pool.reserved(), 0, "{kib} KiB");
    }
    assert!(answered > 0);
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        0..9_i64,
        prop::sample::select(vec!["a", "a", "b", "b", "c", "lost", "other"]),
        0..45_i64,
        prop::sample::select(vec![None, Some("web"), Some("展会")]),
    );
    prop::collection::vec(row, 0..50)
}

/// A query with the columns `key` and `n` over one funnel.
fn part() -> impl Strategy<Value = String> {
    let funnel = prop::sample::select(vec!["sales", "sales", "deals"]);
    let call = prop::sample::select(vec![
        "as_of => '1970-02-10'",
        "as_of => '1970-02-10', where => channel = 'web'",
        "as_of => '1970-02-10', since => '1970-01-05'",
        "as_of => '1970-02-10', counting => 'any'",
    ]);
    let filter = prop::sample::select(vec![
        "true",
        "channel = 'web'",
        "channel IN ('web', '展会')",
        "channel IS NULL",
        "status = 'won' OR channel = '展会'",
        "who > 3",
    ]);
    let shape = prop::sample::select(vec![
        "SELECT CAST(who AS text) AS key, back_moves AS n FROM journeys({}) WHERE [filter]",
        "SELECT status AS key, count(*) AS n FROM journeys({}) WHERE [filter] GROUP BY status",
        "SELECT stage AS key, count(*) AS n FROM journey_stages({}) WHERE [filter] GROUP BY stage",
        "SELECT stage AS key, entered AS n FROM stage_conversion({})",
        "SELECT segment || stage AS key, passed AS n FROM stage_conversion({}, by => 'channel')",
        "SELECT CAST(cohort AS text) AS key, k AS n FROM cohort_cycle({}, every => 'week', ages => [3, 9])",
    ]);
    (funnel, call, filter, shape).prop_map(|(funnel, call, filter, shape)| {
        shape
            .replace("{}", &format!("'{funnel}', {call}"))
            .replace("[filter]", filter)
    })
}

/// A statement of some parts.
fn statement() -> impl Strategy<Value = String> {
    (prop::collection::vec(part(), 2..4), 0..7_usize).prop_map(|(parts, shape)| {
        let (a, b) = (&parts[0], &parts[1]);
        match shape {
            0 => format!("{} ORDER BY key, n", parts.join("\nUNION ALL ")),
            1 => format!("SELECT a.key, a.n, b.n FROM ({a}) a JOIN ({b}) b ON a.key = b.key ORDER BY 1, 2, 3"),
            2 => format!("SELECT a.key, b.key, b.n FROM ({a}) a FULL JOIN ({b}) b ON a.key = b.key AND a.n < b.n ORDER BY 1, 2, 3"),
            3 => format!("SELECT key, n + (SELECT sum(n) FROM ({b}) b) FROM ({a}) a ORDER BY 1, 2"),
            4 => format!("SELECT key, n FROM ({a}) a WHERE EXISTS (SELECT 1 FROM ({b}) b WHERE b.key = a.key) ORDER BY 1, 2"),
            5 => format!("SELECT 'some', count(*) FROM (SELECT * FROM ({a}) a LIMIT 2) UNION ALL {b} ORDER BY 1, 2"),
            _ => format!("WITH a AS ({a}), b AS ({b}) SELECT * FROM a UNION SELECT * FROM b UNION SELECT a.key, b.n FROM a, b ORDER BY 1, 2"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn sharing_changes_no_result(rows in rows(), statement in statement(), partitions in 1..4_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let setting = Setting::new(&rows, partitions).await;
            let expected = rows_of(&setting.apart, &statement).await.unwrap();
            let found = rows_of(&setting.shared, &statement).await.unwrap();
            assert_eq!(found, expected, "{statement}");
        });
    }
}
