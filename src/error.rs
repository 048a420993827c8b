//! Every error that a user can meet, as Postgres would report it.

mod type_names;
mod wording;

use std::sync::Arc;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion_funnel::error::{FunnelError, Kind, nearest};
use thiserror::Error;

use crate::import::ImportError;
use crate::postgres::encoding::EncodingFault;
use crate::postgres::function::ValueFault;
use crate::tables::TableDefinition;

/// The result of everything that talks to a user.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with its SQLSTATE, its hint and where in the statement it is.
#[derive(Debug, Error)]
pub enum Error {
    /// The text is not SQL.
    #[error("{message}")]
    Syntax {
        /// What was expected and what was found.
        message: String,
        /// The character where it went wrong, from 1.
        position: Option<usize>,
    },
    /// The statement is larger or deeper than can be planned safely.
    #[error("{message}")]
    TooComplex {
        /// What there is too much of.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// More than the server allows.
    #[error("{message}")]
    OverLimit {
        /// What there is too much of.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// A fault in a funnel, or a name that doesn't exist.
    #[error("{error}")]
    Funnel {
        /// The fault.
        error: FunnelError,
        /// The character where it is, from 1.
        position: Option<usize>,
    },
    /// Files that can't be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A name stands for more than one thing.
    #[error("{message}")]
    Ambiguous {
        /// The name and what it could mean.
        message: String,
        /// The character where it is, from 1.
        position: Option<usize>,
    },
    /// Something that SQL has and FunnelSQL doesn't.
    #[error("{message}")]
    Unsupported {
        /// What it is.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// Something that the user may not do.
    #[error("{message}")]
    Denied {
        /// What it is.
        message: String,
        /// What to do instead.
        hint: String,
    },
    /// A fault about a role.
    #[error("{message}")]
    Role {
        /// What it is, for the SQLSTATE.
        fault: RoleFault,
        /// The role and what is wrong.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A fault about another database, or of it.
    #[error("{message}")]
    Foreign {
        /// What it is, for the SQLSTATE.
        fault: ForeignFault,
        /// The server and what is wrong.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A setting that can't be what it was set to.
    #[error("{message}")]
    InvalidSetting {
        /// The setting and the value.
        message: String,
        /// What it may be.
        hint: Option<String>,
    },
    /// A change in a transaction that only reads.
    #[error("cannot execute {0} in a read-only transaction")]
    ReadOnly(&'static str),
    /// A statement that needs a transaction block.
    #[error("{0} can only be used in transaction blocks")]
    NoTransaction(&'static str),
    /// A savepoint that there isn't.
    #[error("savepoint \"{0}\" does not exist")]
    UnknownSavepoint(String),
    /// A cursor that there isn't.
    #[error("cursor \"{0}\" does not exist")]
    UnknownCursor(String),
    /// A cursor that there is already.
    #[error("cursor \"{0}\" already exists")]
    DuplicateCursor(String),
    /// A cursor that can't go back.
    #[error("cursor can only scan forward")]
    ForwardOnly,
    /// Rows of a copy that can't be read.
    #[error("{0}")]
    BadCopy(String),
    /// Text that can't be read, or can't be written in the client's encoding.
    #[error(transparent)]
    Encoding(EncodingFault),
    /// A setting that can't be changed, or not now.
    #[error("{0}")]
    FixedSetting(String),
    /// A setting that there isn't.
    #[error("unrecognized configuration parameter \"{0}\"")]
    UnknownSetting(String),
    /// The name of a prepared statement that there isn't.
    #[error("prepared statement \"{0}\" does not exist")]
    UnknownStatement(String),
    /// The name of a prepared statement that there is already.
    #[error("prepared statement \"{0}\" already exists")]
    DuplicateStatement(String),
    /// More or fewer parameters than the statement has.
    #[error("wrong number of parameters for prepared statement \"{name}\"")]
    ParameterCount {
        /// The statement.
        name: String,
        /// How many it has.
        expected: usize,
        /// How many there were.
        given: usize,
    },
    /// The statement stands inside a transaction that has already failed.
    #[error("current transaction is aborted, commands ignored until end of transaction block")]
    TransactionAborted,
    /// The user, an administrator or a time limit stopped the statement.
    #[error("canceling statement due to {0}")]
    Canceled(&'static str),
    /// A client that said nothing for too long in a transaction.
    #[error("terminating connection due to idle-in-transaction timeout")]
    IdleInTransaction,
    /// A client that said nothing for too long.
    #[error("terminating connection due to idle-session timeout")]
    IdleSession,
    /// The server is about to stop.
    #[error("terminating connection due to administrator command")]
    ShuttingDown,
    /// A stored definition that can't be read.
    #[error("{kind} definition in \"{file}\" can't be read: {reason}")]
    Corrupt {
        /// What it defines.
        kind: &'static str,
        /// Its file.
        file: String,
        /// Why it can't be read.
        reason: String,
    },
    /// A table or view that could not be made again when the engine was opened.
    #[error("\"{name}\" could not be made again at the start: {cause}")]
    Broken {
        /// Its name.
        name: String,
        /// What was wrong then.
        cause: Arc<Error>,
    },
    /// A statement for another kind of object.
    #[error("{message}")]
    WrongObject {
        /// The object and what it isn't.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// A schema that there isn't.
    #[error("schema \"{name}\" does not exist")]
    UnknownSchema {
        /// Its name.
        name: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// A file or socket operation failed.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// Something is wrong with the configuration or the command line.
    #[error("{message}")]
    Configuration {
        /// The fault.
        message: String,
        /// What to write instead.
        hint: String,
    },
    /// Rows that a table can't take, or a change that can't be made now.
    #[error("{}", .0.message)]
    Change(Box<ChangeError>),
    /// The query's data, or the engine while it read them.
    #[error("{message}")]
    Query {
        /// What it is, for the SQLSTATE.
        fault: Fault,
        /// What the engine said.
        message: String,
        /// The character where it is, from 1.
        position: Option<usize>,
    },
}

/// What is wrong with a change of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeError {
    /// What it is, for the SQLSTATE.
    pub fault: ChangeFault,
    /// What is wrong.
    pub message: String,
    /// Which rows or objects it is about.
    pub detail: Option<String>,
    /// What to do instead.
    pub hint: Option<String>,
    /// Where in what was sent: `COPY t, line 3, column amount: "abc"`.
    pub context: Option<String>,
    /// The objects that it is about, for programs.
    pub place: Option<Box<ErrorPlace>>,
}

/// What an error is about, as drivers tell programs by fields of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPlace {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The column, where it is about one.
    pub column: Option<String>,
    /// The constraint, where it is about one.
    pub constraint: Option<String>,
}

/// The kinds of faults of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeFault {
    /// NULL where a value has to be.
    NotNull,
    /// A key that there is already.
    Unique,
    /// A row that a condition of its table is false for.
    Check,
    /// A text that is longer than its column.
    TooLong,
    /// A row that is to be changed twice.
    Twice,
    /// Rows that somebody else has changed meanwhile.
    Serialization,
    /// What is in use just now.
    InUse,
    /// What something else depends on.
    Depended,
    /// A version or object that is gone.
    Gone,
    /// A statement that can't be as it is written.
    Definition,
    /// Rows of a copy that can't be read.
    BadCopy,
    /// A fault of another kind, at a place in what was sent.
    Other(&'static str),
}

impl ChangeFault {
    /// The five-character SQLSTATE.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotNull => "23502",
            Self::Unique => "23505",
            Self::Check => "23514",
            Self::TooLong => "22001",
            Self::Twice => "21000",
            Self::Serialization => "40001",
            Self::InUse => "55006",
            Self::Depended => "2BP01",
            Self::Gone => "42P01",
            Self::Definition => "42P16",
            Self::BadCopy => "22P04",
            Self::Other(code) => code,
        }
    }

    /// The error of this kind.
    pub fn error(self, message: impl Into<String>) -> ChangeError {
        ChangeError {
            fault: self,
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            place: None,
        }
    }
}

impl ChangeError {
    /// The same about a column of a table.
    pub fn of_column(self, definition: &TableDefinition, column: &str) -> Self {
        self.of(definition, Some(column), None)
    }

    /// The same about a constraint of a table.
    pub fn of_constraint(self, definition: &TableDefinition, constraint: &str) -> Self {
        self.of(definition, None, Some(constraint))
    }

    fn of(self, table: &TableDefinition, column: Option<&str>, constraint: Option<&str>) -> Self {
        Self {
            place: Some(Box::new(ErrorPlace {
                schema: table.schema.clone(),
                table: table.name.clone(),
                column: column.map(str::to_owned),
                constraint: constraint.map(str::to_owned),
            })),
            ..self
        }
    }

    /// The same with a detail.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The same with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The same at a place in what was sent.
    pub fn context(self, context: impl Into<String>) -> Self {
        Self {
            context: Some(context.into()),
            ..self
        }
    }
}

impl From<ChangeError> for Error {
    fn from(error: ChangeError) -> Self {
        Error::Change(Box::new(error))
    }
}

impl From<ChangeError> for DataFusionError {
    fn from(error: ChangeError) -> Self {
        DataFusionError::External(Box::new(Error::from(error)))
    }
}

/// The kinds of faults about roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleFault {
    /// A role that there isn't.
    Unknown,
    /// A role that there is already.
    Duplicate,
    /// A name that means something else.
    Reserved,
    /// A role that would be a member of itself.
    Grant,
    /// Nobody could give out passwords any more.
    Unadministered,
    /// The role is the one that asks.
    InUse,
    /// A password or an option that can't be.
    Invalid,
    /// Something is granted to the role, or a policy names it.
    Depended,
}

impl RoleFault {
    /// The fault of a role.
    pub fn error(self, message: String, hint: Option<String>) -> Error {
        Error::Role {
            fault: self,
            message,
            hint,
        }
    }
}

/// The kinds of faults about other databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignFault {
    /// It can't be reached, or doesn't let us in.
    Connection,
    /// All connections that there may be are in use.
    Busy,
    /// A server, user mapping or wrapper that there isn't.
    Unknown,
    /// A server or user mapping that there is already.
    Duplicate,
    /// Something depends on a server.
    Depended,
    /// An option that there isn't.
    OptionName,
    /// An option that can't be what it is.
    OptionValue,
    /// A table that isn't there any more.
    MissingTable,
    /// A column that isn't there any more.
    MissingColumn,
    /// A value that isn't of its column's type any more.
    Type,
    /// It doesn't let us have what we ask for.
    Refused,
    /// A store of files doesn't have what it should, or can't give it.
    Storage,
    /// The other database's own.
    Remote,
}

impl ForeignFault {
    /// The fault with its text.
    pub fn error(self, message: String, hint: Option<&str>) -> Error {
        Error::Foreign {
            fault: self,
            message,
            hint: hint.map(str::to_owned),
        }
    }
}

/// The kinds of faults that the engine reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A LIMIT below 0.
    InvalidLimit,
    /// An OFFSET below 0.
    InvalidOffset,
    /// A place in GROUP BY or ORDER BY that no column has.
    InvalidColumnReference,
    /// Lists whose lengths have to be the same, or 1.
    Syntax,
    /// A number does not fit.
    OutOfRange,
    /// Division by zero.
    DivisionByZero,
    /// A text that isn't what it was cast to.
    InvalidText,
    /// Bytes that are no text in their encoding.
    InvalidBytes,
    /// A character that another encoding doesn't have.
    Untranslatable,
    /// A date or time that there isn't.
    InvalidDatetime,
    /// Types that don't go together.
    DatatypeMismatch,
    /// An argument that can't be used.
    InvalidArgument,
    /// A column outside of GROUP BY.
    Grouping,
    /// A subquery with more than one row where one is needed.
    Cardinality,
    /// A materialized view without rows yet.
    Unpopulated,
    /// Two rows with the same key.
    DuplicateKey,
    /// A row without a key.
    NullKey,
    /// A name given twice.
    DuplicateColumn,
    /// A relation that is already there.
    DuplicateTable,
    /// A relation that there isn't.
    UndefinedTable,
    /// A type, role or other object that there isn't.
    UndefinedObject,
    /// An object that there is already.
    DuplicateObject,
    /// A function that there isn't, or not for these types.
    UndefinedFunction,
    /// An operator that there isn't for these types.
    UndefinedOperator,
    /// A parameter that there isn't.
    UndefinedParameter,
    /// A name that two relations of a query have.
    DuplicateAlias,
    /// A function of one kind where one of another has to be.
    WrongObjectType,
    /// A window function where there can be none, or a window that can't be.
    Windowing,
    /// A frame of a window whose size can't be.
    InvalidFrame,
    /// A query that reads itself in a way that can't be.
    InvalidRecursion,
    /// Something that SQL has and FunnelSQL doesn't.
    Unsupported,
    /// A schema that there isn't.
    UndefinedSchema,
    /// A date or time outside of what there is.
    DatetimeOverflow,
    /// A type that can't be cast to another.
    CannotCoerce,
    /// A pattern that is none.
    InvalidRegex,
    /// A text to escape with that is longer than a character.
    InvalidEscape,
    /// More than there is room for.
    LimitExceeded,
    /// A part of a text that can't be.
    InvalidSubstring,
    /// A power that there isn't.
    InvalidPower,
    /// A logarithm that there isn't.
    InvalidLogarithm,
    /// Buckets that can't be.
    InvalidWidth,
    /// A number of tiles that there can't be.
    InvalidTiles,
    /// A place that an array or bytes don't have.
    InvalidSubscript,
    /// The memory limit.
    OutOfMemory,
    /// The limit of temporary files, or a disk that is full.
    DiskFull,
    /// A file that is not there any more, or can't be read.
    Io,
    /// A plan that can't be right, for no other reason.
    Semantic,
    /// A bug.
    Internal,
}

impl Error {
    /// The five-character SQLSTATE.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Syntax { .. } => "42601",
            Error::TooComplex { .. } => "54001",
            Error::OverLimit { .. } => "53400",
            Error::Funnel { error, .. } => error.code(),
            Error::Import(error) => error.code,
            Error::Ambiguous { .. } => "42702",
            Error::Unsupported { .. } => "0A000",
            Error::Denied { .. } => "42501",
            Error::Role { fault, .. } => match fault {
                RoleFault::Unknown => "42704",
                RoleFault::Duplicate => "42710",
                RoleFault::Reserved => "42939",
                RoleFault::Grant => "0LP01",
                RoleFault::Unadministered => "55000",
                RoleFault::InUse => "55006",
                RoleFault::Invalid => "22023",
                RoleFault::Depended => "2BP01",
            },
            Error::Foreign { fault, .. } => match fault {
                ForeignFault::Connection => "08001",
                ForeignFault::Busy => "53300",
                ForeignFault::Unknown => "42704",
                ForeignFault::Duplicate => "42710",
                ForeignFault::Depended => "2BP01",
                ForeignFault::OptionName => "HV00D",
                ForeignFault::OptionValue => "HV024",
                ForeignFault::MissingTable => "HV00R",
                ForeignFault::MissingColumn => "HV005",
                ForeignFault::Type => "HV004",
                ForeignFault::Refused => "42501",
                ForeignFault::Storage => "58030",
                ForeignFault::Remote => "HV000",
            },
            Error::InvalidSetting { .. } => "22023",
            Error::ReadOnly(_) => "25006",
            Error::NoTransaction(_) => "25P01",
            Error::UnknownSavepoint(_) => "3B001",
            Error::UnknownCursor(_) => "34000",
            Error::DuplicateCursor(_) => "42P03",
            Error::ForwardOnly => "55000",
            Error::BadCopy(_) => "22P04",
            Error::Encoding(fault) => fault.code(),
            Error::FixedSetting(_) => "55P02",
            Error::UnknownSetting(_) => "42704",
            Error::UnknownStatement(_) => "26000",
            Error::DuplicateStatement(_) => "42P05",
            Error::ParameterCount { .. } => "42601",
            Error::TransactionAborted => "25P02",
            Error::Canceled(_) => "57014",
            Error::IdleInTransaction => "25P03",
            Error::IdleSession => "57P05",
            Error::ShuttingDown => "57P01",
            Error::Corrupt { .. } => "XX001",
            Error::Broken { cause, .. } => cause.code(),
            Error::WrongObject { .. } => "42809",
            Error::UnknownSchema { .. } => "3F000",
            Error::Io { .. } => "58030",
            Error::Configuration { .. } => "F0000",
            Error::Change(change) => change.fault.code(),
            Error::Query { fault, .. } => match fault {
                Fault::InvalidLimit => "2201W",
                Fault::InvalidOffset => "2201X",
                Fault::InvalidColumnReference => "42P10",
                Fault::Syntax => "42601",
                Fault::OutOfRange => "22003",
                Fault::DivisionByZero => "22012",
                Fault::InvalidText => "22P02",
                Fault::InvalidBytes => "22021",
                Fault::Untranslatable => "22P05",
                Fault::InvalidDatetime => "22007",
                Fault::DatatypeMismatch => "42804",
                Fault::InvalidArgument => "22023",
                Fault::Grouping => "42803",
                Fault::Cardinality => "21000",
                Fault::Unpopulated => "55000",
                Fault::DuplicateKey => "23505",
                Fault::NullKey => "23502",
                Fault::DuplicateColumn => "42701",
                Fault::DuplicateTable => "42P07",
                Fault::UndefinedTable => "42P01",
                Fault::UndefinedObject => "42704",
                Fault::DuplicateObject => "42710",
                Fault::UndefinedFunction | Fault::UndefinedOperator => "42883",
                Fault::UndefinedParameter => "42P02",
                Fault::DuplicateAlias => "42712",
                Fault::WrongObjectType => "42809",
                Fault::Windowing => "42P20",
                Fault::InvalidFrame => "22013",
                Fault::InvalidRecursion => "42P19",
                Fault::Unsupported => "0A000",
                Fault::UndefinedSchema => "3F000",
                Fault::DatetimeOverflow => "22008",
                Fault::CannotCoerce => "42846",
                Fault::InvalidRegex => "2201B",
                Fault::InvalidEscape => "22025",
                Fault::LimitExceeded => "54000",
                Fault::InvalidSubstring => "22011",
                Fault::InvalidPower => "2201F",
                Fault::InvalidLogarithm => "2201E",
                Fault::InvalidWidth => "2201G",
                Fault::InvalidTiles => "22014",
                Fault::InvalidSubscript => "2202E",
                Fault::OutOfMemory => "53200",
                Fault::DiskFull => "53100",
                Fault::Io => "58030",
                Fault::Semantic => "42000",
                Fault::Internal => "XX000",
            },
        }
    }

    /// More about it, where there is more to say.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::ParameterCount {
                expected, given, ..
            } => Some(format!("Expected {expected} parameters but got {given}.")),
            Error::Change(change) => change.detail.clone(),
            _ => None,
        }
    }

    /// The objects that it is about, for programs.
    pub fn place(&self) -> Option<&ErrorPlace> {
        match self {
            Error::Change(change) => change.place.as_deref(),
            _ => None,
        }
    }

    /// Where in what was sent it is, where that isn't the statement's text.
    pub fn context(&self) -> Option<String> {
        match self {
            Error::Change(change) => change.context.clone(),
            _ => None,
        }
    }

    /// What to do instead, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Funnel { error, .. } => error.hint(),
            Error::Import(error) => error.hint.clone(),
            Error::ForwardOnly => {
                Some("Declare it with SCROLL option to enable backward scan.".to_owned())
            }
            Error::TooComplex { hint, .. }
            | Error::OverLimit { hint, .. }
            | Error::WrongObject { hint, .. }
            | Error::Denied { hint, .. }
            | Error::Configuration { hint, .. } => Some(hint.clone()),
            Error::Unsupported { hint, .. }
            | Error::UnknownSchema { hint, .. }
            | Error::Role { hint, .. }
            | Error::Foreign { hint, .. }
            | Error::InvalidSetting { hint, .. } => hint.clone(),
            Error::Change(change) => change.hint.clone(),
            Error::Ambiguous { .. } => Some("Write the table's name before the column.".to_owned()),
            Error::Corrupt { .. } => {
                Some("Restore the file from a copy, or delete it and define it again.".to_owned())
            }
            Error::Broken { .. } => Some(
                "Restart when the cause is gone, or make it again with CREATE; DROP forgets it."
                    .to_owned(),
            ),
            Error::Query {
                fault: Fault::UndefinedFunction,
                message,
                ..
            } if message.starts_with("operator does not exist") => Some(
                "No operator matches the given name and argument types. You might need to add explicit type casts."
                    .to_owned(),
            ),
            Error::Query {
                fault: Fault::UndefinedFunction,
                ..
            } => Some(
                "No function matches the given name and argument types. You might need to add explicit type casts."
                    .to_owned(),
            ),
            Error::Query {
                fault: Fault::UndefinedOperator,
                ..
            } => Some(
                "No operator matches the given name and argument types. You might need to add explicit type casts."
                    .to_owned(),
            ),
            Error::Query {
                fault: Fault::OutOfMemory,
                ..
            } => Some("Ask for fewer rows or columns, or raise the memory limit.".to_owned()),
            Error::Query {
                fault: Fault::Unpopulated,
                ..
            } => Some("Use the REFRESH MATERIALIZED VIEW command.".to_owned()),
            Error::Query {
                fault: Fault::DiskFull,
                ..
            } => Some(
                "Sort or group fewer rows at a time, or raise the limit of temporary files."
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The character of the statement where it went wrong, from 1.
    pub fn position(&self) -> Option<usize> {
        match self {
            Error::Syntax { position, .. }
            | Error::Funnel { position, .. }
            | Error::Ambiguous { position, .. }
            | Error::Query { position, .. } => *position,
            _ => None,
        }
    }

    /// The error at another place: of a text that was made of a part of the statement.
    pub fn at(mut self, place: Option<usize>) -> Self {
        if let Error::Syntax { position, .. }
        | Error::Funnel { position, .. }
        | Error::Ambiguous { position, .. }
        | Error::Query { position, .. } = &mut self
        {
            *position = place;
        }
        self
    }

    /// Moves the position, when the statement stood further back in a longer text.
    pub fn shift(mut self, characters: usize) -> Self {
        match &mut self {
            Error::Syntax {
                position: Some(position),
                ..
            }
            | Error::Funnel {
                position: Some(position),
                ..
            }
            | Error::Ambiguous {
                position: Some(position),
                ..
            }
            | Error::Query {
                position: Some(position),
                ..
            } => *position += characters,
            _ => {}
        }
        self
    }

    /// A session has as many of something as it may have; `instead` is what makes room.
    pub fn too_many(what: &str, most: usize, instead: &str) -> Self {
        Error::OverLimit {
            message: format!("too many {what}: a session may have {most}"),
            hint: format!("Close those that aren't needed any more ({instead})."),
        }
    }

    /// An error while doing `what` with a file or socket.
    pub fn io(what: impl Into<String>, error: std::io::Error) -> Self {
        Error::Io {
            what: what.into(),
            error,
        }
    }

    /// An error of the engine while it planned or ran `sql`.
    pub fn from_engine(error: &DataFusionError, sql: &str) -> Self {
        let position = diagnostic_position(error, sql);
        if let Some(fault) = crate::external::find_fault(error) {
            return fault;
        }
        if let Some(funnel) = FunnelError::find(error) {
            return Error::from(funnel.clone()).at(position);
        }
        from_root(error.find_root(), position, sql)
    }
}

impl From<FunnelError> for Error {
    fn from(error: FunnelError) -> Self {
        // The functions know Arrow's types only.
        let error = match error {
            FunnelError::WrongType { message, hint } => FunnelError::WrongType {
                message: type_names::with_sql_types(&message),
                hint: type_names::with_sql_types(&hint),
            },
            other => other,
        };
        Error::Funnel {
            error,
            position: None,
        }
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Error::from_engine(&error, "")
    }
}

fn from_root(root: &DataFusionError, position: Option<usize>, sql: &str) -> Error {
    let query = |fault, message: String| Error::Query {
        fault,
        message,
        position,
    };
    match root {
        DataFusionError::SQL(error, _) => syntax_error(error, sql),
        DataFusionError::SchemaError(error, _) => from_schema_error(error, position, sql),
        DataFusionError::NotImplemented(message) if message.starts_with("Unsupported SQL type") => {
            from_message(message, position, Fault::Semantic)
        }
        DataFusionError::NotImplemented(message) => not_implemented(message, position),
        DataFusionError::ArrowError(error, _) => from_arrow(error, position),
        DataFusionError::ResourcesExhausted(message) => {
            out_of(Fault::OutOfMemory, first_line(message), position)
        }
        DataFusionError::Plan(message) | DataFusionError::Configuration(message) => {
            from_message(message, position, Fault::Semantic)
        }
        DataFusionError::Execution(message) => {
            from_message(message, position, Fault::InvalidArgument)
        }
        DataFusionError::IoError(error) => out_of(io_fault(error), error.to_string(), position),
        DataFusionError::ObjectStore(error) => query(Fault::Io, error.to_string()),
        DataFusionError::ParquetError(error) => query(Fault::Io, error.to_string()),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => Error::from_engine(first, sql),
            None => query(Fault::Internal, root.strip_backtrace()),
        },
        DataFusionError::External(error) if error.is::<ValueFault>() => {
            match error.downcast_ref::<ValueFault>() {
                Some(ValueFault { fault, message }) => query(*fault, message.clone()),
                None => query(Fault::Internal, error.to_string()),
            }
        }
        DataFusionError::External(error) => match error.downcast_ref::<Error>() {
            Some(Error::Corrupt { kind, file, reason }) => Error::Corrupt {
                kind,
                file: file.clone(),
                reason: reason.clone(),
            },
            Some(Error::Denied { message, hint }) => Error::Denied {
                message: message.clone(),
                hint: hint.clone(),
            },
            Some(Error::Unsupported { message, hint }) => Error::Unsupported {
                message: message.clone(),
                hint: hint.clone(),
            },
            Some(Error::WrongObject { message, hint }) => Error::WrongObject {
                message: message.clone(),
                hint: hint.clone(),
            },
            Some(Error::ReadOnly(command)) => Error::ReadOnly(command),
            Some(Error::Query { fault, message, .. }) => query(*fault, message.clone()),
            Some(Error::Change(change)) => Error::Change(change.clone()),
            Some(Error::Foreign {
                fault,
                message,
                hint,
            }) => Error::Foreign {
                fault: *fault,
                message: message.clone(),
                hint: hint.clone(),
            },
            Some(Error::Import(error)) => Error::Import(error.clone()),
            Some(Error::UnknownSetting(name)) => Error::UnknownSetting(name.clone()),
            Some(Error::FixedSetting(message)) => Error::FixedSetting(message.clone()),
            Some(Error::InvalidSetting { message, hint }) => Error::InvalidSetting {
                message: message.clone(),
                hint: hint.clone(),
            },
            _ => match invalid_regex(&error.to_string()) {
                Some(message) => query(Fault::InvalidRegex, message),
                None => query(Fault::Internal, error.to_string()),
            },
        },
        DataFusionError::Internal(_)
        | DataFusionError::ExecutionJoin(_)
        | DataFusionError::Context(..)
        | DataFusionError::Substrait(_)
        | DataFusionError::Diagnostic(..)
        | DataFusionError::Shared(_)
        | DataFusionError::Ffi(_) => query(Fault::Internal, root.strip_backtrace()),
    }
}

/// A parser error; its message ends in ` at Line: 1, Column: 8`, which becomes the position.
pub fn syntax_error(error: &ParserError, sql: &str) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::TooComplex {
                message: "the statement is nested too deeply".to_owned(),
                hint: "Use fewer parentheses and subqueries inside one another.".to_owned(),
            };
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    let (text, place) = match message.rsplit_once(" at Line: ") {
        Some((text, place)) => (text, place.split_once(", Column: ")),
        None => (message.as_str(), None),
    };
    let position = place.and_then(|(line, column)| {
        character_position(sql, line.parse().ok()?, column.trim().parse().ok()?)
    });
    let text = text.strip_prefix("sql parser error: ").unwrap_or(text);
    Error::Syntax {
        message: format!("syntax error: {}", lower_first(text)),
        position,
    }
}

/// The character (from 1) at `line` and `column` (from 1), or nothing outside of `sql`.
pub fn character_position(sql: &str, line: u64, column: u64) -> Option<usize> {
    if line == 0 || column == 0 {
        return None;
    }
    let lines_before = usize::try_from(line - 1).ok()?;
    let mut lines = sql.split('\n');
    // Each line before it has its line break, one character more.
    let before: usize = lines
        .by_ref()
        .take(lines_before)
        .map(|text| text.chars().count() + 1)
        .sum();
    let column = usize::try_from(column).ok()?;
    (column <= lines.next()?.chars().count() + 1).then_some(before + column)
}

fn diagnostic_position(error: &DataFusionError, sql: &str) -> Option<usize> {
    let diagnostic: &Diagnostic = error.diagnostic()?;
    let start = diagnostic.span?.start;
    character_position(sql, start.line, start.column)
}

fn from_schema_error(error: &SchemaError, position: Option<usize>, sql: &str) -> Error {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            // The relations of a query outside of the one with the fault aren't among what is told.
            if let Some(relation) = &field.relation
                && !sql.is_empty()
                && !stands_alone(sql, relation.table())
                && !valid_fields.iter().any(|column| {
                    let known = column.relation.as_ref();
                    known.is_some_and(|known| known.table() == relation.table())
                })
            {
                let name = relation.table();
                return Error::Query {
                    fault: Fault::UndefinedTable,
                    message: format!("missing FROM-clause entry for table \"{name}\""),
                    position,
                };
            }
            let place = match &field.relation {
                Some(relation) => format!(" in {relation}"),
                None => String::new(),
            };
            Error::Funnel {
                error: FunnelError::Unknown {
                    kind: Kind::Column,
                    name: field.name.clone(),
                    place,
                    // Those that no keyboard can write are our own.
                    existing: valid_fields
                        .iter()
                        .map(|column| column.name.clone())
                        .filter(|name| !name.starts_with('\u{1f}'))
                        .collect(),
                },
                position,
            }
        }
        SchemaError::AmbiguousReference { field } => Error::Ambiguous {
            message: format!("column reference \"{}\" is ambiguous", field.name),
            position,
        },
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => Error::Query {
            fault: Fault::DuplicateColumn,
            message: format!("column \"{name}\" specified more than once"),
            position,
        },
    }
}

/// Something that DataFusion doesn't do.
fn not_implemented(message: &str, position: Option<usize>) -> Error {
    if let Some((fault, message)) = wording::said(message) {
        return Error::Query {
            fault,
            message,
            position,
        };
    }
    let (message, hint) =
        wording::unsupported(message).unwrap_or_else(|| (wording::plain(message), None));
    Error::Unsupported { message, hint }
}

/// Whether a name stands in a statement by itself, and not only before a column.
fn stands_alone(sql: &str, name: &str) -> bool {
    let (sql, name) = (sql.to_lowercase(), name.to_lowercase());
    let goes_on = |character: char| character.is_alphanumeric() || character == '_';
    sql.match_indices(name.as_str()).any(|(at, _)| {
        let before = sql[..at].chars().next_back();
        let after = sql[at + name.len()..].trim_start_matches('"').chars();
        !before.is_some_and(goes_on)
            && !after
                .take(1)
                .any(|character| goes_on(character) || character == '.')
    })
}

/// Something that there is no more of. DataFusion's error about temporary files is one about memory, or about a file,
/// so that only its text tells what it is.
fn out_of(fault: Fault, message: String, position: Option<usize>) -> Error {
    let (fault, message) = match message.split_once("The used disk space during the spilling") {
        Some((_, rest)) => {
            let limit = between(rest, "limit of ", ". ").unwrap_or("its limit");
            (
                Fault::DiskFull,
                format!("temporary files of all statements would take more than {limit}"),
            )
        }
        None => (fault, message),
    };
    Error::Query {
        fault,
        message,
        position,
    }
}

fn io_fault(error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::DiskFull,
        _ => Fault::Io,
    }
}

fn from_arrow(error: &ArrowError, position: Option<usize>) -> Error {
    if let ArrowError::ArithmeticOverflow(message)
    | ArrowError::CastError(message)
    | ArrowError::ParseError(message)
    | ArrowError::ComputeError(message)
    | ArrowError::InvalidArgumentError(message) = error
        && let Some((fault, message)) = wording::said(message)
    {
        return Error::Query {
            fault,
            message,
            position,
        };
    }
    let (fault, message) = match error {
        ArrowError::DivideByZero => (Fault::DivisionByZero, "division by zero".to_owned()),
        ArrowError::ArithmeticOverflow(message) => (Fault::OutOfRange, wording::plain(message)),
        ArrowError::CastError(message) if message.starts_with("Can't cast value") => {
            let name = match message.rsplit(' ').next() {
                Some("Int16") => "smallint",
                Some("Int32") => "integer",
                Some("Int64") => "bigint",
                _ => "value",
            };
            (Fault::OutOfRange, format!("{name} out of range"))
        }
        ArrowError::CastError(message) => (Fault::InvalidText, wording::plain(message)),
        ArrowError::ParseError(message) => (Fault::InvalidDatetime, wording::plain(message)),
        ArrowError::InvalidArgumentError(message) => {
            (Fault::InvalidArgument, wording::plain(message))
        }
        ArrowError::CsvError(message) | ArrowError::JsonError(message) => {
            (Fault::InvalidText, message.clone())
        }
        ArrowError::IoError(message, error) => {
            return out_of(io_fault(error), message.clone(), position);
        }
        ArrowError::ExternalError(inner) => match inner.downcast_ref::<DataFusionError>() {
            Some(inner) => return Error::from_engine(inner, ""),
            None => (Fault::Internal, inner.to_string()),
        },
        ArrowError::MemoryError(message) => (Fault::OutOfMemory, message.clone()),
        ArrowError::NotYetImplemented(message) => return not_implemented(message, position),
        other => match invalid_regex(&other.to_string()) {
            Some(message) => (Fault::InvalidRegex, message),
            None => (Fault::Internal, other.to_string()),
        },
    };
    Error::Query {
        fault,
        message,
        position,
    }
}

/// What is wrong with a regular expression, where that is what an error's text says.
fn invalid_regex(text: &str) -> Option<String> {
    let (_, told) = text.split_once("regex parse error:")?;
    let reason = told.lines().find_map(|line| line.strip_prefix("error: "));
    Some(format!(
        "invalid regular expression: {}",
        reason.unwrap_or("it can't be read")
    ))
}

/// DataFusion has one variant for most faults of planning, so that their kind shows only in the text.
/// This and [`wording`] are the places that read it; each pattern is DataFusion 55's.
fn from_message(message: &str, position: Option<usize>, otherwise: Fault) -> Error {
    if let Some((fault, message)) = wording::said(message) {
        return Error::Query {
            fault,
            message,
            position,
        };
    }
    if let Some((message, hint)) = wording::unsupported(message) {
        return Error::Unsupported { message, hint };
    }
    let message = first_line(message);
    if let Some(name) = between(&message, "table '", "' not found") {
        return unknown(Kind::Table, short_name(name), Vec::new(), position);
    }
    if let Some(name) = between(&message, "Invalid function '", "'") {
        let near = between(&message, "Did you mean '", "'").map(str::to_owned);
        let existing = near
            .into_iter()
            .filter(|near| nearest(name, std::slice::from_ref(near)).is_some());
        return unknown(Kind::Function, name, existing.collect(), position);
    }
    if let Some(name) = between(&message, "table function '", "' not found") {
        return unknown(Kind::Function, name, Vec::new(), position);
    }
    if let Some(name) = between(&message, "Unsupported SQL type ", "\n")
        .or_else(|| message.strip_prefix("Unsupported SQL type "))
    {
        return Error::Query {
            fault: Fault::UndefinedObject,
            message: format!("type \"{name}\" does not exist"),
            position,
        };
    }
    if let Some(name) = message.strip_prefix("Invalid qualifier ") {
        return Error::Query {
            fault: Fault::UndefinedTable,
            message: format!("missing FROM-clause entry for table \"{name}\""),
            position,
        };
    }
    if message.contains("failed to match any signature") {
        let name = between(&message, "Function '", "'").unwrap_or("?");
        return Error::Query {
            fault: Fault::UndefinedFunction,
            message: format!("function {name} does not exist for arguments of these types"),
            position,
        };
    }
    let lower = message.to_lowercase();
    let fault = if lower.starts_with("select distinct on expressions must match") {
        Fault::InvalidColumnReference
    } else if lower.contains("group by") && lower.contains("must") {
        Fault::Grouping
    } else if lower.contains("returned more than one row") || lower.contains("more than one row") {
        Fault::Cardinality
    } else if lower.contains("already exists") {
        Fault::DuplicateTable
    } else if lower.contains("divide by zero") {
        Fault::DivisionByZero
    } else if lower.contains("no function matches the given name") {
        Fault::UndefinedFunction
    } else if lower.starts_with("no files found at ") {
        Fault::Io
    } else if lower.contains("overflow") {
        Fault::OutOfRange
    } else if lower.contains("error parsing timestamp") || lower.contains("error parsing date") {
        Fault::InvalidDatetime
    } else if lower.contains("cannot coerce")
        || lower.contains("cannot be cast")
        || lower.contains("failed to coerce")
        || lower.contains("cannot infer common argument type")
    {
        Fault::DatatypeMismatch
    } else {
        otherwise
    };
    Error::Query {
        fault,
        message: wording::plain(&message),
        position,
    }
}

fn unknown(kind: Kind, name: &str, existing: Vec<String>, position: Option<usize>) -> Error {
    let error = FunnelError::Unknown {
        kind,
        name: name.to_owned(),
        place: String::new(),
        existing,
    };
    Error::Funnel { error, position }
}

/// `crm.events` of `funnelsql.crm.events`, `leads` of `funnelsql.public.leads`.
fn short_name(name: &str) -> &str {
    let without_catalog = match name.split_once('.') {
        Some((_, rest)) if rest.contains('.') => rest,
        _ => name,
    };
    without_catalog
        .strip_prefix("public.")
        .unwrap_or(without_catalog)
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = text.find(start)? + start.len();
    let length = text[from..].find(end)?;
    Some(&text[from..from + length])
}

/// Backtraces and plans follow on later lines; they are not for the user.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_over_lines() {
        assert_eq!(character_position("select\n中文 x", 2, 4), Some(11));
        assert_eq!(character_position("select", 1, 7), Some(7));
        assert_eq!(character_position("select", 3, 1), None);
        assert_eq!(character_position("select", 0, 0), None);
    }

    #[test]
    fn a_parser_error_gives_its_place() {
        let error =
            ParserError::ParserError("Expected: x, found: y at Line: 1, Column: 8".to_owned());
        let error = syntax_error(&error, "select  from from");
        assert_eq!(error.position(), Some(8));
        assert_eq!(error.code(), "42601");
        assert_eq!(error.to_string(), "syntax error: expected: x, found: y");
    }

    #[test]
    fn a_relation_is_in_a_statement_where_its_name_stands_alone() {
        assert!(stands_alone("select x.n from \"X\"", "x"));
        assert!(stands_alone("select x.n from t x, u", "x"));
        assert!(!stands_alone("select x.n, \"x\".m from tax", "x"));
    }

    #[test]
    fn a_missing_table_is_named_without_its_catalog() {
        let error = DataFusionError::Plan("table 'funnelsql.public.nope' not found".to_owned());
        let error = Error::from_engine(&error, "");
        assert_eq!(error.code(), "42P01");
        assert_eq!(error.to_string(), "table \"nope\" does not exist");
    }
}
