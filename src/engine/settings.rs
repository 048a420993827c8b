//! A session's settings: the ones that Postgres clients set and read.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// A setting that a session knows.
struct Known {
    name: &'static str,
    default: &'static str,
    /// The client is told when it changes (ParameterStatus).
    reported: bool,
    /// It can be read and not set.
    fixed: bool,
    description: &'static str,
}

const fn known(name: &'static str, default: &'static str, description: &'static str) -> Known {
    Known {
        name,
        default,
        reported: false,
        fixed: false,
        description,
    }
}

const fn reported(name: &'static str, default: &'static str, description: &'static str) -> Known {
    Known {
        name,
        default,
        reported: true,
        fixed: false,
        description,
    }
}

const fn fixed(name: &'static str, default: &'static str, description: &'static str) -> Known {
    Known {
        name,
        default,
        reported: true,
        fixed: true,
        description,
    }
}

/// The version of Postgres whose behaviour is the model. Clients choose their catalog queries by it.
pub const POSTGRES_VERSION: &str = "15.18";

const KNOWN: [Known; 24] = [
    reported("application_name", "", "The client's name for itself."),
    known("bytea_output", "hex", "How bytea is shown."),
    reported("client_encoding", "UTF8", "The client's character set."),
    known(
        "client_min_messages",
        "notice",
        "The least severe message that is sent.",
    ),
    reported("datestyle", "ISO, MDY", "How dates are shown and read."),
    known(
        "default_transaction_isolation",
        "read committed",
        "Isolation of new transactions.",
    ),
    known(
        "default_transaction_read_only",
        "off",
        "Whether new transactions may write.",
    ),
    known(
        "extra_float_digits",
        "1",
        "Digits of floating-point numbers.",
    ),
    known(
        "idle_in_transaction_session_timeout",
        "0",
        "Longest idle time in a transaction.",
    ),
    fixed("integer_datetimes", "on", "Times are 64-bit integers."),
    reported("intervalstyle", "postgres", "How intervals are shown."),
    fixed("is_superuser", "off", "Whether the user is a superuser."),
    known("lock_timeout", "0", "Longest wait for a lock."),
    fixed(
        "max_identifier_length",
        "63",
        "Longest identifier, in bytes.",
    ),
    known("row_security", "on", "Whether row policies hold."),
    known(
        "search_path",
        "\"$user\", public",
        "Schemas that are searched for a table.",
    ),
    fixed("server_encoding", "UTF8", "The server's character set."),
    fixed(
        "server_version",
        POSTGRES_VERSION,
        "The version of Postgres that is followed.",
    ),
    fixed("server_version_num", "150018", "The same as a number."),
    fixed(
        "standard_conforming_strings",
        "on",
        "Backslashes in strings are plain.",
    ),
    known("statement_timeout", "0", "Longest run of a statement."),
    reported(
        "timezone",
        "UTC",
        "Where a day begins, and how instants are shown.",
    ),
    known(
        "transaction_isolation",
        "read committed",
        "Isolation of this transaction.",
    ),
    known(
        "transaction_read_only",
        "off",
        "Whether this transaction may write.",
    ),
];

/// The values of one session.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    changed: BTreeMap<&'static str, String>,
}

impl Settings {
    /// The value of a setting.
    ///
    /// # Errors
    /// 42704 for one that there isn't.
    pub fn get(&self, name: &str) -> Result<&str> {
        let known = find(name)?;
        Ok(self
            .changed
            .get(known.name)
            .map_or(known.default, String::as_str))
    }

    /// Sets a setting; `None` gives it back its default. Returns its name as clients know it when they
    /// have to be told.
    ///
    /// # Errors
    /// 42704 for one that there isn't, 22023 for one that can't be set so.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<Option<&'static str>> {
        let known = find(name)?;
        let current = self.get(name)?;
        if let Some(value) = value {
            if known.fixed && value != current {
                let message = format!("parameter \"{name}\" cannot be changed");
                return Err(Error::InvalidSetting {
                    message,
                    hint: None,
                });
            }
            let value = check(known.name, value)?;
            self.changed.insert(known.name, value);
        } else {
            self.changed.remove(known.name);
        }
        Ok(known.reported.then(|| wire_name(known.name)))
    }

    /// All names, values and descriptions.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str, &'static str)> {
        KNOWN.iter().map(|known| {
            let value = self
                .changed
                .get(known.name)
                .map_or(known.default, String::as_str);
            (known.name, value, known.description)
        })
    }

    /// The names and values that a client is told when it connects.
    pub fn reported(&self) -> Vec<(&'static str, String)> {
        KNOWN
            .iter()
            .filter(|known| known.reported)
            .map(|known| {
                let value = self
                    .changed
                    .get(known.name)
                    .map_or(known.default, String::as_str);
                (wire_name(known.name), value.to_owned())
            })
            .collect()
    }
}

/// Whether there is a setting of that name.
pub fn exists(name: &str) -> bool {
    find(name).is_ok()
}

fn find(name: &str) -> Result<&'static Known> {
    let lower = name.to_lowercase();
    KNOWN
        .iter()
        .find(|known| known.name == lower)
        .ok_or_else(|| Error::UnknownSetting(name.to_owned()))
}

/// Three settings have capitals in the protocol, and some clients look for them.
fn wire_name(name: &'static str) -> &'static str {
    match name {
        "datestyle" => "DateStyle",
        "intervalstyle" => "IntervalStyle",
        "timezone" => "TimeZone",
        other => other,
    }
}

fn check(name: &str, value: &str) -> Result<String> {
    let invalid = |hint: Option<&str>| Error::InvalidSetting {
        message: format!("invalid value for parameter \"{name}\": \"{value}\""),
        hint: hint.map(str::to_owned),
    };
    match name {
        "timezone" => {
            let zone = time_zone(value);
            zone.parse::<datafusion::arrow::array::timezone::Tz>()
                .map_err(|_| {
                    invalid(Some(
                        "Write a name such as Asia/Shanghai, or an offset such as +08:00.",
                    ))
                })?;
            Ok(zone)
        }
        "client_encoding" => {
            let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            match plain.to_lowercase().as_str() {
                "utf8" | "unicode" => Ok("UTF8".to_owned()),
                _ => Err(invalid(Some("UTF8 is supported."))),
            }
        }
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            milliseconds(value)
                .map(|_| value.to_owned())
                .ok_or_else(|| {
                    invalid(Some(
                        "Write milliseconds, or a number with a unit: 500ms, 30s, 5min, 1h.",
                    ))
                })
        }
        _ => Ok(value.to_owned()),
    }
}

/// `utc` and `z` as arrow knows them; everything else as it is.
fn time_zone(value: &str) -> String {
    match value.to_lowercase().as_str() {
        "utc" | "z" | "zulu" | "gmt" => "UTC".to_owned(),
        _ => value.to_owned(),
    }
}

/// A length of time as Postgres settings write it, in milliseconds.
pub fn milliseconds(value: &str) -> Option<u64> {
    let value = value.trim();
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = value[..digits].parse().ok()?;
    let factor = match value[digits..].trim() {
        "" | "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_checked_kept_and_given_back() {
        let mut settings = Settings::default();
        assert_eq!(
            settings.set("TimeZone", Some("Asia/Shanghai")).unwrap(),
            Some("TimeZone")
        );
        assert_eq!(settings.get("timezone").unwrap(), "Asia/Shanghai");
        assert_eq!(
            settings
                .set("timezone", Some("Mars/Base"))
                .unwrap_err()
                .code(),
            "22023"
        );
        assert_eq!(settings.get("timezone").unwrap(), "Asia/Shanghai");
        settings.set("timezone", None).unwrap();
        assert_eq!(settings.get("timezone").unwrap(), "UTC");
        assert_eq!(
            settings.set("no_such", Some("1")).unwrap_err().code(),
            "42704"
        );
        assert_eq!(
            settings
                .set("server_version", Some("9"))
                .unwrap_err()
                .code(),
            "22023"
        );
    }

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(milliseconds("30s"), Some(30_000));
        assert_eq!(milliseconds("500"), Some(500));
        assert_eq!(milliseconds("1 min"), Some(60_000));
        assert_eq!(milliseconds("soon"), None);
        assert_eq!(milliseconds("99999999999999999d"), None);
    }
}
