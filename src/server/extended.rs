//! The extended protocol: statements are parsed once, bound to values as portals, and run in parts.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::ScalarValue;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete,
    PortalSuspended, TARGET_TYPE_BYTE_PORTAL, TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;

use super::connection::{Connection, Started, rows_tag};
use super::failure::Failure;
use super::parameters::{self, Client, Parameter};
use super::rows::{self, Rows};
use super::watch::Ticket;
use crate::engine::{Described, Prepared};
use crate::error::Error;

/// A statement that the client has parsed.
#[derive(Debug)]
pub struct Stored {
    /// Nothing where the text held no statement.
    prepared: Option<Arc<Prepared>>,
    parameters: Vec<Parameter>,
}

/// A statement with its values, at some point of its run.
pub struct Portal {
    statement: Arc<Stored>,
    values: Vec<ScalarValue>,
    /// The codes of the columns' formats, as the client gave them.
    formats: Vec<i16>,
    state: State,
}

enum State {
    Bound,
    /// Rows have been sent and more may be asked for.
    Suspended(&'static str, Rows, Option<Box<Ticket>>),
    /// All rows have been sent.
    Fetched(&'static str),
    /// It returned no rows; running it again would do it again.
    Done,
}

impl Connection {
    pub(super) async fn parse(&mut self, message: Parse) -> Result<(), Failure> {
        let name = message.name.unwrap_or_default();
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Error::DuplicateStatement(name).into());
        }
        // The nameless one is replaced.
        let most = self.session.max_prepared_statements();
        if !name.is_empty() && self.statements.len() >= most {
            return Err(Error::too_many("prepared statements", most, "DEALLOCATE").into());
        }
        let declared: Vec<_> = message
            .type_oids
            .iter()
            .map(|oid| parameters::declared(*oid))
            .collect();
        let session = Arc::clone(&self.session);
        let sql = message.query;
        self.begin_ticket(&sql, false, &[]);
        let mut statements = self.work(async move { session.parse(&sql) }).await?;
        let stored = match (statements.pop(), statements.is_empty()) {
            (None, _) => Stored {
                prepared: None,
                parameters: Vec::new(),
            },
            (Some(_), false) => return Err(Failure::SeveralStatements),
            (Some(statement), true) => {
                self.forget_ticket();
                self.begin_ticket(&statement.text, true, &[]);
                self.transaction.admit(&statement.kind)?;
                let session = Arc::clone(&self.session);
                let types: Vec<_> = declared
                    .iter()
                    .map(|declared| declared.as_ref().and_then(parameters::engine_type))
                    .collect();
                let prepared = self
                    .work(async move { session.prepare(statement, &types).await })
                    .await?;
                let parameters = prepared.parameters.iter().enumerate();
                let parameters = parameters
                    .map(|(at, inferred)| {
                        Parameter::new(declared.get(at).and_then(Option::as_ref), inferred)
                    })
                    .collect();
                let prepared = Arc::new(prepared);
                if !name.is_empty() {
                    self.session.share_prepared(&name, &prepared)?;
                }
                Stored {
                    prepared: Some(prepared),
                    parameters,
                }
            }
        };
        self.forget_ticket();
        self.statements.insert(name, Arc::new(stored));
        self.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new()))
            .await
    }

    pub(super) async fn bind(&mut self, message: Bind) -> Result<(), Failure> {
        let name = message.portal_name.clone().unwrap_or_default();
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Failure::DuplicatePortal(name));
        }
        let most = self.session.max_prepared_statements();
        if !name.is_empty() && self.portals.len() >= most {
            return Err(Error::too_many("portals", most, "Close or COMMIT").into());
        }
        let statement_name = message.statement_name.as_deref().unwrap_or_default();
        let statement = self.statement(statement_name)?;
        if let Some(prepared) = &statement.prepared {
            self.begin_ticket(&prepared.statement.text, true, &[]);
            self.transaction.admit(&prepared.statement.kind)?;
        }
        let values = read_values(
            &statement.parameters,
            message.parameters,
            &message.parameter_format_codes,
            statement_name,
            Client {
                encoding: self.socket.encoding(),
                locale: &self.session.locale(),
            },
        )?;
        let formats = message.result_column_format_codes;
        check_formats(&formats)?;
        if let Some(Described::Rows(schema)) = statement
            .prepared
            .as_ref()
            .map(|prepared| &prepared.described)
        {
            rows::description(schema, &formats)?;
        }
        self.forget_ticket();
        self.portals.insert(
            name,
            Portal {
                statement,
                values,
                formats,
                state: State::Bound,
            },
        );
        self.feed(PgWireBackendMessage::BindComplete(BindComplete::new()))
            .await
    }

    pub(super) async fn describe(&mut self, message: Describe) -> Result<(), Failure> {
        let name = message.name.unwrap_or_default();
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => self.describe_statement(&name).await,
            TARGET_TYPE_BYTE_PORTAL => self.describe_portal(&name).await,
            other => Err(Failure::Protocol(format!(
                "invalid DESCRIBE message subtype {other}"
            ))),
        }
    }

    async fn describe_statement(&mut self, name: &str) -> Result<(), Failure> {
        let statement = self.statement(name)?;
        let types = statement
            .parameters
            .iter()
            .map(|parameter| parameter.wire.oid())
            .collect();
        let parameters = ParameterDescription::new(types);
        self.feed(PgWireBackendMessage::ParameterDescription(parameters))
            .await?;
        let fetched = match &statement.prepared {
            Some(prepared) => self.cursor_description(&prepared.statement, &[])?,
            None => None,
        };
        if let Some(description) = fetched {
            return self
                .feed(PgWireBackendMessage::RowDescription(description))
                .await;
        }
        let described = statement
            .prepared
            .as_ref()
            .map(|prepared| prepared.described.clone());
        // Columns that depend on a value are described with the portal, which has it.
        self.send_description(described.unwrap_or(Described::Nothing), &[])
            .await
    }

    async fn describe_portal(&mut self, name: &str) -> Result<(), Failure> {
        // A cursor is a portal: drivers describe it by its name.
        let Some(portal) = self.portals.get(name) else {
            let Some(cursor) = self.cursors.get(name) else {
                return Err(Failure::UnknownPortal(name.to_owned()));
            };
            let description = cursor.description();
            return self
                .feed(PgWireBackendMessage::RowDescription(description))
                .await;
        };
        let fetched = match &portal.statement.prepared {
            Some(prepared) => self.cursor_description(&prepared.statement, &portal.formats)?,
            None => None,
        };
        if let Some(description) = fetched {
            return self
                .feed(PgWireBackendMessage::RowDescription(description))
                .await;
        }
        let formats = portal.formats.clone();
        let values = portal.values.clone();
        let described = match portal.statement.prepared.as_ref().map(Arc::clone) {
            None => Described::Nothing,
            Some(prepared) => {
                let session = Arc::clone(&self.session);
                self.work(async move { session.describe(&prepared, &values).await })
                    .await?
            }
        };
        self.send_description(described, &formats).await
    }

    async fn send_description(
        &mut self,
        described: Described,
        formats: &[i16],
    ) -> Result<(), Failure> {
        let message = match described {
            Described::Rows(schema) => {
                PgWireBackendMessage::RowDescription(rows::description(&schema, formats)?)
            }
            Described::Nothing | Described::Later => PgWireBackendMessage::NoData(NoData::new()),
        };
        self.feed(message).await
    }

    pub(super) async fn execute(&mut self, message: Execute) -> Result<(), Failure> {
        let name = message.name.unwrap_or_default();
        let Some(mut portal) = self.portals.remove(&name) else {
            return Err(Failure::UnknownPortal(name));
        };
        // No limit is written as 0; Postgres takes a negative one for none as well.
        let most = usize::try_from(message.max_rows)
            .ok()
            .filter(|most| *most > 0);
        // A portal that fails is gone: it can't be run from the middle.
        portal.state = self
            .run_portal(&name, &mut portal, most.unwrap_or(usize::MAX))
            .await?;
        self.portals.insert(name, portal);
        Ok(())
    }

    async fn run_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        most: usize,
    ) -> Result<State, Failure> {
        let Some(prepared) = portal.statement.prepared.as_ref().map(Arc::clone) else {
            self.feed(PgWireBackendMessage::EmptyQueryResponse(
                EmptyQueryResponse::new(),
            ))
            .await?;
            return Ok(State::Bound);
        };
        let started = match std::mem::replace(&mut portal.state, State::Done) {
            State::Bound => {
                self.begin_ticket(&prepared.statement.text, true, &portal.values);
                self.transaction.admit(&prepared.statement.kind)?;
                self.more_follows = !self.socket.sync_follows();
                self.start(prepared, portal.values.clone(), &portal.formats)
                    .await?
            }
            State::Suspended(tag, rows, ticket) => {
                self.ticket = ticket;
                if let Some(ticket) = &mut self.ticket {
                    ticket.resume();
                }
                self.transaction.admit(&prepared.statement.kind)?;
                Started::Rows(tag, rows)
            }
            State::Fetched(tag) => {
                self.complete(rows_tag(tag, 0)).await?;
                return Ok(State::Fetched(tag));
            }
            State::Done => return Err(Failure::FinishedPortal(name.to_owned())),
        };
        match started {
            Started::Done(tag) => {
                self.complete(tag).await?;
                Ok(State::Done)
            }
            Started::Fetched { rows, .. } => {
                let tag = rows_tag("FETCH", rows.len());
                let limits = self.limits();
                self.send_chunk(rows, &limits).await?;
                self.complete(tag).await?;
                Ok(State::Done)
            }
            Started::Rows(tag, rows) => match self.send_rows(rows, most).await? {
                (sent, Some(rest)) => {
                    self.feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))
                        .await?;
                    let mut ticket = self.ticket.take();
                    if let Some(ticket) = &mut ticket {
                        ticket.suspend(sent);
                    }
                    Ok(State::Suspended(tag, rest, ticket))
                }
                (sent, None) => {
                    self.complete(rows_tag(tag, sent)).await?;
                    Ok(State::Fetched(tag))
                }
            },
        }
    }

    pub(super) async fn close(&mut self, message: Close) -> Result<(), Failure> {
        let name = message.name.unwrap_or_default();
        match message.target_type {
            TARGET_TYPE_BYTE_STATEMENT => {
                self.statements.remove(&name);
                self.session.forget_prepared(&name);
            }
            TARGET_TYPE_BYTE_PORTAL => drop(self.portals.remove(&name)),
            other => {
                return Err(Failure::Protocol(format!(
                    "invalid CLOSE message subtype {other}"
                )));
            }
        }
        self.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new()))
            .await
    }

    /// The statement of that name; those of `PREPARE` are as good as those of the protocol.
    fn statement(&self, name: &str) -> Result<Arc<Stored>, Failure> {
        if let Some(statement) = self.statements.get(name) {
            return Ok(Arc::clone(statement));
        }
        let prepared = self.session.prepared_named(name)?;
        let parameters = prepared.parameters.iter();
        let parameters = parameters
            .map(|inferred| Parameter::new(None, inferred))
            .collect();
        Ok(Arc::new(Stored {
            prepared: Some(prepared),
            parameters,
        }))
    }
}

fn read_values(
    parameters: &[Parameter],
    values: Vec<Option<Bytes>>,
    formats: &[i16],
    statement: &str,
    client: Client<'_>,
) -> Result<Vec<ScalarValue>, Failure> {
    if values.len() != parameters.len() {
        return Err(Failure::Protocol(format!(
            "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
            values.len(),
            parameters.len()
        )));
    }
    if formats.len() > 1 && formats.len() != values.len() {
        return Err(Failure::Protocol(format!(
            "bind message has {} parameter formats but {} parameters",
            formats.len(),
            values.len()
        )));
    }
    check_formats(formats)?;
    // One code is for all parameters, none means text.
    let format = |at: usize| match formats {
        [code] => *code,
        codes => codes.get(at).copied().unwrap_or(0),
    };
    let read = |(at, (parameter, value)): (usize, (&Parameter, Option<Bytes>))| {
        parameter.read(at + 1, value, format(at) == 1, client)
    };
    parameters
        .iter()
        .zip(values)
        .enumerate()
        .map(read)
        .collect()
}

fn check_formats(formats: &[i16]) -> Result<(), Failure> {
    match formats.iter().find(|code| !matches!(code, 0 | 1)) {
        Some(code) => Err(Failure::Protocol(format!(
            "unsupported format code: {code}"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;
    use crate::engine::parameter_field;
    use crate::postgres::encoding::UTF8;
    use crate::postgres::style::Locale;

    fn code(count: usize, formats: &[i16]) -> Option<&'static str> {
        let parameters = [DataType::Utf8, DataType::Utf8]
            .map(|kind| Parameter::new(None, &parameter_field(kind)));
        let values = vec![Some(Bytes::from_static(b"x")); count];
        let client = Client {
            encoding: UTF8,
            locale: &Locale::default(),
        };
        read_values(&parameters, values, formats, "", client)
            .err()
            .map(|failure| failure.code())
    }

    #[test]
    fn values_and_formats_have_to_fit_the_parameters() {
        for formats in [&[][..], &[0], &[1], &[0, 1]] {
            assert_eq!(code(2, formats), None);
        }
        for (count, formats) in [(1, &[][..]), (3, &[]), (2, &[0, 0, 0]), (2, &[2])] {
            assert_eq!(code(count, formats), Some("08P01"));
        }
    }
}
