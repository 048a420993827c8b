//! Dates, times and intervals as Postgres reads them.

use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use datafusion::arrow::array::{
    ArrayRef, Date32Array, IntervalMonthDayNanoArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::IntervalMonthDayNano;

use super::function::{Result, fault};
use super::style::{IntervalFormat, Locale, Style};
use super::zones::Zone;
use crate::error::Fault;

mod reading;

use reading::{malformed, moment};

const DAY_US: i64 = 86_400_000_000;

/// Texts as days.
pub fn dates(texts: &StringArray, locale: &Locale) -> Result<ArrayRef> {
    let read = |text: &str| -> Result<i32> {
        let moment = moment("date", text, locale)?;
        match moment.endless {
            Some(i64::MAX) => return Ok(i32::MAX),
            Some(_) => return Ok(i32::MIN),
            None => {}
        }
        match moment.date {
            Some(date) => Ok(days(date)),
            None => match moment.instant_us {
                Some(instant) => Ok(i32::try_from(
                    local_us(instant, &locale.zone)?.div_euclid(DAY_US),
                )
                .unwrap_or(i32::MAX)),
                None => malformed("date", text),
            },
        }
    };
    let days = texts.iter().map(|text| text.map(read).transpose());
    Ok(Arc::new(days.collect::<Result<Date32Array>>()?))
}

/// Texts as times of a day.
pub fn times(texts: &StringArray, locale: &Locale) -> Result<ArrayRef> {
    let read = |text: &str| -> Result<i64> {
        let moment = moment("time", text, locale)?;
        match (moment.time_us, moment.instant_us) {
            (Some(time), _) => Ok(time),
            (None, Some(instant)) => Ok(local_us(instant, &locale.zone)?.rem_euclid(DAY_US)),
            (None, None) => malformed("time", text),
        }
    };
    let times = texts.iter().map(|text| text.map(read).transpose());
    Ok(Arc::new(times.collect::<Result<Time64MicrosecondArray>>()?))
}

/// Texts as times without a zone; one that is written is passed over.
pub fn timestamps(texts: &StringArray, locale: &Locale) -> Result<ArrayRef> {
    let read = |text: &str| -> Result<i64> {
        let moment = moment("timestamp", text, locale)?;
        match (moment.endless, moment.instant_us, moment.date) {
            (Some(endless), ..) => Ok(endless),
            (_, Some(instant), _) => local_us(instant, &locale.zone),
            (.., Some(date)) => Ok(i64::from(days(date)) * DAY_US + moment.time_us.unwrap_or(0)),
            _ => malformed("timestamp", text),
        }
    };
    let values = texts.iter().map(|text| text.map(read).transpose());
    Ok(Arc::new(
        values.collect::<Result<TimestampMicrosecondArray>>()?,
    ))
}

/// A text as an instant, in microseconds since 1970 UTC; `infinity` is the greatest, `-infinity` the least there is.
pub fn instant(text: &str, locale: &Locale) -> Result<i64> {
    let kind = "timestamp with time zone";
    let moment = moment(kind, text, locale)?;
    match (moment.endless, moment.instant_us, moment.date) {
        (Some(endless), ..) => Ok(endless),
        (_, Some(instant), _) => Ok(instant),
        (.., Some(date)) => {
            let local = i64::from(days(date)) * DAY_US + moment.time_us.unwrap_or(0);
            utc_us(local, moment.zone.as_deref().unwrap_or(&locale.zone))
        }
        _ => malformed(kind, text),
    }
}

/// Texts as instants; without a zone they lie in the session's.
pub fn instants(texts: &StringArray, locale: &Locale) -> Result<ArrayRef> {
    let values = texts
        .iter()
        .map(|text| text.map(|text| instant(text, locale)).transpose());
    let values = values.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(values.with_timezone("UTC")))
}

/// Texts as intervals.
pub fn intervals(texts: &StringArray, style: Style) -> Result<ArrayRef> {
    let read = |text: &str| match interval_of(text, style.intervals) {
        Some(value) => Ok(value),
        None => fault(
            Fault::InvalidDatetime,
            format!("invalid input syntax for type interval: \"{text}\""),
        ),
    };
    let values = texts.iter().map(|text| text.map(read).transpose());
    Ok(Arc::new(
        values.collect::<Result<IntervalMonthDayNanoArray>>()?,
    ))
}

/// Days since 1970.
pub fn days(date: NaiveDate) -> i32 {
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).unwrap_or(i32::MAX)
}

/// Days as instants: each begins in the zone.
pub fn midnights(days: &Date32Array, zone: &str) -> Result<TimestampMicrosecondArray> {
    let midnight = |day: i32| match day {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        day => utc_us(i64::from(day) * DAY_US, zone),
    };
    let instants = days.iter().map(|day| day.map(midnight).transpose());
    let instants = instants.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(instants.with_timezone("UTC"))
}

/// The local time, in microseconds, of an instant in a zone.
pub fn local_us(instant_us: i64, zone: &str) -> Result<i64> {
    let Some(utc) = DateTime::<Utc>::from_timestamp_micros(instant_us) else {
        return fault(Fault::DatetimeOverflow, "timestamp out of range");
    };
    let offset = Zone::new(zone)?.offset(&utc.naive_utc());
    Ok(instant_us + i64::from(offset) * 1_000_000)
}

/// The instant, in microseconds, of a local time in a zone. One that a change of clocks left out is taken an
/// hour later, one that it brought twice is the first after the change, as in Postgres.
pub fn utc_us(local_us: i64, zone: &str) -> Result<i64> {
    let tz = Zone::new(zone)?.tz();
    let Some(local) = DateTime::<Utc>::from_timestamp_micros(local_us) else {
        return fault(Fault::DatetimeOverflow, "timestamp out of range");
    };
    let local = local.naive_utc();
    let instant = match tz.from_local_datetime(&local) {
        chrono::LocalResult::Single(instant) => instant,
        chrono::LocalResult::Ambiguous(_, later) => later,
        chrono::LocalResult::None => {
            let before = local - chrono::Duration::hours(3);
            let offset = tz.offset_from_utc_datetime(&before).fix();
            let seconds = i64::from(offset.local_minus_utc());
            return Ok(local_us - seconds * 1_000_000);
        }
    };
    Ok(instant.timestamp_micros())
}

/// `.5` of a second, in microseconds, rounded.
fn fraction_us(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    let padded = format!("{digits:0<7}");
    let tenths: i64 = padded.get(..7)?.parse().ok()?;
    Some((tenths + 5) / 10)
}

/// The months by their names, January first.
pub const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A unit of time by any of its names, in small letters: `hr` is an hour.
pub fn unit(name: &str) -> Option<&'static str> {
    Some(match name {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" => {
            "microsecond"
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" => {
            "millisecond"
        }
        "s" | "sec" | "secs" | "second" | "seconds" => "second",
        "m" | "min" | "mins" | "minute" | "minutes" => "minute",
        "h" | "hr" | "hrs" | "hour" | "hours" => "hour",
        "d" | "day" | "days" => "day",
        "w" | "week" | "weeks" => "week",
        "mon" | "mons" | "month" | "months" => "month",
        "qtr" | "quarter" => "quarter",
        "y" | "yr" | "yrs" | "year" | "years" => "year",
        "dec" | "decs" | "decade" | "decades" => "decade",
        "c" | "cent" | "century" | "centuries" => "century",
        "mil" | "mils" | "millennium" | "millennia" => "millennium",
        _ => return None,
    })
}

/// The number of a month by its name or the name's first three letters.
pub fn month_of(word: &str) -> Option<u32> {
    let word = word.to_lowercase();
    let found = MONTHS.iter().position(|month| {
        *month == word
            || (word.len() == 3 && month.starts_with(&word))
            || (word == "sept" && *month == "september")
    })?;
    u32::try_from(found + 1).ok()
}

fn weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let word = word.trim_end_matches(',').to_lowercase();
    matches!(word.as_str(), "tues" | "weds" | "thur" | "thurs")
        || DAYS
            .iter()
            .any(|day| *day == word || (word.len() == 3 && day.starts_with(&word)))
}

/// An interval as a session with that format reads it: to the standard, a minus in front is that of all parts.
fn interval_of(text: &str, format: IntervalFormat) -> Option<IntervalMonthDayNano> {
    let text = text.trim();
    let is_signed = |rest: &str| {
        let mut words = rest.split_whitespace();
        words.any(|word| word.starts_with(['+', '-']))
    };
    match text.strip_prefix('-') {
        Some(rest) if format == IntervalFormat::SqlStandard && !is_signed(rest) => {
            let read = interval(rest)?;
            Some(IntervalMonthDayNano::new(
                read.months.checked_neg()?,
                read.days.checked_neg()?,
                read.nanoseconds.checked_neg()?,
            ))
        }
        _ => interval(text),
    }
}

/// Reads `1 day 02:00:00`, `90 minutes`, `1.5 hours ago`, `P1DT2H`.
pub fn interval(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.trim().to_lowercase();
    if let Some(iso) = text.strip_prefix('p') {
        return iso_interval(iso);
    }
    let (text, ago) = match text.strip_suffix("ago") {
        Some(rest) => (rest.trim_end().to_owned(), true),
        None => (text, false),
    };
    let mut sum = Amount::default();
    let mut words = interval_words(text.trim_start_matches('@'))
        .into_iter()
        .peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            sum.microseconds = sum.microseconds.saturating_add(clock_us(&word)?);
            continue;
        }
        // The standard's `1-2` is a year and two months.
        if let Some((years, months)) = word
            .strip_prefix(['-', '+'])
            .unwrap_or(&word)
            .split_once('-')
        {
            let sign = if word.starts_with('-') { -1.0 } else { 1.0 };
            sum.add(sign * years.parse::<f64>().ok()?, "year")?;
            sum.add(sign * months.parse::<f64>().ok()?, "month")?;
            continue;
        }
        let number: f64 = match word.as_str() {
            // A sign may stand apart from its number.
            "-" | "+" => format!("{word}{}", words.next()?).parse().ok()?,
            word => word.parse().ok()?,
        };
        match words.next_if(|next| next.starts_with(|c: char| c.is_alphabetic())) {
            Some(unit) => sum.add(number, &unit)?,
            // A number alone counts seconds; before a time, days.
            None if words.peek().is_some_and(|next| next.contains(':')) => {
                sum.add(number, "day")?
            }
            None => sum.add(number, "second")?,
        }
    }
    let sign = if ago { -1 } else { 1 };
    Some(IntervalMonthDayNano::new(
        i32::try_from(sum.months).ok()?.checked_mul(sign)?,
        i32::try_from(sum.days).ok()?.checked_mul(sign)?,
        sum.microseconds
            .checked_mul(1000)?
            .checked_mul(i64::from(sign))?,
    ))
}

/// Numbers, times and units apart: `1d2h` as `1 d 2 h`.
fn interval_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last_alphabetic = None;
    for character in text.chars() {
        if character.is_whitespace() || character == ',' {
            last_alphabetic = None;
            continue;
        }
        let alphabetic = character.is_alphabetic();
        match (last_alphabetic == Some(alphabetic), words.last_mut()) {
            (true, Some(word)) => word.push(character),
            _ => words.push(character.to_string()),
        }
        last_alphabetic = Some(alphabetic);
    }
    words
}

/// A signed time: `-02:00`.
fn clock_us(word: &str) -> Option<i64> {
    let (sign, clock) = match word.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let [hours, minutes, seconds, fraction] = clock_parts(clock)?;
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    let seconds = minutes.checked_mul(60)?.checked_add(seconds)?;
    Some(sign * seconds.checked_mul(1_000_000)?.checked_add(fraction)?)
}

/// Hours, minutes, seconds and microseconds of `10:11`, `10:11:12.5`, and of `10:11.5`, which is ten minutes and some seconds.
fn clock_parts(clock: &str) -> Option<[i64; 4]> {
    let parts: Vec<&str> = clock.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if seconds.contains('.') => ("0", *minutes, *seconds),
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return None,
    };
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, ""));
    let number = |text: &str| text.parse::<i64>().ok();
    Some([
        number(hours)?,
        number(minutes)?,
        number(whole)?,
        fraction_us(part)?,
    ])
}

#[derive(Default)]
struct Amount {
    months: i64,
    days: i64,
    microseconds: i64,
}

impl Amount {
    fn add(&mut self, number: f64, unit: &str) -> Option<()> {
        let singular = unit
            .strip_suffix('s')
            .filter(|rest| rest.len() > 1)
            .unwrap_or(unit);
        match singular {
            "y" | "yr" | "year" => self.add_years(number),
            "decade" | "dec" => self.add_years(number * 10.0),
            "century" | "c" | "cent" | "centurie" => self.add_years(number * 100.0),
            "millennium" | "mil" | "millennia" => self.add_years(number * 1000.0),
            "quarter" | "qtr" => self.add_months(number * 3.0),
            "mon" | "month" => self.add_months(number),
            "w" | "week" => self.add_days(number * 7.0),
            "d" | "day" => self.add_days(number),
            "h" | "hr" | "hour" => self.add_time(number, 3600e6),
            "m" | "min" | "minute" => self.add_time(number, 60e6),
            "s" | "sec" | "second" | "" => self.add_time(number, 1e6),
            "ms" | "msec" | "millisecond" | "millisec" => self.add_time(number, 1e3),
            "us" | "usec" | "microsecond" | "microsec" => self.add_time(number, 1.0),
            _ => return None,
        }
        Some(())
    }

    /// A number of units of so many microseconds.
    fn add_time(&mut self, number: f64, each: f64) {
        let (whole, part) = ((number * each).trunc(), (number * each).fract());
        // Half a microsecond is none.
        let more = if part.abs() > 0.5 { part.signum() } else { 0.0 };
        #[allow(
            clippy::cast_possible_truncation,
            reason = "microseconds that are too many saturate"
        )]
        let microseconds = (whole + more) as i64;
        self.microseconds = self.microseconds.saturating_add(microseconds);
    }

    /// Days, and of a part of one its time.
    fn add_days(&mut self, number: f64) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a number of days that is too large saturates"
        )]
        let whole = number.trunc() as i64;
        self.days = self.days.saturating_add(whole);
        self.add_time(number.fract(), 86_400e6);
    }

    /// Years, and of a part of one its months, in whole ones.
    fn add_years(&mut self, number: f64) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a number of years that is too large saturates"
        )]
        let months = (number.trunc() * 12.0 + (number.fract() * 12.0).round_ties_even()) as i64;
        self.months = self.months.saturating_add(months);
    }

    /// Months, and of a part of one its days, of thirty.
    fn add_months(&mut self, number: f64) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a number of months that is too large saturates"
        )]
        let whole = number.trunc() as i64;
        self.months = self.months.saturating_add(whole);
        self.add_days(number.fract() * 30.0);
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What follows the P of `P1Y2M3DT4H5M6S` and `P0001-02-03T04:05:06`.
fn iso_interval(text: &str) -> Option<IntervalMonthDayNano> {
    let (date, clock) = text.split_once('t').unwrap_or((text, ""));
    if let [years, months, days] = date.split('-').collect::<Vec<_>>().as_slice()
        && [years, months, days].iter().all(|part| is_digits(part))
    {
        return interval(&format!(
            "{years} years {months} months {days} days {clock}"
        ));
    }
    let mut sum = Amount::default();
    let mut in_time = false;
    let mut number = String::new();
    for character in text.chars() {
        match character {
            't' => in_time = true,
            '0'..='9' | '.' | '-' | '+' => number.push(character),
            unit => {
                let count: f64 = number.parse().ok()?;
                number.clear();
                sum.add(
                    count,
                    match (unit, in_time) {
                        ('y', false) => "year",
                        ('m', false) => "month",
                        ('w', false) => "week",
                        ('d', false) => "day",
                        ('h', true) => "hour",
                        ('m', true) => "minute",
                        ('s', true) => "second",
                        _ => return None,
                    },
                )?;
            }
        }
    }
    let months = i32::try_from(sum.months).ok()?;
    let days = i32::try_from(sum.days).ok()?;
    number.is_empty().then_some(())?;
    let nanoseconds = sum.microseconds.checked_mul(1000)?;
    Some(IntervalMonthDayNano::new(months, days, nanoseconds))
}

/// An instant and an interval: days and months are those of the time zone, where there is one; nothing beyond what an instant can
/// be.
pub fn add_in_zone(
    instant_us: i64,
    interval: &IntervalMonthDayNano,
    zone: Option<&str>,
) -> Result<Option<i64>> {
    match zone {
        Some(zone) if interval.months != 0 || interval.days != 0 => {
            let days = IntervalMonthDayNano::new(interval.months, interval.days, 0);
            let moved = add(local_us(instant_us, zone)?, &days);
            let moved = moved.map(|local| utc_us(local, zone)).transpose()?;
            Ok(moved.and_then(|moment| moment.checked_add(interval.nanoseconds / 1000)))
        }
        _ => Ok(add(instant_us, interval)),
    }
}

/// A date and time some intervals later; days that a month doesn't have are its last.
pub fn add(local_us: i64, interval: &IntervalMonthDayNano) -> Option<i64> {
    let moment = DateTime::<Utc>::from_timestamp_micros(local_us)?.naive_utc();
    let months = chrono::Months::new(interval.months.unsigned_abs());
    let moment: NaiveDateTime = match interval.months < 0 {
        true => moment.checked_sub_months(months)?,
        false => moment.checked_add_months(months)?,
    };
    let days = Days::new(u64::from(interval.days.unsigned_abs()));
    let moment = match interval.days < 0 {
        true => moment.checked_sub_days(days)?,
        false => moment.checked_add_days(days)?,
    };
    moment
        .and_utc()
        .timestamp_micros()
        .checked_add(interval.nanoseconds / 1000)
}

/// The start of a day.
pub fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::text::{instant_text, interval_text};
    use super::*;

    /// Expected: PostgreSQL 15.18, `SELECT x::interval`.
    #[test]
    fn intervals_are_read_as_postgres_reads_them() {
        for (written, expected) in [
            ("90 minutes", "01:30:00"),
            ("1 day 02:00:00", "1 day 02:00:00"),
            ("1 year 2 mons -3 days", "1 year 2 mons -3 days"),
            ("1.5 hours ago", "-01:30:00"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("1.5 months", "1 mon 15 days"),
            ("0.1 year", "1 mon"),
            ("-0.15 year", "-2 mons"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("1.5 us", "00:00:00.000001"),
            ("2 weeks", "14 days"),
            ("1d2h", "1 day 02:00:00"),
            ("30", "00:00:30"),
        ] {
            assert_eq!(
                interval(written)
                    .map(|i| interval_text(&i, IntervalFormat::Postgres))
                    .as_deref(),
                Some(expected),
                "{written}"
            );
        }
        assert_eq!(interval("soon"), None);
        assert_eq!(interval(""), None);
    }

    /// Expected: PostgreSQL 15.18, `SELECT x::timestamptz`, TimeZone UTC.
    #[test]
    fn instants_are_read_as_postgres_reads_them() {
        for (written, expected) in [
            ("2024-07-01 10:00+02", "2024-07-01 08:00:00+00"),
            ("2024-07-01T10:00:00Z", "2024-07-01 10:00:00+00"),
            (
                "2024-07-01 10:00:00.5 America/New_York",
                "2024-07-01 14:00:00.5+00",
            ),
            ("Feb 29, 2024 3:04 PM", "2024-02-29 15:04:00+00"),
            ("20240229", "2024-02-29 00:00:00+00"),
            ("02/29/2024", "2024-02-29 00:00:00+00"),
        ] {
            let moment = moment("timestamp with time zone", written, &Locale::default()).unwrap();
            let local =
                i64::from(days(moment.date.unwrap())) * DAY_US + moment.time_us.unwrap_or(0);
            let instant = utc_us(local, moment.zone.as_deref().unwrap_or("UTC")).unwrap();
            assert_eq!(
                instant_text(instant, Zone::new("UTC").ok().as_ref(), Style::default()).as_deref(),
                Some(expected),
                "{written}"
            );
        }
        for text in [
            "9e30 years 9e30 years",
            "PT99999999999999H",
            "99999999999999999:00",
            "9e30 h 9e30 h",
        ] {
            assert!(interval(text).is_none(), "{text}");
        }
        assert!(moment("date", "2024-13-01", &Locale::default()).is_err());
        assert!(moment("date", "soon", &Locale::default()).is_err());
    }
}
