//! `pg_roles`, `pg_authid`, `pg_auth_members` and `pg_user` as the roles are. Nobody sees a password's verifier.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::{MemTable, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;

use super::functions::function_oid;
use super::relations::OWNER_OID;
use crate::catalog::Catalog;
use crate::catalog::roles::{OWNER, Role};

/// Relations, and those about roles in the place of what stands there.
#[derive(Debug)]
pub struct RoleRelations {
    relations: Arc<dyn SchemaProvider>,
    catalog: Arc<Catalog>,
}

impl RoleRelations {
    /// Over other relations.
    pub fn new(relations: Arc<dyn SchemaProvider>, catalog: Arc<Catalog>) -> Self {
        Self { relations, catalog }
    }

    /// The owner of everything, and the roles that were made.
    fn roles(&self) -> Vec<Arc<Role>> {
        let owner = Role {
            superuser: true,
            ..Role::new(OWNER)
        };
        let made = self.catalog.roles().all();
        std::iter::once(Arc::new(owner)).chain(made).collect()
    }
}

#[async_trait]
impl SchemaProvider for RoleRelations {
    fn table_names(&self) -> Vec<String> {
        let mut names = self.relations.table_names();
        for name in ["pg_roles", "pg_authid", "pg_auth_members", "pg_user"] {
            if !names.iter().any(|found| found == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|found| found == name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let columns = match name {
            "pg_roles" | "pg_authid" => roles_columns(&self.roles()),
            "pg_user" => users_columns(&self.roles()),
            "pg_auth_members" => members_columns(&self.roles()),
            _ => return self.relations.table(name).await,
        };
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, values)| (name, values, true)),
        )?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
        Ok(Some(Arc::new(table)))
    }
}

type Columns = Vec<(&'static str, ArrayRef)>;

/// The OID of a role: made from its name, so that clients find it again after a restart.
fn role_oid(name: &str) -> i32 {
    match name {
        OWNER => OWNER_OID,
        name => function_oid(&format!("role {name}")),
    }
}

fn names(roles: &[Arc<Role>]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        roles.iter().map(|role| &role.name),
    ))
}

fn numbers(roles: &[Arc<Role>], number: impl Fn(&Role) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(
        roles.iter().map(|role| number(role)),
    ))
}

fn truths(roles: &[Arc<Role>], is_it: impl Fn(&Role) -> bool) -> ArrayRef {
    Arc::new(BooleanArray::from_iter(
        roles.iter().map(|role| Some(is_it(role))),
    ))
}

fn hidden(roles: &[Arc<Role>]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(
        roles.iter().map(|_| "********"),
    ))
}

fn ends(roles: &[Arc<Role>]) -> ArrayRef {
    let ends = roles.iter().map(|role| role.valid_until_us);
    Arc::new(
        ends.collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}

fn no_settings(roles: &[Arc<Role>]) -> ArrayRef {
    new_null_array(&DataType::new_list(DataType::Utf8, true), roles.len())
}

fn roles_columns(roles: &[Arc<Role>]) -> Columns {
    vec![
        ("rolname", names(roles)),
        ("rolsuper", truths(roles, |role| role.superuser)),
        ("rolinherit", truths(roles, |_| true)),
        ("rolcreaterole", truths(roles, |role| role.superuser)),
        ("rolcreatedb", truths(roles, |_| false)),
        ("rolcanlogin", truths(roles, |role| role.login)),
        ("rolreplication", truths(roles, |_| false)),
        ("rolconnlimit", numbers(roles, limit)),
        ("rolpassword", hidden(roles)),
        ("rolvaliduntil", ends(roles)),
        ("rolbypassrls", truths(roles, |_| false)),
        ("rolconfig", no_settings(roles)),
        ("oid", numbers(roles, |role| role_oid(&role.name))),
    ]
}

fn limit(role: &Role) -> i32 {
    role.connection_limit
        .and_then(|limit| i32::try_from(limit).ok())
        .unwrap_or(-1)
}

/// In Postgres as well, a user is a role that may connect.
fn users_columns(roles: &[Arc<Role>]) -> Columns {
    let users: Vec<Arc<Role>> = roles
        .iter()
        .filter(|role| role.login)
        .map(Arc::clone)
        .collect();
    vec![
        ("usename", names(&users)),
        ("usesysid", numbers(&users, |role| role_oid(&role.name))),
        ("usecreatedb", truths(&users, |_| false)),
        ("usesuper", truths(&users, |role| role.superuser)),
        ("userepl", truths(&users, |_| false)),
        ("usebypassrls", truths(&users, |_| false)),
        ("passwd", hidden(&users)),
        ("valuntil", ends(&users)),
        ("useconfig", no_settings(&users)),
    ]
}

fn members_columns(roles: &[Arc<Role>]) -> Columns {
    let memberships: Vec<(i32, i32)> = roles
        .iter()
        .flat_map(|role| {
            role.member_of
                .iter()
                .map(|group| (role_oid(group), role_oid(&role.name)))
        })
        .collect();
    let column = |of: fn(&(i32, i32)) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(memberships.iter().map(of)))
    };
    vec![
        ("roleid", column(|(group, _)| *group)),
        ("member", column(|(_, member)| *member)),
        ("grantor", column(|_| OWNER_OID)),
        (
            "admin_option",
            Arc::new(BooleanArray::from(vec![false; memberships.len()])),
        ),
    ]
}
