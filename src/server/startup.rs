//! From an accepted socket to an admitted client: TLS, the startup packet, its settings.

use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::BytesMut;
use futures::{FutureExt, StreamExt};
use pgwire::api::auth::protocol_negotiation;
use pgwire::api::{ClientInfo, PidSecretKeyGenerator};
use pgwire::error::PgWireError;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, ParameterStatus, SecretKey, Startup,
};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::{MaybeTls, PgWireMessageServerCodec};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use super::Shared;
use super::auth;
use super::cancel::Registry;
use super::connection::{Connection, log};
use super::failure::Failure;
use super::rules::Caller;
use super::slots::{Slot, refusal};
use super::socket::Socket;
use super::tls::{self, Tls};
use super::watch::{Client, Watch};
use crate::engine::Session;
use crate::error::Error;
use crate::postgres::casts::boolean;

/// A connection that waits for its startup packet.
pub type Candidate = Framed<MaybeTls, PgWireMessageServerCodec<()>>;

/// Receives a client, up to its first ReadyForQuery, and the place that it takes. Nothing comes of a cancel request,
/// and of a client that was turned away or said nothing in time.
///
/// # Errors
/// The socket's.
pub async fn greet(
    mut stream: TcpStream,
    shared: Arc<Shared>,
) -> io::Result<Option<(Connection, Slot)>> {
    let stopping = shared.stopping.clone();
    let Ok(_seat) = Arc::clone(&shared.seats).try_acquire_owned() else {
        let failure = refusal("sorry, too many clients already".to_owned());
        shared.metrics.refused(failure.code());
        let mut message = BytesMut::new();
        failure
            .response("FATAL")
            .encode(&mut message)
            .map_err(io::Error::other)?;
        stream.write_all(&message).await?;
        return Ok(None);
    };
    let patience = shared.login_timeout;
    tokio::select! {
        greeted = timeout(patience, admit(stream, shared)) => greeted.unwrap_or(Ok(None)),
        () = stopping.cancelled() => Ok(None),
    }
}

async fn admit(stream: TcpStream, shared: Arc<Shared>) -> io::Result<Option<(Connection, Slot)>> {
    let tls = shared.tls.get();
    let Some(mut candidate) = tls::negotiate(stream, tls.as_deref()).await? else {
        return Ok(None);
    };
    // pgwire reads past the end of a packet that is shorter than it says, which panics.
    let first = AssertUnwindSafe(candidate.next()).catch_unwind().await;
    let malformed = || PgWireError::InvalidStartupMessage;
    let started = match first.unwrap_or_else(|_| Some(Err(malformed()))) {
        Some(Ok(PgWireFrontendMessage::CancelRequest(named))) => {
            shared.metrics.cancels.inc();
            Registry::cancel(&shared.registry, &named);
            return Ok(None);
        }
        Some(Ok(PgWireFrontendMessage::Startup(startup))) => {
            let negotiated = protocol_negotiation(&mut candidate, &startup).await;
            negotiated.map(|()| startup).map_err(Failure::from)
        }
        Some(Ok(_)) => Err(Failure::Protocol("expected a startup packet".to_owned())),
        Some(Err(error)) => Err(error.into()),
        None => return Ok(None),
    };
    let version = candidate.protocol_version();
    let address = candidate.socket_addr();
    tracing::debug!(%address, ?version, "client");
    let key = shared.keys.generate(&candidate);
    let secure = candidate.is_secure();
    let mut socket = Socket::new(candidate, &shared.metrics);
    let mut client = Client {
        connection: key.0,
        address: address.to_string(),
        tls: secure,
        ..Client::default()
    };
    let introduced = match started {
        Ok(startup) => {
            let caller = Caller::of(&startup, address.ip(), secure);
            client.user.clone_from(&caller.user);
            client.database.clone_from(&caller.database);
            let application = startup.parameters.get("application_name");
            client.application = application.cloned().unwrap_or_default();
            introduce(&mut socket, &startup, &caller, tls.as_deref(), &shared).await
        }
        Err(failure) => Err(failure),
    };
    let audit = shared.engine.audit();
    match introduced {
        Ok((session, slot)) => {
            socket.admit();
            let watch =
                Watch::begin(client, audit.map(Arc::clone), Arc::clone(&shared.metrics)).await;
            let connection = welcome(socket, session, key, watch, shared).await?;
            Ok(Some((connection, slot)))
        }
        Err(Failure::Gone(error)) => Err(error),
        Err(failure) => {
            log(&failure);
            Watch::refuse(&client, &failure, audit, &shared.metrics).await;
            socket.feed(failure.response("FATAL")).await?;
            socket.flush().await?;
            Ok(None)
        }
    }
}

impl Caller {
    fn of(startup: &Startup, address: std::net::IpAddr, tls: bool) -> Self {
        let parameter = |name: &str| {
            startup
                .parameters
                .get(name)
                .filter(|value| !value.is_empty())
        };
        let user = parameter("user").cloned().unwrap_or_default();
        Self {
            // There is one database, and any name is taken for it: psql sends the user's where it has none.
            database: parameter("database").unwrap_or(&user).clone(),
            user,
            address: address.to_canonical(),
            tls,
        }
    }
}

/// Makes sure who the client is; the session that it gets, and its place.
async fn introduce(
    socket: &mut Socket,
    startup: &Startup,
    caller: &Caller,
    tls: Option<&Tls>,
    shared: &Shared,
) -> Result<(Session, Slot), Failure> {
    let end_point = tls
        .filter(|_| caller.tls)
        .and_then(|tls| tls.end_point.as_deref());
    auth::authenticate(socket, caller, end_point, shared).await?;
    refuse_replication(&startup.parameters)?;
    let roles = shared.engine.catalog().roles();
    let limit = roles
        .find(&caller.user)
        .and_then(|role| role.connection_limit);
    let slot = shared
        .slots
        .take(&caller.user, roles.is_superuser(&caller.user), limit)?;
    let session = shared.engine.session(&caller.user);
    for (name, value) in settings(&startup.parameters)? {
        session.set(&name, Some(&value)).await?;
    }
    session.keep_settings();
    Ok((session, slot))
}

/// There are no logs to follow: programs that replicate are told so before they ask for one.
fn refuse_replication(parameters: &BTreeMap<String, String>) -> Result<(), Failure> {
    match parameters.get("replication") {
        Some(wanted) if boolean(wanted) != Some(false) => Err(Error::Unsupported {
            message: "replication is not supported".to_owned(),
            hint: Some("Connect without replication, and read the tables by queries.".to_owned()),
        }
        .into()),
        _ => Ok(()),
    }
}

/// The settings of a startup packet: those of `options` first, as Postgres does it.
fn settings(parameters: &BTreeMap<String, String>) -> Result<Vec<(String, String)>, Failure> {
    let mut settings = match parameters.get("options") {
        Some(options) => option_settings(options)?,
        None => Vec::new(),
    };
    for (name, value) in parameters {
        // `_pq_.` starts the name of an extension of the protocol, and there is none.
        let is_setting = !matches!(
            name.as_str(),
            "user" | "database" | "options" | "replication"
        );
        if is_setting && !name.starts_with("_pq_.") {
            settings.push((name.clone(), value.clone()));
        }
    }
    Ok(settings)
}

/// `-c name=value` and `--name=value`, in words that a backslash can join.
fn option_settings(options: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut words = split_words(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(rest) => Some(rest.to_owned()),
            None => word.strip_prefix("--").map(str::to_owned),
        };
        let assigned = assignment
            .as_deref()
            .and_then(|assignment| assignment.split_once('='));
        let Some((name, value)) = assigned else {
            return Err(Failure::Protocol(format!(
                "invalid command-line argument: {word}"
            )));
        };
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split_words(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.extend(characters.next()),
            space if space.is_whitespace() => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Tells an admitted client all that it has to know.
async fn welcome(
    mut socket: Socket,
    session: Session,
    (number, secret): (i32, SecretKey),
    watch: Arc<Watch>,
    shared: Arc<Shared>,
) -> io::Result<Connection> {
    session.set_connection(number);
    socket.speak(session.client_encoding());
    let address = socket.peer();
    let registration = shared
        .registry
        .register(number, &secret, session.user(), address);
    socket
        .feed(PgWireBackendMessage::Authentication(Authentication::Ok))
        .await?;
    for (name, value) in session.reported_settings() {
        let status = ParameterStatus::new(name.to_owned(), value);
        socket
            .feed(PgWireBackendMessage::ParameterStatus(status))
            .await?;
    }
    let key = BackendKeyData::new(number, secret);
    socket
        .feed(PgWireBackendMessage::BackendKeyData(key))
        .await?;
    let ready = ReadyForQuery::new(TransactionStatus::Idle);
    socket
        .feed(PgWireBackendMessage::ReadyForQuery(ready))
        .await?;
    socket.flush().await?;
    Ok(Connection::new(
        socket,
        session,
        shared,
        registration,
        watch,
        number,
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_are_settings() {
        let parsed = option_settings(
            r"-c TimeZone=Asia/Shanghai  --statement-timeout=5s -csearch_path=a\ b",
        )
        .unwrap();
        let expected = [
            ("TimeZone", "Asia/Shanghai"),
            ("statement_timeout", "5s"),
            ("search_path", "a b"),
        ];
        assert_eq!(
            parsed,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(option_settings("-x").unwrap_err().code(), "08P01");
        assert_eq!(option_settings("-c").unwrap_err().code(), "08P01");
    }
}
