//! JSON: its operators and functions.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericListArray, Int32Array, ListBuilder, StringArray,
    StringBuilder, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::ScalarUDF;
use serde_json::{Map, Number, Value};

use crate::error::Fault;
use crate::postgres::casts::{array_elements, invalid};
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::json::{contains, written};
use crate::postgres::names_of_objects::NoNames;
use crate::postgres::style::{DateFormat, Style};
use crate::postgres::{names, text, types};

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let text = Returns::Type("text");
    let same = Returns::Of(|fields, _| Ok(same_kind(fields)));
    let mut functions = vec![
        function("pg_json_get", same, |call| step(call, false)),
        function("pg_json_get_text", text, |call| step(call, true)),
        function("pg_json_path", same, |call| path(call, false)),
        function("pg_json_path_text", text, |call| path(call, true)),
        function("pg_json_exists", Returns::Type("bool"), exists),
        function("row_to_json", Returns::Type("json"), |call| {
            of_any(call, false)
        }),
        function("to_json", Returns::Type("json"), |call| of_any(call, false)),
        function("array_to_json", Returns::Type("json"), |call| {
            of_any(call, false)
        }),
        function("to_jsonb", Returns::Type("jsonb"), |call| {
            of_any(call, true)
        }),
        function("jsonb_pretty", text, |call| {
            call.map_texts(1, |texts| {
                let value = read(texts[0])?;
                let mut bytes = Vec::new();
                let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
                let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
                match serde::Serialize::serialize(&value, &mut serializer) {
                    Ok(()) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                    Err(error) => fault(Fault::Internal, error.to_string()),
                }
            })
        }),
    ];
    for (prefix, kind) in [("json", "json"), ("jsonb", "jsonb")] {
        let binary = kind == "jsonb";
        let document = Returns::Type(kind);
        functions.extend([
            function(&format!("{prefix}_build_object"), document, move |call| {
                build_object(call, binary)
            }),
            function(&format!("{prefix}_build_array"), document, move |call| {
                build_array(call, binary)
            }),
            function(&format!("{prefix}_typeof"), text, |call| {
                call.map_texts(1, |texts| Ok(Some(kind_of(&read(texts[0])?).to_owned())))
            }),
            function(
                &format!("{prefix}_array_length"),
                Returns::Type("int4"),
                array_length,
            ),
            function(&format!("{prefix}_extract_path"), document, |call| {
                path_of_arguments(call, false)
            }),
            function(&format!("{prefix}_extract_path_text"), text, |call| {
                path_of_arguments(call, true)
            }),
            function(&format!("{prefix}_strip_nulls"), document, move |call| {
                call.map_texts(1, |texts| {
                    Ok(Some(shown(&stripped(read(texts[0])?), binary)))
                })
            }),
            function(
                &format!("pg_list_{prefix}_array_elements"),
                Returns::Of(|_, _| Ok(document_list())),
                move |call| elements(call, false, binary),
            ),
            function(
                &format!("pg_list_{prefix}_array_elements_text"),
                Returns::Type("_text"),
                move |call| elements(call, true, binary),
            ),
            function(
                &format!("pg_list_{prefix}_object_keys"),
                Returns::Type("_text"),
                keys,
            ),
            function(
                &format!("pg_list_{prefix}_each"),
                Returns::Of(|_, _| Ok(pairs_field())),
                move |call| each(call, false, binary),
            ),
            function(
                &format!("pg_list_{prefix}_each_text"),
                Returns::Of(|_, _| Ok(pairs_field())),
                move |call| each(call, true, binary),
            ),
        ]);
    }
    functions
}

fn document_list() -> Field {
    types::field("", "_jsonb")
}

fn pairs_field() -> Field {
    let pair = vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Utf8, true),
    ];
    Field::new("", types::list_of(DataType::Struct(pair.into())), true)
}

/// A part of `json` is `json`; of everything else `jsonb`.
fn same_kind(fields: &[FieldRef]) -> Field {
    match fields.first().map(|field| types::type_of(field)).as_deref() {
        Some("json") => types::field("", "json"),
        _ => types::field("", "jsonb"),
    }
}

pub(super) fn read(text: &str) -> Result<Value> {
    serde_json::from_str(text).or_else(|_| invalid("json", text))
}

pub(super) fn shown(value: &Value, binary: bool) -> String {
    match binary {
        true => written(value),
        false => value.to_string(),
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(written(other)),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn part<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key),
        Value::Array(items) => {
            let at: i64 = key.trim().parse().ok()?;
            let at = if at < 0 {
                i64::try_from(items.len()).ok()? + at
            } else {
                at
            };
            items.get(usize::try_from(at).ok()?)
        }
        _ => None,
    }
}

fn answer(found: Option<&Value>, plain: bool) -> Option<String> {
    match plain {
        true => found.and_then(as_text),
        false => found.map(written),
    }
}

/// `->` and `->>`: a number is a place in an array, a text a key.
fn step(call: &Call, plain: bool) -> Result<ArrayRef> {
    let by_number = call.arrays[1].data_type().is_integer();
    call.map_texts(2, |texts| {
        let value = read(texts[0])?;
        let found = match (by_number, &value) {
            (true, Value::Object(_)) | (false, Value::Array(_)) => None,
            _ => part(&value, texts[1]),
        };
        Ok(answer(found, plain))
    })
}

/// `#>` and `#>>`
fn path(call: &Call, plain: bool) -> Result<ArrayRef> {
    call.map_texts(2, |texts| {
        let value = read(texts[0])?;
        let Some(steps) = array_elements(texts[1]) else {
            return fault(
                Fault::InvalidText,
                format!("malformed array literal: \"{}\"", texts[1]),
            );
        };
        let found = steps
            .iter()
            .try_fold(&value, |value, step| part(value, step.as_deref()?));
        Ok(answer(found, plain))
    })
}

fn path_of_arguments(call: &Call, plain: bool) -> Result<ArrayRef> {
    let count = call.arrays.len();
    call.map_texts(count, |texts| {
        let value = read(texts[0])?;
        let found = texts[1..]
            .iter()
            .try_fold(&value, |value, step| part(value, step));
        Ok(answer(found, plain))
    })
}

fn exists(call: &Call) -> Result<ArrayRef> {
    let (documents, keys) = (call.texts(0)?, call.texts(1)?);
    let answer = |row: usize| -> Result<Option<bool>> {
        if documents.is_null(row) || keys.is_null(row) {
            return Ok(None);
        }
        let key = keys.value(row);
        Ok(Some(match read(documents.value(row))? {
            Value::Object(map) => map.contains_key(key),
            Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
            Value::String(text) => text == key,
            _ => false,
        }))
    };
    Ok(Arc::new(
        (0..call.rows)
            .map(answer)
            .collect::<Result<BooleanArray>>()?,
    ))
}

/// Whether a document holds another.
pub fn holds(call: &Call, whole: usize, part: usize) -> Result<ArrayRef> {
    let (whole, part) = (call.texts(whole)?, call.texts(part)?);
    let answer = |row: usize| -> Result<Option<bool>> {
        match whole.is_valid(row) && part.is_valid(row) {
            true => Ok(Some(contains(
                &read(whole.value(row))?,
                &read(part.value(row))?,
            ))),
            false => Ok(None),
        }
    };
    Ok(Arc::new(
        (0..call.rows)
            .map(answer)
            .collect::<Result<BooleanArray>>()?,
    ))
}

/// `||` of two documents.
pub fn concat(call: &Call) -> Result<ArrayRef> {
    call.map_texts(2, |texts| {
        let joined = match (read(texts[0])?, read(texts[1])?) {
            (Value::Object(mut left), Value::Object(right)) => {
                left.extend(right);
                Value::Object(left)
            }
            (left, right) => {
                let items = |value: Value| match value {
                    Value::Array(items) => items,
                    other => vec![other],
                };
                Value::Array(items(left).into_iter().chain(items(right)).collect())
            }
        };
        Ok(Some(written(&joined)))
    })
}

/// A row's value in a document, as it is written: a `json` keeps the order of its keys and the zeros of its numbers.
pub(super) fn document_text(
    values: &ArrayRef,
    field: &Field,
    row: usize,
    style: Style,
    binary: bool,
) -> Result<String> {
    if binary || values.is_null(row) {
        return Ok(shown(&value_of(values, field, row, style)?, binary));
    }
    let one = values.slice(row, 1);
    match values.data_type() {
        DataType::List(_) => {
            let items = one.as_list::<i32>().value(0);
            let item = element_of(field, items.data_type());
            let items = (0..items.len())
                .map(|at| document_text(&items, &item, at, style, false))
                .collect::<Result<Vec<_>>>()?;
            Ok(format!("[{}]", items.join(",")))
        }
        DataType::Struct(fields) => {
            let columns = one.as_struct().columns().iter().zip(fields);
            let pairs = columns.map(|(column, field)| {
                let value = document_text(column, field, 0, style, false)?;
                let name = names::shown(field.name());
                Ok(format!("{}:{value}", Value::from(name)))
            });
            Ok(format!(
                "{{{}}}",
                pairs.collect::<Result<Vec<_>>>()?.join(",")
            ))
        }
        kind => {
            let is_document = ["json", "jsonb"].contains(&types::type_of(field).as_str());
            let text = text::texts(&one, field, &NoNames, style)?
                .value(0)
                .to_owned();
            // What isn't a number of JSON's, such as NaN, is a text there.
            let is_number = kind.is_numeric() && serde_json::from_str::<Number>(&text).is_ok();
            match is_document || is_number {
                true => Ok(text),
                false => Ok(shown(&value_of(values, field, row, style)?, false)),
            }
        }
    }
}

/// What an element of a list is, with the Postgres type that the list says.
pub(super) fn element_of(list: &Field, item: &DataType) -> Field {
    let kind = types::type_of(list);
    types::marked(
        Field::new("", item.clone(), true),
        kind.strip_prefix('_').unwrap_or(&kind),
    )
}

/// A row's value as JSON; see [`style`].
pub(super) fn value_of(
    values: &ArrayRef,
    field: &Field,
    row: usize,
    style: Style,
) -> Result<Value> {
    if values.is_null(row) || *values.data_type() == DataType::Null {
        return Ok(Value::Null);
    }
    let one = values.slice(row, 1);
    let texts = |one: &ArrayRef| text::texts(one, field, &NoNames, style);
    Ok(match values.data_type() {
        DataType::Boolean => Value::Bool(one.as_boolean().value(0)),
        kind if kind.is_numeric() => {
            let text = texts(&one)?.value(0).to_owned();
            match serde_json::from_str::<Number>(&text) {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(text),
            }
        }
        DataType::List(item) => {
            let items = one.as_list::<i32>().value(0);
            Value::Array(
                (0..items.len())
                    .map(|at| value_of(&items, item, at, style))
                    .collect::<Result<_>>()?,
            )
        }
        DataType::Struct(fields) => {
            let record = one.as_struct();
            let mut map = Map::new();
            for (column, field) in record.columns().iter().zip(fields) {
                map.insert(field.name().clone(), value_of(column, field, 0, style)?);
            }
            Value::Object(map)
        }
        DataType::Timestamp(..) => Value::String(iso(texts(&one)?.value(0))),
        _ => match types::type_of(field).as_str() {
            "json" | "jsonb" => read(texts(&one)?.value(0))?,
            _ => Value::String(texts(&one)?.value(0).to_owned()),
        },
    })
}

/// An instant in a document: `2026-03-01T09:00:00+08:00` for `2026-03-01 09:00:00+08`.
fn iso(text: &str) -> String {
    let iso = text.replacen(' ', "T", 1);
    let offset = iso.rfind(['+', '-']).filter(|at| iso[..*at].contains('T'));
    match offset {
        Some(at) if iso.len() - at == "+08".len() => format!("{iso}:00"),
        _ => iso,
    }
}

/// How a session's documents have values: as it writes them, but dates to ISO 8601.
pub(super) fn style(call: &Call) -> Style {
    Style {
        dates: DateFormat::Iso,
        ..call.style()
    }
}

fn of_any(call: &Call, binary: bool) -> Result<ArrayRef> {
    let style = style(call);
    let write = |row: usize| -> Result<Option<String>> {
        match call.arrays[0].is_null(row) {
            true => Ok(None),
            false => document_text(&call.arrays[0], &call.fields[0], row, style, binary).map(Some),
        }
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

fn build_object(call: &Call, binary: bool) -> Result<ArrayRef> {
    if !call.arrays.len().is_multiple_of(2) {
        return fault(
            Fault::InvalidArgument,
            "argument list must have even number of elements",
        );
    }
    let keys = (0..call.arrays.len())
        .step_by(2)
        .map(|at| call.texts(at))
        .collect::<Result<Vec<_>>>()?;
    let style = style(call);
    let write = |row: usize| -> Result<Option<String>> {
        let mut pairs = Vec::with_capacity(keys.len());
        let mut map = Map::new();
        for (at, key) in keys.iter().enumerate() {
            if key.is_null(row) {
                return fault(Fault::InvalidArgument, "key must not be null");
            }
            let (values, field) = (&call.arrays[at * 2 + 1], &call.fields[at * 2 + 1]);
            match binary {
                true => {
                    let value = value_of(values, field, row, style)?;
                    map.insert(key.value(row).to_owned(), value);
                }
                // json keeps the order of its keys, and writes a space around the colon.
                false => pairs.push(format!(
                    "{} : {}",
                    Value::from(key.value(row)),
                    document_text(values, field, row, style, false)?
                )),
            }
        }
        Ok(Some(match binary {
            true => written(&Value::Object(map)),
            false => format!("{{{}}}", pairs.join(", ")),
        }))
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

fn build_array(call: &Call, binary: bool) -> Result<ArrayRef> {
    let style = style(call);
    let write = |row: usize| -> Result<Option<String>> {
        let items = call.arrays.iter().zip(&call.fields);
        let texts = items.map(|(values, field)| document_text(values, field, row, style, binary));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        Ok(Some(format!("[{}]", texts.join(", "))))
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

fn array_length(call: &Call) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    let length = |text: &str| match read(text)? {
        Value::Array(items) => Ok(i32::try_from(items.len()).unwrap_or(i32::MAX)),
        _ => fault(
            Fault::InvalidArgument,
            "cannot get array length of a non-array",
        ),
    };
    Ok(Arc::new(
        texts
            .iter()
            .map(|text| text.map(length).transpose())
            .collect::<Result<Int32Array>>()?,
    ))
}

fn stripped(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, stripped(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(stripped).collect()),
        other => other,
    }
}

fn elements(call: &Call, plain: bool, binary: bool) -> Result<ArrayRef> {
    let mut result = ListBuilder::new(StringBuilder::new());
    for text in &call.texts(0)? {
        match text.map(read).transpose()? {
            None => result.append_null(),
            Some(Value::Array(items)) => result.append_value(items.iter().map(|item| {
                if plain {
                    as_text(item)
                } else {
                    Some(shown(item, binary))
                }
            })),
            Some(_) => {
                return fault(
                    Fault::InvalidArgument,
                    "cannot extract elements from a scalar",
                );
            }
        }
    }
    Ok(Arc::new(result.finish()))
}

fn keys(call: &Call) -> Result<ArrayRef> {
    let mut result = ListBuilder::new(StringBuilder::new());
    for text in &call.texts(0)? {
        match text.map(read).transpose()? {
            None => result.append_null(),
            Some(Value::Object(map)) => {
                result.append_value(map.keys().map(|key| Some(key.clone())))
            }
            Some(_) => {
                return fault(
                    Fault::InvalidArgument,
                    "cannot call jsonb_object_keys on a scalar",
                );
            }
        }
    }
    Ok(Arc::new(result.finish()))
}

fn each(call: &Call, plain: bool, binary: bool) -> Result<ArrayRef> {
    let DataType::List(item) = call.returns.data_type() else {
        return fault(Fault::Internal, "pairs are no list");
    };
    let DataType::Struct(pair) = item.data_type() else {
        return fault(Fault::Internal, "pairs have no columns");
    };
    let (mut keys, mut values, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for text in &call.texts(0)? {
        let map = match text.map(read).transpose()? {
            None => Map::new(),
            Some(Value::Object(map)) => map,
            Some(_) => return fault(Fault::InvalidArgument, "cannot deconstruct a scalar"),
        };
        lengths.push(map.len());
        for (key, value) in map {
            keys.push(key);
            values.push(if plain {
                as_text(&value)
            } else {
                Some(shown(&value, binary))
            });
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(keys)),
        Arc::new(StringArray::from(values)),
    ];
    let pairs = StructArray::try_new(pair.clone(), columns, None)?;
    let list = GenericListArray::<i32>::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(pairs),
        None,
    )?;
    Ok(cast(
        &(Arc::new(list) as ArrayRef),
        call.returns.data_type(),
    )?)
}
