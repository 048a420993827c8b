//! Cancel requests: they come over a connection of their own and name another by its number and secret.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::Utc;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tokio_util::sync::CancellationToken;

use crate::engine::{Activity, ConnectionInfo};

/// How many characters of a statement are shown to others, as in Postgres.
const LONGEST_SHOWN: usize = 1024;

/// The connections that can be named.
#[derive(Debug, Default)]
pub struct Registry {
    connections: Mutex<HashMap<i32, Entry>>,
}

#[derive(Debug)]
struct Entry {
    secret: Bytes,
    /// What the connection does now; nothing while it is idle, so that a late request hits nothing.
    request: Arc<Mutex<Option<CancellationToken>>>,
    /// What is told about it.
    info: Arc<Mutex<ConnectionInfo>>,
    /// Signaled when somebody ends it.
    ended: CancellationToken,
}

/// A connection's place in the registry; dropping it gives the place up.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    number: i32,
    request: Arc<Mutex<Option<CancellationToken>>>,
    info: Arc<Mutex<ConnectionInfo>>,
    ended: CancellationToken,
}

impl Registry {
    /// Enters a connection under its number and secret.
    pub fn register(
        self: &Arc<Self>,
        number: i32,
        secret: &SecretKey,
        user: &str,
        address: Option<SocketAddr>,
    ) -> Registration {
        let request = Arc::default();
        let now = Utc::now().timestamp_micros();
        let info = Arc::new(Mutex::new(ConnectionInfo {
            number,
            user: user.to_owned(),
            application: String::new(),
            address,
            started_us: now,
            request_started_us: None,
            changed_us: now,
            state: "idle",
            query: String::new(),
        }));
        let ended = CancellationToken::new();
        let entry = Entry {
            secret: secret.to_bytes(),
            request: Arc::clone(&request),
            info: Arc::clone(&info),
            ended: ended.clone(),
        };
        lock(&self.connections).insert(number, entry);
        Registration {
            registry: Arc::clone(self),
            number,
            request,
            info,
            ended,
        }
    }

    /// Cancels what the named connection does; a wrong name or secret changes nothing, and isn't answered.
    pub fn cancel(&self, named: &CancelRequest) {
        let connections = lock(&self.connections);
        if let Some(entry) = connections.get(&named.pid)
            && entry.secret == named.secret_key.to_bytes()
            && let Some(request) = lock(&entry.request).as_ref()
        {
            request.cancel();
        }
    }
}

impl Activity for Registry {
    fn connections(&self) -> Vec<ConnectionInfo> {
        let mut connections: Vec<ConnectionInfo> = lock(&self.connections)
            .values()
            .map(|entry| lock(&entry.info).clone())
            .collect();
        connections.sort_by_key(|info| info.number);
        connections
    }

    fn cancel(&self, number: i32) -> bool {
        let connections = lock(&self.connections);
        let Some(entry) = connections.get(&number) else {
            return false;
        };
        if let Some(request) = lock(&entry.request).as_ref() {
            request.cancel();
        }
        true
    }

    fn terminate(&self, number: i32) -> bool {
        let connections = lock(&self.connections);
        let Some(entry) = connections.get(&number) else {
            return false;
        };
        entry.ended.cancel();
        true
    }
}

impl Registration {
    /// Signaled when somebody ends the connection.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Tells what the connection runs.
    pub fn runs(&self, query: &str, application: &str) {
        let mut info = lock(&self.info);
        let now = Utc::now().timestamp_micros();
        info.query = query.chars().take(LONGEST_SHOWN).collect();
        application.clone_into(&mut info.application);
        info.request_started_us = Some(now);
        info.changed_us = now;
        info.state = "active";
    }

    /// Tells what the connection waits for.
    pub fn waits(&self, state: &'static str) {
        let mut info = lock(&self.info);
        if info.state != state {
            info.state = state;
            info.changed_us = Utc::now().timestamp_micros();
        }
    }

    /// The connection begins to work for its client: what cancels that.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *lock(&self.request) = Some(token.clone());
        token
    }

    /// The connection has answered its client.
    pub fn end(&self) {
        *lock(&self.request) = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.registry.connections).remove(&self.number);
    }
}

/// A panic while a lock is held leaves a map that is whole: each change of it is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_cancels_and_only_what_runs() {
        let registry = Arc::new(Registry::default());
        let registration = registry.register(7, &SecretKey::I32(42), "analyst", None);
        let named = |secret| CancelRequest::new(7, SecretKey::I32(secret));
        Registry::cancel(&registry, &named(42));
        let token = registration.begin();
        Registry::cancel(&registry, &named(41));
        assert!(!token.is_cancelled());
        Registry::cancel(&registry, &named(42));
        assert!(token.is_cancelled());
        registration.end();
        assert!(!registration.begin().is_cancelled());
    }

    #[test]
    fn a_connection_that_ended_is_forgotten() {
        let registry = Arc::new(Registry::default());
        drop(registry.register(7, &SecretKey::I32(42), "analyst", None));
        assert!(lock(&registry.connections).is_empty());
    }
}
