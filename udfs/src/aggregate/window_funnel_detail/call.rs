//! The functions as they are called, and as the optimizer plans them.
//!
//! The optimizer turns a call into one of [`PlannedDetail`], which knows its options and has the conditions as
//! the bits of numbers; so faults of a call are found while it is planned, and `as_of` is the statement's now.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::function::{
    AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs,
};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature,
    Volatility, lit,
};

use super::groups::{DetailGroups, Layout, Task, state_fields};
use super::options::Literals;
use super::results::result_type;
use crate::aggregate::calls::{
    check_conditions, check_time, coerced_time, condition_type, plain, refuse_distinct, wrong_call,
    wrong_type,
};
use crate::aggregate::journey::arguments::{literal, not_literal};
use crate::aggregate::one_group::OneGroup;
use crate::error::FunnelError;
use crate::scalar::condition_mask::condition_mask;

pub(super) const WINDOW: usize = 0;
pub(super) const TIME: usize = 1;
pub(super) const COUNTING: usize = 2;
pub(super) const AS_OF: usize = 3;
pub(super) const OPTIONAL: usize = 4;
pub(super) const STEP_WINDOWS: usize = 5;
pub(super) const KEY: usize = 6;
pub(super) const HOLD: usize = 7;
pub(super) const EXCLUSIONS: usize = 8;
pub(super) const EXCLUDE_BETWEEN: usize = 9;
pub(super) const STEPS: usize = 10;
/// The steps, then the exclusions.
pub(super) const CONDITIONS: usize = 11;

/// The names of the arguments before the conditions.
const NAMES: [&str; CONDITIONS] = [
    "window",
    "ts",
    "counting",
    "as_of",
    "optional",
    "step_windows",
    "key",
    "hold",
    "exclusions",
    "exclude_between",
    "steps",
];

/// The arguments that are values of rows.
const OF_ROWS: [usize; 3] = [TIME, KEY, HOLD];

/// `window_funnel_detail` or `window_funnel_attempts`, as a call is planned.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Detail {
    name: &'static str,
    aliases: Vec<String>,
    every_attempt: bool,
    signature: Signature,
    documentation: &'static Documentation,
}

impl Detail {
    pub fn udaf(
        name: &'static str,
        every_attempt: bool,
        documentation: &'static Documentation,
    ) -> Arc<AggregateUDF> {
        Arc::new(AggregateUDF::from(Self {
            name,
            // What the options by name are put in order for; see `crate::spelling`.
            aliases: vec![format!("__{name}")],
            every_attempt,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation,
        }))
    }

    fn check(&self, types: &[DataType]) -> Result<(), FunnelError> {
        if types.len() <= CONDITIONS {
            let syntax = format!(
                "{}(INTERVAL '14 days', ts, step1, step2, …, option => value, …), in the engine or through \
                 datafusion_funnel::spelling::resolve",
                self.name
            );
            return Err(wrong_call(self.name, types.len(), &syntax));
        }
        check_time(self.name, &types[TIME])?;
        for at in [KEY, HOLD] {
            let sorts = RowConverter::supports_fields(&[SortField::new(types[at].clone())]);
            if !sorts {
                let wanted = "a type that has an order";
                return Err(wrong_type(self.name, NAMES[at], &types[at], wanted));
            }
        }
        check_conditions(self.name, &types[CONDITIONS..], |at| {
            format!("{} (a condition)", at + 3)
        })
    }

    fn task(&self, types: &[DataType], literals: &Literals) -> Result<Task, FunnelError> {
        let hold_type = given(&types[HOLD]);
        Ok(Task {
            every_attempt: self.every_attempt,
            rules: literals.rules()?.holding(hold_type.is_some()),
            time_type: types[TIME].clone(),
            key_type: given(&types[KEY]).cloned(),
            hold_type: hold_type.cloned(),
        })
    }

    /// The rows of groups for physical arguments, where no optimizer came by.
    fn groups(&self, args: &AccumulatorArgs) -> Result<DetailGroups> {
        let types = args.exprs.iter().map(|expr| expr.data_type(args.schema));
        let types = types.collect::<Result<Vec<_>>>()?;
        self.check(&types)?;
        let mut values = vec![ScalarValue::Null; CONDITIONS];
        for at in (0..CONDITIONS).filter(|at| !OF_ROWS.contains(at)) {
            values[at] = literal(&args.exprs[at], self.name, NAMES[at])?;
        }
        if values[AS_OF].is_null() && !types[TIME].is_integer() {
            return Err(FunnelError::InvalidArgument {
                message: format!("{}() over a window of rows has no as_of", self.name),
                hint: "Write as_of => now(), or another moment up to which the rows are known."
                    .to_owned(),
            }
            .into());
        }
        let literals = Literals {
            function: self.name,
            time_type: &types[TIME],
            values: &values,
            arguments: types.len(),
            now: ScalarValue::Null,
        };
        let steps = literals.steps()?;
        DetailGroups::try_new(self.task(&types, &literals)?, Layout::Called { steps })
    }

    /// The call that stands for this one; nothing while it has parameters without a value.
    fn planned(
        &self,
        params: &AggregateFunctionParams,
        types: &[DataType],
        now: ScalarValue,
    ) -> Result<Option<Expr>> {
        refuse_distinct(self.name, params.distinct)?;
        self.check(types)?;
        let Some(values) = self.literals(&params.args)? else {
            return Ok(None);
        };
        let literals = Literals {
            function: self.name,
            time_type: &types[TIME],
            values: &values,
            arguments: types.len(),
            now,
        };
        let task = self.task(types, &literals)?;
        let arguments = masked(&params.args, literals.steps()?, &task);
        let aggregate = PlannedDetail {
            name: self.name,
            signature: Signature::any(arguments.len(), Volatility::Immutable),
            task,
        };
        Ok(Some(Expr::AggregateFunction(AggregateFunction::new_udf(
            Arc::new(AggregateUDF::from(aggregate)),
            arguments,
            false,
            params.filter.clone(),
            vec![],
            None,
        ))))
    }

    fn literals(&self, arguments: &[Expr]) -> Result<Option<Vec<ScalarValue>>, FunnelError> {
        let mut values = vec![ScalarValue::Null; CONDITIONS];
        for at in (0..CONDITIONS).filter(|at| !OF_ROWS.contains(at)) {
            match &arguments[at] {
                Expr::Literal(value, _) => values[at] = value.clone(),
                other if other.column_refs().is_empty() => return Ok(None),
                _ => return Err(not_literal(self.name, NAMES[at])),
            }
        }
        Ok(Some(values))
    }
}

/// The arguments of [`Layout::Masked`].
fn masked(arguments: &[Expr], steps: usize, task: &Task) -> Vec<Expr> {
    let (conditions, exclusions) = arguments[CONDITIONS..].split_at(steps);
    let exclusions = match exclusions {
        [] => lit(0_u8),
        exclusions => condition_mask(exclusions.to_vec(), 0),
    };
    let mut masked = vec![
        arguments[TIME].clone(),
        condition_mask(conditions.to_vec(), 0),
        exclusions,
    ];
    masked.extend(task.hold_type.iter().map(|_| arguments[HOLD].clone()));
    masked.extend(task.key_type.iter().map(|_| arguments[KEY].clone()));
    masked
}

/// The type of an option that is given at all.
fn given(data_type: &DataType) -> Option<&DataType> {
    (!data_type.is_null()).then_some(data_type)
}

impl AggregateUDFImpl for Detail {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.documentation)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.check(arguments)?;
        let key_type = given(&arguments[KEY]);
        Ok(result_type(self.every_attempt, &arguments[TIME], key_type))
    }

    /// Types that don't fit are left as they are, and are named by [`Self::return_type`], as an error here
    /// would lose its SQLSTATE on the way.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let mut types = arguments.to_vec();
        if let Some(time) = types.get_mut(TIME) {
            *time = coerced_time(time);
        }
        for at in [KEY, HOLD] {
            if let Some(value) = types.get_mut(at) {
                *value = plain(value).clone();
            }
        }
        for condition in types.iter_mut().skip(CONDITIONS) {
            *condition = condition_type(condition);
        }
        Ok(types)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let input = |at: usize| args.input_fields.get(at).map(|field| field.data_type());
        let (hold, key) = (input(HOLD).and_then(given), input(KEY).and_then(given));
        Ok(state_fields(&args, hold, key))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(self.groups(&args)?)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&args)?))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        let aggregate = self.clone();
        Some(Box::new(move |call, info| {
            let types = call.params.args.iter();
            let types = types.map(|argument| info.get_data_type(argument));
            let types = types.collect::<Result<Vec<_>>>()?;
            let now = match types.get(TIME) {
                Some(time) if !time.is_integer() => info.query_execution_start_time(),
                _ => None,
            };
            let now = now.and_then(|now| now.timestamp_nanos_opt());
            let now = now.map_or(ScalarValue::Null, |now| {
                ScalarValue::TimestampNanosecond(Some(now), Some(crate::UTC.into()))
            });
            let planned = aggregate.planned(&call.params, &types, now)?;
            Ok(planned.unwrap_or(Expr::AggregateFunction(call)))
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// A call whose options are known, over times and bits; see [`Layout::Masked`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PlannedDetail {
    name: &'static str,
    signature: Signature,
    task: Task,
}

impl PlannedDetail {
    fn groups(&self) -> Result<DetailGroups> {
        DetailGroups::try_new(self.task.clone(), Layout::Masked)
    }
}

impl AggregateUDFImpl for PlannedDetail {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        let Task {
            every_attempt,
            time_type,
            key_type,
            ..
        } = &self.task;
        Ok(result_type(*every_attempt, time_type, key_type.as_ref()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Task {
            hold_type,
            key_type,
            ..
        } = &self.task;
        Ok(state_fields(&args, hold_type.as_ref(), key_type.as_ref()))
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(self.groups()?)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups()?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}
