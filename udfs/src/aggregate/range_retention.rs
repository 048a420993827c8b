//! Who came back after 1, 3 and 7 days, for every day that somebody started? In two calls: one for each user,
//! one over all of them.
//!
//! ```sql
//! SELECT unnest(range_retention_sum(r)) FROM (
//!   SELECT range_retention_count(event = 'login', event = 'pay', day, ARRAY[1, 3, 7], 'day') AS r
//!   FROM events GROUP BY user_id)
//! -- 20240501,2,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0
//! ```
//!
//! # `range_retention_count(is_first, is_active, dt, intervals, granularity [, output_format])`
//! A user starts in each period in which a row has `is_first`, and is back after k if a row has `is_active` in the
//! period k later. A period is a day; under `'week'` a week that starts on Monday, under `'month'` a month of the
//! calendar. Interval 0 is the period of the start itself. NULL: `is_first` and `is_active` are false, and a row
//! without `dt` is left out. The order of rows doesn't matter, and a row that is there twice counts once. A timestamp
//! is of the day in its type's time zone.
//!
//! The result is an `Int64[]`, empty without a start, sorted by the period of the start, written as the number
//! `YYYYMMDD` of its first day.
//! - `'normal'`: an element for each start. From its highest bit: 32 for `YYYYMMDD`; 5 for the number of intervals; 27
//!   for the intervals after which the user was back, the first listed the lowest.
//! - `'expand'`: to read one by one. For each start an element `YYYYMMDD` × 2³² + the same `YYYYMMDD`, and one
//!   with the `YYYYMMDD` of the return for each interval after which the user was back, in the order listed.
//!
//! # `range_retention_sum(counts)`
//! Of many users' `'normal'` results, a `text[]` with one text for each period, sorted: `YYYYMMDD`, how many started
//! then, and how many of them were back after each interval, 15 numbers at least, divided by commas. That is what
//! Hologres and GaussDB(DWS) give, so `regexp_split_to_array(…, ',')` and `s[3]::numeric / s[2]::numeric` carry over.
//! NULL results are left out; without any the result is empty.
//!
//! DIFFERENCE: their documents call the numbers of the first function unreadable and don't say what weeks, months and
//! `'expand'` are; what stands above is ours. They take 15 intervals, here there can be 27.
//!
//! Cost: a row is one entry of 8 bytes, entries of one period are brought together as they grow many; a start looks up
//! each interval by bisection. The sum takes 240 bytes for each period of each group.
//! Source: Hologres' documentation, "Retention functions"; GaussDB(DWS), "Funnel and Retention Functions".

mod periods;
mod sum;

use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use datafusion::arrow::datatypes::{DataType, Date32Type, Field, FieldRef, UInt32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use self::periods::Granularity;
pub use self::sum::range_retention_sum_udaf;
use super::calls::{check_conditions, choice, condition_type, plain, wrong_call, wrong_type};
use super::columns::{
    column, each_row, item_field, items_of, kept_rows, list, lists, primitive, true_bits,
};
use super::group_log::GroupLog;
use super::journey::arguments::literal;
use super::one_group::OneGroup;
use crate::error::FunnelError;

const NAME: &str = "range_retention_count";

const SYNTAX: &str =
    "range_retention_count(is_first, is_active, dt, intervals, granularity [, output_format])";

/// As many as have room beside a date in 64 bits.
const MAX_INTERVALS: usize = 27;

/// In which periods did a user start, and after which intervals were they back?
///
/// - `is_first`, `is_active`: Booleans or integers; `dt`: a date or timestamp
/// - `intervals`: literal list of 1 to 27 whole numbers, `>= 0`
/// - `granularity`: `'day'`, `'week'` or `'month'`; `output_format`: `'normal'` (if left out) or `'expand'`; literals
/// - returns `List<Int64>`, see the module
/// - errors: 42883 and 42804 for arguments of another number or type; 22023 for other literals; 22003 for a date
///   outside the years 1 to 9999
pub fn range_retention_count_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(RangeRetentionCount {
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// `range_retention_count(is_first, is_active, dt, intervals, granularity [, output_format])`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RangeRetentionCount {
    signature: Signature,
}

impl AggregateUDFImpl for RangeRetentionCount {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn documentation(&self) -> Option<&Documentation> {
        static PAGE: LazyLock<Documentation> = LazyLock::new(|| {
            Documentation::builder(
                DOC_SECTION_GENERAL,
                "In which periods did a user start, and after which intervals were they back: an array for \
                 range_retention_sum(). An element holds YYYYMMDD of the start in its upper 32 bits; below it has the \
                 number of intervals (5 bits) and those that were met (27 bits, the first the lowest); under 'expand' \
                 there is one for the start and one for each return, with its YYYYMMDD.",
                "range_retention_count(is_first boolean, is_active boolean, dt date, intervals integer[], \
                 granularity text [, output_format text])",
            )
            .with_argument("is_first", "Whether the row is a start.")
            .with_argument("is_active", "Whether the row is a return.")
            .with_argument("dt", "The day of the row.")
            .with_argument("intervals", "A literal list of 1 to 27 intervals, such as ARRAY[1, 3, 7].")
            .with_argument("granularity", "'day', 'week' (from Monday) or 'month'; a literal.")
            .with_argument("output_format", "'normal' or 'expand'; a literal, 'normal' when left out.")
            .build()
        });
        Some(&PAGE)
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        let ([first, active, dt, intervals, texts @ ..], 5..=6) = (coerced, coerced.len()) else {
            return Err(wrong_call(NAME, coerced.len(), SYNTAX).into());
        };
        let names = ["is_first", "is_active"];
        check_conditions(NAME, &[first.clone(), active.clone()], |at| {
            names[at].to_owned()
        })?;
        if *dt != DataType::Date32 {
            return Err(wrong_type(NAME, "dt", dt, "a date or a timestamp").into());
        }
        if *intervals != interval_list() {
            let wanted = "whole numbers, such as ARRAY[1, 3, 7]";
            return Err(wrong_type(NAME, "intervals", intervals, wanted).into());
        }
        for (given, name) in texts.iter().zip(["granularity", "output_format"]) {
            if *given != DataType::Utf8 {
                return Err(wrong_type(NAME, name, given, "text").into());
            }
        }
        Ok(DataType::List(item_field(DataType::Int64)))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let rules = Rules::of_call(args.exprs)?;
        Ok(Box::new(OneGroup::new(CountGroups::new(rules))))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "periods");
        let data_type = DataType::List(item_field(DataType::UInt32));
        Ok(vec![Arc::new(Field::new(name, data_type, true))])
    }

    /// Always: neither DISTINCT nor ORDER BY makes a difference.
    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let rules = Rules::of_call(args.exprs)?;
        Ok(Box::new(CountGroups::new(rules)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let coerce = |(at, given): (usize, &DataType)| match (at, plain(given)) {
            (0 | 1, _) => condition_type(given),
            (2, DataType::Null | DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) => {
                DataType::Date32
            }
            (3, DataType::Null) => interval_list(),
            (
                3,
                DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
            ) if item.data_type().is_integer() || item.data_type().is_null() => interval_list(),
            (4 | 5, text) if text.is_string() || text.is_null() => DataType::Utf8,
            _ => given.clone(),
        };
        Ok(given.iter().enumerate().map(coerce).collect())
    }
}

fn interval_list() -> DataType {
    DataType::List(item_field(DataType::Int64))
}

/// The literals of a call.
#[derive(Debug)]
struct Rules {
    intervals: Vec<u32>,
    granularity: Granularity,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Normal,
    Expand,
}

impl Rules {
    fn of_call(exprs: &[Arc<dyn PhysicalExpr>]) -> Result<Arc<Self>> {
        let (Some(intervals), Some(granularity)) = (exprs.get(3), exprs.get(4)) else {
            return Err(wrong_call(NAME, exprs.len(), SYNTAX).into());
        };
        let intervals = read_intervals(&literal(intervals, NAME, "intervals")?)?;
        let granularity = choice(granularity, NAME, "granularity", &Granularity::NAMES)?;
        let format = match exprs.get(5) {
            Some(format) => choice(format, NAME, "output_format", &["normal", "expand"])?,
            None => 0,
        };
        Ok(Arc::new(Self {
            intervals,
            granularity: Granularity::ALL[granularity],
            format: [Format::Normal, Format::Expand][format],
        }))
    }
}

fn read_intervals(value: &ScalarValue) -> Result<Vec<u32>, FunnelError> {
    let invalid = |message: String| FunnelError::InvalidArgument {
        message,
        hint: format!("Write 1 to {MAX_INTERVALS} of them, such as ARRAY[1, 3, 7]."),
    };
    let ScalarValue::List(given) = value else {
        return Err(invalid(format!(
            "argument intervals of {NAME}() is no list"
        )));
    };
    let items = items_of(given, 0);
    if items.is_empty() || items.len() > MAX_INTERVALS {
        let message = format!("{NAME}() can't take {} intervals", items.len());
        return Err(invalid(message));
    }
    let values = given
        .values()
        .as_primitive::<datafusion::arrow::datatypes::Int64Type>();
    items
        .map(|at| match values.is_valid(at) {
            // An interval beyond all dates is as good as the longest.
            true if values.value(at) >= 0 => Ok(u32::try_from(values.value(at))
                .unwrap_or(u32::MAX)
                .min(i32::MAX as u32)),
            true => Err(invalid(format!(
                "an interval of {NAME}() can't be {}",
                values.value(at)
            ))),
            false => Err(invalid(format!("an interval of {NAME}() can't be NULL"))),
        })
        .collect()
}

/// What a user did in a period: the period's number × 4, and [`STARTED`] and [`ACTIVE`].
///
/// So sorted entries are in the order of time, with those of one period together.
type Entry = u32;

const STARTED: Entry = 2;
const ACTIVE: Entry = 1;

/// What each user did in each period.
#[derive(Debug)]
struct CountGroups {
    rules: Arc<Rules>,
    log: GroupLog<Entry>,
}

impl CountGroups {
    fn new(rules: Arc<Rules>) -> Self {
        let log = GroupLog::default();
        Self { rules, log }
    }

    /// Takes groups out; `each` gets the entries of one, sorted and one for each period.
    fn take<T>(&mut self, emit_to: EmitTo, mut each: impl FnMut(&[Entry]) -> T) -> Vec<T> {
        let mut kept = Vec::new();
        let mut runs = self.log.take(emit_to);
        let taken = runs.iter_mut().map(|run| {
            kept.clear();
            merge_periods(run, &mut kept);
            each(&kept)
        });
        taken.collect()
    }
}

/// Brings the entries of each period together.
fn merge_periods(run: &mut [Entry], kept: &mut Vec<Entry>) {
    run.sort_unstable();
    let start = kept.len();
    for entry in run {
        match kept[start..].last_mut() {
            Some(last) if *last >> 2 == *entry >> 2 => *last |= *entry,
            _ => kept.push(*entry),
        }
    }
}

/// The result of one user.
fn elements(entries: &[Entry], rules: &Rules, elements: &mut Vec<i64>) {
    let active = |period: u32| {
        let found = entries.binary_search_by_key(&period, |entry| entry >> 2);
        found.is_ok_and(|at| entries[at] & ACTIVE != 0)
    };
    for start in entries.iter().filter(|entry| *entry & STARTED != 0) {
        let start = start >> 2;
        let start_date = rules.granularity.date_number(start);
        let back = |interval: &u32| {
            start
                .checked_add(*interval)
                .filter(|period| active(*period))
        };
        match rules.format {
            Format::Normal => {
                let met = rules
                    .intervals
                    .iter()
                    .map(|interval| back(interval).is_some());
                elements.push(encode(start_date, met));
            }
            Format::Expand => {
                elements.push(start_date << 32 | start_date);
                let returns = rules.intervals.iter().filter_map(back);
                elements.extend(
                    returns.map(|period| start_date << 32 | rules.granularity.date_number(period)),
                );
            }
        }
    }
}

/// A start, and whether the user was back after each interval.
fn encode(start_date: i64, met: impl ExactSizeIterator<Item = bool>) -> i64 {
    let count = met.len() as i64;
    let mask = met
        .enumerate()
        .fold(0, |mask, (at, met)| mask | i64::from(met) << at);
    start_date << 32 | count << MAX_INTERVALS | mask
}

impl GroupsAccumulator for CountGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let started = true_bits(column(values, 0)?.as_boolean());
        let active = true_bits(column(values, 1)?.as_boolean());
        let dates = primitive::<Date32Type>(column(values, 2)?)?;
        let kept = kept_rows(opt_filter, &[dates]);
        each_row(kept.as_ref(), group_indices.len(), |row| {
            let did = if started.value(row) { STARTED } else { 0 }
                | if active.value(row) { ACTIVE } else { 0 };
            if did == 0 {
                return Ok(());
            }
            let period = self.rules.granularity.period_of(dates.value(row))?;
            self.log.push(group_indices[row], period << 2 | did)
        })?;
        self.log.tidy_if_doubled(merge_periods);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let rules = Arc::clone(&self.rules);
        let mut items = Vec::new();
        let lengths = self.take(emit_to, |entries| {
            let before = items.len();
            elements(entries, &rules, &mut items);
            items.len() - before
        });
        lists(Arc::new(Int64Array::from(items)), lengths)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut items = Vec::new();
        let lengths = self.take(emit_to, |entries| {
            items.extend_from_slice(entries);
            entries.len()
        });
        Ok(vec![lists(Arc::new(UInt32Array::from(items)), lengths)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let states = list(column(values, 0)?)?;
        let entries = primitive::<UInt32Type>(states.values())?;
        for (row, group) in group_indices.iter().enumerate() {
            for at in items_of(states, row) {
                self.log.push(*group, entries.value(at))?;
            }
        }
        self.log.tidy_if_doubled(merge_periods);
        Ok(())
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = Self::new(Arc::clone(&self.rules));
        let groups = (0..column(values, 0)?.len()).collect::<Vec<_>>();
        rows.update_batch(values, &groups, opt_filter, groups.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.log.heap_size()
    }
}

#[cfg(test)]
mod tests;
