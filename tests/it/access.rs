//! Who may connect, and over what: messages by hand, tokio-postgres, psql.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use funnelsql::server::rules::{Method, Over, Rule};
use funnelsql::server::{ServerOptions, Tls, TlsFiles};
use pgwire::tokio::tokio_rustls::TlsConnector;
use pgwire::tokio::tokio_rustls::rustls::pki_types::pem::PemObject;
use pgwire::tokio::tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use pgwire::tokio::tokio_rustls::rustls::{ClientConfig, RootCertStore};
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::raw::{Message, RawClient, error, kinds, rows};
use crate::support::{TestServer, connect, db_error};

const ROLES: &str = "
CREATE ROLE admin SUPERUSER LOGIN PASSWORD 'geheim';
CREATE ROLE ana LOGIN PASSWORD '漏斗 密码' CONNECTION LIMIT 1;
CREATE ROLE bob LOGIN PASSWORD 'bob' VALID UNTIL '2020-01-01';
CREATE ROLE eve PASSWORD 'eve';
CREATE ROLE joe LOGIN PASSWORD '';
";

fn options() -> ServerOptions {
    ServerOptions {
        login_failures: 0,
        ..ServerOptions::new("127.0.0.1:0")
    }
}

async fn server() -> TestServer {
    TestServer::start_as(options(), ROLES).await
}

/// A client that has sent its startup packet.
async fn begin(server: &TestServer, user: &str) -> RawClient {
    let stream = TcpStream::connect(server.address).await.unwrap();
    RawClient::begin(stream, &[("user", user), ("database", "funnelsql")]).await
}

fn initial(mechanism: &str, first: &[u8]) -> Vec<u8> {
    let length = i32::try_from(first.len()).unwrap();
    [mechanism.as_bytes(), b"\0", &length.to_be_bytes(), first].concat()
}

/// Goes through SCRAM; returns what the server says to the proof, and all that comes behind it.
async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut RawClient<S>,
    mechanism: &str,
    mut scram: ScramSha256,
) -> Vec<Message> {
    let asked = client.receive().await.unwrap();
    assert_eq!(
        (asked.kind, &asked.body[..4]),
        ('R', [0, 0, 0, 10].as_slice()),
        "{asked:?}"
    );
    client
        .send(b'p', &initial(mechanism, scram.message()))
        .await;
    let challenge = client.receive().await.unwrap();
    if challenge.kind == 'E' {
        return vec![challenge];
    }
    scram.update(&challenge.body[4..]).unwrap();
    client.send(b'p', scram.message()).await;
    let messages = client.until_ready().await;
    if messages[0].kind == 'R' {
        scram.finish(&messages[0].body[4..]).unwrap();
    }
    messages
}

fn scram(password: &str) -> ScramSha256 {
    ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported())
}

async fn answer(server: &TestServer, user: &str, password: &str) -> Vec<Message> {
    let mut client = begin(server, user).await;
    log_in(&mut client, "SCRAM-SHA-256", scram(password)).await
}

fn fields(message: &Message) -> [String; 3] {
    ['S', 'C', 'M'].map(|name| message.field(name).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_and_nothing_else_does() {
    let server = server().await;
    for (user, password) in [("admin", "geheim"), ("ana", "漏斗 密码")] {
        let messages = answer(&server, user, password).await;
        assert!(
            kinds(&messages).starts_with("RR") && kinds(&messages).ends_with('Z'),
            "{messages:?}"
        );
    }
    // Nobody learns from the answer why: no such role, no right to connect, over, none, wrong, empty.
    for (user, password) in [
        ("nobody", "x"),
        ("eve", "eve"),
        ("bob", "bob"),
        ("joe", ""),
        ("joe", "x"),
        ("admin", "Geheim"),
        ("admin", ""),
        ("funnelsql", "x"),
    ] {
        let messages = answer(&server, user, password).await;
        let expected = format!("password authentication failed for user \"{user}\"");
        assert_eq!(
            fields(error(&messages)),
            ["FATAL", "28P01", &expected],
            "{user}"
        );
        assert_eq!(messages.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_there_is_not_is_asked_the_same_each_time() {
    let server = server().await;
    let mut salts = Vec::new();
    for user in ["nobody", "nobody", "somebody", "joe"] {
        let mut client = begin(&server, user).await;
        client.receive().await.unwrap();
        client
            .send(b'p', &initial("SCRAM-SHA-256", b"n,,n=,r=abc"))
            .await;
        let challenge = client.receive().await.unwrap();
        let challenge = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
        let (_, salt) = challenge.split_once(",s=").unwrap();
        assert!(
            challenge.starts_with("r=abc") && salt.ends_with(",i=4096"),
            "{challenge}"
        );
        salts.push(salt.to_owned());
    }
    assert_eq!(salts[0], salts[1]);
    assert_ne!(salts[0], salts[2]);
    assert_eq!(salts[0].len(), salts[3].len());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_out_of_order_end_the_login() {
    let server = server().await;
    let mut first = begin(&server, "admin").await;
    first.receive().await.unwrap();
    let mut said = scram("geheim");
    first
        .send(b'p', &initial("SCRAM-SHA-256", said.message()))
        .await;
    said.update(&first.receive().await.unwrap().body[4..])
        .unwrap();
    let replayed = said.message().to_vec();
    for (message, code) in [
        (initial("SCRAM-SHA-256", b"n,,n=,r=abc"), None),
        (
            initial("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc"),
            Some("08P01"),
        ),
        (initial("PLAIN", b"geheim"), Some("08P01")),
        (initial("SCRAM-SHA-256", b"n,,n="), Some("08P01")),
        (
            initial("SCRAM-SHA-256", b"n,a=admin,n=,r=abc"),
            Some("0A000"),
        ),
        (b"SCRAM-SHA-256\0\xff\xff\xff\xff".to_vec(), Some("08P01")),
        (
            b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=abc".to_vec(),
            Some("08P01"),
        ),
        (b"geheim\0".to_vec(), Some("08P01")),
        (Vec::new(), Some("08P01")),
    ] {
        let mut client = begin(&server, "admin").await;
        client.receive().await.unwrap();
        client.send(b'p', &message).await;
        let mut answer = client.receive().await.unwrap();
        if code.is_none() {
            // A proof that was right in another exchange.
            client.send(b'p', &replayed).await;
            answer = client.receive().await.unwrap();
        }
        assert_eq!(
            answer.field('C').as_deref(),
            code.or(Some("08P01")),
            "{message:?}"
        );
        assert!(client.receive().await.is_none());
    }
    // A query before the login is done.
    let mut client = begin(&server, "admin").await;
    let asked = client.query("SELECT 1").await;
    assert_eq!(kinds(&asked), "RE");
    assert_eq!(error(&asked).field('C').as_deref(), Some("08P01"));
    // A message that is too long for a login.
    let mut client = begin(&server, "admin").await;
    client.stream.write_all(b"p\x7f\xff\xff\xff").await.unwrap();
    assert_eq!(kinds(&client.until_ready().await), "RE");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_fails_too_often_is_not_heard() {
    let options = ServerOptions {
        login_failures: 2,
        ..options()
    };
    let server = TestServer::start_as(options, ROLES).await;
    let started = Instant::now();
    for _ in 0..2 {
        let messages = answer(&server, "nobody", "x").await;
        assert_eq!(error(&messages).field('C').as_deref(), Some("28P01"));
    }
    assert!(started.elapsed() >= Duration::from_millis(750));
    let mut client = begin(&server, "admin").await;
    let messages = client.until_ready().await;
    assert_eq!(
        fields(error(&messages)),
        ["FATAL", "28000", "too many failed logins from 127.0.0.1"]
    );
    assert!(
        error(&messages)
            .field('H')
            .unwrap()
            .starts_with("Try again in ")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_so_many_connections_and_the_last_are_for_superusers() {
    let sql = "CREATE ROLE admin SUPERUSER LOGIN; CREATE ROLE ana LOGIN CONNECTION LIMIT 1; CREATE ROLE bob LOGIN";
    let options = ServerOptions {
        max_connections: 3,
        reserved_connections: 1,
        ..options()
    };
    let server = TestServer::start_as(options, sql).await;
    let refusal = |client: &RawClient| fields(error(&client.greeting));
    let connect = async |user: &str| RawClient::connect(server.address, &[("user", user)]).await;
    let ana = connect("ana").await;
    assert!(kinds(&ana.greeting).ends_with('Z'));
    assert_eq!(
        refusal(&connect("ana").await),
        ["FATAL", "53300", "too many connections for role \"ana\""]
    );
    let _bob = connect("bob").await;
    let expected = [
        "FATAL",
        "53300",
        "remaining connection slots are reserved for superusers",
    ];
    assert_eq!(refusal(&connect("bob").await), expected);
    let _admin = connect("admin").await;
    assert_eq!(
        refusal(&connect("admin").await),
        ["FATAL", "53300", "sorry, too many clients already"]
    );
    drop(ana);
    for _ in 0..50 {
        if kinds(&connect("admin").await.greeting).ends_with('Z') {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place of a client that is gone isn't free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_let_go() {
    let options = ServerOptions {
        login_timeout: Duration::from_millis(300),
        ..options()
    };
    let server = TestServer::start_as(options, ROLES).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = begin(&server, "admin").await;
    slow.receive().await.unwrap();
    let started = Instant::now();
    assert!(slow.receive().await.is_none());
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_logs_in_and_manages_roles() {
    let server = server().await;
    let mut config = server.config();
    let admin = connect(config.user("admin").password("geheim")).await;
    let codes = |client: tokio_postgres::Client,
                 statements: &'static [(&'static str, &'static str)]| async move {
        for (sql, code) in statements {
            let failed = client.batch_execute(sql).await;
            let found = failed
                .err()
                .map(|error| db_error(&error).code().code().to_owned());
            assert_eq!(found.as_deref().unwrap_or("00000"), *code, "{sql}");
        }
    };
    codes(
        admin,
        &[
            ("CREATE USER \"李 雷\" PASSWORD 'x' IN ROLE ana", "00000"),
            ("CREATE ROLE ana", "42710"),
            ("DROP ROLE nobody", "42704"),
            ("DROP ROLE IF EXISTS nobody", "00000"),
            ("GRANT \"李 雷\" TO ana", "0LP01"),
            ("ALTER ROLE ana VALID UNTIL 'soon'", "22023"),
            ("ALTER ROLE ana PASSWORD 'SCRAM-SHA-256$1:x'", "22023"),
            (
                "ALTER ROLE ana PASSWORD 'md50123456789abcdef0123456789abcdef'",
                "22023",
            ),
            ("ALTER ROLE admin NOSUPERUSER", "55000"),
            ("DROP ROLE admin", "55006"),
            ("SET ROLE ana", "00000"),
            ("CREATE ROLE x", "42501"),
            ("ALTER ROLE ana PASSWORD 'neu'", "00000"),
            ("ALTER ROLE ana SUPERUSER", "42501"),
            ("ALTER ROLE bob PASSWORD 'neu'", "42501"),
            ("RESET ROLE", "00000"),
            ("REVOKE ana FROM \"李 雷\"", "00000"),
            ("DROP ROLE \"李 雷\"", "00000"),
        ],
    )
    .await;
    let mut config = server.config();
    let ana = connect(config.user("ana").password("neu")).await;
    codes(
        ana,
        &[
            ("SET ROLE admin", "42501"),
            ("DROP ROLE bob", "42501"),
            ("ALTER USER CURRENT_USER PASSWORD 'neuer'", "00000"),
            ("GRANT admin TO ana", "42501"),
        ],
    )
    .await;
}

/// The certificates of `tests/it/certificates`, with keys that nobody else can read.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/certificates");
        for name in [
            "ca.crt",
            "server.crt",
            "server.key",
            "other.key",
            "carl.crt",
            "carl.key",
        ] {
            write_key(
                &folder.path().join(name),
                &fs::read_to_string(stored.join(name)).unwrap(),
            );
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tls(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.file("server.crt"),
            key: self.file("server.key"),
            client_ca: Some(self.file("ca.crt")),
        }
    }

    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.file("ca.crt")).unwrap())
            .unwrap();
        let provider = pgwire::tokio::tokio_rustls::rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }
}

fn write_key(file: &Path, pem: &str) {
    fs::write(file, pem).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

fn rule(over: Over, method: Method) -> Rule {
    Rule {
        over,
        address: "all".parse().unwrap(),
        databases: Vec::new(),
        users: Vec::new(),
        method,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_bound_to_the_servers_certificate() {
    let certificates = Certificates::new();
    let options = ServerOptions {
        tls: Some(certificates.tls()),
        rules: Some(vec![rule(Over::Tls, Method::Scram)]),
        ..options()
    };
    let server = TestServer::start_as(options, ROLES).await;
    let certificate = CertificateDer::from_pem_file(certificates.file("server.crt")).unwrap();
    // It is signed with ECDSA and SHA-256.
    let hash = ring::digest::digest(&ring::digest::SHA256, &certificate)
        .as_ref()
        .to_vec();
    for (binding, mechanism, code) in [
        (
            ChannelBinding::tls_server_end_point(hash.clone()),
            "SCRAM-SHA-256-PLUS",
            None,
        ),
        (ChannelBinding::unsupported(), "SCRAM-SHA-256", None),
        (
            ChannelBinding::tls_server_end_point(vec![0; 32]),
            "SCRAM-SHA-256-PLUS",
            Some("28000"),
        ),
        // The client believes that the server has no binding, so somebody took it out of the list.
        (
            ChannelBinding::unrequested(),
            "SCRAM-SHA-256",
            Some("28000"),
        ),
        (
            ChannelBinding::unsupported(),
            "SCRAM-SHA-256-PLUS",
            Some("08P01"),
        ),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&SSL_REQUEST).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
        let name = ServerName::try_from("localhost").unwrap();
        let stream = certificates
            .connector()
            .connect(name, stream)
            .await
            .unwrap();
        let mut client = RawClient::begin(stream, &[("user", "admin")]).await;
        let messages = log_in(&mut client, mechanism, ScramSha256::new(b"geheim", binding)).await;
        let found = messages
            .iter()
            .find(|message| message.kind == 'E')
            .and_then(|message| message.field('C'));
        assert_eq!(found.as_deref(), code, "{mechanism}");
        if code.is_none() {
            assert_eq!(
                rows(&client.query("SELECT current_user").await),
                [[Some("admin".to_owned())]]
            );
        }
    }
    // Without TLS nobody gets so far as to be asked.
    let mut plain = begin(&server, "admin").await;
    let messages = plain.until_ready().await;
    let expected =
        "no rule admits host \"127.0.0.1\", user \"admin\", database \"funnelsql\", no encryption";
    assert_eq!(fields(error(&messages)), ["FATAL", "28000", expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_before_the_handshake_are_not_heard() {
    let certificates = Certificates::new();
    let options = ServerOptions {
        tls: Some(certificates.tls()),
        ..options()
    };
    let server = TestServer::start_as(options, "").await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let startup = b"\0\0\0\x12\0\x03\0\0user\0ana\0\0";
    stream
        .write_all(&[SSL_REQUEST.as_slice(), startup].concat())
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'S');
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    // At most a TLS alert, and no answer to the startup packet.
    assert!(rest.first().is_none_or(|first| *first == 0x15), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_says_so() {
    let server = TestServer::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for request in [SSL_REQUEST, [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30]] {
        stream.write_all(&request).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'N');
    }
    let mut client = RawClient::begin(stream, &[("user", "ana")]).await;
    assert!(kinds(&client.until_ready().await).ends_with('Z'));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(&[SSL_REQUEST, SSL_REQUEST].concat())
        .await
        .unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'N');
    assert_eq!(stream.read_u8().await.unwrap(), b'E');
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let certificates = Certificates::new();
    Tls::load(&certificates.tls()).unwrap();
    fs::write(certificates.file("empty.crt"), "").unwrap();
    write_key(
        &certificates.file("bad.key"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    );
    let fault = |change: fn(&Certificates, &mut TlsFiles)| {
        let mut files = certificates.tls();
        change(&certificates, &mut files);
        let error = Tls::load(&files).unwrap_err();
        assert_eq!(error.code(), "F0000");
        error.to_string()
    };
    for (fault, part) in [
        (
            fault(|c, files| files.key = c.file("other.key")),
            "other.key",
        ),
        (
            fault(|c, files| files.key = c.file("absent.key")),
            "absent.key",
        ),
        (fault(|c, files| files.key = c.file("bad.key")), "bad.key"),
        (
            fault(|c, files| files.key = c.file("server.crt")),
            "server.crt",
        ),
        (
            fault(|c, files| files.certificate = c.file("absent.crt")),
            "absent.crt",
        ),
        (
            fault(|c, files| files.certificate = c.file("empty.crt")),
            "there is no certificate in it",
        ),
        (
            fault(|c, files| files.client_ca = Some(c.file("empty.crt"))),
            "empty.crt",
        ),
    ] {
        assert!(fault.contains(part), "{part}: {fault}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = certificates.file("server.key");
        fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Tls::load(&certificates.tls()).unwrap_err();
        assert!(
            error.to_string().starts_with("others can read the key"),
            "{error}"
        );
    }
}

/// What psql prints, or its errors.
pub async fn psql(
    port: u16,
    connection: &str,
    password: &str,
    command: &str,
) -> Result<String, String> {
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-P",
        "pager=off",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        command,
    ])
    .arg(format!(
        "host=localhost port={port} dbname=funnelsql connect_timeout=10 {connection}"
    ))
    .env("PGPASSWORD", password);
    let output = tokio::task::spawn_blocking(move || psql.output())
        .await
        .unwrap()
        .unwrap();
    let [shown, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    if output.status.success() {
        Ok(shown)
    } else {
        Err(errors)
    }
}

pub fn has_psql() -> bool {
    let there = Command::new("psql").arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: psql is not installed");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_connects_over_tls_with_password_and_certificate() {
    if !has_psql() {
        return;
    }
    let certificates = Certificates::new();
    let mut by_certificate = rule(Over::Tls, Method::Certificate);
    by_certificate.users = vec!["carl".to_owned(), "admin".to_owned()];
    let options = ServerOptions {
        listen: "localhost:0".to_owned(),
        tls: Some(certificates.tls()),
        rules: Some(vec![
            Rule {
                users: vec!["carl".to_owned()],
                ..by_certificate.clone()
            },
            rule(Over::Tls, Method::Scram),
        ]),
        ..options()
    };
    let sql = format!("{ROLES} CREATE ROLE carl LOGIN;");
    let server = TestServer::start_as(options, &sql).await;
    let port = server.address.port();
    let root = format!("sslrootcert={}", certificates.file("ca.crt").display());
    let own = |name: &str| {
        let [certificate, key] = ["crt", "key"].map(|end| {
            certificates
                .file(&format!("{name}.{end}"))
                .display()
                .to_string()
        });
        format!("sslcert={certificate} sslkey={key}")
    };
    let none = "sslcert=/nowhere sslkey=/nowhere";
    for connection in [
        format!("user=admin sslmode=require {none}"),
        format!("user=admin sslmode=verify-full {root} {none}"),
        format!("user=admin sslmode=verify-full channel_binding=require {root} {none}"),
    ] {
        let shown = psql(port, &connection, "geheim", "SELECT current_user").await;
        assert!(
            shown.as_ref().is_ok_and(|shown| shown.contains("admin")),
            "{connection}: {shown:?}"
        );
    }
    let shown = psql(
        port,
        &format!("user=carl sslmode=verify-full {root} {}", own("carl")),
        "",
        r"\conninfo",
    )
    .await;
    assert!(
        shown.as_ref().is_ok_and(|shown| shown.contains("SSL")),
        "{shown:?}"
    );
    for (connection, password, part) in [
        (
            format!("user=admin sslmode=disable {none}"),
            "geheim",
            "no rule admits",
        ),
        (
            format!("user=admin sslmode=require {none}"),
            "falsch",
            "password authentication failed for user \"admin\"",
        ),
        (
            format!("user=carl sslmode=require {none}"),
            "",
            "certificate authentication failed for user \"carl\"",
        ),
        (
            format!("user=carl sslmode=require {}", own("server")),
            "",
            "certificate authentication failed for user \"carl\"",
        ),
    ] {
        let errors = psql(port, &connection, password, "SELECT 1")
            .await
            .unwrap_err();
        assert!(errors.contains(part), "{connection}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_lists_the_roles() {
    if !has_psql() {
        return;
    }
    let sql = "CREATE ROLE admin SUPERUSER LOGIN; CREATE ROLE sales; CREATE USER ana CONNECTION LIMIT 2 IN ROLE sales";
    let server = TestServer::start_as(options(), sql).await;
    let port = server.address.port();
    let shown = psql(
        port,
        "user=ana",
        "",
        "SELECT rolname, rolsuper, rolcanlogin, rolconnlimit, rolpassword FROM pg_roles ORDER BY 1",
    )
    .await
    .unwrap();
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    assert!(
        lines.iter().any(|line| line.starts_with("ana ")
            && line.contains("| f        | t           |            2 | ********")),
        "{shown}"
    );
    let members = "SELECT g.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member";
    let shown = psql(port, "user=ana", "", members).await.unwrap();
    assert!(
        shown.contains("sales") && shown.contains("ana") && shown.contains("(1 row)"),
        "{shown}"
    );
    let shown = psql(port, "user=ana", "", r"\du").await.unwrap();
    for part in [
        "admin",
        "Superuser",
        "sales",
        "Cannot login",
        "ana",
        "2 connections",
        "{sales}",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}
