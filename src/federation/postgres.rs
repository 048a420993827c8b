//! PostgreSQL. Queries go by the simple protocol, which answers in texts.

use std::collections::HashMap;
use std::pin::pin;

use datafusion_table_providers::sql::db_connection_pool::dbconnection::postgresconn::PostgresConnection;
use datafusion_table_providers::sql::db_connection_pool::postgrespool::{
    Error as PoolError, PostgresConnectionPool,
};
use datafusion_table_providers::util::secrets::to_secret_map;
use futures::{Stream, StreamExt};
use native_tls::TlsConnector;
use postgres_native_tls::MakeTlsConnector;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, SimpleQueryMessage};

use super::columns::literal;
use super::remote::{LONGEST_END, Sender, Unreachable, root_cause};
use super::rows::Texts;
use super::settings::{Settings, Wrapper};
use crate::error::{Error, ForeignFault, Result};

/// A connection out of the pool.
pub type Connection = PostgresConnection;

/// What texts depend on is said by us, and nothing is written there.
const SESSION: &str = "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 \
                       -c bytea_output=hex -c standard_conforming_strings=on -c default_transaction_read_only=on";

impl From<PoolError> for Unreachable {
    fn from(error: PoolError) -> Self {
        Self::Because(root_cause(&error))
    }
}

/// Connects, once, to see that it can.
///
/// # Errors
/// Why it can't.
pub async fn pool(settings: &Settings) -> Result<PostgresConnectionPool, Unreachable> {
    let mut parameters = HashMap::from([
        ("host".to_owned(), quoted(settings.host())),
        ("port".to_owned(), settings.port().to_string()),
        ("sslmode".to_owned(), settings.sslmode().to_owned()),
        (
            "connection_pool_size".to_owned(),
            settings.pool_size().to_string(),
        ),
        ("application_name".to_owned(), "funnelsql".to_owned()),
        ("options".to_owned(), SESSION.to_owned()),
    ]);
    let mut give = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            parameters.insert(name.to_owned(), value);
        }
    };
    give("user", settings.credentials.user.as_deref().map(quoted));
    give("db", settings.option("dbname").map(quoted));
    give("pass", settings.password()?);
    give(
        "sslrootcert",
        settings.option("sslrootcert").map(str::to_owned),
    );
    Ok(PostgresConnectionPool::new(to_secret_map(parameters)).await?)
}

/// A value of a connection string.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Sends a query and its rows.
///
/// # Errors
/// The server's.
pub async fn send(
    connection: &Connection,
    settings: &Settings,
    sql: &str,
    width: usize,
    sender: &Sender,
) -> Result<()> {
    let client = &connection.conn;
    let token = client.cancel_token();
    let rows = client.simple_query_raw(sql).await;
    let rows = rows.map_err(|error| fault(settings, &error))?;
    let mut rows = pin!(rows);
    let mut texts = Texts::new(width);
    loop {
        let message = tokio::select! {
            biased;
            () = sender.closed() => {
                cancel(&token, settings, rows).await;
                return Ok(());
            }
            message = rows.next() => message,
        };
        match message {
            None => break,
            Some(Ok(SimpleQueryMessage::Row(row))) => {
                for column in 0..width {
                    texts.value(
                        column,
                        row.try_get(column)
                            .map_err(|error| fault(settings, &error))?,
                    );
                }
                texts.end_row();
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(fault(settings, &error)),
        }
        if texts.is_full() {
            let full = std::mem::replace(&mut texts, Texts::new(width));
            if sender.send(Ok(full)).await.is_err() {
                cancel(&token, settings, rows).await;
                return Ok(());
            }
        }
    }
    if !texts.is_empty() {
        // Whoever is gone misses nothing.
        let _ = sender.send(Ok(texts)).await;
    }
    Ok(())
}

/// Ends a query there, and what it had still to say: the connection goes back to its pool.
async fn cancel(token: &CancelToken, settings: &Settings, rows: impl Stream + Unpin) {
    let mut builder = TlsConnector::builder();
    // The request has a number that is good for nothing else. Who the server is was seen when it was entered.
    builder.danger_accept_invalid_certs(true);
    let ended = async {
        if let Ok(tls) = builder.build() {
            let asked = token.cancel_query(MakeTlsConnector::new(tls)).await;
            if let Err(error) = asked {
                tracing::warn!(server = settings.server, %error, "a query could not be canceled");
            }
        }
        rows.for_each(|_| std::future::ready(())).await;
    };
    if timeout(LONGEST_END, ended).await.is_err() {
        tracing::warn!(server = settings.server, "a canceled query goes on");
    }
}

fn fault(settings: &Settings, error: &tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        return settings.unreachable(&root_cause(error));
    };
    let message = format!("server \"{}\": {}", settings.server, said.message());
    match *said.code() {
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME => {
            ForeignFault::MissingTable.error(message, Some("The table there is gone, or has another name: DROP FOREIGN TABLE, and make it again."))
        }
        SqlState::UNDEFINED_COLUMN => {
            ForeignFault::MissingColumn.error(message, Some("The table there has changed: DROP FOREIGN TABLE, and make it again."))
        }
        SqlState::UNDEFINED_FUNCTION | SqlState::DATATYPE_MISMATCH => {
            ForeignFault::Type.error(message, Some("A column there has another type now: DROP FOREIGN TABLE, and make it again."))
        }
        _ => ForeignFault::Remote.error(message, None),
    }
}

/// The query for a table's columns: name, type, 1 where it is never NULL.
pub fn columns_query(schema: Option<&str>, table: &str) -> Option<String> {
    let schema = literal(Wrapper::Postgres, schema.unwrap_or("public"))?;
    let table = literal(Wrapper::Postgres, table)?;
    Some(format!(
        "SELECT a.attname, format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE a.atttypid END, \
         CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END), \
         CASE WHEN a.attnotnull AND c.relkind IN ('r', 'p') THEN 1 ELSE 0 END \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         WHERE n.nspname = {schema} AND c.relname = {table} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    ))
}

/// The query for the names of a schema's tables.
pub fn tables_query(schema: &str) -> Option<String> {
    let schema = literal(Wrapper::Postgres, schema)?;
    Some(format!(
        "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition ORDER BY 1"
    ))
}
