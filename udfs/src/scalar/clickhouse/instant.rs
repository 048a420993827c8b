//! ClickHouse's times of anything, and the numbers of a time: `toDateTime('2026-01-01 10:00:00')`.
//!
//! - `toDateTime` and `toDateTime64` make an instant. A text, a date or a timestamp without a zone lies in `zone`, or in the
//!   session's; a number, or a text of nine and more digits, counts seconds since 1970. The instant is cut to the second, or
//!   to `scale` digits behind it, 0 to 6.
//! - `fromUnixTimestamp` and its 64-bit variants make the instant of a count since 1970.
//! - `toDate` gives the date of a text or timestamp, and of an instant in that zone; a number up to 65535 counts days, a
//!   larger one seconds.
//! - `toUnixTimestamp`, `unix_timestamp` and the 64-bit variants count from 1970 to a time, cut towards zero.
//! - `toYYYYMM` and `toYYYYMMDD` give the date of a time as a number.
//!
//! NULL gives NULL. A text that can't be read is an error 22007. Differences: times may lie before 1970 and after 2106; a
//! result is shown in the session's zone, whatever `zone` is; a number too far from 1970 is an error 22003.

use std::sync::Arc;

use chrono::Datelike;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::Result;

use super::number::{integers, read};
use super::{MICROSECOND, SECOND, Settings};
use crate::UTC;
use crate::error::FunnelError;

/// The largest number that `toDate` reads as days, as in ClickHouse.
const MOST_DAYS: i64 = 65_535;

const SECONDS_PER_DAY: i64 = 86_400;

/// Instants; a number counts `per_second` of a second since 1970.
pub(super) fn instants(
    values: &ArrayRef,
    per_second: i64,
    settings: &Settings,
    name: &str,
) -> Result<TimestampMicrosecondArray> {
    let zoned = in_zone(&settings.zone);
    let instants = match values.data_type() {
        DataType::Utf8 => texts(values, &zoned)?,
        DataType::Timestamp(_, Some(_)) => read(values, &zoned)?,
        DataType::Timestamp(_, None) => read(&read(values, &local())?, &zoned)?,
        DataType::Date32 => read(&read(values, &local())?, &zoned)?,
        data_type if data_type.is_integer() || *data_type == DataType::Boolean => {
            let counts = integers(values, i64::MIN..=i64::MAX, name)?;
            let counts = counts.as_primitive::<Int64Type>();
            return counted(counts, per_second, name);
        }
        _ => return fractional(values, per_second, name),
    };
    let utc = read(&instants, &in_zone(UTC))?;
    Ok(utc.as_primitive::<TimestampMicrosecondType>().clone())
}

fn in_zone(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some(zone.into()))
}

/// Times as a calendar and clock show them, in no zone.
fn local() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// Texts of digits alone are seconds, as in ClickHouse; what is shorter than ten may be a year.
fn texts(values: &ArrayRef, zoned: &DataType) -> Result<ArrayRef> {
    const LEAST_DIGITS: usize = 9;
    let is_number =
        |text: &str| text.len() >= LEAST_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    let texts = values.as_string::<i32>();
    if !texts.iter().flatten().any(is_number) {
        return read(values, zoned);
    }
    let rows = (0..texts.len()).map(|row| {
        let text = texts.slice(row, 1);
        match texts.is_valid(row) && is_number(texts.value(row)) {
            true => {
                let seconds = read(&text, &DataType::Int64)?;
                let second = DataType::Timestamp(TimeUnit::Second, Some(UTC.into()));
                read(&cast(&seconds, &second)?, zoned)
            }
            false => read(&text, zoned),
        }
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    Ok(datafusion::arrow::compute::concat(&rows)?)
}

fn counted(counts: &Int64Array, per_second: i64, name: &str) -> Result<TimestampMicrosecondArray> {
    let scale = MICROSECOND / per_second;
    let times = counts.try_unary::<_, TimestampMicrosecondType, FunnelError>(|count| {
        count
            .checked_mul(scale)
            .ok_or_else(|| too_far(name, &count.to_string()))
    })?;
    Ok(times.with_timezone(UTC))
}

/// Numbers with digits behind the point. A double has 53 bits: enough for microseconds until the year 2255.
fn fractional(values: &ArrayRef, per_second: i64, name: &str) -> Result<TimestampMicrosecondArray> {
    let scale = (MICROSECOND / per_second) as f64;
    let counts = read(values, &DataType::Float64)?;
    let counts = counts.as_primitive::<Float64Type>();
    let times = counts.try_unary::<_, TimestampMicrosecondType, FunnelError>(|count| {
        let time = (count * scale).round();
        // Exact: the bounds are powers of two.
        match time >= i64::MIN as f64 && time < -(i64::MIN as f64) {
            true => Ok(time as i64),
            false => Err(too_far(name, &count.to_string())),
        }
    })?;
    Ok(times.with_timezone(UTC))
}

fn too_far(name: &str, count: &str) -> FunnelError {
    FunnelError::OutOfRange {
        message: format!("{name}({count}) is too far from 1970"),
    }
}

/// Instants without the digits behind `scale` of them.
pub(super) fn cut(instants: &TimestampMicrosecondArray, scale: u32) -> Result<ArrayRef> {
    let unit = 10_i64.pow(6_u32.saturating_sub(scale));
    // Instants near the least one have no smaller multiple.
    let cut = instants
        .unary::<_, TimestampMicrosecondType>(|time| time.saturating_sub(time.rem_euclid(unit)));
    Ok(Arc::new(cut.with_timezone(UTC)))
}

/// How many units since 1970, cut towards zero as ClickHouse does.
pub(super) fn epochs(instants: &TimestampMicrosecondArray, per_second: i64) -> Result<ArrayRef> {
    let unit = MICROSECOND / per_second;
    Ok(Arc::new(instants.unary::<_, Int64Type>(|time| time / unit)))
}

/// Dates: a time's own, an instant's in the zone, a number's days or seconds.
pub(super) fn dates(values: &ArrayRef, settings: &Settings, name: &str) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Date32 => Ok(Arc::clone(values)),
        DataType::Timestamp(_, None) => read(values, &DataType::Date32),
        data_type if data_type.is_integer() => {
            let counts = integers(values, 0..=i64::MAX, name)?;
            let seconds = counts
                .as_primitive::<Int64Type>()
                .unary::<_, Int64Type>(|count| match count <= MOST_DAYS {
                    true => count * SECONDS_PER_DAY,
                    false => count,
                });
            let is_day = counts.as_primitive::<Int64Type>().clone();
            let instants = counted(&seconds, SECOND, name)?;
            let in_utc = read(&instants, &DataType::Date32)?;
            let in_zone = date_in_zone(&instants, settings)?;
            Ok(Arc::new(pick(&is_day, &in_utc, &in_zone)))
        }
        _ => date_in_zone(&instants(values, SECOND, settings, name)?, settings),
    }
}

/// A number of days has its date in no zone, a number of seconds in the session's.
fn pick(counts: &Int64Array, days: &ArrayRef, seconds: &ArrayRef) -> Date32Array {
    let days = days.as_primitive::<Date32Type>().iter();
    let seconds = seconds.as_primitive::<Date32Type>().iter();
    let both = days.zip(seconds);
    counts
        .iter()
        .zip(both)
        .map(|(count, (day, second))| match count? <= MOST_DAYS {
            true => day,
            false => second,
        })
        .collect()
}

fn date_in_zone(instants: &TimestampMicrosecondArray, settings: &Settings) -> Result<ArrayRef> {
    read(
        &read(instants, &in_zone(&settings.zone))?,
        &DataType::Date32,
    )
}

/// Dates as numbers, 20260304 or 202603.
pub(super) fn digits(dates: &ArrayRef, with_day: bool) -> Result<ArrayRef> {
    let dates = dates.as_primitive::<Date32Type>();
    let numbers: Int32Array = (0..dates.len())
        .map(|row| {
            let date = dates
                .is_valid(row)
                .then(|| dates.value_as_date(row))
                .flatten()?;
            // Lossless: a month is at most 12, a day 31; and years have six digits.
            let month = date.year() * 100 + date.month() as i32;
            Some(match with_day {
                true => month * 100 + date.day() as i32,
                false => month,
            })
        })
        .collect();
    Ok(Arc::new(numbers))
}
