//! ClickHouse's numbers of anything: `toUInt32(user_id)`.
//!
//! A number is cut towards zero, a text read, a boolean 0 or 1; a time counts seconds since 1970 and a date days. The
//! floats keep the fraction of a time. NULL gives NULL. A text that can't be read is an error 22P02, as in ClickHouse.
//!
//! Differences: a number outside of the type is an error 22003, where ClickHouse wraps around it. Postgres has no
//! unsigned types, so each function gives the smallest of Postgres' types that holds its range, and a difference of two
//! can be negative, as in ClickHouse; `toUInt64` ends where `bigint` does.

use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;
use datafusion::common::cast::as_int64_array;

use super::{MICROSECOND, integer_type};
use crate::error::FunnelError;

/// A value that doesn't fit is an error, rather than NULL.
const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: datafusion::arrow::util::display::FormatOptions::new(),
};

/// Casts texts; what can't be read is an error.
pub(super) fn read(values: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(values, to, &STRICT)?)
}

/// Integers within a range, of the type that holds it.
pub(super) fn integers(
    values: &ArrayRef,
    range: RangeInclusive<i64>,
    name: &str,
) -> Result<ArrayRef> {
    let wide = match values.data_type() {
        DataType::Timestamp(..) => Arc::new(seconds(values)?) as ArrayRef,
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, &DataType::Int64)?,
        DataType::Utf8 => read(values, &DataType::Int64)?,
        _ => cast(values, &DataType::Int64)?,
    };
    let wide = as_int64_array(&wide)?;
    // A cast that isn't strict makes NULL of what is too large.
    let lost = (0..wide.len()).find(|row| wide.is_null(*row) && values.is_valid(*row));
    let outside = wide
        .iter()
        .position(|value| value.is_some_and(|value| !range.contains(&value)));
    if let Some(row) = lost.or(outside) {
        return Err(outside_of(values, row, &range, name)?.into());
    }
    Ok(cast(wide, &integer_type(*range.start(), *range.end()))?)
}

/// What an integer type holds, as far as 64 signed bits do.
pub(super) fn range_of(data_type: &DataType) -> Option<RangeInclusive<i64>> {
    Some(match data_type {
        DataType::Int8 => i8::MIN.into()..=i8::MAX.into(),
        DataType::Int16 => i16::MIN.into()..=i16::MAX.into(),
        DataType::Int32 => i32::MIN.into()..=i32::MAX.into(),
        DataType::Int64 => i64::MIN..=i64::MAX,
        DataType::UInt8 => 0..=u8::MAX.into(),
        DataType::UInt16 => 0..=u16::MAX.into(),
        DataType::UInt32 => 0..=u32::MAX.into(),
        _ => return None,
    })
}

fn outside_of(
    values: &ArrayRef,
    row: usize,
    range: &RangeInclusive<i64>,
    name: &str,
) -> Result<FunnelError> {
    let value = datafusion::arrow::util::display::array_value_to_string(values, row)?;
    Ok(FunnelError::OutOfRange {
        message: format!(
            "{name}({value}) is outside of {} to {}",
            range.start(),
            range.end()
        ),
    })
}

/// Whole seconds since 1970, cut towards zero as ClickHouse does.
fn seconds(times: &ArrayRef) -> Result<Int64Array> {
    Ok(microseconds(times)?.unary(|time| time / MICROSECOND))
}

/// Microseconds since 1970 of timestamps of any unit and zone; a zone is not looked at.
fn microseconds(times: &ArrayRef) -> Result<Int64Array> {
    let zone = match times.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let times = read(times, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    Ok(times
        .as_primitive::<TimestampMicrosecondType>()
        .reinterpret_cast::<Int64Type>())
}

/// Floats; a time counts seconds, a date days.
pub(super) fn floats(values: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let numbers = match values.data_type() {
        DataType::Timestamp(..) => {
            let seconds = microseconds(values)?
                .unary::<_, Float64Type>(|time| time as f64 / MICROSECOND as f64);
            Arc::new(seconds) as ArrayRef
        }
        DataType::Date32 => cast(values, &DataType::Int32)?,
        _ => Arc::clone(values),
    };
    read(&numbers, to)
}
