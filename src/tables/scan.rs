//! Reading the files of a version, as the bare Parquet files are read.
//!
//! A change of rows has to know where they are: [`FILE`] and [`ROW`] are two further columns, the number of a row's file
//! in its version and the row's own in the file.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::{ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::parquet::arrow::RowNumber;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;

use super::definition::Shape;
use super::table::Table;
use super::version::{DataFile, Version};
use crate::storage::Place;

/// The column that has the number of a row's file.
pub const FILE: &str = "\u{1f}file";
/// The column that has a row's number in its file.
pub const ROW: &str = "\u{1f}place";

/// What is read.
pub struct Scan<'a> {
    /// The table's folder.
    pub place: &'a Place,
    /// Its columns.
    pub shape: &'a Shape,
    /// Its files.
    pub version: &'a Version,
    /// With the places of rows.
    pub places: bool,
    /// With texts as views of what was read, which needn't be copied then.
    pub views: bool,
}

/// The columns of a scan.
pub fn schema(shape: &Shape, places: bool, views: bool) -> SchemaRef {
    if !places && !views {
        return Arc::clone(&shape.schema);
    }
    let own = shape.schema.fields().iter();
    let own = own.map(|field| match field.data_type() {
        DataType::Utf8 if views => {
            let field = field.as_ref().clone();
            Arc::new(field.with_data_type(DataType::Utf8View))
        }
        _ => Arc::clone(field),
    });
    let mut fields: Vec<_> = own.collect();
    if places {
        fields.extend([Arc::new(file_field()), Arc::new(row_field())]);
    }
    Arc::new(Schema::new(fields))
}

fn file_field() -> Field {
    Field::new(FILE, DataType::Int32, false)
}

fn row_field() -> Field {
    Field::new(ROW, DataType::Int64, false).with_extension_type(RowNumber)
}

impl Scan<'_> {
    /// The operators that read these columns.
    pub fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = schema(self.shape, self.places, self.views);
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all);
        let projected = Arc::new(schema.project(wanted)?);
        if self.version.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(projected)));
        }
        let (columns, order) = self.columns();
        let files: Result<Vec<PartitionedFile>> = self
            .version
            .files
            .iter()
            .enumerate()
            .map(|(number, file)| self.file(number, file))
            .collect();
        let files = files?;
        let statistics = files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics =
            Statistics::try_merge_iter(statistics, columns.schema_without_virtual_columns())?;
        let options = state.config_options();
        let store = self.place.store_url();
        let reader = CachedParquetFileReaderFactory::new(
            state.runtime_env().object_store(&store)?,
            state.runtime_env().cache_manager.get_file_metadata_cache(),
        );
        let parquet = TableParquetOptions {
            global: options.execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let mut statistics = statistics;
        while statistics.column_statistics.len() < columns.table_schema().fields().len() {
            statistics
                .column_statistics
                .push(datafusion::common::ColumnStatistics::new_unknown());
        }
        let source = ParquetSource::new(columns)
            .with_table_parquet_options(parquet)
            .with_parquet_file_reader_factory(Arc::new(reader));
        let groups = FileGroup::new(files).split_files(options.execution.target_partitions);
        let places = wanted.iter().map(|at| order[*at]).collect();
        let config = FileScanConfigBuilder::new(store, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(limit)
            .with_projection_indices(Some(places))?
            .build();
        self.named(DataSourceExec::from_data_source(config), &projected)
    }

    /// The columns in the order in which files, their partitions and places come, and where each of ours is there.
    fn columns(&self) -> (TableSchema, Vec<usize>) {
        let shape = self.shape;
        let partitions = shape.partitions();
        let own = schema(shape, false, self.views);
        let stored = |at: usize| {
            let field = own.field(at).clone();
            Arc::new(field.with_name(shape.stored.field(at).name()))
        };
        let count = shape.schema.fields().len();
        let in_files: Vec<usize> = (0..count).filter(|at| !partitions.contains(at)).collect();
        let in_order = in_files.iter().chain(&partitions);
        let order: Vec<usize> = in_order.copied().collect();
        let mut places: Vec<usize> = (0..count)
            .map(|at| order.iter().position(|other| *other == at).unwrap_or(at))
            .collect();
        let file_schema = Schema::new(in_files.into_iter().map(stored).collect::<Vec<_>>());
        let mut of_partitions: Vec<_> = partitions.into_iter().map(stored).collect();
        let mut builder = TableSchemaBuilder::new(Arc::new(file_schema));
        if self.places {
            places.extend([count, count + 1]);
            of_partitions.push(Arc::new(file_field()));
            builder = builder.with_virtual_columns(vec![Arc::new(row_field())]);
        }
        let schema = builder.with_table_partition_cols(of_partitions).build();
        (schema, places)
    }

    fn file(&self, number: usize, file: &DataFile) -> Result<PartitionedFile> {
        let path = self.place.join(file.path()).store_path();
        let path = path.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let size = u64::try_from(file.add.size).unwrap_or(0);
        let mut found = PartitionedFile::new(String::new(), size);
        found.object_meta.location = path;
        let own = schema(self.shape, false, self.views);
        let values = self.shape.partitions().into_iter().map(|at| {
            let kind = own.field(at).data_type();
            let name = self.shape.stored.field(at).name();
            match file.add.partition_values.get(name).cloned().flatten() {
                Some(text) => ScalarValue::try_from_string(text, kind),
                None => ScalarValue::try_from(kind),
            }
        });
        let mut values = values.collect::<Result<Vec<_>>>()?;
        if self.places {
            values.push(ScalarValue::Int32(i32::try_from(number).ok()));
        }
        let statistics = Arc::new(file.statistics(self.shape));
        Ok(found
            .with_partition_values(values)
            .with_statistics(statistics))
    }

    /// Columns under the names that SQL knows them by.
    fn named(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        schema: &SchemaRef,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if plan.schema().fields() == schema.fields() {
            return Ok(plan);
        }
        let stored = plan.schema();
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            let column = Column::new(stored.field(at).name(), at);
            (
                Arc::new(column) as Arc<dyn PhysicalExpr>,
                field.name().clone(),
            )
        });
        Ok(Arc::new(ProjectionExec::try_new(
            columns.collect::<Vec<_>>(),
            plan,
        )?))
    }
}

/// The rows of one file, in their order.
///
/// # Errors
/// 58030 where it can't be read.
pub fn read_file(
    table: &Table,
    shape: &Shape,
    file: &Arc<DataFile>,
    state: &SessionState,
) -> Result<SendableRecordBatchStream> {
    let version = Version {
        number: 0,
        files: vec![Arc::clone(file)],
    };
    let scan = Scan {
        place: table.place(),
        shape,
        version: &version,
        places: false,
        views: false,
    };
    // A file is one group of files, and a group is read from its first row to its last.
    let plan = scan.plan(state, None, None)?;
    plan.execute(0, state.task_ctx())
}
