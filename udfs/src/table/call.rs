//! What every function over a funnel begins with: the funnel, how its journeys are made, which of them, and
//! the columns to break down by. A [`Call`] writes them as the SQL that the function stands for.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArgOperator, Ident, Value,
    visit_expressions_mut,
};

use super::FunnelLookup;
use super::adhoc;
use super::arguments::Arguments;
use super::segments::Segments;
use crate::definition::resolve::ResolvedFunnel;
use crate::definition::text::{identifier, literal, written};

/// The named arguments that every function over journeys takes; those from `entity` on describe a funnel
/// over a query.
pub const ARGUMENTS: [&str; 11] = [
    "as_of", "counting", "since", "until", "where", "entity", "time", "stage", "stages", "value",
    "window",
];

/// [`ARGUMENTS`] of a stored funnel, as they are listed in catalogs.
pub const SIGNATURE: &str = "since timestamp with time zone DEFAULT NULL, \
     until timestamp with time zone DEFAULT NULL, \
     as_of timestamp with time zone DEFAULT now(), counting text DEFAULT NULL, \
     \"where\" text DEFAULT NULL";

/// [`ARGUMENTS`] and those of one function.
pub fn arguments(own: &[&'static str]) -> Vec<&'static str> {
    [&ARGUMENTS, own].concat()
}

/// A call of a function over a funnel.
pub struct Call {
    /// The funnel.
    pub funnel: Arc<ResolvedFunnel>,
    /// The columns to break down by.
    pub segments: Segments,
    /// The arguments that say which journeys, as they were written.
    journeys: Vec<FunctionArg>,
    /// The same by name, with the values of bound parameters.
    given: Vec<(&'static str, SqlExpr)>,
    is_over_query: bool,
}

/// The arguments of a call that say which journeys, as they are before anything is taken.
pub struct Given {
    journeys: Vec<FunctionArg>,
    values: Vec<(&'static str, SqlExpr)>,
    is_over_query: bool,
}

impl Given {
    /// Looks at the arguments, which stay.
    pub fn look(arguments: &Arguments) -> Self {
        let mut journeys: Vec<FunctionArg> = arguments
            .peek_positional()
            .into_iter()
            .map(|funnel| FunctionArg::Unnamed(FunctionArgExpr::Expr(funnel.clone())))
            .collect();
        let mut values = Vec::new();
        for name in ARGUMENTS {
            if let Some(value) = arguments.peek(name) {
                journeys.push(named(name, value.clone()));
                values.push((name, bound(value.clone(), arguments.lookup())));
            }
        }
        Self {
            journeys,
            values,
            is_over_query: arguments.is_over_query(),
        }
    }

    /// The call, of this funnel.
    pub fn of(self, funnel: Arc<ResolvedFunnel>) -> Call {
        Call {
            funnel,
            segments: Segments::default(),
            journeys: self.journeys,
            given: self.values,
            is_over_query: self.is_over_query,
        }
    }
}

impl Call {
    /// Takes the funnel, `by` and the arguments that say which journeys.
    ///
    /// # Errors
    /// 42704 for an unknown funnel, 42703 for an unknown column of `by`, 22023 for a value that can't be
    /// used. What is wrong with an argument of the journeys is said when they are planned.
    pub fn take(arguments: &mut Arguments) -> Result<Self> {
        let mut call = Self::take_without_segments(arguments)?;
        call.segments = Segments::take(arguments, &call.funnel)?;
        Ok(call)
    }

    /// As [`Call::take`], for a function that has no `by`.
    ///
    /// # Errors
    /// As [`Call::take`].
    pub fn take_without_segments(arguments: &mut Arguments) -> Result<Self> {
        let given = Given::look(arguments);
        let funnel = take_funnel(arguments)?;
        for name in ARGUMENTS {
            arguments.take(name);
        }
        Ok(given.of(funnel))
    }

    /// Lets the journeys of the call start at any time: `since` and `until` are about another instant.
    pub fn take_any_start(&mut self) {
        self.journeys.retain(|argument| {
            let name = match argument {
                FunctionArg::Named { name, .. } => name.value.as_str(),
                _ => "",
            };
            !["since", "until"].contains(&name)
        });
    }

    /// The funnel, to keep.
    pub fn funnel(&self) -> Arc<ResolvedFunnel> {
        Arc::clone(&self.funnel)
    }

    /// `journeys(…)` of this call.
    pub fn journeys(&self) -> String {
        self.relation("journeys", "")
    }

    /// `journeys(…, steps => true)` of this call.
    pub fn journeys_with_steps(&self) -> String {
        self.relation("journeys", ", steps => true")
    }

    /// `journey_stages(…)` of this call.
    pub fn journey_stages(&self) -> String {
        self.relation("journey_stages", "")
    }

    fn relation(&self, function: &str, more: &str) -> String {
        let arguments: Vec<String> = self.journeys.iter().map(written).collect();
        format!("{function}({}{more})", arguments.join(", "))
    }

    /// The arguments that say which journeys, as they were written, with their places in the statement.
    pub fn written(&self) -> &[FunctionArg] {
        &self.journeys
    }

    /// Whether an argument was given, other than NULL.
    pub fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// The instant up to which things are known, as SQL.
    pub fn as_of(&self) -> String {
        match self.given("as_of") {
            Some(value) => instant(value),
            None => "CAST(now() AS timestamptz(6))".to_owned(),
        }
    }

    /// `since` or `until` as SQL of an instant; nothing where it isn't given.
    pub fn instant(&self, name: &str) -> Option<String> {
        self.given(name).map(instant)
    }

    fn given(&self, name: &str) -> Option<&SqlExpr> {
        let found = self.given.iter().find(|(given, _)| *given == name);
        found
            .map(|(_, value)| value)
            .filter(|value| !is_null(value))
    }

    /// SQL of the key that leads from a row of `function` back to the journeys behind it; NULL over a query,
    /// which nobody could find again.
    ///
    /// `own` are arguments of the function's own and their values as text, `cell` the names and SQL of what
    /// tells its rows apart. Read by [`funnel_drill`](super::funnel_drill).
    pub fn drill_key(
        &self,
        function: &str,
        own: &[(&str, String)],
        cell: &[(String, String)],
    ) -> String {
        let own: Vec<(&str, String)> = own
            .iter()
            .map(|(name, value)| (*name, literal(value)))
            .collect();
        self.drill_key_of(function, &own, cell)
    }

    /// As [`Call::drill_key`], of a function whose first argument isn't the funnel but `first`.
    pub fn drill_key_on(
        &self,
        function: &str,
        first: &str,
        own: &[(&str, String)],
        cell: &[(String, String)],
    ) -> String {
        let mut own = own.to_vec();
        own.push(("of", first.to_owned()));
        self.drill_key(function, &own, cell)
    }

    /// As [`Call::drill_key`], with SQL for the values of `own`.
    pub fn drill_key_of(
        &self,
        function: &str,
        own: &[(&str, String)],
        cell: &[(String, String)],
    ) -> String {
        if self.is_over_query {
            return "CAST(NULL AS text)".to_owned();
        }
        let mut pairs = vec![
            ("function".to_owned(), literal(function)),
            ("funnel".to_owned(), literal(&self.funnel.definition.name)),
            ("as_of".to_owned(), self.as_of()),
        ];
        for name in ["since", "until"] {
            pairs.extend(self.instant(name).map(|value| (name.to_owned(), value)));
        }
        for name in ["counting", "where"] {
            let value = self.given(name).map(|value| match text_of(value) {
                Some(text) => literal(&text),
                None => literal(&written(value)),
            });
            pairs.extend(value.map(|value| (name.to_owned(), value)));
        }
        if !self.segments.names.is_empty() {
            let names = literal(&self.segments.names.join(","));
            pairs.push(("by".to_owned(), names));
        }
        pairs.extend(
            own.iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        let fixed = pairs.len();
        pairs.extend(cell.iter().cloned());
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}, {value}", literal(name)))
            .collect();
        format!("drill_key({fixed}, {})", pairs.join(", "))
    }
}

/// The funnel of the first argument.
///
/// # Errors
/// 42704 for an unknown one, and every fault of one over a query.
pub fn take_funnel(arguments: &mut Arguments) -> Result<Arc<ResolvedFunnel>> {
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

/// `name => value`.
pub fn named(name: &str, value: SqlExpr) -> FunctionArg {
    FunctionArg::Named {
        name: match identifier(name) == name {
            true => Ident::new(name),
            // A word of SQL's own.
            false => Ident::with_quote('"', name),
        },
        arg: FunctionArgExpr::Expr(value),
        operator: FunctionArgOperator::RightArrow,
    }
}

/// An instant of the session's time zone, as the journeys read it. Microseconds reach further than
/// nanoseconds.
pub fn instant(value: &SqlExpr) -> String {
    let value = match value {
        // A parameter is a text until it is known.
        SqlExpr::Value(inner) if matches!(inner.value, Value::Placeholder(_)) => {
            format!("CAST({value} AS text)")
        }
        value => written(value),
    };
    format!("CAST({value} AS timestamptz(6))")
}

fn is_null(value: &SqlExpr) -> bool {
    matches!(value, SqlExpr::Value(inner) if matches!(inner.value, Value::Null))
}

fn text_of(value: &SqlExpr) -> Option<String> {
    match value {
        SqlExpr::Value(inner) => inner.value.clone().into_string(),
        SqlExpr::Identifier(ident) => Some(ident.value.clone()),
        _ => None,
    }
}

/// The expression with the values of its parameters, where they are bound: a key outlives them.
fn bound(mut expression: SqlExpr, lookup: &dyn FunnelLookup) -> SqlExpr {
    let _ = visit_expressions_mut(&mut expression, |part| {
        if let SqlExpr::Value(value) = part
            && let Value::Placeholder(name) = &value.value
            && let Some(index) = name.strip_prefix('$').and_then(|index| index.parse().ok())
            && let Some(found) = lookup.parameter(index)
        {
            value.value = match found.is_null() {
                true => Value::Null,
                false => Value::SingleQuotedString(found.to_string()),
            };
        }
        ControlFlow::<()>::Continue(())
    });
    expression
}
