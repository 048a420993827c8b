//! `funnel_drill(drill_key)`: the journeys behind a row of another function.
//!
//! Each row of `stage_conversion`, `cohort_cycle` and the others has a `drill_key`. It says which function made
//! the row, of which funnel and which journeys, and which cell it is; `of` names the column whose number is
//! wanted. The result has as many rows as that number says: both are written from the same
//! conditions.
//!
//! # Columns
//! - those of [`journeys`](super::journeys), without `skipped`, `reentered` and `back_moves`
//! - of a function that counts stages, `stage`, `stage_entered_at`, `stage_left_at`, `stage_outcome` and
//!   `stage_days`, as in [`journey_stages`](super::journey_stages)
//!
//! Ordered by `started_at`, then by the entity.
//!
//! # Arguments
//! the key, a text; `of` (the function's first count): the name of a count in that row, such as `lost`.
//!
//! # Errors
//! 22023 for a text that is no key of a row, or a function without that count; 42704 where the funnel is no more.
//!
//! Cost: that of the journeys.

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArgOperator, Ident, Value,
};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::arguments::Arguments;
use super::journey_stages::journey_columns;
use super::population::Population;
use super::sql::{self, lines};
use super::{FUNCTIONS, TableFunction};
use crate::definition::text::{identifier, literal};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "funnel_drill",
    arguments: || vec!["of"],
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "funnel_drill".to_owned(),
        kind: FunctionKind::Table,
        arguments: "drill_key text, of text DEFAULT NULL".to_owned(),
        result: "SETOF record".to_owned(),
        description: "The journeys behind a number of another function's row.".to_owned(),
    }
}

/// What [`drill_key`](crate::scalar::drill_key) writes.
#[derive(Debug, Deserialize)]
struct Key {
    function: String,
    funnel: String,
    /// The function's first argument, where that isn't the funnel.
    #[serde(default)]
    of: Option<String>,
    #[serde(default)]
    cell: BTreeMap<String, Option<String>>,
    #[serde(flatten)]
    arguments: BTreeMap<String, String>,
}

/// The funnel and the metric that a key is of, where a text is a key.
pub fn names_of(key: &str) -> Vec<String> {
    match serde_json::from_str::<Key>(key) {
        Ok(key) => key.of.into_iter().chain([key.funnel]).collect(),
        Err(_) => Vec::new(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let of = arguments.take_text("of")?;
    let text = arguments.only_positional()?;
    let text = match arguments.text("drill_key", &text)? {
        Some(text) => text.into_string(),
        None => return Err(no_key("NULL")),
    };
    let key: Key = serde_json::from_str(&text).map_err(|_| no_key(&format!("\"{text}\"")))?;
    let population = population(arguments, &key)?;
    arguments.look_at("of");
    let condition = condition(&population, &key, of.as_deref())?;
    let query = query(&population, &condition);
    sql::plan(arguments, &[], &query)
}

fn no_key(found: &str) -> DataFusionError {
    FunnelError::InvalidArgument {
        message: format!("{found} is not the drill_key of a row"),
        hint: "Copy the drill_key of a row of stage_conversion() or another function.".to_owned(),
    }
    .into()
}

/// The rows that the key's function counts, when it is called as it was.
fn population(arguments: &mut Arguments, key: &Key) -> Result<Population> {
    let found = FUNCTIONS
        .iter()
        .find(|function| function.name == key.function);
    let Some((function, population)) =
        found.and_then(|function| Some((function, function.population?)))
    else {
        return Err(no_key(&format!("a row of \"{}\"", key.function)));
    };
    let text = |text: &str| {
        let value = Value::SingleQuotedString(text.to_owned());
        FunctionArgExpr::Expr(SqlExpr::Value(value.into()))
    };
    let mut given = vec![FunctionArg::Unnamed(text(
        key.of.as_ref().unwrap_or(&key.funnel),
    ))];
    given.extend(
        key.arguments
            .iter()
            .map(|(name, value)| FunctionArg::Named {
                name: Ident::with_quote('"', name),
                arg: text(value),
                operator: FunctionArgOperator::RightArrow,
            }),
    );
    let mut nested = arguments.of(function.name, &(function.arguments)(), given)?;
    population(&mut nested)
}

/// The rows of the cell that the number counts.
fn condition(population: &Population, key: &Key, of: Option<&str>) -> Result<String> {
    let names: Vec<&str> = population.counts.iter().map(|(name, _)| *name).collect();
    let of = of.or(names.first().copied()).unwrap_or_default();
    let counted = population.counts.iter().find(|(name, _)| *name == of);
    let Some((_, counted)) = counted else {
        return Err(FunnelError::InvalidArgument {
            message: format!("{}() counts no \"{of}\"", key.function),
            hint: format!("Write of => one of {}.", names.join(", ")),
        }
        .into());
    };
    let mut conditions = vec![format!("({counted})")];
    for (name, column) in &population.cell {
        let Some(value) = key.cell.get(name) else {
            return Err(no_key(&format!("a row without \"{name}\"")));
        };
        conditions.push(match value {
            Some(value) => format!("CAST({column} AS text) = {}", literal(value)),
            None => format!("{column} IS NULL"),
        });
    }
    Ok(conditions.join(" AND "))
}

fn query(population: &Population, condition: &str) -> String {
    let mut columns = journey_columns(&population.funnel);
    if population.of_stages {
        let stage = [
            "stage",
            "stage_entered_at",
            "stage_left_at",
            "stage_outcome",
            "stage_days",
        ];
        columns.extend(stage.map(str::to_owned));
    }
    format!(
        "SELECT\n{}\nFROM {}\nWHERE {condition}\nORDER BY started_at, {}",
        lines(&columns),
        population.rows,
        identifier(&population.funnel.entity_name)
    )
}
