//! `change_effects(cells, by_segment, method)`: how much of a funnel's change each factor accounts for, from counts of its segments.
//!
//! The method and its interval are in [`decomposition`](crate::statistics::decomposition). A cell is a struct of `id` (a number that orders the
//! segments), `base` and `current` (how many reached each stage in either period, from the first on) and, for amounts, `base_amount`,
//! `base_squares`, `current_amount` and `current_squares`, the sums of the values of those in the last stage and of their squares.
//! [`change_decompose`](crate::table::change_decompose) calls it. Cost: the segments times the square of the stages.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::common::cast::{as_boolean_array, as_string_array};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::cells::{
    Cells, check, coerce, count_column, list_type, number_column, numbers_of, struct_lists,
    text_column,
};
use super::rate_ci::arguments::STATISTICS;
use crate::error::FunnelError;
use crate::statistics::decomposition::{
    Decomposition, Effect, FactorKind, Reached, Segment, decompose,
};

const NAME: &str = "change_effects";
const SYNTAX: &str = "change_effects(cells, by_segment, method)";

/// How much each factor of a funnel's last count added to its change.
///
/// - `cells`: list of structs `{ id, base, current [, base_amount, base_squares, current_amount, current_squares] }`, one a segment
/// - `by_segment`: whether the segments' shares are a factor, and each segment has effects of its own
/// - `method`: `'lmdi'` or `'shapley'`
/// - returns `List<Struct { id, factor_no, kind, stage_no, base, current, base_k, base_n, current_k, current_n, effect, lo, hi, share,
///   mult_effect, status }>`: `id` NULL for all segments together, then by segment; `kind` is `volume`, `mix`, `rate` (from stage `stage_no` to the
///   next) or `average`; `status` is `ok`, `product_zero` (a factor is zero: no interval) or `no_data` (no value in a period)
/// - errors: 22023 for another method, counts below 0, unequal numbers of stages, or an amount below 0 with `lmdi`
/// - source: B. W. Ang, Energy Policy 33 (2005), 867–871; the example is by hand
/// ```slt
/// query TRR
/// SELECT e['kind'], round(e['effect'], 2), round(e['mult_effect'], 3)
/// FROM (SELECT unnest(change_effects([named_struct('id', 1, 'base', [1000, 600, 300], 'current', [1200, 600, 270])], false, 'lmdi')) AS e)
/// ----
/// volume 51.91 1.2
/// rate -51.91 0.833
/// rate -30 0.9
/// ```
pub fn change_effects_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ChangeEffects {
        signature: Signature::user_defined(Volatility::Immutable),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ChangeEffects {
    signature: Signature,
}

impl ScalarUDFImpl for ChangeEffects {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(coerce(given, &[DataType::Boolean, DataType::Utf8]))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        check(NAME, SYNTAX, coerced, 2, &["id", "base", "current"])?;
        Ok(list_type(DataType::Struct(fields())))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        let cells = Cells::new(&columns[0])?;
        let by_segment = as_boolean_array(&columns[1])?;
        let methods = as_string_array(&columns[2])?;
        let reader = Reader::new(&cells)?;
        let (mut found, mut lengths) = (Vec::new(), Vec::new());
        for row in 0..columns[0].len() {
            let (ids, segments) = reader.segments(cells.of(row))?;
            let method = method(methods.value(row))?;
            check_amounts(&segments, method)?;
            let effects = decompose(&segments, by_segment.value(row), method);
            lengths.push(effects.len());
            found.extend(effects.into_iter().map(|effect| {
                let id = effect.segment.and_then(|at| ids.get(at).copied());
                (id, effect)
            }));
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
                "How much each factor of a funnel (its volume, its segments' shares, each stage's rate, the average value) added to the change of \
                 its last count or amount, as a list of structs with intervals. change_decompose() calls it.",
                SYNTAX,
            )
            .with_argument("cells", "A list of structs of id, base and current: how many reached each stage.")
            .with_argument("by_segment", "Whether the segments' shares are a factor.")
            .with_argument("method", "'lmdi' or 'shapley'.")
            .build()
        });
        Some(&PAGE)
    }
}

fn method(name: &str) -> Result<Decomposition, FunnelError> {
    match name {
        "lmdi" => Ok(Decomposition::Lmdi),
        "shapley" => Ok(Decomposition::Shapley),
        other => Err(FunnelError::InvalidArgument {
            message: format!("\"{other}\" is no method of {NAME}()"),
            hint: "Use 'lmdi' or 'shapley'.".to_owned(),
        }),
    }
}

fn check_amounts(segments: &[Segment], method: Decomposition) -> Result<(), FunnelError> {
    let mut sides = segments
        .iter()
        .flat_map(|segment| [&segment.base, &segment.current]);
    let is_negative = |side: &Reached| side.amount.is_some_and(|(amount, _)| amount < 0.0);
    match method == Decomposition::Lmdi && sides.any(is_negative) {
        true => Err(FunnelError::InvalidArgument {
            message: "an amount below 0 has no logarithm".to_owned(),
            hint: "Use method => 'shapley'.".to_owned(),
        }),
        false => Ok(()),
    }
}

/// The fields of the cells.
struct Reader {
    ids: super::cells::Integers,
    counts: [Option<datafusion::arrow::array::ListArray>; 2],
    amounts: Option<[[super::cells::Numbers; 2]; 2]>,
}

impl Reader {
    fn new(cells: &Cells) -> Result<Self> {
        let amounts = [
            [
                cells.numbers("base_amount")?,
                cells.numbers("base_squares")?,
            ],
            [
                cells.numbers("current_amount")?,
                cells.numbers("current_squares")?,
            ],
        ];
        let has_amounts = amounts[0][0].exists();
        Ok(Self {
            ids: cells.integers("id")?,
            counts: [cells.number_lists("base")?, cells.number_lists("current")?],
            amounts: has_amounts.then_some(amounts),
        })
    }

    /// The segments in the order of their ids.
    fn segments(
        &self,
        of: std::ops::Range<usize>,
    ) -> Result<(Vec<i64>, Vec<Segment>), FunnelError> {
        let mut cells: Vec<usize> = of.collect();
        cells.sort_by_key(|cell| self.ids.value(*cell));
        let side = |period: usize, cell: usize| Reached {
            counts: numbers_of(self.counts[period].as_ref(), cell),
            amount: self.amounts.as_ref().map(|amounts| {
                let [amount, squares] = &amounts[period];
                (amount.value(cell), squares.value(cell))
            }),
        };
        let segments: Vec<Segment> = cells
            .iter()
            .map(|cell| Segment {
                base: side(0, *cell),
                current: side(1, *cell),
            })
            .collect();
        let stages = segments.first().map_or(0, |first| first.base.counts.len());
        for side in segments
            .iter()
            .flat_map(|segment| [&segment.base, &segment.current])
        {
            let is_wrong = side.counts.len() != stages
                || side
                    .counts
                    .iter()
                    .any(|count| count.is_nan() || *count < 0.0);
            if is_wrong || stages == 0 {
                return Err(FunnelError::InvalidArgument {
                    message: format!("{NAME}() can't take the counts {:?}", side.counts),
                    hint:
                        "Give a count of at least 0 for each stage, of as many stages in each cell."
                            .to_owned(),
                });
            }
        }
        Ok((
            cells.iter().map(|cell| self.ids.value(*cell)).collect(),
            segments,
        ))
    }
}

fn fields() -> Fields {
    [
        ("id", DataType::Int64),
        ("factor_no", DataType::Int64),
        ("kind", DataType::Utf8),
        ("stage_no", DataType::Int64),
        ("base", DataType::Float64),
        ("current", DataType::Float64),
        ("base_k", DataType::Int64),
        ("base_n", DataType::Int64),
        ("current_k", DataType::Int64),
        ("current_n", DataType::Int64),
        ("effect", DataType::Float64),
        ("lo", DataType::Float64),
        ("hi", DataType::Float64),
        ("share", DataType::Float64),
        ("mult_effect", DataType::Float64),
        ("status", DataType::Utf8),
    ]
    .into_iter()
    .map(|(name, data_type)| Field::new(name, data_type, true))
    .collect()
}

fn result(found: &[(Option<i64>, Effect)]) -> Vec<ArrayRef> {
    let numbers = |of: fn(&Effect) -> Option<f64>| number_column(found, |(_, effect)| of(effect));
    let counts = |of: fn(&Effect) -> Option<f64>| count_column(found, |(_, effect)| of(effect));
    let ids = found.iter().map(|(id, _)| *id).collect::<Int64Array>();
    vec![
        Arc::new(ids),
        counts(|effect| Some((effect.factor + 1) as f64)),
        text_column(found, |(_, effect)| {
            Some(match effect.kind {
                FactorKind::Volume => "volume",
                FactorKind::Mix => "mix",
                FactorKind::Rate(_) => "rate",
                FactorKind::Average => "average",
            })
        }),
        counts(|effect| match effect.kind {
            FactorKind::Rate(stage) => Some((stage + 1) as f64),
            _ => None,
        }),
        numbers(|effect| effect.values[0]),
        numbers(|effect| effect.values[1]),
        counts(|effect| effect.counts[0].0),
        counts(|effect| Some(effect.counts[0].1)),
        counts(|effect| effect.counts[1].0),
        counts(|effect| Some(effect.counts[1].1)),
        numbers(|effect| effect.effect),
        numbers(|effect| effect.limits.map(|(lo, _)| lo)),
        numbers(|effect| effect.limits.map(|(_, hi)| hi)),
        numbers(|effect| effect.share),
        numbers(|effect| effect.multiplier),
        text_column(found, |(_, effect)| {
            Some(match (effect.effect, effect.is_zero) {
                (None, _) => "no_data",
                (Some(_), true) => "product_zero",
                (Some(_), false) => "ok",
            })
        }),
    ]
}
