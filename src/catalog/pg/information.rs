//! `information_schema`: the same in the words of the SQL standard.

use super::access_rows;
use super::defaults;
use super::dictionary::RELATIONS;
use super::rows::{Source, definition};
use super::snapshot::{Check, Key, Relation};
use super::values::{Row, row};
use crate::catalog::roles::OWNER;
use crate::engine::DATABASE;
use crate::postgres::types;
use crate::tables::{IdentityKind, SequenceDefinition};

/// The rows of a relation.
pub fn of(name: &str, source: &Source) -> Option<Vec<Row>> {
    let snapshot = source.snapshot;
    Some(match name {
        "information_schema_catalog_name" => vec![row! { "catalog_name": DATABASE }],
        "schemata" => {
            let system = ["pg_catalog", "information_schema"].into_iter();
            let own = snapshot.schemas.iter().map(|(name, _)| name.as_str());
            system.chain(own).map(|schema| row! { "catalog_name": DATABASE, "schema_name": schema, "schema_owner": OWNER }).collect()
        }
        "tables" => tables(source),
        "columns" => columns(source),
        "element_types" => element_types(source),
        "views" => snapshot.relations.iter().filter(|relation| relation.kind == "v").map(view).collect(),
        "sequences" => snapshot.relations.iter().filter_map(|relation| sequence(relation, source)).collect(),
        "check_constraints" => snapshot.relations.iter().flat_map(check_constraints).collect(),
        "table_constraints" => snapshot.relations.iter().flat_map(table_constraints).collect(),
        "key_column_usage" => snapshot.relations.iter().flat_map(key_columns).collect(),
        "constraint_column_usage" | "constraint_table_usage" => snapshot.relations.iter().flat_map(used_columns).collect(),
        "referential_constraints" => snapshot.relations.iter().flat_map(|relation| references(relation, source)).collect(),
        "table_privileges" | "role_table_grants" => access_rows::table_privileges(source),
        "column_privileges" | "role_column_grants" => access_rows::column_privileges(source),
        "character_sets" => vec![row! {
            "character_set_name": "UTF8", "character_repertoire": "UCS", "form_of_use": "UTF8", "default_collate_catalog": DATABASE,
            "default_collate_schema": "pg_catalog", "default_collate_name": "C.UTF-8",
        }],
        "enabled_roles" => vec![row! { "role_name": source.user }],
        "applicable_roles" | "administrable_role_authorizations" => Vec::new(),
        "routines" => datafusion_funnel::functions().iter().map(|info| row! {
            "specific_catalog": DATABASE, "specific_schema": "public", "specific_name": info.name.as_str(), "routine_catalog": DATABASE,
            "routine_schema": "public", "routine_name": info.name.as_str(), "routine_type": "FUNCTION", "data_type": info.result.as_str(), "routine_body": "EXTERNAL",
        }).collect(),
        // Of everything else that the standard has there is nothing here.
        _ => super::foreign::information(name, source).unwrap_or_default(),
    })
}

fn tables(source: &Source) -> Vec<Row> {
    let system = RELATIONS.values().map(|relation| {
        let kind = if relation.kind == "v" { "VIEW" } else { "BASE TABLE" };
        row! {
            "table_catalog": DATABASE, "table_schema": relation.schema, "table_name": relation.name, "table_type": kind,
            "is_insertable_into": "NO", "is_typed": "NO",
        }
    });
    let own = source.snapshot.relations.iter().filter(|relation| !["m", "S"].contains(&relation.kind)).map(|relation| {
        let kind = match relation.kind {
            "v" => "VIEW",
            "f" => "FOREIGN",
            _ if relation.temporary => "LOCAL TEMPORARY",
            _ => "BASE TABLE",
        };
        row! {
            "table_catalog": DATABASE, "table_schema": relation.schema.as_str(), "table_name": relation.name.as_str(), "table_type": kind,
            "is_insertable_into": if relation.kind == "r" { "YES" } else { "NO" }, "is_typed": "NO",
        }
    });
    system.chain(own).collect()
}

struct ColumnOf<'a> {
    schema: &'a str,
    table: &'a str,
    at: usize,
    name: &'a str,
    kind: &'a str,
    modifier: i32,
    nullable: bool,
    default: Option<String>,
    updatable: bool,
    generated: Option<&'a str>,
    identity: Option<(IdentityKind, Option<&'a SequenceDefinition>)>,
}

fn columns(source: &Source) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in RELATIONS.values() {
        for (at, column) in relation.columns.iter().enumerate() {
            rows.push(column_row(&ColumnOf {
                schema: relation.schema,
                table: relation.name,
                at,
                name: column.name,
                kind: column.kind,
                modifier: -1,
                nullable: !column.required,
                default: None,
                updatable: false,
                generated: None,
                identity: None,
            }));
        }
    }
    for relation in source
        .snapshot
        .relations
        .iter()
        .filter(|relation| !["m", "S"].contains(&relation.kind))
    {
        for (at, column) in relation.columns.iter().enumerate() {
            rows.push(column_row(&ColumnOf {
                schema: &relation.schema,
                table: &relation.name,
                at,
                name: &column.name,
                kind: &column.kind,
                modifier: column.modifier,
                nullable: column.nullable,
                default: defaults::shown(column),
                updatable: relation.kind == "r",
                generated: column.generated.as_deref(),
                identity: column.identity.map(|identity| {
                    let sequence = source.snapshot.sequence_of(relation, column);
                    (
                        identity,
                        sequence.and_then(|relation| relation.sequence.as_ref()),
                    )
                }),
            }));
        }
    }
    rows
}

fn column_row(column: &ColumnOf) -> Row {
    let data_type = match column.kind.starts_with('_') {
        true => "ARRAY".to_owned(),
        false => types::sql_name(column.kind, -1),
    };
    let (precision, radix, scale) = match column.kind {
        "int2" => (Some(16), Some(2), Some(0)),
        "int4" => (Some(32), Some(2), Some(0)),
        "int8" => (Some(64), Some(2), Some(0)),
        "float4" => (Some(24), Some(2), None),
        "float8" => (Some(53), Some(2), None),
        "numeric" if column.modifier >= 4 => (
            Some((column.modifier - 4) >> 16),
            Some(10),
            Some((column.modifier - 4) & 0xffff),
        ),
        "numeric" => (None, Some(10), None),
        _ => (None, None, None),
    };
    let length = match column.kind {
        "varchar" | "bpchar" if column.modifier >= 4 => Some(column.modifier - 4),
        _ => None,
    };
    let octets = match (column.kind, length) {
        ("text" | "varchar", None) => Some(1_073_741_824),
        (_, Some(length)) => Some(length.saturating_mul(4)),
        _ => None,
    };
    let datetime = match column.kind {
        kind if types::is_of_time(kind) && column.modifier >= 0 => Some(column.modifier),
        "timestamp" | "timestamptz" | "time" | "timetz" | "interval" => Some(6),
        "date" => Some(0),
        _ => None,
    };
    let number = i32::try_from(column.at + 1).unwrap_or(0);
    let identity = column.identity.map(|(identity, _)| match identity {
        IdentityKind::Always => "ALWAYS",
        IdentityKind::ByDefault => "BY DEFAULT",
    });
    let of = column.identity.and_then(|(_, sequence)| sequence);
    let text = |number: fn(&SequenceDefinition) -> i64| of.map(|of| number(of).to_string());
    let yes = |truth: bool| if truth { "YES" } else { "NO" };
    row! {
        "table_catalog": DATABASE, "table_schema": column.schema, "table_name": column.table, "column_name": column.name, "ordinal_position": number,
        "column_default": column.default.clone(), "is_nullable": if column.nullable { "YES" } else { "NO" }, "data_type": data_type,
        "character_maximum_length": length, "character_octet_length": octets, "numeric_precision": precision, "numeric_precision_radix": radix,
        "numeric_scale": scale, "datetime_precision": datetime, "udt_catalog": DATABASE, "udt_schema": "pg_catalog", "udt_name": column.kind,
        "dtd_identifier": number.to_string(), "is_self_referencing": "NO", "is_identity": yes(identity.is_some()),
        "identity_generation": identity, "identity_start": text(|of| of.start), "identity_increment": text(|of| of.increment),
        "identity_maximum": text(|of| of.most), "identity_minimum": text(|of| of.least), "identity_cycle": yes(of.is_some_and(|of| of.cycle)),
        "is_generated": if column.generated.is_some() { "ALWAYS" } else { "NEVER" }, "generation_expression": column.generated.map(|text| format!("({text})")),
        "is_updatable": if column.updatable { "YES" } else { "NO" },
    }
}

/// What the arrays among columns are arrays of. As in Postgres, nothing is said of how long or precise an element is.
fn element_types(source: &Source) -> Vec<Row> {
    let row = |schema: &str, table: &str, at: usize, array: &str| {
        let element = array.strip_prefix('_')?;
        let number = at + 1;
        Some(row! {
            "object_catalog": DATABASE, "object_schema": schema, "object_name": table, "object_type": "TABLE",
            "collection_type_identifier": number.to_string(), "data_type": types::sql_name(element, -1), "udt_catalog": DATABASE,
            "udt_schema": "pg_catalog", "udt_name": element, "dtd_identifier": format!("a{number}"),
        })
    };
    let mut rows: Vec<Row> = Vec::new();
    for relation in RELATIONS.values() {
        let columns = relation.columns.iter().enumerate();
        rows.extend(
            columns.filter_map(|(at, column)| row(relation.schema, relation.name, at, column.kind)),
        );
    }
    let own = source.snapshot.relations.iter();
    for relation in own.filter(|relation| relation.kind != "m") {
        let columns = relation.columns.iter().enumerate();
        rows.extend(
            columns
                .filter_map(|(at, column)| row(&relation.schema, &relation.name, at, &column.kind)),
        );
    }
    rows
}

fn view(relation: &Relation) -> Row {
    row! {
        "table_catalog": DATABASE, "table_schema": relation.schema.as_str(), "table_name": relation.name.as_str(), "view_definition": definition(relation),
        "check_option": "NONE", "is_updatable": "NO", "is_insertable_into": "NO", "is_trigger_updatable": "NO", "is_trigger_deletable": "NO",
        "is_trigger_insertable_into": "NO",
    }
}

fn constraint_keys(relation: &Relation) -> impl Iterator<Item = &Key> {
    relation.keys.iter().filter(|key| key.constraint)
}

fn table_constraints(relation: &Relation) -> Vec<Row> {
    let keys = constraint_keys(relation).map(|key| {
        (
            key.name.as_str(),
            if key.primary { "PRIMARY KEY" } else { "UNIQUE" },
        )
    });
    let references = relation
        .foreign_keys
        .iter()
        .map(|reference| (reference.name.as_str(), "FOREIGN KEY"));
    let checks = relation.checks.iter();
    let checks = checks.map(|check| (check.name.as_str(), "CHECK"));
    keys.chain(checks)
        .chain(references)
        .map(|(name, kind)| row! {
            "constraint_catalog": DATABASE, "constraint_schema": relation.schema.as_str(), "constraint_name": name, "table_catalog": DATABASE,
            "table_schema": relation.schema.as_str(), "table_name": relation.name.as_str(), "constraint_type": kind, "is_deferrable": "NO",
            "initially_deferred": "NO", "enforced": "YES",
        })
        .collect()
}

/// Those of identities are not told here, as in Postgres.
fn sequence(relation: &Relation, source: &Source) -> Option<Row> {
    let kept = relation.sequence.as_ref()?;
    let owner = source.snapshot.owner_of(kept);
    if owner.is_some_and(|(table, at)| table.columns[at].identity.is_some()) {
        return None;
    }
    let precision = match kept.kind.as_str() {
        "int2" => 16,
        "int4" => 32,
        _ => 64,
    };
    Some(row! {
        "sequence_catalog": DATABASE, "sequence_schema": relation.schema.as_str(), "sequence_name": relation.name.as_str(),
        "data_type": types::sql_name(&kept.kind, -1), "numeric_precision": precision, "numeric_precision_radix": 2, "numeric_scale": 0,
        "start_value": kept.start.to_string(), "minimum_value": kept.least.to_string(), "maximum_value": kept.most.to_string(),
        "increment": kept.increment.to_string(), "cycle_option": if kept.cycle { "YES" } else { "NO" },
    })
}

fn check_constraints(relation: &Relation) -> Vec<Row> {
    let check = |check: &Check| {
        row! {
            "constraint_catalog": DATABASE, "constraint_schema": relation.schema.as_str(), "constraint_name": check.name.as_str(),
            "check_clause": format!("(({}))", check.expression),
        }
    };
    relation.checks.iter().map(check).collect()
}

fn column_name(relation: &Relation, number: usize) -> &str {
    number
        .checked_sub(1)
        .and_then(|at| relation.columns.get(at))
        .map_or("", |column| column.name.as_str())
}

fn usage(
    relation: &Relation,
    constraint: &str,
    column: &str,
    at: usize,
    referred: Option<usize>,
) -> Row {
    row! {
        "constraint_catalog": DATABASE, "constraint_schema": relation.schema.as_str(), "constraint_name": constraint, "table_catalog": DATABASE,
        "table_schema": relation.schema.as_str(), "table_name": relation.name.as_str(), "column_name": column,
        "ordinal_position": i32::try_from(at + 1).unwrap_or(0), "position_in_unique_constraint": referred.and_then(|at| i32::try_from(at + 1).ok()),
    }
}

fn key_columns(relation: &Relation) -> Vec<Row> {
    let mut rows = Vec::new();
    for key in constraint_keys(relation) {
        for (at, number) in key.columns.iter().enumerate() {
            rows.push(usage(
                relation,
                &key.name,
                column_name(relation, *number),
                at,
                None,
            ));
        }
    }
    for reference in &relation.foreign_keys {
        for (at, column) in reference.columns.iter().enumerate() {
            rows.push(usage(relation, &reference.name, column, at, Some(at)));
        }
    }
    rows
}

fn used_columns(relation: &Relation) -> Vec<Row> {
    let mut rows = Vec::new();
    for key in constraint_keys(relation) {
        for (at, number) in key.columns.iter().enumerate() {
            rows.push(usage(
                relation,
                &key.name,
                column_name(relation, *number),
                at,
                None,
            ));
        }
    }
    for check in &relation.checks {
        for (at, number) in check.columns.iter().enumerate() {
            let column = column_name(relation, *number);
            rows.push(usage(relation, &check.name, column, at, None));
        }
    }
    for reference in &relation.foreign_keys {
        for column in &reference.referred {
            rows.push(row! {
                "table_catalog": DATABASE, "table_schema": reference.schema.as_str(), "table_name": reference.relation.as_str(), "column_name": column.as_str(),
                "constraint_catalog": DATABASE, "constraint_schema": relation.schema.as_str(), "constraint_name": reference.name.as_str(),
            });
        }
    }
    rows
}

fn references(relation: &Relation, source: &Source) -> Vec<Row> {
    let of = |reference: &super::super::annotations::ForeignKey| {
        let referred = source
            .snapshot
            .named(&reference.schema, &reference.relation);
        let key = referred
            .and_then(|referred| constraint_keys(referred).next())
            .map(|key| key.name.clone());
        row! {
            "constraint_catalog": DATABASE, "constraint_schema": relation.schema.as_str(), "constraint_name": reference.name.as_str(),
            "unique_constraint_catalog": DATABASE, "unique_constraint_schema": reference.schema.as_str(), "unique_constraint_name": key,
            "match_option": "NONE", "update_rule": reference.on_update.sql(), "delete_rule": reference.on_delete.sql(),
        }
    };
    relation.foreign_keys.iter().map(of).collect()
}
