//! `channel_attribution('funnel', model => ['last', 'markov'])`: which channels brought the wins.
//!
//! Each success is split among the channels that touched the journey before it; a journey's touches are the rows of `TOUCHES`
//! of its entity, in order of time, channels at one time by name. In every model the credits sum to the successes; those of
//! journeys without a touch are the channel `(none)`'s.
//!
//! - `first`, `last`: all to the first or last touch
//! - `linear`: to each touch the same
//! - `position`: 40 % to the first, 40 % to the last, 20 % to those between; of two touches 50 % each
//! - `time_decay`: a touch that is `half_life` earlier than another counts half as much
//! - `markov`: a channel's credit is in proportion to its removal effect, the share of successes that a Markov chain of the
//!   journeys, those without success too, loses without it. Solved exactly, not simulated
//! - `shapley`: the Shapley value of the channels that a journey met: to each distinct one the same
//!
//! # Columns
//! - `model`, `channel` text
//! - `journeys` bigint: journeys with a touch of the channel that had their whole time; `touches` bigint: its touches of them;
//!   `converted` bigint: of the journeys, those that reached `to_stage`
//! - `credit_conversions` double precision: the channel's part of all successes; `conversions` bigint: all of them
//! - `share` = credit_conversions / conversions; NULL where there are none
//! - `credit_amount` double precision: its part of their `VALUE`; in `markov` by what is lost of the value without it. NULL where no
//!   value is known
//! - `removal_effect` double precision: the share of the touched journeys' successes that would be lost without the channel;
//!   NULL in other models, for `(none)`, and where nothing was won
//! - `status` text: `ok`; `no_events` (no success: credits are 0); `immature` (a funnel without a window, and without `age`,
//!   whose journeys are in part still open)
//! - `drill_key` text: the row as JSON, for [`funnel_drill`](super::funnel_drill), which lists `journeys` or `converted`; NULL over a query
//!
//! Ordered by the models as they were given, then by credit, the largest first, then by channel.
//!
//! # Arguments
//! those of [`stage_conversion`](super::stage_conversion) without `by`;
//! `model`: one or a list, `last` when left out;
//! `to_stage`: the success, the last stage when left out, and `stage`, from which journeys count, the first one;
//! `age`: days, `30` or `'12 hours'`, by which it has to be reached: only journeys that were watched for that long count. Without it those count
//! whose window is over;
//! `lookback`: touches that are further back from the success don't count, 90 days; in a journey without success from its last
//! touch; `half_life`: 7 days; `order`: how many touches the Markov chain remembers, from 1 to 10.
//!
//! # Over queries
//! Over any query of touches: `channel_attribution((SELECT …), entity => 'user_id', time => 'at', channel => 'source', converted => 'bought',
//! value => 'amount')`, where the arguments are columns. `converted` is a condition or number that holds in some row of an entity that
//! converted, or the time at which it did, after which touches don't count; `value` is its largest value of an entity.
//! Over paths: `channel_attribution((SELECT …), path => 'path', conversions => 'total_conversions', value => 'total_value', nulls =>
//! 'total_null')`, a row for each path as the package ChannelAttribution has them; channels are
//! apart by `separator`, `>` when left out. Without times there is no `time_decay`.
//!
//! # Errors
//! 42704 for a funnel without `TOUCHES`; 22023 for an unknown model.
//!
//! Source: Anderl, Becker, von Wangenheim, Schumann, IJRM 33 (2016), 457–474; Shapley (1953). Credit tells what came before
//! wins; whether spending more would bring more, only an experiment tells. Cost: one pass over journeys and touches, a sort of each journey's touches.

use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::{self, Call};
use super::conversion::Conversion;
use super::population::Population;
use super::sql::{self, lines};
use super::touched::{Touching, cohort, cohort_paths, credited, touches_of};
use crate::aggregate::attribution::HIGHEST_ORDER;
use crate::definition::text::{identifier, literal};
use crate::statistics::attribution::Model;
use crate::{FunctionInfo, FunctionKind};

mod over_query;

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: NAME,
    arguments: || {
        let own = [
            &["model", "order", "channel", "converted", "path"][..],
            &["conversions", "nulls", "separator"],
            &Touching::ARGUMENTS,
            &Conversion::ARGUMENTS,
        ];
        call::arguments(&own.concat())
    },
    plan,
    population: Some(|arguments| Ok(Attribution::take(arguments)?.population())),
    info,
};

const NAME: &str = "channel_attribution";

fn info() -> FunctionInfo {
    FunctionInfo {
        name: NAME.to_owned(),
        kind: FunctionKind::Table,
        arguments: format!(
            "funnel text, model text[] DEFAULT '{{last}}', to_stage text DEFAULT NULL, stage text DEFAULT NULL, \
             age double precision DEFAULT NULL, lookback text DEFAULT '90 days', half_life text DEFAULT '7 days', \
             \"order\" integer DEFAULT 1, {}",
            call::SIGNATURE
        ),
        result: "SETOF record".to_owned(),
        description: "Which channels brought the wins: credit by seven models of attribution."
            .to_owned(),
    }
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    if arguments.is_over_query() {
        let query = over_query::query(arguments)?;
        return sql::plan(arguments, &[], &query);
    }
    let attribution = Attribution::take(arguments)?;
    sql::plan(arguments, attribution.call.written(), &attribution.query())
}

/// The models of a call and how they count.
struct Models {
    models: Vec<Model>,
    order: i64,
    touching: Touching,
}

impl Models {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let (names, _) = arguments.take_names("model")?;
        let mut models = Vec::with_capacity(names.len());
        for name in names {
            let model = Model::parse(&name)?;
            if !models.contains(&model) {
                models.push(model);
            }
        }
        if models.is_empty() {
            models.push(Model::Last);
        }
        let wanted = "one number from 1 to 10";
        let order = match arguments.take_numbers("order")?.as_deref() {
            None => 1,
            Some([order]) if *order <= HIGHEST_ORDER => *order,
            Some(other) => {
                let found: Vec<String> = other.iter().map(ToString::to_string).collect();
                return Err(arguments.invalid("order", &found.join(", "), wanted));
            }
        };
        Ok(Self {
            models,
            order,
            touching: Touching::take(arguments)?,
        })
    }

    /// SQL of the list of their names.
    fn names(&self) -> String {
        let names = self.models.iter().map(|model| literal(model.name()));
        format!("ARRAY[{}]", names.collect::<Vec<_>>().join(", "))
    }

    /// SQL of the credits of rows with these columns.
    fn credits(
        &self,
        path: &str,
        days: &str,
        conversions: &str,
        value: &str,
        nulls: &str,
    ) -> String {
        format!(
            "attribution({path}, {days}, {conversions}, {value}, {nulls}, {}, {}, {})",
            self.names(),
            self.order,
            self.touching.half_life,
        )
    }

    /// The whole query, over one row of `credits` and `is_open`.
    fn query(&self, before: &str, gathered: &str, drill_key: &str) -> String {
        let columns = [
            "__credit['model'] AS model".to_owned(),
            "__credit['channel'] AS channel".to_owned(),
            "__credit['journeys'] AS journeys".to_owned(),
            "__credit['touches'] AS touches".to_owned(),
            "__credit['converted'] AS converted".to_owned(),
            "__credit['credit'] AS credit_conversions".to_owned(),
            "__credit['conversions'] AS conversions".to_owned(),
            "CASE WHEN __credit['conversions'] > 0 THEN __credit['credit'] / __credit['conversions'] END AS share"
                .to_owned(),
            "__credit['amount'] AS credit_amount".to_owned(),
            "__credit['removal_effect'] AS removal_effect".to_owned(),
            "CASE WHEN __credit['conversions'] = 0 THEN 'no_events' WHEN is_open THEN 'immature' ELSE 'ok' END AS status"
                .to_owned(),
            format!("{drill_key} AS drill_key"),
        ];
        // What differs by less than rounding is a tie.
        format!(
            "{before}SELECT\n{}\nFROM (\n  SELECT unnest(credits) AS __credit, is_open\n  FROM (\n{gathered}\n  ) AS gathered\n) AS given\n\
             ORDER BY array_position({}, __credit['model']), round(__credit['credit'], 9) DESC, __credit['channel']",
            lines(&columns),
            self.names(),
        )
    }
}

/// A call over a funnel.
struct Attribution {
    models: Models,
    conversion: Conversion,
    call: Call,
}

impl Attribution {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        over_query::refuse(arguments)?;
        let models = Models::take(arguments)?;
        let (conversion, call) = Conversion::take(arguments)?;
        touches_of(&call.funnel)?;
        Ok(Self {
            models,
            conversion,
            call,
        })
    }

    fn population(&self) -> Population {
        // Every model looks at the same channels of a journey.
        let cohort = format!(
            "(\n  SELECT * FROM (\n  {}\n  ) AS all_ages WHERE __counts\n)",
            cohort(&self.conversion, &self.call)
        );
        let rows = credited(&self.call, self.models.touching, Model::Linear, &cohort);
        Population {
            funnel: self.call.funnel(),
            rows: format!("(\n{rows}\n) AS credited"),
            of_stages: false,
            cell: vec![("channel".to_owned(), "__channel".to_owned())],
            parameters: Vec::new(),
            counts: vec![
                ("journeys", "true".to_owned()),
                ("converted", "__won".to_owned()),
            ],
        }
    }

    fn query(&self) -> String {
        let before = format!(
            "WITH cohort AS (\n  SELECT * FROM (\n  {}\n  ) AS all_ages WHERE __counts\n),\npaths AS (\n  {}\n)\n",
            cohort(&self.conversion, &self.call),
            cohort_paths(&self.call, self.models.touching, "cohort"),
        );
        let count = |condition: &str| format!("CASE WHEN {condition} THEN 1 ELSE 0 END");
        let is_open = match self.conversion.has_equal_times(&self.call) {
            true => "false".to_owned(),
            false => "coalesce(bool_or(NOT j.__won AND j.status = 'open'), false)".to_owned(),
        };
        let gathered = format!(
            "    SELECT {} AS credits, {is_open} AS is_open\n    FROM cohort AS j LEFT JOIN paths AS p ON p.__entity = j.{}",
            self.models.credits(
                "p.path",
                "p.days",
                &count("j.__won"),
                "j.value",
                &count("NOT j.__won")
            ),
            identifier(&self.call.funnel.entity_name),
        );
        self.models.query(&before, &gathered, &self.drill_key())
    }

    fn drill_key(&self) -> String {
        let mut own = self.conversion.key(&self.call);
        own.extend(self.models.touching.key());
        let cell = [("channel".to_owned(), "__credit['channel']".to_owned())];
        self.call.drill_key(NAME, &own, &cell)
    }
}
