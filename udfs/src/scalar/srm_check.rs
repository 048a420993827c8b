//! Do the arms of a test have the sizes that they should? A sample ratio mismatch says that the assignment is broken.
//!
//! Pearson's χ² of the observed sizes against the declared weights; an alarm where `p < 0.001`. With an alarm nothing else about the test
//! can be believed: somebody gets lost on the way into one arm.
//!
//! NULL where an argument is, and where nobody was assigned; NULL `chi2`, `p` and `srm` for one arm alone.
//!
//! Cost: constant a row and arm.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::formula::{Formula, Row, Type, check_between, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::error::FunnelError;

/// Alarms are raised below this: one test in a thousand, as it is asked again and again (A. Fabijan and others, KDD 2019).
const ALARM: f64 = 0.001;

/// χ² test of the sizes of a test's arms.
///
/// - `observed`: list of the arms' sizes
/// - `weights`: list of as many positive numbers, the share that each arm should have of all; equal when left out
/// - returns `Struct { chi2, p, srm }`: Float64, Float64 in [0, 1], Boolean: whether `p < 0.001`
/// - errors: 22023 for a negative size, a weight that isn't positive, or lists of different lengths
/// - source: K. Pearson (1900); the example equals SciPy 1.17.1, `chisquare([5120, 4880])` and `chisquare([300, 100], [200, 200])`
/// ```slt
/// query RRTRT
/// SELECT round(a['chi2'], 2), round(a['p'], 6), a['srm'], round(b['chi2'], 0), b['srm']
/// FROM (SELECT srm_check([5120, 4880]) AS a, srm_check([300, 100], [1, 1]) AS b)
/// ----
/// 5.76 0.016395 f 100 t
/// ```
pub fn srm_check_udf() -> Arc<ScalarUDF> {
    formula_udf::<SrmCheck>()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SrmCheck;

impl Formula for SrmCheck {
    const NAME: &'static str = "srm_check";
    const PARAMETERS: Parameters = Parameters {
        required: 1,
        list: &[("observed", Kind::Numbers), ("weights", Kind::Numbers)],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[
        ("chi2", Type::Number),
        ("p", Type::Number),
        ("srm", Type::Truth),
    ];
    const DESCRIPTION: &'static str = "Do the arms of a test have the sizes that they should? chi2, p, and whether there is a sample ratio mismatch (p < 0.001).";
    const ARGUMENTS: &'static [&'static str] = &[
        "The sizes of the arms, a list.",
        "The share that each should have, a list of positive numbers; equal when left out.",
    ];
    const EXAMPLE: &'static str = "SELECT srm_check([5120, 4880], [1, 1]);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let observed = row.numbers(0)?;
        let weights = match row.has(1) {
            true => row.numbers(1)?,
            false => vec![Some(1.0); observed.len()],
        };
        let (Some(observed), Some(weights)) = (all(observed), all(weights)) else {
            return Ok(None);
        };
        if observed.len() != weights.len() {
            return Err(FunnelError::InvalidArgument {
                message: format!(
                    "{} arms can't have {} weights",
                    observed.len(),
                    weights.len()
                ),
                hint: "Write a weight for each arm.".to_owned(),
            }
            .into());
        }
        for size in &observed {
            check_between("a size", *size, -f64::MIN_POSITIVE, f64::INFINITY)?;
        }
        for weight in &weights {
            check_between("a weight", *weight, 0.0, f64::INFINITY)?;
        }
        let (all_observed, all_weights): (f64, f64) = (observed.iter().sum(), weights.iter().sum());
        if all_observed <= 0.0 || observed.len() < 2 {
            return Ok(Some(vec![None; 3]));
        }
        let terms = observed.iter().zip(&weights).map(|(size, weight)| {
            let expected = all_observed * (weight / all_weights);
            (size - expected) * (size - expected) / expected
        });
        let chi2: f64 = terms.sum();
        let p = ChiSquared::new((observed.len() - 1) as f64).map(|known| known.sf(chi2));
        let p = p.ok().filter(|p| p.is_finite());
        Ok(Some(vec![
            Some(chi2),
            p,
            p.map(|p| f64::from(u8::from(p < ALARM))),
        ]))
    }
}

/// The numbers, where none is NULL.
fn all(numbers: Vec<Option<f64>>) -> Option<Vec<f64>> {
    numbers.into_iter().collect()
}
