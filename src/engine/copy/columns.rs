//! Texts as columns: quickly where they are written plainly, as a cast reads them otherwise; and the row that can't be read.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, PrimitiveArray,
    StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Int16Type, Int32Type, Int64Type, TimeUnit,
};

use crate::engine::tables::read_texts;
use crate::error::{ChangeFault, Error, Result};
use crate::postgres::style::Locale;
use crate::postgres::types;

/// A value that its column can't have.
#[derive(Debug)]
pub struct BadValue {
    /// Its row among those that were converted.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// What is wrong.
    pub error: Error,
}

impl BadValue {
    /// The error at its place.
    pub fn at(self, table: &str, line: u64, column: &str, text: &str) -> Error {
        let shown: String = text.chars().take(100).collect();
        let rest = if shown.len() < text.len() { "..." } else { "" };
        ChangeFault::Other(self.error.code())
            .error(self.error.to_string())
            .context(format!(
                "COPY {table}, line {line}, column {column}: \"{shown}{rest}\""
            ))
            .into()
    }
}

/// Texts as values of columns.
///
/// # Errors
/// The first row that has a value which its column can't have.
pub fn converted(
    texts: &[StringArray],
    fields: &[Field],
    locale: &Locale,
) -> std::result::Result<Vec<ArrayRef>, BadValue> {
    let mut arrays = Vec::with_capacity(texts.len());
    let mut first: Option<BadValue> = None;
    for (at, (column, field)) in texts.iter().zip(fields).enumerate() {
        match column_of(column, field, locale) {
            Ok(array) => arrays.push(array),
            Err(error) => {
                let (row, error) = bad_row(column, field, locale).unwrap_or((0, error));
                if first.as_ref().is_none_or(|first| row < first.row) {
                    first = Some(BadValue {
                        row,
                        column: at,
                        error,
                    });
                }
            }
        }
    }
    match first {
        None => Ok(arrays),
        Some(first) => Err(first),
    }
}

fn column_of(texts: &StringArray, field: &Field, locale: &Locale) -> Result<ArrayRef> {
    match plain(texts, field, locale) {
        Some(array) => Ok(array),
        None => read_texts(texts, field, locale),
    }
}

/// The first value that can't be read: half of the rows have it, and half of those.
fn bad_row(texts: &StringArray, field: &Field, locale: &Locale) -> Option<(usize, Error)> {
    let (mut start, mut end) = (0, texts.len());
    while end - start > 1 {
        let middle = start + (end - start) / 2;
        match column_of(&texts.slice(start, middle - start), field, locale) {
            Ok(_) => start = middle,
            Err(_) => end = middle,
        }
    }
    let error = column_of(&texts.slice(start, 1), field, locale).err()?;
    Some((start, error))
}

/// Values that are written plainly; nothing where one of them isn't.
fn plain(texts: &StringArray, field: &Field, locale: &Locale) -> Option<ArrayRef> {
    match (field.data_type(), types::type_of(field).as_str()) {
        (DataType::Int16, "int2") => integers::<Int16Type>(texts),
        (DataType::Int32, "int4") => integers::<Int32Type>(texts),
        (DataType::Int64, "int8") => integers::<Int64Type>(texts),
        (DataType::Float64, "float8") => {
            let read = |text: &str| match text.as_bytes().first()? {
                b'0'..=b'9' | b'-' | b'.' => text.parse().ok().filter(|n: &f64| n.is_finite()),
                _ => None,
            };
            let read = each(texts, read)?;
            Some(Arc::new(Float64Array::from(read)))
        }
        (DataType::Decimal128(precision, scale), "numeric") => {
            let scale = usize::try_from(*scale).ok()?;
            let most = 10_i128.checked_pow(u32::from(*precision))?;
            let read = |text: &str| decimal(text.as_bytes(), scale).filter(|n| n.abs() < most);
            let array = Decimal128Array::from(each(texts, read)?);
            Some(Arc::new(array.with_data_type(field.data_type().clone())))
        }
        (DataType::Boolean, "bool") => {
            let read = |text: &str| match text {
                "t" | "true" => Some(true),
                "f" | "false" => Some(false),
                _ => None,
            };
            Some(Arc::new(BooleanArray::from(each(texts, read)?)))
        }
        (DataType::Date32, "date") => {
            let read = |text: &str| match text.len() {
                10 => date(text.as_bytes()),
                _ => None,
            };
            Some(Arc::new(Date32Array::from(each(texts, read)?)))
        }
        (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp") => {
            let read = |text: &str| timestamp(text, false);
            Some(Arc::new(TimestampMicrosecondArray::from(each(
                texts, read,
            )?)))
        }
        (DataType::Timestamp(TimeUnit::Microsecond, Some(_)), "timestamptz") => {
            let utc = locale.zone.eq_ignore_ascii_case("utc");
            let read = |text: &str| match utc {
                true => timestamp(text, true).or_else(|| timestamp(text, false)),
                false => timestamp(text, true),
            };
            let array = TimestampMicrosecondArray::from(each(texts, read)?);
            Some(Arc::new(array.with_timezone("UTC")))
        }
        _ => None,
    }
}

/// Each text read; nothing where one of them can't be.
fn each<T>(texts: &StringArray, read: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
    let mut values = Vec::with_capacity(texts.len());
    for text in texts {
        values.push(match text {
            Some(text) => Some(read(text)?),
            None => None,
        });
    }
    Some(values)
}

fn integers<T: ArrowPrimitiveType>(texts: &StringArray) -> Option<ArrayRef>
where
    T::Native: std::str::FromStr,
{
    let read = |text: &str| text.parse::<T::Native>().ok();
    Some(Arc::new(PrimitiveArray::<T>::from_iter(each(texts, read)?)))
}

/// `-12.5` as so many units behind the point; nothing where there are more digits than that, which would be rounded.
fn decimal(text: &[u8], scale: usize) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let point = text.iter().position(|byte| *byte == b'.');
    let (whole, part) = match point {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[text.len()..]),
    };
    // As many digits fit into 64 bits.
    if part.len() > scale || whole.is_empty() || whole.len() + scale > 18 {
        return None;
    }
    let places = u32::try_from(scale - part.len()).ok()?;
    let power = |places: u32| 10_i64.checked_pow(places);
    let units =
        digits(whole)? * power(u32::try_from(scale).ok()?)? + digits(part)? * power(places)?;
    Some(i128::from(if negative { -units } else { units }))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    let mut number = 0_i64;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some(number)
}

/// `2026-01-05` as days since 1970.
fn date(text: &[u8]) -> Option<i32> {
    let [year @ .., b'-', m1, m2, b'-', d1, d2] = text else {
        return None;
    };
    let year = i32::try_from(digits(year)?).ok()?;
    let month = u32::try_from(digits(&[*m1, *m2])?).ok()?;
    let day = u32::try_from(digits(&[*d1, *d2])?).ok()?;
    // Year 0 isn't one of Postgres'.
    if year == 0 {
        return None;
    }
    let date = chrono::NaiveDate::from_ymd_opt(year, month, day)?;
    let days = date.signed_duration_since(chrono::DateTime::UNIX_EPOCH.date_naive());
    i32::try_from(days.num_days()).ok()
}

/// `2026-01-05 12:30:00.25`, with a `Z`, `+00` or another offset behind it where there is to be one, in microseconds since 1970.
fn timestamp(text: &str, with_offset: bool) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !matches!(bytes[10], b' ' | b'T') {
        return None;
    }
    let days = i64::from(date(&bytes[..10])?);
    let (b':', b':') = (bytes[13], bytes[16]) else {
        return None;
    };
    let hour = digits(&bytes[11..13])?;
    let minute = digits(&bytes[14..16])?;
    let second = digits(&bytes[17..19])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &bytes[19..];
    let mut fraction = 0;
    if let [b'.', behind @ ..] = rest {
        let count = behind
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 || count > 6 {
            return None;
        }
        let scale = 10_i64.pow(u32::try_from(6 - count).ok()?);
        fraction = digits(&behind[..count])? * scale;
        rest = &behind[count..];
    }
    let offset_s = match (with_offset, rest) {
        (false, []) => 0,
        (true, [b'Z']) => 0,
        (true, [sign @ (b'+' | b'-'), h1, h2, minutes @ ..]) => {
            let minutes = match minutes {
                [] => 0,
                [m1, m2] | [b':', m1, m2] => digits(&[*m1, *m2])?,
                _ => return None,
            };
            let seconds = digits(&[*h1, *h2])? * 3600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    Some(seconds * 1_000_000 + fraction)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What is read quickly is what a cast reads.
    #[test]
    fn the_quick_way_agrees_with_the_cast() {
        for (kind, texts) in [
            ("int2", vec!["1", "-32768", "32767"]),
            ("int4", vec!["0", "+5", "-2147483648"]),
            ("int8", vec!["9223372036854775807"]),
            ("float8", vec!["1.5", "-2e10", ".5", "0"]),
            ("bool", vec!["t", "false", "f", "true"]),
            (
                "date",
                vec!["2026-01-05", "1969-12-31", "2024-02-29", "9999-12-31"],
            ),
            (
                "timestamp",
                vec![
                    "2026-01-05 12:30:00",
                    "2026-01-05T12:30:00.25",
                    "1960-01-01 00:00:00.000001",
                ],
            ),
            (
                "timestamptz",
                vec![
                    "2026-01-05 12:30:00+00",
                    "2026-01-05T12:30:00.5Z",
                    "2026-01-05 12:30:00-03:30",
                ],
            ),
        ] {
            check(&types::field("x", kind), &texts);
        }
        let check_numeric = |precision, scale, texts: &[&str]| {
            let kind = DataType::Decimal128(precision, scale);
            check(&Field::new("x", kind, true), texts);
        };
        check_numeric(12, 2, &["0", "1.5", "-12.25", "9999999999.99", "007.10"]);
        check_numeric(18, 0, &["999999999999999999", "-1"]);
        check_numeric(38, 10, &["12345678.0123456789", "-0.5"]);
    }

    fn check(field: &Field, texts: &[&str]) {
        let array = StringArray::from(texts.to_vec());
        let quick =
            plain(&array, field, &Locale::default()).unwrap_or_else(|| unreachable!("{field}"));
        let cast = read_texts(&array, field, &Locale::default()).unwrap();
        assert_eq!(quick.as_ref(), cast.as_ref(), "{field}");
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_cast() {
        for (kind, text) in [
            ("int4", "1 "),
            ("int4", "99999999999"),
            ("date", "2026-02-30"),
            ("date", "0000-01-01"),
            ("timestamp", "2026-01-05 24:00:00"),
            ("timestamp", "2026-01-05"),
            ("timestamptz", "2026-01-05 12:00:00 Asia/Shanghai"),
            ("float8", "NaN"),
        ] {
            let array = StringArray::from(vec![text]);
            assert!(
                plain(&array, &types::field("x", kind), &Locale::default()).is_none(),
                "{kind} {text}"
            );
        }
    }

    #[test]
    fn numerics_that_need_more_than_their_digits_are_left_to_the_cast() {
        let field = Field::new("x", DataType::Decimal128(12, 2), true);
        for text in [
            "1.005",
            "10000000000",
            "1e3",
            "NaN",
            "",
            ".5",
            "-",
            "1.2.3",
            "+1",
            " 1",
        ] {
            let array = StringArray::from(vec![text]);
            assert!(
                plain(&array, &field, &Locale::default()).is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_first_bad_row_is_found() {
        let good: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let mut bad = good.clone();
        bad[700] = "x".to_owned();
        bad[900] = "y".to_owned();
        let fields = [types::field("a", "int4"), types::field("b", "int4")];
        let texts = [StringArray::from(good), StringArray::from(bad)];
        let found = converted(&texts, &fields, &Locale::default()).unwrap_err();
        assert_eq!((found.row, found.column), (700, 1));
        assert_eq!(found.error.code(), "22P02");
    }
}
