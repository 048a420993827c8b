//! How a command ends.

use std::io;
use std::process::ExitCode;

use datafusion::error::DataFusionError;

use crate::error::Error;

/// It didn't do what was asked.
const RUNTIME: u8 = 1;
/// What was asked can't be read; clap's number for the same.
const USAGE: u8 = 2;
/// psql's number for a script that stopped midway.
const SCRIPT: u8 = 3;

/// Why a command stopped before its end.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    error: Option<Error>,
}

impl Failure {
    /// A fault in the command line or the configuration.
    pub fn usage(message: String, hint: impl Into<String>) -> Self {
        let error = Error::Configuration {
            message,
            hint: hint.into(),
        };
        Self {
            code: USAGE,
            error: Some(error),
        }
    }

    /// A statement of `-c` failed, and has been reported.
    pub fn of_command() -> Self {
        Self {
            code: RUNTIME,
            error: None,
        }
    }

    /// A script stopped midway; its fault has been reported.
    pub fn of_script() -> Self {
        Self {
            code: SCRIPT,
            error: None,
        }
    }

    /// What is still to be reported.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The command's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            code: RUNTIME,
            error: Some(error),
        }
    }
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Self::from(Error::from(error))
    }
}

/// The output can't be written. Whoever reads it may stop reading (`| head`); that is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self {
                code: 0,
                error: None,
            },
            _ => Self::from(Error::io("can't write the output", error)),
        }
    }
}
