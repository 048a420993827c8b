//! Rows that can't be read, with their reasons.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::ImportError;

/// So many are shown at the end.
const SHOWN: usize = 5;

/// A row that wasn't imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Its file.
    pub file: PathBuf,
    /// Its first line, or its number, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// All of them: a file of those that there are, which isn't made while there is none.
#[derive(Debug)]
pub struct Rejects {
    path: Option<PathBuf>,
    writer: Option<csv::Writer<BufWriter<File>>>,
    count: u64,
    first: Vec<Reject>,
}

impl Rejects {
    /// Rejects that are written to a CSV file of the columns `file`, `line`, `reason` and `row`.
    pub fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            writer: None,
            count: 0,
            first: Vec::new(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first few.
    pub fn first(&self) -> &[Reject] {
        &self.first
    }

    /// The file that they are in, where there are any.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.count > 0)
    }

    pub(super) fn add(
        &mut self,
        file: &Path,
        line: u64,
        reason: String,
        row: &[u8],
    ) -> Result<(), ImportError> {
        self.count += 1;
        if let Some(path) = &self.path {
            let unwritable = |error: &dyn std::fmt::Display| {
                ImportError::new(
                    "58030",
                    format!("can't write the rejects to \"{}\": {error}", path.display()),
                )
            };
            if self.writer.is_none() {
                let file = File::create(path).map_err(|error| unwritable(&error))?;
                let mut writer = csv::Writer::from_writer(BufWriter::new(file));
                writer
                    .write_record(["file", "line", "reason", "row"])
                    .map_err(|error| unwritable(&error))?;
                self.writer = Some(writer);
            }
            if let Some(writer) = &mut self.writer {
                let name = file.display().to_string();
                let line = line.to_string();
                let fields: [&[u8]; 4] = [name.as_bytes(), line.as_bytes(), reason.as_bytes(), row];
                writer
                    .write_record(fields)
                    .map_err(|error| unwritable(&error))?;
            }
        }
        if self.first.len() < SHOWN {
            self.first.push(Reject {
                file: file.to_owned(),
                line,
                reason,
            });
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), ImportError> {
        match &mut self.writer {
            Some(writer) => writer.flush().map_err(|error| {
                ImportError::new("58030", format!("can't write the rejects: {error}"))
            }),
            None => Ok(()),
        }
    }
}
