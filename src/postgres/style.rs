//! How a session reads and writes values: `DateStyle`, `IntervalStyle`, `bytea_output` and `extra_float_digits`.

use datafusion::config::ConfigOptions;

use super::types;
use crate::engine::Asker;
use crate::engine::settings::Settings;

/// How dates and times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateFormat {
    /// `2026-01-31 10:20:30+08`
    #[default]
    Iso,
    /// `01/31/2026 10:20:30 CST`
    Sql,
    /// `Sat Jan 31 10:20:30 2026 CST`
    Postgres,
    /// `31.01.2026 10:20:30 CST`
    German,
}

/// How a date whose parts are all numbers is read, and in which order they are written where the format doesn't say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateOrder {
    /// Month, day, year.
    #[default]
    Mdy,
    /// Day, month, year.
    Dmy,
    /// Year, month, day.
    Ymd,
}

/// How intervals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IntervalFormat {
    /// `1 year 2 mons 3 days 04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    Verbose,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ByteFormat {
    /// `\x00ff`
    #[default]
    Hex,
    /// `\000\377`
    Escape,
}

/// The formats of a session; those of Postgres where nothing was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Of dates and times.
    pub dates: DateFormat,
    /// Of their parts.
    pub order: DateOrder,
    /// Of intervals.
    pub intervals: IntervalFormat,
    /// Of bytes.
    pub bytes: ByteFormat,
    /// How many digits more than those that are certain a float has; above 0, as many as tell it from others.
    pub float_digits: i32,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            dates: DateFormat::default(),
            order: DateOrder::default(),
            intervals: IntervalFormat::default(),
            bytes: ByteFormat::default(),
            float_digits: 1,
        }
    }
}

impl Style {
    /// As a session's settings say.
    pub fn of(settings: &Settings) -> Self {
        let get = |name: &str| settings.get(name).unwrap_or_default();
        let dates = get("DateStyle");
        let (format, order) = dates.split_once(", ").unwrap_or_default();
        Self {
            dates: match format {
                "SQL" => DateFormat::Sql,
                "Postgres" => DateFormat::Postgres,
                "German" => DateFormat::German,
                _ => DateFormat::Iso,
            },
            order: match order {
                "DMY" => DateOrder::Dmy,
                "YMD" => DateOrder::Ymd,
                _ => DateOrder::Mdy,
            },
            intervals: match get("IntervalStyle").as_str() {
                "postgres_verbose" => IntervalFormat::Verbose,
                "sql_standard" => IntervalFormat::SqlStandard,
                "iso_8601" => IntervalFormat::Iso8601,
                _ => IntervalFormat::Postgres,
            },
            bytes: match get("bytea_output").as_str() {
                "escape" => ByteFormat::Escape,
                _ => ByteFormat::Hex,
            },
            float_digits: get("extra_float_digits").parse().unwrap_or(1),
        }
    }

    /// That of the session that asks.
    pub fn of_session(options: &ConfigOptions) -> Self {
        Asker::of(options).map_or_else(Self::default, |session| session.style())
    }
}

/// What the reading of a text depends on.
#[derive(Debug, Clone)]
pub struct Locale {
    /// The time zone of what says none.
    pub zone: String,
    /// The formats.
    pub style: Style,
}

impl Locale {
    /// That of the session that asks.
    pub fn of_session(options: &ConfigOptions) -> Self {
        Self {
            zone: types::session_zone(options).to_owned(),
            style: Style::of_session(options),
        }
    }
}

impl Default for Locale {
    fn default() -> Self {
        Self {
            zone: types::UTC.to_owned(),
            style: Style::default(),
        }
    }
}
