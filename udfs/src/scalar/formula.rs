//! Functions that make a number, or a struct of some, of a few numbers: what they share.
//!
//! A function is a [`Formula`]: its parameters, the fields of its result, its texts, and what it computes of a row.

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields, Float64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::rate_ci::arguments::{Parameters, Rows, STATISTICS};
use super::rate_ci::interval::check_counts;
use crate::aggregate::columns::{items_of, list, primitive};
use crate::error::FunnelError;

/// A function on numbers.
pub(crate) trait Formula: Debug + Eq + Hash + Send + Sync + 'static {
    /// Its name.
    const NAME: &'static str;
    /// What it takes.
    const PARAMETERS: Parameters;
    /// The fields of its struct; a field without a name alone is a number by itself.
    const FIELDS: &'static [(&'static str, Type)];
    /// What it says, for catalogs.
    const DESCRIPTION: &'static str;
    /// What each parameter is.
    const ARGUMENTS: &'static [&'static str];
    /// A statement that calls it.
    const EXAMPLE: &'static str;

    /// The values of the fields; `None` where there is nothing to say.
    ///
    /// - errors: 22023 for impossible input
    fn compute(row: &Row) -> Result<Option<Vec<Option<f64>>>>;
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// Float64.
    Number,
    /// Int64.
    Count,
    /// Boolean: whether the value is 1.
    Truth,
}

impl Type {
    fn data_type(self) -> DataType {
        match self {
            Type::Number => DataType::Float64,
            Type::Count => DataType::Int64,
            Type::Truth => DataType::Boolean,
        }
    }

    fn column(self, values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
        match self {
            Type::Number => Arc::new(values.collect::<Float64Array>()),
            Type::Count => Arc::new(
                values
                    .map(|value| value.map(|value| value as i64))
                    .collect::<Int64Array>(),
            ),
            Type::Truth => Arc::new(
                values
                    .map(|value| value.map(|value| value == 1.0))
                    .collect::<BooleanArray>(),
            ),
        }
    }
}

/// The arguments of one row; none of them is NULL.
pub(crate) struct Row<'a> {
    rows: &'a Rows,
    at: usize,
}

impl<'a> Row<'a> {
    /// A count; `default` where it is left out.
    pub(crate) fn count(&self, position: usize, default: i64) -> Result<i64> {
        let column = self.rows.optional_counts(position)?;
        Ok(column.map_or(default, |column| column.value(self.at)))
    }

    /// A number; `default` where it is left out.
    pub(crate) fn number(&self, position: usize, default: f64) -> Result<f64> {
        let column = self.rows.optional_numbers(position)?;
        Ok(column.map_or(default, |column| column.value(self.at)))
    }

    /// A text that may be left out.
    pub(crate) fn text(&self, position: usize) -> Result<Option<&'a str>> {
        let column = self.rows.optional_texts(position)?;
        Ok(column.map(|column| column.value(self.at)))
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, position: usize) -> Result<Vec<Option<f64>>> {
        let lists = list(self.rows.required(position)?)?;
        let values = primitive::<Float64Type>(lists.values())?;
        let items = items_of(lists, self.at);
        Ok(values.iter().skip(items.start).take(items.len()).collect())
    }

    /// Two groups, each with how many of it succeeded and its size: the first four parameters.
    ///
    /// - errors: 22023 for counts that can't be
    pub(crate) fn two_groups(&self) -> Result<[(i64, i64); 2]> {
        let mut groups = [(0, 0); 2];
        for (at, group) in groups.iter_mut().enumerate() {
            *group = (self.count(2 * at, 0)?, self.count(2 * at + 1, 0)?);
            check_counts(group.0, group.1)?;
        }
        Ok(groups)
    }
}

/// A number that has to be between two others, both left out.
///
/// # Errors
/// 22023 when it isn't.
pub(crate) fn check_between(
    name: &str,
    value: f64,
    lowest: f64,
    highest: f64,
) -> Result<(), FunnelError> {
    match value > lowest && value < highest {
        true => Ok(()),
        false => Err(FunnelError::InvalidArgument {
            message: format!("{name} can't be {value}"),
            hint: match highest.is_finite() {
                true => format!("Write a number between {lowest} and {highest}."),
                false => format!("Write a number above {lowest}."),
            },
        }),
    }
}

/// The function of a formula.
pub(crate) fn formula_udf<F: Formula>() -> Arc<ScalarUDF> {
    let mut page =
        Documentation::builder(STATISTICS, F::DESCRIPTION, F::PARAMETERS.syntax(F::NAME));
    for ((name, _), text) in F::PARAMETERS.list.iter().zip(F::ARGUMENTS) {
        page = page.with_argument(*name, *text);
    }
    let page = page.with_sql_example(format!("```sql\n{}\n```", F::EXAMPLE));
    Arc::new(ScalarUDF::from(Function::<F> {
        signature: F::PARAMETERS.signature(),
        documentation: page.build(),
        formula: PhantomData,
    }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function<F> {
    signature: Signature,
    documentation: Documentation,
    formula: PhantomData<F>,
}

impl<F: Formula> ScalarUDFImpl for Function<F> {
    fn name(&self) -> &str {
        F::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(F::PARAMETERS.coerce(given))
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        F::PARAMETERS.check(F::NAME, coerced)?;
        Ok(match F::FIELDS {
            [("", alone)] => alone.data_type(),
            _ => DataType::Struct(fields::<F>()),
        })
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = Rows::new(&call)?;
        let values = rows.map(|at| F::compute(&Row { rows: &rows, at }))?;
        let column = |at: usize, field: Type| {
            field.column(
                values
                    .iter()
                    .map(|row| row.as_ref().and_then(|row| row.get(at).copied().flatten())),
            )
        };
        let result: ArrayRef = match F::FIELDS {
            [("", alone)] => column(0, *alone),
            several => {
                let columns = several.iter().enumerate();
                let columns = columns.map(|(at, (_, field))| column(at, *field));
                let nulls = values.iter().map(Option::is_some).collect::<NullBuffer>();
                let parts = columns.collect();
                Arc::new(StructArray::try_new(fields::<F>(), parts, Some(nulls))?)
            }
        };
        rows.finish(result)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

fn fields<F: Formula>() -> Fields {
    let fields = F::FIELDS.iter();
    fields
        .map(|(name, field)| Field::new(*name, field.data_type(), true))
        .collect()
}
