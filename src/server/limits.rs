//! What may stop a statement: its client, its time limit, the server, and the client's going away.

use std::any::Any;
use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::failure::Failure;
use super::threads::Threads;
use crate::error::{Error, Fault, Result};

/// How often to look for the end of a connection whose next message is there already.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The limits of what is done for one request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Signaled by a cancel request.
    pub canceled: CancellationToken,
    /// Signaled by the server when the time to finish is over.
    pub killing: CancellationToken,
    /// Signaled when somebody ends the connection.
    pub ended: CancellationToken,
    /// When the time of the statement is up.
    pub deadline: Option<Instant>,
}

impl Limits {
    /// Does `work` on `threads` until it is done or one of the limits is met. It is then aborted: the
    /// engine's operators give way every few batches, and what they hold is freed with them.
    ///
    /// # Errors
    /// The work's; 57014 and 57P01 when it was stopped; XX000 when it panicked.
    pub async fn work<T: Send + 'static>(
        &self,
        threads: &Threads,
        client: Option<&TcpStream>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let task = AbortOnDropHandle::new(threads.spawn(work));
        tokio::select! {
            biased;
            () = self.canceled.cancelled() => Err(Error::Canceled("user request").into()),
            () = self.killing.cancelled() => Err(Error::ShuttingDown.into()),
            () = self.ended.cancelled() => Err(Error::ShuttingDown.into()),
            () = passed(self.deadline) => Err(Error::Canceled("statement timeout").into()),
            done = task => match done {
                Ok(result) => Ok(result?),
                Err(error) => Err(panicked(error.try_into_panic().ok().as_deref()).into()),
            },
            lost = gone(client) => Err(Failure::Gone(lost)),
        }
    }
}

impl Limits {
    /// Waits for the client, to take what is sent to it or to send something: that is part of its statement.
    ///
    /// # Errors
    /// As [`Limits::work`]; the connection is lost when it takes longer than `patience`.
    pub async fn wait<T>(
        &self,
        patience: Option<Duration>,
        talk: impl Future<Output = io::Result<T>>,
    ) -> Result<T, Failure> {
        let lost = async {
            match patience {
                Some(patience) => sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            done = talk => Ok(done?),
            () = self.canceled.cancelled() => Err(Error::Canceled("user request").into()),
            () = self.killing.cancelled() => Err(Error::ShuttingDown.into()),
            () = self.ended.cancelled() => Err(Error::ShuttingDown.into()),
            () = passed(self.deadline) => Err(Error::Canceled("statement timeout").into()),
            () = lost => Err(Failure::Gone(io::ErrorKind::TimedOut.into())),
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits until the client has closed the connection. It is seen only when the client has sent nothing
/// more, which is what a client that waits for an answer does.
async fn gone(client: Option<&TcpStream>) -> io::Error {
    let Some(client) = client else {
        return std::future::pending().await;
    };
    loop {
        match client.peek(&mut [0]).await {
            Ok(0) => return io::ErrorKind::ConnectionAborted.into(),
            Ok(_) => sleep(LOOK_AGAIN).await,
            Err(error) => return error,
        }
    }
}

/// A panic is a bug of ours; it ends the statement and nothing else.
pub fn panicked(panic: Option<&(dyn Any + Send)>) -> Error {
    let message = panic.and_then(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned())
    });
    let message = format!(
        "internal error: {}",
        message.as_deref().unwrap_or("the statement was lost")
    );
    Error::Query {
        fault: Fault::Internal,
        message,
        position: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn limits(deadline: Option<Instant>) -> Limits {
        let token = CancellationToken::new;
        Limits {
            ended: CancellationToken::new(),
            canceled: token(),
            killing: token(),
            deadline,
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_that_statement() {
        let work = async { if true { panic!("boom") } else { Ok(()) } };
        let failure = limits(None)
            .work(&Threads::start().unwrap(), None, work)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.code(), failure.to_string().as_str()),
            ("XX000", "internal error: boom")
        );
    }

    #[tokio::test]
    async fn work_ends_at_its_deadline_and_when_it_is_canceled() {
        let forever = || async { std::future::pending::<Result<()>>().await };
        let threads = Threads::start().unwrap();
        let soon = Instant::now() + Duration::from_millis(10);
        let failure = limits(Some(soon))
            .work(&threads, None, forever())
            .await
            .unwrap_err();
        assert_eq!(
            failure.to_string(),
            "canceling statement due to statement timeout"
        );
        let limits = limits(None);
        limits.canceled.cancel();
        let failure = limits.work(&threads, None, forever()).await.unwrap_err();
        assert_eq!((failure.code(), failure.is_fatal()), ("57014", false));
    }
}
