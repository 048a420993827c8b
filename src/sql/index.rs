//! `CREATE INDEX` and `DROP INDEX`.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::postgres::{name, names};
use super::{StatementKind, is_word, word};

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
        /// Its columns; nothing where one of them is an expression.
        columns: Option<Vec<String>>,
        /// No two rows have the same.
        unique: bool,
        /// `NULLS NOT DISTINCT`
        nulls_same: bool,
        /// `WHERE …`: it is about some rows only.
        partial: bool,
    },
    /// `DROP INDEX [CONCURRENTLY] [IF EXISTS] name, … [CASCADE | RESTRICT]`
    Drop {
        /// Their names.
        names: Vec<Vec<String>>,
        /// A missing one is no error.
        if_exists: bool,
    },
}

impl IndexStatement {
    /// The command's tag.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE INDEX",
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
    let columns = columns(parser)?;
    let (mut nulls_same, mut partial) = (false, false);
    while !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
        partial |= word(parser, "where");
        // A condition may have these words too.
        if !partial && word(parser, "nulls") && word(parser, "not") {
            nulls_same = word(parser, "distinct");
        }
        if !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
            parser.next_token();
        }
    }
    Ok(IndexStatement::Create {
        name: given,
        if_not_exists,
        relation,
        columns,
        unique,
        nulls_same,
        partial,
    })
}

/// Names in parentheses; what is said about their order is passed over. Nothing where one isn't a name.
fn columns(parser: &mut Parser) -> Result<Option<Vec<String>>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut columns = Some(Vec::new());
    loop {
        let is_expression = parser.peek_token().token == Token::LParen
            || parser.peek_nth_token(1).token == Token::LParen;
        if is_expression {
            columns = None;
        } else if let Some(columns) = &mut columns {
            columns.push(name(parser)?);
        }
        let mut depth = 0;
        loop {
            match parser.next_token().token {
                Token::Comma if depth == 0 => break,
                Token::RParen if depth == 0 => return Ok(columns),
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::EOF => return parser.expected(")", parser.peek_token()),
                _ => {}
            }
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
