//! The file of `funnelsql serve --config`.

mod rules;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use datafusion_funnel::error::nearest;
use toml::{Table, Value};

use super::exit::Failure;
use crate::server::rules::{Method, Over, Rule};
use crate::server::{ServerOptions, TlsFiles};

/// What a configuration file says; what it leaves out is absent.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `listen`
    pub listen: Option<String>,
    /// `data_dir`; a relative path starts at the file's folder.
    pub data_dir: Option<PathBuf>,
    /// `memory_limit`, in bytes
    pub memory_limit: Option<usize>,
    /// `shutdown_grace`
    pub shutdown_grace: Option<Duration>,
    /// `tls_cert`; a relative path starts at the file's folder, as of each path.
    pub tls_cert: Option<PathBuf>,
    /// `tls_key`
    pub tls_key: Option<PathBuf>,
    /// `tls_client_ca`
    pub tls_client_ca: Option<PathBuf>,
    /// `admin_password_file`
    pub admin_password_file: Option<PathBuf>,
    /// `max_connections`
    pub max_connections: Option<usize>,
    /// `superuser_reserved_connections`
    pub reserved_connections: Option<usize>,
    /// `login_timeout`
    pub login_timeout: Option<Duration>,
    /// `login_failures`
    pub login_failures: Option<u32>,
    /// `login_ban`
    pub login_ban: Option<Duration>,
    /// `[[auth]]`
    pub auth: Option<Vec<Rule>>,
}

const KEYS: [&str; 14] = [
    "listen",
    "data_dir",
    "memory_limit",
    "shutdown_grace",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "admin_password_file",
    "max_connections",
    "superuser_reserved_connections",
    "login_timeout",
    "login_failures",
    "login_ban",
    "auth",
];

/// As Postgres has them: 1 kB is 1024 bytes.
const BYTES: [(&str, u64); 6] = [
    ("", 1),
    ("b", 1),
    ("kb", 1 << 10),
    ("mb", 1 << 20),
    ("gb", 1 << 30),
    ("tb", 1 << 40),
];

/// A number without a unit is in seconds.
const MILLISECONDS: [(&str, u64); 5] = [
    ("", 1000),
    ("ms", 1),
    ("s", 1000),
    ("min", 60_000),
    ("h", 3_600_000),
];

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// F0000 for a file that isn't there or isn't TOML, for a key that there isn't, with the one it is
    /// near to, and for a value that its key can't have.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            let message = format!(
                "can't read configuration file \"{}\": {error}",
                path.display()
            );
            Failure::usage(message, "Check the path behind --config.")
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let table: Table = text
            .parse()
            .map_err(|error| syntax_error(&error, text, path))?;
        let mut config = Self::default();
        for (key, value) in &table {
            let setting = Setting { key, value, path };
            match key.as_str() {
                "listen" => config.listen = Some(setting.text("\"127.0.0.1:5477\"")?.to_owned()),
                "data_dir" => config.data_dir = Some(setting.file("\"/srv/funnelsql\"")?),
                "memory_limit" => {
                    config.memory_limit =
                        Some(setting.amount(&BYTES, "\"8GB\", or a number of bytes")?);
                }
                "shutdown_grace" => config.shutdown_grace = Some(setting.duration()?),
                "tls_cert" => config.tls_cert = Some(setting.file("\"server.crt\"")?),
                "tls_key" => config.tls_key = Some(setting.file("\"server.key\"")?),
                "tls_client_ca" => config.tls_client_ca = Some(setting.file("\"clients.crt\"")?),
                "admin_password_file" => {
                    config.admin_password_file = Some(setting.file("\"admin.password\"")?);
                }
                "max_connections" => config.max_connections = Some(setting.count("100")?),
                "superuser_reserved_connections" => {
                    config.reserved_connections = Some(setting.count("3")?);
                }
                "login_timeout" => config.login_timeout = Some(setting.duration()?),
                "login_failures" => {
                    config.login_failures = Some(setting.count("5, or 0 for any number")?);
                }
                "login_ban" => config.login_ban = Some(setting.duration()?),
                "auth" => config.auth = Some(rules::read(value, path)?),
                _ => {
                    let near = nearest(key, &KEYS.map(str::to_owned)).map(str::to_owned);
                    return Err(unknown_key(key, near.as_deref(), &KEYS, path));
                }
            }
        }
        Ok(config)
    }

    /// What a server that listens there is started with.
    ///
    /// # Errors
    /// F0000 for keys that don't go together.
    pub fn server_options(&self, listen: String) -> Result<ServerOptions, Failure> {
        let mut options = ServerOptions::new(listen);
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
                client_ca: self.tls_client_ca.clone(),
            }),
            (None, None) => None,
            _ => {
                return Err(apart(
                    "tls_cert and tls_key",
                    "one is there without the other",
                ));
            }
        };
        if tls.is_none() && self.tls_client_ca.is_some() {
            return Err(apart("tls_client_ca", "it needs tls_cert and tls_key"));
        }
        let rules = self.auth.as_deref().unwrap_or_default();
        if tls.is_none() && rules.iter().any(|rule| rule.over == Over::Tls) {
            return Err(apart(
                "a rule [[auth]] of type hostssl",
                "it needs tls_cert and tls_key",
            ));
        }
        if self.tls_client_ca.is_none()
            && rules.iter().any(|rule| rule.method == Method::Certificate)
        {
            return Err(apart(
                "a rule [[auth]] with method cert",
                "it needs tls_client_ca",
            ));
        }
        options.tls = tls;
        options.rules.clone_from(&self.auth);
        options.shutdown_grace = self.shutdown_grace.unwrap_or(options.shutdown_grace);
        options.max_connections = self.max_connections.unwrap_or(options.max_connections);
        options.reserved_connections = self
            .reserved_connections
            .unwrap_or(options.reserved_connections);
        options.login_timeout = self.login_timeout.unwrap_or(options.login_timeout);
        options.login_failures = self.login_failures.unwrap_or(options.login_failures);
        options.login_ban = self.login_ban.unwrap_or(options.login_ban);
        if options.reserved_connections >= options.max_connections {
            return Err(apart(
                "superuser_reserved_connections",
                "it has to be less than max_connections",
            ));
        }
        Ok(options)
    }
}

fn apart(what: &str, why: &str) -> Failure {
    Failure::usage(
        format!("{what} can't be used so: {why}"),
        "funnelsql serve --help has an example of a configuration.",
    )
}

/// A key and its value.
struct Setting<'a> {
    key: &'a str,
    value: &'a Value,
    path: &'a Path,
}

impl Setting<'_> {
    fn text(&self, example: &str) -> Result<&str, Failure> {
        self.value
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.invalid(example))
    }

    /// A path, from the folder of the configuration.
    fn file(&self, example: &str) -> Result<PathBuf, Failure> {
        let written = self.text(example)?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        Ok(folder.join(written))
    }

    fn duration(&self) -> Result<Duration, Failure> {
        let example = "\"10s\", \"500ms\", \"2min\", or a number of seconds";
        self.amount(&MILLISECONDS, example)
            .map(Duration::from_millis)
    }

    /// A whole number from zero.
    fn count<T: TryFrom<i64>>(&self, example: &str) -> Result<T, Failure> {
        let number = self.value.as_integer().filter(|number| *number >= 0);
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.invalid(example))
    }

    /// A whole number above zero with one of the units, in the smallest of them.
    fn amount<T: TryFrom<u64>>(&self, units: &[(&str, u64)], example: &str) -> Result<T, Failure> {
        let written = match self.value {
            Value::String(text) => text.trim().to_lowercase(),
            Value::Integer(number) => number.to_string(),
            _ => return Err(self.invalid(example)),
        };
        let digits = written
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(written.len());
        let (number, unit) = written.split_at(digits);
        let factor = units
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .map(|(_, factor)| *factor);
        let amount = number
            .parse::<u64>()
            .ok()
            .zip(factor)
            .and_then(|(n, factor)| n.checked_mul(factor));
        amount
            .filter(|amount| *amount > 0)
            .and_then(|amount| T::try_from(amount).ok())
            .ok_or_else(|| self.invalid(example))
    }

    fn invalid(&self, example: &str) -> Failure {
        let Self { key, value, path } = self;
        let message = format!("{key} in \"{}\" can't be {value}", path.display());
        Failure::usage(message, format!("Write {example}."))
    }
}

fn unknown_key(key: &str, near: Option<&str>, keys: &[&str], path: &Path) -> Failure {
    let message = format!("key \"{key}\" in \"{}\" does not exist", path.display());
    let hint = match near {
        Some(near) => format!("Perhaps you meant \"{near}\"."),
        None => {
            let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
            format!("There is: {}.", keys.join(", "))
        }
    };
    Failure::usage(message, hint)
}

fn syntax_error(error: &toml::de::Error, text: &str, path: &Path) -> Failure {
    let line = match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!(" line {}", before.matches('\n').count() + 1),
        None => String::new(),
    };
    let message = format!(
        "\"{}\"{line} is not TOML: {}",
        path.display(),
        error.message()
    );
    Failure::usage(
        message,
        "Write a key, an equals sign and a value on each line: listen = \"127.0.0.1:5477\".",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, (String, String)> {
        Config::parse(text, Path::new("etc/f.toml")).map_err(|failure| {
            let error = failure.error().unwrap();
            (error.to_string(), error.hint().unwrap())
        })
    }

    #[test]
    fn every_key_is_read() {
        let text =
            "listen = '[::1]:80'\ndata_dir = 'd'\nmemory_limit = '8GB'\nshutdown_grace = '10s'";
        let expected = Config {
            listen: Some("[::1]:80".to_owned()),
            data_dir: Some(PathBuf::from("etc/d")),
            memory_limit: Some(8 << 30),
            shutdown_grace: Some(Duration::from_secs(10)),
            ..Config::default()
        };
        assert_eq!(parse(text), Ok(expected));
        let text = "tls_cert = 'c'\ntls_key = '/k'\ntls_client_ca = 'ca'\nadmin_password_file = 'p'\nmax_connections = 20\n\
                    superuser_reserved_connections = 0\nlogin_timeout = '5s'\nlogin_failures = 0\nlogin_ban = '1h'";
        let expected = Config {
            tls_cert: Some(PathBuf::from("etc/c")),
            tls_key: Some(PathBuf::from("/k")),
            tls_client_ca: Some(PathBuf::from("etc/ca")),
            admin_password_file: Some(PathBuf::from("etc/p")),
            max_connections: Some(20),
            reserved_connections: Some(0),
            login_timeout: Some(Duration::from_secs(5)),
            login_failures: Some(0),
            login_ban: Some(Duration::from_secs(3600)),
            ..Config::default()
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(""), Ok(Config::default()));
    }

    #[test]
    fn amounts_have_units() {
        let bytes = |value: &str| {
            parse(&format!("memory_limit = {value}"))
                .unwrap()
                .memory_limit
        };
        assert_eq!(bytes("1000"), Some(1000));
        assert_eq!(bytes("'64 kB'"), Some(65_536));
        assert_eq!(bytes("'1b'"), Some(1));
        let grace = |value: &str| {
            parse(&format!("shutdown_grace = {value}"))
                .unwrap()
                .shutdown_grace
        };
        assert_eq!(grace("3"), Some(Duration::from_secs(3)));
        assert_eq!(grace("'250ms'"), Some(Duration::from_millis(250)));
        assert_eq!(grace("'2 min'"), Some(Duration::from_secs(120)));
        for value in [
            "'8 XB'",
            "'GB'",
            "-1",
            "0",
            "1.5",
            "true",
            "'99999999999TB'",
            "''",
        ] {
            let (message, hint) = parse(&format!("memory_limit = {value}")).unwrap_err();
            assert!(
                message.starts_with("memory_limit in \"etc/f.toml\" can't be "),
                "{message}"
            );
            assert_eq!(hint, "Write \"8GB\", or a number of bytes.");
        }
    }

    #[test]
    fn keys_that_do_not_go_together_are_refused() {
        for (text, part) in [
            ("tls_cert = 'c'", "tls_cert and tls_key"),
            ("tls_client_ca = 'c'", "tls_client_ca"),
            ("[[auth]]\ntype = 'hostssl'\nmethod = 'reject'", "hostssl"),
            (
                "tls_cert = 'c'\ntls_key = 'k'\n[[auth]]\ntype = 'hostssl'\nmethod = 'cert'",
                "tls_client_ca",
            ),
            ("max_connections = 3", "superuser_reserved_connections"),
        ] {
            let failure = parse(text)
                .unwrap()
                .server_options("[::1]:0".to_owned())
                .unwrap_err();
            let error = failure.error().unwrap();
            assert_eq!(error.code(), "F0000");
            assert!(error.to_string().contains(part), "{error}");
        }
        let options = parse("")
            .unwrap()
            .server_options("[::1]:0".to_owned())
            .unwrap();
        assert_eq!(
            (options.max_connections, options.reserved_connections),
            (100, 3)
        );
    }

    #[test]
    fn faults_name_the_file_and_what_to_write() {
        let (message, hint) = parse("listne = 'x'").unwrap_err();
        assert_eq!(message, "key \"listne\" in \"etc/f.toml\" does not exist");
        assert_eq!(hint, "Perhaps you meant \"listen\".");
        let (_, hint) = parse("ssl = true").unwrap_err();
        assert!(
            hint.starts_with("There is: \"listen\", \"data_dir\", \"memory_limit\", "),
            "{hint}"
        );
        let (message, _) = parse("listen = 5477").unwrap_err();
        assert_eq!(message, "listen in \"etc/f.toml\" can't be 5477");
        let (message, _) = parse("listen = 'a'\nlisten").unwrap_err();
        assert!(
            message.starts_with("\"etc/f.toml\" line 2 is not TOML: "),
            "{message}"
        );
    }
}
