//! What would each stage bring if it passed as many as its benchmark? With limits, for all stages of a funnel at once.
//!
//! `bottleneck_gains(k, n, benchmark, benchmark_se, worth, worth_se)` takes lists with an element for each stage, in order, and
//! returns as long a list: of `N` that entered the first stage, `gain = N·Π_{j≠k} r_j·(b_k - r_k)·worth`, where `r = k / n` and
//! `b` is the benchmark. The variance is by the delta method; see [`bottleneck`](crate::statistics::bottleneck) for it, for stages
//! that nobody entered and for rates of zero.
//!
//! NULL where an argument is. A NULL element of `benchmark` is a stage without one, of `benchmark_se` a benchmark without error.
//! Cost: the square of the number of stages.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use super::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::aggregate::columns::list;
use crate::error::FunnelError;
use crate::statistics::bottleneck::{Gain, Stage, Worth, gains};

const NAME: &str = "bottleneck_gains";

const PARAMETERS: Parameters = Parameters {
    required: 6,
    list: &[
        ("k", Kind::Numbers),
        ("n", Kind::Numbers),
        ("benchmark", Kind::Numbers),
        ("benchmark_se", Kind::Numbers),
        ("worth", Kind::Number),
        ("worth_se", Kind::Number),
    ],
};

/// What each stage's benchmark rate would bring at the end of a funnel.
///
/// - `k`, `n`: lists of counts, an element for each stage: those that went on, and those that entered; `0 <= k <= n`
/// - `benchmark`: list of Float64 rates in [0, 1], NULL for a stage without one; `benchmark_se`: their standard errors, NULL or 0
///   for a promise
/// - `worth`, `worth_se`: Float64, what one more success is worth, and its standard error
/// - returns `List<Struct { stage_no, gain, lo, hi, p_positive, imputed, status }>`: `stage_no` Int64 from 1; `gain`, `lo` and
///   `hi` Float64, not below 0, the limits at 95 %; `p_positive` Float64, the probability that the gain is above 0; `imputed`
///   Boolean: nobody entered the stage, and its benchmark stands in the place of its rate
/// - `status`: `ok`; `no_data` (nobody entered it, or what another stage passes isn't known); `no_benchmark`; `product_zero`
///   (another stage passes nobody: a gain of 0 without limits)
/// - errors: 22023 when the lists differ in length, a count is NULL or negative or `k > n`, or a benchmark is no rate
/// - source: the delta method; the example is of the module's tests, by hand and numpy 2.4.6
/// ```slt
/// query IRRR
/// SELECT g['stage_no'], round(g['gain'], 4), round(g['lo'], 4), round(g['hi'], 4)
/// FROM (SELECT unnest(bottleneck_gains([200, 150, 90], [1000, 200, 150], [0.21, 0.80, 0.80], [0, 0, 0], 1, 0)) AS g)
/// ----
/// 1 4.5 0 15.6776
/// 2 6 0 13.282
/// 3 30 17.4348 42.5652
/// ```
pub fn bottleneck_gains_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(BottleneckGains {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BottleneckGains {
    signature: Signature,
}

impl ScalarUDFImpl for BottleneckGains {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::List(item_field()))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let lists = [0, 1, 2, 3]
            .into_iter()
            .map(|position| list(rows.required(position)?))
            .collect::<Result<Vec<&ListArray>>>()?;
        let (means, errors) = (rows.numbers(4)?, rows.numbers(5)?);
        let deviate = Confidence::new(DEFAULT_CONFIDENCE)?.deviate();
        let found = rows.map(|row| {
            let columns: Vec<Vec<Option<f64>>> = lists
                .iter()
                .map(|list| {
                    list.value(row)
                        .as_primitive::<Float64Type>()
                        .iter()
                        .collect()
                })
                .collect();
            let worth = Worth {
                mean: means.value(row),
                se: errors.value(row),
            };
            Ok(Some(gains(&stages(&columns)?, worth, deviate)))
        })?;
        rows.finish(column(found)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

/// The stages of four lists.
fn stages(columns: &[Vec<Option<f64>>]) -> Result<Vec<Stage>, FunnelError> {
    let invalid = |message: String, hint: &str| FunnelError::InvalidArgument {
        message,
        hint: hint.to_owned(),
    };
    let [k, n, benchmarks, errors] = columns else {
        return Ok(Vec::new());
    };
    if [n, benchmarks, errors]
        .iter()
        .any(|list| list.len() != k.len())
    {
        return Err(invalid(
            format!("the lists of {NAME}() differ in length"),
            "Give an element for each stage in each of the first four lists.",
        ));
    }
    let mut stages = Vec::with_capacity(k.len());
    for (((k, n), benchmark), error) in k.iter().zip(n).zip(benchmarks).zip(errors) {
        let (Some(k), Some(n)) = (*k, *n) else {
            return Err(invalid(
                format!("a count of {NAME}() is NULL"),
                "Give 0 for a stage that nobody entered.",
            ));
        };
        if !(0.0 <= k && k <= n && n.is_finite()) {
            return Err(invalid(
                format!("a rate can't be {k} of {n} entities"),
                "Give those that went on in the first list, and those that entered in the second.",
            ));
        }
        if benchmark.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err(invalid(
                format!("a benchmark of {NAME}() is not between 0 and 1"),
                "Give rates as fractions, such as 0.6.",
            ));
        }
        stages.push(Stage {
            k,
            n,
            benchmark: *benchmark,
            benchmark_se: error.unwrap_or(0.0),
        });
    }
    Ok(stages)
}

fn item_fields() -> Fields {
    [
        ("stage_no", DataType::Int64),
        ("gain", DataType::Float64),
        ("lo", DataType::Float64),
        ("hi", DataType::Float64),
        ("p_positive", DataType::Float64),
        ("imputed", DataType::Boolean),
        ("status", DataType::Utf8),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn item_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(item_fields()), true))
}

fn column(rows: Vec<Option<Vec<Gain>>>) -> Result<ArrayRef> {
    let nulls = rows.iter().map(Option::is_some).collect::<NullBuffer>();
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let numbers = rows
        .iter()
        .flat_map(|row| 1..=row.as_ref().map_or(0, Vec::len) as i64);
    let numbers = Int64Array::from_iter_values(numbers);
    let all: Vec<Gain> = rows.into_iter().flatten().flatten().collect();
    let of = |part: fn(&Gain) -> Option<f64>| -> ArrayRef {
        Arc::new(all.iter().map(part).collect::<Float64Array>())
    };
    let imputed: BooleanArray = all.iter().map(|gain| Some(gain.imputed)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers),
        of(|gain| gain.gain),
        of(|gain| gain.lo),
        of(|gain| gain.hi),
        of(|gain| gain.p_positive),
        Arc::new(imputed),
        Arc::new(StringArray::from_iter_values(
            all.iter().map(|gain| gain.status),
        )),
    ];
    let items = Arc::new(StructArray::try_new(item_fields(), columns, None)?);
    Ok(Arc::new(ListArray::try_new(
        item_field(),
        offsets,
        items,
        Some(nulls),
    )?))
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "What each stage's benchmark rate would bring at the end of a funnel, with limits at 95 % (delta method): a list of \
         structs of stage_no, gain, lo, hi, p_positive, imputed and status.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("k", "A list of those that went on from each stage.")
    .with_argument("n", "A list of those that entered each stage.")
    .with_argument("benchmark", "A list of the rates that the stages are held against; NULL for a stage without one.")
    .with_argument("benchmark_se", "A list of the benchmarks' standard errors; 0 for a promise.")
    .with_argument("worth", "What one more success is worth; 1 to count successes.")
    .with_argument("worth_se", "Its standard error.")
    .with_sql_example(
        "```sql\nSELECT unnest(bottleneck_gains([200, 150], [1000, 200], [0.21, 0.8], [0, 0], 1, 0));\n```",
    )
    .build()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::super::rate_ci::arguments::testing;
    use super::*;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        context.register_udf(bottleneck_gains_udf().as_ref().clone());
        context
    }

    #[test]
    fn rows_of_different_lengths() {
        testing::check(
            &context(),
            "SELECT b['stage_no'], round(b['gain'], 4), b['imputed'], b['status'] FROM ( \
               SELECT unnest(bottleneck_gains(k, n, b, e, 1, 0)) AS b \
               FROM (VALUES ([5, 0], [10, 0], [0.6, NULL], [0, 0]), ([5], [10], [0.6], [NULL]), ([], [], [], []), (NULL, [1], [1], [0])) \
               AS s(k, n, b, e))",
            &[
                "1 NULL false no_data",
                "2 NULL false no_data",
                "1 1.0 false ok",
            ],
        );
        testing::check(
            &context(),
            "SELECT bottleneck_gains([1], [2], [1], [0], NULL, 0)",
            &["NULL"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, code, part| testing::check_error(&context(), sql, code, part);
        fails(
            "SELECT bottleneck_gains([3], [2], [1], [0], 1, 0)",
            "22023",
            "can't be 3 of 2",
        );
        fails(
            "SELECT bottleneck_gains([NULL], [2], [1], [0], 1, 0)",
            "22023",
            "is NULL",
        );
        fails(
            "SELECT bottleneck_gains([1], [2], [1.2], [0], 1, 0)",
            "22023",
            "not between 0 and 1",
        );
        fails(
            "SELECT bottleneck_gains([1], [2, 3], [1], [0], 1, 0)",
            "22023",
            "differ in length",
        );
        fails(
            "SELECT bottleneck_gains(1, [2], [1], [0], 1, 0)",
            "42804",
            "takes a list of numbers as k",
        );
    }
}
