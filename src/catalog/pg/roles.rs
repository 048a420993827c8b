//! `pg_roles`, `pg_authid`, `pg_user`, `pg_auth_members` and `pg_group` as the roles are. Nobody sees a verifier of a
//! password.

use std::sync::Arc;

use super::names::{OWNER_OID, role_oid};
use super::values::{Row, row};
use crate::catalog::roles::{OWNER, Role, Roles};

/// The owner of everything, the roles that were made, and whoever asks in an open directory, where any name may.
pub fn all(roles: &Roles, user: &str) -> Vec<Arc<Role>> {
    let mut all = vec![Arc::new(Role {
        superuser: true,
        ..Role::new(OWNER)
    })];
    all.extend(roles.all());
    if roles.is_open() && !user.is_empty() && all.iter().all(|role| role.name != user) {
        all.push(Arc::new(Role {
            superuser: true,
            login: true,
            ..Role::new(user)
        }));
    }
    all
}

/// The rows of one of these relations; `None` for any other.
pub fn rows(relation: &str, roles: &[Arc<Role>]) -> Option<Vec<Row>> {
    let of = |row: fn(&Role) -> Row, is_it: fn(&Role) -> bool| {
        let chosen = roles.iter().filter(|role| is_it(role));
        chosen.map(|role| row(role)).collect()
    };
    Some(match relation {
        "pg_roles" | "pg_authid" => of(role_row, |_| true),
        // In Postgres as well, a user is a role that may connect, and a group one that may not.
        "pg_user" | "pg_shadow" => of(user_row, |role| role.login),
        "pg_group" => roles
            .iter()
            .filter(|role| !role.login)
            .map(|group| {
                let members = roles
                    .iter()
                    .filter(|role| role.member_of.contains(&group.name));
                let oids: Vec<String> = members
                    .map(|member| role_oid(&member.name).to_string())
                    .collect();
                row! { "groname": group.name.as_str(), "grosysid": role_oid(&group.name), "grolist": oids }
            })
            .collect(),
        "pg_auth_members" => roles
            .iter()
            .flat_map(|role| {
                role.member_of.iter().map(|group| {
                    row! {
                        "roleid": role_oid(group), "member": role_oid(&role.name), "grantor": OWNER_OID, "admin_option": false,
                    }
                })
            })
            .collect(),
        _ => return None,
    })
}

fn role_row(role: &Role) -> Row {
    row! {
        "oid": role_oid(&role.name), "rolname": role.name.as_str(), "rolsuper": role.superuser, "rolinherit": true,
        "rolcreaterole": role.superuser, "rolcreatedb": role.superuser, "rolcanlogin": role.login,
        "rolreplication": role.superuser, "rolbypassrls": role.superuser,
        "rolconnlimit": limit(role), "rolpassword": "********", "rolvaliduntil": role.valid_until_us,
    }
}

fn user_row(role: &Role) -> Row {
    row! {
        "usename": role.name.as_str(), "usesysid": role_oid(&role.name), "usecreatedb": role.superuser,
        "usesuper": role.superuser, "userepl": role.superuser, "usebypassrls": role.superuser, "passwd": "********", "valuntil": role.valid_until_us,
    }
}

/// As many connections as there are, is -1 in Postgres.
fn limit(role: &Role) -> i64 {
    role.connection_limit.map_or(-1, i64::from)
}
