//! `CREATE SEQUENCE`, `ALTER SEQUENCE`, `DROP SEQUENCE`, and the columns of a table that is there as identities.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::postgres::{attempt, name, names, word};
use super::{StatementKind, is_word};
use crate::error::{Error, Result, syntax_error};

/// What is said about a sequence; absent where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SequenceOptions {
    /// `AS type`, as it is written.
    pub kind: Option<String>,
    /// `INCREMENT BY`
    pub increment: Option<i64>,
    /// `MINVALUE`; inside, absent for `NO MINVALUE`.
    pub least: Option<Option<i64>>,
    /// `MAXVALUE`; inside, absent for `NO MAXVALUE`.
    pub most: Option<Option<i64>>,
    /// `START WITH`
    pub start: Option<i64>,
    /// `RESTART`; inside, absent where it doesn't say with which number.
    pub restart: Option<Option<i64>>,
    /// `CACHE`
    pub cache: Option<i64>,
    /// `CYCLE` or `NO CYCLE`
    pub cycle: Option<bool>,
    /// `OWNED BY`; inside, absent for `NONE`.
    pub owned_by: Option<Option<Vec<String>>>,
    /// `SEQUENCE NAME`, of an identity.
    pub name: Option<Vec<String>>,
}

/// A statement about sequences.
#[derive(Debug, Clone)]
pub enum SequenceStatement {
    /// `CREATE SEQUENCE`
    Create {
        /// Its name.
        name: Vec<String>,
        /// One that there is is no error.
        if_not_exists: bool,
        /// How it is to be.
        options: SequenceOptions,
    },
    /// `ALTER SEQUENCE`
    Alter {
        /// Its name.
        name: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
        /// How it is to be.
        options: SequenceOptions,
    },
    /// `ALTER SEQUENCE … RENAME TO`, and `SET SCHEMA`
    Rename {
        /// Its name.
        name: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
        /// Its new schema, where it gets one.
        schema: Option<String>,
        /// Its new name, where it gets one.
        to: Option<String>,
    },
    /// `DROP SEQUENCE`
    Drop {
        /// Their names.
        names: Vec<Vec<String>>,
        /// A missing one is no error.
        if_exists: bool,
        /// Columns that use one don't any more.
        cascade: bool,
    },
    /// `ALTER TABLE … ALTER COLUMN … ADD GENERATED … AS IDENTITY` and the like.
    Identity {
        /// The table.
        relation: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
        /// The column.
        column: String,
        /// What is done with it.
        change: IdentityChange,
    },
}

/// What is done with a column as an identity.
#[derive(Debug, Clone)]
pub enum IdentityChange {
    /// `ADD GENERATED`: values can't be given where it is `ALWAYS`.
    Add(bool, SequenceOptions),
    /// `SET GENERATED`, `SET option`, `RESTART`
    Set(Option<bool>, SequenceOptions),
    /// `DROP IDENTITY`; one that is none is no error where that is said.
    Drop(bool),
    /// `DROP EXPRESSION`: a computed column keeps its values and isn't computed any more.
    DropExpression(bool),
}

impl SequenceStatement {
    /// The tag of the command.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Create { .. } => "CREATE SEQUENCE",
            Self::Alter { .. } | Self::Rename { .. } => "ALTER SEQUENCE",
            Self::Drop { .. } => "DROP SEQUENCE",
            Self::Identity { .. } => "ALTER TABLE",
        }
    }
}

/// Reads one of these statements, or nothing at all.
///
/// # Errors
/// 42601, and 0A000 for a temporary sequence.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let is = |at: usize, expected: &str| is_word(&parser.peek_nth_token(at).token, expected);
    if is(0, "create") && (is(1, "temp") || is(1, "temporary")) && is(2, "sequence") {
        return Err(Error::Unsupported {
            message: "CREATE TEMP SEQUENCE is not supported".to_owned(),
            hint: Some("Create a sequence, and drop it afterwards.".to_owned()),
        });
    }
    let found = attempt(parser, read).map_err(|error| syntax_error(&error, sql))?;
    Ok(found)
}

fn read(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    let statement = if word(parser, "create") {
        word(parser, "unlogged");
        if !word(parser, "sequence") {
            return Ok(None);
        }
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        SequenceStatement::Create {
            if_not_exists,
            name: names(parser)?,
            options: options(parser)?,
        }
    } else if word(parser, "drop") {
        if !word(parser, "sequence") {
            return Ok(None);
        }
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let names = parser.parse_comma_separated(names)?;
        let cascade = word(parser, "cascade");
        let _ = word(parser, "restrict");
        SequenceStatement::Drop {
            names,
            if_exists,
            cascade,
        }
    } else if word(parser, "alter") {
        if word(parser, "table") {
            return identity(parser);
        }
        if !word(parser, "sequence") {
            return Ok(None);
        }
        let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        let sequence = names(parser)?;
        if word(parser, "owner") {
            word(parser, "to");
            name(parser)?;
            return Ok(Some(StatementKind::Nothing("ALTER SEQUENCE")));
        }
        let (mut schema, mut to) = (None, None);
        if word(parser, "rename") {
            parser.expect_keyword(Keyword::TO)?;
            to = Some(name(parser)?);
        } else if parser.parse_keywords(&[Keyword::SET, Keyword::SCHEMA]) {
            schema = Some(name(parser)?);
        }
        match schema.is_some() || to.is_some() {
            true => SequenceStatement::Rename {
                name: sequence,
                if_exists,
                schema,
                to,
            },
            false => SequenceStatement::Alter {
                name: sequence,
                if_exists,
                options: options(parser)?,
            },
        }
    } else {
        return Ok(None);
    };
    Ok(Some(StatementKind::Sequence(Box::new(statement))))
}

/// `[IF EXISTS] [ONLY] name ALTER [COLUMN] name`, and what is done with the column as an identity.
fn identity(parser: &mut Parser) -> Result<Option<StatementKind>, ParserError> {
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    word(parser, "only");
    let relation = names(parser)?;
    if !word(parser, "alter") {
        return Ok(None);
    }
    word(parser, "column");
    let column = name(parser)?;
    let change = if word(parser, "add") {
        if !word(parser, "generated") {
            return Ok(None);
        }
        let always = always(parser)?;
        parser.expect_keywords(&[Keyword::AS, Keyword::IDENTITY])?;
        let mut given = SequenceOptions::default();
        if parser.consume_token(&Token::LParen) {
            given = options(parser)?;
            parser.expect_token(&Token::RParen)?;
        }
        IdentityChange::Add(always, given)
    } else if word(parser, "drop") {
        let expression = word(parser, "expression");
        if !expression && !word(parser, "identity") {
            return Ok(None);
        }
        let lenient = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
        match expression {
            true => IdentityChange::DropExpression(lenient),
            false => IdentityChange::Drop(lenient),
        }
    } else {
        let mut kind = None;
        let mut given = SequenceOptions::default();
        loop {
            if word(parser, "set") {
                if word(parser, "generated") {
                    kind = Some(always(parser)?);
                } else if !option(parser, &mut given)? {
                    return Ok(None);
                }
            } else if is_word(&parser.peek_token().token, "restart") {
                option(parser, &mut given)?;
            } else {
                break;
            }
        }
        if kind.is_none() && given == SequenceOptions::default() {
            return Ok(None);
        }
        IdentityChange::Set(kind, given)
    };
    let statement = SequenceStatement::Identity {
        relation,
        if_exists,
        column,
        change,
    };
    Ok(Some(StatementKind::Sequence(Box::new(statement))))
}

/// `ALWAYS` or `BY DEFAULT`
fn always(parser: &mut Parser) -> Result<bool, ParserError> {
    if word(parser, "always") {
        return Ok(true);
    }
    match parser.parse_keywords(&[Keyword::BY, Keyword::DEFAULT]) {
        true => Ok(false),
        false => parser.expected("ALWAYS or BY DEFAULT", parser.peek_token()),
    }
}

/// Options in any order.
fn options(parser: &mut Parser) -> Result<SequenceOptions, ParserError> {
    let mut given = SequenceOptions::default();
    while option(parser, &mut given)? {}
    Ok(given)
}

/// Takes one option; whether there is one.
fn option(parser: &mut Parser, given: &mut SequenceOptions) -> Result<bool, ParserError> {
    if word(parser, "as") {
        given.kind = Some(parser.parse_data_type()?.to_string().to_lowercase());
    } else if word(parser, "increment") {
        word(parser, "by");
        given.increment = Some(number(parser)?);
    } else if word(parser, "minvalue") {
        given.least = Some(Some(number(parser)?));
    } else if word(parser, "maxvalue") {
        given.most = Some(Some(number(parser)?));
    } else if word(parser, "no") {
        if word(parser, "minvalue") {
            given.least = Some(None);
        } else if word(parser, "maxvalue") {
            given.most = Some(None);
        } else if word(parser, "cycle") {
            given.cycle = Some(false);
        } else {
            return parser.expected("MINVALUE, MAXVALUE or CYCLE", parser.peek_token());
        }
    } else if word(parser, "start") {
        word(parser, "with");
        given.start = Some(number(parser)?);
    } else if word(parser, "restart") {
        let with = word(parser, "with");
        let is_number = matches!(
            parser.peek_token().token,
            Token::Number(..) | Token::Minus | Token::Plus
        );
        given.restart = Some(match with || is_number {
            true => Some(number(parser)?),
            false => None,
        });
    } else if word(parser, "cache") {
        given.cache = Some(number(parser)?);
    } else if word(parser, "cycle") {
        given.cycle = Some(true);
    } else if word(parser, "owned") {
        parser.expect_keyword(Keyword::BY)?;
        given.owned_by = Some(match word(parser, "none") {
            true => None,
            false => Some(names(parser)?),
        });
    } else if is_word(&parser.peek_token().token, "sequence")
        && is_word(&parser.peek_nth_token(1).token, "name")
    {
        parser.next_token();
        parser.next_token();
        given.name = Some(names(parser)?);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn number(parser: &mut Parser) -> Result<i64, ParserError> {
    let negative = parser.consume_token(&Token::Minus);
    if !negative {
        let _ = parser.consume_token(&Token::Plus);
    }
    let token = parser.next_token();
    let Token::Number(digits, _) = &token.token else {
        return parser.expected("a whole number", token);
    };
    let sign = if negative { "-" } else { "" };
    match format!("{sign}{digits}").parse() {
        Ok(number) => Ok(number),
        Err(_) => parser.expected("a whole number of 64 bits", token),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::parse;
    use super::*;

    fn statement(sql: &str) -> SequenceStatement {
        match parse(sql).unwrap().remove(0).kind {
            StatementKind::Sequence(statement) => *statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn options_come_in_any_order() {
        let written = "CREATE SEQUENCE IF NOT EXISTS crm.s AS integer START WITH 7 INCREMENT BY -2 NO MINVALUE MAXVALUE 70 CACHE 1 NO CYCLE OWNED BY crm.t.id";
        let SequenceStatement::Create {
            name,
            if_not_exists,
            options,
        } = statement(written)
        else {
            panic!("{written}")
        };
        assert!(if_not_exists);
        assert_eq!(name, ["crm", "s"]);
        let expected = SequenceOptions {
            kind: Some("integer".to_owned()),
            increment: Some(-2),
            least: Some(None),
            most: Some(Some(70)),
            start: Some(7),
            cache: Some(1),
            cycle: Some(false),
            owned_by: Some(Some(["crm", "t", "id"].map(str::to_owned).to_vec())),
            ..SequenceOptions::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn what_pg_dump_writes_of_an_identity_is_read() {
        let written = "ALTER TABLE crm.t ALTER COLUMN n ADD GENERATED BY DEFAULT AS IDENTITY (\n SEQUENCE NAME crm.t_n_seq\n START WITH 1\n INCREMENT BY 1\n NO MINVALUE\n NO MAXVALUE\n CACHE 1\n)";
        let SequenceStatement::Identity { column, change, .. } = statement(written) else {
            panic!("{written}")
        };
        assert_eq!(column, "n");
        let IdentityChange::Add(false, options) = change else {
            panic!("{written}")
        };
        assert_eq!(options.name.unwrap(), ["crm", "t_n_seq"]);
        assert_eq!(options.start, Some(1));
    }

    #[test]
    fn others_are_left_to_others() {
        for sql in [
            "ALTER TABLE t ALTER COLUMN a SET NOT NULL",
            "ALTER TABLE t ALTER a SET DEFAULT 1",
            "ALTER TABLE t ADD COLUMN b int",
            "DROP TABLE sequence",
        ] {
            let kind = parse(sql).unwrap().remove(0).kind;
            assert!(!matches!(kind, StatementKind::Sequence(_)), "{sql}");
        }
        assert_eq!(
            parse("CREATE SEQUENCE s START x").unwrap_err().code(),
            "42601"
        );
        assert_eq!(parse("CREATE TEMP SEQUENCE s").unwrap_err().code(), "0A000");
    }
}
