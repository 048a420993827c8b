//! The integration tests: one binary, a module an area.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod logic;
mod plans;
