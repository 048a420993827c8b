//! The Postgres wire protocol: whoever speaks it can query the engine.
//!
//! ```text
//! Server ── accepts ──► startup: tls, startup packet, auth (rules, scram), slots ──► Connection: one client, one Session
//!    │                     └─ CancelRequest ──► cancel::Registry ──► the statement of a connection
//!    └─ two tokens: `stopping` (start nothing new), `killing` (end what runs)
//! ```
//!
//! The messages and their encodings are pgwire's. The loop that reads them is our own, because pgwire's
//! collects a portal's rows in memory, stops only the planning of a canceled statement, and can't be told
//! that the server is about to stop.

mod attempts;
mod auth;
mod cancel;
mod connection;
mod copy;
mod cursors;
mod extended;
mod failure;
mod health;
mod limits;
mod metrics;
mod notifications;
mod parameters;
mod rows;
pub mod rules;
mod schedule;
mod scram;
mod slots;
mod socket;
mod startup;
mod texts;
mod threads;
mod tls;
mod transaction;
mod translation;
mod watch;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pgwire::api::RandomPidSecretKeyGenerator;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::engine::{Activity, Engine};
use crate::error::{Error, Result};
use attempts::Attempts;
use cancel::Registry;
use metrics::Metrics;
use notifications::Exchange;
use rules::Rule;
use slots::Slots;
use threads::Threads;
use tls::CurrentTls;

pub use schedule::Refresh;
pub use threads::STACK_BYTES;
pub use tls::{Tls, TlsFiles};

/// How long to wait after the system refused a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a client is silent before the system asks whether its machine is still there; as long again, and it isn't.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the last records of the audit log may take to be written.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How long a connection that is being ended may take to tell its client so.
const LAST_WORD: Duration = Duration::from_millis(500);

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen: `127.0.0.1:5433`; port 0 is any free one.
    pub listen: String,
    /// How long statements that run when the server is stopped may go on.
    pub shutdown_grace: Duration,
    /// The files of TLS; without them every connection is plain.
    pub tls: Option<TlsFiles>,
    /// Who may connect; see [`rules`] for what holds where absent.
    pub rules: Option<Vec<Rule>>,
    /// How many clients there may be.
    pub max_connections: usize,
    /// How many of these places are for superusers.
    pub reserved_connections: usize,
    /// How long a client may take to say and prove who it is.
    pub login_timeout: Duration,
    /// How many wrong passwords may come from an address in five minutes; 0 for any number.
    pub login_failures: u32,
    /// How long an address with more of them isn't heard.
    pub login_ban: Duration,
    /// How long a client that is sent something may take none of it.
    pub send_timeout: Duration,
    /// Where health and metrics can be asked for; nowhere where absent.
    pub metrics_listen: Option<String>,
    /// How many bytes of rows one statement may send; any number where absent.
    pub result_limit: Option<usize>,
    /// The materialized views that are refreshed by themselves.
    pub refreshes: Vec<Refresh>,
}

impl ServerOptions {
    /// The defaults, and where to listen.
    pub fn new(listen: impl Into<String>) -> Self {
        Self {
            listen: listen.into(),
            shutdown_grace: Duration::from_secs(10),
            tls: None,
            rules: None,
            max_connections: 100,
            reserved_connections: 3,
            login_timeout: Duration::from_secs(60),
            login_failures: 5,
            login_ban: Duration::from_secs(5 * 60),
            send_timeout: Duration::from_secs(10 * 60),
            metrics_listen: None,
            result_limit: None,
            refreshes: Vec::new(),
        }
    }
}

/// A server that listens and doesn't accept yet.
#[derive(Debug)]
pub struct Server {
    /// Dropping it refuses new connections.
    listener: TcpListener,
    /// Where health and metrics are asked for; it is answered until the last connection has ended.
    health: Option<TcpListener>,
    options: ServerOptions,
    /// What every connection shares with the server.
    shared: Arc<Shared>,
    /// Every connection's task; waiting for it is waiting for the last connection.
    connections: TaskTracker,
}

/// What the connections of a server share.
#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    /// The connections that a cancel request may name; each takes itself out when it ends.
    registry: Arc<Registry>,
    /// What connections say to each other.
    exchange: Arc<Exchange>,
    /// What is counted.
    metrics: Arc<Metrics>,
    /// Where statements run; dropped with the last connection.
    threads: Threads,
    /// Numbers connections and draws their secrets.
    keys: RandomPidSecretKeyGenerator,
    /// TLS as it is now.
    tls: CurrentTls,
    /// Who may connect.
    rules: Option<Vec<Rule>>,
    /// Failed logins.
    attempts: Attempts,
    /// The places of admitted clients.
    slots: Arc<Slots>,
    /// The places of clients that have yet to be admitted, or only cancel: more than of the others, and not without
    /// a limit, because anybody can take them.
    seats: Arc<Semaphore>,
    login_timeout: Duration,
    send_timeout: Duration,
    result_limit: Option<usize>,
    /// Signaled once by the server: a connection ends as soon as it has nothing to do.
    stopping: CancellationToken,
    /// Signaled once by the server, when the grace is over: a connection ends now.
    killing: CancellationToken,
}

impl Server {
    /// Takes the address; clients can connect from here on and are answered once the server runs.
    ///
    /// # Errors
    /// F0000 when somebody else has the address or TLS can't be had as it is configured, 58030 when it can't be had for another reason.
    pub async fn bind(engine: Arc<Engine>, options: ServerOptions) -> Result<Self> {
        let tls = CurrentTls::load(options.tls.clone())?;
        let listener = TcpListener::bind(&options.listen)
            .await
            .map_err(|error| bind_error(&options.listen, error))?;
        let shared = Shared {
            engine,
            registry: Arc::default(),
            exchange: Arc::default(),
            metrics: Arc::new(Metrics::new()),
            threads: Threads::start()
                .map_err(|error| Error::io("can't start the threads of queries", error))?,
            keys: RandomPidSecretKeyGenerator::default(),
            tls,
            rules: options.rules.clone(),
            attempts: Attempts::new(options.login_failures, options.login_ban),
            slots: Arc::new(Slots::new(
                options.max_connections,
                options.reserved_connections,
            )),
            seats: Arc::new(Semaphore::new(
                options
                    .max_connections
                    .saturating_mul(2)
                    .min(Semaphore::MAX_PERMITS),
            )),
            login_timeout: options.login_timeout,
            send_timeout: options.send_timeout,
            result_limit: options.result_limit,
            stopping: CancellationToken::new(),
            killing: CancellationToken::new(),
        };
        let shared = Arc::new(shared);
        let health = match &options.metrics_listen {
            Some(listen) => Some(health::bind(listen).await?),
            None => None,
        };
        let activity = Arc::clone(&shared.registry) as Arc<dyn Activity>;
        shared.engine.attach(activity);
        Ok(Self {
            listener,
            health,
            options,
            shared,
            connections: TaskTracker::new(),
        })
    }

    /// The address that clients connect to.
    ///
    /// # Errors
    /// 58030 when the system doesn't know it.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        let address = self.listener.local_addr();
        address.map_err(|error| Error::io("can't read the server's address", error))
    }

    /// The address that health and metrics are asked for at.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.health.as_ref()?.local_addr().ok()
    }

    /// What reads the files of TLS again while the server runs.
    pub fn reloader(&self) -> Reloader {
        Reloader(Arc::clone(&self.shared))
    }

    /// Serves clients until `shutdown` is done, then stops: idle connections at once, statements that run
    /// when they end or when the grace is over.
    ///
    /// # Errors
    /// None today; it may come to report what kept it from serving.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self {
            listener,
            health,
            options,
            shared,
            connections,
        } = self;
        tokio::pin!(shutdown);
        schedule::start(
            &options.refreshes,
            &shared.engine,
            &shared.threads,
            &shared.stopping,
        );
        let health = health.map(|listener| health::serve(listener, Arc::clone(&shared)));
        let _health = health.map(|answering| AbortOnDropHandle::new(tokio::spawn(answering)));
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        connections.spawn(serve(stream, address, Arc::clone(&shared)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "can't accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        shared.stopping.cancel();
        connections.close();
        if timeout(options.shutdown_grace, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = connections.len(),
                "ending statements that still run"
            );
            shared.killing.cancel();
            connections.wait().await;
        }
        if let Some(audit) = shared.engine.audit() {
            audit.flush(LAST_RECORDS).await;
        }
        Ok(())
    }
}

/// Reads a server's files again.
#[derive(Debug)]
pub struct Reloader(Arc<Shared>);

impl Reloader {
    /// Reads the files of TLS, for the connections that come from here on.
    ///
    /// # Errors
    /// F0000 for files that can't be used; those that were read before go on being used.
    pub fn reload(&self) -> Result<()> {
        self.0.tls.reload()
    }
}

fn bind_error(listen: &str, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::AddrInUse => Error::Configuration {
            message: format!("address {listen} is already in use"),
            hint: "Stop the server that uses it, or choose another address with --listen."
                .to_owned(),
        },
        _ => Error::io(format!("can't listen on {listen}"), error),
    }
}

/// One connection from its first byte to its last; whatever goes wrong in it stays in it.
async fn serve(stream: TcpStream, address: SocketAddr, shared: Arc<Shared>) {
    let killing = shared.killing.clone();
    let alive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(SILENCE / 6)
        .with_retries(6);
    if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&alive) {
        tracing::debug!(%address, %error, "the system won't watch the connection");
    }
    let connection = async {
        if let Some((connection, _slot)) = startup::greet(stream, shared).await? {
            connection.run().await?;
        }
        Ok::<(), std::io::Error>(())
    };
    tokio::select! {
        ended = AssertUnwindSafe(connection).catch_unwind() => match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%address, %error, "connection lost"),
            Err(_) => tracing::error!(%address, "connection ended by a bug"),
        },
        // A client that doesn't read would keep the server from stopping.
        () = async { killing.cancelled().await; sleep(LAST_WORD).await } => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
    use tokio_postgres::NoTls;

    use super::*;
    use crate::engine::EngineOptions;

    /// A server whose function `panic_test` panics.
    async fn server() -> (tempfile::TempDir, SocketAddr) {
        let folder = tempfile::tempdir().unwrap();
        let panics = create_udf(
            "panic_test",
            vec![DataType::Int64],
            DataType::Int64,
            Volatility::Volatile,
            Arc::new(|_: &[ColumnarValue]| panic!("a bug of ours")),
        );
        let options = EngineOptions::new(folder.path());
        let engine = Engine::open_with(options, &[panics]).await.unwrap();
        let server = Server::bind(engine, ServerOptions::new("127.0.0.1:0"))
            .await
            .unwrap();
        let address = server.local_addr().unwrap();
        tokio::spawn(server.run(std::future::pending()));
        (folder, address)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_ends_its_statement_and_nothing_else() {
        let (_folder, address) = server().await;
        let url = format!("host=127.0.0.1 port={} user=ana", address.port());
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute("PREPARE kept AS SELECT 7")
            .await
            .unwrap();
        for sql in [
            "SELECT panic_test(1)",
            // In a task of its own, behind an exchange.
            "SELECT count(*) FROM generate_series(1, 100000) AS n GROUP BY panic_test(n) ORDER BY 1",
            "SELECT max(panic_test(n)) FROM generate_series(1, 10) AS n",
        ] {
            let error = client.simple_query(sql).await.unwrap_err();
            let error = error.as_db_error().unwrap().clone();
            assert_eq!(error.code().code(), "XX000", "{sql}: {error}");
            assert!(error.message().contains("a bug of ours"), "{error}");
            let error = client.query(sql, &[]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "XX000", "{sql}");
        }
        // The connection, what it holds, and the server go on.
        client.batch_execute("EXECUTE kept").await.unwrap();
        let (other, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        other.batch_execute("SELECT 1").await.unwrap();
    }
}
