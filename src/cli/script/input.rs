//! The characters of a script, with the texts of its variables put in between.

/// Characters yet to be read. The text of a variable is put in front of the others and read like them.
#[derive(Debug)]
pub struct Input {
    /// The next character is the last.
    rest: Vec<char>,
    /// Variables whose text is being read, each with the length of `rest` behind it.
    variables: Vec<(String, usize)>,
    /// The line of the next character, from 1; a variable's text is on the line of its reference.
    line: usize,
}

impl Input {
    /// The characters of a text.
    pub fn new(text: &str) -> Self {
        Self {
            rest: text.chars().rev().collect(),
            variables: Vec::new(),
            line: 1,
        }
    }

    /// The line of the next character, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The character `at` places ahead; 0 is the next.
    pub fn peek(&self, at: usize) -> Option<char> {
        let index = self.rest.len().checked_sub(at + 1)?;
        self.rest.get(index).copied()
    }

    /// Whether these characters are next.
    pub fn starts_with(&self, expected: &[char]) -> bool {
        expected
            .iter()
            .enumerate()
            .all(|(at, c)| self.peek(at) == Some(*c))
    }

    /// Takes the next character.
    pub fn take(&mut self) -> Option<char> {
        let c = self.rest.pop()?;
        if c == '\n' && !self.in_variable() {
            self.line += 1;
        }
        while self
            .variables
            .last()
            .is_some_and(|(_, behind)| self.rest.len() <= *behind)
        {
            self.variables.pop();
        }
        Some(c)
    }

    /// Takes characters as long as they are wanted.
    pub fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while self.peek(0).is_some_and(&wanted) {
            text.extend(self.take());
        }
        text
    }

    /// Whether the next character is a variable's.
    pub fn in_variable(&self) -> bool {
        !self.variables.is_empty()
    }

    /// Whether the next character is in the text of this variable, or of one inside it.
    pub fn is_expanding(&self, name: &str) -> bool {
        self.variables.iter().any(|(open, _)| open == name)
    }

    /// Puts a variable's text in front of the rest.
    pub fn push_variable(&mut self, name: String, text: &str) {
        if text.is_empty() {
            return;
        }
        self.variables.push((name, self.rest.len()));
        self.rest.extend(text.chars().rev());
    }
}
