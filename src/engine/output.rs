//! Results at the edge: instants in the session's time zone, values as Postgres writes them.

use std::sync::Arc;

use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use pgwire::api::portal::Format;

use super::binary::binary;
use crate::error::{Error, Fault, Result};
use crate::postgres::names_of_objects::{Names, NoNames};
use crate::postgres::style::Style;
use crate::postgres::text::texts;
use crate::postgres::types;

/// The schema with every instant in `zone`.
pub fn zoned_schema(schema: &Schema, zone: &str) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| match types::zoned(field.data_type(), zone) {
            Some(kind) => field.as_ref().clone().with_data_type(kind),
            None => field.as_ref().clone(),
        })
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The stream with the types that its columns have in Postgres; the rows stay the same.
pub fn with_marks(
    stream: SendableRecordBatchStream,
    marked: &SchemaRef,
) -> SendableRecordBatchStream {
    let own = stream.schema();
    if own.fields().len() != marked.fields().len() {
        return stream;
    }
    let fields: Vec<FieldRef> = own
        .fields()
        .iter()
        .zip(marked.fields())
        .map(|(own, marked)| {
            let field = own
                .as_ref()
                .clone()
                .with_metadata(marked.metadata().clone());
            Arc::new(field.with_name(marked.name()).with_nullable(true))
        })
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, own.metadata().clone()));
    let target = Arc::clone(&schema);
    let marked = stream.map(move |batch| {
        let batch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&target),
            batch.columns().to_vec(),
            &options,
        )?)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, marked))
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
        .map(
            |(column, field)| match column.data_type() == field.data_type() {
                true => Ok(Arc::clone(column)),
                false => cast(column, field.data_type()),
            },
        )
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// The batch with its values as the texts that Postgres writes, where `is_text` says so of a column: `1` and not
/// `1.0`, `2026-01-01 09:00:00+00` and not `2026-01-01 09:00:00.000000+00`. In the other columns, values that are kept
/// as texts are what the protocol has for them in binary.
///
/// # Errors
/// XX000 for a type that has no text, 0A000 for a value that has no binary form here.
pub fn with_postgres_texts(
    batch: &RecordBatch,
    names: &dyn Names,
    style: Style,
    is_text: impl Fn(usize) -> bool,
) -> Result<RecordBatch, DataFusionError> {
    let mut fields: Vec<FieldRef> = batch.schema().fields().iter().map(Arc::clone).collect();
    let mut columns = batch.columns().to_vec();
    for at in 0..columns.len() {
        let converted: Option<ArrayRef> = match is_text(at) {
            true => Some(Arc::new(texts(&columns[at], &fields[at], names, style)?)),
            false => binary(&columns[at], &fields[at], names, style)?,
        };
        if let Some(converted) = converted {
            fields[at] = Arc::new(Field::new(
                fields[at].name(),
                converted.data_type().clone(),
                true,
            ));
            columns[at] = converted;
        }
    }
    let schema = Arc::new(Schema::new_with_metadata(
        fields,
        batch.schema().metadata().clone(),
    ));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

/// The rows of a batch as Postgres writes them in text; `None` is NULL. OIDs are numbers.
///
/// # Errors
/// XX000 for a type that has no Postgres text.
pub fn text_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    named_text_rows(batch, &NoNames, Style::default())
}

/// The same in a style, with an OID of a named kind as `names` has it.
///
/// # Errors
/// As [`text_rows`].
pub fn named_text_rows(
    batch: &RecordBatch,
    names: &dyn Names,
    style: Style,
) -> Result<Vec<Vec<Option<String>>>> {
    let internal = |message: String| Error::Query {
        fault: Fault::Internal,
        message,
        position: None,
    };
    let texts = with_postgres_texts(batch, names, style, |_| true)?;
    let fields = arrow_schema_to_pg_fields(&texts.schema(), &Format::UnifiedText, None)
        .map_err(|error| internal(error.to_string()))?;
    encode_recordbatch(Arc::new(fields), texts)
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
                row.push(Some(
                    String::from_utf8_lossy(rest.get(..length)?).into_owned(),
                ));
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
