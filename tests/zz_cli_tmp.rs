#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]
#[path = "it/cli.rs"]
mod cli;
