//! What can't stand in a change of rows: functions that make other rows of them, `ctid`, which tells no rows apart, and values that
//! their columns don't take.

use std::ops::ControlFlow;

use datafusion::arrow::array::StringArray;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::{self, ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast::{self, Expr, Query, Visit, Visitor};
use datafusion_funnel::definition::text::{folded, folded_name};

use super::insert::{check_assigned, own_family};
use super::literals::read_texts;
use super::{RowChange, Target, changed_relation};
use crate::engine::clauses;
use crate::engine::session::Session;
use crate::error::Result;
use crate::postgres::rewrite::system_columns::{PLACE, no_place};
use crate::postgres::types;
use crate::sql::Statement;

/// A change's query gives values behind a row's file, its place and its deed.
const VALUES: usize = 3;

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
        self.check_texts(change)?;
        let state = self.context.state();
        let aggregates = state.aggregate_functions();
        let is_aggregate = |name: &str| aggregates.contains_key(name);
        clauses::check_change(change.kind, &statement.sql, &is_aggregate)
    }

    /// Reads the texts that an UPDATE sets columns to: one that is no value of its column is an error, whichever rows there are.
    ///
    /// # Errors
    /// 22P02, 22007 and their kin.
    fn check_texts(&self, change: &RowChange<'_>) -> Result<()> {
        let ast::Statement::Update(update) = change.kind else {
            return Ok(());
        };
        let shape = &change.target.shape;
        for assignment in &update.assignments {
            let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
                continue;
            };
            let Expr::Value(value) = &assignment.value else {
                continue;
            };
            let ast::Value::SingleQuotedString(text) = &value.value else {
                continue;
            };
            let Some(place) = shape.position(&folded_name(name)) else {
                continue;
            };
            let field = shape.schema.field(place);
            // Any text is a text, how long it may be is looked at with the rows, and what names an object is known to casts only.
            if own_family(&types::type_of(field)).is_none() {
                continue;
            }
            let texts = StringArray::from(vec![text.as_str()]);
            read_texts(&texts, field, &self.locale())?;
        }
        Ok(())
    }
}

/// Refuses what an UPDATE sets columns to that don't take it. The values come behind a row's file, its place and its deed, each as a
/// cast to its column's type.
///
/// # Errors
/// 42804.
pub(super) fn check_set_values(
    target: &Target,
    columns: &[usize],
    plan: &LogicalPlan,
) -> Result<()> {
    let mut plan = plan;
    while let LogicalPlan::Sort(sort) = plan {
        plan = &sort.input;
    }
    let LogicalPlan::Projection(projection) = plan else {
        return Ok(());
    };
    for (value, at) in projection.expr.iter().skip(VALUES).zip(columns) {
        let Some(given) = before_cast(value) else {
            continue;
        };
        if let Ok(kind) = given.get_type(projection.input.schema())
            && (is_settled(given) || kind == DataType::Boolean)
        {
            let given = Field::new("value", kind, true);
            check_assigned(&given, target.shape.schema.field(*at))?;
        }
    }
    Ok(())
}

/// Whether an expression's type is known before operators and functions are settled: `d + 1` may be a day.
fn is_settled(value: &logical_expr::Expr) -> bool {
    use logical_expr::Expr as E;
    match value {
        E::Column(_) | E::Literal(..) | E::Cast(_) => true,
        E::ScalarFunction(call) => call.name().starts_with("cast_as_"),
        _ => false,
    }
}

/// What is cast; nothing where it isn't.
fn before_cast(value: &logical_expr::Expr) -> Option<&logical_expr::Expr> {
    use logical_expr::Expr as E;
    match value {
        E::Alias(alias) => before_cast(&alias.expr),
        E::ScalarFunction(call) if call.name().starts_with("cast_as_") => call.args.first(),
        E::Cast(cast) => Some(&cast.expr),
        _ => None,
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
