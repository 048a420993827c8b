//! Values that are texts, in the encoding that the client speaks.
//!
//! A value in text format is a text whatever its type is. In binary, those of the text types are, and the elements of
//! their arrays.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use pgwire::api::Type;
use pgwire::api::results::FieldFormat;

use crate::error::{Error, Result};
use crate::postgres::encoding::{Encoding, EncodingFault, UTF8};

/// An array's number of dimensions, flags and type of its elements, as bytes.
const LIST_HEADER: usize = 12;
/// A dimension's length and first number.
const DIMENSION: usize = 8;

/// Whether a value's bytes are a text.
pub fn is_text(kind: &Type, format: FieldFormat) -> bool {
    format == FieldFormat::Text
        || matches!(
            *kind,
            Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::UNKNOWN
                | Type::JSON
                | Type::JSONB
                | Type::XML
        )
}

/// Whether a value in binary is an array of texts.
pub fn is_text_list(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::TEXT_ARRAY
            | Type::VARCHAR_ARRAY
            | Type::BPCHAR_ARRAY
            | Type::NAME_ARRAY
            | Type::JSON_ARRAY
            | Type::JSONB_ARRAY
    )
}

/// A text of ours as the client reads it.
///
/// # Errors
/// 22P05 for a character that it can't read.
pub fn encode<'a>(encoding: &Encoding, text: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    match std::str::from_utf8(text) {
        Ok(text) => Ok(encoding.encode(text).map_err(Error::Encoding)?),
        Err(_) => UTF8
            .decode(text)
            .map(|_| Cow::Borrowed(text))
            .map_err(Error::Encoding),
    }
}

/// A text of the client's as we read it.
///
/// # Errors
/// 22021 and 22P05 for bytes that are no text.
pub fn decode<'a>(encoding: &Encoding, text: &'a [u8]) -> Result<Cow<'a, [u8]>, EncodingFault> {
    Ok(match encoding.decode(text)? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// An array of our texts as the client reads it.
///
/// # Errors
/// 22P05 for a character that it can't read.
pub fn encode_list<'a>(encoding: &Encoding, list: &'a [u8]) -> Result<Cow<'a, [u8]>> {
    each(list, |text| encode(encoding, text))
}

/// An array of the client's texts as we read it.
///
/// # Errors
/// 22021 and 22P05 for bytes that are no text.
pub fn decode_list<'a>(
    encoding: &Encoding,
    list: &'a [u8],
) -> Result<Cow<'a, [u8]>, EncodingFault> {
    each(list, |text| decode(encoding, text))
}

/// The elements of an array in binary, those of all its dimensions; nothing for bytes that are none.
pub fn elements(list: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let dimensions = usize::try_from(i32::from_be_bytes(*list.first_chunk::<4>()?)).ok()?;
    let mut rest = list.get(LIST_HEADER.checked_add(DIMENSION.checked_mul(dimensions)?)?..)?;
    let mut elements = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        rest = after;
        elements.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => None,
            Ok(length) => {
                let (element, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(element)
            }
        });
    }
    rest.is_empty().then_some(elements)
}

/// An array with each of its elements changed; one whose elements can't be found is as it was, for its reader to refuse.
fn each<'a, E>(
    list: &'a [u8],
    change: impl Fn(&'a [u8]) -> Result<Cow<'a, [u8]>, E>,
) -> Result<Cow<'a, [u8]>, E> {
    let dimensions = list
        .first_chunk::<4>()
        .map_or(0, |count| i32::from_be_bytes(*count));
    let header = LIST_HEADER + DIMENSION * usize::try_from(dimensions).unwrap_or(0).min(6);
    let Some(mut rest) = list.get(header..) else {
        return Ok(Cow::Borrowed(list));
    };
    let mut result = BytesMut::from(&list[..header]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        rest = after;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => result.put_slice(length),
            Ok(length) if length > rest.len() => return Ok(Cow::Borrowed(list)),
            Ok(length) => {
                let (text, after) = rest.split_at(length);
                rest = after;
                let text = change(text)?;
                result.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
                result.put_slice(&text);
            }
        }
    }
    result.put_slice(rest);
    Ok(Cow::Owned(result.to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_an_array_are_converted_and_absent_ones_stay() {
        let gbk = Encoding::named("GBK").unwrap();
        let list = |first: &[u8]| {
            let mut list = BytesMut::new();
            for number in [1, 1, 25, 2, 1] {
                list.put_i32(number);
            }
            list.put_i32(i32::try_from(first.len()).unwrap());
            list.put_slice(first);
            list.put_i32(-1);
            list.to_vec()
        };
        let (ours, theirs) = (list("漏".as_bytes()), list(b"\xc2\xa9"));
        assert_eq!(encode_list(gbk, &ours).unwrap(), theirs);
        assert_eq!(decode_list(gbk, &theirs).unwrap(), ours);
        for short in [&[][..], &[0, 0, 0, 1], &ours[..ours.len() - 9]] {
            assert_eq!(encode_list(gbk, short).unwrap(), short);
            assert_eq!(elements(short), None);
        }
        assert_eq!(elements(&ours), Some(vec![Some("漏".as_bytes()), None]));
        assert_eq!(elements(&[0; 12]), Some(Vec::new()));
        let fault = encode_list(gbk, &list("😀".as_bytes())).unwrap_err();
        assert_eq!(fault.code(), "22P05");
    }
}
