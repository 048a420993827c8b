//! What a `MERGE` says in words that sqlparser doesn't read, in words that it reads: while they are still tokens.
//!
//! | Written | Read as |
//! |---|---|
//! | `WHEN MATCHED … THEN DO NOTHING` | `… THEN UPDATE SET` a column that no keyboard can name |
//! | `WHEN NOT MATCHED … THEN DO NOTHING` | `… THEN INSERT` of that column |
//! | `THEN INSERT DEFAULT VALUES` | `THEN INSERT VALUES (DEFAULT)` |

use datafusion::sql::sqlparser::ast::{AssignmentTarget, MergeAction, ObjectName};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::is_word;

/// The column of a clause that does nothing.
const NOTHING: &str = "\u{1f}nothing";

/// Whether a clause does nothing with its rows.
pub fn does_nothing(action: &MergeAction) -> bool {
    let is_it = |name: &ObjectName| {
        let name = name.0.last().and_then(|part| part.as_ident());
        name.is_some_and(|name| name.value == NOTHING)
    };
    match action {
        MergeAction::Update(update) => update
            .assignments
            .iter()
            .any(|set| matches!(&set.target, AssignmentTarget::ColumnName(name) if is_it(name))),
        MergeAction::Insert(insert) => insert.columns.iter().any(is_it),
        MergeAction::Delete { .. } => false,
    }
}

/// Writes them so.
pub fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        if is_word(&tokens[at].token, "then") {
            action(tokens, at);
        }
        at += 1;
    }
}

/// What follows a `THEN`.
fn action(tokens: &mut Vec<TokenWithSpan>, then: usize) {
    let next: Vec<usize> = (then + 1..tokens.len())
        .filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
        .take(3)
        .collect();
    let is = |number: usize, word: &str| {
        next.get(number)
            .is_some_and(|at| is_word(&tokens[*at].token, word))
    };
    let (first, last, written) = if is(0, "do") && is(1, "nothing") {
        let Some(matched) = is_of_matched(tokens, then) else {
            return;
        };
        (next[0], next[1], nothing(matched))
    } else if is(0, "insert") && is(1, "default") && is(2, "values") {
        let written = vec![
            Token::make_keyword("INSERT"),
            Token::make_keyword("VALUES"),
            Token::LParen,
            Token::make_keyword("DEFAULT"),
            Token::RParen,
        ];
        (next[0], next[2], written)
    } else {
        return;
    };
    let span = tokens[first].span;
    let written = written
        .into_iter()
        .map(|token| TokenWithSpan { token, span });
    tokens.splice(first..=last, written.collect::<Vec<_>>());
}

/// An action that nothing else is written as: sqlparser wants another one for rows that are matched than for those that aren't.
fn nothing(matched: bool) -> Vec<Token> {
    let column = Token::make_word(NOTHING, Some('"'));
    let zero = Token::Number("0".to_owned(), false);
    match matched {
        true => vec![
            Token::make_keyword("UPDATE"),
            Token::make_keyword("SET"),
            column,
            Token::Eq,
            zero,
        ],
        false => vec![
            Token::make_keyword("INSERT"),
            Token::LParen,
            column,
            Token::RParen,
            Token::make_keyword("VALUES"),
            Token::LParen,
            zero,
            Token::RParen,
        ],
    }
}

/// Whether the clause of a `THEN` is one of `MATCHED` rows; nothing where it is no clause of a `MERGE`.
fn is_of_matched(tokens: &[TokenWithSpan], then: usize) -> Option<bool> {
    let words: Vec<&Token> = tokens[..then]
        .iter()
        .rev()
        .map(|token| &token.token)
        .take_while(|token| **token != Token::SemiColon)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    // From the end: `WHEN MATCHED`, `WHEN NOT MATCHED`.
    words.windows(3).find_map(|words| match words {
        [matched, when, _] if is_word(matched, "matched") && is_word(when, "when") => Some(true),
        [matched, not, when]
            if is_word(matched, "matched") && is_word(not, "not") && is_word(when, "when") =>
        {
            Some(false)
        }
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;

    #[test]
    fn a_clause_that_does_nothing_is_read() {
        let merge = "MERGE INTO t USING s ON t.id = s.id";
        for (clause, read) in [
            (
                "WHEN MATCHED AND CASE WHEN s.a THEN b ELSE c END THEN DO NOTHING",
                "MergeUpdateExpr",
            ),
            ("WHEN NOT MATCHED THEN DO  NOTHING", "MergeInsertExpr"),
            (
                "WHEN MATCHED THEN DELETE WHEN NOT MATCHED AND s.a THEN\nDO NOTHING",
                "MergeInsertExpr",
            ),
        ] {
            let statements = parse(&format!("{merge} {clause}; SELECT 1")).unwrap();
            let kind = format!("{:?}", statements[0].kind);
            assert!(kind.contains(read), "{clause}: {kind}");
            assert!(statements[0].text.ends_with("NOTHING"), "{clause}");
        }
        assert!(
            parse(&format!(
                "{merge} WHEN NOT MATCHED THEN INSERT DEFAULT VALUES"
            ))
            .is_ok()
        );
        assert!(parse("SELECT CASE WHEN a THEN nothing END FROM t").is_ok());
        assert!(parse("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING").is_ok());
    }
}
