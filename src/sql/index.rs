//! `CREATE INDEX`, `ALTER INDEX … RENAME` and `DROP INDEX`.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::postgres::{name, names};
use super::{StatementKind, is_word, word};
use crate::catalog::KeyOrder;

/// A statement about an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexStatement {
    /// `CREATE [UNIQUE] INDEX [CONCURRENTLY] [IF NOT EXISTS] name ON table [USING method] (columns) …`
    Create {
        /// Its name, where it is given one.
        name: Option<String>,
        /// One that is there already is no error.
        if_not_exists: bool,
        /// The table.
        relation: Vec<String>,
        /// What it is made of.
        parts: Vec<IndexPart>,
        /// No two rows have the same.
        unique: bool,
        /// `NULLS NOT DISTINCT`
        nulls_same: bool,
        /// `WHERE …`: it is about some rows only.
        predicate: Option<Box<Expr>>,
    },
    /// `ALTER INDEX [IF EXISTS] name RENAME TO name`
    Rename {
        /// Its name.
        name: Vec<String>,
        /// Its new name.
        to: String,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `DROP INDEX [CONCURRENTLY] [IF EXISTS] name, … [CASCADE | RESTRICT]`
    Drop {
        /// Their names.
        names: Vec<Vec<String>>,
        /// A missing one is no error.
        if_exists: bool,
    },
}

/// A part of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPart {
    /// What it is.
    pub key: IndexKey,
    /// How it is sorted.
    pub order: KeyOrder,
}

/// What an index has of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexKey {
    /// A column.
    Column(String),
    /// What is computed.
    Expression(Box<Expr>),
}

impl IndexStatement {
    /// The command's tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE INDEX",
            Self::Rename { .. } => "ALTER INDEX",
            Self::Drop { .. } => "DROP INDEX",
        }
    }
}

/// Reads a statement of this family; nothing when the text is another statement.
///
/// # Errors
/// What isn't read as SQL.
pub fn parse(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    let token = |at: usize| &parser.peek_nth_token_ref(at).token;
    let creates = is_word(token(0), "create")
        && (is_word(token(1), "index")
            || is_word(token(1), "unique") && is_word(token(2), "index"));
    let drops = is_word(token(0), "drop") && is_word(token(1), "index");
    let statement = match (creates, drops) {
        (true, _) => create(parser)?,
        (_, true) => drop_index(parser)?,
        _ => return Ok(None),
    };
    Ok(Some(StatementKind::Index(Box::new(statement))))
}

fn create(parser: &mut Parser) -> Result<IndexStatement, ParserError> {
    parser.next_token();
    let unique = word(parser, "unique");
    parser.next_token();
    word(parser, "concurrently");
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let given = match is_word(&parser.peek_token().token, "on") {
        true => None,
        false => Some(name(parser)?),
    };
    if !word(parser, "on") {
        return parser.expected("ON", parser.peek_token());
    }
    word(parser, "only");
    let relation = names(parser)?;
    if word(parser, "using") {
        name(parser)?;
    }
    let parts = parts(parser)?;
    let (mut nulls_same, mut predicate) = (false, None);
    while !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
        if word(parser, "where") {
            predicate = Some(Box::new(parser.parse_expr()?));
        } else if word(parser, "nulls") && word(parser, "not") {
            nulls_same = word(parser, "distinct");
        } else {
            parser.next_token();
        }
    }
    Ok(IndexStatement::Create {
        name: given,
        if_not_exists,
        relation,
        parts,
        unique,
        nulls_same,
        predicate,
    })
}

/// Columns and expressions in parentheses, with how they are sorted; what else is said of them is passed over.
fn parts(parser: &mut Parser) -> Result<Vec<IndexPart>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut parts = Vec::new();
    loop {
        let is_expression = parser.peek_token().token == Token::LParen
            || parser.peek_nth_token(1).token == Token::LParen;
        let key = match is_expression {
            true => IndexKey::Expression(Box::new(parser.parse_expr()?)),
            false => IndexKey::Column(name(parser)?),
        };
        let (mut descending, mut nulls_first) = (false, None);
        let mut depth = 0;
        let ends = loop {
            if depth == 0 && word(parser, "desc") {
                descending = true;
                continue;
            }
            if depth == 0 && word(parser, "nulls") {
                nulls_first = Some(word(parser, "first"));
                continue;
            }
            match parser.next_token().token {
                Token::Comma if depth == 0 => break false,
                Token::RParen if depth == 0 => break true,
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::EOF => return parser.expected(")", parser.peek_token()),
                _ => {}
            }
        };
        let order = KeyOrder {
            descending,
            // From the greatest, NULLs come first where nothing is said.
            nulls_first: nulls_first.unwrap_or(descending),
        };
        parts.push(IndexPart { key, order });
        if ends {
            return Ok(parts);
        }
    }
}

fn drop_index(parser: &mut Parser) -> Result<IndexStatement, ParserError> {
    parser.next_token();
    parser.next_token();
    word(parser, "concurrently");
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let mut dropped = vec![names(parser)?];
    while parser.consume_token(&Token::Comma) {
        dropped.push(names(parser)?);
    }
    let _ = word(parser, "cascade") || word(parser, "restrict");
    Ok(IndexStatement::Drop {
        names: dropped,
        if_exists,
    })
}
