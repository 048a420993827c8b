//! Arrays: subscripts, comparisons with all or any of their elements, and the functions that return rows as lists.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, GenericListArray, Int32Array,
    Int64Builder, ListBuilder, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray,
    UInt64Array, new_null_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::kernels::cmp;
use datafusion::arrow::compute::{cast, concat, take};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion::logical_expr::ScalarUDF;

use super::patterns::matches;
use super::texts::like;
use crate::error::Fault;
use crate::postgres::casts::{self, array_elements};
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::names_of_objects::NoNames;
use crate::postgres::style::Style;
use crate::postgres::{datetime, text, types};

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let boolean = Returns::Type("bool");
    let integer = Returns::Type("int4");
    vec![
        function("pg_any", boolean, |call| compare_elements(call, false)),
        function("pg_all", boolean, |call| compare_elements(call, true)),
        function(
            "pg_subscript",
            Returns::Of(|fields, _| Ok(innermost_field(fields))),
            subscript,
        ),
        function(
            "pg_slice",
            Returns::Of(|fields, _| Ok(first(fields))),
            slice,
        ),
        function(
            "pg_element_of",
            Returns::Of(|fields, _| Ok(element_of_second(fields))),
            |call| Ok(Arc::clone(&call.arrays[0])),
        ),
        function(
            "pg_array_or_empty",
            Returns::Of(|fields, _| Ok(first(fields))),
            or_empty,
        ),
        function(
            "pg_ordinals",
            Returns::Of(|_, _| Ok(list_field(DataType::Int64))),
            ordinals,
        ),
        function("pg_array_length", integer, |call| {
            bound(call, |length, _| (length > 0).then_some(length))
        }),
        function("pg_array_upper", integer, |call| {
            bound(call, |length, base| {
                (length > 0).then_some(length - 1 + base)
            })
        }),
        function("pg_array_lower", integer, |call| {
            bound(call, |length, base| (length > 0).then_some(base))
        }),
        function("pg_array_ndims", integer, |call| {
            let mut dimensions = 1;
            let mut kind = call.arrays[0].data_type().clone();
            while let DataType::List(item) = &kind {
                dimensions += i32::from(matches!(item.data_type(), DataType::List(_)));
                kind = item.data_type().clone();
            }
            bound(call, |length, _| (length > 0).then_some(dimensions))
        }),
        function("pg_array_dims", Returns::Type("text"), |call| {
            let lists = lists(call, 0)?;
            let base = base(call.fields.first());
            let dimensions = |row: usize| {
                let lengths = lengths(&lists, row).into_iter();
                let dimensions = lengths.map(|length| format!("[{base}:{}]", length - 1 + base));
                Some(dimensions.collect::<String>()).filter(|text| !text.is_empty())
            };
            Ok(Arc::new(
                (0..call.rows).map(dimensions).collect::<StringArray>(),
            ))
        }),
        function(
            "array_fill",
            Returns::Of(|fields, _| {
                let element = fields.first().map(|field| field.data_type().clone());
                Ok(list_field(element.unwrap_or(DataType::Utf8)))
            }),
            filled,
        ),
        function(
            "trim_array",
            Returns::Of(|fields, _| Ok(first(fields))),
            |call| {
                let (lists, count) = (lists(call, 0)?, call.integers(1)?);
                rebuilt(&lists, |row, length| {
                    (0, (length - count.value(row)).max(0))
                })
            },
        ),
        function("pg_cardinality", integer, |call| {
            // Of arrays of arrays, all that are in them.
            let lists = lists(call, 0)?;
            let count = |row: usize| lists.is_valid(row).then(|| elements(&lists.value(row)));
            Ok(Arc::new((0..call.rows).map(count).collect::<Int32Array>()))
        }),
        function("pg_array_position", integer, position),
        function("pg_array_to_string", Returns::Type("text"), to_string),
        function("pg_string_to_array", Returns::Type("_text"), split),
        function("pg_list_string_to_table", Returns::Type("_text"), split),
        function(
            "pg_list_generate_series",
            Returns::Of(|fields, _| Ok(series_field(fields))),
            series,
        ),
        function(
            "pg_list_generate_subscripts",
            Returns::Of(|_, _| Ok(list_field(DataType::Int32))),
            subscripts,
        ),
        function(
            "pg_list_pg_expandarray",
            Returns::Of(|fields, _| Ok(expanded_field(fields))),
            expand,
        ),
        function(
            "pg_list_pg_partition_ancestors",
            Returns::Of(|_, _| Ok(list_field(DataType::Int32))),
            nothing,
        ),
        function(
            "pg_list_pg_partition_tree",
            Returns::Of(|_, _| Ok(list_field(DataType::Int32))),
            nothing,
        ),
        function(
            "pg_list_aclexplode",
            Returns::Of(|_, _| Ok(grants_field())),
            nothing,
        ),
        function(
            "pg_list_pg_options_to_table",
            Returns::Of(|_, _| Ok(options_field())),
            options,
        ),
        function("pg_contains", boolean, |call| holds(call, 0, 1)),
        function("pg_contained", boolean, |call| holds(call, 1, 0)),
        function("pg_overlap", boolean, overlap),
    ]
}

fn first(fields: &[FieldRef]) -> Field {
    match fields.first() {
        Some(field) if matches!(field.data_type(), DataType::Utf8 | DataType::Null) => {
            list_field(DataType::Utf8)
        }
        Some(field) => field.as_ref().clone(),
        None => list_field(DataType::Utf8),
    }
}

fn list_field(element: DataType) -> Field {
    Field::new("", types::list_of(element), true)
}

/// An element of the first argument.
pub(super) fn element_field(fields: &[FieldRef]) -> Field {
    let Some(list) = fields.first() else {
        return Field::new("", DataType::Utf8, true);
    };
    let element = match list.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type().clone()
        }
        _ => DataType::Utf8,
    };
    marked_element(Field::new("", element, true), list)
}

/// A value of the first argument, which may be an array of arrays.
fn innermost_field(fields: &[FieldRef]) -> Field {
    let Some(list) = fields.first() else {
        return Field::new("", DataType::Utf8, true);
    };
    let mut kind = list.data_type();
    while let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) =
        kind
    {
        kind = item.data_type();
    }
    let kind = match kind {
        kind if kind == list.data_type() => DataType::Utf8,
        kind => kind.clone(),
    };
    marked_element(Field::new("", kind, true), list)
}

/// The first argument, an element of the second.
fn element_of_second(fields: &[FieldRef]) -> Field {
    let [element, list, ..] = fields else {
        return Field::new("", DataType::Utf8, true);
    };
    marked_element(Field::new("", element.data_type().clone(), true), list)
}

fn marked_element(element: Field, list: &Field) -> Field {
    match list.metadata().get(types::TYPE_KEY).map(String::as_str) {
        Some("oidvector") => types::marked(element, "oid"),
        Some(kind) => match kind.strip_prefix('_') {
            Some(kind) => types::marked(element, kind),
            None => element,
        },
        None => element,
    }
}

/// The list that an argument is; a text is read as one.
fn lists(call: &Call, at: usize) -> Result<GenericListArray<i32>> {
    let Some(values) = call.arrays.get(at) else {
        return fault(Fault::Semantic, "an array is missing");
    };
    match values.data_type() {
        DataType::List(_) => Ok(values.as_list::<i32>().clone()),
        DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Ok(cast(values, &DataType::List(Arc::clone(item)))?
                .as_list::<i32>()
                .clone())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            let mut read = ListBuilder::new(StringBuilder::new());
            for text in &call.texts(at)? {
                match text.map(|text| (text, array_elements(text))) {
                    None => read.append_null(),
                    Some((_, Some(elements))) => read.append_value(elements),
                    Some((text, None)) => {
                        return fault(
                            Fault::InvalidText,
                            format!("malformed array literal: \"{text}\""),
                        );
                    }
                }
            }
            Ok(read.finish())
        }
        other => fault(
            Fault::DatatypeMismatch,
            format!(
                "{} is not an array",
                types::natural(other).unwrap_or_default()
            ),
        ),
    }
}

/// Vectors of the catalogs are counted from 0, arrays from 1.
fn base(field: Option<&FieldRef>) -> i32 {
    match field.and_then(|field| field.metadata().get(types::TYPE_KEY)) {
        Some(kind) if kind.ends_with("vector") => 0,
        _ => 1,
    }
}

/// `pg_any('=', x, array)`: true where one compares so; NULL where none does and one is unknown.
fn compare_elements(call: &Call, all: bool) -> Result<ArrayRef> {
    let operator = call.texts(0)?;
    let operator = operator.iter().flatten().next().unwrap_or("=").to_owned();
    let lists = lists(call, 2)?;
    let mut answers: Vec<Option<bool>> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if lists.is_null(row) {
            answers.push(None);
            continue;
        }
        let elements = lists.value(row);
        if elements.is_empty() {
            answers.push(Some(all));
            continue;
        }
        let value = call.arrays[1].slice(row, 1);
        let compared = compare(&operator, &value, &elements)?;
        let decisive = compared.iter().any(|answer| answer == Some(!all));
        let unknown = compared.iter().any(|answer| answer.is_none());
        answers.push(match (decisive, unknown) {
            (true, _) => Some(!all),
            (false, true) => None,
            (false, false) => Some(all),
        });
    }
    Ok(Arc::new(BooleanArray::from(answers)))
}

/// One value against each element.
fn compare(operator: &str, value: &ArrayRef, elements: &ArrayRef) -> Result<BooleanArray> {
    let (value, elements) = common(value, elements)?;
    let value_row = datafusion::arrow::array::Scalar::new(Arc::clone(&value));
    Ok(match operator {
        "=" => cmp::eq(&value_row, &elements)?,
        "<>" | "!=" => cmp::neq(&value_row, &elements)?,
        "<" => cmp::lt(&value_row, &elements)?,
        "<=" => cmp::lt_eq(&value_row, &elements)?,
        ">" => cmp::gt(&value_row, &elements)?,
        ">=" => cmp::gt_eq(&value_row, &elements)?,
        pattern => {
            let texts = (plain_texts(&value)?, plain_texts(&elements)?);
            let text = texts.0.is_valid(0).then(|| texts.0.value(0).to_owned());
            let answer = |element: Option<&str>| -> Result<Option<bool>> {
                let (Some(text), Some(element)) = (text.as_deref(), element) else {
                    return Ok(None);
                };
                Ok(Some(match pattern {
                    "~~" | "LIKE" => like(text, element, Some('\\'), false),
                    "!~~" => !like(text, element, Some('\\'), false),
                    "~~*" => like(text, element, Some('\\'), true),
                    "!~~*" => !like(text, element, Some('\\'), true),
                    "~" => matches(text, element, false)?,
                    "~*" => matches(text, element, true)?,
                    "!~" => !matches(text, element, false)?,
                    "!~*" => !matches(text, element, true)?,
                    other => {
                        return fault(
                            Fault::UndefinedFunction,
                            format!("operator does not exist: {other}"),
                        );
                    }
                }))
            };
            texts
                .1
                .iter()
                .map(answer)
                .collect::<Result<BooleanArray>>()?
        }
    })
}

fn plain_texts(values: &ArrayRef) -> Result<StringArray> {
    let field = Field::new("", values.data_type().clone(), true);
    text::texts(values, &field, &NoNames, Style::default())
}

/// Both as one type: a text is read as the other's.
fn common(value: &ArrayRef, elements: &ArrayRef) -> Result<(ArrayRef, ArrayRef)> {
    let is_text = |kind: &DataType| {
        matches!(
            kind,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
        )
    };
    let (left, right) = (value.data_type(), elements.data_type());
    let target = match (left, right) {
        (left, right) if left == right => left.clone(),
        (left, right) if is_text(left) && is_text(right) => DataType::Utf8,
        (left, right) if is_text(left) => right.clone(),
        (left, right) if is_text(right) => left.clone(),
        (left, right) if left.is_integer() && right.is_integer() => DataType::Int64,
        (left, right) if left.is_numeric() && right.is_numeric() => DataType::Float64,
        (left, _) => left.clone(),
    };
    Ok((cast(value, &target)?, cast(elements, &target)?))
}

/// `a[2]`, `a[2][1]`: NULL where there is no such place, and where an array has more dimensions or fewer.
fn subscript(call: &Call) -> Result<ArrayRef> {
    let mut lists = lists(call, 0)?;
    let subscripts = call.arrays.len().saturating_sub(1);
    if casts::dimensions_of(lists.data_type()) != subscripts {
        return Ok(new_null_array(call.returns.data_type(), call.rows));
    }
    let base = i64::from(base(call.fields.first()));
    let mut places: Vec<Option<usize>> = (0..call.rows).map(Some).collect();
    for at in 1..=subscripts {
        let wanted = call.integers(at)?;
        for (row, place) in places.iter_mut().enumerate() {
            *place = place.and_then(|list| {
                if lists.is_null(list) || wanted.is_null(row) {
                    return None;
                }
                let at = wanted.value(row) - base;
                let length = i64::from(lists.value_length(list));
                let start = i64::from(lists.value_offsets()[list]);
                (0..length)
                    .contains(&at)
                    .then(|| usize::try_from(start + at).ok())?
            });
        }
        if at < subscripts {
            lists = lists.values().as_list::<i32>().clone();
        }
    }
    let places = places.into_iter();
    let places = places.map(|place| u64::try_from(place?).ok());
    Ok(take(
        lists.values(),
        &places.collect::<UInt64Array>(),
        None,
    )?)
}

fn slice(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let (lower, upper) = (call.integers(1)?, call.integers(2)?);
    let base = i64::from(base(call.fields.first()));
    rebuilt(&lists, |row, length| {
        let from = if lower.is_valid(row) {
            (lower.value(row) - base).max(0)
        } else {
            0
        };
        let to = if upper.is_valid(row) {
            (upper.value(row) - base + 1).min(length)
        } else {
            length
        };
        (from, to.max(from))
    })
}

/// `array_fill(x, array[n])`: n times the same, in one dimension.
fn filled(call: &Call) -> Result<ArrayRef> {
    const MOST: i64 = 1 << 27;
    let sizes = lists(call, 1)?;
    let mut places = Vec::new();
    let mut lengths = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let size = cast(&sizes.value(row), &DataType::Int64)?;
        let size = size.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
        if size.len() > 1 {
            return fault(
                Fault::InvalidArgument,
                "arrays of more than one dimension are not filled",
            );
        }
        let count = size.iter().flatten().next().unwrap_or(0);
        if !(0..=MOST).contains(&count) {
            return fault(
                Fault::OutOfRange,
                format!("array size exceeds the maximum allowed ({MOST})"),
            );
        }
        let count = usize::try_from(count).unwrap_or(0);
        places.extend(std::iter::repeat_n(u64::try_from(row).unwrap_or(0), count));
        lengths.push(count);
    }
    let values = take(&call.arrays[0], &UInt64Array::from(places), None)?;
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    )?))
}

/// Lists with the part of each that `part` says.
fn rebuilt(
    lists: &GenericListArray<i32>,
    part: impl Fn(usize, i64) -> (i64, i64),
) -> Result<ArrayRef> {
    let mut places = Vec::new();
    let mut lengths = Vec::with_capacity(lists.len());
    for row in 0..lists.len() {
        let length = i64::from(lists.value_length(row));
        let (from, to) = part(row, length);
        let (from, to) = (from.min(length), to.min(length));
        let start = i64::from(lists.value_offsets()[row]);
        places.extend((from..to).filter_map(|at| u64::try_from(start + at).ok()));
        lengths.push(usize::try_from(to - from).unwrap_or(0));
    }
    let values = take(lists.values(), &UInt64Array::from(places), None)?;
    let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        values,
        lists.nulls().cloned(),
    )?))
}

fn or_empty(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let item = Arc::new(Field::new_list_field(
        lists.values().data_type().clone(),
        true,
    ));
    let lengths = (0..lists.len()).map(|row| {
        if lists.is_null(row) {
            0
        } else {
            usize::try_from(lists.value_length(row)).unwrap_or(0)
        }
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = match lists.nulls() {
        None => lists.values().slice(
            usize::try_from(lists.value_offsets()[0]).unwrap_or(0),
            usize::try_from(offsets.last().copied().unwrap_or(0)).unwrap_or(0),
        ),
        Some(_) => {
            let parts: Vec<ArrayRef> = (0..lists.len())
                .filter(|row| lists.is_valid(*row))
                .map(|row| lists.value(row))
                .collect();
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            match parts.is_empty() {
                true => new_null_array(lists.values().data_type(), 0),
                false => concat(&parts)?,
            }
        }
    };
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        item, offsets, values, None,
    )?))
}

/// `[1, 2, …]` as long as the longest of the arguments.
fn ordinals(call: &Call) -> Result<ArrayRef> {
    let lists = (0..call.arrays.len())
        .map(|at| lists(call, at))
        .collect::<Result<Vec<_>>>()?;
    let mut result = ListBuilder::new(Int64Builder::new());
    for row in 0..call.rows {
        let length = lists
            .iter()
            .filter(|list| list.is_valid(row))
            .map(|list| i64::from(list.value_length(row)))
            .max();
        result.append_option(length.map(|length| (1..=length).map(Some)));
    }
    Ok(Arc::new(result.finish()))
}

fn bound(call: &Call, answer: impl Fn(i32, i32) -> Option<i32>) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let dimension = call.integers(1)?;
    let base = base(call.fields.first());
    let value = |row: usize| {
        let at = match call.has(1) {
            true => dimension.is_valid(row).then(|| dimension.value(row) - 1)?,
            false => 0,
        };
        let lengths = lengths(&lists, row);
        answer(*lengths.get(usize::try_from(at).ok()?)?, base)
    };
    Ok(Arc::new((0..call.rows).map(value).collect::<Int32Array>()))
}

/// How long an array is in each of its dimensions; nothing for an empty one.
fn lengths(lists: &GenericListArray<i32>, row: usize) -> Vec<i32> {
    let mut lengths = Vec::new();
    let (mut lists, mut at) = (lists.clone(), row);
    while lists.is_valid(at) && lists.value_length(at) > 0 {
        lengths.push(lists.value_length(at));
        let Some(inner) = lists.values().as_list_opt::<i32>() else {
            break;
        };
        at = usize::try_from(lists.value_offsets()[at]).unwrap_or(0);
        lists = inner.clone();
    }
    lengths
}

fn elements(values: &ArrayRef) -> i32 {
    match values.data_type() {
        DataType::List(_) => {
            let lists = values.as_list::<i32>();
            lists.iter().flatten().map(|list| elements(&list)).sum()
        }
        _ => i32::try_from(values.len()).unwrap_or(i32::MAX),
    }
}

fn position(call: &Call) -> Result<ArrayRef> {
    let starts = call.integers(2)?;
    let lists = lists(call, 0)?;
    let mut answers = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let answer = match lists.is_valid(row) {
            false => None,
            true => {
                let wanted = call.arrays[1].slice(row, 1);
                let (value, elements) = common(&wanted, &lists.value(row))?;
                let value = datafusion::arrow::array::Scalar::new(value);
                let start = if starts.is_valid(row) {
                    starts.value(row)
                } else {
                    1
                };
                let skipped = usize::try_from(start - 1).unwrap_or(0);
                cmp::not_distinct(&value, &elements)?
                    .iter()
                    .enumerate()
                    .skip(skipped)
                    .find(|(_, same)| *same == Some(true))
                    .map(|(at, _)| at)
            }
        };
        answers.push(answer.and_then(|at| i32::try_from(at + 1).ok()));
    }
    Ok(Arc::new(Int32Array::from(answers)))
}

/// The values of arrays, whatever dimensions these have, and where those of each row begin and end.
fn innermost(lists: &GenericListArray<i32>) -> (ArrayRef, Vec<usize>) {
    let place = |offset: i32| usize::try_from(offset).unwrap_or(0);
    let mut bounds: Vec<usize> = lists.value_offsets().iter().map(|at| place(*at)).collect();
    let mut values = Arc::clone(lists.values());
    while let Some(inner) = values.as_list_opt::<i32>().cloned() {
        let offsets = inner.value_offsets();
        for bound in &mut bounds {
            *bound = offsets.get(*bound).copied().map_or(0, place);
        }
        values = Arc::clone(inner.values());
    }
    (values, bounds)
}

fn to_string(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let (values, bounds) = innermost(&lists);
    let item = Field::new("", values.data_type().clone(), true);
    let item = match call
        .fields
        .first()
        .and_then(|field| field.metadata().get(types::TYPE_KEY))
    {
        Some(kind) => types::marked(item, kind.trim_start_matches('_')),
        None => item,
    };
    let elements = text::texts(&values, &item, &NoNames, call.style())?;
    let (separators, nulls) = (call.texts(1)?, call.texts(2)?);
    let join = |row: usize| {
        if lists.is_null(row) || separators.is_null(row) {
            return None;
        }
        let parts: Vec<&str> = (bounds[row]..bounds[row + 1])
            .filter_map(|at| match elements.is_valid(at) {
                true => Some(elements.value(at)),
                false => nulls.is_valid(row).then(|| nulls.value(row)),
            })
            .collect();
        Some(parts.join(separators.value(row)))
    };
    Ok(Arc::new((0..call.rows).map(join).collect::<StringArray>()))
}

/// A text at its separators.
fn split(call: &Call) -> Result<ArrayRef> {
    let (texts, separators, third) = (call.texts(0)?, call.texts(1)?, call.texts(2)?);
    let mut result = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if texts.is_null(row) {
            result.append_null();
            continue;
        }
        let text = texts.value(row);
        let separator = separators.is_valid(row).then(|| separators.value(row));
        let parts: Vec<String> = match separator {
            _ if text.is_empty() => Vec::new(),
            None => text.chars().map(String::from).collect(),
            Some("") => vec![text.to_owned()],
            Some(separator) => text.split(separator).map(str::to_owned).collect(),
        };
        let null = third.is_valid(row).then(|| third.value(row));
        result.append_value(
            parts
                .into_iter()
                .map(|part| (Some(part.as_str()) != null).then_some(part)),
        );
    }
    Ok(Arc::new(result.finish()))
}

fn series_field(fields: &[FieldRef]) -> Field {
    let kinds: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
    let instants = DataType::Timestamp(TimeUnit::Microsecond, Some(types::UTC.into()));
    let has_interval = matches!(kinds.get(2), Some(DataType::Interval(_)));
    let element = match kinds.first() {
        Some(DataType::Timestamp(_, zone)) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        Some(DataType::Date32) => instants,
        Some(kind) if kind.is_string() && has_interval => instants,
        _ if kinds.iter().any(|kind| is_fraction(kind)) => {
            let digits = |kind: &&DataType| match kind {
                DataType::Decimal128(_, scale) => *scale,
                kind if kind.is_floating() => 10,
                _ => 0,
            };
            DataType::Decimal128(38, kinds.iter().map(digits).max().unwrap_or(0))
        }
        _ if kinds.contains(&&DataType::Int64) => DataType::Int64,
        _ => DataType::Int32,
    };
    list_field(element)
}

fn is_fraction(kind: &DataType) -> bool {
    kind.is_floating() || kind.is_decimal()
}

/// No series that a statement wants in one row is longer.
const LONGEST: usize = 10_000_000;

fn series(call: &Call) -> Result<ArrayRef> {
    let DataType::List(item) = call.returns.data_type() else {
        return fault(Fault::Internal, "a series is no list");
    };
    if let DataType::Timestamp(..) = item.data_type() {
        return moments(call, item.data_type());
    }
    // Numbers of the wanted digits, as whole numbers of the last of them.
    let (number, one) = match item.data_type() {
        DataType::Decimal128(_, scale) => (
            item.data_type().clone(),
            10_i128.pow(u32::try_from(*scale).unwrap_or(0)),
        ),
        _ => (DataType::Decimal128(38, 0), 1),
    };
    let numbers = |at: usize| -> Result<Decimal128Array> {
        match call.arrays.get(at) {
            Some(values) => Ok(cast(values, &number)?
                .as_primitive::<Decimal128Type>()
                .clone()),
            None => Ok(Decimal128Array::from(vec![one; call.rows])),
        }
    };
    let (from, to, step) = (numbers(0)?, numbers(1)?, numbers(2)?);
    let mut lengths = Vec::with_capacity(call.rows);
    let mut values: Vec<i128> = Vec::new();
    for row in 0..call.rows {
        let before = values.len();
        if from.is_valid(row) && to.is_valid(row) && step.is_valid(row) {
            let step = step.value(row);
            if step == 0 {
                return fault(Fault::InvalidArgument, "step size cannot equal zero");
            }
            let mut value = from.value(row);
            while if step > 0 {
                value <= to.value(row)
            } else {
                value >= to.value(row)
            } {
                if values.len() - before >= LONGEST {
                    return fault(Fault::OutOfMemory, "a series of a row is too long");
                }
                values.push(value);
                let Some(next) = value.checked_add(step) else {
                    break;
                };
                value = next;
            }
        }
        lengths.push(values.len() - before);
    }
    let values = Decimal128Array::from(values).with_data_type(number);
    let values = cast(&values, item.data_type())?;
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    )?))
}

/// An end of a series of times. What says no zone is of the session's.
fn end(call: &Call, at: usize, element: &DataType) -> Result<TimestampMicrosecondArray> {
    let kind = match element {
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        _ => "timestamp",
    };
    let target = types::field("", kind);
    let ends = casts::from_values(&call.arrays[at], &call.fields[at], &target, &call.locale())?;
    let ends = cast(&ends, element)?;
    Ok(ends.as_primitive::<TimestampMicrosecondType>().clone())
}

fn moments(call: &Call, element: &DataType) -> Result<ArrayRef> {
    let (from, to) = (end(call, 0, element)?, end(call, 1, element)?);
    let is_instant = matches!(element, DataType::Timestamp(_, Some(_)));
    let days_of = (is_instant && call.zone() != types::UTC).then(|| call.zone());
    let steps = match call.arrays.get(2) {
        Some(steps) if *steps.data_type() == DataType::Utf8 => {
            datetime::intervals(steps.as_string::<i32>(), call.style())?
        }
        Some(steps) => cast(
            steps,
            &DataType::Interval(datafusion::arrow::datatypes::IntervalUnit::MonthDayNano),
        )?,
        None => return fault(Fault::UndefinedFunction, "a series of times needs a step"),
    };
    let steps = steps.as_primitive::<datafusion::arrow::datatypes::IntervalMonthDayNanoType>();
    let mut lengths = Vec::with_capacity(call.rows);
    let mut values = Vec::new();
    for row in 0..call.rows {
        let before = values.len();
        if from.is_valid(row) && to.is_valid(row) && steps.is_valid(row) {
            let (mut moment, last, step) = (from.value(row), to.value(row), steps.value(row));
            let Some(next) = datetime::add_in_zone(moment, &step, days_of)? else {
                return fault(Fault::DatetimeOverflow, "timestamp out of range");
            };
            if next == moment {
                return fault(Fault::InvalidArgument, "step size cannot equal zero");
            }
            let forward = next > moment;
            while if forward {
                moment <= last
            } else {
                moment >= last
            } {
                if values.len() - before >= LONGEST {
                    return fault(Fault::OutOfMemory, "a series of a row is too long");
                }
                values.push(moment);
                let Some(next) = datetime::add_in_zone(moment, &step, days_of)? else {
                    break;
                };
                moment = next;
            }
        }
        lengths.push(values.len() - before);
    }
    let values: ArrayRef = Arc::new(TimestampMicrosecondArray::from(values));
    let values = cast(&values, element)?;
    let item = Arc::new(Field::new_list_field(element.clone(), true));
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    )?))
}

fn subscripts(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let base = base(call.fields.first());
    let mut result = ListBuilder::new(datafusion::arrow::array::Int32Builder::new());
    for row in 0..call.rows {
        match lists.is_valid(row) {
            true => result.append_value((0..lists.value_length(row)).map(|at| Some(at + base))),
            false => result.append_null(),
        }
    }
    Ok(Arc::new(result.finish()))
}

fn expanded_field(fields: &[FieldRef]) -> Field {
    let element = element_field(fields).with_name("x");
    let pair = vec![element, Field::new("n", DataType::Int32, true)];
    list_field(DataType::Struct(pair.into()))
}

/// The elements with their numbers.
fn expand(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let DataType::List(item) = call.returns.data_type() else {
        return fault(Fault::Internal, "an expanded array is no list");
    };
    let DataType::Struct(pair) = item.data_type() else {
        return fault(Fault::Internal, "an expanded array has no pairs");
    };
    let whole = rebuilt(&lists, |_, length| (0, length))?;
    let whole = whole.as_list::<i32>();
    let numbers: Int32Array = (0..whole.len())
        .flat_map(|row| 1..=whole.value_length(row))
        .collect::<Vec<_>>()
        .into();
    let pairs = StructArray::try_new(
        pair.clone(),
        vec![Arc::clone(whole.values()), Arc::new(numbers)],
        None,
    )?;
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        Arc::clone(item),
        whole.offsets().clone(),
        Arc::new(pairs),
        whole.nulls().cloned(),
    )?))
}

fn nothing(call: &Call) -> Result<ArrayRef> {
    Ok(new_null_array(call.returns.data_type(), call.rows))
}

fn grants_field() -> Field {
    let columns = vec![
        types::field("grantor", "oid"),
        types::field("grantee", "oid"),
        types::field("privilege_type", "text"),
        types::field("is_grantable", "bool"),
    ];
    list_field(DataType::Struct(columns.into()))
}

fn options_field() -> Field {
    let columns = vec![
        types::field("option_name", "text"),
        types::field("option_value", "text"),
    ];
    list_field(DataType::Struct(columns.into()))
}

/// `{host=db,port=5432}` as names and values.
fn options(call: &Call) -> Result<ArrayRef> {
    let lists = lists(call, 0)?;
    let DataType::List(item) = call.returns.data_type() else {
        return fault(Fault::Internal, "options are no list");
    };
    let DataType::Struct(pair) = item.data_type() else {
        return fault(Fault::Internal, "options have no names and values");
    };
    let whole = rebuilt(&lists, |_, length| (0, length))?;
    let whole = whole.as_list::<i32>();
    let texts = cast(whole.values(), &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let parts = |text: &str| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    };
    let parts: Vec<_> = texts.iter().map(|text| text.map(parts)).collect();
    let name = |part: &Option<(String, Option<String>)>| part.as_ref().map(|part| part.0.clone());
    let value = |part: &Option<(String, Option<String>)>| part.as_ref()?.1.clone();
    let names: StringArray = parts.iter().map(name).collect();
    let values: StringArray = parts.iter().map(value).collect();
    let pairs = StructArray::try_new(pair.clone(), vec![Arc::new(names), Arc::new(values)], None)?;
    Ok(Arc::new(GenericListArray::<i32>::try_new(
        Arc::clone(item),
        whole.offsets().clone(),
        Arc::new(pairs),
        whole.nulls().cloned(),
    )?))
}

/// Whether one array, or one JSON document, holds another.
fn holds(call: &Call, whole: usize, part: usize) -> Result<ArrayRef> {
    if !matches!(
        call.arrays
            .get(whole)
            .map(|array| array.data_type().clone()),
        Some(DataType::List(_))
    ) {
        return super::documents::holds(call, whole, part);
    }
    let (whole, part) = (lists(call, whole)?, lists(call, part)?);
    let mut answers = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if whole.is_null(row) || part.is_null(row) {
            answers.push(None);
            continue;
        }
        let mut all = true;
        for at in 0..part.value(row).len() {
            let element = part.value(row).slice(at, 1);
            all &= compare("=", &element, &whole.value(row))?
                .iter()
                .any(|same| same == Some(true));
        }
        answers.push(Some(all));
    }
    Ok(Arc::new(BooleanArray::from(answers)))
}

fn overlap(call: &Call) -> Result<ArrayRef> {
    let (left, right) = (lists(call, 0)?, lists(call, 1)?);
    let mut answers = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        if left.is_null(row) || right.is_null(row) {
            answers.push(None);
            continue;
        }
        let mut any = false;
        for at in 0..left.value(row).len() {
            let element = left.value(row).slice(at, 1);
            any |= compare("=", &element, &right.value(row))?
                .iter()
                .any(|same| same == Some(true));
        }
        answers.push(Some(any));
    }
    Ok(Arc::new(BooleanArray::from(answers)))
}
