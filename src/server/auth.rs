//! Who may connect: the rule that fits says what the client is asked for, and here it is asked.
//!
//! What a client that fails is told doesn't depend on why: a user that there isn't is asked for a password as well,
//! with a salt of its own. The log says why.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use chrono::Utc;
use pgwire::messages::startup::{Authentication, PasswordMessageFamily};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::time::{Instant, sleep};

use super::Shared;
use super::failure::Failure;
use super::rules::{Caller, Method, decide};
use super::scram::{Exchange, Fault, PLAIN, PLUS};
use super::socket::{Incoming, Socket};
use super::tls::common_name;
use crate::catalog::roles::{ITERATIONS, KEY_BYTES, Roles, Verifier, random};
use crate::error::Error;

/// Of the server's part of a nonce, as in Postgres.
const NONCE_BYTES: usize = 18;

/// Makes sure that the client is the user that it says it is, and that this user may connect. `end_point` is
/// what SCRAM can bind to.
///
/// # Errors
/// 28000 for a client that no rule admits, or that a rule refuses; 28P01 for a wrong password; 08P01 for messages
/// that aren't in order.
pub async fn authenticate(
    socket: &mut Socket,
    caller: &Caller,
    end_point: Option<&[u8]>,
    shared: &Shared,
) -> Result<(), Failure> {
    let roles = shared.engine.catalog().roles();
    if caller.user.is_empty() {
        return Err(Failure::UserMissing);
    }
    match decide(shared.rules.as_deref(), caller, roles) {
        None => {
            let hint = match caller.tls {
                true => "The server's rules ([[auth]]) say who may connect from where.",
                false => {
                    "Connect over TLS (sslmode=require), or see the server's rules ([[auth]])."
                }
            };
            Err(refused(format!("no rule admits {caller}"), Some(hint)))
        }
        Some(Method::Reject) => Err(refused(format!("a rule rejects {caller}"), None)),
        Some(Method::Trust) => may_connect(&caller.user, roles),
        Some(Method::Certificate) => {
            if common_name(socket.transport()).as_deref() != Some(caller.user.as_str()) {
                tracing::warn!(%caller, "login failed: the certificate is absent or somebody else's");
                let message = format!(
                    "certificate authentication failed for user \"{}\"",
                    caller.user
                );
                let hint =
                    "The common name (CN) of the client's certificate has to be the user's name.";
                return Err(refused(message, Some(hint)));
            }
            may_connect(&caller.user, roles)
        }
        Some(Method::Scram) => password(socket, caller, end_point, shared).await,
    }
}

fn may_connect(user: &str, roles: &Roles) -> Result<(), Failure> {
    match roles.find(user) {
        Some(role) if role.login => Ok(()),
        Some(_) => Err(refused(
            format!("role \"{user}\" is not permitted to log in"),
            None,
        )),
        None if roles.is_open() => Ok(()),
        None => Err(refused(format!("role \"{user}\" does not exist"), None)),
    }
}

async fn password(
    socket: &mut Socket,
    caller: &Caller,
    end_point: Option<&[u8]>,
    shared: &Shared,
) -> Result<(), Failure> {
    if let Some(left) = shared.attempts.banned(caller.address, Instant::now()) {
        tracing::warn!(%caller, "login refused: too many failures from this address");
        let message = format!("too many failed logins from {}", caller.address);
        return Err(refused(
            message,
            Some(&format!("Try again in {} s.", left.as_secs() + 1)),
        ));
    }
    let (verifier, hindrance) = expected(&caller.user, shared.engine.catalog().roles())?;
    match exchange(socket, end_point, verifier, hindrance.is_none()).await {
        Ok(()) => return Ok(()),
        Err(Exchanged::Other(failure)) => return Err(failure),
        Err(Exchanged::Gone) => return Err(Failure::Gone(io::ErrorKind::ConnectionAborted.into())),
        Err(Exchanged::Wrong) => {}
    }
    let reason = hindrance.unwrap_or("wrong password");
    tracing::warn!(%caller, reason, "login failed");
    sleep(shared.attempts.failed(caller.address, Instant::now())).await;
    Err(Failure::Refused {
        code: "28P01",
        message: format!(
            "password authentication failed for user \"{}\"",
            caller.user
        ),
        hint: None,
        reason: Some(reason),
    })
}

/// What the client has to prove, and why it can't be enough.
fn expected(user: &str, roles: &Roles) -> Result<(Verifier, Option<&'static str>), Failure> {
    let role = roles.find(user);
    let hindrance = match &role {
        None => Some("there is no such role"),
        Some(role) if !role.login => Some("the role is not permitted to log in"),
        Some(role) if role.verifier.is_none() => Some("the role has no password"),
        Some(role) if role.is_over(Utc::now()) => Some("the password is over"),
        Some(_) => None,
    };
    if let Some(verifier) = role.and_then(|role| role.verifier.clone()) {
        return Ok((verifier, hindrance));
    }
    let mock = Verifier {
        iterations: ITERATIONS,
        salt: roles.mock_salt(user),
        stored_key: random::<KEY_BYTES>()?,
        server_key: random::<KEY_BYTES>()?,
    };
    Ok((mock, hindrance))
}

/// How an exchange failed.
enum Exchanged {
    /// The proof was wrong.
    Wrong,
    /// The client went away, as psql does to ask for a password.
    Gone,
    /// Something else.
    Other(Failure),
}

impl From<Failure> for Exchanged {
    fn from(failure: Failure) -> Self {
        Exchanged::Other(failure)
    }
}

impl From<Fault> for Exchanged {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Proof => Exchanged::Wrong,
            other => Exchanged::Other(other.into()),
        }
    }
}

impl From<io::Error> for Exchanged {
    fn from(error: io::Error) -> Self {
        Exchanged::Other(error.into())
    }
}

impl From<Error> for Exchanged {
    fn from(error: Error) -> Self {
        Exchanged::Other(error.into())
    }
}

async fn exchange(
    socket: &mut Socket,
    end_point: Option<&[u8]>,
    verifier: Verifier,
    genuine: bool,
) -> Result<(), Exchanged> {
    let mechanisms = match end_point {
        Some(_) => vec![PLUS.to_owned(), PLAIN.to_owned()],
        None => vec![PLAIN.to_owned()],
    };
    send(socket, Authentication::SASL(mechanisms)).await?;
    let initial = answer(socket).await?;
    let (mechanism, first) = initial_response(initial)?;
    let nonce = STANDARD.encode(random::<NONCE_BYTES>()?);
    let exchange = Exchange::begin(&mechanism, &first, end_point, verifier, genuine, &nonce)?;
    let challenge = Bytes::copy_from_slice(exchange.challenge().as_bytes());
    send(socket, Authentication::SASLContinue(challenge)).await?;
    let last = answer(socket).await?;
    let signature = exchange.finish(&last)?;
    let last = Authentication::SASLFinal(Bytes::from(signature));
    socket
        .feed(PgWireBackendMessage::Authentication(last))
        .await?;
    Ok(())
}

async fn send(socket: &mut Socket, message: Authentication) -> io::Result<()> {
    socket
        .feed(PgWireBackendMessage::Authentication(message))
        .await?;
    socket.flush().await
}

/// The body of the client's next message, which has to be one of a login.
async fn answer(socket: &mut Socket) -> Result<Bytes, Exchanged> {
    match socket.receive().await? {
        None | Some(Incoming::Message(PgWireFrontendMessage::Terminate(_))) => Err(Exchanged::Gone),
        Some(Incoming::Message(PgWireFrontendMessage::PasswordMessageFamily(
            PasswordMessageFamily::Raw(body),
        ))) => Ok(body.freeze()),
        Some(Incoming::Message(_)) => {
            Err(Failure::Protocol("expected SASL response".to_owned()).into())
        }
        Some(Incoming::Faulty { failure, .. } | Incoming::Lost(failure)) => Err(failure.into()),
    }
}

/// The mechanism, a NUL, the length of the client's first message, and that. pgwire reads past the end of one that
/// is cut.
fn initial_response(mut body: Bytes) -> Result<(String, Bytes), Failure> {
    let malformed = || Failure::Protocol("malformed SASL initial response".to_owned());
    let end = body
        .iter()
        .position(|byte| *byte == 0)
        .ok_or_else(malformed)?;
    let mechanism = String::from_utf8(body.split_to(end).to_vec()).map_err(|_| malformed())?;
    body.advance(1);
    let length = body.try_get_i32().map_err(|_| malformed())?;
    match usize::try_from(length) {
        Ok(length) if length == body.len() => Ok((mechanism, body)),
        _ => Err(malformed()),
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let message = fault.to_string();
        match fault {
            Fault::Malformed(_) | Fault::Mechanism => Failure::Protocol(message),
            Fault::Unsupported(_) => Failure::Refused {
                code: "0A000",
                message,
                hint: None,
                reason: None,
            },
            Fault::Binding(_) | Fault::Proof => refused(message, None),
        }
    }
}

fn refused(message: String, hint: Option<&str>) -> Failure {
    Failure::Refused {
        code: "28000",
        message,
        hint: hint.map(str::to_owned),
        reason: None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_initial_response_that_is_cut_is_malformed() {
        let whole = [PLAIN.as_bytes(), b"\0\0\0\0\x04n,,x"].concat();
        let (mechanism, first) = initial_response(Bytes::from(whole.clone())).unwrap();
        assert_eq!(
            (mechanism.as_str(), first.as_ref()),
            (PLAIN, b"n,,x".as_slice())
        );
        for cut in 0..whole.len() {
            let failure = initial_response(Bytes::copy_from_slice(&whole[..cut])).unwrap_err();
            assert_eq!(failure.code(), "08P01", "{cut}");
        }
        let negative = [PLAIN.as_bytes(), b"\0\xff\xff\xff\xff"].concat();
        assert!(initial_response(Bytes::from(negative)).is_err());
    }
}
