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
mod examples;
mod fuzz;
mod health;
mod limits;
mod load;
mod logic;
mod peers;
mod plans;
mod postgres;
mod real_data;
mod support;
mod wire;
