//! What a transaction means to a session: its settings, and whether it may write.

use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;

use super::outcome::Outcome;
use super::session::{Session, lock};
use crate::error::{Error, Result};
use crate::sql::{Modes, Statement, StatementKind, changing_query};

/// What a transaction is, by the names of settings; each has a default called `default_…`.
const MODES: [&str; 2] = ["transaction_read_only", "transaction_isolation"];

impl Session {
    pub(super) fn begin(&self, modes: &Modes, statement: &Statement) -> Result<Outcome> {
        let in_block = lock(&self.settings).in_transaction();
        if !in_block {
            self.begin_block();
            let mut settings = lock(&self.settings);
            settings.begin();
            for name in MODES {
                let value = settings.get(&format!("default_{name}"))?;
                settings.set(name, Some(&value), true)?;
            }
            for (name, value) in modes {
                settings.set(name, Some(value), true)?;
            }
        }
        let started = statement
            .text
            .get(..5)
            .is_some_and(|word| word.eq_ignore_ascii_case("start"));
        Ok(Outcome::done(if started {
            "START TRANSACTION"
        } else {
            "BEGIN"
        }))
    }

    /// Ends a block; the next one begins at once, and is as this one, where they are chained.
    pub(super) async fn end(&self, undo: bool, chain: bool) -> Result<Outcome> {
        let tag = if undo { "ROLLBACK" } else { "COMMIT" };
        let modes = match chain {
            true => self.modes_to_chain(undo)?,
            false => Modes::new(),
        };
        let committed = match undo {
            true => {
                self.roll_back();
                Ok(())
            }
            false => Box::pin(self.commit_block()).await,
        };
        // The block is over, however it went.
        let undo = undo || committed.is_err();
        let chain = chain && committed.is_ok();
        if chain {
            self.begin_block();
        }
        let outcome = self
            .change_settings(tag, |settings| {
                settings.end(undo);
                if chain {
                    settings.begin();
                    for (name, value) in &modes {
                        settings.set(name, Some(value), true)?;
                    }
                }
                Ok(())
            })
            .await;
        committed?;
        outcome
    }

    /// How the block is that another one follows.
    ///
    /// # Errors
    /// 25P01 where there is none.
    fn modes_to_chain(&self, undo: bool) -> Result<Modes> {
        let settings = lock(&self.settings);
        if !settings.in_transaction() {
            return Err(Error::NoTransaction(match undo {
                true => "ROLLBACK AND CHAIN",
                false => "COMMIT AND CHAIN",
            }));
        }
        let modes = MODES.into_iter();
        modes.map(|name| Ok((name, settings.get(name)?))).collect()
    }

    /// Ends a block that failed, whatever word it is ended by.
    ///
    /// # Errors
    /// Those of settings that can't be what they were.
    pub async fn roll_back_block(&self, chain: bool) -> Result<Outcome> {
        self.end(true, chain).await
    }

    /// A statement comes that isn't in a block, and others may follow it in the same message or before the same Sync: its changes
    /// of rows are theirs, too.
    pub fn begin_implicit_block(&self, kind: &StatementKind) {
        if self.runs(kind, changes_rows) {
            self.open_implicit_block();
        }
    }

    /// Whether a statement takes effect at once, and with it what was changed before it without a `BEGIN`.
    pub fn ends_implicit_block(&self, kind: &StatementKind) -> bool {
        self.has_implicit_block() && !self.runs(kind, goes_with_others)
    }

    /// What was changed without a `BEGIN` is everybody's.
    ///
    /// # Errors
    /// 40001 and 23505, where others have changed the same rows or added the same keys.
    pub async fn commit_implicit_block(&self) -> Result<()> {
        match self.has_implicit_block() {
            true => Box::pin(self.commit_block()).await,
            false => Ok(()),
        }
    }

    /// What was changed without a `BEGIN` is nobody's.
    pub fn roll_back_implicit_block(&self) {
        if self.has_implicit_block() {
            self.roll_back();
        }
    }

    /// Asks of a statement, and of the one that `EXECUTE` runs.
    fn runs(&self, kind: &StatementKind, asked: fn(&StatementKind) -> bool) -> bool {
        match kind {
            StatementKind::Execute { name, .. } => match self.prepared_named(name) {
                Ok(prepared) => asked(&prepared.statement.kind),
                Err(_) => asked(kind),
            },
            kind => asked(kind),
        }
    }

    pub(super) async fn set_modes(&self, modes: &Modes, session: bool) -> Result<Outcome> {
        self.change_settings("SET", |settings| {
            for (name, value) in modes {
                match session {
                    true => settings.set(&format!("default_{name}"), Some(value), false)?,
                    false => settings.set(name, Some(value), true)?,
                };
            }
            Ok(())
        })
        .await
    }

    /// Refuses a change in a transaction that only reads.
    ///
    /// # Errors
    /// 25006.
    pub fn check_writes(&self, statement: &Statement) -> Result<()> {
        let Some(command) = writes(&statement.kind) else {
            return Ok(());
        };
        let settings = lock(&self.settings);
        let name = if settings.in_transaction() {
            "transaction_read_only"
        } else {
            "default_transaction_read_only"
        };
        match settings.get(name)? == "on" {
            true => Err(Error::ReadOnly(command)),
            false => Ok(()),
        }
    }
}

/// Whether a statement changes rows.
fn changes_rows(kind: &StatementKind) -> bool {
    match kind {
        StatementKind::Copy(copy) => copy.from,
        StatementKind::Engine(statement) => matches!(
            engine_writes(statement),
            Some("INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE TABLE" | "SELECT")
        ),
        _ => false,
    }
}

/// Whether changes of rows may wait until a statement, which comes behind them, has run: it changes rows, it reads, or it is about
/// the session.
fn goes_with_others(kind: &StatementKind) -> bool {
    use StatementKind as K;
    match kind {
        K::Engine(statement) => match statement.as_ref() {
            EngineStatement::Statement(inner) => {
                changes_rows(kind) || matches!(inner.as_ref(), ast::Statement::Query(_))
            }
            _ => false,
        },
        K::Copy(_)
        | K::Execute { .. }
        | K::Prepare { .. }
        | K::Deallocate(_)
        | K::Explain { .. }
        | K::Declare { .. }
        | K::Fetch { .. }
        | K::CloseCursor(_)
        | K::Listen(_)
        | K::Unlisten(_)
        | K::Notify { .. }
        | K::Set { .. }
        | K::SetModes { .. }
        | K::ResetAll
        | K::Show(_)
        | K::ShowAll
        | K::ShowFunnels
        | K::ShowCreateFunnel(_)
        | K::ShowCreateMetric(_)
        | K::ShowCreateChange(_)
        | K::ShowChanges
        | K::ShowSql(_)
        | K::ReviewChange(_)
        | K::Nothing(_)
        | K::Begin(_)
        | K::Commit { .. }
        | K::Rollback { .. }
        | K::Savepoint(_)
        | K::Release(_)
        | K::RollbackTo(_) => true,
        _ => false,
    }
}

/// The command of a statement that changes something which others see.
fn writes(kind: &StatementKind) -> Option<&'static str> {
    Some(match kind {
        StatementKind::CreateFunnel(_) => "CREATE FUNNEL",
        StatementKind::DropFunnel { .. } => "DROP FUNNEL",
        StatementKind::CreateMetric(_) => "CREATE METRIC",
        StatementKind::DropMetric { .. } => "DROP METRIC",
        StatementKind::CreateChange(_) => "CREATE CHANGE",
        StatementKind::DropChange { .. } => "DROP CHANGE",
        StatementKind::CommentOnFunnel { .. } | StatementKind::CommentOnChange { .. } => "COMMENT",
        StatementKind::Annotate(_) => "ALTER TABLE",
        StatementKind::Sequence(sequence) => sequence.tag(),
        StatementKind::Index(index) => index.tag(),
        StatementKind::Foreign(foreign) => foreign.tag(),
        StatementKind::Materialized(view) => view.tag(),
        StatementKind::Engine(statement) => return engine_writes(statement),
        StatementKind::Copy(copy) if copy.from => "COPY FROM",
        _ => return None,
    })
}

fn engine_writes(statement: &EngineStatement) -> Option<&'static str> {
    Some(match statement {
        EngineStatement::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
        EngineStatement::CopyTo(_) => "COPY",
        EngineStatement::Statement(statement) => match statement.as_ref() {
            ast::Statement::Insert(_) => "INSERT",
            ast::Statement::Update { .. } => "UPDATE",
            ast::Statement::Delete(_) => "DELETE",
            ast::Statement::Merge(_) => "MERGE",
            ast::Statement::Truncate { .. } => "TRUNCATE TABLE",
            ast::Statement::CreateTable(_) => "CREATE TABLE",
            ast::Statement::CreateView { .. } => "CREATE VIEW",
            ast::Statement::CreateSchema { .. } => "CREATE SCHEMA",
            ast::Statement::Drop { .. } => "DROP",
            ast::Statement::AlterTable(_) => "ALTER TABLE",
            ast::Statement::Query(query) => match query.body.as_ref() {
                ast::SetExpr::Insert(_) => "INSERT",
                ast::SetExpr::Update(_) => "UPDATE",
                ast::SetExpr::Delete(_) => "DELETE",
                ast::SetExpr::Merge(_) => "MERGE",
                // Its WITH changes rows.
                _ if changing_query(statement).is_some() => "SELECT",
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    })
}
