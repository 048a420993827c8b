//! `first_touch` and `last_touch` of a channel, beside the `first_value` that they replace.
//!
//! 1 million rows of 83 334 entities, 12 each on average, generated from a fixed seed; one row of 5 has no
//! channel, the others one of 8, each half as often as the one before. As a log is written, rows come in the
//! order of time; `shuffled` has them in none, and `pages` has a text of its own in each row. The peer is
//! `first_value(… ORDER BY …) FILTER (…)`, the floor the least that any GROUP BY costs: `max(ts)`.

// A bench that can't run has nobody to tell, and criterion_group! makes a function without a page.
#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_funnel::UTC;
use datafusion_funnel::aggregate::touch::{first_touch_udaf, last_touch_udaf};
use tokio::runtime::Runtime;

const ROWS: usize = 1_000_000;
const ROWS_PER_ENTITY: usize = 12;
const BATCH_ROWS: usize = 8_192;
const PARTITIONS: usize = 2;
const CHANNELS: [&str; 8] = [
    "search", "ads", "direct", "email", "referral", "搜索", "social", "partner",
];

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
    channel: Option<&'static str>,
}

fn rows(random: &mut Random) -> Vec<Row> {
    let entities = ROWS.div_ceil(ROWS_PER_ENTITY);
    let row = |number: usize| {
        // Trailing zeros of a random number are the halving frequencies.
        let channel = (random.below(usize::MAX) | 1 << 7).trailing_zeros() as usize;
        Row {
            entity: random.below(entities) as i64,
            // Two rows of each time, so that there are ties.
            time_us: (number / 2) as i64 * 1_000_000,
            channel: (random.below(5) > 0).then_some(CHANNELS[channel]),
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
    let entities = Int64Array::from_iter_values(rows.iter().map(|row| row.entity));
    let channels = rows.iter().map(|row| row.channel).collect::<StringArray>();
    let page = |row: &Row| format!("/page/{}/{}", row.time_us, row.entity);
    let pages = StringArray::from_iter_values(rows.iter().map(page));
    let columns: [(&str, ArrayRef); 4] = [
        ("entity", Arc::new(entities)),
        ("ts", Arc::new(times.with_timezone(UTC))),
        ("channel", Arc::new(channels)),
        ("page", Arc::new(pages)),
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
    context.register_udaf(first_touch_udaf().as_ref().clone());
    context.register_udaf(last_touch_udaf().as_ref().clone());
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

fn touch(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let context = session().expect("the tables can be built");
    let mut group = criterion.benchmark_group("touch");
    group
        .throughput(Throughput::Elements(ROWS as u64))
        .sample_size(20);
    for source in ["in_order", "shuffled"] {
        for (name, call) in [
            ("first_touch", "first_touch(channel, ts)"),
            ("last_touch", "last_touch(channel, ts)"),
            ("last_touch, pages", "last_touch(page, ts)"),
            (
                "peer: first_value",
                "first_value(channel ORDER BY ts, channel) FILTER (WHERE channel IS NOT NULL)",
            ),
            ("floor: max(ts)", "max(ts)"),
        ] {
            let sql = format!("SELECT entity, {call} FROM {source} GROUP BY entity");
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

criterion_group!(benches, touch);
criterion_main!(benches);
