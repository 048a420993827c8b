//! `ALTER COLUMN … TYPE`: every row is written with the column's new values, in one commit.
//!
//! Delta's log keeps the types of its columns, so that the new values are in a column of their own. The old ones are written
//! beside them: until the new definition is on the disk, the old one reads what it always read.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{self, Expr, Ident};
use futures::TryStreamExt;

use super::change::unsupported;
use super::create::declared_type;
use super::local::Local;
use super::rules::{columns_in, own_words};
use super::target::{Target, assigned, column_of, named, query, select};
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Result};
use crate::postgres::{columns, types};
use crate::sql::{SequenceOptions, Statement};
use crate::tables::{ColumnDefinition, DurableTable, Shape, Table, Version, Writer, duplicated};

/// What the column is called while rows have it twice.
const BEFORE: &str = "\u{1f}before";

impl Session {
    /// A column has another type from now on.
    ///
    /// # Errors
    /// 42804 for a type that its values don't become by themselves, 0A000 for a column that others are computed of, and those of
    /// values and constraints.
    pub(super) async fn retype_column(
        &self,
        statement: &Statement,
        target: &Target,
        column: &Ident,
        written: &ast::DataType,
        using: Option<&Expr>,
    ) -> Result<()> {
        let place = self.check_free(target, column, &statement.sql)?;
        let (base, writing) = self.begin_alone(target).await?;
        let before = target.table.shape();
        let definition = &before.definition;
        let old = &definition.columns[place];
        let name = &old.name;
        let dependent = definition.columns.iter().find(|column| {
            let expression = column.generated.as_deref();
            expression.is_some_and(|text| columns_in(definition, text).contains(name))
        });
        if let Some(dependent) = dependent {
            return Err(ChangeFault::Other("0A000")
                .error("cannot alter type of a column used by a generated column")
                .detail(format!(
                    "Column \"{name}\" is used by generated column \"{}\".",
                    dependent.name
                ))
                .into());
        }
        if old.generated.is_some() || definition.partitioned_by.contains(name) {
            return Err(unsupported(
                "ALTER COLUMN ... TYPE of a column that is generated or in the partitions",
            ));
        }
        let field = self.declared_field(statement, name, written).await?;
        let mut new = ColumnDefinition {
            stored_as: self.unused_name(&target.table, name).await?,
            not_null: old.not_null,
            default: old.default.clone(),
            identity: old.identity,
            ..ColumnDefinition::of(&field)?
        };
        check_assignable(old, &new, using.is_some())?;
        let value = match using {
            Some(using) => own_words(definition, using),
            None => column_of("rows", name),
        };
        // Conditions have to make sense of the new type too.
        let mut planned = definition.clone();
        planned.columns[place] = new.clone();
        for check in &planned.checks {
            self.checked_condition(&planned, &super::target::expression(&check.expression)?)?;
        }
        let tables = self.engine.tables();
        let emptied = base.rows() == 0;
        let base = tables
            .add_stored_column(&target.table, new.delta_field())
            .await?;
        let held = if emptied {
            new.since = Some(base.number);
            writing.held()
        } else {
            let both = both_columns(&before, place, new.clone())?;
            let source = (value, place);
            let added = self
                .rewritten(statement, target, &base, &both, source)
                .await?;
            let removed = base.files.clone();
            let held = self
                .end_change(target, base, writing, removed, added)
                .await?;
            new.since = Some(tables.current(&target.table).number);
            held
        };
        let (identity, sequence) = (new.identity, new.sequence());
        let kind = new.kind.clone();
        self.redefine(target, |definition| definition.columns[place] = new)?;
        drop(held);
        // An identity's numbers are as large as its column can be.
        if let Some((schema, name)) = sequence.filter(|_| identity.is_some()) {
            let sequence = self.sequence(&[schema, name])?;
            let options = SequenceOptions {
                kind: Some(kind),
                ..SequenceOptions::default()
            };
            self.change_sequence(&sequence, &options)?;
        }
        Ok(())
    }

    /// Files of the rows with the new values and the old ones.
    async fn rewritten(
        &self,
        statement: &Statement,
        target: &Target,
        base: &Arc<Version>,
        both: &Arc<Shape>,
        (value, place): (Expr, usize),
    ) -> Result<Vec<Arc<crate::tables::DataFile>>> {
        let before = target.table.shape();
        let mut local = Local::default();
        let old = DurableTable::new(self.engine.tables(), &target.table)
            .shaped(Arc::clone(&before))
            .at(Arc::clone(base));
        let relation = local.add("rows", Arc::new(old))?;
        let mut built = query(&format!("SELECT 1 FROM {relation} AS \"rows\""))?;
        let names = before.definition.columns.iter().map(|column| &column.name);
        let names = names.chain([&before.definition.columns[place].name]);
        let columns = names.zip(&both.definition.columns).enumerate();
        let columns = columns.map(|(at, (name, column))| {
            let value = match at == place {
                true => assigned(value.clone(), column),
                false => column_of("rows", name),
            };
            named(value, &column.name)
        });
        select(&mut built)?.projection = columns.collect();
        let mut stream = self.stream_of_query(statement, built, &local, &[]).await?;
        let rules = self.rules(both)?;
        let mut writer = Writer::new(&target.table, both);
        loop {
            let written = match stream.try_next().await {
                Ok(None) => break,
                Ok(Some(batch)) => match rules.rows(both, batch.columns()) {
                    Ok(rows) => writer.write(&rows).await,
                    Err(error) => Err(error),
                },
                Err(error) => Err(Error::from_engine(&error, &statement.sql)),
            };
            if let Err(error) = written {
                writer.abort().await;
                return Err(error);
            }
        }
        let added = writer.finish().await?;
        for key in both
            .keys()
            .iter()
            .filter(|key| key.columns.contains(&place))
        {
            let (tables, files) = (self.engine.tables(), added.clone());
            let checked = duplicated(&self.context, tables, &target.table, both, key, files).await;
            if let Err(error) = checked {
                let files = added.iter().map(|file| file.path().to_owned());
                target.table.place().discard(files);
                return Err(error);
            }
        }
        Ok(added)
    }

    /// A column of that name with the type that is declared for it.
    pub(super) async fn declared_field(
        &self,
        statement: &Statement,
        name: &str,
        written: &ast::DataType,
    ) -> Result<Field> {
        let mut built = query("SELECT 1")?;
        let null = Expr::Cast {
            kind: ast::CastKind::Cast,
            expr: Box::new(Expr::Value(ast::Value::Null.into())),
            data_type: declared_type(written),
            array: false,
            format: None,
        };
        select(&mut built)?.projection = vec![named(null, "value")];
        let plan = self
            .plan_of_query(statement, built, &Local::default(), None)
            .await?;
        let marked = columns::marked(&plan, plan.schema().as_arrow());
        Ok(types::precise(marked.field(0).clone(), written).with_name(name))
    }

    /// A name that no file of a table has a column by.
    pub(super) async fn unused_name(&self, table: &Table, name: &str) -> Result<String> {
        let stored = table.delta().await?;
        let known: Vec<String> = stored
            .snapshot()
            .map(|snapshot| {
                snapshot
                    .schema()
                    .fields()
                    .map(|field| field.name().clone())
                    .collect()
            })
            .unwrap_or_default();
        let mut unused = name.to_owned();
        let mut number = 2;
        while known.contains(&unused) {
            unused = format!("{name}_{number}");
            number += 1;
        }
        Ok(unused)
    }
}

/// The columns with the new one in its place, and the old one behind them.
fn both_columns(before: &Shape, place: usize, new: ColumnDefinition) -> Result<Arc<Shape>> {
    let mut definition = before.definition.clone();
    let old = std::mem::replace(&mut definition.columns[place], new);
    definition.columns.push(ColumnDefinition {
        name: BEFORE.to_owned(),
        default: None,
        identity: None,
        ..old
    });
    Ok(Arc::new(Shape::new(definition)?))
}

/// Refuses a type that a column's values, or its default, don't become by themselves.
fn check_assignable(old: &ColumnDefinition, new: &ColumnDefinition, using: bool) -> Result<()> {
    let name = &old.name;
    let to = new.sql_type().unwrap_or_else(|| new.kind.clone());
    let mismatch = |message: String| ChangeFault::Other("42804").error(message);
    if new.identity.is_some() && !["int2", "int4", "int8"].contains(&new.kind.as_str()) {
        return Err(ChangeFault::Other("22023")
            .error("identity column type must be smallint, integer, or bigint")
            .into());
    }
    let becomes = becomes(&old.kind, &new.kind);
    if !using && !becomes {
        let message = format!("column \"{name}\" cannot be cast automatically to type {to}");
        return Err(mismatch(message)
            .hint(format!("You might need to specify \"USING {name}::{to}\"."))
            .into());
    }
    match new.default.is_some() && !becomes {
        true => Err(mismatch(format!(
            "default for column \"{name}\" cannot be cast automatically to type {to}"
        ))
        .hint("DROP DEFAULT first, and SET another one afterwards.")
        .into()),
        false => Ok(()),
    }
}

/// Whether values of a type become another one's when they are assigned to its columns.
fn becomes(from: &str, to: &str) -> bool {
    const TEXTS: [&str; 3] = ["text", "varchar", "bpchar"];
    const NUMBERS: [&str; 6] = ["int2", "int4", "int8", "numeric", "float4", "float8"];
    const INSTANTS: [&str; 3] = ["date", "timestamp", "timestamptz"];
    if let (Some(from), Some(to)) = (from.strip_prefix('_'), to.strip_prefix('_')) {
        return becomes(from, to);
    }
    let both = |kinds: &[&str]| kinds.contains(&from) && kinds.contains(&to);
    from == to
        || TEXTS.contains(&to)
        || both(&NUMBERS)
        || both(&INSTANTS)
        || both(&["json", "jsonb"])
        || both(&["time", "timetz"])
        || matches!(
            (from, to),
            ("timestamp" | "timestamptz", "time")
                | ("timestamptz", "timetz")
                | ("time", "interval")
                | ("interval", "time")
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL 15.18: `pg_cast` with `castcontext` `a` or `i`.
    #[test]
    fn types_become_others_as_postgres_assigns_them() {
        for (from, to, expected) in [
            ("int4", "int8", true),
            ("float8", "int2", true),
            ("int4", "text", true),
            ("text", "int4", false),
            ("bool", "int4", false),
            ("int4", "bool", false),
            ("timestamptz", "date", true),
            ("date", "time", false),
            ("_int4", "_numeric", true),
            ("_text", "_int4", false),
            ("json", "jsonb", true),
            ("uuid", "varchar", true),
        ] {
            assert_eq!(becomes(from, to), expected, "{from} {to}");
        }
    }
}
