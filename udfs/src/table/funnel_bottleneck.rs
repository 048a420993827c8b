//! `funnel_bottleneck('funnel', benchmark => 'best_segment', by => 'region')`: at which stage a better rate would bring most.
//!
//! The stage with the lowest rate is seldom the one to push. Of `N` mature journeys that entered the funnel, a stage `k` that passed
//! as many as its benchmark `b` would bring `gain = N·Π_{j≠k} r_j·(b - r_k)·pass_through` more wins, and the stages are ranked by
//! that.
//!
//! # Columns
//! - `stage_no` integer, `stage` text: every stage but the last; ordered by rank
//! - `k`, `n` bigint: of the mature journeys that entered the stage, those that went on, and all
//! - `rate` = k / n, with `lo` and `hi`, its 95 % Wilson interval; NULL where nobody entered
//! - `benchmark` double precision: the rate that it is held against; `benchmark_source` text: where that is from: `target`; the best
//!   segment; the period before; the table's `source`
//! - `gap` = benchmark - rate
//! - `gain` double precision: what the benchmark would bring at the end of the funnel, in `value`; 0 where the stage is better than
//!   its benchmark. `gain_lo`, `gain_hi`: its 95 % interval (delta method), not below 0; `p_gain_positive`: the probability that it
//!   is above 0
//! - `rank` bigint: by `gain`; NULL where there is none
//! - `imputed` boolean: nobody entered the stage, and its benchmark stands in the place of its rate, so that the stage before it,
//!   which lets nobody pass, has a gain
//! - `pass_through` double precision, `value` text: as they were given
//! - `method` text: how the benchmark was found: `target`, `best_segment`, `previous`, `table`
//! - `status` text: `ok`; `no_benchmark`; `no_data`: nobody entered the stage, or what another one passes isn't known; `product_zero`:
//!   another stage passes nobody, so that this one's benchmark brings nothing by itself; of the best segment also
//!   `no_heterogeneity` (segments differ by no more than chance), `one_group`, `separated`
//! - `decision` text: `push_first`, `push` (the gain is beyond chance), `not_sure` (there is a gain, but its interval holds 0),
//!   `at_benchmark`, `blocked` (another stage passes nobody), `no_data`, `no_benchmark`
//! - `verdict` text: the same in a sentence
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! With `value => 'days'` the question is at which stage time is lost. The columns from `rate` to `imputed` are then
//! - `days` double precision: the mean days in the stage up to `tau` (restricted mean survival time: who is still in it counts for as
//!   long as it was seen), with `lo` and `hi`; NULL where the longest time is shorter than `tau` and some are still in it
//! - `benchmark`, `benchmark_source`, `gap` = days - benchmark
//! - `gain`, `gain_lo`, `gain_hi`: the days that a journey through the stage would save
//! - `velocity_gain`: by how much the whole cycle, the sum of `days`, would be faster: 0.1 is a tenth more deals in the same time
//! - `rank`, `tau`; and `n`, `k` are the journeys whose time in the stage is known, and of these those that went on
//!
//! # Arguments
//! those of [`journeys`](super::journeys);
//! `benchmark`: `target` (the `TARGETS` of the funnel: `pass_rate`, or `stage_days`, of each stage, the newest one), `best_segment`
//! (with `by`), `previous` (with `current` and `base`, as `'2026-Q1'`), `table` (with `benchmarks`); where it isn't given, that whose
//! argument is;
//! `by`: names of dimensions, the segments of which the best is the benchmark. Its rate is shrunk first as by
//! [`eb_rate`](super::eb_rate), and the benchmark is the highest *lower* bound of all: the highest rate of many is mostly luck;
//! `current`, `base`: journeys that started in these periods;
//! `benchmarks`: a query in parentheses with the columns `stage` and `value`, and maybe `n` (of how many the value is a rate),
//! `metric` and `source`;
//! `value`: `wins`; `amount`: the wins times the mean value of the won; `margin`: times `margin` as well; `days`. Over a query it
//! names the column of the amount, and the gain is in that;
//! `margin`: the share of an amount that is earned, such as `0.3`;
//! `pass_through` (1): how much of a stage's improvement reaches the end; published cases came to 0.4;
//! `tau` (90): days; `lang`: `en`, `zh`.
//!
//! The rates are multiplied, as if who passes one stage more easily were as likely to pass the next one. Sources: L. A. Goodman,
//! JASA 55 (1960), 708–713; Royston and Parmar 2013. Cost: one pass over the journeys.

mod benchmark;
mod days;
mod verdict;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::compared::Compared;
use super::language::Language;
use super::population::Population;
use super::sql::{self, lines};
use super::wording::verdict_column;
use crate::definition::text::literal;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};
use benchmark::Benchmark;

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        call::arguments(&[
            "by",
            "benchmark",
            "benchmarks",
            "current",
            "base",
            "margin",
            "pass_through",
            "tau",
            "lang",
        ])
    },
    plan,
    population: Some(|arguments| Ok(Bottleneck::take_counted(arguments)?.population())),
    info,
};

const NAME: &str = "funnel_bottleneck";
const DEFAULT_TAU: f64 = 90.0;

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, benchmark text DEFAULT NULL, by text DEFAULT NULL, current text DEFAULT NULL, base text DEFAULT NULL, \
             benchmarks record DEFAULT NULL, value text DEFAULT 'wins', margin double precision DEFAULT NULL, \
             pass_through double precision DEFAULT 1, tau double precision DEFAULT 90, lang text DEFAULT 'en', {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description:
            "At which stage of a funnel a better rate, or less time, would bring most, and how sure that is."
                .to_owned(),
    }
}

/// What a gain is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Wins,
    Amount,
    Margin,
    Days,
}

impl Value {
    const NAMES: [(&'static str, Value); 4] = [
        ("wins", Value::Wins),
        ("amount", Value::Amount),
        ("margin", Value::Margin),
        ("days", Value::Days),
    ];

    fn name(self) -> &'static str {
        match self {
            Value::Wins => "wins",
            Value::Amount => "amount",
            Value::Margin => "margin",
            Value::Days => "days",
        }
    }
}

/// One call's arguments.
struct Bottleneck {
    call: Call,
    benchmark: Benchmark,
    value: Value,
    /// The share of an amount that counts.
    margin: Option<f64>,
    pass_through: f64,
    tau: f64,
    language: Language,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let bottleneck = Bottleneck::take(arguments)?;
    let query = match bottleneck.value {
        Value::Days => bottleneck.days_query(),
        _ => bottleneck.query(),
    };
    sql::plan(arguments, bottleneck.call.written(), &query)
}

impl Bottleneck {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let value = match (arguments.is_over_query(), arguments.peek("value")) {
            // There it names the column of the amount.
            (true, Some(_)) => Value::Amount,
            (true, None) => Value::Wins,
            (false, _) => arguments
                .take_choice("value", &Value::NAMES)?
                .unwrap_or(Value::Wins),
        };
        let margin = arguments.take_positive("margin")?;
        if (value == Value::Margin) != margin.is_some() {
            return Err(FunnelError::WrongCall {
                message: match margin {
                    Some(_) => "margin of funnel_bottleneck() needs value => 'margin'".to_owned(),
                    None => "funnel_bottleneck() needs margin where value is \"margin\"".to_owned(),
                },
                hint:
                    "Write value => 'margin', margin => 0.3: the share of an amount that is earned."
                        .to_owned(),
            }
            .into());
        }
        let pass_through = arguments.take_positive("pass_through")?.unwrap_or(1.0);
        let tau = arguments.take_positive("tau")?.unwrap_or(DEFAULT_TAU);
        let language = Language::take(arguments)?;
        let given = benchmark::Given::take(arguments)?;
        let call = Call::take(arguments)?;
        let benchmark = given.of(arguments, &call)?;
        Ok(Self {
            call,
            benchmark,
            value,
            margin,
            pass_through,
            tau,
            language,
        })
    }

    /// What a drill key's arguments say: which journeys are counted, and not what they are held against.
    fn take_counted(arguments: &mut Arguments) -> Result<Self> {
        let value = arguments.take_choice("value", &Value::NAMES)?;
        let benchmark = match arguments.peek("current") {
            Some(_) => Benchmark::Previous(Compared::take(arguments, NAME)?),
            None => Benchmark::Target,
        };
        Ok(Self {
            call: Call::take(arguments)?,
            benchmark,
            value: value.unwrap_or(Value::Wins),
            margin: None,
            pass_through: 1.0,
            tau: DEFAULT_TAU,
            language: Language::default(),
        })
    }

    fn compared(&self) -> Option<&Compared> {
        match &self.benchmark {
            Benchmark::Previous(compared) => Some(compared),
            _ => None,
        }
    }

    /// Each journey and stage that counts; `held` is the condition of a journey's start.
    fn rows_of(&self, held: Option<String>) -> String {
        match held {
            None => self.call.journey_stages(),
            Some(held) => format!(
                "(SELECT * FROM {} WHERE {held}) AS of_period",
                self.call.journey_stages()
            ),
        }
    }

    fn rows(&self) -> String {
        let compared = self.compared();
        self.rows_of(compared.map(|compared| compared.current.holds("started_at")))
    }

    /// Conditions of `n` and `k`.
    fn counts(&self) -> Vec<(&'static str, String)> {
        let counted = match self.value {
            Value::Days => "stage_days IS NOT NULL",
            _ => "mature",
        };
        vec![
            ("n", counted.to_owned()),
            ("k", format!("{counted} AND stage_outcome = 'passed'")),
        ]
    }

    fn population(&self) -> Population {
        Population {
            funnel: self.call.funnel(),
            rows: self.rows(),
            of_stages: true,
            cell: vec![("stage".to_owned(), "stage".to_owned())],
            parameters: Vec::new(),
            counts: self.counts(),
        }
    }

    fn drill_key(&self) -> String {
        // Rates are counted in the same way whatever they are worth.
        let mut own = match self.value {
            Value::Days => vec![("value", self.value.name().to_owned())],
            _ => Vec::new(),
        };
        own.extend(self.compared().map(Compared::key).unwrap_or_default());
        let cell = ("stage".to_owned(), "stages.stage".to_owned());
        self.call.drill_key(NAME, &own, &[cell])
    }

    /// `(VALUES …)` of every stage but the last.
    fn stage_rows(&self) -> String {
        let names = self.call.funnel.stage_names();
        let rated = names.len().saturating_sub(1);
        let rows = (1..)
            .zip(&names[..rated])
            .map(|(no, name)| format!("({no}, {})", literal(name)));
        rows.collect::<Vec<_>>().join(", ")
    }

    /// What one more win is worth: `mean` and `se`.
    fn worth(&self) -> String {
        let pass_through = self.pass_through;
        if self.value == Value::Wins {
            return format!(
                "SELECT CAST({pass_through} AS double precision) AS mean, CAST(0.0 AS double precision) AS se"
            );
        }
        let scale = pass_through * self.margin.unwrap_or(1.0);
        let held = self.compared().map_or(String::new(), |compared| {
            format!(" AND {}", compared.current.holds("started_at"))
        });
        format!(
            "SELECT {scale} * avg(value) AS mean, coalesce({scale} * stddev(value) / sqrt(CAST(count(value) AS double precision)), 0.0) AS se\n  \
             FROM {} WHERE status = 'won'{held}",
            self.call.journeys()
        )
    }

    fn query(&self) -> String {
        let population = self.population();
        let mut counted = vec!["stage_no".to_owned()];
        counted.extend(population.counted());
        let list =
            |value: &str| format!("array_agg(CAST({value} AS double precision) ORDER BY stage_no)");
        format!(
            "WITH {benchmarks},\ncounted AS (\nSELECT\n{counted}\nFROM {rows}\nGROUP BY stage_no\n),\n\
             worth AS (\n  {worth}\n),\n\
             stages AS (\n  SELECT named.stage_no, named.stage, coalesce(c.k, 0) AS k, coalesce(c.n, 0) AS n,\n         \
             b.benchmark, b.benchmark_se, b.benchmark_source, b.status AS benchmark_status\n  \
             FROM (VALUES {stage_rows}) AS named(stage_no, stage)\n  \
             LEFT JOIN counted AS c ON c.stage_no = named.stage_no\n  \
             LEFT JOIN benchmarks AS b ON b.stage = named.stage\n),\n\
             gains AS (\n  SELECT unnest(bottleneck_gains(ks, ns, bs, es, worth.mean, worth.se)) AS gain\n  \
             FROM (\n    SELECT {k} AS ks, {n} AS ns, {b} AS bs, {e} AS es FROM stages\n  ) AS lists CROSS JOIN worth\n),\n\
             judged AS (\n{judged}\n)\n\
             SELECT\n{result}\nFROM judged AS stages\nORDER BY rank NULLS LAST, stage_no",
            benchmarks = self.benchmark.rates(self),
            counted = lines(&counted),
            rows = population.rows,
            worth = self.worth(),
            stage_rows = self.stage_rows(),
            k = list("k"),
            n = list("n"),
            b = list("benchmark"),
            e = list("benchmark_se"),
            judged = self.judged(),
            result = lines(&self.result()),
        )
    }

    /// The gains beside the stages, ranked, with the decision.
    fn judged(&self) -> String {
        "SELECT gained.*,\n       CASE WHEN gain > 0 THEN row_number() OVER (ORDER BY CASE WHEN gain > 0 THEN gain END DESC NULLS LAST, stage_no) END AS rank\n\
         FROM (\n  SELECT stages.*, CASE WHEN n > 0 THEN k / CAST(n AS double precision) END AS rate,\n         \
         gain['gain'] AS gain, gain['lo'] AS gain_lo, gain['hi'] AS gain_hi, gain['p_positive'] AS p_gain_positive,\n         \
         coalesce(gain['imputed'], false) AS imputed,\n         \
         CASE WHEN coalesce(gain['status'], 'no_data') <> 'ok' THEN coalesce(gain['status'], 'no_data')\n              \
         ELSE coalesce(benchmark_status, 'ok') END AS status,\n         \
         coalesce(gain['status'], 'no_data') AS gain_status\n  \
         FROM stages LEFT JOIN gains ON gain['stage_no'] = stage_no\n) AS gained"
            .to_owned()
    }

    fn result(&self) -> Vec<String> {
        let decision = verdict::decision();
        vec![
            "CAST(stage_no AS integer) AS stage_no".to_owned(),
            "stage".to_owned(),
            "k".to_owned(),
            "n".to_owned(),
            "rate".to_owned(),
            "rate_lower(k, n) AS lo".to_owned(),
            "rate_upper(k, n) AS hi".to_owned(),
            "benchmark".to_owned(),
            "benchmark_source".to_owned(),
            "benchmark - rate AS gap".to_owned(),
            "gain".to_owned(),
            "gain_lo".to_owned(),
            "gain_hi".to_owned(),
            "p_gain_positive".to_owned(),
            "rank".to_owned(),
            "imputed".to_owned(),
            format!(
                "CAST({} AS double precision) AS pass_through",
                self.pass_through
            ),
            format!("{} AS value", literal(self.value.name())),
            format!("{} AS method", literal(self.benchmark.name())),
            "status".to_owned(),
            format!("{decision} AS decision"),
            verdict_column(&self.verdict(&decision)),
            format!("{} AS drill_key", self.drill_key()),
        ]
    }
}
