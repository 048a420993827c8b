//! `+`, `-`, `*`, `/` and `%` as Postgres computes them.
//!
//! Integers that overflow are an error; a date less a date is a number of days, a timestamp less a timestamp an
//! interval; a numeric divided by a numeric has at least 16 digits. Where DataFusion's operator means the same, the
//! function is simplified to it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Datum, Decimal128Array, Int32Array,
    IntervalMonthDayNanoArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary_expr,
};

use super::json_changes::without;
use crate::error::Fault;
use crate::postgres::function::{Result, fault};
use crate::postgres::names_of_objects::NoNames;
use crate::postgres::style::Style;
use crate::postgres::{datetime, text, types};

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);
const DAY_US: i64 = 86_400_000_000;

/// One of the operators.
#[derive(Debug, Clone)]
struct Arithmetic {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    [
        ("pg_plus", Operator::Plus),
        ("pg_minus", Operator::Minus),
        ("pg_times", Operator::Multiply),
        ("pg_over", Operator::Divide),
        ("pg_mod", Operator::Modulo),
    ]
    .map(|(name, op)| {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::from(Arithmetic {
            name,
            op,
            signature,
        })
    })
    .into()
}

// There is one operator of a name.
impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Arithmetic {}

impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments {
            [left, right] => Ok(format!("{left} {} {right}", self.op)),
            _ => Ok(self.name.to_owned()),
        }
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments {
            [left, right] => Ok(format!(
                "{} {} {}",
                left.schema_name(),
                self.op,
                right.schema_name()
            )),
            _ => Ok(self.name.to_owned()),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!(
            "the type of {} depends on its fields",
            self.name
        )))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [left, right] = arguments.arg_fields else {
            return fault(Fault::Semantic, "an operator needs two values");
        };
        Ok(Arc::new(self.result(left, right)?.with_name(self.name)))
    }

    fn simplify(
        &self,
        mut arguments: Vec<Expr>,
        info: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        let schema = info.schema().as_ref();
        let [left, right] = arguments.as_slice() else {
            return Ok(ExprSimplifyResult::Original(arguments));
        };
        let (left, right) = (left.to_field(schema)?.1, right.to_field(schema)?.1);
        if self.takes_from_json(&left) {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let result = self.result(&left, &right)?;
        let zone = types::session_zone(info.config_options());
        // Days and months are those of the session's zone, which DataFusion's operator doesn't look at.
        if matches!(result.data_type(), DataType::Timestamp(_, Some(_))) && zone != types::UTC {
            if let [Expr::Literal(left, _), Expr::Literal(right, _)] = arguments.as_slice() {
                let (left, right) = (left.to_array()?, right.to_array()?);
                let moved = self.compute(&left, &right, result.data_type(), zone)?;
                let moved = ScalarValue::try_from_array(&moved, 0)?;
                return Ok(ExprSimplifyResult::Simplified(Expr::Literal(moved, None)));
            }
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        if arguments.iter().any(is_endless)
            || !self.is_datafusions(left.data_type(), right.data_type(), result.data_type())
        {
            return Ok(ExprSimplifyResult::Original(arguments));
        }
        let (mut right_value, mut left_value) = (
            arguments.pop().unwrap_or_default(),
            arguments.pop().unwrap_or_default(),
        );
        // Types are settled by now: nobody else makes both sides the same.
        if result.data_type().is_floating() {
            let same = |value: Expr, kind: &DataType| match kind == result.data_type() {
                true => value,
                false => Expr::Cast(Cast::new(Box::new(value), result.data_type().clone())),
            };
            left_value = same(left_value, left.data_type());
            right_value = same(right_value, right.data_type());
        }
        let (left, right) = (left_value, right_value);
        Ok(ExprSimplifyResult::Simplified(binary_expr(
            left, self.op, right,
        )))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = arguments.args.as_slice() else {
            return fault(Fault::Semantic, "an operator needs two values");
        };
        if self.takes_from_json(&arguments.arg_fields[0]) {
            return without().invoke_with_args(arguments);
        }
        let constant = matches!(
            (left, right),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let rows = if constant { 1 } else { arguments.number_rows };
        let answer = self.compute(
            &left.to_array(rows)?,
            &right.to_array(rows)?,
            arguments.return_field.data_type(),
            types::session_zone(&arguments.config_options),
        )?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &answer, 0,
            )?)),
            false => Ok(ColumnarValue::Array(answer)),
        }
    }
}

/// Whether an expression is infinity as a moment, which to DataFusion is out of range.
fn is_endless(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::Literal(
            ScalarValue::TimestampMicrosecond(Some(i64::MIN | i64::MAX), _),
            _
        )
    )
}

/// Values as numbers; a text that is none is an error.
fn number(values: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    let numbers = cast(values, kind)?;
    if class(values.data_type()) == Class::Text && numbers.null_count() > values.null_count() {
        let field = Field::new("", values.data_type().clone(), true);
        let texts = text::texts(values, &field, &NoNames, Style::default())?;
        let bad = (0..texts.len()).find(|row| texts.is_valid(*row) && numbers.is_null(*row));
        let name = types::sql_name(&types::natural(kind).unwrap_or_default(), -1);
        let text = bad.map_or("", |row| texts.value(row));
        return fault(
            Fault::InvalidText,
            format!("invalid input syntax for type {name}: \"{text}\""),
        );
    }
    Ok(numbers)
}

/// What a type is to arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Integer,
    Float,
    Decimal,
    Date,
    Time,
    Timestamp,
    Interval,
    Text,
    Other,
}

fn class(kind: &DataType) -> Class {
    match kind {
        kind if kind.is_integer() => Class::Integer,
        kind if kind.is_floating() => Class::Float,
        DataType::Decimal128(..) => Class::Decimal,
        DataType::Date32 => Class::Date,
        DataType::Time64(_) => Class::Time,
        DataType::Timestamp(..) => Class::Timestamp,
        DataType::Interval(_) | DataType::Duration(_) => Class::Interval,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => Class::Text,
        _ => Class::Other,
    }
}

impl Arithmetic {
    /// `document - key`
    fn takes_from_json(&self, left: &Field) -> bool {
        self.op == Operator::Minus && types::type_of(left) == "jsonb"
    }

    fn result(&self, left_field: &Field, right_field: &Field) -> Result<Field> {
        use Class as C;
        if self.takes_from_json(left_field) {
            return Ok(types::field("", "jsonb"));
        }
        let (left, right) = (left_field.data_type(), right_field.data_type());
        let plain = |kind: DataType| Field::new("", kind, true);
        let is_sum = matches!(self.op, Operator::Plus | Operator::Minus);
        Ok(match (class(left), class(right)) {
            (C::Integer, C::Integer) => plain(wider(left, right)),
            (C::Float, C::Float | C::Integer | C::Decimal)
            | (C::Integer | C::Decimal, C::Float) => match (left, right) {
                (DataType::Float32, DataType::Float32) => plain(DataType::Float32),
                _ => plain(DataType::Float64),
            },
            (C::Decimal | C::Integer, C::Decimal | C::Integer) => {
                let scale = self.scale(scale_of(left), scale_of(right));
                let field = plain(DataType::Decimal128(38, scale));
                let kind = |field: &Field| field.metadata().get(types::TYPE_KEY).cloned();
                match (self.op, kind(left_field).or_else(|| kind(right_field))) {
                    (Operator::Divide, _) => types::marked_always(field, types::QUOTIENT),
                    (_, Some(kind)) if kind == "numeric" || kind == types::QUOTIENT => {
                        types::marked_always(field, &kind)
                    }
                    _ => field,
                }
            }
            (C::Date, C::Date) if self.op == Operator::Minus => plain(DataType::Int32),
            (C::Date, C::Integer) | (C::Integer, C::Date) if is_sum => plain(DataType::Date32),
            (C::Date, C::Interval)
            | (C::Interval, C::Date)
            | (C::Date, C::Time)
            | (C::Time, C::Date)
                if is_sum =>
            {
                plain(DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            (C::Timestamp, C::Interval | C::Time) if is_sum => plain(left.clone()),
            (C::Interval | C::Time, C::Timestamp) if self.op == Operator::Plus => {
                plain(right.clone())
            }
            (C::Timestamp | C::Date, C::Timestamp | C::Date) if self.op == Operator::Minus => {
                plain(INTERVAL)
            }
            (C::Time, C::Time) if self.op == Operator::Minus => plain(INTERVAL),
            (C::Time, C::Interval) if is_sum => plain(DataType::Time64(TimeUnit::Microsecond)),
            (C::Interval, C::Interval) if is_sum => plain(INTERVAL),
            (C::Interval, C::Integer | C::Float | C::Decimal) => plain(INTERVAL),
            (C::Integer | C::Float | C::Decimal, C::Interval) if self.op == Operator::Multiply => {
                plain(INTERVAL)
            }
            // A text beside another type is read as what fits there: what is taken from a moment is one.
            (C::Text, C::Date | C::Timestamp) if self.op == Operator::Minus => {
                return self.result(right_field, right_field);
            }
            (C::Date | C::Timestamp, C::Text)
                if self.op == Operator::Minus && *right != DataType::Null =>
            {
                return self.result(left_field, left_field);
            }
            (C::Date | C::Timestamp, C::Text) if self.op == Operator::Plus => {
                return self.result(left_field, &plain(INTERVAL));
            }
            (C::Text, C::Date | C::Timestamp) if self.op == Operator::Plus => {
                return self.result(right_field, &plain(INTERVAL));
            }
            (C::Interval, C::Text) if matches!(self.op, Operator::Multiply | Operator::Divide) => {
                plain(INTERVAL)
            }
            (C::Text, C::Interval) if self.op == Operator::Multiply => plain(INTERVAL),
            (C::Text, C::Integer | C::Decimal | C::Interval) => {
                return self.result(right_field, right_field);
            }
            (C::Integer | C::Decimal | C::Interval, C::Text) => {
                return self.result(left_field, left_field);
            }
            _ => {
                let kind = BinaryTypeCoercer::new(left, &self.op, right).get_result_type()?;
                plain(kind)
            }
        })
    }

    /// The digits behind the point of a result.
    fn scale(&self, left: i8, right: i8) -> i8 {
        match self.op {
            Operator::Multiply => left.saturating_add(right).min(28),
            Operator::Divide => 20.max(left).max(right),
            _ => left.max(right),
        }
    }

    /// Whether DataFusion's operator gives the same value of the same type.
    fn is_datafusions(&self, left: &DataType, right: &DataType, result: &DataType) -> bool {
        use Class as C;
        match (class(left), class(right)) {
            (C::Float, C::Float | C::Integer | C::Decimal)
            | (C::Integer | C::Decimal, C::Float) => self.op != Operator::Divide,
            (C::Timestamp, C::Interval) => left == result,
            (C::Interval, C::Timestamp) => right == result,
            (C::Float, C::Interval) => false,
            (
                C::Integer | C::Decimal | C::Date | C::Time | C::Timestamp | C::Interval | C::Text,
                _,
            ) => false,
            _ => true,
        }
    }

    fn compute(
        &self,
        left: &ArrayRef,
        right: &ArrayRef,
        result: &DataType,
        zone: &str,
    ) -> Result<ArrayRef> {
        use Class as C;
        match (class(left.data_type()), class(right.data_type())) {
            (C::Interval, C::Integer | C::Float | C::Decimal) => return self.scaled(left, right),
            (C::Integer | C::Float | C::Decimal, C::Interval) => return self.scaled(right, left),
            (C::Interval, C::Text) if matches!(self.op, Operator::Multiply | Operator::Divide) => {
                return self.scaled(left, &number(right, &DataType::Float64)?);
            }
            (C::Text, C::Interval) if self.op == Operator::Multiply => {
                return self.scaled(right, &number(left, &DataType::Float64)?);
            }
            _ => {}
        }
        match result {
            kind if kind.is_integer() && class(left.data_type()) == C::Date => {
                days_between(left, right)
            }
            kind if kind.is_integer() || kind.is_floating() => {
                let left = number(left, kind)?;
                let right = number(right, kind)?;
                if self.op == Operator::Divide && kind.is_floating() && has_zero(&right) {
                    return fault(Fault::DivisionByZero, "division by zero");
                }
                self.kernel(&left, &right, kind)
            }
            DataType::Decimal128(_, scale) => self.decimals(left, right, *scale),
            DataType::Date32 => self.shifted_days(left, right),
            DataType::Timestamp(..) => self.shifted(left, right, result, zone),
            DataType::Time64(_) => self.shifted_times(left, right),
            DataType::Interval(_) => match (class(left.data_type()), class(right.data_type())) {
                (C::Interval, C::Interval) => self.intervals(left, right),
                _ => between(left, right, zone),
            },
            other => {
                let (left, right) = (cast(left, other)?, cast(right, other)?);
                self.kernel(&left, &right, other)
            }
        }
    }

    fn kernel(&self, left: &ArrayRef, right: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
        let kernel = match self.op {
            Operator::Plus => numeric::add,
            Operator::Minus => numeric::sub,
            Operator::Multiply => numeric::mul,
            Operator::Divide => numeric::div,
            _ => numeric::rem,
        };
        let (left, right): (&dyn Datum, &dyn Datum) = (left, right);
        match kernel(left, right) {
            Ok(answer) => Ok(answer),
            Err(ArrowError::DivideByZero) => fault(Fault::DivisionByZero, "division by zero"),
            Err(ArrowError::ArithmeticOverflow(_)) => {
                let name = types::sql_name(&types::natural(kind).unwrap_or_default(), -1);
                fault(Fault::OutOfRange, format!("{name} out of range"))
            }
            Err(other) => Err(other.into()),
        }
    }

    fn decimals(&self, left: &ArrayRef, right: &ArrayRef, scale: i8) -> Result<ArrayRef> {
        let out = || fault(Fault::OutOfRange, "value overflows numeric format");
        let (left, left_scale) = decimal(left)?;
        let (right, right_scale) = decimal(right)?;
        let wanted = i32::from(scale);
        let scaled = |number: i128, from: i8| scaled(number, wanted - i32::from(from));
        let compute = |(a, b): (Option<i128>, Option<i128>)| -> Result<Option<i128>> {
            let (Some(a), Some(b)) = (a, b) else {
                return Ok(None);
            };
            if b == 0 && matches!(self.op, Operator::Divide | Operator::Modulo) {
                return fault(Fault::DivisionByZero, "division by zero");
            }
            let answer = match self.op {
                Operator::Plus => scaled(a, left_scale)
                    .zip(scaled(b, right_scale))
                    .and_then(|(a, b)| a.checked_add(b)),
                Operator::Minus => scaled(a, left_scale)
                    .zip(scaled(b, right_scale))
                    .and_then(|(a, b)| a.checked_sub(b)),
                Operator::Modulo => scaled(a, left_scale)
                    .zip(scaled(b, right_scale))
                    .map(|(a, b)| a % b),
                Operator::Multiply => a.checked_mul(b).and_then(|product| {
                    rescaled(
                        product,
                        wanted - i32::from(left_scale) - i32::from(right_scale),
                    )
                }),
                _ => quotient(
                    a,
                    b,
                    wanted + i32::from(right_scale) - i32::from(left_scale),
                ),
            };
            answer.map_or_else(out, |answer| Ok(Some(answer)))
        };
        let answers: Result<Decimal128Array> = left.iter().zip(right.iter()).map(compute).collect();
        Ok(Arc::new(answers?.with_precision_and_scale(38, scale)?))
    }

    fn shifted_days(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        let (dates, numbers) = match left.data_type() {
            DataType::Date32 => (left, right),
            _ => (right, left),
        };
        let numbers = cast(numbers, &DataType::Int64)?;
        let sign = if self.op == Operator::Minus { -1 } else { 1 };
        let numbers = numbers.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
        let shift = |(day, number): (Option<i32>, Option<i64>)| -> Result<Option<i32>> {
            let (Some(day), Some(number)) = (day, number) else {
                return Ok(None);
            };
            if matches!(day, i32::MIN | i32::MAX) {
                return Ok(Some(day));
            }
            match i32::try_from(i64::from(day) + sign * number) {
                Ok(day) => Ok(Some(day)),
                Err(_) => fault(Fault::DatetimeOverflow, "date out of range"),
            }
        };
        let days = dates
            .as_primitive::<Date32Type>()
            .iter()
            .zip(numbers.iter())
            .map(shift);
        Ok(Arc::new(days.collect::<Result<Date32Array>>()?))
    }

    /// Moments some intervals later or earlier; days and months of instants are those of a zone.
    fn shifted(
        &self,
        left: &ArrayRef,
        right: &ArrayRef,
        result: &DataType,
        session_zone: &str,
    ) -> Result<ArrayRef> {
        let (moments, shifts) = match class(left.data_type()) {
            Class::Interval | Class::Time => (right, left),
            _ => (left, right),
        };
        let DataType::Timestamp(_, zone) = result else {
            return fault(Fault::Internal, "a shifted timestamp is none");
        };
        let moments = cast(
            moments,
            &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        )?;
        let shifts = intervals_of(shifts)?;
        let negative = self.op == Operator::Minus;
        let days_of = zone.as_ref().map(|_| session_zone);
        let days_of = days_of.filter(|zone| *zone != types::UTC);
        let shift =
            |(moment, by): (Option<i64>, Option<IntervalMonthDayNano>)| -> Result<Option<i64>> {
                let (Some(moment), Some(by)) = (moment, by) else {
                    return Ok(None);
                };
                if matches!(moment, i64::MIN | i64::MAX) {
                    return Ok(Some(moment));
                }
                let by = match negative {
                    true => minus(&IntervalMonthDayNano::ZERO, &by)?,
                    false => by,
                };
                match datetime::add_in_zone(moment, &by, days_of)? {
                    Some(moment) => Ok(Some(moment)),
                    None => fault(Fault::DatetimeOverflow, "timestamp out of range"),
                }
            };
        let moments = moments
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .zip(shifts.iter())
            .map(shift);
        let moments = moments
            .collect::<Result<TimestampMicrosecondArray>>()?
            .with_timezone_opt(zone.clone());
        Ok(cast(&(Arc::new(moments) as ArrayRef), result)?)
    }

    fn shifted_times(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        let times = cast(left, &DataType::Time64(TimeUnit::Microsecond))?;
        let shifts = intervals_of(right)?;
        let sign = if self.op == Operator::Minus { -1 } else { 1 };
        let shift = |(time, by): (Option<i64>, Option<IntervalMonthDayNano>)| {
            Some((time? + sign * by?.nanoseconds / 1000).rem_euclid(DAY_US))
        };
        let times = times
            .as_primitive::<Time64MicrosecondType>()
            .iter()
            .zip(shifts.iter())
            .map(shift);
        Ok(Arc::new(times.collect::<Time64MicrosecondArray>()))
    }

    fn intervals(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        let negative = self.op == Operator::Minus;
        let (left, right) = (intervals_of(left)?, intervals_of(right)?);
        let sums = left.iter().zip(right.iter()).map(|values| match values {
            (Some(a), Some(b)) if negative => minus(&a, &b).map(Some),
            (Some(a), Some(b)) => plus(&a, &b).map(Some),
            _ => Ok(None),
        });
        Ok(Arc::new(
            sums.collect::<Result<IntervalMonthDayNanoArray>>()?,
        ))
    }

    /// An interval times or through a number: parts of a month become days, parts of a day hours.
    fn scaled(&self, intervals: &ArrayRef, numbers: &ArrayRef) -> Result<ArrayRef> {
        let intervals = intervals_of(intervals)?;
        let numbers = cast(numbers, &DataType::Float64)?;
        let divide = self.op == Operator::Divide;
        let scale = |(interval, number): (Option<IntervalMonthDayNano>, Option<f64>)| -> Result<Option<IntervalMonthDayNano>> {
            let (Some(interval), Some(number)) = (interval, number) else { return Ok(None) };
            if divide && number == 0.0 {
                return fault(Fault::DivisionByZero, "division by zero");
            }
            let factor = if divide { 1.0 / number } else { number };
            Ok(Some(times(&interval, factor)))
        };
        let scaled = intervals
            .iter()
            .zip(numbers.as_primitive::<Float64Type>().iter())
            .map(scale);
        Ok(Arc::new(
            scaled.collect::<Result<IntervalMonthDayNanoArray>>()?,
        ))
    }
}

/// So many times an interval.
#[allow(
    clippy::cast_possible_truncation,
    reason = "parts of an interval that are too large saturate"
)]
pub fn times(interval: &IntervalMonthDayNano, factor: f64) -> IntervalMonthDayNano {
    let months = f64::from(interval.months) * factor;
    let days = f64::from(interval.days) * factor + months.fract() * 30.0;
    // Days that are whole but for the last digits of a double are whole.
    let days = if (days - days.round()).abs() < 1e-9 {
        days.round()
    } else {
        days
    };
    let nanoseconds = interval.nanoseconds as f64 * factor + days.fract() * 86_400e9;
    let microseconds = (nanoseconds / 1000.0).round() as i64;
    IntervalMonthDayNano::new(
        months.trunc() as i32,
        days.trunc() as i32,
        microseconds * 1000,
    )
}

/// Two intervals together.
pub fn plus(a: &IntervalMonthDayNano, b: &IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    in_range(
        a.months.checked_add(b.months),
        a.days.checked_add(b.days),
        a.nanoseconds.checked_add(b.nanoseconds),
    )
}

/// How much longer an interval is.
pub fn minus(a: &IntervalMonthDayNano, b: &IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    in_range(
        a.months.checked_sub(b.months),
        a.days.checked_sub(b.days),
        a.nanoseconds.checked_sub(b.nanoseconds),
    )
}

fn in_range(
    months: Option<i32>,
    days: Option<i32>,
    nanoseconds: Option<i64>,
) -> Result<IntervalMonthDayNano> {
    match (months, days, nanoseconds) {
        (Some(months), Some(days), Some(nanoseconds)) => {
            Ok(IntervalMonthDayNano::new(months, days, nanoseconds))
        }
        _ => fault(Fault::DatetimeOverflow, "interval out of range"),
    }
}

fn intervals_of(values: &ArrayRef) -> Result<IntervalMonthDayNanoArray> {
    match class(values.data_type()) {
        Class::Text => {
            let texts = cast(values, &DataType::Utf8)?;
            let read = datetime::intervals(texts.as_string::<i32>(), Style::default())?;
            Ok(read.as_primitive::<IntervalMonthDayNanoType>().clone())
        }
        Class::Time => {
            let times = cast(values, &DataType::Time64(TimeUnit::Microsecond))?;
            let times = times.as_primitive::<Time64MicrosecondType>();
            Ok(times
                .iter()
                .map(|time| time.map(|us| IntervalMonthDayNano::new(0, 0, us * 1000)))
                .collect())
        }
        _ => Ok(cast(values, &INTERVAL)?
            .as_primitive::<IntervalMonthDayNanoType>()
            .clone()),
    }
}

fn days_between(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let left = left.as_primitive::<Date32Type>();
    let right = cast(right, &DataType::Date32)?;
    let right = right.as_primitive::<Date32Type>();
    let days = left
        .iter()
        .zip(right.iter())
        .map(|(a, b)| Some(a?.wrapping_sub(b?)));
    Ok(Arc::new(days.collect::<Int32Array>()))
}

/// Days and time between two moments; Postgres counts no months here. A local one beside an instant is one of the zone.
fn between(left: &ArrayRef, right: &ArrayRef, zone: &str) -> Result<ArrayRef> {
    if class(left.data_type()) == Class::Time {
        let time = DataType::Time64(TimeUnit::Microsecond);
        let (left, right) = (cast(left, &time)?, cast(right, &time)?);
        let (left, right) = (
            left.as_primitive::<Time64MicrosecondType>(),
            right.as_primitive::<Time64MicrosecondType>(),
        );
        let spans = left
            .iter()
            .zip(right.iter())
            .map(|(a, b)| Some(IntervalMonthDayNano::new(0, 0, (a? - b?) * 1000)));
        return Ok(Arc::new(spans.collect::<IntervalMonthDayNanoArray>()));
    }
    // Before the cast: infinity is no local time of a zone.
    let endless = |values: &ArrayRef, row: usize| {
        let moments = values.as_primitive_opt::<TimestampMicrosecondType>();
        moments.is_some_and(|moments| matches!(moments.value(row), i64::MIN | i64::MAX))
    };
    let both = |row: &usize| left.is_valid(*row) && right.is_valid(*row);
    if (0..left.len())
        .filter(both)
        .any(|row| endless(left, row) || endless(right, row))
    {
        return fault(
            Fault::DatetimeOverflow,
            "cannot subtract infinite timestamps",
        );
    }
    let zone = match (left.data_type(), right.data_type()) {
        (DataType::Timestamp(_, Some(_)), _) | (_, DataType::Timestamp(_, Some(_))) => {
            Some(zone.into())
        }
        _ => None,
    };
    let moment = DataType::Timestamp(TimeUnit::Microsecond, zone);
    let (left, right) = (cast(left, &moment)?, cast(right, &moment)?);
    let (left, right) = (
        left.as_primitive::<TimestampMicrosecondType>(),
        right.as_primitive::<TimestampMicrosecondType>(),
    );
    let span = |(a, b): (Option<i64>, Option<i64>)| {
        let microseconds = a?.checked_sub(b?)?;
        let days = i32::try_from(microseconds / DAY_US).ok()?;
        Some(IntervalMonthDayNano::new(
            0,
            days,
            microseconds % DAY_US * 1000,
        ))
    };
    let spans = left.iter().zip(right.iter()).map(span);
    Ok(Arc::new(spans.collect::<IntervalMonthDayNanoArray>()))
}

fn has_zero(values: &ArrayRef) -> bool {
    match cast(values, &DataType::Float64) {
        Ok(values) => values
            .as_primitive::<Float64Type>()
            .iter()
            .any(|value| value == Some(0.0)),
        Err(_) => false,
    }
}

fn wider(left: &DataType, right: &DataType) -> DataType {
    let width = |kind: &DataType| match kind {
        DataType::UInt8 => 2,
        DataType::UInt16 => 4,
        DataType::UInt32 | DataType::UInt64 => 8,
        kind => kind.primitive_width().unwrap_or(8),
    };
    match width(left).max(width(right)) {
        0..=2 => DataType::Int16,
        3..=4 => DataType::Int32,
        _ => DataType::Int64,
    }
}

fn scale_of(kind: &DataType) -> i8 {
    match kind {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

fn decimal(values: &ArrayRef) -> Result<(Decimal128Array, i8)> {
    let scale = scale_of(values.data_type());
    let values = match values.data_type() {
        DataType::Decimal128(..) => Arc::clone(values),
        _ => cast(values, &DataType::Decimal128(38, 0))?,
    };
    Ok((values.as_primitive::<Decimal128Type>().clone(), scale))
}

/// Times a power of ten.
fn scaled(number: i128, digits: i32) -> Option<i128> {
    number.checked_mul(10_i128.checked_pow(u32::try_from(digits).ok()?)?)
}

/// Times a power of ten, or rounded where it is a negative one.
fn rescaled(number: i128, digits: i32) -> Option<i128> {
    match digits {
        0.. => scaled(number, digits),
        _ => {
            let unit = 10_i128.checked_pow(digits.unsigned_abs())?;
            Some((number + number.signum() * (unit / 2)) / unit)
        }
    }
}

/// The quotient with so many digits more than its operands, rounded half away from zero.
fn quotient(a: i128, b: i128, digits: i32) -> Option<i128> {
    // As many digits at a time as fit, so that a number of many digits can be divided.
    let negative = (a < 0) != (b < 0);
    let (mut rest, b) = (a.unsigned_abs(), b.unsigned_abs());
    let mut answer = rest / b;
    rest %= b;
    if digits < 0 {
        let unit = 10_u128.checked_pow(digits.unsigned_abs())?;
        answer = (answer + unit / 2) / unit;
    }
    for _ in 0..digits.max(0) {
        rest = rest.checked_mul(10)?;
        answer = answer.checked_mul(10)?.checked_add(rest / b)?;
        rest %= b;
    }
    if digits >= 0 && rest >= b - rest {
        answer += 1;
    }
    let answer = i128::try_from(answer).ok()?;
    Some(if negative { -answer } else { answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_have_the_digits_that_are_asked_for() {
        assert_eq!(quotient(1, 3, 5), Some(33_333));
        assert_eq!(quotient(-2, 3, 5), Some(-66_667));
        assert_eq!(quotient(5, 2, 0), Some(3));
        assert_eq!(quotient(1, 8, 3), Some(125));
    }

    /// Expected: PostgreSQL 15.18, `interval '1 mon' * 1.5`, `interval '1 day' / 2`.
    #[test]
    fn parts_of_an_interval_become_smaller_units() {
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(times(&month, 1.5), IntervalMonthDayNano::new(1, 15, 0));
        let day = IntervalMonthDayNano::new(0, 1, 0);
        assert_eq!(
            times(&day, 0.5),
            IntervalMonthDayNano::new(0, 0, 43_200_000_000_000)
        );
    }
}
