//! The threads that statements run on, apart from those that serve sockets: a heavy query doesn't keep
//! anybody from connecting, canceling it or asking for something small.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The stack of each thread, in bytes. Reading, planning and freeing a statement recurse into it. The longest
/// that are let through (1990 additions, 480 unions) overflow 8 MiB in a debug build and fit into 16 MiB;
/// this is four times as much. Only what is used of it becomes memory.
pub const STACK_BYTES: usize = 64 << 20;

/// Threads that belong to a server; dropping them leaves what still runs to end at its next pause.
#[derive(Debug)]
pub struct Threads {
    /// Always there until it is dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    /// As many threads as there are processors.
    ///
    /// # Errors
    /// The system's, when it has no more threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
        })
    }

    /// Does `work`; on the caller's own threads once these are gone.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        }
    }
}

impl Drop for Threads {
    /// A runtime that is dropped waits for its tasks, which a task of another runtime mustn't.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
