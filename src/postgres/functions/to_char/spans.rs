//! Intervals by a template: their years, months, days and hours go on counting, and each has its own sign.

use datafusion::arrow::datatypes::IntervalMonthDayNano;

use super::{Piece, ROMAN, ordinal_ending, pieces};
use crate::error::Fault;
use crate::postgres::function::{Result, fault};

/// The parts of an interval.
struct Span {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
}

/// An interval by a template; nothing by an empty one.
///
/// # Errors
/// 22007 for what only a day of the calendar has.
pub fn interval_text(interval: &IntervalMonthDayNano, template: &str) -> Result<Option<String>> {
    if template.is_empty() {
        return Ok(None);
    }
    let micros = interval.nanoseconds / 1000;
    let span = Span {
        year: i64::from(interval.months / 12),
        month: i64::from(interval.months % 12),
        day: i64::from(interval.days),
        hour: micros / 3_600_000_000,
        minute: micros / 60_000_000 % 60,
        second: micros / 1_000_000 % 60,
        micros: micros % 1_000_000,
    };
    let mut written = String::new();
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => written.push_str(&text),
            Piece::Word {
                word,
                fill,
                ordinal,
            } => {
                let Some(text) = word_text(&span, word, fill) else {
                    return fault(
                        Fault::InvalidDatetime,
                        "invalid format specification for an interval value",
                    );
                };
                let ending = ordinal.map(|upper| ordinal_ending(&text, upper));
                written.push_str(&text);
                written.extend(ending);
            }
        }
    }
    Ok(Some(written))
}

/// Nothing for a word that an interval has no value of.
fn word_text(span: &Span, word: &str, fill: bool) -> Option<String> {
    // A minus stands before the digits.
    let padded = |number: i64, width: usize| {
        let width = width + usize::from(number < 0);
        format!("{number:0width$}")
    };
    let number = |number: i64, width: usize| match fill {
        true => padded(number, width),
        false => number.to_string(),
    };
    let days = (span.year * 12 + span.month) * 30 + span.day;
    let hour12 = match span.hour % 12 {
        0 => 12,
        hour => hour,
    };
    let is_afternoon = span.hour % 24 >= 12;
    Some(match word {
        "HH24" => number(span.hour, 2),
        "HH" | "HH12" => number(hour12, 2),
        "MI" => number(span.minute, 2),
        "SS" => number(span.second, 2),
        "SSSS" | "SSSSS" => (span.hour * 3600 + span.minute * 60 + span.second).to_string(),
        "MS" | "FF3" => format!("{:03}", span.micros / 1000),
        "US" | "FF6" => format!("{:06}", span.micros),
        "FF1" => (span.micros / 100_000).to_string(),
        "FF2" => format!("{:02}", span.micros / 10_000),
        "FF4" => format!("{:04}", span.micros / 100),
        "FF5" => format!("{:05}", span.micros / 10),
        "AM" | "PM" => if is_afternoon { "PM" } else { "AM" }.to_owned(),
        "am" | "pm" => if is_afternoon { "pm" } else { "am" }.to_owned(),
        "A.M." | "P.M." => if is_afternoon { "P.M." } else { "A.M." }.to_owned(),
        "a.m." | "p.m." => if is_afternoon { "p.m." } else { "a.m." }.to_owned(),
        "Y,YYY" => format!("{},{:03}", span.year / 1000, span.year % 1000),
        "YYYY" | "IYYY" => number(span.year, 4),
        "YYY" | "IYY" => number(span.year % 1000, 3),
        "YY" | "IY" => number(span.year % 100, 2),
        "Y" | "I" => number(span.year % 10, 1),
        "CC" => number(span.year / 100, 2),
        "MM" => number(span.month, 2),
        "Q" if span.month == 0 => String::new(),
        "Q" => ((span.month - 1) / 3 + 1).to_string(),
        "RM" => roman_month(span, fill),
        "rm" => roman_month(span, fill).to_lowercase(),
        "DDD" => number(days, 3),
        "DD" => number(span.day, 2),
        "WW" => number((days - 1) / 7 + 1, 2),
        "W" => ((span.day - 1) / 7 + 1).to_string(),
        _ => return None,
    })
}

/// The twelfth month is that of whole years.
fn roman_month(span: &Span, fill: bool) -> String {
    let at = match span.month {
        0 if span.year == 0 => return String::new(),
        0 if span.year < 0 => 0,
        month @ 1.. => month - 1,
        month => 12 + month,
    };
    let at = usize::try_from(at).unwrap_or(0).min(ROMAN.len() - 1);
    match fill {
        true => format!("{:4}", ROMAN[at]),
        false => ROMAN[at].to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `to_char(interval, template)`.
    #[test]
    fn intervals_are_written_by_their_parts() {
        const HOUR_NS: i64 = 3_600_000_000_000;
        let later = IntervalMonthDayNano::new(14, 40, 26 * HOUR_NS);
        let earlier = IntervalMonthDayNano::new(-14, -40, -HOUR_NS - 1_500_000_000);
        for (interval, template, expected) in [
            (later, "YYYY MM DD DDD", "0001 02 40 460"),
            (later, "HH12 HH24 SSSS AM", "02 26 93600 AM"),
            (later, "FMYYYY FMMM FMHH24th", "1 2 26th"),
            (later, "CC Q WW W RM", "00 1 66 6 II  "),
            (earlier, "YYYY YY MM DD", "-0001 -01 -02 -40"),
            (earlier, "HH12 MI SS.MS", "-01 00 -01.-500"),
        ] {
            let written = interval_text(&interval, template).unwrap();
            assert_eq!(written.as_deref(), Some(expected), "{template}");
        }
        for template in ["Month", "D", "BC", "TZ", "OF"] {
            assert!(interval_text(&later, template).is_err(), "{template}");
        }
    }
}
