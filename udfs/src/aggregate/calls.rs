//! What the functions over event logs are called with: which types fit, and the errors of those that don't.
//!
//! DataFusion flattens an error of a function's type coercion into text. So a type that doesn't fit is left
//! as it is there, and the check of the return type names it, with a SQLSTATE.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;

use super::hits::time::time_type;
use super::journey::arguments::literal;
use crate::error::FunnelError;

/// What the error of a condition asks for.
const WANTED_CONDITION: &str = "a boolean";

/// What the error of a time asks for.
const WANTED_TIME: &str = "a timestamp, a date or an integer";

/// The type of the values that a dictionary stands for; any other type itself.
pub(crate) fn plain(given: &DataType) -> &DataType {
    match given {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// The type to coerce a condition to: true or false, or an integer that isn't 0, as ClickHouse has it.
pub(crate) fn condition_type(given: &DataType) -> DataType {
    match plain(given) {
        DataType::Boolean | DataType::Null => DataType::Boolean,
        integer if integer.is_integer() => DataType::Boolean,
        _ => given.clone(),
    }
}

/// 42883: a call that asks for DISTINCT of a function to which every row matters.
pub(crate) fn refuse_distinct(function: &str, is_distinct: bool) -> Result<(), FunnelError> {
    match is_distinct {
        true => Err(FunnelError::WrongCall {
            message: format!("{function}() doesn't take DISTINCT"),
            hint: "Leave it out, or call it over (SELECT DISTINCT …).".to_owned(),
        }),
        false => Ok(()),
    }
}

/// The type to coerce a time to; one that is none is left for [`check_time`] to name.
pub(crate) fn coerced_time(given: &DataType) -> DataType {
    time_type(given).unwrap_or_else(|| given.clone())
}

/// Checks the type of a time after coercion.
///
/// # Errors
/// 42804 for a type that is none of a time.
pub(crate) fn check_time(function: &str, given: &DataType) -> Result<(), FunnelError> {
    match time_type(given).as_ref() == Some(given) {
        true => Ok(()),
        false => Err(wrong_type(function, "ts", given, WANTED_TIME)),
    }
}

/// Checks conditions after coercion; `name_of` names the one of a position.
///
/// # Errors
/// 42804 for a type that is none of a condition.
pub(crate) fn check_conditions(
    function: &str,
    conditions: &[DataType],
    name_of: impl Fn(usize) -> String,
) -> Result<(), FunnelError> {
    match conditions
        .iter()
        .position(|given| *given != DataType::Boolean)
    {
        Some(at) => Err(wrong_type(
            function,
            &name_of(at),
            &conditions[at],
            WANTED_CONDITION,
        )),
        None => Ok(()),
    }
}

/// 42804: an argument of the wrong type.
pub(crate) fn wrong_type(
    function: &str,
    argument: &str,
    given: &DataType,
    wanted: &str,
) -> FunnelError {
    FunnelError::WrongType {
        message: format!("argument {argument} of {function}() can't be {given}"),
        hint: format!("Give it {wanted}."),
    }
}

/// 42883: a call with a number of arguments that the function doesn't take.
pub(crate) fn wrong_call(function: &str, given: usize, syntax: &str) -> FunnelError {
    let plural = if given == 1 { "" } else { "s" };
    FunnelError::WrongCall {
        message: format!("{function}() can't be called with {given} argument{plural}"),
        hint: format!("Write {syntax}."),
    }
}

/// 22023: more conditions, values or intervals than a mask has bits for.
pub(crate) fn too_many(function: &str, things: &str, given: usize, most: usize) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("{function}() can't take {given} {things}"),
        hint: format!("Write at most {most}."),
    }
}

/// The text of a literal argument, which has to be one of `allowed`.
///
/// # Errors
/// 22023 when it depends on the row, is NULL, or is another text.
pub(crate) fn choice(
    expr: &Arc<dyn PhysicalExpr>,
    function: &str,
    argument: &str,
    allowed: &[&str],
) -> Result<usize, FunnelError> {
    let value = literal(expr, function, argument)?;
    let given = text_of(&value);
    let found = given.and_then(|text| allowed.iter().position(|name| *name == text));
    found.ok_or_else(|| FunnelError::InvalidArgument {
        message: match given {
            Some(text) => format!("argument {argument} of {function}() can't be '{text}'"),
            None => format!("argument {argument} of {function}() can't be NULL"),
        },
        hint: format!("Write one of: '{}'.", allowed.join("', '")),
    })
}

fn text_of(value: &ScalarValue) -> Option<&str> {
    value.try_as_str().flatten()
}
