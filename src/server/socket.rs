//! Whole messages in, messages out.
//!
//! pgwire decodes a message from everything that has arrived, so a message that says less or more than its
//! length would take the next one with it. Here each is cut out by its length first: a faulty message is
//! one error, and the connection goes on.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Buf, BytesMut};
use futures::{SinkExt, StreamExt};
use pgwire::messages::{DecodeContext, PgWireBackendMessage, PgWireFrontendMessage};
use pgwire::tokio::server::MaybeTls;
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpStream;
use tokio_util::codec::{Decoder, Encoder, Framed, FramedParts};

use super::failure::Failure;
use super::metrics::Metrics;
use super::startup::Candidate;
use super::translation;
use crate::postgres::encoding::{Encoding, UTF8};

/// The longest message, in bytes: four times the longest text of statements, for its parameters.
const LONGEST_MESSAGE: usize = 256 << 20;
/// The longest message of a client that hasn't been admitted, in bytes.
const LONGEST_OF_STRANGER: usize = 64 << 10;
/// How much to gather before it is written, in bytes; a client that reads slower than that is waited for.
const WRITE_BUFFER: usize = 64 << 10;

/// What a client sent.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Message(PgWireFrontendMessage),
    /// A message that can't be read.
    Faulty {
        /// What is wrong with it.
        failure: Failure,
        /// It belongs to the extended protocol, where an error is answered once and then skips to Sync.
        extended: bool,
    },
    /// Something whose end can't be found; nothing behind it can be read.
    Lost(Failure),
}

/// A client's connection behind its startup packet.
pub struct Socket {
    framed: Framed<MaybeTls, Codec>,
}

impl Socket {
    /// Goes on with a connection after its startup packet.
    pub fn new(candidate: Candidate, metrics: &Metrics) -> Self {
        let old = candidate.into_parts();
        let mut parts = FramedParts::new::<PgWireBackendMessage>(old.io, Codec::new(metrics));
        parts.read_buf = old.read_buf;
        parts.write_buf = old.write_buf;
        let mut framed = Framed::from_parts(parts);
        framed.set_backpressure_boundary(WRITE_BUFFER);
        Self { framed }
    }

    /// The client has been admitted: its messages may be long from here on.
    pub fn admit(&mut self) {
        self.framed.codec_mut().longest = LONGEST_MESSAGE;
    }

    /// The encoding that the client speaks from here on.
    pub fn speak(&mut self, encoding: &'static Encoding) {
        self.framed.codec_mut().encoding = encoding;
    }

    /// The encoding that the client speaks.
    pub fn encoding(&self) -> &'static Encoding {
        self.framed.codec().encoding
    }

    /// The stream below.
    pub fn transport(&self) -> &MaybeTls {
        self.framed.get_ref()
    }

    /// The next message; nothing when the client has hung up.
    pub async fn receive(&mut self) -> io::Result<Option<Incoming>> {
        self.framed.next().await.transpose()
    }

    /// Whether the client has sent a Sync behind the message that was received last. It may still be on its way.
    pub fn sync_follows(&self) -> bool {
        let mut rest: &[u8] = self.framed.read_buffer();
        while let Some(&[kind, a, b, c, d]) = rest.first_chunk::<5>() {
            // Drivers close a portal before they end what they asked for.
            if kind != b'C' {
                return kind == b'S';
            }
            let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(0);
            rest = rest.get(1 + length..).unwrap_or_default();
        }
        false
    }

    /// Queues a message, and writes what is queued when that is much.
    pub async fn feed(&mut self, message: PgWireBackendMessage) -> io::Result<()> {
        self.framed.feed(message).await
    }

    /// Whether there is so much queued that the next message waits for the client.
    pub fn is_full(&self) -> bool {
        self.framed.write_buffer().len() >= WRITE_BUFFER
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> io::Result<()> {
        SinkExt::<PgWireBackendMessage>::flush(&mut self.framed).await
    }

    /// Where the client is.
    pub fn peer(&self) -> Option<std::net::SocketAddr> {
        self.stream()?.peer_addr().ok()
    }

    /// The stream below, where its end can be watched.
    pub fn stream(&self) -> Option<&TcpStream> {
        match self.framed.get_ref() {
            MaybeTls::Plain(stream) => Some(stream),
            MaybeTls::Tls(stream) => Some(stream.get_ref().0),
            _ => None,
        }
    }
}

struct Codec {
    context: DecodeContext,
    longest: usize,
    encoding: &'static Encoding,
    sent: Counter,
    received: Counter,
}

impl Codec {
    fn new(metrics: &Metrics) -> Self {
        let mut context = DecodeContext::default();
        context.awaiting_frontend_ssl = false;
        context.awaiting_frontend_startup = false;
        Self {
            context,
            longest: LONGEST_OF_STRANGER,
            encoding: UTF8,
            sent: metrics.sent.clone(),
            received: metrics.received.clone(),
        }
    }

    fn read(&self, message: &mut BytesMut) -> Incoming {
        let kind = message[0];
        if kind == b'F' {
            let failure = Failure::Unsupported("function calls by the protocol are not supported");
            return Incoming::Faulty {
                failure,
                extended: false,
            };
        }
        let extended = matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'S');
        if let Err(fault) = translation::received(self.encoding, message) {
            return Incoming::Faulty {
                failure: fault.into(),
                extended,
            };
        }
        // pgwire reads past the end of a message that is too short for what it says it holds, which panics.
        let decoded = catch_unwind(AssertUnwindSafe(|| {
            PgWireFrontendMessage::decode(message, &self.context)
        }));
        match decoded {
            Ok(Ok(Some(decoded))) if message.is_empty() => Incoming::Message(decoded),
            Ok(Err(error)) if !is_known(kind) => Incoming::Lost(error.into()),
            _ => {
                let failure = Failure::Protocol("invalid message format".to_owned());
                Incoming::Faulty { failure, extended }
            }
        }
    }
}

impl Decoder for Codec {
    type Item = Incoming;
    type Error = io::Error;

    /// A kind of one byte, a length of four that counts itself, and the rest.
    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Incoming>> {
        let Some(&[_, a, b, c, d]) = buffer.first_chunk::<5>() else {
            return Ok(None);
        };
        let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).unwrap_or(0);
        if !(4..=self.longest).contains(&length) {
            buffer.clear();
            return Ok(Some(Incoming::Lost(Failure::Protocol(
                "invalid message length".to_owned(),
            ))));
        }
        let whole = 1 + length;
        if buffer.remaining() < whole {
            buffer.reserve(whole - buffer.remaining());
            return Ok(None);
        }
        let mut message = buffer.split_to(whole);
        self.received.inc_by(u64::try_from(whole).unwrap_or(0));
        Ok(Some(self.read(&mut message)))
    }
}

impl Encoder<PgWireBackendMessage> for Codec {
    type Error = io::Error;

    fn encode(&mut self, message: PgWireBackendMessage, buffer: &mut BytesMut) -> io::Result<()> {
        let before = buffer.len();
        message.encode(buffer).map_err(io::Error::other)?;
        translation::sent(self.encoding, buffer, before);
        let bytes = buffer.len().saturating_sub(before);
        self.sent.inc_by(u64::try_from(bytes).unwrap_or(0));
        Ok(())
    }
}

fn is_known(kind: u8) -> bool {
    b"QPBDECHSXdcfp".contains(&kind)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    fn incoming(bytes: &[u8]) -> Vec<Incoming> {
        let mut buffer = BytesMut::from(bytes);
        let mut codec = Codec::new(&Metrics::new());
        std::iter::from_fn(|| codec.decode(&mut buffer).unwrap()).collect()
    }

    fn faults(bytes: &[u8]) -> Vec<Option<&'static str>> {
        let fault = |incoming: &Incoming| match incoming {
            Incoming::Message(_) => None,
            Incoming::Faulty { failure, .. } | Incoming::Lost(failure) => Some(failure.code()),
        };
        incoming(bytes).iter().map(fault).collect()
    }

    #[test]
    fn a_faulty_message_is_one_error_and_the_next_is_read() {
        let good = message(b'Q', b"select 1\0");
        for bad in [
            message(b'Q', b"select\0 1\0"),
            message(b'Q', b"select 1"),
            message(b'B', b"\0\0"),
            message(b'B', b"\0\0\0\0\0\x01\0\0\0\xff"),
            message(b'P', b"a"),
            message(b'E', b""),
        ] {
            assert_eq!(faults(&[bad, good.clone()].concat()), [Some("08P01"), None]);
        }
        assert_eq!(faults(&message(b'Q', b"select '\xff'\0")), [Some("22021")]);
        assert_eq!(
            faults(&message(b'P', b"\0select '\xff'\0\0\0")),
            [Some("22021")]
        );
        assert_eq!(faults(&message(b'F', b"\0\0\0\x01")), [Some("0A000")]);
    }

    #[test]
    fn a_message_without_an_end_loses_the_connection() {
        for length in [0i32, 3, -1, i32::MAX] {
            let bytes = [b"Q".as_slice(), &length.to_be_bytes(), b"select 1\0"].concat();
            assert!(
                matches!(incoming(&bytes).as_slice(), [Incoming::Lost(_)]),
                "{length}"
            );
        }
        assert!(matches!(
            incoming(&message(b'?', b"")).as_slice(),
            [Incoming::Lost(_)]
        ));
    }

    #[test]
    fn a_message_is_waited_for_until_it_is_whole() {
        let whole = message(b'Q', b"select 1\0");
        assert_eq!(incoming(&whole[..whole.len() - 1]).len(), 0);
        assert_eq!(incoming(&whole).len(), 1);
    }
}
