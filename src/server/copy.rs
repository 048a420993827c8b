//! `COPY … TO STDOUT` and `COPY … FROM STDIN` on the wire: rows in Postgres' text, CSV and binary formats.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::data::DataRow;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::{Connection, Started};
use super::failure::Failure;
use super::rows::{CHUNK_ROWS, Rows};
use super::socket::Incoming;
use crate::engine::{CopyIn, Described, Prepared};
use crate::error::{ChangeFault, Error, Result};
use crate::postgres::encoding::{Encoding, UTF8};
use crate::sql::{Copied, Copy, CopyFormat, CopyOptions, Header, Statement};

/// As many bytes are handed over at a time: clients send a row a message.
const PART_BYTES: usize = 256 << 10;
/// Of a client that sends slowly, what there is is handed over so often, so that faults and counts are seen.
const SLOWLY: Duration = Duration::from_millis(500);
/// What a binary copy begins with: its signature, no flags, no further header.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A row as a line; of the columns in `quoted` every value has quotes.
fn line(options: &CopyOptions, values: &[Option<&str>], quoted: &[bool]) -> String {
    let mut line = String::new();
    let delimiter = char::from(options.delimiter);
    let csv = options.format == CopyFormat::Csv;
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            line.push(delimiter);
        }
        match value {
            None => line.push_str(&options.null),
            Some(text) if csv => {
                let always = quoted.get(at).copied().unwrap_or(false);
                line.push_str(&csv_field(options, text, always));
            }
            Some(text) => {
                for character in text.chars() {
                    match character {
                        '\\' => line.push_str("\\\\"),
                        '\u{8}' => line.push_str("\\b"),
                        '\u{c}' => line.push_str("\\f"),
                        '\n' => line.push_str("\\n"),
                        '\r' => line.push_str("\\r"),
                        '\t' => line.push_str("\\t"),
                        '\u{b}' => line.push_str("\\v"),
                        other if other == delimiter => line.extend(['\\', other]),
                        other => line.push(other),
                    }
                }
            }
        }
    }
    line.push('\n');
    line
}

fn csv_field(options: &CopyOptions, text: &str, always: bool) -> String {
    let (quote, escape) = (char::from(options.quote), char::from(options.escape));
    let delimiter = char::from(options.delimiter);
    let special = |c: char| c == delimiter || c == quote || c == '\n' || c == '\r';
    if !always && *text != options.null && !text.contains(special) && text != "\\." {
        return text.to_owned();
    }
    let mut field = String::from(quote);
    for character in text.chars() {
        if character == quote || character == escape {
            field.push(escape);
        }
        field.push(character);
    }
    field.push(quote);
    field
}

impl Connection {
    pub(super) async fn copy(
        &mut self,
        prepared: &Prepared,
        copy: &Copy,
    ) -> Result<Started, Failure> {
        match copy.from {
            true => self.copy_in(&prepared.statement, copy).await,
            false => self.copy_out(&prepared.statement, copy).await,
        }
    }

    async fn copy_out(&mut self, statement: &Statement, copy: &Copy) -> Result<Started, Failure> {
        let query = match &copy.what {
            Copied::Query(query) => query.to_string(),
            Copied::Table(name, columns) if columns.is_empty() => {
                let columns = self.session.copied_columns(name)?;
                format!("SELECT {columns} FROM {name}")
            }
            Copied::Table(name, columns) => {
                let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                format!("SELECT {} FROM {name}", columns.join(", "))
            }
        };
        let options = &copy.options;
        let encoding = match &options.encoding {
            Some(name) => Encoding::for_copy(name)?,
            None => self.socket.encoding(),
        };
        let binary = options.format == CopyFormat::Binary;
        let mut rows = self
            .query_rows(statement, query, if binary { &[1] } else { &[] })
            .await?
            // Lines are encoded as a whole: a delimiter isn't looked for among the bytes of other characters.
            .written_in(if binary { encoding } else { UTF8 });
        let running = self.session.copy_to(&copy.what);
        let description = rows.description();
        let columns = i16::try_from(description.fields.len()).unwrap_or(i16::MAX);
        let formats = vec![i16::from(binary); description.fields.len()];
        let response = CopyOutResponse::new(i8::from(binary), columns, formats);
        self.feed(PgWireBackendMessage::CopyOutResponse(response))
            .await?;
        let quoted: Vec<bool> = description
            .fields
            .iter()
            .map(|field| options.force_quote.contain(&field.name))
            .collect();
        if options.header != Header::None {
            let names: Vec<Option<&str>> = description
                .fields
                .iter()
                .map(|field| Some(field.name.as_str()))
                .collect();
            let names = line(options, &names, &[]);
            let names = encoding.encode(&names)?.into_owned();
            self.copy_data(Bytes::from(names)).await?;
        }
        // As from Postgres, a message is a row: clients that read rows count on it. The header comes with the first.
        let mut data = BytesMut::new();
        if binary {
            data.extend_from_slice(BINARY_HEADER);
        }
        let mut count = 0;
        let limits = self.limits();
        loop {
            let (rest, chunk) = self.work(rows.next(CHUNK_ROWS)).await?;
            if chunk.is_empty() {
                break;
            }
            count += chunk.len();
            rows = rest;
            for row in chunk {
                match binary {
                    true => {
                        data.put_i16(row.field_count);
                        data.extend_from_slice(&row.data);
                    }
                    false => {
                        let line = line(options, &texts(&row), &quoted);
                        data.extend_from_slice(&encoding.encode(&line)?);
                    }
                }
                let row = data.split().freeze();
                running.progress.add_bytes(row.len());
                running.progress.add_rows(1);
                self.count_result(row.len())?;
                self.make_room(&limits).await?;
                self.copy_data(row).await?;
            }
        }
        if binary {
            data.extend_from_slice(&[0xff, 0xff]);
            self.copy_data(data.split().freeze()).await?;
        }
        self.feed(PgWireBackendMessage::CopyDone(CopyDone::new()))
            .await?;
        Ok(Started::Done(format!("COPY {count}")))
    }

    /// The rows of a query that a statement stands for.
    async fn query_rows(
        &mut self,
        statement: &Statement,
        query: String,
        formats: &[i16],
    ) -> Result<Rows, Failure> {
        let session = Arc::clone(&self.session);
        let mut statements = self.work(async move { session.parse(&query) }).await?;
        let Some(inner) = statements.pop() else {
            return Err(Failure::Protocol("nothing to copy".to_owned()));
        };
        let inner = Statement {
            sql: Arc::clone(&statement.sql),
            ..inner
        };
        let inner = Prepared {
            statement: inner,
            parameters: Vec::new(),
            described: Described::Later,
        };
        match Box::pin(self.start(Arc::new(inner), Vec::new(), formats)).await? {
            Started::Rows(_, rows) => Ok(rows),
            _ => Err(Error::Unsupported {
                message: "COPY needs a query that returns rows".to_owned(),
                hint: None,
            }
            .into()),
        }
    }

    async fn copy_data(&mut self, data: Bytes) -> Result<(), Failure> {
        self.feed(PgWireBackendMessage::CopyData(CopyData::new(data)))
            .await
    }

    async fn copy_in(&mut self, statement: &Statement, copy: &Copy) -> Result<Started, Failure> {
        // The table and its columns are there before the client begins to send.
        let session = Arc::clone(&self.session);
        let (statement, copy) = (statement.clone(), copy.clone());
        let mut into = self
            .work(async move { session.copy_from(&statement, &copy).await })
            .await?;
        let count = into.columns;
        let response = CopyInResponse::new(
            i8::from(into.binary),
            i16::try_from(count).unwrap_or(i16::MAX),
            vec![i16::from(into.binary); count],
        );
        self.feed(PgWireBackendMessage::CopyInResponse(response))
            .await?;
        self.flush().await?;
        let mut data = BytesMut::new();
        let mut handed = Instant::now();
        let limits = self.limits();
        loop {
            let part = match limits.wait(None, self.socket.receive()).await? {
                Some(Incoming::Message(PgWireFrontendMessage::CopyData(part))) => part.data,
                Some(Incoming::Message(PgWireFrontendMessage::CopyDone(_))) => break,
                Some(Incoming::Message(PgWireFrontendMessage::CopyFail(fail))) => {
                    let message = format!("COPY from stdin failed: {}", fail.message);
                    return Err(Error::from(ChangeFault::Other("57014").error(message)).into());
                }
                Some(Incoming::Message(
                    PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_),
                )) => continue,
                Some(Incoming::Message(_)) => {
                    return Err(Failure::Protocol(
                        "unexpected message type during COPY from stdin".to_owned(),
                    ));
                }
                Some(Incoming::Faulty { failure, .. } | Incoming::Lost(failure)) => {
                    return Err(failure);
                }
                None => return Err(Failure::Gone(std::io::ErrorKind::UnexpectedEof.into())),
            };
            into.progress().add_bytes(part.len());
            data.extend_from_slice(&part);
            if data.len() >= PART_BYTES || handed.elapsed() >= SLOWLY {
                into = self.hand_over(into, data.split().freeze()).await?;
                handed = Instant::now();
            }
        }
        if !data.is_empty() {
            into = self.hand_over(into, data.freeze()).await?;
        }
        let done = self.work(into.finish()).await?;
        self.tell(&done.notices, Vec::new()).await?;
        Ok(Started::Done(format!("COPY {}", done.count)))
    }

    /// Hands over what a client sent: it waits while the rows before aren't read.
    async fn hand_over(&mut self, into: CopyIn, data: Bytes) -> Result<CopyIn, Failure> {
        self.work(into.push(data)).await
    }
}

/// The texts of a row.
fn texts(row: &DataRow) -> Vec<Option<&str>> {
    let mut data = row.data.as_ref();
    let mut texts = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                let (text, after) = rest.split_at(length.min(rest.len()));
                texts.push(std::str::from_utf8(text).ok());
                data = after;
            }
            Err(_) => {
                texts.push(None);
                data = rest;
            }
        }
    }
    texts
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::sql::{StatementKind, parse};

    fn options(text: &str) -> CopyOptions {
        let statement = parse(&format!("COPY t TO STDOUT {text}"))
            .unwrap()
            .remove(0);
        match statement.kind {
            StatementKind::Copy(copy) => copy.options,
            other => panic!("{other:?}"),
        }
    }

    /// Expected: PostgreSQL 15.18, `COPY (VALUES …) TO STDOUT`.
    #[test]
    fn lines_are_postgres_lines() {
        let text = options("");
        assert_eq!(line(&text, &[Some("a\tb"), None], &[]), "a\\tb\t\\N\n");
        assert_eq!(
            line(&text, &[Some("a\u{8}\u{b}\u{c}\\")], &[]),
            "a\\b\\v\\f\\\\\n"
        );
        let csv = options("(FORMAT csv)");
        assert_eq!(
            line(&csv, &[Some(""), None, Some("a\"b")], &[]),
            "\"\",,\"a\"\"b\"\n"
        );
        assert_eq!(line(&csv, &[Some("a"), None], &[true, true]), "\"a\",\n");
    }
}
