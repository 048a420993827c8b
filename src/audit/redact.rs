//! Statements without what nobody else should read.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

/// What stands in the place of a text and of a number.
const TEXT: &str = "'***'";
const NUMBER: &str = "?";
/// The words that come before secrets: of a role; of an external table, whose options have the keys of object stores.
const SECRETS: [&str; 3] = ["password", "options", "credentials"];

/// The statement without its secrets: where it names a password, or a secret that opens a store of files, no text that
/// it quotes is left. `parsed` says whether it could be read; of one that couldn't, nobody knows what its texts are.
pub fn without_secrets(statement: &str, parsed: bool) -> String {
    let lower = statement.to_ascii_lowercase();
    if parsed && !SECRETS.iter().any(|word| lower.contains(word)) {
        return statement.to_owned();
    }
    match tokens(statement) {
        None => before_quotes(statement),
        Some(tokens) => {
            let secret = tokens.iter().any(|token| is_secret(&token.token));
            match secret || !parsed {
                true => written(&tokens, false),
                false => statement.to_owned(),
            }
        }
    }
}

/// The statement with no value left: neither texts, nor numbers, nor comments.
pub fn without_literals(statement: &str) -> String {
    match tokens(statement) {
        None => before_quotes(statement),
        Some(tokens) => written(&tokens, true),
    }
}

fn tokens(statement: &str) -> Option<Vec<TokenWithSpan>> {
    Tokenizer::new(&PostgreSqlDialect {}, statement)
        .tokenize_with_location()
        .ok()
}

/// A text that ends within a quotation: nobody knows where its quotations begin, either.
fn before_quotes(statement: &str) -> String {
    let end = statement
        .find(['\'', '"', '$', '`', '/', '-'])
        .unwrap_or(statement.len());
    format!("{}…", &statement[..end])
}

fn is_secret(token: &Token) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_none() => SECRETS
            .iter()
            .any(|secret| word.value.eq_ignore_ascii_case(secret)),
        _ => false,
    }
}

fn written(tokens: &[TokenWithSpan], numbers: bool) -> String {
    let mut text = String::new();
    for token in tokens {
        match &token.token {
            Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::NationalStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DollarQuotedString(_)
            | Token::HexStringLiteral(_)
            | Token::SingleQuotedByteStringLiteral(_)
            | Token::DoubleQuotedByteStringLiteral(_)
            | Token::SingleQuotedRawStringLiteral(_)
            | Token::DoubleQuotedRawStringLiteral(_)
            | Token::TripleSingleQuotedString(_)
            | Token::TripleDoubleQuotedString(_)
            | Token::TripleSingleQuotedByteStringLiteral(_)
            | Token::TripleDoubleQuotedByteStringLiteral(_)
            | Token::TripleSingleQuotedRawStringLiteral(_)
            | Token::TripleDoubleQuotedRawStringLiteral(_)
            | Token::QuoteDelimitedStringLiteral(_)
            | Token::NationalQuoteDelimitedStringLiteral(_) => text.push_str(TEXT),
            Token::Number(..) if numbers => text.push_str(NUMBER),
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
            ) => text.push(' '),
            Token::EOF => {}
            other => text.push_str(&other.to_string()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_out_and_the_rest_stays() {
        let secrets = |text: &str| without_secrets(text, true);
        assert_eq!(
            secrets("ALTER ROLE ana PASSWORD 'geheim' VALID UNTIL '2027-01-01'"),
            "ALTER ROLE ana PASSWORD '***' VALID UNTIL '***'"
        );
        assert_eq!(
            secrets("create user x\n password $$geheim$$ -- geheim\n login"),
            "create user x\n password '***'   login"
        );
        assert_eq!(
            secrets("CREATE ROLE x PASSWORD E'ge\\'heim'"),
            "CREATE ROLE x PASSWORD '***'"
        );
        assert_eq!(
            secrets(
                "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://x' OPTIONS ('aws.secret' 'geheim')"
            ),
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '***' OPTIONS ('***' '***')"
        );
        let plain = "select 'password', \"password\" from t where n = 5 -- why";
        assert_eq!(secrets(plain), plain);
        // What can't be read may be anything.
        assert_eq!(
            without_secrets("creat role x pass 'geheim'", false),
            "creat role x pass '***'"
        );
        assert_eq!(
            without_secrets("alter role x password 'geheim", false),
            "alter role x password …"
        );
    }

    #[test]
    fn values_are_taken_out() {
        assert_eq!(
            without_literals(
                "select \"Name\", 'a''b', N'c', 1.5e3, x'00' /* 7 */ from \"漏斗\" where a in ('x', -3)"
            ),
            "select \"Name\", '***', '***', ?, '***'   from \"漏斗\" where a in ('***', -?)"
        );
        assert_eq!(without_literals("select $1, $2"), "select $1, $2");
        assert_eq!(without_literals("select 'open"), "select …");
    }
}
