//! How much do the rates of some segments differ beyond chance? The prior that `eb_interval` draws each of them to.
//!
//! `eb_prior(k, n)` takes a row for each segment, `k` of whose `n` entities reached the goal, and finds the Beta(α, β) that makes
//! these counts likeliest, when each segment's true rate is drawn from it (beta-binomial marginal maximum likelihood). The method
//! is in [`beta_binomial`](crate::statistics::beta_binomial).
//!
//! A row where `k` or `n` is NULL is ignored; one where `n = 0` says nothing. The order of rows doesn't matter.
//!
//! Cost: a row is one insertion to a sorted map; the fit some 400 passes over its distinct pairs. State: 48 bytes a pair.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, StructArray,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::cast::as_int64_array;
use datafusion::common::utils::{SingleRowListArrayBuilder, take_function_args};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};

use super::calls::refuse_distinct;
use super::columns::{item_field, list};
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::beta_binomial::{Prior, Segments, fit};

const NAME: &str = "eb_prior";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[("k", Kind::Count), ("n", Kind::Count)],
};

/// The prior of the rates of some segments, by their counts.
///
/// - `k`, `n`: integer counts of entities, one row per segment, `0 <= k <= n`
/// - returns `Struct { alpha, beta, k, n, groups, status }`: `alpha` and `beta` Float64, prior successes and failures, NULL
///   where `status` isn't `ok`; `k` and `n` Int64, the sums; `groups` Int64, the segments with `n > 0`
/// - `status`: `ok`; `no_heterogeneity` (the rates differ by no more than chance: the best estimate of each is `k / n`);
///   `one_group`; `separated` (each segment succeeds always or never); `no_data`
/// - errors: 22023 when `k > n` or a count is negative
/// - source: D. A. Griffiths, Biometrics 29 (1973), 637–648; the example is the root of the likelihood's
///   derivatives by mpmath 1.3 with 30 digits, 3.21874959 and 12.05391018
/// ```slt
/// query RRIIIT
/// SELECT round(p['alpha'], 4), round(p['beta'], 4), p['k'], p['n'], p['groups'], p['status']
/// FROM (
///   SELECT eb_prior(k, n) AS p
///   FROM (VALUES (12, 100), (30, 120), (9, 80), (55, 200), (3, 40), (25, 60)) AS segments(k, n)
/// )
/// ----
/// 3.2187 12.0539 134 600 6 ok
/// ```
pub fn eb_prior_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(EbPrior {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EbPrior {
    signature: Signature,
}

impl AggregateUDFImpl for EbPrior {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::Struct(fields()))
    }

    fn accumulator(&self, call: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, call.is_distinct)?;
        Ok(Box::new(EbPriorAccumulator::default()))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str| -> FieldRef {
            let name = format_state_name(call.name, part);
            Arc::new(Field::new(
                name,
                DataType::List(item_field(DataType::Int64)),
                true,
            ))
        };
        Ok(vec![field("k"), field("n"), field("segments")])
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
        "How much the rates k / n of some segments differ beyond chance: the Beta prior that makes their counts likeliest, as a \
         struct of alpha, beta, k, n, groups and status. eb_interval() shrinks a segment's rate to it.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("k", "How many entities of the segment reached the goal: an integer from 0 to n. One row a segment.")
    .with_argument("n", "How many entities the segment has.")
    .with_sql_example("```sql\nSELECT eb_prior(won, leads) FROM channels;\n```")
    .build()
}

fn fields() -> Fields {
    [
        ("alpha", DataType::Float64),
        ("beta", DataType::Float64),
        ("k", DataType::Int64),
        ("n", DataType::Int64),
        ("groups", DataType::Int64),
        ("status", DataType::Utf8),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

/// How many segments have as many successes of as many entities.
#[derive(Debug, Default)]
struct EbPriorAccumulator {
    segments: BTreeMap<(i64, i64), i64>,
}

impl EbPriorAccumulator {
    fn add(&mut self, k: i64, n: i64, count: i64) {
        *self.segments.entry((k, n)).or_default() += count;
    }
}

impl Accumulator for EbPriorAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [k, n] = take_function_args(NAME, values)?;
        for (k, n) in as_int64_array(k)?.iter().zip(as_int64_array(n)?) {
            if let (Some(k), Some(n)) = (k, n) {
                self.add(k, n, 1);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let segments: Vec<Segments> = self
            .segments
            .iter()
            .map(|((k, n), count)| Segments {
                k: *k,
                n: *n,
                count: *count,
            })
            .collect();
        let prior = fit(&segments)?;
        let (alpha, beta) = match prior {
            Prior::Beta { alpha, beta } => (Some(alpha), Some(beta)),
            _ => (None, None),
        };
        let sum = |of: fn(&Segments) -> i64| segments.iter().map(of).sum::<i64>();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(vec![alpha])),
            Arc::new(Float64Array::from(vec![beta])),
            Arc::new(Int64Array::from(vec![sum(|it| it.k * it.count)])),
            Arc::new(Int64Array::from(vec![sum(|it| it.n * it.count)])),
            Arc::new(Int64Array::from(vec![sum(|it| match it.n {
                0 => 0,
                _ => it.count,
            })])),
            Arc::new(StringArray::from(vec![prior.status()])),
        ];
        let row = StructArray::try_new(fields(), columns, None)?;
        Ok(ScalarValue::Struct(Arc::new(row)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.segments.len() * 48
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let column = |of: fn((&(i64, i64), &i64)) -> i64| {
            let items = Int64Array::from_iter_values(self.segments.iter().map(of));
            SingleRowListArrayBuilder::new(Arc::new(items)).build_list_scalar()
        };
        Ok(vec![
            column(|((k, _), _)| *k),
            column(|((_, n), _)| *n),
            column(|(_, count)| *count),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [k, n, counts] = states else {
            return internal_err!("a state of {NAME}() has three lists");
        };
        let (k, n, counts) = (list(k)?, list(n)?, list(counts)?);
        for row in 0..k.len() {
            let values = [k.value(row), n.value(row), counts.value(row)];
            let [k, n, counts] = values.each_ref().map(|it| it.as_primitive::<Int64Type>());
            for ((k, n), count) in k.values().iter().zip(n.values()).zip(counts.values()) {
                self.add(*k, *n, *count);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    #[track_caller]
    fn check_status(rows: &str, expected: &str) {
        check(
            &eb_prior_udaf(),
            &format!(
                "SELECT p['alpha'], p['beta'], p['k'], p['n'], p['groups'], p['status'] \
                 FROM (SELECT eb_prior(k, n) AS p FROM {rows})"
            ),
            &[expected],
        );
    }

    #[test]
    fn segments_that_say_nothing_have_no_prior() {
        check_status(
            "(SELECT 1 AS k, 1 AS n) WHERE false",
            "NULL NULL 0 0 0 no_data",
        );
        check_status(
            "(VALUES (NULL, 3), (2, NULL), (0, 0)) AS s(k, n)",
            "NULL NULL 0 0 0 no_data",
        );
        check_status(
            "(VALUES (3, 9), (0, 0), (NULL, 1)) AS s(k, n)",
            "NULL NULL 3 9 1 one_group",
        );
        check_status(
            "(VALUES (10, 100), (11, 110)) AS s(k, n)",
            "NULL NULL 21 210 2 no_heterogeneity",
        );
        check_status(
            "(VALUES (0, 40), (50, 50), (0, 30)) AS s(k, n)",
            "NULL NULL 50 120 3 separated",
        );
    }

    #[test]
    fn it_works_as_a_window_and_in_groups() {
        check(
            &eb_prior_udaf(),
            "SELECT 渠道, (eb_prior(k, n) OVER ())['groups'] FROM (VALUES ('搜索', 1, 9), ('广告', 4, 9)) AS s(渠道, k, n)",
            &["搜索 2", "广告 2"],
        );
    }

    #[test]
    fn impossible_counts_are_errors() {
        let fails = |sql: &str, code, part| check_error(&eb_prior_udaf(), sql, code, part);
        fails(
            "SELECT eb_prior(3, 2)",
            "22023",
            "a rate can't be 3 of 2 entities",
        );
        fails(
            "SELECT eb_prior(0, -1)",
            "22023",
            "a rate can't be of -1 entities",
        );
        fails("SELECT eb_prior(0.5, 2)", "42804", "takes an integer as k");
        fails("SELECT eb_prior(1)", "42883", "HINT: Write eb_prior(k, n).");
        fails(
            "SELECT eb_prior(DISTINCT 1, 2)",
            "42883",
            "doesn't take DISTINCT",
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        check_partitions(
            &[eb_prior_udaf()],
            "SELECT v % 3 AS g, eb_prior(v * 7 % 11, 20 + v % 13) FROM generate_series(1, 300) AS s(v) GROUP BY g ORDER BY g",
        );
    }
}
