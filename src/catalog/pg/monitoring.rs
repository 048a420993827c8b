//! What monitors of a server ask: sizes, when tables were cleaned up, how far replicas are, and counts of what was done.
//!
//! Nobody counts here, and there is neither a log that replicas read nor anything to clean up: counts are 0 and instants NULL.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, ListBuilder, StringArray, new_null_array,
};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::catalog::CatalogProviderList;
use datafusion::logical_expr::{ScalarUDF, Volatility};
use futures::FutureExt;

use super::functions::{Objects, oids};
use super::properties::key_of;
use super::snapshot::{self, DATABASE_OID};
use crate::engine::{ConnectionInfo, DATABASE};
use crate::error::Fault;
use crate::postgres::binary::log_place;
use crate::postgres::function::{Call, Result, Returns, fault, function, volatile_function};
use crate::postgres::types;
use crate::tables::DurableTable;

/// Sizes of tables on disk.
const TABLE_SIZES: [&str; 3] = [
    "pg_table_size",
    "pg_relation_size",
    "pg_total_relation_size",
];

/// Instants of what never happened.
const INSTANTS: [&str; 8] = [
    "pg_stat_get_last_vacuum_time",
    "pg_stat_get_last_autovacuum_time",
    "pg_stat_get_last_analyze_time",
    "pg_stat_get_last_autoanalyze_time",
    "pg_stat_get_db_stat_reset_time",
    "pg_stat_get_bgwriter_stat_reset_time",
    "pg_last_xact_replay_timestamp",
    "pg_stat_get_db_checksum_last_failure",
];

/// Counts of what nobody counts.
const COUNTS: [&str; 28] = [
    "pg_stat_get_analyze_count",
    "pg_stat_get_autoanalyze_count",
    "pg_stat_get_autovacuum_count",
    "pg_stat_get_blocks_fetched",
    "pg_stat_get_blocks_hit",
    "pg_stat_get_db_blocks_fetched",
    "pg_stat_get_db_blocks_hit",
    "pg_stat_get_db_conflict_all",
    "pg_stat_get_db_deadlocks",
    "pg_stat_get_db_temp_bytes",
    "pg_stat_get_db_temp_files",
    "pg_stat_get_db_tuples_deleted",
    "pg_stat_get_db_tuples_fetched",
    "pg_stat_get_db_tuples_inserted",
    "pg_stat_get_db_tuples_returned",
    "pg_stat_get_db_tuples_updated",
    "pg_stat_get_db_xact_commit",
    "pg_stat_get_db_xact_rollback",
    "pg_stat_get_dead_tuples",
    "pg_stat_get_live_tuples",
    "pg_stat_get_mod_since_analyze",
    "pg_stat_get_tuples_deleted",
    "pg_stat_get_tuples_fetched",
    "pg_stat_get_tuples_hot_updated",
    "pg_stat_get_tuples_inserted",
    "pg_stat_get_tuples_returned",
    "pg_stat_get_tuples_updated",
    "pg_stat_get_vacuum_count",
];

/// How far the log is.
const POSITIONS: [&str; 3] = [
    "pg_current_wal_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_flush_lsn",
];

/// How far a replica has read it, which this server is none of.
const NO_POSITIONS: [&str; 2] = ["pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn"];

/// What transactions see: all before the only one that there is.
const SNAPSHOTS: [&str; 2] = ["txid_current_snapshot", "pg_current_snapshot"];

/// Files of folders that only Postgres has: name, size, when it was changed.
const FOLDERS: [&str; 2] = ["pg_list_pg_ls_waldir", "pg_list_pg_ls_tmpdir"];

/// These functions.
pub fn all(objects: &Arc<Objects>) -> Vec<ScalarUDF> {
    let mut functions = sizes(objects);
    functions.extend(INSTANTS.map(|name| function(name, Returns::Type("timestamptz"), nothing)));
    functions.extend(NO_POSITIONS.map(|name| function(name, Returns::Type("pg_lsn"), nothing)));
    functions.extend(COUNTS.map(|name| {
        function(name, Returns::Type("int8"), |call| {
            Ok(Arc::new(Int64Array::from(vec![0; call.rows])))
        })
    }));
    functions.extend(POSITIONS.map(|name| same(name, "pg_lsn", "0/0")));
    functions.extend(SNAPSHOTS.map(|name| same(name, "text", "1:1:")));
    functions.extend(FOLDERS.map(|name| function(name, Returns::Of(|_, _| Ok(files())), nothing)));
    functions.extend([
        function("pg_list_pg_ls_dir", Returns::Type("_text"), nothing),
        function(
            "pg_wal_lsn_diff",
            Returns::Of(|_, _| {
                let field = Field::new("", DataType::Decimal128(38, 0), true);
                Ok(types::marked_always(field, "numeric"))
            }),
            distance,
        ),
        function("host", Returns::Type("text"), |call| {
            let addresses = call.texts(0)?;
            let host = |text: &str| text.split('/').next().map(str::to_owned);
            Ok(Arc::new(
                addresses
                    .iter()
                    .map(|text| text.and_then(host))
                    .collect::<StringArray>(),
            ))
        }),
        volatile_function(
            "current_query",
            Returns::Type("text"),
            Volatility::Volatile,
            |call| {
                let number = call.asker()?.number();
                let connections = connections(call)?;
                let own = connections.iter().find(|info| info.number == number);
                let query = own.map(|info| info.query.as_str());
                Ok(Arc::new(StringArray::from(vec![query; call.rows])))
            },
        ),
        volatile_function(
            "pg_list_pg_stat_get_backend_idset",
            Returns::Type("_int4"),
            Volatility::Volatile,
            |call| {
                let count = connections(call)?.len();
                let mut lists = ListBuilder::new(Int32Array::builder(count));
                for _ in 0..call.rows {
                    let numbers = (1..=count).filter_map(|number| i32::try_from(number).ok());
                    lists.append_value(numbers.map(Some));
                }
                Ok(Arc::new(lists.finish()))
            },
        ),
        function("pg_stat_get_backend_pid", Returns::Type("int4"), |call| {
            let connections = connections(call)?;
            let pid = |at: i64| {
                let at = usize::try_from(at).ok()?.checked_sub(1)?;
                connections.get(at).map(|info| info.number)
            };
            let places = call.integers(0)?;
            Ok(Arc::new(
                places
                    .iter()
                    .map(|at| at.and_then(pid))
                    .collect::<Int32Array>(),
            ))
        }),
        function("pg_tablespace_location", Returns::Type("text"), |call| {
            let given = call.texts(0)?;
            let own = given.iter().map(|space| space.map(|_| ""));
            Ok(Arc::new(own.collect::<StringArray>()))
        }),
    ]);
    functions
}

fn sizes(objects: &Arc<Objects>) -> Vec<ScalarUDF> {
    let mut functions: Vec<ScalarUDF> = Vec::new();
    for name in TABLE_SIZES {
        let objects = Arc::clone(objects);
        functions.push(function(name, Returns::Type("int8"), move |call| {
            table_sizes(call, &objects)
        }));
    }
    functions.push(function(
        "pg_database_size",
        Returns::Type("int8"),
        database_sizes,
    ));
    functions
}

fn nothing(call: &Call) -> Result<ArrayRef> {
    Ok(new_null_array(call.returns.data_type(), call.rows))
}

fn same(name: &str, kind: &'static str, value: &'static str) -> ScalarUDF {
    function(name, Returns::Type(kind), move |call| {
        Ok(Arc::new(StringArray::from(vec![value; call.rows])))
    })
}

fn files() -> Field {
    let columns = vec![
        types::field("name", "text"),
        types::field("size", "int8"),
        types::field("modification", "timestamptz"),
    ];
    let list = types::list_of(DataType::Struct(columns.into()));
    Field::new("", list, true)
}

fn connections(call: &Call) -> Result<Vec<ConnectionInfo>> {
    let activity = call.asker()?.activity();
    Ok(activity
        .map(|activity| activity.connections())
        .unwrap_or_default())
}

/// What the files of durable tables take; 0 for other relations, and for indexes, which are no files of their own.
fn table_sizes(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    let catalogs = call.asker()?.catalogs();
    let names = snapshot::by_oid(catalogs);
    let keys = objects.snapshot(call)?;
    let size = |oid: i32| match names.get(&oid) {
        Some((schema, name)) => bytes_of(catalogs, schema, name),
        None => key_of(&keys, oid).map(|_| 0),
    };
    let oids = oids(call, 0, "regclass")?;
    let sizes = oids.iter().map(|oid| oid.and_then(size));
    Ok(Arc::new(sizes.collect::<Int64Array>()))
}

fn bytes_of(catalogs: &Arc<dyn CatalogProviderList>, schema: &str, name: &str) -> Option<i64> {
    let schema = catalogs.catalog(DATABASE)?.schema(schema)?;
    // Tables are in memory: nobody waits for one.
    let table = schema.table(name).now_or_never()?.ok()??;
    let table = crate::catalog::unguarded(table);
    let bytes = table
        .downcast_ref::<DurableTable>()
        .map(DurableTable::bytes);
    i64::try_from(bytes.unwrap_or(0)).ok()
}

/// What the tables take together that the session sees.
fn database_sizes(call: &Call) -> Result<ArrayRef> {
    let catalogs = call.asker()?.catalogs();
    let names = snapshot::names(catalogs);
    let tables = names.iter().flat_map(|(schema, relations)| {
        let sizes = relations.iter();
        sizes.filter_map(move |name| bytes_of(catalogs, schema, name))
    });
    let size: i64 = tables.sum();
    let given = call.texts(0)?;
    let own = DATABASE_OID.to_string();
    let size_of = |database: &str| match database {
        database if database == DATABASE || database == own => Ok(Some(size)),
        oid if oid.parse::<i64>().is_ok() => Ok(None),
        name => fault(
            Fault::UndefinedObject,
            format!("database \"{name}\" does not exist"),
        ),
    };
    let sizes = given.iter().map(|database| match database {
        Some(database) => size_of(database),
        None => Ok(None),
    });
    Ok(Arc::new(sizes.collect::<Result<Int64Array>>()?))
}

/// `pg_wal_lsn_diff(a, b)`: the bytes between two places of a log.
fn distance(call: &Call) -> Result<ArrayRef> {
    let (ends, starts) = (call.texts(0)?, call.texts(1)?);
    let mut distances: Vec<Option<i128>> = Vec::with_capacity(call.rows);
    for (end, start) in ends.iter().zip(starts.iter()) {
        distances.push(match (end, start) {
            (Some(end), Some(start)) => Some(place(end)? - place(start)?),
            _ => None,
        });
    }
    let distances = Decimal128Array::from(distances);
    Ok(Arc::new(distances.with_precision_and_scale(38, 0)?))
}

/// `16/B374D848` as a number.
fn place(text: &str) -> Result<i128> {
    match log_place(text) {
        Some(place) => Ok(i128::from(place)),
        None => fault(
            Fault::InvalidText,
            format!("invalid input syntax for type pg_lsn: \"{text}\""),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_of_a_log_are_two_halves() {
        // PostgreSQL 15.18: select pg_wal_lsn_diff('16/B374D848', '0/0')
        assert_eq!(place("16/B374D848").unwrap(), 97_500_059_720);
        assert!(place("16").is_err());
    }
}
