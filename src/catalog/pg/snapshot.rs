//! What exists: schemas, relations with their columns, and what was said about them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::{CatalogProviderList, TableProvider};
use datafusion::common::{Constraint, Constraints, TableReference};
use datafusion::logical_expr::TableType;
use futures::FutureExt;

use super::super::annotations::{Annotations, ForeignKey, KeyOrder, RelationNotes};
use super::super::guard::unguarded;
use super::super::materialized::MaterializedView;
use super::super::views::{Depth, read_by};
use super::dictionary::{RELATIONS, SCHEMAS};
use crate::engine::{DATABASE, DEFAULT_SCHEMA};
use crate::federation::{ForeignTable, Place};
use crate::postgres::types;
use crate::tables::{
    DurableTable, IdentityKind, SequenceDefinition, SequenceRelation, Shape, columns_of_expression,
};

/// The OID of the database.
pub const DATABASE_OID: i32 = 16_384;
/// The OID of `pg_catalog`.
pub const PG_CATALOG_OID: i32 = 11;
/// The OID of `information_schema`, which the rows of `pg_type` name.
pub const INFORMATION_SCHEMA_OID: i32 = 13_283;
/// The OID of `public`.
pub const PUBLIC_OID: i32 = 2200;

/// A relation that somebody made.
#[derive(Debug)]
pub struct Relation {
    /// Its OID.
    pub oid: i32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// `r` for a table, `S` for a sequence, `f` for a foreign table, `v` for a view, `m` for a materialized one.
    pub kind: &'static str,
    /// How many rows it has, where that is known.
    pub rows: Option<usize>,
    /// Which table of which server a foreign one is.
    pub foreign: Option<Place>,
    /// What a sequence hands out.
    pub sequence: Option<SequenceDefinition>,
    /// A durable table's own name for itself.
    pub id: Option<String>,
    /// It goes with its session.
    pub temporary: bool,
    /// It can be read: a materialized view has rows.
    pub populated: bool,
    /// Its columns.
    pub columns: Vec<Column>,
    /// What a view was defined as.
    pub definition: Option<String>,
    /// The relations that a view reads, by their OIDs.
    pub reads: Vec<i32>,
    /// Its keys.
    pub keys: Vec<Key>,
    /// What no row may violate.
    pub checks: Vec<Check>,
    /// What it refers to.
    pub foreign_keys: Vec<ForeignKey>,
    /// What was said about it.
    pub notes: RelationNotes,
}

/// A column of a relation.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type's name in `pg_type`.
    pub kind: String,
    /// The type's modifier; -1 for none.
    pub modifier: i32,
    /// It can be NULL.
    pub nullable: bool,
    /// What it is where nothing is given.
    pub default: Option<String>,
    /// What the files of a durable table call it.
    pub stored_as: Option<String>,
    /// It is an identity, and which.
    pub identity: Option<IdentityKind>,
    /// The expression that it always is.
    pub generated: Option<String>,
    /// What it is called in a foreign table's own database, where that is another name.
    pub remote_name: Option<String>,
}

/// A key of a relation, which in Postgres is an index too.
#[derive(Debug)]
pub struct Key {
    /// Its name, the index's and the constraint's.
    pub name: String,
    /// The index's OID.
    pub oid: i32,
    /// The numbers of its columns, from 1; 0 for an expression.
    pub columns: Vec<usize>,
    /// It is the primary one.
    pub primary: bool,
    /// No two rows have the same.
    pub unique: bool,
    /// It is a constraint, and not only an index.
    pub constraint: bool,
    /// NULL is a value as any other.
    pub nulls_same: bool,
    /// How each column is sorted; nothing where all are as a column is where nothing is said.
    pub orders: Vec<KeyOrder>,
    /// Its expressions, in their order.
    pub expressions: Vec<String>,
    /// The condition of the rows that it is about.
    pub predicate: Option<String>,
}

impl Key {
    /// How the column at that place is sorted.
    pub fn order(&self, at: usize) -> KeyOrder {
        self.orders.get(at).copied().unwrap_or_default()
    }
}

/// A condition that is false for no row.
#[derive(Debug)]
pub struct Check {
    /// The constraint's name.
    pub name: String,
    /// The condition.
    pub expression: String,
    /// The numbers of the columns that it names, from 1.
    pub columns: Vec<usize>,
    /// Every row was looked at.
    pub validated: bool,
}

/// Schemas and relations at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Schemas that somebody made, and `public`: name and OID.
    pub schemas: Vec<(String, i32)>,
    /// Their relations.
    pub relations: Vec<Relation>,
}

/// An OID that is made of an object's name, so that it is the same after a restart: from `low` on, in a range of its own.
pub fn named_oid(kind: &str, name: &str, low: i32) -> i32 {
    // FNV-1a
    let hash = kind
        .bytes()
        .chain([0])
        .chain(name.bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    low + (hash & 0x0fff_ffff).cast_signed()
}

/// The OID of a relation somebody made.
pub fn relation_oid(schema: &str, name: &str) -> i32 {
    named_oid("relation", &format!("{schema}.{name}"), 0x1000_0000)
}

/// The OID of a schema.
pub fn schema_oid(name: &str) -> i32 {
    match name {
        "pg_catalog" => PG_CATALOG_OID,
        "information_schema" => INFORMATION_SCHEMA_OID,
        DEFAULT_SCHEMA => PUBLIC_OID,
        "pg_toast" => 99,
        name => named_oid("schema", name, 0x2000_0000),
    }
}

/// The OID of the type of a relation's rows.
pub fn row_type_oid(relation: i32) -> i32 {
    relation + 0x2000_0000
}

/// Schemas and the names of their relations, which are known without looking at any.
pub fn names(catalogs: &Arc<dyn CatalogProviderList>) -> Vec<(String, Vec<String>)> {
    let Some(database) = catalogs.catalog(DATABASE) else {
        return Vec::new();
    };
    let mut names: Vec<(String, Vec<String>)> = database
        .schema_names()
        .into_iter()
        .filter(|name| !SCHEMAS.contains(&name.as_str()))
        .filter_map(|name| {
            let mut relations = database.schema(&name)?.table_names();
            relations.sort();
            Some((name, relations))
        })
        .collect();
    names.sort();
    names
}

impl Snapshot {
    /// What exists now.
    pub fn of(catalogs: &Arc<dyn CatalogProviderList>, annotations: &Annotations) -> Self {
        let mut snapshot = Self::default();
        let Some(database) = catalogs.catalog(DATABASE) else {
            return snapshot;
        };
        for (schema, relations) in names(catalogs) {
            let oid = schema_oid(&schema);
            for name in relations {
                // The tables are in memory: nobody waits for one.
                let table = database
                    .schema(&schema)
                    .and_then(|provider| provider.table(&name).now_or_never()?.ok()?);
                if let Some(table) = table {
                    let notes = annotations.of(&schema, &name);
                    snapshot
                        .relations
                        .push(relation(&schema, name, &table, notes));
                }
            }
            snapshot.schemas.push((schema, oid));
        }
        snapshot.refer_to_primary_keys();
        snapshot
    }

    /// Names the columns that references refer to by naming none.
    fn refer_to_primary_keys(&mut self) {
        let mut found = Vec::new();
        for (at, relation) in self.relations.iter().enumerate() {
            for (number, reference) in relation.foreign_keys.iter().enumerate() {
                if reference.referred.is_empty() {
                    let columns = self.primary_key(&reference.schema, &reference.relation);
                    // Where there is no key, they are called the same, for all that is known.
                    found.push((
                        at,
                        number,
                        columns.unwrap_or_else(|| reference.columns.clone()),
                    ));
                }
            }
        }
        for (at, number, columns) in found {
            self.relations[at].foreign_keys[number].referred = columns;
        }
    }

    /// The names of a relation's primary key's columns.
    fn primary_key(&self, schema: &str, name: &str) -> Option<Vec<String>> {
        let relation = self.named(schema, name)?;
        let key = relation.keys.iter().find(|key| key.primary)?;
        let name = |number: &usize| {
            let column = relation.columns.get(number.checked_sub(1)?)?;
            Some(column.name.clone())
        };
        key.columns.iter().map(name).collect()
    }

    /// The relation of that OID.
    pub fn relation(&self, oid: i32) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.oid == oid)
    }

    /// The column that a sequence goes with: its relation, and its place.
    pub fn owner_of(&self, sequence: &SequenceDefinition) -> Option<(&Relation, usize)> {
        let owner = sequence.owner.as_ref()?;
        let mut relations = self.relations.iter();
        let relation = relations.find(|relation| relation.id.as_ref() == Some(&owner.table))?;
        let mut columns = relation.columns.iter();
        let at = columns.position(|column| column.stored_as.as_ref() == Some(&owner.column))?;
        Some((relation, at))
    }

    /// The sequence of a column.
    pub fn sequence_of(&self, relation: &Relation, column: &Column) -> Option<&Relation> {
        self.relations.iter().find(|other| {
            let owner = other.sequence.as_ref().and_then(|kept| kept.owner.as_ref());
            owner.is_some_and(|owner| {
                Some(&owner.table) == relation.id.as_ref()
                    && Some(&owner.column) == column.stored_as.as_ref()
            })
        })
    }

    /// The relation of that name.
    pub fn named(&self, schema: &str, name: &str) -> Option<&Relation> {
        self.relations
            .iter()
            .find(|relation| relation.schema == schema && relation.name == name)
    }
}

fn relation(
    schema: &str,
    name: String,
    table: &Arc<dyn TableProvider>,
    notes: RelationNotes,
) -> Relation {
    let oid = relation_oid(schema, &name);
    let fields = table.schema();
    let origin = unguarded(Arc::clone(table));
    let foreign = origin.downcast_ref::<ForeignTable>();
    let view = origin.downcast_ref::<MaterializedView>();
    let durable = origin.downcast_ref::<DurableTable>();
    let shape = durable.map(DurableTable::shape);
    let known = |name: &str| {
        let shape = shape.as_ref()?;
        let mut columns = shape.definition.columns.iter();
        columns.find(|column| column.name == name)
    };
    let columns: Vec<Column> = fields
        .fields()
        .iter()
        .map(|field| Column {
            name: field.name().clone(),
            kind: types::type_of(field),
            modifier: types::modifier(field),
            // Nothing is known of a view's columns, in Postgres' eyes.
            nullable: field.is_nullable() || table.table_type() == TableType::View,
            default: notes.defaults.get(field.name()).cloned(),
            stored_as: known(field.name()).map(|column| column.stored_as.clone()),
            identity: known(field.name()).and_then(|column| column.identity),
            generated: known(field.name()).and_then(|column| column.generated.clone()),
            remote_name: foreign.and_then(|foreign| {
                let mut columns = foreign.columns().iter();
                let there = columns.find(|known| known.field.name() == field.name())?;
                (there.remote_name != *field.name()).then(|| there.remote_name.clone())
            }),
        })
        .collect();
    let mut keys = match &shape {
        Some(shape) => durable_keys(schema, shape),
        None => table
            .constraints()
            .map(|constraints| keys(schema, &name, constraints))
            .unwrap_or_default(),
    };
    let position = |column: &String| {
        columns
            .iter()
            .position(|known| known.name == *column)
            .map(|at| at + 1)
    };
    for key in &notes.keys {
        let numbers = key.columns.iter().enumerate();
        let numbers = numbers.filter_map(|(at, column)| match key.expression(at) {
            Some(_) => Some(0),
            None => position(column),
        });
        keys.push(Key {
            name: key.name.clone(),
            oid: named_oid("index", &format!("{schema}.{}", key.name), 0x1000_0000),
            columns: numbers.collect(),
            primary: key.primary,
            unique: key.unique,
            constraint: key.constraint,
            nulls_same: false,
            orders: key.orders.clone(),
            expressions: key.expressions.iter().flatten().cloned().collect(),
            predicate: key.predicate.clone(),
        });
    }
    let checks = shape.iter().flat_map(|shape| &shape.definition.checks);
    let checks = checks.map(|check| Check {
        name: check.name.clone(),
        expression: check.expression.clone(),
        columns: columns_of_expression(&check.expression)
            .iter()
            .filter_map(position)
            .collect(),
        validated: !check.not_valid,
    });
    let checks = checks.collect();
    let sequence = origin.downcast_ref::<SequenceRelation>();
    let sequence = sequence.map(SequenceRelation::definition);
    let kind = match table.table_type() {
        _ if sequence.is_some() => "S",
        TableType::View if notes.materialized => "m",
        TableType::View => "v",
        _ if notes.materialized => "m",
        _ if view.is_some() => "m",
        _ if foreign.is_some() => "f",
        _ => "r",
    };
    let definition = notes
        .definition
        .clone()
        .or_else(|| table.get_table_definition().map(view_query));
    Relation {
        oid,
        schema: schema.to_owned(),
        name,
        kind,
        rows: table
            .statistics()
            .and_then(|known| known.num_rows.get_value().copied()),
        sequence,
        id: shape.as_ref().map(|shape| shape.definition.id.clone()),
        foreign: foreign.map(|foreign| foreign.place().clone()),
        temporary: schema.starts_with("pg_temp"),
        populated: view.is_none_or(|view| view.current().is_some()),
        columns,
        definition,
        reads: match kind {
            "v" => {
                let reads = read_by(origin.as_ref(), Depth::Named);
                let oid = |name: &TableReference| {
                    relation_oid(name.schema().unwrap_or(DEFAULT_SCHEMA), name.table())
                };
                let mut reads: Vec<i32> = reads.iter().map(oid).collect();
                reads.sort_unstable();
                reads.dedup();
                reads
            }
            _ => Vec::new(),
        },
        keys,
        checks,
        foreign_keys: notes.foreign_keys.clone(),
        notes,
    }
}

/// What stands behind the first AS.
fn view_query(definition: &str) -> String {
    let lower = definition.to_lowercase();
    match lower.find(" as ") {
        Some(at) if lower.starts_with("create") => definition[at + 4..].to_owned(),
        _ => definition.to_owned(),
    }
}

/// The keys of a durable table.
fn durable_keys(schema: &str, shape: &Shape) -> Vec<Key> {
    let orders = |name: &str| {
        let mut unique = shape.definition.unique.iter();
        let unique = unique.find(|unique| unique.name == name);
        unique.map_or_else(Vec::new, |unique| unique.orders.clone())
    };
    let keys = shape.keys().into_iter().map(|key| Key {
        orders: orders(&key.name),
        oid: named_oid("index", &format!("{schema}.{}", key.name), 0x1000_0000),
        name: key.name,
        columns: key.columns.iter().map(|at| at + 1).collect(),
        primary: key.primary,
        unique: true,
        constraint: !key.index,
        nulls_same: key.nulls_same,
        expressions: Vec::new(),
        predicate: None,
    });
    keys.collect()
}

fn keys(schema: &str, relation: &str, constraints: &Constraints) -> Vec<Key> {
    let mut count = 0;
    let key = |constraint: &Constraint| {
        let (columns, primary) = match constraint {
            Constraint::PrimaryKey(columns) => (columns, true),
            Constraint::Unique(columns) => (columns, false),
        };
        count += usize::from(!primary);
        let name = match (primary, count) {
            (true, _) => format!("{relation}_pkey"),
            (false, 1) => format!("{relation}_key"),
            (false, count) => format!("{relation}_key{count}"),
        };
        Key {
            oid: named_oid("index", &format!("{schema}.{name}"), 0x1000_0000),
            name,
            columns: columns.iter().map(|at| at + 1).collect(),
            primary,
            unique: true,
            constraint: true,
            nulls_same: false,
            orders: Vec::new(),
            expressions: Vec::new(),
            predicate: None,
        }
    };
    constraints.iter().map(key).collect()
}

/// System relations and those that somebody made, by OID: schema and name.
pub fn by_oid(catalogs: &Arc<dyn CatalogProviderList>) -> HashMap<i32, (String, String)> {
    let system = RELATIONS.values().map(|relation| {
        (
            relation.oid,
            (relation.schema.to_owned(), relation.name.to_owned()),
        )
    });
    let own = names(catalogs).into_iter().flat_map(|(schema, relations)| {
        relations
            .into_iter()
            .map(move |name| (relation_oid(&schema, &name), (schema.clone(), name)))
    });
    system.chain(own).collect()
}
