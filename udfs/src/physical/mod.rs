//! Operators that DataFusion doesn't have.

pub mod relevant_rows;
