//! Bytes and texts that nobody meant: no panic, no garbled answer, no server that doesn't answer the next client.
//!
//! Inputs are made from those in `fuzz/corpus`, by changes that a seed decides. A second each runs in CI; for more:
//! `FUZZ_SECONDS=600 FUZZ_SEED=1 cargo test --workspace --test it fuzz::`. What fails is kept in `fuzz/failures`, and
//! belongs into the corpus when it is mended.

use std::fs;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use funnelsql::audit::{without_literals, without_secrets};
use funnelsql::server::{STACK_BYTES, ServerOptions};
use funnelsql::sql::{Statement, StatementKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::TestServer;

/// Panics of this process that aren't expected, with their places.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes panics instead of printing them, but those of tests.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            // pgwire reads past the end of a short message; that becomes an error where it is called.
            if place.contains("/pgwire-") || place.contains("/bytes-") {
                return;
            }
            if !place.starts_with("tests/") {
                PANICS
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(info.to_string());
            }
            before(info);
        }));
    });
}

fn panics() -> Vec<String> {
    std::mem::take(&mut PANICS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`, which is above 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A part of a text of that length.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..start + self.below((length - start).min(40) + 1)
    }
}

/// Numbers where something may overflow.
const EDGES: [i32; 10] = [0, 1, -1, 3, 4, 255, 32_767, 65_535, i32::MAX, i32::MIN];

fn mutate(dice: &mut Dice, input: &mut Vec<u8>, others: &[Vec<u8>], words: &[&str]) {
    for _ in 0..=dice.below(6) {
        let length = input.len();
        match dice.below(9) {
            0 if length > 0 => {
                let at = dice.below(length);
                input[at] ^= 1 << dice.below(8);
            }
            1 if length > 0 => {
                let at = dice.below(length);
                input[at] = u8::try_from(dice.below(256)).unwrap();
            }
            2 => drop(input.drain(dice.range(length))),
            3 => {
                let part = input[dice.range(length)].to_vec();
                let at = dice.below(length + 1);
                input.splice(at..at, part);
            }
            4 => {
                let other = dice.one_of(others);
                let part = other[dice.range(other.len())].to_vec();
                let at = dice.below(length + 1);
                input.splice(at..at, part);
            }
            5 if length >= 4 => {
                let at = dice.below(length - 3);
                let edge = *dice.one_of(&EDGES);
                input[at..at + 4].copy_from_slice(&edge.to_be_bytes());
            }
            6 if length > 0 => input.truncate(dice.below(length)),
            _ => {
                let word = dice.one_of(words).as_bytes().to_vec();
                let range = dice.range(length);
                input.splice(range, word);
            }
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder("corpus").join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The same seed makes the same inputs everywhere.
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Keeps an input, and ends the test.
fn fail(target: &str, input: &[u8], why: &str) -> ! {
    let failures = folder("failures");
    fs::create_dir_all(&failures).unwrap();
    let name = format!(
        "{target}-{:016x}",
        Dice(input.iter().fold(0, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        }))
        .next()
    );
    fs::write(failures.join(&name), input).unwrap();
    panic!(
        "{target}: {why}\nfuzz/failures/{name}: {}",
        String::from_utf8_lossy(input)
    );
}

/// Runs `check` on each input of the corpus, then on changed ones until the time is over.
fn each_input(target: &str, words: &[&str], mut check: impl FnMut(&[u8])) {
    watch_panics();
    let seeds = corpus(target);
    let mut dice = Dice(number("FUZZ_SEED", 1));
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 1));
    seeds.iter().for_each(|seed| check(seed));
    let mut count = 0;
    while Instant::now() < until {
        let mut input = dice.one_of(&seeds).clone();
        mutate(&mut dice, &mut input, &seeds, words);
        check(&input);
        count += 1;
    }
    eprintln!("{target}: {count} inputs");
}

const SQL_WORDS: [&str; 60] = [
    "SELECT ",
    " FROM ",
    " WHERE ",
    " UNION ",
    "(",
    ")",
    ",",
    ";",
    "'",
    "''",
    "\"",
    "$$",
    "$1",
    "$99999",
    "::",
    "->>",
    "[",
    "]",
    "{",
    "}",
    "/*",
    "*/",
    "--",
    "\n",
    "\\",
    "E'",
    "U&'",
    "N'",
    "x'",
    "0x",
    "1e999",
    "-",
    "NULL",
    " AS ",
    "CREATE ",
    "ROLE ",
    "PASSWORD ",
    "FUNNEL ",
    "STAGE ",
    " WHEN ",
    "ENTITY ",
    "TIME ",
    "LOST ",
    "WITHIN ",
    "INTERVAL '1 day'",
    "DIMENSIONS (",
    "WINDOW ",
    "COPY ",
    "DECLARE ",
    "FETCH ",
    "EXPLAIN ",
    "PREPARE ",
    "EXECUTE ",
    "漏斗",
    "\u{0}",
    "\u{feff}",
    "𐍈",
    "windowFunnel(",
    "stage_conversion(",
    "9223372036854775808",
];

/// Does work on a thread with the stack that the server's have.
fn with_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work)
        .unwrap();
    if let Err(panic) = thread.join() {
        panic::resume_unwind(panic);
    }
}

fn parse(target: &str, input: &[u8]) -> Vec<Statement> {
    let text = String::from_utf8_lossy(input);
    let parsed = panic::catch_unwind(AssertUnwindSafe(|| {
        // What is written down is made of every text.
        let _ = (without_secrets(&text, false), without_literals(&text));
        let parsed = funnelsql::sql::parse(&text);
        if let Err(error) = &parsed {
            assert_ne!(error.code(), "XX000", "{error}");
            let length = text.chars().count();
            assert!(
                error
                    .position()
                    .is_none_or(|at| (1..=length + 1).contains(&at)),
                "{error:?}"
            );
        }
        parsed.unwrap_or_default()
    }));
    parsed.unwrap_or_else(|_| fail(target, input, &format!("{:?}", panics())))
}

#[test]
fn no_text_makes_the_parser_panic() {
    with_stack(|| {
        each_input("statement", &SQL_WORDS, |input| {
            drop(parse("statement", input))
        })
    });
}

#[test]
fn no_definition_of_a_funnel_panics() {
    with_stack(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .unwrap();
        let (server, session) = runtime.block_on(async {
            let server = TestServer::start().await;
            let session = Arc::new(server.engine.session("funnelsql"));
            (server, session)
        });
        each_input("funnel", &SQL_WORDS, |input| {
            for statement in parse("funnel", input) {
                let ours = matches!(
                    statement.kind,
                    StatementKind::CreateFunnel(_)
                        | StatementKind::DropFunnel { .. }
                        | StatementKind::CommentOnFunnel { .. }
                        | StatementKind::ShowCreateFunnel(_)
                );
                if !ours {
                    continue;
                }
                let session = Arc::clone(&session);
                let run = runtime
                    .spawn(async move { session.execute_statement(statement).await.map(drop) });
                match runtime.block_on(run) {
                    Ok(Err(error)) if error.code() == "XX000" => {
                        fail("funnel", input, &error.to_string())
                    }
                    Ok(_) => {}
                    Err(_) => fail("funnel", input, &format!("{:?}", panics())),
                }
            }
        });
        drop(server);
    });
}

/// A startup packet that lets its client in, with a limit that keeps statements short.
fn greeting() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0ana\0database\0funnelsql\0options\0-c statement_timeout=300ms\0\0";
    [
        u32::try_from(body.len() + 4)
            .unwrap()
            .to_be_bytes()
            .as_slice(),
        body,
    ]
    .concat()
}

/// Messages as kinds and bodies; the rest that isn't one is left out.
fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut messages = Vec::new();
    while bytes.len() >= 5 {
        let length = usize::try_from(u32::from_be_bytes(bytes[1..5].try_into().unwrap())).unwrap();
        let end = (length + 1).clamp(5, bytes.len());
        messages.push((bytes[0], bytes[5..end].to_vec()));
        bytes = &bytes[end..];
    }
    messages
}

/// Changes messages, and frames them again: most with the length that they have.
fn mutate_messages(dice: &mut Dice, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = dice.one_of(seeds);
    let mut parts = messages(seed);
    for _ in 0..=dice.below(3) {
        let other: &Vec<u8> = dice.one_of(seeds);
        let others = messages(other);
        let bodies: Vec<Vec<u8>> = others.iter().map(|(_, body)| body.clone()).collect();
        if parts.is_empty() || bodies.is_empty() {
            continue;
        }
        let at = dice.below(parts.len());
        match dice.below(6) {
            0 => parts.insert(at, dice.one_of(&others).clone()),
            1 => drop(parts.remove(at)),
            2 => parts[at].0 = *dice.one_of(b"QPBDECHSXdcfpF\0\xff"),
            _ => mutate(dice, &mut parts[at].1, &bodies, &SQL_WORDS),
        }
    }
    let mut bytes = Vec::new();
    for (kind, body) in parts {
        let length = match dice.below(30) {
            0 => *dice.one_of(&EDGES),
            _ => i32::try_from(body.len() + 4).unwrap(),
        };
        bytes.push(kind);
        bytes.extend(length.to_be_bytes());
        bytes.extend(body);
    }
    bytes
}

/// Sends bytes, hangs up, and reads all that comes.
async fn talk(address: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have hung up before.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    match timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await {
        // It is reset when the server didn't read to the end.
        Ok(_) => Some(answer),
        Err(_) => None,
    }
}

/// What is wrong with an answer behind a login.
fn fault(answer: &[u8]) -> Option<String> {
    let mut rest = answer;
    while !rest.is_empty() {
        let Some(head) = rest.first_chunk::<5>() else {
            return Some(format!("cut: {rest:?}"));
        };
        let length = usize::try_from(u32::from_be_bytes(head[1..].try_into().unwrap())).unwrap();
        if length < 4 || length + 1 > rest.len() || !b"RSKZTDCEINt123snAGHWdcv".contains(&head[0]) {
            return Some(format!("no message: {:?}", &rest[..rest.len().min(40)]));
        }
        let body = &rest[5..=length];
        if head[0] == b'E' && body.windows(7).any(|part| part == b"\0CXX000") {
            return Some(String::from_utf8_lossy(body).into_owned());
        }
        rest = &rest[length + 1..];
    }
    None
}

async fn server() -> TestServer {
    let options = ServerOptions {
        login_timeout: Duration::from_secs(5),
        login_failures: 0,
        ..ServerOptions::new("127.0.0.1:0")
    };
    TestServer::start_as(options, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_panics_or_is_answered_with_garbage() {
    watch_panics();
    let server = server().await;
    let seeds = corpus("message");
    let mut dice = Dice(number("FUZZ_SEED", 1));
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 1));
    let mut inputs = seeds.clone();
    let mut count = 0;
    while let Some(input) = inputs.pop() {
        let bytes = [greeting(), input.clone()].concat();
        let answer = talk(server.address, &bytes).await;
        let fault = match &answer {
            None => Some("no answer".to_owned()),
            Some(answer) => fault(answer),
        };
        let panics = panics();
        if let Some(fault) = fault.or_else(|| panics.first().cloned()) {
            fail("message", &input, &format!("{fault} {panics:?}"));
        }
        count += 1;
        if inputs.is_empty() && Instant::now() < until {
            inputs.push(mutate_messages(&mut dice, &seeds));
        }
    }
    let client = server.client().await;
    client.query("SELECT 1", &[]).await.unwrap();
    eprintln!("message: {count} inputs");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_startup_packet_panics_or_keeps_others_out() {
    watch_panics();
    let server = server().await;
    let seeds = corpus("startup");
    let words = [
        "user\0",
        "database\0",
        "options\0",
        "-c ",
        "\0",
        "\0\0",
        "_pq_.x\0",
        "replication\0",
    ];
    let mut dice = Dice(number("FUZZ_SEED", 1));
    let until = Instant::now() + Duration::from_secs(number("FUZZ_SECONDS", 1));
    let mut inputs = seeds.clone();
    let mut count = 0;
    while let Some(input) = inputs.pop() {
        if talk(server.address, &input).await.is_none() {
            fail("startup", &input, "no answer");
        }
        let panics = panics();
        if !panics.is_empty() {
            fail("startup", &input, &format!("{panics:?}"));
        }
        count += 1;
        if inputs.is_empty() && Instant::now() < until {
            let mut next = dice.one_of(&seeds).clone();
            mutate(&mut dice, &mut next, &seeds, &words);
            if next.len() >= 4 && dice.below(3) > 0 {
                let length = u32::try_from(next.len()).unwrap();
                next[..4].copy_from_slice(&length.to_be_bytes());
            }
            inputs.push(next);
        }
    }
    let client = server.client().await;
    client.query("SELECT 1", &[]).await.unwrap();
    eprintln!("startup: {count} inputs");
}
