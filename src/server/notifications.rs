//! `LISTEN` and `NOTIFY`: what one connection says is heard by those that listen.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How much is kept for a connection that doesn't read; one with more hears nothing any more.
const MOST_WAITING: usize = 10_000;

/// Something that was said on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Who said it: a connection's number.
    pub pid: i32,
    /// The channel.
    pub channel: String,
    /// What was said.
    pub payload: String,
}

/// Who listens to what.
#[derive(Debug, Default)]
pub struct Exchange {
    listeners: Mutex<HashMap<i32, Listener>>,
}

#[derive(Debug)]
struct Listener {
    channels: HashSet<String>,
    sender: Sender<Notification>,
}

/// A connection's ear; dropping it stops the listening.
#[derive(Debug)]
pub struct Ear {
    exchange: Arc<Exchange>,
    pid: i32,
    /// What was heard and not told yet; it ends where that was too much.
    pub heard: Receiver<Notification>,
    /// What is said when the transaction commits.
    pending: Vec<Notification>,
}

impl Exchange {
    /// An ear for the connection of that number.
    pub fn listen(self: &Arc<Self>, pid: i32) -> Ear {
        let (sender, heard) = channel(MOST_WAITING);
        self.lock().insert(
            pid,
            Listener {
                channels: HashSet::new(),
                sender,
            },
        );
        Ear {
            exchange: Arc::clone(self),
            pid,
            heard,
            pending: Vec::new(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Listener>> {
        // A map is whole after a panic: each change of it is one call.
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something to all who listen.
    pub fn say(&self, notification: &Notification) {
        // Whoever speaks doesn't wait for those that listen: one that is too slow is dropped, and finds out.
        self.lock().retain(|_, listener| {
            let listens = listener.channels.contains(&notification.channel);
            !listens || listener.sender.try_send(notification.clone()).is_ok()
        });
    }
}

impl Ear {
    /// Listens to a channel.
    pub fn open(&self, channel: &str) {
        if let Some(listener) = self.exchange.lock().get_mut(&self.pid) {
            listener.channels.insert(channel.to_owned());
        }
    }

    /// Stops listening to a channel, or to all of them.
    pub fn close(&self, channel: Option<&str>) {
        if let Some(listener) = self.exchange.lock().get_mut(&self.pid) {
            match channel {
                Some(channel) => drop(listener.channels.remove(channel)),
                None => listener.channels.clear(),
            }
        }
    }

    /// Says something when the transaction commits; the same thing is said once.
    pub fn tell(&mut self, channel: &str, payload: &str) {
        let notification = Notification {
            pid: self.pid,
            channel: channel.to_owned(),
            payload: payload.to_owned(),
        };
        if !self.pending.contains(&notification) {
            self.pending.push(notification);
        }
    }

    /// The transaction has committed, or not.
    pub fn end(&mut self, committed: bool) {
        for notification in self.pending.drain(..) {
            if committed {
                self.exchange.say(&notification);
            }
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.exchange.lock().remove(&self.pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_listen_hear_what_was_committed() {
        let exchange = Arc::new(Exchange::default());
        let (mut speaker, mut listener) = (exchange.listen(1), exchange.listen(2));
        listener.open("deals");
        speaker.tell("deals", "1");
        speaker.tell("deals", "1");
        assert!(listener.heard.try_recv().is_err());
        speaker.end(true);
        let heard = listener.heard.try_recv().ok();
        assert_eq!(
            heard,
            Some(Notification {
                pid: 1,
                channel: "deals".to_owned(),
                payload: "1".to_owned()
            })
        );
        assert!(listener.heard.try_recv().is_err());
        speaker.tell("deals", "2");
        speaker.end(false);
        listener.close(None);
        speaker.tell("deals", "3");
        speaker.end(true);
        assert!(listener.heard.try_recv().is_err());
    }
}
