//! Reads a regular expression as Postgres does: its advanced ones, and with the option `e` extended ones.

use super::tree::{Assertion, Node};

/// Postgres' words for what is wrong.
pub type Read<T> = Result<T, &'static str>;

const BRACKETS: &str = "brackets [] not balanced";
const PARENTHESES: &str = "parentheses () not balanced";
const BRACES: &str = "braces {} not balanced";
const COUNTS: &str = "invalid repetition count(s)";
const OPERAND: &str = "quantifier operand invalid";
const ESCAPE: &str = r"invalid escape \ sequence";
const RANGE: &str = "invalid character range";
const CLASS: &str = "invalid character class";
const COLLATION: &str = "invalid collating element";
const BACK: &str = "invalid backreference number";
const OPTION: &str = "invalid embedded option";
/// More than this server takes.
pub const COMPLEX: &str = "regular expression is too complex";

/// Parentheses may stand in each other so often, and there may be so many; more would need a deep stack.
const DEEPEST: usize = 200;
const MOST_GROUPS: usize = 1000;

/// How often something may be repeated.
const MOST_REPEATED: u32 = 255;

/// How a regular expression is read, and how it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Letters are the same in both cases.
    pub fold: bool,
    /// The pattern is a text.
    pub literal: bool,
    /// `\d`, `(?:…)` and the like are known.
    pub advanced: bool,
    /// Spaces and comments say nothing.
    pub expanded: bool,
    /// `.` and `[^…]` match no newline.
    pub stops_at_newline: bool,
    /// `^` and `$` match at lines.
    pub by_lines: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fold: false,
            literal: false,
            advanced: true,
            expanded: false,
            stops_at_newline: false,
            by_lines: false,
        }
    }
}

impl Options {
    /// Sets the option of that letter; false where there is none. Basic regular expressions (`b`) are not read.
    pub fn set(&mut self, letter: char) -> bool {
        match letter {
            'c' => self.fold = false,
            'i' => self.fold = true,
            'e' => {
                self.advanced = false;
                self.literal = false;
            }
            'q' => self.literal = true,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'm' | 'n' => (self.stops_at_newline, self.by_lines) = (true, true),
            'p' => (self.stops_at_newline, self.by_lines) = (true, false),
            's' => (self.stops_at_newline, self.by_lines) = (false, false),
            'w' => (self.stops_at_newline, self.by_lines) = (false, true),
            _ => return false,
        }
        true
    }
}

/// A regular expression that was read.
pub struct Parsed {
    /// What it is made of.
    pub tree: Node,
    /// How many parentheses remember.
    pub groups: usize,
}

/// Reads a pattern.
pub fn parse(pattern: &str, options: Options) -> Read<Parsed> {
    let mut parser = Parser {
        characters: pattern.chars().collect(),
        at: 0,
        options,
        groups: Vec::new(),
        depth: 0,
        looking: 0,
    };
    parser.director()?;
    let tree = match parser.options.literal {
        true => {
            let rest = parser.characters[parser.at..].to_vec();
            Node::Sequence(rest.into_iter().map(|one| parser.one(one)).collect())
        }
        false => parser.choice()?,
    };
    Ok(Parsed {
        tree,
        groups: parser.groups.len(),
    })
}

struct Parser {
    characters: Vec<char>,
    at: usize,
    options: Options,
    /// Whether the parentheses that remember are closed already.
    groups: Vec<bool>,
    depth: usize,
    /// In how many parentheses that look around it is; what stands there isn't remembered.
    looking: usize,
}

/// An atom, and what may come after it.
enum Atom {
    /// It takes no quantifier.
    Constraint(Node),
    /// It may be repeated.
    Repeatable(Node),
}

/// What stands behind a backslash.
enum Escaped {
    Character(char),
    /// A number that is no character's.
    Never,
    /// The inside of a class.
    Class(&'static str),
    /// All that isn't in it.
    Others(&'static str),
    Assert(Assertion),
    Back(usize),
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn follows(&self, text: &str) -> bool {
        let mut rest = self.characters[self.at..].iter();
        text.chars().all(|wanted| rest.next() == Some(&wanted))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.follows(text);
        if found {
            self.at += text.chars().count();
        }
        found
    }

    /// `***:`, `***=` and `(?i)` at the start.
    fn director(&mut self) -> Read<()> {
        if self.options.literal {
            return Ok(());
        }
        if self.eat("***") {
            match self.next() {
                Some('=') => {
                    self.options.literal = true;
                    return Ok(());
                }
                Some(':') => self.options.advanced = true,
                _ => return Err(OPERAND),
            }
        }
        let named = self.characters.get(self.at + 2);
        if self.options.advanced
            && self.follows("(?")
            && named.is_some_and(char::is_ascii_alphabetic)
        {
            self.at += 2;
            while let Some(letter) = self.next() {
                match letter {
                    ')' => return Ok(()),
                    letter if self.options.set(letter) => {}
                    _ => return Err(OPTION),
                }
            }
            return Err(OPTION);
        }
        Ok(())
    }

    /// Leaves out comments, and spaces where they say nothing.
    fn skip(&mut self) {
        loop {
            if self.options.advanced && self.eat("(?#") {
                while self.next().is_some_and(|next| next != ')') {}
                continue;
            }
            match self.peek() {
                Some(space) if self.options.expanded && space.is_whitespace() => self.at += 1,
                Some('#') if self.options.expanded => {
                    while self.next().is_some_and(|next| next != '\n') {}
                }
                _ => return,
            }
        }
    }

    fn choice(&mut self) -> Read<Node> {
        let first = self.branch()?;
        let mut branches = vec![first];
        while self.eat("|") {
            branches.push(self.branch()?);
        }
        match branches.len() {
            1 => Ok(branches.remove(0)),
            _ => Ok(Node::Choice(branches)),
        }
    }

    fn branch(&mut self) -> Read<Node> {
        let mut parts = Vec::new();
        loop {
            self.skip();
            match self.peek() {
                None | Some('|') => break,
                Some(')') if self.depth > 0 => break,
                Some(')') if self.options.advanced => return Err(PARENTHESES),
                _ => {}
            }
            let node = match self.atom()? {
                Atom::Constraint(node) => {
                    parts.push(node);
                    continue;
                }
                Atom::Repeatable(node) => node,
            };
            parts.push(match self.quantifier()? {
                None => node,
                Some((least, most, shorter)) => Node::Repeat {
                    inner: Box::new(node),
                    least,
                    most,
                    shorter,
                },
            });
        }
        Ok(match parts.len() {
            0 => Node::Empty,
            1 => parts.remove(0),
            _ => Node::Sequence(parts),
        })
    }

    fn atom(&mut self) -> Read<Atom> {
        let Some(first) = self.next() else {
            return Ok(Atom::Constraint(Node::Empty));
        };
        Ok(match first {
            '(' => return self.parentheses(),
            '[' if self.eat("[:<:]]") => constraint(Assertion::WordStart),
            '[' if self.eat("[:>:]]") => constraint(Assertion::WordEnd),
            '[' => Atom::Repeatable(Node::One(self.bracket()?)),
            '.' => {
                let class = match self.options.stops_at_newline {
                    true => "[^\n]",
                    false => "(?s:.)",
                };
                Atom::Repeatable(Node::One(class.to_owned()))
            }
            '^' => constraint(match self.options.by_lines {
                true => Assertion::LineStart,
                false => Assertion::Start,
            }),
            '$' => constraint(match self.options.by_lines {
                true => Assertion::LineEnd,
                false => Assertion::End,
            }),
            '*' | '+' | '?' => return Err(OPERAND),
            '{' if self.peek().is_some_and(|next| next.is_ascii_digit()) => return Err(OPERAND),
            '\\' if self.options.advanced => match self.escape()? {
                Escaped::Character(character) => Atom::Repeatable(self.one(character)),
                Escaped::Never => Atom::Repeatable(Node::One(NEVER.to_owned())),
                Escaped::Class(class) => Atom::Repeatable(Node::One(format!("[{class}]"))),
                Escaped::Others(class) => Atom::Repeatable(Node::One(format!("[^{class}]"))),
                Escaped::Assert(assertion) => constraint(assertion),
                Escaped::Back(number) => {
                    let is_closed = self.groups.get(number - 1) == Some(&true);
                    if !is_closed || self.looking > 0 {
                        return Err(BACK);
                    }
                    let fold = self.options.fold;
                    Atom::Repeatable(Node::Back { number, fold })
                }
            },
            '\\' => match self.next() {
                Some(character) => Atom::Repeatable(self.one(character)),
                None => return Err(ESCAPE),
            },
            other => Atom::Repeatable(self.one(other)),
        })
    }

    /// A character, or both cases of a letter.
    fn one(&self, character: char) -> Node {
        if self.options.fold {
            let (lower, upper) = (
                one_of(character.to_lowercase()),
                one_of(character.to_uppercase()),
            );
            let mut letters = vec![character];
            letters.extend(lower);
            letters.extend(upper);
            letters.sort_unstable();
            letters.dedup();
            if letters.len() > 1 {
                return Node::One(format!("[{}]", letters.iter().collect::<String>()));
            }
        }
        Node::only(character)
    }

    fn parentheses(&mut self) -> Read<Atom> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(COMPLEX);
        }
        let special = self.options.advanced && self.eat("?");
        let mut look = None;
        let mut number = None;
        if special {
            if self.eat("=") {
                look = Some((true, true));
            } else if self.eat("!") {
                look = Some((true, false));
            } else if self.eat("<=") {
                look = Some((false, true));
            } else if self.eat("<!") {
                look = Some((false, false));
            } else if !self.eat(":") {
                return Err(OPERAND);
            }
        } else if self.looking == 0 {
            self.groups.push(false);
            number = Some(self.groups.len());
            if self.groups.len() > MOST_GROUPS {
                return Err(COMPLEX);
            }
        }
        self.looking += usize::from(look.is_some());
        let inner = self.choice()?;
        self.looking -= usize::from(look.is_some());
        if !self.eat(")") {
            return Err(PARENTHESES);
        }
        self.depth -= 1;
        if let Some((ahead, there)) = look {
            let inner = Box::new(inner);
            return Ok(Atom::Constraint(Node::Look {
                ahead,
                there,
                inner,
            }));
        }
        if let Some(number) = number {
            self.groups[number - 1] = true;
        }
        Ok(Atom::Repeatable(Node::Group {
            remembers: number.is_some(),
            inner: Box::new(inner),
        }))
    }

    /// How often, at least and at most, and whether less is preferred.
    fn quantifier(&mut self) -> Read<Option<(u32, Option<u32>, bool)>> {
        self.skip();
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{')
                if self
                    .characters
                    .get(self.at + 1)
                    .is_some_and(char::is_ascii_digit) =>
            {
                self.at += 1;
                let least = self.count()?;
                let most = match self.eat(",") {
                    true if self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                        Some(self.count()?)
                    }
                    true => None,
                    false => Some(least),
                };
                match self.peek() {
                    Some('}') => {}
                    Some(_) => return Err(COUNTS),
                    None => return Err(BRACES),
                }
                if most.is_some_and(|most| most < least) {
                    return Err(COUNTS);
                }
                (least, most)
            }
            _ => return Ok(None),
        };
        self.at += 1;
        let shorter = self.options.advanced && self.eat("?");
        Ok(Some((least, most, shorter && most != Some(least))))
    }

    fn count(&mut self) -> Read<u32> {
        let mut count = 0;
        while let Some(digit) = self.peek().and_then(|next| next.to_digit(10)) {
            count = count * 10 + digit;
            if count > MOST_REPEATED {
                return Err(COUNTS);
            }
            self.at += 1;
        }
        Ok(count)
    }

    /// So many digits, and at least `least` of them.
    fn number(&mut self, radix: u32, least: usize, most: usize) -> Read<u32> {
        let (mut number, mut digits) = (0_u32, 0);
        while digits < most
            && let Some(digit) = self.peek().and_then(|next| next.to_digit(radix))
        {
            number = number
                .checked_mul(radix)
                .and_then(|number| number.checked_add(digit))
                .ok_or(ESCAPE)?;
            digits += 1;
            self.at += 1;
        }
        match digits < least {
            true => Err(ESCAPE),
            false => Ok(number),
        }
    }

    fn escape(&mut self) -> Read<Escaped> {
        let Some(letter) = self.next() else {
            return Err(ESCAPE);
        };
        let character = match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'c' => match self.next() {
                Some(next) => char::from_u32(u32::from(next) & 0o37).unwrap_or('\0'),
                None => return Err(ESCAPE),
            },
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'u' => return self.number(16, 4, 4).map(numbered),
            'U' => return self.number(16, 8, 8).map(numbered),
            'x' => return self.number(16, 1, 255).map(numbered),
            'd' => return Ok(Escaped::Class(DIGITS)),
            'D' => return Ok(Escaped::Others(DIGITS)),
            's' => return Ok(Escaped::Class(SPACES)),
            'S' => return Ok(Escaped::Others(SPACES)),
            'w' => return Ok(Escaped::Class(WORDS)),
            'W' => return Ok(Escaped::Others(WORDS)),
            'm' => return Ok(Escaped::Assert(Assertion::WordStart)),
            'M' => return Ok(Escaped::Assert(Assertion::WordEnd)),
            'y' => return Ok(Escaped::Assert(Assertion::WordEdge)),
            'Y' => return Ok(Escaped::Assert(Assertion::NoWordEdge)),
            'A' => return Ok(Escaped::Assert(Assertion::Start)),
            'Z' => return Ok(Escaped::Assert(Assertion::End)),
            '0'..='9' => return self.numbered_escape(letter),
            letter if letter.is_ascii_alphabetic() => return Err(ESCAPE),
            other => other,
        };
        Ok(Escaped::Character(character))
    }

    /// `\1` refers back where there are as many parentheses, or it is one digit; other numbers are octal ones of characters.
    fn numbered_escape(&mut self, first: char) -> Read<Escaped> {
        self.at -= 1;
        let start = self.at;
        if first != '0' {
            let number = self.number(10, 1, 9)?;
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            if self.at == start + 1 || number <= self.groups.len() {
                return Ok(Escaped::Back(number));
            }
            self.at = start;
        }
        let number = self.number(8, 1, 3)?;
        if number > 0xff {
            self.at -= 1;
            return Ok(numbered(number >> 3));
        }
        Ok(numbered(number))
    }

    /// What stands in brackets, of which the first is read.
    fn bracket(&mut self) -> Read<String> {
        let negated = self.eat("^");
        let mut inside = String::new();
        let mut first = true;
        loop {
            let Some(next) = self.next() else {
                return Err(BRACKETS);
            };
            let start = match next {
                ']' if !first => break,
                '-' if !first && self.peek() != Some(']') => return Err(RANGE),
                '[' if self.eat(":") => {
                    let name = self.named(":]")?;
                    inside.push_str(class_named(&name, self.options.fold).ok_or(CLASS)?);
                    None
                }
                '[' if self.eat("=") => {
                    let element = collated(&self.named("=]")?)?;
                    push_range(&mut inside, element, element);
                    None
                }
                '[' if self.eat(".") => Some(collated(&self.named(".]")?)?),
                '\\' if self.options.advanced => match self.escape()? {
                    Escaped::Character(character) => Some(character),
                    Escaped::Never => None,
                    Escaped::Class(class) => {
                        inside.push_str(class);
                        None
                    }
                    Escaped::Others(class) => {
                        inside.push_str(&format!("[^{class}]"));
                        None
                    }
                    Escaped::Assert(_) | Escaped::Back(_) => return Err(ESCAPE),
                },
                other => Some(other),
            };
            first = false;
            let Some(start) = start else { continue };
            let is_range =
                self.peek() == Some('-') && self.characters.get(self.at + 1) != Some(&']');
            let end = match is_range {
                true => {
                    self.at += 1;
                    self.range_end()?
                }
                false => start,
            };
            if start > end {
                return Err(RANGE);
            }
            push_range(&mut inside, start, end);
        }
        if negated && self.options.stops_at_newline {
            inside.push('\n');
        }
        let inside = match inside.is_empty() {
            true => NEVER.to_owned(),
            false => inside,
        };
        let class = format!("[{}{inside}]", if negated { "^" } else { "" });
        Ok(match self.options.fold {
            true => format!("(?i:{class})"),
            false => class,
        })
    }

    fn range_end(&mut self) -> Read<char> {
        match self.next() {
            None => Err(BRACKETS),
            Some('[') if self.eat(".") => collated(&self.named(".]")?),
            Some('[') if self.follows(":") || self.follows("=") => Err(RANGE),
            Some('\\') if self.options.advanced => match self.escape()? {
                Escaped::Character(character) => Ok(character),
                _ => Err(RANGE),
            },
            Some(other) => Ok(other),
        }
    }

    /// The name before `end`.
    fn named(&mut self, end: &str) -> Read<String> {
        let mut name = String::new();
        while !self.eat(end) {
            name.push(self.next().ok_or(BRACKETS)?);
        }
        Ok(name)
    }
}

fn constraint(assertion: Assertion) -> Atom {
    Atom::Constraint(Node::Assert(assertion))
}

fn numbered(number: u32) -> Escaped {
    char::from_u32(number).map_or(Escaped::Never, Escaped::Character)
}

/// The character, where a case has one only.
fn one_of(mut cased: impl Iterator<Item = char>) -> Option<char> {
    let first = cased.next();
    first.filter(|_| cased.next().is_none())
}

fn push_range(inside: &mut String, start: char, end: char) {
    push_escaped(inside, start);
    if start != end {
        inside.push('-');
        push_escaped(inside, end);
    }
}

fn push_escaped(inside: &mut String, character: char) {
    if r"\[]^-&~".contains(character) {
        inside.push('\\');
    }
    inside.push(character);
}

/// No character.
const NEVER: &str = r"[^\x00-\x{10FFFF}]";
const DIGITS: &str = "0-9";
/// Spaces at which a line may be broken.
const SPACES: &str =
    r"\t-\r \x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{2028}\x{2029}\x{205f}\x{3000}";
const WORDS: &str = r"\p{Alphabetic}\p{Nd}_";
const LETTERS: &str = r"\p{Alphabetic}[\p{Nd}--0-9]";

/// The inside of a class, as PostgreSQL has it in the locale C.UTF-8.
fn class_named(name: &str, fold: bool) -> Option<&'static str> {
    Some(match name {
        "upper" | "lower" if fold => LETTERS,
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "alpha" => LETTERS,
        "ascii" => r"\x00-\x7f",
        "blank" => r"\t ",
        "cntrl" => r"\x01-\x1f\x7f-\x{9f}",
        "digit" => DIGITS,
        "graph" => r"[^\p{Cn}\p{Cc}\p{Zl}\p{Zp}\p{Zs}]\x{a0}\x{2007}\x{202f}",
        "lower" => r"\p{Lowercase}",
        "print" => r"[^\p{Cn}\p{Cc}\p{Zl}\p{Zp}]",
        "punct" => {
            r"[[^\p{Cn}\p{Cc}\p{Zl}\p{Zp}\p{Zs}]--[\p{Alphabetic}\p{Nd}]]\x{a0}\x{2007}\x{202f}"
        }
        "space" => SPACES,
        "upper" => r"\p{Uppercase}\p{Lt}",
        "word" => WORDS,
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

/// A character of its own name, or one of those that POSIX names.
fn collated(name: &str) -> Read<char> {
    if let Some(character) = one_of(name.chars()) {
        return Ok(character);
    }
    Ok(match name {
        "NUL" => '\0',
        "tab" => '\t',
        "newline" => '\n',
        "carriage-return" => '\r',
        "space" => ' ',
        "quotation-mark" => '"',
        "number-sign" => '#',
        "dollar-sign" => '$',
        "percent-sign" => '%',
        "ampersand" => '&',
        "apostrophe" => '\'',
        "left-parenthesis" => '(',
        "right-parenthesis" => ')',
        "asterisk" => '*',
        "plus-sign" => '+',
        "comma" => ',',
        "hyphen" | "hyphen-minus" => '-',
        "period" | "full-stop" => '.',
        "slash" | "solidus" => '/',
        "colon" => ':',
        "semicolon" => ';',
        "equals-sign" => '=',
        "question-mark" => '?',
        "left-square-bracket" => '[',
        "backslash" | "reverse-solidus" => '\\',
        "right-square-bracket" => ']',
        "circumflex" | "circumflex-accent" => '^',
        "underscore" | "low-line" => '_',
        "left-brace" | "left-curly-bracket" => '{',
        "vertical-line" => '|',
        "right-brace" | "right-curly-bracket" => '}',
        "tilde" => '~',
        _ => return Err(COLLATION),
    })
}
