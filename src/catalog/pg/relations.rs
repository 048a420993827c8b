//! `pg_catalog` and `information_schema` as schemas: Postgres' columns, and rows about what exists here.
//!
//! What is the same in every database (types, operators, functions) comes with datafusion-pg-catalog.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::catalog::{MemTable, SchemaProvider, Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{ExecutionPlan, collect};
use tokio::sync::OnceCell;

use super::super::Catalog;
use super::dictionary::{RELATIONS, SystemRelation, find};
use super::functions::static_functions;
use super::roles;
use super::rows::{Source, connections, copies, further, of, statements};
use super::snapshot::{Snapshot, schema_oid};
use super::values::batch;
use crate::catalog::roles::Roles;
use crate::engine::{ConnectionInfo, SessionInfo};
use crate::postgres::casts::array_elements;
use crate::postgres::types;

/// One of the two schemas.
#[derive(Debug)]
pub struct SystemSchema {
    name: &'static str,
    shared: Arc<Shared>,
}

/// What both have.
#[derive(Debug)]
pub struct Shared {
    /// The relations that are the same everywhere.
    pub fixed: Arc<dyn SchemaProvider>,
    /// What is said about tables and schemas, and who may see them.
    pub catalog: Arc<Catalog>,
}

impl SystemSchema {
    /// The schema of that name.
    pub fn new(name: &'static str, shared: Arc<Shared>) -> Self {
        Self { name, shared }
    }
}

#[async_trait]
impl SchemaProvider for SystemSchema {
    fn table_names(&self) -> Vec<String> {
        RELATIONS
            .values()
            .filter(|relation| relation.schema == self.name)
            .map(|relation| relation.name.to_owned())
            .collect()
    }

    fn table_exist(&self, name: &str) -> bool {
        find(self.name, name).is_some()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        Ok(find(self.name, name).map(|relation| {
            Arc::new(SystemTable {
                relation,
                schema: relation.schema(),
                shared: Arc::clone(&self.shared),
                read: OnceCell::new(),
            }) as Arc<dyn TableProvider>
        }))
    }
}

/// A relation of a catalog; its rows are made when it is read.
#[derive(Debug)]
struct SystemTable {
    relation: &'static SystemRelation,
    schema: SchemaRef,
    shared: Arc<Shared>,
    /// Its rows once a statement has read them, so that the statement sees the same when it reads again.
    read: OnceCell<Vec<RecordBatch>>,
}

#[async_trait]
impl TableProvider for SystemTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
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
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let batches = self
            .read
            .get_or_try_init(|| self.batches(state))
            .await?
            .clone();
        let table = MemTable::try_new(self.schema(), vec![batches])?;
        table.scan(state, projection, &[], limit).await
    }
}

impl SystemTable {
    async fn batches(&self, state: &dyn Session) -> Result<Vec<RecordBatch>, DataFusionError> {
        let info = state
            .config()
            .get_extension::<SessionInfo>()
            .ok_or_else(|| {
                DataFusionError::Internal(format!("nobody reads {}", self.relation.name))
            })?;
        let annotations = self.shared.catalog.annotations();
        let snapshot = Snapshot::of(info.catalogs(), annotations);
        let settings = info.settings_rows();
        let schema_comments = snapshot
            .schemas
            .iter()
            .filter_map(|(name, _)| Some((schema_oid(name), annotations.of_schema(name)?)))
            .collect();
        let role = info.role();
        let catalog = &self.shared.catalog;
        let activity = info.activity().map(|activity| {
            let mut connections = activity.connections();
            hide_queries(&mut connections, catalog.roles(), &role);
            connections
        });
        let source = Source {
            snapshot: &snapshot,
            user: &role,
            roles: roles::all(catalog.roles(), info.user()),
            catalog,
            settings: &settings,
            activity: connections(&activity.unwrap_or_default()),
            copies: copies(info.copies(), catalog.roles(), &role),
            statements: statements(&info.statements()),
            schema_comments,
        };
        if let Some(rows) = of(self.relation.schema, self.relation.name, &source) {
            return Ok(vec![batch(self.relation, rows)?]);
        }
        let mut batches = self.fixed(state).await?;
        let rows = further(self.relation.name, &source);
        if !rows.is_empty() {
            batches.push(batch(self.relation, rows)?);
        }
        Ok(batches)
    }

    /// The rows that are the same everywhere, with the columns that Postgres has.
    async fn fixed(&self, state: &dyn Session) -> Result<Vec<RecordBatch>, DataFusionError> {
        let Some(table) = self.shared.fixed.table(self.relation.name).await? else {
            return Ok(vec![batch(self.relation, Vec::new())?]);
        };
        let plan = table.scan(state, None, &[], None).await?;
        let read = collect(plan, state.task_ctx()).await?;
        let convert = |rows: &RecordBatch| -> Result<RecordBatch, DataFusionError> {
            let empty = batch(self.relation, vec![Vec::new(); rows.num_rows()])?;
            let columns = self.schema.fields().iter().enumerate().map(|(at, field)| {
                match rows.column_by_name(field.name()) {
                    Some(column) => converted(column, field),
                    None => Ok(Arc::clone(empty.column(at))),
                }
            });
            Ok(RecordBatch::try_new(
                Arc::clone(&self.schema),
                columns.collect::<Result<_, _>>()?,
            )?)
        };
        read.iter().map(convert).collect()
    }
}

/// What a connection runs is seen by its own role and by superusers.
fn hide_queries(connections: &mut [ConnectionInfo], roles: &Roles, role: &str) {
    for connection in connections {
        if !roles.is_superuser(role) && !roles.is_member(role, &connection.user) {
            "<insufficient privilege>".clone_into(&mut connection.query);
            connection.address = None;
            connection.application.clear();
        }
    }
}

/// A column as the type that Postgres has for it: lists and OIDs may have been written as texts.
fn converted(column: &ArrayRef, field: &Field) -> Result<ArrayRef, DataFusionError> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    let is_text = matches!(
        column.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    );
    match field.data_type() {
        DataType::List(_) if is_text => {
            let texts = cast(column, &DataType::Utf8)?;
            let mut lists = ListBuilder::new(StringBuilder::new());
            for text in texts.as_string::<i32>() {
                match text {
                    None => lists.append_null(),
                    Some(text) if text.trim_start().starts_with('{') => {
                        lists.append_value(array_elements(text).unwrap_or_default())
                    }
                    // A list in square brackets, or a vector.
                    Some(text) => {
                        let words = text
                            .trim_matches(['[', ']'])
                            .split([' ', ','])
                            .filter(|word| !word.is_empty());
                        lists.append_value(words.map(|word| Some(word.to_owned())));
                    }
                }
            }
            let lists: ArrayRef = Arc::new(lists.finish());
            Ok(cast(&lists, field.data_type())?)
        }
        DataType::Int32 if is_text => {
            let texts = cast(column, &DataType::Utf8)?;
            let oids = texts
                .as_string::<i32>()
                .iter()
                .map(|text| text.map(|text| oid_of(text, &types::type_of(field))));
            Ok(Arc::new(oids.collect::<Int32Array>()))
        }
        DataType::Utf8 if matches!(column.data_type(), DataType::List(_)) => {
            let texts = crate::postgres::text::texts(
                column,
                field,
                &crate::postgres::names_of_objects::NoNames,
                crate::postgres::style::Style::default(),
            )?;
            Ok(Arc::new(texts))
        }
        // An OID above the middle is a negative Int32.
        DataType::Int32
            if *column.data_type() == DataType::Int64
                || *column.data_type() == DataType::UInt32 =>
        {
            let numbers = cast(column, &DataType::Int64)?;
            let numbers = numbers.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
            let narrow = |number: i64| {
                i32::try_from(number)
                    .ok()
                    .or_else(|| u32::try_from(number).ok().map(u32::cast_signed))
            };
            Ok(Arc::new(
                numbers
                    .iter()
                    .map(|number| number.and_then(narrow))
                    .collect::<Int32Array>(),
            ))
        }
        target => Ok(cast(column, target)?),
    }
}

fn oid_of(text: &str, kind: &str) -> i32 {
    if let Ok(oid) = text.parse::<i64>() {
        return i32::try_from(oid).unwrap_or(0);
    }
    match kind {
        "regproc" | "regprocedure" => static_functions()
            .and_then(|functions| functions.by_name.get(text).copied())
            .unwrap_or(0),
        "regtype" => types::oid(types::alias(text)).cast_signed(),
        _ => 0,
    }
}

/// Postgres' own functions, read once.
#[derive(Debug)]
pub struct StaticFunctions {
    /// OIDs by name.
    pub by_name: HashMap<String, i32>,
    /// Names by OID.
    pub by_oid: HashMap<i32, String>,
}

/// Reads them from the relation that comes with datafusion-pg-catalog.
pub async fn read_functions(
    fixed: &dyn SchemaProvider,
    state: &dyn Session,
    into: &OnceLock<StaticFunctions>,
) -> Result<(), DataFusionError> {
    if into.get().is_some() {
        return Ok(());
    }
    let Some(table) = fixed.table("pg_proc").await? else {
        return Ok(());
    };
    let plan = table.scan(state, None, &[], None).await?;
    let mut functions = StaticFunctions {
        by_name: HashMap::new(),
        by_oid: HashMap::new(),
    };
    for rows in collect(plan, state.task_ctx()).await? {
        let (Some(oids), Some(names)) =
            (rows.column_by_name("oid"), rows.column_by_name("proname"))
        else {
            continue;
        };
        let oids = cast(oids, &DataType::Int32)?;
        let names = cast(names, &DataType::Utf8)?;
        let oids = oids.as_primitive::<datafusion::arrow::datatypes::Int32Type>();
        let names: &StringArray = names.as_string::<i32>();
        for row in 0..rows.num_rows() {
            if oids.is_valid(row) && names.is_valid(row) {
                functions
                    .by_name
                    .entry(names.value(row).to_owned())
                    .or_insert(oids.value(row));
                functions
                    .by_oid
                    .insert(oids.value(row), names.value(row).to_owned());
            }
        }
    }
    // Another engine of this process has read the same.
    let _ = into.set(functions);
    Ok(())
}
