//! Lists of cells, the small result of a grouping, as an argument: structs whose fields are found by their names.
//!
//! `array_agg(named_struct('id', …, 'n', …))` makes one. The order of its items doesn't matter to any function.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use datafusion::common::Result;

use crate::aggregate::columns::{items_of, list};
use crate::error::FunnelError;

/// The type of a list of that.
pub(crate) fn list_type(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// The types that arguments are cast to: the first stays, as the fields of its structs are cast one by one.
pub(crate) fn coerce(given: &[DataType], others: &[DataType]) -> Vec<DataType> {
    let rest = given.iter().skip(1).enumerate();
    let first = given.first().cloned();
    first
        .into_iter()
        .chain(rest.map(|(at, given)| others.get(at).unwrap_or(given).clone()))
        .collect()
}

/// Checks the number of arguments, and that the first is a list of structs with these fields.
///
/// # Errors
/// 42883 for another number, 42804 for another type.
pub(crate) fn check(
    function: &str,
    syntax: &str,
    given: &[DataType],
    others: usize,
    fields: &[&str],
) -> Result<()> {
    let hint = format!("Write {syntax}.");
    if given.len() != 1 + others {
        let message = format!(
            "{function}() can't be called with {} arguments",
            given.len()
        );
        return Err(FunnelError::WrongCall { message, hint }.into_datafusion());
    }
    let has = |name: &str| match &given[0] {
        DataType::List(item) => match item.data_type() {
            DataType::Struct(found) => found.iter().any(|field| field.name() == name),
            _ => false,
        },
        DataType::Null => true,
        _ => false,
    };
    match fields.iter().find(|name| !has(name)) {
        Some(name) => {
            let message = format!("{function}() takes a list of structs with a field \"{name}\"");
            Err(FunnelError::WrongType { message, hint }.into_datafusion())
        }
        None => Ok(()),
    }
}

/// The lists of a column.
pub(crate) struct Cells {
    /// Nothing where the column has the type of NULL.
    lists: Option<(ListArray, StructArray)>,
}

impl Cells {
    /// Reads a column that [`check`] has let through.
    ///
    /// # Errors
    /// An internal one for another type.
    pub(crate) fn new(column: &ArrayRef) -> Result<Self> {
        if column.data_type().is_null() {
            return Ok(Self { lists: None });
        }
        let lists = list(column)?.clone();
        let items = lists.values().as_struct().clone();
        Ok(Self {
            lists: Some((lists, items)),
        })
    }

    /// Where the cells of a row are; of a NULL nowhere.
    pub(crate) fn of(&self, row: usize) -> Range<usize> {
        match &self.lists {
            Some((lists, _)) => items_of(lists, row),
            None => 0..0,
        }
    }

    fn field(&self, name: &str, data_type: &DataType) -> Result<Option<ArrayRef>> {
        let Some((_, items)) = &self.lists else {
            return Ok(None);
        };
        let Some(column) = items.column_by_name(name) else {
            return Ok(None);
        };
        Ok(Some(cast(column, data_type)?))
    }

    /// A field of numbers; nothing where there are no cells.
    pub(crate) fn numbers(&self, name: &str) -> Result<Numbers> {
        let column = self.field(name, &DataType::Float64)?;
        Ok(Numbers(column.map(|column| {
            column.as_primitive::<Float64Type>().clone()
        })))
    }

    /// A field of whole numbers.
    pub(crate) fn integers(&self, name: &str) -> Result<Integers> {
        let column = self.field(name, &DataType::Int64)?;
        Ok(Integers(
            column.map(|column| column.as_primitive::<Int64Type>().clone()),
        ))
    }

    /// A field of lists of numbers.
    pub(crate) fn number_lists(&self, name: &str) -> Result<Option<ListArray>> {
        let column = self.field(name, &list_type(DataType::Float64))?;
        Ok(column.map(|column| column.as_list::<i32>().clone()))
    }

    /// A field of lists of texts.
    pub(crate) fn text_lists(&self, name: &str) -> Result<Option<ListArray>> {
        let column = self.field(name, &list_type(DataType::Utf8))?;
        Ok(column.map(|column| column.as_list::<i32>().clone()))
    }
}

/// A field of numbers.
pub(crate) struct Numbers(Option<Float64Array>);

impl Numbers {
    /// Whether the cells have the field.
    pub(crate) fn exists(&self) -> bool {
        self.0.is_some()
    }

    /// The number of a cell; nothing where it is NULL.
    pub(crate) fn get(&self, cell: usize) -> Option<f64> {
        let column = self.0.as_ref()?;
        column.is_valid(cell).then(|| column.value(cell))
    }

    /// The number of a cell, 0 where it is NULL.
    pub(crate) fn value(&self, cell: usize) -> f64 {
        self.get(cell).unwrap_or(0.0)
    }
}

/// A field of whole numbers.
pub(crate) struct Integers(Option<Int64Array>);

impl Integers {
    /// The number of a cell, 0 where it is NULL.
    pub(crate) fn value(&self, cell: usize) -> i64 {
        let valid = self.0.as_ref().filter(|column| column.is_valid(cell));
        valid.map_or(0, |column| column.value(cell))
    }
}

/// The items of a cell's list of numbers, NULL as 0.
pub(crate) fn numbers_of(lists: Option<&ListArray>, cell: usize) -> Vec<f64> {
    match lists.filter(|lists| lists.is_valid(cell)) {
        Some(lists) => {
            let items = lists.value(cell);
            let items = items.as_primitive::<Float64Type>();
            items.iter().map(|item| item.unwrap_or(0.0)).collect()
        }
        None => Vec::new(),
    }
}

/// The items of a cell's list of texts.
pub(crate) fn texts_of(lists: Option<&ListArray>, cell: usize) -> Vec<Option<String>> {
    match lists.filter(|lists| lists.is_valid(cell)) {
        Some(lists) => {
            let items = lists.value(cell);
            let items: &StringArray = items.as_string::<i32>();
            items.iter().map(|item| item.map(str::to_owned)).collect()
        }
        None => Vec::new(),
    }
}

/// A column of lists of structs, one list a row.
pub(crate) fn struct_lists(
    fields: datafusion::arrow::datatypes::Fields,
    columns: Vec<ArrayRef>,
    lengths: Vec<usize>,
) -> Result<ArrayRef> {
    let items = StructArray::try_new(fields, columns, None)?;
    crate::aggregate::columns::lists(Arc::new(items), lengths)
}

/// A column of numbers; one that isn't finite is NULL.
pub(crate) fn number_column<T>(rows: &[T], of: impl Fn(&T) -> Option<f64>) -> ArrayRef {
    let numbers = rows
        .iter()
        .map(|row| of(row).filter(|number| number.is_finite()));
    Arc::new(numbers.collect::<Float64Array>())
}

/// A column of counts.
pub(crate) fn count_column<T>(rows: &[T], of: impl Fn(&T) -> Option<f64>) -> ArrayRef {
    let counts = rows.iter().map(|row| of(row).map(|count| count as i64));
    Arc::new(counts.collect::<Int64Array>())
}

/// A column of texts.
pub(crate) fn text_column<'a, T>(rows: &'a [T], of: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringArray>())
}
