//! What DataFusion makes of the table functions: filters reach the scan, EXPLAIN shows the way.

use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use tempfile::TempDir;

/// A session over the sample company, with one funnel of each shape.
async fn session(folder: &TempDir) -> Session {
    let tables = folder.path().join("tables/crm");
    let options = funnelsql::sample::SampleOptions {
        leads: 600,
        ..Default::default()
    };
    funnelsql::sample::write_sample(&tables, &options).expect("sample data");
    let engine = Engine::open(EngineOptions::new(folder.path()))
        .await
        .expect("an engine");
    let session = engine.session("analyst");
    session
        .run(
            "CREATE FUNNEL log ON crm.events (
               ENTITY lead_id, TIME occurred_at,
               STAGE acquired WHEN event = 'lead_created', STAGE proposed WHEN event = 'proposal_sent',
               STAGE won WHEN event = 'contract_signed', LOST WHEN event = 'lost' REASON lost_reason,
               VALUE amount, DIMENSIONS (channel, region), WINDOW INTERVAL '180 days');
             CREATE FUNNEL wide ON crm.deals (
               ENTITY lead_id, STAGE acquired AT acquired_on, STAGE proposed AT proposed_on,
               STAGE won AT won_on, LOST AT lost_on REASON lost_reason,
               VALUE amount, DIMENSIONS (channel, region), WINDOW INTERVAL '180 days')",
        )
        .await
        .expect("two funnels");
    session
}

async fn rows(session: &Session, sql: &str) -> Vec<Vec<Option<String>>> {
    let batches = session
        .query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    batches
        .iter()
        .flat_map(|batch| text_rows(batch).expect("text"))
        .collect()
}

async fn explained(session: &Session, sql: &str) -> String {
    let rows = rows(session, &format!("EXPLAIN {sql}")).await;
    rows.into_iter()
        .flatten()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

/// The lines of a plan that read a file.
fn scans(plan: &str) -> Vec<&str> {
    plan.lines()
        .filter(|line| line.contains("DataSourceExec") && line.contains("parquet"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_on_a_dimension_reaches_the_scan() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    for funnel in ["log", "wide"] {
        for query in [
            format!("SELECT * FROM journeys('{funnel}') WHERE channel = 'webinar'"),
            format!(
                "SELECT * FROM stage_conversion('{funnel}', by => 'channel') WHERE channel = 'webinar'"
            ),
            format!("SELECT * FROM stage_conversion('{funnel}', where => channel = 'webinar')"),
            format!(
                "SELECT * FROM cohort_cycle('{funnel}', by => 'channel') WHERE channel = 'webinar'"
            ),
        ] {
            let plan = explained(&session, &query).await;
            let pruned = scans(&plan).iter().any(|scan| {
                scan.contains("channel_min")
                    && scan.contains("webinar")
                    && scan.contains("predicate=")
            });
            assert!(pruned, "{query}\n{plan}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_outside_gives_the_rows_that_a_filter_of_all_of_them_gives() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    let filters = [
        "channel = 'webinar'",
        "channel IN ('webinar', 'partner') AND region = 'south'",
        "channel = 'webinar' OR region = 'south'",
        "channel IS NULL OR region IS NULL",
        "region = 'south' AND status = 'lost' AND value > 1000",
        "channel <> 'webinar'",
    ];
    for funnel in ["log", "wide"] {
        for filter in filters {
            let asked = format!("SELECT * FROM journeys('{funnel}', as_of => '2026-07-01')");
            let pushed = rows(
                &session,
                &format!("{asked} WHERE {filter} ORDER BY lead_id"),
            )
            .await;
            // LIMIT keeps a filter from being pushed below it.
            let held = rows(
                &session,
                &format!("SELECT * FROM ({asked} LIMIT 1000000) WHERE {filter} ORDER BY lead_id"),
            )
            .await;
            assert_eq!(pushed, held, "{funnel}: {filter}");
            assert!(!pushed.is_empty(), "{funnel}: {filter} tests nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_on_the_entity_and_as_of_reach_the_scan() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    let plan = explained(
        &session,
        "SELECT * FROM journeys('log', as_of => '2025-03-01') WHERE lead_id = 17",
    )
    .await;
    let scan = scans(&plan);
    assert!(
        scan.iter().any(|line| line.contains("lead_id_min")),
        "{plan}"
    );
    assert!(
        scan.iter().any(|line| line.contains("occurred_at_min")),
        "{plan}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_the_journeys_inside_and_reads_only_what_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    let plan = explained(
        &session,
        "SELECT stage, entered FROM stage_conversion('log')",
    )
    .await;
    assert!(
        plan.contains("aggr=[__journey]") && plan.contains("Unnest"),
        "{plan}"
    );
    // Rows that enter no stage and aren't lost aren't sent on.
    let idle = plan.find("!= 0 OR ");
    assert!(
        idle > plan.find("RepartitionExec: partitioning=Hash([__entity"),
        "{plan}"
    );
    let scan = scans(&plan).join("\n");
    assert!(
        scan.contains("event") && !scan.contains("amount") && !scan.contains("region"),
        "{scan}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_over_one_funnel_in_one_statement_read_it_once() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    for funnel in ["log", "wide"] {
        let functions = [
            format!(
                "SELECT stage, entered FROM stage_conversion('{funnel}', as_of => '2026-07-01')"
            ),
            format!(
                "SELECT segment, k FROM cohort_cycle('{funnel}', by => 'channel', as_of => '2026-07-01')"
            ),
            format!(
                "SELECT region, count(*) FROM journeys('{funnel}', as_of => '2026-07-01') GROUP BY region"
            ),
        ];
        let together = functions.join(" UNION ALL ");
        let plan = explained(&session, &together).await;
        let shared = plan.matches("SharedExec: id=1, references=3").count();
        assert_eq!((shared, scans(&plan).len()), (3, 1), "{plan}");
        // Of the columns, those that some function asks for.
        let scan = scans(&plan).join("\n");
        assert!(
            scan.contains("channel") && scan.contains("region"),
            "{scan}"
        );
        assert!(!scan.contains("amount"), "{scan}");

        let mut expected = Vec::new();
        for function in &functions {
            let plan = explained(&session, function).await;
            assert!(!plan.contains("Shared"), "{plan}");
            expected.extend(rows(&session, function).await);
        }
        expected.sort();
        let mut found = rows(&session, &together).await;
        found.sort();
        assert_eq!(found, expected, "{funnel}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_all_references_share_reaches_the_scan() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    for funnel in ["log", "wide"] {
        let query = format!(
            "SELECT stage, entered FROM stage_conversion('{funnel}', where => channel = 'webinar')
             UNION ALL SELECT status, 1 FROM journeys('{funnel}') WHERE channel = 'webinar' AND region = 'south'"
        );
        let plan = explained(&session, &query).await;
        assert!(plan.contains("SharedExec"), "{plan}");
        let is_pruned = |scan: &&str| scan.contains("channel_min") && scan.contains("webinar");
        assert!(scans(&plan).iter().any(is_pruned), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_statement_reads_what_is_there_when_it_runs() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    session
        .run(
            "CREATE TABLE moves AS SELECT lead_id, event, occurred_at FROM crm.events WHERE lead_id <= 100;
             CREATE FUNNEL few ON moves (
               ENTITY lead_id, TIME occurred_at, STAGE acquired WHEN event = 'lead_created', STAGE won WHEN event = 'contract_signed');
             PREPARE twice AS SELECT (SELECT count(*) FROM journeys('few')) AS all_of_them, entered
               FROM stage_conversion('few') WHERE stage = 'acquired'",
        )
        .await
        .expect("a table, a funnel and a statement");
    let before = rows(&session, "EXECUTE twice").await;
    assert_eq!(before[0][0], before[0][1]);
    session
        .run("INSERT INTO moves VALUES (1000001, 'lead_created', '2025-05-05')")
        .await
        .expect("a row more");
    let after = rows(&session, "EXECUTE twice").await;
    assert_eq!(after[0][0], after[0][1]);
    assert_ne!(before, after);
}

/// The three shapes of one company tell the same story, as far as their records do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_log_and_a_wide_table_of_the_same_deals_agree() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    let asked = |funnel: &str| {
        format!(
            "SELECT channel, stage, entered FROM stage_conversion('{funnel}', by => 'channel',
             as_of => '2026-07-01', counting => 'any') ORDER BY 1, stage_no"
        )
    };
    let log = rows(&session, &asked("log")).await;
    let wide = rows(&session, &asked("wide")).await;
    assert_eq!(log, wide);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_a_call_is_placed_at_its_argument() {
    let folder = TempDir::new().unwrap();
    let session = session(&folder).await;
    for (query, fault) in [
        ("SELECT * FROM stage_conversion('lag')", "'lag'"),
        (
            "SELECT * FROM stage_conversion('log', by => 'chanel', as_of => now())",
            "'chanel'",
        ),
        (
            "SELECT '漏斗' FROM journeys('log', since => 'soon')",
            "'soon'",
        ),
        (
            "SELECT * FROM journeys('log', sinse => '2026-01-01')",
            "sinse",
        ),
        (
            "SELECT * FROM cohort_cycle('log', stage => 'one', by => 'channel')",
            "'one'",
        ),
        (
            "SELECT * FROM journeys('log', where => chanel = 'x')",
            "chanel",
        ),
        ("SELECT stag FROM stage_conversion('log')", "stag"),
        ("SELECT 1\nFROM nowhere", "nowhere"),
    ] {
        let error = session.query(query).await.unwrap_err();
        let before = query.find(fault).unwrap();
        let position = query[..before].chars().count() + 1;
        assert_eq!(error.position(), Some(position), "{query}: {error}");
        assert!(error.hint().is_some(), "{query}: {error}");
    }
}
