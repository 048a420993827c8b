//! One client: its session, its messages in order, and simple queries.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::data::{DataRow, RowDescription};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, NotificationResponse, ReadyForQuery,
};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::cancel::Registration;
use super::cursors::Cursor;
use super::extended::{Portal, Stored};
use super::failure::{Failure, notice_response};
use super::limits::Limits;
use super::notifications::{Ear, Notification};
use super::rows::{CHUNK_ROWS, Rows};
use super::socket::{Incoming, Socket};
use super::transaction::Transaction;
use crate::engine::settings::milliseconds;
use crate::engine::{Described, Notice, Outcome, Prepared, Session};
use crate::error::{Error, Result};
use crate::sql::{Statement, StatementKind};

/// An admitted client.
///
/// It belongs to its task; dropping it ends the conversation, what it runs and its place in the registry.
pub struct Connection {
    pub(super) socket: Socket,
    pub(super) session: Arc<Session>,
    shared: Arc<Shared>,
    registration: Registration,
    pub(super) transaction: Transaction,
    /// Statements prepared by the protocol, by name; the nameless one has the empty name.
    pub(super) statements: HashMap<String, Arc<Stored>>,
    /// Portals that can still be run; they end with the transaction.
    pub(super) portals: HashMap<String, Portal>,
    /// Cursors that can still be read, by name.
    pub(super) cursors: HashMap<String, Cursor>,
    /// What it hears of the others.
    pub(super) ear: Ear,
    /// Several statements in one text are a block of their own.
    pub(super) in_block: bool,
    /// What cancels the request that is being answered.
    canceled: CancellationToken,
    /// When the time of the running statement is up.
    deadline: Option<Instant>,
    /// After an error in the extended protocol: nothing is done before the next Sync.
    skipping: bool,
}

/// What running a statement began.
pub(super) enum Started {
    /// Rows to be sent, and the command's first word.
    Rows(&'static str, Rows),
    /// Rows that a cursor gave.
    Fetched {
        description: RowDescription,
        rows: Vec<DataRow>,
    },
    /// Nothing but the tag, which is still to be sent.
    Done(String),
}

impl Connection {
    pub(super) fn new(
        socket: Socket,
        session: Session,
        shared: Arc<Shared>,
        registration: Registration,
        number: i32,
    ) -> Self {
        let ear = shared.exchange.listen(number);
        Self {
            socket,
            session: Arc::new(session),
            shared,
            registration,
            transaction: Transaction::default(),
            statements: HashMap::new(),
            portals: HashMap::new(),
            cursors: HashMap::new(),
            ear,
            in_block: false,
            canceled: CancellationToken::new(),
            deadline: None,
            skipping: false,
        }
    }

    /// Talks with the client until either side ends it.
    ///
    /// # Errors
    /// The socket's, when the client is gone.
    pub async fn run(mut self) -> io::Result<()> {
        loop {
            let longest = self.longest_idle();
            let incoming = tokio::select! {
                biased;
                incoming = self.socket.receive() => incoming?,
                Some(notification) = self.ear.heard.recv() => {
                    self.hear(notification).await?;
                    self.socket.flush().await?;
                    continue;
                }
                () = self.registration.ended().cancelled() => {
                    return self.farewell(&Error::ShuttingDown.into()).await;
                }
                error = idle(longest) => {
                    return self.farewell(&error.into()).await;
                }
                () = self.shared.stopping.cancelled() => {
                    return self.farewell(&Error::ShuttingDown.into()).await;
                }
            };
            let (answered, extended) = match incoming {
                None => return Ok(()),
                Some(Incoming::Message(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
                Some(Incoming::Message(message)) => {
                    let extended = message.is_extended_query();
                    (self.answer(message).await, extended)
                }
                Some(Incoming::Faulty { failure, extended }) => (Err(failure), extended),
                Some(Incoming::Lost(failure)) => return self.farewell(&failure).await,
            };
            if let Err(failure) = answered {
                self.fail(failure, extended).await?;
            }
        }
    }

    /// Does what a message asks for; what it does can be canceled meanwhile.
    async fn answer(&mut self, message: PgWireFrontendMessage) -> Result<(), Failure> {
        if self.skipping && !matches!(message, PgWireFrontendMessage::Sync(_)) {
            return Ok(());
        }
        self.canceled = self.registration.begin();
        self.start_clock();
        let answered = match message {
            PgWireFrontendMessage::Query(query) => self.query(query.query).await,
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind).await,
            PgWireFrontendMessage::Describe(describe) => self.describe(describe).await,
            PgWireFrontendMessage::Execute(execute) => self.execute(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(close).await,
            PgWireFrontendMessage::Flush(_) => Ok(self.socket.flush().await?),
            PgWireFrontendMessage::Sync(_) => self.sync().await,
            // What is left of a copy that the client still believes in, as in Postgres.
            PgWireFrontendMessage::CopyData(_)
            | PgWireFrontendMessage::CopyDone(_)
            | PgWireFrontendMessage::CopyFail(_) => Ok(()),
            _ => Err(Failure::Protocol("unexpected message".to_owned())),
        };
        self.registration.end();
        answered
    }

    /// Statements in one text: each one's result is on its way before the next one runs.
    async fn query(&mut self, sql: String) -> Result<(), Failure> {
        // As in Postgres, the nameless statement and portal don't outlive a simple query.
        self.statements.remove("");
        self.portals.remove("");
        let session = Arc::clone(&self.session);
        let statements = self.work(async move { session.parse(&sql) }).await?;
        if statements.is_empty() {
            self.feed(PgWireBackendMessage::EmptyQueryResponse(
                EmptyQueryResponse::new(),
            ))
            .await?;
        }
        self.in_block = statements.len() > 1;
        for statement in statements {
            self.start_clock();
            self.query_statement(statement).await?;
            self.socket.flush().await?;
        }
        self.in_block = false;
        self.ready().await
    }

    async fn query_statement(&mut self, statement: Statement) -> Result<(), Failure> {
        let prepared = Prepared {
            statement,
            parameter_types: Vec::new(),
            described: Described::Later,
        };
        match self.start(Arc::new(prepared), Vec::new(), &[]).await? {
            Started::Rows(tag, rows) => {
                self.feed(PgWireBackendMessage::RowDescription(rows.description()))
                    .await?;
                let (sent, _) = self.send_rows(rows, usize::MAX).await?;
                self.complete(rows_tag(tag, sent)).await
            }
            Started::Fetched { description, rows } => {
                self.feed(PgWireBackendMessage::RowDescription(description))
                    .await?;
                let tag = rows_tag("FETCH", rows.len());
                self.send_chunk(rows).await?;
                self.complete(tag).await
            }
            Started::Done(tag) => self.complete(tag).await,
        }
    }

    /// Runs a statement up to its first row.
    pub(super) async fn start(
        &mut self,
        prepared: Arc<Prepared>,
        values: Vec<datafusion::common::ScalarValue>,
        formats: &[i16],
    ) -> Result<Started, Failure> {
        self.transaction.admit(&prepared.statement.kind)?;
        let application = self.session.setting("application_name").unwrap_or_default();
        self.registration
            .runs(&prepared.statement.text, &application);
        if self.forget_statements(&prepared.statement.kind) {
            return Ok(Started::Done("DEALLOCATE".to_owned()));
        }
        match &prepared.statement.kind {
            StatementKind::Declare { .. } => return self.declare(&prepared, values).await,
            StatementKind::Fetch {
                cursor,
                which,
                moves,
            } => return self.fetch(cursor, *which, *moves).await,
            StatementKind::Copy(copy) => {
                self.session.check_writes(&prepared.statement)?;
                return self.copy(&prepared, copy).await;
            }
            StatementKind::CloseCursor(cursor) => return self.close_cursor(cursor.as_deref()),
            StatementKind::Listen(channel) => {
                self.ear.open(channel);
                return Ok(Started::Done("LISTEN".to_owned()));
            }
            StatementKind::Unlisten(channel) => {
                self.ear.close(channel.as_deref());
                return Ok(Started::Done("UNLISTEN".to_owned()));
            }
            StatementKind::Notify { channel, payload } => {
                self.ear.tell(channel, payload);
                if !self.transaction.is_open() {
                    self.ear.end(true);
                }
                return Ok(Started::Done("NOTIFY".to_owned()));
            }
            _ => {}
        }
        let session = Arc::clone(&self.session);
        let running = Arc::clone(&prepared);
        let outcome = self
            .work(async move { session.execute(&running, values).await })
            .await?;
        match outcome {
            Outcome::Rows {
                tag,
                stream,
                notices,
            } => {
                self.tell(&notices, Vec::new()).await?;
                let names = self.session.names();
                let rows = Rows::new(stream, formats, Arc::clone(&prepared.statement.sql), names)?;
                Ok(Started::Rows(tag, rows))
            }
            Outcome::Done {
                mut tag,
                mut notices,
                reported,
            } => {
                notices.extend(self.transaction.done(&prepared.statement.kind, &mut tag));
                if !self.transaction.is_open() {
                    self.portals.clear();
                    self.ear.end(tag != "ROLLBACK");
                    if !self.in_block {
                        self.cursors.retain(|_, cursor| cursor.hold);
                    }
                }
                self.tell(&notices, reported).await?;
                Ok(Started::Done(tag))
            }
        }
    }

    /// In Postgres, statements of the protocol and of `PREPARE` share their names, and drivers deallocate
    /// the former by SQL. Returns whether that was all there was to do.
    fn forget_statements(&mut self, kind: &StatementKind) -> bool {
        match kind {
            StatementKind::Deallocate(Some(name)) => self.statements.remove(name).is_some(),
            StatementKind::Deallocate(None) => {
                self.statements.clear();
                false
            }
            StatementKind::DiscardAll => {
                self.statements.clear();
                self.portals.clear();
                self.cursors.clear();
                self.ear.close(None);
                false
            }
            _ => false,
        }
    }

    /// Sends rows as they come, `most` of them; returns how many there were, and the rest if there is one.
    pub(super) async fn send_rows(
        &mut self,
        mut rows: Rows,
        most: usize,
    ) -> Result<(usize, Option<Rows>), Failure> {
        let mut sent = 0;
        while sent < most {
            let wanted = (most - sent).min(CHUNK_ROWS);
            let (rest, chunk) = self.work(rows.next(wanted)).await?;
            if chunk.is_empty() {
                return Ok((sent, None));
            }
            sent += chunk.len();
            self.send_chunk(chunk).await?;
            rows = rest;
        }
        Ok((sent, Some(rows)))
    }

    pub(super) async fn send_chunk(&mut self, chunk: Vec<DataRow>) -> Result<(), Failure> {
        for row in chunk {
            self.feed(PgWireBackendMessage::DataRow(row)).await?;
        }
        Ok(())
    }

    /// The client is told what stands beside a result.
    async fn tell(
        &mut self,
        notices: &[Notice],
        reported: Vec<(&'static str, String)>,
    ) -> Result<(), Failure> {
        for notice in notices
            .iter()
            .filter(|notice| self.wants(notice))
            .collect::<Vec<_>>()
        {
            self.feed(notice_response(notice)).await?;
        }
        for (name, value) in reported {
            let status = ParameterStatus::new(name.to_owned(), value);
            self.feed(PgWireBackendMessage::ParameterStatus(status))
                .await?;
        }
        Ok(())
    }

    fn wants(&self, notice: &Notice) -> bool {
        let least = self
            .session
            .setting("client_min_messages")
            .unwrap_or_default();
        match least.to_lowercase().as_str() {
            "error" => false,
            "warning" => notice.severity == "WARNING",
            _ => true,
        }
    }

    pub(super) async fn complete(&mut self, tag: String) -> Result<(), Failure> {
        self.feed(PgWireBackendMessage::CommandComplete(CommandComplete::new(
            tag,
        )))
        .await
    }

    pub(super) async fn feed(&mut self, message: PgWireBackendMessage) -> Result<(), Failure> {
        Ok(self.socket.feed(message).await?)
    }

    /// The client is told what was said on a channel.
    async fn hear(&mut self, notification: Notification) -> io::Result<()> {
        let Notification {
            pid,
            channel,
            payload,
        } = notification;
        let message = NotificationResponse::new(pid, channel, payload);
        self.socket
            .feed(PgWireBackendMessage::NotificationResponse(message))
            .await
    }

    /// Does CPU work for the client, within its limits.
    pub(super) async fn work<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let limits = Limits {
            canceled: self.canceled.clone(),
            killing: self.shared.killing.clone(),
            ended: self.registration.ended().clone(),
            deadline: self.deadline,
        };
        let threads = &self.shared.threads;
        limits.work(threads, self.socket.stream(), work).await
    }

    /// How long the client may say nothing, and what it is told then.
    fn longest_idle(&self) -> Option<(Duration, Error)> {
        let (name, error) = match self.transaction.is_open() {
            true => (
                "idle_in_transaction_session_timeout",
                Error::IdleInTransaction,
            ),
            false => ("idle_session_timeout", Error::IdleSession),
        };
        let most = milliseconds(&self.session.setting(name).ok()?)?;
        (most > 0).then(|| (Duration::from_millis(most), error))
    }

    /// The time of a statement runs from here.
    fn start_clock(&mut self) {
        let timeout = self.session.setting("statement_timeout").ok();
        let timeout_ms = timeout
            .and_then(|text| milliseconds(&text))
            .filter(|ms| *ms > 0);
        self.deadline =
            timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    }

    async fn sync(&mut self) -> Result<(), Failure> {
        self.skipping = false;
        if !self.transaction.is_open() {
            self.portals.clear();
        }
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        while let Ok(notification) = self.ear.heard.try_recv() {
            self.hear(notification).await?;
        }
        self.registration.waits(self.transaction.state_name());
        let ready = ReadyForQuery::new(self.transaction.status());
        self.feed(PgWireBackendMessage::ReadyForQuery(ready))
            .await?;
        Ok(self.socket.flush().await?)
    }

    /// Tells the client of a failure, and is ready for the next request where that doesn't take a Sync.
    async fn fail(&mut self, failure: Failure, extended: bool) -> io::Result<()> {
        if let Failure::Gone(error) = failure {
            return Err(error);
        }
        if failure.is_fatal() {
            self.farewell(&failure).await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        log(&failure);
        if self.skipping {
            return Ok(());
        }
        self.transaction.fail();
        self.registration.waits(self.transaction.state_name());
        self.in_block = false;
        self.socket.feed(failure.response("ERROR")).await?;
        if extended {
            self.skipping = true;
            return self.socket.flush().await;
        }
        self.socket
            .feed(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(
                self.transaction.status(),
            )))
            .await?;
        self.socket.flush().await
    }

    /// The last message.
    async fn farewell(&mut self, failure: &Failure) -> io::Result<()> {
        log(failure);
        self.socket.feed(failure.response("FATAL")).await?;
        self.socket.flush().await
    }
}

async fn idle(longest: Option<(Duration, Error)>) -> Error {
    match longest {
        Some((longest, error)) => {
            tokio::time::sleep(longest).await;
            error
        }
        None => std::future::pending().await,
    }
}

/// A bug of ours is for the operator; everything else is the client's own affair.
pub(super) fn log(failure: &Failure) {
    let code = failure.code();
    match code {
        "XX000" => tracing::error!(code, error = %failure, "statement failed"),
        _ => tracing::debug!(code, error = %failure, "request failed"),
    }
}

/// Only a command that fetches rows counts them.
pub(super) fn rows_tag(command: &str, rows: usize) -> String {
    match command {
        "SELECT" | "FETCH" => format!("{command} {rows}"),
        _ => command.to_owned(),
    }
}
