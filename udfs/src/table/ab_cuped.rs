//! `ab_cuped((SELECT …), arm => 'arm', y => 'revenue', pre => 'revenue_before', baseline => 'old')`: the same test with less noise, from what was
//! known before it began.
//!
//! What an entity did before explains a part of what it does now. Taking that part out (CUPED) leaves the difference where it is and narrows its
//! interval: `y - θ (pre - mean of pre)` with `θ = cov(y, pre) / var(pre)` over all arms together.
//!
//! # Columns
//! - `arm` text; `n` bigint: rows with an arm, `y` and `pre`
//! - `mean` double precision: of `y` with the part that `pre` explains taken out; `raw_mean`: of `y`
//! - `theta`: how much of a unit of `pre` shows in `y`
//! - `diff` with `lo` and `hi`: mean less the baseline's, with its interval; `p`: of the hypothesis that it is 0 (Welch)
//! - `variance_reduction`: the share of the difference's variance that is gone, and so of the entities that the test would have needed
//! - `raw_diff` with `raw_lo`, `raw_hi` and `raw_p`: the same without `pre`
//! - `baseline` text
//! - `method` text: `cuped_welch`
//! - `status` text: `ok`; `no_control`: the baseline has no rows; `no_variation`: `pre` is the same everywhere, so that there is nothing to take out (`theta` is
//!   NULL, and `diff` is the raw one), or `y` is (`p` is NULL)
//!
//! The baseline comes first, then the arms by name.
//!
//! # Arguments
//! a query; `arm`, `y` and `pre`: columns of it or expressions; `baseline`: the arm to compare with; `alpha` (0.05). `pre` has to be known before an entity gets its arm: what the arm
//! can change would take a part of its effect out.
//!
//! # Source
//! A. Deng, Y. Xu, R. Kohavi, T. Walker, "Improving the sensitivity of online controlled experiments by utilizing pre-experiment data" (2013). Equals gbstats 0.8
//! for two arms.
//!
//! Cost: two passes over the query.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, TableFactor};

use super::TableFunction;
use super::arguments::Arguments;
use super::sql;
use crate::definition::text::{identifier, literal, written};
use crate::error::FunnelError;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || vec!["arm", "y", "pre", "baseline", "alpha"],
    plan,
    population: None,
    info,
};

const NAME: &str = "ab_cuped";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments:
            "query, arm text, y text, pre text, baseline text, alpha double precision DEFAULT 0.05"
                .to_owned(),
        result: "SETOF record".to_owned(),
        description:
            "A test of means with less noise, from what was known of each entity before (CUPED)."
                .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let alpha = arguments.take_positive("alpha")?.unwrap_or(0.05);
    if alpha >= 1.0 {
        return Err(arguments.invalid("alpha", &alpha.to_string(), "a number between 0 and 1"));
    }
    let baseline = arguments.take_text("baseline")?.ok_or_else(needs)?;
    let SqlExpr::Subquery(query) = arguments.only_positional()? else {
        return Err(needs());
    };
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: query.clone(),
        alias: None,
        sample: None,
    };
    let schema = arguments.context().plan(relation)?;
    let columns = schema.schema().fields();
    let mut expression = |name: &str| -> Result<String> {
        let text = arguments.condition_text(name)?.ok_or_else(needs)?;
        arguments.take(name);
        Ok(match columns.iter().any(|column| *column.name() == text) {
            true => identifier(&text),
            false => format!("({text})"),
        })
    };
    let (arm, y, pre) = (expression("arm")?, expression("y")?, expression("pre")?);
    let query = written(&query);
    let results = format!(
        "SELECT CAST({arm} AS text) AS arm, CAST({y} AS double precision) AS y, CAST({pre} AS double precision) AS pre FROM ({query}) AS source"
    );
    sql::plan(arguments, &[], &cuped(&results, &literal(&baseline), alpha))
}

fn needs() -> datafusion::error::DataFusionError {
    FunnelError::WrongCall {
        message: format!("{NAME}() needs a query, arm, y, pre and baseline"),
        hint: format!("Write {NAME}((SELECT …), arm => 'arm', y => 'revenue', pre => 'revenue_before', baseline => 'old')."),
    }
    .into()
}

/// The query; variances and covariances are of the values less a mean, whatever their offset.
fn cuped(results: &str, baseline: &str, alpha: f64) -> String {
    format!(
        "WITH results AS (
  SELECT * FROM ({results}) AS given WHERE arm IS NOT NULL AND y IS NOT NULL AND pre IS NOT NULL
),
together AS (
  SELECT avg(y) AS y_mean, avg(pre) AS pre_mean FROM results
),
slope AS (
  SELECT y_mean, pre_mean, CASE WHEN pre_square > 1e-24 * pre_mean * pre_mean * all_n THEN product / pre_square END AS theta
  FROM (
    SELECT min(y_mean) AS y_mean, min(pre_mean) AS pre_mean, CAST(count(*) AS double precision) AS all_n,
      sum((y - y_mean) * (pre - pre_mean)) AS product, sum((pre - pre_mean) * (pre - pre_mean)) AS pre_square
    FROM results CROSS JOIN together
  ) AS sums
),
adjusted AS (
  SELECT arm, y - y_mean AS y, y - y_mean - coalesce(theta, 0.0) * (pre - pre_mean) AS less, y_mean, theta
  FROM results CROSS JOIN slope
),
arms AS (
  SELECT arm, count(*) AS n, avg(less) AS mean, coalesce(var_samp(less), 0.0) AS variance, avg(y) AS raw_mean,
    coalesce(var_samp(y), 0.0) AS raw_variance, min(y_mean) AS y_mean, min(theta) AS theta
  FROM adjusted GROUP BY arm
),
compared AS (
  SELECT arms.*, base.n AS base_n, base.variance AS base_variance, base.raw_variance AS base_raw_variance, arms.arm = {baseline} AS is_baseline,
    CASE WHEN arms.arm <> {baseline} THEN mean_diff_ci(arms.n, arms.mean, arms.variance, base.n, base.mean, base.variance, {confidence:?}) END AS test,
    CASE WHEN arms.arm <> {baseline} THEN mean_diff_ci(arms.n, arms.raw_mean, arms.raw_variance, base.n, base.raw_mean, base.raw_variance, {confidence:?}) END AS raw
  FROM arms LEFT JOIN arms AS base ON base.arm = {baseline}
)
SELECT arm, n, y_mean + mean AS mean, y_mean + raw_mean AS raw_mean, theta, test['diff'] AS diff, test['lo'] AS lo, test['hi'] AS hi, test['p'] AS p,
  CASE WHEN NOT is_baseline AND raw_variance / n + base_raw_variance / base_n > 0.0
    THEN 1.0 - (variance / n + base_variance / base_n) / (raw_variance / n + base_raw_variance / base_n) END AS variance_reduction,
  raw['diff'] AS raw_diff, raw['lo'] AS raw_lo, raw['hi'] AS raw_hi, raw['p'] AS raw_p, {baseline} AS baseline, 'cuped_welch' AS method,
  CASE WHEN base_n IS NULL THEN 'no_control' WHEN theta IS NULL OR NOT is_baseline AND test['p'] IS NULL THEN 'no_variation' ELSE 'ok' END AS status
FROM compared
ORDER BY NOT is_baseline, arm",
        confidence = 1.0 - alpha
    )
}
