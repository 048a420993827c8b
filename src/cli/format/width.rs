//! How many columns of a terminal a text takes: two for a Chinese character.

use unicode_width::UnicodeWidthChar;

/// The columns of a character; none for one that combines with the one before it, or has no shape.
///
/// Characters count one by one, as psql counts them, not as the clusters that a terminal may join.
pub fn character_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The columns of a text without line breaks.
pub fn text_width(text: &str) -> usize {
    text.chars().map(character_width).sum()
}
