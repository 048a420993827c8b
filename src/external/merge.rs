//! The columns of a table whose files have different ones.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::logical_expr_common::type_coercion::binary::type_union_coercion;

use crate::error::{Error, Fault, Result};

/// What a format's values are, for a column that has different types in different files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Texts, which are what their column says.
    Texts,
    /// Values of JSON.
    Json,
    /// Values with types of their own.
    Typed,
}

/// The columns of all files, in the order in which they come, with types that take all of their values.
///
/// # Errors
/// 42804 for types that don't go together.
pub fn merged(schemas: &[SchemaRef], values: Values) -> Result<SchemaRef> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for (at, schema) in schemas.iter().enumerate() {
        for field in schema.fields() {
            match fields.iter().position(|known| known.name() == field.name()) {
                Some(place) => fields[place] = merged_field(&fields[place], field, values)?,
                // The files before don't have it.
                None if at > 0 => fields.push(nullable(field)),
                None => fields.push(Arc::clone(field)),
            }
        }
        for known in &mut fields {
            if !known.is_nullable() && schema.field_with_name(known.name()).is_err() {
                *known = nullable(known);
            }
        }
    }
    if values != Values::Typed {
        // A column without a value may get any.
        for field in &mut fields {
            if field.data_type() == &DataType::Null {
                *field = Arc::new(Field::new(field.name(), DataType::Utf8, true));
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_nullable(true))
}

fn merged_field(one: &FieldRef, other: &FieldRef, values: Values) -> Result<FieldRef> {
    let nullable = one.is_nullable() || other.is_nullable();
    let data_type = merged_type(one.name(), one.data_type(), other.data_type(), values)?;
    let field = one.as_ref().clone();
    Ok(Arc::new(
        field.with_data_type(data_type).with_nullable(nullable),
    ))
}

fn merged_type(name: &str, one: &DataType, other: &DataType, values: Values) -> Result<DataType> {
    use DataType::{Float64, Int64, List, Null, Struct, Utf8};
    Ok(match (one, other) {
        (one, other) if one == other => one.clone(),
        (Null, known) | (known, Null) => known.clone(),
        (Int64, Float64) | (Float64, Int64) => Float64,
        (Struct(one), Struct(other)) => Struct(merged_fields(one, other, values)?),
        (List(one), List(other)) => List(merged_field(one, other, values)?),
        (one, other) => {
            let common = match values {
                Values::Texts => Some(Utf8),
                // A number isn't read as a text there.
                Values::Json => None,
                Values::Typed => type_union_coercion(one, other),
            };
            common.ok_or_else(|| Error::Query {
                fault: Fault::DatatypeMismatch,
                message: format!("column \"{name}\" is {one} in one file and {other} in another"),
                position: None,
            })?
        }
    })
}

fn merged_fields(one: &Fields, other: &Fields, values: Values) -> Result<Fields> {
    let schemas = [one, other].map(|fields| Arc::new(Schema::new(fields.clone())));
    Ok(merged(&schemas, values)?.fields().clone())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
        let fields = fields.iter();
        Arc::new(Schema::new(
            fields
                .map(|(name, kind, nullable)| Field::new(*name, kind.clone(), *nullable))
                .collect::<Vec<_>>(),
        ))
    }

    #[test]
    fn columns_come_from_all_files() {
        use DataType::{Float64, Int32, Int64, Null, Utf8};
        let old = schema(&[("id", Int32, false), ("gone", Utf8, false)]);
        let new = schema(&[("added", Float64, false), ("id", Int64, false)]);
        assert_eq!(
            merged(&[old, new], Values::Typed).unwrap(),
            schema(&[
                ("id", Int64, false),
                ("gone", Utf8, true),
                ("added", Float64, true)
            ])
        );
        let texts = [
            schema(&[("a", Int64, true), ("b", Null, true)]),
            schema(&[("a", DataType::Date32, true)]),
        ];
        assert_eq!(
            merged(&texts, Values::Texts).unwrap(),
            schema(&[("a", Utf8, true), ("b", Utf8, true)])
        );
    }

    #[test]
    fn types_that_do_not_go_together_are_a_fault_with_the_columns_name() {
        let inner = DataType::Struct(Fields::from(vec![Field::new("x", DataType::Int64, true)]));
        let files = [
            schema(&[("a", DataType::Int64, true)]),
            schema(&[("a", inner, true)]),
        ];
        let error = merged(&files, Values::Json).unwrap_err();
        assert_eq!(error.code(), "42804");
        assert!(error.to_string().starts_with("column \"a\" is "), "{error}");
    }
}
