//! The encodings of text that a client can speak: PostgreSQL's, by its names.
//!
//! Inside, all text is UTF-8. What a client sends is decoded as it arrives, what it gets is encoded as it leaves. The
//! tables are those of the web (`encoding_rs`), changed where PostgreSQL 15 has another character (`exceptions.txt`); they
//! are made when an encoding is first used, and take about half a megabyte each.

mod table;

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::OnceLock;

use encoding_rs as web;
use thiserror::Error;

use table::Table;

/// Text that can't be read, or can't be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodingFault {
    /// Bytes that no text of the encoding has.
    #[error("invalid byte sequence for encoding \"{encoding}\": {bytes}")]
    Invalid {
        /// The encoding.
        encoding: &'static str,
        /// The bytes, as `0xe4 0x20`.
        bytes: String,
    },
    /// A character that the other encoding doesn't have.
    #[error(
        "character with byte sequence {bytes} in encoding \"{from}\" has no equivalent in encoding \"{to}\""
    )]
    Untranslatable {
        /// The character's bytes.
        bytes: String,
        /// The encoding that has it.
        from: &'static str,
        /// The one that hasn't.
        to: &'static str,
    },
}

impl EncodingFault {
    /// The five-character SQLSTATE.
    pub fn code(&self) -> &'static str {
        match self {
            EncodingFault::Invalid { .. } => "22021",
            EncodingFault::Untranslatable { .. } => "22P05",
        }
    }
}

/// An encoding of PostgreSQL's.
#[derive(Debug)]
pub struct Encoding {
    /// Its name, as `SHOW client_encoding` has it.
    pub name: &'static str,
    shape: Shape,
    source: Source,
    table: OnceLock<Table>,
}

/// How many bytes a character has, and which they may be. All have ASCII as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// As UTF-8.
    Utf8,
    /// One byte.
    Byte,
    /// Two.
    Pair,
    /// Two that both have their high bit.
    Euc,
    /// The same, and three behind 8F.
    EucJp,
    /// Two, and one for half a kana.
    Sjis,
    /// Two or four.
    Gb18030,
}

/// Where the characters come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// They are the server's own.
    Own,
    /// The encoding of the web that is nearest.
    Web(&'static web::Encoding),
    /// Nobody has them here.
    Missing,
}

const fn of(name: &'static str, shape: Shape, web: &'static web::Encoding) -> Encoding {
    Encoding {
        name,
        shape,
        source: Source::Web(web),
        table: OnceLock::new(),
    }
}

const fn own(name: &'static str) -> Encoding {
    Encoding {
        name,
        shape: Shape::Utf8,
        source: Source::Own,
        table: OnceLock::new(),
    }
}

const fn missing(name: &'static str) -> Encoding {
    Encoding {
        name,
        shape: Shape::Pair,
        source: Source::Missing,
        table: OnceLock::new(),
    }
}

/// UTF-8, which is what the server has inside.
pub static UTF8: &Encoding = &ENCODINGS[6];

/// All of them, at the places of their numbers in PostgreSQL.
static ENCODINGS: [Encoding; 42] = [
    // Bytes that nobody looks at: clients get what is there.
    own("SQL_ASCII"),
    of("EUC_JP", Shape::EucJp, web::EUC_JP),
    of("EUC_CN", Shape::Euc, web::GBK),
    of("EUC_KR", Shape::Euc, web::EUC_KR),
    missing("EUC_TW"),
    missing("EUC_JIS_2004"),
    own("UTF8"),
    missing("MULE_INTERNAL"),
    of("LATIN1", Shape::Byte, web::WINDOWS_1252),
    of("LATIN2", Shape::Byte, web::ISO_8859_2),
    of("LATIN3", Shape::Byte, web::ISO_8859_3),
    of("LATIN4", Shape::Byte, web::ISO_8859_4),
    of("LATIN5", Shape::Byte, web::WINDOWS_1254),
    of("LATIN6", Shape::Byte, web::ISO_8859_10),
    of("LATIN7", Shape::Byte, web::ISO_8859_13),
    of("LATIN8", Shape::Byte, web::ISO_8859_14),
    of("LATIN9", Shape::Byte, web::ISO_8859_15),
    of("LATIN10", Shape::Byte, web::ISO_8859_16),
    of("WIN1256", Shape::Byte, web::WINDOWS_1256),
    of("WIN1258", Shape::Byte, web::WINDOWS_1258),
    of("WIN866", Shape::Byte, web::IBM866),
    of("WIN874", Shape::Byte, web::WINDOWS_874),
    of("KOI8R", Shape::Byte, web::KOI8_R),
    of("WIN1251", Shape::Byte, web::WINDOWS_1251),
    of("WIN1252", Shape::Byte, web::WINDOWS_1252),
    of("ISO_8859_5", Shape::Byte, web::ISO_8859_5),
    of("ISO_8859_6", Shape::Byte, web::ISO_8859_6),
    of("ISO_8859_7", Shape::Byte, web::ISO_8859_7),
    of("ISO_8859_8", Shape::Byte, web::ISO_8859_8),
    of("WIN1250", Shape::Byte, web::WINDOWS_1250),
    of("WIN1253", Shape::Byte, web::WINDOWS_1253),
    of("WIN1254", Shape::Byte, web::WINDOWS_1254),
    of("WIN1255", Shape::Byte, web::WINDOWS_1255),
    of("WIN1257", Shape::Byte, web::WINDOWS_1257),
    of("KOI8U", Shape::Byte, web::KOI8_U),
    of("SJIS", Shape::Sjis, web::SHIFT_JIS),
    of("BIG5", Shape::Pair, web::BIG5),
    of("GBK", Shape::Pair, web::GBK),
    of("UHC", Shape::Pair, web::EUC_KR),
    of("GB18030", Shape::Gb18030, web::GB18030),
    missing("JOHAB"),
    missing("SHIFT_JIS_2004"),
];

/// Other names, as letters and digits alone.
const ALIASES: [(&str, &str); 39] = [
    ("abc", "WIN1258"),
    ("alt", "WIN866"),
    ("iso88591", "LATIN1"),
    ("iso885910", "LATIN6"),
    ("iso885913", "LATIN7"),
    ("iso885914", "LATIN8"),
    ("iso885915", "LATIN9"),
    ("iso885916", "LATIN10"),
    ("iso88592", "LATIN2"),
    ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"),
    ("iso88599", "LATIN5"),
    ("koi8", "KOI8R"),
    ("mskanji", "SJIS"),
    ("shiftjis", "SJIS"),
    ("tcvn", "WIN1258"),
    ("tcvn5712", "WIN1258"),
    ("unicode", "UTF8"),
    ("vscii", "WIN1258"),
    ("win", "WIN1251"),
    ("win932", "SJIS"),
    ("win936", "GBK"),
    ("win949", "UHC"),
    ("win950", "BIG5"),
    ("windows1250", "WIN1250"),
    ("windows1251", "WIN1251"),
    ("windows1252", "WIN1252"),
    ("windows1253", "WIN1253"),
    ("windows1254", "WIN1254"),
    ("windows1255", "WIN1255"),
    ("windows1256", "WIN1256"),
    ("windows1257", "WIN1257"),
    ("windows1258", "WIN1258"),
    ("windows866", "WIN866"),
    ("windows874", "WIN874"),
    ("windows932", "SJIS"),
    ("windows936", "GBK"),
    ("windows949", "UHC"),
    ("windows950", "BIG5"),
];

// There is one encoding of a name.
impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Encoding {}

impl Encoding {
    /// The encoding of that name, whatever its case and signs; also one that nothing can be converted to.
    pub fn named(name: &str) -> Option<&'static Self> {
        let plain = |name: &str| {
            let letters = name.chars().filter(char::is_ascii_alphanumeric);
            letters.collect::<String>().to_lowercase()
        };
        let wanted = plain(name);
        let wanted = match ALIASES.iter().find(|(alias, _)| *alias == wanted) {
            Some((_, name)) => plain(name),
            None => wanted,
        };
        ENCODINGS
            .iter()
            .find(|encoding| plain(encoding.name) == wanted)
    }

    /// The encoding that `COPY`'s option names.
    ///
    /// # Errors
    /// 22023 where nothing can be converted to and from it.
    pub fn for_copy(name: &str) -> Result<&'static Self, crate::error::Error> {
        let named = Self::named(name).filter(|encoding| encoding.is_supported());
        named.ok_or_else(|| crate::error::Error::InvalidSetting {
            message: "argument to option \"encoding\" must be a valid encoding name".to_owned(),
            hint: None,
        })
    }

    /// What turns its bytes into UTF-8 piece by piece; nothing where they are that already.
    pub fn decoder(&self) -> Option<web::Decoder> {
        match self.source {
            Source::Web(encoding) => Some(encoding.new_decoder_without_bom_handling()),
            Source::Own | Source::Missing => None,
        }
    }

    /// The encoding of that number.
    pub fn numbered(number: i64) -> Option<&'static Self> {
        usize::try_from(number)
            .ok()
            .and_then(|number| ENCODINGS.get(number))
    }

    /// Its number in PostgreSQL.
    pub fn number(&self) -> i32 {
        let place = ENCODINGS
            .iter()
            .position(|encoding| encoding.name == self.name);
        place
            .and_then(|place| i32::try_from(place).ok())
            .unwrap_or(-1)
    }

    /// Whether text can be converted to and from it.
    pub fn is_supported(&self) -> bool {
        !matches!(self.source, Source::Missing)
    }

    /// Whether text is sent as it is kept.
    pub fn is_own(&self) -> bool {
        matches!(self.source, Source::Own)
    }

    /// Bytes of the encoding as text.
    ///
    /// # Errors
    /// 22021 for bytes that no text has, and for a NUL; 22P05 for a character that Unicode doesn't have.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, str>, EncodingFault> {
        if let Some(at) = bytes.iter().position(|byte| *byte == 0)
            && self.is_own()
        {
            return Err(UTF8.invalid(&bytes[at..=at]));
        }
        if self.is_own() || bytes.is_ascii() {
            return match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Cow::Borrowed(text)),
                Err(error) => Err(UTF8.invalid(UTF8.character(&bytes[error.valid_up_to()..]))),
            };
        }
        let table = self.table();
        let mut text = String::with_capacity(bytes.len() + bytes.len() / 2);
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if first.is_ascii() {
                text.push(char::from(*first));
                rest = &rest[1..];
                continue;
            }
            let character = self.character(rest);
            if !self.is_formed(character) {
                return Err(self.invalid(character));
            }
            match table.character(character) {
                Some(found) => text.push(found),
                None => return Err(untranslatable(character, self, UTF8)),
            }
            rest = &rest[character.len()..];
        }
        Ok(Cow::Owned(text))
    }

    /// Text as bytes of the encoding.
    ///
    /// # Errors
    /// 22P05 for a character that the encoding doesn't have.
    pub fn encode<'a>(&self, text: &'a str) -> Result<Cow<'a, [u8]>, EncodingFault> {
        if self.is_own() || text.is_ascii() {
            return Ok(Cow::Borrowed(text.as_bytes()));
        }
        let table = self.table();
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            if !table.write(character, &mut bytes) {
                let mut buffer = [0; 4];
                let character = character.encode_utf8(&mut buffer).as_bytes();
                return Err(untranslatable(character, UTF8, self));
            }
        }
        Ok(Cow::Owned(bytes))
    }

    /// Text as bytes of the encoding, with a question mark for every character that it doesn't have.
    pub fn encode_what_can_be<'a>(&self, text: &'a str) -> Cow<'a, [u8]> {
        self.encode(text).unwrap_or_else(|_| {
            let table = self.table();
            let mut bytes = Vec::with_capacity(text.len());
            for character in text.chars() {
                if !table.write(character, &mut bytes) {
                    bytes.push(b'?');
                }
            }
            Cow::Owned(bytes)
        })
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| match self.source {
            Source::Web(web) => Table::new(self.name, self.shape, web),
            Source::Own | Source::Missing => Table::empty(),
        })
    }

    /// The bytes of the first character, as far as they are there.
    fn character<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let length = match (self.shape, bytes) {
            (Shape::Byte, _) | (_, [..=0x7f, ..] | []) => 1,
            (Shape::Sjis, [0xa1..=0xdf, ..]) => 1,
            (Shape::EucJp, [0x8f, ..]) => 3,
            (Shape::Gb18030, [_, 0x30..=0x39, ..]) => 4,
            (Shape::Utf8, [0xe0..=0xef, ..]) => 3,
            (Shape::Utf8, [0xf0..=0xf7, ..]) => 4,
            (Shape::Utf8, [..=0xbf | 0xf8.., ..]) => 1,
            _ => 2,
        };
        &bytes[..length.min(bytes.len())]
    }

    /// Whether these are the bytes of a character, although there may be none.
    fn is_formed(&self, character: &[u8]) -> bool {
        let high = |byte: &u8| (0xa1..=0xfe).contains(byte);
        match (self.shape, character) {
            (Shape::Byte, [_]) => true,
            (Shape::Pair, [_, second]) => *second != 0,
            (Shape::Euc, [first, second]) => high(first) && high(second),
            (Shape::EucJp, [0x8e, second]) => (0xa1..=0xdf).contains(second),
            (Shape::EucJp, [0x8f, second, third]) => high(second) && high(third),
            (Shape::EucJp, [first, second]) => high(first) && high(second),
            (Shape::Sjis, [0xa1..=0xdf]) => true,
            (Shape::Sjis, [0x81..=0x9f | 0xe0..=0xfc, 0x40..=0x7e | 0x80..=0xfc]) => true,
            (Shape::Gb18030, [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe]) => true,
            (Shape::Gb18030, [0x81..=0xfe, 0x30..=0x39, 0x81..=0xfe, 0x30..=0x39]) => true,
            _ => false,
        }
    }

    fn invalid(&self, bytes: &[u8]) -> EncodingFault {
        EncodingFault::Invalid {
            encoding: self.name,
            bytes: listed(bytes),
        }
    }
}

fn untranslatable(bytes: &[u8], from: &Encoding, to: &Encoding) -> EncodingFault {
    EncodingFault::Untranslatable {
        bytes: listed(bytes),
        from: from.name,
        to: to.name,
    }
}

fn listed(bytes: &[u8]) -> String {
    let mut list = String::new();
    for byte in bytes {
        let space = if list.is_empty() { "" } else { " " };
        // Writing to a text can't fail.
        let _ = write!(list, "{space}0x{byte:02x}");
    }
    list
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn encoding(name: &str) -> &'static Encoding {
        Encoding::named(name).unwrap()
    }

    #[test]
    fn names_are_postgres_names() {
        for (name, expected) in [
            ("utf-8", "UTF8"),
            ("Unicode", "UTF8"),
            ("latin1", "LATIN1"),
            ("ISO-8859-15", "LATIN9"),
            ("iso_8859_5", "ISO_8859_5"),
            ("windows-1252", "WIN1252"),
            ("Windows-950", "BIG5"),
            ("shift_jis", "SJIS"),
            ("gb18030", "GB18030"),
            ("euc-cn", "EUC_CN"),
            ("johab", "JOHAB"),
        ] {
            assert_eq!(Encoding::named(name).unwrap().name, expected, "{name}");
        }
        assert!(Encoding::named("klingon").is_none());
        assert!(!encoding("JOHAB").is_supported());
        // pg_char_to_encoding() of PostgreSQL 15.18
        for (name, number) in [("UTF8", 6), ("GBK", 37), ("GB18030", 39), ("KOI8U", 34)] {
            assert_eq!(encoding(name).number(), number);
            assert_eq!(Encoding::numbered(number.into()).unwrap().name, name);
        }
    }

    /// Expected: PostgreSQL 15.18, `convert_to(text, encoding)`.
    #[test]
    fn text_is_written_and_read_back() {
        for (name, text, bytes) in [
            ("GBK", "漏斗€", &b"\xc2\xa9\xb6\xb7\x80"[..]),
            ("GB18030", "漏斗😀", b"\xc2\xa9\xb6\xb7\x94\x39\xfc\x36"),
            ("EUC_CN", "漏斗―", b"\xc2\xa9\xb6\xb7\xa1\xaa"),
            ("BIG5", "漏斗", b"\xba\x7c\xa4\xe6"),
            ("SJIS", "ﾊファネル", b"\xca\x83\x74\x83\x40\x83\x6c\x83\x8b"),
            ("EUC_JP", "漏斗丂", b"\xcf\xb3\xc5\xcd\x8f\xb0\xa1"),
            ("EUC_KR", "깔때기", b"\xb1\xf2\xb6\xa7\xb1\xe2"),
            ("LATIN1", "Zürich\u{85}", b"Z\xfcrich\x85"),
            ("WIN1252", "€ Zürich", b"\x80 Z\xfcrich"),
            ("KOI8R", "Ж", b"\xf6"),
        ] {
            let encoding = encoding(name);
            assert_eq!(encoding.encode(text).unwrap(), bytes, "{name}");
            // PostgreSQL writes a euro as 80 in GBK and doesn't read it.
            let read = bytes.strip_suffix(b"\x80").unwrap_or(bytes);
            let text = text.trim_end_matches('€');
            assert_eq!(encoding.decode(read).unwrap(), text, "{name}");
        }
    }

    /// Expected: PostgreSQL 15.18, `convert_to` and `convert_from`.
    #[test]
    fn what_has_no_equal_is_named_by_its_bytes() {
        let write = |name: &str, text: &str| encoding(name).encode(text).unwrap_err().to_string();
        assert_eq!(
            write("LATIN1", "漏"),
            "character with byte sequence 0xe6 0xbc 0x8f in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\""
        );
        let read = |name: &str, bytes: &[u8]| {
            let fault = encoding(name).decode(bytes).unwrap_err();
            (fault.code(), fault.to_string())
        };
        assert_eq!(
            read("GBK", b"a\xff\xff"),
            (
                "22P05",
                "character with byte sequence 0xff 0xff in encoding \"GBK\" has no equivalent in encoding \"UTF8\""
                    .to_owned()
            )
        );
        assert_eq!(
            read("GBK", b"a\x80").1,
            "invalid byte sequence for encoding \"GBK\": 0x80"
        );
        assert_eq!(
            read("EUC_CN", b"\xb6\x20").1,
            "invalid byte sequence for encoding \"EUC_CN\": 0xb6 0x20"
        );
        assert_eq!(
            read("UTF8", b"\xe4\x20\x20"),
            (
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xe4 0x20 0x20".to_owned()
            )
        );
        assert_eq!(
            encoding("WIN1252").encode_what_can_be("é漏").as_ref(),
            b"\xe9?"
        );
    }

    #[test]
    fn every_character_is_read_as_it_was_written() {
        for encoding in ENCODINGS.iter().filter(|encoding| encoding.is_supported()) {
            let mut count = 0;
            for character in ('\u{80}'..='\u{ffff}').chain(['\u{10000}', '\u{1f600}', '\u{10ffff}'])
            {
                let text = character.to_string();
                let Ok(bytes) = encoding.encode(&text) else {
                    continue;
                };
                count += 1;
                match encoding.decode(&bytes) {
                    Ok(read) => {
                        // Some are written as another that looks alike.
                        let again = encoding.encode(&read).unwrap();
                        assert_eq!(again, bytes, "{} {text}", encoding.name);
                    }
                    Err(_) => assert_eq!((encoding.name, text.as_str()), ("GBK", "€")),
                }
            }
            assert!(count > 80, "{}: {count}", encoding.name);
        }
    }
}
