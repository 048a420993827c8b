//! Tables that only one statement sees: the rows that it changes or has changed, and tables as they were.

use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

/// Their schema. No schema that somebody makes can have that name.
const SCHEMA: &str = "\u{1f}statement";

/// The tables of a statement.
#[derive(Debug, Default, Clone)]
pub struct Local {
    tables: Option<Arc<MemorySchemaProvider>>,
}

impl Local {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tables.is_none()
    }

    /// Adds a table; returns what the statement calls it.
    ///
    /// # Errors
    /// XX000 for a name that is taken.
    pub fn add(
        &mut self,
        name: &str,
        table: Arc<dyn TableProvider>,
    ) -> Result<ObjectName, DataFusionError> {
        let tables = self.tables.get_or_insert_with(Arc::default);
        // A statement that is planned again has them again.
        tables.deregister_table(name)?;
        tables.register_table(name.to_owned(), table)?;
        let part = |name: &str| ObjectNamePart::Identifier(Ident::with_quote('"', name));
        Ok(ObjectName(vec![part(SCHEMA), part(name)]))
    }

    /// The state with these tables among the others.
    pub fn over(&self, state: SessionState) -> SessionState {
        let Some(tables) = &self.tables else {
            return state;
        };
        let catalogs = Catalogs {
            inner: Arc::clone(state.catalog_list()),
            tables: Arc::clone(tables) as Arc<dyn SchemaProvider>,
        };
        SessionStateBuilder::new_from_existing(state)
            .with_catalog_list(Arc::new(catalogs))
            .build()
    }
}

#[derive(Debug)]
struct Catalogs {
    inner: Arc<dyn CatalogProviderList>,
    tables: Arc<dyn SchemaProvider>,
}

impl CatalogProviderList for Catalogs {
    fn register_catalog(
        &self,
        name: String,
        catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        self.inner.register_catalog(name, catalog)
    }

    fn catalog_names(&self) -> Vec<String> {
        self.inner.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        Some(Arc::new(Database {
            inner: self.inner.catalog(name)?,
            tables: Arc::clone(&self.tables),
        }))
    }
}

#[derive(Debug)]
struct Database {
    inner: Arc<dyn CatalogProvider>,
    tables: Arc<dyn SchemaProvider>,
}

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        self.inner.schema_names()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        match name {
            SCHEMA => Some(Arc::clone(&self.tables)),
            name => self.inner.schema(name),
        }
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>, DataFusionError> {
        self.inner.register_schema(name, schema)
    }

    fn deregister_schema(
        &self,
        name: &str,
        cascade: bool,
    ) -> Result<Option<Arc<dyn SchemaProvider>>, DataFusionError> {
        self.inner.deregister_schema(name, cascade)
    }
}
