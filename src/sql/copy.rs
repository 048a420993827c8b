//! `COPY … TO STDOUT` and `COPY … FROM STDIN` with the options that Postgres has, in the old spelling too.

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion_funnel::definition::text::folded;

use super::is_word;
use crate::error::{ChangeFault, Error, Result, syntax_error};

/// A `COPY`.
#[derive(Debug, Clone)]
pub struct Copy {
    /// What is copied.
    pub what: Copied,
    /// Rows come in; otherwise they go out.
    pub from: bool,
    /// How they are written.
    pub options: CopyOptions,
    /// Which of the rows that come in are kept.
    pub condition: Option<Expr>,
}

/// What is copied.
#[derive(Debug, Clone)]
pub enum Copied {
    /// Columns of a table; all where none is named.
    Table(ObjectName, Vec<Ident>),
    /// The rows of a query.
    Query(Box<Query>),
}

/// A format of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyFormat {
    /// Tabs and backslashes.
    #[default]
    Text,
    /// Commas and quotes.
    Csv,
    /// Postgres' own.
    Binary,
}

/// A line of names before the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// None.
    #[default]
    None,
    /// One that is passed over.
    Line,
    /// One that has to have the columns' names.
    Match,
}

/// Some columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Columns {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl Columns {
    /// Whether a column is one of them.
    pub fn contain(&self, column: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == column),
        }
    }
}

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// The format.
    pub format: CopyFormat,
    /// What stands between fields.
    pub delimiter: u8,
    /// How NULL is written.
    pub null: String,
    /// The line of names.
    pub header: Header,
    /// What stands around a field of CSV.
    pub quote: u8,
    /// What stands before a quote that is meant.
    pub escape: u8,
    /// The encoding's name, where it isn't the client's.
    pub encoding: Option<String>,
    /// Columns that are always quoted.
    pub force_quote: Columns,
    /// Columns that are NULL where NULL is quoted.
    pub force_null: Columns,
    /// Columns that are never NULL.
    pub force_not_null: Columns,
    /// What stands for a column's default.
    pub default: Option<String>,
    /// A row whose values can't be read is left out.
    pub ignore_errors: bool,
    /// More of them are an error.
    pub reject_limit: Option<u64>,
}

/// Options as they were given.
#[derive(Debug, Default)]
struct Given {
    format: Option<CopyFormat>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    encoding: Option<String>,
    force_quote: Option<Columns>,
    force_null: Option<Columns>,
    force_not_null: Option<Columns>,
    default: Option<String>,
    ignore_errors: Option<bool>,
    reject_limit: Option<u64>,
}

/// Takes a `COPY` of a client's; nothing where rows come from, or go to, anything else.
///
/// # Errors
/// 42601, 0A000 and 22023 for options that can't be.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<Copy>> {
    if !is_word(&parser.peek_token().token, "copy") {
        return Ok(None);
    }
    let head = parser.try_parse(read_head);
    let Ok((what, from, binary)) = head else {
        return Ok(None);
    };
    let in_sql = |error: ParserError| syntax_error(&error, sql);
    if !from && parser.parse_keyword(Keyword::WHERE) {
        return Err(syntax("WHERE clause not allowed with COPY TO"));
    }
    let mut given = Given {
        format: binary.then_some(CopyFormat::Binary),
        ..Given::default()
    };
    let _ = parser.parse_keyword(Keyword::WITH);
    match parser.peek_token().token {
        Token::LParen => read_list(parser, &mut given, sql)?,
        _ => read_words(parser, &mut given).map_err(in_sql)?,
    }
    let condition = match from && parser.parse_keyword(Keyword::WHERE) {
        true => Some(parser.parse_expr().map_err(in_sql)?),
        false => None,
    };
    let options = given.checked(from)?;
    Ok(Some(Copy {
        what,
        from,
        options,
        condition,
    }))
}

type Head = (Copied, bool, bool);

fn read_head(parser: &mut Parser) -> std::result::Result<Head, ParserError> {
    parser.next_token();
    let binary = word(parser, "binary");
    let what = if parser.consume_token(&Token::LParen) {
        let query = parser.parse_query()?;
        parser.expect_token(&Token::RParen)?;
        Copied::Query(query)
    } else {
        let name = parser.parse_object_name(false)?;
        let mut columns = Vec::new();
        if parser.consume_token(&Token::LParen) {
            columns = parser.parse_comma_separated(Parser::parse_identifier)?;
            parser.expect_token(&Token::RParen)?;
        }
        Copied::Table(name, columns)
    };
    let from = word(parser, "from");
    if !from && !word(parser, "to") {
        return parser.expected("FROM or TO", parser.peek_token());
    }
    // To Postgres one is as good as the other.
    match word(parser, "stdin") || word(parser, "stdout") {
        true => Ok((what, from, binary)),
        false => parser.expected("STDIN or STDOUT", parser.peek_token()),
    }
}

/// `(FORMAT csv, HEADER, DELIMITER ';')`
fn read_list(parser: &mut Parser, given: &mut Given, sql: &str) -> Result<()> {
    let in_sql = |error: ParserError| syntax_error(&error, sql);
    parser.next_token();
    loop {
        let name = parser
            .parse_identifier()
            .map_err(in_sql)?
            .value
            .to_lowercase();
        match name.as_str() {
            "force_quote" | "force_null" | "force_not_null" => {
                let columns = columns_of(parser).map_err(in_sql)?;
                let place = match name.as_str() {
                    "force_quote" => &mut given.force_quote,
                    "force_null" => &mut given.force_null,
                    _ => &mut given.force_not_null,
                };
                once(place, columns)?;
            }
            _ => {
                let value = match parser.peek_token().token {
                    Token::Comma | Token::RParen => None,
                    _ => Some(value_of(parser).map_err(in_sql)?),
                };
                set(given, &name, value)?;
            }
        }
        match parser.next_token().token {
            Token::Comma => {}
            Token::RParen => return Ok(()),
            _ => {
                parser.prev_token();
                let error = parser.expected::<()>("a comma or a parenthesis", parser.peek_token());
                return error.map_err(in_sql);
            }
        }
    }
}

/// A column list in parentheses, or `*`.
fn columns_of(parser: &mut Parser) -> std::result::Result<Columns, ParserError> {
    if parser.consume_token(&Token::Mul) {
        return Ok(Columns::All);
    }
    let listed = parser.consume_token(&Token::LParen);
    let names = parser.parse_comma_separated(Parser::parse_identifier)?;
    if listed {
        parser.expect_token(&Token::RParen)?;
    }
    Ok(Columns::Named(names.iter().map(folded).collect()))
}

/// A word, a number or a text.
fn value_of(parser: &mut Parser) -> std::result::Result<String, ParserError> {
    match parser.next_token().token {
        Token::Word(word) => Ok(word.value),
        Token::Number(digits, _) => Ok(digits),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        Token::DollarQuotedString(quoted) => Ok(quoted.value),
        _ => {
            parser.prev_token();
            parser.expected("a value", parser.peek_token())
        }
    }
}

fn set(given: &mut Given, name: &str, value: Option<String>) -> Result<()> {
    let needed =
        |value: Option<String>| value.ok_or_else(|| syntax(format!("{name} requires a parameter")));
    match name {
        "format" => {
            let value = needed(value)?;
            let format = match value.to_lowercase().as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => {
                    return Err(invalid(format!("COPY format \"{value}\" not recognized")));
                }
            };
            once(&mut given.format, format)
        }
        "freeze" => truth(name, value.as_deref()).map(drop),
        "delimiter" => once(&mut given.delimiter, needed(value)?),
        "null" => once(&mut given.null, needed(value)?),
        "default" => once(&mut given.default, needed(value)?),
        "header" => {
            let header = match value.as_deref() {
                Some(word) if word.eq_ignore_ascii_case("match") => Header::Match,
                value => match truth(name, value) {
                    Ok(true) => Header::Line,
                    Ok(false) => Header::None,
                    Err(_) => {
                        return Err(syntax("header requires a Boolean value or \"match\""));
                    }
                },
            };
            once(&mut given.header, header)
        }
        "quote" => once(&mut given.quote, needed(value)?),
        "escape" => once(&mut given.escape, needed(value)?),
        "encoding" => once(&mut given.encoding, needed(value)?),
        "on_error" => {
            let value = needed(value)?;
            let ignore = match value.to_lowercase().as_str() {
                "stop" => false,
                "ignore" => true,
                _ => return Err(invalid(format!("COPY ON_ERROR \"{value}\" not recognized"))),
            };
            once(&mut given.ignore_errors, ignore)
        }
        "reject_limit" => {
            let value = needed(value)?;
            match value.parse() {
                Ok(limit) if limit > 0 => once(&mut given.reject_limit, limit),
                _ => Err(invalid(format!(
                    "REJECT_LIMIT ({value}) must be greater than zero"
                ))),
            }
        }
        // How much is said about rows that were left out.
        "log_verbosity" => needed(value).map(drop),
        _ => Err(syntax(format!("option \"{name}\" not recognized"))),
    }
}

fn truth(name: &str, value: Option<&str>) -> Result<bool> {
    match value.map(str::to_lowercase).as_deref() {
        None | Some("true" | "on" | "1") => Ok(true),
        Some("false" | "off" | "0") => Ok(false),
        Some(_) => Err(syntax(format!("{name} requires a Boolean value"))),
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(syntax("conflicting or redundant options")),
    }
}

/// `CSV HEADER DELIMITER AS ';'`
fn read_words(parser: &mut Parser, given: &mut Given) -> std::result::Result<(), ParserError> {
    let text = |parser: &mut Parser| {
        word(parser, "as");
        value_of(parser)
    };
    loop {
        if word(parser, "binary") {
            given.format = Some(CopyFormat::Binary);
        } else if word(parser, "csv") {
            given.format = Some(CopyFormat::Csv);
        } else if word(parser, "freeze") {
        } else if word(parser, "header") {
            given.header = Some(Header::Line);
        } else if word(parser, "delimiter") || word(parser, "delimiters") {
            given.delimiter = Some(text(parser)?);
        } else if word(parser, "null") {
            given.null = Some(text(parser)?);
        } else if word(parser, "quote") {
            given.quote = Some(text(parser)?);
        } else if word(parser, "escape") {
            given.escape = Some(text(parser)?);
        } else if word(parser, "encoding") {
            given.encoding = Some(text(parser)?);
        } else if word(parser, "force") {
            if word(parser, "quote") {
                given.force_quote = Some(columns_of(parser)?);
            } else if word(parser, "not") {
                word(parser, "null");
                given.force_not_null = Some(columns_of(parser)?);
            } else {
                word(parser, "null");
                given.force_null = Some(columns_of(parser)?);
            }
        } else {
            return Ok(());
        }
    }
}

impl Given {
    /// The options, where they go together.
    fn checked(self, from: bool) -> Result<CopyOptions> {
        let format = self.format.unwrap_or_default();
        let csv = format == CopyFormat::Csv;
        if format == CopyFormat::Binary {
            let named = [
                ("DELIMITER", self.delimiter.is_some()),
                ("NULL", self.null.is_some()),
                ("DEFAULT", self.default.is_some()),
                ("HEADER", self.header.is_some()),
            ];
            for (name, given) in named {
                if given {
                    return Err(syntax(format!("cannot specify {name} in BINARY mode")));
                }
            }
        }
        for (name, given) in [
            ("quote", self.quote.is_some()),
            ("escape", self.escape.is_some()),
            ("force quote", self.force_quote.is_some()),
            ("force not null", self.force_not_null.is_some()),
            ("force null", self.force_null.is_some()),
        ] {
            if given && !csv {
                return Err(feature(format!("COPY {name} available only in CSV mode")));
            }
        }
        if self.force_quote.is_some() && from {
            return Err(feature("COPY force quote only available using COPY TO"));
        }
        for (name, given) in [
            ("force not null", self.force_not_null.is_some()),
            ("force null", self.force_null.is_some()),
            ("DEFAULT", self.default.is_some()),
            ("ON_ERROR", self.ignore_errors.is_some()),
            ("HEADER MATCH", self.header == Some(Header::Match)),
        ] {
            if given && !from {
                return Err(feature(format!(
                    "COPY {name} only available using COPY FROM"
                )));
            }
        }
        let ignore_errors = self.ignore_errors.unwrap_or(false);
        if ignore_errors && format == CopyFormat::Binary {
            return Err(syntax("only ON_ERROR STOP is allowed in BINARY mode"));
        }
        if self.reject_limit.is_some() && !ignore_errors {
            return Err(syntax(
                "COPY REJECT_LIMIT requires ON_ERROR to be set to IGNORE",
            ));
        }
        let single = |name: &str, text: Option<&String>, otherwise: u8| match text {
            None => Ok(otherwise),
            Some(text) => match text.as_bytes() {
                [byte] => Ok(*byte),
                _ => Err(feature(format!(
                    "COPY {name} must be a single one-byte character"
                ))),
            },
        };
        let delimiter = single(
            "delimiter",
            self.delimiter.as_ref(),
            if csv { b',' } else { b'\t' },
        )?;
        let quote = single("quote", self.quote.as_ref(), b'"')?;
        let escape = single("escape", self.escape.as_ref(), quote)?;
        let null = self
            .null
            .unwrap_or_else(|| if csv { "" } else { "\\N" }.to_owned());
        if delimiter == b'\n' || delimiter == b'\r' {
            return Err(invalid(
                "COPY delimiter cannot be newline or carriage return",
            ));
        }
        if null.contains(['\n', '\r']) {
            return Err(invalid(
                "COPY null representation cannot use newline or carriage return",
            ));
        }
        let forbidden = b"\\.abcdefghijklmnopqrstuvwxyz0123456789";
        if !csv && forbidden.contains(&delimiter) {
            return Err(invalid(format!(
                "COPY delimiter cannot be \"{}\"",
                char::from(delimiter)
            )));
        }
        if csv && delimiter == quote {
            return Err(invalid("COPY delimiter and quote must be different"));
        }
        if null.as_bytes().contains(&delimiter) {
            return Err(invalid(
                "COPY delimiter must not appear in the NULL specification",
            ));
        }
        if csv && null.as_bytes().contains(&quote) {
            return Err(invalid(
                "CSV quote character must not appear in the NULL specification",
            ));
        }
        Ok(CopyOptions {
            format,
            delimiter,
            null,
            header: self.header.unwrap_or_default(),
            quote,
            escape,
            encoding: self.encoding,
            force_quote: self.force_quote.unwrap_or_default(),
            force_null: self.force_null.unwrap_or_default(),
            force_not_null: self.force_not_null.unwrap_or_default(),
            default: self.default,
            ignore_errors,
            reject_limit: self.reject_limit,
        })
    }
}

fn word(parser: &mut Parser, expected: &str) -> bool {
    super::word(parser, expected)
}

fn syntax(message: impl Into<String>) -> Error {
    ChangeFault::Other("42601").error(message).into()
}

fn invalid(message: impl Into<String>) -> Error {
    ChangeFault::Other("22023").error(message).into()
}

fn feature(message: impl Into<String>) -> Error {
    ChangeFault::Other("0A000").error(message).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::{StatementKind, parse};
    use super::*;

    fn copy(sql: &str) -> Copy {
        match parse(sql).unwrap().remove(0).kind {
            StatementKind::Copy(copy) => *copy,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn both_spellings_say_the_same() {
        let new = copy(
            "COPY crm.\"表\" (a, \"B\") FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x', FORCE_NULL (a))",
        );
        let old = copy(
            "copy crm.\"表\" (a, \"B\") from stdin with csv header delimiter as ';' null 'x' force null a",
        );
        assert_eq!(new.options, old.options);
        assert_eq!(new.options.delimiter, b';');
        assert!(new.options.force_null.contain("a"));
        assert!(copy("COPY t FROM STDIN WHERE a > 1").condition.is_some());
        assert!(!copy("COPY (SELECT 1 AS x) TO STDOUT (FORMAT binary)").from);
        let text = copy("COPY public.t (id) FROM stdin").options;
        assert_eq!((text.delimiter, text.null.as_str()), (b'\t', "\\N"));
    }

    /// Expected: PostgreSQL 15.18.
    #[test]
    fn options_that_do_not_go_together_are_refused() {
        for (options, code) in [
            ("(FORMAT xml)", "22023"),
            ("(DELIMITER ',,')", "0A000"),
            ("(QUOTE 'x')", "0A000"),
            ("(FORMAT binary, DELIMITER ',')", "42601"),
            ("(FORMAT csv, FORMAT csv)", "42601"),
            ("(FORMAT csv, DELIMITER '\"')", "22023"),
            ("(SPEED 9)", "42601"),
            ("(HEADER maybe)", "42601"),
        ] {
            let error = parse(&format!("COPY t FROM STDIN {options}")).unwrap_err();
            assert_eq!(error.code(), code, "{options}: {error}");
        }
    }
}
