//! `ab_test('funnel', by => 'channel', baseline => 'web')`: which arm converts better, how sure that is, and whether it is the arm's doing.
//!
//! Each arm is compared with the baseline. Whatever isn't assigned at random, such as a channel, differs in more than its name: then the verdict
//! speaks of association, and the comparison at an equal mix of the other dimensions decides with the raw one.
//!
//! # Columns
//! - `arm` text
//! - `n` bigint: journeys that entered `stage` and had their whole time (their window, or `age`); `k`: of these, those that reached `metric`
//! - `rate` = k / n with `lo` and `hi`, its own interval (Wilson); of `metric => 'value'` the mean value of a journey, 0 for one that wasn't won,
//!   with Student's interval
//! - `diff`: rate less the baseline's, with `diff_lo` and `diff_hi`; `rel_lift`: the same as a share of the baseline's rate, with `rel_lo` and `rel_hi`
//!   (NULL in Bayes' mode)
//! - `p`: of the hypothesis that nothing differs; `p_adj`: adjusted for the number of arms by `adjust`. The interval of `diff` has its level from
//!   there, so that it leaves out 0 where `p_adj` < `alpha` (`p_adjust_level`)
//! - `prob_best`: the chance to be the best of all arms; `exp_loss`: how much worse than the best it is on average (Beta–Binomial with a flat
//!   prior; normal for values)
//! - `srm_p`: of the hypothesis that the arms have the sizes that `weights` says; NULL without `assignment`
//! - `adjusted_diff` with `adjusted_lo` and `adjusted_hi`: the difference at an equal mix of `adjust_for` (Mantel–Haenszel, Sato's variance)
//! - `looks` bigint: how often the arm was looked at; `decided_at` timestamptz: when the interval first left out 0; NULL in other modes
//! - `baseline` text
//! - `method` text: `confidence_sequence`; `z` or `fisher` (where an expected count is below 5), `welch`; `beta_binomial`, `normal`
//! - `status` text: `ok`; `immature` (n = 0, or some journeys are open that have no window to end in); `insufficient_history` (too few results to be
//!   looked at); `no_variation`; `no_control` (the baseline has no results); `drift` (early and late results contradict each other: no
//!   difference lies in all intervals); `one_group`
//! - `decision` text: `winner`, `loser`, `keep_running`, `no_practical_difference` (the interval lies inside of ±`rope`), `mix_only` (the difference is gone
//!   at an equal mix, by more than half), `invalid_srm` (the arms don't have the sizes that they should), `baseline`
//! - `verdict` text: the same in a sentence
//! - `drill_key` text: NULL over a query
//!
//! The baseline comes first, then the arms by name. A journey without an arm isn't in any.
//!
//! # Arguments
//! those of [`journeys`](super::journeys), and
//! - `by`: the columns that make the arms, or `arm`: an expression over the columns of `journeys`; one of both
//! - `baseline`: the arm to compare with
//! - `metric` (`won`): the stage to reach, or `value`; `stage` (the first one): where journeys are counted from; `age`: days from there, as
//!   in [`stage_conversion`](super::stage_conversion)'s `k` and `n` the whole window without it
//! - `mode`: `sequential` (when left out): right however often it is looked at, because every instant at which a result became known is taken as a
//!   look (`ab_looks`); `fixed`: for one look at the planned end; `bayes`
//! - `alpha` (0.05); `tuning` (5000): the results at which a sequential interval is narrowest
//! - `rope`: the largest difference that doesn't matter, a rate or a value
//! - `adjust`: `holm` (when left out), `bh`, `by`, `bonferroni` or `none`
//! - `assignment`: the column that was assigned at random; the arms are it, or follow from it. With it the difference is the arm's doing, and the arms'
//!   sizes are checked against `weights`, a number for each arm by name (all alike when left out)
//! - `adjust_for`: dimensions; all others of the funnel when left out
//! - `lang`: `en` or `zh`
//!
//! Over a plain query, `ab_test((SELECT …), arm => 'arm', success => 'won', time => 'known_at')`: `arm`, `success` (or `value`) and `time` are columns of it or expressions;
//! a row whose `success`, `value` or `time` is NULL isn't known yet. Without `time` all rows are one look. With `stages` the query is a funnel's
//! events, as everywhere.
//!
//! # Sources
//! Sequential: `statistics/looks.rs`. Strata: N. Mantel and W. Haenszel (1959); T. Sato, Biometrics 45 (1989), 1323–1324, whose variance is right for many
//! small strata and few large ones. Fixed: [`z_test_p`](crate::scalar::z_test_p), [`fisher_p`](crate::scalar::fisher_p), Miettinen and Nurminen's interval.
//!
//! Cost: one pass over the journeys; sequential a sort of the results.

mod comparison;
mod results;
mod verdict;

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use self::results::Results;
use super::TableFunction;
use super::arguments::Arguments;
use super::call;
use super::language::Language;
use super::population::Population;
use super::sql;
use crate::error::FunnelError;
use crate::statistics::adjust::Adjustment;
use crate::statistics::sequential::DEFAULT_TUNING;
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || call::arguments(&ARGUMENTS),
    plan,
    population: Some(population),
    info,
};

const NAME: &str = "ab_test";

const ARGUMENTS: [&str; 15] = [
    "by",
    "arm",
    "baseline",
    "metric",
    "success",
    "age",
    "mode",
    "alpha",
    "tuning",
    "rope",
    "adjust",
    "assignment",
    "weights",
    "adjust_for",
    "lang",
];

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, by text DEFAULT NULL, arm text DEFAULT NULL, baseline text DEFAULT NULL, metric text DEFAULT 'won', \
             stage text DEFAULT NULL, age text DEFAULT NULL, mode text DEFAULT 'sequential', alpha double precision DEFAULT 0.05, \
             tuning double precision DEFAULT 5000, rope double precision DEFAULT NULL, adjust text DEFAULT 'holm', \
             assignment text DEFAULT NULL, weights double precision[] DEFAULT NULL, adjust_for text DEFAULT NULL, \
             lang text DEFAULT 'en', {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description:
            "Which arm or channel converts better, how sure that is, and whether it is its doing: an A/B test with a verdict in words."
                .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let test = Test::take(arguments)?;
    sql::plan(arguments, test.results.written(), &test.query())
}

fn population(arguments: &mut Arguments) -> Result<Population> {
    let results = Results::take(arguments, None)?;
    results.population().ok_or_else(|| {
        let hint = "Copy the drill_key of a row over a funnel.".to_owned();
        let message = "rows of a query have no drill_key".to_owned();
        FunnelError::InvalidArgument { message, hint }.into()
    })
}

/// How arms are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sequential,
    Fixed,
    Bayes,
}

/// One call's arguments.
struct Test {
    results: Results,
    baseline: String,
    mode: Mode,
    alpha: f64,
    tuning: f64,
    rope: Option<f64>,
    adjust: Adjustment,
    is_assigned: bool,
    /// One for each arm, by name.
    weights: Option<Vec<f64>>,
    language: Language,
}

impl Test {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let language = Language::take(arguments)?;
        let modes = [
            ("sequential", Mode::Sequential),
            ("fixed", Mode::Fixed),
            ("bayes", Mode::Bayes),
        ];
        let mode = arguments.take_choice("mode", &modes)?;
        let alpha = arguments.take_positive("alpha")?.unwrap_or(0.05);
        if alpha >= 1.0 {
            return Err(arguments.invalid("alpha", &alpha.to_string(), "a number between 0 and 1"));
        }
        let tuning = arguments.take_positive("tuning")?;
        let rope = arguments.take_positive("rope")?;
        let adjust = arguments.take_choice("adjust", &Adjustment::NAMES)?;
        let assignment = arguments.condition_text("assignment")?;
        arguments.take("assignment");
        let weights = take_weights(arguments)?;
        let baseline = arguments.take_text("baseline")?;
        let results = Results::take(arguments, assignment.as_deref())?;
        let Some(baseline) = baseline else {
            return Err(FunnelError::WrongCall {
                message: format!("{NAME}() needs baseline"),
                hint: "Write baseline => 'web': the arm that the others are compared with."
                    .to_owned(),
            }
            .into());
        };
        Ok(Self {
            results,
            baseline,
            mode: mode.unwrap_or(Mode::Sequential),
            alpha,
            tuning: tuning.unwrap_or(DEFAULT_TUNING),
            rope,
            adjust: adjust.unwrap_or(Adjustment::Holm),
            is_assigned: assignment.is_some(),
            weights,
            language,
        })
    }
}

fn take_weights(arguments: &mut Arguments) -> Result<Option<Vec<f64>>> {
    let Some(texts) = arguments.take_texts("weights")? else {
        return Ok(None);
    };
    let mut weights = Vec::with_capacity(texts.len());
    for text in texts {
        match text.parse::<f64>() {
            Ok(weight) if weight > 0.0 && weight.is_finite() => weights.push(weight),
            _ => return Err(arguments.invalid("weights", &text, "a positive number for each arm")),
        }
    }
    Ok(Some(weights))
}
