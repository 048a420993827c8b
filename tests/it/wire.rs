//! The wire protocol, spoken by tokio-postgres, by psql, and by hand where a driver wouldn't.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::process::Command;
use std::time::{Duration, Instant};

use chrono::{NaiveDate, NaiveDateTime};
use futures::TryStreamExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::support::raw::{RawClient, error, kinds, rows};
use crate::support::{TestServer, connect, db_error};

/// A query that would run for hours.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) AS g";

async fn texts(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        (0..row.len())
            .map(|at| row.get(at).map(str::to_owned))
            .collect()
    })
    .collect()
}

async fn text(client: &Client, sql: &str) -> Option<String> {
    texts(client, sql).await.remove(0).remove(0)
}

async fn code(client: &Client, sql: &str) -> String {
    let error = client.simple_query(sql).await.unwrap_err();
    db_error(&error).code().code().to_owned()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_protocols_give_the_same_rows() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sql = "SELECT stage, entered FROM stage_conversion('sales') ORDER BY stage_no";
    assert_eq!(
        texts(&client, sql).await,
        [some(&["acquired", "3"]), some(&["won", "2"])]
    );
    let rows = client.query(sql, &[]).await.unwrap();
    let rows: Vec<(&str, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [("acquired", 3), ("won", 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_inferred_from_the_statement() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let statement = client
        .prepare(
            "SELECT amount FROM crm.events WHERE lead_id = $1 AND channel = $2 AND event = 'won'",
        )
        .await
        .unwrap();
    assert_eq!(statement.params(), [Type::INT8, Type::TEXT]);
    let row = client
        .query_one(&statement, &[&1_i64, &"web"])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 1200);
    let none: Option<&str> = None;
    assert!(
        client
            .query(&statement, &[&1_i64, &none])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_every_type_come_back_in_binary() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sql = "SELECT $1::bool, $2::int2, $3::int4, $4::int8, $5::float4, $6::float8, $7::text,
                      $8::bytea, $9::date, $10::timestamp";
    let date = NaiveDate::from_ymd_opt(2026, 2, 28).unwrap();
    let instant: NaiveDateTime = date.and_hms_micro_opt(23, 59, 59, 123_456).unwrap();
    let bytes: &[u8] = &[0, 255];
    let row = client
        .query_one(
            sql,
            &[
                &true, &-2_i16, &3_i32, &4_i64, &1.5_f32, &2.5_f64, &"漏斗", &bytes, &date,
                &instant,
            ],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!(
        (
            row.get::<_, i16>(1),
            row.get::<_, i32>(2),
            row.get::<_, i64>(3)
        ),
        (-2, 3, 4)
    );
    assert_eq!((row.get::<_, f32>(4), row.get::<_, f64>(5)), (1.5, 2.5));
    assert_eq!(
        (row.get::<_, &str>(6), row.get::<_, &[u8]>(7)),
        ("漏斗", bytes)
    );
    assert_eq!(
        (row.get::<_, NaiveDate>(8), row.get::<_, NaiveDateTime>(9)),
        (date, instant)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_in_text_are_read_as_their_types() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client
        .parse("SELECT lead_id + $1::int8, $2::text, $3::text FROM crm.events WHERE lead_id = 2")
        .await;
    client.bind(&[Some("40"), Some("数"), None], &[]).await;
    client.execute(0).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "12DCZ");
    assert_eq!(
        rows(&messages),
        [[Some("42".to_owned()), Some("数".to_owned()), None]]
    );
    client.parse("SELECT $1::int8").await;
    client.bind(&[Some("many")], &[]).await;
    let messages = client.sync().await;
    assert_eq!(error(&messages).field('C').as_deref(), Some("22P02"));
    let expected = "invalid input syntax for type bigint: \"many\"";
    assert_eq!(error(&messages).field('M').as_deref(), Some(expected));
}

/// Programs send texts for values of all types, as literals are written.
#[tokio::test]
async fn a_text_is_read_as_the_parameters_type() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.query("SET TimeZone = 'Asia/Shanghai'").await;
    client
        .parse("SELECT $1::timestamp, $2::timestamptz, $3::date, $4::bool, $5::interval, $6::int[], $7::uuid")
        .await;
    let values = [
        "2026-01-01",
        "2026-01-01 08:00",
        "2026-1-1",
        "yes",
        "1 day",
        "{1,NULL}",
        "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
    ];
    client.bind(&values.map(Some), &[]).await;
    client.execute(0).await;
    let messages = client.sync().await;
    let expected = [
        "2026-01-01 00:00:00",
        "2026-01-01 08:00:00+08",
        "2026-01-01",
        "t",
        "1 day",
        "{1,NULL}",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    ];
    assert_eq!(
        rows(&messages),
        [expected.map(|text| Some(text.to_owned()))]
    );
    for (kind, text, code) in [
        ("timestamp", "2026-02-30", "22008"),
        ("date", "soon", "22007"),
        ("uuid", "1", "22P02"),
        ("int2", "70000", "22003"),
    ] {
        client.parse(&format!("SELECT $1::{kind}")).await;
        client.bind(&[Some(text)], &[]).await;
        let messages = client.sync().await;
        assert_eq!(error(&messages).field('C').as_deref(), Some(code), "{kind}");
    }
}

/// Grids that are edited, and drivers that ask whether a column can be NULL, look its table up.
#[tokio::test]
async fn a_column_names_the_table_that_it_is_of() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE SCHEMA \"销售\"; CREATE TABLE \"销售\".t (id int PRIMARY KEY, name text);
             CREATE TABLE u (id int, note text); CREATE VIEW v AS SELECT id, upper(note) AS loud FROM u",
        )
        .await
        .unwrap();
    for (sql, expected) in [
        (
            "SELECT name, id AS x, id + 1, 5 FROM \"销售\".t",
            "\"销售\".t 2, \"销售\".t 1, -, -",
        ),
        (
            "SELECT a.*, b.note FROM \"销售\".t a JOIN u b USING (id) WHERE a.id = $1 ORDER BY 1 LIMIT 3",
            "\"销售\".t 1, \"销售\".t 2, u 2",
        ),
        (
            "INSERT INTO u VALUES (1, 'x') RETURNING note, id + 1",
            "u 2, -",
        ),
        ("SELECT loud, id FROM v", "v 2, v 1"),
        ("SELECT id, count(*) FROM u GROUP BY id", "u 1, -"),
        ("SELECT id FROM u UNION SELECT id FROM \"销售\".t", "-"),
        ("SELECT n FROM (SELECT id + 1 AS n FROM u) AS q", "-"),
    ] {
        let statement = client.prepare(sql).await.unwrap();
        let mut found = Vec::new();
        for column in statement.columns() {
            found.push(match column.table_oid().zip(column.column_id()) {
                None => "-".to_owned(),
                Some((oid, number)) => {
                    let name = format!("SELECT {oid}::regclass::text");
                    format!("{} {number}", text(&client, &name).await.unwrap())
                }
            });
        }
        assert_eq!(found.join(", "), expected, "{sql}");
    }
}

/// A value as a client sends it in binary.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl ToSql for Bytes {
    fn to_sql(
        &self,
        _kind: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// An array of one dimension, with NULL behind its elements.
fn list(kind: &Type, elements: &[&[u8]]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let mut bytes = [1, 1].map(number).concat();
    bytes.extend(kind.oid().to_be_bytes());
    bytes.extend([elements.len() + 1, 1].map(number).concat());
    for element in elements {
        bytes.extend(number(element.len()));
        bytes.extend(*element);
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_in_binary_are_read_as_their_types() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let uuid = [
        0xc9, 0xf0, 0xf8, 0x95, 0xfb, 0x98, 0x4b, 0x3a, 0x8d, 0x5c, 0x0b, 0x0a, 0x2f, 0x6f, 0x9d,
        0x11,
    ];
    let uuid_text = "c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11";
    let json = r#"{"阶段": [1, null]}"#.as_bytes();
    let jsonb = [&[1], json].concat();
    // Days and microseconds since 2000.
    let (day, moment) = (
        9_527_i32.to_be_bytes(),
        823_132_800_500_000_i64.to_be_bytes(),
    );
    for (kind, value, expected) in [
        (Type::UUID, uuid.to_vec(), uuid_text),
        (Type::JSON, json.to_vec(), r#"{"阶段": [1, null]}"#),
        (Type::JSONB, jsonb.clone(), r#"{"阶段": [1, null]}"#),
        (Type::DATE, day.to_vec(), "2026-01-31"),
        (
            Type::UUID_ARRAY,
            list(&Type::UUID, &[&uuid, &uuid]),
            "{c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11,c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11,NULL}",
        ),
        (
            Type::JSONB_ARRAY,
            list(&Type::JSONB, &[&jsonb]),
            r#"{"{\"阶段\": [1, null]}",NULL}"#,
        ),
        (
            Type::DATE_ARRAY,
            list(&Type::DATE, &[&day]),
            "{2026-01-31,NULL}",
        ),
        (
            Type::TIMESTAMPTZ_ARRAY,
            list(&Type::TIMESTAMPTZ, &[&moment]),
            "{\"2026-01-31 00:00:00.5+00\",NULL}",
        ),
        (
            Type::TIMESTAMP_ARRAY,
            list(&Type::TIMESTAMP, &[&moment]),
            "{\"2026-01-31 00:00:00.5\",NULL}",
        ),
        (
            Type::BYTEA_ARRAY,
            list(&Type::BYTEA, &[&[0, 255]]),
            r#"{"\\x00ff",NULL}"#,
        ),
        (
            Type::INT4_ARRAY,
            list(&Type::INT4, &[&[0, 0, 0, 7]]),
            "{7,NULL}",
        ),
        (Type::DATE_ARRAY, vec![0; 12], "{}"),
    ] {
        let sql = format!("SELECT ($1::{})::text", kind.name().replace('_', ""));
        let sql = match kind.kind() {
            Kind::Array(element) => format!("SELECT ($1::{}[])::text", element.name()),
            _ => sql,
        };
        let row = client.query_one(&sql, &[&Bytes(value)]).await;
        let row = row.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(row.get::<_, String>(0), expected, "{sql}");
    }
    for (kind, value) in [
        ("uuid", vec![1, 2]),
        ("jsonb", vec![2, b'1']),
        ("date[]", list(&Type::DATE, &[&[1]])),
        ("date[]", vec![0, 0, 0, 1]),
    ] {
        let sql = format!("SELECT $1::{kind}");
        let error = client.query(&sql, &[&Bytes(value)]).await.unwrap_err();
        assert_eq!(error.code().map(SqlState::code), Some("22P03"), "{sql}");
    }
}

/// Expected: PostgreSQL 15.18.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_described_is_what_is_sent() {
    let server = TestServer::start().await;
    let client = server.client().await;
    for (sql, kind) in [
        (
            "SELECT CASE WHEN x = 1 THEN 1 ELSE 0.5 END FROM (VALUES (1), (2)) AS v (x)",
            Type::NUMERIC,
        ),
        ("SELECT 1 UNION ALL SELECT 2.5", Type::NUMERIC),
        (
            "SELECT sum(CASE WHEN x = 1 THEN 1 ELSE 0.0 END) / count(*) FROM (VALUES (1), (2)) AS v (x)",
            Type::NUMERIC,
        ),
        ("SELECT NULL UNION SELECT 1", Type::INT4),
        ("SELECT 1::smallint UNION SELECT 2::bigint", Type::INT8),
        (
            "SELECT CASE WHEN x = 1 THEN 0 ELSE 0.5::float8 END FROM (VALUES (1), (2)) AS v (x)",
            Type::FLOAT8,
        ),
        (
            "SELECT date '2026-01-01' UNION ALL SELECT timestamp '2026-01-01'",
            Type::TIMESTAMP,
        ),
    ] {
        let statement = client.prepare(sql).await.unwrap();
        assert_eq!(statement.columns()[0].type_(), &kind, "{sql}");
    }
    let span = client
        .query_one(
            "SELECT NULL::interval, 'infinity'::timestamp, '-infinity'::date",
            &[],
        )
        .await
        .unwrap();
    let bytes = |at: usize| span.get::<_, Option<Received>>(at).map(|bytes| bytes.0);
    assert_eq!(bytes(0), None);
    assert_eq!(bytes(1), Some(i64::MAX.to_be_bytes().to_vec()));
    assert_eq!(bytes(2), Some(i32::MIN.to_be_bytes().to_vec()));
    let product = client
        .prepare("SELECT (10.5::numeric(10,2) * $1)::text, $2::uuid, $3::jsonb")
        .await
        .unwrap();
    assert_eq!(
        product.params(),
        [Type::NUMERIC, Type::UUID, Type::JSONB],
        "drivers write values as the types that they are told"
    );
    let mut raw = RawClient::start(server.address).await;
    raw.parse("SELECT 10.5::numeric(10,2) * $1").await;
    raw.bind(&[Some("1.255")], &[]).await;
    raw.execute(0).await;
    let messages = raw.sync().await;
    let product = rows(&messages)[0][0].clone().unwrap();
    assert_eq!(product.trim_end_matches('0'), "13.1775");
}

/// A value as the server sends it in binary.
struct Received(Vec<u8>);

impl<'a> FromSql<'a> for Received {
    fn from_sql(
        _kind: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_kind: &Type) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_type_is_kept() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let sql = "SELECT lead_id FROM crm.events WHERE lead_id = $1 AND event = 'won'";
    let statement = client.prepare_typed(sql, &[Type::INT2]).await.unwrap();
    assert_eq!(statement.params(), [Type::INT2]);
    assert_eq!(
        client
            .query_one(&statement, &[&3_i16])
            .await
            .unwrap()
            .get::<_, i64>(0),
        3
    );
    let rows = client
        .query_typed("SELECT $1 AS n", &[(&5_i32, Type::INT4)])
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, i32>("n"), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_knows_the_columns_that_depend_on_its_values() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client
        .parse("SELECT stage, entered FROM stage_conversion($1) ORDER BY stage_no")
        .await;
    client.describe(b'S').await;
    client.bind(&[Some("sales")], &[]).await;
    client.describe(b'P').await;
    client.execute(0).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "1tn2TDDCZ");
    assert_eq!(
        rows(&messages),
        [some(&["acquired", "3"]), some(&["won", "2"])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_code_hint_and_place() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    let fields = |messages: &[_], names: &[char]| -> Vec<Option<String>> {
        names
            .iter()
            .map(|name| error(messages).field(*name))
            .collect()
    };
    let messages = client.query("SELECT '漏斗', chanel FROM crm.events").await;
    assert_eq!(kinds(&messages), "EZ");
    assert_eq!(
        fields(&messages, &['S', 'V', 'C', 'P']),
        some(&["ERROR", "ERROR", "42703", "14"])
    );
    assert!(
        fields(&messages, &['H'])[0]
            .as_deref()
            .unwrap()
            .contains("channel"),
        "{messages:?}"
    );
    let messages = client.query("SELECT * FROM stage_conversion('sale')").await;
    assert_eq!(fields(&messages, &['C']), some(&["42704"]));
    for (sql, expected) in [
        ("SELECT * FROM nothing", "42P01"),
        ("SELECT no_such_function(1)", "42883"),
        ("SELECT 1/0", "22012"),
        ("SELEC 1", "42601"),
        ("COPY crm.events TO '/tmp/x.csv'", "0A000"),
    ] {
        let messages = client.query(sql).await;
        assert_eq!(fields(&messages, &['C']), some(&[expected]), "{sql}");
    }
    assert_eq!(rows(&client.query("SELECT 7").await), [some(&["7"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_an_error_has_reached_the_client() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    let messages = client
        .query("SELECT 1; SET timezone = 'Asia/Shanghai'; SELECT 1/0; SELECT 2")
        .await;
    assert_eq!(kinds(&messages), "TDCSCTEZ");
    assert_eq!(messages[2].text(), "SELECT 1");
    assert_eq!(kinds(&client.query(" ;; -- nothing").await), "IZ");
    // A text that can't be read runs not even its first statement, as in Postgres.
    assert_eq!(kinds(&client.query("SELECT 1; SELEC 2").await), "EZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_belong_to_their_connection() {
    let server = TestServer::start().await;
    let (one, other) = (server.client().await, server.client().await);
    one.batch_execute("SET TimeZone = 'Asia/Shanghai'; SET datafusion.execution.batch_size = 77")
        .await
        .unwrap();
    assert_eq!(
        text(&one, "SHOW timezone").await.as_deref(),
        Some("Asia/Shanghai")
    );
    assert_eq!(text(&other, "SHOW timezone").await.as_deref(), Some("UTC"));
    assert_eq!(
        text(&other, "SHOW datafusion.execution.batch_size")
            .await
            .as_deref(),
        Some("8192")
    );
    let noon = "SELECT TIMESTAMPTZ '2026-01-05 04:00:00Z'::timestamptz";
    assert!(
        text(&one, noon)
            .await
            .unwrap()
            .starts_with("2026-01-05 12:00:00")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn startup_parameters_are_settings() {
    let server = TestServer::start().await;
    let parameters = [
        ("user", "ana"),
        ("application_name", "审计"),
        (
            "options",
            "-c TimeZone=Asia/Shanghai --statement_timeout=5s",
        ),
    ];
    let mut client = RawClient::connect(server.address, &parameters).await;
    assert!(kinds(&client.greeting).starts_with('R') && kinds(&client.greeting).ends_with("KZ"));
    let statuses: Vec<String> = client
        .greeting
        .iter()
        .filter(|m| m.kind == 'S')
        .map(|m| m.text())
        .collect();
    for expected in [
        "TimeZone\0Asia/Shanghai",
        "application_name\0审计",
        "server_version\u{0}15.18",
    ] {
        assert!(
            statuses.iter().any(|status| status == expected),
            "{expected}: {statuses:?}"
        );
    }
    assert_eq!(
        rows(&client.query("SHOW statement_timeout").await),
        [some(&["5s"])]
    );
    assert_eq!(
        rows(&client.query("SELECT current_user").await),
        [some(&["ana"])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cannot_be_admitted_is_told_why() {
    let server = TestServer::start().await;
    for (parameters, code) in [
        (&[("user", "ana"), ("TimeZone", "Mars/Base")][..], "22023"),
        (&[("user", "ana"), ("client_encoding", "klingon")], "22023"),
        (&[("user", "ana"), ("options", "-c nope=1")], "42704"),
        (&[("user", "ana"), ("no_such_setting", "1")], "42704"),
        (&[("user", "ana"), ("replication", "database")], "0A000"),
        (&[("user", "ana"), ("replication", "true")], "0A000"),
        (&[("database", "funnelsql")], "28000"),
    ] {
        let mut client = RawClient::connect(server.address, parameters).await;
        let fields = ['S', 'C'].map(|name| error(&client.greeting).field(name).unwrap());
        assert_eq!(fields, ["FATAL", code]);
        assert!(client.receive().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_says_how_it_stands() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    for (sql, expected, status) in [
        ("COMMIT", "NCZ", "I"),
        ("BEGIN", "CZ", "T"),
        ("BEGIN", "NCZ", "T"),
        ("SELECT 1", "TDCZ", "T"),
        ("SELECT 1/0", "TEZ", "E"),
        ("SELECT 1", "EZ", "E"),
        ("COMMIT", "CZ", "I"),
        ("SELECT 1", "TDCZ", "I"),
        ("START TRANSACTION; SELEC 1", "EZ", "I"),
        (
            "BEGIN; CREATE VIEW kept AS SELECT 1 AS n; ROLLBACK",
            "CCNCZ",
            "I",
        ),
        ("SELECT n FROM kept", "TDCZ", "I"),
    ] {
        let messages = client.query(sql).await;
        assert_eq!(kinds(&messages), expected, "{sql}");
        assert_eq!(messages.last().unwrap().text(), status, "{sql}");
    }
    let messages = client.query("BEGIN; SELECT 1/0").await;
    assert_eq!(messages.last().unwrap().text(), "E");
    let messages = client.query("SELECT 1").await;
    assert_eq!(error(&messages).field('C').as_deref(), Some("25P02"));
    let messages = client.query("COMMIT").await;
    assert_eq!(messages[0].text(), "ROLLBACK");
    let messages = client.query("ROLLBACK").await;
    assert_eq!(
        ['S', 'C'].map(|name| messages[0].field(name).unwrap()),
        ["WARNING", "25P01"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_notices_that_are_wanted_are_sent() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    let sql = "DROP FUNNEL IF EXISTS nothing";
    assert_eq!(kinds(&client.query(sql).await), "NCZ");
    assert_eq!(
        kinds(&client.query("SET client_min_messages = warning").await),
        "CZ"
    );
    assert_eq!(kinds(&client.query(sql).await), "CZ");
    assert_eq!(kinds(&client.query("COMMIT").await), "NCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_is_read_in_parts_while_others_run() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    let sql = "SELECT g FROM generate_series(1, 100000) AS g ORDER BY g";
    let portal = transaction.bind(sql, &[]).await.unwrap();
    let mut first = Vec::new();
    for most in [3, 10_000] {
        let rows = transaction.query_portal(&portal, most).await.unwrap();
        assert_eq!(rows.len(), usize::try_from(most).unwrap());
        first.push(rows[0].get::<_, i32>(0));
        assert_eq!(
            text(transaction.client(), "SELECT 'between'")
                .await
                .as_deref(),
            Some("between")
        );
    }
    let rest = transaction.query_portal(&portal, 0).await.unwrap();
    assert_eq!(rest.len(), 100_000 - 10_003);
    assert_eq!(transaction.query_portal(&portal, 5).await.unwrap().len(), 0);
    assert_eq!(first, [1, 4]);
    transaction.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows_of_an_endless_result_come_at_once() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client
        .parse("SELECT g FROM generate_series(1, 1000000000000) AS g")
        .await;
    client.bind(&[], &[1]).await;
    client.execute(2).await;
    client.execute(1).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "12DDsDsZ");
    // The portal ended with its transaction.
    client.execute(1).await;
    assert_eq!(
        error(&client.sync().await).field('C').as_deref(),
        Some("34000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_nothing_is_done_until_sync() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.parse("SELECT 1/0").await;
    client.bind(&[], &[]).await;
    client.execute(0).await;
    client.parse("SELECT 2").await;
    client.send(b'H', b"").await;
    assert_eq!(kinds(&client.sync().await), "12EZ");
    client.parse("SELECT 1; SELECT 2").await;
    let messages = client.sync().await;
    assert_eq!(error(&messages).field('C').as_deref(), Some("42601"));
    let expected = "cannot insert multiple commands into a prepared statement";
    assert_eq!(error(&messages).field('M').as_deref(), Some(expected));
    client.parse("").await;
    client.describe(b'S').await;
    client.bind(&[], &[]).await;
    client.execute(0).await;
    assert_eq!(kinds(&client.sync().await), "1tn2IZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_breaks_the_rules_is_an_error_and_no_more() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.parse("SELECT 1, 2, 3").await;
    client.bind(&[], &[1, 1]).await;
    assert_eq!(
        error(&client.sync().await).field('C').as_deref(),
        Some("08P01")
    );
    client.parse("SELECT 1").await;
    client.bind(&[Some("1")], &[]).await;
    assert_eq!(
        error(&client.sync().await).field('C').as_deref(),
        Some("08P01")
    );
    client.parse("SELECT 1").await;
    client.bind(&[], &[]).await;
    client.execute(-1).await;
    assert_eq!(kinds(&client.sync().await), "12DCZ");
    client.send(b'F', b"\0\0\0\x01\0\0\0\0\0\0").await;
    assert_eq!(
        error(&client.until_ready().await).field('C').as_deref(),
        Some("0A000")
    );
    client.send(b'Q', b"SELECT 1\0; SELECT 2\0").await;
    assert_eq!(
        error(&client.until_ready().await).field('C').as_deref(),
        Some("08P01")
    );
    client.send(b'Q', b"SELECT '\xff'\0").await;
    assert_eq!(
        error(&client.until_ready().await).field('C').as_deref(),
        Some("22021")
    );
    client.send(b'B', b"\0\0\0\0\0\x09").await;
    assert_eq!(kinds(&client.sync().await), "EZ");
    assert_eq!(rows(&client.query("SELECT 7").await), [some(&["7"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_and_cut_statements_do_not_hurt_the_connection() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let long = format!("SELECT length('{}')", "数".repeat(4 << 20));
    assert_eq!(text(&client, &long).await.as_deref(), Some("4194304"));
    assert_eq!(
        code(&client, &format!("SELECT {}1", "1 + ".repeat(1 << 20))).await,
        "54001"
    );
    assert_eq!(
        code(&client, &format!("SELECT '{}", "x".repeat(10 << 20))).await,
        "42601"
    );
    for cut in [
        "SELECT * FROM (SELECT 1",
        "SELECT 'a",
        "CREATE FUNNEL f ON crm.events (STAGE",
        "\"",
        "(",
    ] {
        assert_eq!(code(&client, cut).await, "42601", "{cut}");
    }
    assert_eq!(text(&client, "SELECT 7").await.as_deref(), Some("7"));
}

/// They recurse through parser, planner and optimizer; a stack that is too small ends the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_statements_that_are_let_through_are_answered() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let added = format!(
        "SELECT {}0 FROM crm.events LIMIT 1",
        "lead_id * 0 + ".repeat(990)
    );
    assert_eq!(text(&client, &added).await.as_deref(), Some("0"));
    let united = vec!["SELECT lead_id FROM crm.events"; 480].join(" UNION ALL ");
    assert_eq!(texts(&client, &united).await.len(), 480 * 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_values_are_any_text() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let row = client
        .query_one(
            "SELECT channel AS \"渠道 🛒\" FROM crm.events WHERE channel = $1",
            &[&"展会"],
        )
        .await
        .unwrap();
    assert_eq!(
        (row.columns()[0].name(), row.get::<_, &str>(0)),
        ("渠道 🛒", "展会")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_stops_a_statement_wherever_it_is() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let cross_join = "SELECT count(*) FROM generate_series(1, 100000) AS a
                      CROSS JOIN generate_series(1, 1000000) AS b";
    let streamed = "SELECT g FROM generate_series(1, 1000000000000) AS g";
    for sql in [ENDLESS, cross_join, streamed] {
        let token = client.cancel_token();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await.unwrap();
            Instant::now()
        };
        let read = async {
            let rows = client.simple_query_raw(sql).await.unwrap();
            rows.try_for_each(|_| async { Ok(()) }).await
        };
        let (canceled, read) = tokio::join!(cancel, read);
        let error = read.unwrap_err();
        assert_eq!(db_error(&error).code().code(), "57014");
        assert_eq!(
            db_error(&error).message(),
            "canceling statement due to user request"
        );
        assert!(
            canceled.elapsed() < Duration::from_secs(1),
            "{sql}: {:?}",
            canceled.elapsed()
        );
        assert_eq!(text(&client, "SELECT 7").await.as_deref(), Some("7"));
    }
    // One that comes when nothing runs cancels nothing.
    client.cancel_token().cancel_query(NoTls).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(text(&client, "SELECT 7").await.as_deref(), Some("7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_at_its_time_limit() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute("SET statement_timeout = '200ms'")
        .await
        .unwrap();
    let error = client.query(ENDLESS, &[]).await.unwrap_err();
    assert_eq!(db_error(&error).code().code(), "57014");
    assert_eq!(
        db_error(&error).message(),
        "canceling statement due to statement timeout"
    );
    assert_eq!(code(&client, ENDLESS).await, "57014");
    client
        .batch_execute("SET statement_timeout = 0")
        .await
        .unwrap();
    assert_eq!(text(&client, "SELECT 7").await.as_deref(), Some("7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_do_not_wait_for_each_other() {
    let server = TestServer::start().await;
    let (busy, quick) = (server.client().await, server.client().await);
    let token = busy.cancel_token();
    let work = tokio::spawn(async move { code(&busy, ENDLESS).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    assert_eq!(text(&quick, "SELECT 7").await.as_deref(), Some("7"));
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    token.cancel_query(NoTls).await.unwrap();
    assert_eq!(work.await.unwrap(), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_protocol_are_forgotten_by_sql() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    let prepare = |name: &str| [name.as_bytes(), b"\0SELECT 1\0\0\0"].concat();
    for forget in ["DEALLOCATE s", "DEALLOCATE ALL", "DISCARD ALL"] {
        client.send(b'P', &prepare("s")).await;
        assert_eq!(kinds(&client.sync().await), "1Z");
        client.send(b'P', &prepare("s")).await;
        assert_eq!(
            error(&client.sync().await).field('C').as_deref(),
            Some("42P05")
        );
        assert!(
            kinds(&client.query(forget).await).ends_with("CZ"),
            "{forget}"
        );
        client.send(b'D', b"Ss\0").await;
        assert_eq!(
            error(&client.sync().await).field('C').as_deref(),
            Some("26000"),
            "{forget}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named() {
    use funnelsql::engine::{Engine, EngineOptions};
    use funnelsql::server::{Server, ServerOptions};
    let server = TestServer::start().await;
    let data = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::new(data.path())).await.unwrap();
    let listen = server.address.to_string();
    let options = ServerOptions {
        shutdown_grace: Duration::ZERO,
        ..ServerOptions::new(&listen)
    };
    let error = Server::bind(engine, options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("address {listen} is already in use")
    );
    assert!(error.hint().unwrap().contains("--listen"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_statements_finish() {
    let mut server = TestServer::start().await;
    let busy = server.client().await;
    let mut idle = RawClient::start(server.address).await;
    let sql = "SELECT count(*) FROM generate_series(1, 5000000) AS g WHERE g % 7 = 0";
    let work = tokio::spawn(async move { text(&busy, sql).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop();
    let farewell = idle.receive().await.unwrap();
    assert_eq!(
        ['S', 'C'].map(|name| farewell.field(name).unwrap()),
        ["FATAL", "57P01"]
    );
    assert!(idle.receive().await.is_none());
    assert_eq!(work.await.unwrap().as_deref(), Some("714285"));
    let address = server.address;
    server.stopped().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_what_does_not_finish() {
    let mut server = TestServer::start_with(Duration::from_millis(200)).await;
    let client = server.client().await;
    let work = tokio::spawn(async move { code(&client, ENDLESS).await });
    // A client that has asked for much and reads nothing.
    let mut deaf = RawClient::start(server.address).await;
    deaf.send(
        b'Q',
        b"SELECT g FROM generate_series(1, 1000000000000) AS g\0",
    )
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let asked = Instant::now();
    server.stop();
    assert_eq!(work.await.unwrap(), "57P01");
    server.stopped().await;
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_whose_client_has_gone_is_dropped() {
    let mut server = TestServer::start_with(Duration::from_secs(60)).await;
    let mut client = RawClient::start(server.address).await;
    client
        .send(b'Q', &[ENDLESS.as_bytes(), b"\0"].concat())
        .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(client);
    let asked = Instant::now();
    server.stop();
    server.stopped().await;
    assert!(
        asked.elapsed() < Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_tell_of_functions_by_stable_numbers() {
    let server = TestServer::start().await;
    let sql = "SELECT p.oid, n.nspname, p.prokind::text, d.description FROM pg_proc p
               JOIN pg_namespace n ON n.oid = p.pronamespace
               JOIN pg_description d ON d.objoid = p.oid AND d.classoid = 1255
               WHERE p.proname = 'stage_conversion'";
    let found = texts(&server.client().await, sql).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0][1].as_deref(), Some("public"));
    assert_eq!(found[0][2].as_deref(), Some("f"));
    let other = TestServer::start().await;
    assert_eq!(texts(&connect(&other.config()).await, sql).await, found);
}

/// What the real psql shows for its own commands.
#[tokio::test(flavor = "multi_thread")]
async fn psql_finds_its_way_around() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("skipped: psql is not installed");
        return;
    }
    let server = TestServer::start().await;
    for (command, expected) in [
        (r"\d", &["public", "web_leads", "view", "(1 row)"][..]),
        (r"\dv *.*", &["journeys", "sales", "web_leads"]),
        (
            r"\d crm.events",
            &[
                "Table \"crm.events\"",
                "lead_id",
                "bigint",
                "occurred_at",
                "timestamp",
            ],
        ),
        (
            r"\d web_leads",
            &["View \"public.web_leads\"", "occurred_at"],
        ),
        (
            r"\d journeys.sales",
            &["acquired_at", "won_at", "furthest_stage", "status"],
        ),
        (
            r"\d funnel.stages",
            &["Table \"funnel.stages\"", "stage_no", "bigint", "condition"],
        ),
        (r"\dt crm.*", &["events", "table"]),
        (r"\dt *.*", &["pg_proc", "events"]),
        (r"\dt+ crm.*", &["events", "permanent"]),
        (r"\dv", &["web_leads", "view"]),
        (r"\dv journeys.*", &["sales", "view"]),
        (r"\dn", &["crm", "funnel", "journeys", "public"]),
        (r"\dn+", &["journeys"]),
        (r"\l", &["funnelsql", "UTF8"]),
        (r"\l+", &["funnelsql"]),
        (
            r"\df",
            &[
                "stage_conversion",
                "funnel text, by text DEFAULT NULL",
                "rate_ci",
                "SETOF record",
            ],
        ),
        (r"\df stage_conversion", &["stage_conversion", "(1 row)"]),
        (r"\df public.*", &["journeys", "cohort_cycle"]),
        (
            r"\df+ stage_conversion",
            &["For each stage of a funnel", "stable", "invoker"],
        ),
        (r"\da", &["journey"]),
        (r"\conninfo", &["ana"]),
        (
            "SELECT stage, entered FROM stage_conversion('sales') ORDER BY stage_no",
            &["acquired", "won"],
        ),
    ] {
        let shown = psql(server.address.port(), command).await;
        for text in expected {
            assert!(
                shown.contains(text),
                "{command} doesn't show {text}:\n{shown}"
            );
        }
    }
}

async fn psql(port: u16, command: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-h",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        "ana",
        "-d",
        "funnelsql",
    ])
    .args(["-v", "ON_ERROR_STOP=1", "-P", "pager=off", "-c", command])
    .env("PGCONNECT_TIMEOUT", "10")
    .env_remove("PGPASSWORD");
    let output = tokio::task::spawn_blocking(move || psql.output())
        .await
        .unwrap()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && errors.is_empty(),
        "{command}: {errors}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What is prepared by the protocol has its name in SQL, as in PostgreSQL, until it is closed.
#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_protocol_have_their_names_in_sql() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute(
            "CREATE TABLE p (a integer PRIMARY KEY, b text NOT NULL); CREATE TABLE q (a integer)",
        )
        .await
        .unwrap();
    let prepared = client
        .prepare("SELECT b FROM p WHERE a = $1")
        .await
        .unwrap();
    // The driver numbers its statements over all connections of its process.
    let name = text(
        &client,
        "SELECT name FROM pg_prepared_statements WHERE NOT from_sql AND statement = 'SELECT b FROM p WHERE a = $1'",
    )
    .await
    .unwrap();
    for sql in [
        format!("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {name}(NULL)"),
        format!("EXECUTE {name}(1)"),
    ] {
        client.simple_query(&sql).await.unwrap();
    }
    drop(prepared);
    // The driver closes it before the next statement.
    client.query("SELECT 1", &[]).await.unwrap();
    assert_eq!(code(&client, &format!("EXECUTE {name}(1)")).await, "26000");
    client
        .execute("DROP TABLE IF EXISTS p, q, nosuch", &[])
        .await
        .unwrap();
}

/// Programs read from an error's fields what it is about.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_constraints_name_their_objects() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE p (a integer PRIMARY KEY, b text NOT NULL, CONSTRAINT long CHECK (length(b) > 1)); INSERT INTO p VALUES (1, 'xx')")
        .await
        .unwrap();
    let places = [
        ("INSERT INTO p VALUES (1, 'yy')", None, Some("p_pkey")),
        ("INSERT INTO p VALUES (2, NULL)", Some("b"), None),
        ("INSERT INTO p VALUES (2, 'x')", None, Some("long")),
    ];
    for (sql, column, constraint) in places {
        let error = client.simple_query(sql).await.unwrap_err();
        let error = db_error(&error);
        assert_eq!(
            (error.schema(), error.table()),
            (Some("public"), Some("p")),
            "{sql}"
        );
        assert_eq!(
            (error.column(), error.constraint()),
            (column, constraint),
            "{sql}"
        );
    }
}

/// Cursors of drivers that ask for binary, such as psycopg's `cursor(name, binary=True)`.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_is_in_the_format_that_is_asked_for() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.query("BEGIN").await;
    let query = "SELECT g::int AS g FROM generate_series(1001, 1003) AS g";
    for scroll in ["", "SCROLL "] {
        client
            .query(&format!("DECLARE c {scroll}CURSOR FOR {query}"))
            .await;
        client.parse("FETCH FORWARD 2 FROM c").await;
        client.bind(&[], &[1]).await;
        client.describe(b'P').await;
        client.execute(0).await;
        let messages = client.sync().await;
        assert_eq!(kinds(&messages), "12TDDCZ");
        assert!(messages[2].body.ends_with(&[0, 1]));
        assert_eq!(messages[3].body, [0, 1, 0, 0, 0, 4, 0, 0, 3, 233]);
        assert_eq!(
            rows(&client.query("FETCH c").await),
            [some(&["1003"])],
            "{scroll}"
        );
        if !scroll.is_empty() {
            let messages = client.query("FETCH BACKWARD 2 FROM c").await;
            assert_eq!(rows(&messages), [some(&["1002"]), some(&["1001"])]);
            client.parse("FETCH FORWARD 1 FROM c").await;
            client.bind(&[], &[1]).await;
            client.execute(0).await;
            let messages = client.sync().await;
            assert_eq!(messages[2].body, [0, 1, 0, 0, 0, 4, 0, 0, 3, 234]);
        }
        client.query("CLOSE c").await;
    }
}

/// Poolers, and psycopg2's `connection.reset()`, give a connection to the next one as it began.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_goes_back_to_the_startup_packet() {
    let server = TestServer::start().await;
    let parameters = [
        ("user", "ana"),
        ("application_name", "pool"),
        ("client_encoding", "LATIN1"),
        ("options", "-c TimeZone=Asia/Shanghai -c work_mem=8MB"),
        ("replication", "off"),
    ];
    let shown = "SELECT current_setting('application_name'), current_setting('client_encoding'), current_setting('TimeZone'),
                        current_setting('work_mem'), (SELECT reset_val FROM pg_settings WHERE name = 'work_mem')";
    let expected = [some(&["pool", "LATIN1", "Asia/Shanghai", "8MB", "8192"])];
    let mut client = RawClient::connect(server.address, &parameters).await;
    assert_eq!(rows(&client.query(shown).await), expected);
    for reset in [
        "DISCARD ALL",
        "RESET ALL",
        "RESET application_name; SET client_encoding TO DEFAULT; RESET TimeZone; RESET work_mem",
    ] {
        let changes = "SET application_name = 'x'; SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET work_mem = '1MB'";
        client.query(changes).await;
        client.query(reset).await;
        assert_eq!(rows(&client.query(shown).await), expected, "{reset}");
    }
}

/// Rails' `.explain`, and consoles that explain what they were about to run.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_parameters_is_explained() {
    let server = TestServer::start().await;
    let client = server.client().await;
    client
        .batch_execute("CREATE TABLE explained (a integer, b text)")
        .await
        .unwrap();
    for sql in [
        "EXPLAIN SELECT b FROM explained WHERE a = $1",
        "EXPLAIN ANALYZE SELECT b FROM explained WHERE a = $1",
        "EXPLAIN UPDATE explained SET b = 'x' WHERE a = $1",
    ] {
        let statement = client.prepare(sql).await.unwrap();
        assert_eq!(statement.params(), [Type::INT4], "{sql}");
        let lines = client.query(&statement, &[&7_i32]).await.unwrap();
        assert!(!lines.is_empty(), "{sql}");
    }
}

/// libpq's `PQdescribePrepared` and `PQexecPrepared` after `PREPARE`.
#[tokio::test(flavor = "multi_thread")]
async fn statements_of_sql_have_their_names_in_the_protocol() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.query("PREPARE p1 (int) AS SELECT $1 + 1 AS n").await;
    client.send(b'D', b"Sp1\0").await;
    let bind = b"\0p1\0\0\0\0\x01\0\0\0\x0241\0\0".to_vec();
    client.send(b'B', &bind).await;
    client.execute(0).await;
    let messages = client.sync().await;
    assert_eq!(kinds(&messages), "tT2DCZ");
    assert_eq!(rows(&messages), [some(&["42"])]);
    client.send(b'C', b"Sp1\0").await;
    assert_eq!(kinds(&client.sync().await), "3Z");
    client.send(b'B', &bind).await;
    let messages = client.sync().await;
    assert_eq!(error(&messages).field('C').as_deref(), Some("26000"));
}

/// Expected: PostgreSQL 15.18.
#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_message_change_all_of_their_rows_or_none() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.query("CREATE TABLE implicit (a integer)").await;
    for (sql, code, expected) in [
        (
            "INSERT INTO implicit VALUES (1); SELECT 1/0",
            Some("22012"),
            None,
        ),
        (
            "INSERT INTO implicit VALUES (1); UPDATE implicit SET a = 2; SELECT nope",
            Some("42703"),
            None,
        ),
        (
            "INSERT INTO implicit VALUES (1); COMMIT; INSERT INTO implicit VALUES (2); SELECT 1/0",
            Some("22012"),
            Some("1"),
        ),
        ("INSERT INTO implicit VALUES (3); ROLLBACK", None, Some("1")),
        (
            "INSERT INTO implicit VALUES (4); BEGIN; INSERT INTO implicit VALUES (5); ROLLBACK",
            None,
            Some("1"),
        ),
        (
            "INSERT INTO implicit VALUES (6); BEGIN; INSERT INTO implicit VALUES (7); COMMIT; SELECT 1/0",
            Some("22012"),
            Some("1 6 7"),
        ),
        (
            "DELETE FROM implicit; INSERT INTO implicit VALUES (8), (9)",
            None,
            Some("8 9"),
        ),
        (
            "PREPARE add AS INSERT INTO implicit VALUES (10); EXECUTE add; SELECT 1/0",
            Some("22012"),
            Some("8 9"),
        ),
        // DIFFERENCE: what defines something takes effect at once, and with it the rows before it.
        (
            "INSERT INTO implicit VALUES (11); CREATE TABLE implicit_too (a integer); SELECT 1/0",
            Some("22012"),
            Some("8 9 11"),
        ),
    ] {
        let messages = client.query(sql).await;
        let failed = messages.iter().find(|message| message.kind == 'E');
        assert_eq!(
            failed.and_then(|message| message.field('C')).as_deref(),
            code,
            "{sql}"
        );
        assert_eq!(messages.last().unwrap().text(), "I", "{sql}");
        let all = "SELECT string_agg(a::text, ' ' ORDER BY a) FROM implicit";
        let found = rows(&client.query(all).await).remove(0).remove(0);
        assert_eq!(found.as_deref(), expected, "{sql}");
    }
}

/// Pipelines, and asyncpg's `executemany`.
#[tokio::test(flavor = "multi_thread")]
async fn statements_before_a_sync_change_all_of_their_rows_or_none() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    client.query("CREATE TABLE piped (a integer)").await;
    let count = "SELECT count(*) FROM piped";
    for (second, expected) in [("SELECT 1/0", "0"), ("SELECT 1", "1")] {
        for sql in ["INSERT INTO piped VALUES (1)", second] {
            client.parse(sql).await;
            client.bind(&[], &[]).await;
            client.execute(0).await;
        }
        let messages = client.sync().await;
        assert_eq!(messages.last().unwrap().text(), "I");
        assert_eq!(rows(&client.query(count).await), [some(&[expected])]);
    }
}

/// What is changed by several statements of a message waits for others, as what one of them changes does.
#[tokio::test(flavor = "multi_thread")]
async fn messages_of_several_statements_wait_for_each_other() {
    let server = TestServer::start().await;
    let (one, other) = (server.client().await, server.client().await);
    one.batch_execute("CREATE TABLE counted (n integer); INSERT INTO counted VALUES (0)")
        .await
        .unwrap();
    let add = async |client: &Client| {
        for _ in 0..20 {
            client
                .batch_execute("UPDATE counted SET n = n + 1; SELECT 1")
                .await
                .unwrap();
        }
    };
    tokio::join!(add(&one), add(&other));
    assert_eq!(
        text(&one, "SELECT n FROM counted").await.as_deref(),
        Some("40")
    );
}

/// Expected: PostgreSQL 15.18, the values that psycopg gets with `binary=True`.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_kept_as_texts_are_sent_in_binary() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let ids = format!("'{{{id},NULL}}'::uuid[]");
    for (value, expected) in [
        ("'192.168.0.1/24'::inet", "02180004c0a80001"),
        ("'10.0.0.0/8'::cidr", "020801040a000000"),
        ("B'10101'::bit(5)", "00000005a8"),
        ("B'101'::varbit", "00000003a0"),
        ("'12.34'::money", "00000000000004d2"),
        ("'08:00:2b:01:02:03'::macaddr", "08002b010203"),
        ("'(1,2.5)'::point", "3ff00000000000004004000000000000"),
        ("'[1,5)'::int4range", "0200000004000000010000000400000005"),
        ("'16/B374D848'::pg_lsn", "00000016b374d848"),
        ("'(1,2)'::tid", "000000010002"),
        ("'12:00'::timetz", "0000000a0eebb00000000000"),
        (
            ids.as_str(),
            "000000010000000100000b86000000020000000100000010a0eebc999c0b4ef8bb6d6bb9bd380a11ffffffff",
        ),
        (
            "'{\"{}\"}'::jsonb[]",
            "000000010000000000000eda000000010000000100000003017b7d",
        ),
        ("'{}'::int[]", "000000000000000000000017"),
        ("'{}'::text[]", "000000000000000000000019"),
        (
            "ARRAY[1.5,2.25]::numeric[]",
            "0000000100000000000006a400000002000000010000000c000200000000000100011388\
             0000000c0002000000000002000209c4",
        ),
        (
            "ARRAY[ARRAY[1,2],ARRAY[3,4]]",
            "000000020000000000000017000000020000000100000002000000010000000400000001\
             000000040000000200000004000000030000000400000004",
        ),
    ] {
        client.parse(&format!("SELECT {value}")).await;
        client.bind(&[], &[1]).await;
        client.execute(0).await;
        let messages = client.sync().await;
        assert_eq!(kinds(&messages), "12DCZ", "{value}");
        let bytes = messages[2].body.iter().skip(6);
        let found: String = bytes.map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected, "{value}");
    }
    client.parse("SELECT 'a b'::tsvector").await;
    client.bind(&[], &[1]).await;
    let messages = client.sync().await;
    assert_eq!(error(&messages).field('C').as_deref(), Some("0A000"));
    let expected = "binary format of type tsvector is not supported";
    assert_eq!(error(&messages).field('M').as_deref(), Some(expected));
}
