//! What is written down, who can read it, and what must not be in it.

use std::time::Duration;

use funnelsql::audit::{AuditOptions, Event, Outcome, Record, files};
use funnelsql::engine::{Engine, EngineOptions};
use funnelsql::server::ServerOptions;
use tokio_postgres::Config;

use crate::support::raw::{RawClient, error, rows};
use crate::support::{TestServer, connect, db_error};

const ROLES: &str = "
CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'geheim-1';
CREATE ROLE ana LOGIN PASSWORD 'geheim-2';
CREATE ROLE auditor;
CREATE ROLE eve LOGIN PASSWORD 'geheim-3' IN ROLE auditor;
";

async fn server(literals: bool, sql: &str) -> TestServer {
    let change = |options: &mut EngineOptions| {
        options.audit = Some(AuditOptions {
            literals,
            ..AuditOptions::new(options.data_dir.join("audit"))
        });
    };
    let options = ServerOptions {
        login_failures: 0,
        ..ServerOptions::new("127.0.0.1:0")
    };
    TestServer::start_tuned(change, options, &[], sql).await
}

fn login(server: &TestServer, user: &str, password: &str) -> Config {
    let mut config = server.config();
    config.user(user).password(password);
    config
}

/// The records of a server that has stopped.
async fn records(mut server: TestServer) -> Vec<Record> {
    let folder = server.data_dir().join("audit");
    let kept = tempfile::tempdir().unwrap();
    server.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The folder goes with the server.
    let mut text = String::new();
    for _ in 0..50 {
        text = files(&folder)
            .unwrap()
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        if text.contains("\"logout\"") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(kept);
    server.stopped().await;
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_written_with_what_came_of_them() {
    let server = server(true, "").await;
    let mut client = RawClient::connect(
        server.address,
        &[
            ("user", "ana"),
            ("database", "funnelsql"),
            ("application_name", "报表"),
        ],
    )
    .await;
    client.query("SELECT * FROM crm.events; SELECT nope").await;
    client.query("SELEC 'x'").await;
    client
        .parse("SELECT $1::text, value FROM generate_series(1, 10) AS value")
        .await;
    client.bind(&[Some("漏斗")], &[]).await;
    client.execute(4).await;
    client.sync().await;
    client.query("BEGIN").await;
    client
        .parse("SELECT value FROM generate_series(1, 10) AS value")
        .await;
    client.bind(&[], &[]).await;
    client.execute(4).await;
    client.execute(3).await;
    client.send(b'C', b"P\0").await;
    client.sync().await;
    client.query("COMMIT").await;
    client.query("COPY (SELECT 1) TO STDOUT").await;
    drop(client);
    let records = records(server).await;
    let told: Vec<(&str, Outcome, Option<&str>, u64)> = records
        .iter()
        .filter(|record| record.event == Event::Statement)
        .map(|record| {
            (
                record.statement.as_deref().unwrap(),
                record.outcome,
                record.tag.as_deref().or(record.sqlstate.as_deref()),
                record.rows,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("SELECT * FROM crm.events", Outcome::Ok, Some("SELECT 5"), 5),
            ("SELECT nope", Outcome::Error, Some("42703"), 0),
            ("SELEC '***'", Outcome::Error, Some("42601"), 0),
            (
                "SELECT $1::text, value FROM generate_series(1, 10) AS value",
                Outcome::Unfinished,
                None,
                4
            ),
            ("BEGIN", Outcome::Ok, Some("BEGIN"), 0),
            (
                "SELECT value FROM generate_series(1, 10) AS value",
                Outcome::Unfinished,
                None,
                7
            ),
            ("COMMIT", Outcome::Ok, Some("COMMIT"), 0),
            ("COPY (SELECT 1) TO STDOUT", Outcome::Ok, Some("COPY 1"), 1),
        ]
    );
    let first = &records[0];
    assert_eq!(
        (
            first.event,
            first.user.as_str(),
            first.database.as_str(),
            first.application.as_str()
        ),
        (Event::Login, "ana", "funnelsql", "报表")
    );
    assert!(first.address.as_deref().unwrap().starts_with("127.0.0.1:"));
    let parameters = records
        .iter()
        .find(|record| !record.parameters.is_empty())
        .unwrap();
    assert_eq!(parameters.parameters, [Some("漏斗".to_owned())]);
    assert_eq!(records.last().unwrap().event, Event::Logout);
    assert!(
        records
            .iter()
            .all(|record| record.connection == first.connection)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_are_written_with_the_reason_that_the_client_is_not_told() {
    let server = server(true, ROLES).await;
    for (user, password) in [("admin", "wrong"), ("nobody", "x")] {
        let failed = login(&server, user, password)
            .connect(tokio_postgres::NoTls)
            .await;
        let Err(failed) = failed else {
            panic!("{user} was admitted")
        };
        assert!(!db_error(&failed).message().contains("no such role"));
    }
    drop(connect(&login(&server, "admin", "geheim-1")).await);
    let records = records(server).await;
    let logins: Vec<(&str, Option<&str>, Option<&str>)> = records
        .iter()
        .filter(|record| record.event == Event::Login)
        .map(|record| {
            (
                record.user.as_str(),
                record.sqlstate.as_deref(),
                record.message.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        logins,
        [
            (
                "admin",
                Some("28P01"),
                Some("password authentication failed for user \"admin\": wrong password")
            ),
            (
                "nobody",
                Some("28P01"),
                Some("password authentication failed for user \"nobody\": there is no such role")
            ),
            ("admin", None, None),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_and_no_value_that_must_not_be_there_is_written() {
    let with_values = server(true, ROLES).await;
    let client = connect(&login(&with_values, "admin", "geheim-1")).await;
    for sql in [
        "CREATE ROLE x LOGIN PASSWORD 'geheim-4'",
        "ALTER ROLE x PASSWORD $$geheim-5$$",
        "ALTER ROLE nobody PASSWORD 'geheim-6'",
        "CREATE ROLE y PASSWORD 'geheim-7' NONSENSE",
        "CREATE ROLE z PASSWORD 'geheim-8",
        "ALTER /* geheim-9 */ USER x WITH PASSWORD E'geheim-10'",
    ] {
        let _ = client.batch_execute(sql).await;
    }
    // Nor can it be seen by the others.
    let shown = client
        .query_one(
            "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()",
            &[],
        )
        .await
        .unwrap();
    assert!(!shown.get::<_, String>(0).contains("geheim"));
    drop(client);
    let records_with = records(with_values).await;
    let text = serde_json::to_string(&records_with).unwrap();
    assert!(!text.contains("geheim"), "{text}");
    assert!(
        text.contains("CREATE ROLE x LOGIN PASSWORD '***'"),
        "{text}"
    );

    let without = server(false, "").await;
    let client = without.client().await;
    let phone = "13800000000";
    let _ = client.query(&format!("SELECT '{phone}'::date"), &[]).await;
    let _ = client.query("SELECT $1::text", &[&phone]).await;
    drop(client);
    let text = serde_json::to_string(&records(without).await).unwrap();
    assert!(
        !text.contains("138") && text.contains("SELECT '***'::date"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn auditors_read_it_in_sql_and_nobody_else_does() {
    let server = server(true, ROLES).await;
    let ana = connect(&login(&server, "ana", "geheim-2")).await;
    ana.query("SELECT 1 AS mine", &[]).await.unwrap();
    for sql in [
        "SELECT * FROM funnel.audit_log",
        "SELECT count(*) FROM funnel.audit_log",
        "EXPLAIN ANALYZE SELECT * FROM funnel.audit_log",
        "CREATE VIEW spy AS SELECT * FROM funnel.audit_log; SELECT * FROM spy",
        "SELECT (SELECT max(statement) FROM funnel.audit_log)",
        "COPY (SELECT * FROM funnel.audit_log) TO STDOUT",
    ] {
        let failed = ana.simple_query(sql).await.unwrap_err();
        assert_eq!(db_error(&failed).code().code(), "42501", "{sql}");
    }
    for (user, password) in [("admin", "geheim-1"), ("eve", "geheim-3")] {
        let auditor = connect(&login(&server, user, password)).await;
        // What was asked a moment ago is on its way to the file.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let found = auditor
            .query(
                "SELECT user_name, statement, rows, outcome FROM funnel.audit_log \
                 WHERE statement = 'SELECT 1 AS mine' AND at > now() - INTERVAL '1 hour'",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].get::<_, String>(0), "ana");
        assert_eq!(found[0].get::<_, i64>(2), 1);
        let denied = auditor
            .query_one(
                "SELECT count(*) FROM funnel.audit_log WHERE sqlstate = '42501'",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(denied.get::<_, i64>(0), 6);
    }
    // A superuser that acts as somebody else is that one.
    let admin = connect(&login(&server, "admin", "geheim-1")).await;
    admin.batch_execute("SET ROLE ana").await.unwrap();
    let failed = admin
        .query("SELECT * FROM funnel.audit_log", &[])
        .await
        .unwrap_err();
    assert_eq!(db_error(&failed).code().code(), "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_not_whole_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit");
    std::fs::create_dir(&audit).unwrap();
    std::fs::write(
        audit.join("audit-1.jsonl"),
        "{\"at\":\"2026-01-01T00:00:00.000001Z\",\"event\":\"login\",\"outcome\":\"ok\",\"new\":1}\nnonsense\n{\"at\":",
    )
    .unwrap();
    let engine = Engine::open(EngineOptions::new(folder.path()))
        .await
        .unwrap();
    let session = engine.session("funnelsql");
    let rows = session
        .query("SELECT at, event FROM funnel.audit_log")
        .await
        .unwrap();
    let rows = funnelsql::engine::text_rows(&rows[0]).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][1].as_deref(), Some("login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_superuser_says_what_is_slow() {
    let server = server(true, ROLES).await;
    let ana = connect(&login(&server, "ana", "geheim-2")).await;
    for sql in [
        "SET log_min_duration_statement = 0",
        "SELECT set_config('log_min_duration_statement', '0', false)",
    ] {
        let failed = ana.simple_query(sql).await.unwrap_err();
        assert_eq!(db_error(&failed).code().code(), "42501", "{sql}");
    }
    let admin = connect(&login(&server, "admin", "geheim-1")).await;
    admin
        .batch_execute("SET log_min_duration_statement = 0")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_begin_as_the_server_says() {
    let change = |options: &mut EngineOptions| {
        options
            .settings
            .insert("statement_timeout".to_owned(), "200ms".to_owned());
        options
            .settings
            .insert("TimeZone".to_owned(), "Asia/Shanghai".to_owned());
    };
    let server = TestServer::start_tuned(change, ServerOptions::new("127.0.0.1:0"), &[], "").await;
    let mut client = RawClient::start(server.address).await;
    let shown = rows(&client.query("SHOW statement_timeout").await);
    assert_eq!(shown[0][0].as_deref(), Some("200ms"));
    let instant = "SELECT '2026-01-01 00:00:00+00'::timestamptz";
    let shown = rows(&client.query(instant).await);
    assert_eq!(shown[0][0].as_deref(), Some("2026-01-01 08:00:00+08"));
    let long = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    assert_eq!(
        error(&client.query(long).await).field('C').unwrap(),
        "57014"
    );
    client.query("SET statement_timeout = '1min'").await;
    client.query("RESET statement_timeout").await;
    let shown = rows(&client.query("SHOW statement_timeout").await);
    assert_eq!(shown[0][0].as_deref(), Some("200ms"));
}
