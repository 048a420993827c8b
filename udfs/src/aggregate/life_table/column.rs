//! Life tables as Arrow columns: a list of `Struct { t, won, lost, open }`, one element for each distinct time.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StructArray,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};

use crate::aggregate::columns::{items_of, list, primitive};
use crate::error::FunnelError;
use crate::statistics::life_table::{Counts, LifeTable, Row};

/// The parts of an element, in order.
const PARTS: [(&str, DataType); 4] = [
    ("t", DataType::Float64),
    ("won", DataType::Int64),
    ("lost", DataType::Int64),
    ("open", DataType::Int64),
];

/// The type of a life table.
pub(crate) fn data_type() -> DataType {
    DataType::List(item_field())
}

/// Whether elements of this type can be cast to those of a life table: they have its names, and numbers; or there are none.
pub(crate) fn fits(item: &DataType) -> bool {
    if item.is_null() {
        return true;
    }
    let DataType::Struct(given) = item else {
        return false;
    };
    given.len() == PARTS.len()
        && given.iter().zip(&PARTS).all(|(given, (name, _))| {
            given.name() == name && (given.data_type().is_numeric() || given.data_type().is_null())
        })
}

fn fields() -> Fields {
    static FIELDS: LazyLock<Fields> = LazyLock::new(|| {
        let fields = PARTS.map(|(name, data_type)| Field::new(name, data_type, true));
        Fields::from_iter(fields)
    });
    FIELDS.clone()
}

/// The item of a life table.
pub(crate) fn item_field() -> FieldRef {
    static ITEM: LazyLock<FieldRef> =
        LazyLock::new(|| Arc::new(Field::new_list_field(DataType::Struct(fields()), true)));
    Arc::clone(&ITEM)
}

/// One life table.
pub(crate) fn scalar(rows: &[Row]) -> Result<ScalarValue> {
    let counts = |of: fn(Counts) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| of(row.ends)),
        ))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.t))),
        counts(|ends| ends.won),
        counts(|ends| ends.lost),
        counts(|ends| ends.open),
    ];
    let items = Arc::new(StructArray::try_new(fields(), columns, None)?);
    let builder = datafusion::common::utils::SingleRowListArrayBuilder::new(items);
    Ok(builder.with_field(&item_field()).build_list_scalar())
}

/// A column of life tables, to be read.
#[derive(Debug)]
pub(crate) struct LifeTables<'a> {
    lists: &'a ListArray,
    t: &'a Float64Array,
    won: &'a Int64Array,
    lost: &'a Int64Array,
    open: &'a Int64Array,
    /// The elements that are NULL or have a NULL part.
    nulls: Option<NullBuffer>,
}

impl<'a> LifeTables<'a> {
    /// A column of the type of life tables.
    ///
    /// # Errors
    /// An internal one for a column of another type.
    pub(crate) fn new(column: &'a ArrayRef) -> Result<LifeTables<'a>> {
        let lists = list(column)?;
        let items = lists.values().as_struct_opt().ok_or_else(wrong_column)?;
        let [t, won, lost, open] = items.columns() else {
            return Err(wrong_column());
        };
        let nulls = items.columns().iter().map(|part| part.nulls());
        Ok(LifeTables {
            lists,
            t: primitive::<Float64Type>(t)?,
            won: primitive::<Int64Type>(won)?,
            lost: primitive::<Int64Type>(lost)?,
            open: primitive::<Int64Type>(open)?,
            nulls: NullBuffer::union_many(nulls.chain([items.nulls()])),
        })
    }

    /// The elements at a position; none of a NULL.
    ///
    /// # Errors
    /// 22023 where an element is NULL or has a NULL part.
    pub(crate) fn rows(&self, position: usize) -> Result<Vec<Row>, FunnelError> {
        let items = items_of(self.lists, position);
        items.map(|item| self.row(item)).collect()
    }

    /// The life table at a position; an empty one for a NULL.
    ///
    /// # Errors
    /// As [`Self::rows`] and [`LifeTable::new`].
    pub(crate) fn table(&self, position: usize) -> Result<LifeTable, FunnelError> {
        LifeTable::new(self.rows(position)?)
    }

    fn row(&self, item: usize) -> Result<Row, FunnelError> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(item)) {
            return Err(FunnelError::InvalidArgument {
                message: "an element of a life table is NULL".to_owned(),
                hint: "Make the table with life_table(t, outcome).".to_owned(),
            });
        }
        let ends = Counts {
            won: self.won.value(item),
            lost: self.lost.value(item),
            open: self.open.value(item),
        };
        Ok(Row {
            t: self.t.value(item),
            ends,
        })
    }
}

fn wrong_column() -> datafusion::error::DataFusionError {
    internal_datafusion_err!("a column of another type is given for life tables")
}
