//! What `journey` and `journey_row` may be called with: types to coerce, and literals to read.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::{MAX_STAGES, timestamp_type};
use crate::definition::model::Counting;
use crate::error::FunnelError;

/// An argument: what it may be, and its name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    /// A time, in microseconds.
    Time(&'static str),
    /// A set of stages.
    Stages(&'static str),
    /// True or false.
    Flag(&'static str),
    /// Any text.
    Text(&'static str),
    /// A length of time.
    Window(&'static str),
    /// A small number.
    Count(&'static str),
}

impl Argument {
    /// The type that the function works with.
    fn data_type(self) -> DataType {
        match self {
            Argument::Time(_) => timestamp_type(),
            Argument::Stages(_) => DataType::UInt64,
            Argument::Flag(_) => DataType::Boolean,
            Argument::Text(_) => DataType::Utf8,
            Argument::Window(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            Argument::Count(_) => DataType::Int32,
        }
    }

    /// Whether a value of this type can be made one of [`Self::data_type`] without a guess.
    fn accepts(self, given: &DataType) -> bool {
        match (self, given) {
            (_, DataType::Null) => true,
            (_, DataType::Dictionary(_, values)) => self.accepts(values),
            (Argument::Time(_), given) => {
                matches!(
                    given,
                    DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
                )
            }
            (Argument::Stages(_) | Argument::Count(_), given) => given.is_integer(),
            (Argument::Flag(_), given) => *given == DataType::Boolean,
            (Argument::Text(_), given) => given.is_string(),
            (Argument::Window(_), given) => matches!(given, DataType::Interval(_)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Argument::Time(name)
            | Argument::Stages(name)
            | Argument::Flag(name)
            | Argument::Text(name)
            | Argument::Window(name)
            | Argument::Count(name) => name,
        }
    }

    fn wanted(self) -> &'static str {
        match self {
            Argument::Time(_) => "a timestamp or a date",
            Argument::Stages(_) | Argument::Count(_) => "an integer",
            Argument::Flag(_) => "a boolean",
            Argument::Text(_) => "text",
            Argument::Window(_) => "an interval, such as INTERVAL '180 days', or NULL",
        }
    }
}

/// The types to coerce the arguments to; one that can't be is left for [`check_types`] to name.
pub(crate) fn coerce(
    arguments: impl IntoIterator<Item = Argument>,
    given: &[DataType],
) -> Vec<DataType> {
    let mut arguments = arguments.into_iter();
    given
        .iter()
        .map(|given| match arguments.next() {
            Some(argument) if argument.accepts(given) => argument.data_type(),
            _ => given.clone(),
        })
        .collect()
}

/// Checks the types after coercion.
///
/// # Errors
/// 42883 for the number of arguments, 42804 for their types.
pub(crate) fn check_types(
    function: &str,
    arguments: &[Argument],
    given: &[DataType],
) -> Result<(), FunnelError> {
    if arguments.len() != given.len() {
        return Err(wrong_count(function, arguments, given.len()));
    }
    for (argument, given) in arguments.iter().zip(given) {
        if argument.data_type() != *given {
            return Err(FunnelError::WrongType {
                message: format!(
                    "argument {} of {function}() can't be {given}",
                    argument.name()
                ),
                hint: format!("Give it {}.", argument.wanted()),
            });
        }
    }
    Ok(())
}

/// The error of a call with `given` arguments.
pub(crate) fn wrong_count(function: &str, arguments: &[Argument], given: usize) -> FunnelError {
    let names = arguments
        .iter()
        .map(|argument| argument.name())
        .collect::<Vec<_>>()
        .join(", ");
    FunnelError::WrongCall {
        message: format!("{function}() can't be called with {given} arguments"),
        hint: format!("Write {function}({names})."),
    }
}

/// The value of an argument that is the same for all rows.
///
/// # Errors
/// 22023 when it depends on the row.
pub(crate) fn literal(
    expr: &Arc<dyn PhysicalExpr>,
    function: &str,
    argument: &str,
) -> Result<ScalarValue, FunnelError> {
    // What can be computed without a row to look at is a literal, a cast of one included.
    match expr.evaluate(&RecordBatch::new_empty(Arc::new(Schema::empty()))) {
        Ok(ColumnarValue::Scalar(value)) => Ok(value),
        Ok(ColumnarValue::Array(_)) | Err(_) => Err(not_literal(function, argument)),
    }
}

/// The error of an argument that depends on the row.
pub(crate) fn not_literal(function: &str, argument: &str) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("argument {argument} of {function}() is not a literal"),
        hint: "Write its value, the same for all rows.".to_owned(),
    }
}

/// How entries count.
///
/// # Errors
/// 22023 for NULL and for an unknown name.
pub(crate) fn counting(value: &ScalarValue, function: &str) -> Result<Counting, FunnelError> {
    match value.try_as_str() {
        Some(Some(name)) => Counting::parse(name),
        Some(None) | None => Err(FunnelError::InvalidArgument {
            message: format!("argument counting of {function}() is not a text"),
            hint: format!("Write one of: {}.", Counting::NAMES.join(", ")),
        }),
    }
}

/// How long a journey may take.
///
/// # Errors
/// 22023 when it isn't an interval.
pub(crate) fn window(
    value: &ScalarValue,
    function: &str,
) -> Result<Option<IntervalMonthDayNano>, FunnelError> {
    match value {
        ScalarValue::IntervalMonthDayNano(window) => Ok(*window),
        value if value.is_null() => Ok(None),
        // Before coercion, it may still be one of the shorter intervals.
        ScalarValue::IntervalYearMonth(Some(months)) => {
            Ok(Some(IntervalMonthDayNano::new(*months, 0, 0)))
        }
        ScalarValue::IntervalDayTime(Some(value)) => {
            let nanoseconds = i64::from(value.milliseconds) * 1_000_000;
            Ok(Some(IntervalMonthDayNano::new(0, value.days, nanoseconds)))
        }
        _ => Err(FunnelError::InvalidArgument {
            message: format!("argument window of {function}() is not an interval"),
            hint: "Write a length of time, such as INTERVAL '180 days', or NULL.".to_owned(),
        }),
    }
}

/// How many stages there are.
///
/// # Errors
/// 22023 for NULL and for a negative number.
pub(crate) fn stage_count(value: &ScalarValue, function: &str) -> Result<usize, FunnelError> {
    match value {
        ScalarValue::Int32(Some(count)) => usize::try_from(*count).ok(),
        _ => None,
    }
    .ok_or_else(|| FunnelError::InvalidArgument {
        message: format!("argument stage_count of {function}() is not a number of stages"),
        hint: format!("Write a number of stages from 2 to {MAX_STAGES}."),
    })
}
