//! psql's variables: `-v name=value`, `\set`, and what `:name` becomes.

use std::collections::BTreeMap;

/// The variables of one run, shared by its scripts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

/// How a variable stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `:name`: its text, to be read as if it had been written there.
    Plain(String),
    /// `:'name'`: a literal.
    Literal(String),
    /// `:"name"`: an identifier.
    Identifier(String),
    /// `:{?name}`: `TRUE` where the variable is set, else `FALSE`.
    IsSet(String),
}

impl Variables {
    /// The variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Gives the variable a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Takes the variable away.
    pub fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// All names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What a reference stands for; nothing where its variable isn't set, and the reference stays as it
    /// was written.
    pub fn expand(&self, reference: &Reference) -> Option<String> {
        match reference {
            Reference::Plain(name) => self.get(name).map(str::to_owned),
            Reference::Literal(name) => self.get(name).map(|value| quoted(value, '\'')),
            Reference::Identifier(name) => self.get(name).map(|value| quoted(value, '"')),
            Reference::IsSet(name) => Some(
                if self.get(name).is_some() {
                    "TRUE"
                } else {
                    "FALSE"
                }
                .to_owned(),
            ),
        }
    }
}

impl Reference {
    /// Reads the reference that stands behind a colon, which `peek(0)` is; with its length in
    /// characters, colon included.
    pub fn read(peek: impl Fn(usize) -> Option<char>) -> Option<(Self, usize)> {
        let first = peek(1)?;
        if is_name_character(first) {
            let name = name_from(&peek, 1);
            let length = 1 + name.chars().count();
            return Some((Self::Plain(name), length));
        }
        let (start, end, make): (usize, char, fn(String) -> Self) = match first {
            '\'' => (2, '\'', Self::Literal),
            '"' => (2, '"', Self::Identifier),
            '{' if peek(2) == Some('?') => (3, '}', Self::IsSet),
            _ => return None,
        };
        let name = name_from(&peek, start);
        let close = start + name.chars().count();
        (!name.is_empty() && peek(close) == Some(end)).then(|| (make(name), close + 1))
    }
}

fn name_from(peek: &impl Fn(usize) -> Option<char>, start: usize) -> String {
    (start..)
        .map_while(peek)
        .take_while(|c| is_name_character(*c))
        .collect()
}

/// Whether a text can be a variable's name: letters of any script, digits and underscores.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name_character)
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()
}

fn quoted(value: &str, quote: char) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push(quote);
    for c in value.chars() {
        if c == quote {
            text.push(quote);
        }
        text.push(c);
    }
    text.push(quote);
    text
}
