//! How a function of Postgres is made: a name, the type of its answer, and what it does with arrays.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::config::ConfigOptions;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use thiserror::Error;

use super::names_of_objects::{Names, NoNames};
use super::style::{Locale, Style};
use super::{text, types};
use crate::engine::{Asker, SessionInfo};
use crate::error::Fault;

/// The result of everything that a function does.
pub type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// A fault in a function's arguments, with what its SQLSTATE comes from.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct ValueFault {
    /// The kind of fault.
    pub fault: Fault,
    /// What is wrong.
    pub message: String,
}

/// An error about a value.
pub fn fault<T>(fault: Fault, message: impl Into<String>) -> Result<T> {
    let message = message.into();
    Err(DataFusionError::External(Box::new(ValueFault {
        fault,
        message,
    })))
}

/// What a function is called with.
pub struct Call {
    /// The arguments, each as long as there are rows.
    pub arrays: Vec<ArrayRef>,
    /// Their fields.
    pub fields: Vec<FieldRef>,
    /// The number of rows.
    pub rows: usize,
    /// The field of the answer.
    pub returns: FieldRef,
    /// The settings of the session.
    pub options: Arc<ConfigOptions>,
}

impl Call {
    /// The texts of an argument; NULLs where it is left out.
    pub fn texts(&self, at: usize) -> Result<StringArray> {
        match (self.arrays.get(at), self.fields.get(at)) {
            (Some(values), Some(field)) => text::texts(values, field, &NoNames, Style::default()),
            _ => Ok(StringArray::new_null(self.rows)),
        }
    }

    /// The same as the session writes them.
    pub fn written(&self, at: usize) -> Result<StringArray> {
        match (self.arrays.get(at), self.fields.get(at)) {
            (Some(values), Some(field)) => text::texts(values, field, &NoNames, self.style()),
            _ => Ok(StringArray::new_null(self.rows)),
        }
    }

    /// The whole numbers of an argument; NULLs where it is left out.
    pub fn integers(&self, at: usize) -> Result<Int64Array> {
        match self.arrays.get(at) {
            Some(values) => Ok(cast(values, &DataType::Int64)?
                .as_primitive::<Int64Type>()
                .clone()),
            None => Ok(Int64Array::new_null(self.rows)),
        }
    }

    /// The session that asks.
    ///
    /// # Errors
    /// XX000 where a function is called for nobody.
    pub fn asker(&self) -> Result<&Arc<SessionInfo>> {
        Asker::of(&self.options).ok_or_else(|| {
            DataFusionError::Internal("a function of a session was called by none".to_owned())
        })
    }

    /// Whether there is an argument of that number, from 0.
    pub fn has(&self, at: usize) -> bool {
        at < self.arrays.len()
    }

    /// The session's time zone.
    pub fn zone(&self) -> &str {
        types::session_zone(&self.options)
    }

    /// The session's formats.
    pub fn style(&self) -> Style {
        Style::of_session(&self.options)
    }

    /// What the session reads texts by.
    pub fn locale(&self) -> Locale {
        Locale::of_session(&self.options)
    }

    /// An answer for each row, a text made of the texts of the first `count` arguments; NULL where one of
    /// them is.
    pub fn map_texts(
        &self,
        count: usize,
        answer: impl Fn(&[&str]) -> Result<Option<String>>,
    ) -> Result<ArrayRef> {
        let columns: Vec<StringArray> = (0..count)
            .map(|at| self.written(at))
            .collect::<Result<_>>()?;
        let mut row_texts = Vec::with_capacity(count);
        let mut answers = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            row_texts.clear();
            row_texts.extend(
                columns
                    .iter()
                    .filter(|column| column.is_valid(row))
                    .map(|column| column.value(row)),
            );
            answers.push(match row_texts.len() == count {
                true => answer(&row_texts)?,
                false => None,
            });
        }
        Ok(Arc::new(StringArray::from(answers)))
    }
}

/// The type of a function's answer.
#[derive(Clone, Copy)]
pub enum Returns {
    /// Always the same one.
    Type(&'static str),
    /// One that its arguments decide; the values are there where they are literals.
    Of(fn(&[FieldRef], &[Option<&ScalarValue>]) -> Result<Field>),
}

/// What a function does.
pub type Run = Arc<dyn Fn(&Call) -> Result<ArrayRef> + Send + Sync>;

/// A function of Postgres. It takes any arguments: what tells its overloads apart, it looks at itself.
#[derive(Clone)]
pub struct Function {
    name: String,
    /// Whether all of its arguments are numbers.
    of_numbers: bool,
    returns: Returns,
    run: Run,
    signature: Signature,
}

/// The function called `name`.
pub fn function(
    name: &str,
    returns: Returns,
    run: impl Fn(&Call) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    volatile_function(name, returns, Volatility::Stable, run)
}

/// The function called `name`, which may answer differently to the same arguments.
pub fn volatile_function(
    name: &str,
    returns: Returns,
    volatility: Volatility,
    run: impl Fn(&Call) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    made(name, returns, volatility, false, Arc::new(run))
}

/// The function called `name` whose arguments are numbers, or what has no type of its own.
pub fn function_of_numbers(
    name: &str,
    returns: Returns,
    run: impl Fn(&Call) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    made(name, returns, Volatility::Stable, true, Arc::new(run))
}

fn made(
    name: &str,
    returns: Returns,
    volatility: Volatility,
    of_numbers: bool,
    run: Run,
) -> ScalarUDF {
    let signature = Signature::one_of(
        vec![
            datafusion::logical_expr::TypeSignature::VariadicAny,
            datafusion::logical_expr::TypeSignature::Nullary,
        ],
        volatility,
    );
    ScalarUDF::from(Function {
        name: name.to_owned(),
        of_numbers,
        returns,
        run,
        signature,
    })
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// There is one function of a name.
impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal(format!(
            "the type of {} depends on its fields",
            self.name
        )))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        if self.of_numbers {
            let given = arguments.arg_fields.iter().zip(arguments.scalar_arguments);
            let mut given = given.map(|(field, literal)| is_number(field, *literal));
            if given.any(|is_number| !is_number) {
                let ReturnFieldArgs {
                    arg_fields,
                    scalar_arguments,
                } = arguments;
                let name = self.name.strip_prefix("pg_").unwrap_or(&self.name);
                return no_function(name, arg_fields, scalar_arguments);
            }
        }
        let field = match self.returns {
            Returns::Type(kind) => types::field(&self.name, kind),
            Returns::Of(of) => of(arguments.arg_fields, arguments.scalar_arguments)?,
        };
        Ok(Arc::new(field.with_name(&self.name).with_nullable(true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // One that answers differently each time does so for each row.
        let constant = self.signature.volatility != Volatility::Volatile
            && !arguments.args.is_empty()
            && arguments
                .args
                .iter()
                .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { arguments.number_rows };
        let zone = types::session_zone(&arguments.config_options);
        let arrays = arguments
            .args
            .iter()
            .map(|value| types::in_zone(&value.to_array(rows)?, zone))
            .collect::<Result<Vec<_>>>()?;
        let call = Call {
            arrays,
            fields: arguments.arg_fields,
            rows,
            returns: arguments.return_field,
            options: arguments.config_options,
        };
        let answer = (self.run)(&call)?;
        let answer = match answer.data_type() == call.returns.data_type() {
            true => answer,
            false => cast(&answer, call.returns.data_type())?,
        };
        match constant && answer.len() == 1 {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &answer, 0,
            )?)),
            false => Ok(ColumnarValue::Array(answer)),
        }
    }
}

/// Whether an argument is a number, or may be one: a text of the statement has no type of its own.
fn is_number(field: &Field, literal: Option<&ScalarValue>) -> bool {
    let kind = field.data_type();
    let is_literal = kind.is_string() && literal.is_some() && field.metadata().is_empty();
    kind.is_numeric() || kind.is_null() || is_literal
}

/// The error about a call with arguments of types that no function of that name takes.
pub fn no_function<T>(
    name: &str,
    fields: &[FieldRef],
    literals: &[Option<&ScalarValue>],
) -> Result<T> {
    let given = fields.iter().enumerate().map(|(at, field)| {
        let literal = literals.get(at).copied().flatten();
        match literal {
            Some(ScalarValue::Utf8(_)) if field.metadata().is_empty() => "unknown".to_owned(),
            // A number of the statement that fits is an integer.
            Some(ScalarValue::Int64(Some(number))) if i32::try_from(*number).is_ok() => {
                "integer".to_owned()
            }
            _ if field.data_type().is_null() => "unknown".to_owned(),
            _ => types::sql_name(&types::type_of(field), -1),
        }
    });
    let given: Vec<String> = given.collect();
    fault(
        Fault::UndefinedFunction,
        format!("function {name}({}) does not exist", given.join(", ")),
    )
}

/// The function that an expression calls, where it is one of ours.
pub fn of(function: &ScalarUDF) -> Option<&Function> {
    let inner: &dyn Any = function.inner().as_ref();
    inner.downcast_ref::<Function>()
}

/// The names of objects, for functions that don't need any.
pub fn no_names() -> Arc<dyn Names> {
    Arc::new(NoNames)
}
