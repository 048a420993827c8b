//! Regular expressions as PostgreSQL 15 has them: its advanced ones.
//!
//! A pattern is read as Postgres reads it and written anew for a library: for `regex`, which needs time that grows with the
//! text alone; for `fancy-regex` where the pattern refers back or looks around, or where another way than the first that
//! matches may be the longest one, which is the one that Postgres takes.

mod parse;
mod tree;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

pub use parse::Options;

use super::function::{Result, fault};
use crate::error::Fault;

/// Where a match and its groups are, in bytes; the first is the match itself.
pub type Match = Vec<Option<Range<usize>>>;

/// So many patterns are kept by each thread, as by each of Postgres' processes.
const KEPT: usize = 32;

/// A larger program of the library's is not made.
const LARGEST_BYTES: usize = 1 << 22;

thread_local! {
    /// The patterns that were read last, the last one first.
    static PATTERNS: RefCell<Vec<(String, Options, Arc<Pattern>)>> = const { RefCell::new(Vec::new()) };
}

/// A regular expression that was read.
#[derive(Debug)]
pub struct Pattern {
    groups: usize,
    finder: Finder,
}

/// What finds the matches.
#[derive(Debug)]
enum Finder {
    /// The first way that matches.
    First(Regex),
    /// One that goes back, to the longest way or to what the other library doesn't have. That one says whether a text
    /// matches where it can.
    Back {
        matches: Option<Regex>,
        finds: fancy_regex::Regex,
    },
}

/// Reads a pattern, or finds it among those that were read last.
///
/// # Errors
/// 2201B for a pattern that is none.
pub fn pattern(text: &str, options: Options) -> Result<Arc<Pattern>> {
    let known = PATTERNS.with_borrow_mut(|patterns| {
        let mut places = patterns.iter();
        let at = places.position(|(known, as_read, _)| known == text && *as_read == options)?;
        patterns[..=at].rotate_right(1);
        patterns.first().map(|(_, _, pattern)| Arc::clone(pattern))
    });
    if let Some(pattern) = known {
        return Ok(pattern);
    }
    let pattern = Arc::new(Pattern::read(text, options)?);
    PATTERNS.with_borrow_mut(|patterns| {
        patterns.insert(0, (text.to_owned(), options, Arc::clone(&pattern)));
        patterns.truncate(KEPT);
    });
    Ok(pattern)
}

/// Whether a pattern means to the library what it means to Postgres.
pub fn is_the_same(text: &str) -> bool {
    // The library for queries makes `LIKE` of a pattern, and reads a long one for each of its parts.
    text.len() < 100
        && parse::parse(text, Options::default()).is_ok_and(|parsed| {
            let mut written = String::new();
            parsed.tree.write(&mut written);
            parsed.tree.is_regular() && written == text
        })
}

fn too_complex<T>() -> Result<T> {
    let reason = parse::COMPLEX;
    fault(
        Fault::InvalidRegex,
        format!("regular expression failed: {reason}"),
    )
}

impl Pattern {
    fn read(text: &str, options: Options) -> Result<Self> {
        let parsed = match parse::parse(text, options) {
            Ok(parsed) => parsed,
            Err(reason) => {
                return fault(
                    Fault::InvalidRegex,
                    format!("invalid regular expression: {reason}"),
                );
            }
        };
        let mut written = String::new();
        parsed.tree.write(&mut written);
        let regular = match parsed.tree.is_regular() {
            true => RegexBuilder::new(&written)
                .size_limit(LARGEST_BYTES)
                .build()
                .ok(),
            false => None,
        };
        let longest = parsed.tree.may_be_longer();
        let finder = match regular {
            Some(regular) if !longest => Finder::First(regular),
            matches => {
                let finds = fancy_regex::RegexBuilder::new(&written)
                    .leftmost_longest(longest)
                    .delegate_size_limit(LARGEST_BYTES)
                    .build();
                let Ok(finds) = finds else {
                    return too_complex();
                };
                Finder::Back { matches, finds }
            }
        };
        Ok(Self {
            groups: parsed.groups,
            finder,
        })
    }

    /// How many groups remember.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether a text matches.
    ///
    /// # Errors
    /// 2201B where that takes too long to find out.
    pub fn is_match(&self, text: &str) -> Result<bool> {
        match &self.finder {
            Finder::First(regular)
            | Finder::Back {
                matches: Some(regular),
                ..
            } => Ok(regular.is_match(text)),
            Finder::Back { finds, .. } => finds.is_match(text).or_else(|_| too_complex()),
        }
    }

    /// The first match.
    ///
    /// # Errors
    /// 2201B where that takes too long to find out.
    pub fn first(&self, text: &str) -> Result<Option<Match>> {
        self.from(text, 0)
    }

    /// The first match from the byte `from` on, or all of them. After an empty one the next character is passed by.
    ///
    /// # Errors
    /// 2201B where that takes too long to find out.
    pub fn matches(&self, text: &str, from: usize, all: bool) -> Result<Vec<Match>> {
        let mut found = Vec::new();
        let mut at = Some(from);
        while let Some(start) = at.filter(|start| *start <= text.len())
            && let Some(places) = self.from(text, start)?
        {
            at = next_start(&places, text).filter(|_| all);
            found.push(places);
        }
        Ok(found)
    }

    /// The first match from a byte on; what stands before it is seen.
    fn from(&self, text: &str, start: usize) -> Result<Option<Match>> {
        match &self.finder {
            Finder::First(regular) => {
                let mut groups = regular.capture_locations();
                if regular.captures_read_at(&mut groups, text, start).is_none() {
                    return Ok(None);
                }
                let places = (0..groups.len()).map(|at| groups.get(at));
                Ok(Some(
                    places
                        .map(|place| place.map(|(start, end)| start..end))
                        .collect(),
                ))
            }
            Finder::Back { finds, .. } => {
                let Ok(found) = finds.captures_from_pos(text, start) else {
                    return too_complex();
                };
                Ok(found.map(|found| {
                    let places = (0..found.len()).map(|at| found.get(at));
                    places
                        .map(|place| place.map(|place| place.range()))
                        .collect()
                }))
            }
        }
    }
}

/// Where the match after another may start.
fn next_start(places: &Match, text: &str) -> Option<usize> {
    let whole = places.first()?.as_ref()?;
    if !whole.is_empty() {
        return Some(whole.end);
    }
    let next = text[whole.end..].chars().next()?;
    Some(whole.end + next.len_utf8())
}

/// A pattern of `SIMILAR TO` as a regular expression of the whole text. Between two escaped quotes stands what `substring`
/// gives.
pub fn similar(pattern: &str, escape: Option<char>) -> String {
    let mut result = String::from("^(?:");
    let mut characters = pattern.chars();
    let (mut in_class, mut quotes) = (false, 0);
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            match characters.next() {
                Some('"') if !in_class && quotes < 2 => {
                    result.push_str([")(", ")(?:"][quotes]);
                    quotes += 1;
                }
                Some(next) => result.extend(['\\', next]),
                None => {}
            }
            continue;
        }
        match character {
            '\\' => result.push_str("\\\\"),
            ']' if in_class => {
                in_class = false;
                result.push(']');
            }
            other if in_class => result.push(other),
            '[' => {
                in_class = true;
                result.push('[');
            }
            // What stands before the part that is wanted is as short as it can be.
            '%' if quotes == 0 => result.push_str(".*?"),
            '%' => result.push_str(".*"),
            '_' => result.push('.'),
            '(' => result.push_str("(?:"),
            '.' | '^' | '$' => result.extend(['\\', character]),
            other => result.push(other),
        }
    }
    result + ")$"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(text: &str, written: &str) -> Option<Vec<Option<String>>> {
        let pattern = pattern(written, Options::default()).unwrap();
        let places = pattern.first(text).unwrap()?;
        let text_of = |place: Option<Range<usize>>| place.map(|place| text[place].to_owned());
        Some(places.into_iter().map(text_of).collect())
    }

    /// Expected: PostgreSQL 15.18, in the locale C.UTF-8.
    #[test]
    fn texts_match_as_in_postgres() {
        for (text, written, expected) in [
            ("é", "[[:alpha:]]", true),
            ("é", r"\w", true),
            ("٣", r"\d", false),
            ("٣", "[[:alpha:]]", true),
            ("\u{a0}", r"\s", false),
            ("\u{3000}", r"\s", true),
            ("\u{85}", r"\s", false),
            ("‿", r"\w", false),
            ("，", "[[:punct:]]", true),
            ("a\nb", "a.b", true),
            ("a\nb", "^b", false),
            ("a\nb", "(?n)^b", true),
            ("a\nb", "(?n)a.b", false),
            ("a\nb", "(?p)^b", false),
            ("a\nb", "(?w)^b", true),
            ("a\nb", r"(?n)a\Wb", true),
            ("a\nb", "(?n)a[^x]b", false),
            ("a\n", "a$", false),
            ("-", "[a-]", true),
            ("a{x", "a{x", true),
            ("a{,2}", "a{,2}", true),
            ("aa", r"(.)\1", true),
            ("ab", r"(.)\1", false),
            ("axb", "***=a.b", false),
            ("axb", "***:a.b", true),
            ("foobar", "foo(?=bar)", true),
            ("foobar", "(?<=foo)bar", true),
            ("foobar", "(?<!foo)bar", false),
            ("foobar", "foo(?!bar)", false),
            ("a b", r"(?x)a\ b # c", true),
            ("foo bar", r"\mbar\M", true),
            ("foobar", r"\mbar", false),
            ("foo bar", "[[:<:]]bar[[:>:]]", true),
            ("foobar", r"\Ybar", true),
            ("foobar", r"\ybar", false),
            ("a", r"\Aa\Z", true),
            ("a\\b", r"a\Bb", true),
            ("A", r"\x41", true),
            ("A", r"\u0041", true),
            ("A", r"\101", true),
            ("-", r"[\W]", true),
            ("a]", "[]a]{2}", true),
            ("axb", "(?q)a.b", false),
            ("x", "[[.x.]]", true),
            ("-", "[[.hyphen.]]", true),
            ("b", "[[.a.]-c]", true),
        ] {
            let matches = pattern(written, Options::default()).unwrap();
            assert_eq!(
                matches.is_match(text).unwrap(),
                expected,
                "{text} ~ {written}"
            );
        }
    }

    /// Expected: `regexp_match` of PostgreSQL 15.18.
    #[test]
    fn groups_get_what_postgres_gives_them() {
        for (text, written, expected) in [
            ("foobarbaz", "(foo|foobar)", vec![Some("foobar")]),
            ("XY1234Z", "Y*([0-9]{1,3})", vec![Some("123")]),
            (
                "abc01234xyz",
                r"(.*)(\d+)(.*)",
                vec![Some("abc0123"), Some("4"), Some("xyz")],
            ),
            (
                "abc01234xyz",
                r"(?:(.*?)(\d+)(.*)){1,1}",
                vec![Some("abc"), Some("01234"), Some("xyz")],
            ),
            ("aab", "a*(ab)?", vec![Some("ab")]),
            ("ab", "(a)|(b)", vec![Some("a"), None]),
            ("abab", "(a|b)*", vec![Some("b")]),
            ("x", "(a)*x", vec![None]),
            ("aaa", "(a){2}", vec![Some("a")]),
            ("aaa", "(a)*?", vec![None]),
        ] {
            let groups = found(text, written).unwrap();
            let groups: Vec<Option<&str>> = groups.iter().skip(1).map(Option::as_deref).collect();
            assert_eq!(groups, expected, "{text}, {written}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_said_in_the_words_of_postgres() {
        for (written, reason) in [
            ("[", "brackets [] not balanced"),
            ("(", "parentheses () not balanced"),
            (")", "parentheses () not balanced"),
            ("*", "quantifier operand invalid"),
            ("a**", "quantifier operand invalid"),
            ("a{2,1}", "invalid repetition count(s)"),
            ("a{256}", "invalid repetition count(s)"),
            ("a{1", "braces {} not balanced"),
            (r"\q", r"invalid escape \ sequence"),
            (r"\", r"invalid escape \ sequence"),
            ("[b-a]", "invalid character range"),
            ("[[:foo:]]", "invalid character class"),
            ("(?z)a", "invalid embedded option"),
            ("(?<a)", "quantifier operand invalid"),
            (r"\2", "invalid backreference number"),
            (r"(a\1)", "invalid backreference number"),
            ("***a", "quantifier operand invalid"),
        ] {
            let error = pattern(written, Options::default()).unwrap_err();
            let expected = format!("invalid regular expression: {reason}");
            assert!(error.to_string().contains(&expected), "{written}: {error}");
        }
    }
}
