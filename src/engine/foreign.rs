//! Statements about other databases: servers, user mappings, foreign tables.
//!
//! A foreign table is kept as the statement that makes it, with all its columns: at the next start no server is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion_funnel::definition::text::{identifier, literal};

use super::DEFAULT_SCHEMA;
use super::outcome::{Notice, Outcome};
use super::session::Session;
use crate::catalog::access::{Object, PUBLIC, Privilege};
use crate::catalog::{Change, Mapping, Server, Servers, unguarded};
use crate::error::{Error, Fault, ForeignFault, Result};
use crate::federation::{
    ForeignColumn, ForeignTable, Place, REMOTE_TYPE_UNKNOWN, RemoteColumn, Wrapper, check_names,
    check_server, local_type,
};
use crate::sql::{
    ColumnSpec, ForeignStatement, Grantee, NamedRole, OptionChange, Options, WhichTables,
};

/// The option of a user mapping that is kept apart.
const PASSWORD: &str = "password";

impl Session {
    pub(super) async fn run_foreign(&self, statement: &ForeignStatement) -> Result<Outcome> {
        let tag = statement.tag();
        match statement {
            ForeignStatement::CreateServer {
                name,
                if_not_exists,
                wrapper,
                options,
            } => {
                self.check_superuser_to("create a foreign server")?;
                let wrapper = Wrapper::named(wrapper)?;
                check_server(wrapper, &options.0)?;
                if self.servers().get(name).is_ok() {
                    return already(tag, &format!("server \"{name}\""), *if_not_exists);
                }
                let mut options = options.0.clone();
                make_absolute(&mut options);
                self.servers().put(Server {
                    name: name.clone(),
                    wrapper,
                    options,
                })?;
                // What was granted on another of that name isn't granted on this one.
                let access = self.engine.catalog.access();
                access.forget(&Object::Server(name.clone()))?;
                Ok(Outcome::done(tag))
            }
            ForeignStatement::AlterServer { name, changes } => {
                self.check_superuser_to("change a foreign server")?;
                let mut server = self.servers().get(name)?;
                change(&mut server.options, changes)?;
                check_server(server.wrapper, &server.options)?;
                make_absolute(&mut server.options);
                self.servers().put(server)?;
                Ok(Outcome::done(tag))
            }
            ForeignStatement::DropServer {
                names,
                if_exists,
                cascade,
            } => self.drop_servers(names, *if_exists, *cascade).await,
            ForeignStatement::CreateMapping {
                role,
                server,
                if_not_exists,
                options,
            } => self.create_mapping(role, server, *if_not_exists, options),
            ForeignStatement::AlterMapping {
                role,
                server,
                changes,
            } => self.alter_mapping(role, server, changes),
            ForeignStatement::DropMapping {
                role,
                server,
                if_exists,
            } => {
                self.check_superuser_to("drop a user mapping")?;
                let role = self.mapped(role);
                let found = match self.servers().get(server) {
                    Ok(_) => self.servers().remove_mapping(server, &role)?,
                    Err(_) if *if_exists => false,
                    Err(error) => return Err(error),
                };
                match (found, if_exists) {
                    (true, _) => Ok(Outcome::done(tag)),
                    (false, true) => Ok(Outcome::noted(
                        tag,
                        Notice::plain(format!("{}, skipping", no_mapping(&role, server))),
                    )),
                    (false, false) => {
                        Err(ForeignFault::Unknown.error(no_mapping(&role, server), None))
                    }
                }
            }
            ForeignStatement::CreateTable {
                relation,
                if_not_exists,
                columns,
                server,
                options,
            } => {
                let reference = self.new_name(relation)?;
                let server = self.usable_server(server)?;
                self.check_creates_in(reference.schema().unwrap_or(DEFAULT_SCHEMA))?;
                if self.exists(&reference)? {
                    return already(
                        tag,
                        &format!("relation \"{}\"", reference.table()),
                        *if_not_exists,
                    );
                }
                let (table, notice) = self
                    .foreign_table(&reference, server, columns, options)
                    .await?;
                self.keep_foreign_table(&reference, table)?;
                let done = Outcome::done(tag);
                Ok(done.with(notice.into_iter().collect()))
            }
            ForeignStatement::DropTable {
                relations,
                if_exists,
            } => {
                self.check_superuser_to("drop a foreign table")?;
                let mut notices = Vec::new();
                for relation in relations {
                    match self.foreign_table_named(relation) {
                        Ok(reference) => self.drop_foreign_table(&reference)?,
                        Err(error) if *if_exists && error.code() == "42P01" => {
                            let name = relation.join(".");
                            let text = format!("foreign table \"{name}\" does not exist, skipping");
                            notices.push(Notice::plain(text));
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(Outcome::done(tag).with(notices))
            }
            ForeignStatement::ImportSchema {
                remote,
                which,
                server,
                into,
            } => self.import_schema(remote, which, server, into).await,
        }
    }

    fn servers(&self) -> &Arc<Servers> {
        self.engine.catalog.servers()
    }

    /// A server that the role may make tables of.
    fn usable_server(&self, name: &str) -> Result<Server> {
        let server = self.servers().get(name)?;
        let object = Object::Server(name.to_owned());
        let catalog = &self.engine.catalog;
        let entry = catalog.access().known(&object);
        match entry.allows(catalog.roles(), &self.current_user(), Privilege::Usage) {
            true => Ok(server),
            false => Err(object.denied()),
        }
    }

    /// Refuses new tables in a schema to whoever may not make any there.
    fn check_creates_in(&self, schema: &str) -> Result<()> {
        let object = Object::Schema(schema.to_owned());
        let catalog = &self.engine.catalog;
        let entry = catalog.access().known(&object);
        match entry.allows(catalog.roles(), &self.current_user(), Privilege::Create) {
            true => Ok(()),
            false => Err(Error::Denied {
                message: format!("permission denied for schema {schema}"),
                hint: format!(
                    "A superuser can let you: GRANT CREATE ON SCHEMA {} TO your role.",
                    identifier(schema)
                ),
            }),
        }
    }

    async fn drop_servers(
        &self,
        names: &[String],
        if_exists: bool,
        cascade: bool,
    ) -> Result<Outcome> {
        self.check_superuser_to("drop a foreign server")?;
        let tag = "DROP SERVER";
        let mut notices = Vec::new();
        for name in names {
            match self.servers().get(name) {
                Ok(_) => {}
                Err(_) if if_exists => {
                    let text = format!("server \"{name}\" does not exist, skipping");
                    notices.push(Notice::plain(text));
                    continue;
                }
                Err(error) => return Err(error),
            }
            let tables = self.tables_of(name).await?;
            let mappings = self.servers().mappings();
            let mappings = mappings.iter().filter(|mapping| mapping.server == *name);
            let dependents: Vec<String> = mappings
                .map(|mapping| format!("user mapping for {} on server {name}", mapping.role))
                .chain(tables.iter().map(|table| format!("foreign table {table}")))
                .collect();
            if let (Some(first), false) = (dependents.first(), cascade) {
                return Err(ForeignFault::Depended.error(
                    format!(
                        "cannot drop server {name} because other objects depend on it: {first}"
                    ),
                    Some("Use DROP ... CASCADE to drop the dependent objects too."),
                ));
            }
            notices.extend(
                dependents
                    .into_iter()
                    .map(|dependent| Notice::plain(format!("drop cascades to {dependent}"))),
            );
            for table in &tables {
                self.drop_foreign_table(table)?;
            }
            self.servers().remove(name)?;
            let access = self.engine.catalog.access();
            access.forget(&Object::Server(name.clone()))?;
        }
        Ok(Outcome::done(tag).with(notices))
    }

    /// The foreign tables of a server.
    async fn tables_of(&self, server: &str) -> Result<Vec<TableReference>> {
        let mut tables = Vec::new();
        let database = self.context.catalog(super::DATABASE);
        let database = database.ok_or_else(|| Error::UnknownSchema {
            name: super::DATABASE.to_owned(),
            hint: None,
        })?;
        let mut schemas = database.schema_names();
        schemas.retain(|schema| !crate::catalog::is_system_schema(schema));
        for schema in schemas {
            let provider = self.schema(&schema)?;
            for name in provider.table_names() {
                // A relation that can't be read is no foreign table.
                let Ok(Some(table)) = provider.table(&name).await else {
                    continue;
                };
                let table = unguarded(table);
                let foreign = table.downcast_ref::<ForeignTable>();
                if foreign.is_some_and(|table| table.place().server == server) {
                    tables.push(TableReference::partial(schema.as_str(), name));
                }
            }
        }
        Ok(tables)
    }

    /// Whose a mapping is: a role's name, or everybody's.
    fn mapped(&self, role: &Grantee) -> String {
        match role {
            Grantee::Public => PUBLIC.to_owned(),
            Grantee::Role(role) => self.named(role),
        }
    }

    fn create_mapping(
        &self,
        role: &Grantee,
        server: &str,
        if_not_exists: bool,
        options: &Options,
    ) -> Result<Outcome> {
        self.check_superuser_to("create a user mapping")?;
        let tag = "CREATE USER MAPPING";
        let found = self.servers().get(server)?;
        // Somebody may be connected whom nobody made a role of.
        if let Grantee::Role(NamedRole::Name(name)) = role
            && *name != self.user()
        {
            self.engine.catalog.roles().get(name)?;
        }
        let role = self.mapped(role);
        check_mapping(found.wrapper, &options.0)?;
        if self.servers().mapping(server, &role).is_some() {
            let what = format!("user mapping for \"{role}\" on server \"{server}\"");
            return already(tag, &what, if_not_exists);
        }
        let mut options = options.0.clone();
        make_absolute(&mut options);
        let password = options.remove(PASSWORD);
        let mapping = Mapping {
            server: server.to_owned(),
            role,
            options,
        };
        self.servers().put_mapping(mapping, password, false)?;
        Ok(Outcome::done(tag))
    }

    fn alter_mapping(
        &self,
        role: &Grantee,
        server: &str,
        changes: &[OptionChange],
    ) -> Result<Outcome> {
        self.check_superuser_to("change a user mapping")?;
        let found = self.servers().get(server)?;
        let role = self.mapped(role);
        let known = self.servers().mapping(server, &role);
        let (mut mapping, has_password) =
            known.ok_or_else(|| ForeignFault::Unknown.error(no_mapping(&role, server), None))?;
        // What the password is stays where it is: only whether there is one matters.
        if has_password {
            let kept = String::new();
            mapping.options.insert(PASSWORD.to_owned(), kept);
        }
        change(&mut mapping.options, changes)?;
        check_mapping(found.wrapper, &mapping.options)?;
        make_absolute(&mut mapping.options);
        let password = mapping.options.remove(PASSWORD);
        let is_new = changes.iter().any(|change| {
            matches!(change, OptionChange::Add(name, _) | OptionChange::Set(name, _) if name == PASSWORD)
        });
        let keeps = password.is_some() && !is_new;
        let password = password.filter(|_| is_new);
        self.servers().put_mapping(mapping, password, keeps)?;
        Ok(Outcome::done("ALTER USER MAPPING"))
    }

    /// The name of a table that is to be made.
    pub(super) fn new_name(&self, parts: &[String]) -> Result<TableReference> {
        match parts {
            [name] => Ok(TableReference::partial(DEFAULT_SCHEMA, name.as_str())),
            [.., schema, name] => {
                self.schema(schema)?;
                Ok(TableReference::partial(schema.as_str(), name.as_str()))
            }
            [] => Err(Error::Syntax {
                message: "syntax error: expected: the name of a table".to_owned(),
                position: None,
            }),
        }
    }

    pub(super) fn exists(&self, reference: &TableReference) -> Result<bool> {
        let schema = self.schema(reference.schema().unwrap_or(DEFAULT_SCHEMA))?;
        Ok(schema.table_exist(reference.table()))
    }

    /// A foreign table as it was declared, with what its server says of its columns where it has to be asked.
    async fn foreign_table(
        &self,
        reference: &TableReference,
        server: Server,
        specs: &[ColumnSpec],
        options: &Options,
    ) -> Result<(ForeignTable, Option<Notice>)> {
        check_names(options.0.keys(), server.wrapper.table_options())?;
        // As postgres_fdw: the names there are those here. Elsewhere a connection begins in its database.
        let local_schema = reference.schema().map(str::to_owned);
        let schema = options
            .0
            .get("schema_name")
            .cloned()
            .or(match server.wrapper {
                Wrapper::Postgres => local_schema,
                Wrapper::MySql | Wrapper::Sqlite => None,
            });
        let table = options.0.get("table_name").cloned();
        let place = Place {
            server: server.name,
            wrapper: server.wrapper,
            schema,
            table: table.unwrap_or_else(|| reference.table().to_owned()),
        };
        for spec in specs {
            check_names(spec.options.0.keys(), &["column_name", "remote_type"])?;
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = specs.iter().find(|spec| !seen.insert(&spec.name)) {
            return Err(Error::Query {
                fault: Fault::DuplicateColumn,
                message: format!("column \"{}\" specified more than once", twice.name),
                position: None,
            });
        }
        let is_known = |spec: &ColumnSpec| spec.options.0.contains_key("remote_type");
        if !specs.is_empty() && specs.iter().all(is_known) {
            let columns = specs.iter().map(|spec| declared(place.wrapper, spec, None));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            return Ok((self.table_at(place, columns), None));
        }
        let remote = self.servers().remote(&place.server, &self.current_user())?;
        let asked = remote.columns(place.schema.as_deref(), &place.table).await;
        if specs.is_empty() {
            let columns = asked?;
            return Ok((self.table_at(place.clone(), taken(&place, &columns)?), None));
        }
        let (found, notice) = match asked {
            Ok(found) if found.is_empty() => return Err(no_table(&place)),
            Ok(found) => (Some(found), None),
            // It may be made while its server is away.
            Err(error) => {
                let hint =
                    "The columns are taken as they were declared; fewer conditions are sent.";
                (
                    None,
                    Some(Notice::hinted(error.to_string(), hint.to_owned())),
                )
            }
        };
        let columns = specs.iter().map(|spec| {
            let name = spec.options.0.get("column_name").unwrap_or(&spec.name);
            let there = match &found {
                None => None,
                Some(found) => {
                    let there = found.iter().find(|column| column.name == *name);
                    Some(there.ok_or_else(|| no_column(&place, name, found))?)
                }
            };
            declared(place.wrapper, spec, there)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok((self.table_at(place, columns), notice))
    }

    fn table_at(&self, place: Place, columns: Vec<ForeignColumn>) -> ForeignTable {
        ForeignTable::new(place, columns, Arc::clone(self.servers()))
    }

    /// Enters a foreign table, and keeps the statement that makes it.
    fn keep_foreign_table(&self, reference: &TableReference, table: ForeignTable) -> Result<()> {
        let catalog = &self.engine.catalog;
        let change = Change::foreign_table(reference, false);
        catalog.check_change(&change)?;
        let text = statement_of(reference, &table);
        if !catalog.is_kept(&change) {
            catalog.forget_access(&change)?;
        }
        let schema_name = reference.schema().unwrap_or(DEFAULT_SCHEMA);
        let schema = self.schema(schema_name)?;
        schema.register_table(reference.table().to_owned(), Arc::new(table))?;
        if let Err(error) = catalog.keep_change(&change, &text) {
            schema.deregister_table(reference.table())?;
            return Err(error);
        }
        // Whoever makes it without being a superuser may read it.
        if !self.is_superuser() {
            let object = Object::relation(schema_name, reference.table());
            let role = self.current_user();
            catalog.access().change(&object, |kept, defaults| {
                let grants = kept.grants.get_or_insert_with(|| defaults.clone());
                grants.give(&role, Privilege::Select, &[]);
                Ok(())
            })?;
        }
        Ok(())
    }

    fn foreign_table_named(&self, parts: &[String]) -> Result<TableReference> {
        let (schema, name, table) = self.table_of(parts)?;
        let table = unguarded(table);
        match table.downcast_ref::<ForeignTable>() {
            Some(_) => Ok(TableReference::partial(schema, name)),
            None => Err(Error::WrongObject {
                message: format!("\"{name}\" is not a foreign table"),
                hint: "Use DROP TABLE or DROP VIEW to remove it.".to_owned(),
            }),
        }
    }

    fn drop_foreign_table(&self, reference: &TableReference) -> Result<()> {
        let catalog = &self.engine.catalog;
        let change = Change::foreign_table(reference, true);
        catalog.keep_change(&change, "")?;
        let schema_name = reference.schema().unwrap_or(DEFAULT_SCHEMA);
        let schema = self.schema(schema_name)?;
        schema.deregister_table(reference.table())?;
        catalog.annotations().forget(schema_name, reference.table());
        catalog.forget_access(&change)
    }

    async fn import_schema(
        &self,
        remote_schema: &str,
        which: &WhichTables,
        server: &str,
        into: &str,
    ) -> Result<Outcome> {
        let server = self.usable_server(server)?;
        self.schema(into)?;
        self.check_creates_in(into)?;
        let remote = self.servers().remote(&server.name, &self.current_user())?;
        let mut names = remote.tables(remote_schema).await?;
        if names.is_empty() {
            let message = format!(
                "schema \"{remote_schema}\" is not present on server \"{}\", or empty",
                server.name
            );
            return Err(ForeignFault::MissingTable.error(message, None));
        }
        let mut notices = Vec::new();
        match which {
            WhichTables::All => {}
            WhichTables::Only(only) => {
                let missing = only.iter().filter(|name| !names.contains(name));
                notices.extend(missing.map(|name| {
                    Notice::plain(format!(
                        "server \"{}\" has no table \"{name}\", skipping",
                        server.name
                    ))
                }));
                names.retain(|name| only.contains(name));
            }
            WhichTables::Except(except) => names.retain(|name| !except.contains(name)),
        }
        // All of them are looked at before any is made.
        let mut tables = Vec::new();
        for name in names {
            let reference = TableReference::partial(into, name.as_str());
            if self.exists(&reference)? {
                return already(
                    "IMPORT FOREIGN SCHEMA",
                    &format!("relation \"{name}\""),
                    false,
                );
            }
            let schema = match server.wrapper {
                Wrapper::Sqlite => None,
                Wrapper::Postgres | Wrapper::MySql => Some(remote_schema.to_owned()),
            };
            let place = Place {
                server: server.name.clone(),
                wrapper: server.wrapper,
                schema,
                table: name,
            };
            let columns = remote
                .columns(place.schema.as_deref(), &place.table)
                .await?;
            let columns = taken(&place, &columns)?;
            tables.push((reference, self.table_at(place, columns)));
        }
        for (reference, table) in tables {
            self.keep_foreign_table(&reference, table)?;
        }
        Ok(Outcome::done("IMPORT FOREIGN SCHEMA").with(notices))
    }
}

/// The columns of a table as its server has them.
fn taken(place: &Place, columns: &[RemoteColumn]) -> Result<Vec<ForeignColumn>> {
    if columns.is_empty() {
        return Err(no_table(place));
    }
    let column = |remote: &RemoteColumn| {
        let local = local_type(place.wrapper, &remote.remote_type);
        let local = local.unwrap_or_else(|| "text".to_owned());
        ForeignColumn::new(place.wrapper, &remote.name, &local, remote)
    };
    columns.iter().map(column).collect()
}

/// A column as it was declared, over what it is there where that is known.
fn declared(
    wrapper: Wrapper,
    spec: &ColumnSpec,
    there: Option<&RemoteColumn>,
) -> Result<ForeignColumn> {
    let option = |name: &str| spec.options.0.get(name).cloned();
    let remote_type = option("remote_type").or_else(|| Some(there?.remote_type.clone()));
    let remote = RemoteColumn {
        name: option("column_name").unwrap_or_else(|| spec.name.clone()),
        remote_type: remote_type.unwrap_or_else(|| REMOTE_TYPE_UNKNOWN.to_owned()),
        not_null: spec.not_null,
    };
    ForeignColumn::new(wrapper, &spec.name, &spec.data_type, &remote)
}

/// The statement that makes a foreign table, with all that is known of its columns.
fn statement_of(reference: &TableReference, table: &ForeignTable) -> String {
    use crate::postgres::types;
    let columns = table.columns().iter().map(|column| {
        let field = &column.field;
        let kind = match field.data_type() {
            DataType::Decimal128(precision, scale)
                if !field.metadata().contains_key(types::TYPE_KEY) =>
            {
                format!("numeric({precision},{scale})")
            }
            _ => types::sql_name(&types::type_of(field), types::modifier(field)),
        };
        format!(
            "{} {kind} OPTIONS (column_name {}, remote_type {}){}",
            identifier(field.name()),
            literal(&column.remote_name),
            literal(&column.remote_type),
            if field.is_nullable() { "" } else { " NOT NULL" },
        )
    });
    let columns: Vec<String> = columns.collect();
    let place = table.place();
    let schema = match &place.schema {
        Some(schema) => format!("schema_name {}, ", literal(schema)),
        None => String::new(),
    };
    format!(
        "CREATE FOREIGN TABLE {}.{} ({}) SERVER {} OPTIONS ({schema}table_name {})",
        identifier(reference.schema().unwrap_or(DEFAULT_SCHEMA)),
        identifier(reference.table()),
        columns.join(", "),
        identifier(&place.server),
        literal(&place.table),
    )
}

/// Files by their absolute paths: the process may be started in another folder the next time.
fn make_absolute(options: &mut BTreeMap<String, String>) {
    for name in ["database", "sslrootcert", "password_file"] {
        if let Some(path) = options.get_mut(name)
            && let Ok(absolute) = std::path::absolute(path.as_str())
        {
            *path = absolute.to_string_lossy().into_owned();
        }
    }
}

fn check_mapping(wrapper: Wrapper, options: &BTreeMap<String, String>) -> Result<()> {
    check_names(options.keys(), wrapper.mapping_options())?;
    let passwords = [PASSWORD, "password_env", "password_file"];
    let given = passwords.iter().filter(|name| options.contains_key(**name));
    match given.count() > 1 {
        true => Err(ForeignFault::OptionValue.error(
            "a user mapping has one password".to_owned(),
            Some("Give password, password_env or password_file."),
        )),
        false => Ok(()),
    }
}

fn change(options: &mut BTreeMap<String, String>, changes: &[OptionChange]) -> Result<()> {
    for change in changes {
        let (OptionChange::Add(name, _) | OptionChange::Set(name, _) | OptionChange::Drop(name)) =
            change;
        let is_there = options.contains_key(name);
        match change {
            OptionChange::Add(..) if is_there => {
                let message = format!("option \"{name}\" provided more than once");
                return Err(ForeignFault::Duplicate.error(message, Some("SET changes it.")));
            }
            OptionChange::Set(..) | OptionChange::Drop(_) if !is_there => {
                let message = format!("option \"{name}\" not found");
                return Err(ForeignFault::Unknown.error(message, Some("ADD gives it.")));
            }
            OptionChange::Add(_, value) | OptionChange::Set(_, value) => {
                options.insert(name.clone(), value.clone());
            }
            OptionChange::Drop(_) => {
                options.remove(name);
            }
        }
    }
    Ok(())
}

/// The end of a `CREATE` of something that is there.
fn already(tag: &str, what: &str, lenient: bool) -> Result<Outcome> {
    let message = format!("{what} already exists");
    match lenient {
        true => Ok(Outcome::noted(
            tag,
            Notice::plain(format!("{message}, skipping")),
        )),
        false if what.starts_with("relation") => Err(Error::Query {
            fault: Fault::DuplicateTable,
            message,
            position: None,
        }),
        false => Err(ForeignFault::Duplicate.error(message, None)),
    }
}

fn no_mapping(role: &str, server: &str) -> String {
    format!("user mapping for \"{role}\" does not exist for server \"{server}\"")
}

fn no_table(place: &Place) -> Error {
    let schema = match &place.schema {
        Some(schema) => format!("{schema}."),
        None => String::new(),
    };
    ForeignFault::MissingTable.error(
        format!(
            "server \"{}\" has no table \"{schema}{}\"",
            place.server, place.table
        ),
        Some("Say which it is: OPTIONS (schema_name '...', table_name '...')."),
    )
}

fn no_column(place: &Place, name: &str, found: &[RemoteColumn]) -> Error {
    let names: Vec<&str> = found.iter().map(|column| column.name.as_str()).collect();
    ForeignFault::MissingColumn.error(
        format!(
            "table \"{}\" on server \"{}\" has no column \"{name}\"",
            place.table, place.server
        ),
        Some(&format!("It has {}.", names.join(", "))),
    )
}
