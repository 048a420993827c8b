//! A statement that was kept, with another name for a relation that it reads.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, TableFactor, Visit, Visitor};
use datafusion_funnel::definition::text::{folded, identifier};

use super::{Piece, StatementKind, parse, splice};
use crate::engine::DEFAULT_SCHEMA;
use crate::error::Result;
use crate::postgres::rewrite::own_names;

/// The schema and name of a relation.
pub type Relation = (String, String);

/// The text of a statement that reads `from`, which is called `to` now. It stays as it was written; its columns are still
/// known by the old name.
///
/// # Errors
/// 42601 for what is no statement.
pub fn renamed(text: &str, from: &Relation, to: &Relation) -> Result<String> {
    let mut places = Vec::new();
    for statement in parse(text)? {
        if let StatementKind::Engine(statement) = statement.kind
            && let EngineStatement::Statement(statement) = *statement
        {
            let mut find = Find {
                from,
                to: format!("{}.{}", identifier(&to.0), identifier(&to.1)),
                own: own_names(&statement),
                places: Vec::new(),
            };
            let _ = statement.visit(&mut find);
            places.extend(find.places);
        }
    }
    Ok(splice(text, places))
}

struct Find<'a> {
    from: &'a Relation,
    to: String,
    /// Names that mean something else in the statement.
    own: HashSet<String>,
    places: Vec<Piece>,
}

impl Find<'_> {
    fn is_it(&self, name: &ObjectName) -> bool {
        let parts: Vec<String> = name
            .0
            .iter()
            .filter_map(|part| part.as_ident().map(folded))
            .collect();
        match parts.as_slice() {
            [name] => {
                self.from.0 == DEFAULT_SCHEMA && *name == self.from.1 && !self.own.contains(name)
            }
            [.., schema, name] => (schema, name) == (&self.from.0, &self.from.1),
            [] => false,
        }
    }
}

impl Visitor for Find<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = factor
            && self.is_it(name)
            && let (Some(ObjectNamePart::Identifier(first)), Some(ObjectNamePart::Identifier(last))) =
                (name.0.first(), name.0.last())
        {
            let text = match alias {
                Some(_) => self.to.clone(),
                None => format!("{} AS {}", self.to, identifier(&self.from.1)),
            };
            self.places.push(Piece {
                start: first.span.start,
                end: last.span.end,
                text,
            });
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let relation = |schema: &str, name: &str| (schema.to_owned(), name.to_owned());
        let leads = relation("crm", "leads");
        let found = renamed(text, &leads, &relation("crm", "线索")).unwrap();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_relation_is_named_anew_and_nothing_else() {
        check(
            "CREATE VIEW v AS\nSELECT leads.id, '漏斗 crm.leads' FROM crm.leads, crm.deals",
            "CREATE VIEW v AS\nSELECT leads.id, '漏斗 crm.leads' FROM crm.\"线索\" AS leads, crm.deals",
        );
        check(
            "CREATE VIEW v AS SELECT * FROM \"crm\" . leads AS l JOIN crm.leads USING (id)",
            "CREATE VIEW v AS SELECT * FROM crm.\"线索\" AS l JOIN crm.\"线索\" AS leads USING (id)",
        );
        // Another schema's, and one of the statement's own.
        check("SELECT * FROM leads", "SELECT * FROM leads");
        let own = "WITH leads AS (SELECT 1) SELECT * FROM leads";
        let relation = |name: &str| ("public".to_owned(), name.to_owned());
        assert_eq!(
            renamed(own, &relation("leads"), &relation("x")).unwrap(),
            own
        );
    }
}
