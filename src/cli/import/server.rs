//! An import into a server that has the data directory open, or into any PostgreSQL: rows go there by `COPY … FROM STDIN`.

use std::pin::pin;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion_funnel::definition::text::identifier;
use futures::SinkExt;
use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use tokio::sync::mpsc;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::address::{Address, Tls};
use super::{Wanted, blocking};
use crate::engine::text_rows;
use crate::error::{ChangeFault, Error, ForeignFault, Result};
use crate::import::{ImportError, ImportedRows};

/// Batches that were read and aren't sent yet.
const AHEAD: usize = 4;
/// NULL as it is sent. A text of these letters has quotes.
const NULL: &str = "\\N";
/// The table that rows of an upsert are sent to first.
const STAGED: &str = "import_rows";

/// A connection.
pub struct Server {
    client: Client,
    shown: String,
}

impl Server {
    /// Connects.
    ///
    /// # Errors
    /// 08001, and why the server doesn't let us in.
    pub async fn connect(address: &Address) -> Result<Self> {
        let shown = address.shown.clone();
        let refused = |reason: String| {
            ForeignFault::Connection.error(
                format!("could not connect to server at {shown}: {reason}"),
                Some("Check --server, and the password in PGPASSWORD or ~/.pgpass."),
            )
        };
        let tls = connector(address).map_err(&refused)?;
        let connected = address.config.connect(MakeTlsConnector::new(tls)).await;
        let (client, connection) = connected.map_err(|error| match error.as_db_error() {
            Some(_) => fault(&error),
            None => refused(root(&error)),
        })?;
        // It ends with the client; what goes wrong is the client's error, too.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self {
            client,
            shown: address.shown.clone(),
        })
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The server's.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| self.fault(&error))
    }

    /// The rows of a query, as texts; NULL is empty.
    ///
    /// # Errors
    /// The server's.
    pub async fn texts(&self, sql: &str) -> Result<Vec<Vec<String>>> {
        let messages = self.client.simple_query(sql).await;
        let messages = messages.map_err(|error| self.fault(&error))?;
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                let values = (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned());
                Some(values.collect())
            }
            _ => None,
        };
        Ok(messages.iter().filter_map(row).collect())
    }

    /// Adds rows to a table: all of them, or none.
    ///
    /// # Errors
    /// Those of the files, and the server's.
    pub async fn add(&self, rows: &ImportedRows, wanted: &Wanted) -> Result<u64> {
        if wanted.upsert.is_empty() {
            return self.copy(&wanted.table, &wanted.names, rows).await;
        }
        self.execute("BEGIN").await?;
        match self.upsert(rows, wanted).await {
            Ok(count) => {
                self.execute("COMMIT").await?;
                Ok(count)
            }
            Err(error) => {
                // The first fault is the one to be told.
                let _ = self.execute("ROLLBACK").await;
                Err(error)
            }
        }
    }

    async fn upsert(&self, rows: &ImportedRows, wanted: &Wanted) -> Result<u64> {
        let columns = wanted.names.iter().zip(&wanted.types);
        let columns: Vec<String> = columns
            .map(|(name, sql_type)| format!("{} {sql_type}", identifier(name)))
            .collect();
        let staged = format!("CREATE TEMP TABLE {STAGED} ({})", columns.join(", "));
        self.execute(&staged).await?;
        self.copy(STAGED, &wanted.names, rows).await?;
        let names = wanted.names_sql();
        let sql = format!(
            "INSERT INTO {} ({names}) SELECT {names} FROM {STAGED}{}",
            wanted.table,
            wanted.on_conflict()
        );
        let count = self.client.execute(&sql, &[]).await;
        let count = count.map_err(|error| self.fault(&error))?;
        self.execute(&format!("DROP TABLE {STAGED}")).await?;
        Ok(count)
    }

    async fn copy(&self, table: &str, names: &[String], rows: &ImportedRows) -> Result<u64> {
        let columns: Vec<String> = names.iter().map(|name| identifier(name)).collect();
        let sql = format!(
            "COPY {table} ({}) FROM STDIN (FORMAT csv, NULL '{NULL}')",
            columns.join(", ")
        );
        let sink = self.client.copy_in::<_, Bytes>(sql.as_str()).await;
        let mut sink = pin!(sink.map_err(|error| self.fault(&error))?);
        let (sender, mut batches) = mpsc::channel::<RecordBatch>(AHEAD);
        let rows = rows.clone();
        let reading = tokio::spawn(blocking(move || {
            let gone = || ImportError {
                code: "57014",
                message: "the import was canceled".to_owned(),
                hint: None,
            };
            rows.read(&mut |batch| sender.blocking_send(batch).map_err(|_| gone()))
        }));
        while let Some(batch) = batches.recv().await {
            let lines = csv(&batch)?;
            if sink.send(lines).await.is_err() {
                // The server doesn't listen any more, and says why when it is asked for the end.
                drop(batches);
                return match sink.finish().await {
                    Err(error) => Err(self.fault(&error)),
                    Ok(_) => Err(self.lost("it ended the copy")),
                };
            }
        }
        let read = reading
            .await
            .map_err(|error| self.lost(&error.to_string()))?;
        // What wasn't read to its end isn't finished: the server then keeps nothing of it.
        read??;
        sink.finish().await.map_err(|error| self.fault(&error))
    }

    fn lost(&self, reason: &str) -> Error {
        ForeignFault::Connection.error(
            format!("lost the server at {}: {reason}", self.shown),
            Some("Nothing was imported."),
        )
    }

    fn fault(&self, error: &tokio_postgres::Error) -> Error {
        match error.as_db_error() {
            Some(_) => fault(error),
            None => self.lost(&root(error)),
        }
    }
}

fn connector(address: &Address) -> std::result::Result<TlsConnector, String> {
    let mut builder = TlsConnector::builder();
    match address.tls {
        Tls::VerifyFull => {}
        Tls::VerifyAuthority => {
            builder.danger_accept_invalid_hostnames(true);
        }
        Tls::Disable | Tls::Prefer | Tls::Require => {
            builder.danger_accept_invalid_certs(true);
            builder.danger_accept_invalid_hostnames(true);
        }
    }
    if let Some(file) = &address.authorities {
        let unreadable = |error: String| format!("can't read \"{}\": {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        // The file may have several.
        const END: &str = "-----END CERTIFICATE-----";
        for certificate in text.split_inclusive(END).filter(|part| part.contains(END)) {
            let certificate = Certificate::from_pem(certificate.trim().as_bytes());
            builder
                .add_root_certificate(certificate.map_err(|error| unreadable(error.to_string()))?);
        }
        builder.disable_built_in_roots(true);
    }
    builder.build().map_err(|error| error.to_string())
}

/// What the server says, as an error of ours.
fn fault(error: &tokio_postgres::Error) -> Error {
    let Some(said) = error.as_db_error() else {
        return Error::BadCopy(root(error));
    };
    // A command ends with its first fault, so that one code outlives the error that it came with.
    let code: &'static str = said.code().code().to_owned().leak();
    let mut fault = ChangeFault::Other(code).error(said.message());
    fault.detail = said.detail().map(str::to_owned);
    fault.hint = said.hint().map(str::to_owned);
    fault.context = said.where_().map(str::to_owned);
    fault.into()
}

/// The innermost reason.
fn root(error: &tokio_postgres::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(inner) = reason.source() {
        reason = inner;
    }
    reason.to_string()
}

/// Rows as lines of CSV.
fn csv(batch: &RecordBatch) -> Result<Bytes> {
    let mut lines = String::new();
    for row in text_rows(batch)? {
        for (at, value) in row.iter().enumerate() {
            if at > 0 {
                lines.push(',');
            }
            match value {
                None => lines.push_str(NULL),
                Some(text) => field(&mut lines, text),
            }
        }
        lines.push('\n');
    }
    Ok(Bytes::from(lines))
}

fn field(lines: &mut String, text: &str) {
    // A text that begins with a backslash could be NULL, or the end of all rows.
    let is_plain =
        !text.is_empty() && !text.starts_with('\\') && !text.contains([',', '"', '\n', '\r']);
    if is_plain {
        lines.push_str(text);
        return;
    }
    lines.push('"');
    lines.push_str(&text.replace('"', "\"\""));
    lines.push('"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, StringArray};

    use super::*;

    #[test]
    fn a_text_is_never_taken_for_null_or_an_end() {
        let texts = [
            Some("a"),
            Some(""),
            None,
            Some("\\N"),
            Some("\\."),
            Some("x,\"y\"\nz"),
        ];
        let column: ArrayRef = Arc::new(StringArray::from_iter(texts));
        let batch = RecordBatch::try_from_iter([("t", column)]).unwrap();
        assert_eq!(
            csv(&batch).unwrap(),
            "a\n\"\"\n\\N\n\"\\N\"\n\"\\.\"\n\"x,\"\"y\"\"\nz\"\n"
        );
    }
}
