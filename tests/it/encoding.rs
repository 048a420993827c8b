//! Clients that speak another encoding than UTF-8, by the bytes that they send and get.

use crate::support::TestServer;
use crate::support::raw::{Message, RawClient, error, kinds};

/// Whether a message holds these bytes.
fn holds(messages: &[Message], kind: char, bytes: &[u8]) -> bool {
    let mut bodies = messages.iter().filter(|message| message.kind == kind);
    bodies.any(|message| message.body.windows(bytes.len()).any(|part| part == bytes))
}

/// `漏斗` in GBK.
const FUNNEL: &[u8] = b"\xc2\xa9\xb6\xb7";

async fn query(client: &mut RawClient, sql: &[u8]) -> Vec<Message> {
    client.send(b'Q', &[sql, b"\0"].concat()).await;
    client.until_ready().await
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_names_and_errors_are_the_clients() {
    let server = TestServer::start().await;
    let parameters = [("user", "ana"), ("client_encoding", "gbk")];
    let mut client = RawClient::connect(server.address, &parameters).await;
    assert!(holds(&client.greeting, 'S', b"client_encoding\0GBK\0"));
    let sql = [
        b"SELECT '",
        FUNNEL,
        b"' AS \"",
        FUNNEL,
        b"\", length('",
        FUNNEL,
        b"')",
    ]
    .concat();
    let told = query(&mut client, &sql).await;
    assert_eq!(kinds(&told), "TDCZ");
    assert!(holds(&told, 'T', FUNNEL) && holds(&told, 'D', FUNNEL));
    assert!(holds(&told, 'D', b"\0\0\0\x012"), "it has two characters");
    let told = query(&mut client, &[b"SELECT \"", FUNNEL, b"\""].concat()).await;
    assert!(holds(&told, 'E', FUNNEL));
    // The second half of 乗 is a backslash, and that of a cut character is a quote.
    let told = query(&mut client, b"SELECT '\x81\\', 'x'").await;
    assert!(holds(&told, 'D', b"\0\0\0\x02\x81\\"));
    let told = query(&mut client, b"SELECT '\xc2'").await;
    assert_eq!(error(&told).field('C').as_deref(), Some("22P05"));
    assert_eq!(
        error(&query(&mut client, b"SELECT 1\x81").await)
            .field('C')
            .as_deref(),
        Some("22021")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_and_results_are_converted_in_both_formats() {
    let server = TestServer::start().await;
    let parameters = [("user", "ana"), ("client_encoding", "GB18030")];
    let mut client = RawClient::connect(server.address, &parameters).await;
    for format in [0_u8, 1] {
        client
            .parse("SELECT $1::text, convert_to($1::text, 'UTF8'), ARRAY[$1::text]")
            .await;
        let length = [0, 0, 0, 4];
        let body = [
            b"\0\0\0\x01\0",
            &[format][..],
            b"\0\x01",
            &length,
            FUNNEL,
            b"\0\x01\0",
            &[format],
        ];
        client.send(b'B', &body.concat()).await;
        client.execute(0).await;
        let told = client.sync().await;
        assert_eq!(kinds(&told), "12DCZ");
        let row = told.iter().find(|message| message.kind == 'D').unwrap();
        let count = row.body.windows(4).filter(|part| *part == FUNNEL).count();
        assert_eq!(count, 2, "the text, and the array's element");
        let utf8 = match format {
            0 => b"\\xe6bc8fe69697".as_slice(),
            _ => "漏斗".as_bytes(),
        };
        assert!(holds(&told, 'D', utf8), "bytes stay as they are");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_cannot_read_is_an_error_and_settings_are_told() {
    let server = TestServer::start().await;
    let mut client = RawClient::start(server.address).await;
    let told = query(&mut client, b"SET client_encoding = 'iso-8859-1'").await;
    assert!(holds(&told, 'S', b"client_encoding\0LATIN1\0"));
    assert!(holds(
        &query(&mut client, b"SELECT 'Z\xfcrich'").await,
        'D',
        b"Z\xfcrich"
    ));
    for (sql, code) in [
        ("SELECT chr(28431)", "22P05"),
        (
            "SELECT 1 AS a, chr(28431) FROM generate_series(1, 3)",
            "22P05",
        ),
        ("SET client_encoding TO klingon", "22023"),
        ("SET client_encoding TO johab", "0A000"),
    ] {
        let told = query(&mut client, sql.as_bytes()).await;
        assert_eq!(error(&told).field('C').as_deref(), Some(code), "{sql}");
    }
    // A function and a rollback change it too.
    let told = query(
        &mut client,
        b"SELECT set_config('client_encoding', 'WIN1252', false)",
    )
    .await;
    assert!(holds(&told, 'S', b"client_encoding\0WIN1252\0"));
    let told = query(&mut client, b"BEGIN; SET client_encoding = 'SJIS'").await;
    assert!(holds(&told, 'S', b"client_encoding\0SJIS\0"));
    let told = query(&mut client, b"ROLLBACK").await;
    assert!(holds(&told, 'S', b"client_encoding\0WIN1252\0"));
    assert!(holds(
        &query(&mut client, b"SELECT '\x80'").await,
        'D',
        b"\x80"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_in_the_clients_encoding_or_in_one_that_they_name() {
    let server = TestServer::start().await;
    let parameters = [("user", "ana"), ("client_encoding", "BIG5")];
    let mut client = RawClient::connect(server.address, &parameters).await;
    query(&mut client, b"CREATE TEMP TABLE words (word text, n int)").await;
    let big5 = b"\xba\x7c\xa4\xe6";
    client
        .send(b'Q', b"COPY words FROM STDIN (FORMAT csv)\0")
        .await;
    assert_eq!(client.receive().await.unwrap().kind, 'G');
    client
        .send(b'd', &[big5.as_slice(), b",1\n"].concat())
        .await;
    client.send(b'c', b"").await;
    assert_eq!(kinds(&client.until_ready().await), "CZ");
    // The second half of the first character is the delimiter.
    let told = query(&mut client, b"COPY words TO STDOUT (DELIMITER '|')").await;
    assert!(holds(&told, 'd', &[big5.as_slice(), b"|1\n"].concat()));
    let told = query(&mut client, b"COPY words TO STDOUT (ENCODING 'UTF8')").await;
    assert!(holds(&told, 'd', "漏斗\t1\n".as_bytes()));
    let told = query(&mut client, b"COPY words TO STDOUT (ENCODING 'LATIN1')").await;
    assert_eq!(error(&told).field('C').as_deref(), Some("22P05"));
}
