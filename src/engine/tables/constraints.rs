//! Keys and conditions of durable tables: made with their table, added to it, and dropped.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    self, AlterTableOperation, CheckConstraint, ConstraintCharacteristics, Expr, IndexColumn,
    NullsDistinctOption, TableConstraint, UniqueConstraint,
};
use datafusion_funnel::definition::text::folded;
use datafusion_funnel::error::{FunnelError, Kind};
use futures::TryStreamExt;

use super::alter::contains_nulls;
use super::change::unsupported;
use super::create::{Made, reference};
use super::local::Local;
use super::names::object_name;
use super::rules::columns_in;
use super::target::{Target, column_of, expression, parts, query, select};
use crate::catalog::{DeclaredKey, KeyOrder};
use crate::engine::outcome::{Notice, Outcome};
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::sql::{Annotation, Statement};
use crate::tables::{
    CheckDefinition, DurableTable, Shape, TableDefinition, UniqueDefinition, Version, duplicated,
};

/// A constraint as a statement writes it.
pub struct NewConstraint {
    /// Its name, where it is given one.
    pub name: Option<String>,
    /// What it says.
    pub kind: ConstraintKind,
}

/// What a constraint says.
pub enum ConstraintKind {
    /// `PRIMARY KEY (columns)`
    Primary(Vec<String>),
    /// `UNIQUE [NULLS NOT DISTINCT] (columns)`, or an index that says so.
    Unique {
        /// Its columns.
        columns: Vec<String>,
        /// NULL is a value as any other.
        nulls_same: bool,
        /// It is no constraint by name.
        index: bool,
        /// How an index is said to be sorted.
        orders: Vec<KeyOrder>,
    },
    /// `CHECK (condition)`
    Check(Box<Expr>),
}

/// Reads a constraint of a table.
///
/// # Errors
/// 0A000 for those that tables don't have.
pub fn table_constraint(constraint: &TableConstraint, made: &mut Made) -> Result<()> {
    let (name, kind) = match constraint {
        TableConstraint::PrimaryKey(key) => {
            immediate(key.characteristics.as_ref())?;
            let columns = columns_of(&key.columns)?;
            (&key.name, ConstraintKind::Primary(columns))
        }
        TableConstraint::Unique(unique) => {
            let columns = columns_of(&unique.columns)?;
            (&unique.name, unique_key(unique, columns)?)
        }
        TableConstraint::Check(check) => (&check.name, condition(check)?),
        TableConstraint::ForeignKey(key) => {
            reference(key.columns.iter().map(folded).collect(), key, made);
            return Ok(());
        }
        other => return Err(unsupported(&format!("{other}"))),
    };
    let name = name.as_ref().map(folded);
    made.constraints.push(NewConstraint { name, kind });
    Ok(())
}

fn columns_of(columns: &[IndexColumn]) -> Result<Vec<String>> {
    let columns = columns.iter().map(|column| match &column.column.expr {
        Expr::Identifier(ident) => Ok(folded(ident)),
        _ => Err(unsupported("an expression in a key")),
    });
    columns.collect()
}

/// Refuses constraints that are looked at when a transaction ends.
///
/// # Errors
/// 0A000.
pub fn immediate(characteristics: Option<&ConstraintCharacteristics>) -> Result<()> {
    match characteristics.is_some_and(|given| given.deferrable == Some(true)) {
        true => Err(Error::Unsupported {
            message: "DEFERRABLE constraints are not supported".to_owned(),
            hint: Some("Every constraint holds after each statement.".to_owned()),
        }),
        false => Ok(()),
    }
}

/// `UNIQUE`
///
/// # Errors
/// 0A000 where it is to hold at the end of a transaction only.
pub fn unique_key(unique: &UniqueConstraint, columns: Vec<String>) -> Result<ConstraintKind> {
    immediate(unique.characteristics.as_ref())?;
    Ok(ConstraintKind::Unique {
        columns,
        nulls_same: matches!(unique.nulls_distinct, NullsDistinctOption::NotDistinct),
        index: false,
        orders: Vec::new(),
    })
}

/// `CHECK`
///
/// # Errors
/// 0A000 where it is declared only.
pub fn condition(check: &CheckConstraint) -> Result<ConstraintKind> {
    match check.enforced {
        Some(false) => Err(unsupported("CHECK ... NOT ENFORCED")),
        _ => Ok(ConstraintKind::Check(check.expr.clone())),
    }
}

/// Whether a table has a constraint of that name.
fn has_constraint(definition: &TableDefinition, name: &str) -> bool {
    let notes = &definition.notes;
    let primary = !definition.primary_key.is_empty() && definition.primary_key_name() == name;
    let mut unique = definition.unique.iter().filter(|unique| !unique.index);
    primary
        || definition.checks.iter().any(|check| check.name == name)
        || unique.any(|unique| unique.name == name)
        || notes
            .keys
            .iter()
            .any(|key| key.constraint && key.name == name)
        || notes.foreign_keys.iter().any(|key| key.name == name)
}

/// Whether a table has a key or index of that name.
fn has_key(definition: &TableDefinition, name: &str) -> bool {
    let primary = !definition.primary_key.is_empty() && definition.primary_key_name() == name;
    primary
        || definition.unique.iter().any(|unique| unique.name == name)
        || definition.notes.keys.iter().any(|key| key.name == name)
}

impl Session {
    /// The constraints that were read become the table's: with their columns and conditions looked at, and named.
    ///
    /// # Errors
    /// 42703 for a column that there isn't, 42710 and 42P07 for a name that is taken, 42P16 for a second primary key, and those of
    /// conditions.
    pub(super) fn add_constraints(&self, made: &mut Made) -> Result<()> {
        let definition = &mut made.definition;
        for key in &mut made.foreign_keys {
            if key.schema.is_empty() && key.relation == definition.name {
                key.schema.clone_from(&definition.schema);
            }
            self.find_referred(key);
        }
        for constraint in std::mem::take(&mut made.constraints) {
            let NewConstraint { name, kind } = constraint;
            match kind {
                ConstraintKind::Primary(columns) => {
                    check_key(definition, &columns, "primary key")?;
                    if !definition.primary_key.is_empty() {
                        let message = format!(
                            "multiple primary keys for table \"{}\" are not allowed",
                            definition.name
                        );
                        return Err(ChangeFault::Definition.error(message).into());
                    }
                    let name = self.key_name(definition, name, None, "pkey")?;
                    for column in &mut definition.columns {
                        column.not_null |= columns.contains(&column.name);
                    }
                    definition.primary_key = columns;
                    definition.primary_key_name = Some(name);
                }
                ConstraintKind::Unique {
                    columns,
                    nulls_same,
                    index,
                    orders,
                } => {
                    check_key(definition, &columns, "unique constraint")?;
                    let joined = columns.join("_");
                    let name = self.key_name(definition, name, Some(&joined), "key")?;
                    definition.unique.push(UniqueDefinition {
                        name,
                        columns,
                        index,
                        nulls_same,
                        orders,
                    });
                }
                ConstraintKind::Check(condition) => {
                    let expression = self.checked_condition(definition, &condition)?;
                    let name = match name {
                        Some(name) if has_constraint(definition, &name) => {
                            return Err(taken(definition, &name));
                        }
                        Some(name) => name,
                        None => {
                            let columns = columns_in(definition, &expression);
                            // Of several columns, none is in the name.
                            let column = match columns.as_slice() {
                                [only] => Some(only.as_str()),
                                _ => None,
                            };
                            object_name(&definition.name, column, "check", |name| {
                                has_constraint(definition, name)
                            })
                        }
                    };
                    definition.checks.push(CheckDefinition {
                        name,
                        expression,
                        not_valid: false,
                    });
                }
            }
        }
        Ok(())
    }

    /// A key's name, which is one of the relations' in its schema.
    fn key_name(
        &self,
        definition: &TableDefinition,
        given: Option<String>,
        columns: Option<&str>,
        word: &str,
    ) -> Result<String> {
        let schema = self.schema(&definition.schema)?;
        let indexes: Vec<String> = self
            .engine
            .tables()
            .all()
            .iter()
            .map(|table| table.shape())
            .filter(|shape| shape.definition.schema == definition.schema)
            // One that is replaced has the same name.
            .filter(|shape| shape.definition.name != definition.name)
            .flat_map(|shape| shape.keys())
            .map(|key| key.name)
            .collect();
        let is_relation = |name: &str| {
            schema.table_exist(name)
                || name == definition.name
                || indexes.iter().any(|index| index == name)
                || has_key(definition, name)
        };
        match given {
            Some(name) if is_relation(&name) => Err(Error::Query {
                fault: Fault::DuplicateTable,
                message: format!("relation \"{name}\" already exists"),
                position: None,
            }),
            Some(name) if has_constraint(definition, &name) => Err(taken(definition, &name)),
            Some(name) => Ok(name),
            None => Ok(object_name(&definition.name, columns, word, |name| {
                is_relation(name) || has_constraint(definition, name)
            })),
        }
    }

    /// `ALTER TABLE … ADD CONSTRAINT`, over the rows that are there.
    pub(super) async fn add_constraint(
        &self,
        statement: &Statement,
        target: &Target,
        constraint: &TableConstraint,
        not_valid: bool,
    ) -> Result<Vec<Notice>> {
        let (base, _held) = self.begin_alone(target).await?;
        let before = target.table.shape();
        let mut made = Made::over(before.definition.clone());
        table_constraint(constraint, &mut made)?;
        self.add_constraints(&mut made)?;
        let Made {
            mut definition,
            foreign_keys,
            notices,
            ..
        } = made;
        definition.notes.foreign_keys.extend(foreign_keys);
        for check in definition
            .checks
            .iter_mut()
            .skip(before.definition.checks.len())
        {
            check.not_valid = not_valid;
            if !not_valid {
                self.check_rows(statement, target, &before, &base, check)
                    .await?;
            }
        }
        let nullable = before.definition.columns.iter();
        for (column, now) in nullable.zip(&definition.columns) {
            if now.not_null && !column.not_null {
                let nulls = Expr::IsNull(Box::new(column_of("rows", &column.name)));
                if self
                    .any_row(statement, target, &before, &base, nulls)
                    .await?
                {
                    return Err(contains_nulls(&column.name, target.name()));
                }
            }
        }
        self.add_checked(target, &before, &base, definition).await?;
        Ok(notices)
    }

    /// The table has a definition with further keys, once no two of its rows share one.
    pub(super) async fn add_checked(
        &self,
        target: &Target,
        before: &Shape,
        base: &Version,
        definition: TableDefinition,
    ) -> Result<()> {
        let shape = Arc::new(Shape::new(definition)?);
        let known = before.keys();
        for key in shape.keys().iter().filter(|key| !known.contains(key)) {
            let (tables, files) = (self.engine.tables(), base.files.clone());
            duplicated(&self.context, tables, &target.table, &shape, key, files).await?;
        }
        self.redefine(target, |kept| *kept = shape.definition.clone())
    }

    /// Refuses a condition that a row is false for.
    pub(super) async fn check_rows(
        &self,
        statement: &Statement,
        target: &Target,
        shape: &Arc<Shape>,
        base: &Arc<Version>,
        check: &CheckDefinition,
    ) -> Result<()> {
        let condition = Expr::Nested(Box::new(expression(&check.expression)?));
        let violated = Expr::IsFalse(Box::new(condition));
        match self
            .any_row(statement, target, shape, base, violated)
            .await?
        {
            false => Ok(()),
            true => Err(ChangeFault::Check
                .error(format!(
                    "check constraint \"{}\" of relation \"{}\" is violated by some row",
                    check.name,
                    target.name()
                ))
                .into()),
        }
    }

    /// Whether a condition is true for any row of a version.
    pub(super) async fn any_row(
        &self,
        statement: &Statement,
        target: &Target,
        shape: &Arc<Shape>,
        base: &Arc<Version>,
        condition: Expr,
    ) -> Result<bool> {
        let mut local = Local::default();
        let all = DurableTable::new(self.engine.tables(), &target.table)
            .shaped(Arc::clone(shape))
            .at(Arc::clone(base));
        let relation = local.add("rows", Arc::new(all))?;
        let mut built = query(&format!(
            "SELECT 1 FROM {relation} AS \"rows\" WHERE true LIMIT 1"
        ))?;
        select(&mut built)?.selection = Some(condition);
        let stream = self.stream_of_query(statement, built, &local, &[]).await?;
        let found: Vec<_> = stream.try_collect().await?;
        Ok(found.iter().any(|batch| batch.num_rows() > 0))
    }

    /// `ALTER TABLE … DROP CONSTRAINT`
    pub(super) async fn drop_constraint(
        &self,
        target: &Target,
        name: &str,
        if_exists: bool,
    ) -> Result<Vec<Notice>> {
        let (_, _held) = self.begin_alone(target).await?;
        let shape = target.table.shape();
        let definition = &shape.definition;
        if !has_constraint(definition, name) {
            let message = missing(definition, name);
            return match if_exists {
                true => Ok(vec![Notice::plain(format!("{message}, skipping"))]),
                false => Err(unknown_constraint(message)),
            };
        }
        self.redefine(target, |definition| {
            if definition.primary_key_name() == name {
                // Its columns stay NOT NULL, as in Postgres.
                definition.primary_key.clear();
                definition.primary_key_name = None;
            }
            definition
                .unique
                .retain(|unique| unique.index || unique.name != name);
            definition.checks.retain(|check| check.name != name);
            let keys = &mut definition.notes.keys;
            keys.retain(|key| !key.constraint || key.name != name);
            definition.notes.foreign_keys.retain(|key| key.name != name);
        })?;
        Ok(Vec::new())
    }

    /// `ALTER TABLE … RENAME CONSTRAINT`
    pub(super) fn rename_constraint(&self, target: &Target, from: &str, to: &str) -> Result<()> {
        let shape = target.table.shape();
        let definition = &shape.definition;
        if !has_constraint(definition, from) {
            return Err(unknown_constraint(missing(definition, from)));
        }
        if has_constraint(definition, to) {
            return Err(taken(definition, to));
        }
        self.redefine(target, |definition| {
            if !definition.primary_key.is_empty() && definition.primary_key_name() == from {
                definition.primary_key_name = Some(to.to_owned());
            }
            let unique = definition.unique.iter_mut().filter(|unique| !unique.index);
            let unique = unique.map(|unique| &mut unique.name);
            let checks = definition.checks.iter_mut().map(|check| &mut check.name);
            let notes = &mut definition.notes;
            let declared = notes.keys.iter_mut().filter(|key| key.constraint);
            let declared = declared.map(|key| &mut key.name);
            let references = notes.foreign_keys.iter_mut().map(|key| &mut key.name);
            let names = unique.chain(checks).chain(declared).chain(references);
            for name in names.filter(|name| *name == from) {
                to.clone_into(name);
            }
        })
    }

    /// `ALTER TABLE … VALIDATE CONSTRAINT`
    pub(super) async fn validate_constraint(
        &self,
        statement: &Statement,
        target: &Target,
        name: &str,
    ) -> Result<()> {
        let (base, _held) = self.begin_alone(target).await?;
        let shape = target.table.shape();
        let definition = &shape.definition;
        let check = definition.checks.iter().find(|check| check.name == name);
        match check {
            Some(check) if check.not_valid => {
                self.check_rows(statement, target, &shape, &base, check)
                    .await?;
                self.redefine(target, |definition| {
                    let mut checks = definition.checks.iter_mut();
                    if let Some(check) = checks.find(|check| check.name == name) {
                        check.not_valid = false;
                    }
                })
            }
            Some(_) => Ok(()),
            None if has_constraint(definition, name) => Ok(()),
            None => Err(unknown_constraint(missing(definition, name))),
        }
    }

    /// Keys of a relation that isn't durable are told to those who ask the catalogs, and not enforced; nothing for any other
    /// statement.
    pub(super) async fn declare_keys(&self, alter: &ast::AlterTable) -> Result<Option<Outcome>> {
        let mut annotations = Vec::new();
        let relation = parts(&alter.name);
        let table = relation.last().cloned().unwrap_or_default();
        for operation in &alter.operations {
            let AlterTableOperation::AddConstraint { constraint, .. } = operation else {
                return Ok(None);
            };
            let (name, columns, primary) = match constraint {
                TableConstraint::PrimaryKey(key) => (&key.name, columns_of(&key.columns)?, true),
                TableConstraint::Unique(key) => (&key.name, columns_of(&key.columns)?, false),
                _ => return Ok(None),
            };
            let name = name.as_ref().map(folded);
            let name = name.unwrap_or_else(|| match primary {
                true => format!("{table}_pkey"),
                false => format!("{table}_{}_key", columns.join("_")),
            });
            annotations.push(Annotation::Key {
                relation: relation.clone(),
                key: DeclaredKey {
                    name,
                    columns,
                    primary,
                    unique: true,
                    constraint: true,
                    orders: Vec::new(),
                    expressions: Vec::new(),
                    predicate: None,
                },
                tag: "ALTER TABLE",
            });
        }
        let mut done = None;
        for annotation in &annotations {
            if !self.is_of_own(annotation) {
                self.check_superuser_to("change a relation that isn't yours")?;
            }
            done = Some(Box::pin(self.annotate(annotation)).await?);
        }
        Ok(done)
    }
}

/// Refuses a key of columns that there aren't, or of one twice.
fn check_key(definition: &TableDefinition, columns: &[String], what: &str) -> Result<()> {
    for (at, name) in columns.iter().enumerate() {
        if !definition.columns.iter().any(|column| column.name == *name) {
            let existing = definition.columns.iter().map(|column| column.name.clone());
            return Err(FunnelError::Unknown {
                kind: Kind::Column,
                name: name.clone(),
                place: String::new(),
                existing: existing.collect(),
            }
            .into());
        }
        if columns[..at].contains(name) {
            return Err(Error::Query {
                fault: Fault::DuplicateColumn,
                message: format!("column \"{name}\" appears twice in {what}"),
                position: None,
            });
        }
    }
    Ok(())
}

fn taken(definition: &TableDefinition, name: &str) -> Error {
    Error::Query {
        fault: Fault::DuplicateObject,
        message: format!(
            "constraint \"{name}\" for relation \"{}\" already exists",
            definition.name
        ),
        position: None,
    }
}

fn missing(definition: &TableDefinition, name: &str) -> String {
    format!(
        "constraint \"{name}\" of relation \"{}\" does not exist",
        definition.name
    )
}

fn unknown_constraint(message: String) -> Error {
    Error::Query {
        fault: Fault::UndefinedObject,
        message,
        position: None,
    }
}
