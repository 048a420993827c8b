//! Functions where there can be none, names that two relations have, and queries that read themselves in a way that can't be:
//! what DataFusion finds late or not at all, in PostgreSQL's words.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Assignment, BinaryOperator, Cte, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause,
    MergeAction, ObjectName, OnConflictAction, OnInsert, Query, Select, SetExpr, SetOperator,
    Statement, TableFactor, TableWithJoins, Visit, Visitor,
};
use datafusion_funnel::definition::text::{folded, folded_name};

use crate::error::{Error, Fault, Result, character_position};
use crate::postgres::rewrite::find_own;
use crate::postgres::rows::is_list_function;

/// Looks at the clauses of each query of a statement; `is_aggregate` knows functions by their names.
///
/// # Errors
/// 42803 and 42P20 for functions that can't be called there, 42712, 42P19, and 0A000 for what PostgreSQL doesn't do either.
pub fn check(statement: &Statement, sql: &str, is_aggregate: &dyn Fn(&str) -> bool) -> Result<()> {
    let mut check = Check { sql, is_aggregate };
    match statement.visit(&mut check) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Looks at what a change of rows sets and returns, before anything is changed.
///
/// # Errors
/// 42803, 42P20 and 0A000 for functions that can't be called there.
pub fn check_change(
    change: &Statement,
    sql: &str,
    is_aggregate: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let check = Check { sql, is_aggregate };
    let set = |assignments: &[Assignment]| {
        let mut assignments = assignments.iter();
        assignments.try_for_each(|assignment| check.no_calls(&assignment.value, "UPDATE"))
    };
    let returning = match change {
        Statement::Insert(insert) => {
            if let Some(OnInsert::OnConflict(conflict)) = &insert.on
                && let OnConflictAction::DoUpdate(update) = &conflict.action
            {
                set(&update.assignments)?;
            }
            &insert.returning
        }
        Statement::Update(update) => {
            set(&update.assignments)?;
            &update.returning
        }
        Statement::Delete(delete) => &delete.returning,
        Statement::Merge(merge) => {
            for clause in &merge.clauses {
                if let Some(condition) = &clause.predicate {
                    check.no_calls(condition, "MERGE WHEN conditions")?;
                }
                match &clause.action {
                    MergeAction::Update(update) => set(&update.assignments)?,
                    MergeAction::Insert(insert) => check.no_calls(&insert.kind, "VALUES")?,
                    MergeAction::Delete { .. } => {}
                }
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    match returning {
        Some(items) => check.no_calls(items, "RETURNING"),
        None => Ok(()),
    }
}

struct Check<'a> {
    sql: &'a str,
    is_aggregate: &'a dyn Fn(&str) -> bool,
}

impl Visitor for Check<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let recursive = query.with.as_ref().filter(|with| with.recursive);
        for cte in recursive.into_iter().flat_map(|with| &with.cte_tables) {
            if let Err(error) = self.recursion(cte) {
                return ControlFlow::Break(error);
            }
        }
        if let SetExpr::Values(values) = query.body.as_ref() {
            let mut values = values.rows.iter().flat_map(|row| row.content.iter());
            if let Err(error) = values.try_for_each(|value| self.calls(value, "VALUES", true)) {
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Error> {
        use BinaryOperator as O;
        let is_uneven = match expression {
            Expr::BinaryOp {
                left,
                op: O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq,
                right,
            } => are_uneven(left, right),
            Expr::InList { expr, list, .. } => list.iter().any(|item| are_uneven(expr, item)),
            _ => false,
        };
        if !is_uneven {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Error::Query {
            fault: Fault::Syntax,
            message: "unequal number of entries in row expressions".to_owned(),
            position: None,
        })
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        match self.select(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Whether two rows that are written as such have not as many fields.
fn are_uneven(left: &Expr, right: &Expr) -> bool {
    match (width(left), width(right)) {
        (Some(left), Some(right)) => left != right,
        _ => false,
    }
}

/// How many fields a row has that is written as one: `(1, 2)`, `ROW(1, 2)`.
fn width(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Nested(inner) => width(inner),
        Expr::Tuple(fields) => Some(fields.len()),
        Expr::Function(function) if folded_name(&function.name) == "row" => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            // How many columns `t.*` has isn't known yet.
            let is_value = |argument: &FunctionArg| {
                matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Expr(_)))
            };
            list.args.iter().all(is_value).then_some(list.args.len())
        }
        _ => None,
    }
}

impl Check<'_> {
    fn select(&self, select: &Select) -> Result<()> {
        let mut names = Vec::new();
        for from in &select.from {
            self.joined(from, &mut names)?;
        }
        if let Some(condition) = &select.selection {
            self.calls(condition, "WHERE", true)?;
        }
        if let GroupByExpr::Expressions(expressions, _) = &select.group_by {
            for expression in expressions {
                self.calls(expression, "GROUP BY", true)?;
            }
        }
        match &select.having {
            Some(condition) => self.calls(condition, "HAVING", false),
            None => Ok(()),
        }
    }

    /// Relations of one FROM, with the names of those before them.
    fn joined(&self, from: &TableWithJoins, names: &mut Vec<String>) -> Result<()> {
        self.relation(&from.relation, names)?;
        for join in &from.joins {
            self.relation(&join.relation, names)?;
            if let Some(JoinConstraint::On(condition)) = constraint(join) {
                self.calls(condition, "JOIN conditions", true)?;
            }
        }
        Ok(())
    }

    fn relation(&self, relation: &TableFactor, names: &mut Vec<String>) -> Result<()> {
        let name = match relation {
            TableFactor::Table {
                alias: Some(alias), ..
            }
            | TableFactor::Derived {
                alias: Some(alias), ..
            } => folded(&alias.name),
            // What a function is called is settled when its call is planned.
            TableFactor::Table {
                name, args: None, ..
            } => folded_name(name),
            TableFactor::NestedJoin {
                table_with_joins,
                alias,
            } => {
                let mut inner = Vec::new();
                let names = match alias {
                    // Nobody outside sees the names inside.
                    Some(_) => &mut inner,
                    None => names,
                };
                return self.joined(table_with_joins, names);
            }
            _ => return Ok(()),
        };
        if names.contains(&name) {
            return Err(Error::Query {
                fault: Fault::DuplicateAlias,
                message: format!("table name \"{name}\" specified more than once"),
                position: None,
            });
        }
        names.push(name);
        Ok(())
    }

    /// Refuses calls of window functions in a clause, and of aggregates where they can't be.
    fn calls<T: Visit>(&self, expression: &T, clause: &str, aggregates: bool) -> Result<()> {
        for call in own_calls(expression) {
            let (fault, kind) = if call.over {
                (Fault::Windowing, "window")
            } else if aggregates && (self.is_aggregate)(&call.name) {
                (Fault::Grouping, "aggregate")
            } else {
                continue;
            };
            return Err(Error::Query {
                fault,
                message: format!("{kind} functions are not allowed in {clause}"),
                position: call.at.as_ref().and_then(|ident| self.place(ident)),
            });
        }
        Ok(())
    }

    /// Refuses what makes other rows than those that are changed: aggregates, window functions, and functions that return rows.
    fn no_calls<T: Visit>(&self, written: &T, clause: &str) -> Result<()> {
        self.calls(written, clause, true)?;
        let returns_rows = |call: &Call| call.name == "unnest" || is_list_function(&call.name);
        match own_calls(written).iter().any(returns_rows) {
            true => Err(Error::Unsupported {
                message: format!("set-returning functions are not allowed in {clause}"),
                hint: None,
            }),
            false => Ok(()),
        }
    }

    /// `t AS (query)` of a `WITH RECURSIVE`, where the query may read `t`.
    fn recursion(&self, cte: &Cte) -> Result<()> {
        let name = folded(&cte.alias.name);
        let query = cte.query.as_ref();
        // A query inside that is called the same is another one.
        if is_defined_in(query, &name) || reads(query, &name).is_empty() {
            return Ok(());
        }
        let refuse = |message: String, at: &Ident| {
            Err(Error::Query {
                fault: Fault::InvalidRecursion,
                message,
                position: self.place(at),
            })
        };
        let SetExpr::SetOperation {
            op: SetOperator::Union,
            left,
            right,
            ..
        } = query.body.as_ref()
        else {
            if matches!(query.body.as_ref(), SetExpr::Query(_)) {
                return Ok(());
            }
            let message = format!(
                "recursive query \"{name}\" does not have the form non-recursive-term UNION [ALL] recursive-term"
            );
            return refuse(message, &cte.alias.name);
        };
        let within = |place: &str, at: &Ident| {
            let message =
                format!("recursive reference to query \"{name}\" must not appear {place}");
            refuse(message, at)
        };
        if let Some(at) = reads(left.as_ref(), &name).first() {
            return within("within its non-recursive term", at);
        }
        let mut places = Places {
            name: &name,
            subqueries: Vec::new(),
            outer: Vec::new(),
            excepted: Vec::new(),
        };
        places.term(right);
        if let Some(at) = places.subqueries.first() {
            return within("within a subquery", at);
        }
        if let Some(at) = places.outer.first() {
            return within("within an outer join", at);
        }
        if let Some(at) = places.excepted.first() {
            return within("within EXCEPT", at);
        }
        if let [_, again, ..] = reads(right.as_ref(), &name).as_slice() {
            return within("more than once", again);
        }
        for select in selects(right) {
            let joins = select.from.iter().flat_map(|from| &from.joins);
            let mut relations = select
                .from
                .iter()
                .map(|from| &from.relation)
                .chain(joins.map(|join| &join.relation));
            if !relations.any(|relation| read_as(relation, &name).is_some()) {
                continue;
            }
            let items = select.projection.iter().flat_map(own_calls);
            let mut calls = items.chain(select.having.iter().flat_map(own_calls));
            let aggregate = calls.find(|call| !call.over && (self.is_aggregate)(&call.name));
            if let Some(at) = aggregate.and_then(|call| call.at) {
                let message =
                    "aggregate functions are not allowed in a recursive query's recursive term";
                return refuse(message.to_owned(), &at);
            }
        }
        let clause = match &query.limit_clause {
            _ if query.order_by.is_some() => "ORDER BY",
            Some(LimitClause::LimitOffset {
                offset: Some(_), ..
            }) => "OFFSET",
            None if query.fetch.is_none() => return Ok(()),
            _ => "LIMIT",
        };
        Err(Error::Unsupported {
            message: format!("{clause} in a recursive query is not implemented"),
            hint: Some(format!(
                "Write it in the query that reads \"{name}\", or put the recursive term in parentheses."
            )),
        })
    }

    fn place(&self, ident: &Ident) -> Option<usize> {
        let start = ident.span.start;
        character_position(self.sql, start.line, start.column)
    }
}

/// Where a recursive term reads its query, and mustn't.
struct Places<'a> {
    name: &'a str,
    subqueries: Vec<Ident>,
    outer: Vec<Ident>,
    excepted: Vec<Ident>,
}

impl Places<'_> {
    fn term(&mut self, term: &SetExpr) {
        match term {
            SetExpr::Select(select) => {
                for from in &select.from {
                    self.joined(from);
                }
                // The relations of FROM aside, whatever reads it does so in an expression.
                let mut expressions = select.as_ref().clone();
                expressions.from.clear();
                self.subqueries.extend(reads(&expressions, self.name));
            }
            SetExpr::SetOperation {
                op, left, right, ..
            } => {
                self.term(left);
                match op {
                    SetOperator::Except | SetOperator::Minus => {
                        self.excepted.extend(reads(right.as_ref(), self.name));
                    }
                    SetOperator::Union | SetOperator::Intersect => self.term(right),
                }
            }
            SetExpr::Query(query) => self.term(&query.body),
            _ => {}
        }
    }

    fn joined(&mut self, from: &TableWithJoins) {
        for (at, join) in from.joins.iter().enumerate() {
            let before = from.joins[..at].iter().map(|join| &join.relation);
            let before = std::iter::once(&from.relation).chain(before);
            let (left, right) = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                JoinOperator::FullOuter(_) => (true, true),
                _ => (false, false),
            };
            let name = self.name;
            if left {
                let found = before.flat_map(|relation| reads(relation, name));
                self.outer.extend(found);
            }
            if right {
                self.outer.extend(reads(&join.relation, name));
            }
        }
    }
}

/// The condition of a join; nothing where it has none.
fn constraint(join: &Join) -> Option<&JoinConstraint> {
    match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

/// A call of a function.
struct Call {
    /// What is called, without its schema.
    name: String,
    /// Where its name begins.
    at: Option<Ident>,
    /// It has an OVER.
    over: bool,
}

impl Call {
    fn of(call: &Function) -> Self {
        let mut parts = call.name.0.iter().filter_map(|part| part.as_ident());
        let at = parts.next();
        Self {
            name: parts.next_back().or(at).map(folded).unwrap_or_default(),
            at: at.cloned(),
            over: call.over.is_some(),
        }
    }
}

/// The calls in an expression that aren't in a query inside of it.
fn own_calls<T: Visit>(expression: &T) -> Vec<Call> {
    let mut found = Vec::new();
    let _ = find_own(expression, |part| {
        if let Expr::Function(call) = part {
            found.push(Call::of(call));
        }
        ControlFlow::Continue(())
    });
    found
}

/// The selects that a term is made of.
fn selects(term: &SetExpr) -> Vec<&Select> {
    match term {
        SetExpr::Select(select) => vec![select.as_ref()],
        SetExpr::SetOperation { left, right, .. } => {
            let mut found = selects(left);
            found.extend(selects(right));
            found
        }
        SetExpr::Query(query) => selects(&query.body),
        _ => Vec::new(),
    }
}

/// Where the relation of that name is read.
fn reads<T: Visit>(part: &T, name: &str) -> Vec<Ident> {
    struct Find<'a> {
        name: &'a str,
        found: Vec<Ident>,
    }
    impl Visitor for Find<'_> {
        type Break = ();

        fn pre_visit_table_factor(&mut self, relation: &TableFactor) -> ControlFlow<()> {
            self.found.extend(read_as(relation, self.name).cloned());
            ControlFlow::Continue(())
        }
    }
    let mut find = Find {
        name,
        found: Vec::new(),
    };
    let _ = part.visit(&mut find);
    find.found
}

/// Where it is the relation of that name, written without a schema.
fn read_as<'a>(relation: &'a TableFactor, name: &str) -> Option<&'a Ident> {
    let TableFactor::Table {
        name: ObjectName(parts),
        args: None,
        ..
    } = relation
    else {
        return None;
    };
    let [part] = parts.as_slice() else {
        return None;
    };
    part.as_ident().filter(|ident| folded(ident) == name)
}

/// Whether a query of that name is defined inside of another.
fn is_defined_in(query: &Query, name: &str) -> bool {
    struct Find<'a>(&'a str);
    impl Visitor for Find<'_> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let defined = query.with.iter().flat_map(|with| &with.cte_tables);
            let mut names = defined.map(|cte| folded(&cte.alias.name));
            match names.any(|name| name == self.0) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
    }
    query.visit(&mut Find(name)).is_break()
}
