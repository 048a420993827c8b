//! `stage`, `to_stage`, `age`: of the journeys that entered a stage, which reached a later one, and by what age.

use datafusion::error::Result;

use super::arguments::Arguments;
use super::call::Call;
use super::cohort_cycle::stage_idx;
use crate::definition::resolve::stage_column;
use crate::definition::text::identifier;

/// What a function takes as the success of a journey.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversion {
    /// From 0: the stage that journeys are counted from.
    stage_idx: usize,
    /// From 0: the stage to reach; that of `stage_idx` where it is the last one.
    to_idx: usize,
    /// Days.
    age: Option<f64>,
}

impl Conversion {
    /// The named arguments beside those of [`call::arguments`](super::call::arguments), of which it takes `stage`.
    pub const ARGUMENTS: [&'static str; 2] = ["to_stage", "age"];

    /// Takes `stage` (the first one), `to_stage` (the last one), `age`, and the call over its funnel.
    ///
    /// # Errors
    /// As [`Call::take`]; 42704 for an unknown stage, 22023 where `to_stage` doesn't come after `stage`.
    pub fn take(arguments: &mut Arguments) -> Result<(Self, Call)> {
        let to_stage = arguments.take_text("to_stage")?;
        Self::take_to(arguments, to_stage.as_deref(), "to_stage")
    }

    /// As [`Conversion::take`], with the stage to reach from an argument of another name.
    ///
    /// # Errors
    /// As [`Conversion::take`].
    pub fn take_to(
        arguments: &mut Arguments,
        to_stage: Option<&str>,
        argument: &str,
    ) -> Result<(Self, Call)> {
        let age = arguments.take_days("age")?;
        // Over a query, `stage` names the column of the stages.
        let stage = match arguments.is_over_query() {
            true => None,
            false => arguments.take_text("stage")?,
        };
        let call = Call::take(arguments)?;
        arguments.look_at("stage");
        let from = stage.map(|stage| stage_idx(&call, Some(&stage)));
        let from = from.transpose()?.unwrap_or(0);
        arguments.look_at(argument);
        let to = stage_idx(&call, to_stage)?;
        if to < from || (to == from && to_stage.is_some()) {
            let name = &call.funnel.definition.stages[to].name;
            let wanted = "a stage that comes after stage";
            return Err(arguments.invalid(argument, &format!("\"{name}\""), wanted));
        }
        let conversion = Self {
            stage_idx: from,
            to_idx: to,
            age,
        };
        Ok((conversion, call))
    }

    /// From one stage to a later one, both from 0, however long it takes.
    pub fn between(stage_idx: usize, to_idx: usize) -> Self {
        Self {
            stage_idx,
            to_idx,
            age: None,
        }
    }

    /// Whether there is a later stage to reach.
    pub fn is_rated(&self) -> bool {
        self.to_idx > self.stage_idx
    }

    /// By how many days the stage has to be reached, where the call says so.
    pub fn age(&self) -> Option<f64> {
        self.age
    }

    /// Whether all journeys have the same time for it, once they are mature.
    pub fn has_equal_times(&self, call: &Call) -> bool {
        self.age.is_some() || call.funnel.window.is_some()
    }

    /// The name of the stage that journeys are counted from.
    pub fn stage<'a>(&self, call: &'a Call) -> &'a str {
        &call.funnel.definition.stages[self.stage_idx].name
    }

    /// The name of the stage to reach.
    pub fn to_stage<'a>(&self, call: &'a Call) -> &'a str {
        &call.funnel.definition.stages[self.to_idx].name
    }

    /// The arguments of a drill key that say all this.
    pub fn key(&self, call: &Call) -> Vec<(&'static str, String)> {
        let mut own = vec![("stage", self.stage(call).to_owned())];
        if self.is_rated() {
            own.push(("to_stage", self.to_stage(call).to_owned()));
        }
        own.extend(self.age.map(|age| ("age", age.to_string())));
        own
    }

    /// SQL of a relation of the journeys that entered `stage`: the columns of `journeys(…, steps => true)`, with
    /// `__entered_at`, their entry into it, and `__reached_at`, that into `to_stage` (NULL where it wasn't reached).
    pub fn entered(&self, call: &Call) -> String {
        format!(
            "(
    SELECT *, {entered_at} AS __entered_at,
           CASE WHEN steps[{to}]['reached'] THEN {reached_at} END AS __reached_at
    FROM {journeys}
    WHERE steps[{from}]['reached']
  ) AS entered",
            entered_at = first_entry(call, self.stage_idx),
            reached_at = first_entry(call, self.to_idx),
            from = self.stage_idx + 1,
            to = self.to_idx + 1,
            journeys = call.journeys_with_steps(),
        )
    }

    /// The columns over [`Conversion::entered`] that [`Conversion::n`] and [`Conversion::k`] read: with an `age`, the days
    /// from `instant` (`started_at` or `__entered_at`) to the success, and for how many it was watched.
    pub fn ages(&self, call: &Call, instant: &str) -> Vec<String> {
        if self.age.is_none() {
            return Vec::new();
        }
        let as_of = call.as_of();
        let days_to = |end: &str| {
            format!("(CAST({end} AS bigint) - CAST({instant} AS bigint)) / 86400000000.0")
        };
        vec![
            format!("{} AS __days", days_to("__reached_at")),
            format!("{} AS __watched", days_to(&as_of)),
        ]
    }

    /// SQL over [`Conversion::entered`] of the instant at which it was known whether the stage was reached in time: the end of that time,
    /// for those that reached it early too; without a time, the entry.
    pub fn known_at(&self, call: &Call) -> String {
        match self.age {
            Some(age) => format!(
                "to_timestamp_micros(CAST(__entered_at AS bigint) + {})",
                (age * 86_400e6) as i64
            ),
            None if call.funnel.window.is_some() => "deadline".to_owned(),
            None => "__entered_at".to_owned(),
        }
    }

    /// SQL that holds for the journeys that had their whole time: their window, or `age`.
    pub fn n(&self) -> String {
        match self.age {
            Some(age) => format!("__watched >= {age}"),
            None => "mature".to_owned(),
        }
    }

    /// SQL that holds for the journeys that haven't had their whole time; without a window and an age, for open ones.
    pub fn waiting(&self, call: &Call) -> String {
        match self.has_equal_times(call) {
            true => format!("NOT ({})", self.n()),
            false => "__reached_at IS NULL AND status = 'open'".to_owned(),
        }
    }

    /// SQL that holds for those of [`Conversion::n`] that reached the stage in that time.
    pub fn k(&self) -> String {
        let reached = match self.age {
            Some(age) => format!("coalesce(__days <= {age}, false)"),
            None => "__reached_at IS NOT NULL".to_owned(),
        };
        format!("{} AND {reached}", self.n())
    }
}

/// SQL of the first entry into the stage; one that was passed over is reached with a later one.
pub fn first_entry(call: &Call, stage_idx: usize) -> String {
    let later: Vec<String> = call.funnel.stage_names()[stage_idx..]
        .iter()
        .map(|stage| identifier(&stage_column(stage)))
        .collect();
    format!("coalesce({})", later.join(", "))
}
