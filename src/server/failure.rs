//! What can go wrong between a client and the server, and how the client is told.

use std::io;

use pgwire::error::PgWireError;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use thiserror::Error;

use crate::engine::Notice;
use crate::error::Error;
use crate::postgres::encoding::EncodingFault;

/// Why a request was not done: a statement's error, or a fault in how the client talks.
#[derive(Debug, Error)]
pub enum Failure {
    /// The statement failed.
    #[error(transparent)]
    Statement(#[from] Error),
    /// A message that breaks the protocol's rules.
    #[error("{0}")]
    Protocol(String),
    /// A message of the protocol that the server doesn't do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Text that can't be read, or can't be written in the client's encoding.
    #[error(transparent)]
    Encoding(#[from] EncodingFault),
    /// More than one statement where one can be.
    #[error("cannot insert multiple commands into a prepared statement")]
    SeveralStatements,
    /// A portal that there isn't.
    #[error("portal \"{0}\" does not exist")]
    UnknownPortal(String),
    /// A portal that there is already.
    #[error("portal \"{0}\" already exists")]
    DuplicatePortal(String),
    /// A portal whose statement has run and returns no rows.
    #[error("portal \"{0}\" cannot be run")]
    FinishedPortal(String),
    /// A parameter's bytes that aren't of its type.
    #[error("incorrect binary data format in bind parameter {0}")]
    ParameterBytes(usize),
    /// A startup packet without a user.
    #[error("no PostgreSQL user name specified in startup packet")]
    UserMissing,
    /// The client may not connect, or not now.
    #[error("{message}")]
    Refused {
        /// The SQLSTATE.
        code: &'static str,
        /// What is refused.
        message: String,
        /// What to do instead.
        hint: Option<String>,
        /// Why, where the client isn't told.
        reason: Option<&'static str>,
    },
    /// The client is gone; nobody is left to be told.
    #[error("connection lost: {0}")]
    Gone(#[from] io::Error),
}

impl Failure {
    /// The five-character SQLSTATE.
    pub fn code(&self) -> &'static str {
        match self {
            Failure::Statement(error) => error.code(),
            Failure::Protocol(_) => "08P01",
            Failure::Unsupported(_) => "0A000",
            Failure::Encoding(fault) => fault.code(),
            Failure::SeveralStatements => "42601",
            Failure::UnknownPortal(_) => "34000",
            Failure::DuplicatePortal(_) => "42P03",
            Failure::FinishedPortal(_) => "55000",
            Failure::ParameterBytes(_) => "22P03",
            Failure::UserMissing => "28000",
            Failure::Refused { code, .. } => code,
            Failure::Gone(_) => "08006",
        }
    }

    /// What is written down of it: the message, or why it was where the client isn't told.
    pub fn reason(&self) -> String {
        match self {
            Failure::Refused {
                message,
                reason: Some(reason),
                ..
            } => format!("{message}: {reason}"),
            other => other.to_string(),
        }
    }

    /// Whether the connection ends with it.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self,
            Failure::Statement(Error::ShuttingDown)
                | Failure::UserMissing
                | Failure::Refused { .. }
                | Failure::Gone(_)
        )
    }

    /// The message that tells the client.
    pub fn response(&self, severity: &'static str) -> PgWireBackendMessage {
        let mut fields = fields(severity, self.code(), self.to_string());
        if let Failure::Statement(error) = self {
            push(&mut fields, b'D', error.detail());
            push(&mut fields, b'H', error.hint());
            push(&mut fields, b'W', error.context());
            push(
                &mut fields,
                b'P',
                error.position().map(|position| position.to_string()),
            );
            if let Some(place) = error.place() {
                push(&mut fields, b's', Some(place.schema.clone()));
                push(&mut fields, b't', Some(place.table.clone()));
                push(&mut fields, b'c', place.column.clone());
                push(&mut fields, b'n', place.constraint.clone());
            }
        }
        if let Failure::Refused { hint, .. } = self {
            push(&mut fields, b'H', hint.clone());
        }
        PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields))
    }
}

impl From<PgWireError> for Failure {
    fn from(error: PgWireError) -> Self {
        match error {
            PgWireError::IoError(error) => Failure::Gone(error),
            other => Failure::Protocol(other.to_string()),
        }
    }
}

/// The message that tells the client something beside a result.
pub fn notice_response(notice: &Notice) -> PgWireBackendMessage {
    let mut fields = fields(notice.severity, notice.code, notice.message.clone());
    push(&mut fields, b'H', notice.hint.clone());
    PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields))
}

/// Severity twice (`S` may be translated, `V` may not), code and message.
fn fields(severity: &str, code: &str, message: String) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', code.to_owned()),
    ];
    push(&mut fields, b'M', Some(message));
    fields
}

/// A NUL ends a field on the wire, so one in a message would cut the rest into garbage.
fn push(fields: &mut Vec<(u8, String)>, field: u8, text: Option<String>) {
    if let Some(text) = text {
        fields.push((field, text.replace('\0', "\u{fffd}")));
    }
}
