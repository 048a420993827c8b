//! What a plan says about the types of its parameters.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::postgres::casts::from_values;
use crate::postgres::mixed_types::{OPERATORS, unaliased};
use crate::postgres::style::Locale;
use crate::postgres::types::{list_of, marked_always, type_of};

/// What is known of the types of parameters, by their names: `$1`. A field says which of Postgres' types it is.
pub type ParameterTypes = HashMap<String, FieldRef>;

/// `-`
const MINUS: &str = "pg_minus";
/// What a text is read by as what stands beside it.
const READ_AS: &str = "pg_read_as";
/// Operators of arrays and bytes with others.
const OF_ONE_TYPE: [&str; 4] = ["pg_concat_op", "pg_contains", "pg_contained", "pg_overlap"];

/// The number of a parameter by its name, from 1: `$1`.
pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?.parse().ok()
}

/// The types of the parameters, by name (`$1`), as far as the plan says them. One is said by what the
/// parameter is compared with, by a cast (`$1::bigint`), and by `LIMIT` and `OFFSET`; of several, the first.
pub fn types(plan: &LogicalPlan) -> Result<ParameterTypes> {
    let mut types = ParameterTypes::new();
    plan.apply_with_subqueries(|node| {
        note_union(node, &mut types);
        let is_limit = matches!(node, LogicalPlan::Limit(_));
        node.apply_expressions(|expression| {
            if is_limit && let Expr::Placeholder(parameter) = expression {
                types
                    .entry(parameter.id.clone())
                    .or_insert_with(|| Arc::new(parameter_field(DataType::Int64)));
            }
            expression.apply(|expression| {
                note(expression, &mut types);
                note_array(expression, node, &mut types);
                note_operand(expression, node, &mut types);
                note_argument(expression, &mut types);
                note_condition(expression, &mut types);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(types)
}

/// `x = ANY ($1)`: the parameter is an array of what it is compared with.
fn note_array(expression: &Expr, node: &LogicalPlan, types: &mut ParameterTypes) {
    if let Expr::ScalarFunction(function) = expression
        && matches!(function.name(), "pg_any" | "pg_all")
        && let [_, Expr::Placeholder(parameter), list] = function.args.as_slice()
        && let Some((_, list)) = node
            .inputs()
            .iter()
            .find_map(|input| list.to_field(input.schema()).ok())
        && let DataType::List(item) = list.data_type()
    {
        let element = parameter_field(item.data_type().clone());
        let kind = type_of(&list);
        let element = marked_always(element, kind.trim_start_matches('_'));
        types
            .entry(parameter.id.clone())
            .or_insert_with(|| Arc::new(element));
    }
    if let Expr::ScalarFunction(function) = expression
        && matches!(function.name(), "pg_any" | "pg_all")
        && let [_, value, Expr::Placeholder(parameter)] = function.args.as_slice()
        && let Some((_, value)) = node
            .inputs()
            .iter()
            .find_map(|input| value.to_field(input.schema()).ok())
        && !value.data_type().is_null()
    {
        let list = parameter_field(list_of(value.data_type().clone()));
        let list = marked_always(list, &format!("_{}", type_of(&value)));
        types
            .entry(parameter.id.clone())
            .or_insert_with(|| Arc::new(list));
    }
}

/// `SELECT n FROM t UNION SELECT $1`: the parameter is of the type of the column that it stands below.
fn note_union(node: &LogicalPlan, types: &mut ParameterTypes) {
    let LogicalPlan::Union(union) = node else {
        return;
    };
    for input in &union.inputs {
        let LogicalPlan::Projection(projection) = input.as_ref() else {
            continue;
        };
        for (at, value) in projection.expr.iter().enumerate() {
            let Expr::Placeholder(parameter) = unaliased(value) else {
                continue;
            };
            let fields = union.inputs.iter();
            let mut fields = fields.filter_map(|input| input.schema().fields().get(at));
            let typed =
                |field: &&FieldRef| !field.data_type().is_null() && !field.data_type().is_string();
            if let Some(field) = fields.find(typed) {
                types
                    .entry(parameter.id.clone())
                    .or_insert_with(|| Arc::clone(field));
            }
        }
    }
}

/// The arguments of functions that are of a type of their own, by their places.
const ARGUMENTS: [(&str, usize, DataType); 15] = [
    ("left", 1, DataType::Int32),
    ("right", 1, DataType::Int32),
    ("lpad", 1, DataType::Int32),
    ("rpad", 1, DataType::Int32),
    ("repeat", 1, DataType::Int32),
    ("split_part", 2, DataType::Int32),
    ("pg_substr", 1, DataType::Int32),
    ("pg_substr", 2, DataType::Int32),
    ("pg_substring", 2, DataType::Int32),
    ("pg_round", 1, DataType::Int32),
    ("pg_trunc", 1, DataType::Int32),
    ("pg_percentile_cont", 1, DataType::Float64),
    ("pg_percentile_disc", 1, DataType::Float64),
    ("pg_list_generate_series", 2, INTERVAL),
    ("pg_sleep", 0, DataType::Float64),
];

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

fn note_argument(expression: &Expr, types: &mut ParameterTypes) {
    let Expr::ScalarFunction(function) = expression else {
        return;
    };
    for (name, at, kind) in &ARGUMENTS {
        if function.name() == *name
            && let Some(Expr::Placeholder(parameter)) = function.args.get(*at)
        {
            types
                .entry(parameter.id.clone())
                .or_insert_with(|| Arc::new(parameter_field(kind.clone())));
        }
    }
}

/// `NOT $1`, `CASE WHEN $1 …`: truths.
fn note_condition(expression: &Expr, types: &mut ParameterTypes) {
    let conditions: Vec<&Expr> = match expression {
        Expr::Not(condition) => vec![condition],
        Expr::Case(case) if case.expr.is_none() => {
            let conditions = case.when_then_expr.iter();
            conditions
                .map(|(condition, _)| condition.as_ref())
                .collect()
        }
        _ => return,
    };
    for condition in conditions {
        if let Expr::Placeholder(parameter) = condition {
            types
                .entry(parameter.id.clone())
                .or_insert_with(|| Arc::new(parameter_field(DataType::Boolean)));
        }
    }
}

/// `n * $1`: beside a number, the parameter is one of the same type; what is taken from a moment is one, too. `coalesce(day, $1)`: it
/// is of the type that it stands beside.
fn note_operand(expression: &Expr, node: &LogicalPlan, types: &mut ParameterTypes) {
    let Expr::ScalarFunction(function) = expression else {
        return;
    };
    let (name, [left, right]) = (function.name(), function.args.as_slice()) else {
        return;
    };
    let (parameter, beside) = match (left, right) {
        (Expr::Placeholder(parameter), beside) | (beside, Expr::Placeholder(parameter)) => {
            (parameter, beside)
        }
        _ => return,
    };
    let inputs = node.inputs();
    let mut fields = inputs
        .iter()
        .filter_map(|input| beside.to_field(input.schema()).ok());
    let Some((_, field)) = fields.next() else {
        return;
    };
    let beside_interval = matches!(field.data_type(), DataType::Interval(_));
    let own = match name {
        "pg_times" | "pg_over" if beside_interval => Some(DataType::Float64),
        "pg_plus" | MINUS if beside_interval => Some(INTERVAL),
        "pg_plus" if matches!(field.data_type(), DataType::Timestamp(..)) => Some(INTERVAL),
        _ => None,
    };
    if let Some(kind) = own {
        types
            .entry(parameter.id.clone())
            .or_insert_with(|| Arc::new(parameter_field(kind)));
        return;
    }
    let takes = match field.data_type() {
        kind if name == READ_AS => !kind.is_null(),
        DataType::List(_) | DataType::Binary => OF_ONE_TYPE.contains(&name),
        kind if kind.is_numeric() => OPERATORS.contains(&name),
        DataType::Date32 | DataType::Timestamp(..) => name == MINUS,
        _ => false,
    };
    if takes {
        types.entry(parameter.id.clone()).or_insert_with(|| {
            let kind = parameter_field(field.data_type().clone());
            Arc::new(match name {
                READ_AS => kind.with_metadata(field.metadata().clone()),
                _ if OF_ONE_TYPE.contains(&name) => kind.with_metadata(field.metadata().clone()),
                _ => kind,
            })
        });
    }
}

fn note(expression: &Expr, types: &mut ParameterTypes) {
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
            .or_insert_with(|| Arc::clone(field));
    }
}

/// A parameter of an engine's type alone.
pub fn parameter_field(kind: DataType) -> Field {
    Field::new("", kind, true)
}

/// The types of so many parameters: as they were declared, or else as the first of `said` has them, or else texts.
pub fn settled(
    count: usize,
    declared: &[Option<DataType>],
    said: &[&ParameterTypes],
) -> Vec<FieldRef> {
    let settled = |at: usize| match declared.get(at).cloned().flatten() {
        Some(kind) => Arc::new(parameter_field(kind)),
        None => {
            let name = format!("${}", at + 1);
            let said = said.iter().find_map(|types| types.get(&name));
            said.map_or_else(|| Arc::new(parameter_field(DataType::Utf8)), Arc::clone)
        }
    };
    (0..count).map(settled).collect()
}

/// The plan with parameters of these types, for the types of its columns: `SELECT $1` has its parameter's.
pub fn assume(plan: LogicalPlan, types: &[FieldRef]) -> Result<LogicalPlan> {
    let nulls = types
        .iter()
        .map(|field| ScalarValue::try_from(field.data_type()));
    let nulls: Result<Vec<ScalarValue>> = nulls.collect();
    bound(plan, &nulls?, &Locale::default())
}

/// The plan with the values of its parameters. One that is cast is cast as a column would be: `2.6` for an integer is 3.
///
/// # Errors
/// 22P02 and its kin for a value that can't be cast.
pub fn bound(plan: LogicalPlan, values: &[ScalarValue], locale: &Locale) -> Result<LogicalPlan> {
    if values.is_empty() {
        return Ok(plan);
    }
    let plan = plan
        .transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let name = names.save(&expression);
                let cast =
                    expression.transform_up(|expression| cast(expression, values, locale))?;
                Ok(cast.update_data(|expression| name.restore(expression)))
            })
        })?
        .data;
    let plan = plan.with_param_values(ParamValues::from(values.to_vec()))?;
    // The types of columns are those of the values now.
    let settled = plan
        .clone()
        .transform_up_with_subqueries(|node| Ok(Transformed::yes(node.recompute_schema()?)));
    Ok(settled.map_or(plan, |settled| settled.data))
}

/// `$1::integer` with the value of another type.
fn cast(expression: Expr, values: &[ScalarValue], locale: &Locale) -> Result<Transformed<Expr>> {
    let Expr::Cast(cast) = &expression else {
        return Ok(Transformed::no(expression));
    };
    let value = match cast.expr.as_ref() {
        Expr::Placeholder(parameter) => {
            number(&parameter.id).and_then(|number| values.get(number.checked_sub(1)?))
        }
        _ => None,
    };
    let Some(value) = value else {
        return Ok(Transformed::no(expression));
    };
    let (from, to) = (value.data_type(), cast.field.data_type());
    let own_digits = from.is_decimal() && *to == UNSCALED;
    if from == *to || value.is_null() && !own_digits {
        return Ok(Transformed::no(expression));
    }
    let value = match own_digits {
        // A numeric without a scale has the digits that were sent.
        true => value.clone(),
        false => {
            let source = parameter_field(from);
            let read = from_values(&value.to_array()?, &source, &cast.field, locale)?;
            ScalarValue::try_from_array(&read, 0)?
        }
    };
    let metadata = cast.field.metadata();
    let metadata = (!metadata.is_empty()).then(|| metadata.clone().into());
    Ok(Transformed::yes(Expr::Literal(value, metadata)))
}

/// A numeric without a scale: a parameter that is one keeps the digits that were sent.
pub const UNSCALED: DataType = DataType::Decimal128(38, 10);

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
        let found = types(&plan).unwrap().into_iter();
        let found: HashMap<_, _> = found
            .map(|(name, field)| (name, field.data_type().clone()))
            .collect();
        assert_eq!(found, expected.collect(), "{sql}");
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
        let plan = assume(plan, &[Arc::new(parameter_field(DataType::Int32))]).unwrap();
        assert_eq!(plan.schema().field(0).data_type(), &DataType::Int32);
        assert_eq!(plan.schema().field(0).name(), "x");
    }
}
