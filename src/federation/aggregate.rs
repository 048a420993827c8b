//! `count`, `sum`, `min` and `max` of a foreign table are computed where its rows are.
//!
//! The rule looks for an aggregate right above a scan, which a table with policies or masks never has: it lies behind its
//! barrier. So nothing that is hidden is counted. Plans without a foreign table are as they were; that is why it is this
//! and not the planner of datafusion-federation, which takes over whole plans.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};

use super::columns::{Class, ForeignColumn};
use super::scan::{ForeignScan, Query};
use super::settings::Wrapper;

/// The rule.
#[derive(Debug)]
pub struct PushAggregates;

impl PhysicalOptimizerRule for PushAggregates {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pushed = plan.transform_up(|node| {
            let pushed = node.downcast_ref::<AggregateExec>().and_then(pushed);
            Ok(match pushed {
                Some(scan) => Transformed::yes(Arc::new(scan) as Arc<dyn ExecutionPlan>),
                None => Transformed::no(node),
            })
        })?;
        Ok(pushed.data)
    }

    fn name(&self) -> &str {
        "push_foreign_aggregates"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan that computes an aggregate, where the other database can.
fn pushed(last: &AggregateExec) -> Option<ForeignScan> {
    let first = match last.mode() {
        AggregateMode::Final | AggregateMode::FinalPartitioned => {
            let first = last.input().downcast_ref::<AggregateExec>()?;
            (*first.mode() == AggregateMode::Partial).then_some(first)?
        }
        AggregateMode::Single | AggregateMode::SinglePartitioned => last,
        _ => return None,
    };
    let scan = first.input().downcast_ref::<ForeignScan>()?;
    let query = scan.query()?;
    let groups = first.group_expr();
    if !groups.is_single() || query.limit.is_some() {
        return None;
    }
    if first.filter_expr().iter().any(Option::is_some) {
        return None;
    }
    let wrapper = scan.remote().wrapper();
    let keys = groups
        .expr()
        .iter()
        .map(|(key, _)| group(wrapper, column(query, key.downcast_ref::<Column>()?)?));
    let keys = keys.collect::<Option<Vec<String>>>()?;
    let aggregates = first.aggr_expr().iter();
    let aggregates = aggregates.map(|call| aggregate(wrapper, query, call));
    let aggregates = aggregates.collect::<Option<Vec<String>>>()?;
    if keys.is_empty() && aggregates.is_empty() {
        return None;
    }
    let selected: Vec<String> = keys.iter().cloned().chain(aggregates).collect();
    let mut sql = format!("SELECT {}{}", selected.join(", "), query.rest());
    if !keys.is_empty() {
        sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
    }
    let remote = Arc::clone(scan.remote());
    Some(ForeignScan::of_text(remote, sql, last.schema()))
}

fn column<'a>(query: &'a Query, column: &Column) -> Option<&'a ForeignColumn> {
    query.columns.get(column.index())
}

/// What is grouped by, where the same values are the same there.
fn group(wrapper: Wrapper, column: &ForeignColumn) -> Option<String> {
    let floating = *column.field.data_type() == DataType::Float64;
    match (wrapper, column.class) {
        (_, Class::Number) if !floating => Some(column.read(wrapper)),
        (
            Wrapper::Postgres,
            Class::Bool
            | Class::Date
            | Class::Timestamp
            | Class::Instant
            | Class::Text
            | Class::Uuid
            | Class::AsText,
        ) => Some(column.read(wrapper)),
        (Wrapper::Sqlite, Class::Text) => Some(format!("{} COLLATE BINARY", column.read(wrapper))),
        _ => None,
    }
}

fn aggregate(wrapper: Wrapper, query: &Query, call: &AggregateFunctionExpr) -> Option<String> {
    if call.is_distinct() || !call.order_bys().is_empty() {
        return None;
    }
    let arguments = call.expressions();
    let [argument] = arguments.as_slice() else {
        return None;
    };
    let name = match call.fun().name() {
        "pg_sum" => "sum",
        name => name,
    };
    if let Some(literal) = argument.downcast_ref::<Literal>() {
        return (name == "count" && !literal.value().is_null()).then(|| "count(*)".to_owned());
    }
    // Bigints are added up as numerics, as the other database does.
    let argument = match argument.downcast_ref::<CastExpr>() {
        Some(cast)
            if name == "sum"
                && matches!(
                    cast.cast_type(),
                    DataType::Int64 | DataType::Decimal128(_, 0)
                ) =>
        {
            cast.expr()
        }
        _ => argument,
    };
    let column = column(query, argument.downcast_ref::<Column>()?)?;
    let written = column.read(wrapper);
    let kind = column.field.data_type();
    let whole = matches!(kind, DataType::Int16 | DataType::Int32 | DataType::Int64);
    let decimal = matches!(kind, DataType::Decimal128(..));
    let result = call.field();
    let same = result.data_type() == kind;
    match (name, column.class) {
        // A day 0 of MySQL's is NULL here, and text there.
        ("count", Class::Number | Class::Text) => Some(format!("count({written})")),
        ("count", _) if wrapper == Wrapper::Postgres => Some(format!("count({written})")),
        ("min" | "max", Class::Number) if same && (whole || decimal) => {
            Some(format!("{name}({written})"))
        }
        ("min" | "max", Class::Date | Class::Timestamp | Class::Instant)
            if same && wrapper == Wrapper::Postgres =>
        {
            Some(format!("{name}({written})"))
        }
        // Of doubles the sum depends on the order.
        ("sum", Class::Number)
            if whole
                && matches!(
                    result.data_type(),
                    DataType::Int64 | DataType::Decimal128(_, 0)
                ) =>
        {
            Some(format!("sum({written})"))
        }
        ("sum", Class::Number)
            if decimal && matches!(result.data_type(), DataType::Decimal128(..)) =>
        {
            Some(format!("sum({written})"))
        }
        _ => None,
    }
}
