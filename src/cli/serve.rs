//! `funnelsql serve`: the server, until it is told to stop.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::sync::oneshot;

use super::config::Config;
use super::exit::Failure;
use super::log::LogFormat;
use super::{DEFAULT_DATA_DIR, DEFAULT_LISTEN, admin, config, log};
use crate::engine::Engine;
use crate::error::Error;
use crate::server::rules::{Addresses, Method, Rule};
use crate::server::{Reloader, Server};

/// Serve a data directory to Postgres clients.
///
/// Clients of this machine need no password until a role has one. Clients of other machines always do, and TLS.
/// Where passwords are needed and no superuser has one, the role admin is made; its password is generated and shown
/// once, unless it is given by --admin-password-file or FUNNELSQL_ADMIN_PASSWORD.
///
/// Ctrl-C and SIGTERM let running statements finish and stop; a second one stops at once. SIGHUP reads the files of
/// TLS again.
#[derive(Debug, clap::Args)]
#[command(after_help = help())]
pub struct Arguments {
    /// Where to listen [default: 127.0.0.1:5477]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where tables and definitions are kept: a folder, or s3://bucket/prefix [default: ./funnelsql-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings in TOML; the command line goes before them
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The server's certificate in PEM, with those between it and its root
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// The roots of clients' certificates in PEM
    #[arg(long, value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// How the log on stderr is written [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Where /healthz, /readyz and /metrics answer [default: nowhere]
    #[arg(long, value_name = "HOST:PORT")]
    metrics_listen: Option<String>,
    /// The password of the role admin, where it is made
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
}

fn help() -> String {
    format!(
        "\
Example:
  funnelsql serve --listen 127.0.0.1:5477 --data-dir /srv/funnelsql
  psql -h 127.0.0.1 -p 5477 -U analyst funnelsql

A file for --config, with what holds without it. Paths start at its folder. A variable of the environment goes before
the file (FUNNELSQL_LISTEN for listen), the command line before both; funnelsql config show FILE says what holds.
{}",
        config::keys::example()
    )
}

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a configuration that can't be read; 1 when the directory, the address or TLS can't be had.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut config = Config::read(arguments.config.as_deref())?;
    let format = arguments.log_format.or(config.log_format);
    log::start(
        config.log_level.as_deref(),
        format.unwrap_or(LogFormat::Text),
    );
    config.tls_cert = arguments.tls_cert.or(config.tls_cert);
    config.tls_key = arguments.tls_key.or(config.tls_key);
    config.tls_client_ca = arguments.tls_client_ca.or(config.tls_client_ca);
    config.metrics_listen = arguments.metrics_listen.or(config.metrics_listen);
    let listen = arguments.listen.or(config.listen.take());
    let options = config.server_options(listen.unwrap_or_else(|| DEFAULT_LISTEN.to_owned()))?;
    let password = admin::given(
        arguments
            .admin_password_file
            .or(config.admin_password_file.take()),
    )?;
    let data_dir = arguments.data_dir.or(config.data_dir.take());
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let engine = Engine::open(config.engine_options(data_dir)?).await?;
    let has_tls = options.tls.is_some();
    let rules = options.rules.clone();
    let server = Server::bind(std::sync::Arc::clone(&engine), options).await?;
    let address = server.local_addr()?;
    if asks_for_passwords(rules.as_deref(), address) || password.is_some() {
        admin::ensure(&engine, password).await?;
    }
    warn(rules.as_deref(), address, has_tls)?;
    serve(server).await
}

fn asks_for_passwords(rules: Option<&[Rule]>, address: SocketAddr) -> bool {
    match rules {
        Some(rules) => rules.iter().any(|rule| rule.method == Method::Scram),
        None => !address.ip().is_loopback(),
    }
}

/// Says on stderr what an administrator may not have meant.
fn warn(rules: Option<&[Rule]>, address: SocketAddr, has_tls: bool) -> io::Result<()> {
    let mut stderr = io::stderr();
    if address.ip().is_loopback() {
        return Ok(());
    }
    let trusts = |rule: &Rule| rule.method == Method::Trust && rule.address != Addresses::Loopback;
    match rules {
        None if !has_tls => writeln!(
            stderr,
            "warning: clients of other machines are refused, because passwords need TLS there; set tls_cert and tls_key, \
             or admit them by rules ([[auth]])"
        ),
        Some(rules) if rules.iter().any(trusts) => writeln!(
            stderr,
            "warning: a rule ([[auth]]) trusts clients of other machines, whoever they say they are"
        ),
        _ => Ok(()),
    }
}

/// Serves until a signal comes, and says on stderr when clients can connect.
///
/// # Errors
/// 58030 when signals can't be waited for.
pub async fn serve(server: Server) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    writeln!(io::stderr(), "ready: listening on {}", server.local_addr()?)?;
    let reloader = server.reloader();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.run(async {
        // Whether it was sent or its sender is gone, the answer is to stop.
        let _ = stopped.await;
    });
    tokio::pin!(serving);
    tokio::select! {
        result = &mut serving => return Ok(result?),
        () = signals.stop(&reloader) => {}
    }
    writeln!(
        io::stderr(),
        "stopping: running statements may finish; press Ctrl-C again to end them"
    )?;
    // The receiver is alive: `serving` holds it.
    let _ = stop.send(());
    tokio::select! {
        result = &mut serving => Ok(result?),
        () = signals.stop(&reloader) => Ok(()),
    }
}

/// What SIGHUP asks for; a fault leaves everything as it is.
fn reload(reloader: &Reloader) {
    let mut stderr = io::stderr();
    // There is nowhere left to say that stderr can't be written.
    let _ = match reloader.reload() {
        Ok(()) => writeln!(
            stderr,
            "reloaded: new connections use the files of TLS as they are now"
        ),
        Err(error) => {
            tracing::error!(%error, "the files of TLS can't be used; those read before go on being used");
            writeln!(stderr, "not reloaded: {error}")
        }
    };
}

/// The signals that a server listens to. They are caught from when this is made.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
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
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one that stops the server, and does what the others ask for meanwhile.
    async fn stop(&mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => reload(reloader),
            }
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Result<Self, Error> {
        Ok(Self {})
    }

    async fn stop(&mut self, _reloader: &Reloader) {
        if tokio::signal::ctrl_c().await.is_err() {
            // No signal will ever come.
            std::future::pending::<()>().await;
        }
    }
}
