//! Words of Postgres' that sqlparser doesn't read, in words that it reads: while they are still tokens, so that they are
//! found wherever they stand, and at their places.
//!
//! | Written | Read as |
//! |---|---|
//! | `TABLE t` for a query | `SELECT * FROM t` |
//! | `TRIM(LEADING FROM x)` | `TRIM(LEADING ' ' FROM x)` |
//! | `top` | `"top"`, for names that other dialects keep for themselves |
//! | `pg_catalog.substring(x, 2)` | `pg_catalog."substring"(x, 2)` |

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// What are names like any other in Postgres.
const NAMES: [Keyword; 3] = [Keyword::TOP, Keyword::SAMPLE, Keyword::QUALIFY];

/// Functions whose arguments have words between them, unless a schema is named.
const SYNTAXES: [Keyword; 7] = [
    Keyword::CEIL,
    Keyword::EXTRACT,
    Keyword::FLOOR,
    Keyword::OVERLAY,
    Keyword::POSITION,
    Keyword::SUBSTRING,
    Keyword::TRIM,
];

/// Writes them so.
pub fn replace(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        match keyword(&tokens[at].token) {
            Some(Keyword::TABLE) if begins_query(tokens, at) => {
                let star = [
                    word("SELECT", Keyword::SELECT),
                    Token::Mul,
                    word("FROM", Keyword::FROM),
                ];
                put(tokens, at..at + 1, star);
                at += 2;
            }
            Some(Keyword::LEADING | Keyword::TRAILING | Keyword::BOTH)
                if next(tokens, at) == Some(Keyword::FROM) =>
            {
                put(
                    tokens,
                    at + 1..at + 1,
                    [Token::SingleQuotedString(" ".to_owned())],
                );
            }
            Some(name) if NAMES.contains(&name) || is_qualified_call(tokens, at, name) => {
                let quoted = Token::Word(Word {
                    value: tokens[at].token.to_string().to_lowercase(),
                    quote_style: Some('"'),
                    keyword: Keyword::NoKeyword,
                });
                put(tokens, at..at + 1, [quoted]);
            }
            _ => {}
        }
        at += 1;
    }
}

/// `pg_catalog.substring(x, 2)`: with a schema before it, a function of a syntax of its own is called as any other.
fn is_qualified_call(tokens: &[TokenWithSpan], at: usize, name: Keyword) -> bool {
    let before = at.checked_sub(1).and_then(|at| tokens.get(at));
    SYNTAXES.contains(&name)
        && before.is_some_and(|token| token.token == Token::Period)
        && following(tokens, at).is_some_and(|token| token.token == Token::LParen)
}

/// `TABLE t` where a query can begin: `CREATE TABLE`, `ON TABLE` and the like are something else.
fn begins_query(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = tokens[..at]
        .iter()
        .rev()
        .find(|token| !matches!(token.token, Token::Whitespace(_)));
    let begins = match before.map(|token| &token.token) {
        None | Some(Token::SemiColon | Token::LParen) => true,
        Some(token) => matches!(
            keyword(token),
            Some(
                Keyword::UNION
                    | Keyword::EXCEPT
                    | Keyword::INTERSECT
                    | Keyword::ALL
                    | Keyword::EXPLAIN
            )
        ),
    };
    let named = following(tokens, at);
    begins && matches!(named.map(|token| &token.token), Some(Token::Word(_)))
}

fn next(tokens: &[TokenWithSpan], at: usize) -> Option<Keyword> {
    following(tokens, at).and_then(|token| keyword(&token.token))
}

fn following(tokens: &[TokenWithSpan], at: usize) -> Option<&TokenWithSpan> {
    tokens[at + 1..]
        .iter()
        .find(|token| !matches!(token.token, Token::Whitespace(_)))
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn word(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word {
        value: text.to_owned(),
        quote_style: None,
        keyword,
    })
}

/// Puts tokens in the place of others; they are all at the place of the first.
fn put<const N: usize>(
    tokens: &mut Vec<TokenWithSpan>,
    place: std::ops::Range<usize>,
    others: [Token; N],
) {
    let Some(span) = tokens.get(place.start).map(|token| token.span) else {
        return;
    };
    let others = others.map(|token| TokenWithSpan { token, span });
    tokens.splice(place, others);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::sql::parse;

    #[test]
    fn words_of_postgres_are_read_at_their_places() {
        for sql in [
            "TABLE owners",
            "SELECT pg_catalog.substring('abc', 'b'), pg_catalog.floor(1.5), substring('abc' FROM 2)",
            "(TABLE owners) UNION ALL TABLE owners ORDER BY 1",
            "SELECT trim(LEADING FROM '  a'), trim(both from x)",
            "SELECT top.n FROM (SELECT 1 AS n) top",
            "SELECT 1 FROM a top JOIN b sample ON true",
            "CREATE TABLE t (a int)",
            "DROP TABLE t",
            "SELECT a AS top, \"table\" FROM t",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).err());
        }
        let statements = parse("TABLE 漏斗; SELECT 1").unwrap();
        assert_eq!(statements[0].text, "TABLE 漏斗");
        let fault = parse("TABLE owners nonsense is").unwrap_err();
        assert_eq!(fault.position(), Some(23));
    }
}
