//! MySQL and MariaDB. Queries go by the text protocol.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion_table_providers::sql::db_connection_pool::dbconnection::mysqlconn::MySQLConnection;
use datafusion_table_providers::sql::db_connection_pool::mysqlpool::{
    Error as PoolError, MySQLConnectionPool,
};
use datafusion_table_providers::util::secrets::to_secret_map;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};
use tokio::time::timeout;

use super::columns::literal;
use super::remote::{LONGEST_END, Sender, Unreachable, root_cause};
use super::rows::Texts;
use super::settings::{Settings, Wrapper};
use crate::error::{Error, ForeignFault, Result};

/// A connection out of the pool.
pub type Connection = MySQLConnection;

impl From<PoolError> for Unreachable {
    fn from(error: PoolError) -> Self {
        Self::Because(root_cause(&error))
    }
}

/// Connects, once, to see that it can.
///
/// # Errors
/// Why it can't.
pub async fn pool(settings: &Settings, size: usize) -> Result<MySQLConnectionPool, Unreachable> {
    let modes: &[&str] = match settings.sslmode() {
        "disable" => &["disabled"],
        // The driver takes a server without TLS for a fault.
        "prefer" => &["preferred", "disabled"],
        _ => &["required"],
    };
    let mut last = Unreachable::Because("it was not tried".to_owned());
    for mode in modes {
        match MySQLConnectionPool::new(to_secret_map(parameters(settings, size, mode)?)).await {
            Ok(pool) => return Ok(pool),
            Err(error) => {
                let reason = root_cause(&error);
                let without_tls = reason.contains("SSL") || reason.contains("TLS");
                last = Unreachable::Because(reason);
                if !without_tls {
                    break;
                }
            }
        }
    }
    Err(last)
}

fn parameters(settings: &Settings, size: usize, sslmode: &str) -> Result<HashMap<String, String>> {
    let mut parameters = HashMap::from([
        ("host".to_owned(), settings.host().to_owned()),
        ("tcp_port".to_owned(), settings.port().to_string()),
        ("sslmode".to_owned(), sslmode.to_owned()),
        ("pool_min".to_owned(), "0".to_owned()),
        ("pool_max".to_owned(), size.to_string()),
    ]);
    let mut give = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parameters.insert(name.to_owned(), value);
        }
    };
    give("user", settings.credentials.user.clone());
    give("db", settings.option("dbname").map(str::to_owned));
    give("pass", settings.password()?);
    give(
        "sslrootcert",
        settings.option("sslrootcert").map(str::to_owned),
    );
    Ok(parameters)
}

/// Sends a query and its rows.
///
/// # Errors
/// The server's.
pub async fn send(
    connection: Connection,
    settings: &Settings,
    sql: &str,
    width: usize,
    sender: &Sender,
) -> Result<()> {
    let mut connection = Arc::clone(&connection.conn).lock_owned().await;
    let number = connection.id();
    let reading = async {
        let mut rows = connection.query_iter(sql).await?;
        let mut texts = Texts::new(width);
        while let Some(row) = rows.next().await? {
            for column in 0..width {
                texts.value(column, text(&row, column).as_deref());
            }
            texts.end_row();
            if texts.is_full() {
                let full = std::mem::replace(&mut texts, Texts::new(width));
                if sender.send(Ok(full)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !texts.is_empty() {
            // Whoever is gone misses nothing.
            let _ = sender.send(Ok(texts)).await;
        }
        Ok::<(), mysql_async::Error>(())
    };
    let done = tokio::select! {
        biased;
        () = sender.closed() => None,
        done = reading => Some(done),
    };
    if sender.is_closed() && !matches!(done, Some(Err(_))) {
        kill(settings, number).await;
    }
    match done {
        Some(Err(error)) => Err(fault(settings, &error)),
        Some(Ok(())) | None => Ok(()),
    }
}

/// A value as the text that it was sent as. The day 0 of the year 0, which MySQL keeps where there is no date, is NULL.
fn text(row: &Row, column: usize) -> Option<String> {
    let kind = row.columns_ref().get(column)?.column_type();
    let is_date = matches!(
        kind,
        ColumnType::MYSQL_TYPE_DATE
            | ColumnType::MYSQL_TYPE_DATETIME
            | ColumnType::MYSQL_TYPE_TIMESTAMP
    );
    match row.as_ref(column)? {
        Value::NULL => None,
        Value::Bytes(bytes) if is_date && bytes.starts_with(b"0000-00-00") => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

/// Ends what a connection does, over another one.
async fn kill(settings: &Settings, number: u32) {
    let killing = async {
        let pool = match pool(settings, 1).await {
            Ok(pool) => pool,
            Err(Unreachable::Known(error)) => return Err(error.to_string()),
            Err(Unreachable::Because(reason)) => return Err(reason),
        };
        let connection = pool.connect_direct().await;
        let connection = connection.map_err(|error| root_cause(&error))?;
        let mut connection = connection.conn.lock().await;
        let killed = connection.query_drop(format!("KILL QUERY {number}")).await;
        killed.map_err(|error| error.to_string())
    };
    match timeout(LONGEST_END, killing).await {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => {
            tracing::warn!(
                server = settings.server,
                reason,
                "a query could not be canceled"
            );
        }
        Err(_) => tracing::warn!(server = settings.server, "a canceled query goes on"),
    }
}

fn fault(settings: &Settings, error: &mysql_async::Error) -> Error {
    let mysql_async::Error::Server(said) = error else {
        return settings.unreachable(&root_cause(error));
    };
    let message = format!("server \"{}\": {}", settings.server, said.message);
    match said.code {
        // No such table, no such database.
        1146 | 1049 => ForeignFault::MissingTable.error(message, Some("The table there is gone, or has another name: DROP FOREIGN TABLE, and make it again.")),
        // No such column.
        1054 => ForeignFault::MissingColumn.error(message, Some("The table there has changed: DROP FOREIGN TABLE, and make it again.")),
        _ => ForeignFault::Remote.error(message, None),
    }
}

/// The query for a table's columns: name, type, 1 where it is never NULL.
pub fn columns_query(schema: Option<&str>, table: &str) -> Option<String> {
    let schema = match schema {
        Some(schema) => literal(Wrapper::MySql, schema)?,
        None => "DATABASE()".to_owned(),
    };
    let table = literal(Wrapper::MySql, table)?;
    // A date that is never NULL may be the day 0, which is NULL here.
    Some(format!(
        "SELECT COLUMN_NAME, COLUMN_TYPE, CASE WHEN IS_NULLABLE = 'NO' AND DATA_TYPE NOT IN ('date', 'datetime', \
         'timestamp') THEN 1 ELSE 0 END FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} ORDER BY ORDINAL_POSITION"
    ))
}

/// The query for the names of a database's tables.
pub fn tables_query(schema: &str) -> Option<String> {
    let schema = literal(Wrapper::MySql, schema)?;
    Some(format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} ORDER BY 1"
    ))
}
