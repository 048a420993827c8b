//! Queries of other engines, unchanged: each spelling of an event function becomes the one that is planned.
//!
//! # Event functions
//!
//! A call is brought into the order `function(window or pattern, mode, time, condition, …)` before it is planned. So the
//! calls of a row of this table are one call, with one implementation behind it.
//!
//! | Engine | Written | Planned as |
//! |---|---|---|
//! | ClickHouse | `windowFunnel(3600)(ts, a, b)` | `window_funnel(3600, ts, a, b)` |
//! | ClickHouse | `windowFunnel(3600, 'strict_order', 'strict_once')(ts, a, b)` | `window_funnel(3600, 'strict_order', 'strict_once', ts, a, b)` |
//! | ClickHouse | `windowFunnelIf(3600)(ts, a, b, c)` | `window_funnel(3600, ts, a, b) FILTER (WHERE c)` |
//! | ClickHouse | `sequenceMatch('(?1)(?2)')(ts, a, b)` | `sequence_match('(?1)(?2)', ts, a, b)` |
//! | ClickHouse | `sequenceCount`, `sequenceMatchEvents` | `sequence_count`, `sequence_match_events` |
//! | ClickHouse | `sequenceNextNode('forward', 'head')(ts, page, base, a)` | `sequence_next_node('forward', 'head', ts, page, base, a)` |
//! | StarRocks | `window_funnel(3600, ts, 2, [a, b])` | `window_funnel(3600, 2, ts, a, b)` |
//! | StarRocks | `retention([a, b])` | `retention(a, b)` |
//! | Doris, Hologres, GaussDB(DWS) | `window_funnel(3600, 'default', ts, a, b)` | as it is written |
//! | DuckDB's `behavioral` | `window_funnel(INTERVAL '1 hour', 'strict_order, strict_once', ts, a, b)` | as it is written |
//! | any | conditions as one array, `ARRAY[a, b]` or `[a, b]` | conditions one by one |
//!
//! - A name without quotes is the same in capitals and small letters, `WINDOWFUNNEL` too; in quotes it has to be ClickHouse's
//!   (`"windowFunnel"`) or ours.
//! - `FILTER`, `OVER` and the alias stay as they are.
//! - `window_funnel_detail` and `window_funnel_attempts` take the window, the time and the conditions in order, and what else
//!   they are told by name: `key`, `hold`, `as_of`, `counting`, `optional`, `step_windows`, `exclude`, `exclude_between`.
//! - Not accepted, because two readings are possible: an integer mode behind the time without an array of conditions
//!   (`window_funnel(3600, ts, 2, a, b)`), a mode's name behind the time, numbers in the places of both mode and time.
//!   Each is an error 42883 whose hint has the two unmistakable ways to write it.
//! - Of ClickHouse's combinators there is `-If`; `-State`, `-Merge` and the others are an error 42883.
//!
//! # Helpers that such queries carry
//!
//! Rewritten before planning, so `EXPLAIN` shows the right column:
//!
//! | Written | Planned as |
//! |---|---|
//! | `countIf(c)` | `count(*) FILTER (WHERE c)` |
//! | `sumIf(x, c)` | `coalesce(sum(x) FILTER (WHERE c), 0)` |
//! | `avgIf(x, c)`, `minIf(x, c)`, `maxIf(x, c)` | `avg(x) FILTER (WHERE c)` … |
//! | `uniq(x)`, `uniqExact(x)`, `uniqIf(x, c)`, `uniqExactIf(x, c)` | `count(DISTINCT x)`, with the filter |
//! | `groupArray(x)`, `groupArrayIf(x, c)` | `array_agg(x) FILTER (WHERE x IS NOT NULL)`, with the condition |
//! | `groupUniqArray(x)`, `groupUniqArrayIf(x, c)` | the same over `DISTINCT x` |
//! | `if(c, a, b)`, `multiIf(c1, a, c2, b, …, z)` | `CASE WHEN c THEN a ELSE b END` |
//! | `toStartOfSecond`, `toStartOfMinute`, `toStartOfHour`, `toStartOfDay` | `date_trunc('hour', x)` … |
//! | `toStartOfMonth`, `toStartOfQuarter`, `toStartOfYear`, `toMonday` | `date_trunc('month', x)` … as a date |
//! | `toStartOfWeek(x)` | the Sunday at or before `x`, as a date; `toStartOfWeek(x, 1)` the Monday |
//!
//! Differences: `uniq` is exact; `sum` of no rows is NULL except in `sumIf`, and `avgIf`, `minIf` and `maxIf` of no rows are
//! NULL; `date_trunc` truncates an instant in UTC. What a helper does that depends on the type of its argument is a
//! function of its own: `toDateTime(x)`, `toUInt32(x)`, `toString(x)` and the like.

mod clickhouse;
mod detail;
mod order;
mod syntax;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectName, ObjectNamePart, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::error::FunnelError;

/// A call that can't be read, and the place of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelling {
    /// What is wrong with it.
    pub error: FunnelError,
    /// Where the function's name stands; empty where the parser gave no place.
    pub span: Span,
}

impl From<Misspelling> for FunnelError {
    fn from(misspelling: Misspelling) -> Self {
        misspelling.error
    }
}

/// Brings each call of an event function in a statement, query or expression into the one planned order.
///
/// Everything else stays as it is, and so does a tree that was resolved before. Costs a walk over the tree.
///
/// # Errors
/// 42883 for a call with more than one reading, or with an option that there isn't; 42710 for an option given twice;
/// 22023 for exclusions and their ranges that don't pair. The first one ends the walk, and leaves the tree half resolved.
pub fn resolve<Tree: VisitMut>(tree: &mut Tree) -> Result<(), Misspelling> {
    match tree.visit(&mut Resolver) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(misspelling) => Err(*misspelling),
    }
}

/// Whether a name may be called with two lists, `name(parameters)(arguments)`.
///
/// `quoted` tells whether it stood in quotes, where capitals count.
pub fn is_parametric(name: &str, quoted: bool) -> bool {
    Called::by_name(name, quoted).is_some_and(|called| called.function.shape != Shape::Retention)
}

struct Resolver;

impl VisitorMut for Resolver {
    type Break = Box<Misspelling>;

    /// Inner calls come first, so that what is built out of them is not walked again.
    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<Self::Break> {
        let Expr::Function(function) = expression else {
            return ControlFlow::Continue(());
        };
        let Some(name) = simple_name(&function.name) else {
            return ControlFlow::Continue(());
        };
        let span = name.span;
        match resolve_call(function) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(other)) => {
                *expression = other;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(Box::new(Misspelling { error, span })),
        }
    }
}

/// Changes a call in place, or gives the expression that takes its place.
fn resolve_call(function: &mut Function) -> Result<Option<Expr>, FunnelError> {
    let Some(name) = simple_name(&function.name) else {
        return Ok(None);
    };
    match Called::by_name(&name.value, name.quote_style.is_some()) {
        Some(called) => resolve_event_call(function, called).map(|()| None),
        None => clickhouse::rewrite(function),
    }
}

fn resolve_event_call(function: &mut Function, called: Called) -> Result<(), FunnelError> {
    let EventFunction { name, shape, .. } = called.function;
    join_lists(function);
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(());
    };
    match called.combinator {
        None => {}
        Some("If") => {
            let condition = syntax::pop_condition(name, &mut list.args)?;
            syntax::add_filter(&mut function.filter, condition);
        }
        Some(other) => return Err(no_combinator(called.function, other)),
    }
    let planned = match *shape {
        Shape::Detail { planned } => planned,
        Shape::Window | Shape::Listed { .. } | Shape::Retention => name,
    };
    match *shape {
        Shape::Window => order::window(name, &mut list.args)?,
        Shape::Detail { .. } => detail::resolve(name, &mut list.args)?,
        Shape::Listed { conditions_at } => order::listed(name, conditions_at, &mut list.args)?,
        Shape::Retention => order::listed(name, 0, &mut list.args)?,
    }
    rename(&mut function.name, planned);
    Ok(())
}

/// `f(parameters)(arguments)` as `f(parameters, arguments)`.
fn join_lists(function: &mut Function) {
    let parameters = std::mem::replace(&mut function.parameters, FunctionArguments::None);
    match (parameters, &mut function.args) {
        (FunctionArguments::List(parameters), FunctionArguments::List(arguments)) => {
            arguments.args.splice(0..0, parameters.args);
        }
        (parameters, _) => function.parameters = parameters,
    }
}

fn no_combinator(function: &EventFunction, combinator: &str) -> FunnelError {
    let EventFunction { name, camel, .. } = function;
    FunnelError::WrongCall {
        message: format!("{camel}{combinator}() is not available"),
        hint: format!("Write {name}(…) or {camel}If(…), over the rows themselves."),
    }
}

/// Names that are one word; those in a schema are somebody else's.
fn simple_name(name: &ObjectName) -> Option<&Ident> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => Some(name),
        _ => None,
    }
}

/// Gives a function another name, at the same place.
fn rename(name: &mut ObjectName, planned: &str) {
    let span = simple_name(name).map_or_else(Span::empty, |name| name.span);
    let planned = Ident {
        value: planned.to_owned(),
        quote_style: None,
        span,
    };
    *name = ObjectName::from(vec![planned]);
}

/// An event function under its two names.
struct EventFunction {
    /// What it is called in DataFusion.
    name: &'static str,
    /// What ClickHouse calls it, or would.
    camel: &'static str,
    shape: Shape,
}

/// What a function's arguments are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Window, modes, time, conditions.
    Window,
    /// Window, time, conditions, options by name.
    Detail { planned: &'static str },
    /// Conditions behind a known number of arguments.
    Listed { conditions_at: usize },
    /// Conditions only: no list of parameters.
    Retention,
}

#[rustfmt::skip]
const EVENT_FUNCTIONS: [EventFunction; 9] = [
    EventFunction { name: "window_funnel", camel: "windowFunnel", shape: Shape::Window },
    EventFunction { name: "window_funnel_events", camel: "windowFunnelEvents", shape: Shape::Window },
    EventFunction {
        name: "window_funnel_detail",
        camel: "windowFunnelDetail",
        shape: Shape::Detail { planned: "__window_funnel_detail" },
    },
    EventFunction {
        name: "window_funnel_attempts",
        camel: "windowFunnelAttempts",
        shape: Shape::Detail { planned: "__window_funnel_attempts" },
    },
    EventFunction { name: "sequence_match", camel: "sequenceMatch", shape: Shape::Listed { conditions_at: 2 } },
    EventFunction { name: "sequence_count", camel: "sequenceCount", shape: Shape::Listed { conditions_at: 2 } },
    EventFunction { name: "sequence_match_events", camel: "sequenceMatchEvents", shape: Shape::Listed { conditions_at: 2 } },
    EventFunction { name: "sequence_next_node", camel: "sequenceNextNode", shape: Shape::Listed { conditions_at: 5 } },
    EventFunction { name: "retention", camel: "retention", shape: Shape::Retention },
];

/// What ClickHouse puts behind an aggregate's name.
const COMBINATORS: [&str; 12] = [
    "If",
    "State",
    "SimpleState",
    "Merge",
    "MergeState",
    "OrNull",
    "OrDefault",
    "Array",
    "ForEach",
    "Distinct",
    "Map",
    "Resample",
];

/// An event function as a name calls it.
#[derive(Clone, Copy)]
struct Called {
    function: &'static EventFunction,
    combinator: Option<&'static str>,
}

impl Called {
    fn by_name(name: &str, quoted: bool) -> Option<Self> {
        let is = |written: &str, known: &str| match quoted {
            true => written == known,
            false => written.eq_ignore_ascii_case(known),
        };
        EVENT_FUNCTIONS.iter().find_map(|function| {
            if is(name, function.name) || is(name, function.camel) {
                return Some(Called {
                    function,
                    combinator: None,
                });
            }
            let (start, suffix) = name.split_at_checked(function.camel.len())?;
            let combinator = COMBINATORS
                .iter()
                .find(|known| is(start, function.camel) && is(suffix, known))?;
            Some(Called {
                function,
                combinator: Some(combinator),
            })
        })
    }
}

#[cfg(test)]
mod tests;
