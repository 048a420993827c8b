//! `mix_rate_effects(cells)`: how much of a rate's change lies in its segments' rates, and how much in their shares.
//!
//! The method is in [`mix_rate`](crate::statistics::mix_rate). A cell is a struct of `id` (a number that orders the segments), `base_k`, `base_n`,
//! `current_k` and `current_n`. [`mix_rate_decompose`](crate::table::mix_rate_decompose) calls it. Cost: one pass over the segments.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::cells::{Cells, check, coerce, list_type, number_column, struct_lists};
use super::rate_ci::arguments::STATISTICS;
use crate::statistics::mix_rate::{Counted, Limited, MixRate, mix_rate};

const NAME: &str = "mix_rate_effects";
const SYNTAX: &str = "mix_rate_effects(cells)";

/// Kitagawa's decomposition of a rate's change.
///
/// - `cells`: list of structs `{ id, base_k, base_n, current_k, current_n }`, one a segment
/// - returns `List<Struct { id, rate_effect, rate_lo, rate_hi, mix_effect, mix_lo, mix_hi, total, lo, hi, simpson }>`: `id` NULL for all
///   segments together, then by `id`; empty where a period has no entities
/// - errors: 22023 when `k > n` or a count is negative
/// - source: E. M. Kitagawa, JASA 50 (1955), 1168–1194; the example is by hand: both segments rise by five points, and the whole falls from 50 to 31 %
/// ```slt
/// query IRRRT
/// SELECT e['id'], round(e['rate_effect'], 4), round(e['mix_effect'], 4), round(e['total'], 4), e['simpson']
/// FROM (SELECT unnest(mix_rate_effects([
///   named_struct('id', 1, 'base_k', 450, 'base_n', 750, 'current_k', 195, 'current_n', 300),
///   named_struct('id', 2, 'base_k', 50, 'base_n', 250, 'current_k', 425, 'current_n', 1700)])) AS e)
/// ----
/// NULL 0.05 -0.24 -0.19 t
/// 1 0.0225 -0.132 -0.1095 t
/// 2 0.0275 -0.108 -0.0805 t
/// ```
pub fn mix_rate_effects_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(MixRateEffects {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MixRateEffects {
    signature: Signature,
}

impl ScalarUDFImpl for MixRateEffects {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(coerce(given, &[]))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        let names = ["id", "base_k", "base_n", "current_k", "current_n"];
        check(NAME, SYNTAX, coerced, 0, &names)?;
        Ok(list_type(DataType::Struct(fields())))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        let cells = Cells::new(&columns[0])?;
        let ids = cells.integers("id")?;
        let [base_k, base_n] = [cells.integers("base_k")?, cells.integers("base_n")?];
        let [current_k, current_n] = [cells.integers("current_k")?, cells.integers("current_n")?];
        let (mut found, mut lengths) = (Vec::new(), Vec::new());
        for row in 0..columns[0].len() {
            let mut of_row: Vec<usize> = cells.of(row).collect();
            of_row.sort_by_key(|cell| ids.value(*cell));
            let counted =
                |k: &super::cells::Integers, n: &super::cells::Integers, cell: usize| Counted {
                    k: k.value(cell),
                    n: n.value(cell),
                };
            let segments: Vec<[Counted; 2]> = of_row
                .iter()
                .map(|cell| {
                    [
                        counted(&base_k, &base_n, *cell),
                        counted(&current_k, &current_n, *cell),
                    ]
                })
                .collect();
            let before = found.len();
            if let Some((whole, parts)) = mix_rate(&segments)? {
                found.push((None, whole));
                let of_segments = of_row.iter().zip(parts);
                found.extend(of_segments.map(|(cell, part)| (Some(ids.value(*cell)), part)));
            }
            lengths.push(found.len() - before);
        }
        Ok(ColumnarValue::Array(struct_lists(
            fields(),
            result(&found),
            lengths,
        )?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "How much of a rate's change lies in its segments' own rates and how much in their shares (Kitagawa), as a list of structs with \
                 intervals; simpson says whether all segments went one way and the whole the other. mix_rate_decompose() calls it.",
                SYNTAX,
            )
            .with_argument("cells", "A list of structs of id, base_k, base_n, current_k and current_n, one a segment.")
            .build()
        });
        Some(&PAGE)
    }
}

fn fields() -> Fields {
    let mut fields = vec![Field::new("id", DataType::Int64, true)];
    let numbers = [
        "rate_effect",
        "rate_lo",
        "rate_hi",
        "mix_effect",
        "mix_lo",
        "mix_hi",
        "total",
        "lo",
        "hi",
    ];
    fields.extend(numbers.map(|name| Field::new(name, DataType::Float64, true)));
    fields.push(Field::new("simpson", DataType::Boolean, true));
    fields.into()
}

fn result(found: &[(Option<i64>, MixRate)]) -> Vec<ArrayRef> {
    let ids = found.iter().map(|(id, _)| *id).collect::<Int64Array>();
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ids)];
    let parts: [fn(&MixRate) -> Limited; 3] =
        [|found| found.rate, |found| found.mix, |found| found.total];
    for part in parts {
        columns.push(number_column(found, |(_, found)| Some(part(found).value)));
        columns.push(number_column(found, |(_, found)| {
            Some(part(found).limits.0)
        }));
        columns.push(number_column(found, |(_, found)| {
            Some(part(found).limits.1)
        }));
    }
    let simpson = found.iter().map(|(_, found)| Some(found.simpson));
    columns.push(Arc::new(simpson.collect::<BooleanArray>()));
    columns
}
