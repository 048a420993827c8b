//! The server's side of SCRAM-SHA-256 and, over TLS, SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), as Postgres does it.
//!
//! ```text
//! client  n,,n=,r=NONCE                      or  p=tls-server-end-point,,…
//! server  r=NONCE+OURS,s=SALT,i=ITERATIONS
//! client  c=BINDING,r=NONCE+OURS,p=PROOF
//! server  v=SIGNATURE
//! ```
//!
//! One [`Exchange`] belongs to one login. The user's name in it means nothing: the startup packet had it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::catalog::roles::{KEY_BYTES, Verifier, hmac_sha256, sha256};

/// The mechanism without channel binding.
pub const PLAIN: &str = "SCRAM-SHA-256";
/// The mechanism with it.
pub const PLUS: &str = "SCRAM-SHA-256-PLUS";
const BINDING: &str = "p=tls-server-end-point";

/// What ends an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// A message that isn't one.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The mechanism isn't among those that were offered.
    #[error("client selected an invalid SASL authentication mechanism")]
    Mechanism,
    /// Something of SCRAM that the server doesn't do.
    #[error("client requires {0}, which is not supported")]
    Unsupported(&'static str),
    /// The client believes that the server can't bind to the channel, or is bound to another.
    #[error("SCRAM channel binding negotiation error: {0}")]
    Binding(&'static str),
    /// The proof isn't of the password.
    #[error("wrong proof")]
    Proof,
}

/// An exchange that waits for the client's proof.
pub struct Exchange {
    verifier: Verifier,
    genuine: bool,
    /// What `c=` has to be.
    binding: String,
    client_first_bare: String,
    /// `r=…,s=…,i=…`
    challenge: String,
    nonce: String,
}

impl Exchange {
    /// Reads the client's first message.
    ///
    /// - `end_point`: the hash of the server's certificate where the channel can be bound to it
    /// - `verifier`: the user's; where there is none, any, and `genuine` is false: then no proof is right
    /// - `own_nonce`: printable, without a comma, never used before
    ///
    /// # Errors
    /// Every fault but the proof's.
    pub fn begin(
        mechanism: &str,
        first: &[u8],
        end_point: Option<&[u8]>,
        verifier: Verifier,
        genuine: bool,
        own_nonce: &str,
    ) -> Result<Self, Fault> {
        let plus = match mechanism {
            PLAIN => false,
            PLUS if end_point.is_some() => true,
            _ => return Err(Fault::Mechanism),
        };
        let first = text(first)?;
        let (flag, rest) = first
            .split_once(',')
            .ok_or(Fault::Malformed("it has no header"))?;
        let (identity, bare) = rest
            .split_once(',')
            .ok_or(Fault::Malformed("it has no header"))?;
        if !identity.is_empty() {
            return Err(Fault::Unsupported("an authorization identity"));
        }
        match flag {
            "n" | "y" if plus => return Err(Fault::Malformed("it has no channel binding")),
            "y" if end_point.is_some() => {
                return Err(Fault::Binding(
                    "the client believes that this server can't do it, and it can",
                ));
            }
            "n" | "y" => {}
            BINDING if plus => {}
            BINDING => {
                return Err(Fault::Malformed(
                    "its channel binding needs another mechanism",
                ));
            }
            _ => return Err(Fault::Malformed("its channel binding is unknown")),
        }
        let mut parts = bare.split(',');
        match parts.next() {
            Some(name) if name.starts_with("n=") => {}
            Some(name) if name.starts_with("m=") => {
                return Err(Fault::Unsupported("a SCRAM extension"));
            }
            _ => return Err(Fault::Malformed("it has no user")),
        }
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        let nonce =
            nonce.filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic()));
        let nonce = nonce.ok_or(Fault::Malformed("it has no nonce"))?;
        let nonce = format!("{nonce}{own_nonce}");
        let salt = STANDARD.encode(&verifier.salt);
        let challenge = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let header = [flag.as_bytes(), b",,"].concat();
        let bound = if plus {
            end_point.unwrap_or_default()
        } else {
            &[]
        };
        Ok(Self {
            verifier,
            genuine,
            binding: STANDARD.encode([&header, bound].concat()),
            client_first_bare: bare.to_owned(),
            challenge,
            nonce,
        })
    }

    /// What the client is to be asked.
    pub fn challenge(&self) -> &str {
        &self.challenge
    }

    /// Checks the client's last message; returns what proves the server to the client.
    ///
    /// # Errors
    /// The proof's fault, and those of a message that belongs to another exchange or channel.
    pub fn finish(self, last: &[u8]) -> Result<String, Fault> {
        let last = text(last)?;
        let (without_proof, proof) = last
            .rsplit_once(",p=")
            .ok_or(Fault::Malformed("it has no proof"))?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c="));
        let binding = binding.ok_or(Fault::Malformed("it has no channel binding"))?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r="));
        if !equal(nonce.unwrap_or_default().as_bytes(), self.nonce.as_bytes()) {
            return Err(Fault::Malformed("its nonce does not match"));
        }
        if !equal(binding.as_bytes(), self.binding.as_bytes()) {
            return Err(Fault::Binding("the client is bound to another channel"));
        }
        let proof: [u8; KEY_BYTES] = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(Fault::Malformed("its proof has another length"))?;
        let message = format!(
            "{},{},{without_proof}",
            self.client_first_bare, self.challenge
        );
        let signature = hmac_sha256(&self.verifier.stored_key, message.as_bytes());
        let mut client_key = proof;
        client_key
            .iter_mut()
            .zip(signature)
            .for_each(|(byte, other)| *byte ^= other);
        let proven = equal(&sha256(&client_key), &self.verifier.stored_key);
        if !proven || !self.genuine {
            return Err(Fault::Proof);
        }
        let signature = hmac_sha256(&self.verifier.server_key, message.as_bytes());
        Ok(format!("v={}", STANDARD.encode(signature)))
    }
}

/// How long it takes tells nothing of where two texts differ.
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

fn text(message: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(message).map_err(|_| Fault::Malformed("it is not UTF-8"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const LAST: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    /// RFC 7677, section 3
    fn verifier() -> Verifier {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Verifier::derive("pencil", salt, NonZeroU32::new(4096).unwrap())
    }

    fn begin(mechanism: &str, first: &str, end_point: Option<&[u8]>) -> Result<Exchange, Fault> {
        let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        Exchange::begin(
            mechanism,
            first.as_bytes(),
            end_point,
            verifier(),
            true,
            nonce,
        )
    }

    #[test]
    fn the_exchange_of_rfc_7677_comes_out() {
        let exchange = begin(PLAIN, FIRST, None).unwrap();
        let challenge = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(exchange.challenge(), challenge);
        let signature = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(exchange.finish(LAST.as_bytes()).unwrap(), signature);
    }

    #[test]
    fn a_proof_of_another_password_and_any_proof_of_nobody_are_wrong() {
        let other = LAST.replace("p=dHz", "p=dHy");
        let fault = begin(PLAIN, FIRST, None).unwrap().finish(other.as_bytes());
        assert_eq!(fault, Err(Fault::Proof));
        let mock = Exchange::begin(
            PLAIN,
            FIRST.as_bytes(),
            None,
            verifier(),
            false,
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        );
        assert_eq!(mock.unwrap().finish(LAST.as_bytes()), Err(Fault::Proof));
    }

    #[test]
    fn a_proof_of_another_exchange_is_refused() {
        let exchange =
            Exchange::begin(PLAIN, FIRST.as_bytes(), None, verifier(), true, "another").unwrap();
        assert_eq!(
            exchange.finish(LAST.as_bytes()),
            Err(Fault::Malformed("its nonce does not match"))
        );
    }

    #[test]
    fn a_client_that_was_told_of_no_binding_where_there_is_one_is_refused() {
        let end_point: &[u8] = &[7; 32];
        assert!(begin(PLAIN, FIRST, Some(end_point)).is_ok());
        assert!(begin(PLAIN, &FIRST.replace("n,,", "y,,"), None).is_ok());
        let fault = begin(PLAIN, &FIRST.replace("n,,", "y,,"), Some(end_point)).err();
        assert!(matches!(fault, Some(Fault::Binding(_))), "{fault:?}");
    }

    #[test]
    fn a_bound_exchange_belongs_to_its_certificate() {
        let first = FIRST.replace("n,,", "p=tls-server-end-point,,");
        let last = |end_point: [u8; 32]| {
            let binding =
                STANDARD.encode([b"p=tls-server-end-point,,".as_slice(), &end_point].concat());
            let without_proof = LAST.rsplit_once(",p=").unwrap().0.replace("biws", &binding);
            // The client's side of RFC 5802, section 3.
            let bare = first.rsplit_once(",,").unwrap().1;
            let exchange = begin(PLUS, &first, Some(&[7; 32])).unwrap();
            let message = format!("{bare},{},{without_proof}", exchange.challenge());
            let mut salted = [0; 32];
            let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
            ring::pbkdf2::derive(
                ring::pbkdf2::PBKDF2_HMAC_SHA256,
                NonZeroU32::new(4096).unwrap(),
                &salt,
                b"pencil",
                &mut salted,
            );
            let mut proof = hmac_sha256(&salted, b"Client Key");
            let signature = hmac_sha256(&sha256(&proof), message.as_bytes());
            proof
                .iter_mut()
                .zip(signature)
                .for_each(|(byte, other)| *byte ^= other);
            exchange.finish(format!("{without_proof},p={}", STANDARD.encode(proof)).as_bytes())
        };
        assert!(last([7; 32]).is_ok());
        assert!(matches!(last([8; 32]), Err(Fault::Binding(_))));
    }

    #[test]
    fn what_is_no_message_is_a_fault() {
        let malformed = |first: &str| matches!(begin(PLAIN, first, None), Err(Fault::Malformed(_)));
        for first in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,r=abc",
            "n,,n=user",
            "n,,n=user,r=",
            "n,,n=u,r=a b",
            "x,,n=u,r=a",
            "p=tls-unique,,n=u,r=a",
            "p=tls-server-end-point,,n=u,r=a",
        ] {
            assert!(malformed(first), "{first}");
        }
        for (mechanism, first, end_point, fault) in [
            ("PLAIN", FIRST, None, Fault::Mechanism),
            (PLUS, FIRST, None, Fault::Mechanism),
            (
                PLUS,
                FIRST,
                Some([7].as_slice()),
                Fault::Malformed("it has no channel binding"),
            ),
            (
                PLAIN,
                "n,a=admin,n=u,r=a",
                None,
                Fault::Unsupported("an authorization identity"),
            ),
            (
                PLAIN,
                "n,,m=x,n=u,r=a",
                None,
                Fault::Unsupported("a SCRAM extension"),
            ),
        ] {
            assert_eq!(
                begin(mechanism, first, end_point).err(),
                Some(fault),
                "{first}"
            );
        }
        for last in [
            "",
            "c=biws",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=",
            &LAST[..LAST.len() - 4],
        ] {
            let fault = begin(PLAIN, FIRST, None).unwrap().finish(last.as_bytes());
            assert!(
                matches!(fault, Err(Fault::Malformed(_))),
                "{last}: {fault:?}"
            );
        }
        let fault = begin(PLAIN, FIRST, None)
            .unwrap()
            .finish(LAST.replace("biws", "eSws").as_bytes());
        assert!(matches!(fault, Err(Fault::Binding(_))));
    }
}
