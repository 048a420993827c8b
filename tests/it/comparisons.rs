//! A/B tests over the sample company: its planted truths are found, and nothing else is.

use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use funnelsql::sample::truths::SCRIPT_B_ACTIVATION_LIFT;
use funnelsql::sample::{SampleOptions, write_sample};
use tempfile::TempDir;

async fn sample(folder: &TempDir) -> Session {
    write_sample(&folder.path().join("tables/crm"), &SampleOptions::default()).unwrap();
    let engine = Engine::open(EngineOptions::new(folder.path())).await;
    let session = engine.unwrap().session("analyst");
    let funnels = include_str!("../../src/cli/demo/funnels_en.sql");
    session.run(funnels).await.unwrap();
    session
}

/// The cells of all rows, as text.
async fn rows(session: &Session, sql: &str) -> Vec<Vec<String>> {
    let batches = session.query(sql).await;
    let batches = batches.unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
    let rows = batches.iter().flat_map(|batch| text_rows(batch).unwrap());
    rows.map(|row| row.into_iter().map(Option::unwrap_or_default).collect())
        .collect()
}

const CHANNELS: &str = "'sales', by => 'channel', baseline => 'paid_search', stage => 'activated', metric => 'qualified', as_of => '2026-07-01'";

/// Truths 1 and 2: referral is better; webinar only has other leads. No other channel has an effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_better_channel_is_told_from_the_one_that_only_looks_better() {
    let folder = TempDir::new().unwrap();
    let session = sample(&folder).await;
    for mode in ["sequential", "fixed", "bayes"] {
        let found = rows(
            &session,
            &format!("SELECT arm, decision FROM ab_test({CHANNELS}, mode => '{mode}')"),
        )
        .await;
        for row in &found {
            let expected = match row[0].as_str() {
                "paid_search" => "baseline",
                "referral" => "winner",
                "webinar" => "mix_only",
                _ => "keep_running",
            };
            assert_eq!(row[1], expected, "{mode}: {row:?}");
        }
        assert_eq!(found.len(), 6, "{mode}");
    }
    // A number leads to as many journeys.
    let keyed = rows(
        &session,
        &format!("SELECT drill_key, n, k FROM ab_test({CHANNELS}) WHERE arm = 'webinar'"),
    )
    .await;
    let key = &keyed[0][0];
    for (of, expected) in [("n", &keyed[0][1]), ("k", &keyed[0][2])] {
        let sql = format!(
            "SELECT count(*), count(DISTINCT channel), min(channel) FROM funnel_drill('{key}', of => '{of}')"
        );
        let drilled = rows(&session, &sql).await;
        assert_eq!(&drilled[0][0], expected, "{of}");
        assert_eq!(drilled[0][1..], ["1", "webinar"]);
    }
}

/// Truth 5: script B adds 0.08 to the probability of being activated, and changes nothing after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_script_works_and_its_effect_lies_in_the_interval() {
    let folder = TempDir::new().unwrap();
    let session = sample(&folder).await;
    let script = "'sales', assignment => 'call_script', baseline => 'A', as_of => '2026-07-01'";
    for mode in ["sequential", "fixed", "bayes"] {
        let found = rows(
            &session,
            &format!(
                "SELECT decision, diff_lo, diff_hi, adjusted_lo, adjusted_hi
                 FROM ab_test({script}, metric => 'activated', age => 30, mode => '{mode}') WHERE arm = 'B'"
            ),
        )
        .await;
        assert_eq!(found[0][0], "winner", "{mode}");
        let limits: Vec<f64> = found[0][1..]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        for pair in limits.chunks(2) {
            assert!(
                pair[0] <= SCRIPT_B_ACTIVATION_LIFT && SCRIPT_B_ACTIVATION_LIFT <= pair[1],
                "{mode}: {pair:?}"
            );
        }
    }
    let after = rows(
        &session,
        &format!("SELECT decision FROM ab_test({script}, stage => 'activated', metric => 'qualified') WHERE arm = 'B'"),
    )
    .await;
    assert_eq!(after[0][0], "keep_running");
}
