//! `engine_query((SELECT …))`: a query in the engine's own words.
//!
//! A session's SQL means what it means in PostgreSQL: `1 / 2` is 0, `0.5` is a numeric, `to_char` has PostgreSQL's
//! patterns. The query in here means what it means in DataFusion, where `0.5` is a double precision. The queries that
//! table functions stand for are written in that SQL, and `SHOW SQL FOR` shows them in this function, so that they give
//! the same rows to the last digit when they are run by themselves.
//!
//! # Columns
//! The query's.
//!
//! Cost: the query's.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor};

use super::TableFunction;
use super::arguments::Arguments;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

/// What SQL calls it.
pub const NAME: &str = "engine_query";

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: Vec::new,
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: "query (SELECT ...)".to_owned(),
        result: "SETOF record".to_owned(),
        description: "The rows of a query in DataFusion's SQL, as SHOW SQL FOR writes it."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let SqlExpr::Subquery(query) = arguments.only_positional()? else {
        return Err(FunnelError::WrongCall {
            message: "engine_query() takes a query".to_owned(),
            hint: "Write engine_query((SELECT ...)); SHOW SQL FOR SELECT ... gives examples."
                .to_owned(),
        }
        .into());
    };
    arguments.context().plan(TableFactor::Derived {
        lateral: false,
        subquery: query,
        alias: None,
        sample: None,
    })
}
