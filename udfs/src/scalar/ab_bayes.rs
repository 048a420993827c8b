//! How sure is it that b is better than a, and what does a wrong choice cost? By Bayes' rule.
//!
//! What is known of a rate is Beta(prior_alpha + k, prior_beta + n - k); the chance that one is higher, the expected losses and the
//! difference follow from it exactly, by the integrals in `statistics/posterior.rs`. `prob_b_better` and its counterpart with exchanged
//! groups are 1 together.
//!
//! NULL where an argument is. An empty group is legal: what is known of it is the prior.
//!
//! Cost: constant a row, some thousand points of two distributions.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::ab_sequential::OF_ARMS;
use super::formula::{Formula, Row, Type, check_between, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::statistics::posterior::{Known, best, difference};

/// What is known of a rate, from counts and a prior.
///
/// # Errors
/// 22023 where the prior's shapes aren't positive.
pub(super) fn known_rate((k, n): (i64, i64), alpha: f64, beta: f64) -> Result<Known> {
    check_between("prior_alpha", alpha, 0.0, f64::INFINITY)?;
    check_between("prior_beta", beta, 0.0, f64::INFINITY)?;
    Ok(Known::Rate {
        a: alpha + k as f64,
        b: beta + (n - k) as f64,
    })
}

/// The chance that b's rate is higher than a's, what choosing either loses, and the difference.
///
/// - `k_a`, `n_a`, `k_b`, `n_b`: integer counts of entities, `0 <= k <= n`; `n` may be 0
/// - `prior_alpha`, `prior_beta`: shapes of the prior of both rates, positive; 1 and 1 when left out, any rate being equally likely
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `Struct { prob_b_better, expected_loss_a, expected_loss_b, diff, lo, hi }`, Float64: the loss of choosing a is `E[max(b - a, 0)]`;
///   `diff` is the expected `b - a`, and lies between `lo` and `hi` with the given confidence
/// - errors: 22023 for impossible counts, priors or a confidence outside of (0, 1)
/// - source: E. Miller, "Formulas for Bayesian A/B testing" (2015), and C. Stucchio, "Bayesian A/B testing at VWO" (2015), whose closed forms
///   for whole shapes give, with 40 digits by mpmath, 0.975068, 0.030084 and 0.000144; the interval is SciPy 1.17.1's by quadrature
/// ```slt
/// query RRRRRR
/// SELECT round(t['prob_b_better'], 6), round(t['expected_loss_a'], 6), round(t['expected_loss_b'], 6), round(t['diff'], 4),
///   round(1e5 * t['lo'], 4), round(t['hi'], 6)
/// FROM (SELECT ab_bayes(120, 1000, 150, 1000) AS t)
/// ----
/// 0.975068 0.030084 0.000144 0.0299 1.7764 0.059935
/// ```
pub fn ab_bayes_udf() -> Arc<ScalarUDF> {
    formula_udf::<AbBayes>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbBayes;

impl Formula for AbBayes {
    const NAME: &'static str = "ab_bayes";
    const PARAMETERS: Parameters = Parameters {
        required: 4,
        list: &[
            ("k_a", Kind::Count),
            ("n_a", Kind::Count),
            ("k_b", Kind::Count),
            ("n_b", Kind::Count),
            ("prior_alpha", Kind::Number),
            ("prior_beta", Kind::Number),
            ("confidence", Kind::Number),
        ],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[
        ("prob_b_better", Type::Number),
        ("expected_loss_a", Type::Number),
        ("expected_loss_b", Type::Number),
        ("diff", Type::Number),
        ("lo", Type::Number),
        ("hi", Type::Number),
    ];
    const DESCRIPTION: &'static str = "The chance that b's rate is higher than a's, the expected loss of choosing either, and the difference with its credible interval.";
    const ARGUMENTS: &'static [&'static str] = &[
        OF_ARMS[0],
        OF_ARMS[1],
        OF_ARMS[2],
        OF_ARMS[3],
        "Shape of the prior for successes, 1 when left out.",
        "Shape of the prior for failures, 1 when left out.",
        "How likely the interval holds the difference: a fraction, 0.95 when left out.",
    ];
    const EXAMPLE: &'static str = "SELECT ab_bayes(120, 1000, 150, 1000);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let groups = row.two_groups()?;
        let (alpha, beta) = (row.number(4, 1.0)?, row.number(5, 1.0)?);
        let confidence = row.number(6, 0.95)?;
        check_between("confidence", confidence, 0.0, 1.0)?;
        let [a, b] = groups.map(|group| known_rate(group, alpha, beta));
        let (a, b) = (a?, b?);
        let found = difference(a, b, confidence);
        let arms = best(&[a, b]);
        let mut values: Vec<Option<f64>> = arms
            .get(1)
            .map(|b| b.probability)
            .into_iter()
            .map(Some)
            .collect();
        values.extend(arms.iter().map(|arm| Some(arm.expected_loss)));
        values.extend([found.mean, found.lo, found.hi].map(Some));
        Ok(Some(values))
    }
}
