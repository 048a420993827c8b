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
//! Cost: a pass over each source, with two sorts of the moves.

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

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let call = Call::take_without_segments(arguments)?;
    let query = Checks::of(&call.funnel).query();
    sql::plan(arguments, call.written(), &query)
}

/// A check: what it is called, the query that lists what it finds, and the [`Pass`] that counts them, under the check's name,
/// and what they are a share of, under the name with `_of`.
struct Check {
    problem: &'static str,
    query: String,
    pass: &'static str,
}

/// Counts over some rows that one pass finds: a query of one row.
struct Pass {
    name: &'static str,
    query: String,
}

/// The checks of a funnel, with the passes that their counts come from.
#[derive(Default)]
struct Checks {
    passes: Vec<Pass>,
    checks: Vec<Check>,
}

impl Checks {
    fn of(funnel: &ResolvedFunnel) -> Self {
        let mut checks = Self::default();
        checks.moves(funnel);
        checks.journeys(funnel);
        checks.sources(funnel);
        checks
    }

    /// A pass over the rows of `from`, and checks by their names, the queries that list what they find, the condition that
    /// tells it among these rows, and the one that tells what it is a share of; where it is empty, these are all rows.
    fn add(
        &mut self,
        pass: &'static str,
        from: &str,
        checks: Vec<(&'static str, String, String, &str)>,
    ) {
        let mut columns = Vec::new();
        for (problem, query, condition, of) in checks {
            columns.push(format!("{} AS {problem}", counted(&condition)));
            columns.push(format!("{} AS {problem}_of", counted(of)));
            self.checks.push(Check {
                problem,
                query,
                pass,
            });
        }
        self.passes.push(Pass {
            name: pass,
            query: format!("SELECT {} FROM {from}", columns.join(", ")),
        });
    }

    fn moves(&mut self, funnel: &ResolvedFunnel) {
        let name = literal(&funnel.definition.name);
        let entity = identifier(&funnel.entity_name);
        let moves = format!("stage_moves({name})");
        let all = format!("stage_moves({name}, unmatched => true)");
        let is_log = matches!(funnel.shape, Shape::Events { .. });
        let rows = if is_log { &all } else { &moves };
        let is_move = "(lost OR stage IS NOT NULL)";
        let at_a_moment =
            "actor IS NOT NULL AND to_local_time(at) <> date_trunc('day', to_local_time(at))";
        let mut checks = vec![
            (
                "bulk_moves",
                format!(
                    "SELECT * FROM (SELECT *, count(*) OVER (PARTITION BY actor, stage_no, lost, at) AS moved_at_once \
                     FROM {moves} WHERE {at_a_moment}) AS counted WHERE moved_at_once >= {BULK}"
                ),
                format!("{is_move} AND {at_a_moment} AND moved_at_once >= {BULK}"),
                is_move,
            ),
            (
                "backdated_moves",
                format!(
                    "SELECT * FROM (SELECT *, max(first_at) OVER (PARTITION BY {entity} ORDER BY stage_no \
                     RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier_stage_at \
                     FROM (SELECT *, min(at) OVER (PARTITION BY {entity}, stage_no) AS first_at \
                     FROM {moves} WHERE NOT lost) AS firsts) AS ordered WHERE at < earlier_stage_at"
                ),
                "stage_no IS NOT NULL AND at < earlier_stage_at".to_owned(),
                "stage_no IS NOT NULL",
            ),
            (
                "duplicate_moves",
                format!(
                    "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY {entity}, stage_no, lost, at) AS copy \
                     FROM {moves}) AS copies WHERE copy > 1"
                ),
                format!("{is_move} AND copy > 1"),
                is_move,
            ),
            (
                "future_moves",
                format!("SELECT * FROM {moves} WHERE at > now()"),
                format!("{is_move} AND at > now()"),
                is_move,
            ),
        ];
        if is_log {
            checks.push((
                "unmatched_rows",
                format!("SELECT * FROM {all} WHERE stage IS NULL AND NOT lost"),
                format!("NOT {is_move}"),
                "",
            ));
        }
        // Losses and rows that are no moves have no stage: as stage 0 they are before all, with no moment that counts.
        let from = format!(
            "(SELECT *, max(first_at) OVER (PARTITION BY {entity} ORDER BY coalesce(stage_no, 0) \
             RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier_stage_at \
             FROM (SELECT *, CASE WHEN stage_no IS NOT NULL THEN min(at) OVER (PARTITION BY {entity}, stage_no) END AS first_at, \
             row_number() OVER (PARTITION BY {entity}, stage_no, lost, at) AS copy, \
             count(*) OVER (PARTITION BY actor, stage_no, lost, at) AS moved_at_once \
             FROM {rows}) AS firsts) AS ordered"
        );
        self.add("moves", &from, checks);
    }

    fn journeys(&mut self, funnel: &ResolvedFunnel) {
        let name = literal(&funnel.definition.name);
        let stages = format!("journey_stages({name})");
        self.add(
            "stages",
            &stages,
            vec![(
                "skipped_stages",
                format!("SELECT * FROM {stages} WHERE skipped"),
                "skipped".to_owned(),
                "",
            )],
        );
        if funnel.owner.is_some() {
            let journeys = format!("journeys({name})");
            self.add(
                "journeys",
                &journeys,
                vec![(
                    "no_owner",
                    format!("SELECT * FROM {journeys} WHERE owner IS NULL"),
                    "owner IS NULL".to_owned(),
                    "",
                )],
            );
        }
    }

    fn sources(&mut self, funnel: &ResolvedFunnel) {
        let name = literal(&funnel.definition.name);
        let entity = identifier(&funnel.entity_name);
        for (kind, pass, problem) in [
            (RelatedKind::Followups, "followups", "orphan_followups"),
            (RelatedKind::Orders, "orders", "orphan_orders"),
            (RelatedKind::Touches, "touches", "orphan_touches"),
            (RelatedKind::LossTags, "loss_tags", "orphan_loss_tags"),
        ] {
            let Some(Ok(source)) = funnel.related(kind) else {
                continue;
            };
            let rows = format!("funnel_source({name}, {})", literal(pass));
            let mut checks = vec![(
                problem,
                format!(
                    "SELECT * FROM {rows} AS s WHERE NOT EXISTS (SELECT 1 FROM journeys({name}) AS j WHERE j.{entity} = s.entity)"
                ),
                "j.known IS NULL".to_owned(),
                "",
            )];
            let has_stage = source.columns.iter().any(|(name, _)| name == "stage");
            if matches!(kind, RelatedKind::LossTags) && has_stage {
                let stages = funnel.stage_names();
                let stages: Vec<String> = stages.iter().map(|stage| literal(stage)).collect();
                let stages = stages.join(", ");
                checks.push((
                    "unknown_stages",
                    format!("SELECT * FROM {rows} WHERE stage NOT IN ({stages})"),
                    format!("s.stage NOT IN ({stages})"),
                    "s.stage IS NOT NULL",
                ));
            }
            let from = format!(
                "{rows} AS s LEFT JOIN (SELECT {entity} AS known FROM journeys({name}) GROUP BY {entity}) AS j ON j.known = s.entity"
            );
            self.add(pass, &from, checks);
        }
    }

    fn query(&self) -> String {
        let checks = self.checks.iter().enumerate();
        let (mut rows, mut counts, mut totals) = (Vec::new(), Vec::new(), Vec::new());
        for (no, check) in checks {
            let Check {
                problem,
                query,
                pass,
            } = check;
            rows.push(format!("({no}, '{problem}', {})", literal(query)));
            counts.push(format!("WHEN {no} THEN {pass}.{problem}"));
            totals.push(format!("WHEN {no} THEN {pass}.{problem}_of"));
        }
        let passes = self.passes.iter().map(|pass| {
            let Pass { name, query } = pass;
            format!("\n  CROSS JOIN ({query}) AS {name}")
        });
        format!(
            "SELECT problem, count, n, CASE WHEN n > 0 THEN count / CAST(n AS double precision) END AS share, query\n\
             FROM (\n  SELECT no, problem, CASE no {} END AS count, CASE no {} END AS n, query\n  \
             FROM (VALUES {}) AS checks (no, problem, query){}\n) AS counted\nORDER BY no",
            counts.join(" "),
            totals.join(" "),
            rows.join(", "),
            passes.collect::<String>()
        )
    }
}

/// SQL of the number of rows that meet a condition; of all where it is empty.
fn counted(condition: &str) -> String {
    match condition {
        "" => "count(*)".to_owned(),
        condition => format!("count(*) FILTER (WHERE {condition})"),
    }
}
