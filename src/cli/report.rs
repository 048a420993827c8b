//! Errors and notices on stderr, as psql reports them.

use std::io::{self, Write};

use super::format::{character_width, text_width};
use crate::engine::Notice;
use crate::error::Error;

/// Writes an error with its SQLSTATE, its place in `sql`, its detail and its hint. `place` says which
/// file it is in, or nothing.
pub fn write_error(out: &mut dyn Write, place: &str, error: &Error, sql: &str) -> io::Result<()> {
    writeln!(out, "{place}ERROR:  {}: {error}", error.code())?;
    if let Some(pointer) = error.position().and_then(|position| pointer(sql, position)) {
        writeln!(out, "{pointer}")?;
    }
    if let Some(detail) = error.detail() {
        writeln!(out, "DETAIL:  {detail}")?;
    }
    if let Some(hint) = error.hint() {
        writeln!(out, "HINT:  {hint}")?;
    }
    Ok(())
}

/// Writes a message that came with a result.
pub fn write_notice(out: &mut dyn Write, place: &str, notice: &Notice) -> io::Result<()> {
    writeln!(out, "{place}{}:  {}", notice.severity, notice.message)?;
    match &notice.hint {
        Some(hint) => writeln!(out, "HINT:  {hint}"),
        None => Ok(()),
    }
}

/// Columns of a long line that are shown, and of those behind the caret; libpq's numbers.
const SHOWN_WIDTH: usize = 60;
const WIDTH_BEHIND: usize = 10;

/// `LINE 2: the line` with a caret below the character at `position` (from 1); a line that is too long is
/// cut as libpq cuts it.
fn pointer(sql: &str, position: usize) -> Option<String> {
    let characters: Vec<char> = sql.chars().collect();
    let place = position
        .checked_sub(1)
        .filter(|place| *place <= characters.len())?;
    let before = &characters[..place];
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let mut start = before
        .iter()
        .rposition(|c| *c == '\n')
        .map_or(0, |at| at + 1);
    let rest = characters[place..]
        .iter()
        .position(|c| matches!(c, '\n' | '\r'));
    let mut end = rest.map_or(characters.len(), |length| place + length);
    let width = |from: usize, to: usize| -> usize {
        characters[from..to]
            .iter()
            .map(|c| character_width(*c).max(usize::from(*c == '\t')))
            .sum()
    };
    let (line_start, line_end) = (start, end);
    if width(start, end) > SHOWN_WIDTH && width(start, place) + WIDTH_BEHIND <= SHOWN_WIDTH {
        while width(start, end) > SHOWN_WIDTH {
            end -= 1;
        }
    } else if width(start, end) > SHOWN_WIDTH {
        while place < end && width(place, end) > WIDTH_BEHIND {
            end -= 1;
        }
        while width(start, end) > SHOWN_WIDTH {
            start += 1;
        }
    }
    let head = format!(
        "LINE {line}: {}",
        if start > line_start { "..." } else { "" }
    );
    let text: String = characters[start..end]
        .iter()
        .map(|c| if *c == '\t' { ' ' } else { *c })
        .collect();
    let tail = if end < line_end { "..." } else { "" };
    let blanks = " ".repeat(text_width(&head) + width(start, place));
    Some(format!("{head}{text}{tail}\n{blanks}^"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_the_character() {
        assert_eq!(
            pointer("select x", 8).unwrap(),
            "LINE 1: select x\n               ^"
        );
        let sql = "select\n\t线索, nope\nfrom t";
        assert_eq!(
            pointer(sql, 13).unwrap(),
            "LINE 2:  线索, nope\n               ^"
        );
        assert_eq!(pointer("", 1).unwrap(), "LINE 1: \n        ^");
        assert_eq!(pointer("abc", 0), None);
        assert_eq!(pointer("abc", 5), None);
    }

    /// psql 15.18 on the same statements.
    #[test]
    fn a_long_line_is_cut_around_it() {
        let many = |count: usize| vec!["1111"; count].join(" + ");
        let sql = format!("select {} + nope + {}", many(10), many(10));
        let expected = "LINE 1: ... 1111 + 1111 + 1111 + 1111 + 1111 + 1111 + 1111 + nope + 111...\n\
                        \x20                                                            ^";
        assert_eq!(
            pointer(&sql, sql.find("nope").unwrap() + 1).unwrap(),
            expected
        );
        let sql = format!("select nope + {}", many(20));
        let expected = "LINE 1: select nope + 1111 + 1111 + 1111 + 1111 + 1111 + 1111 + 1111...\n\
                        \x20              ^";
        assert_eq!(pointer(&sql, 8).unwrap(), expected);
    }
}
