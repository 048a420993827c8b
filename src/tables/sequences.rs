//! Sequences: numbers that are handed out once each, whatever becomes of whoever asked for them.
//!
//! ```text
//! DATA_DIR/catalog/sequences/ID.json    what it is, and up to which number numbers may have been handed out
//! ```
//!
//! Numbers are on the disk before they are handed out, and some more with them, so that not each of them is written down. After
//! a crash it goes on behind those: there are gaps then, and never a number twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Tables;
use crate::catalog::Store;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::storage::Place;

/// As many numbers are written down before they are needed; as many as in Postgres.
const AHEAD: usize = 32;

/// A sequence as its definition is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceDefinition {
    /// What its file is called, whatever the sequence is.
    pub id: String,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The type's name in `pg_type`: `int2`, `int4` or `int8`.
    pub kind: String,
    /// The first number, and the one of a restart.
    pub start: i64,
    /// How far the next one is from the last one; never 0.
    pub increment: i64,
    /// The least number.
    pub least: i64,
    /// The greatest number.
    pub most: i64,
    /// As many numbers a session would take at once in Postgres. Here none are set aside for one.
    pub cache: i64,
    /// It begins anew behind its end.
    pub cycle: bool,
    /// The column that it goes with.
    #[serde(default)]
    pub owner: Option<SequenceOwner>,
    /// Up to which number numbers may have been handed out.
    pub last: i64,
    /// Whether that one has been; otherwise it is the next.
    pub called: bool,
}

/// The column that a sequence goes with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceOwner {
    /// The table's ID.
    pub table: String,
    /// What the files call the column.
    pub column: String,
}

impl SequenceDefinition {
    /// The number behind another one.
    ///
    /// # Errors
    /// 2200H at its end.
    fn following(&self, last: i64, called: bool) -> Result<i64> {
        if !called {
            return Ok(last);
        }
        let next = last.checked_add(self.increment);
        if let Some(next) = next.filter(|next| (self.least..=self.most).contains(next)) {
            return Ok(next);
        }
        let (end, limit, begin) = match self.increment > 0 {
            true => ("maximum", self.most, self.least),
            false => ("minimum", self.least, self.most),
        };
        match self.cycle {
            true => Ok(begin),
            false => Err(ChangeFault::Other("2200H")
                .error(format!(
                    "nextval: reached {end} value of sequence \"{}\" ({limit})",
                    self.name
                ))
                .hint("ALTER SEQUENCE ... MAXVALUE, or CYCLE.")
                .into()),
        }
    }
}

/// A sequence, and how far it is.
#[derive(Debug)]
pub struct Sequence {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is on the disk.
    kept: SequenceDefinition,
    /// The last number that was handed out.
    last: i64,
    /// Whether one was; otherwise `last` is the next.
    called: bool,
    /// How many more may be handed out before something has to be written.
    ahead: usize,
}

impl Sequence {
    fn new(kept: SequenceDefinition) -> Self {
        let (last, called) = (kept.last, kept.called);
        let state = State {
            kept,
            last,
            called,
            ahead: 0,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is changed once everything that can fail is done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its definition; `last` and `called` are of the number that was handed out last.
    pub fn definition(&self) -> SequenceDefinition {
        let state = self.lock();
        SequenceDefinition {
            last: state.last,
            called: state.called,
            ..state.kept.clone()
        }
    }
}

/// The sequences of a data directory.
#[derive(Debug)]
pub struct Sequences {
    store: Store<SequenceDefinition>,
    known: RwLock<HashMap<String, Arc<Sequence>>>,
}

impl Sequences {
    /// Reads the sequences of a folder; one that can't be read is in the log.
    ///
    /// # Errors
    /// 58030 when the folder can't be read.
    pub fn open(place: impl Into<Place>) -> Result<Self> {
        let store = Store::open(place, "sequence")?;
        let mut known = HashMap::new();
        for (id, loaded) in store.load()? {
            match loaded {
                Ok(definition) => {
                    known.insert(id, Arc::new(Sequence::new(definition)));
                }
                Err(error) => tracing::error!(%error, "a sequence can't be read"),
            }
        }
        Ok(Self {
            store,
            known: RwLock::new(known),
        })
    }

    /// Removes the sequences of tables that were dropped, or never made, when the process ended.
    ///
    /// # Errors
    /// 58030 when a file can't be removed.
    pub fn remove_strays(&self, is_table: impl Fn(&str) -> bool) -> Result<()> {
        for sequence in self.all() {
            let owner = sequence.lock().kept.owner.clone();
            if owner.is_some_and(|owner| !is_table(&owner.table)) {
                self.drop(&sequence)?;
            }
        }
        Ok(())
    }

    /// An ID for a new sequence.
    pub fn new_id() -> String {
        Uuid::new_v4().simple().to_string()
    }

    /// The sequences.
    pub fn all(&self) -> Vec<Arc<Sequence>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.values().map(Arc::clone).collect()
    }

    /// The sequence of that name.
    pub fn named(&self, schema: &str, name: &str) -> Option<Arc<Sequence>> {
        self.all().into_iter().find(|sequence| {
            let state = sequence.lock();
            state.kept.schema == schema && state.kept.name == name
        })
    }

    /// Those that go with a table.
    pub fn of_table(&self, table: &str) -> Vec<Arc<Sequence>> {
        let mut all = self.all();
        all.retain(|sequence| {
            let state = sequence.lock();
            let owner = state.kept.owner.as_ref();
            owner.is_some_and(|owner| owner.table == table)
        });
        all
    }

    /// Makes a sequence.
    ///
    /// # Errors
    /// 58030 when it can't be written; then it isn't there.
    pub fn create(&self, definition: SequenceDefinition) -> Result<Arc<Sequence>> {
        self.store.put(&definition.id, &definition)?;
        let id = definition.id.clone();
        let sequence = Arc::new(Sequence::new(definition));
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(id, Arc::clone(&sequence));
        Ok(sequence)
    }

    /// Changes a sequence; what isn't changed of how far it is stays.
    ///
    /// # Errors
    /// Those of the change, and 58030 when it can't be written; then it is as before.
    pub fn change(
        &self,
        sequence: &Sequence,
        change: impl FnOnce(&mut SequenceDefinition) -> Result<()>,
    ) -> Result<()> {
        let mut state = sequence.lock();
        let mut definition = SequenceDefinition {
            last: state.last,
            called: state.called,
            ..state.kept.clone()
        };
        change(&mut definition)?;
        self.store.put(&definition.id, &definition)?;
        *state = State {
            last: definition.last,
            called: definition.called,
            kept: definition,
            ahead: 0,
        };
        Ok(())
    }

    /// Forgets a sequence.
    ///
    /// # Errors
    /// 58030 when its file can't be removed; then it is still there.
    pub fn drop(&self, sequence: &Sequence) -> Result<()> {
        let id = sequence.lock().kept.id.clone();
        self.store.remove(&id)?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(&id);
        Ok(())
    }

    /// The next numbers of a sequence, which nobody else gets.
    ///
    /// # Errors
    /// 2200H at its end, 58030 when they can't be written down; then they are nobody's.
    pub fn next(&self, sequence: &Sequence, count: usize) -> Result<Vec<i64>> {
        let mut state = sequence.lock();
        let (mut last, mut called) = (state.last, state.called);
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            last = state.kept.following(last, called)?;
            called = true;
            numbers.push(last);
        }
        let mut ahead = state.ahead.checked_sub(count);
        if ahead.is_none() {
            let (mut reserved, mut more) = (last, 0);
            // Where it ends there is nothing more to write down.
            while more < AHEAD {
                match state.kept.following(reserved, called) {
                    Ok(next) => reserved = next,
                    Err(_) => break,
                }
                more += 1;
            }
            let kept = SequenceDefinition {
                last: reserved,
                called,
                ..state.kept.clone()
            };
            self.store.put(&kept.id, &kept)?;
            state.kept = kept;
            ahead = Some(more);
        }
        state.last = last;
        state.called = called;
        state.ahead = ahead.unwrap_or(0);
        Ok(numbers)
    }

    /// Writes down how far they are, so that they go on there: nobody asks for another number.
    pub fn settle(&self) {
        for sequence in self.all() {
            let mut state = sequence.lock();
            if (state.kept.last, state.kept.called) == (state.last, state.called) {
                continue;
            }
            let kept = SequenceDefinition {
                last: state.last,
                called: state.called,
                ..state.kept.clone()
            };
            match self.store.put(&kept.id, &kept) {
                Ok(()) => state.kept = kept,
                // It goes on behind those that were written down before.
                Err(error) => tracing::warn!(%error, "a sequence can't be written"),
            }
            state.ahead = 0;
        }
    }

    /// Sets how far a sequence is.
    ///
    /// # Errors
    /// 22003 for a number that isn't one of it, 58030 when it can't be written.
    pub fn set(&self, sequence: &Sequence, number: i64, called: bool) -> Result<()> {
        self.change(sequence, |definition| {
            let (least, most) = (definition.least, definition.most);
            if !(least..=most).contains(&number) {
                return Err(Error::Query {
                    fault: Fault::OutOfRange,
                    message: format!(
                        "setval: value {number} is out of bounds for sequence \"{}\" ({least}..{most})",
                        definition.name
                    ),
                    position: None,
                });
            }
            definition.last = number;
            definition.called = called;
            Ok(())
        })
    }
}

/// Sequences that a transaction has begun anew. Unless they are kept, they are again as they were.
#[derive(Debug, Default)]
pub struct Restarts(Vec<Restart>);

#[derive(Debug)]
struct Restart {
    tables: Arc<Tables>,
    sequence: Arc<Sequence>,
    /// How far it was, and whether that number had been handed out.
    before: (i64, bool),
}

impl Restarts {
    /// Remembers how far a sequence is that begins anew.
    pub fn add(&mut self, tables: &Arc<Tables>, sequence: &Arc<Sequence>) {
        let before = sequence.definition();
        self.0.push(Restart {
            tables: Arc::clone(tables),
            sequence: Arc::clone(sequence),
            before: (before.last, before.called),
        });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// They have begun anew for everybody.
    pub fn keep(&mut self) {
        self.0.clear();
    }

    /// All but the first of them are as they were, the last one first.
    pub fn undo_behind(&mut self, first: usize) {
        while self.0.len() > first
            && let Some(restart) = self.0.pop()
        {
            restart.undo();
        }
    }
}

impl Drop for Restarts {
    fn drop(&mut self) {
        self.undo_behind(0);
    }
}

impl Restart {
    fn undo(&self) {
        let sequences = self.tables.sequences();
        let mut known = sequences.all().into_iter();
        // One that was dropped since stays so.
        if !known.any(|known| Arc::ptr_eq(&known, &self.sequence)) {
            return;
        }
        let undone = sequences.change(&self.sequence, |kept| {
            (kept.last, kept.called) = self.before;
            Ok(())
        });
        if let Err(error) = undone {
            tracing::warn!(%error, "a sequence can't be set back");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn definition() -> SequenceDefinition {
        SequenceDefinition {
            id: "s".to_owned(),
            schema: "public".to_owned(),
            name: "s".to_owned(),
            kind: "int8".to_owned(),
            start: 1,
            increment: 1,
            least: 1,
            most: i64::MAX,
            cache: 1,
            cycle: false,
            owner: None,
            last: 1,
            called: false,
        }
    }

    #[test]
    fn no_number_comes_twice_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        for round in 0..5 {
            let sequences = Sequences::open(folder.path().to_owned()).unwrap();
            let sequence = match round {
                0 => sequences.create(definition()).unwrap(),
                _ => sequences.named("public", "s").unwrap(),
            };
            for count in [1, 1, 40, 3, 29, 1] {
                seen.extend(sequences.next(&sequence, count).unwrap());
            }
            // Nothing is written when it is let go of: that is what a crash leaves.
        }
        assert_eq!(seen[..75], (1..=75).collect::<Vec<i64>>());
        assert!(seen.is_sorted_by(|a, b| a < b));
        assert!(*seen.last().unwrap() < 1000);
    }

    #[test]
    fn what_is_settled_goes_on_without_a_gap() {
        let folder = tempfile::tempdir().unwrap();
        let sequences = Sequences::open(folder.path().to_owned()).unwrap();
        let sequence = sequences.create(definition()).unwrap();
        assert_eq!(sequences.next(&sequence, 2).unwrap(), [1, 2]);
        sequences.settle();
        assert_eq!(sequences.next(&sequence, 1).unwrap(), [3]);
        sequences.settle();
        let again = Sequences::open(folder.path().to_owned()).unwrap();
        let sequence = again.named("public", "s").unwrap();
        assert_eq!(again.next(&sequence, 1).unwrap(), [4]);
    }

    #[test]
    fn a_sequence_ends_or_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let sequences = Sequences::open(folder.path().to_owned()).unwrap();
        let down = SequenceDefinition {
            increment: -2,
            start: 5,
            last: 5,
            most: 5,
            ..definition()
        };
        let sequence = sequences.create(down).unwrap();
        assert_eq!(sequences.next(&sequence, 3).unwrap(), [5, 3, 1]);
        let error = sequences.next(&sequence, 1).unwrap_err();
        assert_eq!(error.code(), "2200H");
        let ended = error.to_string();
        assert_eq!(
            ended,
            "nextval: reached minimum value of sequence \"s\" (1)"
        );
        assert_eq!(
            sequences.set(&sequence, 9, true).unwrap_err().code(),
            "22003"
        );
        sequences
            .change(&sequence, |definition| {
                definition.cycle = true;
                Ok(())
            })
            .unwrap();
        assert_eq!(sequences.next(&sequence, 2).unwrap(), [5, 3]);
        sequences.set(&sequence, 4, false).unwrap();
        assert_eq!(sequences.next(&sequence, 2).unwrap(), [4, 2]);
    }

    #[test]
    fn the_greatest_numbers_are_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let sequences = Sequences::open(folder.path().to_owned()).unwrap();
        let late = SequenceDefinition {
            last: i64::MAX - 1,
            ..definition()
        };
        let sequence = sequences.create(late).unwrap();
        let numbers = sequences.next(&sequence, 2).unwrap();
        assert_eq!(numbers, [i64::MAX - 1, i64::MAX]);
        assert_eq!(sequences.next(&sequence, 1).unwrap_err().code(), "2200H");
    }
}
