//! Files that are read where they are: on this machine, in S3 (moto's, started for the test) and over HTTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;
use funnelsql::engine::{Engine, EngineOptions, Session, text_rows};
use funnelsql::external::ConfiguredStore;
use tokio::net::TcpListener;

use crate::support::stores::{Http, S3};

const FORMATS: [&str; 4] = ["csv", "json", "parquet", "arrow"];

async fn open(data: &Path) -> (Arc<Engine>, Session) {
    let engine = Engine::open(EngineOptions::new(data)).await.unwrap();
    let session = engine.session("funnelsql");
    (engine, session)
}

async fn run(session: &Session, sql: &str) {
    if let Err(error) = session.run(sql).await {
        panic!("{sql}: {} {error}", error.code());
    }
}

async fn rows(session: &Session, sql: &str) -> Vec<String> {
    let batches = session
        .query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {} {error}", error.code()));
    let rows = batches.iter().flat_map(|batch| text_rows(batch).unwrap());
    rows.map(|row| {
        let values = row
            .into_iter()
            .map(|value| value.unwrap_or_else(|| "NULL".to_owned()));
        values.collect::<Vec<_>>().join("|")
    })
    .collect()
}

/// Code, message and hint.
async fn fault(session: &Session, sql: &str) -> (&'static str, String, String) {
    match session.query(sql).await {
        Err(error) => (
            error.code(),
            error.to_string(),
            error.hint().unwrap_or_default(),
        ),
        Ok(_) => panic!("{sql} succeeded"),
    }
}

/// A file of that format. The column `id` has numbers, the others texts.
fn file(format: &str, columns: &[&str], rows: &[&[&str]]) -> Vec<u8> {
    let value = |row: &&[&str], at: usize| row[at].to_owned();
    match format {
        "csv" => {
            let lines = rows.iter().map(|row| row.join(","));
            let lines: Vec<String> = std::iter::once(columns.join(",")).chain(lines).collect();
            (lines.join("\n") + "\n").into_bytes()
        }
        "json" => {
            let line = |row: &&[&str]| {
                let fields = columns.iter().enumerate().map(|(at, name)| match *name {
                    "id" => format!("\"{name}\":{}", value(row, at)),
                    _ => format!("\"{name}\":\"{}\"", value(row, at)),
                });
                format!("{{{}}}\n", fields.collect::<Vec<_>>().join(","))
            };
            rows.iter().map(line).collect::<String>().into_bytes()
        }
        _ => {
            let column = |(at, name): (usize, &&str)| {
                let values = rows.iter().map(|row| value(row, at));
                let array: ArrayRef = match *name {
                    "id" => Arc::new(Int64Array::from_iter_values(
                        values.map(|value| value.parse().unwrap()),
                    )),
                    _ => Arc::new(StringArray::from_iter_values(values)),
                };
                ((*name).to_owned(), array)
            };
            let batch = RecordBatch::try_from_iter(columns.iter().enumerate().map(column)).unwrap();
            let mut bytes = Vec::new();
            if format == "parquet" {
                let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
                writer.write(&batch).unwrap();
                writer.close().unwrap();
            } else {
                let mut writer = FileWriter::try_new(&mut bytes, &batch.schema()).unwrap();
                writer.write(&batch).unwrap();
                writer.finish().unwrap();
            }
            bytes
        }
    }
}

/// Where files are put: a folder of this machine, or a bucket.
enum Place<'a> {
    Folder(PathBuf),
    Bucket(&'a mut S3),
}

impl Place<'_> {
    fn put(&mut self, path: &str, content: &[u8]) {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            Self::Bucket(store) => store.put("crm", path, content),
        }
    }

    fn location(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Bucket(_) => "s3://crm".to_owned(),
        }
    }

    fn options(&self) -> String {
        match self {
            Self::Folder(_) => String::new(),
            Self::Bucket(store) => format!("OPTIONS ({})", keys(&store.url, "any", "any")),
        }
    }
}

fn keys(url: &str, key: &str, secret: &str) -> String {
    format!(
        "'aws.endpoint' '{url}', 'aws.allow_http' 'true', 'aws.access_key_id' '{key}', 'aws.secret_access_key' '{secret}'"
    )
}

/// Folders are columns, files may have different columns, and whatever is put there is in the next answer.
async fn folders_columns_and_new_files(mut place: Place<'_>) {
    let data = tempfile::tempdir().unwrap();
    let (engine, session) = open(data.path()).await;
    for format in FORMATS {
        let path = |name: &str| format!("{format}/day={name}.{format}");
        place.put(
            &path("2026-01-01/a"),
            &file(format, &["id", "name"], &[&["1", "ana"], &["2", "bo"]]),
        );
        place.put(
            &path("2026-01-02/b"),
            &file(
                format,
                &["channel", "id", "name"],
                &[&["web", "3", "cy"], &["fair", "4", "di"]],
            ),
        );
        // What isn't of the format doesn't belong to it.
        place.put(&format!("{format}/day=2026-01-02/_notes"), b"no rows");
        let create = format!(
            "EXTERNAL TABLE t_{format} STORED AS {format} PARTITIONED BY (day) LOCATION '{}/{format}/' {}",
            place.location(),
            place.options()
        );
        run(&session, &format!("CREATE {create}")).await;
        let all = format!("SELECT id, name, channel, day FROM t_{format} ORDER BY id");
        let old = [
            "1|ana|NULL|2026-01-01",
            "2|bo|NULL|2026-01-01",
            "3|cy|web|2026-01-02",
            "4|di|fair|2026-01-02",
        ];
        assert_eq!(rows(&session, &all).await, old, "{format}");
        let by_day =
            format!("SELECT count(*), min(channel) FROM t_{format} WHERE day = '2026-01-01'");
        assert_eq!(rows(&session, &by_day).await, ["2|NULL"], "{format}");
        let count = format!("SELECT count(*) FROM t_{format}");
        assert_eq!(rows(&session, &count).await, ["4"], "{format}");
        let one = format!("SELECT channel FROM t_{format} WHERE name = 'di'");
        assert_eq!(rows(&session, &one).await, ["fair"], "{format}");

        // Another file, one of the same size in the place of an old one, and one with a column that nobody knows yet.
        place.put(
            &path("2026-01-03/c"),
            &file(format, &["id", "name"], &[&["5", "ed"]]),
        );
        assert_eq!(rows(&session, &count).await, ["5"], "{format}");
        place.put(
            &path("2026-01-01/a"),
            &file(format, &["id", "name"], &[&["8", "eva"], &["9", "bo"]]),
        );
        let ids = format!("SELECT id, name FROM t_{format} WHERE day = '2026-01-01' ORDER BY id");
        assert_eq!(rows(&session, &ids).await, ["8|eva", "9|bo"], "{format}");
        place.put(
            &path("2026-01-04/d"),
            &file(format, &["id", "city", "name"], &[&["6", "oslo", "fy"]]),
        );
        let city =
            format!("SELECT id, name, city FROM t_{format} WHERE id >= 5 AND id < 8 ORDER BY id");
        assert_eq!(fault(&session, &city).await.0, "42703", "{format}");
        let known = format!("SELECT id, name FROM t_{format} WHERE day = '2026-01-04'");
        assert_eq!(rows(&session, &known).await, ["6|fy"], "{format}");
        run(&session, &format!("CREATE OR REPLACE {create}")).await;
        assert_eq!(
            rows(&session, &city).await,
            ["5|ed|NULL", "6|fy|oslo"],
            "{format}"
        );
    }
    drop((engine, session));
    let (_engine, session) = open(data.path()).await;
    for format in FORMATS {
        let sql = format!("SELECT count(*), count(city), count(channel) FROM t_{format}");
        assert_eq!(rows(&session, &sql).await, ["6|1|2"], "{format}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    folders_columns_and_new_files(Place::Folder(folder.path().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_are_read_as_they_are() {
    let Some(mut store) = S3::start() else { return };
    store.order(&["bucket", "crm"]);
    folders_columns_and_new_files(Place::Bucket(&mut store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_were_written_down_are_found_by_name_or_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("a.csv", "Nr,Wer\n1,ana\n");
    put("b.csv", "NAME,x,ID\nbo,?,2\n");
    put("c.csv", "id\n3\n");
    let data = tempfile::tempdir().unwrap();
    let (_engine, session) = open(data.path()).await;
    let place = folder.path().display();
    run(
        &session,
        &format!(
            "CREATE EXTERNAL TABLE t (id bigint, name text) STORED AS CSV LOCATION '{place}/' OPTIONS ('format.has_header' 'true')"
        ),
    )
    .await;
    let sql = "SELECT id, name FROM t ORDER BY id";
    assert_eq!(rows(&session, sql).await, ["1|ana", "2|bo", "3|NULL"]);
    assert_eq!(rows(&session, "SELECT count(*) FROM t").await, ["3"]);

    // Without names, an older file lacks the last columns.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.csv"), "1\n2\n").unwrap();
    std::fs::write(folder.path().join("b.csv"), "3,web\n").unwrap();
    let place = folder.path().display();
    run(
        &session,
        &format!(
            "CREATE EXTERNAL TABLE u STORED AS CSV LOCATION '{place}/' OPTIONS ('format.has_header' 'false')"
        ),
    )
    .await;
    assert_eq!(
        rows(&session, "SELECT * FROM u ORDER BY 1").await,
        ["1|NULL", "2|NULL", "3|web"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_over_http_are_read_in_parts() {
    let server = Http::start().await;
    let data = tempfile::tempdir().unwrap();
    let (engine, session) = open(data.path()).await;
    let base = format!("http://127.0.0.1:{}", server.port);
    for format in FORMATS {
        server.put(
            &format!("/x/a%20b.{format}"),
            &file(format, &["id", "name"], &[&["1", "ana"]]),
        );
        server.put(
            &format!("/x/c.{format}"),
            &file(format, &["channel", "id", "name"], &[&["web", "2", "bo"]]),
        );
        let create = format!(
            "CREATE EXTERNAL TABLE t_{format} STORED AS {format} LOCATION ('{base}/x/a%20b.{format}', '{base}/x/c.{format}')"
        );
        run(&session, &create).await;
        let sql = format!("SELECT id, name, channel FROM t_{format} ORDER BY id");
        assert_eq!(
            rows(&session, &sql).await,
            ["1|ana|NULL", "2|bo|web"],
            "{format}"
        );
        // This server says neither when a file was changed nor what it is: it is read anew.
        server.put(
            &format!("/x/c.{format}"),
            &file(format, &["channel", "id", "name"], &[&["fax", "3", "cy"]]),
        );
        assert_eq!(
            rows(&session, &sql).await,
            ["1|ana|NULL", "3|cy|fax"],
            "{format}"
        );
    }
    drop((engine, session));
    let (_engine, session) = open(data.path()).await;
    assert_eq!(
        rows(&session, "SELECT count(*) FROM t_parquet").await,
        ["2"]
    );

    let create = |location: &str, options: &str| {
        format!("CREATE EXTERNAL TABLE other STORED AS CSV LOCATION '{location}' {options}")
    };
    let (code, message, _) = fault(&session, &create(&format!("{base}/none.csv"), "")).await;
    assert_eq!(code, "58030");
    assert!(message.contains(&format!("{base}/none.csv")), "{message}");
    let (code, _, hint) = fault(&session, &create(&format!("{base}/x/"), "")).await;
    assert_eq!(code, "0A000");
    assert!(hint.contains("LOCATION ("), "{hint}");
    *server.wants.lock().unwrap() = Some("Basic YW5hOmdlaGVpbQ==".to_owned());
    let (code, message, hint) = fault(&session, "SELECT * FROM t_csv").await;
    assert_eq!(code, "42501", "{message}");
    assert!(message.contains(&base), "{message}");
    assert!(hint.contains("http.user"), "{hint}");
    run(
        &session,
        &create(
            &format!("{base}/x/c.csv"),
            "OPTIONS ('http.user' 'ana', 'http.password' 'geheim')",
        ),
    )
    .await;
    assert_eq!(rows(&session, "SELECT id FROM other").await, ["3"]);
    // A table with its own password opens nothing for the others.
    assert_eq!(fault(&session, "SELECT * FROM t_csv").await.0, "42501");
    assert_eq!(written(data.path(), "geheim"), ["table_secrets"]);
    let (code, message, _) = fault(&session, "INSERT INTO other VALUES ('x', 4, 'dy')").await;
    assert!(["0A000", "42000"].contains(&code), "{code} {message}");
}

/// The folders of the catalog with a file that has the text.
fn written(data: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            if String::from_utf8_lossy(&content).contains(text) {
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
                    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
                }
                let parent = path.parent().unwrap().file_name().unwrap();
                found.push(parent.to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn each_table_enters_its_own_store_with_its_own_keys() {
    let (Some(mut one), Some(mut two)) = (S3::start(), S3::start()) else {
        return;
    };
    let mut made = Vec::new();
    for (store, name) in [(&mut one, "ana"), (&mut two, "bo")] {
        for bucket in ["crm", "shop"] {
            store.order(&["bucket", bucket]);
        }
        // Parquet of one size, at the same time and under the same names.
        for bucket in ["crm", "shop"] {
            let content = file("parquet", &["id", "name"], &[&["1", &format!("{name:>3}")]]);
            store.put(bucket, "deals/a.parquet", &content);
        }
        let crm = store.order(&["user", "crm", "crm"]);
        let shop = store.order(&["user", "shop", "shop"]);
        store.order(&["guard"]);
        made.push((store.url.clone(), crm, shop));
    }
    let data = tempfile::tempdir().unwrap();
    let (engine, session) = open(data.path()).await;
    let create = |table: &str, bucket: &str, options: &str| {
        format!(
            "CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION 's3://{bucket}/deals' OPTIONS ({options})"
        )
    };
    for (at, (url, crm, shop)) in made.iter().enumerate() {
        for (bucket, key) in [("crm", crm), ("shop", shop)] {
            let table = format!("{bucket}_{at}");
            run(
                &session,
                &create(&table, bucket, &keys(url, &key[0], &key[1])),
            )
            .await;
        }
    }
    let names =
        "SELECT a.name || b.name || c.name || d.name FROM crm_0 a, shop_0 b, crm_1 c, shop_1 d";
    assert_eq!(rows(&session, names).await, ["anaana bo bo"]);

    // The keys of another bucket, a wrong secret, none, and a bucket that isn't there.
    let (url, crm, shop) = &made[0];
    for options in [keys(url, &shop[0], &shop[1]), keys(url, &crm[0], "geheim")] {
        let (code, message, hint) = fault(&session, &create("no", "crm", &options)).await;
        assert_eq!(code, "42501", "{message}");
        assert!(message.contains("s3://crm/deals"), "{message}");
        assert!(hint.contains("aws.access_key_id"), "{hint}");
        for secret in [&crm[1], &shop[1], &"geheim".to_owned()] {
            assert!(!message.contains(secret) && !hint.contains(secret));
        }
    }
    let misspelt = "'aws.secret' 'geheim'";
    let (code, message, _) = fault(&session, &create("no", "crm", misspelt)).await;
    assert_eq!(code, "HV00D");
    assert!(!message.contains("geheim"), "{message}");

    let unbounded = "CREATE UNBOUNDED EXTERNAL TABLE no (id bigint) STORED AS CSV LOCATION '/tmp/pipe' OPTIONS ('aws.session_token' 'geheim')";
    assert_eq!(fault(&session, unbounded).await.0, "HV00D");

    // Its secrets are kept in a file of its owner's, and nowhere else; the tables are there again.
    for secret in [&crm[1], &shop[1]] {
        assert_eq!(written(data.path(), secret), ["table_secrets"]);
    }
    run(&session, "ALTER TABLE crm_1 RENAME TO crm_2").await;
    drop((engine, session));
    let (engine, session) = open(data.path()).await;
    let names = names.replace("crm_1", "crm_2");
    assert_eq!(rows(&session, &names).await, ["anaana bo bo"]);
    // Nobody but a superuser reads the server's files, not even as a temporary table.
    run(&session, "CREATE ROLE cy LOGIN").await;
    let cy = engine.session("cy");
    run(&cy, "CREATE TEMP TABLE own AS SELECT 1 AS id").await;
    let own = "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'own'";
    let own = rows(&cy, own).await.remove(0);
    for name in ["loot".to_owned(), format!("{own}.loot")] {
        let sql = format!("CREATE EXTERNAL TABLE {name} STORED AS CSV LOCATION '/etc/passwd'");
        assert_eq!(fault(&cy, &sql).await.0, "42501", "{name}");
        assert!(cy.query("SELECT * FROM loot").await.is_err());
    }
    for table in ["crm_0", "shop_0", "crm_2", "shop_1"] {
        run(&session, &format!("DROP TABLE {table}")).await;
    }
    for secret in [&crm[1], &shop[1]] {
        assert_eq!(written(data.path(), secret), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_lacks_is_a_fault_of_the_queries_that_read_it() {
    let Some(mut store) = S3::start() else { return };
    store.order(&["bucket", "crm"]);
    store.put("crm", "deals/a.csv", b"id\n1\n");
    store.put("crm", "deals/b.txt", b"id\n7\n");
    let data = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("s3.key");
    std::fs::write(&key, "secret\n").unwrap();
    let mut options = EngineOptions::new(data.path());
    let configured = [
        ("aws.endpoint", store.url.clone()),
        ("aws.allow_http", "true".to_owned()),
        ("aws.access_key_id", "any".to_owned()),
        ("aws.secret_access_key_file", key.display().to_string()),
    ];
    options.object_stores = vec![ConfiguredStore {
        url: "s3://".to_owned(),
        options: configured
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
    }];
    let engine = Engine::open(options.clone()).await.unwrap();
    let session = engine.session("funnelsql");
    let create = |table: &str, location: &str| {
        format!("CREATE EXTERNAL TABLE {table} STORED AS CSV LOCATION '{location}'")
    };
    run(&session, &create("folder", "s3://crm/deals/")).await;
    run(&session, &create("one", "s3://crm/deals/a.csv")).await;
    run(&session, &create("chosen", "s3://crm/deals/*.txt")).await;
    for (table, id) in [("folder", "1"), ("one", "1"), ("chosen", "7")] {
        assert_eq!(
            rows(&session, &format!("SELECT id FROM {table}")).await,
            [id],
            "{table}"
        );
    }
    let (code, message, _) = fault(&session, &create("no", "s3://nowhere/deals/")).await;
    assert_eq!(
        (code, message.as_str()),
        ("58030", "bucket \"s3://nowhere\" does not exist")
    );
    let (code, message, _) = fault(&session, &create("no", "s3://crm/none/")).await;
    assert_eq!(
        (code, message.as_str()),
        ("58030", "no files found at \"s3://crm/none/\"")
    );
    store.order(&["delete", "crm", "deals/a.csv"]);
    let (code, message, _) = fault(&session, "SELECT * FROM one").await;
    assert_eq!(
        (code, message.as_str()),
        ("58030", "file \"s3://crm/deals/a.csv\" is not there")
    );
    assert_eq!(rows(&session, "SELECT count(*) FROM folder").await, ["0"]);
    // A key in a file is read for each request.
    std::fs::remove_file(&key).unwrap();
    let (code, message, _) = fault(&session, "SELECT * FROM chosen").await;
    assert_eq!(code, "08001", "{message}");
    assert!(message.contains("s3.key"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_holds_up_neither_start_nor_others() {
    let Some(mut store) = S3::start() else { return };
    store.order(&["bucket", "crm"]);
    store.put("crm", "deals/a.csv", b"id\n1\n");
    let data = tempfile::tempdir().unwrap();
    let url = store.url.clone();
    {
        let (_engine, session) = open(data.path()).await;
        let options = keys(&url, "any", "any");
        let create = format!(
            "CREATE EXTERNAL TABLE away STORED AS CSV LOCATION 's3://crm/deals/' OPTIONS ({options});
             CREATE VIEW above AS SELECT id FROM away;
             CREATE TABLE here AS SELECT 1 AS id"
        );
        run(&session, &create).await;
        assert_eq!(rows(&session, "SELECT id FROM above").await, ["1"]);
    }
    let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
    drop(store);
    let begin = Instant::now();
    let (engine, session) = open(data.path()).await;
    assert!(begin.elapsed() < Duration::from_secs(3));
    let (code, message, hint) = fault(&session, "SELECT * FROM above").await;
    assert_eq!(code, "08001", "{message}");
    assert!(
        message.contains("s3://crm") && message.contains(&url),
        "{message}"
    );
    assert!(hint.contains("Only queries"), "{hint}");
    assert_eq!(rows(&session, "SELECT id FROM here").await, ["1"]);
    drop((engine, session));

    // One that is reached and says nothing.
    let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await else {
        eprintln!("skipped: somebody else took the port");
        return;
    };
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let begin = Instant::now();
    let (_engine, session) = open(data.path()).await;
    assert!(begin.elapsed() < Duration::from_secs(3));
    let begin = Instant::now();
    let (code, message, _) = fault(&session, "SELECT * FROM away").await;
    assert_eq!(code, "08001", "{message}");
    assert!(
        begin.elapsed() < Duration::from_secs(40),
        "{:?}",
        begin.elapsed()
    );
    silent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_be_in_the_environment() {
    let Some(mut store) = S3::start() else { return };
    store.order(&["bucket", "crm"]);
    store.put("crm", "a.csv", b"id\n1\n");
    let key = store.order(&["user", "crm", "crm"]);
    store.order(&["guard"]);
    let data = tempfile::tempdir().unwrap();
    let run = |key: &[String], sql: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
            .args(["sql", "--format", "csv", "-c", sql, "--data-dir"])
            .arg(data.path())
            .env("AWS_ACCESS_KEY_ID", &key[0])
            .env("AWS_SECRET_ACCESS_KEY", &key[1])
            .env("AWS_ENDPOINT_URL", &store.url)
            .env("AWS_ALLOW_HTTP", "true")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    };
    let create = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://crm'";
    assert_eq!(run(&key, create), "CREATE EXTERNAL TABLE\n");
    assert_eq!(run(&key, "SELECT id FROM t"), "id\n1\n");
    assert_eq!(written(data.path(), &key[1]), Vec::<String>::new());
    let wrong = [key[0].clone(), "geheim".to_owned()];
    let said = run(&wrong, "SELECT id FROM t");
    assert!(said.contains("42501"), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}
