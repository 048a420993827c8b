//! `cycle_drivers('funnel', covariates => ['ln(value)', 'channel'])`: what makes deals win sooner or later.
//!
//! A cause-specific Cox regression (Cox 1972, ties by Efron 1977) of the time from the start to winning: open deals are censored, lost ones leave without winning. Beside it
//! the time ratio of a Weibull accelerated failure time model of the same covariates.
//!
//! # Columns
//! - `term` text: a numeric covariate as it was written, or `channel = web`, a value against the most frequent one
//! - `n` bigint: journeys in the model, those with every covariate, and of a value those that have it; `events` bigint: of these, those that won
//! - `hazard_ratio` double precision: how many times as fast deals win for one unit more, or with that value; `lo`, `hi`: its 95 % Wald interval; `p`: of the
//!   hypothesis that it is 1
//! - `time_ratio` double precision: how many times as long winning takes; `time_lo`, `time_hi`: its 95 % interval
//! - `status` text: `ok`; `reference`: the value that the others are compared with; `no_variation`: the covariate is the same everywhere, or a sum of others; `separated`: one value wins always or never, so that there is no estimate;
//!   `no_events`: nobody won. The estimates are NULL where it isn't `ok`
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! those of [`journeys`](super::journeys); `covariates`: expressions over its columns, or texts of them; numbers and conditions enter as they are, texts as values
//! against the most frequent one.
//!
//! What is associated isn't a cause: nobody dealt the deals out at random. Cost: one pass over the journeys, a sort, and some passes over the sorted rows.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{ExprSchemable, LogicalPlan};
use serde_json::json;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::population::Population;
use super::{default_options, sql};
use crate::definition::journeys::journeys;
use crate::definition::resolve::parse_expression;
use crate::definition::text::literal;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["covariates"]),
    plan,
    population: Some(|arguments| {
        let (call, covariates) = take(arguments)?;
        Ok(population(&call, &covariates))
    }),
    info,
};

const NAME: &str = "cycle_drivers";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!("funnel text, covariates text[], {}", call::SIGNATURE),
        result: "SETOF record".to_owned(),
        description: "What makes deals win sooner or later (cause-specific Cox regression)."
            .to_owned(),
    }
}

/// The covariates as they were written, and as SQL of their kind.
#[derive(Default)]
struct Covariates {
    numbers: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    /// As they were written, in their order.
    given: Vec<String>,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let (call, covariates) = take(arguments)?;
    sql::plan(arguments, call.written(), &query(&call, &covariates))
}

fn take(arguments: &mut Arguments) -> Result<(Call, Covariates)> {
    let written = arguments.take_expressions("covariates")?;
    if written.is_empty() {
        return Err(FunnelError::WrongCall {
            message: "cycle_drivers() needs covariates".to_owned(),
            hint: "Write covariates => ['ln(value)', 'channel'].".to_owned(),
        }
        .into());
    }
    let call = Call::take_without_segments(arguments)?;
    arguments.look_at("covariates");
    let covariates = covariates(arguments, &call, written)?;
    Ok((call, covariates))
}

/// The journeys of the model, once for each term that they are of.
fn population(call: &Call, covariates: &Covariates) -> Population {
    let number = |(name, _): &(String, String)| literal(name);
    let label =
        |(name, value): &(String, String)| format!("{} || {value}", literal(&format!("{name} = ")));
    let numbers = covariates.numbers.iter().map(number);
    let terms: Vec<String> = numbers.chain(covariates.labels.iter().map(label)).collect();
    // What `cox_fit` leaves out: nothing, NaN and the infinite.
    let finite = |(_, value): &(String, String)| format!("abs({value}) <= {:e}", f64::MAX);
    let known = |(_, value): &(String, String)| format!("{value} IS NOT NULL");
    let numbers = covariates.numbers.iter().map(finite);
    let used: Vec<String> = numbers.chain(covariates.labels.iter().map(known)).collect();
    Population {
        funnel: call.funnel(),
        rows: format!(
            "(SELECT *, unnest(ARRAY[{}]) AS __term FROM {} WHERE {}) AS terms",
            terms.join(", "),
            call.journeys(),
            used.join(" AND ")
        ),
        of_stages: false,
        cell: vec![("term".to_owned(), "__term".to_owned())],
        parameters: Vec::new(),
        counts: vec![
            ("n", "true".to_owned()),
            ("events", "status = 'won'".to_owned()),
        ],
    }
}

fn covariates(arguments: &mut Arguments, call: &Call, written: Vec<String>) -> Result<Covariates> {
    let schema = journeys(&call.funnel, &default_options(&call.funnel, None))?;
    let mut covariates = Covariates {
        given: written.clone(),
        ..Covariates::default()
    };
    for text in written {
        let expression = parse_expression(&text)?;
        let planned = arguments
            .context()
            .sql_to_expr(expression, schema.schema())?;
        let data_type = planned.get_type(schema.schema())?;
        match data_type {
            DataType::Boolean => {
                let number = format!("CASE WHEN ({text}) THEN 1.0 WHEN NOT ({text}) THEN 0.0 END");
                covariates.numbers.push((text, number));
            }
            found if found.is_numeric() => {
                let number = format!("CAST(({text}) AS double precision)");
                covariates.numbers.push((text, number));
            }
            found if found.is_string() => {
                let label = format!("CAST(({text}) AS text)");
                covariates.labels.push((text, label));
            }
            found => {
                return Err(FunnelError::WrongType {
                    message: format!("a covariate must be a number, a condition or a text, but {text} is of type {found}"),
                    hint: "Turn it into a number or a text.".to_owned(),
                }
                .into());
            }
        }
    }
    Ok(covariates)
}

fn query(call: &Call, covariates: &Covariates) -> String {
    let array = |values: &[(String, String)], of: &str| match values.is_empty() {
        true => format!("CAST(ARRAY[] AS {of}[])"),
        false => {
            let values: Vec<&str> = values.iter().map(|(_, value)| value.as_str()).collect();
            format!("ARRAY[{}]", values.join(", "))
        }
    };
    let terms = covariates.numbers.iter().chain(&covariates.labels);
    let terms: Vec<String> = terms.map(|(name, _)| literal(name)).collect();
    let days = format!(
        "greatest((CAST(coalesce(ended_at, {}) AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0)",
        call.as_of()
    );
    let columns = [
        "term",
        "n",
        "events",
        "hazard_ratio",
        "lo",
        "hi",
        "p",
        "time_ratio",
        "time_lo",
        "time_hi",
        "status",
    ];
    let columns = columns.map(|name| format!("driver['{name}'] AS {name}"));
    let own = [("covariates", json!(covariates.given).to_string())];
    let cell = [("term".to_owned(), "driver['term']".to_owned())];
    format!(
        "SELECT {}, {} AS drill_key
FROM (
  SELECT unnest(cox_fit({days}, status, {}, {}, ARRAY[{}])) AS driver
  FROM {}
) AS drivers",
        columns.join(", "),
        call.drill_key(NAME, &own, &cell),
        array(&covariates.numbers, "double precision"),
        array(&covariates.labels, "text"),
        terms.join(", "),
        call.journeys(),
    )
}
