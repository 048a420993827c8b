//! Operators that DataFusion doesn't have.

pub mod hit_groups;
pub mod relevant_rows;
pub mod shared;
