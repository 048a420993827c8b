//! Distinct texts or other byte strings, each known by a small number.
//!
//! A channel, a page or a user comes again and again; groups then hold 4 bytes for it, and two are the same
//! if their numbers are. No allocation for a key: all lie in one vector.

use std::hash::BuildHasher;
use std::mem::size_of;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder, StringArray, StringBuilder,
    StringViewArray, StringViewBuilder,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::Rows;
use datafusion::common::hash_utils::RandomState;
use datafusion::common::{Result, internal_datafusion_err, internal_err, resources_datafusion_err};

/// The number of no key.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// A few keys more than are in use don't matter.
const SMALL: usize = 1_024;

/// The keys, numbered in the order in which they were first seen.
#[derive(Debug, Default)]
pub(crate) struct DistinctKeys {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
    /// A hash table of numbers, open and half empty at least; [`NO_KEY`] where none is.
    slots: Vec<u32>,
    hasher: RandomState,
}

impl DistinctKeys {
    /// The number of a key, a new one if it hasn't been seen.
    ///
    /// # Errors
    /// 4 billion keys are too many.
    pub fn number_of(&mut self, key: &[u8]) -> Result<u32> {
        if self.slots.len() < 2 * (self.ends.len() + 1) {
            self.grow();
        }
        let mut slot = self.first_slot(key);
        loop {
            match self.slots[slot] {
                NO_KEY => break,
                number if self.key(number) == key => return Ok(number),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
        let number = u32::try_from(self.ends.len())
            .ok()
            .filter(|number| *number < NO_KEY / 2)
            .ok_or_else(|| resources_datafusion_err!("there are too many distinct values"))?;
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
        self.slots[slot] = number;
        Ok(number)
    }

    /// A key by its number.
    pub fn key(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[number]]
    }

    /// Drops the keys that aren't used any more, if those are most; `used` are the numbers that are, and
    /// become the new ones.
    ///
    /// Called after each batch, it costs a few looks at each key at most, and keys take no more room than
    /// twice what is in use.
    pub fn forget_unused<'a>(
        &mut self,
        uses: usize,
        used: impl Iterator<Item = &'a mut u32>,
    ) -> Result<()> {
        if self.ends.len() <= 2 * uses + SMALL {
            return Ok(());
        }
        self.keep(used)
    }

    /// Drops all keys but those of some numbers, which become the new ones.
    pub fn keep<'a>(&mut self, used: impl Iterator<Item = &'a mut u32>) -> Result<()> {
        let old = std::mem::take(self);
        let mut renumbered = vec![NO_KEY; old.ends.len()];
        for number in used.filter(|number| **number != NO_KEY) {
            let new = &mut renumbered[*number as usize];
            if *new == NO_KEY {
                *new = self.number_of(old.key(*number))?;
            }
            *number = *new;
        }
        Ok(())
    }

    /// The bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.slots.capacity() * size_of::<u32>()
    }

    fn first_slot(&self, key: &[u8]) -> usize {
        // The table's size is a power of two; the high bits of this hash are as good as the low ones.
        self.hasher.hash_one(key) as usize & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(64);
        self.slots.clear();
        self.slots.resize(size, NO_KEY);
        for number in 0..self.ends.len() as u32 {
            let mut slot = self.first_slot(self.key(number));
            while self.slots[slot] != NO_KEY {
                slot = (slot + 1) & (size - 1);
            }
            self.slots[slot] = number;
        }
    }
}

/// The keys of a column's rows.
pub(crate) enum KeyColumn<'a> {
    /// Text.
    Text(&'a StringArray),
    /// Text with long offsets.
    LargeText(&'a LargeStringArray),
    /// Text by views.
    TextView(&'a StringViewArray),
    /// Text by a dictionary: the place of each row's value, the values, and their numbers so far.
    Dictionary {
        /// The place of each row's value.
        places: Vec<usize>,
        /// The dictionary's values.
        values: Box<KeyColumn<'a>>,
        /// The numbers of the values that were asked for.
        numbers: Vec<u32>,
    },
    /// Anything else, in arrow's row format.
    Rows(Rows),
}

impl<'a> KeyColumn<'a> {
    /// A column of text, of any kind.
    ///
    /// # Errors
    /// An internal one for other types.
    pub fn text(column: &'a dyn Array) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => KeyColumn::Text(column.as_string()),
            DataType::LargeUtf8 => KeyColumn::LargeText(column.as_string()),
            DataType::Utf8View => KeyColumn::TextView(column.as_string_view()),
            DataType::Dictionary(..) => {
                let dictionary = column.as_any_dictionary();
                let values = KeyColumn::text(dictionary.values().as_ref())?;
                KeyColumn::Dictionary {
                    places: dictionary.normalized_keys(),
                    numbers: vec![NO_KEY; dictionary.values().len()],
                    values: Box::new(values),
                }
            }
            other => return internal_err!("{other} is given for text"),
        })
    }

    /// The number of a row's key; the row mustn't be NULL.
    #[inline]
    pub fn number_of(&mut self, row: usize, keys: &mut DistinctKeys) -> Result<u32> {
        match self {
            KeyColumn::Text(texts) => keys.number_of(texts.value(row).as_bytes()),
            KeyColumn::LargeText(texts) => keys.number_of(texts.value(row).as_bytes()),
            KeyColumn::TextView(texts) => keys.number_of(texts.value(row).as_bytes()),
            KeyColumn::Rows(rows) => keys.number_of(rows.row(row).data()),
            KeyColumn::Dictionary {
                places,
                values,
                numbers,
            } => {
                let place = places[row];
                if numbers[place] == NO_KEY {
                    numbers[place] = values.number_of(place, keys)?;
                }
                Ok(numbers[place])
            }
        }
    }
}

/// Texts by their numbers, NULL for [`NO_KEY`], as a column of a type of text.
pub(crate) fn text_column(
    keys: &DistinctKeys,
    numbers: impl ExactSizeIterator<Item = u32>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let rows = numbers.len();
    let texts = numbers.map(|number| (number != NO_KEY).then(|| keys.key(number)));
    macro_rules! build {
        ($builder:expr) => {{
            let mut builder = $builder;
            for bytes in texts {
                builder.append_option(bytes.map(text).transpose()?);
            }
            Ok(std::sync::Arc::new(builder.finish()))
        }};
    }
    match data_type {
        DataType::Utf8 => build!(StringBuilder::with_capacity(rows, 0)),
        DataType::LargeUtf8 => build!(LargeStringBuilder::with_capacity(rows, 0)),
        DataType::Utf8View => build!(StringViewBuilder::with_capacity(rows)),
        other => internal_err!("{other} is asked for as text"),
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes)
        .map_err(|error| internal_datafusion_err!("what was text isn't any more: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_those_of_a_map(texts in proptest::collection::vec("[ab中]{0,3}", 0..300)) {
            let mut keys = DistinctKeys::default();
            let mut map = HashMap::<String, u32>::new();
            for text in &texts {
                let next = map.len() as u32;
                let expected = *map.entry(text.clone()).or_insert(next);
                prop_assert_eq!(keys.number_of(text.as_bytes()).unwrap(), expected);
            }
            for (text, number) in &map {
                prop_assert_eq!(keys.key(*number), text.as_bytes());
            }
        }
    }

    #[test]
    fn keys_that_are_not_used_are_forgotten() {
        let mut keys = DistinctKeys::default();
        let mut last = NO_KEY;
        let mut size = 0;
        for number in 0..100_000 {
            last = keys.number_of(format!("text {number}").as_bytes()).unwrap();
            keys.forget_unused(1, std::iter::once(&mut last)).unwrap();
            size = size.max(keys.heap_size());
        }
        assert_eq!(keys.key(last), b"text 99999");
        assert!(size < 100_000, "{size}");
    }
}
