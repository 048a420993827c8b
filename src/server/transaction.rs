//! Transaction blocks as a client is told of them: `BEGIN` opens one, an error fails it, and then nothing
//! runs until it ends. Changes of durable tables' rows are the session's to keep or undo; definitions take effect at once,
//! and a rollback says that it doesn't undo them.

use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use pgwire::messages::response::TransactionStatus;

use crate::engine::Notice;
use crate::error::{Error, Result};
use crate::sql::StatementKind;

/// The state of a connection's transaction block.
#[derive(Debug)]
pub struct Transaction {
    status: TransactionStatus,
    /// How many statements of the block have changed something.
    changes: usize,
    /// Its savepoints, oldest first.
    savepoints: Vec<String>,
}

impl Default for Transaction {
    fn default() -> Self {
        Self {
            status: TransactionStatus::Idle,
            changes: 0,
            savepoints: Vec::new(),
        }
    }
}

impl Transaction {
    /// The state as the client is told it.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// The state as `pg_stat_activity` calls it, while nothing runs.
    pub fn state_name(&self) -> &'static str {
        match self.status {
            TransactionStatus::Idle => "idle",
            TransactionStatus::Transaction => "idle in transaction",
            TransactionStatus::Error => "idle in transaction (aborted)",
        }
    }

    /// Whether a block is open, failed or not.
    pub fn is_open(&self) -> bool {
        self.status != TransactionStatus::Idle
    }

    /// Refuses what can't run in a failed block.
    ///
    /// # Errors
    /// 25P02; 25P01 and 3B001 for savepoints that can't be.
    pub fn admit(&self, kind: &StatementKind) -> Result<()> {
        let ends = matches!(
            kind,
            StatementKind::Commit { .. }
                | StatementKind::Rollback { .. }
                | StatementKind::RollbackTo(_)
        );
        if self.status == TransactionStatus::Error && !ends {
            return Err(Error::TransactionAborted);
        }
        let (command, savepoint) = match kind {
            StatementKind::Savepoint(_) => ("SAVEPOINT", None),
            StatementKind::Release(name) => ("RELEASE SAVEPOINT", Some(name)),
            StatementKind::RollbackTo(name) => ("ROLLBACK TO SAVEPOINT", Some(name)),
            _ => return Ok(()),
        };
        if !self.is_open() {
            return Err(Error::NoTransaction(command));
        }
        match savepoint {
            Some(name) if !self.savepoints.contains(name) => {
                Err(Error::UnknownSavepoint(name.clone()))
            }
            _ => Ok(()),
        }
    }

    /// A statement failed.
    pub fn fail(&mut self) {
        self.status = self.status.to_error_state();
    }

    /// A statement without rows is done. Returns what the client should be told; the commit of a failed
    /// block is tagged as the rollback that it is.
    pub fn done(&mut self, kind: &StatementKind, tag: &mut String) -> Option<Notice> {
        match kind {
            StatementKind::Begin(_) => self.begin(),
            StatementKind::Savepoint(name) => {
                self.savepoints.push(name.clone());
                None
            }
            StatementKind::Release(name) => {
                self.forget_from(name, false);
                None
            }
            StatementKind::RollbackTo(name) => {
                self.forget_from(name, true);
                self.status = TransactionStatus::Transaction;
                None
            }
            StatementKind::Commit { chain } if self.status == TransactionStatus::Error => {
                "ROLLBACK".clone_into(tag);
                self.end(true, *chain)
            }
            StatementKind::Commit { chain } => self.end(false, *chain),
            StatementKind::Rollback { chain } => self.end(true, *chain),
            StatementKind::CreateFunnel(_)
            | StatementKind::DropFunnel { .. }
            | StatementKind::CommentOnFunnel { .. }
            | StatementKind::Role(_) => {
                self.changes += 1;
                None
            }
            // Changes of rows are undone.
            StatementKind::Engine(statement) if !changes_rows(statement) => {
                self.changes += 1;
                None
            }
            _ => None,
        }
    }

    /// Forgets a savepoint and those behind it; the savepoint itself may stay.
    fn forget_from(&mut self, name: &str, stays: bool) {
        if let Some(at) = self.savepoints.iter().rposition(|known| known == name) {
            self.savepoints.truncate(at + usize::from(stays));
        }
    }

    fn begin(&mut self) -> Option<Notice> {
        if self.is_open() {
            return Some(warning(
                "25001",
                "there is already a transaction in progress".to_owned(),
            ));
        }
        *self = Self {
            status: TransactionStatus::Transaction,
            ..Self::default()
        };
        None
    }

    fn end(&mut self, undo: bool, chain: bool) -> Option<Notice> {
        let ended = std::mem::take(self);
        if chain {
            self.status = TransactionStatus::Transaction;
        }
        if !ended.is_open() {
            return Some(warning(
                "25P01",
                "there is no transaction in progress".to_owned(),
            ));
        }
        (undo && ended.changes > 0).then(|| Notice {
            hint: Some(
                "Definitions take effect at once; only changes of rows are undone.".to_owned(),
            ),
            ..warning(
                "01000",
                format!("changes of this transaction are kept: {}", ended.changes),
            )
        })
    }
}

/// Whether a statement changes rows and nothing else.
fn changes_rows(statement: &EngineStatement) -> bool {
    use ast::Statement as S;
    matches!(statement, EngineStatement::Statement(inner) if matches!(
        inner.as_ref(),
        S::Insert(_) | S::Update(_) | S::Delete(_) | S::Merge(_) | S::Truncate(_) | S::Query(_)
    ))
}

fn warning(code: &'static str, message: String) -> Notice {
    Notice {
        severity: "WARNING",
        code,
        message,
        hint: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn done(transaction: &mut Transaction, kind: &StatementKind) -> (String, Option<&'static str>) {
        let mut tag = "COMMIT".to_owned();
        let notice = transaction.done(kind, &mut tag);
        (tag, notice.map(|notice| notice.code))
    }

    #[test]
    fn a_failed_block_runs_nothing_until_it_ends_as_a_rollback() {
        let mut transaction = Transaction::default();
        done(&mut transaction, &StatementKind::Begin(Vec::new()));
        transaction.fail();
        assert_eq!(
            transaction
                .admit(&StatementKind::ShowAll)
                .unwrap_err()
                .code(),
            "25P02"
        );
        transaction
            .admit(&StatementKind::Commit { chain: false })
            .unwrap();
        assert_eq!(
            done(&mut transaction, &StatementKind::Commit { chain: false }),
            ("ROLLBACK".to_owned(), None)
        );
        assert_eq!(transaction.status(), TransactionStatus::Idle);
    }

    #[test]
    fn a_chained_block_is_open_and_has_not_failed() {
        let mut transaction = Transaction::default();
        done(&mut transaction, &StatementKind::Begin(Vec::new()));
        transaction.fail();
        let ended = done(&mut transaction, &StatementKind::Commit { chain: true });
        assert_eq!(ended, ("ROLLBACK".to_owned(), None));
        assert_eq!(transaction.status(), TransactionStatus::Transaction);
    }

    #[test]
    fn an_error_outside_of_a_block_fails_nothing() {
        let mut transaction = Transaction::default();
        transaction.fail();
        assert_eq!(transaction.status(), TransactionStatus::Idle);
    }

    #[test]
    fn a_block_that_is_there_or_is_not_is_warned_about() {
        let mut transaction = Transaction::default();
        assert_eq!(
            done(&mut transaction, &StatementKind::Commit { chain: false }).1,
            Some("25P01")
        );
        assert_eq!(
            done(&mut transaction, &StatementKind::Begin(Vec::new())).1,
            None
        );
        assert_eq!(
            done(&mut transaction, &StatementKind::Begin(Vec::new())).1,
            Some("25001")
        );
    }

    #[test]
    fn a_rollback_says_what_it_could_not_undo() {
        let mut transaction = Transaction::default();
        done(&mut transaction, &StatementKind::Begin(Vec::new()));
        let drop = StatementKind::DropFunnel {
            names: Vec::new(),
            if_exists: true,
        };
        done(&mut transaction, &drop);
        assert_eq!(
            done(&mut transaction, &StatementKind::Rollback { chain: false }).1,
            Some("01000")
        );
    }
}
