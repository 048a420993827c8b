//! `funnel_trend('funnel')`: conversion and volume for each calendar period, each beside the period that it is held against.
//!
//! Of the journeys that entered `stage`, how many reached `to_stage`? There is a row for each period of the session's
//! time zone (and for each segment with `by`), for empty ones too, from the first entry or `since` up to `as_of`.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `period` date: the first day of the period
//! - `stage`, `to_stage` text
//! - `entered` bigint: journeys of the period that entered `stage`, also by passing it over on the way to a later one
//! - `reached` bigint: of these, those that reached `to_stage`; `open`: those that are still under way; `lost`: the others
//! - `k`, `n` bigint: `reached` and `entered` among mature journeys: those whose window lies before `as_of`, or with `age`
//!   those that were watched for that long, and reached it by then
//! - `rate` = k / n, with `lo` and `hi`, its 95 % Wilson interval; NULL where n = 0, and where `stage` is the last one
//! - `base_period` date: the period before, or a year before
//! - `diff` = rate less that of `base_period`, with `diff_lo` and `diff_hi`, Newcombe's 95 % interval; NULL where one of the
//!   two has no mature journeys, or, in a funnel without a window and without `age`, still has open ones
//! - `amount` double precision: the value of the journeys that reached `to_stage`
//! - `status` text: `partial_period` (`as_of`, `since` or `until` cuts through it), `no_data` (nobody entered), `immature`
//!   (some of those that entered aren't mature; without a window: some are open), `ok`
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//! - `bar` text: `entered` drawn against the largest of the segment
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion);
//! `every`, `week_start`: as in [`cohort_cycle`](super::cohort_cycle);
//! `stage`: the first one, and `to_stage`: the last one;
//! `calendar`: `entry` (a journey belongs to the period in which it started) or `stage` (in which it entered `stage`;
//! `since` and `until` are about that instant, then);
//! `age`: days since that instant, `30` or `'12 hours'`, so that all periods are compared at equal age;
//! `against`: `previous` or `year`, a year before (52 weeks, where periods are weeks).
//!
//! Cost: one pass over the journeys, and a row for each period and segment.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::conversion::Conversion;
use super::period::Period;
use super::population::Population;
use super::segments::text_of;
use super::sql::{self, lines};
use crate::definition::text::literal;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        let own = ["by", "every", "week_start", "calendar", "against"];
        call::arguments(&[&own[..], &Conversion::ARGUMENTS].concat())
    },
    plan,
    population: Some(|arguments| Ok(Trend::take(arguments)?.population())),
    info,
};

const NAME: &str = "funnel_trend";

/// Width of the longest bar, in characters.
const BAR_WIDTH: i64 = 20;

/// The function's own columns.
const COLUMNS: [&str; 21] = [
    "segment",
    "period",
    "stage",
    "to_stage",
    "entered",
    "reached",
    "lost",
    "open",
    "k",
    "n",
    "rate",
    "lo",
    "hi",
    "base_period",
    "diff",
    "diff_lo",
    "diff_hi",
    "amount",
    "status",
    "drill_key",
    "bar",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, every text DEFAULT 'month', calendar text DEFAULT 'entry', stage text DEFAULT NULL, \
             to_stage text DEFAULT NULL, age double precision DEFAULT NULL, against text DEFAULT 'previous', \
             by text DEFAULT NULL, {}, week_start text DEFAULT 'monday'",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Conversion and volume for each calendar period, beside the period before."
            .to_owned(),
    }
}

/// Which instant puts a journey into a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// Its start.
    Entry,
    /// Its entry into the stage.
    Stage,
}

impl Calendar {
    const NAMES: [(&'static str, Calendar); 2] =
        [("entry", Calendar::Entry), ("stage", Calendar::Stage)];

    /// Takes `calendar`: `entry` (when it isn't given) or `stage`.
    ///
    /// # Errors
    /// 22023 for another one.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        let given = arguments.take_choice("calendar", &Self::NAMES)?;
        Ok(given.unwrap_or(Calendar::Entry))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, calendar)| *calendar == self);
        found.map_or("", |(name, _)| *name)
    }

    /// The column of the journeys that [`Conversion::entered`] writes that has the instant.
    pub fn column(self) -> &'static str {
        match self {
            Calendar::Entry => "started_at",
            Calendar::Stage => "__entered_at",
        }
    }
}

/// One call's arguments.
struct Trend {
    call: Call,
    every: Period,
    calendar: Calendar,
    conversion: Conversion,
    /// SQL of the length from a period back to the one that it is held against.
    against: String,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let trend = Trend::take(arguments)?;
    sql::plan(arguments, trend.call.written(), &trend.query())
}

impl Trend {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let every = Period::take(arguments)?;
        let calendar = Calendar::take(arguments)?;
        let against = take_against(arguments, &every)?;
        let (conversion, mut call) = Conversion::take(arguments)?;
        if calendar == Calendar::Stage {
            call.take_any_start();
        }
        Ok(Self {
            call,
            every,
            calendar,
            conversion,
            against,
        })
    }

    fn population(&self) -> Population {
        let mut cell = self.call.segments.cell();
        cell.push(("period".to_owned(), "__period".to_owned()));
        Population {
            funnel: self.call.funnel(),
            rows: self.rows(),
            of_stages: false,
            cell,
            parameters: Vec::new(),
            counts: vec![
                ("entered", "true".to_owned()),
                ("reached", "__reached_at IS NOT NULL".to_owned()),
                (
                    "lost",
                    "__reached_at IS NULL AND status <> 'open'".to_owned(),
                ),
                (
                    "open",
                    "__reached_at IS NULL AND status = 'open'".to_owned(),
                ),
                ("k", self.conversion.k()),
                ("n", self.conversion.n()),
            ],
        }
    }

    /// The journeys that entered the stage, with the period that each belongs to.
    fn rows(&self) -> String {
        let instant = self.calendar.column();
        let mut columns = vec![
            "*".to_owned(),
            format!("{} AS __period", self.every.start_of(instant)),
        ];
        columns.extend(self.conversion.ages(&self.call, instant));
        format!(
            "(\n  SELECT {}\n  FROM {}{}\n) AS in_periods",
            columns.join(",\n         "),
            self.conversion.entered(&self.call),
            self.within(),
        )
    }

    /// `since` and `until` where they aren't about the journey's start.
    fn within(&self) -> String {
        if self.calendar == Calendar::Entry {
            return String::new();
        }
        let instant = self.calendar.column();
        let bounds = [("since", ">="), ("until", "<")].map(|(name, comparison)| {
            let bound = self.call.instant(name)?;
            Some(format!("{instant} {comparison} {bound}"))
        });
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        match bounds.is_empty() {
            true => String::new(),
            false => format!("\n  WHERE {}", bounds.join(" AND ")),
        }
    }

    /// SQL of the instant where the last period ends, or is cut.
    fn end(&self) -> String {
        match self.call.instant("until") {
            Some(until) => format!("least({until}, {})", self.call.as_of()),
            None => self.call.as_of(),
        }
    }

    fn query(&self) -> String {
        format!(
            "WITH counted AS (\n{}\n),\nperiods AS (\n{}\n),\nfilled AS (\n{}\n)\nSELECT\n{}\nFROM filled AS f\n\
             LEFT JOIN counted AS base ON {}\nORDER BY {}",
            self.counted(),
            self.periods(),
            self.filled(),
            lines(&self.result()),
            self.same_cell("base", "f", &format!("f.__period - {}", self.against)),
            self.order().join(", "),
        )
    }

    fn order(&self) -> Vec<String> {
        let mut order = prefixed("f", &self.call.segments.grouped());
        order.push("f.__period".to_owned());
        order
    }

    /// One row for each segment and period with entries.
    fn counted(&self) -> String {
        let population = self.population();
        let mut columns = self.call.segments.projected();
        columns.push("__period".to_owned());
        columns.extend(population.counted());
        columns.push("sum(value) FILTER (WHERE __reached_at IS NOT NULL) AS amount".to_owned());
        let mut groups = self.call.segments.columns();
        groups.push("__period".to_owned());
        format!(
            "SELECT\n{}\nFROM {}\nGROUP BY {}",
            lines(&columns),
            population.rows,
            groups.join(", ")
        )
    }

    /// One row for each segment and period from the first to the last.
    fn filled(&self) -> String {
        let segments = self.call.segments.grouped();
        let mut columns = prefixed("cells", &segments);
        columns.push("cells.__period".to_owned());
        columns.extend(
            self.population()
                .counts
                .iter()
                .map(|(name, _)| format!("coalesce(c.{name}, 0) AS {name}")),
        );
        columns.push("c.amount AS amount".to_owned());
        let cells = match segments.is_empty() {
            true => "periods".to_owned(),
            false => format!(
                "(\n  SELECT * FROM periods CROSS JOIN (SELECT DISTINCT {} FROM counted) AS segments\n)",
                segments.join(", ")
            ),
        };
        format!(
            "SELECT\n{}\nFROM {cells} AS cells\nLEFT JOIN counted AS c ON {}",
            lines(&columns),
            self.same_cell("c", "cells", "cells.__period"),
        )
    }

    /// Every period from the first to the last.
    fn periods(&self) -> String {
        // An instant that ends a period belongs to it.
        let end = format!("CAST({} AS bigint) - 1", self.end());
        let last = self
            .every
            .start_of(&format!("CAST({end} AS timestamptz(6))"));
        let bounds = match self.call.instant("since") {
            Some(since) => {
                let first = self.every.start_of(&since);
                format!("SELECT {first} AS first, {last} AS last")
            }
            None => format!("SELECT min(__period) AS first, {last} AS last FROM counted"),
        };
        format!(
            "SELECT CAST(unnest(generate_series(first, last, {})) AS date) AS __period\nFROM (\n  {bounds}\n) AS bounds",
            self.every.interval()
        )
    }

    /// SQL that holds where a row of `one` is of the segment of `other` and of this period.
    fn same_cell(&self, one: &str, other: &str, period: &str) -> String {
        let mut conditions: Vec<String> = self
            .call
            .segments
            .grouped()
            .iter()
            .map(|name| format!("({one}.{name} IS NOT DISTINCT FROM {other}.{name})"))
            .collect();
        conditions.push(format!("{one}.__period = CAST({period} AS date)"));
        conditions.join(" AND ")
    }

    /// SQL that holds where the rate of a row may be compared.
    fn comparable(&self, row: &str) -> String {
        let rated = self.conversion.is_rated();
        match (rated, self.conversion.has_equal_times(&self.call)) {
            (false, _) => "false".to_owned(),
            (true, true) => format!("{row}.n > 0"),
            (true, false) => format!("{row}.n > 0 AND {row}.open = 0"),
        }
    }

    fn status(&self) -> String {
        let local = |instant: &str| format!("to_local_time({instant})");
        let start = "CAST(f.__period AS timestamp(6))";
        let mut cut = vec![format!(
            "{start} + {} > {}",
            self.every.interval(),
            local(&self.end())
        )];
        cut.extend(
            self.call
                .instant("since")
                .map(|since| format!("{start} < {}", local(&since))),
        );
        let immature = match self.conversion.has_equal_times(&self.call) {
            true => "f.n < f.entered",
            false => "f.open > 0",
        };
        format!(
            "CASE WHEN {} THEN 'partial_period' WHEN f.entered = 0 THEN 'no_data' WHEN {immature} THEN 'immature' ELSE 'ok' END",
            cut.join(" OR ")
        )
    }

    fn result(&self) -> Vec<String> {
        let segments = &self.call.segments;
        let mut columns: Vec<String> = segments
            .shown(&COLUMNS)
            .iter()
            .map(|column| format!("f.{column}"))
            .collect();
        let partition = match segments.names.is_empty() {
            true => String::new(),
            false => format!(
                "PARTITION BY {}",
                prefixed("f", &segments.grouped()).join(", ")
            ),
        };
        let rated = self.conversion.is_rated();
        let when_rated = |value: &str| match rated {
            true => value.to_owned(),
            false => "CAST(NULL AS double precision)".to_owned(),
        };
        let comparable = format!("{} AND {}", self.comparable("f"), self.comparable("base"));
        let diff = |part: &str| {
            format!(
                "CASE WHEN {comparable} THEN rate_diff_ci(f.k, f.n, base.k, base.n)['{part}'] END"
            )
        };
        columns.extend([
            format!(
                "{} AS segment",
                text_of(&prefixed("f", &segments.grouped()))
            ),
            "f.__period AS period".to_owned(),
            format!("{} AS stage", literal(self.conversion.stage(&self.call))),
            format!(
                "{} AS to_stage",
                literal(self.conversion.to_stage(&self.call))
            ),
        ]);
        let counts = ["entered", "reached", "lost", "open", "k", "n"];
        columns.extend(counts.map(|name| format!("f.{name}")));
        columns.extend([
            format!(
                "{} AS rate",
                when_rated("CASE WHEN f.n > 0 THEN f.k / CAST(f.n AS double precision) END")
            ),
            format!("{} AS lo", when_rated("rate_lower(f.k, f.n)")),
            format!("{} AS hi", when_rated("rate_upper(f.k, f.n)")),
            format!(
                "CAST(f.__period - {} AS date) AS base_period",
                self.against
            ),
            format!("{} AS diff", diff("diff")),
            format!("{} AS diff_lo", diff("lo")),
            format!("{} AS diff_hi", diff("hi")),
            "f.amount".to_owned(),
            format!("{} AS status", self.status()),
            format!("{} AS drill_key", self.drill_key()),
            format!(
                "CASE WHEN f.entered > 0 THEN bar(f.entered, 0, max(f.entered) OVER ({partition}), {BAR_WIDTH}) ELSE '' END AS bar"
            ),
        ]);
        columns
    }

    fn drill_key(&self) -> String {
        let mut own = vec![
            ("every", self.every.to_string()),
            ("week_start", self.every.week_start().to_owned()),
            ("calendar", self.calendar.name().to_owned()),
        ];
        own.extend(self.conversion.key(&self.call));
        let mut cell: Vec<(String, String)> = self
            .call
            .segments
            .grouped_cell()
            .into_iter()
            .map(|(name, column)| (name, format!("f.{column}")))
            .collect();
        cell.push(("period".to_owned(), "f.__period".to_owned()));
        self.call.drill_key(NAME, &own, &cell)
    }
}

fn prefixed(table: &str, columns: &[String]) -> Vec<String> {
    columns
        .iter()
        .map(|column| format!("{table}.{column}"))
        .collect()
}

/// `against`: the length from a period back to the one that it is held against, as SQL.
fn take_against(arguments: &mut Arguments, every: &Period) -> Result<String> {
    let choices = [("previous", false), ("year", true)];
    if arguments.take_choice("against", &choices)? != Some(true) {
        return Ok(every.interval());
    }
    every.year_before().ok_or_else(|| {
        arguments.invalid(
            "against",
            &format!("\"year\" where every is \"{every}\""),
            "'previous', or periods of which a year is made, such as every => 'month'",
        )
    })
}
