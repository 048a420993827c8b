//! Foreign servers and user mappings, kept durably.
//!
//! ```text
//! DATA_DIR/catalog/servers/crm.json        a server: what it is and where
//! DATA_DIR/catalog/mappings/….json         as whom a role enters it, without the password
//! DATA_DIR/catalog/secrets/….json          the password, for the process' owner alone
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::access::PUBLIC;
use super::store::Store;
use crate::error::{Error, ForeignFault, Result};
use crate::federation::{Credentials, Remote, Settings, Wrapper};
use crate::storage::Place;

/// A foreign server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// What it is.
    pub wrapper: Wrapper,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// As whom a role enters a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The server.
    pub server: String,
    /// The role, or `public` for everybody who has none of their own.
    pub role: String,
    /// Its options, without the password.
    pub options: BTreeMap<String, String>,
}

/// The password of a user mapping.
#[derive(Clone, Serialize, Deserialize)]
struct Secret {
    password: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Servers and user mappings of a data directory, and the connections to them. A change is on disk before it is seen.
#[derive(Debug)]
pub struct Servers {
    servers: Store<Server>,
    mappings: Store<Mapping>,
    secrets: Store<Secret>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    servers: BTreeMap<String, Server>,
    mappings: BTreeMap<(String, String), Mapping>,
    passwords: BTreeMap<(String, String), String>,
    /// What is connected, by server and the role whose mapping it is.
    remotes: HashMap<(String, String), Arc<Remote>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

impl Servers {
    /// Reads what is kept in the folders under `catalog`.
    ///
    /// # Errors
    /// 58030 when a folder can't be made or read.
    pub fn open(catalog: impl Into<Place>) -> Result<Self> {
        let catalog = catalog.into();
        let servers: Store<Server> = Store::open(catalog.join("servers"), "server")?;
        let mappings: Store<Mapping> = Store::open(catalog.join("mappings"), "user mapping")?;
        let secrets: Store<Secret> = Store::open_private(catalog.join("secrets"), "password")?;
        let mut state = State::default();
        // What can't be read is missing where it is used, and is said in the log.
        for server in readable(servers.load()?) {
            state.servers.insert(server.name.clone(), server);
        }
        let mut passwords: HashMap<String, String> = HashMap::new();
        for (key, secret) in secrets.load()? {
            match secret {
                Ok(secret) => {
                    passwords.insert(key, secret.password);
                }
                Err(_) => tracing::error!(key, "a password can't be read"),
            }
        }
        for mapping in readable(mappings.load()?) {
            let place = (mapping.server.clone(), mapping.role.clone());
            if let Some(password) = passwords.remove(&key(&place)) {
                state.passwords.insert(place.clone(), password);
            }
            state.mappings.insert(place, mapping);
        }
        Ok(Self {
            servers,
            mappings,
            secrets,
            state: Mutex::new(state),
        })
    }

    /// The server of that name.
    ///
    /// # Errors
    /// 42704.
    pub fn get(&self, name: &str) -> Result<Server> {
        let state = self.lock();
        state
            .servers
            .get(name)
            .cloned()
            .ok_or_else(|| unknown(name))
    }

    /// All servers, by name.
    pub fn all(&self) -> Vec<Server> {
        self.lock().servers.values().cloned().collect()
    }

    /// All user mappings.
    pub fn mappings(&self) -> Vec<Mapping> {
        self.lock().mappings.values().cloned().collect()
    }

    /// Keeps a server, in the place of the one that was there.
    ///
    /// # Errors
    /// 58030.
    pub fn put(&self, server: Server) -> Result<()> {
        let mut state = self.lock();
        self.servers.put(&server.name, &server)?;
        state.forget_connections(&server.name);
        state.servers.insert(server.name.clone(), server);
        Ok(())
    }

    /// Forgets a server and its user mappings.
    ///
    /// # Errors
    /// 58030.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.lock();
        let places: Vec<_> = state.mappings.keys().cloned().collect();
        for place in places.into_iter().filter(|(server, _)| server == name) {
            self.forget_mapping(&mut state, &place)?;
        }
        self.servers.remove(name)?;
        state.forget_connections(name);
        state.servers.remove(name);
        Ok(())
    }

    /// The user mapping of a role, and whether it has a password of its own.
    pub fn mapping(&self, server: &str, role: &str) -> Option<(Mapping, bool)> {
        let state = self.lock();
        let place = (server.to_owned(), role.to_owned());
        let mapping = state.mappings.get(&place)?.clone();
        Some((mapping, state.passwords.contains_key(&place)))
    }

    /// Keeps a user mapping, and its password apart. A password that isn't given stays as it was where `keeps` is said.
    ///
    /// # Errors
    /// 58030.
    pub fn put_mapping(
        &self,
        mapping: Mapping,
        password: Option<String>,
        keeps: bool,
    ) -> Result<()> {
        let mut state = self.lock();
        let place = (mapping.server.clone(), mapping.role.clone());
        match password {
            Some(password) => {
                let secret = Secret { password };
                self.secrets.put(&key(&place), &secret)?;
                state.passwords.insert(place.clone(), secret.password);
            }
            None if keeps => {}
            None => {
                self.secrets.remove(&key(&place))?;
                state.passwords.remove(&place);
            }
        }
        self.mappings.put(&key(&place), &mapping)?;
        state.forget_connections(&mapping.server);
        state.mappings.insert(place, mapping);
        Ok(())
    }

    /// Forgets a user mapping; whether there was one.
    ///
    /// # Errors
    /// 58030.
    pub fn remove_mapping(&self, server: &str, role: &str) -> Result<bool> {
        let mut state = self.lock();
        let place = (server.to_owned(), role.to_owned());
        match state.mappings.contains_key(&place) {
            true => self.forget_mapping(&mut state, &place).map(|()| true),
            false => Ok(false),
        }
    }

    fn forget_mapping(&self, state: &mut State, place: &(String, String)) -> Result<()> {
        self.secrets.remove(&key(place))?;
        self.mappings.remove(&key(place))?;
        state.passwords.remove(place);
        state.mappings.remove(place);
        state.forget_connections(&place.0);
        Ok(())
    }

    /// The server as a role enters it: by its own mapping, or by everybody's.
    ///
    /// # Errors
    /// 42704 for a server that there isn't, and for a role that nothing is said of.
    pub fn remote(&self, server: &str, role: &str) -> Result<Arc<Remote>> {
        let mut state = self.lock();
        let found = state.servers.get(server).cloned();
        let found = found.ok_or_else(|| unknown(server))?;
        let places = [role, PUBLIC].map(|role| (server.to_owned(), role.to_owned()));
        let place = places
            .iter()
            .find(|place| state.mappings.contains_key(place));
        let place = match (place, found.wrapper) {
            (Some(place), _) => place.clone(),
            // A file has no users.
            (None, Wrapper::Sqlite) => (server.to_owned(), PUBLIC.to_owned()),
            (None, _) => {
                return Err(ForeignFault::Unknown.error(
                    format!("user mapping not found for user \"{role}\", server \"{server}\""),
                    Some("CREATE USER MAPPING FOR role SERVER server OPTIONS (user '...', password '...'); FOR PUBLIC is everybody's."),
                ));
            }
        };
        if let Some(remote) = state.remotes.get(&place) {
            return Ok(Arc::clone(remote));
        }
        let option = |name: &str| {
            let mapping = state.mappings.get(&place)?;
            mapping.options.get(name).cloned()
        };
        let credentials = Credentials {
            user: option("user"),
            password: state.passwords.get(&place).cloned(),
            password_env: option("password_env"),
            password_file: option("password_file"),
        };
        let remote = Arc::new(Remote::new(Settings {
            server: found.name,
            wrapper: found.wrapper,
            options: found.options,
            credentials,
        }));
        state.remotes.insert(place, Arc::clone(&remote));
        Ok(remote)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Its maps are whole after a panic: each change of one is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What runs goes on; the next query connects anew.
    fn forget_connections(&mut self, server: &str) {
        self.remotes.retain(|(known, _), _| known != server);
    }
}

fn unknown(name: &str) -> Error {
    ForeignFault::Unknown.error(
        format!("server \"{name}\" does not exist"),
        Some("CREATE SERVER makes it; \\des lists those that there are."),
    )
}

/// A file's name for a user mapping: both names as they are quoted, so that no two are the same.
fn key((server, role): &(String, String)) -> String {
    format!("{server:?} {role:?}")
}

fn readable<T>(loaded: Vec<(String, Result<T>)>) -> impl Iterator<Item = T> {
    loaded.into_iter().filter_map(|(name, definition)| {
        let logged =
            definition.map_err(|error| tracing::error!(%error, name, "a definition can't be read"));
        logged.ok()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_password_is_kept_apart_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server {
            name: "客户".to_owned(),
            wrapper: Wrapper::Postgres,
            options: BTreeMap::new(),
        };
        let mapping = Mapping {
            server: "客户".to_owned(),
            role: "ana".to_owned(),
            options: BTreeMap::from([("user".to_owned(), "crm".to_owned())]),
        };
        let servers = Servers::open(folder.path()).unwrap();
        servers.put(server.clone()).unwrap();
        servers
            .put_mapping(mapping.clone(), Some("geheim".to_owned()), false)
            .unwrap();
        assert!(!format!("{servers:?}").contains("geheim"));
        drop(servers);
        let servers = Servers::open(folder.path()).unwrap();
        assert_eq!(servers.get("客户").unwrap(), server);
        assert_eq!(
            servers.mapping("客户", "ana").unwrap(),
            (mapping.clone(), true)
        );
        let texts = |kind: &str| {
            let files = std::fs::read_dir(folder.path().join(kind)).unwrap();
            let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            assert_eq!(files.len(), 1, "{kind}");
            (
                std::fs::read_to_string(&files[0]).unwrap(),
                files[0].clone(),
            )
        };
        assert!(!texts("mappings").0.contains("geheim"));
        let (secret, file) = texts("secrets");
        assert!(secret.contains("geheim"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&file), 0o600);
            assert_eq!(mode(file.parent().unwrap()), 0o700);
        }
        assert_eq!(servers.remote("客户", "bo").unwrap_err().code(), "42704");
        assert!(servers.remote("客户", "ana").is_ok());
        // Without a password it is gone from the disk, too.
        servers.put_mapping(mapping, None, false).unwrap();
        assert!(!file.exists());
        servers.remove("客户").unwrap();
        assert_eq!(servers.get("客户").unwrap_err().code(), "42704");
    }
}
