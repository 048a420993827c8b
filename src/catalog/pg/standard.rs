//! Functions that `information_schema` has for its own views, and that clients call for what the views would say:
//! `_pg_char_max_length(type, modifier)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::logical_expr::ScalarUDF;

use super::functions::{Objects, oids};
use super::properties::key_of;
use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};

/// What is known of a type by its OID and its modifier.
type OfType = fn(i64, i64) -> Option<i64>;

const OF_TYPES: [(&str, OfType); 6] = [
    ("_pg_char_max_length", longest),
    ("_pg_char_octet_length", longest_in_bytes),
    ("_pg_numeric_precision", precision),
    ("_pg_numeric_precision_radix", radix),
    ("_pg_numeric_scale", scale),
    ("_pg_datetime_precision", digits_of_seconds),
];

/// These functions.
pub fn all(objects: &Arc<Objects>) -> Vec<ScalarUDF> {
    let integer = Returns::Type("int4");
    let mut functions: Vec<ScalarUDF> = Vec::new();
    for (name, answer) in OF_TYPES {
        functions.push(function(name, integer, move |call| of_types(call, answer)));
    }
    functions.push(function("_pg_truetypid", Returns::Type("oid"), |call| {
        of_column(call, "atttypid", "typbasetype")
    }));
    functions.push(function("_pg_truetypmod", integer, |call| {
        of_column(call, "atttypmod", "typtypmod")
    }));
    // No interval here is of certain fields alone.
    functions.push(function(
        "_pg_interval_type",
        Returns::Type("text"),
        |call| Ok(Arc::new(StringArray::new_null(call.rows))),
    ));
    let objects = Arc::clone(objects);
    functions.push(function("_pg_index_position", integer, move |call| {
        places_in_index(call, &objects)
    }));
    functions
}

fn of_types(call: &Call, answer: OfType) -> Result<ArrayRef> {
    let (types, modifiers) = (call.integers(0)?, call.integers(1)?);
    let answer = |(kind, modifier): (Option<i64>, Option<i64>)| {
        // A modifier is a 32-bit number.
        let modifier = i32::try_from(modifier?).ok()?;
        let found = answer(kind?, i64::from(modifier))?;
        i32::try_from(found).ok()
    };
    Ok(Arc::new(
        types
            .iter()
            .zip(modifiers.iter())
            .map(answer)
            .collect::<Int32Array>(),
    ))
}

fn longest(kind: i64, modifier: i64) -> Option<i64> {
    match kind {
        _ if modifier == -1 => None,
        1042 | 1043 => Some(modifier - 4),
        1560 | 1562 => Some(modifier),
        _ => None,
    }
}

/// A character takes up to four bytes.
fn longest_in_bytes(kind: i64, modifier: i64) -> Option<i64> {
    match kind {
        25 | 1042 | 1043 if modifier == -1 => Some(1 << 30),
        1042 | 1043 => Some((modifier - 4) * 4),
        _ => None,
    }
}

fn precision(kind: i64, modifier: i64) -> Option<i64> {
    match kind {
        21 => Some(16),
        23 => Some(32),
        20 => Some(64),
        700 => Some(24),
        701 => Some(53),
        1700 if modifier != -1 => Some(((modifier - 4) >> 16) & 0xffff),
        _ => None,
    }
}

fn radix(kind: i64, _modifier: i64) -> Option<i64> {
    match kind {
        20 | 21 | 23 | 700 | 701 => Some(2),
        1700 => Some(10),
        _ => None,
    }
}

fn scale(kind: i64, modifier: i64) -> Option<i64> {
    match kind {
        20 | 21 | 23 => Some(0),
        1700 if modifier != -1 => Some((modifier - 4) & 0xffff),
        _ => None,
    }
}

fn digits_of_seconds(kind: i64, modifier: i64) -> Option<i64> {
    const MOST: i64 = 6;
    match kind {
        1082 => Some(0),
        1083 | 1114 | 1184 | 1266 if modifier < 0 => Some(MOST),
        1083 | 1114 | 1184 | 1266 => Some(modifier),
        1186 if modifier < 0 || modifier & 0xffff == 0xffff => Some(MOST),
        1186 => Some(modifier & 0xffff),
        _ => None,
    }
}

/// What a row of `pg_attribute` says, or, for a column of a domain, what the row of `pg_type` says.
fn of_column(call: &Call, of_attribute: &str, of_domain: &str) -> Result<ArrayRef> {
    let own = numbers(call, 0, of_attribute)?;
    let base = numbers(call, 1, of_domain)?;
    let kinds = part(call, 1, "typtype")?;
    let kinds = cast(&kinds, &DataType::Utf8)?;
    let kinds = kinds.as_string::<i32>();
    let answer = |row: usize| {
        let number = match kinds.is_valid(row) && kinds.value(row) == "d" {
            true => &base,
            false => &own,
        };
        number.is_valid(row).then(|| number.value(row))
    };
    Ok(Arc::new((0..call.rows).map(answer).collect::<Int32Array>()))
}

fn numbers(call: &Call, at: usize, name: &str) -> Result<Int32Array> {
    let values = cast(&part(call, at, name)?, &DataType::Int32)?;
    Ok(values.as_primitive::<Int32Type>().clone())
}

/// A column of the rows that an argument is.
fn part(call: &Call, at: usize, name: &str) -> Result<ArrayRef> {
    let rows = call.arrays.get(at).and_then(|rows| rows.as_struct_opt());
    match rows.and_then(|rows| rows.column_by_name(name)) {
        Some(column) => Ok(Arc::clone(column)),
        None => fault(
            Fault::UndefinedFunction,
            "the arguments are rows of pg_attribute and pg_type",
        ),
    }
}

/// `_pg_index_position(index, column)`: the place of a column of the table, from 1.
fn places_in_index(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    let snapshot = objects.snapshot(call)?;
    let oids = oids(call, 0, "regclass")?;
    let numbers = call.integers(1)?;
    let place = |(index, number): (Option<i32>, Option<i64>)| {
        let (_, key) = key_of(&snapshot, index?)?;
        let number = usize::try_from(number?).ok()?;
        let at = key.columns.iter().position(|column| *column == number)?;
        i32::try_from(at + 1).ok()
    };
    Ok(Arc::new(
        oids.iter()
            .zip(numbers.iter())
            .map(place)
            .collect::<Int32Array>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_lengths_and_precisions_of_postgres() {
        // PostgreSQL 15.18: select information_schema._pg_char_max_length(1043, 14), …
        assert_eq!(longest(1043, 14), Some(10));
        assert_eq!(longest(25, -1), None);
        assert_eq!(longest_in_bytes(1043, 14), Some(40));
        assert_eq!(longest_in_bytes(25, -1), Some(1_073_741_824));
        assert_eq!(precision(1700, (18 << 16) + 2 + 4), Some(18));
        assert_eq!(scale(1700, (18 << 16) + 2 + 4), Some(2));
        assert_eq!(radix(701, -1), Some(2));
        assert_eq!(digits_of_seconds(1184, -1), Some(6));
        assert_eq!(digits_of_seconds(1082, -1), Some(0));
    }
}
