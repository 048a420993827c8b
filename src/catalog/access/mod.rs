//! Who may see what: privileges, row policies and masks, kept by object.
//!
//! ```text
//! DATA_DIR/catalog/access/table%20crm%2edeals.json   grants, policies and masks of crm.deals
//! ```
//!
//! What isn't granted is denied, to every role that isn't a superuser. Three things are everybody's unless they are
//! revoked: functions, and the use of the schemas `public`, `funnel` and `journeys` (whose contents are granted one by one).
//! `pg_catalog` and `information_schema` are everybody's, and show of the rest what the reader may see.
//!
//! A file that can't be read keeps the directory from being opened: without it, rows would be seen that it hides.

mod privilege;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use datafusion_funnel::definition::text::identifier;
use datafusion_funnel::table::JOURNEYS_SCHEMA;
use serde::{Deserialize, Serialize};

use super::FUNNEL_SCHEMA;
use super::roles::{OWNER, Roles};
use super::store::Store;
use crate::engine::DEFAULT_SCHEMA;
use crate::error::{Error, Result};
use crate::storage::Place;

pub use privilege::{Grants, Privilege};
pub use rules::{Mask, Policy, Restriction};

/// Everybody, in the place of a role. No role can have that name.
pub const PUBLIC: &str = "public";

/// Something that privileges are granted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// A schema.
    Schema(String),
    /// A table or view.
    Relation {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A function of that name, whatever its arguments.
    Function(String),
    /// A funnel.
    Funnel(String),
    /// A foreign server.
    Server(String),
}

impl Object {
    /// A table or view.
    pub fn relation(schema: &str, name: &str) -> Self {
        Self::Relation {
            schema: schema.to_owned(),
            name: name.to_owned(),
        }
    }

    /// What its file is named after.
    pub fn key(&self) -> String {
        match self {
            Self::Schema(name) => format!("schema {name}"),
            // A point may be in a name as well.
            Self::Relation { schema, name } => {
                format!("table {}.{}", identifier(schema), identifier(name))
            }
            Self::Function(name) => format!("function {name}"),
            Self::Funnel(name) => format!("funnel {name}"),
            Self::Server(name) => format!("server {name}"),
        }
    }

    /// Its name, without a schema.
    pub fn name(&self) -> &str {
        match self {
            Self::Schema(name)
            | Self::Relation { name, .. }
            | Self::Function(name)
            | Self::Funnel(name)
            | Self::Server(name) => name,
        }
    }

    /// What kind of object it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Schema(_) => "schema",
            Self::Relation { .. } => "table",
            Self::Function(_) => "function",
            Self::Funnel(_) => "funnel",
            Self::Server(_) => "foreign server",
        }
    }

    /// The privileges that there are on it.
    pub fn privileges(&self) -> &'static [Privilege] {
        match self {
            Self::Schema(_) => &[Privilege::Usage, Privilege::Create],
            Self::Server(_) => &[Privilege::Usage],
            Self::Relation { .. } => &[
                Privilege::Select,
                Privilege::Insert,
                Privilege::Update,
                Privilege::Delete,
                Privilege::Truncate,
            ],
            Self::Function(_) => &[Privilege::Execute],
            Self::Funnel(_) => &[Privilege::Select],
        }
    }

    /// What is everybody's before anything was granted or revoked.
    fn defaults(&self) -> Grants {
        let everybody = match self {
            Self::Schema(name) => {
                [DEFAULT_SCHEMA, FUNNEL_SCHEMA, JOURNEYS_SCHEMA].contains(&name.as_str())
            }
            Self::Function(_) => true,
            Self::Relation { .. } | Self::Funnel(_) | Self::Server(_) => false,
        };
        let mut grants = Grants::default();
        if everybody {
            let privileges = self.privileges().iter();
            for privilege in privileges.filter(|privilege| **privilege != Privilege::Create) {
                grants.give(PUBLIC, *privilege, &[]);
            }
        }
        grants
    }

    /// That somebody lacks a privilege on it, as Postgres says it.
    pub fn denied(&self) -> Error {
        let (kind, name) = (self.kind(), self.name());
        let written = identifier(name);
        let grant = match self {
            Self::Schema(_) => format!("GRANT USAGE ON SCHEMA {written}"),
            Self::Relation { schema, .. } if schema == DEFAULT_SCHEMA => {
                format!("GRANT SELECT ON {written}")
            }
            Self::Relation { schema, .. } => {
                format!("GRANT SELECT ON {}.{written}", identifier(schema))
            }
            Self::Function(_) => format!("GRANT EXECUTE ON FUNCTION {written}"),
            Self::Funnel(_) => format!("GRANT SELECT ON FUNNEL {written}"),
            Self::Server(_) => format!("GRANT USAGE ON FOREIGN SERVER {written}"),
        };
        Error::Denied {
            message: format!("permission denied for {kind} {name}"),
            hint: format!("A superuser can let you: {grant} TO your role."),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// What is kept of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectAccess {
    /// The object.
    pub object: Object,
    /// Who may do what; the defaults where nothing was granted or revoked.
    #[serde(default)]
    pub grants: Option<Grants>,
    /// Whether policies decide about its rows.
    #[serde(default)]
    pub row_security: bool,
    /// Its row policies by name.
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
    /// Its masks by name.
    #[serde(default)]
    pub masks: BTreeMap<String, Mask>,
}

impl ObjectAccess {
    fn new(object: Object) -> Self {
        Self {
            object,
            grants: None,
            row_security: false,
            policies: BTreeMap::new(),
            masks: BTreeMap::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.grants.is_none()
            && !self.row_security
            && self.policies.is_empty()
            && self.masks.is_empty()
    }

    /// The roles that it names.
    fn roles(&self) -> BTreeSet<&String> {
        let policies = self.policies.values().flat_map(|policy| &policy.roles);
        let masks = self.masks.values().flat_map(|mask| &mask.roles);
        let grants = self.grants.iter().flat_map(Grants::grantees);
        policies.chain(masks).chain(grants).collect()
    }
}

/// What is known of an object. A view keeps that of the tables that it reads: renaming one, or making another
/// of its name, changes nothing for the view.
#[derive(Debug)]
pub struct Entry {
    kept: RwLock<Arc<ObjectAccess>>,
    /// Whose it is, where that isn't the directory's owner: a table that goes with its session.
    owner: Option<String>,
}

impl Entry {
    /// What is kept.
    pub fn kept(&self) -> Arc<ObjectAccess> {
        Arc::clone(&self.kept.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The role that it belongs to.
    pub fn owner(&self) -> &str {
        self.owner.as_deref().unwrap_or(OWNER)
    }

    /// Who may do what.
    pub fn grants(&self) -> Grants {
        let kept = self.kept();
        let grants = kept.grants.clone();
        grants.unwrap_or_else(|| kept.object.defaults())
    }

    fn set(&self, kept: ObjectAccess) {
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(kept);
    }

    /// Whether a role may do everything with it.
    pub fn belongs_to(&self, roles: &Roles, who: &str) -> bool {
        roles.is_superuser(who)
            || self
                .owner
                .as_deref()
                .is_some_and(|owner| roles.is_member(who, owner))
    }

    /// Whether a role has a privilege on all of it.
    pub fn allows(&self, roles: &Roles, who: &str, privilege: Privilege) -> bool {
        self.belongs_to(roles, who) || self.grants().allow(roles, who, privilege)
    }

    /// Whether a role has a privilege on one of its columns.
    pub fn allows_column(
        &self,
        roles: &Roles,
        who: &str,
        privilege: Privilege,
        column: &str,
    ) -> bool {
        self.belongs_to(roles, who) || self.grants().allow_column(roles, who, privilege, column)
    }

    /// Whether a role has a privilege on any part of it.
    pub fn allows_part(&self, roles: &Roles, who: &str, privilege: Privilege) -> bool {
        self.belongs_to(roles, who) || self.grants().allow_part(roles, who, privilege)
    }

    /// Whether a role may know of it: it has a privilege on some part.
    pub fn shows(&self, roles: &Roles, who: &str) -> bool {
        // A sequence is a relation that has other privileges.
        let mut privileges = Privilege::ALL.iter();
        privileges.any(|privilege| self.allows_part(roles, who, *privilege))
    }
}

/// The privileges, policies and masks of a data directory. A change is on disk before it is seen.
#[derive(Debug)]
pub struct Access {
    store: Store<ObjectAccess>,
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
}

impl Access {
    /// Reads what is kept in `folder`.
    ///
    /// # Errors
    /// 58030 when the folder can't be made or read; XX001 for a file that can't be read.
    pub fn open(place: impl Into<Place>) -> Result<Self> {
        let store: Store<ObjectAccess> = Store::open(place, "access")?;
        let mut entries = BTreeMap::new();
        for (key, loaded) in store.load()? {
            let kept = loaded?;
            if kept.object.key() != key {
                return Err(Error::Corrupt {
                    kind: "access",
                    file: store.file(&key).to_string(),
                    reason: format!("it is about {}", kept.object),
                });
            }
            let entry = Entry {
                kept: RwLock::new(Arc::new(kept)),
                owner: None,
            };
            entries.insert(key, Arc::new(entry));
        }
        Ok(Self {
            store,
            entries: Mutex::new(entries),
        })
    }

    /// What is known of an object at this moment.
    pub fn known(&self, object: &Object) -> Arc<Entry> {
        let found = self.lock().get(&object.key()).map(Arc::clone);
        found.unwrap_or_else(|| Arc::new(new_entry(object.clone(), None)))
    }

    /// What is known of an object that there is, for whoever holds it longer: what is said of it later is seen as well.
    pub fn entry(&self, object: &Object) -> Arc<Entry> {
        entry_in(&mut self.lock(), object)
    }

    /// Notes a new object that belongs to a role and goes with its session.
    pub fn note_temporary(&self, object: Object, owner: &str) {
        let key = object.key();
        let entry = new_entry(object, Some(owner.to_owned()));
        self.lock().insert(key, Arc::new(entry));
    }

    /// Changes what is kept of an object.
    ///
    /// # Errors
    /// `change`'s; 58030 when it can't be written.
    pub fn change<T>(
        &self,
        object: &Object,
        change: impl FnOnce(&mut ObjectAccess, &Grants) -> Result<T>,
    ) -> Result<T> {
        let mut entries = self.lock();
        let entry = entry_in(&mut entries, object);
        let mut kept = entry.kept().as_ref().clone();
        let changed = change(&mut kept, &object.defaults())?;
        if entry.owner.is_none() {
            match kept.is_empty() {
                true => self.store.remove(&object.key())?,
                false => self.store.put(&object.key(), &kept)?,
            }
        }
        entry.set(kept);
        Ok(changed)
    }

    /// Forgets an object that is gone. Who still holds it (a view) keeps what was said.
    ///
    /// # Errors
    /// 58030 when its file can't be removed.
    pub fn forget(&self, object: &Object) -> Result<()> {
        let mut entries = self.lock();
        self.store.remove(&object.key())?;
        entries.remove(&object.key());
        Ok(())
    }

    /// Forgets a schema and what was in it.
    ///
    /// # Errors
    /// 58030 when a file can't be removed.
    pub fn forget_schema(&self, schema: &str) -> Result<()> {
        let gone = |entry: &Entry| match &entry.kept().object {
            Object::Schema(name) => name == schema,
            Object::Relation { schema: of, .. } => of == schema,
            Object::Function(_) | Object::Funnel(_) | Object::Server(_) => false,
        };
        let mut entries = self.lock();
        let keys: Vec<String> = entries
            .iter()
            .filter(|(_, entry)| gone(entry))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.store.remove(&key)?;
            entries.remove(&key);
        }
        Ok(())
    }

    /// What is known of a relation is known of it under its new name.
    ///
    /// # Errors
    /// 58030 when it can't be written; both names then have it.
    pub fn rename(&self, from: &Object, to: &Object) -> Result<()> {
        let mut entries = self.lock();
        let entry = entry_in(&mut entries, from);
        let mut kept = entry.kept().as_ref().clone();
        kept.object = to.clone();
        if !kept.is_empty() && entry.owner.is_none() {
            self.store.put(&to.key(), &kept)?;
        }
        entry.set(kept);
        entries.insert(to.key(), entry);
        self.store.remove(&from.key())?;
        entries.remove(&from.key());
        Ok(())
    }

    /// The objects whose grants, policies or masks name a role.
    pub fn naming(&self, role: &str) -> Vec<Object> {
        let entries = self.lock();
        let of_role = entries
            .values()
            .filter(|entry| entry.kept().roles().contains(&role.to_owned()));
        of_role.map(|entry| entry.kept().object.clone()).collect()
    }

    /// What is kept of objects, of those that something is kept of.
    pub fn kept(&self) -> Vec<Arc<ObjectAccess>> {
        let entries = self.lock();
        let kept = entries.values().map(|entry| entry.kept());
        kept.filter(|kept| !kept.is_empty()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        // A map is whole after a panic: each change of it is one call.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry_in(entries: &mut BTreeMap<String, Arc<Entry>>, object: &Object) -> Arc<Entry> {
    let entry = entries.entry(object.key());
    Arc::clone(entry.or_insert_with(|| Arc::new(new_entry(object.clone(), None))))
}

fn new_entry(object: Object, owner: Option<String>) -> Entry {
    Entry {
        kept: RwLock::new(Arc::new(ObjectAccess::new(object))),
        owner,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn own() -> Policy {
        Policy {
            roles: BTreeSet::from(["sales".to_owned()]),
            using: "owner = current_user".to_owned(),
            restrictive: false,
            select_only: true,
        }
    }

    fn grant(access: &Access, object: &Object, role: &str) {
        let privilege = object.privileges()[0];
        access
            .change(object, |kept, defaults| {
                let grants = kept.grants.get_or_insert_with(|| defaults.clone());
                grants.give(role, privilege, &[]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_was_said_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let roles = Roles::open(folder.path().join("roles")).unwrap();
        let place = folder.path().join("access");
        let access = Access::open(place.clone()).unwrap();
        let deals = Object::relation("crm", "交易.1");
        grant(&access, &deals, "sales");
        access
            .change(&deals, |kept, _| {
                kept.row_security = true;
                kept.policies.insert("own".to_owned(), own());
                Ok(())
            })
            .unwrap();
        let again = Access::open(place.clone()).unwrap();
        assert_eq!(again.known(&deals).kept(), access.known(&deals).kept());
        roles
            .create(crate::catalog::roles::Role::new("sales"), &[])
            .unwrap();
        let entry = again.known(&deals);
        assert!(entry.allows(&roles, "sales", Privilege::Select));
        assert!(!entry.allows(&roles, "sales", Privilege::Insert));
        assert!(
            !again
                .known(&Object::relation("crm.交易", "1"))
                .shows(&roles, "sales")
        );
        assert_eq!(again.naming("sales"), std::slice::from_ref(&deals));
        again.forget(&deals).unwrap();
        assert!(Access::open(place).unwrap().kept().is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path().to_owned()).unwrap();
        grant(&access, &Object::Schema("crm".to_owned()), "sales");
        let file = fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        fs::write(file.path(), text.replace("sales", "sales\", \"")).unwrap();
        let error = Access::open(folder.path().to_owned()).unwrap_err();
        assert_eq!(error.code(), "XX001");
        // Another object's file under this name is as bad.
        fs::write(file.path(), text.replace("crm", "hr")).unwrap();
        let error = Access::open(folder.path().to_owned()).unwrap_err();
        assert_eq!(error.code(), "XX001");
    }

    #[test]
    fn who_holds_an_object_holds_it_under_its_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path().to_owned()).unwrap();
        let (old, new) = (Object::relation("crm", "a"), Object::relation("crm", "b"));
        let held = access.entry(&old);
        access.rename(&old, &new).unwrap();
        access
            .change(&new, |kept, _| {
                kept.row_security = true;
                Ok(())
            })
            .unwrap();
        assert!(held.kept().row_security);
        assert!(!access.entry(&old).kept().row_security);
        // Gone, and another one of its name: what was held stays as strict as it was.
        access.forget(&new).unwrap();
        assert!(held.kept().row_security && !access.entry(&new).kept().row_security);
    }

    #[test]
    fn policies_that_concern_nobody_leave_no_rows() {
        let folder = tempfile::tempdir().unwrap();
        let roles = Roles::open(folder.path()).unwrap();
        let mut access = ObjectAccess::new(Object::relation("crm", "deals"));
        assert!(access.restriction(&roles, "ana").is_none());
        access.row_security = true;
        let rows = |access: &ObjectAccess| access.restriction(&roles, "ana").rows.unwrap();
        assert_eq!(rows(&access), "false");
        access.policies.insert("own".to_owned(), own());
        assert_eq!(rows(&access), "false");
        let everybody = BTreeSet::from([PUBLIC.to_owned()]);
        let of = |using: &str, restrictive: bool| Policy {
            roles: everybody.clone(),
            using: using.to_owned(),
            restrictive,
            select_only: false,
        };
        access.policies.insert("strict".to_owned(), of("c", true));
        assert_eq!(rows(&access), "false AND (c)");
        access.policies.insert("a".to_owned(), of("a", false));
        access.policies.insert("b".to_owned(), of("b", false));
        assert_eq!(rows(&access), "((a) OR (b)) AND (c)");
    }

    #[test]
    fn what_is_everybodys_can_be_taken() {
        let folder = tempfile::tempdir().unwrap();
        let roles = Roles::open(folder.path().join("roles")).unwrap();
        roles
            .create(crate::catalog::roles::Role::new("ana"), &[])
            .unwrap();
        let access = Access::open(folder.path().join("access")).unwrap();
        let public = Object::Schema("public".to_owned());
        assert!(
            access
                .known(&public)
                .allows(&roles, "ana", Privilege::Usage)
        );
        assert_eq!(access.known(&public).kept().grants, None);
        access
            .change(&public, |kept, defaults| {
                let grants = kept.grants.get_or_insert_with(|| defaults.clone());
                grants.take(PUBLIC, Privilege::Usage, &[]);
                Ok(())
            })
            .unwrap();
        assert!(
            !access
                .known(&public)
                .allows(&roles, "ana", Privilege::Usage)
        );
        let hidden = Object::Schema("hr".to_owned());
        assert!(
            !access
                .known(&hidden)
                .allows(&roles, "ana", Privilege::Usage)
        );
    }
}
