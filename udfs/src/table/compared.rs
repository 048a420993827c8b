//! `current`, `base`: the two periods that a function compares.
//!
//! A period is written as a year `'2026'`, a quarter `'2026-Q1'`, a month `'2026-03'`, an ISO week `'2026-W10'`, a day
//! `'2026-03-05'`, or as two days `'2026-03-01/2026-03-16'`: from the first up to the second, which isn't in it. Days are
//! those of the session's time zone. Without `base` it is the period before, as long as `current`; `'year'` is the one a
//! year before (52 weeks before a week or a span of days).

use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use datafusion::error::Result;

use super::arguments::Arguments;
use crate::error::FunnelError;

/// Two periods that don't overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The one that is asked about.
    pub current: Span,
    /// The one that it is compared with.
    pub base: Span,
}

/// The days from `first` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: NaiveDate,
    end: NaiveDate,
    /// The months of a period of the calendar; nothing for weeks, days and spans.
    months: Option<u32>,
}

impl Compared {
    /// The named arguments.
    pub const ARGUMENTS: [&'static str; 2] = ["current", "base"];

    /// Takes `current` and `base`.
    ///
    /// # Errors
    /// 42883 without `current`, 22023 for what is no period, or where the two overlap.
    pub fn take(arguments: &mut Arguments, function: &str) -> Result<Self> {
        let Some(current) = arguments.take_text("current")? else {
            return Err(FunnelError::WrongCall {
                message: format!("{function}() needs current"),
                hint: "Write current => '2026-03', and base => '2026-02' for another period than the one before."
                    .to_owned(),
            }
            .into());
        };
        let wanted = "a period such as '2026-03', '2026-Q1', '2026-W10' or '2026-03-01/2026-03-16'";
        let parse = |arguments: &Arguments, name: &str, text: &str| {
            Span::parse(text).ok_or_else(|| arguments.invalid(name, &format!("\"{text}\""), wanted))
        };
        let current = parse(arguments, "current", &current)?;
        let base = arguments.take_text("base")?;
        let before = match base.as_deref() {
            None | Some("previous") => current.before(),
            Some("year") => current.year_before(),
            Some(text) => Some(parse(arguments, "base", text)?),
        };
        let Some(base) = before else {
            return Err(arguments.invalid("base", "a period that no calendar has", wanted));
        };
        if base.first < current.end && current.first < base.end {
            let found = format!("\"{base}\", which overlaps with \"{current}\"");
            return Err(arguments.invalid("base", &found, "two periods without a common day"));
        }
        Ok(Self { current, base })
    }

    /// SQL of `'current'` or `'base'`, the period that an instant lies in; NULL for others.
    pub fn period_of(&self, instant: &str) -> String {
        format!(
            "CASE WHEN {} THEN 'current' WHEN {} THEN 'base' END",
            self.current.holds(instant),
            self.base.holds(instant)
        )
    }

    /// SQL that holds for an instant in either period.
    pub fn either(&self, instant: &str) -> String {
        format!(
            "(({}) OR ({}))",
            self.current.holds(instant),
            self.base.holds(instant)
        )
    }

    /// The arguments of a drill key that say this.
    pub fn key(&self) -> Vec<(&'static str, String)> {
        vec![
            ("current", self.current.to_string()),
            ("base", self.base.to_string()),
        ]
    }
}

impl Span {
    /// Reads a period.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some((first, end)) = text.split_once('/') {
            let (first, end) = (day(first)?, day(end)?);
            return (first < end).then_some(Self {
                first,
                end,
                months: None,
            });
        }
        let calendar = |first: NaiveDate, months: u32| {
            Some(Self {
                first,
                end: first.checked_add_months(Months::new(months))?,
                months: Some(months),
            })
        };
        let days = |first: NaiveDate, days: u64| {
            Some(Self {
                first,
                end: first.checked_add_days(Days::new(days))?,
                months: None,
            })
        };
        if let Some(day) = day(text) {
            return days(day, 1);
        }
        let (year, rest) = match text.split_once('-') {
            Some((year, rest)) => (year, Some(rest)),
            None => (text, None),
        };
        let year: i32 = digits(year, 4)?.try_into().ok()?;
        match rest {
            None => calendar(NaiveDate::from_ymd_opt(year, 1, 1)?, 12),
            Some(rest) => match rest.split_at_checked(1)? {
                ("Q" | "q", quarter) => {
                    let quarter = digits(quarter, 1)?.checked_sub(1)?;
                    calendar(NaiveDate::from_ymd_opt(year, 3 * quarter + 1, 1)?, 3)
                }
                ("W" | "w", week) => {
                    let week = digits(week, 2)?;
                    days(NaiveDate::from_isoywd_opt(year, week, Weekday::Mon)?, 7)
                }
                _ => calendar(NaiveDate::from_ymd_opt(year, digits(rest, 2)?, 1)?, 1),
            },
        }
    }

    /// The one that is as long and ends where this one begins.
    fn before(self) -> Option<Self> {
        let first = match self.months {
            Some(months) => self.first.checked_sub_months(Months::new(months))?,
            None => self.first.checked_sub_days(self.days())?,
        };
        Some(Self {
            first,
            end: self.first,
            months: self.months,
        })
    }

    /// The same one a year before.
    fn year_before(self) -> Option<Self> {
        let back = |day: NaiveDate| match self.months {
            Some(_) => day.checked_sub_months(Months::new(12)),
            None => day.checked_sub_days(Days::new(364)),
        };
        Some(Self {
            first: back(self.first)?,
            end: back(self.end)?,
            months: self.months,
        })
    }

    fn days(self) -> Days {
        let days = (self.end - self.first).num_days();
        Days::new(days.unsigned_abs())
    }

    /// SQL of the instant at which it begins.
    pub fn since(&self) -> String {
        instant(self.first)
    }

    /// SQL of the instant at which it is over.
    pub fn until(&self) -> String {
        instant(self.end)
    }

    /// SQL that holds for an instant in it.
    pub fn holds(&self, instant: &str) -> String {
        format!(
            "{instant} >= {} AND {instant} < {}",
            self.since(),
            self.until()
        )
    }
}

/// A day's beginning in the session's time zone.
fn instant(day: NaiveDate) -> String {
    format!("CAST('{day}' AS timestamptz(6))")
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d")
        .ok()
        .filter(|day| (1..=9999).contains(&day.year()))
}

fn digits(text: &str, count: usize) -> Option<u32> {
    let all = text.bytes().all(|byte| byte.is_ascii_digit());
    (all && text.len() == count).then(|| text.parse().ok())?
}

impl std::fmt::Display for Span {
    /// As a span of days, which [`Span::parse`] reads.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn span(text: &str) -> String {
        Span::parse(text).unwrap().to_string()
    }

    #[test]
    fn periods_are_read_as_their_days() {
        for (text, days) in [
            ("2026", "2026-01-01/2027-01-01"),
            ("2026-Q4", "2026-10-01/2027-01-01"),
            ("2024-02", "2024-02-01/2024-03-01"),
            ("2026-W01", "2025-12-29/2026-01-05"),
            ("2026-03-05", "2026-03-05/2026-03-06"),
            (" 2026-03-01/2026-03-16 ", "2026-03-01/2026-03-16"),
        ] {
            assert_eq!(span(text), days, "{text}");
        }
        for wrong in [
            "",
            "26",
            "2026-13",
            "2026-Q5",
            "2026-Q0",
            "2026-W54",
            "2026-3",
            "2026-02-30",
            "2026-03-02/2026-03-02",
            "2026年",
            "-",
            "2026-",
            "12026",
            "2026-+1",
        ] {
            assert_eq!(Span::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_period_before_is_as_long() {
        let before = |text: &str| Span::parse(text).unwrap().before().unwrap().to_string();
        assert_eq!(before("2026-03"), "2026-02-01/2026-03-01");
        assert_eq!(before("2026-Q1"), "2025-10-01/2026-01-01");
        assert_eq!(before("2026-03-01/2026-03-16"), "2026-02-14/2026-03-01");
        let year = |text: &str| {
            Span::parse(text)
                .unwrap()
                .year_before()
                .unwrap()
                .to_string()
        };
        assert_eq!(year("2024-02"), "2023-02-01/2023-03-01");
        assert_eq!(year("2026-W10"), "2025-03-03/2025-03-10");
    }
}
