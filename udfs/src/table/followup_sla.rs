//! `followup_sla('funnel')`: who answered new leads in time.
//!
//! A lead is answered by the first follow-up at or after its start; in a funnel without `FOLLOWUPS`, by the entry into the
//! second stage or a later one. An unanswered lead that is overdue is a breach, and one that is still young is pending: to
//! leave them out, as a mean over answered leads does, flatters whoever never calls.
//!
//! # Columns
//! - each column of `by` (the owner where it isn't given), and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `met` bigint: answered within the limit; exactly at the limit is in time
//! - `breached_touched` bigint: answered later; `breached_open` bigint: unanswered, and the limit is over
//! - `pending` bigint: unanswered, and the limit isn't over
//! - `k` = met, `n` = met + both breaches, `rate` = k / n with `lo` and `hi`, its 95 % Wilson interval; NULL where n = 0
//! - `median_hours` double precision: Kaplan–Meier median of the time to the answer, unanswered leads censored at `as_of` or
//!   at their end; NULL where fewer than half are answered
//! - `median_hours_of_answered` double precision: the plain median over answered leads
//! - `limit_hours` double precision
//! - `status` text: `ok`; `immature` (all pending)
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion); `limit_hours`: the second stage's `WITHIN`, or 24.
//!
//! Cost: two passes over the journeys and one over the follow-ups.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::population::Population;
use super::segments::Segments;
use super::sql::{self, lines};
use crate::definition::related::RelatedKind;
use crate::definition::resolve::stage_column;
use crate::definition::text::{identifier, literal};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by", "limit_hours"]),
    plan,
    population: Some(|arguments| Ok(Sla::take(arguments)?.population())),
    info,
};

const NAME: &str = "followup_sla";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, limit_hours double precision DEFAULT NULL, by text DEFAULT 'owner', {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Who answered new leads in time: met, breached and pending.".to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 15] = [
    "segment",
    "met",
    "breached_touched",
    "breached_open",
    "pending",
    "k",
    "n",
    "rate",
    "lo",
    "hi",
    "median_hours",
    "median_hours_of_answered",
    "limit_hours",
    "status",
    "drill_key",
];

const DEFAULT_LIMIT_HOURS: f64 = 24.0;

/// One call's arguments.
struct Sla {
    call: Call,
    limit_hours: f64,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let sla = Sla::take(arguments)?;
    sql::plan(arguments, sla.call.written(), &sla.query())
}

impl Sla {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let limit = arguments.take_positive("limit_hours")?;
        let by_owner = arguments.peek("by").is_none();
        let mut call = Call::take(arguments)?;
        if by_owner {
            call.segments = Segments::new(vec!["owner".to_owned()], true);
        }
        let within = call
            .funnel
            .definition
            .stages
            .get(1)
            .and_then(|stage| stage.within.as_ref());
        let within = within.map(|within| {
            let value = within.value();
            let days = f64::from(value.months) * 30.0 + f64::from(value.days);
            days * 24.0 + value.nanoseconds as f64 / 3.6e12
        });
        Ok(Self {
            limit_hours: limit.or(within).unwrap_or(DEFAULT_LIMIT_HOURS),
            call,
        })
    }

    fn population(&self) -> Population {
        let limit = self.limit_hours;
        let late = format!("__waited > {limit}");
        Population {
            funnel: self.call.funnel(),
            rows: self.rows(),
            of_stages: false,
            cell: self.call.segments.cell(),
            parameters: Vec::new(),
            counts: vec![
                ("met", format!("__answered AND NOT ({late})")),
                ("breached_touched", format!("__answered AND {late}")),
                (
                    "breached_open",
                    format!("NOT __answered AND __age > {limit}"),
                ),
                (
                    "pending",
                    format!("NOT __answered AND NOT (__age > {limit})"),
                ),
                ("n", format!("__answered OR __age > {limit}")),
                ("k", format!("__answered AND NOT ({late})")),
            ],
        }
    }

    /// Each journey with whether it was answered, how long that took or it has waited, and its age, in hours.
    fn rows(&self) -> String {
        let entity = identifier(&self.call.funnel.entity_name);
        let as_of = self.call.as_of();
        let hours = |instant: &str| {
            format!(
                "greatest((CAST({instant} AS bigint) - CAST(started_at AS bigint)) / 3600000000.0, 0.0)"
            )
        };
        let (join, answered) = match self.call.funnel.related(RelatedKind::Followups) {
            Some(Ok(_)) => {
                let followups = format!(
                    "funnel_source({}, 'followups', as_of => {as_of})",
                    literal(&self.call.funnel.definition.name)
                );
                let join = format!(
                    "\n  LEFT JOIN (
    SELECT j.{entity} AS __entity, min(f.at) AS __answered_at
    FROM {} AS j JOIN {followups} AS f ON f.entity = j.{entity} AND f.at >= j.started_at
    GROUP BY j.{entity}
  ) AS answers ON __entity = journeys.{entity}",
                    self.call.journeys()
                );
                (join, "__answered_at".to_owned())
            }
            _ => {
                let names = self.call.funnel.stage_names();
                let later: Vec<String> = names[1..]
                    .iter()
                    .map(|stage| identifier(&stage_column(stage)))
                    .collect();
                (String::new(), format!("coalesce({})", later.join(", ")))
            }
        };
        let end = hours(&format!("coalesce({answered}, ended_at, {as_of})"));
        format!(
            "(
  SELECT journeys.*, {answered} IS NOT NULL AS __answered, {end} AS __waited, {age} AS __age
  FROM {journeys} AS journeys{join}
) AS waits",
            age = hours(&as_of),
            journeys = self.call.journeys(),
        )
    }

    fn query(&self) -> String {
        let segments = &self.call.segments;
        let population = self.population();
        let mut columns = segments.projected();
        columns.extend(population.counted());
        columns.push(
            "survival_quantile(life_table(__waited, CASE WHEN __answered THEN 'won' ELSE 'open' END), 0.5) AS median_hours"
                .to_owned(),
        );
        columns.push(
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY CASE WHEN __answered THEN __waited END) AS median_hours_of_answered"
                .to_owned(),
        );
        let mut shown = segments.shown(&COLUMNS);
        shown.push(format!("{} AS segment", segments.text()));
        let counts = [
            "met",
            "breached_touched",
            "breached_open",
            "pending",
            "k",
            "n",
        ];
        shown.extend(counts.map(str::to_owned));
        shown.extend([
            "CASE WHEN n > 0 THEN k / CAST(n AS double precision) END AS rate".to_owned(),
            "rate_lower(k, n) AS lo".to_owned(),
            "rate_upper(k, n) AS hi".to_owned(),
            "median_hours".to_owned(),
            "median_hours_of_answered".to_owned(),
            format!(
                "CAST({} AS double precision) AS limit_hours",
                self.limit_hours
            ),
            "CASE WHEN n > 0 THEN 'ok' ELSE 'immature' END AS status".to_owned(),
        ]);
        let own = [("limit_hours", self.limit_hours.to_string())];
        let key = self.call.drill_key(NAME, &own, &segments.grouped_cell());
        shown.push(format!("{key} AS drill_key"));
        format!(
            "SELECT\n{}\nFROM (\nSELECT\n{}\nFROM {}\nGROUP BY {}\n) AS counted\nORDER BY {}",
            lines(&shown),
            lines(&columns),
            population.rows,
            segments.columns().join(", "),
            segments.grouped().join(", ")
        )
    }
}
