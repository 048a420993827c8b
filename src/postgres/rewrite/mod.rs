//! A statement as Postgres means it, in the words that DataFusion plans.
//!
//! These changes keep what a statement says: they write a cast as the function that casts as Postgres does, an array's
//! subscript as a function, a function that returns rows as an `unnest`. They hold for every statement, whoever sends it.
//! The arguments of funnel functions are left as they are: they are read as text by the functions themselves.

mod aggregates;
mod chains;
mod expressions;
mod first_rows;
mod intervals;
pub(super) mod joins;
mod literals;
mod ordered_rows;
mod relations;
mod rows_of_relations;
mod set_operations;
mod subqueries;
mod syntax;
pub mod system_columns;
mod windows;

pub use expressions::SYMMETRIC;
pub use rows_of_relations::{ROW_IS_THERE, ROW_OPERATOR};
pub use syntax::{call, find_own, number, over};

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, ObjectName, ObjectType, Query, Select, SetExpr, Statement, TableFactor,
    Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion_funnel::definition::text::folded;

use super::names;
use crate::error::Error;

/// What the names in a statement stand for.
pub trait Scope {
    /// The schema of a relation that is named without one, where it isn't the default one.
    fn schema_of(&self, relation: &str) -> Option<String>;

    /// Whether a function of that name is planned by somebody who reads its arguments as they are written.
    fn reads_its_arguments(&self, function: &str) -> bool;

    /// Whether there is a table function of that name.
    fn is_table_function(&self, function: &str) -> bool;

    /// The OID of a relation.
    fn relation_oid(&self, relation: &str) -> Option<i32>;

    /// Whether a relation is there and has no column of that name.
    fn lacks_column(&self, relation: &str, column: &str) -> bool;

    /// Whether a relation is there and has a column of that name.
    fn has_column(&self, relation: &str, column: &str) -> bool;
}

/// Rewrites a statement.
///
/// # Errors
/// 0A000 for rows that are told apart by their places.
pub fn rewrite(statement: &mut Statement, scope: &dyn Scope) -> Result<(), Error> {
    let mut kept = Arguments::default();
    let _ = statement.visit(&mut Hide {
        scope,
        kept: &mut kept,
    });
    if let Statement::Query(query) = statement {
        names::set_apart(query);
    }
    let _ = statement.visit(&mut Apart);
    let _ = statement.visit(&mut Heads::default());
    let mut rewriter = Rewriter {
        scope,
        own: own_names(statement),
        aliases: HashMap::new(),
        shows_rows: matches!(statement, Statement::Query(_)),
        depth: 0,
    };
    if let ControlFlow::Break(error) = statement.visit(&mut rewriter) {
        return Err(error);
    }
    kept.taken.reverse();
    let _ = statement.visit(&mut Show { kept: &mut kept });
    Ok(())
}

/// An expression of its own, over the columns of one relation; it names no other.
///
/// # Errors
/// 42601 for what isn't one expression, 0A000 for one with a subquery.
pub fn expression(text: &str) -> Result<Expr, DataFusionError> {
    let syntax = |error: ParserError| DataFusionError::SQL(Box::new(error), None);
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(syntax)?;
    let expression = parser.parse_expr().map_err(syntax)?;
    parser.expect_token(&Token::EOF).map_err(syntax)?;
    if expression.visit(&mut FindQuery).is_break() {
        return Err(DataFusionError::NotImplemented(
            "a subquery can't stand in a policy or mask".to_owned(),
        ));
    }
    // There is nothing in it to rewrite.
    if matches!(expression, Expr::Value(_)) {
        return Ok(expression);
    }
    // A statement is what can be rewritten.
    let mut statement = Parser::new(&dialect)
        .try_with_sql("SELECT 1")
        .and_then(|mut parser| parser.parse_statement())
        .map_err(syntax)?;
    if let Some(select) = only_select(&mut statement) {
        select.selection = Some(expression);
    }
    rewrite(&mut statement, &NoScope)
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    only_select(&mut statement)
        .and_then(|select| select.selection.take())
        .ok_or_else(|| DataFusionError::Internal("an expression was lost".to_owned()))
}

fn only_select(statement: &mut Statement) -> Option<&mut Select> {
    let Statement::Query(query) = statement else {
        return None;
    };
    match query.body.as_mut() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// Nothing has a name.
struct NoScope;

impl Scope for NoScope {
    fn schema_of(&self, _relation: &str) -> Option<String> {
        None
    }

    fn reads_its_arguments(&self, _function: &str) -> bool {
        false
    }

    fn is_table_function(&self, _function: &str) -> bool {
        false
    }

    fn relation_oid(&self, _relation: &str) -> Option<i32> {
        None
    }

    fn lacks_column(&self, _relation: &str, _column: &str) -> bool {
        false
    }

    fn has_column(&self, _relation: &str, _column: &str) -> bool {
        false
    }
}

/// The arguments that are left as they are, in the order in which they stand.
#[derive(Default)]
struct Arguments {
    taken: Vec<Vec<FunctionArg>>,
}

/// The only argument of a function whose own are put aside.
const HIDDEN: &str = "\u{1f}";

struct Hide<'a> {
    scope: &'a dyn Scope,
    kept: &'a mut Arguments,
}

impl VisitorMut for Hide<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            args: Some(arguments),
            ..
        } = factor
            && self.scope.reads_its_arguments(&last_name(name))
        {
            let marker = vec![syntax::argument(syntax::text(HIDDEN))];
            self.kept
                .taken
                .push(std::mem::replace(&mut arguments.args, marker));
        }
        ControlFlow::Continue(())
    }
}

struct Show<'a> {
    kept: &'a mut Arguments,
}

impl VisitorMut for Show<'_> {
    type Break = ();

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            args: Some(arguments),
            ..
        } = factor
            && arguments.args == [syntax::argument(syntax::text(HIDDEN))]
            && let Some(own) = self.kept.taken.pop()
        {
            arguments.args = own;
        }
        ControlFlow::Continue(())
    }
}

/// Queries inside of others whose ORDER BY names a column of a table as a column of theirs is called. Where somebody knows their
/// columns by name, they get those names back outside.
struct Apart;

impl VisitorMut for Apart {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Some(query) = syntax::query_in(expression) {
            names::set_apart(query);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let Some(columns) = names::different(query) else {
            return ControlFlow::Continue(());
        };
        if names::set_apart(query)
            && let Some(named) = syntax::renamed(query.clone(), &columns)
        {
            *query = named;
        }
        ControlFlow::Continue(())
    }
}

/// Names of columns and types of literals, while expressions are still as they were written.
#[derive(Default)]
struct Heads {
    /// The next query is the one whose rows are inserted.
    is_inserted: bool,
}

impl VisitorMut for Heads {
    type Break = ();

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        self.is_inserted = matches!(statement, Statement::Insert(_));
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let is_inserted = std::mem::take(&mut self.is_inserted);
        // Postgres locks rows; here nobody changes those that a query sees.
        query.locks.clear();
        windows::settle(query);
        literals::give_order(query);
        first_rows::limit(query);
        names::give(query);
        set_operations::count_rows(&mut query.body);
        ordered_rows::keep(query);
        if let SetExpr::Values(values) = query.body.as_mut() {
            literals::give_values(values, is_inserted);
            if Visit::visit(&*values, &mut FindQuery).is_break()
                && let Some(rows) = set_operations::of_values(values)
            {
                *query.body = rows;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::InSubquery { subquery, .. } = expression {
            subqueries::select_values(subquery);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        aggregates::name_grouped(select);
        aggregates::filter_one_row(select);
        literals::give_types(select);
        joins::merge(select);
        ControlFlow::Continue(())
    }
}

/// Everything else.
struct Rewriter<'a> {
    scope: &'a dyn Scope,
    /// Names that the statement gives itself: those of its WITH.
    own: HashSet<String>,
    /// What an alias stands for.
    aliases: HashMap<String, String>,
    /// The statement is a query, whose rows are what a client gets.
    shows_rows: bool,
    /// How many queries are around what is visited.
    depth: usize,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        if self.depth == 1 {
            self.shows_rows &= matches!(query.body.as_ref(), SetExpr::Select(_));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Error> {
        // Names that aren't relations to the visitor.
        if let Statement::Drop {
            object_type: ObjectType::Table | ObjectType::View,
            names,
            ..
        } = statement
        {
            for name in names {
                relations::qualify(name, &self.own, self.scope);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<Error> {
        subqueries::settle_change(statement);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        rows_of_relations::mark(select);
        for from in &mut select.from {
            self.name_relation(&mut from.relation);
            for join in &mut from.joins {
                self.name_relation(&mut join.relation);
            }
        }
        relations::wildcards(select, &self.aliases);
        let shows = self.shows_rows && self.depth == 1;
        system_columns::name(select, self.scope, &self.aliases, shows);
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        subqueries::settle(select);
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Error> {
        relations::qualify(relation, &self.own, self.scope);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        relations::rewrite(factor, self.scope);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Error> {
        if let Some(table) = system_columns::placed(expression, self.scope, &self.aliases) {
            return ControlFlow::Break(system_columns::no_place(&table));
        }
        expressions::rewrite(expression, self.scope, &self.aliases);
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn name_relation(&mut self, factor: &mut TableFactor) {
        self.note_alias(factor);
        relations::name(factor, &self.own, self.scope);
    }

    fn note_alias(&mut self, factor: &TableFactor) {
        if let TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = factor
        {
            let alias = alias
                .as_ref()
                .map_or_else(|| last_name(name), |alias| folded(&alias.name));
            self.aliases.insert(alias, name.to_string());
        }
    }
}

/// The names of the queries that come before others with `WITH`.
pub fn own_names(statement: &Statement) -> HashSet<String> {
    struct Ctes(HashSet<String>);
    impl Visitor for Ctes {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            if let Some(with) = &query.with {
                self.0
                    .extend(with.cte_tables.iter().map(|cte| folded(&cte.alias.name)));
            }
            ControlFlow::Continue(())
        }
    }
    let mut ctes = Ctes(HashSet::new());
    let _ = statement.visit(&mut ctes);
    ctes.0
}

/// The last part of a name, as names are compared.
pub fn last_name(name: &ObjectName) -> String {
    name.0
        .last()
        .and_then(|part| part.as_ident())
        .map(folded)
        .unwrap_or_default()
}
