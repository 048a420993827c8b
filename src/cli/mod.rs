//! The `funnelsql` command: `serve`, `sql`, `import`, `demo`, `config`.
//!
//! Data go to stdout, everything else to stderr, without colour. Exit codes: 0 done; 1 failed; 2 the
//! command line or the configuration can't be read; 3 a script stopped midway.

mod admin;
mod check;
mod config;
mod demo;
mod exit;
mod format;
mod import;
mod log;
mod machine;
mod report;
pub mod script;
mod serve;
mod sql;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ColorChoice, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::engine::{Engine, EngineOptions};
use crate::error::Error;
use crate::server::STACK_BYTES;
use config::Config;
use exit::Failure;
use log::LogFormat;

/// Where tables and definitions are kept, unless the user says otherwise.
const DEFAULT_DATA_DIR: &str = "./funnelsql-data";
/// Where the server listens, unless the user says otherwise. Not Postgres' port: both may run.
const DEFAULT_LISTEN: &str = "127.0.0.1:5477";

/// FunnelSQL: funnel analytics that any SQL client can query.
#[derive(Debug, Parser)]
#[command(
    name = "funnelsql",
    version,
    color = ColorChoice::Never,
    arg_required_else_help = true,
    after_help = "Example:\n  funnelsql demo\n\nThe log on stderr shows errors; FUNNELSQL_LOG=info (warn, debug, …) shows more."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Sql(sql::Arguments),
    Import(import::Arguments),
    Demo(demo::Arguments),
    Config(check::Arguments),
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    match start(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(error) = failure.error() {
                // There is nowhere left to say that stderr can't be written.
                let _ = report::write_error(&mut io::stderr(), "", error, "");
            }
            failure.exit_code()
        }
    }
}

fn start(command: Command) -> Result<(), Failure> {
    // A server's log begins when its configuration has been read.
    if !matches!(command, Command::Serve(_)) {
        log::start(None, LogFormat::Text);
    }
    let runtime = runtime()?;
    // A task of its own, so that it runs on a thread with the large stack and not on this one.
    let ended = runtime.block_on(runtime.spawn(run(command)));
    // A query that is still reading a file must not keep the command from ending.
    runtime.shutdown_background();
    match ended {
        Ok(result) => result,
        Err(error) => {
            Err(Error::io("the command was ended by a bug", io::Error::other(error)).into())
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Sql(arguments) => sql::run(arguments).await,
        Command::Import(arguments) => import::run(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Config(arguments) => check::run(&arguments),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|error| Error::io("can't start threads", error).into())
}

/// The data directory of a command that needs no server.
#[derive(Debug, clap::Args)]
struct DataDir {
    /// Where tables and definitions are kept: a folder, or s3://bucket/prefix [default: ./funnelsql-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's settings in TOML: its data_dir, its stores, its limits. The command line goes before them
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
}

impl DataDir {
    /// Opens it, as a server with that configuration would.
    ///
    /// # Errors
    /// Exit code 2 for a configuration that can't be read; 1 when the directory can't be had.
    async fn open(&self) -> Result<Arc<Engine>, Failure> {
        let Some(file) = &self.config else {
            let folder = self.data_dir.as_deref();
            return open_engine(folder.unwrap_or(Path::new(DEFAULT_DATA_DIR))).await;
        };
        let mut config = Config::read(Some(file))?;
        let folder = self.data_dir.clone().or(config.data_dir.take());
        let folder = folder.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let mut options = config.engine_options(folder)?;
        // What is written down is what clients of a server did.
        options.audit = None;
        Ok(Engine::open(options).await?)
    }
}

async fn open_engine(data_dir: &Path) -> Result<Arc<Engine>, Failure> {
    Ok(Engine::open(EngineOptions::new(data_dir)).await?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_has_no_contradictions() {
        Cli::command().debug_assert();
    }
}
