//! Tables by being there: a file or folder under `DATA_DIR/tables/SCHEMA/` is a table of that name.

use std::fs;
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

/// The folder of the tables in a data directory.
pub const TABLES_FOLDER: &str = "tables";

/// Registers every table that lies in `data_dir`. One that can't be read is left out, and returned with
/// its key and what is wrong with it.
///
/// # Errors
/// 58030 when the folder can't be listed.
pub async fn register_files(state: &SessionState, data_dir: &Path) -> Result<Vec<(String, Error)>> {
    let mut broken = Vec::new();
    let tables = data_dir.join(TABLES_FOLDER);
    if !tables.is_dir() {
        return Ok(broken);
    }
    for folder in entries(&tables)?.into_iter().filter(|path| path.is_dir()) {
        let Some(schema) = folder.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        register_schema(state, schema)?;
        for path in entries(&folder)? {
            let Some(name) = path.file_stem().and_then(|name| name.to_str()) else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            if let Err(error) = register_file(state, schema, name, &path).await {
                tracing::error!(%error, path = %path.display(), "can't read a table");
                broken.push((relation_key(schema, name), error.into()));
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

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = fs::read_dir(folder)
        .map_err(|error| Error::io(format!("can't read folder \"{}\"", folder.display()), error))?;
    let mut paths: Vec<PathBuf> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    Ok(paths)
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

async fn register_file(
    state: &SessionState,
    schema: &str,
    name: &str,
    path: &Path,
) -> Result<(), DataFusionError> {
    let Some((format, extension)) = format_of(path) else {
        return Ok(());
    };
    let mut location = path.to_string_lossy().into_owned();
    if path.is_dir() {
        location.push('/');
    }
    let options = ListingOptions::new(format).with_file_extension(extension);
    let config = ListingTableConfig::new(ListingTableUrl::parse(location)?)
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
fn format_of(path: &Path) -> Option<(Arc<dyn FileFormat>, String)> {
    if path.is_dir() {
        return Some((Arc::new(ParquetFormat::default()), ".parquet".to_owned()));
    }
    let extension = path.extension()?.to_str()?;
    let format: Arc<dyn FileFormat> = match extension {
        "parquet" => Arc::new(ParquetFormat::default()),
        "csv" => Arc::new(CsvFormat::default().with_has_header(true)),
        "json" | "jsonl" | "ndjson" => Arc::new(JsonFormat::default()),
        _ => return None,
    };
    Some((format, format!(".{extension}")))
}
