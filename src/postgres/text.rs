//! Values as the texts that Postgres writes.

use std::sync::Arc;

use std::fmt::Write;

use chrono::{DateTime, Datelike, Offset, TimeZone, Utc};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int32Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::error::DataFusionError;

use super::names_of_objects::Names;
use super::types;

/// The texts of a column; NULL stays NULL.
///
/// # Errors
/// XX000 for a type that has no text.
pub fn texts(
    values: &ArrayRef,
    field: &Field,
    names: &dyn Names,
) -> Result<StringArray, DataFusionError> {
    if let Some(kind) = field.metadata().get(types::TYPE_KEY) {
        if kind.starts_with("reg") && *values.data_type() == DataType::Int32 {
            let oids = values.as_primitive::<Int32Type>();
            return Ok(oids
                .iter()
                .map(|oid| Some(object_name(kind, oid?, names)))
                .collect());
        }
        if let Some(element) = kind.strip_prefix('_')
            && element.starts_with("reg")
            && let DataType::List(item) = values.data_type()
        {
            let marked = types::marked(item.as_ref().clone(), element);
            return lists(values, &marked, names);
        }
        if kind.ends_with("vector") && matches!(values.data_type(), DataType::List(_)) {
            return vectors(values);
        }
        if kind == types::QUOTIENT {
            return quotients(values);
        }
        if kind == "numeric" {
            let plain = plain_texts(values)?;
            return Ok(plain.iter().map(|text| Some(trimmed(text?))).collect());
        }
        if kind == "time" || kind == "timetz" {
            return plain_texts(values);
        }
    }
    match values.data_type() {
        DataType::List(item) => lists(values, item, names),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let list = cast(values, &DataType::List(Arc::clone(item)))?;
            lists(&list, item, names)
        }
        DataType::Struct(_) => records(values, names),
        _ => plain_texts(values),
    }
}

/// An object's name, or its OID where there is none of that OID; `-` for no object.
fn object_name(kind: &str, oid: i32, names: &dyn Names) -> String {
    match oid {
        0 => "-".to_owned(),
        oid => names.name(kind, oid).unwrap_or_else(|| oid.to_string()),
    }
}

fn plain_texts(values: &ArrayRef) -> Result<StringArray, DataFusionError> {
    Ok(match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().clone(),
        DataType::Boolean => {
            let bools = values.as_boolean();
            bools
                .iter()
                .map(|value| value.map(|value| if value { "t" } else { "f" }))
                .collect()
        }
        DataType::Float64 => {
            let numbers = values.as_primitive::<Float64Type>();
            numbers.iter().map(|value| value.map(double_text)).collect()
        }
        DataType::Float32 => {
            let numbers = values.as_primitive::<Float32Type>();
            numbers.iter().map(|value| value.map(real_text)).collect()
        }
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>();
            days.iter().map(|day| day.and_then(date_text)).collect()
        }
        DataType::Date64 => return plain_texts(&cast(values, &DataType::Date32)?),
        DataType::Time32(_) | DataType::Time64(_) => {
            let times = cast(values, &DataType::Time64(TimeUnit::Microsecond))?;
            let times = times.as_primitive::<Time64MicrosecondType>();
            times.iter().map(|time| time.map(time_text)).collect()
        }
        DataType::Timestamp(_, zone) => {
            let target = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            let zone = zone.as_deref().map(str::parse::<Tz>).transpose()?;
            let instants = cast(values, &target)?;
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            instants
                .iter()
                .map(|value| value.and_then(|value| instant_text(value, zone)))
                .collect()
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let intervals = cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
            intervals
                .iter()
                .map(|value| value.map(|value| interval_text(&value)))
                .collect()
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => {
            let bytes = cast(values, &DataType::Binary)?;
            bytes
                .as_binary::<i32>()
                .iter()
                .map(|bytes| bytes.map(bytes_text))
                .collect()
        }
        DataType::Null => StringArray::new_null(values.len()),
        DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            cast(values, &DataType::Utf8)?.as_string::<i32>().clone()
        }
        _ => displayed(values)?,
    })
}

/// As Arrow writes it, for what Postgres writes the same way.
fn displayed(values: &ArrayRef) -> Result<StringArray, DataFusionError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(values.as_ref(), &options)?;
    let text = |row: usize| {
        values
            .is_valid(row)
            .then(|| formatter.value(row).to_string())
    };
    Ok((0..values.len()).map(text).collect())
}

/// `{a,"b c",NULL}`
fn lists(
    values: &ArrayRef,
    item: &Field,
    names: &dyn Names,
) -> Result<StringArray, DataFusionError> {
    let list = values.as_list::<i32>();
    let elements = texts(list.values(), item, names)?;
    let nested = matches!(item.data_type(), DataType::List(_));
    let mut result = StringBuilder::new();
    for row in 0..list.len() {
        if list.is_null(row) {
            result.append_null();
            continue;
        }
        let offsets = list.value_offsets();
        let range = usize::try_from(offsets[row]).unwrap_or(0)
            ..usize::try_from(offsets[row + 1]).unwrap_or(0);
        let parts: Vec<String> = range
            .map(|at| match elements.is_null(at) {
                true => "NULL".to_owned(),
                false if nested => elements.value(at).to_owned(),
                false => array_element(elements.value(at)),
            })
            .collect();
        result.append_value(format!("{{{}}}", parts.join(",")));
    }
    Ok(result.finish())
}

fn array_element(text: &str) -> String {
    let plain = !text.is_empty()
        && !text.eq_ignore_ascii_case("null")
        && !text.contains(|c: char| "{},\"\\".contains(c) || c.is_whitespace());
    match plain {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// `1 2 3`
fn vectors(values: &ArrayRef) -> Result<StringArray, DataFusionError> {
    let list = values.as_list::<i32>();
    let text = |row: Option<ArrayRef>| -> Result<Option<String>, DataFusionError> {
        let Some(row) = row else { return Ok(None) };
        let numbers = displayed(&row)?;
        Ok(Some(numbers.iter().flatten().collect::<Vec<_>>().join(" ")))
    };
    list.iter().map(text).collect()
}

/// `(a,"b c",)`
fn records(values: &ArrayRef, names: &dyn Names) -> Result<StringArray, DataFusionError> {
    let record = values.as_struct();
    let columns: Vec<StringArray> = record
        .columns()
        .iter()
        .zip(record.fields())
        .map(|(column, field)| texts(column, field, names))
        .collect::<Result<_, _>>()?;
    let text = |row: usize| {
        record.is_valid(row).then(|| {
            let parts: Vec<String> = columns
                .iter()
                .map(|column| match column.is_null(row) {
                    true => String::new(),
                    false => record_element(column.value(row)),
                })
                .collect();
            format!("({})", parts.join(","))
        })
    };
    Ok((0..record.len()).map(text).collect())
}

fn record_element(text: &str) -> String {
    let plain =
        !text.is_empty() && !text.contains(|c: char| "(),\"\\".contains(c) || c.is_whitespace());
    match plain {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\"")),
    }
}

/// Numbers that a division gave: Postgres writes at least 16 digits of them, in groups of four.
fn quotients(values: &ArrayRef) -> Result<StringArray, DataFusionError> {
    let DataType::Decimal128(_, scale) = values.data_type() else {
        return plain_texts(values);
    };
    let scale = u32::try_from(*scale).unwrap_or(0);
    let numbers = values.as_primitive::<Decimal128Type>();
    Ok(numbers
        .iter()
        .map(|number| Some(quotient_text(number?, scale)))
        .collect())
}

fn quotient_text(number: i128, scale: u32) -> String {
    let one = 10_i128.pow(scale);
    // How many groups of four digits stand before the point, less one.
    let mut groups = 0_i32;
    let mut rest = number.abs() / one;
    while rest >= 10_000 {
        rest /= 10_000;
        groups += 1;
    }
    let below_one = number.abs() < one || number.abs() == one;
    let digits = match below_one && number != 0 {
        true => 20,
        false => u32::try_from((16 - 4 * groups).max(0)).unwrap_or(0),
    };
    decimal_text(number, scale, digits)
}

/// A decimal number with so many digits behind the point, rounded half away from zero.
pub fn decimal_text(number: i128, scale: u32, digits: u32) -> String {
    let (number, scale) = match digits < scale {
        true => {
            let unit = 10_i128.pow(scale - digits);
            ((number + number.signum() * unit / 2) / unit, digits)
        }
        false => (number, scale),
    };
    let one = 10_u128.pow(scale);
    let sign = if number < 0 { "-" } else { "" };
    let (whole, part) = (number.unsigned_abs() / one, number.unsigned_abs() % one);
    match scale {
        0 => format!("{sign}{whole}"),
        scale => format!("{sign}{whole}.{part:0width$}", width = scale as usize),
    }
}

fn trimmed(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    }
}

fn date_text(days: i32) -> Option<String> {
    if days == i32::MAX {
        return Some("infinity".to_owned());
    }
    if days == i32::MIN {
        return Some("-infinity".to_owned());
    }
    let day = DateTime::<Utc>::from_timestamp(i64::from(days) * 86_400, 0)?.date_naive();
    Some(match day.year() {
        year if year > 0 => format!("{year:04}-{:02}-{:02}", day.month(), day.day()),
        year => format!("{:04}-{:02}-{:02} BC", 1 - year, day.month(), day.day()),
    })
}

fn time_text(microseconds: i64) -> String {
    let seconds = microseconds / 1_000_000;
    let mut text = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    push_fraction(&mut text, microseconds % 1_000_000);
    text
}

fn push_fraction(text: &mut String, microseconds: i64) {
    if microseconds != 0 {
        let digits = format!("{microseconds:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
}

/// `2026-01-01 09:00:00`, with a fraction where there is one and the offset where there is a zone.
pub fn instant_text(microseconds: i64, zone: Option<Tz>) -> Option<String> {
    match microseconds {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let utc = DateTime::<Utc>::from_timestamp_micros(microseconds)?.naive_utc();
    let (local, offset) = match zone {
        None => (utc, String::new()),
        Some(zone) => {
            let local = zone.from_utc_datetime(&utc);
            let seconds = local.offset().fix().local_minus_utc();
            (local.naive_local(), offset_text(seconds))
        }
    };
    let bc = if local.year() > 0 { "" } else { " BC" };
    let year = if local.year() > 0 {
        local.year()
    } else {
        1 - local.year()
    };
    let mut text = format!("{year:04}-{}", local.format("%m-%d %H:%M:%S"));
    push_fraction(
        &mut text,
        i64::from(local.and_utc().timestamp_subsec_micros()),
    );
    Some(text + &offset + bc)
}

/// `+08`, `-03:30`, `+05:53:28`
pub fn offset_text(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let mut text = format!("{sign}{:02}", seconds / 3600);
    if !seconds.is_multiple_of(3600) {
        let _ = write!(text, ":{:02}", seconds / 60 % 60);
    }
    if !seconds.is_multiple_of(60) {
        let _ = write!(text, ":{:02}", seconds % 60);
    }
    text
}

/// `1 year 2 mons -3 days +04:05:06.5`
pub fn interval_text(interval: &IntervalMonthDayNano) -> String {
    let mut text = String::new();
    let mut was_negative = false;
    for (count, unit) in [
        (interval.months / 12, "year"),
        (interval.months % 12, "mon"),
        (interval.days, "day"),
    ] {
        if count == 0 {
            continue;
        }
        let space = if text.is_empty() { "" } else { " " };
        let plus = if was_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        let _ = write!(text, "{space}{plus}{count} {unit}{plural}");
        was_negative = count < 0;
    }
    let microseconds = interval.nanoseconds / 1000;
    if microseconds != 0 || text.is_empty() {
        let space = if text.is_empty() { "" } else { " " };
        let sign = match microseconds {
            negative if negative < 0 => "-",
            _ if was_negative => "+",
            _ => "",
        };
        let magnitude = i64::try_from(microseconds.unsigned_abs()).unwrap_or(i64::MAX);
        let _ = write!(text, "{space}{sign}{}", time_text(magnitude));
    }
    text
}

fn bytes_text(bytes: &[u8]) -> String {
    let mut text = "\\x".to_owned();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The shortest text that reads back as the same number, with an exponent where Postgres has one.
pub fn double_text(value: f64) -> String {
    match is_written_plainly(value, 1e15) {
        true => value.to_string(),
        false => exponent_text(value, &format!("{value:e}")),
    }
}

fn real_text(value: f32) -> String {
    match is_written_plainly(f64::from(value), 1e6) {
        true => value.to_string(),
        false => exponent_text(f64::from(value), &format!("{value:e}")),
    }
}

/// %g's bounds, with the digits that a number of its width always has.
fn is_written_plainly(value: f64, most: f64) -> bool {
    value == 0.0 || (1e-4..most).contains(&value.abs())
}

/// `1.5e-7` as `1.5e-07`; the numbers that are none by their names.
fn exponent_text(value: f64, scientific: &str) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `SELECT x::float8`.
    #[test]
    fn numbers_are_written_as_postgres_writes_them() {
        let cases = [
            (1.0, "1"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5e300, "1.5e+300"),
            (-0.0, "-0"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(double_text(value), text);
        }
        assert_eq!(real_text(0.1), "0.1");
        assert_eq!(real_text(1e6), "1e+06");
    }

    /// Expected: PostgreSQL 15.18, `SELECT to_timestamp(…)` in the zone.
    #[test]
    fn instants_are_written_as_postgres_writes_them() {
        let shown =
            |microseconds: i64, zone: &str| instant_text(microseconds, zone.parse::<Tz>().ok());
        assert_eq!(shown(0, "UTC").as_deref(), Some("1970-01-01 00:00:00+00"));
        assert_eq!(
            shown(1_500_000, "Asia/Shanghai").as_deref(),
            Some("1970-01-01 08:00:01.5+08")
        );
        assert_eq!(
            shown(0, "Asia/Kolkata").as_deref(),
            Some("1970-01-01 05:30:00+05:30")
        );
        assert_eq!(
            shown(0, "-03:30").as_deref(),
            Some("1969-12-31 20:30:00-03:30")
        );
        assert_eq!(
            instant_text(10, None).as_deref(),
            Some("1970-01-01 00:00:00.00001")
        );
    }
}
