//! The functions and operators of Postgres that DataFusion lacks, or computes otherwise.
//!
//! Where DataFusion has a function of the same name with another meaning, ours is called `pg_` and that name, and a
//! statement's call of it is written so (see [`super::rewrite`]): what the engine's own plans call stays DataFusion's.

mod arithmetic;
mod array_agg;
mod arrays;
mod chain;
mod date_trunc;
mod dates;
mod documents;
mod json_changes;
mod numbers;
mod ordered_sets;
mod padding;
mod patterns;
mod periods;
mod read_as;
mod records;
mod sleep;
mod texts;
mod to_char;
mod totals;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::prelude::SessionContext;

use super::casts;
use super::names_of_objects::Names;
pub use chain::{CHAIN, LINKS};
pub use dates::{interval_length, with_digits};
pub use records::{present_row, whole_row};
use totals::PgTotal;

/// Functions of DataFusion's whose calls in a statement are ours.
pub const OVERRIDDEN: [&str; 50] = [
    "abs",
    "array_agg",
    "array_length",
    "array_position",
    "array_to_string",
    "cardinality",
    "ceil",
    "ceiling",
    "concat",
    "concat_ws",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "log",
    "make_date",
    "mod",
    "overlay",
    "pow",
    "power",
    "round",
    "string_to_array",
    "substr",
    "substring",
    "to_char",
    "to_date",
    "to_timestamp",
    "trunc",
    "array_upper",
    "array_lower",
    "array_ndims",
    "encode",
    "array_dims",
    "gcd",
    "lcm",
    "ln",
    "normalize",
    "row",
    "sqrt",
    "bit_length",
    "decode",
    "octet_length",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "lpad",
    "rpad",
];

/// Registers them.
pub fn register(context: &SessionContext, names: &Arc<dyn Names>) {
    let mut functions: Vec<ScalarUDF> = casts::all(names);
    functions.extend(arithmetic::all());
    functions.extend(arrays::all());
    functions.extend(dates::all());
    functions.push(date_trunc::date_trunc());
    functions.extend(json_changes::all());
    functions.extend(ordered_sets::all());
    functions.extend(padding::all());
    functions.extend(patterns::all());
    functions.extend(periods::all());
    functions.push(read_as::read_as());
    functions.extend(records::all());
    functions.push(sleep::pg_sleep());
    functions.push(totals::addend());
    functions.extend(documents::all());
    functions.extend(numbers::all());
    functions.extend(texts::all());
    functions.push(chain::chain(&functions));
    for function in functions {
        context.register_udf(function);
    }
    let state = context.state();
    let aggregates = state.aggregate_functions();
    if let Some(array_agg) = aggregates.get("array_agg") {
        context.register_udaf(AggregateUDF::from(array_agg::PgArrayAgg::new(Arc::clone(
            array_agg,
        ))));
    }
    if let Some(avg) = aggregates.get("avg") {
        context.register_udaf(AggregateUDF::from(PgTotal::average(Arc::clone(avg))));
    }
    if let Some(sum) = aggregates.get("sum") {
        context.register_udaf(AggregateUDF::from(PgTotal::sum(Arc::clone(sum))));
    }
}
