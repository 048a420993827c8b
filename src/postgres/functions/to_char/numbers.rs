//! Numbers by a template such as `FM999,990.00`: written by `to_char`, read by `to_number`. Both go through the template token by
//! token as Postgres does, because where a sign, a space or a zero goes depends on all that was written before.

use datafusion::error::DataFusionError;

use super::{is_in_one_case, ordinal_ending, roman, rounded, scientific};
use crate::error::Fault;
use crate::postgres::casts::invalid;
use crate::postgres::function::{Result, fault};

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Token {
    Digit {
        is_zero: bool,
    },
    Point,
    Group,
    Currency,
    Roman {
        is_small: bool,
    },
    Ordinal {
        is_upper: bool,
    },
    Minus,
    Plus,
    Sign,
    /// One that changes the others and writes nothing itself.
    Silent,
    Text(char),
}

/// Where the sign of `S` stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Anchor {
    #[default]
    None,
    Before,
    Behind,
}

/// A template, and what all of it says.
#[derive(Debug, Default)]
struct Template {
    tokens: Vec<Token>,
    /// Digits before the point, and behind it.
    before: usize,
    behind: usize,
    /// Digits behind the V: the number is multiplied by so many tens.
    shift: usize,
    has_shift: bool,
    has_point: bool,
    /// The place of the first 0 before the point.
    zero_start: Option<usize>,
    /// The places up to the last 0.
    zero_end: usize,
    anchor: Anchor,
    /// The digits before the S.
    anchor_place: usize,
    is_bare: bool,
    has_minus: bool,
    has_plus: bool,
    has_bracket: bool,
    is_roman: bool,
    is_scientific: bool,
    has_blank: bool,
}

const KEYWORDS: [&str; 20] = [
    "EEEE", "FM", "MI", "PL", "PR", "RN", "SG", "SP", "TH", ",", ".", "0", "9", "B", "C", "D", "G",
    "L", "S", "V",
];

impl Template {
    /// # Errors
    /// 42601 for tokens that don't go together.
    fn read(text: &str) -> Result<Self> {
        let mut template = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(word) = keyword(rest) {
                let is_small = rest.starts_with(|c: char| c.is_ascii_lowercase());
                template.add(word, is_small)?;
                rest = &rest[word.len()..];
                continue;
            }
            if first == '"' {
                rest = template.quoted(&rest[1..]);
                continue;
            }
            // A backslash is itself, except before a quote.
            rest = rest
                .strip_prefix('\\')
                .filter(|after| after.starts_with('"'))
                .unwrap_or(rest);
            let mut characters = rest.chars();
            template.tokens.extend(characters.next().map(Token::Text));
            rest = characters.as_str();
        }
        Ok(template)
    }

    /// Takes over a text up to its quote; gives back what is behind it.
    fn quoted<'a>(&mut self, text: &'a str) -> &'a str {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let character = match character {
                '"' => break,
                '\\' => characters.next().unwrap_or('\\'),
                other => other,
            };
            self.tokens.push(Token::Text(character));
        }
        characters.as_str()
    }

    fn add(&mut self, word: &str, is_small: bool) -> Result<()> {
        if self.is_scientific {
            return wrong(match word {
                "EEEE" => "cannot use \"EEEE\" twice",
                _ => "\"EEEE\" must be the last pattern used",
            });
        }
        let has_anchor = self.anchor != Anchor::None;
        let has_sign = self.has_minus || self.has_plus;
        let token = match word {
            "9" | "0" if self.has_bracket => {
                return wrong(format!("\"{word}\" must be ahead of \"PR\""));
            }
            "9" => {
                match (self.has_shift, self.has_point) {
                    (true, _) => self.shift += 1,
                    (false, true) => self.behind += 1,
                    (false, false) => self.before += 1,
                }
                Token::Digit { is_zero: false }
            }
            "0" => {
                match self.has_point {
                    true => self.behind += 1,
                    false => {
                        self.zero_start.get_or_insert(self.before);
                        self.before += 1;
                    }
                }
                self.zero_end = self.before + self.behind;
                Token::Digit { is_zero: true }
            }
            "." | "D" if self.has_point => return wrong("multiple decimal points"),
            "." | "D" if self.has_shift => {
                return wrong("cannot use \"V\" and decimal point together");
            }
            "." | "D" => {
                self.has_point = true;
                Token::Point
            }
            "V" if self.has_point => {
                return wrong("cannot use \"V\" and decimal point together");
            }
            "V" => {
                self.has_shift = true;
                Token::Silent
            }
            "," | "G" => Token::Group,
            "L" => Token::Currency,
            "S" if has_anchor => return wrong("cannot use \"S\" twice"),
            "S" if has_sign || self.has_bracket => {
                return wrong("cannot use \"S\" and \"PL\"/\"MI\"/\"SG\"/\"PR\" together");
            }
            "S" => {
                self.anchor = match self.has_point {
                    true => Anchor::Behind,
                    false => Anchor::Before,
                };
                self.anchor_place = self.before;
                Token::Silent
            }
            "MI" | "PL" | "SG" if has_anchor => {
                return wrong(format!("cannot use \"S\" and \"{word}\" together"));
            }
            "MI" => {
                self.has_minus = true;
                Token::Minus
            }
            "PL" => {
                self.has_plus = true;
                Token::Plus
            }
            "SG" => {
                self.has_minus = true;
                self.has_plus = true;
                Token::Sign
            }
            "PR" if has_anchor || has_sign => {
                return wrong("cannot use \"PR\" and \"S\"/\"PL\"/\"MI\"/\"SG\" together");
            }
            "PR" => {
                self.has_bracket = true;
                Token::Silent
            }
            "RN" => {
                self.is_roman = true;
                Token::Roman { is_small }
            }
            "TH" => Token::Ordinal {
                is_upper: !is_small,
            },
            "FM" => {
                self.is_bare = true;
                Token::Silent
            }
            "EEEE" => {
                let others = [
                    self.has_blank,
                    self.is_bare,
                    has_anchor,
                    self.has_bracket,
                    has_sign,
                    self.is_roman,
                    self.has_shift,
                ];
                if others.contains(&true) {
                    return wrong("\"EEEE\" is incompatible with other formats");
                }
                self.is_scientific = true;
                Token::Silent
            }
            "B" => {
                self.has_blank |= self.before == 0 && self.behind == 0;
                Token::Silent
            }
            _ => Token::Silent,
        };
        self.tokens.push(token);
        Ok(())
    }
}

/// The keyword at the start, in large letters or in small ones.
fn keyword(text: &str) -> Option<&'static str> {
    KEYWORDS.into_iter().find(|word| {
        let start = text.get(..word.len());
        start.is_some_and(|start| is_in_one_case(start, word))
    })
}

fn wrong<T>(message: impl Into<String>) -> Result<T> {
    fault(Fault::Syntax, message)
}

/// A number by a template. `certain_digits` are those that a binary number has.
///
/// # Errors
/// 42601 for a template that is none.
pub fn number_text(number: &str, template: &str, certain_digits: Option<usize>) -> Result<String> {
    let mut template = Template::read(template)?;
    if template.tokens.is_empty() {
        return Ok(String::new());
    }
    if template.is_scientific {
        return Ok(scientific(number, template.behind));
    }
    if template.is_roman {
        let roman = roman(number);
        // Nothing else than the letters counts then.
        template.anchor = Anchor::None;
        template.has_bracket = false;
        return Ok(Writer::new(&template, &roman, '\0').written());
    }
    let shifted = in_digits(number, &template, certain_digits);
    template.before += template.shift;
    if certain_digits.is_some()
        && let Some((_, part)) = shifted.split_once('.')
    {
        template.behind = part.len();
    }
    let (sign, digits) = match shifted.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', shifted.as_str()),
    };
    let whole = digits.find('.').unwrap_or(digits.len());
    if whole > template.before {
        let hashes = "#".repeat(template.before);
        let behind = "#".repeat(template.behind);
        return Ok(Writer::new(&template, &format!("{hashes}.{behind}"), sign).written());
    }
    Ok(Writer::new(&template, digits, sign).written())
}

/// The number with as many digits behind its point as the template has, multiplied for the V.
fn in_digits(number: &str, template: &Template, certain_digits: Option<usize>) -> String {
    let shift = template.shift;
    if let (Some(certain), Ok(value)) = (certain_digits, number.parse::<f64>()) {
        if value.is_nan() {
            return "NaN".to_owned();
        }
        if value.is_infinite() {
            return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
        }
        let value = value * 10_f64.powi(i32::try_from(shift).unwrap_or(i32::MAX));
        let whole = format!("{:.0}", value.abs()).len();
        let behind = template.behind.min(certain.saturating_sub(whole));
        return format!("{value:.behind$}");
    }
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", number),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return number.to_owned();
    }
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let padded = format!("{part:0<shift$}");
    let (more, part) = padded.split_at(shift);
    let text = rounded(&format!("{whole}{more}.{part}"), template.behind);
    let trimmed = text.trim_start_matches('0');
    let text = match trimmed.starts_with(|c: char| c.is_ascii_digit()) {
        true => trimmed.to_owned(),
        false => format!("0{trimmed}"),
    };
    match text.contains(|c: char| matches!(c, '1'..='9')) {
        true => format!("{sign}{text}"),
        false => text,
    }
}

/// A number on its way through a template.
struct Writer<'a> {
    template: &'a Template,
    number: &'a str,
    /// The next character of the number.
    at: usize,
    /// `+`, `-`, or nothing for Roman numbers.
    sign: char,
    is_sign_written: bool,
    anchor: Anchor,
    has_bracket: bool,
    /// The places before the first digit.
    spaces: usize,
    /// How many places there are; a sign may take one.
    count: usize,
    place: usize,
    /// Whether a digit was just written.
    in_number: bool,
    /// The last digit that counts, or the point, where spaces are left out.
    last_relevant: Option<usize>,
    out: String,
}

impl<'a> Writer<'a> {
    fn new(template: &'a Template, number: &'a str, sign: char) -> Self {
        let is_bare = template.is_bare;
        let has_sign = template.has_minus || template.has_plus;
        let whole = number.find('.').unwrap_or(number.len());
        let spaces = template.before.saturating_sub(whole);
        let is_sign_written = match has_sign {
            true => template.has_minus,
            false => sign == '+' && is_bare && template.anchor == Anchor::None,
        };
        let anchor = match template.anchor {
            Anchor::Before if template.before == template.anchor_place => Anchor::Behind,
            anchor => anchor,
        };
        let point = number.find('.').filter(|_| is_bare && template.has_point);
        let last_relevant = point.map(|point| {
            let kept = number.rfind(|c: char| c != '0').unwrap_or(point).max(point);
            // Zeros that the template has stay.
            match template.zero_end.checked_sub(spaces) {
                Some(last @ 1..) => kept.max(last.min(number.len() - 1)),
                _ => kept,
            }
        });
        let places = template.before + template.behind;
        let has_place = !is_sign_written && spaces == 0;
        Self {
            template,
            number,
            at: 0,
            sign,
            is_sign_written,
            anchor,
            has_bracket: template.has_bracket && !(is_bare && sign != '-'),
            spaces,
            count: places + usize::from(has_place),
            place: 0,
            in_number: false,
            last_relevant,
            out: String::new(),
        }
    }

    fn written(mut self) -> String {
        let template = self.template;
        for token in &template.tokens {
            self.write(*token);
        }
        // A number that ended before its template ends the text.
        if let Some(end) = self.out.find('\0') {
            self.out.truncate(end);
        }
        self.out
    }

    fn write(&mut self, token: Token) {
        let is_bare = self.template.is_bare;
        match token {
            Token::Digit { is_zero } => self.digit(is_zero),
            Token::Point => self.digit(false),
            Token::Group if self.in_number => self.out.push(','),
            Token::Group if is_bare => {}
            // The sign of the currency, which the locale C has none of.
            Token::Group | Token::Currency => self.out.push(' '),
            Token::Roman { is_small } => {
                let roman = match is_small {
                    true => self.number.to_lowercase(),
                    false => self.number.to_owned(),
                };
                self.out.push_str(&match is_bare {
                    true => roman,
                    false => format!("{roman:>15}"),
                });
            }
            Token::Ordinal { is_upper } => {
                let is_plain =
                    self.sign == '+' && !self.template.has_point && !self.number.starts_with('#');
                if is_plain {
                    self.out.push_str(ordinal_ending(self.number, is_upper));
                }
            }
            Token::Minus => match self.sign {
                '-' => self.out.push('-'),
                _ if is_bare => {}
                _ => self.out.push(' '),
            },
            Token::Plus => match self.sign {
                '+' => self.out.push('+'),
                _ if is_bare => {}
                _ => self.out.push(' '),
            },
            Token::Sign => self.out.push(self.sign),
            Token::Silent => {}
            Token::Text(character) => self.out.push(character),
        }
    }

    fn current(&self) -> char {
        self.number[self.at..].chars().next().unwrap_or('\0')
    }

    /// Whether only the point is left of the digits.
    fn ends_at_point(&self) -> bool {
        self.last_relevant
            .is_some_and(|last| self.number[last..].starts_with('.'))
    }

    /// Whether the digit is the zero of `0.1` by `9.9`.
    fn is_zero_before_point(&self) -> bool {
        let template = self.template;
        template.zero_start.is_none()
            && self.at == 0
            && self.number.starts_with('0')
            && template.behind != 0
    }

    /// A digit, or the point.
    fn digit(&mut self, is_zero: bool) {
        if self.template.is_roman {
            return;
        }
        self.in_number = false;
        let zero_start = self.template.zero_start;
        let is_bare = self.template.is_bare;
        let is_due = self.place >= self.spaces || zero_start == Some(self.place);
        if !self.is_sign_written && is_due && (!self.is_zero_before_point() || self.ends_at_point())
        {
            self.sign();
        }
        if self.place >= self.spaces {
            self.figure(is_zero);
        } else if zero_start.is_some_and(|start| start <= self.place) {
            self.out.push('0');
            self.in_number = true;
        } else if !is_bare {
            self.out.push(' ');
        }
        let places =
            self.count + usize::from(self.spaces != 0) + usize::from(self.template.has_point);
        if self.place + 2 == places && self.last_relevant != Some(self.at) {
            if self.is_sign_written && self.has_bracket {
                self.out.push(if self.sign == '+' { ' ' } else { '>' });
            } else if self.anchor == Anchor::Behind {
                self.out.push(if self.sign == '-' { '-' } else { '+' });
            }
        }
        self.place += 1;
    }

    /// The sign before the first digit.
    fn sign(&mut self) {
        match (self.anchor, self.has_bracket) {
            (Anchor::Before, _) => self.out.push(if self.sign == '-' { '-' } else { '+' }),
            (Anchor::Behind, _) => return,
            (Anchor::None, true) => self.out.push(if self.sign == '+' { ' ' } else { '<' }),
            (Anchor::None, false) if self.sign == '-' => self.out.push('-'),
            (Anchor::None, false) if !self.template.is_bare => self.out.push(' '),
            (Anchor::None, false) => {}
        }
        self.is_sign_written = true;
    }

    /// The next character of the number.
    fn figure(&mut self, is_zero: bool) {
        let character = self.current();
        let is_irrelevant = self.last_relevant.is_some_and(|last| self.at > last);
        if character == '.' {
            self.out.push('.');
        } else if is_irrelevant && !is_zero {
            // Zeros at the end are left out.
        } else if self.is_zero_before_point() {
            match (self.template.is_bare, self.ends_at_point()) {
                (false, _) => self.out.push(' '),
                (true, true) => self.out.push('0'),
                (true, false) => {}
            }
        } else {
            self.out.push(character);
            self.in_number = true;
        }
        if character != '\0' {
            self.at += character.len_utf8();
        }
    }
}

/// The number in a text by a template; nothing by an empty one.
///
/// # Errors
/// 22P02 where there is no digit, 42601 for a template that is none, 0A000 for one that only writes.
pub fn number_of(text: &str, template: &str) -> Result<Option<String>> {
    let template = Template::read(template)?;
    if template.tokens.is_empty() {
        return Ok(None);
    }
    let unread = [(template.is_roman, "RN"), (template.is_scientific, "EEEE")];
    if let Some((_, word)) = unread.iter().find(|(is_there, _)| *is_there) {
        return Err(DataFusionError::NotImplemented(format!(
            "\"{word}\" not supported for input"
        )));
    }
    let mut reader = Reader {
        template: &template,
        input: text.chars().collect(),
        at: 0,
        sign: None,
        digits: String::new(),
        behind: 0,
        has_point: false,
    };
    for token in &template.tokens {
        if reader.next().is_none() {
            break;
        }
        reader.read(*token);
    }
    if !reader.digits.contains(|c: char| c.is_ascii_digit()) {
        return invalid("numeric", text);
    }
    let mut digits = reader.digits;
    if template.shift > 0 {
        let width = template.shift + 1;
        digits = format!("{digits:0>width$}");
        digits.insert(digits.len() - template.shift, '.');
    }
    let sign = if reader.sign == Some('-') { "-" } else { "" };
    Ok(Some(format!("{sign}{digits}")))
}

/// A text on its way through a template.
struct Reader<'a> {
    template: &'a Template,
    input: Vec<char>,
    at: usize,
    sign: Option<char>,
    digits: String,
    /// The digits behind the point that were read.
    behind: usize,
    has_point: bool,
}

impl Reader<'_> {
    fn next(&self) -> Option<char> {
        self.input.get(self.at).copied()
    }

    fn read(&mut self, token: Token) {
        match token {
            Token::Digit { .. } => {
                self.digit(true);
                self.at += 1;
            }
            Token::Point => {
                self.digit(false);
                self.at += 1;
            }
            Token::Group if self.template.is_bare => {}
            Token::Group if self.next() == Some(',') => self.at += 1,
            Token::Currency => self.pass_over(1),
            Token::Ordinal { .. } if !self.template.has_point => self.pass_over(2),
            Token::Minus => self.sign_or_other(&['-']),
            Token::Plus => self.sign_or_other(&['+']),
            Token::Sign => self.sign_or_other(&['-', '+']),
            // Whatever stands in the place of a text.
            Token::Text(_) => self.at += 1,
            Token::Group | Token::Ordinal { .. } | Token::Roman { .. } | Token::Silent => {}
        }
    }

    /// Passes over what is no part of a number.
    fn pass_over(&mut self, most: usize) {
        for _ in 0..most {
            match self.next() {
                Some(next) if !"0123456789.,+-".contains(next) => self.at += 1,
                _ => return,
            }
        }
    }

    fn sign_or_other(&mut self, signs: &[char]) {
        match self.next() {
            Some(sign) if signs.contains(&sign) => {
                self.sign = Some(sign);
                self.at += 1;
            }
            _ => self.pass_over(1),
        }
    }

    /// A digit or the point, with a sign before the first or behind the last of them.
    fn digit(&mut self, is_digit: bool) {
        let template = self.template;
        if self.next() == Some(' ') {
            self.at += 1;
        }
        let has_digits = self.digits.contains(|c: char| c.is_ascii_digit());
        if is_digit && self.sign.is_none() && !has_digits {
            self.leading_sign();
        }
        let Some(next) = self.next() else {
            return;
        };
        let mut is_read = true;
        if next.is_ascii_digit() {
            if self.has_point && self.behind == template.behind {
                return;
            }
            self.digits.push(next);
            self.behind += usize::from(self.has_point);
        } else if template.has_point && !self.has_point && next == '.' {
            self.digits.push('.');
            self.has_point = true;
        } else {
            is_read = false;
        }
        let has_digits = self.digits.contains(|c: char| c.is_ascii_digit());
        if self.sign.is_some() || !has_digits {
            return;
        }
        let is_anchored = template.anchor != Anchor::None;
        if is_anchored && is_read {
            let behind = self.input.get(self.at + 1).copied();
            if let Some(sign) = behind.filter(|sign| matches!(sign, '-' | '+')) {
                self.sign = Some(sign);
                self.at += 1;
            }
        } else if !is_anchored && !is_read && (template.has_plus || template.has_minus) {
            self.sign = Some(next).filter(|sign| matches!(sign, '-' | '+'));
        }
    }

    fn leading_sign(&mut self) {
        let sign = match self.next() {
            Some(sign @ ('-' | '+')) => sign,
            Some('<') if self.template.has_bracket => '-',
            _ => return,
        };
        self.sign = Some(sign);
        self.at += 1;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Expected: PostgreSQL 15.18, `to_char(number, template)`.
    #[test]
    fn numbers_are_written_token_by_token() {
        for (number, template, expected) in [
            ("-12.5", "S999.9", " -12.5"),
            ("1.5", "9V99", " 150"),
            ("100", "999V9", " 1000"),
            ("12.4", "99V999", " 12400"),
            ("-5.55", "9V99MI", "555-"),
            ("3", "9.", " 3"),
            (".45", ".99", " .##"),
            ("5", "PL9", "+ 5"),
            ("-5", "PL9", " -5"),
            ("-5", "FMS99", "-5"),
            ("485", "SG999", "+485"),
            ("-482", "999th", "-482"),
            ("482", "999th", " 482nd"),
            ("12", "99abc", " 12a"),
            ("12", "99\"a\\\"b\"", " 12a\"b"),
            ("12", "\\\"99", "\" 12"),
            ("0", "FM9.9", "0."),
            ("-0.5", "9.99PR", " <.50>"),
            ("2", "9/9", " / 2"),
            ("4.31", "FM99.9999S", "4.31+"),
            ("1234.5", "FM999,999.00", "1,234.50"),
            ("12", "", ""),
        ] {
            let written = number_text(number, template, None).unwrap();
            assert_eq!(written, expected, "{number} {template}");
        }
        let double = |number, template| number_text(number, template, Some(15)).unwrap();
        assert_eq!(double("2.5", "9"), " 2");
        assert_eq!(
            double("123456789.12345679", "999999999.999999999999"),
            " 123456789.123457"
        );
        for template in ["9.9.9", "S9S", "9SMI", "9PR9", "9EEEE9", "9V9.9", "S9EEEE"] {
            assert!(number_text("1", template, None).is_err(), "{template}");
        }
    }

    /// Expected: PostgreSQL 15.18, `to_number(text, template)`.
    #[test]
    fn numbers_are_read_token_by_token() {
        for (text, template, expected) in [
            ("12,454.8-", "99G999D9S", "-12454.8"),
            ("<564646.654564>", "999999.999999PR", "-564646.654564"),
            ("5.01-", "FM9.999999MI", "-5.01"),
            ("-12", "99", "-12"),
            ("$1,234.56", "L99,999.99", "1234.56"),
            ("42nd", "99th", "42"),
            ("123456", "99999V99", "1234.56"),
            ("1234", "99", "12"),
            ("12.345", "99.99", "12.34"),
            ("x12", "\"x\"99", "12"),
        ] {
            let read = number_of(text, template).unwrap();
            assert_eq!(read.as_deref(), Some(expected), "{text} {template}");
        }
        assert_eq!(number_of("12", "").unwrap(), None);
        for (text, template) in [("abc", "999"), ("", "99"), ("12", "RN"), ("1e3", "9EEEE")] {
            assert!(number_of(text, template).is_err(), "{text} {template}");
        }
    }
}
