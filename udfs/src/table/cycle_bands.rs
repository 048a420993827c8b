//! `cycle_bands('funnel', size => …, experience => …)`: how long the cycle takes and how often it is won, in bands of two things.
//!
//! # Columns
//! - `size`, `experience` text: the values of the two expressions; `(null)` where they are NULL
//! - `n`, `won`, `lost`, `open` bigint: journeys, and how they ended so far; `open` are also those whose window ended
//! - `p25_days`, `median_days`, `p75_days` double precision: days by which a quarter, a half, three quarters of those that will win have won
//! - `win_rate` double precision: the share that has won by the longest time that was watched
//! - `status` text: `ok`; `no_events`: nobody has won
//!
//! All are of the Aalen–Johansen estimate (1978) of the cumulative incidence of winning: open journeys are censored, lost ones compete. The quantiles are
//! of its share of `win_rate`.
//!
//! # Arguments
//! those of [`journeys`](super::journeys); `size`, `experience`: expressions over its columns, such as
//! `CASE WHEN value < 20000 THEN 'small' ELSE 'large' END`, or texts of them; a number is a band of its own.
//!
//! Cost: one pass over the journeys.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::sql;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "cycle_bands",
    arguments: || call::arguments(&["size", "experience"]),
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "cycle_bands".to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, size text, experience text, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "How long the cycle takes and how often it is won, in bands of two things."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let band = |arguments: &mut Arguments, name: &str| -> Result<String> {
        let text = arguments.condition_text(name)?;
        arguments.take(name);
        match text {
            Some(text) => Ok(format!("coalesce(CAST(({text}) AS text), '(null)')")),
            None => Err(FunnelError::WrongCall {
                message: format!("cycle_bands() needs {name}"),
                hint: "Write size => CASE WHEN value < 20000 THEN 'small' ELSE 'large' END, experience => owner."
                    .to_owned(),
            }
            .into()),
        }
    };
    let (size, experience) = (band(arguments, "size")?, band(arguments, "experience")?);
    let call = Call::take_without_segments(arguments)?;
    let days = format!(
        "greatest((CAST(coalesce(ended_at, {}) AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0)",
        call.as_of()
    );
    let quantile = |q: f64, name: &str| {
        format!(
            "CASE WHEN won > 0 THEN incidence_quantile(life_table, {q} * win_rate) END AS {name}"
        )
    };
    let query = format!(
        "SELECT size, experience, n, won, lost, open, {}, {}, {}, win_rate,
  CASE WHEN won > 0 THEN 'ok' ELSE 'no_events' END AS status
FROM (
  SELECT *, incidence_curve(life_table)[-1]['cif_won'] AS win_rate
  FROM (
    SELECT {size} AS size, {experience} AS experience, count(*) AS n,
      count(*) FILTER (WHERE status = 'won') AS won, count(*) FILTER (WHERE status = 'lost') AS lost,
      count(*) FILTER (WHERE status IN ('open', 'expired')) AS open,
      life_table({days}, status) AS life_table
    FROM {}
    GROUP BY {size}, {experience}
  ) AS bands
) AS rated
ORDER BY size, experience",
        quantile(0.25, "p25_days"),
        quantile(0.5, "median_days"),
        quantile(0.75, "p75_days"),
        call.journeys(),
    );
    sql::plan(arguments, call.written(), &query)
}
