//! ClickHouse's text of anything: `toString(user_id)`.
//!
//! Numbers are as short as they can be (`1`, `0.1`, `1e21`), an instant is what the clock shows in `zone`, or in the session's
//! zone. NULL gives NULL. A difference: the zeros at the end of a time's fraction are left out, as Postgres does.

use std::sync::Arc;

use chrono::NaiveDateTime;
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{
    DataType, Float32Type, Float64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, exec_datafusion_err};

use super::Settings;
use super::number::read;

/// Texts as ClickHouse writes them; a time without the zeros at the end of its fraction, as Postgres does.
pub(super) fn texts(values: &ArrayRef, settings: &Settings) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Timestamp(..) => Arc::new(times(values, settings)?),
        DataType::Float64 => {
            let values = values.as_primitive::<Float64Type>().iter();
            Arc::new(
                values
                    .map(|x| x.map(|x| float(x, x.abs())))
                    .collect::<StringArray>(),
            )
        }
        DataType::Float32 => {
            let values = values.as_primitive::<Float32Type>().iter();
            let texts = values.map(|x| x.map(|x| float(x, f64::from(x.abs()))));
            Arc::new(texts.collect::<StringArray>())
        }
        _ => read(values, &DataType::Utf8)?,
    })
}

/// The shortest text that reads as the same number; with an exponent where it would be long.
fn float(x: impl std::fmt::Display + std::fmt::LowerExp, size: f64) -> String {
    /// From here on ClickHouse writes an exponent, and below the other.
    const LARGE: f64 = 1e21;
    const SMALL: f64 = 1e-6;
    if size.is_nan() {
        "nan".to_owned()
    } else if size.is_finite() && (size >= LARGE || (size > 0.0 && size < SMALL)) {
        format!("{x:e}")
    } else {
        x.to_string()
    }
}

/// An instant as the clock in the zone shows it; a time without a zone as it is.
fn times(values: &ArrayRef, settings: &Settings) -> Result<StringArray> {
    let zone = match values.data_type() {
        DataType::Timestamp(_, Some(_)) => Some(settings.zone.parse::<Tz>()?),
        _ => None,
    };
    let times = read(values, &microseconds(values))?;
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let clock = |row| match zone {
        Some(zone) => Some(times.value_as_datetime_with_tz(row, zone)?.naive_local()),
        None => times.value_as_datetime(row),
    };
    (0..times.len())
        .map(|row| match times.is_valid(row) {
            false => Ok(None),
            true => clock(row)
                .map(|time| Some(time_text(time)))
                .ok_or_else(|| exec_datafusion_err!("a time outside of the calendar")),
        })
        .collect()
}

fn microseconds(values: &ArrayRef) -> DataType {
    match values.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        other => other.clone(),
    }
}

fn time_text(time: NaiveDateTime) -> String {
    let text = time.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
