//! Where another database is, and as whom it is entered.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ForeignFault, Result};

/// What kind of database a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrapper {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// A file of SQLite's.
    Sqlite,
}

impl Wrapper {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::MySql, Self::Sqlite];

    /// Its name in `CREATE SERVER`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }

    /// The wrapper of that name, which may be the one of Postgres' own.
    ///
    /// # Errors
    /// 42704.
    pub fn named(name: &str) -> Result<Self> {
        let short = name.strip_suffix("_fdw").unwrap_or(name);
        let mut all = Self::ALL.into_iter();
        match all.find(|wrapper| wrapper.name() == short) {
            Some(wrapper) => Ok(wrapper),
            None => Err(ForeignFault::Unknown.error(
                format!("foreign-data wrapper \"{name}\" does not exist"),
                Some("There are postgres, mysql (MariaDB as well) and sqlite."),
            )),
        }
    }

    /// The options of a server.
    pub fn server_options(self) -> &'static [&'static str] {
        match self {
            Self::Postgres | Self::MySql => &[
                "host",
                "port",
                "dbname",
                "sslmode",
                "sslrootcert",
                "pool_size",
                "connect_timeout",
            ],
            Self::Sqlite => &["database", "pool_size"],
        }
    }

    /// The options of a user mapping.
    pub fn mapping_options(self) -> &'static [&'static str] {
        match self {
            Self::Postgres | Self::MySql => &["user", "password", "password_env", "password_file"],
            Self::Sqlite => &[],
        }
    }

    /// The options of a table.
    pub fn table_options(self) -> &'static [&'static str] {
        &["schema_name", "table_name"]
    }
}

/// Refuses options that there aren't.
///
/// # Errors
/// HV00D.
pub fn check_names<'a>(names: impl Iterator<Item = &'a String>, valid: &[&str]) -> Result<()> {
    for name in names {
        if !valid.contains(&name.as_str()) {
            let hint = match valid {
                [] => "There are no valid options in this context.".to_owned(),
                valid => format!("Valid options in this context are: {}", valid.join(", ")),
            };
            return Err(
                ForeignFault::OptionName.error(format!("invalid option \"{name}\""), Some(&hint))
            );
        }
    }
    Ok(())
}

/// The options of a server, checked.
///
/// # Errors
/// HV00D for a name, HV024 for a value.
pub fn check_server(wrapper: Wrapper, options: &BTreeMap<String, String>) -> Result<()> {
    check_names(options.keys(), wrapper.server_options())?;
    let wrong = |option: &str, what: &str| {
        let message = format!("invalid value for option \"{option}\"");
        Err(ForeignFault::OptionValue.error(message, Some(what)))
    };
    for (option, value) in options {
        let number = value.parse::<u64>().ok();
        match option.as_str() {
            "port" if !number.is_some_and(|port| (1..=65_535).contains(&port)) => {
                return wrong(option, "It is a number from 1 to 65535.");
            }
            "pool_size" if !number.is_some_and(|size| (1..=1000).contains(&size)) => {
                return wrong(option, "It is a number of connections from 1 to 1000.");
            }
            "connect_timeout" if !number.is_some_and(|time| (1..=600).contains(&time)) => {
                return wrong(option, "It is a number of seconds from 1 to 600.");
            }
            "sslmode" if !SSL_MODES.contains(&value.as_str()) => {
                return wrong(
                    option,
                    "It is disable, prefer, require, verify-ca or verify-full.",
                );
            }
            "host" | "dbname" if value.contains(['\0', ',']) || value.is_empty() => {
                return wrong(option, "It is one name.");
            }
            _ => {}
        }
    }
    if wrapper == Wrapper::Sqlite && !options.contains_key("database") {
        return Err(ForeignFault::OptionValue.error(
            "a sqlite server needs the option \"database\"".to_owned(),
            Some("It is the path of the file: OPTIONS (database '/srv/crm.db')."),
        ));
    }
    Ok(())
}

const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// As whom another database is entered. Its `Debug` shows no password.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The user there.
    pub user: Option<String>,
    /// The password as it was written.
    pub password: Option<String>,
    /// The variable of the environment that has it.
    pub password_env: Option<String>,
    /// The file that has it.
    pub password_file: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Where a server is, and as whom it is entered.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name here.
    pub server: String,
    /// What it is.
    pub wrapper: Wrapper,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// As whom.
    pub credentials: Credentials,
}

impl Settings {
    /// An option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// The host, this machine where none is given.
    pub fn host(&self) -> &str {
        self.option("host").unwrap_or("127.0.0.1")
    }

    /// The port.
    pub fn port(&self) -> u16 {
        let default = match self.wrapper {
            Wrapper::MySql => 3306,
            Wrapper::Postgres | Wrapper::Sqlite => 5432,
        };
        self.option("port")
            .and_then(|port| port.parse().ok())
            .unwrap_or(default)
    }

    /// How TLS is used. By default an encrypted connection is taken where there is one.
    pub fn sslmode(&self) -> &str {
        self.option("sslmode").unwrap_or("prefer")
    }

    /// The most connections at a time.
    pub fn pool_size(&self) -> usize {
        let size = self.option("pool_size").and_then(|size| size.parse().ok());
        size.unwrap_or(10)
    }

    /// How long connecting may take.
    pub fn connect_timeout(&self) -> Duration {
        let seconds = self.option("connect_timeout");
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(seconds.unwrap_or(10))
    }

    /// The password, read anew each time where it is in a variable or a file.
    ///
    /// # Errors
    /// 08001 for a variable that isn't set and a file that can't be read.
    pub fn password(&self) -> Result<Option<String>> {
        let credentials = &self.credentials;
        if let Some(variable) = &credentials.password_env {
            let found = std::env::var(variable).map_err(|_| {
                self.unreachable(&format!(
                    "variable \"{variable}\" with its password isn't set"
                ))
            });
            return found.map(Some);
        }
        if let Some(file) = &credentials.password_file {
            let text = std::fs::read_to_string(file).map_err(|error| {
                self.unreachable(&format!("the file of its password can't be read: {error}"))
            })?;
            return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        Ok(credentials.password.clone())
    }

    /// That the server can't be reached.
    pub fn unreachable(&self, reason: &str) -> Error {
        let place = match self.wrapper {
            Wrapper::Sqlite => String::new(),
            Wrapper::Postgres | Wrapper::MySql => format!(" at {}:{}", self.host(), self.port()),
        };
        ForeignFault::Connection.error(
            format!(
                "could not connect to server \"{}\"{place}: {reason}",
                self.server
            ),
            Some("Only queries that read its tables fail; they work again when it is back."),
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn options_are_checked_when_they_are_given() {
        let code = |wrapper, pairs: &[(&str, &str)]| {
            check_server(wrapper, &options(pairs)).map_err(|error| error.code())
        };
        assert_eq!(
            code(Wrapper::Postgres, &[("host", "db"), ("port", "5432")]),
            Ok(())
        );
        assert_eq!(code(Wrapper::Postgres, &[("hots", "db")]), Err("HV00D"));
        assert_eq!(code(Wrapper::MySql, &[("port", "0")]), Err("HV024"));
        assert_eq!(code(Wrapper::MySql, &[("sslmode", "on")]), Err("HV024"));
        assert_eq!(code(Wrapper::Sqlite, &[]), Err("HV024"));
        let error = check_server(Wrapper::Sqlite, &options(&[("host", "x")])).unwrap_err();
        assert_eq!(
            error.hint().unwrap(),
            "Valid options in this context are: database, pool_size"
        );
        assert_eq!(Wrapper::named("postgres_fdw").unwrap(), Wrapper::Postgres);
        assert_eq!(Wrapper::named("oracle_fdw").unwrap_err().code(), "42704");
    }

    #[test]
    fn passwords_are_not_shown() {
        let settings = Settings {
            server: "crm".to_owned(),
            wrapper: Wrapper::Postgres,
            options: BTreeMap::new(),
            credentials: Credentials {
                user: Some("ana".to_owned()),
                password: Some("geheim".to_owned()),
                ..Credentials::default()
            },
        };
        assert!(!format!("{settings:?}").contains("geheim"));
        assert!(
            !settings
                .unreachable("refused")
                .to_string()
                .contains("geheim")
        );
        assert_eq!(settings.password().unwrap().as_deref(), Some("geheim"));
    }
}
