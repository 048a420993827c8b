//! `data_quality('funnel')`: what in the data makes the funnel's numbers doubtful, with a query that lists each.
//!
//! # Columns
//! - `problem` text
//! - `count` bigint: how many there are; `n` bigint: of how many; `share` double precision: count / n, NULL where n = 0
//! - `query` text: SQL that lists them, one row each
//!
//! # Problems
//! - `bulk_moves`: moves typed in bulk: an actor moved at least 10 entities to one stage at the same moment; of all moves.
//!   Midnight is no moment: it stands for a day
//! - `backdated_moves`: moves to a stage at a moment before the first entry into an earlier one; of all moves to stages
//! - `skipped_stages`: stages that a journey passed over; of all that were reached
//! - `duplicate_moves`: moves that are there again, with the same entity, stage and moment, counting all but one; of all moves
//! - `future_moves`: moves after now; of all moves
//! - `unmatched_rows`: rows of an event log that meet no condition of the funnel, among them those with an unknown stage's
//!   name; of all moves and these rows
//! - `no_owner`: journeys without an owner; of all. Only where the funnel has an OWNER
//! - `orphan_followups`, `orphan_orders`, `orphan_touches`, `orphan_loss_tags`: rows of that source whose entity has no
//!   journey; of all rows. Only where the funnel names the source
//! - `unknown_stages`: loss tags whose stage the funnel doesn't have; of those with a stage
//!
//! # Arguments
//! none but the funnel: the whole source is looked at, as of now.
//!
//! Cost: a few passes over the source.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::Call;
use super::sql;
use crate::definition::related::RelatedKind;
use crate::definition::resolve::{ResolvedFunnel, Shape};
use crate::definition::text::{identifier, literal};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "data_quality",
    arguments: Vec::new,
    plan,
    population: None,
    info,
};

/// So many moves at one moment are no person's work.
const BULK: u32 = 10;

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "data_quality".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text".to_owned(),
        result: "SETOF record".to_owned(),
        description: "What in the data makes the funnel's numbers doubtful, with a query for each."
            .to_owned(),
    }
}

/// A check: what it is called, the query that lists what it finds, and SQL of what it is a share of.
struct Check {
    problem: &'static str,
    query: String,
    total: String,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let call = Call::take_without_segments(arguments)?;
    let parts: Vec<String> = checks(&call.funnel)
        .iter()
        .enumerate()
        .map(|(at, check)| {
            format!(
                "SELECT {at} AS no, '{}' AS problem, (SELECT count(*) FROM ({}) AS found) AS count, \
                 ({}) AS n, {} AS query",
                check.problem,
                check.query,
                check.total,
                literal(&check.query)
            )
        })
        .collect();
    let query = format!(
        "SELECT problem, count, n, CASE WHEN n > 0 THEN count / CAST(n AS double precision) END AS share, query\n\
         FROM (\n  {}\n) AS checks\nORDER BY no",
        parts.join("\n  UNION ALL\n  ")
    );
    sql::plan(arguments, call.written(), &query)
}

fn checks(funnel: &ResolvedFunnel) -> Vec<Check> {
    let mut checks = move_checks(funnel);
    checks.extend(journey_checks(funnel));
    let name = literal(&funnel.definition.name);
    for (kind, problem) in [
        (RelatedKind::Followups, "orphan_followups"),
        (RelatedKind::Orders, "orphan_orders"),
        (RelatedKind::Touches, "orphan_touches"),
        (RelatedKind::LossTags, "orphan_loss_tags"),
    ] {
        if matches!(funnel.related(kind), Some(Ok(_))) {
            let source = format!("funnel_source({name}, '{}')", kind.keyword().to_lowercase());
            let entity = identifier(&funnel.entity_name);
            checks.push(Check {
                problem,
                query: format!(
                    "SELECT * FROM {source} AS s WHERE NOT EXISTS (SELECT 1 FROM journeys({name}) AS j WHERE j.{entity} = s.entity)"
                ),
                total: format!("SELECT count(*) FROM {source}"),
            });
        }
    }
    if let Some(Ok(rows)) = funnel.related(RelatedKind::LossTags)
        && rows.columns.iter().any(|(name, _)| name == "stage")
    {
        let source = format!("funnel_source({name}, 'loss_tags')");
        let stages = funnel.stage_names();
        let stages: Vec<String> = stages.iter().map(|stage| literal(stage)).collect();
        checks.push(Check {
            problem: "unknown_stages",
            query: format!(
                "SELECT * FROM {source} WHERE stage NOT IN ({})",
                stages.join(", ")
            ),
            total: format!("SELECT count(stage) FROM {source}"),
        });
    }
    checks
}

fn move_checks(funnel: &ResolvedFunnel) -> Vec<Check> {
    let name = literal(&funnel.definition.name);
    let entity = identifier(&funnel.entity_name);
    let moves = format!("stage_moves({name})");
    let of_moves = format!("SELECT count(*) FROM {moves}");
    let mut checks = vec![
        Check {
            problem: "bulk_moves",
            query: format!(
                "SELECT * FROM (SELECT *, count(*) OVER (PARTITION BY actor, stage_no, lost, at) AS moved_at_once \
                 FROM {moves} WHERE actor IS NOT NULL AND to_local_time(at) <> date_trunc('day', to_local_time(at))) AS counted WHERE moved_at_once >= {BULK}"
            ),
            total: of_moves.clone(),
        },
        Check {
            problem: "backdated_moves",
            query: format!(
                "SELECT * FROM (SELECT *, max(first_at) OVER (PARTITION BY {entity} ORDER BY stage_no \
                 RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier_stage_at \
                 FROM (SELECT *, min(at) OVER (PARTITION BY {entity}, stage_no) AS first_at \
                 FROM {moves} WHERE NOT lost) AS firsts) AS ordered WHERE at < earlier_stage_at"
            ),
            total: format!("SELECT count(*) FROM {moves} WHERE NOT lost"),
        },
        Check {
            problem: "duplicate_moves",
            query: format!(
                "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {entity}, stage_no, lost, at) AS copy \
                 FROM {moves}) AS copies WHERE copy > 1"
            ),
            total: of_moves.clone(),
        },
        Check {
            problem: "future_moves",
            query: format!("SELECT * FROM {moves} WHERE at > now()"),
            total: of_moves,
        },
    ];
    if matches!(funnel.shape, Shape::Events { .. }) {
        let all = format!("stage_moves({name}, unmatched => true)");
        checks.push(Check {
            problem: "unmatched_rows",
            query: format!("SELECT * FROM {all} WHERE stage IS NULL AND NOT lost"),
            total: format!("SELECT count(*) FROM {all}"),
        });
    }
    checks
}

fn journey_checks(funnel: &ResolvedFunnel) -> Vec<Check> {
    let name = literal(&funnel.definition.name);
    let mut checks = vec![Check {
        problem: "skipped_stages",
        query: format!("SELECT * FROM journey_stages({name}) WHERE skipped"),
        total: format!("SELECT count(*) FROM journey_stages({name})"),
    }];
    if funnel.owner.is_some() {
        checks.push(Check {
            problem: "no_owner",
            query: format!("SELECT * FROM journeys({name}) WHERE owner IS NULL"),
            total: format!("SELECT count(*) FROM journeys({name})"),
        });
    }
    checks
}
