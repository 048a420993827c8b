//! The functions that compare two rates: counts of two groups in, an estimate and its limits out.
//!
//! What is compared is a [`Measure`]; each has three functions, of the estimate with both limits and of either limit alone.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::Part;
use super::arguments::{Kind, Parameters, Rows, STATISTICS};
use super::interval::{Confidence, DEFAULT_CONFIDENCE};
use crate::error::FunnelError;

const PARAMETERS: Parameters = Parameters {
    required: 4,
    list: &[
        ("k1", Kind::Count),
        ("n1", Kind::Count),
        ("k2", Kind::Count),
        ("n2", Kind::Count),
        ("confidence", Kind::Number),
        ("method", Kind::Text),
    ],
};

/// A way to compare two rates.
pub(in crate::scalar) trait Measure:
    Debug + Eq + Hash + Send + Sync + 'static
{
    /// The names of the functions: of all, of the lower and of the upper limit.
    const NAMES: [&'static str; 3];
    /// The name of the estimate in the struct.
    const ESTIMATE: &'static str;
    /// What the functions return, in the order of their names.
    const DESCRIPTIONS: [&'static str; 3];
    /// What the method may be.
    const METHODS: &'static str;

    /// The estimate and its limits; `None` where a group is empty.
    ///
    /// - `first`, `second`: each group's count that reached the goal, and its size
    /// - `method`: by its name, or the default
    /// - errors: 22023 when a count is negative or larger than its group, or there is no such method
    fn compare(
        first: (i64, i64),
        second: (i64, i64),
        confidence: Confidence,
        method: Option<&str>,
    ) -> Result<Option<[Option<f64>; 3]>, FunnelError>;
}

/// The function of a part of a measure.
pub(in crate::scalar) fn comparison_udf<M: Measure>(part: Part) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Comparison::<M> {
        part,
        signature: PARAMETERS.signature(),
        documentation: documentation::<M>(part),
        measure: PhantomData,
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Comparison<M> {
    part: Part,
    signature: Signature,
    documentation: Documentation,
    measure: PhantomData<M>,
}

impl<M: Measure> ScalarUDFImpl for Comparison<M> {
    fn name(&self) -> &str {
        self.part.of(M::NAMES)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        PARAMETERS.check(self.name(), coerced)?;
        Ok(self.part.data_type(M::ESTIMATE))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let (k1, n1) = (rows.counts(0)?, rows.counts(1)?);
        let (k2, n2) = (rows.counts(2)?, rows.counts(3)?);
        let (confidences, methods) = (rows.optional_numbers(4)?, rows.optional_texts(5)?);
        let limits = rows.map(|row| {
            let confidence = confidences.map_or(DEFAULT_CONFIDENCE, |given| given.value(row));
            let first = (k1.value(row), n1.value(row));
            let second = (k2.value(row), n2.value(row));
            let method = methods.map(|given| given.value(row));
            Ok(M::compare(
                first,
                second,
                Confidence::new(confidence)?,
                method,
            )?)
        })?;
        rows.finish(self.part.column(M::ESTIMATE, &limits)?)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn documentation<M: Measure>(part: Part) -> Documentation {
    let name = part.of(M::NAMES);
    let description = part.of(M::DESCRIPTIONS);
    Documentation::builder(STATISTICS, description, PARAMETERS.syntax(name))
        .with_argument(
            "k1",
            "How many entities of the first group reached the goal: an integer from 0 to n1.",
        )
        .with_argument("n1", "How many entities the first group has.")
        .with_argument(
            "k2",
            "How many entities of the second group reached the goal: an integer from 0 to n2.",
        )
        .with_argument("n2", "How many entities the second group has.")
        .with_argument(
            "confidence",
            "How often the interval holds the true value: a fraction, 0.95 when left out.",
        )
        .with_argument("method", M::METHODS)
        .with_sql_example(format!("```sql\nSELECT {name}(56, 70, 48, 80);\n```"))
        .build()
}
