//! The log on stderr: what the server does, for people or for programs.

use std::env;
use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable with a filter such as `info` or `funnelsql::server=debug`; it goes before `log_level`.
const VARIABLE: &str = "FUNNELSQL_LOG";
/// What is said where nobody says what.
const DEFAULT_LEVEL: &str = "error";
/// Slow statements are logged because somebody asked for them, whatever the level is.
const ALWAYS: &str = "slow_statement=info";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line of text for each event.
    Text,
    /// A JSON object for each event, on a line.
    Json,
}

impl LogFormat {
    /// As they are configured.
    pub const NAMES: [(&str, LogFormat); 2] =
        [("text", LogFormat::Text), ("json", LogFormat::Json)];
}

/// Starts the log.
pub fn start(level: Option<&str>, format: LogFormat) {
    let filter = env::var(VARIABLE).ok();
    let filter = filter.as_deref().or(level).unwrap_or(DEFAULT_LEVEL);
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::ERROR.into())
        .parse_lossy(format!("{ALWAYS},{filter}"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false);
    // A log that is already there, as in a test, is as good.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}

/// Whether there is such a level.
///
/// # Errors
/// Where there isn't.
pub fn check_level(level: &str) -> Result<(), ()> {
    level.parse::<LevelFilter>().map(drop).map_err(drop)
}
