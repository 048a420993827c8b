//! Aggregates: many rows of an entity or a group become one value.

pub mod ab_looks;
pub mod attribution;
pub mod bootstrap_sum;
pub(crate) mod calls;
pub(crate) mod columns;
pub mod cox_fit;
pub mod cumulative_incidence;
pub mod did_fit;
pub(crate) mod distinct_keys;
pub mod eb_prior;
pub(crate) mod group_log;
pub mod hits;
pub mod intersect_count;
pub mod its_fit;
pub mod journey;
pub mod life_table;
pub(crate) mod one_group;
pub mod range_retention;
pub(crate) mod record;
pub mod retention;
pub mod sequence;
pub mod sequence_next_node;
#[cfg(test)]
pub(crate) mod testing;
pub mod touch;
pub mod window_funnel;
pub mod window_funnel_detail;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use self::hits::HitResults;

/// What an aggregate has to remember of the rows of a group, where that isn't less than the rows.
#[derive(Debug, Clone)]
pub(crate) enum Log {
    /// The rows that meet a condition: the first argument is their time, the second the conditions as bits.
    /// Nothing else is looked at.
    OfMetConditions(Arc<dyn HitResults>),
    /// Rows of any kind.
    OfAllRows,
}

/// The log that an aggregate keeps; nothing where a small state does.
pub(crate) fn log_of(call: &AggregateFunctionExpr) -> Option<Log> {
    let function = call.fun();
    window_funnel::log_of(function)
        .or_else(|| window_funnel_detail::log_of(function))
        .or_else(|| sequence::log_of(function))
        .or_else(|| journey::log_of(function, &call.expressions()))
}

/// Whether an aggregate takes the moment of the statement into its plan when it is simplified.
pub fn reads_clock(function: &AggregateUDF) -> bool {
    window_funnel_detail::reads_clock(function)
}
