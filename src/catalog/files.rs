//! Tables by being there: a file or folder under `DATA_DIR/tables/SCHEMA/` is a table of that name.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl,
};
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::guard::unguarded;
use super::objects::relation_key;
use crate::engine::DATABASE;
use crate::error::{Error, Result};
use crate::storage::Place;

/// The folder of the tables in a data directory.
pub const TABLES_FOLDER: &str = "tables";

/// Registers every table that lies in a data directory. One that can't be read is left out, and returned with
/// its key and what is wrong with it.
///
/// # Errors
/// 58030 when the folder can't be listed.
pub async fn register_files(
    state: &SessionState,
    data_dir: &Place,
) -> Result<Vec<(String, Error)>> {
    let mut broken = Vec::new();
    let tables = data_dir.join(TABLES_FOLDER);
    let schemas = tables.entries()?.into_iter();
    for (schema, _) in schemas.filter(|(_, is_folder)| *is_folder) {
        register_schema(state, &schema)?;
        let folder = tables.join(&schema);
        for (file, is_folder) in folder.entries()? {
            let Some(name) = Path::new(&file).file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let place = folder.join(&file);
            let file = (!is_folder).then_some(file.as_str());
            if let Err(error) = register_file(state, &schema, name, &place, file).await {
                tracing::error!(%error, path = %place, "can't read a table");
                broken.push((relation_key(&schema, name), error));
            }
        }
    }
    Ok(broken)
}

/// Refuses to read a file or folder that is not there any more: to DataFusion it is one without rows.
///
/// # Errors
/// 58030 with its name.
pub fn check_files(plan: &LogicalPlan) -> Result<(), DataFusionError> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
            && let Some(table) = unguarded(provider).downcast_ref::<ListingTable>()
        {
            for url in table.table_paths() {
                check_file(&scan.table_name, url)?;
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_file(table: &TableReference, url: &ListingTableUrl) -> Result<(), DataFusionError> {
    let Some(path) = local_path(url) else {
        return Ok(());
    };
    // Whatever else is wrong with it, reading it says so. Of a pattern, this is the folder.
    if path.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let what = if url.is_collection() {
        "folder"
    } else {
        "file"
    };
    let message = format!(
        "{what} \"{}\" of table \"{table}\" is not there",
        path.display()
    );
    Err(DataFusionError::IoError(std::io::Error::new(
        ErrorKind::NotFound,
        message,
    )))
}

/// Where a table's data are, unless they are in an object store.
pub fn local_path(url: &ListingTableUrl) -> Option<PathBuf> {
    match url.scheme() {
        "file" => url.get_url().to_file_path().ok(),
        _ => None,
    }
}

fn register_schema(state: &SessionState, schema: &str) -> Result<(), DataFusionError> {
    let Some(database) = state.catalog_list().catalog(DATABASE) else {
        return Ok(());
    };
    if database.schema(schema).is_none() {
        database.register_schema(schema, Arc::new(MemorySchemaProvider::new()))?;
    }
    Ok(())
}

/// `file` is the file's name; nothing for a folder.
async fn register_file(
    state: &SessionState,
    schema: &str,
    name: &str,
    place: &Place,
    file: Option<&str>,
) -> Result<()> {
    let Some((format, extension)) = format_of(file) else {
        return Ok(());
    };
    let options = ListingOptions::new(format).with_file_extension(extension);
    let config = ListingTableConfig::new(place.listing_url(file.is_none())?)
        .with_listing_options(options)
        .infer_schema(state)
        .await?;
    let table = Arc::new(ListingTable::try_new(config)?);
    let reference = TableReference::partial(schema, name);
    state
        .schema_for_ref(reference)?
        .register_table(name.to_owned(), table)?;
    Ok(())
}

/// By the file's extension; a folder holds Parquet files.
fn format_of(file: Option<&str>) -> Option<(Arc<dyn FileFormat>, String)> {
    let Some(file) = file else {
        return Some((Arc::new(ParquetFormat::default()), ".parquet".to_owned()));
    };
    let extension = Path::new(file).extension()?.to_str()?;
    let format: Arc<dyn FileFormat> = match extension {
        "parquet" => Arc::new(ParquetFormat::default()),
        "csv" => Arc::new(CsvFormat::default().with_has_header(true)),
        "json" | "jsonl" | "ndjson" => Arc::new(JsonFormat::default()),
        _ => return None,
    };
    Some((format, format!(".{extension}")))
}
