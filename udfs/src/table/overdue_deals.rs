//! `overdue_deals('funnel')`: open deals that have been in their stage longer than most.
//!
//! The limit of a stage and segment is the `q` quantile of the days until the stage is left, by Kaplan–Meier, so that the deals that are still in it
//! count as well. A segment in which fewer than that share have left has no limit, and nobody in it is overdue.
//!
//! # Columns
//! - the entity, under its own name; each column of `by` and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `owner` text
//! - `stage_no` integer, `stage` text, `stage_entered_at` timestamptz: where it is, since when
//! - `days` double precision: how long; `limit_days`: the quantile; `overdue_days` = `days` − `limit_days`
//! - `p_still_win` double precision: the chance that a deal of the segment which is still open at this deal's age (since its start)
//!   wins by the longest time that was watched: `(CIF(∞) − CIF(age)) / S(age)` of the Aalen–Johansen estimate; NULL where nobody
//!   was watched so long
//! - `value` double precision; `last_followup_at` timestamptz: NULL where the funnel has no `FOLLOWUPS`
//!
//! Ordered by `overdue_days`, the longest first, then by the entity.
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion); `q` (0.9), from 0 to 1; `stage`: one stage.
//!
//! Cost: three passes over the journeys.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::durations::{self, Durations};
use super::sql::{self, lines};
use crate::definition::related::RelatedKind;
use crate::definition::text::{identifier, literal};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "overdue_deals",
    arguments: || durations::arguments(&["q"]),
    plan,
    population: None,
    info,
};

const DEFAULT_QUANTILE: f64 = 0.9;

/// The function's own columns.
const COLUMNS: [&str; 11] = [
    "segment",
    "owner",
    "stage_no",
    "stage",
    "stage_entered_at",
    "days",
    "limit_days",
    "overdue_days",
    "p_still_win",
    "value",
    "last_followup_at",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "overdue_deals".to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, q double precision DEFAULT 0.9, by text DEFAULT NULL, stage text DEFAULT NULL, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Open deals that have been in their stage longer than most.".to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let q = arguments.take_positive("q")?.unwrap_or(DEFAULT_QUANTILE);
    if q >= 1.0 {
        return Err(arguments.invalid("q", &q.to_string(), "a share between 0 and 1, such as 0.9"));
    }
    arguments.take("cycle");
    let durations = Durations::take(arguments)?;
    let Some(call) = &durations.call else {
        return Err(FunnelError::WrongCall {
            message: "overdue_deals() is of a funnel".to_owned(),
            hint: "Write overdue_deals('sales').".to_owned(),
        }
        .into());
    };
    let query = query(&durations, call, q);
    sql::plan(arguments, durations.written(), &query)
}

fn query(durations: &Durations, call: &Call, q: f64) -> String {
    let entity = identifier(&call.funnel.entity_name);
    let segments = &durations.segments;
    let same = |left: &str, right: &str| {
        let pairs = segments
            .grouped()
            .into_iter()
            .map(|name| format!(" AND {left}.{name} IS NOT DISTINCT FROM {right}.{name}"));
        pairs.collect::<String>()
    };
    let as_of = call.as_of();
    let mut open = vec![entity.clone()];
    open.extend(segments.projected());
    open.extend(
        [
            "owner AS __owner",
            "stage_no",
            "stage",
            "stage_entered_at",
            "__t",
            "value",
        ]
        .map(str::to_owned),
    );
    open.push(format!(
        "greatest((CAST({as_of} AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0) AS age"
    ));
    let mut cycles = segments.projected();
    cycles.push(format!(
        "life_table(greatest((CAST(coalesce(ended_at, {as_of}) AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0), status) AS life_table"
    ));
    let group = match segments.names.is_empty() {
        true => String::new(),
        false => format!(" GROUP BY {}", segments.columns().join(", ")),
    };
    let mut columns = vec![format!("deals.{entity} AS {entity}")];
    columns.extend(
        segments
            .shown(&COLUMNS)
            .iter()
            .map(|column| format!("deals.{column}")),
    );
    let (followup, join) = match call.funnel.related(RelatedKind::Followups) {
        Some(Ok(_)) => (
            "last_followup_at",
            format!(
                "\nLEFT JOIN (SELECT entity, max(at) AS last_followup_at FROM funnel_source({}, 'followups', as_of => {as_of}) GROUP BY entity) AS followed ON followed.entity = deals.{entity}",
                literal(&call.funnel.definition.name)
            ),
        ),
        _ => (
            "CAST(NULL AS timestamptz) AS last_followup_at",
            String::new(),
        ),
    };
    let text = segments
        .grouped()
        .iter()
        .map(|name| format!("coalesce(CAST(deals.{name} AS text), '(null)')"))
        .collect::<Vec<_>>()
        .join(" || ' · ' || ");
    let text = if text.is_empty() { "'all'" } else { &text };
    columns.extend([
        format!("{text} AS segment"),
        "__owner AS owner".to_owned(),
        "deals.stage_no AS stage_no, deals.stage AS stage, stage_entered_at, __t AS days, limit_days".to_owned(),
        "__t - limit_days AS overdue_days".to_owned(),
        "win_probability(cycles.life_table, age) AS p_still_win".to_owned(),
        "value".to_owned(),
        followup.to_owned(),
    ]);
    let limits = {
        let mut grouped = durations.grouped();
        grouped.push(format!("survival_quantile(life_table, {q}) AS limit_days"));
        format!(
            "SELECT {} FROM {}",
            grouped.join(", "),
            durations.life_tables(&[])
        )
    };
    format!(
        "SELECT\n{}\nFROM (\n  SELECT {} FROM {} WHERE __outcome = 'open'\n) AS deals\nJOIN (\n{limits}\n) AS limits ON limits.stage_no = deals.stage_no{}\nJOIN (\n  SELECT {} FROM {}{group}\n) AS cycles ON true{}{join}\nWHERE __t > limit_days\nORDER BY overdue_days DESC, deals.{entity}",
        lines(&columns),
        open.join(", "),
        durations.rows(),
        same("limits", "deals"),
        cycles.join(", "),
        call.journeys(),
        same("cycles", "deals"),
    )
}
