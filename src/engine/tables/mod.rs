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
mod retype;
mod rules;
mod target;
mod temporary;
mod travel;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::MemTable;
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
use crate::sql::{Statement, StatementKind};
use crate::tables::DurableTable;
use apply::{Changes, Deed};
use change::{Building, ChangeQuery, unsupported};
pub(super) use local::Local;
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
        Ok(found.map(|target| RowChange { kind, with, target }))
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
            && let ast::Statement::Truncate(truncate) = inner.as_ref()
        {
            return self.truncate(truncate).await;
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

    /// Takes all rows out of tables; nothing where one of them isn't durable.
    async fn truncate(&self, truncate: &ast::Truncate) -> Result<Option<Outcome>> {
        let mut targets = Vec::new();
        for table in &truncate.table_names {
            match self.target(&table.name)? {
                Some(target) => targets.push(target),
                None => return Ok(None),
            }
        }
        for target in &targets {
            target.guarded.check_change(Privilege::Truncate, &[])?;
            let restriction = target.guarded.restriction_of(&self.current_user());
            if restriction.rows.is_some() {
                return Err(policy_violation(target.name()));
            }
        }
        for target in &targets {
            let (base, writing) = self.begin_change(target).await?;
            let removed = base.files.clone();
            self.end_change(target, base, writing, removed, Vec::new())
                .await?;
            if truncate.identity == Some(ast::TruncateIdentityOption::Restart) {
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
        let sees = change.target.guarded.shows_rows_to(&self.current_user());
        match done {
            // What is hidden from whoever changes a row isn't told by why it can't be changed.
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
        self.check_functions(change.kind)?;
        let target = &change.target;
        self.check_change(change)?;
        // What can't be returned is found before anything is changed.
        if let Some(items) = returning_of(change.kind) {
            let (query, local) = self.returning(change, items, Vec::new())?;
            let plan = self
                .plan_of_query(statement, query, &local, Some(values))
                .await?;
            self.physical(plan, &statement.sql).await?;
        }
        let (verb, count, returned) = match change.kind {
            ast::Statement::Insert(insert) => {
                let done = self
                    .insert_rows(statement, insert, change.with, target, values)
                    .await?;
                ("INSERT 0", done.count, done.returned)
            }
            kind => {
                let verb = match kind {
                    ast::Statement::Update(_) => "UPDATE",
                    ast::Statement::Delete(_) => "DELETE",
                    _ => "MERGE",
                };
                let returning = returning_of(kind).is_some();
                let (base, writing) = self.begin_change(target).await?;
                let built = self.change_query(statement, change, &base)?;
                let once = verb == "MERGE";
                let done = self
                    .run_change(statement, target, &base, built, values, (once, returning))
                    .await?;
                let removed = done.removed;
                let (count, returned) = (done.count, done.returned);
                self.end_change(target, base, writing, removed, done.added)
                    .await?;
                (verb, count, returned)
            }
        };
        match returning_of(change.kind) {
            None => Ok(Outcome::done(format!("{verb} {count}"))),
            Some(items) => {
                let (query, local) = self.returning(change, items, returned)?;
                let tag = match verb {
                    "INSERT 0" => "INSERT",
                    "UPDATE" => "UPDATE",
                    _ => "DELETE",
                };
                self.rows_of_query(statement, query, &local, values, (tag, &target.reference()))
                    .await
            }
        }
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
                    check(Privilege::Update, &set(&update.assignments))?;
                }
                let restriction = guarded.restriction_of(&self.current_user());
                if !restriction.is_none() {
                    return Err(policy_violation(target.name()));
                }
            }
            ast::Statement::Update(update) => {
                check(Privilege::Update, &set(&update.assignments))?;
            }
            ast::Statement::Delete(_) => check(Privilege::Delete, &[])?,
            ast::Statement::Merge(merge) => {
                for clause in &merge.clauses {
                    match &clause.action {
                        ast::MergeAction::Insert(_) => {
                            check(Privilege::Insert, &[])?;
                            let role = self.current_user();
                            if !guarded.restriction_of(&role).is_none() {
                                return Err(policy_violation(target.name()));
                            }
                        }
                        ast::MergeAction::Update(update) => {
                            check(Privilege::Update, &set(&update.assignments))?;
                        }
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
        let mut local = Local::default();
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
        (once, returning): (bool, bool),
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
        let check_keys = built.deeds.iter().any(moves_keys);
        let changes = Changes {
            deeds: built.deeds,
            columns: built.columns,
            once,
            check: self.policy_check(target)?,
            returning,
        };
        let stream = self
            .stream_of_query(statement, built.query, &local, values)
            .await?;
        let applied = self.apply(target, base, stream, &changes).await?;
        if check_keys && !applied.added.is_empty() {
            let removed: std::collections::HashSet<&str> =
                applied.removed.iter().map(|file| file.path()).collect();
            let rest = base
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

    /// A query over rows that were changed.
    fn returning(
        &self,
        change: &RowChange<'_>,
        items: &[SelectItem],
        rows: Vec<RecordBatch>,
    ) -> Result<(ast::Query, Local)> {
        let target = &change.target;
        let mut local = Local::default();
        let rows = MemTable::try_new(Arc::clone(&target.shape.schema), vec![rows])?;
        let relation = local.add("returned", Arc::new(target.guarded.over(Arc::new(rows))))?;
        let alias = match changed_relation(change.kind) {
            Some((_, Some(alias))) => folded(alias),
            _ => target.name().to_owned(),
        };
        let alias = alias.replace('"', "\"\"");
        let mut built = query(&format!("SELECT 1 FROM {relation} AS \"{alias}\""))?;
        select(&mut built)?.projection = items.to_vec();
        Ok((built, local))
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
        (tag, rows_of): (&'static str, &TableReference),
    ) -> Result<Outcome> {
        let plan = self
            .plan_of_query(statement, query, local, Some(values))
            .await?;
        let marked = self.result_schema(&plan, plan.schema().as_arrow(), Some(rows_of));
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
        let target = &change.target;
        let base = self.engine.tables().current(&target.table);
        match change.kind {
            ast::Statement::Insert(insert) => {
                self.plan_insert(statement, insert, change.with, target)
                    .await
            }
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

    /// What a change takes and returns.
    pub(super) async fn prepare_change(
        &self,
        statement: &Statement,
        change: &RowChange<'_>,
        count: usize,
        declared: &[Option<DataType>],
    ) -> Result<Prepared> {
        let (plan, types) = self.plan_change(statement, change).await?;
        let inferred = plan
            .as_ref()
            .map(parameters::types)
            .transpose()?
            .unwrap_or_default();
        let parameters = parameters::settled(count, declared, &[&types, &inferred]);
        let described = match returning_of(change.kind) {
            None => Described::Nothing,
            Some(items) => {
                let (query, local) = self.returning(change, items, Vec::new())?;
                let plan = self.plan_of_query(statement, query, &local, None).await?;
                let plan = parameters::assume(plan, &parameters)?;
                self.describe_plan_of(&plan, Some(&change.target.reference()))
            }
        };
        Ok(Prepared {
            statement: statement.clone(),
            parameters,
            described,
        })
    }
}
