//! Is b better than a, however often somebody looks? The interval of an asymptotic confidence sequence.
//!
//! The interval of `rate_b - rate_a` that misses the true difference at most 5 times in 100, at any number of looks; the formulas are in
//! `statistics/sequential.rs`. `p < alpha` exactly where the interval leaves out 0. This is one look: `ab_looks` takes every instant of
//! the data as a look, so that the interval only ever narrows.
//!
//! NULL where an argument is, and where a group is empty. `lo`, `hi` and `p` are NULL where all or none of a group succeeded: the variance that
//! they are made of isn't known. Exchanging the groups negates the difference.
//!
//! Cost: constant a row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::formula::{Formula, Row, Type, check_between, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::error::FunnelError;
use crate::statistics::sequential::{DEFAULT_TUNING, compare_rates};

/// What a function says of the groups that it compares.
pub(super) const OF_ARMS: [&str; 4] = [
    "How many entities of the baseline reached the goal: an integer from 0 to n_a.",
    "How many entities the baseline has.",
    "How many entities of the other arm reached the goal: an integer from 0 to n_b.",
    "How many entities the other arm has.",
];

/// The difference of two rates with an interval that stays right however often it is looked at.
///
/// - `k_a`, `n_a`, `k_b`, `n_b`: integer counts of entities, `0 <= k <= n`
/// - `alpha`: Float64 in (0, 1), 0.05 when left out
/// - `tuning`: the entities of both groups at which the interval is narrowest, 5000 when left out: how many there will be at the decision
/// - `difference`: `'absolute'` (when left out), or `'relative'`: `rate_b / rate_a - 1`
/// - returns `Struct { estimate, lo, hi, p }`, Float64; NULL where a group is empty; all but `estimate` NULL where one has no variance
/// - errors: 22023 for impossible counts, `alpha` or `tuning`
/// - source: arXiv 2103.06476v7; the example equals gbstats 0.8.0, `SequentialTwoSidedTTest` of `ProportionStatistic(10000, 1000)` and
///   `(10000, 1300)` with an absolute difference: 0.015907, 0.044093, 2.685e-9
/// ```slt
/// query RRRR
/// SELECT round(t['estimate'], 4), round(t['lo'], 6), round(t['hi'], 6), round(1e9 * t['p'], 3)
/// FROM (SELECT ab_sequential(1000, 10000, 1300, 10000) AS t)
/// ----
/// 0.03 0.015907 0.044093 2.685
/// ```
pub fn ab_sequential_udf() -> Arc<ScalarUDF> {
    formula_udf::<AbSequential>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbSequential;

impl Formula for AbSequential {
    const NAME: &'static str = "ab_sequential";
    const PARAMETERS: Parameters = Parameters {
        required: 4,
        list: &[
            ("k_a", Kind::Count),
            ("n_a", Kind::Count),
            ("k_b", Kind::Count),
            ("n_b", Kind::Count),
            ("alpha", Kind::Number),
            ("tuning", Kind::Number),
            ("difference", Kind::Text),
        ],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[
        ("estimate", Type::Number),
        ("lo", Type::Number),
        ("hi", Type::Number),
        ("p", Type::Number),
    ];
    const DESCRIPTION: &'static str = "The difference of two rates with an interval that may be looked at any number of times, as a struct of estimate, lo, hi and p.";
    const ARGUMENTS: &'static [&'static str] = &[
        OF_ARMS[0],
        OF_ARMS[1],
        OF_ARMS[2],
        OF_ARMS[3],
        "How often the interval may miss the true difference: a fraction, 0.05 when left out.",
        "The entities of both groups at which the interval is narrowest, 5000 when left out.",
        "'absolute' (when left out) or 'relative'.",
    ];
    const EXAMPLE: &'static str = "SELECT ab_sequential(1000, 10000, 1300, 10000);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let [a, b] = row.two_groups()?;
        let (alpha, tuning) = (row.number(4, 0.05)?, row.number(5, DEFAULT_TUNING)?);
        check_between("alpha", alpha, 0.0, 1.0)?;
        check_between("tuning", tuning, 0.0, f64::INFINITY)?;
        let relative = match row.text(6)? {
            None | Some("absolute") => false,
            Some("relative") => true,
            Some(other) => {
                return Err(FunnelError::InvalidArgument {
                    message: format!("difference can't be \"{other}\""),
                    hint: "Write 'absolute' or 'relative'.".to_owned(),
                }
                .into());
            }
        };
        Ok(compare_rates(a, b, relative, alpha, tuning).map(|found| {
            let limits = found.limits;
            vec![
                Some(found.estimate),
                limits.map(|(lo, _, _)| lo),
                limits.map(|(_, hi, _)| hi),
                limits.map(|(_, _, p)| p),
            ]
        }))
    }
}
