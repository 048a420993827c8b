//! Table functions as the SQL that they stand for.
//!
//! A function writes a query over `journeys(…)` or `journey_stages(…)`, and that query is what is planned and
//! what `SHOW SQL FOR` shows: what a user reads is what runs.

use std::ops::ControlFlow;

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{FunctionArg, Query, TableFactor, VisitMut, VisitorMut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::arguments::Arguments;

/// Plans the query that a call stands for.
///
/// `written` are the arguments of `journeys(…)` and `journey_stages(…)` in it, as the user wrote them.
///
/// # Errors
/// Those of the call's arguments, at their places in the user's statement.
pub fn plan(arguments: &mut Arguments, written: &[FunctionArg], sql: &str) -> Result<LogicalPlan> {
    let mut query = parse(sql)?;
    arguments.record(&query);
    let _ = query.visit(&mut WrittenArguments { written });
    arguments.context().plan(TableFactor::Derived {
        lateral: false,
        subquery: query,
        alias: None,
        sample: None,
    })
}

/// Reads the query that a function has written.
///
/// # Errors
/// XX000 where it is none.
pub fn parse(sql: &str) -> Result<Box<Query>> {
    let unread = |error: ParserError| {
        DataFusionError::Internal(format!(
            "the SQL of a table function can't be read: {error}: {sql}"
        ))
    };
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .try_with_sql(sql)
        .map_err(unread)?;
    parser.parse_query().map_err(unread)
}

/// Puts the user's own arguments in place of their texts, so that a fault in one is found where it was written.
struct WrittenArguments<'a> {
    written: &'a [FunctionArg],
}

impl VisitorMut for WrittenArguments<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            args: Some(arguments),
            ..
        } = factor
            && ["journeys", "journey_stages"].contains(&name.to_string().as_str())
        {
            for (argument, written) in arguments.args.iter_mut().zip(self.written) {
                *argument = written.clone();
            }
        }
        ControlFlow::Continue(())
    }
}

/// Columns of a query, each in its line.
pub fn lines(columns: &[String]) -> String {
    format!("  {}", columns.join(",\n  "))
}
