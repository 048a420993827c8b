//! SQL logic tests: every file in `tests/slt`, and every example in the functions' documentation.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::DataType;
use datafusion::execution::SendableRecordBatchStream;
use funnelsql::engine::{Engine, EngineOptions, Outcome, Session, named_text_rows};
use funnelsql::error::Error;
use funnelsql::postgres::names_of_objects::NoNames;
use funnelsql::server::STACK_BYTES;
use futures::TryStreamExt;
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, TestError};
use tempfile::TempDir;

/// An error as the scripts expect it: `statement error 42704: funnel "x" does not exist`.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{}: {}", .0.code(), .0)]
    Of(#[from] Error),
    /// The query behind a call has other rows.
    #[error("{0}")]
    Different(String),
}

/// A session as sqllogictest drives it.
struct Database {
    session: Session,
}

impl Database {
    /// The query that `SHOW SQL FOR` gives for a call of a table function has the same rows. Without `as_of`
    /// a call is of the moment, so that they can't be compared.
    async fn check_sql_behind(&self, sql: &str, expected: &[Vec<String>]) -> Result<(), Fault> {
        if !sql.contains("as_of") || !sql.trim_start().to_lowercase().starts_with("select") {
            return Ok(());
        }
        let behind = self.query(&format!("SHOW SQL FOR {sql}")).await?;
        let behind = &behind[0][0];
        let found = self.query(behind).await?;
        if found != expected {
            let message = format!(
                "the rows of {sql}\nare {expected:?}\nand not {found:?}, those of\n{behind}"
            );
            return Err(Fault::Different(message));
        }
        Ok(())
    }

    async fn query(&self, sql: &str) -> Result<Vec<Vec<String>>, Fault> {
        let mut found = Vec::new();
        for statement in self.session.parse(sql)? {
            if let Outcome::Rows { stream, .. } = self.session.execute_statement(statement).await? {
                found = rows(&self.session, stream, sql).await?;
            }
        }
        Ok(found)
    }
}

async fn rows(
    session: &Session,
    stream: SendableRecordBatchStream,
    sql: &str,
) -> Result<Vec<Vec<String>>, Fault> {
    let batches: Vec<_> = stream
        .try_collect()
        .await
        .map_err(|error| Error::from_engine(&error, sql))?;
    let mut rows = Vec::new();
    for batch in &batches {
        let texts = named_text_rows(batch, &NoNames, session.style())?;
        rows.extend(texts.into_iter().map(shown));
    }
    Ok(rows)
}

#[async_trait]
impl AsyncDB for Database {
    type Error = Fault;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Fault> {
        let mut output = DBOutput::StatementComplete(0);
        for statement in self.session.parse(sql)? {
            output = match self.session.execute_statement(statement).await? {
                Outcome::Done { tag, .. } => DBOutput::StatementComplete(count(&tag)),
                Outcome::Rows { stream, .. } => {
                    let schema = stream.schema();
                    let types = schema
                        .fields()
                        .iter()
                        .map(|f| column_type(f.data_type()))
                        .collect();
                    let rows = rows(&self.session, stream, sql).await?;
                    self.check_sql_behind(sql, &rows).await?;
                    DBOutput::Rows { types, rows }
                }
            };
        }
        Ok(output)
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "funnelsql"
    }

    fn error_sql_state(error: &Fault) -> Option<String> {
        match error {
            Fault::Of(error) => Some(error.code().to_owned()),
            Fault::Different(_) => None,
        }
    }
}

/// How many rows a command's tag says: `INSERT 0 5`.
fn count(tag: &str) -> u64 {
    let count = tag.rsplit(' ').next().and_then(|count| count.parse().ok());
    count.unwrap_or(0)
}

fn column_type(found: &DataType) -> DefaultColumnType {
    match found {
        found if found.is_integer() => DefaultColumnType::Integer,
        found if found.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

/// sqllogictest's spelling of what can't be seen.
fn shown(row: Vec<Option<String>>) -> Vec<String> {
    row.into_iter()
        .map(|value| match value {
            None => "NULL".to_owned(),
            Some(text) if text.is_empty() => "(empty)".to_owned(),
            Some(text) => text,
        })
        .collect()
}

async fn session(folder: &TempDir) -> Session {
    let options = EngineOptions::new(folder.path());
    let engine: Arc<Engine> = Engine::open(options).await.expect("an empty folder opens");
    engine.session("analyst")
}

async fn run(script: &str) -> Result<(), TestError> {
    let folder = TempDir::new().expect("a temporary folder");
    let mut runner = Runner::new(|| async {
        Ok(Database {
            session: session(&folder).await,
        })
    });
    runner.run_script_async(script).await
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)
        .expect("the folder is part of the project")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs it on a thread with as large a stack as the server's have: plans are deep, and more so without optimization.
fn on_a_server_thread<F>(test: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .expect("threads");
    if let Err(failed) = runtime.block_on(runtime.spawn(test)) {
        std::panic::resume_unwind(failed.into_panic());
    }
}

#[test]
fn every_logic_test_passes() {
    on_a_server_thread(logic_tests());
}

async fn logic_tests() {
    let mut scripts = files(&project().join("tests/slt"), "slt");
    assert!(scripts.len() >= 5, "the logic tests are there");
    // `SLT=rates cargo test …` runs the scripts of that name only.
    if let Ok(only) = std::env::var("SLT") {
        scripts.retain(|path| path.to_string_lossy().contains(&only));
    }
    let mut failed = Vec::new();
    for path in scripts {
        let script = fs::read_to_string(&path).expect("a readable script");
        let name = path.display().to_string();
        if let Err(error) = run(&script).await {
            failed.push(format!("{name}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The examples between ```` ```slt ```` and ```` ``` ```` of doc comments.
fn examples(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut example: Option<String> = None;
    for line in source.lines() {
        let line = line.trim_start();
        let Some(text) = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
        else {
            continue;
        };
        let text = text.strip_prefix(' ').unwrap_or(text);
        match (&mut example, text.trim_end()) {
            (None, "```slt") => example = Some(String::new()),
            (Some(_), "```") => found.extend(example.take()),
            (Some(lines), text) => {
                lines.push_str(text);
                lines.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

#[test]
fn every_example_of_the_documentation_is_true() {
    on_a_server_thread(documentation_examples());
}

async fn documentation_examples() {
    let mut count = 0;
    let mut failed = Vec::new();
    for path in files(&project().join("udfs/src"), "rs") {
        let source = fs::read_to_string(&path).expect("a readable source");
        for (at, example) in examples(&source).iter().enumerate() {
            let name = format!("{} example {}", path.display(), at + 1);
            if let Err(error) = run(example).await {
                failed.push(format!("{name}: {error}"));
            }
            count += 1;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count >= 5, "only {count} examples found");
}
