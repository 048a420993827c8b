//! A definition as the SQL that would make it again.

use std::fmt;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use super::model::{Counting, FunnelDefinition, Source, StageDefinition};

impl fmt::Display for FunnelDefinition {
    /// Writes `CREATE FUNNEL …`, a clause a line, so that running it gives an equal definition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clauses = vec![format!("ENTITY {}", self.entity)];
        clauses.extend(self.time.iter().map(|time| format!("TIME {time}")));
        clauses.extend(self.stages.iter().map(stage_clause));
        if let Some(lost) = &self.lost {
            let mut clause = "LOST".to_owned();
            push(&mut clause, "AT", lost.at.as_deref());
            push(&mut clause, "WHEN", lost.when.as_deref());
            push(&mut clause, "REASON", lost.reason.as_deref());
            clauses.push(clause);
        }
        clauses.extend(self.value.iter().map(|value| format!("VALUE {value}")));
        clauses.extend(self.owner.iter().map(|owner| format!("OWNER {owner}")));
        if !self.dimensions.is_empty() {
            let dimensions: Vec<String> = self
                .dimensions
                .iter()
                .map(|dimension| match dimension.expression == dimension.name {
                    true => identifier(&dimension.name),
                    false => format!(
                        "{} AS {}",
                        dimension.expression,
                        identifier(&dimension.name)
                    ),
                })
                .collect();
            clauses.push(format!("DIMENSIONS ({})", dimensions.join(", ")));
        }
        clauses.extend(
            self.window
                .iter()
                .map(|window| format!("WINDOW INTERVAL {}", literal(window.text()))),
        );
        if self.counting != Counting::default() {
            clauses.push(format!("ORDER {}", self.counting));
        }
        clauses.extend(self.related.iter().map(ToString::to_string));
        writeln!(
            f,
            "CREATE FUNNEL {} ON {} (",
            identifier(&self.name),
            self.source
        )?;
        writeln!(f, "  {}", clauses.join(",\n  "))?;
        f.write_str(");")?;
        match &self.comment {
            Some(comment) => {
                write!(
                    f,
                    "\nCOMMENT ON FUNNEL {} IS {};",
                    identifier(&self.name),
                    literal(comment)
                )
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for Source {
    /// As it stands behind `ON`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Table(table) => f.write_str(table),
            Source::Query(query) => write!(f, "({query})"),
        }
    }
}

fn stage_clause(stage: &StageDefinition) -> String {
    let mut clause = format!("STAGE {}", identifier(&stage.name));
    push(&mut clause, "AT", stage.at.as_deref());
    push(&mut clause, "WHEN", stage.when.as_deref());
    if let Some(within) = &stage.within {
        clause.push_str(&format!(" WITHIN INTERVAL {}", literal(within.text())));
    }
    clause
}

fn push(clause: &mut String, word: &str, text: Option<&str>) {
    if let Some(text) = text {
        clause.push_str(&format!(" {word} {text}"));
    }
}

/// A name as SQL needs it: bare where that is the same name, in quotes elsewhere.
pub fn identifier(name: &str) -> String {
    let mut characters = name.chars();
    let bare = characters
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !RESERVED.contains(&name);
    match bare {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// The name that an identifier stands for: as it is in quotes, in lower case without.
pub fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The name that an object's name stands for: its parts with dots between them.
pub fn folded_name(name: &ObjectName) -> String {
    let parts = name.0.iter().filter_map(|part| part.as_ident());
    parts.map(folded).collect::<Vec<_>>().join(".")
}

/// Words that the clauses of a funnel, or SQL around a name, would take for their own.
const RESERVED: [&str; 28] = [
    "all", "and", "as", "at", "case", "else", "end", "exists", "false", "from", "if", "in",
    "interval", "is", "lost", "not", "null", "on", "or", "order", "reason", "select", "stage",
    "then", "true", "when", "where", "within",
];

/// A text as a SQL literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The SQL of a part of a statement, so that it reads back as the same.
///
/// sqlparser's own `Display` takes two quotes next to each other inside of a literal for one that is escaped
/// already.
pub fn written<T: VisitMut + Clone + fmt::Display>(part: &T) -> String {
    let mut part = part.clone();
    let _ = part.visit(&mut ExactLiterals);
    part.to_string()
}

/// [`written`] over several lines.
pub fn written_in_lines<T: VisitMut + Clone + fmt::Display>(part: &T) -> String {
    let mut part = part.clone();
    let _ = part.visit(&mut ExactLiterals);
    format!("{part:#}")
}

struct ExactLiterals;

impl VisitorMut for ExactLiterals {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(text) = &value.value {
            let written = match text.contains('\n') {
                // In its line: lines are indented, and a text must not be.
                true => {
                    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n");
                    format!("E{}", literal(&escaped))
                }
                false => literal(text),
            };
            // The one value whose text is written as it is.
            value.value = Value::Placeholder(written);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        assert_eq!(identifier("won_2"), "won_2");
        assert_eq!(identifier("Won"), "\"Won\"");
        assert_eq!(identifier("线索"), "\"线索\"");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(identifier("when"), "\"when\"");
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn texts_of_several_lines_stay_as_they_are() {
        let sql = "SELECT a FROM (SELECT 'x\n  it''s \\n' AS a) AS b";
        let read = |sql: &str| Parser::parse_sql(&PostgreSqlDialect {}, sql);
        let lines = read(sql).map(|all| written_in_lines(&all[0]));
        let lines = lines.unwrap_or_default();
        assert!(lines.contains(r"E'x\n  it''s \\n' AS a"), "{lines}");
        let again = read(&lines).map(|all| all[0].to_string());
        // The same text: a newline, and a backslash before an n.
        let again = again.unwrap_or_default();
        assert!(again.contains(r"E'x\n  it\'s \\n'"), "{again}");
    }

    #[test]
    fn literals_are_written_as_they_were_read() {
        for sql in ["a = ''''''", "a = 'it''s ''''so'''", "f('x''y', '') <> ''"] {
            let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
            let read = parser.and_then(|mut parser| parser.parse_expr());
            assert_eq!(read.map(|read| written(&read)), Ok(sql.to_owned()));
        }
    }
}
