//! `CREATE ROLE` and its family, `GRANT role TO role`, `SET ROLE`.
//!
//! sqlparser reads parts of these. They are read here because a password must never get into an error: no
//! message of this file repeats a text that the statement quotes.

use std::fmt;

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion_funnel::definition::text::folded;

use super::{StatementKind, is_word, word};
use crate::error::{Error, Result, character_position};

/// A statement about roles.
#[derive(Debug, Clone)]
pub enum RoleStatement {
    /// `CREATE ROLE | USER | GROUP name [options]`.
    Create {
        /// The role.
        name: String,
        /// What it is given.
        options: RoleOptions,
    },
    /// `ALTER ROLE | USER name [options]`.
    Alter {
        /// The role.
        role: NamedRole,
        /// What changes.
        options: RoleOptions,
    },
    /// `DROP ROLE | USER | GROUP [IF EXISTS] name, …`.
    Drop {
        /// The roles.
        names: Vec<String>,
        /// A missing one is no error.
        if_exists: bool,
    },
    /// `GRANT role, … TO role, …`.
    Grant {
        /// The roles that get members.
        groups: Vec<String>,
        /// The members.
        members: Vec<NamedRole>,
    },
    /// `REVOKE role, … FROM role, …`.
    Revoke {
        /// The roles that lose members.
        groups: Vec<String>,
        /// The members.
        members: Vec<NamedRole>,
    },
}

/// A role that a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedRole {
    /// By its name.
    Name(String),
    /// `CURRENT_USER`, `CURRENT_ROLE`.
    Current,
    /// `SESSION_USER`.
    Session,
}

/// What a role is given; what a statement doesn't say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleOptions {
    /// `SUPERUSER`, `NOSUPERUSER`
    pub superuser: Option<bool>,
    /// `LOGIN`, `NOLOGIN`
    pub login: Option<bool>,
    /// `PASSWORD 'text' | NULL`
    pub password: Option<Option<Password>>,
    /// `CONNECTION LIMIT n`; -1 for none
    pub connection_limit: Option<Option<u32>>,
    /// `VALID UNTIL 'time'`
    pub valid_until: Option<String>,
    /// `IN ROLE name, …`
    pub groups: Vec<String>,
    /// `ROLE name, …`, `USER name, …`
    pub members: Vec<String>,
}

impl RoleOptions {
    /// Whether nothing but the password is said.
    pub fn is_password_only(&self) -> bool {
        let rest = Self {
            password: None,
            ..self.clone()
        };
        rest == Self::default()
    }
}

/// A password, or a verifier of one. Its `Debug` doesn't show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Reads a statement of this family; nothing when the text is another statement.
///
/// # Errors
/// 42601, and 0A000 for what roles have in Postgres and not here.
pub fn parse(parser: &mut Parser, sql: &str) -> Result<Option<StatementKind>> {
    let mut reader = Reader { parser, sql };
    // sqlparser's own error would repeat the statement, and a password with it.
    if reader.is_inside_of_another() {
        let what = "statements about roles can't be prepared or explained";
        return Err(unsupported(what.to_owned(), None));
    }
    let Some((verb, user)) = reader.verb() else {
        return Ok(None);
    };
    let statement = match verb {
        Verb::Create => {
            let name = reader.name()?;
            let mut options = reader.options(true)?;
            // CREATE USER differs from CREATE ROLE in nothing else.
            options.login = options.login.or(user.then_some(true));
            RoleStatement::Create { name, options }
        }
        Verb::Alter => {
            let role = reader.named_role()?;
            if let Some(other) = reader.one_of(&["rename", "set", "reset", "in"]) {
                let what = format!("ALTER ROLE ... {} is not supported", other.to_uppercase());
                return Err(unsupported(what, None));
            }
            let options = reader.options(false)?;
            RoleStatement::Alter { role, options }
        }
        Verb::Drop => {
            let if_exists = reader.words(&["if", "exists"]);
            let names = reader.list(Reader::name)?;
            RoleStatement::Drop { names, if_exists }
        }
        Verb::Grant => {
            let (groups, members) = reader.membership("to")?;
            RoleStatement::Grant { groups, members }
        }
        Verb::Revoke => {
            let (groups, members) = reader.membership("from")?;
            let _ = reader.one_of(&["cascade", "restrict"]);
            RoleStatement::Revoke { groups, members }
        }
        Verb::Set => {
            let _ = reader.parser.consume_token(&Token::Eq) || reader.words(&["to"]);
            let value = match reader.parser.peek_token().token {
                Token::SingleQuotedString(name) => {
                    reader.parser.next_token();
                    name
                }
                _ => reader.name()?,
            };
            return Ok(Some(StatementKind::Set {
                name: "role".to_owned(),
                value: Some(value),
                local: false,
                tag: "SET",
            }));
        }
    };
    Ok(Some(StatementKind::Role(Box::new(statement))))
}

#[derive(Clone, Copy)]
enum Verb {
    Create,
    Alter,
    Drop,
    Grant,
    Revoke,
    Set,
}

const NOUNS: [&str; 3] = ["role", "user", "group"];

struct Reader<'a, 'p> {
    parser: &'a mut Parser<'p>,
    sql: &'a str,
}

impl Reader<'_, '_> {
    /// Takes the words that a statement of the family starts with, or nothing; and whether it is about a user.
    fn verb(&mut self) -> Option<(Verb, bool)> {
        let [first, second, third] = [0, 1, 2].map(|at| self.parser.peek_nth_token(at).token);
        let noun = NOUNS.iter().find(|noun| is_word(&second, noun));
        let verb = match () {
            () if is_word(&first, "grant") => Verb::Grant,
            () if is_word(&first, "revoke") => Verb::Revoke,
            () if is_word(&first, "set") && is_word(&second, "role") => Verb::Set,
            () if noun.is_none() || is_word(&third, "mapping") => return None,
            () if is_word(&first, "create") => Verb::Create,
            () if is_word(&first, "alter") => Verb::Alter,
            () if is_word(&first, "drop") => Verb::Drop,
            () => return None,
        };
        self.parser.next_token();
        if !matches!(verb, Verb::Grant | Verb::Revoke) {
            self.parser.next_token();
        }
        Some((verb, noun == Some(&"user")))
    }

    /// Whether the next statement is an `EXPLAIN` or a `PREPARE` of one that can have a password.
    fn is_inside_of_another(&self) -> bool {
        let token = |at| self.parser.peek_nth_token(at).token;
        let outer = ["explain", "prepare"]
            .iter()
            .any(|word| is_word(&token(0), word));
        // Their own words and options are few; each look starts at the first again.
        let pairs = (0..64).map(|at| (token(at), token(at + 1)));
        let mut rest =
            pairs.take_while(|(token, _)| !matches!(token, Token::SemiColon | Token::EOF));
        outer
            && rest.any(|(verb, noun)| {
                ["create", "alter"].iter().any(|word| is_word(&verb, word))
                    && NOUNS.iter().any(|word| is_word(&noun, word))
            })
    }

    fn options(&mut self, creating: bool) -> Result<RoleOptions> {
        let mut options = RoleOptions::default();
        let _ = self.words(&["with"]);
        while !matches!(
            self.parser.peek_token().token,
            Token::SemiColon | Token::EOF
        ) {
            let twice = self.option(&mut options, creating)?;
            if twice {
                self.parser.prev_token();
                return Err(self.fault("conflicting or redundant options"));
            }
        }
        Ok(options)
    }

    /// Takes an option; returns whether it had been said before.
    fn option(&mut self, options: &mut RoleOptions, creating: bool) -> Result<bool> {
        let flags = [("superuser", "nosuperuser"), ("login", "nologin")];
        for (place, (yes, no)) in [&mut options.superuser, &mut options.login]
            .into_iter()
            .zip(flags)
        {
            if let Some(found) = self.one_of(&[yes, no]) {
                return Ok(place.replace(found == yes).is_some());
            }
        }
        if self.words(&["encrypted"]) && !is_word(&self.parser.peek_token().token, "password") {
            return Err(self.fault("expected PASSWORD"));
        }
        if self.words(&["password"]) {
            let password = match self.words(&["null"]) {
                true => None,
                false => Some(Password(self.text("a password in quotes, or NULL")?)),
            };
            return Ok(options.password.replace(password).is_some());
        }
        if self.words(&["connection", "limit"]) {
            let limit = self.limit()?;
            return Ok(options.connection_limit.replace(limit).is_some());
        }
        if self.words(&["valid", "until"]) {
            let end = self.text("a time in quotes")?;
            return Ok(options.valid_until.replace(end).is_some());
        }
        if creating && (self.words(&["in", "role"]) || self.words(&["in", "group"])) {
            let groups = self.list(Self::name)?;
            return Ok(!std::mem::replace(&mut options.groups, groups).is_empty());
        }
        if creating && (self.words(&["role"]) || self.words(&["user"])) {
            let members = self.list(Self::name)?;
            return Ok(!std::mem::replace(&mut options.members, members).is_empty());
        }
        // What every role here is.
        let plain = [
            "inherit",
            "nocreatedb",
            "nocreaterole",
            "noreplication",
            "nobypassrls",
        ];
        if self.one_of(&plain).is_some() {
            return Ok(false);
        }
        let others = [
            "noinherit",
            "createdb",
            "createrole",
            "replication",
            "bypassrls",
            "admin",
            "sysid",
        ];
        if let Some(other) = self.one_of(&others) {
            let hint =
                "There is SUPERUSER, LOGIN, PASSWORD, CONNECTION LIMIT, VALID UNTIL and IN ROLE.";
            let what = format!("the role option {} is not supported", other.to_uppercase());
            return Err(unsupported(what, Some(hint)));
        }
        Err(self.fault("expected an option of a role, such as LOGIN or PASSWORD"))
    }

    fn limit(&mut self) -> Result<Option<u32>> {
        let negative = self.parser.consume_token(&Token::Minus);
        let number = match self.parser.peek_token().token {
            Token::Number(digits, _) => digits.parse::<u32>().ok(),
            _ => None,
        };
        let limit = match (negative, number) {
            (false, Some(number)) if i32::try_from(number).is_ok() => Some(number),
            (true, Some(1)) => None,
            _ => return Err(self.fault("expected a number of connections, or -1 for no limit")),
        };
        self.parser.next_token();
        Ok(limit)
    }

    fn membership(&mut self, preposition: &str) -> Result<(Vec<String>, Vec<NamedRole>)> {
        let about_objects = || {
            let hint = "GRANT role TO role makes a role a member of another.";
            unsupported(
                "privileges on objects are not supported".to_owned(),
                Some(hint),
            )
        };
        if self.words(&["admin", "option", "for"]) || self.words(&["grant", "option", "for"]) {
            return Err(admin_option());
        }
        if self
            .one_of(&[
                "all",
                "select",
                "insert",
                "update",
                "delete",
                "truncate",
                "references",
                "trigger",
                "create",
                "connect",
                "temporary",
                "temp",
                "execute",
                "usage",
            ])
            .is_some()
        {
            return Err(about_objects());
        }
        let groups = self.list(Self::name)?;
        if matches!(self.parser.peek_token().token, Token::LParen)
            || is_word(&self.parser.peek_token().token, "on")
        {
            return Err(about_objects());
        }
        if !word(self.parser, preposition) {
            return Err(self.fault(&format!("expected {}", preposition.to_uppercase())));
        }
        let members = self.list(Self::named_role)?;
        if self.words(&["with"]) || self.words(&["granted"]) {
            return Err(admin_option());
        }
        Ok((groups, members))
    }

    fn list<T>(&mut self, element: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut list = vec![element(self)?];
        while self.parser.consume_token(&Token::Comma) {
            list.push(element(self)?);
        }
        Ok(list)
    }

    fn named_role(&mut self) -> Result<NamedRole> {
        Ok(
            match self.one_of(&["current_user", "current_role", "session_user"]) {
                Some("session_user") => NamedRole::Session,
                Some(_) => NamedRole::Current,
                None => NamedRole::Name(self.name()?),
            },
        )
    }

    fn name(&mut self) -> Result<String> {
        if !matches!(self.parser.peek_token().token, Token::Word(_)) {
            return Err(self.fault("expected the name of a role"));
        }
        let name = self.parser.parse_identifier();
        name.map(|name| folded(&name))
            .map_err(|_| self.fault("expected the name of a role"))
    }

    fn text(&mut self, expected: &str) -> Result<String> {
        let text = match self.parser.peek_token().token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
            Token::DollarQuotedString(text) => text.value,
            _ => return Err(self.fault(&format!("expected {expected}"))),
        };
        self.parser.next_token();
        Ok(text)
    }

    /// Takes one of these words, or nothing.
    fn one_of<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words
            .iter()
            .find(|expected| word(self.parser, expected))
            .copied()
    }

    /// Takes these words, or nothing at all.
    fn words(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(at, word)| is_word(&self.parser.peek_nth_token(at).token, word));
        if found {
            words.iter().for_each(|_| {
                self.parser.next_token();
            });
        }
        found
    }

    /// A syntax error at the next word. It doesn't repeat that word: it may be a password without its quotes.
    fn fault(&mut self, expected: &str) -> Error {
        let start = self.parser.peek_token().span.start;
        Error::Syntax {
            message: format!("syntax error: {expected}"),
            position: character_position(self.sql, start.line, start.column),
        }
    }
}

fn admin_option() -> Error {
    let hint = "A superuser decides about memberships.";
    unsupported(
        "ADMIN OPTION and GRANTED BY are not supported".to_owned(),
        Some(hint),
    )
}

fn unsupported(message: String, hint: Option<&str>) -> Error {
    Error::Unsupported {
        message,
        hint: hint.map(str::to_owned),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::super::{StatementKind, parse};
    use super::*;

    fn read(sql: &str) -> RoleStatement {
        match parse(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .remove(0)
            .kind
        {
            StatementKind::Role(statement) => *statement,
            other => panic!("{sql}: {other:?}"),
        }
    }

    #[test]
    fn every_option_is_read_in_any_order() {
        let sql =
            "CREATE ROLE \"Ana\" WITH PASSWORD 'it''s' VALID UNTIL '2027-01-01' CONNECTION LIMIT 3
                   LOGIN NOCREATEDB SUPERUSER IN ROLE sales, \"市场\"";
        let RoleStatement::Create { name, options } = read(sql) else {
            panic!("{sql}");
        };
        let expected = RoleOptions {
            superuser: Some(true),
            login: Some(true),
            password: Some(Some(Password("it's".to_owned()))),
            connection_limit: Some(Some(3)),
            valid_until: Some("2027-01-01".to_owned()),
            groups: vec!["sales".to_owned(), "市场".to_owned()],
            members: Vec::new(),
        };
        assert_eq!((name.as_str(), options), ("Ana", expected));
    }

    #[test]
    fn a_user_is_a_role_that_may_connect() {
        for (sql, login) in [
            ("create user a", Some(true)),
            ("create user a nologin", Some(false)),
            ("create role a", None),
            ("create group a", None),
        ] {
            let RoleStatement::Create { options, .. } = read(sql) else {
                panic!("{sql}");
            };
            assert_eq!(options.login, login, "{sql}");
        }
    }

    #[test]
    fn what_clients_send_is_read() {
        let RoleStatement::Alter { role, options } =
            read("ALTER USER \"ana\" PASSWORD 'SCRAM-SHA-256$4096:x$y:z'")
        else {
            panic!();
        };
        assert_eq!(role, NamedRole::Name("ana".to_owned()));
        assert!(options.is_password_only() && options.password.is_some());
        let RoleStatement::Alter { role, options } =
            read("alter role current_user encrypted password null connection limit -1")
        else {
            panic!();
        };
        assert_eq!(
            (role, options.password.clone(), options.connection_limit),
            (NamedRole::Current, Some(None), Some(None))
        );
        assert!(!options.is_password_only());
        let RoleStatement::Grant { groups, members } = read("grant a, b to c, current_user") else {
            panic!();
        };
        assert_eq!(groups, ["a", "b"]);
        assert_eq!(
            members,
            [NamedRole::Name("c".to_owned()), NamedRole::Current]
        );
        let RoleStatement::Drop { names, if_exists } = read("DROP USER IF EXISTS a, b") else {
            panic!();
        };
        assert!(if_exists && names == ["a", "b"]);
    }

    #[test]
    fn setting_a_role_is_a_setting() {
        for (sql, expected) in [
            ("SET ROLE sales", "sales"),
            ("set role = 'Sales'", "Sales"),
            ("SET ROLE NONE", "none"),
        ] {
            let StatementKind::Set { name, value, .. } = parse(sql).unwrap().remove(0).kind else {
                panic!("{sql}");
            };
            assert_eq!(
                (name.as_str(), value.as_deref()),
                ("role", Some(expected)),
                "{sql}"
            );
        }
    }

    #[test]
    fn faults_have_a_code_and_a_place_and_no_secret() {
        for (sql, code, position) in [
            ("CREATE ROLE", "42601", None),
            ("CREATE ROLE a PASSWORD", "42601", None),
            ("CREATE ROLE a PASSWORT 'geheim'", "42601", Some(15)),
            (
                "CREATE ROLE a PASSWORD 'geheim' 'geheim'",
                "42601",
                Some(33),
            ),
            ("CREATE ROLE a PASSWORD geheim", "42601", Some(24)),
            ("CREATE ROLE a ENCRYPTED 'geheim'", "42601", Some(25)),
            ("CREATE ROLE a 'geheim'", "42601", Some(15)),
            ("CREATE ROLE 'geheim'", "42601", Some(13)),
            ("CREATE ROLE a LOGIN NOLOGIN", "42601", Some(21)),
            (
                "ALTER ROLE a PASSWORD 'geheim' PASSWORD 'geheim'",
                "42601",
                Some(41),
            ),
            ("ALTER ROLE a VALID UNTIL 5", "42601", Some(26)),
            ("CREATE ROLE a CONNECTION LIMIT -2", "42601", Some(33)),
            ("CREATE ROLE a CREATEDB PASSWORD 'geheim'", "0A000", None),
            ("ALTER ROLE a RENAME TO b", "0A000", None),
            (
                "PREPARE p AS CREATE ROLE a PASSWORD 'geheim'",
                "0A000",
                None,
            ),
            ("EXPLAIN CREATE USER a PASSWORD 'geheim'", "0A000", None),
            ("EXPLAIN ALTER ROLE a PASSWORD 'geheim'", "0A000", None),
            ("GRANT a TO b WITH ADMIN OPTION", "0A000", None),
            ("GRANT a", "42601", None),
        ] {
            let error = parse(sql).map(|_| ()).unwrap_err();
            assert_eq!(
                (error.code(), error.position()),
                (code, position),
                "{sql}: {error}"
            );
            assert!(!error.to_string().contains("geheim"), "{sql}: {error}");
        }
        let shown = format!("{:?}", read("CREATE ROLE a PASSWORD 'geheim'"));
        assert!(!shown.contains("geheim"), "{shown}");
    }
}
