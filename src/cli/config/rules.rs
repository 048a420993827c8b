//! `[[auth]]`: a rule about who may connect; the first that fits decides.

use datafusion_funnel::error::nearest;
use toml::{Table, Value};

use super::{Origin, Setting, unknown_key};
use crate::cli::exit::Failure;
use crate::server::rules::{Addresses, Method, Over, Rule};

const KEYS: [&str; 5] = ["type", "address", "database", "user", "method"];

/// Reads the tables.
pub fn read(value: &Value, origin: &Origin) -> Result<Vec<Rule>, Failure> {
    let tables = value
        .as_array()
        .filter(|tables| tables.iter().all(Value::is_table));
    let Some(tables) = tables else {
        let setting = Setting {
            key: "auth",
            value,
            origin,
        };
        return Err(setting.invalid("each rule as a table: [[auth]] on a line, and its keys below"));
    };
    tables
        .iter()
        .filter_map(Value::as_table)
        .map(|table| rule(table, origin))
        .collect()
}

fn rule(table: &Table, origin: &Origin) -> Result<Rule, Failure> {
    let Origin::File(path) = origin else {
        return Err(Failure::usage(
            "rules ([[auth]]) can't come from the environment".to_owned(),
            "Write them into a file for --config.",
        ));
    };
    let mut method = None;
    let mut rule = Rule {
        over: Over::Any,
        address: Addresses::All,
        databases: Vec::new(),
        users: Vec::new(),
        method: Method::Reject,
    };
    for (key, value) in table {
        let setting = Setting { key, value, origin };
        match key.as_str() {
            "type" => rule.over = setting.one_of(&OVER)?,
            "address" => {
                let example = "\"all\", \"loopback\", an address, or a net such as \"10.0.0.0/8\"";
                let text = setting.text(example)?;
                rule.address = text.parse().map_err(|_| setting.invalid(example))?;
            }
            "database" => rule.databases = setting.names()?,
            "user" => rule.users = setting.names()?,
            "method" => method = Some(setting.one_of(&METHODS)?),
            _ => {
                let near = nearest(key, &KEYS.map(str::to_owned)).map(str::to_owned);
                return Err(unknown_key(
                    &format!("auth.{key}"),
                    near.as_deref(),
                    &KEYS,
                    path,
                ));
            }
        }
    }
    let Some(method) = method else {
        let message = format!("a rule [[auth]] in \"{}\" has no method", path.display());
        return Err(Failure::usage(
            message,
            "Write method = \"scram-sha-256\", \"cert\", \"trust\" or \"reject\".",
        ));
    };
    rule.method = method;
    if method == Method::Certificate && rule.over != Over::Tls {
        let message = format!(
            "a rule [[auth]] in \"{}\" wants a certificate without TLS",
            path.display()
        );
        return Err(Failure::usage(
            message,
            "Write type = \"hostssl\" beside method = \"cert\".",
        ));
    }
    Ok(rule)
}

const OVER: [(&str, Over); 3] = [
    ("host", Over::Any),
    ("hostssl", Over::Tls),
    ("hostnossl", Over::Plain),
];

const METHODS: [(&str, Method); 4] = [
    ("scram-sha-256", Method::Scram),
    ("cert", Method::Certificate),
    ("trust", Method::Trust),
    ("reject", Method::Reject),
];

impl Setting<'_> {
    pub(super) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Failure> {
        let text = self.value.as_str().unwrap_or_default();
        let chosen = choices.iter().find(|(name, _)| *name == text);
        let names: Vec<String> = choices
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        chosen
            .map(|(_, choice)| *choice)
            .ok_or_else(|| self.invalid(&names.join(", ")))
    }

    /// One name or several; none for `all`.
    fn names(&self) -> Result<Vec<String>, Failure> {
        let example = "\"all\", a name, or several: [\"ana\", \"+sales\"]";
        let names = match self.value {
            Value::String(name) => Some(vec![name.as_str()]),
            Value::Array(names) => names.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let names: Vec<&str> = names.unwrap_or_default();
        if names.is_empty() || names.iter().any(|name| name.is_empty() || *name == "+") {
            return Err(self.invalid(example));
        }
        match names.contains(&"all") {
            true => Ok(Vec::new()),
            false => Ok(names.into_iter().map(str::to_owned).collect()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Vec<Rule>, (String, String)> {
        let config = Config::parse(text, Path::new("f.toml")).map_err(|failure| {
            let error = failure.error().unwrap();
            (error.to_string(), error.hint().unwrap())
        })?;
        Ok(config.auth.unwrap())
    }

    #[test]
    fn rules_come_in_their_order() {
        let text = "[[auth]]\ntype = 'hostssl'\naddress = '10.0.0.0/8'\ndatabase = ['a', 'b']\nuser = '+sales'\nmethod = 'cert'\n\
                    [[auth]]\nuser = ['ana', 'all']\nmethod = 'scram-sha-256'";
        let rules = parse(text).unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(
            (rules[0].over, rules[0].method),
            (Over::Tls, Method::Certificate)
        );
        assert_eq!(
            (rules[0].databases.len(), rules[0].users[0].as_str()),
            (2, "+sales")
        );
        assert_eq!(rules[1].address, Addresses::All);
        assert!(rules[1].users.is_empty());
    }

    #[test]
    fn a_fault_in_a_rule_says_what_to_write() {
        for (text, message, hint) in [
            (
                "auth = 1",
                "auth in \"f.toml\" can't be 1",
                "each rule as a table",
            ),
            (
                "[[auth]]\nuser = 'ana'",
                "a rule [[auth]] in \"f.toml\" has no method",
                "\"scram-sha-256\"",
            ),
            (
                "[[auth]]\nmethod = 'md5'",
                "method in \"f.toml\" can't be \"md5\"",
                "\"scram-sha-256\"",
            ),
            (
                "[[auth]]\nmethod = 'trust'\naddress = '10.0.0.0/99'",
                "address in \"f.toml\" can't be \"10.0.0.0/99\"",
                "loopback",
            ),
            (
                "[[auth]]\nmethod = 'trust'\nuser = 7",
                "user in \"f.toml\" can't be 7",
                "+sales",
            ),
            (
                "[[auth]]\nmethod = 'trust'\nusr = 'a'",
                "key \"auth.usr\" in \"f.toml\" does not exist",
                "\"user\"",
            ),
            (
                "[[auth]]\nmethod = 'cert'",
                "a rule [[auth]] in \"f.toml\" wants a certificate without TLS",
                "hostssl",
            ),
        ] {
            let found = parse(text).unwrap_err();
            assert_eq!(found.0, message);
            assert!(found.1.contains(hint), "{found:?}");
        }
    }
}
