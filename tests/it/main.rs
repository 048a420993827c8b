//! The integration tests: one binary, a module an area.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod access;
mod access_hidden;
mod audit;
mod changes;
mod cli;
mod comparisons;
mod durability;
mod encoding;
mod examples;
mod external;
mod federation;
mod fuzz;
mod health;
mod import;
mod kept_plans;
mod limits;
mod load;
mod logic;
mod peers;
mod plans;
mod postgres;
mod real_data;
mod storage;
mod support;
mod tables;
mod wire;
