//! `has_table_privilege` and its like: what a role may do, as the engine itself decides it.
//!
//! As in Postgres, the role may be left out (whoever asks), objects come by name or OID, and of several privileges in a list one
//! is enough. An object that the asker doesn't see is one that there isn't.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Int32Array, StringArray};
use datafusion::logical_expr::ScalarUDF;
use datafusion_funnel::table::JOURNEYS_SCHEMA;

use super::foreign::server_oid;
use super::functions::{function_name, oids};
use super::is_system_schema;
use super::names::{CatalogNames, role_oid};
use crate::catalog::access::{Entry, Object, Privilege};
use crate::catalog::{Catalog, FUNNEL_SCHEMA, TEMPORARY};
use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::names_of_objects::Names;

/// Privileges on what there are none of here, or what is everybody's.
const OTHERS: [&str; 3] = [
    "has_tablespace_privilege",
    "has_foreign_data_wrapper_privilege",
    "has_parameter_privilege",
];
const EVERYBODYS: [&str; 2] = ["has_type_privilege", "has_language_privilege"];

/// A question about one row's arguments.
struct Question<'a> {
    catalog: &'a Catalog,
    names: &'a CatalogNames,
    /// The role that it is about.
    role: String,
    /// The object's OID.
    object: Option<i32>,
    /// A column's name or number.
    column: Option<String>,
    /// What is asked for: names of privileges.
    wanted: Vec<String>,
}

impl Question<'_> {
    fn is_superuser(&self) -> bool {
        self.catalog.roles().is_superuser(&self.role)
    }

    fn any(&self, has: impl Fn(Privilege) -> bool) -> bool {
        self.is_superuser()
            || self
                .wanted
                .iter()
                .filter_map(|name| Privilege::named(name))
                .any(has)
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted == name)
    }

    /// What is known of the relation; nothing for one of the engine's, which everybody reads.
    fn relation(&self) -> Option<(String, Option<Arc<Entry>>)> {
        let (schema, name) = self.names.relation(self.object?)?;
        let access = self.catalog.access();
        let entry = match schema.as_str() {
            JOURNEYS_SCHEMA => Some(access.known(&Object::Funnel(name))),
            FUNNEL_SCHEMA => None,
            schema if is_system_schema(schema) => None,
            schema => Some(access.known(&Object::relation(schema, &name))),
        };
        Some((schema, entry))
    }

    fn table(&self) -> Option<bool> {
        let roles = self.catalog.roles();
        Some(match self.relation()?.1 {
            Some(entry) => self.any(|privilege| entry.allows(roles, &self.role, privilege)),
            None => self.is_superuser() || self.wants("SELECT"),
        })
    }

    /// What was granted on a sequence. (Whoever may insert into its table takes numbers without.)
    fn sequence(&self) -> Option<bool> {
        let roles = self.catalog.roles();
        let entry = self.relation()?.1?;
        Some(self.any(|privilege| {
            Privilege::OF_SEQUENCES.contains(&privilege)
                && entry.allows(roles, &self.role, privilege)
        }))
    }

    fn any_column(&self) -> Option<bool> {
        let roles = self.catalog.roles();
        Some(match self.relation()?.1 {
            Some(entry) => self.any(|privilege| entry.allows_part(roles, &self.role, privilege)),
            None => self.is_superuser() || self.wants("SELECT"),
        })
    }

    fn column(&self) -> Option<bool> {
        let roles = self.catalog.roles();
        let column = self.column.as_ref()?;
        Some(match self.relation()?.1 {
            Some(entry) => {
                self.any(|privilege| entry.allows_column(roles, &self.role, privilege, column))
            }
            None => self.is_superuser() || self.wants("SELECT"),
        })
    }

    fn schema(&self) -> Option<bool> {
        let name = self.names.name("regnamespace", self.object?)?;
        let name = super::names::identifiers(&name)?.pop()?;
        if is_system_schema(&name) || name == "pg_toast" {
            return Some(self.is_superuser() || self.wants("USAGE"));
        }
        if name.starts_with(TEMPORARY) {
            return Some(true);
        }
        let entry = self.catalog.access().known(&Object::Schema(name));
        Some(self.any(|privilege| entry.allows(self.catalog.roles(), &self.role, privilege)))
    }

    fn server(&self) -> Option<bool> {
        let servers = self.catalog.servers().all();
        let oid = self.object?;
        let server = servers
            .into_iter()
            .find(|server| server_oid(&server.name) == oid)?;
        let entry = self.catalog.access().known(&Object::Server(server.name));
        Some(self.any(|privilege| entry.allows(self.catalog.roles(), &self.role, privilege)))
    }

    fn function(&self) -> Option<bool> {
        let name = function_name(self.object?)?;
        let entry = self.catalog.access().known(&Object::Function(name));
        Some(self.any(|privilege| entry.allows(self.catalog.roles(), &self.role, privilege)))
    }
}

/// These functions.
pub fn all(catalog: &Arc<Catalog>) -> Vec<ScalarUDF> {
    type Answer = fn(&Question) -> Option<bool>;
    let about = |name: &'static str, kind: &'static str, answer: Answer| {
        let catalog = Arc::clone(catalog);
        let with_column = name == "has_column_privilege";
        function(name, Returns::Type("bool"), move |call| {
            answers(call, &catalog, kind, with_column, answer)
        })
    };
    let mut functions = vec![
        about("has_table_privilege", "regclass", |question| {
            question.table()
        }),
        about("has_sequence_privilege", "regclass", |question| {
            question.sequence()
        }),
        about("has_any_column_privilege", "regclass", |question| {
            question.any_column()
        }),
        about("has_column_privilege", "regclass", |question| {
            question.column()
        }),
        about("has_schema_privilege", "regnamespace", |question| {
            question.schema()
        }),
        about("has_function_privilege", "regprocedure", |question| {
            question.function()
        }),
        about("has_server_privilege", "server", |question| {
            question.server()
        }),
        about("has_database_privilege", "none", |question| {
            let everybodys = ["CONNECT", "TEMP", "TEMPORARY"];
            let wanted = everybodys.iter().any(|name| question.wants(name));
            Some(wanted || question.is_superuser())
        }),
        about("pg_has_role", "regrole", |question| {
            let roles = question.catalog.roles();
            let group = question.object?;
            // An open directory keeps no role of whoever asks, who is one all the same.
            if question.is_superuser() || role_oid(&question.role) == group {
                return Some(true);
            }
            let group = question.names.role(group)?;
            Some(roles.is_member(&question.role, &group))
        }),
    ];
    functions
        .extend(OTHERS.map(|name| about(name, "none", |question| Some(question.is_superuser()))));
    functions.extend(EVERYBODYS.map(|name| about(name, "none", |_| Some(true))));
    let of_rows = Arc::clone(catalog);
    functions.push(function(
        "row_security_active",
        Returns::Type("bool"),
        move |call| row_security_active(call, &of_rows),
    ));
    functions
}

fn answers(
    call: &Call,
    catalog: &Catalog,
    kind: &str,
    with_column: bool,
    answer: fn(&Question) -> Option<bool>,
) -> Result<ArrayRef> {
    let info = call.asker()?;
    // [role,] object, [column,] privileges
    let least = if with_column { 3 } else { 2 };
    let first = usize::from(call.arrays.len() > least);
    let roles = match first {
        0 => None,
        _ => Some(role_names(call, info.names())?),
    };
    let objects = match kind {
        "server" => servers(call, first, catalog)?,
        kind => objects(call, first, kind)?,
    };
    let columns = match with_column {
        true => Some(call.texts(first + 1)?),
        false => None,
    };
    let wanted = call.texts(call.arrays.len().saturating_sub(1))?;
    let text =
        |texts: &StringArray, row: usize| texts.is_valid(row).then(|| texts.value(row).to_owned());
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let Some(privileges) = text(&wanted, row) else {
            rows.push(None);
            continue;
        };
        let role = match &roles {
            None => Some(info.role()),
            Some(roles) => text(roles, row),
        };
        let question = Question {
            catalog,
            names: info.names(),
            role: role.unwrap_or_default(),
            object: objects.is_valid(row).then(|| objects.value(row)),
            column: columns.as_ref().and_then(|columns| text(columns, row)),
            wanted: wanted_privileges(&privileges)?,
        };
        rows.push(answer(&question));
    }
    Ok(Arc::new(rows.into_iter().collect::<BooleanArray>()))
}

/// The names of the roles that the first argument says, by name or OID.
fn role_names(call: &Call, names: &CatalogNames) -> Result<StringArray> {
    if call
        .fields
        .first()
        .is_some_and(|field| field.data_type().is_integer())
    {
        let oids = oids(call, 0, "regrole")?;
        let name = |oid: Option<i32>| oid.and_then(|oid| names.role(oid));
        return Ok(oids.iter().map(name).collect());
    }
    call.texts(0)
}

/// The OIDs of the objects of an argument. A name that there isn't is an error, as in Postgres.
fn objects(call: &Call, at: usize, kind: &str) -> Result<Int32Array> {
    if kind == "none" {
        return Ok(Int32Array::from(vec![0; call.rows]));
    }
    let found = oids(call, at, kind)?;
    let given = call.texts(at)?;
    for row in 0..call.rows {
        if given.is_valid(row) && found.is_null(row) {
            let (what, sort) = match kind {
                "regnamespace" => ("schema", Fault::UndefinedSchema),
                "regprocedure" => ("function", Fault::UndefinedFunction),
                "regrole" => ("role", Fault::UndefinedObject),
                _ => ("relation", Fault::UndefinedTable),
            };
            return fault(
                sort,
                format!("{what} \"{}\" does not exist", given.value(row)),
            );
        }
    }
    Ok(found)
}

/// The OIDs of servers, by their names or OIDs.
fn servers(call: &Call, at: usize, catalog: &Catalog) -> Result<Int32Array> {
    let given = call.texts(at)?;
    let oid = |text: &str| match text.parse::<i32>() {
        Ok(oid) => Ok(oid),
        Err(_) if catalog.servers().get(text).is_ok() => Ok(server_oid(text)),
        Err(_) => fault(
            Fault::UndefinedObject,
            format!("server \"{text}\" does not exist"),
        ),
    };
    let oids = given.iter().map(|text| text.map(oid).transpose());
    oids.collect()
}

/// The privileges of a list; those that may be passed on are only the owner's.
fn wanted_privileges(list: &str) -> Result<Vec<String>> {
    const KNOWN: [&str; 18] = [
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "TRUNCATE",
        "REFERENCES",
        "TRIGGER",
        "USAGE",
        "CREATE",
        "CONNECT",
        "TEMP",
        "TEMPORARY",
        "EXECUTE",
        "MEMBER",
        "SET",
        "ALTER SYSTEM",
        "RULE",
        "MAINTAIN",
    ];
    let mut wanted = Vec::new();
    for part in list.split(',') {
        let name = part.trim().to_uppercase();
        let base = name
            .strip_suffix(" WITH GRANT OPTION")
            .or_else(|| name.strip_suffix(" WITH ADMIN OPTION"));
        if !KNOWN.contains(&base.unwrap_or(&name)) {
            return fault(
                Fault::InvalidArgument,
                format!("unrecognized privilege type: \"{}\"", part.trim()),
            );
        }
        wanted.push(name);
    }
    Ok(wanted)
}

fn row_security_active(call: &Call, catalog: &Catalog) -> Result<ArrayRef> {
    let info = call.asker()?;
    let objects = objects(call, 0, "regclass")?;
    let roles = catalog.roles();
    let active = |oid: i32| {
        let question = Question {
            catalog,
            names: info.names(),
            role: info.role(),
            object: Some(oid),
            column: None,
            wanted: Vec::new(),
        };
        let entry = question.relation()?.1;
        Some(entry.is_some_and(|entry| {
            !entry.belongs_to(roles, &info.role()) && entry.kept().row_security
        }))
    };
    let rows = objects.iter().map(|oid| oid.and_then(active));
    Ok(Arc::new(rows.collect::<BooleanArray>()))
}
