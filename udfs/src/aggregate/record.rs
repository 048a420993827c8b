//! The result of an aggregate that has several parts: a struct of named values.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue};

/// A part: its name and its value, of which NULL has its type too.
pub(crate) type Part = (&'static str, ScalarValue);

/// The type of a struct of such parts.
pub(crate) fn data_type(parts: &[Part]) -> DataType {
    DataType::Struct(fields(parts))
}

/// The struct.
pub(crate) fn scalar(parts: &[Part]) -> Result<ScalarValue> {
    let columns = parts.iter().map(|(_, value)| value.to_array_of_size(1));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let found = StructArray::try_new(fields(parts), columns, None)?;
    Ok(ScalarValue::Struct(Arc::new(found)))
}

fn fields(parts: &[Part]) -> Fields {
    let field = |(name, value): &Part| Field::new(*name, value.data_type(), true);
    parts.iter().map(field).collect()
}

/// A number; NULL for none and for what is no finite one.
pub(crate) fn number(value: Option<f64>) -> ScalarValue {
    ScalarValue::Float64(value.filter(|value| value.is_finite()))
}

/// A count.
pub(crate) fn count(value: f64) -> ScalarValue {
    ScalarValue::Int64(Some(value as i64))
}

/// A text.
pub(crate) fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}
