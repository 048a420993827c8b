//! Whose a data directory in a store is: a lease, which its server renews.
//!
//! ```text
//! PREFIX/lock    {"owner": …, "host": …, "process": …, "renewals": 17}
//! ```
//!
//! The object is only ever replaced by whoever knows the tag of what is there (a conditional put), so that two servers never
//! take it at once. A server that finds somebody else's watches it: when it is renewed, it is in use; when it isn't for the
//! length of a lease, its server is gone, and it is taken. No clock is compared with another machine's. On the same machine
//! a server that has ended is known to be gone, and nobody waits.
//!
//! The owner counts the length from before it asked for the renewal, which is before anybody can have seen it. When it is
//! over, nothing is written any more, nor is what was begun waited for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::in_use;
use super::remote::Remote;
use crate::error::{ChangeFault, Error, Result};
use crate::external::wrapped;

/// How long a lease lasts, and how often it is renewed.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long it is anybody's who doesn't renew it.
    pub length: Duration,
    /// How often it is renewed.
    pub renewal: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            length: Duration::from_secs(30),
            renewal: Duration::from_secs(5),
        }
    }
}

/// The longest that giving it back may take.
const RELEASE: Duration = Duration::from_secs(5);

/// What is in the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Whose it is; nobody's where absent.
    owner: Option<String>,
    /// The owner's machine, for people.
    host: String,
    /// The owner's process there.
    process: u32,
    /// What tells the machine since it was started, and its processes, from others.
    machine: Option<String>,
    /// When the process began, so that another one of the same number is known.
    began: Option<u64>,
    /// How often it was to be renewed: no two of its contents are the same.
    renewals: u64,
}

/// What is known of the process that has a lease.
#[derive(Debug, PartialEq, Eq)]
enum Life {
    Here,
    Gone,
    Unknown,
}

impl Record {
    fn own() -> Self {
        let process = std::process::id();
        Self {
            owner: Some(Uuid::new_v4().simple().to_string()),
            host: host(),
            process,
            machine: machine(),
            began: began(process),
            renewals: 0,
        }
    }

    fn life(&self) -> Life {
        if self.owner.is_none() {
            return Life::Gone;
        }
        // Whether this process has it, only the object tells.
        if self.machine.is_none() || self.machine != machine() || self.process == std::process::id()
        {
            return Life::Unknown;
        }
        match began(self.process) {
            Some(began) if Some(began) == self.began => Life::Here,
            _ => Life::Gone,
        }
    }

    fn who(&self) -> String {
        match self.host.is_empty() {
            true => String::new(),
            false => format!(" (process {} on host \"{}\")", self.process, self.host),
        }
    }
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.map(|name| name.trim().to_owned()).unwrap_or_default()
}

/// The machine's run and the processes that can be seen in it: a container has others than its host.
fn machine() -> Option<String> {
    let run = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let processes = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", run.trim(), processes.display()))
}

/// When a process began, in ticks since the machine did; nothing where there is none.
fn began(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Its name, in brackets, may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A process that ended and whose parent hasn't looked yet has no files any more.
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Until when a lease holds.
#[derive(Debug)]
pub struct Validity {
    /// The data directory.
    place: String,
    until: Mutex<Option<(Instant, SystemTime)>>,
    /// Somebody else has it.
    taken: AtomicBool,
}

impl Validity {
    /// It isn't held yet.
    pub fn new(place: String) -> Self {
        Self {
            place,
            until: Mutex::default(),
            taken: AtomicBool::new(false),
        }
    }

    fn extend(&self, until: (Instant, SystemTime)) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn end(&self) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether somebody else has it.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// How long it holds still.
    ///
    /// # Errors
    /// 55006 when it doesn't.
    pub fn remaining(&self) -> Result<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((until, by_clock)) = until.filter(|_| !self.is_taken()) else {
            return Err(self.lost());
        };
        // A machine that slept knows it by its clock alone.
        let left = until.saturating_duration_since(Instant::now());
        let by_clock = by_clock.duration_since(SystemTime::now());
        match left.min(by_clock.unwrap_or_default()) {
            Duration::ZERO => Err(self.lost()),
            left => Ok(left),
        }
    }

    /// It doesn't hold.
    pub fn lost(&self) -> Error {
        let place = &self.place;
        let (message, hint) = match self.is_taken() {
            true => (
                format!("data directory \"{place}\" was taken by another server"),
                "Nothing can be changed through this server any more: connect to the other one.",
            ),
            false => (
                format!("the lock of data directory \"{place}\" could not be renewed"),
                "Nothing is changed until the store answers and the lock is renewed.",
            ),
        };
        ChangeFault::InUse.error(message).hint(hint).into()
    }
}

/// A lease that is held, and given back when this is dropped.
#[derive(Debug)]
pub struct Lease {
    remote: Arc<Remote>,
    held: Arc<tokio::sync::Mutex<Held>>,
    renewing: JoinHandle<()>,
}

/// What is in the object now, as its owner knows it.
#[derive(Debug)]
struct Held {
    store: Arc<dyn ObjectStore>,
    path: Path,
    record: Record,
    version: UpdateVersion,
}

impl Lease {
    /// Takes the lease in that object, and renews it from then on. It may take the length of a lease to know that its
    /// server is gone.
    ///
    /// # Errors
    /// 55006 when somebody has it, 08001 and others when the store can't be asked.
    pub async fn take(remote: &Arc<Remote>, path: Path, terms: Terms) -> Result<Self> {
        let store = Arc::clone(&remote.unguarded);
        let failed = |error: StoreError| remote.failed("take", &path, &error);
        let own = Record::own();
        let mut watched: Option<(Option<String>, Instant)> = None;
        let look = terms.renewal.min(Duration::from_secs(1)) / 2;
        let (version, began) = loop {
            let found = read(store.as_ref(), &path).await.map_err(failed)?;
            let mode = match found {
                None => PutMode::Create,
                Some((record, version)) if record.life() == Life::Gone => PutMode::Update(version),
                Some((record, version)) => match &watched {
                    Some((tag, _)) if *tag != version.e_tag => {
                        return Err(in_use(&directory(remote, &path), &record.who()));
                    }
                    _ if record.life() == Life::Here => {
                        return Err(in_use(&directory(remote, &path), &record.who()));
                    }
                    Some((_, since)) if since.elapsed() >= terms.length => PutMode::Update(version),
                    known => {
                        if known.is_none() {
                            // Without a word, somebody would wonder why nothing happens.
                            tracing::error!(
                                "data directory \"{}\" was another server's{}: waiting whether it still is",
                                directory(remote, &path),
                                record.who()
                            );
                            watched = Some((version.e_tag, Instant::now()));
                        }
                        tokio::time::sleep(look).await;
                        continue;
                    }
                },
            };
            let began = (Instant::now(), SystemTime::now());
            match write(store.as_ref(), &path, &own, mode).await {
                Ok(version) => break (version, began),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    match read(store.as_ref(), &path).await.map_err(failed)? {
                        // It was written, and the answer was lost.
                        Some((record, version)) if record == own => break (version, began),
                        // Somebody else was quicker.
                        Some((record, _)) if record.owner.is_some() => {
                            return Err(in_use(&directory(remote, &path), &record.who()));
                        }
                        _ => {}
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        };
        let held = Arc::new(tokio::sync::Mutex::new(Held {
            store,
            path,
            record: own,
            version,
        }));
        let validity = Arc::clone(remote.validity());
        validity.extend((began.0 + terms.length, began.1 + terms.length));
        let renewing = renew(Arc::clone(&held), validity, terms);
        Ok(Self {
            remote: Arc::clone(remote),
            held,
            renewing: remote.handle().spawn(renewing),
        })
    }
}

impl Drop for Lease {
    /// Whoever comes next needn't wait.
    fn drop(&mut self) {
        self.renewing.abort();
        if self.remote.validity().remaining().is_err() {
            return;
        }
        self.remote.validity().end();
        let held = Arc::clone(&self.held);
        let released = self.remote.wait(async move {
            let mut held = held.lock().await;
            let free = Record {
                renewals: held.record.renewals + 1,
                ..Record::default()
            };
            tokio::time::timeout(RELEASE, held.replace(free)).await
        });
        match released {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "a data directory's lock can't be given back")
            }
            _ => tracing::warn!("a data directory's lock can't be given back in time"),
        }
    }
}

/// The data directory whose lock that is.
fn directory(remote: &Remote, lock: &Path) -> String {
    let mut parts: Vec<_> = lock.parts().collect();
    parts.pop();
    let path: Path = parts.into_iter().collect();
    format!("{remote}/{path}")
}

async fn renew(held: Arc<tokio::sync::Mutex<Held>>, validity: Arc<Validity>, terms: Terms) {
    loop {
        tokio::time::sleep(terms.renewal).await;
        let began = (Instant::now(), SystemTime::now());
        let mut held = held.lock().await;
        // Another number each time, whatever becomes of it: a tag may be made of the content alone.
        held.record.renewals += 1;
        let next = held.record.clone();
        // One answer that doesn't come must not cost the lease.
        let replaced = tokio::time::timeout(terms.renewal, held.replace(next));
        match replaced.await.unwrap_or_else(|_| Err(no_answer())) {
            Ok(()) => validity.extend((began.0 + terms.length, began.1 + terms.length)),
            Err(StoreError::Precondition { .. }) => {
                validity.taken.store(true, Ordering::Release);
                let error = validity.lost();
                tracing::error!(%error, "nothing is written any more");
                return;
            }
            Err(error) => tracing::warn!(%error, "a data directory's lock can't be renewed"),
        }
    }
}

fn no_answer() -> StoreError {
    StoreError::Generic {
        store: "lock",
        source: "there was no answer in time".into(),
    }
}

impl Held {
    /// Replaces what is in the object, if that is still this server's.
    async fn replace(&mut self, next: Record) -> object_store::Result<()> {
        let mode = PutMode::Update(self.version.clone());
        let mut replaced = write(self.store.as_ref(), &self.path, &next, mode).await;
        if let Err(StoreError::Precondition { .. }) = &replaced {
            // It may have been this server that replaced it, and the answer was lost. That was then; it is replaced once more.
            let found = read(self.store.as_ref(), &self.path).await?;
            if let Some((record, version)) = found
                && record.owner == self.record.owner
            {
                let mode = PutMode::Update(version);
                replaced = write(self.store.as_ref(), &self.path, &next, mode).await;
            }
        }
        self.version = replaced?;
        Ok(())
    }
}

async fn read(
    store: &dyn ObjectStore,
    path: &Path,
) -> object_store::Result<Option<(Record, UpdateVersion)>> {
    let found = match store.get(path).await {
        Err(StoreError::NotFound { .. }) => return Ok(None),
        found => found?,
    };
    let version = UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    };
    let text = found.bytes().await?;
    // Whoever wrote something else may be there still: it is watched like any other.
    let record = serde_json::from_slice(&text).unwrap_or_else(|_| Record {
        owner: Some("unknown".to_owned()),
        ..Record::default()
    });
    Ok(Some((record, version)))
}

async fn write(
    store: &dyn ObjectStore,
    path: &Path,
    record: &Record,
    mode: PutMode,
) -> object_store::Result<UpdateVersion> {
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| wrapped(Error::io("can't write a lock", error.into())))?;
    let put = store.put_opts(path, text.into(), PutOptions::from(mode));
    Ok(put.await?.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    const TERMS: Terms = Terms {
        length: Duration::from_millis(600),
        renewal: Duration::from_millis(100),
    };

    fn lock() -> Path {
        Path::from("crm/lock")
    }

    async fn put(store: &Arc<InMemory>, record: &Record) {
        write(store.as_ref(), &lock(), record, PutMode::Overwrite)
            .await
            .unwrap();
    }

    /// A server of which nothing is known here.
    fn somebody() -> Record {
        Record {
            machine: Some("another".to_owned()),
            host: "b".to_owned(),
            process: 7,
            ..Record::own()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_second_server_is_refused_until_the_first_gives_it_back() {
        let store = Arc::new(InMemory::new());
        let (first, second) = (
            Remote::of(Arc::<InMemory>::clone(&store)),
            Remote::of(store),
        );
        let lease = Lease::take(&first, lock(), TERMS).await.unwrap();
        first.check_owned().unwrap();
        let error = Lease::take(&second, lock(), TERMS).await.unwrap_err();
        assert_eq!(error.code(), "55006");
        assert!(error.to_string().contains("\"s3://bucket/crm\""), "{error}");
        assert_eq!(second.check_owned().unwrap_err().code(), "55006");
        drop(lease);
        let started = Instant::now();
        let _lease = Lease::take(&second, lock(), TERMS).await.unwrap();
        assert!(started.elapsed() < TERMS.length / 2);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_nobody_renews_is_taken_when_it_is_over() {
        let store = Arc::new(InMemory::new());
        put(&store, &somebody()).await;
        let started = Instant::now();
        let remote = Remote::of(store);
        let _lease = Lease::take(&remote, lock(), TERMS).await.unwrap();
        assert!(started.elapsed() >= TERMS.length);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobody_waits_for_a_process_of_this_machine_that_is_gone() {
        let store = Arc::new(InMemory::new());
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let gone = Record {
            process: ended.id(),
            began: Some(1),
            ..Record::own()
        };
        ended.wait().unwrap();
        put(&store, &gone).await;
        let started = Instant::now();
        let remote = Remote::of(Arc::<InMemory>::clone(&store));
        let lease = Lease::take(&remote, lock(), TERMS).await.unwrap();
        assert!(started.elapsed() < TERMS.length / 2);
        drop(lease);
        // A process that is there is known at once as well.
        let mut there = std::process::Command::new("sleep")
            .arg("9")
            .spawn()
            .unwrap();
        let here = Record {
            process: there.id(),
            began: super::began(there.id()),
            ..Record::own()
        };
        put(&store, &here).await;
        let remote = Remote::of(store);
        let taken = Lease::take(&remote, lock(), TERMS).await;
        there.kill().unwrap();
        there.wait().unwrap();
        assert_eq!(taken.unwrap_err().code(), "55006");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_lost_it_writes_nothing_any_more() {
        let store = Arc::new(InMemory::new());
        let remote = Remote::of(Arc::<InMemory>::clone(&store));
        let _lease = Lease::take(&remote, lock(), TERMS).await.unwrap();
        let file = Path::from("crm/x");
        remote.put(&file, b"1".to_vec()).unwrap();
        put(&store, &somebody()).await;
        tokio::time::sleep(TERMS.renewal * 3).await;
        let error = remote.put(&file, b"2".to_vec()).unwrap_err();
        assert_eq!(error.code(), "55006");
        assert!(error.to_string().contains("taken by another"), "{error}");
        assert_eq!(remote.remove(&file).unwrap_err().code(), "55006");
        assert_eq!(remote.read(&file).unwrap().unwrap().as_ref(), b"1");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_was_lost_loses_nothing() {
        let store = Arc::new(InMemory::new());
        let remote = Remote::of(Arc::<InMemory>::clone(&store));
        let lease = Lease::take(&remote, lock(), TERMS).await.unwrap();
        // It is renewed under a tag that this server wasn't told of.
        let record = lease.held.lock().await.record.clone();
        put(&store, &record).await;
        tokio::time::sleep(TERMS.length * 2).await;
        remote.check_owned().unwrap();
    }

    #[test]
    fn what_is_not_renewed_is_over() {
        let validity = Validity::new("s3://bucket".to_owned());
        assert_eq!(validity.remaining().unwrap_err().code(), "55006");
        let soon = Duration::from_secs(5);
        validity.extend((Instant::now() + soon, SystemTime::now() + soon));
        assert!(validity.remaining().unwrap() <= soon);
        // The machine slept: only its clock has gone on.
        validity.extend((Instant::now() + soon, SystemTime::now() - soon));
        let error = validity.remaining().unwrap_err();
        assert!(
            error.to_string().contains("could not be renewed"),
            "{error}"
        );
    }
}
