//! A server: its connections, and what it answers.
//!
//! Nothing connects before a query needs it. At most `pool_size` queries read at a time; a connection is a query's until
//! its last row was read, and goes back to the pool then. Whoever stops reading cancels the query there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion_table_providers::sql::db_connection_pool::mysqlpool::MySQLConnectionPool;
use datafusion_table_providers::sql::db_connection_pool::postgrespool::PostgresConnectionPool;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;

use super::columns::RemoteColumn;
use super::rows::Texts;
use super::settings::{Settings, Wrapper};
use super::{mysql, postgres, sqlite};
use crate::error::{Error, ForeignFault, Result};

/// Where rows are sent to. When nobody reads them any more, the query is canceled.
pub type Sender = mpsc::Sender<Result<Texts>>;

/// How long a query waits for a connection that another has.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long the end of a canceled query is waited for.
pub const LONGEST_END: Duration = Duration::from_secs(5);

/// A server as somebody enters it.
pub struct Remote {
    settings: Settings,
    permits: Semaphore,
    pool: Mutex<Option<Pool>>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Of connections, plans say no more than whose they are.
        f.debug_tuple("Remote").field(&self.server()).finish()
    }
}

#[derive(Clone)]
enum Pool {
    Postgres(Arc<PostgresConnectionPool>),
    MySql(MySQLConnectionPool),
}

impl Remote {
    /// The server of these settings; nothing connects yet.
    pub fn new(settings: Settings) -> Self {
        let permits = Semaphore::new(settings.pool_size());
        Self {
            settings,
            permits,
            pool: Mutex::default(),
        }
    }

    /// Its name.
    pub fn server(&self) -> &str {
        &self.settings.server
    }

    /// What it is.
    pub fn wrapper(&self) -> Wrapper {
        self.settings.wrapper
    }

    /// Sends a query and hands on its rows of `width` columns as they come; dropping the receiver cancels it.
    pub fn read(self: &Arc<Self>, sql: String, width: usize) -> mpsc::Receiver<Result<Texts>> {
        let (sender, receiver) = mpsc::channel(2);
        let remote = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = remote.send(&sql, width, &sender).await {
                // Nobody waits for an error any more, either.
                let _ = sender.send(Err(error)).await;
            }
        });
        receiver
    }

    async fn send(&self, sql: &str, width: usize, sender: &Sender) -> Result<()> {
        let Some(_permit) = self.permit(sender).await? else {
            return Ok(());
        };
        let settings = &self.settings;
        match settings.wrapper {
            Wrapper::Sqlite => sqlite::send(settings, sql, width, sender).await,
            Wrapper::Postgres => {
                let connection = tokio::select! {
                    biased;
                    () = sender.closed() => return Ok(()),
                    connection = self.postgres() => connection?,
                };
                postgres::send(&connection, settings, sql, width, sender).await
            }
            Wrapper::MySql => {
                let connection = tokio::select! {
                    biased;
                    () = sender.closed() => return Ok(()),
                    connection = self.mysql() => connection?,
                };
                mysql::send(connection, settings, sql, width, sender).await
            }
        }
    }

    /// The right to have a connection; nothing when nobody waits for the rows any more.
    async fn permit(&self, sender: &Sender) -> Result<Option<SemaphorePermit<'_>>> {
        tokio::select! {
            biased;
            () = sender.closed() => Ok(None),
            permit = timeout(LONGEST_WAIT, self.permits.acquire()) => match permit {
                Ok(Ok(permit)) => Ok(Some(permit)),
                Ok(Err(_)) | Err(_) => Err(ForeignFault::Busy.error(
                    format!(
                        "all {} connections to server \"{}\" are in use",
                        self.settings.pool_size(),
                        self.settings.server
                    ),
                    Some("A query needs one for each of its foreign tables: ALTER SERVER ... OPTIONS (SET pool_size '20')."),
                )),
            },
        }
    }

    async fn postgres(&self) -> Result<postgres::Connection> {
        if let Some(Pool::Postgres(pool)) = self.pool() {
            if let Ok(connection) = self.within(pool.connect_direct()).await {
                return Ok(connection);
            }
            self.forget_pool();
        }
        let pool = Arc::new(self.within(postgres::pool(&self.settings)).await?);
        let connection = self.within(pool.connect_direct()).await?;
        self.keep_pool(Pool::Postgres(pool));
        Ok(connection)
    }

    async fn mysql(&self) -> Result<mysql::Connection> {
        if let Some(Pool::MySql(pool)) = self.pool() {
            if let Ok(connection) = self.within(pool.connect_direct()).await {
                return Ok(connection);
            }
            self.forget_pool();
        }
        let pool = self
            .within(mysql::pool(&self.settings, self.settings.pool_size()))
            .await?;
        let connection = self.within(pool.connect_direct()).await?;
        self.keep_pool(Pool::MySql(pool));
        Ok(connection)
    }

    /// What is connected in time; that the server can't be reached, otherwise.
    async fn within<T, E: Into<Unreachable>>(
        &self,
        connecting: impl Future<Output = Result<T, E>>,
    ) -> Result<T> {
        let time = self.settings.connect_timeout();
        match timeout(time, connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(match error.into() {
                Unreachable::Known(error) => error,
                Unreachable::Because(reason) => self.settings.unreachable(&reason),
            }),
            Err(_) => {
                let reason = format!("it did not answer within {} s", time.as_secs());
                Err(self.settings.unreachable(&reason))
            }
        }
    }

    fn pool(&self) -> Option<Pool> {
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A pool whose server was gone finds out for itself only slowly whether it is back.
    fn forget_pool(&self) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn keep_pool(&self, pool: Pool) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(pool);
    }

    /// The columns of a table there; none where there is no such table.
    ///
    /// # Errors
    /// 08001, and the server's own.
    pub async fn columns(
        self: &Arc<Self>,
        schema: Option<&str>,
        table: &str,
    ) -> Result<Vec<RemoteColumn>> {
        let sql = match self.wrapper() {
            Wrapper::Postgres => postgres::columns_query(schema, table),
            Wrapper::MySql => mysql::columns_query(schema, table),
            Wrapper::Sqlite => sqlite::columns_query(schema, table),
        };
        let sql = sql.ok_or_else(|| self.unnamable(table))?;
        let rows = self.collect(sql, 3).await?;
        let columns = rows.into_iter().filter_map(|row| {
            let [name, remote_type, not_null] = <[Option<String>; 3]>::try_from(row).ok()?;
            Some(RemoteColumn {
                name: name?,
                remote_type: remote_type.unwrap_or_default(),
                not_null: not_null.as_deref() == Some("1"),
            })
        });
        Ok(columns.collect())
    }

    /// The tables and views of a schema there, in order.
    ///
    /// # Errors
    /// 08001, and the server's own.
    pub async fn tables(self: &Arc<Self>, schema: &str) -> Result<Vec<String>> {
        let sql = match self.wrapper() {
            Wrapper::Postgres => postgres::tables_query(schema),
            Wrapper::MySql => mysql::tables_query(schema),
            Wrapper::Sqlite => sqlite::tables_query(schema),
        };
        let sql = sql.ok_or_else(|| self.unnamable(schema))?;
        let rows = self.collect(sql, 1).await?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn unnamable(&self, name: &str) -> Error {
        let message = format!("\"{name}\" can't be a name on server \"{}\"", self.server());
        ForeignFault::OptionValue.error(message, None)
    }

    async fn collect(
        self: &Arc<Self>,
        sql: String,
        width: usize,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let mut receiver = self.read(sql, width);
        let mut rows = Vec::new();
        while let Some(texts) = receiver.recv().await {
            rows.extend(texts?.strings());
        }
        Ok(rows)
    }
}

/// Why a server can't be entered.
pub enum Unreachable {
    /// An error of ours.
    Known(Error),
    /// What its driver said.
    Because(String),
}

impl From<Error> for Unreachable {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

/// What lies at the bottom of an error: drivers wrap it into advice.
pub fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    let text = root.to_string();
    text.lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}
