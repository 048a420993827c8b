//! `CREATE TABLE … PARTITIONED BY (day, region)` as an option of the table, which sqlparser reads.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::is_word;
use crate::tables::PARTITIONED_BY;

/// Puts `WITH (partitioned_by = 'day, region')` in the place of `PARTITIONED BY (day, region)` where a durable table is made.
pub fn as_option(tokens: &mut Vec<TokenWithSpan>) {
    let mut from = 0;
    while let Some(start) = next(tokens, from) {
        let words: Vec<usize> = significant(tokens, start).take(3).collect();
        let [_, _, open] = words.as_slice() else {
            return;
        };
        let close = tokens[*open..]
            .iter()
            .position(|token| token.token == Token::RParen)
            .map(|at| at + open);
        let Some(close) = close else {
            return;
        };
        from = close + 1;
        if !makes_table(tokens, start) {
            continue;
        }
        let columns: String = tokens[open + 1..close]
            .iter()
            .map(|token| token.token.to_string())
            .collect();
        let span = tokens[start].span;
        let option = [
            Token::make_keyword("WITH"),
            Token::LParen,
            Token::make_word(PARTITIONED_BY, None),
            Token::Eq,
            Token::SingleQuotedString(columns),
            Token::RParen,
        ];
        let option = option.map(|token| TokenWithSpan { token, span });
        from = start + option.len();
        tokens.splice(start..=close, option);
    }
}

/// The places of tokens that are no space, from one on.
fn significant(tokens: &[TokenWithSpan], from: usize) -> impl Iterator<Item = usize> + '_ {
    (from..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
}

/// Where the next `PARTITIONED BY (` is.
fn next(tokens: &[TokenWithSpan], from: usize) -> Option<usize> {
    (from..tokens.len()).find(|at| {
        let words: Vec<&Token> = significant(tokens, *at)
            .take(3)
            .map(|at| &tokens[at].token)
            .collect();
        is_word(&tokens[*at].token, "partitioned")
            && matches!(words.as_slice(), [_, by, Token::LParen] if is_word(by, "by"))
    })
}

/// Whether the statement that a token stands in begins with `CREATE TABLE`.
fn makes_table(tokens: &[TokenWithSpan], at: usize) -> bool {
    let start = tokens[..at]
        .iter()
        .rposition(|token| token.token == Token::SemiColon)
        .map_or(0, |at| at + 1);
    let words: Vec<usize> = significant(tokens, start).take(4).collect();
    let is = |at: usize, word: &str| {
        words
            .get(at)
            .is_some_and(|at| is_word(&tokens[*at].token, word))
    };
    is(0, "create") && (is(1, "table") || is(1, "or") && is(3, "table"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;

    #[test]
    fn partitions_are_an_option_of_the_table() {
        let statements = parse(
            "CREATE TABLE t (a int, \"天\" date)\n PARTITIONED  BY (\"天\", a); CREATE TABLE u PARTITIONED BY (a) AS SELECT 1 AS a",
        )
        .unwrap();
        let texts: Vec<String> = statements.iter().map(|s| format!("{:?}", s.kind)).collect();
        assert!(texts[0].contains("\\\"天\\\", a"), "{}", texts[0]);
        assert!(texts[1].contains("partitioned_by"), "{}", texts[1]);
        assert!(statements[0].text.ends_with("PARTITIONED  BY (\"天\", a)"));
    }
}
