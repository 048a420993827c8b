//! Materialized views that are refreshed by themselves. A refresh that fails is in the log, and the next one is tried in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::threads::Threads;
use crate::engine::Engine;

/// A view, and how often it is refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// Its name as SQL writes it: `crm.deals_copy`.
    pub view: String,
    /// The time from the end of one refresh to the beginning of the next.
    pub every: Duration,
}

/// Refreshes views until `stopping`, on the threads of queries.
pub fn start(
    refreshes: &[Refresh],
    engine: &Arc<Engine>,
    threads: &Threads,
    stopping: &CancellationToken,
) {
    for refresh in refreshes {
        let (refresh, engine) = (refresh.clone(), Arc::clone(engine));
        let stopping = stopping.clone();
        threads.spawn(async move {
            let _ = stopping
                .run_until_cancelled(repeat(&refresh, &engine))
                .await;
        });
    }
}

async fn repeat(refresh: &Refresh, engine: &Arc<Engine>) {
    let view = refresh.view.as_str();
    loop {
        tokio::time::sleep(refresh.every).await;
        let started = Instant::now();
        match engine.refresh(view).await {
            Ok(done) => {
                let (read, rows, took) = (done.read, done.rows, started.elapsed());
                tracing::info!(view, read, rows, ?took, "refreshed a materialized view");
            }
            Err(error) => tracing::error!(view, %error, "a materialized view can't be refreshed"),
        }
    }
}
