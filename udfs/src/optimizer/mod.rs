//! Rules for DataFusion's optimizer, about what it can't know of journeys.

pub mod dimension_filter;
