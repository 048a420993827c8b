//! `[[object_store]]`: how a store of files is entered. A secret is in a file or a variable, and never here.

use std::collections::BTreeMap;

use datafusion_funnel::error::nearest;
use toml::{Table, Value};

use super::{Origin, Setting, unknown_key};
use crate::cli::exit::Failure;
use crate::external::{ConfiguredStore, check_options};

const S3: [&str; 11] = [
    "url",
    "access_key_id",
    "secret_access_key_env",
    "secret_access_key_file",
    "session_token_env",
    "session_token_file",
    "region",
    "endpoint",
    "allow_http",
    "skip_signature",
    "virtual_hosted_style",
];

const HTTP: [&str; 5] = [
    "url",
    "user",
    "password_env",
    "password_file",
    "bearer_token_file",
];

/// Reads the tables.
pub fn read(value: &Value, origin: &Origin) -> Result<Vec<ConfiguredStore>, Failure> {
    let tables = value
        .as_array()
        .filter(|tables| tables.iter().all(Value::is_table));
    let Some(tables) = tables else {
        let setting = Setting {
            key: "object_store",
            value,
            origin,
        };
        return Err(setting.invalid(
            "each store as a table: [[object_store]] on a line, url and the others below",
        ));
    };
    tables
        .iter()
        .filter_map(Value::as_table)
        .map(|table| store(table, origin))
        .collect()
}

fn store(table: &Table, origin: &Origin) -> Result<ConfiguredStore, Failure> {
    let Origin::File(path) = origin else {
        return Err(Failure::usage(
            "stores ([[object_store]]) can't come from the environment".to_owned(),
            "Write them into a file for --config, or set AWS_ACCESS_KEY_ID and the like.",
        ));
    };
    let url = table.get("url").and_then(Value::as_str).unwrap_or_default();
    let (prefix, keys): (_, &[&str]) = match url.split_once("://") {
        Some(("s3", _)) => ("aws", &S3),
        Some(("http" | "https", _)) => ("http", &HTTP),
        _ => {
            return Err(Failure::usage(
                format!(
                    "an [[object_store]] in \"{}\" lacks its url",
                    path.display()
                ),
                "Write url = \"s3://bucket\", \"s3://\" for all buckets, or \"https://host\" below it.",
            ));
        }
    };
    let mut options = BTreeMap::new();
    for (key, value) in table.iter().filter(|(key, _)| *key != "url") {
        if !keys.contains(&key.as_str()) {
            let names: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
            let near = nearest(key, &names).map(str::to_owned);
            let key = format!("object_store.{key}");
            return Err(unknown_key(&key, near.as_deref(), keys, path));
        }
        let setting = Setting { key, value, origin };
        let text = match value {
            Value::Boolean(truth) => truth.to_string(),
            _ if key.ends_with("_file") => {
                let file = setting.file("\"/run/secrets/s3\"")?;
                file.display().to_string()
            }
            _ => setting.text("a text")?.to_owned(),
        };
        options.insert(format!("{prefix}.{key}"), text);
    }
    check_options(&options).map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        let message = format!("[[object_store]] {url} in \"{}\": {error}", path.display());
        Failure::usage(message, hint)
    })?;
    Ok(ConfiguredStore {
        url: url.to_owned(),
        options,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> Result<Vec<ConfiguredStore>, String> {
        let text = format!("[[object_store]]\n{text}");
        let config = Config::parse(&text, Path::new("etc/f.toml"));
        config
            .map(|config| config.object_stores)
            .map_err(|failure| failure.error().unwrap().to_string())
    }

    #[test]
    fn a_store_has_its_secret_in_a_file() {
        let stores = parse(
            "url = 's3://crm'\naccess_key_id = 'a'\nsecret_access_key_file = 's3.key'\nallow_http = true",
        );
        let stores = stores.unwrap();
        assert_eq!(stores[0].url, "s3://crm");
        assert_eq!(
            stores[0].options["aws.secret_access_key_file"],
            "etc/s3.key"
        );
        assert_eq!(stores[0].options["aws.allow_http"], "true");
        let fault = parse("url = 's3://crm'\nsecret_access_key = 'geheim'").unwrap_err();
        assert!(fault.contains("object_store.secret_access_key"), "{fault}");
        assert!(!fault.contains("geheim"), "{fault}");
        assert!(parse("region = 'x'").unwrap_err().contains("lacks its url"));
        let fault = parse("url = 's3://crm'\naccess_key_id = 'a'").unwrap_err();
        assert!(fault.contains("access_key_id"), "{fault}");
    }
}
