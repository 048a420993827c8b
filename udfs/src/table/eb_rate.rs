//! `eb_rate('funnel', by => 'channel')`: each segment's conversion rate once chance is taken out.
//!
//! The best of many small segments is mostly lucky. Each segment's true rate is taken as drawn from Beta(α, β), the one that makes
//! all segments' counts likeliest (beta-binomial marginal maximum likelihood); its rate is then `(k + α) / (n + α + β)`: one with
//! few journeys is drawn to the mean of all, one with many stays where it is.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion); over a query `segment` text alone
//! - over a funnel `stage`, `to_stage` text
//! - `k`, `n` bigint: of the mature journeys that entered `stage`, those that reached `to_stage`, and all
//! - `raw` = k / n
//! - `shrunk` double precision: the rate once chance is taken out; `lo`, `hi`: its 95 % credible interval
//! - `prior_alpha`, `prior_beta` double precision: the prior; NULL where there is none
//! - `method` text: `beta_binomial`; `pooled`: the rate of all segments together, with Jeffreys' interval; `jeffreys`: the segment's own
//! - `status` text: `ok`; `no_heterogeneity`: the rates differ by no more than chance, so each is that of all together;
//!   `one_group`: only one segment has journeys, so that nothing says how much segments differ; `separated`: each segment succeeds
//!   always or never; `no_data`: `n = 0`, the rates are NULL
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill); NULL over a query
//!
//! # Arguments
//! those of [`journeys`](super::journeys); `by`: what the segments are, as in [`stage_conversion`](super::stage_conversion);
//! `stage` (the first one), `to_stage` (the last one), `age`: as in [`funnel_trend`](super::funnel_trend).
//! Over any query with a row for each segment: `segment`, `k` and `n`, the names of its columns.
//!
//! The prior counts as known; with fewer than about ten segments the limits are somewhat too near.
//! Source: D. A. Griffiths, Biometrics 29 (1973), 637–648. Cost: one pass over the journeys; the fit has a row for each segment.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::conversion::Conversion;
use super::population::Population;
use super::sql::{self, lines};
use crate::definition::text::{identifier, literal, written};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["by", "to_stage", "age", "segment", "k", "n"]),
    plan,
    population: Some(|arguments| {
        let (conversion, call) = take(arguments)?;
        Ok(population(&conversion, &call))
    }),
    info,
};

const NAME: &str = "eb_rate";

/// The function's own columns.
const COLUMNS: [&str; 14] = [
    "segment",
    "stage",
    "to_stage",
    "k",
    "n",
    "raw",
    "shrunk",
    "lo",
    "hi",
    "prior_alpha",
    "prior_beta",
    "method",
    "status",
    "drill_key",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, by text, stage text DEFAULT NULL, to_stage text DEFAULT NULL, \
             age double precision DEFAULT NULL, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Each segment's conversion rate once chance is taken out (empirical Bayes)."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    if arguments.is_over_query() && arguments.peek("entity").is_none() {
        let query = over_query(arguments)?;
        return sql::plan(arguments, &[], &query);
    }
    let (conversion, call) = take(arguments)?;
    sql::plan(arguments, call.written(), &over_funnel(&conversion, &call))
}

fn take(arguments: &mut Arguments) -> Result<(Conversion, Call)> {
    for name in ["segment", "k", "n"] {
        if arguments.take(name).is_some() {
            return Err(wrong_call(&format!(
                "{name} names a column of a query, and this is over a funnel"
            )));
        }
    }
    let (conversion, call) = Conversion::take(arguments)?;
    if call.segments.names.is_empty() {
        return Err(wrong_call("eb_rate() needs by"));
    }
    Ok((conversion, call))
}

fn wrong_call(message: &str) -> datafusion::error::DataFusionError {
    FunnelError::WrongCall {
        message: message.to_owned(),
        hint: "Write eb_rate('sales', by => 'channel'), or eb_rate((SELECT …), segment => 'channel', k => 'won', n => 'leads')."
            .to_owned(),
    }
    .into()
}

fn population(conversion: &Conversion, call: &Call) -> Population {
    let mut columns = vec!["*".to_owned()];
    columns.extend(conversion.ages(call, "__entered_at"));
    Population {
        funnel: call.funnel(),
        rows: format!(
            "(SELECT {} FROM {}) AS aged",
            columns.join(", "),
            conversion.entered(call)
        ),
        of_stages: false,
        cell: call.segments.cell(),
        parameters: Vec::new(),
        counts: vec![("n", conversion.n()), ("k", conversion.k())],
    }
}

fn over_funnel(conversion: &Conversion, call: &Call) -> String {
    let population = population(conversion, call);
    let mut counted = call.segments.projected();
    counted.extend(population.counted());
    let mut shown = call.segments.shown(&COLUMNS);
    shown.extend([
        format!("{} AS segment", call.segments.text()),
        format!("{} AS stage", literal(conversion.stage(call))),
        format!("{} AS to_stage", literal(conversion.to_stage(call))),
    ]);
    let key = call.drill_key(NAME, &conversion.key(call), &call.segments.grouped_cell());
    query(
        &format!(
            "SELECT\n{}\nFROM {}\nGROUP BY {}",
            lines(&counted),
            population.rows,
            call.segments.columns().join(", ")
        ),
        shown,
        &key,
        &call.segments.grouped(),
    )
}

fn over_query(arguments: &mut Arguments) -> Result<String> {
    let mut column = |name: &str| -> Result<String> {
        match arguments.take_text(name)? {
            Some(column) => Ok(identifier(&column)),
            None => Err(wrong_call(&format!("eb_rate() over a query needs {name}"))),
        }
    };
    let (segment, k, n) = (column("segment")?, column("k")?, column("n")?);
    for name in call::arguments(&["by", "to_stage", "age"]) {
        if arguments.take(name).is_some() {
            return Err(wrong_call(&format!(
                "{name} of eb_rate() is about a funnel, and this is a query"
            )));
        }
    }
    let first = arguments.only_positional()?;
    let SqlExpr::Subquery(rows) = &first else {
        return Err(arguments.invalid("the rows", &first.to_string(), "a query in parentheses"));
    };
    let counted = format!(
        "SELECT CAST({segment} AS text) AS segment_1, {k} AS k, {n} AS n FROM ({}) AS given",
        written(rows)
    );
    let shown = vec!["segment_1 AS segment".to_owned()];
    let order = ["segment_1", "n", "k"].map(str::to_owned);
    Ok(query(&counted, shown, "CAST(NULL AS text)", &order))
}

/// The rates of `counted`, a query with the counts of each segment.
fn query(counted: &str, mut shown: Vec<String>, key: &str, order: &[String]) -> String {
    let known = |value: &str| format!("CASE WHEN n > 0 THEN {value} END");
    let is_pooled = "prior['status'] = 'no_heterogeneity'";
    let either = |part: &str, plain: &str| {
        let value = format!("coalesce(posterior['{part}'], plain['{plain}'])");
        format!("{} AS {part}", known(&value))
    };
    shown.extend([
        "k".to_owned(),
        "n".to_owned(),
        format!("{} AS raw", known("k / CAST(n AS double precision)")),
        either("shrunk", "rate"),
        either("lo", "lo"),
        either("hi", "hi"),
        "prior['alpha'] AS prior_alpha".to_owned(),
        "prior['beta'] AS prior_beta".to_owned(),
        format!(
            "{} AS method",
            known(&format!(
                "CASE WHEN prior['alpha'] IS NOT NULL THEN 'beta_binomial' WHEN {is_pooled} THEN 'pooled' ELSE 'jeffreys' END"
            ))
        ),
        "CASE WHEN n > 0 THEN prior['status'] ELSE 'no_data' END AS status".to_owned(),
        format!("{key} AS drill_key"),
    ]);
    format!(
        "WITH counted AS (\n{counted}\n),\nfitted AS (\n  SELECT eb_prior(k, n) AS prior FROM counted\n)\nSELECT\n{}\n\
         FROM (\n  SELECT counted.*, prior,\n         eb_interval(k, n, prior['alpha'], prior['beta']) AS posterior,\n         \
         rate_ci(CASE WHEN {is_pooled} THEN prior['k'] ELSE k END, CASE WHEN {is_pooled} THEN prior['n'] ELSE n END, 0.95, 'jeffreys') AS plain\n  \
         FROM counted CROSS JOIN fitted\n) AS estimated\nORDER BY {}",
        lines(&shown),
        order.join(", ")
    )
}
