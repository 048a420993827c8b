//! The `funnelsql` command as its users run it: the real binary, its streams and its exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// What a run left behind.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

/// A data directory of its own, and room for scripts.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let place = Self { folder };
        fs::create_dir_all(place.path("data/tables/crm")).unwrap();
        let leads = "lead_id,channel,amount\n1,referral,1.5\n2,线上研讨会,\n3,referral,20.5\n";
        place.write("data/tables/crm/leads.csv", leads);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// `funnelsql sql` over the directory, run from its parent.
    fn sql(&self, arguments: &[&str]) -> Ended {
        self.sql_with_stdin(arguments, "")
    }

    fn sql_with_stdin(&self, arguments: &[&str], stdin: &str) -> Ended {
        let arguments = [&["sql", "--data-dir", "data"], arguments].concat();
        self.run(&arguments, stdin)
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Ended {
        let mut child = self.start(arguments);
        // A run that ends before it reads its input is one of the cases.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_funnelsql"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("FUNNELSQL_LOG")
            .env_remove("FUNNELSQL_ADMIN_PASSWORD")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    // Where it panics the test has failed, and the harness ends what the test started.
    #[allow(clippy::zombie_processes)]
    fn serve(&self, arguments: &[&str]) -> Served {
        let mut child = self.start(arguments);
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        loop {
            let mut line = String::new();
            assert!(
                stderr.read_line(&mut line).unwrap() > 0,
                "it ended before it was ready: {said}"
            );
            if let Some(address) = line.strip_prefix("ready: listening on ") {
                let address = address.trim_end().to_owned();
                return Served {
                    child,
                    stderr,
                    address,
                    said,
                };
            }
            said.push_str(&line);
        }
    }
}

/// A server that has said that it is ready; killed with the test that started it.
struct Served {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    address: String,
    /// What it said before.
    said: String,
}

impl Served {
    fn port(&self) -> &str {
        self.address.rsplit_once(':').unwrap().1
    }

    /// Sends SIGTERM and waits for the end.
    fn terminate(mut self) -> Ended {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let code = self
            .child
            .wait()
            .unwrap()
            .code()
            .expect("it ends by itself, not by the signal");
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        self.stderr.read_to_string(&mut stderr).unwrap();
        Ended {
            code,
            stdout,
            stderr,
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (code, stdout, stderr)
    );
}

#[test]
fn commands_and_files_run_in_their_order_in_one_session() {
    let place = Place::new();
    place.write(
        "a.sql",
        "\\set zone 'Asia/Shanghai'\nSET timezone = :'zone';",
    );
    let arguments = [
        "-c",
        "SHOW timezone",
        "-f",
        "a.sql",
        "-c",
        "SHOW timezone; select :'zone' as z",
        "--format=csv",
    ];
    check(
        &place.sql(&arguments),
        0,
        "TimeZone\nUTC\nTimeZone\nAsia/Shanghai\nz\nAsia/Shanghai\n",
        "SET\n",
    );
}

#[test]
fn a_table_is_aligned_and_commands_say_what_they_did() {
    let ended = Place::new().sql(&[
        "-c",
        "SET extra_float_digits = 1; SELECT *, amount > 2 AS \"大\" FROM crm.leads ORDER BY lead_id",
    ]);
    let expected = [
        "SET",
        " lead_id |  channel   | amount | 大 ",
        "---------+------------+--------+----",
        "       1 | referral   |    1.5 | f",
        "       2 | 线上研讨会 |        | ",
        "       3 | referral   |   20.5 | t",
        "(3 rows)",
        "",
        "",
    ];
    check(&ended, 0, &expected.join("\n"), "");
}

#[test]
fn csv_and_json_have_nothing_but_data_on_stdout() {
    let place = Place::new();
    let sql =
        "SELECT lead_id, channel || ',' AS c, amount FROM crm.leads WHERE lead_id < 3 ORDER BY 1;
               SELECT timestamptz '2026-07-01 00:00:00Z' AS at WHERE false; SET timezone = 'UTC'";
    let csv = "lead_id,c,amount\n1,\"referral,\",1.5\n2,\"线上研讨会,\",\nat\n";
    check(&place.sql(&["-c", sql, "--format", "csv"]), 0, csv, "SET\n");
    let json = "[{\"lead_id\":1,\"c\":\"referral,\",\"amount\":1.5},\n\
                {\"lead_id\":2,\"c\":\"线上研讨会,\",\"amount\":null}]\n[]\n";
    check(
        &place.sql(&["-c", sql, "--format", "json"]),
        0,
        json,
        "SET\n",
    );
}

#[test]
fn stdin_is_read_where_no_other_source_is_given_and_for_a_dash() {
    let place = Place::new();
    let script = "\u{feff}select 1 as a;\nselect 2 as b";
    let expected = "a\n1\nb\n2\n";
    check(
        &place.sql_with_stdin(&["--format=csv"], script),
        0,
        expected,
        "",
    );
    let ended = place.sql_with_stdin(&["--format=csv", "-f", "-", "-c", "select 3 as c"], script);
    check(&ended, 0, &format!("{expected}c\n3\n"), "");
}

#[test]
fn a_configuration_of_the_servers_says_where_the_data_are_and_how_they_are_read() {
    let place = Place::new();
    place.write(
        "server.toml",
        "data_dir = \"data\"\n[settings]\nTimeZone = \"Asia/Shanghai\"\n",
    );
    let config = ["--config", "server.toml"];
    let sql = "SELECT count(*), timestamptz '2026-01-01 00:00+00' FROM crm.leads";
    let run = [&["sql"], &config[..], &["--format", "csv", "-c", sql]].concat();
    let expected = "count,timestamptz\n3,2026-01-01 08:00:00+08\n";
    check(&place.run(&run, ""), 0, expected, "");
    place.write("deals.csv", "id,amount\n1,￥12\n2,3 元\n");
    let import = [&["import", "deals.csv", "--into", "crm.deals"], &config[..]].concat();
    let imported = place.run(&import, "");
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    let summed = place.sql(&["--format", "csv", "-c", "SELECT sum(amount) FROM crm.deals"]);
    check(&summed, 0, "sum\n15\n", "");
    let missing = place.run(&["sql", "--config", "none.toml", "-c", "SELECT 1"], "");
    assert_eq!(missing.code, 2, "{}", missing.stderr);
}

#[test]
fn a_script_has_variables_with_defaults() {
    let place = Place::new();
    place.write(
        "report.sql",
        "-- Leads of a channel (:channel).\n\
         \\pset null '-'\n\
         \\timing off\n\
         \\if :{?channel}\n\
         \\else\n  \\set channel referral\n\
         \\endif\n\
         \\echo leads of :channel\n\
         select count(*) as \":channel\", ':channel' as literal, '7'::int as :\"column\"\n\
         from crm.leads where channel = :'channel';\n\
         \\q\nnot read any more",
    );
    let run = |variable: &str| {
        place.sql(&[
            "-v",
            "column=a\"b",
            "-v",
            variable,
            "-f",
            "report.sql",
            "--format",
            "csv",
        ])
    };
    let expected = "leads of referral\n:channel,literal,\"a\"\"b\"\n2,:channel,7\n";
    check(&run("other="), 0, expected, "");
    let expected = "leads of 线上研讨会\n:channel,literal,\"a\"\"b\"\n1,:channel,7\n";
    check(&run("channel=线上研讨会"), 0, expected, "");
    check(
        &run("channel=x' or 'a' = 'a"),
        0,
        &expected
            .replace("线上研讨会", "x' or 'a' = 'a")
            .replace("\n1", "\n0"),
        "",
    );
}

#[test]
fn a_script_that_fails_stops_there_with_3_and_says_where() {
    let place = Place::new();
    place.write(
        "bad.sql",
        "select 1 as a;\n\nselect lead_id,\n  chanel\nfrom crm.leads;\nselect 2;",
    );
    let stderr = "funnelsql:bad.sql:4: ERROR:  42703: column \"chanel\" does not exist\n\
                  LINE 2:   chanel\n          ^\n\
                  HINT:  Perhaps you meant column \"channel\".\n";
    check(
        &place.sql(&["-f", "bad.sql", "-c", "select 3", "--format=csv"]),
        3,
        "a\n1\n",
        stderr,
    );
    let ended = place.sql_with_stdin(&["--format=csv"], "select 1 as a;\nselect 1/0 as b;");
    check(
        &ended,
        3,
        "a\n1\n",
        "funnelsql:<stdin>:2: ERROR:  22012: division by zero\n",
    );
}

#[test]
fn a_command_that_fails_ends_the_run_with_1() {
    let ended = Place::new().sql(&[
        "-c",
        "select 1 as a; select nope",
        "-c",
        "select 2",
        "--format=csv",
    ]);
    let stderr =
        "ERROR:  42703: column \"nope\" does not exist\nLINE 1: select nope\n               ^\n";
    check(&ended, 1, "a\n1\n", stderr);
    let ended = Place::new().sql(&["-f", "absent.sql"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended
            .stderr
            .starts_with("ERROR:  58030: can't read \"absent.sql\": "),
        "{ended:?}"
    );
}

#[test]
fn commands_of_psql_that_need_psql_are_named() {
    let place = Place::new();
    let stderr = "funnelsql:<stdin>:2: ERROR:  0A000: command \\d is psql's and not supported here\n\
                  HINT:  Start funnelsql serve and run the script with psql.\n";
    check(
        &place.sql_with_stdin(&[], "\\unset a\n\\d crm.leads\n"),
        3,
        "",
        stderr,
    );
    let stderr = "funnelsql:<stdin>:1: ERROR:  42601: \\if has no \\endif before the end\n";
    check(&place.sql_with_stdin(&[], "\\if true"), 3, "", stderr);
}

#[test]
fn notices_go_to_stderr() {
    let ended = Place::new().sql(&["-c", "DROP FUNNEL IF EXISTS sales"]);
    check(
        &ended,
        0,
        "DROP FUNNEL\n",
        "NOTICE:  funnel \"sales\" does not exist, skipping\n",
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new();
    for arguments in [&["--format", "xml"][..], &["-v", "a b=1"], &["select 1"]] {
        let ended = place.sql(arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (2, ""),
            "{arguments:?}"
        );
        assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    }
}

#[test]
fn help_has_an_example_and_no_colour() {
    let place = Place::new();
    for command in ["serve", "sql", "demo"] {
        let ended = place.run(&[command, "--help"], "");
        assert_eq!(ended.code, 0);
        assert!(
            ended
                .stdout
                .contains(&format!("\nExample:\n  funnelsql {command} ")),
            "{ended:?}"
        );
        assert!(!ended.stdout.contains('\u{1b}'));
    }
    let version = format!("funnelsql {}\n", env!("CARGO_PKG_VERSION"));
    check(&place.run(&["--version"], ""), 0, &version, "");
}

#[test]
fn a_server_says_when_it_is_ready_and_ends_well_on_sigterm() {
    let place = Place::new();
    let served = place.serve(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    assert!(
        served.address.starts_with("127.0.0.1:"),
        "{}",
        served.address
    );
    let ended = served.terminate();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
}

#[test]
fn the_command_line_goes_before_the_configuration() {
    let place = Place::new();
    fs::create_dir(place.path("etc")).unwrap();
    let config = "listen = \"192.0.2.1:1\"\ndata_dir = \"../data\"\nmemory_limit = \"64MB\"\nshutdown_grace = \"1s\"";
    place.write("etc/f.toml", config);
    let served = place.serve(&["serve", "--config", "etc/f.toml", "--listen", "127.0.0.1:0"]);
    assert_eq!(served.terminate().code, 0);
    assert!(!place.path("funnelsql-data").exists());
}

#[test]
fn faults_in_the_configuration_say_what_to_write() {
    let place = Place::new();
    for (text, stderr) in [
        (
            "lissten = \"127.0.0.1:0\"",
            "ERROR:  F0000: key \"lissten\" in \"f.toml\" does not exist\n\
             HINT:  Perhaps you meant \"listen\".\n",
        ),
        (
            "memory_limit = \"much\"",
            "ERROR:  F0000: memory_limit in \"f.toml\" can't be \"much\"\n\
             HINT:  Write \"8GB\", or a number of bytes.\n",
        ),
    ] {
        place.write("f.toml", text);
        check(
            &place.run(&["serve", "--config", "f.toml"], ""),
            2,
            "",
            stderr,
        );
    }
    let ended = place.run(&["serve", "--config", "absent.toml"], "");
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .stderr
            .contains("can't read configuration file \"absent.toml\""),
        "{ended:?}"
    );
}

#[test]
fn a_taken_address_is_reported_before_data_are_made() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for command in ["demo", "serve"] {
        let ended = place.run(&[command, "--listen", &address, "--data-dir", command], "");
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
        let message = format!("ERROR:  F0000: address {address} is already in use\nHINT:  ");
        assert!(ended.stderr.starts_with(&message), "{ended:?}");
        assert!(ended.stderr.contains("--listen"), "{ended:?}");
    }
    assert!(!place.path("demo").exists());
}

/// Reads the queries that the demo prints: the lines from `SELECT` to a semicolon.
fn printed_queries(text: &str) -> Vec<String> {
    let mut queries = Vec::new();
    for line in text.lines() {
        if line.starts_with("  SELECT") {
            queries.push(String::new());
        }
        if let Some(query) = queries.last_mut().filter(|query| !query.ends_with(";\n")) {
            query.push_str(line);
            query.push('\n');
        }
    }
    queries
}

#[test]
fn the_demo_makes_data_and_prints_what_to_paste() {
    for (language, folder, funnels, won) in [
        (
            "en",
            "funnelsql-demo-en",
            ["sales", "sales_history", "sales_wide"],
            "won",
        ),
        (
            "zh",
            "funnelsql-demo-zh",
            ["销售", "销售_历程", "销售_宽表"],
            "成交转化",
        ),
    ] {
        let place = Place::new();
        let arguments = [
            "demo",
            "--lang",
            language,
            "--leads",
            "300",
            "--listen",
            "127.0.0.1:0",
        ];
        let served = place.serve(&arguments);
        let connect = format!(
            "\n  psql -h 127.0.0.1 -p {} -U analyst funnelsql\n",
            served.port()
        );
        let ended = served.terminate();
        assert_eq!(ended.code, 0);
        assert!(ended.stdout.contains(&connect), "{ended:?}");
        let queries = printed_queries(&ended.stdout);
        assert_eq!(queries.len(), 2);
        let run = |sql: &str| {
            let ended = place.run(
                &["sql", "--data-dir", folder, "--format", "csv", "-c", sql],
                "",
            );
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
            ended.stdout
        };
        let stages = run(&queries[0]);
        assert!(
            stages.starts_with("stage,entered,passed,lost,open,rate,bar\n"),
            "{stages}"
        );
        assert!(stages.contains(&format!("\n{won},")), "{stages}");
        assert_eq!(stages.lines().count(), 1 + 6);
        assert_eq!(run(&queries[1]).lines().count(), 1 + 6);
        assert_eq!(
            run("SELECT funnel FROM funnel.funnels ORDER BY 1"),
            format!("funnel\n{}\n", funnels.join("\n"))
        );
        // All three funnels are about the same journeys.
        for funnel in funnels {
            let sql =
                format!("SELECT count(*) AS n FROM journeys('{funnel}', as_of => '2026-07-01')");
            assert_eq!(run(&sql), "n\n300\n", "{funnel}");
        }
    }
}

#[test]
fn the_demo_keeps_data_that_are_there() {
    let place = Place::new();
    let start = |leads: &str| {
        place
            .serve(&[
                "demo",
                "--leads",
                leads,
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                "d",
            ])
            .terminate()
    };
    assert_eq!((start("20").code, start("30").code), (0, 0));
    let ended = place.run(
        &[
            "sql",
            "--data-dir",
            "d",
            "--format=csv",
            "-c",
            "select count(*) as n from crm.leads",
        ],
        "",
    );
    check(&ended, 0, "n\n20\n", "");
    assert!(!place.path("d/crm.partial").exists());
}

/// The same script through psql, connected to a server over the same directory, prints the same.
#[test]
fn a_script_prints_what_psql_prints() {
    if Command::new("psql").arg("--version").output().is_err() {
        eprintln!("skipped: psql is not on PATH");
        return;
    }
    let place = Place::new();
    place.write("same.sql", SAME_SCRIPT);
    let served = place.serve(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    let variables = ["-v", "given=it's", "-f", "same.sql"];
    let psql = psql(&place, &served, &variables);
    assert_eq!(served.terminate().code, 0);
    // What the script creates is gone at its end.
    let ours = place.sql(&variables);
    assert_eq!((ours.code, ours.stderr.as_str()), (0, ""));
    assert_eq!(ours.stdout, psql);
    assert!(ours.stdout.contains("(0 rows)"), "{}", ours.stdout);
}

fn psql(place: &Place, served: &Served, arguments: &[&str]) -> String {
    let output = Command::new("psql")
        .args([
            "-X",
            "-h",
            "127.0.0.1",
            "-p",
            served.port(),
            "-U",
            "analyst",
            "-v",
            "ON_ERROR_STOP=1",
        ])
        .args(arguments)
        .arg("funnelsql")
        .current_dir(absolute(place.folder.path()))
        .env("PGCLIENTENCODING", "UTF8")
        // Widths are counted in the client's character set.
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap()
}

const SAME_SCRIPT: &str = r#"
-- Widths, alignment, NULL, line breaks, control characters.
SELECT * FROM crm.leads ORDER BY lead_id;
SELECT lead_id, channel, amount IS NULL AS "没有金额", NULL AS "nothing" FROM crm.leads ORDER BY 1;
SELECT E'a\nbb' AS two_lines, 1 AS n, E'中\n\nc' AS "线索", E'tab\there\r' AS c, 12 AS last;
SELECT 1::smallint AS s, 2::bigint AS b, 3.25::real AS r, 4.5::double precision AS d, 5.25::decimal(10,2) AS m,
       true AS t, DATE '2026-02-28' AS day, INTERVAL '1 month 2 days 3 hours' AS i;
SELECT 1 AS one WHERE false;
SELECT '▇▇▏' AS bar, 'ﬀ' AS ligature, 'é' AS accent, '😀' AS face, 1 AS n;
SHOW timezone;
SET timezone = 'Asia/Shanghai';
SELECT TIMESTAMPTZ '2026-07-01 00:00:00Z' AS at;

-- A funnel, and what it answers.
CREATE FUNNEL same ON (SELECT *, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS at FROM crm.leads) (
  ENTITY lead_id, TIME at,
  STAGE "线索" WHEN true,
  STAGE paid WHEN amount > 2,
  DIMENSIONS (channel)
);
SELECT stage, entered, passed, lost, open, round(rate, 3) AS rate, bar
FROM stage_conversion('same', by => 'channel', as_of => '2026-07-01') ORDER BY segment, stage_no;
DROP FUNNEL same;

-- Variables and branches.
\set limit 2
\echo :limit :'given' :{?given} :none "two  words" 'two  words'
SELECT :'given' AS "given", ':given' AS quoted, $$:given$$ AS dollars, :limit::int AS n; -- :given
\if :{?absent}
SELECT 'not run';
\elif off
SELECT 'nor this';
\else
\set absent default
SELECT :'absent' AS absent
\endif
 , 1 AS n; SELECT 2 AS m;
\if yes \echo taken \\ SELECT 3 AS same_line; \endif
PREPARE p AS SELECT 4 AS four; EXECUTE p; DEALLOCATE p;
SELECT ';' AS "semi;colon" -- the end; has no semicolon
"#;

/// The stored certificate `from` and its key as `name.crt` and `name.key` of `place`.
fn certificate(place: &Place, name: &str, from: &str) {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates");
    let text = |end: &str| fs::read_to_string(stored.join(format!("{from}.{end}"))).unwrap();
    place.write(&format!("{name}.crt"), &text("crt"));
    let key = place.write(&format!("{name}.key"), &text("key"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    #[cfg(not(unix))]
    drop(key);
}

#[test]
fn a_server_does_not_start_without_the_tls_that_it_is_told_to_have() {
    let place = Place::new();
    certificate(&place, "one", "server");
    certificate(&place, "other", "other");
    place.write(
        "f.toml",
        "data_dir = 'data'\nlisten = '127.0.0.1:0'\ntls_cert = 'one.crt'\ntls_key = 'other.key'\n",
    );
    place.write(
        "good.toml",
        "data_dir = 'data'\nlisten = '127.0.0.1:0'\ntls_cert = 'one.crt'\ntls_key = 'one.key'\n",
    );
    for arguments in [
        &["serve", "--config", "f.toml"][..],
        &["serve", "--config", "good.toml", "--tls-cert", "absent.crt"],
        &["serve", "--config", "good.toml", "--tls-key", "absent.key"],
        &["config", "check", "f.toml"],
    ] {
        let ended = place.run(arguments, "");
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
        assert!(
            ended.stderr.starts_with("ERROR:  F0000: can't use the "),
            "{ended:?}"
        );
    }
    check(
        &place.run(&["config", "check", "good.toml"], ""),
        0,
        "\"good.toml\" has no faults\n",
        "",
    );
    place.write("apart.toml", "tls_cert = 'one.crt'\n");
    for command in [
        &["config", "check", "apart.toml"][..],
        &["serve", "--config", "apart.toml"],
    ] {
        assert_eq!(place.run(command, "").code, 2);
    }
    let served = place.serve(&["serve", "--config", "good.toml"]);
    assert_eq!(served.terminate().code, 0);
}

#[cfg(unix)]
#[test]
fn sighup_reads_the_certificate_again_and_a_bad_one_changes_nothing() {
    let place = Place::new();
    certificate(&place, "one", "server");
    place.write(
        "f.toml",
        "data_dir = 'data'\nlisten = '127.0.0.1:0'\ntls_cert = 'one.crt'\ntls_key = 'one.key'\n",
    );
    let mut served = place.serve(&["serve", "--config", "f.toml"]);
    let pid = served.child.id().to_string();
    let mut said = |expected: &str| {
        assert!(
            Command::new("kill")
                .args(["-HUP", &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut line = String::new();
        served.stderr.read_line(&mut line).unwrap();
        assert!(line.contains(expected), "{line}");
    };
    place.write("one.crt", "not a certificate");
    // The log's line, and the one for whoever sent the signal.
    said("the files of TLS can't be used");
    certificate(&place, "one", "server");
    said("not reloaded: can't use the certificate");
    said("reloaded: ");
    assert_eq!(served.terminate().code, 0);
}

#[test]
fn an_administrator_is_made_once_where_passwords_are_needed() {
    let place = Place::new();
    place.write(
        "f.toml",
        "data_dir = 'data'\nlisten = '127.0.0.1:0'\n[[auth]]\nmethod = 'scram-sha-256'\n",
    );
    let start = || {
        let served = place.serve(&["serve", "--config", "f.toml"]);
        let said = served.said.clone();
        assert_eq!(served.terminate().code, 0);
        said
    };
    let said = start();
    let password = said
        .strip_prefix("created role admin with password ")
        .unwrap();
    let (password, _) = password.split_once(' ').unwrap();
    assert_eq!(password.len(), 24);
    assert_eq!(start(), "");
    // Where it is given, and nobody has one yet.
    let place = Place::new();
    place.write("password", "geheim\n");
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "data",
        "--admin-password-file",
        "password",
    ];
    let served = place.serve(&arguments);
    assert_eq!(served.said, "created role admin with the given password\n");
    assert_eq!(served.terminate().code, 0);
    let shown = place.sql(&[
        "-c",
        "SELECT rolname FROM pg_roles WHERE rolcanlogin",
        "--format",
        "csv",
    ]);
    assert!(shown.stdout.contains("admin"), "{shown:?}");
    place.write("password", "");
    let ended = place.run(&arguments, "");
    assert_eq!(ended.code, 2, "{ended:?}");
}

#[test]
fn what_holds_is_shown_with_where_it_was_said() {
    let place = Place::new();
    place.write(
        "f.toml",
        "listen = \"127.0.0.1:0\"\nmax_connections = 7\n[settings]\nstatement_timeout = \"5min\"",
    );
    let output = Command::new(env!("CARGO_BIN_EXE_funnelsql"))
        .args(["config", "show", "f.toml"])
        .current_dir(place.folder.path())
        .env("FUNNELSQL_MAX_CONNECTIONS", "9")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    for (key, value, place) in [
        ("listen", "listen = \"127.0.0.1:0\"", "# file: "),
        ("max_connections", "max_connections = 9", "# environment: "),
        ("login_timeout", "login_timeout = \"60s\"", "# default: "),
        ("tls_cert", "# tls_cert is absent", "# default: "),
    ] {
        let line = shown.lines().find(|line| line.starts_with(value));
        assert!(
            line.is_some_and(|line| line.contains(place)),
            "{key}: {shown}"
        );
    }
    assert!(
        shown.contains("\n[settings]\nstatement_timeout = \"5min\"\n# auth is absent"),
        "{shown}"
    );
    // It can be read again.
    place.write("again.toml", &shown);
    let again = place.run(&["config", "check", "again.toml"], "");
    assert_eq!((again.code, again.stderr.as_str()), (0, ""));
}

/// Sends one statement to a server and reads its answer.
fn ask(address: &str, sql: &str) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let frame = |kind: &[u8], body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap();
        [kind, length.to_be_bytes().as_slice(), body].concat()
    };
    let startup = frame(b"", b"\0\x03\0\0user\0ana\0database\0funnelsql\0\0");
    let query = frame(b"Q", &[sql.as_bytes(), b"\0"].concat());
    stream
        .write_all(&[startup, query, frame(b"X", b"")].concat())
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
}

#[test]
fn slow_statements_go_to_the_log_which_can_be_json() {
    let place = Place::new();
    place.write(
        "f.toml",
        "listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n[settings]\nlog_min_duration_statement = 0",
    );
    let served = place.serve(&["serve", "--config", "f.toml", "--log-format", "json"]);
    ask(
        &served.address,
        "SELECT 'x', 'geheim'; ALTER ROLE nobody PASSWORD 'geheim'",
    );
    let ended = served.terminate();
    let events: Vec<serde_json::Value> = ended
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let slow: Vec<&serde_json::Value> = events
        .iter()
        .filter(|event| event["target"] == "slow_statement")
        .collect();
    assert_eq!(slow.len(), 2, "{}", ended.stderr);
    assert_eq!(slow[0]["statement"], "SELECT 'x', 'geheim'");
    assert_eq!(slow[0]["rows"], 1);
    assert_eq!(slow[1]["statement"], "ALTER ROLE nobody PASSWORD '***'");
    assert_eq!(slow[1]["sqlstate"], "42704");
    // What was asked is in the audit log as well, which the server keeps unless it is told otherwise.
    let read = place.sql(&[
        "-c",
        "SELECT statement FROM funnel.audit_log WHERE tag = 'SELECT 1'",
    ]);
    assert!(read.stdout.contains("SELECT 'x', 'geheim'"), "{read:?}");
}

#[test]
fn faults_of_the_new_keys_are_found_before_the_start() {
    let place = Place::new();
    for (text, message) in [
        (
            "session_memory_limit = '1MB'",
            "session_memory_limit can't be used so",
        ),
        (
            "[settings]\nwork_memm = 1",
            "unrecognized configuration parameter \"work_memm\"",
        ),
        (
            "log_format = 'xml'",
            "log_format in \"f.toml\" can't be \"xml\"",
        ),
        ("audit_files = 0", "audit_files in \"f.toml\" can't be 0"),
    ] {
        place.write("f.toml", text);
        for command in [
            ["config", "check", "f.toml"],
            ["serve", "--config", "f.toml"],
        ] {
            let ended = place.run(&command, "");
            assert_eq!(ended.code, 2, "{text}: {ended:?}");
            assert!(ended.stderr.contains(message), "{text}: {ended:?}");
        }
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = place.run(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            &address,
        ],
        "",
    );
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("metrics_listen is already in use"),
        "{ended:?}"
    );
}
