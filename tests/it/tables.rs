//! Durable tables over the wire: transactions, copies, whose rows are whose, restarts, and servers that are killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use funnelsql::engine::{Engine, EngineOptions};
use futures::SinkExt;
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use crate::support::{TestServer, connect, db_error};

async fn run(client: &Client, sql: &str) {
    client
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

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

async fn code(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.unwrap_err();
    db_error(&error).code().code().to_owned()
}

/// Copies these bytes; the rows, or the error.
async fn copy(client: &Client, sql: &str, parts: &[&[u8]]) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    futures::pin_mut!(sink);
    for part in parts {
        sink.send(Bytes::copy_from_slice(part)).await?;
    }
    sink.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_sees_its_own_rows_and_nobody_else_does_before_it_commits() {
    let server = TestServer::start().await;
    let (ana, bob) = (server.client().await, server.client().await);
    run(
        &ana,
        "CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int)",
    )
    .await;
    run(&ana, "BEGIN").await;
    for id in 0..20 {
        run(&ana, &format!("INSERT INTO a VALUES ({id}, {id})")).await;
    }
    run(
        &ana,
        "UPDATE a SET n = n + 1 WHERE id < 10; DELETE FROM a WHERE id = 19",
    )
    .await;
    run(&ana, "INSERT INTO b VALUES (1)").await;
    let sums = "SELECT count(*), sum(n) FROM a";
    assert_eq!(texts(&ana, sums).await, ["19|181"]);
    assert_eq!(texts(&bob, sums).await, ["0|NULL"]);
    assert_eq!(code(&ana, "INSERT INTO a VALUES (3, 3)").await, "23505");
    assert_eq!(code(&ana, "SELECT 1").await, "25P02");
    run(&ana, "COMMIT").await;
    assert_eq!(
        texts(&ana, sums).await,
        ["0|NULL"],
        "a failed block is rolled back"
    );
    run(
        &ana,
        "BEGIN; INSERT INTO a VALUES (1, 1); INSERT INTO b VALUES (1); SAVEPOINT s",
    )
    .await;
    assert_eq!(code(&ana, "INSERT INTO a VALUES (1, 1)").await, "23505");
    run(&ana, "ROLLBACK TO s; INSERT INTO a VALUES (2, 2); COMMIT").await;
    assert_eq!(texts(&bob, sums).await, ["2|3"]);
    assert_eq!(texts(&bob, "SELECT * FROM b").await, ["1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_blocks_that_change_the_same_rows_one_fails() {
    let server = TestServer::start().await;
    let (ana, bob) = (server.client().await, server.client().await);
    run(&ana, "CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    run(&ana, "INSERT INTO t VALUES (1, 0), (2, 0)").await;
    run(&ana, "BEGIN; UPDATE t SET n = n + 1 WHERE id = 1").await;
    run(&bob, "BEGIN; UPDATE t SET n = n + 10 WHERE id = 1; COMMIT").await;
    assert_eq!(code(&ana, "COMMIT").await, "40001");
    run(&ana, "SELECT 1").await;
    assert_eq!(texts(&ana, "SELECT n FROM t WHERE id = 1").await, ["10"]);
    // Rows that are only added go on top of each other, as long as their keys differ.
    run(&ana, "BEGIN; INSERT INTO t VALUES (3, 3)").await;
    run(&bob, "INSERT INTO t VALUES (4, 4)").await;
    run(&ana, "COMMIT").await;
    run(&ana, "BEGIN; INSERT INTO t VALUES (5, 5)").await;
    run(&bob, "INSERT INTO t VALUES (5, 50)").await;
    assert_eq!(code(&ana, "COMMIT").await, "23505");
    assert_eq!(
        texts(&ana, "SELECT id, n FROM t WHERE id > 2 ORDER BY id").await,
        ["3|3", "4|4", "5|50"]
    );
    // Under REPEATABLE READ every statement sees what the first one saw.
    run(
        &ana,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t",
    )
    .await;
    run(&bob, "DELETE FROM t").await;
    assert_eq!(texts(&ana, "SELECT count(*) FROM t").await, ["5"]);
    run(&ana, "COMMIT").await;
    assert_eq!(texts(&ana, "SELECT count(*) FROM t").await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_has_changed_a_table_sees_what_others_commit_to_it() {
    let server = TestServer::start().await;
    let (ana, bob) = (server.client().await, server.client().await);
    run(&ana, "CREATE TABLE t (id int PRIMARY KEY, n int)").await;
    run(&ana, "INSERT INTO t VALUES (1, 1), (2, 2)").await;
    let rows = "SELECT id, n FROM t ORDER BY id";
    run(&ana, "BEGIN").await;
    run(&ana, "INSERT INTO t VALUES (300, 0)").await;
    run(&bob, "INSERT INTO t VALUES (3, 3)").await;
    assert_eq!(texts(&ana, rows).await, ["1|1", "2|2", "3|3", "300|0"]);
    // It changes a row that came since, and others go on.
    run(&ana, "UPDATE t SET n = 30 WHERE id = 3").await;
    run(&bob, "INSERT INTO t VALUES (4, 4)").await;
    run(&bob, "DELETE FROM t WHERE id = 1").await;
    assert_eq!(texts(&ana, rows).await, ["2|2", "3|30", "4|4", "300|0"]);
    run(&ana, "SAVEPOINT s").await;
    assert_eq!(code(&ana, "INSERT INTO t VALUES (4, 5)").await, "23505");
    run(&ana, "ROLLBACK TO s").await;
    run(&ana, "COMMIT").await;
    assert_eq!(texts(&bob, rows).await, ["2|2", "3|30", "4|4", "300|0"]);
    // Whatever there is when a statement begins, it takes out.
    for sql in ["DELETE FROM t", "TRUNCATE t"] {
        run(&ana, "BEGIN").await;
        run(&ana, "INSERT INTO t VALUES (301, 0)").await;
        run(&bob, "INSERT INTO t VALUES (5, 5)").await;
        run(&ana, sql).await;
        assert_eq!(texts(&ana, "SELECT count(*) FROM t").await, ["0"]);
        run(&ana, "COMMIT").await;
        assert_eq!(texts(&bob, "SELECT count(*) FROM t").await, ["0"], "{sql}");
    }
    // A key that came meanwhile is still found, whether its row was seen or not.
    run(&ana, "BEGIN").await;
    run(&ana, "INSERT INTO t VALUES (6, 0)").await;
    run(&bob, "INSERT INTO t VALUES (6, 6)").await;
    assert_eq!(texts(&ana, "SELECT count(*) FROM t").await, ["2"]);
    assert_eq!(code(&ana, "COMMIT").await, "23505");
    assert_eq!(texts(&ana, rows).await, ["6|6"]);
    run(&ana, "BEGIN").await;
    run(&ana, "INSERT INTO t VALUES (9, 0)").await;
    run(&bob, "INSERT INTO t VALUES (9, 9), (10, 10)").await;
    run(&ana, "UPDATE t SET n = 11 WHERE id = 10").await;
    assert_eq!(code(&ana, "COMMIT").await, "23505");
    run(&bob, "DELETE FROM t WHERE id > 6").await;
    // Under REPEATABLE READ it sees what was there before it.
    run(&ana, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
    run(&ana, "INSERT INTO t VALUES (7, 7)").await;
    run(&bob, "INSERT INTO t VALUES (8, 8)").await;
    assert_eq!(texts(&ana, rows).await, ["6|6", "7|7"]);
    run(&ana, "COMMIT").await;
    assert_eq!(texts(&ana, rows).await, ["6|6", "7|7", "8|8"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chained_block_follows_at_once() {
    let server = TestServer::start().await;
    let client = server.client().await;
    run(&client, "CREATE TABLE t (id int)").await;
    assert_eq!(code(&client, "COMMIT AND CHAIN").await, "25P01");
    run(&client, "BEGIN").await;
    run(&client, "INSERT INTO t VALUES (1)").await;
    run(&client, "COMMIT AND CHAIN").await;
    run(&client, "INSERT INTO t VALUES (2)").await;
    assert_eq!(code(&client, "SELECT 1 / 0").await, "22012");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
    // It failed, so that it is rolled back, and the next one hasn't.
    run(&client, "COMMIT AND CHAIN").await;
    run(&client, "INSERT INTO t VALUES (3)").await;
    run(&client, "ROLLBACK AND CHAIN").await;
    run(&client, "INSERT INTO t VALUES (4)").await;
    run(&client, "COMMIT").await;
    assert_eq!(
        texts(&client, "SELECT id FROM t ORDER BY id").await,
        ["1", "4"]
    );
    assert_eq!(code(&client, "ROLLBACK AND CHAIN").await, "25P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_changes_take_parameters_of_their_columns_types() {
    let server = TestServer::start().await;
    let client = server.client().await;
    run(
        &client,
        "CREATE TABLE p (id bigint PRIMARY KEY, name text, amount double precision, at timestamp)",
    )
    .await;
    let insert = client
        .prepare("INSERT INTO p VALUES ($1, $2, $3, $4)")
        .await
        .unwrap();
    let at = chrono::DateTime::UNIX_EPOCH.naive_utc();
    for id in 0..3_i64 {
        let changed = client
            .execute(&insert, &[&id, &format!("名{id}"), &0.5_f64, &at])
            .await
            .unwrap();
        assert_eq!(changed, 1);
    }
    let row = client
        .query_one(
            "INSERT INTO p (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name || $3 RETURNING id, name",
            &[&1_i64, &"new", &"!"],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(1), "new!");
    let changed = client
        .execute(
            "UPDATE p SET amount = $1 WHERE id > $2",
            &[&2.5_f64, &0_i64],
        )
        .await
        .unwrap();
    assert_eq!(changed, 2);
    let gone = client
        .query(
            "DELETE FROM p WHERE id = $1 RETURNING name, amount",
            &[&2_i64],
        )
        .await
        .unwrap();
    assert_eq!(
        (gone[0].get::<_, String>(0), gone[0].get::<_, f64>(1)),
        ("名2".to_owned(), 2.5)
    );
    let error = client
        .execute(&insert, &[&1_i64, &"x", &0.5_f64, &at])
        .await
        .unwrap_err();
    assert_eq!(db_error(&error).code().code(), "23505");
    assert_eq!(
        db_error(&error).detail(),
        Some("Key (id)=(1) already exists.")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_kept_whole_or_not_at_all() {
    let server = TestServer::start().await;
    let client = server.client().await;
    run(&client, "CREATE TABLE t (id int PRIMARY KEY, name varchar(5), amount numeric(8,2) DEFAULT 1.5, at timestamptz)").await;
    let bad = copy(
        &client,
        "COPY t (id, name, amount) FROM STDIN",
        &[b"1\ta\t1\n2\tb\t2\n3\tc\tabc\n"],
    )
    .await;
    let error = bad.unwrap_err();
    let error = db_error(&error);
    assert_eq!(error.code().code(), "22P02");
    assert_eq!(
        error.message(),
        "invalid input syntax for type numeric: \"abc\""
    );
    assert_eq!(
        error.where_(),
        Some("COPY t, line 3, column amount: \"abc\"")
    );
    for (sql, bytes, code) in [
        ("COPY t FROM STDIN", "1\ta\n", "22P04"),
        (
            "COPY t (id, name) FROM STDIN (FORMAT csv)",
            "1,far too long\n",
            "22001",
        ),
        (
            "COPY t (id, name) FROM STDIN (FORMAT csv)",
            "1,a\n1,b\n",
            "23505",
        ),
        ("COPY t (name) FROM STDIN", "a\n", "23502"),
        ("COPY t (id) FROM STDIN (FORMAT csv)", "\"1\n", "22P04"),
    ] {
        let error = copy(&client, sql, &[bytes.as_bytes()]).await.unwrap_err();
        assert_eq!(
            db_error(&error).code().code(),
            code,
            "{sql} {bytes}: {error:?}"
        );
    }
    assert_eq!(code(&client, "COPY t (nothing) FROM STDIN").await, "42703");
    assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["0"]);
    let sql = "COPY t (name, id) FROM STDIN (FORMAT csv, HEADER match, NULL 'nil', DELIMITER ';')";
    let copied = copy(
        &client,
        sql,
        &[b"na", b"me;id\n\"x;", "漏\"".as_bytes(), b";1\nnil;2\n"],
    )
    .await;
    assert_eq!(copied.unwrap(), 2);
    let sql =
        "COPY t (id, amount) FROM STDIN (FORMAT csv, ON_ERROR ignore, DEFAULT 'd') WHERE id <> 6";
    let copied = copy(&client, sql, &[b"3,d\nfour,1\n5,x\n6,1\n7,2.5\n"]).await;
    assert_eq!(copied.unwrap(), 2);
    assert_eq!(
        texts(&client, "SELECT id, name, amount FROM t ORDER BY id").await,
        ["1|x;漏|1.50", "2|NULL|1.50", "3|NULL|1.50", "7|NULL|2.50"]
    );
    // A client that changes its mind, and one that does so inside of a block.
    let sink = client
        .copy_in::<_, Bytes>("COPY t (id) FROM STDIN")
        .await
        .unwrap();
    drop(sink);
    run(&client, "BEGIN").await;
    assert_eq!(
        copy(&client, "COPY t (id) FROM STDIN", &[b"100\n101\n"])
            .await
            .unwrap(),
        2
    );
    assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["6"]);
    run(&client, "ROLLBACK").await;
    assert_eq!(texts(&client, "SELECT count(*) FROM t").await, ["4"]);
    // Into a table of the session's own as well.
    run(&client, "CREATE TEMP TABLE mine (id int, name text)").await;
    assert_eq!(
        copy(&client, "COPY mine FROM STDIN", &[b"1\ta\n2\t\\N\n"])
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        texts(&client, "SELECT * FROM mine ORDER BY id").await,
        ["1|a", "2|NULL"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_out_in_binary_comes_back() {
    use futures::TryStreamExt;
    let server = TestServer::start().await;
    let client = server.client().await;
    let columns = "b bool, i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, n numeric(12,3), t text, v varchar(4), by bytea, d date, ts timestamp, tz timestamptz, j jsonb, u uuid";
    run(
        &client,
        &format!("CREATE TABLE o ({columns}); CREATE TABLE i ({columns})"),
    )
    .await;
    run(&client, "INSERT INTO o VALUES (true, -2, 3, 4, 1.5, 2.5, -12345.678, '漏', 'x', '\\x00ff', '1999-12-31', '2026-01-05 01:02:03.5', '2026-01-05 01:02:03+02', '{\"a\": 1}', '0f8fad5b-d9cb-469f-a165-70867728950e'), (NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)").await;
    let out: Vec<Bytes> = client
        .copy_out("COPY o TO STDOUT (FORMAT binary)")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let out = out.concat();
    let parts: Vec<&[u8]> = out.chunks(7).collect();
    assert_eq!(
        copy(&client, "COPY i FROM STDIN (FORMAT binary)", &parts)
            .await
            .unwrap(),
        2
    );
    let all = |table: &str| format!("SELECT * FROM {table} ORDER BY i4");
    assert_eq!(
        texts(&client, &all("i")).await,
        texts(&client, &all("o")).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_hidden_is_not_changed_and_a_mask_is_not_written_back() {
    const SETUP: &str = "
CREATE TABLE deals (id int PRIMARY KEY, owner text, phone text, amount int);
INSERT INTO deals VALUES (1, 'ana', '13800000000', 1), (2, 'bob', '13900000000', 2), (3, 'ana', '13700000000', 3);
CREATE ROLE ana LOGIN;
CREATE ROLE eve LOGIN;
GRANT SELECT, UPDATE, DELETE ON deals TO ana;
GRANT SELECT ON deals TO eve;
CREATE TABLE box (id int);
GRANT INSERT ON box TO eve;
ALTER TABLE deals ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON deals USING (owner = current_user);
CREATE MASK hidden ON deals (phone) USING (mask_phone(phone));
";
    let mut options = funnelsql::server::ServerOptions::new("127.0.0.1:0");
    options.login_failures = 0;
    let server = TestServer::start_as(options, SETUP).await;
    let ana = server.client().await;
    let mut config = server.config();
    let eve = connect(config.user("eve")).await;
    let owner = server.engine.session("funnelsql");
    assert_eq!(
        texts(
            &ana,
            "UPDATE deals SET amount = amount + 10 RETURNING id, phone"
        )
        .await
        .len(),
        2
    );
    assert!(
        !texts(
            &ana,
            "UPDATE deals SET amount = amount WHERE id = 1 RETURNING phone"
        )
        .await[0]
            .contains("13800000000")
    );
    assert_eq!(
        code(&ana, "UPDATE deals SET owner = 'bob' WHERE id = 1").await,
        "42501"
    );
    assert_eq!(
        code(&ana, "INSERT INTO deals VALUES (9, 'ana', '', 0)").await,
        "42501"
    );
    for set in [
        "phone = phone",
        "phone = upper(deals.phone) || 'x'",
        "(amount, phone) = (SELECT amount, phone)",
        "phone = (SELECT max(d.phone) FROM deals AS d)",
    ] {
        let update = format!("UPDATE deals SET {set} WHERE id = 1");
        assert_eq!(code(&ana, &update).await, "42501", "{update}");
        let merge = format!(
            "MERGE INTO deals USING (VALUES (1)) AS s(id) ON deals.id = s.id WHEN MATCHED THEN UPDATE SET {set}"
        );
        assert_eq!(code(&ana, &merge).await, "42501", "{merge}");
    }
    run(&ana, "UPDATE deals SET phone = '13800000000' WHERE id = 1").await;
    assert_eq!(code(&ana, "TRUNCATE deals").await, "42501");
    assert_eq!(
        texts(&ana, "DELETE FROM deals WHERE amount > 12 RETURNING id").await,
        ["3"]
    );
    for sql in [
        "UPDATE deals SET amount = 0",
        "DELETE FROM deals",
        "MERGE INTO deals USING (VALUES (1)) AS s(id) ON deals.id = s.id WHEN MATCHED THEN DELETE",
        "INSERT INTO deals VALUES (7, 'eve', '', 0) ON CONFLICT (id) DO UPDATE SET amount = 0",
        "COPY deals FROM STDIN",
        "ALTER TABLE deals ADD COLUMN x int",
        "VACUUM deals",
        "CREATE TABLE mine (x int)",
    ] {
        assert_eq!(code(&eve, sql).await, "42501", "{sql}");
    }
    // Who may only add rows isn't shown any, and nothing is added by what is refused.
    assert_eq!(
        code(&eve, "INSERT INTO box VALUES (1) RETURNING id").await,
        "42501"
    );
    run(&eve, "INSERT INTO box VALUES (2)").await;
    let boxed = owner.query("SELECT id FROM box").await.unwrap();
    assert_eq!(boxed.iter().map(|rows| rows.num_rows()).sum::<usize>(), 1);
    assert_eq!(
        code(&ana, "SELECT count(*) FROM deals FOR VERSION AS OF 99").await,
        "22023"
    );
    assert_eq!(
        texts(&ana, "SELECT id FROM deals FOR VERSION AS OF 1 ORDER BY 1").await,
        ["1", "3"]
    );
    let rows = owner
        .query("SELECT id, phone, amount FROM deals ORDER BY id")
        .await
        .unwrap();
    let rows: Vec<String> = rows
        .iter()
        .flat_map(|batch| funnelsql::engine::text_rows(batch).unwrap())
        .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(rows, ["1|13800000000|11", "2|13900000000|2"]);
}

async fn open(data: &Path) -> Arc<Engine> {
    Engine::open(EngineOptions::new(data)).await.unwrap()
}

async fn first(engine: &Arc<Engine>, sql: &str) -> Vec<String> {
    let session = engine.session("funnelsql");
    let batches = session
        .query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let rows = batches
        .iter()
        .flat_map(|batch| funnelsql::engine::text_rows(batch).unwrap());
    rows.map(|row| {
        row.into_iter()
            .map(|value| value.unwrap_or_default())
            .collect::<Vec<_>>()
            .join("|")
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_there_after_a_restart_with_all_that_was_said_of_them() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path()).await;
    let session = engine.session("funnelsql");
    session
        .run(
            "CREATE SCHEMA \"销售\";
             CREATE TABLE \"销售\".\"商机\" (id int PRIMARY KEY, \"名\" varchar(9) DEFAULT '无', day date) PARTITIONED BY (day);
             INSERT INTO \"销售\".\"商机\" (id, day) SELECT n, DATE '2026-01-01' + n::int % 3 FROM generate_series(1, 100) AS g(n);
             UPDATE \"销售\".\"商机\" SET \"名\" = 'x' WHERE id > 90;
             COMMENT ON COLUMN \"销售\".\"商机\".id IS 'which';
             ALTER TABLE \"销售\".\"商机\" RENAME COLUMN \"名\" TO name;
             CREATE VIEW late AS SELECT id FROM \"销售\".\"商机\" WHERE id > 95;
             CREATE TABLE gone (x int); DROP TABLE gone;
             BEGIN; INSERT INTO \"销售\".\"商机\" (id) VALUES (1000)",
        )
        .await
        .unwrap();
    let questions = [
        "SELECT count(*), sum(id), min(day), max(name) FROM \"销售\".\"商机\" WHERE id < 1000",
        "SELECT count(*) FROM late WHERE id < 1000",
        "SELECT column_name, data_type, column_default FROM information_schema.columns WHERE table_name = '商机' ORDER BY 1",
        "SELECT description FROM pg_description WHERE description = 'which'",
        "SELECT count(*) FROM \"销售\".\"商机\" FOR VERSION AS OF 0",
    ];
    let mut before = Vec::new();
    for question in questions {
        before.push(first(&engine, question).await);
    }
    assert_eq!(before[0], ["100|5050|2026-01-01|无"]);
    let error = Engine::open(EngineOptions::new(folder.path()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "55006", "{error}");
    drop(session);
    drop(engine);
    let engine = open(folder.path()).await;
    for (question, before) in questions.iter().zip(before) {
        assert_eq!(first(&engine, question).await, before, "{question}");
    }
    assert_eq!(
        first(
            &engine,
            "SELECT count(*) FROM \"销售\".\"商机\" WHERE id = 1000"
        )
        .await,
        ["0"]
    );
    let error = engine
        .session("funnelsql")
        .run("INSERT INTO \"销售\".\"商机\" (id) VALUES (5)")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "23505");
    let folders = std::fs::read_dir(folder.path().join("delta"))
        .unwrap()
        .count();
    assert_eq!(folders, 2, "one table, and the folder of transactions");
}

/// As in Postgres: what reads a table goes on reading it, whatever it is called.
#[tokio::test(flavor = "multi_thread")]
async fn views_and_funnels_follow_a_table_that_is_renamed() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path()).await;
    let session = engine.session("funnelsql");
    session
        .run(
            "CREATE SCHEMA crm; CREATE SCHEMA old;
             CREATE TABLE crm.leads (id int, step text, at timestamp);
             INSERT INTO crm.leads VALUES (1, '线索', '2026-01-01'), (1, '成交', '2026-01-02'), (2, '线索', '2026-01-01');
             CREATE VIEW won AS SELECT leads.id FROM crm.leads WHERE step = '成交';
             CREATE VIEW counted AS SELECT count(*) AS n FROM won;
             CREATE FUNNEL f ON crm.leads (ENTITY id, TIME at, STAGE 线索 WHEN step = '线索', STAGE 成交 WHEN step = '成交');
             CREATE FUNNEL g ON (SELECT l.* FROM crm.leads AS l) (ENTITY id, TIME at, STAGE a WHEN step = '线索', STAGE b WHEN step = '成交');
             ALTER TABLE crm.leads RENAME TO \"线索\";
             CREATE TABLE crm.leads (id int, step text, at timestamp)",
        )
        .await
        .unwrap();
    let questions = [
        "SELECT * FROM won",
        "SELECT * FROM counted",
        "SELECT entered, passed FROM stage_conversion('f') WHERE stage_no = 1",
        "SELECT entered, passed FROM stage_conversion('g') WHERE stage_no = 1",
    ];
    let expected = ["1", "1", "2|1", "2|1"];
    async fn check(engine: &Arc<Engine>, questions: &[&str], expected: &[&str]) {
        for (question, expected) in questions.iter().zip(expected) {
            assert_eq!(first(engine, question).await, [*expected], "{question}");
        }
    }
    check(&engine, &questions, &expected).await;
    // The table under the old name is nobody's.
    session.run("DROP TABLE crm.leads").await.unwrap();
    let error = session.run("DROP TABLE crm.\"线索\"").await.unwrap_err();
    assert_eq!(error.code(), "2BP01", "{error}");
    session
        .run("ALTER TABLE crm.\"线索\" SET SCHEMA old; ALTER VIEW won RENAME TO deals")
        .await
        .unwrap();
    let questions = [
        "SELECT * FROM deals",
        questions[1],
        questions[2],
        questions[3],
    ];
    check(&engine, &questions, &expected).await;
    drop(session);
    drop(engine);
    let engine = open(folder.path()).await;
    check(&engine, &questions, &expected).await;
    let session = engine.session("funnelsql");
    session
        .run("DROP TABLE old.\"线索\" CASCADE")
        .await
        .unwrap();
    assert_eq!(
        session.run("SELECT * FROM deals").await.unwrap_err().code(),
        "42P01"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_inserts_become_few_files() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path()).await;
    let session = engine.session("funnelsql");
    session.run("CREATE TABLE t (id int)").await.unwrap();
    for id in 0..70 {
        session
            .run(&format!("INSERT INTO t VALUES ({id})"))
            .await
            .unwrap();
    }
    let files = || {
        let table = engine.tables().named("public", "t").unwrap();
        engine.tables().current(&table).files.len()
    };
    let until = Instant::now() + Duration::from_secs(20);
    while files() > 20 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(files() <= 20, "{} files", files());
    assert_eq!(
        first(&engine, "SELECT count(*), sum(id) FROM t").await,
        ["70|2415"]
    );
    session.run("VACUUM t RETAIN 0 HOURS").await.unwrap();
    assert_eq!(
        first(&engine, "SELECT count(*), sum(id) FROM t").await,
        ["70|2415"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_whole_changes_while_writers_write() {
    let server = TestServer::start().await;
    let client = server.client().await;
    // Every change leaves the sum of each account's halves at zero.
    run(
        &client,
        "CREATE TABLE moves (id bigint PRIMARY KEY, amount bigint)",
    )
    .await;
    let until = Instant::now() + Duration::from_secs(4);
    let next = Arc::new(AtomicI64::new(0));
    let mut tasks = Vec::new();
    for writer in 0..3_i64 {
        let (client, next) = (server.client().await, Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                let id = next.fetch_add(2, Ordering::Relaxed);
                let amount = id + writer;
                run(
                    &client,
                    &format!(
                        "INSERT INTO moves VALUES ({id}, {amount}), ({}, -{amount})",
                        id + 1
                    ),
                )
                .await;
                if id % 6 == 0 {
                    run(&client, "UPDATE moves SET amount = amount * 2").await;
                }
            }
        }));
    }
    for _ in 0..3 {
        let client = server.client().await;
        tasks.push(tokio::spawn(async move {
            let mut most = 0;
            while Instant::now() < until {
                let row = texts(
                    &client,
                    "SELECT count(*), coalesce(sum(amount), 0) FROM moves",
                )
                .await;
                let (count, sum) = row[0].split_once('|').unwrap();
                let count: i64 = count.parse().unwrap();
                assert_eq!(sum, "0");
                assert!(count >= most && count % 2 == 0, "{count} after {most}");
                most = count;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let rows = next.load(Ordering::Relaxed);
    assert_eq!(
        texts(&client, "SELECT count(*) FROM moves").await,
        [rows.to_string()]
    );
}

/// A server in a process of its own.
pub struct Process {
    child: Child,
    port: u16,
}

impl Process {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_funnelsql"));
        command
            .args(["serve", "--data-dir"])
            .arg(data)
            .args(["--listen", "127.0.0.1:0"]);
        Self::of(&mut command)
    }

    /// A server that a command starts.
    // Where it panics the test has failed, and the harness ends what the test started.
    #[allow(clippy::zombie_processes)]
    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .env_remove("FUNNELSQL_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let mut line = String::new();
            if stderr.read_line(&mut line).unwrap() == 0 {
                let _ = child.wait();
                panic!("it ended before it was ready: {said}");
            }
            if let Some(address) = line.strip_prefix("ready: listening on ") {
                let port = address.trim_end().rsplit_once(':').unwrap().1;
                let port = port.parse().unwrap();
                std::thread::spawn(move || for _ in stderr.lines() {});
                return Self { child, port };
            }
            said.push_str(&line);
        }
    }

    pub async fn client(&self) -> Option<Client> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .user("funnelsql")
            .dbname("funnelsql");
        let (client, connection) = config.connect(NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(client)
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap();
    }

    /// As the power goes.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a loader was told is kept: batches of rows, each by its number.
#[derive(Default)]
pub struct Acknowledged {
    pub batches: std::sync::Mutex<BTreeSet<i64>>,
}

const BATCH: i64 = 10;

/// Loads numbered batches in the ways there are until the server is gone.
pub async fn load(client: Client, number: Arc<AtomicI64>, kept: Arc<Acknowledged>, way: usize) {
    loop {
        let batch = number.fetch_add(1, Ordering::SeqCst);
        let values: Vec<String> = (0..BATCH).map(|row| format!("({batch}, {row})")).collect();
        let done = match way {
            0 => client
                .simple_query(&format!("INSERT INTO rows VALUES {}", values.join(", ")))
                .await
                .is_ok(),
            1 => {
                let lines: String = (0..BATCH).map(|row| format!("{batch}\t{row}\n")).collect();
                copy(&client, "COPY rows FROM STDIN", &[lines.as_bytes()])
                    .await
                    .is_ok()
            }
            _ => {
                let insert = format!(
                    "BEGIN; INSERT INTO rows VALUES {}; INSERT INTO batches VALUES ({batch}); COMMIT",
                    values.join(", ")
                );
                client.simple_query(&insert).await.is_ok()
            }
        };
        if !done {
            return;
        }
        kept.batches.lock().unwrap().insert(batch);
    }
}

/// `FUNNELSQL_CRASHES=100` kills it as often.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_is_there_once_after_a_kill_and_nothing_is_half_there() {
    let rounds: u64 = std::env::var("FUNNELSQL_CRASHES")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3);
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let number = Arc::new(AtomicI64::new(0));
    let kept = Arc::new(Acknowledged::default());
    let mut random = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    for round in 0..=rounds {
        let server = Process::start(&data);
        let client = server.client().await.unwrap();
        if round == 0 {
            run(&client, "CREATE TABLE rows (batch bigint, row int, PRIMARY KEY (batch, row)); CREATE TABLE batches (batch bigint)").await;
        }
        check_rows(&client, &kept).await;
        if round == rounds {
            let mut other = Command::new(env!("CARGO_BIN_EXE_funnelsql"));
            let other = other
                .args(["serve", "--data-dir"])
                .arg(&data)
                .args(["--listen", "127.0.0.1:0"]);
            let other = other.output().unwrap();
            let said = String::from_utf8_lossy(&other.stderr);
            assert!(
                !other.status.success() && said.contains("is used by another server"),
                "{said}"
            );
            server.kill();
            break;
        }
        let gone = Arc::new(AtomicBool::new(false));
        let mut loaders = Vec::new();
        for way in 0..3 {
            let client = server.client().await.unwrap();
            loaders.push(tokio::spawn(load(
                client,
                Arc::clone(&number),
                Arc::clone(&kept),
                way,
            )));
        }
        let (reader, over) = (server.client().await.unwrap(), Arc::clone(&gone));
        loaders.push(tokio::spawn(async move {
            loop {
                match reader.simple_query("SELECT count(*) FROM rows").await {
                    Ok(_) => {}
                    // Readers fail for no other reason than the lost connection.
                    Err(error) => {
                        assert!(
                            error.is_closed() || over.load(Ordering::SeqCst),
                            "{error:?}"
                        );
                        return;
                    }
                }
            }
        }));
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        tokio::time::sleep(Duration::from_millis(300 + u64::from(random >> 16) % 900)).await;
        gone.store(true, Ordering::SeqCst);
        server.kill();
        for loader in loaders {
            loader.await.unwrap();
        }
    }
    assert!(
        kept.batches.lock().unwrap().len() as u64 > rounds,
        "the loaders loaded"
    );
}

/// A disk of its own, as small as it is said; nothing where this process may not make one.
struct Disk(std::path::PathBuf);

impl Disk {
    fn of(folder: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]);
        let mounted = mount.arg(folder).stderr(Stdio::null()).status();
        let mounted = mounted.is_ok_and(|status| status.success());
        mounted.then(|| Self(folder.to_owned()))
    }

    /// Takes room of it, in bytes, or what is left; removing the file gives it back.
    fn take(&self, name: &str, bytes: usize) -> std::path::PathBuf {
        let ballast = self.0.join(name);
        let mut file = std::fs::File::create(&ballast).unwrap();
        let mut blocks = 0..bytes / 4096;
        while blocks.next().is_some() && std::io::Write::write_all(&mut file, &[7; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Loads a numbered batch in one of the ways there are, with texts that can't be made smaller.
async fn load_large(client: &Client, batch: i64, way: i64) -> Result<(), tokio_postgres::Error> {
    let text = |row: i64| {
        let mut state = (batch * BATCH + row) as u64;
        let letters = (0..40_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + (state >> 58) as u8)
        });
        letters.filter(|letter| *letter != '\\').collect::<String>()
    };
    if way == 0 {
        let lines = (0..BATCH).map(|row| format!("{batch}\t{row}\t{}\n", text(row)));
        let lines: String = lines.collect();
        return copy(client, "COPY rows FROM STDIN", &[lines.as_bytes()])
            .await
            .map(drop);
    }
    let values = (0..BATCH).map(|row| format!("({batch}, {row}, '{}')", text(row)));
    let values: Vec<String> = values.collect();
    let values = values.join(", ");
    let sql = match way {
        1 => format!("INSERT INTO rows VALUES {values}"),
        _ => format!(
            "BEGIN; INSERT INTO batches VALUES ({batch}); INSERT INTO rows VALUES {values}; COMMIT"
        ),
    };
    client.simple_query(&sql).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_is_written_to_again_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let Some(disk) = Disk::of(&folder.path().join("disk"), "40m") else {
        eprintln!("skipped: a small disk can't be mounted here");
        return;
    };
    let data = disk.0.join("data");
    let kept = Acknowledged::default();
    let mut server = Process::start(&data);
    let client = server.client().await.unwrap();
    run(&client, "CREATE TABLE rows (batch bigint, row int, pad text, PRIMARY KEY (batch, row)); CREATE TABLE batches (batch bigint)").await;
    let (mut batch, mut refused) = (0, 0);
    for round in 0..3 {
        let client = server.client().await.unwrap();
        let ballast = disk.take("ballast", 16 << 20);
        // Each of the ways finds that there is no room.
        let mut full = [false; 3];
        while !full.iter().all(|full| *full) {
            batch += 1;
            assert!(batch < 1000, "the disk doesn't get full");
            let way = batch % 3;
            match load_large(&client, batch, way).await {
                Ok(()) => {
                    kept.batches.lock().unwrap().insert(batch);
                }
                Err(error) => {
                    let error = db_error(&error);
                    assert!(
                        ["53100", "58030"].contains(&error.code().code()),
                        "{error:?}"
                    );
                    assert!(
                        error.message().contains("space")
                            || error
                                .detail()
                                .is_some_and(|detail| detail.contains("space")),
                        "{error:?}"
                    );
                    full[usize::try_from(way).unwrap()] = true;
                    refused += 1;
                    run(&client, "ROLLBACK").await;
                }
            }
        }
        let rest = disk.take("rest", usize::MAX);
        for definition in [
            "CREATE TABLE more (a int)",
            "CREATE VIEW more AS SELECT 1",
            "CREATE ROLE ana LOGIN",
            "ALTER TABLE rows ADD COLUMN more int",
            "UPDATE batches SET batch = -1",
            "DELETE FROM rows",
        ] {
            let code = code(&client, definition).await;
            assert!(
                ["53100", "58030"].contains(&code.as_str()),
                "{definition}: {code}"
            );
        }
        check_rows(&client, &kept).await;
        // It starts on a full disk, and shows what there is.
        server.kill();
        server = Process::start(&data);
        let client = server.client().await.unwrap();
        check_rows(&client, &kept).await;
        let count = kept.batches.lock().unwrap().len();
        assert_eq!(
            texts(&client, "SELECT count(DISTINCT batch), count(*) FROM rows").await,
            [format!("{count}|{}", count * 10)]
        );
        assert_eq!(
            texts(&client, "SELECT count(*) FROM batches WHERE batch < 0").await,
            ["0"]
        );
        // With room, it goes on: nothing that failed is in the way.
        std::fs::remove_file(ballast).unwrap();
        std::fs::remove_file(rest).unwrap();
        run(&client, "DELETE FROM rows WHERE batch % 2 = 0; DELETE FROM batches WHERE batch % 2 = 0; VACUUM rows, batches RETAIN 0 HOURS").await;
        kept.batches.lock().unwrap().retain(|batch| batch % 2 == 1);
        run(
            &client,
            &format!("CREATE TABLE more_{round} (a int); INSERT INTO more_{round} VALUES (1)"),
        )
        .await;
        check_rows(&client, &kept).await;
    }
    assert!(refused >= 9);
    server.kill();
}

pub async fn check_rows(client: &Client, kept: &Acknowledged) {
    let found = texts(
        client,
        "SELECT batch, count(*), count(DISTINCT row) FROM rows GROUP BY batch",
    )
    .await;
    let mut there = BTreeSet::new();
    for line in found {
        let (batch, counts) = line.split_once('|').unwrap();
        assert_eq!(counts, format!("{BATCH}|{BATCH}"), "batch {batch}");
        there.insert(batch.parse::<i64>().unwrap());
    }
    let lost: Vec<i64> = kept
        .batches
        .lock()
        .unwrap()
        .difference(&there)
        .copied()
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // Both tables of a transaction have it, or neither does.
    let half = "SELECT count(*) FROM batches WHERE batch NOT IN (SELECT batch FROM rows)";
    assert_eq!(texts(client, half).await, ["0"]);
    let twice = "SELECT count(*) - count(DISTINCT batch) FROM batches";
    assert_eq!(texts(client, twice).await, ["0"]);
}

async fn client_copy_out(client: &Client, sql: &str) -> String {
    let parts: Vec<Bytes> = futures::TryStreamExt::try_collect(client.copy_out(sql).await.unwrap())
        .await
        .unwrap();
    String::from_utf8(parts.concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_of_rows_holds_for_copies_and_among_blocks() {
    let server = TestServer::start().await;
    let (ana, bob) = (server.client().await, server.client().await);
    run(
        &ana,
        "CREATE TABLE t (id serial PRIMARY KEY, a int UNIQUE CHECK (a > 0), twice int GENERATED ALWAYS AS (a * 2) STORED, s text DEFAULT 'x')",
    )
    .await;
    let copied = copy(&ana, "COPY t (a) FROM STDIN", &[b"1\n2\n\\N\n"]).await;
    assert_eq!(copied.unwrap(), 3);
    let copied = copy(&ana, "COPY t FROM STDIN", &[b"100000\t7\tq\n"]).await;
    assert_eq!(copied.unwrap(), 1, "a generated column isn't sent");
    assert_eq!(
        texts(&ana, "SELECT id, a, twice, s FROM t ORDER BY id").await,
        ["1|1|2|x", "2|2|4|x", "3|NULL|NULL|x", "100000|7|14|q"]
    );
    let other = server.client().await;
    let error = copy(&other, "COPY t (a) FROM STDIN", &[b"3\n-1\n"]).await;
    let error = error.unwrap_err();
    assert_eq!(db_error(&error).code().code(), "23514");
    assert_eq!(
        db_error(&error).message(),
        "new row for relation \"t\" violates check constraint \"t_a_check\""
    );
    for (sql, expected) in [
        ("COPY t (a) FROM STDIN", "23505"),
        ("COPY t (twice) FROM STDIN", "42P10"),
    ] {
        let other = server.client().await;
        let error = copy(&other, sql, &[b"1\n"]).await.unwrap_err();
        assert_eq!(db_error(&error).code().code(), expected, "{sql}");
    }
    let copied = client_copy_out(&ana, "COPY t TO STDOUT (FORMAT csv, HEADER)").await;
    assert!(copied.starts_with("id,a,s\n"), "{copied}");
    // Of two blocks that add the same, the second one fails.
    run(&ana, "BEGIN; INSERT INTO t (a) VALUES (50)").await;
    run(&bob, "BEGIN; INSERT INTO t (a) VALUES (50), (51)").await;
    run(&bob, "COMMIT").await;
    assert_eq!(code(&ana, "COMMIT").await, "23505");
    // Rows that were made before a constraint don't pass it by.
    run(&ana, "BEGIN; INSERT INTO t (a, s) VALUES (60, 'long')").await;
    run(
        &bob,
        "ALTER TABLE t ADD CONSTRAINT short CHECK (length(s) < 3)",
    )
    .await;
    assert_eq!(code(&ana, "COMMIT").await, "40001");
    run(&ana, "BEGIN; INSERT INTO t (a, s) VALUES (60, 'ok')").await;
    run(&bob, "ALTER TABLE t ALTER COLUMN s TYPE varchar(2)").await;
    assert_eq!(code(&ana, "INSERT INTO t (a) VALUES (61)").await, "40001");
    run(&ana, "ROLLBACK").await;
    // Everybody gets numbers of their own, in a block or not.
    let mut tasks = Vec::new();
    for task in 0..4 {
        let client = server.client().await;
        tasks.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            for round in 0..25 {
                let sql = match (task + round) % 2 {
                    0 => "INSERT INTO t (s) VALUES ('a') RETURNING id",
                    _ => "INSERT INTO t (s) SELECT 'b' FROM generate_series(1, 3) RETURNING id",
                };
                numbers.extend(texts(&client, sql).await);
            }
            numbers
        }));
    }
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.extend(task.await.unwrap());
    }
    let distinct: BTreeSet<&String> = numbers.iter().collect();
    assert_eq!((numbers.len(), distinct.len()), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_insert_may_number_and_is_not_told_what_is_hidden() {
    const SETUP: &str = "
CREATE TABLE deals (id serial PRIMARY KEY, owner text, phone text UNIQUE, amount int CHECK (amount < 100));
INSERT INTO deals (owner, phone, amount) VALUES ('ana', '13800000000', 1), ('ana', '13900000000', 2);
CREATE SEQUENCE free;
CREATE ROLE ana LOGIN;
CREATE ROLE eve LOGIN;
GRANT SELECT, UPDATE ON deals TO ana;
GRANT INSERT ON deals TO eve;
CREATE MASK hidden ON deals (phone) TO ana USING (mask_phone(phone));
";
    let mut options = funnelsql::server::ServerOptions::new("127.0.0.1:0");
    options.login_failures = 0;
    let server = TestServer::start_as(options, SETUP).await;
    let ana = server.client().await;
    let mut config = server.config();
    let eve = connect(config.user("eve")).await;
    let refused = "UPDATE deals SET amount = 1000 WHERE id = 1";
    let error = ana.simple_query(refused).await.unwrap_err();
    let error = db_error(&error);
    assert_eq!((error.code().code(), error.detail()), ("23514", None));
    for sql in [
        "SELECT nextval('deals_id_seq')",
        "SELECT setval('deals_id_seq', 1)",
        "CREATE SEQUENCE s",
        "DROP SEQUENCE free",
    ] {
        assert_eq!(code(&ana, sql).await, "42501", "{sql}");
    }
    assert_eq!(texts(&eve, "SELECT nextval('deals_id_seq')").await, ["3"]);
    run(&eve, "INSERT INTO deals (owner, amount) VALUES ('eve', 5)").await;
    assert_eq!(code(&eve, "SELECT nextval('free')").await, "42501");
    assert_eq!(
        code(&eve, "ALTER TABLE deals DROP CONSTRAINT deals_pkey").await,
        "42501"
    );
    assert_eq!(texts(&ana, "SELECT max(id) FROM deals").await, ["4"]);
}

/// Numbers that were handed out before a kill, in blocks that never ended too, come no second time.
#[tokio::test(flavor = "multi_thread")]
async fn no_number_comes_twice_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let server = Process::start(&data);
        let client = server.client().await.unwrap();
        if round == 0 {
            run(
                &client,
                "CREATE TABLE t (id bigserial PRIMARY KEY, x int); CREATE SEQUENCE s",
            )
            .await;
        }
        run(&client, "BEGIN").await;
        for _ in 0..20 {
            let sql =
                "SELECT nextval('s') UNION ALL SELECT nextval('s') FROM generate_series(1, 3)";
            for number in texts(&client, sql).await {
                assert!(seen.insert(format!("s{number}")), "{number} comes twice");
            }
            let sql = "INSERT INTO t (x) VALUES (1), (2) RETURNING id";
            for number in texts(&client, sql).await {
                assert!(seen.insert(format!("t{number}")), "{number} comes twice");
            }
        }
        server.kill();
    }
    assert_eq!(seen.len(), 4 * 20 * 6);
}

/// `pg_dump` of PostgreSQL 15.18, of a schema with all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_postgres_with_sequences_and_constraints_is_taken() {
    const BEFORE: &str = "
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA crm;
ALTER SCHEMA crm OWNER TO postgres;
CREATE SEQUENCE crm.free
    START WITH 7
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER TABLE crm.free OWNER TO postgres;
CREATE TABLE crm.t (
    id integer NOT NULL,
    a integer,
    u text,
    g integer GENERATED ALWAYS AS ((a * 2)) STORED,
    idn bigint NOT NULL,
    CONSTRAINT t_a_check CHECK ((a > 0))
);
ALTER TABLE crm.t OWNER TO postgres;
CREATE SEQUENCE crm.t_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER TABLE crm.t_id_seq OWNER TO postgres;
ALTER SEQUENCE crm.t_id_seq OWNED BY crm.t.id;
ALTER TABLE crm.t ALTER COLUMN idn ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME crm.t_idn_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
ALTER TABLE ONLY crm.t ALTER COLUMN id SET DEFAULT nextval('crm.t_id_seq'::regclass);
";
    const BEHIND: &str = "
SELECT pg_catalog.setval('crm.free', 7, true);
SELECT pg_catalog.setval('crm.t_id_seq', 2, true);
SELECT pg_catalog.setval('crm.t_idn_seq', 2, true);
ALTER TABLE ONLY crm.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (id);
ALTER TABLE ONLY crm.t
    ADD CONSTRAINT t_u_key UNIQUE (u);
";
    let folder = TempDir::new().unwrap();
    let questions = [
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1",
        "SELECT column_name, column_default, identity_generation, generation_expression FROM information_schema.columns WHERE table_name = 't' ORDER BY ordinal_position",
        "SELECT sequencename, data_type::text, start_value FROM pg_sequences ORDER BY 1",
        "SELECT id, a, u, g, idn FROM crm.t WHERE id < 3 ORDER BY id",
    ];
    let mut before = Vec::new();
    for restart in [false, true] {
        let server = Process::start(folder.path());
        let client = server.client().await.unwrap();
        if !restart {
            run(&client, BEFORE).await;
            let rows: &[u8] = b"1\t1\tx\t1\n2\t2\ty\t2\n";
            let copied = copy(&client, "COPY crm.t (id, a, u, idn) FROM stdin", &[rows]).await;
            assert_eq!(copied.unwrap(), 2);
            run(&client, BEHIND).await;
            let inserted = "INSERT INTO crm.t (a, u) VALUES (3, 'z') RETURNING id, g, idn";
            assert_eq!(texts(&client, inserted).await, ["3|6|3"]);
            assert_eq!(texts(&client, "SELECT nextval('crm.free')").await, ["8"]);
        }
        let mut answers = Vec::new();
        for question in questions {
            answers.push(texts(&client, question).await);
        }
        if restart {
            assert_eq!(answers, before);
            assert_eq!(
                code(&client, "INSERT INTO crm.t (a) VALUES (-1)").await,
                "23514"
            );
            assert_eq!(
                code(&client, "INSERT INTO crm.t (u) VALUES ('x')").await,
                "23505"
            );
        }
        before = answers;
        server.kill();
    }
    assert_eq!(before[3], ["1|1|x|2|1", "2|2|y|4|2"]);
}

/// What `pg_stat_progress_copy` shows a client of the only copy; nothing where none runs.
async fn progress(client: &Client) -> Option<Vec<String>> {
    let sql = "SELECT command, type, relid::regclass, bytes_processed, bytes_total, tuples_processed, tuples_excluded \
               FROM pg_stat_progress_copy WHERE datname = 'funnelsql'";
    let mut rows = texts(client, sql).await;
    let row = rows.pop()?;
    assert!(rows.is_empty());
    Some(row.split('|').map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_shows_how_far_it_is() {
    let server = TestServer::start().await;
    let owner = server.client().await;
    run(
        &owner,
        "CREATE TABLE a (id bigint, name text); CREATE ROLE cy",
    )
    .await;
    let (bob, cy) = (server.client().await, server.client().await);
    assert_eq!(progress(&cy).await, None);
    let sink = bob
        .copy_in::<_, Bytes>("COPY a FROM STDIN WHERE id % 2 = 0")
        .await
        .unwrap();
    let mut sink = Box::pin(sink);
    let mut last = [0_i64; 3];
    for round in 0..3 {
        let mut sent = 0;
        for part in 0..20 {
            let lines = (0..2000).map(|row| format!("{}\tname {row}\n", part * 2000 + row));
            let lines = Bytes::from(lines.collect::<String>());
            sent += i64::try_from(lines.len()).unwrap();
            sink.send(lines).await.unwrap();
        }
        let begin = Instant::now();
        loop {
            let shown = progress(&cy).await.unwrap();
            assert_eq!(shown[..3], ["COPY FROM", "PIPE", "a"]);
            assert_eq!(shown[4], "0");
            let now = [3, 5, 6].map(|at: usize| shown[at].parse::<i64>().unwrap());
            if now[0] >= last[0] + sent && now[1] > last[1] && now[2] > last[2] {
                last = now;
                break;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "{round} {shown:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(sink.as_mut().finish().await.unwrap(), 60_000);
    assert_eq!(progress(&cy).await, None);

    // One to the client, who takes a few rows of it; of a query there is no table.
    let rows = bob
        .copy_out("COPY (SELECT a.id, b.id FROM a, a b) TO STDOUT")
        .await
        .unwrap();
    let mut rows = Box::pin(rows);
    for _ in 0..100 {
        futures::TryStreamExt::try_next(&mut rows)
            .await
            .unwrap()
            .unwrap();
    }
    let shown = progress(&cy).await.unwrap();
    assert_eq!(shown[..2], ["COPY TO", "PIPE"]);
    assert!(shown[5].parse::<i64>().unwrap() >= 100, "{shown:?}");
    let relid = "SELECT relid FROM pg_stat_progress_copy";
    assert_eq!(texts(&cy, relid).await, ["0"]);

    // Of others' copies a role sees that they run, as in PostgreSQL.
    run(&owner, "SET ROLE cy").await;
    let seen =
        "SELECT pid > 0, datname, relid, command, bytes_processed FROM pg_stat_progress_copy";
    assert_eq!(texts(&owner, seen).await, ["t|funnelsql|NULL|NULL|NULL"]);
}
