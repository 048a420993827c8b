//! Calendar periods: `every => 'month'`, `'2 weeks'`, `'day'`, and the day that a week starts on.

use std::fmt;

use datafusion::error::Result;

use super::arguments::Arguments;

/// A calendar period, by which instants are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    count: u32,
    unit: &'static str,
    /// The first day of a week, from 0 for Monday.
    week_start: usize,
}

const UNITS: [&str; 6] = ["hour", "day", "week", "month", "quarter", "year"];
const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
/// More would be no period of any calendar.
const MOST: u32 = 10_000;

impl Period {
    /// Takes `every` (a month where it isn't given) and `week_start` (Monday).
    ///
    /// # Errors
    /// 22023 for what is no period of whole days, or no weekday.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        Self::take_or(arguments, "month")
    }

    /// As [`Period::take`] with another default.
    ///
    /// # Errors
    /// As [`Period::take`].
    pub fn take_or(arguments: &mut Arguments, default: &str) -> Result<Self> {
        let every = arguments
            .take_text("every")?
            .unwrap_or_else(|| default.to_owned());
        let Some((count, unit)) = parse(&every).filter(|(_, unit)| *unit != "hour") else {
            let wanted = "day, week, month, quarter or year, or a number of them such as '2 weeks'";
            return Err(arguments.invalid("every", &format!("\"{every}\""), wanted));
        };
        let first = arguments
            .take_text("week_start")?
            .unwrap_or_else(|| WEEKDAYS[0].to_owned());
        let week_start = WEEKDAYS
            .iter()
            .position(|day| *day == first.to_lowercase())
            .ok_or_else(|| {
                arguments.invalid(
                    "week_start",
                    &format!("\"{first}\""),
                    "a weekday, such as 'sunday'",
                )
            })?;
        Ok(Self {
            count,
            unit,
            week_start,
        })
    }

    /// The day that weeks start on, in English.
    pub fn week_start(&self) -> &'static str {
        WEEKDAYS[self.week_start]
    }

    /// SQL of its length.
    pub fn interval(&self) -> String {
        let (count, unit) = match self.unit {
            "quarter" => (3 * self.count, "months"),
            "year" => (12 * self.count, "months"),
            "month" => (self.count, "months"),
            "week" => (7 * self.count, "days"),
            _ => (self.count, "days"),
        };
        format!("INTERVAL '{count} {unit}'")
    }

    /// SQL of the length of a year, which is 52 weeks where periods are weeks; nothing where a year before the start of
    /// a period none begins.
    pub fn year_before(&self) -> Option<String> {
        let fits = match self.unit {
            "year" => self.count == 1,
            "quarter" => 4 % self.count == 0,
            "month" => 12 % self.count == 0,
            "week" => return (52 % self.count == 0).then(|| "INTERVAL '364 days'".to_owned()),
            _ => self.count == 1,
        };
        fits.then(|| "INTERVAL '12 months'".to_owned())
    }

    /// SQL of the first day, in the session's time zone, of the period that an instant lies in.
    ///
    /// Periods of more than one unit are counted from 2001-01-01, which is a Monday, or from the first day of
    /// that week.
    pub fn start_of(&self, instant: &str) -> String {
        let local = format!("to_local_time(CAST({instant} AS timestamptz(6)))");
        let start = match (self.count, self.unit, self.week_start) {
            (1, "week", 0) => format!("date_trunc('week', {local})"),
            (1, "week", first) => {
                // Weeks that start earlier than Monday's would: move them to Monday and back.
                let days = 7 - first;
                format!(
                    "date_trunc('week', {local} + INTERVAL '{days} days') - INTERVAL '{days} days'"
                )
            }
            (1, unit, _) => format!("date_trunc('{unit}', {local})"),
            (_, unit, first) => {
                let day = if unit == "week" { 1 + first } else { 1 };
                format!(
                    "date_bin({}, {local}, CAST('2001-01-0{day}' AS timestamp(6)))",
                    self.interval()
                )
            }
        };
        format!("CAST({start} AS date)")
    }
}

/// A count and a unit of [`UNITS`].
fn parse(text: &str) -> Option<(u32, &'static str)> {
    let text = text.trim().to_lowercase();
    let (count, unit) = match text.split_once(char::is_whitespace) {
        Some((count, unit)) => (count.parse().ok()?, unit.trim()),
        None => (1, text.as_str()),
    };
    let singular = unit.strip_suffix('s').unwrap_or(unit);
    let unit = UNITS.into_iter().find(|unit| *unit == singular)?;
    (1..=MOST).contains(&count).then_some((count, unit))
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => f.write_str(self.unit),
            count => write!(f, "{count} {}s", self.unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_a_count_and_a_unit() {
        assert_eq!(parse("Month"), Some((1, "month")));
        assert_eq!(parse(" 2 weeks "), Some((2, "week")));
        assert_eq!(parse("1 day"), Some((1, "day")));
        for wrong in [
            "",
            "0 days",
            "-1 day",
            "2",
            "fortnight",
            "1.5 weeks",
            "99999 days",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
