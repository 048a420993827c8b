//! `funnelsql config`: looks at a configuration without starting anything.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::DEFAULT_LISTEN;
use toml::Value;

use super::config::keys::KEYS;
use super::config::{Config, Origin};
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
    /// Print what holds: of a file for serve --config, of the environment, and of neither.
    #[command(after_help = "Example:\n  funnelsql config show /etc/funnelsql.toml")]
    Show {
        /// The file
        #[arg(value_name = "FILE.toml")]
        file: Option<PathBuf>,
    },
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
    match &arguments.command {
        Command::Show { file } => show(file.as_deref()),
        Command::Check { file } => check(file),
    }
}

/// A file that says the same as what was read.
fn show(file: Option<&Path>) -> Result<(), Failure> {
    let config = Config::read(file)?;
    let mut out = io::stdout();
    for key in KEYS {
        let (line, place) = match (config.written.get(key.name), key.default) {
            (Some((Value::Table(table), _)), _) => {
                writeln!(out, "\n[{}]\n{}", key.name, table.to_string().trim_end())?;
                continue;
            }
            (Some((value, Origin::File(_))), _) => (format!("{} = {value}", key.name), "file"),
            (Some((value, Origin::Variable)), _) => {
                (format!("{} = {value}", key.name), "environment")
            }
            (None, Some(default)) => (format!("{} = {default}", key.name), "default"),
            (None, None) => (format!("# {} is absent", key.name), "default"),
        };
        writeln!(out, "{line:<44} # {place}: {}", key.meaning)?;
    }
    Ok(())
}

fn check(file: &Path) -> Result<(), Failure> {
    let config = Config::read(Some(file))?;
    config.engine_options(PathBuf::new())?;
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
