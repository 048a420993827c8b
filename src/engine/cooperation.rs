//! Queries that give way, so that they can be canceled.
//!
//! A task of tokio can be stopped only where it waits, and DataFusion's scans pause now and then for that.
//! A join makes many batches of one that it has read, and an aggregate above takes them all without a
//! pause: a cross join of two million-row tables can't be stopped for minutes, and keeps its threads from
//! everybody else. Here joins, and what unnests lists, pause as the scans do.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;

/// Lets every operator that multiplies rows pause after a number of batches.
#[derive(Debug)]
pub struct PauseInJoins;

impl PhysicalOptimizerRule for PauseInJoins {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let paused = plan.transform_up(|node| {
            Ok(match multiplies(node.as_ref()) {
                true => {
                    Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
                }
                false => Transformed::no(node),
            })
        })?;
        Ok(paused.data)
    }

    fn name(&self) -> &str {
        "pause_in_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn multiplies(node: &dyn ExecutionPlan) -> bool {
    node.is::<CrossJoinExec>()
        || node.is::<HashJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<PiecewiseMergeJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<UnnestExec>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    use super::*;

    /// On one thread, a query that doesn't give way would keep the timer from being looked at.
    #[tokio::test]
    async fn a_join_gives_way() {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(PauseInJoins))
            .build();
        let context = SessionContext::new_with_state(state);
        for condition in ["true", "a.value = b.value % 2 + 1", "a.value < b.value"] {
            let sql = format!(
                "SELECT count(*) FROM generate_series(1, 3000000) a JOIN generate_series(1, 3000000) b
                   ON {condition} JOIN generate_series(1, 3000000) c ON c.value > b.value"
            );
            let query = context.sql(&sql).await.unwrap();
            let stopped = tokio::time::timeout(Duration::from_millis(300), query.collect()).await;
            assert!(stopped.is_err(), "{condition}");
        }
    }
}
