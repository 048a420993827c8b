//! Results as text: psql's table, CSV, JSON.

mod csv;
mod json;
mod table;
mod width;

use std::io::Write;
use std::sync::Arc;

use clap::ValueEnum;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::exit::Failure;
use crate::error::Error;
use crate::postgres::names_of_objects::Names;
use crate::postgres::style::Style;

pub use width::{character_width, text_width};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// As psql aligns it, with the number of rows below.
    #[default]
    Table,
    /// RFC 4180, as psql --csv: NULL is empty.
    Csv,
    /// One array of objects for each result; NULL is null, an instant is a string.
    Json,
}

/// Writes the rows of a statement's result, OIDs by their `names` and values in a style. CSV and JSON are written while rows are computed; a table
/// needs its widest cell first.
///
/// # Errors
/// The statement's, where a row can't be computed, and that of `out`.
pub async fn write_rows(
    format: Format,
    mut rows: SendableRecordBatchStream,
    sql: &str,
    names: &Arc<dyn Names>,
    style: Style,
    out: &mut (dyn Write + Send),
) -> Result<(), Failure> {
    let schema = rows.schema();
    let mut table = table::Table::new(&schema, Arc::clone(names), style);
    let mut csv = csv::Writer::new(&schema, Arc::clone(names), style);
    let mut json = json::Writer::new(&schema);
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(|error| Error::from_engine(&error, sql))?;
        match format {
            Format::Table => table.add(&batch)?,
            Format::Csv => csv.write(&batch, out)?,
            Format::Json => json.write(&batch, out)?,
        }
    }
    match format {
        Format::Table => table.write(out)?,
        Format::Csv => csv.finish(out)?,
        Format::Json => json.finish(out)?,
    }
    Ok(())
}
