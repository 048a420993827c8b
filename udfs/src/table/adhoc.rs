//! Table functions over a query, with no stored definition:
//! `stage_conversion((SELECT …), entity => 'lead_id', time => 'ts', stage => 'event', stages => ['a', 'b'])`.
//!
//! The funnel that the arguments describe is the same model as a stored one, so the numbers are too.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor};

use super::arguments::Arguments;
use crate::definition::model::{FunnelDefinition, Interval, Source, StageDefinition};
use crate::definition::resolve::{ResolveError, ResolvedFunnel, check_clauses, resolve_over};
use crate::definition::text::{identifier, literal, written};
use crate::error::FunnelError;

/// The arguments that describe a funnel over a query.
pub const ARGUMENTS: [&str; 6] = ["entity", "time", "stage", "stages", "value", "window"];

/// The funnel over a query, where the first argument is one.
///
/// # Errors
/// 42883 for an argument that is missing, and every fault of a definition.
pub fn take(arguments: &mut Arguments, first: &SqlExpr) -> Result<Option<ResolvedFunnel>> {
    let SqlExpr::Subquery(query) = first else {
        return Ok(None);
    };
    let definition = Arc::new(definition(arguments, written(query))?);
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: query.clone(),
        alias: None,
        sample: None,
    };
    let source: LogicalPlan = arguments.context().plan(relation)?;
    let plain = |ResolveError { error, .. }: ResolveError| error;
    check_clauses(&definition).map_err(plain)?;
    let context = arguments.context();
    let mut plan_expression = |sql: &SqlExpr,
                               schema: &datafusion::common::DFSchema|
     -> Result<Expr> { context.sql_to_expr(sql.clone(), schema) };
    resolve_over(&mut plan_expression, source, &definition)
        .map(Some)
        .map_err(plain)
}

/// Refuses arguments of a query for a stored funnel, which has them already.
///
/// # Errors
/// 42883.
pub fn refuse(arguments: &mut Arguments) -> Result<()> {
    for name in ARGUMENTS {
        if arguments.take(name).is_some() {
            return Err(FunnelError::WrongCall {
                message: format!("{name} describes a funnel over a query, and this one is defined"),
                hint: "Write a query in place of the funnel's name: ((SELECT …), entity => …)."
                    .to_owned(),
            }
            .into());
        }
    }
    Ok(())
}

fn definition(arguments: &mut Arguments, query: String) -> Result<FunnelDefinition> {
    let entity = required(arguments, "entity")?;
    let time = required(arguments, "time")?;
    let stage = required(arguments, "stage")?;
    let (names, _) = arguments.take_names("stages")?;
    let column = identifier(&stage);
    let stages = names.into_iter().map(|name| StageDefinition {
        when: Some(format!("{column} = {}", literal(&name))),
        name,
        at: None,
        within: None,
    });
    let window = arguments.take_text("window")?;
    Ok(FunnelDefinition {
        name: "query".to_owned(),
        source: Source::Query(query),
        entity: identifier(&entity),
        time: Some(identifier(&time)),
        stages: stages.collect(),
        lost: None,
        value: arguments
            .take_text("value")?
            .map(|value| identifier(&value)),
        owner: None,
        dimensions: Vec::new(),
        window: window.as_deref().map(Interval::parse).transpose()?,
        counting: Default::default(),
        related: Vec::new(),
        comment: None,
    })
}

fn required(arguments: &mut Arguments, name: &str) -> Result<String> {
    arguments.take_text(name)?.ok_or_else(|| {
        FunnelError::WrongCall {
            message: format!("a funnel over a query needs {name}"),
            hint: "Write entity => 'lead_id', time => 'occurred_at', stage => 'event', \
                   stages => ['a', 'b']."
                .to_owned(),
        }
        .into()
    })
}
