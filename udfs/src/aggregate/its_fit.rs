//! Did a series change at an instant, beyond the trend that it had before? An interrupted time series.
//!
//! `its_fit(t, y)` fits `y = a + b t + c post + d post t` to the mean of `y` in each period `t`, weighted by how many
//! rows it has; periods below 0 lie before the change. What the trend before leads to, on the average of the periods after it, is
//! the counterfactual, and what was observed less that is the effect. See `statistics/interrupted_series.rs` for the interval,
//! which holds in short series whose periods resemble one another too.
//!
//! A row with a NULL is ignored, and one of weight 0. A period without rows isn't in the series. The order of rows doesn't
//! matter.
//!
//! Cost: a row is a look into a sorted map; then 50 passes over the periods. State: 40 bytes a period.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::cast::{as_float64_array, as_int64_array, as_list_array};
use datafusion::common::utils::{SingleRowListArrayBuilder, take_function_args};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};

use super::calls::refuse_distinct;
use super::record::{self, Part, count, number, text};
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::interrupted_series::{Period, change};

const NAME: &str = "its_fit";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[
        ("t", Kind::Count),
        ("y", Kind::Number),
        ("weight", Kind::Number),
    ],
};

/// What a series became at an instant, beyond the trend before it, by segmented regression.
///
/// - `t`: integer number of the period, below 0 before the change and from 0 on after it; any number of rows a period
/// - `y`: Float64 value; 0 or 1 of a row makes the mean a rate
/// - `weight`: Float64, 1 when left out: of how many the value is the mean
/// - returns `Struct { points_before, points_after, n_before, n_after, before, after, counterfactual, effect, se, lo, hi, p, level,
///   slope, slope_change, lags, newey_west_se, autocorrelation, status }`. `points` are Int64 periods, `n` Float64 weights; `before` and
///   `after` Float64 means; `effect` = `after` - `counterfactual` with its standard error, 95 % interval and two-sided `p`;
///   `level` the jump at 0, `slope` the trend before, a period, and `slope_change` what it became steeper by; `lags` Int64 of
///   `newey_west_se`; `autocorrelation` of the noise of neighbouring periods, 0 to 0.9
/// - `status`: `ok`; `no_data` (no periods on a side); `insufficient_history` (less than 3 on a side): no effect;
///   `no_variation` (the lines fit exactly): no interval
/// - errors: 22023 when a value isn't finite or a weight is negative or not finite
/// - source: A. Wagner and others, Journal of Clinical Pharmacy and Therapeutics 27 (2002), 299–309; the example's effect equals
///   statsmodels 0.15.0, `OLS(y, [1, t, post, post·t])`
/// ```slt
/// query RRRRRIT
/// SELECT round(f['counterfactual'], 4), round(f['effect'], 4), round(f['lo'], 4), round(f['hi'], 4), round(f['newey_west_se'], 5), f['lags'], f['status']
/// FROM (
///   SELECT its_fit(t, y) AS f
///   FROM (SELECT unnest(range(-9, 9)) AS t, unnest([0.50, 0.53, 0.49, 0.55, 0.52, 0.56, 0.54, 0.55, 0.57, 0.63, 0.66, 0.62, 0.67,
///     0.69, 0.65, 0.70, 0.72, 0.71]) AS y) AS series
/// )
/// ----
/// 0.6019 0.0703 0.0166 0.1239 0.00574 2 ok
/// ```
pub fn its_fit_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(ItsFit {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ItsFit {
    signature: Signature,
}

impl AggregateUDFImpl for ItsFit {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(record::data_type(&Series::default().parts()))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, call.is_distinct)?;
        Ok(Box::new(Series::default()))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| -> FieldRef {
            let item = Arc::new(Field::new_list_field(item, true));
            let name = format_state_name(call.name, part);
            Arc::new(Field::new(name, DataType::List(item), true))
        };
        Ok(vec![
            list("t", DataType::Int64),
            list("weights", DataType::Float64),
            list("sums", DataType::Float64),
        ])
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "What a series became at an instant, beyond the trend before it (segmented regression, with an interval for periods that \
         resemble their neighbours): a struct of points_before, points_after, n_before, n_after, before, after, \
         counterfactual, effect, se, lo, hi, p, level, slope, slope_change, lags, newey_west_se, autocorrelation and status.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("t", "The number of the period: below 0 before the change, from 0 on after it.")
    .with_argument("y", "The value; 0 or 1 a row makes the mean of a period a rate.")
    .with_argument("weight", "Of how many the value is the mean; 1 when left out.")
    .with_sql_example("```sql\nSELECT its_fit(week, rate, leads)['effect'] FROM weekly;\n```")
    .build()
}

/// The weight and the weighted sum of each period.
#[derive(Debug, Default)]
struct Series {
    periods: BTreeMap<i64, (f64, f64)>,
}

impl Series {
    fn add(&mut self, t: i64, weight: f64, sum: f64) {
        let period = self.periods.entry(t).or_default();
        period.0 += weight;
        period.1 += sum;
    }

    /// Weight and mean of the periods on a side.
    fn side(&self, is_after: bool) -> (usize, f64, Option<f64>) {
        let periods = self.periods.iter().filter(|(t, _)| (**t >= 0) == is_after);
        let (count, weight, sum) = periods.fold((0, 0.0, 0.0), |(count, weight, sum), (_, p)| {
            (count + 1, weight + p.0, sum + p.1)
        });
        (count, weight, (weight > 0.0).then(|| sum / weight))
    }

    fn parts(&self) -> Vec<Part> {
        let (points_before, n_before, before) = self.side(false);
        let (points_after, n_after, after) = self.side(true);
        let periods = self.periods.iter().map(|(t, (weight, sum))| Period {
            t: *t,
            y: sum / weight,
            weight: *weight,
        });
        let found = change(&periods.collect::<Vec<_>>(), None);
        let limits = found.and_then(|found| found.limits());
        let status = match (points_before.min(points_after), &found, limits) {
            (0, ..) => "no_data",
            (_, None, _) => "insufficient_history",
            (_, _, None) => "no_variation",
            _ => "ok",
        };
        vec![
            ("points_before", count(points_before as f64)),
            ("points_after", count(points_after as f64)),
            ("n_before", number(Some(n_before))),
            ("n_after", number(Some(n_after))),
            ("before", number(before)),
            ("after", number(after)),
            ("counterfactual", number(found.map(|f| f.counterfactual))),
            ("effect", number(found.map(|f| f.effect))),
            ("se", number(found.map(|f| f.standard_error))),
            ("lo", number(limits.map(|(low, _)| low))),
            ("hi", number(limits.map(|(_, high)| high))),
            ("p", number(found.and_then(|found| found.p()))),
            ("level", number(found.map(|f| f.level))),
            ("slope", number(found.map(|f| f.slope))),
            ("slope_change", number(found.map(|f| f.slope_change))),
            (
                "lags",
                ScalarValue::Int64(found.and_then(|found| i64::try_from(found.lags).ok())),
            ),
            ("newey_west_se", number(found.map(|f| f.newey_west))),
            ("autocorrelation", number(found.map(|f| f.correlation))),
            ("status", text(status)),
        ]
    }
}

impl Accumulator for Series {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [t, y, weights @ ..] = values else {
            return internal_err!("{NAME}() takes a period and a value");
        };
        let weights = match weights {
            [weights, ..] => Some(as_float64_array(weights)?),
            [] => None,
        };
        for (row, (t, y)) in as_int64_array(t)?
            .iter()
            .zip(as_float64_array(y)?)
            .enumerate()
        {
            let weight = match weights {
                Some(weights) if weights.is_null(row) => continue,
                Some(weights) => weights.value(row),
                None => 1.0,
            };
            let (Some(t), Some(y)) = (t, y) else {
                continue;
            };
            check(y, weight)?;
            if weight > 0.0 {
                self.add(t, weight, weight * y);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        record::scalar(&self.parts())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.periods.len() * 40
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: ArrayRef| SingleRowListArrayBuilder::new(column).build_list_scalar();
        let numbers = |of: fn(&(f64, f64)) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(
                self.periods.values().map(of),
            ))
        };
        let t = Int64Array::from_iter_values(self.periods.keys().copied());
        Ok(vec![
            list(Arc::new(t)),
            list(numbers(|period| period.0)),
            list(numbers(|period| period.1)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [t, weights, sums] = take_function_args(NAME, states)?;
        let (t, weights, sums) = (
            as_list_array(t)?,
            as_list_array(weights)?,
            as_list_array(sums)?,
        );
        for row in 0..t.len() {
            let (t, weights, sums) = (t.value(row), weights.value(row), sums.value(row));
            let weights = weights.as_primitive::<Float64Type>().values();
            let sums = sums.as_primitive::<Float64Type>().values();
            let t = t.as_primitive::<Int64Type>().values();
            for (t, (weight, sum)) in t.iter().zip(weights.iter().zip(sums)) {
                self.add(*t, *weight, *sum);
            }
        }
        Ok(())
    }
}

/// What can't be summed up.
fn check(y: f64, weight: f64) -> Result<(), FunnelError> {
    if y.is_finite() && weight.is_finite() && weight >= 0.0 {
        return Ok(());
    }
    Err(FunnelError::InvalidArgument {
        message: format!("{NAME}() can't take the value {y} of weight {weight}"),
        hint: "Leave rows without a finite value out; a weight is 0 or more.".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    #[test]
    fn rows_of_a_period_are_its_mean() {
        let fit = "round(f['effect'], 6), round(f['lo'], 6), f['n_before'], f['points_after']";
        let rows = "(VALUES (-4, 1), (-4, 2), (-3, 2), (-2, 4), (-1, 3), (0, 6), (1, 7), (2, 5), (2, 9)) AS s(t, y)";
        let single = format!("SELECT {fit} FROM (SELECT its_fit(t, y) AS f FROM {rows})");
        let means = format!(
            "SELECT {fit} FROM (SELECT its_fit(t, y, n) AS f FROM (SELECT t, avg(y) AS y, count(*) AS n FROM {rows} GROUP BY t))"
        );
        for sql in [single, means] {
            check(&its_fit_udaf(), &sql, &["1.610294 -2.829482 5.0 3"]);
        }
    }

    #[test]
    fn what_is_missing_has_a_status() {
        let status = |rows: &str, expected: &str| {
            let sql = format!(
                "SELECT f['status'], f['effect'] IS NULL, f['lo'] IS NULL FROM (SELECT its_fit(t, y, 周) AS f FROM (VALUES {rows}) AS s(t, y, 周))"
            );
            check(&its_fit_udaf(), &sql, &[expected]);
        };
        status(
            "(1, 2, 1), (NULL, 2, 1), (-1, NULL, 1), (-1, 2, NULL), (-1, 2, 0)",
            "no_data true true",
        );
        status(
            "(-2, 2, 1), (-1, 2, 1), (0, 2, 1), (1, 2, 1), (2, 2, 1)",
            "insufficient_history true true",
        );
        status(
            "(-3, 2, 1), (-2, 2, 1), (-1, 2, 1), (0, 3, 1), (1, 3, 1), (2, 3, 1)",
            "no_variation false true",
        );
    }

    #[test]
    fn impossible_values_are_errors() {
        let fails = |sql: &str, code, part| check_error(&its_fit_udaf(), sql, code, part);
        fails("SELECT its_fit(1, 'NaN'::double)", "22023", "the value NaN");
        fails("SELECT its_fit(1, 1, -1)", "22023", "of weight -1");
        fails("SELECT its_fit(1.5, 1)", "42804", "takes an integer as t");
        fails(
            "SELECT its_fit(1)",
            "42883",
            "HINT: Write its_fit(t, y [, weight]).",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        check_partitions(
            &[its_fit_udaf()],
            "SELECT g, round(f['effect'], 9), round(f['hi'], 9), f['n_after'] FROM (SELECT v % 3 AS g, its_fit(v % 24 - 12, v * 7 % 41 / 2.0) AS f \
             FROM generate_series(1, 20000) AS s(v) GROUP BY g) ORDER BY g",
        );
    }
}
