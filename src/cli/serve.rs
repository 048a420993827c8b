//! `funnelsql serve`: the server, until it is told to stop.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;

use super::config::Config;
use super::exit::Failure;
use super::{DEFAULT_DATA_DIR, DEFAULT_LISTEN, open_engine};
use crate::error::Error;
use crate::server::{Server, ServerOptions};

/// How long running statements may go on after the server was told to stop.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// Serve a data directory to Postgres clients.
///
/// Ctrl-C and SIGTERM let running statements finish and stop; a second one stops at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  funnelsql serve --listen 0.0.0.0:5477 --data-dir /srv/funnelsql
  psql -h 127.0.0.1 -p 5477 -U analyst funnelsql

A file for --config, each key with its default but the third, which is no limit:
  listen = \"127.0.0.1:5477\"
  data_dir = \"funnelsql-data\"      # from the folder of this file
  memory_limit = \"8GB\"             # for all queries together
  shutdown_grace = \"10s\"           # for statements that run when the server is stopped")]
pub struct Arguments {
    /// Where to listen [default: 127.0.0.1:5477]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where tables and definitions are kept [default: ./funnelsql-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings in TOML; the command line goes before them
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a configuration that can't be read; 1 when the directory or the address can't be had.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = match &arguments.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    let data_dir = arguments.data_dir.or(config.data_dir);
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let listen = arguments.listen.or(config.listen);
    let options = ServerOptions {
        listen: listen.unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
        shutdown_grace: config.shutdown_grace.unwrap_or(DEFAULT_GRACE),
    };
    let engine = open_engine(&data_dir, config.memory_limit).await?;
    let server = Server::bind(engine, options).await?;
    serve(server).await
}

/// Serves until a signal comes, and says on stderr when clients can connect.
///
/// # Errors
/// 58030 when signals can't be waited for.
pub async fn serve(server: Server) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    writeln!(io::stderr(), "ready: listening on {}", server.local_addr()?)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.run(async {
        // Whether it was sent or its sender is gone, the answer is to stop.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return Ok(result?),
        () = signals.next() => {}
    }
    writeln!(
        io::stderr(),
        "stopping: running statements may finish; press Ctrl-C again to end them"
    )?;
    // The receiver is alive: `serving` holds it.
    let _ = stop.send(());
    tokio::select! {
        result = &mut serving => Ok(result?),
        () = signals.next() => Ok(()),
    }
}

/// The signals that stop a server. They are caught from when this is made.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Result<Self, Error> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen =
            |kind| signal(kind).map_err(|error| Error::io("can't wait for signals", error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self, Error> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come.
            std::future::pending::<()>().await;
        }
    }
}
