//! `SELECT … INTO t …` is `CREATE TABLE t AS SELECT …`.

use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{Select, SetExpr, Statement};

/// Writes it so.
pub fn as_create_table(statement: &mut Statement) {
    let Statement::Query(query) = statement else {
        return;
    };
    let Some(into) = first(&mut query.body).and_then(|select| select.into.take()) else {
        return;
    };
    let create = CreateTableBuilder::new(into.name)
        .temporary(into.temporary)
        .query(Some(query.clone()))
        .build();
    *statement = Statement::CreateTable(create);
}

/// The SELECT that a table may be named in.
fn first(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::SetOperation { left, .. } => first(left),
        SetExpr::Query(query) => first(&mut query.body),
        _ => None,
    }
}
