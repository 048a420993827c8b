//! A format whose files may have different columns: each file's are told by their names.
//!
//! DataFusion's readers of Parquet and JSON do that themselves; those of CSV and Arrow take the table's columns for the
//! file's, one after the other. A column that a file lacks is NULL in its rows; one that the table lacks is left out.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::common::config::CsvOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    ArrowSource, CsvSource, FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder,
    FileSinkConfig, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::{LexOrdering, LexRequirement};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::ProjectionExprs;
use datafusion::physical_plan::{
    DisplayFormatType, ExecutionPlan, PhysicalExpr, apply_expression_roots,
};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use super::head::{arrow_head, csv_head, is_arrow_file};
use super::merge::{Values, merged};

/// How many files are looked into at a time.
const AT_A_TIME: usize = 16;

/// A format of DataFusion's, with columns by their names.
#[derive(Debug)]
pub struct ByName {
    inner: Arc<dyn FileFormat>,
    kind: Kind,
    /// The table's columns were written down, so that a file's names may be others.
    declared: bool,
}

/// What has to be done about a format's columns.
#[derive(Debug, Clone)]
enum Kind {
    Csv(Box<CsvOptions>),
    Arrow,
    /// Its reader knows names.
    Other(Values),
}

impl ByName {
    /// The format `name` over DataFusion's.
    pub fn new(inner: Arc<dyn FileFormat>, name: &str, declared: bool) -> Self {
        let kind = match inner.downcast_ref::<CsvFormat>() {
            Some(csv) => Kind::Csv(Box::new(csv.options().clone())),
            None if name.eq_ignore_ascii_case("arrow") => Kind::Arrow,
            None if name.eq_ignore_ascii_case("parquet") => Kind::Other(Values::Typed),
            None => Kind::Other(Values::Json),
        };
        Self {
            inner,
            kind,
            declared,
        }
    }
}

impl ByName {
    /// What its values are, for a column that has different types in different files.
    pub fn values(&self) -> Values {
        match self.kind {
            Kind::Csv(_) => Values::Texts,
            Kind::Arrow => Values::Typed,
            Kind::Other(values) => values,
        }
    }

    /// The columns of a file.
    async fn look(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        object: &ObjectMeta,
    ) -> Result<SchemaRef> {
        match self.kind {
            // DataFusion's doesn't find the schema of a file that comes from a store: zeros stand before it.
            Kind::Arrow => Ok(arrow_head(store, object).await?.0),
            _ => {
                let one = std::slice::from_ref(object);
                self.inner.infer_schema(state, store, one).await
            }
        }
    }

    /// How its files' names end: `csv.gz`.
    pub fn extension(&self) -> Option<String> {
        let compression = self.inner.compression_type()?;
        self.inner.get_ext_with_compression(&compression).ok()
    }
}

#[async_trait]
impl FileFormat for ByName {
    fn get_ext(&self) -> String {
        self.inner.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.inner.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.inner.compression_type()
    }

    /// DataFusion looks into as many files as a thousand rows take, and then knows nothing of the columns of the others.
    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        let mut objects = objects.to_vec();
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        let mut looks = Vec::with_capacity(objects.len());
        for object in &objects {
            looks.push(self.look(state, store, object));
        }
        let schemas: Vec<SchemaRef> = stream::iter(looks)
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        merged(&schemas, self.values()).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Statistics> {
        let inner = &self.inner;
        inner.infer_stats(state, store, table_schema, object).await
    }

    async fn infer_ordering(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        table_schema: SchemaRef,
        object: &ObjectMeta,
    ) -> Result<Option<LexOrdering>> {
        let inner = &self.inner;
        inner
            .infer_ordering(state, store, table_schema, object)
            .await
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        conf: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(source) = conf.file_source.downcast_ref::<NamedSource>().cloned() else {
            return self.inner.create_physical_plan(state, conf).await;
        };
        let (source, compression) = match &self.kind {
            Kind::Csv(options) => {
                let compression = FileCompressionType::from(options.compression);
                let catalog = &state.config_options().catalog;
                let mut options = options.clone();
                options.has_header = options.has_header.or(Some(catalog.has_header));
                options.newlines_in_values = options
                    .newlines_in_values
                    .or(Some(catalog.newlines_in_values));
                (source.reading(Reader::Csv(options)), compression)
            }
            _ => {
                let store = state.runtime_env().object_store(&conf.object_store_url)?;
                let files = conf.file_groups.iter().flat_map(|group| group.files());
                let splits = match files.into_iter().next() {
                    Some(file) => is_arrow_file(&store, &file.object_meta).await?,
                    None => false,
                };
                (
                    source.reading(Reader::Arrow { splits }),
                    FileCompressionType::UNCOMPRESSED,
                )
            }
        };
        let config = FileScanConfigBuilder::from(conf)
            .with_file_compression_type(compression)
            .with_source(Arc::new(source))
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    async fn create_writer_physical_plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        state: &dyn Session,
        conf: FileSinkConfig,
        order: Option<LexRequirement>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let inner = &self.inner;
        inner
            .create_writer_physical_plan(input, state, conf, order)
            .await
    }

    fn file_source(&self, table_schema: TableSchema) -> Arc<dyn FileSource> {
        let reader = match &self.kind {
            Kind::Csv(options) => Reader::Csv(options.clone()),
            Kind::Arrow => Reader::Arrow { splits: false },
            Kind::Other(_) => return self.inner.file_source(table_schema),
        };
        Arc::new(NamedSource {
            projection: SplitProjection::unprojected(&table_schema),
            table_schema,
            reader,
            declared: self.declared,
            batch_size: None,
            heads: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// What reads a file once its columns are known.
#[derive(Debug, Clone)]
enum Reader {
    Csv(Box<CsvOptions>),
    /// Files of Arrow's can be read in parts, streams can't.
    Arrow {
        splits: bool,
    },
}

/// The columns of a file.
#[derive(Debug)]
struct Head {
    /// As its reader takes them.
    schema: SchemaRef,
    /// Where the table's columns are in it.
    places: Vec<Option<usize>>,
    /// A file of Arrow's, and not a stream.
    arrow_file: bool,
}

/// Files whose columns are told by their names.
#[derive(Clone)]
struct NamedSource {
    table_schema: TableSchema,
    projection: SplitProjection,
    reader: Reader,
    declared: bool,
    batch_size: Option<usize>,
    /// What is known of files already: a long one is read in several parts.
    heads: Arc<Mutex<HashMap<Path, Arc<Head>>>>,
    metrics: ExecutionPlanMetricsSet,
}

impl NamedSource {
    fn reading(self, reader: Reader) -> Self {
        Self { reader, ..self }
    }

    async fn head(
        &self,
        store: &Arc<dyn ObjectStore>,
        meta: &ObjectMeta,
        compression: FileCompressionType,
    ) -> Result<Arc<Head>> {
        // The map is whole after a panic: each change of it is one call.
        let heads = || self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = heads().get(&meta.location) {
            return Ok(Arc::clone(head));
        }
        let table = self.table_schema.file_schema();
        let head = match &self.reader {
            Reader::Csv(options) => {
                let fields = csv_head(store, meta, options, compression).await?;
                csv_columns(
                    &fields,
                    table,
                    options.has_header.unwrap_or(true),
                    self.declared,
                )
            }
            Reader::Arrow { .. } => {
                let (schema, arrow_file) = arrow_head(store, meta).await?;
                let fields = table.fields().iter();
                let places = fields.map(|field| schema.index_of(field.name()).ok());
                Head {
                    places: places.collect(),
                    schema,
                    arrow_file,
                }
            }
        };
        let head = Arc::new(head);
        heads().insert(meta.location.clone(), Arc::clone(&head));
        Ok(head)
    }

    /// What reads the columns at `places` of a file.
    fn source_of(&self, head: &Head, places: &[usize]) -> Result<Arc<dyn FileSource>> {
        let schema = TableSchema::from(Arc::clone(&head.schema));
        let source: Arc<dyn FileSource> = match &self.reader {
            Reader::Csv(options) => {
                Arc::new(CsvSource::new(schema).with_csv_options(options.as_ref().clone()))
            }
            Reader::Arrow { .. } if head.arrow_file => {
                Arc::new(ArrowSource::new_file_source(schema))
            }
            Reader::Arrow { .. } => Arc::new(ArrowSource::new_stream_file_source(schema)),
        };
        let source = match self.batch_size {
            Some(size) => source.with_batch_size(size),
            None => source,
        };
        let projection = ProjectionExprs::from_indices(places, &head.schema);
        match source.try_pushdown_projection(&projection)? {
            Some(projected) => Ok(projected),
            None => Err(DataFusionError::Internal(
                "a reader of files takes no columns".to_owned(),
            )),
        }
    }
}

/// The columns of a CSV: those of the table where its first line names them. Where it names none of those that were written
/// down, or nothing, they come one after the other.
fn csv_columns(fields: &[String], table: &Schema, has_header: bool, declared: bool) -> Head {
    let at = |field: &Field| {
        let exact = fields.iter().position(|name| name == field.name());
        let close = || {
            let mut names = fields.iter();
            names.position(|name| name.trim().eq_ignore_ascii_case(field.name()))
        };
        match declared {
            true => exact.or_else(close),
            false => exact,
        }
    };
    let columns = table.fields().iter();
    let mut places: Vec<Option<usize>> = match has_header {
        true => columns.clone().map(|field| at(field)).collect(),
        false => Vec::new(),
    };
    if !has_header || (declared && places.iter().all(Option::is_none)) {
        let all = columns.enumerate();
        places = all
            .map(|(at, _)| (at < fields.len()).then_some(at))
            .collect();
    }
    let fields = (0..fields.len()).map(|at| {
        let column = places.iter().position(|place| *place == Some(at));
        // Its reader needs a type for what nobody asks for, too; any text is one.
        let data_type = column.map_or(DataType::Utf8, |column| {
            table.field(column).data_type().clone()
        });
        Field::new(format!("{at}"), data_type, true)
    });
    Head {
        schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        places,
        arrow_file: false,
    }
}

impl FileSource for NamedSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let wanted = &self.projection.file_indices;
        let opener = NamedOpener {
            schema: Arc::new(self.table_schema.file_schema().project(wanted)?),
            source: self.clone(),
            object_store,
            config: base_config.clone(),
            partition,
        };
        ProjectionOpener::try_new(
            self.projection.clone(),
            Arc::new(opener),
            self.table_schema.file_schema(),
        )
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_size: Some(batch_size),
            ..self.clone()
        })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        match self.reader {
            Reader::Csv(_) => "csv",
            Reader::Arrow { .. } => "arrow",
        }
    }

    fn fmt_extra(&self, style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reader, style) {
            (_, DisplayFormatType::TreeRender) | (Reader::Arrow { .. }, _) => Ok(()),
            (Reader::Csv(options), _) => {
                write!(f, ", has_header={}", options.has_header.unwrap_or(true))
            }
        }
    }

    fn supports_repartitioning(&self) -> bool {
        match &self.reader {
            Reader::Csv(options) => !options.newlines_in_values.unwrap_or(false),
            Reader::Arrow { splits } => *splits,
        }
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let mut source = self.clone();
        source.projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(source)))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter(), f)
    }
}

/// Opens files whose columns are told by their names.
struct NamedOpener {
    source: NamedSource,
    /// The columns that are asked for.
    schema: SchemaRef,
    object_store: Arc<dyn ObjectStore>,
    config: FileScanConfig,
    partition: usize,
}

impl FileOpener for NamedOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let source = self.source.clone();
        let schema = Arc::clone(&self.schema);
        let store = Arc::clone(&self.object_store);
        let config = self.config.clone();
        let partition = self.partition;
        Ok(Box::pin(async move {
            let compression = config.file_compression_type;
            let head = source.head(&store, &file.object_meta, compression).await?;
            let wanted = source.projection.file_indices.iter();
            let places: Vec<Option<usize>> = wanted.map(|at| head.places[*at]).collect();
            // A column that is asked for twice is read once.
            let mut read: Vec<usize> = places.iter().flatten().copied().collect();
            read.sort_unstable();
            read.dedup();
            let inner = source.source_of(&head, &read)?;
            let opener = inner.create_file_opener(store, &config, partition)?;
            let batches = opener.open(file)?.await?;
            let columns: Vec<Option<usize>> = places
                .into_iter()
                .map(|place| read.iter().position(|read| Some(*read) == place))
                .collect();
            let batches = batches.map(move |batch| as_table(&batch?, &columns, &schema));
            Ok(batches.boxed())
        }))
    }
}

/// A file's rows with the table's columns.
fn as_table(
    batch: &RecordBatch,
    columns: &[Option<usize>],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let values = columns.iter().zip(schema.fields());
    let values = values.map(|(column, field)| match column {
        Some(at) if batch.column(*at).data_type() == field.data_type() => {
            Ok(Arc::clone(batch.column(*at)))
        }
        Some(at) => Ok(cast_with_options(
            batch.column(*at),
            field.data_type(),
            &strict,
        )?),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    });
    let values: Vec<ArrayRef> = values.collect::<Result<_>>()?;
    // Without a column it still has rows to be counted.
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        values,
        &rows,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(fields: &[&str], has_header: bool, declared: bool) -> Vec<Option<usize>> {
        let table = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]);
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        csv_columns(&fields, &table, has_header, declared).places
    }

    #[test]
    fn columns_of_a_csv_are_told_by_their_names() {
        assert_eq!(
            places(&["name", "x", "id"], true, false),
            [Some(2), Some(0)]
        );
        assert_eq!(places(&["id"], true, false), [Some(0), None]);
        assert_eq!(places(&["ID"], true, false), [None, None]);
        // Those that were written down may be the table's own.
        assert_eq!(places(&["ID", "x"], true, true), [Some(0), None]);
        assert_eq!(places(&["Nr", "Wer"], true, true), [Some(0), Some(1)]);
        assert_eq!(places(&["1"], false, false), [Some(0), None]);
    }
}
