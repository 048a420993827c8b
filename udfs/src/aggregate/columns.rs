//! Reading the columns of a batch: times as integers, and which rows count.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, PrimitiveArray, UInt64Array,
};
use datafusion::arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{ArrowPrimitiveType, DataType, Field, FieldRef};
use datafusion::common::{Result, internal_datafusion_err, resources_datafusion_err};

/// The rows that are true, rather than false or NULL.
pub(crate) fn true_bits(array: &BooleanArray) -> BooleanBuffer {
    match array.nulls() {
        Some(nulls) => array.values() & nulls.inner(),
        None => array.values().clone(),
    }
}

/// The rows that the filter keeps and where none of the columns is NULL; `None` for all rows.
pub(crate) fn kept_rows(
    filter: Option<&BooleanArray>,
    columns: &[&dyn Array],
) -> Option<BooleanBuffer> {
    let mut kept = filter.map(true_bits);
    for nulls in columns.iter().filter_map(|column| column.logical_nulls()) {
        if nulls.null_count() > 0 {
            kept = Some(match kept {
                Some(kept) => &kept & nulls.inner(),
                None => nulls.into_inner(),
            });
        }
    }
    kept
}

/// Calls `take` with each row that is kept.
pub(crate) fn each_row(
    kept: Option<&BooleanBuffer>,
    rows: usize,
    mut take: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    match kept {
        None => (0..rows).try_for_each(take),
        Some(kept) => kept.set_indices().try_for_each(&mut take),
    }
}

/// The conditions of each row as bits, the first argument the lowest; NULL is false.
pub(crate) fn masks(conditions: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut masks = vec![0; rows];
    for (at, condition) in conditions.iter().enumerate() {
        for row in true_bits(condition.as_boolean()).set_indices() {
            masks[row] |= 1 << at;
        }
    }
    masks
}

/// A group's number, in half the space.
pub(crate) fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group)
        .map_err(|_| resources_datafusion_err!("there are more than {} groups", u32::MAX))
}

/// The column at `position` of a state or of the arguments.
pub(crate) fn column(columns: &[ArrayRef], position: usize) -> Result<&ArrayRef> {
    columns
        .get(position)
        .ok_or_else(|| internal_datafusion_err!("column {position} is missing after the check"))
}

/// The item field of the lists that states and results are made of.
pub(crate) fn item_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(data_type, true))
}

/// A list of each group; `lengths` are those of the lists, together as many as there are items.
pub(crate) fn lists(items: ArrayRef, lengths: Vec<usize>) -> Result<ArrayRef> {
    nullable_lists(items, lengths, None)
}

/// As [`lists`]; those that aren't in `nulls` are NULL.
pub(crate) fn nullable_lists(
    items: ArrayRef,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let field = item_field(items.data_type().clone());
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls)?))
}

/// A column of a primitive type, such as that of the items of a list.
///
/// # Errors
/// An internal one for a column of another type.
pub(crate) fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    array.as_primitive_opt::<T>().ok_or_else(|| {
        internal_datafusion_err!("{} is given for {}", array.data_type(), T::DATA_TYPE)
    })
}

/// A list column.
///
/// # Errors
/// An internal one for a column of another type.
pub(crate) fn list(array: &ArrayRef) -> Result<&ListArray> {
    array
        .as_list_opt::<i32>()
        .ok_or_else(|| internal_datafusion_err!("{} is given for a list", array.data_type()))
}

/// Where the items of a row's list are; of a NULL nowhere.
pub(crate) fn items_of(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    if lists.is_null(row) {
        return 0..0;
    }
    let offsets = lists.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// Masks as a column of a state.
pub(crate) fn mask_column(masks: Vec<u64>) -> ArrayRef {
    Arc::new(UInt64Array::new(masks.into(), None::<NullBuffer>))
}
