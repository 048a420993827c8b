//! Texts: patterns, quoting, formats, substrings.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, StringArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::logical_expr::ScalarUDF;
use unicode_normalization::UnicodeNormalization;

use super::patterns::substring_like;
use crate::error::Fault;
use crate::postgres::casts::{bytes, dimensions_of, invalid};
use crate::postgres::encoding::{Encoding, EncodingFault, UTF8};
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::types;

/// The widest place of a text in `format`.
const WIDEST: usize = 1 << 24;

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let text = Returns::Type("text");
    let boolean = Returns::Type("bool");
    vec![
        function("pg_like", boolean, |call| matches_like(call, false)),
        function("pg_ilike", boolean, |call| matches_like(call, true)),
        function(
            "pg_substring",
            Returns::Of(|fields, _| Ok(substring_field(fields))),
            substring,
        ),
        function(
            "pg_substr",
            Returns::Of(|fields, _| Ok(substring_field(fields))),
            substring,
        ),
        function(
            "pg_overlay",
            Returns::Of(|fields, _| Ok(substring_field(fields))),
            overlay,
        ),
        function("pg_concat", text, |call| joined(call, None)),
        function("pg_concat_ws", text, |call| joined(call, Some(0))),
        function("pg_concat_op", Returns::Of(concat_field), concat_op),
        function("quote_literal", text, |call| {
            call.map_texts(1, |texts| Ok(Some(quoted_literal(texts[0]))))
        }),
        function("quote_nullable", text, |call| {
            let texts = call.written(0)?;
            let quoted = texts
                .iter()
                .map(|text| Some(text.map_or_else(|| "NULL".to_owned(), quoted_literal)));
            Ok(Arc::new(quoted.collect::<StringArray>()))
        }),
        function("quote_ident", text, |call| {
            call.map_texts(1, |texts| Ok(Some(quoted_identifier(texts[0]))))
        }),
        function("format", text, format),
        function("pg_encode", text, encode),
        function("pg_decode", Returns::Type("bytea"), decode),
        function("pg_length", Returns::Type("int4"), |call| {
            length(call, 1, true)
        }),
        function("pg_octet_length", Returns::Type("int4"), |call| {
            length(call, 1, false)
        }),
        function("pg_bit_length", Returns::Type("int4"), |call| {
            length(call, 8, false)
        }),
        function("bit_count", Returns::Type("int8"), |call| {
            let bytes = cast(&call.arrays[0], &DataType::Binary)?;
            let count = |bytes: &[u8]| {
                bytes
                    .iter()
                    .map(|byte| i64::from(byte.count_ones()))
                    .sum::<i64>()
            };
            let counts = bytes.as_binary::<i32>().iter();
            Ok(Arc::new(
                counts.map(|bytes| bytes.map(count)).collect::<Int64Array>(),
            ))
        }),
        function("get_byte", Returns::Type("int4"), get_byte),
        function("set_byte", Returns::Type("bytea"), set_byte),
        function("unistr", text, |call| {
            call.map_texts(1, |texts| unescaped(texts[0]).map(Some))
        }),
        function("pg_normalize", text, |call| {
            let form = call.texts(1)?;
            let form = form.iter().next().flatten().unwrap_or("NFC").to_owned();
            call.map_texts(1, |texts| Ok(Some(normalized(texts[0], &form)?)))
        }),
        function("pg_is_normalized", boolean, |call| {
            let form = call.texts(1)?;
            let form = form.iter().next().flatten().unwrap_or("NFC").to_owned();
            let texts = call.texts(0)?;
            let answer = |text: Option<&str>| {
                text.map(|text| Ok(normalized(text, &form)? == text))
                    .transpose()
            };
            Ok(Arc::new(
                texts.iter().map(answer).collect::<Result<BooleanArray>>()?,
            ))
        }),
        function("convert_from", text, |call| {
            converted(call, true, |bytes, encoding, _| {
                encoding.decode(bytes).map(|text| text.into_owned().into())
            })
        }),
        function("convert_to", Returns::Type("bytea"), |call| {
            converted(call, false, |bytes, encoding, _| {
                let text = UTF8.decode(bytes)?;
                encoding.encode(&text).map(Cow::into_owned)
            })
        }),
        function("convert", Returns::Type("bytea"), |call| {
            converted(call, true, |bytes, from, to| {
                let text = from.decode(bytes)?;
                to.encode(&text).map(Cow::into_owned)
            })
        }),
    ]
}

/// `unistr`: `\\XXXX`, `\\+XXXXXX`, `\\uXXXX` and `\\UXXXXXXXX` as the characters of these numbers.
fn unescaped(text: &str) -> Result<String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        result.push_str(before);
        if let Some(after) = escape.strip_prefix('\\') {
            result.push('\\');
            rest = after;
            continue;
        }
        let (start, digits) = match escape.chars().next() {
            Some('+') => (1, 6),
            Some('u') => (1, 4),
            Some('U') => (1, 8),
            _ => (0, 4),
        };
        let number = escape
            .get(start..start + digits)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let Some(character) = number.and_then(char::from_u32) else {
            return fault(Fault::Syntax, "invalid Unicode escape");
        };
        result.push(character);
        rest = &escape[start + digits..];
    }
    result.push_str(rest);
    Ok(result)
}

/// A text with its letters and signs composed, or taken apart.
fn normalized(text: &str, form: &str) -> Result<String> {
    Ok(match form.to_uppercase().as_str() {
        "NFC" => text.nfc().collect(),
        "NFD" => text.nfd().collect(),
        "NFKC" => text.nfkc().collect(),
        "NFKD" => text.nfkd().collect(),
        _ => {
            return fault(
                Fault::InvalidArgument,
                format!("invalid normalization form: {form}"),
            );
        }
    })
}

/// The error about a place that there isn't among so many bytes.
fn no_byte<T>(at: i64, length: usize) -> Result<T> {
    let last = i64::try_from(length).unwrap_or(i64::MAX) - 1;
    fault(
        Fault::InvalidSubscript,
        format!("index {at} out of valid range, 0..{last}"),
    )
}

/// `set_byte(bytes, n, byte)`, from 0.
fn set_byte(call: &Call) -> Result<ArrayRef> {
    let values = cast(&call.arrays[0], &DataType::Binary)?;
    let values = values.as_binary::<i32>();
    let (places, new) = (call.integers(1)?, call.integers(2)?);
    let set = |row: usize| -> Result<Option<Vec<u8>>> {
        if values.is_null(row) || places.is_null(row) || new.is_null(row) {
            return Ok(None);
        }
        let (mut bytes, at) = (values.value(row).to_vec(), places.value(row));
        let length = bytes.len();
        match usize::try_from(at).ok().and_then(|at| bytes.get_mut(at)) {
            Some(byte) => {
                // Of a greater number the last byte counts.
                *byte = new.value(row).to_le_bytes()[0];
                Ok(Some(bytes))
            }
            None => no_byte(at, length),
        }
    };
    let answers = (0..call.rows).map(set).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(
        answers
            .iter()
            .map(Option::as_deref)
            .collect::<datafusion::arrow::array::BinaryArray>(),
    ))
}

/// `get_byte(bytes, n)`, from 0.
fn get_byte(call: &Call) -> Result<ArrayRef> {
    let values = cast(&call.arrays[0], &DataType::Binary)?;
    let values = values.as_binary::<i32>();
    let places = call.integers(1)?;
    let byte = |row: usize| -> Result<Option<i32>> {
        if values.is_null(row) || places.is_null(row) {
            return Ok(None);
        }
        let (bytes, at) = (values.value(row), places.value(row));
        match usize::try_from(at).ok().and_then(|at| bytes.get(at)) {
            Some(byte) => Ok(Some(i32::from(*byte))),
            None => no_byte(at, bytes.len()),
        }
    };
    Ok(Arc::new(
        (0..call.rows).map(byte).collect::<Result<Int32Array>>()?,
    ))
}

/// Texts or bytes in another encoding: the first argument, between those that the others name. A text in the place of
/// bytes is read as such.
fn converted(
    call: &Call,
    of_bytes: bool,
    convert: impl Fn(&[u8], &Encoding, &Encoding) -> Result<Vec<u8>, EncodingFault>,
) -> Result<ArrayRef> {
    let values: BinaryArray = match call.arrays[0].data_type() {
        kind if of_bytes && kind.is_string() => {
            let texts = call.texts(0)?;
            let read = |text: Option<&str>| match text {
                Some(text) => bytes(text).map_or_else(|| invalid("bytea", text), |b| Ok(Some(b))),
                None => Ok(None),
            };
            texts.iter().map(read).collect::<Result<_>>()?
        }
        _ => cast(&call.arrays[0], &DataType::Binary)?
            .as_binary::<i32>()
            .clone(),
    };
    let (first, last) = (call.texts(1)?, call.texts(call.arrays.len() - 1)?);
    let named = |name: &str| match Encoding::named(name).filter(|found| found.is_supported()) {
        Some(encoding) => Ok(encoding),
        None => fault(
            Fault::InvalidArgument,
            format!("invalid encoding name \"{name}\""),
        ),
    };
    let answer = |row: usize| -> Result<Option<Vec<u8>>> {
        if values.is_null(row) || first.is_null(row) || last.is_null(row) {
            return Ok(None);
        }
        let (first, last) = (named(first.value(row))?, named(last.value(row))?);
        match convert(values.value(row), first, last) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error @ EncodingFault::Invalid { .. }) => {
                fault(Fault::InvalidBytes, error.to_string())
            }
            Err(error) => fault(Fault::Untranslatable, error.to_string()),
        }
    };
    let answers = (0..call.rows)
        .map(answer)
        .collect::<Result<BinaryArray>>()?;
    Ok(cast(&answers, call.returns.data_type())?)
}

fn matches_like(call: &Call, fold: bool) -> Result<ArrayRef> {
    let (texts, patterns, escapes) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let answer = |row: usize| {
        (texts.is_valid(row) && patterns.is_valid(row)).then(|| {
            let escape = if call.has(2) {
                escapes.value(row).chars().next()
            } else {
                Some('\\')
            };
            like(texts.value(row), patterns.value(row), escape, fold)
        })
    };
    Ok(Arc::new(
        (0..call.rows).map(answer).collect::<BooleanArray>(),
    ))
}

/// Whether a text is like a pattern.
pub fn like(text: &str, pattern: &str, escape: Option<char>, fold: bool) -> bool {
    let folded = |text: &str| {
        if fold {
            text.to_lowercase()
        } else {
            text.to_owned()
        }
    };
    let text: Vec<char> = folded(text).chars().collect();
    let pattern: Vec<char> = folded(pattern).chars().collect();
    // The last `%`, and how far it has reached: going back to it is enough.
    let (mut at, mut place) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        let here = pattern.get(place).copied();
        let escaped = here.is_some() && here == escape && place + 1 < pattern.len();
        let literal = if escaped {
            pattern.get(place + 1).copied()
        } else {
            here
        };
        if here == Some('%') && !escaped {
            back = Some((place + 1, at));
            place += 1;
        } else if (here == Some('_') && !escaped) || literal == Some(text[at]) {
            place += if escaped { 2 } else { 1 };
            at += 1;
        } else if let Some((after, reached)) = back {
            back = Some((after, reached + 1));
            place = after;
            at = reached + 1;
        } else {
            return false;
        }
    }
    pattern[place..].iter().all(|character| *character == '%')
}

fn substring_field(fields: &[std::sync::Arc<Field>]) -> Field {
    match fields.first().map(|field| field.data_type()) {
        Some(kind) if is_bytes_type(kind) => Field::new("", DataType::Binary, true),
        _ => Field::new("", DataType::Utf8, true),
    }
}

/// From a place, or what a pattern finds.
fn substring(call: &Call) -> Result<ArrayRef> {
    if call
        .arrays
        .get(1)
        .is_some_and(|second| second.data_type().is_string())
    {
        return substring_like(call);
    }
    let (from, length) = (call.integers(1)?, call.integers(2)?);
    let span = |row: usize| {
        let length = call.has(2).then(|| length.value(row));
        span(from.value(row), length)
    };
    let null = |row: usize| from.is_null(row) || (call.has(2) && length.is_null(row));
    if is_bytes(call, 0) {
        let bytes = bytes_of(call, 0)?;
        let part = |row: usize| -> Result<Option<Vec<u8>>> {
            if bytes.is_null(row) || null(row) {
                return Ok(None);
            }
            let (skipped, taken) = span(row)?;
            let bytes = bytes.value(row).iter().skip(skipped).take(taken);
            Ok(Some(bytes.copied().collect()))
        };
        let parts = (0..call.rows).map(part).collect::<Result<BinaryArray>>()?;
        return Ok(Arc::new(parts));
    }
    let texts = call.texts(0)?;
    let part = |row: usize| -> Result<Option<String>> {
        if texts.is_null(row) || null(row) {
            return Ok(None);
        }
        let (skipped, taken) = span(row)?;
        let characters = texts.value(row).chars().skip(skipped).take(taken);
        Ok(Some(characters.collect()))
    };
    Ok(Arc::new(
        (0..call.rows).map(part).collect::<Result<StringArray>>()?,
    ))
}

fn is_bytes(call: &Call, at: usize) -> bool {
    call.arrays
        .get(at)
        .is_some_and(|values| is_bytes_type(values.data_type()))
}

fn is_bytes_type(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

fn bytes_of(call: &Call, at: usize) -> Result<BinaryArray> {
    let bytes = cast(&call.arrays[at], &DataType::Binary)?;
    Ok(bytes.as_binary::<i32>().clone())
}

/// How many characters or bytes are left out, and how many are taken from there.
fn span(start: i64, length: Option<i64>) -> Result<(usize, usize)> {
    let end = match length {
        Some(length) if length < 0 => return negative_length(),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let skipped = usize::try_from(start.max(1) - 1).unwrap_or(usize::MAX);
    let taken = usize::try_from(end.saturating_sub(start.max(1)).max(0)).unwrap_or(usize::MAX);
    Ok((skipped, taken))
}

fn negative_length<T>() -> Result<T> {
    fault(
        Fault::InvalidSubstring,
        "negative substring length not allowed",
    )
}

/// `value` with `other` in the place of a part of it.
fn overlaid<T: Copy>(value: &[T], other: &[T], start: i64, length: Option<i64>) -> Result<Vec<T>> {
    if start < 1 {
        return negative_length();
    }
    let length = length.unwrap_or_else(|| i64::try_from(other.len()).unwrap_or(i64::MAX));
    let (_, before) = span(1, Some(start - 1))?;
    let (after, _) = span(start.saturating_add(length), None)?;
    let (before, after) = (before.min(value.len()), after.min(value.len()));
    Ok([&value[..before], other, &value[after..]].concat())
}

fn overlay(call: &Call) -> Result<ArrayRef> {
    let (from, length) = (call.integers(2)?, call.integers(3)?);
    let place = |row: usize| {
        let null = from.is_null(row) || (call.has(3) && length.is_null(row));
        (!null).then(|| {
            let length = call.has(3).then(|| length.value(row));
            (from.value(row), length)
        })
    };
    if is_bytes(call, 0) && is_bytes(call, 1) {
        let (values, others) = (bytes_of(call, 0)?, bytes_of(call, 1)?);
        let part = |row: usize| match place(row) {
            Some((start, length)) if values.is_valid(row) && others.is_valid(row) => {
                overlaid(values.value(row), others.value(row), start, length).map(Some)
            }
            _ => Ok(None),
        };
        let parts = (0..call.rows).map(part).collect::<Result<BinaryArray>>()?;
        return Ok(Arc::new(parts));
    }
    let (values, others) = (call.texts(0)?, call.texts(1)?);
    let characters = |text: &str| text.chars().collect::<Vec<char>>();
    let part = |row: usize| match place(row) {
        Some((start, length)) if values.is_valid(row) && others.is_valid(row) => {
            let (value, other) = (characters(values.value(row)), characters(others.value(row)));
            let overlaid = overlaid(&value, &other, start, length)?;
            Ok(Some(overlaid.into_iter().collect::<String>()))
        }
        _ => Ok(None),
    };
    Ok(Arc::new(
        (0..call.rows).map(part).collect::<Result<StringArray>>()?,
    ))
}

fn concat_field(
    fields: &[Arc<Field>],
    _: &[Option<&datafusion::common::ScalarValue>],
) -> Result<Field> {
    // Of an array and one of its parts, the array; the first of two that are alike.
    let lists = fields.iter().rev();
    let lists = lists.filter(|field| matches!(field.data_type(), DataType::List(_)));
    let list = lists.max_by_key(|field| dimensions_of(field.data_type()));
    let bytes = fields
        .iter()
        .all(|field| *field.data_type() == DataType::Binary);
    let jsonb = fields.iter().any(|field| types::type_of(field) == "jsonb");
    Ok(match list {
        Some(list) => list.as_ref().clone(),
        None if bytes => Field::new("", DataType::Binary, true),
        None if jsonb => types::field("", "jsonb"),
        None => Field::new("", DataType::Utf8, true),
    })
}

/// The texts of the arguments that aren't NULL, with that of `separator` between them.
fn joined(call: &Call, separator: Option<usize>) -> Result<ArrayRef> {
    let columns: Vec<StringArray> = (0..call.arrays.len())
        .map(|at| call.written(at))
        .collect::<Result<_>>()?;
    let (between, values) = match separator {
        Some(_) if !columns.is_empty() => (columns.first(), &columns[1..]),
        _ => (None, columns.as_slice()),
    };
    let write = |row: usize| -> Option<String> {
        let between = match between {
            Some(between) if between.is_null(row) => return None,
            Some(between) => between.value(row),
            None => "",
        };
        let present = values.iter().filter(|column| column.is_valid(row));
        let texts: Vec<&str> = present.map(|column| column.value(row)).collect();
        Some(texts.join(between))
    };
    Ok(Arc::new((0..call.rows).map(write).collect::<StringArray>()))
}

/// `||` of texts, arrays and bytes.
fn concat_op(call: &Call) -> Result<ArrayRef> {
    if let DataType::List(_) = call.returns.data_type() {
        return concat_lists(call);
    }
    if *call.returns.data_type() == DataType::Binary {
        let (left, right) = (
            call.arrays[0].as_binary::<i32>(),
            call.arrays[1].as_binary::<i32>(),
        );
        let joined = left
            .iter()
            .zip(right.iter())
            .map(|(a, b)| Some([a?, b?].concat()));
        let joined: Vec<Option<Vec<u8>>> = joined.collect();
        return Ok(Arc::new(
            joined
                .iter()
                .map(Option::as_deref)
                .collect::<datafusion::arrow::array::BinaryArray>(),
        ));
    }
    if types::type_of(&call.returns) == "jsonb" {
        return super::documents::concat(call);
    }
    let bools: Vec<bool> = call
        .arrays
        .iter()
        .map(|array| *array.data_type() == DataType::Boolean)
        .collect();
    call.map_texts(2, |texts| {
        let word = |at: usize| match (bools[at], texts[at]) {
            (true, "t") => "true",
            (true, _) => "false",
            (false, text) => text,
        };
        Ok(Some(format!("{}{}", word(0), word(1))))
    })
}

fn concat_lists(call: &Call) -> Result<ArrayRef> {
    use datafusion::arrow::compute::concat;
    let DataType::List(item) = call.returns.data_type() else {
        return fault(Fault::Internal, "arrays are no lists");
    };
    let dimensions = dimensions_of(call.returns.data_type());
    let mut parts: Vec<ArrayRef> = Vec::new();
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let mut length = 0;
        let start = parts.len();
        for values in &call.arrays {
            let part = match values.data_type() {
                DataType::List(_) if values.is_null(row) => continue,
                // An array of one dimension fewer is a part of the other.
                DataType::List(_) if dimensions_of(values.data_type()) < dimensions => {
                    values.slice(row, 1)
                }
                DataType::List(_) => values.as_list::<i32>().value(row),
                DataType::Null if dimensions > 1 => continue,
                _ if dimensions > 1 => return incompatible(),
                DataType::Utf8
                    if matches!(item.data_type(), DataType::Utf8)
                        || values.is_null(row)
                        || !values.as_string::<i32>().value(row).starts_with('{') =>
                {
                    values.slice(row, 1)
                }
                _ => values.slice(row, 1),
            };
            if dimensions_of(part.data_type()) + 1 < dimensions {
                return incompatible();
            }
            let part = cast(&part, item.data_type())?;
            length += part.len();
            parts.push(part);
        }
        if are_uneven(&parts[start..]) {
            return incompatible();
        }
        lengths.push(length);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let values = match parts.is_empty() {
        true => datafusion::arrow::array::new_null_array(item.data_type(), 0),
        false => concat(&parts)?,
    };
    let offsets = datafusion::arrow::buffer::OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(
        datafusion::arrow::array::GenericListArray::<i32>::try_new(
            Arc::clone(item),
            offsets,
            values,
            None,
        )?,
    ))
}

/// Whether arrays of arrays have some that are longer than others.
fn are_uneven(parts: &[ArrayRef]) -> bool {
    let lists = parts.iter().filter_map(|part| part.as_list_opt::<i32>());
    let mut lengths = lists.flat_map(|list| list.offsets().lengths());
    let first = lengths.next();
    lengths.any(|length| Some(length) != first)
}

fn incompatible<T>() -> Result<T> {
    fault(
        Fault::InvalidSubscript,
        "cannot concatenate incompatible arrays",
    )
}

/// `'it''s'`
pub fn quoted_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!(" E'{}'", doubled.replace('\\', "\\\\"))
            .trim_start()
            .to_owned(),
        false => format!("'{doubled}'"),
    }
}

/// A name in quotes, where it needs them.
pub fn quoted_identifier(text: &str) -> String {
    match KEYWORDS.split(' ').any(|keyword| keyword == text) {
        true => format!("\"{text}\""),
        false => datafusion_funnel::definition::text::identifier(text).to_string(),
    }
}

/// Words that can't name everything in Postgres, and so are quoted.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both \
    case cast char character check coalesce collate collation column concurrently constraint create cross \
    current_catalog current_date current_role current_schema current_time current_timestamp current_user dec \
    decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign \
    freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect \
    interval into is isnull join lateral leading least left like limit localtime localtimestamp national natural \
    nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay \
    placing position precision primary real references returning right row select session_user setof similar \
    smallint some substring symmetric table tablesample then time timestamp to trailing treat trim true union \
    unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat xmlelement \
    xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// `format('%s-%I', …)`
fn format(call: &Call) -> Result<ArrayRef> {
    let formats = call.texts(0)?;
    let arguments = (1..call.arrays.len())
        .map(|at| call.written(at))
        .collect::<Result<Vec<_>>>()?;
    let write = |row: usize| -> Result<Option<String>> {
        if formats.is_null(row) {
            return Ok(None);
        }
        let values: Vec<Option<&str>> = arguments
            .iter()
            .map(|column| column.is_valid(row).then(|| column.value(row)))
            .collect();
        formatted(formats.value(row), &values).map(Some)
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

fn formatted(pattern: &str, values: &[Option<&str>]) -> Result<String> {
    let mut result = String::new();
    let mut characters = pattern.chars().peekable();
    let mut next = 0;
    while let Some(character) = characters.next() {
        if character != '%' {
            result.push(character);
            continue;
        }
        if characters.next_if_eq(&'%').is_some() {
            result.push('%');
            continue;
        }
        let mut digits = String::new();
        let mut left = false;
        let mut position = None;
        loop {
            match characters.peek() {
                Some('-') => left = true,
                Some('$') => {
                    position = digits.parse::<usize>().ok();
                    digits.clear();
                }
                Some(digit) if digit.is_ascii_digit() => digits.push(*digit),
                _ => break,
            }
            characters.next();
        }
        let at = position.map_or(next, |position| position.saturating_sub(1));
        next = at + 1;
        let Some(value) = values.get(at) else {
            return fault(Fault::InvalidArgument, "too few arguments for format()");
        };
        let text = match characters.next() {
            Some('s') => value.unwrap_or_default().to_owned(),
            Some('I') => match value {
                Some(value) => quoted_identifier(value),
                None => {
                    return fault(
                        Fault::InvalidArgument,
                        "null values cannot be formatted as an SQL identifier",
                    );
                }
            },
            Some('L') => value.map_or_else(|| "NULL".to_owned(), quoted_literal),
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return fault(
                    Fault::InvalidArgument,
                    format!("unrecognized format() type specifier \"{other}\""),
                );
            }
        };
        let width: usize = digits.parse().unwrap_or(0);
        if width > WIDEST {
            return fault(Fault::LimitExceeded, "requested length too large");
        }
        let padding = " ".repeat(width.saturating_sub(text.chars().count()));
        match left {
            true => result.extend([text.as_str(), &padding]),
            false => result.extend([padding.as_str(), &text]),
        }
    }
    Ok(result)
}

fn encode(call: &Call) -> Result<ArrayRef> {
    let bytes = cast(&call.arrays[0], &DataType::Binary)?;
    let bytes = bytes.as_binary::<i32>();
    let formats = call.texts(1)?;
    let write = |row: usize| -> Result<Option<String>> {
        if bytes.is_null(row) || formats.is_null(row) {
            return Ok(None);
        }
        let bytes = bytes.value(row);
        Ok(Some(match formats.value(row).to_lowercase().as_str() {
            "hex" => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            "base64" => base64(bytes),
            "escape" => bytes
                .iter()
                .map(|byte| match byte {
                    b'\\' => "\\\\".to_owned(),
                    0 | 128.. => format!("\\{byte:03o}"),
                    byte => char::from(*byte).to_string(),
                })
                .collect(),
            other => {
                return fault(
                    Fault::InvalidArgument,
                    format!("unrecognized encoding: \"{other}\""),
                );
            }
        }))
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

/// `decode(text, format)`: the bytes that `encode` writes so.
fn decode(call: &Call) -> Result<ArrayRef> {
    let (texts, formats) = (call.texts(0)?, call.texts(1)?);
    let read = |row: usize| -> Result<Option<Vec<u8>>> {
        if texts.is_null(row) || formats.is_null(row) {
            return Ok(None);
        }
        let text = texts.value(row);
        let bytes = match formats.value(row).to_lowercase().as_str() {
            "hex" => from_hex(text)?,
            "base64" => from_base64(text)?,
            "escape" => match text.starts_with("\\x") {
                false => bytes(text),
                true => None,
            }
            .map_or_else(
                || fault(Fault::InvalidText, "invalid input syntax for type bytea"),
                Ok,
            )?,
            other => {
                return fault(
                    Fault::InvalidArgument,
                    format!("unrecognized encoding: \"{other}\""),
                );
            }
        };
        Ok(Some(bytes))
    };
    let bytes = (0..call.rows).map(read).collect::<Result<BinaryArray>>()?;
    Ok(Arc::new(bytes))
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let mut digits = Vec::new();
    for character in text.chars().filter(|c| !" \n\t\r".contains(*c)) {
        match character
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
        {
            Some(digit) => digits.push(digit),
            None => {
                return fault(
                    Fault::InvalidArgument,
                    format!("invalid hexadecimal digit: \"{character}\""),
                );
            }
        }
    }
    if !digits.len().is_multiple_of(2) {
        return fault(
            Fault::InvalidArgument,
            "invalid hexadecimal data: odd number of digits",
        );
    }
    Ok(digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

/// Base64 with its `=`; spaces and ends of lines say nothing.
fn from_base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Four letters are three bytes; of `=` it is counted how many there are.
    let (mut group, mut letters, mut ends) = (0_u32, 0, 0_usize);
    for character in text.chars().filter(|c| !" \n\t\r".contains(*c)) {
        let value = match character {
            '=' if letters >= 2 => {
                ends += 1;
                0
            }
            '=' => {
                return fault(
                    Fault::InvalidArgument,
                    "unexpected \"=\" while decoding base64 sequence",
                );
            }
            'A'..='Z' => u32::from(character) - u32::from('A'),
            'a'..='z' => u32::from(character) - u32::from('a') + 26,
            '0'..='9' => u32::from(character) - u32::from('0') + 52,
            '+' => 62,
            '/' => 63,
            _ => {
                return fault(
                    Fault::InvalidArgument,
                    format!("invalid symbol \"{character}\" found while decoding base64 sequence"),
                );
            }
        };
        group = group << 6 | value;
        letters += 1;
        if letters == 4 {
            let [_, three @ ..] = group.to_be_bytes();
            bytes.extend(&three[..3 - ends.min(2)]);
            (group, letters, ends) = (0, 0, 0);
        }
    }
    match letters {
        0 => Ok(bytes),
        _ => fault(Fault::InvalidArgument, "invalid base64 end sequence"),
    }
}

/// How long texts or bytes are: in bytes of `unit`, or a text in its characters.
fn length(call: &Call, unit: usize, in_characters: bool) -> Result<ArrayRef> {
    let number = |length: usize| match i32::try_from(length * unit) {
        Ok(length) => Ok(Some(length)),
        Err(_) => fault(Fault::OutOfRange, "integer out of range"),
    };
    let lengths: Int32Array = if is_bytes(call, 0) {
        let bytes = bytes_of(call, 0)?;
        let lengths = bytes.iter().map(|bytes| match bytes {
            Some(bytes) => number(bytes.len()),
            None => Ok(None),
        });
        lengths.collect::<Result<_>>()?
    } else {
        let texts = call.texts(0)?;
        // Where all is ASCII, a character is a byte.
        let by_bytes = !in_characters || texts.is_ascii();
        let lengths = texts.iter().map(|text| match text {
            Some(text) if by_bytes => number(text.len()),
            Some(text) => number(text.chars().count()),
            None => Ok(None),
        });
        lengths.collect::<Result<_>>()?
    };
    Ok(Arc::new(lengths))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut result = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0_u32, |sum, (at, byte)| {
            sum | u32::from(*byte) << (16 - 8 * at)
        });
        for at in 0..4 {
            match at <= chunk.len() {
                true => result.push(char::from(LETTERS[(group >> (18 - 6 * at) & 63) as usize])),
                false => result.push('='),
            }
        }
    }
    // Postgres breaks lines after 76 letters, as mail does.
    let lines: Vec<String> = result
        .as_bytes()
        .chunks(76)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    lines.join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18.
    #[test]
    fn patterns_match_as_in_postgres() {
        for (text, pattern, escape, expected) in [
            ("50%", "50!%", Some('!'), true),
            ("50x", "50!%", Some('!'), false),
            ("abc", "a%c", Some('\\'), true),
            ("abcbc", "a%bc", Some('\\'), true),
            ("a_c", "a\\_c", Some('\\'), true),
            ("abc", "a\\_c", Some('\\'), false),
            ("漏斗", "_斗", None, true),
            ("", "%", None, true),
        ] {
            assert_eq!(
                like(text, pattern, escape, false),
                expected,
                "{text} like {pattern}"
            );
        }
    }

    #[test]
    fn formats_are_filled_as_in_postgres() {
        assert_eq!(
            formatted("%s-%I", &[Some("x"), Some("My Col")]).unwrap(),
            "x-\"My Col\""
        );
        assert_eq!(
            formatted("%s|%1$-3s|%L", &[Some("a"), Some("it's")]).unwrap(),
            "a|a  |'it''s'"
        );
        assert_eq!(base64(b"\x01\x02"), "AQI=");
    }
}
