//! The arguments of a backslash command: words up to the end of the line or the next backslash.

use super::command_error;
use super::input::Input;
use super::variables::{Reference, Variables};
use crate::error::{Error, Result};

/// Reads the arguments and what ends them.
///
/// # Errors
/// 42601 for quotes that don't close on the line; 0A000 for backquotes, which run a program in psql.
pub fn read(input: &mut Input, command: &str, variables: &Variables) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    while next_argument(input) {
        let mut argument = String::new();
        while let Some(c) = input.peek(0).filter(|c| !c.is_whitespace() && *c != '\\') {
            match c {
                '\'' => argument.push_str(&single_quoted(input, command)?),
                '"' => argument.push_str(&double_quoted(input, command)?),
                '`' => return Err(backquotes(command)),
                ':' => argument.push_str(&after_colon(input, variables)),
                _ => argument.extend(input.take()),
            }
        }
        arguments.push(argument);
    }
    end(input);
    Ok(arguments)
}

/// Leaves the arguments of a command that isn't run.
pub fn skip(input: &mut Input) {
    while next_argument(input) {
        while let Some(c) = input.peek(0).filter(|c| !c.is_whitespace() && *c != '\\') {
            input.take();
            if matches!(c, '\'' | '"' | '`') {
                input.take_while(|inner| inner != c && inner != '\n');
                if input.peek(0) == Some(c) {
                    input.take();
                }
            }
        }
    }
    end(input);
}

/// Goes to the next argument; tells whether there is one.
fn next_argument(input: &mut Input) -> bool {
    input.take_while(|c| c.is_whitespace() && c != '\n');
    !matches!(input.peek(0), None | Some('\n' | '\\'))
}

/// `\\` ends a command on a line that goes on with SQL; a single one starts the next command.
fn end(input: &mut Input) {
    if input.starts_with(&['\\', '\\']) {
        input.take();
        input.take();
    }
}

/// The text in single quotes, with C's escapes; a quote in it is doubled or escaped.
fn single_quoted(input: &mut Input, command: &str) -> Result<String> {
    input.take();
    let mut text = String::new();
    loop {
        match take_on_line(input, command)? {
            '\'' if input.peek(0) == Some('\'') => text.extend(input.take()),
            '\'' => return Ok(text),
            '\\' => text.push(escaped(input, command)?),
            c => text.push(c),
        }
    }
}

fn escaped(input: &mut Input, command: &str) -> Result<char> {
    Ok(match take_on_line(input, command)? {
        'n' => '\n',
        't' => '\t',
        'b' => '\u{8}',
        'r' => '\r',
        'f' => '\u{c}',
        c => c,
    })
}

/// Double quotes keep a word together and stay in it.
fn double_quoted(input: &mut Input, command: &str) -> Result<String> {
    let mut text = String::new();
    text.extend(input.take());
    loop {
        let c = take_on_line(input, command)?;
        text.push(c);
        if c == '"' {
            return Ok(text);
        }
    }
}

fn take_on_line(input: &mut Input, command: &str) -> Result<char> {
    match input.peek(0) {
        None | Some('\n') => Err(command_error(format!(
            "quotes in \\{command} aren't closed"
        ))),
        Some(c) => {
            input.take();
            Ok(c)
        }
    }
}

fn after_colon(input: &mut Input, variables: &Variables) -> String {
    let (length, text) = match Reference::read(|at| input.peek(at)) {
        Some((reference, length)) => (length, variables.expand(&reference)),
        None => (1, None),
    };
    let written: String = (0..length).filter_map(|_| input.take()).collect();
    text.unwrap_or(written)
}

fn backquotes(command: &str) -> Error {
    Error::Unsupported {
        message: format!("backquotes in \\{command} are not supported"),
        hint: Some(
            "Run the program in the shell and pass its output with -v name=value.".to_owned(),
        ),
    }
}
