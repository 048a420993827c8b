//! `CREATE TABLE t (a, b) AS SELECT …`, whose columns have names and no types: while they are still tokens they get a type that
//! stands for none, for sqlparser reads no column without one.

use datafusion::sql::sqlparser::ast::{
    CreateTable, DataType, Ident, ObjectName, TableAlias, TableAliasColumnDef,
};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use datafusion_funnel::definition::text::folded;

use super::is_word;

/// The type of a column whose type its query says.
const NONE: &str = "\u{1f}of its query";

/// The names that a table's columns get in the place of its query's; none where their types are written too.
pub fn column_names(create: &CreateTable) -> Vec<String> {
    let is_none = |kind: &DataType| match kind {
        DataType::Custom(name, _) => is_placeholder(name),
        _ => false,
    };
    match create
        .columns
        .iter()
        .all(|column| is_none(&column.data_type))
    {
        true => create
            .columns
            .iter()
            .map(|column| folded(&column.name))
            .collect(),
        false => Vec::new(),
    }
}

fn is_placeholder(name: &ObjectName) -> bool {
    let name = name.0.last().and_then(|part| part.as_ident());
    name.is_some_and(|name| name.value == NONE)
}

/// What a query's rows are called, so that its columns have these names.
pub fn alias_with(names: &[String]) -> TableAlias {
    let column = |name: &String| TableAliasColumnDef {
        name: Ident::with_quote('"', name),
        data_type: None,
    };
    TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "\u{1f}given"),
        columns: names.iter().map(column).collect(),
        at: None,
    }
}

/// Gives such columns that type.
pub fn with_types(tokens: &mut Vec<TokenWithSpan>) {
    let mut at = 0;
    while at < tokens.len() {
        let begins = at == 0 || tokens[at].token == Token::SemiColon;
        if begins && let Some(columns) = columns_of(tokens, at) {
            // From the last one on, so that the places of the others stay.
            for column in columns.into_iter().rev() {
                let span = tokens[column].span;
                let written = [
                    Token::Whitespace(Whitespace::Space),
                    Token::make_word(NONE, Some('"')),
                ];
                let written = written.map(|token| TokenWithSpan { token, span });
                tokens.splice(column + 1..column + 1, written);
            }
        }
        at += 1;
    }
}

/// The places of the names in `CREATE TABLE t (a, b) … AS`, where a statement that begins at a token is one.
fn columns_of(tokens: &[TokenWithSpan], from: usize) -> Option<Vec<usize>> {
    let mut rest = (from..tokens.len())
        .filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_)))
        .filter(|at| *at > from || tokens[*at].token != Token::SemiColon)
        .peekable();
    let word =
        |at: usize, words: &[&str]| words.iter().any(|word| is_word(&tokens[at].token, word));
    word(rest.next()?, &["create"]).then_some(())?;
    let kinds = [
        "or",
        "replace",
        "global",
        "local",
        "temp",
        "temporary",
        "unlogged",
    ];
    while rest.next_if(|at| word(*at, &kinds)).is_some() {}
    word(rest.next()?, &["table"]).then_some(())?;
    if rest.next_if(|at| word(*at, &["if"])).is_some() {
        word(rest.next()?, &["not"]).then_some(())?;
        word(rest.next()?, &["exists"]).then_some(())?;
    }
    let is_name = |at: usize| matches!(tokens[at].token, Token::Word(_));
    is_name(rest.next()?).then_some(())?;
    while rest
        .next_if(|at| tokens[*at].token == Token::Period)
        .is_some()
    {
        is_name(rest.next()?).then_some(())?;
    }
    (tokens[rest.next()?].token == Token::LParen).then_some(())?;
    let mut columns = Vec::new();
    loop {
        let name = rest.next()?;
        is_name(name).then_some(())?;
        columns.push(name);
        match tokens[rest.next()?].token {
            Token::Comma => {}
            Token::RParen => break,
            _ => return None,
        }
    }
    // What may stand before AS: WITH (…), ON COMMIT …, TABLESPACE name, PARTITIONED BY (…).
    let mut depth = 0_usize;
    for at in rest {
        match &tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::SemiColon => return None,
            _ if depth == 0 && word(at, &["as"]) => return Some(columns),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parse;

    #[test]
    fn columns_of_a_query_are_given_names() {
        for sql in [
            "CREATE TABLE t (a, \"天\") AS SELECT 1, 2",
            "SELECT 1; CREATE TABLE IF NOT EXISTS crm.t(a) WITH (fillfactor = 70) AS VALUES (1)",
            "CREATE TEMP TABLE t (a, b) ON COMMIT PRESERVE ROWS AS SELECT 1, 2",
            "CREATE UNLOGGED TABLE t (a) AS SELECT 1",
        ] {
            let last = parse(sql).unwrap().pop().unwrap();
            let kind = format!("{:?}", last.kind);
            assert!(kind.contains("of its query"), "{sql}: {kind}");
            assert!(sql.ends_with(&last.text), "{sql}");
        }
        let typed = parse("CREATE TABLE t (a int, b text)").unwrap().remove(0);
        assert!(!format!("{:?}", typed.kind).contains("of its query"));
        assert!(parse("CREATE TABLE t (a, b)").is_err());
    }
}
