//! `stage_moves('funnel')`: each move into a stage as the source has it, before any rule of counting.
//!
//! One row for each row of an event log and each stage whose condition it meets, or for each date of a wide table.
//! Rows of no entity or without a time aren't moves.
//!
//! # Columns
//! - the entity, under its own name
//! - `at` timestamptz: when
//! - `stage_no` integer, `stage` text: where to; NULL for a loss and for a row that is no move
//! - `lost` boolean: it is a loss
//! - `actor` text: the owner in that row; `reason` text: the loss's
//!
//! # Arguments
//! `as_of` (an instant): moves after it aren't known; without it, moves of the future are there too. `unmatched`
//! (false): rows of an event log that meet no condition are there too.
//!
//! Cost: a scan of the source.

use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::functions_nested::expr_fn::make_array;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit, when};
use datafusion::prelude::get_field;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{Call, Given, take_funnel};
use super::journeys_sql;
use super::sql;
use crate::definition::journeys::to_instant;
use crate::definition::model::FunnelDefinition;
use crate::definition::resolve::{ResolvedFunnel, Shape, column, instant_type};
use crate::definition::text::{identifier, literal};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "stage_moves",
    arguments: || {
        [
            "as_of",
            "unmatched",
            "entity",
            "time",
            "stage",
            "stages",
            "value",
            "window",
        ]
        .to_vec()
    },
    plan,
    population: None,
    info,
};

/// The function's own columns but the entity's.
const COLUMNS: [&str; 6] = ["at", "stage_no", "stage", "lost", "actor", "reason"];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "stage_moves".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text, as_of timestamp with time zone DEFAULT NULL, \
                    unmatched boolean DEFAULT false"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description: "Each move into a stage as the source has it.".to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    // What is shown is written from the arguments, which planning takes.
    let given = Given::look(arguments);
    let as_of = arguments.take_instant("as_of")?;
    let unmatched = arguments.take_bool("unmatched")?;
    let funnel = take_funnel(arguments)?;
    let query = query(&given.of(Arc::clone(&funnel)), unmatched);
    arguments.record(&*sql::parse(&query)?);
    let moves = moves(&funnel, &arguments.time_zone())?;
    let owner = funnel.owner.clone();
    let text = |value: Option<Expr>| value.unwrap_or_else(|| lit(ScalarValue::Utf8(None)));
    let source = LogicalPlanBuilder::from(funnel.source.clone());
    let entered = column("__moves");
    let field = |name: &str| get_field(entered.clone(), name);
    let is_move = field("stage").is_not_null().or(field("lost"));
    let known = field("at").is_not_null();
    let known = match unmatched {
        true => known,
        false => known.and(is_move),
    };
    let known = match as_of {
        Some(as_of) => known.and(field("at").lt_eq(as_of)),
        None => known,
    };
    let mut columns = vec![column(&funnel.entity_name)];
    columns.extend(COLUMNS[..4].iter().map(|name| field(name).alias(*name)));
    columns.push(column("actor"));
    let lost_reason = when(field("lost"), column("__reason")).end()?;
    columns.push(lost_reason.alias("reason"));
    source
        .filter(funnel.entity.clone().is_not_null())?
        .project(vec![
            funnel.entity.clone().alias(&funnel.entity_name),
            text(owner).alias("actor"),
            text(funnel.reason.clone()).alias("__reason"),
            make_array(moves).alias("__moves"),
        ])?
        .unnest_column(Column::new_unqualified("__moves"))?
        .filter(known)?
        .project(columns)?
        .build()
}

/// The SQL over the source that a call stands for.
fn query(call: &Call, unmatched: bool) -> String {
    let definition = &call.funnel.definition;
    let entity = identifier(&call.funnel.entity_name);
    let text = |value: Option<&String>| match value {
        Some(value) => format!("CAST({value} AS text)"),
        None => "CAST(NULL AS text)".to_owned(),
    };
    let mut known = vec!["__move['at'] IS NOT NULL".to_owned()];
    if !unmatched {
        known.push("(__move['stage'] IS NOT NULL OR __move['lost'])".to_owned());
    }
    if call.has("as_of") {
        known.push(format!("__move['at'] <= {}", call.as_of()));
    }
    let columns: Vec<String> = COLUMNS[..4]
        .iter()
        .map(|name| format!("__move['{name}'] AS {name}"))
        .collect();
    format!(
        "SELECT {entity}, {columns}, actor,\n  CASE WHEN __move['lost'] THEN __reason END AS reason
FROM (
  SELECT {key} AS {entity}, {actor} AS actor, {reason} AS __reason,
         unnest(make_array(
{moves}
         )) AS __move
  FROM {source}
  WHERE {key} IS NOT NULL
) AS moves
WHERE {known}",
        columns = columns.join(", "),
        key = definition.entity,
        actor = text(definition.owner.as_ref()),
        reason = journeys_sql::reason(definition),
        moves = written_moves(definition).join(",\n"),
        source = journeys_sql::source(&definition.source),
        known = known.join(" AND "),
    )
}

/// [`moves`] as SQL.
fn written_moves(definition: &FunnelDefinition) -> Vec<String> {
    let to_move = |instant: String, stage: Option<(usize, &str)>, lost: bool| {
        let (no, name) = match stage {
            Some((no, name)) => (no.to_string(), literal(name)),
            None => ("NULL".to_owned(), "NULL".to_owned()),
        };
        format!(
            "  named_struct('at', {instant}, 'stage_no', CAST({no} AS integer), 'stage', CAST({name} AS text), 'lost', {lost})"
        )
    };
    let met = |time: &str, condition: Option<&str>| match condition {
        Some(condition) => {
            format!("CASE WHEN {condition} THEN CAST({time} AS timestamptz(6)) END")
        }
        None => format!("CAST({time} AS timestamptz(6))"),
    };
    let time = definition.time.as_deref();
    let at = |own: Option<&String>, condition: Option<&String>| {
        let time = time.or(own.map(String::as_str)).unwrap_or("NULL");
        met(time, condition.map(String::as_str))
    };
    let stages = definition.stages.iter().zip(1..);
    let mut moves: Vec<String> = stages
        .map(|(stage, no)| {
            let instant = at(stage.at.as_ref(), stage.when.as_ref());
            to_move(instant, Some((no, &stage.name)), false)
        })
        .collect();
    if let Some(lost) = &definition.lost {
        let instant = at(lost.at.as_ref(), lost.when.as_ref());
        moves.push(to_move(instant, None, true));
    }
    if let Some(time) = time {
        let stages = definition.stages.iter().map(|stage| stage.when.as_ref());
        let lost = definition.lost.iter().map(|lost| lost.when.as_ref());
        let any: Vec<String> = stages
            .chain(lost)
            .flatten()
            .map(|condition| format!("({condition})"))
            .collect();
        let unmatched = format!("({}) IS NOT TRUE", any.join(" OR "));
        moves.push(to_move(met(time, Some(&unmatched)), None, false));
    }
    moves
}

/// What a row may be a move to: a struct for each stage, for a loss, and for nothing at all.
fn moves(funnel: &ResolvedFunnel, time_zone: &str) -> Result<Vec<Expr>> {
    let schema = funnel.source.schema();
    let names = funnel.stage_names();
    let none = lit(ScalarValue::try_from(&instant_type())?);
    let stage = |at: usize, instant: Expr| {
        let no = i32::try_from(at + 1).unwrap_or(i32::MAX);
        to_move(instant, lit(no), lit(names[at].as_str()), false)
    };
    let no_stage = |instant: Expr, lost: bool| {
        let none = (ScalarValue::Int32(None), ScalarValue::Utf8(None));
        to_move(instant, lit(none.0), lit(none.1), lost)
    };
    let mut moves = Vec::new();
    match &funnel.shape {
        Shape::Events { time, stages, lost } => {
            let instant = to_instant(time, schema, time_zone)?;
            let met =
                |condition: &Expr| when(condition.clone(), instant.clone()).otherwise(none.clone());
            for (at, condition) in stages.iter().enumerate() {
                moves.push(stage(at, met(condition)?));
            }
            if let Some(lost) = lost {
                moves.push(no_stage(met(lost)?, true));
            }
            let any = stages.iter().chain(lost).cloned().reduce(Expr::or);
            let unmatched = any.unwrap_or_else(|| lit(false)).is_not_true();
            moves.push(no_stage(met(&unmatched)?, false));
        }
        Shape::Wide { stages, lost } => {
            for (at, time) in stages.iter().enumerate() {
                moves.push(stage(at, to_instant(time, schema, time_zone)?));
            }
            if let Some(lost) = lost {
                moves.push(no_stage(to_instant(lost, schema, time_zone)?, true));
            }
        }
    }
    Ok(moves)
}

fn to_move(instant: Expr, no: Expr, stage: Expr, lost: bool) -> Expr {
    named_struct(vec![
        lit(COLUMNS[0]),
        instant,
        lit(COLUMNS[1]),
        no,
        lit(COLUMNS[2]),
        stage,
        lit(COLUMNS[3]),
        lit(lost),
    ])
}
