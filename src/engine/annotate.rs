//! Comments, keys and names of relations; tables that go with their session.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_funnel::definition::text::identifier;
use datafusion_funnel::error::{FunnelError, Kind};
use futures::FutureExt;

use super::outcome::{Notice, Outcome};
use super::session::Session;
use super::{DATABASE, DEFAULT_SCHEMA};
use crate::catalog::access::Object;
use crate::catalog::{ForeignKey, RelationNotes};
use crate::error::{Error, Fault, Result};
use crate::postgres::rewrite::over;
use crate::sql::{Annotation, Commented, Statement, StatementKind, alias_with, column_names};

impl Session {
    pub(super) async fn annotate(&self, annotation: &Annotation) -> Result<Outcome> {
        match annotation {
            Annotation::Comment { about, text } => {
                match about {
                    Commented::Relation(relation) => {
                        self.note(relation, |notes| notes.comment.clone_from(text))?;
                    }
                    Commented::Column(parts) => {
                        let Some((column, relation)) = parts.split_last() else {
                            return Ok(Outcome::done("COMMENT"));
                        };
                        self.check_column(relation, column)?;
                        self.note(relation, |notes| {
                            match text {
                                Some(text) => notes.columns.insert(column.clone(), text.clone()),
                                None => notes.columns.remove(column),
                            };
                        })?;
                    }
                    Commented::Schema(schema) => self
                        .engine
                        .catalog
                        .annotations()
                        .note_schema(schema, text.clone()),
                    Commented::Other => {}
                }
                Ok(Outcome::done("COMMENT"))
            }
            Annotation::Key { relation, key, tag } => {
                for column in key.named() {
                    self.check_column(relation, column)?;
                }
                self.note(relation, |notes| {
                    notes.keys.retain(|known| known.name != key.name);
                    notes.keys.push(key.clone());
                })?;
                Ok(Outcome::noted(tag, not_enforced(&key.name)))
            }
            Annotation::Reference {
                relation,
                reference,
            } => {
                let mut reference = reference.clone();
                self.find_referred(&mut reference);
                self.note(relation, |notes| {
                    notes
                        .foreign_keys
                        .retain(|known| known.name != reference.name);
                    notes.foreign_keys.push(reference.clone());
                })?;
                Ok(Outcome::noted("ALTER TABLE", not_enforced(&reference.name)))
            }
            Annotation::Rename {
                relation,
                to,
                if_exists,
                tag,
            } => self.rename(relation, to, *if_exists, tag).await,
            Annotation::Move {
                relation,
                schema,
                if_exists,
            } => self.set_schema(relation, schema, *if_exists).await,
        }
    }

    /// The schema and name of a relation that there is.
    pub(super) fn relation(
        &self,
        parts: &[String],
    ) -> Result<(String, Arc<dyn SchemaProvider>, String)> {
        let (schema, name) = match parts {
            [name] => (
                self.schema_of_relation(name)
                    .unwrap_or_else(|| DEFAULT_SCHEMA.to_owned()),
                name,
            ),
            [.., schema, name] => (schema.clone(), name),
            [] => return Err(unknown("")),
        };
        let provider = self.database()?.schema(&schema);
        match provider.filter(|provider| provider.table_exist(name)) {
            Some(provider) => Ok((schema, provider, name.clone())),
            None => Err(self.explain_error(unknown(&parts.join(".")))),
        }
    }

    /// A key that was declared is forgotten.
    pub(super) fn forget_key(&self, relation: &[String], name: &str) -> Result<()> {
        self.note(relation, |notes| notes.keys.retain(|key| key.name != name))
    }

    /// A key that was declared is called otherwise from now on.
    pub(super) fn rename_key(&self, relation: &[String], from: &str, to: &str) -> Result<()> {
        self.note(relation, |notes| {
            for key in notes.keys.iter_mut().filter(|key| key.name == from) {
                to.clone_into(&mut key.name);
            }
        })
    }

    fn note(&self, relation: &[String], note: impl FnOnce(&mut RelationNotes)) -> Result<()> {
        let (schema, _, name) = self.relation(relation)?;
        let annotations = self.engine.catalog.annotations();
        annotations.note(&schema, &name, note);
        if let Some(table) = self.engine.tables().named(&schema, &name) {
            let notes = annotations.of(&schema, &name);
            self.engine
                .tables()
                .redefine(&table, |definition| definition.notes = notes)?;
        }
        Ok(())
    }

    /// A relation that there is: its schema, its name, and itself.
    pub(super) fn table_of(
        &self,
        parts: &[String],
    ) -> Result<(String, String, Arc<dyn TableProvider>)> {
        let (schema, provider, name) = self.relation(parts)?;
        // Tables are in memory: nobody waits for one.
        let table = match provider.table(&name).now_or_never() {
            Some(found) => found.map_err(|error| Error::from_engine(&error, ""))?,
            None => None,
        };
        match table {
            Some(table) => Ok((schema, name, table)),
            None => Err(self.explain_error(unknown(&parts.join(".")))),
        }
    }

    pub(super) fn check_column(&self, relation: &[String], column: &str) -> Result<()> {
        let (_, name, table) = self.table_of(relation)?;
        match table.schema().field_with_name(column) {
            Ok(_) => Ok(()),
            Err(_) => Err(FunnelError::Unknown {
                kind: Kind::Column,
                name: column.to_owned(),
                place: format!(" in {name}"),
                existing: table
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect(),
            }
            .into()),
        }
    }

    async fn rename(
        &self,
        relation: &[String],
        to: &str,
        if_exists: bool,
        tag: &'static str,
    ) -> Result<Outcome> {
        if let Some(skipped) = self.skipped(relation, if_exists, tag) {
            return Ok(skipped);
        }
        let (schema, provider, name) = self.relation(relation)?;
        let sequences = self.engine.tables().sequences();
        if let Some(sequence) = sequences.named(&schema, &name) {
            self.move_sequence(&sequence, &schema, to)?;
            return Ok(Outcome::done(tag));
        }
        if provider.table_exist(to) {
            let message = format!("relation \"{to}\" already exists");
            return Err(Error::Query {
                fault: Fault::DuplicateTable,
                message,
                position: None,
            });
        }
        self.engine.catalog.check_rename(&schema, &name)?;
        let views = self.views_over(&schema, &name);
        let (from, under) = (
            Object::relation(&schema, &name),
            Object::relation(&schema, to),
        );
        self.engine.catalog.access().rename(&from, &under)?;
        if let Some(table) = provider.deregister_table(&name)? {
            provider.register_table(to.to_owned(), table)?;
        }
        if let Some(table) = self.engine.tables().named(&schema, &name) {
            self.engine
                .tables()
                .redefine(&table, |definition| to.clone_into(&mut definition.name))?;
        }
        self.engine.catalog.annotations().rename(&schema, &name, to);
        self.engine.catalog.rename_kept(&schema, &name, to)?;
        let (old, new) = ((schema.clone(), name), (schema, to.to_owned()));
        self.follow(&views, &old, &new).await?;
        Ok(Outcome::done(tag))
    }

    /// What is said of a relation that there isn't, where that is no fault.
    fn skipped(&self, relation: &[String], if_exists: bool, tag: &'static str) -> Option<Outcome> {
        (if_exists && self.relation(relation).is_err()).then(|| {
            let name = relation.join(".");
            let message = format!("relation \"{name}\" does not exist, skipping");
            Outcome::noted(tag, Notice::plain(message))
        })
    }

    /// A durable table is in another schema from now on.
    async fn set_schema(&self, relation: &[String], to: &str, if_exists: bool) -> Result<Outcome> {
        if let Some(skipped) = self.skipped(relation, if_exists, "ALTER TABLE") {
            return Ok(skipped);
        }
        let (schema, provider, name) = self.relation(relation)?;
        let tables = self.engine.tables();
        let Some(table) = tables.named(&schema, &name) else {
            return Err(Error::Unsupported {
                message: format!("\"{name}\" can't be moved to another schema"),
                hint: Some("Make it again there.".to_owned()),
            });
        };
        self.engine.catalog.check_rename(to, &name)?;
        let target = self.schema(to)?;
        if target.table_exist(&name) {
            return Err(Error::Query {
                fault: Fault::DuplicateTable,
                message: format!("relation \"{name}\" already exists in schema \"{to}\""),
                position: None,
            });
        }
        let views = self.views_over(&schema, &name);
        let (from, under) = (
            Object::relation(&schema, &name),
            Object::relation(to, &name),
        );
        self.engine.catalog.access().rename(&from, &under)?;
        tables.redefine(&table, |definition| to.clone_into(&mut definition.schema))?;
        provider.deregister_table(&name)?;
        self.engine.catalog.annotations().forget(&schema, &name);
        self.engine.register(&table, target.as_ref())?;
        // What it numbers its rows by comes along.
        for sequence in tables.sequences().of_table(&table.id()) {
            self.move_sequence(&sequence, to, &sequence.definition().name)?;
        }
        let (old, new) = ((schema, name.clone()), (to.to_owned(), name));
        self.follow(&views, &old, &new).await?;
        Ok(Outcome::done("ALTER TABLE"))
    }

    /// A schema that there is.
    pub(super) fn schema(&self, name: &str) -> Result<Arc<dyn SchemaProvider>> {
        let unknown = || Error::UnknownSchema {
            name: name.to_owned(),
            hint: None,
        };
        self.database()?.schema(name).ok_or_else(unknown)
    }

    fn database(&self) -> Result<Arc<dyn CatalogProvider>> {
        let database = self.context.catalog(DATABASE);
        database.ok_or_else(|| Error::UnknownSchema {
            name: DATABASE.to_owned(),
            hint: None,
        })
    }

    /// The schema that a relation named without one is found in, where that isn't the default one: the session's own, or the first
    /// of its `search_path` that has such a relation.
    pub(super) fn schema_of_relation(&self, name: &str) -> Option<String> {
        let found = self.info.search_path().schema_of(name);
        found.filter(|schema| schema != DEFAULT_SCHEMA)
    }

    /// The schema of the table that a key refers to, where none is written.
    pub(super) fn find_referred(&self, key: &mut ForeignKey) {
        if key.schema.is_empty() {
            let found = self.info.search_path().schema_of(&key.relation);
            key.schema = found.unwrap_or_else(|| DEFAULT_SCHEMA.to_owned());
        }
    }

    /// Whether it has relations of its own, which a name may mean.
    pub(super) fn has_temporary(&self) -> bool {
        let database = self.context.catalog(DATABASE);
        let own = database.and_then(|database| database.schema(self.identity.temporary_schema()));
        own.is_some_and(|relations| !relations.table_names().is_empty())
    }

    fn temporary_schema(&self) -> String {
        self.identity.temporary_schema().to_owned()
    }

    /// Makes a table that goes with the session.
    pub(super) async fn create_temporary(
        &self,
        statement: &Statement,
        create: &EngineStatement,
    ) -> Result<Outcome> {
        let schema = self.temporary_schema();
        let database = self.database()?;
        if database.schema(&schema).is_none() {
            database.register_schema(&schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        let mut create = create.clone();
        if let EngineStatement::Statement(inner) = &mut create {
            let name = match inner.as_mut() {
                ast::Statement::CreateTable(table) => {
                    name_columns(table);
                    Some(&mut table.name)
                }
                ast::Statement::CreateView(view) => Some(&mut view.name),
                _ => None,
            };
            if let Some(name) = name {
                name.0.retain(|part| part.as_ident().is_some());
                if let Some(last) = name.0.pop() {
                    let schema = ast::Ident::with_quote('"', schema);
                    name.0 = vec![ast::ObjectNamePart::Identifier(schema), last];
                }
            }
        }
        let statement = Statement {
            kind: StatementKind::Engine(Box::new(create)),
            ..statement.clone()
        };
        let outcome = Box::pin(self.execute_statement(statement)).await?;
        Ok(match outcome {
            Outcome::Done { tag, reported, .. } => Outcome::Done {
                tag,
                notices: Vec::new(),
                reported,
            },
            rows @ Outcome::Rows { .. } => rows,
        })
    }

    /// Lends the session a relation that nobody else sees, in place of one that was lent under that name before; returns
    /// what SQL calls it.
    ///
    /// # Errors
    /// XX000 where it can't be registered.
    pub fn lend(&self, name: &str, relation: Arc<dyn TableProvider>) -> Result<String> {
        let schema = self.temporary_schema();
        let database = self.database()?;
        if database.schema(&schema).is_none() {
            database.register_schema(&schema, Arc::new(MemorySchemaProvider::new()))?;
        }
        if let Some(relations) = database.schema(&schema) {
            relations.deregister_table(name)?;
            relations.register_table(name.to_owned(), relation)?;
        }
        Ok(format!("{}.{}", identifier(&schema), identifier(name)))
    }

    /// Drops the session's own tables.
    pub(super) fn drop_temporary(&self) {
        if let Some(database) = self.context.catalog(DATABASE) {
            // A schema that isn't there is as gone as one that was dropped.
            let _ = database.deregister_schema(&self.temporary_schema(), true);
            let access = self.engine.catalog.access();
            let _ = access.forget_schema(&self.temporary_schema());
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.roll_back();
        self.drop_temporary();
    }
}

/// `CREATE TEMP TABLE t (a, b) AS SELECT …`: the columns of the query are called so.
fn name_columns(create: &mut ast::CreateTable) {
    let names = column_names(create);
    if let Some(source) = create.query.as_mut().filter(|_| !names.is_empty())
        && let Some(named) = over("SELECT *", (**source).clone(), alias_with(&names))
    {
        **source = named;
        create.columns = Vec::new();
    }
}

fn unknown(name: &str) -> Error {
    FunnelError::Unknown {
        kind: Kind::Table,
        name: name.to_owned(),
        place: String::new(),
        existing: Vec::new(),
    }
    .into()
}

fn not_enforced(name: &str) -> Notice {
    Notice {
        hint: Some("Clients see it in the catalogs; rows are not checked.".to_owned()),
        ..Notice::plain(format!("\"{name}\" is declared and not enforced"))
    }
}
