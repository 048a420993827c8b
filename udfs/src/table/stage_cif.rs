//! `stage_cif('funnel')`: which share of the journeys has passed a stage, and which was lost at it, after so many days.
//!
//! The Aalen–Johansen estimate of the cumulative incidence (Aalen and Johansen 1978) for each stage but the last. Passing and loss compete: who is lost
//! can't pass any more. A journey that is still in the stage, or whose window ended there, is censored. At each time
//! `open_survival + cif_passed + cif_lost = 1`.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `stage_no` integer, `stage` text; NULL with `cycle` and over a query
//! - `t` double precision: days in the stage; `at_risk` bigint: journeys that were in it for at least so long
//! - `passed`, `lost`, `open` bigint: of these, those that passed, were lost, or weren't watched any longer then
//! - `open_survival`: the share that is still in it
//! - `cif_passed`, `cif_lost`: the shares that have passed and were lost, with `cif_passed_lo`, `cif_passed_hi`, `cif_lost_lo`,
//!   `cif_lost_hi`, their 95 % intervals
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`stage_survival`](super::stage_survival) but `event`.
//!
//! Cost: as there.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call;
use super::durations::{self, Durations};
use super::sql::{self, lines};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || durations::arguments(&[]),
    plan,
    population: Some(|arguments| {
        let at = |outcomes: &str| format!("__t = :t AND __outcome IN ({outcomes})");
        Durations::take(arguments)?.population(
            vec![
                ("at_risk", "__t >= :t".to_owned()),
                ("passed", at("'passed', 'won'")),
                ("lost", at("'lost'")),
                ("open", at("'open', 'expired'")),
            ],
            vec!["t"],
        )
    }),
    info,
};

const NAME: &str = "stage_cif";

/// The function's own columns.
const COLUMNS: [&str; 16] = [
    "segment",
    "stage_no",
    "stage",
    "t",
    "at_risk",
    "passed",
    "lost",
    "open",
    "open_survival",
    "cif_passed",
    "cif_passed_lo",
    "cif_passed_hi",
    "cif_lost",
    "cif_lost_lo",
    "cif_lost_hi",
    "drill_key",
];

/// The fields of a point of `incidence_curve`, and what they are called here.
const POINTS: [(&str, &str); 12] = [
    ("t", "t"),
    ("at_risk", "at_risk"),
    ("won", "passed"),
    ("lost", "lost"),
    ("open", "open"),
    ("open_survival", "open_survival"),
    ("cif_won", "cif_passed"),
    ("cif_won_lo", "cif_passed_lo"),
    ("cif_won_hi", "cif_passed_hi"),
    ("cif_lost", "cif_lost"),
    ("cif_lost_lo", "cif_lost_lo"),
    ("cif_lost_hi", "cif_lost_hi"),
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!("funnel text, {}, {}", durations::SIGNATURE, call::SIGNATURE),
        result: "SETOF record".to_owned(),
        description: "Which share has passed a stage, and which was lost at it, after so many days (Aalen-Johansen)."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let durations = Durations::take(arguments)?;
    let mut columns = durations.shown(&COLUMNS);
    columns.extend(POINTS.map(|(_, name)| name.to_owned()));
    columns.push(format!(
        "{} AS drill_key",
        durations.drill_key(NAME, &[], &["t"])
    ));
    let mut inner = durations.grouped();
    inner.extend(POINTS.map(|(field, name)| format!("point['{field}'] AS {name}")));
    let mut groups = durations.grouped();
    groups.push("unnest(incidence_curve(life_table)) AS point".to_owned());
    let mut order = durations.grouped();
    order.retain(|name| name != "stage");
    order.push("t".to_owned());
    let query = format!(
        "SELECT\n{}\nFROM (\nSELECT\n{}\nFROM (SELECT {} FROM {}) AS curves\n) AS points\nORDER BY {}",
        lines(&columns),
        lines(&inner),
        groups.join(", "),
        durations.life_tables(&[]),
        order.join(", ")
    );
    sql::plan(arguments, durations.written(), &query)
}
