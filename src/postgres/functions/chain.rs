//! A long chain of operators, `a + b - c …`, as one function of all its operands.
//!
//! DataFusion asks for the type and the name of every part of an expression again for every part around it. A chain of a
//! thousand operators that nest would cost the third power of that; side by side, it costs what they are.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::error::Fault;
use crate::postgres::function::{Result, fault};

/// The function's name. Its first argument has a symbol for each operator.
pub const CHAIN: &str = "pg_chain";

/// The operators that may stand in a chain: the function of two operands, and the symbol.
pub const LINKS: [(&str, char); 6] = [
    ("pg_plus", '+'),
    ("pg_minus", '-'),
    ("pg_times", '*'),
    ("pg_over", '/'),
    ("pg_mod", '%'),
    ("pg_concat_op", '|'),
];

#[derive(Debug, Clone)]
struct Chain {
    links: Vec<(char, ScalarUDF)>,
    signature: Signature,
}

/// The function, over the operators among `functions`.
pub fn chain(functions: &[ScalarUDF]) -> ScalarUDF {
    let links = functions.iter().filter_map(|function| {
        let (_, symbol) = LINKS.iter().find(|(name, _)| *name == function.name())?;
        Some((*symbol, function.clone()))
    });
    ScalarUDF::from(Chain {
        links: links.collect(),
        signature: Signature::variadic_any(Volatility::Stable),
    })
}

// There is one such function.
impl PartialEq for Chain {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Chain {}

impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CHAIN.hash(state);
    }
}

impl Chain {
    /// The functions that the symbols stand for, one less than there are operands.
    fn functions(&self, symbols: Option<&str>, operands: usize) -> Result<Vec<&ScalarUDF>> {
        let function = |symbol: char| {
            let mut links = self.links.iter();
            links.find(|(known, _)| *known == symbol).map(|(_, f)| f)
        };
        let functions: Option<Vec<_>> = symbols.unwrap_or_default().chars().map(function).collect();
        match functions {
            Some(functions) if !functions.is_empty() && functions.len() + 1 == operands => {
                Ok(functions)
            }
            _ => fault(
                Fault::Semantic,
                "a chain needs an operator between two values",
            ),
        }
    }
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &str {
        CHAIN
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(
            "the type of a chain depends on its fields".to_owned(),
        ))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let symbols = match arguments.scalar_arguments.first() {
            Some(Some(ScalarValue::Utf8(Some(symbols)))) => Some(symbols.as_str()),
            _ => None,
        };
        let operands = arguments.arg_fields.get(1..).unwrap_or_default();
        let values = arguments.scalar_arguments.get(1..).unwrap_or_default();
        let functions = self.functions(symbols, operands.len())?;
        let mut so_far = Arc::clone(&operands[0]);
        for (at, function) in functions.into_iter().enumerate() {
            so_far = function.return_field_from_args(ReturnFieldArgs {
                arg_fields: &[so_far, Arc::clone(&operands[at + 1])],
                scalar_arguments: &[None, values.get(at + 1).copied().flatten()],
            })?;
        }
        Ok(so_far)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let symbols = match arguments.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(symbols)))) => Some(symbols.as_str()),
            _ => None,
        };
        let operands = arguments.args.get(1..).unwrap_or_default();
        let functions = self.functions(symbols, operands.len())?;
        let fields = arguments.arg_fields.get(1..).unwrap_or_default();
        let (mut value, mut field) = (operands[0].clone(), Arc::clone(&fields[0]));
        for (at, function) in functions.into_iter().enumerate() {
            let arg_fields = vec![field, Arc::clone(&fields[at + 1])];
            let return_field = function.return_field_from_args(ReturnFieldArgs {
                arg_fields: &arg_fields,
                scalar_arguments: &[None, None],
            })?;
            field = Arc::clone(&return_field);
            value = function.invoke_with_args(ScalarFunctionArgs {
                args: vec![value, operands[at + 1].clone()],
                arg_fields,
                number_rows: arguments.number_rows,
                return_field,
                config_options: Arc::clone(&arguments.config_options),
            })?;
        }
        Ok(value)
    }
}
