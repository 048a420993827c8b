//! Results at the edge: instants in the session's time zone, values as Postgres writes them.

use std::sync::Arc;

use arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch};
use chrono::{DateTime, Offset};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
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

/// The batch with its numbers and times as the texts that Postgres writes, where `is_text` says so of a
/// column: `1` and not `1.0`, `2026-01-01 09:00:00+00` and not `2026-01-01 09:00:00.000000+00`.
///
/// # Errors
/// XX000 for a time outside of what a calendar can write.
pub fn with_postgres_texts(
    batch: &RecordBatch,
    is_text: impl Fn(usize) -> bool,
) -> Result<RecordBatch, DataFusionError> {
    let mut fields: Vec<FieldRef> = batch.schema().fields().iter().map(Arc::clone).collect();
    let mut columns = batch.columns().to_vec();
    for at in (0..columns.len()).filter(|at| is_text(*at)) {
        if let Some(texts) = postgres_texts(&columns[at])? {
            let field = fields[at].as_ref().clone().with_data_type(DataType::Utf8);
            fields[at] = Arc::new(field);
            columns[at] = Arc::new(texts);
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

/// The texts of a column whose usual text isn't Postgres'; nothing for the others.
fn postgres_texts(column: &ArrayRef) -> Result<Option<StringArray>, DataFusionError> {
    let texts = match column.data_type() {
        DataType::Float64 => column
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| value.map(double_text))
            .collect(),
        DataType::Float32 => column
            .as_primitive::<Float32Type>()
            .iter()
            .map(|value| value.map(real_text))
            .collect(),
        DataType::Timestamp(_, zone) => {
            let target = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            let zone = zone.as_deref().map(str::parse::<Tz>).transpose()?;
            let instants = cast(column, &target)?;
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            instants
                .iter()
                .map(|value| value.and_then(|value| instant_text(value, zone)))
                .collect()
        }
        _ => return Ok(None),
    };
    Ok(Some(texts))
}

/// `2026-01-01 09:00:00`, with a fraction where there is one and the offset where there is a zone.
fn instant_text(microseconds: i64, zone: Option<Tz>) -> Option<String> {
    let utc = DateTime::from_timestamp_micros(microseconds)?;
    let (local, offset) = match zone {
        Some(zone) => {
            let local = utc.with_timezone(&zone);
            (
                local.naive_local(),
                offset_text(local.offset().fix().local_minus_utc()),
            )
        }
        None => (utc.naive_utc(), String::new()),
    };
    let mut text = local.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    if text.ends_with(".000000") {
        text.truncate(text.len() - ".000000".len());
    } else {
        text.truncate(text.trim_end_matches('0').len());
    }
    Some(text + &offset)
}

/// `+08`, `-03:30`, `+05:53:28`
fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if !seconds.is_multiple_of(3600) {
        text.push_str(&format!(":{:02}", seconds / 60 % 60));
    }
    if !seconds.is_multiple_of(60) {
        text.push_str(&format!(":{:02}", seconds % 60));
    }
    text
}

/// The shortest text that reads back as the same number, with an exponent where Postgres has one.
fn double_text(value: f64) -> String {
    match is_written_plainly(value, 1e15) {
        true => value.to_string(),
        false => exponent_text(value, &format!("{value:e}")),
    }
}

fn real_text(value: f32) -> String {
    match is_written_plainly(f64::from(value), 1e6) {
        true => value.to_string(),
        false => exponent_text(f64::from(value), &format!("{value:e}")),
    }
}

/// %g's bounds, with the digits that a number of its width always has.
fn is_written_plainly(value: f64, most: f64) -> bool {
    value == 0.0 || (1e-4..most).contains(&value.abs())
}

/// `1.5e-7` as `1.5e-07`; the numbers that are none by their names.
fn exponent_text(value: f64, scientific: &str) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

/// The rows of a batch as Postgres writes them in text; `None` is NULL.
///
/// # Errors
/// XX000 for a type that has no Postgres text.
pub fn text_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let internal = |message: String| Error::Query {
        fault: Fault::Internal,
        message,
        position: None,
    };
    let fields = arrow_schema_to_pg_fields(&batch.schema(), &Format::UnifiedText, None)
        .map_err(|error| internal(error.to_string()))?;
    let texts = with_postgres_texts(batch, |_| true)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `SELECT x::float8`.
    #[test]
    fn numbers_are_written_as_postgres_writes_them() {
        let cases = [
            (1.0, "1"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5e300, "1.5e+300"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(double_text(value), text);
        }
        assert_eq!(real_text(0.1), "0.1");
        assert_eq!(real_text(1e6), "1e+06");
    }

    /// Expected: PostgreSQL 15.18, `SELECT to_timestamp(…)` in the zone.
    #[test]
    fn instants_are_written_as_postgres_writes_them() {
        let shown =
            |microseconds: i64, zone: &str| instant_text(microseconds, zone.parse::<Tz>().ok());
        assert_eq!(shown(0, "UTC").as_deref(), Some("1970-01-01 00:00:00+00"));
        assert_eq!(
            shown(1_500_000, "Asia/Shanghai").as_deref(),
            Some("1970-01-01 08:00:01.5+08")
        );
        assert_eq!(
            shown(0, "Asia/Kolkata").as_deref(),
            Some("1970-01-01 05:30:00+05:30")
        );
        assert_eq!(
            shown(0, "-03:30").as_deref(),
            Some("1969-12-31 20:30:00-03:30")
        );
        assert_eq!(
            instant_text(10, None).as_deref(),
            Some("1970-01-01 00:00:00.00001")
        );
    }
}
