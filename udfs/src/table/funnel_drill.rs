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
//! - `last_followup_at` timestamptz, `last_followup_kind` text, `last_followup_by` text: the last of `FOLLOWUPS`
//! - `tags` text: all of `LOSS_TAGS`, `price, timing`; NULL, as those before, where the funnel doesn't name the source
//!
//! Ordered by `started_at`, then by the entity.
//!
//! # Arguments
//! the key, a text; `of` (the function's first count): the name of a count in that row, such as `lost`. In the place of a
//! key, a funnel with `stage` and the arguments of [`journeys`](super::journeys): the row that
//! [`stage_conversion`](super::stage_conversion) has of that stage.
//!
//! # Errors
//! 22023 for a text that is no key of a row, or a function without that count; 42704 where the funnel is no more.
//!
//! Cost: that of the journeys.

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, FunctionArgExpr, Value};
use serde::Deserialize;
use std::collections::BTreeMap;

use super::arguments::{Arguments, Text};
use super::call::{self, named};
use super::journey_stages::journey_columns;
use super::population::Population;
use super::sql::{self, lines};
use super::{FUNCTIONS, TableFunction};
use crate::definition::related::RelatedKind;
use crate::definition::resolve::ResolvedFunnel;
use crate::definition::text::{identifier, literal};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "funnel_drill",
    arguments: || call::arguments(&["of"]),
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "funnel_drill".to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "drill_key text, of text DEFAULT NULL, stage text DEFAULT NULL, {}",
            call::SIGNATURE
        ),
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
    let text = match arguments.peek_positional() {
        Some(first) => arguments.text("drill_key", first)?.map(Text::into_string),
        None => None,
    };
    let (key, given) = match text {
        Some(text) if text.trim_start().starts_with('{') => {
            arguments.only_positional()?;
            let key: Key =
                serde_json::from_str(&text).map_err(|_| no_key(&format!("\"{text}\"")))?;
            let given = written_arguments(&key);
            (key, given)
        }
        Some(funnel) => of_stage(arguments, funnel)?,
        None => return Err(no_key("NULL")),
    };
    let population = population(arguments, &key, given)?;
    arguments.look_at("of");
    let condition = condition(&population, &key, of.as_deref())?;
    let as_of = match key.arguments.get("as_of") {
        Some(as_of) => format!("CAST({} AS timestamptz(6))", literal(as_of)),
        None => "CAST(now() AS timestamptz(6))".to_owned(),
    };
    let query = query(&population, &condition, &as_of);
    sql::plan(arguments, &[], &query)
}

/// The arguments that a key was made with.
fn written_arguments(key: &Key) -> Vec<FunctionArg> {
    let text = |text: &str| SqlExpr::Value(Value::SingleQuotedString(text.to_owned()).into());
    let first = text(key.of.as_ref().unwrap_or(&key.funnel));
    let mut given = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(first))];
    let arguments = key.arguments.iter();
    given.extend(arguments.map(|(name, value)| named(name, text(value))));
    given
}

/// A funnel and a stage in the place of a key: that stage's row of `stage_conversion` with the same arguments.
fn of_stage(arguments: &mut Arguments, funnel: String) -> Result<(Key, Vec<FunctionArg>)> {
    let Some(stage) = arguments.take_text("stage")? else {
        return Err(no_key(&format!("\"{funnel}\"")));
    };
    let mut given = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(
        arguments.only_positional()?,
    ))];
    let mut written = BTreeMap::new();
    for name in call::arguments(&[]) {
        let Some(value) = arguments.take(name) else {
            continue;
        };
        if name == "as_of"
            && let Some(text) = arguments.text(name, &value).ok().flatten()
        {
            written.insert(name.to_owned(), text.into_string());
        }
        given.push(named(name, value));
    }
    let key = Key {
        function: "stage_conversion".to_owned(),
        funnel,
        of: None,
        cell: BTreeMap::from([("stage".to_owned(), Some(stage))]),
        arguments: written,
    };
    Ok((key, given))
}

fn no_key(found: &str) -> DataFusionError {
    FunnelError::InvalidArgument {
        message: format!("{found} is not the drill_key of a row"),
        hint: "Copy the drill_key of a row of stage_conversion() or another function.".to_owned(),
    }
    .into()
}

/// The rows that the key's function counts, when it is called as it was.
fn population(arguments: &mut Arguments, key: &Key, given: Vec<FunctionArg>) -> Result<Population> {
    let found = FUNCTIONS
        .iter()
        .find(|function| function.name == key.function);
    let Some((function, population)) =
        found.and_then(|function| Some((function, function.population?)))
    else {
        return Err(no_key(&format!("a row of \"{}\"", key.function)));
    };
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
    let mut counted = counted.clone();
    for name in &population.parameters {
        let value = key.cell.get(*name).and_then(Option::as_ref);
        let number = value.and_then(|value| value.parse::<f64>().ok());
        let Some(number) = number.filter(|number| number.is_finite()) else {
            return Err(no_key(&format!("a row without \"{name}\"")));
        };
        let number = format!("CAST({number:?} AS double precision)");
        counted = counted.replace(&format!(":{name}"), &number);
    }
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

fn query(population: &Population, condition: &str, as_of: &str) -> String {
    let entity = identifier(&population.funnel.entity_name);
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
    let mut shown: Vec<String> = columns
        .iter()
        .map(|column| format!("cell.{column}"))
        .collect();
    let (followup_columns, followups) = last_followups(&population.funnel, &entity, as_of);
    let (tag_column, tags) = loss_tags(&population.funnel, &entity, as_of);
    shown.extend(followup_columns);
    shown.push(tag_column);
    format!(
        "SELECT\n{}\nFROM (SELECT {} FROM {} WHERE {condition}) AS cell{followups}{tags}\n\
         ORDER BY started_at, cell.{entity}",
        lines(&shown),
        columns.join(", "),
        population.rows,
    )
}

/// The last follow-up of each entity: columns, and what to join them from.
fn last_followups(funnel: &ResolvedFunnel, entity: &str, as_of: &str) -> (Vec<String>, String) {
    let Some(Ok(rows)) = funnel.related(RelatedKind::Followups) else {
        let none = [
            "CAST(NULL AS timestamptz) AS last_followup_at",
            "CAST(NULL AS text) AS last_followup_kind",
            "CAST(NULL AS text) AS last_followup_by",
        ];
        return (none.map(str::to_owned).to_vec(), String::new());
    };
    let last = |role: &str| match rows.columns.iter().any(|(name, _)| name == role) {
        true => format!("last_touch({role}, at)"),
        false => "CAST(NULL AS text)".to_owned(),
    };
    let join = format!(
        "\nLEFT JOIN (
  SELECT entity, max(at) AS last_followup_at, {} AS last_followup_kind, {} AS last_followup_by
  FROM funnel_source({}, 'followups', as_of => {as_of})
  GROUP BY entity
) AS followed ON followed.entity = cell.{entity}",
        last("kind"),
        last("owner"),
        literal(&funnel.definition.name),
    );
    let names = ["last_followup_at", "last_followup_kind", "last_followup_by"];
    (names.map(str::to_owned).to_vec(), join)
}

/// The loss tags of each entity in one text: the column, and what to join it from.
fn loss_tags(funnel: &ResolvedFunnel, entity: &str, as_of: &str) -> (String, String) {
    if !matches!(funnel.related(RelatedKind::LossTags), Some(Ok(_))) {
        return ("CAST(NULL AS text) AS tags".to_owned(), String::new());
    }
    let join = format!(
        "\nLEFT JOIN (
  SELECT entity, string_agg(DISTINCT tag, ', ' ORDER BY tag) AS tags
  FROM funnel_source({}, 'loss_tags', as_of => {as_of})
  GROUP BY entity
) AS tagged ON tagged.entity = cell.{entity}",
        literal(&funnel.definition.name)
    );
    ("tags".to_owned(), join)
}
