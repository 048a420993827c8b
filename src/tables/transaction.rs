//! What a statement sees, what a transaction has changed so far, and how it becomes everybody's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use datafusion::arrow::array::RecordBatch;
use deltalake::kernel::Action;
use tokio::sync::OwnedMutexGuard;

use super::definition::Shape;
use super::redo::{self, Commit, Record};
use super::sequences::Restarts;
use super::table::{Committed, Table, Unfinished, operation};
use super::version::{DataFile, Version};
use super::{Moment, Tables};
use crate::error::{ChangeFault, Error, Result};
use crate::storage::Place;

/// What a statement sees of the tables.
#[derive(Debug, Clone)]
pub struct View {
    /// What everybody sees.
    moment: Arc<Moment>,
    /// What only the session sees: its transaction's changes.
    own: HashMap<String, Arc<Version>>,
}

impl View {
    /// What is everybody's.
    pub fn new(moment: Arc<Moment>) -> Self {
        Self {
            moment,
            own: HashMap::new(),
        }
    }

    /// What is in a table; nothing for one that was made since.
    pub fn of(&self, table: &Table) -> Option<Arc<Version>> {
        let id = table.id();
        let seen = self.own.get(&id).or_else(|| self.moment.get(&id));
        seen.map(Arc::clone)
    }
}

/// What a transaction has changed in one table.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The table.
    pub table: Arc<Table>,
    /// What was in it before.
    pub base: Arc<Version>,
    /// What was in it when the keys of added rows were compared with it; what others have added since, the commit compares.
    pub compared: Arc<Version>,
    /// What the transaction sees in it.
    pub version: Arc<Version>,
    /// The columns that its rows have.
    pub shape: Arc<Shape>,
    /// Rows that were added and aren't in a file yet.
    pub pending: Vec<RecordBatch>,
    /// Its files stay while it does.
    _unfinished: Arc<Unfinished>,
}

impl Staged {
    /// Nothing was changed yet.
    pub fn new(table: Arc<Table>, shape: Arc<Shape>, base: Arc<Version>) -> Self {
        let unfinished = Arc::new(table.begin());
        Self {
            table,
            version: Arc::clone(&base),
            compared: Arc::clone(&base),
            base,
            shape,
            pending: Vec::new(),
            _unfinished: unfinished,
        }
    }

    /// What was changed is on top of what is there now. Where somebody else has changed the same rows it stays as it is, and the
    /// commit finds it.
    fn follow(&mut self, now: &Arc<Version>) {
        if Arc::ptr_eq(now, &self.base) || check_shape(&self.table, &self.shape).is_err() {
            return;
        }
        let removed = self.base.beyond(&self.version);
        let there = now.paths();
        if removed.iter().any(|file| !there.contains(file.path())) {
            return;
        }
        let paths = removed.iter().map(|file| file.path().to_owned()).collect();
        let added = self.version.beyond(&self.base);
        let version = Arc::new(now.changed(&paths, &added));
        self.table.note(&version);
        self.base = Arc::clone(now);
        self.version = version;
    }
}

/// What a transaction block had changed at a point that it can go back to.
#[derive(Debug)]
struct Savepoint {
    name: String,
    staged: BTreeMap<String, Staged>,
    /// How many sequences it had begun anew.
    restarts: usize,
}

/// A transaction block's changes.
#[derive(Debug, Default)]
pub struct Block {
    /// What it sees, where every statement is to see the same.
    pub pinned: Option<Arc<Moment>>,
    /// What each part of a statement of several changes sees, until the statement is done.
    pub statement: Option<Arc<View>>,
    /// What it has changed, by the tables' IDs.
    pub staged: BTreeMap<String, Staged>,
    /// The sequences that it has begun anew.
    pub restarts: Restarts,
    /// What it had changed at each savepoint, the oldest first.
    savepoints: Vec<Savepoint>,
    /// Nobody said `BEGIN`: it ends with the message, or the Sync, of its statements.
    pub implicit: bool,
    /// What keeps others from changing the tables that an implicit block changes, by the tables' IDs.
    pub held: BTreeMap<String, OwnedMutexGuard<()>>,
}

impl Block {
    /// One that nobody began.
    pub fn unspoken() -> Self {
        Self {
            implicit: true,
            ..Self::default()
        }
    }

    /// It was begun meanwhile: from here on others don't wait for it.
    pub fn begin(&mut self) {
        self.implicit = false;
        self.held.clear();
    }

    /// Its next statement sees what others have committed, beside what it has changed itself; where every statement is to see the
    /// same, it doesn't.
    pub fn follow(&mut self, now: &Moment) {
        if self.pinned.is_some() || self.statement.is_some() {
            return;
        }
        for (id, staged) in &mut self.staged {
            if let Some(version) = now.get(id) {
                staged.follow(version);
            }
        }
    }

    /// What its next statement sees.
    pub fn view(&self, now: Arc<Moment>) -> View {
        if let Some(view) = &self.statement {
            return View::clone(view);
        }
        let moment = self.pinned.as_ref().map_or(now, Arc::clone);
        let own = self
            .staged
            .iter()
            .map(|(id, staged)| (id.clone(), Arc::clone(&staged.version)));
        View {
            moment,
            own: own.collect(),
        }
    }

    /// Remembers what was changed so far.
    pub fn savepoint(&mut self, name: &str) {
        self.savepoints.push(Savepoint {
            name: name.to_owned(),
            staged: self.staged.clone(),
            restarts: self.restarts.count(),
        });
    }

    /// Forgets a savepoint and those behind it; what was changed stays.
    pub fn release(&mut self, name: &str) {
        if let Some(at) = self.place_of(name) {
            self.savepoints.truncate(at);
        }
    }

    /// What was changed since a savepoint isn't.
    pub fn roll_back_to(&mut self, name: &str) {
        if let Some(at) = self.place_of(name) {
            let savepoint = &self.savepoints[at];
            self.staged = savepoint.staged.clone();
            self.restarts.undo_behind(savepoint.restarts);
            self.savepoints.truncate(at + 1);
        }
    }

    /// The place of the latest savepoint of that name.
    fn place_of(&self, name: &str) -> Option<usize> {
        self.savepoints
            .iter()
            .rposition(|savepoint| savepoint.name == name)
    }

    /// Refuses rows whose table has got other columns or constraints since.
    ///
    /// # Errors
    /// 40001.
    pub fn check_shapes(&self) -> Result<()> {
        let mut staged = self.staged.values();
        staged.try_for_each(|staged| check_shape(&staged.table, &staged.shape))
    }

    /// Its changes, to be committed.
    pub fn changes(&self) -> Vec<Change> {
        self.staged
            .values()
            .map(|staged| Change {
                table: Arc::clone(&staged.table),
                base: Arc::clone(&staged.compared),
                removed: staged.base.beyond(&staged.version),
                added: staged.version.beyond(&staged.base),
                moves_rows: false,
            })
            .filter(|change| !change.removed.is_empty() || !change.added.is_empty())
            .collect()
    }
}

/// Refuses rows of a shape whose table has got other columns or constraints since.
///
/// # Errors
/// 40001.
pub fn check_shape(table: &Table, shape: &Shape) -> Result<()> {
    let now = table.shape();
    match now.takes_rows_of(shape) {
        true => Ok(()),
        false => {
            let name = &now.definition.name;
            Err(ChangeFault::Serialization
                .error("could not serialize access due to concurrent update")
                .detail(format!(
                    "Table \"{name}\" was altered since its rows were looked at."
                ))
                .hint("Run the transaction again.")
                .into())
        }
    }
}

/// A change of one table that is to be committed.
#[derive(Debug)]
pub struct Change {
    /// The table.
    pub table: Arc<Table>,
    /// What was in it when the change was made; the keys of its rows were compared with that.
    pub base: Arc<Version>,
    /// Files that go.
    pub removed: Vec<Arc<DataFile>>,
    /// Files that come.
    pub added: Vec<Arc<DataFile>>,
    /// The same rows are only in other files.
    pub moves_rows: bool,
}

impl Change {
    /// Removes the files that nobody will see.
    pub fn discard(&self) {
        let files = self.added.iter().map(|file| file.path().to_owned());
        self.table.place().discard(files);
    }

    fn actions(&self) -> Vec<Action> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now_ms = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(0));
        let removes = self
            .removed
            .iter()
            .map(|file| Action::Remove(file.remove(!self.moves_rows, now_ms)));
        let adds = self.added.iter().map(|file| {
            let mut add = file.add.clone();
            add.data_change = !self.moves_rows;
            Action::Add(add)
        });
        removes.chain(adds).collect()
    }
}

/// How often what isn't known is asked again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long whoever commits waits for a store that doesn't answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The locks of the tables that are changed.
type Locks = Vec<OwnedMutexGuard<()>>;

/// The files of changes that aren't made go.
fn discarded(changes: &[Change], error: Error) -> Error {
    changes.iter().for_each(Change::discard);
    error
}

/// A store didn't say what became of a change.
fn unknown(error: &Error) -> Error {
    ChangeFault::Other("08007")
        .error(format!("whether the change is made is not known: {error}"))
        .hint("Its tables take no other change until the store answers; look then whether it is there.")
        .into()
}

fn lost_commit() -> Error {
    Error::io("can't commit", ErrorKind::Other.into())
}

/// Forgets a transaction that all of its tables have; one that stays is looked at by the next start, and nothing is done.
fn forget(written: &redo::Written) {
    if let Err(error) = written.forget() {
        tracing::warn!(%error, "a transaction's record can't be removed");
    }
}

/// A commit that is ready to be written.
struct Ready {
    table: Arc<Table>,
    version: Version,
    entry: Vec<u8>,
}

impl Tables {
    /// Commits changes, all of them or none. `locks` are those of their tables, and come back.
    ///
    /// It is finished even when nobody waits for it any more.
    ///
    /// # Errors
    /// 40001 where rows were changed by somebody else since, 42P01 where a table is gone, 53100 and 58030 where it
    /// can't be written; 08007 where a store doesn't say whether it is.
    pub async fn commit(self: &Arc<Self>, changes: Vec<Change>, locks: Locks) -> Result<Locks> {
        let tables = Arc::clone(self);
        let committing = tokio::spawn(async move { tables.commit_now(changes, locks).await });
        let done = committing.await;
        done.unwrap_or_else(|error| Err(Error::io("can't commit", std::io::Error::other(error))))
    }

    async fn commit_now(self: &Arc<Self>, changes: Vec<Change>, locks: Locks) -> Result<Locks> {
        if let Place::Store(remote, _) = &self.place
            && let Err(error) = remote.check_owned()
        {
            return Err(discarded(&changes, error));
        }
        let ready: Result<Vec<Ready>> = changes.iter().map(|change| self.ready(change)).collect();
        let mut ready = match ready {
            Ok(ready) => ready,
            Err(error) => return Err(discarded(&changes, error)),
        };
        match (ready.pop(), ready.is_empty()) {
            (None, _) => Ok(locks),
            (Some(only), true) => self.commit_one(only, changes, locks).await,
            (Some(last), false) => {
                ready.push(last);
                self.commit_several(ready, changes, locks).await
            }
        }
    }

    async fn commit_one(
        self: &Arc<Self>,
        ready: Ready,
        changes: Vec<Change>,
        locks: Locks,
    ) -> Result<Locks> {
        let (number, table) = (ready.version.number, &ready.table);
        let committed = table.commit(number, &ready.entry).await;
        let Committed::Unknown(error) = committed else {
            return self.ended(ready, committed, &changes, locks).await;
        };
        if self.is_on_disk() {
            // It is found out at the next start; until then nobody may write over it.
            std::mem::forget(locks);
            return Err(error);
        }
        match table.settle(number, &ready.entry).await {
            Committed::Unknown(_) => {
                let told = unknown(&error);
                let tables = Arc::clone(self);
                tokio::spawn(async move { tables.settle_later(ready, changes, locks).await });
                Err(told)
            }
            // Why it was asked, and not that it was.
            Committed::Blank => {
                let ended = self.ended(ready, Committed::Blank, &changes, locks);
                ended.await.map_err(|_| error)
            }
            settled => self.ended(ready, settled, &changes, locks).await,
        }
    }

    /// Asks what became of a commit until that is known, or somebody else's. Its table waits.
    async fn settle_later(self: &Arc<Self>, ready: Ready, changes: Vec<Change>, locks: Locks) {
        while self.may_write() {
            tokio::time::sleep(AGAIN).await;
            match ready.table.settle(ready.version.number, &ready.entry).await {
                Committed::Unknown(error) => tracing::warn!(%error, "a commit isn't known yet"),
                settled => {
                    // Whoever asked for it was told that it isn't known.
                    let _ = self.ended(ready, settled, &changes, locks).await;
                    return;
                }
            }
        }
    }

    /// What is known of a commit now becomes what everybody sees.
    async fn ended(
        &self,
        ready: Ready,
        committed: Committed,
        changes: &[Change],
        locks: Locks,
    ) -> Result<Locks> {
        let table = &ready.table;
        let now = match committed {
            Committed::Done => {
                self.seen(vec![ready]);
                return Ok(locks);
            }
            Committed::Failed(error) | Committed::Unknown(error) => {
                return Err(discarded(changes, error));
            }
            Committed::Blank => Ok(Version {
                number: ready.version.number,
                files: self.current(table).files.clone(),
            }),
            Committed::Taken(_) => table.load(None).await,
        };
        if let Ok(version) = now {
            self.replaced(table, version);
        }
        let error = committed.done().err();
        let error = error.unwrap_or_else(lost_commit);
        Err(discarded(changes, error))
    }

    /// What is in a table's log becomes what everybody sees, should it have gone on without this server.
    async fn look_again(&self, table: &Table) {
        match table.load(None).await {
            Ok(version) if version.number > self.current(table).number => {
                self.replaced(table, version);
            }
            // It is looked at again by whoever commits next.
            _ => {}
        }
    }

    fn replaced(&self, table: &Table, version: Version) {
        let version = Arc::new(version);
        table.note(&version);
        self.publish(vec![(table.id(), version)]);
    }

    /// Commits that are in their logs become what everybody sees.
    fn seen(&self, ready: Vec<Ready>) {
        let seen = ready.into_iter().map(|ready| {
            let version = Arc::new(ready.version);
            ready.table.note(&version);
            (ready.table.id(), version)
        });
        self.publish(seen.collect());
    }

    /// The transaction is written down first. From then on it is done: what its tables lack of it, they get.
    async fn commit_several(
        self: &Arc<Self>,
        ready: Vec<Ready>,
        changes: Vec<Change>,
        locks: Locks,
    ) -> Result<Locks> {
        let commits = ready.iter().map(|ready| {
            let commit = Commit {
                number: ready.version.number,
                entry: String::from_utf8_lossy(&ready.entry).into_owned(),
            };
            (ready.table.id(), commit)
        });
        let record = Record {
            commits: commits.collect(),
        };
        let written = match redo::Written::prepare(&self.place) {
            Ok(written) => written,
            Err(error) => return Err(discarded(&changes, error)),
        };
        if let Err(error) = written.write(&record) {
            return Err(self.forgotten(written, changes, locks, error));
        }
        for (at, one) in ready.iter().enumerate() {
            match one.table.commit(one.version.number, &one.entry).await {
                Committed::Done => {}
                Committed::Failed(error) | Committed::Taken(error) if at == 0 => {
                    // None of it is done.
                    self.look_again(&one.table).await;
                    return Err(self.forgotten(written, changes, locks, error));
                }
                missing if self.is_on_disk() => {
                    // The rest is done at the next start; until then nobody may write over it.
                    std::mem::forget(locks);
                    let error = missing.done().err();
                    return Err(error.unwrap_or_else(lost_commit));
                }
                missing => {
                    let error = missing.done().err().unwrap_or_else(lost_commit);
                    return self.finish_later(ready, written, locks, &error).await;
                }
            }
        }
        self.seen(ready);
        forget(&written);
        Ok(locks)
    }

    /// Writes what the tables of a transaction lack of it until they have it, for somebody who waits for a while.
    async fn finish_later(
        self: &Arc<Self>,
        ready: Vec<Ready>,
        written: redo::Written,
        locks: Locks,
        error: &Error,
    ) -> Result<Locks> {
        let told = unknown(error);
        let tables = Arc::clone(self);
        let finishing = tokio::spawn(async move {
            while tables.may_write() {
                let mut missing = None;
                for one in &ready {
                    match one.table.commit(one.version.number, &one.entry).await {
                        Committed::Done => {}
                        Committed::Taken(error) => {
                            tracing::error!(%error, "a transaction can't be in all of its tables");
                            return None;
                        }
                        other => missing = missing.or(other.done().err()),
                    }
                }
                let Some(error) = missing else {
                    tables.seen(ready);
                    forget(&written);
                    return Some(locks);
                };
                tracing::warn!(%error, "a transaction isn't in all of its tables yet");
                tokio::time::sleep(AGAIN).await;
            }
            None
        });
        match tokio::time::timeout(PATIENCE, finishing).await {
            Ok(Ok(Some(locks))) => Ok(locks),
            _ => Err(told),
        }
    }

    /// A transaction that isn't done: its record goes, and nobody may write before it is gone.
    fn forgotten(
        self: &Arc<Self>,
        written: redo::Written,
        changes: Vec<Change>,
        locks: Locks,
        error: Error,
    ) -> Error {
        if written.forget().is_ok() {
            return discarded(&changes, error);
        }
        let told = unknown(&error);
        let tables = Arc::clone(self);
        tokio::spawn(async move {
            while tables.may_write() {
                tokio::time::sleep(AGAIN).await;
                match written.forget() {
                    Ok(()) => {
                        changes.iter().for_each(Change::discard);
                        break;
                    }
                    Err(error) => tracing::warn!(%error, "a transaction can't be taken back yet"),
                }
            }
            drop(locks);
        });
        told
    }

    fn is_on_disk(&self) -> bool {
        self.place.folder().is_some()
    }

    /// Whether the data directory is still this server's, or may be again.
    fn may_write(&self) -> bool {
        match &self.place {
            Place::Folder(_) => true,
            Place::Store(remote, _) => !remote.is_taken(),
        }
    }

    /// A change on top of what is there now.
    fn ready(&self, change: &Change) -> Result<Ready> {
        let table = &change.table;
        let name = table.shape().definition.name.clone();
        let moment = self.moment();
        let Some(head) = moment.get(&table.id()) else {
            let message = format!("relation \"{name}\" does not exist any more");
            return Err(ChangeFault::Gone.error(message).into());
        };
        let there = head.paths();
        if change
            .removed
            .iter()
            .any(|file| !there.contains(file.path()))
        {
            let message = "could not serialize access due to concurrent update";
            let error = ChangeFault::Serialization
                .error(message)
                .detail(format!(
                    "Rows of table \"{name}\" were changed since the transaction read them."
                ))
                .hint("Run the transaction again.");
            return Err(error.into());
        }
        let removed: HashSet<String> = change
            .removed
            .iter()
            .map(|file| file.path().to_owned())
            .collect();
        let version = Version {
            number: head.number + 1,
            ..head.changed(&removed, &change.added)
        };
        let entry = Table::entry(change.actions(), operation(!removed.is_empty()))?;
        Ok(Ready {
            table: Arc::clone(table),
            version,
            entry,
        })
    }
}
