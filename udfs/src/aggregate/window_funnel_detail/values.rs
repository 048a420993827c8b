//! Values of any type by numbers: the keys and the held values of rows.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, new_null_array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_datafusion_err};

use crate::aggregate::distinct_keys::{DistinctKeys, KeyColumn, NO_KEY, text_column};

/// Distinct values of one type, each with a number; NULL has [`NO_KEY`].
///
/// Text is kept by its bytes, any other type by its bytes in arrow's row format, which sort as its values do.
#[derive(Debug)]
pub(super) struct Values {
    encoding: Encoding,
    keys: DistinctKeys,
}

#[derive(Debug)]
enum Encoding {
    Text(DataType),
    Rows {
        converter: RowConverter,
        /// The row of a NULL.
        null: Box<[u8]>,
    },
}

/// A column whose rows are given numbers.
pub(super) struct Numbered<'a> {
    column: KeyColumn<'a>,
    nulls: Option<NullBuffer>,
}

impl Values {
    /// None yet, of a type that has an order.
    pub fn try_new(data_type: &DataType) -> Result<Self> {
        let encoding = if data_type.is_string() {
            Encoding::Text(data_type.clone())
        } else {
            let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
            let null = converter.convert_columns(&[new_null_array(data_type, 1)])?;
            let null = null.row(0).data().into();
            Encoding::Rows { converter, null }
        };
        Ok(Self {
            encoding,
            keys: DistinctKeys::default(),
        })
    }

    /// Reads a column of the type.
    pub fn read<'a>(&self, column: &'a ArrayRef) -> Result<Numbered<'a>> {
        let nulls = column.logical_nulls();
        let column = match &self.encoding {
            Encoding::Text(_) => KeyColumn::text(column.as_ref())?,
            Encoding::Rows { converter, .. } => {
                KeyColumn::Rows(converter.convert_columns(&[Arc::clone(column)])?)
            }
        };
        Ok(Numbered { column, nulls })
    }

    /// The number of a row's value.
    pub fn number_of(&mut self, column: &mut Numbered<'_>, row: usize) -> Result<u32> {
        match &column.nulls {
            Some(nulls) if nulls.is_null(row) => Ok(NO_KEY),
            _ => column.column.number_of(row, &mut self.keys),
        }
    }

    /// The order of two values by their numbers, NULL first: the same however they came to be numbered.
    pub fn compare(&self, one: u32, other: u32) -> Ordering {
        let key = |number| (number != NO_KEY).then(|| self.keys.key(number));
        match one == other {
            true => Ordering::Equal,
            false => key(one).cmp(&key(other)),
        }
    }

    /// The values of some numbers as a column.
    pub fn column(&self, numbers: &[u32]) -> Result<ArrayRef> {
        match &self.encoding {
            Encoding::Text(data_type) => {
                text_column(&self.keys, numbers.iter().copied(), data_type)
            }
            Encoding::Rows { converter, null } => {
                let parser = converter.parser();
                let rows = numbers.iter().map(|number| match *number {
                    NO_KEY => parser.parse(null),
                    number => parser.parse(self.keys.key(number)),
                });
                let mut columns = converter.convert_rows(rows)?;
                columns
                    .pop()
                    .ok_or_else(|| internal_datafusion_err!("rows of one column have none"))
            }
        }
    }

    /// Drops the values that aren't used any more, if those are most.
    pub fn forget_unused<'a>(
        &mut self,
        uses: usize,
        used: impl Iterator<Item = &'a mut u32>,
    ) -> Result<()> {
        self.keys.forget_unused(uses, used)
    }

    /// Drops all values.
    pub fn clear(&mut self) {
        self.keys = DistinctKeys::default();
    }

    /// The bytes on the heap.
    pub fn heap_size(&self) -> usize {
        let encoding = match &self.encoding {
            Encoding::Text(_) => 0,
            Encoding::Rows { converter, null } => converter.size() + null.len(),
        };
        encoding + self.keys.heap_size()
    }
}
