//! What a relation or function of the catalogs may know of the session that reads it, and of the others.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use super::session::lock;
use super::settings::Settings;

/// Who reads, with which settings.
#[derive(Debug)]
pub struct SessionInfo {
    user: String,
    /// Whom it acts as: its user, or the role that `SET ROLE` chose.
    current_user: Mutex<String>,
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
    /// Of a user's session.
    pub fn new(
        user: &str,
        settings: &Arc<Mutex<Settings>>,
        activity: Option<Arc<dyn Activity>>,
    ) -> Self {
        Self {
            user: user.to_owned(),
            current_user: Mutex::new(user.to_owned()),
            settings: Arc::clone(settings),
            number: AtomicI32::new(0),
            activity,
        }
    }

    /// Who reads.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whom it acts as.
    pub fn current_user(&self) -> String {
        lock(&self.current_user).clone()
    }

    /// It acts as another from here on.
    pub(super) fn set_current_user(&self, user: String) {
        *lock(&self.current_user) = user;
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
