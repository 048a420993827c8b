//! Roles: who may connect, and who may decide about that.
//!
//! ```text
//! DATA_DIR/catalog/roles/ana.json     a role, with the verifier of its password
//! DATA_DIR/catalog/roles/mock.secret  what the salts of users that there aren't are made from
//! ```
//!
//! A data directory is **open** while no role has a password: it then belongs to whoever reaches it, any name
//! will do, and a name without a role is a superuser's. From the first password on, only roles count.

mod verifier;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use chrono::{DateTime, Utc};
use datafusion_funnel::error::nearest;
use serde::{Deserialize, Serialize};

use super::store::{Store, close_to_others};
use crate::error::{Error, Result, RoleFault};
use crate::storage::Place;

pub use verifier::{ITERATIONS, KEY_BYTES, SALT_BYTES, Verifier, hmac_sha256, random, sha256};

/// The role that everything in a data directory belongs to. It is always there, and nobody connects as it.
pub const OWNER: &str = "funnelsql";

/// A role as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// It may do everything.
    pub superuser: bool,
    /// It may connect.
    pub login: bool,
    /// How many connections it may have at a time; as many as there are where absent.
    pub connection_limit: Option<u32>,
    /// When its password ends, in microseconds since 1970 UTC; never where absent.
    pub valid_until_us: Option<i64>,
    /// What is kept of its password.
    pub verifier: Option<Verifier>,
    /// The roles that it is a member of.
    pub member_of: BTreeSet<String>,
}

impl Role {
    /// A role with nothing but a name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            superuser: false,
            login: false,
            connection_limit: None,
            valid_until_us: None,
            verifier: None,
            member_of: BTreeSet::new(),
        }
    }

    /// When its password ends.
    pub fn valid_until(&self) -> Option<DateTime<Utc>> {
        self.valid_until_us
            .and_then(DateTime::from_timestamp_micros)
    }

    /// Whether its password is over.
    pub fn is_over(&self, now: DateTime<Utc>) -> bool {
        self.valid_until_us
            .is_some_and(|end| end <= now.timestamp_micros())
    }
}

/// The roles by name. A change is on disk before it is seen.
#[derive(Debug)]
pub struct Roles {
    store: Store<Role>,
    roles: RwLock<BTreeMap<String, Arc<Role>>>,
    mock_secret: [u8; KEY_BYTES],
}

impl Roles {
    /// Reads the roles in a folder, which nobody but the server's user may read.
    ///
    /// # Errors
    /// 58030 when the folder can't be made or read; XX001 for a role that can't be read: without it, a directory
    /// might seem to be open.
    pub fn open(place: impl Into<Place>) -> Result<Self> {
        let place = place.into();
        let store: Store<Role> = Store::open(place.clone(), "role")?;
        close_to_others(&place)?;
        let mut roles = BTreeMap::new();
        for (name, loaded) in store.load()? {
            let role = loaded?;
            if role.name != name {
                return Err(Error::Corrupt {
                    kind: "role",
                    file: store.file(&name).to_string(),
                    reason: format!("it defines \"{}\"", role.name),
                });
            }
            roles.insert(name, Arc::new(role));
        }
        let mock_secret = mock_secret(&place.join("mock.secret"))?;
        Ok(Self {
            store,
            roles: RwLock::new(roles),
            mock_secret,
        })
    }

    /// Whether no role has a password.
    pub fn is_open(&self) -> bool {
        self.read().values().all(|role| role.verifier.is_none())
    }

    /// Whether a superuser can connect with a password.
    pub fn has_administrator(&self) -> bool {
        let administers =
            |role: &Arc<Role>| role.superuser && role.login && role.verifier.is_some();
        self.read().values().any(administers)
    }

    /// Whether that name may do everything.
    pub fn is_superuser(&self, name: &str) -> bool {
        match self.find(name) {
            Some(role) => role.superuser,
            None => name == OWNER || self.is_open(),
        }
    }

    /// The role of that name.
    pub fn find(&self, name: &str) -> Option<Arc<Role>> {
        self.read().get(name).map(Arc::clone)
    }

    /// The role of that name.
    ///
    /// # Errors
    /// 42704 where there is none.
    pub fn get(&self, name: &str) -> Result<Arc<Role>> {
        let roles = self.read();
        roles
            .get(name)
            .map(Arc::clone)
            .ok_or_else(|| unknown(name, &roles))
    }

    /// All roles, by name.
    pub fn all(&self) -> Vec<Arc<Role>> {
        self.read().values().map(Arc::clone).collect()
    }

    /// Whether `name` is `group`, or a member of it or of a member.
    pub fn is_member(&self, name: &str, group: &str) -> bool {
        is_member(&self.read(), name, group)
    }

    /// Keeps a new role, with the roles of `members` as its members.
    ///
    /// # Errors
    /// 42710 where the name is taken, 42939 where it can't be one, 42704 for a role that there isn't, 55000 where
    /// nobody could administer any more.
    pub fn create(&self, role: Role, members: &[String]) -> Result<()> {
        let mut roles = self.write();
        let name = role.name.clone();
        if name.is_empty() || matches!(name.as_str(), "public" | "none") || name.starts_with("pg_")
        {
            return Err(
                RoleFault::Reserved.error(format!("role name \"{name}\" is reserved"), None)
            );
        }
        if name == OWNER || roles.contains_key(&name) {
            return Err(RoleFault::Duplicate.error(format!("role \"{name}\" already exists"), None));
        }
        for group in &role.member_of {
            exists(&roles, group)?;
        }
        let groups: Vec<String> = role.member_of.iter().cloned().collect();
        let mut changed = vec![role];
        for member in members {
            for group in &groups {
                check_no_cycle(&roles, group, member)?;
            }
            let mut member = exists(&roles, member)?.as_ref().clone();
            member.member_of.insert(name.clone());
            changed.push(member);
        }
        self.keep(&mut roles, changed)
    }

    /// Changes a role.
    ///
    /// # Errors
    /// 42704 for a role that there isn't, 55000 where nobody could administer any more.
    pub fn alter(&self, name: &str, change: impl FnOnce(&mut Role)) -> Result<()> {
        let mut roles = self.write();
        let mut role = exists(&roles, name)?.as_ref().clone();
        change(&mut role);
        self.keep(&mut roles, vec![role])
    }

    /// Makes `members` members of `groups`; returns those that were.
    ///
    /// # Errors
    /// 42704 for a role that there isn't, 0LP01 where a role would be a member of itself.
    pub fn grant(&self, groups: &[String], members: &[String]) -> Result<Vec<(String, String)>> {
        let mut roles = self.write();
        let mut after = roles.clone();
        let mut already = Vec::new();
        for group in groups {
            exists(&after, group)?;
            for member in members {
                exists(&after, member)?;
                check_no_cycle(&after, group, member)?;
                let role = after
                    .entry(member.clone())
                    .or_insert_with(|| Arc::new(Role::new(member)));
                if !Arc::make_mut(role).member_of.insert(group.clone()) {
                    already.push((member.clone(), group.clone()));
                }
            }
        }
        let changed = members.iter().filter_map(|member| after.get(member));
        let changed = changed.map(|role| role.as_ref().clone()).collect();
        self.keep(&mut roles, changed)?;
        Ok(already)
    }

    /// Ends memberships; returns those that there weren't.
    ///
    /// # Errors
    /// 42704 for a role that there isn't.
    pub fn revoke(&self, groups: &[String], members: &[String]) -> Result<Vec<(String, String)>> {
        let mut roles = self.write();
        let mut missing = Vec::new();
        let mut changed = Vec::new();
        for group in groups {
            exists(&roles, group)?;
        }
        for name in members {
            let mut role = exists(&roles, name)?.as_ref().clone();
            for group in groups {
                if !role.member_of.remove(group) {
                    missing.push((name.clone(), group.clone()));
                }
            }
            changed.push(role);
        }
        self.keep(&mut roles, changed)?;
        Ok(missing)
    }

    /// Forgets roles; all of them or, when one is missing, none. Returns the missing ones where they are no error.
    ///
    /// # Errors
    /// 42704 for a missing role, 55000 where nobody could administer any more.
    pub fn drop(&self, names: &[String], if_exists: bool) -> Result<Vec<String>> {
        let mut roles = self.write();
        let (found, missing): (Vec<&String>, Vec<&String>) =
            names.iter().partition(|name| roles.contains_key(*name));
        if let (Some(name), false) = (missing.first(), if_exists) {
            return Err(unknown(name, &roles));
        }
        let mut after = roles.clone();
        after.retain(|name, _| !found.contains(&name));
        check_administered(&roles, &after)?;
        // Memberships first: a role of the same name that comes later must not have the members of this one.
        let mut members = Vec::new();
        for role in after.values() {
            let mut role = role.as_ref().clone();
            let before = role.member_of.len();
            role.member_of.retain(|group| !found.contains(&group));
            if role.member_of.len() < before {
                members.push(role);
            }
        }
        self.keep(&mut roles, members)?;
        for name in found {
            self.store.remove(name)?;
            roles.remove(name);
        }
        Ok(missing.into_iter().cloned().collect())
    }

    /// The salt that a user without a password is shown: the same each time, as one with a password has it.
    pub fn mock_salt(&self, user: &str) -> Vec<u8> {
        hmac_sha256(&self.mock_secret, user.as_bytes())[..SALT_BYTES].to_vec()
    }

    fn keep(&self, roles: &mut BTreeMap<String, Arc<Role>>, changed: Vec<Role>) -> Result<()> {
        let mut after = roles.clone();
        for role in &changed {
            after.insert(role.name.clone(), Arc::new(role.clone()));
        }
        check_administered(roles, &after)?;
        for role in changed {
            self.store.put(&role.name, &role)?;
            roles.insert(role.name.clone(), Arc::new(role));
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Role>>> {
        // A map is whole after a panic: each change of it is one call.
        self.roles.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Role>>> {
        self.roles.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exists<'a>(roles: &'a BTreeMap<String, Arc<Role>>, name: &str) -> Result<&'a Arc<Role>> {
    roles.get(name).ok_or_else(|| unknown(name, roles))
}

fn unknown(name: &str, roles: &BTreeMap<String, Arc<Role>>) -> Error {
    let existing: Vec<String> = roles.keys().cloned().collect();
    let hint = nearest(name, &existing).map(|near| format!("Perhaps you meant role \"{near}\"."));
    RoleFault::Unknown.error(format!("role \"{name}\" does not exist"), hint)
}

fn is_member(roles: &BTreeMap<String, Arc<Role>>, name: &str, group: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut waiting = vec![name];
    while let Some(name) = waiting.pop() {
        if name == group {
            return true;
        }
        if let Some(role) = roles.get(name)
            && seen.insert(name)
        {
            waiting.extend(role.member_of.iter().map(String::as_str));
        }
    }
    false
}

/// Refuses to make `member` a member of `group` where that is one of its own.
fn check_no_cycle(roles: &BTreeMap<String, Arc<Role>>, group: &str, member: &str) -> Result<()> {
    match is_member(roles, group, member) {
        true => {
            let message = format!("role \"{group}\" is a member of role \"{member}\"");
            Err(RoleFault::Grant.error(message, None))
        }
        false => Ok(()),
    }
}

/// With a password anywhere, somebody has to be able to give out the next: a superuser that may connect, and with a password
/// where there was one.
fn check_administered(
    before: &BTreeMap<String, Arc<Role>>,
    after: &BTreeMap<String, Arc<Role>>,
) -> Result<()> {
    let administers = |role: &Arc<Role>| role.superuser && role.login;
    let by_password = |role: &Arc<Role>| administers(role) && role.verifier.is_some();
    if after.values().all(|role| role.verifier.is_none()) {
        return Ok(());
    }
    if before.values().any(by_password) && !after.values().any(by_password) {
        let hint = "Give another superuser a password before.";
        return Err(RoleFault::Unadministered.error(
            "the last superuser with a password has to keep it".to_owned(),
            Some(hint.to_owned()),
        ));
    }
    if after.values().any(administers) {
        return Ok(());
    }
    let hint = "CREATE ROLE admin SUPERUSER LOGIN PASSWORD '...' makes one.";
    Err(RoleFault::Unadministered.error(
        "roles with passwords need a superuser that may connect".to_owned(),
        Some(hint.to_owned()),
    ))
}

/// A salt that changed with a restart would tell that there is no such user.
fn mock_secret(place: &Place) -> Result<[u8; KEY_BYTES]> {
    let kept = match place {
        Place::Folder(file) => match fs::read(file) {
            Ok(kept) => Some(kept),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(format!("can't read \"{place}\""), error)),
        },
        Place::Store(remote, path) => remote.read(path)?.map(Vec::from),
    };
    if let Some(secret) = kept.and_then(|kept| kept.try_into().ok()) {
        return Ok(secret);
    }
    let secret = random()?;
    match place {
        Place::Folder(file) => fs::write(file, secret)
            .map_err(|error| Error::io(format!("can't write \"{place}\""), error))?,
        Place::Store(remote, path) => remote.put(path, secret.to_vec())?,
    }
    Ok(secret)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    fn roles(folder: &Path) -> Roles {
        Roles::open(folder).unwrap()
    }

    fn with_password(name: &str, superuser: bool) -> Role {
        Role {
            superuser,
            login: true,
            verifier: Some(Verifier::of_password("x").unwrap()),
            ..Role::new(name)
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_directory_is_open_until_a_role_has_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let roles = roles(folder.path());
        roles.create(Role::new("ana"), &[]).unwrap();
        assert!(roles.is_open() && roles.is_superuser("anybody") && !roles.is_superuser("ana"));
        let error = roles.create(with_password("bob", false), &[]).unwrap_err();
        assert_eq!(error.code(), "55000");
        roles.create(with_password("admin", true), &[]).unwrap();
        roles.create(with_password("bob", false), &[]).unwrap();
        assert!(!roles.is_open() && !roles.is_superuser("anybody"));
        assert!(roles.is_superuser("admin") && roles.is_superuser(OWNER));
        let error = roles.drop(&names(&["admin"]), false).unwrap_err();
        assert_eq!(error.code(), "55000");
        let error = roles.alter("admin", |role| role.login = false).unwrap_err();
        assert_eq!(error.code(), "55000");
        let forget = |role: &mut Role| role.verifier = None;
        let error = roles.alter("admin", forget).unwrap_err();
        assert_eq!(error.code(), "55000");
        assert!(roles.has_administrator());
        roles.create(with_password("eve", true), &[]).unwrap();
        roles.alter("admin", forget).unwrap();
    }

    #[test]
    fn membership_is_transitive_and_never_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        let roles = roles(folder.path());
        for name in ["a", "b", "c"] {
            roles.create(Role::new(name), &[]).unwrap();
        }
        assert!(
            roles
                .grant(&names(&["b"]), &names(&["a"]))
                .unwrap()
                .is_empty()
        );
        roles.grant(&names(&["c"]), &names(&["b"])).unwrap();
        assert!(roles.is_member("a", "c") && !roles.is_member("c", "a"));
        assert_eq!(
            roles.grant(&names(&["b"]), &names(&["a"])).unwrap().len(),
            1
        );
        for (group, member) in [("a", "c"), ("a", "a")] {
            let error = roles
                .grant(&names(&[group]), &names(&[member]))
                .unwrap_err();
            assert_eq!(error.code(), "0LP01");
        }
        // Dropped and made again, it has no members.
        roles.drop(&names(&["b"]), false).unwrap();
        roles.create(Role::new("b"), &[]).unwrap();
        assert!(!roles.is_member("a", "b"));
    }

    #[test]
    fn roles_are_there_after_a_restart_and_their_files_are_closed() {
        let folder = tempfile::tempdir().unwrap();
        let before = roles(folder.path());
        before.create(with_password("管理员", true), &[]).unwrap();
        let after = roles(folder.path());
        assert_eq!(before.all(), after.all());
        assert_eq!(before.mock_salt("x"), after.mock_salt("x"));
        assert_ne!(after.mock_salt("x"), after.mock_salt("y"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }

    #[test]
    fn a_role_that_cannot_be_read_does_not_open_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        roles(folder.path())
            .create(with_password("admin", true), &[])
            .unwrap();
        let file = folder.path().join("admin.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, &text[..text.len() / 2]).unwrap();
        let error = Roles::open(folder.path()).unwrap_err();
        assert_eq!(error.code(), "XX001");
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let roles = roles(folder.path());
        for (name, code) in [
            ("public", "42939"),
            ("none", "42939"),
            ("pg_x", "42939"),
            (OWNER, "42710"),
        ] {
            assert_eq!(
                roles.create(Role::new(name), &[]).unwrap_err().code(),
                code,
                "{name}"
            );
        }
        roles.create(Role::new("sales"), &[]).unwrap();
        let error = roles.get("sale").unwrap_err();
        assert_eq!(error.code(), "42704");
        assert_eq!(error.hint().unwrap(), "Perhaps you meant role \"sales\".");
    }
}
