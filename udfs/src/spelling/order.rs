//! The order of the arguments: where the mode stands, and conditions that came as an array.

use datafusion::sql::sqlparser::ast::FunctionArg;

use super::syntax::{Argument, argument, elements, expression, unnamed};
use crate::error::FunnelError;

/// `window, modes, time, conditions`; StarRocks' `window, time, mode, [conditions]` is brought into that order.
pub(super) fn window(name: &str, arguments: &mut Vec<FunctionArg>) -> Result<(), FunnelError> {
    no_names(name, arguments, || window_syntax(name))?;
    let kinds: Vec<Argument> = arguments.iter().map(argument).collect();
    match kinds.get(1..).unwrap_or_default() {
        [Argument::Computed, Argument::Integer, Argument::Array, ..] => arguments.swap(1, 2),
        [Argument::Computed, Argument::Integer, ..] => {
            return Err(mode_without_array(name, arguments));
        }
        [Argument::Computed, Argument::Text, ..] => return Err(mode_behind_time(name, arguments)),
        _ => {}
    }
    let time_at = 1 + modes(arguments);
    if let Some(time) = arguments.get(time_at)
        && argument(time) != Argument::Computed
    {
        return Err(constant_time(name, time));
    }
    flatten(name, time_at + 1, arguments)
}

/// How many arguments behind the window are modes: any number of texts, or one integer.
fn modes(arguments: &[FunctionArg]) -> usize {
    let behind = arguments.get(1..).unwrap_or_default();
    let kinds = behind.iter().map(argument);
    let texts = kinds
        .clone()
        .take_while(|kind| *kind == Argument::Text)
        .count();
    let integers = kinds
        .take_while(|kind| *kind == Argument::Integer)
        .take(1)
        .count();
    texts + integers
}

/// Conditions from the argument at `conditions_at` on, counted from 0.
pub(super) fn listed(
    name: &str,
    conditions_at: usize,
    arguments: &mut Vec<FunctionArg>,
) -> Result<(), FunnelError> {
    no_names(name, arguments, || {
        format!("Write the arguments of {name}() in order.")
    })?;
    flatten(name, conditions_at, arguments)
}

/// `[a, b]` in the place of the conditions as `a, b`.
pub(super) fn flatten(
    name: &str,
    conditions_at: usize,
    arguments: &mut Vec<FunctionArg>,
) -> Result<(), FunnelError> {
    let conditions = arguments.get(conditions_at..).unwrap_or_default();
    if conditions
        .iter()
        .all(|condition| argument(condition) != Argument::Array)
    {
        return Ok(());
    }
    if conditions.len() > 1 {
        return Err(FunnelError::WrongCall {
            message: format!("{name}() has conditions inside of an array and beside it"),
            hint: "Write all conditions in one array, or one by one.".to_owned(),
        });
    }
    let array = arguments.pop();
    let list = array.as_ref().and_then(expression).and_then(elements);
    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Err(FunnelError::WrongCall {
            message: format!("{name}() has an empty array of conditions"),
            hint: "Write at least one condition in the array.".to_owned(),
        });
    }
    arguments.extend(list.iter().cloned().map(unnamed));
    Ok(())
}

fn no_names(
    name: &str,
    arguments: &[FunctionArg],
    syntax: impl FnOnce() -> String,
) -> Result<(), FunnelError> {
    if arguments
        .iter()
        .all(|argument| matches!(argument, FunctionArg::Unnamed(_)))
    {
        return Ok(());
    }
    Err(FunnelError::WrongCall {
        message: format!("{name}() takes no arguments by name"),
        hint: syntax(),
    })
}

fn window_syntax(name: &str) -> String {
    format!("Write {name}(window, mode, time, condition, …); the mode may be left out.")
}

fn mode_without_array(name: &str, arguments: &[FunctionArg]) -> FunnelError {
    let (time, mode) = (shown(arguments, 1), shown(arguments, 2));
    FunnelError::WrongCall {
        message: format!("{name}() has the number {mode} behind its time: a mode or a condition?"),
        hint: format!(
            "Write {name}(window, {mode}, {time}, condition, …), or put the conditions into an array: \
             {name}(window, {time}, {mode}, ARRAY[condition, …])."
        ),
    }
}

fn mode_behind_time(name: &str, arguments: &[FunctionArg]) -> FunnelError {
    let (time, mode) = (shown(arguments, 1), shown(arguments, 2));
    FunnelError::WrongCall {
        message: format!("{name}() has the text {mode} behind its time"),
        hint: format!(
            "A mode stands before the time: {name}(window, {mode}, {time}, condition, …)."
        ),
    }
}

fn constant_time(name: &str, time: &FunctionArg) -> FunnelError {
    FunnelError::WrongCall {
        message: format!("{name}() has the constant {time} in the place of its time"),
        hint: window_syntax(name),
    }
}

/// An argument as it is written, or what it is for when it is long.
fn shown(arguments: &[FunctionArg], at: usize) -> String {
    const LONGEST: usize = 40;
    let written = arguments
        .get(at)
        .and_then(expression)
        .map(ToString::to_string);
    written
        .filter(|text| text.chars().count() <= LONGEST)
        .unwrap_or_else(|| "time".to_owned())
}
