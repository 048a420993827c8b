//! `CREATE FUNNEL` and its family.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{self, Ident};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Token};
use datafusion_funnel::definition::model::{
    Counting, Dimension, Interval, LostDefinition, Source, StageDefinition,
};
use datafusion_funnel::definition::related::{RelatedColumn, RelatedDefinition, RelatedKind};
use datafusion_funnel::definition::template::FunnelBody;
use datafusion_funnel::definition::text::{folded, written};
use datafusion_funnel::error::{FunnelError, Kind};

use super::{StatementKind, is_word, word};
use crate::error::{Error, Result, character_position, syntax_error};

/// A `CREATE FUNNEL` as it was written.
#[derive(Debug, Clone)]
pub struct CreateFunnel {
    /// The funnel's name.
    pub name: String,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// `FROM TEMPLATE`.
    pub template: Option<String>,
    /// `ON`.
    pub source: Source,
    /// The clauses in the parentheses.
    pub body: FunnelBody,
    /// Where each part starts, in characters from 1.
    pub positions: HashMap<Part, usize>,
}

pub use datafusion_funnel::definition::resolve::Part;

/// Reads a statement of this family; nothing when the text is another statement.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let syntax = |error: ParserError| syntax_error(&error, sql);
    if let Some(or_replace) = create_funnel(parser) {
        let create = FunnelParser {
            parser,
            sql,
            positions: HashMap::new(),
        }
        .create(or_replace)?;
        return Ok(Some(StatementKind::CreateFunnel(Box::new(create))));
    }
    if keyword_then_funnel(parser, &[Keyword::DROP]) {
        return drop_funnel(parser).map(Some).map_err(syntax);
    }
    if keyword_then_funnel(parser, &[Keyword::COMMENT, Keyword::ON]) {
        return comment_on_funnel(parser).map(Some).map_err(syntax);
    }
    if keyword_then_funnel(parser, &[Keyword::SHOW, Keyword::CREATE]) {
        let name = name(parser).map_err(syntax)?;
        return Ok(Some(StatementKind::ShowCreateFunnel(name)));
    }
    let next = [
        parser.peek_nth_token(0).token,
        parser.peek_nth_token(1).token,
    ];
    if is_word(&next[0], "show") && is_word(&next[1], "funnels") {
        parser.next_token();
        parser.next_token();
        return Ok(Some(StatementKind::ShowFunnels));
    }
    Ok(None)
}

/// Takes `CREATE [OR REPLACE] FUNNEL`; tells whether it says `OR REPLACE`.
fn create_funnel(parser: &mut Parser) -> Option<bool> {
    if keyword_then_funnel(parser, &[Keyword::CREATE]) {
        return Some(false);
    }
    let replace = [Keyword::CREATE, Keyword::OR, Keyword::REPLACE];
    keyword_then_funnel(parser, &replace).then_some(true)
}

/// Takes the keywords and `FUNNEL` behind them, or nothing at all.
fn keyword_then_funnel(parser: &mut Parser, keywords: &[Keyword]) -> bool {
    let matches = keywords.iter().enumerate().all(|(at, keyword)| {
        matches!(parser.peek_nth_token(at).token, Token::Word(word) if word.keyword == *keyword)
    });
    if !matches || !is_word(&parser.peek_nth_token(keywords.len()).token, "funnel") {
        return false;
    }
    for _ in 0..=keywords.len() {
        parser.next_token();
    }
    true
}

fn drop_funnel(parser: &mut Parser) -> Result<StatementKind, ParserError> {
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let names = parser.parse_comma_separated(name)?;
    Ok(StatementKind::DropFunnel { names, if_exists })
}

fn comment_on_funnel(parser: &mut Parser) -> Result<StatementKind, ParserError> {
    let name = name(parser)?;
    parser.expect_keyword(Keyword::IS)?;
    let comment = match parser.parse_keyword(Keyword::NULL) {
        true => None,
        false => Some(parser.parse_literal_string()?),
    };
    Ok(StatementKind::CommentOnFunnel { name, comment })
}

fn name(parser: &mut Parser) -> Result<String, ParserError> {
    parser.parse_identifier().map(|ident| folded(&ident))
}

/// Reads what stands behind `CREATE [OR REPLACE] FUNNEL`.
struct FunnelParser<'a, 'b> {
    parser: &'a mut Parser<'b>,
    sql: &'a str,
    positions: HashMap<Part, usize>,
}

impl FunnelParser<'_, '_> {
    fn create(mut self, or_replace: bool) -> Result<CreateFunnel> {
        let if_not_exists =
            self.parser
                .parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let name = self.syntax(name)?;
        let template = match self.parser.parse_keyword(Keyword::FROM) {
            true => {
                self.expect_word("TEMPLATE")?;
                self.mark(Part::Template);
                Some(self.syntax(|parser| parser.parse_identifier().map(|ident| folded(&ident)))?)
            }
            false => None,
        };
        self.syntax(|parser| parser.expect_keyword(Keyword::ON).map(|_| ()))?;
        self.mark(Part::Source);
        let source = self.source()?;
        let mut body = FunnelBody::default();
        if template.is_none() || self.parser.peek_token().token == Token::LParen {
            self.body(&mut body)?;
        }
        let positions = self.positions;
        Ok(CreateFunnel {
            name,
            or_replace,
            if_not_exists,
            template,
            source,
            body,
            positions,
        })
    }

    fn source(&mut self) -> Result<Source> {
        self.syntax(|parser| {
            if parser.consume_token(&Token::LParen) {
                let query = parser.parse_query()?;
                parser.expect_token(&Token::RParen)?;
                return Ok(Source::Query(written(&query)));
            }
            Ok(Source::Table(parser.parse_object_name(false)?.to_string()))
        })
    }

    fn body(&mut self, body: &mut FunnelBody) -> Result<()> {
        self.syntax(|parser| parser.expect_token(&Token::LParen).map(|_| ()))?;
        loop {
            self.clause(body)?;
            if self.parser.consume_token(&Token::Comma) {
                // A comma before the end is what a list that is edited often ends in.
                if self.parser.consume_token(&Token::RParen) {
                    return Ok(());
                }
                continue;
            }
            return self.syntax(|parser| parser.expect_token(&Token::RParen).map(|_| ()));
        }
    }

    fn clause(&mut self, body: &mut FunnelBody) -> Result<()> {
        let start = self.parser.next_token();
        let place = self.position(start.span.start);
        let Token::Word(clause) = &start.token else {
            return Err(self.unknown_clause(&start.token.to_string(), place));
        };
        match clause.value.to_lowercase().as_str() {
            "entity" => self.once(
                Part::Entity,
                "ENTITY",
                place,
                &mut body.entity,
                Self::expression,
            ),
            "time" => self.once(Part::Time, "TIME", place, &mut body.time, Self::expression),
            "value" => self.once(
                Part::Value,
                "VALUE",
                place,
                &mut body.value,
                Self::expression,
            ),
            "owner" => self.once(
                Part::Owner,
                "OWNER",
                place,
                &mut body.owner,
                Self::expression,
            ),
            "window" => self.once(
                Part::Window,
                "WINDOW",
                place,
                &mut body.window,
                Self::interval,
            ),
            "order" => self.once(
                Part::Order,
                "ORDER",
                place,
                &mut body.counting,
                Self::counting,
            ),
            "lost" => self.once(Part::Lost, "LOST", place, &mut body.lost, Self::lost),
            "dimensions" => {
                let given = &mut body.dimensions;
                self.once(
                    Part::Dimensions,
                    "DIMENSIONS",
                    place,
                    given,
                    Self::dimensions,
                )
            }
            "costs" | "followups" | "orders" | "touches" | "loss_tags" | "targets" => {
                self.related(&clause.value, place, body)
            }
            "stage" => {
                if let Some(place) = place {
                    self.positions.insert(Part::Stage(body.stages.len()), place);
                }
                let stage = self.stage()?;
                body.stages.push(stage);
                Ok(())
            }
            other => Err(self.unknown_clause(other, place)),
        }
    }

    /// `COSTS FROM channel_costs (channel, day, cost)`
    fn related(&mut self, word: &str, place: Option<usize>, body: &mut FunnelBody) -> Result<()> {
        let Some(kind) = RelatedKind::parse(word) else {
            return Err(self.unknown_clause(word, place));
        };
        let mut given = body
            .related
            .iter()
            .any(|related| related.kind == kind)
            .then_some(());
        self.once(
            Part::Related(kind),
            kind.keyword(),
            place,
            &mut given,
            |_| Ok(()),
        )?;
        self.syntax(|parser| parser.expect_keyword(Keyword::FROM).map(|_| ()))?;
        let source = self.source()?;
        let columns = self.syntax(|parser| {
            parser.expect_token(&Token::LParen)?;
            let columns = parser.parse_comma_separated(related_column)?;
            parser.expect_token(&Token::RParen)?;
            Ok(columns)
        })?;
        body.related.push(RelatedDefinition {
            kind,
            source,
            columns,
        });
        Ok(())
    }

    /// Reads a clause that may stand once.
    fn once<T>(
        &mut self,
        part: Part,
        name: &str,
        place: Option<usize>,
        given: &mut Option<T>,
        read: fn(&mut Self) -> Result<T>,
    ) -> Result<()> {
        if given.is_some() {
            let error = FunnelError::Duplicate {
                kind: Kind::Clause,
                name: name.to_owned(),
                hint: "Write it once.".to_owned(),
            };
            return Err(Error::Funnel {
                error,
                position: place,
            });
        }
        if let Some(place) = place {
            self.positions.insert(part, place);
        }
        *given = Some(read(self)?);
        Ok(())
    }

    /// `name [AT time] [WHEN condition] [WITHIN interval]`
    fn stage(&mut self) -> Result<StageDefinition> {
        let name = self.syntax(|parser| match parser.peek_token().token {
            Token::SingleQuotedString(_) => parser.parse_literal_string(),
            _ => parser.parse_identifier().map(|ident| folded(&ident)),
        })?;
        let at = self.optional("AT")?;
        let when = self.optional("WHEN")?;
        let within = match self.word("WITHIN") {
            true => Some(self.interval()?),
            false => None,
        };
        Ok(StageDefinition {
            name,
            when,
            at,
            within,
        })
    }

    /// `[AT time] [WHEN condition] [REASON expression]`
    fn lost(&mut self) -> Result<LostDefinition> {
        let at = self.optional("AT")?;
        let when = self.optional("WHEN")?;
        let reason = self.optional("REASON")?;
        Ok(LostDefinition { when, at, reason })
    }

    /// `(expression [AS name], …)`
    fn dimensions(&mut self) -> Result<Vec<Dimension>> {
        self.syntax(|parser| {
            parser.expect_token(&Token::LParen)?;
            let dimensions = parser.parse_comma_separated(dimension)?;
            parser.expect_token(&Token::RParen)?;
            Ok(dimensions)
        })
    }

    fn counting(&mut self) -> Result<Counting> {
        let place = self.position(self.parser.peek_token().span.start);
        let name = self.syntax(|parser| match parser.peek_token().token {
            Token::SingleQuotedString(_) => parser.parse_literal_string(),
            _ => parser.parse_identifier().map(|ident| ident.value),
        })?;
        Counting::parse(&name).map_err(|error| Error::Funnel {
            error,
            position: place,
        })
    }

    /// `INTERVAL '180 days'`, `INTERVAL '180' DAY` or just the text.
    fn interval(&mut self) -> Result<Interval> {
        let place = self.position(self.parser.peek_token().span.start);
        let text = self.syntax(|parser| interval_text(&parser.parse_expr()?))?;
        Interval::parse(&text).map_err(|error| Error::Funnel {
            error,
            position: place,
        })
    }

    fn expression(&mut self) -> Result<String> {
        self.syntax(|parser| parser.parse_expr().map(|expression| written(&expression)))
    }

    fn optional(&mut self, word: &str) -> Result<Option<String>> {
        match self.word(word) {
            true => self.expression().map(Some),
            false => Ok(None),
        }
    }

    fn word(&mut self, expected: &str) -> bool {
        word(self.parser, expected)
    }

    fn expect_word(&mut self, expected: &str) -> Result<()> {
        match self.word(expected) {
            true => Ok(()),
            false => self.syntax(|parser| parser.expected(expected, parser.peek_token())),
        }
    }

    fn syntax<T>(&mut self, read: impl FnOnce(&mut Parser) -> Result<T, ParserError>) -> Result<T> {
        read(self.parser).map_err(|error| syntax_error(&error, self.sql))
    }

    fn mark(&mut self, part: Part) {
        if let Some(place) = self.position(self.parser.peek_token().span.start) {
            self.positions.insert(part, place);
        }
    }

    fn position(&self, location: Location) -> Option<usize> {
        character_position(self.sql, location.line, location.column)
    }

    fn unknown_clause(&self, found: &str, position: Option<usize>) -> Error {
        const CLAUSES: [&str; 15] = [
            "ENTITY",
            "TIME",
            "STAGE",
            "LOST",
            "VALUE",
            "OWNER",
            "DIMENSIONS",
            "WINDOW",
            "ORDER",
            "COSTS",
            "FOLLOWUPS",
            "ORDERS",
            "TOUCHES",
            "LOSS_TAGS",
            "TARGETS",
        ];
        let error = FunnelError::Unknown {
            kind: Kind::Clause,
            name: found.to_uppercase(),
            place: " in CREATE FUNNEL".to_owned(),
            existing: CLAUSES.map(str::to_owned).to_vec(),
        };
        Error::Funnel { error, position }
    }
}

/// `expression [AS name]`; a plain column is its own name.
fn dimension(parser: &mut Parser) -> Result<Dimension, ParserError> {
    let found = parser.peek_token();
    let expression = parser.parse_expr()?;
    let name = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_identifier()?),
        false => column_name(&expression),
    };
    match name {
        Some(name) => Ok(Dimension {
            name: folded(&name),
            expression: written(&expression),
        }),
        None => parser.expected("a column, or an expression with AS and a name", found),
    }
}

/// `expression [AS name]`
fn related_column(parser: &mut Parser) -> Result<RelatedColumn, ParserError> {
    let expression = parser.parse_expr()?;
    let name = match parser.parse_keyword(Keyword::AS) {
        true => Some(parser.parse_identifier()?),
        false => column_name(&expression),
    };
    Ok(RelatedColumn {
        expression: written(&expression),
        name: name.as_ref().map(folded),
    })
}

fn column_name(expression: &ast::Expr) -> Option<Ident> {
    match expression {
        ast::Expr::Identifier(ident) => Some(ident.clone()),
        ast::Expr::CompoundIdentifier(idents) => idents.last().cloned(),
        _ => None,
    }
}

fn interval_text(expression: &ast::Expr) -> Result<String, ParserError> {
    let text = |value: &ast::Expr| match value {
        ast::Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    let found = match expression {
        ast::Expr::Interval(interval) => {
            text(&interval.value).map(|value| match &interval.leading_field {
                Some(field) => format!("{value} {field}"),
                None => value,
            })
        }
        other => text(other),
    };
    found.ok_or_else(|| {
        ParserError::ParserError(format!(
            "Expected: an interval such as INTERVAL '180 days', found: {expression}"
        ))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::{StatementKind, parse};
    use super::*;

    fn create(sql: &str) -> CreateFunnel {
        match parse(sql).unwrap().remove(0).kind {
            StatementKind::CreateFunnel(create) => *create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_clause_is_read() {
        let sales = create(
            "CREATE OR REPLACE FUNNEL IF NOT EXISTS Sales ON crm.events (
               ENTITY lead_id, TIME occurred_at,
               STAGE acquired WHEN event = 'lead_created',
               STAGE \"线索 激活\" WHEN event = 'first_contact' WITHIN INTERVAL '24 hours',
               STAGE qualified AT qualified_on,
               LOST WHEN event = 'lost' REASON lost_reason,
               VALUE amount, OWNER owner,
               DIMENSIONS (channel, lower(region) AS \"地区\"),
               WINDOW INTERVAL '180' DAY, ORDER strict,
             )",
        );
        assert_eq!(sales.name, "sales");
        assert!(sales.or_replace && sales.if_not_exists);
        assert_eq!(sales.source, Source::Table("crm.events".to_owned()));
        let names: Vec<&str> = sales.body.stages.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["acquired", "线索 激活", "qualified"]);
        assert_eq!(
            sales.body.stages[1].when.as_deref(),
            Some("event = 'first_contact'")
        );
        assert_eq!(
            sales.body.stages[1].within.as_ref().unwrap().text(),
            "24 hours"
        );
        assert_eq!(sales.body.stages[2].at.as_deref(), Some("qualified_on"));
        assert_eq!(
            sales.body.lost.unwrap().reason.as_deref(),
            Some("lost_reason")
        );
        assert_eq!(sales.body.dimensions.unwrap()[1].name, "地区");
        assert_eq!(sales.body.window.unwrap().value().days, 180);
        assert_eq!(sales.body.counting, Some(Counting::Strict));
        assert_eq!(sales.positions.get(&Part::Source), Some(&49));
    }

    #[test]
    fn sources_beside_the_funnels_own_are_read_and_written() {
        let sql = "CREATE FUNNEL f ON t (
  ENTITY id,
  TIME ts,
  STAGE a WHEN x = 'it''s ''''',
  STAGE b WHEN x = 'b',
  COSTS FROM 花费 (渠道 AS channel, 日期, 花费),
  FOLLOWUPS FROM (SELECT * FROM calls) (lead_id, ts AS \"at\", level > 1 AS effective)
);";
        let definition = |sql: &str| {
            let create = create(sql);
            create.body.into_definition(create.name, create.source)
        };
        let read = definition(sql.trim_end_matches(';'));
        assert_eq!(read.related.len(), 2);
        assert_eq!(read.to_string(), sql);
        assert_eq!(definition(read.to_string().trim_end_matches(';')), read);
    }

    #[test]
    fn a_template_needs_no_body() {
        let sales = create("create funnel x from template b2b_sales on (select * from events)");
        assert_eq!(sales.template.as_deref(), Some("b2b_sales"));
        assert_eq!(
            sales.source,
            Source::Query("SELECT * FROM events".to_owned())
        );
    }

    #[test]
    fn faults_have_a_code_a_place_and_a_hint() {
        let fault = |sql: &str| {
            let error = parse(sql).unwrap_err();
            (
                error.code(),
                error.position(),
                error.hint().unwrap_or_default(),
            )
        };
        let (code, place, hint) = fault("create funnel x on t (entitty id)");
        assert_eq!((code, place), ("42601", Some(23)));
        assert_eq!(hint, "Perhaps you meant clause \"ENTITY\".");
        assert_eq!(
            fault("create funnel x on t (entity a, entity b)").1,
            Some(33)
        );
        assert_eq!(
            fault("create funnel x on t (window interval '0 days')").0,
            "22023"
        );
        assert_eq!(
            fault("create funnel x on t (window interval '-3 days')").0,
            "22023"
        );
        assert_eq!(fault("create funnel x on t (order sideways)").0, "22023");
        assert_eq!(fault("create funnel x on t (stage a when").0, "42601");
        assert_eq!(fault("create funnel x on").0, "42601");
    }

    #[test]
    fn the_rest_of_the_family() {
        let kind = |sql: &str| parse(sql).unwrap().remove(0).kind;
        assert!(matches!(kind("show funnels"), StatementKind::ShowFunnels));
        assert!(
            matches!(kind("SHOW CREATE FUNNEL \"Sales\""), StatementKind::ShowCreateFunnel(n) if n == "Sales")
        );
        assert!(matches!(kind("drop funnel if exists a, b"),
            StatementKind::DropFunnel { names, if_exists: true } if names == ["a", "b"]));
        assert!(matches!(kind("comment on funnel a is 'x'"),
            StatementKind::CommentOnFunnel { comment: Some(c), .. } if c == "x"));
        assert!(matches!(
            kind("select 1 as funnel"),
            StatementKind::Engine(_)
        ));
    }
}
