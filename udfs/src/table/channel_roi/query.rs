//! The SQL of `channel_roi`.

use super::super::wording::verdict_column;
use super::{Roi, Spending, local_day};
use crate::definition::text::{identifier, literal};
use crate::table::conversion::first_entry;
use crate::table::sql::lines;

/// The function's own columns.
const COLUMNS: [&str; 27] = [
    "segment",
    "channel",
    "cost",
    "journeys",
    "leads",
    "cost_per_lead",
    "qualified",
    "wins",
    "won_journeys",
    "cost_per_win",
    "revenue",
    "margin",
    "roi",
    "roi_lo",
    "roi_hi",
    "payback_days",
    "mature",
    "young_leads",
    "young_cost",
    "marginal_leads",
    "marginal_lo",
    "marginal_hi",
    "budget",
    "status",
    "decision",
    "verdict",
    "drill_key",
];

/// How many wins an interval needs.
const FEWEST_WINS: i64 = 10;
/// How many weeks a marginal return needs, and by how much of its mean spend has to vary in them.
const FEWEST_WEEKS: i64 = 12;
const LEAST_VARIATION: f64 = 0.1;

/// Numbers of a channel, each of one of the sources that are put together.
const NUMBERS: [&str; 17] = [
    "cost",
    "young_cost",
    "journeys",
    "leads",
    "qualified",
    "wins",
    "won_journeys",
    "revenue",
    "revenue_lo",
    "revenue_hi",
    "young_leads",
    "entered",
    "open_journeys",
    "payback_days",
    "marginal_leads",
    "marginal_lo",
    "marginal_hi",
];

impl Roi {
    /// The query that the call stands for.
    pub(super) fn query(&self) -> String {
        let segments = &self.call.segments;
        let mut order = segments.grouped();
        order.extend([
            "round(roi, 9) DESC NULLS LAST".to_owned(),
            "__channel".to_owned(),
        ]);
        let mut shown = segments.shown(&COLUMNS);
        shown.push(format!("{} AS segment", segments.text()));
        shown.push("__channel AS channel".to_owned());
        let written = ["segment", "channel", "verdict", "drill_key"];
        let plain = COLUMNS.iter().filter(|name| !written.contains(*name));
        shown.extend(plain.map(|name| (*name).to_owned()));
        shown.push(verdict_column(&self.verdict()));
        shown.push(format!("{} AS drill_key", self.drill_key()));
        format!(
            "WITH cohort AS (\n{cohort}\n),\ncredited AS (\n{credited}\n),\nspent AS (\n{spent}\n),\nlead_numbers AS (\n{leads}\n),\n\
             cost_numbers AS (\n{costs}\n),\npaybacks AS (\n{paybacks}\n),\nmargins AS (\n{weeks}\n),\nchannels AS (\n{channels}\n),\n\
             returns AS (\n{returns}\n),\njudged AS (\n{judged}\n)\nSELECT\n{shown}\nFROM judged\nORDER BY {order}",
            cohort = self.cohort(),
            credited = self.credited("cohort"),
            spent = self.spent(),
            leads = self.lead_numbers(),
            costs = self.cost_numbers(),
            paybacks = self.paybacks(),
            weeks = self.weeks(),
            channels = self.channels(),
            returns = self.returns(),
            judged = judged(self.conversion.has_equal_times(&self.call)),
            shown = lines(&shown),
            order = order.join(", "),
        )
    }

    /// The segments' columns and the channel, before other columns.
    fn cell(&self) -> Vec<String> {
        let mut cell = self.call.segments.grouped();
        cell.push("__channel".to_owned());
        cell
    }

    /// What was spent by channel and day: the segments, `__channel`, `__day`, `__cost`.
    fn spent(&self) -> String {
        let funnel = literal(&self.call.funnel.definition.name);
        let as_of = self.call.as_of();
        let (columns, source) = match &self.spending {
            Spending::Costs(channel) => {
                let mut columns: Vec<String> = self.call.segments.projected();
                columns.push(format!(
                    "coalesce(CAST({} AS text), '(null)') AS __channel",
                    identifier(channel)
                ));
                columns.push("day AS __day".to_owned());
                columns.push("cost AS __cost".to_owned());
                (columns, "costs")
            }
            Spending::Touches => {
                let columns = vec![
                    "coalesce(channel, '(null)') AS __channel".to_owned(),
                    format!("{} AS __day", local_day("at")),
                    "cost AS __cost".to_owned(),
                ];
                (columns, "touches")
            }
        };
        format!(
            "  SELECT * FROM (\n    SELECT {}\n    FROM funnel_source({funnel}, '{source}', as_of => {as_of})\n  ) AS by_day\n  \
             WHERE __cost IS NOT NULL AND {}",
            columns.join(", "),
            self.days(),
        )
    }

    /// SQL that holds for the days of the call.
    fn days(&self) -> String {
        let last = |end: &str| local_day(&format!("CAST({end} AS bigint) - 1"));
        let mut bounds = vec![format!("__day <= {}", last(&self.call.as_of()))];
        bounds.extend(
            self.call
                .instant("since")
                .map(|since| format!("__day >= {}", local_day(&since))),
        );
        bounds.extend(
            self.call
                .instant("until")
                .map(|until| format!("__day <= {}", last(&until))),
        );
        bounds.join(" AND ")
    }

    fn lead_numbers(&self) -> String {
        let call = &self.call;
        let mut columns = call.segments.projected();
        let qualified = format!(
            "steps[{}]['reached']{}",
            self.qualified_idx + 1,
            match self.conversion.age() {
                Some(age) => format!(
                    " AND CAST({} AS bigint) - CAST(__entered_at AS bigint) <= {:.0}",
                    first_entry(call, self.qualified_idx),
                    age * 86_400e6
                ),
                None => String::new(),
            }
        );
        let (revenue, drawn) = match call.funnel.value.is_some() {
            true => (
                "coalesce(sum(__credit * value) FILTER (WHERE __mature AND __won), 0.0)".to_owned(),
                format!(
                    "bootstrap_sum(CAST({} AS text), __credit * value, 0.95, 1000, {}) FILTER (WHERE __mature AND __won)",
                    identifier(&call.funnel.entity_name),
                    self.seed
                ),
            ),
            false => (
                "CAST(NULL AS double precision)".to_owned(),
                "bootstrap_sum('', CAST(NULL AS double precision))".to_owned(),
            ),
        };
        let credit =
            |condition: &str| format!("coalesce(sum(__credit) FILTER (WHERE {condition}), 0.0)");
        columns.extend([
            "__channel".to_owned(),
            "count(*) FILTER (WHERE __mature) AS journeys".to_owned(),
            format!("{} AS leads", credit("__mature")),
            format!(
                "{} AS qualified",
                credit(&format!("__mature AND {qualified}"))
            ),
            format!("{} AS wins", credit("__mature AND __won")),
            "count(*) FILTER (WHERE __mature AND __won) AS won_journeys".to_owned(),
            format!("{revenue} AS revenue"),
            format!("{drawn} AS drawn"),
            format!("{} AS young_leads", credit("NOT __mature")),
            "sum(__credit) AS entered".to_owned(),
            "count(*) FILTER (WHERE NOT __won AND status = 'open') AS open_journeys".to_owned(),
        ]);
        let mut groups = call.segments.columns();
        groups.push("__channel".to_owned());
        format!(
            "  SELECT *, drawn['lo'] AS revenue_lo, drawn['hi'] AS revenue_hi FROM (\n  SELECT\n{}\n  FROM credited\n  GROUP BY {}\n  ) AS added",
            lines(&columns),
            groups.join(", ")
        )
    }

    fn cost_numbers(&self) -> String {
        let cell = self.cell().join(", ");
        let (mature, young) = match self.cutoff() {
            Some(cutoff) => (
                format!("sum(__cost) FILTER (WHERE __day < {cutoff})"),
                format!("sum(__cost) FILTER (WHERE __day >= {cutoff})"),
            ),
            None => (
                "sum(__cost)".to_owned(),
                "CAST(NULL AS double precision)".to_owned(),
            ),
        };
        format!(
            "  SELECT {cell}, {mature} AS cost, {young} AS young_cost\n  FROM spent GROUP BY {cell}"
        )
    }

    /// After how many days the margin of a channel had earned its cost.
    fn paybacks(&self) -> String {
        let cell = self.cell();
        let mut projected = self.call.segments.projected();
        projected.push("__channel".to_owned());
        let same = same_cell(&cell, "earned", "c");
        format!(
            "  SELECT {of_earned}, min(__days_to_win) AS payback_days
  FROM (
    SELECT {cell}, __days_to_win, sum(__margin) OVER (PARTITION BY {cell} ORDER BY __days_to_win) AS __so_far
    FROM (
      SELECT {projected}, (CAST(__reached_at AS bigint) - CAST(started_at AS bigint)) / 86400000000.0 AS __days_to_win,
        __credit * value * {margin:?} AS __margin
      FROM credited WHERE __mature AND __won AND value IS NOT NULL
    ) AS wins
  ) AS earned
  JOIN cost_numbers AS c ON {same}
  WHERE c.cost > 0 AND __so_far >= c.cost
  GROUP BY {of_earned}",
            of_earned = prefixed("earned", &cell),
            cell = cell.join(", "),
            projected = projected.join(", "),
            margin = self.margin,
        )
    }

    /// How many more leads came in weeks with more spend.
    fn weeks(&self) -> String {
        let cell = self.cell();
        let mut projected = self.call.segments.projected();
        projected.push("__channel".to_owned());
        let week = "CAST(date_trunc('week', __day) AS date)";
        let list = cell.join(", ");
        let end = self.call.instant("until").map_or_else(
            || self.call.as_of(),
            |until| format!("least({until}, {})", self.call.as_of()),
        );
        format!(
            "  SELECT {list},
    1000 * __line['slope'] AS marginal_leads, 1000 * __line['lo'] AS marginal_lo, 1000 * __line['hi'] AS marginal_hi
  FROM (
    SELECT {list},
      CASE WHEN count(*) >= {FEWEST_WEEKS} AND stddev_samp(__cost) >= {LEAST_VARIATION} * avg(__cost)
        THEN slope_ci(regr_count(__leads, __cost), regr_sxx(__leads, __cost), regr_sxy(__leads, __cost), regr_syy(__leads, __cost))
      END AS __line
    FROM (
      SELECT {of_costs}, c.__week, c.__cost, coalesce(l.__leads, 0.0) AS __leads
      FROM (
        SELECT {list}, {week} AS __week, sum(__cost) AS __cost FROM spent GROUP BY {list}, {week}
      ) AS c
      LEFT JOIN (
        SELECT {list}, {week} AS __week, sum(__credit) AS __leads
        FROM (SELECT {projected}, __day, __credit FROM credited) AS of_leads GROUP BY {list}, {week}
      ) AS l ON {same} AND l.__week = c.__week
      CROSS JOIN (SELECT min(__day) AS __first FROM spent) AS bounds
      WHERE c.__week >= __first AND c.__week + INTERVAL '7 days' <= to_local_time(CAST({end} AS timestamptz(6)))
    ) AS weekly
    GROUP BY {list}
  ) AS lines",
            of_costs = prefixed("c", &cell),
            projected = projected.join(", "),
            same = same_cell(&cell, "l", "c"),
        )
    }

    /// One row for each segment and channel that has leads or costs.
    fn channels(&self) -> String {
        let cell = self.cell().join(", ");
        let part = |source: &str, own: &[&str]| {
            let columns = NUMBERS.map(|name| match own.contains(&name) {
                true => name.to_owned(),
                false => format!("NULL AS {name}"),
            });
            format!("    SELECT {cell}, {} FROM {source}", columns.join(", "))
        };
        let parts = [
            part(
                "lead_numbers",
                &[
                    "journeys",
                    "leads",
                    "qualified",
                    "wins",
                    "won_journeys",
                    "revenue",
                    "revenue_lo",
                    "revenue_hi",
                    "young_leads",
                    "entered",
                    "open_journeys",
                ],
            ),
            part("cost_numbers", &["cost", "young_cost"]),
            part("paybacks", &["payback_days"]),
            part("margins", &["marginal_leads", "marginal_lo", "marginal_hi"]),
        ];
        let counts = ["journeys", "won_journeys", "open_journeys"];
        let zeros = ["leads", "qualified", "wins", "young_leads", "entered"];
        let columns = NUMBERS.map(|name| {
            if counts.contains(&name) {
                format!("coalesce(max({name}), 0) AS {name}")
            } else if zeros.contains(&name) {
                format!("coalesce(max({name}), 0.0) AS {name}")
            } else {
                format!("max({name}) AS {name}")
            }
        });
        format!(
            "  SELECT {cell}, {}\n  FROM (\n{}\n  ) AS parts\n  GROUP BY {cell}",
            columns.join(", "),
            parts.join("\n    UNION ALL\n")
        )
    }

    fn returns(&self) -> String {
        let per = |over: &str| format!("CASE WHEN {over} > 0 THEN cost / {over} END");
        let roi = |revenue: &str| {
            format!(
                "CASE WHEN cost > 0 THEN ({revenue} * {:?} - cost) / cost END",
                self.margin
            )
        };
        let limit = |revenue: &str| {
            format!(
                "CASE WHEN won_journeys >= {FEWEST_WINS} THEN {} END",
                roi(revenue)
            )
        };
        format!(
            "  SELECT *, {} AS cost_per_lead, {} AS cost_per_win, revenue * {:?} AS margin, {} AS roi, {} AS roi_lo, {} AS roi_hi,
    CASE WHEN entered > 0 THEN leads / entered END AS mature,
    CASE WHEN leads > 0 THEN revenue * {:?} / leads END AS __per_lead
  FROM channels",
            per("leads"),
            per("wins"),
            self.margin,
            roi("revenue"),
            limit("revenue_lo"),
            limit("revenue_hi"),
            self.margin,
        )
    }
}

/// The returns with what is to be made of them.
fn judged(has_equal_times: bool) -> String {
    let immature = match has_equal_times {
        true => "entered > 0 AND journeys = 0",
        false => "open_journeys > 0",
    };
    format!(
        "  SELECT *,
    CASE status WHEN 'immature' THEN 'wait' WHEN 'no_cost' THEN 'no_cost' WHEN 'ok' THEN
      CASE WHEN roi_lo > 0 THEN 'pays' WHEN roi_hi < 0 THEN 'loses' ELSE 'unclear' END
    ELSE 'unclear' END AS decision,
    CASE WHEN marginal_lo * __per_lead > 1000 THEN 'more_pays' WHEN marginal_hi * __per_lead < 1000 THEN 'more_loses'
      ELSE 'cannot_tell' END AS budget
  FROM (
    SELECT *,
      CASE WHEN {immature} THEN 'immature' WHEN cost IS NULL OR cost <= 0 THEN 'no_cost' WHEN journeys = 0 OR revenue IS NULL THEN 'no_data'
        WHEN won_journeys = 0 THEN 'no_events' WHEN won_journeys < {FEWEST_WINS} THEN 'insufficient_history' ELSE 'ok' END AS status
    FROM returns
  ) AS known"
    )
}

fn prefixed(table: &str, columns: &[String]) -> String {
    let columns = columns.iter().map(|column| format!("{table}.{column}"));
    columns.collect::<Vec<_>>().join(", ")
}

/// SQL that holds where rows of two relations are of one segment and channel.
fn same_cell(cell: &[String], one: &str, other: &str) -> String {
    let conditions = cell.iter().map(|name| match name.as_str() {
        // Never NULL, so that the join has an equality to hash.
        "__channel" => format!("{one}.{name} = {other}.{name}"),
        _ => format!("({one}.{name} IS NOT DISTINCT FROM {other}.{name})"),
    });
    conditions.collect::<Vec<_>>().join(" AND ")
}
