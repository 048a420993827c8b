//! The file of `funnelsql serve --config`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use datafusion_funnel::error::nearest;
use toml::{Table, Value};

use super::exit::Failure;

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
}

const KEYS: [&str; 4] = ["listen", "data_dir", "memory_limit", "shutdown_grace"];

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
                "data_dir" => {
                    let written = setting.text("\"/srv/funnelsql\"")?;
                    let folder = path.parent().unwrap_or(Path::new(""));
                    config.data_dir = Some(folder.join(written));
                }
                "memory_limit" => {
                    config.memory_limit =
                        Some(setting.amount(&BYTES, "\"8GB\", or a number of bytes")?);
                }
                "shutdown_grace" => {
                    let example = "\"10s\", \"500ms\", \"2min\", or a number of seconds";
                    let milliseconds = setting.amount(&MILLISECONDS, example)?;
                    config.shutdown_grace = Some(Duration::from_millis(milliseconds));
                }
                _ => return Err(unknown_key(key, path)),
            }
        }
        Ok(config)
    }
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

fn unknown_key(key: &str, path: &Path) -> Failure {
    let message = format!("key \"{key}\" in \"{}\" does not exist", path.display());
    let hint = match nearest(key, &KEYS.map(str::to_owned)) {
        Some(near) => format!("Perhaps you meant \"{near}\"."),
        None => format!(
            "There is: {}.",
            KEYS.map(|key| format!("\"{key}\"")).join(", ")
        ),
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
    fn faults_name_the_file_and_what_to_write() {
        let (message, hint) = parse("listne = 'x'").unwrap_err();
        assert_eq!(message, "key \"listne\" in \"etc/f.toml\" does not exist");
        assert_eq!(hint, "Perhaps you meant \"listen\".");
        let (_, hint) = parse("tls = true").unwrap_err();
        assert_eq!(
            hint,
            "There is: \"listen\", \"data_dir\", \"memory_limit\", \"shutdown_grace\"."
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
