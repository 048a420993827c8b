//! What the server counts, in the names and the text that Prometheus reads.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::Utc;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::audit::Outcome;
use crate::engine::Engine;

/// Upper bounds of durations, in seconds: from what a dashboard's tile takes to what nobody waits for.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    sqlstate: &'static str,
}

/// The counts of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    connections: Gauge,
    admitted: Counter,
    refused: Family<ByState, Counter>,
    /// Statements that run.
    pub running: Gauge,
    statements: Family<ByOutcome, Counter>,
    errors: Family<ByState, Counter>,
    durations: Histogram,
    rows: Counter,
    /// Bytes of messages that were sent.
    pub sent: Counter,
    /// Bytes of messages that came.
    pub received: Counter,
    /// Requests to cancel a statement that named one.
    pub cancels: Counter,
    engine: EngineGauges,
}

/// What is read when somebody asks.
#[derive(Debug, Default)]
struct EngineGauges {
    memory: Gauge,
    most_memory: Gauge,
    memory_limit: Gauge,
    temp: Gauge<u64, AtomicU64>,
    temp_limit: Gauge<u64, AtomicU64>,
    resident: Gauge<u64, AtomicU64>,
    kept_plans: Gauge,
    reused_plans: Gauge<u64, AtomicU64>,
    audit_records: Gauge<u64, AtomicU64>,
    audit_lost: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// Nothing has been counted.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("funnelsql"),
            connections: Gauge::default(),
            admitted: Counter::default(),
            refused: Family::default(),
            running: Gauge::default(),
            statements: Family::default(),
            errors: Family::default(),
            durations: Histogram::new(SECONDS),
            rows: Counter::default(),
            sent: Counter::default(),
            received: Counter::default(),
            cancels: Counter::default(),
            engine: EngineGauges::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let all = &mut self.registry;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The server's version", version);
        let started: Gauge = Gauge::default();
        started.set(Utc::now().timestamp());
        all.register_with_unit(
            "start_time",
            "When the server was started, since 1970",
            Unit::Seconds,
            started,
        );
        all.register(
            "connections",
            "Clients that are connected",
            self.connections.clone(),
        );
        all.register(
            "logins",
            "Clients that were admitted",
            self.admitted.clone(),
        );
        all.register(
            "refused_logins",
            "Clients that were turned away, by SQLSTATE",
            self.refused.clone(),
        );
        all.register(
            "running_statements",
            "Statements that run",
            self.running.clone(),
        );
        all.register(
            "statements",
            "Statements that ended, by what came of them",
            self.statements.clone(),
        );
        all.register(
            "errors",
            "Statements that failed, by SQLSTATE",
            self.errors.clone(),
        );
        all.register_with_unit(
            "statement_duration",
            "How long statements took, the client's reading included",
            Unit::Seconds,
            self.durations.clone(),
        );
        all.register(
            "rows",
            "Rows that statements returned or changed",
            self.rows.clone(),
        );
        all.register_with_unit(
            "sent",
            "What clients were sent",
            Unit::Bytes,
            self.sent.clone(),
        );
        all.register_with_unit(
            "received",
            "What clients sent",
            Unit::Bytes,
            self.received.clone(),
        );
        all.register(
            "cancels",
            "Requests to cancel that named a connection",
            self.cancels.clone(),
        );
        self.engine.register(all);
        self
    }

    /// A client was admitted.
    pub fn admitted(&self) {
        self.admitted.inc();
        self.connections.inc();
    }

    /// A client that was admitted is gone.
    pub fn gone(&self) {
        self.connections.dec();
    }

    /// A client was turned away.
    pub fn refused(&self, sqlstate: &'static str) {
        self.refused.get_or_create(&ByState { sqlstate }).inc();
    }

    /// A statement ended.
    pub fn statement(
        &self,
        outcome: Outcome,
        sqlstate: Option<&'static str>,
        spent: Duration,
        rows: u64,
    ) {
        let name = match (outcome, sqlstate) {
            (Outcome::Ok, _) => "ok",
            (_, Some("57014")) => "canceled",
            (Outcome::Error, _) => "error",
            (Outcome::Unfinished, _) => "unfinished",
        };
        self.statements
            .get_or_create(&ByOutcome { outcome: name })
            .inc();
        if let Some(sqlstate) = sqlstate {
            self.errors.get_or_create(&ByState { sqlstate }).inc();
        }
        self.durations.observe(spent.as_secs_f64());
        self.rows.inc_by(rows);
    }

    /// Everything as text.
    pub fn text(&self, engine: &Engine) -> String {
        self.engine.read(engine);
        let mut text = String::new();
        // A String takes whatever is written.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl EngineGauges {
    fn register(&self, all: &mut Registry) {
        let bytes = Unit::Bytes;
        all.register_with_unit(
            "memory",
            "What queries hold in memory",
            bytes.clone(),
            self.memory.clone(),
        );
        all.register_with_unit(
            "memory_most",
            "The most that queries have held",
            bytes.clone(),
            self.most_memory.clone(),
        );
        all.register_with_unit(
            "memory_limit",
            "The most that queries may hold; 0 is anything",
            bytes.clone(),
            self.memory_limit.clone(),
        );
        all.register_with_unit(
            "temp",
            "What queries hold on disk",
            bytes.clone(),
            self.temp.clone(),
        );
        all.register_with_unit(
            "temp_limit",
            "The most that queries may hold on disk",
            bytes.clone(),
            self.temp_limit.clone(),
        );
        all.register_with_unit(
            "resident_memory",
            "The server's memory, as the system counts it",
            bytes,
            self.resident.clone(),
        );
        all.register(
            "kept_plans",
            "Queries whose plans are kept",
            self.kept_plans.clone(),
        );
        all.register(
            "reused_plans",
            "Queries that were run by a plan that was kept",
            self.reused_plans.clone(),
        );
        all.register(
            "audit_records",
            "Records of the audit log that were written",
            self.audit_records.clone(),
        );
        all.register(
            "audit_lost",
            "Records of the audit log that could not be written",
            self.audit_lost.clone(),
        );
    }

    fn read(&self, engine: &Engine) {
        let usage = engine.usage();
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.memory.set(whole(usage.memory_bytes));
        self.most_memory.set(whole(usage.most_memory_bytes));
        self.memory_limit
            .set(whole(usage.memory_limit.unwrap_or(0)));
        self.temp.set(usage.temp_bytes);
        self.temp_limit.set(usage.temp_limit);
        self.kept_plans.set(whole(usage.kept_plans));
        self.reused_plans.set(usage.reused_plans);
        self.resident.set(resident().unwrap_or(0));
        if let Some(audit) = engine.audit() {
            self.audit_records.set(audit.written());
            self.audit_lost.set(audit.lost());
        }
    }
}

/// `VmRSS:     123 kB`, where the system says it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    kilobytes.checked_mul(1024)
}
