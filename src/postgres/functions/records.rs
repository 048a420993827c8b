//! A relation's row as a value: `SELECT t FROM t`, `row_to_json(t)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::logical_expr::ScalarUDF;

use crate::postgres::function::{Call, Result, Returns, function};
use crate::postgres::names;

/// The function of a relation's columns that is its row.
pub fn whole_row() -> ScalarUDF {
    function(
        "pg_whole_row",
        Returns::Of(|fields, _| Ok(Field::new("", DataType::Struct(columns(fields)), true))),
        row,
    )
}

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    vec![
        whole_row(),
        function(
            "pg_nullable",
            Returns::Of(|fields, _| {
                Ok(match fields.first() {
                    Some(field) => field.as_ref().clone(),
                    None => Field::new("", DataType::Null, true),
                })
            }),
            |call| Ok(Arc::clone(&call.arrays[0])),
        ),
    ]
}

fn columns(fields: &[FieldRef]) -> Fields {
    let column = |field: &FieldRef| {
        let name = names::shown(field.name()).to_owned();
        field.as_ref().clone().with_name(name).with_nullable(true)
    };
    fields.iter().map(column).collect()
}

/// A row that an outer join didn't find is NULL: all of its columns are.
fn row(call: &Call) -> Result<ArrayRef> {
    let found = |row: usize| call.arrays.iter().any(|column| column.is_valid(row));
    let nulls: Vec<bool> = (0..call.rows).map(found).collect();
    Ok(Arc::new(StructArray::try_new_with_length(
        columns(&call.fields),
        call.arrays.clone(),
        Some(NullBuffer::from(nulls)),
        call.rows,
    )?))
}
