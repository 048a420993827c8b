//! `drill_key(fixed, name, value, …)`: the cell of a table as JSON, to come back to the rows behind it.
//!
//! The first `fixed` pairs describe the call (`funnel`, `stage`, `as_of` …), the others the cell:
//! `{"function":"stage_conversion","funnel":"sales","cell":{"channel":"web","stage":"won"}}`. A pair whose value
//! is NULL is left out of the first part and is `null` in the cell, where NULL is a value of its own. One text a
//! row. [`funnel_drill`](crate::table::funnel_drill) reads it.

use std::fmt::Write;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::scalar_doc_sections::DOC_SECTION_STRING;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::FunnelError;

/// The function, for plans and registries.
pub fn drill_key_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DrillKey::new()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DrillKey {
    signature: Signature,
}

impl DrillKey {
    fn new() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for DrillKey {
    fn name(&self) -> &str {
        "drill_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    // The check is here because DataFusion makes plain text of an error of `coerce_types`.
    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        if arguments.len().is_multiple_of(2) {
            return Err(FunnelError::WrongCall {
                message: "drill_key() takes a number and pairs of a name and a value".to_owned(),
                hint: "Write drill_key(1, 'funnel', 'sales', 'channel', channel).".to_owned(),
            }
            .into());
        }
        Ok(DataType::Utf8)
    }

    /// The number of fixed pairs, then texts. Other values come as they are: their texts are this function's
    /// own, so that a key is the same whatever the session's texts of times and floats are.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let value = |kind: &DataType| match kind.is_string() || kind.is_null() {
            true => DataType::Utf8,
            false => kind.clone(),
        };
        let types = arguments.iter().skip(1).map(value);
        Ok(std::iter::once(DataType::Int64).chain(types).collect())
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_STRING,
                "The cell of a table as JSON, to come back to the rows behind it with funnel_drill().",
                "drill_key(fixed bigint, name text, value text, ...)",
            )
            .with_argument(
                "fixed",
                "How many of the pairs describe the call; the others are the cell.",
            )
            .with_argument("name, value", "Pairs of a name and a value.")
            .build()
        });
        Some(&PAGE)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fixed = match arguments.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Int64(Some(fixed)))) => {
                usize::try_from(*fixed).unwrap_or(0)
            }
            _ => {
                return Err(FunnelError::InvalidArgument {
                    message: "the first argument of drill_key() must be a literal".to_owned(),
                    hint: "Write how many pairs describe the call.".to_owned(),
                }
                .into());
            }
        };
        let texts: Vec<ArrayRef> = arguments.args[1..]
            .iter()
            .map(|argument| {
                let values = argument.to_array(arguments.number_rows)?;
                Ok(cast(&values, &DataType::Utf8)?)
            })
            .collect::<Result<_>>()?;
        let mut keys = StringBuilder::new();
        for row in 0..arguments.number_rows {
            keys.append_value(key(&texts, fixed, row));
        }
        Ok(ColumnarValue::Array(Arc::new(keys.finish())))
    }
}

fn key(texts: &[ArrayRef], fixed: usize, row: usize) -> String {
    let text = |array: &ArrayRef| {
        let array = array.as_string::<i32>();
        (!array.is_null(row)).then(|| array.value(row).to_owned())
    };
    let pairs: Vec<(String, Option<String>)> = texts
        .chunks_exact(2)
        .map(|pair| (text(&pair[0]).unwrap_or_default(), text(&pair[1])))
        .collect();
    let (call, cell) = pairs.split_at(fixed.min(pairs.len()));
    let mut fields: Vec<String> = call
        .iter()
        .filter_map(|(name, value)| Some(format!("{}:{}", quoted(name), quoted(value.as_deref()?))))
        .collect();
    if !cell.is_empty() {
        let values: Vec<String> = cell
            .iter()
            .map(|(name, value)| {
                let value = value.as_deref().map_or_else(|| "null".to_owned(), quoted);
                format!("{}:{value}", quoted(name))
            })
            .collect();
        fields.push(format!("\"cell\":{{{}}}", values.join(",")));
    }
    format!("{{{}}}", fields.join(","))
}

/// A JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                // Writing to a String can't fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::StringArray;

    #[test]
    fn a_cell_is_json_whatever_its_text() {
        let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value])) as ArrayRef;
        let texts = [
            text(Some("funnel")),
            text(Some("销\"售\\\n")),
            text(Some("since")),
            text(None),
            text(Some("channel")),
            text(None),
        ];
        assert_eq!(
            key(&texts, 2, 0),
            "{\"funnel\":\"销\\\"售\\\\\\u000a\",\"cell\":{\"channel\":null}}"
        );
    }
}
