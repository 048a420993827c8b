//! Do two groups convert at different rates? The pooled normal test, for groups that aren't small.
//!
//! `z = (k1/n1 - k2/n2) / √(p̄ (1 - p̄) (1/n1 + 1/n2))` with the pooled rate `p̄`. NULL where an argument is, where a group is empty, and where
//! all or none succeeded: without variance there is no test. Where an expected count is below 5, take `fisher_p`.
//!
//! Cost: constant a row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::fisher_p::{OF_TWO_GROUPS, TWO_GROUPS};
use super::formula::{Formula, Row, Type, formula_udf};
use super::rate_ci::arguments::Parameters;
use crate::statistics::two_rates::z_test_p;

/// The pooled normal test that two rates are equal.
///
/// - `k1`, `n1`, `k2`, `n2`: integer counts of entities, `0 <= k <= n`
/// - returns Float64, the two-sided p in [0, 1]; NULL where a group is empty, all or none succeeded, or an argument is NULL
/// - errors: 22023 when `k > n` or a count is negative
/// - source: the example equals statsmodels 0.15.0, `proportions_ztest([56, 48], [70, 80])`
/// ```slt
/// query RR
/// SELECT round(z_test_p(56, 70, 48, 80), 6), z_test_p(0, 70, 0, 80)
/// ----
/// 0.008045 NULL
/// ```
pub fn z_test_p_udf() -> Arc<ScalarUDF> {
    formula_udf::<ZTestP>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ZTestP;

impl Formula for ZTestP {
    const NAME: &'static str = "z_test_p";
    const PARAMETERS: Parameters = TWO_GROUPS;
    const FIELDS: &'static [(&'static str, Type)] = &[("", Type::Number)];
    const DESCRIPTION: &'static str = "The pooled normal test that two rates are equal: the two-sided p. NULL where a group is empty, or all or none succeeded.";
    const ARGUMENTS: &'static [&'static str] = &OF_TWO_GROUPS;
    const EXAMPLE: &'static str = "SELECT z_test_p(56, 70, 48, 80);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let [first, second] = row.two_groups()?;
        Ok(Some(vec![z_test_p(first, second)]))
    }
}
