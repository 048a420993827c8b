//! Tables of other databases: real ones, started for the test, and a file of SQLite's.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::remotes::{PASSWORD, RemoteServer};
use crate::support::{TestServer, db_error};

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let messages = client
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|at| row.get(at).unwrap_or("NULL").to_owned());
            Some(values.collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

async fn fails(client: &Client, sql: &str) -> (String, String) {
    let error = match client.simple_query(sql).await {
        Err(error) => error,
        Ok(_) => panic!("{sql} succeeded"),
    };
    let error = db_error(&error);
    (error.code().code().to_owned(), error.message().to_owned())
}

async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// An engine over a copy of the server's data, as after a restart.
async fn restarted(
    server: &TestServer,
) -> (tempfile::TempDir, std::sync::Arc<funnelsql::engine::Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .arg(server.data_dir())
        .arg(&data)
        .status();
    assert!(copied.unwrap().success());
    let options = funnelsql::engine::EngineOptions::new(data);
    (
        folder,
        funnelsql::engine::Engine::open(options).await.unwrap(),
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Makes the server known, and everybody enter it as `crm`.
async fn define(client: &Client, name: &str, wrapper: &str, remote: &RemoteServer) {
    run(
        client,
        &format!(
            "CREATE SERVER {name} FOREIGN DATA WRAPPER {wrapper} OPTIONS (host '127.0.0.1', port '{}', dbname 'crm');
             CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS (user 'crm', password {})",
            remote.port,
            quoted(PASSWORD)
        ),
    )
    .await;
}

const TYPES: &str = r#"
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN amount AS numeric(12,2);
CREATE TABLE kinds (
  id bigint PRIMARY KEY, small smallint, whole integer, "额" amount, free numeric, r real, d double precision,
  ok boolean, t text, v varchar(20), c char(5), u uuid, j json, jb jsonb, m mood, b bytea, day date, at timestamptz,
  ts timestamp, tm time, i interval, ints int[], words text[], ip inet, "Upper ""quoted""" text);
INSERT INTO kinds VALUES
  (1, -3, 7, 12.50, 0.1, 0.1, 0.30000000000000004, true, 'it''s "quoted" \ 中文', 'v', 'ab', '6F9619FF-8B86-D011-B42D-00C04FC964FF',
   '{"a": 1}', '{"b": [1, 2]}', 'glad', '\xdead00', '2024-02-29', '2024-03-10 01:30:00.123456+08', '2024-03-10 01:30:00',
   '23:59:59.5', '1 year 2 mons 3 days 04:05:06', '{1,NULL,3}', '{"a b",NULL,"c,d"}', '10.0.0.1', 'x'),
  (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, 32767, 2147483647, -9999999999.99, 12345678901234567890.0123456789, 3.4e38, 'Infinity', false, '', '', '', '00000000-0000-0000-0000-000000000000',
   '[]', '{}', 'sad', '', '0001-01-01', '9999-12-31 23:59:59+00', '0001-01-01 00:00:00', '00:00', '-1 day', '{}', '{}', '::1', '');
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_postgres_is_read_as_it_is() {
    let Some(remote) = RemoteServer::postgres() else {
        return;
    };
    remote.run(TYPES);
    let server = TestServer::start().await;
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &remote).await;
    run(
        &client,
        "IMPORT FOREIGN SCHEMA public FROM SERVER crm_db INTO public",
    )
    .await;
    // The same statement of both; what they answer has to be the same.
    for sql in [
        "SELECT id, small, whole, \"额\", free, r, d, ok, t, v, u, j, jb, m, b, day FROM kinds ORDER BY id",
        "SELECT id, at, ts, tm, i, ints, words, ip, \"Upper \"\"quoted\"\"\" FROM kinds ORDER BY id",
        "SELECT id, c::text FROM kinds ORDER BY id",
        "SELECT id FROM kinds WHERE ip IS NOT NULL ORDER BY id",
        "SELECT count(*) FROM kinds",
        "SELECT id, \"Upper \"\"quoted\"\"\" FROM kinds WHERE \"Upper \"\"quoted\"\"\" = 'x'",
        "SELECT id FROM kinds WHERE \"额\" > 12.4 AND \"额\" < 12.6",
        "SELECT id FROM kinds WHERE \"额\" = 12.5",
        "SELECT id FROM kinds WHERE id IN (1, 3, 99) ORDER BY id",
        "SELECT id FROM kinds WHERE id NOT IN (1) ORDER BY id",
        "SELECT id FROM kinds WHERE t LIKE 'it%' OR t IS NULL ORDER BY id",
        "SELECT id FROM kinds WHERE t NOT LIKE '%x%' ORDER BY id",
        "SELECT id FROM kinds WHERE t ILIKE 'IT%'",
        "SELECT id FROM kinds WHERE t = 'it''s \"quoted\" \\ 中文'",
        "SELECT id FROM kinds WHERE t < 'j' ORDER BY id",
        "SELECT id FROM kinds WHERE c = 'ab'",
        "SELECT id FROM kinds WHERE m = 'sad'",
        "SELECT id FROM kinds WHERE u = '6f9619ff-8b86-d011-b42d-00c04fc964ff'",
        "SELECT id FROM kinds WHERE at >= '2024-03-09 17:30:00+00' AND at < '2024-03-10'",
        "SELECT id FROM kinds WHERE day BETWEEN '2024-01-01' AND '2024-12-31'",
        "SELECT id FROM kinds WHERE ts = '2024-03-10 01:30:00'",
        "SELECT id FROM kinds WHERE ok ORDER BY id",
        "SELECT id FROM kinds WHERE NOT ok",
        "SELECT id FROM kinds WHERE d > 1e300",
        "SELECT id FROM kinds WHERE r = 0.1::real",
        "SELECT id FROM kinds WHERE whole + 1 > 5 AND whole < 100",
        "SELECT id FROM kinds WHERE upper(v) = 'V'",
        "SELECT id FROM kinds WHERE small IS NOT NULL ORDER BY id",
        "SELECT id FROM kinds WHERE (id = 1 AND small < 0) OR (id = 3 AND NOT ok) ORDER BY id",
        "SELECT id FROM kinds ORDER BY id DESC LIMIT 1",
        "SELECT count(small), min(small), max(\"额\"), sum(whole), sum(\"额\"), max(at) FROM kinds",
        "SELECT ok, count(*) FROM kinds GROUP BY ok ORDER BY ok",
        "SELECT ok, count(*) FROM kinds GROUP BY ok HAVING count(*) > 5",
        "SELECT a.id, b.t FROM kinds a JOIN kinds b ON a.id = b.id WHERE a.id < 3 ORDER BY 1",
        "SELECT min(day), max(day) FROM kinds WHERE id < 3",
        "SELECT count(DISTINCT ok) FROM kinds",
        "SELECT sum(whole) FILTER (WHERE id = 1) FROM kinds",
    ] {
        let here = texts(&client, sql).await.join("\n");
        let there = remote.run(&sql.replace('\n', " ")).replace("||", "|NULL|");
        // psql shows NULL as nothing, and so do we here.
        let plain = |text: &str| text.replace("NULL", "");
        let there = plain(&there).replace("||", "|").replace("||", "|");
        let here = plain(&here).replace("||", "|").replace("||", "|");
        assert_eq!(here.trim(), there.trim(), "{sql}");
    }
    // What psql shows of it.
    assert_eq!(
        texts(
            &client,
            "SELECT relkind::text FROM pg_class WHERE relname = 'kinds'"
        )
        .await,
        ["f"]
    );
    assert_eq!(
        texts(&client, "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'kinds'::regclass AND attnum IN (4, 10, 12, 14, 18, 22) ORDER BY attnum").await,
        ["numeric(12,2)", "character varying(20)", "uuid", "jsonb", "timestamp with time zone", "integer[]"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_can_do_is_done_there() {
    let Some(remote) = RemoteServer::postgres() else {
        return;
    };
    remote.run(
        "CREATE TABLE deals (id int, owner text, amount numeric(10,2), at timestamptz, won date);
         INSERT INTO deals SELECT g, 'o' || g % 3, g, '2024-01-01'::timestamptz + g * interval '1 hour', NULL FROM generate_series(1, 1000) g",
    );
    let server = TestServer::start().await;
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &remote).await;
    run(
        &client,
        "CREATE FOREIGN TABLE deals SERVER crm_db OPTIONS (schema_name 'public', table_name 'deals')",
    )
    .await;
    for (sql, sent) in [
        (
            "SELECT id FROM deals WHERE owner = 'o1' AND amount >= 10.5 AND at < '2024-01-02 00:00:00+00'",
            "SELECT \"id\" FROM \"public\".\"deals\" WHERE \"owner\" = 'o1' AND \"amount\" >= 10.50 AND \"at\" < TIMESTAMPTZ '2024-01-02 00:00:00.000000+00'",
        ),
        (
            "SELECT owner FROM deals WHERE owner LIKE 'o%' LIMIT 5",
            "SELECT \"owner\" FROM \"public\".\"deals\" WHERE \"owner\" LIKE 'o%' LIMIT 5",
        ),
        (
            "SELECT owner, count(*), sum(amount) FROM deals WHERE id > 5 GROUP BY owner",
            "SELECT \"owner\", count(*), sum(\"amount\") FROM \"public\".\"deals\" WHERE \"id\" > 5 GROUP BY \"owner\"",
        ),
        (
            "SELECT count(*) FROM deals",
            "SELECT count(*) FROM \"public\".\"deals\"",
        ),
        (
            "SELECT id FROM deals WHERE won IS NULL AND id BETWEEN 5 AND 7",
            "SELECT \"id\" FROM \"public\".\"deals\" WHERE \"won\" IS NULL AND \"id\" >= 5 AND \"id\" <= 7",
        ),
        // A function that only we have stays here; the rest of the condition doesn't.
        (
            "SELECT id FROM deals WHERE mask_name(owner) = 'x' AND id = 3",
            "SELECT \"id\", \"owner\" FROM \"public\".\"deals\" WHERE \"id\" = 3",
        ),
    ] {
        texts(&client, sql).await;
        let logged = remote.logged(&format!("statement: {sent}"));
        assert!(
            logged.iter().any(|line| line.ends_with(sent)),
            "{sql}: {:?}",
            remote.logged("FROM \"public\"").last()
        );
        let plan = texts(&client, &format!("EXPLAIN {sql}")).await.join("\n");
        assert!(plan.contains(sent), "{plan}");
        assert!(!plan.contains("geheim"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_and_sqlite_are_read_as_they_are() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let file = server.data_dir().join("crm.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE calls (id INTEGER PRIMARY KEY, \"who\" TEXT COLLATE NOCASE, minutes REAL, amount DECIMAL(10,2), done BOOLEAN, day DATE, at DATETIME, raw BLOB);
             INSERT INTO calls VALUES (1, 'Ana', 2.5, 12.5, 1, '2024-02-29', '2024-02-29 10:00:00', x'dead'), (2, '李雷', NULL, NULL, 0, NULL, NULL, NULL);",
        )
        .unwrap();
    run(
        &client,
        &format!(
            "CREATE SERVER phone FOREIGN DATA WRAPPER sqlite OPTIONS (database {});
             CREATE SCHEMA phone;
             IMPORT FOREIGN SCHEMA main FROM SERVER phone INTO phone",
            quoted(&file.display().to_string())
        ),
    )
    .await;
    assert_eq!(
        texts(&client, "SELECT * FROM phone.calls ORDER BY id").await,
        [
            "1|Ana|2.5|12.50|t|2024-02-29|2024-02-29 10:00:00|\\xdead",
            "2|李雷|NULL|NULL|f|NULL|NULL|NULL"
        ]
    );
    // Upper and lower case are different here, whatever they are there.
    assert!(
        texts(&client, "SELECT id FROM phone.calls WHERE who = 'ana'")
            .await
            .is_empty()
    );
    assert!(
        texts(&client, "SELECT id FROM phone.calls WHERE who LIKE 'ana'")
            .await
            .is_empty()
    );
    assert_eq!(
        texts(
            &client,
            "SELECT id FROM phone.calls WHERE who = 'Ana' AND minutes > 2"
        )
        .await,
        ["1"]
    );
    // What is gone there is said, and is no text of that name.
    connection
        .execute_batch("ALTER TABLE calls RENAME COLUMN minutes TO seconds")
        .unwrap();
    let (code, message) = fails(&client, "SELECT minutes FROM phone.calls").await;
    assert_eq!(code, "HV005");
    assert!(
        message.contains("server \"phone\"") && message.contains("minutes"),
        "{message}"
    );
    connection
        .execute_batch("UPDATE calls SET amount = 'much'")
        .unwrap();
    let (code, message) = fails(&client, "SELECT amount FROM phone.calls").await;
    assert_eq!(code, "HV004");
    assert!(message.contains("column \"amount\""), "{message}");

    let Some(remote) = RemoteServer::mariadb() else {
        return;
    };
    remote.run(
        "CREATE TABLE spend (id int unsigned PRIMARY KEY, big bigint unsigned, ok tinyint(1), amount decimal(12,2), f float, d double,
           channel varchar(20), kind enum('ad','展会'), at datetime(6), seen timestamp NULL, day date, info json, raw varbinary(5), bits bit(3), y year);
         INSERT INTO spend VALUES
           (1, 18446744073709551615, 1, 12.50, 0.1, 0.30000000000000004, 'Web''\\\\\"', '展会', '2024-03-10 01:30:00.123456', '2024-03-10 01:30:00', '2024-02-29', '{\"a\": 1}', x'dead', b'101', 2024),
           (4000000000, NULL, 0, NULL, NULL, NULL, 'web', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
         SET sql_mode = ''; INSERT INTO spend (id, day, at) VALUES (7, '0000-00-00', '0000-00-00')",
    );
    define(&client, "ads", "mysql", &remote).await;
    run(
        &client,
        "CREATE SCHEMA ads; IMPORT FOREIGN SCHEMA crm FROM SERVER ads INTO ads",
    )
    .await;
    assert_eq!(
        texts(&client, "SELECT * FROM ads.spend ORDER BY id").await,
        [
            "1|18446744073709551615|t|12.50|0.1|0.30000000000000004|Web'\\\"|展会|2024-03-10 01:30:00.123456|2024-03-10 01:30:00+00|2024-02-29|{\"a\": 1}|\\xdead|5|2024",
            "7|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL",
            "4000000000|NULL|f|NULL|NULL|NULL|web|NULL|NULL|NULL|NULL|NULL|NULL|NULL|NULL"
        ]
    );
    for (sql, expected) in [
        ("SELECT id FROM ads.spend WHERE channel = 'WEB'", vec![]),
        (
            "SELECT id FROM ads.spend WHERE channel = 'web'",
            vec!["4000000000"],
        ),
        (
            "SELECT id FROM ads.spend WHERE channel <> 'WEB' ORDER BY id",
            vec!["1", "4000000000"],
        ),
        (
            "SELECT id FROM ads.spend WHERE channel = 'Web''\\\"'",
            vec!["1"],
        ),
        (
            "SELECT id FROM ads.spend WHERE channel = '\\'' OR 1=1 -- '",
            vec![],
        ),
        (
            "SELECT id FROM ads.spend WHERE day IS NULL ORDER BY id",
            vec!["7", "4000000000"],
        ),
        (
            "SELECT id FROM ads.spend WHERE day < '2024-03-01'",
            vec!["1"],
        ),
        (
            "SELECT id FROM ads.spend WHERE seen = '2024-03-10 01:30:00+00'",
            vec!["1"],
        ),
        ("SELECT id FROM ads.spend WHERE kind = '展会'", vec!["1"]),
        ("SELECT id FROM ads.spend WHERE ok", vec!["1"]),
        (
            "SELECT id FROM ads.spend WHERE amount > 12.4 AND d < 1",
            vec!["1"],
        ),
        (
            "SELECT channel, count(*) FROM ads.spend GROUP BY channel ORDER BY 1",
            vec!["Web'\\\"|1", "web|1", "NULL|1"],
        ),
        (
            "SELECT count(*), sum(amount), max(id) FROM ads.spend WHERE id < 100",
            vec!["2|12.50|7"],
        ),
        ("SELECT id FROM ads.spend ORDER BY id LIMIT 1", vec!["1"]),
    ] {
        assert_eq!(texts(&client, sql).await, expected, "{sql}");
    }
    let sent = "SELECT count(*), sum(`amount`), max(`id`) FROM `crm`.`spend` WHERE `id` < 100";
    assert!(
        !remote.logged(sent).is_empty(),
        "{:?}",
        remote.logged("`spend`")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_seen_whole_or_not_at_all() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let file = server.data_dir().join("crm.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE rows (id INTEGER PRIMARY KEY, round INTEGER);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) INSERT INTO rows SELECT i, 0 FROM n",
        )
        .unwrap();
    let define = format!(
        "CREATE SERVER local FOREIGN DATA WRAPPER sqlite OPTIONS (database {});
         CREATE FOREIGN TABLE source SERVER local OPTIONS (table_name 'rows');
         CREATE MATERIALIZED VIEW copy WITH (watermark = 'round', key = 'id') AS SELECT * FROM source",
        quoted(&file.display().to_string())
    );
    run(&client, &define).await;
    let done = std::sync::atomic::AtomicBool::new(false);
    let reading = async {
        let reader = server.client().await;
        let mut seen = std::collections::BTreeSet::new();
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let rows = texts(&reader, "SELECT count(*), min(round), max(round) FROM copy").await;
            let numbers: Vec<&str> = rows[0].split('|').collect();
            assert_eq!(
                (numbers[0], numbers[1]),
                ("20000", numbers[2]),
                "half of a refresh"
            );
            seen.insert(numbers[1].to_owned());
        }
        seen
    };
    let writing = async {
        for _ in 0..10 {
            connection
                .execute_batch("UPDATE rows SET round = round + 1")
                .unwrap();
            run(&client, "REFRESH MATERIALIZED VIEW copy").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (seen, ()) = tokio::join!(reading, writing);
    assert!(seen.len() > 2, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_refreshed_by_themselves_and_stay_through_a_restart() {
    let refresh = |view: &str| funnelsql::server::Refresh {
        view: view.to_owned(),
        every: Duration::from_millis(200),
    };
    let options = funnelsql::server::ServerOptions {
        refreshes: vec![refresh("crm.\"副本\""), refresh("nowhere.nothing")],
        ..funnelsql::server::ServerOptions::new("127.0.0.1:0")
    };
    let define = "CREATE MATERIALIZED VIEW crm.\"副本\" (id, what, at) WITH (watermark = 'at', key = 'id') AS SELECT lead_id, event, occurred_at FROM crm.events WHERE event = 'won';
                  CREATE MATERIALIZED VIEW empty AS SELECT 1 AS a WITH NO DATA;
                  CREATE VIEW over_it AS SELECT count(*) AS n FROM crm.\"副本\"";
    let server = TestServer::start_as(options, define).await;
    let client = server.client().await;
    assert_eq!(texts(&client, "SELECT n FROM over_it").await, ["2"]);
    let events = server.data_dir().join("tables/crm/events.csv");
    let mut text = std::fs::read_to_string(&events).unwrap();
    text.push_str("2,won,2026-02-05T09:00:00Z,展会,10\n");
    std::fs::write(&events, text).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while texts(&client, "SELECT n FROM over_it").await != ["3"] {
        assert!(Instant::now() < until, "it is not refreshed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    run(
        &client,
        "ALTER MATERIALIZED VIEW crm.\"副本\" RENAME TO copy; DROP VIEW over_it",
    )
    .await;
    // Without its source, and under its new name.
    std::fs::remove_file(&events).unwrap();
    let (folder, engine) = restarted(&server).await;
    let session = engine.session("ana");
    let rows = session
        .query("SELECT id::text, at::text FROM crm.copy ORDER BY id")
        .await
        .unwrap();
    let rows: Vec<_> = rows
        .iter()
        .flat_map(|batch| funnelsql::engine::text_rows(batch).unwrap())
        .collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1][1].as_deref(), Some("2026-02-05 09:00:00"));
    assert_eq!(
        session
            .query("SELECT * FROM empty")
            .await
            .unwrap_err()
            .code(),
        "55000"
    );
    let error = session
        .run("REFRESH MATERIALIZED VIEW crm.copy")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("events"), "{error}");
    assert_eq!(
        session
            .query("SELECT * FROM crm.copy")
            .await
            .unwrap()
            .iter()
            .map(|batch| batch.num_rows())
            .sum::<usize>(),
        3
    );
    let folders = || {
        std::fs::read_dir(folder.path().join("data/views"))
            .unwrap()
            .count()
    };
    assert_eq!(folders(), 2);
    session
        .run("DROP MATERIALIZED VIEW crm.copy, empty")
        .await
        .unwrap();
    assert_eq!(folders(), 0);
}

/// Views whose rows take half a minute there.
const SLOW_POSTGRES: &str = "CREATE VIEW slow AS SELECT 1 AS n FROM pg_sleep(30)";
const SLOW_MARIADB: &str = "CREATE VIEW slow AS SELECT sleep(30) AS n";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_canceled_here_is_canceled_there() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let postgres = RemoteServer::postgres();
    if let Some(remote) = &postgres {
        remote.run(SLOW_POSTGRES);
        define(&client, "crm_db", "postgres", remote).await;
        run(&client, "CREATE FOREIGN TABLE slow_pg SERVER crm_db OPTIONS (schema_name 'public', table_name 'slow')").await;
        check_cancel(&server, "slow_pg", || {
            remote.run("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%\"slow\"%' AND pid <> pg_backend_pid()") == "0"
        })
        .await;
    }
    let mariadb = RemoteServer::mariadb();
    if let Some(remote) = &mariadb {
        remote.run(SLOW_MARIADB);
        define(&client, "ads", "mysql", remote).await;
        run(
            &client,
            "CREATE FOREIGN TABLE slow_my SERVER ads OPTIONS (table_name 'slow')",
        )
        .await;
        check_cancel(&server, "slow_my", || {
            remote.run("SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%`slow`%' AND ID <> CONNECTION_ID()") == "0"
        })
        .await;
    }
}

/// By the client's request and by a time limit; and many times in a row, so that a lost connection would be missed.
async fn check_cancel(server: &TestServer, table: &str, is_idle: impl Fn() -> bool) {
    let client = server.client().await;
    let sql = format!("SELECT n FROM {table}");
    let started = Instant::now();
    for _ in 0..12 {
        run(&client, "SET statement_timeout = '300ms'").await;
        assert_eq!(fails(&client, &sql).await.0, "57014");
    }
    run(&client, "SET statement_timeout = 0").await;
    let token = client.cancel_token();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        token.cancel_query(tokio_postgres::NoTls).await.unwrap();
    });
    assert_eq!(fails(&client, &sql).await.0, "57014");
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "{:?}",
        started.elapsed()
    );
    let until = Instant::now() + Duration::from_secs(5);
    while !is_idle() {
        assert!(Instant::now() < until, "{table} is still read there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_queries_of_a_server_that_is_down_fail() {
    let Some(mut remote) = RemoteServer::postgres() else {
        return;
    };
    remote.run("CREATE TABLE deals (id int, owner text); INSERT INTO deals VALUES (1, 'ana')");
    let server = TestServer::start().await;
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &remote).await;
    run(
        &client,
        "CREATE FOREIGN TABLE deals SERVER crm_db OPTIONS (schema_name 'public', table_name 'deals');
         CREATE VIEW owners AS SELECT owner FROM deals",
    )
    .await;
    assert_eq!(texts(&client, "SELECT * FROM owners").await, ["ana"]);
    remote.stop();
    let started = Instant::now();
    for _ in 0..2 {
        let (code, message) = fails(&client, "SELECT * FROM owners").await;
        assert_eq!(code, "08001");
        assert!(
            message.contains("\"crm_db\"") && !message.contains("geheim"),
            "{message}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(15));
    assert_eq!(
        texts(&client, "SELECT count(*) FROM crm.events").await,
        ["5"]
    );
    // An engine starts while the server is away, and knows its tables.
    let (_folder, engine) = restarted(&server).await;
    let session = engine.session("ana");
    let planned = session
        .query(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'deals'",
        )
        .await
        .unwrap();
    assert_eq!(
        planned.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        2
    );
    let error = session.query("SELECT * FROM deals").await.unwrap_err();
    assert_eq!(error.code(), "08001");
    // It is back: so are its rows.
    remote.start();
    let until = Instant::now() + Duration::from_secs(30);
    while client.simple_query("SELECT * FROM owners").await.is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What has changed there is said.
    remote.run("ALTER TABLE deals RENAME COLUMN owner TO who");
    let (code, message) = fails(&client, "SELECT owner FROM deals").await;
    assert_eq!(code, "HV005");
    assert!(
        message.contains("crm_db") && message.contains("owner"),
        "{message}"
    );
    remote.run("ALTER TABLE deals RENAME COLUMN who TO owner; ALTER TABLE deals ALTER COLUMN id TYPE text USING 'x' || id");
    let (code, message) = fails(&client, "SELECT id FROM deals").await;
    assert_eq!(code, "HV004");
    assert!(message.contains("\"id\""), "{message}");
    remote.run("DROP TABLE deals");
    assert_eq!(fails(&client, "SELECT owner FROM deals").await.0, "HV00R");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_seen_nowhere() {
    let Some(remote) = RemoteServer::postgres() else {
        return;
    };
    remote.run("CREATE TABLE deals (id int)");
    let server = TestServer::start_tuned(
        |options| {
            options.audit = Some(funnelsql::audit::AuditOptions::new(
                options.data_dir.join("audit"),
            ))
        },
        funnelsql::server::ServerOptions::new("127.0.0.1:0"),
        &[],
        "",
    )
    .await;
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &remote).await;
    run(
        &client,
        "CREATE FOREIGN TABLE deals SERVER crm_db OPTIONS (schema_name 'public')",
    )
    .await;
    let _ = client
        .simple_query(
            "ALTER USER MAPPING FOR PUBLIC SERVER crm_db OPTIONS (SET password 'geheim' 'geheim')",
        )
        .await;
    let (_, message) = fails(
        &client,
        "ALTER USER MAPPING FOR PUBLIC SERVER crm_db OPTIONS (password 'geheim')",
    )
    .await;
    assert!(!message.contains("geheim"), "{message}");
    run(
        &client,
        "ALTER USER MAPPING FOR PUBLIC SERVER crm_db OPTIONS (SET password 'geheim falsch')",
    )
    .await;
    let (code, message) = fails(&client, "SELECT * FROM deals").await;
    assert_eq!(code, "08001");
    assert!(
        message.contains("password authentication failed") && !message.contains("geheim"),
        "{message}"
    );
    for sql in [
        "SELECT * FROM pg_user_mappings",
        "SELECT * FROM pg_user_mapping",
        "SELECT * FROM pg_foreign_server",
        "SELECT * FROM information_schema.user_mapping_options",
        "SELECT * FROM pg_stat_activity",
        "EXPLAIN SELECT * FROM deals",
        "SELECT * FROM funnel.audit_log",
    ] {
        let shown = texts(&client, sql).await.join("\n");
        assert!(!shown.contains("geheim"), "{sql}: {shown}");
    }
    assert_eq!(
        texts(
            &client,
            "SELECT srvname, usename, umoptions FROM pg_user_mappings"
        )
        .await,
        ["crm_db|public|{user=crm}"]
    );
    // By a file and by a variable, which are read when it connects.
    let file = server.data_dir().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let sql = format!(
        "ALTER USER MAPPING FOR PUBLIC SERVER crm_db OPTIONS (DROP password, password_file {})",
        quoted(&file.display().to_string())
    );
    run(&client, &sql).await;
    assert!(texts(&client, "SELECT * FROM deals").await.is_empty());
    run(&client, "ALTER USER MAPPING FOR PUBLIC SERVER crm_db OPTIONS (DROP password_file, password_env 'NO_SUCH_VARIABLE')").await;
    let (code, message) = fails(&client, "SELECT * FROM deals").await;
    assert_eq!(code, "08001");
    assert!(message.contains("NO_SUCH_VARIABLE"), "{message}");
    assert_eq!(
        fails(
            &client,
            "ALTER USER MAPPING FOR PUBLIC SERVER crm_db OPTIONS (password 'geheim')"
        )
        .await
        .0,
        "HV024"
    );
    // Everything of the data directory but the one file that is for the owner alone.
    let found = files_with(server.data_dir(), "geheim");
    assert!(
        found
            .iter()
            .all(|file| file.contains("/secrets/") || file.ends_with("/password")),
        "{found:?}"
    );
}

fn files_with(folder: &std::path::Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(text) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn one_funnel_over_three_sources_is_live_and_as_good_from_copies() {
    let (Some(postgres), Some(mariadb)) = (RemoteServer::postgres(), RemoteServer::mariadb())
    else {
        return;
    };
    postgres.run(
        "CREATE TABLE contracts (lead int, stage text, at timestamptz, updated_at timestamptz);
         INSERT INTO contracts SELECT g, 'signed', '2026-02-01'::timestamptz + g * interval '1 hour', '2026-02-01'::timestamptz + g * interval '1 hour' FROM generate_series(1, 20) g",
    );
    mariadb.run(
        "CREATE TABLE leads (lead int, created datetime, channel varchar(20)) CHARACTER SET utf8mb4;
         INSERT INTO leads SELECT seq, '2026-01-01' + INTERVAL seq HOUR, IF(seq % 2, '广告', 'web') FROM seq_1_to_100",
    );
    let server = TestServer::start().await;
    let calls = server.data_dir().join("calls.csv");
    let rows: Vec<String> = (1..=60)
        .map(|lead| format!("{lead},2026-01-15T10:00:00Z"))
        .collect();
    std::fs::write(&calls, format!("lead,called_at\n{}\n", rows.join("\n"))).unwrap();
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &postgres).await;
    define(&client, "ads", "mysql", &mariadb).await;
    run(
        &client,
        &format!(
            "CREATE FOREIGN TABLE contracts SERVER crm_db OPTIONS (schema_name 'public', table_name 'contracts');
             CREATE FOREIGN TABLE leads SERVER ads OPTIONS (table_name 'leads');
             CREATE EXTERNAL TABLE calls STORED AS CSV LOCATION {} OPTIONS ('format.has_header' 'true');
             CREATE FUNNEL 全程 ON (
               SELECT lead, 'lead' AS event, created::timestamptz AS at, channel FROM leads
               UNION ALL SELECT lead, 'called', called_at::timestamptz, NULL FROM calls
               UNION ALL SELECT lead, stage, at, NULL FROM contracts
             ) (ENTITY lead, TIME at, STAGE acquired WHEN event = 'lead', STAGE called WHEN event = 'called',
                STAGE won WHEN event = 'signed', DIMENSIONS (channel))",
            quoted(&calls.display().to_string())
        ),
    )
    .await;
    let live = "SELECT stage, entered FROM stage_conversion('全程')";
    assert_eq!(
        texts(&client, live).await,
        ["acquired|100", "called|60", "won|20"]
    );
    // A new contract there is one more here, in the next query.
    postgres.run("INSERT INTO contracts VALUES (21, 'signed', '2026-02-03', '2026-03-01')");
    assert_eq!(
        texts(&client, live).await,
        ["acquired|100", "called|60", "won|21"]
    );

    run(
        &client,
        "CREATE MATERIALIZED VIEW contracts_copy WITH (watermark = 'updated_at', key = 'lead') AS SELECT * FROM contracts;
         CREATE MATERIALIZED VIEW leads_copy AS SELECT * FROM leads;
         CREATE MATERIALIZED VIEW calls_copy AS SELECT * FROM calls;
         CREATE FUNNEL copies ON (
           SELECT lead, 'lead' AS event, created::timestamptz AS at, channel FROM leads_copy
           UNION ALL SELECT lead, 'called', called_at::timestamptz, NULL FROM calls_copy
           UNION ALL SELECT lead, stage, at, NULL FROM contracts_copy
         ) (ENTITY lead, TIME at, STAGE acquired WHEN event = 'lead', STAGE called WHEN event = 'called',
            STAGE won WHEN event = 'signed', DIMENSIONS (channel))",
    )
    .await;
    for query in [
        "SELECT stage, entered, k, n, rate FROM stage_conversion('FUNNEL', as_of => '2026-06-01')",
        "SELECT channel, stage, k, n FROM stage_conversion('FUNNEL', by => 'channel', as_of => '2026-06-01') ORDER BY 1, 2",
        "SELECT * FROM journeys('FUNNEL') ORDER BY 1",
    ] {
        let of = |funnel: &str| query.replace("FUNNEL", funnel);
        let (live, copies) = (
            texts(&client, &of("全程")).await,
            texts(&client, &of("copies")).await,
        );
        assert_eq!(live, copies, "{query}");
        assert!(!live.is_empty());
    }
    // Only what is new is read again, ties of the last watermark included.
    postgres.run("INSERT INTO contracts VALUES (22, 'signed', '2026-02-04', '2026-03-01'), (23, 'signed', '2026-02-04', NULL); UPDATE contracts SET at = '2026-02-09' WHERE lead = 21");
    run(&client, "REFRESH MATERIALIZED VIEW contracts_copy").await;
    assert_eq!(
        texts(
            &client,
            "SELECT lead, at::date FROM contracts_copy WHERE lead > 20 ORDER BY 1"
        )
        .await,
        ["21|2026-02-09", "22|2026-02-04", "23|2026-02-04"]
    );
    let sent = "WHERE (\"updated_at\" >= TIMESTAMPTZ '2026-03-01 00:00:00.000000+00' OR \"updated_at\" IS NULL)";
    assert!(
        !postgres.logged(sent).is_empty(),
        "{:?}",
        postgres.logged("updated_at")
    );
    assert_eq!(
        texts(&client, "SELECT count(*) FROM contracts_copy").await,
        ["23"]
    );
    // What was deleted there is only gone when all is read.
    postgres.run("DELETE FROM contracts WHERE lead = 1");
    run(&client, "REFRESH MATERIALIZED VIEW contracts_copy").await;
    assert_eq!(
        texts(&client, "SELECT count(*) FROM contracts_copy").await,
        ["23"]
    );
    run(&client, "REFRESH MATERIALIZED VIEW FULL contracts_copy").await;
    assert_eq!(
        texts(&client, "SELECT count(*) FROM contracts_copy").await,
        ["22"]
    );
    let all = texts(&client, "SELECT * FROM contracts ORDER BY lead").await;
    assert_eq!(
        texts(&client, "SELECT * FROM contracts_copy ORDER BY lead").await,
        all
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_policies_and_masks_hold_on_foreign_tables() {
    let Some(remote) = RemoteServer::postgres() else {
        return;
    };
    remote.run("CREATE TABLE deals (id int, owner text, amount int); INSERT INTO deals VALUES (1, 'ana', 10), (2, 'bo', 20), (3, 'ana', 30)");
    let server = TestServer::start().await;
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &remote).await;
    run(
        &client,
        "CREATE FOREIGN TABLE deals SERVER crm_db OPTIONS (schema_name 'public', table_name 'deals');
         CREATE ROLE seller",
    )
    .await;
    let as_seller = |sql: &str| format!("SET ROLE seller; {sql}; RESET ROLE");
    assert_eq!(
        fails(&client, &as_seller("SELECT * FROM deals")).await.0,
        "42501"
    );
    run(&client, "RESET ROLE; GRANT SELECT ON deals TO seller").await;
    assert_eq!(
        texts(&client, &as_seller("SELECT count(*) FROM deals")).await,
        ["3"]
    );
    run(
        &client,
        "CREATE POLICY own ON deals TO seller USING (owner = 'ana'); ALTER TABLE deals ENABLE ROW LEVEL SECURITY;
         CREATE MASK amount ON deals (amount) TO seller USING (0)",
    )
    .await;
    assert_eq!(
        texts(&client, &as_seller("SELECT * FROM deals ORDER BY id")).await,
        ["1|ana|0", "3|ana|0"]
    );
    // Not counted there, where nobody knows of policies.
    assert_eq!(
        texts(
            &client,
            &as_seller("SELECT count(*), sum(amount), max(id) FROM deals")
        )
        .await,
        ["2|0|3"]
    );
    assert_eq!(
        texts(
            &client,
            &as_seller("SELECT id FROM deals WHERE amount = 10")
        )
        .await,
        Vec::<String>::new()
    );
    // Tables are made of a server by whoever may use it.
    let create = "CREATE FOREIGN TABLE mine SERVER crm_db OPTIONS (schema_name 'public', table_name 'deals')";
    assert_eq!(fails(&client, &as_seller(create)).await.0, "42501");
    run(
        &client,
        "RESET ROLE; GRANT USAGE ON FOREIGN SERVER crm_db TO seller",
    )
    .await;
    // And in schemas where they may.
    assert_eq!(fails(&client, &as_seller(create)).await.0, "42501");
    let import = "IMPORT FOREIGN SCHEMA public FROM SERVER crm_db INTO public";
    assert_eq!(fails(&client, &as_seller(import)).await.0, "42501");
    run(
        &client,
        "RESET ROLE; GRANT CREATE ON SCHEMA public TO seller",
    )
    .await;
    run(&client, &as_seller(create)).await;
    assert_eq!(
        texts(&client, &as_seller("SELECT count(*) FROM mine")).await,
        ["3"]
    );
    for sql in [
        "CREATE SERVER other FOREIGN DATA WRAPPER sqlite OPTIONS (database '/etc/passwd')",
        "ALTER SERVER crm_db OPTIONS (SET host 'example.org')",
        "CREATE USER MAPPING FOR seller SERVER crm_db OPTIONS (user 'crm')",
        "DROP SERVER crm_db CASCADE",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM mine",
    ] {
        assert_eq!(fails(&client, &as_seller(sql)).await.0, "42501", "{sql}");
        run(&client, "RESET ROLE").await;
    }
    assert_eq!(fails(&client, "DROP TABLE mine").await.0, "42809");
    assert_eq!(fails(&client, "DROP SERVER crm_db").await.0, "2BP01");
    run(&client, "DROP SERVER crm_db CASCADE").await;
    assert_eq!(fails(&client, "SELECT * FROM deals").await.0, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_few_and_given_back() {
    let Some(remote) = RemoteServer::postgres() else {
        return;
    };
    remote.run("CREATE TABLE numbers AS SELECT g AS n, repeat('x', 100) AS t FROM generate_series(1, 100000) g");
    let server = TestServer::start().await;
    let client = server.client().await;
    define(&client, "crm_db", "postgres", &remote).await;
    run(
        &client,
        "ALTER SERVER crm_db OPTIONS (pool_size '3');
         CREATE FOREIGN TABLE numbers SERVER crm_db OPTIONS (schema_name 'public', table_name 'numbers')",
    )
    .await;
    // More queries than connections, and some that nobody reads to their end.
    let queries = (0..12).map(|at| {
        let server = &server;
        async move {
            let client = server.client().await;
            for round in 0..3 {
                let sql = match (at + round) % 3 {
                    0 => "SELECT max(length(t)) FROM numbers",
                    1 => "SELECT a.n FROM numbers a JOIN numbers b ON a.n = b.n WHERE a.n % 2 = 0 ORDER BY 1 DESC LIMIT 1",
                    _ => "SELECT n FROM numbers WHERE length(t) = 100 LIMIT 1",
                };
                assert_eq!(texts(&client, sql).await.len(), 1);
            }
        }
    });
    futures::future::join_all(queries).await;
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'funnelsql'";
    let used: u32 = remote.run(connections).parse().unwrap();
    assert!(used <= 3, "{used} connections");
}
