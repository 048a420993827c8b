//! UPDATE and DELETE of tables that go with their session: the rows that stay, and those that are changed, are read by a query
//! and take the table's place. DataFusion's tables in memory get no condition that its optimizer has answered or made a join of.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{self, TableFactor};
use datafusion_funnel::definition::text::{folded, identifier};
use futures::TryStreamExt;

use super::change::unsupported;
use super::{changed_relation, parts, returning_of};
use crate::catalog::unguarded;
use crate::engine::outcome::Outcome;
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Result};
use crate::postgres::types;
use crate::sql::StatementKind;
use crate::tables::converted;

/// A change of rows of one table.
struct Change<'a> {
    /// The table, as it is written.
    factor: &'a TableFactor,
    /// What is assigned to columns; nothing where rows go.
    assignments: Option<&'a [ast::Assignment]>,
    selection: Option<&'a ast::Expr>,
}

impl Session {
    /// Changes rows of a table that goes with the session; nothing for any other statement.
    ///
    /// # Errors
    /// 0A000 for what such tables don't have, and those of the rows.
    pub(super) async fn change_temporary(
        &self,
        statement: &EngineStatement,
        values: &[ScalarValue],
    ) -> Result<Option<Outcome>> {
        let EngineStatement::Statement(statement) = statement else {
            return Ok(None);
        };
        let Some(change) = change_of(statement) else {
            return Ok(None);
        };
        let Some((name, _)) = changed_relation(statement) else {
            return Ok(None);
        };
        let Ok((schema, name, table)) = self.table_of(&parts(name)) else {
            return Ok(None);
        };
        let table = unguarded(table);
        if schema != self.identity.temporary_schema() || table.downcast_ref::<MemTable>().is_none()
        {
            return Ok(None);
        }
        let change = change.ok_or_else(|| unsupported("this change of a temporary table"))?;
        let condition = change
            .selection
            .map_or_else(|| "true".to_owned(), ToString::to_string);
        let factor = change.factor;
        let found = format!("SELECT count(*) FROM {factor} WHERE {condition}");
        let found = self.rows_with(&found, values).await;
        // The places of errors are those of another text.
        let found = found.map_err(|error| error.at(None))?;
        let found = found.first().map_or(0, |batch| {
            let counts = batch.column(0).as_primitive_opt::<Int64Type>();
            counts.map_or(0, |counts| counts.value(0))
        });
        let (rows, verb) = match change.assignments {
            None => (
                format!("SELECT * FROM {factor} WHERE ({condition}) IS NOT TRUE"),
                "DELETE",
            ),
            Some(assignments) => {
                let relation = [schema.clone(), name.clone()];
                let rows =
                    self.changed(&relation, table.as_ref(), &change, assignments, &condition)?;
                (rows, "UPDATE")
            }
        };
        let rows = self.rows_with(&rows, values).await;
        let rows = rows.map_err(|error| error.at(None))?;
        let schema_of_table = table.schema();
        let rows = rows.iter().map(|batch| {
            let columns = batch.columns().iter().zip(schema_of_table.fields());
            let columns = columns.map(|(column, field)| {
                if !field.is_nullable() && column.null_count() > 0 {
                    let message = format!(
                        "null value in column \"{}\" of relation \"{name}\" violates not-null constraint",
                        field.name()
                    );
                    return Err(ChangeFault::NotNull.error(message).into());
                }
                converted(column, field.data_type())
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::clone(&schema_of_table), columns);
            Ok(batch.map_err(DataFusionError::from)?)
        });
        let rows = rows.collect::<Result<Vec<RecordBatch>>>()?;
        let mut changed = MemTable::try_new(Arc::clone(&schema_of_table), vec![rows])?;
        if let Some(constraints) = table.constraints() {
            changed = changed.with_constraints(constraints.clone());
        }
        let tables = self.schema(&schema)?;
        tables.deregister_table(&name)?;
        tables.register_table(name, Arc::new(changed))?;
        Ok(Some(Outcome::done(format!("{verb} {found}"))))
    }

    /// Takes all rows out of a table that goes with the session; says whether it is one.
    pub(super) async fn empty_temporary(&self, name: &ast::ObjectName) -> Result<bool> {
        for statement in self.parse(&format!("DELETE FROM {name}"))? {
            if let StatementKind::Engine(delete) = &statement.kind {
                return Ok(self.change_temporary(delete, &[]).await?.is_some());
            }
        }
        Ok(false)
    }

    /// The rows of a query of our own.
    async fn rows_with(&self, sql: &str, values: &[ScalarValue]) -> Result<Vec<RecordBatch>> {
        let mut rows = Vec::new();
        for statement in self.parse(sql)? {
            if let StatementKind::Engine(query) = &statement.kind {
                let planned = self.plan(&statement, query, Some(values)).await?;
                let outcome = self
                    .run_planned(&statement, planned, values.to_vec())
                    .await?;
                if let Outcome::Rows { stream, .. } = outcome {
                    let batches = stream.try_collect::<Vec<_>>().await;
                    rows.extend(batches.map_err(|error| Error::from_engine(&error, sql))?);
                }
            }
        }
        Ok(rows)
    }

    /// The query of all rows of a table, with what is assigned to the columns of those that meet a condition.
    fn changed(
        &self,
        relation: &[String],
        table: &dyn TableProvider,
        change: &Change,
        assignments: &[ast::Assignment],
        condition: &str,
    ) -> Result<String> {
        let mut assigned = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(unsupported(
                    "an assignment to several columns of a temporary table",
                ));
            };
            let (first, has_fields) = (name.0.first(), name.0.len() > 1);
            let name = first.and_then(|part| part.as_ident());
            let name = name.map(folded).unwrap_or_default();
            self.check_column(relation, &name)?;
            if has_fields {
                return Err(unsupported("an assignment to a field of a column"));
            }
            if matches!(&assignment.value, ast::Expr::Identifier(word)
            if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"))
            {
                return Err(unsupported("DEFAULT in a temporary table"));
            }
            assigned.push((name, &assignment.value));
        }
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| {
        let name = identifier(field.name());
        match assigned.iter().find(|(assigned, _)| assigned == field.name()) {
            None => name.to_string(),
            Some((_, value)) => {
                let kind = types::sql_name(&types::type_of(field), types::modifier(field));
                format!("CASE WHEN {condition} THEN CAST({value} AS {kind}) ELSE {name} END AS {name}")
            }
        }
    });
        let columns = columns.collect::<Vec<_>>().join(", ");
        Ok(format!("SELECT {columns} FROM {}", change.factor))
    }
}

/// A change of one table by itself; an inner nothing for a change that isn't as simple, and nothing for another statement.
fn change_of(statement: &ast::Statement) -> Option<Option<Change<'_>>> {
    match statement {
        ast::Statement::Delete(delete) => {
            let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) =
                &delete.from;
            let [from] = from.as_slice() else {
                return Some(None);
            };
            let is_simple = from.joins.is_empty()
                && delete.using.is_none()
                && returning_of(statement).is_none()
                && delete.limit.is_none();
            Some(is_simple.then_some(Change {
                factor: &from.relation,
                assignments: None,
                selection: delete.selection.as_ref(),
            }))
        }
        ast::Statement::Update(update) => {
            let is_simple = update.table.joins.is_empty()
                && update.from.is_none()
                && returning_of(statement).is_none()
                && update.limit.is_none();
            Some(is_simple.then_some(Change {
                factor: &update.table.relation,
                assignments: Some(&update.assignments),
                selection: update.selection.as_ref(),
            }))
        }
        _ => None,
    }
}
