//! What a client does, written down (audit log, slow-query log) and counted (metrics).
//!
//! A [`Ticket`] goes with a statement from its first word to its last row, and says what came of it even when it is
//! dropped on the way: a statement that leaves no trace there isn't.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use datafusion::common::ScalarValue;

use super::failure::Failure;
use super::metrics::Metrics;
use crate::audit::{Audit, Event, Outcome, Record, without_literals, without_secrets};
use crate::engine::Session;
use crate::engine::settings::milliseconds;

/// A client as it is written down.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Its connection's number.
    pub connection: i32,
    /// Who it says it is.
    pub user: String,
    /// Where it is.
    pub address: String,
    /// Whether over TLS.
    pub tls: bool,
    /// The database as it names it.
    pub database: String,
    /// What it called itself when it came.
    pub application: String,
}

impl Client {
    fn record(&self, event: Event, at: DateTime<Utc>) -> Record {
        Record {
            connection: self.connection,
            user: self.user.clone(),
            address: Some(self.address.clone()),
            tls: self.tls,
            database: self.database.clone(),
            application: self.application.clone(),
            ..Record::new(event, at)
        }
    }
}

/// A client's stay, from its admission on; dropping it is its end.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    began: Instant,
    at: DateTime<Utc>,
    audit: Option<Arc<Audit>>,
    metrics: Arc<Metrics>,
}

impl Watch {
    /// A client was admitted.
    pub async fn begin(
        client: Client,
        audit: Option<Arc<Audit>>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let at = Utc::now();
        metrics.admitted();
        if let Some(audit) = &audit {
            audit.record(client.record(Event::Login, at)).await;
        }
        Arc::new(Self {
            client,
            began: Instant::now(),
            at,
            audit,
            metrics,
        })
    }

    /// A client was turned away.
    pub async fn refuse(
        client: &Client,
        failure: &Failure,
        audit: Option<&Arc<Audit>>,
        metrics: &Metrics,
    ) {
        metrics.refused(failure.code());
        if let Some(audit) = audit {
            let record = Record {
                outcome: Outcome::Error,
                sqlstate: Some(failure.code().to_owned()),
                message: Some(failure.reason()),
                ..client.record(Event::Login, Utc::now())
            };
            audit.record(record).await;
        }
    }

    /// A statement begins; `parsed` says whether it could be read.
    pub fn statement(
        self: &Arc<Self>,
        session: &Session,
        text: &str,
        parsed: bool,
        values: &[ScalarValue],
    ) -> Ticket {
        let setting = |name: &str| session.setting(name).unwrap_or_default();
        let current = session.current_user();
        self.metrics.running.inc();
        Ticket {
            watch: Arc::clone(self),
            at: Utc::now(),
            role: (current != self.client.user).then_some(current),
            application: setting("application_name"),
            slow: milliseconds(&setting("log_min_duration_statement")).map(Duration::from_millis),
            statement: without_secrets(text, parsed),
            parameters: values.to_vec(),
            rows: 0,
            spent: Duration::ZERO,
            since: Some(Instant::now()),
            over: false,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.metrics.gone();
        if let Some(audit) = &self.audit {
            audit.record_now(Record {
                duration_ms: self.began.elapsed().as_secs_f64() * 1000.0,
                ..self.client.record(Event::Logout, self.at)
            });
        }
    }
}

/// A statement that runs.
#[derive(Debug)]
pub struct Ticket {
    watch: Arc<Watch>,
    at: DateTime<Utc>,
    role: Option<String>,
    application: String,
    /// From when on it is slow.
    slow: Option<Duration>,
    statement: String,
    parameters: Vec<ScalarValue>,
    rows: u64,
    /// How long it has run before it was suspended.
    spent: Duration,
    /// Since when it runs; nothing while its client has yet to ask for more.
    since: Option<Instant>,
    /// It has been told what came of it.
    over: bool,
}

impl Ticket {
    /// The statement without its secrets.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// It has sent rows, and waits for its client to ask for more.
    pub fn suspend(&mut self, rows: usize) {
        self.rows = self.rows.saturating_add(u64::try_from(rows).unwrap_or(0));
        if let Some(since) = self.since.take() {
            self.spent += since.elapsed();
        }
    }

    /// Its client has asked for more.
    pub fn resume(&mut self) {
        self.since = Some(Instant::now());
    }

    /// It was only a part of a request, which goes on: nothing to be told.
    pub fn forget(mut self) {
        self.over = true;
        self.watch.metrics.running.dec();
    }

    /// It was done, and that is its command's tag.
    pub async fn done(mut self, tag: &str) {
        let counted = tag.rsplit(' ').next().and_then(|word| word.parse().ok());
        self.rows = self.rows.saturating_add(counted.unwrap_or(0));
        let record = Record {
            tag: Some(tag.to_owned()),
            ..self.close(Outcome::Ok, None)
        };
        if let Some(audit) = &self.watch.audit {
            audit.record(record).await;
        }
    }

    /// It failed.
    pub async fn failed(mut self, failure: &Failure) {
        let record = Record {
            message: Some(failure.to_string()),
            ..self.close(Outcome::Error, Some(failure.code()))
        };
        if let Some(audit) = &self.watch.audit {
            audit.record(record).await;
        }
    }

    fn close(&mut self, outcome: Outcome, code: Option<&'static str>) -> Record {
        self.over = true;
        let spent = self.spent + self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let metrics = &self.watch.metrics;
        metrics.running.dec();
        metrics.statement(outcome, code, spent, self.rows);
        let duration_ms = spent.as_secs_f64() * 1000.0;
        let literals = self
            .watch
            .audit
            .as_ref()
            .is_none_or(|audit| audit.options().literals);
        if self.slow.is_some_and(|slow| spent >= slow) {
            let client = &self.watch.client;
            let statement = match literals {
                true => self.statement.clone(),
                false => without_literals(&self.statement),
            };
            tracing::info!(
                target: "slow_statement",
                duration_ms,
                rows = self.rows,
                connection = client.connection,
                user = client.user,
                database = client.database,
                application = self.application,
                sqlstate = code.unwrap_or("00000"),
                statement,
                "slow statement"
            );
        }
        let parameters = match literals {
            true => std::mem::take(&mut self.parameters),
            false => Vec::new(),
        };
        Record {
            role: self.role.take(),
            application: std::mem::take(&mut self.application),
            statement: Some(std::mem::take(&mut self.statement)),
            parameters: parameters.iter().map(text).collect(),
            rows: self.rows,
            duration_ms,
            outcome,
            sqlstate: code.map(str::to_owned),
            ..self.watch.client.record(Event::Statement, self.at)
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let record = self.close(Outcome::Unfinished, None);
        if let Some(audit) = &self.watch.audit {
            audit.record_now(record);
        }
    }
}

fn text(value: &ScalarValue) -> Option<String> {
    (!value.is_null()).then(|| value.to_string())
}
