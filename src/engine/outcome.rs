//! What a statement is found to return, and what running it gave.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::sql::Statement;

/// A statement that is ready to run.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement.
    pub statement: Statement,
    /// The types of its parameters, `$1` first.
    pub parameters: Vec<FieldRef>,
    /// What it returns.
    pub described: Described,
}

/// What a statement returns.
#[derive(Debug, Clone)]
pub enum Described {
    /// No rows.
    Nothing,
    /// Rows of these columns.
    Rows(SchemaRef),
    /// Rows whose columns depend on parameters that have no value yet; describe it again when they have.
    Later,
}

/// What running a statement gave.
pub enum Outcome {
    /// Rows, to be read while they are computed. The tag is the command's first word: `SELECT`.
    Rows {
        /// The command.
        tag: &'static str,
        /// The rows.
        stream: SendableRecordBatchStream,
        /// What the user should know beside them.
        notices: Vec<Notice>,
    },
    /// No rows.
    Done {
        /// The command as Postgres tags it: `CREATE FUNNEL`, `SET`, `INSERT 0 5`.
        tag: String,
        /// What the user should know beside it.
        notices: Vec<Notice>,
        /// Settings that the client has to be told of, with their values.
        reported: Vec<(&'static str, String)>,
    },
}

/// A message beside a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    /// Five characters, as an error's.
    pub code: &'static str,
    /// The text.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Notice {
    pub(super) fn plain(message: String) -> Self {
        Self {
            severity: "NOTICE",
            code: "00000",
            message,
            hint: None,
        }
    }
}

impl Notice {
    pub(super) fn hinted(message: String, hint: String) -> Self {
        Self {
            hint: Some(hint),
            ..Self::plain(message)
        }
    }
}

impl Outcome {
    pub(super) fn done(tag: impl Into<String>) -> Self {
        Outcome::Done {
            tag: tag.into(),
            notices: Vec::new(),
            reported: Vec::new(),
        }
    }

    pub(super) fn noted(tag: &str, notice: Notice) -> Self {
        Outcome::Done {
            tag: tag.to_owned(),
            notices: vec![notice],
            reported: Vec::new(),
        }
    }

    pub(super) fn with(mut self, more: Vec<Notice>) -> Self {
        match &mut self {
            Outcome::Rows { notices, .. } | Outcome::Done { notices, .. } => notices.extend(more),
        }
        self
    }

    pub(super) fn table(tag: &'static str, batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let rows = futures::stream::iter([Ok(batch)]);
        Outcome::Rows {
            tag,
            stream: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
            notices: Vec::new(),
        }
    }
}
