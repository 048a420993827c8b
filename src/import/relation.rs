//! Rows of files as a relation that a statement reads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;

use super::{Import, ImportError, Progress, Rejects};
use crate::error::{Error, Result};

/// Batches that were read and aren't used yet.
const AHEAD: usize = 4;

/// The rows of an import. They are read from the files each time that a statement reads the relation.
#[derive(Debug, Clone)]
pub struct ImportedRows {
    import: Arc<Import>,
    schema: SchemaRef,
    progress: Arc<Progress>,
    /// Where rejects are written; where absent, one of them is an error.
    rejects_file: Option<PathBuf>,
    rejects: Arc<Mutex<Rejects>>,
}

impl ImportedRows {
    /// The rows of `import`; those that can't be read are written to `rejects_file`.
    pub fn new(import: Import, progress: Arc<Progress>, rejects_file: Option<PathBuf>) -> Self {
        Self {
            schema: import.schema(),
            import: Arc::new(import),
            progress,
            rejects_file,
            rejects: Arc::new(Mutex::new(Rejects::new(None))),
        }
    }

    /// The relation.
    ///
    /// # Errors
    /// XX000 where its columns don't fit together.
    pub fn relation(&self) -> Result<StreamingTable> {
        let partition: Arc<dyn PartitionStream> = Arc::new(self.clone());
        Ok(StreamingTable::try_new(
            Arc::clone(&self.schema),
            vec![partition],
        )?)
    }

    /// The rejects of the last statement that read it.
    pub fn rejects(&self) -> Rejects {
        let mut rejects = self.rejects.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut rejects, Rejects::new(None))
    }

    /// Reads the files; `give` takes the batches.
    ///
    /// # Errors
    /// Those of the files; 22P04 for rows that can't be read where no file is there for them, which is told at the end.
    pub fn read(
        &self,
        give: &mut dyn FnMut(RecordBatch) -> std::result::Result<(), ImportError>,
    ) -> Result<()> {
        let mut rejects = Rejects::new(self.rejects_file.clone());
        let read = self.import.batches(&self.progress, &mut rejects, give);
        let count = rejects.count();
        let first = rejects.first().first().cloned();
        *self.rejects.lock().unwrap_or_else(PoisonError::into_inner) = rejects;
        read?;
        match first {
            Some(first) if self.rejects_file.is_none() => Err(Error::from(ImportError {
                code: "22P04",
                message: format!(
                    "{count} {} can't be read, the first in line {} of \"{}\": {}",
                    if count == 1 { "row" } else { "rows" },
                    first.line,
                    first.file.display(),
                    first.reason
                ),
                hint: Some("Nothing was imported. --rejects FILE writes such rows there and imports the others.".to_owned()),
            })),
            _ => Ok(()),
        }
    }
}

impl PartitionStream for ImportedRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.clone();
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.schema), AHEAD);
        let sender = stream.tx();
        // Files are read in a thread of their own, which waits where the statement is slower.
        stream.spawn_blocking(move || {
            let closed = || ImportError {
                code: "57014",
                message: "the import was canceled".to_owned(),
                hint: None,
            };
            let read =
                rows.read(&mut |batch| sender.blocking_send(Ok(batch)).map_err(|_| closed()));
            read.map_err(|error| DataFusionError::External(Box::new(error)))
        });
        stream.build()
    }
}
