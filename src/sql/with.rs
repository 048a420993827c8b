//! Changes of rows in a statement's WITH: `WITH gone AS (DELETE … RETURNING *) INSERT INTO archive SELECT * FROM gone`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, Visit, Visitor, With};

/// The change of rows that a query is.
pub fn change_in(query: &Query) -> Option<&Statement> {
    match query.body.as_ref() {
        SetExpr::Insert(change)
        | SetExpr::Update(change)
        | SetExpr::Delete(change)
        | SetExpr::Merge(change) => Some(change),
        _ => None,
    }
}

/// Whether one of the queries that are named first changes rows.
pub fn changes_rows(with: &With) -> bool {
    with.cte_tables
        .iter()
        .any(|cte| change_in(&cte.query).is_some())
}

/// The whole statement, where its own WITH changes rows.
pub fn changing_query(statement: &Statement) -> Option<&Query> {
    match statement {
        Statement::Query(query) if query.with.as_ref().is_some_and(changes_rows) => Some(query),
        _ => None,
    }
}

/// Whether a WITH changes rows, wherever in a statement it stands.
pub fn changes_rows_anywhere(statement: &Statement) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            match query.with.as_ref().is_some_and(changes_rows) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    statement.visit(&mut Find).is_break()
}
