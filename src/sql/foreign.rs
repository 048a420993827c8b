//! `CREATE SERVER`, `CREATE USER MAPPING`, `CREATE FOREIGN TABLE`, `IMPORT FOREIGN SCHEMA` and their family.
//!
//! sqlparser reads parts of these. They are read here because an option may be a password: no message of this file
//! repeats a text that the statement quotes.

use std::collections::BTreeMap;
use std::fmt;

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::access::{Grantee, grantee};
use super::postgres::{name, names};
use super::{StatementKind, is_word, word};
use crate::error::{Result, syntax_error};

/// A statement about other databases and their tables.
#[derive(Debug, Clone)]
pub enum ForeignStatement {
    /// `CREATE SERVER name FOREIGN DATA WRAPPER wrapper OPTIONS (…)`.
    CreateServer {
        /// The server.
        name: String,
        /// One of that name is no error.
        if_not_exists: bool,
        /// What kind of database it is.
        wrapper: String,
        /// Where it is.
        options: Options,
    },
    /// `ALTER SERVER name OPTIONS (…)`.
    AlterServer {
        /// The server.
        name: String,
        /// What changes.
        changes: Vec<OptionChange>,
    },
    /// `DROP SERVER [IF EXISTS] name, … [CASCADE]`.
    DropServer {
        /// The servers.
        names: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
        /// Its tables and user mappings go, too.
        cascade: bool,
    },
    /// `CREATE USER MAPPING FOR role SERVER server OPTIONS (…)`.
    CreateMapping {
        /// Whose it is.
        role: Grantee,
        /// The server.
        server: String,
        /// One that is there is no error.
        if_not_exists: bool,
        /// As whom the role connects.
        options: Options,
    },
    /// `ALTER USER MAPPING FOR role SERVER server OPTIONS (…)`.
    AlterMapping {
        /// Whose it is.
        role: Grantee,
        /// The server.
        server: String,
        /// What changes.
        changes: Vec<OptionChange>,
    },
    /// `DROP USER MAPPING [IF EXISTS] FOR role SERVER server`.
    DropMapping {
        /// Whose it is.
        role: Grantee,
        /// The server.
        server: String,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `CREATE FOREIGN TABLE name (columns) SERVER server OPTIONS (…)`.
    CreateTable {
        /// Its name.
        relation: Vec<String>,
        /// One of that name is no error.
        if_not_exists: bool,
        /// Its columns; those of the remote table where there are none.
        columns: Vec<ColumnSpec>,
        /// The server.
        server: String,
        /// Which table of the server it is.
        options: Options,
    },
    /// `DROP FOREIGN TABLE [IF EXISTS] name, …`.
    DropTable {
        /// The tables.
        relations: Vec<Vec<String>>,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `IMPORT FOREIGN SCHEMA remote [LIMIT TO | EXCEPT (…)] FROM SERVER server INTO local`.
    ImportSchema {
        /// The schema there.
        remote: String,
        /// Which of its tables.
        which: WhichTables,
        /// The server.
        server: String,
        /// The schema here.
        into: String,
    },
}

impl ForeignStatement {
    /// Postgres' tag of the command.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::CreateServer { .. } => "CREATE SERVER",
            Self::AlterServer { .. } => "ALTER SERVER",
            Self::DropServer { .. } => "DROP SERVER",
            Self::CreateMapping { .. } => "CREATE USER MAPPING",
            Self::AlterMapping { .. } => "ALTER USER MAPPING",
            Self::DropMapping { .. } => "DROP USER MAPPING",
            Self::CreateTable { .. } => "CREATE FOREIGN TABLE",
            Self::DropTable { .. } => "DROP FOREIGN TABLE",
            Self::ImportSchema { .. } => "IMPORT FOREIGN SCHEMA",
        }
    }
}

/// Which tables of a schema are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhichTables {
    /// All.
    All,
    /// These.
    Only(Vec<String>),
    /// All but these.
    Except(Vec<String>),
}

/// A column of a foreign table as it is written.
#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// Its name.
    pub name: String,
    /// Its type, as SQL.
    pub data_type: String,
    /// It is never NULL.
    pub not_null: bool,
    /// What it is called there, and its type there.
    pub options: Options,
}

/// Options by name. Their `Debug` doesn't show what they are set to.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options(pub BTreeMap<String, String>);

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A change of an option.
#[derive(Clone, PartialEq, Eq)]
pub enum OptionChange {
    /// `[ADD] name 'value'`: there was none.
    Add(String, String),
    /// `SET name 'value'`: there was one.
    Set(String, String),
    /// `DROP name`.
    Drop(String),
}

impl fmt::Debug for OptionChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Add(name, _) | Self::Set(name, _) | Self::Drop(name)) = self;
        f.write_str(name)
    }
}

/// Reads a statement of this family; nothing when the text is another statement.
///
/// # Errors
/// 42601.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let starts = |parser: &Parser, words: &[&str]| {
        let mut expected = words.iter().enumerate();
        expected.all(|(at, word)| is_word(&parser.peek_nth_token_ref(at).token, word))
    };
    type Read = fn(&mut Parser) -> Result<ForeignStatement, ParserError>;
    let family: [(&[&str], Read); 11] = [
        (&["create", "server"], create_server),
        (&["alter", "server"], alter_server),
        (&["drop", "server"], drop_server),
        (&["create", "user", "mapping"], create_mapping),
        (&["alter", "user", "mapping"], alter_mapping),
        (&["drop", "user", "mapping"], drop_mapping),
        (&["create", "foreign", "table"], create_table),
        (&["drop", "foreign", "table"], drop_table),
        (&["import", "foreign", "schema"], import_schema),
        (&["create", "foreign", "data"], fixed_wrappers),
        (&["drop", "foreign", "data"], fixed_wrappers),
    ];
    let Some((words, read)) = family.iter().find(|(words, _)| starts(parser, words)) else {
        return Ok(None);
    };
    for _ in *words {
        parser.next_token();
    }
    match read(parser) {
        Ok(statement) => Ok(Some(StatementKind::Foreign(Box::new(statement)))),
        Err(error) => Err(syntax_error(&error, sql)),
    }
}

/// A syntax error at the next word, which it doesn't repeat.
fn expected<T>(parser: &Parser, what: &str) -> Result<T, ParserError> {
    let place = parser.peek_nth_token_ref(0).span.start;
    Err(ParserError::ParserError(format!("Expected: {what}{place}")))
}

fn fixed_wrappers(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    expected(
        parser,
        "a server or a table: the foreign-data wrappers are postgres, mysql and sqlite",
    )
}

fn need(parser: &mut Parser, words: &[&str]) -> Result<(), ParserError> {
    for expected_word in words {
        if !word(parser, expected_word) {
            return expected(parser, &expected_word.to_uppercase());
        }
    }
    Ok(())
}

fn words(parser: &mut Parser, expected: &[&str]) -> bool {
    let mut all = expected.iter().enumerate();
    let found = all.all(|(at, word)| is_word(&parser.peek_nth_token_ref(at).token, word));
    if found {
        for _ in expected {
            parser.next_token();
        }
    }
    found
}

fn text(parser: &mut Parser, what: &str) -> Result<String, ParserError> {
    let text = match &parser.peek_nth_token_ref(0).token {
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
        Token::DollarQuotedString(text) => text.value.clone(),
        _ => return expected(parser, what),
    };
    parser.next_token();
    Ok(text)
}

fn list<T>(
    parser: &mut Parser,
    element: impl Fn(&mut Parser) -> Result<T, ParserError>,
) -> Result<Vec<T>, ParserError> {
    let mut list = vec![element(parser)?];
    while parser.consume_token(&Token::Comma) {
        list.push(element(parser)?);
    }
    Ok(list)
}

fn in_parentheses<T>(
    parser: &mut Parser,
    element: impl Fn(&mut Parser) -> Result<T, ParserError>,
) -> Result<Vec<T>, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return expected(parser, "(");
    }
    let list = list(parser, element)?;
    match parser.consume_token(&Token::RParen) {
        true => Ok(list),
        false => expected(parser, ", or )"),
    }
}

/// `[OPTIONS (name 'value', …)]`
fn options(parser: &mut Parser) -> Result<Options, ParserError> {
    let mut options = BTreeMap::new();
    if !word(parser, "options") {
        return Ok(Options(options));
    }
    let pair = |parser: &mut Parser| {
        let option = name(parser)?;
        Ok((option, text(parser, "the option's value in quotes")?))
    };
    for (option, value) in in_parentheses(parser, pair)? {
        if options.insert(option.clone(), value).is_some() {
            return expected(parser, &format!("option \"{option}\" only once"));
        }
    }
    Ok(Options(options))
}

/// `OPTIONS ([ADD] name 'value', SET name 'value', DROP name, …)`
fn option_changes(parser: &mut Parser) -> Result<Vec<OptionChange>, ParserError> {
    need(parser, &["options"])?;
    in_parentheses(parser, |parser| {
        // An option may be called as the words are: then its value follows.
        let next = &parser.peek_nth_token_ref(1).token;
        let verb = !matches!(next, Token::SingleQuotedString(_));
        if verb && word(parser, "drop") {
            return Ok(OptionChange::Drop(name(parser)?));
        }
        let set = verb && word(parser, "set");
        let _ = verb && !set && word(parser, "add");
        let option = name(parser)?;
        let value = text(parser, "the option's value in quotes")?;
        Ok(match set {
            true => OptionChange::Set(option, value),
            false => OptionChange::Add(option, value),
        })
    })
}

fn create_server(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let if_not_exists = words(parser, &["if", "not", "exists"]);
    let server = name(parser)?;
    if word(parser, "type") {
        text(parser, "a type in quotes")?;
    }
    if word(parser, "version") {
        text(parser, "a version in quotes")?;
    }
    need(parser, &["foreign", "data", "wrapper"])?;
    Ok(ForeignStatement::CreateServer {
        name: server,
        if_not_exists,
        wrapper: name(parser)?,
        options: options(parser)?,
    })
}

fn alter_server(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    Ok(ForeignStatement::AlterServer {
        name: name(parser)?,
        changes: option_changes(parser)?,
    })
}

fn drop_server(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let if_exists = words(parser, &["if", "exists"]);
    let names = list(parser, name)?;
    let cascade = word(parser, "cascade");
    let _ = !cascade && word(parser, "restrict");
    Ok(ForeignStatement::DropServer {
        names,
        if_exists,
        cascade,
    })
}

/// `FOR role SERVER server`
fn mapped(parser: &mut Parser) -> Result<(Grantee, String), ParserError> {
    need(parser, &["for"])?;
    let role = match word(parser, "user") {
        true => Grantee::Role(super::role::NamedRole::Current),
        false => grantee(parser)?,
    };
    need(parser, &["server"])?;
    Ok((role, name(parser)?))
}

fn create_mapping(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let if_not_exists = words(parser, &["if", "not", "exists"]);
    let (role, server) = mapped(parser)?;
    Ok(ForeignStatement::CreateMapping {
        role,
        server,
        if_not_exists,
        options: options(parser)?,
    })
}

fn alter_mapping(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let (role, server) = mapped(parser)?;
    Ok(ForeignStatement::AlterMapping {
        role,
        server,
        changes: option_changes(parser)?,
    })
}

fn drop_mapping(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let if_exists = words(parser, &["if", "exists"]);
    let (role, server) = mapped(parser)?;
    Ok(ForeignStatement::DropMapping {
        role,
        server,
        if_exists,
    })
}

fn create_table(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let if_not_exists = words(parser, &["if", "not", "exists"]);
    let relation = names(parser)?;
    let mut columns = Vec::new();
    let empty = matches!(parser.peek_nth_token_ref(1).token, Token::RParen);
    if parser.peek_nth_token_ref(0).token == Token::LParen {
        match empty {
            true => {
                parser.next_token();
                parser.next_token();
            }
            false => columns = in_parentheses(parser, column)?,
        }
    }
    need(parser, &["server"])?;
    Ok(ForeignStatement::CreateTable {
        relation,
        if_not_exists,
        columns,
        server: name(parser)?,
        options: options(parser)?,
    })
}

fn column(parser: &mut Parser) -> Result<ColumnSpec, ParserError> {
    let column = name(parser)?;
    let data_type = parser.parse_data_type()?.to_string();
    let mut spec = ColumnSpec {
        name: column,
        data_type,
        not_null: false,
        options: options(parser)?,
    };
    loop {
        if words(parser, &["not", "null"]) {
            spec.not_null = true;
        } else if word(parser, "collate") {
            name(parser)?;
        } else if !word(parser, "null") {
            return Ok(spec);
        }
    }
}

fn drop_table(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let if_exists = words(parser, &["if", "exists"]);
    let relations = list(parser, names)?;
    let _ = word(parser, "cascade") || word(parser, "restrict");
    Ok(ForeignStatement::DropTable {
        relations,
        if_exists,
    })
}

fn import_schema(parser: &mut Parser) -> Result<ForeignStatement, ParserError> {
    let remote = name(parser)?;
    let which = match () {
        () if words(parser, &["limit", "to"]) => WhichTables::Only(in_parentheses(parser, name)?),
        () if word(parser, "except") => WhichTables::Except(in_parentheses(parser, name)?),
        () => WhichTables::All,
    };
    need(parser, &["from", "server"])?;
    let server = name(parser)?;
    need(parser, &["into"])?;
    let into = name(parser)?;
    let options = options(parser)?;
    if let Some(option) = options.0.keys().next() {
        return expected(parser, &format!("no option \"{option}\""));
    }
    Ok(ForeignStatement::ImportSchema {
        remote,
        which,
        server,
        into,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(sql: &str) -> ForeignStatement {
        let kind = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        match kind.into_iter().next().unwrap().kind {
            StatementKind::Foreign(statement) => *statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn servers_and_mappings_are_read_and_their_values_are_not_shown() {
        let server = read(
            "CREATE SERVER IF NOT EXISTS \"客户\" FOREIGN DATA WRAPPER postgres OPTIONS (host 'db', dbname 'crm')",
        );
        let ForeignStatement::CreateServer { name, options, .. } = &server else {
            panic!("{server:?}");
        };
        assert_eq!(name, "客户");
        assert_eq!(options.0["dbname"], "crm");
        let mapping = read(
            "CREATE USER MAPPING FOR CURRENT_USER SERVER crm OPTIONS (user 'ana', password 'geheim')",
        );
        assert!(!format!("{mapping:?}").contains("geheim"));
        let changed = read(
            "ALTER USER MAPPING FOR PUBLIC SERVER crm OPTIONS (SET password 'geheim', DROP user, ADD x '1')",
        );
        assert!(!format!("{changed:?}").contains("geheim"));
        let ForeignStatement::AlterMapping { changes, role, .. } = changed else {
            panic!();
        };
        assert_eq!(role, Grantee::Public);
        assert_eq!(changes[1], OptionChange::Drop("user".to_owned()));
        assert!(matches!(
            read("DROP SERVER IF EXISTS a, b CASCADE"),
            ForeignStatement::DropServer { names, cascade: true, .. } if names.len() == 2
        ));
    }

    #[test]
    fn foreign_tables_are_read() {
        let ForeignStatement::CreateTable {
            relation, columns, ..
        } = read(
            "create foreign table crm.deals (id bigint options (column_name 'ID') not null, \"额\" numeric(10,2)) server s options (table_name 't')",
        )
        else {
            panic!();
        };
        assert_eq!(relation, ["crm", "deals"]);
        assert!(columns[0].not_null);
        assert_eq!(columns[0].options.0["column_name"], "ID");
        assert_eq!(columns[1].name, "额");
        assert!(matches!(
            read("CREATE FOREIGN TABLE t SERVER s"),
            ForeignStatement::CreateTable { columns, .. } if columns.is_empty()
        ));
        assert!(matches!(
            read("IMPORT FOREIGN SCHEMA public LIMIT TO (a, \"B\") FROM SERVER s INTO crm"),
            ForeignStatement::ImportSchema { which: WhichTables::Only(names), .. } if names == ["a", "B"]
        ));
    }

    #[test]
    fn faults_do_not_repeat_what_is_quoted() {
        for sql in [
            "CREATE USER MAPPING FOR ana SERVER s OPTIONS (password 'geheim' 'geheim')",
            "CREATE USER MAPPING FOR ana SERVER s OPTIONS (password = 'geheim')",
            "CREATE USER MAPPING FOR ana SERVER s OPTIONS ('geheim')",
            "CREATE USER MAPPING FOR ana SERVER s OPTIONS (password 'geheim', password 'geheim')",
            "ALTER SERVER s OPTIONS (SET host = 'geheim')",
        ] {
            let error = parse(sql).unwrap_err();
            assert_eq!(error.code(), "42601", "{sql}");
            assert!(!error.to_string().contains("geheim"), "{sql}: {error}");
        }
    }
}
