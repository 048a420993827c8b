//! `avg` of intervals, which DataFusion's doesn't take: `avg(closed_at - created_at)`.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility,
};

use super::arithmetic::times;
use crate::error::Fault;
use crate::postgres::function::fault;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// DataFusion's `avg`, and that of intervals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PgAverage {
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl PgAverage {
    /// Over DataFusion's.
    pub fn new(inner: Arc<AggregateUDF>) -> Self {
        Self {
            inner,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn is_interval(kind: Option<&DataType>) -> bool {
    matches!(kind, Some(DataType::Interval(_)))
}

fn takes_intervals(arguments: &AccumulatorArgs) -> bool {
    is_interval(arguments.expr_fields.first().map(|field| field.data_type()))
}

impl AggregateUDFImpl for PgAverage {
    fn name(&self) -> &str {
        "pg_avg"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if is_interval(arguments.first()) && arguments.len() == 1 {
            return Ok(vec![INTERVAL]);
        }
        let fields = arguments
            .iter()
            .map(|kind| Arc::new(Field::new("", kind.clone(), true)));
        let fields: Vec<FieldRef> = fields.collect();
        let coerced = fields_with_udf(&fields, self.inner.as_ref())?;
        Ok(coerced
            .iter()
            .map(|field| field.data_type().clone())
            .collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match is_interval(arguments.first()) {
            true => Ok(INTERVAL),
            false => self.inner.return_type(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (takes_intervals(&arguments), arguments.is_distinct) {
            (true, false) => Ok(Box::new(Average::default())),
            (true, true) => Err(DataFusionError::NotImplemented(
                "avg(DISTINCT …) of intervals is not supported".to_owned(),
            )),
            (false, _) => self.inner.accumulator(arguments),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !is_interval(
            arguments
                .input_fields
                .first()
                .map(|field| field.data_type()),
        ) {
            return self.inner.state_fields(arguments);
        }
        let parts = [
            ("months", DataType::Int64),
            ("days", DataType::Int64),
            ("nanoseconds", DataType::Decimal128(38, 0)),
            ("count", DataType::Int64),
        ];
        let field = |(part, kind): (&str, DataType)| {
            Arc::new(Field::new(
                format_state_name(arguments.name, part),
                kind,
                true,
            ))
        };
        Ok(parts.map(field).into())
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs) -> bool {
        !takes_intervals(&arguments) && self.inner.groups_accumulator_supported(arguments)
    }

    fn create_groups_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(arguments)
    }

    fn create_sliding_accumulator(
        &self,
        arguments: AccumulatorArgs,
    ) -> Result<Box<dyn Accumulator>> {
        match takes_intervals(&arguments) {
            true => self.accumulator(arguments),
            false => self.inner.create_sliding_accumulator(arguments),
        }
    }
}

/// Intervals added up. Their parts stay apart, as in Postgres.
#[derive(Debug, Default)]
struct Average {
    months: i64,
    days: i64,
    nanoseconds: i128,
    count: i64,
}

impl Average {
    fn add(&mut self, values: &[ArrayRef], sign: i64) -> Result<()> {
        let Some(values) = values.first() else {
            return Ok(());
        };
        let values = cast(values, &INTERVAL)?;
        for interval in values
            .as_primitive::<IntervalMonthDayNanoType>()
            .iter()
            .flatten()
        {
            self.months += sign * i64::from(interval.months);
            self.days += sign * i64::from(interval.days);
            self.nanoseconds += i128::from(sign) * i128::from(interval.nanoseconds);
            self.count += sign;
        }
        Ok(())
    }
}

impl Accumulator for Average {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let (Ok(months), Ok(days), Ok(nanoseconds)) = (
            i32::try_from(self.months),
            i32::try_from(self.days),
            i64::try_from(self.nanoseconds),
        ) else {
            return fault(Fault::DatetimeOverflow, "interval out of range");
        };
        let sum = IntervalMonthDayNano::new(months, days, nanoseconds);
        let average = times(&sum, 1.0 / self.count as f64);
        Ok(ScalarValue::IntervalMonthDayNano(Some(average)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.months)),
            ScalarValue::Int64(Some(self.days)),
            ScalarValue::Decimal128(Some(self.nanoseconds), 38, 0),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [months, days, nanoseconds, counts] = states else {
            return fault(Fault::Internal, "an average has four parts");
        };
        let sum = |values: &ArrayRef| {
            let values = values.as_primitive::<Int64Type>();
            values.iter().flatten().sum::<i64>()
        };
        self.months += sum(months);
        self.days += sum(days);
        self.count += sum(counts);
        let nanoseconds = nanoseconds.as_primitive::<Decimal128Type>();
        self.nanoseconds += nanoseconds.iter().flatten().sum::<i128>();
        Ok(())
    }
}
