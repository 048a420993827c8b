//! Row policies and masks, as they are kept.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ObjectAccess;
use super::privilege::means;
use crate::catalog::roles::Roles;

/// Which rows some roles see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// For whom; `public` is everybody.
    pub roles: BTreeSet<String>,
    /// The condition that a row has to meet, as it was written.
    pub using: String,
    /// A row has to meet it as well as another policy, and not instead of it.
    pub restrictive: bool,
    /// `FOR SELECT`, and not `FOR ALL`.
    pub select_only: bool,
}

/// What some roles see in the place of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// For whom; `public` is everybody.
    pub roles: BTreeSet<String>,
    /// The column.
    pub column: String,
    /// What is seen instead, as it was written.
    pub using: String,
}

/// What a role sees of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restriction {
    /// The condition of the rows; all where it is absent.
    pub rows: Option<String>,
    /// What stands in the place of columns.
    pub columns: Vec<(String, String)>,
}

impl Restriction {
    /// Whether all is seen as it is.
    pub fn is_none(&self) -> bool {
        self.rows.is_none() && self.columns.is_empty()
    }
}

impl ObjectAccess {
    /// What `who` sees of the table, who isn't its owner.
    pub fn restriction(&self, roles: &Roles, who: &str) -> Restriction {
        let concerns = |of: &BTreeSet<String>| of.iter().any(|role| means(roles, role, who));
        let mut columns: Vec<(String, String)> = Vec::new();
        // Of several masks of a column the first by name counts.
        for mask in self.masks.values().filter(|mask| concerns(&mask.roles)) {
            if columns.iter().all(|(column, _)| *column != mask.column) {
                columns.push((mask.column.clone(), mask.using.clone()));
            }
        }
        let rows = self.row_security.then(|| {
            let of_kind = |restrictive: bool| {
                let policies = self.policies.values();
                let policies = policies.filter(move |policy| {
                    policy.restrictive == restrictive && concerns(&policy.roles)
                });
                policies.map(|policy| format!("({})", policy.using))
            };
            let any: Vec<String> = of_kind(false).collect();
            let any = match any.is_empty() {
                true => "false".to_owned(),
                false => format!("({})", any.join(" OR ")),
            };
            let all: Vec<String> = std::iter::once(any).chain(of_kind(true)).collect();
            all.join(" AND ")
        });
        Restriction { rows, columns }
    }
}
