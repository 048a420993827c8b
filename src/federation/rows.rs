//! Rows of texts as columns of their types.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, StringBuilder,
};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::DataFusionError;

use crate::error::{Error, ForeignFault};
use crate::postgres::casts;

/// How many rows travel together.
pub const ROWS: usize = 4096;
/// How much text travels together, in bytes: wide rows come in smaller parts.
const BYTES: usize = 8 << 20;

/// Some rows, a text for each value.
#[derive(Debug)]
pub struct Texts {
    columns: Vec<StringBuilder>,
    rows: usize,
    bytes: usize,
}

impl Texts {
    /// None yet, of `width` columns.
    pub fn new(width: usize) -> Self {
        Self {
            columns: (0..width).map(|_| StringBuilder::new()).collect(),
            rows: 0,
            bytes: 0,
        }
    }

    /// The next value of a row, in the column of that number.
    pub fn value(&mut self, column: usize, value: Option<&str>) {
        if let Some(builder) = self.columns.get_mut(column) {
            builder.append_option(value);
            self.bytes += value.map_or(0, str::len);
        }
    }

    /// A row has all its values.
    pub fn end_row(&mut self) {
        self.rows += 1;
    }

    /// Whether these are enough to be sent on.
    pub fn is_full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows, to be read as texts.
    pub fn strings(mut self) -> Vec<Vec<Option<String>>> {
        let columns: Vec<StringArray> =
            self.columns.iter_mut().map(StringBuilder::finish).collect();
        let value = |column: &StringArray, row: usize| {
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        (0..self.rows)
            .map(|row| columns.iter().map(|column| value(column, row)).collect())
            .collect()
    }
}

/// The rows as a batch of `schema`'s columns.
///
/// # Errors
/// HV004 for a text that isn't of its column's type, with the column's name and the server's.
pub fn batch(
    mut texts: Texts,
    schema: &SchemaRef,
    server: &str,
) -> Result<RecordBatch, DataFusionError> {
    let fields = schema.fields().iter().zip(&mut texts.columns);
    let columns = fields.map(|(field, builder)| {
        let column = builder.finish();
        casts::of_texts(&column, field).map_err(|error| {
            let message = Error::from_engine(&error, "").to_string();
            let message = format!("server \"{server}\", column \"{}\": {message}", field.name());
            let hint = "The column may have another type there now: drop the foreign table and make it again, or declare the column as text.";
            let error = ForeignFault::Type.error(message, Some(hint));
            DataFusionError::External(Box::new(error))
        })
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    if let Some(error) = null_there(&columns, schema, server) {
        return Err(error);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(texts.rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// A NULL in a column that is never NULL: it was changed there.
fn null_there(columns: &[ArrayRef], schema: &Schema, server: &str) -> Option<DataFusionError> {
    let mut pairs = columns.iter().zip(schema.fields());
    let (_, field) =
        pairs.find(|(column, field)| !field.is_nullable() && column.null_count() > 0)?;
    let name = field.name();
    let message = format!(
        "server \"{server}\", column \"{name}\": NULL in a column that is declared NOT NULL"
    );
    let hint = "The column may be NULL there now: drop the foreign table and make it again.";
    let error = ForeignFault::Type.error(message, Some(hint));
    Some(DataFusionError::External(Box::new(error)))
}
