//! The options of `window_funnel_detail` and `window_funnel_attempts`, which are given by name.
//!
//! Planned as `name(window, time, counting, as_of, optional, step_windows, key, hold, exclusions, exclude_between, steps,
//! condition, …, exclusion, …)`: a missing option is NULL, `exclusions` and `steps` say how many there are.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg};

use super::order::flatten;
use super::syntax::{
    Argument, argument, array, elements, expression, into_expression, null, number, unnamed,
};
use crate::definition::text::folded;
use crate::error::{FunnelError, Kind};

/// Every option, as the error about another one lists them.
const OPTIONS: [&str; 8] = [
    "key",
    "hold",
    "as_of",
    "counting",
    "optional",
    "step_windows",
    "exclude",
    "exclude_between",
];

/// Window and time stand before the conditions.
const CONDITIONS_AT: usize = 2;

/// Puts options by name into their places.
pub(super) fn resolve(name: &str, arguments: &mut Vec<FunctionArg>) -> Result<(), FunnelError> {
    let mut options = Options::default();
    let mut given = Vec::new();
    for argument in arguments.drain(..) {
        match (option_name(&argument), expression(&argument)) {
            (Some(option), Some(value)) => options.set(name, option, value.clone())?,
            _ => given.push(argument),
        }
    }
    check_order(name, &given)?;
    flatten(name, CONDITIONS_AT, &mut given)?;
    let given = given.into_iter().map(|argument| {
        into_expression(argument).ok_or_else(|| FunnelError::WrongCall {
            message: format!("{name}() can't take * as an argument"),
            hint: syntax(name),
        })
    });
    let mut given: Vec<Expr> = given.collect::<Result<_, _>>()?;
    let steps = given.split_off(CONDITIONS_AT);
    let exclusions = options.take_exclusions(name)?;
    let ranges = options.take_ranges(name, exclusions.len())?;
    let placed = [
        "counting",
        "as_of",
        "optional",
        "step_windows",
        "key",
        "hold",
    ];
    given.extend(placed.map(|option| options.take(option).unwrap_or_else(null)));
    given.extend([number(exclusions.len()), ranges, number(steps.len())]);
    given.extend(steps);
    given.extend(exclusions);
    arguments.extend(given.into_iter().map(unnamed));
    Ok(())
}

/// The name in small letters of an argument by name.
fn option_name(argument: &FunctionArg) -> Option<String> {
    match argument {
        FunctionArg::Named { name, .. }
        | FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            ..
        } => Some(folded(name)),
        _ => None,
    }
}

fn check_order(name: &str, given: &[FunctionArg]) -> Result<(), FunnelError> {
    let kinds: Vec<Argument> = given.iter().map(argument).collect();
    let wrong = |message: String, hint: String| Err(FunnelError::WrongCall { message, hint });
    match kinds.as_slice() {
        [] | [_] | [_, _] => wrong(
            format!("{name}() needs a window, a time and a condition"),
            syntax(name),
        ),
        [
            _,
            Argument::Computed,
            Argument::Text | Argument::Integer,
            ..,
        ]
        | [_, Argument::Text | Argument::Integer, ..] => wrong(
            format!("{name}() takes no mode by its place"),
            format!(
                "Write counting => 'strict' and the like at the end. {}",
                syntax(name)
            ),
        ),
        [_, Argument::Array, ..] => wrong(
            format!("{name}() has an array in the place of its time"),
            syntax(name),
        ),
        _ => Ok(()),
    }
}

fn syntax(name: &str) -> String {
    format!("Write {name}(window, time, condition, …, option => value, …).")
}

/// The options that were given, in that order.
#[derive(Default)]
struct Options {
    given: Vec<(String, Expr)>,
}

impl Options {
    fn set(&mut self, function: &str, option: String, value: Expr) -> Result<(), FunnelError> {
        if !OPTIONS.contains(&option.as_str()) {
            return Err(FunnelError::Unknown {
                kind: Kind::Argument,
                name: option,
                place: format!(" in {function}()"),
                existing: OPTIONS.map(str::to_owned).to_vec(),
            });
        }
        if self.given.iter().any(|(name, _)| *name == option) {
            return Err(FunnelError::Duplicate {
                kind: Kind::Argument,
                hint: format!("Write {option} once."),
                name: option,
            });
        }
        self.given.push((option, value));
        Ok(())
    }

    fn take(&mut self, option: &str) -> Option<Expr> {
        let at = self.given.iter().position(|(name, _)| name == option)?;
        Some(self.given.swap_remove(at).1)
    }

    /// The conditions of `exclude`: those of an array, or one.
    fn take_exclusions(&mut self, function: &str) -> Result<Vec<Expr>, FunnelError> {
        let Some(value) = self.take("exclude") else {
            return Ok(Vec::new());
        };
        match elements(&value) {
            Some([]) => Err(FunnelError::InvalidArgument {
                message: format!("exclude of {function}() is an empty array"),
                hint: "Write the conditions to exclude in it, or leave exclude out.".to_owned(),
            }),
            Some(conditions) => Ok(conditions.to_vec()),
            None => Ok(vec![value]),
        }
    }

    /// `exclude_between` as an array with an element for each exclusion, or NULL.
    fn take_ranges(&mut self, function: &str, exclusions: usize) -> Result<Expr, FunnelError> {
        let Some(value) = self.take("exclude_between") else {
            return Ok(null());
        };
        if exclusions == 0 {
            return Err(FunnelError::InvalidArgument {
                message: format!("exclude_between of {function}() has nothing to exclude"),
                hint: "Write exclude => condition beside it.".to_owned(),
            });
        }
        let ranges = match elements(&value) {
            Some(ranges) => ranges.to_vec(),
            None => vec![value],
        };
        if ranges.len() != exclusions {
            return Err(FunnelError::InvalidArgument {
                message: format!(
                    "exclude_between of {function}() has {} elements for {exclusions} exclusions",
                    ranges.len()
                ),
                hint: "Write a text such as '2-3' for each exclusion, or NULL for the whole chain."
                    .to_owned(),
            });
        }
        Ok(array(ranges))
    }
}
