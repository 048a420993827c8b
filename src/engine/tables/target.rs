//! The table that a statement changes, and how values become its columns'.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{self, Expr, ObjectName};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_funnel::definition::text::folded;
use datafusion_funnel::error::{FunnelError, Kind};

use super::change::unsupported;
use super::rules::Rules;
use crate::catalog::{GuardedTable, unguarded};
use crate::engine::parameters::ParameterTypes;
use crate::engine::sequences::by_name;
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Fault, Result, character_position};
use crate::postgres::functions::with_digits;
use crate::postgres::types;
use crate::tables::{ColumnDefinition, DurableTable, Shape, Table, converted, row_text};

/// A durable table that a statement changes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The table as the session may use it.
    pub guarded: Arc<GuardedTable>,
    /// The table.
    pub table: Arc<Table>,
    /// Its columns.
    pub shape: Arc<Shape>,
    /// What holds of its rows.
    pub rules: Arc<Rules>,
}

impl Session {
    /// The durable table of that name; nothing where it is another kind of relation.
    ///
    /// # Errors
    /// 42P01 for a relation that there isn't, 42501 for one that may not be seen.
    pub(in crate::engine) fn target(&self, name: &ObjectName) -> Result<Option<Target>> {
        let (_, _, provider) = self.table_of(&parts(name))?;
        self.target_of(&provider)
    }

    /// The durable table behind a provider; nothing where it is another kind of relation.
    ///
    /// # Errors
    /// What has become wrong with an expression of the table's since it was defined.
    pub(in crate::engine) fn target_of(
        &self,
        provider: &Arc<dyn TableProvider>,
    ) -> Result<Option<Target>> {
        let Some(table) = durable_table(provider) else {
            return Ok(None);
        };
        let Some(guarded) = provider.downcast_ref::<GuardedTable>() else {
            return Ok(None);
        };
        let guarded = guarded.over(unguarded(Arc::clone(provider)));
        let shape = table.shape();
        let rules = self.rules(&shape)?;
        Ok(Some(Target {
            guarded: Arc::new(guarded),
            table,
            shape,
            rules,
        }))
    }
}

/// The durable table behind a provider.
pub fn durable_table(provider: &Arc<dyn TableProvider>) -> Option<Arc<Table>> {
    let inner = unguarded(Arc::clone(provider));
    let durable = inner.downcast_ref::<DurableTable>()?;
    Some(Arc::clone(durable.table()))
}

/// The parts of a name, as names are compared.
pub fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(folded)
        .collect()
}

impl Target {
    /// Its schema and name.
    pub fn reference(&self) -> TableReference {
        let definition = &self.shape.definition;
        TableReference::partial(definition.schema.clone(), definition.name.clone())
    }

    /// The table's name without its schema.
    pub fn name(&self) -> &str {
        &self.shape.definition.name
    }

    /// The places of columns that a statement names.
    ///
    /// # Errors
    /// 42703 for one that there isn't, 42701 for one that is named twice.
    pub fn places(&self, columns: &[ast::Ident], sql: &str) -> Result<Vec<usize>> {
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            let name = folded(column);
            let position =
                character_position(sql, column.span.start.line, column.span.start.column);
            let Some(place) = self.shape.position(&name) else {
                return Err(self.unknown_column(&name).at(position));
            };
            if places.contains(&place) {
                return Err(Error::Query {
                    fault: Fault::DuplicateColumn,
                    message: format!("column \"{name}\" specified more than once"),
                    position,
                });
            }
            places.push(place);
        }
        Ok(places)
    }

    /// The column that a statement assigns to: a name before a point isn't the table's, as columns have fields in PostgreSQL.
    ///
    /// # Errors
    /// 42703 for one that there isn't, 42804 for a field of one.
    pub fn assignee(&self, name: &ObjectName, sql: &str) -> Result<ast::Ident> {
        let mut parts = name.0.iter().filter_map(|part| part.as_ident());
        let Some(column) = parts.next() else {
            return Err(unsupported("a column without a name"));
        };
        let Some(field) = parts.next() else {
            return Ok(column.clone());
        };
        let name = folded(column);
        let Some(place) = self.shape.position(&name) else {
            let start = column.span.start;
            let position = character_position(sql, start.line, start.column);
            return Err(self.unknown_column(&name).at(position));
        };
        let kind = types::sql_name(&types::type_of(self.shape.schema.field(place)), -1);
        let message = format!(
            "cannot assign to field \"{}\" of column \"{name}\" because its type {kind} is not a composite type",
            folded(field)
        );
        Err(ChangeFault::Other("42804").error(message).into())
    }

    /// That there is no such column.
    pub fn unknown_column(&self, name: &str) -> Error {
        let columns = self.shape.definition.columns.iter();
        FunnelError::Unknown {
            kind: Kind::Column,
            name: name.to_owned(),
            place: format!(" of relation \"{}\"", self.name()),
            existing: columns.map(|column| column.name.clone()).collect(),
        }
        .into()
    }

    /// A column.
    pub fn column(&self, place: usize) -> &ColumnDefinition {
        &self.shape.definition.columns[place]
    }

    /// Rows that are about to be in the table from columns in its order, with whatever types they have.
    ///
    /// # Errors
    /// 22001, 22003 and 23502 for values that their columns can't have, 23514 for rows that a condition is false for.
    pub fn rows(&self, columns: &[ArrayRef]) -> Result<RecordBatch> {
        self.rules.rows(&self.shape, columns)
    }
}

/// Columns of a table in its order, from such of whatever types.
///
/// # Errors
/// 22001 and 22003 for values that their columns can't have.
pub fn typed(shape: &Shape, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let columns = columns.iter().zip(shape.schema.fields());
    let columns =
        columns.map(|(column, field)| fitted(&converted(column, field.data_type())?, field));
    columns.collect()
}

/// Rows of a table from its columns.
///
/// # Errors
/// 23502 for NULL where none may be.
pub fn whole(shape: &Shape, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    for (column, field) in columns.iter().zip(shape.schema.fields()) {
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(null_violation(shape, &columns, field));
        }
    }
    let rows = RecordBatch::try_new(Arc::clone(&shape.schema), columns);
    Ok(rows.map_err(DataFusionError::from)?)
}

fn null_violation(shape: &Shape, columns: &[ArrayRef], field: &Field) -> Error {
    let message = format!(
        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
        field.name(),
        shape.definition.name
    );
    let error = ChangeFault::NotNull
        .error(message)
        .of_column(&shape.definition, field.name());
    let nullable: Vec<Field> = shape
        .schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(nullable)), columns.to_vec());
    let Ok(rows) = rows else {
        return error.into();
    };
    let column = rows.column_by_name(field.name());
    let row = column.and_then(|column| (0..column.len()).find(|row| column.is_null(*row)));
    let texts = row_text(shape, &rows, row.unwrap_or(0));
    error
        .detail(format!("Failing row contains ({}).", texts.join(", ")))
        .into()
}

/// The length of a `varchar(n)` or `character(n)`.
fn length(field: &Field) -> Option<usize> {
    let kind = types::type_of(field);
    let bounded = kind == "varchar" || kind == "bpchar";
    let length = usize::try_from(types::modifier(field)).ok()?;
    (bounded && length >= 4).then(|| length - 4)
}

/// Texts that are as long as their column allows, and times with its digits of a second. As in Postgres, only spaces are cut off.
///
/// # Errors
/// 22001.
pub fn fitted(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let digits = types::modifier(field);
    if digits >= 0 && types::is_of_time(&types::type_of(field)) {
        return Ok(with_digits(column, i64::from(digits))?);
    }
    let Some(most) = length(field) else {
        return Ok(Arc::clone(column));
    };
    let Some(texts) = column.as_string_opt::<i32>() else {
        return Ok(Arc::clone(column));
    };
    let too_long = |text: &str| text.len() > most && text.chars().count() > most;
    if !texts.iter().flatten().any(too_long) {
        return Ok(Arc::clone(column));
    }
    let fit = |text: &str| -> Result<String> {
        let mut characters = text.char_indices();
        match characters.nth(most) {
            Some((at, _)) if !text[at..].trim_matches(' ').is_empty() => {
                let kind = types::sql_name(&types::type_of(field), types::modifier(field));
                let message = format!("value too long for type {kind}");
                Err(ChangeFault::TooLong.error(message).into())
            }
            Some((at, _)) => Ok(text[..at].to_owned()),
            None => Ok(text.to_owned()),
        }
    };
    let texts: Result<Vec<Option<String>>> =
        texts.iter().map(|text| text.map(fit).transpose()).collect();
    Ok(Arc::new(StringArray::from(texts?)))
}

/// An expression as a value of a column, as an assignment makes it.
pub fn assigned(value: Expr, column: &ColumnDefinition) -> Expr {
    let Some(written) = assignment_type(column) else {
        return value;
    };
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(value),
        data_type: written,
        array: false,
        format: None,
    }
}

/// The type that values are cast to. How long a text may be is looked at afterwards: a cast would cut it off.
fn assignment_type(column: &ColumnDefinition) -> Option<ast::DataType> {
    let written = match column.kind.as_str() {
        "varchar" | "bpchar" => "varchar".to_owned(),
        _ => column.sql_type()?,
    };
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(&written).ok()?;
    parser.parse_data_type().ok()
}

/// The expression of what a column is where nothing is given.
///
/// # Errors
/// 42601 for a default that can't be read.
pub fn default_of(column: &ColumnDefinition) -> Result<Expr> {
    match &column.default {
        Some(text) => {
            let mut default = expression(text)?;
            by_name(&mut default);
            Ok(default)
        }
        None => Ok(Expr::Value(ast::Value::Null.into())),
    }
}

/// A text as an expression.
///
/// # Errors
/// 42601.
pub fn expression(text: &str) -> Result<Expr> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_expr());
    parsed.map_err(|error| crate::error::syntax_error(&error, text))
}

/// A text as a query, to be filled with parts of a user's.
///
/// # Errors
/// 42601.
pub fn query(text: &str) -> Result<ast::Query> {
    let dialect = PostgreSqlDialect {};
    let parsed = Parser::new(&dialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_query());
    let parsed = parsed.map_err(|error| crate::error::syntax_error(&error, text))?;
    Ok(*parsed)
}

/// The only SELECT of a query.
///
/// # Errors
/// XX000 for a query that has none.
pub fn select(query: &mut ast::Query) -> Result<&mut ast::Select> {
    match query.body.as_mut() {
        ast::SetExpr::Select(select) => Ok(select),
        _ => Err(Error::Query {
            fault: Fault::Internal,
            message: "a query has no SELECT".to_owned(),
            position: None,
        }),
    }
}

/// An expression under a name.
pub fn named(value: Expr, name: &str) -> ast::SelectItem {
    ast::SelectItem::ExprWithAlias {
        expr: value,
        alias: ast::Ident::with_quote('"', name),
    }
}

/// A column of a relation.
pub fn column_of(relation: &str, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![
        ast::Ident::with_quote('"', relation),
        ast::Ident::with_quote('"', column),
    ])
}

/// Notes the type of a parameter that is assigned as it is: the column's.
pub fn note_parameter(value: &Expr, field: &Field, types: &mut ParameterTypes) {
    if let Expr::Value(value) = value
        && let ast::Value::Placeholder(name) = &value.value
    {
        types
            .entry(name.clone())
            .or_insert_with(|| Arc::new(field.clone()));
    }
}
