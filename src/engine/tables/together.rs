//! Statements that make several changes: `TRUNCATE` of several tables, and those whose WITH changes rows.
//!
//! Each part sees what was there before the statement, and what the parts before it have returned; all of their changes are kept or none.
//! As in PostgreSQL, parts that nothing reads from come behind the statement itself. What is computed once for several parts is so
//! for a query that changes nothing, too, where it would be something else each time.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast::{
    self, Expr, ObjectName, Query, With, visit_expressions, visit_relations,
};
use datafusion_funnel::definition::text::folded;
use futures::TryStreamExt;

use super::change::unsupported;
use super::local::Local;
use super::returning::Returned;
use super::target::{Target, query};
use super::{RowChange, changed_relation, returning_of};
use crate::engine::outcome::{Outcome, Prepared};
use crate::engine::parameters::{self, ParameterTypes};
use crate::engine::session::{Session, lock};
use crate::error::{Error, Result};
use crate::sql::{Statement, change_in};
use crate::tables::converted;

/// Functions that answer something else each time that they are called.
const NEVER_THE_SAME: [&str; 6] = [
    "random",
    "gen_random_uuid",
    "uuid",
    "nextval",
    "setval",
    "clock_timestamp",
];

/// The savepoint before such a statement; nobody can write its name.
const BEFORE: &str = "\u{1f}before";

/// Changes that are kept or undone together. They are undone unless they are ended.
pub(super) struct Together<'a> {
    session: &'a Session,
    /// There is no other block.
    alone: bool,
    done: bool,
}

impl Together<'_> {
    /// The changes are the transaction's, or everybody's where there is none.
    pub(super) async fn end(mut self) -> Result<()> {
        self.session.see_with_parts(None);
        self.session.release(BEFORE);
        let kept = match self.alone {
            true => Box::pin(self.session.commit_block()).await,
            false => Ok(()),
        };
        self.done = true;
        kept
    }
}

impl Drop for Together<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.session.see_with_parts(None);
        match self.alone {
            true => self.session.roll_back(),
            false => {
                self.session.roll_back_to(BEFORE);
                self.session.release(BEFORE);
            }
        }
    }
}

/// The parts of a statement that have run.
struct Parts {
    /// What they returned.
    local: Local,
    /// The queries that those behind them may name.
    with: With,
}

impl Parts {
    fn new(with: &With) -> Self {
        let with = With {
            cte_tables: Vec::new(),
            ..with.clone()
        };
        Self {
            local: Local::default(),
            with,
        }
    }

    /// The queries that may be named, where there are any.
    fn named(&self) -> Option<&With> {
        (!self.with.cte_tables.is_empty()).then_some(&self.with)
    }

    /// What stands behind the WITH, with the queries that it may name.
    fn last_query(&self, whole: &Query) -> Query {
        Query {
            with: self.named().cloned(),
            ..whole.clone()
        }
    }

    /// Those behind it may name a query.
    fn name(&mut self, cte: ast::Cte) {
        self.with.cte_tables.push(cte);
    }

    /// Those behind it read what a part returned.
    fn keep(&mut self, cte: &ast::Cte, relation: Arc<dyn TableProvider>) -> Result<()> {
        let number = self.with.cte_tables.len();
        let relation = self.local.add(&format!("with {number}"), relation)?;
        let rows = query(&format!("SELECT * FROM {relation}"))?;
        self.name(ast::Cte {
            query: Box::new(rows),
            ..cte.clone()
        });
        Ok(())
    }
}

impl Session {
    /// What each part of a statement sees from here on; what its transaction sees where it is nothing.
    fn see_with_parts(&self, view: Option<Arc<crate::tables::View>>) {
        if let Some(block) = lock(&self.block).as_mut() {
            block.statement = view;
        }
    }

    /// From here on changes are kept or undone together, and see what is there now. Nobody else changes these tables meanwhile,
    /// unless the statement is in a transaction, where that is found when it commits.
    pub(super) async fn begin_together(&self, targets: &[&Target]) -> Result<Together<'_>> {
        let alone = !self.in_block();
        if alone {
            self.open_implicit_block();
        }
        self.savepoint(BEFORE);
        let together = Together {
            session: self,
            alone,
            done: false,
        };
        let mut targets = targets.to_vec();
        targets.sort_by_key(|target| target.table.id());
        for target in targets {
            self.begin_change(target).await?;
        }
        self.take_view();
        self.see_with_parts(self.info.view());
        Ok(together)
    }

    /// Runs a statement whose WITH changes rows.
    ///
    /// # Errors
    /// Those of its parts; then none of them has changed anything.
    pub(super) async fn run_together(
        &self,
        statement: &Statement,
        whole: &Query,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        let changes = self.targets_in(whole)?;
        let together = self
            .begin_together(&changes.iter().collect::<Vec<_>>())
            .await?;
        let outcome = Box::pin(self.run_parts(statement, whole, values)).await?;
        together.end().await?;
        Ok(outcome)
    }

    /// The tables that the parts of a statement change.
    fn targets_in(&self, whole: &Query) -> Result<Vec<Target>> {
        let named = whole.with.iter().flat_map(|with| &with.cte_tables);
        let named = named.map(|cte| cte.query.as_ref());
        let changes = named.chain([whole]).filter_map(change_in);
        changes.map(|change| self.target_in(change)).collect()
    }

    fn target_in(&self, change: &ast::Statement) -> Result<Target> {
        let Some((name, _)) = changed_relation(change) else {
            return Err(unsupported("this change"));
        };
        self.target(name)?.ok_or_else(|| Error::Unsupported {
            message: format!(
                "changing \"{name}\" in a statement of several changes is not supported"
            ),
            hint: Some("Tables that stay can be changed so.".to_owned()),
        })
    }

    /// The change that a part is.
    fn part<'a>(
        &self,
        cte: &'a ast::Cte,
        with: Option<&'a With>,
        local: &Local,
    ) -> Result<Option<RowChange<'a>>> {
        let Some(kind) = change_in(&cte.query) else {
            return Ok(None);
        };
        if matches!(kind, ast::Statement::Merge(_)) {
            return Err(Error::Unsupported {
                message: "MERGE not supported in WITH query".to_owned(),
                hint: None,
            });
        }
        Ok(Some(RowChange {
            kind,
            with,
            target: self.target_in(kind)?,
            local: local.clone(),
        }))
    }

    /// Runs the parts of a statement, one after the other. Its rows are in memory when it is done.
    async fn run_parts(
        &self,
        statement: &Statement,
        whole: &Query,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        let Some(with) = &whole.with else {
            return Err(unsupported("this statement"));
        };
        let mut parts = Parts::new(with);
        let mut unread = Vec::new();
        for cte in &with.cte_tables {
            let name = folded(&cte.alias.name);
            let uses = uses(whole, &name);
            let change = change_in(&cte.query);
            if uses > 0 && change.is_some_and(|change| returning_of(change).is_none()) {
                return Err(returns_nothing(&name));
            }
            match (change.is_some(), uses) {
                (true, 0) => unread.push(cte),
                (true, _) => self.run_part(statement, cte, &mut parts, values).await?,
                (false, 0 | 1) => parts.name(cte.clone()),
                // It is computed once, for what several parts read of it is to be the same.
                (false, _) => {
                    self.compute_part(statement, cte, &mut parts, values)
                        .await?
                }
            }
        }
        let outcome = self.run_last(statement, whole, &parts, values).await?;
        let outcome = self.in_memory(statement, outcome).await?;
        for cte in unread.into_iter().rev() {
            self.run_part(statement, cte, &mut parts, values).await?;
        }
        Ok(outcome)
    }

    /// Runs a part that changes rows.
    async fn run_part(
        &self,
        statement: &Statement,
        cte: &ast::Cte,
        parts: &mut Parts,
        values: &[ScalarValue],
    ) -> Result<()> {
        let with = joined(parts.named(), cte.query.with.as_ref());
        let Some(change) = self.part(cte, with.as_ref(), &parts.local)? else {
            return Ok(());
        };
        let done = Box::pin(self.make_change(statement, &change, values)).await;
        let done = self.without_hidden(&change.target, done)?;
        if let Some(items) = returning_of(change.kind) {
            let others = done.others.as_ref();
            let (query, local) = self.returning(&change, items, others, done.returned)?;
            let plan = self
                .plan_of_query(statement, query, &local, Some(values))
                .await?;
            let relation = self.relation_of(statement, plan).await?;
            parts.keep(cte, relation)?;
        }
        Ok(())
    }

    /// Runs a query that reads one of those that it names several times, where that one wouldn't be the same each time: it is
    /// computed once. Nothing for any other statement.
    ///
    /// # Errors
    /// The query's.
    pub(super) async fn run_computed_once(
        &self,
        statement: &Statement,
        inner: &ast::Statement,
        values: &[ScalarValue],
    ) -> Result<Option<Outcome>> {
        let ast::Statement::Query(whole) = inner else {
            return Ok(None);
        };
        let Some(with) = &whole.with else {
            return Ok(None);
        };
        let once = computed_once(whole, with);
        if once.is_empty() {
            return Ok(None);
        }
        let mut parts = Parts::new(with);
        for cte in &with.cte_tables {
            match once.contains(&folded(&cte.alias.name)) {
                true => {
                    self.compute_part(statement, cte, &mut parts, values)
                        .await?
                }
                false => parts.name(cte.clone()),
            }
        }
        let done = self.run_last(statement, whole, &parts, values).await?;
        Ok(Some(done))
    }

    /// Computes a part that changes nothing.
    async fn compute_part(
        &self,
        statement: &Statement,
        cte: &ast::Cte,
        parts: &mut Parts,
        values: &[ScalarValue],
    ) -> Result<()> {
        let name = folded(&cte.alias.name).replace('"', "\"\"");
        let mut rows = query(&format!("SELECT * FROM \"{name}\""))?;
        let mut with = parts.with.clone();
        with.cte_tables.push(cte.clone());
        rows.with = Some(with);
        let plan = self
            .plan_of_query(statement, rows, &parts.local, Some(values))
            .await?;
        let relation = self.relation_of(statement, plan).await?;
        parts.keep(cte, relation)
    }

    /// The change that stands behind the WITH; nothing for a query.
    fn last_change<'a>(&self, whole: &'a Query, parts: &'a Parts) -> Result<Option<RowChange<'a>>> {
        let Some(kind) = change_in(whole) else {
            return Ok(None);
        };
        Ok(Some(RowChange {
            kind,
            with: parts.named(),
            target: self.target_in(kind)?,
            local: parts.local.clone(),
        }))
    }

    /// Runs what stands behind the WITH.
    async fn run_last(
        &self,
        statement: &Statement,
        whole: &Query,
        parts: &Parts,
        values: &[ScalarValue],
    ) -> Result<Outcome> {
        if let Some(change) = self.last_change(whole, parts)? {
            return Box::pin(self.change_rows(statement, &change, values)).await;
        }
        let query = parts.last_query(whole);
        self.rows_of_query(statement, query, &parts.local, values, ("SELECT", None))
            .await
    }

    /// The columns of a plan as those of a relation.
    pub(super) fn relation_schema(&self, plan: &LogicalPlan) -> SchemaRef {
        let settled = self.settled_schema(plan);
        let marked = crate::postgres::columns::marked(plan, settled.as_arrow());
        let fields = marked.fields().iter();
        let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// All of a stream's rows, where there is memory for them.
    async fn all_rows(
        &self,
        statement: &Statement,
        mut stream: SendableRecordBatchStream,
    ) -> Result<Vec<RecordBatch>> {
        let room = self.reserve("WITH");
        let mut rows = Vec::new();
        while let Some(batch) = stream
            .try_next()
            .await
            .map_err(|error| Error::from_engine(&error, &statement.sql))?
        {
            room.grow(batch.get_array_memory_size())?;
            rows.push(batch);
        }
        Ok(rows)
    }

    /// The rows of a plan as a relation.
    async fn relation_of(
        &self,
        statement: &Statement,
        plan: LogicalPlan,
    ) -> Result<Arc<dyn TableProvider>> {
        let schema = self.relation_schema(&plan);
        let stream = self.stream(plan, &statement.sql).await?;
        let mut rows = Vec::new();
        for batch in self.all_rows(statement, stream).await? {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| converted(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns);
            rows.push(batch.map_err(datafusion::error::DataFusionError::from)?);
        }
        Ok(Arc::new(MemTable::try_new(schema, vec![rows])?))
    }

    /// The same outcome with all of its rows in memory: whatever is wrong with them is known before anything is kept.
    async fn in_memory(&self, statement: &Statement, outcome: Outcome) -> Result<Outcome> {
        let Outcome::Rows {
            tag,
            stream,
            notices,
        } = outcome
        else {
            return Ok(outcome);
        };
        let schema = stream.schema();
        let rows = self.all_rows(statement, stream).await?;
        let rows = futures::stream::iter(rows.into_iter().map(Ok));
        Ok(Outcome::Rows {
            tag,
            stream: Box::pin(RecordBatchStreamAdapter::new(schema, rows)),
            notices,
        })
    }

    /// What a statement whose WITH changes rows takes and returns.
    pub(in crate::engine) async fn prepare_together(
        &self,
        statement: &Statement,
        whole: &Query,
        count: usize,
        declared: &[Option<DataType>],
    ) -> Result<Prepared> {
        let Some(with) = &whole.with else {
            return Err(unsupported("this statement"));
        };
        let mut parts = Parts::new(with);
        let mut known: Vec<ParameterTypes> = Vec::new();
        for cte in &with.cte_tables {
            let before = joined(parts.named(), cte.query.with.as_ref());
            let Some(change) = self.part(cte, before.as_ref(), &parts.local)? else {
                parts.name(cte.clone());
                continue;
            };
            let (plan, types) = self.plan_change(statement, &change).await?;
            known.push(types);
            if let Some(plan) = &plan {
                known.push(parameters::types(plan)?);
            }
            match returning_of(change.kind) {
                None => {
                    // Where nothing reads from it, it needn't return anything.
                    let name = folded(&cte.alias.name);
                    if uses(whole, &name) > 0 {
                        return Err(returns_nothing(&name));
                    }
                }
                Some(items) => {
                    let others = self.others(statement, &change, None).await?;
                    let others = others.as_ref();
                    let returned = Returned::default();
                    let (query, local) = self.returning(&change, items, others, returned)?;
                    let plan = self.plan_of_query(statement, query, &local, None).await?;
                    known.push(parameters::types(&plan)?);
                    let schema = self.relation_schema(&plan);
                    let relation = MemTable::try_new(schema, vec![Vec::new()])?;
                    parts.keep(cte, Arc::new(relation))?;
                }
            }
        }
        if let Some(change) = self.last_change(whole, &parts)? {
            return Box::pin(self.prepare_change(statement, &change, count, declared, known)).await;
        }
        let query = parts.last_query(whole);
        let plan = self
            .plan_of_query(statement, query, &parts.local, None)
            .await?;
        known.push(parameters::types(&plan)?);
        let known: Vec<&ParameterTypes> = known.iter().collect();
        let parameters = parameters::settled(count, declared, &known);
        let described = self.describe_plan(&parameters::assume(plan, &parameters)?);
        Ok(Prepared {
            statement: statement.clone(),
            parameters,
            described,
        })
    }
}

/// How often a statement reads a relation that it names without a schema.
fn uses(whole: &Query, name: &str) -> usize {
    let is_it = |relation: &ObjectName| match relation.0.as_slice() {
        [part] => part.as_ident().is_some_and(|ident| folded(ident) == name),
        _ => false,
    };
    let mut named: usize = 0;
    let _ = visit_relations(whole, |relation: &ObjectName| {
        named += usize::from(is_it(relation));
        ControlFlow::<()>::Continue(())
    });
    // Those that it changes are tables.
    let parts = whole.with.iter().flat_map(|with| &with.cte_tables);
    let parts = parts.map(|cte| cte.query.as_ref()).chain([whole]);
    let changed = parts.filter_map(|part| changed_relation(change_in(part)?));
    named.saturating_sub(changed.filter(|(relation, _)| is_it(relation)).count())
}

/// The names of queries that a query reads several times and that wouldn't be the same each time.
fn computed_once(whole: &Query, with: &With) -> Vec<String> {
    // A change, and queries that may read each other in any order, are as they are.
    if with.recursive || change_in(whole).is_some() {
        return Vec::new();
    }
    let mut once = Vec::new();
    // Those that are read once are as what reads them.
    let mut changing: Vec<String> = Vec::new();
    for cte in &with.cte_tables {
        let of_another = changing.iter().any(|other| uses(&cte.query, other) > 0);
        if !of_another && !is_never_the_same(&cte.query) {
            continue;
        }
        let name = folded(&cte.alias.name);
        match uses(whole, &name) {
            0 | 1 => changing.push(name),
            _ => once.push(name),
        }
    }
    once
}

/// Whether a query calls a function that answers something else each time.
fn is_never_the_same(query: &Query) -> bool {
    let found = visit_expressions(query, |expression: &Expr| {
        let name = match expression {
            Expr::Function(call) => call.name.0.last().and_then(|part| part.as_ident()),
            _ => None,
        };
        match name.is_some_and(|name| NEVER_THE_SAME.contains(&folded(name).as_str())) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

/// The queries that stand before a part, and its own.
fn joined(before: Option<&With>, own: Option<&With>) -> Option<With> {
    let (Some(before), Some(own)) = (before, own) else {
        return before.or(own).cloned();
    };
    let is_own = |cte: &ast::Cte| {
        let mut own = own.cte_tables.iter();
        own.any(|other| folded(&other.alias.name) == folded(&cte.alias.name))
    };
    let mut with = before.clone();
    with.cte_tables.retain(|cte| !is_own(cte));
    with.cte_tables.extend(own.cte_tables.iter().cloned());
    with.recursive |= own.recursive;
    Some(with)
}

fn returns_nothing(name: &str) -> Error {
    Error::Unsupported {
        message: format!("WITH query \"{name}\" does not have a RETURNING clause"),
        hint: None,
    }
}
