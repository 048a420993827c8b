//! Windows that are made of others: `OVER (w ORDER BY n)`, `WINDOW v AS (w ORDER BY n)`. DataFusion would take only what is
//! written beside the name.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    Expr, NamedWindowExpr, Query, SetExpr, WindowSpec, WindowType,
};
use datafusion_funnel::definition::text::folded;

use super::syntax;

/// Writes each window of a query's select with all that it is made of. A name that no window has is left for the planner to refuse.
pub fn settle(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let mut known: HashMap<String, WindowSpec> = HashMap::new();
    // A window can name those before it.
    for definition in &mut select.named_window {
        let spec = match &mut definition.1 {
            NamedWindowExpr::WindowSpec(spec) => {
                complete(spec, &known);
                spec.clone()
            }
            NamedWindowExpr::NamedWindow(name) => match known.get(&folded(name)) {
                Some(spec) => spec.clone(),
                None => continue,
            },
        };
        known.insert(folded(&definition.0), spec);
    }
    if known.is_empty() {
        return;
    }
    let mut over = |expression: &mut Expr| {
        if let Expr::Function(function) = expression
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
        {
            complete(spec, &known);
        }
    };
    for item in &mut select.projection {
        syntax::change_own(item, &mut over);
    }
    if let Some(condition) = &mut select.qualify {
        syntax::change_own(condition, &mut over);
    }
    if let Some(order) = &mut query.order_by {
        syntax::change_own(order, &mut over);
    }
}

/// Puts in what the window that is named says: its partitions, and its order where it has one.
fn complete(spec: &mut WindowSpec, known: &HashMap<String, WindowSpec>) {
    let Some(base) = spec.window_name.as_ref().map(folded) else {
        return;
    };
    let Some(base) = known.get(&base) else {
        return;
    };
    spec.window_name = None;
    spec.partition_by.clone_from(&base.partition_by);
    if !base.order_by.is_empty() {
        spec.order_by.clone_from(&base.order_by);
    }
}
