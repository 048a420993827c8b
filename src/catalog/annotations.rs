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
    /// How each column is sorted; nothing where all are as a column is where nothing is said.
    #[serde(default)]
    pub orders: Vec<KeyOrder>,
    /// What stands in the place of each column, where that is an expression, whose column has no name; nothing where all are columns.
    #[serde(default)]
    pub expressions: Vec<Option<String>>,
    /// The condition of the rows that it is about.
    #[serde(default)]
    pub predicate: Option<String>,
}

impl DeclaredKey {
    /// The expression in the place of a column; nothing where it is one.
    pub fn expression(&self, at: usize) -> Option<&str> {
        self.expressions.get(at)?.as_deref()
    }

    /// The columns that it is made of, expressions aside.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        let columns = self.columns.iter().enumerate();
        columns.filter_map(move |(at, column)| self.expression(at).is_none().then_some(column))
    }
}

/// How a column of an index is sorted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyOrder {
    /// From the greatest.
    pub descending: bool,
    /// NULLs come before the others.
    pub nulls_first: bool,
}

impl KeyOrder {
    /// The bits of `pg_index.indoption`.
    pub fn bits(self) -> i32 {
        i32::from(self.descending) | (i32::from(self.nulls_first) << 1)
    }

    /// As Postgres writes it behind a column.
    pub fn sql(self) -> &'static str {
        match (self.descending, self.nulls_first) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, true) => " DESC",
            (true, false) => " DESC NULLS LAST",
        }
    }
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
    /// The columns that they refer to; none for those of its primary key.
    pub referred: Vec<String>,
    /// What is said of the rows that refer to a row which is deleted.
    #[serde(default)]
    pub on_delete: ReferentialAction,
    /// What is said of the rows that refer to a row whose key changes.
    #[serde(default)]
    pub on_update: ReferentialAction,
}

/// What is to become of rows that refer to another. It is declared for those who read the catalogs, and nothing is done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReferentialAction {
    /// Nothing: the change is an error.
    #[default]
    NoAction,
    /// The same, at once.
    Restrict,
    /// They change with it.
    Cascade,
    /// They refer to nothing.
    SetNull,
    /// They refer to what their columns' defaults say.
    SetDefault,
}

impl ReferentialAction {
    /// The letter in `pg_constraint`.
    pub fn letter(self) -> &'static str {
        match self {
            Self::NoAction => "a",
            Self::Restrict => "r",
            Self::Cascade => "c",
            Self::SetNull => "n",
            Self::SetDefault => "d",
        }
    }

    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }
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
