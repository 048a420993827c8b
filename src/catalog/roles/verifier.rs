//! What is kept of a password: a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677), written as Postgres writes it:
//! `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`. It proves a password and doesn't tell it.
//!
//! ```text
//! SaltedPassword = PBKDF2-HMAC-SHA-256(SASLprep(password), salt, iterations)
//! StoredKey = SHA-256(HMAC(SaltedPassword, "Client Key"))
//! ServerKey = HMAC(SaltedPassword, "Server Key")
//! ```

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2, rand};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The length of SHA-256's results, and of the keys, in bytes.
pub const KEY_BYTES: usize = 32;
/// Of a new verifier, as in Postgres, in bytes.
pub const SALT_BYTES: usize = 16;
/// Of a new verifier, as in Postgres: RFC 7677 asks for no fewer.
pub const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};
/// The most that are taken from a client: more would keep a processor busy for seconds.
const MOST_ITERATIONS: u32 = 1_000_000;
const MECHANISM: &str = "SCRAM-SHA-256";

/// A verifier. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Verifier {
    /// How often the password was hashed.
    pub iterations: NonZeroU32,
    /// What the password was hashed with.
    pub salt: Vec<u8>,
    /// What a client's proof is checked against.
    pub stored_key: [u8; KEY_BYTES],
    /// What the server proves itself with.
    pub server_key: [u8; KEY_BYTES],
}

impl Verifier {
    /// Of a password, with a new salt.
    ///
    /// # Errors
    /// 58030 when the system gives no random bytes.
    pub fn of_password(password: &str) -> Result<Self> {
        Ok(Self::derive(
            password,
            random::<SALT_BYTES>()?.to_vec(),
            ITERATIONS,
        ))
    }

    /// Of a password, with this salt and so many iterations.
    pub fn derive(password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let mut salted = [0; KEY_BYTES];
        let password = prepared(password);
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(
            algorithm,
            iterations,
            &salt,
            password.as_bytes(),
            &mut salted,
        );
        Self {
            iterations,
            salt,
            stored_key: sha256(&hmac_sha256(&salted, b"Client Key")),
            server_key: hmac_sha256(&salted, b"Server Key"),
        }
    }

    /// Whether it is of this password.
    pub fn is_of(&self, password: &str) -> bool {
        *self == Self::derive(password, self.salt.clone(), self.iterations)
    }

    /// Whether a text is meant as a verifier, whatever is in it.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with("SCRAM-SHA-256$")
    }
}

/// Postgres takes a password that SASLprep (RFC 4013) refuses as it is, and so does its client.
fn prepared(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

/// HMAC-SHA-256.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; KEY_BYTES] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    fixed(tag.as_ref())
}

/// SHA-256.
pub fn sha256(message: &[u8]) -> [u8; KEY_BYTES] {
    fixed(digest::digest(&digest::SHA256, message).as_ref())
}

/// SHA-256's result has `KEY_BYTES`.
fn fixed(bytes: &[u8]) -> [u8; KEY_BYTES] {
    let mut fixed = [0; KEY_BYTES];
    fixed
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    fixed
}

/// Bytes that nobody can foresee.
///
/// # Errors
/// 58030 when the system has none.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Error::io(
            "can't draw random bytes",
            std::io::Error::other("the system has none"),
        )
    })?;
    Ok(bytes)
}

/// The verifier was cut, or isn't one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SCRAM-SHA-256 verifier")]
pub struct NoVerifier;

impl FromStr for Verifier {
    type Err = NoVerifier;

    fn from_str(text: &str) -> Result<Self, NoVerifier> {
        let parts: Vec<&str> = text.split('$').collect();
        let [MECHANISM, salted, keys] = parts.as_slice() else {
            return Err(NoVerifier);
        };
        let (iterations, salt) = salted.split_once(':').ok_or(NoVerifier)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(NoVerifier)?;
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| NoVerifier);
        let key = |text: &str| -> Result<[u8; KEY_BYTES], NoVerifier> {
            bytes(text)?.try_into().map_err(|_| NoVerifier)
        };
        let iterations: NonZeroU32 = iterations.parse().map_err(|_| NoVerifier)?;
        let salt = bytes(salt)?;
        if salt.is_empty() || iterations.get() > MOST_ITERATIONS {
            return Err(NoVerifier);
        }
        Ok(Self {
            iterations,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

impl TryFrom<String> for Verifier {
    type Error = NoVerifier;

    fn try_from(text: String) -> Result<Self, NoVerifier> {
        text.parse()
    }
}

impl From<Verifier> for String {
    fn from(verifier: Verifier) -> Self {
        let [salt, stored_key, server_key] = [
            &verifier.salt[..],
            &verifier.stored_key,
            &verifier.server_key,
        ]
        .map(|b| STANDARD.encode(b));
        format!(
            "{MECHANISM}${}:{salt}${stored_key}:{server_key}",
            verifier.iterations
        )
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// PostgreSQL 15.18: create role r password '…'; select rolpassword from pg_authid. The third is changed by
    /// SASLprep (a soft hyphen goes, a Roman nine becomes two letters); the last is refused by it.
    const WRITTEN: [(&str, &str); 4] = [
        (
            "pencil",
            "SCRAM-SHA-256$4096:8QJzQH0MAm7GTu/5KgVu3A==$mYAGVI85T1w/WzMTYbiavol2vUgTnQUl6D3DSluAhKM=:3W9Wk/3InP3LqKwL/2/rYXVReFvwI+1X/MwVMR/3qTg=",
        ),
        (
            "漏斗 密码",
            "SCRAM-SHA-256$4096:rVysxH5Gw0+uJ9U3mgZbKA==$Vku/9K57ER53UGFaxbJcERcnXcDnedGce3YnfcQytr0=:TwgX3/QR/aqzr8O9kYBp6SCoa9YP0Pt1NY7gUb7yyK8=",
        ),
        (
            "I\u{ad}X \u{2168}",
            "SCRAM-SHA-256$4096:m2dTSmeDqUQHsA0I7dVEcg==$Zmx2f8crZcEPw+3O1+/Th59XjMuDM/siATVqDW9DMGI=:mc7+HwiVCAxrYW74QaWcB7Cb6K/YHXOd1r37vf0HRTc=",
        ),
        (
            "a\u{7}b",
            "SCRAM-SHA-256$4096:8vHcMj/hRcZ8avhx7AXFKA==$Sv9ilTQktHce8ecIeHYdcfx/f1zITQGZSNg1sWkFukI=:8/X7SAgz17AwYfvJyvcC668EF/FsZHckbwnRBlwZzDM=",
        ),
    ];

    #[test]
    fn a_verifier_is_the_one_that_postgres_writes() {
        for (password, written) in WRITTEN {
            let verifier: Verifier = written.parse().unwrap();
            assert!(verifier.is_of(password), "{password}");
            assert!(!verifier.is_of("another"));
            assert_eq!(String::from(verifier), written);
        }
    }

    #[test]
    fn a_new_verifier_has_a_salt_of_its_own() {
        let [one, other] = ["geheim", "geheim"].map(|p| Verifier::of_password(p).unwrap());
        assert_ne!(one, other);
        assert!(one.is_of("geheim") && other.is_of("geheim"));
        assert_eq!((one.iterations.get(), one.salt.len()), (4096, 16));
        assert_eq!(format!("{one:?}"), "Verifier");
    }

    #[test]
    fn what_is_cut_or_would_take_for_ever_is_no_verifier() {
        let whole = String::from(Verifier::of_password("x").unwrap());
        let fault = |text: &str| text.parse::<Verifier>().is_err();
        assert!(!fault(&whole));
        for cut in 0..whole.len() {
            assert!(fault(&whole[..cut]), "{cut}");
        }
        assert!(fault(&whole.replace("$4096:", "$0:")));
        assert!(fault(&whole.replace("$4096:", "$4000000000:")));
        assert!(fault(&format!("{whole}$")));
    }
}
