//! How many leads does a test need, what can it find, and how likely does it?
//!
//! The two-sided normal test with the pooled variance where nothing differs, and each group's own where something does; the formulas are in
//! `statistics/sample_size.rs`. `ab_sample_size` answers for the groups' sizes, `ab_power` for the chance to find a difference, `ab_mde` for the
//! smallest rise that is found. They plan a test of fixed length; one that may be looked at all the time
//! (`ab_sequential`) needs more for the same power, and stops earlier where the effect is large.
//!
//! NULL where an argument is, and where there is no such test: a rate outside of 0 and 1, no difference, or too few entities for any.
//!
//! Cost: constant a row.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::formula::{Formula, Row, Type, check_between, formula_udf};
use super::rate_ci::arguments::{Kind, Parameters};
use crate::statistics::sample_size::Design;

const RATE: &str = "The baseline's rate: a fraction between 0 and 1.";
const MDE: &str = "The difference to find, in the same unit as the rate: 0.02 from 0.10 to 0.12, or below 0 for a fall.";
const N: &str = "How many entities the baseline has.";
const ALPHA: &str = "The chance of a false alarm, 0.05 when left out.";
const POWER: &str = "The chance to find it, 0.8 when left out.";
const RATIO: &str = "Entities of the other arm for each of the baseline, 1 when left out.";

/// How many entities each arm needs.
///
/// - `rate`: Float64 in (0, 1), the baseline's; `mde`: Float64, the difference to find, as a difference of rates
/// - `alpha`, `power`: Float64 in (0, 1), 0.05 and 0.8 when left out; `ratio`: Float64, entities of the other arm for each of the baseline, 1
/// - `per_day`: Float64, how many entities come a day into both arms together
/// - returns `Struct { n_a, n_b, total, mde_rel, days }`: Int64 sizes of the baseline and the other arm, rounded up, and of both; `mde_rel`
///   Float64 is mde / rate; `days` Float64 is how long it takes, NULL without `per_day`. NULL where `rate + mde` is no rate or `mde = 0`
/// - errors: 22023 for a number outside of its range
/// - source: Fleiss (1981), chapter 3; the example equals statsmodels 0.15.0, `samplesize_proportions_2indep_onetail(0.02, 0.1, 0.8)`:
///   3840.85; R's `power.prop.test(p1 = .10, p2 = .12, power = .80)` has the same
/// ```slt
/// query IIIRR
/// SELECT s['n_a'], s['n_b'], s['total'], round(s['mde_rel'], 2), round(s['days'], 1)
/// FROM (SELECT ab_sample_size(0.10, 0.02, 0.05, 0.8, 1, 100) AS s)
/// ----
/// 3841 3841 7682 0.2 76.8
/// ```
pub fn ab_sample_size_udf() -> Arc<ScalarUDF> {
    formula_udf::<AbSampleSize>()
}

/// How likely a difference is found.
///
/// - `rate`, `mde`, `alpha`, `ratio`: as for [`ab_sample_size_udf`]; `n`: Float64, entities of the baseline
/// - returns Float64 in (0, 1); NULL where `rate + mde` is no rate
/// - errors: 22023 for a number outside of its range
/// - source: the example is of R's help page of `power.prop.test`: `power.prop.test(n = 50, p1 = .50, p2 = .75)`, 0.740
/// ```slt
/// query R
/// SELECT round(ab_power(0.5, 0.25, 50), 3)
/// ----
/// 0.74
/// ```
pub fn ab_power_udf() -> Arc<ScalarUDF> {
    formula_udf::<AbPower>()
}

/// The smallest rise that is found.
///
/// - `rate`, `n`, `alpha`, `power`, `ratio`: as for [`ab_power_udf`] and [`ab_sample_size_udf`]
/// - returns `Struct { mde, mde_rel }`, Float64: the difference of rates, and that as a share of `rate`; NULL where even the rise to 1 isn't found
/// - errors: 22023 for a number outside of its range
/// - source: the example is of R's help page of `power.prop.test`: `power.prop.test(n = 50, p1 = .5, power = .90)` finds p2 = 0.8026
/// ```slt
/// query RR
/// SELECT round(m['mde'], 4), round(m['mde_rel'], 4) FROM (SELECT ab_mde(0.5, 50, 0.05, 0.9) AS m)
/// ----
/// 0.3026 0.6053
/// ```
pub fn ab_mde_udf() -> Arc<ScalarUDF> {
    formula_udf::<AbMde>()
}

/// The design from its numbers.
fn design(rate: f64, alpha: f64, ratio: f64) -> Result<Design> {
    check_between("rate", rate, 0.0, 1.0)?;
    check_between("alpha", alpha, 0.0, 1.0)?;
    check_between("ratio", ratio, 0.0, f64::INFINITY)?;
    Ok(Design { rate, alpha, ratio })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbSampleSize;

impl Formula for AbSampleSize {
    const NAME: &'static str = "ab_sample_size";
    const PARAMETERS: Parameters = Parameters {
        required: 2,
        list: &[
            ("rate", Kind::Number),
            ("mde", Kind::Number),
            ("alpha", Kind::Number),
            ("power", Kind::Number),
            ("ratio", Kind::Number),
            ("per_day", Kind::Number),
        ],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[
        ("n_a", Type::Count),
        ("n_b", Type::Count),
        ("total", Type::Count),
        ("mde_rel", Type::Number),
        ("days", Type::Number),
    ];
    const DESCRIPTION: &'static str = "How many entities each arm needs so that a difference is found, and how many days that takes.";
    const ARGUMENTS: &'static [&'static str] = &[
        RATE,
        MDE,
        ALPHA,
        POWER,
        RATIO,
        "How many entities come a day into both arms together.",
    ];
    const EXAMPLE: &'static str = "SELECT ab_sample_size(0.10, 0.02, 0.05, 0.8, 1, 100);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let (rate, mde, ratio) = (
            row.number(0, 0.0)?,
            row.number(1, 0.0)?,
            row.number(4, 1.0)?,
        );
        let design = design(rate, row.number(2, 0.05)?, ratio)?;
        let power = row.number(3, 0.8)?;
        check_between("power", power, 0.0, 1.0)?;
        let per_day = row.number(5, f64::NAN)?;
        if row.has(5) {
            check_between("per_day", per_day, 0.0, f64::INFINITY)?;
        }
        Ok(design.sample_size(mde, power).map(|n| {
            let (n_a, n_b) = (n.ceil(), (n * ratio).ceil());
            let days = Some((n_a + n_b) / per_day).filter(|days| days.is_finite());
            vec![
                Some(n_a),
                Some(n_b),
                Some(n_a + n_b),
                Some(mde / rate),
                days,
            ]
        }))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbPower;

impl Formula for AbPower {
    const NAME: &'static str = "ab_power";
    const PARAMETERS: Parameters = Parameters {
        required: 3,
        list: &[
            ("rate", Kind::Number),
            ("mde", Kind::Number),
            ("n", Kind::Number),
            ("alpha", Kind::Number),
            ("ratio", Kind::Number),
        ],
    };
    const FIELDS: &'static [(&'static str, Type)] = &[("", Type::Number)];
    const DESCRIPTION: &'static str = "How likely a test of that size finds a difference of rates.";
    const ARGUMENTS: &'static [&'static str] = &[RATE, MDE, N, ALPHA, RATIO];
    const EXAMPLE: &'static str = "SELECT ab_power(0.10, 0.02, 3841);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let design = design(
            row.number(0, 0.0)?,
            row.number(3, 0.05)?,
            row.number(4, 1.0)?,
        )?;
        let n = row.number(2, 0.0)?;
        check_between("n", n, 0.0, f64::INFINITY)?;
        Ok(Some(vec![design.power(row.number(1, 0.0)?, n)]))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbMde;

impl Formula for AbMde {
    const NAME: &'static str = "ab_mde";
    const PARAMETERS: Parameters = Parameters {
        required: 2,
        list: &[
            ("rate", Kind::Number),
            ("n", Kind::Number),
            ("alpha", Kind::Number),
            ("power", Kind::Number),
            ("ratio", Kind::Number),
        ],
    };
    const FIELDS: &'static [(&'static str, Type)] =
        &[("mde", Type::Number), ("mde_rel", Type::Number)];
    const DESCRIPTION: &'static str = "The smallest rise of a rate that a test of that size finds, as a difference and as a share of the rate.";
    const ARGUMENTS: &'static [&'static str] = &[RATE, N, ALPHA, POWER, RATIO];
    const EXAMPLE: &'static str = "SELECT ab_mde(0.10, 3841);";

    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>> {
        let rate = row.number(0, 0.0)?;
        let design = design(rate, row.number(2, 0.05)?, row.number(4, 1.0)?)?;
        let (n, power) = (row.number(1, 0.0)?, row.number(3, 0.8)?);
        check_between("n", n, 0.0, f64::INFINITY)?;
        check_between("power", power, 0.0, 1.0)?;
        let found = design.mde(n, power);
        Ok(found.map(|mde| vec![Some(mde), Some(mde / rate)]))
    }
}
