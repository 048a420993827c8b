//! The `funnelsql` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    funnelsql::cli::main()
}
