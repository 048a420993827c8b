//! `/healthz`, `/readyz` and `/metrics` over HTTP, on a port of their own: for whoever restarts the server, whoever sends
//! clients to it, and Prometheus.
//!
//! Requests are a line and headers that mean nothing here; each is answered and its connection closed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::error::{Error, Result};

/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the threads of queries may take to do nothing.
const PULSE: Duration = Duration::from_secs(2);
/// The longest request, in bytes.
const LONGEST_REQUEST: usize = 8 << 10;
/// How many requests are answered at a time.
const MOST_REQUESTS: usize = 16;
/// How long to wait after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the address.
///
/// # Errors
/// F0000 when somebody else has it, 58030 when it can't be had for another reason.
pub async fn bind(listen: &str) -> Result<TcpListener> {
    TcpListener::bind(listen)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Error::Configuration {
                message: format!("address {listen} of metrics_listen is already in use"),
                hint: "Choose another address with --metrics-listen.".to_owned(),
            },
            _ => Error::io(format!("can't listen on {listen} (metrics_listen)"), error),
        })
}

/// Answers until it is dropped.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(MOST_REQUESTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    // Whoever asked and went away, or took too long, asks again.
                    let _ = timeout(PATIENCE, answer(stream, &shared)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection for metrics");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let request = read(&mut stream).await?;
    let (status, kind, body) = respond(&request, shared).await;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !request.starts_with("HEAD ") {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// The request up to the end of its headers, or as much of it as is read.
async fn read(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST_REQUEST && !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

const TEXT: &str = "text/plain; charset=utf-8";

/// The status line, the kind of content and the content.
async fn respond(request: &str, shared: &Shared) -> (&'static str, &'static str, String) {
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if !matches!(method, "GET" | "HEAD") {
        return (
            "405 Method Not Allowed",
            TEXT,
            "GET is what there is\n".to_owned(),
        );
    }
    let path = target.split('?').next().unwrap_or_default();
    match path {
        "/healthz" => match alive(shared).await {
            true => ("200 OK", TEXT, "ok\n".to_owned()),
            false => unavailable("the threads of queries don't answer"),
        },
        "/readyz" if shared.stopping.is_cancelled() => unavailable("the server is stopping"),
        "/readyz" => match alive(shared).await {
            true => ("200 OK", TEXT, "ready\n".to_owned()),
            false => unavailable("the threads of queries don't answer"),
        },
        "/metrics" => (
            "200 OK",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            shared.metrics.text(&shared.engine),
        ),
        _ => (
            "404 Not Found",
            TEXT,
            "there is /healthz, /readyz and /metrics\n".to_owned(),
        ),
    }
}

fn unavailable(why: &str) -> (&'static str, &'static str, String) {
    ("503 Service Unavailable", TEXT, format!("{why}\n"))
}

/// Whether the threads of queries do something.
async fn alive(shared: &Shared) -> bool {
    let pulse = shared.threads.spawn(async {});
    matches!(timeout(PULSE, pulse).await, Ok(Ok(())))
}
