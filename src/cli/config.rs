//! What a server is told: the file of `--config`, and variables of the environment that go before it.

pub mod keys;
mod object_store;
mod refresh;
mod rules;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use datafusion_funnel::error::nearest;
use toml::{Table, Value};

use super::exit::Failure;
use super::log::LogFormat;
use super::machine;
use crate::audit::AuditOptions;
use crate::engine::EngineOptions;
use crate::engine::settings;
use crate::external::ConfiguredStore;
use crate::server::rules::{Method, Over, Rule};
use crate::server::{Refresh, ServerOptions, TlsFiles};
use keys::{KEYS, variable};

/// What a configuration says; what it leaves out is absent.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    /// `listen`
    pub listen: Option<String>,
    /// `data_dir`; a relative path starts at the file's folder, as each does.
    pub data_dir: Option<PathBuf>,
    /// `memory_limit`, in bytes
    pub memory_limit: Option<usize>,
    /// `session_memory_limit`, in bytes
    pub session_memory_limit: Option<usize>,
    /// `temp_dir`
    pub temp_dir: Option<PathBuf>,
    /// `temp_limit`, in bytes
    pub temp_limit: Option<u64>,
    /// `result_limit`, in bytes
    pub result_limit: Option<usize>,
    /// `max_prepared_statements`
    pub max_prepared_statements: Option<usize>,
    /// `shutdown_grace`
    pub shutdown_grace: Option<Duration>,
    /// `send_timeout`
    pub send_timeout: Option<Duration>,
    /// `tls_cert`
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
    /// `audit`
    pub audit: Option<bool>,
    /// `audit_dir`
    pub audit_dir: Option<PathBuf>,
    /// `audit_file_size`, in bytes
    pub audit_file_size: Option<u64>,
    /// `audit_files`
    pub audit_files: Option<usize>,
    /// `audit_literals`
    pub audit_literals: Option<bool>,
    /// `metrics_listen`
    pub metrics_listen: Option<String>,
    /// `log_format`
    pub log_format: Option<LogFormat>,
    /// `log_level`
    pub log_level: Option<String>,
    /// `[settings]`
    pub settings: BTreeMap<String, String>,
    /// `[[auth]]`
    pub auth: Option<Vec<Rule>>,
    /// `[[refresh]]`
    pub refreshes: Vec<Refresh>,
    /// `[[object_store]]`
    pub object_stores: Vec<ConfiguredStore>,
    /// The values as they were written, and where.
    pub written: BTreeMap<&'static str, (Value, Origin)>,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable,
}

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

/// The least that a session can sort anything in.
const LEAST_SESSION_MEMORY: usize = 16 << 20;

impl Config {
    /// Reads a file, where there is one, and the environment.
    ///
    /// # Errors
    /// F0000 for a file that isn't there or isn't TOML, for a key that there isn't, with the one it is
    /// near to, and for a value that its key can't have.
    pub fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let mut config = match path {
            None => Self::default(),
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    let message = format!(
                        "can't read configuration file \"{}\": {error}",
                        path.display()
                    );
                    Failure::usage(message, "Check the path behind --config.")
                })?;
                Self::parse(&text, path)?
            }
        };
        config.overlay(|name| env::var(name).ok())?;
        Ok(config)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, Failure> {
        let table: Table = text
            .parse()
            .map_err(|error| syntax_error(&error, text, path))?;
        let mut config = Self::default();
        for (key, value) in &table {
            let Some(known) = KEYS.iter().find(|known| known.name == key) else {
                let names = KEYS.map(|key| key.name);
                let near = nearest(key, &names.map(str::to_owned)).map(str::to_owned);
                return Err(unknown_key(key, near.as_deref(), &names, path));
            };
            config.take(known.name, value.clone(), Origin::File(path.to_owned()))?;
        }
        Ok(config)
    }

    /// Takes what the environment says in the place of what the file does.
    fn overlay(&mut self, variable_of: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
        for key in KEYS.iter().filter(|key| key.has_variable()) {
            let Some(text) = variable_of(&variable(key.name)) else {
                continue;
            };
            let value = match text.parse::<i64>() {
                Ok(number) => Value::Integer(number),
                Err(_) => match text.parse::<bool>() {
                    Ok(truth) => Value::Boolean(truth),
                    Err(_) => Value::String(text),
                },
            };
            self.take(key.name, value, Origin::Variable)?;
        }
        Ok(())
    }

    fn take(&mut self, key: &'static str, value: Value, origin: Origin) -> Result<(), Failure> {
        let setting = Setting {
            key,
            value: &value,
            origin: &origin,
        };
        match key {
            "listen" => self.listen = Some(setting.text("\"127.0.0.1:5477\"")?.to_owned()),
            "data_dir" => self.data_dir = Some(setting.data_dir()?),
            "memory_limit" => self.memory_limit = Some(setting.bytes()?),
            "session_memory_limit" => self.session_memory_limit = Some(setting.bytes()?),
            "temp_dir" => self.temp_dir = Some(setting.file("\"/var/tmp\"")?),
            "temp_limit" => self.temp_limit = Some(setting.bytes()?),
            "result_limit" => self.result_limit = Some(setting.bytes()?),
            "max_prepared_statements" => {
                self.max_prepared_statements = Some(setting.count("2000")?);
            }
            "shutdown_grace" => self.shutdown_grace = Some(setting.duration()?),
            "send_timeout" => self.send_timeout = Some(setting.duration()?),
            "tls_cert" => self.tls_cert = Some(setting.file("\"server.crt\"")?),
            "tls_key" => self.tls_key = Some(setting.file("\"server.key\"")?),
            "tls_client_ca" => self.tls_client_ca = Some(setting.file("\"clients.crt\"")?),
            "admin_password_file" => {
                self.admin_password_file = Some(setting.file("\"admin.password\"")?);
            }
            "max_connections" => self.max_connections = Some(setting.count("100")?),
            "superuser_reserved_connections" => {
                self.reserved_connections = Some(setting.count("3")?);
            }
            "login_timeout" => self.login_timeout = Some(setting.duration()?),
            "login_failures" => {
                self.login_failures = Some(setting.count("5, or 0 for any number")?);
            }
            "login_ban" => self.login_ban = Some(setting.duration()?),
            "audit" => self.audit = Some(setting.truth()?),
            "audit_dir" => self.audit_dir = Some(setting.file("\"/var/log/funnelsql\"")?),
            "audit_file_size" => self.audit_file_size = Some(setting.bytes()?),
            "audit_files" => self.audit_files = Some(setting.positive("16")?),
            "audit_literals" => self.audit_literals = Some(setting.truth()?),
            "metrics_listen" => {
                self.metrics_listen = Some(setting.text("\"127.0.0.1:9477\"")?.to_owned());
            }
            "log_format" => self.log_format = Some(setting.one_of(&LogFormat::NAMES)?),
            "log_level" => {
                let example = "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"";
                let level = setting.text(example)?;
                super::log::check_level(level).map_err(|()| setting.invalid(example))?;
                self.log_level = Some(level.to_owned());
            }
            "settings" => self.settings = setting.settings()?,
            "refresh" => self.refreshes = refresh::read(&value, &origin)?,
            "object_store" => self.object_stores = object_store::read(&value, &origin)?,
            _ => self.auth = Some(rules::read(&value, &origin)?),
        }
        self.written.insert(key, (value, origin));
        Ok(())
    }

    /// What an engine over that directory is opened with.
    ///
    /// # Errors
    /// F0000 for limits that don't go together.
    pub fn engine_options(&self, data_dir: PathBuf) -> Result<EngineOptions, Failure> {
        let mut options = EngineOptions::new(data_dir);
        // Without a limit the system would end the server, and everybody's statements with it.
        options.memory_limit = self.memory_limit.or_else(machine::default_memory_limit);
        options.session_memory_limit = self.session_memory_limit.or(options
            .memory_limit
            .map(|limit| (limit / 2).max(LEAST_SESSION_MEMORY)));
        if self
            .session_memory_limit
            .is_some_and(|limit| limit < LEAST_SESSION_MEMORY)
        {
            return Err(apart("session_memory_limit", "it has to be 16MB or more"));
        }
        options.temp_dir.clone_from(&self.temp_dir);
        options.temp_limit = self.temp_limit.unwrap_or(options.temp_limit);
        options.max_prepared_statements = self
            .max_prepared_statements
            .unwrap_or(options.max_prepared_statements);
        options.settings.clone_from(&self.settings);
        options.object_stores.clone_from(&self.object_stores);
        if self.audit.unwrap_or(true) {
            let folder = self.audit_dir.clone();
            let mut audit = AuditOptions::new(
                folder.unwrap_or_else(|| crate::storage::audit_folder(&options.data_dir)),
            );
            audit.file_bytes = self.audit_file_size.unwrap_or(audit.file_bytes);
            audit.files = self.audit_files.unwrap_or(audit.files);
            audit.literals = self.audit_literals.unwrap_or(audit.literals);
            options.audit = Some(audit);
        }
        Ok(options)
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
        options.send_timeout = self.send_timeout.unwrap_or(options.send_timeout);
        options.result_limit = self.result_limit;
        options.metrics_listen.clone_from(&self.metrics_listen);
        options.refreshes.clone_from(&self.refreshes);
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
    origin: &'a Origin,
}

impl Setting<'_> {
    fn text(&self, example: &str) -> Result<&str, Failure> {
        self.value
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.invalid(example))
    }

    /// A path, from the folder of the configuration, or from where the server is started.
    fn file(&self, example: &str) -> Result<PathBuf, Failure> {
        let written = self.text(example)?;
        let folder = match self.origin {
            Origin::File(path) => path.parent().unwrap_or(Path::new("")),
            Origin::Variable => Path::new(""),
        };
        Ok(folder.join(written))
    }

    /// A folder, or an address of a store as it is written.
    fn data_dir(&self) -> Result<PathBuf, Failure> {
        let example = "\"/srv/funnelsql\", or \"s3://bucket/prefix\"";
        let written = Path::new(self.text(example)?);
        match crate::storage::is_store(written) {
            true => Ok(written.to_owned()),
            false => self.file(example),
        }
    }

    fn bytes<T: TryFrom<u64>>(&self) -> Result<T, Failure> {
        self.amount(&BYTES, "\"8GB\", or a number of bytes")
    }

    fn truth(&self) -> Result<bool, Failure> {
        self.value
            .as_bool()
            .ok_or_else(|| self.invalid("true or false"))
    }

    /// A table of Postgres' settings and their values.
    fn settings(&self) -> Result<BTreeMap<String, String>, Failure> {
        let Some(table) = self.value.as_table() else {
            return Err(self.invalid(
                "[settings] on a line, and settings below: statement_timeout = \"5min\"",
            ));
        };
        let text = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            (name.clone(), value)
        };
        let wanted: BTreeMap<String, String> = table.iter().map(text).collect();
        settings::defaults(&wanted).map_err(|error| {
            let hint = error
                .hint()
                .unwrap_or_else(|| "SHOW ALL lists the settings and what they may be.".to_owned());
            Failure::usage(format!("[settings] in {}: {error}", self.place()), hint)
        })?;
        Ok(wanted)
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

    fn positive(&self, example: &str) -> Result<usize, Failure> {
        self.count(example).and_then(|number| match number {
            0 => Err(self.invalid(example)),
            number => Ok(number),
        })
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

    fn place(&self) -> String {
        match self.origin {
            Origin::File(path) => format!("\"{}\"", path.display()),
            Origin::Variable => "the environment".to_owned(),
        }
    }

    fn invalid(&self, example: &str) -> Failure {
        let Self { key, value, origin } = self;
        let message = match origin {
            Origin::File(_) => format!("{key} in {} can't be {value}", self.place()),
            Origin::Variable => format!("{} can't be {value}", variable(key)),
        };
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

    fn told<T>(result: Result<T, Failure>) -> Result<T, (String, String)> {
        result.map_err(|failure| {
            let error = failure.error().unwrap();
            (error.to_string(), error.hint().unwrap())
        })
    }

    /// What a text says; as it was written is another test's.
    fn parse(text: &str) -> Result<Config, (String, String)> {
        let mut config = told(Config::parse(text, Path::new("etc/f.toml")))?;
        config.written.clear();
        Ok(config)
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
        let text = "session_memory_limit = '1GB'\ntemp_dir = 't'\ntemp_limit = '2GB'\nresult_limit = '1MB'\n\
                    max_prepared_statements = 7\nsend_timeout = '1min'\naudit = false\naudit_dir = '/a'\n\
                    audit_file_size = '1MB'\naudit_files = 2\naudit_literals = false\nmetrics_listen = '[::1]:1'\n\
                    log_format = 'json'\nlog_level = 'warn'\n[settings]\nstatement_timeout = '5min'\nDateStyle = 'ISO'";
        let expected = Config {
            session_memory_limit: Some(1 << 30),
            temp_dir: Some(PathBuf::from("etc/t")),
            temp_limit: Some(2 << 30),
            result_limit: Some(1 << 20),
            max_prepared_statements: Some(7),
            send_timeout: Some(Duration::from_secs(60)),
            audit: Some(false),
            audit_dir: Some(PathBuf::from("/a")),
            audit_file_size: Some(1 << 20),
            audit_files: Some(2),
            audit_literals: Some(false),
            metrics_listen: Some("[::1]:1".to_owned()),
            log_format: Some(LogFormat::Json),
            log_level: Some("warn".to_owned()),
            settings: [("statement_timeout", "5min"), ("DateStyle", "ISO")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Config::default()
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn every_key_of_the_list_is_read() {
        for key in KEYS {
            // A date is what none of them can be.
            let text = format!("{} = 1979-05-27", key.name);
            let (message, _) = parse(&text).unwrap_err();
            assert!(message.starts_with(key.name), "{message}");
        }
    }

    #[test]
    fn a_store_is_no_folder_beside_the_file() {
        let at = |text: &str| {
            let config = Config::parse(text, Path::new("etc/f.toml")).unwrap();
            let options = config
                .engine_options(config.data_dir.clone().unwrap())
                .unwrap();
            (options.data_dir, options.audit.unwrap().folder)
        };
        let folder = PathBuf::from("etc/d");
        assert_eq!(at("data_dir = 'd'"), (folder.clone(), folder.join("audit")));
        assert_eq!(
            at("data_dir = 's3://company/crm'"),
            (
                PathBuf::from("s3://company/crm"),
                PathBuf::from("funnelsql-audit")
            )
        );
    }

    #[test]
    fn a_variable_goes_before_the_file() {
        let mut config =
            Config::parse("listen = 'a'\ndata_dir = 'd'", Path::new("etc/f.toml")).unwrap();
        let variables = BTreeMap::from([
            ("FUNNELSQL_LISTEN", "b"),
            ("FUNNELSQL_MAX_CONNECTIONS", "20"),
            ("FUNNELSQL_AUDIT", "false"),
            ("FUNNELSQL_TEMP_DIR", "t"),
            ("FUNNELSQL_SETTINGS", "no key of the environment"),
        ]);
        let read = |name: &str| variables.get(name).map(|text| (*text).to_owned());
        config.overlay(read).unwrap();
        assert_eq!(config.listen.as_deref(), Some("b"));
        assert_eq!(config.data_dir, Some(PathBuf::from("etc/d")));
        assert_eq!(
            (config.max_connections, config.audit),
            (Some(20), Some(false))
        );
        assert_eq!(config.temp_dir, Some(PathBuf::from("t")));
        assert_eq!(config.written["listen"].1, Origin::Variable);
        let faulty = |name: &str| (name == "FUNNELSQL_MEMORY_LIMIT").then(|| "much".to_owned());
        let fault = told(Config::default().overlay(faulty)).unwrap_err();
        assert_eq!(fault.0, "FUNNELSQL_MEMORY_LIMIT can't be \"much\"");
    }

    #[test]
    fn settings_are_those_that_there_are() {
        let (message, _) = parse("[settings]\nstatement_timeot = 1").unwrap_err();
        assert_eq!(
            message,
            "[settings] in \"etc/f.toml\": unrecognized configuration parameter \"statement_timeot\""
        );
        let (message, hint) = parse("[settings]\nstatement_timeout = 'soon'").unwrap_err();
        assert!(message.contains("invalid value"), "{message}");
        assert!(hint.contains("\"ms\""), "{hint}");
        assert!(parse("[settings]\nserver_version = '16'").is_err());
    }

    #[test]
    fn a_session_has_half_of_the_memory() {
        let limits = |text: &str| {
            let config = parse(text).unwrap();
            let options = told(config.engine_options(PathBuf::new()));
            options.map(|options| {
                (
                    options.memory_limit.unwrap(),
                    options.session_memory_limit.unwrap(),
                )
            })
        };
        assert_eq!(limits("memory_limit = '1GB'"), Ok((1 << 30, 1 << 29)));
        assert_eq!(
            limits("memory_limit = '1GB'\nsession_memory_limit = '64MB'"),
            Ok((1 << 30, 64 << 20))
        );
        assert!(limits("session_memory_limit = '1MB'").is_err());
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
