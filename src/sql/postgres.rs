//! Statements of Postgres that DataFusion has no word for: cursors, savepoints, notifications, comments, keys.

use datafusion::sql::sqlparser::ast::Ident;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use datafusion_funnel::definition::text::folded;

use super::{IndexStatement, StatementKind, is_word};
use crate::catalog::{DeclaredKey, ForeignKey, ReferentialAction};

/// Something said about an object.
#[derive(Debug, Clone)]
pub enum Annotation {
    /// `COMMENT ON TABLE … IS …`
    Comment {
        /// What it is about.
        about: Commented,
        /// The comment, or nothing to take it away.
        text: Option<String>,
    },
    /// `ALTER TABLE … RENAME TO …`
    Rename {
        /// The relation.
        relation: Vec<String>,
        /// Its new name.
        to: String,
        /// A missing one is no error.
        if_exists: bool,
        /// `ALTER TABLE` or `ALTER VIEW`.
        tag: &'static str,
    },
    /// `ALTER TABLE … SET SCHEMA …`
    Move {
        /// The relation.
        relation: Vec<String>,
        /// Its new schema.
        schema: String,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `ALTER TABLE … ADD CONSTRAINT …` of what isn't a durable table, and indexes that are declared only.
    Key {
        /// The relation.
        relation: Vec<String>,
        /// The key.
        key: DeclaredKey,
        /// `ALTER TABLE` or `CREATE INDEX`.
        tag: &'static str,
    },
    /// `ALTER TABLE … ADD CONSTRAINT … FOREIGN KEY …`
    Reference {
        /// The relation.
        relation: Vec<String>,
        /// What it refers to.
        reference: ForeignKey,
    },
}

/// What is to be done with the files of tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Maintenance {
    /// Those that aren't needed any more go; otherwise small ones are put together.
    pub vacuums: bool,
    /// The tables; all where none is named.
    pub tables: Vec<Vec<String>>,
    /// How long files stay that aren't needed any more.
    pub retain_hours: Option<f64>,
}

/// What a comment is about.
#[derive(Debug, Clone)]
pub enum Commented {
    /// A table or view.
    Relation(Vec<String>),
    /// A column: its relation, and its name behind that.
    Column(Vec<String>),
    /// A schema.
    Schema(String),
    /// Anything else, whose comment nobody reads.
    Other,
}

/// Which rows of a cursor are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// So many from here on; all where it is `i64::MAX`, backwards where it is negative.
    Relative(i64),
    /// The one of that number, from 1; from the end where it is negative.
    Absolute(i64),
    /// The one so many rows from here.
    Single(i64),
}

/// How a cursor can be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CursorOptions {
    /// `SCROLL` or `NO SCROLL`, where it is said.
    pub scroll: Option<bool>,
    /// `WITH HOLD`: it stays when its transaction ends.
    pub hold: bool,
}

/// How a statement is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExplainOptions {
    /// It is run, and its operators say what they did.
    pub analyze: bool,
    /// Operators say more.
    pub verbose: bool,
    /// `FORMAT JSON`
    pub json: bool,
}

/// Takes `EXPLAIN [ANALYZE] [VERBOSE]` or `EXPLAIN (options)`; nothing where DataFusion's own words follow.
pub fn explain(parser: &mut Parser) -> Result<Option<ExplainOptions>, ParserError> {
    if !is_word(&parser.peek_token().token, "explain")
        || is_word(&parser.peek_nth_token(1).token, "format")
    {
        return Ok(None);
    }
    parser.next_token();
    let mut options = ExplainOptions::default();
    // A query in parentheses begins with one as well.
    let listed = parser.peek_token().token == Token::LParen
        && !["select", "with", "values", "table"]
            .iter()
            .any(|start| is_word(&parser.peek_nth_token(1).token, start))
        && parser.peek_nth_token(1).token != Token::LParen;
    if !listed {
        options.analyze = word(parser, "analyze") || word(parser, "analyse");
        options.verbose = word(parser, "verbose");
        return Ok(Some(options));
    }
    parser.next_token();
    loop {
        let option = name(parser)?;
        match option.as_str() {
            "format" => {
                let format = name(parser)?;
                match format.as_str() {
                    "json" => options.json = true,
                    "text" => {}
                    _ => {
                        return Err(ParserError::ParserError(format!(
                            "Expected: FORMAT TEXT or JSON, found: {format}"
                        )));
                    }
                }
            }
            "analyze" | "analyse" => options.analyze = truth(parser)?,
            "verbose" => options.verbose = truth(parser)?,
            // What Postgres counts and DataFusion doesn't.
            "costs" | "settings" | "generic_plan" | "buffers" | "wal" | "timing" | "summary"
            | "memory" | "serialize" => {
                truth(parser)?;
            }
            _ => {
                return Err(ParserError::ParserError(format!(
                    "Expected: an option of EXPLAIN, found: {option}"
                )));
            }
        }
        match parser.next_token().token {
            Token::Comma => {}
            Token::RParen => return Ok(Some(options)),
            _ => return parser.expected("a comma or a parenthesis", parser.peek_token()),
        }
    }
}

/// What an option is set to; on where nothing is said.
fn truth(parser: &mut Parser) -> Result<bool, ParserError> {
    match parser.peek_token().token {
        Token::Comma | Token::RParen => Ok(true),
        _ => {
            let value = parser.next_token().token.to_string().to_lowercase();
            Ok(!matches!(value.as_str(), "off" | "false" | "0" | "none"))
        }
    }
}

/// Reads one of these statements, or nothing at all.
pub fn parse(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    attempt(parser, read)
}

/// What an attempt ends with that found something else: the parser then stands where it stood.
const SOMETHING_ELSE: &str = "something else";

/// Reads something, or nothing at all.
pub(super) fn attempt<T>(
    parser: &mut Parser,
    mut read: impl FnMut(&mut Parser) -> Result<Option<T>, ParserError>,
) -> Result<Option<T>, ParserError> {
    let something_else = || ParserError::ParserError(SOMETHING_ELSE.to_owned());
    match parser.try_parse(|parser| read(parser)?.ok_or_else(something_else)) {
        Ok(found) => Ok(Some(found)),
        Err(ParserError::ParserError(message)) if message == SOMETHING_ELSE => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    let Token::Word(first) = parser.peek_token().token else {
        return Ok(None);
    };
    if first.quote_style.is_some() {
        return Ok(None);
    }
    match first.value.to_lowercase().as_str() {
        "savepoint" => {
            parser.next_token();
            Ok(Some(StatementKind::Savepoint(name(parser)?)))
        }
        "release" => {
            parser.next_token();
            word(parser, "savepoint");
            Ok(Some(StatementKind::Release(name(parser)?)))
        }
        "rollback" | "abort" => rollback(parser),
        "listen" => {
            parser.next_token();
            Ok(Some(StatementKind::Listen(name(parser)?)))
        }
        "unlisten" => {
            parser.next_token();
            let all = parser.consume_token(&Token::Mul);
            Ok(Some(StatementKind::Unlisten(if all {
                None
            } else {
                Some(name(parser)?)
            })))
        }
        "notify" => {
            parser.next_token();
            let channel = name(parser)?;
            let payload = if parser.consume_token(&Token::Comma) {
                parser.parse_literal_string()?
            } else {
                String::new()
            };
            Ok(Some(StatementKind::Notify { channel, payload }))
        }
        "close" => {
            parser.next_token();
            let all = word(parser, "all");
            Ok(Some(StatementKind::CloseCursor(if all {
                None
            } else {
                Some(name(parser)?)
            })))
        }
        "fetch" => fetch(parser, false),
        "move" => fetch(parser, true),
        "comment" => comment(parser),
        "alter" => alter(parser),
        "discard" => {
            parser.next_token();
            let all = word(parser, "all");
            if all {
                return Ok(Some(StatementKind::DiscardAll));
            }
            for (part, tag) in [
                ("plans", "DISCARD PLANS"),
                ("sequences", "DISCARD SEQUENCES"),
                ("temp", "DISCARD TEMP"),
                ("temporary", "DISCARD TEMP"),
            ] {
                if word(parser, part) {
                    return Ok(Some(match tag {
                        "DISCARD TEMP" => StatementKind::DiscardTemporary,
                        "DISCARD SEQUENCES" => StatementKind::DiscardSequences,
                        tag => StatementKind::Nothing(tag),
                    }));
                }
            }
            Ok(None)
        }
        "vacuum" => maintenance(parser, true),
        "optimize" => maintenance(parser, false),
        "checkpoint" => nothing(parser, "CHECKPOINT"),
        "lock" => nothing(parser, "LOCK TABLE"),
        "reindex" => nothing(parser, "REINDEX"),
        "analyze" | "analyse" => nothing(parser, "ANALYZE"),
        _ => Ok(None),
    }
}

/// There is nothing to do: the rest of the statement says to what.
fn nothing(parser: &mut Parser, tag: &'static str) -> Result<Option<StatementKind>, ParserError> {
    while !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
        parser.next_token();
    }
    Ok(Some(StatementKind::Nothing(tag)))
}

/// `VACUUM [(options)] [FULL] [FREEZE] [VERBOSE] [ANALYZE] [table, …] [RETAIN n HOURS]`, `OPTIMIZE [TABLE] [table, …]`
fn maintenance(parser: &mut Parser, vacuums: bool) -> Result<Option<StatementKind>, ParserError> {
    parser.next_token();
    if parser.consume_token(&Token::LParen) {
        while !parser.consume_token(&Token::RParen) && parser.peek_token().token != Token::EOF {
            parser.next_token();
        }
    }
    while ["full", "freeze", "verbose", "analyze", "table"]
        .iter()
        .any(|option| word(parser, option))
    {}
    let ends = |parser: &Parser| {
        let token = parser.peek_token().token;
        matches!(token, Token::SemiColon | Token::EOF) || is_word(&token, "retain")
    };
    let mut tables = Vec::new();
    if !ends(parser) {
        loop {
            tables.push(names(parser)?);
            // Columns whose statistics Postgres would look at.
            if parser.peek_token().token == Token::LParen {
                columns(parser)?;
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
    }
    let mut retain_hours = None;
    if vacuums && word(parser, "retain") {
        let Token::Number(digits, _) = parser.next_token().token else {
            parser.prev_token();
            return parser.expected("a number of hours", parser.peek_token());
        };
        retain_hours = digits.parse().ok();
        if !word(parser, "hours") && !word(parser, "hour") {
            return parser.expected("HOURS", parser.peek_token());
        }
    }
    Ok(Some(StatementKind::Maintain(Maintenance {
        vacuums,
        tables,
        retain_hours,
    })))
}

fn rollback(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    parser.next_token();
    let _ = parser.parse_one_of_keywords(&[Keyword::TRANSACTION, Keyword::WORK]);
    if !word(parser, "to") {
        return Ok(None);
    }
    word(parser, "savepoint");
    Ok(Some(StatementKind::RollbackTo(name(parser)?)))
}

/// `DECLARE name [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [WITH|WITHOUT HOLD] FOR`, up to its query.
pub fn declare(parser: &mut Parser) -> Result<Option<(String, CursorOptions)>, ParserError> {
    attempt(parser, read_declare)
}

fn read_declare(parser: &mut Parser) -> Result<Option<(String, CursorOptions)>, ParserError> {
    if !word(parser, "declare") {
        return Ok(None);
    }
    let cursor = name(parser)?;
    let mut options = CursorOptions::default();
    loop {
        if word(parser, "no") {
            options.scroll = Some(false);
            word(parser, "scroll");
        } else if word(parser, "scroll") {
            options.scroll = Some(true);
        } else if !["binary", "insensitive", "asensitive"]
            .iter()
            .any(|option| word(parser, option))
        {
            break;
        }
    }
    if !word(parser, "cursor") {
        return Ok(None);
    }
    if word(parser, "with") {
        options.hold = true;
        word(parser, "hold");
    } else if word(parser, "without") {
        word(parser, "hold");
    }
    parser.expect_keyword(Keyword::FOR)?;
    Ok(Some((cursor, options)))
}

fn fetch(parser: &mut Parser, moves: bool) -> Result<Option<StatementKind>, ParserError> {
    parser.next_token();
    let which = which(parser)?;
    if !word(parser, "from") {
        word(parser, "in");
    }
    let cursor = name(parser)?;
    Ok(Some(StatementKind::Fetch {
        cursor,
        which,
        moves,
    }))
}

fn which(parser: &mut Parser) -> Result<Which, ParserError> {
    let backward = word(parser, "backward");
    if backward || word(parser, "forward") {
        let sign = if backward { -1 } else { 1 };
        if word(parser, "all") {
            return Ok(Which::Relative(sign * i64::MAX));
        }
        return Ok(match count(parser)? {
            Some(count) => Which::Relative(sign * count),
            None => Which::Relative(sign),
        });
    }
    for (keyword, which) in [
        ("next", Which::Relative(1)),
        ("prior", Which::Relative(-1)),
        ("first", Which::Absolute(1)),
        ("last", Which::Absolute(-1)),
        ("all", Which::Relative(i64::MAX)),
    ] {
        // A cursor may have such a name: then nothing stands before it.
        let is_name = matches!(
            parser.peek_nth_token(1).token,
            Token::SemiColon | Token::EOF
        );
        if !is_name && word(parser, keyword) {
            return Ok(which);
        }
    }
    if word(parser, "absolute") {
        return Ok(Which::Absolute(count(parser)?.unwrap_or(0)));
    }
    if word(parser, "relative") {
        return Ok(Which::Single(count(parser)?.unwrap_or(0)));
    }
    Ok(count(parser)?.map_or(Which::Relative(1), Which::Relative))
}

fn count(parser: &mut Parser) -> Result<Option<i64>, ParserError> {
    let negative = parser.consume_token(&Token::Minus);
    if let Token::Number(digits, _) = parser.peek_token().token {
        let number: i64 = match digits.parse() {
            Ok(number) => number,
            Err(_) => return parser.expected("a number of rows", parser.peek_token()),
        };
        parser.next_token();
        return Ok(Some(if negative { -number } else { number }));
    }
    Ok(None)
}

fn comment(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    parser.next_token();
    if !word(parser, "on") {
        return Ok(None);
    }
    let _ = word(parser, "materialized") || word(parser, "foreign");
    let about = if word(parser, "table") || word(parser, "view") {
        Commented::Relation(names(parser)?)
    } else if word(parser, "column") {
        Commented::Column(names(parser)?)
    } else if word(parser, "schema") {
        Commented::Schema(name(parser)?)
    } else if word(parser, "funnel") || word(parser, "metric") || word(parser, "change") {
        return Ok(None);
    } else {
        while !is_word(&parser.peek_token().token, "is")
            && !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF)
        {
            parser.next_token();
        }
        Commented::Other
    };
    if !word(parser, "is") {
        return parser.expected("IS", parser.peek_token());
    }
    let text = match parser.peek_token().token {
        Token::DollarQuotedString(quoted) => {
            parser.next_token();
            Some(quoted.value)
        }
        _ if word(parser, "null") => None,
        _ => Some(parser.parse_literal_string()?),
    };
    // As in Postgres, an empty comment is none.
    let text = text.filter(|text| !text.is_empty());
    Ok(Some(StatementKind::Annotate(Annotation::Comment {
        about,
        text,
    })))
}

fn alter(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    parser.next_token();
    let _ = word(parser, "materialized") || word(parser, "foreign");
    let kinds = [
        ("table", "ALTER TABLE"),
        ("view", "ALTER VIEW"),
        ("schema", "ALTER SCHEMA"),
        ("type", "ALTER TYPE"),
        ("function", "ALTER FUNCTION"),
        ("sequence", "ALTER SEQUENCE"),
        ("domain", "ALTER DOMAIN"),
        ("database", "ALTER DATABASE"),
        ("index", "ALTER INDEX"),
    ];
    let Some(tag) = kinds
        .iter()
        .find(|(kind, _)| word(parser, kind))
        .map(|(_, tag)| *tag)
    else {
        return Ok(None);
    };
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    word(parser, "only");
    let relation = names(parser)?;
    // The arguments of a function.
    if parser.consume_token(&Token::LParen) {
        while !parser.consume_token(&Token::RParen) && parser.peek_token().token != Token::EOF {
            parser.next_token();
        }
    }
    if word(parser, "owner") {
        word(parser, "to");
        name(parser)?;
        return Ok(Some(StatementKind::Nothing(tag)));
    }
    if tag == "ALTER INDEX" && parser.parse_keywords(&[Keyword::RENAME, Keyword::TO]) {
        let to = name(parser)?;
        return Ok(Some(StatementKind::Index(Box::new(
            IndexStatement::Rename {
                name: relation,
                to,
                if_exists,
            },
        ))));
    }
    if !matches!(tag, "ALTER TABLE" | "ALTER VIEW") {
        return Ok(None);
    }
    if parser.parse_keywords(&[Keyword::SET, Keyword::SCHEMA]) {
        let schema = name(parser)?;
        return Ok(Some(StatementKind::Annotate(Annotation::Move {
            relation,
            schema,
            if_exists,
        })));
    }
    if word(parser, "rename") {
        if !word(parser, "to") {
            return Ok(None);
        }
        let to = name(parser)?;
        return Ok(Some(StatementKind::Annotate(Annotation::Rename {
            relation,
            to,
            if_exists,
            tag,
        })));
    }
    if word(parser, "add") {
        return constraint(parser, relation);
    }
    Ok(None)
}

fn constraint(
    parser: &mut Parser,
    relation: Vec<String>,
) -> Result<Option<StatementKind>, ParserError> {
    let table = relation.last().cloned().unwrap_or_default();
    let given = if word(parser, "constraint") {
        Some(name(parser)?)
    } else {
        None
    };
    if parser.parse_keywords(&[Keyword::FOREIGN, Keyword::KEY]) {
        let columns = columns(parser)?;
        parser.expect_keyword(Keyword::REFERENCES)?;
        let mut referred_relation = names(parser)?;
        let referred = if parser.peek_token().token == Token::LParen {
            self::columns(parser)?
        } else {
            Vec::new()
        };
        let (mut on_delete, mut on_update) =
            (ReferentialAction::default(), ReferentialAction::default());
        while !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
            if parser.parse_keywords(&[Keyword::ON, Keyword::DELETE]) {
                on_delete = action(parser);
            } else if parser.parse_keywords(&[Keyword::ON, Keyword::UPDATE]) {
                on_update = action(parser);
            } else {
                parser.next_token();
            }
        }
        let name = given.unwrap_or_else(|| format!("{table}_{}_fkey", columns.join("_")));
        let target = referred_relation.pop().unwrap_or_default();
        // Where nothing is written, it is looked for when the key is noted.
        let schema = referred_relation.pop().unwrap_or_default();
        let reference = ForeignKey {
            name,
            columns,
            schema,
            relation: target,
            referred,
            on_delete,
            on_update,
        };
        return Ok(Some(StatementKind::Annotate(Annotation::Reference {
            relation,
            reference,
        })));
    }
    Ok(None)
}

/// `CASCADE`, `SET NULL`; what is none is passed over.
fn action(parser: &mut Parser) -> ReferentialAction {
    if word(parser, "cascade") {
        ReferentialAction::Cascade
    } else if word(parser, "restrict") {
        ReferentialAction::Restrict
    } else if parser.parse_keywords(&[Keyword::SET, Keyword::NULL]) {
        ReferentialAction::SetNull
    } else if parser.parse_keywords(&[Keyword::SET, Keyword::DEFAULT]) {
        ReferentialAction::SetDefault
    } else {
        ReferentialAction::NoAction
    }
}

/// Names in parentheses; what is said about their order is passed over.
fn columns(parser: &mut Parser) -> Result<Vec<String>, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut columns = vec![name(parser)?];
    loop {
        match parser.next_token().token {
            Token::Comma => columns.push(name(parser)?),
            Token::RParen => return Ok(columns),
            Token::EOF => return parser.expected(")", parser.peek_token()),
            _ => {}
        }
    }
}

pub(super) fn name(parser: &mut Parser) -> Result<String, ParserError> {
    let ident: Ident = parser.parse_identifier()?;
    Ok(folded(&ident))
}

pub(super) fn names(parser: &mut Parser) -> Result<Vec<String>, ParserError> {
    let parts = parser.parse_object_name(false)?;
    Ok(parts
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(folded)
        .collect())
}

/// Takes the next word when it is `expected`.
pub(super) fn word(parser: &mut Parser, expected: &str) -> bool {
    let found = is_word(&parser.peek_token().token, expected);
    if found {
        parser.next_token();
    }
    found
}
