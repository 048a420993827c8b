//! The names of a query's columns, as Postgres gives them: `count` for `count(*)`, `?column?` for `1 + 1`.
//!
//! DataFusion refuses two columns of the same name. The second gets a mark behind its name, which
//! [`shown`] takes away again where a client sees it.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType as SqlType, Expr, FunctionArguments, Ident, ObjectName,
    OrderBy, OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Subscript, TableFactor, TrimWhereField, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion_funnel::definition::text::folded;

use super::rewrite::{find_own, joins};
use super::types;

/// Stands between a name and its number among columns of the same name; no keyboard has it.
const MARK: char = '\u{1f}';

/// The column's name without what makes it different from another.
pub fn shown(name: &str) -> &str {
    name.split_once(MARK).map_or(name, |(name, _)| name)
}

/// Gives each column of the query's selects its name.
pub fn give(query: &mut Query) {
    give_body(&mut query.body);
}

/// `SELECT f(a.x) AS x … ORDER BY a.x`: DataFusion would take the two names for one, and so it would of the `x` in `SELECT -x AS
/// x … ORDER BY -x`, which is the table's as in all expressions. The result's columns get a mark, which no client sees. Says
/// whether there are any.
pub fn set_apart(query: &mut Query) -> bool {
    let mut marked = false;
    match query.body.as_mut() {
        SetExpr::Query(inner) => marked = set_apart(inner),
        SetExpr::SetOperation { left, right, .. } => {
            forget_order(left);
            forget_order(right);
        }
        _ => {}
    }
    let mut ordered: Vec<&mut Expr> = match &mut query.order_by {
        Some(OrderBy {
            kind: OrderByKind::Expressions(ordered),
            ..
        }) => ordered
            .iter_mut()
            .map(|ordered| &mut ordered.expr)
            .collect(),
        _ => return marked,
    };
    if let SetExpr::Select(select) = query.body.as_mut() {
        for item in &mut select.projection {
            let (expr, name) = match &*item {
                SelectItem::ExprWithAlias { expr, alias } => (expr, folded(alias)),
                SelectItem::UnnamedExpr(expr) if !is_column(expr) => (expr, name_of(expr)),
                _ => continue,
            };
            let is_bare =
                |by: &Expr| matches!(by, Expr::Identifier(ident) if folded(ident) == name);
            let names_it = |by: &Expr| matches!(by, Expr::CompoundIdentifier(parts) if parts.last().map(folded).as_deref() == Some(&name));
            let bare = ordered.iter().any(|by| is_bare(by));
            let of_a_table = !matches!(expr, Expr::CompoundIdentifier(_))
                && !bare
                && ordered.iter().any(|by| names_it(by));
            // The relation has such a column, for the item is made of it.
            let of_an_expression = !is_bare(expr)
                && mentions(expr, &name)
                && ordered.iter().any(|by| !is_bare(by) && mentions(by, &name));
            if of_a_table || of_an_expression {
                let alias = Ident::with_quote('"', format!("{name}{MARK}0"));
                for by in ordered.iter_mut().filter(|by| is_bare(by)) {
                    **by = Expr::Identifier(alias.clone());
                }
                let expr = expr.clone();
                *item = SelectItem::ExprWithAlias { expr, alias };
                marked = true;
            }
        }
    }
    marked
}

/// The names of a query's columns, where it writes all of them and no two are the same.
pub fn different(query: &Query) -> Option<Vec<String>> {
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::Query(inner) => return different(inner),
        _ => return None,
    };
    let names = select.projection.iter().map(|item| match item {
        SelectItem::UnnamedExpr(expression) => Some(name_of(expression)),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    });
    let names: Vec<String> = names.collect::<Option<_>>()?;
    let mut seen = HashSet::new();
    names.iter().all(|name| seen.insert(name)).then_some(names)
}

/// The rows of a side of a `UNION` have no order, unless it says which they are.
fn forget_order(side: &mut SetExpr) {
    match side {
        SetExpr::SetOperation { left, right, .. } => {
            forget_order(left);
            forget_order(right);
        }
        SetExpr::Query(query) if query.limit_clause.is_none() && query.fetch.is_none() => {
            query.order_by = None;
            forget_order(&mut query.body);
        }
        _ => {}
    }
}

/// `SELECT t.*, c`: whether `t` has a `c` is known when the query is planned. Where that failed, the columns beside a `*` get
/// marks: those of the query that a client asks, and those of others that nobody else in it names. Says whether there are any.
pub fn set_beside_wildcards(query: &mut Query) -> bool {
    let mut apart = BesideWildcards {
        named: Named::in_query(query),
        depth: 0,
        marked: false,
    };
    let _ = query.visit(&mut apart);
    apart.marked
}

struct BesideWildcards {
    named: Named,
    depth: usize,
    marked: bool,
}

impl VisitorMut for BesideWildcards {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let own = (self.depth > 0).then(|| Named::in_query(query));
        self.depth += 1;
        let mut ordered: Vec<&mut Expr> = match &mut query.order_by {
            Some(OrderBy {
                kind: OrderByKind::Expressions(ordered),
                ..
            }) => ordered.iter_mut().map(|by| &mut by.expr).collect(),
            _ => Vec::new(),
        };
        let SetExpr::Select(select) = query.body.as_mut() else {
            return ControlFlow::Continue(());
        };
        let is_wildcard = |item: &SelectItem| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        };
        if select.distinct.is_some() || !select.projection.iter().any(is_wildcard) {
            return ControlFlow::Continue(());
        }
        for (at, item) in select.projection.iter_mut().enumerate() {
            let (expr, name, is_alias) = match item {
                SelectItem::UnnamedExpr(expression) => {
                    (expression.clone(), name_of(expression), false)
                }
                SelectItem::ExprWithAlias { expr, alias } if !alias.value.contains(MARK) => {
                    (expr.clone(), folded(alias), true)
                }
                _ => continue,
            };
            if own
                .as_ref()
                .is_some_and(|own| self.named.count(&name) > own.count(&name))
            {
                continue;
            }
            let alias = Ident::with_quote('"', format!("{name}{MARK}{at}"));
            let is_it = |by: &Expr| matches!(by, Expr::Identifier(by) if folded(by) == name);
            for by in ordered.iter_mut().filter(|by| is_alias && is_it(by)) {
                **by = Expr::Identifier(alias.clone());
            }
            *item = SelectItem::ExprWithAlias { expr, alias };
            self.marked = true;
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// How often columns are named, without their relations.
#[derive(Default)]
struct Named(HashMap<String, usize>);

impl Named {
    fn in_query(query: &Query) -> Self {
        let mut named = Self::default();
        let _ = query.visit(&mut named);
        named
    }

    fn count(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, name: &Ident) {
        *self.0.entry(folded(name)).or_default() += 1;
    }
}

impl Visitor for Named {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Identifier(name) => self.add(name),
            Expr::CompoundIdentifier(parts) => parts.iter().for_each(|part| self.add(part)),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            for column in joins::using(&join.join_operator).into_iter().flatten() {
                self.add(&column);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether a column that is written without its relation is named in an expression, outside of queries in it.
fn mentions(expression: &Expr, name: &str) -> bool {
    let found = find_own(expression, |part| match part {
        Expr::Identifier(ident) if folded(ident) == name => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn give_body(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => give_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            give_body(left);
            give_body(right);
        }
        // Queries inside are visited themselves.
        _ => {}
    }
}

fn give_select(select: &mut Select) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let wildcards = Wildcards::of(select);
    let own_relations = relations(select);
    let is_outer = |expression: &Expr| match (&own_relations, expression) {
        (Some(own), Expr::CompoundIdentifier(parts)) => {
            let table = parts.iter().rev().nth(1).map(folded);
            table.is_some_and(|table| !own.contains(&table))
        }
        (Some(own), Expr::Identifier(_)) => own.is_empty(),
        _ => false,
    };
    let alone = select.projection.len() == 1;
    for item in &mut select.projection {
        let (expression, alias) = match item {
            SelectItem::UnnamedExpr(expression) => (expression, None),
            SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
            _ => continue,
        };
        let name = match &alias {
            Some(alias) => folded(alias),
            None => name_of(expression),
        };
        let count = seen.entry(name.clone()).or_default();
        *count += 1;
        let own = match *count {
            1 if alias.is_some() || !wildcards.have(expression) => name.clone(),
            count => format!("{name}{MARK}{count}"),
        };
        // A plain column keeps its table, so that ORDER BY can name it. To DataFusion, one of a query outside has no name.
        let plain =
            alias.is_none() && own == name && is_column(expression) && !is_outer(expression);
        let unnamed_star = alone && matches!(expression, Expr::Wildcard(_));
        if !plain && !unnamed_star && (alias.is_none() || own != name) {
            let expr = std::mem::replace(expression, Expr::Identifier(Ident::new("")));
            let mut ident = Ident::with_quote('"', own);
            if let Some(alias) = alias {
                ident.span = alias.span;
            }
            *item = SelectItem::ExprWithAlias { expr, alias: ident };
        }
    }
}

/// What the relations of a select are called, where all of them have names.
fn relations(select: &Select) -> Option<Vec<String>> {
    let factors = select.from.iter().flat_map(|from| {
        let joined = from.joins.iter().map(|join| &join.relation);
        std::iter::once(&from.relation).chain(joined)
    });
    let name = |factor: &TableFactor| match factor {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        } => Some(folded(&alias.name)),
        TableFactor::Table { name, .. } => {
            name.0.last().and_then(|part| part.as_ident()).map(folded)
        }
        _ => None,
    };
    factors.map(name).collect()
}

/// The `*` and `t.*` of a select. A column of a table that stands beside the table's `*` is there already.
#[derive(Default)]
struct Wildcards {
    all: bool,
    tables: Vec<String>,
    /// Whether they are of the only relation there is.
    of_one: bool,
}

impl Wildcards {
    fn of(select: &Select) -> Self {
        let mut found = Self {
            of_one: matches!(select.from.as_slice(), [one] if one.joins.is_empty()),
            ..Self::default()
        };
        for item in &select.projection {
            match item {
                SelectItem::Wildcard(_) => found.all = true,
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => found
                    .tables
                    .extend(name.0.last().and_then(|part| part.as_ident()).map(folded)),
                _ => {}
            }
        }
        found
    }

    /// Whether they have the column. One without its table among several is taken to be another table's.
    fn have(&self, expression: &Expr) -> bool {
        match expression {
            Expr::Identifier(_) => self.all || (self.of_one && !self.tables.is_empty()),
            Expr::CompoundIdentifier(parts) => {
                let table = parts.iter().rev().nth(1).map(folded);
                self.all || table.is_some_and(|table| self.tables.contains(&table))
            }
            _ => false,
        }
    }
}

fn is_column(expression: &Expr) -> bool {
    match expression {
        // Words that are functions.
        Expr::Identifier(ident) => {
            ident.quote_style.is_some()
                || ![
                    "current_schema",
                    "current_catalog",
                    "current_role",
                    "localtime",
                ]
                .contains(&ident.value.to_lowercase().as_str())
        }
        Expr::CompoundIdentifier(_) => true,
        _ => false,
    }
}

/// The name of a column without an alias.
pub fn name_of(expression: &Expr) -> String {
    let (_, name) = figured(expression);
    name.unwrap_or_else(|| "?column?".to_owned())
}

/// How much a name says: 2 for a column's or function's, 1 for a type's or CASE, 0 for none.
/// This is `FigureColname` of Postgres' parser.
fn figured(expression: &Expr) -> (u8, Option<String>) {
    let strong = |name: &str| (2, Some(name.to_owned()));
    match expression {
        Expr::Identifier(ident) => strong(&folded(ident)),
        Expr::CompoundIdentifier(parts) => match parts.last() {
            Some(last) => strong(&folded(last)),
            None => (0, None),
        },
        Expr::CompoundFieldAccess { root, access_chain } => {
            // The field of a column's record is called as itself: an ORDER BY of `d['term']` would otherwise find the
            // result's `d` before the column.
            let of_column = is_column(root);
            let field = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Expr::Identifier(ident)) => Some(folded(ident)),
                AccessExpr::Subscript(Subscript::Index {
                    index: Expr::Value(value),
                }) if of_column => match &value.value {
                    Value::SingleQuotedString(key) => Some(key.clone()),
                    _ => None,
                },
                _ => None,
            });
            match field {
                Some(field) => (2, Some(field)),
                None => figured(root),
            }
        }
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figured(inner),
        Expr::Function(function) => strong(&function_name(&function.name, &function.args)),
        Expr::Cast {
            expr, data_type, ..
        } => of_cast(figured(expr), data_type),
        Expr::TypedString(typed) => of_cast((0, None), &typed.data_type),
        Expr::Interval(_) => (1, Some("interval".to_owned())),
        Expr::Case { else_result, .. } => match else_result.as_deref().map(figured) {
            Some((2, name)) => (2, name),
            _ => (1, Some("case".to_owned())),
        },
        Expr::Exists { negated: false, .. } => strong("exists"),
        Expr::Subquery(query) => of_subquery(query),
        Expr::Array(_) => strong("array"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::Position { .. } => strong("position"),
        Expr::Substring { shorthand, .. } => {
            strong(if *shorthand { "substr" } else { "substring" })
        }
        Expr::Overlay { .. } => strong("overlay"),
        Expr::BinaryOp {
            op: BinaryOperator::Overlaps,
            ..
        } => strong("overlaps"),
        Expr::IsNormalized { .. } => strong("is_normalized"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            Some(TrimWhereField::Both) | None => "btrim",
        }),
        Expr::Tuple(_) | Expr::Struct { .. } => strong("row"),
        _ => (0, None),
    }
}

fn of_cast(inner: (u8, Option<String>), to: &SqlType) -> (u8, Option<String>) {
    match inner {
        (2, name) => (2, name),
        _ => {
            let name = match types::of_sql(to) {
                Some((name, _)) => name.trim_start_matches('_').to_owned(),
                None => to.to_string().to_lowercase(),
            };
            (1, Some(name))
        }
    }
}

/// A subquery has the name of its column.
fn of_subquery(query: &Query) -> (u8, Option<String>) {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(query) => body = &query.body,
            SetExpr::Select(select) => {
                return match select.projection.first() {
                    Some(SelectItem::UnnamedExpr(expression)) => (2, Some(name_of(expression))),
                    Some(SelectItem::ExprWithAlias { alias, .. }) => (2, Some(folded(alias))),
                    _ => (0, None),
                };
            }
            SetExpr::Values(_) => return (2, Some("column1".to_owned())),
            _ => return (0, None),
        }
    }
}

fn function_name(name: &ObjectName, arguments: &FunctionArguments) -> String {
    let last = name
        .0
        .last()
        .and_then(|part| part.as_ident())
        .map(folded)
        .unwrap_or_default();
    match (last.as_str(), arguments) {
        // Words that sqlparser reads as functions.
        ("array", FunctionArguments::Subquery(_)) => "array".to_owned(),
        _ => last,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn names(select: &str) -> Vec<String> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, select).unwrap();
        let Statement::Query(query) = &mut statements[0] else {
            panic!("{select}")
        };
        give(query);
        let SetExpr::Select(select) = query.body.as_ref() else {
            panic!("{select}")
        };
        let name = |item: &SelectItem| match item {
            SelectItem::ExprWithAlias { alias, .. } => shown(&alias.value).to_owned(),
            SelectItem::UnnamedExpr(expression) => name_of(expression),
            other => other.to_string(),
        };
        select.projection.iter().map(name).collect()
    }

    /// Expected: the heads that psql 15.18 prints.
    #[test]
    fn columns_are_called_as_postgres_calls_them() {
        for (sql, expected) in [
            (
                "SELECT 1, 1 + 1, 'a', -1",
                "?column?,?column?,?column?,?column?",
            ),
            (
                "SELECT count(*), pg_catalog.lower('A'), t.A, \"B\" FROM t",
                "count,lower,a,B",
            ),
            (
                "SELECT x::text, 1::bigint, '1'::int4::text, lower('A')::char(3)",
                "x,int8,text,lower",
            ),
            (
                "SELECT CASE WHEN a THEN 1 END, CASE WHEN a THEN 1 ELSE b END",
                "case,b",
            ),
            (
                "SELECT EXISTS (SELECT 1), NOT EXISTS (SELECT 1), (SELECT max(x) FROM t)",
                "exists,?column?,max",
            ),
            (
                "SELECT ARRAY[1], ARRAY(SELECT 1), (ARRAY[1])[1], (x).n",
                "array,array,array,n",
            ),
            (
                "SELECT date '2024-01-01', interval '1 day', timestamptz '2024-01-01'",
                "date,interval,timestamptz",
            ),
            (
                "SELECT extract(year FROM x), x AT TIME ZONE 'UTC', substring(x from 1), trim(x)",
                "extract,timezone,substring,btrim",
            ),
            (
                "SELECT a IS NULL, a AND b, coalesce(a, b), nullif(a, b), current_user",
                "?column?,?column?,coalesce,nullif,current_user",
            ),
            ("SELECT '{1}'::int[], a COLLATE \"C\", (1, 2)", "int4,a,row"),
        ] {
            assert_eq!(names(sql).join(","), expected, "{sql}");
        }
    }

    #[test]
    fn columns_beside_wildcards_get_marks_where_nobody_names_them() {
        for (sql, expected) in [
            (
                "SELECT t.*, c, d AS e FROM t JOIN u ORDER BY c, e",
                "SELECT t.*, c AS \"c#1\", d AS \"e#2\" FROM t JOIN u ORDER BY c, \"e#2\"",
            ),
            (
                "SELECT count(*) FROM (SELECT t.*, 1 AS a FROM t) AS q",
                "SELECT count(*) FROM (SELECT t.*, 1 AS \"a#1\" FROM t) AS q",
            ),
            (
                "WITH q AS (SELECT t.*, 1 AS a, 2 AS b FROM t) SELECT b FROM q",
                "WITH q AS (SELECT t.*, 1 AS \"a#1\", 2 AS b FROM t) SELECT b FROM q",
            ),
            (
                "SELECT * FROM (SELECT t.*, 1 AS a FROM t) AS q JOIN u USING(a)",
                "SELECT * FROM (SELECT t.*, 1 AS a FROM t) AS q JOIN u USING(a)",
            ),
            (
                "SELECT DISTINCT t.*, c FROM t",
                "SELECT DISTINCT t.*, c FROM t",
            ),
        ] {
            let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
            let Statement::Query(query) = &mut statements[0] else {
                panic!("{sql}")
            };
            assert_eq!(set_beside_wildcards(query), sql != expected, "{sql}");
            assert_eq!(query.to_string().replace(MARK, "#"), expected);
        }
    }

    #[test]
    fn columns_of_the_same_name_stay_apart() {
        let mut statements =
            Parser::parse_sql(&PostgreSqlDialect {}, "SELECT 1 AS a, 2 AS a, 3, 4").unwrap();
        let Statement::Query(query) = &mut statements[0] else {
            panic!()
        };
        give(query);
        let mut beside = Parser::parse_sql(
            &PostgreSqlDialect {},
            "SELECT t.*, t.a, b + 1 AS total FROM t ORDER BY total",
        )
        .unwrap();
        if let Statement::Query(query) = &mut beside[0] {
            give(query);
        }
        let mut joined =
            Parser::parse_sql(&PostgreSqlDialect {}, "SELECT t.*, u.a, c FROM t JOIN u").unwrap();
        if let Statement::Query(query) = &mut joined[0] {
            give(query);
        }
        assert_eq!(joined[0].to_string(), "SELECT t.*, u.a, c FROM t JOIN u");
        let expected = "SELECT t.*, t.a AS \"a\u{1f}1\", b + 1 AS total FROM t ORDER BY total";
        assert_eq!(beside[0].to_string(), expected);
        let expected =
            "SELECT 1 AS a, 2 AS \"a\u{1f}2\", 3 AS \"?column?\", 4 AS \"?column?\u{1f}2\"";
        assert_eq!(query.to_string(), expected);
    }
}
