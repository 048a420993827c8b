//! `range_retention_sum`: the results of many users become a row of numbers for each period.

use std::fmt::Write as _;
use std::mem::{size_of, size_of_val};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{HashMap, Result, internal_err, not_impl_err};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};

use super::MAX_INTERVALS;
use crate::aggregate::calls::{wrong_call, wrong_type};
use crate::aggregate::columns::{
    column, each_row, group_number, item_field, items_of, kept_rows, list, lists, primitive,
};
use crate::aggregate::one_group::OneGroup;
use crate::error::FunnelError;

const NAME: &str = "range_retention_sum";

/// So many intervals are always written, as Hologres does.
const WRITTEN_INTERVALS: usize = 15;

/// How many users started in each period, and how many of them were back after each interval?
///
/// - `counts`: results of [`super::range_retention_count_udaf`] in the normal format
/// - returns `List<Utf8>`: `YYYYMMDD,started,back after the first interval,…`, sorted by date
/// - errors: 42883 and 42804 for arguments of another number or type; 22023 for elements of another format
pub fn range_retention_sum_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(RangeRetentionSum {
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// `range_retention_sum(counts)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RangeRetentionSum {
    signature: Signature,
}

impl AggregateUDFImpl for RangeRetentionSum {
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
                "How many users started in each period, and how many of them were back after each interval: a text for \
                 each period, of YYYYMMDD and numbers, at least 15 for the intervals, divided by commas.",
                "range_retention_sum(counts bigint[])",
            )
            .with_argument("counts", "A user's range_retention_count(), in the normal format.")
            .with_sql_example(
                "```sql\nSELECT unnest(range_retention_sum(r)) FROM (\n  SELECT range_retention_count(event = 'login', \
                 event = 'pay', day, ARRAY[1, 3, 7], 'day') AS r\n  FROM events GROUP BY user_id);\n```",
            )
            .build()
        });
        Some(&PAGE)
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        match coerced {
            [given] if *given == count_list() => Ok(DataType::List(item_field(DataType::Utf8))),
            [given] => {
                let wanted = "the result of range_retention_count()";
                Err(wrong_type(NAME, "counts", given, wanted).into())
            }
            _ => Err(wrong_call(NAME, coerced.len(), "range_retention_sum(counts)").into()),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(groups(&args)?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "cohorts");
        let data_type = DataType::List(item_field(DataType::Int64));
        Ok(vec![Arc::new(Field::new(name, data_type, true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(groups(&args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let coerce = |given: &DataType| match given {
            DataType::Null => count_list(),
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                if item.data_type().is_integer() || item.data_type().is_null() =>
            {
                count_list()
            }
            other => other.clone(),
        };
        Ok(given.iter().map(coerce).collect())
    }
}

fn count_list() -> DataType {
    DataType::List(item_field(DataType::Int64))
}

fn groups(args: &AccumulatorArgs) -> Result<SumGroups> {
    if args.is_distinct {
        return not_impl_err!("{NAME}(DISTINCT …): two users may well have the same result");
    }
    Ok(SumGroups::default())
}

/// The users who started in one period.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cohort {
    intervals: usize,
    /// How many there are; then how many of them were back after each interval.
    counts: [i64; 1 + MAX_INTERVALS],
}

/// How a cohort is written in a state: its date, the number of intervals, and the counts.
const STATE_LENGTH: usize = 3 + MAX_INTERVALS;

impl Cohort {
    const NOBODY: Self = Self {
        intervals: 0,
        counts: [0; 1 + MAX_INTERVALS],
    };

    /// Counts a user by an element of their result, which is of `YYYYMMDD`.
    fn add_user(&mut self, element: i64) {
        self.intervals = self.intervals.max(intervals_of(element));
        self.counts[0] += 1;
        for at in 0..MAX_INTERVALS {
            self.counts[1 + at] += element >> at & 1;
        }
    }

    fn add(&mut self, intervals: usize, counts: &[i64]) {
        self.intervals = self.intervals.max(intervals);
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum += count;
        }
    }

    fn write(&self, date: i64, text: &mut StringBuilder) -> Result<()> {
        write!(text, "{date}")?;
        let written = 1 + self.intervals.max(WRITTEN_INTERVALS);
        for count in &self.counts[..written] {
            write!(text, ",{count}")?;
        }
        text.append_value("");
        Ok(())
    }
}

fn intervals_of(element: i64) -> usize {
    (element >> MAX_INTERVALS & 0b1_1111) as usize
}

/// The cohorts of each group.
#[derive(Debug, Default)]
pub(super) struct SumGroups {
    /// By group and date.
    cohorts: HashMap<(u32, i64), Cohort>,
    groups: usize,
}

impl SumGroups {
    fn cohort(&mut self, group: usize, date: i64) -> Result<&mut Cohort> {
        let key = (group_number(group)?, date);
        Ok(self.cohorts.entry(key).or_insert(Cohort::NOBODY))
    }

    /// Takes groups out: the cohorts, sorted by date, and how many each group has.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<(i64, Cohort)>, Vec<usize>) {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups,
        };
        let all = std::mem::take(&mut self.cohorts);
        self.groups -= groups;
        let mut taken = Vec::new();
        for ((group, date), cohort) in all {
            match (group as usize).checked_sub(groups) {
                None => taken.push((group, date, cohort)),
                // Less than the u32 that it was.
                Some(moved) => {
                    self.cohorts.insert((moved as u32, date), cohort);
                }
            }
        }
        taken.sort_unstable_by_key(|(group, date, _)| (*group, *date));
        let mut lengths = vec![0; groups];
        for (group, _, _) in &taken {
            lengths[*group as usize] += 1;
        }
        let cohorts = taken.into_iter().map(|(_, date, cohort)| (date, cohort));
        (cohorts.collect(), lengths)
    }
}

impl GroupsAccumulator for SumGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let results = list(column(values, 0)?)?;
        let elements = primitive::<Int64Type>(results.values())?;
        let kept = kept_rows(opt_filter, &[results]);
        each_row(kept.as_ref(), group_indices.len(), |row| {
            for at in items_of(results, row).filter(|at| elements.is_valid(*at)) {
                let element = elements.value(at);
                if !(1..=MAX_INTERVALS).contains(&intervals_of(element)) || element < 0 {
                    return Err(wrong_format(element).into());
                }
                self.cohort(group_indices[row], element >> 32)?
                    .add_user(element);
            }
            Ok(())
        })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (cohorts, lengths) = self.take(emit_to);
        let mut texts = StringBuilder::with_capacity(cohorts.len(), cohorts.len() * 64);
        for (date, cohort) in cohorts {
            cohort.write(date, &mut texts)?;
        }
        lists(Arc::new(texts.finish()), lengths)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (cohorts, mut lengths) = self.take(emit_to);
        let mut items = Vec::with_capacity(cohorts.len() * STATE_LENGTH);
        for (date, cohort) in cohorts {
            items.extend([date, cohort.intervals as i64]);
            items.extend(cohort.counts);
        }
        lengths
            .iter_mut()
            .for_each(|length| *length *= STATE_LENGTH);
        Ok(vec![lists(Arc::new(Int64Array::from(items)), lengths)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let states = list(column(values, 0)?)?;
        let items = primitive::<Int64Type>(states.values())?.values();
        for (row, group) in group_indices.iter().enumerate() {
            for cohort in items[items_of(states, row)].chunks(STATE_LENGTH) {
                let [date, intervals, counts @ ..] = cohort else {
                    return internal_err!("a cohort of {NAME}() has no date");
                };
                self.cohort(*group, *date)?.add(*intervals as usize, counts);
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
        let mut rows = Self::default();
        let groups = (0..column(values, 0)?.len()).collect::<Vec<_>>();
        rows.update_batch(values, &groups, opt_filter, groups.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.cohorts.capacity() * (size_of::<((u32, i64), Cohort)>() + 1)
    }
}

fn wrong_format(element: i64) -> FunnelError {
    FunnelError::InvalidArgument {
        message: format!("{element} is not an element of range_retention_count() in its normal format"),
        hint: "Give it range_retention_count(…, 'normal'); the format 'expand' is to read, not to sum."
            .to_owned(),
    }
}
