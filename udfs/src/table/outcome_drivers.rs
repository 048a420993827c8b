//! `outcome_drivers('funnel')`: what goes with winning and losing, counted, tested, and adjusted for the number of tests.
//!
//! For each value of each factor the deals with it are compared with those without it: a table of four counts, `with_win`,
//! `with_loss`, `without_win`, `without_loss`.
//!
//! # Columns
//! - `factor`, `value` text
//! - `with_win`, `with_loss`, `without_win`, `without_loss` bigint: decided deals with and without the value that won and lost
//! - `odds_ratio` double precision: how many times as high the odds of winning are with it; `lo`, `hi`: its 95 % interval. ½ is added
//!   to each count (Haldane), so that an empty one leaves an estimate
//! - `phi` double precision: the correlation of having it and winning, from -1 to 1
//! - `p` double precision: Fisher's exact test; `q`: adjusted for the number of values that count (Benjamini and Hochberg): of the
//!   values with `q` below 0.05, at most one in twenty is chance, on average
//! - `lost_amount` double precision: the value of the lost deals with it
//! - `skewed` boolean: wins and losses are further apart than 10 to 1, so that one of them is hardly known
//! - `hidden_reason` text: why the value doesn't count among the tests, and has no `q`: `too_few` (fewer than 25 deals have it, or
//!   than 2 % where these are less), `everybody`, `one_outcome`, `after_the_loss`; NULL where it counts
//! - `method` text: `haldane`
//! - `status` text: `ok`; `no_variation`: everybody has it; `no_events`: nobody won, or nobody lost; `no_control`: a loss tag, which
//!   winners aren't given. The estimates are NULL where it isn't `ok`
//! - `decision` text: `helps`, `hurts` (beyond chance, `q` below 0.05), `no_difference`, `hidden`, or the status
//! - `verdict` text: the same in a sentence
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill), `of => 'with_win'` or `'with_loss'`; NULL over a query
//!
//! Those that count come first, the least likely by chance at the top.
//!
//! # Arguments
//! those of [`journeys`](super::journeys);
//! `outcome` (the last stage): reaching it is a win; `at_stage` (the first one): of the deals that entered it;
//! `factors` (all dimensions): names of dimensions, `owner`, `tags` (of `LOSS_TAGS`), `events` (of `FOLLOWUPS`: `followup`,
//! `followup_kind`, `followup_depth`, `followup_effective`, and each of its `tags`, divided by commas, as `followup_tag`);
//! `landmark` (14 days): see below; `lang`: `en`, `zh`.
//!
//! Over any query with a row for each entity: `outcome`, a condition or the name of a boolean column (NULL is left out); `factors`,
//! expressions or names of columns (all others where they aren't given); `amount`: the column of `lost_amount`.
//!
//! # Which deals count
//! Decided ones: mature, and won or lost; without a window those that are still open are left out. A deal whose value of a factor is
//! NULL is left out of that factor.
//!
//! What happens over time must not be counted up to the outcome: a deal that lives longer collects more calls, so that calls would go
//! with whatever takes long (immortal time). `events` are therefore those of the first `landmark` days after the entry into
//! `at_stage`, and only deals that were still undecided when these days were over are compared: all had the same time to collect
//! them, and the outcome came after.
//!
//! What is done about a deal may depend on how far it is. Where `outcome` is the stage after `at_stage`, all deals that are compared
//! were still in `at_stage` when the landmark came.
//!
//! Loss tags have no time and are given when a deal is lost: they say why, and can't foretell it. They are counted here, and have
//! the status `no_control`; [`loss_reasons`](super::loss_reasons) compares them with each other.
//!
//! What goes together needn't be cause and effect: nobody dealt the factors out at random. Sources: J. B. S. Haldane, Annals of Human
//! Genetics 20 (1956), 309–311; Y. Benjamini and Y. Hochberg, JRSS B 57 (1995), 289–300; J. R. Anderson and others, Journal of
//! Clinical Oncology 1 (1983), 710–719, for the landmark. Cost: one pass over the journeys, a row for each deal and factor.

mod query;
mod rows;
mod verdict;

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::cohort_cycle::stage_idx;
use super::conversion::Conversion;
use super::language::Language;
use super::population::Population;
use super::sql;
use crate::definition::related::RelatedKind;
use crate::error::{FunnelError, Kind};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        call::arguments(&[
            "outcome", "at_stage", "factors", "landmark", "amount", "lang",
        ])
    },
    plan,
    population: Some(|arguments| Ok(Drivers::take(arguments)?.population())),
    info,
};

const NAME: &str = "outcome_drivers";
const DEFAULT_LANDMARK: f64 = 14.0;

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, outcome text DEFAULT NULL, at_stage text DEFAULT NULL, factors text DEFAULT NULL, \
             landmark interval DEFAULT '14 days', lang text DEFAULT 'en', {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description:
            "What goes with winning and losing: odds ratios with intervals, tested and adjusted for the number of tests."
                .to_owned(),
    }
}

/// One call's arguments, over a funnel.
struct Drivers {
    call: Call,
    conversion: Conversion,
    /// Dimensions and `owner`.
    dimensions: Vec<String>,
    tags: bool,
    events: bool,
    /// Days.
    landmark: f64,
    language: Language,
    factors: Vec<String>,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    if arguments.is_over_query() && arguments.peek("entity").is_none() {
        let query = query::over_query(arguments)?;
        return sql::plan(arguments, &[], &query);
    }
    let drivers = Drivers::take(arguments)?;
    sql::plan(arguments, drivers.call.written(), &drivers.query())
}

impl Drivers {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        if arguments.take("amount").is_some() {
            return Err(FunnelError::WrongCall {
                message: format!(
                    "amount of {NAME}() names a column of a query, and this is over a funnel"
                ),
                hint: "A funnel's amount is its VALUE.".to_owned(),
            }
            .into());
        }
        let outcome = arguments.take_text("outcome")?;
        let at_stage = arguments.take_text("at_stage")?;
        let (factors, _) = arguments.take_names("factors")?;
        let landmark = arguments.take_days("landmark")?.unwrap_or(DEFAULT_LANDMARK);
        let language = Language::take(arguments)?;
        let call = Call::take_without_segments(arguments)?;
        arguments.look_at("at_stage");
        let from = match &at_stage {
            Some(stage) => stage_idx(&call, Some(stage))?,
            None => 0,
        };
        arguments.look_at("outcome");
        let to = stage_idx(&call, outcome.as_deref())?;
        if to <= from {
            let name = &call.funnel.definition.stages[to].name;
            let found = format!("\"{name}\"");
            return Err(arguments.invalid("outcome", &found, "a stage that comes after at_stage"));
        }
        arguments.look_at("factors");
        let mut drivers = Self {
            conversion: Conversion::between(from, to),
            dimensions: Vec::new(),
            tags: false,
            events: false,
            landmark,
            language,
            factors: Vec::new(),
            call,
        };
        drivers.choose(factors)?;
        Ok(drivers)
    }

    /// Sorts the factors; all dimensions where none is named.
    fn choose(&mut self, factors: Vec<String>) -> Result<()> {
        let funnel = self.call.funnel();
        let all = || funnel.dimensions.iter().map(|(name, _)| name.clone());
        self.factors = match factors.is_empty() {
            true => all().collect(),
            false => factors,
        };
        for factor in &self.factors {
            let is_dimension = all().any(|name| name == *factor) || factor == "owner";
            match factor.as_str() {
                _ if is_dimension => self.dimensions.push(factor.clone()),
                "tags" => {
                    self.related(RelatedKind::LossTags)?;
                    self.tags = true;
                }
                "events" => {
                    self.related(RelatedKind::Followups)?;
                    self.events = true;
                }
                _ => {
                    let own = ["owner", "tags", "events"].map(str::to_owned);
                    return Err(FunnelError::Unknown {
                        kind: Kind::Dimension,
                        name: factor.clone(),
                        place: format!(" in funnel \"{}\"", funnel.definition.name),
                        existing: all().chain(own).collect(),
                    }
                    .into());
                }
            }
        }
        if self.factors.is_empty() {
            return Err(FunnelError::WrongCall {
                message: format!(
                    "funnel \"{}\" has no dimensions to compare",
                    funnel.definition.name
                ),
                hint: "Write factors => 'owner' or 'events'.".to_owned(),
            }
            .into());
        }
        Ok(())
    }

    /// The roles that a source has.
    fn related(&self, kind: RelatedKind) -> Result<Vec<String>> {
        match self.call.funnel.related(kind) {
            Some(Ok(rows)) => Ok(rows.columns.into_iter().map(|(role, _)| role).collect()),
            Some(Err(error)) => Err(DataFusionError::Shared(error)),
            None => Err(FunnelError::NotDefined {
                message: format!(
                    "funnel \"{}\" has no {kind}",
                    self.call.funnel.definition.name
                ),
                hint: format!("Add a clause to its definition: {}.", kind.example()),
            }
            .into()),
        }
    }

    fn population(&self) -> Population {
        Population {
            funnel: self.call.funnel(),
            rows: self.rows(),
            of_stages: false,
            cell: vec![
                ("factor".to_owned(), "__factor".to_owned()),
                ("value".to_owned(), "__value".to_owned()),
            ],
            parameters: Vec::new(),
            counts: vec![
                ("with_win", "__won".to_owned()),
                ("with_loss", "NOT __won".to_owned()),
            ],
        }
    }

    fn drill_key(&self) -> String {
        let own = [
            ("outcome", self.conversion.to_stage(&self.call).to_owned()),
            ("at_stage", self.conversion.stage(&self.call).to_owned()),
            ("factors", self.factors.join(",")),
            ("landmark", self.landmark.to_string()),
        ];
        let cell = ["factor", "value"].map(|name| (name.to_owned(), name.to_owned()));
        self.call.drill_key(NAME, &own, &cell)
    }
}

#[cfg(test)]
mod tests {
    use crate::statistics::adjust::{Adjustment, adjusted};
    use crate::statistics::fisher::fisher_p;

    const LANDMARK: f64 = 10.0;
    const KINDS: usize = 20;

    /// A deal of a company whose follow-ups have no effect: whether it was won, how long it lived, and when each kind happened.
    struct Deal {
        is_won: bool,
        lived: f64,
        first: Vec<f64>,
    }

    fn deals(uniform: &mut impl FnMut() -> f64) -> Vec<Deal> {
        let one = |_| {
            let is_won = uniform() < 0.4;
            // Winning takes longer than losing.
            let lived = match is_won {
                true => 11.0 + 50.0 * uniform(),
                false => 2.0 + 30.0 * uniform(),
            };
            let first = (0..KINDS).map(|_| -40.0 * uniform().ln()).collect();
            Deal {
                is_won,
                lived,
                first,
            }
        };
        (0..300).map(one).collect()
    }

    /// Whether any kind is beyond chance after the adjustment.
    fn finds_any(deals: &[&Deal], is_exposed: impl Fn(&Deal, usize) -> bool) -> bool {
        let p = |kind: usize| {
            let count = |exposed: bool, won: Option<bool>| {
                let of = deals
                    .iter()
                    .filter(|deal| is_exposed(deal, kind) == exposed);
                of.filter(|deal| won.is_none_or(|won| deal.is_won == won))
                    .count() as i64
            };
            fisher_p(
                (count(true, Some(true)), count(true, None)),
                (count(false, Some(true)), count(false, None)),
            )
        };
        let p: Vec<Option<f64>> = (0..KINDS).map(p).collect();
        let q = adjusted(&p, Adjustment::BenjaminiHochberg).unwrap_or_default();
        q.iter().flatten().any(|q| *q < 0.05)
    }

    #[test]
    fn follow_ups_without_an_effect_seem_to_help_unless_all_had_the_same_time() {
        let mut seed = 3_u64;
        let mut uniform = || {
            // SplitMix64
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut bits = seed;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (runs, mut naive, mut guarded) = (200, 0, 0);
        for _ in 0..runs {
            let deals = deals(&mut uniform);
            let all: Vec<&Deal> = deals.iter().collect();
            naive += i32::from(finds_any(&all, |deal, kind| deal.first[kind] < deal.lived));
            let undecided: Vec<&Deal> = deals.iter().filter(|deal| deal.lived > LANDMARK).collect();
            guarded += i32::from(finds_any(&undecided, |deal, kind| {
                deal.first[kind] < LANDMARK
            }));
        }
        assert!(naive > runs * 9 / 10, "{naive} of {runs}");
        assert!(guarded <= runs / 20, "{guarded} of {runs}");
    }
}
