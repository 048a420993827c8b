//! `channel_roi('funnel')`: what each channel cost, what it brought, and whether it paid.
//!
//! A journey's success is credited to channels as in [`channel_attribution`](super::channel_attribution), and what is spent
//! is that of `COSTS` by channel and day, or where the funnel has none, the touches' own cost.
//!
//! **Like is compared with like**: of young leads nearly all cost is spent and hardly any revenue is in. So only days count whose
//! leads had their whole time (the window, or `age`), for cost and for leads; what came later is in `young_leads` and
//! `young_cost`, and in no other number but those of weekly spend.
//!
//! # Columns
//! - each column of `by`, and `segment`, as in [`stage_conversion`](super::stage_conversion)
//! - `channel` text: `(none)` for journeys without a touch
//! - `cost` double precision: what was spent; NULL where none is known
//! - `journeys` bigint: mature journeys that have a part of their credit with the channel; `leads` double precision: those parts added up
//! - `cost_per_lead` = cost / leads
//! - `qualified` double precision: credit of the journeys that reached `qualified_stage`
//! - `wins` double precision: of those that reached `to_stage`, and `won_journeys` bigint: how many those are
//! - `cost_per_win` = cost / wins
//! - `revenue` double precision: the channel's part of their `VALUE`; `margin` = revenue times the argument `margin`
//! - `roi` = (margin − cost) / cost; NULL where there is no cost. `roi_lo`, `roi_hi`: its 95 % interval, by a Poisson bootstrap over
//!   customers with the cost as it is (1,000 draws, see `bootstrap_sum`); NULL for fewer than ten wins
//! - `payback_days` double precision: after how many days from a lead's start the margin of the wins up to there had earned the cost; NULL where it hasn't
//! - `mature` double precision: the share of the channel's leads that had their time; `young_leads` double precision: credit of the others; `young_cost`: what
//!   was spent since
//! - `marginal_leads` double precision: how many more leads came in weeks in which 1,000 more was spent, with its 95 % interval `marginal_lo`, `marginal_hi` (a straight
//!   line through the weeks, without the first and last where they are cut). NULL where spend varied too little to tell: in fewer than 12 weeks, or by less than a tenth of
//!   its mean
//! - `budget` text: `more_pays` (the margin of an average lead times `marginal_lo` is more than 1,000), `more_loses` (times `marginal_hi` it is less), `cannot_tell`
//! - `status` text: `ok`; `no_cost`; `no_events` (nothing won); `insufficient_history` (fewer than ten wins: no interval);
//!   `immature` (no lead had its time; in a funnel without a window and without `age`: some are open); `no_data` (no leads, or a funnel without `VALUE`)
//! - `decision` text: `pays` (roi_lo > 0), `loses` (roi_hi < 0), `unclear`, `wait` (immature), `no_cost`; and `verdict` text, why, in words
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill), which lists `journeys` or `won_journeys`
//!
//! Ordered by segment, then by `roi`, the best first, then by channel.
//!
//! # Arguments
//! those of [`channel_attribution`](super::channel_attribution), with one `model` (`last` when left out, no `markov`, which credits no single journey;
//! `dimension`, which a funnel without `TOUCHES` has when it is left out: a journey's channel is its own, in the dimension that `COSTS` has);
//! `by`: dimensions that `COSTS` has too; `margin`: the share of revenue that is margin, 1 when left out; `qualified_stage`: the third stage, or the last but one of a shorter
//! funnel; `seed`: of the bootstrap, 0; `lang`: of the verdict, `en` or `zh`.
//! `where` chooses journeys; what was spent can't be divided by it, which a notice says.
//!
//! # Errors
//! 42704 for a funnel without `TOUCHES` or without any cost, with the clause that would bring it.
//!
//! Weeks with more spend differ from others in more than the spend: `budget` is a hint for an experiment, not its result.
//! Cost: that of the attribution, and 1,000 additions for each win.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::conversion::Conversion;
use super::population::Population;
use super::sql;
use super::touched::{Touching, cohort, credited, source_of, touches_of};
use crate::definition::related::RelatedKind;
use crate::definition::text::identifier;
use crate::error::FunnelError;
use crate::statistics::attribution::Model;
use crate::{FunctionInfo, FunctionKind};

mod query;
mod verdict;

use super::language::Language;

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        let own = [
            &["by", "model", "margin", "qualified_stage", "seed", "lang"][..],
            &Touching::ARGUMENTS,
            &Conversion::ARGUMENTS,
        ];
        call::arguments(&own.concat())
    },
    plan,
    population: Some(|arguments| Ok(Roi::take(arguments)?.population())),
    info,
};

const NAME: &str = "channel_roi";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, model text DEFAULT 'last', margin double precision DEFAULT 1, by text DEFAULT NULL, \
             qualified_stage text DEFAULT NULL, to_stage text DEFAULT NULL, stage text DEFAULT NULL, age double precision DEFAULT NULL, \
             lookback text DEFAULT '90 days', half_life text DEFAULT '7 days', seed integer DEFAULT 0, lang text DEFAULT 'en', {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "What each channel cost, what it brought, and whether it paid.".to_owned(),
    }
}

/// How a journey gets its channels.
#[derive(Debug, Clone, PartialEq)]
enum Crediting {
    /// From its touches.
    Touches(Model),
    /// It is a dimension of its own.
    Dimension(String),
}

/// Where costs come from.
#[derive(Debug, Clone, PartialEq)]
enum Spending {
    /// `COSTS`, with the name of the dimension that is the channel.
    Costs(String),
    /// Each touch's own.
    Touches,
}

/// One call's arguments.
struct Roi {
    call: Call,
    conversion: Conversion,
    touching: Touching,
    crediting: Crediting,
    spending: Spending,
    /// From 0.
    qualified_idx: usize,
    margin: f64,
    seed: i64,
    language: Language,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let has_where = arguments.peek("where").is_some();
    let roi = Roi::take(arguments)?;
    if has_where {
        arguments.lookup().notice(
            "the cost is that of all leads: where can't be applied to it",
            "Break costs down by a dimension that COSTS has: by => 'region'.",
        );
    }
    sql::plan(arguments, roi.call.written(), &roi.query())
}

impl Roi {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let language = Language::take(arguments)?;
        let touching = Touching::take(arguments)?;
        let model = arguments.take_text("model")?;
        let margin = arguments.take_positive("margin")?.unwrap_or(1.0);
        if margin > 1.0 {
            return Err(arguments.invalid(
                "margin",
                &margin.to_string(),
                "a share up to 1, such as 0.4",
            ));
        }
        let seed = take_seed(arguments)?;
        let qualified = arguments.take_text("qualified_stage")?;
        let (conversion, call) = Conversion::take(arguments)?;
        arguments.look_at("qualified_stage");
        let qualified_idx = match qualified {
            Some(stage) => super::cohort_cycle::stage_idx(&call, Some(&stage))?,
            None => 2.min(call.funnel.definition.stages.len().saturating_sub(2)),
        };
        arguments.look_at("model");
        let crediting = crediting(arguments, &call, model)?;
        let spending = spending(&call)?;
        Ok(Self {
            call,
            conversion,
            touching,
            crediting,
            spending,
            qualified_idx,
            margin,
            seed,
            language,
        })
    }

    fn population(&self) -> Population {
        let mut cell = self.call.segments.cell();
        cell.push(("channel".to_owned(), "__channel".to_owned()));
        Population {
            funnel: self.call.funnel(),
            rows: format!(
                "(\n{}\n) AS credited",
                self.credited(&format!("(\n{}\n)", self.cohort()))
            ),
            of_stages: false,
            cell,
            parameters: Vec::new(),
            counts: vec![
                ("journeys", "__mature".to_owned()),
                ("won_journeys", "__mature AND __won".to_owned()),
            ],
        }
    }

    /// SQL of the query of all journeys; `__mature` holds for those that started on a day whose leads all had their time.
    fn cohort(&self) -> String {
        let rows = cohort(&self.conversion, &self.call);
        let day = local_day("started_at");
        let mature = match self.cutoff() {
            Some(cutoff) => format!("__counts AND {day} < {cutoff}"),
            None => "__counts".to_owned(),
        };
        format!(
            "  SELECT *, {day} AS __day, {mature} AS __mature FROM (\n  {rows}\n  ) AS journeys_of"
        )
    }

    /// SQL of the query of journeys by channel.
    fn credited(&self, cohort: &str) -> String {
        match &self.crediting {
            Crediting::Touches(model) => format!(
                "  SELECT * FROM (\n  {}\n  ) AS each_channel WHERE __credit > 0",
                credited(&self.call, self.touching, *model, cohort)
            ),
            Crediting::Dimension(name) => format!(
                "  SELECT *, coalesce(CAST({} AS text), '(null)') AS __channel, CAST(1 AS double precision) AS __credit FROM {cohort} AS own",
                identifier(name)
            ),
        }
    }

    /// SQL of the first day whose leads haven't all had their time; nothing where nobody can know.
    fn cutoff(&self) -> Option<String> {
        let as_of = self.call.as_of();
        let begin = match (self.conversion.age(), &self.call.funnel.definition.window) {
            (Some(age), _) => format!("CAST({as_of} AS bigint) - {:.0}", age * 86_400e6),
            (None, Some(window)) => {
                let window = crate::definition::text::literal(window.text());
                format!("{as_of} - INTERVAL {window}")
            }
            (None, None) => return None,
        };
        Some(local_day(&begin))
    }

    fn drill_key(&self) -> String {
        let mut own = self.conversion.key(&self.call);
        own.extend(self.touching.key());
        let model = match &self.crediting {
            Crediting::Touches(model) => model.name(),
            Crediting::Dimension(_) => "dimension",
        };
        own.push(("model", model.to_owned()));
        let mut cell = self.call.segments.grouped_cell();
        cell.push(("channel".to_owned(), "__channel".to_owned()));
        self.call.drill_key(NAME, &own, &cell)
    }
}

/// SQL of the day of an instant in the session's time zone.
fn local_day(instant: &str) -> String {
    format!("CAST(to_local_time(CAST({instant} AS timestamptz(6))) AS date)")
}

fn take_seed(arguments: &mut Arguments) -> Result<i64> {
    match arguments.take_texts("seed")?.as_deref() {
        None => Ok(0),
        Some([seed]) => seed
            .trim()
            .parse()
            .map_err(|_| arguments.invalid("seed", &format!("\"{seed}\""), "a whole number")),
        Some(_) => Err(arguments.invalid("seed", "a list", "a whole number")),
    }
}

fn crediting(arguments: &Arguments, call: &Call, model: Option<String>) -> Result<Crediting> {
    let has_touches = call.funnel.related(RelatedKind::Touches).is_some();
    let model = match model {
        Some(model) => model.to_lowercase(),
        None if !has_touches && call.funnel.related(RelatedKind::Costs).is_some() => {
            "dimension".to_owned()
        }
        None => "last".to_owned(),
    };
    if model == "dimension" {
        source_of(&call.funnel, RelatedKind::Costs)?;
        return Ok(Crediting::Dimension(channel_of_costs(call)?));
    }
    let model = Model::parse(&model)?;
    if model == Model::Markov {
        return Err(arguments.invalid(
            "model",
            "\"markov\": it credits all journeys together, and a lead's cost can't follow",
            "'shapley' or another of 'first', 'last', 'linear', 'position', 'time_decay'",
        ));
    }
    touches_of(&call.funnel)?;
    Ok(Crediting::Touches(model))
}

fn spending(call: &Call) -> Result<Spending> {
    let funnel = &call.funnel;
    if funnel.related(RelatedKind::Costs).is_some() {
        let rows = source_of(funnel, RelatedKind::Costs)?;
        let is_known = |name: &str| rows.columns.iter().any(|(known, _)| known == name);
        let mut segments = call.segments.names.iter();
        if let Some(missing) = segments.find(|name| !is_known(name)) {
            return Err(FunnelError::NotDefined {
                message: format!(
                    "COSTS of funnel \"{}\" has no {missing}: what was spent can't be broken down by it",
                    funnel.definition.name
                ),
                hint: format!(
                    "Add it to the clause: COSTS FROM channel_costs (channel, {}, day, cost).",
                    identifier(missing)
                ),
            }
            .into());
        }
        return Ok(Spending::Costs(channel_of_costs(call)?));
    }
    let has_cost = touches_of(funnel)?
        .columns
        .iter()
        .any(|(name, _)| name == "cost");
    match has_cost && call.segments.names.is_empty() {
        true => Ok(Spending::Touches),
        false => Err(no_costs(call)),
    }
}

fn no_costs(call: &Call) -> datafusion::error::DataFusionError {
    FunnelError::NotDefined {
        message: format!(
            "funnel \"{}\" has no COSTS by channel",
            call.funnel.definition.name
        ),
        hint: format!(
            "Add a clause to its definition: {}.",
            RelatedKind::Costs.example()
        ),
    }
    .into()
}

/// The dimension of `COSTS` that is the channel: the one of that name, or the only one that isn't in `by`.
fn channel_of_costs(call: &Call) -> Result<String> {
    let rows = source_of(&call.funnel, RelatedKind::Costs)?;
    let is_dimension = |name: &str| {
        call.funnel
            .dimensions
            .iter()
            .any(|(known, _)| known == name)
    };
    let names: Vec<&String> = rows
        .columns
        .iter()
        .map(|(name, _)| name)
        .filter(|name| is_dimension(name) && !call.segments.names.contains(name))
        .collect();
    match (
        names.iter().find(|name| **name == "channel"),
        names.as_slice(),
    ) {
        (Some(channel), _) => Ok((*channel).clone()),
        (None, [only]) => Ok((*only).clone()),
        _ => Err(no_costs(call)),
    }
}
