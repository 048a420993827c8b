//! `funnelsql import` as its users run it: the real binary, files as other programs write them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use funnelsql::engine::text_rows;
use funnelsql::server::{ServerOptions, TlsFiles};
use tempfile::TempDir;

use crate::support::TestServer;
use crate::support::remotes::{PASSWORD, RemoteServer};

/// What a run left behind.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A data directory of its own, and files beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
            .args(arguments)
            .args(["--data-dir", "data"])
            .current_dir(self.folder.path())
            .env_remove("FUNNELSQL_LOG")
            .output()
            .unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn import(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["import"], arguments].concat())
    }

    /// The rows of a query, as CSV without the header.
    fn rows(&self, sql: &str) -> Vec<String> {
        let ended = self.run(&["sql", "--format", "csv", "-c", sql]);
        assert_eq!(ended.code, 0, "{sql}: {}", ended.stderr);
        ended.stdout.lines().skip(1).map(str::to_owned).collect()
    }
}

/// The export that docs/import.md brings in.
const DEALS: &str = "Deal ID,客户,Amount,Closed On,Owner\n\
                     D-1,云帆科技,\"1,234.50\",2026/3/1,Ana\n\
                     D-2,Aurora,88,2026/3/15,\n\
                     D-3,海川贸易,,,Bo\n";

#[test]
fn an_export_becomes_a_table_and_is_brought_in_again_by_its_key() {
    let place = Place::new();
    place.write("deals.csv", DEALS);
    let dry = place.import(&["deals.csv", "--into", "crm.deals", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    let report = "1 file, 3 rows into new table crm.deals\n";
    assert!(dry.stdout.starts_with(report), "{}", dry.stdout);
    assert!(
        dry.stdout
            .contains("  amount     numeric(18,2)  2       1,234.50"),
        "{}",
        dry.stdout
    );
    let ended = place.import(&["deals.csv", "--into", "crm.deals", "--upsert", "deal_id"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(
        ended.stdout.ends_with("3 rows imported into crm.deals\n"),
        "{}",
        ended.stdout
    );
    let all = "SELECT * FROM crm.deals ORDER BY deal_id";
    assert_eq!(
        place.rows(all),
        [
            "D-1,云帆科技,1234.50,2026-03-01,Ana",
            "D-2,Aurora,88.00,2026-03-15,",
            "D-3,海川贸易,,,Bo"
        ]
    );
    // The next export has a deal that changed and one that is new, and its columns in another order.
    place.write("again.csv", "Owner,Deal ID,Amount\nCai,D-3,7\nAna,D-4,1\n");
    let ended = place.import(&["again.csv", "--into", "crm.deals", "--upsert", "deal_id"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("into table"), "{}", ended.stdout);
    assert_eq!(
        place.rows(all)[2..],
        [
            "D-3,海川贸易,7.00,,Cai".to_owned(),
            "D-4,,1.00,,Ana".to_owned()
        ]
    );
}

#[test]
fn a_row_that_cannot_be_read_stops_it_or_is_put_aside() {
    let place = Place::new();
    place.write("a.csv", "id,amount\n1,5\n2,6,7\n3,8\n");
    let ended = place.import(&["a.csv", "--into", "a"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stderr
            .contains("22P04: 1 row can't be read, the first in line 3"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("HINT:  Nothing was imported."),
        "{}",
        ended.stderr
    );
    // Not even the table was made.
    assert_eq!(
        place.rows("SELECT count(*) FROM pg_class WHERE relname = 'a'"),
        ["0"]
    );
    let ended = place.import(&["a.csv", "--into", "a", "--rejects", "no.csv"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("1 reject in no.csv"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        place.rows("SELECT id, amount FROM a ORDER BY id"),
        ["1,5", "3,8"]
    );
    let rejects = fs::read_to_string(place.path("no.csv")).unwrap();
    assert_eq!(
        rejects,
        "file,line,reason,row\na.csv,3,3 fields where the header has 2,\"2,6,7\"\n"
    );
}

#[test]
fn rows_take_the_types_of_the_table_that_is_there() {
    let place = Place::new();
    let made = place.run(&["sql", "-c", "CREATE TABLE t (id uuid PRIMARY KEY, at timestamptz, n double precision, v varchar(3), d date DEFAULT '2026-01-01')"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let id = "6f1c2a5e-0b5d-4a35-9a4e-0a4f0d5f4a11";
    place.write("a.csv", format!("id,at,n,v\n{id},2026-03-01 10:00,5,abc\n"));
    let ended = place.import(&["a.csv", "--into", "t"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        place.rows("SELECT * FROM t"),
        [format!("{id},2026-03-01 10:00:00+00,5,abc,2026-01-01")]
    );
    // The same key again, a column that isn't there, a value that is too long: nothing changes.
    let again = place.import(&["a.csv", "--into", "t"]);
    assert!(again.stderr.contains("23505"), "{}", again.stderr);
    place.write("b.csv", "id,extra\n1,2\n");
    let unknown = place.import(&["b.csv", "--into", "t"]);
    assert!(
        unknown
            .stderr
            .contains("42703: table \"t\" has no column \"extra\""),
        "{}",
        unknown.stderr
    );
    place.write("c.csv", "id,v\n6f1c2a5e-0b5d-4a35-9a4e-0a4f0d5f4a12,abcd\n");
    let long = place.import(&["c.csv", "--into", "t"]);
    assert_eq!(long.code, 1, "{}", long.stdout);
    assert_eq!(place.rows("SELECT count(*) FROM t"), ["1"]);
}

#[test]
fn files_of_every_kind_come_in() {
    let place = Place::new();
    place.write(
        "a.jsonl",
        "{\"id\": 1, \"name\": \"云\"}\n{\"id\": 2, \"name\": null}\n",
    );
    place.write("b.tsv", "id\tname\n3\tx\n");
    place.write(
        "c.csv",
        &*encoding_rs::GB18030
            .encode("id;name\n4;北京云帆科技有限公司\n")
            .0,
    );
    for (file, count) in [("a.jsonl", "2"), ("b.tsv", "3"), ("c.csv", "4")] {
        let ended = place.import(&[file, "--into", "销售.客户"]);
        assert_eq!(ended.code, 0, "{file}: {}", ended.stderr);
        assert_eq!(place.rows("SELECT count(*) FROM 销售.客户"), [count]);
    }
    assert_eq!(
        place.rows("SELECT name FROM 销售.客户 WHERE id = 4"),
        ["北京云帆科技有限公司"]
    );
    place.write("none.csv", "");
    fs::create_dir(place.path("empty")).unwrap();
    for (file, code) in [
        ("none.csv", "22P04"),
        ("missing.csv", "58P01"),
        ("empty", "58P01"),
    ] {
        let ended = place.import(&[file, "--into", "x"]);
        assert_eq!(ended.code, 1, "{file}");
        assert!(ended.stderr.contains(code), "{file}: {}", ended.stderr);
    }
    let usage = place.import(&["a.jsonl", "--into", "x", "--upsert", "nope"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
}

/// Nobody else may read it.
fn close(file: &std::path::Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    #[cfg(not(unix))]
    let _ = file;
}

/// An import into a server, as its users run it.
fn import_over(place: &Place, server: &str, password: &str, arguments: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
        .arg("import")
        .args(arguments)
        .args(["--server", server])
        .current_dir(place.folder.path())
        .env_remove("FUNNELSQL_LOG")
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `rows` asks the server.
fn an_import_over_the_wire(server: &str, password: &str, rows: &dyn Fn(&str) -> Vec<String>) {
    let place = Place::new();
    let import = |arguments: &[&str]| import_over(&place, server, password, arguments);
    place.write("deals.csv", DEALS);
    let dry = import(&["deals.csv", "--into", "crm2.deals", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    let report = "1 file, 3 rows into new table crm2.deals\n";
    assert!(dry.stdout.starts_with(report), "{}", dry.stdout);
    let ended = import(&["deals.csv", "--into", "crm2.deals", "--upsert", "deal_id"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert!(
        ended.stdout.ends_with("3 rows imported into crm2.deals\n"),
        "{}",
        ended.stdout
    );
    place.write("again.csv", "Owner,Deal ID,Amount\nCai,D-3,7\nAna,D-4,1\n");
    let ended = import(&["again.csv", "--into", "crm2.deals", "--upsert", "deal_id"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("into table"), "{}", ended.stdout);
    let all = "SELECT deal_id, 客户, amount, closed_on, owner FROM crm2.deals ORDER BY deal_id";
    assert_eq!(
        rows(all),
        [
            "D-1|云帆科技|1234.50|2026-03-01|Ana",
            "D-2|Aurora|88.00|2026-03-15|",
            "D-3|海川贸易|7.00||Cai",
            "D-4||1.00||Ana"
        ]
    );

    // Texts that mean something to COPY, and every type.
    place.write(
        "kinds.csv",
        "t,n,d,ok,at,day\n\\.,1,0.5,true,2026-03-01T10:00:00+08:00,2026-03-01\n\"a,\"\"b\"\"\nc\",-2,1e10,false,2026-03-02T00:00:00Z,2026-03-02\n",
    );
    let ended = import(&["kinds.csv", "--into", "kinds2"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let sql = "SELECT replace(t, chr(10), '~'), n, d, ok, at AT TIME ZONE 'UTC', day FROM kinds2 ORDER BY n DESC";
    assert_eq!(
        rows(sql),
        [
            "\\.|1|0.5|t|2026-03-01 02:00:00|2026-03-01",
            "a,\"b\"~c|-2|10000000000|f|2026-03-02 00:00:00|2026-03-02"
        ]
    );

    // A row that can't be read: nothing comes, and a table that was made for it is gone again; or it is put aside.
    place.write("bad.csv", "id,amount\n1,5\n2,6,7\n3,8\n");
    let ended = import(&["bad.csv", "--into", "bad2"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("line 3"), "{}", ended.stderr);
    assert_eq!(rows("SELECT to_regclass('bad2') IS NULL"), ["t"]);
    let ended = import(&["bad.csv", "--into", "bad2", "--rejects", "rejects.csv"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("1 reject in rejects.csv"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        rows("SELECT id, amount FROM bad2 ORDER BY id"),
        ["1|5", "3|8"]
    );
    // The same key twice, and a column that the table lacks.
    place.write("twice.csv", "Deal ID,Amount\nD-9,1\nD-9,2\n");
    let ended = import(&["twice.csv", "--into", "crm2.deals", "--upsert", "deal_id"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("21000") || ended.stderr.contains("second time"),
        "{}",
        ended.stderr
    );
    assert_eq!(rows("SELECT count(*) FROM crm2.deals"), ["4"]);
    place.write("more.csv", "Deal ID,City\nD-9,Oslo\n");
    let ended = import(&["more.csv", "--into", "crm2.deals"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("ADD COLUMN city"), "{}", ended.stderr);
    // Nobody is there, and an address that is none.
    let ended = import_over(
        &place,
        "postgres://ana@127.0.0.1:1/x",
        "geheim",
        &["deals.csv", "--into", "x"],
    );
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("127.0.0.1:1/x"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("geheim"), "{}", ended.stderr);
    let ended = import_over(&place, "nowhere", "", &["deals.csv", "--into", "x"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_an_import_over_the_wire() {
    let server = TestServer::start().await;
    let url = format!(
        "postgres://ana@127.0.0.1:{}/funnelsql?sslmode=disable",
        server.address.port()
    );
    let session = server.engine.session("funnelsql");
    let data = server.data_dir().to_owned();
    tokio::task::spawn_blocking(move || {
        let rows = |sql: &str| {
            let batches = futures::executor::block_on(session.query(sql));
            let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}"));
            let rows = batches.iter().flat_map(|batch| text_rows(batch).unwrap());
            let line = |row: Vec<Option<String>>| {
                let values = row.into_iter().map(Option::unwrap_or_default);
                values.collect::<Vec<_>>().join("|")
            };
            rows.map(line).collect()
        };
        an_import_over_the_wire(&url, "", &rows);
        // Its directory is its own, and who meets that is told the way.
        let place = Place::new();
        place.write("deals.csv", DEALS);
        let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
            .args(["import", "deals.csv", "--into", "x", "--data-dir"])
            .arg(data)
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("--server postgres://"), "{stderr}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_knows_whom_it_talks_to() {
    let place = Place::new();
    place.write("deals.csv", DEALS);
    let certificates = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/certificates"
    ));
    for name in ["server.crt", "server.key", "ca.crt", "other.crt"] {
        fs::copy(certificates.join(name), place.path(name)).unwrap();
        close(&place.path(name));
    }
    let options = ServerOptions {
        tls: Some(TlsFiles {
            certificate: place.path("server.crt"),
            key: place.path("server.key"),
            client_ca: None,
        }),
        ..ServerOptions::new("127.0.0.1:0")
    };
    let role = "CREATE ROLE ana SUPERUSER LOGIN PASSWORD 'geheim'";
    let server = TestServer::start_as(options, role).await;
    let port = server.address.port();
    tokio::task::spawn_blocking(move || {
        let import = |authority: &str, password: &str| {
            let url = format!(
                "postgres://ana@localhost:{port}/funnelsql?sslmode=verify-full&sslrootcert={authority}"
            );
            import_over(&place, &url, password, &["deals.csv", "--into", "d2"])
        };
        let ended = import("ca.crt", "wrong");
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("28P01"), "{}", ended.stderr);
        let ended = import("other.crt", "geheim");
        assert_eq!(ended.code, 1);
        assert!(ended.stderr.contains("certificate"), "{}", ended.stderr);
        let ended = import("ca.crt", "geheim");
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        fs::write(place.path("pgpass"), format!("localhost:{port}:*:ana:geheim\n")).unwrap();
        close(&place.path("pgpass"));
        let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
            .args(["import", "deals.csv", "--into", "d2", "--server"])
            .arg(format!("host=localhost port={port} user=ana dbname=funnelsql"))
            .env("PGPASSFILE", place.path("pgpass"))
            .env("PGSSLMODE", "require")
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.ends_with("3 rows imported into d2\n"), "{output:?}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_takes_an_import_over_the_wire() {
    let Some(server) = RemoteServer::postgres() else {
        return;
    };
    let url = format!("postgres://crm@127.0.0.1:{}/crm", server.port);
    tokio::task::spawn_blocking(move || {
        let rows = |sql: &str| {
            let text = server.run(sql);
            text.lines().map(str::to_owned).collect()
        };
        an_import_over_the_wire(&url, PASSWORD, &rows);
    })
    .await
    .unwrap();
}
