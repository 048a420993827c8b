//! `change_decompose('funnel', current => '2026-03')`: why are there more or fewer wins than in the period before?
//!
//! What a period won is a product: how many entered, times the rate of each stage, and with `value => 'amount'` times the average value. The
//! change is divided among the factors without a residual (LMDI-I or Shapley); with `by`, each segment is divided by itself, the segments' shares of
//! the volume are a factor too, and the effects of segments sum to the factor's.
//!
//! # Columns
//! - each column of `by`; `segment` text, as in [`stage_conversion`](super::stage_conversion), and `is_total`: whether it is of all segments together
//! - `factor_no` bigint; `factor` text: `volume`, `mix` (the segment's share of the volume), a stage and the next, or `average value`
//! - `base`, `current` double precision: the factor in the earlier and the later period; NULL where nobody came that far
//! - `base_k`, `base_n`, `current_k`, `current_n` bigint: a rate's counts; of a volume, a mix and an average `n` alone: how many entered, entered of the
//!   segment, and won
//! - `effect` double precision: the wins (or the amount) that the factor added; all factors' sum is the change. NULL where it has no value in a period
//! - `lo`, `hi`: its 95 % interval by the delta method, of Poisson volumes and independent binomial rates
//! - `share`: its part of the change, NULL where there is none; `mult_effect`: by how much it multiplied the wins
//! - `method` text; `status` text: `ok`; `product_zero` (a factor is zero: no interval); `no_data` (no value in a period); `immature` (some journeys
//!   haven't had their whole time, so that nothing can be compared) and `partial_period` (one isn't over), both without effects
//! - `decision` text: `raised`, `lowered`, `within_chance`, `unknown` (no interval), or the status; `verdict` text: the same in words
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`journeys`](super::journeys); `current`, `base`: the periods, by the journeys' start, as `'2026-03'`, `'2026-Q1'`, `'2026-W10'` or
//! `'2026-03-01/2026-03-16'`; `base` is the one before, or `'year'`; `by`; `method`: `lmdi` or `shapley`; `value`: `wins` or `amount`; `age`: days since
//! the start that each journey has, in place of its window; `lang`: `en` or `zh`.
//!
//! Cost: one pass over the journeys, and a small product for each segment.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::changed::cell_struct;
use super::compared::Compared;
use super::conversion::first_entry;
use super::language::Language;
use super::population::Population;
use super::segments::text_of;
use super::sql::{self, lines};
use super::wording::{count, fixed, in_percent, signed, verdict_column};
use crate::definition::metric::Words;
use crate::definition::text::literal;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        let own = [&Compared::ARGUMENTS[..], &["by", "method", "age", "lang"]];
        call::arguments(&own.concat())
    },
    plan,
    population: Some(|arguments| Ok(Decomposed::take(arguments)?.population())),
    info,
};

const NAME: &str = "change_decompose";

/// The function's own columns.
const COLUMNS: [&str; 21] = [
    "segment",
    "is_total",
    "factor_no",
    "factor",
    "base",
    "current",
    "base_k",
    "base_n",
    "current_k",
    "current_n",
    "effect",
    "lo",
    "hi",
    "share",
    "mult_effect",
    "method",
    "status",
    "decision",
    "verdict",
    "drill_key",
    "id",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, current text, base text DEFAULT 'previous', by text DEFAULT NULL, method text DEFAULT 'lmdi', \
             value text DEFAULT 'wins', age double precision DEFAULT NULL, {}, lang text DEFAULT 'en'",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "How much volume, mix, each stage's rate and the average value added to the change between two periods."
            .to_owned(),
    }
}

/// One call's arguments.
struct Decomposed {
    call: Call,
    compared: Compared,
    age: Option<f64>,
    method: &'static str,
    has_amount: bool,
    language: Language,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let mut decomposed = Decomposed::take(arguments)?;
    let query = decomposed.query();
    sql::plan(arguments, decomposed.call.written(), &query)
}

impl Decomposed {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let compared = Compared::take(arguments, NAME)?;
        let methods = [("lmdi", "lmdi"), ("shapley", "shapley")];
        let method = arguments.take_choice("method", &methods)?.unwrap_or("lmdi");
        let age = arguments.take_days("age")?;
        let language = Language::take(arguments)?;
        // Over a query, `value` names a column, whose sum is decomposed.
        let has_amount = match arguments.is_over_query() {
            true => arguments.peek("value").is_some(),
            false => {
                let choices = [("wins", false), ("amount", true)];
                arguments.take_choice("value", &choices)?.unwrap_or(false)
            }
        };
        Ok(Self {
            call: Call::take(arguments)?,
            compared,
            age,
            method,
            has_amount,
            language,
        })
    }

    fn stages(&self) -> usize {
        self.call.funnel.definition.stages.len()
    }

    /// The journeys of both periods with `__period`, `__counted` and for each stage whether they reached it in time.
    fn rows(&self) -> String {
        let days_to = |end: &str| {
            format!("(CAST({end} AS bigint) - CAST(started_at AS bigint)) / 86400000000.0")
        };
        let counted = match self.age {
            Some(age) => format!("{} >= {age}", days_to(&self.call.as_of())),
            None => "mature".to_owned(),
        };
        let reached: Vec<String> = (0..self.stages())
            .map(|stage| {
                let reached = format!("steps[{}]['reached']", stage + 1);
                match self.age {
                    Some(age) => {
                        let days = days_to(&first_entry(&self.call, stage));
                        format!("coalesce({reached} AND {days} <= {age}, false)")
                    }
                    None => format!("coalesce({reached}, false)"),
                }
            })
            .collect();
        format!(
            "(\n  SELECT *, {} AS __period, {counted} AS __counted,\n         ARRAY[{}] AS __reached\n  FROM {}\n  WHERE {}\n) AS compared",
            self.compared.period_of("started_at"),
            reached.join(", "),
            self.call.journeys_with_steps(),
            self.compared.either("started_at"),
        )
    }

    fn population(&self) -> Population {
        let of = |period: &str, stage: &str| {
            format!("__period = '{period}' AND __counted AND __reached[CAST(:{stage} AS bigint)]")
        };
        Population {
            funnel: self.call.funnel(),
            rows: self.rows(),
            of_stages: false,
            cell: self.call.segments.cell(),
            parameters: vec!["from_no", "to_no"],
            counts: vec![
                ("current_n", of("current", "from_no")),
                ("current_k", of("current", "to_no")),
                ("base_n", of("base", "from_no")),
                ("base_k", of("base", "to_no")),
            ],
        }
    }

    fn query(&mut self) -> String {
        let result = lines(&self.result());
        let by_segment = !self.call.segments.names.is_empty();
        let array = |period: &str| {
            let names: Vec<String> = (1..=self.stages())
                .map(|no| format!("{period}_{no}"))
                .collect();
            format!("ARRAY[{}]", names.join(", "))
        };
        let mut cell = format!(
            "'id', id, 'base', {}, 'current', {}",
            array("base"),
            array("current")
        );
        if self.has_amount {
            let amounts = cell_struct(&[
                "base_amount",
                "base_squares",
                "current_amount",
                "current_squares",
            ]);
            let amounts = amounts
                .trim_start_matches("named_struct(")
                .trim_end_matches(')');
            cell = format!("{cell}, {amounts}");
        }
        let of_last = |period: &str| match self.has_amount {
            true => format!("sum({period}_amount)"),
            false => format!("CAST(sum({period}_{}) AS double precision)", self.stages()),
        };
        format!(
            "WITH counted AS (\n{counted}\n),\ncells AS (\n  SELECT *, {id} AS id FROM counted\n),\nwhole AS (\n  \
             SELECT {base_value} AS base_value, {current_value} AS current_value, sum(waiting) AS waiting FROM cells\n),\neffects AS (\n  \
             SELECT unnest(change_effects(array_agg(named_struct({cell})), {by_segment}, '{method}')) AS e FROM cells\n),\nfactors AS (\n\
             SELECT\n{factors}\nFROM effects CROSS JOIN whole\nLEFT JOIN cells ON cells.id = e['id']\n)\nSELECT\n{result}\nFROM factors\nORDER BY coalesce(id, 0), factor_no",
            counted = self.counted(),
            id = match by_segment {
                true => format!(
                    "row_number() OVER (ORDER BY {})",
                    self.call.segments.grouped().join(", ")
                ),
                false => "CAST(1 AS bigint)".to_owned(),
            },
            base_value = of_last("base"),
            current_value = of_last("current"),
            method = self.method,
            factors = lines(&self.factors()),
        )
    }

    /// One row for each segment: how many reached each stage in either period.
    fn counted(&self) -> String {
        let mut columns = self.call.segments.projected();
        for period in ["base", "current"] {
            columns.extend((1..=self.stages()).map(|no| {
                format!(
                    "count(*) FILTER (WHERE __period = '{period}' AND __counted AND __reached[{no}]) AS {period}_{no}"
                )
            }));
            if self.has_amount {
                let won = format!(
                    "__period = '{period}' AND __counted AND __reached[{}]",
                    self.stages()
                );
                columns.push(format!(
                    "coalesce(sum(value) FILTER (WHERE {won}), 0) AS {period}_amount"
                ));
                columns.push(format!(
                    "coalesce(sum(value * value) FILTER (WHERE {won}), 0) AS {period}_squares"
                ));
            }
        }
        let waiting = match self.age.is_some() || self.call.funnel.window.is_some() {
            true => "NOT __counted",
            false => "status = 'open'",
        };
        columns.push(format!("count(*) FILTER (WHERE {waiting}) AS waiting"));
        let groups = match self.call.segments.names.is_empty() {
            true => String::new(),
            false => format!("\nGROUP BY {}", self.call.segments.columns().join(", ")),
        };
        format!("SELECT\n{}\nFROM {}{groups}", lines(&columns), self.rows())
    }

    /// The effects with the names of their factors and segments.
    fn factors(&self) -> Vec<String> {
        let names = self.call.funnel.stage_names();
        let steps: Vec<String> = names
            .windows(2)
            .zip(1..)
            .map(|(pair, no)| {
                format!(
                    "WHEN {no} THEN {}",
                    literal(&format!("{} → {}", pair[0], pair[1]))
                )
            })
            .collect();
        let step = match steps.is_empty() {
            true => "NULL".to_owned(),
            false => format!("CASE e['stage_no'] {} END", steps.join(" ")),
        };
        let last = names.len();
        let cut = format!(
            "{} < greatest({}, {})",
            self.call.as_of(),
            self.compared.current.until(),
            self.compared.base.until()
        );
        let mut columns: Vec<String> = self
            .call
            .segments
            .grouped()
            .iter()
            .map(|name| format!("cells.{name}"))
            .collect();
        columns.extend([
            "e['id'] AS id".to_owned(),
            "e['factor_no'] AS factor_no".to_owned(),
            "e['kind'] AS kind".to_owned(),
            format!("CASE e['kind'] WHEN 'rate' THEN {step} WHEN 'average' THEN 'average value' ELSE e['kind'] END AS factor"),
            format!("CASE e['kind'] WHEN 'rate' THEN e['stage_no'] WHEN 'average' THEN {last} ELSE 1 END AS from_no"),
            format!("CASE e['kind'] WHEN 'rate' THEN e['stage_no'] + 1 WHEN 'average' THEN {last} ELSE 1 END AS to_no"),
        ]);
        let counts = [
            "base",
            "current",
            "base_k",
            "base_n",
            "current_k",
            "current_n",
        ];
        columns.extend(counts.map(|name| format!("e['{name}'] AS {name}")));
        columns.push(format!(
            "CASE WHEN {cut} THEN 'partial_period' WHEN whole.waiting > 0 THEN 'immature' ELSE e['status'] END AS status"
        ));
        let ready = format!("NOT ({cut}) AND whole.waiting = 0");
        let numbers = ["effect", "lo", "hi", "share", "mult_effect"];
        columns.extend(
            numbers.map(|name| format!("CASE WHEN {ready} THEN e['{name}'] END AS {name}")),
        );
        columns.push("whole.current_value - whole.base_value AS change".to_owned());
        columns
    }

    fn result(&mut self) -> Vec<String> {
        let decision = "CASE WHEN status IN ('partial_period', 'immature', 'no_data') THEN status WHEN lo IS NULL THEN 'unknown' \
             WHEN lo > 0 THEN 'raised' WHEN hi < 0 THEN 'lowered' ELSE 'within_chance' END";
        let mut columns = self.call.segments.shown(&COLUMNS);
        let text = text_of(&self.call.segments.grouped());
        columns.extend([
            format!("CAST(CASE WHEN id IS NULL THEN 'all' ELSE {text} END AS text) AS segment"),
            "id IS NULL AS is_total".to_owned(),
        ]);
        let own = [
            "factor_no",
            "factor",
            "base",
            "current",
            "base_k",
            "base_n",
            "current_k",
            "current_n",
            "effect",
            "lo",
            "hi",
            "share",
            "mult_effect",
        ];
        columns.extend(own.map(str::to_owned));
        columns.extend([
            format!("{} AS method", literal(self.method)),
            "status".to_owned(),
            format!("{decision} AS decision"),
            verdict_column(&self.verdict(decision)),
            format!("{} AS drill_key", self.drill_key()),
        ]);
        columns
    }

    fn verdict(&self, decision: &str) -> String {
        let say = |en: &'static str, zh: &'static str, values: &[&str]| {
            self.language.sql(Words { en, zh }, values)
        };
        let name = format!(
            "CASE kind WHEN 'volume' THEN {} WHEN 'mix' THEN {} WHEN 'average' THEN {} ELSE factor END",
            say("How many entered", "进入量", &[]),
            say("The share of this segment", "该细分的占比", &[]),
            say("The average value", "平均金额", &[]),
        );
        let mixed = say("Who entered", "进入者的构成", &[]);
        let name = format!("CASE WHEN kind = 'mix' AND id IS NULL THEN {mixed} ELSE {name} END");
        let value = |column: &str| {
            format!(
                "CASE kind WHEN 'volume' THEN {} WHEN 'average' THEN {} ELSE {} END",
                count(&format!("CAST({column} AS bigint)")),
                fixed(column, 1),
                in_percent(column)
            )
        };
        let (base, current) = (value("base"), value("current"));
        let unit = match self.has_amount {
            true => say("of the amount", "金额", &[]),
            false => say("wins", "笔成交", &[]),
        };
        let [effect, lo, hi, change] = ["effect", "lo", "hi", "change"].map(signed);
        let went = say(
            "{} went from {} to {}",
            "{}从 {} 变为 {}",
            &[&name, &base, &current],
        );
        // A mix of all segments is always 100 %.
        let went = format!("CASE WHEN kind = 'mix' AND id IS NULL THEN {name} ELSE {went} END");
        let effect = say(
            ": that is {} {} of a change of {}",
            "，带来 {} {}（总变化 {}）",
            &[&effect, &unit, &change],
        );
        let sure = say(
            " (between {} and {}), more than chance explains.",
            "（区间 {} 至 {}），超出了偶然波动。",
            &[&lo, &hi],
        );
        let chance = say(
            " (between {} and {}); chance alone could do that.",
            "（区间 {} 至 {}），仅凭偶然也会如此。",
            &[&lo, &hi],
        );
        let unknown = say(
            ". Something was zero in a period, so how sure that is can't be said.",
            "。某一期有为零的数，无法判断把握有多大。",
            &[],
        );
        let immature = say(
            "Some of these journeys haven't had their whole time, so the periods can't be compared yet. Take earlier ones, or an age that all of them have.",
            "这两期中有些旅程还没走完应有的时间，暂时不能比较。请选更早的时期，或用 age 指定都已达到的天数。",
            &[],
        );
        let partial = say(
            "One of the periods isn't over, so they can't be compared yet.",
            "其中一期还没有结束，暂时不能比较。",
            &[],
        );
        let nobody = say(
            "{}: nobody came that far in one of the periods, so there is no value to compare; the factors before it say why.",
            "{}：有一期没有人走到这一步，没有可比的数；原因见前面的因素。",
            &[&name],
        );
        format!(
            "CASE {decision} WHEN 'immature' THEN {immature} WHEN 'partial_period' THEN {partial} WHEN 'no_data' THEN {nobody} \
             WHEN 'unknown' THEN {went} || {effect} || {unknown} WHEN 'within_chance' THEN {went} || {effect} || {chance} ELSE {went} || {effect} || {sure} END"
        )
    }

    /// The journeys of the row's segment; of a volume, and of all segments together, those of every one.
    fn drill_key(&mut self) -> String {
        let mut own = vec![
            ("method", self.method.to_owned()),
            (
                "value",
                if self.has_amount { "amount" } else { "wins" }.to_owned(),
            ),
        ];
        own.extend(self.age.map(|age| ("age", age.to_string())));
        own.extend(self.compared.key());
        let numbers = ["from_no", "to_no"].map(|name| (name.to_owned(), name.to_owned()));
        let mut cell = self.call.segments.grouped_cell();
        cell.extend(numbers.clone());
        let of_segment = self.call.drill_key(NAME, &own, &cell);
        let segments = std::mem::take(&mut self.call.segments);
        let of_all = self.call.drill_key(NAME, &own, &numbers);
        self.call.segments = segments;
        format!("CASE WHEN id IS NULL OR kind = 'volume' THEN {of_all} ELSE {of_segment} END")
    }
}
