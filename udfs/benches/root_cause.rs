//! `root_cause` of six dimensions of 1,000 values each, beside the plain `GROUP BY GROUPING SETS` of the same dimensions.
//!
//! 10 million rows, each a lead with whether it won, from a fixed formula; the first dimension's value 7 wins less in the second period. The
//! bar is three times the plain grouping. Run: `cargo bench --workspace --bench root_cause`.

// A bench that can't run has nobody to tell, and criterion_group! makes a function without a page.
#![allow(clippy::expect_used, missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Runtime;

const ROWS: usize = 10_000_000;
const PARTITIONS: usize = 2;

const DIMENSIONS: [&str; 6] = ["d1", "d2", "d3", "d4", "d5", "d6"];

/// The rows: each dimension by another multiplier, so that all combinations happen.
fn table() -> String {
    let primes = [
        7_919, 104_729, 15_485_863, 32_452_843, 49_979_687, 67_867_967,
    ];
    let dimensions: Vec<String> = DIMENSIONS
        .iter()
        .zip(primes)
        .map(|(name, prime)| format!("CAST(v * {prime} % 1000003 % 1000 AS int) AS {name}"))
        .collect();
    format!(
        "CREATE TABLE leads AS SELECT *, CAST(CASE WHEN period = 2 AND d1 = 7 THEN 0 ELSE won END AS bigint) AS k, CAST(1 AS bigint) AS n \
         FROM (SELECT {}, CAST(1 + v % 2 AS int) AS period, v * 2654435761 % 1000003 % 3 / 2 AS won FROM generate_series(1, {ROWS}) AS s(v)) AS made",
        dimensions.join(", ")
    )
}

fn root_cause(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let context = SessionContext::new_with_config(config);
    datafusion_funnel::register_all(&context).expect("the functions");
    let run = |sql: &str| {
        runtime.block_on(async {
            let rows = context.sql(sql).await.expect("a plan");
            black_box(rows.collect().await.expect("rows"))
        })
    };
    run(&table());
    let names = DIMENSIONS.map(|name| format!("'{name}'")).join(", ");
    let sets = DIMENSIONS.map(|name| format!("({name})")).join(", ");
    let cause = format!(
        "SELECT * FROM root_cause((SELECT * FROM leads), dims => [{names}], period => 'period', k => 'k', n => 'n', base => '1', current => '2')"
    );
    let columns = DIMENSIONS.join(", ");
    let grouping =
        format!("SELECT {columns}, count(*), sum(k) FROM leads GROUP BY GROUPING SETS ({sets})");
    let mut group = criterion.benchmark_group("root_cause");
    group.sample_size(10);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("root_cause", |bencher| bencher.iter(|| run(&cause)));
    group.bench_function("grouping_sets", |bencher| bencher.iter(|| run(&grouping)));
    group.finish();
}

criterion_group!(benches, root_cause);
criterion_main!(benches);
