//! `funnel_source('funnel', 'followups')`: the rows of a source that the funnel's definition names beside its own.
//!
//! The second argument is the clause's word: `costs`, `followups`, `orders`, `touches`, `loss_tags`, `targets`.
//!
//! # Columns
//! those that the clause lists, under the names of their roles:
//! - `costs`: `day` date, `cost` double precision, and dimensions of the funnel
//! - `followups`: `entity`, `at` timestamptz, `owner` text, `kind` text, `depth` double precision, `effective`
//!   boolean, `tags` text
//! - `orders`: `entity`, `at`, `amount` double precision, `referred_by`
//! - `touches`: `entity`, `at`, `channel` text, `cost`
//! - `loss_tags`: `entity`, `tag` text, `stage` text
//! - `targets`: `metric` text, `value` double precision, `stage` text, `since` date
//!
//! # Arguments
//! `as_of` (an instant, now): rows with an `at` after it aren't known.
//!
//! # Errors
//! 42704 for a source that the funnel doesn't name, with the clause that would.
//!
//! Cost: a scan of the source.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::expr_fn::now;
use datafusion::logical_expr::{LogicalPlan, cast};

use super::TableFunction;
use super::arguments::{Arguments, Text};
use super::call::{Call, Given};
use super::journeys_sql;
use super::sql::{self, lines};
use crate::definition::related::{RelatedKind, RoleType};
use crate::definition::resolve::instant_type;
use crate::definition::text::identifier;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "funnel_source",
    arguments: || vec!["as_of"],
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "funnel_source".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text, source text, as_of timestamp with time zone DEFAULT now()"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description:
            "The rows of a source that a funnel's definition names: costs, followups, orders …"
                .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    // What is shown is written from the arguments, which planning takes.
    let given = Given::look(arguments);
    let as_of = match arguments.take_instant("as_of")? {
        Some(instant) => instant,
        None => cast(now(), instant_type()),
    };
    let [funnel, source] =
        arguments.positional("the funnel and the source", "'sales', 'followups'")?;
    let name = |arguments: &Arguments, what, value| match arguments.text(what, value)? {
        Some(name) => Ok(Text::into_string(name)),
        None => Err(arguments.invalid(what, "NULL", "its name")),
    };
    let source = name(arguments, "the source", &source)?;
    let kind = RelatedKind::parse(&source).ok_or_else(|| {
        let words = RelatedKind::ALL.map(|kind| kind.keyword().to_lowercase());
        let found = format!("\"{source}\"");
        arguments.invalid(
            "the source",
            &found,
            &format!("one of {}", words.join(", ")),
        )
    })?;
    let funnel_name = name(arguments, "the funnel", &funnel)?;
    let funnel = arguments.lookup().funnel(&funnel_name)?;
    let rows = match funnel.related(kind) {
        Some(Ok(rows)) => rows,
        Some(Err(error)) => return Err(DataFusionError::Shared(error)),
        None => {
            return Err(FunnelError::NotDefined {
                message: format!("funnel \"{funnel_name}\" has no {kind}"),
                hint: format!("Add a clause to its definition: {}.", kind.example()),
            }
            .into());
        }
    };
    let query = query(&given.of(Arc::clone(&funnel)), kind)?;
    arguments.record(&*sql::parse(&query)?);
    rows.plan(kind, Some(&as_of), &arguments.time_zone())
}

/// The SQL over the source that a call stands for.
fn query(call: &Call, kind: RelatedKind) -> Result<String> {
    let definition = &call.funnel.definition;
    let Some(related) = definition.related.iter().find(|it| it.kind == kind) else {
        return Err(DataFusionError::Internal(format!("{kind} are not defined")));
    };
    let dimensions = definition.dimensions.iter();
    let dimensions: Vec<&str> = dimensions.map(|it| it.name.as_str()).collect();
    let names = related.names(&dimensions)?;
    let given = || names.iter().zip(&related.columns);
    let mut columns = Vec::new();
    let mut known = String::new();
    for role in kind.roles() {
        let Some((_, column)) = given().find(|(name, _)| *name == role.name) else {
            continue;
        };
        let value = match role.value {
            RoleType::Entity | RoleType::Boolean => column.expression.clone(),
            RoleType::Instant => format!("CAST({} AS timestamptz(6))", column.expression),
            RoleType::Date => format!("CAST({} AS date)", column.expression),
            RoleType::Number => format!("CAST({} AS double precision)", column.expression),
            RoleType::Text => format!("CAST({} AS text)", column.expression),
        };
        if role.value == RoleType::Instant {
            known = format!("\nWHERE {value} <= {}", call.as_of());
        }
        columns.push(format!("{value} AS {}", identifier(role.name)));
    }
    let is_role = |name: &str| kind.roles().iter().any(|role| role.name == name);
    let others = given().filter(|(name, _)| !is_role(name));
    columns.extend(
        others.map(|(name, column)| format!("{} AS {}", column.expression, identifier(name))),
    );
    Ok(format!(
        "SELECT\n{}\nFROM {}{known}",
        lines(&columns),
        journeys_sql::source(&related.source)
    ))
}
