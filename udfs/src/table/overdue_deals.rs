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
    // What is known of a deal: a name that can't meet one of the funnel's, and where it is from.
    let known = [
        ("__entity", entity.as_str()),
        ("__owner", "owner"),
        ("__stage_no", "stage_no"),
        ("__stage", "stage"),
        ("__entered_at", "stage_entered_at"),
        ("__days", "__t"),
        ("__value", "value"),
    ];
    let mut open = segments.projected();
    open.extend(known.map(|(name, column)| format!("{column} AS {name}")));
    open.push(format!(
        "greatest((CAST({as_of} AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0) AS __age"
    ));
    let limits = {
        let mut grouped = durations.grouped();
        grouped.push(format!("survival_quantile(life_table, {q}) AS __limit"));
        format!(
            "SELECT {} FROM {}",
            grouped.join(", "),
            durations.life_tables(&[])
        )
    };
    let mut cycles = segments.projected();
    cycles.push(format!(
        "life_table(greatest((CAST(coalesce(ended_at, {as_of}) AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0), status) AS life_table"
    ));
    let group_of = |columns: &[String]| match columns.is_empty() {
        true => String::new(),
        false => format!(" GROUP BY {}", columns.join(", ")),
    };
    // A life table is as large as the funnel. Beside each deal there would be a copy of it, so the deals of a segment come to
    // theirs, as lists.
    let listed = || known.iter().map(|(name, _)| *name).chain(["__limit"]);
    let of_deals = |column: &String| format!("deals.{column}");
    let grouped: Vec<String> = segments.grouped().iter().map(of_deals).collect();
    let mut late = grouped.clone();
    late.extend(listed().map(|name| format!("array_agg({name}) AS {name}")));
    late.push("array_agg(__age) AS __age".to_owned());
    let mut each: Vec<String> = segments
        .grouped()
        .iter()
        .map(|name| format!("late.{name} AS {name}"))
        .collect();
    each.extend(listed().map(|name| format!("unnest(late.{name}) AS {name}")));
    each.push("unnest(win_probabilities(cycles.life_table, late.__age)) AS __chance".to_owned());
    let (followup, join) = match call.funnel.related(RelatedKind::Followups) {
        Some(Ok(_)) => (
            "last_followup_at",
            format!(
                "\nLEFT JOIN (SELECT entity, max(at) AS last_followup_at FROM funnel_source({}, 'followups', as_of => {as_of}) GROUP BY entity) AS followed ON followed.entity = overdue.__entity",
                literal(&call.funnel.definition.name)
            ),
        ),
        _ => (
            "CAST(NULL AS timestamptz) AS last_followup_at",
            String::new(),
        ),
    };
    let mut columns = vec![format!("__entity AS {entity}")];
    columns.extend(segments.shown(&COLUMNS));
    columns.extend([
        format!("{} AS segment", segments.text()),
        "__owner AS owner, __stage_no AS stage_no, __stage AS stage, __entered_at AS stage_entered_at".to_owned(),
        "__days AS days, __limit AS limit_days, __days - __limit AS overdue_days".to_owned(),
        "__chance AS p_still_win, __value AS value".to_owned(),
        followup.to_owned(),
    ]);
    format!(
        "SELECT\n{}\nFROM (\n  SELECT {}\n  FROM (\n    SELECT {}\n    FROM (SELECT {} FROM {} WHERE __outcome = 'open') AS deals\n    \
         JOIN ({limits}) AS limits ON limits.stage_no = deals.__stage_no{}\n    WHERE __days > __limit{} HAVING count(*) > 0\n  ) AS late\n  \
         JOIN (SELECT {} FROM {}{}) AS cycles ON true{}\n) AS overdue{join}\nORDER BY overdue_days DESC, __entity",
        lines(&columns),
        each.join(", "),
        late.join(", "),
        open.join(", "),
        durations.rows(),
        same("limits", "deals"),
        group_of(&grouped),
        cycles.join(", "),
        call.journeys(),
        group_of(&segments.columns()),
        same("cycles", "late"),
    )
}
