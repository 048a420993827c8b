//! Days, weeks and months as numbers in a row.

use chrono::{Datelike, NaiveDate};

use crate::error::FunnelError;

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granularity {
    /// A day.
    Day,
    /// Seven days from Monday.
    Week,
    /// A month of the calendar.
    Month,
}

/// Days from 1 January of year 1, a Monday, to 1 January 1970.
const EPOCH: i32 = 719_162;

/// Days of the years 1 to 9999.
const DAYS: u32 = 3_652_059;

impl Granularity {
    /// Each name, in the order of [`Self::ALL`].
    pub const NAMES: [&str; 3] = ["day", "week", "month"];

    /// Each granularity.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// The number of a date's period, from 0 for that of 1 January of year 1.
    ///
    /// - `date`: days since 1970-01-01
    /// - errors: 22003 outside the years 1 to 9999
    pub fn period_of(self, date: i32) -> Result<u32, FunnelError> {
        let day = date
            .checked_add(EPOCH)
            .and_then(|day| u32::try_from(day).ok())
            .filter(|day| *day < DAYS);
        let Some(day) = day else {
            let message = format!("{date} days from 1970-01-01 is not in the years 1 to 9999");
            return Err(FunnelError::OutOfRange { message });
        };
        Ok(match self {
            Granularity::Day => day,
            Granularity::Week => day / 7,
            Granularity::Month => {
                let date = date_of(day);
                (date.year() as u32 - 1) * 12 + date.month0()
            }
        })
    }

    /// `YYYYMMDD` of a period's first day.
    pub fn date_number(self, period: u32) -> i64 {
        let (year, month, day) = match self {
            Granularity::Day => parts(date_of(period)),
            Granularity::Week => parts(date_of(period * 7)),
            Granularity::Month => (i64::from(period / 12 + 1), i64::from(period % 12 + 1), 1),
        };
        year * 10_000 + month * 100 + day
    }
}

/// The date of a day, counted from 0.
fn date_of(day: u32) -> NaiveDate {
    // In range, as `day` is below DAYS.
    NaiveDate::from_num_days_from_ce_opt(day as i32 + 1).unwrap_or_default()
}

fn parts(date: NaiveDate) -> (i64, i64, i64) {
    (
        i64::from(date.year()),
        i64::from(date.month()),
        i64::from(date.day()),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn first_day(granularity: Granularity, date: &str) -> i64 {
        let date = date.parse::<NaiveDate>().unwrap();
        let days = date.signed_duration_since(NaiveDate::default()).num_days();
        granularity.date_number(granularity.period_of(days as i32).unwrap())
    }

    #[test]
    fn a_period_begins_with_its_first_day() {
        assert_eq!(first_day(Granularity::Day, "2024-02-29"), 20_240_229);
        // 29 February 2024 was a Thursday.
        assert_eq!(first_day(Granularity::Week, "2024-02-29"), 20_240_226);
        assert_eq!(first_day(Granularity::Week, "2024-02-26"), 20_240_226);
        assert_eq!(first_day(Granularity::Week, "2024-02-25"), 20_240_219);
        assert_eq!(first_day(Granularity::Month, "2024-02-29"), 20_240_201);
        assert_eq!(first_day(Granularity::Week, "1969-12-31"), 19_691_229);
        for granularity in Granularity::ALL {
            assert_eq!(first_day(granularity, "0001-01-01"), 10_101);
        }
        assert_eq!(first_day(Granularity::Day, "9999-12-31"), 99_991_231);
    }

    #[test]
    fn other_years_are_errors() {
        for date in [-719_163, 2_932_897, i32::MIN, i32::MAX] {
            assert!(Granularity::Day.period_of(date).is_err(), "{date}");
        }
    }
}
