//! Messages in the encoding that the client speaks.
//!
//! Their texts are UTF-8 to everybody but the socket: they are decoded before a message is read, and encoded after it was
//! written. Values are not among them: whether a value is a text depends on its type ([`super::parameters`],
//! [`super::rows`]), and what is copied on its format ([`super::copy`]).

use std::borrow::Cow;
use std::ops::Range;

use bytes::BytesMut;

use crate::postgres::encoding::{Encoding, EncodingFault};

/// A message's kind and length.
const HEADER: usize = 5;
/// What stands behind a column's name in a RowDescription: numbers of its table, type, sizes and format.
const COLUMN: usize = 18;

/// Writes the texts of a client's message as UTF-8.
///
/// # Errors
/// 22021 and 22P05, for bytes that are no text.
pub fn received(encoding: &Encoding, message: &mut BytesMut) -> Result<(), EncodingFault> {
    let body = &message[HEADER..];
    let texts = texts_of(message[0], body);
    // The NULs between texts are theirs; one in a text can't be told from them.
    let read: Vec<Cow<str>> = body[texts.clone()]
        .split(|byte| *byte == 0)
        .map(|text| encoding.decode(text))
        .collect::<Result<_, _>>()?;
    if read.iter().all(|text| matches!(text, Cow::Borrowed(_))) {
        return Ok(());
    }
    let read = read.join("\0");
    let body = [&body[..texts.start], read.as_bytes(), &body[texts.end..]].concat();
    replace(message, 0, &body);
    Ok(())
}

/// Where a client's message has texts, one beside another.
fn texts_of(kind: u8, body: &[u8]) -> Range<usize> {
    let nul = |which: usize| {
        let nuls = body.iter().enumerate().filter(|(_, byte)| **byte == 0);
        nuls.map(|(at, _)| at).nth(which).unwrap_or(body.len())
    };
    match kind {
        b'Q' | b'f' => 0..body.len(),
        // A name and a statement; a portal and a statement's name.
        b'P' | b'B' => 0..nul(1),
        b'E' => 0..nul(0),
        // What it is about, and its name.
        b'D' | b'C' => 1.min(body.len())..body.len(),
        _ => 0..0,
    }
}

/// Writes the texts of a message to the client, which begins at `from` and is the last one, in its encoding. A character
/// that it doesn't have is a question mark: names of columns are looked at before.
pub fn sent(encoding: &Encoding, buffer: &mut BytesMut, from: usize) {
    if encoding.is_own() || buffer[from..].is_ascii() {
        return;
    }
    let body = &buffer[from + HEADER..];
    let body = match buffer[from] {
        // Fields of a kind and a text; a tag; a setting and its value.
        b'E' | b'N' | b'C' | b'S' => written(encoding, body),
        // The other connection, the channel, the text.
        b'A' if body.len() > 4 => [&body[..4], written(encoding, &body[4..]).as_slice()].concat(),
        b'T' => columns(encoding, body),
        _ => return,
    };
    replace(buffer, from, &body);
}

fn written(encoding: &Encoding, texts: &[u8]) -> Vec<u8> {
    let texts = String::from_utf8_lossy(texts);
    encoding.encode_what_can_be(&texts).into_owned()
}

fn columns(encoding: &Encoding, body: &[u8]) -> Vec<u8> {
    let (count, mut rest) = body.split_at(2.min(body.len()));
    let mut result = count.to_vec();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        result.extend(written(encoding, &rest[..end]));
        let next = (end + 1 + COLUMN).min(rest.len());
        result.extend_from_slice(&rest[end..next]);
        rest = &rest[next..];
    }
    result
}

/// Gives the message that begins at `from` another body.
fn replace(buffer: &mut BytesMut, from: usize, body: &[u8]) {
    // A text in another encoding has a few times its length at most, and the longest message is far from the bound.
    let length = i32::try_from(body.len() + 4).unwrap_or(i32::MAX);
    buffer[from + 1..from + HEADER].copy_from_slice(&length.to_be_bytes());
    buffer.truncate(from + HEADER);
    buffer.extend_from_slice(body);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> BytesMut {
        let length = i32::try_from(body.len() + 4).unwrap();
        BytesMut::from(
            [&[kind], length.to_be_bytes().as_slice(), body]
                .concat()
                .as_slice(),
        )
    }

    fn gbk() -> &'static Encoding {
        Encoding::named("GBK").unwrap()
    }

    #[test]
    fn texts_of_messages_are_decoded_and_nothing_else() {
        for (kind, body, expected) in [
            (
                b'Q',
                &b"select '\xc2\xa9'\0"[..],
                "select '漏'\0".as_bytes(),
            ),
            (
                b'P',
                b"\xc2\xa9\0\xb6\xb7\0\0\x01\xc2\xa9\xc2\xa9",
                b"\xe6\xbc\x8f\0\xe6\x96\x97\0\0\x01\xc2\xa9\xc2\xa9",
            ),
            (
                b'B',
                b"\xc2\xa9\0\0\0\0\xc2\xa9",
                b"\xe6\xbc\x8f\0\0\0\0\xc2\xa9",
            ),
            (b'D', b"S\xc2\xa9\0", "S漏\0".as_bytes()),
            (
                b'E',
                b"\xc2\xa9\0\0\0\xc2\xa9",
                b"\xe6\xbc\x8f\0\0\0\xc2\xa9",
            ),
            (b'd', b"\xc2\xa9", b"\xc2\xa9"),
        ] {
            let mut given = message(kind, body);
            received(gbk(), &mut given).unwrap();
            assert_eq!(given, message(kind, expected), "{}", char::from(kind));
        }
        // A character's second half is a backslash or a quote only to those who don't know its first.
        let mut given = message(b'Q', b"select '\x81\x5c'\0");
        received(gbk(), &mut given).unwrap();
        assert_eq!(given, message(b'Q', "select '乗'\0".as_bytes()));
        let mut given = message(b'Q', b"select '\xc2'\0");
        assert_eq!(
            received(gbk(), &mut given).unwrap_err().code(),
            "22P05",
            "the quote is the second half of nothing"
        );
    }

    #[test]
    fn texts_of_answers_are_encoded() {
        for (kind, body, expected) in [
            (
                b'E',
                "SERROR\0M漏é\0\0".as_bytes(),
                &b"SERROR\0M\xc2\xa9\xa8\xa6\0\0"[..],
            ),
            (b'N', "M😀\0\0".as_bytes(), b"M?\0\0"),
            (
                b'A',
                b"\0\0\xe6\xbc\xe6\xbc\x8f\0\0",
                b"\0\0\xe6\xbc\xc2\xa9\0\0",
            ),
            (
                b'D',
                b"\0\x01\0\0\0\x02\xc2\xa9",
                b"\0\x01\0\0\0\x02\xc2\xa9",
            ),
        ] {
            let mut buffer = message(b'Z', b"I");
            let from = buffer.len();
            buffer.extend_from_slice(&message(kind, body));
            sent(gbk(), &mut buffer, from);
            assert_eq!(&buffer[from..], &message(kind, expected)[..]);
        }
        let column = |name: &[u8]| [name, &[0], &[0xe6; COLUMN]].concat();
        let mut buffer = message(
            b'T',
            &[&b"\0\x02"[..], &column("漏".as_bytes()), &column(b"n")].concat(),
        );
        sent(gbk(), &mut buffer, 0);
        let expected = [&b"\0\x02"[..], &column(b"\xc2\xa9"), &column(b"n")].concat();
        assert_eq!(buffer, message(b'T', &expected));
    }
}
