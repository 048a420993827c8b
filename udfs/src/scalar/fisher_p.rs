//! Do two groups convert at different rates? Fisher's exact test, right for any counts.
//!
//! The two-sided `p` sums the tables that are no more probable than the observed one, up to a factor of `1 + 1e-7`. NULL where an
//! argument is, and where a group is empty: no data is no test. Exchanging the groups changes nothing.
//!
//! Cost: a few terms for small groups, some 50,000 for two groups of 1e8.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::formula::{Formula, Row, Type, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::statistics::fisher::fisher_p;

/// The counts of two groups.
pub(super) const TWO_GROUPS: Parameters = Parameters {
    required: 4,
    list: &[
        ("k1", Kind::Count),
        ("n1", Kind::Count),
        ("k2", Kind::Count),
        ("n2", Kind::Count),
    ],
};

/// What each of [`TWO_GROUPS`] is.
pub(super) const OF_TWO_GROUPS: [&str; 4] = [
    "How many entities of the first group reached the goal: an integer from 0 to n1.",
    "How many entities the first group has.",
    "How many entities of the second group reached the goal: an integer from 0 to n2.",
    "How many entities the second group has.",
];

/// Fisher's exact test that two rates are equal.
///
/// - `k1`, `n1`, `k2`, `n2`: integer counts of entities, `0 <= k <= n`
/// - returns Float64, the two-sided p in [0, 1]; NULL where a group is empty or an argument is NULL
/// - errors: 22023 when `k > n` or a count is negative
/// - source: R. A. Fisher, The Design of Experiments (1935), chapter 2, whose tea is the first example (0.4857); the others equal SciPy 1.17.1,
///   `fisher_exact([[1234, 8766], [1180, 8820]])` and with 250500 and 250000 of a million
/// ```slt
/// query RRR
/// SELECT round(fisher_p(3, 4, 1, 4), 4), round(fisher_p(1234, 10000, 1180, 10000), 6),
///   round(fisher_p(250500, 1000000, 250000, 1000000), 6)
/// ----
/// 0.4857 0.249986 0.415306
/// ```
pub fn fisher_p_udf() -> Arc<ScalarUDF> {
    formula_udf::<FisherP>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FisherP;

impl Formula for FisherP {
    const NAME: &'static str = "fisher_p";
    const PARAMETERS: Parameters = TWO_GROUPS;
    const FIELDS: &'static [(&'static str, Type)] = &[("", Type::Number)];
    const DESCRIPTION: &'static str = "Fisher's exact test that two rates are equal: the two-sided p. NULL where a group is empty.";
    const ARGUMENTS: &'static [&'static str] = &OF_TWO_GROUPS;
    const EXAMPLE: &'static str = "SELECT fisher_p(8, 10, 1, 6);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let [first, second] = row.two_groups()?;
        Ok(Some(vec![fisher_p(first, second)]))
    }
}
