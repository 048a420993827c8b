//! How much do the means of two groups differ? Welch's interval and test, which don't ask for equal variances.
//!
//! `mean1 - mean2` with the limits that hold the true difference 95 times in 100; the formulas are in `statistics/two_means.rs`. NULL
//! where an argument is, and where a group is empty; `lo`, `hi`, `p` and `dof` are NULL where a group has one value, or none varies.
//! Exchanging the groups negates the difference.
//!
//! Cost: constant a row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::formula::{Formula, Row, Type, check_between, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::error::FunnelError;
use crate::statistics::two_means::{Group, welch};

/// The difference of two means with its interval and test.
///
/// - `n1`, `n2`: counts of values; `mean1`, `mean2`: Float64 means; `var1`, `var2`: Float64 sample variances (`var_samp`)
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `Struct { diff, lo, hi, p, dof }`, Float64: `p` is two-sided, of the hypothesis that the means are equal
/// - errors: 22023 when a count or variance is negative, or `confidence` outside of (0, 1)
/// - source: B. L. Welch, Biometrika 34 (1947), 28–35; the example equals SciPy 1.17.1, `ttest_ind_from_stats(20.82, 2.8, 20, 23.7, 1.7, 16,
///   equal_var=False)`
/// ```slt
/// query RRRRR
/// SELECT round(t['diff'], 2), round(t['lo'], 4), round(t['hi'], 4), round(t['p'], 6), round(t['dof'], 3)
/// FROM (SELECT mean_diff_ci(20, 20.82, 7.84, 16, 23.7, 2.89) AS t)
/// ----
/// -2.88 -4.4215 -1.3385 0.000603 31.951
/// ```
pub fn mean_diff_ci_udf() -> Arc<ScalarUDF> {
    formula_udf::<MeanDiffCi>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MeanDiffCi;

impl Formula for MeanDiffCi {
    const NAME: &'static str = "mean_diff_ci";
    const PARAMETERS: Parameters = Parameters {
        required: 6,
        list: &[
            ("n1", Kind::Count),
            ("mean1", Kind::Number),
            ("var1", Kind::Number),
            ("n2", Kind::Count),
            ("mean2", Kind::Number),
            ("var2", Kind::Number),
            ("confidence", Kind::Number),
        ],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[
        ("diff", Type::Number),
        ("lo", Type::Number),
        ("hi", Type::Number),
        ("p", Type::Number),
        ("dof", Type::Number),
    ];
    const DESCRIPTION: &'static str =
        "The difference of two means with its confidence interval and Welch's test.";
    const ARGUMENTS: &'static [&'static str] = &[
        "How many values the first group has.",
        "Their mean.",
        "Their sample variance.",
        "How many values the second group has.",
        "Their mean.",
        "Their sample variance.",
        "How often the interval holds the true difference: a fraction, 0.95 when left out.",
    ];
    const EXAMPLE: &'static str = "SELECT mean_diff_ci(20, 20.82, 7.84, 16, 23.7, 2.89);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let confidence = row.number(6, 0.95)?;
        check_between("confidence", confidence, 0.0, 1.0)?;
        let [first, second] = [0, 3].map(|at| group(row, at));
        Ok(welch(first?, second?, confidence).map(|found| {
            let mut values = vec![Some(found.diff)];
            match found.limits {
                Some(limits) => values.extend(limits.map(Some)),
                None => values.extend([None; 4]),
            }
            values
        }))
    }
}

fn group(row: &Row, at: usize) -> Result<Group> {
    let (n, variance) = (row.count(at, 0)?, row.number(at + 2, 0.0)?);
    if n < 0 || variance < 0.0 {
        return Err(FunnelError::InvalidArgument {
            message: format!("{n} values can't have the variance {variance}"),
            hint: "Neither can be negative.".to_owned(),
        }
        .into());
    }
    Ok(Group {
        n: n as f64,
        mean: row.number(at + 1, 0.0)?,
        variance,
    })
}
