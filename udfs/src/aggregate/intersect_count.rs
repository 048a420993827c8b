//! How many users did all of this? `intersect_count(user_id, page, 'home', 'cart')` were on both pages.
//!
//! `intersect_count(user, filter, v1, v2, …)` = the number of distinct users who have, for every value listed, a row
//! where `filter` is that value. One value counts its distinct users; a value listed twice is listed once. Different
//! rows may have different values, in any order of time.
//!
//! NULL: a row whose user or filter is NULL is left out, and no row has a NULL listed as a value, so the count is 0
//! with one. No rows: 0, never NULL.
//!
//! Users may be of any type that can be compared; StarRocks and Doris, which this name is from, have a bitmap there.
//! The values are literals, at most 64, coerced to one type with the filter as `filter = value` would be.
//!
//! Cost: a comparison of each row for each value; rows of a listed value are then looked up by user. State: each
//! distinct user once, and 20 bytes for each user in a group. Source: StarRocks' documentation of `intersect_count`.

use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int64Array, UInt64Array,
};
use datafusion::arrow::compute::{filter, kernels::cmp::eq};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::logical_expr::aggregate_doc_sections::DOC_SECTION_GENERAL;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    Signature, Volatility,
};

use super::calls::{plain, too_many, wrong_call, wrong_type};
use super::columns::{
    column, item_field, items_of, kept_rows, list, lists, mask_column, primitive, true_bits,
};
use super::distinct_keys::{DistinctKeys, KeyColumn};
use super::group_log::GroupLog;
use super::hits::MAX_CONDITIONS;
use super::journey::arguments::literal;
use super::one_group::OneGroup;

const NAME: &str = "intersect_count";

/// How many users have rows of every listed value?
///
/// - `user`: any type that can be compared
/// - `filter`: any type; `value1, …`: 1 to 64 literals to compare it with
/// - returns Int64; 0 without rows
/// - errors: 42883 without a value, 42804 for a value that can't be compared with the filter, 22023 for more than 64
///   and for one that is no literal
/// ```slt
/// query I
/// SELECT intersect_count(id, page, 'home', 'cart') FROM (VALUES (1, 'home'), (1, 'cart'), (2, 'cart')) AS v(id, page)
/// ----
/// 1
/// ```
pub fn intersect_count_udaf() -> Arc<AggregateUDF> {
    static FUNCTION: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| {
        Arc::new(AggregateUDF::from(IntersectCount {
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    });
    Arc::clone(&FUNCTION)
}

/// `intersect_count(user, filter, value1, …)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntersectCount {
    signature: Signature,
}

impl IntersectCount {
    fn groups(args: &AccumulatorArgs) -> Result<IntersectGroups> {
        let [user, _, ..] = args.expr_fields else {
            return Err(internal_datafusion_err!("{NAME}() has no user"));
        };
        let mut values = Vec::new();
        for (at, expr) in args.exprs.iter().enumerate().skip(2) {
            values.push(literal(expr, NAME, &value_name(at))?);
        }
        IntersectGroups::try_new(user.data_type(), values.into())
    }
}

/// What an argument is called.
fn value_name(position: usize) -> String {
    format!("value{}", position - 1)
}

impl AggregateUDFImpl for IntersectCount {
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
                "How many distinct users have rows of every listed value. Rows without a user or a value are left out.",
                "intersect_count(user any, filter any, value1 any [, value2 any, ...])",
            )
            .with_argument("user", "Who: a number, text, or any other type that can be compared.")
            .with_argument("filter", "What the values are compared with.")
            .with_argument("value1", "A literal; there may be up to 64.")
            .with_sql_example(
                "```sql\nSELECT intersect_count(user_id, page, 'home', 'cart', 'paid') FROM visits;\n```",
            )
            .build()
        });
        Some(&PAGE)
    }

    fn return_type(&self, coerced: &[DataType]) -> Result<DataType> {
        let [user, filter, values @ ..] = coerced else {
            return Err(wrong_call(NAME, coerced.len(), SYNTAX).into());
        };
        if values.is_empty() {
            return Err(wrong_call(NAME, coerced.len(), SYNTAX).into());
        }
        if values.len() > MAX_CONDITIONS {
            return Err(too_many(NAME, "values", values.len(), MAX_CONDITIONS).into());
        }
        if !RowConverter::supports_fields(&[SortField::new(user.clone())]) {
            return Err(wrong_type(NAME, "user", user, "a type that can be compared").into());
        }
        if let Some(at) = values.iter().position(|value| value != filter) {
            let wanted = format!("a value to compare {filter} with");
            return Err(wrong_type(NAME, &value_name(at + 2), &values[at], &wanted).into());
        }
        if filter.is_nested() {
            return Err(wrong_type(NAME, "filter", filter, "a number, text or time").into());
        }
        Ok(DataType::Int64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(Self::groups(&args)?)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part, items| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, DataType::List(item_field(items)), true))
        };
        Ok(vec![
            field("users", DataType::Binary),
            field("masks", DataType::UInt64),
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
        Ok(Box::new(Self::groups(&args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let mut coerced = given.to_vec();
        let [user, compared @ ..] = coerced.as_mut_slice() else {
            return Ok(coerced);
        };
        *user = plain(user).clone();
        let mut types = compared.iter().map(|given| plain(given).clone());
        let first = types.next().unwrap_or(DataType::Null);
        if let Some(common) = types.try_fold(first, |known, given| common_type(&known, &given)) {
            compared.fill(common);
        }
        Ok(coerced)
    }
}

const SYNTAX: &str = "intersect_count(user, filter, value1, …)";

fn common_type(known: &DataType, given: &DataType) -> Option<DataType> {
    if given.is_null() || known == given {
        return Some(known.clone());
    }
    if known.is_null() {
        return Some(given.clone());
    }
    comparison_coercion(known, given)
}

/// Which of the values a user has in a group: bit i - 1 for value i.
#[derive(Debug, Clone, Copy)]
struct Presence {
    user: u32,
    mask: u64,
}

/// The users of each group, with the values that they have.
#[derive(Debug)]
struct IntersectGroups {
    values: Arc<[ScalarValue]>,
    converter: Arc<RowConverter>,
    users: DistinctKeys,
    log: GroupLog<Presence>,
}

impl IntersectGroups {
    fn try_new(user: &DataType, values: Arc<[ScalarValue]>) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(user.clone())])?;
        Ok(Self {
            values,
            converter: Arc::new(converter),
            users: DistinctKeys::default(),
            log: GroupLog::default(),
        })
    }

    /// The values that each row has.
    fn masks(&self, filter: &ArrayRef) -> Result<Vec<u64>> {
        let mut masks = vec![0; filter.len()];
        for (at, value) in self.values.iter().enumerate() {
            if value.is_null() {
                continue;
            }
            let equal = eq(filter, &value.to_scalar()?)?;
            for row in true_bits(&equal).set_indices() {
                masks[row] |= 1 << at;
            }
        }
        Ok(masks)
    }

    fn tidy_log(&mut self) -> Result<()> {
        if self.log.tidy_if_doubled(merge_users) {
            let uses = self.log.items_mut();
            let count = uses.len();
            self.users
                .forget_unused(count, uses.iter_mut().map(|item| &mut item.user))?;
        }
        Ok(())
    }

    /// Takes groups out: each user of a group once.
    fn take<T>(
        &mut self,
        emit_to: EmitTo,
        mut each: impl FnMut(&[Presence], &DistinctKeys) -> T,
    ) -> Result<Vec<T>> {
        let mut runs = self.log.take(emit_to);
        let mut kept = Vec::new();
        let taken = runs.iter_mut().map(|run| {
            kept.clear();
            merge_users(run, &mut kept);
            each(&kept, &self.users)
        });
        let taken = taken.collect();
        // The users of the groups that stay; none if all were taken.
        let uses = self.log.items_mut();
        let count = uses.len();
        self.users
            .forget_unused(count, uses.iter_mut().map(|item| &mut item.user))?;
        if emit_to == EmitTo::All {
            self.users = DistinctKeys::default();
        }
        Ok(taken)
    }
}

/// Brings the values of each user together.
fn merge_users(run: &mut [Presence], kept: &mut Vec<Presence>) {
    run.sort_unstable_by_key(|item| item.user);
    let start = kept.len();
    for item in run {
        match kept[start..].last_mut() {
            Some(last) if last.user == item.user => last.mask |= item.mask,
            _ => kept.push(*item),
        }
    }
}

impl GroupsAccumulator for IntersectGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let (users, masks) = (column(values, 0)?, self.masks(column(values, 1)?)?);
        let mut wanted = masks.iter().map(|mask| *mask != 0).collect::<Vec<_>>();
        if let Some(kept) = kept_rows(opt_filter, &[users.as_ref()]) {
            for (wanted, kept) in wanted.iter_mut().zip(&kept) {
                *wanted &= kept;
            }
        }
        let wanted = BooleanArray::from(wanted);
        let rows = self.converter.convert_columns(&[filter(users, &wanted)?])?;
        let mut keys = KeyColumn::Rows(rows);
        for (at, row) in wanted.values().set_indices().enumerate() {
            let user = keys.number_of(at, &mut self.users)?;
            let mask = masks[row];
            self.log.push(group_indices[row], Presence { user, mask })?;
        }
        self.tidy_log()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let all = u64::MAX >> (MAX_CONDITIONS - self.values.len());
        let count = |users: &[Presence], _: &DistinctKeys| {
            users.iter().filter(|item| item.mask == all).count() as i64
        };
        let counts = self.take(emit_to, count)?;
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (mut users, mut masks) = (BinaryBuilder::new(), Vec::new());
        let lengths = self.take(emit_to, |items, keys| {
            for item in items {
                users.append_value(keys.key(item.user));
                masks.push(item.mask);
            }
            items.len()
        })?;
        Ok(vec![
            lists(Arc::new(users.finish()), lengths.clone())?,
            lists(mask_column(masks), lengths)?,
        ])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.log.set_groups(total_num_groups);
        let (user_lists, mask_lists) = (list(column(values, 0)?)?, list(column(values, 1)?)?);
        let users: &BinaryArray = user_lists.values().as_binary();
        let masks: &UInt64Array = primitive::<UInt64Type>(mask_lists.values())?;
        for (row, group) in group_indices.iter().enumerate() {
            for (user, mask) in items_of(user_lists, row).zip(items_of(mask_lists, row)) {
                let user = self.users.number_of(users.value(user))?;
                let mask = masks.value(mask);
                self.log.push(*group, Presence { user, mask })?;
            }
        }
        self.tidy_log()
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut rows = Self {
            values: Arc::clone(&self.values),
            converter: Arc::clone(&self.converter),
            users: DistinctKeys::default(),
            log: GroupLog::default(),
        };
        let groups = (0..column(values, 0)?.len()).collect::<Vec<_>>();
        rows.update_batch(values, &groups, opt_filter, groups.len())?;
        rows.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.users.heap_size() + self.log.heap_size()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeSet;

    use datafusion::arrow::array::{Int32Array, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::aggregate::testing::{self, Parts, parts};

    const VISITS: &str = "(VALUES (1, '首页', 1), (1, '购物车', 2), (2, '购物车', 1), (2, '首页', 1), (2, '首页', 2), \
        (3, '首页', 3), (NULL, '首页', 3), (3, NULL, 3)) AS visits(id, page, day)";

    #[track_caller]
    fn check(sql: &str, expected: &[&str]) {
        testing::check(
            &intersect_count_udaf(),
            &sql.replace("VISITS", VISITS),
            expected,
        );
    }

    #[track_caller]
    fn check_error(sql: &str, code: &str, part: &str) {
        testing::check_error(
            &intersect_count_udaf(),
            &sql.replace("VISITS", VISITS),
            code,
            part,
        );
    }

    #[test]
    fn users_need_every_value() {
        check(
            "SELECT intersect_count(id, page, '首页'), intersect_count(id, page, '首页', '购物车'), \
             intersect_count(id, page, '首页', '首页'), intersect_count(id, page, '首页', '付款') FROM VISITS",
            &["3 2 3 0"],
        );
        check(
            "SELECT day, intersect_count(id, page, '首页', '购物车') FROM VISITS GROUP BY day ORDER BY day",
            &["1 1", "2 0", "3 0"],
        );
    }

    #[test]
    fn nulls_and_no_rows_count_nobody() {
        check(
            "SELECT intersect_count(id, page, '首页', NULL) FROM VISITS",
            &["0"],
        );
        check(
            "SELECT intersect_count(id, NULL, '首页') FROM VISITS",
            &["0"],
        );
        check(
            "SELECT intersect_count(NULL, page, '首页') FROM VISITS",
            &["0"],
        );
        check(
            "SELECT intersect_count(id, page, '首页') FROM VISITS WHERE id > 9",
            &["0"],
        );
    }

    #[test]
    fn users_and_values_of_any_type() {
        for user in [
            "id",
            "arrow_cast(id, 'Utf8')",
            "arrow_cast(id, 'Utf8View')",
            "arrow_cast(id, 'Decimal128(9, 2)')",
            "[id]",
            "arrow_cast(arrow_cast(id, 'Utf8'), 'Dictionary(Int32, Utf8)')",
        ] {
            let users = if user == "[id]" { 4 } else { 3 };
            check(
                &format!("SELECT intersect_count({user}, page, '首页') FROM VISITS"),
                &[&users.to_string()],
            );
        }
        for (value, one, two) in [
            ("day", "1", "2"),
            ("day", "1.0", "2"),
            ("arrow_cast(day, 'UInt8')", "1", "2"),
            (
                "arrow_cast(day, 'Date32')",
                "'1970-01-02'",
                "DATE '1970-01-03'",
            ),
            (
                "arrow_cast(arrow_cast(day, 'Utf8'), 'Dictionary(Int32, Utf8)')",
                "'1'",
                "'2'",
            ),
            (
                "arrow_cast(arrow_cast(day, 'Utf8'), 'Utf8View')",
                "'1'",
                "arrow_cast('2', 'LargeUtf8')",
            ),
        ] {
            check(
                &format!("SELECT intersect_count(id, {value}, {one}, {two}) FROM VISITS"),
                &["2"],
            );
        }
    }

    #[test]
    fn filters_and_growing_frames() {
        check(
            "SELECT intersect_count(id, page, '首页', '购物车') FILTER (WHERE day = 1) FROM VISITS",
            &["1"],
        );
        check(
            "SELECT DISTINCT day, intersect_count(id, page, '首页', '购物车') OVER (ORDER BY day) FROM VISITS ORDER BY day",
            &["1 1", "2 2", "3 2"],
        );
    }

    #[test]
    fn wrong_calls_are_errors() {
        check_error(
            "SELECT intersect_count(id, page) FROM VISITS",
            "42883",
            "HINT: Write intersect_count(user, filter, value1, …).",
        );
        check_error(
            "SELECT intersect_count(id, page, page) FROM VISITS",
            "22023",
            "argument value1 of intersect_count() is not a literal",
        );
        check_error(
            "SELECT intersect_count(id, page, '首页', true) FROM VISITS",
            "42804",
            "argument value2 of intersect_count() can't be Boolean",
        );
        let values = vec!["1"; 65].join(", ");
        check_error(
            &format!("SELECT intersect_count(id, day, {values}) FROM VISITS"),
            "22023",
            "can't take 65 values HINT: Write at most 64.",
        );
        let values = (0..64)
            .map(|value| value.to_string())
            .collect::<Vec<_>>()
            .join(", ");
        check(
            &format!(
                "SELECT intersect_count(v % 3, v, {values}), intersect_count(7, v, {values}) FROM generate_series(0, 63) AS s(v)"
            ),
            &["0 1"],
        );
    }

    #[test]
    fn many_partitions_equal_one() {
        testing::check_partitions(
            &[intersect_count_udaf()],
            "SELECT v % 11 AS g, intersect_count('用户' || (v % 997), v % 7, 1, 2, 3) AS a, \
             intersect_count(v % 99, v % 7, 1, 2) FILTER (WHERE v % 2 = 0) AS b \
             FROM generate_series(1, 30000) AS s(v) GROUP BY g ORDER BY g",
        );
    }

    type Visit = (Option<i32>, Option<u8>);

    fn rows() -> impl Strategy<Value = (Vec<Visit>, Parts)> {
        let row = (proptest::option::of(0..4), proptest::option::of(0..4_u8));
        proptest::collection::vec(row, 0..40).prop_flat_map(|rows| {
            let length = rows.len();
            (Just(rows), parts(length))
        })
    }

    proptest! {
        #[test]
        fn parts_are_one_pass((rows, parts) in rows()) {
            let users = rows.iter().map(|row| row.0).collect::<Int32Array>();
            let pages = rows.iter().map(|row| row.1.map(|page| format!("页{page}"))).collect::<StringArray>();
            let values = ["页0", "页2"].map(ScalarValue::from);
            let make = || IntersectGroups::try_new(&DataType::Int32, values.to_vec().into()).unwrap();
            let found = parts.results(&make, &[Arc::new(users), Arc::new(pages)]);
            for (group, found) in found.iter().enumerate() {
                let of = |page: u8| rows.iter().zip(&parts.groups)
                    .filter(|(row, of)| **of == group && row.1 == Some(page))
                    .filter_map(|(row, _)| row.0)
                    .collect::<BTreeSet<_>>();
                prop_assert_eq!(found, &of(0).intersection(&of(2)).count().to_string());
            }
        }
    }

    #[test]
    fn repeated_rows_take_no_room() {
        let values = [ScalarValue::from(1), ScalarValue::from(2)];
        let mut groups =
            IntersectGroups::try_new(&DataType::Int32, values.to_vec().into()).unwrap();
        let empty = groups.size();
        let users = Arc::new((0..1_000).map(|row| row % 100).collect::<Int32Array>()) as ArrayRef;
        let days = Arc::new((0..1_000).map(|row| row % 3).collect::<Int32Array>()) as ArrayRef;
        let of_rows = (0..1_000).map(|row| row / 500).collect::<Vec<_>>();
        for _ in 0..1_000 {
            groups
                .update_batch(&[Arc::clone(&users), Arc::clone(&days)], &of_rows, None, 2)
                .unwrap();
        }
        assert!(groups.size() < 300_000, "{}", groups.size());
        assert_eq!(
            testing::shown(&groups.evaluate(EmitTo::First(1)).unwrap()),
            ["100"]
        );
        assert_eq!(
            testing::shown(&groups.evaluate(EmitTo::All).unwrap()),
            ["100"]
        );
        assert_eq!(groups.size(), empty);
    }
}
