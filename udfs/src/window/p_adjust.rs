//! Many tests at once: each one's `p`, adjusted for how many there are.
//!
//! `p_adjust(p, 'holm') OVER (PARTITION BY …)` is the adjusted `p` of each row among all rows of its partition, whatever the window's order;
//! `p_adjust_level(p, 'holm', alpha)` is the `alpha` of the row's own interval, which leaves out the null exactly where the adjusted `p` is
//! below `alpha`. The formulas are in `statistics/adjust.rs`. NULLs stay NULL and aren't counted; ties are adjusted alike.
//!
//! Cost: a sort of each partition.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_float64_array, as_string_array};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Documentation, LimitEffect, PartitionEvaluator, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_plan::PhysicalExpr;

use crate::error::FunnelError;
use crate::scalar::formula::check_between;
use crate::scalar::rate_ci::arguments::{Kind, Parameters, STATISTICS};
use crate::statistics::adjust::{Adjustment, adjusted, levels};

/// `p` adjusted for the number of tests in its window.
///
/// - `p`: Float64 in [0, 1], one row per test
/// - `method`: `'holm'` (when left out), `'bh'` (Benjamini–Hochberg), `'by'` (Benjamini–Yekutieli), `'bonferroni'` or `'none'`
/// - returns Float64 in [0, 1]; NULL where `p` is, which isn't counted
/// - errors: 22023 when `p` is outside of [0, 1] or `method` unknown
/// - source: S. Holm, Scandinavian Journal of Statistics 6 (1979), 65–70; Benjamini and Hochberg, JRSS B 57 (1995), 289–300; the example
///   equals R 4.5, `p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")`, and with "BH"
/// ```slt
/// query RRR
/// SELECT p, round(p_adjust(p, 'holm') OVER (), 4), round(p_adjust(p, 'bh') OVER (), 4)
/// FROM (VALUES (0.010), (0.040), (0.030), (0.005), (NULL)) AS tests(p)
/// ORDER BY p
/// ----
/// 0.005 0.02 0.02
/// 0.010 0.03 0.02
/// 0.030 0.06 0.04
/// 0.040 0.06 0.04
/// NULL NULL NULL
/// ```
pub fn p_adjust_udwf() -> Arc<WindowUDF> {
    PAdjust::udwf(Returned::P)
}

/// The `alpha` of each test's own interval, when there are many.
///
/// - `p`, `method`: as for [`p_adjust_udwf`]
/// - `alpha`: Float64 in (0, 1), 0.05 when left out
/// - returns Float64: the interval with the confidence `1 - level` leaves out what the test tests exactly where
///   `p_adjust(p, method) < alpha`; NULL where `p` is
/// - errors: as for [`p_adjust_udwf`]; 22023 when `alpha` is outside of (0, 1)
/// - source: for `'bh'` and `'by'` Benjamini and Yekutieli, JASA 100 (2005), 71–81
/// ```slt
/// query RR
/// SELECT p, round(p_adjust_level(p, 'holm') OVER (), 4)
/// FROM (VALUES (0.01), (0.04), (0.20)) AS tests(p)
/// ORDER BY p
/// ----
/// 0.01 0.0167
/// 0.04 0.025
/// 0.20 0.025
/// ```
pub fn p_adjust_level_udwf() -> Arc<WindowUDF> {
    PAdjust::udwf(Returned::Level)
}

/// What is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Returned {
    P,
    Level,
}

impl Returned {
    fn name(self) -> &'static str {
        match self {
            Returned::P => "p_adjust",
            Returned::Level => "p_adjust_level",
        }
    }

    fn parameters(self) -> Parameters {
        const LIST: &[(&str, Kind)] = &[
            ("p", Kind::Number),
            ("method", Kind::Text),
            ("alpha", Kind::Number),
        ];
        Parameters {
            required: 1,
            list: match self {
                Returned::P => LIST.split_at(2).0,
                Returned::Level => LIST,
            },
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PAdjust {
    returns: Returned,
    signature: Signature,
}

impl PAdjust {
    fn udwf(returns: Returned) -> Arc<WindowUDF> {
        Arc::new(WindowUDF::from(PAdjust {
            returns,
            signature: returns.parameters().signature(),
        }))
    }
}

impl WindowUDFImpl for PAdjust {
    fn name(&self) -> &str {
        self.returns.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.returns.parameters().coerce(given))
    }

    fn field(&self, call: WindowUDFFieldArgs) -> Result<FieldRef> {
        let given = call.input_fields().iter();
        let types: Vec<DataType> = given.map(|field| field.data_type().clone()).collect();
        self.returns.parameters().check(self.name(), &types)?;
        Ok(Arc::new(Field::new(call.name(), DataType::Float64, true)))
    }

    fn partition_evaluator(
        &self,
        _call: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator {
            returns: self.returns,
        }))
    }

    fn limit_effect(&self, _arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGES: LazyLock<[Documentation; 2]> =
            LazyLock::new(|| [Returned::P, Returned::Level].map(documentation));
        let [p, level] = &*PAGES;
        Some(match self.returns {
            Returned::P => p,
            Returned::Level => level,
        })
    }
}

fn documentation(returns: Returned) -> Documentation {
    let name = returns.name();
    let description = match returns {
        Returned::P => {
            "The p of each test, adjusted for the number of tests in its window. NULLs stay NULL and aren't counted."
        }
        Returned::Level => {
            "The alpha of each test's own interval: it leaves out the null exactly where p_adjust() is below alpha."
        }
    };
    let mut page = Documentation::builder(STATISTICS, description, returns.parameters().syntax(name))
        .with_argument("p", "The p of a test.")
        .with_argument(
            "method",
            "'holm' (when left out) and 'bonferroni' bound the chance of any false alarm, 'bh' and 'by' the share of false ones among the alarms; \
             'none' leaves p as it is.",
        );
    if returns == Returned::Level {
        page = page.with_argument("alpha", "The limit of the adjusted p, 0.05 when left out.");
    }
    page.with_sql_example(format!(
        "```sql\nSELECT {name}(p, 'holm') OVER () FROM tests;\n```"
    ))
    .build()
}

#[derive(Debug)]
struct Evaluator {
    returns: Returned,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let ps = values
            .first()
            .ok_or_else(|| internal_datafusion_err!("p is missing after the check"))?;
        let ps: Vec<Option<f64>> = as_float64_array(ps)?.iter().collect();
        if num_rows == 0 {
            return Ok(Arc::new(Float64Array::new_null(0)));
        }
        let by = match values.get(1) {
            None => Some(Adjustment::Holm),
            Some(methods) => same(as_string_array(methods)?.iter(), self.returns, "method")?
                .map(Adjustment::parse)
                .transpose()?,
        };
        let alpha = match values.get(2) {
            None => Some(0.05),
            Some(alphas) => same(as_float64_array(alphas)?.iter(), self.returns, "alpha")?,
        };
        let (Some(by), Some(alpha)) = (by, alpha) else {
            return Ok(Arc::new(Float64Array::new_null(num_rows)));
        };
        check_between("alpha", alpha, 0.0, 1.0)?;
        let result = match self.returns {
            Returned::P => adjusted(&ps, by)?,
            Returned::Level => levels(&ps, by, alpha)?,
        };
        Ok(Arc::new(Float64Array::from(result)))
    }

    fn supports_bounded_execution(&self) -> bool {
        false
    }

    fn uses_window_frame(&self) -> bool {
        false
    }
}

/// The one value of an argument in all rows of a window.
///
/// # Errors
/// 22023 where rows differ.
fn same<T: PartialEq + Copy>(
    mut values: impl Iterator<Item = Option<T>>,
    of: Returned,
    name: &str,
) -> Result<Option<T>, FunnelError> {
    let first = values.next().flatten();
    match values.all(|value| value == first) {
        true => Ok(first),
        false => Err(FunnelError::InvalidArgument {
            message: format!(
                "{name} of {}() differs between rows of one window",
                of.name()
            ),
            hint: "Give all rows the same one, or partition by it.".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::scalar::rate_ci::arguments::testing;

    fn context() -> SessionContext {
        let context = SessionContext::new();
        for function in [p_adjust_udwf(), p_adjust_level_udwf()] {
            context.register_udwf(function.as_ref().clone());
        }
        context
    }

    const TESTS: &str = "(VALUES ('a', 0.01), ('a', 0.04), ('b', 0.04), ('a', NULL), ('b', NULL), ('渠道', NULL)) AS tests(g, p)";

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        testing::check(&context(), &sql.replace("TESTS", TESTS), expected);
    }

    #[test]
    fn each_window_counts_its_own_tests() {
        check(
            "SELECT g, p_adjust(p, 'bonferroni') OVER (PARTITION BY g) AS q FROM TESTS ORDER BY g, q",
            &[
                "a 0.02",
                "a 0.08",
                "a NULL",
                "b 0.04",
                "b NULL",
                "渠道 NULL",
            ],
        );
    }

    #[test]
    fn the_order_of_a_window_changes_nothing() {
        check(
            "SELECT g, p_adjust(p) OVER (ORDER BY g DESC, p ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS q \
             FROM TESTS WHERE p IS NOT NULL ORDER BY g, q",
            &["a 0.03", "a 0.08", "b 0.08"],
        );
    }

    #[test]
    fn no_rows_and_integers() {
        check("SELECT p_adjust(p) OVER () FROM TESTS WHERE false", &[]);
        check("SELECT p_adjust(1, 'bh') OVER ()", &["1.0"]);
        check("SELECT p_adjust(0.5, NULL) OVER ()", &["NULL"]);
        check("SELECT p_adjust_level(0.5, 'none', 0.1) OVER ()", &["0.1"]);
    }

    #[test]
    fn impossible_arguments_are_errors() {
        let fails = |sql: &str, code, part| testing::check_error(&context(), sql, code, part);
        fails("SELECT p_adjust(2.0) OVER ()", "22023", "2 is no p");
        fails(
            "SELECT p_adjust(0.5, 'fdr') OVER ()",
            "22023",
            "Use one of 'holm'",
        );
        fails(
            "SELECT p_adjust_level(0.5, 'bh', 1) OVER ()",
            "22023",
            "alpha can't be 1",
        );
        fails(
            "SELECT p_adjust(0.5, m) OVER () FROM (VALUES ('bh'), ('by')) AS s(m)",
            "22023",
            "differs between rows",
        );
        fails("SELECT p_adjust(true) OVER ()", "42804", "a number as p");
        fails(
            "SELECT p_adjust(0.5, 'bh', 0.1) OVER ()",
            "42883",
            "Write p_adjust(p [, method])",
        );
    }
}
