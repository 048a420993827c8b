//! How a store is entered: from the options of the table, the server's configuration, and the environment.

use std::collections::{BTreeMap, HashMap};

use datafusion_funnel::error::nearest;

use super::address::{Address, Scheme};
use crate::error::{Error, ForeignFault, Result};

/// The options of an external table that are about its store; each of them with `aws.` or `http.` before.
pub const STORE_OPTIONS: [&str; 17] = [
    "aws.access_key_id",
    "aws.secret_access_key",
    "aws.secret_access_key_env",
    "aws.secret_access_key_file",
    "aws.session_token",
    "aws.session_token_env",
    "aws.session_token_file",
    "aws.region",
    "aws.endpoint",
    "aws.allow_http",
    "aws.skip_signature",
    "aws.virtual_hosted_style",
    "http.user",
    "http.password",
    "http.password_env",
    "http.password_file",
    "http.bearer_token_file",
];

/// Those of them that are secrets themselves: they are kept apart from everything else.
pub const SECRETS: [&str; 3] = [
    "aws.secret_access_key",
    "aws.session_token",
    "http.password",
];

/// What an option is shown as that is kept apart.
pub const HIDDEN: &str = "***";

/// Options that say as whom a store is entered. They belong together, wherever they come from.
const CREDENTIALS: [&str; 13] = [
    "aws.access_key_id",
    "aws.secret_access_key",
    "aws.secret_access_key_env",
    "aws.secret_access_key_file",
    "aws.session_token",
    "aws.session_token_env",
    "aws.session_token_file",
    "aws.skip_signature",
    "http.user",
    "http.password",
    "http.password_env",
    "http.password_file",
    "http.bearer_token_file",
];

/// The variables of the environment that say where S3 is. Those with its keys are read by the client of S3 itself.
const VARIABLES: [(&str, &[&str]); 3] = [
    ("aws.region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
    (
        "aws.endpoint",
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
    ),
    ("aws.allow_http", &["AWS_ALLOW_HTTP"]),
];

/// `[[object_store]]` of the server's configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfiguredStore {
    /// What the addresses begin with that it is for: `s3://bucket`.
    pub url: String,
    /// The options, with `aws.` or `http.` before.
    pub options: BTreeMap<String, String>,
}

impl std::fmt::Debug for ConfiguredStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfiguredStore")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl ConfiguredStore {
    /// Whether it is for that address: `s3://bu` isn't for `s3://bucket`.
    fn fits(&self, address: &str) -> bool {
        let url = self.url.trim_end_matches('/');
        match address.strip_prefix(url) {
            Some(rest) => url.ends_with(':') || rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

/// How a store is entered. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Settings {
    options: BTreeMap<String, String>,
    /// The environment says as whom.
    from_environment: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings")
    }
}

impl Settings {
    /// Takes each option from the table, else from the configuration, else from the environment; as whom the store is
    /// entered comes as a whole from the first of them that says anything of it.
    pub fn of(
        address: &Address,
        table: &BTreeMap<String, String>,
        configured: &[ConfiguredStore],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let shown = address.to_string();
        let configured = configured
            .iter()
            .filter(|store| store.fits(&shown))
            .max_by_key(|store| store.url.len())
            .map(|store| &store.options);
        let mut layers = vec![table];
        layers.extend(configured);
        let prefix = match address.scheme {
            Scheme::S3 => "aws.",
            Scheme::Http | Scheme::Https => "http.",
        };
        let says_who = |layer: &BTreeMap<String, String>| {
            let mut names = layer.keys();
            names.any(|name| name.starts_with(prefix) && CREDENTIALS.contains(&name.as_str()))
        };
        let who = layers.iter().position(|layer| says_who(layer));
        let mut options = BTreeMap::new();
        for (at, layer) in layers.iter().enumerate() {
            for (name, value) in layer.iter().filter(|(name, _)| name.starts_with(prefix)) {
                if !CREDENTIALS.contains(&name.as_str()) || who == Some(at) {
                    options.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        if address.scheme == Scheme::S3 {
            for (name, variables) in VARIABLES {
                if let Some(value) = variables.iter().find_map(|name| variable(name)) {
                    options.entry(name.to_owned()).or_insert(value);
                }
            }
        }
        Self {
            options,
            from_environment: who.is_none() && address.scheme == Scheme::S3,
        }
    }

    /// Whether the client of S3 finds out from the environment as whom it asks.
    pub fn asks_environment(&self) -> bool {
        self.from_environment
    }

    /// An option.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Whether an option is `true`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).and_then(truth) == Some(true)
    }

    /// A secret: as it was written, or where it is kept.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        let at = |kind: &str| self.get(&format!("{name}{kind}")).map(str::to_owned);
        let variable = at("_env").map(Secret::Variable);
        let file = at("_file").map(Secret::File);
        variable.or(file).or(at("").map(Secret::Text))
    }
}

/// Where a secret is.
#[derive(Clone)]
pub enum Secret {
    /// Here.
    Text(String),
    /// In a variable of the environment.
    Variable(String),
    /// In a file.
    File(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret, read anew each time.
    ///
    /// # Errors
    /// 08001 for a variable that isn't set and a file that can't be read.
    pub fn read(&self) -> Result<String> {
        let missing = |message: String| {
            ForeignFault::Connection.error(
                message,
                Some("Only queries that read its tables fail; they work again when it is there."),
            )
        };
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Variable(name) => std::env::var(name)
                .map_err(|_| missing(format!("variable \"{name}\" with a store's key isn't set"))),
            Self::File(file) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    missing(format!(
                        "the file \"{file}\" with a store's key can't be read: {error}"
                    ))
                })?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

/// Takes the options of stores out of a table's.
///
/// # Errors
/// HV00D for one that there isn't, HV024 for a value that can't be.
pub fn take_options(options: &mut HashMap<String, String>) -> Result<BTreeMap<String, String>> {
    let is_store = |name: &str| name.starts_with("aws.") || name.starts_with("http.");
    let names: Vec<String> = options
        .keys()
        .filter(|name| is_store(name))
        .cloned()
        .collect();
    let mut taken = BTreeMap::new();
    for name in names {
        if let Some(value) = options.remove(&name) {
            taken.insert(name, value);
        }
    }
    check_options(&taken)?;
    Ok(taken)
}

/// Refuses options that there aren't, and values that can't be. No value is repeated.
///
/// # Errors
/// HV00D for a name, HV024 for a value.
pub fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in options {
        if !STORE_OPTIONS.contains(&name.as_str()) {
            let known = STORE_OPTIONS.map(str::to_owned);
            let hint = match nearest(name, &known) {
                Some(near) => format!("Perhaps you meant \"{near}\"."),
                None => format!("There is: {}.", STORE_OPTIONS.join(", ")),
            };
            return Err(
                ForeignFault::OptionName.error(format!("invalid option \"{name}\""), Some(&hint))
            );
        }
        let is_truth = ["allow_http", "skip_signature", "virtual_hosted_style"]
            .iter()
            .any(|end| name.ends_with(end));
        if is_truth && truth(value).is_none() {
            return Err(wrong(name, "It is true or false."));
        }
        if value.is_empty() {
            return Err(wrong(name, "It is a text."));
        }
    }
    let has = |name: &str| options.contains_key(name);
    let has_secret = |name: &str| {
        ["", "_env", "_file"]
            .iter()
            .any(|end| has(&format!("{name}{end}")))
    };
    if has("aws.access_key_id") != has_secret("aws.secret_access_key") {
        return Err(wrong(
            "aws.access_key_id",
            "'aws.access_key_id' and 'aws.secret_access_key' (or ..._file, ..._env) belong together.",
        ));
    }
    if has("http.user") != has_secret("http.password") {
        return Err(wrong(
            "http.user",
            "'http.user' and 'http.password' (or ..._file, ..._env) belong together.",
        ));
    }
    Ok(())
}

/// Refuses an endpoint without TLS that nobody allowed.
///
/// # Errors
/// HV024.
pub fn check_endpoint(settings: &Settings) -> Result<()> {
    let Some(endpoint) = settings.get("aws.endpoint") else {
        return Ok(());
    };
    match endpoint.split_once("://") {
        Some(("https", _)) => Ok(()),
        Some(("http", _)) if settings.is_on("aws.allow_http") => Ok(()),
        Some(("http", _)) => Err(wrong(
            "aws.endpoint",
            "It isn't encrypted: write https://, or 'aws.allow_http' 'true' in a net of your own.",
        )),
        _ => Err(wrong("aws.endpoint", "Write https://host:port.")),
    }
}

fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn wrong(option: &str, hint: &str) -> Error {
    ForeignFault::OptionValue.error(format!("invalid value for option \"{option}\""), Some(hint))
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
    fn keys_come_as_a_whole_and_places_one_by_one() {
        let address = Address::of("s3://crm/deals/").unwrap().unwrap();
        let configured = vec![
            ConfiguredStore {
                url: "s3://".to_owned(),
                options: options(&[("aws.region", "eu-west-1")]),
            },
            ConfiguredStore {
                url: "s3://crm/".to_owned(),
                options: options(&[
                    ("aws.access_key_id", "configured"),
                    ("aws.session_token_file", "/run/token"),
                    ("aws.secret_access_key_file", "/run/key"),
                    ("aws.endpoint", "https://minio"),
                ]),
            },
        ];
        let variable = |name: &str| (name == "AWS_REGION").then(|| "us-west-2".to_owned());
        let table = options(&[
            ("aws.access_key_id", "own"),
            ("aws.secret_access_key", "geheim"),
        ]);
        let settings = Settings::of(&address, &table, &configured, variable);
        assert_eq!(settings.get("aws.access_key_id"), Some("own"));
        // A token of another key would be of no use.
        assert_eq!(settings.get("aws.session_token_file"), None);
        assert_eq!(settings.get("aws.endpoint"), Some("https://minio"));
        assert_eq!(settings.get("aws.region"), Some("us-west-2"));
        assert!(!settings.asks_environment());
        assert!(!format!("{settings:?}").contains("geheim"));

        let nothing = BTreeMap::new();
        let settings = Settings::of(&address, &nothing, &configured, |_| None);
        assert_eq!(settings.get("aws.access_key_id"), Some("configured"));
        let other = Address::of("s3://crm2/deals/").unwrap().unwrap();
        let settings = Settings::of(&other, &nothing, &configured, |_| None);
        assert_eq!(settings.get("aws.region"), Some("eu-west-1"));
        assert!(settings.asks_environment());
    }

    #[test]
    fn options_are_checked_when_they_are_given() {
        let code = |pairs: &[(&str, &str)]| {
            let mut all: HashMap<String, String> = options(pairs).into_iter().collect();
            take_options(&mut all).map(|_| all.len()).map_err(|error| {
                assert!(!error.to_string().contains("geheim"));
                error.code()
            })
        };
        assert_eq!(code(&[("format.has_header", "true")]), Ok(1));
        assert_eq!(
            code(&[
                ("aws.access_key_id", "a"),
                ("aws.secret_access_key_file", "f")
            ]),
            Ok(0)
        );
        assert_eq!(code(&[("aws.secert", "geheim")]), Err("HV00D"));
        assert_eq!(code(&[("aws.allow_http", "geheim")]), Err("HV024"));
        assert_eq!(code(&[("aws.secret_access_key", "geheim")]), Err("HV024"));
    }

    #[test]
    fn an_endpoint_is_encrypted_unless_somebody_says_so() {
        let address = Address::of("s3://crm/deals/").unwrap().unwrap();
        let code = |pairs: &[(&str, &str)]| {
            let settings = Settings::of(&address, &options(pairs), &[], |_| None);
            check_endpoint(&settings).map_err(|error| error.code())
        };
        assert_eq!(code(&[("aws.endpoint", "https://minio")]), Ok(()));
        assert_eq!(code(&[("aws.endpoint", "http://minio")]), Err("HV024"));
        let allowed = [("aws.endpoint", "http://minio"), ("aws.allow_http", "true")];
        assert_eq!(code(&allowed), Ok(()));
    }
}
