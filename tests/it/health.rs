//! What is asked over HTTP: is it alive, is it ready, what has it done.

use std::net::SocketAddr;

use funnelsql::server::ServerOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::TestServer;
use crate::support::raw::RawClient;

async fn get(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

async fn path(address: SocketAddr, path: &str) -> (String, String) {
    get(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

async fn server() -> (TestServer, SocketAddr) {
    let options = ServerOptions {
        metrics_listen: Some("127.0.0.1:0".to_owned()),
        ..ServerOptions::new("127.0.0.1:0")
    };
    let server = TestServer::start_as(options, "").await;
    let address = server.metrics.unwrap();
    (server, address)
}

/// The value behind a name and its labels.
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_and_clients_are_counted() {
    let (server, address) = server().await;
    let mut client = RawClient::start(server.address).await;
    client
        .query("SELECT value FROM generate_series(1, 100) AS value")
        .await;
    client.query("SELECT nope").await;
    client.query("SET statement_timeout = '50ms'").await;
    client
        .query("SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b")
        .await;
    let (status, text) = path(address, "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    for (name, expected) in [
        ("funnelsql_connections", 1.0),
        ("funnelsql_logins_total", 1.0),
        ("funnelsql_running_statements", 0.0),
        ("funnelsql_statements_total{outcome=\"ok\"}", 2.0),
        ("funnelsql_statements_total{outcome=\"error\"}", 1.0),
        ("funnelsql_statements_total{outcome=\"canceled\"}", 1.0),
        ("funnelsql_errors_total{sqlstate=\"42703\"}", 1.0),
        ("funnelsql_errors_total{sqlstate=\"57014\"}", 1.0),
        ("funnelsql_rows_total", 100.0),
        ("funnelsql_statement_duration_seconds_count", 4.0),
        ("funnelsql_memory_bytes", 0.0),
        ("funnelsql_temp_limit_bytes", 107_374_182_400.0),
    ] {
        assert_eq!(value(&text, name), expected, "{name}");
    }
    assert!(value(&text, "funnelsql_sent_bytes_total") > 1000.0);
    assert!(value(&text, "funnelsql_received_bytes_total") > 100.0);
    assert!(value(&text, "funnelsql_resident_memory_bytes") > 1e6);
    assert!(text.ends_with("# EOF\n"));
    drop(client);
    for _ in 0..100 {
        let (_, text) = path(address, "/metrics").await;
        if value(&text, "funnelsql_connections") == 0.0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the connection is still counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_alive_and_not_ready() {
    let (mut server, address) = server().await;
    assert_eq!(path(address, "/healthz").await.1, "ok\n");
    assert_eq!(path(address, "/readyz?verbose").await.1, "ready\n");
    let mut client = RawClient::start(server.address).await;
    // A statement that runs keeps the server from ending at once.
    client
        .send(
            b'Q',
            b"SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b\0",
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    server.stop();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let (status, body) = path(address, "/readyz").await;
    assert_eq!(
        (status.as_str(), body.as_str()),
        (
            "HTTP/1.1 503 Service Unavailable",
            "the server is stopping\n"
        )
    );
    assert_eq!(path(address, "/healthz").await.1, "ok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_are_refused() {
    let (_server, address) = server().await;
    let not_found = path(address, "/").await;
    assert_eq!(not_found.0, "HTTP/1.1 404 Not Found");
    let post = get(address, "POST /metrics HTTP/1.1\r\n\r\n").await;
    assert_eq!(post.0, "HTTP/1.1 405 Method Not Allowed");
    let head = get(address, "HEAD /healthz HTTP/1.1\r\n\r\n").await;
    assert_eq!(head, ("HTTP/1.1 200 OK".to_owned(), String::new()));
    let nonsense = get(address, "\u{7f}\r\n\r\n").await;
    assert_eq!(nonsense.0, "HTTP/1.1 405 Method Not Allowed");
}
