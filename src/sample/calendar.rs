//! Days, weekdays and office hours, in whole seconds since 1970-01-01T00:00Z.

use super::dice::Dice;

pub(super) const HOUR_S: i64 = 3_600;
pub(super) const DAY_S: i64 = 24 * HOUR_S;

/// The first day on which leads arrive.
pub(super) const FIRST_DAY: i64 = day_number(2025, 1, 1);
/// The day after the last one.
pub(super) const END_DAY: i64 = day_number(2026, 7, 1);
/// The end of the records: every row is earlier.
pub(super) const RECORDS_END_S: i64 = END_DAY * DAY_S;

const OPENING_S: i64 = 9 * HOUR_S;
const CLOSING_S: i64 = 18 * HOUR_S;
/// From Monday on.
const WORKING_DAYS: usize = 5;
/// Work that waited for the office to open is done within this time.
const BACKLOG_S: f64 = 1.5 * HOUR_S as f64;
/// No two steps of a lead are closer than this.
const SHORTEST_WAIT_S: f64 = 600.0;

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, from 1970 on.
///
/// Counts years from March, so that the leap day is a year's last; 153 days are the five months from
/// March to July.
pub(super) const fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let (year, months_from_march) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let day_of_year = (153 * months_from_march + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leap_days + day_of_year - 719_468
}

/// The day an instant is in.
pub(super) const fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY_S)
}

/// 0 for Monday to 6 for Sunday; 1970-01-01 was a Thursday.
pub(super) const fn weekday(day: i64) -> usize {
    (day + 3).rem_euclid(7) as usize
}

/// The instant at which somebody in the office gets to what is due `wait_s` seconds after `after`.
///
/// Always later than `after`. Waits of a day or more end at any time of a working day; shorter ones
/// end when due, or soon after the office opens.
pub(super) fn working_time(dice: &mut Dice, after: i64, wait_s: f64) -> i64 {
    let due = after + wait_s.max(SHORTEST_WAIT_S) as i64;
    if wait_s < DAY_S as f64 {
        return next_office_time(dice, due);
    }
    let mut day = day_of(due);
    if next_working_day(day) != day {
        // Spread over the week: otherwise Mondays would have all of the weekend's work.
        day = next_working_day(day) + dice.below(WORKING_DAYS) as i64;
    }
    let office_s = (CLOSING_S - OPENING_S) as f64;
    day * DAY_S + OPENING_S + dice.between(0.0, office_s) as i64
}

fn next_office_time(dice: &mut Dice, due: i64) -> i64 {
    let day = day_of(due);
    let second = due - day * DAY_S;
    let works = next_working_day(day) == day;
    if works && (OPENING_S..CLOSING_S).contains(&second) {
        return due;
    }
    let opening_day = if works && second < OPENING_S {
        day
    } else {
        next_working_day(day + 1)
    };
    opening_day * DAY_S + OPENING_S + dice.between(0.0, BACKLOG_S) as i64
}

const fn next_working_day(day: i64) -> i64 {
    match weekday(day) {
        5 => day + 2,
        6 => day + 1,
        _ => day,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Stream;
    use super::*;
    use chrono::{Datelike, NaiveDate};

    #[test]
    fn day_numbers_and_weekdays_are_those_of_chrono() {
        for (year, month, day) in [(1970, 1, 1), (2000, 2, 29), (2025, 11, 11), (2026, 7, 1)] {
            let expected = NaiveDate::from_ymd_opt(year, month, day).map(|date| {
                (
                    i64::from(date.to_epoch_days()),
                    date.weekday().num_days_from_monday(),
                )
            });
            let number = day_number(i64::from(year), i64::from(month), i64::from(day));
            assert_eq!(expected, Some((number, weekday(number) as u32)));
        }
    }

    #[test]
    fn work_happens_later_and_in_office_hours() {
        let mut dice = Dice::new(1, Stream::Journey(1));
        for hour in 0..1_000 {
            let after = RECORDS_END_S + hour * HOUR_S;
            for wait_s in [0.0, 5_000.0, 80_000.0, 90_000.0, 4_000_000.0] {
                let at = working_time(&mut dice, after, wait_s);
                let second = at - day_of(at) * DAY_S;
                assert!(at > after);
                assert!(weekday(day_of(at)) < 5);
                assert!((OPENING_S..CLOSING_S).contains(&second), "{second}");
            }
        }
    }
}
