//! Statements about roles, and what a session may do.

use super::outcome::{Notice, Outcome};
use super::session::{Session, skipped};
use crate::catalog::roles::{Role, Roles, Verifier};
use crate::error::{Error, Result, RoleFault};
use crate::postgres::datetime;
use crate::sql::{NamedRole, Password, RoleOptions, RoleStatement};

impl Session {
    /// Whom the session acts as: its user, or the role that `SET ROLE` chose.
    pub fn current_user(&self) -> String {
        self.identity.role()
    }

    /// Whether it may do everything.
    pub fn is_superuser(&self) -> bool {
        self.roles().is_superuser(&self.current_user())
    }

    fn roles(&self) -> &Roles {
        self.engine.catalog.roles()
    }

    /// Acts as another role from here on; as the session's user where it is absent or `none`.
    ///
    /// # Errors
    /// 42704 for a role that there isn't, 42501 for one that the user isn't a member of.
    pub(super) fn set_role(&self, role: Option<&str>) -> Result<()> {
        let role = role.filter(|role| *role != "none");
        if let Some(role) = role {
            let roles = self.roles();
            roles.get(role)?;
            if !roles.is_superuser(self.user()) && !roles.is_member(self.user(), role) {
                let hint = format!(
                    "A superuser makes you a member with GRANT {role} TO {}.",
                    self.user()
                );
                return Err(denied(
                    format!("permission denied to set role \"{role}\""),
                    hint,
                ));
            }
        }
        self.identity.choose_role(role);
        Ok(())
    }

    pub(super) fn run_role(&self, statement: &RoleStatement) -> Result<Outcome> {
        let roles = self.roles();
        match statement {
            RoleStatement::Create { name, options } => {
                self.check_superuser("create role")?;
                let mut role = Role::new(name.as_str());
                role.member_of = options.groups.iter().cloned().collect();
                let (change, notices) = self.change(options)?;
                change.apply(&mut role);
                roles.create(role, &options.members)?;
                Ok(Outcome::done("CREATE ROLE").with(notices))
            }
            RoleStatement::Alter { role, options } => {
                let name = self.named(role);
                let own_password = name == self.current_user() && options.is_password_only();
                if !own_password {
                    self.check_superuser("alter role")?;
                }
                let (change, notices) = self.change(options)?;
                roles.alter(&name, |role| change.apply(role))?;
                Ok(Outcome::done("ALTER ROLE").with(notices))
            }
            RoleStatement::Drop { names, if_exists } => {
                self.check_superuser("drop role")?;
                for (name, whose) in [
                    (self.current_user(), "current"),
                    (self.user().to_owned(), "session"),
                ] {
                    if names.contains(&name) {
                        return Err(
                            RoleFault::InUse.error(format!("{whose} user cannot be dropped"), None)
                        );
                    }
                }
                for name in names {
                    let objects = self.engine.catalog.access().naming(name);
                    if let Some(object) = objects.first() {
                        let message = format!(
                            "role \"{name}\" cannot be dropped because some objects depend on it"
                        );
                        let hint = format!(
                            "DROP OWNED BY {name} takes what it was granted: something on {object}, for one."
                        );
                        return Err(RoleFault::Depended.error(message, Some(hint)));
                    }
                }
                let missing = roles.drop(names, *if_exists)?;
                Ok(skipped("DROP ROLE", "role", &missing))
            }
            RoleStatement::Grant { groups, members } => {
                self.check_superuser("grant role")?;
                let already = roles.grant(groups, &self.all_named(members))?;
                let notice = |(member, group)| {
                    Notice::plain(format!(
                        "role \"{member}\" is already a member of role \"{group}\""
                    ))
                };
                Ok(Outcome::done("GRANT ROLE").with(already.into_iter().map(notice).collect()))
            }
            RoleStatement::Revoke { groups, members } => {
                self.check_superuser("revoke role")?;
                let missing = roles.revoke(groups, &self.all_named(members))?;
                let warning = |(member, group)| Notice {
                    severity: "WARNING",
                    code: "01000",
                    ..Notice::plain(format!(
                        "role \"{member}\" is not a member of role \"{group}\""
                    ))
                };
                Ok(Outcome::done("REVOKE ROLE").with(missing.into_iter().map(warning).collect()))
            }
        }
    }

    fn check_superuser(&self, deed: &str) -> Result<()> {
        match self.is_superuser() {
            true => Ok(()),
            false => Err(denied(
                format!("permission denied to {deed}"),
                "A superuser decides about roles; your own password is yours to change.".to_owned(),
            )),
        }
    }

    pub(super) fn named(&self, role: &NamedRole) -> String {
        match role {
            NamedRole::Name(name) => name.clone(),
            NamedRole::Current => self.current_user(),
            NamedRole::Session => self.user().to_owned(),
        }
    }

    fn all_named(&self, roles: &[NamedRole]) -> Vec<String> {
        roles.iter().map(|role| self.named(role)).collect()
    }

    fn change(&self, options: &RoleOptions) -> Result<(Change, Vec<Notice>)> {
        let mut notices = Vec::new();
        let verifier = match &options.password {
            None => None,
            Some(None) => Some(None),
            Some(Some(password)) => {
                let verifier = verifier(password)?;
                if verifier.is_none() {
                    let message = "empty string is not a valid password, clearing password";
                    notices.push(Notice::plain(message.to_owned()));
                }
                Some(verifier)
            }
        };
        let valid_until_us = match &options.valid_until {
            None => None,
            Some(text) => Some(self.end_of_password(text)?),
        };
        let change = Change {
            superuser: options.superuser,
            login: options.login,
            connection_limit: options.connection_limit,
            valid_until_us,
            verifier,
        };
        Ok((change, notices))
    }

    /// A time as `VALID UNTIL` takes it, in microseconds; nothing for `infinity`.
    fn end_of_password(&self, text: &str) -> Result<Option<i64>> {
        let locale = self.locale();
        let time = datetime::instant(text, &locale).map_err(|_| {
            let hint = "Write a time such as '2027-01-01' or '2027-01-01 18:00+08', or 'infinity'.";
            let message = format!("invalid time for VALID UNTIL: \"{text}\"");
            RoleFault::Invalid.error(message, Some(hint.to_owned()))
        })?;
        Ok(Some(time).filter(|time| *time != i64::MAX))
    }
}

/// What an `ALTER ROLE` changes; what it doesn't say is absent.
struct Change {
    superuser: Option<bool>,
    login: Option<bool>,
    connection_limit: Option<Option<u32>>,
    valid_until_us: Option<Option<i64>>,
    verifier: Option<Option<Verifier>>,
}

impl Change {
    fn apply(self, role: &mut Role) {
        role.superuser = self.superuser.unwrap_or(role.superuser);
        role.login = self.login.unwrap_or(role.login);
        role.connection_limit = self.connection_limit.unwrap_or(role.connection_limit);
        role.valid_until_us = self.valid_until_us.unwrap_or(role.valid_until_us);
        if let Some(verifier) = self.verifier {
            role.verifier = verifier;
        }
    }
}

/// What is kept of a password; nothing of an empty one, also where it comes as a verifier.
fn verifier(Password(text): &Password) -> Result<Option<Verifier>> {
    let invalid = |message: &str, hint: &str| {
        Err(RoleFault::Invalid.error(message.to_owned(), Some(hint.to_owned())))
    };
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() == 35
        && text.starts_with("md5")
        && text[3..].bytes().all(|b| b.is_ascii_hexdigit())
    {
        return invalid(
            "MD5 passwords are not supported",
            "Give the password itself, or a SCRAM-SHA-256 verifier.",
        );
    }
    if !Verifier::is_meant(text) {
        return Verifier::of_password(text).map(Some);
    }
    match text.parse::<Verifier>() {
        Ok(verifier) if verifier.is_of("") => Ok(None),
        Ok(verifier) => Ok(Some(verifier)),
        Err(_) => invalid(
            "the password looks like a SCRAM-SHA-256 verifier and isn't one",
            "A verifier is SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, with at most 1000000 iterations.",
        ),
    }
}

fn denied(message: String, hint: String) -> Error {
    Error::Denied { message, hint }
}
