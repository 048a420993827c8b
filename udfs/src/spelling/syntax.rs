//! Small parts of calls: what an argument is, and how an expression is made.

use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, CastKind, DataType, DuplicateTreatment, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, UnaryOperator,
    Value,
};

use crate::error::FunnelError;

/// What an argument is, as far as its text shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// A text literal.
    Text,
    /// An integer literal, with its sign.
    Integer,
    /// `ARRAY[…]` or `[…]`.
    Array,
    /// Anything that is computed.
    Computed,
}

pub(super) fn argument(argument: &FunctionArg) -> Argument {
    match expression(argument) {
        Some(Expr::Array(_)) => Argument::Array,
        Some(Expr::Value(value)) => match &value.value {
            Value::Number(digits, _) if is_integer(digits) => Argument::Integer,
            value if value.clone().into_string().is_some() => Argument::Text,
            _ => Argument::Computed,
        },
        Some(Expr::UnaryOp {
            op: UnaryOperator::Minus | UnaryOperator::Plus,
            expr,
        }) => match expr.as_ref() {
            Expr::Value(value) if matches!(&value.value, Value::Number(digits, _) if is_integer(digits)) => {
                Argument::Integer
            }
            _ => Argument::Computed,
        },
        _ => Argument::Computed,
    }
}

fn is_integer(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The expression of an argument, without its parentheses; nothing for `*`.
pub(super) fn expression(argument: &FunctionArg) -> Option<&Expr> {
    let (FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
    | FunctionArg::Named {
        arg: FunctionArgExpr::Expr(expression),
        ..
    }
    | FunctionArg::ExprNamed {
        arg: FunctionArgExpr::Expr(expression),
        ..
    }) = argument
    else {
        return None;
    };
    Some(inside(expression))
}

/// An expression without the parentheses around it.
pub(super) fn inside(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// The elements of an array literal; nothing where the expression isn't one.
pub(super) fn elements(expression: &Expr) -> Option<&[Expr]> {
    match inside(expression) {
        Expr::Array(Array { elem, .. }) => Some(elem),
        _ => None,
    }
}

/// The expression of an argument by position.
pub(super) fn into_expression(argument: FunctionArg) -> Option<Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    }
}

/// Takes the last argument, the condition of a `-If`.
pub(super) fn pop_condition(
    name: &str,
    arguments: &mut Vec<FunctionArg>,
) -> Result<Expr, FunnelError> {
    arguments
        .pop()
        .and_then(into_expression)
        .ok_or_else(|| FunnelError::WrongCall {
            message: format!("{name}() with If has no condition"),
            hint: "Give the condition as the last argument.".to_owned(),
        })
}

/// Keeps the rows that meet a condition and what the filter says already.
pub(super) fn add_filter(filter: &mut Option<Box<Expr>>, condition: Expr) {
    let both = match filter.take() {
        Some(given) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(Box::new(condition))),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(given)),
        },
        None => condition,
    };
    *filter = Some(Box::new(both));
}

pub(super) fn unnamed(expression: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
}

pub(super) fn null() -> Expr {
    Expr::value(Value::Null)
}

pub(super) fn number(number: usize) -> Expr {
    Expr::value(Value::Number(number.to_string(), false))
}

pub(super) fn text(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_owned()))
}

pub(super) fn array(elements: Vec<Expr>) -> Expr {
    Expr::Array(Array {
        elem: elements,
        named: true,
    })
}

pub(super) fn as_date(expression: Expr) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(expression),
        data_type: DataType::Date,
        array: false,
        format: None,
    }
}

/// A call with nothing around it.
pub(super) fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None::<DuplicateTreatment>,
            args: arguments.into_iter().map(unnamed).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
