//! Keys of tables are for names alone.
//!
//! `SELECT id, name … GROUP BY id` is allowed where `id` is the key, which is settled while a statement is planned. After that,
//! DataFusion takes a key for unique behind `unnest` and joins as well, where it isn't, and drops what groups, orders and tells
//! rows apart beside it. So that plans are optimized without the keys of tables.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::TableScanBuilder;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::optimizer::AnalyzerRule;

use crate::catalog::GuardedTable;

/// Takes the keys of tables out of a plan.
#[derive(Debug, Default)]
pub struct ForgetKeys;

impl AnalyzerRule for ForgetKeys {
    fn name(&self) -> &'static str {
        "forget_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let forgotten = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::TableScan(scan) => Ok(match without_keys(&scan)? {
                Some(scan) => Transformed::yes(LogicalPlan::TableScan(scan)),
                None => Transformed::no(LogicalPlan::TableScan(scan)),
            }),
            node => Ok(Transformed::no(node)),
        })?;
        match forgotten.transformed {
            // What the nodes above say of keys is made again from those below.
            true => forgotten
                .data
                .transform_up_with_subqueries(|node| Ok(Transformed::yes(node.recompute_schema()?)))
                .map(|plan| plan.data),
            false => Ok(forgotten.data),
        }
    }
}

/// The scan of a table that has keys, without them; nothing for one that has none.
fn without_keys(scan: &TableScan) -> Result<Option<TableScan>> {
    if scan
        .source
        .constraints()
        .is_none_or(|constraints| constraints.iter().next().is_none())
    {
        return Ok(None);
    }
    let table = source_as_provider(&scan.source)?;
    let Some(guarded) = table.downcast_ref::<GuardedTable>() else {
        return Ok(None);
    };
    let source = provider_as_source(Arc::new(guarded.without_keys()));
    let keyless = TableScanBuilder::new(scan.table_name.clone(), source)
        .with_projection(scan.projection.clone())
        .with_filters(scan.filters.clone())
        .with_fetch(scan.fetch);
    keyless.build().map(Some)
}
