//! `review('change')`: did a change of a stage work, and by how much?
//!
//! The change is one that `CREATE CHANGE` kept. Journeys are taken by the week in which they entered the changed stage, counted
//! from the change on, as many weeks before it as after it; each is looked at for equally long, and those that haven't had that
//! time yet are left out. What is compared, in this order:
//! - `did`: the change has a segment, so the others are a control. What the segment became, less what the others became in the
//!   same weeks (difference in differences), as far as both moved alike before
//! - `its`: at least 8 weeks on each side. What the segment became, less what the trend of the weeks before leads to (interrupted
//!   time series), as long as that is a possible rate
//! - `difference`: after less before; or, where the segment has nobody before the change, less what the others became after it. Anything else
//!   that happened at that time is in it, so it is weak evidence
//!
//! # Columns
//! - `metric` text: `stage_conversion` (of those that entered the changed stage, how many went on), `win_rate` (how many of them won; not
//!   where winning is what comes next), `stage_days` (days until those that went on did); `stage`, `to_stage` text
//! - `k_before`, `n_before`, `k_after`, `n_after` bigint, `before`, `after` double precision: those that succeeded, those that count, and the
//!   rate (or the mean of the days) in the segment; `control_k_before` … `control_after`: the same of the others, NULL without a segment
//! - `counterfactual` double precision: what `after` was to be without the change, by `method`
//! - `effect` = `after` - `counterfactual`, `lo`, `hi`: its 95 % interval; `p`: of no effect
//! - `method` text: `did`, `its`, `difference`
//! - `mix_adjusted` double precision: the effect at an equal mix of `mix`; NULL where no group is there on both sides
//! - `pass_through` double precision: of `win_rate`, how much of the stage's gain arrived: ln(wins' ratio) / ln(the stage's ratio), each of
//!   `after` to `counterfactual`; NULL unless the stage's effect is beyond chance
//! - `pretrend_p` double precision: of the control moving like the segment before the change; below 0.05 there is no `did`
//! - `weeks_before`, `weeks_after` bigint: weeks that count; `left_out` bigint: journeys of the segment that entered after the change and haven't
//!   had their time yet
//! - `status` text: `ok`; `immature` (nobody has had the time yet); `no_data` (nobody before, or after); `no_control` (`difference`, without anything to
//!   compare with); `no_variation` (all had the same outcome, so there is no interval)
//! - `decision` text: `proven` (better, beyond chance), `harmful` (worse, beyond chance), `no_effect` (the interval holds 0, all weeks are in),
//!   `too_early` (weeks are still missing), `weak_evidence` (see `notes`)
//! - `verdict` text: the decision in words, with its numbers and its reason; `notes` text: what else to know
//! - `evidence` text: the numbers behind it, as JSON; `drill_key` text, for [`funnel_drill`](super::funnel_drill)
//!
//! # Arguments
//! the name of the change; `as_of`, `counting`, `where` as of [`journeys`](super::journeys);
//! `age`: for how many days after entering the changed stage a journey is looked at, `30` or `'2 weeks'`; the funnel's window where it
//! isn't given, and needed for a funnel without one;
//! `before` (`'90 days'`): how far back and forth, in whole weeks;
//! `mix`: dimensions to hold equal; all of the funnel's that the change's segment doesn't name; `lang`: `en` or `zh`.
//!
//! # Notes
//! - Regression to the mean: what is chosen because it is bad gets better by itself. There is a note where the change says
//!   `BECAUSE WORST` or the segment was below the others; and where its last 4 weeks before the change were worse, beyond chance, than
//!   those before them, a gain is `weak_evidence`; so it is with such a note and less than 8 weeks before, where nobody can see that
//! - a gain that falls out of its own interval at an equal mix is `weak_evidence`, and so is a control of which nobody knows
//!   whether it moved alike (less than 3 weeks before)
//! - an interval that holds 0 and could hide a change by half is `weak_evidence`, and not `no_effect`
//! - owners: deals of one owner resemble one another; the interval of `did` is clustered by the funnel's owner where that makes it wider
//!
//! Source: the methods' are with [`did_fit`](crate::aggregate::did_fit) and [`its_fit`](crate::aggregate::its_fit); the equal mix is the risk
//! difference of S. Greenland and J. Robins, Biometrics 41 (1985), 55–68. Cost: one pass over the journeys, each of them for three metrics.

use std::ops::ControlFlow;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Value, visit_expressions};

use super::TableFunction;
use super::arguments::{Arguments, Text};
use super::call::Call;
use super::cohort_cycle::stage_idx;
use super::conversion::first_entry;
use super::language::Language;
use super::population::Population;
use super::sql::{self, lines};
use super::wording::verdict_column;
use crate::definition::change::ChangeDefinition;
use crate::definition::resolve::parse_expression;
use crate::definition::text::{folded, identifier, literal};
use crate::error::{FunnelError, Kind};
use crate::{FunctionInfo, FunctionKind};

mod verdict;

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || vec!["as_of", "counting", "where", "age", "before", "mix", "lang"],
    plan,
    population: Some(|arguments| Ok(ReviewCall::take(arguments)?.population())),
    info,
};

const NAME: &str = "review";

/// The least weeks on each side that have a trend.
const ITS_WEEKS: i64 = 8;
/// The weeks before the change that may have been the reason for it.
const DIP_WEEKS: i64 = 4;
/// How far back and forth, where nothing else is said.
const DEFAULT_DAYS: f64 = 90.0;
const WEEK_US: &str = "604800000000";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: "change text, as_of timestamp with time zone DEFAULT now(), age double precision DEFAULT NULL, \
                    before text DEFAULT '90 days', mix text DEFAULT NULL, lang text DEFAULT 'en', \
                    counting text DEFAULT NULL, \"where\" text DEFAULT NULL"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description: "Whether a change of a stage worked: its effect, interval and verdict.".to_owned(),
    }
}

/// One call's arguments.
struct ReviewCall {
    call: Call,
    change: ChangeDefinition,
    /// From 0: the changed stage; what comes next is the following one.
    stage_idx: usize,
    /// Days.
    age: Option<f64>,
    /// How many on each side.
    weeks: i64,
    mix: Vec<String>,
    lang: Language,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let review = ReviewCall::take(arguments)?;
    sql::plan(arguments, review.call.written(), &review.query())
}

impl ReviewCall {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let name = match arguments.peek_positional() {
            Some(first) => arguments.text("the change", first)?.map(Text::into_string),
            None => None,
        };
        let Some(name) = name else {
            return Err(FunnelError::WrongCall {
                message: "review() needs the name of a change".to_owned(),
                hint: "Write review('new_script'); SHOW CHANGES lists them.".to_owned(),
            }
            .into());
        };
        let change = arguments.lookup().change(&name)?.definition.clone();
        let funnel = Value::SingleQuotedString(change.funnel.clone());
        arguments.replace_positional(SqlExpr::Value(funnel.into()));
        let age = arguments.take_days("age")?;
        let days = arguments.take_days("before")?.unwrap_or(DEFAULT_DAYS);
        let weeks = (days / 7.0).floor() as i64;
        if weeks < 1 {
            return Err(arguments.invalid("before", &format!("{days} days"), "a week or more"));
        }
        let lang = Language::take(arguments)?;
        let (mix, _) = arguments.take_names("mix")?;
        let call = Call::take_without_segments(arguments)?;
        let stage_idx = stage_idx(&call, Some(&change.stage))?;
        if age.is_none() && call.funnel.window.is_none() {
            return Err(FunnelError::WrongCall {
                message: format!(
                    "review() needs age: funnel \"{}\" has no window",
                    change.funnel
                ),
                hint: "Write age => 30, the days in which a journey should have gone on."
                    .to_owned(),
            }
            .into());
        }
        if stage_idx + 1 >= call.funnel.definition.stages.len() {
            return Err(FunnelError::InvalidDefinition {
                message: format!("stage \"{}\" has become the last one", change.stage),
                hint: "Create the change again at the stage before it.".to_owned(),
            }
            .into());
        }
        arguments.look_at("mix");
        let mix = mix_of(&call, &change, mix)?;
        Ok(Self {
            call,
            change,
            stage_idx,
            age,
            weeks,
            mix,
            lang,
        })
    }

    fn stage(&self) -> &str {
        &self.call.funnel.definition.stages[self.stage_idx].name
    }

    fn to_stage(&self) -> &str {
        &self.call.funnel.definition.stages[self.stage_idx + 1].name
    }

    fn last_stage(&self) -> &str {
        let stages = &self.call.funnel.definition.stages;
        stages.last().map_or("", |stage| stage.name.as_str())
    }

    fn has_control(&self) -> bool {
        self.change.segment.is_some()
    }

    /// SQL of the microsecond of the change.
    fn at(&self) -> String {
        format!(
            "CAST(CAST({} AS timestamptz(6)) AS bigint)",
            literal(&self.change.at)
        )
    }

    /// SQL of the last microsecond at which an entry has had its time by `as_of`.
    fn ripe(&self) -> String {
        let as_of = self.call.as_of();
        let window = self.call.funnel.definition.window.as_ref();
        match (self.age, window) {
            (Some(age), _) => {
                format!("(CAST({as_of} AS bigint) - {:.0})", age * 86_400_000_000.0)
            }
            (None, Some(window)) => format!(
                "CAST({as_of} - INTERVAL {} AS bigint)",
                literal(window.text())
            ),
            (None, None) => format!("CAST({as_of} AS bigint)"),
        }
    }

    /// SQL of how many whole weeks after the change are ripe.
    fn ripe_weeks(&self) -> String {
        format!(
            "greatest(least(CAST(floor(({} - {}) / {WEEK_US}.0) AS bigint), {}), 0)",
            self.ripe(),
            self.at(),
            self.weeks
        )
    }

    /// The metrics that there are of this stage.
    fn metrics(&self) -> Vec<&'static str> {
        let is_before_last = self.stage_idx + 2 == self.call.funnel.definition.stages.len();
        match is_before_last {
            true => vec!["stage_conversion", "stage_days"],
            false => vec!["stage_conversion", "win_rate", "stage_days"],
        }
    }

    /// The journeys of the weeks around the change, for each metric: `__week`, whether it is `__treated`, `__ripe` and in `__n`, `__k`, and its value `__y`.
    fn rows(&self) -> String {
        let names = self.metrics();
        let metrics = (1..)
            .zip(&names)
            .map(|(no, name)| format!("({no}, '{name}')"));
        let next = self.stage_idx + 2;
        let last = self.call.funnel.definition.stages.len();
        let reached = |stage: usize| format!("coalesce(steps[{stage}]['reached'], false)");
        let in_time = |stage: usize, entry: &str| match self.age {
            Some(age) => format!(
                "{} AND CAST({entry} AS bigint) - CAST(__entered_at AS bigint) <= {:.0}",
                reached(stage),
                age * 86_400_000_000.0
            ),
            None => reached(stage),
        };
        let mature = match self.age {
            Some(_) => "",
            None => " AND mature",
        };
        let treated = match &self.change.segment {
            Some(segment) => format!("coalesce(({segment}), false)"),
            None => "true".to_owned(),
        };
        format!(
            "(
  SELECT entered.*, __metric_no, __metric,
         CASE __metric WHEN 'stage_conversion' THEN __next WHEN 'win_rate' THEN __won ELSE true END AS __k,
         __ripe AND (__metric <> 'stage_days' OR __next) AS __n,
         CASE __metric WHEN 'stage_conversion' THEN CASE WHEN __next THEN 1.0 ELSE 0.0 END
                       WHEN 'win_rate' THEN CASE WHEN __won THEN 1.0 ELSE 0.0 END
                       ELSE __days END AS __y
  FROM (
    SELECT *, coalesce({next_in_time}, false) AS __next, coalesce({won_in_time}, false) AS __won,
           (CAST(__next_at AS bigint) - CAST(__entered_at AS bigint)) / 86400000000.0 AS __days,
           {at} + (__week + 1) * {WEEK_US} <= {ripe}{mature} AS __ripe
    FROM (
      SELECT *, CAST(floor((CAST(__entered_at AS bigint) - {at}) / {WEEK_US}.0) AS bigint) AS __week
      FROM (
        SELECT *, {treated} AS __treated, {entered_at} AS __entered_at, {next_at} AS __next_at, {won_at} AS __won_at
        FROM {journeys}
        WHERE steps[{stage}]['reached']
      ) AS came
    ) AS in_weeks
    WHERE __week >= -{weeks} AND __week < {weeks}
  ) AS entered
  CROSS JOIN (VALUES {metrics}) AS metrics(__metric_no, __metric)
) AS observed",
            next_in_time = in_time(next, "__next_at"),
            won_in_time = in_time(last, "__won_at"),
            at = self.at(),
            ripe = self.ripe(),
            entered_at = first_entry(&self.call, self.stage_idx),
            next_at = first_entry(&self.call, self.stage_idx + 1),
            won_at = first_entry(&self.call, last - 1),
            journeys = self.call.journeys_with_steps(),
            stage = self.stage_idx + 1,
            weeks = self.weeks,
            metrics = metrics.collect::<Vec<_>>().join(", "),
        )
    }

    fn population(&self) -> Population {
        let count = |name: &'static str, condition: &str| (name, condition.to_owned());
        Population {
            funnel: self.call.funnel(),
            rows: self.rows(),
            of_stages: false,
            cell: vec![("metric".to_owned(), "__metric".to_owned())],
            parameters: Vec::new(),
            counts: vec![
                count("n_after", "__n AND __treated AND __week >= 0"),
                count("k_after", "__n AND __k AND __treated AND __week >= 0"),
                count("n_before", "__n AND __treated AND __week < 0"),
                count("k_before", "__n AND __k AND __treated AND __week < 0"),
                count("control_n_after", "__n AND NOT __treated AND __week >= 0"),
                count(
                    "control_k_after",
                    "__n AND __k AND NOT __treated AND __week >= 0",
                ),
                count("control_n_before", "__n AND NOT __treated AND __week < 0"),
                count(
                    "control_k_before",
                    "__n AND __k AND NOT __treated AND __week < 0",
                ),
                count("left_out", "NOT __ripe AND __treated AND __week >= 0"),
            ],
        }
    }

    fn query(&self) -> String {
        format!(
            "WITH counted AS (\n{}\n),\nmixed AS (\n{}\n),\nfilled AS (\n{}\n),\nchosen AS (\n{}\n),\nestimated AS (\n{}\n),\njudged AS (\n{}\n)\n\
             SELECT\n{}\nFROM judged\nORDER BY metric_no",
            self.counted(),
            self.mixed(),
            self.filled(),
            self.chosen(),
            self.estimated(),
            self.judged(),
            lines(&self.result()),
        )
    }

    /// One row for each metric: the counts, both fits, and the weeks just before the change beside those before them.
    fn counted(&self) -> String {
        let population = self.population();
        let mut columns = vec![
            "__metric_no AS metric_no".to_owned(),
            "__metric AS metric".to_owned(),
        ];
        columns.extend(population.counted());
        let owner = match self.call.funnel.definition.owner {
            Some(_) => ", owner",
            None => "",
        };
        columns.push(format!(
            "did_fit(__week, __y, __treated{owner}) FILTER (WHERE __n) AS did"
        ));
        columns.push("its_fit(__week, __y) FILTER (WHERE __n AND __treated) AS its".to_owned());
        for (name, group) in [("dip", "__treated"), ("control_dip", "NOT __treated")] {
            for (part, weeks) in [
                ("late", format!(">= -{DIP_WEEKS} AND __week < 0")),
                ("early", format!("< -{DIP_WEEKS}")),
            ] {
                for (count, condition) in [("k", "__n AND __k"), ("n", "__n")] {
                    columns.push(format!(
                        "count(*) FILTER (WHERE {condition} AND {group} AND __week {weeks}) AS {name}_{part}_{count}"
                    ));
                }
            }
        }
        format!(
            "SELECT\n{}\nFROM {}\nGROUP BY __metric_no, __metric",
            lines(&columns),
            population.rows
        )
    }

    /// By how much each of three comparisons differs at an equal mix: groups by the dimensions, weighted by
    /// `n₁ n₀ / (n₁ + n₀)`.
    fn mixed(&self) -> String {
        let sides = [
            ("a", "__treated AND __week >= 0"),
            ("b", "__treated AND __week < 0"),
            ("c", "NOT __treated AND __week >= 0"),
            ("d", "NOT __treated AND __week < 0"),
        ];
        let mut columns = vec!["__metric".to_owned()];
        for (side, condition) in sides {
            columns.push(format!(
                "CAST(count(*) FILTER (WHERE {condition}) AS double precision) AS n_{side}"
            ));
            columns.push(format!(
                "coalesce(sum(__y) FILTER (WHERE {condition}), 0.0) AS s_{side}"
            ));
        }
        let mut groups = vec!["__metric".to_owned()];
        groups.extend(self.mix.iter().map(|name| identifier(name)));
        let difference = |one: &str, other: &str| {
            let both = format!("n_{one} > 0 AND n_{other} > 0");
            format!(
                "sum(CASE WHEN {both} THEN (s_{one} * n_{other} - s_{other} * n_{one}) / (n_{one} + n_{other}) END)
    / sum(CASE WHEN {both} THEN n_{one} * n_{other} / (n_{one} + n_{other}) END)"
            )
        };
        let results = [
            "__metric AS mixed_metric".to_owned(),
            format!("{} AS mixed_change", difference("a", "b")),
            format!("{} AS mixed_control", difference("c", "d")),
            format!("{} AS mixed_gap", difference("a", "c")),
        ];
        format!(
            "SELECT\n{}\nFROM (\nSELECT\n{}\nFROM {}\nWHERE __n\nGROUP BY {}\n) AS cells\nGROUP BY __metric",
            lines(&results),
            lines(&columns),
            self.rows(),
            groups.join(", ")
        )
    }

    /// A row for each metric, even if nobody entered the stage.
    fn filled(&self) -> String {
        let names = self.metrics();
        let metrics = (1..)
            .zip(&names)
            .map(|(no, name)| format!("({no}, '{name}')"));
        let counts = self.population().counts;
        let mut columns = vec!["no AS metric_no".to_owned(), "name AS metric".to_owned()];
        columns.extend(
            counts
                .iter()
                .map(|(name, _)| format!("coalesce({name}, 0) AS {name}")),
        );
        let dips = ["dip", "control_dip"];
        let dip = |name: &str| {
            format!(
                "coalesce(metric <> 'stage_days' AND {name}_late_n > 0 AND {name}_early_n > 0
    AND rate_diff_upper({name}_late_k, {name}_late_n, {name}_early_k, {name}_early_n) < 0.0, false) AS {name}"
            )
        };
        columns.extend(dips.map(dip));
        columns.extend(
            ["did", "its", "mixed_change", "mixed_control", "mixed_gap"].map(str::to_owned),
        );
        format!(
            "SELECT\n{}\nFROM (VALUES {}) AS metrics(no, name)\nLEFT JOIN counted ON metric = name\nLEFT JOIN mixed ON mixed_metric = name",
            lines(&columns),
            metrics.collect::<Vec<_>>().join(", "),
        )
    }

    /// Which comparison there can be.
    fn chosen(&self) -> String {
        format!(
            "SELECT *,
  coalesce(did['pretrend_p'] < 0.05, false) AS apart,
  CASE WHEN n_after = 0 THEN NULL
       WHEN n_before = 0 THEN CASE WHEN control_n_after > 0 THEN 'gap' END
       WHEN control_n_before > 0 AND control_n_after > 0 AND NOT coalesce(did['pretrend_p'] < 0.05, false) THEN 'did'
       WHEN its['points_before'] >= {ITS_WEEKS} AND its['points_after'] >= {ITS_WEEKS}
        AND its['counterfactual'] >= 0.0 AND (its['counterfactual'] <= 1.0 OR metric = 'stage_days') THEN 'its'
       ELSE 'change' END AS comparison
FROM filled"
        )
    }

    /// The comparison's numbers.
    fn estimated(&self) -> String {
        let by = |did: &str, its: &str, change: &str, gap: &str| {
            format!(
                "CASE comparison WHEN 'did' THEN {did} WHEN 'its' THEN {its} WHEN 'change' THEN {change} WHEN 'gap' THEN {gap} END"
            )
        };
        let same = |name: &str| {
            by(
                &format!("did['{name}']"),
                &format!("its['{name}']"),
                &format!("did['change_{name}']"),
                &format!("did['gap_{name}']"),
            )
        };
        let columns = [
            "*".to_owned(),
            format!(
                "{} AS effect",
                by(
                    "did['effect']",
                    "its['effect']",
                    "did['change']",
                    "did['gap']"
                )
            ),
            format!("{} AS lo", same("lo")),
            format!("{} AS hi", same("hi")),
            format!("{} AS p", same("p")),
            // What the mix alone makes of the comparison is the same whatever is compared beside it.
            format!(
                "{} AS mix_effect",
                by(
                    "did['effect'] - (mixed_change - mixed_control)",
                    "did['change'] - mixed_change",
                    "did['change'] - mixed_change",
                    "did['gap'] - mixed_gap",
                )
            ),
            "CASE WHEN metric = 'stage_days' THEN -1.0 ELSE 1.0 END AS better".to_owned(),
            format!("{} AS ripe_weeks", self.ripe_weeks()),
        ];
        format!("SELECT\n{}\nFROM chosen", lines(&columns))
    }

    /// Whether it is beyond chance, and what speaks against believing it.
    fn judged(&self) -> String {
        let gain = "(lo > 0.0 AND better > 0.0) OR (hi < 0.0 AND better < 0.0)";
        let loss = "(hi < 0.0 AND better > 0.0) OR (lo > 0.0 AND better < 0.0)";
        let dip = "dip AND NOT (comparison = 'did' AND control_dip)";
        let stage = |value: &str| {
            format!("max(CASE WHEN metric = 'stage_conversion' THEN {value} END) OVER ()")
        };
        let ratio = "CASE WHEN did['after'] > 0.0 AND did['after'] - effect > 0.0 THEN ln(did['after'] / (did['after'] - effect)) END";
        let real = "(lo > 0.0 OR hi < 0.0)";
        let worst = match self.change.because_worst {
            true => "true".to_owned(),
            false => "coalesce(metric <> 'stage_days' AND n_before > 0 AND control_n_before > 0
    AND rate_diff_upper(k_before, n_before, control_k_before, control_n_before) < 0.0, false)"
                .to_owned(),
        };
        let columns = [
            "*".to_owned(),
            "did['after'] - effect AS counterfactual".to_owned(),
            "effect - mix_effect AS mix_adjusted".to_owned(),
            format!("coalesce({gain}, false) AS gained"),
            format!("coalesce({loss}, false) AS harmed"),
            format!("coalesce({dip}, false) AS low_before"),
            format!("{worst} AS was_worst"),
            // Whether it was a passing low shows beside the weeks before it.
            format!("{worst} AND {} AS low_unseen", self.weeks < 2 * DIP_WEEKS),
            "coalesce(effect - mix_effect < lo OR effect - mix_effect > hi, false) AS by_mix"
                .to_owned(),
            "coalesce(comparison = 'did' AND did['pretrend'] IS NULL, false) AS untested"
                .to_owned(),
            "coalesce((hi - lo) / 2.0 > abs(did['after'] - effect) / 2.0 AND lo <= 0.0 AND hi >= 0.0, false) AS too_few".to_owned(),
            format!(
                "CASE WHEN metric = 'win_rate' THEN {ratio} / {} END AS pass_through",
                stage(&format!("CASE WHEN {real} THEN {ratio} END"))
            ),
        ];
        format!(
            "SELECT *,
  CASE WHEN n_after = 0 AND (left_out > 0 OR ripe_weeks < {weeks}) THEN 'immature'
       WHEN n_after = 0 OR comparison IS NULL THEN 'no_data'
       WHEN lo IS NULL THEN 'no_variation'
       WHEN comparison IN ('change', 'gap') THEN 'no_control'
       ELSE 'ok' END AS status,
  CASE WHEN n_after = 0 THEN 'too_early'
       WHEN lo IS NULL AND abs(effect) < 1e-12 THEN 'no_effect'
       WHEN lo IS NULL OR comparison IN ('change', 'gap') THEN 'weak_evidence'
       WHEN gained AND (low_before OR low_unseen OR by_mix OR untested) THEN 'weak_evidence'
       WHEN gained THEN 'proven'
       WHEN harmed AND (by_mix OR untested) THEN 'weak_evidence'
       WHEN harmed THEN 'harmful'
       WHEN ripe_weeks < {weeks} THEN 'too_early'
       WHEN too_few THEN 'weak_evidence'
       ELSE 'no_effect' END AS decision
FROM (\nSELECT\n{}\nFROM estimated\n) AS weighed",
            lines(&columns),
            weeks = self.weeks,
        )
    }

    fn result(&self) -> Vec<String> {
        let control = |value: &str| match self.has_control() {
            true => value.to_owned(),
            false => format!("CASE WHEN false THEN {value} END"),
        };
        let mut columns = vec![
            "metric".to_owned(),
            format!("{} AS stage", literal(self.stage())),
            format!(
                "CASE WHEN metric = 'win_rate' THEN {} ELSE {} END AS to_stage",
                literal(self.last_stage()),
                literal(self.to_stage())
            ),
        ];
        columns.extend(["k_before", "n_before"].map(str::to_owned));
        columns.push("did['before'] AS before".to_owned());
        columns.extend(["k_after", "n_after"].map(str::to_owned));
        columns.push("did['after'] AS after".to_owned());
        for side in ["before", "after"] {
            for count in ["k", "n"] {
                let name = format!("control_{count}_{side}");
                columns.push(format!("{} AS {name}", control(&name)));
            }
            columns.push(format!("did['control_{side}'] AS control_{side}"));
        }
        columns.extend(["counterfactual", "effect", "lo", "hi", "p"].map(str::to_owned));
        columns.extend([
            "CASE WHEN comparison IN ('change', 'gap') THEN 'difference' ELSE comparison END AS method".to_owned(),
            "mix_adjusted".to_owned(),
            "pass_through".to_owned(),
            "did['pretrend_p'] AS pretrend_p".to_owned(),
            "coalesce(its['points_before'], 0) AS weeks_before".to_owned(),
            "coalesce(its['points_after'], 0) AS weeks_after".to_owned(),
            "left_out".to_owned(),
            "status".to_owned(),
            "decision".to_owned(),
        ]);
        columns.push(verdict_column(&verdict::verdict(self)));
        columns.push(format!("{} AS notes", verdict::notes(self)));
        columns.push(format!("{} AS evidence", verdict::evidence()));
        columns.push(format!("{} AS drill_key", self.drill_key()));
        columns
    }

    fn drill_key(&self) -> String {
        let mut own = vec![("before", format!("{} days", self.weeks * 7))];
        own.extend(self.age.map(|age| ("age", age.to_string())));
        let cell = [("metric".to_owned(), "metric".to_owned())];
        self.call.drill_key_on(NAME, &self.change.name, &own, &cell)
    }
}

/// The dimensions to hold equal.
fn mix_of(call: &Call, change: &ChangeDefinition, given: Vec<String>) -> Result<Vec<String>> {
    let dimensions: Vec<String> = call
        .funnel
        .dimensions
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    if given.is_empty() {
        let named = named_columns(change)?;
        let others = dimensions.into_iter().filter(|name| !named.contains(name));
        return Ok(others.collect());
    }
    for name in &given {
        if !dimensions.contains(name) {
            return Err(FunnelError::Unknown {
                kind: Kind::Dimension,
                name: name.clone(),
                place: format!(" in funnel \"{}\"", call.funnel.definition.name),
                existing: dimensions,
            }
            .into());
        }
    }
    Ok(given)
}

/// The columns that the change's segment is about: nobody is on both sides of them.
fn named_columns(change: &ChangeDefinition) -> Result<Vec<String>> {
    let Some(segment) = &change.segment else {
        return Ok(Vec::new());
    };
    let expression = parse_expression(segment)?;
    let mut names = Vec::new();
    let _ = visit_expressions(&expression, |part| {
        match part {
            SqlExpr::Identifier(ident) => names.push(folded(ident)),
            SqlExpr::CompoundIdentifier(parts) => names.extend(parts.last().map(folded)),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    Ok(names)
}
