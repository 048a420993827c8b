//! The rows of the catalogs that are about what exists here.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_funnel::table::JOURNEYS_SCHEMA;
use datafusion_funnel::{FunctionInfo, FunctionKind};

use super::access_rows;
use super::defaults;
use super::dictionary::{RELATIONS, SCHEMAS};
use super::functions::function_oid;
use super::names::{OWNER_OID, role_oid, type_oid};
use super::roles;
use super::settings_rows;
use super::snapshot::{
    DATABASE_OID, Key, Relation, Snapshot, named_oid, relation_oid, row_type_oid, schema_oid,
};
use super::values::{Row, Value, row};
use crate::catalog::access::{Object, Privilege};
use crate::catalog::roles::{OWNER, Role, Roles};
use crate::catalog::{Catalog, FUNNEL_SCHEMA, ForeignKey};
use crate::engine::{
    ConnectionInfo, Copies, CopyProgress, DATABASE, DEFAULT_SCHEMA, NamedStatement,
};
use crate::postgres::types;
use crate::tables::IdentityKind;

/// What the rows are made of.
pub struct Source<'a> {
    /// What exists.
    pub snapshot: &'a Snapshot,
    /// As whom is asked.
    pub user: &'a str,
    /// The roles that there are: see [`roles::all`].
    pub roles: Vec<Arc<Role>>,
    /// What the directory holds.
    pub catalog: &'a Catalog,
    /// The session's settings: name, value, default.
    pub settings: &'a [(String, String, String)],
    /// The connections: see [`crate::engine::activity`].
    pub activity: Vec<Row>,
    /// The copies that run.
    pub copies: Vec<Row>,
    /// The statements that the session has prepared.
    pub statements: Vec<Row>,
    /// The comments on schemas.
    pub schema_comments: Vec<(i32, String)>,
}

/// `pg_class`, the relation that tables, views and indexes belong to.
const PG_CLASS_OID: i32 = 1259;
/// `pg_rewrite`
const PG_REWRITE_OID: i32 = 2618;
/// `pg_namespace`
const PG_NAMESPACE_OID: i32 = 2615;
/// `pg_proc`
const PG_PROC_OID: i32 = 1255;
/// `pg_extension`
const PG_EXTENSION_OID: i32 = 3079;
/// The extension that every database has.
const PLPGSQL_OID: i32 = 13_823;
/// `pg_language`: compiled into the server.
const INTERNAL_LANGUAGE_OID: i32 = 12;
/// `pg_type`: `record`, what a table function returns rows of.
const RECORD_OID: i32 = 2249;
/// The collation of texts.
const DEFAULT_COLLATION_OID: i32 = 100;

/// The rows of a relation; nothing for one that is the same everywhere.
pub fn of(schema: &str, name: &str, source: &Source) -> Option<Vec<Row>> {
    if schema == SCHEMAS[1] {
        return super::information::of(name, source);
    }
    let snapshot = source.snapshot;
    Some(match name {
        "pg_namespace" => namespaces(source),
        "pg_depend" => dependencies(snapshot),
        "pg_class" => classes(source),
        "pg_attribute" => attributes(source),
        "pg_policy" => access_rows::policies(source),
        "pg_policies" => access_rows::policies_view(source),
        "pg_index" => snapshot
            .relations
            .iter()
            .flat_map(|relation| relation.keys.iter().map(move |key| index(relation, key)))
            .collect(),
        "pg_constraint" => constraints(snapshot),
        "pg_sequence" => snapshot.relations.iter().filter_map(sequence).collect(),
        "pg_sequences" => snapshot
            .relations
            .iter()
            .filter_map(sequence_view)
            .collect(),
        "pg_attrdef" => attribute_defaults(snapshot),
        "pg_database" => databases(),
        "pg_roles" | "pg_authid" | "pg_user" | "pg_shadow" | "pg_group" | "pg_auth_members" => {
            return roles::rows(name, &source.roles);
        }
        "pg_tables" => tables(source),
        "pg_views" => views(snapshot, "v"),
        "pg_matviews" => views(snapshot, "m"),
        "pg_indexes" => indexes(snapshot),
        "pg_settings" => settings_rows::rows(source.settings),
        "pg_stat_activity" => source.activity.clone(),
        "pg_stat_progress_copy" => source.copies.clone(),
        "pg_prepared_statements" => source.statements.clone(),
        "pg_stat_user_tables"
        | "pg_stat_all_tables"
        | "pg_statio_user_tables"
        | "pg_statio_all_tables" => table_statistics(snapshot),
        "pg_stat_database" => vec![row! {
            "datid": DATABASE_OID, "datname": DATABASE, "numbackends": source.activity.len() as i64, "xact_commit": 0, "xact_rollback": 0,
            "blks_read": 0, "blks_hit": 0, "tup_returned": 0, "tup_fetched": 0, "tup_inserted": 0, "tup_updated": 0, "tup_deleted": 0,
            "conflicts": 0, "temp_files": 0, "temp_bytes": 0, "deadlocks": 0, "blk_read_time": 0, "blk_write_time": 0,
            "session_time": 0, "active_time": 0, "idle_in_transaction_time": 0, "sessions": 0, "sessions_abandoned": 0, "sessions_fatal": 0,
            "sessions_killed": 0,
        }],
        // Nobody counts what these tell, and there is one row of each.
        "pg_stat_bgwriter" => vec![row! {
            "checkpoints_timed": 0, "checkpoints_req": 0, "checkpoint_write_time": 0, "checkpoint_sync_time": 0, "buffers_checkpoint": 0,
            "buffers_clean": 0, "maxwritten_clean": 0, "buffers_backend": 0, "buffers_backend_fsync": 0, "buffers_alloc": 0,
        }],
        "pg_stat_archiver" => vec![row! { "archived_count": 0, "failed_count": 0 }],
        "pg_stat_wal" => vec![row! {
            "wal_records": 0, "wal_fpi": 0, "wal_bytes": 0, "wal_buffers_full": 0, "wal_write": 0, "wal_sync": 0, "wal_write_time": 0,
            "wal_sync_time": 0,
        }],
        "pg_timezone_names" => time_zones(),
        "pg_tablespace" => vec![
            row! { "oid": 1663, "spcname": "pg_default", "spcowner": OWNER_OID },
            row! { "oid": 1664, "spcname": "pg_global", "spcowner": OWNER_OID },
        ],
        "pg_extension" => vec![row! {
            "oid": PLPGSQL_OID, "extname": "plpgsql", "extowner": OWNER_OID, "extnamespace": 11, "extrelocatable": false, "extversion": "1.0",
        }],
        "pg_available_extensions" => vec![row! {
            "name": "plpgsql", "default_version": "1.0", "installed_version": "1.0", "comment": "PL/pgSQL procedural language",
        }],
        "pg_available_extension_versions" => vec![row! {
            "name": "plpgsql", "version": "1.0", "installed": true, "superuser": true, "trusted": true, "relocatable": false,
            "schema": "pg_catalog", "comment": "PL/pgSQL procedural language",
        }],
        "pg_rewrite" => snapshot.relations.iter().filter_map(view_rule).collect(),
        "pg_rules" | "pg_locks" | "pg_prepared_xacts" | "pg_cursors" | "pg_stats" => Vec::new(),
        // Postgres' own triggers, statistics and dependencies are about its own tables.
        "pg_trigger" | "pg_statistic" | "pg_shdepend" | "pg_init_privs" | "pg_inherits"
        | "pg_enum" | "pg_default_acl" => Vec::new(),
        _ => return super::foreign::of(name, source),
    })
}

fn is_view(kind: &str) -> bool {
    kind == "v" || kind == "m"
}

/// The OID of a view's rule.
fn rule_oid(view: &Relation) -> i32 {
    let name = format!("{}.{}", view.schema, view.name);
    named_oid("rule", &name, 0x3000_0000)
}

/// What makes a relation a view, in Postgres' eyes. What the rule does is its definition.
fn view_rule(relation: &Relation) -> Option<Row> {
    is_view(relation.kind).then(|| {
        row! {
            "oid": rule_oid(relation), "rulename": "_RETURN", "ev_class": relation.oid, "ev_type": "1",
            "ev_enabled": "O", "is_instead": true, "ev_qual": "<>", "ev_action": "<>",
        }
    })
}

/// Rows that stand behind those that are the same everywhere.
pub fn further(name: &str, source: &Source) -> Vec<Row> {
    match name {
        "pg_type" => source
            .snapshot
            .relations
            .iter()
            .filter(|relation| relation.kind != "S")
            .flat_map(row_types)
            .collect(),
        "pg_proc" => {
            let functions = datafusion_funnel::functions();
            let row = |info: &FunctionInfo| {
                let mut row = function(info);
                let list = source.list(&Object::Function(info.name.clone()));
                row.push(("proacl", Value::from(list)));
                row
            };
            functions.iter().map(row).collect()
        }
        "pg_description" => descriptions(source),
        _ => Vec::new(),
    }
}

/// `pg_stat_activity`: a row for each connection.
pub fn connections(connections: &[ConnectionInfo]) -> Vec<Row> {
    let row = |info: &ConnectionInfo| {
        row! {
            "datid": DATABASE_OID, "datname": DATABASE, "pid": info.number, "usesysid": role_oid(&info.user), "usename": info.user.as_str(),
            "application_name": info.application.as_str(), "client_addr": info.address.map(|address| address.ip().to_string()),
            "client_port": info.address.map(|address| i32::from(address.port())), "backend_start": info.started_us,
            "xact_start": info.state.starts_with("idle in").then_some(info.request_started_us).flatten(), "query_start": info.request_started_us,
            "state_change": info.changed_us, "wait_event_type": (info.state != "active").then_some("Client"),
            "wait_event": (info.state != "active").then_some("ClientRead"), "state": info.state, "query": info.query.as_str(), "backend_type": "client backend",
        }
    };
    connections.iter().map(row).collect()
}

/// `pg_stat_progress_copy`: a row for each copy. Of those of others, a role sees that they run.
pub fn copies(copies: &Copies, roles: &Roles, role: &str) -> Vec<Row> {
    let row = |copy: &CopyProgress| {
        let mut row = row! { "pid": copy.number, "datid": DATABASE_OID, "datname": DATABASE };
        if roles.is_superuser(role) || roles.is_member(role, &copy.user) {
            let relation = copy.relation.as_ref();
            let [bytes, rows, excluded] = copy.counts();
            row.extend(row! {
                "relid": relation.map_or(0, |(schema, name)| relation_oid(schema, name)), "command": copy.command, "type": "PIPE",
                "bytes_processed": bytes, "bytes_total": 0_i64, "tuples_processed": rows, "tuples_excluded": excluded,
            });
        }
        row
    };
    let running = copies.running();
    running.iter().map(|copy| row(copy)).collect()
}

/// `pg_prepared_statements`: a row for each statement that the session has prepared.
pub fn statements(statements: &BTreeMap<String, NamedStatement>) -> Vec<Row> {
    let row = |(name, named): (&String, &NamedStatement)| {
        let parameters = named.prepared.parameters.iter();
        let kinds = parameters.map(|field| types::oid(&types::type_of(field)).to_string());
        row! {
            "name": name.as_str(), "statement": named.text.as_str(), "prepare_time": named.prepared_us,
            "parameter_types": kinds.collect::<Vec<_>>(), "from_sql": named.from_sql,
        }
    };
    statements.iter().map(row).collect()
}

fn namespaces(source: &Source) -> Vec<Row> {
    let snapshot = source.snapshot;
    let system = [
        ("pg_catalog", 11),
        ("information_schema", schema_oid("information_schema")),
        ("pg_toast", 99),
    ];
    let own = snapshot
        .schemas
        .iter()
        .map(|(name, oid)| (name.as_str(), *oid));
    system
        .into_iter()
        .chain(own)
        .map(|(name, oid)| {
            let list = source.list(&Object::Schema(name.to_owned()));
            row! { "oid": oid, "nspname": name, "nspowner": OWNER_OID, "nspacl": list }
        })
        .collect()
}

fn classes(source: &Source) -> Vec<Row> {
    let system = RELATIONS.values().map(|relation| {
        class(
            relation.oid,
            relation.name,
            schema_oid(relation.schema),
            relation.kind,
            relation.columns.len(),
            "p",
            false,
        )
    });
    let own = source.snapshot.relations.iter().flat_map(|relation| {
        let persistence = if relation.temporary { "t" } else { "p" };
        let mut table = class(
            relation.oid,
            &relation.name,
            schema_oid(&relation.schema),
            relation.kind,
            relation.columns.len(),
            persistence,
            !relation.keys.is_empty(),
        );
        if let Some(rows) = relation.rows.and_then(|rows| i32::try_from(rows).ok()) {
            table.push(("reltuples", Value::from(rows)));
        }
        // Keys of other tables are triggers in Postgres, on both sides; clients look for references where there are some.
        let snapshot = source.snapshot;
        let is_referred = snapshot.relations.iter().any(|other| {
            let mut references = other.foreign_keys.iter();
            references.any(|reference| {
                reference.schema == relation.schema && reference.relation == relation.name
            })
        });
        let has_triggers = is_referred || !relation.foreign_keys.is_empty();
        table.push(("relhastriggers", Value::from(has_triggers)));
        let checks = i32::try_from(relation.checks.len()).unwrap_or(0);
        table.push(("relchecks", Value::from(checks)));
        table.push(("relispopulated", Value::from(relation.populated)));
        if let Some(entry) = source.entry(relation) {
            let secure = entry.kept().row_security;
            table.push(("relrowsecurity", Value::from(secure)));
            let privileges: &[Privilege] = match relation.kind {
                "S" => &Privilege::OF_SEQUENCES,
                _ => entry.kept().object.privileges(),
            };
            table.push(("relacl", Value::from(entry.list(privileges))));
            table.push(("relowner", Value::from(role_oid(entry.owner()))));
        }
        let indexes = relation.keys.iter().map(|key| {
            class(
                key.oid,
                &key.name,
                schema_oid(&relation.schema),
                "i",
                key.columns.len(),
                persistence,
                false,
            )
        });
        std::iter::once(table).chain(indexes)
    });
    system.chain(own).collect()
}

fn class(
    oid: i32,
    name: &str,
    schema: i32,
    kind: &str,
    columns: usize,
    persistence: &str,
    has_index: bool,
) -> Row {
    // Tables are heaps and indexes b-trees to those who ask.
    let method = match kind {
        "r" | "m" => 2,
        "i" => 403,
        _ => 0,
    };
    let row_type = match kind {
        "i" | "S" => 0,
        _ => row_type_oid(oid),
    };
    row! {
        "oid": oid, "relname": name, "relnamespace": schema, "reltype": row_type, "relowner": OWNER_OID, "relam": method,
        "relfilenode": if kind == "v" || kind == "f" { 0 } else { oid }, "reltuples": -1, "relhasindex": has_index, "relpersistence": persistence, "relkind": kind,
        "relnatts": i32::try_from(columns).unwrap_or(0), "relhasrules": is_view(kind), "relispopulated": true,
        "relreplident": if kind == "r" { "d" } else { "n" }, "relfrozenxid": if kind == "r" { 1 } else { 0 },
        "relminmxid": if kind == "r" { 1 } else { 0 },
    }
}

fn attributes(source: &Source) -> Vec<Row> {
    let snapshot = source.snapshot;
    let mut rows = Vec::new();
    for relation in RELATIONS.values() {
        for (at, column) in relation.columns.iter().enumerate() {
            rows.push(attribute(
                relation.oid,
                at,
                column.name,
                column.kind,
                -1,
                column.required,
                false,
            ));
        }
    }
    for relation in &snapshot.relations {
        let entry = source.entry(relation);
        for (at, column) in relation.columns.iter().enumerate() {
            let mut row = attribute(
                relation.oid,
                at,
                &column.name,
                &column.kind,
                column.modifier,
                !column.nullable,
                column.generated.is_some() || defaults::shown(column).is_some(),
            );
            let identity = column.identity.map(|identity| match identity {
                IdentityKind::Always => "a",
                IdentityKind::ByDefault => "d",
            });
            row.push(("attidentity", Value::from(identity.unwrap_or(""))));
            let generated = column.generated.is_some();
            row.push((
                "attgenerated",
                Value::from(if generated { "s" } else { "" }),
            ));
            let list = entry
                .as_ref()
                .and_then(|entry| entry.grants().list_of_column(entry.owner(), &column.name));
            row.push(("attacl", Value::from(list)));
            if let Some(there) = &column.remote_name {
                let options = vec![format!("column_name={there}")];
                row.push(("attfdwoptions", Value::from(options)));
            }
            rows.push(row);
        }
        if relation.kind == "r" {
            rows.extend(system_attributes(relation.oid));
        }
        for key in &relation.keys {
            let mut expressions = key.expressions.iter();
            for (at, number) in key.columns.iter().enumerate() {
                let column = match number.checked_sub(1) {
                    Some(at) => relation.columns.get(at).map(|column| {
                        let name = column.name.as_str();
                        (name, column.kind.as_str(), column.modifier)
                    }),
                    None => expressions
                        .next()
                        .map(|expression| (name_of_expression(expression), "text", -1)),
                };
                if let Some((name, kind, modifier)) = column {
                    rows.push(attribute(key.oid, at, name, kind, modifier, false, false));
                }
            }
        }
    }
    rows
}

/// What a column of an index is called that is an expression: as the function that it calls.
fn name_of_expression(expression: &str) -> &str {
    match expression.split_once('(') {
        Some((name, _)) if !name.is_empty() => name,
        _ => "expr",
    }
}

fn attribute(
    relation: i32,
    at: usize,
    name: &str,
    kind: &str,
    modifier: i32,
    required: bool,
    has_default: bool,
) -> Row {
    let (length, by_value, align, storage) = physical(kind);
    let collation = collation_of(kind);
    row! {
        "attrelid": relation, "attname": name, "atttypid": attribute_type(kind), "attstattarget": -1, "attlen": length,
        "attnum": i32::try_from(at + 1).unwrap_or(0), "attndims": i32::from(kind.starts_with('_')), "attcacheoff": -1,
        "atttypmod": modifier, "attbyval": by_value, "attalign": align, "attstorage": storage, "attnotnull": required,
        "atthasdef": has_default, "attislocal": true, "attcollation": collation,
    }
}

/// The OID of a column's type. One is of an array of a catalog's rows, which no value here is.
fn attribute_type(kind: &str) -> i32 {
    match kind {
        "_pg_statistic" => 10_028,
        kind => types::oid(kind).cast_signed(),
    }
}

/// The columns that every table has and no `*` shows.
fn system_attributes(relation: i32) -> impl Iterator<Item = Row> {
    const COLUMNS: [(&str, &str); 6] = [
        ("ctid", "tid"),
        ("xmin", "xid"),
        ("cmin", "cid"),
        ("xmax", "xid"),
        ("cmax", "cid"),
        ("tableoid", "oid"),
    ];
    (1..).zip(COLUMNS).map(move |(number, (name, kind))| {
        let mut row = attribute(relation, 0, name, kind, -1, true, false);
        for (column, value) in &mut row {
            match *column {
                "attnum" => *value = Value::from(-number),
                "attstattarget" => *value = Value::from(0),
                _ => {}
            }
        }
        row
    })
}

/// Width, whether it is passed by value, alignment and storage of a type, as Postgres keeps it.
fn physical(kind: &str) -> (i32, bool, &'static str, &'static str) {
    match kind {
        "bool" | "char" => (1, true, "c", "p"),
        "int2" => (2, true, "s", "p"),
        "int4" | "float4" | "date" | "oid" | "xid" | "cid" => (4, true, "i", "p"),
        kind if kind.starts_with("reg") => (4, true, "i", "p"),
        "int8" | "float8" | "timestamp" | "timestamptz" | "time" | "money" => (8, true, "d", "p"),
        "name" => (64, false, "c", "p"),
        "uuid" => (16, false, "c", "p"),
        "interval" => (16, false, "d", "p"),
        "numeric" => (-1, false, "i", "m"),
        _ => (-1, false, "i", "x"),
    }
}

fn numbers(columns: &[usize]) -> Vec<String> {
    columns.iter().map(ToString::to_string).collect()
}

/// The class of operators that a b-tree orders a type by, and the operator that says that two values of it are equal, as
/// PostgreSQL 15 numbers them.
fn order_of(kind: &str) -> (i32, i32) {
    match kind {
        "bool" => (10_003, 91),
        "bytea" => (10_006, 1955),
        "char" => (10_007, 92),
        "name" => (10_028, 93),
        "int8" => (3124, 410),
        "int2" => (1979, 94),
        "int4" => (1978, 96),
        "text" | "varchar" => (3126, 98),
        "bpchar" => (10_004, 1054),
        "oid" => (1981, 607),
        "float4" => (10_012, 620),
        "float8" => (3123, 670),
        "money" => (10_047, 900),
        "inet" | "cidr" => (10_015, 1201),
        "date" => (3122, 1093),
        "time" => (10_038, 1108),
        "timetz" => (10_041, 1550),
        "timestamp" => (3128, 2060),
        "timestamptz" => (3127, 1320),
        "interval" => (10_022, 1330),
        "bit" => (10_002, 1784),
        "varbit" => (10_043, 1804),
        "numeric" => (3125, 1752),
        "uuid" => (10_065, 2972),
        "jsonb" => (10_088, 3240),
        kind if kind.starts_with("reg") => (1981, 607),
        kind if kind.starts_with('_') => (10_000, 1070),
        _ => (10_034, 2988),
    }
}

/// The collation of a type's values; 0 for those that have none.
fn collation_of(kind: &str) -> i32 {
    match kind.trim_start_matches('_') {
        "text" | "varchar" | "bpchar" => DEFAULT_COLLATION_OID,
        "name" => 950,
        _ => 0,
    }
}

fn index(relation: &Relation, key: &Key) -> Row {
    let count = i32::try_from(key.columns.len()).unwrap_or(0);
    let options = (0..key.columns.len()).map(|at| key.order(at).bits().to_string());
    let columns = key.columns.iter();
    let kinds: Vec<&str> = columns.map(|number| kind_of(relation, *number)).collect();
    let classes = kinds.iter().map(|kind| order_of(kind).0.to_string());
    let collations = kinds.iter().map(|kind| collation_of(kind).to_string());
    row! {
        "indexrelid": key.oid, "indrelid": relation.oid, "indnatts": count, "indnkeyatts": count, "indisunique": key.unique,
        "indisprimary": key.primary, "indnullsnotdistinct": key.nulls_same, "indimmediate": true, "indisvalid": true, "indisready": true, "indislive": true,
        "indkey": numbers(&key.columns), "indcollation": collations.collect::<Vec<_>>(), "indclass": classes.collect::<Vec<_>>(), "indoption": options.collect::<Vec<_>>(),
        "indexprs": (!key.expressions.is_empty()).then(|| key.expressions.join(", ")), "indpred": key.predicate.clone(),
    }
}

/// The type of a relation's column of that number, from 1. What is 0 is an expression, whose type nobody looked at.
fn kind_of(relation: &Relation, number: usize) -> &str {
    let Some(at) = number.checked_sub(1) else {
        return "text";
    };
    let column = relation.columns.get(at);
    column.map_or("", |column| column.kind.as_str())
}

/// The relation and the key that a reference refers to.
fn referred_key<'a>(
    snapshot: &'a Snapshot,
    reference: &ForeignKey,
) -> Option<(&'a Relation, &'a Key)> {
    let referred = snapshot.named(&reference.schema, &reference.relation)?;
    let columns = column_numbers(referred, &reference.referred);
    let key = referred.keys.iter().find(|key| key.columns == columns)?;
    Some((referred, key))
}

fn constraints(snapshot: &Snapshot) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in &snapshot.relations {
        let schema = schema_oid(&relation.schema);
        for key in relation.keys.iter().filter(|key| key.constraint) {
            let kind = if key.primary { "p" } else { "u" };
            rows.push(row! {
                "oid": constraint_oid(relation, &key.name), "conname": key.name.as_str(), "connamespace": schema, "contype": kind, "convalidated": true,
                "conrelid": relation.oid, "conindid": key.oid, "confupdtype": " ", "confdeltype": " ", "confmatchtype": " ", "conislocal": true, "connoinherit": true, "conkey": numbers(&key.columns),
            });
        }
        for check in &relation.checks {
            rows.push(row! {
                "oid": constraint_oid(relation, &check.name), "conname": check.name.as_str(), "connamespace": schema, "contype": "c",
                "convalidated": check.validated, "conrelid": relation.oid, "conindid": 0, "confupdtype": " ", "confdeltype": " ", "confmatchtype": " ",
                "conislocal": true, "connoinherit": false, "conkey": numbers(&check.columns), "conbin": check.expression.as_str(),
            });
        }
        for reference in &relation.foreign_keys {
            let referred = snapshot.named(&reference.schema, &reference.relation);
            let referred_numbers = referred
                .map(|referred| column_numbers(referred, &reference.referred))
                .unwrap_or_default();
            let index = referred_key(snapshot, reference).map_or(0, |(_, key)| key.oid);
            let operator = |number: &usize| {
                let kind = referred.map_or("", |referred| kind_of(referred, *number));
                order_of(kind).1.to_string()
            };
            let operators: Vec<String> = referred_numbers.iter().map(operator).collect();
            rows.push(row! {
                "oid": constraint_oid(relation, &reference.name), "conname": reference.name.as_str(), "connamespace": schema, "contype": "f",
                "convalidated": true, "conrelid": relation.oid, "conindid": index, "confrelid": relation_oid(&reference.schema, &reference.relation),
                "confupdtype": reference.on_update.letter(), "confdeltype": reference.on_delete.letter(), "confmatchtype": "s", "conislocal": true, "connoinherit": true,
                "conkey": numbers(&column_numbers(relation, &reference.columns)), "confkey": numbers(&referred_numbers),
                "conpfeqop": operators.clone(), "conppeqop": operators.clone(), "conffeqop": operators,
            });
        }
    }
    rows
}

/// `pg_sequence`
fn sequence(relation: &Relation) -> Option<Row> {
    let kept = relation.sequence.as_ref()?;
    Some(row! {
        "seqrelid": relation.oid, "seqtypid": types::oid(&kept.kind).cast_signed(), "seqstart": kept.start, "seqincrement": kept.increment,
        "seqmax": kept.most, "seqmin": kept.least, "seqcache": kept.cache, "seqcycle": kept.cycle,
    })
}

/// `pg_sequences`
fn sequence_view(relation: &Relation) -> Option<Row> {
    let kept = relation.sequence.as_ref()?;
    Some(row! {
        "schemaname": relation.schema.as_str(), "sequencename": relation.name.as_str(), "sequenceowner": OWNER,
        "data_type": i64::from(types::oid(&kept.kind)), "start_value": kept.start, "min_value": kept.least, "max_value": kept.most,
        "increment_by": kept.increment, "cycle": kept.cycle, "cache_size": kept.cache, "last_value": kept.called.then_some(kept.last),
    })
}

/// The index of a key is there for its constraint, and a sequence for its column. A reference needs what it is made of, and
/// the key that it refers to.
fn dependencies(snapshot: &Snapshot) -> Vec<Row> {
    const PG_CONSTRAINT: i32 = 2606;
    let of = |relation: &Relation| {
        let keys = relation.keys.iter().filter(|key| key.constraint);
        let rows = keys.map(|key| {
            row! {
                "classid": PG_CLASS_OID, "objid": key.oid, "objsubid": 0, "refclassid": PG_CONSTRAINT,
                "refobjid": constraint_oid(relation, &key.name), "refobjsubid": 0, "deptype": "i",
            }
        });
        rows.collect::<Vec<_>>()
    };
    let owned = |relation: &Relation| {
        let (table, at) = snapshot.owner_of(relation.sequence.as_ref()?)?;
        let kind = match table.columns[at].identity {
            Some(_) => "i",
            None => "a",
        };
        Some(row! {
            "classid": PG_CLASS_OID, "objid": relation.oid, "objsubid": 0, "refclassid": PG_CLASS_OID,
            "refobjid": table.oid, "refobjsubid": i32::try_from(at + 1).unwrap_or(0), "deptype": kind,
        })
    };
    // A view depends on what it reads by its rule, which is a part of it.
    let rules = |relation: &Relation| {
        let rule = rule_oid(relation);
        let depends = |oid: i32, kind: &'static str| {
            row! {
                "classid": PG_REWRITE_OID, "objid": rule, "objsubid": 0, "refclassid": PG_CLASS_OID,
                "refobjid": oid, "refobjsubid": 0, "deptype": kind,
            }
        };
        let own = is_view(relation.kind).then(|| depends(relation.oid, "i"));
        let reads = relation.reads.iter();
        let reads = reads.filter(|oid| snapshot.relation(**oid).is_some());
        let rows = own.into_iter().chain(reads.map(|oid| depends(*oid, "n")));
        rows.collect::<Vec<_>>()
    };
    let references = |relation: &Relation| {
        let mut rows: Vec<Row> = Vec::new();
        for reference in &relation.foreign_keys {
            let constraint = constraint_oid(relation, &reference.name);
            let depends = |oid: i32, part: usize, kind: &'static str| {
                row! {
                    "classid": PG_CONSTRAINT, "objid": constraint, "objsubid": 0, "refclassid": PG_CLASS_OID,
                    "refobjid": oid, "refobjsubid": i32::try_from(part).unwrap_or(0), "deptype": kind,
                }
            };
            let own = column_numbers(relation, &reference.columns);
            rows.extend(own.into_iter().map(|at| depends(relation.oid, at, "a")));
            if let Some((referred, key)) = referred_key(snapshot, reference) {
                let theirs = key.columns.iter();
                rows.extend(theirs.map(|at| depends(referred.oid, *at, "n")));
                rows.push(depends(key.oid, 0, "n"));
            }
        }
        rows
    };
    let keys = snapshot.relations.iter().flat_map(of);
    keys.chain(snapshot.relations.iter().flat_map(references))
        .chain(snapshot.relations.iter().filter_map(owned))
        .chain(snapshot.relations.iter().flat_map(rules))
        .collect()
}

/// The OID of a constraint.
pub fn constraint_oid(relation: &Relation, name: &str) -> i32 {
    named_oid(
        "constraint",
        &format!("{}.{}.{name}", relation.schema, relation.name),
        0x2000_0000,
    )
}

fn column_numbers(relation: &Relation, columns: &[String]) -> Vec<usize> {
    let position = |name: &String| {
        relation
            .columns
            .iter()
            .position(|column| column.name == *name)
            .map(|at| at + 1)
    };
    columns.iter().filter_map(position).collect()
}

fn attribute_defaults(snapshot: &Snapshot) -> Vec<Row> {
    let of = |relation: &Relation| -> Vec<Row> {
        let columns = relation.columns.iter().enumerate();
        let with_default = columns.filter_map(|(at, column)| {
            let generated = column.generated.clone();
            Some((at, generated.or_else(|| defaults::shown(column))?))
        });
        with_default
            .map(|(at, default)| {
                let oid = named_oid("default", &format!("{}.{}.{at}", relation.schema, relation.name), 0x2000_0000);
                row! { "oid": oid, "adrelid": relation.oid, "adnum": i32::try_from(at + 1).unwrap_or(0), "adbin": default }
            })
            .collect()
    };
    snapshot.relations.iter().flat_map(of).collect()
}

fn databases() -> Vec<Row> {
    vec![row! {
        "oid": DATABASE_OID, "datname": DATABASE, "datdba": OWNER_OID, "encoding": 6, "datlocprovider": "c", "datistemplate": false,
        "datallowconn": true, "datconnlimit": -1, "datfrozenxid": 1, "datminmxid": 1, "dattablespace": 1663, "datcollate": "C.UTF-8", "datctype": "C.UTF-8",
    }]
}

fn tables(source: &Source) -> Vec<Row> {
    let snapshot = source.snapshot;
    let system = RELATIONS.values().filter(|relation| relation.kind == "r").map(|relation| row! {
        "schemaname": relation.schema, "tablename": relation.name, "tableowner": OWNER, "hasindexes": true, "hasrules": false, "hastriggers": false, "rowsecurity": false,
    });
    let own = snapshot.relations.iter().filter(|relation| relation.kind == "r").map(|relation| row! {
        "schemaname": relation.schema.as_str(), "tablename": relation.name.as_str(), "tableowner": OWNER, "hasindexes": !relation.keys.is_empty(),
        "hasrules": false, "hastriggers": false, "rowsecurity": source.entry(relation).is_some_and(|entry| entry.kept().row_security),
    });
    system.chain(own).collect()
}

fn views(snapshot: &Snapshot, kind: &str) -> Vec<Row> {
    let view = |relation: &Relation| {
        let owner = if kind == "v" {
            "viewowner"
        } else {
            "matviewowner"
        };
        let name = if kind == "v" {
            "viewname"
        } else {
            "matviewname"
        };
        let mut row = row! {
            "schemaname": relation.schema.as_str(), "hasindexes": false, "ispopulated": relation.populated, "definition": definition(relation),
        };
        row.extend([
            (owner, Value::from(OWNER)),
            (name, Value::from(relation.name.as_str())),
        ]);
        row
    };
    snapshot
        .relations
        .iter()
        .filter(|relation| relation.kind == kind)
        .map(view)
        .collect()
}

/// A view's query, as it was written. Those that nobody wrote have one too: pg_dump ends at a view without.
pub fn definition(relation: &Relation) -> Option<String> {
    use datafusion_funnel::definition::text::{identifier, literal};
    let query = match (&relation.definition, relation.schema.as_str()) {
        (Some(query), _) => query.trim().trim_end_matches(';').to_owned(),
        _ if !is_view(relation.kind) => return None,
        (None, JOURNEYS_SCHEMA) => format!("SELECT * FROM journeys({})", literal(&relation.name)),
        (None, FUNNEL_SCHEMA) => {
            format!(
                "SELECT * FROM {FUNNEL_SCHEMA}.{}",
                identifier(&relation.name)
            )
        }
        (None, _) => return None,
    };
    Some(format!(" {query};"))
}

fn indexes(snapshot: &Snapshot) -> Vec<Row> {
    let of = |relation: &Relation| -> Vec<Row> {
        let index = |key: &Key| {
            row! {
                "schemaname": relation.schema.as_str(), "tablename": relation.name.as_str(), "indexname": key.name.as_str(), "indexdef": index_definition(relation, key),
            }
        };
        relation.keys.iter().map(index).collect()
    };
    snapshot.relations.iter().flat_map(of).collect()
}

/// `CREATE UNIQUE INDEX leads_pkey ON public.leads USING btree (lead_id)`
pub fn index_definition(relation: &Relation, key: &Key) -> String {
    use datafusion_funnel::definition::text::identifier;
    let unique = if key.unique { "UNIQUE " } else { "" };
    let nulls = if key.nulls_same {
        " NULLS NOT DISTINCT"
    } else {
        ""
    };
    let columns = key_columns(relation, key).into_iter().enumerate();
    let columns = columns.map(|(at, column)| {
        let order = key.order(at).sql();
        // A call needs no parentheses of its own.
        match column.starts_with('(') {
            true => format!("({column}){order}"),
            false => format!("{column}{order}"),
        }
    });
    let condition = key.predicate.as_ref();
    let condition = condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
    format!(
        "CREATE {unique}INDEX {} ON {}.{} USING btree ({}){nulls}{condition}",
        identifier(&key.name),
        identifier(&relation.schema),
        identifier(&relation.name),
        columns.collect::<Vec<_>>().join(", ")
    )
}

/// The names of a key's columns, in quotes where they need them, and its expressions.
pub fn key_columns(relation: &Relation, key: &Key) -> Vec<String> {
    let mut expressions = key.expressions.iter();
    let name = |number: &usize| match number.checked_sub(1) {
        None => expressions.next().cloned(),
        Some(at) => {
            let column = relation.columns.get(at)?;
            Some(datafusion_funnel::definition::text::identifier(&column.name).to_string())
        }
    };
    key.columns.iter().filter_map(name).collect()
}

fn table_statistics(snapshot: &Snapshot) -> Vec<Row> {
    snapshot
        .relations
        .iter()
        .filter(|relation| relation.kind == "r")
        .map(|relation| row! {
            "relid": relation.oid, "schemaname": relation.schema.as_str(), "relname": relation.name.as_str(), "seq_scan": 0, "n_live_tup": 0, "n_dead_tup": 0,
        })
        .collect()
}

fn time_zones() -> Vec<Row> {
    const ZONES: [&str; 24] = [
        "UTC",
        "Etc/UTC",
        "Africa/Cairo",
        "Africa/Johannesburg",
        "America/Chicago",
        "America/Denver",
        "America/Los_Angeles",
        "America/Mexico_City",
        "America/New_York",
        "America/Sao_Paulo",
        "Asia/Dubai",
        "Asia/Hong_Kong",
        "Asia/Kolkata",
        "Asia/Seoul",
        "Asia/Shanghai",
        "Asia/Singapore",
        "Asia/Taipei",
        "Asia/Tokyo",
        "Australia/Sydney",
        "Europe/Berlin",
        "Europe/London",
        "Europe/Moscow",
        "Europe/Paris",
        "Pacific/Auckland",
    ];
    ZONES
        .iter()
        .map(|zone| row! { "name": *zone, "abbrev": *zone, "is_dst": false })
        .collect()
}

/// A relation's rows are of a type of its name, and so are arrays of them.
fn row_types(relation: &Relation) -> Vec<Row> {
    let oid = row_type_oid(relation.oid);
    vec![row! {
        "oid": oid, "typname": relation.name.as_str(), "typnamespace": schema_oid(&relation.schema), "typowner": OWNER_OID, "typlen": -1,
        "typbyval": false, "typtype": "c", "typcategory": "C", "typispreferred": false, "typisdefined": true, "typdelim": ",",
        "typrelid": relation.oid, "typinput": 2290, "typoutput": 2291, "typreceive": 2402, "typsend": 2403, "typalign": "d", "typstorage": "x", "typtypmod": -1,
    }]
}

fn function(info: &FunctionInfo) -> Row {
    let kind = match info.kind {
        FunctionKind::Aggregate => "a",
        FunctionKind::Window => "w",
        FunctionKind::Scalar | FunctionKind::Table => "f",
    };
    let is_table = info.kind == FunctionKind::Table;
    let result = if is_table {
        RECORD_OID
    } else {
        sql_type_oid(&info.result)
    };
    row! {
        "oid": function_oid(&info.name), "proname": info.name.as_str(), "pronamespace": schema_oid(DEFAULT_SCHEMA), "proowner": OWNER_OID,
        "prolang": INTERNAL_LANGUAGE_OID, "procost": 1, "prorows": if is_table { 1000 } else { 0 }, "prokind": kind, "proretset": is_table,
        // A table function reads tables, so that its answer is good for one statement.
        "provolatile": if is_table { "s" } else { "i" }, "proparallel": "s", "pronargs": argument_count(&info.arguments), "prorettype": result,
        "prosrc": info.name.as_str(),
    }
}

/// The number of arguments in a list as Postgres prints it; commas in brackets are a type's or a default's.
fn argument_count(arguments: &str) -> i32 {
    let mut depth = 0;
    let mut count = i32::from(!arguments.is_empty());
    for character in arguments.chars() {
        match character {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => count += 1,
            _ => {}
        }
    }
    count
}

/// The OID of a type by the name that Postgres prints; 0, which is no type, for one that isn't known.
fn sql_type_oid(name: &str) -> i32 {
    match name.strip_suffix("[]") {
        Some(element) => types::oid(&format!("_{}", types::alias(element))).cast_signed(),
        None => type_oid(name).unwrap_or(0),
    }
}

fn descriptions(source: &Source) -> Vec<Row> {
    let about = |object: i32, class: i32, part: i32, text: &str| row! { "objoid": object, "classoid": class, "objsubid": part, "description": text };
    let mut rows = Vec::new();
    for info in datafusion_funnel::functions() {
        rows.push(about(
            function_oid(&info.name),
            PG_PROC_OID,
            0,
            &info.description,
        ));
    }
    for (oid, comment) in &source.schema_comments {
        rows.push(about(*oid, PG_NAMESPACE_OID, 0, comment));
    }
    rows.push(about(
        PLPGSQL_OID,
        PG_EXTENSION_OID,
        0,
        "PL/pgSQL procedural language",
    ));
    for relation in &source.snapshot.relations {
        if let Some(comment) = &relation.notes.comment {
            rows.push(about(relation.oid, PG_CLASS_OID, 0, comment));
        }
        for (at, column) in relation.columns.iter().enumerate() {
            if let Some(comment) = relation.notes.columns.get(&column.name) {
                rows.push(about(
                    relation.oid,
                    PG_CLASS_OID,
                    i32::try_from(at + 1).unwrap_or(0),
                    comment,
                ));
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_counted_at_the_outermost_commas() {
        assert_eq!(argument_count(""), 0);
        assert_eq!(argument_count("funnel text"), 1);
        assert_eq!(
            argument_count("funnel text, ages bigint[] DEFAULT '{30,60}', rate numeric(18,4)"),
            3
        );
    }
}
