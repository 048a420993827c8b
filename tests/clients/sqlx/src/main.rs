//! What sqlx sees of a Postgres server: `sqlx-probe PORT` prints one JSON object (see ../run.py).

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow, PgSslMode};
use sqlx::types::chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use sqlx::types::{BigDecimal, Json, Uuid};
use sqlx::{Column, Connection, Either, Executor, PgConnection, PgPool, Row, SqlSafeStr, SqlStr, Statement, TypeInfo};

const TABLES: &str = "SELECT table_schema::text, table_name::text, table_type::text FROM information_schema.tables
 WHERE table_schema = 'public' ORDER BY 2";
const QUERY: &str = "SELECT owner, count(*) AS deals, sum(amount) AS amount FROM deals GROUP BY owner ORDER BY owner";
const BY_OWNER: &str = "SELECT d.id, d.amount, d.closed_on, o.team FROM deals d LEFT JOIN owners o USING (owner)
 WHERE d.owner = $1 AND d.amount > $2 AND d.id = ANY($3) AND d.closed_on >= $4 AND d.created_at < $5 ORDER BY d.id";
const TYPES: &str = r#"SELECT true AS b, 1::smallint AS i2, 2::int AS i4, 3::bigint AS i8, 1.5::real AS f4, 2.5::float8 AS f8,
 1.25::numeric(10,2) AS n, 'text' AS t, 'vc'::varchar(5) AS v, '\xdead'::bytea AS y, date '2026-01-31' AS d,
 time '10:20:30' AS h, timestamp '2026-01-31 10:20:30.5' AS ts, timestamptz '2026-01-31 10:20:30+00' AS tz,
 interval '1 day 02:00:00' AS iv, 'c9f0f895-fb98-4b3a-8d5c-0b0a2f6f9d11'::uuid AS u, '{"a": [1, null]}'::jsonb AS j,
 ARRAY[1, NULL, 3] AS ai, ARRAY['a b', 'c'] AS at, NULL::int AS z"#;
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 10000000) a CROSS JOIN generate_series(1, 10000000) b";

type Told = Result<Value, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(5432);
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username("postgres")
        .database("funnelsql")
        .ssl_mode(PgSslMode::Disable);
    let mut checks = Map::new();
    match PgPoolOptions::new().max_connections(3).connect_with(options.clone()).await {
        Ok(pool) => {
            let mut note = |name: &str, told: Told| {
                let told = told.unwrap_or_else(|error| json!({"failed": error.to_string()}));
                checks.insert(name.to_owned(), told);
            };
            note("connect", connect(&pool, &options).await);
            note("list", list(&pool).await);
            note("describe", describe(&pool).await);
            note("query", query(&pool).await);
            note("parameters", parameters(&pool).await);
            note("types", types(&pool).await);
            note("stream", stream(&pool).await);
            note("cancel", cancel(&pool).await);
            note("error", error(&pool).await);
        }
        Err(error) => {
            checks.insert("connect".to_owned(), json!({"failed": error.to_string()}));
        }
    }
    println!("{}", json!({"client": "sqlx", "checks": checks}));
}

/// The version as it was sent at the start; a connection that was pinged, and one that the pool took back.
async fn connect(pool: &PgPool, options: &PgConnectOptions) -> Told {
    let mut alone = PgConnection::connect_with(options).await?;
    let version = alone.server_version_num();
    alone.ping().await?;
    alone.close().await?;
    let mut counts = Vec::new();
    for _ in 0..5 {
        counts.push(sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(pool).await?);
    }
    Ok(json!([version, counts]))
}

/// The tables, before and after migrations: sqlx keeps a table of those that it ran, under an advisory lock.
async fn list(pool: &PgPool) -> Told {
    let tables = || sqlx::query_as::<_, (String, String, String)>(TABLES).fetch_all(pool);
    let before = tables().await?;
    let migration = |version, up: bool, sql: &'static str| {
        let kind = if up { MigrationType::ReversibleUp } else { MigrationType::ReversibleDown };
        Migration::new(version, Cow::Borrowed("visits"), kind, sql.into_sql_str(), false)
    };
    let migrator = Migrator {
        migrations: Cow::Owned(vec![
            migration(1, true, "CREATE TABLE visits (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())"),
            migration(1, false, "DROP TABLE visits"),
            migration(2, true, "ALTER TABLE visits ADD COLUMN page text; INSERT INTO visits (page) VALUES ('a'), ('b')"),
            migration(2, false, "ALTER TABLE visits DROP COLUMN page"),
        ]),
        ..Migrator::DEFAULT
    };
    let migrated = async {
        migrator.run(pool).await?;
        // What has run isn't run again.
        migrator.run(pool).await?;
        let pages: Vec<(i64, String)> = sqlx::query_as("SELECT id, page FROM visits ORDER BY id").fetch_all(pool).await?;
        let during = tables().await?;
        migrator.undo(pool, 0).await?;
        Ok::<_, Box<dyn Error>>((pages, during, tables().await?))
    };
    let migrated = migrated.await;
    sqlx::query("DROP TABLE IF EXISTS visits, _sqlx_migrations").execute(pool).await?;
    Ok(json!([before, migrated?]))
}

/// What `query!` asks while a program is compiled: types of columns and parameters, and which columns can be NULL.
async fn describe(pool: &PgPool) -> Told {
    let mut told = Vec::new();
    for sql in ["SELECT * FROM deals", "SELECT id, owner FROM v_deals", QUERY, BY_OWNER, "DELETE FROM deals WHERE id = $1 RETURNING owner"] {
        let described = pool.describe(SqlStr::from_static(sql)).await?;
        let columns: Vec<_> = described.columns().iter().map(|column| [column.name().to_owned(), column.type_info().name().to_owned()]).collect();
        let nullable: Vec<_> = (0..columns.len()).map(|at| described.nullable(at)).collect();
        let parameters = match described.parameters() {
            Some(Either::Left(types)) => types.iter().map(|kind| kind.name().to_owned()).collect(),
            _ => Vec::new(),
        };
        told.push(json!([columns, nullable, parameters]));
    }
    Ok(json!(told))
}

async fn query(pool: &PgPool) -> Told {
    let found = sqlx::query_as::<_, (String, i64, BigDecimal)>(QUERY).fetch_all(pool).await?;
    // Without parameters, and several statements at once: the simple protocol.
    let mut connection = pool.acquire().await?;
    let several = sqlx::raw_sql("SELECT 1 AS a; SELECT 'x' AS b; SELECT owner FROM owners ORDER BY owner");
    let texts: Vec<_> = several.fetch_all(&mut *connection).await?.iter().map(|row| row.columns()[0].name().to_owned()).collect();
    let mut changes = connection.begin().await?;
    let added = sqlx::query("INSERT INTO owners VALUES ('sqlx', 'east')").execute(&mut *changes).await?.rows_affected();
    let mut inner = changes.begin().await?;
    sqlx::query("DELETE FROM owners WHERE owner = 'sqlx'").execute(&mut *inner).await?;
    inner.rollback().await?;
    let during = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM owners").fetch_one(&mut *changes).await?;
    changes.rollback().await?;
    let after = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM owners").fetch_one(pool).await?;
    Ok(json!([shown(&found), texts, added, during, after]))
}

async fn parameters(pool: &PgPool) -> Told {
    let mut told = Vec::new();
    // Twice, so that the second comes from the cache of prepared statements.
    for owner in ["ana", "程"] {
        let rows: Vec<(i64, BigDecimal, NaiveDate, Option<String>)> = sqlx::query_as(BY_OWNER)
            .bind(owner)
            .bind(BigDecimal::from(500))
            .bind((1..100).collect::<Vec<i64>>())
            .bind(NaiveDate::from_ymd_opt(2026, 1, 1))
            .bind(DateTime::<Utc>::from_timestamp(1_767_600_000, 0))
            .fetch_all(pool)
            .await?;
        told.push(shown(&rows));
    }
    let back: (Option<i32>, Json<Value>, Uuid, Vec<String>, Vec<u8>) =
        sqlx::query_as("SELECT $1::int4, $2::jsonb, $3::uuid, $4::text[], $5::bytea")
            .bind(None::<i32>)
            .bind(Json(json!({"k": ["v", null]})))
            .bind(Uuid::from_u128(7))
            .bind(["a,b", "漏斗"])
            .bind([0_u8, 255])
            .fetch_one(pool)
            .await?;
    told.push(shown(&back));
    Ok(json!(told))
}

/// Every type in binary, as sqlx always asks for it with a prepared statement, and the columns' types as it names them.
async fn types(pool: &PgPool) -> Told {
    let row = sqlx::query(TYPES).fetch_one(pool).await?;
    let names: Vec<_> = row.columns().iter().map(|column| format!("{} {}", column.name(), column.type_info())).collect();
    let prepared = pool.prepare(SqlStr::from_static(TYPES)).await?;
    let values = [
        value::<bool>(&row, "b")?,
        value::<i16>(&row, "i2")?,
        value::<i32>(&row, "i4")?,
        value::<i64>(&row, "i8")?,
        value::<f32>(&row, "f4")?,
        value::<f64>(&row, "f8")?,
        value::<BigDecimal>(&row, "n")?,
        value::<String>(&row, "t")?,
        value::<String>(&row, "v")?,
        value::<Vec<u8>>(&row, "y")?,
        value::<NaiveDate>(&row, "d")?,
        value::<NaiveTime>(&row, "h")?,
        value::<NaiveDateTime>(&row, "ts")?,
        value::<DateTime<Utc>>(&row, "tz")?,
        value::<PgInterval>(&row, "iv")?,
        value::<Uuid>(&row, "u")?,
        value::<Value>(&row, "j")?,
        value::<Vec<Option<i32>>>(&row, "ai")?,
        value::<Vec<String>>(&row, "at")?,
        value::<Option<i32>>(&row, "z")?,
    ];
    Ok(json!([names, values, prepared.columns().len()]))
}

fn value<'r, T>(row: &'r PgRow, name: &str) -> Result<String, sqlx::Error>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Debug,
{
    row.try_get::<T, _>(name).map(|value| shown(&value))
}

fn shown(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// Rows one by one, a copy in both directions, and a notification.
async fn stream(pool: &PgPool) -> Told {
    let mut sum = 0_i64;
    let mut rows = sqlx::query_scalar::<_, i32>("SELECT g FROM generate_series(1, 20000) AS g").fetch(pool);
    while let Some(number) = rows.try_next().await? {
        sum += i64::from(number);
    }
    drop(rows);
    let mut connection = pool.acquire().await?;
    sqlx::query("CREATE TEMP TABLE words (word text, n int)").execute(&mut *connection).await?;
    let mut copy = connection.copy_in_raw("COPY words FROM STDIN (FORMAT csv)").await?;
    copy.send(&b"funnel,1\n"[..]).await?;
    copy.send("漏斗,2\n".as_bytes()).await?;
    let copied = copy.finish().await?;
    let mut copy = connection.copy_in_raw("COPY words FROM STDIN").await?;
    copy.send(&b"lost\t3\n"[..]).await?;
    // An ended copy is an error of the server.
    let aborted = copy.abort("enough").await.is_ok();
    let mut text = Vec::new();
    let mut out = connection.copy_out_raw("COPY (SELECT * FROM words ORDER BY n) TO STDOUT").await?;
    while let Some(part) = out.next().await {
        text.extend_from_slice(&part?);
    }
    drop(out);
    drop(connection);
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen("deals").await?;
    sqlx::query("SELECT pg_notify('deals', $1)").bind("won").execute(pool).await?;
    let heard = tokio::time::timeout(Duration::from_secs(10), listener.recv()).await??;
    Ok(json!([sum, copied, aborted, String::from_utf8(text)?, heard.channel(), heard.payload()]))
}

/// sqlx has no requests to cancel: another connection asks for it.
async fn cancel(pool: &PgPool) -> Told {
    let mut busy = pool.acquire().await?;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *busy).await?;
    let began = Instant::now();
    let asked = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        sqlx::query_scalar::<_, bool>("SELECT pg_cancel_backend($1)").bind(pid).fetch_one(pool).await
    };
    let (found, asked) = tokio::join!(sqlx::query(ENDLESS).fetch_all(&mut *busy), asked);
    let seven: i32 = sqlx::query_scalar("SELECT 7").fetch_one(&mut *busy).await?;
    Ok(json!([code(found.err()), asked?, began.elapsed().as_secs() < 5, seven]))
}

async fn error(pool: &PgPool) -> Told {
    let wrong = sqlx::query("SELECT nothing FROM deals").fetch_all(pool).await.err();
    let twice = sqlx::query("INSERT INTO owners VALUES ('ana')").execute(pool).await.err();
    let null = sqlx::query("INSERT INTO owners VALUES (NULL)").execute(pool).await.err();
    Ok(json!([code(wrong), code(twice), code(null)]))
}

/// What the server says of an error, by sqlx's own means.
fn code(error: Option<sqlx::Error>) -> Value {
    let Some(error) = error else {
        return json!("no error");
    };
    let Some(told) = error.as_database_error() else {
        return json!(error.to_string());
    };
    json!([told.code(), told.message(), told.constraint(), told.table(), shown(&told.kind())])
}
