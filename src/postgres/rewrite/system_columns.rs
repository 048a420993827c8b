//! Columns that every table of Postgres has and no `*` shows: `tableoid`, `xmin`, `ctid`.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, TableFactor};
use datafusion_funnel::definition::text::folded;

use super::rows_of_relations::name_of;
use super::{Scope, syntax};

/// Names that a table here may have for a column of its own: Postgres keeps them for itself.
const POSSIBLE: [&str; 5] = ["xmin", "xmax", "cmin", "cmax", "ctid"];

/// What stands in the place of such a column; nothing for another one.
pub fn value(
    parts: &[Ident],
    scope: &dyn Scope,
    aliases: &HashMap<String, String>,
) -> Option<Expr> {
    let [.., table, column] = parts else {
        return None;
    };
    let relation = aliases.get(&folded(table))?;
    let (kind, value) = match folded(column).as_str() {
        "tableoid" => {
            let oid = scope.relation_oid(relation)?;
            ("oid", syntax::number(i64::from(oid)))
        }
        "xmin" | "xmax" => ("xid", syntax::text("1")),
        "cmin" | "cmax" => ("cid", syntax::text("0")),
        "ctid" => ("tid", syntax::text("(0,1)")),
        _ => return None,
    };
    Some(syntax::call(&format!("cast_as_{kind}"), vec![value]))
}

/// Names those among a select's columns while their names are still there, and finds the table of those that are written
/// without one. A table here may have an `xmin` of its own.
pub fn name(select: &mut Select, scope: &dyn Scope, aliases: &HashMap<String, String>) {
    let only = match select.from.as_slice() {
        // The rows of a function or a query have no such columns.
        [from] if from.joins.is_empty() && matches!(from.relation, TableFactor::Table { .. }) => {
            name_of(&from.relation)
        }
        _ => None,
    };
    if let Some(table) = only
        && let Some(relation) = aliases.get(&table)
    {
        let table = Ident::with_quote('"', table);
        syntax::change_own(select, |expression| {
            let Expr::Identifier(column) = &*expression else {
                return;
            };
            let name = folded(column);
            let is_system = match name.as_str() {
                "tableoid" => true,
                name => POSSIBLE.contains(&name) && scope.lacks_column(relation, name),
            };
            if is_system && scope.relation_oid(relation).is_some() {
                let parts = vec![table.clone(), column.clone()];
                *expression = Expr::CompoundIdentifier(parts);
            }
        });
    }
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expression) = item else {
            continue;
        };
        let Expr::CompoundIdentifier(parts) = &*expression else {
            continue;
        };
        let Some(column) = parts.last().map(folded) else {
            continue;
        };
        if value(parts, scope, aliases).is_some() {
            *item = SelectItem::ExprWithAlias {
                expr: syntax::take(expression),
                alias: Ident::with_quote('"', column),
            };
        }
    }
}
