//! What one client can take: memory, disk, statements, results, and time that it spends not reading.

use std::time::{Duration, Instant};

use funnelsql::engine::{Engine, EngineOptions, text_rows};
use funnelsql::server::ServerOptions;

use crate::support::raw::{RawClient, error, kinds, rows};
use crate::support::{TestServer, db_error};

const MB: usize = 1 << 20;

async fn engine(
    change: impl FnOnce(&mut EngineOptions),
) -> (tempfile::TempDir, std::sync::Arc<Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = EngineOptions::new(folder.path());
    change(&mut options);
    let engine = Engine::open(options).await.unwrap();
    (folder, engine)
}

/// A sort that doesn't fit into 24 MB, and whose result can be checked.
const LARGE_SORT: &str =
    "SELECT count(*), max(r) FROM (SELECT row_number() OVER (ORDER BY t DESC) AS r FROM (
    SELECT lpad(value::text, 100, 'x') AS t FROM generate_series(1, 400000) AS value))";

/// What queries hold is given back a moment after they have ended.
async fn nothing_is_held(engine: &Engine) {
    let began = Instant::now();
    while (engine.usage().memory_bytes, engine.usage().temp_bytes) != (0, 0) {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{:?}",
            engine.usage()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_is_sorted_on_disk() {
    let (_folder, engine) = engine(|options| {
        options.memory_limit = Some(96 * MB);
        options.session_memory_limit = Some(80 * MB);
    })
    .await;
    let session = engine.session("ana");
    let larger = LARGE_SORT.replace("400000", "800000");
    let batches = session.query(&larger).await.unwrap();
    let row = &text_rows(&batches[0]).unwrap()[0];
    assert_eq!(row[0].as_deref(), Some("800000"));
    nothing_is_held(&engine).await;
    let usage = engine.usage();
    assert!(usage.most_memory_bytes <= 80 * MB, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_spill_is_out_of_memory_and_the_next_statement_runs() {
    let (_folder, engine) = engine(|options| {
        options.session_memory_limit = Some(16 * MB);
    })
    .await;
    let session = engine.session("ana");
    let join = "SELECT count(*) FROM (SELECT lpad(value::text, 100, 'x') AS t FROM generate_series(1, 300000) AS value) a
                JOIN (SELECT lpad(value::text, 100, 'x') AS t FROM generate_series(1, 300000) AS value) b USING (t)";
    let error = session.query(join).await.unwrap_err();
    assert_eq!(error.code(), "53200", "{error}");
    let message = error.to_string();
    assert!(
        message.starts_with("out of memory: the statement has ")
            && message.contains(" of 16.0 MB (session_memory_limit) and needs "),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("fewer rows"));
    nothing_is_held(&engine).await;
    session.query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_files_have_a_limit() {
    let (_folder, engine) = engine(|options| {
        options.session_memory_limit = Some(24 * MB);
        options.temp_limit = 1 << 20;
    })
    .await;
    let error = engine.session("ana").query(LARGE_SORT).await.unwrap_err();
    assert_eq!(error.code(), "53100", "{error}");
    assert_eq!(
        error.to_string(),
        "temporary files of all statements would take more than 1024.0 KB"
    );
    nothing_is_held(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_not_the_clients_to_set() {
    let server = TestServer::start_as(
        ServerOptions::new("127.0.0.1:0"),
        "CREATE ROLE admin SUPERUSER LOGIN; CREATE ROLE ana LOGIN;",
    )
    .await;
    let client = server.client().await;
    for (sql, code) in [
        ("SET datafusion.runtime.memory_limit = '100G'", "55P02"),
        ("SET datafusion.runtime.temp_directory = '/'", "55P02"),
        (
            "SET datafusion.execution.target_partitions = 100000",
            "22023",
        ),
        ("SET datafusion.execution.batch_size = 100000000", "22023"),
    ] {
        let failed = client.batch_execute(sql).await.unwrap_err();
        assert_eq!(db_error(&failed).code().code(), code, "{sql}");
    }
    client
        .batch_execute("SET datafusion.execution.target_partitions = 4")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_so_many_statements_portals_and_cursors() {
    let server = TestServer::start_tuned(
        |options| options.max_prepared_statements = 2,
        ServerOptions::new("127.0.0.1:0"),
        &[],
        "",
    )
    .await;
    let client = server.client().await;
    client
        .batch_execute("PREPARE a AS SELECT 1; PREPARE b AS SELECT 1")
        .await
        .unwrap();
    let failed = client
        .batch_execute("PREPARE c AS SELECT 1")
        .await
        .unwrap_err();
    let failed = db_error(&failed);
    assert_eq!(failed.code().code(), "53400");
    assert_eq!(
        failed.message(),
        "too many prepared statements: a session may have 2"
    );
    assert!(failed.hint().unwrap().contains("DEALLOCATE"));
    client
        .batch_execute("DEALLOCATE a; PREPARE c AS SELECT 1")
        .await
        .unwrap();
    let failed = client
        .batch_execute(
            "BEGIN; DECLARE x CURSOR FOR SELECT 1; DECLARE y CURSOR FOR SELECT 1; DECLARE z CURSOR FOR SELECT 1",
        )
        .await
        .unwrap_err();
    assert_eq!(db_error(&failed).code().code(), "53400");

    let mut raw = RawClient::start(server.address).await;
    for (name, expected) in [("a", "1Z"), ("b", "1Z"), ("c", "EZ"), ("", "1Z")] {
        raw.send(b'P', &[name.as_bytes(), b"\0SELECT 1\0\0\0"].concat())
            .await;
        assert_eq!(kinds(&raw.sync().await), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_has_a_size() {
    let options = ServerOptions {
        result_limit: Some(100_000),
        ..ServerOptions::new("127.0.0.1:0")
    };
    let server = TestServer::start_as(options, "").await;
    let mut client = RawClient::start(server.address).await;
    let messages = client
        .query("SELECT value FROM generate_series(1, 1000) AS value")
        .await;
    assert_eq!(rows(&messages).len(), 1000);
    for sql in [
        "SELECT value FROM generate_series(1, 1000000) AS value",
        "COPY (SELECT value FROM generate_series(1, 1000000) AS value) TO STDOUT",
    ] {
        let messages = client.query(sql).await;
        let failed = error(&messages);
        assert_eq!(failed.field('C').unwrap(), "53400", "{sql}");
        assert_eq!(
            failed.field('M').unwrap(),
            "the result is larger than 97.7 KB (result_limit)"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_ends_with_its_statement() {
    let server = TestServer::start().await;
    let mut silent = RawClient::start(server.address).await;
    silent.query("SET statement_timeout = '500ms'").await;
    let sql = "SELECT lpad(value::text, 1000, 'x') FROM generate_series(1, 1000000) AS value\0";
    silent.send(b'Q', sql.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // What was on its way comes first, then what became of it.
    let messages = silent.until_ready().await;
    assert_eq!(error(&messages).field('C').unwrap(), "57014");
    assert!(messages.len() < 100_000);

    // Somebody else ends it while it doesn't read, and doesn't wait for it.
    let mut raw = RawClient::start(server.address).await;
    raw.query("SET statement_timeout = 0").await;
    let pid = rows(&raw.query("SELECT pg_backend_pid()").await)[0][0]
        .clone()
        .unwrap();
    raw.send(b'Q', sql.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let other = server.client().await;
    let began = Instant::now();
    other
        .batch_execute(&format!("SELECT pg_terminate_backend({pid})"))
        .await
        .unwrap();
    let alive = format!("SELECT 1 FROM pg_stat_activity WHERE pid = {pid}");
    while !other.query(&alive, &[]).await.unwrap().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "it is still there"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_for_too_long_is_given_up() {
    let options = ServerOptions {
        send_timeout: Duration::from_millis(300),
        ..ServerOptions::new("127.0.0.1:0")
    };
    let server = TestServer::start_as(options, "").await;
    let mut silent = RawClient::start(server.address).await;
    let sql = "SELECT lpad(value::text, 1000, 'x') FROM generate_series(1, 1000000) AS value\0";
    silent.send(b'Q', sql.as_bytes()).await;
    let other = server.client().await;
    let began = Instant::now();
    let others = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    while !other.query(others, &[]).await.unwrap().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "it is still there"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_does_not_read_keeps_nobody_from_speaking() {
    let server = TestServer::start().await;
    let mut listener = RawClient::start(server.address).await;
    listener.query("LISTEN deals").await;
    let mut speaker = RawClient::start(server.address).await;
    let payload = "x".repeat(7000);
    for batch in 0..24 {
        let said = |number: usize| format!("NOTIFY deals, '{batch} {number} {payload}';");
        let sql: String = (0..500).map(said).collect();
        let messages = speaker.query(&sql).await;
        assert_eq!(messages.len(), 501);
    }
    // It is told what was kept for it, and that there was more.
    let mut heard = 0;
    let last = loop {
        match listener.receive().await {
            Some(message) if message.kind == 'A' => heard += 1,
            other => break other.unwrap(),
        }
    };
    assert_eq!(last.field('C').unwrap(), "53400");
    assert!((10_000..12_000).contains(&heard), "{heard}");
}
