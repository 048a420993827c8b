//! Long chains of operators, put side by side.
//!
//! A few operators nest, so that the planner sees what they are; more of them become one call of
//! [`CHAIN`], whose cost doesn't grow with their depth.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Value,
};

use super::{last_name, syntax};
use crate::postgres::functions::{CHAIN, LINKS};

/// How many operators may nest.
const DEEPEST: usize = 16;

/// The call of the operator's function, at the end of the chain that `left` may be.
pub fn linked(name: &str, left: Expr, right: Expr) -> Expr {
    let Some((_, symbol)) = LINKS.iter().find(|(link, _)| *link == name) else {
        return syntax::call(name, vec![left, right]);
    };
    match opened(left) {
        Ok((mut symbols, mut operands)) => {
            symbols.push(*symbol);
            operands.push(right);
            operands.insert(0, syntax::text(&symbols));
            syntax::call(CHAIN, operands)
        }
        Err(left) => syntax::call(name, vec![*left, right]),
    }
}

/// The symbols and operands of a chain, or of so many operators that they should be one.
fn opened(mut expression: Expr) -> Result<(String, Vec<Expr>), Box<Expr>> {
    if called(&expression).is_some_and(|(name, _)| name == CHAIN) {
        let mut operands = arguments(&mut expression);
        return match operands.is_empty() {
            true => Err(Box::new(expression)),
            false => Ok((text_of(&operands.remove(0)), operands)),
        };
    }
    if !nests_deeply(&expression) {
        return Err(Box::new(expression));
    }
    let (mut symbols, mut operands) = (Vec::new(), Vec::new());
    while let Some(symbol) = symbol(&expression) {
        symbols.push(symbol);
        let mut sides = arguments(&mut expression);
        operands.extend(sides.pop());
        expression = sides.pop().unwrap_or(Expr::value(Value::Null));
    }
    operands.push(expression);
    operands.reverse();
    Ok((symbols.into_iter().rev().collect(), operands))
}

fn nests_deeply(expression: &Expr) -> bool {
    let mut inner = expression;
    for _ in 0..DEEPEST {
        if symbol(inner).is_none() {
            return false;
        }
        match called(inner).and_then(|(_, list)| list.args.first()) {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(left))) => inner = left,
            _ => return false,
        }
    }
    true
}

/// The symbol of an operator that may stand in a chain.
fn symbol(expression: &Expr) -> Option<char> {
    let (name, list) = called(expression)?;
    let (_, symbol) = LINKS.iter().find(|(link, _)| *link == name)?;
    (list.args.len() == 2).then_some(*symbol)
}

fn called(expression: &Expr) -> Option<(String, &FunctionArgumentList)> {
    match expression {
        Expr::Nested(inner) => called(inner),
        Expr::Function(function) => match &function.args {
            FunctionArguments::List(list) => Some((last_name(&function.name), list)),
            _ => None,
        },
        _ => None,
    }
}

fn arguments(expression: &mut Expr) -> Vec<Expr> {
    match expression {
        Expr::Nested(inner) => arguments(inner),
        Expr::Function(function) => match &mut function.args {
            FunctionArguments::List(list) => {
                let arguments = list.args.drain(..).filter_map(|argument| match argument {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value),
                    _ => None,
                });
                arguments.collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn text_of(expression: &Expr) -> String {
    match expression {
        Expr::Value(value) => value.value.clone().into_string().unwrap_or_default(),
        _ => String::new(),
    }
}
