//! Statistics as plain functions on numbers, which the functions of SQL call.

pub mod cox;
pub mod newton;
pub mod regression;
pub mod weibull;
