//! Scripts as psql reads them: statements with `:variables`, and backslash commands between them.
//!
//! A [`Script`] is read one [`Step`] at a time, because what a step does (`\set`) changes how the text
//! behind it reads. Variables are replaced before SQL is parsed, outside of quotes and comments only.
//! `\if` and its family are handled here; the other commands are the caller's.

mod arguments;
mod branches;
mod input;
mod variables;

pub use variables::{Variables, is_name};

use crate::error::{Error, Result};
use branches::Branches;
use input::Input;
use variables::Reference;

/// What a script says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A statement, with its variables replaced and without its semicolon.
    Statement(String),
    /// A backslash command.
    Command {
        /// Its name, without the backslash.
        name: String,
        /// Its arguments, with their variables replaced.
        arguments: Vec<String>,
    },
}

/// A text of statements and commands, and how far it has been read.
#[derive(Debug)]
pub struct Script {
    input: Input,
    /// The statement as far as it has been read.
    statement: String,
    /// Parentheses that are open in it: a semicolon inside them doesn't end it.
    depth: usize,
    branches: Branches,
    /// The line on which the last step started, from 1.
    line: usize,
}

impl Script {
    /// A script that is read from its start.
    pub fn new(text: &str) -> Self {
        Self {
            input: Input::new(text),
            statement: String::new(),
            depth: 0,
            branches: Branches::default(),
            line: 1,
        }
    }

    /// The line on which the step that was read last, or that can't be read, starts; from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The next step; nothing at the end.
    ///
    /// # Errors
    /// 42601 for a command that can't be read, and for an `\if` without its `\endif`.
    pub fn next(&mut self, variables: &Variables) -> Result<Option<Step>> {
        loop {
            match self.scan_sql(variables) {
                Found::Semicolon => return Ok(Some(self.take_statement())),
                Found::End if self.branches.is_empty() => {
                    let rest = self.take_statement();
                    return Ok((rest != Step::Statement(String::new())).then_some(rest));
                }
                Found::End => {
                    self.line = self.input.line();
                    return Err(command_error(
                        "\\if has no \\endif before the end".to_owned(),
                    ));
                }
                Found::Backslash => {
                    if let Some(command) = self.command(variables)? {
                        return Ok(Some(command));
                    }
                }
            }
        }
    }

    fn take_statement(&mut self) -> Step {
        self.depth = 0;
        Step::Statement(std::mem::take(&mut self.statement))
    }

    /// Reads SQL up to what ends it, adding it to the statement.
    fn scan_sql(&mut self, variables: &Variables) -> Found {
        while let Some(c) = self.input.peek(0) {
            match c {
                '\'' | '"' => self.copy_quoted(c, false),
                '-' if self.input.peek(1) == Some('-') => self.copy_line_comment(),
                '/' if self.input.peek(1) == Some('*') => self.copy_block_comment(),
                '$' => self.copy_dollar_quoted(),
                ':' => self.colon(variables),
                ';' if self.depth == 0 && self.branches.active() => {
                    self.input.take();
                    return Found::Semicolon;
                }
                // A backslash inside a variable's text starts no command.
                '\\' if !self.input.in_variable() => {
                    self.line = self.input.line();
                    return Found::Backslash;
                }
                c if c.is_whitespace() && self.statement.is_empty() => self.skip(1),
                c if is_word_start(c) => self.copy_word(),
                c => {
                    self.depth = match c {
                        '(' => self.depth + 1,
                        ')' => self.depth.saturating_sub(1),
                        _ => self.depth,
                    };
                    self.copy(1);
                }
            }
        }
        Found::End
    }

    /// Moves characters from the input to the statement.
    fn copy(&mut self, count: usize) {
        if self.statement.is_empty() {
            self.line = self.input.line();
        }
        for _ in 0..count {
            self.statement.extend(self.input.take());
        }
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.input.take();
        }
    }

    /// A text in quotes. A doubled quote inside it reads as two texts in a row, which comes to the same.
    fn copy_quoted(&mut self, quote: char, with_escapes: bool) {
        self.copy(1);
        while let Some(c) = self.input.peek(0) {
            self.copy(if c == '\\' && with_escapes { 2 } else { 1 });
            if c == quote {
                return;
            }
        }
    }

    /// Comments in front of a statement don't belong to it.
    fn copy_comment(&mut self, count: usize) {
        match self.statement.is_empty() {
            true => self.skip(count),
            false => self.copy(count),
        }
    }

    fn copy_line_comment(&mut self) {
        while self.input.peek(0).is_some_and(|c| c != '\n') {
            self.copy_comment(1);
        }
    }

    fn copy_block_comment(&mut self) {
        let mut open = 0_usize;
        while let Some(c) = self.input.peek(0) {
            match (c, self.input.peek(1)) {
                ('/', Some('*')) => open += 1,
                ('*', Some('/')) => open -= 1,
                _ => {
                    self.copy_comment(1);
                    continue;
                }
            }
            self.copy_comment(2);
            if open == 0 {
                return;
            }
        }
    }

    /// `$tag$ … $tag$`; a `$` that starts no tag is a parameter's.
    fn copy_dollar_quoted(&mut self) {
        let tag: String = (1..)
            .map_while(|at| self.input.peek(at))
            .take_while(|c| is_word_part(*c) && *c != '$')
            .collect();
        let length = tag.chars().count() + 2;
        let starts_with_digit = tag.starts_with(|c: char| c.is_ascii_digit());
        if starts_with_digit || self.input.peek(length - 1) != Some('$') {
            return self.copy(1);
        }
        let delimiter: Vec<char> = (0..length).map_while(|at| self.input.peek(at)).collect();
        self.copy(length);
        while self.input.peek(0).is_some() {
            if self.input.starts_with(&delimiter) {
                return self.copy(length);
            }
            self.copy(1);
        }
    }

    /// An identifier, keyword or number. `E'…'` is the one that changes how the quotes behind it read.
    fn copy_word(&mut self) {
        let length = (0..)
            .map_while(|at| self.input.peek(at))
            .take_while(|c| is_word_part(*c))
            .count();
        let escapes = length == 1 && matches!(self.input.peek(0), Some('e' | 'E'));
        self.copy(length);
        if escapes && self.input.peek(0) == Some('\'') {
            self.copy_quoted('\'', true);
        }
    }

    fn colon(&mut self, variables: &Variables) {
        if let Some(':' | '=') = self.input.peek(1) {
            return self.copy(2);
        }
        // What isn't run needs no variables, and their text could open a quote that never ends.
        let reference = match self.branches.active() {
            true => Reference::read(|at| self.input.peek(at)),
            false => None,
        };
        let Some((reference, length)) = reference else {
            return self.copy(1);
        };
        let Some(text) = variables.expand(&reference) else {
            return self.copy(length);
        };
        match reference {
            // A variable inside its own text stays as it is written.
            Reference::Plain(name) if self.input.is_expanding(&name) => self.copy(length),
            Reference::Plain(name) => {
                self.skip(length);
                self.input.push_variable(name, &text);
            }
            _ => {
                // It may be what the statement starts with.
                self.copy(0);
                self.skip(length);
                self.statement.push_str(&text);
            }
        }
    }

    /// Reads the command behind a backslash. Nothing where it was one of `\if`'s family, or stands in a
    /// branch that isn't taken.
    fn command(&mut self, variables: &Variables) -> Result<Option<Step>> {
        self.skip(1);
        let name = self.input.take_while(|c| !c.is_whitespace() && c != '\\');
        let read = match name.as_str() {
            "if" => self.branches.active(),
            "elif" => self.branches.elif_counts(),
            _ => self.branches.active(),
        };
        let arguments = match read {
            true => arguments::read(&mut self.input, &name, variables)?,
            false => {
                arguments::skip(&mut self.input);
                Vec::new()
            }
        };
        let place = (self.statement.len(), self.depth);
        let dropped = match name.as_str() {
            "if" => self.branches.open(&arguments, place)?,
            "elif" => self.branches.elif(&arguments, place)?,
            "else" => self.branches.otherwise(place)?,
            "endif" => self.branches.close()?,
            _ if !self.branches.active() => None,
            _ => return Ok(Some(Step::Command { name, arguments })),
        };
        if let Some((length, depth)) = dropped {
            self.statement.truncate(length);
            self.depth = depth;
        }
        Ok(None)
    }
}

/// What ends a stretch of SQL.
enum Found {
    Semicolon,
    Backslash,
    End,
}

/// An error about a backslash command.
fn command_error(message: String) -> Error {
    Error::Syntax {
        message,
        position: None,
    }
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() && !c.is_whitespace()
}

fn is_word_part(c: char) -> bool {
    is_word_start(c) || c == '$'
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
