//! Aggregates: many rows of an entity or a group become one value.

pub mod cumulative_incidence;
pub mod journey;
