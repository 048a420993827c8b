//! Time zones by the names that Postgres knows, as the names that Arrow does: `Asia/Shanghai`, `+08:00`.

use chrono::{NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, TZ_VARIANTS};
use datafusion::arrow::array::timezone::Tz;

use super::function::{Result, fault};
use super::text::offset_text;
use crate::error::Fault;

/// The zone of a setting: a name of the IANA database in any letters, or POSIX's, `UTC-8`, whose numbers count to the west.
pub fn of_setting(name: &str) -> Option<String> {
    let name = name.trim();
    named(name).map(|zone| zone.name().to_owned()).or_else(|| {
        let seconds = posix(name)?;
        Some(offset(seconds))
    })
}

/// The zone of `AT TIME ZONE`: an abbreviation, or what a setting may be.
pub fn of_function(name: &str) -> Option<String> {
    abbreviated(name.trim()).or_else(|| of_setting(name))
}

/// The zone that is written behind a time: an abbreviation, an offset to the east, or what a setting may be.
pub fn of_literal(name: &str) -> Option<String> {
    let name = name.trim();
    abbreviated(name)
        .or_else(|| iso_seconds(name).map(offset))
        .or_else(|| of_setting(name))
}

/// An offset in hours as Postgres shows the zone: `<+08>-08`.
pub fn shown(seconds_east: i32) -> String {
    let east = offset_text(seconds_east);
    let west = match seconds_east {
        0 => "-00".to_owned(),
        seconds => offset_text(-seconds),
    };
    format!("<{east}>{west}")
}

/// # Errors
/// 22023, always.
pub fn unknown<T>(name: &str) -> Result<T> {
    fault(
        Fault::InvalidArgument,
        format!("time zone \"{name}\" not recognized"),
    )
}

/// A zone that instants are written in.
#[derive(Debug, Clone, Copy)]
pub struct Zone {
    zone: Tz,
    /// The same where it has a name.
    named: Option<chrono_tz::Tz>,
}

impl Zone {
    /// The zone of that name, as Arrow knows it.
    ///
    /// # Errors
    /// 22023 where there is none.
    pub fn new(name: &str) -> Result<Self> {
        let Ok(zone) = name.parse() else {
            return unknown(name);
        };
        let named = name.parse().ok();
        Ok(Self { zone, named })
    }

    /// As Arrow has it.
    pub fn tz(self) -> Tz {
        self.zone
    }

    /// The seconds to the east at an instant.
    pub fn offset(&self, utc: &NaiveDateTime) -> i32 {
        let offset = self.zone.offset_from_utc_datetime(utc);
        offset.fix().local_minus_utc()
    }

    /// How it calls itself at an instant: `CST`, or `-03` where it has no letters.
    pub fn short_name(&self, utc: &NaiveDateTime) -> String {
        let offset = self.named.map(|zone| zone.offset_from_utc_datetime(utc));
        let name = offset.and_then(|offset| offset.abbreviation().map(str::to_owned));
        let is_name = |name: &String| name.starts_with(|c: char| c.is_ascii_alphabetic());
        name.filter(is_name)
            .unwrap_or_else(|| offset_text(self.offset(utc)))
    }
}

fn named(name: &str) -> Option<chrono_tz::Tz> {
    // Nearly always they are written as they are called.
    name.parse().ok().or_else(|| {
        let mut zones = TZ_VARIANTS.iter();
        zones
            .find(|zone| zone.name().eq_ignore_ascii_case(name))
            .copied()
    })
}

/// The offset as Arrow writes it.
fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The seconds east of `UTC+8`, `<+08>-08`, `-8`: a name, and hours to the west.
fn posix(text: &str) -> Option<i32> {
    let rest = match text.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => {
            let rest = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            let letters = text.len() - rest.len();
            (letters == 0 || letters >= 3).then_some(rest)?
        }
    };
    let signed = match rest.starts_with(['+', '-']) {
        true => rest.to_owned(),
        false => format!("+{rest}"),
    };
    // Four digits without a colon are no hours.
    let hours = signed[1..].split(':').next()?;
    (hours.len() <= 2).then_some(())?;
    iso_seconds(&signed).map(|seconds| -seconds)
}

/// `+08`, `-0330`, `+05:30`, in seconds.
fn iso_seconds(text: &str) -> Option<i32> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits: Vec<&str> = text[1..].split(':').collect();
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<i32>().ok(),
        false => None,
    };
    let (hours, minutes) = match digits.as_slice() {
        [hours] if hours.len() <= 2 => (number(hours)?, 0),
        [both] if matches!(both.len(), 3 | 4) => {
            let (hours, minutes) = both.split_at_checked(both.len() - 2)?;
            (number(hours)?, number(minutes)?)
        }
        [hours, minutes, ..] => (number(hours)?, number(minutes)?),
        _ => return None,
    };
    (hours < 16 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// The abbreviations that Postgres knows by default, with their minutes to the east.
const ABBREVIATIONS: [(&str, i32); 61] = [
    ("acdt", 630),
    ("acst", 570),
    ("adt", -180),
    ("aedt", 660),
    ("aest", 600),
    ("akdt", -480),
    ("akst", -540),
    ("art", -180),
    ("ast", -240),
    ("awst", 480),
    ("bdst", 120),
    ("bdt", 360),
    ("brst", -120),
    ("brt", -180),
    ("bst", 60),
    ("cadt", 630),
    ("cast", 570),
    ("cct", 480),
    ("cdt", -300),
    ("cest", 120),
    ("cet", 60),
    ("cetdst", 120),
    ("chadt", 825),
    ("chast", 765),
    ("cst", -360),
    ("eat", 180),
    ("edt", -240),
    ("eest", 180),
    ("eet", 120),
    ("est", -300),
    ("gmt", 0),
    ("hkt", 480),
    ("hst", -600),
    ("idt", 180),
    ("ist", 120),
    ("jst", 540),
    ("kst", 540),
    ("mdt", -360),
    ("mest", 120),
    ("met", 60),
    ("msd", 240),
    ("msk", 180),
    ("mst", -420),
    ("ndt", -150),
    ("nst", -210),
    ("nzdt", 780),
    ("nzst", 720),
    ("pdt", -420),
    ("pht", 480),
    ("pkt", 300),
    ("pst", -480),
    ("sast", 120),
    ("sgt", 480),
    ("ut", 0),
    ("utc", 0),
    ("wadt", 480),
    ("wast", 420),
    ("wet", 0),
    ("yekt", 300),
    ("z", 0),
    ("zulu", 0),
];

fn abbreviated(name: &str) -> Option<String> {
    let mut known = ABBREVIATIONS.iter();
    let (_, minutes) = known.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(match minutes {
        0 => "UTC".to_owned(),
        minutes => offset(minutes * 60),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `SET timezone`, `AT TIME ZONE` and `'2026-01-01 00:00 …'::timestamptz`.
    #[test]
    fn zones_are_known_by_their_names() {
        for (name, setting, function, literal) in [
            (
                "asia/shanghai",
                "Asia/Shanghai",
                "Asia/Shanghai",
                "Asia/Shanghai",
            ),
            ("PRC", "PRC", "PRC", "PRC"),
            ("UTC+8", "-08:00", "-08:00", "-08:00"),
            ("GMT-08:00", "+08:00", "+08:00", "+08:00"),
            ("<+08>-08", "+08:00", "+08:00", "+08:00"),
            ("<-03:30>+03:30", "-03:30", "-03:30", "-03:30"),
            ("+08", "-08:00", "-08:00", "+08:00"),
            ("-05:30", "+05:30", "+05:30", "-05:30"),
            ("cet", "CET", "+01:00", "+01:00"),
            ("PST", "", "-08:00", "-08:00"),
            ("z", "", "UTC", "UTC"),
            ("utc", "UTC", "UTC", "UTC"),
            ("Mars/Base", "", "", ""),
            ("+99", "", "", ""),
            ("ab8", "", "", ""),
            ("", "", "", ""),
        ] {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            assert_eq!(of_setting(name), some(setting), "{name}");
            assert_eq!(of_function(name), some(function), "{name}");
            assert_eq!(of_literal(name), some(literal), "{name}");
        }
        for (seconds, expected) in [(28_800, "<+08>-08"), (-12_600, "<-03:30>+03:30")] {
            assert_eq!(shown(seconds), expected);
        }
    }
}
