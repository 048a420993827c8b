//! Table functions: each builds a logical plan over the journeys of a funnel.

pub mod ab_cuped;
pub mod ab_test;
mod adhoc;
mod arguments;
mod call;
pub mod change_decompose;
mod changed;
pub mod channel_attribution;
pub mod channel_roi;
pub mod cohort_cycle;
mod compared;
mod conversion;
pub mod cycle_bands;
pub mod cycle_drivers;
pub mod data_quality;
pub mod deal_timeline;
mod durations;
pub mod eb_rate;
pub mod engine_query;
pub mod followup_sla;
pub mod funnel;
pub mod funnel_bottleneck;
pub mod funnel_drill;
pub mod funnel_source;
pub mod funnel_trend;
pub mod journey_stages;
pub mod journeys;
mod journeys_sql;
mod language;
pub mod loss_reasons;
pub mod metric;
pub mod metric_diff;
pub mod metric_lint;
pub mod mix_rate_decompose;
pub mod outcome_drivers;
pub mod overdue_deals;
mod period;
mod population;
pub mod review;
pub mod root_cause;
mod segments;
mod sql;
pub mod stage_cif;
pub mod stage_conversion;
pub mod stage_logrank;
pub mod stage_metrics;
pub mod stage_moves;
pub mod stage_survival;
pub mod stage_times;
pub mod template_library;
#[cfg(test)]
mod tests;
mod touched;
mod wording;

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::expr_fn::now;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::sql::sqlparser::ast::{FunctionArg, ObjectName, Query, TableFactor};

use crate::definition::change::KeptChange;
use crate::definition::journeys::JourneyOptions;
use crate::definition::metric::MetricDefinition;
use crate::definition::resolve::{ResolvedFunnel, instant_type};
use crate::definition::text::folded;
use crate::{FunctionInfo, UTC};
use arguments::Arguments;
use population::Population;

/// What a statement's table functions may ask for while they are planned.
pub trait FunnelLookup: std::fmt::Debug + Send + Sync {
    /// The funnel of that name.
    ///
    /// # Errors
    /// 42704 where there is none; whatever keeps it from being resolved.
    fn funnel(&self, name: &str) -> Result<Arc<ResolvedFunnel>, DataFusionError>;

    /// The funnels that there are.
    fn funnels(&self) -> Vec<String>;

    /// The newest version of each of the company's own metrics.
    fn metrics(&self) -> Vec<Arc<MetricDefinition>>;

    /// The metric of that name, `name` or `name@version`.
    ///
    /// # Errors
    /// 42704 where there is none.
    fn metric(&self, name: &str) -> Result<Arc<MetricDefinition>, DataFusionError>;

    /// The changes that are kept, by name.
    fn changes(&self) -> Vec<Arc<KeptChange>>;

    /// The change of that name.
    ///
    /// # Errors
    /// 42704 where there is none.
    fn change(&self, name: &str) -> Result<Arc<KeptChange>, DataFusionError>;

    /// The value of parameter `$index` (from 1), once it is bound.
    fn parameter(&self, index: usize) -> Option<ScalarValue>;

    /// Is told what the user should know beside the result.
    fn notice(&self, _message: &str, _hint: &str) {}

    /// Is told the query that a call of a table function stands for.
    fn expanded(&self, _call: &TableFactor, _query: &Query) {}
}

/// A table function: its name, its named arguments and the plan that it stands for.
pub(crate) struct TableFunction {
    name: &'static str,
    arguments: fn() -> Vec<&'static str>,
    plan: fn(&mut Arguments) -> Result<LogicalPlan>,
    /// What its numbers count, where they count something of `journeys`.
    population: Option<fn(&mut Arguments) -> Result<Population>>,
    info: fn() -> FunctionInfo,
}

static FUNCTIONS: &[TableFunction] = &[
    channel_attribution::FUNCTION,
    channel_roi::FUNCTION,
    ab_cuped::FUNCTION,
    ab_test::FUNCTION,
    change_decompose::FUNCTION,
    mix_rate_decompose::FUNCTION,
    root_cause::FUNCTION,
    cohort_cycle::FUNCTION,
    funnel_trend::FUNCTION,
    cycle_bands::FUNCTION,
    cycle_drivers::FUNCTION,
    data_quality::FUNCTION,
    deal_timeline::FUNCTION,
    eb_rate::FUNCTION,
    engine_query::FUNCTION,
    followup_sla::FUNCTION,
    funnel::FUNCTION,
    funnel_bottleneck::FUNCTION,
    funnel_drill::FUNCTION,
    funnel_source::FUNCTION,
    journey_stages::FUNCTION,
    journeys::FUNCTION,
    loss_reasons::FUNCTION,
    metric::FUNCTION,
    metric_diff::FUNCTION,
    metric_lint::FUNCTION,
    outcome_drivers::FUNCTION,
    overdue_deals::FUNCTION,
    review::FUNCTION,
    stage_cif::FUNCTION,
    stage_conversion::FUNCTION,
    stage_logrank::FUNCTION,
    stage_metrics::FUNCTION,
    stage_moves::FUNCTION,
    stage_survival::FUNCTION,
    stage_times::FUNCTION,
    template_library::FUNCTION,
];

/// Name, arguments and description of every table function.
pub(crate) fn infos() -> Vec<FunctionInfo> {
    FUNCTIONS.iter().map(|function| (function.info)()).collect()
}

/// The names of the table functions.
pub fn names() -> Vec<&'static str> {
    FUNCTIONS.iter().map(|function| function.name).collect()
}

/// The schema whose relations are the funnels' journeys: `journeys.sales` is `journeys('sales')`.
pub const JOURNEYS_SCHEMA: &str = "journeys";

/// Plans the calls of the table functions in a statement.
///
/// Register one with a session's state; its [`FunnelLookup`] says which funnels there are.
#[derive(Debug)]
pub struct FunnelPlanner {
    lookup: Arc<dyn FunnelLookup>,
}

impl FunnelPlanner {
    /// A planner over the funnels of `lookup`.
    pub fn new(lookup: Arc<dyn FunnelLookup>) -> Self {
        Self { lookup }
    }

    fn call(
        &self,
        function: &TableFunction,
        call: &TableFactor,
        arguments: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<LogicalPlan> {
        let lookup = self.lookup.as_ref();
        let known = (function.arguments)();
        let mut arguments = Arguments::new(function.name, &known, arguments, context, lookup)?;
        arguments.written_as(call);
        let planned = (function.plan)(&mut arguments);
        let plan = planned.map_err(|error| arguments.locate(error))?;
        // `journeys.lead_id` means the function's column, as in Postgres.
        LogicalPlanBuilder::from(plan).alias(function.name)?.build()
    }
}

impl RelationPlanner for FunnelPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Table {
            name, alias, args, ..
        } = &relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = match args {
            Some(arguments) => match function_of(name) {
                Some(function) => {
                    self.call(function, &relation, arguments.args.clone(), context)?
                }
                None => return Ok(RelationPlanning::Original(Box::new(relation))),
            },
            None => match journeys_relation(name) {
                Some(funnel) => {
                    let funnel = self.lookup.funnel(&funnel)?;
                    let zone = context
                        .context_provider()
                        .options()
                        .execution
                        .time_zone
                        .clone();
                    let plan = journeys::public(&funnel, &default_options(&funnel, zone))?;
                    LogicalPlanBuilder::from(plan)
                        .alias(funnel.definition.name.as_str())?
                        .build()?
                }
                None => return Ok(RelationPlanning::Original(Box::new(relation))),
            },
        };
        let planned = PlannedRelation::new(plan, alias.clone());
        Ok(RelationPlanning::Planned(Box::new(planned)))
    }
}

/// Whether there is a table function of that name.
pub fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.name == name)
}

fn function_of(name: &ObjectName) -> Option<&'static TableFunction> {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(folded))
        .collect();
    let bare = match parts.as_slice() {
        [bare] => bare,
        // The functions are listed in `public`.
        [schema, bare] if schema == "public" => bare,
        _ => return None,
    };
    FUNCTIONS.iter().find(|function| function.name == bare)
}

/// The funnel whose journeys a relation's name stands for: `sales` of `journeys.sales`.
pub fn journeys_relation(name: &ObjectName) -> Option<String> {
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident().map(folded))
        .collect();
    match parts.as_slice() {
        [.., schema, funnel] if schema == JOURNEYS_SCHEMA => Some(funnel.clone()),
        _ => None,
    }
}

/// How a funnel's journeys are made when nobody says otherwise: its own counting, as of now.
fn default_options(funnel: &ResolvedFunnel, time_zone: Option<String>) -> JourneyOptions {
    JourneyOptions {
        counting: funnel.counting(),
        as_of: cast(now(), instant_type()),
        time_zone: time_zone.unwrap_or_else(|| UTC.to_owned()),
    }
}

/// The plan of `journeys('funnel')` in UTC, for relations outside of a session.
///
/// # Errors
/// XX000 when the plan's parts don't fit together, which a resolved funnel rules out.
pub fn journeys_plan(funnel: &ResolvedFunnel) -> Result<LogicalPlan> {
    journeys::public(funnel, &default_options(funnel, None))
}

/// Makes sure that the functions can be planned over a funnel, before it is kept.
///
/// # Errors
/// What planning would have said at the first query.
pub fn check(funnel: &ResolvedFunnel) -> Result<()> {
    journeys_plan(funnel).map(|_| ())
}
