//! What is a segment's rate, once chance is taken out? Its counts, drawn to the prior of all segments.
//!
//! `eb_interval(k, n, alpha, beta)` is the mean of Beta(k + α, n - k + β) and its central credible interval, where α and β are
//! those of `eb_prior` (empirical Bayes): `shrunk = (k + α) / (n + α + β)`. With few entities it is near the mean of all, with
//! many near `k / n`; with none, it is the prior.
//!
//! The prior counts as known, so that with fewer than about ten segments the limits are somewhat too near. NULL where an argument
//! is. Cost: constant a row.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::Part;
use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use super::rate_ci::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::statistics::beta_binomial::posterior;

const NAME: &str = "eb_interval";

const PARAMETERS: Parameters = Parameters {
    required: 4,
    list: &[
        ("k", Kind::Count),
        ("n", Kind::Count),
        ("alpha", Kind::Number),
        ("beta", Kind::Number),
        ("confidence", Kind::Number),
    ],
};

/// The rate of a segment under a prior, with its credible interval.
///
/// - `k`, `n`: integer counts of entities, `0 <= k <= n`
/// - `alpha`, `beta`: Float64, positive: those of `eb_prior`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - returns `Struct { shrunk, lo, hi }`, Float64 fractions; NULL where an argument is
/// - errors: 22023 when `k > n`, a count is negative, a parameter isn't positive or `confidence` is outside of (0, 1)
/// - source: H. Robbins, Berkeley Symposium 1 (1956), 157–163; the example equals scipy 1.17.1,
///   `stats.beta.ppf([.025, .975], 12 + 3.21875, 88 + 12.05391)`
/// ```slt
/// query RRR
/// SELECT round(i['shrunk'], 4), round(i['lo'], 4), round(i['hi'], 4)
/// FROM (SELECT eb_interval(12, 100, 3.21875, 12.05391) AS i)
/// ----
/// 0.132 0.0769 0.1993
/// ```
pub fn eb_interval_udf() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(EbInterval {
        signature: PARAMETERS.signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EbInterval {
    signature: Signature,
}

impl ScalarUDFImpl for EbInterval {
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
        Ok(Part::All.data_type("shrunk"))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let (k, n) = (rows.counts(0)?, rows.counts(1)?);
        let (alpha, beta) = (rows.numbers(2)?, rows.numbers(3)?);
        let confidences = rows.optional_numbers(4)?;
        let found = rows.map(|row| {
            let confidence = confidences.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
            let found = posterior(
                k.value(row),
                n.value(row),
                (alpha.value(row), beta.value(row)),
                Confidence::new(confidence)?,
            )?;
            Ok(Some([found.rate, found.lo, found.hi]))
        })?;
        rows.finish(Part::All.column("shrunk", &found)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(documentation);
        Some(&PAGE)
    }
}

fn documentation() -> Documentation {
    Documentation::builder(
        STATISTICS,
        "A segment's rate k / n drawn to the prior of all segments, with its credible interval, as a struct of shrunk, lo and hi. \
         NULL where an argument is.",
        PARAMETERS.syntax(NAME),
    )
    .with_argument("k", "How many entities of the segment reached the goal: an integer from 0 to n.")
    .with_argument("n", "How many entities the segment has.")
    .with_argument("alpha", "Prior successes, of eb_prior().")
    .with_argument("beta", "Prior failures, of eb_prior().")
    .with_argument("confidence", "How often the interval holds the true rate: a fraction, 0.95 when left out.")
    .with_sql_example(
        "```sql\nSELECT channel, eb_interval(won, leads, prior['alpha'], prior['beta'])\nFROM channels, (SELECT eb_prior(won, leads) AS prior FROM channels);\n```",
    )
    .build()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::super::rate_ci::arguments::testing;
    use super::*;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        context.register_udf(eb_interval_udf().as_ref().clone());
        context
    }

    #[test]
    fn columns_and_literals() {
        testing::check(
            &context(),
            "SELECT round(eb_interval(k, n, 1, 1)['shrunk'], 4), round(eb_interval(k, n, 1.0, 1.0, 0.5)['lo'], 4) \
             FROM (VALUES (0, 0), (5, 8), (NULL, 8)) AS s(k, n)",
            // Uniform: mean 1/2, quartile 1/4; scipy 1.17.1: beta.ppf(.25, 6, 4).
            &["0.5 0.25", "0.6 0.498", "NULL NULL"],
        );
        testing::check(&context(), "SELECT eb_interval(1, 2, NULL, 1)", &["NULL"]);
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, code, part| testing::check_error(&context(), sql, code, part);
        fails("SELECT eb_interval(3, 2, 1, 1)", "22023", "can't be 3 of 2");
        fails(
            "SELECT eb_interval(1, 2, 0, 1)",
            "22023",
            "there is no Beta(0, 1)",
        );
        fails(
            "SELECT eb_interval(1, 2, 1, 1, 1)",
            "22023",
            "confidence 1 is not",
        );
        fails(
            "SELECT eb_interval(1, 2, 1)",
            "42883",
            "HINT: Write eb_interval(k, n, alpha, beta [, confidence]).",
        );
    }
}
