//! `journey` over an event log, beside a plain aggregate over the same rows.
//!
//! 1 million rows of 83 334 entities, 12 each on average, generated from a fixed seed. Two rows of three
//! enter no stage; the others enter one of 6, each half as often as the one before; one row of 60 is lost,
//! for one of 8 reasons. As a log is written, rows come in the order of time; `shuffled` has them in none.
//! The peer is the least that any GROUP BY of these rows costs: `count(*)` and `max(ts)`.

// A bench that can't run has nobody to tell, and criterion_group! makes a function without a page.
#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_funnel::UTC;
use datafusion_funnel::aggregate::journey::journey_udaf;
use tokio::runtime::Runtime;

const ROWS: usize = 1_000_000;
const ROWS_PER_ENTITY: usize = 12;
const BATCH_ROWS: usize = 8_192;
const PARTITIONS: usize = 2;

/// Steele and Vigna's SplitMix64, so that the rows are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

struct Row {
    entity: i64,
    time_us: i64,
    stages: u64,
    reason: Option<String>,
}

fn rows(random: &mut Random) -> Vec<Row> {
    let entities = ROWS.div_ceil(ROWS_PER_ENTITY);
    let row = |number: usize| {
        // Trailing zeros of a random number are the halving frequencies.
        let stage = (random.below(usize::MAX) | 1 << 5).trailing_zeros();
        Row {
            entity: random.below(entities) as i64,
            time_us: number as i64 * 1_000_000,
            stages: if random.below(3) == 0 { 1 << stage } else { 0 },
            reason: (random.below(60) == 0).then(|| format!("reason {}", random.below(8))),
        }
    };
    (0..ROWS).map(row).collect()
}

fn shuffle(rows: &mut [Row], random: &mut Random) {
    for last in (1..rows.len()).rev() {
        rows.swap(last, random.below(last + 1));
    }
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.time_us));
    let lost = rows
        .iter()
        .map(|row| Some(row.reason.is_some()))
        .collect::<BooleanArray>();
    let reasons = rows
        .iter()
        .map(|row| row.reason.as_deref())
        .collect::<StringArray>();
    let columns: [(&str, ArrayRef); 5] = [
        (
            "entity",
            Arc::new(Int64Array::from_iter_values(
                rows.iter().map(|row| row.entity),
            )),
        ),
        ("ts", Arc::new(times.with_timezone(UTC))),
        (
            "stages",
            Arc::new(UInt64Array::from_iter_values(
                rows.iter().map(|row| row.stages),
            )),
        ),
        ("lost", Arc::new(lost)),
        ("reason", Arc::new(reasons)),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )?)
}

fn table(rows: &[Row]) -> Result<MemTable> {
    let mut partitions = vec![Vec::new(); PARTITIONS];
    for (number, rows) in rows.chunks(BATCH_ROWS).enumerate() {
        partitions[number % PARTITIONS].push(batch(rows)?);
    }
    MemTable::try_new(partitions[0][0].schema(), partitions)
}

fn session() -> Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let context = SessionContext::new_with_config(config);
    context.register_udaf(journey_udaf().as_ref().clone());
    let mut random = Random(1);
    let mut rows = rows(&mut random);
    context.register_table("in_order", Arc::new(table(&rows)?))?;
    shuffle(&mut rows, &mut random);
    context.register_table("shuffled", Arc::new(table(&rows)?))?;
    Ok(context)
}

async fn run(context: &SessionContext, sql: &str) -> Result<usize> {
    let batches = context.sql(sql).await?.collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

fn journey(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let context = session().expect("the tables can be built");
    let mut group = criterion.benchmark_group("journey");
    group
        .throughput(Throughput::Elements(ROWS as u64))
        .sample_size(20);
    for source in ["in_order", "shuffled"] {
        let journey = |counting: &str| {
            format!(
                "SELECT entity, journey(ts, stages, lost, reason, '{counting}', INTERVAL '180 days', 6) \
                 FROM {source} GROUP BY entity"
            )
        };
        let queries = [
            ("ordered", journey("ordered")),
            ("strict", journey("strict")),
            ("any", journey("any")),
            (
                "peer: count(*), max(ts)",
                format!("SELECT entity, count(*), max(ts) FROM {source} GROUP BY entity"),
            ),
        ];
        for (name, sql) in queries {
            group.bench_function(format!("{source}/{name}"), |bencher| {
                bencher.iter(|| {
                    let rows = runtime.block_on(run(&context, &sql));
                    black_box(rows.expect("the query runs"))
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, journey);
criterion_main!(benches);
