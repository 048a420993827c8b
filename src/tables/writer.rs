//! Rows into files. Nobody sees a file before it is committed.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use deltalake::datafile::writer::{DeltaWriter, WriterConfig};

use super::definition::Shape;
use super::version::DataFile;
use super::{Table, failed};
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::postgres::names_of_objects::NoNames;
use crate::postgres::style::Style;
use crate::postgres::text;
use crate::storage::Place;

/// A file is closed when it is that large.
const FILE_SIZE: NonZeroU64 = NonZeroU64::MIN.saturating_add((256 << 20) - 1);

/// Writes files of a table.
pub struct Writer {
    shape: Arc<Shape>,
    schema: SchemaRef,
    place: Place,
    inner: DeltaWriter,
}

impl Writer {
    /// A writer of rows of this shape.
    pub fn new(table: &Table, shape: &Arc<Shape>) -> Self {
        let partitions = shape.partitions();
        let partitions = partitions
            .iter()
            .map(|at| shape.stored.field(*at).name().clone());
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("funnelsql".to_owned())
            .build();
        let schema = Arc::clone(&shape.stored);
        let config = WriterConfig::new(
            Arc::clone(&schema),
            partitions.collect(),
            Some(properties),
            Some(FILE_SIZE),
            None,
            // The first 32 columns have bounds in the log.
            Default::default(),
            None,
        );
        Self {
            shape: Arc::clone(shape),
            schema,
            place: table.place().clone(),
            inner: DeltaWriter::new(table.store(), config),
        }
    }

    /// Writes rows that have the table's columns.
    ///
    /// # Errors
    /// 23502 for NULL where a value has to be, 22003 for a value that its column can't have, 53100 for a full disk.
    pub async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let stored = stored(&self.shape, &self.schema, rows)?;
        self.inner.write(&stored).await.map_err(failed)
    }

    /// The files that were written, which are on the disk or in the store then.
    ///
    /// # Errors
    /// 53100 for a full disk, 58030 for others of the file system's, 08001 when a store can't be reached.
    pub async fn finish(self) -> Result<Vec<Arc<DataFile>>> {
        let files = self.inner.close().await.map_err(failed)?;
        // What a store has acknowledged is there.
        if let Place::Folder(folder) = self.place {
            let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(&file.path)).collect();
            let synced = tokio::task::spawn_blocking(move || {
                paths.iter().try_for_each(|path| sync_file(path, &folder))
            });
            let synced = synced
                .await
                .map_err(|error| Error::io("can't write rows", std::io::Error::other(error)))?;
            synced.map_err(|error| full(&error).unwrap_or(Error::io("can't write rows", error)))?;
        }
        Ok(files
            .into_iter()
            .map(|file| Arc::new(DataFile::new(file)))
            .collect())
    }

    /// Takes back what was begun.
    pub async fn abort(self) {
        if let Err(error) = self.inner.abort().await {
            tracing::debug!(%error, "a file that isn't needed can't be removed");
        }
    }
}

/// A file and its folders, down from the table's.
fn sync_file(path: &Path, folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    let mut parent = path.parent();
    while let Some(of) = parent.filter(|of| of.starts_with(folder)) {
        std::fs::File::open(of)?.sync_all()?;
        parent = of.parent();
    }
    Ok(())
}

fn full(error: &std::io::Error) -> Option<Error> {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded).then(|| Error::Query {
        fault: Fault::DiskFull,
        message: error.to_string(),
        position: None,
    })
}

/// Rows as files have them.
fn stored(shape: &Shape, schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch> {
    check_nulls(shape, rows)?;
    let columns = rows
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| converted(column, field.data_type()));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let batch = RecordBatch::try_new(Arc::clone(schema), columns);
    Ok(batch.map_err(datafusion::error::DataFusionError::from)?)
}

/// A column as another type; what doesn't fit is an error.
///
/// # Errors
/// 22003 and 22P02.
pub fn converted(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    if column.data_type() == kind {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let converted = cast_with_options(column, kind, &options);
    converted.map_err(|error| match error {
        datafusion::arrow::error::ArrowError::CastError(message)
            if column.data_type().is_numeric() =>
        {
            Error::Query {
                fault: Fault::OutOfRange,
                message,
                position: None,
            }
        }
        other => datafusion::error::DataFusionError::from(other).into(),
    })
}

fn check_nulls(shape: &Shape, rows: &RecordBatch) -> Result<()> {
    for (at, column) in shape.definition.columns.iter().enumerate() {
        let values = rows.column(at);
        if !column.not_null || values.null_count() == 0 {
            continue;
        }
        let row = (0..values.len()).find(|row| values.is_null(*row));
        let message = format!(
            "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
            column.name, shape.definition.name
        );
        let detail = format!(
            "Failing row contains ({}).",
            row_text(shape, rows, row.unwrap_or(0)).join(", ")
        );
        return Err(ChangeFault::NotNull
            .error(message)
            .detail(detail)
            .of_column(&shape.definition, &column.name)
            .into());
    }
    Ok(())
}

/// A row's values as texts.
pub fn row_text(shape: &Shape, rows: &RecordBatch, row: usize) -> Vec<String> {
    texts(&shape.schema, rows, row)
}

/// A row's values as texts, of columns with these fields.
pub fn texts(schema: &SchemaRef, rows: &RecordBatch, row: usize) -> Vec<String> {
    let columns = rows.columns().iter().zip(schema.fields());
    let texts = columns.map(|(column, field)| {
        let value = column.slice(row, 1);
        let text = text::texts(&value, field, &NoNames, Style::default()).ok();
        let text = text.filter(|text| text.is_valid(0));
        text.map_or_else(|| "null".to_owned(), |text| text.value(0).to_owned())
    });
    texts.collect()
}
