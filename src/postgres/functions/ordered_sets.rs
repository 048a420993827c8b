//! Aggregates over a group's values in order, as functions of the list of them: `percentile_disc`, `mode`, `json_agg`.
//!
//! A statement's `json_agg(x ORDER BY y)` is written as `pg_json_list(array_agg(x ORDER BY y))` (see
//! [`crate::postgres::rewrite`]): its rows, its order and its filter are those of the list.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, IntervalMonthDayNanoArray, ListArray, StringArray,
    UInt32Array, new_null_array,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, concat, filter, is_not_null, take};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Float64Type, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::logical_expr::ScalarUDF;
use serde_json::Value;

use super::arithmetic::{minus, plus, times};
use super::arrays::element_field;
use super::documents::{self, document_text, element_of, read, shown};
use crate::error::Fault;
use crate::postgres::casts::array_elements;
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::names_of_objects::NoNames;
use crate::postgres::{text, types};

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let mut functions = vec![
        function(
            "pg_percentile_disc",
            Returns::Of(|fields, _| Ok(percentile_field(fields))),
            percentile_disc,
        ),
        function(
            "pg_percentile_cont",
            Returns::Of(|fields, _| {
                if lists_texts(fields) {
                    return fault(
                        Fault::UndefinedFunction,
                        "function percentile_cont(numeric, text) does not exist",
                    );
                }
                let listed = fields.get(1).is_some_and(|fraction| {
                    matches!(fraction.data_type(), DataType::List(_) | DataType::Utf8)
                });
                Ok(types::field(
                    "",
                    match (lists_intervals(fields), listed) {
                        (true, true) => "_interval",
                        (true, false) => "interval",
                        (false, true) => "_float8",
                        (false, false) => "float8",
                    },
                ))
            }),
            percentile_cont,
        ),
        // `string_agg` of values in an order: they are listed first.
        function("pg_text_list", Returns::Type("text"), text_list),
        function(
            "pg_mode",
            Returns::Of(|fields, _| Ok(element_field(fields))),
            mode,
        ),
    ];
    for (prefix, binary) in [("json", false), ("jsonb", true)] {
        let document = Returns::Type(prefix);
        functions.push(function(
            &format!("pg_{prefix}_list"),
            document,
            move |call| json_list(call, binary),
        ));
        functions.push(function(
            &format!("pg_{prefix}_pairs"),
            document,
            move |call| json_pairs(call, binary),
        ));
    }
    functions
}

/// Whether the values are texts, between which there is nothing.
fn lists_texts(fields: &[FieldRef]) -> bool {
    fields.first().is_some_and(
        |list| matches!(list.data_type(), DataType::List(item) if item.data_type().is_string()),
    )
}

/// An element, or a list of them where a list of fractions is asked for.
fn percentile_field(fields: &[FieldRef]) -> Field {
    match fields.get(1).map(|field| field.data_type()) {
        Some(DataType::List(_)) => match fields.first() {
            Some(list) => list.as_ref().clone(),
            None => Field::new("", DataType::Null, true),
        },
        _ => element_field(fields),
    }
}

/// The values of a row's list that aren't NULL; nothing where the list is.
fn values(lists: &ArrayRef, row: usize) -> Result<Option<ArrayRef>> {
    if lists.is_null(row) {
        return Ok(None);
    }
    let all = lists.as_list::<i32>().value(row);
    let present = filter(&all, &is_not_null(&all)?)?;
    Ok((!present.is_empty()).then_some(present))
}

/// The fractions that are asked for, and whether as a list.
fn fractions(call: &Call) -> Result<(Vec<f64>, bool)> {
    let Some(given) = call.arrays.get(1).filter(|given| !given.is_empty()) else {
        return Ok((Vec::new(), false));
    };
    let (numbers, listed) = match given.data_type() {
        DataType::List(_) => (given.as_list::<i32>().value(0), true),
        DataType::Utf8 => {
            let texts = array_elements(given.as_string::<i32>().value(0)).unwrap_or_default();
            (Arc::new(StringArray::from(texts)) as ArrayRef, true)
        }
        _ => (given.slice(0, 1), false),
    };
    let numbers = cast(&numbers, &DataType::Float64)?;
    let numbers: Vec<f64> = numbers
        .as_primitive::<Float64Type>()
        .iter()
        .flatten()
        .collect();
    if let Some(wrong) = numbers.iter().find(|number| !(0.0..=1.0).contains(*number)) {
        return fault(
            Fault::OutOfRange,
            format!("percentile value {wrong} is not between 0 and 1"),
        );
    }
    Ok((numbers, listed))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of a count is within it"
)]
fn percentile_disc(call: &Call) -> Result<ArrayRef> {
    let (fractions, listed) = fractions(call)?;
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(call.rows);
    let element = element_field(&call.fields);
    for row in 0..call.rows {
        let Some(values) = values(&call.arrays[0], row)? else {
            parts.push(new_null_array(
                element.data_type(),
                if listed { 0 } else { 1 },
            ));
            continue;
        };
        let at = |fraction: &f64| {
            let rank = (fraction * values.len() as f64).ceil() as u32;
            rank.max(1) - 1
        };
        let places: UInt32Array = fractions.iter().map(at).map(Some).collect();
        parts.push(take(&values, &places, None)?);
    }
    joined(&parts, listed, element.data_type())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a fraction of a count is within it"
)]
fn percentile_cont(call: &Call) -> Result<ArrayRef> {
    let (fractions, listed) = fractions(call)?;
    let element = match lists_intervals(&call.fields) {
        true => DataType::Interval(IntervalUnit::MonthDayNano),
        false => DataType::Float64,
    };
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let Some(values) = values(&call.arrays[0], row)? else {
            let count = if listed { 0 } else { 1 };
            parts.push(new_null_array(&element, count));
            continue;
        };
        let values = cast(&values, &element)?;
        let last = (values.len() - 1) as f64;
        let places = fractions.iter().map(|fraction| {
            let place = fraction * last;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            (low, high, place - place.floor())
        });
        parts.push(
            match values.as_primitive_opt::<IntervalMonthDayNanoType>() {
                Some(intervals) => {
                    let between = |(low, high, part)| {
                        let (low, high) = (intervals.value(low), intervals.value(high));
                        plus(&low, &times(&minus(&high, &low)?, part))
                    };
                    let between = places.map(between).collect::<Result<Vec<_>>>()?;
                    Arc::new(IntervalMonthDayNanoArray::from(between))
                }
                None => {
                    let numbers = values.as_primitive::<Float64Type>().values();
                    let between =
                        |(low, high, part)| numbers[low] + part * (numbers[high] - numbers[low]);
                    Arc::new(Float64Array::from_iter_values(places.map(between)))
                }
            },
        );
    }
    joined(&parts, listed, &element)
}

/// Whether the values are intervals.
fn lists_intervals(fields: &[FieldRef]) -> bool {
    let list = fields.first().map(|field| field.data_type());
    matches!(list, Some(DataType::List(item)) if matches!(item.data_type(), DataType::Interval(_)))
}

/// One value of each row, or a list of them; a row without values is NULL.
fn joined(parts: &[ArrayRef], listed: bool, element: &DataType) -> Result<ArrayRef> {
    let arrays: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let all = match arrays.is_empty() {
        true => new_null_array(element, 0),
        false => concat(&arrays)?,
    };
    if !listed {
        return Ok(all);
    }
    let nulls = parts
        .iter()
        .map(|part| !part.is_empty())
        .collect::<Vec<_>>();
    Ok(Arc::new(ListArray::try_new(
        Arc::new(Field::new_list_field(element.clone(), true)),
        OffsetBuffer::from_lengths(parts.iter().map(Array::len)),
        all,
        Some(nulls.into()),
    )?))
}

/// The texts of a list, one behind another with a text between them; NULL where there are none.
fn text_list(call: &Call) -> Result<ArrayRef> {
    let between = call.texts(1)?;
    let mut answers = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        answers.push(match values(&call.arrays[0], row)? {
            Some(values) => {
                let field = element_field(&call.fields);
                let texts = text::texts(&values, &field, &NoNames, call.style())?;
                let between = between.is_valid(row).then(|| between.value(row));
                let texts: Vec<&str> = texts.iter().flatten().collect();
                Some(texts.join(between.unwrap_or_default()))
            }
            None => None,
        });
    }
    Ok(Arc::new(StringArray::from(answers)))
}

/// The value that comes most often; of several, the first.
fn mode(call: &Call) -> Result<ArrayRef> {
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(call.rows);
    let element = element_field(&call.fields);
    for row in 0..call.rows {
        let Some(values) = values(&call.arrays[0], row)? else {
            parts.push(new_null_array(element.data_type(), 1));
            continue;
        };
        // Equal values stand together: the list is in order.
        let data = values.to_data();
        let (mut best, mut longest, mut begin) = (0, 0, 0);
        for at in 1..=values.len() {
            if at < values.len() && data.slice(at, 1) == data.slice(begin, 1) {
                continue;
            }
            if at - begin > longest {
                (best, longest) = (begin, at - begin);
            }
            begin = at;
        }
        parts.push(values.slice(best, 1));
    }
    joined(&parts, false, element.data_type())
}

fn items(call: &Call, at: usize, row: usize, binary: bool) -> Result<Vec<String>> {
    let elements = call.arrays[at].as_list::<i32>().value(row);
    let field = element_of(&call.fields[at], elements.data_type());
    let style = documents::style(call);
    (0..elements.len())
        .map(|item| document_text(&elements, &field, item, style, binary))
        .collect()
}

fn json_list(call: &Call, binary: bool) -> Result<ArrayRef> {
    let write = |row: usize| -> Result<Option<String>> {
        if call.arrays[0].is_null(row) {
            return Ok(None);
        }
        let records = matches!(
            call.arrays[0].data_type(),
            DataType::List(item) if matches!(item.data_type(), DataType::Struct(_))
        );
        // Postgres begins a line for each record of a json.
        let separator = if records && !binary { ", \n " } else { ", " };
        let items = items(call, 0, row, binary)?;
        Ok(Some(format!("[{}]", items.join(separator))))
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

fn json_pairs(call: &Call, binary: bool) -> Result<ArrayRef> {
    let write = |row: usize| -> Result<Option<String>> {
        if call.arrays[0].is_null(row) || call.arrays[1].is_null(row) {
            return Ok(None);
        }
        let keys = cast(&call.arrays[0].as_list::<i32>().value(row), &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        if keys.null_count() > 0 {
            return fault(Fault::InvalidArgument, "field name must not be null");
        }
        let values = items(call, 1, row, binary)?;
        let pairs = keys.iter().flatten().zip(values);
        let pairs: Vec<String> = pairs
            .map(|(key, value)| match binary {
                true => format!("{}: {value}", Value::from(key)),
                false => format!("{} : {value}", Value::from(key)),
            })
            .collect();
        Ok(Some(match binary {
            true => shown(&read(&format!("{{{}}}", pairs.join(", ")))?, true),
            false => format!("{{ {} }}", pairs.join(", ")),
        }))
    };
    Ok(Arc::new(
        (0..call.rows).map(write).collect::<Result<StringArray>>()?,
    ))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_row_without_values_has_no_list() {
        let parts: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1, 2])),
            Arc::new(Int64Array::from(Vec::<i64>::new())),
        ];
        let lists =
            joined(&parts, true, &DataType::Int64).map(|lists| (lists.len(), lists.null_count()));
        assert_eq!(lists.ok(), Some((2, 1)));
    }
}
