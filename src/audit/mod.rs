//! The audit log: who connected from where, what they asked, and what came of it.
//!
//! ```text
//! DATA_DIR/audit/
//!   audit-20261128T214407.123456Z.jsonl   the file that is being written: the newest
//!   audit-20261127T081502.000017Z.jsonl   those before it
//! ```
//!
//! A statement hands its record to a thread and goes on. Where the thread is too slow, statements wait for it, each a
//! moment at most; what then still finds no room is counted, and the count is written as soon as something can be: a
//! log without a `lost` record is whole. Records are with the system when they are written (they outlive the server),
//! and with the disk when the system pleases.

mod file;
mod record;
mod redact;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, Result};
use file::Files;

pub use file::list as files;
pub use record::{Event, Outcome, Record};
pub use redact::{without_literals, without_secrets};

/// How many records wait for the thread.
const MOST_WAITING: usize = 4096;
/// How long a statement waits for room.
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// How many bytes are written at once, more or less.
const LARGEST_WRITE: usize = 1 << 20;
/// How often a disk that can't be written is tried again, and complained about.
const RETRY: Duration = Duration::from_secs(5);

/// What an audit log is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOptions {
    /// Where its files are.
    pub folder: PathBuf,
    /// How large a file may be, in bytes.
    pub file_bytes: u64,
    /// How many files are kept; with more, the oldest goes.
    pub files: usize,
    /// Whether the values in statements are kept. Passwords never are.
    pub literals: bool,
}

impl AuditOptions {
    /// The defaults, and a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            file_bytes: 64 << 20,
            files: 16,
            literals: true,
        }
    }
}

/// An audit log that is being written; dropping it writes what waits.
#[derive(Debug)]
pub struct Audit {
    options: AuditOptions,
    counts: Arc<Counts>,
    /// Taken away at the end, which is what the thread ends by.
    sender: Mutex<Option<Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How many records there were.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

enum Message {
    Record(Box<Record>),
    /// Everything before it is to be written; then this is dropped.
    Flush(oneshot::Sender<()>),
}

impl Audit {
    /// Begins a file in the folder.
    ///
    /// # Errors
    /// 58030 when that can't be done.
    pub fn start(options: AuditOptions) -> Result<Arc<Self>> {
        let failed = |error| {
            let what = format!(
                "can't write the audit log in \"{}\"",
                options.folder.display()
            );
            Error::io(what, error)
        };
        let files =
            Files::open(&options.folder, options.file_bytes, options.files).map_err(failed)?;
        let (sender, receiver) = channel(MOST_WAITING);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let thread = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(files, receiver, &counted))
            .map_err(failed)?;
        Ok(Arc::new(Self {
            options,
            counts,
            sender: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// What it was started with.
    pub fn options(&self) -> &AuditOptions {
        &self.options
    }

    /// How many records were written.
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// How many records found no room, or couldn't be written.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }

    /// Hands a record over, and waits a moment for room where there is none.
    pub async fn record(&self, record: Record) {
        let record = self.allowed(record);
        let sent = match self.sender() {
            Some(sender) => sender.send_timeout(record, LONGEST_WAIT).await.is_ok(),
            None => false,
        };
        self.count(sent);
    }

    /// Hands a record over where nobody can wait.
    pub fn record_now(&self, record: Record) {
        let record = self.allowed(record);
        let sent = self
            .sender()
            .is_some_and(|sender| sender.try_send(record).is_ok());
        self.count(sent);
    }

    fn allowed(&self, mut record: Record) -> Message {
        if !self.options.literals {
            record.forget_values();
        }
        Message::Record(Box::new(record))
    }

    fn count(&self, sent: bool) {
        if !sent {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was recorded is written, `most` at most.
    pub async fn flush(&self, most: Duration) {
        let (done, written) = oneshot::channel();
        if let Some(sender) = self.sender()
            && sender
                .send_timeout(Message::Flush(done), most)
                .await
                .is_ok()
        {
            // Dropped by the thread when all is written: that is an error here, and the answer.
            let _ = timeout(most, written).await;
        }
    }

    fn sender(&self) -> Option<Sender<Message>> {
        let sender = self.sender.lock();
        sender.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        drop(
            self.sender
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self.thread.lock().map(|mut thread| thread.take());
        if let Ok(Some(thread)) = thread {
            // A writer that panicked has nothing left to write.
            let _ = thread.join();
        }
    }
}

/// Writes records until nobody can send any more.
fn write(mut files: Files, mut receiver: Receiver<Message>, counts: &Counts) {
    let mut told = 0;
    let mut refused: Option<Instant> = None;
    while let Some(first) = receiver.blocking_recv() {
        let mut lines = Vec::new();
        let mut records = 0;
        let mut waiting = Vec::new();
        let lost = counts.lost.load(Ordering::Relaxed);
        if lost > told {
            Box::new(Record::lost(Utc::now(), lost - told)).write(&mut lines);
        }
        // What came meanwhile is written at once.
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Record(record) => {
                    record.write(&mut lines);
                    records += 1;
                }
                Message::Flush(done) => waiting.push(done),
            }
            next = match lines.len() < LARGEST_WRITE {
                true => receiver.try_recv().ok(),
                false => None,
            };
        }
        let resting = refused.is_some_and(|since| since.elapsed() < RETRY);
        let result = match resting {
            true => Ok(false),
            false => files.append(&lines).map(|()| true),
        };
        match result {
            Ok(true) => {
                (told, refused) = (lost, None);
                counts.written.fetch_add(records, Ordering::Relaxed);
            }
            Ok(false) => {
                counts.lost.fetch_add(records, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::error!(%error, "the audit log can't be written");
                refused = Some(Instant::now());
                counts.lost.fetch_add(records, Ordering::Relaxed);
            }
        }
        drop(waiting);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lines(folder: &std::path::Path) -> Vec<String> {
        let mut lines = Vec::new();
        for file in file::list(folder).unwrap() {
            let text = std::fs::read_to_string(file).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    fn statement(text: &str) -> Record {
        Record {
            statement: Some(text.to_owned()),
            ..Record::new(Event::Statement, Utc::now())
        }
    }

    #[tokio::test]
    async fn what_was_recorded_is_written_when_the_log_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::start(AuditOptions::new(folder.path())).unwrap();
        for number in 0..10_000 {
            audit.record(statement(&format!("select {number}"))).await;
        }
        audit.flush(Duration::from_secs(10)).await;
        assert_eq!((audit.written(), audit.lost()), (10_000, 0));
        audit.record(statement("select '最后'")).await;
        drop(audit);
        let lines = lines(folder.path());
        assert_eq!(lines.len(), 10_001);
        assert!(lines[10_000].contains("select '最后'"));
    }

    #[tokio::test]
    async fn values_are_left_out_where_that_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let options = AuditOptions {
            literals: false,
            ..AuditOptions::new(folder.path())
        };
        let audit = Audit::start(options).unwrap();
        audit
            .record(Record {
                parameters: vec![Some("13800000000".to_owned())],
                message: Some("invalid input syntax: \"13800000000\"".to_owned()),
                ..statement("select * from t where phone = '13800000000' and n > 42")
            })
            .await;
        drop(audit);
        let line = lines(folder.path()).remove(0);
        assert!(
            line.contains("select * from t where phone = '***' and n > ?"),
            "{line}"
        );
        assert!(!line.contains("138"), "{line}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_cannot_be_written_is_counted_and_said_later() {
        let folder = tempfile::tempdir().unwrap();
        let options = AuditOptions {
            // Every batch begins a file.
            file_bytes: 1,
            ..AuditOptions::new(folder.path().join("audit"))
        };
        let audit = Audit::start(options).unwrap();
        audit.record(statement("select 1")).await;
        audit.flush(Duration::from_secs(10)).await;
        std::fs::remove_dir_all(folder.path().join("audit")).unwrap();
        audit.record(statement("select 2")).await;
        audit.record(statement("select 3")).await;
        audit.flush(Duration::from_secs(10)).await;
        assert_eq!((audit.written(), audit.lost()), (1, 2));
        std::fs::create_dir(folder.path().join("audit")).unwrap();
        thread::sleep(RETRY);
        audit.record(statement("select 4")).await;
        drop(audit);
        let lines = lines(&folder.path().join("audit"));
        assert!(
            lines[0].contains("\"event\":\"lost\"") && lines[0].contains("\"rows\":2"),
            "{lines:?}"
        );
        assert!(lines[1].contains("select 4"), "{lines:?}");
    }
}
