//! A file of SQLite's, opened to be read and never written: each query opens it, which costs next to nothing.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use super::columns::literal;
use super::remote::Sender;
use super::rows::Texts;
use super::settings::{Settings, Wrapper};
use crate::error::{Error, ForeignFault, Result};

/// How long a writer is waited for.
const LONGEST_LOCK: std::time::Duration = std::time::Duration::from_secs(10);

/// Sends a query and its rows.
///
/// # Errors
/// 08001 for a file that can't be opened, and SQLite's own.
pub async fn send(settings: &Settings, sql: &str, width: usize, sender: &Sender) -> Result<()> {
    let (settings, sql, rows) = (settings.clone(), sql.to_owned(), sender.clone());
    let (give_handle, handle) = oneshot::channel();
    let work = tokio::task::spawn_blocking(move || {
        let path = settings.option("database").unwrap_or_default();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let unreachable = |error: &rusqlite::Error| settings.unreachable(&error.to_string());
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|error| unreachable(&error))?;
        connection
            .busy_timeout(LONGEST_LOCK)
            .map_err(|error| unreachable(&error))?;
        // Whoever wanted to interrupt may be gone.
        let _ = give_handle.send(connection.get_interrupt_handle());
        select(&connection, &sql, width, &rows).map_err(|error| fault(&settings, &error))
    });
    tokio::pin!(work);
    let done = tokio::select! {
        biased;
        done = &mut work => done,
        () = sender.closed() => {
            if let Ok(handle) = handle.await {
                handle.interrupt();
            }
            work.await
        }
    };
    done.map_err(|error| {
        ForeignFault::Remote.error(format!("reading a file of SQLite's: {error}"), None)
    })?
}

fn select(
    connection: &Connection,
    sql: &str,
    width: usize,
    sender: &Sender,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut texts = Texts::new(width);
    while let Some(row) = rows.next()? {
        for column in 0..width {
            match row.get_ref(column)? {
                ValueRef::Null => texts.value(column, None),
                ValueRef::Integer(number) => texts.value(column, Some(&number.to_string())),
                ValueRef::Real(number) => texts.value(column, Some(&number.to_string())),
                ValueRef::Text(text) => texts.value(column, Some(&String::from_utf8_lossy(text))),
                ValueRef::Blob(bytes) => texts.value(column, Some(&hex(bytes))),
            }
        }
        texts.end_row();
        if texts.is_full() {
            let full = std::mem::replace(&mut texts, Texts::new(width));
            if sender.blocking_send(Ok(full)).is_err() {
                return Ok(());
            }
        }
    }
    if !texts.is_empty() {
        // Whoever is gone misses nothing.
        let _ = sender.blocking_send(Ok(texts));
    }
    Ok(())
}

/// Bytes as Postgres writes them.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a text can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn fault(settings: &Settings, error: &rusqlite::Error) -> Error {
    let said = match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let message = format!("server \"{}\": {said}", settings.server);
    match () {
        () if said.starts_with("no such table") => ForeignFault::MissingTable.error(
            message,
            Some("The table there is gone, or has another name: DROP FOREIGN TABLE, and make it again."),
        ),
        () if said.starts_with("no such column") => ForeignFault::MissingColumn.error(
            message,
            Some("The table there has changed: DROP FOREIGN TABLE, and make it again."),
        ),
        () if said.contains("not a database") => settings.unreachable(&said),
        () => ForeignFault::Remote.error(message, None),
    }
}

/// The query for a table's columns: name, type, 1 where it is never NULL.
pub fn columns_query(schema: Option<&str>, table: &str) -> Option<String> {
    let schema = literal(Wrapper::Sqlite, schema.unwrap_or("main"))?;
    let table = literal(Wrapper::Sqlite, table)?;
    Some(format!(
        "SELECT name, type, CASE WHEN \"notnull\" THEN 1 ELSE 0 END FROM pragma_table_info({table}, {schema}) ORDER BY cid"
    ))
}

/// The query for the names of the file's tables.
pub fn tables_query(schema: &str) -> Option<String> {
    // A file has one schema of its own.
    let found = ["main", "public"].contains(&schema);
    found.then(|| {
        "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1"
            .to_owned()
    })
}
