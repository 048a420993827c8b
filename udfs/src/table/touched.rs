//! Journeys with the touches that came before their success: `TOUCHES` of the funnel, joined and put in order.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};

use super::arguments::Arguments;
use super::call::Call;
use super::conversion::Conversion;
use crate::definition::related::{RelatedKind, RelatedRows};
use crate::definition::resolve::ResolvedFunnel;
use crate::definition::text::{identifier, literal};
use crate::error::FunnelError;
use crate::statistics::attribution::Model;

/// How far back from the success a touch counts, in days, when the call doesn't say.
const DEFAULT_LOOKBACK: f64 = 90.0;
/// As [`crate::aggregate::attribution`] has it.
const DEFAULT_HALF_LIFE: f64 = 7.0;

const DAY_US: f64 = 86_400e6;

/// How touches are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touching {
    /// Days.
    pub lookback: f64,
    /// Days.
    pub half_life: f64,
}

impl Touching {
    /// The named arguments.
    pub const ARGUMENTS: [&'static str; 2] = ["lookback", "half_life"];

    /// Takes `lookback` (90 days) and `half_life` (7 days).
    ///
    /// # Errors
    /// 22023 for what is no length.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        Ok(Self {
            lookback: arguments.take_days("lookback")?.unwrap_or(DEFAULT_LOOKBACK),
            half_life: arguments
                .take_days("half_life")?
                .unwrap_or(DEFAULT_HALF_LIFE),
        })
    }

    /// The arguments of a drill key that say this.
    pub fn key(self) -> [(&'static str, String); 2] {
        [
            ("lookback", self.lookback.to_string()),
            ("half_life", self.half_life.to_string()),
        ]
    }

    /// SQL of a query with the path of each entity that was touched: `__entity`, `path` and `days`, for each touch how long it
    /// was before the success, or in a journey without one before the last touch.
    ///
    /// `touches` is SQL of a relation of `__entity`, `__channel`, `__at` (microseconds), `__won` and `__end_us`, up to which
    /// touches count. Ties are broken by the channel's name.
    pub fn paths(self, touches: &str) -> String {
        let in_order = "ORDER BY __at, __channel";
        format!(
            "SELECT __entity, array_agg(__channel {in_order}) AS path,
    array_agg((__from - __at) / {DAY_US:.1} {in_order}) AS days
  FROM (
    SELECT __entity, __channel, __at,
      CASE WHEN __won THEN __end_us ELSE max(__at) OVER (PARTITION BY __entity) END AS __from
    FROM {touches} AS met
  ) AS touched
  WHERE __at >= __from - {lookback:.0}
  GROUP BY __entity",
            lookback = self.lookback * DAY_US,
        )
    }
}

/// The rows of `TOUCHES`.
///
/// # Errors
/// 42704 where the funnel names none, with the clause that would.
pub fn touches_of(funnel: &ResolvedFunnel) -> Result<RelatedRows> {
    source_of(funnel, RelatedKind::Touches)
}

/// The rows of a clause.
///
/// # Errors
/// 42704 where the funnel doesn't have it, with the clause that would bring it.
pub fn source_of(funnel: &ResolvedFunnel, kind: RelatedKind) -> Result<RelatedRows> {
    match funnel.related(kind) {
        Some(Ok(rows)) => Ok(rows),
        Some(Err(error)) => Err(DataFusionError::Shared(Arc::clone(&error))),
        None => Err(FunnelError::NotDefined {
            message: format!("funnel \"{}\" has no {kind}", funnel.definition.name),
            hint: format!("Add a clause to its definition: {}.", kind.example()),
        }
        .into()),
    }
}

/// SQL of the query of the journeys that entered the conversion's stage: the columns of `journeys(…, steps => true)`, and
/// `__counts` (had its whole time), `__won` (reached the stage to reach in it) and `__end_us`, the instant in
/// microseconds up to which touches count: that of the success, else that of the end.
pub fn cohort(conversion: &Conversion, call: &Call) -> String {
    let mut columns = vec!["*".to_owned()];
    columns.extend(conversion.ages(call, "__entered_at"));
    let mut end = format!("CAST(coalesce(ended_at, {}) AS bigint)", call.as_of());
    if let Some(age) = conversion.age() {
        let limit = format!("CAST(__entered_at AS bigint) + {:.0}", age * DAY_US);
        end = format!("least({end}, CAST({limit} AS bigint))");
    }
    format!(
        "SELECT *, coalesce({n}, false) AS __counts, coalesce({k}, false) AS __won,
    CASE WHEN {k} THEN CAST(__reached_at AS bigint) ELSE {end} END AS __end_us
  FROM (
    SELECT {columns}
    FROM {entered}
  ) AS aged",
        n = conversion.n(),
        k = conversion.k(),
        columns = columns.join(", "),
        entered = conversion.entered(call),
    )
}

/// SQL of the query of the paths of a cohort; see [`Touching::paths`].
pub fn cohort_paths(call: &Call, touching: Touching, cohort: &str) -> String {
    let touches = format!(
        "(
      SELECT t.entity AS __entity, coalesce(t.channel, '(null)') AS __channel, CAST(t.at AS bigint) AS __at,
        j.__won, j.__end_us
      FROM {cohort} AS j
      JOIN funnel_source({funnel}, 'touches', as_of => {as_of}) AS t
        ON t.entity = j.{entity} AND CAST(t.at AS bigint) <= j.__end_us
    )",
        funnel = literal(&call.funnel.definition.name),
        as_of = call.as_of(),
        entity = identifier(&call.funnel.entity_name),
    );
    touching.paths(&touches)
}

/// SQL of the query of a cohort's journeys, once for each channel that has a part of their credit: its columns, `__channel`, `__credit`.
///
/// Every channel of a path is there, with a credit of 0 too.
pub fn credited(call: &Call, touching: Touching, model: Model, cohort: &str) -> String {
    format!(
        "SELECT *, __part['channel'] AS __channel, __part['credit'] AS __credit
  FROM (
    SELECT j.*, unnest(channel_credits(p.path, p.days, {model}, {half_life})) AS __part
    FROM {cohort} AS j
    LEFT JOIN (
  {paths}
    ) AS p ON p.__entity = j.{entity}
  ) AS parts",
        model = literal(model.name()),
        half_life = touching.half_life,
        entity = identifier(&call.funnel.entity_name),
        paths = cohort_paths(call, touching, cohort),
    )
}
