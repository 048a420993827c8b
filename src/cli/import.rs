//! `funnelsql import`: files of other programs into a table.

mod address;
mod server;

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion_funnel::definition::text::{identifier, literal};
use indicatif::{ProgressBar, ProgressStyle};

use self::address::{Address, Surroundings};
use self::server::Server;
use super::DataDir;
use super::exit::Failure;
use super::format::text_width;
use crate::engine::{Outcome, Session, text_rows};
use crate::error::{ChangeFault, Error};
use crate::import::{
    Column, DateOrder, Format, Import, ImportError, ImportedRows, Input, Options, Progress,
    Reading, Rejects,
};
use crate::postgres::types;

/// Load files into a table
///
/// The files may be CSV (any delimiter and encoding, as Excel writes it too), TSV, JSON lines, Parquet, Arrow, workbooks
/// (.xlsx, .xls, .ods) and XES event logs, compressed with gzip or zstd or not; a folder or a pattern stands for those in it.
/// The types are found out from all rows. The table is made where it isn't there. All rows come in at once, or none.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Example:
  funnelsql import exports/deals-*.csv --into crm.deals --dry-run
  funnelsql import exports/deals-*.csv --into crm.deals --upsert deal_id --rejects rejects.csv
  funnelsql import exports/deals-*.csv --into crm.deals --server postgres://ana@localhost:5477/funnelsql

Exit codes: 0 done; 1 nothing was imported; 2 wrong usage."
)]
pub struct Arguments {
    /// Files, folders, patterns with *
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The table: name, or schema.name
    #[arg(long, value_name = "TABLE")]
    into: String,
    #[command(flatten)]
    data: DataDir,
    /// A running server in the place of --data-dir, or any PostgreSQL: postgres://user@host:port/database. The password is in
    /// PGPASSWORD or ~/.pgpass
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["data_dir", "config"])]
    server: Option<String>,
    /// Say what would be imported, and import nothing
    #[arg(long)]
    dry_run: bool,
    /// Rows with these columns' values replace those that have them already: the table's primary key
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    upsert: Vec<String>,
    /// Where rows that can't be read are written, with reasons; without it one such row stops the import
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// A column's type, such as amount=numeric(12,2)
    #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = column_type)]
    types: Vec<(String, String)>,
    /// What the files are, where their names don't say: csv, tsv, json, parquet, arrow, xlsx, xes
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// What is between fields: a character, or tab
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// The encoding, such as gb18030
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// The first row is data
    #[arg(long)]
    no_header: bool,
    /// A text that stands for NULL, besides the empty one, NULL, \N and Excel's errors
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// The worksheet of a workbook
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// How 03/04/2024 is read where the column doesn't tell
    #[arg(long, value_enum, default_value_t, value_name = "ORDER")]
    date_order: Order,
    /// Keep the columns' names as they are; otherwise "Deal ID" becomes deal_id
    #[arg(long)]
    keep_names: bool,
}

/// The order of a date's parts.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Order {
    #[default]
    Mdy,
    Dmy,
    Ymd,
}

/// Runs the command.
///
/// # Errors
/// Exit code 1 when nothing was imported.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let options = Options {
        format: arguments.format,
        delimiter: arguments.delimiter,
        encoding: arguments.encoding.clone(),
        no_header: arguments.no_header,
        null: arguments.null.clone(),
        sheet: arguments.sheet.clone(),
        date_order: match arguments.date_order {
            Order::Mdy => DateOrder::Mdy,
            Order::Dmy => DateOrder::Dmy,
            Order::Ymd => DateOrder::Ymd,
        },
        keep_names: arguments.keep_names,
    };
    let progress = Arc::new(Progress::default());
    let files = arguments.files.clone();
    let bytes = Import::bytes(&files, options.format).map_err(Error::from)?;
    let bar = Bar::start(&progress, bytes);
    let looked = {
        let progress = Arc::clone(&progress);
        blocking(move || Import::look(&files, options, &progress)).await?
    };
    let mut import = looked.map_err(Error::from)?;
    bar.end();
    for (name, sql_type) in &arguments.types {
        import.read_as(name, sql_type).map_err(Error::from)?;
    }
    let destination = Destination::of(&arguments).await?;
    let table = TableName::of(&arguments.into);
    let existing = existing_columns(&destination, &table).await?;
    if let Some(existing) = &existing {
        fit(&mut import, existing, &table)?;
    }
    report(&import, &table, existing.is_some())?;
    if arguments.dry_run {
        return Ok(());
    }
    load(&destination, import, &arguments, &table, existing).await
}

/// Where the rows go.
enum Destination {
    /// To a data directory that nobody else has open.
    Here(Box<Session>),
    /// To a server.
    There(Server),
}

impl Destination {
    async fn of(arguments: &Arguments) -> Result<Self, Failure> {
        if let Some(text) = &arguments.server {
            let address = Address::of(text, &Surroundings::of_process())?;
            return Ok(Self::There(Server::connect(&address).await?));
        }
        match arguments.data.open().await {
            Ok(engine) => Ok(Self::Here(Box::new(engine.session("funnelsql")))),
            Err(failure) => Err(match failure.error() {
                Some(Error::Change(fault)) if fault.fault == ChangeFault::InUse => {
                    let hint = "Import through it: --server postgres://user@host:5477/funnelsql. Or stop it first.";
                    Failure::from(Error::from(fault.as_ref().clone().hint(hint)))
                }
                _ => failure,
            }),
        }
    }

    /// Runs a statement.
    async fn execute(&self, sql: &str) -> Result<(), Failure> {
        match self {
            Self::Here(session) => execute(session, sql).await.map(|_| ()),
            Self::There(server) => Ok(server.execute(sql).await?),
        }
    }

    /// The rows of a query, as texts; NULL is empty.
    async fn texts(&self, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
        match self {
            Self::Here(session) => texts(session, sql).await,
            Self::There(server) => Ok(server.texts(sql).await?),
        }
    }

    /// Adds rows: all of them, or none. How many there were.
    async fn add(&self, rows: &ImportedRows, wanted: &Wanted) -> Result<u64, Failure> {
        match self {
            Self::Here(session) => {
                let source = session.lend("import", Arc::new(rows.relation()?))?;
                let sql = format!(
                    "INSERT INTO {} ({}) SELECT {} FROM {source}{}",
                    wanted.table,
                    wanted.names_sql(),
                    wanted.values.join(", "),
                    wanted.on_conflict()
                );
                let tag = execute(session, &sql).await?;
                Ok(tag
                    .rsplit(' ')
                    .next()
                    .and_then(|count| count.parse().ok())
                    .unwrap_or(0))
            }
            Self::There(server) => Ok(server.add(rows, wanted).await?),
        }
    }
}

/// What is to be done with rows.
struct Wanted {
    /// The table, as SQL.
    table: String,
    /// The columns of the files.
    names: Vec<String>,
    /// Their types in the table.
    types: Vec<String>,
    /// Their values out of what is read.
    values: Vec<String>,
    /// The columns that tell rows apart.
    upsert: Vec<String>,
}

impl Wanted {
    /// The columns as SQL.
    fn names_sql(&self) -> String {
        let names = self.names.iter().map(|name| identifier(name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// What an `INSERT` says of rows that are there.
    fn on_conflict(&self) -> String {
        if self.upsert.is_empty() {
            return String::new();
        }
        let keys: Vec<String> = self.upsert.iter().map(|key| identifier(key)).collect();
        let others = self.names.iter().filter(|name| !self.upsert.contains(name));
        let changes: Vec<String> = others
            .map(|name| identifier(name))
            .map(|column| format!("{column} = excluded.{column}"))
            .collect();
        let action = match changes.is_empty() {
            true => "DO NOTHING".to_owned(),
            false => format!("DO UPDATE SET {}", changes.join(", ")),
        };
        format!(" ON CONFLICT ({}) {action}", keys.join(", "))
    }
}

/// A table's name in its parts.
struct TableName {
    schema: Option<String>,
    name: String,
}

impl TableName {
    /// Reads `name`, `schema.name`, `"Any Name"`; what isn't quoted is folded as in SQL.
    fn of(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let last = parts.len() - 1;
            match character {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    parts[last].push('"');
                }
                '"' => quoted = !quoted,
                '.' if !quoted && parts.len() == 1 => parts.push(String::new()),
                character if quoted => parts[last].push(character),
                character => parts[last].extend(character.to_lowercase()),
            }
        }
        let name = parts.pop().unwrap_or_default();
        Self {
            schema: parts.pop(),
            name,
        }
    }

    fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", identifier(schema), identifier(&self.name)),
            None => identifier(&self.name),
        }
    }
}

/// A table's columns and their types, where it is there.
async fn existing_columns(
    destination: &Destination,
    table: &TableName,
) -> Result<Option<Vec<(String, String)>>, Failure> {
    let sql = format!(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a \
         WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        literal(&table.sql())
    );
    let rows = destination.texts(&sql).await?;
    let columns: Vec<(String, String)> = rows
        .into_iter()
        .filter_map(|mut row| {
            let sql_type = row.pop()?;
            Some((row.pop()?, sql_type))
        })
        .collect();
    Ok(Some(columns).filter(|columns| !columns.is_empty()))
}

/// Gives the files' columns the types of the table's.
fn fit(import: &mut Import, existing: &[(String, String)], table: &TableName) -> Result<(), Error> {
    let names: Vec<String> = import
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let unknown = names
        .iter()
        .find(|name| existing.iter().all(|(known, _)| known != *name));
    if let Some(name) = unknown {
        return Err(Error::from(ImportError {
            code: "42703",
            message: format!(
                "table \"{}\" has no column \"{name}\", which the files have",
                table.name
            ),
            hint: Some(format!(
                "ALTER TABLE {} ADD COLUMN {} … makes one.",
                table.sql(),
                identifier(name)
            )),
        }));
    }
    for (name, sql_type) in existing {
        if names.contains(name) && !import.columns().is_empty() {
            import.read_as(name, sql_type)?;
        }
    }
    Ok(())
}

/// Says what is in the files.
fn report(import: &Import, table: &TableName, exists: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (files, rows) = (import.inputs().len(), import.rows());
    let into = if exists {
        "into table"
    } else {
        "into new table"
    };
    writeln!(
        out,
        "{files} {}, {rows} {} {into} {}",
        plural(files as u64, "file"),
        plural(rows, "row"),
        table.sql()
    )?;
    let mut lines = vec![["column", "type", "values", "example", ""].map(str::to_owned)];
    for column in import.columns() {
        lines.push([
            column.name.clone(),
            column.sql_type.clone(),
            column.values.to_string(),
            column
                .example
                .clone()
                .unwrap_or_default()
                .replace(['\n', '\r', '\t'], " "),
            column.note.clone().unwrap_or_default(),
        ]);
    }
    if import.columns().is_empty() {
        for field in import.schema().fields() {
            lines.push([
                field.name().clone(),
                field.data_type().to_string(),
                String::new(),
                String::new(),
                String::new(),
            ]);
        }
    }
    let width = |at: usize| {
        lines
            .iter()
            .map(|line| text_width(&line[at]))
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(widths) {
            let _ = write!(text, "  {cell}{}", " ".repeat(width - text_width(cell)));
        }
        let _ = write!(text, "  {}", line[4]);
        writeln!(out, "{}", text.trim_end())?;
    }
    for note in import.notes() {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

/// Makes the table where it isn't there, and puts the rows into it: all of them, or none.
async fn load(
    destination: &Destination,
    import: Import,
    arguments: &Arguments,
    table: &TableName,
    existing: Option<Vec<(String, String)>>,
) -> Result<(), Failure> {
    let columns = column_types(&import);
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let unknown = arguments.upsert.iter().find(|key| !names.contains(key));
    if let Some(key) = unknown {
        return Err(Failure::usage(
            format!("the files have no column \"{key}\" to find rows by"),
            format!("They have {}.", names.join(", ")),
        ));
    }
    if existing.is_none() {
        create(destination, &columns, arguments, table).await?;
    }
    let known = existing.as_deref().unwrap_or(&columns);
    let type_of = |name: &String| {
        let found = known.iter().find(|(known, _)| known == name);
        found.map_or_else(|| "text".to_owned(), |(_, sql_type)| sql_type.clone())
    };
    let wanted = Wanted {
        table: table.sql(),
        types: names.iter().map(type_of).collect(),
        values: match import.columns() {
            [] => names.iter().map(|name| identifier(name)).collect(),
            columns => columns.iter().map(value).collect(),
        },
        names,
        upsert: arguments.upsert.clone(),
    };
    let progress = Arc::new(Progress::default());
    let bytes = import.inputs().iter().map(Input::size).sum();
    let bar = Bar::start(&progress, bytes);
    let rows = ImportedRows::new(import, progress, arguments.rejects.clone());
    let count = destination.add(&rows, &wanted).await;
    bar.end();
    let rejects = rows.rejects();
    say_rejects(&rejects)?;
    let count = match count {
        Ok(count) => count,
        Err(failure) => {
            if existing.is_none() {
                // A table that was made for rows that didn't come is nothing that anybody asked for. Where the server is
                // gone, that it is gone is what is to be told.
                let drop = format!("DROP TABLE {}", table.sql());
                let _ = destination.execute(&drop).await;
            }
            return Err(failure);
        }
    };
    writeln!(
        io::stdout(),
        "{count} {} imported into {}",
        plural(count, "row"),
        table.sql()
    )?;
    Ok(())
}

/// A column of the files as a value of the table's. What is read as its type becomes it by assignment, which refuses a text
/// that is too long for a varchar; a cast would cut it off. Only types that no text is assigned to are cast.
fn value(column: &Column) -> String {
    let name = identifier(&column.name);
    let takes_text = ["text", "character", "varchar", "char", "bpchar"];
    let is_text = takes_text
        .iter()
        .any(|kind| column.sql_type.starts_with(kind));
    match column.reading == Reading::Text && !is_text {
        true => format!("CAST({name} AS {})", column.sql_type),
        false => name,
    }
}

/// Says which rows were put aside.
fn say_rejects(rejects: &Rejects) -> io::Result<()> {
    let mut err = io::stderr().lock();
    for reject in rejects.first() {
        writeln!(
            err,
            "rejected: {}, line {}: {}",
            reject.file.display(),
            reject.line,
            reject.reason
        )?;
    }
    if let Some(path) = rejects.path() {
        writeln!(
            err,
            "{} {} in {}",
            rejects.count(),
            plural(rejects.count(), "reject"),
            path.display()
        )?;
    }
    Ok(())
}

/// The columns of the files and the types that a table made for them has.
fn column_types(import: &Import) -> Vec<(String, String)> {
    match import.columns() {
        [] => import
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let sql_type =
                    types::natural(field.data_type()).unwrap_or_else(|| "text".to_owned());
                (field.name().clone(), sql_type)
            })
            .collect(),
        columns => columns
            .iter()
            .map(|column| (column.name.clone(), column.sql_type.clone()))
            .collect(),
    }
}

async fn create(
    destination: &Destination,
    columns: &[(String, String)],
    arguments: &Arguments,
    table: &TableName,
) -> Result<(), Failure> {
    if let Some(schema) = &table.schema {
        let schema = identifier(schema);
        destination
            .execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))
            .await?;
    }
    let mut columns: Vec<String> = columns
        .iter()
        .map(|(name, sql_type)| format!("{} {sql_type}", identifier(name)))
        .collect();
    if !arguments.upsert.is_empty() {
        let keys: Vec<String> = arguments.upsert.iter().map(|key| identifier(key)).collect();
        columns.push(format!("PRIMARY KEY ({})", keys.join(", ")));
    }
    let sql = format!("CREATE TABLE {} ({})", table.sql(), columns.join(", "));
    destination.execute(&sql).await
}

/// Runs one statement; its tag.
async fn execute(session: &Session, sql: &str) -> Result<String, Failure> {
    let mut done = String::new();
    for statement in session.parse(sql)? {
        if let Outcome::Done { tag, .. } = session.execute_statement(statement).await? {
            done = tag.to_string();
        }
    }
    Ok(done)
}

/// The rows of a query, as texts; NULL is empty.
async fn texts(session: &Session, sql: &str) -> Result<Vec<Vec<String>>, Failure> {
    let mut rows = Vec::new();
    for batch in session.query(sql).await? {
        let texts = text_rows(&batch)?;
        rows.extend(
            texts
                .into_iter()
                .map(|row| row.into_iter().map(Option::unwrap_or_default).collect()),
        );
    }
    Ok(rows)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::io("the import was ended by a bug", io::Error::other(error)))
}

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// What is drawn on a terminal while files are read; nothing elsewhere.
struct Bar {
    bar: ProgressBar,
    drawing: Option<tokio::task::JoinHandle<()>>,
}

impl Bar {
    /// A bar of so many bytes.
    fn start(progress: &Arc<Progress>, bytes: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self {
                bar: ProgressBar::hidden(),
                drawing: None,
            };
        }
        let bar = ProgressBar::new(bytes);
        let template = "{bar:40} {bytes}/{total_bytes}, {msg} rows, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let (shown, progress) = (bar.clone(), Arc::clone(progress));
        let drawing = tokio::spawn(async move {
            loop {
                shown.set_position(progress.bytes.load(Ordering::Relaxed));
                shown.set_message(progress.rows.load(Ordering::Relaxed).to_string());
                tokio::time::sleep(TICK).await;
            }
        });
        Self {
            bar,
            drawing: Some(drawing),
        }
    }

    fn end(self) {
        if let Some(drawing) = self.drawing {
            drawing.abort();
        }
        self.bar.finish_and_clear();
    }
}

fn format(name: &str) -> Result<Format, String> {
    Format::parse(name)
        .ok_or_else(|| "it is csv, tsv, json, parquet, arrow, xlsx or xes".to_owned())
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [byte] if *byte != b'"' && byte.is_ascii() && !byte.is_ascii_alphanumeric() => Ok(*byte),
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        _ => Err("it is one character, or tab".to_owned()),
    }
}

fn column_type(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, sql_type)) if !column.trim().is_empty() && !sql_type.trim().is_empty() => {
            Ok((column.trim().to_owned(), sql_type.trim().to_owned()))
        }
        _ => Err("it is COLUMN=TYPE".to_owned()),
    }
}
