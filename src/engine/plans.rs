//! Plans of queries that came before: the same text in the same circumstances is neither planned nor optimized again.
//!
//! A dashboard asks the same again and again, a driver plans a statement to describe it and once more to run it, and
//! planning takes longer than reading what a funnel needs of ten thousand deals. What is kept is a plan, never a row:
//! which files a table has, who sees which of its rows and what time it is are found each time that it runs.
//!
//! A plan is shared by all sessions in whose hands it would be the same: those with the role and the settings that it was
//! made for. It is not kept at all where it depends on more than these, see [`can_be_kept`], and all of them are forgotten
//! when a definition changes, see [`Forgetting`]. A session that has `SET plan_cache_mode =
//! force_custom_plan` has neither use for them nor any in there.
//!
//! **The moment** of a statement is put into its plan when it is optimized already ([`at_moment`]), so that what is kept
//! has `now()` in it and no time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::sql::parser::Statement as EngineStatement;
use datafusion::sql::sqlparser::ast;
use datafusion_funnel::aggregate::reads_clock as aggregate_reads_clock;
use datafusion_funnel::optimizer::shared_journeys;

use super::outcome::Notice;
use super::session::lock;
use crate::catalog::{GuardedTable, MaterializedView, unguarded};
use crate::postgres::function;
use crate::sql::{Statement, StatementKind};
use crate::tables::DurableTable;

/// As many plans are kept.
const MOST: usize = 256;
/// As many nodes and expressions may all of them have together. One takes 150 to 300 bytes with what is made of it when it is
/// optimized: 60 MB at most.
const MOST_PARTS: usize = 200_000;
/// A statement of more bytes is hardly one that comes again, and its plan is large.
const LONGEST_STATEMENT: usize = 64 << 10;
/// The functions of DataFusion's that become the moment of the statement when they are simplified.
const CLOCKS: [&str; 3] = ["now", "current_date", "current_time"];
/// Texts that stand for a moment where they are read as one.
const MOMENTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// What a plan was made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Circumstances {
    /// The whole text that the statement is in.
    pub sql: Arc<str>,
    /// The values of its parameters.
    pub values: Vec<ScalarValue>,
    /// Who asks.
    pub role: String,
    /// The session's settings that aren't what they are by default.
    pub settings: BTreeMap<String, String>,
    /// The day in UTC: metrics have days from which and until which they are valid.
    pub day: chrono::NaiveDate,
}

/// A plan that is kept.
#[derive(Debug)]
pub struct KeptPlan {
    statement: EngineStatement,
    /// As it was planned.
    pub plan: LogicalPlan,
    /// What the user should know beside its rows.
    pub notices: Vec<Notice>,
    /// Without a moment; made by whoever runs it first.
    optimized: OnceLock<LogicalPlan>,
    /// How many nodes and expressions it has.
    parts: usize,
}

/// The plans of an engine.
#[derive(Debug, Default)]
pub struct Plans {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// With the number of the request that used it last.
    plans: HashMap<Circumstances, (Arc<KeptPlan>, u64)>,
    /// How many nodes and expressions all of them have.
    parts: usize,
    requests: u64,
    found: u64,
    /// How often they were forgotten.
    forgotten: u64,
}

/// When a plan was looked for; one that was begun before they were forgotten isn't kept.
#[derive(Debug, Clone, Copy)]
pub struct Asked(u64);

impl Plans {
    /// The plan that was kept of a statement.
    pub fn find(
        &self,
        circumstances: &Circumstances,
        statement: &EngineStatement,
    ) -> (Option<Arc<KeptPlan>>, Asked) {
        let mut kept = lock(&self.kept);
        kept.requests += 1;
        let (request, asked) = (kept.requests, Asked(kept.forgotten));
        let found = kept.plans.get_mut(circumstances);
        // One text may have several statements in it.
        let found = found.filter(|(plan, _)| plan.statement == *statement);
        let found = found.map(|(plan, used)| {
            *used = request;
            Arc::clone(plan)
        });
        kept.found += u64::from(found.is_some());
        (found, asked)
    }

    /// How many are kept, and how often one was found.
    pub fn counts(&self) -> (usize, u64) {
        let kept = lock(&self.kept);
        (kept.plans.len(), kept.found)
    }

    /// Keeps a plan, unless definitions have changed since it was asked for.
    pub fn keep(
        &self,
        circumstances: Circumstances,
        statement: EngineStatement,
        plan: LogicalPlan,
        notices: Vec<Notice>,
        asked: Asked,
    ) -> Arc<KeptPlan> {
        let parts = parts_of(&plan);
        tracing::debug!(parts, "a plan is kept");
        let plan = Arc::new(KeptPlan {
            statement,
            plan,
            notices,
            optimized: OnceLock::new(),
            parts,
        });
        let mut kept = lock(&self.kept);
        if kept.forgotten != asked.0 || parts > MOST_PARTS {
            return plan;
        }
        // One that another session was quicker with, or of another statement of the same text.
        kept.remove(&circumstances);
        while kept.plans.len() >= MOST || kept.parts + parts > MOST_PARTS {
            let oldest = kept.plans.iter().min_by_key(|(_, (_, used))| *used);
            match oldest.map(|(circumstances, _)| circumstances.clone()) {
                Some(oldest) => kept.remove(&oldest),
                None => break,
            }
        }
        let request = kept.requests;
        kept.parts += parts;
        kept.plans
            .insert(circumstances, (Arc::clone(&plan), request));
        plan
    }

    /// Forgets them all when the statement is over, however it ends; nothing where it changes no definition.
    pub fn forget_after(&self, statement: &StatementKind) -> Option<Forgetting<'_>> {
        match defines(statement) {
            true => Some(Forgetting(self)),
            false => None,
        }
    }

    fn forget(&self) {
        let mut kept = lock(&self.kept);
        kept.forgotten += 1;
        kept.parts = 0;
        kept.plans.clear();
    }
}

impl Kept {
    fn remove(&mut self, circumstances: &Circumstances) {
        if let Some((plan, _)) = self.plans.remove(circumstances) {
            self.parts -= plan.parts;
        }
    }
}

/// How many nodes and expressions a plan has.
fn parts_of(plan: &LogicalPlan) -> usize {
    let mut parts = 0;
    // Nothing in it fails.
    let _ = plan.apply_with_subqueries(|node| {
        parts += 1;
        node.apply_expressions(|expression| {
            expression.apply(|_| {
                parts += 1;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    parts
}

/// Forgets plans when it is dropped: a statement that fails, or that nobody waits for any more, may have changed something
/// as well.
pub struct Forgetting<'a>(&'a Plans);

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

/// Whether a statement may change what plans depend on. Only those are left out that are known not to.
fn defines(statement: &StatementKind) -> bool {
    use StatementKind as K;
    match statement {
        K::Engine(statement) => engine_defines(statement),
        K::Explain { statement, .. } => engine_defines(statement),
        K::ShowFunnels
        | K::ShowCreateFunnel(_)
        | K::ShowCreateMetric(_)
        | K::ShowCreateChange(_)
        | K::ShowChanges
        | K::ShowSql(_)
        | K::Show(_)
        | K::ShowAll
        | K::Set { .. }
        | K::SetModes { .. }
        | K::ResetAll
        | K::Begin(_)
        | K::Commit { .. }
        | K::Rollback { .. }
        | K::Savepoint(_)
        | K::Release(_)
        | K::RollbackTo(_)
        | K::Listen(_)
        | K::Unlisten(_)
        | K::Notify { .. }
        | K::Declare { .. }
        | K::Fetch { .. }
        | K::CloseCursor(_)
        | K::Copy(_)
        | K::Nothing(_)
        // What it runs is a statement of its own.
        | K::Execute { .. }
        | K::Prepare { .. }
        | K::Deallocate(_)
        | K::DiscardSequences => false,
        _ => true,
    }
}

fn engine_defines(statement: &EngineStatement) -> bool {
    use ast::Statement as S;
    match statement {
        EngineStatement::Statement(statement) => !matches!(
            statement.as_ref(),
            S::Query(_) | S::Insert(_) | S::Update(_) | S::Delete(_) | S::Merge(_) | S::Truncate(_)
        ),
        EngineStatement::Explain(explain) => engine_defines(&explain.statement),
        _ => true,
    }
}

/// Whether a plan of a statement may be looked for, and kept.
pub fn is_query(statement: &Statement, engine_statement: &EngineStatement) -> bool {
    statement.sql.len() <= LONGEST_STATEMENT
        && matches!(engine_statement, EngineStatement::Statement(statement)
            if matches!(statement.as_ref(), ast::Statement::Query(_)))
}

/// Whether a plan is the same in the hands of each session of its role and settings, at any time: it reads tables that look at
/// their rows when they are read, by functions of the engine's own, and no text in it stands for a moment.
pub fn can_be_kept(plan: &LogicalPlan, engine: &SessionState, session: &SessionState) -> bool {
    let mut can = true;
    let walked = plan.apply_with_subqueries(|node| {
        can = can
            && match node {
                LogicalPlan::TableScan(scan) => {
                    source_as_provider(&scan.source).is_ok_and(|table| looks_when_read(&table))
                }
                LogicalPlan::Ddl(_)
                | LogicalPlan::Dml(_)
                | LogicalPlan::Copy(_)
                | LogicalPlan::Statement(_)
                | LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
                | LogicalPlan::DescribeTable(_)
                | LogicalPlan::RecursiveQuery(_)
                | LogicalPlan::Extension(_) => false,
                _ => true,
            };
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                can = can && is_same_for_all(part, engine, session);
                Ok(match can {
                    true => TreeNodeRecursion::Continue,
                    false => TreeNodeRecursion::Stop,
                })
            })
        })?;
        Ok(match can {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    });
    can && walked.is_ok()
}

/// Whether a table is everybody's, and finds its rows and who may see them when it is scanned. What another server is asked has
/// its moment in it from the beginning.
fn looks_when_read(table: &Arc<dyn TableProvider>) -> bool {
    let Some(guarded) = table.downcast_ref::<GuardedTable>() else {
        return false;
    };
    let inner = unguarded(Arc::clone(table));
    !guarded.is_temporary()
        && (inner.downcast_ref::<DurableTable>().is_some()
            || inner.downcast_ref::<MaterializedView>().is_some()
            || inner.downcast_ref::<ListingTable>().is_some()
            || inner.downcast_ref::<MemTable>().is_some())
}

fn is_same_for_all(expression: &Expr, engine: &SessionState, session: &SessionState) -> bool {
    match expression {
        Expr::Placeholder(_) => false,
        Expr::Literal(value, _) => !stands_for_a_moment(value),
        // One that the session has of its own knows which session it is; others are told when they are called.
        Expr::ScalarFunction(call) if function::of(&call.func).is_some() => {
            let is_of = |state: &SessionState| {
                let known = state.scalar_functions().get(call.func.name());
                known.is_some_and(|known| Arc::ptr_eq(known, &call.func))
            };
            is_of(engine) || !is_of(session)
        }
        Expr::AggregateFunction(call) => !aggregate_reads_clock(&call.func),
        _ => true,
    }
}

/// `now`, and the others whose value is the moment of the statement.
fn is_clock(function: &ScalarUDF) -> bool {
    CLOCKS.contains(&function.name())
}

/// Whether a value is a text, or a list with one, that is another moment each time that it is read as one.
fn stands_for_a_moment(value: &ScalarValue) -> bool {
    // A time and its zone may stand beside it, as in `today 10:00`; a longer text is a text.
    let is_moment = |text: &str| {
        let mut words = text.split_whitespace();
        let names_one = words.clone().any(|word| {
            MOMENTS
                .iter()
                .any(|moment| word.eq_ignore_ascii_case(moment))
        });
        names_one && words.nth(3).is_none()
    };
    match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.as_deref().is_some_and(is_moment)
        }
        value if value.data_type().is_nested() => {
            let text = value.to_string();
            let mut parts = text.split(|character: char| !character.is_alphanumeric());
            parts.any(is_moment)
        }
        _ => false,
    }
}

impl KeptPlan {
    /// The plan as it runs at the moment of `state`, optimized.
    ///
    /// # Errors
    /// Whatever the optimizer finds wrong with it.
    pub fn optimized(&self, state: &SessionState) -> Result<LogicalPlan> {
        let optimized = match self.optimized.get() {
            Some(optimized) => optimized.clone(),
            None => {
                let mut timeless = state.clone();
                timeless.execution_props_mut().query_execution_start_time = None;
                let optimized = timeless.optimize(&self.plan)?;
                // Whoever was quicker made the same.
                let _ = self.optimized.set(optimized.clone());
                optimized
            }
        };
        at_moment(optimized, state)
    }
}

/// An optimized plan with the moment of `state` in the place of `now()`, and nothing that it shares with another execution.
fn at_moment(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let simplify = SimplifyExpressions::new();
    let plan = shared_journeys::renewed(plan)?;
    let plan = plan.transform_up_with_subqueries(|node| match reads_clock(&node)? {
        true => simplify.rewrite(node, state),
        false => Ok(Transformed::no(node)),
    })?;
    Ok(plan.data)
}

/// Whether a node's own expressions ask what time it is.
fn reads_clock(node: &LogicalPlan) -> Result<bool> {
    let mut reads = false;
    node.apply_expressions(|expression| {
        expression.apply(|part| {
            reads |= matches!(part, Expr::ScalarFunction(call) if is_clock(&call.func));
            Ok(match reads {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })
    })?;
    Ok(reads)
}
