//! What is said of identities in words that sqlparser doesn't read, in words that it reads: while they are still tokens.
//!
//! | Written | Read as |
//! |---|---|
//! | `AS IDENTITY (START WITH 5 INCREMENT BY 2)`, in any order | the same, in sqlparser's order |
//! | `INSERT INTO t (…) OVERRIDING SYSTEM VALUE` | `INSERT INTO t (…) PARTITION ('overriding system value')` |

use datafusion::sql::sqlparser::ast::{Expr, Insert, Value};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::is_word;

/// Given values are taken for columns that always have their own.
const SYSTEM: &str = "overriding system value";
/// Given values of identities are left out.
const USER: &str = "overriding user value";

/// What an `INSERT` does with values that are given for identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overriding {
    /// They are refused where they are always generated.
    #[default]
    Nothing,
    /// They are taken.
    System,
    /// They are left out.
    User,
}

impl Overriding {
    /// What an insert says of it.
    pub fn of(insert: &Insert) -> Self {
        let said = insert.partitioned.as_deref();
        let text = match said {
            Some([Expr::Value(value)]) => match &value.value {
                Value::SingleQuotedString(text) => text.as_str(),
                _ => "",
            },
            _ => "",
        };
        match text {
            SYSTEM => Self::System,
            USER => Self::User,
            _ => Self::Nothing,
        }
    }
}

/// Writes them so.
pub fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at].token, "overriding") {
            overriding(tokens, at);
        } else if is_word(&tokens[at].token, "identity") {
            options(tokens, at);
        }
        at += 1;
    }
}

/// The places of tokens that are no space, from one on.
fn significant(tokens: &[TokenWithSpan], from: usize) -> Vec<usize> {
    let places = from..tokens.len();
    let places = places.filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)));
    places.take(24).collect()
}

fn before(tokens: &[TokenWithSpan], at: usize) -> Vec<usize> {
    let places = (0..at).rev();
    let places = places.filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)));
    places.take(6).collect()
}

fn overriding(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let next = significant(tokens, at);
    let [_, whose, value, ..] = next.as_slice() else {
        return;
    };
    let text = match &tokens[*whose].token {
        token if is_word(token, "system") => SYSTEM,
        token if is_word(token, "user") => USER,
        _ => return,
    };
    if !is_word(&tokens[*value].token, "value") {
        return;
    }
    let span = tokens[at].span;
    let mut written = Vec::new();
    // Right behind the table's name, PARTITION would be its alias.
    if let Some(name) = table_before(tokens, at) {
        written.extend([Token::make_keyword("AS"), name]);
    }
    written.extend([
        Token::make_keyword("PARTITION"),
        Token::LParen,
        Token::SingleQuotedString(text.to_owned()),
        Token::RParen,
    ]);
    let written = written
        .into_iter()
        .map(|token| TokenWithSpan { token, span });
    tokens.splice(at..=*value, written.collect::<Vec<_>>());
}

/// The table's name, where nothing stands between it and this place: `INSERT INTO crm.t …`.
fn table_before(tokens: &[TokenWithSpan], at: usize) -> Option<Token> {
    let before: Vec<&Token> = before(tokens, at)
        .iter()
        .map(|at| &tokens[*at].token)
        .collect();
    let name = *before.first()?;
    let mut rest = &before[1..];
    while let [Token::Period, Token::Word(_), further @ ..] = rest {
        rest = further;
    }
    let is_name = matches!(name, Token::Word(_));
    (is_name && is_word(rest.first()?, "into")).then(|| name.clone())
}

fn options(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let is_identity = before(tokens, at)
        .first()
        .is_some_and(|before| is_word(&tokens[*before].token, "as"));
    let next = significant(tokens, at);
    let Some(open) = next.get(1).copied().filter(|_| is_identity) else {
        return;
    };
    if tokens[open].token != Token::LParen {
        return;
    }
    let close = tokens[open..]
        .iter()
        .position(|token| token.token == Token::RParen);
    let Some(close) = close.map(|close| open + close) else {
        return;
    };
    let inner: Vec<TokenWithSpan> = tokens[open + 1..close]
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .cloned()
        .collect();
    let mut found: Vec<(usize, Vec<TokenWithSpan>)> = Vec::new();
    for (number, token) in inner.iter().enumerate() {
        let follows_no = number > 0 && is_word(&inner[number - 1].token, "no");
        let follows_name = number > 0 && is_word(&inner[number - 1].token, "sequence");
        let place = match begins(&token.token) {
            Some(place) if !follows_no && !follows_name => Some(place),
            // `NO MINVALUE` is where `MINVALUE` is.
            None if is_word(&token.token, "no") => {
                inner.get(number + 1).and_then(|next| begins(&next.token))
            }
            _ => None,
        };
        match (place, found.last_mut()) {
            (Some(place), _) => found.push((place, vec![token.clone()])),
            (None, Some((_, last))) => last.push(token.clone()),
            // What it is, sqlparser says.
            (None, None) => return,
        }
    }
    found.sort_by_key(|(place, _)| *place);
    // A new table's sequence is called after the table and the column.
    if !alters(tokens, at) {
        found.retain(|(place, _)| *place < NAME);
    }
    let span = tokens[open].span;
    let space = |token: TokenWithSpan| {
        let space = Token::Whitespace(datafusion::sql::sqlparser::tokenizer::Whitespace::Space);
        [token, TokenWithSpan { token: space, span }]
    };
    let written = found.into_iter().flat_map(|(_, tokens)| tokens);
    let written: Vec<TokenWithSpan> = written.flat_map(space).collect();
    tokens.splice(open + 1..close, written);
}

/// Whether the statement that a token stands in begins with `ALTER`.
fn alters(tokens: &[TokenWithSpan], at: usize) -> bool {
    let start = tokens[..at]
        .iter()
        .rposition(|token| token.token == Token::SemiColon)
        .map_or(0, |at| at + 1);
    let first = significant(tokens, start).first().copied();
    first.is_some_and(|first| is_word(&tokens[first].token, "alter"))
}

/// The place of the last option.
const NAME: usize = 6;

/// The place that sqlparser has for an option which begins with this word.
fn begins(token: &Token) -> Option<usize> {
    let Token::Word(word) = token else {
        return None;
    };
    Some(match word.keyword {
        Keyword::INCREMENT => 0,
        Keyword::MINVALUE => 1,
        Keyword::MAXVALUE => 2,
        Keyword::START => 3,
        Keyword::CACHE => 4,
        Keyword::CYCLE => 5,
        Keyword::SEQUENCE => NAME,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;

    fn read(sql: &str) -> String {
        format!("{:?}", parse(sql).unwrap().remove(0).kind)
    }

    #[test]
    fn options_of_an_identity_come_in_any_order() {
        let ordered = read(
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (INCREMENT BY 2 NO MAXVALUE START WITH 5 CACHE 1 NO CYCLE), a int)",
        );
        let other = read(
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME crm.s START WITH 5 NO CYCLE INCREMENT BY 2 CACHE 1 NO MAXVALUE), a int)",
        );
        let tail = |text: &str| {
            text.split("sequence_options").nth(1).map(|text| {
                text.split("generation_expr")
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
        };
        let words = |text: &str| {
            let text = tail(text).unwrap();
            [
                "IncrementBy",
                "MaxValue(None)",
                "StartWith",
                "Cache",
                "Cycle(true)",
            ]
            .iter()
            .filter(|word| text.contains(**word))
            .count()
        };
        assert_eq!(words(&ordered), 5, "{ordered}");
        assert_eq!(words(&other), 5, "{other}");
    }

    #[test]
    fn overriding_is_kept_with_its_insert() {
        for sql in [
            "INSERT INTO crm.t (id) OVERRIDING SYSTEM VALUE VALUES (1)",
            "INSERT INTO crm.t OVERRIDING SYSTEM VALUE VALUES (1)",
            "INSERT INTO t AS x OVERRIDING SYSTEM VALUE SELECT 1",
            "INSERT INTO t OVERRIDING SYSTEM VALUE VALUES (1) ON CONFLICT DO NOTHING RETURNING t.id",
        ] {
            let read = read(sql);
            assert!(read.contains("overriding system value"), "{sql}: {read}");
        }
        assert!(
            read("INSERT INTO t OVERRIDING USER VALUE VALUES (1)")
                .contains("overriding user value")
        );
        assert!(parse("SELECT overriding FROM t").is_ok());
    }
}
