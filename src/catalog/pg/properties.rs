//! What relations and indexes can do: `pg_relation_is_updatable`, `pg_index_column_has_property` and their like.
//!
//! Every index here is what Postgres would call a b-tree in ascending order.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Int32Array};
use datafusion::logical_expr::ScalarUDF;

use super::dictionary::RELATIONS;
use super::functions::{Objects, oids};
use super::snapshot::{Key, Relation, Snapshot};
use crate::postgres::function::{Call, Result, Returns, function};

/// The bits of UPDATE, INSERT and DELETE.
const ALL_CHANGES: i32 = (1 << 2) | (1 << 3) | (1 << 4);

/// What each access method can: its OID, and whether it knows an order, keys, several columns, exclusion and further columns.
const METHODS: [(i32, [bool; 5]); 6] = [
    (403, [true; 5]),
    (405, [false, false, false, true, false]),
    (783, [false, false, true, true, true]),
    (2742, [false, false, true, false, false]),
    (3580, [false, false, true, false, false]),
    (4000, [false, false, false, true, true]),
];

/// These functions.
pub fn all(objects: &Arc<Objects>) -> Vec<ScalarUDF> {
    let with = |answer: fn(&Call, &Objects) -> Result<ArrayRef>| {
        let objects = Arc::clone(objects);
        move |call: &Call| answer(call, &objects)
    };
    let boolean = Returns::Type("bool");
    vec![
        function(
            "pg_relation_is_updatable",
            Returns::Type("int4"),
            with(changes),
        ),
        function("pg_column_is_updatable", boolean, with(is_column_updatable)),
        function(
            "pg_relation_filenode",
            Returns::Type("oid"),
            with(file_nodes),
        ),
        function(
            "pg_index_column_has_property",
            boolean,
            with(index_column_has),
        ),
        function("pg_index_has_property", boolean, with(index_has)),
        function("pg_indexam_has_property", boolean, method_has),
    ]
}

/// The key whose index has that OID, and its relation.
pub fn key_of(snapshot: &Snapshot, index: i32) -> Option<(&Relation, &Key)> {
    snapshot.relations.iter().find_map(|relation| {
        let key = relation.keys.iter().find(|key| key.oid == index)?;
        Some((relation, key))
    })
}

/// A view is never changed here, and no catalog is.
fn is_table(snapshot: &Snapshot, oid: i32) -> bool {
    let relation = snapshot.relation(oid);
    relation.is_some_and(|relation| relation.kind == "r")
}

/// `pg_relation_is_updatable(relation, with_triggers)`
fn changes(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    let snapshot = objects.snapshot(call)?;
    let oids = oids(call, 0, "regclass")?;
    let changes = |oid: i32| match is_table(&snapshot, oid) {
        true => ALL_CHANGES,
        false => 0,
    };
    Ok(Arc::new(
        oids.iter()
            .map(|oid| oid.map(changes))
            .collect::<Int32Array>(),
    ))
}

/// `pg_column_is_updatable(relation, column, with_triggers)`; system columns, which have numbers below 1, never are.
fn is_column_updatable(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    let snapshot = objects.snapshot(call)?;
    let oids = oids(call, 0, "regclass")?;
    let numbers = call.integers(1)?;
    let answers = oids.iter().zip(numbers.iter());
    Ok(Arc::new(
        answers
            .map(|(oid, number)| Some(number? > 0 && is_table(&snapshot, oid?)))
            .collect::<BooleanArray>(),
    ))
}

/// The same as `pg_class.relfilenode`.
fn file_nodes(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    let snapshot = objects.snapshot(call)?;
    let oids = oids(call, 0, "regclass")?;
    let node = |oid: i32| {
        let kind = match snapshot.relation(oid) {
            Some(relation) => relation.kind,
            None if key_of(&snapshot, oid).is_some() => "i",
            None => RELATIONS.values().find(|known| known.oid == oid)?.kind,
        };
        (kind != "v" && kind != "f").then_some(oid)
    };
    Ok(Arc::new(
        oids.iter()
            .map(|oid| oid.and_then(node))
            .collect::<Int32Array>(),
    ))
}

/// `pg_index_column_has_property(index, column, property)`
fn index_column_has(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    let snapshot = objects.snapshot(call)?;
    let oids = oids(call, 0, "regclass")?;
    let (numbers, properties) = (call.integers(1)?, call.texts(2)?);
    let answer = |row: usize| {
        let index = oids.is_valid(row).then(|| oids.value(row))?;
        let number = numbers.is_valid(row).then(|| numbers.value(row))?;
        let property = properties.is_valid(row).then(|| properties.value(row))?;
        let (_, key) = key_of(&snapshot, index)?;
        let number = usize::try_from(number).ok()?;
        (1..=key.columns.len()).contains(&number).then_some(())?;
        let order = key.order(number - 1);
        match property.to_lowercase().as_str() {
            "asc" => Some(!order.descending),
            "desc" => Some(order.descending),
            "nulls_first" => Some(order.nulls_first),
            "nulls_last" => Some(!order.nulls_first),
            "orderable" | "returnable" | "search_array" | "search_nulls" => Some(true),
            "distance_orderable" => Some(false),
            _ => None,
        }
    };
    Ok(Arc::new(
        (0..call.rows).map(answer).collect::<BooleanArray>(),
    ))
}

/// `pg_index_has_property(index, property)`
fn index_has(call: &Call, objects: &Objects) -> Result<ArrayRef> {
    const HAS: [&str; 4] = ["clusterable", "index_scan", "bitmap_scan", "backward_scan"];
    let snapshot = objects.snapshot(call)?;
    let oids = oids(call, 0, "regclass")?;
    let properties = call.texts(1)?;
    let answer = |(index, property): (Option<i32>, Option<&str>)| {
        key_of(&snapshot, index?)?;
        HAS.contains(&property?.to_lowercase().as_str())
            .then_some(true)
    };
    Ok(Arc::new(
        oids.iter()
            .zip(properties.iter())
            .map(answer)
            .collect::<BooleanArray>(),
    ))
}

/// `pg_indexam_has_property(method, property)`
fn method_has(call: &Call) -> Result<ArrayRef> {
    let (methods, properties) = (call.integers(0)?, call.texts(1)?);
    let answer = |(method, property): (Option<i64>, Option<&str>)| {
        let method = method?;
        let (_, can) = METHODS.iter().find(|(oid, _)| i64::from(*oid) == method)?;
        let at = match property?.to_lowercase().as_str() {
            "can_order" => 0,
            "can_unique" => 1,
            "can_multi_col" => 2,
            "can_exclude" => 3,
            "can_include" => 4,
            _ => return None,
        };
        Some(can[at])
    };
    Ok(Arc::new(
        methods
            .iter()
            .zip(properties.iter())
            .map(answer)
            .collect::<BooleanArray>(),
    ))
}
