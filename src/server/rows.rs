//! Rows on their way to a client: pulled from the query as the client takes them.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_pg::datatypes::{encode_recordbatch, field_into_pg_type};
use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::error::PgWireError;
use pgwire::messages::data::{DataRow, FieldDescription, RowDescription};

use super::failure::Failure;
use super::texts;
use crate::engine::with_postgres_texts;
use crate::error::{Error, Fault, Result};
use crate::postgres::encoding::{Encoding, UTF8};
use crate::postgres::names_of_objects::Names;
use crate::postgres::style::Style;
use crate::postgres::{binary, names, origins, types};

/// How many rows are encoded before they are sent; as many as DataFusion puts into a batch.
pub const CHUNK_ROWS: usize = 8192;

/// How rows are written: their columns, each in the format that the client wants, and texts in its encoding.
#[derive(Clone)]
pub struct Form {
    schema: SchemaRef,
    fields: Arc<Vec<FieldInfo>>,
    /// The same as they are encoded: a column in text is a text whatever its type is.
    encoded: Arc<Vec<FieldInfo>>,
    /// What OIDs stand for.
    names: Arc<dyn Names>,
    /// How values are written in text.
    style: Style,
    /// The client's encoding of text.
    encoding: &'static Encoding,
}

impl Form {
    /// The same columns in other formats.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn in_formats(&self, formats: &[i16]) -> Result<Self, Failure> {
        let (fields, encoded) = written_fields(&self.schema, formats)?;
        Ok(Self {
            fields,
            encoded,
            ..self.clone()
        })
    }

    /// Names and types of the columns.
    pub fn description(&self) -> RowDescription {
        describe(&self.fields)
    }

    /// The rows of a batch as they are sent.
    ///
    /// # Errors
    /// XX000 for a type that has no text, 22P05 for a character that the client's encoding doesn't have.
    pub fn rows(&self, batch: &RecordBatch) -> Result<Vec<DataRow>> {
        let is_text = |at: usize| self.fields[at].format() == FieldFormat::Text;
        let texts = with_postgres_texts(batch, self.names.as_ref(), self.style, is_text)?;
        let mut rows: Vec<DataRow> = encode_recordbatch(Arc::clone(&self.encoded), texts)
            .collect::<Result<_, _>>()
            .map_err(|error| encoding_error(&error))?;
        if !self.encoding.is_own() {
            for row in rows.iter_mut().filter(|row| !row.data.is_ascii()) {
                *row = self.written(row)?;
            }
        }
        Ok(rows)
    }

    /// A row with its texts in the client's encoding.
    fn written(&self, row: &DataRow) -> Result<DataRow> {
        let mut data = BytesMut::with_capacity(row.data.len());
        let mut rest = row.data.as_ref();
        for field in self.fields.iter() {
            let Some((length, after)) = rest.split_first_chunk::<4>() else {
                break;
            };
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                data.put_slice(length);
                rest = after;
                continue;
            };
            let (value, after) = after.split_at(length.min(after.len()));
            rest = after;
            let value = match texts::is_text(field.datatype(), field.format()) {
                true => texts::encode(self.encoding, value)?,
                false if texts::is_text_list(field.datatype()) => {
                    texts::encode_list(self.encoding, value)?
                }
                false => Cow::Borrowed(value),
            };
            data.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
            data.put_slice(&value);
        }
        Ok(DataRow::new(data, row.field_count))
    }
}

/// A query's rows that have not been sent yet.
pub struct Rows {
    stream: SendableRecordBatchStream,
    form: Form,
    /// What is left of the batch that is being sent.
    batch: Option<RecordBatch>,
    /// The text of the statement, for the places of its errors.
    sql: Arc<str>,
}

impl Rows {
    /// The rows of `stream`, in the formats that the client asked for; their texts are UTF-8, see [`Rows::written_in`].
    ///
    /// # Errors
    /// 08P01 for formats that don't fit the columns, 0A000 for a column that Postgres has no type for.
    pub fn new(
        stream: SendableRecordBatchStream,
        formats: &[i16],
        sql: Arc<str>,
        names: Arc<dyn Names>,
        style: Style,
    ) -> Result<Self, Failure> {
        let schema = stream.schema();
        let (fields, encoded) = written_fields(&schema, formats)?;
        let form = Form {
            schema,
            fields,
            encoded,
            names,
            style,
            encoding: UTF8,
        };
        Ok(Self {
            stream,
            form,
            batch: None,
            sql,
        })
    }

    /// The same rows with their texts in an encoding.
    pub fn written_in(mut self, encoding: &'static Encoding) -> Self {
        self.form.encoding = encoding;
        self
    }

    /// The same rows, written otherwise.
    pub fn in_form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// How they are written.
    pub fn form(&self) -> Form {
        self.form.clone()
    }

    /// Names and types of the columns.
    pub fn description(&self) -> RowDescription {
        self.form.description()
    }

    /// The next rows, as many as `most`, and itself to go on with; none when there are no more.
    ///
    /// # Errors
    /// The query's.
    pub async fn next(mut self, most: usize) -> Result<(Self, Vec<DataRow>)> {
        let Some(batch) = self.next_batch().await? else {
            return Ok((self, Vec::new()));
        };
        let count = batch.num_rows().min(most);
        if count < batch.num_rows() {
            self.batch = Some(batch.slice(count, batch.num_rows() - count));
        }
        let rows = self.form.rows(&batch.slice(0, count))?;
        Ok((self, rows))
    }

    /// The next rows as the query gave them, and itself to go on with; nothing when there are no more.
    ///
    /// # Errors
    /// The query's.
    pub async fn next_as_given(mut self) -> Result<(Self, Option<RecordBatch>)> {
        let batch = self.next_batch().await?;
        Ok((self, batch))
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.batch.take() {
            return Ok(Some(batch));
        }
        while let Some(batch) = self.stream.next().await {
            let batch = batch.map_err(|error| Error::from_engine(&error, &self.sql))?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }
}

/// The columns as they are described, and as they are encoded.
type WrittenFields = (Arc<Vec<FieldInfo>>, Arc<Vec<FieldInfo>>);

fn written_fields(schema: &Schema, formats: &[i16]) -> Result<WrittenFields, Failure> {
    let fields = fields(schema, formats)?;
    let encoded = |field: &FieldInfo| match field.format() {
        FieldFormat::Text => FieldInfo::new(
            field.name().to_owned(),
            None,
            None,
            Type::TEXT,
            FieldFormat::Text,
        ),
        FieldFormat::Binary => field.clone(),
    };
    let encoded = fields.iter().map(encoded).collect();
    Ok((Arc::new(fields), Arc::new(encoded)))
}

/// Names and types of a query's columns.
///
/// # Errors
/// As [`Rows::new`].
pub fn description(schema: &Schema, formats: &[i16]) -> Result<RowDescription, Failure> {
    Ok(describe(&fields(schema, formats)?))
}

/// Names and types of columns as a message.
pub fn describe(fields: &[FieldInfo]) -> RowDescription {
    RowDescription::new(fields.iter().map(FieldDescription::from).collect())
}

fn fields(schema: &Schema, formats: &[i16]) -> Result<Vec<FieldInfo>, Failure> {
    let columns = schema.fields().len();
    let format = format(formats);
    // pgwire would panic at the first column without a format.
    if let Format::Individual(formats) = &format
        && formats.len() != columns
    {
        let message = format!(
            "bind message has {} result formats but query has {columns} columns",
            formats.len()
        );
        return Err(Failure::Protocol(message));
    }
    let field = |(at, column): (usize, &FieldRef)| {
        let kind = match types::wire_type(column) {
            Some(kind) => kind,
            None => field_into_pg_type(column).map_err(|error| Error::Unsupported {
                message: error.to_string(),
                hint: None,
            })?,
        };
        let written = types::type_of(column);
        if format.format_for(at) == FieldFormat::Binary && binary::is_text_only(&written) {
            return Err(Failure::from(Error::Unsupported {
                message: format!(
                    "binary format of type {} is not supported",
                    types::sql_name(&written, -1)
                ),
                hint: Some("Ask for text.".to_owned()),
            }));
        }
        let name = names::shown(column.name()).to_owned();
        let (relation, number) = origins::origin_of(column).unzip();
        let field = FieldInfo::new(name, relation, number, kind, format.format_for(at));
        Ok(sized(field, types::modifier(column)))
    };
    schema.fields().iter().enumerate().map(field).collect()
}

/// One code is for all columns, none means text.
fn format(codes: &[i16]) -> Format {
    match codes {
        [] => Format::UnifiedText,
        [code] if FieldFormat::from(*code) == FieldFormat::Binary => Format::UnifiedBinary,
        [_] => Format::UnifiedText,
        codes => Format::Individual(codes.to_vec()),
    }
}

/// Adds the width of the type, and precision and scale of a number; drivers show columns by them.
fn sized(field: FieldInfo, modifier: i32) -> FieldInfo {
    let width = match *field.datatype() {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4
        | Type::FLOAT4
        | Type::DATE
        | Type::OID
        | Type::REGCLASS
        | Type::REGTYPE
        | Type::REGPROC => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL | Type::UUID => 16,
        Type::NAME => 64,
        _ => -1,
    };
    field.with_type_size(width).with_type_modifier(modifier)
}

fn encoding_error(error: &PgWireError) -> Error {
    Error::Query {
        fault: Fault::Internal,
        message: error.to_string(),
        position: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    use super::*;

    fn schema() -> Arc<Schema> {
        let number = DataType::Decimal128(18, 4);
        Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("数", number, true),
        ]))
    }

    #[test]
    fn formats_that_do_not_fit_the_columns_are_refused() {
        for codes in [&[][..], &[0], &[1], &[0, 1]] {
            description(&schema(), codes).unwrap();
        }
        assert_eq!(
            description(&schema(), &[0, 1, 1]).unwrap_err().code(),
            "08P01"
        );
    }

    #[test]
    fn a_column_is_described_with_its_width_and_precision() {
        let described = description(&schema(), &[]).unwrap();
        let widths: Vec<_> = described
            .fields
            .iter()
            .map(|f| (f.type_size, f.type_modifier))
            .collect();
        assert_eq!(widths, [(8, -1), (-1, (18 << 16 | 4) + 4)]);
        assert_eq!(described.fields[1].name, "数");
    }

    #[tokio::test]
    async fn a_batch_is_sent_in_as_many_parts_as_the_client_wants() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |n: i64| {
            RecordBatch::try_new(
                Arc::clone(&schema),
                vec![Arc::new(Int64Array::from_iter_values(0..n))],
            )
        };
        let batches = [batch(3), batch(0), batch(2)].map(|batch| Ok(batch.unwrap()));
        let stream =
            RecordBatchStreamAdapter::new(Arc::clone(&schema), futures::stream::iter(batches));
        let mut rows = Rows::new(
            Box::pin(stream),
            &[],
            "".into(),
            Arc::new(crate::postgres::names_of_objects::NoNames),
            Style::default(),
        )
        .unwrap();
        let mut counts = Vec::new();
        loop {
            let (rest, chunk) = rows.next(2).await.unwrap();
            rows = rest;
            counts.push(chunk.len());
            if chunk.is_empty() {
                break;
            }
        }
        assert_eq!(counts, [2, 1, 2, 0]);
    }
}
