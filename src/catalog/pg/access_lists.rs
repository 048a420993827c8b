//! `acldefault` and `makeaclitem`: what an object's owner and everybody have before anything is granted, and one entry of a list.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListBuilder, StringArray, StringBuilder};
use datafusion::logical_expr::ScalarUDF;

use super::names::CatalogNames;
use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};

/// Kinds of objects, what everybody has on one of them, and what its owner has, as PostgreSQL 15 has it.
const DEFAULTS: [(&str, &str, &str); 13] = [
    ("c", "", ""),
    ("d", "Tc", "CTc"),
    ("f", "X", "X"),
    ("F", "", "U"),
    ("l", "U", "U"),
    ("L", "", "rw"),
    ("n", "", "UC"),
    ("p", "", "sA"),
    ("r", "", "arwdDxt"),
    ("s", "", "rwU"),
    ("S", "", "U"),
    ("t", "", "C"),
    ("T", "U", "U"),
];

/// Privileges and their letters.
const LETTERS: [(&str, &str); 15] = [
    ("INSERT", "a"),
    ("SELECT", "r"),
    ("UPDATE", "w"),
    ("DELETE", "d"),
    ("TRUNCATE", "D"),
    ("REFERENCES", "x"),
    ("TRIGGER", "t"),
    ("EXECUTE", "X"),
    ("USAGE", "U"),
    ("CREATE", "C"),
    ("TEMP", "T"),
    ("TEMPORARY", "T"),
    ("CONNECT", "c"),
    ("SET", "s"),
    ("ALTER SYSTEM", "A"),
];

/// These functions.
pub fn all() -> Vec<ScalarUDF> {
    vec![
        function("acldefault", Returns::Type("_aclitem"), defaults),
        function("makeaclitem", Returns::Type("aclitem"), item),
    ]
}

/// `acldefault(kind, owner)`
fn defaults(call: &Call) -> Result<ArrayRef> {
    let names = call.asker()?.names();
    let (kinds, owners) = (call.texts(0)?, call.integers(1)?);
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..call.rows {
        if kinds.is_null(row) || owners.is_null(row) {
            lists.append_null();
            continue;
        }
        let kind = kinds.value(row);
        let Some((_, everybody, own)) = DEFAULTS.iter().find(|(known, ..)| *known == kind) else {
            return fault(
                Fault::InvalidArgument,
                format!("unrecognized objtype abbreviation: {kind}"),
            );
        };
        let owner = role(names, owners.value(row));
        let items = [("", everybody), (owner.as_str(), own)];
        let items = items.into_iter().filter(|(_, letters)| !letters.is_empty());
        lists.append_value(items.map(|(role, letters)| Some(format!("{role}={letters}/{owner}"))));
    }
    Ok(Arc::new(lists.finish()))
}

/// `makeaclitem(grantee, grantor, privilege, is_grantable)`
fn item(call: &Call) -> Result<ArrayRef> {
    let names = call.asker()?.names();
    let (grantees, grantors) = (call.integers(0)?, call.integers(1)?);
    let (privileges, grantable) = (call.texts(2)?, call.texts(3)?);
    let mut items: Vec<Option<String>> = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let given = grantees.is_valid(row)
            && grantors.is_valid(row)
            && privileges.is_valid(row)
            && grantable.is_valid(row);
        if !given {
            items.push(None);
            continue;
        }
        let privilege = privileges.value(row);
        let letter = LETTERS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(privilege));
        let Some((_, letter)) = letter else {
            return fault(
                Fault::InvalidArgument,
                format!("unrecognized privilege type: \"{privilege}\""),
            );
        };
        let star = if grantable.value(row) == "t" { "*" } else { "" };
        let grantee = role(names, grantees.value(row));
        let grantor = role(names, grantors.value(row));
        items.push(Some(format!("{grantee}={letter}{star}/{grantor}")));
    }
    Ok(Arc::new(StringArray::from(items)))
}

/// A role as lists have it: in quotes unless it is plain letters, and nothing for everybody.
fn role(names: &CatalogNames, oid: i64) -> String {
    if oid == 0 {
        return String::new();
    }
    let known = i32::try_from(oid).ok().and_then(|oid| names.role(oid));
    let name = known.unwrap_or_else(|| oid.to_string());
    match name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => name,
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
