//! `to_char`, and what its templates read: `to_date`, `to_timestamp`, `to_number`.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

use crate::error::Fault;
use crate::postgres::datetime::month_of;
use crate::postgres::function::{Result, fault};
use crate::postgres::text::offset_text;

mod numbers;
mod spans;

pub use numbers::{number_of, number_text};
pub use spans::interval_text;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const ROMAN: [&str; 12] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
];

/// The days from the first of the year 4713 before Christ to the last of the year before the first.
const JULIAN_OF_CE: i32 = 1_721_425;

/// The words of a template, longer ones before those that they begin with.
const WORDS: [&str; 60] = [
    "HH24", "HH12", "SSSSS", "SSSS", "IYYY", "Y,YYY", "YYYY", "MONTH", "Month", "month", "DAY",
    "Day", "day", "IDDD", "A.M.", "P.M.", "a.m.", "p.m.", "B.C.", "A.D.", "b.c.", "a.d.", "DDD",
    "MON", "Mon", "mon", "IYY", "YYY", "TZH", "TZM", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6",
    "HH", "MI", "SS", "MS", "US", "IY", "YY", "MM", "DY", "Dy", "dy", "DD", "ID", "IW", "WW", "AM",
    "PM", "am", "pm", "CC", "TZ", "tz", "rm", "RM",
];
const LETTERS: [&str; 11] = ["BC", "AD", "bc", "ad", "OF", "I", "Y", "D", "W", "Q", "J"];

/// A piece of a template.
#[derive(Debug, PartialEq)]
enum Piece {
    Word {
        word: &'static str,
        fill: bool,
        ordinal: Option<bool>,
    },
    Text(String),
}

fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut fill = true;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("TM") {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("FX") {
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix('"') {
            let (text, after) = quoted(after);
            pieces.push(Piece::Text(text));
            rest = after;
            continue;
        }
        let found = WORDS
            .iter()
            .chain(&LETTERS)
            .find(|word| starts_with_word(rest, word));
        match found {
            Some(word) => {
                rest = &rest[word.len()..];
                let ordinal = match rest.get(..2) {
                    Some("TH") => Some(true),
                    Some("th") => Some(false),
                    _ => None,
                };
                if ordinal.is_some() {
                    rest = &rest[2..];
                }
                // Spelled numbers are plain ones.
                rest = rest.strip_prefix("SP").unwrap_or(rest);
                pieces.push(Piece::Word {
                    word,
                    fill,
                    ordinal,
                });
                fill = true;
            }
            None => {
                // A backslash is itself, except before a quote.
                let escaped = rest.strip_prefix('\\');
                let escaped = escaped.filter(|after| after.starts_with('"'));
                let mut characters = escaped.unwrap_or(rest).chars();
                let character = characters.next().unwrap_or_default();
                rest = characters.as_str();
                match pieces.last_mut() {
                    Some(Piece::Text(text)) => text.push(character),
                    _ => pieces.push(Piece::Text(character.to_string())),
                }
            }
        }
    }
    pieces
}

/// Whether it is a word, all in large letters or all in small ones.
fn is_in_one_case(written: &str, word: &str) -> bool {
    let has_large = written.bytes().any(|byte| byte.is_ascii_uppercase());
    written == word || !has_large && written.eq_ignore_ascii_case(word)
}

/// A text up to its quote, where a backslash quotes what follows it, and what is behind that.
fn quoted(text: &str) -> (String, &str) {
    let mut quoted = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => quoted.extend(characters.next()),
            other => quoted.push(other),
        }
    }
    (quoted, characters.as_str())
}

/// Words of digits may be written in small letters; the letters of the others say how they are written.
fn starts_with_word(rest: &str, word: &str) -> bool {
    let cased = word.chars().any(char::is_lowercase)
        || matches!(
            word,
            "MONTH"
                | "MON"
                | "DAY"
                | "DY"
                | "AM"
                | "PM"
                | "A.M."
                | "P.M."
                | "TZ"
                | "BC"
                | "AD"
                | "B.C."
                | "A.D."
        );
    match cased {
        true => rest.starts_with(word),
        false => rest
            .get(..word.len())
            .is_some_and(|start| is_in_one_case(start, word)),
    }
}

/// A local time by a template; `offset` is its zone's, in seconds, and `zone` the zone's short name.
pub fn moment_text(local_us: i64, offset: i32, zone: &str, template: &str) -> Option<String> {
    if template.is_empty() {
        return None;
    }
    let moment = DateTime::<Utc>::from_timestamp_micros(local_us)?.naive_utc();
    let mut result = String::new();
    for piece in pieces(template) {
        match piece {
            Piece::Text(text) => result.push_str(&text),
            Piece::Word {
                word,
                fill,
                ordinal,
            } => {
                let text = word_text(&moment, offset, zone, word, fill);
                let ending = ordinal.map(|upper| ordinal_ending(&text, upper));
                result.push_str(&text);
                result.extend(ending);
            }
        }
    }
    Some(result)
}

fn word_text(moment: &NaiveDateTime, offset: i32, zone: &str, word: &str, fill: bool) -> String {
    let number = |number: i64, width: usize| match fill {
        true => format!("{number:0width$}"),
        false => number.to_string(),
    };
    let named = |name: &str, width: usize| match fill {
        true => format!("{name:width$}"),
        false => name.to_owned(),
    };
    // There was no year 0.
    let counted = |year: i32| i64::from(if year > 0 { year } else { 1 - year });
    let year = counted(moment.year());
    let is_before_christ = moment.year() <= 0;
    let iso = moment.iso_week();
    let iso_year = counted(iso.year());
    let month = MONTHS[moment.month0() as usize];
    let day = DAYS[moment.weekday().num_days_from_sunday() as usize];
    let micros = i64::from(moment.nanosecond() / 1000 % 1_000_000);
    let hour12 = if moment.hour().is_multiple_of(12) {
        12
    } else {
        moment.hour() % 12
    };
    let half = if moment.hour() < 12 { "AM" } else { "PM" };
    match word {
        "HH24" => number(i64::from(moment.hour()), 2),
        "HH" | "HH12" => number(i64::from(hour12), 2),
        "MI" => number(i64::from(moment.minute()), 2),
        "SS" => number(i64::from(moment.second()), 2),
        "SSSS" | "SSSSS" => moment.num_seconds_from_midnight().to_string(),
        "MS" | "FF3" => format!("{:03}", micros / 1000),
        "US" | "FF6" => format!("{micros:06}"),
        "FF1" => format!("{:01}", micros / 100_000),
        "FF2" => format!("{:02}", micros / 10_000),
        "FF4" => format!("{:04}", micros / 100),
        "FF5" => format!("{:05}", micros / 10),
        "AM" | "PM" => half.to_owned(),
        "am" | "pm" => half.to_lowercase(),
        "A.M." | "P.M." => format!("{}.M.", &half[..1]),
        "a.m." | "p.m." => format!("{}.m.", half[..1].to_lowercase()),
        "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
        "YYYY" => number(year, 4),
        "YYY" => number(year % 1000, 3),
        "YY" => number(year % 100, 2),
        "Y" => (year % 10).to_string(),
        "IYYY" => number(iso_year, 4),
        "IYY" => number(iso_year % 1000, 3),
        "IY" => number(iso_year % 100, 2),
        "I" => (iso_year % 10).to_string(),
        "MONTH" => named(&month.to_uppercase(), 9),
        "Month" => named(month, 9),
        "month" => named(&month.to_lowercase(), 9),
        "MON" => month[..3].to_uppercase(),
        "Mon" => month[..3].to_owned(),
        "mon" => month[..3].to_lowercase(),
        "MM" => number(i64::from(moment.month()), 2),
        "RM" => named(ROMAN[moment.month0() as usize], 4),
        "rm" => named(&ROMAN[moment.month0() as usize].to_lowercase(), 4),
        "DAY" => named(&day.to_uppercase(), 9),
        "Day" => named(day, 9),
        "day" => named(&day.to_lowercase(), 9),
        "DY" => day[..3].to_uppercase(),
        "Dy" => day[..3].to_owned(),
        "dy" => day[..3].to_lowercase(),
        "DDD" => number(i64::from(moment.ordinal()), 3),
        "IDDD" => number(
            i64::from(iso.week0() * 7 + moment.weekday().number_from_monday()),
            3,
        ),
        "DD" => number(i64::from(moment.day()), 2),
        "D" => moment.weekday().number_from_sunday().to_string(),
        "ID" => moment.weekday().number_from_monday().to_string(),
        "W" => ((moment.day() - 1) / 7 + 1).to_string(),
        "WW" => number(i64::from((moment.ordinal() - 1) / 7 + 1), 2),
        "IW" => number(i64::from(iso.week()), 2),
        "Q" => ((moment.month() - 1) / 3 + 1).to_string(),
        // Days since the first one of the year 4713 before Christ.
        "J" => (moment.num_days_from_ce() + JULIAN_OF_CE).to_string(),
        "CC" if is_before_christ => match fill {
            true => format!("-{:02}", (year + 99) / 100),
            false => format!("-{}", (year + 99) / 100),
        },
        "CC" => number((year + 99) / 100, 2),
        "BC" | "AD" => if is_before_christ { "BC" } else { "AD" }.to_owned(),
        "bc" | "ad" => if is_before_christ { "bc" } else { "ad" }.to_owned(),
        "B.C." | "A.D." => if is_before_christ { "B.C." } else { "A.D." }.to_owned(),
        "b.c." | "a.d." => if is_before_christ { "b.c." } else { "a.d." }.to_owned(),
        "TZ" => zone.to_uppercase(),
        "tz" => zone.to_lowercase(),
        "OF" => offset_text(offset),
        "TZH" => format!(
            "{}{:02}",
            if offset < 0 { '-' } else { '+' },
            offset.abs() / 3600
        ),
        "TZM" => format!("{:02}", offset.abs() / 60 % 60),
        _ => String::new(),
    }
}

fn ordinal_ending(number: &str, upper: bool) -> &'static str {
    let last_two = &number[number.len().saturating_sub(2)..];
    let ending = match (last_two, number.chars().last()) {
        ("11" | "12" | "13", _) => "th",
        (_, Some('1')) => "st",
        (_, Some('2')) => "nd",
        (_, Some('3')) => "rd",
        _ => "th",
    };
    match (ending, upper) {
        ("st", true) => "ST",
        ("nd", true) => "ND",
        ("rd", true) => "RD",
        ("th", true) => "TH",
        (ending, _) => ending,
    }
}

/// A text by a template, as a local time; and its offset in seconds, where the template has one.
pub fn moment_of(text: &str, template: &str) -> Result<(NaiveDateTime, Option<i32>)> {
    let out = || {
        fault(
            Fault::DatetimeOverflow,
            format!("date/time field value out of range: \"{text}\""),
        )
    };
    // The year that nothing says is the one before the first.
    let (mut year, mut month, mut day, mut day_of_year) = (0, 1, 1, None);
    let (mut is_before_christ, mut julian, mut has_half) = (false, None, false);
    let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0_u32);
    let (mut afternoon, mut offset, mut is_west) = (None, None::<i32>, false);
    let (mut iso_year, mut iso_week, mut iso_day) = (None, None, 1);
    let mut rest = text.trim_start();
    let all = pieces(template);
    for (at, piece) in all.iter().enumerate() {
        // What the text doesn't go on to stays as it is.
        if rest.is_empty() {
            break;
        }
        match piece {
            Piece::Text(separators) => {
                // What separates is passed over, whatever it is.
                for _ in separators.chars() {
                    let skips = rest.chars().next().is_some_and(|c| {
                        !c.is_alphanumeric() && !matches!(c, '+' | '-')
                            || (matches!(c, '-' | '+') && separators.contains(c))
                            || separators.contains(c)
                    });
                    if skips {
                        rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
                    }
                }
                rest = rest.trim_start();
            }
            Piece::Word { word, ordinal, .. } => {
                let next_is_word = matches!(all.get(at + 1), Some(Piece::Word { .. }));
                rest = rest.trim_start();
                match *word {
                    "YYYY" | "IYYY" | "YYY" | "YY" | "Y" => {
                        let width = if next_is_word {
                            word.len().min(4)
                        } else {
                            usize::MAX
                        };
                        let Some((number, digits, after)) = number(rest, width) else {
                            return invalid(text, word);
                        };
                        let is_whole = matches!(*word, "YYYY" | "IYYY") || digits > 3;
                        let full = match number {
                            _ if is_whole => number,
                            0..70 | 100..520 => number + 2000,
                            70..100 => number + 1900,
                            _ => number + 1000,
                        };
                        if *word == "IYYY" {
                            iso_year = Some(full)
                        } else {
                            year = full
                        }
                        rest = after;
                    }
                    "MONTH" | "Month" | "month" | "MON" | "Mon" | "mon" => {
                        let letters = rest.chars().take_while(|c| c.is_alphabetic()).count();
                        let name: String = rest.chars().take(letters).collect();
                        let Some(found) =
                            month_of(&name).or_else(|| month_of(name.get(..3).unwrap_or("")))
                        else {
                            return invalid(text, word);
                        };
                        month = found;
                        rest = &rest[name.len()..];
                    }
                    "DAY" | "Day" | "day" | "DY" | "Dy" | "dy" => {
                        rest = rest.trim_start_matches(char::is_alphabetic)
                    }
                    "BC" | "AD" | "bc" | "ad" | "B.C." | "A.D." | "b.c." | "a.d." => {
                        is_before_christ = rest.starts_with(['b', 'B']);
                        rest = rest.get(word.len()..).unwrap_or("");
                    }
                    "RM" | "rm" => {
                        let letters = rest.chars().take_while(|c| c.is_ascii_alphabetic()).count();
                        let roman = rest[..letters].to_uppercase();
                        let Some(place) = ROMAN.iter().position(|name| *name == roman) else {
                            return invalid(text, word);
                        };
                        month = u32::try_from(place + 1).unwrap_or(0);
                        rest = &rest[letters..];
                    }
                    "Y,YYY" => {
                        let digits = run_of_digits(rest);
                        let Some((whole, part)) = digits.split_once(',') else {
                            return invalid(text, word);
                        };
                        let Ok(read) = format!("{whole}{part}").parse::<i32>() else {
                            return invalid(text, word);
                        };
                        year = read;
                        rest = &rest[digits.len()..];
                    }
                    "J" => {
                        let Some((number, _, after)) = number(rest, 9) else {
                            return invalid(text, word);
                        };
                        julian = Some(number);
                        rest = after;
                    }
                    "TZM" => {
                        let Some((minutes, _, after)) = number(rest, 2) else {
                            return invalid(text, word);
                        };
                        let seconds = offset.unwrap_or(0);
                        let sign = if is_west { -1 } else { 1 };
                        offset = Some(seconds + sign * minutes * 60);
                        rest = after;
                    }
                    "AM" | "PM" | "am" | "pm" | "A.M." | "P.M." | "a.m." | "p.m." => {
                        afternoon = Some(rest.starts_with(['p', 'P']));
                        rest = rest.get(word.len()..).unwrap_or("");
                    }
                    "TZH" | "OF" => {
                        is_west = rest.starts_with('-');
                        let sign = if is_west { -1 } else { 1 };
                        let Some((hours, _, after)) =
                            number(rest.trim_start_matches(['+', '-']), 2)
                        else {
                            return invalid(text, word);
                        };
                        offset = Some(sign * hours * 3600);
                        rest = after;
                    }
                    "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => {
                        let digits: String = rest
                            .chars()
                            .take_while(char::is_ascii_digit)
                            .take(6)
                            .collect();
                        let padded = format!("{digits:0<6}");
                        micros = padded.parse().unwrap_or(0);
                        rest = &rest[digits.len()..];
                    }
                    word => {
                        let width = match word {
                            "DDD" => 3,
                            "SSSS" | "SSSSS" => 5,
                            "D" | "ID" | "Q" | "W" => 1,
                            _ => 2,
                        };
                        let Some((number, _, after)) = number(rest, width) else {
                            return invalid(text, word);
                        };
                        let Ok(value) = u32::try_from(number) else {
                            return out();
                        };
                        match word {
                            "MM" => month = value,
                            "DD" => day = value,
                            "DDD" => day_of_year = Some(value),
                            "HH24" => hour = value,
                            "HH" | "HH12" => (hour, has_half) = (value, true),
                            "CC" if year == 0 => {
                                year = i32::try_from(value).unwrap_or(0) * 100 - 99;
                            }
                            "MI" => minute = value,
                            "SS" => second = value,
                            "SSSS" | "SSSSS" => {
                                (hour, minute, second) = (value / 3600, value / 60 % 60, value % 60)
                            }
                            "IW" => iso_week = Some(value),
                            "ID" => iso_day = value,
                            _ => {}
                        }
                        rest = after;
                    }
                }
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or("");
                }
            }
        }
    }
    if has_half && !(1..=12).contains(&hour) {
        return fault(
            Fault::InvalidDatetime,
            format!("hour \"{hour}\" is invalid for the 12-hour clock"),
        );
    }
    if let Some(iso_year) = iso_year.filter(|_| year == 0) {
        year = iso_year;
    }
    if is_before_christ {
        year = 1 - year;
    }
    match afternoon {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        // Without a half of the day it is the first.
        None if has_half && hour == 12 => hour = 0,
        _ => {}
    }
    let date = match (iso_year, iso_week, day_of_year) {
        _ if julian.is_some() => julian
            .and_then(|day| day.checked_sub(JULIAN_OF_CE))
            .and_then(NaiveDate::from_num_days_from_ce_opt),
        (Some(year), Some(week), _) => NaiveDate::from_isoywd_opt(year, week, weekday(iso_day)),
        (.., Some(day)) => NaiveDate::from_yo_opt(year, day),
        _ => NaiveDate::from_ymd_opt(year, month, day),
    };
    let moment = date.and_then(|date| date.and_hms_micro_opt(hour, minute, second, micros));
    moment.map_or_else(out, |moment| Ok((moment, offset)))
}

fn weekday(number: u32) -> chrono::Weekday {
    use chrono::Weekday as W;
    [W::Mon, W::Tue, W::Wed, W::Thu, W::Fri, W::Sat, W::Sun][(number.clamp(1, 7) - 1) as usize]
}

fn invalid<T>(text: &str, word: &str) -> Result<T> {
    fault(
        Fault::InvalidDatetime,
        format!(
            "invalid value \"{}\" for \"{word}\"",
            text.chars().take(12).collect::<String>()
        ),
    )
}

/// The digits at the start, with the commas among them.
fn run_of_digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != ',');
    &text[..end.unwrap_or(text.len())]
}

/// The number at the start, its count of digits, and what is behind it.
fn number(text: &str, most: usize) -> Option<(i32, usize, &str)> {
    let digits = text
        .chars()
        .take_while(char::is_ascii_digit)
        .take(most)
        .count();
    let number = text.get(..digits)?.parse().ok()?;
    Some((number, digits, &text[digits..]))
}

/// A number from 1 to 3999 in Roman letters; fifteen hashes for any other.
fn roman(number: &str) -> String {
    const LETTERS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let rounded = rounded(number.trim_start_matches('-'), 0);
    let mut left = match rounded.trim_end_matches('.').parse::<i64>() {
        Ok(left @ 1..=3999) if !number.starts_with('-') => left,
        _ => return "#".repeat(15),
    };
    let mut roman = String::new();
    for (value, letters) in LETTERS {
        while left >= value {
            roman.push_str(letters);
            left -= value;
        }
    }
    roman
}

/// A number as `1.50e+03`: a digit before the point, as many behind it as the template has.
fn scientific(number: &str, behind: usize) -> String {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => (' ', number),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if !all.bytes().all(|digit| digit.is_ascii_digit()) {
        // There are no digits of what is not finite.
        return format!(" #.{}", "#".repeat(behind + 4));
    }
    let first = all.find(|digit| digit != '0');
    let place = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    let exponent = first.map_or(0, |first| place(whole.len()) - 1 - place(first));
    let significant = &all[first.unwrap_or(all.len())..];
    let written = match significant.split_at_checked(1) {
        Some((digit, rest)) => rounded(&format!("{digit}.{rest}"), behind),
        None => rounded("0", behind),
    };
    let mark = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{written}e{mark}{:02}", exponent.abs())
}

/// A decimal number in digits with so many of them behind the point, rounded half away from zero.
fn rounded(number: &str, behind: usize) -> String {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let mut digits: Vec<u8> = whole
        .bytes()
        .chain(part.bytes().chain(std::iter::repeat(b'0')).take(behind))
        .collect();
    let up = part
        .as_bytes()
        .get(behind)
        .is_some_and(|next| *next >= b'5');
    if up {
        let mut at = digits.len();
        loop {
            if at == 0 {
                digits.insert(0, b'1');
                break;
            }
            at -= 1;
            if digits[at] == b'9' {
                digits[at] = b'0';
            } else {
                digits[at] += 1;
                break;
            }
        }
    }
    let text = String::from_utf8_lossy(&digits).into_owned();
    match behind {
        0 => text,
        behind => format!(
            "{}.{}",
            &text[..text.len() - behind],
            &text[text.len() - behind..]
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `to_char(timestamp '2024-02-09 03:04:05.678', …)`.
    #[test]
    fn moments_are_written_by_their_template() {
        let moment = NaiveDate::from_ymd_opt(2024, 2, 9)
            .unwrap()
            .and_hms_milli_opt(3, 4, 5, 678)
            .unwrap();
        let micros = moment.and_utc().timestamp_micros();
        for (template, expected) in [
            ("YYYY-MM", "2024-02"),
            ("Mon DD, YYYY", "Feb 09, 2024"),
            ("IYYY-IW", "2024-06"),
            ("FMDay, FMDDth FMMonth", "Friday, 9th February"),
            ("Day|Month|", "Friday   |February |"),
            ("HH12:MI:SS.MS AM", "03:04:05.678 AM"),
            ("yyyy\"年\"mm\"月\"", "2024年02月"),
            ("Q Y,YYY D ID DDD WW CC J", "1 2,024 6 5 040 06 21 2460350"),
            ("HH24MISS US OF TZ", "030405 678000 +00 UTC"),
        ] {
            assert_eq!(
                moment_text(micros, 0, "UTC", template).as_deref(),
                Some(expected),
                "{template}"
            );
        }
    }

    /// Expected: PostgreSQL 15.18, `to_char(number, template)`.
    #[test]
    fn numbers_are_written_by_their_template() {
        for (number, template, expected) in [
            ("1234.5", "FM999,999.00", "1,234.50"),
            ("1234.5", "999,999.99", "   1,234.50"),
            ("-12", "999", " -12"),
            ("0.5", "FM0.00", "0.50"),
            ("0.5", "99.99", "   .50"),
            ("12", "0000", " 0012"),
            ("12345", "999", " ###"),
            ("1485", "9G999", " 1,485"),
            ("12", "FM99.99", "12."),
            ("1000000", "9.99EEEE", " 1.00e+06"),
            ("-0.00012345", "9.999EEEE", "-1.235e-04"),
            ("9.999", "9.9EEEE", " 10.0e+00"),
            ("0", "9.9EEEE", " 0.0e+00"),
            ("1234", "9EEEE", " 1e+03"),
        ] {
            let written = number_text(number, template, None).unwrap();
            assert_eq!(written, expected, "{number} {template}");
        }
    }

    /// Expected: PostgreSQL 15.18, `to_timestamp(text, template)`.
    #[test]
    fn moments_are_read_by_their_template() {
        for (text, template, expected) in [
            ("31/01/2024", "DD/MM/YYYY", "2024-01-31 00:00:00"),
            ("20240229", "YYYYMMDD", "2024-02-29 00:00:00"),
            (
                "5 Feb 2024 3:04 PM",
                "DD Mon YYYY HH12:MI AM",
                "2024-02-05 15:04:00",
            ),
            ("2024-06", "IYYY-IW", "2024-02-05 00:00:00"),
            ("2024-02-29", "YYYY-MM-DD HH24:MI:SS", "2024-02-29 00:00:00"),
            ("2024-02", "YYYY-MM-DD", "2024-02-01 00:00:00"),
            ("2451187", "J", "1999-01-08 00:00:00"),
            ("29th Feb 2024", "DDth Mon YYYY", "2024-02-29 00:00:00"),
            ("IV 2024", "RM YYYY", "2024-04-01 00:00:00"),
            ("1,234", "Y,YYY", "1234-01-01 00:00:00"),
            ("695", "YYY", "1695-01-01 00:00:00"),
        ] {
            assert_eq!(
                moment_of(text, template).unwrap().0.to_string(),
                expected,
                "{text}"
            );
        }
        assert!(moment_of("31/13/2024", "DD/MM/YYYY").is_err());
        assert!(moment_of("soon", "YYYY").is_err());
        assert!(moment_of("2024-02-29 13:00 PM", "YYYY-MM-DD HH12:MI PM").is_err());
    }
}
