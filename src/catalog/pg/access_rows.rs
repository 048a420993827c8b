//! Access lists, policies and privileges, as the catalogs show them.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_funnel::table::JOURNEYS_SCHEMA;

use super::names::role_oid;
use super::rows::Source;
use super::snapshot::{Relation, named_oid};
use super::values::{Row, row};
use crate::catalog::FUNNEL_SCHEMA;
use crate::catalog::access::{Entry, Object, PUBLIC, Policy, Privilege};
use crate::catalog::roles::OWNER;
use crate::engine::DATABASE;

impl Source<'_> {
    /// What is known of a relation; nothing for one that is everybody's.
    pub fn entry(&self, relation: &Relation) -> Option<Arc<Entry>> {
        let access = self.catalog.access();
        match relation.schema.as_str() {
            FUNNEL_SCHEMA => None,
            JOURNEYS_SCHEMA => Some(access.known(&Object::Funnel(relation.name.clone()))),
            schema => Some(access.known(&Object::relation(schema, &relation.name))),
        }
    }

    /// The access list of an object; nothing where it is as it always was.
    pub fn list(&self, object: &Object) -> Option<Vec<String>> {
        let entry = self.catalog.access().known(object);
        entry.list(object.privileges())
    }

    /// Whether who asks is told of what a role was granted.
    fn tells_of(&self, role: &str) -> bool {
        let roles = self.catalog.roles();
        role == PUBLIC || roles.is_superuser(self.user) || roles.is_member(self.user, role)
    }
}

impl Entry {
    /// The access list as Postgres prints it; nothing where nothing was granted or revoked.
    pub fn list(&self, all: &[Privilege]) -> Option<Vec<String>> {
        let kept = self.kept();
        let grants = kept.grants.as_ref()?;
        Some(grants.list(self.owner(), all))
    }
}

/// `pg_policy`
pub fn policies(source: &Source) -> Vec<Row> {
    each_policy(source, |relation, name, policy| {
        let oid = named_oid(
            "policy",
            &format!("{}.{}.{name}", relation.schema, relation.name),
            0x2000_0000,
        );
        let roles: Vec<String> = policy
            .roles
            .iter()
            .map(|role| if role == PUBLIC { 0 } else { role_oid(role) })
            .map(|oid| oid.to_string())
            .collect();
        row! {
            "oid": oid, "polname": name, "polrelid": relation.oid, "polcmd": if policy.select_only { "r" } else { "*" },
            "polpermissive": !policy.restrictive, "polroles": roles, "polqual": policy.using.as_str(),
        }
    })
}

/// `pg_policies`
pub fn policies_view(source: &Source) -> Vec<Row> {
    each_policy(source, |relation, name, policy| {
        let roles: Vec<String> = policy.roles.iter().cloned().collect();
        row! {
            "schemaname": relation.schema.as_str(), "tablename": relation.name.as_str(), "policyname": name,
            "permissive": if policy.restrictive { "RESTRICTIVE" } else { "PERMISSIVE" }, "roles": roles,
            "cmd": if policy.select_only { "SELECT" } else { "ALL" }, "qual": policy.using.as_str(),
        }
    })
}

fn each_policy(source: &Source, row: impl Fn(&Relation, &str, &Policy) -> Row) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in &source.snapshot.relations {
        let Some(entry) = source.entry(relation) else {
            continue;
        };
        let kept = entry.kept();
        let policies = kept.policies.iter();
        rows.extend(policies.map(|(name, policy)| row(relation, name, policy)));
    }
    rows
}

/// `information_schema.table_privileges`
pub fn table_privileges(source: &Source) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in &source.snapshot.relations {
        for (role, privilege) in whole(source, relation) {
            rows.push(row! {
                "grantor": OWNER, "grantee": grantee(&role), "table_catalog": DATABASE, "table_schema": relation.schema.as_str(),
                "table_name": relation.name.as_str(), "privilege_type": privilege.name(), "is_grantable": "NO",
                "with_hierarchy": if privilege == Privilege::Select { "YES" } else { "NO" },
            });
        }
    }
    rows
}

/// `information_schema.column_privileges`
pub fn column_privileges(source: &Source) -> Vec<Row> {
    let mut rows = Vec::new();
    for relation in &source.snapshot.relations {
        let whole = whole(source, relation);
        let grants = source.entry(relation).map(|entry| entry.grants());
        for column in &relation.columns {
            let mut granted = whole.clone();
            for (role, privileges) in grants.iter().flat_map(|grants| grants.columns()) {
                let of_column = privileges
                    .iter()
                    .filter(|(_, columns)| columns.contains(&column.name));
                let of_column = of_column.map(|(privilege, _)| (role.clone(), *privilege));
                granted.extend(of_column.filter(|(role, _)| source.tells_of(role)));
            }
            for (role, privilege) in granted {
                rows.push(row! {
                    "grantor": OWNER, "grantee": grantee(&role), "table_catalog": DATABASE, "table_schema": relation.schema.as_str(),
                    "table_name": relation.name.as_str(), "column_name": column.name.as_str(), "privilege_type": privilege.name(), "is_grantable": "NO",
                });
            }
        }
    }
    rows
}

/// Who has which privilege on a whole relation, of those that the asker is told of. A superuser has them all.
fn whole(source: &Source, relation: &Relation) -> BTreeSet<(String, Privilege)> {
    let mut granted = BTreeSet::new();
    let Some(entry) = source.entry(relation) else {
        granted.insert((PUBLIC.to_owned(), Privilege::Select));
        return granted;
    };
    if entry.belongs_to(source.catalog.roles(), source.user) {
        let all = entry.kept().object.privileges().iter();
        granted.extend(all.map(|privilege| (source.user.to_owned(), *privilege)));
    }
    for (role, privileges) in entry.grants().whole() {
        if source.tells_of(role) {
            granted.extend(
                privileges
                    .iter()
                    .map(|privilege| (role.clone(), *privilege)),
            );
        }
    }
    granted
}

fn grantee(role: &str) -> &str {
    if role == PUBLIC { "PUBLIC" } else { role }
}
