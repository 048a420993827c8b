//! `--server`: where a server is and as whom it is entered, as libpq's clients read it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::cli::exit::Failure;

/// How long connecting may take, where the address doesn't say it.
const CONNECT: Duration = Duration::from_secs(10);

/// A server.
pub struct Address {
    /// As its client takes it.
    pub config: Config,
    /// How TLS is used.
    pub tls: Tls,
    /// The file of the authorities that its certificate may be signed by; the system's where absent.
    pub authorities: Option<PathBuf>,
    /// Without anything secret: `host:5432/database`.
    pub shown: String,
}

/// How TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Disable,
    /// Where there is one.
    Prefer,
    /// Whoever the server is.
    Require,
    /// Whose certificate an authority has signed.
    VerifyAuthority,
    /// And is about its host.
    VerifyFull,
}

impl Tls {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyAuthority,
            "verify-full" => Self::VerifyFull,
            _ => return None,
        })
    }
}

/// What surrounds the command.
pub struct Surroundings<'a> {
    /// The variables of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The user's folder.
    pub home: Option<PathBuf>,
}

impl Surroundings<'static> {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            home: std::env::home_dir(),
        }
    }
}

impl Address {
    /// Reads `postgres://user@host:port/database?sslmode=…` or `host=… user=…`; what it doesn't say comes from PGHOST and the
    /// like, the password from PGPASSWORD or the file of passwords.
    ///
    /// # Errors
    /// F0000 for a text that is none, which isn't repeated: it may have a password.
    pub fn of(text: &str, around: &Surroundings) -> Result<Self, Failure> {
        let (text, said) = without_tls(text);
        let mut config: Config = text.parse().map_err(|_| wrong())?;
        let variable = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
        let or_variable = |said: Option<String>, name: &str| said.or_else(|| variable(name));
        let mode = or_variable(said.mode, "PGSSLMODE");
        let mut tls = match mode.as_deref() {
            None => Tls::Prefer,
            Some(mode) => Tls::named(mode).ok_or_else(|| {
                Failure::usage(
                    format!("sslmode \"{mode}\" does not exist"),
                    "It is disable, prefer, require, verify-ca or verify-full.",
                )
            })?,
        };
        let authorities = or_variable(said.authorities, "PGSSLROOTCERT").map(PathBuf::from);
        // As libpq has it: whoever names authorities wants to know.
        if tls == Tls::Require && authorities.is_some() {
            tls = Tls::VerifyAuthority;
        }
        config.ssl_mode(match tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            _ => SslMode::Require,
        });
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            let host = variable("PGHOST").unwrap_or_else(|| "127.0.0.1".to_owned());
            config.host(host);
        }
        if config.get_ports().is_empty() {
            let port = variable("PGPORT").and_then(|port| port.parse().ok());
            config.port(port.unwrap_or(5432));
        }
        if config.get_user().is_none() {
            let user = variable("PGUSER").or_else(|| variable("USER"));
            config.user(user.unwrap_or_else(|| "postgres".to_owned()));
        }
        let user = config.get_user().unwrap_or_default().to_owned();
        if config.get_dbname().is_none() {
            config.dbname(variable("PGDATABASE").unwrap_or_else(|| user.clone()));
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("funnelsql import");
        }
        let host = match config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => folder.display().to_string(),
            None => config
                .get_hostaddrs()
                .first()
                .map(ToString::to_string)
                .unwrap_or_default(),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let database = config.get_dbname().unwrap_or_default().to_owned();
        if config.get_password().is_none() {
            let kept = variable("PGPASSWORD")
                .or_else(|| kept_password(around, [&host, &port.to_string(), &database, &user]));
            if let Some(password) = kept {
                config.password(password);
            }
        }
        Ok(Self {
            shown: format!("{host}:{port}/{database}"),
            config,
            tls,
            authorities,
        })
    }
}

fn wrong() -> Failure {
    Failure::usage(
        "--server is no address of a server".to_owned(),
        "Write postgres://user@host:port/database; the password is in PGPASSWORD or ~/.pgpass.",
    )
}

/// What an address says about TLS: its client doesn't know all of that.
#[derive(Default)]
struct Said {
    mode: Option<String>,
    authorities: Option<String>,
}

/// An address without what it says about TLS.
fn without_tls(text: &str) -> (String, Said) {
    let mut said = Said::default();
    let mut take = |pair: &str| match pair.trim().split_once('=') {
        Some(("sslmode", mode)) => {
            said.mode = Some(mode.to_owned());
            false
        }
        Some(("sslrootcert", file)) => {
            said.authorities = Some(file.replace("%2F", "/").replace("%20", " "));
            false
        }
        _ => true,
    };
    let rest = match (text.contains("://"), text.split_once('?')) {
        (true, Some((address, pairs))) => {
            let kept: Vec<&str> = pairs.split('&').filter(|pair| take(pair)).collect();
            match kept.is_empty() {
                true => address.to_owned(),
                false => format!("{address}?{}", kept.join("&")),
            }
        }
        (true, None) => text.to_owned(),
        (false, _) => {
            let kept: Vec<&str> = text.split_whitespace().filter(|pair| take(pair)).collect();
            kept.join(" ")
        }
    };
    (rest, said)
}

/// The password for host, port, database and user in `~/.pgpass`. A file that others may read doesn't count.
fn kept_password(around: &Surroundings, wanted: [&str; 4]) -> Option<String> {
    let file = match (around.variable)("PGPASSFILE") {
        Some(file) => PathBuf::from(file),
        None => around.home.as_ref()?.join(".pgpass"),
    };
    if !is_private(&file) {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.find_map(|line| {
        let fields = fields(line);
        let (password, places) = fields.split_last()?;
        let fits = places.len() == 4
            && places
                .iter()
                .zip(wanted)
                .all(|(place, wanted)| place == "*" || place == wanted);
        fits.then(|| password.clone())
    })
}

/// The fields of a line: colons are between them, unless a backslash stands before.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ':' if fields.len() < 5 => fields.push(String::new()),
            character => {
                let character = match character {
                    '\\' => characters.next().unwrap_or('\\'),
                    character => character,
                };
                if let Some(last) = fields.last_mut() {
                    last.push(character);
                }
            }
        }
    }
    fields
}

#[cfg(unix)]
fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    match std::fs::metadata(file) {
        Ok(metadata) => metadata.is_file() && metadata.permissions().mode() & 0o077 == 0,
        Err(_) => false,
    }
}

/// The system's folders of users are closed already.
#[cfg(not(unix))]
fn is_private(file: &Path) -> bool {
    file.is_file()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str, variables: &[(&str, &str)], home: Option<&Path>) -> Address {
        let variable = |name: &str| {
            let mut pairs = variables.iter();
            pairs
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let around = Surroundings {
            variable: &variable,
            home: home.map(Path::to_owned),
        };
        Address::of(text, &around).unwrap()
    }

    fn password(address: &Address) -> String {
        let password = address.config.get_password().unwrap_or_default();
        String::from_utf8(password.to_vec()).unwrap()
    }

    #[test]
    fn what_an_address_does_not_say_comes_from_the_environment() {
        let address = read(
            "postgres://ana@db:5477/crm?sslmode=verify-full&sslrootcert=/etc/ca.crt&connect_timeout=3",
            &[("PGPASSWORD", "geheim"), ("PGHOST", "no")],
            None,
        );
        assert_eq!(address.shown, "db:5477/crm");
        assert_eq!(address.tls, Tls::VerifyFull);
        assert_eq!(address.authorities, Some(PathBuf::from("/etc/ca.crt")));
        assert_eq!(password(&address), "geheim");
        let around = [("PGHOST", "h"), ("PGUSER", "bo"), ("PGSSLMODE", "require")];
        let address = read("dbname=crm port=1", &around, None);
        assert_eq!(address.shown, "h:1/crm");
        assert_eq!(address.tls, Tls::Require);
        assert_eq!(address.config.get_user(), Some("bo"));
        let own = read("postgres://ana:own@db/crm", &[("PGPASSWORD", "no")], None);
        assert_eq!(password(&own), "own");
        assert_eq!(own.shown, "db:5432/crm");
        assert_eq!(own.tls, Tls::Prefer);
    }

    #[cfg(unix)]
    #[test]
    fn a_password_is_found_in_a_file_that_nobody_else_reads() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pgpass");
        std::fs::write(
            &file,
            "# passwords\nother:*:*:*:no\ndb:5432:*:ana:ge\\:he\\\\im:x\n*:*:*:*:any\n",
        )
        .unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode));
        mode(0o600).unwrap();
        let of = |text| password(&read(text, &[], Some(home.path())));
        assert_eq!(of("postgres://ana@db/crm"), "ge:he\\im:x");
        assert_eq!(of("postgres://bo@db/crm"), "any");
        mode(0o644).unwrap();
        assert_eq!(of("postgres://ana@db/crm"), "");
    }

    #[test]
    fn a_faulty_address_is_not_repeated() {
        let variable = |_: &str| None;
        let around = Surroundings {
            variable: &variable,
            home: None,
        };
        for text in ["postgres://ana:geheim@db:port/crm", "geheim"] {
            let failure = Address::of(text, &around).err().unwrap();
            let error = failure.error().unwrap();
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }
}
