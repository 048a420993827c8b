//! `CREATE MATERIALIZED VIEW`, `REFRESH MATERIALIZED VIEW`, `DROP MATERIALIZED VIEW`.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::postgres::{name, names};
use super::{Options, Statement, is_word, word};

/// A statement about materialized views.
#[derive(Debug, Clone)]
pub enum MaterializedStatement {
    /// `CREATE MATERIALIZED VIEW name [(columns)] [WITH (…)] AS query [WITH [NO] DATA]`.
    Create(CreateMaterialized),
    /// `REFRESH MATERIALIZED VIEW [FULL] [CONCURRENTLY] name [WITH [NO] DATA]`.
    Refresh {
        /// The view.
        relation: Vec<String>,
        /// All rows are read, even where a watermark would tell the new ones.
        full: bool,
        /// It has rows afterwards.
        with_data: bool,
    },
    /// `DROP MATERIALIZED VIEW [IF EXISTS] name, …`.
    Drop {
        /// The views.
        relations: Vec<Vec<String>>,
        /// A missing one is no error.
        if_exists: bool,
    },
}

/// A materialized view as it is written.
#[derive(Debug, Clone)]
pub struct CreateMaterialized {
    /// Its name.
    pub relation: Vec<String>,
    /// One of that name is no error.
    pub if_not_exists: bool,
    /// What its columns are called; as in the query where there are none.
    pub columns: Vec<String>,
    /// `watermark`, `key`.
    pub options: Options,
    /// What it shows.
    pub query: Box<Statement>,
    /// It has rows from the start.
    pub with_data: bool,
}

/// What stands before the query.
pub struct Header {
    relation: Vec<String>,
    if_not_exists: bool,
    columns: Vec<String>,
    options: Options,
}

impl Header {
    /// The whole statement.
    pub fn with(self, query: Statement, with_data: bool) -> MaterializedStatement {
        MaterializedStatement::Create(CreateMaterialized {
            relation: self.relation,
            if_not_exists: self.if_not_exists,
            columns: self.columns,
            options: self.options,
            query: Box::new(query),
            with_data,
        })
    }
}

fn starts(parser: &Parser, verb: &str) -> bool {
    let expected = [verb, "materialized", "view"];
    let mut expected = expected.iter().enumerate();
    expected.all(|(at, word)| is_word(&parser.peek_nth_token_ref(at).token, word))
}

fn skip(parser: &mut Parser, count: usize) {
    for _ in 0..count {
        parser.next_token();
    }
}

/// Reads `CREATE MATERIALIZED VIEW` up to its `AS`; nothing when the text is another statement.
pub fn create(parser: &mut Parser) -> Result<Option<Header>, ParserError> {
    if !starts(parser, "create") {
        return Ok(None);
    }
    skip(parser, 3);
    let if_not_exists = word(parser, "if");
    if if_not_exists && !(word(parser, "not") && word(parser, "exists")) {
        return parser.expected("NOT EXISTS", parser.peek_token());
    }
    let relation = names(parser)?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        columns = parser.parse_comma_separated(name)?;
        parser.expect_token(&Token::RParen)?;
    }
    let mut options = Options::default();
    if word(parser, "with") {
        parser.expect_token(&Token::LParen)?;
        for (option, value) in parser.parse_comma_separated(option)? {
            if options.0.insert(option.clone(), value).is_some() {
                return Err(ParserError::ParserError(format!(
                    "parameter \"{option}\" specified more than once"
                )));
            }
        }
        parser.expect_token(&Token::RParen)?;
    }
    if !word(parser, "as") {
        return parser.expected("AS", parser.peek_token());
    }
    Ok(Some(Header {
        relation,
        if_not_exists,
        columns,
        options,
    }))
}

fn option(parser: &mut Parser) -> Result<(String, String), ParserError> {
    let option = name(parser)?;
    parser.expect_token(&Token::Eq)?;
    Ok((option, parser.parse_literal_string()?))
}

/// Reads `[WITH [NO] DATA]`, which stands behind a query.
pub fn with_data(parser: &mut Parser) -> Result<bool, ParserError> {
    if !word(parser, "with") {
        return Ok(true);
    }
    let without = word(parser, "no");
    match word(parser, "data") {
        true => Ok(!without),
        false => parser.expected("DATA", parser.peek_token()),
    }
}

/// Whether the next word isn't the view's name itself.
fn is_before_a_name(parser: &Parser) -> bool {
    let next = &parser.peek_nth_token_ref(1).token;
    matches!(next, Token::Word(_)) && !is_word(next, "with")
}

/// Reads `REFRESH` and `DROP MATERIALIZED VIEW`; nothing when the text is another statement.
pub fn parse(parser: &mut Parser) -> Result<Option<MaterializedStatement>, ParserError> {
    if starts(parser, "refresh") {
        skip(parser, 3);
        // A view may be called so.
        let full = is_before_a_name(parser) && word(parser, "full");
        let _ = is_before_a_name(parser) && word(parser, "concurrently");
        let relation = names(parser)?;
        let with_data = with_data(parser)?;
        return Ok(Some(MaterializedStatement::Refresh {
            relation,
            full,
            with_data,
        }));
    }
    if starts(parser, "drop") {
        skip(parser, 3);
        let if_exists = word(parser, "if");
        if if_exists && !word(parser, "exists") {
            return parser.expected("EXISTS", parser.peek_token());
        }
        let relations = parser.parse_comma_separated(names)?;
        let _ = word(parser, "cascade") || word(parser, "restrict");
        return Ok(Some(MaterializedStatement::Drop {
            relations,
            if_exists,
        }));
    }
    Ok(None)
}

impl MaterializedStatement {
    /// Postgres' tag of the command.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create(_) => "CREATE MATERIALIZED VIEW",
            Self::Refresh { .. } => "REFRESH MATERIALIZED VIEW",
            Self::Drop { .. } => "DROP MATERIALIZED VIEW",
        }
    }
}

impl CreateMaterialized {
    /// An option, where it is given.
    pub fn option(&self, name: &str) -> Option<&str> {
        let options: &BTreeMap<String, String> = &self.options.0;
        options.get(name).map(String::as_str)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::{StatementKind, parse};
    use super::*;

    fn read(sql: &str) -> MaterializedStatement {
        let kind = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        match kind.into_iter().next().unwrap().kind {
            StatementKind::Materialized(statement) => *statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn materialized_views_are_read() {
        let MaterializedStatement::Create(create) = read(
            "create materialized view if not exists crm.\"副本\" (a, b) with (watermark = 'at', key = 'id')\n as SELECT x, 'it''s' FROM t WITH NO DATA",
        ) else {
            panic!();
        };
        assert_eq!(create.relation, ["crm", "副本"]);
        assert_eq!(create.columns, ["a", "b"]);
        assert_eq!(create.option("key"), Some("id"));
        assert_eq!(create.query.text, "SELECT x, 'it''s' FROM t");
        assert!(!create.with_data && create.if_not_exists);
        assert!(matches!(
            read("REFRESH MATERIALIZED VIEW CONCURRENTLY crm.v"),
            MaterializedStatement::Refresh { full: false, with_data: true, relation } if relation == ["crm", "v"]
        ));
        assert!(matches!(
            read("REFRESH MATERIALIZED VIEW FULL v"),
            MaterializedStatement::Refresh { full: true, .. }
        ));
        assert!(matches!(
            read("REFRESH MATERIALIZED VIEW full WITH NO DATA"),
            MaterializedStatement::Refresh { .. }
        ));
        assert!(matches!(
            read("DROP MATERIALIZED VIEW IF EXISTS a, b CASCADE"),
            MaterializedStatement::Drop { if_exists: true, relations } if relations.len() == 2
        ));
        let code = |sql: &str| parse(sql).unwrap_err().code();
        assert_eq!(
            code("CREATE MATERIALIZED VIEW v AS INSERT INTO t VALUES (1)"),
            "42601"
        );
        assert_eq!(code("CREATE MATERIALIZED VIEW v"), "42601");
    }
}
