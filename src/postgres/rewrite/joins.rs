//! The columns of `JOIN … USING (x)`: they are the first of `*`, and `x` alone is the one of the two sides that is there.
//!
//! DataFusion leaves them where the left side has them, and takes the left side's, which is NULL where only the right side of a
//! `RIGHT` or `FULL JOIN` has a row.

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName,
    ReplaceSelectElement, ReplaceSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind,
    TableFactor, WildcardAdditionalOptions,
};
use datafusion_funnel::definition::text::folded;

use super::{last_name, syntax};

/// Gives the columns of such joins their place and their value.
pub fn merge(select: &mut Select) {
    let (merged, plain) = merged_columns(select);
    lead(select, &merged, &plain);
    // A condition of DataFusion's doesn't know that the column of both sides is one.
    if let Some(condition) = &mut select.selection {
        write(condition, &plain);
    }
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

/// Writes the `*` of joins that all merge the same columns as those and the others of each relation. What a `NATURAL JOIN`
/// merges, and which relation has a column of a later `USING`, is known too late.
fn lead(select: &mut Select, merged: &Merged, plain: &Merged) {
    let [from] = select.from.as_slice() else {
        return;
    };
    let mut joins = from.joins.iter().map(|join| using(&join.join_operator));
    let Some(Some(first)) = joins.next() else {
        return;
    };
    let names = |columns: &[Ident]| columns.iter().map(folded).collect::<Vec<_>>();
    if !joins.all(|columns| columns.is_some_and(|columns| names(&columns) == names(&first))) {
        return;
    }
    let relations = std::iter::once(&from.relation).chain(from.joins.iter().map(|j| &j.relation));
    let Some(relations) = relations.map(name_of).collect::<Option<Vec<_>>>() else {
        return;
    };
    let values = first.iter().map(|column| {
        let value = found(merged, column).or_else(|| found(plain, column));
        value.cloned().map(|expr| match expr {
            Expr::CompoundIdentifier(_) => SelectItem::UnnamedExpr(expr),
            expr => SelectItem::ExprWithAlias {
                expr,
                alias: column.clone(),
            },
        })
    });
    let Some(values) = values.collect::<Option<Vec<_>>>() else {
        return;
    };
    let others = relations.into_iter().map(|relation| {
        let excluded = first.iter().cloned().map(ObjectName::from);
        let options = WildcardAdditionalOptions {
            opt_exclude: Some(ExcludeSelectItem::Multiple(excluded.collect())),
            ..WildcardAdditionalOptions::default()
        };
        let relation = ObjectName::from(relation);
        SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(relation),
            options,
        )
    });
    let all: Vec<SelectItem> = values.into_iter().chain(others).collect();
    let items = std::mem::take(&mut select.projection);
    select.projection = items
        .into_iter()
        .flat_map(|item| match item {
            SelectItem::Wildcard(options) if !asks_more(&options) => all.clone(),
            item => vec![item],
        })
        .collect();
}

/// Whether a `*` says more than that.
fn asks_more(options: &WildcardAdditionalOptions) -> bool {
    options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_rename.is_some()
        || options.opt_replace.is_some()
}

/// The columns of a join's `USING`.
pub fn using(operator: &JoinOperator) -> Option<Vec<Ident>> {
    use JoinOperator as J;
    let (J::Join(JoinConstraint::Using(columns))
    | J::Inner(JoinConstraint::Using(columns))
    | J::Left(JoinConstraint::Using(columns))
    | J::LeftOuter(JoinConstraint::Using(columns))
    | J::Right(JoinConstraint::Using(columns))
    | J::RightOuter(JoinConstraint::Using(columns))
    | J::FullOuter(JoinConstraint::Using(columns))) = operator
    else {
        return None;
    };
    let columns = columns.iter().map(|column| {
        let ident = column.0.last().and_then(|part| part.as_ident());
        ident.cloned()
    });
    columns.collect()
}

type Merged = Vec<(String, Expr)>;

/// The columns whose value is that of either side, and those that are the left side's.
fn merged_columns(select: &Select) -> (Merged, Merged) {
    let (mut merged, mut plain) = (Merged::new(), Merged::new());
    let [from] = select.from.as_slice() else {
        return (merged, plain);
    };
    let Some(left) = name_of(&from.relation) else {
        return (merged, plain);
    };
    for (at, join) in from.joins.iter().enumerate() {
        let Some(right) = name_of(&join.relation) else {
            return (Merged::new(), Merged::new());
        };
        let Some(columns) = using(&join.join_operator) else {
            continue;
        };
        let either = matches!(
            join.join_operator,
            JoinOperator::FullOuter(_) | JoinOperator::Right(_) | JoinOperator::RightOuter(_)
        );
        for column in columns {
            let name = folded(&column);
            let side = |side: &Ident| Expr::CompoundIdentifier(vec![side.clone(), column.clone()]);
            let known = |columns: &mut Merged| {
                let at = columns.iter().position(|(known, _)| *known == name)?;
                Some(columns.swap_remove(at).1)
            };
            let before = known(&mut merged);
            match (before, either) {
                (Some(first), true) => {
                    merged.push((name, syntax::call("coalesce", vec![first, side(&right)])));
                }
                (Some(first), false) => merged.push((name, first)),
                (None, true) => {
                    let first = known(&mut plain).unwrap_or_else(|| side(&left));
                    merged.push((name, syntax::call("coalesce", vec![first, side(&right)])));
                }
                // Which of the relations on the left has a column of a later join isn't known here.
                (None, false) if at == 0 => plain.push((name, side(&left))),
                (None, false) => {}
            }
        }
    }
    (merged, plain)
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

/// Writes the columns, but not those of queries inside.
fn write(expression: &mut Expr, merged: &Merged) {
    syntax::change_own(expression, |expression| {
        if let Expr::Identifier(ident) = &*expression
            && let Some(value) = found(merged, ident)
        {
            *expression = value.clone();
        }
    });
}
