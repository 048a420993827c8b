//! A durable table as DataFusion reads it: at the moment that the session sees.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Constraints, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::definition::Shape;
use super::scan::{Scan, schema};
use super::version::Version;
use super::{Table, Tables};
use crate::engine::SessionInfo;
use crate::error::Error;

/// A table with its rows.
#[derive(Debug, Clone)]
pub struct DurableTable {
    tables: Arc<Tables>,
    table: Arc<Table>,
    /// The columns, where they aren't those of the moment.
    shape: Option<Arc<Shape>>,
    /// The files, where they aren't those that the session sees.
    version: Option<Arc<Version>>,
    /// With the places of rows.
    places: bool,
    /// With texts as views, for those who only read.
    views: bool,
    constraints: Constraints,
}

impl DurableTable {
    /// A table as each session sees it.
    pub fn new(tables: &Arc<Tables>, table: &Arc<Table>) -> Self {
        Self {
            tables: Arc::clone(tables),
            table: Arc::clone(table),
            shape: None,
            version: None,
            places: false,
            views: false,
            constraints: table.shape().constraints().clone(),
        }
    }

    /// The same at one version.
    pub fn at(self, version: Arc<Version>) -> Self {
        Self {
            version: Some(version),
            ..self
        }
    }

    /// The same with columns of its own.
    pub fn shaped(self, shape: Arc<Shape>) -> Self {
        Self {
            shape: Some(shape),
            ..self
        }
    }

    /// The same with the places of rows as further columns.
    pub fn with_places(self) -> Self {
        Self {
            places: true,
            constraints: Constraints::default(),
            ..self
        }
    }

    /// The same with texts as views: quicker to read, and of another type than those that are written.
    pub fn with_views(self) -> Self {
        Self {
            views: true,
            ..self
        }
    }

    /// The table.
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// Its columns.
    pub fn shape(&self) -> Arc<Shape> {
        match &self.shape {
            Some(shape) => Arc::clone(shape),
            None => self.table.shape(),
        }
    }

    /// What its files take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tables.current(&self.table).bytes()
    }

    /// The files that a session sees.
    pub fn version(&self, state: &dyn Session) -> Arc<Version> {
        if let Some(version) = &self.version {
            return Arc::clone(version);
        }
        let info = state.config().get_extension::<SessionInfo>();
        let seen = info.and_then(|info| info.view()?.of(&self.table));
        seen.unwrap_or_else(|| self.tables.current(&self.table))
    }
}

#[async_trait]
impl TableProvider for DurableTable {
    fn schema(&self) -> SchemaRef {
        schema(&self.shape(), self.places, self.views)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let version = self.version(state);
        let shape = self.shape();
        check_types(&shape, &version, projection)?;
        let scan = Scan {
            place: self.table.place(),
            shape: &shape,
            version: &version,
            places: self.places,
            views: self.views,
        };
        scan.plan(state, projection, limit)
    }

    /// Filters leave out files and groups of rows; what is left is filtered above.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn statistics(&self) -> Option<Statistics> {
        let version = match &self.version {
            Some(version) => Arc::clone(version),
            None => self.tables.current(&self.table),
        };
        let rows = usize::try_from(version.rows()).ok()?;
        Some(Statistics::new_unknown(&self.schema()).with_num_rows(Precision::Inexact(rows)))
    }
}

/// Refuses columns that were of another type in a version.
fn check_types(shape: &Shape, version: &Version, projection: Option<&Vec<usize>>) -> Result<()> {
    let columns = shape.definition.columns.iter().enumerate();
    let mut read = columns
        .filter(|(at, _)| projection.is_none_or(|projection| projection.contains(at)))
        .filter_map(|(_, column)| Some((column, column.since?)));
    let other = read.find(|(_, since)| *since > version.number && !version.files.is_empty());
    match other {
        None => Ok(()),
        Some((column, since)) => Err(DataFusionError::External(Box::new(Error::Unsupported {
            message: format!(
                "column \"{}\" of table \"{}\" was of another type in version {}",
                column.name, shape.definition.name, version.number
            ),
            hint: Some(format!(
                "Read its other columns, or a version from {since} on."
            )),
        }))),
    }
}
