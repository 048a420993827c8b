//! `funnelsql demo`: a made-up company's sales, three funnels over them, and a server.

mod text;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;

use super::exit::Failure;
use super::serve::serve;
use super::{DEFAULT_LISTEN, open_engine};
use crate::catalog::TABLES_FOLDER;
use crate::error::{Error, Result};
use crate::sample::{Language, SampleOptions, write_sample};
use crate::server::{Server, ServerOptions};

/// The schema of the sample tables.
const SCHEMA: &str = "crm";

/// Try it: make sample data, define three funnels over them, and serve them.
///
/// Data that are already there are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  funnelsql demo --lang zh
  psql -h 127.0.0.1 -p 5477 -U analyst funnelsql")]
pub struct Arguments {
    /// The language of the data: en or zh
    #[arg(long, default_value = "en")]
    lang: Language,
    /// Where to listen
    #[arg(long, value_name = "HOST:PORT", default_value = DEFAULT_LISTEN)]
    listen: String,
    /// Where the data are kept [default: ./funnelsql-demo-en, or -zh]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many leads the company has, when its data are made
    #[arg(long, value_name = "N", default_value_t = SampleOptions::default().leads)]
    leads: usize,
}

/// Runs the command.
///
/// # Errors
/// F0000 when the address is taken; 58030 when the directory can't be written.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        lang: language,
        listen,
        data_dir,
        leads,
    } = arguments;
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(text::default_data_dir(language)));
    if crate::storage::is_store(&data_dir) {
        return Err(Failure::from(Error::Unsupported {
            message: "the sample company is made in a folder of this machine".to_owned(),
            hint: Some("Name a folder by --data-dir, or leave it out.".to_owned()),
        }));
    }
    check_address(&listen).await?;
    make_data(
        &data_dir,
        SampleOptions {
            leads,
            language,
            ..SampleOptions::default()
        },
    )
    .await?;
    let engine = open_engine(&data_dir).await?;
    engine
        .session("funnelsql")
        .run(text::funnels(language))
        .await?;
    let server = Server::bind(engine, ServerOptions::new(listen)).await?;
    let mut out = io::stdout();
    write!(out, "{}", text::welcome(language, server.local_addr()?))?;
    out.flush()?;
    serve(server).await
}

/// Finds out that the address is taken before the data are made, which takes a while. The server binds
/// it afterwards: the data have to be there when the engine opens.
async fn check_address(listen: &str) -> Result<()> {
    match TcpListener::bind(listen).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(Error::Configuration {
            message: format!("address {listen} is already in use"),
            hint: "Stop the server that uses it, or choose another address, such as --listen 127.0.0.1:5478."
                .to_owned(),
        }),
        Err(error) => Err(Error::io(format!("can't listen on {listen}"), error)),
        Ok(_) => Ok(()),
    }
}

/// Writes the sample tables, unless they are there.
async fn make_data(data_dir: &Path, options: SampleOptions) -> Result<(), Failure> {
    let tables = data_dir.join(TABLES_FOLDER);
    let schema = tables.join(SCHEMA);
    if schema.exists() {
        writeln!(
            io::stderr(),
            "{}",
            text::data_found(options.language, &schema)
        )?;
        return Ok(());
    }
    writeln!(
        io::stderr(),
        "{}",
        text::making_data(options.language, &schema, options.leads)
    )?;
    // The folder gets its name when all tables are in it: after a run that was stopped midway the next
    // one starts anew.
    let partial = data_dir.join(format!("{SCHEMA}.partial"));
    let written = partial.clone();
    let made = tokio::task::spawn_blocking(move || write_sample(&written, &options)).await;
    made.map_err(|error| Error::io("can't make the sample data", io::Error::other(error)))??;
    let moved = fs::create_dir_all(&tables).and_then(|()| fs::rename(&partial, &schema));
    moved.map_err(|error| Error::io(format!("can't make \"{}\"", schema.display()), error))?;
    Ok(())
}
