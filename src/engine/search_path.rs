//! Where relations are looked for that are named without a schema, and where those are made.

use std::sync::{Arc, Mutex};

use datafusion::catalog::{CatalogProvider, CatalogProviderList};
use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion_funnel::definition::text::folded;

use super::info::Identity;
use super::session::lock;
use super::settings::Settings;
use super::{DATABASE, DEFAULT_SCHEMA};

/// A session's `search_path`, over what it sees.
#[derive(Debug, Clone)]
pub struct SearchPath {
    identity: Arc<Identity>,
    catalogs: Arc<dyn CatalogProviderList>,
    settings: Arc<Mutex<Settings>>,
}

impl SearchPath {
    /// Of a session of `identity` that sees `catalogs`.
    pub fn new(
        identity: &Arc<Identity>,
        catalogs: &Arc<dyn CatalogProviderList>,
        settings: &Arc<Mutex<Settings>>,
    ) -> Self {
        Self {
            identity: Arc::clone(identity),
            catalogs: Arc::clone(catalogs),
            settings: Arc::clone(settings),
        }
    }

    /// The schemas in it that there are and that the role may use, in their order; what is made without a schema is made in the
    /// first.
    pub fn schemas(&self) -> Vec<String> {
        let Some(database) = self.catalogs.catalog(DATABASE) else {
            return Vec::new();
        };
        let mut schemas = self.written();
        schemas.retain(|schema| {
            schema == DEFAULT_SCHEMA
                || database.schema(schema).is_some() && opens(&database, schema)
        });
        schemas
    }

    /// The schema that a relation named without one is found in: the session's own, the first of the path that has such a relation,
    /// or the default one.
    pub fn schema_of(&self, relation: &str) -> Option<String> {
        let database = self.catalogs.catalog(DATABASE)?;
        let has = |schema: &str| {
            let relations = database.schema(schema);
            relations.is_some_and(|relations| relations.table_exist(relation))
        };
        let own = self.identity.temporary_schema();
        if has(own) {
            return Some(own.to_owned());
        }
        let mut written = self.written().into_iter();
        // Schemas that the role may not use are passed by.
        written
            .find(|schema| has(schema) && opens(&database, schema))
            .or_else(|| has(DEFAULT_SCHEMA).then(|| DEFAULT_SCHEMA.to_owned()))
    }

    /// As it is set: names after commas, in quotes where they have to be; `"$user"` is the role.
    fn written(&self) -> Vec<String> {
        let path = lock(&self.settings).get("search_path").unwrap_or_default();
        let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(&path);
        let names =
            parser.and_then(|mut parser| parser.parse_comma_separated(Parser::parse_identifier));
        let schema = |name: &Ident| match name.value.as_str() {
            "$user" => self.identity.role(),
            _ => folded(name),
        };
        names.unwrap_or_default().iter().map(schema).collect()
    }
}

fn opens(database: &Arc<dyn CatalogProvider>, schema: &str) -> bool {
    database.schema_names().iter().any(|known| known == schema)
}
