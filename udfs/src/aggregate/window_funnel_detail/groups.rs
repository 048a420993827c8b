//! The rows of all groups, until their chains are asked for.

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, UInt64Array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::kernel::{self, Row};
use super::results::Results;
use super::rules::Rules;
use super::values::Values;
use crate::aggregate::columns::{
    column, each_row, item_field, items_of, kept_rows, list, lists, mask_column, masks, primitive,
};
use crate::aggregate::distinct_keys::NO_KEY;
use crate::aggregate::group_log::GroupLog;
use crate::aggregate::hits::time;
use crate::definition::model::Counting;

/// What a call computes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Task {
    /// Every attempt, rather than the best chain.
    pub every_attempt: bool,
    pub rules: Rules,
    pub time_type: DataType,
    /// The type of the keys, if there are any.
    pub key_type: Option<DataType>,
    /// The type of the held values, if there are any.
    pub hold_type: Option<DataType>,
}

/// Where the columns of a batch are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Layout {
    /// As the call was planned, with so many steps.
    Called { steps: usize },
    /// The time, the steps and the exclusions as bits; then the held value and the key, if there are any.
    Masked,
}

/// A row of a group; its held value and key are numbers.
#[derive(Debug, Clone, Copy)]
struct Item {
    time: i64,
    conditions: u64,
    exclusions: u64,
    held: u32,
    key: u32,
}

/// The columns of a batch.
struct Columns<'a> {
    times: &'a ArrayRef,
    conditions: UInt64Array,
    exclusions: UInt64Array,
    held: Option<&'a ArrayRef>,
    key: Option<&'a ArrayRef>,
}

/// The rows of all groups of a GROUP BY.
#[derive(Debug)]
pub(super) struct DetailGroups {
    task: Task,
    layout: Layout,
    log: GroupLog<Item>,
    held: Option<Values>,
    keys: Option<Values>,
}

impl DetailGroups {
    /// No group yet.
    pub fn try_new(task: Task, layout: Layout) -> Result<Self> {
        let values =
            |data_type: &Option<DataType>| data_type.as_ref().map(Values::try_new).transpose();
        Ok(Self {
            held: values(&task.hold_type)?,
            keys: values(&task.key_type)?,
            log: GroupLog::default(),
            task,
            layout,
        })
    }

    fn columns<'a>(&self, values: &'a [ArrayRef]) -> Result<Columns<'a>> {
        match self.layout {
            Layout::Called { steps } => self.called_columns(values, steps),
            Layout::Masked => self.masked_columns(values),
        }
    }

    fn called_columns<'a>(&self, values: &'a [ArrayRef], steps: usize) -> Result<Columns<'a>> {
        use super::call::{CONDITIONS, HOLD, KEY, TIME};
        let times = column(values, TIME)?;
        let (conditions, exclusions) = values[CONDITIONS..].split_at(steps);
        let read = |at: usize, is_there: bool| is_there.then(|| column(values, at)).transpose();
        Ok(Columns {
            times,
            conditions: masks(conditions, times.len()).into(),
            exclusions: masks(exclusions, times.len()).into(),
            held: read(HOLD, self.held.is_some())?,
            key: read(KEY, self.keys.is_some())?,
        })
    }

    fn masked_columns<'a>(&self, values: &'a [ArrayRef]) -> Result<Columns<'a>> {
        let key_at = 3 + usize::from(self.held.is_some());
        let read = |at: usize, is_there: bool| is_there.then(|| column(values, at)).transpose();
        Ok(Columns {
            times: column(values, 0)?,
            conditions: bits(column(values, 1)?)?,
            exclusions: bits(column(values, 2)?)?,
            held: read(3, self.held.is_some())?,
            key: read(key_at, self.keys.is_some())?,
        })
    }

    /// Puts rows under groups: those with a time that the filter keeps, and of them those that meet
    /// something; under strict counting the others too, as they stand in between.
    fn append(
        &mut self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
        group_of: impl Fn(usize) -> usize,
    ) -> Result<()> {
        let columns = self.columns(values)?;
        let times = time::numbers(columns.times)?;
        let kept = kept_rows(filter, &[columns.times.as_ref()]);
        let keep_all = self.task.rules.counting() == Counting::Strict;
        let mut held = Numbers::of(self.held.as_mut(), columns.held)?;
        let mut keys = Numbers::of(self.keys.as_mut(), columns.key)?;
        let log = &mut self.log;
        each_row(kept.as_ref(), columns.times.len(), |row| {
            let conditions = columns.conditions.value(row);
            let exclusions = columns.exclusions.value(row);
            if conditions == 0 && exclusions == 0 && !keep_all {
                return Ok(());
            }
            let item = Item {
                time: times.value(row),
                conditions,
                exclusions,
                held: held.at(row)?,
                key: keys.at(row)?,
            };
            log.push(group_of(row), item)
        })
    }

    /// Drops the values of groups that were taken.
    fn tidy(&mut self, emit_to: EmitTo) -> Result<()> {
        for (values, number_of) in [
            (&mut self.held, held_of as fn(&mut Item) -> &mut u32),
            (&mut self.keys, key_of),
        ] {
            let Some(values) = values else { continue };
            match emit_to {
                EmitTo::All => values.clear(),
                EmitTo::First(_) => {
                    let items = self.log.items_mut();
                    values.forget_unused(items.len(), items.iter_mut().map(number_of))?;
                }
            }
        }
        Ok(())
    }

    /// Sorts the rows of a group: by time, then by what they meet, hold and are called.
    fn sort(&self, items: &mut [Item]) {
        let compare_values = |values: &Option<Values>, one: u32, other: u32| {
            let values = values.as_ref();
            values.map_or(std::cmp::Ordering::Equal, |values| {
                values.compare(one, other)
            })
        };
        let compare = |one: &Item, other: &Item| {
            let plain = |item: &Item| (item.time, item.conditions, item.exclusions);
            plain(one)
                .cmp(&plain(other))
                .then_with(|| compare_values(&self.held, one.held, other.held))
                .then_with(|| compare_values(&self.keys, one.key, other.key))
        };
        // Most logs are written in the order of time, and looking is a fraction of sorting.
        if !items.is_sorted_by(|one, other| compare(one, other).is_le()) {
            items.sort_unstable_by(compare);
        }
    }

    /// The rows as the kernel wants them; held values have the numbers of their order in the group.
    fn rows(&self, items: &[Item], rows: &mut Vec<Row>) {
        let mut ranks: Vec<u32> = Vec::new();
        if let Some(values) = &self.held {
            ranks.extend(items.iter().map(|item| item.held));
            ranks.retain(|number| *number != NO_KEY);
            ranks.sort_unstable();
            ranks.dedup();
            ranks.sort_unstable_by(|one, other| values.compare(*one, *other));
        }
        let rank = |number: u32| {
            let values = self.held.as_ref().filter(|_| number != NO_KEY)?;
            let found = ranks.binary_search_by(|known| values.compare(*known, number));
            found.ok().map(|rank| rank as u32) // fewer than there are numbers
        };
        rows.clear();
        rows.extend(items.iter().map(|item| Row {
            time: item.time,
            conditions: item.conditions,
            exclusions: item.exclusions,
            held: rank(item.held),
        }));
    }
}

fn held_of(item: &mut Item) -> &mut u32 {
    &mut item.held
}

fn key_of(item: &mut Item) -> &mut u32 {
    &mut item.key
}

/// The numbers of a column's values, [`NO_KEY`] where there is no column.
struct Numbers<'a> {
    parts: Option<(&'a mut Values, super::values::Numbered<'a>)>,
}

impl<'a> Numbers<'a> {
    fn of(values: Option<&'a mut Values>, column: Option<&'a ArrayRef>) -> Result<Self> {
        let parts = match (values, column) {
            (Some(values), Some(column)) => {
                let numbered = values.read(column)?;
                Some((values, numbered))
            }
            _ => None,
        };
        Ok(Self { parts })
    }

    fn at(&mut self, row: usize) -> Result<u32> {
        match &mut self.parts {
            Some((values, column)) => values.number_of(column, row),
            None => Ok(NO_KEY),
        }
    }
}

/// A set of conditions for each row; NULL is none.
fn bits(column: &ArrayRef) -> Result<UInt64Array> {
    let bits = cast(column, &DataType::UInt64)?;
    let bits = bits.as_primitive::<UInt64Type>();
    Ok(match bits.nulls() {
        None => bits.clone(),
        Some(_) => bits
            .iter()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
            .into(),
    })
}

impl GroupsAccumulator for DetailGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        self.append(values, opt_filter, |row| group_indices[row])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut runs = self.log.take(emit_to);
        let mut results = Results::default();
        let (mut rows, mut scratch) = (Vec::new(), kernel::Scratch::default());
        let mut chains = Vec::new();
        for items in runs.iter_mut() {
            self.sort(items);
            self.rows(items, &mut rows);
            let item_of = |row: usize| (items[row].time, items[row].key);
            if self.task.every_attempt {
                chains.clear();
                kernel::attempts(&rows, &self.task.rules, &mut scratch, &mut chains);
                results.append_attempts(&chains, item_of);
            } else {
                let chain = kernel::detail(&rows, &self.task.rules, &mut scratch);
                results.append(chain.as_ref(), item_of);
            }
        }
        let column = results.finish(&self.task, self.keys.as_ref())?;
        self.tidy(emit_to)?;
        Ok(column)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut runs = self.log.take(emit_to);
        let mut lengths = Vec::new();
        let mut items = Vec::new();
        for run in runs.iter_mut() {
            lengths.push(run.len());
            items.extend_from_slice(run);
        }
        let times = Int64Array::from_iter_values(items.iter().map(|item| item.time));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(times),
            mask_column(items.iter().map(|item| item.conditions).collect()),
            mask_column(items.iter().map(|item| item.exclusions).collect()),
        ];
        if let Some(values) = &self.held {
            let numbers = items.iter().map(|item| item.held);
            columns.push(values.column(&numbers.collect::<Vec<_>>())?);
        }
        if let Some(values) = &self.keys {
            let numbers = items.iter().map(|item| item.key);
            columns.push(values.column(&numbers.collect::<Vec<_>>())?);
        }
        self.tidy(emit_to)?;
        let columns = columns.into_iter();
        columns
            .map(|column| lists(column, lengths.clone()))
            .collect()
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let lists = values.iter().map(list).collect::<Result<Vec<_>>>()?;
        let [times, conditions, exclusions, of_values @ ..] = lists.as_slice() else {
            return internal_err!("the state of chains has {} parts", lists.len());
        };
        let held_list = self.held.as_ref().and(of_values.first());
        let key_list = self.keys.as_ref().and(of_values.last());
        let mut held = Numbers::of(self.held.as_mut(), held_list.map(|list| list.values()))?;
        let mut keys = Numbers::of(self.keys.as_mut(), key_list.map(|list| list.values()))?;
        let time_values = primitive::<Int64Type>(times.values())?;
        let condition_values = primitive::<UInt64Type>(conditions.values())?;
        let exclusion_values = primitive::<UInt64Type>(exclusions.values())?;
        for (state, group) in group_indices.iter().enumerate() {
            // The lists of one state are as long as each other, but may begin at different places.
            let start = |list: &ListArray| items_of(list, state).start;
            let [of_conditions, of_exclusions] = [conditions, exclusions].map(|list| start(list));
            let [of_held, of_keys] =
                [held_list, key_list].map(|list| list.map_or(0, |list| start(list)));
            for (at, place) in items_of(times, state).enumerate() {
                let item = Item {
                    time: time_values.value(place),
                    conditions: condition_values.value(of_conditions + at),
                    exclusions: exclusion_values.value(of_exclusions + at),
                    held: held.at(of_held + at)?,
                    key: keys.at(of_keys + at)?,
                };
                self.log.push(*group, item)?;
            }
        }
        Ok(())
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::try_new(self.task.clone(), self.layout)?;
        rows.log
            .set_groups(values.iter().map(|column| column.len()).max().unwrap_or(0));
        rows.append(values, opt_filter, |row| row)?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let values = [&self.held, &self.keys].into_iter().flatten();
        size_of_val(self) + self.log.heap_size() + values.map(Values::heap_size).sum::<usize>()
    }
}

/// The parts of a state: lists as long as a group has rows.
pub(super) fn state_fields(
    args: &StateFieldsArgs,
    hold_type: Option<&DataType>,
    key_type: Option<&DataType>,
) -> Vec<FieldRef> {
    let mut parts = vec![
        ("times", DataType::Int64),
        ("conditions", DataType::UInt64),
        ("exclusions", DataType::UInt64),
    ];
    parts.extend(hold_type.map(|data_type| ("held", data_type.clone())));
    parts.extend(key_type.map(|data_type| ("keys", data_type.clone())));
    let field = |(part, data_type): (&str, DataType)| {
        let data_type = DataType::List(item_field(data_type));
        Arc::new(Field::new(
            format_state_name(args.name, part),
            data_type,
            true,
        ))
    };
    parts.into_iter().map(field).collect()
}
