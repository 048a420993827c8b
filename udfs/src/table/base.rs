//! What every table function begins with: the funnel, how its journeys are made, and which of them.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::functions::datetime::expr_fn::now;
use datafusion::functions::string::expr_fn::concat;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit, when};

use super::adhoc;
use super::arguments::Arguments;
use crate::definition::journeys::{JourneyOptions, hidden, journeys};
use crate::definition::model::Counting;
use crate::definition::resolve::{ResolvedFunnel, column, instant_type};
use crate::error::{FunnelError, Kind};

/// Journeys, chosen by the common arguments.
pub struct Base {
    /// The funnel.
    pub funnel: Arc<ResolvedFunnel>,
    /// How its journeys are made.
    pub options: JourneyOptions,
    /// The journeys, hidden columns included.
    pub plan: LogicalPlan,
    /// The columns to break down by.
    pub segments: Segments,
    /// `since` and `until` as they were given.
    pub since: Option<Expr>,
    /// The end of the entry period.
    pub until: Option<Expr>,
}

/// The columns to break down by.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    /// Their names.
    pub names: Vec<String>,
    /// Whether they are columns of the result; a parameter can't add any.
    shown: bool,
}

impl Segments {
    /// Columns of that name; `shown` where they are columns of the result.
    pub(super) fn new(names: Vec<String>, shown: bool) -> Self {
        Self { names, shown }
    }

    /// The columns as they are grouped and ordered by; their names can't meet a function's own.
    pub fn grouped(&self) -> Vec<Expr> {
        (0..self.names.len())
            .map(|at| column(&grouped_name(at)))
            .collect()
    }

    /// The columns of `journeys` under the names of [`Segments::grouped`].
    pub fn projected(&self) -> Vec<Expr> {
        let columns = self.names.iter().enumerate();
        columns
            .map(|(at, name)| column(name).alias(grouped_name(at)))
            .collect()
    }

    /// Those that are in a result with the columns `own`, under their own names. One that the result
    /// has already is in `segment` only.
    pub fn shown(&self, own: &[&str]) -> Vec<Expr> {
        if !self.shown {
            return Vec::new();
        }
        let columns = self.names.iter().enumerate();
        columns
            .filter(|(_, name)| !own.contains(&name.as_str()))
            .map(|(at, name)| column(&grouped_name(at)).alias(name))
            .collect()
    }

    /// Each name with its value as text.
    pub fn pairs(&self) -> Vec<Expr> {
        let columns = self.names.iter().enumerate();
        columns
            .flat_map(|(at, name)| {
                [
                    lit(name.as_str()),
                    cast(column(&grouped_name(at)), DataType::Utf8),
                ]
            })
            .collect()
    }

    /// All values in one text, `web · north`; `all` where nothing is broken down.
    ///
    /// # Errors
    /// XX000 for an expression that can't be built.
    pub fn text(&self) -> Result<Expr> {
        let mut text: Option<Expr> = None;
        for value in self.grouped() {
            let value = cast(value, DataType::Utf8);
            let value = when(value.clone().is_null(), lit("(null)")).otherwise(value)?;
            text = Some(match text {
                Some(text) => concat(vec![text, lit(" · "), value]),
                None => value,
            });
        }
        Ok(text.unwrap_or_else(|| lit("all")))
    }
}

/// The name of a segment's column while rows are grouped.
pub(super) fn grouped_name(at: usize) -> String {
    format!("__segment_{at}")
}

impl Base {
    /// Takes the funnel and the common arguments.
    ///
    /// # Errors
    /// 42704 for an unknown funnel, 42703 for an unknown column, 22023 for a value that can't be used.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        let funnel = take_funnel(arguments)?;
        let counting = match arguments.take_text("counting")? {
            Some(name) => Counting::parse(&name)?,
            None => funnel.counting(),
        };
        let as_of = match arguments.take_instant("as_of")? {
            Some(instant) => instant,
            None => cast(now(), instant_type()),
        };
        let options = JourneyOptions {
            counting,
            as_of,
            time_zone: arguments.time_zone(),
        };
        let plan = journeys(&funnel, &options)?;
        let since = arguments.take_instant("since")?;
        let until = arguments.take_instant("until")?;
        let plan = chosen(plan, since.as_ref(), until.as_ref(), arguments)?;
        let segments = take_segments(arguments, &funnel, plan.schema())?;
        Ok(Self {
            funnel,
            options,
            plan,
            segments,
            since,
            until,
        })
    }

    /// Whether a journey's whole window lies before `as_of`.
    pub fn mature() -> Expr {
        column(hidden::MATURE)
    }
}

/// The journeys that started in [since, until) and meet the condition.
fn chosen(
    plan: LogicalPlan,
    since: Option<&Expr>,
    until: Option<&Expr>,
    arguments: &mut Arguments,
) -> Result<LogicalPlan> {
    let condition = arguments.take_condition("where", plan.schema())?;
    let mut filters = Vec::new();
    filters.extend(since.map(|since| column("started_at").gt_eq(since.clone())));
    filters.extend(until.map(|until| column("started_at").lt(until.clone())));
    filters.extend(condition);
    match filters.into_iter().reduce(Expr::and) {
        Some(filter) => LogicalPlanBuilder::from(plan).filter(filter)?.build(),
        None => Ok(plan),
    }
}

/// The funnel of the first argument.
///
/// # Errors
/// 42704 for an unknown one, and every fault of one over a query.
pub(super) fn take_funnel(arguments: &mut Arguments) -> Result<Arc<ResolvedFunnel>> {
    let first = arguments.only_positional()?;
    if let Some(funnel) = adhoc::take(arguments, &first)? {
        return Ok(Arc::new(funnel));
    }
    adhoc::refuse(arguments)?;
    let name = match arguments.text("funnel", &first)? {
        Some(name) => name.into_string(),
        None => return Err(arguments.invalid("the funnel", "NULL", "its name")),
    };
    arguments.lookup().funnel(&name)
}

/// `by`: columns of `journeys` that many journeys share.
fn take_segments(
    arguments: &mut Arguments,
    funnel: &ResolvedFunnel,
    schema: &DFSchema,
) -> Result<Segments> {
    let (names, bound) = arguments.take_names("by")?;
    let mut possible: Vec<String> = funnel
        .dimensions
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    possible.extend(
        [
            "owner",
            "status",
            "furthest_stage",
            "lost_stage",
            "lost_reason",
        ]
        .map(str::to_owned),
    );
    possible.push(funnel.entity_name.clone());
    for (at, name) in names.iter().enumerate() {
        if !possible.contains(name) || schema.field_with_unqualified_name(name).is_err() {
            return Err(FunnelError::Unknown {
                kind: Kind::Dimension,
                name: name.clone(),
                place: format!(" in funnel \"{}\"", funnel.definition.name),
                existing: possible,
            }
            .into());
        }
        if names[..at].contains(name) {
            let hint = "Write it once.".to_owned();
            let error = FunnelError::Duplicate {
                kind: Kind::Dimension,
                name: name.clone(),
                hint,
            };
            return Err(error.into());
        }
    }
    Ok(Segments {
        names,
        shown: !bound,
    })
}
