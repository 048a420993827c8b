//! FunnelSQL: a funnel-analytics engine that any SQL client can query.

pub mod catalog;
pub mod cli;
pub mod engine;
pub mod error;
pub mod sample;
pub mod server;
pub mod sql;
