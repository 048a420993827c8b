//! `CREATE EXTERNAL TABLE` and the like: done by DataFusion, and kept for the next start.
//!
//! A definition is done whole or not at all: what can't be kept, or fails half way, leaves what was there.

use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::TableReference;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::ListingTable;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{CreateExternalTable, DdlStatement, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{self, CreateTable};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion_funnel::definition::resolve::table_names;
use datafusion_funnel::definition::text::{folded, identifier, literal};
use datafusion_funnel::error::{FunnelError, Kind};

use super::outcome::{Notice, Outcome};
use super::tables::durable_table;
use super::{DATABASE, DEFAULT_SCHEMA, Engine};
use crate::catalog::{Catalog, Change, MaterializedView, TEMPORARY, Target, local_path, unguarded};
use crate::error::{Error, Fault, Result, character_position};
use crate::external;
use crate::federation::ForeignTable;
use crate::sql::{Statement, StatementKind};
use crate::tables::{SequenceRelation, Table};

/// Runs a definition, and keeps or forgets its statement.
///
/// # Errors
/// 42P01 and 3F000 for what doesn't exist, 42P07 for what exists, 42809 for a table where a view is meant
/// and the other way round, 58030 for what can't be kept.
pub async fn run(
    context: &SessionContext,
    engine: &Engine,
    statement: &Statement,
    definition: DdlStatement,
) -> Result<Outcome> {
    let catalog = engine.catalog();
    let change = Change::of(&definition)?;
    catalog.check_change(&change)?;
    let before = Before::of(&context.state(), &change).await?;
    if change.drops && !before.exists() && catalog.is_broken(&change) {
        catalog.keep_change(&change, &statement.text)?;
        catalog.forget_access(&change)?;
        return Ok(Outcome::done(change.tag));
    }
    before.check(context, catalog, &change)?;
    if change.lenient && before.exists() != change.drops {
        let what = if change.drops {
            "does not exist"
        } else {
            "already exists"
        };
        let message = format!("{} \"{}\" {what}, skipping", kind(&change), change.name);
        return Ok(Outcome::noted(change.tag, Notice::plain(message)));
    }
    if let DdlStatement::CreateExternalTable(create) = &definition {
        if !create.unbounded {
            return create_external(context, engine, statement, &change, before, create).await;
        }
        external::check_unbounded(create)?;
    }
    let dropped = match change.drops {
        true => before.durable_tables().await?,
        false => Vec::new(),
    };
    let in_memory_only = matches!(definition, DdlStatement::CreateMemoryTable(_));
    let from_query = is_from_query(statement);
    if change.drops {
        forget_notes(catalog, &change);
    }
    // What was granted on another object of that name, which is gone, isn't granted on this one.
    if !change.drops && !before.exists() && !catalog.is_kept(&change) {
        catalog.forget_access(&change)?;
    }
    let done = match context
        .execute_logical_plan(LogicalPlan::Ddl(definition))
        .await
    {
        Ok(_) if in_memory_only => {
            let tag = match from_query {
                true => format!("SELECT {}", row_count(context, &change).await?),
                false => change.tag.to_owned(),
            };
            note_defaults(catalog, &change, statement);
            return Ok(Outcome::noted(&tag, in_memory(&change)));
        }
        Ok(_) if goes_with_session(&change) && !change.drops => Ok(()),
        Ok(_) => {
            let kept = catalog.keep_change(&change, &with_absolute_location(&statement.text));
            let gone = |()| {
                dropped
                    .iter()
                    .try_for_each(|table| engine.drop_table(table))?;
                match &change.target {
                    Target::Schema(name) if change.drops => engine.drop_sequences_in(name),
                    _ => Ok(()),
                }
            };
            kept.and_then(gone)
        }
        Err(error) => Err(Error::from_engine(&error, statement.sql.as_ref())),
    };
    if let Err(error) = done {
        before.put_back()?;
        return Err(error);
    }
    if change.drops {
        catalog.forget_access(&change)?;
    }
    Ok(Outcome::done(change.tag))
}

/// Whether a relation goes with its session.
fn goes_with_session(change: &Change) -> bool {
    match &change.target {
        Target::Relation(relation, _) => relation
            .schema()
            .is_some_and(|schema| schema.starts_with(TEMPORARY)),
        Target::Schema(_) => false,
    }
}

/// A table over files.
async fn create_external(
    context: &SessionContext,
    engine: &Engine,
    statement: &Statement,
    change: &Change,
    before: Before,
    create: &CreateExternalTable,
) -> Result<Outcome> {
    let catalog = engine.catalog();
    let Before::Relation {
        schema,
        reference,
        table: existing,
    } = &before
    else {
        return Err(Error::UnknownSchema {
            name: create.name.schema().unwrap_or(DEFAULT_SCHEMA).to_owned(),
            hint: None,
        });
    };
    if let Some(existing) = existing {
        check_replaces(change, existing, create.or_replace)?;
    }
    let kept = match engine.is_restoring() {
        true => catalog.kept_table(change),
        false => None,
    };
    let state = context.state();
    let stores = engine.stores();
    let (table, kept) = external::create(&state, stores, create, kept.as_ref()).await?;
    let text = external::without_secrets(&with_absolute_location(&statement.text), &kept.secrets)?;
    // What was granted on another object of that name, which is gone, isn't granted on this one.
    if existing.is_none() && !catalog.is_kept(change) {
        catalog.forget_access(change)?;
    }
    let name = reference.table();
    if existing.is_some() {
        schema.deregister_table(name)?;
    }
    schema.register_table(name.to_owned(), Arc::new(table))?;
    if let Err(error) = catalog.keep_table(change, &text, kept) {
        before.put_back()?;
        return Err(error);
    }
    Ok(Outcome::done(change.tag))
}

/// Whether a table over files may take the place of what is there.
fn check_replaces(
    change: &Change,
    existing: &Arc<dyn TableProvider>,
    replaces: bool,
) -> Result<()> {
    if !replaces {
        return Err(Error::Query {
            fault: Fault::DuplicateTable,
            message: format!("relation \"{}\" already exists", change.name),
            position: None,
        });
    }
    match unguarded(Arc::clone(existing)).downcast_ref::<ListingTable>() {
        Some(_) => Ok(()),
        None => Err(Error::WrongObject {
            message: format!("\"{}\" is not an external table", change.name),
            hint: "Drop it first, or take another name.".to_owned(),
        }),
    }
}

/// Whether a table is made of a query, so that its command counts rows.
fn is_from_query(statement: &Statement) -> bool {
    matches!(created(statement), Some(create) if create.query.is_some())
}

fn created(statement: &Statement) -> Option<&CreateTable> {
    match &statement.kind {
        StatementKind::Engine(engine_statement) => match engine_statement.as_ref() {
            EngineStatement::Statement(inner) => match inner.as_ref() {
                ast::Statement::CreateTable(create) => Some(create),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

async fn row_count(context: &SessionContext, change: &Change) -> Result<usize> {
    match &change.target {
        Target::Relation(reference, _) => {
            Ok(context.table(reference.clone()).await?.count().await?)
        }
        Target::Schema(_) => Ok(0),
    }
}

/// What a table's columns are where nothing is given, for those who ask the catalogs.
fn note_defaults(catalog: &Catalog, change: &Change, statement: &Statement) {
    let (Target::Relation(reference, _), Some(create)) = (&change.target, created(statement))
    else {
        return;
    };
    let schema = reference.schema().unwrap_or(DEFAULT_SCHEMA);
    catalog.annotations().forget(schema, reference.table());
    for column in &create.columns {
        let default = column
            .options
            .iter()
            .find_map(|option| match &option.option {
                ast::ColumnOption::Default(default) => Some(default.to_string()),
                _ => None,
            });
        if let Some(default) = default {
            let name = folded(&column.name);
            catalog
                .annotations()
                .note(schema, reference.table(), |notes| {
                    notes.defaults.insert(name, default);
                });
        }
    }
}

fn forget_notes(catalog: &Catalog, change: &Change) {
    if let Target::Relation(reference, _) = &change.target {
        catalog.annotations().forget(
            reference.schema().unwrap_or(DEFAULT_SCHEMA),
            reference.table(),
        );
    }
}

fn kind(change: &Change) -> &'static str {
    match &change.target {
        Target::Relation(_, TableType::View) => "view",
        Target::Relation(..) => "table",
        Target::Schema(_) => "schema",
    }
}

fn in_memory(change: &Change) -> Notice {
    let message = format!(
        "table \"{}\" is kept in memory until the server stops",
        change.name
    );
    Notice {
        hint: Some("CREATE EXTERNAL TABLE over a file is there after a restart.".to_owned()),
        ..Notice::plain(message)
    }
}

/// What stood under the name of a change before it.
enum Before {
    Relation {
        schema: Arc<dyn SchemaProvider>,
        reference: TableReference,
        table: Option<Arc<dyn TableProvider>>,
    },
    Schema {
        database: Arc<dyn CatalogProvider>,
        name: String,
        schema: Option<Arc<dyn SchemaProvider>>,
    },
    /// A relation in a schema that there isn't.
    Nowhere(String),
}

impl Before {
    async fn of(state: &SessionState, change: &Change) -> Result<Self> {
        match &change.target {
            Target::Relation(reference, _) => {
                let reference = reference.clone();
                match state.schema_for_ref(reference.clone()) {
                    Ok(schema) => {
                        let table = schema.table(reference.table()).await?;
                        Ok(Before::Relation {
                            schema,
                            reference,
                            table,
                        })
                    }
                    Err(_) => Ok(Before::Nowhere(
                        reference.schema().unwrap_or_default().to_owned(),
                    )),
                }
            }
            Target::Schema(name) => {
                let database =
                    state
                        .catalog_list()
                        .catalog(DATABASE)
                        .ok_or_else(|| Error::UnknownSchema {
                            name: name.clone(),
                            hint: None,
                        })?;
                let schema = database.schema(name);
                Ok(Before::Schema {
                    database,
                    name: name.clone(),
                    schema,
                })
            }
        }
    }

    /// The durable tables that go with it.
    async fn durable_tables(&self) -> Result<Vec<Arc<Table>>> {
        let providers = match self {
            Before::Relation { table, .. } => table.iter().map(Arc::clone).collect(),
            Before::Schema {
                schema: Some(schema),
                ..
            } => {
                let mut providers = Vec::new();
                for name in schema.table_names() {
                    providers.extend(schema.table(&name).await?);
                }
                providers
            }
            Before::Schema { schema: None, .. } | Before::Nowhere(_) => Vec::new(),
        };
        Ok(providers.iter().filter_map(durable_table).collect())
    }

    fn exists(&self) -> bool {
        match self {
            Before::Relation { table, .. } => table.is_some(),
            Before::Schema { schema, .. } => schema.is_some(),
            Before::Nowhere(_) => false,
        }
    }

    /// What DataFusion lets pass, or says in other words.
    fn check(&self, context: &SessionContext, catalog: &Catalog, change: &Change) -> Result<()> {
        match (self, &change.target) {
            (Before::Nowhere(schema), _) if !(change.drops && change.lenient) => {
                let hint = format!("CREATE SCHEMA {} makes it.", identifier(schema));
                let hint = (!change.drops).then_some(hint);
                Err(Error::UnknownSchema {
                    name: schema.clone(),
                    hint,
                })
            }
            (
                Before::Schema {
                    schema: None, name, ..
                },
                _,
            ) if change.drops && !change.lenient => Err(Error::UnknownSchema {
                name: name.clone(),
                hint: None,
            }),
            (Before::Relation { table: None, .. }, _) if change.drops && !change.lenient => {
                Err(Error::from(FunnelError::Unknown {
                    kind: Kind::Table,
                    name: change.name.clone(),
                    place: String::new(),
                    existing: table_names(&context.state()),
                }))
            }
            (
                Before::Relation {
                    table: Some(table), ..
                },
                Target::Relation(_, wanted),
            ) if change.drops => {
                let table = unguarded(Arc::clone(table));
                if let Some(kind) = kind_of_its_own(table.as_ref()) {
                    return Err(other_kind(change, *wanted, kind));
                }
                check_kind(change, *wanted, table.table_type())?;
                match catalog.is_kept(change) {
                    true => Ok(()),
                    false => check_origin(change, table.as_ref()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Undoes a change that could not be finished.
    fn put_back(self) -> Result<()> {
        match self {
            Before::Relation {
                schema,
                reference,
                table,
            } => {
                let name = reference.table();
                if schema.table_exist(name) {
                    schema.deregister_table(name)?;
                }
                if let Some(table) = table {
                    schema.register_table(name.to_owned(), table)?;
                }
            }
            Before::Schema {
                database,
                name,
                schema,
            } => {
                match schema {
                    Some(schema) => database.register_schema(&name, schema)?,
                    None => database.deregister_schema(&name, true)?,
                };
            }
            Before::Nowhere(_) => {}
        }
        Ok(())
    }
}

fn check_kind(change: &Change, wanted: TableType, found: TableType) -> Result<()> {
    let is_view = found == TableType::View;
    if is_view == (wanted == TableType::View) {
        return Ok(());
    }
    let (found, wanted) = if is_view {
        ("view", "table")
    } else {
        ("table", "view")
    };
    Err(Error::WrongObject {
        message: format!("\"{}\" is not a {wanted}", change.name),
        hint: format!("Use DROP {} to remove a {found}.", found.to_uppercase()),
    })
}

/// What a relation is that has a statement of its own to drop it.
fn kind_of_its_own(table: &dyn TableProvider) -> Option<&'static str> {
    let foreign = table
        .downcast_ref::<ForeignTable>()
        .map(|_| "foreign table");
    let view = table.downcast_ref::<MaterializedView>();
    let sequence = table.downcast_ref::<SequenceRelation>();
    foreign
        .or(view.map(|_| "materialized view"))
        .or(sequence.map(|_| "sequence"))
}

fn other_kind(change: &Change, wanted: TableType, found: &str) -> Error {
    let wanted = match wanted {
        TableType::View => "view",
        _ => "table",
    };
    Error::WrongObject {
        message: format!("\"{}\" is not a {wanted}", change.name),
        hint: format!("Use DROP {} to remove a {found}.", found.to_uppercase()),
    }
}

/// A table of the data directory would be there again after the next start.
fn check_origin(change: &Change, table: &dyn TableProvider) -> Result<()> {
    let Some(table) = table.downcast_ref::<ListingTable>() else {
        return Ok(());
    };
    let Some(path) = table.table_paths().first().and_then(local_path) else {
        return Ok(());
    };
    Err(Error::Unsupported {
        message: format!("table \"{}\" is there as long as its file is", change.name),
        hint: Some(format!("Remove \"{}\" and restart.", path.display())),
    })
}

/// The statement with the places of its files as absolute paths: a server may be started in another folder
/// the next time. A statement without a `LOCATION`, or with one that is a URL, stays as it is.
fn with_absolute_location(text: &str) -> String {
    let dialect = PostgreSqlDialect {};
    let Ok(tokens) = Tokenizer::new(&dialect, text).tokenize_with_location() else {
        return text.to_owned();
    };
    let words = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let behind = words.skip_while(
        |token| !matches!(&token.token, Token::Word(word) if word.keyword == Keyword::LOCATION),
    );
    // `LOCATION 'a'` and `LOCATION ('a', 'b')`
    let mut paths = Vec::new();
    let mut listed = false;
    for token in behind.skip(1) {
        match &token.token {
            Token::LParen if paths.is_empty() => listed = true,
            Token::Comma if listed => {}
            Token::SingleQuotedString(path) => paths.push((path, token.span)),
            _ => break,
        }
        if !listed && !paths.is_empty() {
            break;
        }
    }
    // From the last to the first, so that the places of those before stay.
    let mut text = text.to_owned();
    for (path, span) in paths.into_iter().rev() {
        if path.contains("://") {
            continue;
        }
        let places = (
            character_position(&text, span.start.line, span.start.column),
            character_position(&text, span.end.line, span.end.column),
        );
        let (Ok(absolute), (Some(start), Some(end))) = (std::path::absolute(path), places) else {
            continue;
        };
        let mut absolute = absolute.to_string_lossy().into_owned();
        // A slash at the end says that it is a folder.
        if path.ends_with('/') && !absolute.ends_with('/') {
            absolute.push('/');
        }
        let before: String = text.chars().take(start - 1).collect();
        let after: String = text.chars().skip(end - 1).collect();
        text = format!("{before}{}{after}", literal(&absolute));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_location_is_kept_as_an_absolute_one() {
        let here = std::env::current_dir()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        let kept = |location: &str| {
            with_absolute_location(&format!(
                "CREATE EXTERNAL TABLE \"表\" STORED AS CSV LOCATION '{location}' OPTIONS ('a' 'b')"
            ))
        };
        let expected = |location: &str| {
            format!(
                "CREATE EXTERNAL TABLE \"表\" STORED AS CSV LOCATION '{location}' OPTIONS ('a' 'b')"
            )
        };
        assert_eq!(
            kept("data/x''y.csv"),
            expected(&format!("{here}/data/x''y.csv"))
        );
        assert_eq!(kept("data/"), expected(&format!("{here}/data/")));
        assert_eq!(kept("/data/x.csv"), expected("/data/x.csv"));
        assert_eq!(kept("file:///data/x.csv"), expected("file:///data/x.csv"));
        assert_eq!(
            with_absolute_location(
                "CREATE EXTERNAL TABLE t LOCATION ('a', 's3://b', '/c',\n 'd') OPTIONS ('e' 'f')"
            ),
            format!(
                "CREATE EXTERNAL TABLE t LOCATION ('{here}/a', 's3://b', '/c',\n '{here}/d') OPTIONS ('e' 'f')"
            )
        );
        assert_eq!(
            with_absolute_location("CREATE VIEW v AS SELECT 'a'"),
            "CREATE VIEW v AS SELECT 'a'"
        );
    }
}
