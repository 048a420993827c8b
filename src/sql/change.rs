//! `CREATE CHANGE`, `REVIEW CHANGE` and their family.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion_funnel::definition::change::ChangeDefinition;
use datafusion_funnel::definition::text::{folded, written};

use super::{StatementKind, metric, word};
use crate::error::{Result, character_position, syntax_error};

/// A `CREATE CHANGE` as it was written.
#[derive(Debug, Clone)]
pub struct CreateChange {
    /// The change.
    pub definition: ChangeDefinition,
    /// `OR REPLACE`.
    pub or_replace: bool,
    /// `IF NOT EXISTS`.
    pub if_not_exists: bool,
    /// Where its parts start.
    pub places: Places,
}

/// Where the parts of a `CREATE CHANGE` start, in characters from 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places {
    /// The funnel.
    pub funnel: Option<usize>,
    /// The stage.
    pub stage: Option<usize>,
    /// The time.
    pub at: Option<usize>,
    /// The condition of the segment.
    pub segment: Option<usize>,
}

/// A `REVIEW CHANGE`: the options are texts, as `review()` takes them.
#[derive(Debug, Clone, Default)]
pub struct ReviewChange {
    /// The change.
    pub name: String,
    /// `AS OF '…'`, `AGE '…'`, `BEFORE '…'` and `LANG '…'`, by the names of the function's arguments.
    pub options: Vec<(&'static str, String)>,
}

/// Reads a statement of this family; nothing when the text is another statement.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let syntax = |error: ParserError| syntax_error(&error, sql);
    if metric::words(parser, &["create", "or", "replace", "change"]) {
        return create(parser, sql, true).map(Some).map_err(syntax);
    }
    if metric::words(parser, &["create", "change"]) {
        return create(parser, sql, false).map(Some).map_err(syntax);
    }
    if metric::words(parser, &["drop", "change"]) {
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let names = parser.parse_comma_separated(metric::name).map_err(syntax)?;
        return Ok(Some(StatementKind::DropChange { names, if_exists }));
    }
    if metric::words(parser, &["show", "create", "change"]) {
        let name = metric::name(parser).map_err(syntax)?;
        return Ok(Some(StatementKind::ShowCreateChange(name)));
    }
    if metric::words(parser, &["show", "changes"]) {
        return Ok(Some(StatementKind::ShowChanges));
    }
    if metric::words(parser, &["comment", "on", "change"]) {
        return comment(parser).map(Some).map_err(syntax);
    }
    if metric::words(parser, &["review", "change"]) {
        return review(parser).map(Some).map_err(syntax);
    }
    Ok(None)
}

fn comment(parser: &mut Parser) -> Result<StatementKind, ParserError> {
    let name = metric::name(parser)?;
    parser.expect_keyword(Keyword::IS)?;
    let note = match parser.parse_keyword(Keyword::NULL) {
        true => None,
        false => Some(parser.parse_literal_string()?),
    };
    Ok(StatementKind::CommentOnChange { name, note })
}

fn review(parser: &mut Parser) -> Result<StatementKind, ParserError> {
    let mut review = ReviewChange {
        name: metric::name(parser)?,
        ..ReviewChange::default()
    };
    loop {
        let option = if metric::words(parser, &["as", "of"]) {
            "as_of"
        } else if let Some(option) = ["age", "before", "lang"]
            .into_iter()
            .find(|w| word(parser, w))
        {
            option
        } else {
            return Ok(StatementKind::ReviewChange(review));
        };
        if review.options.iter().any(|(given, _)| *given == option) {
            return parser.expected("each option once", parser.peek_token());
        }
        review
            .options
            .push((option, parser.parse_literal_string()?));
    }
}

/// `[IF NOT EXISTS] name ON FUNNEL funnel STAGE stage AT 'time' [SEGMENT …] [BECAUSE WORST] [NOTE 'text']`
fn create(parser: &mut Parser, sql: &str, or_replace: bool) -> Result<StatementKind, ParserError> {
    let here = |parser: &Parser| {
        let start = parser.peek_token().span.start;
        character_position(sql, start.line, start.column)
    };
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = metric::name(parser)?;
    parser.expect_keyword(Keyword::ON)?;
    expect(parser, "FUNNEL")?;
    let mut places = Places {
        funnel: here(parser),
        ..Places::default()
    };
    let funnel = metric::name(parser)?;
    expect(parser, "STAGE")?;
    places.stage = here(parser);
    let stage = parser.parse_identifier().map(|ident| folded(&ident))?;
    expect(parser, "AT")?;
    places.at = here(parser);
    let at = parser.parse_literal_string()?;
    let mut definition = ChangeDefinition {
        name,
        funnel,
        stage,
        at,
        segment: None,
        note: None,
        because_worst: false,
    };
    loop {
        if definition.segment.is_none() && word(parser, "SEGMENT") {
            places.segment = here(parser);
            definition.segment = Some(condition(&parser.parse_expr()?));
        } else if !definition.because_worst && word(parser, "BECAUSE") {
            expect(parser, "WORST")?;
            definition.because_worst = true;
        } else if definition.note.is_none() && word(parser, "NOTE") {
            definition.note = Some(parser.parse_literal_string()?);
        } else {
            break;
        }
    }
    Ok(StatementKind::CreateChange(Box::new(CreateChange {
        definition,
        or_replace,
        if_not_exists,
        places,
    })))
}

/// `(a = 1, b = 2)` are two conditions that both have to hold.
fn condition(read: &Expr) -> String {
    match read {
        Expr::Tuple(parts) => {
            let parts = parts.iter().map(|part| format!("({})", written(part)));
            parts.collect::<Vec<_>>().join(" AND ")
        }
        Expr::Nested(inner) => written(inner.as_ref()),
        other => written(other),
    }
}

fn expect(parser: &mut Parser, expected: &str) -> Result<(), ParserError> {
    match word(parser, expected) {
        true => Ok(()),
        false => parser.expected(expected, parser.peek_token()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::{StatementKind, parse};
    use super::*;

    fn create(sql: &str) -> CreateChange {
        match parse(sql).unwrap().remove(0).kind {
            StatementKind::CreateChange(create) => *create,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_read_and_written() {
        let sql = "CREATE CHANGE \"新话术\" ON FUNNEL \"销售\" STAGE \"线索获取\" AT '2025-10-01'
  SEGMENT call_script IS DISTINCT FROM 'A'
  BECAUSE WORST
  NOTE '话术 ''B''';";
        let read = create(sql);
        assert!(!read.or_replace && !read.if_not_exists);
        assert_eq!(read.definition.name, "新话术");
        assert_eq!(read.definition.note.as_deref(), Some("话术 'B'"));
        assert_eq!(read.definition.to_string(), sql);
        assert_eq!(read.places.at, Some(52));
    }

    #[test]
    fn a_list_of_values_is_one_condition() {
        let segment = |text: &str| {
            let sql = format!(
                "create or replace change if not exists c on funnel f stage s at '2026-01-01' note 'n' segment {text}"
            );
            create(&sql).definition.segment.unwrap()
        };
        assert_eq!(
            segment("(region = 'south', Size = 'x''y')"),
            "(region = 'south') AND (Size = 'x''y')"
        );
        assert_eq!(segment("(region = 'south')"), "region = 'south'");
        assert_eq!(segment("region = 'south' OR a"), "region = 'south' OR a");
    }

    #[test]
    fn a_review_takes_its_options_in_any_order() {
        let kind = parse("REVIEW CHANGE c AGE '30 days' AS OF '2026-07-01'")
            .unwrap()
            .remove(0)
            .kind;
        let StatementKind::ReviewChange(review) = kind else {
            panic!("{kind:?}")
        };
        assert_eq!(
            review.options,
            [
                ("age", "30 days".to_owned()),
                ("as_of", "2026-07-01".to_owned())
            ]
        );
    }

    #[test]
    fn faults_have_a_code_and_a_place() {
        let fault = |sql: &str| {
            let error = parse(sql).unwrap_err();
            (error.code(), error.position())
        };
        assert_eq!(
            fault("create change c on f stage s at '2026-01-01'"),
            ("42601", Some(20))
        );
        assert_eq!(
            fault("create change c on funnel f stage s at 2026"),
            ("42601", Some(40))
        );
        assert_eq!(
            fault("create change c on funnel f stage s at '2026-01-01' note 'a' note 'b'"),
            ("42601", Some(62))
        );
        assert_eq!(
            fault("review change c age '1' age '2'"),
            ("42601", Some(29))
        );
    }
}
