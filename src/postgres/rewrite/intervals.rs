//! `INTERVAL '1-2' YEAR TO MONTH`: literals of intervals in words that DataFusion reads.

use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{DateTimeField, Expr, Interval, Value};

use crate::postgres::datetime;

const SECOND_NS: i64 = 1_000_000_000;
const MINUTE_NS: i64 = 60 * SECOND_NS;
const HOUR_NS: i64 = 60 * MINUTE_NS;

/// Writes an interval with the units of DataFusion, which has no times of day and one field.
pub fn plain(interval: &mut Interval) {
    let Expr::Value(value) = interval.value.as_mut() else {
        return;
    };
    let Value::SingleQuotedString(text) = &mut value.value else {
        return;
    };
    let read = match &interval.leading_field {
        Some(first) => {
            let last = interval.last_field.as_ref().unwrap_or(first);
            let is_of_seconds = matches!(first, DateTimeField::Second);
            let digits = interval
                .fractional_seconds_precision
                .or(interval.leading_precision.filter(|_| is_of_seconds));
            of_fields(text, first, last).map(|read| rounded(read, digits))
        }
        None => datetime::interval(text),
    };
    let Some(read) = read else {
        return;
    };
    interval.leading_field = None;
    interval.leading_precision = None;
    interval.last_field = None;
    interval.fractional_seconds_precision = None;
    let (seconds, nanoseconds) = (read.nanoseconds / SECOND_NS, read.nanoseconds % SECOND_NS);
    let sign = if read.nanoseconds < 0 { "-" } else { "" };
    let seconds = format!(
        "{sign}{}.{:09}",
        seconds.unsigned_abs(),
        nanoseconds.unsigned_abs()
    );
    *text = format!(
        "{} months {} days {seconds} seconds",
        read.months, read.days
    );
}

/// An interval whose fields are named: a number alone counts the last of them, and what is smaller than that isn't kept.
fn of_fields(
    text: &str,
    first: &DateTimeField,
    last: &DateTimeField,
) -> Option<IntervalMonthDayNano> {
    use DateTimeField as F;
    let unit = match last {
        F::Year => "year",
        F::Month => "month",
        F::Day => "day",
        F::Hour => "hour",
        F::Minute => "minute",
        F::Second => "second",
        _ => return None,
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let written = match words.as_slice() {
        [number] if is_number(number) => format!("{number} {unit}"),
        [days, hours] if unit == "hour" && is_number(days) && is_number(hours) => {
            format!("{days} days {hours} hours")
        }
        [clock]
            if matches!((first, last), (F::Minute, F::Second))
                && clock.matches(':').count() == 1 =>
        {
            match clock.strip_prefix('-') {
                Some(clock) => format!("-0:{clock}"),
                None => format!("0:{clock}"),
            }
        }
        _ => text.to_owned(),
    };
    let read = datetime::interval(&written)?;
    let (months, days, time) = (read.months, read.days, read.nanoseconds);
    Some(match unit {
        "year" => IntervalMonthDayNano::new(months / 12 * 12, 0, 0),
        "month" => IntervalMonthDayNano::new(months, 0, 0),
        "day" => IntervalMonthDayNano::new(months, days, 0),
        "hour" => IntervalMonthDayNano::new(months, days, time / HOUR_NS * HOUR_NS),
        "minute" => IntervalMonthDayNano::new(months, days, time / MINUTE_NS * MINUTE_NS),
        _ => read,
    })
}

fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    digits.starts_with(|first: char| first.is_ascii_digit()) && digits.parse::<f64>().is_ok()
}

/// Seconds with so many digits behind the point.
fn rounded(interval: IntervalMonthDayNano, digits: Option<u64>) -> IntervalMonthDayNano {
    let digits = digits.and_then(|digits| u32::try_from(digits).ok());
    let Some(digits) = digits.filter(|digits| *digits < 6) else {
        return interval;
    };
    let unit = SECOND_NS / 10_i64.pow(digits);
    let half = interval.nanoseconds.signum() * unit / 2;
    let time = interval.nanoseconds.saturating_add(half) / unit * unit;
    IntervalMonthDayNano::new(interval.months, interval.days, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `interval 'text' first to last`.
    #[test]
    fn fields_say_what_numbers_count() {
        use DateTimeField as F;
        let interval = |months, days, seconds: i64| {
            Some(IntervalMonthDayNano::new(months, days, seconds * SECOND_NS))
        };
        for (text, first, last, expected) in [
            ("1", F::Year, F::Year, interval(12, 0, 0)),
            ("2-3", F::Year, F::Year, interval(24, 0, 0)),
            ("1-2", F::Year, F::Month, interval(14, 0, 0)),
            ("3 4:05", F::Day, F::Minute, interval(0, 3, 14_700)),
            ("3 4", F::Day, F::Hour, interval(0, 3, 14_400)),
            ("10:20", F::Minute, F::Second, interval(0, 0, 620)),
            ("10:20", F::Hour, F::Minute, interval(0, 0, 37_200)),
            ("1.5", F::Hour, F::Hour, interval(0, 0, 3_600)),
            ("90", F::Minute, F::Minute, interval(0, 0, 5_400)),
            ("1 day 2 hours", F::Day, F::Day, interval(0, 1, 0)),
            ("x", F::Day, F::Day, None),
        ] {
            assert_eq!(of_fields(text, &first, &last), expected, "{text}");
        }
        let read = IntervalMonthDayNano::new(0, 0, 1_234_568_000);
        assert_eq!(rounded(read, Some(3)).nanoseconds, 1_235_000_000);
    }
}
