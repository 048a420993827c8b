//! The keys of a configuration, what they are where nobody says, and what they mean: for `--help` and `config show`.

use std::fmt::Write;

/// A key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its value where it is left out, as TOML; nothing where it is absent then.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
}

impl Key {
    /// Whether a variable of the environment can say it: tables are the file's affair.
    pub fn has_variable(&self) -> bool {
        !matches!(self.name, "settings" | "auth" | "refresh" | "object_store")
    }
}

/// The variable that says a key: `FUNNELSQL_LISTEN`.
pub fn variable(key: &str) -> String {
    format!("FUNNELSQL_{}", key.to_uppercase())
}

const fn key(name: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        default: Some(default),
        meaning,
    }
}

const fn absent(name: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        default: None,
        meaning,
    }
}

/// All of them, in the order in which they are shown.
pub const KEYS: [Key; 31] = [
    key("listen", "\"127.0.0.1:5477\"", "where clients connect"),
    key(
        "data_dir",
        "\"funnelsql-data\"",
        "tables, definitions, roles: a folder, or \"s3://bucket/prefix\"",
    ),
    absent(
        "memory_limit",
        "for all queries together; three quarters of the machine's where absent",
    ),
    absent(
        "session_memory_limit",
        "for the queries of one connection; half of memory_limit where absent",
    ),
    absent(
        "temp_dir",
        "for what doesn't fit into memory; the system's where absent",
    ),
    key(
        "temp_limit",
        "\"100GB\"",
        "what all queries may write there",
    ),
    absent(
        "result_limit",
        "what one statement may return; anything where absent",
    ),
    key(
        "max_prepared_statements",
        "2000",
        "of a connection; its cursors and portals too",
    ),
    key("max_connections", "100", "clients at a time"),
    key(
        "superuser_reserved_connections",
        "3",
        "of these, for superusers",
    ),
    key(
        "login_timeout",
        "\"60s\"",
        "to connect, TLS and password included",
    ),
    key(
        "login_failures",
        "5",
        "wrong passwords from an address in five minutes; 0 is any number",
    ),
    key(
        "login_ban",
        "\"5min\"",
        "how long an address with more isn't heard",
    ),
    key(
        "send_timeout",
        "\"10min\"",
        "how long a client may take nothing of what it is sent",
    ),
    key(
        "shutdown_grace",
        "\"10s\"",
        "for statements that run when the server is stopped",
    ),
    absent(
        "tls_cert",
        "PEM: the certificate, then those between it and its root",
    ),
    absent("tls_key", "PEM; nobody else may read it"),
    absent("tls_client_ca", "PEM: the roots of clients' certificates"),
    absent(
        "admin_password_file",
        "the first administrator's password; it is generated where absent",
    ),
    key(
        "audit",
        "true",
        "whether logins and statements are written down",
    ),
    absent(
        "audit_dir",
        "where; audit in data_dir where absent, or funnelsql-audit with a store",
    ),
    key("audit_file_size", "\"64MB\"", "when the next file begins"),
    key("audit_files", "16", "how many are kept"),
    key(
        "audit_literals",
        "true",
        "whether values in statements are kept; passwords never are",
    ),
    absent(
        "metrics_listen",
        "/healthz, /readyz and /metrics; \"127.0.0.1:9477\" for example",
    ),
    key("log_format", "\"text\"", "the log on stderr; or \"json\""),
    key(
        "log_level",
        "\"error\"",
        "or \"warn\", \"info\", \"debug\", \"trace\"",
    ),
    // The tables come last, as they have to in TOML.
    absent(
        "settings",
        "what sessions' settings are before they are set",
    ),
    absent(
        "auth",
        "rules about who may connect; the first that fits decides",
    ),
    absent(
        "refresh",
        "materialized views that are refreshed by themselves",
    ),
    absent(
        "object_store",
        "how stores of files are entered whose tables don't say it",
    ),
];

/// A file that says what holds without one.
pub fn example() -> String {
    let mut text = String::new();
    for key in KEYS.iter().filter(|key| key.has_variable()) {
        let line = match key.default {
            Some(default) => format!("{} = {default}", key.name),
            None => format!("# {} =", key.name),
        };
        let _ = writeln!(text, "  {line:<38} # {}", key.meaning);
    }
    text + TABLES
}

const TABLES: &str = "
  # What sessions' settings are before they are set: any of SHOW ALL.
  [settings]
  # statement_timeout = \"5min\"
  # idle_in_transaction_session_timeout = \"10min\"
  # log_min_duration_statement = \"10s\"   # slower statements go to the log

  # Rules about who may connect; the first that fits decides, and a client that fits none is refused.
  # [[auth]]
  # type = \"hostssl\"                 # over TLS; hostnossl: without; host, the default: either way
  # address = \"10.0.0.0/8\"           # all (the default), loopback, an address, or a net
  # database = \"all\"                 # a name, or several in brackets; all is the default
  # user = \"+sales\"                  # the same; +role is every member of the role
  # method = \"scram-sha-256\"         # a password; or cert, trust, reject

  # Materialized views that are refreshed by themselves; what fails is in the log.
  # [[refresh]]
  # view = \"crm.deals_copy\"
  # every = \"15m\"                    # from the end of one to the beginning of the next; s, m, h, d

  # How stores of files are entered whose external tables don't say it. Secrets are in files or variables.
  # [[object_store]]
  # url = \"s3://bucket\"              # what addresses begin with; s3:// is all of them
  # region = \"eu-central-1\"
  # endpoint = \"https://minio:9000\"  # of another store than Amazon's; allow_http = true without TLS
  # access_key_id = \"AKIA…\"          # skip_signature = true in its place reads what is public
  # secret_access_key_file = \"s3.key\" # or secret_access_key_env; session_token_file, session_token_env
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_every_key_with_its_default() {
        let guide = include_str!("../../../docs/server.md");
        for key in KEYS.iter().filter(|key| key.has_variable()) {
            let named = format!("`{}`", key.name);
            let line = guide
                .lines()
                .filter(|line| line.starts_with("| `"))
                .find(|line| line.contains(&named) && line.contains("| ["));
            assert!(line.is_some(), "no {named}");
            if let (Some(line), Some(default)) = (line, key.default) {
                let written = [format!("[`{default}`]"), format!("[{default}]")];
                assert!(
                    written.iter().any(|written| line.contains(written)),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn the_example_is_a_configuration() {
        let example = example();
        assert!(example.parse::<toml::Table>().is_ok(), "{example}");
    }
}
