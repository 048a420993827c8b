//! A text of the statement read as what stands beside it: `coalesce(closed_on, '2026-12-31')`, `array || '{a,b}'`.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Fault;
use crate::postgres::casts;
use crate::postgres::function::{Result, fault};
use crate::postgres::style::Locale;

/// `pg_read_as(text, value)`: the text as a value of the other's type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ReadAs {
    signature: Signature,
}

/// The function.
pub fn read_as() -> ScalarUDF {
    ScalarUDF::from(ReadAs {
        signature: Signature::any(2, Volatility::Stable),
    })
}

/// The field of a text beside a field; nothing where it stays a text. A number keeps its digits.
fn field_beside(beside: &Field, text: Option<&ScalarValue>) -> Option<Field> {
    match beside.data_type() {
        kind if kind.is_string() || kind.is_null() => None,
        DataType::Decimal128(_, scale) => {
            let scale = digits(text).max(*scale);
            Some(Field::new("", DataType::Decimal128(38, scale), true))
        }
        kind => Some(Field::new("", kind.clone(), true).with_metadata(beside.metadata().clone())),
    }
}

/// How many digits stand behind the point of a number.
fn digits(text: Option<&ScalarValue>) -> i8 {
    let text = text.and_then(|text| text.try_as_str().flatten());
    let (_, digits) = text
        .and_then(|text| text.split_once('.'))
        .unwrap_or_default();
    match digits.contains(['e', 'E']) {
        true => 0,
        false => i8::try_from(digits.trim_end().len().min(30)).unwrap_or(0),
    }
}

/// Whether a value may be one of another type: a parameter that has a type is what it is.
fn is_to_be_read(kind: &DataType) -> bool {
    kind.is_string() || kind.is_null()
}

impl ScalarUDFImpl for ReadAs {
    fn name(&self) -> &'static str {
        "pg_read_as"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(
            "what a text is read as depends on a field".to_owned(),
        ))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [text, beside] = arguments.arg_fields else {
            return fault(Fault::Semantic, "nothing stands beside the text");
        };
        if !is_to_be_read(text.data_type()) {
            return Ok(Arc::clone(text));
        }
        let written = arguments.scalar_arguments.first().copied().flatten();
        let field = field_beside(beside, written).unwrap_or_else(|| {
            Field::new("", DataType::Utf8, true).with_metadata(beside.metadata().clone())
        });
        Ok(Arc::new(field.with_name(self.name())))
    }

    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [text, beside] = arguments.as_slice() else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        if !is_to_be_read(&text.get_type(info.schema())?) {
            return Ok(ExprSimplifyResult::Simplified(text.clone()));
        }
        let (_, field) = beside.to_field(info.schema())?;
        let written = match text {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        };
        let Some(target) = field_beside(&field, written) else {
            return Ok(ExprSimplifyResult::Simplified(text.clone()));
        };
        let Some(value) = written else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let locale = Locale::of_session(info.config_options());
        let metadata = (!target.metadata().is_empty()).then(|| target.metadata().clone().into());
        let read = Expr::Literal(read(value, &target, &locale)?, metadata);
        Ok(ExprSimplifyResult::Simplified(read))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(text)) = arguments.args.first() else {
            return fault(
                Fault::Semantic,
                "only a text of the statement is read as another type",
            );
        };
        let locale = Locale::of_session(&arguments.config_options);
        let target = &arguments.return_field;
        let value = match is_to_be_read(&text.data_type()) && !target.data_type().is_string() {
            true => read(text, target, &locale)?,
            false => text.cast_to(target.data_type())?,
        };
        Ok(ColumnarValue::Scalar(value))
    }
}

fn read(text: &ScalarValue, target: &Field, locale: &Locale) -> Result<ScalarValue> {
    let texts = cast(&text.to_array()?, &DataType::Utf8)?;
    let values = casts::from_texts(texts.as_string::<i32>(), target, locale)?;
    let values = match values.data_type() == target.data_type() {
        true => values,
        false => cast(&values, target.data_type())?,
    };
    ScalarValue::try_from_array(&values, 0)
}
