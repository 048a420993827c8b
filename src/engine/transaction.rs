//! What a transaction means to a session: its settings, and whether it may write.

use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;

use super::outcome::Outcome;
use super::session::{Session, lock};
use crate::error::{Error, Result};
use crate::sql::{Modes, Statement, StatementKind};

impl Session {
    pub(super) fn begin(&self, modes: &Modes, statement: &Statement) -> Result<Outcome> {
        let in_block = lock(&self.settings).in_transaction();
        if !in_block {
            self.begin_block();
            let mut settings = lock(&self.settings);
            settings.begin();
            for (name, default) in [
                ("transaction_read_only", "default_transaction_read_only"),
                ("transaction_isolation", "default_transaction_isolation"),
            ] {
                let value = settings.get(default)?;
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

    pub(super) async fn end(&self, undo: bool) -> Result<Outcome> {
        let tag = if undo { "ROLLBACK" } else { "COMMIT" };
        let committed = match undo {
            true => {
                self.roll_back();
                Ok(())
            }
            false => Box::pin(self.commit_block()).await,
        };
        // The block is over, however it went.
        let undo = undo || committed.is_err();
        let outcome = self
            .change_settings(tag, |settings| {
                settings.end(undo);
                Ok(())
            })
            .await;
        committed?;
        outcome
    }

    /// Ends a block that failed, whatever word it is ended by.
    ///
    /// # Errors
    /// Those of settings that can't be what they were.
    pub async fn roll_back_block(&self) -> Result<Outcome> {
        self.end(true).await
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
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    })
}
