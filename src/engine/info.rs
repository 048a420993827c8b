//! What a relation or function of the catalogs may know of the session that reads it, and of the others.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use datafusion::catalog::CatalogProviderList;
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::DataFusionError;

use super::copy::Copies;
use super::prepared::NamedStatement;
use super::search_path::SearchPath;
use super::session::lock;
use super::settings::Settings;
use crate::catalog::{CatalogNames, TEMPORARY};
use crate::postgres::style::Style;
use crate::tables::View;

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
    path: SearchPath,
    settings: Arc<Mutex<Settings>>,
    /// The number of its connection.
    number: AtomicI32,
    activity: Option<Arc<dyn Activity>>,
    /// The copies that run.
    copies: Arc<Copies>,
    /// What its statement sees of durable tables.
    view: Mutex<Option<Arc<View>>>,
    /// The numbers that it got from sequences.
    numbers: Mutex<Numbers>,
    /// The statements that it has prepared, by their names.
    statements: Mutex<BTreeMap<String, NamedStatement>>,
    /// What `pg_notify()` said, which the connection is to tell the others: channels and texts.
    said: Mutex<Vec<(String, String)>>,
}

/// The numbers that a session got from sequences last.
#[derive(Debug, Default)]
struct Numbers {
    /// By the sequences' IDs.
    of: HashMap<String, i64>,
    /// The sequence that was asked last.
    last: Option<String>,
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
    /// Of a session that sees `catalogs`, with the names of what is there and where it looks for them.
    pub fn new(
        identity: &Arc<Identity>,
        catalogs: Arc<dyn CatalogProviderList>,
        names: Arc<CatalogNames>,
        path: SearchPath,
        settings: &Arc<Mutex<Settings>>,
        activity: Option<Arc<dyn Activity>>,
        copies: &Arc<Copies>,
    ) -> Self {
        Self {
            identity: Arc::clone(identity),
            catalogs,
            names,
            path,
            settings: Arc::clone(settings),
            number: AtomicI32::new(0),
            activity,
            copies: Arc::clone(copies),
            view: Mutex::default(),
            numbers: Mutex::default(),
            statements: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// It got a number of a sequence, by asking for the next one or by setting it.
    pub fn note_number(&self, sequence: &str, number: i64, asked: bool) {
        let mut numbers = lock(&self.numbers);
        numbers.of.insert(sequence.to_owned(), number);
        if asked {
            numbers.last = Some(sequence.to_owned());
        }
    }

    /// The number that it got of a sequence last.
    pub fn number_of(&self, sequence: &str) -> Option<i64> {
        lock(&self.numbers).of.get(sequence).copied()
    }

    /// The number that it got last.
    pub fn last_number(&self) -> Option<i64> {
        let numbers = lock(&self.numbers);
        numbers.of.get(numbers.last.as_ref()?).copied()
    }

    /// It got none.
    pub fn forget_numbers(&self) {
        *lock(&self.numbers) = Numbers::default();
    }

    /// Whether its transaction only reads.
    pub fn reads_only(&self) -> bool {
        let settings = lock(&self.settings);
        let name = match settings.in_transaction() {
            true => "transaction_read_only",
            false => "default_transaction_read_only",
        };
        settings.get(name).is_ok_and(|value| value == "on")
    }

    /// Something is to be told to those who listen to a channel.
    pub fn say(&self, channel: &str, text: &str) {
        lock(&self.said).push((channel.to_owned(), text.to_owned()));
    }

    /// What was said since this was asked last.
    pub fn take_said(&self) -> Vec<(String, String)> {
        std::mem::take(&mut lock(&self.said))
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

    /// Where it looks for relations that are named without a schema.
    pub fn search_path(&self) -> &SearchPath {
        &self.path
    }

    /// The copies that run.
    pub fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    /// The statements that it has prepared, by their names.
    pub fn statements(&self) -> MutexGuard<'_, BTreeMap<String, NamedStatement>> {
        lock(&self.statements)
    }

    /// What its statement sees of durable tables; what there is where nothing is said.
    pub fn view(&self) -> Option<Arc<View>> {
        lock(&self.view).clone()
    }

    /// Its next statement sees this of durable tables.
    pub fn set_view(&self, view: View) {
        *lock(&self.view) = Some(Arc::new(view));
    }

    /// How it reads and writes values.
    pub fn style(&self) -> Style {
        Style::of(&lock(&self.settings))
    }

    /// The encoding of what the client sends and gets.
    pub fn client_encoding(&self) -> String {
        lock(&self.settings)
            .get("client_encoding")
            .unwrap_or_default()
    }

    /// Name, value and the value after a `RESET` of each setting.
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
