//! Cancel requests: they come over a connection of their own and name another by its number and secret.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tokio_util::sync::CancellationToken;

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
}

/// A connection's place in the registry; dropping it gives the place up.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    number: i32,
    request: Arc<Mutex<Option<CancellationToken>>>,
}

impl Registry {
    /// Enters a connection under its number and secret.
    pub fn register(self: &Arc<Self>, number: i32, secret: &SecretKey) -> Registration {
        let request = Arc::default();
        let entry = Entry {
            secret: secret.to_bytes(),
            request: Arc::clone(&request),
        };
        lock(&self.connections).insert(number, entry);
        Registration {
            registry: Arc::clone(self),
            number,
            request,
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

impl Registration {
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
        let registration = registry.register(7, &SecretKey::I32(42));
        let named = |secret| CancelRequest::new(7, SecretKey::I32(secret));
        registry.cancel(&named(42));
        let token = registration.begin();
        registry.cancel(&named(41));
        assert!(!token.is_cancelled());
        registry.cancel(&named(42));
        assert!(token.is_cancelled());
        registration.end();
        assert!(!registration.begin().is_cancelled());
    }

    #[test]
    fn a_connection_that_ended_is_forgotten() {
        let registry = Arc::new(Registry::default());
        drop(registry.register(7, &SecretKey::I32(42)));
        assert!(lock(&registry.connections).is_empty());
    }
}
