//! What an A/B test knows when it has been looked at at every instant: an interval that only ever narrows.
//!
//! `ab_looks(at, arm, value, baseline)` walks through the instants at which results became known and takes each as a look: what is kept is what lies in
//! the confidence sequences of all looks, and the smallest `p`. So of two calls, the later one's interval lies in the earlier one's, however often
//! anybody looked in between, and nothing has to be stored: the data say when each result became known. See `statistics/looks.rs` for the
//! formulas, and for when looks begin.
//!
//! NULL instant, arm or value: the row isn't known yet, and ignored. No rows that count: NULL. Results of one instant are one look. The order
//! of rows doesn't matter, to the last bit.
//!
//! Cost: a sort of all results, and for each instant and arm a few logarithms. State: 16 bytes a result.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float64Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::cast::{as_float64_array, as_list_array, as_string_array};
use datafusion::common::utils::{SingleRowListArrayBuilder, take_function_args};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};
use datafusion::physical_plan::PhysicalExpr;

use super::calls::refuse_distinct;
use super::columns::items_of;
use super::journey::arguments::literal;
use crate::UTC;
use crate::definition::resolve::instant_type;
use crate::error::FunnelError;
use crate::scalar::formula::check_between;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::adjust::Adjustment;
use crate::statistics::looks::{Arm, ArmFound, Of, Settings, looks};
use crate::statistics::sequential::DEFAULT_TUNING;

const NAME: &str = "ab_looks";

const PARAMETERS: Parameters = Parameters {
    required: 4,
    list: &[
        ("at", Kind::Instant),
        ("arm", Kind::Text),
        ("value", Kind::Number),
        ("baseline", Kind::Text),
        ("alpha", Kind::Number),
        ("tuning", Kind::Number),
        ("of", Kind::Text),
        ("adjust", Kind::Text),
    ],
};

/// Each arm against the baseline, after a look at every instant.
///
/// - `at`: Timestamp, when the result became known: a success not before a failure of the same age would have been
/// - `arm`: Utf8; `value`: 1 for a success and 0 for a failure, or with `of => 'mean'` any number
/// - `baseline`: literal Utf8, the arm that others are compared with
/// - `alpha`: literal Float64 in (0, 1), 0.05 when left out; `tuning`: literal Float64, the results of an arm and the baseline at which the
///   interval is narrowest, 5000
/// - `of`: literal, `'rate'` (when left out) or `'mean'`; `adjust`: literal, as the method of `p_adjust`, `'holm'` when left out
/// - returns `List<Struct { arm, n, mean, looks, first_look_at, decided_at, estimate, lo, hi, p, p_adj, level, rel_lift, rel_lo, rel_hi,
///   status }>` by arm: `mean` is the rate of a rate; `estimate` the mean less the baseline's, `lo` and `hi` what lies in all intervals;
///   `decided_at` when the interval first left out 0; `p` the smallest of all looks; `level` the alpha of the interval, so that it leaves out 0
///   exactly where `p_adj` < `alpha`; `rel_lift` the mean as a multiple of the baseline's, less 1
/// - `status`: `ok`; `insufficient_history`: too few results for a look; `no_variation`: all results of an arm are the same; `no_control`: the
///   baseline has none; `drift`: nothing lies in all intervals, so that the difference isn't the same all the time
/// - errors: 22023 when a value is neither 0 nor 1, or not finite, or a literal is none of those
/// - source: arXiv 2103.06476v7; the example is one look, and equals gbstats 0.8.0, `SequentialTwoSidedTTest` of `ProportionStatistic(1000, 100)`
///   and `(1000, 130)`: -0.014518, 0.074518, 0.378932
/// ```slt
/// query TIIRRRRT
/// SELECT a['arm'], a['n'], a['looks'], round(a['estimate'], 3), round(a['lo'], 6), round(a['hi'], 6), round(a['p'], 6), a['status']
/// FROM (
///   SELECT unnest(ab_looks(TIMESTAMP '2026-01-01', arm, CASE WHEN i <= k THEN 1 ELSE 0 END, 'a')) AS a
///   FROM (VALUES ('a', 100), ('b', 130)) AS arms(arm, k), generate_series(1, 1000) AS s(i)
/// )
/// ----
/// a 1000 0 NULL NULL NULL NULL ok
/// b 1000 1 0.03 -0.014518 0.074518 0.378932 ok
/// ```
pub fn ab_looks_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(AbLooks {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbLooks {
    signature: Signature,
}

impl AggregateUDFImpl for AbLooks {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::List(item_field()))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, call.is_distinct)?;
        Ok(Box::new(LooksAccumulator {
            arms: BTreeMap::new(),
            settings: settings(call.exprs)?,
        }))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| -> FieldRef {
            let item = Arc::new(Field::new_list_field(item, true));
            let name = format_state_name(call.name, part);
            Arc::new(Field::new(name, DataType::List(item), true))
        };
        Ok(vec![
            list("arms", DataType::Utf8),
            list("counts", DataType::Int64),
            list("times", DataType::Int64),
            list("values", DataType::Float64),
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
        "Each arm of a test against the baseline, after a look at every instant: a list of structs whose interval lo to hi only ever \
         narrows, with the smallest p of all looks and when it was decided.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("at", "When the result became known.")
    .with_argument("arm", "The arm, a text.")
    .with_argument("value", "1 for a success and 0 for a failure; with of => 'mean' any number.")
    .with_argument("baseline", "The arm that others are compared with.")
    .with_argument("alpha", "How often any interval may miss the true difference: a fraction, 0.05 when left out.")
    .with_argument("tuning", "The results of an arm and the baseline at which the interval is narrowest, 5000 when left out.")
    .with_argument("of", "'rate' (when left out) or 'mean'.")
    .with_argument("adjust", "How the number of arms is taken into account, as by p_adjust(): 'holm' when left out.")
    .with_sql_example(
        "```sql\nSELECT unnest(ab_looks(known_at, arm, CASE WHEN won THEN 1 ELSE 0 END, 'old')) FROM results;\n```",
    )
    .build()
}

fn settings(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Settings> {
    let text = |at: usize| -> Result<Option<String>> {
        let Some(expr) = exprs.get(at) else {
            return Ok(None);
        };
        let value = literal(expr, NAME, PARAMETERS.list[at].0)?;
        match value.try_as_str().flatten() {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(is_null(at)),
        }
    };
    let number = |at: usize, default: f64| -> Result<f64> {
        let Some(expr) = exprs.get(at) else {
            return Ok(default);
        };
        match literal(expr, NAME, PARAMETERS.list[at].0)? {
            ScalarValue::Float64(Some(number)) => Ok(number),
            _ => Err(is_null(at)),
        }
    };
    let (alpha, tuning) = (number(4, 0.05)?, number(5, DEFAULT_TUNING)?);
    check_between("alpha", alpha, 0.0, 1.0)?;
    check_between("tuning", tuning, 0.0, f64::INFINITY)?;
    let of = match text(6)?.as_deref() {
        None | Some("rate") => Of::Rates,
        Some("mean") => Of::Means,
        Some(other) => {
            return Err(FunnelError::InvalidArgument {
                message: format!("of can't be \"{other}\""),
                hint: "Write 'rate' or 'mean'.".to_owned(),
            }
            .into());
        }
    };
    let adjustment = text(7)?.map(|name| Adjustment::parse(&name)).transpose()?;
    Ok(Settings {
        baseline: text(3)?.unwrap_or_default(),
        alpha,
        tuning,
        of,
        adjustment: adjustment.unwrap_or(Adjustment::Holm),
    })
}

fn is_null(at: usize) -> datafusion::error::DataFusionError {
    FunnelError::InvalidArgument {
        message: format!("{} of {NAME}() is NULL", PARAMETERS.list[at].0),
        hint: format!("Write {}.", PARAMETERS.syntax(NAME)),
    }
    .into()
}

#[derive(Debug)]
struct LooksAccumulator {
    arms: BTreeMap<String, Vec<(i64, f64)>>,
    settings: Settings,
}

impl LooksAccumulator {
    fn results(&mut self, arm: &str) -> &mut Vec<(i64, f64)> {
        // An arm is looked up far more often than it is new.
        if !self.arms.contains_key(arm) {
            self.arms.insert(arm.to_owned(), Vec::new());
        }
        self.arms.entry(arm.to_owned()).or_default()
    }
}

impl Accumulator for LooksAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [times, arms, values, ..] = values else {
            return Err(internal_datafusion_err!(
                "a result is a time, an arm and a value"
            ));
        };
        let times = times
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(|| internal_datafusion_err!("{} is given for a time", times.data_type()))?;
        let (arms, values) = (as_string_array(arms)?, as_float64_array(values)?);
        for ((time, arm), value) in times.iter().zip(arms).zip(values) {
            if let (Some(time), Some(arm), Some(value)) = (time, arm, value) {
                self.results(arm).push((time, value));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.arms.is_empty() {
            return ScalarValue::try_from(DataType::List(item_field()));
        }
        let arms = self.arms.iter().map(|(name, results)| Arm {
            name: name.clone(),
            results: results.clone(),
        });
        let found = looks(arms.collect(), &self.settings)?;
        Ok(SingleRowListArrayBuilder::new(Arc::new(items(&found)?))
            .with_field(&item_field())
            .build_list_scalar())
    }

    fn size(&self) -> usize {
        let arms = self.arms.iter();
        let heap = arms.map(|(name, results)| {
            name.capacity() + results.capacity() * size_of::<(i64, f64)>() + size_of::<String>()
        });
        size_of_val(self) + heap.sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: ArrayRef| SingleRowListArrayBuilder::new(column).build_list_scalar();
        let names = self.arms.keys().map(Some).collect::<StringArray>();
        let counts = self.arms.values().map(|results| results.len() as i64);
        let results = || self.arms.values().flatten();
        Ok(vec![
            list(Arc::new(names)),
            list(Arc::new(Int64Array::from_iter_values(counts))),
            list(Arc::new(Int64Array::from_iter_values(
                results().map(|(time, _)| *time),
            ))),
            list(Arc::new(Float64Array::from_iter_values(
                results().map(|(_, value)| *value),
            ))),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [names, counts, times, values] = take_function_args(NAME, states)?;
        let (names, counts) = (as_list_array(names)?, as_list_array(counts)?);
        let (times, values) = (as_list_array(times)?, as_list_array(values)?);
        for row in 0..names.len() {
            let names = names
                .values()
                .slice(items_of(names, row).start, items_of(names, row).len());
            let counts = counts
                .values()
                .slice(items_of(counts, row).start, items_of(counts, row).len());
            let times = times
                .values()
                .slice(items_of(times, row).start, items_of(times, row).len());
            let values = values
                .values()
                .slice(items_of(values, row).start, items_of(values, row).len());
            let (times, values) = (
                times.as_primitive::<Int64Type>().values(),
                values.as_primitive::<Float64Type>().values(),
            );
            let mut results = times.iter().copied().zip(values.iter().copied());
            let counts = counts.as_primitive::<Int64Type>().values();
            for (name, count) in as_string_array(&names)?.iter().flatten().zip(counts) {
                let count = usize::try_from(*count).unwrap_or_default();
                self.results(name).extend(results.by_ref().take(count));
            }
        }
        Ok(())
    }
}

fn item_fields() -> Fields {
    let number = |name: &'static str| (name, DataType::Float64);
    [
        ("arm", DataType::Utf8),
        ("n", DataType::Int64),
        number("mean"),
        ("looks", DataType::Int64),
        ("first_look_at", instant_type()),
        ("decided_at", instant_type()),
        number("estimate"),
        number("lo"),
        number("hi"),
        number("p"),
        number("p_adj"),
        number("level"),
        number("rel_lift"),
        number("rel_lo"),
        number("rel_hi"),
        ("status", DataType::Utf8),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(item_fields()), true))
}

fn items(found: &[ArmFound]) -> Result<StructArray> {
    let numbers = |of: fn(&ArmFound) -> Option<f64>| -> ArrayRef {
        Arc::new(found.iter().map(of).collect::<Float64Array>())
    };
    let counts = |of: fn(&ArmFound) -> usize| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            found.iter().map(|arm| of(arm) as i64),
        ))
    };
    let instants = |of: fn(&ArmFound) -> Option<i64>| -> ArrayRef {
        let instants = found.iter().map(of).collect::<TimestampMicrosecondArray>();
        Arc::new(instants.with_timezone(UTC))
    };
    let texts = |of: fn(&ArmFound) -> &str| -> ArrayRef {
        Arc::new(
            found
                .iter()
                .map(|arm| Some(of(arm)))
                .collect::<StringArray>(),
        )
    };
    let columns = vec![
        texts(|arm| &arm.name),
        counts(|arm| arm.n),
        numbers(|arm| Some(arm.mean)),
        counts(|arm| arm.looks),
        instants(|arm| arm.first_look_at),
        instants(|arm| arm.decided_at),
        numbers(|arm| arm.estimate),
        numbers(|arm| arm.interval.map(|(lo, _)| lo)),
        numbers(|arm| arm.interval.map(|(_, hi)| hi)),
        numbers(|arm| arm.p),
        numbers(|arm| arm.p_adj),
        numbers(|arm| arm.level),
        numbers(|arm| arm.rel_lift),
        numbers(|arm| arm.rel_interval.map(|(lo, _)| lo)),
        numbers(|arm| arm.rel_interval.map(|(_, hi)| hi)),
        texts(|arm| arm.status),
    ];
    Ok(StructArray::try_new(item_fields(), columns, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    #[track_caller]
    fn check_looks(sql: &str, expected: &[&str]) {
        check(&ab_looks_udaf(), sql, expected);
    }

    #[test]
    fn what_is_not_known_yet_does_not_count() {
        check_looks(
            "SELECT a['arm'], a['n'], a['mean'], a['status'] FROM (SELECT unnest(ab_looks(t, arm, v, '旧')) AS a \
             FROM (VALUES (TIMESTAMP '2026-01-01', '旧', 1), (NULL, '旧', 0), (TIMESTAMP '2026-01-02', NULL, 0), \
             (TIMESTAMP '2026-01-02', '新', NULL), (TIMESTAMP '2026-01-02', '新', 0)) AS s(t, arm, v))",
            &["新 1 0.0 no_variation", "旧 1 1.0 ok"],
        );
        check_looks(
            "SELECT ab_looks(t, arm, v, 'a') FROM (VALUES (TIMESTAMP '2026-01-01', 'a', 1)) AS s(t, arm, v) WHERE v > 1",
            &["NULL"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, code, part| check_error(&ab_looks_udaf(), sql, code, part);
        let now = "TIMESTAMP '2026-01-01'";
        fails(
            &format!("SELECT ab_looks({now}, 'a', 2, 'a')"),
            "22023",
            "a success can't be 2",
        );
        fails(
            &format!("SELECT ab_looks({now}, 'a', 1, NULL)"),
            "22023",
            "baseline of ab_looks() is NULL",
        );
        fails(
            &format!("SELECT ab_looks({now}, 'a', 1, 'a', 1.5)"),
            "22023",
            "alpha can't be 1.5",
        );
        fails(
            &format!("SELECT ab_looks({now}, 'a', 1, 'a', 0.1, 0)"),
            "22023",
            "tuning can't be 0",
        );
        fails(
            &format!("SELECT ab_looks({now}, 'a', 1, 'a', 0.1, 9, 'sum')"),
            "22023",
            "Write 'rate' or 'mean'",
        );
        fails(
            "SELECT ab_looks(1, 'a', 1, 'a')",
            "42804",
            "a timestamp or a date as at",
        );
        fails(
            &format!("SELECT ab_looks({now}, arm, 1, arm) FROM (VALUES ('a')) AS s(arm)"),
            "22023",
            "is not a literal",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        for (value, of) in [
            (
                "CASE WHEN v * 7919 % 100 < 30 + v % 3 THEN 1 ELSE 0 END",
                "rate",
            ),
            ("1e9 + v * 7919 % 101", "mean"),
        ] {
            check_partitions(
                &[ab_looks_udaf()],
                &format!(
                    "SELECT g, ab_looks(t, arm, x, 'arm 0', 0.05, 5000, '{of}') FROM (SELECT v % 2 AS g, 'arm ' || (v % 3) AS arm, {value} AS x, \
                     arrow_cast(v * 31 % 997, 'Timestamp(Microsecond, None)') AS t FROM generate_series(1, 6000) AS s(v)) GROUP BY g ORDER BY g"
                ),
            );
        }
    }
}
