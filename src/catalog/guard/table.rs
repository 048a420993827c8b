//! A table that looks at who reads it.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraints, DFSchemaRef, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::dml::{InsertOp, MergeIntoClause};
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::super::Catalog;
use super::super::access::{Entry, Object, Privilege, Restriction};
use super::{TEMPORARY, external, restricted};
use crate::engine::SessionInfo;
use crate::error::Error;
use crate::tables::{FILE, ROW};

/// A table with what is known of it, and the role that named it.
#[derive(Debug)]
pub struct GuardedTable {
    object: Object,
    inner: Arc<dyn TableProvider>,
    entry: Arc<Entry>,
    namer: String,
    catalog: Arc<Catalog>,
    /// What is planned doesn't know of its keys.
    keyless: bool,
}

/// The table behind a guarded one; any other is itself.
pub fn unguarded(table: Arc<dyn TableProvider>) -> Arc<dyn TableProvider> {
    match table.downcast_ref::<GuardedTable>() {
        Some(guarded) => Arc::clone(&guarded.inner),
        None => table,
    }
}

impl GuardedTable {
    pub(super) fn new(
        object: Object,
        inner: Arc<dyn TableProvider>,
        entry: Arc<Entry>,
        namer: String,
        catalog: Arc<Catalog>,
    ) -> Self {
        Self {
            object,
            inner,
            entry,
            namer,
            catalog,
            keyless: false,
        }
    }

    /// Another table in this one's place: the same may be seen of it.
    pub fn over(&self, inner: Arc<dyn TableProvider>) -> Self {
        Self {
            object: self.object.clone(),
            inner,
            entry: Arc::clone(&self.entry),
            namer: self.namer.clone(),
            catalog: Arc::clone(&self.catalog),
            keyless: self.keyless,
        }
    }

    /// The same table, which says nothing of its keys.
    pub fn without_keys(&self) -> Self {
        Self {
            keyless: true,
            ..self.over(Arc::clone(&self.inner))
        }
    }

    /// Refuses a change by whoever lacks a privilege; with columns, one on each of them is enough.
    ///
    /// # Errors
    /// 42501.
    pub fn check_change(&self, privilege: Privilege, columns: &[&str]) -> Result<(), Error> {
        let roles = self.catalog.roles();
        let granted = |column: &&str| {
            self.entry
                .allows_column(roles, &self.namer, privilege, column)
        };
        let allowed = self.allows(privilege) || !columns.is_empty() && columns.iter().all(granted);
        match allowed {
            true => Ok(()),
            false => {
                let object = &self.entry.kept().object;
                let Error::Denied { message, hint } = object.denied() else {
                    return Err(object.denied());
                };
                let hint = hint.replacen("GRANT SELECT", &format!("GRANT {}", privilege.name()), 1);
                Err(Error::Denied { message, hint })
            }
        }
    }

    /// What a role sees of it.
    pub fn restriction_of(&self, role: &str) -> Restriction {
        let roles = self.catalog.roles();
        match self.entry.belongs_to(roles, role) {
            true => Restriction::default(),
            false => self.entry.kept().restriction(roles, role),
        }
    }

    /// Whether whoever named it sees everything of its rows.
    pub fn shows_rows_to(&self, role: &str) -> bool {
        self.reads_all() && self.restriction_of(role).is_none()
    }

    /// Whether it goes with its session.
    pub fn is_temporary(&self) -> bool {
        matches!(&self.object, Object::Relation { schema, .. } if schema.starts_with(TEMPORARY))
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
            && Arc::ptr_eq(&self.entry, &other.entry)
            && self.namer == other.namer
    }

    fn denied(&self) -> DataFusionError {
        external(self.entry.kept().object.denied())
    }

    fn allows(&self, privilege: Privilege) -> bool {
        let roles = self.catalog.roles();
        self.entry.allows(roles, &self.namer, privilege)
    }

    /// Whether the one who named it may read all of it.
    fn reads_all(&self) -> bool {
        self.allows(Privilege::Select)
    }

    /// Refuses columns that the one who named the table may not read.
    fn check_columns(
        &self,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<(), DataFusionError> {
        if self.reads_all() {
            return Ok(());
        }
        let schema = self.inner.schema();
        let roles = self.catalog.roles();
        let mut columns: Vec<String> = match projection {
            Some(positions) => positions
                .iter()
                .filter_map(|at| Some(schema.fields().get(*at)?.name().clone()))
                .collect(),
            None => schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
        };
        columns.extend(restricted::columns_of(filters));
        // Whoever may change rows has to find them; these are nobody's columns.
        let changes = [Privilege::Update, Privilege::Delete];
        let changes = changes
            .iter()
            .any(|privilege| self.entry.allows_part(roles, &self.namer, *privilege));
        if changes {
            columns.retain(|column| ![FILE, ROW].contains(&column.as_str()));
        }
        let granted = |column: &String| {
            self.entry
                .allows_column(roles, &self.namer, Privilege::Select, column)
        };
        // A query that needs no column still counts rows.
        let any = self
            .entry
            .allows_part(roles, &self.namer, Privilege::Select)
            || changes && columns.is_empty();
        match any && columns.iter().all(granted) {
            true => Ok(()),
            false => Err(self.denied()),
        }
    }

    /// What the session that reads sees.
    fn restriction(&self, state: &dyn Session) -> Result<Restriction, DataFusionError> {
        let info = state
            .config()
            .get_extension::<SessionInfo>()
            .ok_or_else(|| DataFusionError::Internal(format!("nobody reads {}", self.object)))?;
        Ok(self.restriction_of(&info.role()))
    }

    /// Refuses a change by anybody but those who may do everything with it.
    fn check_owner(&self) -> Result<(), DataFusionError> {
        match self.entry.belongs_to(self.catalog.roles(), &self.namer) {
            true => Ok(()),
            false => Err(self.denied()),
        }
    }
}

#[async_trait]
impl TableProvider for GuardedTable {
    fn schema(&self) -> SchemaRef {
        let schema = self.inner.schema();
        let kept = self.entry.kept();
        if kept.masks.is_empty() {
            return schema;
        }
        // A mask may be NULL where the column never is.
        let fields = schema.fields().iter().map(|field| {
            match kept.masks.values().any(|mask| mask.column == *field.name()) {
                true => Arc::new(Field::clone(field).with_nullable(true)),
                false => Arc::clone(field),
            }
        });
        Arc::new(Schema::new_with_metadata(
            fields.collect::<Vec<_>>(),
            schema.metadata().clone(),
        ))
    }

    fn constraints(&self) -> Option<&Constraints> {
        match self.keyless {
            true => None,
            false => self.inner.constraints(),
        }
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    /// What a view reads may be hidden from who may read the view.
    fn get_table_definition(&self) -> Option<&str> {
        match self.entry.belongs_to(self.catalog.roles(), &self.namer) {
            true => self.inner.get_table_definition(),
            false => None,
        }
    }

    /// A view is put in the place of its name, unless only some of its columns may be read: then it is read as a
    /// table is.
    fn get_logical_plan(&'_ self) -> Option<Cow<'_, LogicalPlan>> {
        match self.reads_all() {
            true => self.inner.get_logical_plan(),
            false => None,
        }
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.inner.get_column_default(column)
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.check_columns(projection, filters)?;
        let restriction = self.restriction(state)?;
        if restriction.is_none() {
            return self.inner.scan(state, projection, filters, limit).await;
        }
        let table = restricted::Table {
            name: self.object.clone(),
            provider: Arc::clone(&self.inner),
            schema: self.schema(),
        };
        restricted::scan(&table, &restriction, state, projection, filters).await
    }

    /// Whatever of this the table itself would do, [`Self::scan`] does above the policies where there are any.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        self.inner.supports_filters_pushdown(filters)
    }

    /// Nobody is told how many rows there are, or between which values, who may not see them all.
    fn statistics(&self) -> Option<Statistics> {
        let kept = self.entry.kept();
        match kept.row_security || !kept.masks.is_empty() || !self.reads_all() {
            true => None,
            false => self.inner.statistics(),
        }
    }

    async fn insert_into(
        &self,
        state: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        insert_op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        if !self.allows(Privilege::Insert) || insert_op != InsertOp::Append {
            self.check_owner()?;
        }
        if !self.restriction(state)?.is_none() {
            let name = self.object.name();
            return Err(external(Error::Denied {
                message: format!("new row violates row-level security policy for table \"{name}\""),
                hint: "Policies and masks are for reading: a superuser adds rows to such a table."
                    .to_owned(),
            }));
        }
        self.inner.insert_into(state, input, insert_op).await
    }

    async fn delete_from(
        &self,
        state: &dyn Session,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.check_owner()?;
        self.inner.delete_from(state, filters).await
    }

    async fn update(
        &self,
        state: &dyn Session,
        assignments: Vec<(String, Expr)>,
        filters: Vec<Expr>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.check_owner()?;
        self.inner.update(state, assignments, filters).await
    }

    async fn truncate(
        &self,
        state: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.check_owner()?;
        self.inner.truncate(state).await
    }

    async fn merge_into(
        &self,
        state: &dyn Session,
        source: Arc<dyn ExecutionPlan>,
        merge_schema: DFSchemaRef,
        on: Expr,
        clauses: Vec<MergeIntoClause>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        self.check_owner()?;
        let inner = &self.inner;
        inner
            .merge_into(state, source, merge_schema, on, clauses)
            .await
    }
}
