//! What was it first, and what last? `first_touch(channel, at)` is the channel of an entity's earliest row.
//!
//! `first_touch(value, ts)` is the value of the row with the least `ts`, `last_touch(value, ts)` of the row with
//! the greatest. Among rows of that same time, `first_touch` takes the least value, and `last_touch` the greatest:
//! so neither the order in which rows arrive nor the way they are split into parts makes a difference. Texts
//! compare by their bytes, and NaN is greater than any number.
//!
//! A row whose value or time is NULL is left out; without any other row the result is NULL. So
//! `first_touch(value, ts)` is `first_value(value ORDER BY ts, value) FILTER (WHERE value IS NOT NULL AND ts IS NOT
//! NULL)`, without a sort.
//!
//! Any value that has an order: text of any kind, numbers, booleans, dates, timestamps, decimals, binary, lists of
//! them. The result has the value's type; for a dictionary, as with `max`, that of its values. A time is an integer,
//! a date or a timestamp, of any unit and zone.
//!
//! Cost: a row that isn't earlier (later) costs a comparison of two integers. State: 8 bytes a group for the time; and
//! for a number as many as it has and one, for other values 4, and each distinct value once, as long as it is used.

mod values;

use std::fmt::Debug;
use std::mem::{size_of, size_of_val};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, downcast_primitive, new_null_array,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::{cast, nullif};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};

use self::values::{KeyValues, PrimitiveValues, Values};
use super::calls::{check_time, coerced_time, plain, wrong_call, wrong_type};
use super::columns::{column, each_row, kept_rows, true_bits};
use super::hits::time::numbers;
use super::one_group::OneGroup;

/// The value of the earliest row.
///
/// - `value`: any type that has an order
/// - `ts`: an integer, a date or a timestamp
/// - returns the value's type; NULL without a row where both aren't NULL
/// - errors: 42883 for another number of arguments, 42804 for a type without an order or a time that is none
/// ```slt
/// query T
/// SELECT first_touch(channel, at) FROM (VALUES ('search', 2), ('ads', 1), (NULL, 0)) AS visits(channel, at)
/// ----
/// ads
/// ```
pub fn first_touch_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(Touch::new(Side::First))));
    Arc::clone(&FUNCTION)
}

/// The value of the latest row; arguments, result and errors as of [`first_touch_udaf`].
///
/// ```slt
/// query T
/// SELECT last_touch(channel, at) FROM (VALUES ('search', 2), ('ads', 1), (NULL, 3)) AS visits(channel, at)
/// ----
/// search
/// ```
pub fn last_touch_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> =
        LazyLock::new(|| Arc::new(AggregateUDF::from(Touch::new(Side::Last))));
    Arc::clone(&FUNCTION)
}

/// Which end of the time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    First,
    Last,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Side::First => "first_touch",
            Side::Last => "last_touch",
        }
    }

    /// What to combine a time with by XOR, so that the one that counts is the least: nothing, or all bits.
    fn flip(self) -> i64 {
        match self {
            Side::First => 0,
            Side::Last => -1,
        }
    }

    fn pick<T>(self, first: T, last: T) -> T {
        match self {
            Side::First => first,
            Side::Last => last,
        }
    }
}

/// `first_touch(value, ts)` and `last_touch(value, ts)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Touch {
    side: Side,
    signature: Signature,
    documentation: Documentation,
}

impl Touch {
    fn new(side: Side) -> Self {
        Self {
            side,
            signature: Signature::user_defined(Volatility::Immutable),
            documentation: documentation(side),
        }
    }
}

fn documentation(side: Side) -> Documentation {
    let name = side.name();
    Documentation::builder(
        DOC_SECTION_GENERAL,
        format!(
            "The value of the {} row, where neither is NULL; of rows of the same time the {} value.",
            side.pick("earliest", "latest"),
            side.pick("least", "greatest"),
        ),
        format!("{name}(value any, ts timestamp with time zone)"),
    )
    .with_argument("value", "Text, a number, or any other type that has an order.")
    .with_argument("ts", "When: a timestamp, a date or an integer.")
    .with_sql_example(format!(
        "```sql\nSELECT user_id, {name}(channel, occurred_at) FROM visits GROUP BY user_id;\n```"
    ))
    .build()
}

/// An accumulator for some type of value: for many groups, or for one.
trait Either {
    fn for_groups(self: Box<Self>) -> Box<dyn GroupsAccumulator>;
    fn for_one(self: Box<Self>) -> Box<dyn Accumulator>;
}

impl<V: Values> Either for TouchGroups<V> {
    fn for_groups(self: Box<Self>) -> Box<dyn GroupsAccumulator> {
        self
    }

    fn for_one(self: Box<Self>) -> Box<dyn Accumulator> {
        Box::new(OneGroup::new(*self))
    }
}

/// No group yet, for values of a type.
fn groups(side: Side, data_type: &DataType) -> Result<Box<dyn Either>> {
    macro_rules! primitive {
        ($t:ty) => {
            Ok(Box::new(TouchGroups::new(
                side,
                PrimitiveValues::<$t>::new(side, data_type),
            )))
        };
    }
    downcast_primitive! {
        data_type => (primitive),
        other => Ok(Box::new(TouchGroups::new(side, KeyValues::try_new(side, other)?))),
    }
}

impl AggregateUDFImpl for Touch {
    fn name(&self) -> &str {
        self.side.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        let name = self.name();
        let [value, time] = coerced else {
            return Err(wrong_call(name, coerced.len(), &format!("{name}(value, ts)")).into());
        };
        let value = plain(value);
        if !RowConverter::supports_fields(&[SortField::new(value.clone())]) {
            return Err(wrong_type(name, "value", value, "a type that has an order").into());
        }
        check_time(name, time)?;
        Ok(value.clone())
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(groups(self.side, args.return_field.data_type())?.for_one())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part, data_type| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, data_type, true))
        };
        Ok(vec![
            field("value", args.return_field.data_type().clone()),
            field("time", DataType::Int64),
        ])
    }

    /// Always: neither DISTINCT nor ORDER BY makes a difference.
    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(groups(self.side, args.return_field.data_type())?.for_groups())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    /// A dictionary of text stays one, as its values are then looked at once a batch.
    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let mut coerced = given.to_vec();
        if let [value, time] = coerced.as_mut_slice() {
            if !plain(value).is_string() {
                *value = plain(value).clone();
            }
            *time = coerced_time(time);
        }
        Ok(coerced)
    }
}

/// The time and value that count so far, of each group.
#[derive(Debug)]
struct TouchGroups<V> {
    side: Side,
    /// The time, flipped by [`Side::flip`] so that the least counts; [`i64::MAX`] before the first row.
    keys: Vec<i64>,
    values: V,
}

impl<V: Values> TouchGroups<V> {
    fn new(side: Side, values: V) -> Self {
        let keys = Vec::new();
        Self { side, keys, values }
    }

    /// Looks at rows, be they arguments or states: both are a value and a time, where a NULL value is no row.
    fn look_at(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.keys.resize(total_groups, i64::MAX);
        self.values.set_groups(total_groups);
        let (value, time) = (column(columns, 0)?, numbers(column(columns, 1)?)?);
        let kept = kept_rows(filter, &[value.as_ref(), &time]);
        let (times, flip) = (time.values(), self.side.flip());
        let mut batch = self.values.batch(value)?;
        each_row(kept.as_ref(), groups.len(), |row| {
            let (group, key) = (groups[row], times[row] ^ flip);
            let known = &mut self.keys[group];
            // Most rows end here.
            if key > *known {
                return Ok(());
            }
            let is_tie = key == *known;
            *known = key;
            self.values.offer(group, &mut batch, row, is_tie)
        })?;
        drop(batch);
        self.values.tidy()
    }
}

impl<V: Values> GroupsAccumulator for TouchGroups<V> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.look_at(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        emit_to.take_needed(&mut self.keys);
        self.values.take(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let flip = self.side.flip();
        let keys = emit_to.take_needed(&mut self.keys).into_iter();
        let times = Int64Array::from_iter_values(keys.map(|key| key ^ flip));
        Ok(vec![self.values.take(emit_to)?, Arc::new(times)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.look_at(values, group_indices, None, total_num_groups)
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer: the row.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let value = column(values, 0)?;
        let value = match value.data_type() {
            DataType::Dictionary(_, of_values) => cast(value, of_values)?,
            _ => Arc::clone(value),
        };
        let times = numbers(column(values, 1)?)?;
        let value = match opt_filter {
            Some(filter) => without(&value, filter)?,
            None => value,
        };
        Ok(vec![value, Arc::new(times)])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.keys.capacity() * size_of::<i64>() + self.values.heap_size()
    }
}

/// A column with NULL for the rows that a filter doesn't keep.
fn without(column: &ArrayRef, filter: &BooleanArray) -> Result<ArrayRef> {
    if column.data_type().is_null() {
        return Ok(new_null_array(&DataType::Null, column.len()));
    }
    let dropped = BooleanArray::new(!&true_bits(filter), None::<NullBuffer>);
    Ok(nullif(column, &dropped)?)
}

#[cfg(test)]
mod tests;
