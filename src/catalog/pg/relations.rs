//! `pg_catalog`: the relations that come with datafusion-pg-catalog, amended where clients trip over them.
//!
//! - `pg_proc` and `pg_description` list FunnelSQL's functions behind Postgres' own.
//! - Access privileges are lists, as in Postgres, and not texts: `psql`'s `+` commands join their elements.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{MemTable, SchemaProvider, Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::cast::{as_int32_array, as_string_array};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion_funnel::{FunctionInfo, FunctionKind};

use super::functions::function_oid;
use crate::engine::DEFAULT_SCHEMA;

/// The user whom everything belongs to; datafusion-pg-catalog's relations have the same.
pub const OWNER_OID: i32 = 10;
/// `pg_language`: compiled into the server.
const INTERNAL_LANGUAGE_OID: i32 = 12;
/// `pg_class`: the relation `pg_proc`, which a description of a function belongs to.
const PG_PROC_OID: i32 = 1255;
/// `pg_type`: `record`, what a table function returns rows of.
const RECORD_OID: i32 = 2249;

/// The relations of `pg_catalog`, some of them amended.
#[derive(Debug)]
pub struct PgCatalog {
    relations: Arc<dyn SchemaProvider>,
}

impl PgCatalog {
    /// Over the relations as they come.
    pub fn new(relations: Arc<dyn SchemaProvider>) -> Self {
        Self { relations }
    }
}

#[async_trait]
impl SchemaProvider for PgCatalog {
    fn table_names(&self) -> Vec<String> {
        self.relations.table_names()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.relations.table_exist(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some(relation) = self.relations.table(name).await? else {
            return Ok(None);
        };
        let namespaces = match name {
            "pg_proc" | "pg_description" => self.relations.table("pg_namespace").await?,
            _ => None,
        };
        if namespaces.is_none() && !relation.schema().fields().iter().any(is_text_of_privileges) {
            return Ok(Some(relation));
        }
        Ok(Some(Arc::new(Amended::new(relation, namespaces))))
    }
}

/// A relation with lists of privileges, and with a row for each of FunnelSQL's functions where it has any.
#[derive(Debug)]
struct Amended {
    relation: Arc<dyn TableProvider>,
    schema: SchemaRef,
    /// `pg_namespace`, where the relation is about functions: the OID of their schema is given out when it
    /// is first asked for.
    namespaces: Option<Arc<dyn TableProvider>>,
}

impl Amended {
    fn new(relation: Arc<dyn TableProvider>, namespaces: Option<Arc<dyn TableProvider>>) -> Self {
        let listed = |field: &FieldRef| match is_text_of_privileges(field) {
            true => Arc::new(field.as_ref().clone().with_data_type(privileges_type())),
            false => Arc::clone(field),
        };
        let fields: Vec<FieldRef> = relation.schema().fields().iter().map(listed).collect();
        Self {
            relation,
            schema: Arc::new(Schema::new(fields)),
            namespaces,
        }
    }

    fn amend(&self, batch: &RecordBatch) -> Result<RecordBatch, DataFusionError> {
        let column = |(values, field): (&ArrayRef, &FieldRef)| match values.data_type()
            == field.data_type()
        {
            true => Ok(Arc::clone(values)),
            false => privileges(values),
        };
        let columns: Result<Vec<_>, DataFusionError> = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(column)
            .collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns?)?)
    }
}

#[async_trait]
impl TableProvider for Amended {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        self.relation.table_type()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let batches = read(self.relation.as_ref(), state).await?;
        let mut batches = batches
            .iter()
            .map(|batch| self.amend(batch))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(namespaces) = &self.namespaces {
            let namespaces = read(namespaces.as_ref(), state).await?;
            let functions = datafusion_funnel::functions();
            batches.push(rows(&self.schema, &functions, namespace_oid(&namespaces)?)?);
        }
        let table = MemTable::try_new(self.schema(), vec![batches])?;
        table.scan(state, projection, &[], limit).await
    }
}

/// Columns of access privileges have names such as `proacl`.
fn is_text_of_privileges(field: &FieldRef) -> bool {
    field.name().ends_with("acl") && *field.data_type() == DataType::Utf8
}

fn privileges_type() -> DataType {
    DataType::new_list(DataType::Utf8, true)
}

/// Lists of what Postgres prints as `{a,b}`; a privilege has neither comma nor quote in it.
fn privileges(texts: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for text in as_string_array(texts)? {
        let elements = text.map(|text| text.trim_matches(['{', '}']));
        lists.append_option(elements.map(|elements| elements.split(',').map(Some)));
    }
    Ok(Arc::new(lists.finish()))
}

async fn read(
    table: &dyn TableProvider,
    state: &dyn Session,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let plan = table.scan(state, None, &[], None).await?;
    collect(plan, state.task_ctx()).await
}

fn namespace_oid(namespaces: &[RecordBatch]) -> Result<i32, DataFusionError> {
    for batch in namespaces {
        let (Some(oids), Some(names)) =
            (batch.column_by_name("oid"), batch.column_by_name("nspname"))
        else {
            continue;
        };
        let named = as_int32_array(oids)?
            .iter()
            .zip(as_string_array(names)?.iter());
        if let Some((Some(oid), _)) = named
            .into_iter()
            .find(|(_, name)| *name == Some(DEFAULT_SCHEMA))
        {
            return Ok(oid);
        }
    }
    Err(DataFusionError::Internal(format!(
        "schema {DEFAULT_SCHEMA} has no row in pg_namespace"
    )))
}

fn rows(
    schema: &SchemaRef,
    functions: &[FunctionInfo],
    namespace_oid: i32,
) -> Result<RecordBatch, DataFusionError> {
    let columns: Result<Vec<ArrayRef>, DataFusionError> = schema
        .fields()
        .iter()
        .map(|field| column(field, functions, namespace_oid))
        .collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns?)?)
}

/// A column of `pg_proc` or `pg_description`; what says nothing about functions is NULL, 0 or empty.
fn column(
    field: &Field,
    functions: &[FunctionInfo],
    namespace_oid: i32,
) -> Result<ArrayRef, DataFusionError> {
    let numbers = |number: fn(&FunctionInfo) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(functions.iter().map(number)))
    };
    let same =
        |number: i32| -> ArrayRef { Arc::new(Int32Array::from_value(number, functions.len())) };
    let texts = |text: fn(&FunctionInfo) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(functions.iter().map(text)))
    };
    let values = match field.name().as_str() {
        "oid" | "objoid" => numbers(|function| function_oid(&function.name)),
        "proname" | "prosrc" => texts(|function| &function.name),
        "pronamespace" => same(namespace_oid),
        "proowner" => same(OWNER_OID),
        "prolang" => same(INTERNAL_LANGUAGE_OID),
        "prokind" => texts(|function| match function.kind {
            FunctionKind::Aggregate => "a",
            FunctionKind::Window => "w",
            FunctionKind::Scalar | FunctionKind::Table => "f",
        }),
        "proretset" => {
            let is_table = |function: &FunctionInfo| Some(function.kind == FunctionKind::Table);
            Arc::new(functions.iter().map(is_table).collect::<BooleanArray>())
        }
        // A table function reads tables, so that its answer is good for one statement.
        "provolatile" => texts(|function| match function.kind {
            FunctionKind::Table => "s",
            FunctionKind::Scalar | FunctionKind::Aggregate | FunctionKind::Window => "i",
        }),
        "proparallel" => texts(|_| "s"),
        "pronargs" => numbers(|function| argument_count(&function.arguments)),
        "prorettype" => numbers(|function| match function.kind {
            FunctionKind::Table => RECORD_OID,
            FunctionKind::Scalar | FunctionKind::Aggregate | FunctionKind::Window => {
                type_oid(&function.result)
            }
        }),
        "classoid" => same(PG_PROC_OID),
        "description" => texts(|function| &function.description),
        _ if field.is_nullable() => new_null_array(field.data_type(), functions.len()),
        _ => ScalarValue::new_default(field.data_type())?.to_array_of_size(functions.len())?,
    };
    Ok(cast(&values, field.data_type())?)
}

/// The number of arguments in a list as Postgres prints it; commas in brackets are a type's or a default's.
fn argument_count(arguments: &str) -> i32 {
    let mut depth = 0;
    let mut count = i32::from(!arguments.is_empty());
    for character in arguments.chars() {
        match character {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => count += 1,
            _ => {}
        }
    }
    count
}

/// The OID of a type by the name that Postgres prints; 0, which is no type, for one that isn't known.
fn type_oid(name: &str) -> i32 {
    match name {
        "boolean" => 16,
        "bigint" => 20,
        "integer" => 23,
        "text" => 25,
        "double precision" => 701,
        "timestamp with time zone" => 1184,
        "numeric" => 1700,
        "record" => RECORD_OID,
        "record[]" => 2287,
        _ => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::arrow::array::Array;

    use super::*;

    #[test]
    fn arguments_are_counted_at_the_outermost_commas() {
        assert_eq!(argument_count(""), 0);
        assert_eq!(argument_count("funnel text"), 1);
        assert_eq!(
            argument_count("funnel text, ages bigint[] DEFAULT '{30,60}', rate numeric(18,4)"),
            3
        );
    }

    #[test]
    fn a_column_that_says_nothing_about_functions_is_empty() {
        let fields = vec![
            Field::new("proname", DataType::Utf8, false),
            Field::new("pronargs", DataType::Int16, false),
            Field::new("procost", DataType::Float32, false),
            Field::new("proacl", DataType::Utf8, true),
        ];
        let functions = datafusion_funnel::functions();
        let batch = rows(&Arc::new(Schema::new(fields)), &functions, 1).unwrap();
        assert_eq!(batch.num_rows(), functions.len());
        assert_eq!(batch.column(3).null_count(), functions.len());
    }
}
