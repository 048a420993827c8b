//! Parquet and Arrow files, which know the types of their columns.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, new_null_array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::{FileReader, StreamReader};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::input::Format;
use super::{ImportError, Input, Options, Progress, names};

/// How Arrow's file format begins; its stream doesn't.
const ARROW_MAGIC: &[u8; 6] = b"ARROW1";
const BATCH_ROWS: usize = 8192;

/// What takes a file's schema, and then its batches.
type Each<'a> = dyn FnMut(&SchemaRef, Option<&RecordBatch>) -> Result<(), ImportError> + 'a;

/// The columns of all files together, and how many rows there are.
pub(super) fn look(inputs: &[Input], options: &Options) -> Result<(SchemaRef, u64), ImportError> {
    let mut fields: Vec<Field> = Vec::new();
    let mut rows = 0;
    for input in inputs {
        let unnoticed = Progress::default();
        for_each_batch(input, options, &unnoticed, true, &mut |schema, batch| {
            if let Some(batch) = batch {
                rows += batch.num_rows() as u64;
                return Ok(());
            }
            for field in schema.fields() {
                match fields.iter().find(|known| known.name() == field.name()) {
                    None => fields.push(field.as_ref().clone().with_nullable(true)),
                    Some(known) if known.data_type() == field.data_type() => {}
                    Some(known) => {
                        let message = format!(
                            "\"{}\" is {} in \"{}\" and {} in a file before it",
                            field.name(),
                            field.data_type(),
                            input.path.display(),
                            known.data_type()
                        );
                        return Err(ImportError::new("42804", message).hint(
                            "Import them one after the other: a table's own types are then taken.",
                        ));
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok((Arc::new(Schema::new(fields)), rows))
}

/// Gives all rows in batches of `schema`.
pub(super) fn batches(
    inputs: &[Input],
    schema: &SchemaRef,
    options: &Options,
    progress: &Progress,
    each: &mut dyn FnMut(RecordBatch) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    for input in inputs {
        for_each_batch(input, options, progress, false, &mut |_, batch| {
            let Some(batch) = batch else { return Ok(()) };
            let columns = schema
                .fields()
                .iter()
                .map(|field| match batch.column_by_name(field.name()) {
                    Some(column) => cast(column, field.data_type()),
                    None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                })
                .collect::<Result<_, _>>()
                .and_then(|columns| RecordBatch::try_new(Arc::clone(schema), columns))
                .map_err(|error| ImportError::malformed(input, &error))?;
            progress.add_rows(batch.num_rows() as u64);
            each(columns)
        })?;
    }
    Ok(())
}

/// The schema with names for SQL first, then its batches; of Parquet only counts where `counts` is set.
fn for_each_batch(
    input: &Input,
    options: &Options,
    progress: &Progress,
    counts: bool,
    each: &mut Each<'_>,
) -> Result<(), ImportError> {
    let malformed = |error: &dyn std::fmt::Display| ImportError::malformed(input, error);
    let mut file = input.open_at_random(progress)?;
    match input.format {
        Format::Parquet => {
            let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)
                .map_err(|error| malformed(&error))?;
            let schema = renamed(builder.schema(), options);
            each(&schema, None)?;
            if counts {
                // The rows of the footer are enough; no column is read.
                let none = datafusion::parquet::arrow::ProjectionMask::none(
                    builder.parquet_schema().num_columns(),
                );
                builder = builder.with_projection(none);
                for batch in builder
                    .with_batch_size(BATCH_ROWS)
                    .build()
                    .map_err(|error| malformed(&error))?
                {
                    each(&schema, Some(&batch.map_err(|error| malformed(&error))?))?;
                }
                return Ok(());
            }
            for batch in builder
                .with_batch_size(BATCH_ROWS)
                .build()
                .map_err(|error| malformed(&error))?
            {
                let batch = batch.map_err(|error| malformed(&error))?;
                each(
                    &schema,
                    Some(&with_schema(&batch, &schema).map_err(|error| malformed(&error))?),
                )?;
            }
            Ok(())
        }
        _ if is_arrow_file(&mut file)
            .map_err(|error| ImportError::unreadable(input, &error))? =>
        {
            let reader = FileReader::try_new(BufReader::new(file), None)
                .map_err(|error| malformed(&error))?;
            give(&reader.schema(), reader, input, options, each)
        }
        _ => {
            let reader = StreamReader::try_new(BufReader::new(file), None)
                .map_err(|error| malformed(&error))?;
            give(&reader.schema(), reader, input, options, each)
        }
    }
}

fn give(
    schema: &SchemaRef,
    reader: impl Iterator<Item = Result<RecordBatch, datafusion::arrow::error::ArrowError>>,
    input: &Input,
    options: &Options,
    each: &mut Each<'_>,
) -> Result<(), ImportError> {
    let schema = renamed(schema, options);
    each(&schema, None)?;
    for batch in reader {
        let batch = batch
            .and_then(|batch| with_schema(&batch, &schema))
            .map_err(|error| ImportError::malformed(input, &error))?;
        each(&schema, Some(&batch))?;
    }
    Ok(())
}

fn is_arrow_file(file: &mut File) -> std::io::Result<bool> {
    let mut start = Vec::new();
    file.by_ref()
        .take(ARROW_MAGIC.len() as u64)
        .read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start == ARROW_MAGIC)
}

fn renamed(schema: &SchemaRef, options: &Options) -> SchemaRef {
    let names = names::of_header(
        schema.fields().iter().map(|field| field.name().as_str()),
        options.keep_names,
    );
    let fields: Fields = schema
        .fields()
        .iter()
        .zip(names)
        .map(|(field, name)| Field::new(name, field.data_type().clone(), true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn with_schema(
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, datafusion::arrow::error::ArrowError> {
    RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())
}
