//! Many clients at once, some of them badly behaved: nothing fails that wasn't asked to, and nothing is left behind.
//!
//! A few seconds with twenty clients run in CI. For more, of a server in a process of its own:
//! `LOAD_BINARY=target/release/funnelsql LOAD_CLIENTS=200 LOAD_SECONDS=120 LOAD_ROUNDS=3 cargo test --workspace --test it load:: -- --nocapture`

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use funnelsql::engine::{Engine, EngineOptions};
use funnelsql::server::{Server, ServerOptions};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

use crate::support::connect;
use crate::support::raw::RawClient;

/// How long somebody does nothing before they come again.
const PAUSE: Duration = Duration::from_millis(100);
/// What a dashboard asks for.
const SHORT: &str = "SELECT stage, entered, rate FROM stage_conversion('sales')";
/// What an analyst asks for: all events, grouped.
const LONG: &str =
    "SELECT channel, count(*), count(DISTINCT lead_id), max(occurred_at) FROM crm.events
                    GROUP BY channel ORDER BY channel";
/// What nobody waits for.
const ENDLESS: &str =
    "SELECT count(*) FROM crm.events a JOIN crm.events b ON a.amount IS DISTINCT FROM b.amount";
/// More rows than fit into any buffer.
const MANY_ROWS: &str =
    "SELECT value, lpad(value::text, 200, 'x') FROM generate_series(1, 50000) AS value";

const FUNNEL: &str = "CREATE FUNNEL sales ON crm.events (ENTITY lead_id, TIME occurred_at,
    STAGE acquired WHEN event = 'lead_created', STAGE won WHEN event = 'won', VALUE amount, DIMENSIONS (channel))";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// Two events of most leads.
fn events(leads: u64) -> String {
    let mut text = String::from("lead_id,event,occurred_at,channel,amount\n");
    for lead in 0..leads {
        let (day, channel) = (
            1 + lead % 28,
            ["web", "展会", "phone"][usize::try_from(lead % 3).unwrap()],
        );
        writeln!(
            text,
            "{lead},lead_created,2026-01-{day:02}T09:00:00Z,{channel},"
        )
        .unwrap();
        if lead % 4 != 0 {
            writeln!(
                text,
                "{lead},won,2026-02-{day:02}T09:00:00Z,{channel},{}",
                lead % 1000
            )
            .unwrap();
        }
    }
    text
}

/// A server in this process, or in one of its own.
enum Running {
    Here(Arc<Engine>),
    There(Child),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::There(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Place {
    address: SocketAddr,
    metrics: SocketAddr,
    running: Running,
    _data: TempDir,
}

async fn start(leads: u64, clients: u64) -> Place {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("tables/crm/events.csv");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, events(leads)).unwrap();
    let most = usize::try_from(clients * 2 + 10).unwrap();
    let Ok(binary) = std::env::var("LOAD_BINARY") else {
        let mut options = EngineOptions::new(data.path());
        options.memory_limit = Some(1 << 30);
        options.session_memory_limit = Some(256 << 20);
        options.audit = Some(funnelsql::audit::AuditOptions::new(
            data.path().join("audit"),
        ));
        let engine = Engine::open(options).await.unwrap();
        let options = ServerOptions {
            max_connections: most,
            metrics_listen: Some("127.0.0.1:0".to_owned()),
            ..ServerOptions::new("127.0.0.1:0")
        };
        let server = Server::bind(Arc::clone(&engine), options).await.unwrap();
        let (address, metrics) = (server.local_addr().unwrap(), server.metrics_addr().unwrap());
        tokio::spawn(server.run(std::future::pending()));
        return Place {
            address,
            metrics,
            running: Running::Here(engine),
            _data: data,
        };
    };
    // Two ports that are free now.
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (address, metrics) = (free(), free());
    let mut child = Command::new(binary)
        .args([
            "serve",
            "--listen",
            &address.to_string(),
            "--metrics-listen",
            &metrics.to_string(),
        ])
        .arg("--data-dir")
        .arg(data.path())
        .env("FUNNELSQL_MAX_CONNECTIONS", most.to_string())
        .env("FUNNELSQL_MEMORY_LIMIT", "4GB")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().starts_with("ready") {}
    std::thread::spawn(move || {
        lines
            .map_while(Result::ok)
            .for_each(|line| eprintln!("server: {line}"))
    });
    Place {
        address,
        metrics,
        running: Running::There(child),
        _data: data,
    }
}

async fn metric(address: SocketAddr, name: &str) -> f64 {
    use tokio::io::AsyncWriteExt;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    short: Vec<Duration>,
    counts: std::collections::BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

type Shared = Arc<Mutex<Seen>>;

fn count(seen: &Shared, what: &'static str) {
    *seen.lock().unwrap().counts.entry(what).or_default() += 1;
}

fn fault(seen: &Shared, who: &str, what: impl std::fmt::Debug) {
    seen.lock().unwrap().faults.push(format!("{who}: {what:?}"));
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let at = ((times.len() as f64 - 1.0) * share) as usize;
    times[at]
}

async fn short(config: Config, until: Instant, seen: Shared, expected: Vec<(String, i64)>) {
    let client = connect(&config).await;
    while Instant::now() < until {
        let began = Instant::now();
        match client.query(SHORT, &[]).await {
            Ok(rows) => {
                let found: Vec<(String, i64)> =
                    rows.iter().map(|row| (row.get(0), row.get(1))).collect();
                if found != expected {
                    fault(&seen, "short", found);
                }
                seen.lock().unwrap().short.push(began.elapsed());
            }
            Err(error) => fault(&seen, "short", error),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn long(config: Config, until: Instant, seen: Shared) {
    let client = connect(&config).await;
    while Instant::now() < until {
        match client.query(LONG, &[]).await {
            Ok(rows) if rows.len() == 3 => count(&seen, "long"),
            other => fault(&seen, "long", other),
        }
    }
}

async fn canceling(config: Config, until: Instant, seen: Shared, mut wait_ms: u64) {
    let client = connect(&config).await;
    while Instant::now() < until {
        wait_ms = (wait_ms * 7 + 3) % 200;
        let token = client.cancel_token();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            token.cancel_query(NoTls).await
        };
        let (answer, canceled) = tokio::join!(client.query(ENDLESS, &[]), cancel);
        match (answer, canceled) {
            (Err(error), Ok(())) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                count(&seen, "canceled")
            }
            // It came before the statement had begun.
            (Ok(_), Ok(())) => count(&seen, "canceled too early"),
            other => fault(&seen, "cancel", other),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn reading_slowly(address: SocketAddr, until: Instant, seen: Shared) {
    let mut client = RawClient::start(address).await;
    while Instant::now() < until {
        client
            .send(b'Q', &[MANY_ROWS.as_bytes(), b"\0"].concat())
            .await;
        let mut bytes = Vec::new();
        let mut part = vec![0; 256 << 10];
        // ReadyForQuery is the last: Z, a length of 5, the status.
        while !bytes.ends_with(b"Z\0\0\0\x05I") {
            let read = client.stream.read(&mut part).await.unwrap_or(0);
            if read == 0 {
                return fault(&seen, "slow", "the server hung up");
            }
            bytes.extend_from_slice(&part[..read]);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let done = b"SELECT 50000\0";
        match bytes.windows(done.len()).any(|window| window == done) {
            true => count(&seen, "read slowly"),
            false => fault(&seen, "slow", "rows are missing"),
        }
    }
}

async fn vanishing(address: SocketAddr, until: Instant, seen: Shared, mut wait_ms: u64) {
    while Instant::now() < until {
        let mut client = RawClient::start(address).await;
        wait_ms = (wait_ms * 7 + 3) % 100;
        let sql = if wait_ms.is_multiple_of(2) {
            ENDLESS
        } else {
            MANY_ROWS
        };
        client.send(b'Q', &[sql.as_bytes(), b"\0"].concat()).await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        drop(client);
        count(&seen, "vanished");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn in_parts(config: Config, until: Instant, seen: Shared) {
    let mut client = connect(&config).await;
    while Instant::now() < until {
        let read = async {
            let transaction = client.transaction().await?;
            let portal = transaction.bind(MANY_ROWS, &[]).await?;
            let mut rows = 0;
            for _ in 0..5 {
                rows += transaction.query_portal(&portal, 1000).await?.len();
            }
            transaction.commit().await?;
            Ok::<usize, tokio_postgres::Error>(rows)
        };
        match read.await {
            Ok(5000) => count(&seen, "read in parts"),
            other => fault(&seen, "parts", other),
        }
    }
}

/// Clients of every kind, until the time is over.
async fn crowd(
    place: &Place,
    config: &Config,
    clients: u64,
    time: Duration,
    seen: &Shared,
    expected: &[(String, i64)],
) {
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (config, seen, address) = (config.clone(), Arc::clone(seen), place.address);
            match client % 10 {
                0..=3 => tokio::spawn(short(config, until, seen, expected.to_vec())),
                4 | 5 => tokio::spawn(long(config, until, seen)),
                6 => tokio::spawn(canceling(config, until, seen, client)),
                7 => tokio::spawn(reading_slowly(address, until, seen)),
                8 => tokio::spawn(vanishing(address, until, seen, client)),
                _ => tokio::spawn(in_parts(config, until, seen)),
            }
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Waits until the server has noticed who is gone, which takes a second or so; returns how long it was.
async fn nothing_is_left(place: &Place) -> Duration {
    let since = Instant::now();
    loop {
        let running = metric(place.metrics, "funnelsql_running_statements").await;
        let connections = metric(place.metrics, "funnelsql_connections").await;
        let memory = metric(place.metrics, "funnelsql_memory_bytes").await;
        let temp = metric(place.metrics, "funnelsql_temp_bytes").await;
        if (running, connections, memory, temp) == (0.0, 1.0, 0.0, 0.0) {
            return since.elapsed();
        }
        assert!(
            since.elapsed() < Duration::from_secs(30),
            "left: {running} statements, {connections} connections, {memory} bytes, {temp} bytes on disk"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_get_what_they_ask_for_and_leave_nothing_behind() {
    let clients = number("LOAD_CLIENTS", 20);
    let seconds = number("LOAD_SECONDS", 5);
    let leads = number("LOAD_LEADS", 2000);
    let rounds = number("LOAD_ROUNDS", 1);
    let place = start(leads, clients).await;
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(place.address.port())
        .user("ana")
        .dbname("funnelsql");
    let first = connect(&config).await;
    first.batch_execute(FUNNEL).await.unwrap();
    let rows = first.query(SHORT, &[]).await.unwrap();
    let expected: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();

    // What the short ones take where nobody else asks, and what the server is like when it has run everything once.
    let idle: Shared = Shared::default();
    first.query(LONG, &[]).await.unwrap();
    let until = Instant::now() + Duration::from_secs((seconds / 10).clamp(1, 10));
    short(config.clone(), until, Arc::clone(&idle), expected.clone()).await;
    let memory_before = metric(place.metrics, "funnelsql_resident_memory_bytes").await;

    let mut memory_after = Vec::new();
    for round in 1..=rounds {
        let seen: Shared = Shared::default();
        crowd(
            &place,
            &config,
            clients,
            Duration::from_secs(seconds),
            &seen,
            &expected,
        )
        .await;
        let settled = nothing_is_left(&place).await;
        // The allocator gives back what it holds a moment later.
        tokio::time::sleep(Duration::from_secs(if rounds > 1 { 5 } else { 0 })).await;
        memory_after.push(metric(place.metrics, "funnelsql_resident_memory_bytes").await);
        let mut seen = seen.lock().unwrap();
        assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
        eprintln!(
            "round {round}, {clients} clients, {seconds} s: short ones p50 {:?}, p99 {:?} ({}); {:?}; settled in {settled:?}",
            percentile(&mut seen.short, 0.5),
            percentile(&mut seen.short, 0.99),
            seen.short.len(),
            seen.counts,
        );
    }
    let mut idle = idle.lock().unwrap();
    assert!(idle.faults.is_empty(), "{:#?}", idle.faults);
    let megabytes = |bytes: f64| bytes / f64::from(1 << 20);
    eprintln!(
        "alone p50 {:?}, p99 {:?}; memory {:.0} MB before, {:.0?} MB after",
        percentile(&mut idle.short, 0.5),
        percentile(&mut idle.short, 0.99),
        megabytes(memory_before),
        memory_after
            .iter()
            .map(|bytes| megabytes(*bytes))
            .collect::<Vec<_>>(),
    );
    // What the first round leaves is threads and pages that the next one uses again.
    if let [first, .., last] = memory_after.as_slice() {
        assert!(*last < first * 1.25, "memory grows with each round");
    }
    if let Running::Here(engine) = &place.running {
        assert_eq!(engine.audit().unwrap().lost(), 0);
    }
}
