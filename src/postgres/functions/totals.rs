//! `sum` and `avg` of intervals, which DataFusion's don't take: `avg(closed_at - created_at)`; and the `sum` of bigints as a
//! numeric, which doesn't end at 64 bits and isn't divided as a whole number. The `sum` of reals is a real.

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
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Cast, ColumnarValue, Expr, ExprSchemable,
    GroupsAccumulator, ReturnFieldArgs, ReversedUDAF, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::arithmetic::times;
use crate::error::Fault;
use crate::postgres::function::fault;

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

/// Bigints as DataFusion adds them up without an end.
const WHOLE: DataType = DataType::Decimal128(20, 0);

/// `pg_addend(x)`, what is added up of `x`: a bigint as a numeric, anything else as it is.
pub fn addend() -> ScalarUDF {
    ScalarUDF::from(Addend {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Addend {
    signature: Signature,
}

fn is_bigint(kind: &DataType) -> bool {
    matches!(kind, DataType::Int64 | DataType::UInt64)
}

impl ScalarUDFImpl for Addend {
    fn name(&self) -> &str {
        "pg_addend"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match arguments {
            [kind] if is_bigint(kind) => WHOLE,
            // A parameter whose type isn't known yet.
            [DataType::Null] => DataType::Float64,
            [kind, ..] => kind.clone(),
            [] => DataType::Null,
        })
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(field) = arguments.arg_fields.first() else {
            return fault(Fault::Semantic, "a sum needs a value");
        };
        Ok(match field.data_type() {
            kind if is_bigint(kind) => Arc::new(Field::new(self.name(), WHOLE, true)),
            DataType::Null => Arc::new(Field::new(self.name(), DataType::Float64, true)),
            _ => Arc::clone(field),
        })
    }

    fn simplify(&self, arguments: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [value] = <[Expr; 1]>::try_from(arguments)
            .map_err(|_| DataFusionError::Internal("a sum has one value".to_owned()))?;
        Ok(ExprSimplifyResult::Simplified(
            match value.get_type(info.schema())? {
                kind if is_bigint(&kind) => Expr::Cast(Cast::new(Box::new(value), WHOLE)),
                DataType::Null => Expr::Cast(Cast::new(Box::new(value), DataType::Float64)),
                _ => value,
            },
        ))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = arguments.args.first() else {
            return fault(Fault::Semantic, "a sum needs a value");
        };
        match value.data_type() {
            kind if is_bigint(&kind) => value.cast_to(&WHOLE, None),
            DataType::Null => value.cast_to(&DataType::Float64, None),
            _ => Ok(value.clone()),
        }
    }
}

/// What is made of values that are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Average,
}

/// DataFusion's `sum` or `avg`, and that of what it doesn't take.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct PgTotal {
    kind: Kind,
    inner: Arc<AggregateUDF>,
    signature: Signature,
}

impl PgTotal {
    /// `pg_sum` over DataFusion's `sum`.
    pub fn sum(inner: Arc<AggregateUDF>) -> Self {
        Self::new(Kind::Sum, inner)
    }

    /// `pg_avg` over DataFusion's `avg`.
    pub fn average(inner: Arc<AggregateUDF>) -> Self {
        Self::new(Kind::Average, inner)
    }

    fn new(kind: Kind, inner: Arc<AggregateUDF>) -> Self {
        Self {
            kind,
            inner,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

fn is_interval(kind: Option<&DataType>) -> bool {
    matches!(kind, Some(DataType::Interval(_)))
}

fn takes_intervals(arguments: &AccumulatorArgs) -> bool {
    is_interval(first_type(arguments.expr_fields))
}

fn first_type(fields: &[FieldRef]) -> Option<&DataType> {
    fields.first().map(|field| field.data_type())
}

impl PgTotal {
    /// Whether reals are added up, whose sum is a real; their average is a double.
    fn is_of_reals(&self, kind: Option<&DataType>) -> bool {
        self.kind == Kind::Sum && kind == Some(&DataType::Float32)
    }

    /// What adds up the same values as doubles.
    fn inner_accumulator(
        &self,
        arguments: AccumulatorArgs,
        make: fn(&AggregateUDF, AccumulatorArgs) -> Result<Box<dyn Accumulator>>,
    ) -> Result<Box<dyn Accumulator>> {
        if !self.is_of_reals(first_type(arguments.expr_fields)) {
            return make(&self.inner, arguments);
        }
        let inner = make(
            &self.inner,
            AccumulatorArgs {
                return_field: double(),
                expr_fields: &[double()],
                ..arguments
            },
        )?;
        Ok(Box::new(SumOfReals(inner)))
    }
}

fn double() -> FieldRef {
    Arc::new(Field::new("", DataType::Float64, true))
}

/// A sum of reals that is made of doubles.
#[derive(Debug)]
struct SumOfReals(Box<dyn Accumulator>);

fn doubles(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let doubles = values.iter().map(|value| cast(value, &DataType::Float64));
    Ok(doubles.collect::<Result<_, _>>()?)
}

impl Accumulator for SumOfReals {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&doubles(values)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&doubles(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()?.cast_to(&DataType::Float32)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }
}

impl AggregateUDFImpl for PgTotal {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "pg_sum",
            Kind::Average => "pg_avg",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if is_interval(arguments.first()) && arguments.len() == 1 {
            return Ok(vec![INTERVAL]);
        }
        if self.is_of_reals(arguments.first()) && arguments.len() == 1 {
            return Ok(vec![DataType::Float32]);
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
        match arguments.first() {
            kind if is_interval(kind) => Ok(INTERVAL),
            kind if self.is_of_reals(kind) => Ok(DataType::Float32),
            _ => self.inner.return_type(arguments),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (takes_intervals(&arguments), arguments.is_distinct) {
            (true, false) => Ok(Box::new(Total::of(self.kind))),
            (true, true) => Err(DataFusionError::NotImplemented(
                "sums and averages of distinct intervals are not supported".to_owned(),
            )),
            (false, _) => self.inner_accumulator(arguments, AggregateUDF::accumulator),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let kind = first_type(arguments.input_fields);
        if self.is_of_reals(kind) {
            return self.inner.state_fields(StateFieldsArgs {
                input_fields: &[double()],
                return_field: double(),
                ..arguments
            });
        }
        if !is_interval(kind) {
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
        !takes_intervals(&arguments)
            && !self.is_of_reals(first_type(arguments.expr_fields))
            && self.inner.groups_accumulator_supported(arguments)
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
            false => self.inner_accumulator(arguments, AggregateUDF::create_sliding_accumulator),
        }
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// Intervals added up. Their parts stay apart, as in Postgres.
#[derive(Debug)]
struct Total {
    kind: Kind,
    months: i64,
    days: i64,
    nanoseconds: i128,
    count: i64,
}

impl Total {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            months: 0,
            days: 0,
            nanoseconds: 0,
            count: 0,
        }
    }

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

impl Accumulator for Total {
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
        Ok(ScalarValue::IntervalMonthDayNano(Some(match self.kind {
            Kind::Sum => sum,
            Kind::Average => times(&sum, 1.0 / self.count as f64),
        })))
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
            return fault(Fault::Internal, "a total of intervals has four parts");
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
