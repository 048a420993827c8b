//! `value => 'days'`: at which stage time is lost.

use super::super::sql::lines;
use super::super::wording::verdict_column;
use super::Bottleneck;
use crate::definition::text::literal;

/// The standard normal deviate of a 95 % interval.
const DEVIATE: &str = "1.959963984540054";

impl Bottleneck {
    /// The longest time that counts, as SQL.
    pub(super) fn tau_sql(&self) -> String {
        format!("CAST({} AS double precision)", self.tau)
    }

    /// The query of the days that each stage could save.
    pub(super) fn days_query(&self) -> String {
        let tau = self.tau_sql();
        let mut counted = vec!["stage_no".to_owned()];
        counted.extend(self.population().counted());
        counted.push("life_table(stage_days, stage_outcome) AS life".to_owned());
        format!(
            "WITH {benchmarks},\nlives AS (\nSELECT\n{counted}\nFROM {rows}\nWHERE stage_days IS NOT NULL\nGROUP BY stage_no\n),\n\
             stages AS (\n  SELECT named.stage_no, named.stage, coalesce(l.k, 0) AS k, coalesce(l.n, 0) AS n,\n         \
             survival_rmst(l.life, {tau}) AS days, survival_rmst_se(l.life, {tau}) AS se,\n         \
             b.benchmark, b.benchmark_se, b.benchmark_source, b.status AS benchmark_status\n  \
             FROM (VALUES {stage_rows}) AS named(stage_no, stage)\n  \
             LEFT JOIN lives AS l ON l.stage_no = named.stage_no\n  \
             LEFT JOIN benchmarks AS b ON b.stage = named.stage\n),\n\
             judged AS (\n  SELECT gained.*, {pass} * greatest(gap, 0.0) AS gain,\n         \
             {pass} * greatest(gap - {DEVIATE} * gap_se, 0.0) AS gain_lo, {pass} * greatest(gap + {DEVIATE} * gap_se, 0.0) AS gain_hi,\n         \
             CASE WHEN gap > 0 THEN row_number() OVER (ORDER BY CASE WHEN gap > 0 THEN gap END DESC NULLS LAST, stage_no) END AS rank\n  \
             FROM (\n    SELECT *, days - benchmark AS gap, sqrt(se * se + benchmark_se * benchmark_se) AS gap_se,\n           \
             sum(days) OVER () AS cycle,\n           \
             CASE WHEN n = 0 OR days IS NULL THEN 'no_data' WHEN benchmark IS NULL THEN 'no_benchmark' ELSE benchmark_status END AS status,\n           \
             CASE WHEN n = 0 OR days IS NULL THEN 'no_data' WHEN benchmark IS NULL THEN 'no_benchmark' ELSE 'ok' END AS gain_status\n    \
             FROM stages\n  ) AS gained\n)\n\
             SELECT\n{result}\nFROM judged AS stages\nORDER BY rank NULLS LAST, stage_no",
            benchmarks = self.benchmark.days(self),
            counted = lines(&counted),
            rows = self.rows(),
            stage_rows = self.stage_rows(),
            pass = self.pass_through,
            result = lines(&self.days_result()),
        )
    }

    fn days_result(&self) -> Vec<String> {
        let decision = super::verdict::decision();
        vec![
            "CAST(stage_no AS integer) AS stage_no".to_owned(),
            "stage".to_owned(),
            "k".to_owned(),
            "n".to_owned(),
            "days".to_owned(),
            format!("greatest(days - {DEVIATE} * se, 0.0) AS lo"),
            format!("days + {DEVIATE} * se AS hi"),
            "benchmark".to_owned(),
            "benchmark_source".to_owned(),
            "gap".to_owned(),
            "gain".to_owned(),
            "gain_lo".to_owned(),
            "gain_hi".to_owned(),
            "CASE WHEN cycle > gain THEN cycle / (cycle - gain) - 1.0 END AS velocity_gain"
                .to_owned(),
            "rank".to_owned(),
            format!("{} AS tau", self.tau_sql()),
            format!(
                "CAST({} AS double precision) AS pass_through",
                self.pass_through
            ),
            "'days' AS value".to_owned(),
            format!("{} AS method", literal(self.benchmark.name())),
            "status".to_owned(),
            format!("{decision} AS decision"),
            verdict_column(&self.days_verdict(&decision)),
            format!("{} AS drill_key", self.drill_key()),
        ]
    }
}
