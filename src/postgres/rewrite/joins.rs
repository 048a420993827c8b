//! The column of a `RIGHT` or `FULL JOIN … USING (x)`: `x` alone is the one of the two sides that is there.
//!
//! DataFusion takes the left side's, which is NULL where only the right side has a row.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, Query, ReplaceSelectElement,
    ReplaceSelectItem, Select, SelectItem, TableFactor, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};
use datafusion_funnel::definition::text::folded;

use super::{last_name, syntax};

/// Gives the columns of such joins their value.
pub fn merge(select: &mut Select) {
    let merged = merged_columns(select);
    if merged.is_empty() {
        return;
    }
    for item in &mut select.projection {
        match item {
            SelectItem::Wildcard(options) => replace(options, &merged),
            SelectItem::UnnamedExpr(expression) => {
                let own = match &*expression {
                    Expr::Identifier(ident) if found(&merged, ident).is_some() => {
                        Some(ident.clone())
                    }
                    _ => None,
                };
                write(expression, &merged);
                if let Some(alias) = own {
                    let expr = syntax::take(expression);
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
            SelectItem::ExprWithAlias { expr, .. } => write(expr, &merged),
            _ => {}
        }
    }
    if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
        expressions
            .iter_mut()
            .for_each(|expression| write(expression, &merged));
    }
    for condition in [&mut select.selection, &mut select.having]
        .into_iter()
        .flatten()
    {
        write(condition, &merged);
    }
}

type Merged = Vec<(String, Expr)>;

fn merged_columns(select: &Select) -> Merged {
    let [from] = select.from.as_slice() else {
        return Vec::new();
    };
    let Some(left) = name_of(&from.relation) else {
        return Vec::new();
    };
    let mut merged: Merged = Vec::new();
    for join in &from.joins {
        let Some(right) = name_of(&join.relation) else {
            return Vec::new();
        };
        let outer = match &join.join_operator {
            JoinOperator::FullOuter(JoinConstraint::Using(columns))
            | JoinOperator::Right(JoinConstraint::Using(columns))
            | JoinOperator::RightOuter(JoinConstraint::Using(columns)) => columns,
            _ => continue,
        };
        for column in outer {
            let Some(ident) = column.0.last().and_then(|part| part.as_ident()) else {
                continue;
            };
            let name = folded(ident);
            let side = |side: &Ident| Expr::CompoundIdentifier(vec![side.clone(), ident.clone()]);
            let before = merged.iter().position(|(known, _)| *known == name);
            let first = match before {
                Some(at) => merged.swap_remove(at).1,
                None => side(&left),
            };
            let value = syntax::call("coalesce", vec![first, side(&right)]);
            merged.push((name, value));
        }
    }
    merged
}

fn name_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { name, alias, .. } => Some(match alias {
            Some(alias) => alias.name.clone(),
            None => Ident::with_quote('"', last_name(name)),
        }),
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| alias.name.clone()),
        _ => None,
    }
}

fn found<'a>(merged: &'a Merged, ident: &Ident) -> Option<&'a Expr> {
    let name = folded(ident);
    let mut merged = merged.iter();
    merged
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn replace(options: &mut WildcardAdditionalOptions, merged: &Merged) {
    if options.opt_replace.is_some() {
        return;
    }
    let items = merged.iter().map(|(name, value)| {
        Box::new(ReplaceSelectElement {
            expr: value.clone(),
            column_name: Ident::with_quote('"', name),
            as_keyword: true,
        })
    });
    options.opt_replace = Some(ReplaceSelectItem {
        items: items.collect(),
    });
}

fn write(expression: &mut Expr, merged: &Merged) {
    let _ = expression.visit(&mut Write { merged, queries: 0 });
}

/// Writes the columns, but not those of queries inside.
struct Write<'a> {
    merged: &'a Merged,
    queries: usize,
}

impl VisitorMut for Write<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0
            && let Expr::Identifier(ident) = &*expression
            && let Some(value) = found(self.merged, ident)
        {
            *expression = value.clone();
        }
        ControlFlow::Continue(())
    }
}
