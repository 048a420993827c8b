//! `lmdi_effect(v1, v0, x1, x0)`: what a factor that went from `x0` to `x1` added to a product that went from `v0` to `v1`.
//!
//! `log_mean(v1, v0) · ln(x1 / x0)`; the effects of all factors sum to `v1 - v0`, without a residual. Where the product is zero in one
//! period, the factors that are zero in it share the whole change equally (the analytic limit): `zeros` says how many they are, 1 when left out.
//! 0 where the factor didn't change, or the product is zero in both periods. NULL where an argument is.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::Float64Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::log_mean::check_values;
use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use crate::error::FunnelError;
use crate::statistics::decomposition::lmdi_effect;

const NAME: &str = "lmdi_effect";

const PARAMETERS: Parameters = Parameters {
    required: 4,
    list: &[
        ("v1", Kind::Number),
        ("v0", Kind::Number),
        ("x1", Kind::Number),
        ("x0", Kind::Number),
        ("zeros", Kind::Count),
    ],
};

/// What a factor added to the change of a product, by the logarithmic mean Divisia index (LMDI-I).
///
/// - `v1`, `v0`: Float64 values of the product in the later and the earlier period, at least 0
/// - `x1`, `x0`: Float64 values of the factor, at least 0
/// - `zeros`: how many factors are zero in the period in which the product is, 1 when left out
/// - returns Float64 in the product's unit; NULL where an argument is
/// - errors: 22023 for a number below 0 or that isn't finite, or `zeros` below 1
/// - source: B. W. Ang, Energy Policy 33 (2005), 867–871, and with N. Liu 35 (2007), 238–246; the example by hand: 1000 leads became 1200 and
///   67.2 wins 70.875
/// ```slt
/// query RR
/// SELECT round(lmdi_effect(70.875, 67.2, 1200, 1000), 2), round(lmdi_effect(70.875, 67.2, 0.5, 0.6), 2)
/// ----
/// 12.58 -12.58
/// ```
pub fn lmdi_effect_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(LmdiEffect {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LmdiEffect {
    signature: Signature,
}

impl ScalarUDFImpl for LmdiEffect {
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
        let (v1, v0) = (rows.numbers(0)?, rows.numbers(1)?);
        let (x1, x0) = (rows.numbers(2)?, rows.numbers(3)?);
        let zeros = rows.optional_counts(4)?;
        let effects = rows.map(|row| {
            let [v1, v0, x1, x0] = [v1, v0, x1, x0].map(|column| column.value(row));
            check_values(NAME, &[v1, v0, x1, x0])?;
            let zeros = zeros.map_or(1, |zeros| zeros.value(row));
            let Some(zeros) = usize::try_from(zeros).ok().filter(|zeros| *zeros > 0) else {
                return Err(FunnelError::InvalidArgument {
                    message: format!("zeros of {NAME}() can't be {zeros}"),
                    hint: "Write how many factors are zero, at least 1.".to_owned(),
                }
                .into());
            };
            Ok(Some(lmdi_effect(v1, v0, x1, x0, zeros)))
        })?;
        rows.finish(Arc::new(effects.into_iter().collect::<Float64Array>()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                STATISTICS,
                "What a factor that went from x0 to x1 added to a product that went from v0 to v1 (LMDI-I): log_mean(v1, v0) * ln(x1 / x0). The \
                 effects of all factors sum to v1 - v0.",
                PARAMETERS.syntax(NAME),
            )
            .with_argument("v1", "The product in the later period.")
            .with_argument("v0", "The product in the earlier period.")
            .with_argument("x1", "The factor in the later period.")
            .with_argument("x0", "The factor in the earlier period.")
            .with_argument("zeros", "How many factors are zero where the product is, 1 when left out: they share the change.")
            .with_sql_example("```sql\nSELECT lmdi_effect(70.875, 67.2, 1200, 1000);\n```")
            .build()
        });
        Some(&PAGE)
    }
}
