//! ClickHouse's helpers that are another way to write standard SQL.
//!
//! Those whose meaning depends on the type of their argument are functions, in `scalar::clickhouse`.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, Interval,
};

use super::syntax::{add_filter, as_date, call, into_expression, number, pop_condition, text};
use super::{rename, simple_name};
use crate::error::FunnelError;

/// Changes a call in place, or gives the expression that takes its place.
pub(super) fn rewrite(function: &mut Function) -> Result<Option<Expr>, FunnelError> {
    let Some(helper) = simple_name(&function.name).and_then(Helper::by_name) else {
        return Ok(None);
    };
    match helper.meaning {
        Meaning::Aggregate(aggregate, conditional) => {
            rewrite_aggregate(function, helper.name, aggregate, conditional)
        }
        Meaning::Choice => {
            let arguments = arguments_of(function, helper.name)?;
            Ok(Some(choice(arguments, helper.name)?))
        }
        Meaning::Truncation(unit, result) => {
            let arguments = arguments_of(function, helper.name)?;
            Ok(Some(truncation(arguments, unit, result, helper.name)?))
        }
        Meaning::Week => Ok(Some(week(arguments_of(function, helper.name)?)?)),
    }
}

struct Helper {
    /// ClickHouse's name.
    name: &'static str,
    meaning: Meaning,
}

#[derive(Clone, Copy)]
enum Meaning {
    /// An aggregate; a conditional one has its condition as the last argument.
    Aggregate(Aggregate, bool),
    /// `if` and `multiIf`.
    Choice,
    /// The start of a unit, as a time or as a date.
    Truncation(&'static str, Start),
    /// The start of the week, by its mode.
    Week,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Time,
    Date,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    /// As it is named in Postgres too.
    Plain(&'static str),
    /// `sumIf`: 0 for no rows.
    Sum,
    Count,
    /// How many different values.
    Different,
    /// The values that aren't NULL.
    Values,
    DifferentValues,
}

#[rustfmt::skip]
const HELPERS: [Helper; 24] = [
    Helper { name: "if", meaning: Meaning::Choice },
    Helper { name: "multiIf", meaning: Meaning::Choice },
    Helper { name: "countIf", meaning: Meaning::Aggregate(Aggregate::Count, true) },
    Helper { name: "sumIf", meaning: Meaning::Aggregate(Aggregate::Sum, true) },
    Helper { name: "avgIf", meaning: Meaning::Aggregate(Aggregate::Plain("avg"), true) },
    Helper { name: "minIf", meaning: Meaning::Aggregate(Aggregate::Plain("min"), true) },
    Helper { name: "maxIf", meaning: Meaning::Aggregate(Aggregate::Plain("max"), true) },
    Helper { name: "uniq", meaning: Meaning::Aggregate(Aggregate::Different, false) },
    Helper { name: "uniqIf", meaning: Meaning::Aggregate(Aggregate::Different, true) },
    Helper { name: "uniqExact", meaning: Meaning::Aggregate(Aggregate::Different, false) },
    Helper { name: "uniqExactIf", meaning: Meaning::Aggregate(Aggregate::Different, true) },
    Helper { name: "groupArray", meaning: Meaning::Aggregate(Aggregate::Values, false) },
    Helper { name: "groupArrayIf", meaning: Meaning::Aggregate(Aggregate::Values, true) },
    Helper { name: "groupUniqArray", meaning: Meaning::Aggregate(Aggregate::DifferentValues, false) },
    Helper { name: "groupUniqArrayIf", meaning: Meaning::Aggregate(Aggregate::DifferentValues, true) },
    Helper { name: "toStartOfSecond", meaning: Meaning::Truncation("second", Start::Time) },
    Helper { name: "toStartOfMinute", meaning: Meaning::Truncation("minute", Start::Time) },
    Helper { name: "toStartOfHour", meaning: Meaning::Truncation("hour", Start::Time) },
    Helper { name: "toStartOfDay", meaning: Meaning::Truncation("day", Start::Time) },
    Helper { name: "toMonday", meaning: Meaning::Truncation("week", Start::Date) },
    Helper { name: "toStartOfMonth", meaning: Meaning::Truncation("month", Start::Date) },
    Helper { name: "toStartOfQuarter", meaning: Meaning::Truncation("quarter", Start::Date) },
    Helper { name: "toStartOfYear", meaning: Meaning::Truncation("year", Start::Date) },
    Helper { name: "toStartOfWeek", meaning: Meaning::Week },
];

impl Helper {
    fn by_name(name: &Ident) -> Option<&'static Self> {
        HELPERS.iter().find(|helper| match name.quote_style {
            Some(_) => name.value == helper.name,
            None => name.value.eq_ignore_ascii_case(helper.name),
        })
    }
}

fn wrong_call(name: &str, syntax: &str) -> FunnelError {
    FunnelError::WrongCall {
        message: format!("{name}() is called with other arguments than it takes"),
        hint: format!("Write {name}({syntax})."),
    }
}

/// Takes a call's arguments, which are all by position.
fn arguments_of(function: &mut Function, name: &str) -> Result<Vec<Expr>, FunnelError> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(Vec::new());
    };
    let arguments = list.args.drain(..).map(into_expression);
    arguments
        .collect::<Option<Vec<Expr>>>()
        .ok_or_else(|| wrong_call(name, "argument, …"))
}

fn rewrite_aggregate(
    function: &mut Function,
    name: &str,
    aggregate: Aggregate,
    conditional: bool,
) -> Result<Option<Expr>, FunnelError> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(None);
    };
    if conditional {
        add_filter(&mut function.filter, pop_condition(name, &mut list.args)?);
    }
    let wanted = usize::from(aggregate != Aggregate::Count);
    if list.args.len() != wanted || !list.args.iter().all(is_positional) {
        let syntax = match (aggregate, conditional) {
            (Aggregate::Count, _) => "condition",
            (_, true) => "value, condition",
            (_, false) => "value",
        };
        return Err(wrong_call(name, syntax));
    }
    match aggregate {
        Aggregate::Plain(planned) => rename(&mut function.name, planned),
        Aggregate::Count => {
            list.args
                .push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
            rename(&mut function.name, "count");
        }
        Aggregate::Different => {
            list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            rename(&mut function.name, "count");
        }
        Aggregate::Values => collect(function),
        Aggregate::DifferentValues => {
            list.duplicate_treatment = Some(DuplicateTreatment::Distinct);
            collect(function);
        }
        Aggregate::Sum => {
            rename(&mut function.name, "sum");
            let sum = Expr::Function(function.clone());
            return Ok(Some(call("coalesce", vec![sum, number(0)])));
        }
    }
    Ok(None)
}

/// The values that aren't NULL: ClickHouse's lists have none, Postgres' have them.
fn collect(function: &mut Function) {
    if let FunctionArguments::List(list) = &function.args
        && let Some(value) = list.args.first().cloned().and_then(into_expression)
    {
        let value = Expr::IsNotNull(Box::new(value));
        add_filter(&mut function.filter, value);
    }
    rename(&mut function.name, "array_agg");
}

fn is_positional(argument: &FunctionArg) -> bool {
    into_expression(argument.clone()).is_some()
}

/// Conditions and results in turn, and the result of none of them.
fn choice(mut arguments: Vec<Expr>, name: &str) -> Result<Expr, FunnelError> {
    let is_if = name == "if";
    if arguments.len() < 3 || arguments.len().is_multiple_of(2) || (is_if && arguments.len() != 3) {
        let syntax = match is_if {
            true => "condition, then, else",
            false => "condition, then, …, else",
        };
        return Err(wrong_call(name, syntax));
    }
    let otherwise = arguments.pop().map(Box::new);
    let mut conditions = Vec::new();
    let mut arguments = arguments.into_iter();
    while let (Some(condition), Some(result)) = (arguments.next(), arguments.next()) {
        conditions.push(CaseWhen { condition, result });
    }
    Ok(Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions,
        else_result: otherwise,
    })
}

fn truncation(
    mut arguments: Vec<Expr>,
    unit: &str,
    result: Start,
    name: &str,
) -> Result<Expr, FunnelError> {
    match (arguments.pop(), arguments.is_empty()) {
        (Some(time), true) => {
            let start = call("date_trunc", vec![text(unit), time]);
            Ok(match result {
                Start::Time => start,
                Start::Date => as_date(start),
            })
        }
        _ => Err(wrong_call(name, "time")),
    }
}

/// Mode 0, which is meant where none is given, starts a week on Sunday, and mode 1 on Monday.
fn week(mut arguments: Vec<Expr>) -> Result<Expr, FunnelError> {
    const NAME: &str = "toStartOfWeek";
    let mode = match arguments.len() {
        2 => arguments.pop().map(|mode| mode.to_string()),
        _ => None,
    };
    match (mode.as_deref(), arguments.pop()) {
        (None | Some("0"), Some(time)) if arguments.is_empty() => Ok(sunday(time)),
        (Some("1"), Some(time)) => truncation(vec![time], "week", Start::Date, NAME),
        _ => Err(wrong_call(NAME, "time [, 0 or 1]")),
    }
}

/// The Sunday at or before a time: a day before the Monday at or before the next day.
fn sunday(time: Expr) -> Expr {
    let next_day = one_day(as_date(time), BinaryOperator::Plus);
    let monday = call("date_trunc", vec![text("week"), next_day]);
    as_date(one_day(monday, BinaryOperator::Minus))
}

/// One day on or back.
fn one_day(time: Expr, operator: BinaryOperator) -> Expr {
    Expr::BinaryOp {
        left: Box::new(time),
        op: operator,
        right: Box::new(Expr::Interval(Interval {
            value: Box::new(text("1 day")),
            leading_field: None,
            leading_precision: None,
            last_field: None,
            fractional_seconds_precision: None,
        })),
    }
}
