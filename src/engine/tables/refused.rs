//! What can't stand in a change of rows: functions that make other rows of them, and `ctid`, which tells no rows apart.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Visit, Visitor};
use datafusion_funnel::definition::text::folded;

use super::{RowChange, changed_relation};
use crate::engine::clauses;
use crate::engine::session::Session;
use crate::error::Result;
use crate::postgres::rewrite::system_columns::{PLACE, no_place};
use crate::sql::Statement;

impl Session {
    /// Looks at what a change says, before anything is changed.
    ///
    /// # Errors
    /// 0A000, 42803, 42P20.
    pub(super) fn check_written(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
    ) -> Result<()> {
        check_places(change)?;
        let state = self.context.state();
        let aggregates = state.aggregate_functions();
        let is_aggregate = |name: &str| aggregates.contains_key(name);
        clauses::check_change(change.kind, &statement.sql, &is_aggregate)
    }
}

/// Refuses a change that names the places of the rows of its table: all of them have the same one.
///
/// # Errors
/// 0A000.
fn check_places(change: &RowChange<'_>) -> Result<()> {
    let target = &change.target;
    if target.shape.position(PLACE).is_some() {
        return Ok(());
    }
    let alias = match changed_relation(change.kind) {
        Some((_, Some(alias))) => folded(alias),
        _ => target.name().to_owned(),
    };
    let mut find = FindPlace { alias, depth: 0 };
    match change.kind.visit(&mut find) {
        ControlFlow::Break(()) => Err(no_place(target.name())),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct FindPlace {
    /// What the statement calls its table.
    alias: String,
    /// How many queries are around what is visited.
    depth: usize,
}

impl Visitor for FindPlace {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        let is_place = match expression {
            // In a query it is a column of the query's relations.
            Expr::Identifier(column) => self.depth == 0 && folded(column) == PLACE,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., table, column] => folded(column) == PLACE && folded(table) == self.alias,
                _ => false,
            },
            _ => false,
        };
        match is_place {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}
