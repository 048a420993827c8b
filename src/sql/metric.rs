//! `CREATE METRIC` and its family.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion_funnel::definition::metric::MetricDefinition;
use datafusion_funnel::definition::text::{folded, written};
use datafusion_funnel::error::{FunnelError, Kind};

use super::{StatementKind, is_word, word};
use crate::error::{Error, Result, character_position, syntax_error};

/// A `CREATE METRIC` as it was written.
#[derive(Debug, Clone)]
pub struct CreateMetric {
    /// The metric, as version 1.
    pub definition: MetricDefinition,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Where the expression starts, in characters from 1.
    pub position: Option<usize>,
}

/// Reads a statement of this family; nothing when the text is another statement.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let syntax = |error: ParserError| syntax_error(&error, sql);
    if words(parser, &["create", "or", "replace", "metric"]) {
        return create(parser, sql, true).map(Some);
    }
    if words(parser, &["create", "metric"]) {
        return create(parser, sql, false).map(Some);
    }
    if words(parser, &["drop", "metric"]) {
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let names = parser.parse_comma_separated(name).map_err(syntax)?;
        return Ok(Some(StatementKind::DropMetric { names, if_exists }));
    }
    if words(parser, &["show", "create", "metric"]) {
        let name = parser
            .parse_identifier()
            .map(|ident| folded(&ident))
            .map_err(syntax)?;
        return Ok(Some(StatementKind::ShowCreateMetric(name)));
    }
    Ok(None)
}

/// Takes these words, or nothing at all.
pub(super) fn words(parser: &mut Parser, expected: &[&str]) -> bool {
    let matches = expected
        .iter()
        .enumerate()
        .all(|(at, word)| is_word(&parser.peek_nth_token(at).token, word));
    if matches {
        for _ in expected {
            parser.next_token();
        }
    }
    matches
}

/// A name of the catalog.
pub(super) fn name(parser: &mut Parser) -> Result<String, ParserError> {
    parser.parse_identifier().map(|ident| folded(&ident))
}

/// `[IF NOT EXISTS] name ON funnel AS expression [WITH (unit = 'rate', …)]`
fn create(parser: &mut Parser, sql: &str, or_replace: bool) -> Result<StatementKind> {
    let syntax = |error: ParserError| syntax_error(&error, sql);
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let metric = name(parser).map_err(syntax)?;
    parser.expect_keyword(Keyword::ON).map_err(syntax)?;
    let funnel = name(parser).map_err(syntax)?;
    parser.expect_keyword(Keyword::AS).map_err(syntax)?;
    let start = parser.peek_token().span.start;
    let position = character_position(sql, start.line, start.column);
    let expression = parser.parse_expr().map_err(syntax)?;
    let mut definition = MetricDefinition {
        name: metric,
        version: 1,
        funnel,
        expression: written(&expression),
        unit: None,
        name_en: None,
        name_zh: None,
        description_en: None,
        description_zh: None,
        owner: None,
        valid_from: None,
        valid_to: None,
    };
    if word(parser, "WITH") {
        options(parser, sql, &mut definition)?;
    }
    Ok(StatementKind::CreateMetric(Box::new(CreateMetric {
        definition,
        or_replace,
        if_not_exists,
        position,
    })))
}

/// `(name = 'text', …)`
fn options(parser: &mut Parser, sql: &str, definition: &mut MetricDefinition) -> Result<()> {
    let syntax = |error: ParserError| syntax_error(&error, sql);
    parser.expect_token(&Token::LParen).map_err(syntax)?;
    loop {
        let start = parser.peek_token().span.start;
        let position = character_position(sql, start.line, start.column);
        let option = name(parser).map_err(syntax)?;
        let Some(place) = definition.option(&option) else {
            let error = FunnelError::Unknown {
                kind: Kind::Clause,
                name: option,
                place: " in CREATE METRIC".to_owned(),
                existing: MetricDefinition::OPTIONS.map(str::to_owned).to_vec(),
            };
            return Err(Error::Funnel { error, position });
        };
        parser.expect_token(&Token::Eq).map_err(syntax)?;
        *place = Some(parser.parse_literal_string().map_err(syntax)?);
        if !parser.consume_token(&Token::Comma) {
            parser.expect_token(&Token::RParen).map_err(syntax)?;
            return Ok(());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::{StatementKind, parse};
    use super::*;

    fn create(sql: &str) -> CreateMetric {
        match parse(sql).unwrap().remove(0).kind {
            StatementKind::CreateMetric(create) => *create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_metric_is_read_and_written() {
        let sql = "CREATE METRIC \"大单成交率\" ON sales AS count(*) FILTER (WHERE value > 10 AND note = '''') / count(*)
WITH (
  name_zh = '大单''成交率',
  owner = 'ops'
);";
        let read = create(sql);
        assert!(!read.or_replace && !read.if_not_exists);
        assert_eq!(read.definition.name, "大单成交率");
        assert_eq!(read.definition.name_zh.as_deref(), Some("大单'成交率"));
        assert_eq!(read.definition.to_string(), sql);
    }

    #[test]
    fn faults_have_a_code_and_a_place() {
        let fault = |sql: &str| {
            let error = parse(sql).unwrap_err();
            (error.code(), error.position())
        };
        assert_eq!(fault("create metric m as count(*)"), ("42601", Some(17)));
        assert_eq!(
            fault("create metric m on f as count(*) with (units = 'x')"),
            ("42601", Some(40))
        );
    }
}
