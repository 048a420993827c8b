//! `CREATE INDEX` and `DROP INDEX`. A unique one of a table that stays holds as a constraint does; others are declared for clients,
//! for no query needs them.

use std::sync::Arc;

use super::constraints::{ConstraintKind, NewConstraint};
use super::create::Made;
use super::names::object_name;
use crate::catalog::DeclaredKey;
use crate::engine::outcome::{Notice, Outcome};
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::sql::{Annotation, IndexStatement};
use crate::tables::Table;

impl Session {
    pub(in crate::engine) async fn run_index(&self, index: &IndexStatement) -> Result<Outcome> {
        match index {
            IndexStatement::Create { .. } => self.create_index(index).await,
            IndexStatement::Drop { names, if_exists } => {
                let mut notices = Vec::new();
                for name in names {
                    notices.extend(self.drop_index(name, *if_exists).await?);
                }
                Ok(Outcome::done(index.tag()).with(notices))
            }
        }
    }

    async fn create_index(&self, index: &IndexStatement) -> Result<Outcome> {
        let IndexStatement::Create {
            name,
            if_not_exists,
            relation,
            columns,
            unique,
            nulls_same,
            partial,
        } = index
        else {
            return Ok(Outcome::done(index.tag()));
        };
        let Some(columns) = columns else {
            if !unique {
                // A dump has them, and what they are for isn't needed here.
                let message = "an index of expressions is not kept: no query needs it";
                return Ok(Outcome::noted(
                    index.tag(),
                    Notice::plain(message.to_owned()),
                ));
            }
            return Err(unsupported(
                "an index of expressions",
                "A GENERATED ALWAYS AS (...) STORED column has an expression's value: make the index of that.",
            ));
        };
        if *unique && *partial {
            return Err(unsupported(
                "a unique index of some rows only",
                "UNIQUE leaves rows with NULL alone: a generated column that is NULL in the other rows does the same.",
            ));
        }
        let (schema, provider, table) = self.relation(relation)?;
        let taken =
            |name: &str| provider.table_exist(name) || self.index_named(&schema, name).is_some();
        let joined = columns.join("_");
        let name = match name {
            None => object_name(&table, Some(&joined), "idx", taken),
            Some(name) if !taken(name) => name.clone(),
            Some(name) if *if_not_exists => {
                let message = format!("relation \"{name}\" already exists, skipping");
                return Ok(Outcome::noted(index.tag(), Notice::plain(message)));
            }
            Some(name) => {
                return Err(Error::Query {
                    fault: Fault::DuplicateTable,
                    message: format!("relation \"{name}\" already exists"),
                    position: None,
                });
            }
        };
        let annotation = Annotation::Key {
            relation: vec![schema, table],
            key: DeclaredKey {
                name: name.clone(),
                columns: columns.clone(),
                primary: false,
                unique: *unique,
                constraint: false,
            },
            tag: index.tag(),
        };
        if !self.is_of_own(&annotation) {
            self.check_superuser_to("change a relation that isn't yours")?;
        }
        for column in columns {
            self.check_column(relation, column)?;
        }
        let (_, _, provider) = self.table_of(relation)?;
        let target = match unique {
            true => self.target_of(&provider)?,
            false => None,
        };
        let Some(target) = target else {
            return Box::pin(self.annotate(&annotation)).await;
        };
        let (base, _held) = self.begin_alone(&target).await?;
        let before = target.table.shape();
        let mut made = Made::over(before.definition.clone());
        made.constraints.push(NewConstraint {
            name: Some(name),
            kind: ConstraintKind::Unique {
                columns: columns.clone(),
                nulls_same: *nulls_same,
                index: true,
            },
        });
        self.add_constraints(&mut made)?;
        self.add_checked(&target, &before, &base, made.definition)
            .await?;
        Ok(Outcome::done(index.tag()))
    }

    /// Takes an index away; says so where there is none and that is no error.
    async fn drop_index(&self, parts: &[String], if_exists: bool) -> Result<Option<Notice>> {
        let (schema, name) = match parts {
            [.., schema, name] => (schema.clone(), name.clone()),
            [name] => (crate::engine::DEFAULT_SCHEMA.to_owned(), name.clone()),
            [] => (String::new(), String::new()),
        };
        let Some(found) = self.index_named(&schema, &name) else {
            if self.relation(parts).is_ok() {
                return Err(Error::WrongObject {
                    message: format!("\"{name}\" is not an index"),
                    hint: "Use DROP TABLE to remove a table.".to_owned(),
                });
            }
            let message = format!("index \"{name}\" does not exist");
            return match if_exists {
                true => Ok(Some(Notice::plain(format!("{message}, skipping")))),
                false => Err(Error::Query {
                    fault: Fault::UndefinedObject,
                    message,
                    position: None,
                }),
            };
        };
        let Found {
            relation,
            table,
            constraint,
        } = found;
        if constraint {
            return Err(ChangeFault::Depended
                .error(format!(
                    "cannot drop index {name} because constraint {name} on table {relation} requires it"
                ))
                .hint(format!("You can drop constraint {name} on table {relation} instead."))
                .into());
        }
        self.check_superuser_to("drop an index")?;
        match table.filter(|table| {
            table
                .shape()
                .definition
                .unique
                .iter()
                .any(|unique| unique.name == name)
        }) {
            Some(table) => {
                let _held = Arc::clone(&table.writing).lock_owned().await;
                self.redefine_table(&table, |definition| {
                    definition.unique.retain(|unique| unique.name != name);
                })?;
            }
            None => self.forget_key(&[schema, relation], &name)?,
        }
        Ok(None)
    }

    /// The index of that name.
    /// Whether a table of that schema has an index of that name.
    pub(in crate::engine) fn has_index(&self, schema: &str, name: &str) -> bool {
        self.index_named(schema, name).is_some()
    }

    fn index_named(&self, schema: &str, name: &str) -> Option<Found> {
        for table in self.engine.tables().all() {
            let shape = table.shape();
            let definition = &shape.definition;
            if definition.schema != schema {
                continue;
            }
            if let Some(key) = shape.keys().into_iter().find(|key| key.name == name) {
                return Some(Found {
                    relation: definition.name.clone(),
                    constraint: !key.index,
                    table: Some(table),
                });
            }
        }
        let (relation, key) = self.engine.catalog.annotations().key_named(schema, name)?;
        Some(Found {
            table: self.engine.tables().named(schema, &relation),
            relation,
            constraint: key.constraint,
        })
    }
}

/// Whose an index is.
struct Found {
    relation: String,
    table: Option<Arc<Table>>,
    /// A constraint needs it.
    constraint: bool,
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::Unsupported {
        message: format!("{what} is not supported"),
        hint: Some(hint.to_owned()),
    }
}
