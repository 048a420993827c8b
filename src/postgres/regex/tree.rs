//! What a regular expression is made of, and how the library for regular expressions writes it.

use std::sync::{Arc, OnceLock};

use regex::Regex;

/// What a quantifier prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taste {
    /// As much as there is.
    Longer,
    /// As little as will do.
    Shorter,
}

/// What holds at a place and takes no character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assertion {
    /// The start of the text.
    Start,
    /// The end of the text.
    End,
    /// The start of a line.
    LineStart,
    /// The end of a line.
    LineEnd,
    /// The start of a word.
    WordStart,
    /// The end of a word.
    WordEnd,
    /// Either of them.
    WordEdge,
    /// Neither of them.
    NoWordEdge,
}

/// A part of a regular expression.
#[derive(Debug)]
pub enum Node {
    /// Nothing.
    Empty,
    /// One character of a set.
    One(Set),
    /// What has to hold here.
    Assert(Assertion),
    /// What has to follow, or to stand before, and isn't part of the match.
    Look {
        /// Whether it has to follow.
        ahead: bool,
        /// Whether it has to be there, or must not.
        there: bool,
        /// What is looked for.
        inner: Box<Node>,
    },
    /// Parentheses, which remember what is in them where they have a number.
    Group(Option<usize>, Arc<Node>),
    /// What the parentheses of that number have found, which is something that is in them.
    Back(usize, Arc<Node>),
    /// The same again.
    Repeat {
        /// What is repeated.
        inner: Box<Node>,
        /// How often at least.
        least: u32,
        /// How often at most, if there is an end to it.
        most: Option<u32>,
        /// What is preferred; nothing where the number is fixed.
        taste: Option<Taste>,
    },
    /// One after the other.
    Sequence(Vec<Node>),
    /// One of them.
    Choice(Vec<Node>),
}

impl Node {
    /// What it prefers: what the first of its quantifiers does; a choice prefers more.
    pub fn taste(&self) -> Option<Taste> {
        match self {
            Node::Empty | Node::One(_) | Node::Assert(_) | Node::Look { .. } | Node::Back(..) => {
                None
            }
            Node::Group(_, inner) => inner.taste(),
            Node::Repeat { inner, taste, .. } => taste.or_else(|| inner.taste()),
            Node::Sequence(nodes) => nodes.iter().find_map(Node::taste),
            Node::Choice(_) => Some(Taste::Longer),
        }
    }

    /// Whether something in it is remembered, or compared with what was.
    pub fn remembers(&self) -> bool {
        match self {
            Node::Group(Some(_), _) | Node::Back(..) => true,
            Node::Group(None, inner) => inner.remembers(),
            Node::Repeat { inner, .. } => inner.remembers(),
            Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().any(Node::remembers),
            Node::Empty | Node::One(_) | Node::Assert(_) | Node::Look { .. } => false,
        }
    }

    /// Whether it is compared with what was found before.
    pub fn refers_back(&self) -> bool {
        match self {
            Node::Back(..) => true,
            Node::Group(_, inner) => inner.refers_back(),
            Node::Repeat { inner, .. } | Node::Look { inner, .. } => inner.refers_back(),
            Node::Sequence(nodes) | Node::Choice(nodes) => nodes.iter().any(Node::refers_back),
            Node::Empty | Node::One(_) | Node::Assert(_) => false,
        }
    }

    /// The numbers of its parentheses.
    pub fn groups(&self, found: &mut Vec<usize>) {
        match self {
            Node::Group(number, inner) => {
                found.extend(number);
                inner.groups(found);
            }
            Node::Repeat { inner, .. } => inner.groups(found),
            Node::Sequence(nodes) | Node::Choice(nodes) => {
                nodes.iter().for_each(|node| node.groups(found));
            }
            _ => {}
        }
    }

    /// Writes it for the library; false where the library has no such thing.
    pub fn write(&self, out: &mut String) -> bool {
        match self {
            Node::Empty => {}
            Node::One(set) => out.push_str(&set.written),
            Node::Assert(assertion) => out.push_str(match assertion {
                Assertion::Start => "^",
                Assertion::End => "$",
                Assertion::LineStart => "(?m:^)",
                Assertion::LineEnd => "(?m:$)",
                Assertion::WordStart => r"\b{start}",
                Assertion::WordEnd => r"\b{end}",
                Assertion::WordEdge => r"\b",
                Assertion::NoWordEdge => r"\B",
            }),
            Node::Look { .. } | Node::Back(..) => return false,
            Node::Group(number, inner) => {
                out.push_str(if number.is_some() { "(" } else { "(?:" });
                if !inner.write(out) {
                    return false;
                }
                out.push(')');
            }
            Node::Repeat {
                inner,
                least,
                most,
                taste,
            } => {
                if !inner.write(out) {
                    return false;
                }
                match (least, most) {
                    (0, None) => out.push('*'),
                    (1, None) => out.push('+'),
                    (0, Some(1)) => out.push('?'),
                    (least, None) => out.push_str(&format!("{{{least},}}")),
                    (least, Some(most)) if least == most => out.push_str(&format!("{{{least}}}")),
                    (least, Some(most)) => out.push_str(&format!("{{{least},{most}}}")),
                }
                if *taste == Some(Taste::Shorter) {
                    out.push('?');
                }
            }
            Node::Sequence(nodes) => return nodes.iter().all(|node| node.write(out)),
            Node::Choice(branches) => {
                for (at, branch) in branches.iter().enumerate() {
                    if at > 0 {
                        out.push('|');
                    }
                    if !branch.write(out) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// Characters of which one is meant.
#[derive(Debug)]
pub struct Set {
    written: String,
    only: Option<char>,
    class: OnceLock<Option<Class>>,
}

#[derive(Debug)]
struct Class {
    /// A bit for each character of ASCII.
    ascii: u128,
    /// All of them.
    regex: Regex,
}

impl Set {
    /// One character.
    pub fn only(character: char) -> Self {
        let mut written = String::new();
        if r"\.+*?()|[]{}^$".contains(character) {
            written.push('\\');
        }
        written.push(character);
        Self {
            written,
            only: Some(character),
            class: OnceLock::new(),
        }
    }

    /// What the library writes so: a class in brackets, or one in a group with flags.
    pub fn class(written: String) -> Self {
        Self {
            written,
            only: None,
            class: OnceLock::new(),
        }
    }

    /// Whether a character is in it.
    pub fn has(&self, character: char) -> bool {
        if let Some(only) = self.only {
            return only == character;
        }
        let Some(class) = self.found() else {
            return false;
        };
        match character.is_ascii() {
            true => class.ascii >> u32::from(character) & 1 == 1,
            false => class.regex.is_match(character.encode_utf8(&mut [0; 4])),
        }
    }

    /// Whether a character may be in both; it is said of characters outside of ASCII as soon as both have any.
    pub fn may_meet(&self, other: &Self) -> bool {
        match (self.only, other.only) {
            (Some(one), _) => other.has(one),
            (_, Some(one)) => self.has(one),
            (None, None) => match (self.found(), other.found()) {
                (Some(one), Some(two)) => {
                    one.ascii & two.ascii != 0 || (self.is_wide() && other.is_wide())
                }
                _ => true,
            },
        }
    }

    /// Whether there may be characters outside of ASCII in it.
    fn is_wide(&self) -> bool {
        let mut escaped = false;
        self.written.chars().any(|character| {
            let named = escaped && character.is_ascii_alphabetic();
            escaped = character == '\\' && !escaped;
            named || !character.is_ascii() || "^(".contains(character)
        })
    }

    fn found(&self) -> Option<&Class> {
        let read = || {
            let regex = Regex::new(&format!("^{}$", self.written)).ok()?;
            let mut ascii = 0;
            for character in (0..128_u8).map(char::from) {
                if regex.is_match(character.encode_utf8(&mut [0; 4])) {
                    ascii |= 1_u128 << u32::from(character);
                }
            }
            Some(Class { ascii, regex })
        };
        self.class.get_or_init(read).as_ref()
    }
}
