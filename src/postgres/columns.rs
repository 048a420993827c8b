//! The Postgres types of a plan's columns, where DataFusion loses them on the way: behind `CASE`, `coalesce`, `unnest`.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan};

use super::types;

/// Functions whose result has the type of their arguments.
const LIKE_ARGUMENTS: [&str; 8] = [
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "min",
    "max",
    "first_value",
    "last_value",
];

/// The schema of a plan's rows with the types that its expressions have.
pub fn marked(plan: &LogicalPlan, schema: &Schema) -> SchemaRef {
    let field = |(at, field): (usize, &Arc<Field>)| {
        let mut metadata = field.metadata().clone();
        match type_at(plan, at) {
            Some(kind) => metadata.insert(types::TYPE_KEY.to_owned(), kind),
            // Of columns of different types, a union's has the first one's mark.
            None => metadata.remove(types::TYPE_KEY),
        };
        field.as_ref().clone().with_metadata(metadata)
    };
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The type of a plan's column of that number; nothing where its Arrow type says it.
fn type_at(plan: &LogicalPlan, at: usize) -> Option<String> {
    match plan {
        LogicalPlan::Projection(projection) => type_of(projection.expr.get(at)?, &projection.input),
        LogicalPlan::Aggregate(aggregate) => {
            let groups = aggregate.group_expr.len();
            match at.checked_sub(groups) {
                None => type_of(aggregate.group_expr.get(at)?, &aggregate.input),
                Some(at) => type_of(aggregate.aggr_expr.get(at)?, &aggregate.input),
            }
        }
        LogicalPlan::Unnest(unnest) => {
            let source = *unnest.dependency_indices.get(at)?;
            let kind = type_at(&unnest.input, source)?;
            let is_list = unnest
                .list_type_columns
                .iter()
                .any(|(index, _)| *index == source);
            match is_list {
                true => element(&kind),
                false => Some(kind),
            }
        }
        LogicalPlan::Distinct(Distinct::On(on)) => type_of(on.select_expr.get(at)?, &on.input),
        LogicalPlan::Window(window) => {
            let columns = window.input.schema().fields().len();
            match at.checked_sub(columns) {
                None => type_at(&window.input, at),
                Some(at) => type_of(window.window_expr.get(at)?, &window.input),
            }
        }
        LogicalPlan::Join(join) => {
            // The columns of both sides, or of one.
            let left = join.left.schema().fields().len();
            let whole = left + join.right.schema().fields().len() == plan.schema().fields().len();
            match at.checked_sub(left) {
                None if whole => type_at(&join.left, at),
                Some(at) if whole => type_at(&join.right, at),
                _ => mark_at(plan, at),
            }
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Repartition(_) => type_at(plan.inputs().first()?, at),
        LogicalPlan::Union(union) => {
            let mut kinds = union.inputs.iter().map(|input| type_at(input, at));
            let first = kinds.next()??;
            let is_text = plan
                .schema()
                .fields()
                .get(at)
                .is_some_and(|field| field.data_type().is_string());
            kinds
                .all(|kind| {
                    kind.as_ref() == Some(&first)
                        || is_text && both_texts(Some(&first), kind.as_deref())
                })
                .then_some(first)
        }
        LogicalPlan::RecursiveQuery(recursive) => type_at(&recursive.static_term, at),
        other => mark_at(other, at),
    }
}

/// The mark that a plan's own schema has.
fn mark_at(plan: &LogicalPlan, at: usize) -> Option<String> {
    let field = plan.schema().fields().get(at)?;
    field.metadata().get(types::TYPE_KEY).cloned()
}

fn element(list: &str) -> Option<String> {
    match list {
        "oidvector" => Some("oid".to_owned()),
        list => list.strip_prefix('_').map(str::to_owned),
    }
}

fn type_of(expression: &Expr, input: &LogicalPlan) -> Option<String> {
    match expression {
        Expr::Alias(alias) => return type_of(&alias.expr, input),
        Expr::Column(column) => return type_at(input, index_of(column, input)?),
        _ => {}
    }
    if let Ok((_, field)) = expression.to_field(input.schema())
        && let Some(kind) = field.metadata().get(types::TYPE_KEY)
    {
        return Some(kind.clone());
    }
    match expression {
        Expr::Case(case) => {
            // As in Postgres, ELSE goes first.
            let results = case.when_then_expr.iter().map(|(_, then)| then.as_ref());
            common(case.else_expr.as_deref().into_iter().chain(results), input)
        }
        Expr::ScalarFunction(call) if LIKE_ARGUMENTS.contains(&call.func.name()) => {
            common(call.args.iter(), input)
        }
        Expr::ScalarFunction(call) if call.func.name() == "pg_array_or_empty" => {
            type_of(call.args.first()?, input)
        }
        Expr::AggregateFunction(call) if LIKE_ARGUMENTS.contains(&call.func.name()) => {
            common(call.params.args.iter(), input)
        }
        Expr::AggregateFunction(call) if call.func.name() == "pg_array_agg" => {
            Some(format!("_{}", type_of(call.params.args.first()?, input)?))
                .filter(|kind| !kind.starts_with("__"))
        }
        Expr::Unnest(unnest) => element(&type_of(&unnest.expr, input)?),
        Expr::ScalarSubquery(subquery) => type_at(&subquery.subquery, 0),
        _ => None,
    }
}

fn index_of(column: &Column, input: &LogicalPlan) -> Option<usize> {
    input.schema().maybe_index_of_column(column)
}

/// The one type that all of the expressions have; a literal has any. Of texts, the first decides.
fn common<'a>(expressions: impl Iterator<Item = &'a Expr>, input: &LogicalPlan) -> Option<String> {
    let mut found: Option<Option<String>> = None;
    for expression in expressions {
        if matches!(expression, Expr::Literal(ScalarValue::Null, _)) {
            continue;
        }
        let kind = type_of(expression, input);
        // A number or a text beside an OID or a `"char"` is read as one.
        let is_literal =
            matches!(expression, Expr::Literal(..)) || matches!(expression, Expr::Cast(_));
        if kind.is_none() && is_literal {
            continue;
        }
        let is_text = expression
            .get_type(input.schema())
            .is_ok_and(|kind| kind.is_string());
        match &found {
            None => found = Some(kind),
            Some(first)
                if *first == kind || is_text && both_texts(first.as_deref(), kind.as_deref()) => {}
            Some(_) => return None,
        }
    }
    found.flatten()
}

/// Whether values of both types are texts that are read as the other's: then a column has the first one's type.
fn both_texts(first: Option<&str>, other: Option<&str>) -> bool {
    let is_text =
        |kind: Option<&str>| matches!(kind, None | Some("text" | "name" | "varchar" | "bpchar"));
    is_text(first) && is_text(other)
}
