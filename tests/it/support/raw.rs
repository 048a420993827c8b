//! A client that speaks the protocol by hand: messages sent, messages expected.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message of the server: its kind and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, name: char) -> Option<String> {
        let fields = self.body.split(|byte| *byte == 0);
        let named = fields
            .into_iter()
            .find(|field| field.first() == Some(&(name as u8)))?;
        Some(String::from_utf8_lossy(&named[1..]).into_owned())
    }

    /// The body as text, for tags and statuses.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .trim_end_matches('\0')
            .to_owned()
    }
}

pub struct RawClient<S = TcpStream> {
    pub stream: S,
    /// What the server said before it was ready.
    pub greeting: Vec<Message>,
}

impl RawClient {
    /// Connects with these startup parameters.
    pub async fn connect(address: SocketAddr, parameters: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Self::begin(stream, parameters).await;
        client.greeting = client.until_ready().await;
        client
    }

    pub async fn start(address: SocketAddr) -> Self {
        Self::connect(address, &[("user", "ana")]).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    /// Sends the startup packet and waits for nothing.
    pub async fn begin(mut stream: S, parameters: &[(&str, &str)]) -> Self {
        let mut body = 196_608i32.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        let length = i32::try_from(body.len() + 4).unwrap();
        stream
            .write_all(&[length.to_be_bytes().as_slice(), &body].concat())
            .await
            .unwrap();
        Self {
            stream,
            greeting: Vec::new(),
        }
    }

    pub async fn send(&mut self, kind: u8, body: &[u8]) {
        let length = i32::try_from(body.len() + 4).unwrap();
        let message = [&[kind], length.to_be_bytes().as_slice(), body].concat();
        self.stream.write_all(&message).await.unwrap();
    }

    pub async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(b'Q', &[sql.as_bytes(), b"\0"].concat()).await;
        self.until_ready().await
    }

    /// Parse of a nameless statement.
    pub async fn parse(&mut self, sql: &str) {
        self.send(b'P', &[b"\0", sql.as_bytes(), b"\0\0\0"].concat())
            .await;
    }

    /// Bind of the nameless portal to the nameless statement, with parameters in text.
    pub async fn bind(&mut self, parameters: &[Option<&str>], result_formats: &[i16]) {
        let mut body = b"\0\0\0\0".to_vec();
        body.extend(i16::try_from(parameters.len()).unwrap().to_be_bytes());
        for parameter in parameters {
            let length = parameter.map_or(-1, |text| i32::try_from(text.len()).unwrap());
            body.extend(length.to_be_bytes());
            body.extend(parameter.unwrap_or_default().as_bytes());
        }
        body.extend(i16::try_from(result_formats.len()).unwrap().to_be_bytes());
        body.extend(
            result_formats
                .iter()
                .flat_map(|format| format.to_be_bytes()),
        );
        self.send(b'B', &body).await;
    }

    /// Describe of the nameless statement (`S`) or portal (`P`).
    pub async fn describe(&mut self, target: u8) {
        self.send(b'D', &[target, 0]).await;
    }

    pub async fn execute(&mut self, max_rows: i32) {
        self.send(b'E', &[b"\0".as_slice(), &max_rows.to_be_bytes()].concat())
            .await;
    }

    pub async fn sync(&mut self) -> Vec<Message> {
        self.send(b'S', b"").await;
        self.until_ready().await
    }

    /// The next message; nothing when the server has hung up.
    pub async fn receive(&mut self) -> Option<Message> {
        let kind = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_i32().await.ok()?;
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Message {
            kind: char::from(kind),
            body,
        })
    }

    /// Everything up to ReadyForQuery, which is the last, or to the end of the connection.
    pub async fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.receive().await {
            let ready = message.kind == 'Z';
            messages.push(message);
            if ready {
                break;
            }
        }
        messages
    }
}

/// The values of the rows among messages, as text; `None` is NULL.
pub fn rows(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    messages
        .iter()
        .filter(|message| message.kind == 'D')
        .map(|message| row(&message.body))
        .collect()
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let (count, mut rest) = body.split_first_chunk::<2>().unwrap();
    let mut values = Vec::new();
    for _ in 0..i16::from_be_bytes(*count) {
        let (length, values_left) = rest.split_first_chunk::<4>().unwrap();
        rest = values_left;
        values.push(
            usize::try_from(i32::from_be_bytes(*length))
                .ok()
                .map(|length| {
                    let (value, values_left) = rest.split_at(length);
                    rest = values_left;
                    String::from_utf8_lossy(value).into_owned()
                }),
        );
    }
    values
}

/// The kinds of messages, in order.
pub fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| message.kind).collect()
}

/// The first error among messages.
pub fn error(messages: &[Message]) -> &Message {
    messages
        .iter()
        .find(|message| message.kind == 'E')
        .unwrap_or_else(|| panic!("{messages:?}"))
}
