//! Statements that make and change durable tables.
//!
//! Each one is a change of files (see [`crate::tables`]): alone it is committed when it is done, in a transaction block
//! with the block. A change of rows is first a query for them ([`change`]), then files ([`apply`]).

mod alter;
mod apply;
mod block;
mod change;
mod constraints;
mod create;
mod dependents;
mod indexes;
mod insert;
mod literals;
mod local;
mod maintain;
mod names;
mod refused;
mod returning;
mod retype;
mod rules;
mod target;
mod temporary;
mod together;
mod travel;

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue, TableReference};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast::{self, Ident, ObjectName, SelectItem, TableFactor};
use datafusion_funnel::definition::text::folded;

use super::outcome::{Described, Outcome, Prepared};
use super::parameters::ParameterTypes;
use super::session::Session;
use super::{output, parameters};
use crate::catalog::access::Privilege;
use crate::catalog::plan_expression;
use crate::error::{Error, Result};
use crate::sql::{Statement, StatementKind, changing_query, does_nothing};
use crate::tables::DurableTable;
use apply::{Changes, Deed};
use change::{Building, ChangeQuery, unsupported};
pub(super) use local::Local;
use returning::{Others, Returned};
pub(super) use target::{Target, query, select};

pub(super) use literals::read_texts;
pub(super) use names::object_name;
pub(super) use target::{assigned, default_of, durable_table, expression, named, parts};

/// A statement that changes rows of a durable table.
pub(super) struct RowChange<'a> {
    /// What it says.
    kind: &'a ast::Statement,
    /// The queries that it names.
    with: Option<&'a ast::With>,
    target: Target,
    /// What the parts of the statement that ran before it have returned.
    local: Local,
}

/// What became of a change.
struct Changed {
    /// The beginning of its command's tag.
    verb: &'static str,
    count: u64,
    returned: Returned,
    /// The other tables that it returns columns of.
    others: Option<Others>,
}

/// Whether a statement makes, changes or drops a table, or empties it: there is nothing to describe of it.
pub(super) fn defines(statement: &EngineStatement) -> bool {
    create::created(statement).is_some()
        || matches!(statement, EngineStatement::Statement(inner) if matches!(
            inner.as_ref(),
            ast::Statement::AlterTable(_) | ast::Statement::Truncate(_) | ast::Statement::Drop {
                object_type: ast::ObjectType::Table | ast::ObjectType::View,
                ..
            }
        ))
}

/// The change inside of a statement, and its WITH.
fn change_of(statement: &ast::Statement) -> Option<(&ast::Statement, Option<&ast::With>)> {
    use ast::Statement as S;
    match statement {
        S::Insert(_) | S::Update(_) | S::Delete(_) | S::Merge(_) => Some((statement, None)),
        S::Query(query) => match query.body.as_ref() {
            ast::SetExpr::Insert(inner)
            | ast::SetExpr::Update(inner)
            | ast::SetExpr::Delete(inner)
            | ast::SetExpr::Merge(inner) => Some((inner, query.with.as_ref())),
            _ => None,
        },
        _ => None,
    }
}

/// What a change is of, and what the statement calls it.
fn changed_relation(change: &ast::Statement) -> Option<(&ObjectName, Option<&Ident>)> {
    match change {
        ast::Statement::Insert(insert) => match &insert.table {
            ast::TableObject::TableName(name) => {
                Some((name, insert.table_alias.as_ref().map(|alias| &alias.alias)))
            }
            _ => None,
        },
        ast::Statement::Update(update) => named_table(&update.table.relation),
        ast::Statement::Delete(delete) => match &delete.from {
            ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from) => {
                named_table(&from.first()?.relation)
            }
        },
        ast::Statement::Merge(merge) => named_table(&merge.table),
        _ => None,
    }
}

fn named_table(factor: &TableFactor) -> Option<(&ObjectName, Option<&Ident>)> {
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => Some((name, alias.as_ref().map(|alias| &alias.name))),
        _ => None,
    }
}

fn returning_of(change: &ast::Statement) -> Option<&Vec<SelectItem>> {
    match change {
        ast::Statement::Insert(insert) => insert.returning.as_ref(),
        ast::Statement::Update(update) => update.returning.as_ref(),
        ast::Statement::Delete(delete) => delete.returning.as_ref(),
        _ => None,
    }
}

/// That a row would be hidden from whoever writes it.
pub(super) fn policy_violation(table: &str) -> Error {
    Error::Denied {
        message: format!("new row violates row-level security policy for table \"{table}\""),
        hint: "Policies and masks are for reading: a superuser adds rows to such a table."
            .to_owned(),
    }
}

/// That a mask would be kept in the place of the value that it hides.
fn mask_written_back(column: &str) -> Error {
    Error::Denied {
        message: format!(
            "column \"{column}\" is masked, and what is seen of it can't be written back"
        ),
        hint: "Set it to a value that isn't made of masked columns.".to_owned(),
    }
}

/// Whether an expression names any of these columns, also in a query inside of it.
fn names_any(expression: &ast::Expr, columns: &[&str]) -> bool {
    let is_one = |ident: Option<&Ident>| {
        ident.is_some_and(|ident| columns.contains(&folded(ident).as_str()))
    };
    let found = ast::visit_expressions(expression, |part| {
        let named = match part {
            ast::Expr::Identifier(ident) => is_one(Some(ident)),
            ast::Expr::CompoundIdentifier(parts) => is_one(parts.last()),
            _ => false,
        };
        match named {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

impl Session {
    /// The change of a durable table that a statement is; nothing for any other statement.
    ///
    /// # Errors
    /// 42P01 for a table that there isn't.
    pub(super) fn row_change<'a>(
        &self,
        statement: &'a EngineStatement,
    ) -> Result<Option<RowChange<'a>>> {
        let EngineStatement::Statement(inner) = statement else {
            return Ok(None);
        };
        let Some((kind, with)) = change_of(inner) else {
            return Ok(None);
        };
        let Some((name, _)) = changed_relation(kind) else {
            return Ok(None);
        };
        let found = self.target(name)?;
        Ok(found.map(|target| RowChange {
            kind,
            with,
            target,
            local: Local::default(),
        }))
    }

    /// Runs a statement that makes or changes durable tables; nothing for any other statement.
    ///
    /// # Errors
    /// The statement's.
    pub(super) async fn run_on_tables(
        &self,
        statement: &Statement,
        engine_statement: &EngineStatement,
        values: &[ScalarValue],
    ) -> Result<Option<Outcome>> {
        if let Some(create) = create::created(engine_statement) {
            if create.name.0.len() > 1
                && parts(&create.name).iter().rev().nth(1).map(String::as_str)
                    == Some(self.identity.temporary_schema())
            {
                return Ok(None);
            }
            let made = Box::pin(self.create_table(statement, create, values)).await?;
            return Ok(Some(made));
        }
        if let EngineStatement::Statement(inner) = engine_statement
            && let Some(whole) = changing_query(inner)
        {
            let done = Box::pin(self.run_together(statement, whole, values)).await?;
            return Ok(Some(done));
        }
        if let EngineStatement::Statement(inner) = engine_statement
            && let Some(done) = Box::pin(self.run_computed_once(statement, inner, values)).await?
        {
            return Ok(Some(done));
        }
        if let EngineStatement::Statement(inner) = engine_statement
            && let ast::Statement::Truncate(truncate) = inner.as_ref()
        {
            return Box::pin(self.truncate(truncate)).await;
        }
        if let EngineStatement::Statement(inner) = engine_statement
            && let ast::Statement::AlterTable(alter) = inner.as_ref()
        {
            return Box::pin(self.alter_table(statement, alter)).await;
        }
        self.drop_dependents(engine_statement).await?;
        if let EngineStatement::Statement(inner) = engine_statement
            && let ast::Statement::Drop {
                object_type: ast::ObjectType::Table | ast::ObjectType::View,
                names,
                ..
            } = inner.as_ref()
            && names.len() > 1
        {
            return self.drop_several(statement, inner).await.map(Some);
        }
        match self.row_change(engine_statement)? {
            Some(change) => {
                let done = Box::pin(self.change_rows(statement, &change, values)).await?;
                Ok(Some(done))
            }
            None => Box::pin(self.change_temporary(engine_statement, values)).await,
        }
    }

    /// Drops one relation after the other, once it is known that all of them are there.
    async fn drop_several(&self, statement: &Statement, drop: &ast::Statement) -> Result<Outcome> {
        let ast::Statement::Drop {
            names, if_exists, ..
        } = drop
        else {
            return Err(unsupported("this DROP"));
        };
        for name in names.iter().filter(|_| !if_exists) {
            self.relation(&parts(name))?;
        }
        let mut outcome = Outcome::done("DROP");
        for name in names {
            let mut single = drop.clone();
            if let ast::Statement::Drop { names, .. } = &mut single {
                *names = vec![name.clone()];
            }
            let kind =
                StatementKind::Engine(Box::new(EngineStatement::Statement(Box::new(single))));
            let single = Statement {
                kind,
                ..statement.clone()
            };
            let notices = match outcome {
                Outcome::Done { notices, .. } | Outcome::Rows { notices, .. } => notices,
            };
            outcome = Box::pin(self.execute_statement(single))
                .await?
                .with(notices);
        }
        Ok(outcome)
    }

    /// Takes all rows out of tables; nothing where one of them is neither durable nor the session's own.
    async fn truncate(&self, truncate: &ast::Truncate) -> Result<Option<Outcome>> {
        let mut targets: Vec<Target> = Vec::new();
        let mut temporary = Vec::new();
        for table in &truncate.table_names {
            match self.target(&table.name)? {
                // One that is named twice is emptied once.
                Some(target)
                    if targets
                        .iter()
                        .any(|known| known.table.id() == target.table.id()) => {}
                Some(target) => targets.push(target),
                None => temporary.push(&table.name),
            }
        }
        for target in &targets {
            target.guarded.check_change(Privilege::Truncate, &[])?;
            let restriction = target.guarded.restriction_of(&self.current_user());
            if restriction.rows.is_some() {
                return Err(policy_violation(target.name()));
            }
        }
        for name in temporary {
            if !self.empty_temporary(name).await? {
                return Ok(None);
            }
        }
        let all: Vec<&Target> = targets.iter().collect();
        let together = match all.len() > 1 {
            true => Some(self.begin_together(&all).await?),
            false => None,
        };
        for target in &targets {
            let (base, writing) = self.begin_change(target).await?;
            let removed = base.files.clone();
            self.end_change(target, base, writing, removed, Vec::new())
                .await?;
        }
        if let Some(together) = together {
            together.end().await?;
        }
        if truncate.identity == Some(ast::TruncateIdentityOption::Restart) {
            for target in &targets {
                self.restart_sequences(&target.table)?;
            }
        }
        Ok(Some(Outcome::done("TRUNCATE TABLE")))
    }

    /// Runs a change of rows.
    pub(super) async fn change_rows(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        let done = Box::pin(self.change_rows_of(statement, change, values)).await;
        self.without_hidden(&change.target, done)
    }

    /// What is hidden from whoever changes a row isn't told by why it can't be changed.
    fn without_hidden<T>(&self, target: &Target, done: Result<T>) -> Result<T> {
        let sees = target.guarded.shows_rows_to(&self.current_user());
        match done {
            Err(Error::Change(mut error)) if !sees => {
                error.detail = None;
                Err(Error::Change(error))
            }
            done => done,
        }
    }

    async fn change_rows_of(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        let done = self.make_change(statement, change, values).await?;
        let (verb, count) = (done.verb, done.count);
        match returning_of(change.kind) {
            None => Ok(Outcome::done(format!("{verb} {count}"))),
            Some(items) => {
                let others = done.others.as_ref();
                let (query, local) = self.returning(change, items, others, done.returned)?;
                let tag = match verb {
                    "INSERT 0" => "INSERT",
                    "UPDATE" => "UPDATE",
                    _ => "DELETE",
                };
                let reference = change.target.reference();
                let rows_of = others.is_none().then_some(&reference);
                self.rows_of_query(statement, query, &local, values, (tag, rows_of))
                    .await
            }
        }
    }

    /// Changes rows.
    async fn make_change(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        values: &[ScalarValue],
    ) -> Result<Changed> {
        self.check_functions(change.kind)?;
        self.check_written(statement, change)?;
        let target = &change.target;
        self.check_change(change)?;
        let others = self.others(statement, change, Some(values)).await?;
        // What can't be returned is found before anything is changed.
        if let Some(items) = returning_of(change.kind) {
            let returned = Returned::default();
            let (query, local) = self.returning(change, items, others.as_ref(), returned)?;
            let plan = self
                .plan_of_query(statement, query, &local, Some(values))
                .await?;
            self.physical(plan, &statement.sql).await?;
        }
        if let ast::Statement::Insert(insert) = change.kind {
            let done = self.insert_rows(statement, insert, change, values).await?;
            return Ok(Changed {
                verb: "INSERT 0",
                count: done.count,
                returned: Returned {
                    rows: done.returned,
                    beside: Vec::new(),
                },
                others: None,
            });
        }
        let verb = match change.kind {
            ast::Statement::Update(_) => "UPDATE",
            ast::Statement::Delete(_) => "DELETE",
            _ => "MERGE",
        };
        let returning = returning_of(change.kind).is_some();
        let (base, writing) = self.begin_change(target).await?;
        let built = self.change_query(statement, change, &base)?;
        let once = verb == "MERGE";
        let beside = others.as_ref().map(|others| Arc::clone(&others.schema));
        let how = (once, returning, beside);
        let done = self
            .run_change(statement, target, &base, built, values, how)
            .await?;
        self.end_change(target, base, writing, done.removed, done.added)
            .await?;
        Ok(Changed {
            verb,
            count: done.count,
            returned: Returned {
                rows: done.returned,
                beside: done.others,
            },
            others,
        })
    }

    /// Refuses a change that the session's role may not make.
    fn check_change(&self, change: &RowChange<'_>) -> Result<()> {
        let target = &change.target;
        let guarded = &target.guarded;
        let set = |assignments: &[ast::Assignment]| -> Vec<String> {
            let names = assignments
                .iter()
                .flat_map(|assignment| match &assignment.target {
                    ast::AssignmentTarget::ColumnName(name) => vec![name],
                    ast::AssignmentTarget::Tuple(names) => names.iter().collect(),
                });
            names
                .filter_map(|name| name.0.last()?.as_ident().map(folded))
                .collect()
        };
        let check = |privilege, columns: &[String]| {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            guarded.check_change(privilege, &columns)
        };
        let restriction = guarded.restriction_of(&self.current_user());
        let masked: Vec<&str> = restriction
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let check_set = |assignments: &[ast::Assignment]| {
            check(Privilege::Update, &set(assignments))?;
            for assignment in assignments {
                let columns = set(std::slice::from_ref(assignment));
                let column = columns
                    .iter()
                    .find(|column| masked.contains(&column.as_str()));
                if let Some(column) = column
                    && names_any(&assignment.value, &masked)
                {
                    return Err(mask_written_back(column));
                }
            }
            Ok(())
        };
        match change.kind {
            ast::Statement::Insert(insert) => {
                let columns: Vec<String> = insert
                    .columns
                    .iter()
                    .filter_map(|name| name.0.last()?.as_ident().map(folded))
                    .collect();
                check(Privilege::Insert, &columns)?;
                if let Some(ast::OnInsert::OnConflict(conflict)) = &insert.on
                    && let ast::OnConflictAction::DoUpdate(update) = &conflict.action
                {
                    check_set(&update.assignments)?;
                }
                if !restriction.is_none() {
                    return Err(policy_violation(target.name()));
                }
            }
            ast::Statement::Update(update) => check_set(&update.assignments)?,
            ast::Statement::Delete(_) => check(Privilege::Delete, &[])?,
            ast::Statement::Merge(merge) => {
                for clause in &merge.clauses {
                    if does_nothing(&clause.action) {
                        continue;
                    }
                    match &clause.action {
                        ast::MergeAction::Insert(_) => {
                            check(Privilege::Insert, &[])?;
                            if !restriction.is_none() {
                                return Err(policy_violation(target.name()));
                            }
                        }
                        ast::MergeAction::Update(update) => check_set(&update.assignments)?,
                        ast::MergeAction::Delete { .. } => check(Privilege::Delete, &[])?,
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a change's query is, over the rows of a version.
    fn change_query(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        base: &Arc<crate::tables::Version>,
    ) -> Result<(ChangeQuery, Local, ParameterTypes)> {
        let target = &change.target;
        let mut local = change.local.clone();
        let mut types = ParameterTypes::new();
        let rows = DurableTable::new(self.engine.tables(), &target.table)
            .shaped(Arc::clone(&target.shape))
            .at(Arc::clone(base))
            .with_places();
        let relation = local.add("target", Arc::new(target.guarded.over(Arc::new(rows))))?;
        let alias = match changed_relation(change.kind) {
            Some((_, Some(alias))) => folded(alias),
            _ => target.name().to_owned(),
        };
        let building = Building {
            target,
            relation,
            alias,
            sql: &statement.sql,
            types: &mut types,
        };
        let mut built = match change.kind {
            ast::Statement::Update(update) => building.update(update)?,
            ast::Statement::Delete(delete) => building.delete(delete)?,
            ast::Statement::Merge(merge) => building.merge(merge)?,
            _ => return Err(unsupported("this change")),
        };
        built.query.with = change.with.cloned();
        Ok((built, local, types))
    }

    /// Runs a change's query, and writes its rows into files.
    async fn run_change(
        &self,
        statement: &Statement,
        target: &Target,
        base: &Arc<crate::tables::Version>,
        (built, local, _): (ChangeQuery, Local, ParameterTypes),
        values: &[ScalarValue],
        (once, returning, others): (bool, bool, Option<SchemaRef>),
    ) -> Result<apply::Applied> {
        let keys = target.shape.keys();
        let moves_keys = |deed: &Deed| match deed {
            // A row that `ON CONFLICT` adds has been compared by the only key.
            Deed::Insert => once || keys.len() > 1,
            Deed::Update(set) => keys.iter().flat_map(|key| &key.columns).any(|at| {
                // What is computed changes with any other column.
                set.contains(at) || target.column(*at).generated.is_some()
            }),
            Deed::Delete => false,
        };
        // Rows that an earlier part of the statement has added aren't among those that this one compared itself with.
        let now = self.written(&target.table);
        let now = now.unwrap_or_else(|| Arc::clone(base));
        let check_keys = !Arc::ptr_eq(&now, base) || built.deeds.iter().any(moves_keys);
        let changes = Changes {
            deeds: built.deeds,
            columns: built.columns,
            once,
            check: self.policy_check(target)?,
            returning,
            others,
        };
        let plan = self
            .plan_of_query(statement, built.query, &local, Some(values))
            .await?;
        if let [Deed::Update(_)] = changes.deeds.as_slice()
            && !once
        {
            refused::check_set_values(target, &changes.columns, &plan)?;
        }
        let stream = self.stream(plan, &statement.sql).await?;
        let applied = self.apply(target, base, stream, &changes).await?;
        // Rows that an earlier part of the statement has written anew are refused when the change ends; where they are now, their keys
        // are there twice.
        let there = now.paths();
        let is_there = applied
            .removed
            .iter()
            .all(|file| there.contains(file.path()));
        if check_keys && is_there && !applied.added.is_empty() {
            let removed: std::collections::HashSet<&str> =
                applied.removed.iter().map(|file| file.path()).collect();
            let rest = now
                .files
                .iter()
                .filter(|file| !removed.contains(file.path()));
            let new = crate::tables::NewRows::Files(applied.added.clone());
            let rest: Vec<_> = rest.map(Arc::clone).collect();
            self.check_keys(target, &new, &rest).await?;
        }
        Ok(applied)
    }

    /// What a changed row has to fulfil: the condition of the policies that are for whoever changes it.
    fn policy_check(&self, target: &Target) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let restriction = target.guarded.restriction_of(&self.current_user());
        let Some(condition) = &restriction.rows else {
            return Ok(None);
        };
        let state = self.context.state();
        let expr = plan_expression(&state, &target.shape.schema, condition)?;
        let schema = DFSchema::try_from(target.shape.schema.as_ref().clone())?;
        Ok(Some(state.create_physical_expr(expr, &schema)?))
    }

    /// Plans a query of a statement's own.
    pub(super) async fn plan_of_query(
        &self,
        statement: &Statement,
        query: ast::Query,
        local: &Local,
        values: Option<&[ScalarValue]>,
    ) -> Result<LogicalPlan> {
        let query = ast::Statement::Query(Box::new(query));
        let engine_statement = EngineStatement::Statement(Box::new(query));
        let planned = self
            .plan_with(statement, &engine_statement, values, local)
            .await?;
        match values {
            Some(values) => Ok(parameters::bound(planned.plan, values, &self.locale())?),
            None => Ok(planned.plan),
        }
    }

    pub(super) async fn stream_of_query(
        &self,
        statement: &Statement,
        query: ast::Query,
        local: &Local,
        values: &[ScalarValue],
    ) -> Result<SendableRecordBatchStream> {
        let plan = self
            .plan_of_query(statement, query, local, Some(values))
            .await?;
        self.stream(plan, &statement.sql).await
    }

    async fn rows_of_query(
        &self,
        statement: &Statement,
        query: ast::Query,
        local: &Local,
        values: &[ScalarValue],
        (tag, rows_of): (&'static str, Option<&TableReference>),
    ) -> Result<Outcome> {
        let plan = self
            .plan_of_query(statement, query, local, Some(values))
            .await?;
        let marked = self.result_schema(&plan, plan.schema().as_arrow(), rows_of);
        let stream = self.stream(plan, &statement.sql).await?;
        Ok(Outcome::Rows {
            tag,
            stream: output::in_zone(output::with_marks(stream, &marked), &self.zone()),
            notices: Vec::new(),
        })
    }

    /// Plans the query that a change is, and finds the types of parameters that are assigned to columns.
    async fn plan_change(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
    ) -> Result<(Option<LogicalPlan>, ParameterTypes)> {
        self.check_written(statement, change)?;
        let base = self.engine.tables().current(&change.target.table);
        match change.kind {
            ast::Statement::Insert(insert) => self.plan_insert(statement, insert, change).await,
            _ => {
                let (built, local, types) = self.change_query(statement, change, &base)?;
                let plan = self
                    .plan_of_query(statement, built.query, &local, None)
                    .await?;
                Ok((Some(plan), types))
            }
        }
    }

    /// The query that finds the rows of a change, for `EXPLAIN`.
    pub(super) async fn plan_of_change(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        analyze: bool,
    ) -> Result<LogicalPlan> {
        if analyze {
            return Err(unsupported("EXPLAIN ANALYZE of a change"));
        }
        let (plan, _) = self.plan_change(statement, change).await?;
        plan.ok_or_else(|| unsupported("EXPLAIN of this change"))
    }

    /// What a change takes and returns. `known` are types of parameters that other parts of the statement say.
    pub(super) async fn prepare_change(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        count: usize,
        declared: &[Option<DataType>],
        mut known: Vec<ParameterTypes>,
    ) -> Result<Prepared> {
        let (plan, types) = self.plan_change(statement, change).await?;
        let inferred = plan
            .as_ref()
            .map(parameters::types)
            .transpose()?
            .unwrap_or_default();
        known.extend([types, inferred]);
        let known: Vec<&ParameterTypes> = known.iter().collect();
        let parameters = parameters::settled(count, declared, &known);
        let described = match returning_of(change.kind) {
            None => Described::Nothing,
            Some(items) => {
                let others = self.others(statement, change, None).await?;
                let others = others.as_ref();
                let (query, local) = self.returning(change, items, others, Returned::default())?;
                let plan = self.plan_of_query(statement, query, &local, None).await?;
                let plan = parameters::assume(plan, &parameters)?;
                let reference = change.target.reference();
                self.describe_plan_of(&plan, others.is_none().then_some(&reference))
            }
        };
        Ok(Prepared {
            statement: statement.clone(),
            parameters,
            described,
        })
    }
}
