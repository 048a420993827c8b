//! Columns that every table of Postgres has and no `*` shows: `tableoid`, `xmin`, `ctid`.
//!
//! Rows have no place that stays, so that `ctid` is the same for all of them. A client that shows rows may ask for it beside them;
//! whatever would tell rows apart by it is refused.

use std::collections::HashMap;

use datafusion::common::TableReference;
use datafusion::sql::sqlparser::ast::{Distinct, Expr, Ident, Select, SelectItem, TableFactor};
use datafusion_funnel::definition::text::folded;

use super::rows_of_relations::name_of;
use super::{Scope, syntax};
use crate::error::Error;

/// Names that a table here may have for a column of its own: Postgres keeps them for itself.
const POSSIBLE: [&str; 5] = ["xmin", "xmax", "cmin", "cmax", PLACE];

/// The place of a row.
pub const PLACE: &str = "ctid";

/// The same where it is only shown; no keyboard has the name.
const SHOWN: &str = "ctid\u{1f}";

/// That rows can't be told apart by their places.
pub fn no_place(table: &str) -> Error {
    Error::Unsupported {
        message: format!("telling the rows of table \"{table}\" apart by ctid is not supported"),
        hint: Some(
            "ctid is the same for all of them: tell them apart by a key, or by all of their columns."
                .to_owned(),
        ),
    }
}

/// The table whose rows an expression would tell apart by their places.
pub fn placed(
    expression: &Expr,
    scope: &dyn Scope,
    aliases: &HashMap<String, String>,
) -> Option<String> {
    let Expr::CompoundIdentifier(parts) = expression else {
        return None;
    };
    let [.., table, column] = parts.as_slice() else {
        return None;
    };
    let table = folded(table);
    let relation = aliases.get(&table)?;
    let refused = folded(column) == PLACE
        && scope.lacks_column(relation, PLACE)
        && !is_catalog(relation, scope);
    refused.then_some(table)
}

/// Whether a relation is one of the catalogs, whose rows nobody changes.
fn is_catalog(relation: &str, scope: &dyn Scope) -> bool {
    let relation = TableReference::parse_str(relation);
    let schema = match relation.schema() {
        Some(schema) => Some(schema.to_owned()),
        None => scope.schema_of(relation.table()),
    };
    schema.is_some_and(|schema| schema == "pg_catalog" || schema == "information_schema")
}

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
    let column = folded(column);
    // What a query gives under such a name is its own.
    if POSSIBLE.contains(&column.as_str()) && scope.has_column(relation, &column) {
        return None;
    }
    let (kind, value) = match column.as_str() {
        "tableoid" => {
            let oid = scope.relation_oid(relation)?;
            ("oid", syntax::number(i64::from(oid)))
        }
        "xmin" | "xmax" => ("xid", syntax::text("1")),
        "cmin" | "cmax" => ("cid", syntax::text("0")),
        SHOWN | PLACE => ("tid", syntax::text("(0,1)")),
        _ => return None,
    };
    Some(syntax::call(&format!("cast_as_{kind}"), vec![value]))
}

/// Names those among a select's columns while their names are still there, and finds the table of those that are written
/// without one. A table here may have an `xmin` of its own. `shows` says that the columns are those of the statement's rows.
pub fn name(
    select: &mut Select,
    scope: &dyn Scope,
    aliases: &HashMap<String, String>,
    shows: bool,
) {
    let is_distinct = !matches!(select.distinct, None | Some(Distinct::All));
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
        if shows
            && !is_distinct
            && let SelectItem::UnnamedExpr(expression)
            | SelectItem::ExprWithAlias {
                expr: expression, ..
            } = item
            && placed(expression, scope, aliases).is_some()
            && let Expr::CompoundIdentifier(parts) = expression
            && let Some(place) = parts.last_mut()
        {
            // What it is called stays.
            let name = Ident::with_quote('"', PLACE);
            *place = Ident::with_quote('"', SHOWN);
            if let SelectItem::UnnamedExpr(expression) = item {
                *item = SelectItem::ExprWithAlias {
                    expr: syntax::take(expression),
                    alias: name,
                };
            }
        }
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
