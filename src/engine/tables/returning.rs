//! `RETURNING`: a query over the rows that a change made or took, and over those of the other tables that it read with them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{self, SelectItem, SelectItemQualifiedWildcardKind, Visit};
use datafusion_funnel::definition::text::folded;

use super::change::shorten;
use super::local::Local;
use super::rules::FindQuery;
use super::target::{column_of, query, select};
use super::{RowChange, changed_relation};
use crate::engine::session::Session;
use crate::error::Result;
use crate::sql::Statement;
use crate::tables::ROW;

/// A change's query gives values behind a row's file, its place and its deed.
const VALUES: usize = 3;

/// The other tables of a change, whose columns it may return.
#[derive(Debug, Clone)]
pub(super) struct Others {
    /// Their columns, one table's behind the other's.
    pub schema: SchemaRef,
    /// What the statement calls each of them, and how many columns it has.
    tables: Vec<(String, usize)>,
}

/// Rows that were changed.
#[derive(Debug, Default)]
pub(super) struct Returned {
    /// The rows.
    pub rows: Vec<RecordBatch>,
    /// What the other tables have beside each of them.
    pub beside: Vec<RecordBatch>,
}

impl Session {
    /// The other tables whose columns a change may return; nothing where there are none.
    pub(super) async fn others(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        values: Option<&[ScalarValue]>,
    ) -> Result<Option<Others>> {
        let reads_others = match change.kind {
            ast::Statement::Update(update) => update.returning.is_some() && update.from.is_some(),
            ast::Statement::Delete(delete) => delete.returning.is_some() && delete.using.is_some(),
            _ => false,
        };
        if !reads_others {
            return Ok(None);
        }
        let base = self.engine.tables().current(&change.target.table);
        let (built, local, _) = self.change_query(statement, change, &base)?;
        let first = VALUES + built.columns.len();
        let plan = self
            .plan_of_query(statement, built.query, &local, values)
            .await?;
        let all = self.relation_schema(&plan);
        let fields: Vec<_> = all.fields().iter().skip(first).map(Arc::clone).collect();
        if fields.is_empty() {
            return Ok(None);
        }
        let mut tables: Vec<(String, usize)> = Vec::new();
        for at in first..first + fields.len() {
            let (qualifier, _) = plan.schema().qualified_field(at);
            let name = qualifier.map_or("", |qualifier| qualifier.table());
            match tables.last_mut() {
                Some((last, count)) if last == name => *count += 1,
                _ => tables.push((name.to_owned(), 1)),
            }
        }
        let schema = Arc::new(Schema::new(fields));
        Ok(Some(Others { schema, tables }))
    }

    /// A query over rows that were changed.
    pub(super) fn returning(
        &self,
        change: &RowChange<'_>,
        items: &[SelectItem],
        others: Option<&Others>,
        returned: Returned,
    ) -> Result<(ast::Query, Local)> {
        let target = &change.target;
        let alias = match changed_relation(change.kind) {
            Some((_, Some(alias))) => folded(alias),
            _ => target.name().to_owned(),
        };
        let quoted = alias.replace('"', "\"\"");
        let mut local = change.local.clone();
        let mut items = items.to_vec();
        shorten(&mut items, target, &alias);
        let schema = &target.shape.schema;
        let mut built = match others {
            None => {
                let rows = MemTable::try_new(Arc::clone(schema), vec![returned.rows])?;
                let rows = target.guarded.over(Arc::new(rows));
                let relation = local.add("returned", Arc::new(rows))?;
                query(&format!("SELECT 1 FROM {relation} AS \"{quoted}\""))?
            }
            Some(others) => {
                // Rows that belong together have the same number.
                let rows = target.guarded.over(numbered(schema, &returned.rows)?);
                let relation = local.add("returned", Arc::new(rows))?;
                let mut text = format!("SELECT 1 FROM {relation} AS \"{quoted}\"");
                let mut first = 0;
                for (at, (name, count)) in others.tables.iter().enumerate() {
                    let columns: Vec<usize> = (first..first + count).collect();
                    first += count;
                    let own = others
                        .schema
                        .project(&columns)
                        .map_err(DataFusionError::from)?;
                    let rows = returned.beside.iter().map(|batch| batch.project(&columns));
                    let rows = rows.collect::<std::result::Result<Vec<_>, _>>();
                    let rows = numbered(&Arc::new(own), &rows.map_err(DataFusionError::from)?)?;
                    let relation = local.add(&format!("beside {at}"), rows)?;
                    let name = name.replace('"', "\"\"");
                    text.push_str(&format!(
                        " JOIN {relation} AS \"{name}\" ON \"{quoted}\".\"{ROW}\" = \"{name}\".\"{ROW}\""
                    ));
                }
                text.push_str(&format!(" ORDER BY \"{quoted}\".\"{ROW}\""));
                let own = schema.fields().iter().map(|field| field.name().clone());
                let mut tables = vec![(alias, own.collect::<Vec<_>>())];
                let mut names = others.schema.fields().iter().map(|field| field.name());
                for (name, count) in &others.tables {
                    let columns = names.by_ref().take(*count).cloned().collect();
                    tables.push((name.clone(), columns));
                }
                items = items
                    .into_iter()
                    .flat_map(|item| written_out(item, &tables))
                    .collect();
                query(&text)?
            }
        };
        if let Some(with) = change.with
            && items.visit(&mut FindQuery).is_break()
        {
            built.with = Some(with.clone());
        }
        select(&mut built)?.projection = items;
        Ok((built, local))
    }
}

/// `*` and `t.*` as the columns that they are, for what numbers the rows is none of them.
fn written_out(item: SelectItem, tables: &[(String, Vec<String>)]) -> Vec<SelectItem> {
    let of = |(table, columns): &(String, Vec<String>)| -> Vec<SelectItem> {
        let columns = columns.iter();
        let columns = columns.map(|column| SelectItem::UnnamedExpr(column_of(table, column)));
        columns.collect()
    };
    match &item {
        SelectItem::Wildcard(_) => tables.iter().flat_map(of).collect(),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            let name = name.0.last().and_then(|part| part.as_ident()).map(folded);
            let table = tables
                .iter()
                .find(|(table, _)| Some(table) == name.as_ref());
            table.map_or_else(|| vec![item.clone()], of)
        }
        _ => vec![item],
    }
}

/// Rows with their numbers.
fn numbered(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Arc<dyn TableProvider>> {
    let rows = concat_batches(schema, rows).map_err(DataFusionError::from)?;
    let count = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let mut fields: Vec<_> = schema.fields().iter().map(Arc::clone).collect();
    fields.push(Arc::new(Field::new(ROW, DataType::Int64, false)));
    let schema = Arc::new(Schema::new(fields));
    let columns = rows.columns().iter().map(Arc::clone).chain([numbers]);
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect());
    let rows = rows.map_err(DataFusionError::from)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?))
}
