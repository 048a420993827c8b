//! Functions of `pg_catalog` that clients call beside its relations, and that datafusion-pg-catalog lacks.
//!
//! They take any arguments: what tells an overload of Postgres from another never changes the answer here.
//! One about an object that there is none of answers NULL, as Postgres does for an unknown OID.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, StringArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::cast::{as_int32_array, as_primitive_array};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr_fn::SimpleScalarUDF;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Signature, Volatility};
use datafusion::prelude::SessionContext;
use datafusion_funnel::FunctionInfo;

/// Everything can be seen: a name without a schema is found in `public`, and clients list the rest as well.
const VISIBILITY: [&str; 5] = [
    "pg_function_is_visible",
    "pg_type_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_collation_is_visible",
];

/// Texts about objects that there are none of, or that have none.
const NO_TEXT: [&str; 9] = [
    "pg_get_function_sqlbody",
    "pg_get_functiondef",
    "pg_get_viewdef",
    "pg_get_indexdef",
    "pg_get_triggerdef",
    "pg_get_ruledef",
    "pg_tablespace_location",
    "col_description",
    "shobj_description",
];

/// Sizes on disk, which only the files' owner knows.
const NO_SIZE: [&str; 4] = [
    "pg_table_size",
    "pg_indexes_size",
    "pg_database_size",
    "pg_tablespace_size",
];

/// Registers them.
pub fn register(context: &SessionContext) {
    for name in VISIBILITY {
        let visible = |arguments: &[ArrayRef]| -> Result<ArrayRef, DataFusionError> {
            Ok(Arc::new(BooleanArray::from(vec![true; rows(arguments)])))
        };
        context.register_udf(function(name, DataType::Boolean, visible));
    }
    for (names, returns) in [
        (NO_TEXT.as_slice(), DataType::Utf8),
        (&NO_SIZE, DataType::Int64),
    ] {
        for name in names {
            let kind = returns.clone();
            let none = move |arguments: &[ArrayRef]| Ok(new_null_array(&kind, rows(arguments)));
            context.register_udf(function(name, returns.clone(), none));
        }
    }
    context.register_udf(about_function("pg_get_function_result", |info| info.result));
    context.register_udf(about_function("pg_get_function_arguments", |info| {
        info.arguments
    }));
    context.register_udf(about_function(
        "pg_get_function_identity_arguments",
        |info| info.arguments,
    ));
    context.register_udf(about_function("obj_description", |info| info.description));
    context.register_udf(function("pg_size_pretty", DataType::Utf8, pretty_sizes));
    context.register_udf(function("pg_get_userbyid", DataType::Utf8, |arguments| {
        Ok(Arc::new(StringArray::from(vec![
            "funnelsql";
            rows(arguments)
        ])))
    }));
}

/// The OID of one of FunnelSQL's functions: made from its name, so that clients find it again after a
/// restart, and above the OIDs that the other objects are numbered with.
pub fn function_oid(name: &str) -> i32 {
    // FNV-1a; the two highest bits are fixed, which keeps it positive and high.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (hash & 0x3fff_ffff | 0x4000_0000).cast_signed()
}

/// What `text` says of the function whose OID is the first argument; NULL for any other object.
fn about_function(name: &str, text: fn(FunctionInfo) -> String) -> ScalarUDF {
    function(name, DataType::Utf8, move |arguments| {
        let oids = oids(arguments)?;
        let functions = datafusion_funnel::functions();
        let find = |oid: i32| {
            functions
                .iter()
                .find(|info| function_oid(&info.name) == oid)
        };
        let texts = oids.iter().map(|oid| oid.and_then(find).cloned().map(text));
        Ok(Arc::new(texts.collect::<StringArray>()))
    })
}

/// The first argument as OIDs; it comes as a number of any width, or as text.
fn oids(arguments: &[ArrayRef]) -> Result<Int32Array, DataFusionError> {
    let Some(first) = arguments.first() else {
        return Ok(Int32Array::new_null(1));
    };
    let numbers = cast(first, &DataType::Int32)?;
    Ok(as_int32_array(&numbers)?.clone())
}

fn pretty_sizes(arguments: &[ArrayRef]) -> Result<ArrayRef, DataFusionError> {
    let Some(first) = arguments.first() else {
        return Ok(new_null_array(&DataType::Utf8, 1));
    };
    let sizes = cast(first, &DataType::Int64)?;
    let sizes = as_primitive_array::<Int64Type>(&sizes)?;
    Ok(Arc::new(
        sizes
            .iter()
            .map(|bytes| bytes.map(pretty_size))
            .collect::<StringArray>(),
    ))
}

/// A size in the largest unit that leaves at least ten of it, as Postgres writes sizes.
fn pretty_size(bytes: i64) -> String {
    let mut size = bytes;
    let mut unit = "bytes";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if size.abs() < 10 * 1024 {
            break;
        }
        size = (size + size.signum() * 512) / 1024;
        unit = larger;
    }
    format!("{size} {unit}")
}

fn rows(arguments: &[ArrayRef]) -> usize {
    arguments.first().map_or(1, |first| first.len())
}

fn function(
    name: &str,
    returns: DataType,
    answer: impl Fn(&[ArrayRef]) -> Result<ArrayRef, DataFusionError> + Send + Sync + 'static,
) -> ScalarUDF {
    let invoke = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        Ok(ColumnarValue::Array(answer(&arrays)?))
    };
    let signature = Signature::variadic_any(Volatility::Stable);
    let function = SimpleScalarUDF::new_with_signature(name, signature, returns, Arc::new(invoke));
    ScalarUDF::from(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_an_oid_of_its_own() {
        let functions = datafusion_funnel::functions();
        let mut oids: Vec<i32> = functions
            .iter()
            .map(|info| function_oid(&info.name))
            .collect();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), functions.len());
        assert!(oids.iter().all(|oid| *oid >= 0x4000_0000));
    }

    #[test]
    fn sizes_read_as_postgres_writes_them() {
        // PostgreSQL 15.18: select pg_size_pretty(n)
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (1_500_000, "1465 kB"),
            (123_456_789, "118 MB"),
            (-20_480, "-20 kB"),
        ] {
            assert_eq!(pretty_size(bytes), expected);
        }
    }
}
