//! A server over a small data directory, for tests that talk to it.

#![allow(clippy::unwrap_used, clippy::panic)]

pub mod raw;
pub mod remotes;
pub mod stores;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use funnelsql::engine::{Engine, EngineOptions};
use funnelsql::server::{Server, ServerOptions};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config, NoTls};

/// A lead has a row for each stage that it reached.
const EVENTS: &str = "\
lead_id,event,occurred_at,channel,amount
1,lead_created,2026-01-05T09:00:00Z,web,
1,won,2026-01-20T09:00:00Z,web,1200
2,lead_created,2026-01-06T09:00:00Z,展会,
3,lead_created,2026-01-07T09:00:00Z,web,
3,won,2026-02-01T09:00:00Z,web,800
";

const DEFINITIONS: &str = "
CREATE FUNNEL sales ON crm.events (
  ENTITY lead_id,
  TIME occurred_at,
  STAGE acquired WHEN event = 'lead_created',
  STAGE won WHEN event = 'won',
  VALUE amount,
  DIMENSIONS (channel)
);
CREATE VIEW web_leads AS SELECT lead_id, occurred_at FROM crm.events WHERE channel = 'web';
";

/// A server of a test's own; it ends with the test.
pub struct TestServer {
    pub address: SocketAddr,
    /// The engine below.
    pub engine: Arc<Engine>,
    /// Where health and metrics are.
    pub metrics: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<funnelsql::error::Result<()>>,
    data: TempDir,
}

impl TestServer {
    /// A server that waits `shutdown_grace` for statements when it is stopped.
    pub async fn start_with(shutdown_grace: Duration) -> Self {
        let options = ServerOptions {
            shutdown_grace,
            ..ServerOptions::new("127.0.0.1:0")
        };
        Self::start_as(options, "").await
    }

    /// A server with these options, after its owner has run `sql`.
    pub async fn start_as(options: ServerOptions, sql: &str) -> Self {
        Self::start_over(options, &[], sql).await
    }

    /// The same, with more files of tables: `crm/deals.csv`.
    pub async fn start_over(options: ServerOptions, files: &[(&str, String)], sql: &str) -> Self {
        Self::start_tuned(|_| {}, options, files, sql).await
    }

    /// The same over an engine whose options are changed.
    pub async fn start_tuned(
        change: impl FnOnce(&mut EngineOptions),
        options: ServerOptions,
        files: &[(&str, String)],
        sql: &str,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = data.path().join("tables").join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let events = data.path().join("tables/crm/events.csv");
        std::fs::create_dir_all(events.parent().unwrap()).unwrap();
        std::fs::write(events, EVENTS).unwrap();
        let mut engine_options = EngineOptions::new(data.path());
        change(&mut engine_options);
        let engine = Engine::open(engine_options).await.unwrap();
        let owner = engine.session("funnelsql");
        owner.run(DEFINITIONS).await.unwrap();
        owner.run(sql).await.unwrap();
        Self::serve(engine, data, options).await
    }

    async fn serve(engine: Arc<Engine>, data: TempDir, options: ServerOptions) -> Self {
        let server = Server::bind(Arc::clone(&engine), options).await.unwrap();
        let address = server.local_addr().unwrap();
        let metrics = server.metrics_addr();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            address,
            engine,
            metrics,
            stop: Some(stop),
            running,
            data,
        }
    }

    pub async fn start() -> Self {
        Self::start_with(Duration::from_secs(10)).await
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Asks the server to stop.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits until it has.
    pub async fn stopped(self) {
        self.running.await.unwrap().unwrap();
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.address.port())
            .user("ana")
            .dbname("funnelsql");
        config
    }

    /// A client of tokio-postgres.
    pub async fn client(&self) -> Client {
        connect(&self.config()).await
    }
}

pub async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The server's error.
pub fn db_error(error: &tokio_postgres::Error) -> &DbError {
    error
        .as_db_error()
        .unwrap_or_else(|| panic!("no error of the server: {error:?}"))
}
