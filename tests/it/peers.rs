//! The event functions against ClickHouse: the script `tests/peers/differential.py` with a fixed seed.
//!
//! It needs python3 with chdb, psycopg and pyarrow. Where they are absent, the test says so and passes.

use std::path::Path;
use std::process::Command;

/// Whether the script's modules are there. It looks for them without loading them.
fn can_run() -> bool {
    let look = "import importlib.util, sys; \
        sys.exit(not all(map(importlib.util.find_spec, ['chdb', 'psycopg', 'pyarrow'])))";
    let found = Command::new("python3").args(["-c", look]).status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn the_event_functions_answer_as_clickhouse_does() {
    if !can_run() {
        eprintln!("skipped: python3 with chdb, psycopg and pyarrow is absent");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/differential.py");
    let output = Command::new("python3")
        .arg(script)
        .args(["--cases", "2500", "--seed", "1", "--binary"])
        .arg(env!("CARGO_BIN_EXE_funnelsql"))
        .output()
        .unwrap();
    let [report, log] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{report}\n{log}");
}
