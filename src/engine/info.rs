//! What a relation or function of the catalogs may know of the session that reads it, and of the others.

use std::any::Any;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::catalog::CatalogProviderList;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::DataFusionError;

use super::session::lock;
use super::settings::Settings;
use crate::catalog::{CatalogNames, TEMPORARY};

/// Who somebody is to the engine.
#[derive(Debug)]
pub struct Identity {
    user: String,
    /// The role that `SET ROLE` chose.
    role: Mutex<Option<String>>,
    temporary_schema: String,
}

impl Identity {
    /// Of a session's user; `number` is the session's.
    pub fn new(user: &str, number: u64) -> Self {
        Self {
            user: user.to_owned(),
            role: Mutex::default(),
            temporary_schema: format!("{TEMPORARY}{number}"),
        }
    }

    /// Who connected.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The role that was chosen.
    pub fn chosen_role(&self) -> Option<String> {
        lock(&self.role).clone()
    }

    /// Chooses a role; the user itself where it is absent.
    pub fn choose_role(&self, role: Option<&str>) {
        *lock(&self.role) = role.map(str::to_owned);
    }

    /// Whom the session acts as: its user, or the role that was chosen.
    pub fn role(&self) -> String {
        self.chosen_role().unwrap_or_else(|| self.user.clone())
    }

    /// The schema of the tables that go with the session.
    pub fn temporary_schema(&self) -> &str {
        &self.temporary_schema
    }
}

/// Who reads, with which settings.
#[derive(Debug)]
pub struct SessionInfo {
    identity: Arc<Identity>,
    /// The catalogs as the session sees them.
    catalogs: Arc<dyn CatalogProviderList>,
    /// The names that OIDs stand for, of what it sees.
    names: Arc<CatalogNames>,
    settings: Arc<Mutex<Settings>>,
    /// The number of its connection.
    number: AtomicI32,
    activity: Option<Arc<dyn Activity>>,
}

/// The connections to a server.
pub trait Activity: Debug + Send + Sync {
    /// What each of them does.
    fn connections(&self) -> Vec<ConnectionInfo>;

    /// Cancels what a connection does; whether there is one of that number.
    fn cancel(&self, number: i32) -> bool;

    /// Ends a connection; whether there is one of that number.
    fn terminate(&self, number: i32) -> bool;
}

/// What a connection does.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its number, which is a process' in Postgres.
    pub number: i32,
    /// Whose it is.
    pub user: String,
    /// What the client calls itself.
    pub application: String,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// When it began, in microseconds since 1970.
    pub started_us: i64,
    /// When its last request began.
    pub request_started_us: Option<i64>,
    /// When its state changed last.
    pub changed_us: i64,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`
    pub state: &'static str,
    /// What it runs, or ran last.
    pub query: String,
}

impl SessionInfo {
    /// Of a session that sees `catalogs`, with the names of what is there.
    pub fn new(
        identity: &Arc<Identity>,
        catalogs: Arc<dyn CatalogProviderList>,
        names: Arc<CatalogNames>,
        settings: &Arc<Mutex<Settings>>,
        activity: Option<Arc<dyn Activity>>,
    ) -> Self {
        Self {
            identity: Arc::clone(identity),
            catalogs,
            names,
            settings: Arc::clone(settings),
            number: AtomicI32::new(0),
            activity,
        }
    }

    /// Who reads.
    pub fn user(&self) -> &str {
        self.identity.user()
    }

    /// Whom the session acts as.
    pub fn role(&self) -> String {
        self.identity.role()
    }

    /// The catalogs as the session sees them.
    pub fn catalogs(&self) -> &Arc<dyn CatalogProviderList> {
        &self.catalogs
    }

    /// The names that OIDs stand for.
    pub fn names(&self) -> &Arc<CatalogNames> {
        &self.names
    }

    /// The number of the connection; 0 where there is none.
    pub fn number(&self) -> i32 {
        self.number.load(Ordering::Relaxed)
    }

    /// The session is a connection's of that number.
    pub fn set_number(&self, number: i32) {
        self.number.store(number, Ordering::Relaxed);
    }

    /// The connections to the server; none where there is no server.
    pub fn activity(&self) -> Option<&Arc<dyn Activity>> {
        self.activity.as_ref()
    }

    /// Name, value and default of each setting.
    pub fn settings_rows(&self) -> Vec<(String, String, String)> {
        lock(&self.settings).rows()
    }
}

/// The session that asks, where functions find it: among the options that they are called with.
#[derive(Debug, Clone)]
pub struct Asker(pub Arc<SessionInfo>);

impl Asker {
    /// The session whose options these are.
    pub fn of(options: &ConfigOptions) -> Option<&Arc<SessionInfo>> {
        options.extensions.get::<Self>().map(|asker| &asker.0)
    }
}

impl ConfigExtension for Asker {
    const PREFIX: &'static str = "asker";
}

impl ExtensionOptions for Asker {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<(), DataFusionError> {
        Err(DataFusionError::Configuration(format!(
            "asker.{key} is not an option"
        )))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
