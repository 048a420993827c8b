//! `journeys('funnel')` as the SQL over the funnel's source that it stands for.
//!
//! The plan of [`crate::definition::journeys`] is built from the definition's expressions, and not from this text; what
//! `SHOW SQL FOR` shows is written here from the same definition.

use super::call::Call;
use super::sql::lines;
use crate::definition::model::{Counting, FunnelDefinition, Source};
use crate::definition::resolve::{ResolvedFunnel, stage_column};
use crate::definition::text::{identifier, literal};

/// The query of `journeys(…)`; `condition` is the text of `where`.
pub fn query(call: &Call, counting: Counting, condition: Option<&str>, with_steps: bool) -> String {
    let funnel = &call.funnel;
    let as_of = call.as_of();
    let inner = match funnel.definition.time {
        Some(_) => from_events(&funnel.definition, counting, &as_of),
        None => from_rows(&funnel.definition, counting, &as_of),
    };
    let mut chosen = Vec::new();
    chosen.extend(
        call.instant("since")
            .map(|since| format!("started_at >= {since}")),
    );
    chosen.extend(
        call.instant("until")
            .map(|until| format!("started_at < {until}")),
    );
    chosen.extend(condition.map(|condition| format!("({condition})")));
    let filter = match chosen.is_empty() {
        true => String::new(),
        false => format!("\nWHERE {}", chosen.join(" AND ")),
    };
    let columns = columns(funnel, &as_of, with_steps);
    let query = format!("SELECT\n{}\nFROM (\n{inner}\n) AS made", lines(&columns));
    match filter.is_empty() {
        true => query,
        false => format!("SELECT * FROM (\n{query}\n) AS journeys{filter}"),
    }
}

/// What a query reads a source from.
pub fn source(source: &Source) -> String {
    match source {
        Source::Table(table) => table.clone(),
        Source::Query(query) => format!("({query}) AS source"),
    }
}

fn window(definition: &FunnelDefinition) -> String {
    match &definition.window {
        Some(window) => format!("INTERVAL {}", literal(window.text())),
        None => "CAST(NULL AS interval)".to_owned(),
    }
}

/// Dimensions, value and owner: the name that each has inside, its value, and which of an entity's values stands for it.
fn attributes(definition: &FunnelDefinition) -> Vec<(String, String, &'static str)> {
    let dimensions = definition.dimensions.iter().enumerate();
    let mut attributes: Vec<(String, String, &'static str)> = dimensions
        .map(|(at, dimension)| {
            let value = format!("({})", dimension.expression);
            (format!("__dimension_{at}"), value, "first_touch")
        })
        .collect();
    if let Some(value) = &definition.value {
        let value = format!("CAST({value} AS double precision)");
        attributes.push(("__value".to_owned(), value, "last_touch"));
    }
    if let Some(owner) = &definition.owner {
        let owner = format!("CAST({owner} AS text)");
        attributes.push(("__owner".to_owned(), owner, "last_touch"));
    }
    attributes
}

/// The reason of a loss.
pub fn reason(definition: &FunnelDefinition) -> String {
    let reason = definition
        .lost
        .as_ref()
        .and_then(|lost| lost.reason.as_ref());
    match reason {
        Some(reason) => format!("CAST({reason} AS text)"),
        None => "CAST(NULL AS text)".to_owned(),
    }
}

fn from_events(definition: &FunnelDefinition, counting: Counting, as_of: &str) -> String {
    let time = definition.time.as_deref().unwrap_or_default();
    let bits: Vec<String> = definition
        .stages
        .iter()
        .enumerate()
        .map(|(at, stage)| {
            let condition = stage.when.as_deref().unwrap_or("true");
            format!("CASE WHEN {condition} THEN {} ELSE 0 END", 1_u64 << at)
        })
        .collect();
    let lost = definition
        .lost
        .as_ref()
        .and_then(|lost| lost.when.as_deref());
    let mut columns = vec![
        format!("{} AS __entity", definition.entity),
        format!("CAST({time} AS timestamptz(6)) AS __time"),
        format!("{} AS __stages", bits.join(" | ")),
        format!(
            "{} AS __lost",
            lost.map_or("false".to_owned(), |lost| format!("({lost})"))
        ),
        format!("{} AS __reason", reason(definition)),
    ];
    let attributes = attributes(definition);
    columns.extend(
        attributes
            .iter()
            .map(|(name, value, _)| format!("{value} AS {name}")),
    );
    let mut grouped = vec![
        "__entity".to_owned(),
        format!(
            "journey(__time, __stages, __lost, __reason, '{counting}', {}, {}) AS __journey",
            window(definition),
            definition.stages.len()
        ),
    ];
    grouped.extend(
        attributes
            .iter()
            .map(|(name, _, touch)| format!("{touch}({name}, __time) AS {name}")),
    );
    format!(
        "SELECT * FROM (\nSELECT\n{}\nFROM (\nSELECT\n{}\nFROM {}\n) AS moves\nWHERE __entity IS NOT NULL AND __time <= {as_of}\nGROUP BY __entity\n) AS grouped\nWHERE __journey IS NOT NULL",
        lines(&grouped),
        lines(&columns),
        source(&definition.source)
    )
}

fn from_rows(definition: &FunnelDefinition, counting: Counting, as_of: &str) -> String {
    let known = |at: Option<&String>, when: Option<&String>| match at {
        Some(at) => {
            let instant = format!("CAST({at} AS timestamptz(6))");
            let met = when
                .map(|when| format!("({when}) AND "))
                .unwrap_or_default();
            format!("CASE WHEN {met}{instant} <= {as_of} THEN {instant} END")
        }
        None => "CAST(NULL AS timestamptz(6))".to_owned(),
    };
    let mut times: Vec<String> = definition
        .stages
        .iter()
        .map(|stage| known(stage.at.as_ref(), stage.when.as_ref()))
        .collect();
    let starts = match counting {
        Counting::Strict => 1,
        Counting::Ordered | Counting::Any => times.len(),
    };
    let started: Vec<String> = (1..=starts)
        .map(|no| format!("__time_{no} IS NOT NULL"))
        .collect();
    let lost = definition.lost.as_ref();
    times.push(known(
        lost.and_then(|lost| lost.at.as_ref()),
        lost.and_then(|lost| lost.when.as_ref()),
    ));
    let mut columns = vec![format!("{} AS __entity", definition.entity)];
    columns.extend(
        (1..)
            .zip(&times)
            .map(|(no, time)| format!("{time} AS __time_{no}")),
    );
    columns.push(format!("{} AS __reason", reason(definition)));
    let attributes = attributes(definition);
    columns.extend(
        attributes
            .iter()
            .map(|(name, value, _)| format!("{value} AS {name}")),
    );
    let names: Vec<String> = (1..=times.len()).map(|no| format!("__time_{no}")).collect();
    format!(
        "SELECT *, journey_row('{counting}', {}, {}, __reason) AS __journey\nFROM (\nSELECT\n{}\nFROM {}\n) AS dated\nWHERE __entity IS NOT NULL AND ({})",
        window(definition),
        names.join(", "),
        lines(&columns),
        source(&definition.source),
        started.join(" OR ")
    )
}

fn columns(funnel: &ResolvedFunnel, as_of: &str, with_steps: bool) -> Vec<String> {
    let definition = &funnel.definition;
    let stages = funnel.stage_names();
    let cases: Vec<String> = (1..)
        .zip(&stages)
        .map(|(no, stage)| format!("WHEN {no} THEN {}", literal(stage)))
        .collect();
    let furthest = format!("CASE __journey['furthest'] {} END", cases.join(" "));
    let past = format!("__journey['deadline'] < {as_of}");
    let mut columns = vec![format!("__entity AS {}", identifier(&funnel.entity_name))];
    columns.extend(
        definition
            .dimensions
            .iter()
            .enumerate()
            .map(|(at, dimension)| format!("__dimension_{at} AS {}", identifier(&dimension.name))),
    );
    columns.push(match definition.owner {
        Some(_) => "__owner AS owner".to_owned(),
        None => "CAST(NULL AS text) AS owner".to_owned(),
    });
    columns.push("__journey['started_at'] AS started_at".to_owned());
    columns.extend((1..).zip(&stages).map(|(no, stage)| {
        let name = identifier(&stage_column(stage));
        format!("__journey['steps'][{no}]['entered_at'] AS {name}")
    }));
    columns.extend([
        format!("{furthest} AS furthest_stage"),
        format!("CASE WHEN __journey['outcome'] IS NOT NULL THEN __journey['outcome'] WHEN {past} THEN 'expired' ELSE 'open' END AS status"),
        format!("CASE WHEN __journey['outcome'] IS NULL AND {past} THEN __journey['deadline'] ELSE __journey['ended_at'] END AS ended_at"),
        format!("CASE WHEN __journey['outcome'] = 'lost' OR (__journey['outcome'] IS NULL AND {past}) THEN {furthest} END AS lost_stage"),
        "__journey['lost_reason'] AS lost_reason".to_owned(),
    ]);
    columns.push(match definition.value {
        Some(_) => "__value AS value".to_owned(),
        None => "CAST(NULL AS double precision) AS value".to_owned(),
    });
    columns.extend(
        ["skipped", "reentered", "back_moves"].map(|name| format!("__journey['{name}'] AS {name}")),
    );
    if with_steps {
        columns.extend([
            "__journey['steps'] AS steps".to_owned(),
            format!("__journey['deadline'] IS NULL OR {past} AS mature"),
            "__journey['deadline'] AS deadline".to_owned(),
            "__journey['furthest'] AS furthest_stage_no".to_owned(),
        ]);
    }
    columns
}
