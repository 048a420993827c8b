//! `log_mean(a, b)`: the logarithmic mean `(a - b) / ln(a / b)` of two numbers, `a` where they are equal and 0 where one is 0.
//!
//! It weighs the factors of a product that changed, see [`lmdi_effect`](super::lmdi_effect). NULL where an argument is.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::Float64Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::error::FunnelError;
use crate::statistics::decomposition::log_mean;

const NAME: &str = "log_mean";

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[("a", Kind::Number), ("b", Kind::Number)],
};

/// The logarithmic mean of two numbers.
///
/// - `a`, `b`: Float64, at least 0
/// - returns Float64 between the two; 0 where one of them is 0; NULL where an argument is
/// - errors: 22023 for a number below 0, or that isn't finite
/// - source: B. W. Ang, Energy Policy 33 (2005), 867–871; the example by hand: 30 / ln 2.5
/// ```slt
/// query RRR
/// SELECT round(log_mean(50, 20), 6), log_mean(7, 7), log_mean(0, 7)
/// ----
/// 32.7407 7 0
/// ```
pub fn log_mean_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(LogMean {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LogMean {
    signature: Signature,
}

impl ScalarUDFImpl for LogMean {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(NAME, coerced)?;
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let (a, b) = (rows.numbers(0)?, rows.numbers(1)?);
        let means = rows.map(|row| {
            let (a, b) = (a.value(row), b.value(row));
            check_values(NAME, &[a, b])?;
            Ok(Some(log_mean(a, b)))
        })?;
        rows.finish(Arc::new(means.into_iter().collect::<Float64Array>()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "The logarithmic mean (a - b) / ln(a / b) of two numbers; a where they are equal, 0 where one is 0.",
                PARAMETERS.syntax(NAME),
            )
            .with_argument("a", "A number of at least 0.")
            .with_argument("b", "Another one.")
            .with_sql_example("```sql\nSELECT log_mean(50, 20);\n```")
            .build()
        });
        Some(&PAGE)
    }
}

/// Refuses numbers that no product of counts and rates is made of.
///
/// # Errors
/// 22023.
pub(super) fn check_values(function: &str, values: &[f64]) -> Result<(), FunnelError> {
    match values
        .iter()
        .find(|value| !value.is_finite() || **value < 0.0)
    {
        Some(value) => Err(FunnelError::InvalidArgument {
            message: format!("{function}() can't take {value}"),
            hint: "Give numbers of at least 0.".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::prelude::SessionContext;

    use super::super::lmdi_effect::lmdi_effect_udf;
    use super::super::rate_ci::arguments::testing::{check, check_error};
    use super::*;

    #[test]
    fn literals_columns_nulls_and_faults() {
        let context = SessionContext::new();
        context.register_udf(log_mean_udf().as_ref().clone());
        context.register_udf(lmdi_effect_udf().as_ref().clone());
        check(
            &context,
            "SELECT round(log_mean(a, 2.0), 4), round(lmdi_effect(a, 2, x, 0.5), 4) FROM (VALUES (4, 0.25), (0, 0.0), (NULL, 0.5)) AS t(a, x)",
            &["2.8854 -2.0", "0.0 -2.0", "NULL NULL"],
        );
        check(&context, "SELECT lmdi_effect(0, 20, 0, 0.4, 2)", &["-10.0"]);
        check_error(&context, "SELECT log_mean(-1, 2)", "22023", "can't take -1");
        check_error(
            &context,
            "SELECT lmdi_effect(1, 2, 1, 1, 0)",
            "22023",
            "zeros",
        );
        check_error(&context, "SELECT log_mean(1)", "42883", "log_mean(a, b)");
    }
}
