//! Which conditions a row meets, as the bits of one number: what the functions over events look at.
//!
//! `condition_mask(c1, …, cn)` sets bit k - 1 where `ck` is true; a condition that is false or NULL sets
//! none. Mostly the conditions compare one text with several others, `event = 'visit'`, `event = 'order'`:
//! then the optimizer makes one pass over the text of them, instead of one comparison each.
//!
//! The result is a `UInt8` for up to 8 conditions, a `UInt32` for up to 32, a `UInt64` for up to 64.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericStringArray, OffsetSizeTrait, PrimitiveArray,
    StringViewArray,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, UInt8Type, UInt32Type, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::aggregate::columns::true_bits;

/// The most bytes of a text that lie in its view.
const INLINE_BYTES: u32 = 12;

/// The conditions of a row, as an expression.
///
/// - `conditions`: booleans, at most 64
/// - `width`: how many bits the number needs to have room for, where more than there are conditions
pub(crate) fn condition_mask(conditions: Vec<Expr>, width: usize) -> Expr {
    let bits = (0..conditions.len() as u32).collect();
    let width = width.max(conditions.len());
    call(ConditionMask::new(width, Vec::new(), bits), conditions)
}

fn call(function: ConditionMask, arguments: Vec<Expr>) -> Expr {
    Arc::new(ScalarUDF::from(function)).call(arguments)
}

/// The function, knowing what its arguments stand for.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ConditionMask {
    signature: Signature,
    /// How many bits the result has room for.
    width: usize,
    /// What the first argument, a text, is compared with, and the bits that are then set. Where this is
    /// empty, there is no such argument.
    texts: Vec<(String, u64)>,
    /// The bits that the other arguments, booleans, set.
    bits: Vec<u32>,
}

impl ConditionMask {
    fn new(width: usize, texts: Vec<(String, u64)>, bits: Vec<u32>) -> Self {
        Self {
            signature: Signature::variadic_any(Volatility::Immutable),
            width,
            texts,
            bits,
        }
    }

    fn result_type(&self) -> DataType {
        match self.width {
            ..=8 => DataType::UInt8,
            9..=32 => DataType::UInt32,
            _ => DataType::UInt64,
        }
    }

    fn masks<T: ArrowPrimitiveType>(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef>
    where
        T::Native: Bits,
    {
        let (text, flags) = match arguments.split_first() {
            Some((text, flags)) if !self.texts.is_empty() => (Some(text), flags),
            _ => (None, arguments),
        };
        let mut masks = match text {
            Some(text) => text_masks(text, &self.texts)?,
            None => vec![T::Native::from_bits(0); rows],
        };
        for (flag, bit) in flags.iter().zip(&self.bits) {
            set_bit(
                flag.as_boolean(),
                T::Native::from_bits(1 << bit),
                &mut masks,
            );
        }
        Ok(Arc::new(PrimitiveArray::<T>::new(masks.into(), None)))
    }
}

impl ScalarUDFImpl for ConditionMask {
    fn name(&self) -> &str {
        "condition_mask"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.result_type())
    }

    /// Brings the conditions that compare one and the same text together.
    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if !self.texts.is_empty() {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let comparisons = arguments.iter().map(comparison).collect::<Vec<_>>();
        let Some(text) = most_common(&comparisons) else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        if !is_text(&info.get_data_type(text)?) {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let text = text.clone();
        let mut texts: Vec<(String, u64)> = Vec::new();
        let mut bits = Vec::new();
        let mut rest = vec![text.clone()];
        for ((condition, comparison), bit) in arguments.iter().zip(&comparisons).zip(&self.bits) {
            match comparison {
                Some((of, values)) if **of == text => {
                    for value in values {
                        match texts.iter_mut().find(|(known, _)| known == value) {
                            Some((_, mask)) => *mask |= 1 << bit,
                            None => texts.push((value.clone(), 1 << bit)),
                        }
                    }
                }
                _ => {
                    bits.push(*bit);
                    rest.push(condition.clone());
                }
            }
        }
        let function = ConditionMask::new(self.width, texts, bits);
        Ok(ExprSimplifyResult::Simplified(call(function, rest)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays = arguments
            .args
            .iter()
            .map(|argument| argument.to_array(rows))
            .collect::<Result<Vec<_>>>()?;
        let masks = match self.result_type() {
            DataType::UInt8 => self.masks::<UInt8Type>(&arrays, rows),
            DataType::UInt32 => self.masks::<UInt32Type>(&arrays, rows),
            _ => self.masks::<UInt64Type>(&arrays, rows),
        };
        Ok(ColumnarValue::Array(masks?))
    }
}

/// `text = 'a'` or `text IN ('a', 'b')`: the text and what it is compared with.
fn comparison(condition: &Expr) -> Option<(&Expr, Vec<String>)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (literal(left), literal(right)) {
            (None, Some(value)) => Some((left, vec![value])),
            (Some(value), None) => Some((right, vec![value])),
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            let ((text, mut values), (other, more)) = (comparison(left)?, comparison(right)?);
            values.extend(more);
            (text == other).then_some((text, values))
        }
        Expr::InList(InList {
            expr,
            list,
            negated: false,
        }) => {
            let values = list.iter().map(literal).collect::<Option<Vec<_>>>()?;
            Some((expr, values))
        }
        _ => None,
    }
}

fn literal(expression: &Expr) -> Option<String> {
    let text = |value: &ScalarValue| value.try_as_str().flatten().map(str::to_owned);
    match expression {
        Expr::Literal(ScalarValue::Dictionary(_, value), _) => text(value),
        Expr::Literal(value, _) => text(value),
        _ => None,
    }
}

/// The text that most conditions compare; the first of those that as many do.
fn most_common<'a>(comparisons: &[Option<(&'a Expr, Vec<String>)>]) -> Option<&'a Expr> {
    let mut counts: Vec<(&Expr, usize)> = Vec::new();
    for (text, _) in comparisons.iter().flatten() {
        match counts.iter_mut().find(|(known, _)| known == text) {
            Some((_, count)) => *count += 1,
            None => counts.push((text, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts
        .into_iter()
        .find(|(_, count)| *count == most)
        .map(|(text, _)| text)
}

fn is_text(given: &DataType) -> bool {
    match given {
        DataType::Dictionary(_, values) => is_text(values),
        given => given.is_string(),
    }
}

/// A number that bits are set in.
trait Bits: Copy + std::ops::BitOrAssign {
    /// Cuts off the bits that it has no room for.
    fn from_bits(bits: u64) -> Self;
}

impl Bits for u8 {
    fn from_bits(bits: u64) -> Self {
        bits as u8
    }
}

impl Bits for u32 {
    fn from_bits(bits: u64) -> Self {
        bits as u32
    }
}

impl Bits for u64 {
    fn from_bits(bits: u64) -> Self {
        bits
    }
}

fn set_bit<M: Bits>(flags: &BooleanArray, bit: M, masks: &mut [M]) {
    for row in true_bits(flags).set_indices() {
        masks[row] |= bit;
    }
}

fn text_masks<M: Bits>(text: &ArrayRef, texts: &[(String, u64)]) -> Result<Vec<M>> {
    match text.data_type() {
        DataType::Utf8View => Ok(view_masks(text.as_string_view(), texts)),
        DataType::Utf8 => Ok(string_masks(text.as_string::<i32>(), texts)),
        DataType::LargeUtf8 => Ok(string_masks(text.as_string::<i64>(), texts)),
        DataType::Dictionary(..) => {
            // Each different text is compared once.
            let dictionary = text.as_any_dictionary();
            let of_values = text_masks::<u64>(dictionary.values(), texts)?;
            let of_values: ArrayRef =
                Arc::new(PrimitiveArray::<UInt64Type>::new(of_values.into(), None));
            let of_rows = take(&of_values, dictionary.keys(), None)?;
            let of_rows = of_rows.as_primitive::<UInt64Type>();
            Ok(of_rows
                .iter()
                .map(|bits| M::from_bits(bits.unwrap_or(0)))
                .collect())
        }
        other => Err(internal_datafusion_err!("{other} is no text to compare")),
    }
}

fn string_masks<O: OffsetSizeTrait, M: Bits>(
    array: &GenericStringArray<O>,
    texts: &[(String, u64)],
) -> Vec<M> {
    let mask = |text: &str| {
        let found = texts.iter().find(|(known, _)| known == text);
        M::from_bits(found.map_or(0, |(_, bits)| *bits))
    };
    array
        .iter()
        .map(|text| text.map_or(M::from_bits(0), mask))
        .collect()
}

/// A text to compare with, as the view of it starts: length and first bytes.
struct Sought<'a, M> {
    start: u64,
    view: u128,
    text: &'a str,
    mask: M,
}

/// Compares length and first bytes as one number, and reads on only where these agree.
fn view_masks<M: Bits>(array: &StringViewArray, texts: &[(String, u64)]) -> Vec<M> {
    let sought = texts
        .iter()
        .map(|(text, bits)| {
            let view = view_of(text);
            Sought {
                start: view as u64,
                view,
                text,
                mask: M::from_bits(*bits),
            }
        })
        .collect::<Vec<_>>();
    let none = M::from_bits(0);
    let mask = |row: usize, view: u128| {
        let start = view as u64;
        let is_inline = start as u32 <= INLINE_BYTES;
        sought
            .iter()
            .find(|sought| {
                sought.start == start
                    && if is_inline {
                        sought.view == view
                    } else {
                        array.value(row) == sought.text
                    }
            })
            .map_or(none, |sought| sought.mask)
    };
    let masks = array.views().iter().enumerate();
    match array.nulls() {
        None => masks.map(|(row, view)| mask(row, *view)).collect(),
        Some(nulls) => masks
            .map(|(row, view)| match nulls.is_null(row) {
                true => none,
                false => mask(row, *view),
            })
            .collect(),
    }
}

/// The view of a text: its length and all bytes if they are few, otherwise the first 4 bytes of them.
fn view_of(text: &str) -> u128 {
    let kept = match text.len() as u32 {
        ..=INLINE_BYTES => text.as_bytes(),
        _ => &text.as_bytes()[..4],
    };
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
    bytes[4..4 + kept.len()].copy_from_slice(kept);
    u128::from_le_bytes(bytes)
}
