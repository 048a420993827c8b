//! Rows of Postgres' binary format.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, IntervalMonthDayNanoType};
use datafusion::common::ScalarValue;

use crate::error::{ChangeFault, Error, Result};
use crate::postgres::{binary, types};

/// What a binary copy begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The days from 1970 to 2000, where Postgres begins to count.
const DAYS_TO_2000: i32 = 10_957;
/// The same in microseconds.
const MICROSECONDS_TO_2000: i64 = 946_684_800_000_000;
/// As many rows are given at a time.
const BATCH_ROWS: usize = 8192;

/// Reads rows.
pub struct BinaryReader {
    table: String,
    fields: Vec<Field>,
    buffer: Vec<u8>,
    begun: bool,
    ended: bool,
    line: u64,
    columns: Vec<Vec<ScalarValue>>,
}

impl BinaryReader {
    /// A reader of rows of these columns.
    pub fn new(table: &str, fields: Vec<Field>) -> Self {
        Self {
            table: table.to_owned(),
            columns: fields.iter().map(|_| Vec::new()).collect(),
            fields,
            buffer: Vec::new(),
            begun: false,
            ended: false,
            line: 1,
        }
    }

    fn bad(&self, message: impl Into<String>) -> Error {
        let context = format!("COPY {}, line {}", self.table, self.line);
        ChangeFault::BadCopy.error(message).context(context).into()
    }

    /// Takes bytes; gives rows, as columns, once there are many.
    ///
    /// # Errors
    /// 22P04 for what is no such format, 22P03 for a value that isn't of its type.
    pub fn push(&mut self, bytes: &[u8], rows: &mut Vec<Vec<ArrayRef>>) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if !self.begun {
            let Some(head) = self.buffer.get(..19) else {
                return Ok(());
            };
            if !head.starts_with(SIGNATURE) {
                return Err(self.bad("COPY file signature not recognized"));
            }
            let flags = i32::from_be_bytes([head[11], head[12], head[13], head[14]]);
            let extension = i32::from_be_bytes([head[15], head[16], head[17], head[18]]);
            if flags != 0 {
                return Err(self.bad("unrecognized critical flags in COPY file header"));
            }
            let length = 19 + usize::try_from(extension).unwrap_or(0);
            if self.buffer.len() < length {
                return Ok(());
            }
            self.buffer.drain(..length);
            self.begun = true;
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while !self.ended {
            match self.row(&buffer[at..])? {
                Some(length) => at += length,
                None => break,
            }
            if self
                .columns
                .first()
                .is_some_and(|column| column.len() >= BATCH_ROWS)
            {
                rows.push(self.take()?);
            }
        }
        self.buffer = buffer;
        self.buffer.drain(..at);
        Ok(())
    }

    /// The rest.
    ///
    /// # Errors
    /// 22P04 for a row that isn't whole.
    pub fn finish(&mut self, rows: &mut Vec<Vec<ArrayRef>>) -> Result<()> {
        if !(self.ended || self.begun && self.buffer.is_empty()) {
            return Err(self.bad("unexpected EOF in COPY data"));
        }
        if self
            .columns
            .first()
            .is_some_and(|column| !column.is_empty())
        {
            rows.push(self.take()?);
        }
        Ok(())
    }

    /// Takes a row; how many bytes it has, nothing where it isn't whole.
    fn row(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            self.ended = true;
            return Ok(Some(2));
        }
        if usize::try_from(count) != Ok(self.fields.len()) {
            return Err(self.bad(format!(
                "row field count is {count}, expected {}",
                self.fields.len()
            )));
        }
        let mut values = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let Some((length, behind)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            let length = i32::from_be_bytes(*length);
            if length == -1 {
                values.push(ScalarValue::try_from(field.data_type())?);
                rest = behind;
                continue;
            }
            let Ok(length) = usize::try_from(length) else {
                return Err(self.bad("invalid field size"));
            };
            let Some((value, behind)) = behind.split_at_checked(length) else {
                return Ok(None);
            };
            match value_of(value, field) {
                Some(value) => values.push(value),
                None => return Err(self.wrong(field)),
            }
            rest = behind;
        }
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
        self.line += 1;
        Ok(Some(bytes.len() - rest.len()))
    }

    fn wrong(&self, field: &Field) -> Error {
        let kind = types::sql_name(&types::type_of(field), types::modifier(field));
        let context = format!(
            "COPY {}, line {}, column {}",
            self.table,
            self.line,
            field.name()
        );
        match readable(field) {
            true => ChangeFault::Other("22P03")
                .error("incorrect binary data format")
                .context(context)
                .into(),
            false => ChangeFault::Other("0A000")
                .error(format!("type {kind} can't be read from binary"))
                .context(context)
                .hint("Send text or CSV.")
                .into(),
        }
    }

    fn take(&mut self) -> Result<Vec<ArrayRef>> {
        let columns = self.columns.iter_mut().map(std::mem::take);
        columns
            .map(|values| ScalarValue::iter_to_array(values).map_err(Error::from))
            .collect()
    }
}

fn readable(field: &Field) -> bool {
    !matches!(field.data_type(), DataType::List(_) | DataType::Struct(_))
}

fn value_of(bytes: &[u8], field: &Field) -> Option<ScalarValue> {
    let kind = types::type_of(field);
    Some(match kind.as_str() {
        "bool" => ScalarValue::Boolean(Some(*bytes.first()? != 0)),
        "int2" => ScalarValue::Int16(Some(i16::from_be_bytes(bytes.try_into().ok()?))),
        "int4" | "oid" => ScalarValue::Int32(Some(i32::from_be_bytes(bytes.try_into().ok()?))),
        "int8" => ScalarValue::Int64(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        "float4" => ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?))),
        "float8" => ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?))),
        "bytea" => ScalarValue::Binary(Some(bytes.to_vec())),
        "date" => {
            let days = i32::from_be_bytes(bytes.try_into().ok()?);
            ScalarValue::Date32(Some(days.checked_add(DAYS_TO_2000)?))
        }
        "time" => ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(bytes.try_into().ok()?))),
        "timestamp" | "timestamptz" => {
            let microseconds = i64::from_be_bytes(bytes.try_into().ok()?);
            let microseconds = microseconds.checked_add(MICROSECONDS_TO_2000)?;
            let DataType::Timestamp(_, zone) = field.data_type() else {
                return None;
            };
            ScalarValue::TimestampMicrosecond(Some(microseconds), zone.clone())
        }
        "interval" => {
            let (microseconds, rest) = bytes.split_first_chunk::<8>()?;
            let (days, months) = rest.split_first_chunk::<4>()?;
            let nanoseconds = i64::from_be_bytes(*microseconds).checked_mul(1000)?;
            let value = IntervalMonthDayNanoType::make_value(
                i32::from_be_bytes(months.try_into().ok()?),
                i32::from_be_bytes(*days),
                nanoseconds,
            );
            ScalarValue::IntervalMonthDayNano(Some(value))
        }
        "numeric" => {
            let DataType::Decimal128(precision, scale) = field.data_type() else {
                return None;
            };
            ScalarValue::Decimal128(Some(numeric(bytes, *scale)?), *precision, *scale)
        }
        "uuid" => {
            let id = uuid::Uuid::from_slice(bytes).ok()?;
            text(id.to_string())
        }
        "jsonb" => match bytes {
            [1, rest @ ..] => text(std::str::from_utf8(rest).ok()?.to_owned()),
            _ => return None,
        },
        kind if binary::has_text_of(kind) => text(binary::text_of(kind, bytes)?),
        _ if *field.data_type() == DataType::Utf8 => {
            text(std::str::from_utf8(bytes).ok()?.to_owned())
        }
        _ => return None,
    })
}

fn text(text: String) -> ScalarValue {
    ScalarValue::Utf8(Some(text))
}

/// A numeric's digits to the base of 10000, as a number of so many digits behind the point.
fn numeric(bytes: &[u8], scale: i8) -> Option<i128> {
    let word = |at: usize| {
        let bytes = bytes.get(at * 2..at * 2 + 2)?;
        Some(i16::from_be_bytes(bytes.try_into().ok()?))
    };
    let (count, weight, sign) = (word(0)?, word(1)?, word(2)?);
    let scale = i32::from(scale);
    let mut number = 0_i128;
    for at in 0..usize::try_from(count).ok()? {
        let digit = i128::from(word(4 + at)?);
        // The power of ten of the digit's last place, with the point moved.
        let place = 4 * (i32::from(weight) - i32::try_from(at).ok()?) + scale;
        number = match u32::try_from(place) {
            Ok(place) => number.checked_add(digit.checked_mul(10_i128.checked_pow(place)?)?)?,
            Err(_) => {
                let unit = 10_i128.checked_pow(place.unsigned_abs())?;
                number.checked_add((digit + unit / 2) / unit)?
            }
        };
    }
    match sign {
        0 => Some(number),
        0x4000 => Some(-number),
        _ => None,
    }
}

/// A numeric as text, with the digits behind the point that it says it has.
pub fn numeric_text(bytes: &[u8]) -> Option<String> {
    let scale = u16::from_be_bytes(bytes.get(6..8)?.try_into().ok()?);
    let scale = i8::try_from(scale).ok()?;
    let number = numeric(bytes, scale)?;
    let sign = if number < 0 { "-" } else { "" };
    let unit = 10_u128.checked_pow(u32::try_from(scale).ok()?)?;
    let (whole, rest) = (number.unsigned_abs() / unit, number.unsigned_abs() % unit);
    let width = usize::try_from(scale).ok()?;
    Some(match width {
        0 => format!("{sign}{whole}"),
        width => format!("{sign}{whole}.{rest:0width$}"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `numeric_send(12345.678)` and `numeric_send(-0.05)`.
    #[test]
    fn numerics_are_read() {
        let bytes = [0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c];
        assert_eq!(numeric(&bytes, 3), Some(12_345_678));
        assert_eq!(numeric(&bytes, 2), Some(1_234_568));
        assert_eq!(numeric_text(&bytes).as_deref(), Some("12345.678"));
        let bytes = [0, 1, 0xff, 0xff, 0x40, 0, 0, 2, 0x01, 0xf4];
        assert_eq!(numeric(&bytes, 2), Some(-5));
        assert_eq!(numeric_text(&bytes).as_deref(), Some("-0.05"));
        // What sqlx sends for 500.
        let bytes = [0, 1, 0, 0, 0, 0, 0, 0, 0x01, 0xf4];
        assert_eq!(numeric_text(&bytes).as_deref(), Some("500"));
        assert_eq!(numeric_text(&[0, 1]), None);
    }

    #[test]
    fn rows_may_come_in_any_parts() {
        let fields = vec![types::field("a", "int4"), types::field("b", "text")];
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        for (number, word) in [(7_i32, Some("漏斗")), (8, None)] {
            bytes.extend(2_i16.to_be_bytes());
            bytes.extend(4_i32.to_be_bytes());
            bytes.extend(number.to_be_bytes());
            match word {
                Some(word) => {
                    bytes.extend(i32::try_from(word.len()).unwrap().to_be_bytes());
                    bytes.extend(word.as_bytes());
                }
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        for size in [1, 5, 1000] {
            let mut reader = BinaryReader::new("t", fields.clone());
            let mut rows = Vec::new();
            for part in bytes.chunks(size) {
                reader.push(part, &mut rows).unwrap();
            }
            reader.finish(&mut rows).unwrap();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0][0].len(), 2);
            assert_eq!(rows[0][1].null_count(), 1);
        }
        let mut reader = BinaryReader::new("t", fields);
        let error = reader.push(&[b'x'; 30], &mut Vec::new()).unwrap_err();
        assert_eq!(error.code(), "22P04");
    }
}
