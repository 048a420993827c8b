//! Did a change work, against a group that it didn't touch? The difference in differences.
//!
//! `did_fit(t, y, treated)` compares the mean of `y` of the treated before and after the change with that of the others;
//! periods `t` below 0 lie before it. With a `cluster`, such as the owner of a deal, values of one cluster may
//! resemble one another. Whether the two groups moved alike before the change is tested as well. See
//! `statistics/diff_in_diff.rs` for the formulas.
//!
//! A row with a NULL is ignored, but for the cluster: those without one are a cluster together. The order of rows doesn't
//! matter.
//!
//! Cost: a row is a look into a map; the result one pass over its elements. State: 80 bytes for each cluster, period and group.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::cast::{
    as_boolean_array, as_float64_array, as_int64_array, as_list_array, as_string_array,
};
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
use crate::statistics::diff_in_diff::{Difference, Group, Values, compare};

const NAME: &str = "did_fit";

const PARAMETERS: Parameters = Parameters {
    required: 3,
    list: &[
        ("t", Kind::Count),
        ("y", Kind::Number),
        ("treated", Kind::Condition),
        ("cluster", Kind::Text),
    ],
};

/// What the treated became at a change, less what the others became in the same time.
///
/// - `t`: integer number of the period, below 0 before the change and from 0 on after it
/// - `y`: Float64 value of a row; 0 or 1 for a rate
/// - `treated`: whether the change is meant for the row
/// - `cluster`: Utf8, whose values may resemble one another; left out, none do
/// - returns `Struct { n_before, before, n_after, after, control_n_before, control_before, control_n_after, control_after,
///   counterfactual, effect, se, lo, hi, p, change, change_lo, change_hi, change_p, gap, gap_lo, gap_hi, gap_p, pretrend, pretrend_p, clusters, status }`. `n` and `clusters` are Int64, the others
///   Float64: means of the four cells; `effect` = (`after` - `before`) - (`control_after` - `control_before`) with its standard
///   error, 95 % interval and two-sided `p`; `counterfactual` = `after` - `effect`; `change` = `after` - `before` and `gap` =
///   `after` - `control_after`, alone; `pretrend` by how much the difference of the two grew, a period, before the change (NULL
///   with less than 3 periods)
/// - `status`: `ok`; `no_data` (the treated have no rows before or after): no effect; `no_control` (the others haven't): no
///   effect; `no_variation`: no interval
/// - errors: 22023 when a value isn't finite
/// - source: J. Angrist and J.-S. Pischke, Mostly Harmless Econometrics (2009), section 5.2; the example by hand: 0.55 - 0.40 - (0.47 -
///   0.45), ± 1.96 √(0.55·0.45/200 + 0.4·0.6/100 + 0.47·0.53/300 + 0.45·0.55/400)
/// ```slt
/// query RRRRT
/// SELECT round(f['effect'], 4), round(f['lo'], 4), round(f['hi'], 4), round(f['p'], 4), f['status']
/// FROM (
///   SELECT did_fit(t, CASE WHEN v <= k THEN 1 ELSE 0 END, treated) AS f
///   FROM (VALUES (-1, true, 40, 100), (0, true, 110, 200), (-1, false, 180, 400), (0, false, 141, 300)) AS cells(t, treated, k, n),
///     generate_series(1, 400) AS s(v) WHERE v <= n
/// )
/// ----
/// 0.13 -0.0098 0.2698 0.0683 ok
/// ```
pub fn did_fit_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(DidFit {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DidFit {
    signature: Signature,
}

impl AggregateUDFImpl for DidFit {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(record::data_type(&Groups::default().parts()))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, call.is_distinct)?;
        Ok(Box::new(Groups::default()))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let list = |part: &str, item: DataType| -> FieldRef {
            let item = Arc::new(Field::new_list_field(item, true));
            let name = format_state_name(call.name, part);
            Arc::new(Field::new(name, DataType::List(item), true))
        };
        Ok(vec![
            list("clusters", DataType::Utf8),
            list("t", DataType::Int64),
            list("treated", DataType::Boolean),
            list("n", DataType::Float64),
            list("sums", DataType::Float64),
            list("squares", DataType::Float64),
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
        "What the treated became at a change, less what the others became in the same time (difference in differences): a struct of the means \
         and sizes of the four cells, counterfactual, effect, se, lo, hi, p, the change and the gap alone with theirs, pretrend, pretrend_p, \
         clusters and status.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("t", "The number of the period: below 0 before the change, from 0 on after it.")
    .with_argument("y", "The value of a row; 0 or 1 for a rate.")
    .with_argument("treated", "Whether the change is meant for the row.")
    .with_argument("cluster", "Whose values may resemble one another, such as the owner.")
    .with_sql_example("```sql\nSELECT did_fit(week, won, region = 'south', owner)['effect'] FROM deals;\n```")
    .build()
}

/// Sums by cluster, period and group.
#[derive(Debug, Default)]
struct Groups {
    values: BTreeMap<Option<String>, BTreeMap<(i64, bool), Values>>,
}

impl Groups {
    fn add(&mut self, cluster: Option<&str>, t: i64, treated: bool, values: Values) {
        let cluster = cluster.map(str::to_owned);
        let sums = self.values.entry(cluster).or_default();
        sums.entry((t, treated)).or_default().add(values);
    }

    fn iter(&self) -> impl Iterator<Item = (Option<&str>, Group)> {
        let clusters = self.values.iter().enumerate();
        clusters.flat_map(|(cluster, (name, sums))| {
            sums.iter().map(move |((t, treated), values)| {
                let group = Group {
                    cluster,
                    t: *t,
                    treated: *treated,
                    values: *values,
                };
                (name.as_deref(), group)
            })
        })
    }

    fn parts(&self) -> Vec<Part> {
        let found = compare(&self.iter().map(|(_, group)| group).collect::<Vec<_>>());
        let cells = found.cells;
        let limits = |difference: Option<Difference>| {
            let limits = difference.and_then(|difference| difference.limits());
            [limits.map(|(low, _)| low), limits.map(|(_, high)| high)]
        };
        let value = |difference: Option<Difference>| number(difference.map(|found| found.value));
        let p = |difference: Option<Difference>| number(difference.and_then(|found| found.p()));
        let [lo, hi] = limits(found.effect);
        let [change_lo, change_hi] = limits(found.change);
        let [gap_lo, gap_hi] = limits(found.gap);
        let status = match (found.change, found.effect, lo) {
            (None, ..) => "no_data",
            (_, None, _) => "no_control",
            (_, _, None) => "no_variation",
            _ => "ok",
        };
        let counterfactual = cells.after.mean().zip(found.effect);
        vec![
            ("n_before", count(cells.before.n)),
            ("before", number(cells.before.mean())),
            ("n_after", count(cells.after.n)),
            ("after", number(cells.after.mean())),
            ("control_n_before", count(cells.control_before.n)),
            ("control_before", number(cells.control_before.mean())),
            ("control_n_after", count(cells.control_after.n)),
            ("control_after", number(cells.control_after.mean())),
            (
                "counterfactual",
                number(counterfactual.map(|(after, effect)| after - effect.value)),
            ),
            ("effect", value(found.effect)),
            (
                "se",
                number(found.effect.map(|effect| effect.standard_error)),
            ),
            ("lo", number(lo)),
            ("hi", number(hi)),
            ("p", p(found.effect)),
            ("change", value(found.change)),
            ("change_lo", number(change_lo)),
            ("change_hi", number(change_hi)),
            ("change_p", p(found.change)),
            ("gap", value(found.gap)),
            ("gap_lo", number(gap_lo)),
            ("gap_hi", number(gap_hi)),
            ("gap_p", p(found.gap)),
            ("pretrend", value(found.slope)),
            ("pretrend_p", p(found.slope)),
            ("clusters", count(found.clusters as f64)),
            ("status", text(status)),
        ]
    }
}

impl Accumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [t, y, treated, clusters @ ..] = values else {
            return internal_err!("{NAME}() takes a period, a value and a condition");
        };
        let clusters = match clusters {
            [clusters, ..] => Some(as_string_array(clusters)?),
            [] => None,
        };
        let (t, y, treated) = (
            as_int64_array(t)?,
            as_float64_array(y)?,
            as_boolean_array(treated)?,
        );
        for (row, ((t, y), treated)) in t.iter().zip(y).zip(treated).enumerate() {
            let (Some(t), Some(y), Some(treated)) = (t, y, treated) else {
                continue;
            };
            check(y)?;
            let cluster = clusters.filter(|names| names.is_valid(row));
            self.add(
                cluster.map(|names| names.value(row)),
                t,
                treated,
                Values::one(y),
            );
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        record::scalar(&self.parts())
    }

    fn size(&self) -> usize {
        let names = self.values.keys().flatten().map(String::capacity);
        let groups = self.values.values().map(BTreeMap::len);
        size_of_val(self)
            + names.sum::<usize>()
            + self.values.len() * 48
            + groups.sum::<usize>() * 40
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |column: ArrayRef| SingleRowListArrayBuilder::new(column).build_list_scalar();
        let numbers = |of: fn(Values) -> f64| -> ArrayRef {
            let values = self.iter().map(|(_, group)| of(group.values));
            Arc::new(Float64Array::from_iter_values(values))
        };
        let names = self.iter().map(|(name, _)| name).collect::<StringArray>();
        let t = Int64Array::from_iter_values(self.iter().map(|(_, group)| group.t));
        let treated = self.iter().map(|(_, group)| Some(group.treated));
        Ok(vec![
            list(Arc::new(names)),
            list(Arc::new(t)),
            list(Arc::new(treated.collect::<BooleanArray>())),
            list(numbers(|values| values.n)),
            list(numbers(|values| values.sum)),
            list(numbers(|values| values.squares)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [names, t, treated, n, sums, squares] = take_function_args(NAME, states)?;
        let (names, t, treated) = (
            as_list_array(names)?,
            as_list_array(t)?,
            as_list_array(treated)?,
        );
        let (n, sums, squares) = (
            as_list_array(n)?,
            as_list_array(sums)?,
            as_list_array(squares)?,
        );
        for row in 0..t.len() {
            let (names, t, treated) = (names.value(row), t.value(row), treated.value(row));
            let (n, sums, squares) = (n.value(row), sums.value(row), squares.value(row));
            let (names, treated) = (names.as_string::<i32>(), treated.as_boolean());
            let t = t.as_primitive::<Int64Type>();
            let [n, sums, squares] =
                [&n, &sums, &squares].map(|list| list.as_primitive::<Float64Type>());
            for at in 0..t.len() {
                let values = Values {
                    n: n.value(at),
                    sum: sums.value(at),
                    squares: squares.value(at),
                };
                let name = names.is_valid(at).then(|| names.value(at));
                self.add(name, t.value(at), treated.value(at), values);
            }
        }
        Ok(())
    }
}

/// What can't be summed up.
fn check(y: f64) -> Result<(), FunnelError> {
    match y.is_finite() {
        true => Ok(()),
        false => Err(FunnelError::InvalidArgument {
            message: format!("{NAME}() can't take the value {y}"),
            hint: "Leave rows without a finite value out.".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    #[test]
    fn what_is_missing_has_a_status() {
        let status = |rows: &str, expected: &str| {
            let sql = format!(
                "SELECT f['status'], f['n_after'], round(f['change'], 4), f['effect'], f['lo'] FROM (SELECT did_fit(t, y, 试点, 负责人) AS f FROM (VALUES {rows}) AS s(t, y, 试点, 负责人))"
            );
            check(&did_fit_udaf(), &sql, &[expected]);
        };
        status(
            "(1, 2, true, '李'), (-1, NULL, true, '李'), (-1, 1, NULL, '李'), (NULL, 1, true, '李')",
            "no_data 1 NULL NULL NULL",
        );
        status(
            "(1, 2, true, '李'), (-1, 1, true, NULL), (-1, 1, false, '李')",
            "no_control 1 1.0 NULL NULL",
        );
        status(
            "(1, 2, true, '李'), (-1, 3, true, '李'), (-1, 4, false, '李'), (1, 4, false, '李')",
            "no_variation 1 -1.0 -1.0 NULL",
        );
    }

    #[test]
    fn rows_without_a_cluster_are_one() {
        let sql = "SELECT f['clusters'] FROM (SELECT did_fit(0, 1, true, c) AS f FROM (VALUES ('a'), (NULL), (NULL)) AS s(c))";
        check(&did_fit_udaf(), sql, &["2"]);
    }

    #[test]
    fn impossible_values_are_errors() {
        let fails = |sql: &str, code, part| check_error(&did_fit_udaf(), sql, code, part);
        fails(
            "SELECT did_fit(1, 'inf'::double, true)",
            "22023",
            "the value inf",
        );
        fails(
            "SELECT did_fit(1, 1, 1)",
            "42804",
            "takes a condition as treated",
        );
        fails(
            "SELECT did_fit(1, 1)",
            "42883",
            "HINT: Write did_fit(t, y, treated [, cluster]).",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        check_partitions(
            &[did_fit_udaf()],
            "SELECT g, round(f['effect'], 9), round(f['hi'], 9), round(f['pretrend_p'], 9), f['clusters'] FROM (SELECT v % 3 AS g, \
             did_fit(v % 24 - 12, v * 7 % 41 / 2.0, v % 5 = 0, 'o' || (v % 13)) AS f FROM generate_series(1, 20000) AS s(v) GROUP BY g) ORDER BY g",
        );
    }
}
