//! The results that a test compares: for each entity its arm, what came out, when that was known, and what it is like.

use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, FunctionArg, TableFactor};

use super::NAME;
use crate::definition::journeys::journeys;
use crate::definition::text::{identifier, written};
use crate::error::{FunnelError, Kind};
use crate::table::arguments::Arguments;
use crate::table::call::{self, Call};
use crate::table::conversion::Conversion;
use crate::table::default_options;
use crate::table::population::Population;
use crate::table::segments::{Segments, text_of};

/// The results of a test.
pub struct Results {
    source: Source,
    /// SQL of the arm, as text.
    arm: String,
    /// What the arms are called.
    arm_name: String,
    /// The argument `arm` as it was given.
    given_arm: Option<String>,
    /// The columns that an equal mix is of: names and SQL.
    strata: Vec<(String, String)>,
    /// Whether values are compared, and not rates.
    of_values: bool,
}

enum Source {
    Funnel {
        call: Box<Call>,
        conversion: Conversion,
    },
    Query {
        query: String,
        value: String,
        time: Option<String>,
    },
}

impl Results {
    /// Takes the arguments that say what is compared. Where neither `by` nor `arm` is given, the arms are `assignment`.
    ///
    /// # Errors
    /// 42883 without arms, or for an argument of the other kind of source; 42704, 42703 and 22023 as everywhere.
    pub fn take(arguments: &mut Arguments, assignment: Option<&str>) -> Result<Self> {
        match arguments.is_over_query() && arguments.peek("stages").is_none() {
            true => Self::of_query(arguments, assignment),
            false => Self::of_funnel(arguments, assignment),
        }
    }

    fn of_funnel(arguments: &mut Arguments, assignment: Option<&str>) -> Result<Self> {
        if arguments.peek("success").is_some() {
            return Err(wrong(
                "success",
                "is of a plain query; a funnel has stages",
                "Write metric => 'won', or another stage.",
            ));
        }
        let metric = arguments.take_text("metric")?;
        let given_arm = arguments.condition_text("arm")?;
        arguments.take("arm");
        let of_values = metric.as_deref() == Some("value");
        let goal = metric.filter(|metric| !of_values && metric != "won");
        let has_by = arguments.peek("by").is_some();
        if has_by && given_arm.is_some() {
            return Err(wrong("arm", "can't stand beside by", "Write one of both."));
        }
        let (conversion, call) = Conversion::take_to(arguments, goal.as_deref(), "metric")?;
        if of_values && call.funnel.definition.value.is_none() {
            let wanted = "a stage; the funnel has no VALUE";
            return Err(arguments.invalid("metric", "\"value\"", wanted));
        }
        let schema = journeys(&call.funnel, &default_options(&call.funnel, None))?;
        let columns: Vec<&str> = names(schema.schema());
        let (arm, arm_name) = match given_arm.as_deref().or(assignment) {
            _ if has_by => (arm_of(&call.segments), call.segments.names.join(", ")),
            Some(text) => (
                format!("CAST({} AS text)", column_or_expression(text, &columns)),
                text.to_owned(),
            ),
            None => return Err(needs_arm("by => 'channel'")),
        };
        let strata = match arguments.peek("adjust_for") {
            Some(_) => Segments::take_from(arguments, &call.funnel, "adjust_for")?.names,
            None => {
                let dimensions = call.funnel.dimensions.iter();
                let names = dimensions.map(|(name, _)| name.clone());
                let is_arm = |name: &String| {
                    call.segments.names.contains(name)
                        || given_arm.as_ref() == Some(name)
                        || assignment == Some(name)
                };
                names.filter(|name| !is_arm(name)).collect()
            }
        };
        let strata = strata
            .into_iter()
            .map(|name| (name.clone(), identifier(&name)));
        Ok(Self {
            arm,
            arm_name,
            given_arm,
            strata: strata.collect(),
            of_values,
            source: Source::Funnel {
                call: Box::new(call),
                conversion,
            },
        })
    }

    fn of_query(arguments: &mut Arguments, assignment: Option<&str>) -> Result<Self> {
        for name in call::arguments(&["by", "metric", "age"]) {
            if !["time", "value"].contains(&name) && arguments.peek(name).is_some() {
                arguments.take(name);
                return Err(wrong(
                    name,
                    "is of a funnel, and this is a plain query",
                    "Write arm => 'arm', success => 'won', and time => 'known_at' for when it was known.",
                ));
            }
        }
        let first = arguments.only_positional()?;
        let SqlExpr::Subquery(query) = &first else {
            return Err(needs_arm("arm => 'arm', success => 'won'"));
        };
        let relation = TableFactor::Derived {
            lateral: false,
            subquery: query.clone(),
            alias: None,
            sample: None,
        };
        let plan = arguments.context().plan(relation)?;
        let columns = names(plan.schema());
        let mut expression = |name: &str| -> Result<Option<(String, String)>> {
            let text = arguments.condition_text(name)?;
            arguments.take(name);
            Ok(text.map(|text| (column_or_expression(&text, &columns), text)))
        };
        let (arm, success) = (expression("arm")?, expression("success")?);
        let (value, time) = (expression("value")?, expression("time")?);
        let assignment =
            assignment.map(|text| (column_or_expression(text, &columns), text.to_owned()));
        let Some((arm, arm_name)) = arm.or(assignment) else {
            return Err(needs_arm("arm => 'arm', success => 'won'"));
        };
        let (of_values, value) = match (success, value) {
            (Some((success, _)), None) => {
                let success = format!("CAST(({success}) AS boolean)");
                (
                    false,
                    format!("CASE WHEN {success} THEN 1.0 WHEN NOT {success} THEN 0.0 END"),
                )
            }
            (None, Some((value, _))) => (true, format!("CAST(({value}) AS double precision)")),
            _ => {
                return Err(wrong(
                    "success",
                    "or value is needed, one of both",
                    "Write success => 'won', or value => 'amount'.",
                ));
            }
        };
        let (adjust_for, _) = arguments.take_names("adjust_for")?;
        let mut strata = Vec::new();
        for name in adjust_for {
            if !columns.contains(&name.as_str()) {
                let existing = columns.iter().map(|column| (*column).to_owned()).collect();
                let place = " in the query".to_owned();
                let kind = Kind::Column;
                return Err(FunnelError::Unknown {
                    kind,
                    name,
                    place,
                    existing,
                }
                .into());
            }
            let column = identifier(&name);
            strata.push((name, column));
        }
        Ok(Self {
            arm: format!("CAST(({arm}) AS text)"),
            arm_name,
            given_arm: None,
            strata,
            of_values,
            source: Source::Query {
                query: written(query),
                value,
                time: time.map(|(time, _)| format!("CAST(({time}) AS timestamptz(6))")),
            },
        })
    }

    /// The arguments of the journeys, as they were written.
    pub fn written(&self) -> &[FunctionArg] {
        match &self.source {
            Source::Funnel { call, .. } => call.written(),
            Source::Query { .. } => &[],
        }
    }

    /// Whether values are compared, and not rates.
    pub fn of_values(&self) -> bool {
        self.of_values
    }

    /// What the arms are called.
    pub fn arm_name(&self) -> &str {
        &self.arm_name
    }

    /// The names of the columns that an equal mix is of.
    pub fn strata(&self) -> Vec<&str> {
        self.strata.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The stage to reach; nothing over a query.
    pub fn goal(&self) -> Option<&str> {
        match &self.source {
            Source::Funnel { call, conversion } => Some(conversion.to_stage(call)),
            Source::Query { .. } => None,
        }
    }

    /// Whether it is known when each result became known.
    pub fn has_times(&self) -> bool {
        !matches!(&self.source, Source::Query { time: None, .. })
    }

    /// Whether all results had the same time to happen.
    pub fn has_equal_times(&self) -> bool {
        match &self.source {
            Source::Funnel { call, conversion } => conversion.has_equal_times(call),
            Source::Query { .. } => true,
        }
    }

    /// SQL of the results: `arm`; `y`, NULL where it isn't known; `reached` and `is_open`, booleans; `at`, when it was known; `stratum`.
    pub fn sql(&self) -> String {
        let columns: Vec<String> = self.strata.iter().map(|(_, sql)| sql.clone()).collect();
        let stratum = text_of(&columns);
        match &self.source {
            Source::Funnel { call, conversion } => {
                let (n, k) = (conversion.n(), conversion.k());
                let success = match self.of_values {
                    true => "coalesce(value, 0.0)",
                    false => "1.0",
                };
                format!(
                    "  SELECT __arm AS arm, CASE WHEN {n} THEN CASE WHEN {k} THEN {success} ELSE 0.0 END END AS y,\n    \
                     {k} AS reached, status = 'open' AND __reached_at IS NULL AS is_open, {} AS at, {stratum} AS stratum\n  FROM {}",
                    conversion.known_at(call),
                    self.rows(call, conversion)
                )
            }
            Source::Query { query, value, time } => {
                let at = time
                    .clone()
                    .unwrap_or("CAST('1970-01-01' AS timestamptz(6))".to_owned());
                format!(
                    "  SELECT arm, CASE WHEN at IS NOT NULL THEN y END AS y, y > 0.0 AS reached, false AS is_open, at, stratum\n  FROM (\n    \
                     SELECT {} AS arm, {value} AS y, {at} AS at, {stratum} AS stratum\n    FROM ({query}) AS source\n  ) AS results\n  \
                     WHERE arm IS NOT NULL",
                    self.arm
                )
            }
        }
    }

    /// The journeys that have an arm, `__arm`.
    fn rows(&self, call: &Call, conversion: &Conversion) -> String {
        let mut columns = vec!["*".to_owned(), format!("{} AS __arm", self.arm)];
        columns.extend(conversion.ages(call, "__entered_at"));
        format!(
            "(\n  SELECT {} FROM {}\n  WHERE {} IS NOT NULL\n  ) AS armed",
            columns.join(", "),
            conversion.entered(call),
            self.arm
        )
    }

    /// What the numbers count; nothing over a plain query.
    pub fn population(&self) -> Option<Population> {
        let Source::Funnel { call, conversion } = &self.source else {
            return None;
        };
        Some(Population {
            funnel: call.funnel(),
            rows: self.rows(call, conversion),
            of_stages: false,
            cell: vec![("arm".to_owned(), "__arm".to_owned())],
            parameters: Vec::new(),
            counts: vec![("n", conversion.n()), ("k", conversion.k())],
        })
    }

    /// SQL of the key of a row.
    pub fn drill_key(&self) -> String {
        let Source::Funnel { call, conversion } = &self.source else {
            return "CAST(NULL AS text)".to_owned();
        };
        let mut own: Vec<(&str, String)> = conversion.key(call);
        for (name, _) in &mut own {
            if *name == "to_stage" {
                *name = "metric";
            }
        }
        own.extend(self.given_arm.iter().map(|arm| ("arm", arm.clone())));
        if self.given_arm.is_none() && call.segments.names.is_empty() {
            own.push(("arm", self.arm_name.clone()));
        }
        call.drill_key(NAME, &own, &[("arm".to_owned(), "arm".to_owned())])
    }
}

/// SQL of the arm of some columns: NULL where one alone is.
fn arm_of(segments: &Segments) -> String {
    match segments.columns().as_slice() {
        [one] => format!("CAST({one} AS text)"),
        several => text_of(several),
    }
}

/// A column of that very name, or what the text says.
fn column_or_expression(text: &str, columns: &[&str]) -> String {
    match columns.contains(&text) {
        true => identifier(text),
        false => text.to_owned(),
    }
}

fn needs_arm(example: &str) -> DataFusionError {
    FunnelError::WrongCall {
        message: format!("{NAME}() needs the arms to compare"),
        hint: format!("Write {example}."),
    }
    .into()
}

fn wrong(argument: &str, what: &str, hint: &str) -> DataFusionError {
    FunnelError::WrongCall {
        message: format!("{argument} of {NAME}() {what}"),
        hint: hint.to_owned(),
    }
    .into()
}

/// The names of a schema's columns.
fn names(schema: &DFSchema) -> Vec<&str> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().as_str()).collect()
}
