//! `pg_sleep(seconds)`: waits without holding a thread, so that it can be canceled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Float64Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::postgres::function::Result;
use crate::postgres::types;

/// The function.
pub fn pg_sleep() -> ScalarUDF {
    AsyncScalarUDF::new(Arc::new(Sleep {
        signature: Signature::any(1, Volatility::Volatile),
    }))
    .into_scalar_udf()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Sleep {
    signature: Signature,
}

impl ScalarUDFImpl for Sleep {
    fn name(&self) -> &str {
        "pg_sleep"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn return_field_from_args(&self, _arguments: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(types::field(self.name(), "void")))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(
            "pg_sleep was called without waiting for it".to_owned(),
        ))
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Sleep {
    async fn invoke_async_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let Some(seconds) = arguments.args.first() else {
            return Ok(ColumnarValue::Array(Arc::new(StringArray::new_null(rows))));
        };
        let seconds = cast(&seconds.to_array(rows)?, &DataType::Float64)?;
        // One row after another.
        let total: f64 = seconds
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .filter(|seconds| *seconds > 0.0)
            .sum();
        if let Ok(total) = Duration::try_from_secs_f64(total) {
            tokio::time::sleep(total).await;
        }
        let answers = StringArray::from(vec![""; rows]);
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}
