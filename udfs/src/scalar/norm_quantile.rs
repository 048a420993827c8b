//! How many standard deviations does a probability stand for? The quantile of the standard normal distribution.
//!
//! `norm_quantile(0.975)` is 1.96: half the width of a 95 % interval, in standard errors. NULL where the argument is.
//!
//! Cost: constant a row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::formula::{Formula, Row, Type, check_between, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::statistics::sample_size::normal_quantile;

/// The standard normal's point with that probability below it.
///
/// - `p`: Float64 in (0, 1)
/// - returns Float64
/// - errors: 22023 when `p` is outside of (0, 1)
/// - source: the example equals SciPy 1.17.1, `norm.ppf(0.975)`
/// ```slt
/// query R
/// SELECT round(norm_quantile(0.975), 6)
/// ----
/// 1.959964
/// ```
pub fn norm_quantile_udf() -> Arc<ScalarUDF> {
    formula_udf::<NormQuantile>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NormQuantile;

impl Formula for NormQuantile {
    const NAME: &'static str = "norm_quantile";
    const PARAMETERS: Parameters = Parameters {
        required: 1,
        list: &[("p", Kind::Number)],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[("", Type::Number)];
    const DESCRIPTION: &'static str =
        "The standard normal distribution's point with the given probability below it.";
    const ARGUMENTS: &'static [&'static str] = &["A probability between 0 and 1."];
    const EXAMPLE: &'static str = "SELECT norm_quantile(0.975);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let p = row.number(0, 0.5)?;
        check_between("p", p, 0.0, 1.0)?;
        Ok(Some(vec![Some(normal_quantile(p))]))
    }
}
