//! Rows of a file, whatever it is.

use super::{ImportError, Input, Options, Progress, delimited, input::Format, json, workbook, xes};

/// A field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// What may be a number, a moment, or a text.
    Raw(&'a str),
    /// What the file says is a text; it may still be a moment, which JSON and XES have no type for.
    Text(&'a str),
}

/// What takes the rows of files.
pub trait Sink {
    /// The names of the columns that the following rows have; again when there are more of them.
    fn columns(&mut self, names: &[String]);

    /// A row, with a cell for each column. `line` is its first line, or its number, from 1.
    ///
    /// # Errors
    /// Those of whoever takes it; they end the reading.
    fn row(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<(), ImportError>;

    /// A row that can't be read.
    ///
    /// # Errors
    /// Those of whoever takes it; they end the reading.
    fn reject(&mut self, line: u64, reason: String, row: &[u8]) -> Result<(), ImportError>;

    /// What was decided for the file.
    fn note(&mut self, note: String);
}

/// Gives the rows of `input` to `sink`.
///
/// # Errors
/// 58030 where it can't be read to its end, 22P04 where it isn't what its name says.
pub(super) fn read(
    input: &Input,
    options: &Options,
    progress: &Progress,
    sink: &mut dyn Sink,
) -> Result<(), ImportError> {
    match input.format {
        Format::Csv => delimited::read(input, options, None, progress, sink),
        Format::Tsv => delimited::read(input, options, Some(b'\t'), progress, sink),
        Format::Json => json::read(input, options, progress, sink),
        Format::Workbook => workbook::read(input, options, progress, sink),
        Format::Xes => xes::read(input, options, progress, sink),
        Format::Parquet | Format::Arrow => Err(ImportError::new(
            "XX000",
            "a file that knows its types has no rows of text",
        )),
    }
}

/// The columns of a file whose rows name them.
#[derive(Debug, Default)]
pub(super) struct Columns {
    headers: Vec<String>,
    names: Vec<String>,
}

impl Columns {
    /// The place of a header; a new one is told to the sink.
    pub(super) fn place(&mut self, header: &str, options: &Options, sink: &mut dyn Sink) -> usize {
        if let Some(place) = self.headers.iter().position(|known| known == header) {
            return place;
        }
        self.headers.push(header.to_owned());
        self.names =
            super::names::of_header(self.headers.iter().map(String::as_str), options.keep_names);
        sink.columns(&self.names);
        self.headers.len() - 1
    }
}
