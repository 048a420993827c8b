//! `root_cause('funnel', current => '2026-03')`: in which channel, region or owner does a change lie?
//!
//! The elements of each dimension are ranked by how much their share of all surprises, and taken while they account for the change (Adtributor,
//! Bhagwan and others, NSDI 2014); `recursive` looks within them, and `riskloc` (Kalander, arXiv 2205.10004) searches combinations of dimensions. The
//! change itself has to be beyond chance first: otherwise there is one row that says so.
//!
//! # Columns
//! - `rank` bigint; `dimension` text, a combination as `channel · region`; `elements` text[]: the values that account for the change
//! - `base_k`, `base_n`, `current_k`, `current_n` bigint: their counts (of a volume `n` alone); `base`, `current` double precision: the measure of them
//! - `explanatory_power`: the part of the change that they account for as the method defines it, more than 1 where others went the other way;
//!   `surprise`: the Jensen–Shannon divergence by which their share of all changed
//! - `contribution` double precision: the change of the measure of all that lies in them, of a rate their rate and mix effect as in
//!   [`mix_rate_decompose`](super::mix_rate_decompose), with `lo` and `hi`, its 95 % interval
//! - `p`: of the hypothesis that their own measure didn't change; `q`: over all candidates (Benjamini–Hochberg). They were chosen for their change, so
//!   that both are too small rather than too large
//! - `change`, `change_lo`, `change_hi`, `total_base`, `total_current` double precision: of all
//! - `method` text; `status` text: `ok`; without a cause, where `rank` is NULL: `within_chance`, `no_concentration` (no few elements account for it) or `no_data`;
//!   `immature`: some journeys haven't had their whole time and aren't counted; `partial_period`
//! - `decision` text: `root_cause` (q < 0.05), `uncertain`, or the status; `verdict` text: the same in words
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill); NULL over a query
//!
//! # Arguments
//! those of [`journeys`](super::journeys); `current`, `base`, `stage`, `to_stage`, `age`, `calendar`: as in [`mix_rate_decompose`](super::mix_rate_decompose);
//! `dims`: names of dimensions, all and the owner where it isn't given; `metric`: `rate`, `volume` (how many entered `stage`) or `amount` (the value of those that
//! reached `to_stage`); `method`: `adtributor`, `recursive` or `riskloc`; `teep` (0.1): the explanatory power that an element must exceed; `tep` (0.67): that a
//! dimension's elements must exceed together; `k` (3): the most causes; `elements`: a drill key's elements, which limit the journeys; `lang`: `en` or `zh`.
//! Over a query of counts `((SELECT …), dims => …, period => …, k => …, n => …)`: its columns, and `top` in the place of `k`.
//!
//! It says where the change is, not why. Cost: one pass over the journeys, grouped by each dimension (by all of them for combinations, at most 10).

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use serde::Deserialize;

use super::TableFunction;
use super::arguments::Arguments;
use super::call;
use super::changed::{Changed, Plain, Source, cell_struct, is_number};
use super::language::Language;
use super::population::Population;
use super::segments::Segments;
use super::sql::{self, lines};
use super::wording::{fixed, in_percent, signed, signed_points, verdict_column};
use crate::definition::metric::Words;
use crate::definition::text::{identifier, literal};
use crate::error::FunnelError;
use crate::statistics::root_cause::Measure;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        let own = [
            "dims", "metric", "method", "teep", "tep", "top", "elements", "lang",
        ];
        call::arguments(&[&Changed::ARGUMENTS[..], &Plain::ARGUMENTS, &own].concat())
    },
    plan,
    population: Some(population),
    info,
};

const NAME: &str = "root_cause";

/// More dimensions have more combinations than anybody could look at.
const MOST_COMBINED: usize = 10;

/// How a number is written, as SQL.
type Written = fn(&str) -> String;

/// Below this a set's own change is beyond chance.
const SIGNIFICANT: f64 = 0.05;

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, {}, dims text[] DEFAULT NULL, metric text DEFAULT 'rate', method text DEFAULT 'adtributor', \
             teep double precision DEFAULT 0.1, tep double precision DEFAULT 0.67, k integer DEFAULT 3, {}, lang text DEFAULT 'en'",
            Changed::SIGNATURE,
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "In which elements of which dimensions the change between two periods lies."
            .to_owned(),
    }
}

const MEASURES: [(&str, Measure); 3] = [
    ("rate", Measure::Rate),
    ("volume", Measure::Volume),
    ("amount", Measure::Amount),
];

/// One call's arguments.
struct Cause {
    source: Source,
    dims: Segments,
    measure: Measure,
    method: &'static str,
    teep: f64,
    tep: f64,
    most: i64,
    language: Language,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    arguments.take("elements");
    let cause = Cause::take(arguments)?;
    let query = cause.query()?;
    let written = match &cause.source {
        Source::Funnel(changed) => changed.call.written(),
        Source::Query(_) => &[],
    };
    sql::plan(arguments, written, &query)
}

/// The elements of a drill key.
#[derive(Debug, Deserialize)]
struct Selection {
    dims: Vec<String>,
    elements: Vec<Vec<Option<String>>>,
}

fn population(arguments: &mut Arguments) -> Result<Population> {
    let elements = arguments.take_text("elements")?;
    let cause = Cause::take(arguments)?;
    let Source::Funnel(changed) = &cause.source else {
        return Err(arguments.invalid("the funnel", "a query of counts", "a funnel"));
    };
    let mut rows = changed.rows();
    if let Some(elements) = elements {
        let selection: Selection = serde_json::from_str(&elements).map_err(|_| {
            arguments.invalid(
                "elements",
                &format!("\"{elements}\""),
                "those of a drill key",
            )
        })?;
        rows = format!(
            "(SELECT * FROM {rows} WHERE {}) AS chosen",
            chosen(&selection)
        );
    }
    Ok(Population {
        funnel: changed.call.funnel(),
        rows,
        of_stages: false,
        cell: Vec::new(),
        parameters: Vec::new(),
        counts: changed.counts(cause.measure),
    })
}

/// SQL that holds for the journeys of these elements.
fn chosen(selection: &Selection) -> String {
    let of_element = |element: &Vec<Option<String>>| {
        let pairs = selection.dims.iter().zip(element);
        let conditions: Vec<String> = pairs
            .map(|(name, value)| match value {
                Some(value) => format!("CAST({} AS text) = {}", identifier(name), literal(value)),
                None => format!("{} IS NULL", identifier(name)),
            })
            .collect();
        format!("({})", conditions.join(" AND "))
    };
    let elements: Vec<String> = selection.elements.iter().map(of_element).collect();
    match elements.is_empty() {
        true => "true".to_owned(),
        false => elements.join(" OR "),
    }
}

impl Cause {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let language = Language::take(arguments)?;
        let measure = arguments
            .take_choice("metric", &MEASURES)?
            .unwrap_or_default();
        let methods = [
            ("adtributor", "adtributor"),
            ("recursive", "recursive"),
            ("riskloc", "riskloc"),
        ];
        let method = arguments
            .take_choice("method", &methods)?
            .unwrap_or("adtributor");
        let mut part = |name: &str, default: f64| -> Result<f64> {
            let found = arguments.take_positive(name)?.unwrap_or(default);
            match found < 1.0 {
                true => Ok(found),
                false => Err(arguments.invalid(
                    name,
                    &found.to_string(),
                    "a fraction of the change, such as 0.1",
                )),
            }
        };
        let (teep, tep) = (part("teep", 0.1)?, part("tep", 0.67)?);
        // A number is how many causes; a text names a column of a query of counts.
        let top = if is_number(arguments.peek("k")) {
            "k"
        } else {
            "top"
        };
        let most = match arguments.take_numbers(top)?.as_deref() {
            None => 3,
            Some([one]) => *one,
            Some(several) => {
                return Err(arguments.invalid(
                    top,
                    &format!("{several:?}"),
                    "one number, such as 3",
                ));
            }
        };
        let is_counts = arguments.is_over_query() && arguments.peek("period").is_some();
        let plain_dims = match is_counts {
            true => arguments.take_names("dims")?.0,
            false => Vec::new(),
        };
        let source = Source::take(arguments, NAME)?;
        arguments.look_at("dims");
        let dims = match &source {
            Source::Query(_) => Segments::new(plain_dims, false),
            Source::Funnel(changed) => {
                let funnel = &changed.call.funnel;
                let given = Segments::take_from(arguments, funnel, "dims")?;
                match given.names.is_empty() {
                    false => given,
                    true => {
                        let mut names: Vec<String> = funnel
                            .dimensions
                            .iter()
                            .map(|(name, _)| name.clone())
                            .collect();
                        names.extend(funnel.definition.owner.as_ref().map(|_| "owner".to_owned()));
                        Segments::new(names, false)
                    }
                }
            }
        };
        if dims.names.is_empty() {
            return Err(FunnelError::WrongCall {
                message: "root_cause() needs dimensions".to_owned(),
                hint: "Write dims => ['channel', 'region'].".to_owned(),
            }
            .into());
        }
        if method != "adtributor" && dims.names.len() > MOST_COMBINED {
            let found = format!("{} dimensions", dims.names.len());
            return Err(arguments.invalid("dims", &found, "at most 10, or method => 'adtributor'"));
        }
        Ok(Self {
            source,
            dims,
            measure,
            method,
            teep,
            tep,
            most,
            language,
        })
    }

    fn metric(&self) -> &'static str {
        let found = MEASURES
            .iter()
            .find(|(_, measure)| *measure == self.measure);
        found.map_or("", |(name, _)| *name)
    }

    fn query(&self) -> Result<String> {
        let mut names = vec![
            "dimension",
            "elements",
            "base_k",
            "base_n",
            "current_k",
            "current_n",
        ];
        if self.measure == Measure::Amount {
            names.extend([
                "base_amount",
                "base_squares",
                "current_amount",
                "current_squares",
            ]);
        }
        let dims: Vec<String> = self.dims.names.iter().map(|name| literal(name)).collect();
        let cause = format!(
            "root_causes(array_agg({}), ARRAY[{}], '{}', '{}', {:?}, {:?}, {})",
            cell_struct(&names),
            dims.join(", "),
            self.metric(),
            self.method,
            self.teep,
            self.tep,
            self.most,
        );
        // Each dimension has all journeys.
        let waiting = match self.method {
            "adtributor" => "sum(waiting) FILTER (WHERE dimension = 1)",
            _ => "sum(waiting)",
        };
        Ok(format!(
            "WITH cells AS (\n{}\n),\ncauses AS (\n  SELECT unnest({cause}) AS c, {waiting} AS waiting FROM cells\n),\nfound AS (\nSELECT\n{}\nFROM causes\n)\nSELECT\n{}\nFROM found\nORDER BY rank",
            self.cells()?,
            lines(&self.found()),
            lines(&self.result()),
        ))
    }

    /// The counts of each element of each dimension, or of each combination, in one pass.
    fn cells(&self) -> Result<String> {
        let columns = self.dims.columns();
        let text = |column: &String| format!("CAST({column} AS text)");
        let (dimension, elements, groups) = match self.method {
            "adtributor" => {
                let cases = |of: &dyn Fn(usize, &String) -> String| {
                    let cases: Vec<String> = columns
                        .iter()
                        .enumerate()
                        .map(|(at, column)| {
                            format!("WHEN grouping({column}) = 0 THEN {}", of(at, column))
                        })
                        .collect();
                    format!("CASE {} END", cases.join(" "))
                };
                let sets: Vec<String> =
                    columns.iter().map(|column| format!("({column})")).collect();
                match columns.as_slice() {
                    [only] => ("1".to_owned(), text(only), only.clone()),
                    _ => (
                        cases(&|at, _| (at + 1).to_string()),
                        cases(&|_, column| text(column)),
                        format!("GROUPING SETS ({})", sets.join(", ")),
                    ),
                }
            }
            _ => {
                let texts: Vec<String> = columns.iter().map(text).collect();
                ("0".to_owned(), texts.join(", "), columns.join(", "))
            }
        };
        let mut counted = vec![
            format!("{dimension} AS dimension"),
            format!("ARRAY[{elements}] AS elements"),
        ];
        counted.extend(self.source.aggregates(self.measure)?);
        Ok(format!(
            "SELECT\n{}\nFROM {}\nGROUP BY {groups}",
            lines(&counted),
            self.source.rows()
        ))
    }

    fn found(&self) -> Vec<String> {
        let names = [
            "rank",
            "dimension",
            "elements",
            "selection",
            "base_k",
            "base_n",
            "base",
            "current_k",
            "current_n",
            "current",
            "explanatory_power",
            "surprise",
            "contribution",
            "lo",
            "hi",
            "p",
            "q",
            "change",
            "change_lo",
            "change_hi",
            "total_base",
            "total_current",
        ];
        let mut columns: Vec<String> = names
            .iter()
            .map(|name| format!("c['{name}'] AS {name}"))
            .collect();
        columns.push(format!(
            "CASE WHEN {} THEN 'partial_period' WHEN waiting > 0 AND c['status'] <> 'no_data' THEN 'immature' ELSE c['status'] END AS status",
            self.source.is_cut()
        ));
        columns.push("c['status'] AS outcome".to_owned());
        columns
    }

    fn result(&self) -> Vec<String> {
        let own = [
            "rank",
            "dimension",
            "elements",
            "base_k",
            "base_n",
            "base",
            "current_k",
            "current_n",
            "current",
            "explanatory_power",
            "surprise",
            "contribution",
            "lo",
            "hi",
            "p",
            "q",
            "change",
            "change_lo",
            "change_hi",
            "total_base",
            "total_current",
        ];
        let mut columns: Vec<String> = own.map(str::to_owned).to_vec();
        // Numbers of what isn't over, or isn't all there, can't be compared, unless they are rates.
        let unready = match self.measure {
            Measure::Rate => "false",
            _ => "status IN ('partial_period', 'immature')",
        };
        let decision = format!(
            "CASE WHEN {unready} THEN status WHEN outcome <> 'ok' THEN outcome WHEN q < {SIGNIFICANT} THEN 'root_cause' ELSE 'uncertain' END"
        );
        columns.extend([
            format!("{} AS method", literal(self.method)),
            "status".to_owned(),
            format!("{decision} AS decision"),
            verdict_column(&self.verdict(&decision)),
            format!("{} AS drill_key", self.drill_key()),
        ]);
        columns
    }

    fn verdict(&self, decision: &str) -> String {
        let say = |en: &'static str, zh: &'static str, values: &[&str]| {
            self.language.sql(Words { en, zh }, values)
        };
        let (value, change): (Written, Written) = match self.measure {
            Measure::Rate => (in_percent, signed_points),
            Measure::Volume | Measure::Amount => (|number| fixed(number, 1), signed),
        };
        let what = match self.measure {
            Measure::Rate => say("The rate", "转化率", &[]),
            Measure::Volume => say("The number", "数量", &[]),
            Measure::Amount => say("The amount", "金额", &[]),
        };
        let points = match self.measure {
            Measure::Rate => say(" points", " 个百分点", &[]),
            _ => "''".to_owned(),
        };
        let [total_base, total_current, base, current] =
            ["total_base", "total_current", "base", "current"].map(value);
        let [all, all_lo, all_hi, own, lo, hi] = [
            "change",
            "change_lo",
            "change_hi",
            "contribution",
            "lo",
            "hi",
        ]
        .map(change);
        let went = say(
            "{} went from {} to {}: {}{} (between {} and {}). ",
            "{}从 {} 变为 {}：{}{}（区间 {} 至 {}）。",
            &[
                &what,
                &total_base,
                &total_current,
                &all,
                &points,
                &all_lo,
                &all_hi,
            ],
        );
        let elements = "dimension || ' = ' || array_to_string(elements, ', ', '(null)')";
        let found = say(
            "Of that, {}{} (between {} and {}) lie in {}, which went from {} to {}",
            "其中 {}{}（区间 {} 至 {}）来自 {}，它从 {} 变为 {}",
            &[&own, &points, &lo, &hi, elements, &base, &current],
        );
        let sure = say(", more than chance explains.", "，超出了偶然波动。", &[]);
        let uncertain = say(
            "; its own change could be chance.",
            "，其自身的变化可能出于偶然。",
            &[],
        );
        let chance = say(
            "Chance alone could do that, so there is no cause to look for.",
            "仅凭偶然也会如此，没有原因可查。",
            &[],
        );
        let spread = say(
            "No few elements of one dimension account for it: the change is spread.",
            "没有哪个维度的少数取值能解释它：变化是分散的。",
            &[],
        );
        let nothing = say(
            "One of the periods has no journeys that can be counted.",
            "其中一期没有可以计入的旅程。",
            &[],
        );
        let immature = say(
            "Some of these journeys haven't had their whole time.",
            "有些旅程还没走完应有的时间。",
            &[],
        );
        let partial = say(
            "One of the periods isn't over.",
            "其中一期还没有结束。",
            &[],
        );
        let waits = say(" They aren't counted.", "它们没有计入。", &[]);
        let suffix = format!(
            "CASE WHEN outcome = 'no_data' THEN '' WHEN status = 'immature' THEN ' ' || {immature} || {waits} WHEN status = 'partial_period' THEN ' ' || {partial} ELSE '' END"
        );
        let cannot = say(" The periods can't be compared yet.", "暂时不能比较。", &[]);
        format!(
            "CASE {decision} WHEN 'partial_period' THEN {partial} || {cannot} WHEN 'immature' THEN {immature} || {cannot} \
             WHEN 'no_data' THEN {nothing} WHEN 'within_chance' THEN {went} || {chance} || {suffix} WHEN 'no_concentration' THEN {went} || {spread} || {suffix} \
             WHEN 'root_cause' THEN {went} || {found} || {sure} || {suffix} ELSE {went} || {found} || {uncertain} || {suffix} END"
        )
    }

    fn drill_key(&self) -> String {
        let Source::Funnel(changed) = &self.source else {
            return "CAST(NULL AS text)".to_owned();
        };
        let key = changed.key();
        let mut own: Vec<(&str, String)> = key
            .iter()
            .map(|(name, value)| (*name, literal(value)))
            .collect();
        own.push(("metric", literal(self.metric())));
        own.push(("elements", "selection".to_owned()));
        changed.call.drill_key_of(NAME, &own, &[])
    }
}
