//! What a data directory keeps, and what it says of files that are gone, broken or somebody else's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use funnelsql::error::Error;
use tempfile::TempDir;

const EVENTS: &str = "\
id,event,at,channel
1,a,2026-01-01T00:00:00Z,web
1,b,2026-01-02T00:00:00Z,web
2,a,2026-01-03T00:00:00Z,展会
";

/// A data directory, and a folder of files beside it.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            root: TempDir::new().unwrap(),
        };
        fs::create_dir(place.file("files")).unwrap();
        place.write("files/events.csv", EVENTS);
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    /// Where a funnel is kept.
    fn funnel_file(&self, name: &str) -> String {
        format!("data/catalog/funnels/{name}.json")
    }

    /// An engine of its own, as after a restart.
    async fn open(&self) -> Session {
        let engine: Arc<Engine> = Engine::open(EngineOptions::new(self.file("data")))
            .await
            .unwrap();
        engine.session("analyst")
    }

    /// `CREATE EXTERNAL TABLE` over a file of `files`.
    fn table(&self, create: &str, file: &str) -> String {
        let location = self.file("files").join(file);
        format!(
            "CREATE {create} STORED AS CSV LOCATION '{}{}' OPTIONS ('format.has_header' 'true');",
            location.display(),
            if location.is_dir() { "/" } else { "" },
        )
    }
}

fn funnel(create: &str, source: &str) -> String {
    format!(
        "CREATE {create} ON {source} (
           ENTITY id, TIME at, STAGE a WHEN event = 'a', STAGE b WHEN event = 'b', DIMENSIONS (channel)
         );"
    )
}

async fn run(session: &Session, sql: &str) {
    session
        .run(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
}

/// The rows, with their values between bars and `-` for NULL.
async fn rows(session: &Session, sql: &str) -> Vec<String> {
    let batches = session
        .query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}\n{}: {error}", error.code()));
    let rows = batches.iter().flat_map(|batch| text_rows(batch).unwrap());
    rows.map(|row| {
        row.into_iter()
            .map(|v| v.unwrap_or_else(|| "-".to_owned()))
            .collect::<Vec<_>>()
            .join("|")
    })
    .collect()
}

async fn check(session: &Session, sql: &str, expected: &[&str]) {
    assert_eq!(rows(session, sql).await, expected, "{sql}");
}

/// The error has this code, and its message names `part`.
async fn refused(session: &Session, sql: &str, code: &str, part: &str) -> Error {
    let error = match session.query(sql).await {
        Ok(_) => panic!("no error: {sql}"),
        Err(error) => error,
    };
    assert_eq!(error.code(), code, "{sql}\n{error}");
    assert!(error.to_string().contains(part), "{sql}\n{error}");
    error
}

const COUNTS: &str = "SELECT channel, stage, entered, passed FROM stage_conversion('f', by => 'channel') ORDER BY 1, 2";

#[tokio::test]
async fn definitions_survive_a_restart_and_queries_give_the_same_rows() {
    let place = Place::new();
    let queries = [
        "SELECT * FROM crm.events ORDER BY id, at",
        "SELECT * FROM crm.web ORDER BY at",
        "SELECT * FROM \"视图\" ORDER BY at",
        COUNTS,
        "SELECT * FROM stage_conversion('销售 漏斗', as_of => '2026-02-01')",
        "SELECT * FROM journeys('Ünïcode \"f\"', as_of => '2026-02-01') ORDER BY id",
        "SELECT * FROM journeys.f ORDER BY id",
        "SELECT * FROM funnel.funnels ORDER BY 1",
        "SELECT * FROM funnel.stages ORDER BY 1, 2",
        "SHOW FUNNELS",
        "SHOW CREATE FUNNEL \"销售 漏斗\"",
        "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1, 2",
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'crm' ORDER BY 1, 2",
    ];
    let session = place.open().await;
    // Each needs the one before: made again in another order, they would fail. The names sort otherwise.
    run(&session, "CREATE SCHEMA crm;").await;
    run(
        &session,
        &place.table("EXTERNAL TABLE crm.events", "events.csv"),
    )
    .await;
    run(
        &session,
        "CREATE VIEW crm.web AS SELECT * FROM crm.events WHERE channel = 'web';",
    )
    .await;
    run(
        &session,
        "CREATE VIEW \"视图\" AS SELECT * FROM crm.web WHERE event = 'a';",
    )
    .await;
    run(&session, &funnel("FUNNEL f", "crm.events")).await;
    run(&session, &funnel("FUNNEL \"销售 漏斗\"", "crm.web")).await;
    run(
        &session,
        &funnel(
            "FUNNEL \"Ünïcode \"\"f\"\"\"",
            "(SELECT * FROM crm.events WHERE id > 0)",
        ),
    )
    .await;
    run(
        &session,
        "COMMENT ON FUNNEL \"销售 漏斗\" IS '主漏斗, it''s the main one'",
    )
    .await;
    let mut before = Vec::new();
    for query in queries {
        before.push(rows(&session, query).await);
    }
    assert_eq!(
        before[3],
        ["web|a|1|1", "web|b|1|1", "展会|a|1|0", "展会|b|0|0"]
    );
    drop(session);
    for start in 1..=2 {
        let session = place.open().await;
        for (query, before) in queries.iter().zip(&before) {
            assert_eq!(
                &rows(&session, query).await,
                before,
                "start {start}: {query}"
            );
        }
    }
}

#[tokio::test]
async fn changes_and_their_reviews_survive_a_restart() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, &funnel("FUNNEL \"销售\"", "events")).await;
    run(
        &session,
        "CREATE CHANGE \"新 话术.1\" ON FUNNEL \"销售\" STAGE a AT '2026-01-02' SEGMENT (channel = '展会') NOTE '试点';
         CREATE CHANGE gone ON FUNNEL \"销售\" STAGE a AT '2026-01-02';
         REVIEW CHANGE \"新 话术.1\" AS OF '2026-02-01' AGE '7 days';
         REVIEW CHANGE \"新 话术.1\" AS OF '2026-03-01' AGE '7 days' LANG 'zh';
         DROP CHANGE gone;",
    )
    .await;
    let queries = [
        "SELECT * FROM funnel.changes",
        "SELECT * FROM funnel.reviews ORDER BY review_no",
        "SHOW CHANGES",
        "SHOW CREATE CHANGE \"新 话术.1\"",
        "SELECT * FROM review('新 话术.1', as_of => '2026-02-01', age => 7)",
    ];
    let mut before = Vec::new();
    for query in queries {
        before.push(rows(&session, query).await);
    }
    assert_eq!((before[0].len(), before[1].len()), (1, 2));
    drop(session);
    // A crash while another change was written, and one whose file is broken: the others are there.
    place.write("data/catalog/changes/half.half", "{");
    place.write("data/catalog/changes/broken.json", "{");
    let session = place.open().await;
    for (query, before) in queries.iter().zip(&before) {
        assert_eq!(&rows(&session, query).await, before, "{query}");
    }
}

#[tokio::test]
async fn a_drop_survives_a_restart() {
    let place = Place::new();
    let session = place.open().await;
    run(&session, "CREATE SCHEMA crm; CREATE SCHEMA lab;").await;
    for table in ["crm.events", "events", "lab.events"] {
        run(
            &session,
            &place.table(&format!("EXTERNAL TABLE {table}"), "events.csv"),
        )
        .await;
    }
    run(
        &session,
        "CREATE VIEW v AS SELECT * FROM events; CREATE VIEW w AS SELECT * FROM events;",
    )
    .await;
    run(&session, &funnel("FUNNEL f", "events")).await;
    run(&session, &funnel("FUNNEL g", "events")).await;
    run(
        &session,
        "DROP TABLE crm.events; DROP SCHEMA crm; DROP VIEW v; DROP FUNNEL f;",
    )
    .await;
    // With what is in it.
    run(&session, "DROP SCHEMA lab CASCADE;").await;
    drop(session);
    let session = place.open().await;
    check(
        &session,
        "SELECT table_schema, table_name FROM information_schema.tables
         WHERE table_schema IN ('crm', 'lab', 'public') ORDER BY 2",
        &["public|events", "public|w"],
    )
    .await;
    check(&session, "SELECT funnel FROM funnel.funnels", &["g"]).await;
    refused(&session, "SELECT * FROM journeys('f')", "42704", "\"f\"").await;
    // Gone is not broken: there is nothing left that could not be made again.
    refused(
        &session,
        "SELECT * FROM lab.events",
        "42P01",
        "table \"lab.events\" does not exist",
    )
    .await;
    refused(
        &session,
        "SELECT * FROM v",
        "42P01",
        "table \"v\" does not exist",
    )
    .await;
}

#[tokio::test]
async fn what_was_replaced_is_the_new_one_after_a_restart() {
    let place = Place::new();
    place.write(
        "files/more.csv",
        &format!("{EVENTS}3,a,2026-01-04T00:00:00Z,web\n"),
    );
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, "CREATE VIEW v AS SELECT * FROM events;").await;
    run(&session, "CREATE VIEW w AS SELECT count(*) AS n FROM v;").await;
    run(&session, &funnel("FUNNEL f", "v")).await;
    // The table is now younger than its views.
    run(
        &session,
        &place.table("OR REPLACE EXTERNAL TABLE events", "more.csv"),
    )
    .await;
    check(&session, "SELECT count(*) FROM events", &["4"]).await;
    // DIFFERENCE: Postgres' view would have 4. DataFusion's keeps the table that it was made with until
    // the next start.
    check(&session, "SELECT n FROM w", &["3"]).await;
    drop(session);
    let session = place.open().await;
    check(&session, "SELECT n FROM w", &["4"]).await;
    check(
        &session,
        "SELECT entered FROM stage_conversion('f') WHERE stage = 'a'",
        &["3"],
    )
    .await;
}

#[tokio::test]
async fn a_statement_that_changes_nothing_keeps_nothing() {
    let place = Place::new();
    place.write("files/other.csv", "x\n1\n");
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, "CREATE VIEW v AS SELECT * FROM events;").await;
    run(
        &session,
        &place.table("EXTERNAL TABLE IF NOT EXISTS events", "other.csv"),
    )
    .await;
    run(
        &session,
        "DROP TABLE IF EXISTS nothing; DROP VIEW IF EXISTS nothing; DROP SCHEMA IF EXISTS nothing;",
    )
    .await;
    for sql in ["DROP TABLE v", "DROP TABLE IF EXISTS v"] {
        let error = refused(&session, sql, "42809", "\"v\" is not a table").await;
        assert_eq!(
            error.hint().as_deref(),
            Some("Use DROP VIEW to remove a view.")
        );
    }
    refused(
        &session,
        "DROP VIEW IF EXISTS events",
        "42809",
        "\"events\" is not a view",
    )
    .await;
    refused(
        &session,
        "DROP TABLE evnts",
        "42P01",
        "table \"evnts\" does not exist",
    )
    .await;
    refused(
        &session,
        "DROP SCHEMA crm",
        "3F000",
        "schema \"crm\" does not exist",
    )
    .await;
    refused(
        &session,
        "CREATE VIEW crm.v AS SELECT 1 AS one",
        "3F000",
        "schema \"crm\" does not exist",
    )
    .await;
    refused(
        &session,
        &place.table("EXTERNAL TABLE v", "events.csv"),
        "42P07",
        "already exists",
    )
    .await;
    // A replacement that fails leaves what was there.
    let replace = place.table("OR REPLACE EXTERNAL TABLE events", "missing.csv");
    refused(&session, &replace, "58030", "missing.csv").await;
    check(&session, "SELECT count(*) FROM events", &["3"]).await;
    drop(session);
    let session = place.open().await;
    check(&session, "SELECT count(*) FROM events", &["3"]).await;
    check(&session, "SELECT count(*) FROM v", &["3"]).await;
}

#[tokio::test]
async fn a_table_of_the_data_directory_is_not_dropped() {
    let place = Place::new();
    fs::create_dir_all(place.file("data/tables/crm")).unwrap();
    place.write("data/tables/crm/events.csv", EVENTS);
    let session = place.open().await;
    check(&session, "SELECT count(*) FROM crm.events", &["3"]).await;
    // It would be there again after a restart.
    let error = refused(&session, "DROP TABLE crm.events", "0A000", "crm.events").await;
    assert!(
        error.hint().unwrap().contains("events.csv"),
        "{:?}",
        error.hint()
    );
    check(&session, "SELECT count(*) FROM crm.events", &["3"]).await;
    drop(session);
    // A folder is a table too, and what can't be read says why.
    fs::create_dir_all(place.file("data/tables/crm/leads")).unwrap();
    place.write("data/tables/crm/leads/1.parquet", "not parquet");
    place.write("data/tables/crm/bad.parquet", "not parquet");
    place.write("data/tables/crm/readme.txt", "not a table");
    let session = place.open().await;
    check(&session, "SELECT count(*) FROM crm.events", &["3"]).await;
    refused(
        &session,
        "SELECT * FROM crm.bad",
        "58030",
        "\"crm.bad\" could not be made again",
    )
    .await;
    refused(
        &session,
        "SELECT * FROM crm.leads",
        "58030",
        "\"crm.leads\" could not be made again",
    )
    .await;
    refused(
        &session,
        "SELECT * FROM crm.readme",
        "42P01",
        "table \"crm.readme\" does not exist",
    )
    .await;
}

#[tokio::test]
async fn a_half_written_definition_is_no_definition() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, &funnel("FUNNEL f", "events")).await;
    drop(session);
    let whole = fs::read_to_string(place.file(&place.funnel_file("f"))).unwrap();
    place.write("data/catalog/funnels/f.half", &whole[..whole.len() / 2]);
    place.write("data/catalog/funnels/g.half", &whole);
    place.write("data/catalog/objects/table%20public%2eh.half", "{\"na");
    let session = place.open().await;
    check(&session, "SELECT funnel FROM funnel.funnels", &["f"]).await;
    refused(
        &session,
        "SELECT * FROM h",
        "42P01",
        "table \"h\" does not exist",
    )
    .await;
    // And it is in nobody's way.
    run(&session, &funnel("FUNNEL g", "events")).await;
    run(&session, &funnel("OR REPLACE FUNNEL f", "events")).await;
    drop(session);
    check(
        &place.open().await,
        "SELECT funnel FROM funnel.funnels ORDER BY 1",
        &["f", "g"],
    )
    .await;
}

#[tokio::test]
async fn a_corrupt_definition_is_named_and_can_be_repaired() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    for name in ["f", "g", "坏"] {
        run(&session, &funnel(&format!("FUNNEL \"{name}\""), "events")).await;
    }
    drop(session);
    let text = fs::read_to_string(place.file(&place.funnel_file("g"))).unwrap();
    let renamed = text.replace("\"g\"", "\"f\"");
    assert_ne!(text, renamed);
    let corruptions: [&[u8]; 8] = [
        b"",
        &text.as_bytes()[..text.len() / 2],
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        // Shapes of another version: what isn't understood would change the numbers.
        br#"{"version": 2, "name": "g", "steps": ["a", "b"]}"#,
        &text.replacen('{', "{\"exclusive\": true,", 1).into_bytes(),
        // A copy under another name.
        renamed.as_bytes(),
    ];
    for corruption in corruptions {
        let shown = String::from_utf8_lossy(corruption).into_owned();
        fs::write(place.file(&place.funnel_file("g")), corruption).unwrap();
        let session = place.open().await;
        check(
            &session,
            "SELECT funnel FROM funnel.funnels ORDER BY 1",
            &["f", "坏"],
        )
        .await;
        check(
            &session,
            COUNTS,
            &["web|a|1|1", "web|b|1|1", "展会|a|1|0", "展会|b|0|0"],
        )
        .await;
        let listed = rows(&session, "SHOW FUNNELS").await;
        assert_eq!(listed.len(), 3, "{shown}: {listed:?}");
        assert!(
            listed[1].starts_with("g|-|-|-|") && listed[1].contains("g.json"),
            "{listed:?}"
        );
        for sql in [
            "SELECT * FROM stage_conversion('g')",
            "SELECT * FROM journeys.g",
            "SHOW CREATE FUNNEL g",
            "COMMENT ON FUNNEL g IS 'x'",
        ] {
            let error = refused(&session, sql, "XX001", "g.json").await;
            let hint = "Restore the file from a copy, or delete it and define it again.";
            assert_eq!(error.hint().as_deref(), Some(hint), "{shown}");
        }
        refused(
            &session,
            &funnel("FUNNEL g", "events"),
            "42710",
            "already exists",
        )
        .await;
        // Clients that list everything are not kept from it.
        let tables =
            "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'journeys'";
        assert_ne!(rows(&session, tables).await, ["0"]);
        run(&session, &funnel("OR REPLACE FUNNEL g", "events")).await;
        check(&session, "SELECT count(*) FROM journeys('g')", &["2"]).await;
        drop(session);
        check(
            &place.open().await,
            "SELECT count(*) FROM journeys('g')",
            &["2"],
        )
        .await;
    }
    // Or be dropped.
    place.write(&place.funnel_file("g"), "{");
    run(&place.open().await, "DROP FUNNEL g").await;
    check(
        &place.open().await,
        "SELECT funnel FROM funnel.funnels ORDER BY 1",
        &["f", "坏"],
    )
    .await;
}

#[tokio::test]
async fn a_corrupt_statement_of_a_table_is_named() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, &place.table("EXTERNAL TABLE other", "events.csv")).await;
    drop(session);
    let file = "table%20public%2eevents.json";
    place.write(
        &format!("data/catalog/objects/{file}"),
        "{\"name\": \"table public.events\"",
    );
    let session = place.open().await;
    check(&session, "SELECT count(*) FROM other", &["3"]).await;
    let error = refused(&session, "SELECT * FROM events", "XX001", file).await;
    assert!(error.hint().is_some());
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    drop(session);
    check(&place.open().await, "SELECT count(*) FROM events", &["3"]).await;
}

#[tokio::test]
async fn a_file_that_vanishes_is_an_error_and_no_empty_table() {
    let place = Place::new();
    fs::create_dir(place.file("files/parts")).unwrap();
    place.write("files/parts/1.csv", EVENTS);
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, &place.table("EXTERNAL TABLE parts", "parts")).await;
    run(&session, "CREATE VIEW v AS SELECT * FROM events;").await;
    run(&session, &funnel("FUNNEL f", "events")).await;
    run(&session, "PREPARE p AS SELECT count(*) FROM events").await;
    check(&session, "SELECT count(*) FROM events", &["3"]).await;
    check(&session, "SELECT count(*) FROM parts", &["3"]).await;
    // A file that is added is seen, by a session that has looked before as well.
    place.write("files/parts/2.csv", EVENTS);
    place.write(
        "files/events.csv",
        &format!("{EVENTS}3,a,2026-01-04T00:00:00Z,web\n"),
    );
    check(&session, "SELECT count(*) FROM parts", &["6"]).await;
    check(&session, "SELECT count(*) FROM events", &["4"]).await;
    place.remove("files/parts/1.csv");
    check(&session, "SELECT count(*) FROM parts", &["3"]).await;
    // A folder without files is an empty table; one that is gone is none.
    place.remove("files/parts/2.csv");
    check(&session, "SELECT count(*) FROM parts", &["0"]).await;
    fs::remove_dir(place.file("files/parts")).unwrap();
    refused(
        &session,
        "SELECT count(*) FROM parts",
        "58030",
        "files/parts",
    )
    .await;
    place.remove("files/events.csv");
    for sql in [
        "SELECT count(*) FROM events",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM events)",
        "SELECT * FROM v",
        "SELECT * FROM stage_conversion('f')",
        "SELECT * FROM journeys.f",
        "EXECUTE p",
        "CREATE TABLE copy AS SELECT * FROM events",
    ] {
        refused(
            &session,
            sql,
            "58030",
            "events.csv\" of table \"events\" is not there",
        )
        .await;
    }
    check(&session, "SELECT 1", &["1"]).await;
    refused(&session, "SELECT * FROM copy", "42P01", "copy").await;
    // Back again, it is as if nothing had been.
    place.write("files/events.csv", EVENTS);
    check(&session, "SELECT count(*) FROM v", &["3"]).await;
    check(&session, "EXECUTE p", &["3"]).await;
}

#[tokio::test]
async fn a_table_whose_file_vanished_before_the_start_says_so() {
    let place = Place::new();
    place.write("files/gone.csv", EVENTS);
    let session = place.open().await;
    run(&session, "CREATE SCHEMA crm;").await;
    run(
        &session,
        &place.table("EXTERNAL TABLE crm.gone", "gone.csv"),
    )
    .await;
    run(&session, &place.table("EXTERNAL TABLE gone", "gone.csv")).await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, "CREATE VIEW v AS SELECT * FROM crm.gone;").await;
    run(&session, &funnel("FUNNEL f", "events")).await;
    run(&session, &funnel("FUNNEL g", "crm.gone")).await;
    drop(session);
    place.remove("files/gone.csv");
    let session = place.open().await;
    check(
        &session,
        COUNTS,
        &["web|a|1|1", "web|b|1|1", "展会|a|1|0", "展会|b|0|0"],
    )
    .await;
    for (sql, name) in [
        ("SELECT * FROM crm.gone", "crm.gone"),
        ("SELECT count(*) FROM gone", "gone"),
        ("SELECT * FROM public.gone", "gone"),
        ("SELECT * FROM journeys('g')", "crm.gone"),
        ("SELECT * FROM journeys.g", "crm.gone"),
        // The view's reason is its table's.
        ("SELECT * FROM v", "crm.gone"),
        (&funnel("FUNNEL h", "crm.gone"), "crm.gone"),
    ] {
        let error = refused(
            &session,
            sql,
            "58030",
            &format!("\"{name}\" could not be made again"),
        )
        .await;
        assert!(error.to_string().contains("files/gone.csv"), "{error}");
        let hint = "Restart when the cause is gone, or make it again with CREATE; DROP forgets it.";
        assert_eq!(error.hint().as_deref(), Some(hint));
    }
    refused(
        &session,
        "SELECT * FROM gon",
        "42P01",
        "table \"gon\" does not exist",
    )
    .await;
    // The other tables' names are still listed.
    check(
        &session,
        "SELECT funnel FROM funnel.funnels ORDER BY 1",
        &["f", "g"],
    )
    .await;
    // It can be forgotten …
    run(&session, "DROP TABLE gone").await;
    refused(
        &session,
        "SELECT * FROM gone",
        "42P01",
        "table \"gone\" does not exist",
    )
    .await;
    // … or be made again; what stood on it comes back with the next start.
    place.write("files/gone.csv", EVENTS);
    run(
        &session,
        &place.table("EXTERNAL TABLE crm.gone", "gone.csv"),
    )
    .await;
    check(&session, "SELECT count(*) FROM crm.gone", &["3"]).await;
    check(&session, "SELECT count(*) FROM journeys('g')", &["2"]).await;
    drop(session);
    let session = place.open().await;
    check(&session, "SELECT count(*) FROM v", &["3"]).await;
    refused(
        &session,
        "SELECT * FROM gone",
        "42P01",
        "table \"gone\" does not exist",
    )
    .await;
}

#[tokio::test]
async fn a_funnel_over_a_column_that_is_gone_names_it() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, &funnel("FUNNEL f", "events")).await;
    run(
        &session,
        "CREATE FUNNEL g ON events (
           ENTITY id, TIME at, STAGE a WHEN channel = 'web', STAGE b WHEN channel = '展会')",
    )
    .await;
    // A table's columns are those of the file as it was when the table was made, by their names; one that the file
    // lacks is NULL, and one that the table lacks is left out.
    place.write("files/events.csv", &EVENTS.replace("event", "kind"));
    check(&session, COUNTS, &[]).await;
    let counts = "SELECT count(*), count(event), count(channel) FROM events";
    check(&session, counts, &["3|0|3"]).await;
    place.write("files/events.csv", "at,id\n2026-01-01T00:00:00Z,1\n");
    check(&session, counts, &["1|0|0"]).await;
    place.write("files/events.csv", &EVENTS.replace("event", "kind"));
    drop(session);
    // Made again at the start, they are those of the new header.
    let session = place.open().await;
    for sql in [
        COUNTS,
        "SELECT * FROM journeys('f')",
        "SELECT * FROM journeys.f",
    ] {
        let error = refused(
            &session,
            sql,
            "42703",
            "column \"event\" does not exist in events",
        )
        .await;
        assert!(
            error.hint().unwrap().contains("\"kind\""),
            "{:?}",
            error.hint()
        );
    }
    check(&session, "SELECT count(*) FROM journeys('g')", &["2"]).await;
    assert_eq!(rows(&session, "SHOW FUNNELS").await.len(), 2);
}

#[tokio::test]
async fn two_engines_one_after_the_other_see_what_both_kept() {
    let place = Place::new();
    let one = place.open().await;
    run(&one, &place.table("EXTERNAL TABLE events", "events.csv")).await;
    run(&one, &funnel("FUNNEL f", "events")).await;
    // Both at once would not know of each other's changes.
    let error = Engine::open(EngineOptions::new(place.file("data")))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "55006", "{error}");
    drop(one);
    let two = place.open().await;
    run(&two, &place.table("EXTERNAL TABLE others", "events.csv")).await;
    run(&two, &funnel("FUNNEL g", "others")).await;
    drop(two);
    for _ in 0..2 {
        let session = place.open().await;
        check(
            &session,
            "SELECT funnel FROM funnel.funnels ORDER BY 1",
            &["f", "g"],
        )
        .await;
        check(&session, "SELECT count(*) FROM journeys('f')", &["2"]).await;
        check(&session, "SELECT count(*) FROM journeys('g')", &["2"]).await;
    }
}

/// Makes a folder that nothing can be written to. Permissions don't bind every user, so that where they
/// don't, a file takes the folder's place. Returns what undoes it.
fn refuse_writes(folder: PathBuf) -> impl FnOnce() {
    let set_readonly = |folder: &Path, readonly: bool| {
        let mut permissions = fs::metadata(folder).unwrap().permissions();
        permissions.set_readonly(readonly);
        fs::set_permissions(folder, permissions).unwrap();
    };
    let aside = folder.with_extension("aside");
    set_readonly(&folder, true);
    let binds = fs::write(folder.join("probe"), "").is_err();
    if !binds {
        fs::remove_file(folder.join("probe")).unwrap();
        fs::rename(&folder, &aside).unwrap();
        fs::write(&folder, "").unwrap();
    }
    move || {
        if !binds {
            fs::remove_file(&folder).unwrap();
            fs::rename(&aside, &folder).unwrap();
        }
        set_readonly(&folder, false);
    }
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_done() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        &place.table("EXTERNAL TABLE events", "events.csv"),
    )
    .await;
    run(&session, "CREATE VIEW v AS SELECT 1 AS one;").await;
    run(&session, &funnel("FUNNEL f", "events")).await;

    let allow = refuse_writes(place.file("data/catalog/funnels"));
    refused(&session, &funnel("FUNNEL g", "events"), "58030", "g.json").await;
    refused(&session, "COMMENT ON FUNNEL f IS 'x'", "58030", "f.json").await;
    refused(&session, "DROP FUNNEL f", "58030", "f.json").await;
    check(
        &session,
        "SELECT funnel, comment FROM funnel.funnels",
        &["f|-"],
    )
    .await;
    refused(
        &session,
        "SELECT * FROM journeys('g')",
        "42704",
        "funnel \"g\" does not exist",
    )
    .await;
    allow();

    let allow = refuse_writes(place.file("data/catalog/objects"));
    refused(
        &session,
        "CREATE VIEW w AS SELECT 1 AS one",
        "58030",
        "can't write",
    )
    .await;
    refused(
        &session,
        "CREATE OR REPLACE VIEW v AS SELECT 2 AS two",
        "58030",
        "can't write",
    )
    .await;
    refused(&session, "CREATE SCHEMA crm", "58030", "can't write").await;
    refused(&session, "DROP VIEW v", "58030", "can't remove").await;
    refused(
        &session,
        "SELECT * FROM w",
        "42P01",
        "table \"w\" does not exist",
    )
    .await;
    check(&session, "SELECT one FROM v", &["1"]).await;
    refused(
        &session,
        "CREATE TABLE crm.t AS SELECT 1 AS one",
        "3F000",
        "schema \"crm\" does not exist",
    )
    .await;
    allow();

    run(&session, &funnel("FUNNEL g", "events")).await;
    run(&session, "DROP VIEW v; CREATE VIEW w AS SELECT 1 AS one;").await;
    drop(session);
    let session = place.open().await;
    check(
        &session,
        "SELECT funnel FROM funnel.funnels ORDER BY 1",
        &["f", "g"],
    )
    .await;
    check(&session, "SELECT one FROM w", &["1"]).await;
    refused(
        &session,
        "SELECT * FROM v",
        "42P01",
        "table \"v\" does not exist",
    )
    .await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_made_is_an_error() {
    let place = Place::new();
    place.write("data", "a file");
    let error = Engine::open(EngineOptions::new(place.file("data")))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "58030", "{error}");
    assert!(error.to_string().contains("data"), "{error}");
}

#[tokio::test]
async fn roles_survive_a_restart_and_their_passwords_are_not_in_the_files() {
    let place = Place::new();
    let session = place.open().await;
    run(
        &session,
        "CREATE ROLE \"销售\"; CREATE USER ana VALID UNTIL '2030-01-01 08:00+08' CONNECTION LIMIT 2 IN ROLE \"销售\";
         CREATE ROLE gone; DROP ROLE gone; CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'geheim'",
    )
    .await;
    drop(session);
    let session = place.open().await;
    // The session's user has no role, and a role has a password by now.
    refused(&session, "CREATE ROLE x", "42501", "permission denied").await;
    let roles = "SELECT rolname, rolsuper, rolcanlogin, rolconnlimit, rolvaliduntil FROM pg_roles ORDER BY 1";
    check(
        &session,
        roles,
        &[
            "admin|t|t|-1|-",
            "ana|f|t|2|2030-01-01 00:00:00+00",
            "funnelsql|t|f|-1|-",
            "销售|f|f|-1|-",
        ],
    )
    .await;
    let text = fs::read_to_string(place.file("data/catalog/roles/admin.json")).unwrap();
    assert!(
        text.contains("SCRAM-SHA-256$4096:") && !text.contains("geheim"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_along_a_search_path_means_the_same_after_a_restart() {
    let place = Place::new();
    let session = place.open().await;
    for sql in [
        "CREATE SCHEMA crm",
        "CREATE SCHEMA \"市场\"",
        "CREATE TABLE leads (id bigint); INSERT INTO leads VALUES (1)",
        "CREATE TABLE crm.leads (id bigint, at timestamptz); INSERT INTO crm.leads VALUES (1, now()), (2, now())",
        "SET search_path = \"市场\", crm, public",
        "CREATE VIEW seen AS WITH one AS (SELECT 1 AS x) SELECT '展会 leads' AS name, count(*) FROM leads, one",
        "CREATE MATERIALIZED VIEW copied AS SELECT id FROM leads",
        "CREATE FUNNEL f ON (SELECT id, at FROM leads) (ENTITY id, STAGE came AT at, STAGE again AT at)",
    ] {
        run(&session, sql).await;
    }
    run(&session, &place.table("EXTERNAL TABLE files", "events.csv")).await;
    drop(session);

    let session = place.open().await;
    // Wherever a name without a schema is looked for by then.
    for path in ["public", "nosuch", "public, crm"] {
        run(&session, &format!("SET search_path = {path}")).await;
        check(&session, "SELECT * FROM \"市场\".seen", &["展会 leads|2"]).await;
        check(&session, "SELECT count(*) FROM \"市场\".files", &["3"]).await;
        run(&session, "REFRESH MATERIALIZED VIEW \"市场\".copied").await;
        check(
            &session,
            "SELECT id FROM \"市场\".copied ORDER BY 1",
            &["1", "2"],
        )
        .await;
        check(
            &session,
            "SELECT entered FROM stage_conversion('f')",
            &["2", "2"],
        )
        .await;
    }
    refused(&session, "SELECT * FROM public.seen", "42P01", "seen").await;
}
