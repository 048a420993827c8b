//! What views read. A view's query stands in a plan in the place of its name.

use datafusion::catalog::TableProvider;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

/// How far a view's query is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The relations that it names.
    Named,
    /// Those that the views among them read too.
    Through,
}

/// The relations that a view reads; none for what is no view. A query in its `FROM` may be called as a relation is, and is
/// among them then.
pub fn read_by(view: &dyn TableProvider, depth: Depth) -> Vec<TableReference> {
    let mut reads = Vec::new();
    let Some(plan) = view.get_logical_plan() else {
        return reads;
    };
    // Nothing in it fails.
    let _ = plan.apply_with_subqueries(|node| {
        let (name, is_view) = match node {
            LogicalPlan::TableScan(scan) => (&scan.table_name, false),
            LogicalPlan::SubqueryAlias(alias) => (&alias.alias, alias.alias.schema().is_some()),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        if !reads.contains(name) {
            reads.push(name.clone());
        }
        Ok(match is_view && depth == Depth::Named {
            true => TreeNodeRecursion::Jump,
            false => TreeNodeRecursion::Continue,
        })
    });
    reads
}
