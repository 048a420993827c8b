//! Results at the edge: instants in the session's time zone, values as Postgres writes them.

use std::sync::Arc;

use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion::arrow::array::{Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use pgwire::api::portal::Format;

use crate::error::{Error, Fault, Result};

/// The schema with every instant in `zone`.
pub fn zoned_schema(schema: &Schema, zone: &str) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Timestamp(unit, Some(_)) => field
                .as_ref()
                .clone()
                .with_data_type(DataType::Timestamp(*unit, Some(zone.into()))),
            _ => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The stream with every instant in `zone`; the instants stay the same.
pub fn in_zone(stream: SendableRecordBatchStream, zone: &str) -> SendableRecordBatchStream {
    let schema = zoned_schema(&stream.schema(), zone);
    if schema == stream.schema() {
        return stream;
    }
    let target = Arc::clone(&schema);
    let zoned = stream.map(move |batch| rezone(&batch?, &target));
    Box::pin(RecordBatchStreamAdapter::new(schema, zoned))
}

fn rezone(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(Arc::clone(column)),
            false => cast(column, field.data_type()),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// The rows of a batch as Postgres writes them in text; `None` is NULL.
///
/// # Errors
/// XX000 for a type that has no Postgres text.
pub fn text_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let internal = |message: String| Error::Query { fault: Fault::Internal, message, position: None };
    let fields = arrow_schema_to_pg_fields(&batch.schema(), &Format::UnifiedText, None)
        .map_err(|error| internal(error.to_string()))?;
    encode_recordbatch(Arc::new(fields), batch.clone())
        .map(|row| {
            let row = row.map_err(|error| internal(error.to_string()))?;
            decode_row(&row.data, batch.num_columns())
                .ok_or_else(|| internal("a row of the wire's encoding is cut short".to_owned()))
        })
        .collect()
}

/// Reads a DataRow's body: for each column its length (-1 for NULL) and its text.
fn decode_row(mut data: &[u8], columns: usize) -> Option<Vec<Option<String>>> {
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        let (length, rest) = data.split_first_chunk::<4>()?;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                row.push(Some(String::from_utf8_lossy(rest.get(..length)?).into_owned()));
                data = &rest[length..];
            }
            Err(_) => {
                row.push(None);
                data = rest;
            }
        }
    }
    Some(row)
}
