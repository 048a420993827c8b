//! Who may connect: today everybody, as whoever they say they are (`trust` in Postgres).
//!
//! This is the place for passwords. [`authenticate`] has the socket as pgwire knows it, so that its
//! SCRAM-SHA-256 can talk to the client here, and nothing has been told to the client before it returns.

use pgwire::tokio::server::{MaybeTls, PgWireMessageServerCodec};
use tokio_util::codec::Framed;

use super::failure::Failure;

/// A connection that has not been admitted yet.
pub type Candidate = Framed<MaybeTls, PgWireMessageServerCodec<()>>;

/// Makes sure that the client is `user`.
///
/// # Errors
/// 28000 where the startup packet names no user.
pub fn authenticate(_candidate: &mut Candidate, user: &str) -> Result<(), Failure> {
    match user {
        "" => Err(Failure::UserMissing),
        _ => Ok(()),
    }
}
