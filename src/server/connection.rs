//! One client: its session, its messages in order, and simple queries.

use std::collections::HashMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::ScalarValue;
use datafusion::execution::memory_pool::human_readable_size;
use futures::FutureExt;
use pgwire::messages::data::{DataRow, RowDescription};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, NotificationResponse, ReadyForQuery,
};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::cancel::Registration;
use super::cursors::Cursor;
use super::extended::{Portal, Stored};
use super::failure::{Failure, notice_response};
use super::limits::{Limits, panicked};
use super::notifications::{Ear, Notification};
use super::rows::{CHUNK_ROWS, Rows};
use super::socket::{Incoming, Socket};
use super::transaction::Transaction;
use super::watch::{Ticket, Watch};
use super::{LAST_WORD, Shared};
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
    /// Statements may follow the one that runs, with which its changes of rows are kept or undone.
    pub(super) more_follows: bool,
    /// The settings that the client was told last.
    told: Vec<(&'static str, String)>,
    /// Who writes down what the client does.
    watch: Arc<Watch>,
    /// Of the statement that is being answered.
    pub(super) ticket: Option<Box<Ticket>>,
    /// How many bytes of rows the statement has sent.
    result_bytes: usize,
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
        watch: Arc<Watch>,
        number: i32,
    ) -> Self {
        let ear = shared.exchange.listen(number);
        Self {
            told: session.reported_settings(),
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
            more_follows: false,
            watch,
            ticket: None,
            result_bytes: 0,
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
                notification = self.ear.heard.recv() => {
                    let Some(notification) = notification else {
                        return self.farewell(&deaf()).await;
                    };
                    if let Err(failure) = self.tell_heard(notification).await {
                        return match failure {
                            Failure::Gone(error) => Err(error),
                            failure => self.farewell(&failure).await,
                        };
                    }
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
                    let answering = AssertUnwindSafe(self.answer(message)).catch_unwind();
                    match answering.await {
                        Ok(answered) => (answered, extended),
                        // Nobody knows how far the answer had come, so that none can follow it.
                        Err(panic) => {
                            let failure = panicked(Some(panic.as_ref())).into();
                            return self.end_by_bug(failure).await;
                        }
                    }
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
        self.follow_settings();
        let answered = match message {
            PgWireFrontendMessage::Query(query) => self.query(query.query).await,
            PgWireFrontendMessage::Parse(parse) => self.parse(parse).await,
            PgWireFrontendMessage::Bind(bind) => self.bind(bind).await,
            PgWireFrontendMessage::Describe(describe) => self.describe(describe).await,
            PgWireFrontendMessage::Execute(execute) => self.execute(execute).await,
            PgWireFrontendMessage::Close(close) => self.close(close).await,
            PgWireFrontendMessage::Flush(_) => self.flush().await,
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
        self.begin_ticket(&sql, false, &[]);
        let session = Arc::clone(&self.session);
        let statements = self.work(async move { session.parse(&sql) }).await?;
        self.forget_ticket();
        if statements.is_empty() {
            self.feed(PgWireBackendMessage::EmptyQueryResponse(
                EmptyQueryResponse::new(),
            ))
            .await?;
        }
        self.in_block = statements.len() > 1;
        let last = statements.len().saturating_sub(1);
        for (at, statement) in statements.into_iter().enumerate() {
            self.follow_settings();
            self.more_follows = at < last;
            self.query_statement(statement).await?;
            self.flush().await?;
        }
        self.in_block = false;
        self.ready().await
    }

    async fn query_statement(&mut self, statement: Statement) -> Result<(), Failure> {
        self.begin_ticket(&statement.text, true, &[]);
        let prepared = Prepared {
            statement,
            parameters: Vec::new(),
            described: Described::Later,
        };
        let tag = match self.start(Arc::new(prepared), Vec::new(), &[]).await? {
            Started::Rows(tag, rows) => {
                self.feed(PgWireBackendMessage::RowDescription(rows.description()))
                    .await?;
                let (sent, _) = self.send_rows(rows, usize::MAX).await?;
                rows_tag(tag, sent)
            }
            Started::Fetched { description, rows } => {
                self.feed(PgWireBackendMessage::RowDescription(description))
                    .await?;
                let tag = rows_tag("FETCH", rows.len());
                let limits = self.limits();
                self.send_chunk(rows, &limits).await?;
                tag
            }
            Started::Done(tag) => tag,
        };
        // The last one isn't complete before all of them are kept.
        if !self.more_follows {
            self.commit_implicit_block().await?;
        }
        self.complete(tag).await
    }

    /// A statement comes. Outside of a block, its changes of rows are kept or undone with those of the statements that follow it in
    /// the same message, or before the same Sync; what defines something takes effect at once.
    async fn join_statements(&mut self, kind: &StatementKind) -> Result<(), Failure> {
        if self.transaction.is_open() {
            return Ok(());
        }
        if self.more_follows {
            self.session.begin_implicit_block(kind);
        }
        match self.session.ends_implicit_block(kind) {
            true => self.commit_implicit_block().await,
            false => Ok(()),
        }
    }

    /// What was changed without a `BEGIN` is everybody's.
    async fn commit_implicit_block(&mut self) -> Result<(), Failure> {
        if !self.session.has_implicit_block() {
            return Ok(());
        }
        let session = Arc::clone(&self.session);
        self.work(async move { session.commit_implicit_block().await })
            .await
    }

    /// Runs a statement up to its first row.
    pub(super) async fn start(
        &mut self,
        prepared: Arc<Prepared>,
        values: Vec<ScalarValue>,
        formats: &[i16],
    ) -> Result<Started, Failure> {
        self.transaction.admit(&prepared.statement.kind)?;
        self.result_bytes = 0;
        let application = self.session.setting("application_name").unwrap_or_default();
        let shown = self.ticket.as_ref().map(|ticket| ticket.statement());
        self.registration
            .runs(shown.unwrap_or_default(), &application);
        self.join_statements(&prepared.statement.kind).await?;
        if self.forget_statements(&prepared.statement.kind) {
            return Ok(Started::Done("DEALLOCATE".to_owned()));
        }
        match &prepared.statement.kind {
            StatementKind::Declare { .. } => return self.declare(&prepared, values).await,
            StatementKind::Fetch {
                cursor,
                which,
                moves,
            } => return self.fetch(cursor, *which, *moves, formats).await,
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
        let ends = matches!(prepared.statement.kind, StatementKind::Commit { .. });
        let chains = matches!(
            prepared.statement.kind,
            StatementKind::Commit { chain: true } | StatementKind::Rollback { chain: true }
        );
        let failed = self.transaction.state_name() == "idle in transaction (aborted)";
        let outcome = self
            .work(async move {
                match ends && failed {
                    true => session.roll_back_block(chains).await,
                    false => session.execute(&running, values).await,
                }
            })
            .await;
        // Whether it was committed or not, the block is over.
        if outcome.is_err() && ends {
            self.transaction = Transaction::default();
        }
        let outcome = outcome?;
        match outcome {
            Outcome::Rows {
                tag,
                stream,
                notices,
            } => {
                self.tell(&notices, Vec::new()).await?;
                let (names, style) = (self.session.names(), self.session.style());
                let sql = Arc::clone(&prepared.statement.sql);
                let rows = Rows::new(stream, formats, sql, names, style)?;
                Ok(Started::Rows(tag, rows.written_in(self.socket.encoding())))
            }
            Outcome::Done {
                mut tag,
                mut notices,
                reported,
            } => {
                notices.extend(self.transaction.done(&prepared.statement.kind, &mut tag));
                if chains || !self.transaction.is_open() {
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
            StatementKind::Deallocate(Some(name)) => {
                let known = self.statements.remove(name).is_some();
                if known {
                    self.session.forget_prepared(name);
                }
                known
            }
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
        let limits = self.limits();
        while sent < most {
            let wanted = (most - sent).min(CHUNK_ROWS);
            let (rest, chunk) = self.work(rows.next(wanted)).await?;
            if chunk.is_empty() {
                return Ok((sent, None));
            }
            sent += chunk.len();
            self.send_chunk(chunk, &limits).await?;
            rows = rest;
        }
        Ok((sent, Some(rows)))
    }

    /// Sends rows, unless the statement's limits are met while the client doesn't take them.
    pub(super) async fn send_chunk(
        &mut self,
        chunk: Vec<DataRow>,
        limits: &Limits,
    ) -> Result<(), Failure> {
        let bytes: usize = chunk.iter().map(|row| row.data.len()).sum();
        self.count_result(bytes)?;
        for row in chunk {
            self.make_room(limits).await?;
            self.socket.feed(PgWireBackendMessage::DataRow(row)).await?;
        }
        Ok(())
    }

    /// Counts what a statement sends.
    pub(super) fn count_result(&mut self, bytes: usize) -> Result<(), Failure> {
        self.result_bytes = self.result_bytes.saturating_add(bytes);
        match self.shared.result_limit {
            Some(most) if self.result_bytes > most => Err(Error::OverLimit {
                message: format!(
                    "the result is larger than {} (result_limit)",
                    human_readable_size(most)
                ),
                hint: "Ask for fewer rows or columns, or aggregate them.".to_owned(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// Waits for the client where there is much that it hasn't taken.
    pub(super) async fn make_room(&mut self, limits: &Limits) -> Result<(), Failure> {
        if !self.socket.is_full() {
            return Ok(());
        }
        limits
            .wait(Some(self.shared.send_timeout), self.socket.flush())
            .await
    }

    /// The client is told what stands beside a result.
    pub(super) async fn tell(
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
        if !reported.is_empty() {
            self.tell_settings().await?;
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

    /// A statement begins, or a part of it that may fail.
    pub(super) fn begin_ticket(&mut self, text: &str, parsed: bool, values: &[ScalarValue]) {
        let ticket = self.watch.statement(&self.session, text, parsed, values);
        self.ticket = Some(Box::new(ticket));
    }

    /// The part went well; the statement itself is still to come.
    pub(super) fn forget_ticket(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.forget();
        }
    }

    pub(super) async fn complete(&mut self, tag: String) -> Result<(), Failure> {
        if let Some(ticket) = self.ticket.take() {
            ticket.done(&tag).await;
        }
        for (channel, text) in self.session.take_said() {
            self.ear.tell(&channel, &text);
            if !self.transaction.is_open() {
                self.ear.end(true);
            }
        }
        self.feed(PgWireBackendMessage::CommandComplete(CommandComplete::new(
            tag,
        )))
        .await
    }

    pub(super) async fn feed(&mut self, message: PgWireBackendMessage) -> Result<(), Failure> {
        if let PgWireBackendMessage::RowDescription(columns) = &message {
            for column in &columns.fields {
                self.socket.encoding().encode(&column.name)?;
            }
        }
        let limits = self.limits_of_answer();
        self.make_room(&limits).await?;
        Ok(self.socket.feed(message).await?)
    }

    /// Writes what is queued.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let limits = self.limits_of_answer();
        limits
            .wait(Some(self.shared.send_timeout), self.socket.flush())
            .await
    }

    /// The client is told what was said on a channel.
    async fn hear(&mut self, notification: Notification) -> Result<(), Failure> {
        let Notification {
            pid,
            channel,
            payload,
        } = notification;
        let message = NotificationResponse::new(pid, channel, payload);
        self.feed(PgWireBackendMessage::NotificationResponse(message))
            .await
    }

    async fn tell_heard(&mut self, notification: Notification) -> Result<(), Failure> {
        self.hear(notification).await?;
        self.flush().await
    }

    /// Does CPU work for the client, within its limits.
    pub(super) async fn work<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T, Failure> {
        let limits = self.limits();
        let threads = &self.shared.threads;
        limits.work(threads, self.socket.stream(), work).await
    }

    /// The limits of what is done for the request that is being answered.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            canceled: self.canceled.clone(),
            deadline: self.deadline,
            ..self.limits_of_answer()
        }
    }

    /// The limits of an answer: what a statement did is said, even when its time is over meanwhile.
    fn limits_of_answer(&self) -> Limits {
        Limits {
            canceled: CancellationToken::new(),
            killing: self.shared.killing.clone(),
            ended: self.registration.ended().clone(),
            deadline: None,
        }
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

    /// Does as the session's settings say from here on: the client's encoding, and the time that a statement has.
    fn follow_settings(&mut self) {
        self.socket.speak(self.session.client_encoding());
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
        match self.commit_implicit_block().await {
            Ok(()) => {}
            Err(failure) if failure.is_fatal() => return Err(failure),
            // Nothing is skipped: this is the Sync.
            Err(failure) => {
                log(&failure);
                self.session.roll_back_implicit_block();
                self.feed(failure.response("ERROR")).await?;
            }
        }
        self.ready().await
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        while let Ok(notification) = self.ear.heard.try_recv() {
            self.hear(notification).await?;
        }
        self.tell_settings().await?;
        self.registration.waits(self.transaction.state_name());
        let ready = ReadyForQuery::new(self.transaction.status());
        self.feed(PgWireBackendMessage::ReadyForQuery(ready))
            .await?;
        self.flush().await
    }

    /// The client is told of settings that changed, by whatever means: also by a function, or by a rollback.
    async fn tell_settings(&mut self) -> Result<(), Failure> {
        let now = self.session.reported_settings();
        if now == self.told {
            return Ok(());
        }
        self.follow_settings();
        for (name, value) in &now {
            if !self.told.contains(&(name, value.clone())) {
                let status = ParameterStatus::new((*name).to_owned(), value.clone());
                self.feed(PgWireBackendMessage::ParameterStatus(status))
                    .await?;
            }
        }
        self.told = now;
        Ok(())
    }

    /// Tells the client of a failure, and is ready for the next request where that doesn't take a Sync.
    async fn fail(&mut self, failure: Failure, extended: bool) -> io::Result<()> {
        if let Failure::Gone(error) = failure {
            return Err(error);
        }
        if let Some(ticket) = self.ticket.take() {
            ticket.failed(&failure).await;
        }
        self.session.take_said();
        if failure.is_fatal() {
            self.farewell(&failure).await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        log(&failure);
        if self.skipping {
            return Ok(());
        }
        self.session.roll_back_implicit_block();
        self.transaction.fail();
        self.registration.waits(self.transaction.state_name());
        self.in_block = false;
        self.skipping = extended;
        match self.tell_failure(&failure, extended).await {
            Ok(()) => Ok(()),
            Err(Failure::Gone(error)) => Err(error),
            Err(failure) => {
                self.farewell(&failure).await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// A panic on the way between client and statement, which is a bug of ours, ends this connection alone.
    async fn end_by_bug(&mut self, failure: Failure) -> io::Result<()> {
        if let Some(ticket) = self.ticket.take() {
            ticket.failed(&failure).await;
        }
        self.farewell(&failure).await
    }

    async fn tell_failure(&mut self, failure: &Failure, extended: bool) -> Result<(), Failure> {
        self.feed(failure.response("ERROR")).await?;
        if !extended {
            let ready = ReadyForQuery::new(self.transaction.status());
            self.feed(PgWireBackendMessage::ReadyForQuery(ready))
                .await?;
        }
        self.flush().await
    }

    /// The last message, to a client that may not take it.
    async fn farewell(&mut self, failure: &Failure) -> io::Result<()> {
        log(failure);
        let saying = async {
            self.socket.feed(failure.response("FATAL")).await?;
            self.socket.flush().await
        };
        timeout(LAST_WORD, saying)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A client that listens and doesn't read.
fn deaf() -> Failure {
    Error::OverLimit {
        message: "more notifications are waiting than are kept for a connection".to_owned(),
        hint: "Read from a connection that listens.".to_owned(),
    }
    .into()
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
        // Its text may have lines of the client's: it is logged in quotes.
        "XX000" => tracing::error!(code, error = failure.to_string(), "statement failed"),
        _ => tracing::debug!(code, error = failure.to_string(), "request failed"),
    }
}

/// Only a command that fetches rows counts them.
pub(super) fn rows_tag(command: &str, rows: usize) -> String {
    match command {
        "SELECT" | "FETCH" | "UPDATE" | "DELETE" => format!("{command} {rows}"),
        "INSERT" => format!("INSERT 0 {rows}"),
        _ => command.to_owned(),
    }
}
