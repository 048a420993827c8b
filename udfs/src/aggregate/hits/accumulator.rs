//! The accumulator of every function over the hits of a group.

use std::fmt::Debug;
use std::mem::size_of_val;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::Hit;
use super::log::{HitLog, HitRuns, Mask};

/// What a function makes of the hits of each group.
pub(crate) trait HitFunction: Debug + Clone + Send + Sync + 'static {
    /// Results of the groups so far.
    type Results;

    /// No result yet, of so many groups to come.
    fn results(&self, groups: usize) -> Self::Results;

    /// Appends the result of the next group, whose hits come sorted by time and conditions.
    fn append(&self, hits: &[Hit], results: &mut Self::Results);

    /// The column of results.
    ///
    /// # Errors
    /// XX000 when the results don't fit their column.
    fn finish(&self, results: Self::Results) -> Result<ArrayRef>;

    /// Whether rows that meet no condition matter.
    fn needs_all_rows(&self) -> bool;
}

/// What the arguments of a call are: a time and a set of conditions for each row.
pub(crate) trait HitArguments: Debug + Send + Sync + 'static {
    /// The columns of time and conditions, the latter as unsigned numbers.
    ///
    /// # Errors
    /// XX000 for other columns than the planner checked.
    fn columns(&self, values: &[ArrayRef]) -> Result<(ArrayRef, ArrayRef)>;
}

/// A [`HitFunction`] of any kind, for those who only need its results.
pub(crate) trait HitResults: Debug + Send + Sync {
    /// The column of each group's result, the groups in order.
    ///
    /// # Errors
    /// XX000 when the results don't fit their column.
    fn results_of(&self, runs: &mut HitRuns) -> Result<ArrayRef>;

    /// Whether a group without a hit has NULL as its result.
    fn is_null_without_hits(&self) -> bool;
}

impl<F: HitFunction> HitResults for F {
    fn results_of(&self, runs: &mut HitRuns) -> Result<ArrayRef> {
        let mut results = self.results(runs.len());
        runs.sorted_groups(|hits| self.append(hits, &mut results));
        self.finish(results)
    }

    fn is_null_without_hits(&self) -> bool {
        false // a level of 0, no times
    }
}

/// The results of all groups of a GROUP BY.
#[derive(Debug)]
pub(crate) struct HitGroupsAccumulator<F, A, M> {
    function: F,
    arguments: A,
    log: HitLog<M>,
    /// How many groups there are, those without a hit too.
    groups: usize,
}

impl<F: HitFunction, A: HitArguments, M: Mask> HitGroupsAccumulator<F, A, M> {
    /// No group yet.
    pub fn new(function: F, arguments: A) -> Self {
        Self {
            function,
            arguments,
            log: HitLog::default(),
            groups: 0,
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> HitRuns {
        match emit_to {
            EmitTo::All => self.log.take_all(std::mem::take(&mut self.groups)),
            EmitTo::First(groups) => {
                self.groups = self.groups.saturating_sub(groups);
                self.log.take_first(groups)
            }
        }
    }
}

impl<F: HitFunction, A: HitArguments, M: Mask> GroupsAccumulator for HitGroupsAccumulator<F, A, M> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let (times, conditions) = self.arguments.columns(values)?;
        let keep_all = self.function.needs_all_rows();
        self.log
            .append(&times, &conditions, opt_filter, keep_all, |row| {
                group_indices[row]
            })
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let mut runs = self.take(emit_to);
        self.function.results_of(&mut runs)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![HitLog::<M>::state(&self.take(emit_to))])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        self.log.merge(values, |row| group_indices[row])
    }

    /// The state of each row by itself, for when grouping wouldn't make the rows fewer.
    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let (times, conditions) = self.arguments.columns(values)?;
        let mut log = HitLog::<M>::default();
        let keep_all = self.function.needs_all_rows();
        log.append(&times, &conditions, opt_filter, keep_all, |row| row)?;
        Ok(vec![HitLog::<M>::state(&log.take_all(times.len()))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.log.size()
    }
}
