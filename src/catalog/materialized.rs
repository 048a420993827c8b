//! Materialized views: the rows of a query, kept in files.
//!
//! ```text
//! DATA_DIR/views/mv-3/state.json             which generation is current
//! DATA_DIR/views/mv-3/17/rows.parquet        its rows
//! DATA_DIR/views/mv-3/17.half/rows.parquet   rows that are being written, and are nobody's yet
//! ```
//!
//! A refresh writes all rows of the next generation before it becomes the current one, by the replacement of one small file: a
//! reader sees the old rows or the new ones. The generation before the current one stays for those who still read it, until
//! the refresh after. In a store, the rows are put together on this machine and written as a whole to where they will be read:
//! they are nobody's before `state.json` names them.

use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig};
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::physical_plan::ExecutionPlan;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::store::{Store, sync_folder};
use crate::error::{Error, Fault, Result};
use crate::storage::Place;

/// The folder of the materialized views in a data directory.
pub const VIEWS_FOLDER: &str = "views";
const ROWS: &str = "rows.parquet";
/// What the names of rows begin with that are on their way into a generation.
pub const FETCHED: &str = "fetched-";

/// What a materialized view is made of.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Its query, as SQL.
    pub query: String,
    /// The role that made it: it is refreshed with that role's privileges.
    pub owner: String,
    /// The column that tells which rows are new.
    pub watermark: Option<String>,
    /// The columns that tell which row a new one replaces.
    pub key: Vec<String>,
}

/// A materialized view.
#[derive(Debug)]
pub struct MaterializedView {
    recipe: Recipe,
    schema: SchemaRef,
    place: Place,
    store: Store<State>,
    current: RwLock<Option<Arc<Generation>>>,
    /// One refresh at a time.
    refreshing: Mutex<()>,
}

/// The rows at one moment.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    table: Arc<ListingTable>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// The current generation; none before it was populated.
    generation: Option<u64>,
    /// The last one that there was.
    last: u64,
}

impl MaterializedView {
    /// The view whose rows are in a folder, with the columns of `schema`.
    ///
    /// # Errors
    /// 58030 when the folder can't be made or read; XX001 when what is current can't be read.
    pub fn open(place: Place, recipe: Recipe, schema: SchemaRef) -> Result<Self> {
        let store: Store<State> = Store::open(place.clone(), "materialized view")?;
        let view = Self {
            recipe,
            schema,
            place,
            store,
            current: RwLock::default(),
            refreshing: Mutex::default(),
        };
        let state = view.state()?;
        if let Some(number) = state.generation {
            let table = listing(&view.generation(number), &view.schema)?;
            view.set(Some(Arc::new(Generation { number, table })));
        }
        view.clean(&state);
        Ok(view)
    }

    /// The columns of the rows in a folder; nothing where there are none yet.
    ///
    /// # Errors
    /// 58030 and XX001 when they can't be read.
    pub fn kept_schema(place: &Place) -> Result<Option<SchemaRef>> {
        use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
        let store: Store<State> = Store::open(place.clone(), "materialized view")?;
        let state = only_state(&store)?;
        let Some(number) = state.generation else {
            return Ok(None);
        };
        let file = place.join(&number.to_string()).join(ROWS);
        let schema = match &file {
            Place::Folder(path) => {
                let opened = File::open(path)
                    .map_err(|error| Error::io(format!("can't read \"{file}\""), error))?;
                let reader = ParquetRecordBatchReaderBuilder::try_new(opened);
                reader
                    .map(|reader| Arc::clone(reader.schema()))
                    .map_err(|error| DataFusionError::ParquetError(Box::new(error)))
            }
            Place::Store(remote, path) => {
                let (store, path) = (remote.store(), path.clone());
                remote.wait(async move {
                    let found = store.head(&path).await?;
                    let footer = DFParquetMetadata::new(store.as_ref(), &found);
                    footer.fetch_schema().await.map(Arc::new)
                })?
            }
        };
        schema.map(Some).map_err(|error| {
            crate::external::find_fault(&error).unwrap_or_else(|| Error::Corrupt {
                kind: "materialized view",
                file: file.to_string(),
                reason: error.to_string(),
            })
        })
    }

    /// What it is made of.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The rows now; nothing before it was populated.
    pub fn current(&self) -> Option<Arc<Generation>> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for another refresh to end.
    pub async fn lock(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.refreshing.lock().await
    }

    /// Begins to write a file of rows, beside those that are read.
    ///
    /// # Errors
    /// 58030.
    pub fn begin(&self, name: &str) -> Result<Rows> {
        let place = match &self.place {
            Place::Folder(_) => self.place.join(&format!("{name}.half")),
            Place::Store(..) => self.place.join(name),
        };
        // What a canceled refresh left.
        let _ = place.remove_all();
        Rows::create(place, Arc::clone(&self.schema))
    }

    /// The number of the next generation.
    ///
    /// # Errors
    /// XX001 when the state can't be read.
    pub fn next(&self) -> Result<u64> {
        Ok(self.state()?.last + 1)
    }

    /// Makes rows that were written the current ones.
    ///
    /// # Errors
    /// 58030; then the old ones stay.
    pub fn publish(&self, rows: &Written, number: u64) -> Result<u64> {
        let target = self.generation(number);
        if let (Place::Folder(folder), Place::Folder(from), Place::Folder(to)) =
            (&self.place, &rows.place, &target)
        {
            let failed = |error| Error::io(format!("can't write \"{target}\""), error);
            // A generation that never became current may have left it.
            let _ = fs::remove_dir_all(to);
            fs::rename(from, to).map_err(failed)?;
            sync_folder(folder).map_err(failed)?;
        }
        let table = listing(&target, &self.schema)?;
        let state = State {
            generation: Some(number),
            last: number,
        };
        self.store.put("state", &state)?;
        self.set(Some(Arc::new(Generation { number, table })));
        self.clean(&state);
        Ok(rows.count)
    }

    /// Forgets the rows.
    ///
    /// # Errors
    /// 58030.
    pub fn empty(&self) -> Result<()> {
        let state = State {
            generation: None,
            last: self.state()?.last,
        };
        self.store.put("state", &state)?;
        self.set(None);
        Ok(())
    }

    /// Removes everything of a view that is dropped. Whoever still reads it has an error.
    pub fn remove(&self) {
        if let Err(error) = self.place.remove_all() {
            let folder = &self.place;
            tracing::warn!(%error, %folder, "the rows of a dropped view can't be removed");
        }
    }

    fn state(&self) -> Result<State> {
        only_state(&self.store)
    }

    fn set(&self, generation: Option<Arc<Generation>>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = generation;
    }

    fn generation(&self, number: u64) -> Place {
        self.place.join(&number.to_string())
    }

    /// Removes generations before the last but one, and what was never finished.
    fn clean(&self, state: &State) {
        let Ok(entries) = self.place.entries() else {
            return;
        };
        let kept = |number: u64| number + 1 >= state.last && number <= state.last;
        for (name, is_folder) in entries {
            let number = name.parse::<u64>().ok();
            let is_half = name.ends_with(".half") || name.starts_with(FETCHED);
            if is_folder && (is_half || number.is_some_and(|number| !kept(number))) {
                // It is tried again after the next refresh.
                let _ = self.place.join(&name).remove_all();
            }
        }
    }
}

impl Generation {
    /// Its rows as a table.
    pub fn table(&self) -> Arc<dyn TableProvider> {
        Arc::clone(&self.table) as Arc<dyn TableProvider>
    }

    /// Its number, which grows.
    pub fn number(&self) -> u64 {
        self.number
    }
}

fn only_state(store: &Store<State>) -> Result<State> {
    let mut loaded = store.load()?;
    match loaded.pop() {
        Some((_, state)) => state,
        None => Ok(State::default()),
    }
}

fn listing(place: &Place, schema: &SchemaRef) -> Result<Arc<ListingTable>> {
    let url = place.listing_url(true)?;
    let options =
        ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(".parquet");
    let config = ListingTableConfig::new(url)
        .with_listing_options(options)
        .with_schema(Arc::clone(schema));
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// Rows that are being written.
pub struct Rows {
    place: Place,
    /// Where they are put together: the file that stays, or one without a name.
    file: File,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
    count: u64,
}

impl Rows {
    fn create(place: Place, schema: SchemaRef) -> Result<Self> {
        let file = match &place {
            Place::Folder(folder) => create_in(folder),
            Place::Store(remote, _) => tempfile::tempfile_in(remote.scratch()),
        };
        let failed = |error| Error::io(format!("can't write \"{}\"", place.join(ROWS)), error);
        let file = file.map_err(failed)?;
        let written = file.try_clone().map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = ArrowWriter::try_new(written, Arc::clone(&schema), Some(properties));
        let writer = writer.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?;
        Ok(Self {
            place,
            file,
            schema,
            writer,
            count: 0,
        })
    }

    /// Writes some more.
    ///
    /// # Errors
    /// 58030 when they can't be written; 42804 when their columns are others.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().to_vec();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| {
            Error::Query {
                fault: Fault::DatatypeMismatch,
                message: format!(
                    "the query has other columns than when the view was made: {error}"
                ),
                position: None,
            }
        })?;
        self.count += batch.num_rows() as u64;
        let written = self.writer.write(&batch);
        Ok(written.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?)
    }

    /// Ends the file, which is on the disk or in the store then.
    ///
    /// # Errors
    /// 58030, and 08001 when the store can't be reached.
    pub fn finish(self) -> Result<Written> {
        let closed = self.writer.close();
        closed.map_err(|error| DataFusionError::ParquetError(Box::new(error)))?;
        match self.place.join(ROWS) {
            Place::Folder(path) => self
                .file
                .sync_all()
                .map_err(|error| Error::io(format!("can't write \"{}\"", path.display()), error))?,
            Place::Store(remote, path) => remote.upload(&path, self.file)?,
        }
        Ok(Written {
            place: self.place,
            schema: self.schema,
            count: self.count,
        })
    }
}

fn create_in(folder: &Path) -> std::io::Result<File> {
    fs::create_dir_all(folder)?;
    File::create(folder.join(ROWS))
}

/// Rows that are written, and are nobody's yet.
pub struct Written {
    place: Place,
    schema: SchemaRef,
    count: u64,
}

impl Written {
    /// They as a table.
    ///
    /// # Errors
    /// 58030.
    pub fn table(&self) -> Result<Arc<dyn TableProvider>> {
        Ok(listing(&self.place, &self.schema)?)
    }
}

#[async_trait]
impl TableProvider for MaterializedView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        Some(&self.recipe.query)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        match self.current() {
            Some(current) => current.table.supports_filters_pushdown(filters),
            None => Ok(vec![
                TableProviderFilterPushDown::Unsupported;
                filters.len()
            ]),
        }
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        match self.current() {
            Some(current) => current.table.scan(state, projection, filters, limit).await,
            None => Err(DataFusionError::External(Box::new(Error::Query {
                fault: Fault::Unpopulated,
                message: "the materialized view has not been populated".to_owned(),
                position: None,
            }))),
        }
    }
}
