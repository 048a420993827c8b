//! `by`: the columns that a function's rows are broken down by, as SQL.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions::string::expr_fn::concat;
use datafusion::logical_expr::{Expr, cast, lit, when};

use super::arguments::Arguments;
use crate::definition::resolve::{ResolvedFunnel, column};
use crate::definition::text::identifier;
use crate::error::{FunnelError, Kind};

/// The columns to break down by.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    /// Their names.
    pub names: Vec<String>,
    /// Whether they are columns of the result; a parameter can't add any.
    shown: bool,
}

impl Segments {
    /// Takes `by`: columns of `journeys` that many journeys share.
    ///
    /// # Errors
    /// 42703 for another column, 42701 for one that is named twice.
    pub fn take(arguments: &mut Arguments, funnel: &ResolvedFunnel) -> Result<Self> {
        Self::take_from(arguments, funnel, "by")
    }

    /// As [`Segments::take`], of another argument.
    ///
    /// # Errors
    /// As [`Segments::take`].
    pub fn take_from(
        arguments: &mut Arguments,
        funnel: &ResolvedFunnel,
        argument: &str,
    ) -> Result<Self> {
        let (names, bound) = arguments.take_names(argument)?;
        let possible = possible(funnel);
        for (at, name) in names.iter().enumerate() {
            if !possible.contains(name) {
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
        Ok(Self::new(names, !bound))
    }

    /// Columns of that name; `shown` where they are columns of the result.
    pub fn new(names: Vec<String>, shown: bool) -> Self {
        Self { names, shown }
    }

    /// The names under which they are grouped and ordered by, which can't meet a function's own.
    pub fn grouped(&self) -> Vec<String> {
        (0..self.names.len()).map(grouped_name).collect()
    }

    /// The columns of `journeys` under the names of [`Segments::grouped`].
    pub fn projected(&self) -> Vec<String> {
        let columns = self.names.iter().zip(self.grouped());
        columns
            .map(|(name, grouped)| format!("{} AS {grouped}", identifier(name)))
            .collect()
    }

    /// Those that are in a result with the columns `own`, under their own names. One that the result
    /// has already is in `segment` only.
    pub fn shown(&self, own: &[&str]) -> Vec<String> {
        if !self.shown {
            return Vec::new();
        }
        let columns = self.names.iter().zip(self.grouped());
        columns
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .map(|(name, grouped)| format!("{grouped} AS {}", identifier(name)))
            .collect()
    }

    /// The columns of `journeys`, quoted.
    pub fn columns(&self) -> Vec<String> {
        self.names.iter().map(|name| identifier(name)).collect()
    }

    /// Each name with the column of `journeys` of that name.
    pub fn cell(&self) -> Vec<(String, String)> {
        let columns = self.names.iter().cloned();
        columns.zip(self.columns()).collect()
    }

    /// Each name with its column while it is grouped.
    pub fn grouped_cell(&self) -> Vec<(String, String)> {
        let columns = self.names.iter().cloned();
        columns.zip(self.grouped()).collect()
    }

    /// SQL of all values in one text, `web · north`; `all` where nothing is broken down.
    pub fn text(&self) -> String {
        text_of(&self.grouped())
    }
}

/// The same for a function that builds its plan itself.
impl Segments {
    /// [`Segments::grouped`] as expressions.
    pub fn grouped_exprs(&self) -> Vec<Expr> {
        self.grouped().iter().map(|name| column(name)).collect()
    }

    /// [`Segments::shown`] as expressions.
    pub fn shown_exprs(&self, own: &[&str]) -> Vec<Expr> {
        if !self.shown {
            return Vec::new();
        }
        let columns = self.names.iter().zip(self.grouped());
        columns
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .map(|(name, grouped)| column(&grouped).alias(name))
            .collect()
    }

    /// [`Segments::text`] as an expression.
    ///
    /// # Errors
    /// XX000 for an expression that can't be built.
    pub fn text_expr(&self) -> Result<Expr> {
        let mut text: Option<Expr> = None;
        for value in self.grouped_exprs() {
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

/// SQL of the values of these columns in one text, `web · north`; `all` without any.
pub fn text_of(columns: &[String]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|column| format!("coalesce(CAST({column} AS text), '(null)')"))
        .collect();
    match values.is_empty() {
        true => "'all'".to_owned(),
        false => values.join(" || ' · ' || "),
    }
}

/// The name of a segment's column while rows are grouped, from 0.
pub fn grouped_name(at: usize) -> String {
    format!("segment_{}", at + 1)
}

fn possible(funnel: &ResolvedFunnel) -> Vec<String> {
    let mut possible: Vec<String> = funnel
        .dimensions
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let own = [
        "owner",
        "status",
        "furthest_stage",
        "lost_stage",
        "lost_reason",
    ];
    possible.extend(own.map(str::to_owned));
    possible.push(funnel.entity_name.clone());
    possible
}
