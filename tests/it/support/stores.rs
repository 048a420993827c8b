//! Stores of files for tests: one that speaks S3, by moto in Python, and one that speaks HTTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A store that speaks S3; gone with the test.
pub struct S3 {
    pub url: String,
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl S3 {
    /// Nothing where Python with moto isn't installed, which it says.
    pub fn start() -> Option<Self> {
        let has_moto = Command::new("python3")
            .args(["-c", "import moto.server, boto3"])
            .stderr(Stdio::null())
            .status();
        if !has_moto.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no moto (python3 -m pip install 'moto[server]')");
            return None;
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/s3.py");
        let mut process = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let orders = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut store = Self {
            url: String::new(),
            process,
            orders,
            answers,
        };
        store.url = store.answer().remove(0);
        Some(store)
    }

    fn answer(&mut self) -> Vec<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// `bucket NAME`, `user NAME BUCKET`, `guard`, `delete BUCKET KEY`, `list BUCKET PREFIX`, `stop`, `start`
    pub fn order(&mut self, words: &[&str]) -> Vec<String> {
        let line = serde_json::to_string(words).unwrap();
        writeln!(self.orders, "{line}").unwrap();
        self.orders.flush().unwrap();
        self.answer()
    }

    pub fn put(&mut self, bucket: &str, key: &str, content: &[u8]) {
        let content = BASE64_STANDARD.encode(content);
        self.order(&["put", bucket, key, &content]);
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server of files that speaks HTTP.
#[derive(Clone, Default)]
pub struct Http {
    files: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    /// What has to be in `Authorization`.
    pub wants: Arc<Mutex<Option<String>>>,
    pub port: u16,
}

impl Http {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            ..Self::default()
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        server
    }

    pub fn put(&self, path: &str, content: &[u8]) {
        let mut files = self.files.lock().unwrap();
        files.insert(path.to_owned(), content.to_vec());
    }

    async fn serve(self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut bytes).await.ok()? == 0 {
                    return None;
                }
            }
            let request = String::from_utf8(std::mem::take(&mut bytes)).ok()?;
            let (head, body) = self.answer(&request);
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
    }

    fn answer(&self, request: &str) -> (String, Vec<u8>) {
        let mut words = request.split_whitespace();
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let header = |name: &str| {
            let mut lines = request.lines().filter_map(|line| line.split_once(": "));
            lines
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        let wants = self.wants.lock().unwrap().clone();
        if wants.is_some() && header("authorization") != wants.as_deref() {
            return (
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Vec::new(),
            );
        }
        let files = self.files.lock().unwrap();
        let Some(content) = files.get(path) else {
            return (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
                Vec::new(),
            );
        };
        let whole = content.len();
        let range = header("range").and_then(|range| range.strip_prefix("bytes="));
        let (start, end) = match range.and_then(|range| range.split_once('-')) {
            None => (0, whole),
            Some(("", last)) => (whole.saturating_sub(last.parse().unwrap()), whole),
            Some((first, "")) => (first.parse().unwrap(), whole),
            Some((first, last)) => (
                first.parse().unwrap(),
                (last.parse::<usize>().unwrap() + 1).min(whole),
            ),
        };
        let status = match range {
            Some(_) => format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{whole}",
                end - 1
            ),
            None => "200 OK".to_owned(),
        };
        let part = content[start..end].to_vec();
        let head = format!(
            "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\r\n",
            part.len()
        );
        match method {
            "HEAD" => (head, Vec::new()),
            _ => (head, part),
        }
    }
}
