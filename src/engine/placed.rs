//! Statements that define something, in a session whose `search_path` isn't the one by default: the names in them get the
//! schemas that they mean there, so that what is kept means the same to every session and after a restart.
//!
//! Queries and changes of rows need none of it: their names are looked up when they are planned
//! ([`crate::postgres::rewrite`]).

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{
    self, Ident, ObjectName, ObjectNamePart, ObjectType, VisitMut, VisitorMut,
};
use datafusion_funnel::definition::model::Source;
use datafusion_funnel::definition::text::{folded, identifier};

use super::DEFAULT_SCHEMA;
use super::plan::inner_mut;
use super::session::Session;
use crate::catalog;
use crate::error::{Error, Fault, Result};
use crate::postgres::rewrite::own_names;
use crate::sql::{
    self, ForeignStatement, IndexStatement, MaterializedStatement, Piece, SequenceStatement,
    Statement, StatementKind, splice,
};

impl Session {
    /// A statement with the schemas that its names have in this session's `search_path`; as it is where it defines nothing, or
    /// where the path is the one by default.
    ///
    /// # Errors
    /// 3F000 for a relation that is to be made, where there is no schema in the path.
    pub(super) fn in_path<'a>(&self, statement: &'a Statement) -> Result<Cow<'a, Statement>> {
        use StatementKind as K;
        let defines = match &statement.kind {
            K::Engine(engine_statement) => defines(engine_statement),
            kind => matches!(
                kind,
                K::Sequence(_)
                    | K::Index(_)
                    | K::Materialized(_)
                    | K::Foreign(_)
                    | K::Maintain(_)
                    | K::CreateFunnel(_)
            ),
        };
        if !defines {
            return Ok(Cow::Borrowed(statement));
        }
        let path = self.info.search_path().schemas();
        if path == [DEFAULT_SCHEMA] {
            return Ok(Cow::Borrowed(statement));
        }
        let mut placed = statement.clone();
        let creation = path.first().map(String::as_str);
        match &mut placed.kind {
            K::Engine(engine_statement) => {
                self.place(engine_statement, creation)?;
                placed.text = self.placed_text(&statement.text, creation)?;
            }
            K::Sequence(sequence) => self.place_sequence(sequence, creation)?,
            K::Index(index) => match index.as_mut() {
                IndexStatement::Create { relation, .. } => self.find(relation),
                IndexStatement::Drop { names, .. } => {
                    for name in names {
                        self.find_index(&path, name);
                    }
                }
                IndexStatement::Rename { name, .. } => self.find_index(&path, name),
            },
            K::Materialized(view) => match view.as_mut() {
                MaterializedStatement::Create(create) => {
                    make(&mut create.relation, creation)?;
                    create.query.text = self.placed_text(&create.query.text, creation)?;
                }
                MaterializedStatement::Refresh { relation, .. } => self.find(relation),
                MaterializedStatement::Drop { relations, .. } => {
                    relations.iter_mut().for_each(|name| self.find(name));
                }
            },
            K::Foreign(foreign) => match foreign.as_mut() {
                ForeignStatement::CreateTable { relation, .. } => make(relation, creation)?,
                ForeignStatement::DropTable { relations, .. } => {
                    relations.iter_mut().for_each(|name| self.find(name));
                }
                _ => {}
            },
            K::Maintain(maintenance) => {
                maintenance
                    .tables
                    .iter_mut()
                    .for_each(|name| self.find(name));
            }
            K::CreateFunnel(create) => {
                let related = create.body.related.iter_mut();
                let sources = related.map(|related| &mut related.source);
                for source in sources.chain([&mut create.source]) {
                    let (Source::Table(text) | Source::Query(text)) = &source;
                    let (before, after) = match source {
                        Source::Table(_) => ("SELECT * FROM ", ""),
                        Source::Query(_) => ("SELECT * FROM (", ") AS source"),
                    };
                    let placed = self.placed_text(&format!("{before}{text}{after}"), creation)?;
                    let placed = placed.strip_prefix(before).unwrap_or(&placed);
                    let placed = placed.strip_suffix(after).unwrap_or(placed).to_owned();
                    match source {
                        Source::Table(text) | Source::Query(text) => *text = placed,
                    }
                }
            }
            _ => {}
        }
        Ok(Cow::Owned(placed))
    }

    /// Gives a relation that there is its schema.
    fn find(&self, name: &mut Vec<String>) {
        if let [relation] = name.as_slice()
            && let Some(schema) = self.schema_of_relation(relation)
        {
            name.insert(0, schema);
        }
    }

    /// Gives an index that there is its schema.
    fn find_index(&self, path: &[String], name: &mut Vec<String>) {
        if let [index] = name.as_slice()
            && let Some(schema) = path.iter().find(|schema| self.has_index(schema, index))
        {
            name.insert(0, schema.clone());
        }
    }

    fn place_sequence(
        &self,
        sequence: &mut SequenceStatement,
        creation: Option<&str>,
    ) -> Result<()> {
        let (name, options) = match sequence {
            SequenceStatement::Create { name, options, .. } => {
                make(name, creation)?;
                (None, Some(options))
            }
            SequenceStatement::Alter { name, options, .. } => (Some(name), Some(options)),
            SequenceStatement::Rename { name, .. } => (Some(name), None),
            SequenceStatement::Identity { relation, .. } => (Some(relation), None),
            SequenceStatement::Drop { names, .. } => {
                names.iter_mut().for_each(|name| self.find(name));
                (None, None)
            }
        };
        name.into_iter().for_each(|name| self.find(name));
        // A table's name and a column's.
        let owner = options.and_then(|options| options.owned_by.as_mut()?.as_mut());
        if let Some(owner) = owner
            && owner.len() == 2
            && let Some(schema) = self.schema_of_relation(&owner[0])
        {
            owner.insert(0, schema);
        }
        Ok(())
    }

    /// The text of a statement with the schemas that are missing in it.
    fn placed_text(&self, text: &str, creation: Option<&str>) -> Result<String> {
        let mut missing = Vec::new();
        for statement in sql::parse(text)? {
            if let StatementKind::Engine(mut statement) = statement.kind {
                missing.extend(self.place(&mut statement, creation)?);
            }
        }
        Ok(splice(text, missing))
    }

    /// Gives the relations of a statement their schemas; returns what is missing in its text.
    fn place(&self, statement: &mut EngineStatement, creation: Option<&str>) -> Result<Vec<Piece>> {
        let mut placing = Placing {
            session: self,
            own: HashSet::new(),
            missing: Vec::new(),
        };
        if let EngineStatement::CreateExternalTable(create) = statement {
            placing.make(&mut create.name, creation)?;
        }
        if let Some(inner) = inner_mut(statement) {
            placing.own = own_names(inner);
            match inner {
                ast::Statement::CreateTable(create) => placing.make(&mut create.name, creation)?,
                ast::Statement::CreateView(create) => placing.make(&mut create.name, creation)?,
                ast::Statement::Drop {
                    object_type: ObjectType::Table | ObjectType::View,
                    names,
                    ..
                } => {
                    for name in names {
                        let _ = placing.pre_visit_relation(name);
                    }
                }
                _ => {}
            }
            let _ = inner.visit(&mut placing);
        }
        Ok(placing.missing)
    }
}

/// Whether a statement is about relations and no query.
fn defines(statement: &EngineStatement) -> bool {
    use ast::Statement as S;
    match statement {
        EngineStatement::CreateExternalTable(_) => true,
        EngineStatement::Statement(statement) => matches!(
            statement.as_ref(),
            S::CreateTable(_) | S::CreateView(_) | S::Drop { .. } | S::AlterTable(_)
        ),
        _ => false,
    }
}

fn no_schema() -> Error {
    Error::Query {
        fault: Fault::UndefinedSchema,
        message: "no schema has been selected to create in".to_owned(),
        position: None,
    }
}

/// Gives a relation that is to be made its schema.
fn make(name: &mut Vec<String>, creation: Option<&str>) -> Result<()> {
    if name.len() == 1 {
        let schema = creation.ok_or_else(no_schema)?;
        name.insert(0, schema.to_owned());
    }
    Ok(())
}

struct Placing<'a> {
    session: &'a Session,
    /// The names that mean something else in the statement.
    own: HashSet<String>,
    /// The schemas that were given, and where the names that got them begin.
    missing: Vec<Piece>,
}

impl Placing<'_> {
    fn make(&mut self, name: &mut ObjectName, creation: Option<&str>) -> Result<()> {
        if name.0.len() == 1 {
            let schema = creation.ok_or_else(no_schema)?;
            self.give(name, schema.to_owned());
        }
        Ok(())
    }

    fn give(&mut self, name: &mut ObjectName, schema: String) {
        if let Some(first) = name.0.first().and_then(ObjectNamePart::as_ident) {
            self.missing.push(Piece {
                start: first.span.start,
                end: first.span.start,
                text: format!("{}.", identifier(&schema)),
            });
        }
        let schema = Ident::with_quote('"', schema);
        name.0.insert(0, ObjectNamePart::Identifier(schema));
    }
}

impl VisitorMut for Placing<'_> {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        if let [ObjectNamePart::Identifier(name)] = relation.0.as_slice() {
            let name = folded(name);
            if !self.own.contains(&name)
                && !catalog::is_system_relation(&name)
                && let Some(schema) = self.session.schema_of_relation(&name)
            {
                self.give(relation, schema);
            }
        }
        ControlFlow::Continue(())
    }
}
