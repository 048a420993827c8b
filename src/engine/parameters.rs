//! What a plan says about the types of its parameters.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::postgres::types::{TYPE_KEY, list_of, marked_always};

/// The number of a parameter by its name, from 1: `$1`.
pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok()
}

/// The types of the parameters, by name (`$1`), as far as the plan says them. One is said by what the
/// parameter is compared with, by a cast (`$1::bigint`), and by `LIMIT` and `OFFSET`; of several, the first.
pub fn types(plan: &LogicalPlan) -> Result<HashMap<String, DataType>> {
    let mut types = HashMap::new();
    plan.apply_with_subqueries(|node| {
        let is_limit = matches!(node, LogicalPlan::Limit(_));
        node.apply_expressions(|expression| {
            if is_limit && let Expr::Placeholder(parameter) = expression {
                types.entry(parameter.id.clone()).or_insert(DataType::Int64);
            }
            expression.apply(|expression| {
                note(expression, &mut types);
                note_array(expression, node, &mut types);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// `x = ANY ($1)`: the parameter is an array of what it is compared with.
fn note_array(expression: &Expr, node: &LogicalPlan, types: &mut HashMap<String, DataType>) {
    if let Expr::ScalarFunction(function) = expression
        && matches!(function.name(), "pg_any" | "pg_all")
        && let [_, value, Expr::Placeholder(parameter)] = function.args.as_slice()
        && let Some(kind) = node
            .inputs()
            .iter()
            .find_map(|input| value.get_type(input.schema()).ok())
        && !kind.is_null()
    {
        types
            .entry(parameter.id.clone())
            .or_insert_with(|| list_of(kind));
    }
}

/// A type with the Postgres type that a cast notes: of `$1::oid[]` it is an element's.
fn marked(field: &FieldRef) -> DataType {
    let element = field
        .metadata()
        .get(TYPE_KEY)
        .and_then(|kind| kind.strip_prefix('_'));
    match (element, field.data_type()) {
        (Some(element), DataType::List(item)) => {
            DataType::List(Arc::new(marked_always(item.as_ref().clone(), element)))
        }
        (_, kind) => kind.clone(),
    }
}

fn note(expression: &Expr, types: &mut HashMap<String, DataType>) {
    let said = match expression {
        Expr::Placeholder(parameter) => parameter.field.as_ref().map(|field| (parameter, field)),
        Expr::Cast(cast) => match cast.expr.as_ref() {
            Expr::Placeholder(parameter) => Some((parameter, &cast.field)),
            _ => None,
        },
        _ => None,
    };
    if let Some((parameter, field)) = said {
        types
            .entry(parameter.id.clone())
            .or_insert_with(|| marked(field));
    }
}

/// The plan with parameters of these types, for the types of its columns: `SELECT $1` has its parameter's.
pub fn assume(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let nulls: Result<Vec<ScalarValue>> = types.iter().map(ScalarValue::try_from).collect();
    plan.with_param_values(ParamValues::from(nulls?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn check(sql: &str, expected: &[(&str, DataType)]) -> LogicalPlan {
        let context = SessionContext::new();
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let expected = expected
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), kind.clone()));
        assert_eq!(types(&plan).unwrap(), expected.collect(), "{sql}");
        plan
    }

    #[tokio::test]
    async fn a_comparison_a_cast_and_a_limit_say_the_type() {
        let numbers = "FROM generate_series(1, 9) AS g(n)";
        check(
            &format!("SELECT n {numbers} WHERE n > $1"),
            &[("$1", DataType::Int64)],
        )
        .await;
        check("SELECT $1::boolean, $2", &[("$1", DataType::Boolean)]).await;
        let both = [("$1", DataType::Int64), ("$2", DataType::Int64)];
        check(&format!("SELECT n {numbers} LIMIT $1 OFFSET $2"), &both).await;
        let nested =
            format!("SELECT 1 WHERE EXISTS (SELECT 1 {numbers} WHERE n = $1::int OR $1 IS NULL)");
        check(&nested, &[("$1", DataType::Int32)]).await;
    }

    #[tokio::test]
    async fn a_column_has_the_type_of_its_parameter() {
        let plan = check("SELECT $1 AS x", &[]).await;
        let plan = assume(plan, &[DataType::Int32]).unwrap();
        assert_eq!(plan.schema().field(0).data_type(), &DataType::Int32);
        assert_eq!(plan.schema().field(0).name(), "x");
    }
}
