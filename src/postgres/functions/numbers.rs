//! Numbers: rounding, powers, logarithms.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type,
};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;

use super::to_char::number_of;
use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function, function_of_numbers};
use crate::postgres::recursion::WIDENED;
use crate::postgres::{casts, types};

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let float = Returns::Type("float8");
    vec![
        function_of_numbers("pg_round", Returns::Of(rounded_field), |call| {
            rounded(call, Rounding::Nearest)
        }),
        function_of_numbers("pg_trunc", Returns::Of(rounded_field), |call| {
            rounded(call, Rounding::Zero)
        }),
        function_of_numbers("pg_ceil", Returns::Of(rounded_field), |call| {
            rounded(call, Rounding::Up)
        }),
        function_of_numbers("pg_ceiling", Returns::Of(rounded_field), |call| {
            rounded(call, Rounding::Up)
        }),
        function_of_numbers("pg_floor", Returns::Of(rounded_field), |call| {
            rounded(call, Rounding::Down)
        }),
        function_of_numbers("pg_power", float, power),
        function_of_numbers("pg_pow", float, power),
        function_of_numbers(
            "pg_log",
            Returns::Of(|fields, _| Ok(log_field(fields))),
            log,
        ),
        function_of_numbers(
            "div",
            Returns::Of(|_, _| Ok(Field::new("", DataType::Decimal128(38, 0), true))),
            div,
        ),
        function(
            "pg_summand",
            Returns::Of(|fields, _| Ok(summand_field(fields))),
            |call| Ok(cast(&call.arrays[0], call.returns.data_type())?),
        ),
        function(WIDENED, Returns::Of(widened_field), |call| {
            match (call.returns.data_type(), call.fields.first()) {
                (DataType::Decimal128(..), Some(field)) => {
                    casts::from_values(&call.arrays[0], field, &call.returns, &call.locale())
                }
                _ => Ok(Arc::clone(&call.arrays[0])),
            }
        }),
        function(
            "pg_quotient",
            Returns::Of(|fields, _| Ok(quotient_field(fields))),
            |call| Ok(Arc::clone(&call.arrays[0])),
        ),
        function("width_bucket", Returns::Type("int4"), width_bucket),
        function(
            "to_number",
            Returns::Of(|_, _| {
                Ok(types::marked_always(
                    Field::new("", DataType::Decimal128(38, 10), true),
                    "numeric",
                ))
            }),
            to_number,
        ),
        function_of_numbers("pg_gcd", Returns::Of(integer_field), |call| {
            divisors(call, |a, b| i64::try_from(gcd(a, b)).ok())
        }),
        function_of_numbers("pg_lcm", Returns::Of(integer_field), |call| {
            divisors(call, |a, b| match gcd(a, b) {
                0 => Some(0),
                divisor => i64::try_from(a.unsigned_abs() / divisor)
                    .ok()?
                    .checked_mul(b)?
                    .checked_abs(),
            })
        }),
        function("min_scale", Returns::Type("int4"), |call| {
            let texts = call.texts(0)?;
            let scale = |text: &str| {
                let part = text.split_once('.').map_or("", |(_, part)| part);
                i32::try_from(part.trim_end_matches('0').len()).ok()
            };
            Ok(Arc::new(
                texts
                    .iter()
                    .map(|text| text.and_then(scale))
                    .collect::<Int32Array>(),
            ))
        }),
        function(
            "trim_scale",
            Returns::Of(|fields, _| {
                let kind = fields.first().map(|field| field.data_type().clone());
                let kind = kind.unwrap_or(DataType::Decimal128(38, 0));
                Ok(types::marked_always(Field::new("", kind, true), "numeric"))
            }),
            |call| Ok(Arc::clone(&call.arrays[0])),
        ),
        function("num_nulls", Returns::Type("int4"), |call| {
            Ok(Arc::new(count_nulls(call, true)))
        }),
        function("num_nonnulls", Returns::Type("int4"), |call| {
            Ok(Arc::new(count_nulls(call, false)))
        }),
        function("scale", Returns::Type("int4"), |call| {
            let texts = call.texts(0)?;
            let scale = |text: &str| {
                i32::try_from(text.split_once('.').map_or(0, |(_, part)| part.len())).ok()
            };
            Ok(Arc::new(
                texts
                    .iter()
                    .map(|text| text.and_then(scale))
                    .collect::<Int32Array>(),
            ))
        }),
        function_of_numbers(
            "factorial",
            Returns::Of(|_, _| Ok(Field::new("", DataType::Decimal128(38, 0), true))),
            factorial,
        ),
        function_of_numbers("sign", Returns::Of(rounded_field), |call| {
            let digit = |x: f64| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            };
            let signs = floats(call, digit)?;
            Ok(cast(&signs, call.returns.data_type())?)
        }),
        function(
            "pg_bitwise_not",
            Returns::Of(|fields, _| {
                let kind = fields
                    .first()
                    .map_or(&DataType::Int64, |field| field.data_type());
                Ok(Field::new("", kind.clone(), true))
            }),
            |call| {
                let inverted = call
                    .integers(0)?
                    .iter()
                    .map(|x| x.map(|x| !x))
                    .collect::<Int64Array>();
                Ok(cast(&inverted, call.returns.data_type())?)
            },
        ),
        function_of_numbers("pg_abs", Returns::Of(same_number_field), |call| {
            same_number(call, i64::checked_abs, f64::abs, i128::checked_abs)
        }),
        function("pg_negate", Returns::Of(negated_field), |call| {
            match call.returns.data_type() {
                DataType::Interval(_) => Ok(numeric::neg(&call.arrays[0])?),
                _ => same_number(call, i64::checked_neg, |x| -x, i128::checked_neg),
            }
        }),
        function_of_numbers("pg_sqrt", float, |call| {
            checked(call, f64::sqrt, |x| {
                (x < 0.0).then_some((
                    Fault::InvalidPower,
                    "cannot take square root of a negative number",
                ))
            })
        }),
        function_of_numbers("pg_ln", float, |call| {
            checked(call, f64::ln, |x| {
                if x == 0.0 {
                    Some((Fault::InvalidLogarithm, "cannot take logarithm of zero"))
                } else {
                    let message = "cannot take logarithm of a negative number";
                    (x < 0.0).then_some((Fault::InvalidLogarithm, message))
                }
            })
        }),
        function_of_numbers("tand", float, |call| floats(call, |x| x.to_radians().tan())),
        function_of_numbers("sind", float, |call| floats(call, |x| x.to_radians().sin())),
        function_of_numbers("cosd", float, |call| floats(call, |x| x.to_radians().cos())),
    ]
}

/// A number of the first argument's type; a double for what has none of its own.
fn same_number_field(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Result<Field> {
    let Some(field) = fields.first() else {
        return fault(Fault::Semantic, "a number is missing");
    };
    Ok(match field.data_type() {
        kind if kind.is_integer() => types::field("", &types::natural(kind).unwrap_or_default()),
        DataType::Decimal128(..) => field.as_ref().clone(),
        DataType::Float32 => Field::new("", DataType::Float32, true),
        _ => Field::new("", DataType::Float64, true),
    })
}

/// The same, or an interval, for `-x`.
fn negated_field(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Result<Field> {
    match fields.first() {
        Some(field) if matches!(field.data_type(), DataType::Interval(_)) => {
            Ok(field.as_ref().clone())
        }
        Some(field) if !field.data_type().is_numeric() && !field.data_type().is_null() => {
            let kind = types::sql_name(&types::type_of(field), -1);
            fault(
                Fault::UndefinedFunction,
                format!("operator does not exist: - {kind}"),
            )
        }
        _ => same_number_field(fields, literals),
    }
}

/// Numbers of the first argument's type; what is no number of that type is an error.
fn same_number(
    call: &Call,
    whole: fn(i64) -> Option<i64>,
    float: fn(f64) -> f64,
    digits: fn(i128) -> Option<i128>,
) -> Result<ArrayRef> {
    let kind = call.returns.data_type();
    let name = types::sql_name(&types::type_of(&call.returns), -1);
    let out = || format!("{name} out of range");
    if kind.is_floating() {
        return Ok(cast(&floats(call, float)?, kind)?);
    }
    if let DataType::Decimal128(precision, scale) = kind {
        let numbers = call.arrays[0].as_primitive::<Decimal128Type>().iter();
        let answer =
            |number: i128| digits(number).map_or_else(|| fault(Fault::OutOfRange, out()), Ok);
        let answers = numbers.map(|number| number.map(answer).transpose());
        let answers = answers.collect::<Result<Decimal128Array>>()?;
        return Ok(Arc::new(
            answers.with_precision_and_scale(*precision, *scale)?,
        ));
    }
    let fits = |number: &i64| match kind {
        DataType::Int16 => i16::try_from(*number).is_ok(),
        DataType::Int32 => i32::try_from(*number).is_ok(),
        _ => true,
    };
    let answer = |number: i64| match whole(number).filter(fits) {
        Some(number) => Ok(number),
        None => fault(Fault::OutOfRange, out()),
    };
    let numbers = call.integers(0)?;
    let answers = numbers.iter().map(|number| number.map(answer).transpose());
    let answers = answers.collect::<Result<Int64Array>>()?;
    Ok(cast(&answers, kind)?)
}

/// A numeric with at least so many digits; zeros at their end aren't shown.
fn widened_field(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Result<Field> {
    let Some(field) = fields.first() else {
        return fault(Fault::Semantic, "a number is missing");
    };
    let digits = match literals.get(1) {
        Some(Some(ScalarValue::Int64(Some(digits)))) => i8::try_from(*digits).unwrap_or(0),
        _ => 0,
    };
    Ok(match field.data_type() {
        DataType::Decimal128(_, scale) => {
            let kind = DataType::Decimal128(38, digits.max(*scale));
            types::marked_always(Field::new("", kind, true), "numeric")
        }
        _ => field.as_ref().clone(),
    })
}

/// A numeric with the digits that its average needs; anything else as it is.
fn summand_field(fields: &[FieldRef]) -> Field {
    match fields.first().map(|field| field.data_type()) {
        Some(DataType::Decimal128(_, scale)) if *scale <= 16 => {
            Field::new("", DataType::Decimal128(38, 16), true)
        }
        Some(other) => Field::new("", other.clone(), true),
        None => Field::new("", DataType::Null, true),
    }
}

fn quotient_field(fields: &[FieldRef]) -> Field {
    match fields.first().map(|field| field.data_type()) {
        Some(kind @ DataType::Decimal128(..)) => {
            types::marked_always(Field::new("", kind.clone(), true), types::QUOTIENT)
        }
        Some(other) => Field::new("", other.clone(), true),
        None => Field::new("", DataType::Null, true),
    }
}

#[derive(Clone, Copy)]
enum Rounding {
    Nearest,
    Zero,
    Up,
    Down,
}

/// A numeric stays one, with the digits that are asked for; anything else becomes a double.
fn rounded_field(fields: &[FieldRef], values: &[Option<&ScalarValue>]) -> Result<Field> {
    let digits = match values.get(1) {
        None => Some(0),
        Some(value) => value.and_then(|value| match value {
            ScalarValue::Int64(digits) => *digits,
            ScalarValue::Int32(digits) => digits.map(i64::from),
            _ => None,
        }),
    };
    Ok(match fields.first().map(|field| field.data_type()) {
        Some(DataType::Decimal128(_, scale)) => {
            let wanted = digits
                .and_then(|digits| i8::try_from(digits).ok())
                .map_or(*scale, |digits| digits.clamp(0, 30));
            Field::new("", DataType::Decimal128(38, wanted), true)
        }
        _ => Field::new("", DataType::Float64, true),
    })
}

fn rounded(call: &Call, rounding: Rounding) -> Result<ArrayRef> {
    let digits = match call.has(1) {
        true => call.integers(1)?,
        false => Int64Array::from(vec![0; call.rows]),
    };
    if let DataType::Decimal128(_, scale) = call.arrays[0].data_type() {
        let DataType::Decimal128(precision, wanted) = call.returns.data_type() else {
            return fault(Fault::Internal, "a rounded numeric is none");
        };
        let numbers = call.arrays[0].as_primitive::<Decimal128Type>();
        let round = |(number, digits): (Option<i128>, Option<i64>)| {
            decimal(number?, *scale, digits?, *wanted, rounding)
        };
        let answers = numbers.iter().zip(digits.iter()).map(round);
        let answers = answers
            .collect::<Decimal128Array>()
            .with_precision_and_scale(*precision, *wanted)?;
        return Ok(Arc::new(answers));
    }
    let numbers = cast(&call.arrays[0], &DataType::Float64)?;
    let has_digits = call.has(1);
    let round = |(number, digits): (Option<f64>, Option<i64>)| {
        let (number, digits) = (number?, digits?);
        let unit = 10_f64.powi(i32::try_from(digits).ok()?);
        Some(match (rounding, has_digits) {
            (Rounding::Nearest, false) => number.round_ties_even(),
            (Rounding::Nearest, true) => {
                let scaled = (number * unit).round() / unit;
                if scaled.is_finite() { scaled } else { number }
            }
            (Rounding::Zero, _) => (number * unit).trunc() / unit,
            (Rounding::Up, _) => number.ceil(),
            (Rounding::Down, _) => number.floor(),
        })
    };
    let answers = numbers
        .as_primitive::<Float64Type>()
        .iter()
        .zip(digits.iter())
        .map(round);
    Ok(Arc::new(answers.collect::<Float64Array>()))
}

fn decimal(number: i128, scale: i8, digits: i64, wanted: i8, rounding: Rounding) -> Option<i128> {
    let dropped = i64::from(scale) - digits;
    let kept = match u32::try_from(dropped) {
        Ok(0) | Err(_) => number,
        Ok(dropped) => {
            let unit = 10_i128.checked_pow(dropped)?;
            let whole = match rounding {
                Rounding::Nearest => (number + number.signum() * (unit / 2)) / unit,
                Rounding::Zero => number / unit,
                Rounding::Up => -(-number).div_euclid(unit),
                Rounding::Down => number.div_euclid(unit),
            };
            whole.checked_mul(unit)?
        }
    };
    let shift = i32::from(wanted) - i32::from(scale);
    match u32::try_from(shift) {
        Ok(shift) => kept.checked_mul(10_i128.checked_pow(shift)?),
        Err(_) => Some(kept / 10_i128.checked_pow(shift.unsigned_abs())?),
    }
}

fn floats(call: &Call, answer: impl Fn(f64) -> f64) -> Result<ArrayRef> {
    let numbers = cast(&call.arrays[0], &DataType::Float64)?;
    Ok(Arc::new(
        numbers
            .as_primitive::<Float64Type>()
            .iter()
            .map(|number| number.map(&answer))
            .collect::<Float64Array>(),
    ))
}

/// The same, where some numbers have no answer.
fn checked(
    call: &Call,
    answer: impl Fn(f64) -> f64,
    refused: impl Fn(f64) -> Option<(Fault, &'static str)>,
) -> Result<ArrayRef> {
    let numbers = cast(&call.arrays[0], &DataType::Float64)?;
    for number in numbers.as_primitive::<Float64Type>().iter().flatten() {
        if let Some((kind, message)) = refused(number) {
            return fault(kind, message);
        }
    }
    floats(call, answer)
}

fn two_floats(call: &Call) -> Result<[Float64Array; 2]> {
    let float = |at: usize| -> Result<Float64Array> {
        Ok(cast(&call.arrays[at], &DataType::Float64)?
            .as_primitive::<Float64Type>()
            .clone())
    };
    Ok([float(0)?, float(1)?])
}

fn power(call: &Call) -> Result<ArrayRef> {
    let [bases, exponents] = two_floats(call)?;
    let raise = |(base, exponent): (Option<f64>, Option<f64>)| -> Result<Option<f64>> {
        let (Some(base), Some(exponent)) = (base, exponent) else {
            return Ok(None);
        };
        if base == 0.0 && exponent < 0.0 {
            return fault(
                Fault::InvalidPower,
                "zero raised to a negative power is undefined",
            );
        }
        if base < 0.0 && exponent.fract() != 0.0 {
            return fault(
                Fault::InvalidPower,
                "a negative number raised to a non-integer power yields a complex result",
            );
        }
        let answer = base.powf(exponent);
        match answer.is_infinite() && base.is_finite() && exponent.is_finite() {
            true => fault(Fault::OutOfRange, "value out of range: overflow"),
            false => Ok(Some(answer)),
        }
    };
    let answers = bases.iter().zip(exponents.iter()).map(raise);
    Ok(Arc::new(answers.collect::<Result<Float64Array>>()?))
}

fn log_field(fields: &[FieldRef]) -> Field {
    let numeric = fields.len() == 2
        || matches!(
            fields.first().map(|field| field.data_type()),
            Some(DataType::Decimal128(..))
        );
    match numeric {
        true => types::marked_always(
            Field::new("", DataType::Decimal128(38, 20), true),
            types::QUOTIENT,
        ),
        false => Field::new("", DataType::Float64, true),
    }
}

/// To the base 10, or to the first argument's.
fn log(call: &Call) -> Result<ArrayRef> {
    let of = |number: f64| match number {
        0.0 => fault(Fault::InvalidLogarithm, "cannot take logarithm of zero"),
        number if number < 0.0 => fault(
            Fault::InvalidLogarithm,
            "cannot take logarithm of a negative number",
        ),
        number => Ok(number),
    };
    let answers: Result<Float64Array> = if call.has(1) {
        let [bases, numbers] = two_floats(call)?;
        let log = |(base, number): (Option<f64>, Option<f64>)| -> Result<Option<f64>> {
            let (Some(base), Some(number)) = (base, number) else {
                return Ok(None);
            };
            let answer = of(number)?.ln() / of(base)?.ln();
            // 2.9999999999999996 is 3 but for the last digit of a double.
            Ok(Some((answer * 1e15).round() / 1e15))
        };
        bases.iter().zip(numbers.iter()).map(log).collect()
    } else {
        let numbers = cast(&call.arrays[0], &DataType::Float64)?;
        let log = |number: Option<f64>| number.map(|number| Ok(of(number)?.log10())).transpose();
        numbers
            .as_primitive::<Float64Type>()
            .iter()
            .map(log)
            .collect()
    };
    let answers: ArrayRef = Arc::new(answers?);
    match call.returns.data_type() {
        DataType::Decimal128(precision, scale) => {
            let texts = answers.as_primitive::<Float64Type>().iter().map(|answer| {
                answer.and_then(|answer| casts::decimal(&answer.to_string(), *scale))
            });
            Ok(Arc::new(
                texts
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(*precision, *scale)?,
            ))
        }
        _ => Ok(answers),
    }
}

fn div(call: &Call) -> Result<ArrayRef> {
    let scale = 10;
    let decimal = |at: usize| cast(&call.arrays[at], &DataType::Decimal128(38, scale));
    let (left, right) = (decimal(0)?, decimal(1)?);
    let (left, right) = (
        left.as_primitive::<Decimal128Type>(),
        right.as_primitive::<Decimal128Type>(),
    );
    let divide = |(a, b): (Option<i128>, Option<i128>)| match (a, b) {
        (Some(_), Some(0)) => fault(Fault::DivisionByZero, "division by zero"),
        (Some(a), Some(b)) => Ok(Some(a / b)),
        _ => Ok(None),
    };
    let answers: Result<Decimal128Array> = left.iter().zip(right.iter()).map(divide).collect();
    Ok(Arc::new(answers?.with_precision_and_scale(38, 0)?))
}

/// The wider type of two integers.
fn integer_field(fields: &[FieldRef], _values: &[Option<&ScalarValue>]) -> Result<Field> {
    let wide = fields.iter().any(|field| {
        !matches!(
            field.data_type(),
            DataType::Int16 | DataType::Int32 | DataType::Null
        )
    });
    Ok(Field::new(
        "",
        if wide {
            DataType::Int64
        } else {
            DataType::Int32
        },
        true,
    ))
}

fn gcd(a: i64, b: i64) -> u64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn divisors(call: &Call, compute: impl Fn(i64, i64) -> Option<i64>) -> Result<ArrayRef> {
    let (left, right) = (call.integers(0)?, call.integers(1)?);
    let narrow = call.returns.data_type() == &DataType::Int32;
    let answer = |(a, b): (Option<i64>, Option<i64>)| -> Result<Option<i64>> {
        let (Some(a), Some(b)) = (a, b) else {
            return Ok(None);
        };
        match compute(a, b).filter(|answer| !narrow || i32::try_from(*answer).is_ok()) {
            Some(answer) => Ok(Some(answer)),
            None => fault(
                Fault::OutOfRange,
                format!("{} out of range", if narrow { "integer" } else { "bigint" }),
            ),
        }
    };
    let answers: Int64Array = left.iter().zip(&right).map(answer).collect::<Result<_>>()?;
    Ok(cast(&answers, call.returns.data_type())?)
}

fn count_nulls(call: &Call, null: bool) -> Int32Array {
    let count = |row: usize| {
        let is_null = |values: &&ArrayRef| {
            let nulls = values.logical_nulls();
            nulls.is_some_and(|nulls| nulls.is_null(row)) == null
        };
        let counted = call.arrays.iter().filter(is_null);
        i32::try_from(counted.count()).ok()
    };
    (0..call.rows).map(count).collect()
}

/// `width_bucket(x, thresholds)`: how many of them, which ascend, aren't above it.
fn place_among(call: &Call) -> Result<ArrayRef> {
    let item = Field::new_list_field(DataType::Float64, true);
    let lists = cast(&call.arrays[1], &DataType::List(Arc::new(item)))?;
    let lists = lists.as_list::<i32>();
    let values = cast(&call.arrays[0], &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let place = |row: usize| {
        if values.is_null(row) || lists.is_null(row) {
            return None;
        }
        let thresholds = lists.value(row);
        let thresholds = thresholds.as_primitive::<Float64Type>();
        let passed = thresholds
            .iter()
            .flatten()
            .filter(|t| *t <= values.value(row));
        i32::try_from(passed.count()).ok()
    };
    Ok(Arc::new((0..call.rows).map(place).collect::<Int32Array>()))
}

fn width_bucket(call: &Call) -> Result<ArrayRef> {
    if call.arrays.len() == 2 {
        return place_among(call);
    }
    let float = |at: usize| -> Result<Float64Array> {
        Ok(cast(&call.arrays[at], &DataType::Float64)?
            .as_primitive::<Float64Type>()
            .clone())
    };
    let (values, lows, highs) = (float(0)?, float(1)?, float(2)?);
    let counts = call.integers(3)?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a bucket is at most the count of them"
    )]
    let bucket = |row: usize| -> Result<Option<i32>> {
        if [&values, &lows, &highs]
            .iter()
            .any(|column| column.is_null(row))
            || counts.is_null(row)
        {
            return Ok(None);
        }
        let (value, low, high, count) = (
            values.value(row),
            lows.value(row),
            highs.value(row),
            counts.value(row),
        );
        if count <= 0 {
            return fault(Fault::InvalidWidth, "count must be greater than zero");
        }
        if low == high {
            return fault(Fault::InvalidWidth, "lower bound cannot equal upper bound");
        }
        let share = (value - low) / (high - low);
        let bucket = (share * count as f64).floor() as i64 + 1;
        Ok(i32::try_from(bucket.clamp(0, count + 1)).ok())
    };
    Ok(Arc::new(
        (0..call.rows).map(bucket).collect::<Result<Int32Array>>()?,
    ))
}

fn to_number(call: &Call) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let formats = call.texts(1)?;
    let read = |row: usize| -> Result<Option<i128>> {
        if texts.is_null(row) || formats.is_null(row) {
            return Ok(None);
        }
        let number = number_of(texts.value(row), formats.value(row))?;
        Ok(number.and_then(|text| casts::decimal(&text, 10)))
    };
    let answers = (0..call.rows)
        .map(read)
        .collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(answers.with_precision_and_scale(38, 10)?))
}

fn factorial(call: &Call) -> Result<ArrayRef> {
    let numbers = cast(&call.arrays[0], &DataType::Int64)?;
    let product = |number: i64| -> Result<i128> {
        if number < 0 {
            return fault(
                Fault::OutOfRange,
                "factorial of a negative number is undefined",
            );
        }
        let product = (1..=i128::from(number)).try_fold(1_i128, i128::checked_mul);
        product.map_or_else(
            || fault(Fault::OutOfRange, "value overflows numeric format"),
            Ok,
        )
    };
    let answers = numbers
        .as_primitive::<Int64Type>()
        .iter()
        .map(|number| number.map(product).transpose());
    Ok(Arc::new(
        answers
            .collect::<Result<Decimal128Array>>()?
            .with_precision_and_scale(38, 0)?,
    ))
}
