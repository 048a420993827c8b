//! Groups the rows of an event log in one phase.
//!
//! DataFusion groups in two: each partition its own rows, then the partial states of all by key. A count gets
//! smaller that way. A funnel needs the rows themselves, so that its state is as large as they are, and the
//! first phase only costs time and memory. Here the rows are sent to the partition of their key at once, with
//! nothing but the columns that are needed; before that, [`RelevantRowsExec`] leaves out those that can't make
//! a difference, where all aggregates allow it.
//!
//! Where the input comes sorted by the keys, DataFusion's plan is the better one and stays: it holds one group
//! at a time.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{AggregateUDF, Operator};
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{BinaryExpr, Column, IsNotNullExpr, lit};
use datafusion::physical_expr::utils::split_conjunction;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode};

use crate::aggregate::hits::HitResults;
use crate::aggregate::journey::is_journey;
use crate::aggregate::{Log, log_of};
use crate::physical::hit_groups::{HitColumns, HitGroupsExec};
use crate::physical::relevant_rows::RelevantRowsExec;

/// The rule. It has to run before DataFusion's own rules decide on distribution.
#[derive(Debug, Default)]
pub struct OnePhase;

impl PhysicalOptimizerRule for OnePhase {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rewritten = plan.transform_up(|node| {
            let replaced = match one_phase(&node)? {
                Some(replaced) => Some(replaced),
                None => without_idle_rows(&node)?,
            };
            Ok(match replaced {
                Some(replaced) => Transformed::yes(replaced),
                None => Transformed::no(node),
            })
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "one_phase"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The one phase that stands for two; nothing where two are better.
fn one_phase(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(last) = node.downcast_ref::<AggregateExec>() else {
        return Ok(None);
    };
    let Some(first) = last.input().downcast_ref::<AggregateExec>() else {
        return Ok(None);
    };
    let is_pair = *last.mode() == AggregateMode::FinalPartitioned
        && *first.mode() == AggregateMode::Partial
        && first.group_expr().is_single()
        && *first.input_order_mode() == InputOrderMode::Linear;
    let keeps_log = |aggregate: &Arc<AggregateFunctionExpr>| log_of(aggregate).is_some();
    if !is_pair || !first.aggr_expr().iter().any(keeps_log) {
        return Ok(None);
    }
    let narrow = Narrow::new(first)?;
    let hits = narrow.hits(first);
    let input = match &hits {
        Some(hits) => Arc::new(RelevantRowsExec::new(
            Arc::clone(&narrow.input),
            hits.key,
            hits.conditions.clone(),
        )) as Arc<dyn ExecutionPlan>,
        None => Arc::clone(&narrow.input),
    };
    if let Some(hits) = hits
        && let Some(columns) = hits.columns(&narrow.filters)
    {
        let groups = HitGroupsExec::new(input, columns, hits.functions, last.schema());
        return Ok(Some(Arc::new(groups)));
    }
    let schema = input.schema();
    let aggregate = AggregateExec::try_new(
        AggregateMode::SinglePartitioned,
        PhysicalGroupBy::new_single(narrow.keys),
        narrow.aggregates,
        narrow.filters,
        input,
        schema,
    )?;
    Ok(Some(Arc::new(aggregate)))
}

/// The columns of a projection that functions over hits look at, one of each function.
struct Hits {
    key: usize,
    times: Vec<usize>,
    conditions: Vec<usize>,
    functions: Vec<Arc<dyn HitResults>>,
}

impl Hits {
    /// The columns, if all functions look at all rows and at the same columns.
    fn columns(&self, filters: &[Option<Arc<dyn PhysicalExpr>>]) -> Option<HitColumns> {
        let columns = HitColumns {
            key: self.key,
            time: *self.times.first()?,
            conditions: *self.conditions.first()?,
        };
        let is_same = filters.iter().all(Option::is_none)
            && self.times.iter().all(|time| *time == columns.time)
            && self.conditions.iter().all(|at| *at == columns.conditions);
        is_same.then_some(columns)
    }
}

/// Of `journey(…) IS NOT NULL` over nothing but journeys: rows that enter no stage and aren't lost make no
/// journey, so they needn't be grouped.
fn without_idle_rows(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = node.downcast_ref::<FilterExec>() else {
        return Ok(None);
    };
    // Fields of the journey may be taken between the two.
    let projection = filter.input().downcast_ref::<ProjectionExec>();
    let grouped = projection.map_or(filter.input(), ProjectionExec::input);
    let Some((rows, counts, journey_at)) = rows_of_journeys(grouped) else {
        return Ok(None);
    };
    if !requires_value(filter.predicate(), projection, journey_at) {
        return Ok(None);
    }
    let input = FilterExec::try_new(counts, rows)?;
    let mut changed = replace_children_if_necessary(Arc::clone(grouped), vec![Arc::new(input)])?;
    if projection.is_some() {
        changed = replace_children_if_necessary(Arc::clone(filter.input()), vec![changed])?;
    }
    Ok(Some(replace_children_if_necessary(
        Arc::clone(node),
        vec![changed],
    )?))
}

/// If a node does nothing but make journeys: the rows that it makes them of, which of those can make a
/// difference, and the column that it puts the journeys in.
#[expect(clippy::type_complexity)] // the three go together in one place only
fn rows_of_journeys(
    grouped: &Arc<dyn ExecutionPlan>,
) -> Option<(Arc<dyn ExecutionPlan>, Arc<dyn PhysicalExpr>, usize)> {
    let enters_a_stage = |stages: Arc<dyn PhysicalExpr>| {
        Arc::new(BinaryExpr::new(stages, Operator::NotEq, lit(0_u64)))
    };
    if let Some(groups) = grouped.downcast_ref::<HitGroupsExec>() {
        let relevant = groups.input().downcast_ref::<RelevantRowsExec>()?;
        let stages = groups.conditions();
        let is_journey = groups.is_null_without_hits()
            && stages.data_type(&relevant.input().schema()).ok()? == DataType::UInt64;
        // What a key that enters no stage is there for, the filter doesn't let pass anyway.
        return is_journey.then(|| {
            let rows = Arc::clone(relevant.input());
            (rows, enters_a_stage(stages) as Arc<dyn PhysicalExpr>, 1)
        });
    }
    let aggregate = grouped.downcast_ref::<AggregateExec>()?;
    let [call] = aggregate.aggr_expr() else {
        return None;
    };
    let is_journey = *aggregate.mode() == AggregateMode::SinglePartitioned
        && is_journey(call.fun())
        && aggregate.filter_expr().iter().all(Option::is_none);
    let arguments = call.expressions();
    let [_, stages, lost, ..] = arguments.as_slice() else {
        return None;
    };
    let enters = enters_a_stage(Arc::clone(stages));
    let counts = BinaryExpr::new(enters, Operator::Or, Arc::clone(lost));
    let journey_at = aggregate.group_expr().expr().len();
    is_journey.then(|| {
        (
            Arc::clone(aggregate.input()),
            Arc::new(counts) as _,
            journey_at,
        )
    })
}

/// Whether a row passes only if its column at `position`, below the projection, isn't NULL.
fn requires_value(
    predicate: &Arc<dyn PhysicalExpr>,
    projection: Option<&ProjectionExec>,
    position: usize,
) -> bool {
    let below = |at: usize| match projection {
        Some(projection) => self::position(&projection.expr().get(at)?.expr),
        None => Some(at),
    };
    split_conjunction(predicate).iter().any(|condition| {
        condition
            .downcast_ref::<IsNotNullExpr>()
            .and_then(|condition| below(self::position(condition.arg())?))
            == Some(position)
    })
}

/// An aggregate over a projection of its input to what it needs.
struct Narrow {
    input: Arc<dyn ExecutionPlan>,
    keys: Vec<(Arc<dyn PhysicalExpr>, String)>,
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
}

impl Narrow {
    fn new(aggregate: &AggregateExec) -> Result<Self> {
        let mut columns = Columns::default();
        let keys = aggregate
            .group_expr()
            .expr()
            .iter()
            .map(|(key, name)| (columns.add(key, Some(name)), name.clone()))
            .collect();
        let filters = aggregate
            .filter_expr()
            .iter()
            .map(|filter| filter.as_ref().map(|filter| columns.add(filter, None)))
            .collect();
        let calls = aggregate
            .aggr_expr()
            .iter()
            .map(|call| columns.of_call(call))
            .collect::<Vec<_>>();
        let input = ProjectionExec::try_new(columns.projected, Arc::clone(aggregate.input()))?;
        let schema = input.schema();
        let aggregates = aggregate
            .aggr_expr()
            .iter()
            .zip(calls)
            .map(|(call, (arguments, order))| rebuilt(call, arguments, order, &schema))
            .collect::<Result<_>>()?;
        Ok(Self {
            input: Arc::new(input),
            keys,
            aggregates,
            filters,
        })
    }

    /// What the aggregates look at, if rows that meet no condition only say that their key exists.
    fn hits(&self, aggregate: &AggregateExec) -> Option<Hits> {
        let [(key, _)] = self.keys.as_slice() else {
            return None;
        };
        let key = position(key)?;
        if !RelevantRowsExec::supports(self.input.schema().field(key).data_type()) {
            return None;
        }
        let mut hits = Hits {
            key,
            times: Vec::new(),
            conditions: Vec::new(),
            functions: Vec::new(),
        };
        for (call, narrow) in aggregate.aggr_expr().iter().zip(&self.aggregates) {
            let Some(Log::OfMetConditions(function)) = log_of(call) else {
                return None;
            };
            let arguments = narrow.expressions();
            hits.times.push(position(arguments.first()?)?);
            hits.conditions.push(position(arguments.get(1)?)?);
            hits.functions.push(function);
        }
        Some(hits)
    }
}

fn position(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// The call over columns of the projection.
fn rebuilt(
    call: &AggregateFunctionExpr,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    order: Vec<PhysicalSortExpr>,
    schema: &Arc<Schema>,
) -> Result<Arc<AggregateFunctionExpr>> {
    let function: Arc<AggregateUDF> = Arc::new(call.fun().clone());
    let mut builder = AggregateExprBuilder::new(function, arguments)
        .schema(Arc::clone(schema))
        .order_by(order)
        .alias(call.name())
        .with_distinct(call.is_distinct())
        .with_reversed(call.is_reversed())
        .with_ignore_nulls(call.ignore_nulls());
    if let Some(shown) = call.human_display() {
        builder = builder.human_display(shown);
    }
    Ok(Arc::new(builder.build()?))
}

/// The columns of a projection, each expression once.
#[derive(Default)]
struct Columns {
    projected: Vec<ProjectionExpr>,
}

impl Columns {
    /// The column that holds an expression.
    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>, name: Option<&str>) -> Arc<dyn PhysicalExpr> {
        let known = self.projected.iter().position(|known| known.expr.eq(expr));
        let at = known.unwrap_or_else(|| {
            let alias = name.map_or_else(|| format!("__{}", self.projected.len()), str::to_owned);
            self.projected.push(ProjectionExpr {
                expr: Arc::clone(expr),
                alias,
            });
            self.projected.len() - 1
        });
        Arc::new(Column::new(&self.projected[at].alias, at))
    }

    /// Columns for what a call looks at; literals stay, as a function may ask for their value.
    fn of_call(
        &mut self,
        call: &AggregateFunctionExpr,
    ) -> (Vec<Arc<dyn PhysicalExpr>>, Vec<PhysicalSortExpr>) {
        let arguments = call
            .expressions()
            .iter()
            .map(
                |argument| match argument.children().is_empty() && position(argument).is_none() {
                    true => Arc::clone(argument),
                    false => self.add(argument, None),
                },
            )
            .collect();
        let order = call
            .order_bys()
            .iter()
            .map(|sort| PhysicalSortExpr::new(self.add(&sort.expr, None), sort.options))
            .collect();
        (arguments, order)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use datafusion::arrow::array::{Int64Array, RecordBatch, StringArray};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::memory_pool::FairSpillPool;
    use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;
    use crate::optimizer::physical_rules;

    const USERS: i64 = 2_000;

    /// A session with `log(user_id, event, ts)` in so many parts, 20 rows a user in no order.
    fn session(partitions: usize, runtime: Arc<RuntimeEnv>, with_rule: bool) -> SessionContext {
        let config = SessionConfig::new()
            .with_target_partitions(partitions)
            .with_batch_size(512)
            .with_sort_spill_reservation_bytes(32 * 1_024);
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features();
        if with_rule {
            builder = builder.with_physical_optimizer_rules(physical_rules());
        }
        let context = SessionContext::new_with_state(builder.build());
        crate::register_functions(&context).unwrap();
        let rows = (0..USERS * 20)
            .map(|row| row * 7_919 % (USERS * 20))
            .collect::<Vec<_>>();
        let parts = rows
            .chunks(rows.len().div_ceil(partitions))
            .map(|rows| vec![batch(rows)])
            .collect::<Vec<_>>();
        let table = MemTable::try_new(parts[0][0].schema(), parts).unwrap();
        context.register_table("log", Arc::new(table)).unwrap();
        context
    }

    fn batch(rows: &[i64]) -> RecordBatch {
        let column = |value: fn(i64) -> i64| {
            Int64Array::from_iter_values(rows.iter().map(|row| value(*row)))
        };
        let event = rows.iter().map(|row| match row % 13 {
            0..=2 => "a",
            3 => "b",
            4 => "c",
            _ => "other",
        });
        RecordBatch::try_from_iter([
            ("user_id", Arc::new(column(|row| row % USERS)) as _),
            ("event", Arc::new(StringArray::from_iter_values(event)) as _),
            ("ts", Arc::new(column(|row| row * 31 % 1_009)) as _),
        ])
        .unwrap()
    }

    async fn shown(context: &SessionContext, sql: &str) -> String {
        let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&rows).unwrap().to_string()
    }

    const QUERIES: [&str; 9] = [
        "SELECT user_id, window_funnel(300, ts, event = 'a', event = 'b', event = 'c') AS level
         FROM log GROUP BY user_id ORDER BY user_id",
        "SELECT user_id, window_funnel(300, 'strict_order', ts, event = 'a', event = 'b') AS strict,
           sequence_count('(?1).*(?2)', ts, event = 'a', event = 'c') FILTER (WHERE ts > 100) AS times
         FROM log GROUP BY user_id ORDER BY user_id",
        "SELECT arrow_cast(nullif(user_id, 5), 'Int32') - 1000 AS user, window_funnel(99, nullif(ts, 7), event = 'a', event = 'b') AS level,
           window_funnel_events(5, nullif(ts, 7), event = 'a', event = 'b') AS times
         FROM log GROUP BY user ORDER BY user",
        "SELECT user_id * 1000000007 - 1000000000000 AS user, sequence_match('(?1)(?2)', ts, event = 'b', event = 'c') AS found
         FROM log GROUP BY user ORDER BY user",
        "SELECT user_id % 7 AS part, event, window_funnel_events(9, ts, event = 'a', event = 'a') AS times, count(*)
         FROM log GROUP BY user_id % 7, event ORDER BY part, event",
        "SELECT arrow_cast(user_id, 'Utf8') AS name, window_funnel(300, ts, event = 'a', event = 'b') AS level
         FROM log GROUP BY name ORDER BY name",
        "SELECT level, count(*) FROM (SELECT user_id, window_funnel(1, ts, event = 'b', event = 'c') AS level
           FROM log GROUP BY user_id) GROUP BY level ORDER BY level",
        "SELECT user_id, journey(arrow_cast(ts, 'Timestamp(Microsecond, Some(\"+00:00\"))'),
           CASE event WHEN 'a' THEN 1 WHEN 'b' THEN 2 WHEN 'c' THEN 4 ELSE 0 END, false, NULL, 'ordered', INTERVAL '300 microseconds', 3) AS journey
         FROM log GROUP BY user_id ORDER BY user_id",
        "SELECT user, journey['furthest'] AS furthest, journey['steps'] AS steps FROM (
           SELECT user_id AS user, journey(nullif(arrow_cast(ts, 'Timestamp(Microsecond, Some(\"+00:00\"))'), to_timestamp(0)),
             CASE event WHEN 'b' THEN 1 WHEN 'c' THEN 6 ELSE 0 END, false, NULL, 'any', NULL, 3) AS journey
           FROM log GROUP BY user_id) WHERE journey IS NOT NULL ORDER BY user",
    ];

    #[tokio::test]
    async fn results_are_the_same_in_one_phase_and_in_two_and_in_any_number_of_parts() {
        for sql in QUERIES {
            let expected = shown(&session(1, Arc::default(), false), sql).await;
            for partitions in [1, 2, 7] {
                for with_rule in [false, true] {
                    let context = session(partitions, Arc::default(), with_rule);
                    assert_eq!(shown(&context, sql).await, expected, "{sql}");
                }
            }
        }
    }

    #[tokio::test]
    async fn memory_that_is_short_changes_nothing_but_the_time() {
        let journeys = "SELECT journey['furthest'] AS furthest, journey['ended_at'] - journey['started_at'] AS time, count(*)
             FROM (SELECT user_id, journey(arrow_cast(ts, 'Timestamp(Microsecond, Some(\"+00:00\"))'),
                   CASE event WHEN 'a' THEN 1 WHEN 'b' THEN 2 WHEN 'c' THEN 4 ELSE 0 END, false, NULL, 'any', NULL, 3) AS journey
                   FROM log GROUP BY user_id) GROUP BY furthest, time ORDER BY furthest, time";
        for sql in QUERIES[..4].iter().copied().chain([journeys]) {
            let expected = shown(&session(1, Arc::default(), false), sql).await;
            for with_rule in [false, true] {
                let runtime = RuntimeEnvBuilder::new()
                    .with_memory_pool(Arc::new(FairSpillPool::new(700_000)))
                    .build_arc()
                    .unwrap();
                let context = session(2, runtime, with_rule);
                assert_eq!(shown(&context, sql).await, expected, "{sql}");
                let analyzed = shown(&context, &format!("EXPLAIN ANALYZE {sql}")).await;
                let spilled = analyzed.lines().any(|line| {
                    (line.contains("AggregateExec") || line.contains("HitGroupsExec"))
                        && line.contains("spill_count=")
                        && !line.contains("spill_count=0")
                });
                assert!(spilled, "{analyzed}");
            }
        }
    }

    #[tokio::test]
    async fn rows_that_only_say_that_a_user_exists_are_left_out_where_nothing_else_asks_for_them() {
        let context = session(2, Arc::default(), true);
        let plan = async |sql: &str| shown(&context, &format!("EXPLAIN {sql}")).await;
        let funnel = "SELECT user_id, window_funnel(9, ts, event = 'a')";
        let simple = plan(&format!("{funnel} FROM log GROUP BY user_id")).await;
        assert!(
            simple.contains("HitGroupsExec: gby=[user_id@0]"),
            "{simple}"
        );
        assert!(simple.contains("RelevantRowsExec: key=user_id"), "{simple}");

        let counted = plan(&format!("{funnel}, count(*) FROM log GROUP BY user_id")).await;
        assert!(counted.contains("mode=SinglePartitioned"), "{counted}");
        assert!(!counted.contains("RelevantRowsExec"), "{counted}");

        let strict =
            "SELECT window_funnel(9, 'strict_order', ts, event = 'a') FROM log GROUP BY user_id";
        assert!(!plan(strict).await.contains("RelevantRowsExec"));

        let plain = plan("SELECT user_id, max(ts) FROM log GROUP BY user_id").await;
        assert!(plain.contains("mode=FinalPartitioned"), "{plain}");
    }

    #[tokio::test]
    async fn journeys_without_loss_are_made_of_the_rows_that_enter_a_stage() {
        let context = session(2, Arc::default(), true);
        let journey = |lost: &str| {
            format!(
                "EXPLAIN SELECT user_id FROM (SELECT user_id, journey(
                   arrow_cast(ts, 'Timestamp(Microsecond, Some(\"+00:00\"))'), CASE event WHEN 'a' THEN 1 WHEN 'b' THEN 2 ELSE 0 END,
                   {lost}, NULL, 'ordered', NULL, 2) AS journey FROM log GROUP BY user_id)
                 WHERE journey IS NOT NULL"
            )
        };
        let never_lost = shown(&context, &journey("false")).await;
        assert!(never_lost.contains("HitGroupsExec"), "{never_lost}");
        assert!(!never_lost.contains("RelevantRowsExec"), "{never_lost}");
        assert!(never_lost.contains("!= 0"), "{never_lost}");

        let lost = shown(&context, &journey("event = 'c'")).await;
        assert!(lost.contains("mode=SinglePartitioned"), "{lost}");
        assert!(lost.contains("FilterExec: __2@2 != 0 OR __3@3"), "{lost}");
    }

    #[tokio::test]
    async fn sorted_input_is_grouped_one_by_one() {
        let context = session(2, Arc::default(), true);
        let plan = shown(
            &context,
            "EXPLAIN SELECT user_id, window_funnel(9, ts, event = 'a') FROM (SELECT * FROM log ORDER BY user_id LIMIT 99999)
             GROUP BY user_id",
        )
        .await;
        assert!(plan.contains("ordering_mode=Sorted"), "{plan}");
    }
}
