//! What the functions on numbers share: their parameters in, one value a row out.
//!
//! DataFusion flattens an error of a function's type coercion into text. So the coercion here never fails: it leaves a type
//! that doesn't fit as it is, and the check of the return type then says what is wrong, with a SQLSTATE.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::cast::{as_float64_array, as_int64_array, as_string_array};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, ScalarFunctionArgs, Signature, TypeSignature, Volatility,
};

use crate::aggregate::life_table::column as life_table;
use crate::definition::resolve::instant_type;
use crate::error::FunnelError;

/// The section of the documentation that has the statistics.
pub(crate) const STATISTICS: DocSection = DocSection {
    include: true,
    label: "Statistical Functions",
    description: None,
};

/// What a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A count, of any integer type.
    Count,
    /// A number of any type.
    Number,
    /// Text in any encoding.
    Text,
    /// True or false.
    Condition,
    /// A timestamp or a date.
    Instant,
    /// A list of numbers.
    Numbers,
    /// A list of texts.
    Texts,
    /// A result of `life_table`.
    LifeTable,
    /// A list of such results.
    LifeTables,
}

impl Kind {
    /// The one type that the function's code sees.
    fn data_type(self) -> DataType {
        match self {
            Kind::Count => DataType::Int64,
            Kind::Number => DataType::Float64,
            Kind::Text => DataType::Utf8,
            Kind::Condition => DataType::Boolean,
            Kind::Instant => instant_type(),
            Kind::Numbers => {
                DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
            }
            Kind::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            Kind::LifeTable => life_table::data_type(),
            Kind::LifeTables => DataType::List(Arc::new(Field::new_list_field(
                life_table::data_type(),
                true,
            ))),
        }
    }

    fn accepts(self, given: &DataType) -> bool {
        if given.is_null() {
            return true;
        }
        match self {
            Kind::Count => given.is_integer(),
            Kind::Number => given.is_numeric(),
            Kind::Text => match given {
                DataType::Dictionary(_, value) => value.is_string(),
                other => other.is_string(),
            },
            Kind::Condition => *given == DataType::Boolean,
            Kind::Instant => matches!(
                given,
                DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
            ),
            Kind::Numbers => item_type(given).is_some_and(|item| Kind::Number.accepts(item)),
            Kind::Texts => item_type(given).is_some_and(|item| Kind::Text.accepts(item)),
            Kind::LifeTable => item_type(given).is_some_and(life_table::fits),
            Kind::LifeTables => item_type(given).is_some_and(|item| Kind::LifeTable.accepts(item)),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Kind::Count => "an integer",
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::Condition => "a condition",
            Kind::Instant => "a timestamp or a date",
            Kind::Numbers => "a list of numbers",
            Kind::Texts => "a list of texts",
            Kind::LifeTable => "a result of life_table()",
            Kind::LifeTables => "a list of results of life_table()",
        }
    }
}

/// The type of a list's items; `None` for what isn't a list.
fn item_type(given: &DataType) -> Option<&DataType> {
    match given {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

/// The parameters of a function, in order; those after the required ones may be left out from the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters {
    /// How many have to be given.
    pub(crate) required: usize,
    /// Each parameter's name and kind.
    pub(crate) list: &'static [(&'static str, Kind)],
}

impl Parameters {
    /// A signature that takes the arguments by position and by name (`confidence => 0.9`).
    pub(crate) fn signature(self) -> Signature {
        Signature {
            type_signature: TypeSignature::UserDefined,
            volatility: Volatility::Immutable,
            parameter_names: Some(
                self.list
                    .iter()
                    .map(|(name, _)| (*name).to_owned())
                    .collect(),
            ),
        }
    }

    /// The types that the arguments are cast to; a type that doesn't fit stays, for [`Self::check`] to find.
    pub(crate) fn coerce(self, given: &[DataType]) -> Vec<DataType> {
        let coerced = given.iter().zip(self.list).map(|(given, (_, kind))| {
            if kind.accepts(given) {
                kind.data_type()
            } else {
                given.clone()
            }
        });
        // What is too many stays too, so that the number of arguments can be checked.
        coerced
            .chain(given.iter().skip(self.list.len()).cloned())
            .collect()
    }

    /// Checks the number and the types of coerced arguments.
    ///
    /// - errors: 42883 when there are too few or too many; 42804 when one has the wrong type
    pub(crate) fn check(self, function: &str, coerced: &[DataType]) -> Result<()> {
        let hint = format!("Write {}.", self.syntax(function));
        if coerced.len() < self.required || coerced.len() > self.list.len() {
            let plural = if coerced.len() == 1 { "" } else { "s" };
            let message = format!(
                "{function}() can't be called with {} argument{plural}",
                coerced.len()
            );
            return Err(FunnelError::WrongCall { message, hint }.into_datafusion());
        }
        for (given, (name, kind)) in coerced.iter().zip(self.list) {
            if *given != kind.data_type() {
                let message = format!("{function}() takes {} as {name}, not {given}", kind.noun());
                return Err(FunnelError::WrongType { message, hint }.into_datafusion());
            }
        }
        Ok(())
    }

    /// How a call is written: `rate_ci(k, n [, confidence [, method]])`.
    pub(crate) fn syntax(self, function: &str) -> String {
        let names = self.list.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let (required, optional) = names.split_at(self.required.min(names.len()));
        let optional_open = optional
            .iter()
            .map(|name| format!(" [, {name}"))
            .collect::<String>();
        let optional_close = "]".repeat(optional.len());
        format!(
            "{function}({}{optional_open}{optional_close})",
            required.join(", ")
        )
    }
}

/// The arguments of one batch, as columns of equal length.
pub(crate) struct Rows {
    columns: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
    all_literal: bool,
}

impl Rows {
    /// The arguments of a call, literals repeated for each row; if all are literals there is one row.
    pub(crate) fn new(call: &ScalarFunctionArgs) -> Result<Rows> {
        let all_literal = call
            .args
            .iter()
            .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        let nulls = columns.iter().fold(None, |nulls, column| {
            NullBuffer::union(nulls.as_ref(), column.nulls())
        });
        Ok(Rows {
            columns,
            nulls,
            all_literal,
        })
    }

    /// Whether an argument is given.
    pub(crate) fn has(&self, position: usize) -> bool {
        position < self.columns.len()
    }

    /// The value of each row by `compute`, and `None` for the rows where an argument is NULL.
    pub(crate) fn map<T>(
        &self,
        mut compute: impl FnMut(usize) -> Result<Option<T>>,
    ) -> Result<Vec<Option<T>>> {
        let len = self.columns.first().map_or(0, |column| column.len());
        let is_null = |row| self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        (0..len)
            .map(|row| if is_null(row) { Ok(None) } else { compute(row) })
            .collect()
    }

    /// A [`Kind::Count`] argument that has to be given.
    pub(crate) fn counts(&self, position: usize) -> Result<&Int64Array> {
        as_int64_array(self.required(position)?)
    }

    /// A [`Kind::Number`] argument that has to be given.
    pub(crate) fn numbers(&self, position: usize) -> Result<&Float64Array> {
        as_float64_array(self.required(position)?)
    }

    /// A [`Kind::Count`] argument that may be left out.
    pub(crate) fn optional_counts(&self, position: usize) -> Result<Option<&Int64Array>> {
        self.columns
            .get(position)
            .map(|column| as_int64_array(column))
            .transpose()
    }

    /// A [`Kind::Number`] argument that may be left out.
    pub(crate) fn optional_numbers(&self, position: usize) -> Result<Option<&Float64Array>> {
        self.columns
            .get(position)
            .map(|column| as_float64_array(column))
            .transpose()
    }

    /// A [`Kind::Text`] argument that may be left out.
    pub(crate) fn optional_texts(&self, position: usize) -> Result<Option<&StringArray>> {
        self.columns
            .get(position)
            .map(|column| as_string_array(column))
            .transpose()
    }

    /// The result of the call: a literal if every argument was one.
    pub(crate) fn finish(&self, result: ArrayRef) -> Result<ColumnarValue> {
        if self.all_literal {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &result, 0,
            )?));
        }
        Ok(ColumnarValue::Array(result))
    }

    /// An argument of any kind that has to be given.
    pub(crate) fn required(&self, position: usize) -> Result<&ArrayRef> {
        self.columns.get(position).ok_or_else(|| {
            internal_datafusion_err!("argument {position} is missing after the check")
        })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Running SQL in the tests of functions.
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use datafusion::arrow::array::RecordBatch;
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::error::DataFusionError;
    use datafusion::prelude::SessionContext;

    use crate::error::FunnelError;

    /// The result of a statement.
    pub(crate) async fn run(
        context: &SessionContext,
        sql: &str,
    ) -> Result<Vec<RecordBatch>, DataFusionError> {
        context.sql(sql).await?.collect().await
    }

    /// Runs a statement, and compares its rows: columns apart by a blank, NULL as `NULL`.
    #[track_caller]
    pub(crate) fn check(context: &SessionContext, sql: &str, expected: &[&str]) {
        let batches = block_on(run(context, sql)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = batches
            .iter()
            .flat_map(|batch| (0..batch.num_rows()).map(|row| show(batch, row)));
        assert_eq!(rows.collect::<Vec<_>>(), expected, "{sql}");
    }

    /// Runs a statement that has to fail, and compares the SQLSTATE and a part of the message.
    #[track_caller]
    pub(crate) fn check_error(context: &SessionContext, sql: &str, code: &str, part: &str) {
        let error = block_on(run(context, sql)).expect_err(sql);
        let found = FunnelError::find(&error).unwrap_or_else(|| panic!("{sql}: {error}"));
        assert_eq!(found.code(), code, "{sql}: {error}");
        let text = format!("{found} HINT: {}", found.hint().unwrap_or_default());
        assert!(text.contains(part), "{sql}: {text}");
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Runtime::new().unwrap().block_on(future)
    }

    fn show(batch: &RecordBatch, row: usize) -> String {
        let options = FormatOptions::default().with_null("NULL");
        let cells = batch.columns().iter().map(|column| {
            ArrayFormatter::try_new(column, &options)
                .unwrap()
                .value(row)
                .to_string()
        });
        cells.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETERS: Parameters = Parameters {
        required: 1,
        list: &[
            ("k", Kind::Count),
            ("confidence", Kind::Number),
            ("method", Kind::Text),
        ],
    };

    #[test]
    fn a_call_is_written_with_brackets_around_what_may_be_left_out() {
        assert_eq!(PARAMETERS.syntax("f"), "f(k [, confidence [, method]])");
        assert_eq!(
            Parameters {
                required: 3,
                ..PARAMETERS
            }
            .syntax("f"),
            "f(k, confidence, method)"
        );
    }

    #[test]
    fn types_that_fit_are_cast_and_others_are_left_for_the_check() {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
        let given = [DataType::UInt64, DataType::Int32, dictionary];
        let wanted = vec![DataType::Int64, DataType::Float64, DataType::Utf8];
        assert_eq!(PARAMETERS.coerce(&given), wanted);
        assert!(PARAMETERS.check("f", &wanted).is_ok());

        let wrong = PARAMETERS.coerce(&[DataType::Utf8View]);
        assert_eq!(wrong, [DataType::Utf8View]);
        let message = PARAMETERS
            .check("f", &wrong)
            .map_err(|error| error.to_string());
        assert!(
            message.is_err_and(|text| text.contains("f() takes an integer as k, not Utf8View"))
        );
        assert!(PARAMETERS.check("f", &[]).is_err());
        assert!(
            PARAMETERS
                .check("f", &PARAMETERS.coerce(&[given[1].clone(), DataType::Null]))
                .is_ok()
        );
    }
}
