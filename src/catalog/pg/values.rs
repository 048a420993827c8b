//! Rows of the catalogs, written by column name.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;

use super::dictionary::{SystemColumn, SystemRelation};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth.
    Bool(bool),
    /// A whole number, an OID, or an instant in microseconds.
    Int(i64),
    /// A text of any kind.
    Text(String),
    /// A list, in texts.
    List(Vec<String>),
}

/// A row: its values by the names of their columns.
pub type Row = Vec<(&'static str, Value)>;

/// A row, written as `row! { "column": value, … }`.
macro_rules! row {
    ($($name:literal: $value:expr),* $(,)?) => {
        vec![$(($name, $crate::catalog::pg::Value::from($value))),*]
    };
}

pub(super) use row;

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Value::Int(i64::from(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<Vec<String>> for Value {
    fn from(value: Vec<String>) -> Self {
        Value::List(value)
    }
}

/// The rows as a batch of the relation's columns. What a row leaves out is NULL, or nothing of its type where a column
/// is never NULL.
///
/// # Errors
/// XX000 for a value that isn't of its column's type.
pub fn batch(relation: &SystemRelation, rows: Vec<Row>) -> Result<RecordBatch, DataFusionError> {
    let count = rows.len();
    let rows: Vec<HashMap<&str, Value>> = rows
        .into_iter()
        .map(|row| row.into_iter().collect())
        .collect();
    let schema = relation.schema();
    let columns: Result<Vec<ArrayRef>, DataFusionError> = relation
        .columns
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            let values: Vec<&Value> = rows
                .iter()
                .map(|row| row.get(column.name).unwrap_or(&Value::Null))
                .collect();
            array(column, field, &values)
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(
        schema, columns?, &options,
    )?)
}

fn array(
    column: &SystemColumn,
    field: &Field,
    values: &[&Value],
) -> Result<ArrayRef, DataFusionError> {
    let target = field.data_type();
    let missing = column.required.then(|| nothing(target)).flatten();
    let values = values.iter().map(|value| match (value, &missing) {
        (Value::Null, Some(missing)) => missing.clone(),
        (value, _) => (*value).clone(),
    });
    let array: ArrayRef = match target {
        DataType::Boolean => {
            let bools = values.map(|value| match value {
                Value::Bool(value) => Some(value),
                _ => None,
            });
            Arc::new(bools.collect::<BooleanArray>())
        }
        DataType::List(_) => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for value in values {
                match value {
                    Value::List(items) => lists.append_value(items.into_iter().map(Some)),
                    _ => lists.append_null(),
                }
            }
            Arc::new(lists.finish())
        }
        DataType::Timestamp(..) => {
            let instants: TimestampMicrosecondArray = values.map(|value| whole(&value)).collect();
            Arc::new(instants.with_timezone("UTC"))
        }
        DataType::Utf8 => {
            let texts = values.map(|value| match value {
                Value::Text(text) => Some(text),
                Value::Int(number) => Some(number.to_string()),
                _ => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        DataType::Interval(_) | DataType::Binary => new_null_array(target, values.len()),
        kind if kind.is_floating() => Arc::new(
            values
                .map(|value| whole(&value).map(|number| number as f64))
                .collect::<Float64Array>(),
        ),
        _ => Arc::new(values.map(|value| whole(&value)).collect::<Int64Array>()),
    };
    match array.data_type() == target {
        true => Ok(array),
        false => Ok(cast(&array, target)?),
    }
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn nothing(kind: &DataType) -> Option<Value> {
    match kind {
        DataType::Boolean => Some(Value::Bool(false)),
        DataType::Utf8 => Some(Value::Text(String::new())),
        DataType::List(_) => Some(Value::List(Vec::new())),
        kind if kind.is_numeric() => Some(Value::Int(0)),
        _ => None,
    }
}
