//! How long a chain of events may take.

use chrono::{DateTime, Datelike, Months, NaiveDate};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::ScalarValue;

use super::time::units_per_second;
use crate::aggregate::journey::arguments;
use crate::error::FunnelError;

const SECONDS_PER_DAY: i64 = 86_400;
const NS_PER_SECOND: i128 = 1_000_000_000;

/// A length of time, in the unit of the times that it is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    /// Any length.
    Unlimited,
    /// So many units; never negative. 0 is the same moment.
    Units(i64),
    /// Months by the calendar in UTC, then units. 31 January + 1 month is the whole last day of February.
    Months {
        /// From 1.
        months: u32,
        /// What comes on top; never negative.
        units: i64,
        /// How many units a second has; nothing where the unit is a day.
        per_second: Option<i64>,
    },
}

impl Window {
    /// The last moment that counts for a chain that starts at `start`; never beyond the last there is.
    ///
    /// A later start never has an earlier deadline.
    pub fn deadline(self, start: i64) -> i64 {
        match self {
            Window::Unlimited => i64::MAX,
            Window::Units(units) => start.saturating_add(units),
            Window::Months {
                months,
                units,
                per_second,
            } => add_months(start, months, per_second)
                .map_or(i64::MAX, |time| time.saturating_add(units)),
        }
    }

    /// The window that a literal means for times of this type: an interval; a number of seconds for a
    /// timestamp, of days for a date, of the column's own units for an integer; NULL for any length.
    ///
    /// # Errors
    /// 22023 for a negative length, for an interval over integers, and for what is no length.
    pub fn from_literal(
        value: &ScalarValue,
        time_type: &DataType,
        function: &str,
    ) -> Result<Self, FunnelError> {
        match value {
            value if value.is_null() => Ok(Window::Unlimited),
            ScalarValue::IntervalMonthDayNano(_)
            | ScalarValue::IntervalDayTime(_)
            | ScalarValue::IntervalYearMonth(_) => {
                let interval = arguments::window(value, function)?;
                interval.map_or(Ok(Window::Unlimited), |interval| {
                    Self::from_interval(interval, time_type, function)
                })
            }
            value => Self::from_number(value, time_type, function),
        }
    }

    fn from_number(
        value: &ScalarValue,
        time_type: &DataType,
        function: &str,
    ) -> Result<Self, FunnelError> {
        let number = match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(number))) if value.data_type().is_integer() => number,
            _ => {
                return Err(FunnelError::InvalidArgument {
                    message: format!("the window of {function}() is not a length of time"),
                    hint: HINT.to_owned(),
                });
            }
        };
        if number < 0 {
            return Err(negative(function));
        }
        // Numbers are seconds wherever the column itself is finer than a day.
        let factor = units_per_second(time_type).unwrap_or(1);
        Ok(Window::Units(number.saturating_mul(factor)))
    }

    fn from_interval(
        interval: IntervalMonthDayNano,
        time_type: &DataType,
        function: &str,
    ) -> Result<Self, FunnelError> {
        if time_type.is_integer() {
            return Err(FunnelError::InvalidArgument {
                message: format!(
                    "the window of {function}() is an interval, and its times are numbers"
                ),
                hint: "Write the window as a number in the unit of the times.".to_owned(),
            });
        }
        let parts = [
            i64::from(interval.months),
            i64::from(interval.days),
            interval.nanoseconds,
        ];
        if parts.iter().any(|part| *part < 0) {
            return Err(negative(function));
        }
        let per_second = units_per_second(time_type);
        let ns = i128::from(interval.days) * i128::from(SECONDS_PER_DAY) * NS_PER_SECOND
            + i128::from(interval.nanoseconds);
        // Rounded down: between two moments that the column can tell apart lies none.
        let units = match per_second {
            Some(per_second) => ns * i128::from(per_second) / NS_PER_SECOND,
            None => ns / (i128::from(SECONDS_PER_DAY) * NS_PER_SECOND),
        };
        let units = i64::try_from(units).unwrap_or(i64::MAX);
        Ok(match u32::try_from(interval.months) {
            Ok(0) | Err(_) => Window::Units(units),
            Ok(months) => Window::Months {
                months,
                units,
                per_second,
            },
        })
    }
}

const HINT: &str = "Write an interval, such as INTERVAL '14 days', or a number: seconds for timestamps, days \
                    for dates, the column's own unit for integers; NULL is any length.";

fn negative(function: &str) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("the window of {function}() is negative"),
        hint: HINT.to_owned(),
    }
}

/// Nothing where the calendar ends.
///
/// Where the month is too short for the day, it goes up to the end of its last day: 28 January 13:00 + 1 month
/// is 28 February 13:00, so that 31 January 12:00 mustn't give less.
fn add_months(time: i64, months: u32, per_second: Option<i64>) -> Option<i64> {
    let per_day = per_second.map_or(Some(1), |per_second| {
        per_second.checked_mul(SECONDS_PER_DAY)
    })?;
    let (day, of_day) = (time.div_euclid(per_day), time.rem_euclid(per_day));
    let date = DateTime::from_timestamp(day.checked_mul(SECONDS_PER_DAY)?, 0)?.date_naive();
    let later = date.checked_add_months(Months::new(months))?;
    let later_day = later.signed_duration_since(NaiveDate::default()).num_days();
    let of_day = if later.day() < date.day() {
        per_day - 1
    } else {
        of_day
    };
    later_day.checked_mul(per_day)?.checked_add(of_day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    const US: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);
    const DAY_US: i64 = 86_400_000_000;

    fn interval(months: i32, days: i32, ns: i64) -> ScalarValue {
        ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, days, ns)))
    }

    fn window(value: &ScalarValue, time_type: &DataType) -> Window {
        Window::from_literal(value, time_type, "f").unwrap()
    }

    #[test]
    fn a_number_counts_seconds_days_or_units() {
        let hour = ScalarValue::from(3_600_i64);
        assert_eq!(window(&hour, &US), Window::Units(3_600_000_000));
        assert_eq!(window(&hour, &DataType::Date32), Window::Units(3_600));
        assert_eq!(window(&hour, &DataType::UInt64), Window::Units(3_600));
        assert_eq!(window(&ScalarValue::Int64(None), &US), Window::Unlimited);
    }

    #[test]
    fn an_interval_is_rounded_down_to_what_the_column_can_tell() {
        let value = interval(0, 1, 1_500_000_000);
        assert_eq!(window(&value, &US), Window::Units(DAY_US + 1_500_000));
        let seconds = DataType::Timestamp(TimeUnit::Second, None);
        assert_eq!(window(&value, &seconds), Window::Units(86_401));
        assert_eq!(window(&value, &DataType::Date32), Window::Units(1));
    }

    #[test]
    fn months_follow_the_calendar() {
        let value = interval(1, 0, 0);
        // 2026-01-28 12:00 + 1 month = 2026-02-28 12:00; from the 31st, it is the end of that day.
        let noon = |days: i64| days * DAY_US + DAY_US / 2;
        assert_eq!(window(&value, &US).deadline(noon(20_481)), noon(20_512));
        let end = 20_513 * DAY_US - 1;
        assert_eq!(window(&value, &US).deadline(noon(20_484)), end);
        assert_eq!(window(&value, &DataType::Date32).deadline(20_484), 20_512);
        assert_eq!(window(&value, &US).deadline(i64::MAX), i64::MAX);
    }

    #[test]
    fn a_later_start_never_has_an_earlier_deadline() {
        let hour = 3_600_000_000;
        for months in [1, 2, 12, 13] {
            let window = window(&interval(months, 1, 5), &US);
            let starts = (-20_000..20_000).map(|hours| hours * hour);
            assert!(starts.map(|start| window.deadline(start)).is_sorted());
        }
    }

    #[test]
    fn a_deadline_never_lies_beyond_the_last_moment() {
        assert_eq!(Window::Units(i64::MAX).deadline(5), i64::MAX);
        assert_eq!(Window::Units(0).deadline(5), 5);
    }

    #[test]
    fn wrong_windows_are_refused() {
        let refused = |value: &ScalarValue, time_type: &DataType| {
            let error = Window::from_literal(value, time_type, "f").unwrap_err();
            (error.code(), error.to_string())
        };
        assert_eq!(refused(&ScalarValue::from(-1_i64), &US).0, "22023");
        assert_eq!(
            refused(&interval(0, -1, 0), &US).1,
            "the window of f() is negative"
        );
        assert_eq!(refused(&interval(0, 1, 0), &DataType::Int64).0, "22023");
        assert_eq!(refused(&ScalarValue::from(1.5), &US).0, "22023");
        assert_eq!(refused(&ScalarValue::from("1 day"), &US).0, "22023");
    }
}
