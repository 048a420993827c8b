//! The catalogs as a session sees them: what isn't granted isn't there, and what is there hides what policies and masks hide.
//!
//! Every plan that anybody makes has its tables from here, so that no path to a row leads past a [`GuardedTable`].
//! **Privileges are those of whoever named a table**: of the session for its own statements, of the owner for what a view
//! or a funnel reads. **Policies and masks are those of whoever asks**: they are looked up when a table is read, by the
//! session that reads it.

mod restricted;
mod table;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use datafusion_funnel::table::JOURNEYS_SCHEMA;

use super::access::{Entry, Object, Privilege};
use super::pg::is_system_schema;
use super::roles::OWNER;
use super::{Catalog, FUNNEL_SCHEMA};
use crate::engine::Identity;
use crate::error::Error;

pub use restricted::plan_expression;
pub use table::{GuardedTable, unguarded};

/// The schemas of tables that go with their session.
pub const TEMPORARY: &str = "pg_temp_";

/// Who names tables.
#[derive(Debug, Clone)]
pub enum Who {
    /// A session, as whom it acts at that moment.
    Session(Arc<Identity>),
    /// The directory's owner, for what a funnel reads.
    Owner,
}

/// Somebody's way to the catalogs.
#[derive(Debug)]
pub struct Guard {
    catalog: Arc<Catalog>,
    who: Who,
    /// The tables that were asked for: the same one twice is one table to the optimizer. A table that is gone isn't kept by it.
    known: Mutex<HashMap<(String, String), Weak<GuardedTable>>>,
}

impl Guard {
    /// The role that names tables.
    fn role(&self) -> String {
        match &self.who {
            Who::Session(identity) => identity.role(),
            Who::Owner => OWNER.to_owned(),
        }
    }

    fn is_superuser(&self) -> bool {
        self.catalog.roles().is_superuser(&self.role())
    }

    /// Whose privileges count for what is named now. What a superuser names stays readable when roles change.
    fn namer(&self) -> String {
        match self.is_superuser() {
            true => OWNER.to_owned(),
            false => self.role(),
        }
    }

    /// Whether a schema is the temporary one of another session.
    fn is_foreign(&self, schema: &str) -> bool {
        let own = |identity: &Arc<Identity>| identity.temporary_schema() == schema;
        schema.starts_with(TEMPORARY)
            && !matches!(&self.who, Who::Session(identity) if own(identity))
    }

    /// Whether the schema may be used.
    fn opens(&self, schema: &str) -> bool {
        if is_system_schema(schema) || self.is_superuser() {
            return true;
        }
        if schema.starts_with(TEMPORARY) {
            return !self.is_foreign(schema);
        }
        let entry = self
            .catalog
            .access()
            .known(&Object::Schema(schema.to_owned()));
        entry.allows(self.catalog.roles(), &self.role(), Privilege::Usage)
    }

    /// What is known of a relation that there is.
    fn entry(&self, schema: &str, name: &str) -> Arc<Entry> {
        let access = self.catalog.access();
        match schema {
            JOURNEYS_SCHEMA => access.known(&Object::Funnel(name.to_owned())),
            schema => access.entry(&Object::relation(schema, name)),
        }
    }

    /// Whether there is a relation of that name for whoever asks.
    fn shows(&self, schema: &str, name: &str) -> bool {
        if !self.opens(schema) {
            return false;
        }
        is_system_schema(schema)
            || schema == FUNNEL_SCHEMA
            || self
                .entry(schema, name)
                .shows(self.catalog.roles(), &self.role())
    }

    fn guarded(
        &self,
        schema: &str,
        name: &str,
        table: Arc<dyn TableProvider>,
        entry: Arc<Entry>,
    ) -> Arc<GuardedTable> {
        let guarded = GuardedTable::new(
            Object::relation(schema, name),
            table,
            entry,
            self.namer(),
            Arc::clone(&self.catalog),
        );
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (schema.to_owned(), name.to_owned());
        match known.get(&key).and_then(Weak::upgrade) {
            Some(before) if before.is_same(&guarded) => before,
            _ => {
                let guarded = Arc::new(guarded);
                known.insert(key, Arc::downgrade(&guarded));
                guarded
            }
        }
    }
}

/// All catalogs, as somebody sees them.
#[derive(Debug)]
pub struct GuardedCatalogs {
    inner: Arc<dyn CatalogProviderList>,
    guard: Arc<Guard>,
}

impl GuardedCatalogs {
    /// `inner` as `who` sees it.
    pub fn new(inner: Arc<dyn CatalogProviderList>, catalog: Arc<Catalog>, who: Who) -> Self {
        let guard = Guard {
            catalog,
            who,
            known: Mutex::default(),
        };
        Self {
            inner,
            guard: Arc::new(guard),
        }
    }
}

impl CatalogProviderList for GuardedCatalogs {
    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        // There is one database; the engine makes it before there are sessions.
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        self.inner.catalog_names()
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let inner = self.inner.catalog(name)?;
        let guard = Arc::clone(&self.guard);
        Some(Arc::new(GuardedDatabase { inner, guard }))
    }
}

#[derive(Debug)]
struct GuardedDatabase {
    inner: Arc<dyn CatalogProvider>,
    guard: Arc<Guard>,
}

impl GuardedDatabase {
    fn wrapped(&self, name: &str, inner: Arc<dyn SchemaProvider>) -> Arc<dyn SchemaProvider> {
        Arc::new(GuardedSchema {
            name: name.to_owned(),
            inner,
            guard: Arc::clone(&self.guard),
        })
    }
}

impl CatalogProvider for GuardedDatabase {
    fn schema_names(&self) -> Vec<String> {
        let mut names = self.inner.schema_names();
        names.retain(|name| self.guard.opens(name));
        names
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(self.wrapped(name, self.inner.schema(name)?))
    }

    fn register_schema(
        &self,
        name: &str,
        schema: Arc<dyn SchemaProvider>,
    ) -> Result<Option<Arc<dyn SchemaProvider>>, DataFusionError> {
        // One that is put back comes as it was given out.
        let schema = match schema.downcast_ref::<GuardedSchema>() {
            Some(guarded) => Arc::clone(&guarded.inner),
            None => schema,
        };
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

#[derive(Debug)]
struct GuardedSchema {
    name: String,
    inner: Arc<dyn SchemaProvider>,
    guard: Arc<Guard>,
}

#[async_trait]
impl SchemaProvider for GuardedSchema {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.inner.table_names();
        names.retain(|name| self.guard.shows(&self.name, name));
        names
    }

    fn table_exist(&self, name: &str) -> bool {
        self.inner.table_exist(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if is_system_schema(&self.name) {
            return self.inner.table(name).await;
        }
        if !self.guard.opens(&self.name) {
            return Err(external(Object::Schema(self.name.clone()).denied()));
        }
        if self.name == FUNNEL_SCHEMA {
            return self.inner.table(name).await;
        }
        if !self.inner.table_exist(name) {
            return Ok(None);
        }
        let entry = self.guard.entry(&self.name, name);
        if !entry.shows(self.guard.catalog.roles(), &self.guard.role()) {
            return Err(external(entry.kept().object.denied()));
        }
        let Some(table) = self.inner.table(name).await? else {
            return Ok(None);
        };
        // A funnel's journeys are a plan over tables that are guarded themselves.
        if self.name == JOURNEYS_SCHEMA {
            return Ok(Some(table));
        }
        Ok(Some(self.guard.guarded(&self.name, name, table, entry)))
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.name.starts_with(TEMPORARY) {
            let object = Object::relation(&self.name, &name);
            let access = self.guard.catalog.access();
            access.note_temporary(object, &self.guard.namer());
        }
        self.inner.register_table(name, unguarded(table))
    }

    fn deregister_table(
        &self,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.inner.deregister_table(name)
    }
}

/// An error of ours on its way through DataFusion.
fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
