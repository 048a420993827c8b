//! Journeys that a statement reads several times are computed once.
//!
//! `stage_conversion('sales')` beside `cohort_cycle('sales')` reads the same `journeys('sales')` twice, and a plan is a
//! tree in which each would compute them. Two rules make them share:
//!
//! 1. [`ShareJourneys`], the last rule of the analyzer, finds plans of journeys that are there at least twice, and
//!    puts a scan of one table in the place of each. DataFusion then moves filters and columns to each scan as
//!    it does with any table: what one reference leaves out doesn't touch the others.
//! 2. [`SharedNeeds`], the last rule of the optimizer, looks at what has come to the scans. The table is planned
//!    with the columns that any of them needs, and with the filters that leave no reference without its rows: what
//!    all of them ask, and of the rest that one of them asks it.
//!
//! The table's scans are [`SharedExec`]s over one plan. A statement that reads its journeys once isn't changed, and
//! neither is one whose rules left only one of the scans.
//!
//! Not shared is what could differ: journeys with another `as_of`, counting or source, over volatile functions, or
//! inside of a recursive query.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column as ColumnName, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableScan, TableSource,
    TableType, col, expr_rewriter::unnormalize_cols,
};
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use tokio::sync::OnceCell;

use crate::definition::journeys::hidden;
use crate::physical::shared::{SharedExec, SharedInput, Turn, lock};

/// Puts scans of one table in the place of equal journeys; see the module's page.
#[derive(Debug, Default)]
pub struct ShareJourneys;

impl AnalyzerRule for ShareJourneys {
    fn name(&self) -> &str {
        "share_journeys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let repeated = repeated_journeys(&plan)?;
        if repeated.is_empty() {
            return Ok(plan);
        }
        let shared = plan.transform_down_with_subqueries(|node| {
            if matches!(node, LogicalPlan::RecursiveQuery(_)) {
                return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
            }
            match repeated.iter().find(|journeys| journeys.is(&node)) {
                Some(journeys) => {
                    let scan = journeys.scan()?;
                    Ok(Transformed::new(scan, true, TreeNodeRecursion::Jump))
                }
                None => Ok(Transformed::no(node)),
            }
        })?;
        Ok(shared.data)
    }
}

/// The journeys that a plan computes at least twice.
fn repeated_journeys(plan: &LogicalPlan) -> Result<Vec<Arc<Journeys>>> {
    let mut found: Vec<(LogicalPlan, usize)> = Vec::new();
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::RecursiveQuery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if !is_journeys(node) || !is_same_each_time(node)? {
            return Ok(TreeNodeRecursion::Continue);
        }
        match found.iter_mut().find(|(known, _)| known == node) {
            Some((known, count)) if reads_the_same(known, node)? => *count += 1,
            _ => found.push((node.clone(), 1)),
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    let repeated = found.into_iter().filter(|(_, count)| *count > 1);
    let numbered = (1..).zip(repeated);
    Ok(numbered
        .map(|(id, (plan, _))| Arc::new(Journeys::new(id, plan)))
        .collect())
}

/// Whether a plan is what [`crate::definition::journeys::journeys`] made, told by the columns that it ends with.
fn is_journeys(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Projection(projection) = plan else {
        return false;
    };
    let last = [
        hidden::STEPS,
        hidden::MATURE,
        hidden::DEADLINE,
        hidden::FURTHEST,
    ];
    let fields = projection.schema.fields();
    let at = fields.len().saturating_sub(last.len());
    let names = fields[at..].iter().map(|field| field.name().as_str());
    names.eq(last)
}

/// Whether a plan gives the same rows wherever in the statement it is.
fn is_same_each_time(plan: &LogicalPlan) -> Result<bool> {
    let mut is_same = true;
    plan.apply_with_subqueries(|node| {
        let changes = |expr: &Expr| expr.is_volatile() || expr.contains_outer();
        is_same = is_same && !node.expressions().iter().any(changes);
        Ok(match is_same {
            true => TreeNodeRecursion::Continue,
            false => TreeNodeRecursion::Stop,
        })
    })?;
    Ok(is_same)
}

/// Whether two equal plans read the very same tables; plans compare these by their names.
fn reads_the_same(one: &LogicalPlan, other: &LogicalPlan) -> Result<bool> {
    let (one, other) = (sources(one)?, sources(other)?);
    let mut pairs = one.iter().zip(&other);
    Ok(one.len() == other.len() && pairs.all(|(one, other)| is_same_source(one, other)))
}

fn sources(plan: &LogicalPlan) -> Result<Vec<Arc<dyn TableSource>>> {
    let mut sources = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            sources.push(Arc::clone(&scan.source));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sources)
}

fn is_same_source(one: &Arc<dyn TableSource>, other: &Arc<dyn TableSource>) -> bool {
    if std::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other)) {
        return true;
    }
    match (source_as_provider(one), source_as_provider(other)) {
        (Ok(one), Ok(other)) => std::ptr::addr_eq(Arc::as_ptr(&one), Arc::as_ptr(&other)),
        _ => false,
    }
}

/// Journeys that several places of a statement read.
#[derive(Debug)]
struct Journeys {
    /// Their number in the statement.
    id: usize,
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl Journeys {
    fn new(id: usize, plan: LogicalPlan) -> Self {
        let schema = Arc::clone(plan.schema().inner());
        Self { id, plan, schema }
    }

    fn is(&self, plan: &LogicalPlan) -> bool {
        *plan == self.plan && reads_the_same(plan, &self.plan).unwrap_or(false)
    }

    /// A scan with the columns of the plan that it stands for, unqualified as they are.
    fn scan(self: &Arc<Self>) -> Result<LogicalPlan> {
        let table = SharedJourneys {
            journeys: Arc::clone(self),
            needs: None,
            reference: 0,
        };
        let name = TableReference::bare(format!("shared_journeys_{}", self.id));
        let columns = self.schema.fields().iter().map(|field| {
            let column = ColumnName::new(Some(name.clone()), field.name());
            Expr::Column(column).alias(field.name())
        });
        LogicalPlanBuilder::scan(name.clone(), provider_as_source(Arc::new(table)), None)?
            .project(columns.collect::<Vec<_>>())?
            .build()
    }

    /// Of the rows that meet `predicate` these columns, in the order of their positions.
    fn part(&self, columns: &[usize], predicate: Option<&Expr>) -> Result<LogicalPlan> {
        let mut plan = LogicalPlanBuilder::from(self.plan.clone());
        if let Some(predicate) = predicate {
            plan = plan.filter(predicate.clone())?;
        }
        let names = columns.iter().map(|at| self.schema.field(*at).name());
        let names = names.map(|name| col(ColumnName::new_unqualified(name)));
        plan.project(names.collect::<Vec<_>>())?.build()
    }
}

/// Tells the shared journeys of a plan what their references need; see the module's page.
#[derive(Debug, Default)]
pub struct SharedNeeds;

impl OptimizerRule for SharedNeeds {
    fn name(&self) -> &str {
        "shared_needs"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let asked = asked_of_journeys(&plan)?;
        if asked.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let mut needs: Vec<(Arc<Journeys>, Arc<Needs>, usize)> = asked
            .into_iter()
            .map(|(journeys, asked)| (journeys, Arc::new(Needs::of(&asked)), 0))
            .collect();
        plan.transform_down_with_subqueries(|node| {
            let LogicalPlan::TableScan(mut scan) = node else {
                return Ok(Transformed::no(node));
            };
            let table = shared_table(&scan);
            let known = table.and_then(|table| {
                let mut needs = needs.iter_mut();
                needs.find(|(journeys, ..)| Arc::ptr_eq(journeys, &table.journeys))
            });
            let Some((journeys, needs, reference)) = known else {
                return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
            };
            scan.source = provider_as_source(Arc::new(SharedJourneys {
                journeys: Arc::clone(journeys),
                needs: Some(Arc::clone(needs)),
                reference: *reference,
            }));
            *reference += 1;
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        })
    }
}

/// An optimized plan with journeys of its own: it shares them with no other execution of the same plan.
///
/// # Errors
/// None of its own.
pub fn renewed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut known: Vec<(Arc<Needs>, Arc<Needs>)> = Vec::new();
    let plan = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(mut scan) = node else {
            return Ok(Transformed::no(node));
        };
        let table = shared_table(&scan);
        let Some((table, needs)) = table.and_then(|table| Some((table.clone(), table.needs?)))
        else {
            return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
        };
        let of_plan = known.iter().find(|(old, _)| Arc::ptr_eq(old, &needs));
        let renewed = match of_plan {
            Some((_, renewed)) => Arc::clone(renewed),
            None => {
                let renewed = Arc::new(needs.renewed());
                known.push((needs, Arc::clone(&renewed)));
                renewed
            }
        };
        scan.source = provider_as_source(Arc::new(SharedJourneys {
            needs: Some(renewed),
            ..table
        }));
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    })?;
    Ok(plan.data)
}

/// What a scan asks for.
struct Asked {
    /// The positions of columns.
    columns: Vec<usize>,
    /// Filters without qualifiers; each row that it wants meets them all.
    filters: Vec<Expr>,
}

/// The shared journeys of a plan with what each of their scans asks for.
fn asked_of_journeys(plan: &LogicalPlan) -> Result<Vec<(Arc<Journeys>, Vec<Asked>)>> {
    let mut all: Vec<(Arc<Journeys>, Vec<Asked>)> = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = shared_table(scan)
        {
            let asked = Asked {
                columns: table.columns(scan.projection.as_ref()),
                filters: unnormalize_cols(scan.filters.iter().cloned()),
            };
            let mut known = all.iter_mut();
            match known.find(|(journeys, _)| Arc::ptr_eq(journeys, &table.journeys)) {
                Some((_, of_journeys)) => of_journeys.push(asked),
                None => all.push((table.journeys, vec![asked])),
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(all)
}

fn shared_table(scan: &TableScan) -> Option<SharedJourneys> {
    let table = source_as_provider(&scan.source).ok()?;
    table.downcast_ref::<SharedJourneys>().cloned()
}

/// What the references of some journeys need together.
#[derive(Debug)]
struct Needs {
    /// The positions of columns, ascending.
    columns: Vec<usize>,
    /// What a row meets that any of the references wants.
    predicate: Option<Expr>,
    references: usize,
    /// The plan that all of them read; a statement may be planned more than once.
    planned: Mutex<Turn<Arc<OnceCell<Arc<SharedInput>>>>>,
}

impl Needs {
    fn of(asked: &[Asked]) -> Self {
        let mut columns: BTreeSet<usize> = asked
            .iter()
            .flat_map(|asked| asked.columns.iter().copied())
            .collect();
        if columns.is_empty() {
            // Rows that are only counted have a column, too.
            columns.insert(0);
        }
        Self {
            columns: columns.into_iter().collect(),
            predicate: common_predicate(asked),
            references: asked.len(),
            planned: Mutex::new(Turn::new(asked.len())),
        }
    }

    /// The same for another execution.
    fn renewed(&self) -> Self {
        Self {
            columns: self.columns.clone(),
            predicate: self.predicate.clone(),
            references: self.references,
            planned: Mutex::new(Turn::new(self.references)),
        }
    }
}

/// What all references ask, and that one of them asks the rest of what it does.
fn common_predicate(asked: &[Asked]) -> Option<Expr> {
    let by_all = |filter: &Expr| asked.iter().all(|asked| asked.filters.contains(filter));
    let (first, _) = asked.split_first()?;
    let mut common: Vec<Expr> = first
        .filters
        .iter()
        .filter(|it| by_all(it))
        .cloned()
        .collect();
    let rests = asked.iter().map(|asked| {
        let rest = asked.filters.iter().filter(|filter| !by_all(filter));
        conjunction(rest.cloned())
    });
    // A reference without a rest wants all rows that are common.
    let rests: Option<Vec<Expr>> = rests.collect();
    common.extend(rests.and_then(disjunction));
    conjunction(common)
}

/// The table that one reference of shared journeys scans.
#[derive(Debug, Clone)]
struct SharedJourneys {
    journeys: Arc<Journeys>,
    /// Known at the end of optimization.
    needs: Option<Arc<Needs>>,
    /// From 0.
    reference: usize,
}

impl SharedJourneys {
    /// The positions of the columns that a projection keeps.
    fn columns(&self, projection: Option<&Vec<usize>>) -> Vec<usize> {
        match projection {
            Some(projection) => projection.clone(),
            None => (0..self.journeys.schema.fields().len()).collect(),
        }
    }

    /// The rows that all references read; nothing where sharing isn't possible.
    async fn shared(&self, state: &dyn Session, needs: &Needs) -> Result<Option<Arc<SharedInput>>> {
        if needs.references < 2 {
            return Ok(None);
        }
        let planned = lock(&needs.planned).take(self.reference, Arc::default);
        let shared = planned.get_or_try_init(async || {
            let part = self
                .journeys
                .part(&needs.columns, needs.predicate.as_ref())?;
            let input = state.create_physical_plan(&part).await?;
            let shared = SharedInput::new(self.journeys.id, needs.references, input);
            Ok::<_, datafusion::error::DataFusionError>(Arc::new(shared))
        });
        Ok(Some(Arc::clone(shared.await?)))
    }
}

#[async_trait]
impl TableProvider for SharedJourneys {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.journeys.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    /// Each filter comes to [`SharedNeeds`], and is applied to the reference's own rows afterwards.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let kind = |filter: &&Expr| match is_of_columns(filter) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(kind).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = self.columns(projection);
        let needs = self.needs.as_ref();
        let fits = |needs: &&Arc<Needs>| wanted.iter().all(|at| needs.columns.contains(at));
        if let Some(needs) = needs.filter(fits)
            && let Some(shared) = self.shared(state, needs).await?
            && !shared.input().boundedness().is_unbounded()
        {
            let rows = Arc::new(SharedExec::new(shared, self.reference));
            return chosen(rows, &needs.columns, &wanted, &self.journeys.schema);
        }
        let part = self
            .journeys
            .part(&wanted, conjunction(filters.to_vec()).as_ref())?;
        state.create_physical_plan(&part).await
    }
}

/// Whether a filter looks at nothing but the row.
fn is_of_columns(filter: &Expr) -> bool {
    let looks_elsewhere = |part: &Expr| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    };
    !filter.is_volatile() && !filter.exists(looks_elsewhere).unwrap_or(true)
}

/// Of rows with the columns at the positions `kept` of `schema` those at the positions `wanted`.
fn chosen(
    rows: Arc<dyn ExecutionPlan>,
    kept: &[usize],
    wanted: &[usize],
    schema: &Schema,
) -> Result<Arc<dyn ExecutionPlan>> {
    if kept == wanted {
        return Ok(rows);
    }
    let columns = wanted.iter().filter_map(|at| {
        let name = schema.field(*at).name();
        let column = Column::new(name, kept.binary_search(at).ok()?);
        Some(ProjectionExpr::new(Arc::new(column), name.clone()))
    });
    let columns: Vec<ProjectionExpr> = columns.collect();
    Ok(Arc::new(ProjectionExec::try_new(columns, rows)?))
}

#[cfg(test)]
mod tests;
