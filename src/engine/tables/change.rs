//! `UPDATE`, `DELETE`, `MERGE` and `ON CONFLICT DO UPDATE` as queries for the rows that they change.
//!
//! Such a query reads the table as whoever asks sees it: policies hide rows, and masks hide values, from its conditions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    self, Assignment, AssignmentTarget, Expr, Ident, MergeAction, MergeClauseKind, MergeInsertKind,
    ObjectName, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableAlias,
    TableFactor, TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use datafusion_funnel::definition::text::folded;

use super::apply::Deed;
use super::target::{
    Target, assigned, column_of, default_of, named, note_parameter, query, select,
};
use crate::engine::parameters::ParameterTypes;
use crate::error::{ChangeFault, Error, Fault, Result, character_position};
use crate::sql::{Overriding, alias_with, does_nothing};
use crate::tables::{ColumnDefinition, FILE, IdentityKind, Key, ROW};

/// The name under which a change gives its deed's number.
const DEED: &str = "\u{1f}deed";

/// A change as a query, and what is done with its rows.
#[derive(Debug)]
pub struct ChangeQuery {
    /// The query: file, place, deed, values.
    pub query: Query,
    /// The deeds.
    pub deeds: Vec<Deed>,
    /// The columns that have values, by their places in the table. Behind them come those of the other tables, where the statement
    /// returns something.
    pub columns: Vec<usize>,
}

/// What is known while a change becomes a query.
pub struct Building<'a> {
    /// The table that is changed.
    pub target: &'a Target,
    /// What the query calls it.
    pub relation: ObjectName,
    /// What the statement calls it.
    pub alias: String,
    /// The statement's text.
    pub sql: &'a str,
    /// Types of parameters that are assigned to columns.
    pub types: &'a mut ParameterTypes,
}

impl Building<'_> {
    fn factor(&self) -> Result<TableFactor> {
        let text = format!(
            "SELECT 1 FROM {} AS \"{}\"",
            self.relation,
            self.alias.replace('"', "\"\"")
        );
        let mut parsed = query(&text)?;
        let from = select(&mut parsed)?.from.pop();
        from.map(|from| from.relation)
            .ok_or_else(|| unsupported("a table without a name"))
    }

    /// A query for places, deeds and values, in the order of places.
    fn query(
        &self,
        deed: Expr,
        values: Vec<(usize, Expr)>,
        from: Vec<TableWithJoins>,
        selection: Option<Expr>,
        others: &[Ident],
    ) -> Result<Query> {
        let mut built = query(&format!(
            "SELECT 1 ORDER BY \"{FILE}\" ASC NULLS LAST, \"{ROW}\" ASC NULLS LAST"
        ))?;
        let place = |name: &str| named(column_of(&self.alias, name), name);
        let mut projection = vec![place(FILE), place(ROW), named(deed, DEED)];
        for (at, value) in values {
            projection.push(named(value, &format!("\u{1f}{at}")));
        }
        projection.extend(others.iter().map(|other| {
            let name = ObjectName::from(vec![other.clone()]);
            let of = SelectItemQualifiedWildcardKind::ObjectName(name);
            SelectItem::QualifiedWildcard(of, WildcardAdditionalOptions::default())
        }));
        let inner = select(&mut built)?;
        inner.projection = projection;
        inner.from = from;
        inner.selection = selection;
        shorten(&mut built, self.target, &self.alias);
        Ok(built)
    }

    /// What assignments set: columns and their values.
    fn assignments(&mut self, assignments: &[Assignment]) -> Result<Vec<(usize, Expr)>> {
        let mut set = Vec::new();
        let mut names = Vec::new();
        for assignment in assignments {
            let (columns, values) = match (&assignment.target, &assignment.value) {
                (AssignmentTarget::ColumnName(name), value) => (vec![name], vec![value.clone()]),
                (AssignmentTarget::Tuple(names), row) => {
                    (names.iter().collect(), row_values(names.len(), row)?)
                }
            };
            for (name, value) in columns.into_iter().zip(values) {
                let ident = self.target.assignee(name, self.sql)?;
                if names
                    .iter()
                    .any(|known: &Ident| folded(known) == folded(&ident))
                {
                    return Err(Error::Syntax {
                        message: format!(
                            "multiple assignments to same column \"{}\"",
                            folded(&ident)
                        ),
                        position: None,
                    });
                }
                names.push(ident);
                set.push(value);
            }
        }
        let places = self.target.places(&names, self.sql)?;
        let columns = places.into_iter().zip(set);
        columns
            .map(|(at, value)| {
                check_set(self.target.column(at), &value)?;
                Ok((at, self.value(at, value)?))
            })
            .collect()
    }

    /// A value of a column.
    fn value(&mut self, at: usize, value: Expr) -> Result<Expr> {
        let column = self.target.column(at);
        let value = if is_default(&value) {
            default_of(column)?
        } else {
            value
        };
        note_parameter(&value, self.target.shape.schema.field(at), self.types);
        Ok(assigned(value, column))
    }

    /// `UPDATE`.
    ///
    /// # Errors
    /// 42703 for a column that there isn't, 0A000 for what isn't supported.
    pub fn update(mut self, update: &ast::Update) -> Result<ChangeQuery> {
        if !update.table.joins.is_empty() || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(unsupported("UPDATE with joins, ORDER BY or LIMIT"));
        }
        let values = self.assignments(&update.assignments)?;
        let mut from = vec![plain(self.factor()?)];
        let mut others = Vec::new();
        if let Some(
            ast::UpdateTableFromKind::BeforeSet(further)
            | ast::UpdateTableFromKind::AfterSet(further),
        ) = &update.from
        {
            if update.returning.is_some() {
                others = names_of(further);
            }
            from.extend(further.iter().cloned());
        }
        let columns: Vec<usize> = values.iter().map(|(at, _)| *at).collect();
        let query = self.query(number(0), values, from, update.selection.clone(), &others)?;
        Ok(ChangeQuery {
            query,
            deeds: vec![Deed::Update(columns.clone())],
            columns,
        })
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// 0A000 for what isn't supported.
    pub fn delete(self, delete: &ast::Delete) -> Result<ChangeQuery> {
        if !delete.order_by.is_empty() || delete.limit.is_some() || !delete.tables.is_empty() {
            return Err(unsupported(
                "DELETE with ORDER BY or LIMIT, or from several tables",
            ));
        }
        let mut from = vec![plain(self.factor()?)];
        let further: Vec<TableWithJoins> = delete.using.iter().flatten().cloned().collect();
        let others = match delete.returning {
            Some(_) => names_of(&further),
            None => Vec::new(),
        };
        from.extend(further);
        let query = self.query(
            number(0),
            Vec::new(),
            from,
            delete.selection.clone(),
            &others,
        )?;
        Ok(ChangeQuery {
            query,
            deeds: vec![Deed::Delete],
            columns: Vec::new(),
        })
    }

    /// Joins a source to the table: rows of the source come without places where there is none in the table.
    fn joined(&self, source: TableFactor, on: Expr, all: bool) -> Result<Vec<TableWithJoins>> {
        let kind = if all { "LEFT JOIN" } else { "JOIN" };
        let mut parsed = query(&format!("SELECT 1 FROM a {kind} b ON true"))?;
        let mut from = std::mem::take(&mut select(&mut parsed)?.from);
        if let Some(TableWithJoins { relation, joins }) = from.first_mut()
            && let Some(join) = joins.first_mut()
        {
            *relation = source;
            join.relation = self.factor()?;
            if let ast::JoinOperator::Left(constraint)
            | ast::JoinOperator::Join(constraint)
            | ast::JoinOperator::Inner(constraint)
            | ast::JoinOperator::LeftOuter(constraint) = &mut join.join_operator
            {
                *constraint = ast::JoinConstraint::On(on);
            }
        }
        Ok(from)
    }

    /// `MERGE`.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub fn merge(mut self, merge: &ast::Merge) -> Result<ChangeQuery> {
        let count = self.target.shape.definition.columns.len();
        check_reached(&merge.clauses)?;
        let source = name_of(&merge.source);
        let mut deeds = Vec::new();
        // The conditions of the clauses, and the numbers of their deeds.
        let mut conditions: Vec<(Expr, Option<usize>)> = Vec::new();
        let mut values: Vec<Vec<(usize, Expr)>> = vec![Vec::new(); count];
        for (number, clause) in merge.clauses.iter().enumerate() {
            let matched = match clause.clause_kind {
                MergeClauseKind::Matched => true,
                MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => false,
                MergeClauseKind::NotMatchedBySource => {
                    return Err(unsupported("WHEN NOT MATCHED BY SOURCE"));
                }
            };
            let mut condition = self.placed(matched);
            if let Some(mut predicate) = clause.predicate.clone() {
                if !matched {
                    self.only_of(source.as_ref(), &mut predicate)?;
                }
                condition = both(condition, nested(predicate));
            }
            if does_nothing(&clause.action) {
                conditions.push((condition, None));
                continue;
            }
            conditions.push((condition, Some(deeds.len())));
            let set = match &clause.action {
                MergeAction::Update(update) => {
                    let set = self.assignments(&update.assignments)?;
                    deeds.push(Deed::Update(set.iter().map(|(at, _)| *at).collect()));
                    set
                }
                MergeAction::Delete { .. } => {
                    deeds.push(Deed::Delete);
                    Vec::new()
                }
                MergeAction::Insert(insert) => {
                    deeds.push(Deed::Insert);
                    self.merge_insert(insert, source.as_ref())?
                }
            };
            for (at, value) in set {
                values[at].push((number, value));
            }
        }
        let columns: Vec<usize> = (0..count).filter(|at| !values[*at].is_empty()).collect();
        let which: Vec<(Expr, Expr)> = conditions
            .iter()
            .map(|(condition, deed)| (condition.clone(), deed.map_or_else(no_number, number)))
            .collect();
        let deed = case(which, None);
        let set = columns.iter().map(|at| {
            let branches = conditions
                .iter()
                .enumerate()
                .map(|(number, (condition, _))| {
                    let value = values[*at].iter().find(|(clause, _)| *clause == number);
                    let value = value.map_or_else(
                        || assigned(null(), self.target.column(*at)),
                        |(_, value)| value.clone(),
                    );
                    (condition.clone(), value)
                });
            (*at, case(branches.collect(), None))
        });
        let set: Vec<_> = set.collect();
        let inserts = deeds.contains(&Deed::Insert);
        let from = self.joined(merge.source.clone(), merge.on.as_ref().clone(), inserts)?;
        let query = self.query(deed, set, from, None, &[])?;
        Ok(ChangeQuery {
            query,
            deeds,
            columns,
        })
    }

    fn merge_insert(
        &mut self,
        insert: &ast::MergeInsertExpr,
        source: Option<&Ident>,
    ) -> Result<Vec<(usize, Expr)>> {
        let count = self.target.shape.definition.columns.len();
        let MergeInsertKind::Values(rows) = &insert.kind else {
            return Err(unsupported("INSERT ROW"));
        };
        let mut given = rows
            .rows
            .first()
            .map(|row| row.content.clone())
            .unwrap_or_default();
        for value in given.iter_mut().filter(|value| !is_default(value)) {
            self.only_of(source, value)?;
        }
        let idents = insert.columns.iter();
        let idents = idents.map(|name| self.target.assignee(name, self.sql));
        let idents = idents.collect::<Result<Vec<Ident>>>()?;
        let places = match idents.is_empty() {
            true => (0..count).take(given.len()).collect(),
            false => self.target.places(&idents, self.sql)?,
        };
        check_width(given.len(), places.len())?;
        let mut set = Vec::with_capacity(count);
        for at in 0..count {
            let given = places
                .iter()
                .position(|place| *place == at)
                .map(|n| given[n].clone());
            let value = match given {
                Some(value) => {
                    if !is_default(&value) {
                        check_given(self.target.column(at), Overriding::Nothing)?;
                    }
                    value
                }
                None => default_of(self.target.column(at))?,
            };
            set.push((at, self.value(at, value)?));
        }
        Ok(set)
    }

    /// `INSERT … ON CONFLICT`: `excluded` are the rows that were given, `keys` those that they are compared by. Without
    /// assignments, rows that are there stay.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub fn upsert(
        mut self,
        excluded: &ObjectName,
        keys: &[Key],
        update: Option<&ast::DoUpdate>,
    ) -> Result<ChangeQuery> {
        let set = match update {
            Some(update) => self.assignments(&update.assignments)?,
            None => Vec::new(),
        };
        let new = self.placed(false);
        let columns: Vec<usize> = (0..self.target.shape.definition.columns.len()).collect();
        let values = columns.iter().map(|at| {
            let given = column_of("excluded", &self.target.column(*at).name);
            let there = set.iter().find(|(place, _)| place == at);
            let there = there.map_or_else(
                || assigned(null(), self.target.column(*at)),
                |(_, value)| value.clone(),
            );
            (*at, case(vec![(new.clone(), given)], Some(there)))
        });
        let values: Vec<_> = values.collect();
        let mut keys = keys.iter();
        let on = keys.next().and_then(|key| self.same_key(key, &self.alias));
        let on = on.unwrap_or_else(|| number(1));
        let mut parsed = query(&format!("SELECT 1 FROM {excluded} AS excluded"))?;
        let source = select(&mut parsed)?.from.pop();
        let source = source.ok_or_else(|| unsupported("rows without a name"))?;
        let mut from = self.joined(source.relation, on, true)?;
        let mut selection = match update {
            None => Some(new.clone()),
            Some(update) => update
                .selection
                .clone()
                .map(|condition| either(new.clone(), nested(condition))),
        };
        // Rows that are to be left out by further keys are looked for once more.
        for (number, key) in keys.enumerate() {
            let alias = format!("\u{1f}other{number}");
            let other = Building {
                target: self.target,
                relation: self.relation.clone(),
                alias: alias.clone(),
                sql: self.sql,
                types: &mut *self.types,
            };
            let Some(on) = other.same_key(key, &alias) else {
                continue;
            };
            let further = other.joined(other.factor()?, on, true)?;
            if let (Some(first), Some(further)) = (from.first_mut(), further.into_iter().next()) {
                first.joins.extend(further.joins);
            }
            let absent = Expr::IsNull(Box::new(column_of(&alias, FILE)));
            selection = Some(match selection {
                Some(selection) => both(selection, absent),
                None => absent,
            });
        }
        let deed = case(vec![(new, number(1))], Some(number(0)));
        let query = self.query(deed, values, from, selection, &[])?;
        let set = set.into_iter().map(|(at, _)| at).collect();
        Ok(ChangeQuery {
            query,
            deeds: vec![Deed::Update(set), Deed::Insert],
            columns,
        })
    }

    /// Whether a given row has the same key as one of the table, which goes by a name of its own.
    fn same_key(&self, key: &Key, alias: &str) -> Option<Expr> {
        let columns = key.columns.iter().map(|at| {
            let name = &self.target.column(*at).name;
            let (known, given) = (column_of(alias, name), column_of("excluded", name));
            match key.nulls_same {
                true => Expr::IsNotDistinctFrom(Box::new(known), Box::new(given)),
                false => equal(known, given),
            }
        });
        columns.reduce(both)
    }

    /// What is said of rows that aren't in the table is said of the source's columns: the table's aren't seen there.
    ///
    /// # Errors
    /// 42P01 for a column of the table.
    fn only_of(&self, source: Option<&Ident>, expression: &mut Expr) -> Result<()> {
        let mut only = OnlyOf {
            source,
            table: &self.alias,
            depth: 0,
            words: Vec::new(),
        };
        match expression.visit(&mut only) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(column) => {
                let start = column.span.start;
                let name = &self.alias;
                Err(Error::Query {
                    fault: Fault::UndefinedTable,
                    message: format!("invalid reference to FROM-clause entry for table \"{name}\""),
                    position: character_position(self.sql, start.line, start.column),
                })
            }
        }
    }

    /// Whether a row is in the table.
    fn placed(&self, there: bool) -> Expr {
        let place = Box::new(column_of(&self.alias, FILE));
        match there {
            true => Expr::IsNotNull(place),
            false => Expr::IsNull(place),
        }
    }
}

/// `crm.deals.amount` is `deals.amount`.
pub fn shorten(written: &mut impl VisitMut, target: &Target, alias: &str) {
    struct Shorten<'a>(&'a Target, &'a str);
    impl VisitorMut for Shorten<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expression
                && let [.., schema, table, column] = parts.as_slice()
                && folded(schema) == self.0.shape.definition.schema
                && folded(table) == self.0.name()
                && self.1 == self.0.name()
            {
                *expression = Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
            }
            ControlFlow::Continue(())
        }
    }
    let _ = written.visit(&mut Shorten(target, alias));
}

/// Columns without a relation are the source's; one of the table ends it.
struct OnlyOf<'a> {
    source: Option<&'a Ident>,
    /// What the statement calls the table.
    table: &'a str,
    /// How many queries are around it: they have relations of their own.
    depth: usize,
    /// What stands where a column may, and is the name of an argument or a field.
    words: Vec<Ident>,
}

impl OnlyOf<'_> {
    /// Whether a word stands for a column that may be another relation's.
    fn is_column(&self, ident: &Ident, source: &Ident) -> bool {
        const VALUES: [&str; 4] = [
            "current_schema",
            "current_catalog",
            "current_role",
            "localtime",
        ];
        let name = folded(ident);
        let is_value = ident.quote_style.is_none() && VALUES.contains(&name.as_str());
        let is_word = self.words.iter().any(|word| word.span == ident.span);
        // The source itself is a row, or the only column of a function.
        !is_value && !is_word && name != folded(source)
    }
}

impl VisitorMut for OnlyOf<'_> {
    type Break = Ident;

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Ident> {
        match expression {
            Expr::Function(call) => {
                if let ast::FunctionArguments::List(list) = &call.args {
                    let names = list.args.iter().filter_map(|argument| match argument {
                        ast::FunctionArg::ExprNamed {
                            name: Expr::Identifier(name),
                            ..
                        } => Some(name.clone()),
                        _ => None,
                    });
                    self.words.extend(names);
                }
            }
            Expr::CompoundFieldAccess { access_chain, .. } => {
                let fields = access_chain.iter().filter_map(|step| match step {
                    ast::AccessExpr::Dot(Expr::Identifier(field)) => Some(field.clone()),
                    _ => None,
                });
                self.words.extend(fields);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Ident> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Ident> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Ident> {
        if self.depth > 0 {
            return ControlFlow::Continue(());
        }
        match (&*expression, self.source) {
            (Expr::CompoundIdentifier(parts), _) => match parts.as_slice() {
                [.., table, _] if folded(table) == self.table => {
                    return ControlFlow::Break(table.clone());
                }
                _ => {}
            },
            (Expr::Identifier(column), Some(source)) if self.is_column(column, source) => {
                let parts = vec![source.clone(), column.clone()];
                *expression = Expr::CompoundIdentifier(parts);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// What a statement calls the tables behind `FROM` or `USING`.
fn names_of(tables: &[TableWithJoins]) -> Vec<Ident> {
    let mut names = Vec::new();
    for table in tables {
        let joined = table.joins.iter().map(|join| &join.relation);
        for factor in std::iter::once(&table.relation).chain(joined) {
            match factor {
                TableFactor::NestedJoin {
                    table_with_joins,
                    alias: None,
                } => names.extend(names_of(std::slice::from_ref(table_with_joins.as_ref()))),
                factor => names.extend(name_of(factor)),
            }
        }
    }
    names
}

fn name_of(factor: &TableFactor) -> Option<Ident> {
    let (alias, name): (&Option<TableAlias>, Option<Ident>) = match factor {
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => (
            alias,
            name.0.last().and_then(|part| part.as_ident()).cloned(),
        ),
        TableFactor::UNNEST { alias, .. } => (alias, Some(Ident::new("unnest"))),
        TableFactor::Derived { alias, .. } | TableFactor::NestedJoin { alias, .. } => (alias, None),
        _ => return None,
    };
    alias.as_ref().map(|alias| alias.name.clone()).or(name)
}

/// The values of a row that is assigned to several columns.
///
/// # Errors
/// 42601 for more or fewer than there are columns, 0A000 for what is no row.
fn row_values(count: usize, row: &Expr) -> Result<Vec<Expr>> {
    let mismatch = || Error::Syntax {
        message: "number of columns does not match number of values".to_owned(),
        position: None,
    };
    let values = match row {
        Expr::Tuple(values) => values.clone(),
        Expr::Function(call) if is_row(call) => arguments(call),
        Expr::Subquery(subquery) => {
            let given = width(&subquery.body);
            return match given.is_none_or(|given| given == count) {
                true => columns_of_row(count, subquery),
                false => Err(mismatch()),
            };
        }
        _ => {
            return Err(Error::Unsupported {
                message: "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression"
                    .to_owned(),
                hint: None,
            });
        }
    };
    match values.len() == count {
        true => Ok(values),
        false => Err(mismatch()),
    }
}

fn is_row(call: &ast::Function) -> bool {
    matches!(call.name.0.as_slice(), [name]
        if name.as_ident().is_some_and(|name| name.quote_style.is_none() && name.value.eq_ignore_ascii_case("row")))
}

fn arguments(call: &ast::Function) -> Vec<Expr> {
    let ast::FunctionArguments::List(list) = &call.args else {
        return Vec::new();
    };
    let values = list.args.iter().filter_map(|argument| match argument {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => Some(value.clone()),
        _ => None,
    });
    values.collect()
}

/// How many columns a query has; nothing where a `*` says it.
fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let is_one = |item: &SelectItem| {
                matches!(
                    item,
                    SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
                )
            };
            let all = select.projection.iter().all(is_one);
            all.then_some(select.projection.len())
        }
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Query(query) => width(&query.body),
        SetExpr::SetOperation { left, .. } => width(left),
        _ => None,
    }
}

/// Each column of a query with one row.
fn columns_of_row(count: usize, row: &Query) -> Result<Vec<Expr>> {
    let names: Vec<String> = (0..count).map(|at| format!("\u{1f}{at}")).collect();
    let columns = names.iter().map(|name| {
        let mut built = query("SELECT 1 FROM (SELECT 1) AS given")?;
        let outer = select(&mut built)?;
        outer.projection = vec![SelectItem::UnnamedExpr(Expr::Identifier(
            Ident::with_quote('"', name),
        ))];
        if let Some(from) = outer.from.first_mut()
            && let TableFactor::Derived {
                subquery, alias, ..
            } = &mut from.relation
        {
            **subquery = row.clone();
            *alias = Some(alias_with(&names));
        }
        Ok(Expr::Subquery(Box::new(built)))
    });
    columns.collect()
}

/// Refuses a clause behind one that all of its rows are for.
///
/// # Errors
/// 42601.
fn check_reached(clauses: &[ast::MergeClause]) -> Result<()> {
    let is_matched = |clause: &ast::MergeClause| clause.clause_kind == MergeClauseKind::Matched;
    for (at, clause) in clauses.iter().enumerate() {
        let before = clauses.iter().take(at);
        let mut before = before.filter(|other| is_matched(other) == is_matched(clause));
        if before.any(|other| other.predicate.is_none()) {
            return Err(Error::Syntax {
                message: "unreachable WHEN clause specified after unconditional WHEN clause"
                    .to_owned(),
                position: None,
            });
        }
    }
    Ok(())
}

/// Refuses values that are more or fewer than their columns.
///
/// # Errors
/// 42601.
pub fn check_width(values: usize, columns: usize) -> Result<()> {
    let message = match values.cmp(&columns) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => "INSERT has more expressions than target columns",
        std::cmp::Ordering::Less => "INSERT has more target columns than expressions",
    };
    Err(Error::Syntax {
        message: message.to_owned(),
        position: None,
    })
}

/// Refuses a value for a column that always has its own.
///
/// # Errors
/// 428C9.
pub fn check_given(column: &ColumnDefinition, overriding: Overriding) -> Result<()> {
    let always = column.identity == Some(IdentityKind::Always);
    let name = &column.name;
    let refused = ChangeFault::Other("428C9").error(format!(
        "cannot insert a non-DEFAULT value into column \"{name}\""
    ));
    if column.generated.is_some() {
        return Err(refused
            .detail(format!("Column \"{name}\" is a generated column."))
            .into());
    }
    match always && overriding == Overriding::Nothing {
        true => Err(refused
            .detail(format!(
                "Column \"{name}\" is an identity column defined as GENERATED ALWAYS."
            ))
            .hint("Use OVERRIDING SYSTEM VALUE to override.")
            .into()),
        false => Ok(()),
    }
}

/// Refuses to set a column that always has its own value to another one.
fn check_set(column: &ColumnDefinition, value: &Expr) -> Result<()> {
    let name = &column.name;
    let detail = match (&column.generated, column.identity) {
        _ if is_default(value) => return Ok(()),
        (Some(_), _) => format!("Column \"{name}\" is a generated column."),
        (_, Some(IdentityKind::Always)) => {
            format!("Column \"{name}\" is an identity column defined as GENERATED ALWAYS.")
        }
        _ => return Ok(()),
    };
    Err(ChangeFault::Other("428C9")
        .error(format!("column \"{name}\" can only be updated to DEFAULT"))
        .detail(detail)
        .into())
}

/// Whether a value is the word DEFAULT.
pub fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

fn plain(relation: TableFactor) -> TableWithJoins {
    TableWithJoins {
        relation,
        joins: Vec::new(),
    }
}

fn number(number: usize) -> Expr {
    integer(Expr::Value(
        ast::Value::Number(number.to_string(), false).into(),
    ))
}

/// The number of no deed.
fn no_number() -> Expr {
    integer(null())
}

fn integer(value: Expr) -> Expr {
    Expr::Cast {
        kind: ast::CastKind::Cast,
        expr: Box::new(value),
        data_type: ast::DataType::Integer(None),
        array: false,
        format: None,
    }
}

fn null() -> Expr {
    Expr::Value(ast::Value::Null.into())
}

fn nested(expression: Expr) -> Expr {
    Expr::Nested(Box::new(expression))
}

fn operator(left: Expr, op: ast::BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn both(left: Expr, right: Expr) -> Expr {
    operator(left, ast::BinaryOperator::And, right)
}

fn either(left: Expr, right: Expr) -> Expr {
    operator(left, ast::BinaryOperator::Or, right)
}

fn equal(left: Expr, right: Expr) -> Expr {
    operator(left, ast::BinaryOperator::Eq, right)
}

fn case(branches: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let conditions = branches
        .into_iter()
        .map(|(condition, result)| ast::CaseWhen { condition, result });
    Expr::Case {
        case_token: ast::helpers::attached_token::AttachedToken::empty(),
        end_token: ast::helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: conditions.collect(),
        else_result: otherwise.map(Box::new),
    }
}

pub(super) fn unsupported(what: &str) -> Error {
    Error::Unsupported {
        message: format!("{what} is not supported"),
        hint: None,
    }
}
