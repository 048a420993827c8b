//! The comparison of each arm with the baseline, as SQL over the results.

use super::super::wording::verdict_column;
use super::{Mode, Test};
use crate::definition::text::literal;
use crate::statistics::sequential::Sequence;
use crate::table::sql::lines;

/// Where an expected count is below this, Fisher's test takes the place of the normal one.
const SMALLEST_EXPECTED: i64 = 5;

impl Test {
    /// The whole query.
    pub fn query(&self) -> String {
        let mut tables = vec![
            ("results", self.results.sql()),
            ("arms", self.arms()),
            ("paired", self.paired()),
        ];
        tables.extend(match self.mode {
            Mode::Sequential => vec![("looks", self.looks()), ("compared", self.by_looks())],
            Mode::Fixed => vec![("tested", self.tested()), ("compared", self.by_test())],
            Mode::Bayes => vec![("compared", self.by_bayes())],
        });
        if !self.results.strata().is_empty() {
            tables.extend([("strata", Self::strata()), ("mixed", self.mixed())]);
        }
        tables.extend([("completed", self.completed()), ("judged", self.judged())]);
        let tables: Vec<String> = tables
            .iter()
            .map(|(name, query)| format!("{name} AS (\n{query}\n)"))
            .collect();
        format!(
            "WITH {}\nSELECT\n{}\nFROM judged\nORDER BY NOT is_baseline, arm",
            tables.join(",\n"),
            lines(&self.shown())
        )
    }

    fn arms(&self) -> String {
        "  SELECT arm, count(y) AS n, count(*) FILTER (WHERE y IS NOT NULL AND reached) AS k, avg(y) AS mean,
    coalesce(var_samp(y), 0.0) AS variance, count(*) FILTER (WHERE is_open) AS open
  FROM results GROUP BY arm"
            .to_owned()
    }

    /// Each arm beside the baseline, and what is said of all arms together.
    fn paired(&self) -> String {
        let srm = match (self.is_assigned, &self.weights) {
            (false, _) => "CAST(NULL AS double precision)".to_owned(),
            (true, None) => "srm_check(array_agg(n) OVER every)['p']".to_owned(),
            (true, Some(weights)) => {
                let weights: Vec<String> =
                    weights.iter().map(|weight| format!("{weight:?}")).collect();
                format!(
                    "srm_check(array_agg(n) OVER every, ARRAY[{}])['p']",
                    weights.join(", ")
                )
            }
        };
        let best = match self.results.of_values() {
            false => "ab_best(array_agg(k) OVER every, array_agg(n) OVER every)",
            true => {
                "ab_best_mean(array_agg(mean) OVER every, \
                 array_agg(CASE WHEN n > 1 THEN sqrt(variance / n) END) OVER every)"
            }
        };
        format!(
            "  SELECT arms.*, base.n AS base_n, base.k AS base_k, base.mean AS base_mean, base.variance AS base_variance,
    arms.arm = {base} AS is_baseline
  FROM (
    SELECT *, {srm} AS srm_p, {best}[CAST(row_number() OVER (ORDER BY arm) AS bigint)] AS best, count(*) OVER () AS arm_count
    FROM arms
    WINDOW every AS (ORDER BY arm ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  ) AS arms
  LEFT JOIN arms AS base ON base.arm = {base}",
            base = literal(&self.baseline)
        )
    }

    fn looks(&self) -> String {
        let parts = [
            "arm",
            "looks",
            "decided_at",
            "estimate",
            "lo",
            "hi",
            "p",
            "p_adj",
            "level",
            "rel_lift",
            "rel_lo",
            "rel_hi",
            "status",
        ];
        let parts: Vec<String> = parts
            .iter()
            .map(|name| format!("look['{name}'] AS {name}"))
            .collect();
        let of = match self.results.of_values() {
            true => "mean",
            false => "rate",
        };
        format!(
            "  SELECT {}\n  FROM (\n    SELECT unnest(ab_looks(at, arm, y, {}, {:?}, {:?}, '{of}', '{}')) AS look\n    FROM results\n  ) AS looks",
            parts.join(", "),
            literal(&self.baseline),
            self.alpha,
            self.tuning,
            self.adjust.name(),
        )
    }

    fn by_looks(&self) -> String {
        let decided_at = match self.results.has_times() {
            true => "looks.decided_at",
            false => "CAST(NULL AS timestamptz(6)) AS decided_at",
        };
        format!(
            "  SELECT paired.*, looks.estimate AS diff, looks.lo AS diff_lo, looks.hi AS diff_hi, looks.rel_lift, looks.rel_lo, looks.rel_hi,
    looks.p, looks.p_adj, coalesce(looks.level, {:?}) AS level, CASE WHEN NOT is_baseline THEN looks.looks END AS looks, {decided_at},
    'confidence_sequence' AS method, looks.status AS found_status
  FROM paired LEFT JOIN looks ON looks.arm = paired.arm",
            self.alpha
        )
    }

    /// The test of each arm, and the level of its interval.
    fn tested(&self) -> String {
        let (test, method) = match self.results.of_values() {
            true => (
                "mean_diff_ci(n, mean, variance, base_n, base_mean, base_variance)['p']".to_owned(),
                "'welch'".to_owned(),
            ),
            false => {
                let small = format!(
                    "least(n, base_n) * (least(k + base_k, n + base_n - k - base_k) / CAST(n + base_n AS double precision)) < {SMALLEST_EXPECTED}"
                );
                (
                    format!(
                        "CASE WHEN {small} THEN fisher_p(k, n, base_k, base_n) ELSE z_test_p(k, n, base_k, base_n) END"
                    ),
                    format!("CASE WHEN {small} THEN 'fisher' ELSE 'z' END"),
                )
            }
        };
        format!(
            "  SELECT *, p_adjust(p, '{adjust}') OVER () AS p_adj, coalesce(p_adjust_level(p, '{adjust}', {alpha:?}) OVER (), {alpha:?}) AS level
  FROM (
    SELECT *, CASE WHEN NOT is_baseline AND n > 0 AND base_n > 0 THEN {test} END AS p, CASE WHEN n > 0 THEN {method} END AS method
    FROM paired
  ) AS tests",
            adjust = self.adjust.name(),
            alpha = self.alpha,
        )
    }

    fn by_test(&self) -> String {
        let (difference, ratio) = match self.results.of_values() {
            true => (MEANS.to_owned(), RATIO_OF_MEANS.to_owned()),
            false => (
                "rate_diff_ci(k, n, base_k, base_n, 1.0 - level, 'miettinen_nurminen')".to_owned(),
                "rate_ratio_ci(k, n, base_k, base_n, 1.0 - level)".to_owned(),
            ),
        };
        let relative = match self.results.of_values() {
            true => "ratio['diff'] AS rel_lift, ratio['lo'] AS rel_lo, ratio['hi'] AS rel_hi",
            false => {
                "ratio['ratio'] - 1.0 AS rel_lift, ratio['lo'] - 1.0 AS rel_lo, ratio['hi'] - 1.0 AS rel_hi"
            }
        };
        format!(
            "  SELECT *, difference['diff'] AS diff, difference['lo'] AS diff_lo, difference['hi'] AS diff_hi, {relative},
    CAST(NULL AS bigint) AS looks, CAST(NULL AS timestamptz(6)) AS decided_at,
    CASE WHEN base_n IS NULL OR base_n = 0 THEN 'no_control' WHEN NOT is_baseline AND p IS NULL THEN 'no_variation' ELSE 'ok' END AS found_status
  FROM (
    SELECT *, CASE WHEN NOT is_baseline THEN {difference} END AS difference, CASE WHEN NOT is_baseline THEN {ratio} END AS ratio
    FROM tested
  ) AS measured"
        )
    }

    fn by_bayes(&self) -> String {
        let (difference, method) = match self.results.of_values() {
            true => (MEANS.to_owned(), "normal"),
            false => (
                format!(
                    "ab_bayes(base_k, base_n, k, n, 1, 1, {:?})",
                    1.0 - self.alpha
                ),
                "beta_binomial",
            ),
        };
        format!(
            "  SELECT *, mean - base_mean AS diff, difference['lo'] AS diff_lo, difference['hi'] AS diff_hi,
    CASE WHEN base_mean <> 0 THEN mean / base_mean - 1.0 END AS rel_lift, CAST(NULL AS double precision) AS rel_lo,
    CAST(NULL AS double precision) AS rel_hi, CAST(NULL AS double precision) AS p, CAST(NULL AS double precision) AS p_adj,
    CAST(NULL AS bigint) AS looks, CAST(NULL AS timestamptz(6)) AS decided_at, '{method}' AS method,
    CASE WHEN base_n IS NULL OR base_n = 0 THEN 'no_control' WHEN NOT is_baseline AND difference['lo'] IS NULL THEN 'no_variation' ELSE 'ok' END AS found_status
  FROM (
    SELECT *, CASE WHEN NOT is_baseline AND n > 0 THEN {difference} END AS difference
    FROM (SELECT *, CAST({:?} AS double precision) AS level FROM paired) AS levelled
  ) AS measured",
            self.alpha
        )
    }

    /// Counts of each arm in each stratum.
    fn strata() -> String {
        "  SELECT arm, stratum, CAST(count(y) AS double precision) AS n, sum(y) AS k, var_pop(y) * count(y) AS squares
  FROM results WHERE y IS NOT NULL GROUP BY arm, stratum"
            .to_owned()
    }

    /// The difference at an equal mix of the strata, and its variance.
    fn mixed(&self) -> String {
        let joined = format!(
            "FROM strata AS a JOIN strata AS b ON b.stratum = a.stratum AND b.arm = {base}\n  WHERE a.arm <> {base}\n  GROUP BY a.arm",
            base = literal(&self.baseline)
        );
        // Mantel and Haenszel's weights; the variance of a rate's difference is Sato's.
        let weight = "sum(a.n * b.n / (a.n + b.n))";
        match self.results.of_values() {
            false => format!(
                "  SELECT arm, estimate, greatest((estimate * first + second) / (weight * weight), 0.0) AS mixed_variance, mixed_n
  FROM (
    SELECT a.arm, sum((a.k * b.n - b.k * a.n) / (a.n + b.n)) / {weight} AS estimate, {weight} AS weight, sum(a.n + b.n) AS mixed_n,
      sum((a.n * a.n * b.k - b.n * b.n * a.k + a.n * b.n * (b.n - a.n) / 2.0) / ((a.n + b.n) * (a.n + b.n))) AS first,
      sum((a.k * (b.n - b.k) + b.k * (a.n - a.k)) / (2.0 * (a.n + b.n))) AS second
    {joined}
  ) AS sums"
            ),
            true => format!(
                "  SELECT sums.arm, estimate, (of_a * own.spread + of_b * base.spread) / (weight * weight) AS mixed_variance, sums.mixed_n
  FROM (
    SELECT a.arm, sum((a.k * b.n - b.k * a.n) / (a.n + b.n)) / {weight} AS estimate, {weight} AS weight, sum(a.n + b.n) AS mixed_n,
      sum(a.n * b.n * b.n / ((a.n + b.n) * (a.n + b.n))) AS of_a, sum(a.n * a.n * b.n / ((a.n + b.n) * (a.n + b.n))) AS of_b
    {joined}
  ) AS sums
  JOIN (SELECT arm, sum(squares) / nullif(sum(n - 1.0), 0.0) AS spread FROM strata GROUP BY arm) AS own ON own.arm = sums.arm
  JOIN (SELECT arm, sum(squares) / nullif(sum(n - 1.0), 0.0) AS spread FROM strata GROUP BY arm) AS base ON base.arm = {}",
                literal(&self.baseline)
            ),
        }
    }

    /// The comparison with the adjusted one beside it, and its status.
    fn completed(&self) -> String {
        let own = match self.results.of_values() {
            true => {
                "mean_diff_ci(n, mean, variance, 2, 0.0, 0.0, {})".replace("{}", &self.confidence())
            }
            false => format!("rate_ci(k, n, {})", self.confidence()),
        };
        let immature = match self.results.has_equal_times() {
            true => String::new(),
            false => " WHEN open > 0 THEN 'immature'".to_owned(),
        };
        let status = format!(
            "CASE WHEN n = 0 THEN 'immature' WHEN found_status <> 'ok' THEN found_status WHEN arm_count = 1 THEN 'one_group'{immature} ELSE 'ok' END AS status"
        );
        let (adjusted, join) = match self.results.strata().is_empty() {
            true => (
                "CAST(NULL AS double precision) AS adjusted_diff, CAST(NULL AS double precision) AS adjusted_half".to_owned(),
                "",
            ),
            false => {
                let half = match self.mode {
                    Mode::Sequential => {
                        let scaled = format!("(mixed.mixed_n * {:?})", Sequence::new(self.alpha, self.tuning).rho_squared());
                        format!(
                            "sqrt(mixed.mixed_variance * (1.0 + 1.0 / {scaled}) * (ln(1.0 + {scaled}) - 2.0 * ln(level)))"
                        )
                    }
                    Mode::Fixed | Mode::Bayes => {
                        "sqrt(mixed.mixed_variance) * norm_quantile(1.0 - level / 2.0)".to_owned()
                    }
                };
                (
                    format!("mixed.estimate AS adjusted_diff, CASE WHEN mixed.mixed_variance > 0.0 THEN {half} END AS adjusted_half"),
                    "\n  LEFT JOIN mixed ON mixed.arm = compared.arm",
                )
            }
        };
        format!(
            "  SELECT compared.*, {own} AS own, {adjusted},\n    {status}\n  FROM compared{join}"
        )
    }

    fn confidence(&self) -> String {
        format!("{:?}", 1.0 - self.alpha)
    }

    fn shown(&self) -> Vec<String> {
        let rate = match self.results.of_values() {
            true => "mean",
            false => "own['rate']",
        };
        let mut columns = vec!["arm".to_owned(), "n".to_owned(), "k".to_owned()];
        columns.extend([
            format!("{rate} AS rate"),
            "own['lo'] AS lo".to_owned(),
            "own['hi'] AS hi".to_owned(),
        ]);
        columns.extend(
            [
                "diff",
                "diff_lo",
                "diff_hi",
                "rel_lift",
                "rel_lo",
                "rel_hi",
                "p",
                "p_adj",
                "best['prob_best'] AS prob_best",
                "best['expected_loss'] AS exp_loss",
                "srm_p",
                "adjusted_diff",
                "adjusted_lo",
                "adjusted_hi",
                "looks",
                "decided_at",
            ]
            .map(str::to_owned),
        );
        columns.push(format!("{} AS baseline", literal(&self.baseline)));
        columns.extend(["method", "status", "decision"].map(str::to_owned));
        columns.push(verdict_column(&self.verdict()));
        columns.push(format!("{} AS drill_key", self.results.drill_key()));
        columns
    }
}

/// The difference of means at the level.
const MEANS: &str =
    "mean_diff_ci(n, mean, variance, base_n, base_mean, base_variance, 1.0 - level)";

/// The ratio of means less 1 at the level, by the delta method: that of `mean / base_mean` and 1, with the variance that the baseline adds.
const RATIO_OF_MEANS: &str = "CASE WHEN base_mean <> 0 THEN mean_diff_ci(n, mean / base_mean, variance / (base_mean * base_mean), base_n, 1.0, \
    base_variance * mean * mean / (base_mean * base_mean * base_mean * base_mean), 1.0 - level) END";
