//! A table of another database as a table here.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::columns::{ForeignColumn, quoted};
use super::filter::Writer;
use super::scan::{ForeignScan, Query};
use super::settings::Wrapper;
use crate::catalog::Servers;
use crate::engine::SessionInfo;

/// Which table of which server a foreign table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server.
    pub server: String,
    /// What the server is.
    pub wrapper: Wrapper,
    /// The schema there; the one that a connection begins in where it is absent.
    pub schema: Option<String>,
    /// Its name there.
    pub table: String,
}

impl Place {
    /// Its name as the server reads it.
    fn written(&self) -> String {
        let table = quoted(self.wrapper, &self.table);
        match &self.schema {
            Some(schema) => format!("{}.{table}", quoted(self.wrapper, schema)),
            None => table,
        }
    }
}

/// A table of another database. Whoever reads it is a user there by the mapping of the role that reads.
#[derive(Debug)]
pub struct ForeignTable {
    place: Place,
    columns: Vec<ForeignColumn>,
    schema: SchemaRef,
    servers: Arc<Servers>,
}

impl ForeignTable {
    /// The table at `place` with these columns.
    pub fn new(place: Place, columns: Vec<ForeignColumn>, servers: Arc<Servers>) -> Self {
        let fields: Vec<_> = columns.iter().map(|column| column.field.clone()).collect();
        Self {
            place,
            columns,
            schema: Arc::new(Schema::new(fields)),
            servers,
        }
    }

    /// Which table of which server it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its columns.
    pub fn columns(&self) -> &[ForeignColumn] {
        &self.columns
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            wrapper: self.place.wrapper,
            columns: &self.columns,
        }
    }
}

#[async_trait]
impl TableProvider for ForeignTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        use TableProviderFilterPushDown as Support;
        let support = |filter: &&Expr| match self.writer().condition(filter) {
            Some(condition) if condition.exact => Support::Exact,
            Some(_) => Support::Inexact,
            None => Support::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let info = state.config().get_extension::<SessionInfo>();
        let info = info.ok_or_else(|| {
            DataFusionError::Internal(format!("nobody reads {}", self.place.table))
        })?;
        let remote = self.servers.remote(&self.place.server, &info.role());
        let remote = remote.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let conditions: Vec<_> = filters
            .iter()
            .map(|filter| self.writer().condition(filter))
            .collect();
        // Of rows that are looked at once more, the first may not be enough.
        let exact = |condition: &Option<super::filter::Condition>| {
            condition.as_ref().is_some_and(|condition| condition.exact)
        };
        let limit = limit.filter(|_| conditions.iter().all(exact));
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let wanted = projection.unwrap_or(&all);
        let query = Query {
            from: self.place.written(),
            conditions: conditions.into_iter().flatten().map(|c| c.sql).collect(),
            columns: wanted
                .iter()
                .filter_map(|at| self.columns.get(*at).cloned())
                .collect(),
            limit,
        };
        let schema = Arc::new(self.schema.project(wanted)?);
        Ok(Arc::new(ForeignScan::of_table(remote, query, schema)))
    }
}
