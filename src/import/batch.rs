//! Rows as batches of Arrow.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::infer::{Column, is_null};
use super::reading::{Reading, Value};
use super::rejects::Rejects;
use super::source::{Cell, Sink};
use super::{ImportError, Input, Options};

const BATCH_ROWS: usize = 8192;

impl Reading {
    fn data_type(self) -> DataType {
        match self {
            Reading::Boolean => DataType::Boolean,
            Reading::Bigint(_) => DataType::Int64,
            Reading::Numeric(_, precision, scale) => DataType::Decimal128(precision, scale),
            Reading::Double(_) | Reading::Percent(_) => DataType::Float64,
            Reading::Date(_) => DataType::Date32,
            Reading::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Reading::Timestamptz(_) => {
                DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::from("UTC")))
            }
            Reading::Text => DataType::Utf8,
        }
    }
}

/// The schema of columns.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| Field::new(&column.name, column.reading.data_type(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

enum Builder {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Decimal(Decimal128Builder),
    Double(Float64Builder),
    Date(Date32Builder),
    Micros(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn new(reading: Reading) -> Self {
        let data_type = reading.data_type();
        match reading {
            Reading::Boolean => Builder::Boolean(BooleanBuilder::new()),
            Reading::Bigint(_) => Builder::Integer(Int64Builder::new()),
            Reading::Numeric(..) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type))
            }
            Reading::Double(_) | Reading::Percent(_) => Builder::Double(Float64Builder::new()),
            Reading::Date(_) => Builder::Date(Date32Builder::new()),
            Reading::Timestamp(_) | Reading::Timestamptz(_) => {
                Builder::Micros(TimestampMicrosecondBuilder::new().with_data_type(data_type))
            }
            Reading::Text => Builder::Text(StringBuilder::new()),
        }
    }

    fn append(&mut self, value: Value<'_>) {
        match (self, value) {
            (Builder::Boolean(builder), Value::Boolean(value)) => builder.append_value(value),
            (Builder::Boolean(builder), _) => builder.append_null(),
            (Builder::Integer(builder), Value::Integer(value)) => builder.append_value(value),
            (Builder::Integer(builder), _) => builder.append_null(),
            (Builder::Decimal(builder), Value::Decimal(value)) => builder.append_value(value),
            (Builder::Decimal(builder), _) => builder.append_null(),
            (Builder::Double(builder), Value::Double(value)) => builder.append_value(value),
            (Builder::Double(builder), _) => builder.append_null(),
            (Builder::Date(builder), Value::Date(value)) => builder.append_value(value),
            (Builder::Date(builder), _) => builder.append_null(),
            (Builder::Micros(builder), Value::Micros(value)) => builder.append_value(value),
            (Builder::Micros(builder), _) => builder.append_null(),
            (Builder::Text(builder), Value::Text(value)) => builder.append_value(value),
            (Builder::Text(builder), _) => builder.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Boolean(builder) => Arc::new(builder.finish()),
            Builder::Integer(builder) => Arc::new(builder.finish()),
            Builder::Decimal(builder) => Arc::new(builder.finish()),
            Builder::Double(builder) => Arc::new(builder.finish()),
            Builder::Date(builder) => Arc::new(builder.finish()),
            Builder::Micros(builder) => Arc::new(builder.finish()),
            Builder::Text(builder) => Arc::new(builder.finish()),
        }
    }
}

/// Makes batches of rows and gives them away.
pub(super) struct Batches<'a> {
    columns: &'a [Column],
    schema: SchemaRef,
    options: &'a Options,
    rejects: &'a mut Rejects,
    each: &'a mut dyn FnMut(RecordBatch) -> Result<(), ImportError>,
    builders: Vec<Builder>,
    rows: usize,
    /// Of each column of the table, its place in the file that is read.
    places: Vec<Option<usize>>,
    file: PathBuf,
}

impl<'a> Batches<'a> {
    pub(super) fn new(
        columns: &'a [Column],
        schema: SchemaRef,
        options: &'a Options,
        rejects: &'a mut Rejects,
        each: &'a mut dyn FnMut(RecordBatch) -> Result<(), ImportError>,
    ) -> Self {
        Self {
            builders: columns
                .iter()
                .map(|column| Builder::new(column.reading))
                .collect(),
            columns,
            schema,
            options,
            rejects,
            each,
            rows: 0,
            places: Vec::new(),
            file: PathBuf::new(),
        }
    }

    pub(super) fn begin(&mut self, input: &Input) {
        self.file.clone_from(&input.path);
        self.places = vec![None; self.columns.len()];
    }

    pub(super) fn finish(&mut self) -> Result<(), ImportError> {
        self.give()?;
        self.rejects.finish()
    }

    fn give(&mut self) -> Result<(), ImportError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error: ArrowError| ImportError::new("XX000", error.to_string()))?;
        (self.each)(batch)
    }
}

impl Sink for Batches<'_> {
    fn columns(&mut self, names: &[String]) {
        self.places = self
            .columns
            .iter()
            .map(|column| names.iter().position(|name| *name == column.name))
            .collect();
    }

    fn row(&mut self, line: u64, cells: &[Cell<'_>]) -> Result<(), ImportError> {
        // A row is taken whole or not at all.
        let mut values = Vec::with_capacity(self.columns.len());
        for (column, place) in self.columns.iter().zip(&self.places) {
            let text = match place.and_then(|place| cells.get(place)) {
                Some(Cell::Raw(text) | Cell::Text(text)) if !is_null(text, self.options) => text,
                _ => {
                    values.push(Value::Null);
                    continue;
                }
            };
            match column.reading.value(text) {
                Some(value) => values.push(value),
                None => {
                    let shown: String = text.chars().take(40).collect();
                    let reason = format!(
                        "column {}: \"{shown}\" is no {}",
                        column.name, column.sql_type
                    );
                    let row: Vec<String> = cells.iter().map(shown_cell).collect();
                    return self
                        .rejects
                        .add(&self.file, line, reason, row.join(",").as_bytes());
                }
            }
        }
        for (builder, value) in self.builders.iter_mut().zip(values) {
            builder.append(value);
        }
        self.rows += 1;
        match self.rows >= BATCH_ROWS {
            true => self.give(),
            false => Ok(()),
        }
    }

    fn reject(&mut self, line: u64, reason: String, row: &[u8]) -> Result<(), ImportError> {
        self.rejects.add(&self.file, line, reason, row)
    }

    fn note(&mut self, _note: String) {}
}

fn shown_cell(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Raw(text) | Cell::Text(text) => (*text).to_owned(),
    }
}
