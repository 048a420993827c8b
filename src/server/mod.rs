//! The Postgres wire protocol: whoever speaks it can query the engine.
//!
//! ```text
//! Server ── accepts ──► startup: TLS, startup packet, auth ──► Connection: one client, one Session
//!    │                     └─ CancelRequest ──► cancel::Registry ──► the statement of a connection
//!    └─ two tokens: `stopping` (start nothing new), `killing` (end what runs)
//! ```
//!
//! The messages and their encodings are pgwire's. The loop that reads them is our own, because pgwire's
//! collects a portal's rows in memory, stops only the planning of a canceled statement, and can't be told
//! that the server is about to stop.

mod auth;
mod cancel;
mod connection;
mod copy;
mod cursors;
mod extended;
mod failure;
mod limits;
mod notifications;
mod parameters;
mod rows;
mod socket;
mod startup;
mod threads;
mod transaction;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pgwire::api::RandomPidSecretKeyGenerator;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::{Activity, Engine};
use crate::error::{Error, Result};
use cancel::Registry;
use notifications::Exchange;
use threads::Threads;

pub use threads::STACK_BYTES;

/// How long to wait after the system refused a connection, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that is being ended may take to tell its client so.
const LAST_WORD: Duration = Duration::from_millis(500);

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where to listen: `127.0.0.1:5433`; port 0 is any free one.
    pub listen: String,
    /// How long statements that run when the server is stopped may go on.
    pub shutdown_grace: Duration,
}

/// A server that listens and doesn't accept yet.
#[derive(Debug)]
pub struct Server {
    /// Dropping it refuses new connections.
    listener: TcpListener,
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
    /// Where statements run; dropped with the last connection.
    threads: Threads,
    /// Numbers connections and draws their secrets.
    keys: RandomPidSecretKeyGenerator,
    /// Signaled once by the server: a connection ends as soon as it has nothing to do.
    stopping: CancellationToken,
    /// Signaled once by the server, when the grace is over: a connection ends now.
    killing: CancellationToken,
}

impl Server {
    /// Takes the address; clients can connect from here on and are answered once the server runs.
    ///
    /// # Errors
    /// F0000 when somebody else has the address, 58030 when it can't be had for another reason.
    pub async fn bind(engine: Arc<Engine>, options: ServerOptions) -> Result<Self> {
        let listener = TcpListener::bind(&options.listen)
            .await
            .map_err(|error| bind_error(&options.listen, error))?;
        let shared = Shared {
            engine,
            registry: Arc::default(),
            exchange: Arc::default(),
            threads: Threads::start()
                .map_err(|error| Error::io("can't start the threads of queries", error))?,
            keys: RandomPidSecretKeyGenerator::default(),
            stopping: CancellationToken::new(),
            killing: CancellationToken::new(),
        };
        let shared = Arc::new(shared);
        let activity = Arc::clone(&shared.registry) as Arc<dyn Activity>;
        shared.engine.attach(activity);
        Ok(Self {
            listener,
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

    /// Serves clients until `shutdown` is done, then stops: idle connections at once, statements that run
    /// when they end or when the grace is over.
    ///
    /// # Errors
    /// None today; it may come to report what kept it from serving.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let Self {
            listener,
            options,
            shared,
            connections,
        } = self;
        tokio::pin!(shutdown);
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
        Ok(())
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
    let connection = async {
        if let Some(connection) = startup::greet(stream, shared).await? {
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
