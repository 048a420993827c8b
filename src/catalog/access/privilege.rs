//! Privileges, and who has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::PUBLIC;
use crate::catalog::roles::Roles;

/// What a role may do with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    /// Read a table, view or funnel.
    Select,
    /// Add rows to a table.
    Insert,
    /// Change rows of a table.
    Update,
    /// Take rows out of a table.
    Delete,
    /// Take all rows out of a table.
    Truncate,
    /// Use what is in a schema.
    Usage,
    /// Call a function.
    Execute,
    /// Make foreign tables in a schema.
    Create,
}

impl Privilege {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Select,
        Self::Insert,
        Self::Update,
        Self::Delete,
        Self::Truncate,
        Self::Usage,
        Self::Execute,
        Self::Create,
    ];

    /// Those on sequences.
    pub const OF_SEQUENCES: [Self; 3] = [Self::Select, Self::Update, Self::Usage];

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Usage => "USAGE",
            Self::Execute => "EXECUTE",
            Self::Create => "CREATE",
        }
    }

    /// The letter that Postgres has for it in an access list.
    pub fn letter(self) -> char {
        match self {
            Self::Select => 'r',
            Self::Insert => 'a',
            Self::Update => 'w',
            Self::Delete => 'd',
            Self::Truncate => 'D',
            Self::Usage => 'U',
            Self::Execute => 'X',
            Self::Create => 'C',
        }
    }

    /// The privilege of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|privilege| privilege.name().eq_ignore_ascii_case(name))
    }
}

/// Who may do what with an object, and with which of its columns.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Privileges on all of it, by role.
    #[serde(default)]
    whole: BTreeMap<String, BTreeSet<Privilege>>,
    /// Columns by role and privilege.
    #[serde(default)]
    columns: BTreeMap<String, BTreeMap<Privilege, BTreeSet<String>>>,
}

impl Grants {
    /// Gives a role a privilege: on all where no column is named.
    pub fn give(&mut self, role: &str, privilege: Privilege, columns: &[String]) {
        match columns {
            [] => {
                let whole = self.whole.entry(role.to_owned()).or_default();
                whole.insert(privilege);
            }
            columns => {
                let of_role = self.columns.entry(role.to_owned()).or_default();
                let known = of_role.entry(privilege).or_default();
                known.extend(columns.iter().cloned());
            }
        }
    }

    /// Takes it away. Without a name of a column it goes for all of them, as in Postgres.
    pub fn take(&mut self, role: &str, privilege: Privilege, columns: &[String]) {
        if columns.is_empty()
            && let Some(whole) = self.whole.get_mut(role)
        {
            whole.remove(&privilege);
        }
        if let Some(of_role) = self.columns.get_mut(role) {
            if columns.is_empty() {
                of_role.remove(&privilege);
            }
            if let Some(known) = of_role.get_mut(&privilege) {
                known.retain(|column| !columns.contains(column));
            }
            of_role.retain(|_, columns| !columns.is_empty());
        }
        self.whole.retain(|_, privileges| !privileges.is_empty());
        self.columns.retain(|_, privileges| !privileges.is_empty());
    }

    /// Takes everything from a role.
    pub fn take_all(&mut self, role: &str) {
        self.whole.remove(role);
        self.columns.remove(role);
    }

    /// Who has something.
    pub fn grantees(&self) -> impl Iterator<Item = &String> {
        self.whole.keys().chain(self.columns.keys())
    }

    /// Whether a role has a privilege on all of it.
    pub fn allow(&self, roles: &Roles, who: &str, privilege: Privilege) -> bool {
        self.whole
            .iter()
            .any(|(role, privileges)| privileges.contains(&privilege) && means(roles, role, who))
    }

    /// Whether a role has it on a column.
    pub fn allow_column(
        &self,
        roles: &Roles,
        who: &str,
        privilege: Privilege,
        column: &str,
    ) -> bool {
        let has = |privileges: &BTreeMap<Privilege, BTreeSet<String>>| {
            privileges
                .get(&privilege)
                .is_some_and(|columns| columns.contains(column))
        };
        self.allow(roles, who, privilege)
            || self
                .columns
                .iter()
                .any(|(role, privileges)| has(privileges) && means(roles, role, who))
    }

    /// Whether a role has it on any part.
    pub fn allow_part(&self, roles: &Roles, who: &str, privilege: Privilege) -> bool {
        self.allow(roles, who, privilege)
            || self.columns.iter().any(|(role, privileges)| {
                privileges.contains_key(&privilege) && means(roles, role, who)
            })
    }

    /// What each role has on all of it.
    pub fn whole(&self) -> impl Iterator<Item = (&String, &BTreeSet<Privilege>)> {
        self.whole.iter()
    }

    /// What each role has on single columns.
    pub fn columns(
        &self,
    ) -> impl Iterator<Item = (&String, &BTreeMap<Privilege, BTreeSet<String>>)> {
        self.columns.iter()
    }

    /// The access list as Postgres prints it: `ana=r/funnelsql`.
    pub fn list(&self, owner: &str, all: &[Privilege]) -> Vec<String> {
        let own: BTreeSet<Privilege> = all.iter().copied().collect();
        let of_owner = item(owner, &own, owner);
        let granted = self
            .whole
            .iter()
            .map(|(role, privileges)| item(role, privileges, owner));
        std::iter::once(of_owner).chain(granted).collect()
    }

    /// The access list of a column; nothing where it has none of its own.
    pub fn list_of_column(&self, owner: &str, column: &str) -> Option<Vec<String>> {
        let of_role = |(role, privileges): (&String, &BTreeMap<Privilege, BTreeSet<String>>)| {
            let own: BTreeSet<Privilege> = privileges
                .iter()
                .filter(|(_, columns)| columns.contains(column))
                .map(|(privilege, _)| *privilege)
                .collect();
            (!own.is_empty()).then(|| item(role, &own, owner))
        };
        let list: Vec<String> = self.columns.iter().filter_map(of_role).collect();
        (!list.is_empty()).then_some(list)
    }
}

fn item(role: &str, privileges: &BTreeSet<Privilege>, grantor: &str) -> String {
    let mut text = if role == PUBLIC {
        String::new()
    } else {
        quoted(role)
    };
    text.push('=');
    // In the order that Postgres has: its letters don't follow the alphabet.
    for privilege in [
        Privilege::Insert,
        Privilege::Select,
        Privilege::Update,
        Privilege::Delete,
        Privilege::Truncate,
        Privilege::Execute,
        Privilege::Usage,
        Privilege::Create,
    ] {
        if privileges.contains(&privilege) {
            text.push(privilege.letter());
        }
    }
    let _ = write!(text, "/{}", quoted(grantor));
    text
}

/// A role's name in an access list: between quotes unless it is plain letters.
fn quoted(role: &str) -> String {
    match role.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => role.to_owned(),
        false => format!("\"{}\"", role.replace('"', "\"\"")),
    }
}

/// Whether what `role` has is `who`'s as well.
pub fn means(roles: &Roles, role: &str, who: &str) -> bool {
    role == PUBLIC || roles.is_member(who, role)
}
