//! A relation's row as a value: `SELECT t FROM t`, `row_to_json(t)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ScalarUDF;

use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};

/// The function of a relation's columns that is its row, or NULL where an outer join didn't find one.
pub fn whole_row() -> ScalarUDF {
    row_function("pg_whole_row", |call| row(call, false))
}

/// The same of a row that is there, whatever it holds.
pub fn present_row() -> ScalarUDF {
    row_function("pg_present_row", |call| row(call, true))
}

fn row_function(name: &'static str, run: fn(&Call) -> Result<ArrayRef>) -> ScalarUDF {
    let returns = Returns::Of(|fields, names| {
        Ok(Field::new(
            "",
            DataType::Struct(columns(fields, names)),
            true,
        ))
    });
    function(name, returns, run)
}

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    vec![
        whole_row(),
        present_row(),
        function(
            "pg_row",
            Returns::Of(|fields, _| Ok(Field::new("", DataType::Struct(numbered(fields)), true))),
            |call| record(&numbered(&call.fields), &call.arrays, None, call.rows),
        ),
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

/// The fields of a row that was written, which have no names: `f1`, `f2`.
fn numbered(fields: &[FieldRef]) -> Fields {
    let field = |(at, field): (usize, &FieldRef)| {
        let name = format!("f{}", at + 1);
        field.as_ref().clone().with_name(name).with_nullable(true)
    };
    fields.iter().enumerate().map(field).collect()
}

/// The columns of a relation, each behind its name.
fn columns(fields: &[FieldRef], names: &[Option<&ScalarValue>]) -> Fields {
    let column = |(pair, name): (&[FieldRef], &[Option<&ScalarValue>])| {
        let name = match name.first() {
            Some(Some(ScalarValue::Utf8(Some(name)))) => name.clone(),
            _ => String::new(),
        };
        let field = pair.last()?.as_ref().clone();
        Some(field.with_name(name).with_nullable(true))
    };
    fields
        .chunks(2)
        .zip(names.chunks(2))
        .filter_map(column)
        .collect()
}

/// A row that an outer join didn't find is NULL: all of its columns are.
fn row(call: &Call, there: bool) -> Result<ArrayRef> {
    let DataType::Struct(fields) = call.returns.data_type() else {
        return fault(Fault::Internal, "a row is no record");
    };
    let columns: Vec<ArrayRef> = call
        .arrays
        .iter()
        .skip(1)
        .step_by(2)
        .map(Arc::clone)
        .collect();
    let found = |row: usize| {
        let mut present = columns.iter().map(|column| column.logical_nulls());
        present.any(|nulls| nulls.is_none_or(|nulls| nulls.is_valid(row)))
    };
    let nulls: Vec<bool> = (0..call.rows).map(|row| there || found(row)).collect();
    record(fields, &columns, Some(NullBuffer::from(nulls)), call.rows)
}

fn record(
    fields: &Fields,
    columns: &[ArrayRef],
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<ArrayRef> {
    // What the optimizer made of a column may have another type that means the same, and an instant another zone.
    let columns = columns
        .iter()
        .zip(fields)
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(
        fields.clone(),
        columns,
        nulls,
        rows,
    )?))
}
