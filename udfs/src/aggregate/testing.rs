//! What the tests of aggregates share: SQL in, rows out; and states of parts, merged in any way.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use datafusion::arrow::compute::take;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::logical_expr::{Accumulator, AggregateUDF, EmitTo, GroupsAccumulator};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::one_group::OneGroup;
use crate::scalar::rate_ci::arguments::testing;

/// How many groups the rows of a property's case have.
pub(crate) const GROUPS: usize = 5;

fn context(functions: &[Arc<AggregateUDF>], config: SessionConfig) -> SessionContext {
    let context = SessionContext::new_with_config(config);
    for function in functions {
        context.register_udaf(function.as_ref().clone());
    }
    context
}

/// Runs a statement that calls a function, and compares its rows.
#[track_caller]
pub(crate) fn check(function: &Arc<AggregateUDF>, sql: &str, expected: &[&str]) {
    let functions = [Arc::clone(function)];
    testing::check(&context(&functions, SessionConfig::new()), sql, expected);
}

/// Runs a statement that has to fail, and compares the SQLSTATE and a part of the message.
#[track_caller]
pub(crate) fn check_error(function: &Arc<AggregateUDF>, sql: &str, code: &str, part: &str) {
    let functions = [Arc::clone(function)];
    testing::check_error(&context(&functions, SessionConfig::new()), sql, code, part);
}

/// Runs a statement in 1, 2 and 7 partitions, in large and in small batches, and wants the same rows.
#[track_caller]
pub(crate) fn check_partitions(functions: &[Arc<AggregateUDF>], sql: &str) {
    let rows = |partitions: usize, batch_size: usize, skip: f64| {
        let mut config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(batch_size);
        // Above this ratio of groups to rows, states are made of single rows.
        let options = &mut config.options_mut().execution;
        options.skip_partial_aggregation_probe_ratio_threshold = skip;
        options.skip_partial_aggregation_probe_rows_threshold = 100;
        let context = context(functions, config);
        let batches = testing::block_on(testing::run(&context, sql)).unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    };
    let expected = rows(1, 8_192, 1.1);
    assert_eq!(rows(2, 100, 1.1), expected);
    assert_eq!(rows(7, 64, 0.0), expected);
}

/// How a part of the rows becomes a partial state.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// At once.
    AtOnce,
    /// The first so many groups, then the others.
    InTwo(usize),
    /// Row by row.
    ByRow,
    /// By a state of a state.
    Twice,
}

/// The group and the part of each row, the rows that a filter keeps, and how the parts are merged, in order.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub groups: Vec<usize>,
    of_rows: Vec<usize>,
    merged: Vec<(usize, Way)>,
    first: usize,
}

/// Any division of so many rows into groups and parts.
pub(crate) fn parts(rows: usize) -> impl Strategy<Value = Parts> {
    let way = prop_oneof![
        Just(Way::AtOnce),
        (0..=GROUPS).prop_map(Way::InTwo),
        Just(Way::ByRow),
        Just(Way::Twice)
    ];
    prop_oneof![Just(1_usize), Just(2), Just(7)].prop_flat_map(move |count| {
        let groups = proptest::collection::vec(0..GROUPS, rows);
        let of_rows = proptest::collection::vec(0..count, rows);
        let merged = proptest::collection::vec(way.clone(), count)
            .prop_map(|ways| ways.into_iter().enumerate().collect::<Vec<_>>())
            .prop_shuffle();
        (groups, of_rows, merged, 0..=GROUPS).prop_map(|(groups, of_rows, merged, first)| Parts {
            groups,
            of_rows,
            merged,
            first,
        })
    })
}

impl Parts {
    /// The result of each group, after the parts' states were made and merged; as text.
    ///
    /// On the way it checks that one pass and one group at a time give the same.
    pub fn results<G: GroupsAccumulator + std::fmt::Debug + Sync>(
        &self,
        make: &dyn Fn() -> G,
        columns: &[ArrayRef],
    ) -> Vec<String> {
        let mut merged = make();
        let none = (0..GROUPS).collect::<Vec<_>>();
        let empty = self.rows_where(columns, |_| false).0;
        merged.update_batch(&empty, &[], None, GROUPS).unwrap();
        for (part, way) in &self.merged {
            let (rows, groups) = self.rows_where(columns, |row| self.of_rows[row] == *part);
            merge(make, &mut merged, &rows, &groups, *way, &none);
        }
        let mut results = shown(&merged.evaluate(EmitTo::First(self.first)).unwrap());
        results.extend(shown(&merged.evaluate(EmitTo::All).unwrap()));
        assert_eq!(results, self.in_one_pass(make, columns));
        assert_eq!(results, self.one_by_one(make, columns));
        results
    }

    fn in_one_pass<G: GroupsAccumulator>(
        &self,
        make: &dyn Fn() -> G,
        columns: &[ArrayRef],
    ) -> Vec<String> {
        let mut groups = make();
        let filter = BooleanArray::from(vec![true; self.groups.len()]);
        groups
            .update_batch(columns, &self.groups, Some(&filter), GROUPS)
            .unwrap();
        shown(&groups.evaluate(EmitTo::All).unwrap())
    }

    fn one_by_one<G: GroupsAccumulator + std::fmt::Debug + Sync>(
        &self,
        make: &dyn Fn() -> G,
        columns: &[ArrayRef],
    ) -> Vec<String> {
        let result = |group: usize| {
            let (rows, _) = self.rows_where(columns, |row| self.groups[row] == group);
            let mut accumulator = OneGroup::new(make());
            accumulator.update_batch(&rows).unwrap();
            // To ask twice makes no difference, as a window frame does.
            accumulator.evaluate().unwrap();
            let state = accumulator.state().unwrap();
            let state = state.iter().map(|value| value.to_array().unwrap());
            let mut merged = OneGroup::new(make());
            merged.merge_batch(&state.collect::<Vec<_>>()).unwrap();
            shown(&merged.evaluate().unwrap().to_array().unwrap()).remove(0)
        };
        (0..GROUPS).map(result).collect()
    }

    fn rows_where(
        &self,
        columns: &[ArrayRef],
        keep: impl Fn(usize) -> bool,
    ) -> (Vec<ArrayRef>, Vec<usize>) {
        let kept = (0..self.groups.len()).filter(|row| keep(*row));
        let kept = kept.collect::<Vec<_>>();
        let places = kept.iter().map(|row| *row as u32).collect::<UInt32Array>();
        let rows = columns
            .iter()
            .map(|column| take(column, &places, None).unwrap());
        (
            rows.collect(),
            kept.iter().map(|row| self.groups[*row]).collect(),
        )
    }
}

fn merge<G: GroupsAccumulator>(
    make: &dyn Fn() -> G,
    target: &mut G,
    rows: &[ArrayRef],
    groups: &[usize],
    way: Way,
    all: &[usize],
) {
    let mut partial = make();
    match way {
        Way::ByRow => {
            let state = partial.convert_to_state(rows, None).unwrap();
            return target.merge_batch(&state, groups, GROUPS).unwrap();
        }
        Way::Twice => merge(make, &mut partial, rows, groups, Way::AtOnce, all),
        Way::AtOnce | Way::InTwo(_) => partial.update_batch(rows, groups, None, GROUPS).unwrap(),
    }
    let first = if let Way::InTwo(first) = way {
        first
    } else {
        0
    };
    let state = partial.state(EmitTo::First(first)).unwrap();
    target.merge_batch(&state, &all[..first], GROUPS).unwrap();
    let state = partial.state(EmitTo::All).unwrap();
    target.merge_batch(&state, &all[first..], GROUPS).unwrap();
}

/// Each value as text.
pub(crate) fn shown(column: &dyn Array) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}
