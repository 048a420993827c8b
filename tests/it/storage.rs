//! Data directories in a store that speaks S3 (moto's, started for the test): nothing of them is on this machine.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use funnelsql::engine::{Engine, EngineOptions, text_rows};
use funnelsql::external::ConfiguredStore;
use futures::SinkExt;
use tempfile::TempDir;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::db_error;
use crate::support::stores::S3;
use crate::tables::{Acknowledged, Process, check_rows, load};

const PLACE: &str = "s3://company/crm.prod";

/// A store with the bucket `company`.
fn store() -> Option<S3> {
    let mut store = S3::start()?;
    store.order(&["bucket", "company"]);
    Some(store)
}

/// The command over a data directory in the store, in an empty folder of its own.
fn command(store: &S3, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_funnelsql"));
    command
        .args(arguments)
        .args(["--data-dir", PLACE])
        .current_dir(folder)
        .env("TMPDIR", folder)
        .env("AWS_ENDPOINT_URL", &store.url)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "any")
        .env("AWS_SECRET_ACCESS_KEY", "any");
    command
}

const SERVE: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

fn serve(store: &S3, folder: &Path) -> Process {
    Process::of(&mut command(store, folder, &SERVE))
}

async fn run(client: &Client, sql: &str) {
    if let Err(error) = client.simple_query(sql).await {
        panic!("{sql}: {error:?}");
    }
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned());
            Some(values.collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

/// Code, message and hint.
async fn fault(client: &Client, sql: &str) -> (String, String, String) {
    let error = match client.simple_query(sql).await {
        Ok(_) => panic!("{sql} succeeded"),
        Err(error) => error,
    };
    let error = db_error(&error);
    (
        error.code().code().to_owned(),
        error.message().to_owned(),
        error.hint().unwrap_or_default().to_owned(),
    )
}

/// What lies in a folder, but for the audit log.
fn left_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "funnelsql-audit").collect()
}

const DEFINITIONS: [&str; 20] = [
    "CREATE SCHEMA crm",
    "CREATE TABLE crm.leads (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, region text DEFAULT 'EMEA')",
    "CREATE TABLE crm.events (lead bigint, event text, at timestamptz, day date) PARTITIONED BY (day)",
    "INSERT INTO crm.leads (name) VALUES ('ana'), ('bo'), ('华晨 50%')",
    "INSERT INTO crm.events VALUES (1, 'created', '2026-01-05', '2026-01-05'), (1, 'won', '2026-01-20', '2026-01-20'), (2, 'created', '2026-01-06', '2026-01-06')",
    "CREATE TABLE crm.parts (id int, region text) PARTITIONED BY (region)",
    "INSERT INTO crm.parts VALUES (1, '华 东'), (2, 'a/b'), (3, '50% off?'), (4, NULL)",
    "UPDATE crm.leads SET region = 'APAC' WHERE name = '华晨 50%'",
    "DELETE FROM crm.leads WHERE name = 'bo'",
    "INSERT INTO crm.leads (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'Ana') ON CONFLICT (id) DO UPDATE SET name = excluded.name",
    "BEGIN; INSERT INTO crm.leads (name) VALUES ('di'); INSERT INTO crm.events VALUES (4, 'created', '2026-01-09', '2026-01-09'); COMMIT",
    "BEGIN; INSERT INTO crm.leads (name) VALUES ('nobody'); ROLLBACK",
    "ALTER TABLE crm.leads ADD COLUMN score int DEFAULT 7",
    "CREATE SEQUENCE crm.tickets",
    "CREATE FUNNEL \"销售\" ON crm.events (ENTITY lead, TIME at, STAGE acquired WHEN event = 'created', STAGE won WHEN event = 'won')",
    "CREATE METRIC wins ON \"销售\" AS count(*)",
    "CREATE VIEW crm.names AS SELECT name FROM crm.leads",
    "CREATE MATERIALIZED VIEW crm.by_event AS SELECT event, count(*) AS n FROM crm.events GROUP BY event",
    "CREATE SERVER shop FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'shop')",
    "CREATE ROLE sales LOGIN; GRANT SELECT ON crm.leads TO sales; CREATE POLICY own ON crm.leads TO sales USING (name = current_user)",
];

const QUESTIONS: [&str; 14] = [
    "SELECT * FROM crm.leads ORDER BY id",
    "SELECT lead, event, at, day FROM crm.events ORDER BY lead, at",
    "SELECT count(*) FROM crm.events WHERE day = '2026-01-06'",
    "SELECT id, region FROM crm.parts ORDER BY 1",
    "SELECT id FROM crm.parts WHERE region = '50% off?'",
    "SELECT stage, entered, passed FROM stage_conversion('销售')",
    "SELECT metric, formula FROM funnel.metrics WHERE funnel = '销售'",
    "SELECT name FROM crm.names ORDER BY 1",
    "SELECT event, n FROM crm.by_event ORDER BY 1",
    "SELECT srvname FROM pg_catalog.pg_foreign_server",
    "SELECT rolname FROM pg_catalog.pg_roles ORDER BY 1",
    "SELECT policyname, qual FROM pg_catalog.pg_policies",
    "SHOW FUNNELS",
    "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'crm' ORDER BY 1, ordinal_position",
];

async fn answers(client: &Client) -> Vec<Vec<String>> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        answers.push(texts(client, question).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_server_is_there_again_on_a_machine_with_an_empty_disk() {
    let Some(mut store) = store() else { return };
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = serve(&store, first.path());
    let client = server.client().await.unwrap();
    for definition in DEFINITIONS {
        run(&client, definition).await;
    }
    let sink = client
        .copy_in::<_, Bytes>("COPY crm.events FROM STDIN")
        .await;
    let sink = sink.unwrap();
    futures::pin_mut!(sink);
    let row = "4\twon\t2026-02-01 00:00+00\t2026-02-01\n";
    sink.send(Bytes::from_static(row.as_bytes())).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 1);
    run(&client, "REFRESH MATERIALIZED VIEW crm.by_event").await;
    let number = texts(&client, "SELECT nextval('crm.tickets')").await;
    assert_eq!(number, ["1"]);
    let before = answers(&client).await;
    assert_eq!(
        before[0],
        ["1|Ana|EMEA|7", "3|华晨 50%|APAC|7", "4|di|EMEA|7"]
    );
    assert_eq!(before[4], ["3"]);
    assert_eq!(before[5], ["acquired|3|2", "won|2|2"]);
    assert_eq!(before[8], ["created|3", "won|2"]);
    server.kill();
    assert_eq!(left_in(first.path()), Vec::<String>::new());

    // It isn't waited for: this machine knows that the process is gone.
    let started = Instant::now();
    let server = serve(&store, second.path());
    assert!(started.elapsed() < Duration::from_secs(20));
    let client = server.client().await.unwrap();
    for (question, (now, before)) in QUESTIONS
        .iter()
        .zip(answers(&client).await.iter().zip(&before))
    {
        assert_eq!(now, before, "{question}");
    }
    let number = texts(&client, "SELECT nextval('crm.tickets')").await;
    assert!(number[0].parse::<i64>().unwrap() > 1, "{number:?}");
    run(&client, "INSERT INTO crm.leads (name) VALUES ('ed')").await;
    let more = texts(
        &client,
        "SELECT count(*), count(DISTINCT id) FROM crm.leads",
    )
    .await;
    assert_eq!(more, ["4|4"]);

    // What is dropped goes from the store, and so do rows that no version has.
    let of_view = |store: &mut S3| store.order(&["list", "company", "crm.prod/views/"]).len();
    assert!(of_view(&mut store) > 0);
    run(&client, "DROP MATERIALIZED VIEW crm.by_event").await;
    assert_eq!(of_view(&mut store), 0);
    let files = |store: &mut S3| {
        let keys = store.order(&["list", "company", "crm.prod/delta/"]);
        keys.iter().filter(|key| key.ends_with(".parquet")).count()
    };
    let begun = files(&mut store);
    run(
        &client,
        "DROP TABLE crm.events CASCADE; DROP TABLE crm.parts",
    )
    .await;
    run(&client, "VACUUM crm.leads RETAIN 0 HOURS").await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while files(&mut store) > 4 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let left = files(&mut store);
    assert!(left < begun && left <= 4, "{begun} {left}");
    assert_eq!(
        texts(&client, "SELECT count(*) FROM crm.leads").await,
        ["4"]
    );
    server.terminate();
    assert_eq!(left_in(second.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_server_is_refused_and_waits_for_nobody_when_the_first_stops() {
    let Some(store) = store() else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&store, folder.path());
    let client = server.client().await.unwrap();
    run(&client, "CREATE TABLE t AS SELECT 1 AS a").await;
    for arguments in [
        &SERVE[..],
        &["sql", "-c", "SELECT 1"],
        &["sql", "-c", "DROP TABLE t"],
    ] {
        let said = command(&store, folder.path(), arguments).output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success(), "{text}");
        assert!(
            text.contains(&format!(
                "data directory \"{PLACE}\" is used by another server"
            )),
            "{text}"
        );
        assert!(text.contains("55006"), "{text}");
    }
    server.terminate();
    let arguments = ["sql", "--format", "csv", "-c", "SELECT a FROM t"];
    let started = Instant::now();
    let said = command(&store, folder.path(), &arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "a\n1\n", "{said:?}");
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_down_is_a_fault_and_leaves_nothing_half_done() {
    let Some(mut store) = store() else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&store, folder.path());
    let client = server.client().await.unwrap();
    run(&client, "CREATE TABLE t (id bigint PRIMARY KEY, s text); CREATE TABLE u (id bigint); CREATE SEQUENCE n").await;
    run(&client, "INSERT INTO t VALUES (1, 'a')").await;
    store.order(&["stop"]);
    let changes = [
        "INSERT INTO t VALUES (2, 'b')",
        "BEGIN; INSERT INTO t VALUES (3, 'c'); INSERT INTO u VALUES (3); COMMIT",
        "CREATE TABLE v (id bigint)",
        "CREATE SCHEMA s",
        "SELECT nextval('n')",
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS a",
    ];
    for change in changes {
        let (code, message, hint) = fault(&client, change).await;
        let _ = client.simple_query("ROLLBACK").await;
        assert!(
            ["08001", "58030"].contains(&code.as_str()),
            "{change}: {code} {message}"
        );
        assert!(message.contains("s3://company"), "{change}: {message}");
        assert!(hint.contains("data directory"), "{change}: {hint}");
    }
    // It fails where a footer is read, or in the middle of its commit.
    let (code, message, _) = fault(&client, "DELETE FROM t").await;
    assert!(
        ["08001", "08007", "58030"].contains(&code.as_str()),
        "{code} {message}"
    );
    // What asks nothing of it is answered.
    assert_eq!(texts(&client, "SELECT 1 + 1").await, ["2"]);
    store.order(&["start"]);
    let all = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)";
    assert_eq!(texts(&client, all).await, ["1|0"]);
    for change in changes {
        run(&client, change).await;
    }
    assert_eq!(texts(&client, all).await, ["3|1"]);
    server.kill();
    let server = serve(&store, folder.path());
    let client = server.client().await.unwrap();
    assert_eq!(texts(&client, all).await, ["3|1"]);
    assert_eq!(texts(&client, "SELECT count(*) FROM v").await, ["0"]);
    assert_eq!(texts(&client, "SELECT a FROM m").await, ["1"]);
    server.kill();

    // Nor does a server start that can't ask it.
    store.order(&["stop"]);
    let said = command(&store, folder.path(), &SERVE).output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        text.contains("08001") && text.contains("could not reach"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_whose_directory_was_taken_writes_nothing_any_more() {
    let Some(mut store) = store() else { return };
    let folder = TempDir::new().unwrap();
    let server = serve(&store, folder.path());
    let client = server.client().await.unwrap();
    run(
        &client,
        "CREATE TABLE t (id bigint); INSERT INTO t VALUES (1); CREATE SEQUENCE n",
    )
    .await;
    let other = br#"{"owner": "somebody", "host": "b", "process": 7, "machine": null, "began": null, "renewals": 0}"#;
    store.put("company", "crm.prod/lock", other);
    tokio::time::sleep(Duration::from_secs(7)).await;
    let objects = store.order(&["list", "company", ""]);
    for change in [
        "INSERT INTO t VALUES (2)",
        "DELETE FROM t",
        "CREATE TABLE u (id bigint)",
        "CREATE ROLE r",
        "SELECT nextval('n')",
        "DROP TABLE t",
    ] {
        let (code, message, hint) = fault(&client, change).await;
        assert_eq!(code, "55006", "{change}: {message}");
        assert!(message.contains("taken by another server"), "{message}");
        assert!(hint.contains("connect to the other one"), "{hint}");
    }
    assert_eq!(texts(&client, "SELECT id FROM t").await, ["1"]);
    assert_eq!(store.order(&["list", "company", ""]), objects);
    server.kill();
}

/// `FUNNELSQL_CRASHES=100` kills it as often.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_store_has_acknowledged_is_there_once_after_kills() {
    let Some(store) = store() else { return };
    let rounds: u64 = std::env::var("FUNNELSQL_CRASHES")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3);
    let number = Arc::new(AtomicI64::new(0));
    let kept = Arc::new(Acknowledged::default());
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut random = since.subsec_nanos();
    for round in 0..=rounds {
        let folder = TempDir::new().unwrap();
        let server = serve(&store, folder.path());
        let client = server.client().await.unwrap();
        if round == 0 {
            run(&client, "CREATE TABLE rows (batch bigint, row int, PRIMARY KEY (batch, row)); CREATE TABLE batches (batch bigint)").await;
        }
        check_rows(&client, &kept).await;
        if round == rounds {
            server.kill();
            break;
        }
        let mut loaders = Vec::new();
        for way in 0..3 {
            let client = server.client().await.unwrap();
            let (number, kept) = (Arc::clone(&number), Arc::clone(&kept));
            loaders.push(tokio::spawn(load(client, number, kept, way)));
        }
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        tokio::time::sleep(Duration::from_millis(1500 + u64::from(random >> 16) % 2000)).await;
        server.kill();
        for loader in loaders {
            loader.await.unwrap();
        }
    }
    let batches = kept.batches.lock().unwrap().len();
    assert!(batches as u64 > rounds, "the loaders loaded: {batches}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strays_go_and_files_are_tables_by_being_there() {
    let Some(mut store) = store() else { return };
    store.put("company", "tables/crm/deals.csv", b"id,name\n1,ana\n2,bo\n");
    let stray = "delta/0123456789abcdef0123456789abcdef/part-0.parquet";
    store.put("company", stray, b"rows of nobody");
    store.put("company", "views/mv-old/1/rows.parquet", b"rows of nobody");
    // The bucket itself is the directory, and it is entered by the configuration.
    let mut options = EngineOptions::new("s3://company");
    let configured = [
        ("aws.endpoint", store.url.clone()),
        ("aws.allow_http", "true".to_owned()),
        ("aws.access_key_id", "any".to_owned()),
        ("aws.secret_access_key", "any".to_owned()),
    ];
    options.object_stores = vec![ConfiguredStore {
        url: "s3://company".to_owned(),
        options: configured
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    }];
    let engine = Engine::open(options.clone()).await.unwrap();
    let session = engine.session("funnelsql");
    let batches = session
        .query("SELECT name FROM crm.deals ORDER BY id DESC")
        .await;
    let batches = batches.unwrap_or_else(|error| panic!("{} {error}", error.code()));
    let rows: Vec<_> = batches
        .iter()
        .flat_map(|batch| text_rows(batch).unwrap())
        .collect();
    assert_eq!(rows, [[Some("bo".to_owned())], [Some("ana".to_owned())]]);
    let keys = store.order(&["list", "company", ""]);
    assert!(!keys.iter().any(|key| key == stray), "{keys:?}");
    assert!(
        !keys.iter().any(|key| key.starts_with("views/")),
        "{keys:?}"
    );
    drop((session, engine));

    // It was given back: nobody waits for it.
    let started = Instant::now();
    let engine = Engine::open(options).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(engine);
    let missing = Engine::open(EngineOptions::new("http://127.0.0.1:1/x.csv")).await;
    assert_eq!(missing.unwrap_err().code(), "0A000");
}
