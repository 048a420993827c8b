//! Which of several arms is best, and how sure is that? By Bayes' rule, of rates and of means.
//!
//! `ab_best(k, n)` is a list with, for each arm, the chance that its rate is the highest of all, and what choosing it loses against the best one on average.
//! `ab_best_mean(mean, error)` is the same of means with their standard errors. The integrals are in `statistics/posterior.rs`.
//!
//! NULL where an argument is. An arm with a NULL in a list, or with a standard error of 0, is left out: its element has NULLs.
//!
//! Cost: some 500 points an arm, at each of which every arm is evaluated; at most 200 arms.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, Float64Array, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::ab_bayes::known_rate;
use super::formula::Row;
use super::rate_ci::arguments::{Kind, Parameters, Rows, STATISTICS};
use super::rate_ci::interval::check_counts;
use crate::aggregate::columns::{item_field, nullable_lists};
use crate::error::FunnelError;
use crate::statistics::posterior::{Best, Known, best};

/// More arms than any test has.
const MOST_ARMS: usize = 200;

/// The chance of each arm's rate to be the highest, and the expected loss of choosing it.
///
/// - `k`, `n`: lists of counts, an element an arm, `0 <= k <= n`
/// - `prior_alpha`, `prior_beta`: as for [`ab_bayes_udf`](super::ab_bayes::ab_bayes_udf)
/// - returns `List<Struct { prob_best, expected_loss }>`, Float64, in the order of the arms; the chances are 1 together
/// - errors: 22023 for impossible counts or priors, lists of different lengths or more than 200 arms
/// - source: as of [`ab_bayes_udf`](super::ab_bayes::ab_bayes_udf)
/// ```slt
/// query RR
/// SELECT round(r['prob_best'], 6), round(r['expected_loss'], 6)
/// FROM (SELECT unnest(ab_best([120, 150], [1000, 1000])) AS r)
/// ----
/// 0.024932 0.030084
/// 0.975068 0.000144
/// ```
pub fn ab_best_udf() -> Arc<ScalarUDF> {
    udf(Of::Rates)
}

/// The chance of each arm's mean to be the highest, and the expected loss of choosing it.
///
/// - `mean`, `error`: lists of Float64, an element an arm: a mean and its standard error, positive
/// - returns and errors: as for [`ab_best_udf`]
/// - source: two normal distributions: the example is Φ(2/5)
/// ```slt
/// query R
/// SELECT round(r['prob_best'], 6) FROM (SELECT unnest(ab_best_mean([10, 12], [3, 4])) AS r)
/// ----
/// 0.344578
/// 0.655422
/// ```
pub fn ab_best_mean_udf() -> Arc<ScalarUDF> {
    udf(Of::Means)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Rates,
    Means,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Of::Rates => "ab_best",
            Of::Means => "ab_best_mean",
        }
    }

    fn parameters(self) -> Parameters {
        match self {
            Of::Rates => Parameters {
                required: 2,
                list: &[
                    ("k", Kind::Numbers),
                    ("n", Kind::Numbers),
                    ("prior_alpha", Kind::Number),
                    ("prior_beta", Kind::Number),
                ],
            },
            Of::Means => Parameters {
                required: 2,
                list: &[("mean", Kind::Numbers), ("error", Kind::Numbers)],
            },
        }
    }
}

fn udf(of: Of) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(AbBest {
        of,
        signature: of.parameters().signature(),
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AbBest {
    of: Of,
    signature: Signature,
}

impl ScalarUDFImpl for AbBest {
    fn name(&self) -> &str {
        self.of.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.of.parameters().coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        self.of.parameters().check(self.name(), coerced)?;
        Ok(DataType::List(item_field(DataType::Struct(fields()))))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let found = rows.map(|at| arms(self.of, &Row::new(&rows, at)).map(Some))?;
        rows.finish(column(&found)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGES: LazyLock<[Documentation; 2]> =
            LazyLock::new(|| [Of::Rates, Of::Means].map(documentation));
        let [rates, means] = &*PAGES;
        Some(match self.of {
            Of::Rates => rates,
            Of::Means => means,
        })
    }
}

fn documentation(of: Of) -> Documentation {
    let (description, texts, call): (_, &[&str], _) = match of {
        Of::Rates => (
            "The chance of each arm's rate to be the highest, and the expected loss of choosing it: a list of structs of prob_best and expected_loss.",
            &[
                "How many of each arm reached the goal, a list.",
                "How many each arm has, a list.",
                "Shape of the prior for successes, 1 when left out.",
                "Shape of the prior for failures, 1 when left out.",
            ],
            "ab_best([120, 150, 140], [1000, 1000, 1000])",
        ),
        Of::Means => (
            "The chance of each arm's mean to be the highest, and the expected loss of choosing it: a list of structs of prob_best and expected_loss.",
            &[
                "Each arm's mean, a list.",
                "Each mean's standard error, a list.",
            ],
            "ab_best_mean([10, 12], [3, 4])",
        ),
    };
    let parameters = of.parameters();
    let mut page = Documentation::builder(STATISTICS, description, parameters.syntax(of.name()));
    for ((name, _), text) in parameters.list.iter().zip(texts) {
        page = page.with_argument(*name, *text);
    }
    page.with_sql_example(format!("```sql\nSELECT {call};\n```"))
        .build()
}

/// What each arm's chances are; `None` for one of which nothing is known.
fn arms(of: Of, row: &Row) -> Result<Vec<Option<Best>>> {
    let (first, second) = (row.numbers(0)?, row.numbers(1)?);
    if first.len() != second.len() || first.len() > MOST_ARMS {
        return Err(FunnelError::InvalidArgument {
            message: format!(
                "{}() can't compare lists of {} and {} arms",
                of.name(),
                first.len(),
                second.len()
            ),
            hint: format!("Give two lists of the same length, of at most {MOST_ARMS} arms."),
        }
        .into());
    }
    let prior = match of {
        Of::Rates => (row.number(2, 1.0)?, row.number(3, 1.0)?),
        Of::Means => (1.0, 1.0),
    };
    let mut known = Vec::with_capacity(first.len());
    for pair in first.iter().zip(&second) {
        known.push(match (of, pair) {
            (Of::Rates, (Some(k), Some(n))) => {
                check_counts(*k as i64, *n as i64)?;
                Some(known_rate((*k as i64, *n as i64), prior.0, prior.1)?)
            }
            (Of::Means, (Some(mean), Some(error))) if *error > 0.0 => Some(Known::Mean {
                mean: *mean,
                error: *error,
            }),
            _ => None,
        });
    }
    let present: Vec<Known> = known.iter().flatten().copied().collect();
    let mut found = best(&present).into_iter();
    let arms = known.iter().map(|arm| arm.and_then(|_| found.next()));
    Ok(arms.collect())
}

fn fields() -> Fields {
    let names = ["prob_best", "expected_loss"];
    let fields = names.map(|name| Field::new(name, DataType::Float64, true));
    Fields::from_iter(fields)
}

fn column(rows: &[Option<Vec<Option<Best>>>]) -> Result<ArrayRef> {
    let arms: Vec<Option<Best>> = rows.iter().flatten().flatten().copied().collect();
    let values = |of: fn(Best) -> f64| -> ArrayRef {
        Arc::new(arms.iter().map(|arm| arm.map(of)).collect::<Float64Array>())
    };
    let columns = vec![
        values(|arm| arm.probability),
        values(|arm| arm.expected_loss),
    ];
    let items = Arc::new(StructArray::try_new(fields(), columns, None)?);
    let lengths = rows
        .iter()
        .map(|row| row.as_ref().map_or(0, Vec::len))
        .collect();
    let nulls = rows.iter().map(Option::is_some).collect::<NullBuffer>();
    nullable_lists(items, lengths, Some(nulls))
}
