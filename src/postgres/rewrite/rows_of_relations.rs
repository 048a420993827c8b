//! A relation's name in the place of a value is its row: `SELECT t FROM t`, `count(t)`, `row_to_json(t)`, `(t).a`.
//!
//! A column of that name goes before. Only the planner knows the columns, so the name is written as an operator of ours
//! that [`crate::postgres::operators`] plans.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    JoinOperator, Select, SelectItem, TableFactor,
};
use datafusion_funnel::definition::text::folded;

use super::{last_name, syntax};

/// The operator between a relation's name and whether its rows are there, which an outer join may not find.
pub const ROW_OPERATOR: &str = "\u{1f}row";

/// What stands behind the operator where they are.
pub const ROW_IS_THERE: &str = "there";

/// Marks the rows among a select's columns and their functions' arguments.
pub fn mark(select: &mut Select) {
    let mut relations = Vec::new();
    let mut there = true;
    for from in &select.from {
        there &= from
            .joins
            .iter()
            .all(|join| keeps_both(&join.join_operator));
        relations.extend(name_of(&from.relation));
        relations.extend(from.joins.iter().filter_map(|join| name_of(&join.relation)));
    }
    if relations.is_empty() {
        return;
    }
    let rows = Rows {
        relations: &relations,
        there,
    };
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(expression)
        | SelectItem::ExprWithAlias {
            expr: expression, ..
        }) = item
        else {
            continue;
        };
        let own = rows.row(expression);
        syntax::change_own(expression, |expression| rows.write(expression));
        if let Some((name, row)) = own {
            *item = SelectItem::ExprWithAlias {
                expr: row,
                alias: Ident::with_quote('"', name),
            };
        }
    }
}

/// Whether a row of a join has a row of each side.
fn keeps_both(join: &JoinOperator) -> bool {
    use JoinOperator as J;
    matches!(
        join,
        J::Join(_) | J::Inner(_) | J::CrossJoin(_) | J::StraightJoin(_)
    )
}

/// What a relation with columns is called here; a function's rows have its name as their column.
pub fn name_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } => Some(match alias {
            Some(alias) => folded(&alias.name),
            None => last_name(name),
        }),
        TableFactor::Derived {
            alias: Some(alias), ..
        } => Some(folded(&alias.name)),
        _ => None,
    }
}

struct Rows<'a> {
    relations: &'a [String],
    /// Each of their rows is one.
    there: bool,
}

impl Rows<'_> {
    fn row(&self, expression: &Expr) -> Option<(String, Expr)> {
        match expression {
            Expr::Identifier(ident) => {
                let name = folded(ident);
                let row = self.relations.contains(&name).then(|| self.row_of(&name))?;
                Some((name, row))
            }
            _ => None,
        }
    }

    fn row_of(&self, name: &str) -> Expr {
        Expr::BinaryOp {
            left: Box::new(syntax::text(name)),
            op: BinaryOperator::Custom(ROW_OPERATOR.to_owned()),
            right: Box::new(syntax::text(if self.there { ROW_IS_THERE } else { "" })),
        }
    }

    /// Writes the rows among a function's arguments, and a row's field as the column.
    fn write(&self, expression: &mut Expr) {
        match expression {
            Expr::Function(function) => {
                let FunctionArguments::List(list) = &mut function.args else {
                    return;
                };
                for argument in &mut list.args {
                    let row = match argument {
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => self.row(value),
                        FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => {
                            let name = last_name(name);
                            Some((name.clone(), self.row_of(&name)))
                        }
                        _ => None,
                    };
                    if let Some((_, row)) = row {
                        *argument = syntax::argument(row);
                    }
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let Expr::Nested(inner) = root.as_ref()
                    && let Expr::Identifier(relation) = inner.as_ref()
                    && self.relations.contains(&folded(relation))
                    && let [AccessExpr::Dot(Expr::Identifier(column))] = access_chain.as_slice()
                {
                    *expression = Expr::CompoundIdentifier(vec![relation.clone(), column.clone()]);
                }
            }
            _ => {}
        }
    }
}
