//! Chains as SQL shows them.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, StringArray, StructArray, new_null_array,
};
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;

use super::groups::Task;
use super::kernel::{Chain, Ended};
use super::values::Values;
use crate::aggregate::columns::{item_field, lists};
use crate::aggregate::distinct_keys::NO_KEY;
use crate::aggregate::hits::time;

/// The type of `step_keys`' elements where no key is given: all are NULL.
const NO_KEY_TYPE: DataType = DataType::Utf8;

/// The fields of a chain.
fn fields(time_type: &DataType, key_type: Option<&DataType>) -> Fields {
    let list = |data_type: &DataType| DataType::List(item_field(data_type.clone()));
    Fields::from(vec![
        Field::new("level", DataType::Int32, true),
        Field::new("step_times", list(time_type), true),
        Field::new("step_keys", list(key_type.unwrap_or(&NO_KEY_TYPE)), true),
        Field::new("ended", DataType::Utf8, true),
    ])
}

/// The type of a result: a chain, or a list of them.
pub(super) fn result_type(
    every_attempt: bool,
    time_type: &DataType,
    key_type: Option<&DataType>,
) -> DataType {
    let chain = DataType::Struct(fields(time_type, key_type));
    match every_attempt {
        true => DataType::List(item_field(chain)),
        false => chain,
    }
}

/// Chains so far.
#[derive(Debug, Default)]
pub(super) struct Results {
    levels: Vec<i32>,
    ended: Vec<Option<&'static str>>,
    /// How many steps each chain shows.
    lengths: Vec<usize>,
    /// The time of each step, any where there is none.
    times: Vec<i64>,
    is_passed: Vec<bool>,
    keys: Vec<u32>,
    /// How many chains each group has, of attempts.
    attempts: Vec<usize>,
}

impl Results {
    /// Appends the chain of a group; `item_of` tells the time and key of a row.
    pub fn append(&mut self, chain: Option<&Chain>, item_of: impl Fn(usize) -> (i64, u32)) {
        let rows = chain.map_or(&[] as &[_], |chain| &chain.rows);
        self.levels
            .push(chain.map_or(0, |chain| chain.level as i32)); // at most 64
        self.ended.push(chain.map(|chain| name(chain.ended)));
        self.lengths.push(rows.len());
        for row in rows {
            let (time, key) = row.map_or((0, NO_KEY), &item_of);
            self.times.push(time);
            self.is_passed.push(row.is_none());
            self.keys.push(key);
        }
    }

    /// Appends the chains of a group.
    pub fn append_attempts(&mut self, chains: &[Chain], item_of: impl Fn(usize) -> (i64, u32)) {
        self.attempts.push(chains.len());
        for chain in chains {
            self.append(Some(chain), &item_of);
        }
    }

    /// The column of results.
    pub fn finish(self, task: &Task, keys: Option<&Values>) -> Result<ArrayRef> {
        let key_type = task.key_type.as_ref();
        let times = time::times(self.times, &task.time_type)?;
        let times = nullif(&times, &BooleanArray::from(self.is_passed))?;
        let keys = match keys {
            Some(values) => values.column(&self.keys)?,
            None => new_null_array(&NO_KEY_TYPE, self.keys.len()),
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(self.levels)),
            lists(times, self.lengths.clone())?,
            lists(keys, self.lengths)?,
            Arc::new(StringArray::from(self.ended)),
        ];
        let chains = StructArray::try_new(fields(&task.time_type, key_type), columns, None)?;
        match task.every_attempt {
            true => lists(Arc::new(chains), self.attempts),
            false => Ok(Arc::new(chains)),
        }
    }
}

fn name(ended: Ended) -> &'static str {
    match ended {
        Ended::Converted => "converted",
        Ended::TimedOut => "timed_out",
        Ended::Open => "open",
        Ended::Excluded => "excluded",
    }
}
