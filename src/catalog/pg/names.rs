//! The names that OIDs stand for, and the OIDs of names.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use datafusion::catalog::CatalogProviderList;
use datafusion::config::ConfigOptions;
use datafusion_funnel::definition::text::identifier;

use super::dictionary;
use super::functions::{function_name, function_named};
use super::roles;
use super::snapshot::{Snapshot, by_oid, named_oid, names, relation_oid, row_type_oid, schema_oid};
use crate::catalog::Catalog;
use crate::catalog::roles::OWNER;
use crate::engine::{Asker, DEFAULT_SCHEMA, SearchPath};
use crate::postgres::names_of_objects::Names;
use crate::postgres::types;

/// How long names are good for before they are looked at again: a column of OIDs asks for each of them.
const FRESH: Duration = Duration::from_millis(20);

/// The OID of the owner.
pub const OWNER_OID: i32 = 10;

/// The names of an engine's objects.
#[derive(Debug)]
pub struct CatalogNames {
    catalogs: Arc<dyn CatalogProviderList>,
    catalog: Arc<Catalog>,
    /// Where names are found without their schemas: in the default one where nobody asks.
    path: Option<SearchPath>,
    known: Mutex<Option<Known>>,
    /// The indexes of keys, which are asked for when no relation has an OID.
    known_indexes: Mutex<Option<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    at: Instant,
    relations: Arc<HashMap<i32, (String, String)>>,
}

/// What is known, unless it is too old: then what `look` finds.
fn fresh(
    known: &Mutex<Option<Known>>,
    look: impl FnOnce() -> HashMap<i32, (String, String)>,
) -> Arc<HashMap<i32, (String, String)>> {
    let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
    let found = lock().clone();
    if let Some(found) = found.filter(|found| found.at.elapsed() < FRESH) {
        return found.relations;
    }
    let relations = Arc::new(look());
    *lock() = Some(Known {
        at: Instant::now(),
        relations: Arc::clone(&relations),
    });
    relations
}

impl CatalogNames {
    /// Of the relations in `catalogs`, as they are found along a session's path.
    pub fn new(
        catalogs: Arc<dyn CatalogProviderList>,
        catalog: Arc<Catalog>,
        path: Option<SearchPath>,
    ) -> Self {
        Self {
            catalogs,
            catalog,
            path,
            known: Mutex::default(),
            known_indexes: Mutex::default(),
        }
    }

    fn relations(&self) -> Arc<HashMap<i32, (String, String)>> {
        fresh(&self.known, || by_oid(&self.catalogs))
    }

    fn indexes(&self) -> Arc<HashMap<i32, (String, String)>> {
        fresh(&self.known_indexes, || {
            let snapshot = Snapshot::of(&self.catalogs, self.catalog.annotations());
            let mut indexes = HashMap::new();
            for relation in snapshot.relations {
                for key in relation.keys {
                    indexes.insert(key.oid, (relation.schema.clone(), key.name));
                }
            }
            indexes
        })
    }

    /// The OID of an index by its name, with or without its schema.
    fn index_oid(&self, written: &str) -> Option<i32> {
        let parts = identifiers(written)?;
        let (given, name) = match parts.as_slice() {
            [name] => (None, name),
            [.., schema, name] => (Some(schema), name),
            [] => return None,
        };
        let is_it = |schema: &String, known: &String| {
            known == name
                && match given {
                    Some(given) => schema == given,
                    None => self.is_on_path(schema),
                }
        };
        let indexes = self.indexes();
        let mut all = indexes.iter();
        let (oid, _) = all.find(|(_, (schema, known))| is_it(schema, known))?;
        Some(*oid)
    }

    /// Whether what is in a schema is found without it, where nothing of the same name comes before.
    fn is_on_path(&self, schema: &str) -> bool {
        match &self.path {
            Some(path) => path.schemas().iter().any(|known| known == schema),
            None => schema == DEFAULT_SCHEMA,
        }
    }

    /// The schema and name of a relation or an index, and whether it is found without the schema.
    fn named(&self, oid: i32) -> Option<(String, String, bool)> {
        if let Some((schema, name)) = self.relation(oid) {
            let visible = self.is_visible(&schema, &name);
            return Some((schema, name, visible));
        }
        let (schema, name) = self.indexes().get(&oid)?.clone();
        let visible = self.is_on_path(&schema);
        Some((schema, name, visible))
    }

    /// The name of a role.
    pub fn role(&self, oid: i32) -> Option<String> {
        let roles = roles::all(self.catalog.roles(), "");
        let role = roles.iter().find(|role| role_oid(&role.name) == oid)?;
        Some(role.name.clone())
    }

    /// Whether a role may stop what another does.
    pub fn may_act_for(&self, role: &str, other: &str) -> bool {
        let roles = self.catalog.roles();
        roles.is_superuser(role) || !roles.is_superuser(other) && roles.is_member(role, other)
    }

    /// The schema and name of a relation.
    pub fn relation(&self, oid: i32) -> Option<(String, String)> {
        self.relations().get(&oid).cloned()
    }

    /// The OID of a relation by its name, with or without its schema.
    pub fn relation_oid(&self, written: &str) -> Option<i32> {
        let parts = identifiers(written)?;
        let (schema, name) = match parts.as_slice() {
            [name] => (None, name),
            [.., schema, name] => (Some(schema), name),
            [] => return None,
        };
        let own = names(&self.catalogs);
        let has = |schema: &str| {
            own.iter()
                .any(|(known, relations)| known == schema && relations.contains(name))
        };
        match schema {
            Some(schema) => match dictionary::find(schema, name) {
                Some(relation) => Some(relation.oid),
                None => has(schema).then(|| relation_oid(schema, name)),
            },
            None => match dictionary::find("pg_catalog", name) {
                Some(relation) => Some(relation.oid),
                None => {
                    let schema = self.schema_of(name)?;
                    has(&schema).then(|| relation_oid(&schema, name))
                }
            },
        }
    }

    /// Whether a relation is found without its schema.
    pub fn is_visible(&self, schema: &str, relation: &str) -> bool {
        schema == "pg_catalog" || self.schema_of(relation).as_deref() == Some(schema)
    }

    /// The schema that a relation without one is found in.
    fn schema_of(&self, relation: &str) -> Option<String> {
        match &self.path {
            Some(path) => path.schema_of(relation),
            None => Some(DEFAULT_SCHEMA.to_owned()),
        }
    }

    fn schema_names(&self) -> Vec<String> {
        let own = names(&self.catalogs).into_iter().map(|(schema, _)| schema);
        let system = dictionary::SCHEMAS.into_iter().chain(["pg_toast"]);
        own.chain(system.map(str::to_owned)).collect()
    }
}

/// The parts of a name, as names are compared.
pub fn identifiers(written: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut characters = written.trim().chars().peekable();
    loop {
        let mut part = String::new();
        if characters.next_if_eq(&'"').is_some() {
            loop {
                match characters.next()? {
                    '"' if characters.next_if_eq(&'"').is_some() => part.push('"'),
                    '"' => break,
                    other => part.push(other),
                }
            }
        } else {
            while let Some(character) = characters.next_if(|c| *c != '.') {
                part.extend(character.to_lowercase());
            }
        }
        parts.push(part);
        match characters.next() {
            None => return Some(parts),
            Some('.') => {}
            Some(_) => return None,
        }
    }
}

impl Names for CatalogNames {
    fn name(&self, kind: &str, oid: i32) -> Option<String> {
        match kind {
            "regclass" => {
                let (schema, name, visible) = self.named(oid)?;
                let name = identifier(&name).to_string();
                Some(match visible {
                    true => name,
                    false => format!("{}.{name}", identifier(&schema)),
                })
            }
            "regtype" => {
                if let Some(name) = types::name_of(oid.cast_unsigned()) {
                    return Some(types::sql_name(&name, -1));
                }
                match TYPE_NAMES.get(&oid) {
                    Some(name) => Some(types::sql_name(name, -1)),
                    None => {
                        let (_, name) = self
                            .relations()
                            .iter()
                            .find(|(relation, _)| row_type_oid(**relation) == oid)?
                            .1
                            .clone();
                        Some(identifier(&name).to_string())
                    }
                }
            }
            "regproc" | "regprocedure" => function_name(oid),
            "regnamespace" => self
                .schema_names()
                .into_iter()
                .find(|name| schema_oid(name) == oid),
            "regrole" => self.role(oid).map(|name| identifier(&name).to_string()),
            "regcollation" => (oid == 100).then(|| "\"default\"".to_owned()),
            _ => None,
        }
    }

    fn oid(&self, kind: &str, name: &str) -> Option<i32> {
        match kind {
            "regclass" => self.relation_oid(name).or_else(|| self.index_oid(name)),
            "regtype" => type_oid(name).or_else(|| self.relation_oid(name).map(row_type_oid)),
            "regproc" | "regprocedure" => {
                let name = name.split('(').next().unwrap_or(name);
                function_named(identifiers(name)?.last()?)
            }
            "regnamespace" => {
                let name = identifiers(name)?.pop()?;
                self.schema_names()
                    .contains(&name)
                    .then(|| schema_oid(&name))
            }
            "regrole" => Some(role_oid(&identifiers(name)?.pop()?)),
            "regcollation" => Some(100),
            "regconfig" => Some(3748),
            _ => None,
        }
    }

    fn seen_by(&self, options: &ConfigOptions) -> Option<Arc<dyn Names>> {
        let info = Asker::of(options)?;
        Some(Arc::clone(info.names()) as Arc<dyn Names>)
    }
}

/// The OID of a role, whoever it is.
pub fn role_oid(name: &str) -> i32 {
    match name {
        OWNER => OWNER_OID,
        name => named_oid("role", name, 0x3000_0000),
    }
}

/// The OID of a type by the name that SQL or `pg_type` has for it.
pub fn type_oid(written: &str) -> Option<i32> {
    let lower = written.trim().to_lowercase();
    let (name, array) = match lower.strip_suffix("[]") {
        Some(element) => (element.to_owned(), true),
        None => (lower, false),
    };
    // A length says nothing about which type it is.
    let name = match name.split_once('(') {
        Some((before, rest)) => format!(
            "{}{}",
            before.trim_end(),
            rest.split_once(')').map_or("", |(_, after)| after)
        ),
        None => name,
    };
    let parts = identifiers(&name)?;
    let last = parts.last()?;
    let known = if written.trim_start().starts_with('"') {
        last.as_str()
    } else {
        types::alias(last)
    };
    let known = if known == "char" && !written.contains('"') {
        "bpchar"
    } else {
        known
    };
    let known = if array {
        format!("_{known}")
    } else {
        known.to_owned()
    };
    match types::oid(&known) {
        0 => TYPE_NAMES
            .iter()
            .find(|(_, name)| **name == known)
            .map(|(oid, _)| *oid),
        oid => Some(oid.cast_signed()),
    }
}

/// The types that no value here has.
static TYPE_NAMES: LazyLock<HashMap<i32, &'static str>> = LazyLock::new(|| {
    let pseudo = [
        (2249, "record"),
        (2275, "cstring"),
        (2276, "any"),
        (2277, "anyarray"),
        (2278, "void"),
        (2279, "trigger"),
        (2281, "internal"),
        (2283, "anyelement"),
        (2776, "anynonarray"),
        (3500, "anyenum"),
        (3831, "anyrange"),
        (3838, "event_trigger"),
        (325, "index_am_handler"),
        (269, "table_am_handler"),
        (718, "circle"),
        (601, "lseg"),
        (602, "path"),
        (603, "box"),
        (604, "polygon"),
        (628, "line"),
        (13297, "information_schema.cardinal_number"),
        (13300, "information_schema.character_data"),
        (13302, "information_schema.sql_identifier"),
        (13308, "information_schema.time_stamp"),
        (13310, "information_schema.yes_or_no"),
        (774, "macaddr8"),
        (3906, "numrange"),
        (3908, "tsrange"),
        (3910, "tstzrange"),
        (3912, "daterange"),
        (2287, "_record"),
        (32, "pg_ddl_command"),
    ];
    pseudo.into_iter().collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_any_of_their_names() {
        for (name, oid) in [
            ("integer", 23),
            ("int4", 23),
            ("character varying(20)", 1043),
            ("timestamp with time zone", 1184),
            ("text[]", 1009),
            ("pg_catalog.int8", 20),
            ("\"char\"", 18),
            ("_text", 1009),
            ("double precision", 701),
            ("char", 1042),
        ] {
            assert_eq!(type_oid(name), Some(oid), "{name}");
        }
        assert_eq!(type_oid("nonsense"), None);
    }

    #[test]
    fn names_are_split_at_their_points() {
        let parts = |name: &str| identifiers(name).map(|parts| parts.join("|"));
        assert_eq!(
            parts("Public.\"My.Table\"").as_deref(),
            Some("public|My.Table")
        );
        assert_eq!(parts("\"a\"\"b\"").as_deref(), Some("a\"b"));
        assert_eq!(parts("\"open"), None);
    }
}
