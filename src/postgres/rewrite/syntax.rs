//! Pieces of syntax that other rewrites put together.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    TableWithJoins, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

/// `name(arguments)`
pub fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// An argument without a name.
pub fn argument(expression: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
}

/// `'text'`
pub fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.to_owned()))
}

/// `number`
pub fn number(value: i64) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

/// Takes an expression out of its place.
pub fn take(expression: &mut Expr) -> Expr {
    std::mem::replace(expression, Expr::value(Value::Null))
}

/// Changes the expressions of a node, each after its parts, but not those of queries inside of it: they have relations of their own.
pub fn change_own(node: &mut impl VisitMut, change: impl FnMut(&mut Expr)) {
    let _ = node.visit(&mut Own { change, queries: 0 });
}

struct Own<F> {
    change: F,
    queries: usize,
}

impl<F: FnMut(&mut Expr)> VisitorMut for Own<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0 {
            (self.change)(expression);
        }
        ControlFlow::Continue(())
    }
}

/// Looks at the expressions of a node, each before its parts, but not at those of queries inside of it, until one is found.
pub fn find_own<T: Visit>(node: &T, find: impl FnMut(&Expr) -> ControlFlow<()>) -> ControlFlow<()> {
    node.visit(&mut FindOwn { find, queries: 0 })
}

struct FindOwn<F> {
    find: F,
    queries: usize,
}

impl<F: FnMut(&Expr) -> ControlFlow<()>> Visitor for FindOwn<F> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match self.queries {
            0 => (self.find)(expression),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// `SELECT expression AS name, …`
pub fn select(columns: Vec<(Expr, &str)>) -> Option<Query> {
    let mut query = parsed("SELECT 1")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = columns
            .into_iter()
            .map(|(expr, name)| SelectItem::ExprWithAlias {
                expr,
                alias: Ident::with_quote('"', name),
            })
            .collect();
    }
    Some(query)
}

/// `query` with `FROM (inner) AS alias(columns)` in the place of its FROM.
pub fn over(text: &str, inner: Query, alias: TableAlias) -> Option<Query> {
    let mut query = parsed(text)?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.from = vec![TableWithJoins {
            relation: TableFactor::Derived {
                lateral: false,
                subquery: Box::new(inner),
                alias: Some(alias),
                sample: None,
            },
            joins: Vec::new(),
        }];
    }
    Some(query)
}

/// A query with other names for its columns.
pub fn renamed(query: Query, columns: &[String]) -> Option<Query> {
    let named = |name: &String| TableAliasColumnDef {
        name: Ident::with_quote('"', name),
        data_type: None,
    };
    let alias = TableAlias {
        explicit: true,
        name: Ident::new("q"),
        columns: columns.iter().map(named).collect(),
        at: None,
    };
    over("SELECT *", query, alias)
}

/// The query that an expression is made of.
pub fn query_in(expression: &mut Expr) -> Option<&mut Query> {
    match expression {
        Expr::Subquery(query)
        | Expr::Exists {
            subquery: query, ..
        } => Some(query),
        Expr::InSubquery { subquery, .. } => Some(subquery),
        Expr::Function(Function {
            args: FunctionArguments::Subquery(query),
            ..
        }) => Some(query),
        _ => None,
    }
}

/// Syntax of our own writing; nothing where it is none, which a test would show.
pub fn parsed(text: &str) -> Option<Query> {
    let parser = Parser::new(&PostgreSqlDialect {});
    let query = parser
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_query());
    query.ok().map(|query| *query)
}

/// `NOT expression`
pub fn not(expression: Expr) -> Expr {
    Expr::UnaryOp {
        op: datafusion::sql::sqlparser::ast::UnaryOperator::Not,
        expr: Box::new(expression),
    }
}
