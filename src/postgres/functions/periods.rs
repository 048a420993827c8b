//! `(start, end) OVERLAPS (start, end)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimeUnit};
use datafusion::logical_expr::ScalarUDF;

use crate::postgres::datetime;
use crate::postgres::function::{Call, Result, Returns, function};

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    vec![function("pg_overlaps", Returns::Type("bool"), overlaps)]
}

/// Whether two periods share a moment. A period is from its start, which it has, to its end, which it hasn't; one whose
/// ends are the same is that moment.
fn overlaps(call: &Call) -> Result<ArrayRef> {
    let first = (moments(call, 0)?, ends(call, 0)?);
    let second = (moments(call, 2)?, ends(call, 2)?);
    let answer = |row: usize| {
        let period = |(start, end): &(Int64Array, Int64Array)| {
            (start.is_valid(row) && end.is_valid(row)).then(|| {
                let (start, end) = (start.value(row), end.value(row));
                (start.min(end), start.max(end))
            })
        };
        let ((a, b), (c, d)) = (period(&first)?, period(&second)?);
        Some(match a.cmp(&c) {
            std::cmp::Ordering::Less => c < b,
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => a < d,
        })
    };
    Ok(Arc::new(
        (0..call.rows).map(answer).collect::<BooleanArray>(),
    ))
}

/// Dates, times and timestamps in microseconds.
fn moments(call: &Call, at: usize) -> Result<Int64Array> {
    let values = &call.arrays[at];
    let values = match values.data_type() {
        DataType::Time64(_) => cast(values, &DataType::Time64(TimeUnit::Microsecond))?,
        DataType::Timestamp(_, zone) => cast(
            values,
            &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        )?,
        _ => cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?,
    };
    Ok(cast(&values, &DataType::Int64)?
        .as_primitive::<datafusion::arrow::datatypes::Int64Type>()
        .clone())
}

/// The ends of the periods that start with the values at `at`: moments, or lengths.
fn ends(call: &Call, at: usize) -> Result<Int64Array> {
    let DataType::Interval(_) = call.arrays[at + 1].data_type() else {
        return moments(call, at + 1);
    };
    let starts = moments(call, at)?;
    let lengths = call.arrays[at + 1].as_primitive::<IntervalMonthDayNanoType>();
    let end = |row: usize| {
        (starts.is_valid(row) && lengths.is_valid(row))
            .then(|| datetime::add(starts.value(row), &lengths.value(row)))
            .flatten()
    };
    Ok((0..call.rows).map(end).collect())
}
