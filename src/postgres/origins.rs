//! The relation and column that a column of a result is, for those who edit rows where they see them: pgjdbc's and DBeaver's
//! grids, and drivers that ask which columns can't be NULL.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};

/// The key of a field's metadata that has the OID of its relation.
const RELATION_KEY: &str = "pg.relation";
/// The key that has the number of its column there, from 1.
const COLUMN_KEY: &str = "pg.column";

/// A result's schema with the columns of relations that are in it as they are; `oid_of` knows the relations that there are.
///
/// As in Postgres, an expression is of no relation. One that comes from a query in `FROM` is of none here either.
pub fn with_origins(
    schema: &Schema,
    plan: &LogicalPlan,
    oid_of: impl Fn(&TableReference) -> Option<i32>,
) -> SchemaRef {
    let mut known: HashMap<TableReference, Option<i32>> = HashMap::new();
    let mut oid = |relation: &TableReference| match known.get(relation) {
        Some(oid) => *oid,
        None => {
            let oid = oid_of(relation);
            known.insert(relation.clone(), oid);
            oid
        }
    };
    let fields = schema.fields().iter().enumerate().map(|(at, field)| {
        let mut field = field.as_ref().clone();
        if let Some((relation, column)) = origin(plan, at, &mut oid)
            && let Some(oid) = oid(&relation)
        {
            let metadata = field.metadata_mut();
            metadata.insert(RELATION_KEY.to_owned(), oid.to_string());
            metadata.insert(COLUMN_KEY.to_owned(), (column + 1).to_string());
        }
        field
    });
    let fields: Vec<Field> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The OID of a column's relation, and its number there.
pub fn origin_of(field: &Field) -> Option<(i32, i16)> {
    let number = |key: &str| field.metadata().get(key);
    Some((
        number(RELATION_KEY)?.parse().ok()?,
        number(COLUMN_KEY)?.parse().ok()?,
    ))
}

/// The relation of a plan's column of that number, and its place there, from 0.
fn origin(
    plan: &LogicalPlan,
    at: usize,
    oid: &mut impl FnMut(&TableReference) -> Option<i32>,
) -> Option<(TableReference, usize)> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let column = match &scan.projection {
                Some(projection) => *projection.get(at)?,
                None => at,
            };
            Some((scan.table_name.clone(), column))
        }
        LogicalPlan::Projection(projection) => of(projection.expr.get(at)?, &projection.input, oid),
        LogicalPlan::Aggregate(aggregate) => {
            of(aggregate.group_expr.get(at)?, &aggregate.input, oid)
        }
        LogicalPlan::Distinct(Distinct::On(on)) => of(on.select_expr.get(at)?, &on.input, oid),
        LogicalPlan::Window(window) => {
            let columns = window.input.schema().fields().len();
            (at < columns).then(|| origin(&window.input, at, oid))?
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            let right = join.right.schema().fields().len();
            match at.checked_sub(left) {
                None => origin(&join.left, at, oid),
                Some(at) if left + right == plan.schema().fields().len() => {
                    origin(&join.right, at, oid)
                }
                Some(_) => None,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            // Another name of a relation.
            LogicalPlan::TableScan(_) | LogicalPlan::SubqueryAlias(_) => {
                origin(&alias.input, at, oid)
            }
            // A view's query stands in the place of its name; other queries in FROM have names that are no relation's.
            _ => {
                oid(&alias.alias)?;
                Some((alias.alias.clone(), at))
            }
        },
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Repartition(_) => origin(plan.inputs().first()?, at, oid),
        _ => None,
    }
}

fn of(
    expression: &Expr,
    input: &LogicalPlan,
    oid: &mut impl FnMut(&TableReference) -> Option<i32>,
) -> Option<(TableReference, usize)> {
    match expression {
        Expr::Alias(alias) => of(&alias.expr, input, oid),
        Expr::Column(column) => origin(input, input.schema().maybe_index_of_column(column)?, oid),
        _ => None,
    }
}
