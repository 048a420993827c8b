//! Functions of regular expressions, with the arguments and faults of PostgreSQL 15.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, ListBuilder, StringArray, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::ScalarUDF;

use crate::error::Fault;
use crate::postgres::function::{Call, Result, Returns, fault, function};
use crate::postgres::regex::{Match, Options, Pattern, pattern, similar};
use crate::postgres::types;

/// All of them.
pub fn all() -> Vec<ScalarUDF> {
    let (boolean, integer, text) = (
        Returns::Type("bool"),
        Returns::Type("int4"),
        Returns::Type("text"),
    );
    vec![
        function("pg_regex", boolean, |call| {
            let found = rows(call, |row| {
                matches(row.text(0), row.text(1), false).map(Some)
            })?;
            Ok(Arc::new(BooleanArray::from(found)))
        }),
        function("pg_regex_fold", boolean, |call| {
            let found = rows(call, |row| {
                matches(row.text(0), row.text(1), true).map(Some)
            })?;
            Ok(Arc::new(BooleanArray::from(found)))
        }),
        function("similar_to_escape", text, |call| {
            let patterns = rows(call, |row| {
                let escape = escape_of(row.text_or(1, "\\"))?;
                Ok(Some(similar(row.text(0), escape)))
            })?;
            Ok(Arc::new(StringArray::from(patterns)))
        }),
        function("pg_regexp_like", boolean, |call| {
            let found = rows(call, |row| {
                let pattern = row.pattern(1, 2, "regexp_like")?;
                pattern.is_match(row.text(0)).map(Some)
            })?;
            Ok(Arc::new(BooleanArray::from(found)))
        }),
        function("pg_regexp_count", integer, |call| {
            let counts = rows(call, |row| {
                let pattern = row.pattern(1, 3, "regexp_count")?;
                let found = row.found(&pattern, row.positive(2, "start")?, true)?;
                whole(found.len()).map(Some)
            })?;
            Ok(Arc::new(Int32Array::from(counts)))
        }),
        function("pg_regexp_instr", integer, |call| {
            Ok(Arc::new(Int32Array::from(rows(call, instr)?)))
        }),
        function("regexp_substr", text, |call| {
            let parts = rows(call, |row| {
                let pattern = row.pattern(1, 4, "regexp_substr")?;
                let place = row.nth(&pattern, row.number_or(5, 0))?;
                Ok(place.map(|place| row.text(0)[place].to_owned()))
            })?;
            Ok(Arc::new(StringArray::from(parts)))
        }),
        function("pg_regexp_replace", text, |call| {
            Ok(Arc::new(StringArray::from(rows(call, replace)?)))
        }),
        function("pg_regexp_match", Returns::Type("_text"), |call| {
            let found = rows(call, |row| {
                let pattern = row.pattern(1, 2, "regexp_match")?;
                let first = pattern.first(row.text(0))?;
                Ok(first.map(|first| groups(row.text(0), &first)))
            })?;
            Ok(lists(found))
        }),
        function(
            "pg_list_regexp_matches",
            Returns::Of(|_, _| {
                let texts = types::list_of(DataType::Utf8);
                Ok(Field::new("", types::list_of(texts), true))
            }),
            all_matches,
        ),
        function("regexp_split_to_array", Returns::Type("_text"), |call| {
            split(call, "regexp_split_to_array")
        }),
        function(
            "pg_list_regexp_split_to_table",
            Returns::Type("_text"),
            |call| split(call, "regexp_split_to_table"),
        ),
    ]
}

/// `text ~ written`, or `~*`.
pub fn matches(text: &str, written: &str, fold: bool) -> Result<bool> {
    let options = Options {
        fold,
        ..Options::default()
    };
    pattern(written, options)?.is_match(text)
}

/// `substring(text, pattern)`: its first group, or all of the match where there is none. With a third argument the pattern is
/// one of `SIMILAR TO`, and what is given stands between two escaped quotes.
pub fn substring_like(call: &Call) -> Result<ArrayRef> {
    let parts = rows(call, |row| {
        let written = match row.texts.get(2).and_then(Option::as_ref) {
            Some(_) => similar(row.text(1), escape_of(row.text_or(2, ""))?),
            None => row.text(1).to_owned(),
        };
        let pattern = pattern(&written, Options::default())?;
        let found = pattern.first(row.text(0))?;
        let wanted = usize::from(pattern.groups() > 0);
        let place = found.and_then(|found| found.get(wanted).cloned().flatten());
        Ok(place.map(|place| row.text(0)[place].to_owned()))
    })?;
    Ok(Arc::new(StringArray::from(parts)))
}

/// The arguments of a row.
struct Row<'a> {
    texts: &'a [Option<StringArray>],
    numbers: &'a [Option<i64>],
    at: usize,
}

impl Row<'_> {
    /// A text; nothing where there is none.
    fn text(&self, at: usize) -> &str {
        self.text_or(at, "")
    }

    fn text_or<'b>(&'b self, at: usize, otherwise: &'b str) -> &'b str {
        match self.texts.get(at) {
            Some(Some(texts)) => texts.value(self.at),
            _ => otherwise,
        }
    }

    fn number_or(&self, at: usize, otherwise: i64) -> i64 {
        self.numbers.get(at).copied().flatten().unwrap_or(otherwise)
    }

    /// A number that counts from 1, which it is where it is left out.
    fn positive(&self, at: usize, name: &str) -> Result<i64> {
        match self.number_or(at, 1) {
            number if number < 1 => no_value(name, number),
            number => Ok(number),
        }
    }

    /// The pattern, with the flags of another argument; they may not say `g`.
    fn pattern(&self, at: usize, flags: usize, function: &str) -> Result<Arc<Pattern>> {
        let (options, global) = options(self.text_or(flags, ""))?;
        match global {
            true => no_global(function),
            false => pattern(self.text(at), options),
        }
    }

    /// What a pattern matches from the `start`-th character on.
    fn found(&self, pattern: &Pattern, start: i64, all: bool) -> Result<Vec<Match>> {
        match from(self.text(0), start) {
            Some(from) => pattern.matches(self.text(0), from, all),
            None => Ok(Vec::new()),
        }
    }

    /// Where the n-th match is, or a group of it: the third argument says where to start, the fourth says n.
    fn nth(&self, pattern: &Pattern, group: i64) -> Result<Option<Range<usize>>> {
        let (start, n) = (self.positive(2, "start")?, self.positive(3, "n")?);
        let Ok(group) = usize::try_from(group) else {
            return no_value("subexpr", group);
        };
        let found = self.found(pattern, start, n > 1)?;
        let nth = usize::try_from(n - 1).ok().and_then(|n| found.get(n));
        Ok(nth.and_then(|nth| nth.get(group).cloned().flatten()))
    }
}

/// An answer for each row; NULL where an argument is.
fn rows<T>(call: &Call, answer: impl Fn(&Row) -> Result<Option<T>>) -> Result<Vec<Option<T>>> {
    let is_number = |at: usize| call.arrays[at].data_type().is_numeric();
    let (mut texts, mut columns) = (Vec::new(), Vec::new());
    for at in 0..call.arrays.len() {
        texts.push(match is_number(at) && at > 1 {
            true => None,
            false => Some(call.texts(at)?),
        });
        columns.push(match is_number(at) && at > 1 {
            true => Some(call.integers(at)?),
            false => None,
        });
    }
    let mut numbers = vec![None; columns.len()];
    let mut answers = Vec::with_capacity(call.rows);
    for at in 0..call.rows {
        let null = texts.iter().flatten().any(|column| column.is_null(at))
            || columns.iter().flatten().any(|column| column.is_null(at));
        if null {
            answers.push(None);
            continue;
        }
        for (number, column) in numbers.iter_mut().zip(&columns) {
            *number = column.as_ref().map(|column| column.value(at));
        }
        answers.push(answer(&Row {
            texts: &texts,
            numbers: &numbers,
            at,
        })?);
    }
    Ok(answers)
}

/// The options that flags say, and whether they say `g`.
fn options(flags: &str) -> Result<(Options, bool)> {
    let (mut options, mut global) = (Options::default(), false);
    for flag in flags.chars() {
        match flag {
            'g' => global = true,
            'b' => {
                return Err(DataFusionError::NotImplemented(
                    "basic regular expressions are not supported".to_owned(),
                ));
            }
            flag if options.set(flag) => {}
            other => {
                return fault(
                    Fault::InvalidArgument,
                    format!("invalid regular expression option: \"{other}\""),
                );
            }
        }
    }
    Ok((options, global))
}

fn no_global<T>(function: &str) -> Result<T> {
    fault(
        Fault::InvalidArgument,
        format!("{function}() does not support the \"global\" option"),
    )
}

fn no_value<T>(name: &str, value: i64) -> Result<T> {
    fault(
        Fault::InvalidArgument,
        format!("invalid value for parameter \"{name}\": {value}"),
    )
}

fn escape_of(text: &str) -> Result<Option<char>> {
    let mut characters = text.chars();
    let escape = characters.next();
    match characters.next() {
        Some(_) => fault(Fault::InvalidEscape, "invalid escape string"),
        None => Ok(escape),
    }
}

/// The byte at which the `start`-th character is; nothing behind the end.
fn from(text: &str, start: i64) -> Option<usize> {
    let start = usize::try_from(start - 1).ok()?;
    let places = text.char_indices().map(|(at, _)| at);
    places.chain([text.len()]).nth(start)
}

fn whole(count: usize) -> Result<i32> {
    i32::try_from(count).or_else(|_| fault(Fault::OutOfRange, "integer out of range"))
}

/// The texts of the groups, or of the match where there is none.
fn groups(text: &str, found: &Match) -> Vec<Option<String>> {
    let first = usize::from(found.len() > 1);
    let texts = found[first..].iter();
    texts
        .map(|place| place.clone().map(|place| text[place].to_owned()))
        .collect()
}

/// `regexp_instr(text, pattern, start, n, endoption, flags, subexpr)`
fn instr(row: &Row) -> Result<Option<i32>> {
    let end = row.number_or(4, 0);
    if !(0..=1).contains(&end) {
        return no_value("endoption", end);
    }
    let pattern = row.pattern(1, 5, "regexp_instr")?;
    let Some(place) = row.nth(&pattern, row.number_or(6, 0))? else {
        return Ok(Some(0));
    };
    let byte = if end == 1 { place.end } else { place.start };
    whole(row.text(0)[..byte].chars().count() + 1).map(Some)
}

/// `regexp_replace(text, pattern, replacement, flags)` or `(…, start, n, flags)`: the n-th match from there on, or all where n
/// is 0; the first where only `start` is said.
fn replace(row: &Row) -> Result<Option<String>> {
    let numbered = row.numbers.get(3).copied().flatten().is_some();
    let flags = row.text_or(if numbered { 5 } else { 3 }, "");
    let (options, global) = options(flags)?;
    let start = row.positive(3, "start")?;
    let n = match row.numbers.get(4).copied().flatten() {
        Some(n) if n < 0 => return no_value("n", n),
        Some(n) => n,
        None => i64::from(!global),
    };
    let pattern = pattern(row.text(1), options)?;
    let text = row.text(0);
    let found = row.found(&pattern, start, n != 1)?;
    let (mut result, mut reached) = (String::with_capacity(text.len()), 0);
    for (at, found) in found.iter().enumerate() {
        let wanted = n == 0 || usize::try_from(n - 1).is_ok_and(|n| n == at);
        if let Some(Some(whole)) = found.first()
            && wanted
        {
            result.push_str(&text[reached..whole.start]);
            fill(row.text(2), text, found, &mut result);
            reached = whole.end;
        }
    }
    result.push_str(&text[reached..]);
    Ok(Some(result))
}

/// Writes a replacement: `\1` is a group, `\&` the match, `\\` a backslash.
fn fill(replacement: &str, text: &str, found: &Match, result: &mut String) {
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let group = match after.chars().next() {
            Some('&') => Some(0),
            Some(digit @ '1'..='9') => usize::try_from(u32::from(digit) - u32::from('0')).ok(),
            _ => None,
        };
        if let Some(group) = group {
            if let Some(Some(place)) = found.get(group) {
                result.push_str(&text[place.clone()]);
            }
            rest = &after[1..];
        } else {
            result.push('\\');
            rest = after.strip_prefix('\\').unwrap_or(after);
        }
    }
    result.push_str(rest);
}

fn all_matches(call: &Call) -> Result<ArrayRef> {
    let found = rows(call, |row| {
        let (options, global) = options(row.text_or(2, ""))?;
        let found = pattern(row.text(1), options)?.matches(row.text(0), 0, global)?;
        let texts = found.iter().map(|found| groups(row.text(0), found));
        Ok(Some(texts.collect::<Vec<_>>()))
    })?;
    let mut result = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for found in found {
        match found {
            Some(found) => {
                for groups in found {
                    result.values().append_value(groups);
                }
                result.append(true);
            }
            None => result.append_null(),
        }
    }
    Ok(Arc::new(result.finish()))
}

fn lists(texts: Vec<Option<Vec<Option<String>>>>) -> ArrayRef {
    let mut result = ListBuilder::new(StringBuilder::new());
    for texts in texts {
        match texts {
            Some(texts) => result.append_value(texts),
            None => result.append_null(),
        }
    }
    Arc::new(result.finish())
}

/// A text at the matches of a pattern. An empty match at its start, its end or behind another is none.
fn split(call: &Call, name: &str) -> Result<ArrayRef> {
    let parts = rows(call, |row| {
        let pattern = row.pattern(1, 2, name)?;
        let text = row.text(0);
        let (mut parts, mut reached, mut last) = (Vec::new(), 0, 0);
        for found in pattern.matches(text, 0, true)? {
            let Some(Some(whole)) = found.into_iter().next() else {
                continue;
            };
            if whole.start < text.len() && whole.end > last {
                parts.push(Some(text[reached..whole.start].to_owned()));
                reached = whole.end;
            }
            last = whole.end;
        }
        parts.push(Some(text[reached..].to_owned()));
        Ok(Some(parts))
    })?;
    Ok(lists(parts))
}
