//! JSON: one array of objects for each result, one row on a line.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::JsonFormat;
use datafusion::error::DataFusionError;

use crate::cli::exit::Failure;

/// Writes one result, batch by batch.
pub struct Writer {
    schema: SchemaRef,
    has_rows: bool,
}

impl Writer {
    pub fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: with_unique_names(schema),
            has_rows: false,
        }
    }

    pub fn write(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.schema);
        let columns = batch.columns().to_vec();
        let batch =
            RecordBatch::try_new_with_options(schema, columns, &options).map_err(engine_error)?;
        let mut objects = Vec::new();
        let mut writer = WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, OneOnALine>(&mut objects);
        writer.write(&batch).map_err(engine_error)?;
        writer.finish().map_err(engine_error)?;
        out.write_all(if self.has_rows { b",\n" } else { b"[" })?;
        self.has_rows = true;
        Ok(out.write_all(&objects)?)
    }

    pub fn finish(self, out: &mut dyn Write) -> Result<(), Failure> {
        Ok(out.write_all(if self.has_rows { b"]\n" } else { b"[]\n" })?)
    }
}

/// The objects of one batch; the brackets around those of all batches are the caller's.
#[derive(Debug, Default)]
struct OneOnALine;

impl JsonFormat for OneOnALine {
    fn start_row<W: Write>(&self, writer: &mut W, is_first_row: bool) -> Result<(), ArrowError> {
        match is_first_row {
            true => Ok(()),
            false => writer.write_all(b",\n").map_err(ArrowError::from),
        }
    }
}

/// A JSON object has a name once, a result may have it twice: `a`, `a_2`, `a_3`.
fn with_unique_names(schema: &Schema) -> SchemaRef {
    let mut taken: HashSet<String> = HashSet::new();
    let given: HashSet<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = field.name().clone();
            let mut number = 2;
            while taken.contains(&name) || (number > 2 && given.contains(name.as_str())) {
                name = format!("{}_{number}", field.name());
                number += 1;
            }
            taken.insert(name.clone());
            field.as_ref().clone().with_name(name)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn engine_error(error: ArrowError) -> Failure {
    match error {
        // Not the data's fault but that of what they are written to.
        ArrowError::IoError(_, error) => Failure::from(io::Error::from(error.kind())),
        error => Failure::from(crate::error::Error::from(DataFusionError::from(error))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn rows_of_all_batches_are_one_array() {
        let instants = TimestampMicrosecondArray::from(vec![Some(0), None]).with_timezone("UTC");
        let columns: [(&str, ArrayRef, bool); 3] = [
            ("n", Arc::new(Int64Array::from(vec![1, 2])), true),
            ("n", Arc::new(Float64Array::from(vec![0.5, f64::NAN])), true),
            ("线索", Arc::new(instants), true),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let mut writer = Writer::new(&batch.schema());
        let mut out = Vec::new();
        writer.write(&batch, &mut out).unwrap();
        writer.write(&batch.slice(0, 1), &mut out).unwrap();
        writer.write(&batch.slice(0, 0), &mut out).unwrap();
        writer.finish(&mut out).unwrap();
        let expected = "[{\"n\":1,\"n_2\":0.5,\"线索\":\"1970-01-01T00:00:00Z\"},\n\
                        {\"n\":2,\"n_2\":null,\"线索\":null},\n\
                        {\"n\":1,\"n_2\":0.5,\"线索\":\"1970-01-01T00:00:00Z\"}]\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn no_rows_are_an_empty_array() {
        let mut out = Vec::new();
        Writer::new(&Arc::new(Schema::empty()))
            .finish(&mut out)
            .unwrap();
        assert_eq!(out, b"[]\n");
    }

    #[test]
    fn a_number_behind_a_name_takes_no_other_columns_name() {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![field("a"), field("a"), field("a_2"), field("a")]);
        let unique = with_unique_names(&schema);
        let names: Vec<&str> = unique
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["a", "a_3", "a_2", "a_4"]);
    }
}
