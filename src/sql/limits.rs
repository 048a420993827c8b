//! What a statement may cost to read and plan.
//!
//! The parser and the planner walk expressions recursively, and so does the code that frees them. A
//! chain of a million operators would overflow any stack, so it is refused before it becomes a tree.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, Result};

/// The longest text of statements, in bytes.
const LONGEST_BYTES: usize = 64 << 20;
/// The longest chain of operators (`a OR b OR c …`), counted through its parentheses.
const LONGEST_CHAIN: usize = 2_000;
/// The longest chain of set operators and joins; each costs a plan node, not an expression.
const LONGEST_RELATION_CHAIN: usize = 500;

/// Refuses a text that is too long.
pub fn check_length(sql: &str) -> Result<()> {
    if sql.len() <= LONGEST_BYTES {
        return Ok(());
    }
    Err(Error::TooComplex {
        message: format!("the text is longer than {} MB", LONGEST_BYTES >> 20),
        hint: "Send the statements one by one.".to_owned(),
    })
}

/// Refuses a statement whose expressions or relations would nest too deeply.
pub fn check_depth(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut open = OpenParentheses::default();
    for token in tokens {
        open.take(&token.token);
        check_chain(open.operators(), LONGEST_CHAIN, "operators")?;
        check_chain(open.relations(), LONGEST_RELATION_CHAIN, "joins and unions")?;
    }
    Ok(())
}

/// The chains that are being read: one for each parenthesis that is open.
#[derive(Default)]
struct OpenParentheses {
    outer: Vec<Chain>,
    inner: Chain,
}

/// Operators since the last comma, and relations.
#[derive(Default, Clone, Copy)]
struct Chain {
    operators: usize,
    relations: usize,
}

impl OpenParentheses {
    fn take(&mut self, token: &Token) {
        match token {
            Token::LParen | Token::LBracket => {
                self.outer.push(self.inner);
                self.inner = Chain::default();
            }
            Token::RParen | Token::RBracket => {
                self.inner = self.outer.pop().unwrap_or_default();
            }
            Token::Comma => self.inner.operators = 0,
            Token::SemiColon => *self = Self::default(),
            token if is_relation_operator(token) => {
                self.inner.relations += 1;
                self.inner.operators = 0;
            }
            token if is_operator(token) => self.inner.operators += 1,
            _ => {}
        }
    }

    fn operators(&self) -> usize {
        self.inner.operators
            + self
                .outer
                .iter()
                .map(|chain| chain.operators)
                .sum::<usize>()
    }

    fn relations(&self) -> usize {
        self.inner.relations
            + self
                .outer
                .iter()
                .map(|chain| chain.relations)
                .sum::<usize>()
    }
}

fn check_chain(length: usize, longest: usize, what: &str) -> Result<()> {
    if length <= longest {
        return Ok(());
    }
    Err(Error::TooComplex {
        message: format!("the statement has a chain of more than {longest} {what}"),
        hint: "Write a list of values as IN (...) or VALUES (...).".to_owned(),
    })
}

fn is_relation_operator(token: &Token) -> bool {
    let Token::Word(word) = token else {
        return false;
    };
    matches!(
        word.keyword,
        Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN
    )
}

/// Everything that isn't known to stay flat counts as an operator.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && matches!(
                    word.keyword,
                    Keyword::AND
                        | Keyword::OR
                        | Keyword::NOT
                        | Keyword::IS
                        | Keyword::LIKE
                        | Keyword::BETWEEN
                        | Keyword::WHEN
                        | Keyword::COLLATE
                )
        }
        Token::Number(..)
        | Token::Whitespace(_)
        | Token::Period
        | Token::Placeholder(_)
        | Token::EOF
        | Token::SingleQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::DollarQuotedString(_) => false,
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;

    #[test]
    fn long_chains_are_refused_and_long_lists_are_not() {
        let code = |sql: &str| parse(sql).err().map(|error| error.code());
        let chain = |n: usize, operator: &str| vec!["1"; n].join(operator);
        assert_eq!(code(&format!("select {}", chain(1_000, " + "))), None);
        assert_eq!(
            code(&format!("select {}", chain(10_000, " + "))),
            Some("54001")
        );
        assert_eq!(
            code(&format!("select {}", chain(10_000, "+(1,2)+"))),
            Some("54001")
        );
        assert_eq!(
            code(&format!("select 1 where 1 in ({})", chain(50_000, ", "))),
            None
        );
        assert_eq!(
            code(&chain(2_000, " union all select ").replacen('1', "select 1", 1)),
            Some("54001")
        );
        assert_eq!(
            code(&format!(
                "select {}1{}",
                "(".repeat(5_000),
                ")".repeat(5_000)
            )),
            Some("54001")
        );
        assert_eq!(code(&format!("select '{}'", "x".repeat(10 << 20))), None);
        assert_eq!(
            code(&format!("select {}1", "- ".repeat(10_000))),
            Some("54001")
        );
    }
}
