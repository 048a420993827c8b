//! Values as the texts that Postgres writes.

use std::sync::Arc;

use std::fmt::Write;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
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
use super::style::{ByteFormat, DateFormat, DateOrder, IntervalFormat, Style};
use super::types;
use super::zones::Zone;

/// The texts of a column; NULL stays NULL.
///
/// # Errors
/// XX000 for a type that has no text.
pub fn texts(
    values: &ArrayRef,
    field: &Field,
    names: &dyn Names,
    style: Style,
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
            return lists(values, &marked, names, style);
        }
        if kind.ends_with("vector") && matches!(values.data_type(), DataType::List(_)) {
            return vectors(values);
        }
        if kind == types::QUOTIENT {
            return quotients(values);
        }
        if kind == "numeric" {
            let plain = plain_texts(values, style)?;
            return Ok(plain.iter().map(|text| Some(trimmed(text?))).collect());
        }
        if kind == "time" || kind == "timetz" {
            return plain_texts(values, style);
        }
    }
    match values.data_type() {
        DataType::List(item) => lists(values, item, names, style),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let list = cast(values, &DataType::List(Arc::clone(item)))?;
            lists(&list, item, names, style)
        }
        DataType::Struct(_) => records(values, names, style),
        _ => plain_texts(values, style),
    }
}

/// An object's name, or its OID where there is none of that OID; `-` for no object.
fn object_name(kind: &str, oid: i32, names: &dyn Names) -> String {
    match oid {
        0 => "-".to_owned(),
        oid => names.name(kind, oid).unwrap_or_else(|| oid.to_string()),
    }
}

fn plain_texts(values: &ArrayRef, style: Style) -> Result<StringArray, DataFusionError> {
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
            let digits = style.float_digits;
            let text = |value| double_text_of(value, digits);
            numbers.iter().map(|value| value.map(text)).collect()
        }
        DataType::Float32 => {
            let numbers = values.as_primitive::<Float32Type>();
            let digits = style.float_digits;
            let text = |value| real_text(value, digits);
            numbers.iter().map(|value| value.map(text)).collect()
        }
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>();
            let text = |day| date_text(day, style);
            days.iter().map(|day| day.and_then(text)).collect()
        }
        DataType::Date64 => return plain_texts(&cast(values, &DataType::Date32)?, style),
        DataType::Time32(_) | DataType::Time64(_) => {
            let times = cast(values, &DataType::Time64(TimeUnit::Microsecond))?;
            let times = times.as_primitive::<Time64MicrosecondType>();
            times.iter().map(|time| time.map(time_text)).collect()
        }
        DataType::Timestamp(_, zone) => {
            let target = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            let zone = zone.as_deref().map(Zone::new).transpose()?;
            let instants = cast(values, &target)?;
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            instants
                .iter()
                .map(|value| value.and_then(|value| instant_text(value, zone.as_ref(), style)))
                .collect()
        }
        DataType::Interval(_) | DataType::Duration(_) => {
            let intervals = cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
            intervals
                .iter()
                .map(|value| value.map(|value| interval_text(&value, style.intervals)))
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
                .map(|bytes| bytes.map(|bytes| bytes_text(bytes, style.bytes)))
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
    style: Style,
) -> Result<StringArray, DataFusionError> {
    let list = values.as_list::<i32>();
    let elements = texts(list.values(), item, names, style)?;
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
fn records(
    values: &ArrayRef,
    names: &dyn Names,
    style: Style,
) -> Result<StringArray, DataFusionError> {
    let record = values.as_struct();
    let columns: Vec<StringArray> = record
        .columns()
        .iter()
        .zip(record.fields())
        .map(|(column, field)| texts(column, field, names, style))
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
        return plain_texts(values, Style::default());
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

fn date_text(days: i32, style: Style) -> Option<String> {
    if days == i32::MAX {
        return Some("infinity".to_owned());
    }
    if days == i32::MIN {
        return Some("-infinity".to_owned());
    }
    let day = DateTime::<Utc>::from_timestamp(i64::from(days) * 86_400, 0)?.date_naive();
    let numbers = date_numbers(day, style);
    Some(
        match style.dates {
            DateFormat::Postgres => numbers.replace('/', "-"),
            _ => numbers,
        } + era(day),
    )
}

/// The year as it is counted, of the era of [`era`].
fn year_of(day: NaiveDate) -> i32 {
    if day.year() > 0 {
        day.year()
    } else {
        1 - day.year()
    }
}

fn era(day: NaiveDate) -> &'static str {
    if day.year() > 0 { "" } else { " BC" }
}

/// `2026-01-31`, `01/31/2026`, `31/01/2026`, `31.01.2026`
fn date_numbers(day: NaiveDate, style: Style) -> String {
    let (year, month, day) = (year_of(day), day.month(), day.day());
    match (style.dates, style.order) {
        (DateFormat::Iso, _) => format!("{year:04}-{month:02}-{day:02}"),
        (DateFormat::German, _) => format!("{day:02}.{month:02}.{year:04}"),
        (_, DateOrder::Dmy) => format!("{day:02}/{month:02}/{year:04}"),
        _ => format!("{month:02}/{day:02}/{year:04}"),
    }
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

/// A moment in a style: `2026-01-01 09:00:00`, with a fraction where there is one and the offset or the zone's short name where
/// there is a zone.
pub fn instant_text(microseconds: i64, zone: Option<&Zone>, style: Style) -> Option<String> {
    match microseconds {
        i64::MAX => return Some("infinity".to_owned()),
        i64::MIN => return Some("-infinity".to_owned()),
        _ => {}
    }
    let utc = DateTime::<Utc>::from_timestamp_micros(microseconds)?.naive_utc();
    let (local, zone) = match zone {
        None => (utc, String::new()),
        Some(zone) => {
            let seconds = zone.offset(&utc);
            let text = match style.dates {
                DateFormat::Iso => offset_text(seconds),
                _ => format!(" {}", zone.short_name(&utc)),
            };
            (utc + TimeDelta::seconds(i64::from(seconds)), text)
        }
    };
    let mut time = local.format("%H:%M:%S").to_string();
    push_fraction(
        &mut time,
        i64::from(local.and_utc().timestamp_subsec_micros()),
    );
    let day = local.date();
    Some(match style.dates {
        DateFormat::Postgres => {
            let date = match style.order {
                DateOrder::Dmy => local.format("%a %d %b"),
                _ => local.format("%a %b %d"),
            };
            format!("{date} {time} {:04}{zone}{}", year_of(day), era(day))
        }
        _ => format!("{} {time}{zone}{}", date_numbers(day, style), era(day)),
    })
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

/// An interval in a format.
pub fn interval_text(interval: &IntervalMonthDayNano, format: IntervalFormat) -> String {
    match format {
        IntervalFormat::Postgres => postgres_interval(interval),
        IntervalFormat::Verbose => verbose_interval(interval),
        IntervalFormat::SqlStandard => standard_interval(interval),
        IntervalFormat::Iso8601 => iso_interval(interval),
    }
}

/// The parts of an interval: years, months, days, hours, minutes, and microseconds within a minute, each with its sign.
fn parts(interval: &IntervalMonthDayNano) -> [i64; 6] {
    let microseconds = interval.nanoseconds / 1000;
    let minutes = microseconds / 60_000_000;
    [
        i64::from(interval.months / 12),
        i64::from(interval.months % 12),
        i64::from(interval.days),
        minutes / 60,
        minutes % 60,
        microseconds % 60_000_000,
    ]
}

/// Seconds with their fraction and without their sign.
fn seconds(microseconds: i64, width: usize) -> String {
    let microseconds = microseconds.unsigned_abs();
    let mut text = format!("{:0width$}", microseconds / 1_000_000);
    push_fraction(
        &mut text,
        i64::try_from(microseconds % 1_000_000).unwrap_or(0),
    );
    text
}

/// `@ 1 year 2 mons -3 days 4 hours ago`
fn verbose_interval(interval: &IntervalMonthDayNano) -> String {
    let parts = parts(interval);
    // The sign of the first is that of all, and a part of the other has one of its own.
    let before = parts.iter().find(|part| **part != 0).copied().unwrap_or(0) < 0;
    let mut text = "@".to_owned();
    let units = ["year", "mon", "day", "hour", "min", "sec"];
    for (at, (part, unit)) in parts.into_iter().zip(units).enumerate() {
        if part == 0 {
            continue;
        }
        let sign = if (part < 0) == before { "" } else { "-" };
        let (number, one) = match at {
            5 => (seconds(part, 1), part.abs() == 1_000_000),
            // A minus makes it many.
            _ => (
                part.unsigned_abs().to_string(),
                part.abs() == 1 && sign.is_empty(),
            ),
        };
        let plural = if one { "" } else { "s" };
        let _ = write!(text, " {sign}{number} {unit}{plural}");
    }
    if text == "@" {
        text.push_str(" 0");
    }
    if before {
        text.push_str(" ago");
    }
    text
}

/// `1-2`, `3 4:05:06`, `+1-2 -3 +4:05:06`
fn standard_interval(interval: &IntervalMonthDayNano) -> String {
    let [years, months, days, hours, minutes, micros] = parts(interval);
    let parts = [years, months, days, hours, minutes, micros];
    let (negative, positive) = (parts.iter().any(|p| *p < 0), parts.iter().any(|p| *p > 0));
    if !negative && !positive {
        return "0".to_owned();
    }
    let of_months = interval.months != 0;
    let of_days = days != 0 || interval.nanoseconds != 0;
    let [years, months, days, hours, minutes] =
        [years, months, days, hours, minutes].map(i64::unsigned_abs);
    let clock = format!("{hours}:{minutes:02}:{}", seconds(micros, 2));
    // The standard has one sign, and months or days.
    if negative && positive || of_months && of_days {
        let sign = |is_negative: bool| if is_negative { '-' } else { '+' };
        return format!(
            "{}{years}-{months} {}{days} {}{clock}",
            sign(interval.months < 0),
            sign(interval.days < 0),
            sign(interval.nanoseconds < 0),
        );
    }
    let sign = if negative { "-" } else { "" };
    match (of_months, days) {
        (true, _) => format!("{sign}{years}-{months}"),
        (false, 0) => format!("{sign}{clock}"),
        (false, days) => format!("{sign}{days} {clock}"),
    }
}

/// `P1Y2M-3DT4H5M6.5S`
fn iso_interval(interval: &IntervalMonthDayNano) -> String {
    let [years, months, days, hours, minutes, micros] = parts(interval);
    let mut text = "P".to_owned();
    let push = |text: &mut String, parts: &[(i64, char)]| {
        for (part, unit) in parts.iter().filter(|(part, _)| *part != 0) {
            let _ = write!(text, "{part}{unit}");
        }
    };
    push(&mut text, &[(years, 'Y'), (months, 'M'), (days, 'D')]);
    if interval.nanoseconds / 1000 != 0 {
        text.push('T');
        push(&mut text, &[(hours, 'H'), (minutes, 'M')]);
        if micros != 0 {
            let sign = if micros < 0 { "-" } else { "" };
            let _ = write!(text, "{sign}{}S", seconds(micros, 1));
        }
    }
    match text.as_str() {
        "P" => "PT0S".to_owned(),
        _ => text,
    }
}

/// `1 year 2 mons -3 days +04:05:06.5`
fn postgres_interval(interval: &IntervalMonthDayNano) -> String {
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

fn bytes_text(bytes: &[u8], format: ByteFormat) -> String {
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    match format {
        ByteFormat::Hex => {
            text.push_str("\\x");
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
        }
        ByteFormat::Escape => {
            for byte in bytes {
                match byte {
                    b'\\' => text.push_str("\\\\"),
                    b' '..=b'~' => text.push(char::from(*byte)),
                    byte => {
                        let _ = write!(text, "\\{byte:03o}");
                    }
                }
            }
        }
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

/// The same, or with so many digits more than the 15 that are certain, where that isn't above 0.
fn double_text_of(value: f64, extra_digits: i32) -> String {
    match extra_digits {
        1.. => double_text(value),
        extra => rounded_text(value, 15 + extra),
    }
}

fn real_text(value: f32, extra_digits: i32) -> String {
    if extra_digits < 1 {
        return rounded_text(f64::from(value), 6 + extra_digits);
    }
    match is_written_plainly(f64::from(value), 1e6) {
        true => value.to_string(),
        false => exponent_text(f64::from(value), &format!("{value:e}")),
    }
}

/// A number with at most so many digits, as C's `%g` writes it.
fn rounded_text(value: f64, digits: i32) -> String {
    let digits = usize::try_from(digits.max(1)).unwrap_or(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return exponent_text(value, &scientific);
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match usize::try_from(exponent) {
        Ok(whole) if whole >= digits => {
            exponent_text(value, &format!("{}e{exponent}", trimmed(mantissa)))
        }
        Err(_) if exponent < -4 => {
            exponent_text(value, &format!("{}e{exponent}", trimmed(mantissa)))
        }
        _ => {
            let behind = i32::try_from(digits).unwrap_or(0) - 1 - exponent;
            let behind = usize::try_from(behind).unwrap_or(0);
            trimmed(&format!("{value:.behind$}"))
        }
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
        assert_eq!(real_text(0.1, 1), "0.1");
        assert_eq!(real_text(1e6, 1), "1e+06");
    }

    /// Expected: PostgreSQL 15.18, `SELECT to_timestamp(…)` in the zone.
    #[test]
    fn instants_are_written_as_postgres_writes_them() {
        let shown = |microseconds: i64, zone: &str| {
            instant_text(
                microseconds,
                Zone::new(zone).ok().as_ref(),
                Style::default(),
            )
        };
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
            instant_text(10, None, Style::default()).as_deref(),
            Some("1970-01-01 00:00:00.00001")
        );
    }
}
