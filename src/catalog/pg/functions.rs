//! Functions of `pg_catalog` that clients call beside its relations.
//!
//! They take any arguments: what tells an overload of Postgres from another never changes the answer here.
//! One about an object that there is none of answers NULL, as Postgres does for an unknown OID.

use std::sync::{Arc, LazyLock, OnceLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::logical_expr::{ScalarUDF, Volatility};
use datafusion::prelude::SessionContext;
use datafusion_funnel::FunctionInfo;
use datafusion_funnel::definition::text::identifier;

use super::super::{Catalog, ReferentialAction};
use super::names::CatalogNames;
use super::relations::StaticFunctions;
use super::snapshot::{Relation, Snapshot, named_oid};
use super::{access_lists, monitoring, privileges, properties, rows, standard};
use crate::engine::DATABASE;
use crate::error::Fault;
use crate::postgres::encoding::Encoding;
use crate::postgres::function::{Call, Result, Returns, fault, function, volatile_function};
use crate::postgres::names_of_objects::Names;
use crate::postgres::types;

/// Objects that are seen wherever they are: clients list them all.
const VISIBLE: [&str; 12] = [
    "pg_function_is_visible",
    "pg_type_is_visible",
    "pg_operator_is_visible",
    "pg_opclass_is_visible",
    "pg_opfamily_is_visible",
    "pg_collation_is_visible",
    "pg_conversion_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_statistics_obj_is_visible",
];

/// Whether others may subscribe to a relation.
const PUBLISHED: [&str; 2] = ["pg_is_publishable", "pg_relation_is_publishable"];

/// Texts about objects that there are none of, or that have none.
const NO_TEXT: [&str; 16] = [
    "pg_get_function_sqlbody",
    "pg_get_triggerdef",
    "pg_get_ruledef",
    "shobj_description",
    "pg_get_partkeydef",
    "pg_get_statisticsobjdef",
    "pg_get_statisticsobjdef_columns",
    "pg_get_partition_constraintdef",
    "pg_relation_filepath",
    "pg_export_snapshot",
    "inet_client_addr",
    "inet_server_addr",
    "pg_get_statisticsobjdef_expressions",
    "pg_get_function_arg_default",
    "pg_collation_actual_version",
    "pg_database_collation_actual_version",
];

/// Sizes on disk, which only the files' owner knows.
const SIZES: [&str; 3] = [
    "pg_indexes_size",
    "pg_tablespace_size",
    "pg_stat_get_numscans",
];

/// Answers that are always the same.
const NEVER: [&str; 5] = [
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "pg_is_other_temp_schema",
    "pg_is_in_backup",
    "pg_jit_available",
];

/// Locks that nobody waits for: they are taken at once.
const LOCKS: [&str; 6] = [
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared",
];
const VOID: [&str; 7] = [
    "pg_advisory_unlock_all",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_advisory_xact_lock",
    "pg_advisory_xact_lock_shared",
    "pg_stat_clear_snapshot",
    "pg_stat_reset",
];

/// What the functions about objects look at.
#[derive(Debug)]
pub struct Objects {
    catalog: Arc<Catalog>,
}

impl Objects {
    /// What the session that asks sees.
    pub fn snapshot(&self, call: &Call) -> Result<Snapshot> {
        let info = call.asker()?;
        Ok(Snapshot::of(info.catalogs(), self.catalog.annotations()))
    }
}

/// The names of what the session that asks sees.
fn names_for(call: &Call) -> Result<Arc<CatalogNames>> {
    Ok(Arc::clone(call.asker()?.names()))
}

/// Registers them.
pub fn register(context: &SessionContext, catalog: &Arc<Catalog>) {
    let objects = Arc::new(Objects {
        catalog: Arc::clone(catalog),
    });
    let mut functions = constants();
    functions.extend(about_objects(&objects));
    functions.extend(conversions());
    functions.extend(privileges::all(catalog));
    functions.extend(access_lists::all());
    functions.extend(monitoring::all(&objects));
    functions.extend(properties::all(&objects));
    functions.extend(standard::all(&objects));
    for function in functions {
        context.register_udf(function);
    }
}

fn constants() -> Vec<ScalarUDF> {
    let (text, boolean) = (Returns::Type("text"), Returns::Type("bool"));
    let same = |value: bool| {
        move |call: &Call| -> Result<ArrayRef> {
            Ok(Arc::new(BooleanArray::from(vec![value; call.rows])))
        }
    };
    let mut functions = Vec::new();
    functions.extend(VISIBLE.map(|name| function(name, boolean, same(true))));
    functions.extend(PUBLISHED.map(|name| function(name, boolean, same(true))));
    functions.extend(LOCKS.map(|name| function(name, boolean, same(true))));
    functions.extend(NEVER.map(|name| function(name, boolean, same(false))));
    functions.extend(NO_TEXT.map(|name| {
        let kind = if name.starts_with("inet") {
            Returns::Type("inet")
        } else {
            text
        };
        function(name, kind, |call| {
            Ok(new_null_array(&DataType::Utf8, call.rows))
        })
    }));
    functions.extend(VOID.map(|name| {
        function(name, Returns::Type("void"), |call| {
            Ok(Arc::new(StringArray::from(vec![""; call.rows])))
        })
    }));
    functions.extend(SIZES.map(|name| {
        function(name, Returns::Type("int8"), |call| {
            Ok(Arc::new(Int64Array::from(vec![0; call.rows])))
        })
    }));
    let fixed_text = |name: &str, kind: &'static str, value: &'static str| {
        function(name, Returns::Type(kind), move |call| {
            Ok(Arc::new(StringArray::from(vec![value; call.rows])))
        })
    };
    functions.extend([
        fixed_text("getdatabaseencoding", "name", "UTF8"),
        volatile_function(
            "pg_notify",
            Returns::Type("void"),
            Volatility::Volatile,
            notify,
        ),
        function("pg_client_encoding", Returns::Type("name"), |call| {
            let encoding = call.asker()?.client_encoding();
            Ok(Arc::new(StringArray::from(vec![encoding; call.rows])))
        }),
        fixed_text("current_database", "name", DATABASE),
        fixed_text("current_catalog", "name", DATABASE),
        function("current_schema", Returns::Type("name"), |call| {
            let path = call.asker()?.search_path().schemas();
            let first = path.first().map(String::as_str);
            Ok(Arc::new(StringArray::from(vec![first; call.rows])))
        }),
        function("pg_encoding_to_char", Returns::Type("name"), |call| {
            let numbers = call.integers(0)?;
            let name = |number| Encoding::numbered(number).map_or("", |encoding| encoding.name);
            Ok(Arc::new(
                numbers
                    .iter()
                    .map(|number| number.map(name))
                    .collect::<StringArray>(),
            ))
        }),
        function("pg_char_to_encoding", Returns::Type("int4"), |call| {
            let names = call.texts(0)?;
            let number = |name| Encoding::named(name).map_or(-1, Encoding::number);
            Ok(Arc::new(
                names
                    .iter()
                    .map(|name| name.map(number))
                    .collect::<Int32Array>(),
            ))
        }),
        function("current_schemas", Returns::Type("_name"), |call| {
            use datafusion::arrow::array::{ListBuilder, StringBuilder};
            let path = call.asker()?.search_path().schemas();
            let implicit = call.texts(0)?;
            let mut lists = ListBuilder::new(StringBuilder::new());
            for flag in &implicit {
                let implicit = (flag == Some("t")).then_some("pg_catalog");
                let schemas = path.iter().map(String::as_str);
                lists.append_value(implicit.into_iter().chain(schemas).map(Some));
            }
            Ok(Arc::new(lists.finish()))
        }),
        function("pg_size_pretty", text, |call| {
            let sizes = call.integers(0)?;
            Ok(Arc::new(
                sizes
                    .iter()
                    .map(|size| size.map(pretty_size))
                    .collect::<StringArray>(),
            ))
        }),
        function("pg_get_expr", text, |call| Ok(Arc::new(call.texts(0)?))),
        function("pg_my_temp_schema", Returns::Type("oid"), |call| {
            Ok(Arc::new(Int32Array::from(vec![0; call.rows])))
        }),
        function("inet_server_port", Returns::Type("int4"), |call| {
            Ok(new_null_array(&DataType::Int32, call.rows))
        }),
        function("inet_client_port", Returns::Type("int4"), |call| {
            Ok(new_null_array(&DataType::Int32, call.rows))
        }),
        function("txid_current", Returns::Type("int8"), |call| {
            Ok(Arc::new(Int64Array::from(vec![1; call.rows])))
        }),
        function("pg_current_xact_id", Returns::Type("xid8"), |call| {
            Ok(Arc::new(Int64Array::from(vec![1; call.rows])))
        }),
        function(
            "pg_postmaster_start_time",
            Returns::Type("timestamptz"),
            started,
        ),
        function("pg_conf_load_time", Returns::Type("timestamptz"), started),
        function("pg_blocking_pids", Returns::Type("_int4"), |call| {
            Ok(new_null_array(call.returns.data_type(), call.rows))
        }),
    ]);
    functions
}

fn started(call: &Call) -> Result<ArrayRef> {
    static STARTED: LazyLock<i64> = LazyLock::new(|| chrono::Utc::now().timestamp_micros());
    Ok(Arc::new(
        TimestampMicrosecondArray::from(vec![*STARTED; call.rows]).with_timezone("UTC"),
    ))
}

/// `pg_notify(channel, text)`, for each row.
fn notify(call: &Call) -> Result<ArrayRef> {
    const LONGEST_CHANNEL: usize = 63;
    const LONGEST_TEXT: usize = 7999;
    let (channels, texts) = (call.texts(0)?, call.texts(1)?);
    let asker = call.asker()?;
    for row in 0..call.rows {
        let channel = match channels.is_valid(row) {
            true => channels.value(row),
            false => "",
        };
        let text = match texts.is_valid(row) {
            true => texts.value(row),
            false => "",
        };
        let wrong = match (channel.len(), text.len()) {
            (0, _) => "channel name cannot be empty",
            (length, _) if length > LONGEST_CHANNEL => "channel name too long",
            (_, length) if length > LONGEST_TEXT => "payload string too long",
            _ => {
                asker.say(channel, text);
                continue;
            }
        };
        return fault(Fault::InvalidArgument, wrong);
    }
    Ok(Arc::new(StringArray::from(vec![""; call.rows])))
}

/// An answer for each OID of the first argument, which may be a name of that kind instead.
fn by_oid(call: &Call, kind: &str, answer: impl Fn(i32) -> Option<String>) -> Result<ArrayRef> {
    let oids = oids(call, 0, kind)?;
    Ok(Arc::new(
        oids.iter()
            .map(|oid| oid.and_then(&answer))
            .collect::<StringArray>(),
    ))
}

pub(super) fn oids(call: &Call, at: usize, kind: &str) -> Result<Int32Array> {
    match call.arrays.get(at) {
        Some(first) if *first.data_type() == DataType::Utf8 => {
            let names = names_for(call)?;
            let read = |text: &str| text.parse().ok().or_else(|| names.oid(kind, text));
            Ok(call
                .texts(at)?
                .iter()
                .map(|text| text.and_then(read))
                .collect())
        }
        Some(first) => Ok(cast(first, &DataType::Int32)?
            .as_primitive::<Int32Type>()
            .clone()),
        None => Ok(Int32Array::new_null(call.rows)),
    }
}

fn about_objects(objects: &Arc<Objects>) -> Vec<ScalarUDF> {
    let text = Returns::Type("text");
    let with = |answer: fn(&Call, &Objects) -> Result<ArrayRef>| {
        let objects = Arc::clone(objects);
        move |call: &Call| answer(call, &objects)
    };
    let about = |answer: fn(FunctionInfo) -> String| {
        move |call: &Call| {
            let functions = datafusion_funnel::functions();
            by_oid(call, "regproc", |oid| {
                functions
                    .iter()
                    .find(|info| function_oid(&info.name) == oid)
                    .cloned()
                    .map(answer)
            })
        }
    };
    vec![
        function("pg_get_userbyid", Returns::Type("name"), |call| {
            let names = names_for(call)?;
            let name = |oid: i64| {
                let known = i32::try_from(oid).ok().and_then(|oid| names.role(oid));
                known.unwrap_or_else(|| format!("unknown (OID={oid})"))
            };
            let oids = call.integers(0)?;
            Ok(Arc::new(
                oids.iter()
                    .map(|oid| oid.map(name))
                    .collect::<StringArray>(),
            ))
        }),
        function("pg_table_is_visible", Returns::Type("bool"), |call| {
            let names = names_for(call)?;
            let visible = |oid: i32| {
                let relation = names.relation(oid);
                relation.map(|(schema, name)| names.is_visible(&schema, &name))
            };
            let oids = oids(call, 0, "regclass")?;
            // An index is seen where its table is; nothing is known of it by its OID alone.
            Ok(Arc::new(
                oids.iter()
                    .map(|oid| oid.map(|oid| visible(oid).unwrap_or(true)))
                    .collect::<BooleanArray>(),
            ))
        }),
        function(
            "pg_get_viewdef",
            text,
            with(|call, objects| {
                let snapshot = objects.snapshot(call)?;
                by_oid(call, "regclass", |oid| {
                    rows::definition(snapshot.relation(oid)?)
                })
            }),
        ),
        function(
            "pg_get_constraintdef",
            text,
            with(|call, objects| {
                let snapshot = objects.snapshot(call)?;
                let names = names_for(call)?;
                let oids = oids(call, 0, "none")?;
                let pretty = call.texts(1)?;
                let definition = |row: usize| {
                    let oid = oids.is_valid(row).then(|| oids.value(row))?;
                    let pretty = pretty.is_valid(row) && pretty.value(row) == "t";
                    let mut relations = snapshot.relations.iter();
                    relations
                        .find_map(|relation| constraint_definition(&names, relation, oid, pretty))
                };
                Ok(Arc::new(
                    (0..call.rows).map(definition).collect::<StringArray>(),
                ))
            }),
        ),
        function(
            "pg_get_indexdef",
            text,
            with(|call, objects| {
                let snapshot = objects.snapshot(call)?;
                let oids = oids(call, 0, "regclass")?;
                let columns = call.integers(1)?;
                let definition = |row: usize| {
                    let oid = oids.is_valid(row).then(|| oids.value(row))?;
                    let (relation, key) = properties::key_of(&snapshot, oid)?;
                    match columns
                        .is_valid(row)
                        .then(|| columns.value(row))
                        .filter(|column| *column > 0)
                    {
                        Some(column) => rows::key_columns(relation, key)
                            .get(usize::try_from(column - 1).ok()?)
                            .cloned(),
                        None => Some(rows::index_definition(relation, key)),
                    }
                };
                Ok(Arc::new(
                    (0..call.rows).map(definition).collect::<StringArray>(),
                ))
            }),
        ),
        function(
            "obj_description",
            text,
            with(|call, objects| {
                let snapshot = objects.snapshot(call)?;
                let functions = datafusion_funnel::functions();
                by_oid(call, "regclass", |oid| {
                    if let Some(relation) = snapshot.relation(oid) {
                        return relation.notes.comment.clone();
                    }
                    if let Some((schema, _)) =
                        snapshot.schemas.iter().find(|(_, schema)| *schema == oid)
                    {
                        return objects.catalog.annotations().of_schema(schema);
                    }
                    functions
                        .iter()
                        .find(|info| function_oid(&info.name) == oid)
                        .map(|info| info.description.clone())
                })
            }),
        ),
        function(
            "col_description",
            text,
            with(|call, objects| {
                let snapshot = objects.snapshot(call)?;
                let oids = oids(call, 0, "regclass")?;
                let numbers = call.integers(1)?;
                let description = |row: usize| {
                    let relation =
                        snapshot.relation(oids.is_valid(row).then(|| oids.value(row))?)?;
                    let number =
                        usize::try_from(numbers.is_valid(row).then(|| numbers.value(row))?).ok()?;
                    let column = relation.columns.get(number.checked_sub(1)?)?;
                    relation.notes.columns.get(&column.name).cloned()
                };
                Ok(Arc::new(
                    (0..call.rows).map(description).collect::<StringArray>(),
                ))
            }),
        ),
        function(
            "pg_get_serial_sequence",
            text,
            with(|call, objects| {
                let snapshot = objects.snapshot(call)?;
                let tables = oids(call, 0, "regclass")?;
                let columns = call.texts(1)?;
                let sequence = |row: usize| {
                    let relation =
                        snapshot.relation(tables.is_valid(row).then(|| tables.value(row))?)?;
                    let name = columns.is_valid(row).then(|| columns.value(row))?;
                    let column = relation.columns.iter().find(|column| column.name == name)?;
                    let sequence = snapshot.sequence_of(relation, column)?;
                    Some(format!(
                        "{}.{}",
                        identifier(&sequence.schema),
                        identifier(&sequence.name)
                    ))
                };
                Ok(Arc::new(
                    (0..call.rows).map(sequence).collect::<StringArray>(),
                ))
            }),
        ),
        function("pg_describe_object", text, |call| {
            let oids = call.integers(1)?;
            let names = names_for(call)?;
            let described = |oid: i64| {
                let oid = i32::try_from(oid).ok()?;
                Some(format!("table {}", names.name("regclass", oid)?))
            };
            Ok(Arc::new(
                oids.iter()
                    .map(|oid| oid.and_then(described))
                    .collect::<StringArray>(),
            ))
        }),
        function("pg_get_function_result", text, about(|info| info.result)),
        function(
            "pg_get_function_arguments",
            text,
            about(|info| info.arguments),
        ),
        function(
            "pg_get_function_identity_arguments",
            text,
            about(|info| info.arguments),
        ),
        function(
            "pg_get_functiondef",
            text,
            about(|info| {
                format!(
                    "CREATE OR REPLACE FUNCTION public.{}({})\n RETURNS {}\n LANGUAGE internal\nAS '{}'\n",
                    identifier(&info.name),
                    info.arguments,
                    info.result,
                    info.name
                )
            }),
        ),
    ]
}

/// `PRIMARY KEY (lead_id)`, `CHECK ((amount > 0))`, `FOREIGN KEY (lead_id) REFERENCES leads(lead_id)`
fn constraint_definition(
    names: &CatalogNames,
    relation: &Relation,
    oid: i32,
    pretty: bool,
) -> Option<String> {
    let mut checks = relation.checks.iter();
    if let Some(check) = checks.find(|check| rows::constraint_oid(relation, &check.name) == oid) {
        let expression = &check.expression;
        let rest = if check.validated { "" } else { " NOT VALID" };
        return Some(match pretty {
            true => format!("CHECK ({expression}){rest}"),
            false => format!("CHECK (({expression})){rest}"),
        });
    }
    if let Some(key) = relation
        .keys
        .iter()
        .find(|key| key.constraint && rows::constraint_oid(relation, &key.name) == oid)
    {
        let kind = match (key.primary, key.nulls_same) {
            (true, _) => "PRIMARY KEY",
            (false, true) => "UNIQUE NULLS NOT DISTINCT",
            (false, false) => "UNIQUE",
        };
        return Some(format!(
            "{kind} ({})",
            rows::key_columns(relation, key).join(", ")
        ));
    }
    let reference = relation
        .foreign_keys
        .iter()
        .find(|reference| rows::constraint_oid(relation, &reference.name) == oid)?;
    let quoted = |names: &[String]| {
        names
            .iter()
            .map(|name| identifier(name).to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let schema = match names.is_visible(&reference.schema, &reference.relation) {
        true => String::new(),
        false => format!("{}.", identifier(&reference.schema)),
    };
    let action = |event: &str, action: ReferentialAction| match action {
        ReferentialAction::NoAction => String::new(),
        action => format!(" ON {event} {}", action.sql()),
    };
    Some(format!(
        "FOREIGN KEY ({}) REFERENCES {schema}{}({}){}{}",
        quoted(&reference.columns),
        identifier(&reference.relation),
        quoted(&reference.referred),
        action("UPDATE", reference.on_update),
        action("DELETE", reference.on_delete)
    ))
}

fn conversions() -> Vec<ScalarUDF> {
    let mut functions = Vec::new();
    for kind in [
        "regclass",
        "regtype",
        "regproc",
        "regprocedure",
        "regnamespace",
        "regrole",
        "regcollation",
        "regoper",
        "regoperator",
    ] {
        functions.push(function(
            &format!("to_{kind}"),
            Returns::Type(kind),
            move |call| {
                let names = names_for(call)?;
                let read = |text: &str| names.oid(kind, text);
                Ok(Arc::new(
                    call.texts(0)?
                        .iter()
                        .map(|text| text.and_then(read))
                        .collect::<Int32Array>(),
                ))
            },
        ));
    }
    functions.push(function("format_type", Returns::Type("text"), |call| {
        let names = names_for(call)?;
        let oids = oids(call, 0, "regtype")?;
        let modifiers = call.integers(1)?;
        let format = |row: usize| {
            let oid = oids.is_valid(row).then(|| oids.value(row))?;
            let modifier = if modifiers.is_valid(row) {
                i32::try_from(modifiers.value(row)).ok()?
            } else {
                -1
            };
            Some(match types::name_of(oid.cast_unsigned()) {
                Some(name) => types::sql_name(&name, modifier),
                None if oid == 0 => "-".to_owned(),
                None => names
                    .name("regtype", oid)
                    .unwrap_or_else(|| "???".to_owned()),
            })
        };
        Ok(Arc::new(
            (0..call.rows).map(format).collect::<StringArray>(),
        ))
    }));
    functions.push(function("pg_typeof", Returns::Type("regtype"), |call| {
        let oid = call
            .fields
            .first()
            .map_or(705, |field| types::oid(&types::type_of(field)));
        Ok(Arc::new(Int32Array::from(vec![
            oid.cast_signed();
            call.rows
        ])))
    }));
    functions
}

/// The OID of one of FunnelSQL's functions: made from its name, so that clients find it again after a
/// restart, and above the OIDs that the other objects are numbered with.
pub fn function_oid(name: &str) -> i32 {
    named_oid("function", name, 0x4000_0000)
}

static FUNCTIONS: OnceLock<StaticFunctions> = OnceLock::new();

/// Postgres' own functions, once they are read.
pub fn static_functions() -> Option<&'static StaticFunctions> {
    FUNCTIONS.get()
}

/// Where they are read into.
pub fn static_functions_cell() -> &'static OnceLock<StaticFunctions> {
    &FUNCTIONS
}

/// The name of the function of that OID.
pub fn function_name(oid: i32) -> Option<String> {
    let own = datafusion_funnel::functions()
        .into_iter()
        .find(|info| function_oid(&info.name) == oid);
    own.map(|info| info.name)
        .or_else(|| static_functions()?.by_oid.get(&oid).cloned())
}

/// The OID of the function of that name.
pub fn function_named(name: &str) -> Option<i32> {
    let own = datafusion_funnel::functions()
        .into_iter()
        .find(|info| info.name == name);
    own.map(|info| function_oid(&info.name))
        .or_else(|| static_functions()?.by_name.get(name).copied())
}

/// A size in the largest unit that leaves at least ten of it, as Postgres writes sizes.
fn pretty_size(bytes: i64) -> String {
    let mut size = bytes;
    let mut unit = "bytes";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if size.abs() < 10 * 1024 {
            break;
        }
        size = (size + size.signum() * 512) / 1024;
        unit = larger;
    }
    format!("{size} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_an_oid_of_its_own() {
        let functions = datafusion_funnel::functions();
        let mut oids: Vec<i32> = functions
            .iter()
            .map(|info| function_oid(&info.name))
            .collect();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), functions.len());
        assert!(oids.iter().all(|oid| *oid >= 0x4000_0000));
    }

    #[test]
    fn sizes_read_as_postgres_writes_them() {
        // PostgreSQL 15.18: select pg_size_pretty(n)
        for (bytes, expected) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (1_500_000, "1465 kB"),
            (123_456_789, "118 MB"),
            (-20_480, "-20 kB"),
        ] {
            assert_eq!(pretty_size(bytes), expected);
        }
    }
}
