//! `ALTER TABLE` of durable tables.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, Expr, Ident,
};
use datafusion_funnel::definition::text::folded;
use futures::TryStreamExt;
use tokio::sync::OwnedMutexGuard;

use super::block::Writing;
use super::change::unsupported;
use super::create::{Made, column_options};
use super::local::Local;
use super::rules::{columns_in, with_renamed};
use super::target::{Target, assigned, column_of, default_of, named, parts, query, select};
use crate::catalog::RelationNotes;
use crate::engine::outcome::{Notice, Outcome};
use crate::engine::sequences::default_text;
use crate::engine::session::{Session, lock};
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::sql::Statement;
use crate::tables::{
    CheckDefinition, ColumnDefinition, DurableTable, Shape, Table, TableDefinition, Writer,
    columns_of_expression, duplicated,
};

impl Session {
    /// Changes a durable table; nothing where it is another kind of relation.
    ///
    /// # Errors
    /// 42P01 and 42703 for what there isn't, 42701 for what there is, 2BP01 for a column that something depends on, 23502 for
    /// NULL in a column that is to have none.
    pub(super) async fn alter_table(
        &self,
        statement: &Statement,
        alter: &AlterTable,
    ) -> Result<Option<Outcome>> {
        let provider = match self.table_of(&parts(&alter.name)) {
            Ok((_, _, provider)) => provider,
            Err(_) if alter.if_exists => {
                let message = format!("relation \"{}\" does not exist, skipping", alter.name);
                return Ok(Some(Outcome::noted("ALTER TABLE", Notice::plain(message))));
            }
            Err(error) => return Err(error),
        };
        let Some(mut target) = self.target_of(&provider)? else {
            return self.declare_keys(alter).await;
        };
        self.check_superuser_to("run ALTER TABLE")?;
        let staged = lock(&self.block)
            .as_ref()
            .is_some_and(|block| block.staged.contains_key(&target.table.id()));
        if staged {
            return Err(ChangeFault::InUse
                .error(format!(
                    "cannot ALTER TABLE \"{}\" because this transaction has changed its rows",
                    target.name()
                ))
                .hint("COMMIT first.")
                .into());
        }
        let mut notices = Vec::new();
        for operation in &alter.operations {
            notices.extend(self.alter(statement, &target, operation).await?);
            target.shape = target.table.shape();
        }
        Ok(Some(Outcome::done("ALTER TABLE").with(notices)))
    }

    async fn alter(
        &self,
        statement: &Statement,
        target: &Target,
        operation: &AlterTableOperation,
    ) -> Result<Vec<Notice>> {
        match operation {
            AlterTableOperation::AddColumn {
                if_not_exists,
                column_def,
                ..
            } => {
                let name = folded(&column_def.name);
                if target.shape.position(&name).is_some() {
                    let message = format!(
                        "column \"{name}\" of relation \"{}\" already exists",
                        target.name()
                    );
                    return match if_not_exists {
                        true => Ok(vec![Notice::plain(format!("{message}, skipping"))]),
                        false => Err(Error::Query {
                            fault: Fault::DuplicateColumn,
                            message,
                            position: None,
                        }),
                    };
                }
                self.add_column(statement, target, column_def).await?;
            }
            AlterTableOperation::DropColumn {
                column_names,
                if_exists,
                ..
            } => {
                for column in column_names {
                    let name = folded(column);
                    if target.table.shape().position(&name).is_none() && *if_exists {
                        return Ok(vec![Notice::plain(format!(
                            "column \"{name}\" of relation \"{}\" does not exist, skipping",
                            target.name()
                        ))]);
                    }
                    self.drop_column(target, column, &statement.sql)?;
                }
            }
            AlterTableOperation::RenameColumn {
                old_column_name,
                new_column_name,
            } => self.rename_column(target, old_column_name, new_column_name, &statement.sql)?,
            AlterTableOperation::AlterColumn { column_name, op } => {
                self.alter_column(statement, target, column_name, op)
                    .await?;
            }
            AlterTableOperation::AddConstraint {
                constraint,
                not_valid,
            } => {
                return self
                    .add_constraint(statement, target, constraint, *not_valid)
                    .await;
            }
            AlterTableOperation::DropConstraint {
                if_exists, name, ..
            } => {
                return self
                    .drop_constraint(target, &folded(name), *if_exists)
                    .await;
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(target, &folded(old_name), &folded(new_name))?;
            }
            AlterTableOperation::ValidateConstraint { name } => {
                self.validate_constraint(statement, target, &folded(name))
                    .await?;
            }
            other => return Err(unsupported(&format!("ALTER TABLE ... {other}"))),
        }
        Ok(Vec::new())
    }

    /// Changes what is kept of a table, and what the catalogs say of it.
    pub(super) fn redefine(
        &self,
        target: &Target,
        change: impl FnOnce(&mut TableDefinition),
    ) -> Result<()> {
        self.redefine_table(&target.table, change)
    }

    /// The same of a table that isn't changed otherwise.
    pub(in crate::engine) fn redefine_table(
        &self,
        table: &Arc<Table>,
        change: impl FnOnce(&mut TableDefinition),
    ) -> Result<()> {
        self.engine.tables().redefine(table, change)?;
        let shape = table.shape();
        let definition = &shape.definition;
        let schema = self.schema(&definition.schema)?;
        schema.deregister_table(&definition.name)?;
        self.engine.register(table, schema.as_ref())
    }

    async fn add_column(
        &self,
        statement: &Statement,
        target: &Target,
        column: &ColumnDef,
    ) -> Result<()> {
        let name = folded(&column.name);
        let field = self
            .declared_field(statement, &name, &column.data_type)
            .await?;
        let mut made = Made::over(target.shape.definition.clone());
        made.definition.columns.push(ColumnDefinition::of(&field)?);
        column_options(column, &mut made)?;
        self.check_generated(&mut made.definition)?;
        self.add_constraints(&mut made)?;
        made.definition
            .notes
            .foreign_keys
            .append(&mut made.foreign_keys);
        self.check_defaults(statement, &made.definition).await?;
        let (base, writing) = self.begin_alone(target).await?;
        let tables = self.engine.tables();
        let place = made.definition.columns.len() - 1;
        made.definition.columns[place].stored_as = self.unused_name(&target.table, &name).await?;
        self.number_columns(&mut made)?;
        let added = made.definition.columns[place].clone();
        let filled = added.default.is_some() || added.generated.is_some();
        if added.not_null && !filled && base.rows() > 0 {
            return Err(contains_nulls(&added.name, target.name()));
        }
        let base = tables
            .add_stored_column(&target.table, added.delta_field())
            .await?;
        let shape = Arc::new(Shape::new(made.definition)?);
        let sequences = self.make_sequences(&made.sequences)?;
        let _held = if filled && base.rows() > 0 {
            let rewritten = self
                .rewrite_with(statement, target, &shape, &base, writing)
                .await;
            if rewritten.is_err() {
                sequences
                    .iter()
                    .try_for_each(|sequence| self.engine.drop_sequence(sequence))?;
            }
            rewritten?
        } else {
            let old = target.shape.definition.checks.len();
            for check in shape.definition.checks.iter().skip(old) {
                self.check_rows(statement, target, &shape, &base, check)
                    .await?;
            }
            writing.held()
        };
        self.redefine(target, |definition| *definition = shape.definition.clone())
    }

    /// The table by itself, whatever block is open: definitions aren't undone.
    pub(super) async fn begin_alone(
        &self,
        target: &Target,
    ) -> Result<(Arc<crate::tables::Version>, Writing)> {
        let held = Arc::clone(&target.table.writing).lock_owned().await;
        Ok((
            self.engine.tables().current(&target.table),
            Writing::Alone(held),
        ))
    }

    /// Writes all rows with a column that they don't have yet. Nobody else changes the table while what is returned is held.
    async fn rewrite_with(
        &self,
        statement: &Statement,
        target: &Target,
        shape: &Arc<Shape>,
        base: &Arc<crate::tables::Version>,
        writing: Writing,
    ) -> Result<Option<OwnedMutexGuard<()>>> {
        let mut local = Local::default();
        let old = DurableTable::new(self.engine.tables(), &target.table)
            .shaped(Arc::clone(&target.shape))
            .at(Arc::clone(base));
        let relation = local.add("rows", Arc::new(old))?;
        let mut built = query(&format!("SELECT 1 FROM {relation} AS \"rows\""))?;
        let columns = shape.definition.columns.iter().map(|column| {
            let value = match target.shape.position(&column.name) {
                Some(_) => column_of("rows", &column.name),
                None => assigned(default_of(column)?, column),
            };
            Ok(named(value, &column.name))
        });
        select(&mut built)?.projection = columns.collect::<Result<_>>()?;
        let mut stream = self.stream_of_query(statement, built, &local, &[]).await?;
        let rules = self.rules(shape)?;
        let mut writer = Writer::new(&target.table, shape);
        while let Some(batch) = stream.try_next().await? {
            let written = match rules.rows(shape, batch.columns()) {
                Ok(rows) => writer.write(&rows).await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                writer.abort().await;
                return Err(error);
            }
        }
        let added = writer.finish().await?;
        let known = target.shape.keys();
        let tables = self.engine.tables();
        for key in shape.keys().iter().filter(|key| !known.contains(key)) {
            let files = added.clone();
            duplicated(&self.context, tables, &target.table, shape, key, files).await?;
        }
        let removed = base.files.clone();
        self.end_change(target, Arc::clone(base), writing, removed, added)
            .await
    }

    /// Refuses to let go of a column's name while somebody's rights hang on it.
    pub(super) fn check_free(&self, target: &Target, column: &Ident, sql: &str) -> Result<usize> {
        let place = target.places(std::slice::from_ref(column), sql)?[0];
        let definition = &target.shape.definition;
        let object = crate::catalog::access::Object::relation(&definition.schema, &definition.name);
        let kept = self.engine.catalog.access().known(&object).kept();
        let name = folded(column);
        let granted = kept.grants.as_ref().is_some_and(|grants| {
            grants
                .columns()
                .any(|(_, columns)| columns.values().any(|columns| columns.contains(&name)))
        });
        let views = self.views_over(&definition.schema, &definition.name);
        if let Some((schema, view)) = views.first() {
            return Err(ChangeFault::Depended
                .error(format!(
                    "cannot change column \"{name}\" of table \"{}\" because other objects depend on it",
                    definition.name
                ))
                .detail(format!(
                    "view {schema}.{view} depends on table \"{}\"",
                    definition.name
                ))
                .hint("Drop the views over the table, and make them again afterwards.")
                .into());
        }
        match granted || !kept.policies.is_empty() || !kept.masks.is_empty() {
            true => Err(ChangeFault::Depended
                .error(format!(
                    "cannot change column \"{name}\" of table \"{}\" because privileges, policies or masks depend on it",
                    definition.name
                ))
                .hint("Drop the policies and masks of the table, and revoke what is granted on the column, first.")
                .into()),
            false => Ok(place),
        }
    }

    fn drop_column(&self, target: &Target, column: &Ident, sql: &str) -> Result<()> {
        let target = Target {
            shape: target.table.shape(),
            ..target.clone()
        };
        let place = self.check_free(&target, column, sql)?;
        let name = folded(column);
        let definition = &target.shape.definition;
        let needed = definition
            .primary_key
            .iter()
            .chain(&definition.partitioned_by)
            .any(|other| *other == name);
        if needed || definition.columns.len() == 1 {
            return Err(ChangeFault::Depended
                .error(format!(
                    "cannot drop column \"{name}\" of table \"{}\": it is in its key or its partitions, or its last",
                    definition.name
                ))
                .into());
        }
        let computed = definition.columns.iter().find(|column| {
            let expression = column.generated.as_deref();
            expression.is_some_and(|text| columns_of_expression(text).contains(&name))
        });
        if let Some(computed) = computed {
            let (table, computed) = (&definition.name, &computed.name);
            return Err(ChangeFault::Depended
                .error(format!(
                    "cannot drop column {name} of table {table} because other objects depend on it"
                ))
                .detail(format!(
                    "column {computed} of table {table} depends on column {name} of table {table}"
                ))
                .hint(format!("Drop column {computed} first."))
                .into());
        }
        let stored = definition.columns[place].stored_as.clone();
        self.redefine(&target, |definition| {
            let involves =
                |check: &CheckDefinition| columns_in(definition, &check.expression).contains(&name);
            let gone: Vec<CheckDefinition> = definition
                .checks
                .iter()
                .filter(|check| involves(check))
                .cloned()
                .collect();
            definition.checks.retain(|check| !gone.contains(check));
            definition
                .unique
                .retain(|unique| !unique.columns.contains(&name));
            definition.columns.remove(place);
            forget_column(&mut definition.notes, &name);
        })?;
        let sequences = self.engine.tables().sequences().of_table(&definition.id);
        for sequence in sequences {
            let owner = sequence.definition().owner;
            if owner.is_some_and(|owner| owner.column == stored) {
                self.engine.drop_sequence(&sequence)?;
            }
        }
        Ok(())
    }

    fn rename_column(&self, target: &Target, from: &Ident, to: &Ident, sql: &str) -> Result<()> {
        let place = self.check_free(target, from, sql)?;
        let (old, new) = (folded(from), folded(to));
        if target.shape.position(&new).is_some() {
            return Err(Error::Query {
                fault: Fault::DuplicateColumn,
                message: format!(
                    "column \"{new}\" of relation \"{}\" already exists",
                    target.name()
                ),
                position: None,
            });
        }
        self.redefine(target, |definition| {
            definition.columns[place].name.clone_from(&new);
            for check in &mut definition.checks {
                check.expression = with_renamed(&check.expression, &old, &new);
            }
            let generated = definition.columns.iter_mut();
            for expression in generated.filter_map(|column| column.generated.as_mut()) {
                *expression = with_renamed(expression, &old, &new);
            }
            let unique = definition.unique.iter_mut();
            let lists = definition
                .primary_key
                .iter_mut()
                .chain(unique.flat_map(|unique| &mut unique.columns))
                .chain(&mut definition.partitioned_by);
            for name in lists.filter(|name| **name == old) {
                name.clone_from(&new);
            }
            let notes = &mut definition.notes;
            if let Some(comment) = notes.columns.remove(&old) {
                notes.columns.insert(new.clone(), comment);
            }
            for key in &mut notes.keys {
                let texts = key.expressions.iter_mut().flatten();
                for text in texts.chain(&mut key.predicate) {
                    *text = with_renamed(text, &old, &new);
                }
            }
            let keys = notes.keys.iter_mut().flat_map(|key| &mut key.columns);
            let references = notes
                .foreign_keys
                .iter_mut()
                .flat_map(|key| &mut key.columns);
            for name in keys.chain(references).filter(|name| **name == old) {
                name.clone_from(&new);
            }
        })
    }

    async fn alter_column(
        &self,
        statement: &Statement,
        target: &Target,
        column: &Ident,
        operation: &AlterColumnOperation,
    ) -> Result<()> {
        let place = target.places(std::slice::from_ref(column), &statement.sql)?[0];
        let name = folded(column);
        match operation {
            AlterColumnOperation::SetNotNull => {
                let (base, _held) = self.begin_alone(target).await?;
                let nulls = Expr::IsNull(Box::new(column_of("rows", &name)));
                let shape = target.table.shape();
                if self
                    .any_row(statement, target, &shape, &base, nulls)
                    .await?
                {
                    return Err(contains_nulls(&name, target.name()));
                }
                self.redefine(target, |definition| {
                    definition.columns[place].not_null = true;
                })
            }
            AlterColumnOperation::DropNotNull => {
                if target.shape.definition.primary_key.contains(&name) {
                    return Err(ChangeFault::Definition
                        .error(format!("column \"{name}\" is in a primary key"))
                        .into());
                }
                if target.shape.definition.columns[place].identity.is_some() {
                    return Err(of_another_kind(target, place, "an identity column"));
                }
                self.redefine(target, |definition| {
                    definition.columns[place].not_null = false;
                })
            }
            AlterColumnOperation::SetDefault { value } => {
                check_default(target, place)?;
                let mut definition = target.shape.definition.clone();
                definition.columns[place].default = Some(default_text(value));
                self.check_defaults(statement, &definition).await?;
                self.redefine(target, |kept| *kept = definition)
            }
            AlterColumnOperation::DropDefault => {
                check_default(target, place)?;
                self.redefine(target, |definition| {
                    definition.columns[place].default = None;
                })
            }
            AlterColumnOperation::SetDataType {
                data_type, using, ..
            } => {
                self.retype_column(statement, target, column, data_type, using.as_ref())
                    .await
            }
            other => Err(unsupported(&format!("ALTER COLUMN ... {other}"))),
        }
    }
}

/// Refuses to change the default of a column that has none of its own.
fn check_default(target: &Target, place: usize) -> Result<()> {
    let column = &target.shape.definition.columns[place];
    match (column.identity, &column.generated) {
        (Some(_), _) => Err(of_another_kind(target, place, "an identity column")),
        (_, Some(_)) => Err(of_another_kind(target, place, "a generated column")),
        _ => Ok(()),
    }
}

fn of_another_kind(target: &Target, place: usize, kind: &str) -> Error {
    let column = &target.shape.definition.columns[place].name;
    Error::Syntax {
        message: format!(
            "column \"{column}\" of relation \"{}\" is {kind}",
            target.name()
        ),
        position: None,
    }
}

fn forget_column(notes: &mut RelationNotes, column: &str) {
    notes.columns.remove(column);
    notes.defaults.remove(column);
    notes.keys.retain(|key| {
        let texts = key.expressions.iter().flatten();
        let mut read = texts
            .chain(&key.predicate)
            .flat_map(|text| columns_of_expression(text));
        !key.columns.iter().any(|name| name == column) && !read.any(|name| name == column)
    });
    notes
        .foreign_keys
        .retain(|key| !key.columns.iter().any(|name| name == column));
}

pub(super) fn contains_nulls(column: &str, table: &str) -> Error {
    ChangeFault::NotNull
        .error(format!(
            "column \"{column}\" of relation \"{table}\" contains null values"
        ))
        .into()
}
