//! Who came, and what of all else did they do? One row for each entity, of 0s and 1s to sum up.
//!
//! ```sql
//! SELECT sum(r[1]) AS came, sum(r[2]) AS came_back FROM (
//!   SELECT retention(day = '2026-01-05', day = '2026-01-06') AS r FROM visits GROUP BY user_id)
//! ```
//!
//! `r[1]` = any row meets condition 1; `r[i]` = `r[1]` and any row meets condition i. Different rows may meet
//! different conditions, in any order of time, so ties can't matter.
//!
//! NULL condition: false. DIFFERENCE: ClickHouse leaves out a whole row for one NULL; here its other conditions
//! count. An integer is a condition that is met unless it is 0. No rows: all 0.
//!
//! The conditions may also be one array, as in StarRocks. Then the result is as long as the longest array of the
//! group: what an array doesn't have isn't met, a NULL array has none, and without any row the result is empty.
//!
//! Cost: a look at each condition that is true. State: 8 bytes a group, 9 for arrays. Source: ClickHouse,
//! `AggregateFunctionRetention`; StarRocks' `retention` for arrays.

use std::mem::{size_of, size_of_val};
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, Int32Array, UInt8Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, UInt8Type, UInt64Type};
use datafusion::common::Result;
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};

use super::calls::{check_conditions, condition_type, plain, too_many, wrong_call, wrong_type};
use super::columns::{
    column, each_row, item_field, items_of, kept_rows, list, lists, mask_column, primitive,
    true_bits,
};
use super::hits::MAX_CONDITIONS;
use super::one_group::OneGroup;

const NAME: &str = "retention";

/// Who meets condition 1, and which of the others do they meet?
///
/// - `condition1, …`: 1 to 64 Booleans or integers; or one list of them
/// - returns `List<Int32>` of 0 and 1, as long as there are conditions; never NULL
/// - errors: 42883 without a condition, 42804 for a condition that is none, 22023 for more than 64
/// ```slt
/// query ?
/// SELECT retention(day = 1, day = 2, day = 3) FROM (VALUES (1), (3)) AS visits(day)
/// ----
/// {1,0,1}
/// ```
pub fn retention_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(Retention {
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// `retention(condition1, …)` and `retention(conditions[])`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Retention {
    signature: Signature,
}

impl Retention {
    fn groups(args: &AccumulatorArgs) -> RetentionGroups {
        let of_lists = args
            .expr_fields
            .first()
            .is_some_and(|field| is_list(field.data_type()));
        RetentionGroups {
            masks: Vec::new(),
            lengths: match of_lists {
                true => Lengths::Longest(Vec::new()),
                false => Lengths::Same(args.exprs.len()),
            },
        }
    }
}

impl AggregateUDFImpl for Retention {
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
                "Who met the first condition, and which of the others did they meet: a list of 0 and 1. The first is 1 \
                 if any row meets condition 1; each other is 1 if so, and any row meets its condition. The order of \
                 rows doesn't matter; NULL is false.",
                "retention(condition1 boolean [, condition2 boolean, ...])",
            )
            .with_argument(
                "condition1",
                "Who counts at all. The conditions, up to 64, may also be one array: retention(ARRAY[a, b]).",
            )
            .with_argument("condition2", "What else they may have done.")
            .with_sql_example(
                "```sql\nSELECT sum(r[1]) AS came, sum(r[2]) AS came_back FROM (\n  SELECT retention(day = DATE \
                 '2026-01-05', day = DATE '2026-01-06') AS r FROM visits GROUP BY user_id);\n```",
            )
            .build()
        });
        Some(&PAGE)
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        match coerced {
            [] => return Err(wrong_call(NAME, 0, "retention(condition1, …)").into()),
            [given] if is_list(given) => {
                if *given != condition_list() {
                    let wanted = "conditions, or one array of booleans";
                    return Err(wrong_type(NAME, "condition1", given, wanted).into());
                }
            }
            conditions => {
                if conditions.len() > MAX_CONDITIONS {
                    return Err(
                        too_many(NAME, "conditions", conditions.len(), MAX_CONDITIONS).into(),
                    );
                }
                check_conditions(NAME, conditions, |at| format!("condition{}", at + 1))?;
            }
        }
        Ok(DataType::List(item_field(DataType::Int32)))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(Self::groups(&args))))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part, data_type| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, data_type, true))
        };
        let mut fields = vec![field("mask", DataType::UInt64)];
        if matches!(args.input_fields, [only] if is_list(only.data_type())) {
            fields.push(field("length", DataType::UInt8));
        }
        Ok(fields)
    }

    /// Always: neither DISTINCT nor ORDER BY makes a difference.
    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Self::groups(&args)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if let [
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _),
        ] = given
        {
            return Ok(match condition_type(plain(item.data_type())) {
                DataType::Boolean => vec![condition_list()],
                _ => given.to_vec(),
            });
        }
        Ok(given.iter().map(condition_type).collect())
    }
}

fn is_list(given: &DataType) -> bool {
    matches!(
        given,
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
    )
}

fn condition_list() -> DataType {
    DataType::List(item_field(DataType::Boolean))
}

/// How many conditions there are.
#[derive(Debug, Clone)]
enum Lengths {
    /// As many as the call has.
    Same(usize),
    /// For each group, as many as its longest array has.
    Longest(Vec<u8>),
}

/// The conditions that any row of each group meets.
#[derive(Debug)]
struct RetentionGroups {
    /// Bit i - 1 for condition i.
    masks: Vec<u64>,
    lengths: Lengths,
}

impl RetentionGroups {
    fn set_groups(&mut self, groups: usize) {
        self.masks.resize(groups, 0);
        if let Lengths::Longest(lengths) = &mut self.lengths {
            lengths.resize(groups, 0);
        }
    }

    fn add_conditions(
        &mut self,
        conditions: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) {
        let kept = filter.map(true_bits);
        for (at, condition) in conditions.iter().enumerate() {
            let mut met = true_bits(condition.as_boolean());
            if let Some(kept) = &kept {
                met = &met & kept;
            }
            for row in met.set_indices() {
                self.masks[groups[row]] |= 1 << at;
            }
        }
    }

    fn add_lists(
        &mut self,
        conditions: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
    ) -> Result<()> {
        let conditions = list(conditions)?;
        let met = true_bits(conditions.values().as_boolean());
        let Lengths::Longest(lengths) = &mut self.lengths else {
            return Ok(());
        };
        let kept = kept_rows(filter, &[conditions]);
        each_row(kept.as_ref(), groups.len(), |row| {
            let items = items_of(conditions, row);
            let length = u8::try_from(items.len())
                .ok()
                .filter(|length| usize::from(*length) <= MAX_CONDITIONS)
                .ok_or_else(|| too_many(NAME, "conditions", items.len(), MAX_CONDITIONS))?;
            let group = groups[row];
            lengths[group] = lengths[group].max(length);
            for (at, item) in items.enumerate() {
                self.masks[group] |= u64::from(met.value(item)) << at;
            }
            Ok(())
        })
    }

    /// The masks and lengths of the groups that are taken out.
    fn take(&mut self, emit_to: EmitTo) -> (Vec<u64>, Lengths) {
        let lengths = match &mut self.lengths {
            Lengths::Same(length) => Lengths::Same(*length),
            Lengths::Longest(lengths) => Lengths::Longest(emit_to.take_needed(lengths)),
        };
        (emit_to.take_needed(&mut self.masks), lengths)
    }
}

impl GroupsAccumulator for RetentionGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.set_groups(total_num_groups);
        match self.lengths {
            Lengths::Same(_) => {
                self.add_conditions(values, group_indices, opt_filter);
                Ok(())
            }
            Lengths::Longest(_) => self.add_lists(column(values, 0)?, group_indices, opt_filter),
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (masks, lengths) = self.take(emit_to);
        let lengths = match lengths {
            Lengths::Same(length) => vec![length; masks.len()],
            Lengths::Longest(lengths) => lengths.into_iter().map(usize::from).collect(),
        };
        let items = masks.into_iter().zip(&lengths).flat_map(|(mask, length)| {
            // Without condition 1 nothing counts.
            let counted = if mask & 1 == 1 { mask } else { 0 };
            (0..*length).map(move |at| (counted >> at & 1) as i32)
        });
        let items = Arc::new(Int32Array::from_iter_values(items));
        lists(items, lengths)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (masks, lengths) = self.take(emit_to);
        let mut columns = vec![mask_column(masks)];
        if let Lengths::Longest(lengths) = lengths {
            columns.push(Arc::new(UInt8Array::from(lengths)));
        }
        Ok(columns)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.set_groups(total_num_groups);
        let masks = primitive::<UInt64Type>(column(values, 0)?)?;
        for (group, mask) in group_indices.iter().zip(masks.values()) {
            self.masks[*group] |= mask;
        }
        if let Lengths::Longest(lengths) = &mut self.lengths {
            let merged = primitive::<UInt8Type>(column(values, 1)?)?;
            for (group, length) in group_indices.iter().zip(merged.values()) {
                lengths[*group] = lengths[*group].max(*length);
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
        let mut rows = Self {
            masks: Vec::new(),
            lengths: match self.lengths {
                Lengths::Same(length) => Lengths::Same(length),
                Lengths::Longest(_) => Lengths::Longest(Vec::new()),
            },
        };
        let groups = (0..column(values, 0)?.len()).collect::<Vec<_>>();
        rows.update_batch(values, &groups, opt_filter, groups.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        let lengths = match &self.lengths {
            Lengths::Same(_) => 0,
            Lengths::Longest(lengths) => lengths.capacity(),
        };
        size_of_val(self) + self.masks.capacity() * size_of::<u64>() + lengths
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::testing::{self, Parts, parts};

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        testing::check(&retention_udaf(), sql, expected);
    }

    #[track_caller]
    fn check_error(sql: &str, code: &str, part: &str) {
        testing::check_error(&retention_udaf(), sql, code, part);
    }

    const VISITS: &str = "(VALUES (1, '一月', 1), (1, '二月', 3), (2, '一月', 2), (3, '三月', 1)) \
        AS visits(id, 月, day)";

    #[test]
    fn each_element_needs_the_first() {
        check(
            &format!(
                "SELECT id, retention(月 = '一月', 月 = '二月', day = 1) FROM {VISITS} GROUP BY id ORDER BY id"
            ),
            &["1 [1, 1, 1]", "2 [1, 0, 0]", "3 [0, 0, 0]"],
        );
    }

    #[test]
    fn sums_are_the_answer() {
        check(
            &format!(
                "SELECT sum(r[1]), sum(r[2]) FROM (SELECT retention(day < 3, day = 3) AS r FROM {VISITS} GROUP BY id)"
            ),
            &["3 1"],
        );
    }

    #[test]
    fn integers_and_nulls_are_conditions() {
        // ClickHouse 26.9 takes UInt8 only, and there any value but 0 is true.
        check(
            "SELECT retention(a, b, NULL, true) FROM (VALUES (2, NULL), (NULL, -1)) AS t(a, b)",
            &["[1, 1, 0, 1]"],
        );
        check("SELECT retention(1)", &["[1]"]);
    }

    #[test]
    fn without_rows_all_are_0() {
        check(
            &format!("SELECT retention(true, day = 1) FROM {VISITS} WHERE day > 9"),
            &["[0, 0]"],
        );
        check(
            &format!(
                "SELECT id, retention(true, day = 1) FILTER (WHERE day > 2) FROM {VISITS} GROUP BY id ORDER BY id"
            ),
            &["1 [1, 0]", "2 [0, 0]", "3 [0, 0]"],
        );
    }

    #[test]
    fn an_array_is_the_conditions_too() {
        check(
            &format!(
                "SELECT id, retention([月 = '一月', 月 = '二月', day = 1]) FROM {VISITS} GROUP BY id ORDER BY id"
            ),
            &["1 [1, 1, 1]", "2 [1, 0, 0]", "3 [0, 0, 0]"],
        );
        check(
            "SELECT retention(c) FROM (VALUES ([1, 0]), ([0, 0, NULL, 7]), (NULL), ([])) AS t(c)",
            &["[1, 0, 0, 1]"],
        );
        check(
            "SELECT retention(arrow_cast([1, 2], 'FixedSizeList(2, Int64)')), \
             retention(arrow_cast([true, false], 'LargeList(Boolean)')) FROM (VALUES (1)) AS t(a)",
            &["[1, 1] [1, 0]"],
        );
    }

    #[test]
    fn an_array_of_no_row_is_empty() {
        check(
            "SELECT retention([true, false]) FROM (VALUES (1)) AS t(a) WHERE a > 1",
            &["[]"],
        );
        check(
            "SELECT retention(c) FROM (VALUES (arrow_cast(NULL, 'List(Boolean)'))) AS t(c)",
            &["[]"],
        );
    }

    #[test]
    fn a_window_frame_grows() {
        check(
            &format!(
                "SELECT day, retention(day = 1, day = 2) OVER (ORDER BY day) FROM {VISITS} ORDER BY day"
            ),
            &["1 [1, 0]", "1 [1, 0]", "2 [1, 1]", "3 [1, 1]"],
        );
    }

    #[test]
    fn impossible_arguments_are_errors() {
        check_error(
            "SELECT retention('a' = 'a', 'b')",
            "42804",
            "argument condition2 of retention() can't be Utf8 HINT: Give it a boolean.",
        );
        check_error(
            "SELECT retention(['a', 'b'])",
            "42804",
            "argument condition1 of retention() can't be List",
        );
        let conditions = vec!["true"; 65].join(", ");
        check_error(
            &format!("SELECT retention({conditions})"),
            "22023",
            "retention() can't take 65 conditions HINT: Write at most 64.",
        );
        check_error(
            &format!("SELECT retention([{conditions}])"),
            "22023",
            "retention() can't take 65 conditions",
        );
        let conditions = vec!["true"; 64].join(", ");
        check(
            &format!("SELECT array_length(retention({conditions})), retention([{conditions}])[64]"),
            &["64 1"],
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        testing::check_partitions(
            &[retention_udaf()],
            "SELECT v % 7001 AS g, retention(v % 3 = 0, v % 5 < 2, v % 11 = 3) AS a, \
             retention([v % 3 = 0, v % 5 < 2]) FILTER (WHERE v % 2 = 0) AS b \
             FROM generate_series(1, 30000) AS s(v) GROUP BY g ORDER BY g",
        );
    }

    fn of_conditions() -> RetentionGroups {
        RetentionGroups {
            masks: Vec::new(),
            lengths: Lengths::Same(3),
        }
    }

    fn rows() -> impl Strategy<Value = (Vec<[Option<bool>; 3]>, Parts)> {
        let row = proptest::array::uniform3(proptest::option::of(any::<bool>()));
        proptest::collection::vec(row, 0..40).prop_flat_map(|rows| {
            let length = rows.len();
            (Just(rows), parts(length))
        })
    }

    proptest! {
        #[test]
        fn parts_are_one_pass((rows, parts) in rows()) {
            let columns = (0..3)
                .map(|at| Arc::new(rows.iter().map(|row| row[at]).collect::<BooleanArray>()) as ArrayRef)
                .collect::<Vec<_>>();
            let found = parts.results(&of_conditions, &columns);
            for (group, found) in found.iter().enumerate() {
                let met = |at: usize| rows.iter().zip(&parts.groups)
                    .any(|(row, of)| *of == group && row[at] == Some(true));
                let expected = (0..3).map(|at| i32::from(met(0) && met(at))).collect::<Vec<_>>();
                prop_assert_eq!(found, &format!("{expected:?}"));
            }
        }
    }

    #[test]
    fn the_memory_that_it_says_follows_the_groups() {
        let mut groups = of_conditions();
        let empty = groups.size();
        groups.set_groups(1_000);
        assert!(groups.size() >= empty + 8_000);
        groups.evaluate(EmitTo::All).unwrap();
        assert_eq!(groups.size(), empty);
    }
}
