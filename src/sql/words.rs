//! Words of Postgres' that sqlparser doesn't read, in words that it reads: while they are still tokens, so that they are
//! found wherever they stand, and at their places.
//!
//! | Written | Read as |
//! |---|---|
//! | `TABLE t` for a query | `SELECT * FROM t` |
//! | `TRIM(LEADING FROM x)` | `TRIM(LEADING ' ' FROM x)` |
//! | `top` | `"top"`, for names that other dialects keep for themselves |
//! | `pg_catalog.substring(x, 2)` | `pg_catalog."substring"(x, 2)` |
//! | `a>=-1` | `a >= -1`: an operator doesn't end with a sign |
//! | `a OPERATOR(pg_catalog.=) b` | `a = b` |
//! | `'a'` and `'b'` on the next line | `'ab'` |
//! | `x ISNULL`, `x NOTNULL` | `x IS NULL`, `x IS NOT NULL` |
//! | `FROM ONLY t` | `FROM t`: no table has others below it |
//! | `text ARRAY` for a type | `text[]` |
//! | `CREATE UNLOGGED TABLE` | `CREATE TABLE`: each one is written safely |
//! | `BEGIN … NOT DEFERRABLE` | `BEGIN …`: nobody waits for others |
//! | `x BETWEEN SYMMETRIC a AND b` | `x BETWEEN pg_symmetric(a) AND b` |

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace, Word};

use crate::postgres::rewrite::SYMMETRIC;

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
        match &tokens[at].token {
            Token::CustomBinaryOperator(symbol) => {
                if let Some((symbol, signs)) = without_signs(symbol) {
                    let span = tokens[at].span;
                    let parts = std::iter::once(symbol).chain(signs);
                    let parts = parts.map(|token| TokenWithSpan { token, span });
                    tokens.splice(at..at + 1, parts.collect::<Vec<_>>());
                }
            }
            Token::SingleQuotedString(text) => {
                if let Some((end, rest)) = continuation(tokens, at) {
                    let whole = Token::SingleQuotedString(format!("{text}{rest}"));
                    put(tokens, at..end + 1, [whole]);
                    // A third may follow.
                    continue;
                }
            }
            _ => {}
        }
        match keyword(&tokens[at].token) {
            Some(Keyword::OPERATOR) => {
                if let Some((end, symbol)) = named_operator(tokens, at) {
                    put(tokens, at..end + 1, [symbol]);
                    continue;
                }
            }
            Some(Keyword::NOTNULL) if is_behind_value(tokens, at) => {
                let words = [
                    word("IS", Keyword::IS),
                    word("NOT", Keyword::NOT),
                    word("NULL", Keyword::NULL),
                ];
                put(tokens, at..at + 1, words);
            }
            Some(Keyword::NoKeyword)
                if is_word(&tokens[at].token, "isnull") && is_behind_value(tokens, at) =>
            {
                let words = [word("IS", Keyword::IS), word("NULL", Keyword::NULL)];
                put(tokens, at..at + 1, words);
            }
            Some(Keyword::ONLY) if is_before_table(tokens, at) => {
                tokens.remove(at);
            }
            Some(Keyword::UNLOGGED) if is_made_unlogged(tokens, at) => {
                tokens.remove(at);
            }
            Some(Keyword::ARRAY) if is_behind_type(tokens, at) => {
                put(tokens, at..at + 1, [Token::LBracket, Token::RBracket]);
            }
            Some(Keyword::DEFERRABLE) if is_of_transaction(tokens, at) => {
                let from = match preceding(tokens, at) {
                    Some(before) if keyword(&tokens[before].token) == Some(Keyword::NOT) => before,
                    _ => at,
                };
                let from = match preceding(tokens, from) {
                    Some(before) if tokens[before].token == Token::Comma => before,
                    _ => from,
                };
                tokens.drain(from..=at);
                at = from;
                continue;
            }
            Some(Keyword::SYMMETRIC) if is_of_between(tokens, at) => {
                if let Some(end) = end_of_bound(tokens, at) {
                    put(tokens, end..end, [Token::RParen]);
                    put(
                        tokens,
                        at..at + 1,
                        [word(SYMMETRIC, Keyword::NoKeyword), Token::LParen],
                    );
                }
            }
            Some(Keyword::ASYMMETRIC) if is_of_between(tokens, at) => {
                tokens.remove(at);
            }
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

/// An operator and the signs behind it: `>=-` is `>=` and `-`, but `@-` is one.
fn without_signs(symbol: &str) -> Option<(Token, Vec<Token>)> {
    let rest = symbol.trim_end_matches(['+', '-']);
    if rest.is_empty()
        || rest.len() == symbol.len()
        || symbol.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?'])
    {
        return None;
    }
    let operator = match rest {
        "=" => Token::Eq,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" => Token::Neq,
        "*" => Token::Mul,
        "/" => Token::Div,
        other => Token::CustomBinaryOperator(other.to_owned()),
    };
    let sign = |sign: char| match sign {
        '-' => Token::Minus,
        _ => Token::Plus,
    };
    Some((operator, symbol[rest.len()..].chars().map(sign).collect()))
}

/// The text of a literal that goes on with another on a later line, and where that one is.
fn continuation(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, String)> {
    let mut on_later_line = false;
    for (place, token) in tokens.iter().enumerate().skip(at + 1) {
        match &token.token {
            Token::Whitespace(space) => {
                on_later_line |= matches!(
                    space,
                    Whitespace::Newline | Whitespace::SingleLineComment { .. }
                );
            }
            Token::SingleQuotedString(text) if on_later_line => return Some((place, text.clone())),
            _ => return None,
        }
    }
    None
}

/// `OPERATOR(pg_catalog.=)`: where it ends, and the operator.
fn named_operator(tokens: &[TokenWithSpan], at: usize) -> Option<(usize, Token)> {
    let mut rest = tokens
        .iter()
        .enumerate()
        .skip(at + 1)
        .filter(|(_, token)| !matches!(token.token, Token::Whitespace(_)));
    (rest.next()?.1.token == Token::LParen).then_some(())?;
    let mut symbol = None;
    for (place, token) in rest {
        match &token.token {
            Token::Word(_) | Token::Period if symbol.is_none() => {}
            Token::RParen => return Some((place, symbol?)),
            operator if symbol.is_none() => symbol = Some(operator.clone()),
            _ => return None,
        }
    }
    None
}

/// Whether a value stands before a word, rather than what makes the word a name.
fn is_behind_value(tokens: &[TokenWithSpan], at: usize) -> bool {
    let Some(before) = preceding(tokens, at) else {
        return false;
    };
    let before = &tokens[before].token;
    match before {
        Token::Period | Token::Comma | Token::LParen | Token::SemiColon => false,
        token => !matches!(
            keyword(token),
            Some(Keyword::AS | Keyword::SELECT | Keyword::WHERE | Keyword::FROM)
        ),
    }
}

/// Whether `ONLY` says something about a table.
fn is_before_table(tokens: &[TokenWithSpan], at: usize) -> bool {
    let named = following(tokens, at).is_some_and(|token| matches!(token.token, Token::Word(_)));
    let before = preceding(tokens, at).map(|before| keyword(&tokens[before].token));
    named
        && matches!(
            before,
            Some(Some(Keyword::FROM | Keyword::UPDATE | Keyword::JOIN))
        )
}

/// Whether `UNLOGGED` says how a table or sequence is made.
fn is_made_unlogged(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = preceding(tokens, at).and_then(|before| keyword(&tokens[before].token));
    let made = next(tokens, at);
    before == Some(Keyword::CREATE) && matches!(made, Some(Keyword::TABLE | Keyword::SEQUENCE))
}

/// Whether `ARRAY` is the end of a type's name.
fn is_behind_type(tokens: &[TokenWithSpan], at: usize) -> bool {
    use Keyword as K;
    let ends = match following(tokens, at) {
        None => true,
        Some(next) => match &next.token {
            Token::Comma | Token::RParen | Token::SemiColon | Token::EOF => true,
            token => matches!(
                keyword(token),
                Some(
                    K::NOT | K::NULL | K::DEFAULT | K::PRIMARY | K::UNIQUE | K::CHECK | K::COLLATE
                )
            ),
        },
    };
    let before = preceding(tokens, at).map(|before| &tokens[before].token);
    ends && match before {
        Some(Token::RParen) => true,
        Some(token) => matches!(
            keyword(token),
            Some(
                K::TEXT
                    | K::VARCHAR
                    | K::CHAR
                    | K::INT
                    | K::INT2
                    | K::INT4
                    | K::INT8
                    | K::INTEGER
                    | K::BIGINT
                    | K::SMALLINT
                    | K::NUMERIC
                    | K::DECIMAL
                    | K::REAL
                    | K::FLOAT
                    | K::FLOAT4
                    | K::FLOAT8
                    | K::PRECISION
                    | K::BOOLEAN
                    | K::BOOL
                    | K::DATE
                    | K::TIME
                    | K::TIMESTAMP
                    | K::TIMESTAMPTZ
                    | K::ZONE
                    | K::UUID
                    | K::JSON
                    | K::JSONB
                    | K::BYTEA
                    | K::INTERVAL
            )
        ),
        None => false,
    }
}

/// Whether a word stands in what a transaction begins with.
fn is_of_transaction(tokens: &[TokenWithSpan], at: usize) -> bool {
    let begin = tokens[..at]
        .iter()
        .rposition(|token| token.token == Token::SemiColon)
        .map_or(0, |end| end + 1);
    let mut words = tokens[begin..at]
        .iter()
        .filter_map(|token| keyword(&token.token));
    match words.next() {
        Some(Keyword::BEGIN | Keyword::START) => true,
        Some(Keyword::SET) => words.any(|word| word == Keyword::TRANSACTION),
        _ => false,
    }
}

fn is_of_between(tokens: &[TokenWithSpan], at: usize) -> bool {
    preceding(tokens, at)
        .is_some_and(|before| keyword(&tokens[before].token) == Some(Keyword::BETWEEN))
}

/// Where the `AND` stands behind the first bound of a `BETWEEN`.
fn end_of_bound(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(at + 1) {
        match (&token.token, keyword(&token.token)) {
            (Token::LParen | Token::LBracket, _) | (_, Some(Keyword::CASE)) => depth += 1,
            (Token::RParen | Token::RBracket, _) | (_, Some(Keyword::END)) => {
                depth = depth.checked_sub(1)?;
            }
            (_, Some(Keyword::AND)) if depth == 0 => return Some(place),
            (Token::SemiColon, _) => return None,
            _ => {}
        }
    }
    None
}

fn preceding(tokens: &[TokenWithSpan], at: usize) -> Option<usize> {
    tokens[..at]
        .iter()
        .rposition(|token| !matches!(token.token, Token::Whitespace(_)))
}

/// Whether the `AS` before a token stands before the query of a `CREATE`, and not before a column's name.
fn begins_definition(tokens: &[TokenWithSpan], at: usize) -> bool {
    let statement = tokens[..at]
        .rsplit(|token| token.token == Token::SemiColon)
        .next()
        .unwrap_or_default();
    let mut words = statement
        .iter()
        .filter_map(|token| keyword(&token.token))
        .peekable();
    words.peek() == Some(&Keyword::CREATE)
        && !words.any(|word| matches!(word, Keyword::SELECT | Keyword::VALUES))
}

/// `TABLE t` where a query can begin: `CREATE TABLE`, `ON TABLE` and the like are something else.
fn begins_query(tokens: &[TokenWithSpan], at: usize) -> bool {
    let before = tokens[..at]
        .iter()
        .rev()
        .find(|token| !matches!(token.token, Token::Whitespace(_)));
    let begins = match before.map(|token| &token.token) {
        None | Some(Token::SemiColon | Token::LParen) => true,
        Some(token) if keyword(token) == Some(Keyword::AS) => begins_definition(tokens, at),
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

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(text))
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
            "CREATE UNLOGGED TABLE unlogged (unlogged int)",
            "DROP TABLE t",
            "SELECT a AS top, \"table\" FROM t",
            "SELECT 5>=-1, 5<>+1, 1<-2, a - -1, '[1]'::jsonb @> '1'",
            "SELECT a OPERATOR(pg_catalog.=) ANY (ARRAY[1]), b operator( ~ ) 'x' FROM t",
            "SELECT x ISNULL, y notnull AS n, z AS isnull FROM t WHERE x ISNULL",
            "SELECT * FROM ONLY a JOIN ONLY b ON true FETCH FIRST 2 ROWS ONLY",
            "UPDATE ONLY t SET a = 1",
            "DELETE FROM ONLY t WHERE a = 1",
            "CREATE TABLE t (a text ARRAY, b int8 array NOT NULL, c numeric(9, 2) ARRAY DEFAULT ARRAY[1])",
            "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE",
            "START TRANSACTION DEFERRABLE",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, NOT DEFERRABLE",
            "SELECT 2 BETWEEN SYMMETRIC (CASE WHEN a BETWEEN 0 AND 2 THEN 3 END) AND 1 AND b",
            "SELECT 2 NOT BETWEEN SYMMETRIC CASE WHEN a AND b THEN 3 END AND 1, 2 between asymmetric 1 and 3",
        ] {
            assert!(parse(sql).is_ok(), "{sql}: {:?}", parse(sql).err());
        }
        let literal = "SELECT 'a'\n  'b' -- c\n 'c' AS x";
        let shown = format!("{:?}", parse(literal).unwrap()[0].kind);
        assert!(shown.contains("abc"), "{shown}");
        let statements = parse("TABLE 漏斗; SELECT 1").unwrap();
        assert_eq!(statements[0].text, "TABLE 漏斗");
        let fault = parse("TABLE owners nonsense is").unwrap_err();
        assert_eq!(fault.position(), Some(23));
    }
}
