//! `date_trunc` in the session's zone, or in one that is named: a day begins where its people are.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, Timelike, Utc};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;

use super::dates::check_texts;
use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::{datetime, types, zones};

const DAY_US: i64 = 86_400_000_000;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// `date_trunc(unit, moment)`, `date_trunc(unit, moment, zone)`
pub fn date_trunc() -> ScalarUDF {
    function(
        "pg_date_trunc",
        Returns::Of(|fields, literals| {
            check_texts("date_trunc", 1, fields, literals)?;
            Ok(field(fields))
        }),
        truncated,
    )
}

/// A timestamp stays one; a date becomes an instant, as Postgres prefers.
fn field(fields: &[FieldRef]) -> Field {
    match fields.get(1).map(|field| field.data_type()) {
        Some(DataType::Timestamp(_, None)) => types::field("", "timestamp"),
        Some(DataType::Interval(_) | DataType::Duration(_)) => types::field("", "interval"),
        _ => types::field("", "timestamptz"),
    }
}

fn truncated(call: &Call) -> Result<ArrayRef> {
    let units = call.texts(0)?;
    let Some(unit) = units.iter().flatten().next() else {
        return Ok(datafusion::arrow::array::new_null_array(
            call.returns.data_type(),
            call.rows,
        ));
    };
    let unit = unit.to_lowercase();
    let unit = datetime::unit(&unit).unwrap_or(&unit);
    let named = call.texts(2)?;
    let zone = match named.iter().flatten().next() {
        Some(name) => match zones::of_function(name) {
            Some(zone) => zone,
            None => return zones::unknown(name),
        },
        None => call.zone().to_owned(),
    };
    let kind = call.returns.data_type();
    if *kind == INTERVAL {
        return intervals(call, unit);
    }
    let known = |us: Option<i64>| -> Result<i64> {
        match us {
            Some(us) => Ok(us),
            None => fault(
                Fault::InvalidArgument,
                format!(
                    "unit \"{unit}\" not recognized for type {}",
                    types::sql_name(&types::natural(kind).unwrap_or_default(), -1)
                ),
            ),
        }
    };
    let moments = moments(call)?;
    let moments = moments.as_primitive::<TimestampMicrosecondType>();
    let instants = matches!(kind, DataType::Timestamp(_, Some(_)));
    let truncate = |us: i64| -> Result<i64> {
        if matches!(us, i64::MIN | i64::MAX) {
            return Ok(us);
        }
        if !instants {
            return known(local(unit, us));
        }
        let moment = datetime::local_us(us, &zone)?;
        let start = known(local(unit, moment))?;
        // Of the two hours of a name when clocks are set back, a moment stays in its own.
        match step_us(unit) {
            Some(step) if step < DAY_US => Ok(us - (moment - start)),
            _ => datetime::utc_us(start, &zone),
        }
    };
    let answers: TimestampMicrosecondArray = moments
        .iter()
        .map(|us| us.map(truncate).transpose())
        .collect::<Result<_>>()?;
    let answers = match instants {
        true => answers.with_timezone("UTC"),
        false => answers,
    };
    Ok(Arc::new(answers))
}

/// The moments in microseconds, of local time or of UTC.
fn moments(call: &Call) -> Result<ArrayRef> {
    let values = &call.arrays[1];
    let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
    Ok(match values.data_type() {
        DataType::Timestamp(_, Some(_)) => cast(
            values,
            &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        )?,
        DataType::Timestamp(_, None) => cast(values, &plain)?,
        DataType::Date32 | DataType::Date64 => {
            let days = cast(values, &DataType::Date32)?;
            Arc::new(datetime::midnights(days.as_primitive(), call.zone())?)
        }
        _ => datetime::instants(&call.texts(1)?, &call.locale())?,
    })
}

/// The length of a unit that has always the same.
fn step_us(unit: &str) -> Option<i64> {
    Some(match unit {
        "microsecond" => 1,
        "millisecond" => 1_000,
        "second" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => DAY_US,
        _ => return None,
    })
}

/// The beginning of the unit that a moment lies in.
fn local(unit: &str, us: i64) -> Option<i64> {
    if let Some(step) = step_us(unit) {
        return Some(us - us.rem_euclid(step));
    }
    let date = DateTime::<Utc>::from_timestamp_micros(us)?.date_naive();
    let first = |year: i32, month: u32| NaiveDate::from_ymd_opt(year, month, 1);
    let year = date.year();
    let date = match unit {
        "week" => {
            date.checked_sub_days(Days::new(u64::from(date.weekday().num_days_from_monday())))
        }
        "month" => first(year, date.month()),
        "quarter" => first(year, (date.month() - 1) / 3 * 3 + 1),
        "year" => first(year, 1),
        "decade" => first(year.div_euclid(10) * 10, 1),
        "century" => first((year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" => first((year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => None,
    }?;
    let midnight: NaiveDateTime = datetime::midnight(date);
    debug_assert_eq!(midnight.num_seconds_from_midnight(), 0);
    Some(midnight.and_utc().timestamp_micros())
}

fn intervals(call: &Call, unit: &str) -> Result<ArrayRef> {
    let values = cast(&call.arrays[1], &INTERVAL)?;
    let truncate = |value: IntervalMonthDayNano| -> Result<IntervalMonthDayNano> {
        let (months, days, nanoseconds) = (value.months, value.days, value.nanoseconds);
        let whole = |step: i64| nanoseconds - nanoseconds % (step * 1_000);
        let whole_months = |step: i32| months - months % step;
        Ok(match unit {
            "microsecond" => value,
            "millisecond" => IntervalMonthDayNano::new(months, days, whole(1_000)),
            "second" => IntervalMonthDayNano::new(months, days, whole(1_000_000)),
            "minute" => IntervalMonthDayNano::new(months, days, whole(60_000_000)),
            "hour" => IntervalMonthDayNano::new(months, days, whole(3_600_000_000)),
            "day" => IntervalMonthDayNano::new(months, days, 0),
            "month" => IntervalMonthDayNano::new(months, 0, 0),
            "quarter" => IntervalMonthDayNano::new(whole_months(3), 0, 0),
            "year" => IntervalMonthDayNano::new(whole_months(12), 0, 0),
            "decade" => IntervalMonthDayNano::new(whole_months(120), 0, 0),
            "century" => IntervalMonthDayNano::new(whole_months(1_200), 0, 0),
            "millennium" => IntervalMonthDayNano::new(whole_months(12_000), 0, 0),
            "week" => {
                return Err(DataFusionError::NotImplemented(
                    "unit \"week\" not supported for type interval".to_owned(),
                ));
            }
            _ => {
                return fault(
                    Fault::InvalidArgument,
                    format!("unit \"{unit}\" not recognized for type interval"),
                );
            }
        })
    };
    let answers = values
        .as_primitive::<IntervalMonthDayNanoType>()
        .iter()
        .map(|value| value.map(truncate).transpose());
    Ok(Arc::new(answers.collect::<Result<
        datafusion::arrow::array::IntervalMonthDayNanoArray,
    >>()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `date_trunc(unit, timestamp …)`.
    #[test]
    fn a_moment_is_cut_to_the_beginning_of_its_unit() {
        let us = |text: &str| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
                .unwrap()
                .and_utc()
                .timestamp_micros()
        };
        for (unit, moment, expected) in [
            ("week", "2024-03-03 10:00:00", "2024-02-26 00:00:00"),
            ("quarter", "2024-05-29 13:45:10", "2024-04-01 00:00:00"),
            ("decade", "2024-05-29 13:45:10", "2020-01-01 00:00:00"),
            ("century", "2000-05-29 13:45:10", "1901-01-01 00:00:00"),
            ("hour", "1969-12-31 23:59:59", "1969-12-31 23:00:00"),
        ] {
            assert_eq!(local(unit, us(moment)), Some(us(expected)), "{unit}");
        }
        assert_eq!(local("fortnight", 0), None);
    }
}
