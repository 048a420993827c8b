//! Changes over the sample company, whose truths are known, and over one that nothing was changed in.

use std::sync::Arc;

use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use funnelsql::sample::{Language, SampleOptions, write_sample};
use tempfile::TempDir;

async fn session(folder: &TempDir) -> Session {
    let options = EngineOptions::new(folder.path());
    let engine: Arc<Engine> = Engine::open(options).await.unwrap();
    engine.session("analyst")
}

async fn run(session: &Session, sql: &str) {
    session
        .run(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
}

/// The first row of a review: decision, effect, lo, hi, notes.
struct Found {
    decision: String,
    effect: f64,
    lo: f64,
    hi: f64,
    notes: String,
}

async fn review(session: &Session, arguments: &str) -> Found {
    let sql = format!(
        "SELECT decision, effect, lo, hi, coalesce(notes, '') AS notes FROM review({arguments}) LIMIT 1"
    );
    let batches = session
        .query(&sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
    let mut rows = batches.iter().flat_map(|batch| text_rows(batch).unwrap());
    let row: Vec<Option<String>> = rows.next().unwrap();
    let text = |at: usize| row[at].clone().unwrap();
    let number = |at: usize| text(at).parse().unwrap();
    Found {
        decision: text(0),
        effect: number(1),
        lo: number(2),
        hi: number(3),
        notes: text(4),
    }
}

/// Call script B adds 0.08 to the probability of being activated; see the sample's page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_script_is_proven_and_its_effect_lies_in_the_interval() {
    let folder = TempDir::new().unwrap();
    let options = SampleOptions {
        language: Language::Chinese,
        ..SampleOptions::default()
    };
    write_sample(&folder.path().join("tables/crm"), &options).unwrap();
    let session = session(&folder).await;
    run(&session, include_str!("../../src/cli/demo/funnels_zh.sql")).await;
    for arguments in [
        "'话术B', as_of => '2026-07-01', age => 30",
        "'话术B', as_of => '2026-07-01', age => 30, before => '180 days'",
    ] {
        let found = review(&session, arguments).await;
        assert_eq!(found.decision, "proven", "{arguments}");
        assert!(
            found.lo <= 0.08 && 0.08 <= found.hi,
            "{arguments}: {} to {}",
            found.lo,
            found.hi
        );
    }
}

/// A funnel of two stages whose weekly rates are given, 30 journeys a day in two regions; a seed says which of them go on.
async fn company(session: &Session, name: &str, seed: u64, rate: &str) {
    let dice = format!("md5('{seed}/' || CAST(d AS text) || '/' || CAST(v AS text))");
    run(
        session,
        &format!(
            "CREATE VIEW {name}_log AS
             WITH leads AS (
               SELECT d, v, d * 1000 + v AS id, CAST(v % 2 AS text) AS region,
                 timestamptz '2026-01-05 00:00:00+00' + CAST(CAST(d AS text) || ' days' AS interval) AS at,
                 {dice} AS hex
               FROM generate_series(0, 167) AS s(d), generate_series(0, 29) AS t(v)
             ), rolled AS (
               SELECT *, (strpos('0123456789abcdef', substr(hex, 2, 1)) - 1) / 16.0
                 + (strpos('0123456789abcdef', substr(hex, 3, 1)) - 1) / 256.0
                 + (strpos('0123456789abcdef', substr(hex, 4, 1)) - 1) / 4096.0 AS dice FROM leads
             )
             SELECT id, at, 'a' AS event, region FROM rolled
             UNION ALL SELECT id, at + interval '1 day', 'b', region FROM rolled WHERE dice < ({rate});
             CREATE FUNNEL {name} ON {name}_log (ENTITY id, TIME at, STAGE a WHEN event = 'a', STAGE b WHEN event = 'b',
               DIMENSIONS (region), WINDOW INTERVAL '14 days');
             CREATE CHANGE {name}_all ON FUNNEL {name} STAGE a AT '2026-03-30';
             CREATE CHANGE {name}_one ON FUNNEL {name} STAGE a AT '2026-03-30' SEGMENT region = '1';"
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_change_little_is_proven_and_a_low_before_it_is_named() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    let mut proven = 0;
    for seed in 0..3 {
        let name = format!("null_{seed}");
        company(&session, &name, seed, "0.4").await;
        for change in ["all", "one"] {
            let found = review(
                &session,
                &format!("'{name}_{change}', as_of => '2026-09-01'"),
            )
            .await;
            proven += usize::from(found.decision == "proven");
        }
    }
    assert!(proven <= 1, "{proven} of 6 are proven");

    // Four bad weeks, then as ever: the gain is no proof, and the note says why.
    company(
        &session,
        "low",
        1,
        "CASE WHEN d BETWEEN 56 AND 83 THEN 0.25 ELSE 0.4 END",
    )
    .await;
    let found = review(
        &session,
        "'low_all', as_of => '2026-09-01', before => '56 days'",
    )
    .await;
    assert!(found.effect > 0.0);
    assert_ne!(found.decision, "proven");
    assert!(
        found.notes.contains("regression to the mean"),
        "{}",
        found.notes
    );

    // The same low of one region only, beside one that did nothing.
    company(
        &session,
        "dip",
        2,
        "CASE WHEN region = '1' AND d BETWEEN 56 AND 83 THEN 0.25 ELSE 0.4 END",
    )
    .await;
    let found = review(&session, "'dip_one', as_of => '2026-09-01'").await;
    assert_ne!(found.decision, "proven");
    assert!(
        found.notes.contains("regression to the mean"),
        "{}",
        found.notes
    );

    company(
        &session,
        "real",
        3,
        "CASE WHEN region = '1' AND d >= 84 THEN 0.5 ELSE 0.4 END",
    )
    .await;
    let found = review(&session, "'real_one', as_of => '2026-09-01'").await;
    assert_eq!(found.decision, "proven");
    assert!(
        found.lo <= 0.1 && 0.1 <= found.hi,
        "{} {}",
        found.lo,
        found.hi
    );
}
