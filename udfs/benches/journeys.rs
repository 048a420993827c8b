//! `journeys` and `stage_conversion` over an event log, beside a plain aggregate of the same rows.
//!
//! 1 million rows of 83 334 entities, 12 each on average, in the order of time: 12 event names, of which six
//! are stages at 10, 8, 6, 4, 3 and 2 % of the rows, one is a loss (2 %); a channel on every row. The floor is
//! the least that any GROUP BY of these rows costs: `count(*)` and `max(at)`.
//!
//! `shared`: three functions over one funnel in one statement, which computes its journeys once, beside the same three in
//! a statement each; over the log and over a wide table of its 83 334 entities.

// A bench that can't run has nobody to tell, and criterion_group! makes a function without a page.
#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::arrow::array::RecordBatch;
use datafusion::error::Result;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_funnel::definition::model::{
    Counting, Dimension, FunnelDefinition, Interval, LostDefinition, Source, StageDefinition,
};
use tokio::runtime::Runtime;

const ROWS: u64 = 1_000_000;
const PARTITIONS: usize = 2;
const STAGES: [&str; 6] = [
    "acquired",
    "activated",
    "qualified",
    "proposed",
    "negotiating",
    "won",
];

/// The multipliers are primes, so that entities, events and channels don't go together.
const LOG: &str = "CREATE TABLE log AS
SELECT (value * 7919) % 83334 AS who, to_timestamp(1700000000 + value * 8) AS at,
  CASE WHEN draw < 10 THEN 'acquired' WHEN draw < 18 THEN 'activated' WHEN draw < 24 THEN 'qualified'
       WHEN draw < 28 THEN 'proposed' WHEN draw < 31 THEN 'negotiating' WHEN draw < 33 THEN 'won'
       WHEN draw < 35 THEN 'lost' ELSE 'event ' || (draw % 5) END AS what,
  'channel ' || ((value * 7919) % 83334 % 8) AS channel
FROM (SELECT value, (value * 40503 / 97) % 100 AS draw FROM generate_series(0, 999999))";

async fn session() -> Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let context = SessionContext::new_with_config(config);
    let funnels = datafusion_funnel::register_all(&context)?;
    context.sql(LOG).await?.collect().await?;
    funnels.define(&context, definition()?).await?;
    context.sql(&deals()).await?.collect().await?;
    funnels.define(&context, wide()?).await?;
    Ok(context)
}

fn definition() -> Result<FunnelDefinition> {
    let when = |what: &str| Some(format!("what = '{what}'"));
    let stages = STAGES.iter().map(|name| StageDefinition {
        name: (*name).to_owned(),
        when: when(name),
        at: None,
        within: None,
    });
    Ok(FunnelDefinition {
        name: "sales".to_owned(),
        source: Source::Table("log".to_owned()),
        entity: "who".to_owned(),
        time: Some("at".to_owned()),
        stages: stages.collect(),
        lost: Some(LostDefinition {
            when: when("lost"),
            at: None,
            reason: None,
        }),
        value: None,
        owner: None,
        dimensions: vec![Dimension {
            name: "channel".to_owned(),
            expression: "channel".to_owned(),
        }],
        window: Some(Interval::parse("14 days")?),
        counting: Counting::Ordered,
        related: Vec::new(),
        comment: None,
    })
}

/// The same deals in a row each.
fn wide() -> Result<FunnelDefinition> {
    let stages = STAGES.iter().map(|name| StageDefinition {
        name: (*name).to_owned(),
        when: None,
        at: Some(format!("{name}_on")),
        within: None,
    });
    Ok(FunnelDefinition {
        name: "wide".to_owned(),
        source: Source::Table("deals".to_owned()),
        time: None,
        stages: stages.collect(),
        lost: Some(LostDefinition {
            when: None,
            at: Some("lost_on".to_owned()),
            reason: None,
        }),
        ..definition()?
    })
}

fn deals() -> String {
    let first = |name: &&str| format!("min(at) FILTER (WHERE what = '{name}') AS {name}_on");
    let times: Vec<String> = STAGES.iter().chain(&["lost"]).map(first).collect();
    let times = times.join(", ");
    format!(
        "CREATE TABLE deals AS SELECT who, min(channel) AS channel, {times} FROM log GROUP BY who"
    )
}

async fn run(context: &SessionContext, sql: &str) -> Result<usize> {
    let batches = context.sql(sql).await?.collect().await?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum())
}

fn journeys(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let context = runtime.block_on(session()).expect("the table can be built");
    let mut group = criterion.benchmark_group("journeys");
    group.throughput(Throughput::Elements(ROWS)).sample_size(20);
    for (name, sql) in [
        ("journeys", "SELECT * FROM journeys('sales')"),
        (
            "journeys without the dimension",
            "SELECT who, status, won_at FROM journeys('sales')",
        ),
        (
            "journeys of one channel",
            "SELECT * FROM journeys('sales') WHERE channel = 'channel 3'",
        ),
        (
            "journeys of one channel, filtered afterwards",
            "SELECT * FROM (SELECT * FROM journeys('sales') LIMIT 10000000) WHERE channel = 'channel 3'",
        ),
        (
            "stage_conversion",
            "SELECT * FROM stage_conversion('sales')",
        ),
        (
            "stage_conversion by channel",
            "SELECT * FROM stage_conversion('sales', by => 'channel')",
        ),
        (
            "floor: count(*), max(at)",
            "SELECT who, count(*), max(at) FROM log GROUP BY who",
        ),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let rows = runtime.block_on(run(&context, sql));
                black_box(rows.expect("the query runs"))
            });
        });
    }
    group.finish();
}

fn shared(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let context = runtime.block_on(session()).expect("the table can be built");
    let mut group = criterion.benchmark_group("shared");
    group.sample_size(20);
    for funnel in ["sales", "wide"] {
        let statements = [
            format!("SELECT stage, entered FROM stage_conversion('{funnel}')"),
            format!("SELECT segment, n FROM cohort_cycle('{funnel}', every => 'month')"),
            format!("SELECT status, count(*) FROM journeys('{funnel}') GROUP BY status"),
        ];
        let one = [statements.join(" UNION ALL ")];
        for (name, statements) in [
            ("in one statement", &one[..]),
            ("in three", &statements[..]),
        ] {
            group.bench_function(format!("{funnel}, {name}"), |bencher| {
                bencher.iter(|| {
                    for sql in statements {
                        let rows = runtime.block_on(run(&context, sql));
                        black_box(rows.expect("the query runs"));
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, journeys, shared);
criterion_main!(benches);
