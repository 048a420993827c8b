//! Postgres' meaning of SQL over DataFusion: names and types of columns, casts, operators, functions.
//!
//! A statement is rewritten before it is planned ([`rewrite`]), so that what DataFusion computes otherwise is computed by
//! functions of ours ([`functions`], [`casts`]); a plan that DataFusion can't run because a subquery depends on the row
//! outside of it is run row by row ([`apply`]). What a column's type is beyond its Arrow type stands in its field's
//! metadata ([`types`]).

pub mod apply;
pub mod binary;
pub mod casts;
pub mod columns;
pub mod datetime;
pub mod encoding;
pub mod function;
pub mod functions;
pub mod input_order;
pub mod interval_order;
pub mod json;
pub mod mixed_types;
pub mod names;
pub mod names_of_objects;
pub mod operators;
pub mod origins;
pub mod recursion;
pub mod regex;
pub mod rewrite;
pub mod rows;
pub mod style;
pub mod text;
pub mod types;
pub mod zones;
