//! Foreign servers, user mappings and foreign tables, as the catalogs show them. A password is in none of them.

use std::collections::BTreeMap;

use super::names::{OWNER_OID, role_oid};
use super::rows::Source;
use super::snapshot::{Relation, named_oid};
use super::values::{Row, row};
use crate::catalog::access::{Object, PUBLIC};
use crate::catalog::roles::OWNER;
use crate::catalog::{Mapping, Server};
use crate::engine::DATABASE;
use crate::federation::{Place, Wrapper};

/// The rows of a relation of `pg_catalog`; nothing for another.
pub fn of(name: &str, source: &Source) -> Option<Vec<Row>> {
    Some(match name {
        "pg_foreign_data_wrapper" => Wrapper::ALL.map(wrapper).to_vec(),
        "pg_foreign_server" => source
            .servers()
            .map(|found| server(source, &found))
            .collect(),
        "pg_foreign_table" => tables(source)
            .map(|(relation, place)| table(relation, place))
            .collect(),
        "pg_user_mapping" => each_mapping(source, |mapping, options| {
            row! {
                "oid": mapping_oid(mapping), "umuser": user_oid(mapping), "umserver": server_oid(&mapping.server),
                "umoptions": options,
            }
        }),
        "pg_user_mappings" => each_mapping(source, |mapping, options| {
            row! {
                "umid": mapping_oid(mapping), "srvid": server_oid(&mapping.server), "srvname": mapping.server.as_str(),
                "umuser": user_oid(mapping), "usename": mapping.role.as_str(), "umoptions": options,
            }
        }),
        _ => return None,
    })
}

/// The rows of a relation of `information_schema`; nothing for another.
pub fn information(name: &str, source: &Source) -> Option<Vec<Row>> {
    Some(match name {
        "foreign_data_wrappers" => Wrapper::ALL
            .map(|wrapper| {
                row! {
                    "foreign_data_wrapper_catalog": DATABASE, "foreign_data_wrapper_name": wrapper.name(),
                    "authorization_identifier": OWNER, "foreign_data_wrapper_language": "c",
                }
            })
            .to_vec(),
        "foreign_servers" => source
            .servers()
            .map(|server| {
                row! {
                    "foreign_server_catalog": DATABASE, "foreign_server_name": server.name.as_str(),
                    "foreign_data_wrapper_catalog": DATABASE, "foreign_data_wrapper_name": server.wrapper.name(),
                    "authorization_identifier": OWNER,
                }
            })
            .collect(),
        "foreign_server_options" => source
            .servers()
            .flat_map(|server| {
                let options = server.options.clone().into_iter();
                options.map(move |(option, value)| {
                    row! {
                        "foreign_server_catalog": DATABASE, "foreign_server_name": server.name.as_str(),
                        "option_name": option, "option_value": value,
                    }
                })
            })
            .collect(),
        "foreign_tables" => tables(source)
            .map(|(relation, place)| {
                row! {
                    "foreign_table_catalog": DATABASE, "foreign_table_schema": relation.schema.as_str(),
                    "foreign_table_name": relation.name.as_str(), "foreign_server_catalog": DATABASE,
                    "foreign_server_name": place.server.as_str(),
                }
            })
            .collect(),
        "foreign_table_options" => tables(source)
            .flat_map(|(relation, place)| {
                table_options(place).into_iter().map(|(option, value)| {
                    row! {
                        "foreign_table_catalog": DATABASE, "foreign_table_schema": relation.schema.as_str(),
                        "foreign_table_name": relation.name.as_str(), "option_name": option, "option_value": value,
                    }
                })
            })
            .collect(),
        "user_mappings" => each_mapping(source, |mapping, _| {
            row! {
                "authorization_identifier": mapping.role.as_str(), "foreign_server_catalog": DATABASE,
                "foreign_server_name": mapping.server.as_str(),
            }
        }),
        _ => return None,
    })
}

impl Source<'_> {
    /// All servers are seen by everybody, as in Postgres.
    fn servers(&self) -> std::vec::IntoIter<Server> {
        self.catalog.servers().all().into_iter()
    }
}

fn wrapper(wrapper: Wrapper) -> Row {
    row! {
        "oid": wrapper_oid(wrapper), "fdwname": wrapper.name(), "fdwowner": OWNER_OID, "fdwhandler": 0, "fdwvalidator": 0,
    }
}

fn server(source: &Source, server: &Server) -> Row {
    row! {
        "oid": server_oid(&server.name), "srvname": server.name.as_str(), "srvowner": OWNER_OID,
        "srvfdw": wrapper_oid(server.wrapper), "srvacl": source.list(&Object::Server(server.name.clone())),
        "srvoptions": list(&server.options),
    }
}

fn tables<'a>(source: &'a Source) -> impl Iterator<Item = (&'a Relation, &'a Place)> {
    let relations = source.snapshot.relations.iter();
    relations.filter_map(|relation| Some((relation, relation.foreign.as_ref()?)))
}

fn table(relation: &Relation, place: &Place) -> Row {
    row! {
        "ftrelid": relation.oid, "ftserver": server_oid(&place.server), "ftoptions": list(&table_options(place)),
    }
}

fn table_options(place: &Place) -> BTreeMap<String, String> {
    let schema = place.schema.clone();
    let schema = schema.map(|schema| ("schema_name".to_owned(), schema));
    let table = ("table_name".to_owned(), place.table.clone());
    schema.into_iter().chain([table]).collect()
}

/// What a mapping's options are is for superusers to see.
fn each_mapping(source: &Source, row: impl Fn(&Mapping, Option<Vec<String>>) -> Row) -> Vec<Row> {
    let shown = source.catalog.roles().is_superuser(source.user);
    let mappings = source.catalog.servers().mappings();
    let mappings = mappings.iter();
    mappings
        .map(|mapping| row(mapping, list(&mapping.options).filter(|_| shown)))
        .collect()
}

/// Options as Postgres keeps them: `{host=db,port=5432}`.
fn list(options: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let pairs = options.iter();
    let pairs: Vec<String> = pairs
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (!pairs.is_empty()).then_some(pairs)
}

fn wrapper_oid(wrapper: Wrapper) -> i32 {
    named_oid("wrapper", wrapper.name(), 0x2000_0000)
}

/// The OID of a server.
pub fn server_oid(name: &str) -> i32 {
    named_oid("server", name, 0x2000_0000)
}

fn mapping_oid(mapping: &Mapping) -> i32 {
    let name = format!("{:?} {:?}", mapping.server, mapping.role);
    named_oid("user mapping", &name, 0x2000_0000)
}

fn user_oid(mapping: &Mapping) -> i32 {
    match mapping.role == PUBLIC {
        // Everybody.
        true => 0,
        false => role_oid(&mapping.role),
    }
}
