//! TLS 1.2 and 1.3 by rustls. What is configured has to work: a certificate or key that can't be used stops the
//! start, and at a reload leaves the old one in place. Nothing falls back to plain text.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use pgwire::api::{ClientInfo, DefaultClient, PgWireConnectionState};
use pgwire::messages::PgWireBackendMessage;
use pgwire::tokio::TlsAcceptor;
use pgwire::tokio::server::{MaybeTls, PgWireMessageServerCodec};
use pgwire::tokio::tokio_rustls::rustls;
use ring::digest;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, FramedParts};
use x509_certificate::{CapturedX509Certificate, SignatureAlgorithm};

use super::startup::Candidate;
use crate::error::{Error, Result};

/// What the protocol is called where a client begins with TLS at once.
const ALPN: &[u8] = b"postgresql";
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// The requests that a client may make before its startup packet: their length and their code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];

/// The files of TLS, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Its private key; nobody else may read it.
    pub key: PathBuf,
    /// The roots of clients' certificates; clients aren't asked for one where absent.
    pub client_ca: Option<PathBuf>,
}

/// TLS as it was loaded.
pub struct Tls {
    acceptor: TlsAcceptor,
    /// The hash of the certificate that SCRAM binds to (`tls-server-end-point`, RFC 5929); none for a certificate
    /// whose signature says no hash, such as Ed25519.
    pub end_point: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files and checks that they belong together.
    ///
    /// # Errors
    /// F0000 with the file and what is wrong with it.
    pub fn load(files: &TlsFiles) -> Result<Self> {
        let certificates = certificates(&files.certificate)?;
        check_key_is_private(&files.key)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| unusable("key", &files.key, &error.to_string()))?;
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable("certificate", &files.certificate, &error.to_string()))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let invalid = |error: &dyn std::fmt::Display| {
                    unusable("certificate", file, &error.to_string())
                };
                let mut roots = RootCertStore::empty();
                for root in self::certificates(file)? {
                    roots.add(root).map_err(|error| invalid(&error))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build();
                builder.with_client_cert_verifier(verifier.map_err(|error| invalid(&error))?)
            }
        };
        let end_point = certificates
            .first()
            .and_then(|certificate| end_point(certificate));
        let mut config = builder
            .with_single_cert(certificates, key)
            .map_err(|error| {
                let key = format!("with the key in \"{}\", {error}", files.key.display());
                unusable("certificate", &files.certificate, &key)
            })?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            end_point,
        })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let invalid = |reason: &str| unusable("certificate", file, reason);
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| invalid(&error.to_string()))?;
    match certificates.is_empty() {
        true => Err(invalid("there is no certificate in it")),
        false => Ok(certificates),
    }
}

fn unusable(what: &str, file: &Path, reason: &str) -> Error {
    Error::Configuration {
        message: format!("can't use the {what} in \"{}\": {reason}", file.display()),
        hint: "tls_cert and tls_key are PEM files that belong together, tls_client_ca one of the clients' roots."
            .to_owned(),
    }
}

/// As in Postgres: a key that others can read is not one. A file of root's may be open to a group.
#[cfg(unix)]
fn check_key_is_private(file: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let found =
        std::fs::metadata(file).map_err(|error| unusable("key", file, &error.to_string()))?;
    let open_to = if found.uid() == 0 { 0o037 } else { 0o077 };
    match found.mode() & open_to {
        0 => Ok(()),
        _ => Err(Error::Configuration {
            message: format!("others can read the key in \"{}\"", file.display()),
            hint: format!("chmod 600 {}", file.display()),
        }),
    }
}

#[cfg(not(unix))]
fn check_key_is_private(_file: &Path) -> Result<()> {
    Ok(())
}

/// The certificate's hash, by the hash of its signature; SHA-256 instead of what is weaker.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = CapturedX509Certificate::from_der(certificate)
        .ok()?
        .signature_algorithm()?;
    let hash = match algorithm {
        SignatureAlgorithm::RsaSha1
        | SignatureAlgorithm::RsaSha256
        | SignatureAlgorithm::EcdsaSha256 => &digest::SHA256,
        SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => &digest::SHA384,
        SignatureAlgorithm::RsaSha512 => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// TLS as it is now; a reload puts another in its place, for the connections that come after it.
#[derive(Debug)]
pub struct CurrentTls {
    files: Option<TlsFiles>,
    loaded: RwLock<Option<Arc<Tls>>>,
}

impl CurrentTls {
    /// From these files; no TLS where there are none.
    ///
    /// # Errors
    /// F0000 for files that can't be used.
    pub fn load(files: Option<TlsFiles>) -> Result<Self> {
        let loaded = files.as_ref().map(Tls::load).transpose()?;
        Ok(Self {
            files,
            loaded: RwLock::new(loaded.map(Arc::new)),
        })
    }

    /// What the next connection is offered.
    pub fn get(&self) -> Option<Arc<Tls>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        loaded.as_ref().map(Arc::clone)
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// F0000 for files that can't be used; what was there stays.
    pub fn reload(&self) -> Result<()> {
        if let Some(files) = &self.files {
            let loaded = Arc::new(Tls::load(files)?);
            *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(loaded);
        }
        Ok(())
    }
}

/// Answers a client's wish for encryption, up to its startup packet. Nothing comes of a client that is gone, or
/// speaks TLS to a server without.
///
/// pgwire's own negotiation takes what was sent before the handshake for what was sent inside of it, which is how
/// somebody on the way could put words into a client's mouth (CVE-2021-23214). This one reads the request's eight
/// bytes and not one more.
///
/// # Errors
/// The socket's, and those of the handshake.
pub async fn negotiate(mut stream: TcpStream, tls: Option<&Tls>) -> io::Result<Option<Candidate>> {
    stream.set_nodelay(true)?;
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    if first == [HANDSHAKE] {
        let Some(tls) = tls else {
            return Ok(None);
        };
        let secured = tls.acceptor.accept(stream).await?;
        let spoken = secured.get_ref().1.alpn_protocol() == Some(ALPN);
        return Ok(if spoken {
            Some(candidate(MaybeTls::Tls(Box::new(secured)), &[])?)
        } else {
            None
        });
    }
    let mut requests = vec![SSL_REQUEST, GSS_REQUEST];
    loop {
        let mut start = [0; 8];
        stream.read_exact(&mut start).await?;
        let Some(at) = requests.iter().position(|request| *request == start) else {
            return candidate(MaybeTls::Plain(stream), &start).map(Some);
        };
        match (requests.remove(at), tls) {
            (SSL_REQUEST, Some(tls)) => {
                stream.write_all(b"S").await?;
                let secured = tls.acceptor.accept(stream).await?;
                return candidate(MaybeTls::Tls(Box::new(secured)), &[]).map(Some);
            }
            _ => stream.write_all(b"N").await?,
        }
    }
}

/// A connection whose next message is the startup packet, of which `read` has come already.
fn candidate(stream: MaybeTls, read: &[u8]) -> io::Result<Candidate> {
    let (address, secure) = match &stream {
        MaybeTls::Plain(stream) => (stream.peer_addr()?, false),
        MaybeTls::Tls(stream) => (stream.get_ref().0.peer_addr()?, true),
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let codec = PgWireMessageServerCodec::new(DefaultClient::new(address, secure));
    let mut parts = FramedParts::new::<PgWireBackendMessage>(stream, codec);
    parts.read_buf.extend_from_slice(read);
    let mut candidate = Framed::from_parts(parts);
    candidate.set_state(PgWireConnectionState::AwaitingStartup);
    Ok(candidate)
}

/// The common name in a client's certificate, which rustls has verified.
pub fn common_name(stream: &MaybeTls) -> Option<String> {
    let MaybeTls::Tls(stream) = stream else {
        return None;
    };
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    CapturedX509Certificate::from_der(certificate.as_ref())
        .ok()?
        .subject_common_name()
}
