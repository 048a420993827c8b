//! The values that count so far: numbers in a vector, all else by the numbers of distinct keys.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, PrimitiveArray, new_null_array,
};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::EmitTo;

use super::Side;
use crate::aggregate::columns::primitive;
use crate::aggregate::distinct_keys::{DistinctKeys, KeyColumn, NO_KEY, text_column};

/// A value for each group.
pub(super) trait Values: Debug + Send + Sync + 'static {
    /// The values of some rows.
    type Batch<'a>;

    /// Makes room for so many groups, without a value at first.
    fn set_groups(&mut self, groups: usize);

    /// Reads a column.
    fn batch<'a>(&self, column: &'a ArrayRef) -> Result<Self::Batch<'a>>;

    /// Takes the value of a row for a group; in a tie, only if it is the better one, or the first.
    fn offer(
        &mut self,
        group: usize,
        batch: &mut Self::Batch<'_>,
        row: usize,
        is_tie: bool,
    ) -> Result<()>;

    /// Drops what isn't used any more.
    fn tidy(&mut self) -> Result<()>;

    /// Takes groups out, NULL for those without a value.
    fn take(&mut self, emit_to: EmitTo) -> Result<ArrayRef>;

    /// The bytes on the heap.
    fn heap_size(&self) -> usize;
}

/// Numbers, dates, timestamps, decimals.
#[derive(Debug)]
pub(super) struct PrimitiveValues<T: ArrowPrimitiveType> {
    side: Side,
    /// With its unit, zone or scale.
    data_type: DataType,
    values: Vec<T::Native>,
    has_value: Vec<bool>,
}

impl<T: ArrowPrimitiveType> PrimitiveValues<T> {
    /// No group yet.
    pub fn new(side: Side, data_type: &DataType) -> Self {
        Self {
            side,
            data_type: data_type.clone(),
            values: Vec::new(),
            has_value: Vec::new(),
        }
    }
}

impl<T: ArrowPrimitiveType + Debug> Values for PrimitiveValues<T> {
    type Batch<'a> = &'a PrimitiveArray<T>;

    fn set_groups(&mut self, groups: usize) {
        self.values.resize(groups, T::default_value());
        self.has_value.resize(groups, false);
    }

    fn batch<'a>(&self, column: &'a ArrayRef) -> Result<Self::Batch<'a>> {
        primitive(column)
    }

    #[inline]
    fn offer(
        &mut self,
        group: usize,
        batch: &mut Self::Batch<'_>,
        row: usize,
        is_tie: bool,
    ) -> Result<()> {
        let (value, known) = (batch.value(row), &mut self.values[group]);
        let is_better = match self.side {
            Side::First => value.is_lt(*known),
            Side::Last => value.is_gt(*known),
        };
        if !is_tie || is_better || !self.has_value[group] {
            *known = value;
            self.has_value[group] = true;
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<()> {
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values = emit_to.take_needed(&mut self.values);
        let has_value = BooleanBuffer::from(emit_to.take_needed(&mut self.has_value));
        let nulls = NullBuffer::new(has_value);
        let column = PrimitiveArray::<T>::try_new(values.into(), Some(nulls))?;
        Ok(Arc::new(column.with_data_type(self.data_type.clone())))
    }

    fn heap_size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.has_value.capacity()
    }
}

/// Text by its bytes; and any other type by its bytes in arrow's row format, which sort as its values do.
#[derive(Debug)]
pub(super) struct KeyValues {
    side: Side,
    encoding: Encoding,
    keys: DistinctKeys,
    /// The number of each group's key.
    numbers: Vec<u32>,
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

impl KeyValues {
    /// No group yet.
    pub fn try_new(side: Side, data_type: &DataType) -> Result<Self> {
        let encoding = match data_type {
            text if text.is_string() => Encoding::Text(text.clone()),
            other => {
                let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
                let null = converter.convert_columns(&[new_null_array(other, 1)])?;
                let null = null.row(0).data().into();
                Encoding::Rows { converter, null }
            }
        };
        Ok(Self {
            side,
            encoding,
            keys: DistinctKeys::default(),
            numbers: Vec::new(),
        })
    }

    fn is_better(&self, number: u32, known: u32) -> bool {
        let order = self.keys.key(number).cmp(self.keys.key(known));
        order == self.side.pick(Ordering::Less, Ordering::Greater)
    }
}

impl Values for KeyValues {
    type Batch<'a> = KeyColumn<'a>;

    fn set_groups(&mut self, groups: usize) {
        self.numbers.resize(groups, NO_KEY);
    }

    fn batch<'a>(&self, column: &'a ArrayRef) -> Result<Self::Batch<'a>> {
        match &self.encoding {
            Encoding::Text(_) => KeyColumn::text(column.as_ref()),
            Encoding::Rows { converter, .. } => Ok(KeyColumn::Rows(
                converter.convert_columns(&[Arc::clone(column)])?,
            )),
        }
    }

    #[inline]
    fn offer(
        &mut self,
        group: usize,
        batch: &mut Self::Batch<'_>,
        row: usize,
        is_tie: bool,
    ) -> Result<()> {
        let number = batch.number_of(row, &mut self.keys)?;
        let known = self.numbers[group];
        if !is_tie || known == NO_KEY || (number != known && self.is_better(number, known)) {
            self.numbers[group] = number;
        }
        Ok(())
    }

    fn tidy(&mut self) -> Result<()> {
        let groups = self.numbers.len();
        self.keys.forget_unused(groups, self.numbers.iter_mut())
    }

    fn take(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let numbers = emit_to.take_needed(&mut self.numbers);
        let column = match &self.encoding {
            Encoding::Text(data_type) => text_column(&self.keys, numbers.into_iter(), data_type)?,
            Encoding::Rows { converter, null } => {
                let parser = converter.parser();
                let rows = numbers.iter().map(|number| match *number {
                    NO_KEY => parser.parse(null),
                    number => parser.parse(self.keys.key(number)),
                });
                let mut columns = converter.convert_rows(rows)?;
                columns
                    .pop()
                    .ok_or_else(|| internal_datafusion_err!("rows of one column have none"))?
            }
        };
        if emit_to == EmitTo::All {
            self.keys = DistinctKeys::default();
        }
        Ok(column)
    }

    fn heap_size(&self) -> usize {
        let encoding = match &self.encoding {
            Encoding::Text(_) => 0,
            Encoding::Rows { converter, null } => converter.size() + null.len(),
        };
        encoding + self.keys.heap_size() + self.numbers.capacity() * size_of::<u32>()
    }
}
