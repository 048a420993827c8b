//! What is said about relations and their columns beside their data: comments, keys, defaults.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

/// What is said about one relation.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelationNotes {
    /// Its comment.
    pub comment: Option<String>,
    /// Comments by column.
    pub columns: BTreeMap<String, String>,
    /// Defaults by column.
    pub defaults: BTreeMap<String, String>,
    /// Keys that were added to it.
    pub keys: Vec<DeclaredKey>,
    /// What it refers to.
    pub foreign_keys: Vec<ForeignKey>,
    /// It was made as a materialized view.
    pub materialized: bool,
    /// What a view was defined as, in the user's words.
    pub definition: Option<String>,
}

/// A key or index as it was declared. Nothing is enforced by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredKey {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// It is the primary one.
    pub primary: bool,
    /// No two rows have the same.
    pub unique: bool,
    /// It is a constraint, and not only an index.
    pub constraint: bool,
}

/// A reference to another relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The columns that refer.
    pub columns: Vec<String>,
    /// The schema that they refer to.
    pub schema: String,
    /// The relation that they refer to.
    pub relation: String,
    /// The columns that they refer to.
    pub referred: Vec<String>,
}

/// What is said about all relations and schemas.
#[derive(Debug, Default)]
pub struct Annotations {
    relations: RwLock<BTreeMap<(String, String), RelationNotes>>,
    schemas: RwLock<BTreeMap<String, String>>,
}

impl Annotations {
    /// What is said about a relation.
    pub fn of(&self, schema: &str, relation: &str) -> RelationNotes {
        let relations = self
            .relations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        relations
            .get(&(schema.to_owned(), relation.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// The key of that name in a schema, with its relation.
    pub fn key_named(&self, schema: &str, name: &str) -> Option<(String, DeclaredKey)> {
        let relations = self
            .relations
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut of_schema = relations.iter().filter(|((known, _), _)| known == schema);
        of_schema.find_map(|((_, relation), notes)| {
            let key = notes.keys.iter().find(|key| key.name == name)?;
            Some((relation.clone(), key.clone()))
        })
    }

    /// Says something about a relation.
    pub fn note(&self, schema: &str, relation: &str, note: impl FnOnce(&mut RelationNotes)) {
        let mut relations = self
            .relations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        note(
            relations
                .entry((schema.to_owned(), relation.to_owned()))
                .or_default(),
        );
    }

    /// Forgets what was said about a relation.
    pub fn forget(&self, schema: &str, relation: &str) {
        let mut relations = self
            .relations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        relations.remove(&(schema.to_owned(), relation.to_owned()));
    }

    /// A relation is called otherwise from now on.
    pub fn rename(&self, schema: &str, from: &str, to: &str) {
        let mut relations = self
            .relations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(notes) = relations.remove(&(schema.to_owned(), from.to_owned())) {
            relations.insert((schema.to_owned(), to.to_owned()), notes);
        }
    }

    /// The comment on a schema.
    pub fn of_schema(&self, schema: &str) -> Option<String> {
        self.schemas
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(schema)
            .cloned()
    }

    /// Sets or takes away the comment on a schema.
    pub fn note_schema(&self, schema: &str, comment: Option<String>) {
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        match comment {
            Some(comment) => schemas.insert(schema.to_owned(), comment),
            None => schemas.remove(schema),
        };
    }
}
