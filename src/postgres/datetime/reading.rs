//! Dates and times in texts, told apart word by word as Postgres does.

use chrono::{DateTime, NaiveDate, Utc};

use super::{DAY_US, clock_parts, days, local_us, month_of, weekday};
use crate::error::Fault;
use crate::postgres::function::{Result, fault};
use crate::postgres::style::{DateOrder, Locale};
use crate::postgres::zones;

const HOUR_US: i64 = 3_600_000_000;

/// The days from the first that there is, of the year 4713 before Christ by the calendar of then, to 1970.
const JULIAN_OF_1970: i64 = 2_440_588;

/// A date, a time of day and a zone, as far as a text has them.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Moment {
    pub(super) date: Option<NaiveDate>,
    pub(super) time_us: Option<i64>,
    pub(super) zone: Option<String>,
    /// `infinity` and its opposite.
    pub(super) endless: Option<i64>,
    /// An instant: `now`, `epoch`.
    pub(super) instant_us: Option<i64>,
}

/// Reads a date, a time, or both.
///
/// # Errors
/// 22007 for what is neither, 22008 for a date or time that there isn't, 22023 for a zone that there isn't.
pub fn moment(kind: &str, text: &str, locale: &Locale) -> Result<Moment> {
    match read(kind, text, locale) {
        Ok(moment) => Ok(moment),
        Err(Trouble::Malformed) => malformed(kind, text),
        Err(Trouble::OutOfRange) => fault(
            Fault::DatetimeOverflow,
            format!("date/time field value out of range: \"{text}\""),
        ),
        Err(Trouble::NoZone(name)) => zones::unknown(&name),
    }
}

/// # Errors
/// 22007, always.
pub fn malformed<T>(kind: &str, text: &str) -> Result<T> {
    fault(
        Fault::InvalidDatetime,
        format!("invalid input syntax for type {kind}: \"{text}\""),
    )
}

/// Why a text is no moment.
enum Trouble {
    Malformed,
    OutOfRange,
    NoZone(String),
}

type Read<T> = std::result::Result<T, Trouble>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Date,
    Time,
    Offset,
    Name,
}

#[derive(Debug, PartialEq)]
struct Word {
    kind: Kind,
    text: String,
}

fn read(kind: &str, text: &str, locale: &Locale) -> Read<Moment> {
    let words = words(&text.to_lowercase()).ok_or(Trouble::Malformed)?;
    let mut reader = Reader::new(locale, kind == "time");
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1).map(|next| next.kind);
        reader.read(word, next)?;
    }
    reader.finish()
}

/// The words of a text in small letters: `2024-01-02t10:00+08` is a date, a name, a time and an offset.
fn words(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = match first {
            '0'..='9' => numeric_word(rest),
            '.' => (Kind::Number, 1 + run(&rest[1..], |c| c.is_ascii_digit())),
            '+' | '-' => {
                // Spaces may stand behind the sign.
                let unsigned = rest[1..].trim_start();
                let (kind, length) = match unsigned.chars().next()? {
                    '0'..='9' => (
                        Kind::Offset,
                        run(unsigned, |c| {
                            c.is_ascii_digit() || matches!(c, ':' | '.' | '-')
                        }),
                    ),
                    letter if letter.is_alphabetic() => {
                        (Kind::Name, run(unsigned, char::is_alphabetic))
                    }
                    _ => return None,
                };
                let (word, after) = unsigned.split_at(length);
                words.push(Word {
                    kind,
                    text: format!("{first}{word}"),
                });
                rest = after;
                continue;
            }
            letter if letter.is_alphabetic() => named_word(rest),
            other if other.is_whitespace() || other.is_ascii_punctuation() => {
                rest = &rest[other.len_utf8()..];
                continue;
            }
            _ => return None,
        };
        let (word, after) = rest.split_at(length);
        words.push(Word {
            kind,
            text: word.to_owned(),
        });
        rest = after;
    }
    Some(words)
}

/// How many bytes at the start are characters that are accepted.
fn run(text: &str, accepts: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !accepts(c)).unwrap_or(text.len())
}

/// A word that begins with a digit: `10:00`, `2024-01-02`, `2-jan-2024`, `20240102`, `101112.5`.
fn numeric_word(text: &str) -> (Kind, usize) {
    let digits = run(text, |c| c.is_ascii_digit());
    match text[digits..].chars().next() {
        Some(':') => (
            Kind::Time,
            run(text, |c| c.is_ascii_digit() || matches!(c, ':' | '.')),
        ),
        Some(mark @ ('-' | '/' | '.')) => {
            let second = digits + 1;
            let end = second + run(&text[second..], |c| c.is_ascii_digit());
            let rest = &text[end..];
            if end == second {
                let named = run(rest, |c| c.is_ascii_alphanumeric() || c == mark);
                return (Kind::Date, end + named);
            }
            if rest.starts_with(mark) {
                let third = run(rest, |c| c.is_ascii_digit() || c == mark);
                return (Kind::Date, end + third);
            }
            let kind = if mark == '.' {
                Kind::Number
            } else {
                Kind::Date
            };
            (kind, end)
        }
        _ => (Kind::Number, digits),
    }
}

/// A word that begins with a letter: `jan`, `pm`, `jan-02-2024`, `america/new_york`, `gmt+3`.
fn named_word(text: &str) -> (Kind, usize) {
    let letters = run(text, char::is_alphabetic);
    let next = text[letters..].chars().next().unwrap_or(' ');
    let goes_on = match next {
        '-' | '/' | '.' => true,
        '+' | '0'..='9' => !is_keyword(&text[..letters]),
        _ => false,
    };
    if !goes_on {
        return (Kind::Name, letters);
    }
    let length = run(text, |c| {
        c.is_alphanumeric() || matches!(c, '+' | '-' | '/' | '_' | '.' | ':')
    });
    (Kind::Date, length)
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 16] = [
        "ad", "allballs", "am", "at", "bc", "epoch", "infinity", "j", "jd", "julian", "now", "on",
        "pm", "t", "today", "tomorrow",
    ];
    KEYWORDS.contains(&word) || month_of(word).is_some() || weekday(word)
}

/// What the words so far have said.
struct Reader<'a> {
    locale: &'a Locale,
    is_time: bool,
    /// A date that is known as a whole.
    date: Option<NaiveDate>,
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    /// The year has two digits.
    is_short_year: bool,
    /// The month has letters.
    is_named_month: bool,
    is_before_christ: bool,
    /// The next number is of the kind that this name says: `t` a time, `j` a day.
    announced: Option<char>,
    is_afternoon: Option<bool>,
    time_us: Option<i64>,
    zone: Option<String>,
    endless: Option<i64>,
    instant_us: Option<i64>,
}

impl<'a> Reader<'a> {
    fn new(locale: &'a Locale, is_time: bool) -> Self {
        Self {
            locale,
            is_time,
            date: None,
            year: None,
            month: None,
            day: None,
            day_of_year: None,
            is_short_year: false,
            is_named_month: false,
            is_before_christ: false,
            announced: None,
            is_afternoon: None,
            time_us: None,
            zone: None,
            endless: None,
            instant_us: None,
        }
    }

    fn has_date(&self) -> bool {
        let has_day = self.month.is_some() && self.day.is_some();
        self.date.is_some() || self.year.is_some() && (has_day || self.day_of_year.is_some())
    }

    fn read(&mut self, word: &Word, next: Option<Kind>) -> Read<()> {
        let text = word.text.as_str();
        match (word.kind, self.announced.take()) {
            (Kind::Number, Some('j')) => self.julian_day(text),
            (Kind::Number, Some(_)) => self.run_together(text, true),
            (Kind::Number, None) => self.any_number(text),
            (Kind::Date, announced) if announced.is_some() || self.has_date() => {
                self.zone_or_clock(text)
            }
            (Kind::Date, _) => self.written_date(text),
            (Kind::Time, _) => self.clock(text),
            (Kind::Offset, _) => self.in_zone(zones::of_literal(text)),
            (Kind::Name, _) => self.name(text, next),
        }
    }

    /// `J2451187`
    fn julian_day(&mut self, text: &str) -> Read<()> {
        let number: i64 = text.parse().map_err(|_| Trouble::Malformed)?;
        let day = number
            .checked_sub(JULIAN_OF_1970)
            .and_then(|day| day.checked_mul(86_400));
        let date = day.and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
        let date = date.ok_or(Trouble::OutOfRange)?.date_naive();
        self.whole_date(date)
    }

    fn whole_date(&mut self, date: NaiveDate) -> Read<()> {
        match self.has_part() {
            true => Err(Trouble::Malformed),
            false => set(&mut self.date, date),
        }
    }

    /// Whether a part of a date is known, or all of them.
    fn has_part(&self) -> bool {
        self.year.is_some() || self.month.is_some() || self.day.is_some()
    }

    /// A number by its length: six digits and more are a date or a time, fewer are a part of a date.
    fn any_number(&mut self, text: &str) -> Read<()> {
        if self.is_time {
            return self.run_together(text, true);
        }
        match text.find('.') {
            Some(_) if !self.has_date() => self.written_date(text),
            Some(whole) if whole > 2 => self.run_together(text, false),
            None if text.len() >= 6 && !(self.has_date() && self.time_us.is_some()) => {
                self.run_together(text, false)
            }
            _ => self.number(text),
        }
    }

    /// A part of a date, by those that are known already.
    fn number(&mut self, text: &str) -> Read<()> {
        if self.has_date() || text.contains('.') {
            return self.run_together(text, false);
        }
        let length = text.len();
        let value: u32 = text.parse().map_err(|_| Trouble::OutOfRange)?;
        let order = self.locale.style.order;
        let is_long = length >= 3 || order == DateOrder::Ymd;
        match (self.year, self.month, self.day) {
            (Some(_), None, None) if length == 3 && (1..=366).contains(&value) => {
                self.day_of_year = Some(value);
            }
            (None, None, None) if is_long => self.set_year(value, length)?,
            (None, None, None) if order == DateOrder::Dmy => self.day = Some(value),
            (None, Some(_), None) if self.is_named_month && is_long => {
                self.set_year(value, length)?;
            }
            // `08-Jan-1999` in the order of YMD: what was the year is the day.
            (Some(year), Some(_), None)
                if self.is_named_month && self.is_short_year && length >= 3 =>
            {
                self.day = u32::try_from(year).ok();
                self.set_year(value, length)?;
            }
            (_, Some(_), None) => self.day = Some(value),
            (_, None, _) => self.month = Some(value),
            (_, Some(_), Some(_)) => self.set_year(value, length)?,
        }
        Ok(())
    }

    fn set_year(&mut self, value: u32, digits: usize) -> Read<()> {
        self.year = Some(i32::try_from(value).map_err(|_| Trouble::OutOfRange)?);
        self.is_short_year = digits <= 2;
        Ok(())
    }

    /// `20240102`, `240102`, and where the date is known `101112.5`, `1011`.
    fn run_together(&mut self, text: &str, is_clock: bool) -> Read<()> {
        let digits = run(text, |c| c.is_ascii_digit());
        let (whole, fraction) = text.split_at(digits);
        if fraction.is_empty() && digits >= 6 && !is_clock && !self.has_date() {
            if self.has_part() {
                return Err(Trouble::Malformed);
            }
            let part = |text: &str| text.parse::<u32>().map_err(|_| Trouble::OutOfRange);
            let (year, rest) = whole.split_at(digits - 4);
            let (month, day) = rest.split_at(2);
            self.month = Some(part(month)?);
            self.day = Some(part(day)?);
            return self.set_year(part(year)?, year.len());
        }
        let clock = match digits {
            6 => format!("{}:{}:{}{fraction}", &whole[..2], &whole[2..4], &whole[4..]),
            4 if fraction.is_empty() => format!("{}:{}", &whole[..2], &whole[2..]),
            _ => return Err(Trouble::Malformed),
        };
        self.clock(&clock)
    }

    fn clock(&mut self, text: &str) -> Read<()> {
        let time = time_us(text).ok_or(Trouble::OutOfRange)?;
        set(&mut self.time_us, time)
    }

    /// What stands behind a date and has marks in it: `101112-08`, `America/New_York`, `GMT+3`.
    fn zone_or_clock(&mut self, text: &str) -> Read<()> {
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return match zones::of_literal(text) {
                Some(zone) => set(&mut self.zone, zone),
                None => Err(Trouble::NoZone(text.to_owned())),
            };
        }
        let at = text.find('-').ok_or(Trouble::Malformed)?;
        let (clock, offset) = text.split_at(at);
        self.in_zone(zones::of_literal(offset))?;
        self.run_together(clock, true)
    }

    fn in_zone(&mut self, zone: Option<String>) -> Read<()> {
        set(&mut self.zone, zone.ok_or(Trouble::Malformed)?)
    }

    /// `2024-01-02`, `02/Jan/2024`, `2024.060`: a month in letters goes first, wherever it stands.
    fn written_date(&mut self, text: &str) -> Read<()> {
        let parts = || text.split(|c: char| !c.is_alphanumeric());
        let is_named = |part: &&str| part.starts_with(char::is_alphabetic);
        for name in parts().filter(is_named) {
            let month = month_of(name).ok_or(Trouble::Malformed)?;
            set(&mut self.month, month)?;
            self.is_named_month = true;
        }
        let is_number = |part: &&str| !part.is_empty() && !is_named(part);
        for number in parts().filter(is_number) {
            self.number(number)?;
        }
        match self.has_date() {
            true => Ok(()),
            false => Err(Trouble::Malformed),
        }
    }

    fn name(&mut self, name: &str, next: Option<Kind>) -> Read<()> {
        match name {
            "infinity" => self.endless = Some(i64::MAX),
            "-infinity" => self.endless = Some(i64::MIN),
            "epoch" => self.instant_us = Some(0),
            "now" if self.has_date() || self.time_us.is_some() => return Err(Trouble::Malformed),
            "now" => self.instant_us = Some(now_us()),
            "today" => return self.today(0),
            "tomorrow" => return self.today(1),
            "yesterday" => return self.today(-1),
            "allballs" => {
                set(&mut self.time_us, 0)?;
                return self.in_zone(Some("UTC".to_owned()));
            }
            "t" if self.has_date() || self.is_time => match next {
                Some(Kind::Number | Kind::Time | Kind::Date) => self.announced = Some('t'),
                _ => return Err(Trouble::Malformed),
            },
            "j" | "jd" | "julian" => self.announced = Some('j'),
            "am" => self.is_afternoon = Some(false),
            "pm" => self.is_afternoon = Some(true),
            "ad" => {}
            "bc" => self.is_before_christ = true,
            "at" | "on" => {}
            _ if weekday(name) => {}
            _ => match month_of(name) {
                Some(month) => return self.named_month(month),
                None => return self.in_zone(zones::of_literal(name)),
            },
        }
        Ok(())
    }

    /// In `2 Jan 2024` the 2 was a month until the name came.
    fn named_month(&mut self, month: u32) -> Read<()> {
        match (self.month, self.day) {
            (Some(day), None) if !self.is_named_month && (1..=31).contains(&day) => {
                self.day = Some(day);
            }
            (Some(_), _) => return Err(Trouble::Malformed),
            (None, _) => {}
        }
        self.is_named_month = true;
        self.month = Some(month);
        Ok(())
    }

    fn today(&mut self, add: i64) -> Read<()> {
        let local = local_us(now_us(), &self.locale.zone).map_err(|_| Trouble::OutOfRange)?;
        let day = local.div_euclid(DAY_US) + add;
        let day = DateTime::<Utc>::from_timestamp(day * 86_400, 0).ok_or(Trouble::OutOfRange)?;
        self.whole_date(day.date_naive())
    }

    fn finish(self) -> Read<Moment> {
        let is_special = self.endless.is_some() || self.instant_us.is_some();
        let is_enough = match self.is_time {
            true => self.time_us.is_some(),
            false => self.has_date(),
        };
        if !is_special && !is_enough || self.announced.is_some() {
            return Err(Trouble::Malformed);
        }
        let date = match self.has_date() {
            true => Some(self.calendar_day()?),
            false => None,
        };
        let time_us = match (self.time_us, self.is_afternoon) {
            // There is no 13 o'clock of a half of the day.
            (Some(time), Some(_)) if time >= 13 * HOUR_US => return Err(Trouble::OutOfRange),
            (Some(time), Some(false)) if time >= 12 * HOUR_US => Some(time - 12 * HOUR_US),
            (Some(time), Some(true)) if time < 12 * HOUR_US => Some(time + 12 * HOUR_US),
            (time, _) => time,
        };
        Ok(Moment {
            date,
            time_us,
            zone: self.zone,
            endless: self.endless,
            instant_us: self.instant_us,
        })
    }

    fn calendar_day(&self) -> Read<NaiveDate> {
        if let Some(date) = self.date {
            return Ok(date);
        }
        let written = self.year.ok_or(Trouble::Malformed)?;
        let year = match written {
            _ if self.is_before_christ && written > 0 => 1 - written,
            0..70 if self.is_short_year => written + 2000,
            70.. if self.is_short_year => written + 1900,
            // There was no year 0.
            1.. => written,
            _ => return Err(Trouble::OutOfRange),
        };
        let date = match (self.day_of_year, self.month, self.day) {
            (Some(day), ..) => NaiveDate::from_yo_opt(year, day),
            (None, Some(month), Some(day)) => NaiveDate::from_ymd_opt(year, month, day),
            _ => return Err(Trouble::Malformed),
        };
        let date = date.filter(|date| i64::from(days(*date)) >= -JULIAN_OF_1970);
        date.ok_or(Trouble::OutOfRange)
    }
}

/// Says something that nothing has said before.
fn set<T>(slot: &mut Option<T>, value: T) -> Read<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Trouble::Malformed),
    }
}

fn now_us() -> i64 {
    Utc::now().timestamp_micros()
}

/// The time of a day.
fn time_us(clock: &str) -> Option<i64> {
    let [hours, minutes, seconds, fraction] = clock_parts(clock)?;
    if hours > 24 || minutes >= 60 || seconds > 60 {
        return None;
    }
    let total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction;
    (total <= DAY_US).then_some(total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::NaiveTime;

    use super::*;

    fn shown(text: &str) -> Option<String> {
        let moment = moment("timestamp", text, &Locale::default()).ok()?;
        let time = moment.time_us.unwrap_or(0);
        let time = NaiveTime::from_num_seconds_from_midnight_opt(
            u32::try_from(time / 1_000_000).ok()?,
            u32::try_from(time % 1_000_000 * 1000).ok()?,
        )?;
        let zone = moment.zone.unwrap_or_default();
        Some(
            format!("{} {time} {zone}", moment.date?)
                .trim_end()
                .to_owned(),
        )
    }

    /// Expected: PostgreSQL 15.18, `SELECT x::timestamptz`.
    #[test]
    fn moments_are_read_word_by_word() {
        for (written, expected) in [
            (
                "2026-11-30 13:19:54.068 +00:00",
                "2026-11-30 13:19:54.068 +00:00",
            ),
            ("2024-01-02 10:00 - 05:30", "2024-01-02 10:00:00 -05:30"),
            ("20240101T101112", "2024-01-01 10:11:12"),
            ("20240101T040506.123+08", "2024-01-01 04:05:06.123 +08:00"),
            ("20240101 101112", "2024-01-01 10:11:12"),
            ("2024-01-02 1011", "2024-01-02 10:11:00"),
            ("2024-01-01+00", "2024-01-01 00:00:00 +00:00"),
            ("2024-01-01 040506-0730", "2024-01-01 04:05:06 -07:30"),
            ("2024-01-02 10:00PM", "2024-01-02 22:00:00"),
            ("2024-01-01 00:00 GMT+3", "2024-01-01 00:00:00 -03:00"),
            ("J2451187", "1999-01-08 00:00:00"),
            ("2024.060", "2024-02-29 00:00:00"),
            ("240102", "2024-01-02 00:00:00"),
            ("2024-Jan-02", "2024-01-02 00:00:00"),
            ("Jan-02-2024", "2024-01-02 00:00:00"),
            ("02-Jan-24", "2024-01-02 00:00:00"),
            ("January 8, 99", "1999-01-08 00:00:00"),
            ("Mon Jan  8 10:11:12 2024 UTC", "2024-01-08 10:11:12 UTC"),
        ] {
            assert_eq!(shown(written).as_deref(), Some(expected), "{written}");
        }
    }

    /// Expected: PostgreSQL 15.18, 22007 or 22008 for `SELECT x::timestamp`.
    #[test]
    fn what_is_no_moment_is_not_read() {
        for written in [
            "10:00",
            "2024-01",
            "2024-01-02 13:00 PM",
            "2024-01-02 10:00:00,5",
            "2024-01-02 10:00 10:00",
            "2024-01-02 now",
            "+infinity",
            "0000-01-01",
            "4714-11-23 BC",
            "20240101101112",
            "24-02-03",
            "",
        ] {
            assert_eq!(shown(written), None, "{written}");
        }
    }
}
