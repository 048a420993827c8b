//! How sure is a sum over customers? `bootstrap_sum(customer, amount)`: the sum, with the limits of a Poisson bootstrap.
//!
//! In each of many draws every customer counts 0, 1, 2 … times by a Poisson number with mean 1, and the limits are quantiles
//! of the sums. The numbers are made of the key, the draw and the seed, so that the result is the same in whatever order
//! and partitions the rows come; see `statistics/bootstrap.rs`. Rows of one key count together: customers are
//! drawn, not rows.
//!
//! NULL key or value: the row is ignored. No rows: NULL. A sum of few, very unequal amounts has limits that are a little too
//! near; below ten amounts they say little.
//!
//! Cost: a row whose value isn't 0 is a hash and an addition for each draw; state: 8 bytes a draw.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, Float64Array, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::cast::{as_float64_array, as_string_array};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature,
};
use datafusion::physical_plan::PhysicalExpr;

use super::calls::refuse_distinct;
use super::columns::{list, primitive};
use super::journey::arguments::literal;
use crate::error::FunnelError;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::scalar::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::statistics::bootstrap;

const NAME: &str = "bootstrap_sum";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[
        ("key", Kind::Text),
        ("value", Kind::Number),
        ("confidence", Kind::Number),
        ("draws", Kind::Count),
        ("seed", Kind::Count),
    ],
};

const DEFAULT_DRAWS: i64 = 1_000;
const MOST_DRAWS: i64 = 100_000;

/// The sum of a value over customers, with the limits of a Poisson bootstrap.
///
/// - `key`: Utf8, whose the value is
/// - `value`: Float64
/// - `confidence`: literal Float64 in (0, 1), 0.95 when left out
/// - `draws`: literal Int64 from 1 to 100000, 1000 when left out; `seed`: literal Int64, 0 when left out
/// - returns `Struct { sum, lo, hi }`, Float64; NULL where no row has both
/// - errors: 22023 when `confidence` or `draws` is outside its range, or a value isn't finite
/// - source: J. Hanley, B. MacGibbon, Computer Methods and Programs in Biomedicine 83 (2006), 57–62
/// ```slt
/// query RBB
/// SELECT s['sum'], s['lo'] < 500, s['hi'] > 500
/// FROM (SELECT bootstrap_sum(CAST(i AS text), 5) AS s FROM (SELECT unnest(range(0, 100)) AS i))
/// ----
/// 500 t t
/// ```
pub fn bootstrap_sum_udaf() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(BootstrapSum {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BootstrapSum {
    signature: Signature,
}

impl AggregateUDFImpl for BootstrapSum {
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
        Ok(Box::new(Sums::of(call.exprs)?))
    }

    fn state_fields(&self, call: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        let name = format_state_name(call.name, "sums");
        Ok(vec![Arc::new(Field::new(name, DataType::List(item), true))])
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "The sum of a value over customers, with the limits of a Poisson bootstrap, as a struct of sum, lo and hi. The same \
                 for the same seed, whatever the order of the rows.",
                PARAMETERS.syntax(NAME),
            )
            .with_argument("key", "Whose the value is: customers are drawn, with all their rows.")
            .with_argument("value", "What is summed.")
            .with_argument("confidence", "A fraction, 0.95 when left out.")
            .with_argument("draws", "How many draws, 1000 when left out.")
            .with_argument("seed", "Another seed draws other customers; 0 when left out.")
            .with_sql_example("```sql\nSELECT channel, bootstrap_sum(CAST(customer_id AS text), amount) FROM orders GROUP BY channel;\n```")
            .build()
        });
        Some(&PAGE)
    }
}

fn fields() -> Fields {
    ["sum", "lo", "hi"]
        .into_iter()
        .map(|name| Field::new(name, DataType::Float64, true))
        .collect()
}

/// The plain sum first, then that of each draw.
#[derive(Debug)]
struct Sums {
    sums: Vec<f64>,
    is_empty: bool,
    confidence: f64,
    seed: u64,
}

impl Sums {
    fn of(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Self> {
        let given = |at: usize, name: &str| match exprs.get(at) {
            Some(expr) => literal(expr, NAME, name).map(Some),
            None => Ok(None),
        };
        let invalid = |name: &str, hint: &str| FunnelError::InvalidArgument {
            message: format!("argument {name} of {NAME}() can't be that"),
            hint: hint.to_owned(),
        };
        let confidence = match given(2, "confidence")? {
            None => DEFAULT_CONFIDENCE,
            Some(ScalarValue::Float64(Some(confidence))) => confidence,
            Some(_) => return Err(invalid("confidence", "Write a fraction, such as 0.95.").into()),
        };
        Confidence::new(confidence)?;
        let draws = match given(3, "draws")? {
            None => DEFAULT_DRAWS,
            Some(ScalarValue::Int64(Some(draws))) if (1..=MOST_DRAWS).contains(&draws) => draws,
            Some(_) => return Err(invalid("draws", "Write a number from 1 to 100000.").into()),
        };
        let seed = match given(4, "seed")? {
            None => 0,
            Some(ScalarValue::Int64(Some(seed))) => seed,
            Some(_) => return Err(invalid("seed", "Write a whole number.").into()),
        };
        Ok(Self {
            sums: vec![0.0; draws as usize + 1],
            is_empty: true,
            confidence,
            seed: seed as u64,
        })
    }
}

impl Accumulator for Sums {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [keys, values, ..] = values else {
            return internal_err!("{NAME}() takes a key and a value");
        };
        let (keys, values) = (as_string_array(keys)?, as_float64_array(values)?);
        for (key, value) in keys.iter().zip(values) {
            let (Some(key), Some(value)) = (key, value) else {
                continue;
            };
            if !value.is_finite() {
                return Err(FunnelError::InvalidArgument {
                    message: format!("{NAME}() can't add {value}"),
                    hint: "Leave such rows out.".to_owned(),
                }
                .into());
            }
            self.is_empty = false;
            self.sums[0] += value;
            bootstrap::add(
                &mut self.sums[1..],
                bootstrap::customer(key, self.seed),
                value,
            );
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let found = bootstrap::limits(&self.sums[1..], self.confidence);
        let column = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
        match found {
            Some((lo, hi)) if !self.is_empty => {
                let columns = vec![column(self.sums[0]), column(lo), column(hi)];
                let row = StructArray::try_new(fields(), columns, None)?;
                Ok(ScalarValue::Struct(Arc::new(row)))
            }
            _ => ScalarValue::try_from(DataType::Struct(fields())),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sums = match self.is_empty {
            true => Float64Array::from(Vec::<f64>::new()),
            false => Float64Array::from_iter_values(self.sums.iter().copied()),
        };
        Ok(vec![
            SingleRowListArrayBuilder::new(Arc::new(sums)).build_list_scalar(),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else {
            return internal_err!("a state of {NAME}() is one list");
        };
        let states = list(states)?;
        for row in 0..states.len() {
            let part = states.value(row);
            let part = primitive::<Float64Type>(&part)?;
            self.is_empty &= part.is_empty();
            for (sum, part) in self.sums.iter_mut().zip(part.values()) {
                *sum += part;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::testing::{check, check_error, check_partitions};

    #[test]
    fn rows_of_a_customer_are_drawn_together() {
        // One customer's limits are those of a Poisson number with mean 1: in 92 % it is at most 2, in 98 % at most 3.
        check(
            &bootstrap_sum_udaf(),
            "SELECT bootstrap_sum('a', v, 0.9) FROM generate_series(1, 4) AS s(v)",
            &["{sum: 10.0, lo: 0.0, hi: 30.0}"],
        );
        check(
            &bootstrap_sum_udaf(),
            "SELECT bootstrap_sum('a', 2) = bootstrap_sum('a', 2, 0.95, 1000, 0), bootstrap_sum('渠道', 0)",
            &["true {sum: 0.0, lo: 0.0, hi: 0.0}"],
        );
    }

    #[test]
    fn nobody_has_no_sum() {
        check(
            &bootstrap_sum_udaf(),
            "SELECT bootstrap_sum(k, v) IS NULL FROM (VALUES ('a', NULL), (NULL, 1)) AS s(k, v)",
            &["true"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, part| check_error(&bootstrap_sum_udaf(), sql, "22023", part);
        fails("SELECT bootstrap_sum('a', 1, 1.5)", "1.5");
        fails("SELECT bootstrap_sum('a', 1, 0.9, 0)", "argument draws");
        fails("SELECT bootstrap_sum('a', 'NaN'::double)", "can't add NaN");
    }

    #[test]
    fn many_partitions_equal_one() {
        check_partitions(
            &[bootstrap_sum_udaf()],
            "SELECT g, s['sum'], s['lo'], s['hi'] FROM (
               SELECT v % 3 AS g, bootstrap_sum(CAST(v % 700 AS varchar), v % 11, 0.9, 200, 5) AS s
               FROM generate_series(1, 5000) AS s(v) GROUP BY v % 3
             ) ORDER BY g",
        );
    }
}
