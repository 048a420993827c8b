//! `\if`, `\elif`, `\else`, `\endif`: which part of a script is run.

use super::command_error;
use crate::error::{Error, Result};

/// A place in the statement that is being read: its length in bytes and its open parentheses. The text
/// behind the place where a branch that isn't taken started is dropped at its end.
pub type Place = (usize, usize);

/// The open `\if`s, the innermost last.
#[derive(Debug, Default)]
pub struct Branches(Vec<Branch>);

#[derive(Debug)]
struct Branch {
    state: State,
    /// Behind `\else`.
    last: bool,
    start: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// This branch is run.
    Taken,
    /// None has been so far.
    Waiting,
    /// One before this was, or the whole `\if` stands in a branch that isn't.
    Done,
}

impl Branches {
    /// Whether no `\if` is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what stands here is run.
    pub fn active(&self) -> bool {
        self.0
            .last()
            .is_none_or(|branch| branch.state == State::Taken)
    }

    /// Whether an `\elif` here has to look at its condition.
    pub fn elif_counts(&self) -> bool {
        self.0
            .last()
            .is_none_or(|branch| branch.state == State::Waiting)
    }

    /// `\if condition`
    pub fn open(&mut self, condition: &[String], start: Place) -> Result<Option<Place>> {
        let state = match self.active() {
            false => State::Done,
            true if is_true("if", condition)? => State::Taken,
            true => State::Waiting,
        };
        self.0.push(Branch {
            state,
            last: false,
            start,
        });
        Ok(None)
    }

    /// `\elif condition`; returns the place to go back to where the branch before it wasn't taken.
    pub fn elif(&mut self, condition: &[String], start: Place) -> Result<Option<Place>> {
        let waiting = self.elif_counts();
        let branch = self.innermost("elif")?;
        let holds = waiting && is_true("elif", condition)?;
        Ok(branch.turn(holds, start))
    }

    /// `\else`; as [`Branches::elif`].
    pub fn otherwise(&mut self, start: Place) -> Result<Option<Place>> {
        let branch = self.innermost("else")?;
        branch.last = true;
        Ok(branch.turn(true, start))
    }

    /// `\endif`; as [`Branches::elif`].
    pub fn close(&mut self) -> Result<Option<Place>> {
        match self.0.pop() {
            Some(branch) => Ok((branch.state != State::Taken).then_some(branch.start)),
            None => Err(without_if("endif")),
        }
    }

    fn innermost(&mut self, command: &str) -> Result<&mut Branch> {
        match self.0.last_mut() {
            None => Err(without_if(command)),
            Some(branch) if branch.last => Err(command_error(format!(
                "\\{command} can't stand behind \\else"
            ))),
            Some(branch) => Ok(branch),
        }
    }
}

impl Branch {
    /// Goes to the next branch, which is taken where none was before and its condition holds.
    fn turn(&mut self, holds: bool, start: Place) -> Option<Place> {
        let dropped = (self.state != State::Taken).then_some(self.start);
        self.start = dropped.unwrap_or(start);
        self.state = match self.state {
            State::Waiting if holds => State::Taken,
            State::Waiting => State::Waiting,
            State::Taken | State::Done => State::Done,
        };
        dropped
    }
}

/// A condition as psql reads it: a Boolean in any of its spellings, or the start of one.
fn is_true(command: &str, condition: &[String]) -> Result<bool> {
    let text = condition.join(" ");
    let lower = text.to_lowercase();
    let starts = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if lower == "1" || starts("true", 1) || starts("yes", 1) || starts("on", 2) {
        return Ok(true);
    }
    if lower == "0" || starts("false", 1) || starts("no", 1) || starts("off", 2) {
        return Ok(false);
    }
    let message = format!("\\{command} needs a Boolean, not \"{text}\"");
    let hint =
        "Write true or false, a variable that holds one, or :{?name} to ask whether it is set.";
    Err(Error::InvalidSetting {
        message,
        hint: Some(hint.to_owned()),
    })
}

fn without_if(command: &str) -> Error {
    command_error(format!("\\{command} stands without an \\if"))
}
