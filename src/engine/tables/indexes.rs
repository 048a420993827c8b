//! `CREATE INDEX`, `ALTER INDEX … RENAME` and `DROP INDEX`. A unique one of a table that stays holds as a constraint does; others are
//! declared for clients, for no query needs them.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion_funnel::definition::text::folded;

use super::constraints::{ConstraintKind, NewConstraint};
use super::create::Made;
use super::names::object_name;
use crate::catalog::DeclaredKey;
use crate::engine::outcome::{Notice, Outcome};
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::sql::{Annotation, IndexKey, IndexPart, IndexStatement};
use crate::tables::{Table, columns_of_expression};

impl Session {
    pub(in crate::engine) async fn run_index(&self, index: &IndexStatement) -> Result<Outcome> {
        match index {
            IndexStatement::Create { .. } => self.create_index(index).await,
            IndexStatement::Rename {
                name,
                to,
                if_exists,
            } => Box::pin(self.rename_index(name, to, *if_exists)).await,
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
            parts,
            unique,
            nulls_same,
            predicate,
        } = index
        else {
            return Ok(Outcome::done(index.tag()));
        };
        let expressions: Vec<_> = parts.iter().map(expression_of).collect();
        if *unique && expressions.iter().any(Option::is_some) {
            return Err(unsupported(
                "a unique index of expressions",
                "A GENERATED ALWAYS AS (...) STORED column has an expression's value: make the index of that.",
            ));
        }
        if *unique && predicate.is_some() {
            return Err(unsupported(
                "a unique index of some rows only",
                "UNIQUE leaves rows with NULL alone: a generated column that is NULL in the other rows does the same.",
            ));
        }
        let (schema, provider, table) = self.relation(relation)?;
        let taken =
            |name: &str| provider.table_exist(name) || self.index_named(&schema, name).is_some();
        let joined = parts.iter().map(called).collect::<Vec<_>>().join("_");
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
        let columns: Vec<String> = parts.iter().map(column_of).collect();
        let orders: Vec<_> = parts.iter().map(|part| part.order).collect();
        let annotation = Annotation::Key {
            relation: vec![schema, table],
            key: DeclaredKey {
                name: name.clone(),
                columns: columns.clone(),
                primary: false,
                unique: *unique,
                constraint: false,
                orders: orders.clone(),
                expressions,
                predicate: predicate.as_deref().map(in_parentheses),
            },
            tag: index.tag(),
        };
        if !self.is_of_own(&annotation) {
            self.check_superuser_to("change a relation that isn't yours")?;
        }
        for part in parts {
            match &part.key {
                IndexKey::Column(column) => self.check_column(relation, column)?,
                IndexKey::Expression(expression) => self.check_columns_of(relation, expression)?,
            }
        }
        if let Some(condition) = predicate {
            self.check_columns_of(relation, condition)?;
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
                columns,
                nulls_same: *nulls_same,
                index: true,
                orders,
            },
        });
        self.add_constraints(&mut made)?;
        self.add_checked(&target, &before, &base, made.definition)
            .await?;
        Ok(Outcome::done(index.tag()))
    }

    /// Refuses an expression over columns that there aren't.
    fn check_columns_of(&self, relation: &[String], expression: &Expr) -> Result<()> {
        for column in columns_of_expression(&expression.to_string()) {
            self.check_column(relation, &column)?;
        }
        Ok(())
    }

    /// Calls an index otherwise, and the constraint that it is of.
    async fn rename_index(&self, parts: &[String], to: &str, if_exists: bool) -> Result<Outcome> {
        const TAG: &str = "ALTER INDEX";
        let (schema, name) = schema_and_name(parts);
        let Some(found) = self.index_named(&schema, &name) else {
            // It renames relations of any kind, as in Postgres.
            let annotation = Annotation::Rename {
                relation: parts.to_vec(),
                to: to.to_owned(),
                if_exists,
                tag: TAG,
            };
            if !self.is_of_own(&annotation) {
                self.check_superuser_to("change a relation that isn't yours")?;
            }
            return Box::pin(self.annotate(&annotation)).await;
        };
        self.check_superuser_to("rename an index")?;
        let relation = [schema.clone(), found.relation];
        let (_, schema_provider, _) = self.relation(&relation)?;
        if schema_provider.table_exist(to) || self.has_index(&schema, to) {
            return Err(Error::Query {
                fault: Fault::DuplicateTable,
                message: format!("relation \"{to}\" already exists"),
                position: None,
            });
        }
        let own = found.table.filter(|table| {
            let shape = table.shape();
            shape.keys().iter().any(|key| key.name == name)
        });
        let Some(table) = own else {
            self.rename_key(&relation, &name, to)?;
            return Ok(Outcome::done(TAG));
        };
        if found.constraint {
            let (_, _, provider) = self.table_of(&relation)?;
            if let Some(target) = self.target_of(&provider)? {
                self.rename_constraint(&target, &name, to)?;
            }
            return Ok(Outcome::done(TAG));
        }
        let _held = Arc::clone(&table.writing).lock_owned().await;
        self.redefine_table(&table, |definition| {
            let unique = definition.unique.iter_mut();
            for unique in unique.filter(|unique| unique.name == name) {
                to.clone_into(&mut unique.name);
            }
        })?;
        Ok(Outcome::done(TAG))
    }

    /// Takes an index away; says so where there is none and that is no error.
    async fn drop_index(&self, parts: &[String], if_exists: bool) -> Result<Option<Notice>> {
        let (schema, name) = schema_and_name(parts);
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

    /// Whether a table of that schema has an index of that name.
    pub(in crate::engine) fn has_index(&self, schema: &str, name: &str) -> bool {
        self.index_named(schema, name).is_some()
    }

    /// The index of that name.
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

fn schema_and_name(parts: &[String]) -> (String, String) {
    match parts {
        [.., schema, name] => (schema.clone(), name.clone()),
        [name] => (crate::engine::DEFAULT_SCHEMA.to_owned(), name.clone()),
        [] => (String::new(), String::new()),
    }
}

/// The column that a part of an index is; no name for an expression.
fn column_of(part: &IndexPart) -> String {
    match &part.key {
        IndexKey::Column(column) => column.clone(),
        IndexKey::Expression(_) => String::new(),
    }
}

/// What a part is called in the name of its index.
fn called(part: &IndexPart) -> String {
    match &part.key {
        IndexKey::Column(column) => column.clone(),
        IndexKey::Expression(expression) => match expression.as_ref() {
            Expr::Function(call) => {
                let last = call.name.0.last().and_then(|part| part.as_ident());
                last.map(folded).unwrap_or_default()
            }
            _ => "expr".to_owned(),
        },
    }
}

/// The text of a part that is an expression.
fn expression_of(part: &IndexPart) -> Option<String> {
    match &part.key {
        IndexKey::Column(_) => None,
        IndexKey::Expression(expression) => Some(match expression.as_ref() {
            call @ Expr::Function(_) => call.to_string(),
            other => in_parentheses(other),
        }),
    }
}

/// `(id > 3)`: the parentheses that Postgres writes around an expression.
fn in_parentheses(expression: &Expr) -> String {
    match expression {
        Expr::Nested(_) => expression.to_string(),
        other => format!("({other})"),
    }
}

fn unsupported(what: &str, hint: &str) -> Error {
    Error::Unsupported {
        message: format!("{what} is not supported"),
        hint: Some(hint.to_owned()),
    }
}
