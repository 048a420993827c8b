//! Dates and times: parts of them, ages, zones, templates.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    IntervalMonthDayNanoArray, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;

use super::to_char::{interval_text, moment_of, moment_text, number_text};
use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function, no_function};
use crate::postgres::zones::{self, Zone};
use crate::postgres::{datetime, types};

const DAY_US: i64 = 86_400_000_000;
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let interval = Returns::Type("interval");
    vec![
        function(
            "pg_to_char",
            Returns::Of(|fields, literals| {
                check_texts("to_char", 0, fields, literals)?;
                Ok(types::field("", "text"))
            }),
            to_char,
        ),
        function("pg_to_date", Returns::Type("date"), to_date),
        function(
            "pg_to_timestamp",
            Returns::Type("timestamptz"),
            to_timestamp,
        ),
        function("pg_extract", Returns::Of(extract_field), extract),
        function(
            "pg_date_part",
            Returns::Of(|fields, literals| {
                check_texts("date_part", 1, fields, literals)?;
                Ok(types::field("", "float8"))
            }),
            date_part,
        ),
        function(
            "pg_timezone",
            Returns::Of(|fields, _| Ok(zoned_field(fields))),
            timezone,
        ),
        function(
            "timezone",
            Returns::Of(|fields, _| Ok(zoned_field(fields))),
            timezone,
        ),
        function(
            "age",
            Returns::Of(|fields, literals| {
                check_moments("age", fields, literals)?;
                Ok(types::field("", "interval"))
            }),
            age,
        ),
        function("justify_hours", interval, |call| justify(call, true, false)),
        function("justify_days", interval, |call| justify(call, false, true)),
        function("justify_interval", interval, |call| {
            justify(call, true, true)
        }),
        function("isfinite", Returns::Type("bool"), is_finite),
        function("make_timestamp", Returns::Type("timestamp"), |call| {
            make_moment(call, false)
        }),
        function("make_timestamptz", Returns::Type("timestamptz"), |call| {
            make_moment(call, true)
        }),
        function("make_interval", interval, make_interval),
        interval_length(),
        function("pg_make_date", Returns::Type("date"), make_date),
        function("make_time", Returns::Type("time"), make_time),
        function("clock_timestamp", Returns::Type("timestamptz"), now),
        function("statement_timestamp", Returns::Type("timestamptz"), now),
        function("transaction_timestamp", Returns::Type("timestamptz"), now),
        function("localtime", Returns::Type("time"), |call| {
            let local = datetime::local_us(Utc::now().timestamp_micros(), call.zone())?;
            Ok(Arc::new(Time64MicrosecondArray::from(vec![
                local
                    .rem_euclid(
                        DAY_US
                    );
                call.rows
            ])))
        }),
        function(
            "pg_time_precision",
            Returns::Of(|fields, _| {
                Ok(match fields.first() {
                    Some(field) => field.as_ref().clone(),
                    None => types::field("", "timestamp"),
                })
            }),
            time_precision,
        ),
        function("pg_interval_fields", interval, interval_fields),
        function("timeofday", Returns::Type("text"), |call| {
            let now = Utc::now()
                .format("%a %b %d %H:%M:%S%.6f %Y UTC")
                .to_string();
            Ok(Arc::new(StringArray::from(vec![now; call.rows])))
        }),
        function("localtimestamp", Returns::Type("timestamp"), |call| {
            let local = datetime::local_us(Utc::now().timestamp_micros(), call.zone())?;
            Ok(Arc::new(TimestampMicrosecondArray::from(vec![
                local;
                call.rows
            ])))
        }),
    ]
}

/// Refuses an argument that is a text of its own, and no time or number.
pub(super) fn check_texts(
    name: &str,
    at: usize,
    fields: &[FieldRef],
    literals: &[Option<&ScalarValue>],
) -> Result<()> {
    let is_text = fields.get(at).is_some_and(|field| {
        field.data_type().is_string() && literals.get(at).copied().flatten().is_none()
    });
    match is_text {
        true => no_function(name, fields, literals),
        false => Ok(()),
    }
}

/// Refuses arguments that are neither moments nor have no type of their own.
fn check_moments(name: &str, fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Result<()> {
    let is_moment = |(at, field): (usize, &FieldRef)| match field.data_type() {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Null => true,
        kind if kind.is_string() => literals.get(at).copied().flatten().is_some(),
        _ => false,
    };
    match fields.iter().enumerate().all(is_moment) {
        true => Ok(()),
        false => no_function(name, fields, literals),
    }
}

/// `pg_interval_fields(x, 'minute', 6)`: an interval without what is smaller than a field, its seconds with so many digits.
fn interval_fields(call: &Call) -> Result<ArrayRef> {
    let intervals = cast(&call.arrays[0], &INTERVAL)?;
    let (last, digits) = (call.texts(1)?, call.integers(2)?);
    let kept = |row: usize| {
        let whole = intervals.as_primitive::<IntervalMonthDayNanoType>();
        if whole.is_null(row) || last.is_null(row) || digits.is_null(row) {
            return None;
        }
        let whole = whole.value(row);
        let unit = |us: i64| whole.nanoseconds - whole.nanoseconds % (us * 1000);
        let (months, days, nanoseconds) = match last.value(row) {
            "year" => (whole.months - whole.months % 12, 0, 0),
            "month" => (whole.months, 0, 0),
            "day" => (whole.months, whole.days, 0),
            "hour" => (whole.months, whole.days, unit(3_600_000_000)),
            "minute" => (whole.months, whole.days, unit(60_000_000)),
            _ => {
                let dropped = 6 - digits.value(row).clamp(0, 6);
                let unit = 10_i64.pow(u32::try_from(dropped).unwrap_or(0)) * 1000;
                let half = whole.nanoseconds.signum() * (unit / 2);
                let rounded = whole.nanoseconds.saturating_add(half);
                (whole.months, whole.days, rounded - rounded % unit)
            }
        };
        Some(IntervalMonthDayNano::new(months, days, nanoseconds))
    };
    let kept = (0..call.rows).map(kept);
    Ok(Arc::new(kept.collect::<IntervalMonthDayNanoArray>()))
}

/// How long an interval is, in microseconds: a month has 30 days, a day 24 hours, where intervals are compared.
pub fn interval_length() -> ScalarUDF {
    function("pg_interval_length", Returns::Type("int8"), |call| {
        let length = |interval: IntervalMonthDayNano| {
            let days = i64::from(interval.months) * 30 + i64::from(interval.days);
            days.saturating_mul(DAY_US)
                .saturating_add(interval.nanoseconds / 1_000)
        };
        let intervals = cast(&interval_values(call)?, &INTERVAL)?;
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        let lengths = intervals.iter().map(|value| value.map(length));
        Ok(Arc::new(
            lengths.collect::<datafusion::arrow::array::Int64Array>(),
        ))
    })
}

/// Intervals, read where they are written as texts.
fn interval_values(call: &Call) -> Result<ArrayRef> {
    match call.arrays[0].data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            datetime::intervals(&call.texts(0)?, call.style())
        }
        _ => Ok(Arc::clone(&call.arrays[0])),
    }
}

fn now(call: &Call) -> Result<ArrayRef> {
    let now = TimestampMicrosecondArray::from(vec![Utc::now().timestamp_micros(); call.rows]);
    Ok(Arc::new(now.with_timezone("UTC")))
}

/// A moment of a row: in local time, with its zone's offset where it is an instant.
struct Local {
    us: i64,
    offset: i32,
}

/// Dates and times of a column in the session's time.
fn locals(call: &Call, at: usize) -> Result<Vec<Option<Local>>> {
    let values = &call.arrays[at];
    match values.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            let instants = cast(
                values,
                &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            )?;
            let zone = Zone::new(call.zone())?;
            let local = |us: i64| {
                let utc = DateTime::<Utc>::from_timestamp_micros(us)?.naive_utc();
                let offset = zone.offset(&utc);
                Some(Local {
                    us: us + i64::from(offset) * 1_000_000,
                    offset,
                })
            };
            let instants = instants.as_primitive::<TimestampMicrosecondType>();
            Ok(instants.iter().map(|us| us.and_then(local)).collect())
        }
        DataType::Time64(_) => {
            let times = cast(values, &DataType::Time64(TimeUnit::Microsecond))?;
            let times = times.as_primitive::<Time64MicrosecondType>();
            Ok(times
                .iter()
                .map(|us| us.map(|us| Local { us, offset: 0 }))
                .collect())
        }
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => {
            let read = datetime::timestamps(&call.texts(at)?, &call.locale())?;
            let read = read.as_primitive::<TimestampMicrosecondType>();
            Ok(read
                .iter()
                .map(|us| us.map(|us| Local { us, offset: 0 }))
                .collect())
        }
        DataType::Date32 => {
            let days = values.as_primitive::<Date32Type>();
            Ok(days
                .iter()
                .map(|day| {
                    day.map(|day| Local {
                        us: i64::from(day) * DAY_US,
                        offset: 0,
                    })
                })
                .collect())
        }
        _ => {
            let moments = cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let moments = moments.as_primitive::<TimestampMicrosecondType>();
            Ok(moments
                .iter()
                .map(|us| us.map(|us| Local { us, offset: 0 }))
                .collect())
        }
    }
}

fn intervals(call: &Call, at: usize) -> Result<IntervalMonthDayNanoArray> {
    let values = match call.arrays[at].data_type() {
        DataType::Utf8 => datetime::intervals(call.arrays[at].as_string::<i32>(), call.style())?,
        DataType::Time64(_) => {
            let time = |us: i64| IntervalMonthDayNano::new(0, 0, us * 1000);
            let times = cast(&call.arrays[at], &DataType::Time64(TimeUnit::Microsecond))?;
            let times = times.as_primitive::<Time64MicrosecondType>();
            return Ok(times.iter().map(|us| us.map(time)).collect());
        }
        _ => cast(&call.arrays[at], &INTERVAL)?,
    };
    Ok(values.as_primitive::<IntervalMonthDayNanoType>().clone())
}

fn is_interval(kind: &DataType) -> bool {
    matches!(kind, DataType::Interval(_) | DataType::Duration(_))
}

fn to_char(call: &Call) -> Result<ArrayRef> {
    let kind = call.arrays[0].data_type().clone();
    let templates = call.texts(1)?;
    let template = |row: usize| templates.is_valid(row).then(|| templates.value(row));
    if kind.is_numeric() {
        let numbers = call.texts(0)?;
        let certain_digits = match kind {
            DataType::Float64 => Some(15),
            DataType::Float32 | DataType::Float16 => Some(6),
            _ => None,
        };
        let write = |row: usize| match template(row) {
            Some(template) if numbers.is_valid(row) => {
                number_text(numbers.value(row), template, certain_digits).map(Some)
            }
            _ => Ok(None),
        };
        let written = (0..call.rows).map(write).collect::<Result<StringArray>>()?;
        return Ok(Arc::new(written));
    }
    // A time is an interval here, of no days.
    if is_interval(&kind) || matches!(kind, DataType::Time64(_)) {
        let intervals = intervals(call, 0)?;
        let write = |row: usize| match template(row) {
            Some(template) if intervals.is_valid(row) => {
                interval_text(&intervals.value(row), template)
            }
            _ => Ok(None),
        };
        let written = (0..call.rows).map(write).collect::<Result<StringArray>>()?;
        return Ok(Arc::new(written));
    }
    let zone = match kind {
        DataType::Timestamp(_, Some(_)) => Some(Zone::new(call.zone())?),
        _ => None,
    };
    let locals = locals(call, 0)?;
    let write = |(row, local): (usize, &Option<Local>)| {
        let local = local.as_ref()?;
        let template = template(row)?;
        let name = match &zone {
            Some(zone) if template.contains("TZ") || template.contains("tz") => {
                let utc = local.us - i64::from(local.offset) * 1_000_000;
                zone.short_name(&DateTime::<Utc>::from_timestamp_micros(utc)?.naive_utc())
            }
            _ => String::new(),
        };
        moment_text(local.us, local.offset, &name, template)
    };
    Ok(Arc::new(
        locals
            .iter()
            .enumerate()
            .map(write)
            .collect::<StringArray>(),
    ))
}

fn to_date(call: &Call) -> Result<ArrayRef> {
    let (texts, templates) = (call.texts(0)?, call.texts(1)?);
    let read = |row: usize| -> Result<Option<i32>> {
        match texts.is_valid(row) && templates.is_valid(row) {
            true => Ok(Some(datetime::days(
                moment_of(texts.value(row), templates.value(row))?.0.date(),
            ))),
            false => Ok(None),
        }
    };
    Ok(Arc::new(
        (0..call.rows).map(read).collect::<Result<Date32Array>>()?,
    ))
}

/// By a template, or of seconds since 1970.
fn to_timestamp(call: &Call) -> Result<ArrayRef> {
    let instants: Result<TimestampMicrosecondArray> = match call.has(1) {
        true => {
            let (texts, templates) = (call.texts(0)?, call.texts(1)?);
            let read = |row: usize| -> Result<Option<i64>> {
                if texts.is_null(row) || templates.is_null(row) {
                    return Ok(None);
                }
                let (moment, offset) = moment_of(texts.value(row), templates.value(row))?;
                let local = moment.and_utc().timestamp_micros();
                match offset {
                    Some(offset) => Ok(Some(local - i64::from(offset) * 1_000_000)),
                    None => datetime::utc_us(local, call.zone()).map(Some),
                }
            };
            (0..call.rows).map(read).collect()
        }
        false => match call.arrays[0].data_type() {
            kind if kind.is_numeric() => {
                let seconds = cast(&call.arrays[0], &DataType::Float64)?;
                #[allow(
                    clippy::cast_possible_truncation,
                    reason = "a time that is too far away saturates"
                )]
                let read = |seconds: f64| (seconds * 1e6).round() as i64;
                Ok(seconds
                    .as_primitive::<Float64Type>()
                    .iter()
                    .map(|seconds| seconds.map(read))
                    .collect())
            }
            // DataFusion's own: a text or a time as an instant.
            _ => {
                let read = datetime::instants(&call.texts(0)?, &call.locale())?;
                Ok(read.as_primitive::<TimestampMicrosecondType>().clone())
            }
        },
    };
    Ok(Arc::new(instants?.with_timezone("UTC")))
}

/// Seconds have six digits behind the point, the other fields none.
fn extract_field(fields: &[FieldRef], values: &[Option<&ScalarValue>]) -> Result<Field> {
    check_texts("pg_catalog.extract", 1, fields, values)?;
    let field = values
        .first()
        .copied()
        .flatten()
        .and_then(|value| value.try_as_str().flatten())
        .unwrap_or_default()
        .to_lowercase();
    let scale = match datetime::unit(&field).unwrap_or(&field) {
        "second" | "epoch" => 6,
        "millisecond" => 3,
        _ => 0,
    };
    Ok(Field::new("", DataType::Decimal128(38, scale), true))
}

fn extract(call: &Call) -> Result<ArrayRef> {
    // A date has no time of day; `date_part` alone sees it at its midnight.
    let fields = call.texts(0)?;
    let field = fields.iter().flatten().next().unwrap_or_default();
    let field = field.to_lowercase();
    if *call.arrays[1].data_type() == DataType::Date32 && !has_days(&field) {
        return Err(unsupported(&field, &DataType::Date32));
    }
    let DataType::Decimal128(precision, scale) = call.returns.data_type() else {
        return fault(Fault::Internal, "extract is no numeric");
    };
    let unit = 10_i128.pow(6 - u32::try_from(*scale).unwrap_or(0));
    let millionths = parts(call)?;
    let answers: Decimal128Array = millionths
        .into_iter()
        .map(|part| part.map(|part| part / unit))
        .collect();
    Ok(Arc::new(
        answers.with_precision_and_scale(*precision, *scale)?,
    ))
}

fn date_part(call: &Call) -> Result<ArrayRef> {
    let millionths = parts(call)?;
    #[allow(clippy::cast_precision_loss, reason = "a double is what it is")]
    let answers: Float64Array = millionths
        .into_iter()
        .map(|part| part.map(|part| part as f64 / 1e6))
        .collect();
    Ok(Arc::new(answers))
}

/// Whether a field is none of the time of day or of its zone, or isn't any.
fn has_days(field: &str) -> bool {
    let unit = datetime::unit(field).unwrap_or(field);
    !matches!(
        unit,
        "microsecond" | "millisecond" | "second" | "minute" | "hour"
    ) && !unit.starts_with("timezone")
}

/// A field that a type could have, as others do, but hasn't.
fn unsupported(field: &str, kind: &DataType) -> DataFusionError {
    DataFusionError::NotImplemented(format!(
        "unit \"{field}\" not supported for type {}",
        types::sql_name(&types::natural(kind).unwrap_or_default(), -1)
    ))
}

/// A field of each row, in millionths.
fn parts(call: &Call) -> Result<Vec<Option<i128>>> {
    let fields = call.texts(0)?;
    let written = fields.iter().flatten().next().unwrap_or_default();
    let written = written.to_lowercase();
    let field = datetime::unit(&written).unwrap_or(&written).to_owned();
    let kind = call.arrays[1].data_type().clone();
    let unknown = || {
        let is_known = datetime::unit(&field).is_some() || OTHER_FIELDS.contains(&field.as_str());
        if is_known {
            return Err(unsupported(&written, &kind));
        }
        fault(
            Fault::InvalidArgument,
            format!(
                "unit \"{written}\" not recognized for type {}",
                types::sql_name(&types::natural(&kind).unwrap_or_default(), -1)
            ),
        )
    };
    if is_interval(&kind) {
        let intervals = intervals(call, 1)?;
        let part = |interval: IntervalMonthDayNano| {
            interval_part(&field, &interval).map_or_else(unknown, |part| Ok(Some(part)))
        };
        return intervals
            .iter()
            .map(|interval| interval.map_or(Ok(None), part))
            .collect();
    }
    let is_time = matches!(kind, DataType::Time64(_));
    let is_instant = matches!(kind, DataType::Timestamp(_, Some(_)));
    let part = |local: Local| -> Result<Option<i128>> {
        if is_time {
            let interval = IntervalMonthDayNano::new(0, 0, local.us * 1000);
            return match has_days(&field) && field != "epoch" {
                true => unknown(),
                false => {
                    interval_part(&field, &interval).map_or_else(unknown, |part| Ok(Some(part)))
                }
            };
        }
        if !is_instant && field.starts_with("timezone") {
            return unknown();
        }
        // What comes again and again is nothing at the end of time.
        if is_endless(local.us) && COMES_AGAIN.contains(&field.as_str()) {
            return Ok(None);
        }
        moment_part(&field, &local).map_or_else(unknown, |part| Ok(Some(part)))
    };
    locals(call, 1)?
        .into_iter()
        .map(|local| local.map_or(Ok(None), part))
        .collect()
}

/// The fields that are no units.
const OTHER_FIELDS: [&str; 9] = [
    "dow",
    "doy",
    "epoch",
    "isodow",
    "isoyear",
    "julian",
    "timezone",
    "timezone_hour",
    "timezone_minute",
];

/// The fields that have the same values again and again.
const COMES_AGAIN: [&str; 15] = [
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "dow",
    "doy",
    "isodow",
    "timezone",
    "timezone_hour",
    "timezone_minute",
];

fn moment_part(field: &str, local: &Local) -> Option<i128> {
    let moment = DateTime::<Utc>::from_timestamp_micros(local.us)?.naive_utc();
    let second_us = i128::from(local.us.rem_euclid(60_000_000));
    let whole: i64 = match field {
        "second" => return Some(second_us),
        "millisecond" => return Some(second_us * 1000),
        "microsecond" => return Some(second_us * 1_000_000),
        "epoch" => return Some(i128::from(local.us) - i128::from(local.offset) * 1_000_000),
        "julian" => return Some(i128::from(local.us) / 86_400 + 2_440_588 * 1_000_000),
        "year" => i64::from(counted(moment.year())),
        "month" => i64::from(moment.month()),
        "day" => i64::from(moment.day()),
        "hour" => i64::from(moment.hour()),
        "minute" => i64::from(moment.minute()),
        "quarter" => i64::from((moment.month() - 1) / 3 + 1),
        "week" => i64::from(moment.iso_week().week()),
        "isoyear" => i64::from(counted(moment.iso_week().year())),
        "dow" => i64::from(moment.weekday().num_days_from_sunday()),
        "isodow" => i64::from(moment.weekday().number_from_monday()),
        "doy" => i64::from(moment.ordinal()),
        "decade" => i64::from(moment.year().div_euclid(10)),
        "century" => i64::from(period(moment.year(), 100)),
        "millennium" => i64::from(period(moment.year(), 1000)),
        "timezone" => i64::from(local.offset),
        "timezone_hour" => i64::from(local.offset / 3600),
        "timezone_minute" => i64::from(local.offset / 60 % 60),
        _ => return None,
    };
    Some(i128::from(whole) * 1_000_000)
}

/// A year as it is counted: there was none of the number 0.
fn counted(year: i32) -> i32 {
    if year > 0 { year } else { year - 1 }
}

/// The century or millennium of a year; the first begins with the year 1, the one before it is -1.
fn period(year: i32, years: i32) -> i32 {
    match year {
        1.. => (year + years - 1) / years,
        _ => -((years - year) / years),
    }
}

fn interval_part(field: &str, interval: &IntervalMonthDayNano) -> Option<i128> {
    let us = i128::from(interval.nanoseconds / 1000);
    let whole: i64 = match field {
        "second" => return Some(us % 60_000_000),
        "millisecond" => return Some(us % 60_000_000 * 1000),
        "microsecond" => return Some(us % 60_000_000 * 1_000_000),
        "epoch" => {
            // A year has 365.25 days here, a month thirty.
            let years = i128::from(interval.months / 12) * 31_557_600;
            let months = i128::from(interval.months % 12) * 2_592_000;
            let days = i128::from(interval.days) * 86_400;
            return Some((years + months + days) * 1_000_000 + us);
        }
        "year" => i64::from(interval.months / 12),
        "month" => i64::from(interval.months % 12),
        "quarter" => i64::from(interval.months % 12 / 3 + 1),
        "day" => i64::from(interval.days),
        "hour" => i64::try_from(us / 3_600_000_000).ok()?,
        "minute" => i64::try_from(us / 60_000_000 % 60).ok()?,
        "decade" => i64::from(interval.months / 120),
        "century" => i64::from(interval.months / 1200),
        "millennium" => i64::from(interval.months / 12_000),
        _ => return None,
    };
    Some(i128::from(whole) * 1_000_000)
}

fn zoned_field(fields: &[FieldRef]) -> Field {
    match fields.get(1).map(|field| field.data_type()) {
        // A date is an instant of the session's zone first.
        Some(DataType::Timestamp(_, Some(_)) | DataType::Utf8 | DataType::Date32) => {
            types::field("", "timestamp")
        }
        _ => types::field("", "timestamptz"),
    }
}

/// An instant's time in a zone, or the instant of a time in it.
fn timezone(call: &Call) -> Result<ArrayRef> {
    let names = call.texts(0)?;
    let to_local = matches!(call.returns.data_type(), DataType::Timestamp(_, None));
    let values: ArrayRef = match call.arrays[1].data_type() {
        DataType::Utf8 => datetime::instants(&call.texts(1)?, &call.locale())?,
        DataType::Date32 => {
            let days = call.arrays[1].as_primitive::<Date32Type>();
            Arc::new(datetime::midnights(days, call.zone())?)
        }
        _ => Arc::clone(&call.arrays[1]),
    };
    let kind = match (values.data_type(), to_local) {
        (_, true) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Timestamp(TimeUnit::Microsecond, None),
    };
    let moments = cast(&values, &kind)?;
    let moments = moments.as_primitive::<TimestampMicrosecondType>();
    let by_interval = is_interval(call.arrays[0].data_type());
    let mut known = HashMap::new();
    let change = |row: usize| -> Result<Option<i64>> {
        if moments.is_null(row) || names.is_null(row) {
            return Ok(None);
        }
        let name = names.value(row);
        // The offset of an interval is written as one, to the east.
        let zone = known.entry(name).or_insert_with(|| match by_interval {
            true => zones::of_literal(&format!("+{name}").replace("+-", "-")),
            false => zones::of_function(name),
        });
        match (zone, to_local) {
            (Some(_), _) if is_endless(moments.value(row)) => Ok(Some(moments.value(row))),
            (Some(zone), true) => datetime::local_us(moments.value(row), zone).map(Some),
            (Some(zone), false) => datetime::utc_us(moments.value(row), zone).map(Some),
            (None, _) => zones::unknown(name),
        }
    };
    let changed = (0..call.rows)
        .map(change)
        .collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(match to_local {
        true => Arc::new(changed),
        false => Arc::new(changed.with_timezone("UTC")),
    })
}

/// Infinity and its opposite.
fn is_endless(us: i64) -> bool {
    matches!(us, i64::MIN | i64::MAX)
}

/// Years, months and days between two moments; of one, up to the beginning of today.
fn age(call: &Call) -> Result<ArrayRef> {
    // The age of a transaction's number: nothing here grows old.
    if call
        .fields
        .first()
        .is_some_and(|field| types::type_of(field) == "xid")
    {
        return Ok(Arc::new(IntervalMonthDayNanoArray::from(
            vec![IntervalMonthDayNano::new(0, 0, 0); call.rows],
        )));
    }
    let first = locals(call, 0)?;
    let (later, earlier) = match call.has(1) {
        true => (first, locals(call, 1)?),
        false => {
            let today = datetime::local_us(Utc::now().timestamp_micros(), call.zone())?
                .div_euclid(DAY_US)
                * DAY_US;
            let todays = (0..call.rows)
                .map(|_| {
                    Some(Local {
                        us: today,
                        offset: 0,
                    })
                })
                .collect();
            (todays, first)
        }
    };
    let between = |(later, earlier): (&Option<Local>, &Option<Local>)| {
        let moment =
            |local: &Local| Some(DateTime::<Utc>::from_timestamp_micros(local.us)?.naive_utc());
        let (later, earlier) = (moment(later.as_ref()?)?, moment(earlier.as_ref()?)?);
        Some(match later >= earlier {
            true => symbolic(&earlier, &later),
            false => {
                let reversed = symbolic(&later, &earlier);
                IntervalMonthDayNano::new(-reversed.months, -reversed.days, -reversed.nanoseconds)
            }
        })
    };
    Ok(Arc::new(
        later
            .iter()
            .zip(&earlier)
            .map(between)
            .collect::<IntervalMonthDayNanoArray>(),
    ))
}

/// The fields' differences, borrowing from the next where one is negative; a month has the earlier one's days.
fn symbolic(earlier: &NaiveDateTime, later: &NaiveDateTime) -> IntervalMonthDayNano {
    let mut months = (later.year() - earlier.year()) * 12 + later.month().cast_signed()
        - earlier.month().cast_signed();
    let mut days = later.day().cast_signed() - earlier.day().cast_signed();
    let time = |moment: &NaiveDateTime| moment.and_utc().timestamp_micros().rem_euclid(DAY_US);
    let mut us = time(later) - time(earlier);
    if us < 0 {
        us += DAY_US;
        days -= 1;
    }
    if days < 0 {
        months -= 1;
        days += days_of_month(earlier.year(), earlier.month());
    }
    IntervalMonthDayNano::new(months, days, us * 1000)
}

fn days_of_month(year: i32, month: u32) -> i32 {
    let next = match month {
        12 => NaiveDate::from_ymd_opt(year + 1, 1, 1),
        month => NaiveDate::from_ymd_opt(year, month + 1, 1),
    };
    next.and_then(|next| next.pred_opt())
        .map_or(30, |last| last.day().cast_signed())
}

fn justify(call: &Call, hours: bool, days: bool) -> Result<ArrayRef> {
    let intervals = intervals(call, 0)?;
    let justified = |interval: IntervalMonthDayNano| {
        const DAY_NS: i64 = DAY_US * 1000;
        let (mut months, mut day, mut ns) = (interval.months, interval.days, interval.nanoseconds);
        // A time against the sign of the months takes a month apart first.
        if hours && days && months > 0 && ns < 0 && day <= 0 {
            months -= 1;
            day += 30;
        } else if hours && days && months < 0 && ns > 0 && day >= 0 {
            months += 1;
            day -= 30;
        }
        if hours {
            day += i32::try_from(ns / DAY_NS).unwrap_or(0);
            ns %= DAY_NS;
            if day > 0 && ns < 0 {
                ns += DAY_NS;
                day -= 1;
            } else if day < 0 && ns > 0 {
                ns -= DAY_NS;
                day += 1;
            }
        }
        if days {
            months += day / 30;
            day %= 30;
            if months > 0 && day < 0 {
                day += 30;
                months -= 1;
            } else if months < 0 && day > 0 {
                day -= 30;
                months += 1;
            }
        }
        IntervalMonthDayNano::new(months, day, ns)
    };
    Ok(Arc::new(
        intervals
            .iter()
            .map(|interval| interval.map(justified))
            .collect::<IntervalMonthDayNanoArray>(),
    ))
}

/// Times with so many digits of a second, the last one rounded.
fn time_precision(call: &Call) -> Result<ArrayRef> {
    let digits = call.integers(1)?;
    let digits = digits.iter().flatten().next();
    with_digits(&call.arrays[0], digits.unwrap_or(6))
}

/// Moments or times of day in microseconds, with so many digits of a second.
pub fn with_digits(values: &ArrayRef, digits: i64) -> Result<ArrayRef> {
    let digits = digits.clamp(0, 6);
    let unit = 10_i64.pow(u32::try_from(6 - digits).unwrap_or(0));
    let round = |us: i64| match us {
        i64::MAX | i64::MIN => us,
        us => (us + unit / 2).div_euclid(unit) * unit,
    };
    let numbers = cast(values, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
    let rounded: datafusion::arrow::array::Int64Array =
        numbers.iter().map(|us| us.map(round)).collect();
    Ok(cast(&rounded, values.data_type())?)
}

fn is_finite(call: &Call) -> Result<ArrayRef> {
    let values = &call.arrays[0];
    let answers: BooleanArray = match values.data_type() {
        DataType::Date32 => values
            .as_primitive::<Date32Type>()
            .iter()
            .map(|day| day.map(|day| day != i32::MAX && day != i32::MIN))
            .collect(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let moments = values.as_primitive::<TimestampMicrosecondType>();
            moments
                .iter()
                .map(|us| us.map(|us| us != i64::MAX && us != i64::MIN))
                .collect()
        }
        _ => (0..call.rows)
            .map(|row| values.is_valid(row).then_some(true))
            .collect(),
    };
    Ok(Arc::new(answers))
}

fn make_date(call: &Call) -> Result<ArrayRef> {
    let parts = (0..3)
        .map(|at| call.integers(at))
        .collect::<Result<Vec<_>>>()?;
    let make = |row: usize| -> Result<Option<i32>> {
        if parts.iter().any(|column| column.is_null(row)) {
            return Ok(None);
        }
        let date = calendar_day([0_usize, 1, 2].map(|at| parts[at].value(row)))?;
        Ok(Some(datetime::days(date)))
    };
    Ok(Arc::new(
        (0..call.rows).map(make).collect::<Result<Date32Array>>()?,
    ))
}

/// The day of a year, month and day; years below 0 are before Christ.
fn calendar_day([year, month, day]: [i64; 3]) -> Result<NaiveDate> {
    let date = || {
        let counted = i32::try_from(year).ok()?;
        let year = match counted {
            1.. => counted,
            0 => return None,
            _ => counted.checked_add(1)?,
        };
        NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()?, u32::try_from(day).ok()?)
    };
    date().map_or_else(
        || {
            fault(
                Fault::DatetimeOverflow,
                format!("date field value out of range: {year}-{month:02}-{day:02}"),
            )
        },
        Ok,
    )
}

/// A time of day in microseconds; the last of a day is 24:00.
fn clock_us(hour: i64, minute: i64, second: f64) -> Result<i64> {
    let is_in_range =
        (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    #[allow(clippy::cast_possible_truncation, reason = "at most a minute")]
    let second_us = (second * 1e6).round() as i64;
    let clock_us = match is_in_range {
        true => (hour * 60 + minute) * 60_000_000 + second_us,
        false => i64::MAX,
    };
    match clock_us <= DAY_US {
        true => Ok(clock_us),
        false => fault(
            Fault::DatetimeOverflow,
            format!("time field value out of range: {hour}:{minute:02}:{second}"),
        ),
    }
}

fn make_moment(call: &Call, zoned: bool) -> Result<ArrayRef> {
    let whole = (0..5)
        .map(|at| call.integers(at))
        .collect::<Result<Vec<_>>>()?;
    let seconds = cast(&call.arrays[5], &DataType::Float64)?;
    let seconds = seconds.as_primitive::<Float64Type>();
    let names = call.texts(6)?;
    let make = |row: usize| -> Result<Option<i64>> {
        if whole.iter().any(|column| column.is_null(row)) || seconds.is_null(row) {
            return Ok(None);
        }
        let date = calendar_day([0_usize, 1, 2].map(|at| whole[at].value(row)))?;
        let clock_us = clock_us(whole[3].value(row), whole[4].value(row), seconds.value(row))?;
        let local = i64::from(datetime::days(date)) * DAY_US + clock_us;
        match zoned {
            true if names.is_valid(row) => match zones::of_function(names.value(row)) {
                Some(zone) => datetime::utc_us(local, &zone).map(Some),
                None => zones::unknown(names.value(row)),
            },
            true => datetime::utc_us(local, call.zone()).map(Some),
            false => Ok(Some(local)),
        }
    };
    let moments = (0..call.rows)
        .map(make)
        .collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(match zoned {
        true => Arc::new(moments.with_timezone("UTC")),
        false => Arc::new(moments),
    })
}

/// Years, months, weeks, days, hours, minutes, seconds, in this order.
fn make_time(call: &Call) -> Result<ArrayRef> {
    let (hours, minutes) = (call.integers(0)?, call.integers(1)?);
    let seconds = cast(&call.arrays[2], &DataType::Float64)?;
    let seconds = seconds.as_primitive::<Float64Type>();
    let make = |row: usize| -> Result<Option<i64>> {
        if hours.is_null(row) || minutes.is_null(row) || seconds.is_null(row) {
            return Ok(None);
        }
        clock_us(hours.value(row), minutes.value(row), seconds.value(row)).map(Some)
    };
    Ok(Arc::new(
        (0..call.rows)
            .map(make)
            .collect::<Result<datafusion::arrow::array::Time64MicrosecondArray>>()?,
    ))
}

fn make_interval(call: &Call) -> Result<ArrayRef> {
    let parts = (0..7)
        .map(|at| match call.arrays.get(at) {
            Some(values) => Ok(cast(values, &DataType::Float64)?
                .as_primitive::<Float64Type>()
                .clone()),
            None => Ok(Float64Array::from(vec![0.0; call.rows])),
        })
        .collect::<Result<Vec<_>>>()?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "parts that are too large saturate"
    )]
    let make = |row: usize| {
        let part = |at: usize| parts[at].value(row);
        let seconds = part(4) * 3600.0 + part(5) * 60.0 + part(6);
        let months = (part(0) * 12.0 + part(1)) as i32;
        let days = (part(2) * 7.0 + part(3)) as i32;
        Some(IntervalMonthDayNano::new(
            months,
            days,
            (seconds * 1e6).round() as i64 * 1000,
        ))
    };
    Ok(Arc::new(
        (0..call.rows)
            .map(make)
            .collect::<IntervalMonthDayNanoArray>(),
    ))
}
