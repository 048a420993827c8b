//! How sure is a conversion rate? The interval around `k` of `n`.
//!
//! `rate_ci(k, n)` is `k / n` with the limits that hold the true rate 95 times in 100; `rate_lower` and `rate_upper` are its
//! limits alone. The default is Wilson's score interval; the formulas are in [`interval`].
//!
//! NULL where an argument is, and where `n = 0`: no data is not zero. The limits of none and of all are exactly 0 and 1 on
//! their outer side. Counts up to 1e8 keep more than the seven digits that a rate can show.
//!
//! Cost: constant a row; for the two beta intervals up to 0.1 ms a row where `n` is in the millions.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Float64Array, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

pub(crate) mod arguments;
pub(crate) mod beta;
pub(crate) mod comparison;
pub mod interval;
pub(crate) mod score;

use arguments::{Kind, Parameters, Rows, STATISTICS};
use interval::{Confidence, DEFAULT_CONFIDENCE, Method, rate_interval};

const PARAMETERS: Parameters = Parameters {
    required: 2,
    list: &[
        ("k", Kind::Count),
        ("n", Kind::Count),
        ("confidence", Kind::Number),
        ("method", Kind::Text),
    ],
};

/// Conversion rate with a confidence interval.
///
/// - `k`, `n`: integer counts of entities, `0 <= k <= n`
/// - `confidence`: Float64 in (0, 1), 0.95 when left out
/// - `method`: `'wilson'` (when left out), `'clopper_pearson'`, `'jeffreys'` or `'wald'`
/// - returns `Struct { rate, lo, hi }`, Float64 fractions; NULL where `n = 0` or an argument is NULL
/// - errors: 22023 when `k > n`, a count is negative, `confidence` is outside of (0, 1) or `method` unknown
/// - source: E. B. Wilson, JASA 22 (1927), 209–212; the example equals statsmodels 0.15.0, `proportion_confint(8, 10)`
/// ```slt
/// query RRR
/// SELECT i['rate'], round(i['lo'], 4), round(i['hi'], 4)
/// FROM (SELECT rate_ci(8, 10, 0.95, 'wilson') AS i)
/// ----
/// 0.8 0.4902 0.9433
/// ```
pub fn rate_ci_udf() -> Arc<ScalarUDF> {
    RateCi::udf(Part::All)
}

/// Lower confidence limit of a conversion rate.
///
/// - arguments and errors: as for [`rate_ci_udf`]
/// - returns Float64, a fraction; NULL where `n = 0` or an argument is NULL
/// - source: Clopper and Pearson, Biometrika 26 (1934), 404–413; the example equals statsmodels 0.15.0,
///   `proportion_confint(81, 263, method="beta")`
/// ```slt
/// query R
/// SELECT round(rate_lower(81, 263, 0.95, 'clopper_pearson'), 4)
/// ----
/// 0.2527
/// ```
pub fn rate_lower_udf() -> Arc<ScalarUDF> {
    RateCi::udf(Part::Lower)
}

/// Upper confidence limit of a conversion rate.
///
/// - arguments and errors: as for [`rate_ci_udf`]
/// - returns Float64, a fraction; NULL where `n = 0` or an argument is NULL
/// - source: E. B. Wilson, JASA 22 (1927), 209–212; the example equals statsmodels 0.15.0, `proportion_confint(0, 5)`
/// ```slt
/// query R
/// SELECT round(rate_upper(0, 5), 4)
/// ----
/// 0.4345
/// ```
pub fn rate_upper_udf() -> Arc<ScalarUDF> {
    RateCi::udf(Part::Upper)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RateCi {
    part: Part,
    signature: Signature,
}

impl RateCi {
    fn udf(part: Part) -> Arc<ScalarUDF> {
        Arc::new(ScalarUDF::from(RateCi {
            part,
            signature: PARAMETERS.signature(),
        }))
    }
}

impl ScalarUDFImpl for RateCi {
    fn name(&self) -> &str {
        self.part.pick("rate_ci", "rate_lower", "rate_upper")
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(self.name(), coerced)?;
        Ok(self.part.data_type("rate"))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let (k, n) = (rows.counts(0)?, rows.counts(1)?);
        let (confidences, methods) = (rows.optional_numbers(2)?, rows.optional_texts(3)?);
        let limits = rows.map(|row| {
            let confidence = confidences.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
            let method = methods.map_or(Ok(Method::default()), |given| {
                Method::parse(given.value(row))
            })?;
            let found = rate_interval(
                k.value(row),
                n.value(row),
                Confidence::new(confidence)?,
                method,
            )?;
            Ok(found.map(|found| [found.rate, found.lo, found.hi]))
        })?;
        rows.finish(self.part.column("rate", &limits)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGES: LazyLock<[Documentation; 3]> =
            LazyLock::new(|| Part::EACH.map(documentation));
        let [all, lower, upper] = &*PAGES;
        Some(self.part.pick(all, lower, upper))
    }
}

fn documentation(part: Part) -> Documentation {
    let name = part.pick("rate_ci", "rate_lower", "rate_upper");
    let description = part.pick(
        "A conversion rate k / n with its confidence interval, as a struct of rate, lo and hi. NULL where n is 0.",
        "The lower confidence limit of a conversion rate k / n. NULL where n is 0.",
        "The upper confidence limit of a conversion rate k / n. NULL where n is 0.",
    );
    Documentation::builder(STATISTICS, description, PARAMETERS.syntax(name))
        .with_argument("k", "How many entities reached the goal: an integer from 0 to n.")
        .with_argument("n", "How many entities there were.")
        .with_argument("confidence", "How often the interval holds the true rate: a fraction, 0.95 when left out.")
        .with_argument(
            "method",
            "'wilson' (when left out), 'clopper_pearson' (never too narrow), 'jeffreys', or 'wald' (of zero width at 0 and n).",
        )
        .with_sql_example(format!(
            "```sql\nSELECT channel, {name}(count(*) FILTER (WHERE outcome = 'won'), count(*)) FROM deals GROUP BY channel;\n```"
        ))
        .build()
}

/// Which part of an estimate with two limits a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    All,
    Lower,
    Upper,
}

impl Part {
    pub(super) const EACH: [Part; 3] = [Part::All, Part::Lower, Part::Upper];

    /// One of three things, by part.
    pub(super) fn pick<T>(self, all: T, lower: T, upper: T) -> T {
        match self {
            Part::All => all,
            Part::Lower => lower,
            Part::Upper => upper,
        }
    }

    /// One of three things in the order of [`Part::EACH`].
    pub(super) fn of<T>(self, [all, lower, upper]: [T; 3]) -> T {
        self.pick(all, lower, upper)
    }

    /// The type of the result: a struct of the estimate, `lo` and `hi`, or one Float64.
    pub(super) fn data_type(self, estimate: &str) -> DataType {
        match self {
            Part::All => DataType::Struct(fields(estimate)),
            Part::Lower | Part::Upper => DataType::Float64,
        }
    }

    /// The column of the result, from the estimate and its limits in each row; each may be NULL, or the row.
    pub(super) fn column<V: Copy + Into<Option<f64>>>(
        self,
        estimate: &str,
        rows: &[Option<[V; 3]>],
    ) -> Result<ArrayRef> {
        let column = |at: usize| -> ArrayRef {
            Arc::new(
                rows.iter()
                    .map(|row| row.and_then(|values| values[at].into()))
                    .collect::<Float64Array>(),
            )
        };
        Ok(match self {
            Part::All => {
                let nulls = rows.iter().map(Option::is_some).collect::<NullBuffer>();
                let columns = vec![column(0), column(1), column(2)];
                Arc::new(StructArray::try_new(
                    fields(estimate),
                    columns,
                    Some(nulls),
                )?)
            }
            Part::Lower => column(1),
            Part::Upper => column(2),
        })
    }
}

fn fields(estimate: &str) -> Fields {
    [estimate, "lo", "hi"]
        .into_iter()
        .map(|name| Field::new(name, DataType::Float64, true))
        .collect()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::arguments::testing;
    use super::*;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        for function in [rate_ci_udf(), rate_lower_udf(), rate_upper_udf()] {
            context.register_udf(function.as_ref().clone());
        }
        context
    }

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        testing::check(&context(), sql, expected);
    }

    #[track_caller]
    fn check_error(sql: &str, code: &str, part: &str) {
        testing::check_error(&context(), sql, code, part);
    }

    #[test]
    fn literals_give_the_published_limits() {
        // statsmodels 0.15.0: proportion_confint(0, 5, method=m) for wilson, beta and jeffreys (upper limits).
        check(
            "SELECT round(rate_upper(0, 5), 4), round(rate_upper(0, 5, 0.95, 'clopper_pearson'), 4), \
             round(rate_upper(0, 5, 0.95, 'jeffreys'), 4), rate_lower(0, 5), rate_upper(5, 5)",
            &["0.4345 0.5218 0.3794 0.0 1.0"],
        );
        check(
            "SELECT rate_ci(0, 5, 0.95, 'wald')",
            &["{rate: 0.0, lo: 0.0, hi: 0.0}"],
        );
    }

    #[test]
    fn columns_of_counts_confidences_and_methods() {
        check(
            "SELECT round(i['rate'], 3), round(i['lo'], 4), round(i['hi'], 4) FROM ( \
               SELECT rate_ci(k, n, c, m) AS i FROM (VALUES (8, 10, 0.95, 'wilson'), \
                 (8, 10, 0.95, 'clopper_pearson'), (1, 10, 0.9, 'jeffreys'), (0, 0, 0.9, 'wald'), \
                 (NULL, 10, 0.9, 'wald'), (1, 10, NULL, 'wald'), (1, 10, 0.9, NULL)) AS t(k, n, c, m))",
            &[
                "0.8 0.4902 0.9433",
                "0.8 0.4439 0.9748",
                "0.1 0.0179 0.3306",
                "NULL NULL NULL",
                "NULL NULL NULL",
                "NULL NULL NULL",
                "NULL NULL NULL",
            ],
        );
    }

    #[test]
    fn one_argument_may_be_a_column_and_the_others_literals() {
        check(
            "SELECT k, round(rate_lower(k, 5), 4) FROM (VALUES (0), (5), (NULL)) AS t(k)",
            &["0 0.0", "5 0.5655", "NULL NULL"],
        );
    }

    #[test]
    fn counts_of_aggregates_and_unsigned_counts_are_taken() {
        check(
            "SELECT 渠道, round(rate_upper(count(*) FILTER (WHERE won), count(*)), 4) \
             FROM (VALUES ('搜索', true), ('搜索', false), ('广告', false)) AS t(渠道, won) GROUP BY 渠道 ORDER BY 渠道",
            &["广告 0.7935", "搜索 0.9055"],
        );
        check(
            "SELECT round(rate_upper(arrow_cast(0, 'UInt64'), arrow_cast(5, 'Int8')), 4)",
            &["0.4345"],
        );
    }

    #[test]
    fn nulls_and_no_rows() {
        check(
            "SELECT rate_ci(NULL, 5), rate_ci(0, 0), rate_lower(1, NULL)",
            &["NULL NULL NULL"],
        );
        // NULL goes before an impossible value: there is nothing to compute.
        check("SELECT rate_ci(7, 5, NULL)", &["NULL"]);
        check(
            "SELECT rate_ci(k, 5) FROM (VALUES (1)) AS t(k) WHERE k > 1",
            &[],
        );
    }

    #[test]
    fn arguments_can_be_named() {
        check(
            "SELECT round(rate_upper(n => 10, k => 1, confidence => 0.9), 4)",
            &["0.3477"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT rate_ci(6, 5)",
            "22023",
            "a rate can't be 6 of 5 entities",
        );
        check_error(
            "SELECT rate_ci(k, 5) FROM (VALUES (-1)) AS t(k)",
            "22023",
            "can't be -1 of 5",
        );
        check_error("SELECT rate_ci(0, -1)", "22023", "can't be of -1 entities");
        check_error(
            "SELECT rate_lower(1, 5, 1)",
            "22023",
            "confidence 1 is not between 0 and 1",
        );
        check_error(
            "SELECT rate_upper(1, 5, 0.9, 'wilsen')",
            "22023",
            "method \"wilsen\" is not one of a rate's intervals \
             HINT: Use one of 'wilson', 'clopper_pearson', 'jeffreys', 'wald'.",
        );
    }

    #[test]
    fn wrong_calls_say_how_to_write_it() {
        check_error(
            "SELECT rate_ci('a', 5)",
            "42804",
            "rate_ci() takes an integer as k, not Utf8",
        );
        check_error(
            "SELECT rate_ci(0.5, 5)",
            "42804",
            "HINT: Write rate_ci(k, n [, confidence [, method]]).",
        );
        check_error(
            "SELECT rate_lower(5)",
            "42883",
            "rate_lower() can't be called with 1 argument HINT",
        );
    }

    #[test]
    fn each_function_is_documented_under_its_own_name() {
        for function in [rate_ci_udf(), rate_lower_udf(), rate_upper_udf()] {
            let syntax = function
                .documentation()
                .map(|page| page.syntax_example.clone());
            assert_eq!(syntax, Some(PARAMETERS.syntax(function.name())));
        }
    }
}
