//! The characters of an encoding, both ways.

use std::collections::HashMap;

use encoding_rs::Encoding;

use super::Shape;

/// The first character beyond those of two bytes in UTF-16.
const SUPPLEMENTARY: u32 = 0x1_0000;
/// Where they begin in GB18030, which counts them.
const SUPPLEMENTARY_GB18030: u32 = 0x9030_8130;

/// What bytes stand for, and how characters are written. Bytes are a number, the first one being its highest.
#[derive(Debug)]
pub struct Table {
    /// The character of one and two bytes; 0 where there is none.
    characters: Vec<u32>,
    /// Those of more.
    long: HashMap<u32, u32>,
    /// The bytes of a character below U+10000; 0 where there are none.
    codes: Vec<u32>,
    /// Whether the characters above are counted as GB18030 does.
    counts_supplementary: bool,
}

impl Table {
    /// Without a character.
    pub fn empty() -> Self {
        Self {
            characters: vec![0; 1 << 16],
            long: HashMap::new(),
            codes: vec![0; 1 << 16],
            counts_supplementary: false,
        }
    }

    /// The characters that `web` has, as PostgreSQL has them under `name`.
    pub fn new(name: &str, shape: Shape, web: &'static Encoding) -> Self {
        let mut table = Self::empty();
        table.counts_supplementary = shape == Shape::Gb18030;
        table.read_web(name, shape, web);
        let rules = include_str!("exceptions.txt")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(encoding, _)| *encoding == name)
            .map_or("", |(_, rules)| rules);
        let rules: Vec<Rule> = rules.split(' ').filter_map(Rule::read).collect();
        for rule in rules.iter().filter(|rule| rule.kind != Kind::Written) {
            for (code, character) in rule.pairs() {
                table.put(code, character);
            }
        }
        table.invert(web);
        for rule in rules.iter().filter(|rule| rule.kind == Kind::Written) {
            for (code, character) in rule.pairs() {
                table.write_as(character, code);
                if code > 0xffff {
                    table.put(code, character);
                }
            }
        }
        table
    }

    fn read_web(&mut self, name: &str, shape: Shape, web: &'static Encoding) {
        for first in 0x80..=0xff_u8 {
            self.read(name, shape, web, &[first]);
            for second in 1..=0xff_u8 {
                self.read(name, shape, web, &[first, second]);
            }
        }
        if shape == Shape::EucJp {
            for second in 0xa1..=0xfe_u8 {
                for third in 0xa1..=0xfe_u8 {
                    self.read(name, shape, web, &[0x8f, second, third]);
                }
            }
        }
    }

    /// Takes the character that `web` has for these bytes, if PostgreSQL may have it too.
    fn read(&mut self, name: &str, shape: Shape, web: &'static Encoding, bytes: &[u8]) {
        let Some(text) = web.decode_without_bom_handling_and_without_replacement(bytes) else {
            return;
        };
        let mut characters = text.chars().map(u32::from);
        let (Some(character), None) = (characters.next(), characters.next()) else {
            return;
        };
        // The web gives a meaning to every byte: controls to those that have none.
        let is_control = bytes == [0x80] && shape != Shape::Byte
            || name.starts_with("WIN") && (0x80..0xa0).contains(&character);
        let is_private = (0xe000..0xf900).contains(&character)
            && matches!(name, "GBK" | "SJIS" | "EUC_CN" | "EUC_JP");
        let is_outside = shape == Shape::Euc && bytes.iter().any(|byte| *byte < 0xa1);
        if character >= 0x80 && !is_control && !is_private && !is_outside {
            self.put(number(bytes), character);
        }
    }

    /// Bytes stand for a character, or for none where it is 0.
    fn put(&mut self, code: u32, character: u32) {
        match self.characters.get_mut(place(code)) {
            Some(found) => *found = character,
            None => drop(self.long.insert(code, character)),
        }
    }

    fn write_as(&mut self, character: u32, code: u32) {
        if let Some(found) = self.codes.get_mut(place(character)) {
            *found = code;
        }
    }

    /// A character is written as the least of its bytes, unless the web prefers others of them.
    fn invert(&mut self, web: &'static Encoding) {
        let short = (0_u32..)
            .zip(&self.characters)
            .map(|(code, found)| (*found, code));
        let long = self.long.iter().map(|(code, found)| (*found, *code));
        let mut long: Vec<_> = long.filter(|(found, _)| *found != 0).collect();
        long.sort_by_key(|(_, code)| std::cmp::Reverse(*code));
        let pairs: Vec<_> = short.filter(|(found, _)| *found != 0).collect();
        for (character, code) in long.into_iter().chain(pairs.into_iter().rev()) {
            self.write_as(character, code);
        }
        for character in '\u{80}'..='\u{ffff}' {
            let mut buffer = [0; 4];
            let (bytes, _, unknown) = web.encode(character.encode_utf8(&mut buffer));
            if unknown {
                continue;
            }
            let (code, character) = (number(&bytes), u32::from(character));
            let known = self
                .characters
                .get(place(code))
                .or_else(|| self.long.get(&code));
            if known == Some(&character) {
                self.write_as(character, code);
            } else if self.counts_supplementary && bytes.len() == 4 {
                self.write_as(character, code);
                self.put(code, character);
            }
        }
    }

    /// The character that the bytes stand for.
    pub fn character(&self, bytes: &[u8]) -> Option<char> {
        let code = number(bytes);
        let found = match self.characters.get(place(code)) {
            Some(found) => *found,
            None => match self.long.get(&code) {
                Some(found) => *found,
                None if self.counts_supplementary => {
                    counted(code).checked_sub(counted(SUPPLEMENTARY_GB18030))? + SUPPLEMENTARY
                }
                None => 0,
            },
        };
        char::from_u32(found).filter(|character| *character != '\0')
    }

    /// Adds a character's bytes; whether there are any.
    pub fn write(&self, character: char, bytes: &mut Vec<u8>) -> bool {
        if character.is_ascii() {
            bytes.extend(u8::try_from(character));
            return true;
        }
        let character = u32::from(character);
        let code = match self.codes.get(place(character)) {
            Some(code) => *code,
            None if self.counts_supplementary => {
                uncounted(character - SUPPLEMENTARY + counted(SUPPLEMENTARY_GB18030))
            }
            None => 0,
        };
        let written = code.to_be_bytes();
        let skipped = written.iter().take_while(|byte| **byte == 0).count();
        bytes.extend_from_slice(&written[skipped..]);
        code != 0
    }
}

/// What four bytes of GB18030 count, which have 126, 10, 126 and 10 values each.
fn counted(code: u32) -> u32 {
    let [a, b, c, d] = code.to_be_bytes().map(u32::from);
    let digit = |byte: u32, least: u32| byte.saturating_sub(least);
    ((digit(a, 0x81) * 10 + digit(b, 0x30)) * 126 + digit(c, 0x81)) * 10 + digit(d, 0x30)
}

fn uncounted(count: u32) -> u32 {
    let (d, count) = (count % 10, count / 10);
    let (c, count) = (count % 126, count / 126);
    let (b, a) = (count % 10, count / 10);
    (a + 0x81) << 24 | (b + 0x30) << 16 | (c + 0x81) << 8 | (d + 0x30)
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn place(code: u32) -> usize {
    usize::try_from(code).unwrap_or(usize::MAX)
}

/// A difference from the web's table.
struct Rule {
    kind: Kind,
    first: u32,
    last: u32,
    character: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Removed,
    Read,
    Written,
}

impl Rule {
    /// `-a..b`, `a..b=c`, `a..b<c`, where `a` alone is `a..a`.
    fn read(text: &str) -> Option<Self> {
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let (kind, codes, character) = if let Some(codes) = text.strip_prefix('-') {
            (Kind::Removed, codes, 0)
        } else if let Some((codes, character)) = text.split_once('=') {
            (Kind::Read, codes, hex(character)?)
        } else {
            let (codes, character) = text.split_once('<')?;
            (Kind::Written, codes, hex(character)?)
        };
        let (first, last) = codes.split_once("..").unwrap_or((codes, codes));
        Some(Self {
            kind,
            first: hex(first)?,
            last: hex(last)?,
            character,
        })
    }

    fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        let removed = self.kind == Kind::Removed;
        let (first, character) = (self.first, self.character);
        (self.first..=self.last)
            .map(move |code| (code, if removed { 0 } else { character + code - first }))
    }
}
