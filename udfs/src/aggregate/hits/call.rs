//! A function over events as SQL calls it: some literals, a time, then conditions.
//!
//! The optimizer turns a call into one of [`HitAggregate`], which has only two arguments, the time and a
//! number with a bit for each condition; so faults of a call are found while it is planned, conditions that
//! compare the same text are compared together, and few bytes of each row go from one operator to the next.
//! Where no optimizer comes by, in a window `OVER (…)`, the call works on its own arguments.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature,
    Volatility,
};

use super::MAX_CONDITIONS;
use super::accumulator::{HitArguments, HitFunction, HitGroupsAccumulator};
use super::log::state_type;
use crate::aggregate::Log;
use crate::aggregate::calls::{
    check_conditions, check_time, coerced_time, condition_type, refuse_distinct, too_many,
    wrong_call,
};
use crate::aggregate::columns::{column, masks};
use crate::aggregate::journey::arguments::{literal, not_literal};
use crate::aggregate::one_group::OneGroup;
use crate::error::FunnelError;
use crate::scalar::condition_mask::condition_mask;

/// A function over events, as it is called.
pub(crate) trait EventFunction: Debug + Clone + Eq + Hash + Send + Sync + 'static {
    /// What a call computes, once its literals are known.
    type Function: HitFunction + Eq + Hash;

    /// The name in SQL.
    fn name(&self) -> &'static str;

    /// How it is called, for the hint of an error.
    fn syntax(&self) -> &'static str;

    /// Other names for it.
    fn aliases(&self) -> &'static [String];

    /// How many literals stand before the time.
    fn literals(&self, arguments: &[DataType]) -> usize;

    /// The fewest conditions.
    fn least_conditions(&self) -> usize;

    /// The type of a result over times of this type.
    fn result_type(&self, time_type: &DataType) -> DataType;

    /// What a call with these literals computes.
    ///
    /// # Errors
    /// 22023 for literals that it can't work with.
    fn function(
        &self,
        literals: &[ScalarValue],
        time_type: &DataType,
        conditions: usize,
    ) -> Result<Self::Function, FunnelError>;

    /// The page of the function.
    fn documentation(&self) -> &'static Documentation;
}

/// The aggregate function of an [`EventFunction`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct EventAggregate<E> {
    event_function: E,
    signature: Signature,
}

impl<E: EventFunction> EventAggregate<E> {
    /// The function, for plans and registries.
    pub fn udaf(event_function: E) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self {
            event_function,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    }

    /// Where the time stands, if there are enough arguments.
    fn time_at(&self, arguments: &[DataType]) -> Option<usize> {
        let at = self.event_function.literals(arguments);
        (at + self.event_function.least_conditions() < arguments.len()).then_some(at)
    }

    fn check(&self, arguments: &[DataType]) -> Result<usize, FunnelError> {
        let name = self.event_function.name();
        let at = self
            .time_at(arguments)
            .ok_or_else(|| wrong_call(name, arguments.len(), self.event_function.syntax()))?;
        let conditions = &arguments[at + 1..];
        if conditions.len() > MAX_CONDITIONS {
            return Err(too_many(
                name,
                "conditions",
                conditions.len(),
                MAX_CONDITIONS,
            ));
        }
        check_time(name, &arguments[at])?;
        check_conditions(name, conditions, |condition| {
            format!("{} (a condition)", at + 2 + condition)
        })?;
        Ok(at)
    }

    /// What a call computes, and how its columns are read, from its physical arguments.
    fn of_call(&self, args: &AccumulatorArgs) -> Result<(E::Function, CallArguments)> {
        let types = args
            .exprs
            .iter()
            .map(|expr| expr.data_type(args.schema))
            .collect::<Result<Vec<_>>>()?;
        let at = self.check(&types)?;
        let name = self.event_function.name();
        let literals = args.exprs[..at]
            .iter()
            .enumerate()
            .map(|(position, expr)| literal(expr, name, &(position + 1).to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        let conditions = types.len() - at - 1;
        let function = self
            .event_function
            .function(&literals, &types[at], conditions)?;
        Ok((function, CallArguments { time_at: at }))
    }

    /// The call with two arguments that stands for this one; nothing while it has parameters without a value.
    fn with_mask(
        &self,
        params: &AggregateFunctionParams,
        types: &[DataType],
    ) -> Result<Option<Expr>> {
        let name = self.event_function.name();
        refuse_distinct(name, params.distinct)?;
        let at = self.check(types)?;
        let mut literals = Vec::new();
        for (position, argument) in params.args[..at].iter().enumerate() {
            match argument {
                Expr::Literal(value, _) => literals.push(value.clone()),
                other if other.column_refs().is_empty() => return Ok(None),
                _ => {
                    return Err(not_literal(name, &(position + 1).to_string()).into());
                }
            }
        }
        let conditions = params.args[at + 1..].to_vec();
        let function = self
            .event_function
            .function(&literals, &types[at], conditions.len())?;
        let aggregate = HitAggregate {
            name: name.to_owned(),
            result_type: self.event_function.result_type(&types[at]),
            conditions: conditions.len(),
            function,
            signature: Signature::any(2, Volatility::Immutable),
        };
        let arguments = vec![params.args[at].clone(), condition_mask(conditions, 0)];
        Ok(Some(Expr::AggregateFunction(AggregateFunction::new_udf(
            Arc::new(AggregateUDF::from(aggregate)),
            arguments,
            false,
            params.filter.clone(),
            vec![],
            None,
        ))))
    }
}

impl<E: EventFunction> AggregateUDFImpl for EventAggregate<E> {
    fn name(&self) -> &str {
        self.event_function.name()
    }

    fn aliases(&self) -> &[String] {
        self.event_function.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.event_function.documentation())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let at = self.check(arguments)?;
        Ok(self.event_function.result_type(&arguments[at]))
    }

    /// Types that don't fit are left as they are, and are named by [`Self::return_type`], as an error here
    /// would lose its SQLSTATE on the way.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let Some(at) = self.time_at(arguments) else {
            return Ok(arguments.to_vec());
        };
        let mut types = arguments.to_vec();
        types[at] = coerced_time(&arguments[at]);
        for condition in &mut types[at + 1..] {
            *condition = condition_type(condition);
        }
        Ok(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&args))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let (function, arguments) = self.of_call(&args)?;
        let groups = HitGroupsAccumulator::<_, _, u64>::new(function, arguments);
        Ok(Box::new(OneGroup::new(groups)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let (function, arguments) = self.of_call(&args)?;
        Ok(Box::new(HitGroupsAccumulator::<_, _, u64>::new(
            function, arguments,
        )))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let aggregate = Self {
            event_function: self.event_function.clone(),
            signature: self.signature.clone(),
        };
        Some(Box::new(move |call, info| {
            let types = call
                .params
                .args
                .iter()
                .map(|argument| info.get_data_type(argument))
                .collect::<Result<Vec<_>>>()?;
            let simplified = aggregate.with_mask(&call.params, &types)?;
            Ok(simplified.unwrap_or(Expr::AggregateFunction(call)))
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// A function of two arguments: the time, and the conditions as the bits of a number.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct HitAggregate<F> {
    name: String,
    result_type: DataType,
    conditions: usize,
    function: F,
    signature: Signature,
}

impl<F: HitFunction + Eq + Hash> AggregateUDFImpl for HitAggregate<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.result_type.clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&args))
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let function = self.function.clone();
        let groups = HitGroupsAccumulator::<_, _, u64>::new(function, MaskArguments);
        Ok(Box::new(OneGroup::new(groups)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let function = self.function.clone();
        // Narrow conditions take two thirds of the memory.
        Ok(match self.conditions {
            ..=32 => Box::new(HitGroupsAccumulator::<_, _, u32>::new(
                function,
                MaskArguments,
            )),
            _ => Box::new(HitGroupsAccumulator::<_, _, u64>::new(
                function,
                MaskArguments,
            )),
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

fn state_fields(args: &StateFieldsArgs) -> Vec<FieldRef> {
    let name = format_state_name(args.name, "hits");
    vec![Arc::new(Field::new(name, state_type(), true))]
}

/// The arguments of a call as it was written.
#[derive(Debug)]
struct CallArguments {
    time_at: usize,
}

impl HitArguments for CallArguments {
    fn columns(&self, values: &[ArrayRef]) -> Result<(ArrayRef, ArrayRef)> {
        let times = column(values, self.time_at)?;
        let masks = masks(&values[self.time_at + 1..], times.len());
        Ok((Arc::clone(times), Arc::new(UInt64Array::from(masks))))
    }
}

/// The arguments of a [`HitAggregate`].
#[derive(Debug)]
struct MaskArguments;

impl HitArguments for MaskArguments {
    fn columns(&self, values: &[ArrayRef]) -> Result<(ArrayRef, ArrayRef)> {
        Ok((
            Arc::clone(column(values, 0)?),
            Arc::clone(column(values, 1)?),
        ))
    }
}

/// The log of a call of this function, if the aggregate is one.
pub(crate) fn log_of<F: HitFunction + Eq + Hash>(aggregate: &AggregateUDF) -> Option<Log> {
    let aggregate = aggregate.inner().downcast_ref::<HitAggregate<F>>()?;
    Some(match aggregate.function.needs_all_rows() {
        true => Log::OfAllRows,
        false => Log::OfMetConditions(Arc::new(aggregate.function.clone())),
    })
}
