//! What is written of a login or a statement.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::redact::without_literals;

/// How many bytes of a statement are written.
const LONGEST_STATEMENT: usize = 64 << 10;
/// How many bytes of a parameter.
const LONGEST_PARAMETER: usize = 1 << 10;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Somebody connected, or was refused.
    Login,
    /// Somebody's connection ended.
    Logout,
    /// A statement ended.
    Statement,
    /// `rows` records could not be written.
    Lost,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It failed; see the SQLSTATE.
    Error,
    /// Its client closed it, or went away, before its end.
    Unfinished,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it began, UTC to the microsecond.
    pub at: String,
    /// What happened.
    pub event: Event,
    /// The number of the connection; a process' in Postgres.
    #[serde(default)]
    pub connection: i32,
    /// Who connected.
    #[serde(default)]
    pub user: String,
    /// The role that they had chosen with `SET ROLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether over TLS.
    #[serde(default)]
    pub tls: bool,
    /// The database as the client named it.
    #[serde(default)]
    pub database: String,
    /// What the client calls itself.
    #[serde(default)]
    pub application: String,
    /// The statement, without passwords.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<String>,
    /// The values of its parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<Option<String>>,
    /// The command's tag: `SELECT 5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// How many rows it returned or changed.
    #[serde(default)]
    pub rows: u64,
    /// How long it took, the client's reading included.
    #[serde(default)]
    pub duration_ms: f64,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The same in words; of a login the reason that the client isn't told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Record {
    /// Something that went well.
    pub fn new(event: Event, at: DateTime<Utc>) -> Self {
        Self {
            at: at.to_rfc3339_opts(SecondsFormat::Micros, true),
            event,
            connection: 0,
            user: String::new(),
            role: None,
            address: None,
            tls: false,
            database: String::new(),
            application: String::new(),
            statement: None,
            parameters: Vec::new(),
            tag: None,
            rows: 0,
            duration_ms: 0.0,
            outcome: Outcome::Ok,
            sqlstate: None,
            message: None,
        }
    }

    pub(super) fn lost(at: DateTime<Utc>, count: u64) -> Self {
        Self {
            rows: count,
            outcome: Outcome::Error,
            ..Self::new(Event::Lost, at)
        }
    }

    /// Takes out what users wrote and what the data hold.
    pub(super) fn forget_values(&mut self) {
        if let Some(statement) = &mut self.statement {
            *statement = without_literals(statement);
        }
        self.parameters.clear();
        // A message may repeat a value; that of a login is ours.
        if self.event == Event::Statement {
            self.message = None;
        }
    }

    /// The record as a line.
    pub(super) fn write(mut self: Box<Self>, lines: &mut Vec<u8>) {
        self.as_mut().cut();
        self.append(lines);
    }

    fn cut(&mut self) {
        if let Some(statement) = &mut self.statement {
            cut(statement, LONGEST_STATEMENT);
        }
        for parameter in self.parameters.iter_mut().flatten() {
            cut(parameter, LONGEST_PARAMETER);
        }
    }

    fn append(&self, lines: &mut Vec<u8>) {
        let before = lines.len();
        match serde_json::to_writer(&mut *lines, self) {
            Ok(()) => lines.push(b'\n'),
            // Texts and numbers can always be written.
            Err(_) => lines.truncate(before),
        }
    }
}

fn cut(text: &mut String, most: usize) {
    if text.len() <= most {
        return;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push('…');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_and_comes_back() {
        let record = Record {
            user: "ana\n".to_owned(),
            statement: Some("select '漏斗\n'".to_owned()),
            parameters: vec![None, Some("1".to_owned())],
            ..Record::new(Event::Statement, Utc::now())
        };
        let mut lines = Vec::new();
        Box::new(record.clone()).write(&mut lines);
        let text = String::from_utf8(lines).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn a_long_statement_is_cut_between_characters() {
        let record = Record {
            statement: Some("漏".repeat(LONGEST_STATEMENT)),
            ..Record::new(Event::Statement, Utc::now())
        };
        let mut lines = Vec::new();
        Box::new(record).write(&mut lines);
        let read: Record = serde_json::from_slice(&lines).unwrap();
        let statement = read.statement.unwrap();
        assert!(statement.len() < LONGEST_STATEMENT + 4 && statement.ends_with("漏…"));
    }
}
