//! `funnel('signup')`: for each stage how many reached it within the window, with times, intervals and why the others
//! ended where they did.
//!
//! Other than [`stage_conversion`](super::stage_conversion), which follows each entity from its first event on, it
//! looks for the chain of events that goes furthest, as [`window_funnel_detail`](crate::aggregate::window_funnel_detail)
//! does: an entity that fails at first and then succeeds within the window has succeeded. One row for each stage; with `by`
//! for each segment and stage; with `bucket` for each period too.
//!
//! # Columns
//! - each column of `by`, under its name; and `segment` text: their values in one text, `all` without `by`
//! - `bucket` date, only with that argument: the first day of the period of step 1
//! - `stage_no` integer from 1, `stage` text
//! - `entered` bigint: entities (or conversions) that reached the stage, or a later one; without the excluded ones. Under `any` order:
//!   those that took so many of the steps
//! - `k`, `n` bigint: `entered` of this stage and of the one before; `from_previous` = k / n with `lower` and `upper`, its
//!   95 % Wilson interval; NULL for the first stage
//! - `from_first`: the share of the first stage's
//! - `median_seconds`, `median_seconds_from_first` double precision: from the stage before, and from step 1, to this one, of those that took both
//! - `skipped` bigint: those that passed the stage over, as an optional one
//! - `converted`, `timed_out`, `open`, `excluded` bigint: those whose last stage is this one, by how they ended
//!
//! # Arguments
//! - the funnel: its name, or a query with `entity`, `time`, `stage`, `stages`, `window`; it has to be an event log. A
//!   definition's `lost` has no meaning here
//! - `counting`, or `"order"`, which SQL wants in quotes: `'ordered'`, `'strict'`, `'any'`
//! - `exclude`: over a query the names of events, `['refund']`; over a defined funnel a condition
//! - `optional`: the numbers of stages that may be passed over, `[2, 3]`
//! - `step_windows`: how long each stage may take from the one before, `['1 day', '1 day', '2 hours']`, the first without meaning
//! - `hold`: a column whose value all events of a chain share
//! - `count`: `'entities'` (also `'people'`), or `'conversions'`: each attempt counts
//! - `by`: dimensions of the funnel, over a query any columns; `attribution` says which value stands for an entity: `'first'`, `'last'`,
//!   `'step 2'` (those that didn't take that step are left out), or `'all'`: each value has a funnel of its own
//! - `bucket`: `day`, `week` (from Monday), `month`, `quarter`, `year`, in the session's time zone
//! - `open_entries`: `'include'`, or `'exclude'`: without those that may still go on
//! - `as_of`: up to when events are known; now
//!
//! Cost: one pass over the events; a row for each entity and stage.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::functions::datetime::expr_fn::{date_trunc, now, to_local_time};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::functions_aggregate::percentile_cont::percentile_cont;
use datafusion::functions_nested::expr_fn::{array_element, array_sort, make_array};
use datafusion::functions_window::nth_value::first_value_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprFunctionExt, JoinType, LogicalPlan, LogicalPlanBuilder, ScalarUDF,
    WindowFunctionDefinition, cast, lit, when,
};
use datafusion::prelude::get_field;
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;

use super::TableFunction;
use super::arguments::Arguments;
use super::call::take_funnel;
use super::segments::{Segments, grouped_name};
use crate::aggregate::touch::{first_touch_udaf, last_touch_udaf};
use crate::aggregate::window_funnel_detail::{
    window_funnel_attempts_udaf, window_funnel_detail_udaf,
};
use crate::definition::journeys::to_instant;
use crate::definition::model::{Counting, Interval};
use crate::definition::resolve::{ResolvedFunnel, Shape, column, instant_type, parse_expression};
use crate::definition::text::{identifier, literal};
use crate::error::{FunnelError, Kind};
use crate::scalar::rate_ci::{rate_lower_udf, rate_upper_udf};
use crate::{FunctionInfo, FunctionKind};

pub(super) const FUNCTION: TableFunction = TableFunction {
    name: "funnel",
    arguments: || {
        vec![
            "as_of",
            "attribution",
            "bucket",
            "by",
            "count",
            "counting",
            "entity",
            "exclude",
            "hold",
            "open_entries",
            "optional",
            "order",
            "stage",
            "stages",
            "step_windows",
            "time",
            "value",
            "window",
        ]
    },
    plan,
    population: None,
    info,
};

fn info() -> FunctionInfo {
    FunctionInfo {
        name: "funnel".to_owned(),
        kind: FunctionKind::Table,
        arguments: "funnel text, counting text DEFAULT NULL, exclude text[] DEFAULT NULL, \
                    optional bigint[] DEFAULT NULL, step_windows interval[] DEFAULT NULL, hold text DEFAULT NULL, \
                    count text DEFAULT 'entities', by text DEFAULT NULL, attribution text DEFAULT 'first', \
                    bucket text DEFAULT NULL, open_entries text DEFAULT 'include', \
                    as_of timestamp with time zone DEFAULT now()"
            .to_owned(),
        result: "SETOF record".to_owned(),
        description: "For each stage of a funnel over events: how many reached it within the window, with \
                      times, intervals and why the others ended."
            .to_owned(),
    }
}

/// The function's own columns.
const COLUMNS: [&str; 18] = [
    "segment",
    "bucket",
    "stage_no",
    "stage",
    "entered",
    "k",
    "n",
    "from_previous",
    "lower",
    "upper",
    "from_first",
    "median_seconds",
    "median_seconds_from_first",
    "skipped",
    "converted",
    "timed_out",
    "open",
    "excluded",
];

const PERIODS: [&str; 5] = ["day", "week", "month", "quarter", "year"];
const ENTITY: &str = "__entity";
const TIME: &str = "__time";
const HOLD: &str = "__hold";
const CHAIN: &str = "__chain";
const BUCKET: &str = "bucket";

/// Which of an entity's values is its segment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attribution {
    First,
    Last,
    Step(usize),
    All,
}

/// What a call asks for.
struct Request {
    funnel: Arc<ResolvedFunnel>,
    time: Expr,
    stages: Vec<Expr>,
    exclusions: Vec<Expr>,
    hold: Option<Expr>,
    counting: Counting,
    as_of: Expr,
    optional: Vec<i64>,
    step_windows: Vec<Option<Interval>>,
    segments: Segments,
    /// The values of the segments.
    values: Vec<Expr>,
    attribution: Attribution,
    every_attempt: bool,
    bucket: Option<String>,
    without_open: bool,
    time_zone: String,
}

fn plan(arguments: &mut Arguments) -> Result<LogicalPlan> {
    let request = Request::take(arguments)?;
    let chains = request.chains()?;
    let stages = request.stages(chains)?;
    request.finish(stages)
}

impl Request {
    fn take(arguments: &mut Arguments) -> Result<Self> {
        let is_over_query = arguments.is_over_query();
        let stage = arguments.peek("stage").cloned();
        let funnel = take_funnel(arguments)?;
        let Shape::Events { time, stages, .. } = &funnel.shape else {
            return Err(FunnelError::InvalidArgument {
                message:
                    "funnel() needs a funnel over events, and this one has a row for each entity"
                        .to_owned(),
                hint: "Use stage_conversion().".to_owned(),
            }
            .into());
        };
        let (time, stages) = (time.clone(), stages.clone());
        let exclusions = match stage.filter(|_| is_over_query) {
            Some(stage) => take_events(arguments, &stage, &funnel)?,
            None => arguments
                .take_condition("exclude", funnel.source.schema())?
                .into_iter()
                .collect(),
        };
        let (segments, values) = take_by(arguments, &funnel, is_over_query)?;
        let as_of = arguments.take_instant("as_of")?;
        Ok(Self {
            exclusions,
            hold: take_column(arguments, "hold", &funnel)?,
            counting: take_counting(arguments, &funnel)?,
            as_of: as_of.unwrap_or_else(|| cast(now(), instant_type())),
            optional: arguments.take_numbers("optional")?.unwrap_or_default(),
            step_windows: take_step_windows(arguments)?,
            attribution: take_attribution(arguments, stages.len())?,
            every_attempt: take_choice(arguments, "count", &["entities", "people", "conversions"])?
                == 2,
            without_open: take_choice(arguments, "open_entries", &["include", "exclude"])? == 1,
            bucket: take_bucket(arguments)?,
            time_zone: arguments.time_zone(),
            funnel,
            time,
            stages,
            segments,
            values,
        })
    }

    /// One row for each entity or attempt, with its chain.
    fn chains(&self) -> Result<LogicalPlan> {
        let source = &self.funnel.source;
        let instant = to_instant(&self.time, source.schema(), &self.time_zone)?;
        let mut projected = vec![
            self.funnel.entity.clone().alias(ENTITY),
            instant.alias(TIME),
        ];
        projected.extend(numbered("__stage", &self.stages));
        projected.extend(numbered("__exclusion", &self.exclusions));
        projected.extend(self.hold.iter().map(|hold| hold.clone().alias(HOLD)));
        let values = self.values.iter().enumerate();
        projected.extend(values.map(|(at, value)| value.clone().alias(grouped_name(at))));
        let mut groups = vec![column(ENTITY)];
        let mut aggregates = vec![self.detail().alias(CHAIN)];
        match self.attribution {
            Attribution::All => groups.extend(self.segments.grouped_exprs()),
            Attribution::First => aggregates.extend(self.touches(&first_touch_udaf())),
            Attribution::Last => aggregates.extend(self.touches(&last_touch_udaf())),
            Attribution::Step(_) => {}
        }
        let known = self.funnel.entity.clone().is_not_null();
        let known = known.and(self.time.clone().is_not_null());
        let known = known.and(
            to_instant(&self.time, source.schema(), &self.time_zone)?.lt_eq(self.as_of.clone()),
        );
        let chains = LogicalPlanBuilder::from(source.clone())
            .filter(known)?
            .project(projected)?
            .aggregate(groups, aggregates)?;
        let chains = match self.every_attempt {
            true => chains.unnest_column(Column::new_unqualified(CHAIN))?,
            false => chains,
        };
        chains
            .project(self.chain_columns())?
            .filter(self.counted())?
            .build()
    }

    fn touches(&self, function: &Arc<AggregateUDF>) -> Vec<Expr> {
        let touch = |value: Expr| {
            let name = value.schema_name().to_string();
            function.call(vec![value, column(TIME)]).alias(name)
        };
        self.segments
            .grouped_exprs()
            .into_iter()
            .map(touch)
            .collect()
    }

    /// The call of `window_funnel_detail` with its arguments in order.
    fn detail(&self) -> Expr {
        let null = || lit(ScalarValue::Null);
        let list = |elements: Vec<Expr>| match elements.is_empty() {
            true => null(),
            false => make_array(elements),
        };
        let window = |window: &Option<Interval>| {
            let value = window.as_ref().map(|window| window.value());
            lit(ScalarValue::IntervalMonthDayNano(value))
        };
        let key = match self.attribution {
            Attribution::Step(_) if !self.values.is_empty() => {
                let values = self.segments.grouped_exprs().into_iter().enumerate();
                named_struct(
                    values
                        .flat_map(|(at, value)| [lit(grouped_name(at)), value])
                        .collect(),
                )
            }
            _ => null(),
        };
        let number = |count: usize| lit(count as i64);
        let mut arguments = vec![
            lit(ScalarValue::IntervalMonthDayNano(self.funnel.window)),
            column(TIME),
            lit(self.counting.to_string()),
            self.as_of.clone(),
            list(self.optional.iter().map(|step| lit(*step)).collect()),
            list(self.step_windows.iter().map(window).collect()),
            key,
            self.hold.as_ref().map_or_else(null, |_| column(HOLD)),
            number(self.exclusions.len()),
            null(),
            number(self.stages.len()),
        ];
        arguments.extend((0..self.stages.len()).map(|at| column(&format!("__stage_{at}"))));
        arguments.extend((0..self.exclusions.len()).map(|at| column(&format!("__exclusion_{at}"))));
        match self.every_attempt {
            true => window_funnel_attempts_udaf().call(arguments),
            false => window_funnel_detail_udaf().call(arguments),
        }
    }

    fn chain_columns(&self) -> Vec<Expr> {
        let field = |name: &str| get_field(column(CHAIN), name);
        let times = match self.counting {
            // The k-th moment rather than that of the k-th stage.
            Counting::Any => array_sort(field("step_times"), lit("ASC"), lit("NULLS LAST")),
            Counting::Ordered | Counting::Strict => field("step_times"),
        };
        let mut columns = match self.attribution {
            Attribution::Step(step) => {
                let key = array_element(field("step_keys"), lit(step as i64));
                let value =
                    |at: usize| get_field(key.clone(), grouped_name(at)).alias(grouped_name(at));
                (0..self.values.len()).map(value).collect()
            }
            _ => self.segments.grouped_exprs(),
        };
        if let Some(every) = &self.bucket {
            let zone =
                DataType::Timestamp(TimeUnit::Microsecond, Some(self.time_zone.as_str().into()));
            let start = array_element(times.clone(), lit(1_i64));
            let local = to_local_time(vec![cast(start, zone)]);
            let day = cast(date_trunc(lit(every.as_str()), local), DataType::Date32);
            columns.push(day.alias(BUCKET));
        }
        columns.extend([
            field("level").alias("__level"),
            field("ended").alias("__ended"),
            times.alias("__times"),
        ]);
        columns
    }

    /// Which chains count at all.
    fn counted(&self) -> Expr {
        let mut counted = column("__level").gt(lit(0));
        if self.without_open {
            counted = counted.and(column("__ended").not_eq(lit("open")));
        }
        match self.attribution {
            Attribution::Step(step) if !self.values.is_empty() => {
                counted.and(column("__level").gt_eq(lit(step as i32)))
            }
            _ => counted,
        }
    }

    /// One row for each segment, period and stage. Without segments and periods every stage has a row.
    fn stages(&self, chains: LogicalPlan) -> Result<LogicalPlan> {
        let names = || self.stage_names();
        let mut groups = self.groups();
        groups.push(column("__no"));
        let counted = LogicalPlanBuilder::from(chains)
            .cross_join(names()?)?
            .aggregate(groups, totals()?)?
            .project(self.counts())?
            .build()?;
        let kind = match self.groups().is_empty() {
            true => JoinType::Left,
            false => JoinType::Inner,
        };
        LogicalPlanBuilder::from(names()?)
            .join_on(counted, kind, [column("__no").eq(column("__of"))])?
            .build()
    }

    fn groups(&self) -> Vec<Expr> {
        let mut groups = self.segments.grouped_exprs();
        groups.extend(self.bucket.iter().map(|_| column(BUCKET)));
        groups
    }

    fn counts(&self) -> Vec<Expr> {
        let mut columns = self.groups();
        columns.push(column("__no").alias("__of"));
        columns.extend(COUNTS.map(column));
        columns.extend(["median_seconds", "median_seconds_from_first"].map(column));
        columns
    }

    fn stage_names(&self) -> Result<LogicalPlan> {
        let rows = self.funnel.stage_names().into_iter().enumerate();
        let row = |(at, name)| {
            vec![
                lit(i32::try_from(at + 1).unwrap_or(i32::MAX)),
                lit::<String>(name),
            ]
        };
        LogicalPlanBuilder::values(rows.map(row).collect())?
            .project(vec![
                column("column1").alias("__no"),
                column("column2").alias("stage"),
            ])?
            .build()
    }

    /// The first stage's `entered`, on every row of its segment and period.
    fn first_entered(&self) -> Result<Expr> {
        let function = WindowFunctionDefinition::WindowUDF(first_value_udwf());
        Expr::from(WindowFunction::new(function, vec![column("entered")]))
            .partition_by(self.groups())
            .order_by(vec![column("__no").sort(true, false)])
            .build()
    }

    fn finish(&self, stages: LogicalPlan) -> Result<LogicalPlan> {
        let goes_on = column("__no").gt(lit(1));
        let none = || lit(ScalarValue::Float64(None));
        let share = |k: &str, n: &str| -> Result<Expr> {
            let rate = cast(column(k), DataType::Float64) / cast(column(n), DataType::Float64);
            when(column(n).gt(lit(0_i64)), rate).otherwise(none())
        };
        let rated = |value: Expr| when(goes_on.clone(), value).otherwise(none());
        let bound = |function: Arc<ScalarUDF>| function.call(vec![column("entered"), column("n")]);
        let mut counted = self.groups();
        counted.extend([column("__no"), column("stage")]);
        for name in COUNTS {
            let value = column(name);
            let or_zero = when(value.clone().is_null(), lit(0_i64)).otherwise(value)?;
            counted.push(or_zero.alias(name));
        }
        counted.extend(["median_seconds", "median_seconds_from_first"].map(column));
        let mut order: Vec<_> = self
            .groups()
            .into_iter()
            .map(|name| name.sort(true, false))
            .collect();
        order.push(column("__no").sort(true, false));
        let mut columns = self.segments.shown_exprs(&COLUMNS);
        columns.push(self.segments.text_expr()?.alias("segment"));
        columns.extend(self.bucket.iter().map(|_| column(BUCKET)));
        columns.extend([
            column("__no").alias("stage_no"),
            column("stage"),
            column("entered"),
            column("entered").alias("k"),
            column("n"),
            rated(share("entered", "n")?)?.alias("from_previous"),
            rated(bound(rate_lower_udf()))?.alias("lower"),
            rated(bound(rate_upper_udf()))?.alias("upper"),
            share("entered", "__first")?.alias("from_first"),
        ]);
        columns.extend(["median_seconds", "median_seconds_from_first"].map(column));
        columns.extend(["skipped", "converted", "timed_out", "open", "excluded"].map(column));
        LogicalPlanBuilder::from(stages)
            .project(counted)?
            .window([self.first_entered()?.alias("__first")])?
            .sort(order)?
            .project(columns)?
            .build()
    }
}

/// The counts of [`totals`].
const COUNTS: [&str; 7] = [
    "entered",
    "n",
    "skipped",
    "converted",
    "timed_out",
    "open",
    "excluded",
];

/// What is counted of the chains, beside each stage.
fn totals() -> Result<Vec<Expr>> {
    let counted = |name: &str, of: Expr| -> Result<Expr> {
        Ok(count(lit(1)).filter(of).build()?.alias(name))
    };
    let (level, no) = (|| column("__level"), || column("__no"));
    let kept = || column("__ended").not_eq(lit("excluded"));
    let ended = |how: &str| level().eq(no()).and(column("__ended").eq(lit(how)));
    let at = |place: Expr| array_element(column("__times"), cast(place, DataType::Int64));
    let median = |name: &str, from: Expr| -> Result<Expr> {
        let microseconds = |instant| cast(cast(instant, DataType::Int64), DataType::Float64);
        let seconds = (microseconds(at(no())) - microseconds(at(from))) / lit(1_000_000.0);
        let taken = when(no().gt(lit(1)).and(kept()), seconds)
            .otherwise(lit(ScalarValue::Float64(None)))?;
        Ok(percentile_cont(taken.sort(true, false), lit(0.5)).alias(name))
    };
    // There is no step before the first; its rate isn't shown.
    let before = || no() - lit(1);
    Ok(vec![
        counted("entered", level().gt_eq(no()).and(kept()))?,
        counted("n", level().gt_eq(before()).and(kept()))?,
        counted(
            "skipped",
            level().gt_eq(no()).and(at(no()).is_null()).and(kept()),
        )?,
        counted("converted", ended("converted"))?,
        counted("timed_out", ended("timed_out"))?,
        counted("open", ended("open"))?,
        counted("excluded", ended("excluded"))?,
        median("median_seconds", before())?,
        median("median_seconds_from_first", lit(1))?,
    ])
}

fn numbered(name: &str, expressions: &[Expr]) -> Vec<Expr> {
    let expressions = expressions.iter().enumerate();
    expressions
        .map(|(at, expression)| expression.clone().alias(format!("{name}_{at}")))
        .collect()
}

/// `exclude` over a query: events by the names that its stages have too.
fn take_events(
    arguments: &mut Arguments,
    stage: &SqlExpr,
    funnel: &ResolvedFunnel,
) -> Result<Vec<Expr>> {
    let (names, _) = arguments.take_names("exclude")?;
    let Some(stage) = arguments.text("stage", stage)? else {
        return Ok(Vec::new());
    };
    let stage = identifier(&stage.into_string());
    let mut condition = |name: &String| {
        let sql = parse_expression(&format!("{stage} = {}", literal(name)))?;
        arguments.context().sql_to_expr(sql, funnel.source.schema())
    };
    names.iter().map(&mut condition).collect()
}

/// A column or expression over the funnel's source, or a text of one.
fn take_column(
    arguments: &mut Arguments,
    name: &str,
    funnel: &ResolvedFunnel,
) -> Result<Option<Expr>> {
    let Some(text) = arguments.take_text(name)? else {
        return Ok(None);
    };
    let sql = parse_expression(&identifier(&text))?;
    let expression = arguments
        .context()
        .sql_to_expr(sql, funnel.source.schema())?;
    Ok(Some(expression))
}

fn take_counting(arguments: &mut Arguments, funnel: &ResolvedFunnel) -> Result<Counting> {
    let (counting, order) = (
        arguments.take_text("counting")?,
        arguments.take_text("order")?,
    );
    match counting.or(order) {
        Some(name) => Ok(Counting::parse(&name)?),
        None => Ok(funnel.counting()),
    }
}

fn take_step_windows(arguments: &mut Arguments) -> Result<Vec<Option<Interval>>> {
    let Some(value) = arguments.take("step_windows") else {
        return Ok(Vec::new());
    };
    let SqlExpr::Array(array) = &value else {
        let wanted = "a window for each stage, such as ['1 day', '1 day', '2 hours']";
        return Err(arguments.invalid("step_windows", &value.to_string(), wanted));
    };
    let window = |element| match arguments.text("step_windows", element)? {
        Some(text) => Ok(Some(Interval::parse(&text.into_string())?)),
        None => Ok(None),
    };
    array.elem.iter().map(window).collect()
}

fn take_attribution(arguments: &mut Arguments, stages: usize) -> Result<Attribution> {
    let Some(text) = arguments.take_text("attribution")? else {
        return Ok(Attribution::First);
    };
    let lower = text.to_lowercase();
    let step = lower
        .strip_prefix("step")
        .and_then(|step| step.trim().parse().ok());
    match (lower.as_str(), step) {
        ("first", _) => Ok(Attribution::First),
        ("last", _) => Ok(Attribution::Last),
        ("all", _) => Ok(Attribution::All),
        (_, Some(step)) if (1..=stages).contains(&step) => Ok(Attribution::Step(step)),
        _ => {
            let wanted = format!("'first', 'last', 'all', or 'step 1' to 'step {stages}'");
            Err(arguments.invalid("attribution", &format!("\"{text}\""), &wanted))
        }
    }
}

/// Which of some words an argument is; the first where it isn't given.
fn take_choice(arguments: &mut Arguments, name: &str, words: &[&str]) -> Result<usize> {
    let Some(text) = arguments.take_text(name)? else {
        return Ok(0);
    };
    let found = words
        .iter()
        .position(|word| word.eq_ignore_ascii_case(&text));
    found.ok_or_else(|| {
        let wanted = format!("one of {}", words.join(", "));
        arguments.invalid(name, &format!("\"{text}\""), &wanted)
    })
}

fn take_bucket(arguments: &mut Arguments) -> Result<Option<String>> {
    match arguments.peek("bucket") {
        Some(_) => {
            let at = take_choice(arguments, "bucket", &PERIODS)?;
            Ok(Some(PERIODS[at].to_owned()))
        }
        None => Ok(None),
    }
}

/// `by`: dimensions of a defined funnel, columns of a query.
fn take_by(
    arguments: &mut Arguments,
    funnel: &ResolvedFunnel,
    is_over_query: bool,
) -> Result<(Segments, Vec<Expr>)> {
    let (names, bound) = arguments.take_names("by")?;
    let mut possible = funnel.dimensions.clone();
    if is_over_query {
        let columns = funnel.source.schema().columns().into_iter();
        possible.extend(columns.map(|column| (column.name.clone(), Expr::Column(column))));
    }
    let value = |name: &String| {
        let found = possible.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.clone())
            .ok_or_else(|| FunnelError::Unknown {
                kind: Kind::Dimension,
                name: name.clone(),
                place: format!(" in funnel \"{}\"", funnel.definition.name),
                existing: possible.iter().map(|(name, _)| name.clone()).collect(),
            })
    };
    let values = names.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    Ok((Segments::new(names, !bound), values))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use datafusion::prelude::SessionContext;

    use crate::scalar::rate_ci::arguments::testing;

    /// Users 1 and 2 come twice; 3 pays without an order; 4 never visits; 5 sees a refund.
    const LOG: &str = "(SELECT column1 AS who, column2 AS what, to_timestamp(1767308400 + column3 * 3600) AS at, \
        column4 AS channel FROM (VALUES (1, 'visit', 0, 'ads'), (1, 'visit', 100, 'web'), (1, 'order', 101, 'web'), (1, 'pay', 103, 'web'), \
        (2, 'visit', 0, 'web'), (2, 'order', 2, 'app'), (2, 'visit', 30, 'web'), (2, 'order', 31, 'web'), (3, 'visit', 0, 'ads'), \
        (3, 'pay', 4, 'ads'), (4, 'order', 0, 'ads'), (5, 'visit', 0, 'ads'), (5, 'refund', 1, 'ads'), (5, 'order', 2, 'ads')))";

    fn context() -> SessionContext {
        let context = SessionContext::new();
        crate::register_all(&context).unwrap();
        context
    }

    fn sql(columns: &str, options: &str) -> String {
        let bucket = if options.contains("'day'") {
            "bucket, "
        } else {
            ""
        };
        format!(
            "SELECT {columns} FROM funnel({LOG}, entity => 'who', time => 'at', stage => 'what', \
             stages => ['visit', 'order', 'pay'], window => INTERVAL '1 day'{options}) \
             ORDER BY {bucket}segment, stage_no"
        )
    }

    #[track_caller]
    fn check(columns: &str, options: &str, expected: &[&str]) {
        testing::check(&context(), &sql(columns, options), expected);
    }

    const COUNTS: &str = "stage_no, stage, entered, converted, timed_out, open, excluded";

    #[test]
    fn counts_are_cumulative_and_say_why_the_others_ended() {
        check(
            COUNTS,
            "",
            &["1 visit 4 0 1 0 0", "2 order 3 0 2 0 0", "3 pay 1 1 0 0 0"],
        );
        check(
            COUNTS,
            ", exclude => ['refund']",
            &["1 visit 3 0 1 0 1", "2 order 2 0 1 0 0", "3 pay 1 1 0 0 0"],
        );
    }

    #[test]
    fn rates_and_times() {
        check(
            "stage, k, n, round(from_previous, 3), lower < from_previous, upper > from_previous, round(from_first, 3), \
             median_seconds, median_seconds_from_first",
            "",
            &[
                "visit 4 4 NULL NULL NULL 1.0 NULL NULL",
                "order 3 4 0.75 true true 0.75 7200.0 7200.0",
                "pay 1 3 0.333 true true 0.25 7200.0 10800.0",
            ],
        );
    }

    #[test]
    fn conversions_count_every_attempt() {
        check(
            COUNTS,
            ", count => 'conversions'",
            &["1 visit 6 0 2 0 0", "2 order 4 0 3 0 0", "3 pay 1 1 0 0 0"],
        );
    }

    #[test]
    fn optional_stages_step_windows_and_any_order() {
        check(
            "stage, entered, skipped",
            ", optional => [2]",
            &["visit 4 0", "order 4 1", "pay 2 0"],
        );
        check(
            "stage, entered",
            ", step_windows => [NULL, INTERVAL '90 minutes', '1 day']",
            &["visit 4", "order 2", "pay 1"],
        );
        check(
            "stage, entered",
            ", \"order\" => 'any'",
            &["visit 5", "order 4", "pay 1"],
        );
    }

    #[test]
    fn open_chains_can_be_left_out() {
        let as_of = "as_of => '2026-01-02 05:00:00'";
        check(
            "stage, entered, open",
            &format!(", {as_of}"),
            &["visit 4 2", "order 2 2", "pay 0 0"],
        );
        check(
            "stage, entered, open",
            &format!(", {as_of}, open_entries => 'exclude'"),
            &["visit 0 0", "order 0 0", "pay 0 0"],
        );
    }

    #[test]
    fn segments_by_attribution() {
        let by = |attribution: &str, expected: &[&str]| {
            let options = format!(", by => 'channel', attribution => '{attribution}'");
            check("channel, stage, entered", &options, expected);
        };
        let ads_and_web = |counts: [i64; 6]| {
            let stages = ["visit", "order", "pay"].into_iter().cycle();
            let rows = counts.into_iter().zip(stages).enumerate();
            let row = |(at, (count, stage))| {
                let channel = if at < 3 { "ads" } else { "web" };
                format!("{channel} {stage} {count}")
            };
            rows.map(row).collect::<Vec<String>>()
        };
        for (attribution, counts) in [
            ("first", [3, 2, 1, 1, 1, 0]),
            ("last", [2, 1, 0, 2, 2, 1]),
            ("step 1", [2, 1, 0, 2, 2, 1]),
            ("all", [3, 1, 0, 2, 2, 1]),
        ] {
            let expected = ads_and_web(counts);
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            by(attribution, &expected);
        }
        by("step 3", &["web visit 1", "web order 1", "web pay 1"]);
    }

    #[test]
    fn buckets_are_of_the_first_step() {
        check(
            "bucket, stage, entered",
            ", bucket => 'day'",
            &[
                "2026-01-01 visit 3",
                "2026-01-01 order 2",
                "2026-01-01 pay 0",
                "2026-01-06 visit 1",
                "2026-01-06 order 1",
                "2026-01-06 pay 1",
            ],
        );
    }

    #[test]
    fn wrong_arguments_are_errors() {
        for (options, code, part) in [
            (
                ", by => 'region'",
                "42703",
                "dimension \"region\" does not exist",
            ),
            (", attribution => 'step 4'", "22023", "'step 1' to 'step 3'"),
            (
                ", count => 'rows'",
                "22023",
                "one of entities, people, conversions",
            ),
            (", bucket => 'hour'", "22023", "one of day, week"),
            (", open_entries => 'no'", "22023", "one of include, exclude"),
            (
                ", step_windows => '1 day'",
                "22023",
                "a window for each stage",
            ),
            (
                ", optional => [1]",
                "22023",
                "step 1 of 3 can't be optional",
            ),
            (", within => 3", "42883", "within"),
        ] {
            testing::check_error(&context(), &sql("*", options), code, part);
        }
    }
}
