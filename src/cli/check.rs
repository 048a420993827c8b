//! `funnelsql config`: looks at a configuration without starting anything.

use std::io::{self, Write};
use std::path::PathBuf;

use super::DEFAULT_LISTEN;
use super::config::Config;
use super::exit::Failure;
use crate::server::Tls;

/// Look at a configuration.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Find faults in a file for serve --config, and in the files of TLS that it names.
    #[command(after_help = "Example:\n  funnelsql config check /etc/funnelsql.toml")]
    Check {
        /// The file
        #[arg(value_name = "FILE.toml")]
        file: PathBuf,
    },
}

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a fault in the file; 1 for TLS files that can't be used.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Command::Check { file } = &arguments.command;
    let config = Config::read(file)?;
    let listen = config
        .listen
        .clone()
        .unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let options = config.server_options(listen)?;
    if let Some(files) = &options.tls {
        Tls::load(files)?;
    }
    writeln!(io::stdout(), "\"{}\" has no faults", file.display())?;
    Ok(())
}
