//! An [`Accumulator`] out of a [`GroupsAccumulator`]: the rows of one group, or those of a window frame.
//!
//! So a function is written once, for many groups.

use std::fmt::Debug;
use std::mem::size_of_val;

use datafusion::arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// One group of a [`GroupsAccumulator`], whose state, merged, has to be as good as its rows.
#[derive(Debug)]
pub(crate) struct OneGroup<G> {
    groups: G,
    /// Group 0 for each row of a batch, kept from one batch to the next.
    zeros: Vec<usize>,
}

impl<G: GroupsAccumulator> OneGroup<G> {
    /// The group of an accumulator that has none yet.
    pub fn new(groups: G) -> Self {
        let zeros = Vec::new();
        Self { groups, zeros }
    }

    fn zeros(&mut self, rows: usize) {
        self.zeros.resize(rows, 0);
    }
}

impl<G: GroupsAccumulator + Debug + Sync> Accumulator for OneGroup<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.zeros(values.first().map_or(0, |column| column.len()));
        self.groups.update_batch(values, &self.zeros, None, 1)
    }

    /// The result so far; a window with a growing frame asks again after more rows.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let kept = self.take_state()?;
        self.groups.merge_batch(&kept, &[0], 1)?;
        let result = self.groups.evaluate(EmitTo::All)?;
        self.groups.merge_batch(&kept, &[0], 1)?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.groups.size() + self.zeros.capacity() * size_of::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let state = self.take_state()?;
        state
            .iter()
            .map(|column| ScalarValue::try_from_array(column, 0))
            .collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.zeros(states.first().map_or(0, |column| column.len()));
        self.groups.merge_batch(states, &self.zeros, 1)
    }
}

impl<G: GroupsAccumulator> OneGroup<G> {
    fn take_state(&mut self) -> Result<Vec<ArrayRef>> {
        // Before the first batch there is no group; an update without rows makes it.
        let no_rows = self.groups.state(EmitTo::All)?;
        let has_group = no_rows.first().is_some_and(|column| !column.is_empty());
        if has_group {
            return Ok(no_rows);
        }
        self.groups.merge_batch(&no_rows, &[], 1)?;
        self.groups.state(EmitTo::All)
    }
}
