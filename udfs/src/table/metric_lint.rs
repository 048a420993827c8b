//! `metric_lint()`: what is wrong with the company's own metrics.
//!
//! One row for each fault of a metric's newest version; no row where there is none.
//!
//! # Columns
//! - `metric` text, `version` integer
//! - `problem` text:
//!   - `shared_name`: two metrics go by one name, in SQL, English or Chinese
//!   - `numerator_outside_denominator`: something may be counted above that isn't counted below, so that the rate may
//!     exceed 1; the numerator's conditions, joined by AND, must begin with the denominator's, in any order
//!   - `no_maturity_rule`: the denominator counts journeys that haven't had their time yet, so that young periods look bad
//!   - `funnel_missing`: its funnel is no more
//! - `detail` text: what was found; `hint` text: what to write instead
//!
//! Cost: nothing is read but the dictionary.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

use super::TableFunction;
use super::arguments::Arguments;
use super::sql;
use crate::definition::metric::{METRICS, MetricDefinition};
use crate::definition::resolve::parse_expression;
use crate::definition::text::{literal, written};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "metric_lint",
    arguments: Vec::new,
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "metric_lint".to_owned(),
        kind: FunctionKind::Table,
        arguments: String::new(),
        result: "SETOF record".to_owned(),
        description: "What is wrong with the company's own metrics.".to_owned(),
    }
}

/// Something wrong with a metric.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    problem: &'static str,
    detail: String,
    hint: String,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    arguments.no_positional()?;
    let metrics = arguments.lookup().metrics();
    let funnels = arguments.lookup().funnels();
    let mut rows = Vec::new();
    for (at, metric) in metrics.iter().enumerate() {
        let mut faults = shared_names(metric, &metrics[..at]);
        faults.extend(rate_faults(metric));
        if !funnels.contains(&metric.funnel) {
            faults.push(Fault {
                problem: "funnel_missing",
                detail: format!("funnel \"{}\" does not exist", metric.funnel),
                hint: "Create the funnel again, or drop the metric.".to_owned(),
            });
        }
        rows.extend(faults.iter().map(|fault| row(metric, fault)));
    }
    let query = match rows.is_empty() {
        // VALUES needs a row.
        true => "SELECT CAST('' AS text) AS metric, CAST(1 AS integer) AS version, '' AS problem, '' AS detail, '' AS hint WHERE false".to_owned(),
        false => format!(
            "SELECT * FROM (VALUES {}) AS faults(metric, version, problem, detail, hint)",
            rows.join(",\n")
        ),
    };
    sql::plan(arguments, &[], &query)
}

fn row(metric: &MetricDefinition, fault: &Fault) -> String {
    format!(
        "({}, CAST({} AS integer), '{}', {}, {})",
        literal(&metric.name),
        metric.version,
        fault.problem,
        literal(&fault.detail),
        literal(&fault.hint)
    )
}

fn names(metric: &MetricDefinition) -> Vec<String> {
    let names = [
        Some(&metric.name),
        metric.name_en.as_ref(),
        metric.name_zh.as_ref(),
    ];
    names
        .into_iter()
        .flatten()
        .map(|name| name.to_lowercase())
        .collect()
}

/// Names that a metric shares with one before it, or with a built-in one.
fn shared_names(
    metric: &MetricDefinition,
    before: &[std::sync::Arc<MetricDefinition>],
) -> Vec<Fault> {
    let mut taken: Vec<(String, String)> = Vec::new();
    for other in before {
        taken.extend(
            names(other)
                .into_iter()
                .map(|name| (name, other.name.clone())),
        );
    }
    for other in &METRICS {
        let names = [other.name, other.names.en, other.names.zh];
        taken.extend(names.map(|name| (name.to_lowercase(), other.name.to_owned())));
    }
    let mut faults = Vec::new();
    for name in names(metric) {
        if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == name) {
            let fault = Fault {
                problem: "shared_name",
                detail: format!("\"{name}\" is also what metric \"{other}\" is called"),
                hint: "Give it a name of its own, or use the other metric.".to_owned(),
            };
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    faults
}

fn rate_faults(metric: &MetricDefinition) -> Vec<Fault> {
    let Some(rate) = metric.rate() else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    let above = conjuncts(&rate.k);
    let outside: Vec<String> = conjuncts(&rate.n)
        .into_iter()
        .filter(|condition| condition != "true" && !above.contains(condition))
        .collect();
    if !outside.is_empty() {
        faults.push(Fault {
            problem: "numerator_outside_denominator",
            detail: format!("the numerator doesn't ask for {}", outside.join(" AND ")),
            hint: "Repeat the denominator's conditions in the numerator.".to_owned(),
        });
    }
    if !words(&rate.n).any(|word| word == "mature") {
        faults.push(Fault {
            problem: "no_maturity_rule",
            detail: "the denominator counts journeys whose window isn't over".to_owned(),
            hint: "Count journeys WHERE mature, above and below.".to_owned(),
        });
    }
    faults
}

/// The conditions that are joined by AND.
fn conjuncts(condition: &str) -> Vec<String> {
    fn split(expression: &Expr, found: &mut Vec<String>) {
        match expression {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::And,
                right,
            } => {
                split(left, found);
                split(right, found);
            }
            Expr::Nested(inner) => split(inner, found),
            other => found.push(written(other).to_lowercase()),
        }
    }
    let mut found = Vec::new();
    if let Ok(expression) = parse_expression(condition) {
        split(&expression, &mut found);
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|character: char| !character.is_alphanumeric() && character != '_');
    words.map(str::to_lowercase).collect::<Vec<_>>().into_iter()
}
