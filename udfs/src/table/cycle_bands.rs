//! `cycle_bands('funnel', size => …, experience => …)`: how long the cycle takes and how often it is won, in bands of two things.
//!
//! # Columns
//! - `size`, `experience` text: the values of the two expressions; `(null)` where they are NULL
//! - `n`, `won`, `lost`, `open` bigint: journeys, and how they ended so far; `open` are also those whose window ended
//! - `p25_days`, `median_days`, `p75_days` double precision: days by which a quarter, a half, three quarters of those that will win have won
//! - `win_rate` double precision: the share that has won by the longest time that was watched
//! - `status` text: `ok`; `no_events`: nobody has won
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill)
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
use super::population::Population;
use super::sql;
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&["size", "experience"]),
    plan,
    population: Some(|arguments| Ok(Bands::take(arguments)?.population())),
    info,
};

const NAME: &str = "cycle_bands";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
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

/// One call's arguments.
struct Bands {
    call: Call,
    /// `size` and `experience` as they were written.
    given: [String; 2],
}

impl Bands {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let band = |arguments: &mut Arguments, name: &str| -> Result<String> {
            let text = arguments.condition_text(name)?;
            arguments.take(name);
            text.ok_or_else(|| {
                FunnelError::WrongCall {
                    message: format!("cycle_bands() needs {name}"),
                    hint: "Write size => CASE WHEN value < 20000 THEN 'small' ELSE 'large' END, experience => owner."
                        .to_owned(),
                }
                .into()
            })
        };
        let given = [band(arguments, "size")?, band(arguments, "experience")?];
        Ok(Self {
            call: Call::take_without_segments(arguments)?,
            given,
        })
    }

    fn population(&self) -> Population {
        let [size, experience] = self
            .given
            .each_ref()
            .map(|text| format!("coalesce(CAST(({text}) AS text), '(null)')"));
        let count = |name, condition: &str| (name, condition.to_owned());
        Population {
            funnel: self.call.funnel(),
            rows: self.call.journeys(),
            of_stages: false,
            cell: vec![
                ("size".to_owned(), size),
                ("experience".to_owned(), experience),
            ],
            parameters: Vec::new(),
            counts: vec![
                count("n", "true"),
                count("won", "status = 'won'"),
                count("lost", "status = 'lost'"),
                count("open", "status IN ('open', 'expired')"),
            ],
        }
    }

    fn drill_key(&self) -> String {
        let [size, experience] = &self.given;
        let own = [("size", size.clone()), ("experience", experience.clone())];
        let cell = ["size", "experience"].map(|name| (name.to_owned(), name.to_owned()));
        self.call.drill_key(NAME, &own, &cell)
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let bands = Bands::take(arguments)?;
    let population = bands.population();
    let cell: Vec<String> = population
        .cell
        .iter()
        .map(|(name, column)| format!("{column} AS {name}"))
        .collect();
    let groups: Vec<&str> = population
        .cell
        .iter()
        .map(|(_, column)| column.as_str())
        .collect();
    let days = format!(
        "greatest((CAST(coalesce(ended_at, {}) AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0)",
        bands.call.as_of()
    );
    let quantile = |q: f64, name: &str| {
        format!(
            "CASE WHEN won > 0 THEN incidence_quantile(life_table, {q} * win_rate) END AS {name}"
        )
    };
    let query = format!(
        "SELECT size, experience, n, won, lost, open, {}, {}, {}, win_rate,
  CASE WHEN won > 0 THEN 'ok' ELSE 'no_events' END AS status,
  {} AS drill_key
FROM (
  SELECT *, incidence_curve(life_table)[-1]['cif_won'] AS win_rate
  FROM (
    SELECT {}, {},
      life_table({days}, status) AS life_table
    FROM {}
    GROUP BY {}
  ) AS bands
) AS rated
ORDER BY size, experience",
        quantile(0.25, "p25_days"),
        quantile(0.5, "median_days"),
        quantile(0.75, "p75_days"),
        bands.drill_key(),
        cell.join(", "),
        population.counted().join(", "),
        population.rows,
        groups.join(", "),
    );
    sql::plan(arguments, bands.call.written(), &query)
}
