//! The changes that were made to stages, each with its reviews.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{SecondsFormat, Utc};
use datafusion_funnel::definition::change::{ChangeDefinition, KeptChange, Review, unknown_change};
use datafusion_funnel::error::{FunnelError, Kind};

use super::store::Store;
use crate::error::{Error, Result};
use crate::storage::Place;

/// Changes by name. What is kept is on disk before it is seen.
#[derive(Debug)]
pub struct Changes {
    store: Store<KeptChange>,
    changes: RwLock<BTreeMap<String, Arc<KeptChange>>>,
}

/// Now, to the second, as changes and reviews keep it.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Changes {
    /// Reads the changes in `folder`.
    ///
    /// # Errors
    /// 58030 when the folder can't be made or read.
    pub fn open(place: impl Into<Place>) -> Result<Self> {
        let store: Store<KeptChange> = Store::open(place, "change")?;
        let mut changes = BTreeMap::new();
        for (name, loaded) in store.load()? {
            match loaded {
                Ok(change) => {
                    changes.insert(name, Arc::new(change));
                }
                // It is as if it weren't there, and its file stays.
                Err(Error::Corrupt { file, reason, .. }) => {
                    tracing::error!(file, reason, "a change can't be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            store,
            changes: RwLock::new(changes),
        })
    }

    /// The changes, by name.
    pub fn all(&self) -> Vec<Arc<KeptChange>> {
        self.read().values().map(Arc::clone).collect()
    }

    /// The change of that name.
    ///
    /// # Errors
    /// 42704 where there is none.
    pub fn find(&self, name: &str) -> Result<Arc<KeptChange>> {
        let changes = self.read();
        changes
            .get(name)
            .map(Arc::clone)
            .ok_or_else(|| missing(name, &changes))
    }

    /// Keeps a change. One that takes the place of another starts without reviews: theirs were of something else.
    ///
    /// # Errors
    /// 42710 when the name is taken, 58030 when it can't be written.
    pub fn create(&self, definition: ChangeDefinition, or_replace: bool) -> Result<()> {
        let mut changes = self.write();
        let name = definition.name.clone();
        if changes.contains_key(&name) && !or_replace {
            let kind = Kind::Change;
            return Err(FunnelError::AlreadyExists { kind, name }.into());
        }
        let change = KeptChange {
            definition,
            created_at: now(),
            reviews: Vec::new(),
        };
        self.keep(&mut changes, change)
    }

    /// Adds a review.
    ///
    /// # Errors
    /// 42704 where there is no such change, or it became another one while it was reviewed.
    pub fn add_review(&self, reviewed: &ChangeDefinition, review: Review) -> Result<()> {
        self.update(&reviewed.name, |change| {
            if change.definition != *reviewed {
                return Err(Error::Unsupported {
                    message: format!(
                        "change \"{}\" was replaced while it was reviewed",
                        reviewed.name
                    ),
                    hint: Some("Review it again.".to_owned()),
                });
            }
            change.reviews.push(review);
            Ok(())
        })
    }

    /// Sets or takes away a change's note.
    ///
    /// # Errors
    /// 42704 where there is no such change.
    pub fn comment(&self, name: &str, note: Option<String>) -> Result<()> {
        self.update(name, |change| {
            change.definition.note = note;
            Ok(())
        })
    }

    /// Forgets changes with their reviews; all of them or, when one is missing, none. Returns the missing ones where
    /// they are no error.
    ///
    /// # Errors
    /// 42704 for a missing change.
    pub fn drop(&self, names: &[String], if_exists: bool) -> Result<Vec<String>> {
        let mut changes = self.write();
        let (found, absent): (Vec<String>, Vec<String>) = names
            .iter()
            .cloned()
            .partition(|name| changes.contains_key(name));
        if let (Some(name), false) = (absent.first(), if_exists) {
            return Err(missing(name, &changes));
        }
        for name in &found {
            self.store.remove(name)?;
            changes.remove(name);
        }
        Ok(absent)
    }

    fn update(&self, name: &str, update: impl FnOnce(&mut KeptChange) -> Result<()>) -> Result<()> {
        let mut changes = self.write();
        let Some(found) = changes.get(name) else {
            return Err(missing(name, &changes));
        };
        let mut change = found.as_ref().clone();
        update(&mut change)?;
        self.keep(&mut changes, change)
    }

    fn keep(
        &self,
        changes: &mut BTreeMap<String, Arc<KeptChange>>,
        change: KeptChange,
    ) -> Result<()> {
        let name = change.definition.name.clone();
        self.store.put(&name, &change)?;
        changes.insert(name, Arc::new(change));
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<KeptChange>>> {
        // A map is whole after a panic: each change of it is one call.
        self.changes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<KeptChange>>> {
        self.changes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(name: &str, changes: &BTreeMap<String, Arc<KeptChange>>) -> Error {
    let existing: Vec<String> = changes.keys().cloned().collect();
    unknown_change(name, &existing).into()
}
