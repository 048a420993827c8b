//! Times of any type as numbers that keep their order and their precision.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, UInt64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, UInt64Type};
use datafusion::common::Result;

/// What turns an unsigned number into a signed one of the same rank, and back.
const SIGN: u64 = 1 << 63;

/// The type to coerce a time to, or nothing if it can't be one: timestamps of any unit and zone, dates and
/// integers stay as they are.
pub(crate) fn time_type(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Timestamp(..) | DataType::Date32 => Some(given.clone()),
        DataType::Date64 => Some(DataType::Timestamp(TimeUnit::Millisecond, None)),
        DataType::Dictionary(_, values) => time_type(values),
        DataType::Null => Some(DataType::Int64),
        given => given.is_integer().then(|| given.clone()),
    }
}

/// How many units of the type make a second; nothing for dates, whose unit is a day, and for integers.
pub(crate) fn units_per_second(time_type: &DataType) -> Option<i64> {
    match time_type {
        DataType::Timestamp(unit, _) => Some(match unit {
            TimeUnit::Second => 1,
            TimeUnit::Millisecond => 1_000,
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => 1_000_000_000,
        }),
        _ => None,
    }
}

/// The times as numbers, NULL where they are. A timestamp's or a date's is the one that it is stored as.
///
/// # Errors
/// XX000 for a type that isn't a [`time_type`].
pub(crate) fn numbers(times: &ArrayRef) -> Result<Int64Array> {
    if let Some(times) = times.as_primitive_opt::<UInt64Type>() {
        return Ok(times.unary(|time| (time ^ SIGN) as i64));
    }
    let numbers = cast(times, &DataType::Int64)?;
    Ok(numbers.as_primitive::<Int64Type>().clone())
}

/// The times that some numbers stand for, for those of [`numbers`] of this type.
///
/// # Errors
/// XX000 for a type that isn't a [`time_type`].
pub(crate) fn times(numbers: Vec<i64>, time_type: &DataType) -> Result<ArrayRef> {
    if *time_type == DataType::UInt64 {
        let values = numbers.into_iter().map(|number| number as u64 ^ SIGN);
        return Ok(Arc::new(UInt64Array::from_iter_values(values)));
    }
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    Ok(match time_type {
        DataType::Date32 => cast(&cast(&numbers, &DataType::Int32)?, time_type)?,
        _ => cast(&numbers, time_type)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn check(values: &ArrayRef) {
        let taken = numbers(values).unwrap().values().to_vec();
        assert!(taken.is_sorted(), "{:?}", values.data_type());
        let back = times(taken, values.data_type()).unwrap();
        assert_eq!(&back, values);
    }

    #[test]
    fn every_type_keeps_order_and_precision() {
        let signed: ArrayRef = Arc::new(Int64Array::from(vec![-5, 0, 7, 1 << 40]));
        check(&signed);
        for unit in [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            let zoned = DataType::Timestamp(unit, Some("Asia/Shanghai".into()));
            check(&cast(&signed, &zoned).unwrap());
        }
        check(&(Arc::new(UInt64Array::from(vec![0, 5, 1 << 63, u64::MAX])) as ArrayRef));
        let days: ArrayRef = Arc::new(Int64Array::from(vec![-5, 0, 7, 200]));
        for small in [DataType::Int16, DataType::Int32] {
            check(&cast(&days, &small).unwrap());
        }
        check(&cast(&cast(&days, &DataType::Int32).unwrap(), &DataType::Date32).unwrap());
        let bytes: ArrayRef = Arc::new(Int64Array::from(vec![0, 7, 200]));
        check(&cast(&bytes, &DataType::UInt8).unwrap());
    }

    #[test]
    fn other_types_are_no_times() {
        for given in [DataType::Utf8, DataType::Float64, DataType::Boolean] {
            assert_eq!(time_type(&given), None, "{given}");
        }
    }
}
