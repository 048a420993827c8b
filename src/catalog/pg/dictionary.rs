//! Which relations and columns Postgres' catalogs have, and of which types.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};

use crate::postgres::types;

/// `pg_catalog`, `information_schema`
pub const SCHEMAS: [&str; 2] = ["pg_catalog", "information_schema"];

/// A relation of a catalog.
#[derive(Debug)]
pub struct SystemRelation {
    /// Its schema.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its OID in PostgreSQL 15.
    pub oid: i32,
    /// `r` for a table, `v` for a view.
    pub kind: &'static str,
    /// Its columns; one that is never NULL is marked so.
    pub columns: Vec<SystemColumn>,
}

/// A column of a catalog.
#[derive(Debug)]
pub struct SystemColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type's name.
    pub kind: &'static str,
    /// It is never NULL.
    pub required: bool,
}

impl SystemRelation {
    /// Its columns as DataFusion reads them.
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| types::field(column.name, column.kind))
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// The relations by schema and name.
pub static RELATIONS: LazyLock<BTreeMap<(&'static str, &'static str), SystemRelation>> =
    LazyLock::new(|| {
        include_str!("dictionary.txt")
            .lines()
            .filter_map(relation)
            .map(|relation| ((relation.schema, relation.name), relation))
            .collect()
    });

fn relation(line: &'static str) -> Option<SystemRelation> {
    let mut parts = line.split('|');
    let (name, oid, kind, columns) = (
        parts.next()?,
        parts.next()?.parse().ok()?,
        parts.next()?,
        parts.next()?,
    );
    let (schema, name) = match name.strip_prefix("information_schema.") {
        Some(name) => (SCHEMAS[1], name),
        None => (SCHEMAS[0], name),
    };
    let column = |text: &'static str| {
        let (name, kind) = text.split_once(':')?;
        let required = kind.ends_with('!');
        Some(SystemColumn {
            name,
            kind: kind.trim_end_matches('!'),
            required,
        })
    };
    Some(SystemRelation {
        schema,
        name,
        oid,
        kind,
        columns: columns.split(' ').filter_map(column).collect(),
    })
}

/// The relation of that name in `pg_catalog`.
pub fn find(schema: &str, name: &str) -> Option<&'static SystemRelation> {
    RELATIONS
        .values()
        .find(|relation| relation.schema == schema && relation.name == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_relation() {
        let lines = include_str!("dictionary.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count();
        assert_eq!(RELATIONS.len(), lines);
        let class = find("pg_catalog", "pg_class").unwrap();
        assert_eq!(
            (class.oid, class.columns[1].name, class.columns[1].kind),
            (1259, "relname", "name")
        );
        for relation in RELATIONS.values() {
            for column in &relation.columns {
                assert!(
                    types::arrow_type(column.kind).is_some() || column.kind.starts_with('_'),
                    "{}: {}",
                    column.name,
                    column.kind
                );
            }
        }
    }
}
