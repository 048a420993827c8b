//! `repeat`, `lpad` and `rpad`, which make long texts of short ones: no longer ones than there is room for.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StringBuilder};
use datafusion::logical_expr::ScalarUDF;

use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};

/// No text of Postgres' is longer; here, all that are made at once aren't.
const LONGEST_BYTES: usize = 0x3fff_ffff;

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let text = Returns::Type("text");
    vec![
        function("pg_repeat", text, |call| {
            made(call, |text, count, _, room| {
                let count = usize::try_from(count).unwrap_or(0);
                room.take(text.len().checked_mul(count))?;
                Ok(text.repeat(count))
            })
        }),
        function("pg_lpad", text, |call| {
            made(call, |text, length, fill, room| {
                let (own, fill) = padded(text, length, fill, room)?;
                Ok(fill + own)
            })
        }),
        function("pg_rpad", text, |call| {
            made(call, |text, length, fill, room| {
                let (own, fill) = padded(text, length, fill, room)?;
                Ok(own.to_owned() + &fill)
            })
        }),
    ]
}

/// How many bytes may still be made.
struct Room(usize);

impl Room {
    /// Takes so many; an overflown number is too many.
    fn take(&mut self, bytes: Option<usize>) -> Result<()> {
        match bytes.and_then(|bytes| self.0.checked_sub(bytes)) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => fault(Fault::LimitExceeded, "requested length too large"),
        }
    }
}

/// What is made of each row's text, number, and text to fill with.
fn made(
    call: &Call,
    make: impl Fn(&str, i64, &str, &mut Room) -> Result<String>,
) -> Result<ArrayRef> {
    let (texts, numbers, fills) = (call.texts(0)?, call.integers(1)?, call.texts(2)?);
    let mut room = Room(LONGEST_BYTES);
    let mut result = StringBuilder::new();
    for row in 0..call.rows {
        let has_no_fill = call.has(2) && fills.is_null(row);
        if texts.is_null(row) || numbers.is_null(row) || has_no_fill {
            result.append_null();
            continue;
        }
        let fill = if call.has(2) { fills.value(row) } else { " " };
        result.append_value(make(texts.value(row), numbers.value(row), fill, &mut room)?);
    }
    Ok(Arc::new(result.finish()))
}

/// What is left of a text of so many characters, and what it is filled with.
fn padded<'a>(
    text: &'a str,
    length: i64,
    fill: &str,
    room: &mut Room,
) -> Result<(&'a str, String)> {
    let length = usize::try_from(length).unwrap_or(0);
    let cut = text.char_indices().nth(length);
    let own = cut.map_or(text, |(at, _)| &text[..at]);
    let missing = match fill.is_empty() {
        true => 0,
        false => length.saturating_sub(own.chars().count()),
    };
    let bytes = missing.checked_mul(fill.len().div_ceil(fill.chars().count().max(1)));
    room.take(bytes.and_then(|bytes| bytes.checked_add(own.len())))?;
    if missing == 0 {
        return Ok((own, String::new()));
    }
    let characters = fill.chars().count();
    let mut filled = fill.repeat(missing / characters);
    filled.extend(fill.chars().take(missing % characters));
    Ok((own, filled))
}
