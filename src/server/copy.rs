//! `COPY … TO STDOUT` and `COPY … FROM STDIN`: rows in Postgres' text, CSV and (outwards) binary formats.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use datafusion::sql::sqlparser::ast::{self, CopyOption, CopySource};
use datafusion_funnel::definition::text::literal;
use pgwire::messages::copy::{CopyData, CopyDone, CopyInResponse, CopyOutResponse};
use pgwire::messages::data::DataRow;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::connection::{Connection, Started};
use super::failure::Failure;
use super::rows::{CHUNK_ROWS, Rows};
use super::socket::Incoming;
use crate::engine::{Described, Prepared, Reservation};
use crate::error::{Error, Result};
use crate::sql::Statement;

/// How many rows are inserted at a time.
const INSERT_ROWS: usize = 1000;
/// What the rows of a copy take in memory, beside their text as it was sent: each field is a text of its own.
const COPY_FACTOR: usize = 4;
/// What a binary copy begins with: its signature, no flags, no further header.
const BINARY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Format {
    kind: Kind,
    delimiter: char,
    null: String,
    header: bool,
    quote: char,
    escape: char,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Csv,
    Binary,
}

impl Format {
    fn of(options: &[CopyOption], legacy: &[ast::CopyLegacyOption]) -> Result<Self> {
        let named = |name: &str| match name.to_lowercase().as_str() {
            "text" => Ok(Kind::Text),
            "csv" => Ok(Kind::Csv),
            "binary" => Ok(Kind::Binary),
            other => Err(Error::BadCopy(format!(
                "COPY format \"{other}\" not recognized"
            ))),
        };
        let mut kind = Kind::Text;
        for option in options {
            if let CopyOption::Format(name) = option {
                kind = named(&name.value)?;
            }
        }
        for option in legacy {
            match option {
                ast::CopyLegacyOption::Csv(_) => kind = Kind::Csv,
                ast::CopyLegacyOption::Binary => kind = Kind::Binary,
                _ => {}
            }
        }
        let csv = kind == Kind::Csv;
        let mut format = Self {
            kind,
            delimiter: if csv { ',' } else { '\t' },
            null: if csv { "" } else { "\\N" }.to_owned(),
            header: false,
            quote: '"',
            escape: '"',
        };
        for option in options {
            match option {
                CopyOption::Delimiter(character) => format.delimiter = *character,
                CopyOption::Null(text) => format.null.clone_from(text),
                CopyOption::Header(header) => format.header = *header,
                CopyOption::Quote(character) => {
                    (format.quote, format.escape) = (*character, *character)
                }
                CopyOption::Escape(character) => format.escape = *character,
                _ => {}
            }
        }
        for option in legacy {
            match option {
                ast::CopyLegacyOption::Delimiter(character) => format.delimiter = *character,
                ast::CopyLegacyOption::Null(text) => format.null.clone_from(text),
                ast::CopyLegacyOption::Csv(options) => {
                    format.header |= options
                        .iter()
                        .any(|option| matches!(option, ast::CopyLegacyCsvOption::Header));
                }
                _ => {}
            }
        }
        Ok(format)
    }

    /// A row as a line.
    fn line(&self, values: &[Option<&str>]) -> String {
        let mut line = String::new();
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                line.push(self.delimiter);
            }
            match value {
                None => line.push_str(&self.null),
                Some(text) if self.kind == Kind::Csv => line.push_str(&self.csv_field(text)),
                Some(text) => {
                    for character in text.chars() {
                        match character {
                            '\\' => line.push_str("\\\\"),
                            '\n' => line.push_str("\\n"),
                            '\r' => line.push_str("\\r"),
                            '\t' => line.push_str("\\t"),
                            other if other == self.delimiter => line.extend(['\\', other]),
                            other => line.push(other),
                        }
                    }
                }
            }
        }
        line.push('\n');
        line
    }

    fn csv_field(&self, text: &str) -> String {
        let special = |c: char| c == self.delimiter || c == self.quote || c == '\n' || c == '\r';
        if *text != self.null && !text.contains(special) && text != "\\." {
            return text.to_owned();
        }
        let mut field = String::from(self.quote);
        for character in text.chars() {
            if character == self.quote || character == self.escape {
                field.push(self.escape);
            }
            field.push(character);
        }
        field.push(self.quote);
        field
    }

    /// The rows of a whole text.
    fn rows(&self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        let rows = match self.kind {
            Kind::Csv => self.csv_rows(text)?,
            _ => {
                let lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
                lines
                    .take_while(|line| *line != "\\.")
                    .filter(|line| !line.is_empty())
                    .map(|line| self.text_row(line))
                    .collect()
            }
        };
        Ok(rows.into_iter().skip(usize::from(self.header)).collect())
    }

    fn text_row(&self, line: &str) -> Vec<Option<String>> {
        let mut fields = Vec::new();
        let mut raw = String::new();
        let mut characters = line.chars();
        let finish = |raw: &mut String, fields: &mut Vec<Option<String>>| {
            let text = std::mem::take(raw);
            fields.push((text != self.null).then(|| unescaped(&text)));
        };
        while let Some(character) = characters.next() {
            match character {
                '\\' => {
                    raw.push('\\');
                    raw.extend(characters.next());
                }
                other if other == self.delimiter => finish(&mut raw, &mut fields),
                other => raw.push(other),
            }
        }
        finish(&mut raw, &mut fields);
        fields
    }

    fn csv_rows(&self, text: &str) -> Result<Vec<Vec<Option<String>>>> {
        let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
        let (mut quoted, mut was_quoted) = (false, false);
        let mut characters = text.chars().peekable();
        let finish = |field: &mut String, was_quoted: &mut bool, row: &mut Vec<Option<String>>| {
            let text = std::mem::take(field);
            let null = !*was_quoted && text == self.null;
            *was_quoted = false;
            row.push((!null).then_some(text));
        };
        while let Some(character) = characters.next() {
            match character {
                c if quoted && c == self.escape && characters.peek() == Some(&self.quote) => {
                    field.extend(characters.next())
                }
                c if quoted && c == self.quote => quoted = false,
                c if quoted => field.push(c),
                c if c == self.quote => (quoted, was_quoted) = (true, true),
                c if c == self.delimiter => finish(&mut field, &mut was_quoted, &mut row),
                '\r' if characters.peek() == Some(&'\n') => {}
                '\n' => {
                    let empty = row.is_empty() && field.is_empty() && !was_quoted;
                    if row.is_empty() && field == "\\." {
                        return Ok(rows);
                    }
                    if !empty {
                        finish(&mut field, &mut was_quoted, &mut row);
                        rows.push(std::mem::take(&mut row));
                    }
                }
                c => field.push(c),
            }
        }
        if quoted {
            return Err(Error::BadCopy("unterminated CSV quoted field".to_owned()));
        }
        if !row.is_empty() || !field.is_empty() || was_quoted {
            finish(&mut field, &mut was_quoted, &mut row);
            rows.push(row);
        }
        Ok(rows)
    }
}

fn unescaped(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => result.push('\n'),
                Some('t') => result.push('\t'),
                Some('r') => result.push('\r'),
                Some('b') => result.push('\u{8}'),
                Some('f') => result.push('\u{c}'),
                Some('v') => result.push('\u{b}'),
                Some(other) => result.push(other),
                None => result.push('\\'),
            },
            other => result.push(other),
        }
    }
    result
}

impl Connection {
    pub(super) async fn copy(
        &mut self,
        prepared: &Prepared,
        copy: &ast::Statement,
    ) -> Result<Started, Failure> {
        let ast::Statement::Copy {
            source,
            to,
            options,
            legacy_options,
            ..
        } = copy
        else {
            return Err(Failure::Protocol("no copy is asked for".to_owned()));
        };
        let format = Format::of(options, legacy_options)?;
        match to {
            true => self.copy_out(&prepared.statement, source, &format).await,
            false => self.copy_in(source, &format).await,
        }
    }

    async fn copy_out(
        &mut self,
        statement: &Statement,
        source: &CopySource,
        format: &Format,
    ) -> Result<Started, Failure> {
        let query = match source {
            CopySource::Query(query) => query.to_string(),
            CopySource::Table {
                table_name,
                columns,
            } if columns.is_empty() => format!("SELECT * FROM {table_name}"),
            CopySource::Table {
                table_name,
                columns,
            } => {
                let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
                format!("SELECT {} FROM {table_name}", columns.join(", "))
            }
        };
        let binary = format.kind == Kind::Binary;
        let mut rows = self
            .query_rows(statement, query, if binary { &[1] } else { &[] })
            .await?;
        let description = rows.description();
        let columns = i16::try_from(description.fields.len()).unwrap_or(i16::MAX);
        let formats = vec![i16::from(binary); description.fields.len()];
        let response = CopyOutResponse::new(i8::from(binary), columns, formats);
        self.feed(PgWireBackendMessage::CopyOutResponse(response))
            .await?;
        if format.header {
            let names: Vec<Option<&str>> = description
                .fields
                .iter()
                .map(|field| Some(field.name.as_str()))
                .collect();
            self.copy_data(Bytes::from(format.line(&names))).await?;
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
                    false => data.extend_from_slice(format.line(&texts(&row)).as_bytes()),
                }
                let line = data.split().freeze();
                self.count_result(line.len())?;
                self.make_room(&limits).await?;
                self.copy_data(line).await?;
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
            parameter_types: Vec::new(),
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

    async fn copy_in(&mut self, source: &CopySource, format: &Format) -> Result<Started, Failure> {
        let CopySource::Table {
            table_name,
            columns,
        } = source
        else {
            return Err(Error::Unsupported {
                message: "COPY FROM needs a table".to_owned(),
                hint: None,
            }
            .into());
        };
        let names: Vec<String> = columns.iter().map(ToString::to_string).collect();
        let listed = if names.is_empty() {
            "*".to_owned()
        } else {
            names.join(", ")
        };
        // The table and its columns are there before the client begins to send.
        let session = Arc::clone(&self.session);
        let probe = format!("SELECT {listed} FROM {table_name} LIMIT 0");
        let described = self
            .work(async move {
                let mut statements = session.parse(&probe)?;
                match statements.pop() {
                    Some(statement) => Ok(Some(session.prepare(statement, &[]).await?.described)),
                    None => Ok(None),
                }
            })
            .await?;
        let Some(Described::Rows(schema)) = described else {
            return Err(Failure::Protocol("nothing to copy into".to_owned()));
        };
        let count = schema.fields().len();
        let binary = format.kind == Kind::Binary;
        let response = CopyInResponse::new(
            i8::from(binary),
            i16::try_from(count).unwrap_or(i16::MAX),
            vec![i16::from(binary); count],
        );
        self.feed(PgWireBackendMessage::CopyInResponse(response))
            .await?;
        self.flush().await?;
        // The room is kept until the rows are in the table.
        let (data, _room) = self.receive_copy().await?;
        let rows = match binary {
            true => empty_binary(&data)?,
            false => match std::str::from_utf8(&data) {
                Ok(text) => format.rows(text)?,
                Err(_) => return Err(Failure::Encoding),
            },
        };
        let copied = rows.len();
        for chunk in rows.chunks(INSERT_ROWS) {
            let mut lines = Vec::with_capacity(chunk.len());
            for row in chunk {
                if row.len() != count {
                    let what = if row.len() < count {
                        "missing data for a column"
                    } else {
                        "extra data after last expected column"
                    };
                    return Err(Error::BadCopy(what.to_owned()).into());
                }
                let values: Vec<String> = row
                    .iter()
                    .map(|value| {
                        value
                            .as_deref()
                            .map_or_else(|| "NULL".to_owned(), |text| literal(text).to_string())
                    })
                    .collect();
                lines.push(format!("({})", values.join(", ")));
            }
            let target = if names.is_empty() {
                String::new()
            } else {
                format!(" ({})", names.join(", "))
            };
            let insert = format!(
                "INSERT INTO {table_name}{target} VALUES {}",
                lines.join(", ")
            );
            let session = Arc::clone(&self.session);
            self.work(async move { session.run(&insert).await }).await?;
        }
        Ok(Started::Done(format!("COPY {copied}")))
    }

    /// What the client sends until it is done.
    async fn receive_copy(&mut self) -> Result<(BytesMut, Reservation), Failure> {
        let mut data = BytesMut::new();
        let limits = self.limits();
        let room = self.session.reserve("copy");
        loop {
            match limits.wait(None, self.socket.receive()).await? {
                Some(Incoming::Message(PgWireFrontendMessage::CopyData(part))) => {
                    room.grow(part.data.len().saturating_mul(COPY_FACTOR))?;
                    data.extend_from_slice(&part.data);
                }
                Some(Incoming::Message(PgWireFrontendMessage::CopyDone(_))) => {
                    return Ok((data, room));
                }
                Some(Incoming::Message(PgWireFrontendMessage::CopyFail(fail))) => {
                    let message = format!("COPY from stdin failed: {}", fail.message);
                    return Err(Error::BadCopy(message).into());
                }
                Some(Incoming::Message(
                    PgWireFrontendMessage::Flush(_) | PgWireFrontendMessage::Sync(_),
                )) => {}
                Some(Incoming::Message(_)) => {
                    return Err(Failure::Protocol(
                        "unexpected message type during COPY from stdin".to_owned(),
                    ));
                }
                Some(Incoming::Faulty { failure, .. } | Incoming::Lost(failure)) => {
                    return Err(failure);
                }
                None => return Err(Failure::Gone(std::io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}

/// A binary copy without rows; one with rows is refused.
fn empty_binary(data: &[u8]) -> Result<Vec<Vec<Option<String>>>> {
    let Some(rest) = data.strip_prefix(&BINARY_HEADER[..11]) else {
        return Err(Error::BadCopy(
            "COPY file signature not recognized".to_owned(),
        ));
    };
    match rest.get(8..) {
        None | Some([] | [0xff, 0xff]) => Ok(Vec::new()),
        Some(_) => Err(Error::Unsupported {
            message: "COPY FROM STDIN in binary is not supported".to_owned(),
            hint: Some("Send text or CSV.".to_owned()),
        }),
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let values = [
            Some("a,\"b\""),
            None,
            Some(""),
            Some("tab\tline\nback\\slash"),
            Some("漏斗"),
        ];
        let owned: Vec<Option<String>> = values
            .iter()
            .map(|value| value.map(str::to_owned))
            .collect();
        for kind in ["text", "csv"] {
            let format = Format::of(&[CopyOption::Format(ast::Ident::new(kind))], &[]).unwrap();
            assert_eq!(
                format.rows(&format.line(&values)).unwrap(),
                std::slice::from_ref(&owned),
                "{kind}"
            );
        }
    }

    /// Expected: PostgreSQL 15.18, `COPY (VALUES …) TO STDOUT`.
    #[test]
    fn lines_are_postgres_lines() {
        let text = Format::of(&[], &[]).unwrap();
        assert_eq!(text.line(&[Some("a\tb"), None]), "a\\tb\t\\N\n");
        let csv = Format::of(
            &[
                CopyOption::Format(ast::Ident::new("csv")),
                CopyOption::Header(true),
            ],
            &[],
        )
        .unwrap();
        assert_eq!(
            csv.line(&[Some(""), None, Some("a\"b")]),
            "\"\",,\"a\"\"b\"\n"
        );
        assert_eq!(
            csv.rows("x,y\r\n1,\"2\n3\"\r\n").unwrap(),
            [some(&["1", "2\n3"])]
        );
        assert!(csv.rows("x\n\"open").is_err());
    }
}
