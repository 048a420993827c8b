//! How long stages or whole journeys take and how they end: what the functions over times are written over.

use datafusion::error::Result;
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg};

use super::arguments::Arguments;
use super::call::{self, Call};
use super::population::Population;
use super::segments::Segments;
use crate::definition::text::{identifier, literal, written};
use crate::error::{FunnelError, Kind};

/// The arguments of a function over times, beside its own.
pub fn arguments(own: &[&'static str]) -> Vec<&'static str> {
    let mut all = call::arguments(&["by", "cycle", "t", "outcome"]);
    all.extend(own);
    all
}

/// As they are listed in catalogs.
pub const SIGNATURE: &str =
    "stage text DEFAULT NULL, cycle boolean DEFAULT false, by text DEFAULT NULL";

/// Times and outcomes, by segment and stage.
pub struct Durations {
    /// The call, where they are of a funnel.
    pub call: Option<Call>,
    /// The columns to break down by.
    pub segments: Segments,
    /// Whether each stage is by itself.
    pub of_stages: bool,
    /// The arguments of `journeys(…)` as they were written.
    written: Vec<FunctionArg>,
    rows: String,
    own: Vec<(&'static str, String)>,
}

impl Durations {
    /// Takes the funnel or a query with `t` and `outcome`, `stage`, `cycle` and `by`.
    ///
    /// # Errors
    /// Those of [`Call::take`]; 42704 for an unknown stage; 42883 for a query without `t` or `outcome`.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        if arguments.is_over_query() && arguments.peek("t").is_some() {
            return Self::over_query(arguments);
        }
        let cycle = arguments.take_bool("cycle")?;
        let stage = match arguments.is_over_query() {
            true => None,
            false => arguments.take_text("stage")?,
        };
        let call = Call::take(arguments)?;
        arguments.look_at("stage");
        if let Some(stage) = &stage {
            check_stage(&call, stage)?;
        }
        let rows = match cycle {
            true => cycles(&call),
            false => stages(&call, stage.as_deref()),
        };
        let mut own = Vec::new();
        own.extend(stage.map(|stage| ("stage", stage)));
        own.extend(cycle.then(|| ("cycle", "true".to_owned())));
        Ok(Self {
            segments: call.segments.clone(),
            of_stages: !cycle,
            written: call.written().to_vec(),
            call: Some(call),
            rows,
            own,
        })
    }

    fn over_query(arguments: &mut Arguments) -> Result<Self> {
        let mut column = |name: &str| -> Result<String> {
            match arguments.take_text(name)? {
                Some(column) => Ok(identifier(&column)),
                None => Err(FunnelError::WrongCall {
                    message: format!("times over a query need {name}"),
                    hint: "Write t => 'days', outcome => 'outcome': the names of columns."
                        .to_owned(),
                }
                .into()),
            }
        };
        let (t, outcome) = (column("t")?, column("outcome")?);
        let (names, bound) = arguments.take_names("by")?;
        let query = arguments.only_positional()?;
        let SqlExpr::Subquery(query) = &query else {
            return Err(arguments.invalid(
                "the rows",
                &query.to_string(),
                "a query in parentheses",
            ));
        };
        Ok(Self {
            call: None,
            segments: Segments::new(names, !bound),
            of_stages: false,
            written: Vec::new(),
            rows: format!(
                "(SELECT *, CAST({t} AS double precision) AS __t, CAST({outcome} AS text) AS __outcome FROM ({}) AS given) AS times",
                written(query)
            ),
            own: Vec::new(),
        })
    }

    /// The same times, of a function whose rows are of all segments together.
    pub fn across_segments(mut self) -> Self {
        self.segments = Segments::default();
        self
    }

    /// The arguments of `journeys(…)` as they were written.
    pub fn written(&self) -> &[FunctionArg] {
        &self.written
    }

    /// A relation with a row for each time: `__t`, days (or what the query has); `__outcome`: `passed` or `won`, `lost`,
    /// `open` or `expired`.
    pub fn rows(&self) -> &str {
        &self.rows
    }

    /// The columns that rows are grouped by, under the names that they have then.
    pub fn grouped(&self) -> Vec<String> {
        let mut columns = self.segments.grouped();
        if self.of_stages {
            columns.extend(["stage_no", "stage"].map(str::to_owned));
        }
        columns
    }

    /// SQL of a relation with a row for each group: [`Durations::grouped`], `table` (a life table) and `more`.
    pub fn life_tables(&self, more: &[String]) -> String {
        let mut columns = self.segments.projected();
        let mut groups = self.segments.columns();
        if self.of_stages {
            columns.extend(["stage_no", "stage"].map(str::to_owned));
            groups.extend(["stage_no", "stage"].map(str::to_owned));
        }
        columns.push("life_table(__t, __outcome) AS life_table".to_owned());
        columns.extend_from_slice(more);
        let groups = match groups.is_empty() {
            true => String::new(),
            false => format!("\n  GROUP BY {}", groups.join(", ")),
        };
        format!(
            "(\n  SELECT\n  {}\n  FROM {}{groups}\n) AS life_tables",
            columns.join(",\n  "),
            self.rows
        )
    }

    /// The columns that a result begins with.
    pub fn shown(&self, own: &[&str]) -> Vec<String> {
        let mut columns = self.segments.shown(own);
        columns.push(format!("{} AS segment", self.segments.text()));
        match self.of_stages {
            true => columns.extend(["stage_no", "stage"].map(str::to_owned)),
            false => columns.extend(
                [
                    "CAST(NULL AS integer) AS stage_no",
                    "CAST(NULL AS text) AS stage",
                ]
                .map(str::to_owned),
            ),
        }
        columns
    }

    /// SQL of the key that leads to the journeys of a row, with `cell` beside the segment and the stage.
    pub fn drill_key(&self, function: &str, own: &[(&str, String)], cell: &[&str]) -> String {
        let Some(call) = &self.call else {
            return "CAST(NULL AS text)".to_owned();
        };
        let mut all = self.own.clone();
        all.extend(
            own.iter()
                .map(|(name, value)| (static_name(name), value.clone())),
        );
        let mut pairs = self.segments.grouped_cell();
        if self.of_stages {
            pairs.push(("stage".to_owned(), "stage".to_owned()));
        }
        pairs.extend(
            cell.iter()
                .map(|name| ((*name).to_owned(), (*name).to_owned())),
        );
        call.drill_key(function, &all, &pairs)
    }

    /// What a function counts, over a funnel.
    ///
    /// # Errors
    /// 22023 over a query, which nobody could find again.
    pub fn population(
        &self,
        counts: Vec<(&'static str, String)>,
        parameters: Vec<&'static str>,
    ) -> Result<Population> {
        let Some(call) = &self.call else {
            return Err(FunnelError::InvalidArgument {
                message: "rows over a query can't be drilled into".to_owned(),
                hint: "Define a funnel with CREATE FUNNEL.".to_owned(),
            }
            .into());
        };
        let mut cell = self.segments.cell();
        if self.of_stages {
            cell.push(("stage".to_owned(), "stage".to_owned()));
        }
        Ok(Population {
            funnel: call.funnel(),
            rows: self.rows.clone(),
            of_stages: self.of_stages,
            cell,
            parameters,
            counts,
        })
    }
}

/// The names of the functions' own arguments; a key's are kept for as long as the call.
fn static_name(name: &str) -> &'static str {
    match name {
        "event" => "event",
        "tau" => "tau",
        _ => "q",
    }
}

fn check_stage(call: &Call, name: &str) -> Result<()> {
    let stages = call.funnel.stage_names();
    match stages.iter().any(|stage| stage == name) {
        true => Ok(()),
        false => Err(FunnelError::Unknown {
            kind: Kind::Stage,
            name: name.to_owned(),
            place: format!(" in funnel \"{}\"", call.funnel.definition.name),
            existing: stages,
        }
        .into()),
    }
}

/// The times in each stage but the last, which nobody leaves.
fn stages(call: &Call, only: Option<&str>) -> String {
    let last = call.funnel.definition.stages.len();
    let only = only
        .map(|stage| format!(" AND stage = {}", literal(stage)))
        .unwrap_or_default();
    format!(
        "(SELECT *, stage_days AS __t, stage_outcome AS __outcome FROM {} WHERE stage_no < {last}{only}) AS times",
        call.journey_stages()
    )
}

/// The times of whole journeys, from the start to the end.
fn cycles(call: &Call) -> String {
    format!(
        "(SELECT *, greatest((CAST(coalesce(ended_at, {}) AS bigint) - CAST(started_at AS bigint)) / 86400000000.0, 0.0) AS __t, status AS __outcome FROM {}) AS times",
        call.as_of(),
        call.journeys()
    )
}
