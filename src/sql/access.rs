//! `GRANT … ON`, `REVOKE … ON`, row policies and masks.

use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::postgres::{name, names};
use super::role::NamedRole;
use super::{StatementKind, is_word, word};
use crate::error::{Error, Result, syntax_error};

/// A statement about who may see what.
#[derive(Debug, Clone)]
pub enum AccessStatement {
    /// `GRANT privileges ON objects TO roles`, and `REVOKE … FROM`.
    Grant {
        /// It gives, and doesn't take.
        gives: bool,
        /// What: names of privileges with the columns that they are on; all where there is none.
        privileges: Vec<(String, Vec<String>)>,
        /// On what.
        on: GrantedOn,
        /// Whose.
        roles: Vec<Grantee>,
    },
    /// `ALTER TABLE relation ENABLE | DISABLE ROW LEVEL SECURITY`.
    RowSecurity {
        /// The table.
        relation: Vec<String>,
        /// Policies decide from now on.
        enabled: bool,
    },
    /// `CREATE POLICY name ON relation …`.
    CreatePolicy {
        /// Its name.
        name: String,
        /// The table.
        relation: Vec<String>,
        /// `AS RESTRICTIVE`
        restrictive: bool,
        /// `FOR SELECT`
        select_only: bool,
        /// For whom.
        roles: Vec<Grantee>,
        /// The condition, as SQL.
        using: String,
    },
    /// `CREATE MASK name ON relation (column) …`.
    CreateMask {
        /// Its name.
        name: String,
        /// The table.
        relation: Vec<String>,
        /// The column.
        column: String,
        /// For whom.
        roles: Vec<Grantee>,
        /// What is seen instead, as SQL.
        using: String,
    },
    /// `ALTER POLICY | MASK name ON relation RENAME TO name | [TO roles] [USING (expression)]`; what isn't said stays.
    AlterRule {
        /// A mask, and not a policy.
        mask: bool,
        /// Its name.
        name: String,
        /// The table.
        relation: Vec<String>,
        /// Its new name.
        rename: Option<String>,
        /// For whom from now on.
        roles: Option<Vec<Grantee>>,
        /// The condition, or what is seen, from now on.
        using: Option<String>,
    },
    /// `DROP POLICY | MASK [IF EXISTS] name ON relation`.
    Drop {
        /// A mask, and not a policy.
        mask: bool,
        /// Its name.
        name: String,
        /// The table.
        relation: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `DROP OWNED BY role, …`: everything that the roles were granted goes.
    DropOwned(Vec<Grantee>),
}

/// What a privilege is granted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantedOn {
    /// Tables and views.
    Tables(Vec<Vec<String>>),
    /// All that are in these schemas now.
    TablesIn(Vec<String>),
    /// Sequences.
    Sequences(Vec<Vec<String>>),
    /// All that are in these schemas now.
    SequencesIn(Vec<String>),
    /// Schemas.
    Schemas(Vec<String>),
    /// Foreign servers.
    Servers(Vec<String>),
    /// Functions, whatever their arguments.
    Functions(Vec<String>),
    /// Funnels.
    Funnels(Vec<String>),
    /// All funnels that there are now.
    AllFunnels,
}

/// Who gets or loses something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// Everybody.
    Public,
    /// A role.
    Role(NamedRole),
}

/// Reads a statement of this family; nothing when the text is another statement.
///
/// # Errors
/// 42601, and 0A000 for what Postgres has of it and this doesn't.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let token = |at: usize| parser.peek_nth_token_ref(at).token.clone();
    let (first, second, third) = (token(0), token(1), token(2));
    let starts = |a: &str, b: &str| is_word(&first, a) && is_word(&second, b);
    let statement =
        if (is_word(&first, "grant") || is_word(&first, "revoke")) && is_on_objects(parser) {
            let gives = word(parser, "grant") || !word(parser, "revoke");
            grant(parser, gives)
        } else if starts("create", "policy") {
            skip(parser, 2);
            create_policy(parser).map_err(Fault::from)
        } else if starts("create", "mask") {
            skip(parser, 2);
            create_mask(parser).map_err(Fault::from)
        } else if starts("drop", "policy") || starts("drop", "mask") {
            skip(parser, 2);
            drop_rule(parser, is_word(&second, "mask")).map_err(Fault::from)
        } else if starts("drop", "owned") && is_word(&third, "by") {
            skip(parser, 3);
            grantees(parser)
                .map(AccessStatement::DropOwned)
                .map_err(Fault::from)
        } else if starts("alter", "table") && is_about_row_security(parser) {
            skip(parser, 2);
            row_security(parser)
        } else if starts("alter", "policy") || starts("alter", "mask") {
            skip(parser, 2);
            alter_rule(parser, is_word(&second, "mask")).map_err(Fault::from)
        } else if starts("alter", "default") {
            let hint = "GRANT ... ON ALL TABLES IN SCHEMA after new tables were made.";
            Err(unsupported("ALTER DEFAULT PRIVILEGES", hint))
        } else {
            return Ok(None);
        };
    match statement {
        Ok(statement) => Ok(Some(StatementKind::Access(Box::new(statement)))),
        Err(Fault::Syntax(error)) => Err(syntax_error(&error, sql)),
        Err(Fault::Other(error)) => Err(error),
    }
}

/// What is wrong with a statement.
enum Fault {
    Syntax(ParserError),
    Other(Error),
}

impl From<ParserError> for Fault {
    fn from(error: ParserError) -> Self {
        Self::Syntax(error)
    }
}

fn unsupported(what: &str, hint: &str) -> Fault {
    Fault::Other(Error::Unsupported {
        message: format!("{what} is not supported"),
        hint: Some(hint.to_owned()),
    })
}

fn skip(parser: &mut Parser, count: usize) {
    for _ in 0..count {
        parser.next_token();
    }
}

/// The words of the statement that the parser stands at.
fn rest<'a>(parser: &'a Parser) -> impl Iterator<Item = &'a Token> {
    (0..)
        .map(|at| &parser.peek_nth_token_ref(at).token)
        .take_while(|token| !matches!(token, Token::SemiColon | Token::EOF))
}

/// Whether a GRANT is one of privileges, and not of a role.
fn is_on_objects(parser: &Parser) -> bool {
    rest(parser)
        .take_while(|token| !is_word(token, "to") && !is_word(token, "from"))
        .any(|token| is_word(token, "on"))
}

fn is_about_row_security(parser: &Parser) -> bool {
    let words: Vec<&Token> = rest(parser).collect();
    let tail = ["row", "level", "security"];
    words.len() > 3
        && words[words.len() - 3..]
            .iter()
            .zip(tail)
            .all(|(token, expected)| is_word(token, expected))
}

fn grant(parser: &mut Parser, gives: bool) -> Result<AccessStatement, Fault> {
    let option = "A superuser decides about privileges.";
    if word(parser, "grant") {
        return Err(unsupported("GRANT OPTION", option));
    }
    let privileges = privileges(parser)?;
    if !word(parser, "on") {
        return Err(expected(parser, "ON").into());
    }
    let on = granted_on(parser)?;
    let preposition = if gives { "to" } else { "from" };
    if !word(parser, preposition) {
        return Err(expected(parser, &preposition.to_uppercase()).into());
    }
    let roles = grantees(parser)?;
    if word(parser, "with") || word(parser, "granted") {
        return Err(unsupported("GRANT OPTION", option));
    }
    let _ = word(parser, "cascade") || word(parser, "restrict");
    Ok(AccessStatement::Grant {
        gives,
        privileges,
        on,
        roles,
    })
}

/// A syntax error at the next word.
fn expected(parser: &Parser, what: &str) -> ParserError {
    match parser.expected::<()>(what, parser.peek_token()) {
        Err(error) => error,
        Ok(()) => ParserError::ParserError(format!("Expected: {what}")),
    }
}

fn privileges(parser: &mut Parser) -> Result<Vec<(String, Vec<String>)>, ParserError> {
    let mut listed = Vec::new();
    if word(parser, "all") {
        let _ = word(parser, "privileges");
        if let Some(columns) = columns(parser)? {
            listed.push(("ALL".to_owned(), columns));
        }
        return Ok(listed);
    }
    loop {
        let privilege = name(parser)?.to_uppercase();
        listed.push((privilege, columns(parser)?.unwrap_or_default()));
        if !parser.consume_token(&Token::Comma) {
            return Ok(listed);
        }
    }
}

fn columns(parser: &mut Parser) -> Result<Option<Vec<String>>, ParserError> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(None);
    }
    let columns = list(parser, name)?;
    parser.expect_token(&Token::RParen)?;
    Ok(Some(columns))
}

fn list<T>(
    parser: &mut Parser,
    mut element: impl FnMut(&mut Parser) -> Result<T, ParserError>,
) -> Result<Vec<T>, ParserError> {
    let mut list = vec![element(parser)?];
    while parser.consume_token(&Token::Comma) {
        list.push(element(parser)?);
    }
    Ok(list)
}

/// What a list of names is of, where it says so. A table may be called as a kind of objects is.
fn kind(parser: &mut Parser, kind: &str) -> bool {
    let next = &parser.peek_nth_token_ref(1).token;
    !matches!(next, Token::Comma | Token::Period)
        && !is_word(next, "to")
        && !is_word(next, "from")
        && word(parser, kind)
}

fn granted_on(parser: &mut Parser) -> Result<GrantedOn, Fault> {
    if kind(parser, "all") {
        let funnels = word(parser, "funnels");
        if funnels {
            return Ok(GrantedOn::AllFunnels);
        }
        let sequences = word(parser, "sequences");
        if !sequences && !word(parser, "tables") {
            return Err(unsupported(
                "GRANT ON ALL of these objects",
                "There is ALL TABLES IN SCHEMA, ALL SEQUENCES IN SCHEMA and ALL FUNNELS.",
            ));
        }
        if !(word(parser, "in") && word(parser, "schema")) {
            return Err(expected(parser, "IN SCHEMA").into());
        }
        let schemas = list(parser, name)?;
        return Ok(match sequences {
            true => GrantedOn::SequencesIn(schemas),
            false => GrantedOn::TablesIn(schemas),
        });
    }
    if kind(parser, "sequence") {
        return Ok(GrantedOn::Sequences(list(parser, names)?));
    }
    if kind(parser, "schema") {
        return Ok(GrantedOn::Schemas(list(parser, name)?));
    }
    if kind(parser, "foreign") {
        if !word(parser, "server") {
            return Err(unsupported(
                "GRANT ON this kind of foreign object",
                "There is GRANT USAGE ON FOREIGN SERVER.",
            ));
        }
        return Ok(GrantedOn::Servers(list(parser, name)?));
    }
    if kind(parser, "funnel") {
        return Ok(GrantedOn::Funnels(list(parser, name)?));
    }
    if kind(parser, "function") || kind(parser, "routine") {
        return Ok(GrantedOn::Functions(list(parser, function)?));
    }
    for other in [
        "database",
        "language",
        "type",
        "domain",
        "tablespace",
        "large",
    ] {
        if kind(parser, other) {
            return Err(unsupported(
                &format!("GRANT ON {}", other.to_uppercase()),
                "There are privileges on tables, columns, sequences, schemas, functions, funnels and foreign servers.",
            ));
        }
    }
    let _ = kind(parser, "table");
    Ok(GrantedOn::Tables(list(parser, names)?))
}

/// The name of a function; its arguments don't tell one from another here.
fn function(parser: &mut Parser) -> Result<String, ParserError> {
    let name = names(parser)?.pop().unwrap_or_default();
    if parser.consume_token(&Token::LParen) {
        while !parser.consume_token(&Token::RParen) {
            if parser.next_token().token == Token::EOF {
                return parser.expected("a closing parenthesis", parser.peek_token());
            }
        }
    }
    Ok(name)
}

fn grantees(parser: &mut Parser) -> Result<Vec<Grantee>, ParserError> {
    list(parser, grantee)
}

/// A role, or everybody.
pub(super) fn grantee(parser: &mut Parser) -> Result<Grantee, ParserError> {
    let _ = kind(parser, "group");
    if word(parser, "public") {
        return Ok(Grantee::Public);
    }
    if word(parser, "session_user") {
        return Ok(Grantee::Role(NamedRole::Session));
    }
    if word(parser, "current_user") || word(parser, "current_role") {
        return Ok(Grantee::Role(NamedRole::Current));
    }
    Ok(Grantee::Role(NamedRole::Name(name(parser)?)))
}

fn row_security(parser: &mut Parser) -> Result<AccessStatement, Fault> {
    let _ = word(parser, "only");
    let relation = names(parser)?;
    let enabled = word(parser, "enable");
    if !enabled && !word(parser, "disable") {
        return Err(unsupported(
            "FORCE ROW LEVEL SECURITY",
            "Tables belong to the superusers, whom policies don't concern: SET ROLE to see what others see.",
        ));
    }
    skip(parser, 3);
    Ok(AccessStatement::RowSecurity { relation, enabled })
}

fn on_relation(parser: &mut Parser) -> Result<Vec<String>, ParserError> {
    match word(parser, "on") {
        true => names(parser),
        false => parser.expected("ON", parser.peek_token()),
    }
}

fn create_policy(parser: &mut Parser) -> Result<AccessStatement, ParserError> {
    let policy = name(parser)?;
    let relation = on_relation(parser)?;
    let mut restrictive = false;
    if word(parser, "as") {
        restrictive = word(parser, "restrictive");
        if !restrictive && !word(parser, "permissive") {
            return parser.expected("PERMISSIVE or RESTRICTIVE", parser.peek_token());
        }
    }
    let mut select_only = false;
    if word(parser, "for") {
        select_only = word(parser, "select");
        if !select_only && !word(parser, "all") {
            // Rows are written by superusers, whom policies don't concern.
            return parser.expected("SELECT or ALL", parser.peek_token());
        }
    }
    let (roles, using) = for_whom(parser)?;
    Ok(AccessStatement::CreatePolicy {
        name: policy,
        relation,
        restrictive,
        select_only,
        roles,
        using,
    })
}

fn create_mask(parser: &mut Parser) -> Result<AccessStatement, ParserError> {
    let mask = name(parser)?;
    let relation = on_relation(parser)?;
    parser.expect_token(&Token::LParen)?;
    let column = name(parser)?;
    parser.expect_token(&Token::RParen)?;
    let (roles, using) = for_whom(parser)?;
    Ok(AccessStatement::CreateMask {
        name: mask,
        relation,
        column,
        roles,
        using,
    })
}

/// `[TO roles] USING (expression)`
fn for_whom(parser: &mut Parser) -> Result<(Vec<Grantee>, String), ParserError> {
    let roles = to_roles(parser)?;
    match using(parser)? {
        Some(using) => Ok((roles.unwrap_or_else(|| vec![Grantee::Public]), using)),
        None => parser.expected("USING", parser.peek_token()),
    }
}

/// `[TO roles]`
fn to_roles(parser: &mut Parser) -> Result<Option<Vec<Grantee>>, ParserError> {
    match word(parser, "to") {
        true => grantees(parser).map(Some),
        false => Ok(None),
    }
}

/// `[USING (expression)]`
fn using(parser: &mut Parser) -> Result<Option<String>, ParserError> {
    if !word(parser, "using") {
        return Ok(None);
    }
    parser.expect_token(&Token::LParen)?;
    let using = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    if is_word(&parser.peek_nth_token_ref(0).token, "with") {
        return parser.expected(
            "end of statement: rows are written by superusers",
            parser.peek_token(),
        );
    }
    Ok(Some(using.to_string()))
}

fn alter_rule(parser: &mut Parser, mask: bool) -> Result<AccessStatement, ParserError> {
    let rule = name(parser)?;
    let relation = on_relation(parser)?;
    let rename = match word(parser, "rename") {
        true if word(parser, "to") => Some(name(parser)?),
        true => return parser.expected("TO", parser.peek_token()),
        false => None,
    };
    let (roles, using) = match rename {
        Some(_) => (None, None),
        None => (to_roles(parser)?, using(parser)?),
    };
    if rename.is_none() && roles.is_none() && using.is_none() {
        return parser.expected("RENAME TO, TO or USING", parser.peek_token());
    }
    Ok(AccessStatement::AlterRule {
        mask,
        name: rule,
        relation,
        rename,
        roles,
        using,
    })
}

fn drop_rule(parser: &mut Parser, mask: bool) -> Result<AccessStatement, ParserError> {
    let if_exists = word(parser, "if") && word(parser, "exists");
    let rule = name(parser)?;
    let relation = on_relation(parser)?;
    let _ = word(parser, "cascade") || word(parser, "restrict");
    Ok(AccessStatement::Drop {
        mask,
        name: rule,
        relation,
        if_exists,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(sql: &str) -> AccessStatement {
        let kind = parse(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        match kind.into_iter().next().unwrap().kind {
            StatementKind::Access(statement) => *statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn grants_are_read() {
        let AccessStatement::Grant {
            gives,
            privileges,
            on,
            roles,
        } = read("GRANT SELECT (a, \"B\"), insert ON TABLE crm.deals, t TO sales, PUBLIC")
        else {
            panic!();
        };
        assert!(gives);
        assert_eq!(privileges[0].1, ["a", "B"]);
        assert_eq!(privileges[1], ("INSERT".to_owned(), Vec::new()));
        let table = |parts: &[&str]| {
            parts
                .iter()
                .map(|part| (*part).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            on,
            GrantedOn::Tables(vec![table(&["crm", "deals"]), table(&["t"])])
        );
        assert_eq!(roles[1], Grantee::Public);
        for (sql, expected) in [
            (
                "REVOKE ALL ON ALL TABLES IN SCHEMA crm FROM ana CASCADE",
                GrantedOn::TablesIn(table(&["crm"])),
            ),
            (
                "GRANT USAGE ON SCHEMA crm TO ana",
                GrantedOn::Schemas(table(&["crm"])),
            ),
            (
                "GRANT SELECT ON FUNNEL sales, \"漏斗\" TO ana",
                GrantedOn::Funnels(table(&["sales", "漏斗"])),
            ),
            (
                "REVOKE EXECUTE ON FUNCTION funnel_drill(text, text) FROM public",
                GrantedOn::Functions(table(&["funnel_drill"])),
            ),
            (
                "GRANT SELECT ON schema TO ana",
                GrantedOn::Tables(vec![table(&["schema"])]),
            ),
            ("GRANT SELECT ON ALL FUNNELS TO ana", GrantedOn::AllFunnels),
        ] {
            match read(sql) {
                AccessStatement::Grant { on, .. } => assert_eq!(on, expected, "{sql}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
        assert!(matches!(
            parse("GRANT sales TO ana").unwrap().remove(0).kind,
            StatementKind::Role(_)
        ));
    }

    #[test]
    fn policies_are_read_without_what_isnt_theirs() {
        let AccessStatement::CreatePolicy {
            using, select_only, ..
        } = read(
            "create policy own on crm.deals for select to sales using (owner = current_user /* ) */)",
        )
        else {
            panic!();
        };
        assert!(select_only);
        assert_eq!(using, "owner = current_user");
        for sql in [
            "CREATE POLICY p ON t USING (true) OR (false)",
            "CREATE POLICY p ON t USING (true) WITH CHECK (true)",
            "CREATE POLICY p ON t FOR UPDATE USING (true)",
            "CREATE POLICY p ON t",
            "ALTER POLICY p ON t",
            "ALTER POLICY p ON t RENAME q",
            "ALTER POLICY p ON t USING (true) WITH CHECK (true)",
        ] {
            assert_eq!(parse(sql).unwrap_err().code(), "42601", "{sql}");
        }
        for sql in [
            "ALTER TABLE t FORCE ROW LEVEL SECURITY",
            "GRANT SELECT ON t TO a WITH GRANT OPTION",
            "REVOKE GRANT OPTION FOR SELECT ON t FROM a",
            "GRANT CONNECT ON DATABASE d TO a",
        ] {
            assert_eq!(parse(sql).unwrap_err().code(), "0A000", "{sql}");
        }
        assert!(matches!(
            read("ALTER TABLE ONLY crm.deals ENABLE ROW LEVEL SECURITY"),
            AccessStatement::RowSecurity { enabled: true, .. }
        ));
    }
}
