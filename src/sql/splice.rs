//! Pieces of a text in the place of others, found where sqlparser says that they stand.

use datafusion::sql::sqlparser::tokenizer::Location;

/// What comes in the place of the text from `start` up to `end`; before `start` where there is nothing between them.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it begins: a line and a column in characters, from 1.
    pub start: Location,
    /// The place behind it.
    pub end: Location,
    /// What stands there instead.
    pub text: String,
}

/// The text with the pieces, which don't overlap.
pub fn splice(text: &str, mut pieces: Vec<Piece>) -> String {
    pieces.sort_by_key(|piece| (piece.start.line, piece.start.column));
    let mut pieces = pieces.into_iter().peekable();
    let mut result = String::with_capacity(text.len());
    let (mut line, mut column) = (1, 1);
    let mut left_out: Option<Location> = None;
    for character in text.chars() {
        let is_here = |at: &Location| (at.line, at.column) == (line, column);
        left_out = left_out.filter(|end| !is_here(end));
        while let Some(piece) = pieces.next_if(|piece| is_here(&piece.start)) {
            result.push_str(&piece.text);
            left_out = Some(piece.end).filter(|end| !is_here(end));
        }
        if left_out.is_none() {
            result.push(character);
        }
        match character {
            '\n' => (line, column) = (line + 1, 1),
            _ => column += 1,
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_in_place_or_between() {
        let piece = |start, end, text: &str| {
            let at = |(line, column)| Location { line, column };
            Piece {
                start: at(start),
                end: at(end),
                text: text.to_owned(),
            }
        };
        let pieces = vec![
            piece((2, 1), (2, 3), "b"),
            piece((1, 2), (1, 2), "、"),
            piece((2, 3), (2, 3), "!"),
        ];
        assert_eq!(splice("漏斗\nabc\n", pieces), "漏、斗\nb!c\n");
        assert_eq!(splice("", Vec::new()), "");
    }
}
