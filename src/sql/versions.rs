//! `FROM deals FOR VERSION AS OF 3` and `FOR TIMESTAMP AS OF '…'` as calls of `table_at`, which sqlparser reads.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::is_word;

/// The function that such a table is.
pub const TABLE_AT: &str = "table_at";

/// Words that can't be an alias where they stand behind a table.
const CLAUSES: &[&str] = &[
    "where",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "fetch",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "on",
    "using",
    "union",
    "except",
    "intersect",
    "window",
    "for",
    "returning",
    "tablesample",
    "set",
    "when",
];

/// Puts `table_at('deals', version => 3) AS deals` in the place of `deals FOR VERSION AS OF 3`.
pub fn as_calls(tokens: &mut Vec<TokenWithSpan>) {
    let mut from = 0;
    while let Some((start, clause, version)) = next(tokens, from) {
        let words: Vec<usize> = significant(tokens, clause).take(5).collect();
        let Some(value) = words.get(4).copied() else {
            return;
        };
        let is_value = matches!(
            tokens[value].token,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_)
        );
        from = value + 1;
        if !is_value {
            continue;
        }
        let name: String = tokens[start..clause]
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
            .map(|token| token.token.to_string())
            .collect();
        let last = tokens[start..clause]
            .iter()
            .rev()
            .find(|token| matches!(token.token, Token::Word(_)))
            .map(|token| token.token.clone());
        let span = tokens[start].span;
        let argument = if version { "version" } else { "at" };
        let mut call = vec![
            Token::make_word(TABLE_AT, None),
            Token::LParen,
            Token::SingleQuotedString(name),
            Token::Comma,
            Token::make_word(argument, None),
            Token::RArrow,
            tokens[value].token.clone(),
            Token::RParen,
        ];
        if let (false, Some(last)) = (has_alias(tokens, value), last) {
            call.push(Token::make_keyword("AS"));
            call.push(last);
        }
        let call: Vec<_> = call
            .into_iter()
            .flat_map(|token| {
                let space =
                    Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space);
                [token, space].map(|token| TokenWithSpan { token, span })
            })
            .collect();
        from = start + call.len();
        tokens.splice(start..=value, call);
    }
}

fn significant(tokens: &[TokenWithSpan], from: usize) -> impl Iterator<Item = usize> + '_ {
    (from..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
}

/// The next such clause: where its table begins, where it begins itself, and whether it names a version.
fn next(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, usize, bool)> {
    (from..tokens.len()).find_map(|at| {
        if !is_word(&tokens[at].token, "for") {
            return None;
        }
        let words: Vec<&Token> = significant(tokens, at)
            .take(4)
            .map(|at| &tokens[at].token)
            .collect();
        let [_, what, word_as, of] = words.as_slice() else {
            return None;
        };
        let version = is_word(what, "version");
        if !(version || is_word(what, "timestamp")) || !is_word(word_as, "as") || !is_word(of, "of")
        {
            return None;
        }
        Some((name_before(tokens, at)?, at, version))
    })
}

/// Where the name that ends before a token begins.
fn name_before(tokens: &[TokenWithSpan], end: usize) -> Option<usize> {
    let mut start = None;
    let mut wants_word = true;
    for at in (0..end).rev() {
        match &tokens[at].token {
            Token::Whitespace(_) => {}
            Token::Word(_) if wants_word => {
                start = Some(at);
                wants_word = false;
            }
            Token::Period if !wants_word => wants_word = true,
            _ => break,
        }
    }
    start
}

fn has_alias(tokens: &[TokenWithSpan], value: usize) -> bool {
    match significant(tokens, value + 1)
        .next()
        .map(|at| &tokens[at].token)
    {
        Some(Token::Word(word)) => {
            word.quote_style.is_some()
                || word.keyword == Keyword::AS
                || !CLAUSES.contains(&word.value.to_lowercase().as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{StatementKind, parse};

    fn read(sql: &str) -> String {
        match parse(sql).unwrap().remove(0).kind {
            StatementKind::Engine(statement) => statement.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_table_as_it_was_is_a_call() {
        assert_eq!(
            read("SELECT * FROM crm.\"商机\" FOR VERSION AS OF 3 WHERE id = 1"),
            "SELECT * FROM table_at('crm.\"商机\"', version => 3) AS \"商机\" WHERE id = 1"
        );
        assert_eq!(
            read("SELECT * FROM a FOR TIMESTAMP AS OF '2026-01-05' AS x, b FOR VERSION AS OF $1 y"),
            "SELECT * FROM table_at('a', at => '2026-01-05') AS x, table_at('b', version => $1) y"
        );
        let locked = "SELECT * FROM a FOR UPDATE";
        assert_eq!(read(locked), locked);
    }
}
