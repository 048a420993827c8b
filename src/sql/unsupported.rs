//! Statements of Postgres' about things that there aren't here: 0A000 and what to do instead, whatever follows.

use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::StatementKind;
use crate::error::{Error, Result};

/// Kinds of objects, and what to do instead. Longer ones before those that they begin with.
const KINDS: [(&[&str], &str); 21] = [
    (
        &["foreign", "data", "wrapper"],
        "Read files where they are, or load their rows.",
    ),
    (
        &["event", "trigger"],
        "Nothing runs by itself when something changes.",
    ),
    (&["access", "method"], "Tables are kept in one way."),
    (&["operator"], "Write the expression in a view."),
    (
        &["text", "search"],
        "Search with LIKE or regular expressions.",
    ),
    (
        &["function"],
        "Write the expression in a view, or send the statements themselves.",
    ),
    (&["procedure"], "Send the statements themselves."),
    (&["routine"], "Send the statements themselves."),
    (&["aggregate"], "Write the expression in a view."),
    (&["trigger"], "Nothing runs by itself when rows change."),
    (
        &["constraint", "trigger"],
        "Nothing runs by itself when rows change.",
    ),
    (&["rule"], "Create a view."),
    (&["extension"], "What there is, is built in."),
    (&["type"], "Use text, or another built-in type."),
    (&["domain"], "Use the type that it is made of."),
    (&["cast"], "Call a function."),
    (&["collation"], "Texts are compared by their code points."),
    (&["conversion"], "Set client_encoding."),
    (&["language"], "Write SQL."),
    (&["tablespace"], "Tables are kept in the data directory."),
    (&["statistics"], "The engine has its own."),
];

/// Takes nothing, and says so where a statement is about one of these.
///
/// # Errors
/// 0A000 for it.
pub fn check(parser: &mut Parser) -> Result<Option<StatementKind>> {
    let words: Vec<String> = (0..6)
        .map_while(|at| match parser.peek_nth_token(at).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
            _ => None,
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let unsupported = |what: &str, hint: &str| {
        Err(Error::Unsupported {
            message: format!("{what} is not supported"),
            hint: Some(hint.to_owned()),
        })
    };
    let (verb, rest) = match words.as_slice() {
        ["create", "or", "replace", rest @ ..] => ("CREATE", rest),
        ["create", "trusted" | "procedural", rest @ ..] => ("CREATE", rest),
        ["create", rest @ ..] => ("CREATE", rest),
        ["alter", rest @ ..] => ("ALTER", rest),
        ["drop", rest @ ..] => ("DROP", rest),
        ["do", ..] => {
            return unsupported("DO", "Send the statements themselves.");
        }
        ["show", "create", kind @ ("table" | "view"), ..] => {
            let hint = match *kind {
                "table" => "Ask information_schema.columns, or \\d in psql.",
                _ => "Ask pg_get_viewdef('name'::regclass), or \\sv in psql.",
            };
            return unsupported(&format!("SHOW CREATE {}", kind.to_uppercase()), hint);
        }
        ["security", "label", ..] => {
            return unsupported("SECURITY LABEL", "Grant, or create a policy or mask.");
        }
        _ => return Ok(None),
    };
    // The one extension that every database of Postgres has.
    if rest.first() == Some(&"extension")
        && rest.contains(&"plpgsql")
        && (verb == "CREATE" && rest.contains(&"exists"))
    {
        while !matches!(parser.peek_token().token, Token::SemiColon | Token::EOF) {
            parser.next_token();
        }
        return Ok(Some(StatementKind::Nothing("CREATE EXTENSION")));
    }
    let found = KINDS.iter().find(|(kind, _)| rest.starts_with(kind));
    match found {
        Some((kind, hint)) => {
            let kind = kind.join(" ").to_uppercase();
            unsupported(&format!("{verb} {kind}"), hint)
        }
        None => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::sql::parse;

    #[test]
    fn what_there_is_none_of_is_not_supported_and_says_what_to_do() {
        for sql in [
            "CREATE TYPE mood AS ENUM ('sad', 'ok')",
            "CREATE OR REPLACE FUNCTION f(a int) RETURNS int AS $$ SELECT 1; $$ LANGUAGE sql",
            "CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC END",
            "CREATE TRIGGER t BEFORE INSERT ON 漏斗 EXECUTE FUNCTION f()",
            "CREATE EXTENSION IF NOT EXISTS hstore",
            "CREATE DOMAIN d AS text CHECK (value <> '')",
            "DROP FUNCTION IF EXISTS f(int)",
            "DO $$ BEGIN END $$",
        ] {
            let fault = parse(sql).unwrap_err();
            assert_eq!(fault.code(), "0A000", "{sql}");
            assert!(fault.hint().is_some(), "{sql}");
        }
        for sql in [
            "CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog",
            "CREATE TABLE type (a int)",
            "DROP TABLE function",
        ] {
            assert!(parse(sql).is_ok(), "{sql}");
        }
    }
}
