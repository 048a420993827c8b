//! Columns in Postgres' binary format, where that isn't what is kept.

use std::ops::Range;
use std::sync::Arc;

use arrow_pg::datatypes::encode_recordbatch;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, IntervalMonthDayNanoType, IntervalUnit, Schema,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::DataFusionError;
use pgwire::api::Type;
use pgwire::api::results::{FieldFormat, FieldInfo};
use pgwire::messages::data::DataRow;

use super::UNSCALED;
use crate::error::Error;
use crate::postgres::binary::{Reader, reader};
use crate::postgres::names_of_objects::Names;
use crate::postgres::style::Style;
use crate::postgres::text::texts;
use crate::postgres::types;

/// The days from 1970 to 2000, from where the protocol counts.
const YEAR_2000_DAYS: i64 = 10_957;
const DAY_US: i64 = 86_400_000_000;

/// The bytes of a column whose values are kept as texts and are sent as something else: a `uuid` is sixteen bytes, a
/// `jsonb` begins with its version. And those of what arrow-pg sends as something else: NULL among intervals, infinity, a numeric
/// without a scale, an array that is empty or has several dimensions. Nothing for a column that is sent as it is kept.
///
/// # Errors
/// 0A000 for a value that has no binary form here.
pub fn binary(
    column: &ArrayRef,
    field: &Field,
    names: &dyn Names,
    style: Style,
) -> Result<Option<ArrayRef>, DataFusionError> {
    if let Some(bytes) = moments(column) {
        return Ok(Some(Arc::new(bytes)));
    }
    if let DataType::List(_) = column.data_type() {
        let bytes = lists(column, field, names, style)?;
        return Ok(bytes.map(|bytes| Arc::new(bytes) as ArrayRef));
    }
    let kind = types::type_of(field);
    if kind == "timetz" {
        return Ok(Some(Arc::new(zoned_times(column)?)));
    }
    if let Some(read) = own_reader(&kind, field) {
        let texts = texts(column, field, names, style)?;
        let bytes = texts.iter().map(|text| match text {
            None => Ok(None),
            Some(text) => read(text).map(Some).ok_or_else(|| unreadable(&kind, text)),
        });
        let bytes = bytes.collect::<Result<Vec<Option<Vec<u8>>>, DataFusionError>>()?;
        return Ok(Some(Arc::new(bytes.into_iter().collect::<BinaryArray>())));
    }
    match column.data_type() {
        DataType::UInt64 => Ok(Some(cast(column, &DataType::Int64)?)),
        _ => Ok(None),
    }
}

/// How the values of a column are made of their texts. Numerics with a scale are all written with it, as they are kept.
fn own_reader(kind: &str, field: &Field) -> Option<Reader> {
    match kind == "numeric" && !field.metadata().contains_key(types::TYPE_KEY) {
        true => None,
        false => reader(kind),
    }
}

fn unreadable(kind: &str, text: &str) -> DataFusionError {
    let error = Error::Unsupported {
        message: format!("binary format of {kind} \"{text}\" is not supported"),
        hint: Some("Ask for text.".to_owned()),
    };
    DataFusionError::External(Box::new(error))
}

/// Times, all of which are UTC's.
fn zoned_times(column: &ArrayRef) -> Result<BinaryArray, DataFusionError> {
    let times = cast(column, &DataType::Time64(TimeUnit::Microsecond))?;
    let times = times.as_primitive::<Time64MicrosecondType>();
    let bytes = times
        .iter()
        .map(|time| Some([time?.to_be_bytes().as_slice(), &0_i32.to_be_bytes()].concat()));
    Ok(bytes.collect())
}

/// The bytes of arrays; nothing for a column of them that arrow-pg writes as Postgres does.
fn lists(
    column: &ArrayRef,
    field: &Field,
    names: &dyn Names,
    style: Style,
) -> Result<Option<BinaryArray>, DataFusionError> {
    let kind = types::type_of(field);
    let element = kind.strip_prefix('_');
    let Some((element, wire)) =
        element.zip(element.and_then(|name| Type::from_oid(types::oid(name))))
    else {
        return Ok(None);
    };
    let list = column.as_list::<i32>();
    let offsets = list.value_offsets();
    let all = index(offsets.first())..index(offsets.last());
    let (leaves, item, within) = leaves(column, all);
    let leaf = leaf_field(item, element);
    let several = matches!(list.values().data_type(), DataType::List(_));
    let some_empty = offsets.windows(2).any(|pair| pair[0] == pair[1]);
    let own = element == "timetz" || own_reader(element, &leaf).is_some();
    if !(several || some_empty || own) {
        return Ok(None);
    }
    let values = leaves.slice(within.start, within.len());
    let elements = elements(&values, leaf, &wire, names, style)?;
    let mut result: Vec<Option<Vec<u8>>> = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        if list.is_null(row) {
            result.push(None);
            continue;
        }
        let range = index(offsets.get(row))..index(offsets.get(row + 1));
        let Some((lengths, range)) = dimensions(list.values(), range) else {
            return Err(unreadable(&kind, "of arrays of different lengths"));
        };
        let range = match range.is_empty() {
            true => 0..0,
            false => range.start - within.start..range.end - within.start,
        };
        let has_null = range.clone().any(|at| values.is_null(at));
        let mut bytes = Vec::new();
        bytes.extend(number(if range.is_empty() { 0 } else { lengths.len() }));
        bytes.extend(number(usize::from(has_null)));
        bytes.extend(wire.oid().to_be_bytes());
        if !range.is_empty() {
            for length in lengths {
                bytes.extend(number(length));
                bytes.extend(number(1));
            }
        }
        for row in elements.get(range).unwrap_or_default() {
            bytes.extend_from_slice(&row.data);
        }
        result.push(Some(bytes));
    }
    Ok(Some(result.into_iter().collect()))
}

fn index(offset: Option<&i32>) -> usize {
    offset.map_or(0, |offset| usize::try_from(*offset).unwrap_or(0))
}

fn number(number: usize) -> [u8; 4] {
    i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes()
}

/// The elements of lists in lists, their field, and where those of `range`'s lists are.
fn leaves(column: &ArrayRef, range: Range<usize>) -> (&ArrayRef, Option<&Field>, Range<usize>) {
    let (mut values, mut item, mut range) = (column, None, range);
    let mut outermost = true;
    while let DataType::List(inner) = values.data_type() {
        let list = values.as_list::<i32>();
        if !outermost {
            let offsets = list.value_offsets();
            range = index(offsets.get(range.start))..index(offsets.get(range.end));
        }
        outermost = false;
        item = Some(inner.as_ref());
        values = list.values();
    }
    (values, item, range)
}

/// The field of an array's elements, which are of the type that the array says.
fn leaf_field(item: Option<&Field>, element: &str) -> Field {
    let kind = item.map_or(DataType::Null, |item| item.data_type().clone());
    let field = Field::new("", kind, true);
    match *field.data_type() == UNSCALED {
        true => types::marked_always(field, "numeric"),
        false => types::marked(field, element),
    }
}

/// The lengths of an array's dimensions, and where its elements are; nothing where its arrays have different lengths.
fn dimensions(values: &ArrayRef, range: Range<usize>) -> Option<(Vec<usize>, Range<usize>)> {
    let mut lengths = vec![range.len()];
    let (mut values, mut range) = (values, range);
    while let DataType::List(_) = values.data_type() {
        let list = values.as_list::<i32>();
        let offsets = list.value_offsets();
        let of = |at: usize| index(offsets.get(at))..index(offsets.get(at + 1));
        let length = of(range.start).len();
        if range
            .clone()
            .any(|at| list.is_null(at) || of(at).len() != length)
        {
            return None;
        }
        range = index(offsets.get(range.start))..index(offsets.get(range.end));
        lengths.push(length);
        values = list.values();
    }
    Some((lengths, range))
}

/// Elements as they stand in an array: each with its length before it.
fn elements(
    values: &ArrayRef,
    field: Field,
    wire: &Type,
    names: &dyn Names,
    style: Style,
) -> Result<Vec<DataRow>, DataFusionError> {
    let (values, field) = match binary(values, &field, names, style)? {
        Some(bytes) => {
            let field = Field::new("", bytes.data_type().clone(), true);
            (bytes, field)
        }
        None => (Arc::clone(values), field),
    };
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![values])?;
    let format = FieldFormat::Binary;
    let info = FieldInfo::new(String::new(), None, None, wire.clone(), format);
    encode_recordbatch(Arc::new(vec![info]), batch)
        .collect::<Result<_, _>>()
        .map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The bytes of intervals with NULL among them, and of moments with infinity among them; nothing for other columns.
fn moments(column: &ArrayRef) -> Option<BinaryArray> {
    match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) if column.null_count() > 0 => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>();
            let bytes = values.iter().map(|value| {
                let (months, days, nanoseconds) = IntervalMonthDayNanoType::to_parts(value?);
                let mut bytes = (nanoseconds / 1000).to_be_bytes().to_vec();
                bytes.extend(days.to_be_bytes());
                bytes.extend(months.to_be_bytes());
                Some(bytes)
            });
            Some(bytes.collect())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            let is_endless = |value: i64| value == i64::MAX || value == i64::MIN;
            values.iter().flatten().any(is_endless).then_some(())?;
            let bytes = values.iter().map(|value| {
                let value = value?;
                let since_2000 = match is_endless(value) {
                    true => value,
                    false => value.saturating_sub(YEAR_2000_DAYS * DAY_US),
                };
                Some(since_2000.to_be_bytes())
            });
            Some(bytes.collect())
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>();
            let is_endless = |value: i32| value == i32::MAX || value == i32::MIN;
            values.iter().flatten().any(is_endless).then_some(())?;
            let bytes = values.iter().map(|value| {
                let value = value?;
                let since_2000 = match is_endless(value) {
                    true => value,
                    false => i32::try_from(i64::from(value) - YEAR_2000_DAYS).unwrap_or(i32::MIN),
                };
                Some(since_2000.to_be_bytes())
            });
            Some(bytes.collect())
        }
        _ => None,
    }
}
