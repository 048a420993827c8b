//! What Postgres' clients rely on beside queries: cursors, savepoints, notifications, copies, settings, activity.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

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

async fn code(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.unwrap_err();
    db_error(&error).code().code().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_gives_its_rows_as_they_are_asked_for() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert_eq!(
        code(&client, "DECLARE c CURSOR FOR SELECT 1").await,
        "25P01"
    );
    client
        .simple_query(
            "BEGIN; DECLARE c CURSOR FOR SELECT g FROM generate_series(1, 1000000000000) AS g",
        )
        .await
        .unwrap();
    assert_eq!(texts(&client, "FETCH 2 FROM c").await, ["1", "2"]);
    assert_eq!(texts(&client, "FETCH NEXT c").await, ["3"]);
    assert_eq!(
        texts(&client, "MOVE FORWARD 10 IN c; FETCH c").await,
        ["14"]
    );
    assert_eq!(code(&client, "FETCH BACKWARD 1 FROM c").await, "55000");
    client.simple_query("ROLLBACK").await.unwrap();
    assert_eq!(code(&client, "FETCH c").await, "34000");
    client
        .simple_query(
            "DECLARE s SCROLL CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 5) AS g",
        )
        .await
        .unwrap();
    assert_eq!(
        texts(&client, "FETCH ALL FROM s").await,
        ["1", "2", "3", "4", "5"]
    );
    // Expected: psql 15.18 over the same statements.
    assert_eq!(texts(&client, "FETCH BACKWARD 2 FROM s").await, ["5", "4"]);
    assert_eq!(texts(&client, "FETCH PRIOR FROM s").await, ["3"]);
    assert_eq!(texts(&client, "FETCH ABSOLUTE 2 FROM s").await, ["2"]);
    assert_eq!(texts(&client, "FETCH LAST FROM s").await, ["5"]);
    assert_eq!(texts(&client, "FETCH FIRST FROM s").await, ["1"]);
    assert_eq!(texts(&client, "FETCH RELATIVE 2 FROM s").await, ["3"]);
    client.simple_query("CLOSE s").await.unwrap();
    assert_eq!(code(&client, "CLOSE s").await, "34000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_goes_on_behind_a_savepoint() {
    let server = TestServer::start().await;
    let client = server.client().await;
    assert_eq!(code(&client, "SAVEPOINT s").await, "25P01");
    client.simple_query("BEGIN; SAVEPOINT s").await.unwrap();
    assert_eq!(code(&client, "SELECT 1/0").await, "22012");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
    client
        .simple_query("ROLLBACK TO SAVEPOINT s")
        .await
        .unwrap();
    assert_eq!(texts(&client, "SELECT 1").await, ["1"]);
    client.simple_query("RELEASE SAVEPOINT s").await.unwrap();
    assert_eq!(code(&client, "ROLLBACK TO s").await, "3B001");
    client.simple_query("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_says_the_others_hear() {
    let server = TestServer::start().await;
    let config = format!(
        "host=127.0.0.1 port={} user=listener",
        server.address.port()
    );
    let (listener, mut connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages =
            futures::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message {
                let _ = sender.send(notification);
            }
        }
    });
    listener.simple_query("LISTEN deals").await.unwrap();
    let speaker = server.client().await;
    speaker
        .simple_query("NOTIFY deals, '42'; NOTIFY other, 'x'")
        .await
        .unwrap();
    speaker
        .simple_query("BEGIN; NOTIFY deals, 'never'; ROLLBACK")
        .await
        .unwrap();
    speaker
        .simple_query("BEGIN; NOTIFY deals, 'later'; COMMIT")
        .await
        .unwrap();
    speaker
        .simple_query("SELECT pg_notify('deals', 'by a function')")
        .await
        .unwrap();
    speaker
        .simple_query("BEGIN; SELECT pg_notify('deals', 'never'); ROLLBACK")
        .await
        .unwrap();
    let mut said = Vec::new();
    for _ in 0..3 {
        let notification = tokio::time::timeout(Duration::from_secs(10), heard.recv())
            .await
            .unwrap()
            .unwrap();
        said.push(format!(
            "{}:{}",
            notification.channel(),
            notification.payload()
        ));
    }
    assert_eq!(said, ["deals:42", "deals:later", "deals:by a function"]);
    listener.simple_query("UNLISTEN *").await.unwrap();
    speaker.simple_query("NOTIFY deals").await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(200), heard.recv())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_copied_both_ways() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query("CREATE TABLE notes (n int, t text, at date)")
        .await
        .unwrap();
    let sink = client
        .copy_in("COPY notes (n, t, at) FROM STDIN WITH (FORMAT csv, HEADER)")
        .await
        .unwrap();
    futures::pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(
        "n,t,at\n1,\"a,b\",2026-01-01\n2,,\n3,漏".as_bytes(),
    ))
    .await
    .unwrap();
    sink.send(bytes::Bytes::from_static("斗,2026-02-01\n".as_bytes()))
        .await
        .unwrap();
    assert_eq!(sink.finish().await.unwrap(), 3);
    assert_eq!(
        texts(&client, "SELECT * FROM notes ORDER BY n").await,
        ["1|a,b|2026-01-01", "2|NULL|NULL", "3|漏斗|2026-02-01"]
    );
    let copied: Vec<bytes::Bytes> = client
        .copy_out("COPY (SELECT n, t FROM notes ORDER BY n) TO STDOUT")
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    assert_eq!(copied.concat(), "1\ta,b\n2\t\\N\n3\t漏斗\n".as_bytes());
    let sink = client
        .copy_in::<_, bytes::Bytes>("COPY notes FROM STDIN")
        .await
        .unwrap();
    futures::pin_mut!(sink);
    sink.send(bytes::Bytes::from_static(b"1\tonly two\n"))
        .await
        .unwrap();
    assert_eq!(
        db_error(&sink.finish().await.unwrap_err()).code().code(),
        "22P04"
    );
    assert_eq!(code(&client, "COPY nowhere FROM STDIN").await, "42P01");
    assert_eq!(texts(&client, "SELECT count(*) FROM notes").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_only_reads_refuses_to_write() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for block in [
        "BEGIN READ ONLY",
        "BEGIN; SET TRANSACTION READ ONLY",
        "SET default_transaction_read_only = on; BEGIN",
    ] {
        client.simple_query(block).await.unwrap();
        assert_eq!(
            code(&client, "CREATE TABLE t AS SELECT 1 AS n").await,
            "25006",
            "{block}"
        );
        client
            .simple_query("ROLLBACK; RESET default_transaction_read_only")
            .await
            .unwrap();
    }
    client
        .simple_query("CREATE TABLE t AS SELECT 1 AS n")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_go_with_their_transaction() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query("BEGIN; SET LOCAL TimeZone = 'Asia/Shanghai'; SET work_mem = '8MB'")
        .await
        .unwrap();
    assert_eq!(
        texts(
            &client,
            "SELECT timestamptz '2026-01-01 00:00+00', current_setting('work_mem')"
        )
        .await,
        ["2026-01-01 08:00:00+08|8MB"]
    );
    client.simple_query("ROLLBACK").await.unwrap();
    assert_eq!(texts(&client, "SHOW TimeZone").await, ["UTC"]);
    assert_eq!(
        texts(
            &client,
            "SELECT current_setting('work_mem'), set_config('application_name', 'x', false)"
        )
        .await,
        ["4MB|x"]
    );
    assert_eq!(texts(&client, "SELECT setting, unit FROM pg_settings WHERE name IN ('work_mem', 'application_name') ORDER BY name").await, ["x|NULL", "4096|kB"]);
    assert_eq!(
        texts(&client, "SELECT current_setting('no.such', true) IS NULL").await,
        ["t"]
    );
    assert_eq!(
        code(&client, "SELECT current_setting('no_such')").await,
        "42704"
    );
    assert_eq!(code(&client, "SET port = 1").await, "55P02");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_is_the_sessions_own() {
    let server = TestServer::start().await;
    let (client, other) = (server.client().await, server.client().await);
    let messages = client
        .simple_query("CREATE TEMP TABLE mine AS SELECT 1 AS n UNION ALL SELECT 2")
        .await
        .unwrap();
    assert!(matches!(
        messages.last(),
        Some(SimpleQueryMessage::CommandComplete(2))
    ));
    assert_eq!(
        texts(&client, "SELECT n FROM mine ORDER BY 1").await,
        ["1", "2"]
    );
    assert_eq!(code(&other, "SELECT n FROM mine").await, "42P01");
    client.simple_query("DISCARD ALL").await.unwrap();
    assert_eq!(code(&client, "SELECT n FROM mine").await, "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_seen_canceled_and_ended_by_others() {
    let server = TestServer::start().await;
    let (client, other) = (server.client().await, server.client().await);
    let pid = texts(&other, "SELECT pg_backend_pid()").await.remove(0);
    let running = tokio::spawn(async move {
        let error = other
            .simple_query("SELECT count(*) FROM generate_series(1, 1000000000000) AS g")
            .await
            .unwrap_err();
        (db_error(&error).code().code().to_owned(), other)
    });
    let seen =
        format!("SELECT state, query LIKE 'SELECT count%' FROM pg_stat_activity WHERE pid = {pid}");
    let start = Instant::now();
    while texts(&client, &seen).await != ["active|t"] {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        texts(&client, &format!("SELECT pg_cancel_backend({pid})")).await,
        ["t"]
    );
    let (code, other) = running.await.unwrap();
    assert_eq!(code, "57014");
    assert_eq!(
        texts(&client, &format!("SELECT pg_terminate_backend({pid})")).await,
        ["t"]
    );
    assert!(other.simple_query("SELECT 1").await.is_err());
    assert_eq!(texts(&client, "SELECT pg_cancel_backend(-1)").await, ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_sent_away() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query("SET idle_in_transaction_session_timeout = '100ms'; BEGIN")
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(client.simple_query("SELECT 1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_one_column_of_lines_or_json() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let statement = client.prepare("EXPLAIN SELECT 1").await.unwrap();
    assert_eq!(statement.columns()[0].name(), "QUERY PLAN");
    let plan = texts(
        &client,
        "EXPLAIN (FORMAT JSON, COSTS OFF) SELECT count(*) FROM crm.events",
    )
    .await
    .remove(0);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert!(plan[0]["Plan"]["Node Type"].is_string());
    let ran = texts(&client, "EXPLAIN ANALYZE SELECT count(*) FROM crm.events")
        .await
        .join("\n");
    assert!(ran.contains("output_rows"), "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn comments_and_keys_are_seen_by_those_who_describe() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query(
            "CREATE TABLE leads (id bigint NOT NULL, stage text DEFAULT 'new', props jsonb, uid uuid, email varchar(320), worth numeric(18,2));
             COMMENT ON TABLE leads IS 'Sales leads'; COMMENT ON COLUMN leads.stage IS $$Stage$$;
             ALTER TABLE ONLY leads ADD CONSTRAINT leads_pkey PRIMARY KEY (id);
             CREATE TABLE calls (lead bigint);
             ALTER TABLE calls ADD CONSTRAINT calls_lead FOREIGN KEY (lead) REFERENCES leads(id)",
        )
        .await
        .unwrap();
    let columns = "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, col_description(a.attrelid, a.attnum),
                          (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum)
                   FROM pg_attribute a WHERE a.attrelid = 'leads'::regclass AND a.attnum > 0 ORDER BY a.attnum";
    assert_eq!(
        texts(&client, columns).await,
        [
            "id|bigint|t|NULL|NULL",
            "stage|text|f|Stage|'new'::text",
            "props|jsonb|f|NULL|NULL",
            "uid|uuid|f|NULL|NULL",
            "email|character varying(320)|f|NULL|NULL",
            "worth|numeric(18,2)|f|NULL|NULL",
        ]
    );
    assert_eq!(
        texts(
            &client,
            "SELECT obj_description('leads'::regclass, 'pg_class')"
        )
        .await,
        ["Sales leads"]
    );
    let constraints = "SELECT conname, contype, pg_get_constraintdef(oid), conrelid::regclass FROM pg_constraint ORDER BY 1";
    assert_eq!(
        texts(&client, constraints).await,
        [
            "calls_lead|f|FOREIGN KEY (lead) REFERENCES leads(id)|calls",
            "leads_pkey|p|PRIMARY KEY (id)|leads"
        ]
    );
    client
        .simple_query("ALTER TABLE leads RENAME TO deals")
        .await
        .unwrap();
    assert_eq!(
        texts(&client, "SELECT obj_description('deals'::regclass)").await,
        ["Sales leads"]
    );
    assert_eq!(code(&client, "SELECT 'leads'::regclass").await, "42P01");
}

/// Expected: psql 15.18 over the same statements, unless said otherwise. More of them is in `tests/clients/queries/catalogs.sql`.
#[tokio::test(flavor = "multi_thread")]
async fn catalogs_say_what_tables_are_made_of() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query(
            "CREATE TABLE leads (id integer NOT NULL, name text DEFAULT 'new', since date DEFAULT current_date, worth integer DEFAULT NULL, tags text[]);
             ALTER TABLE leads ADD CONSTRAINT leads_pkey PRIMARY KEY (id);
             ALTER TABLE leads ADD CONSTRAINT leads_name_key UNIQUE (name);
             CREATE TABLE calls (lead integer, name text);
             ALTER TABLE calls ADD CONSTRAINT calls_lead FOREIGN KEY (lead) REFERENCES leads(id);
             ALTER TABLE calls ADD CONSTRAINT calls_name FOREIGN KEY (name) REFERENCES leads(name)",
        )
        .await
        .unwrap();
    let questions: [(&str, &[&str]); 12] = [
        (
            "SELECT column_name, column_default FROM information_schema.columns WHERE table_name = 'leads' ORDER BY ordinal_position",
            &[
                "id|NULL",
                "name|'new'::text",
                "since|CURRENT_DATE",
                "worth|NULL",
                "tags|NULL",
            ],
        ),
        (
            "SELECT attname, atthasdef FROM pg_attribute WHERE attrelid = 'leads'::regclass AND attnum IN (2, 4) ORDER BY attnum",
            &["name|t", "worth|f"],
        ),
        (
            "SELECT indexrelid::regclass, indclass, indcollation FROM pg_index WHERE indrelid = 'leads'::regclass ORDER BY indexrelid::regclass::text",
            &["leads_name_key|3126|100", "leads_pkey|1978|0"],
        ),
        (
            "SELECT to_regclass('leads_pkey'), to_regclass('public.leads_name_key'), to_regclass('leads_other_key')",
            &["leads_pkey|leads_name_key|NULL"],
        ),
        (
            "SELECT c.conname, d.refobjid::regclass FROM pg_constraint c JOIN pg_depend d ON d.objid = c.oid WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n' AND d.refobjsubid = 0 AND c.contype = 'f' ORDER BY 1",
            &["calls_lead|leads_pkey", "calls_name|leads_name_key"],
        ),
        (
            "SELECT conname, conpfeqop FROM pg_constraint WHERE contype = 'f' ORDER BY 1",
            &["calls_lead|{96}", "calls_name|{98}"],
        ),
        (
            "SELECT collection_type_identifier, data_type, dtd_identifier FROM information_schema.element_types WHERE object_name = 'leads'",
            &["5|text|a5"],
        ),
        (
            "SELECT pg_relation_is_updatable('leads'::regclass, false), pg_column_is_updatable('leads'::regclass, 1::smallint, false), pg_index_column_has_property('leads_pkey'::regclass, 1, 'asc')",
            &["28|t|t"],
        ),
        (
            "SELECT acldefault('r', 10)::text = format('{%s=arwdDxt/%s}', pg_get_userbyid(10), pg_get_userbyid(10)), pg_has_role(current_user, 'member'), pg_tablespace_location(NULL)",
            &["t|t|NULL"],
        ),
        (
            "SELECT pg_wal_lsn_diff('16/B374D848', '0/0'), host('10.0.0.1/8'::inet), pg_relation_size('leads_pkey'::regclass) IS NULL",
            &["97500059720|10.0.0.1|f"],
        ),
        // Every type that the catalogs name is one that they have.
        (
            "SELECT attrelid::regclass::text, attname FROM pg_attribute WHERE atttypid NOT IN (SELECT oid FROM pg_type)",
            &[],
        ),
        (
            "SELECT proname FROM pg_proc WHERE prorettype NOT IN (SELECT oid FROM pg_type) UNION SELECT proname FROM (SELECT proname, unnest(proargtypes) AS kind FROM pg_proc) p WHERE kind NOT IN (SELECT oid FROM pg_type)",
            &[],
        ),
    ];
    for (question, expected) in questions {
        assert_eq!(texts(&client, question).await, expected, "{question}");
    }
    assert_eq!(
        code(&client, "SELECT pg_wal_lsn_diff('x', '0/0')").await,
        "22P02"
    );
    assert_eq!(
        code(&client, "SELECT pg_database_size('nowhere')").await,
        "42704",
        "PostgreSQL says 3D000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_relations_are_called_as_they_are() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .simple_query(
            "CREATE TABLE leads (id integer, name text); INSERT INTO leads VALUES (1, 'ana')",
        )
        .await
        .unwrap();
    let questions: [(&str, &[&str]); 7] = [
        (
            "SELECT x.tableoid, x.oid FROM pg_extension x",
            &["tableoid", "oid"],
        ),
        ("SELECT tableoid FROM pg_extension", &["tableoid"]),
        (
            "SELECT l.tableoid, l.ctid FROM leads l",
            &["tableoid", "ctid"],
        ),
        ("SELECT public.leads.* FROM public.leads", &["id", "name"]),
        ("SELECT leads.* FROM public.leads", &["id", "name"]),
        (
            "SELECT pg_am.* FROM pg_am",
            &["oid", "amname", "amhandler", "amtype"],
        ),
        (
            "SELECT 'YES'::information_schema.yes_or_no AS b, relname::information_schema.sql_identifier FROM pg_class",
            &["b", "relname"],
        ),
    ];
    for (sql, names) in questions {
        let statement = client.prepare(sql).await.unwrap();
        let columns = statement.columns().iter().map(|column| column.name());
        assert_eq!(columns.collect::<Vec<_>>(), names, "{sql}");
    }
    assert_eq!(
        texts(&client, "SELECT public.leads.* FROM public.leads").await,
        ["1|ana"]
    );
    assert_eq!(
        texts(
            &client,
            "SELECT tableoid::regclass FROM leads WHERE tableoid = 'leads'::regclass"
        )
        .await,
        ["leads"]
    );
}

/// Whether a script of `tests/clients` succeeds, and what it reports; nothing where it can't run here.
fn report_of(script: &str) -> Option<(bool, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let Ok(output) = Command::new(python)
        .arg(folder.join(script).with_extension("py"))
        .args(["--binary", env!("CARGO_BIN_EXE_funnelsql")])
        .output()
    else {
        eprintln!("skipped: no Python");
        return None;
    };
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    if report.contains("skipped:") {
        eprintln!("{report}");
        return None;
    }
    Some((output.status.success(), report))
}

/// What tools ask, in our own words; see `tests/clients/compare.py`.
#[test]
fn tools_get_what_postgres_answers() {
    let Some((succeeded, report)) = report_of("compare") else {
        return;
    };
    assert!(succeeded, "{report}");
    let last = report.lines().last().unwrap_or_default();
    assert!(last.contains("answered as by PostgreSQL"), "{report}");
}

/// Whole sessions of real clients; see `tests/clients/replay.py`.
#[test]
fn recorded_clients_get_what_postgres_answers() {
    let Some((_, report)) = report_of("replay") else {
        return;
    };
    let (mut statements, mut ok, mut shape) = (0, 0, 0);
    for line in report.lines().filter(|line| !line.starts_with(' ')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse::<usize>().ok()
        };
        if let [name, count, ..] = words.as_slice()
            && !matches!(*name, "TOTAL" | "semantics")
            && let (Ok(count), Some(o), Some(s)) =
                (count.parse::<usize>(), number("ok"), number("shape"))
        {
            statements += count;
            ok += o;
            shape += s;
        }
    }
    assert!(statements > 700, "{report}");
    assert!(ok * 1000 >= statements * CLIENTS_OK, "{report}");
    assert!(shape * 1000 >= statements * CLIENTS_SHAPE, "{report}");
}

/// The least share of recorded statements that work, and whose columns are Postgres', in thousandths.
const CLIENTS_OK: usize = 930;
const CLIENTS_SHAPE: usize = 920;
