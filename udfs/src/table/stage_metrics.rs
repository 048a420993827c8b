//! `stage_metrics('funnel')`: everything that a sales team reads off its funnel, a row for each stage and metric.
//!
//! The metrics and their formulas are those of the dictionary, `funnel.metrics`. One whose source the funnel's
//! definition doesn't name isn't there; a notice says which clause would bring it.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `stage_no` integer from 1, `stage` text
//! - `metric` text: its name in `funnel.metrics`; `name_zh` text: its Chinese name
//! - `value` double precision: the metric, in its `unit`; NULL where there is nothing to measure
//! - `k`, `n` bigint: numerator and denominator of a rate; NULL for others
//! - `rate`, `lo`, `hi`: k / n and its 95 % Wilson interval; NULL for others
//! - `unit` text: `rate`, `count`, `hours`, `days`, `money`, `per day`
//! - `journeys` bigint: journeys of the segment that reached the stage
//! - `status` text: `ok`; `immature` (a rate without a mature journey); `no_data` (nobody reached the stage)
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill); its counts are `journeys`, and
//!   `k` and `n` of rates of journeys
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion); `metrics`: names, `'win_rate, cost_per_lead'` or an
//! array; `stage`: one stage.
//!
//! # Edges
//! Follow-ups count at the stage that the journey was in at their moment: from its entry to the entry of the
//! next one or the end of the journey, the end excluded. Costs are those of the days from `since` up to `until` and
//! `as_of`, by the session's calendar, whatever came of them; with `where`, or with `by` a column that
//! `COSTS` doesn't have, there is no cost per lead. Costs without a lead have a row without a value. Orders and
//! referrals count within 180 days after the journey was won, for journeys won at least that long ago.
//!
//! Medians of times are Kaplan–Meier's (1958): what is still open counts as censored. `cycle_days` is of
//! Aalen–Johansen's cumulative incidence (1978), where lost deals compete.
//!
//! Cost: one pass over the journeys for each of follow-ups and orders, and one over these.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::population::Population;
use super::sql::{self, lines};
use crate::definition::metric::{
    AFTER_WON_DAYS, At, Formula, METRICS, Metric, Needs, StageRole, unknown_metric,
};
use crate::definition::related::RelatedKind;
use crate::definition::resolve::{ResolvedFunnel, stage_column};
use crate::definition::text::{identifier, literal};
use crate::error::{FunnelError, Kind};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by", "metrics"]),
    plan,
    population: Some(|arguments| Ok(Metrics::take(arguments)?.population())),
    info,
};

const NAME: &str = "stage_metrics";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, by text DEFAULT NULL, metrics text DEFAULT NULL, stage text DEFAULT NULL, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description:
            "Each metric of the dictionary at each stage: volume, cost, rates, times, amounts."
                .to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 15] = [
    "segment",
    "stage_no",
    "stage",
    "metric",
    "name_zh",
    "value",
    "k",
    "n",
    "rate",
    "lo",
    "hi",
    "unit",
    "journeys",
    "status",
    "drill_key",
];

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let metrics = Metrics::take(arguments)?;
    metrics.give_notice(arguments);
    let query = metrics.query();
    sql::plan(arguments, metrics.call.written(), &query)
}

/// One call's arguments.
struct Metrics {
    call: Call,
    /// The metrics, in the dictionary's order, and the stages that have them, from 0.
    chosen: Vec<(&'static Metric, Vec<usize>)>,
    /// Those that were left out, and what would bring them.
    missing: Vec<(&'static Metric, String)>,
    /// The names that were asked for.
    asked: Vec<String>,
}

impl Metrics {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let (asked, _) = arguments.take_names("metrics")?;
        // Over a query, `stage` names the column of the stages.
        let stage = match arguments.is_over_query() {
            true => None,
            false => arguments.take_text("stage")?,
        };
        let call = Call::take(arguments)?;
        arguments.look_at("metrics");
        check_names(&asked)?;
        arguments.look_at("stage");
        let only = stage
            .map(|stage| stage_idx(&call.funnel, &stage))
            .transpose()?;
        let mut metrics = Self {
            call,
            chosen: Vec::new(),
            missing: Vec::new(),
            asked,
        };
        metrics.choose(only);
        Ok(metrics)
    }

    fn choose(&mut self, only: Option<usize>) {
        for metric in &METRICS {
            if !self.asked.is_empty() && !self.asked.iter().any(|name| name == metric.name) {
                continue;
            }
            if let Some(reason) = self.lacks(metric) {
                self.missing.push((metric, reason));
                continue;
            }
            let mut stages = stages_of(&self.call.funnel, metric.at);
            if metric.name == "qualified_share" && self.qualified_stage().is_none() {
                stages.clear();
            }
            stages.retain(|stage| only.is_none_or(|only| only == *stage));
            if !stages.is_empty() {
                self.chosen.push((metric, stages));
            }
        }
    }

    /// What would bring a metric, where something is missing for it.
    fn lacks(&self, metric: &Metric) -> Option<String> {
        let clause = metric.clause().unwrap_or_default();
        match metric.needs? {
            Needs::Dimension(name) => {
                let found = self
                    .call
                    .funnel
                    .dimensions
                    .iter()
                    .any(|(given, _)| given == name);
                (!found).then(|| format!("Add {clause} to the funnel's definition."))
            }
            Needs::Related(kind, column) => {
                let Some(Ok(rows)) = self.call.funnel.related(kind) else {
                    return Some(format!("Add {clause} to the funnel's definition."));
                };
                let has = |name: &str| rows.columns.iter().any(|(given, _)| given == name);
                if let Some(column) = column.filter(|column| !has(column)) {
                    return Some(format!(
                        "Add a column AS {column} to {kind} in the funnel's definition."
                    ));
                }
                if kind != RelatedKind::Costs {
                    return None;
                }
                if self.call.has("where") {
                    return Some("Costs can't be filtered by where.".to_owned());
                }
                let lacking = self.call.segments.names.iter().find(|name| !has(name));
                lacking.map(|name| {
                    format!(
                        "Add a column AS {} to COSTS, or leave it out of by.",
                        identifier(name)
                    )
                })
            }
        }
    }

    fn give_notice(&self, arguments: &Arguments) {
        let mut reasons: Vec<&str> = Vec::new();
        for (_, reason) in &self.missing {
            if !reasons.contains(&reason.as_str()) {
                reasons.push(reason);
            }
        }
        for reason in reasons {
            let names = self.missing.iter().filter(|(_, other)| other == reason);
            let names: Vec<&str> = names.map(|(metric, _)| metric.name).collect();
            let message = format!("{} can't be counted", names.join(", "));
            arguments.lookup().notice(&message, reason);
        }
    }

    fn qualified_stage(&self) -> Option<usize> {
        role_stage(&self.call.funnel, StageRole::Qualified)
    }

    fn uses(&self, metric: &str) -> bool {
        self.chosen.iter().any(|(chosen, _)| chosen.name == metric)
    }

    fn uses_source(&self, kind: RelatedKind) -> bool {
        self.chosen.iter().any(
            |(chosen, _)| matches!(chosen.needs, Some(Needs::Related(needed, _)) if needed == kind),
        )
    }

    fn population(&self) -> Population {
        let mut cell = self.call.segments.cell();
        cell.push(("stage".to_owned(), "stage".to_owned()));
        let mut counts = vec![("journeys", "true".to_owned())];
        if let [(metric, _)] = self.chosen.as_slice()
            && let Formula::Rate { k, n } = metric.formula
        {
            counts.push(("n", n.to_owned()));
            counts.push(("k", format!("({n}) AND ({k})")));
        }
        Population {
            funnel: self.call.funnel(),
            rows: format!("(\n{}\n) AS stage_rows", self.rows()),
            of_stages: true,
            cell,
            parameters: Vec::new(),
            counts,
        }
    }

    /// `journey_stages` with what the other sources and the whole journey say about each row.
    fn rows(&self) -> String {
        let entity = identifier(&self.call.funnel.entity_name);
        let as_of = self.call.as_of();
        let mut columns = vec!["s.*".to_owned()];
        let mut joins = String::new();
        let since_start = |instant: &str, unit: &str| {
            format!(
                "greatest((CAST({instant} AS bigint) - CAST(started_at AS bigint)) / {unit}, 0.0)"
            )
        };
        if self.uses("cycle_days") || self.uses("mean_days_of_won") {
            let end = format!("coalesce(ended_at, {as_of})");
            columns.push(format!(
                "{} AS cycle_days",
                since_start(&end, "86400000000.0")
            ));
            columns.push(
                "CASE WHEN status IN ('won', 'lost') THEN status ELSE 'open' END AS cycle_outcome"
                    .to_owned(),
            );
        }
        if let (true, Some(stage)) = (self.uses("qualified_share"), self.qualified_stage()) {
            columns.push(format!("{} AS reached_qualified", self.reached(stage)));
        }
        if self.uses("response_hours") {
            let responded = match self.call.funnel.related(RelatedKind::Followups) {
                Some(Ok(_)) => {
                    joins.push_str(&self.first_followups(&entity));
                    "first_followup_at".to_owned()
                }
                _ => format!("coalesce({})", self.entries_from(1)),
            };
            let end = format!("coalesce({responded}, ended_at, {as_of})");
            columns.push(format!(
                "{} AS response_hours",
                since_start(&end, "3600000000.0")
            ));
            columns.push(format!(
                "CASE WHEN {responded} IS NULL THEN 'open' ELSE 'won' END AS response_outcome"
            ));
        }
        if self.uses_source(RelatedKind::Followups) {
            let counts = ["followups", "effective_followups", "deep_followups"];
            columns.extend(counts.map(|name| format!("coalesce(f.{name}, 0) AS {name}")));
            joins.push_str(&self.stage_followups(&entity));
        }
        if self.uses_source(RelatedKind::Orders) {
            let limit = format!("ended_at + INTERVAL '{AFTER_WON_DAYS} days'");
            columns.push(format!("{limit} <= {as_of} AS watched_after_won"));
            columns.push(format!(
                "coalesce(o.next_order_at <= {limit}, false) AS ordered_again"
            ));
            columns.push(format!(
                "coalesce(r.first_referral_at <= {limit}, false) AS referred"
            ));
            joins.push_str(&self.orders(&entity));
        }
        format!(
            "SELECT\n{}\nFROM {} AS s{joins}",
            lines(&columns),
            self.call.journey_stages()
        )
    }

    /// The entries into a stage and those after it, as a list: one that was passed over is reached with a later one.
    fn entries_from(&self, stage: usize) -> String {
        let names = self.call.funnel.stage_names();
        let entries: Vec<String> = names[stage..]
            .iter()
            .map(|stage| identifier(&stage_column(stage)))
            .collect();
        entries.join(", ")
    }

    fn reached(&self, stage: usize) -> String {
        format!("coalesce({}) IS NOT NULL", self.entries_from(stage))
    }

    fn source(&self, kind: RelatedKind) -> String {
        format!(
            "funnel_source({}, '{}', as_of => {})",
            literal(&self.call.funnel.definition.name),
            kind.keyword().to_lowercase(),
            self.call.as_of(),
        )
    }

    fn first_followups(&self, entity: &str) -> String {
        format!(
            "\nLEFT JOIN (
  SELECT j.{entity} AS entity, min(f.at) AS first_followup_at
  FROM {} AS j
  JOIN {} AS f ON f.entity = j.{entity} AND f.at >= j.started_at
  GROUP BY j.{entity}
) AS answered ON answered.entity = s.{entity}",
            self.call.journeys(),
            self.source(RelatedKind::Followups),
        )
    }

    fn stage_followups(&self, entity: &str) -> String {
        let has = |name: &str| match self.call.funnel.related(RelatedKind::Followups) {
            Some(Ok(rows)) => rows.columns.iter().any(|(given, _)| given == name),
            _ => false,
        };
        let counted = |name: &str, condition: &str, column: &str| match has(column) {
            true => format!("count(*) FILTER (WHERE {condition}) AS {name}"),
            false => format!("CAST(0 AS bigint) AS {name}"),
        };
        format!(
            "\nLEFT JOIN (
  SELECT j.{entity} AS entity, j.stage_no, count(*) AS followups, {}, {}
  FROM {} AS j
  JOIN {} AS f ON f.entity = j.{entity} AND f.at >= j.stage_entered_at
    AND (j.stage_end IS NULL OR f.at < j.stage_end)
  GROUP BY j.{entity}, j.stage_no
) AS f ON f.entity = s.{entity} AND f.stage_no = s.stage_no",
            counted("effective_followups", "f.effective", "effective"),
            counted("deep_followups", "f.depth >= 3", "depth"),
            format_args!(
                "(SELECT {entity}, stage_no, stage_entered_at, CASE stage_outcome WHEN 'passed' THEN stage_left_at \
                 WHEN 'open' THEN NULL ELSE ended_at END AS stage_end FROM {})",
                self.call.journey_stages()
            ),
            self.source(RelatedKind::Followups),
        )
    }

    fn orders(&self, entity: &str) -> String {
        let source = self.source(RelatedKind::Orders);
        let journeys = self.call.journeys();
        let has_referrals = match self.call.funnel.related(RelatedKind::Orders) {
            Some(Ok(rows)) => rows.columns.iter().any(|(given, _)| given == "referred_by"),
            _ => false,
        };
        let referrer = if has_referrals {
            "o.referred_by"
        } else {
            "NULL"
        };
        let after = |key: &str| {
            format!(
                "SELECT j.{entity} AS entity, min(o.at) AS first_at
  FROM {journeys} AS j
  JOIN {source} AS o ON {key} = j.{entity} AND j.status = 'won' AND o.at > j.ended_at
  GROUP BY j.{entity}"
            )
        };
        format!(
            "\nLEFT JOIN (SELECT entity, first_at AS next_order_at FROM (
  {}
)) AS o ON o.entity = s.{entity}
LEFT JOIN (SELECT entity, first_at AS first_referral_at FROM (
  {}
)) AS r ON r.entity = s.{entity}",
            after("o.entity"),
            after(referrer),
        )
    }

    /// Each metric's numbers for each segment and stage, in columns.
    fn counted(&self) -> String {
        let mut columns = self.call.segments.projected();
        columns.push("stage_no AS at_stage".to_owned());
        columns.push("count(*) AS journeys".to_owned());
        for (metric, _) in &self.chosen {
            let name = metric.name;
            match metric.formula {
                Formula::Count(condition) => {
                    columns.push(format!(
                        "count(*) FILTER (WHERE {condition}) AS {name}_value"
                    ));
                }
                Formula::Rate { k, n } => {
                    columns.push(format!(
                        "count(*) FILTER (WHERE ({n}) AND ({k})) AS {name}_k"
                    ));
                    columns.push(format!("count(*) FILTER (WHERE {n}) AS {name}_n"));
                }
                Formula::RateOfSums { k, n } => {
                    columns.push(format!("sum({k}) AS {name}_k"));
                    columns.push(format!("sum({n}) AS {name}_n"));
                }
                Formula::Measure(measure) => columns.push(format!("{measure} AS {name}_value")),
                Formula::CostPerRow => {}
            }
        }
        let mut groups = self.call.segments.columns();
        groups.push("stage_no".to_owned());
        format!(
            "SELECT\n{}\nFROM (\n{}\n) AS stage_rows\nGROUP BY {}",
            lines(&columns),
            self.rows(),
            groups.join(", ")
        )
    }

    /// The costs of each segment, where they are asked for.
    fn costs(&self) -> Option<String> {
        if !self.uses("cost_per_lead") {
            return None;
        }
        let day = |instant: String| format!("CAST(to_local_time({instant}) AS date)");
        let mut conditions = vec![format!("day <= {}", day(self.call.as_of()))];
        if let Some(since) = self.call.instant("since") {
            conditions.push(format!("day >= {}", day(since)));
        }
        if let Some(until) = self.call.instant("until") {
            conditions.push(format!("day < {}", day(until)));
        }
        let mut columns = self.call.segments.projected();
        columns.push("sum(cost) AS cost".to_owned());
        let groups = match self.call.segments.names.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", self.call.segments.columns().join(", ")),
        };
        Some(format!(
            "SELECT {} FROM {} WHERE {}{groups}",
            columns.join(", "),
            self.source(RelatedKind::Costs),
            conditions.join(" AND ")
        ))
    }

    fn query(&self) -> String {
        let costs = self.costs();
        let segments = self.call.segments.grouped();
        let mut parts = vec![format!("counted AS (\n{}\n)", self.counted())];
        parts.extend(
            costs
                .iter()
                .map(|costs| format!("costs AS (\n  {costs}\n)")),
        );
        let mut from = format!(
            "(VALUES\n  {}\n) AS metrics(stage_no, stage, metric_no, metric, name_zh, unit)",
            self.metric_rows()
        );
        let matches = |table: &str| {
            let same = segments
                .iter()
                .map(|name| format!(" AND {table}.{name} IS NOT DISTINCT FROM segments.{name}"));
            same.collect::<String>()
        };
        if !segments.is_empty() {
            let names = segments.join(", ");
            let more = match costs {
                Some(_) => format!(" UNION SELECT {names} FROM costs"),
                None => String::new(),
            };
            parts.push(format!(
                "segments AS (SELECT DISTINCT {names} FROM counted{more})"
            ));
            from.push_str("\nCROSS JOIN segments");
        }
        from.push_str(&format!(
            "\nLEFT JOIN counted ON counted.at_stage = metrics.stage_no{}",
            matches("counted")
        ));
        if costs.is_some() {
            from.push_str(&format!("\nLEFT JOIN costs ON true{}", matches("costs")));
        }
        let mut order: Vec<String> = segments.clone();
        order.extend(["stage_no", "metric_no"].map(str::to_owned));
        format!(
            "WITH {}\nSELECT\n{}\nFROM (\nSELECT\n{}\nFROM {from}\n) AS measured\nORDER BY {}",
            parts.join(",\n"),
            lines(&self.result()),
            lines(&self.measured(&segments)),
            order.join(", ")
        )
    }

    fn metric_rows(&self) -> String {
        let names = self.call.funnel.stage_names();
        let mut rows = Vec::new();
        for (at, (metric, stages)) in self.chosen.iter().enumerate() {
            rows.extend(stages.iter().map(|stage| {
                format!(
                    "(CAST({} AS integer), {}, {at}, '{}', {}, '{}')",
                    stage + 1,
                    literal(&names[*stage]),
                    metric.name,
                    literal(metric.names.zh),
                    metric.unit
                )
            }));
        }
        match rows.is_empty() {
            true => "(CAST(NULL AS integer), '', 0, '', '', '')".to_owned(),
            false => rows.join(",\n  "),
        }
    }

    /// The numbers of each row's own metric.
    fn measured(&self, segments: &[String]) -> Vec<String> {
        let cases = |wanted: &dyn Fn(&Metric) -> Option<String>, otherwise: &str| {
            let cases: Vec<String> = self
                .chosen
                .iter()
                .filter_map(|(metric, _)| {
                    Some(format!("WHEN '{}' THEN {}", metric.name, wanted(metric)?))
                })
                .collect();
            match cases.is_empty() {
                true => otherwise.to_owned(),
                false => format!("CASE metric {} END", cases.join(" ")),
            }
        };
        let is_rate = |metric: &Metric| {
            matches!(
                metric.formula,
                Formula::Rate { .. } | Formula::RateOfSums { .. }
            )
        };
        let part = |part: &'static str| {
            move |metric: &Metric| {
                is_rate(metric)
                    .then(|| format!("CAST(coalesce({}_{part}, 0) AS bigint)", metric.name))
            }
        };
        let value = |metric: &Metric| match metric.formula {
            Formula::Count(_) => Some(format!(
                "CAST(coalesce({}_value, 0) AS double precision)",
                metric.name
            )),
            Formula::Measure(_) => Some(format!("{}_value", metric.name)),
            Formula::CostPerRow => {
                Some("CASE WHEN journeys > 0 THEN cost / journeys END".to_owned())
            }
            Formula::Rate { .. } | Formula::RateOfSums { .. } => None,
        };
        let mut columns: Vec<String> = match segments.is_empty() {
            true => Vec::new(),
            false => segments
                .iter()
                .map(|name| format!("segments.{name} AS {name}"))
                .collect(),
        };
        columns.extend(
            [
                "stage_no",
                "stage",
                "metric_no",
                "metric",
                "name_zh",
                "unit",
            ]
            .map(str::to_owned),
        );
        columns.extend([
            "coalesce(journeys, 0) AS journeys".to_owned(),
            format!("{} AS k", cases(&part("k"), "CAST(NULL AS bigint)")),
            format!("{} AS n", cases(&part("n"), "CAST(NULL AS bigint)")),
            format!(
                "{} AS measure",
                cases(&value, "CAST(NULL AS double precision)")
            ),
        ]);
        columns
    }

    fn result(&self) -> Vec<String> {
        let mut cell = self.call.segments.grouped_cell();
        cell.push(("stage".to_owned(), "stage".to_owned()));
        let key = self
            .call
            .drill_key_of(NAME, &[("metrics", "metric".to_owned())], &cell);
        let rate = "CASE WHEN n > 0 THEN k / CAST(n AS double precision) END";
        let mut columns = self.call.segments.shown(&COLUMNS);
        columns.push(format!("{} AS segment", self.call.segments.text()));
        columns.extend(["stage_no", "stage", "metric", "name_zh"].map(str::to_owned));
        columns.push(format!(
            "CASE WHEN unit = 'rate' THEN {rate} ELSE measure END AS value"
        ));
        columns.extend(["k", "n"].map(str::to_owned));
        columns.push(format!("{rate} AS rate"));
        columns.push("rate_lower(k, n) AS lo".to_owned());
        columns.push("rate_upper(k, n) AS hi".to_owned());
        columns.extend(["unit", "journeys"].map(str::to_owned));
        columns.push(
            "CASE WHEN journeys = 0 THEN 'no_data' WHEN n = 0 THEN 'immature' ELSE 'ok' END AS status"
                .to_owned(),
        );
        columns.push(format!("{key} AS drill_key"));
        columns
    }
}

fn check_names(asked: &[String]) -> Result<()> {
    match asked.iter().find(|name| Metric::find(name).is_none()) {
        None => Ok(()),
        Some(unknown) => Err(unknown_metric(unknown, &[]).into()),
    }
}

fn stage_idx(funnel: &ResolvedFunnel, name: &str) -> Result<usize> {
    let stages = funnel.stage_names();
    stages
        .iter()
        .position(|stage| stage == name)
        .ok_or_else(|| {
            FunnelError::Unknown {
                kind: Kind::Stage,
                name: name.to_owned(),
                place: format!(" in funnel \"{}\"", funnel.definition.name),
                existing: stages,
            }
            .into()
        })
}

/// The stages that have a metric, from 0.
fn stages_of(funnel: &ResolvedFunnel, at: At) -> Vec<usize> {
    let last = funnel.definition.stages.len() - 1;
    match at {
        At::Each => (0..=last).collect(),
        At::EachButLast => (0..last).collect(),
        At::First => vec![0],
        At::Last => vec![last],
        At::Role(role) => {
            let stage = role_stage(funnel, role).filter(|stage| *stage < last);
            stage.into_iter().collect()
        }
        At::Before(role) => {
            let stage = role_stage(funnel, role).and_then(|stage| stage.checked_sub(1));
            stage.into_iter().collect()
        }
    }
}

fn role_stage(funnel: &ResolvedFunnel, role: StageRole) -> Option<usize> {
    funnel
        .stage_names()
        .iter()
        .position(|stage| role.names().contains(&stage.to_lowercase().as_str()))
}
