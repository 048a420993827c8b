//! Other databases for tests: PostgreSQL and MariaDB as Debian has them, started on free ports and gone with the test.
//! Where one isn't installed, the tests that need it say that they were skipped.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub const PASSWORD: &str = "geheim '\\ 中";

/// A server process with its data.
pub struct RemoteServer {
    pub port: u16,
    data: TempDir,
    program: Vec<String>,
    process: Option<Child>,
    /// What it writes about the statements that it runs.
    log: PathBuf,
    client: fn(&RemoteServer, &str) -> Command,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// A command as another user where tests run as root: these servers refuse that.
fn as_user(user: &str, program: &str) -> Command {
    match is_root() {
        true => {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid",
                user,
                "--regid",
                user,
                "--clear-groups",
                "--",
                program,
            ]);
            command
        }
        false => Command::new(program),
    }
}

fn give_to(user: &str, folder: &Path) {
    if is_root() {
        let owner = format!("{user}:{user}");
        run(Command::new("chown").arg("-R").arg(owner).arg(folder));
    }
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn found(places: &[&str]) -> Option<PathBuf> {
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

impl RemoteServer {
    /// PostgreSQL with a user `crm` and a database `crm`; nothing where it isn't installed.
    pub fn postgres() -> Option<Self> {
        let bin =
            ["17", "16", "15", "14"].map(|version| format!("/usr/lib/postgresql/{version}/bin"));
        let bin = bin.iter().find(|bin| Path::new(bin).exists());
        let Some(bin) = bin else {
            eprintln!("skipped: no PostgreSQL (apt-get install postgresql)");
            return None;
        };
        let data = tempfile::tempdir().unwrap();
        let password = data.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let cluster = data.path().join("data");
        give_to("postgres", data.path());
        let mut initdb = as_user("postgres", &format!("{bin}/initdb"));
        initdb.args([
            "-U",
            "crm",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "-N",
        ]);
        initdb
            .arg("--pwfile")
            .arg(&password)
            .arg("-D")
            .arg(&cluster);
        run(&mut initdb);
        let port = free_port();
        let log = data.path().join("log");
        let arguments = [
            format!("{bin}/postgres"),
            "-D".to_owned(),
            cluster.display().to_string(),
            format!("-cport={port}"),
            "-clisten_addresses=127.0.0.1".to_owned(),
            format!("-cunix_socket_directories={}", data.path().display()),
            "-clog_statement=all".to_owned(),
            "-cfsync=off".to_owned(),
        ];
        let mut server = Self {
            port,
            data,
            program: arguments.to_vec(),
            process: None,
            log,
            client: |server, sql| {
                let mut command = Command::new("psql");
                command.env("PGPASSWORD", PASSWORD);
                command.args([
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "crm",
                    "-d",
                    "crm",
                    "-AtqX",
                    "-v",
                    "ON_ERROR_STOP=1",
                ]);
                command.args(["-p", &server.port.to_string(), "-c", sql]);
                command
            },
        };
        server.start();
        let mut create = Command::new("psql");
        create.env("PGPASSWORD", PASSWORD);
        create.args([
            "-h",
            "127.0.0.1",
            "-U",
            "crm",
            "-d",
            "postgres",
            "-Xqc",
            "CREATE DATABASE crm",
        ]);
        run(create.args(["-p", &port.to_string()]));
        Some(server)
    }

    /// MariaDB with a user `crm` and a database `crm`; nothing where it isn't installed.
    pub fn mariadb() -> Option<Self> {
        let program = found(&["/usr/sbin/mariadbd", "/usr/sbin/mysqld"]);
        let installer = found(&["/usr/bin/mariadb-install-db"]);
        let (Some(program), Some(installer)) = (program, installer) else {
            eprintln!("skipped: no MariaDB (apt-get install mariadb-server)");
            return None;
        };
        let data = tempfile::tempdir().unwrap();
        let cluster = data.path().join("data");
        let first = data.path().join("first.sql");
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
        std::fs::write(
            &first,
            format!(
                "CREATE DATABASE IF NOT EXISTS crm CHARACTER SET utf8mb4;\n\
                 CREATE USER IF NOT EXISTS 'crm'@'%' IDENTIFIED BY '{password}';\n\
                 GRANT ALL ON *.* TO 'crm'@'%';\n"
            ),
        )
        .unwrap();
        give_to("mysql", data.path());
        let mut install = as_user("mysql", &installer.display().to_string());
        install.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]);
        install.arg(format!("--datadir={}", cluster.display()));
        run(&mut install);
        let port = free_port();
        let log = data.path().join("log");
        let arguments = [
            program.display().to_string(),
            "--no-defaults".to_owned(),
            format!("--datadir={}", cluster.display()),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--socket={}", data.path().join("socket").display()),
            format!("--pid-file={}", data.path().join("pid").display()),
            format!("--init-file={}", first.display()),
            "--character-set-server=utf8mb4".to_owned(),
            "--general-log".to_owned(),
            format!("--general-log-file={}", log.display()),
        ];
        let mut server = Self {
            port,
            data,
            program: arguments.to_vec(),
            process: None,
            log,
            client: |server, sql| {
                let mut command = Command::new("mariadb");
                command.args([
                    "-h",
                    "127.0.0.1",
                    "-u",
                    "crm",
                    "-NB",
                    "--default-character-set=utf8mb4",
                ]);
                command.arg(format!("--password={PASSWORD}"));
                command.args(["-P", &server.port.to_string(), "crm", "-e", sql]);
                command
            },
        };
        server.start();
        Some(server)
    }

    /// Starts the process, and waits until it answers.
    pub fn start(&mut self) {
        let user = if self.program[0].ends_with("postgres") {
            "postgres"
        } else {
            "mysql"
        };
        let mut command = as_user(user, &self.program[0]);
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(
                self.data
                    .path()
                    .join(if user == "postgres" { "log" } else { "output" }),
            )
            .unwrap();
        command
            .args(&self.program[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        self.process = Some(command.spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "{:?} does not start", self.program);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the process at once.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // setpriv becomes the server itself, so that this is the server.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// What a statement answers, run by the server's own client.
    pub fn run(&self, sql: &str) -> String {
        run(&mut (self.client)(self, sql)).trim_end().to_owned()
    }

    /// What the server's log has of statements with that text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for RemoteServer {
    fn drop(&mut self) {
        self.stop();
    }
}
