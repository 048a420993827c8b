//! Sample tables to Parquet files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use super::tables::SampleTable;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleSummary {
    /// One entry per table, in the order of writing.
    pub tables: Vec<TableSummary>,
}

/// One written table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSummary {
    /// The table's name.
    pub name: &'static str,
    /// Its file.
    pub path: PathBuf,
    /// How many rows it has.
    pub rows: usize,
}

/// Writes each table to its file in the directory, which is created when missing.
pub(super) fn write_tables(directory: &Path, tables: &[SampleTable]) -> Result<SampleSummary> {
    fs::create_dir_all(directory).map_err(|error| at_path(error.into(), directory))?;
    let tables = tables
        .iter()
        .map(|table| write_table(directory, table))
        .collect::<Result<_>>()?;
    Ok(SampleSummary { tables })
}

fn write_table(directory: &Path, table: &SampleTable) -> Result<TableSummary> {
    let path = directory.join(format!("{}.parquet", table.name));
    // The name has the process in it, so that two runs at once can't write into each other's file, and
    // doesn't end in `.parquet`, so that no reader of the directory takes it for a table.
    let partial = directory.join(format!(".{}.{}.partial", table.name, std::process::id()));
    let written =
        write_file(&partial, &table.batch).and_then(|()| Ok(fs::rename(&partial, &path)?));
    if let Err(error) = written {
        // The first error is the one to report; a partial file that stays behind does no harm.
        let _ = fs::remove_file(&partial);
        return Err(at_path(error, &path));
    }
    Ok(TableSummary {
        name: table.name,
        path,
        rows: table.batch.num_rows(),
    })
}

fn write_file(path: &Path, batch: &RecordBatch) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.into_inner()?.sync_all()?;
    Ok(())
}

fn at_path(error: DataFusionError, path: &Path) -> DataFusionError {
    error.context(format!(
        "could not write sample data to \"{}\"",
        path.display()
    ))
}
