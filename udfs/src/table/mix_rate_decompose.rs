//! `mix_rate_decompose('funnel', by => 'channel', current => '2026-03')`: did a rate change because the segments did worse, or because others came?
//!
//! With a segment's share `w` of the journeys and its rate `r`, a bar for the mean of the two periods: the segment's own rate accounts for `w̄ Δr`, its
//! share for `Δw (r̄ - R̄)`, and all of them together for the change exactly (Kitagawa 1955). A segment that is there in one period only is all
//! mix.
//!
//! # Columns
//! - each column of `by`; `segment` text, as in [`stage_conversion`](super::stage_conversion), and `is_total`: the row of all segments
//! - `base_k`, `base_n`, `current_k`, `current_n` bigint; `base_rate`, `current_rate`: k / n, NULL where n = 0; `base_weight`, `current_weight`: share of n
//! - `rate_effect`, `rate_lo`, `rate_hi`, `mix_effect`, `mix_lo`, `mix_hi` double precision: in fractions, with 95 % intervals by the delta method
//! - `total` = their sum, with `lo` and `hi`, in the row of all Newcombe's; `share`: of the change, NULL where there is none
//! - `simpson` boolean: in the row of all, whether (nearly) all segments went one way and the whole the other; of a segment, whether it did
//! - `method` text; `status` text: `ok`, `no_data` (a period has no journeys to count), `immature` (some haven't had their whole time and aren't counted),
//!   `partial_period` (a period isn't over)
//! - `decision` text: of all `simpson`, `rate` or `mix` (the larger part of a change beyond chance), `within_chance` or `no_data`; of a segment
//!   `raised`, `lowered` or `within_chance`; `verdict` text: the same in words
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill); NULL over a query
//!
//! # Arguments
//! those of [`journeys`](super::journeys); `by`; `current`, `base`: as in [`change_decompose`](super::change_decompose); `stage`, `to_stage`, `age`, `calendar`: as in
//! [`funnel_trend`](super::funnel_trend); `lang`: `en` or `zh`. Over a query of counts `((SELECT …), segment => …, period => …, k => …, n => …)`: its
//! columns, and with `current` and `base` the values of the period's column.
//!
//! Cost: one pass over the journeys, and a row for each segment.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::changed::{Changed, Plain, Source, cell_struct};
use super::language::Language;
use super::population::Population;
use super::segments::{Segments, text_of};
use super::sql::{self, lines};
use super::wording::{in_percent, signed_points, verdict_column};
use crate::definition::metric::Words;
use crate::error::FunnelError;
use crate::statistics::root_cause::Measure;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        let own = [
            &Changed::ARGUMENTS[..],
            &Plain::ARGUMENTS,
            &["by", "segment", "lang"],
        ];
        call::arguments(&own.concat())
    },
    plan,
    population: Some(population),
    info,
};

const NAME: &str = "mix_rate_decompose";

/// The function's own columns.
const COLUMNS: [&str; 26] = [
    "segment",
    "is_total",
    "base_k",
    "base_n",
    "current_k",
    "current_n",
    "base_rate",
    "current_rate",
    "base_weight",
    "current_weight",
    "rate_effect",
    "rate_lo",
    "rate_hi",
    "mix_effect",
    "mix_lo",
    "mix_hi",
    "total",
    "lo",
    "hi",
    "share",
    "simpson",
    "method",
    "status",
    "decision",
    "verdict",
    "drill_key",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, by text, {}, {}, lang text DEFAULT 'en'",
            Changed::SIGNATURE,
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "How much of a rate's change lies in the segments' own rates, and how much in who is there."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let language = Language::take(arguments)?;
    let segment = arguments.take_names("segment")?.0;
    let mut source = Source::take(arguments, NAME)?;
    let segments = match &mut source {
        Source::Funnel(changed) => std::mem::take(&mut changed.call.segments),
        Source::Query(_) => Segments::new(segment, true),
    };
    if segments.names.is_empty() {
        return Err(FunnelError::WrongCall {
            message: "mix_rate_decompose() needs segments".to_owned(),
            hint: "Write by => 'channel', or over a query of counts segment => 'channel'."
                .to_owned(),
        }
        .into());
    }
    let key = drill_key(&mut source, &segments);
    let query = query(&source, &segments, &key, language)?;
    let written = match &source {
        Source::Funnel(changed) => changed.call.written(),
        Source::Query(_) => &[],
    };
    sql::plan(arguments, written, &query)
}

fn population(arguments: &mut Arguments) -> Result<Population> {
    arguments.take("segment");
    let changed = Changed::take(arguments, NAME)?;
    Ok(Population {
        funnel: changed.call.funnel(),
        rows: changed.rows(),
        of_stages: false,
        cell: changed.call.segments.cell(),
        parameters: Vec::new(),
        counts: changed.counts(Measure::Rate),
    })
}

fn drill_key(source: &mut Source, segments: &Segments) -> String {
    let Source::Funnel(changed) = source else {
        return "CAST(NULL AS text)".to_owned();
    };
    let own = changed.key();
    let of_all = changed.call.drill_key(NAME, &own, &[]);
    let call: &mut Call = &mut changed.call;
    call.segments = segments.clone();
    let of_segment = call.drill_key(NAME, &own, &segments.grouped_cell());
    format!("CASE WHEN id = 0 THEN {of_all} ELSE {of_segment} END")
}

fn query(source: &Source, segments: &Segments, key: &str, language: Language) -> Result<String> {
    let groups = segments.grouped();
    let mut counted = segments.projected();
    counted.extend(source.aggregates(Measure::Rate)?);
    let sums = ["base_k", "base_n", "current_k", "current_n", "waiting"];
    let mut parts = groups.clone();
    parts.push("coalesce(id, 0) AS id".to_owned());
    parts.extend(sums.map(|name| format!("sum({name}) AS {name}")));
    let cell = cell_struct(&["id", "base_k", "base_n", "current_k", "current_n"]);
    let mut joined: Vec<String> = ["parts.*"].map(str::to_owned).to_vec();
    let numbers = [
        "rate_effect",
        "rate_lo",
        "rate_hi",
        "mix_effect",
        "mix_lo",
        "mix_hi",
        "total",
        "lo",
        "hi",
        "simpson",
    ];
    joined.extend(numbers.map(|name| format!("e['{name}'] AS {name}")));
    for period in ["base", "current"] {
        let (k, n) = (format!("{period}_k"), format!("{period}_n"));
        joined.push(format!(
            "CASE WHEN {n} > 0 THEN {k} / CAST({n} AS double precision) END AS {period}_rate"
        ));
        joined.push(format!(
            "CASE WHEN max({n}) OVER () > 0 THEN {n} / CAST(max({n}) OVER () AS double precision) END AS {period}_weight"
        ));
    }
    joined.push("max(CASE WHEN parts.id = 0 THEN e['total'] END) OVER () AS change".to_owned());
    joined.push(format!(
        "CASE WHEN {} THEN 'partial_period' WHEN max(waiting) OVER () > 0 THEN 'immature' WHEN e['total'] IS NULL THEN 'no_data' ELSE 'ok' END AS status",
        source.is_cut()
    ));
    Ok(format!(
        "WITH counted AS (\nSELECT\n{}\nFROM {}\nGROUP BY {}\n),\ncells AS (\n  SELECT *, row_number() OVER (ORDER BY {}) AS id FROM counted\n),\n\
         parts AS (\nSELECT\n{}\nFROM cells\nGROUP BY GROUPING SETS ((id, {}), ())\n),\neffects AS (\n  \
         SELECT unnest(mix_rate_effects(array_agg({cell}))) AS e FROM cells\n),\nfound AS (\nSELECT\n{}\nFROM parts LEFT JOIN effects ON coalesce(e['id'], 0) = parts.id\n)\n\
         SELECT\n{}\nFROM found\nORDER BY id",
        lines(&counted),
        source.rows(),
        segments.columns().join(", "),
        groups.join(", "),
        lines(&parts),
        groups.join(", "),
        lines(&joined),
        lines(&result(segments, key, language)),
    ))
}

fn result(segments: &Segments, key: &str, language: Language) -> Vec<String> {
    let decision = "CASE WHEN total IS NULL THEN 'no_data' WHEN id = 0 AND simpson AND (lo > 0 OR hi < 0) THEN 'simpson' WHEN lo <= 0 AND hi >= 0 THEN 'within_chance' \
         WHEN id = 0 AND abs(rate_effect) >= abs(mix_effect) THEN 'rate' WHEN id = 0 THEN 'mix' WHEN total > 0 THEN 'raised' ELSE 'lowered' END";
    let mut columns = segments.shown(&COLUMNS);
    columns.extend([
        format!(
            "CAST(CASE WHEN id = 0 THEN 'all' ELSE {} END AS text) AS segment",
            text_of(&segments.grouped())
        ),
        "id = 0 AS is_total".to_owned(),
    ]);
    // The numbers are `mix_rate_effects`' own.
    let numbers = COLUMNS
        .iter()
        .skip_while(|name| **name != "base_k")
        .take_while(|name| **name != "share");
    columns.extend(numbers.map(|name| (*name).to_owned()));
    columns.extend([
        "CASE WHEN change <> 0 THEN total / change END AS share".to_owned(),
        "simpson".to_owned(),
        "'kitagawa' AS method".to_owned(),
        "status".to_owned(),
        format!("{decision} AS decision"),
        verdict_column(&verdict(decision, segments, language)),
        format!("{key} AS drill_key"),
    ]);
    columns
}

fn verdict(decision: &str, segments: &Segments, language: Language) -> String {
    let say = |en: &'static str, zh: &'static str, values: &[&str]| {
        language.sql(Words { en, zh }, values)
    };
    let [base, current] = ["base_rate", "current_rate"].map(in_percent);
    let [base_weight, current_weight] = ["base_weight", "current_weight"].map(in_percent);
    let [rate, mix, total, lo, hi] =
        ["rate_effect", "mix_effect", "total", "lo", "hi"].map(signed_points);
    let segment = text_of(&segments.grouped());
    let went = say(
        "The rate went from {} to {}: {} points (between {} and {})",
        "转化率从 {} 变为 {}：{} 个百分点（区间 {} 至 {}）",
        &[&base, &current, &total, &lo, &hi],
    );
    let up = say("rose", "上升", &[]);
    let down = say("fell", "下降", &[]);
    let moved = format!("CASE WHEN total < 0 THEN {up} ELSE {down} END");
    let simpson = say(
        ", although it {} in (nearly) every segment. This is Simpson's paradox: who is there changed, which made {} points; the segments' own rates made {}. Compare the segments, not the total.",
        "，而（几乎）每个细分都在{}。这是辛普森悖论：构成的变化带来 {} 个百分点，各细分自身的变化带来 {}。请比较各细分，不要比较总数。",
        &[&moved, &mix, &rate],
    );
    let parts = say(
        ", {} of them from the segments' own rates and {} from who is there.",
        "，其中各细分自身 {}，构成 {}。",
        &[&rate, &mix],
    );
    let chance = say("; chance alone could do that.", "，仅凭偶然也会如此。", &[]);
    let nothing = say(
        "One of the periods has no journeys that can be counted.",
        "其中一期没有可以计入的旅程。",
        &[],
    );
    let immature = say(
        " Some journeys haven't had their whole time and aren't counted.",
        "有些旅程还没走完应有的时间，没有计入。",
        &[],
    );
    let of_segment = say(
        "{} went from {} to {}, and from {} to {} of the journeys: {} points of the change (between {} and {}), {} by its own rate and {} by its share.",
        "{}：转化率从 {} 变为 {}，占比从 {} 变为 {}，带来 {} 个百分点（区间 {} 至 {}），其中自身 {}，占比 {}。",
        &[
            &segment,
            &base,
            &current,
            &base_weight,
            &current_weight,
            &total,
            &lo,
            &hi,
            &rate,
            &mix,
        ],
    );
    let one_period = say(
        "{} is there in one of the periods only: its {} points are all a matter of who is there.",
        "{} 只在其中一期出现：它的 {} 个百分点全部来自构成。",
        &[&segment, &total],
    );
    let immature = format!("CASE WHEN status = 'immature' THEN {immature} ELSE '' END");
    format!(
        "CASE WHEN total IS NULL THEN {nothing} WHEN id > 0 AND (base_rate IS NULL OR current_rate IS NULL) THEN {one_period} WHEN id > 0 THEN {of_segment} \
         ELSE CASE {decision} WHEN 'simpson' THEN {went} || {simpson} WHEN 'within_chance' THEN {went} || {chance} ELSE {went} || {parts} END || {immature} END"
    )
}
