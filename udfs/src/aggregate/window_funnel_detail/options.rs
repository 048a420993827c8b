//! The literals of a call, read.

use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::call::{
    AS_OF, CONDITIONS, COUNTING, EXCLUDE_BETWEEN, EXCLUSIONS, OPTIONAL, STEP_WINDOWS, STEPS, WINDOW,
};
use super::rules::{Exclusion, Options, Rules};
use crate::aggregate::hits::{MAX_CONDITIONS, Window, time};
use crate::aggregate::journey::arguments;
use crate::definition::model::Counting;
use crate::error::FunnelError;

/// The literals of a call by their places; what stands at other places has no meaning.
pub(super) struct Literals<'a> {
    pub function: &'a str,
    pub time_type: &'a DataType,
    pub values: &'a [ScalarValue],
    /// How many arguments the call has.
    pub arguments: usize,
    /// Up to when rows are known where `as_of` doesn't say it; the last row where this is NULL.
    pub now: ScalarValue,
}

impl Literals<'_> {
    /// What they ask for.
    ///
    /// # Errors
    /// 22023 for what can't be.
    pub fn rules(&self) -> Result<Rules, FunnelError> {
        let steps = self.steps()?;
        Rules::new(Options {
            steps,
            window: Window::from_literal(&self.values[WINDOW], self.time_type, self.function)?,
            step_windows: self.step_windows()?,
            optional: self.optional()?,
            exclusions: self.exclusions(steps)?,
            held: false,
            counting: self.counting()?,
            as_of: self.as_of()?,
        })
    }

    fn invalid(&self, option: &str, wrong: &str, hint: &str) -> FunnelError {
        FunnelError::InvalidArgument {
            message: format!("{option} of {}() {wrong}", self.function),
            hint: hint.to_owned(),
        }
    }

    /// How many of the conditions are steps.
    pub fn steps(&self) -> Result<usize, FunnelError> {
        let conditions = self.arguments - CONDITIONS;
        let steps = whole(&self.values[STEPS]).and_then(|steps| usize::try_from(steps).ok());
        let exclusions = whole(&self.values[EXCLUSIONS]).unwrap_or(0);
        let fits = |steps: &usize| {
            exclusions >= 0 && Some(conditions) == steps.checked_add(exclusions as usize)
        };
        steps.filter(fits).ok_or_else(|| {
            self.invalid(
                "steps and exclusions",
                "are not as many as there are conditions",
                "Write the options by name, which counts the conditions.",
            )
        })
    }

    fn counting(&self) -> Result<Counting, FunnelError> {
        match &self.values[COUNTING] {
            value if value.is_null() => Ok(Counting::Ordered),
            value => arguments::counting(value, self.function),
        }
    }

    fn optional(&self) -> Result<u64, FunnelError> {
        let mut bits = 0;
        for element in elements(&self.values[OPTIONAL]) {
            let step = whole(&element).filter(|step| (1..=MAX_CONDITIONS as i64).contains(step));
            let step = step.ok_or_else(|| {
                self.invalid(
                    "optional",
                    &format!("can't be {element}"),
                    "Write the numbers of steps, such as ARRAY[2, 3].",
                )
            })?;
            bits |= 1 << (step - 1);
        }
        Ok(bits)
    }

    fn step_windows(&self) -> Result<Vec<Window>, FunnelError> {
        let windows = elements(&self.values[STEP_WINDOWS]).into_iter();
        let window = |(at, value): (usize, ScalarValue)| {
            let place = format!("step {} of {}", at + 1, self.function);
            Window::from_literal(&value, self.time_type, &place)
        };
        windows.enumerate().map(window).collect()
    }

    fn exclusions(&self, steps: usize) -> Result<Vec<Exclusion>, FunnelError> {
        let count = self.arguments - CONDITIONS - steps;
        let whole_chain = Exclusion {
            after: 1,
            before: steps,
        };
        if self.values[EXCLUDE_BETWEEN].is_null() {
            return Ok(vec![whole_chain; count]);
        }
        let ranges = elements(&self.values[EXCLUDE_BETWEEN]);
        if ranges.len() != count {
            return Err(self.invalid(
                "exclude_between",
                &format!("has {} elements for {count} exclusions", ranges.len()),
                "Write a text such as '2-3' for each exclusion, or NULL for the whole chain.",
            ));
        }
        let range = |value: &ScalarValue| match value {
            value if value.is_null() => Ok(whole_chain),
            value => self.range(value),
        };
        ranges.iter().map(range).collect()
    }

    /// Two steps, as in `2-3`.
    fn range(&self, value: &ScalarValue) -> Result<Exclusion, FunnelError> {
        let text = value.try_as_str().flatten().unwrap_or_default();
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let both = text.split_once('-');
        let both = both.and_then(|(after, before)| Some((number(after)?, number(before)?)));
        match both {
            Some((after, before)) => Ok(Exclusion { after, before }),
            None => Err(self.invalid(
                "exclude_between",
                &format!("can't be {value}"),
                "Write the numbers of two steps, such as '2-3'.",
            )),
        }
    }

    fn as_of(&self) -> Result<Option<i64>, FunnelError> {
        let value = match &self.values[AS_OF] {
            value if !value.is_null() => value,
            _ if self.now.is_null() => return Ok(None),
            _ => &self.now,
        };
        // An integer has no unit that would make it an instant, and the other way round.
        let fits = value.data_type().is_integer() == self.time_type.is_integer();
        let number = || {
            let moment = value.cast_to(self.time_type).ok()?;
            let moment = moment.to_array().ok().filter(|_| !moment.is_null())?;
            time::numbers(&moment).ok()?.values().first().copied()
        };
        match fits.then(number).flatten() {
            Some(number) => Ok(Some(number)),
            None => Err(self.invalid(
                "as_of",
                &format!("can't be {value}"),
                "Write a moment of the type of the times, such as TIMESTAMP '2026-03-01 00:00:00'.",
            )),
        }
    }
}

/// The number of an integer.
fn whole(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) if value.data_type().is_integer() => number,
        _ => None,
    }
}

/// The elements of a list; a value that is none is its only element; NULL has none.
fn elements(value: &ScalarValue) -> Vec<ScalarValue> {
    let list = match value {
        value if value.is_null() => return Vec::new(),
        ScalarValue::List(list) => list.value(0),
        ScalarValue::LargeList(list) => list.value(0),
        ScalarValue::FixedSizeList(list) => list.value(0),
        other => return vec![other.clone()],
    };
    let elements = (0..list.len()).map(|at| ScalarValue::try_from_array(&list, at));
    // What can't be a single value is refused by whoever reads it.
    elements
        .map(|element| element.unwrap_or(ScalarValue::Boolean(Some(false))))
        .collect()
}
