//! Files of other programs as rows of a table: what is in them, which types it has, and what can't be read.
//!
//! Every file is read twice. The first reading looks at all rows and says which type each column has; the
//! second makes batches of these types. A row that can't be read is a reject with its reason: it is written
//! down, and the others are kept.

mod batch;
mod columnar;
mod delimited;
mod infer;
mod input;
mod json;
mod names;
mod reading;
mod rejects;
mod relation;
mod source;
mod workbook;
mod xes;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;

pub use infer::Column;
pub use input::{Format, Input};
pub use reading::{DateOrder, Reading};
pub use rejects::{Reject, Rejects};
pub use relation::ImportedRows;
pub use source::{Cell, Sink};

use infer::Inference;

/// How files are read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The format of all files; by their names where absent.
    pub format: Option<Format>,
    /// What is between fields; found out where absent.
    pub delimiter: Option<u8>,
    /// The encoding, by its WHATWG label; found out where absent.
    pub encoding: Option<String>,
    /// Whether the first row is data.
    pub no_header: bool,
    /// The text that stands for nothing, besides the usual ones.
    pub null: Option<String>,
    /// The worksheet of a workbook; the first with rows where absent.
    pub sheet: Option<String>,
    /// How `03/04/2024` is read where the column doesn't tell.
    pub date_order: DateOrder,
    /// Whether names of columns stay as they are; otherwise `Deal ID` becomes `deal_id`.
    pub keep_names: bool,
}

/// Why files can't be imported.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ImportError {
    /// The SQLSTATE.
    pub code: &'static str,
    /// What is wrong, with the file's name.
    pub message: String,
    /// What to do instead.
    pub hint: Option<String>,
}

impl ImportError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A file that can't be read to its end.
    fn unreadable(input: &Input, error: &dyn std::fmt::Display) -> Self {
        Self::new(
            "58030",
            format!("can't read \"{}\": {error}", input.path.display()),
        )
    }

    /// A file that isn't what its name says.
    fn malformed(input: &Input, error: &dyn std::fmt::Display) -> Self {
        let (path, format) = (input.path.display(), input.format.name());
        Self::new(
            "22P04",
            format!("\"{path}\" can't be read as {format}: {error}"),
        )
        .hint("Say what it is with --format, or what is between its fields with --delimiter.")
    }
}

/// How far a reading has come; another thread may look.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the files, as they are on the disk.
    pub bytes: AtomicU64,
    /// Rows.
    pub rows: AtomicU64,
}

impl Progress {
    fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Files that were looked at: their columns with types, and how many rows there are.
#[derive(Debug)]
pub struct Import {
    inputs: Vec<Input>,
    options: Options,
    columns: Vec<Column>,
    schema: SchemaRef,
    rows: u64,
    notes: Vec<String>,
}

impl Import {
    /// How many bytes the files that `paths` name have, as they are on the disk.
    ///
    /// # Errors
    /// 58P01 and 22023 as [`Import::look`].
    pub fn bytes(paths: &[PathBuf], format: Option<Format>) -> Result<u64, ImportError> {
        let inputs = input::expand(paths, format)?;
        Ok(inputs.iter().map(Input::size).sum())
    }

    /// Looks at all rows of the files that `paths` name (files, folders, patterns with `*`).
    ///
    /// # Errors
    /// 58P01 where there is no file, 58030 where one can't be read to its end, 22P04 where one isn't what its name
    /// says, 42804 where a column has different types in files that know their types.
    pub fn look(
        paths: &[PathBuf],
        options: Options,
        progress: &Progress,
    ) -> Result<Self, ImportError> {
        let inputs = input::expand(paths, options.format)?;
        if inputs.iter().all(|input| input.format.is_columnar()) {
            let (schema, rows) = columnar::look(&inputs, &options)?;
            return Ok(Self {
                columns: Vec::new(),
                schema,
                rows,
                notes: Vec::new(),
                inputs,
                options,
            });
        }
        if let Some(input) = inputs.iter().find(|input| input.format.is_columnar()) {
            let message = format!(
                "\"{}\" can't be imported together with text files",
                input.path.display()
            );
            return Err(ImportError::new("0A000", message).hint(
                "Parquet and Arrow files know their types. Import them by a command of their own.",
            ));
        }
        let mut inference = Inference::new(&options);
        for input in &inputs {
            inference.begin(input);
            source::read(input, &options, progress, &mut inference)?;
        }
        let (columns, rows, notes) = inference.finish()?;
        let schema = batch::schema(&columns);
        Ok(Self {
            inputs,
            options,
            columns,
            schema,
            rows,
            notes,
        })
    }

    /// The files.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The columns, in the order in which they were met; none for files that know their types.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Gives a column another type: the user's, or that of the table that the rows go to.
    ///
    /// # Errors
    /// 42703 where there is no such column.
    pub fn read_as(&mut self, name: &str, sql_type: &str) -> Result<(), ImportError> {
        let Some(column) = self.columns.iter_mut().find(|column| column.name == name) else {
            let names: Vec<&str> = self
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            return Err(
                ImportError::new("42703", format!("the files have no column \"{name}\""))
                    .hint(format!("They have {}.", names.join(", "))),
            );
        };
        column.reading = column.reading.as_type(sql_type, column.order);
        column.sql_type = sql_type.to_owned();
        self.schema = batch::schema(&self.columns);
        Ok(())
    }

    /// The columns that the batches have.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many rows there are, without rejects.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What was decided for files as a whole: encodings, delimiters, headers.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Reads the files again and gives their rows in batches of [`Import::schema`].
    ///
    /// # Errors
    /// As [`Import::look`]; what `each` answers ends the reading.
    pub fn batches(
        &self,
        progress: &Progress,
        rejects: &mut Rejects,
        each: &mut dyn FnMut(RecordBatch) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        if self.columns.is_empty() {
            return columnar::batches(&self.inputs, &self.schema, &self.options, progress, each);
        }
        let mut batches = batch::Batches::new(
            &self.columns,
            Arc::clone(&self.schema),
            &self.options,
            rejects,
            each,
        );
        for input in &self.inputs {
            batches.begin(input);
            source::read(input, &self.options, progress, &mut batches)?;
        }
        batches.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
