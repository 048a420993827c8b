//! Rules for DataFusion's optimizer, about what it can't know of journeys.

pub mod dimension_filter;
pub mod one_phase;
pub mod shared_journeys;

use std::sync::Arc;

use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;

/// The rules for physical plans: ours, then DataFusion's, for a `SessionStateBuilder`.
///
/// Without them every result is the same, and those over event logs take longer.
pub fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> =
        vec![Arc::new(one_phase::OnePhase)];
    rules.extend(PhysicalOptimizer::new().rules);
    rules
}
