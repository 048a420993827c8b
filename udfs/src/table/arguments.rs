//! The arguments of a table function: the funnel first, then `name => value`.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Diagnostic, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::planner::RelationPlannerContext;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, Query, Spanned, TableFactor, UnaryOperator,
    Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use super::FunnelLookup;
use crate::definition::journeys::to_instant;
use crate::definition::model::Interval;
use crate::definition::resolve::{instant_type, parse_expression};
use crate::definition::text::{folded, written};
use crate::error::{FunnelError, Kind};

/// The arguments of one call, taken one by one; what is left over at the end is unknown.
pub struct Arguments<'a> {
    function: &'static str,
    call: Option<TableFactor>,
    positional: Vec<SqlExpr>,
    named: Vec<(String, SqlExpr)>,
    /// Where each named argument's value is.
    places: Vec<(String, Span)>,
    /// Where the argument is that was taken last: a fault is most likely there.
    place: Option<Span>,
    context: &'a mut dyn RelationPlannerContext,
    lookup: &'a dyn FunnelLookup,
}

/// A value that decides what columns a result has.
pub enum Text {
    /// It was written.
    Literal(String),
    /// It is a parameter's, so it may be another one the next time.
    Parameter(String),
}

impl<'a> Arguments<'a> {
    /// Sorts the arguments of a call of `function`, which has the named arguments `known`.
    ///
    /// # Errors
    /// 42883 for a name that isn't known, or is given twice.
    pub fn new(
        function: &'static str,
        known: &[&str],
        arguments: Vec<FunctionArg>,
        context: &'a mut dyn RelationPlannerContext,
        lookup: &'a dyn FunnelLookup,
    ) -> Result<Self> {
        let mut positional = Vec::new();
        let mut named: Vec<(String, SqlExpr)> = Vec::new();
        for argument in arguments {
            let place = argument.span();
            let (name, value) = split(function, argument)?;
            let Some(name) = name else {
                positional.push(value);
                continue;
            };
            if !known.contains(&name.as_str()) {
                let error = FunnelError::Unknown {
                    kind: Kind::Argument,
                    name,
                    place: format!(" in {function}()"),
                    existing: known.iter().map(|name| (*name).to_owned()).collect(),
                };
                return Err(located(error.into(), Some(place)));
            }
            if named.iter().any(|(other, _)| *other == name) {
                let hint = "Write it once.".to_owned();
                let error = FunnelError::Duplicate {
                    kind: Kind::Argument,
                    name,
                    hint,
                };
                return Err(located(error.into(), Some(place)));
            }
            named.push((name, value));
        }
        let places = named
            .iter()
            .map(|(name, value)| (name.clone(), value.span()))
            .collect();
        Ok(Self {
            function,
            call: None,
            positional,
            named,
            places,
            place: None,
            context,
            lookup,
        })
    }

    /// Says what the call looks like in its statement.
    pub fn written_as(&mut self, call: &TableFactor) {
        self.call = Some(call.clone());
    }

    /// Tells whoever asked what query the call stands for.
    pub fn record(&self, query: &Query) {
        if let Some(call) = &self.call {
            self.lookup.expanded(call, query);
        }
    }

    /// The first argument without a name, which stays.
    pub fn peek_positional(&self) -> Option<&SqlExpr> {
        self.positional.first()
    }

    /// Puts another argument in the place of the one without a name.
    pub fn replace_positional(&mut self, value: SqlExpr) {
        self.positional = vec![value];
    }

    /// The one argument without a name.
    ///
    /// # Errors
    /// 42883 when there is none or more than one.
    pub fn only_positional(&mut self) -> Result<SqlExpr> {
        match self.positional.len() {
            1 => {
                let first = self.positional.remove(0);
                self.place = Some(first.span());
                Ok(first)
            }
            given => Err(FunnelError::WrongCall {
                message: format!(
                    "{}() takes one argument without a name, the funnel; {given} are given",
                    self.function
                ),
                hint: format!("Write {}('sales', name => value).", self.function),
            }
            .into()),
        }
    }

    /// The text of a condition, which stays.
    ///
    /// # Errors
    /// As [`Arguments::text`].
    pub fn condition_text(&self, name: &str) -> Result<Option<String>> {
        match self.peek(name) {
            None => Ok(None),
            Some(value @ SqlExpr::Value(_)) => Ok(self.text(name, value)?.map(Text::into_string)),
            Some(value) => Ok(Some(written(value))),
        }
    }

    /// How many arguments without names there are.
    pub fn positional_count(&self) -> usize {
        self.positional.len()
    }

    /// The arguments without names, `N` of them.
    ///
    /// # Errors
    /// 42883 when there are more or less.
    pub fn positional<const N: usize>(
        &mut self,
        what: &str,
        example: &str,
    ) -> Result<[SqlExpr; N]> {
        let given = std::mem::take(&mut self.positional);
        let count = given.len();
        given.try_into().map_err(|_| {
            FunnelError::WrongCall {
                message: format!(
                    "{}() takes {N} arguments without a name, {what}; {count} are given",
                    self.function
                ),
                hint: format!("Write {}({example}).", self.function),
            }
            .into()
        })
    }

    /// Makes sure that there is no argument without a name.
    ///
    /// # Errors
    /// 42883 when there is one.
    pub fn no_positional(&mut self) -> Result<()> {
        self.positional::<0>("which it has none of", "").map(|_| ())
    }

    /// Whether the funnel is described by the arguments, over a query.
    pub fn is_over_query(&self) -> bool {
        matches!(self.positional.first(), Some(SqlExpr::Subquery(_)))
    }

    /// Says that what comes next is about the argument of that name, which was taken before.
    pub fn look_at(&mut self, name: &str) {
        let found = self.places.iter().find(|(given, _)| given == name);
        self.place = found.map(|(_, place)| *place);
    }

    /// The error at the argument that it is about, unless it says itself where it is.
    pub fn locate(&self, error: DataFusionError) -> DataFusionError {
        match FunnelError::find(&error).is_some() && error.diagnostic().is_none() {
            true => located(error, self.place),
            false => error,
        }
    }

    /// The argument of that name as it was written, which stays.
    pub fn peek(&self, name: &str) -> Option<&SqlExpr> {
        let found = self.named.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value)
    }

    /// Takes the argument of that name as it was written.
    pub fn take(&mut self, name: &str) -> Option<SqlExpr> {
        let at = self.named.iter().position(|(given, _)| given == name)?;
        self.look_at(name);
        Some(self.named.remove(at).1)
    }

    /// The session's time zone.
    pub fn time_zone(&self) -> String {
        let zone = &self
            .context
            .context_provider()
            .options()
            .execution
            .time_zone;
        zone.clone().unwrap_or_else(|| crate::UTC.to_owned())
    }

    /// The planner, for arguments that are queries.
    pub fn context(&mut self) -> &mut dyn RelationPlannerContext {
        self.context
    }

    /// What the statement may ask for.
    pub fn lookup(&self) -> &dyn FunnelLookup {
        self.lookup
    }

    /// A text: a literal, a name, or a parameter that is bound.
    ///
    /// # Errors
    /// 22023 for anything else, 42P18 for a parameter without a value.
    pub fn text(&self, name: &str, value: &SqlExpr) -> Result<Option<Text>> {
        if let Some(index) = parameter_index(value) {
            return match self.lookup.parameter(index) {
                Some(value) if value.is_null() => Ok(None),
                Some(value) => Ok(Some(Text::Parameter(value.to_string()))),
                None => {
                    let function = self.function.to_owned();
                    Err(FunnelError::UnboundParameter { function, index }.into())
                }
            };
        }
        match value {
            SqlExpr::Value(value) if matches!(value.value, Value::Null) => Ok(None),
            SqlExpr::Value(value) => match value.value.clone().into_string() {
                Some(text) => Ok(Some(Text::Literal(text))),
                None => Err(self.invalid(name, &value.to_string(), "a text")),
            },
            SqlExpr::Identifier(ident) => Ok(Some(Text::Literal(folded(ident)))),
            SqlExpr::Cast { expr, .. } => self.text(name, expr),
            // `INTERVAL '14 days'` is the text of a length.
            SqlExpr::Interval(interval) if interval.leading_field.is_none() => {
                self.text(name, &interval.value)
            }
            other => Err(self.invalid(name, &other.to_string(), "a text")),
        }
    }

    /// Takes a text argument; nothing where it isn't given or NULL.
    ///
    /// # Errors
    /// As [`Arguments::text`].
    pub fn take_text(&mut self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        Ok(self.text(name, &value)?.map(Text::into_string))
    }

    /// One of these words, in any case.
    ///
    /// # Errors
    /// 22023 for another one.
    pub fn take_choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(given) = self.take_text(name)? else {
            return Ok(None);
        };
        let word = given.to_lowercase();
        match choices.iter().find(|(choice, _)| *choice == word) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let words: Vec<String> = choices
                    .iter()
                    .map(|(choice, _)| format!("'{choice}'"))
                    .collect();
                Err(self.invalid(name, &format!("\"{given}\""), &words.join(" or ")))
            }
        }
    }

    /// Days, or a length such as `12 hours` or `2 weeks`, in days. A month has no fixed length.
    ///
    /// # Errors
    /// 22023 for what is none.
    pub fn take_days(&mut self, name: &str) -> Result<Option<f64>> {
        let Some(given) = self.take_texts(name)? else {
            return Ok(None);
        };
        match given.as_slice() {
            [] => Ok(None),
            [one] => match days(one) {
                Some(days) => Ok(Some(days)),
                None => Err(self.invalid(
                    name,
                    &format!("\"{one}\""),
                    "a positive number of days, such as 30, or a length such as '12 hours'",
                )),
            },
            _ => Err(self.invalid(name, "a list", "one number of days, such as 30")),
        }
    }

    /// Takes a list of names: `'a'`, `'a, b'`, `a` or `['a', 'b']`. Tells whether a parameter gave it.
    ///
    /// # Errors
    /// As [`Arguments::text`].
    pub fn take_names(&mut self, name: &str) -> Result<(Vec<String>, bool)> {
        let Some(value) = self.take(name) else {
            return Ok((Vec::new(), false));
        };
        let elements = match list(&value) {
            Some(elements) => elements,
            None => {
                return Ok(match self.text(name, &value)? {
                    Some(Text::Literal(text)) => (split_names(&text), false),
                    Some(Text::Parameter(text)) => (split_names(&text), true),
                    None => (Vec::new(), false),
                });
            }
        };
        let mut names = Vec::with_capacity(elements.len());
        let mut bound = false;
        for element in elements {
            match self.text(name, element)? {
                Some(Text::Literal(text)) => names.push(text),
                Some(Text::Parameter(text)) => {
                    names.push(text);
                    bound = true;
                }
                None => {}
            }
        }
        Ok((names, bound))
    }

    /// Takes a list of texts or numbers, as texts: `30`, `'30, 60'`, `[30, '36 hours']`; nothing where it isn't given.
    ///
    /// # Errors
    /// 22023 for anything else, 42P18 for a parameter without a value.
    pub fn take_texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let single = [&value];
        let elements = list(&value).unwrap_or_else(|| single.to_vec());
        let mut texts = Vec::new();
        for element in elements {
            match element {
                SqlExpr::Value(inner) if matches!(inner.value, Value::Number(..)) => {
                    texts.push(element.to_string());
                }
                SqlExpr::UnaryOp { .. } => texts.push(element.to_string()),
                other => {
                    let text = self.text(name, other)?.map(Text::into_string);
                    texts.extend(text.iter().flat_map(|text| split_names(text)));
                }
            }
        }
        Ok(Some(texts))
    }

    /// Arguments of another function, planned in the place of this one.
    ///
    /// # Errors
    /// As [`Arguments::new`].
    pub fn of(
        &mut self,
        function: &'static str,
        known: &[&str],
        arguments: Vec<FunctionArg>,
    ) -> Result<Arguments<'_>> {
        Arguments::new(function, known, arguments, self.context, self.lookup)
    }

    /// Takes a list of expressions or texts of them, as texts; a drill key has the list as a JSON array.
    ///
    /// # Errors
    /// As [`Arguments::text`].
    pub fn take_expressions(&mut self, name: &str) -> Result<Vec<String>> {
        let Some(value) = self.take(name) else {
            return Ok(Vec::new());
        };
        let single = [&value];
        let elements = list(&value).unwrap_or_else(|| single.to_vec());
        let mut texts = Vec::new();
        for element in elements {
            match element {
                SqlExpr::Value(_) => {
                    let text = self.text(name, element)?.map(Text::into_string);
                    let text = text.unwrap_or_default();
                    match serde_json::from_str::<Vec<String>>(&text) {
                        Ok(several) => texts.extend(several),
                        Err(_) => texts.extend((!text.is_empty()).then_some(text)),
                    }
                }
                other => texts.push(written(other)),
            }
        }
        Ok(texts)
    }

    /// Takes a list of positive whole numbers: `30` or `[30, 60]`.
    ///
    /// # Errors
    /// 22023 for anything else.
    pub fn take_numbers(&mut self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let single = [&value];
        let elements = list(&value).unwrap_or_else(|| single.to_vec());
        let numbers = elements
            .iter()
            .map(|element| self.number(name, element))
            .collect::<Result<Vec<i64>>>()?;
        match numbers.is_empty() || numbers.iter().any(|number| *number <= 0) {
            true => Err(self.invalid(
                name,
                &value.to_string(),
                "positive whole numbers, such as [30, 60, 90]",
            )),
            false => Ok(Some(numbers)),
        }
    }

    fn number(&self, name: &str, value: &SqlExpr) -> Result<i64> {
        let invalid = || self.invalid(name, &value.to_string(), "a whole number");
        match value {
            SqlExpr::UnaryOp {
                op: UnaryOperator::Minus,
                expr,
            } => Ok(-self.number(name, expr)?),
            SqlExpr::Value(inner) => match &inner.value {
                Value::Number(text, _) => text.parse().map_err(|_| invalid()),
                Value::Placeholder(_) => match self.text(name, value)? {
                    Some(text) => text.into_string().trim().parse().map_err(|_| invalid()),
                    None => Err(invalid()),
                },
                _ => Err(invalid()),
            },
            _ => Err(invalid()),
        }
    }

    /// Takes a positive number; nothing where it isn't given.
    ///
    /// # Errors
    /// 22023 for anything else.
    pub fn take_positive(&mut self, name: &str) -> Result<Option<f64>> {
        let Some(texts) = self.take_texts(name)? else {
            return Ok(None);
        };
        match texts.as_slice() {
            [] => Ok(None),
            [text] => match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
                _ => Err(self.invalid(name, text, "a positive number")),
            },
            several => Err(self.invalid(name, &several.join(", "), "one positive number")),
        }
    }

    /// Takes `true` or `false`; false where it isn't given.
    ///
    /// # Errors
    /// 22023 for anything else.
    pub fn take_bool(&mut self, name: &str) -> Result<bool> {
        let Some(value) = self.take(name) else {
            return Ok(false);
        };
        if let SqlExpr::Value(inner) = &value
            && let Value::Boolean(given) = inner.value
        {
            return Ok(given);
        }
        match self
            .text(name, &value)?
            .map(|text| text.into_string().to_lowercase())
        {
            Some(text) if ["true", "t", "on", "yes", "1"].contains(&text.as_str()) => Ok(true),
            Some(text) if ["false", "f", "off", "no", "0"].contains(&text.as_str()) => Ok(false),
            _ => Err(self.invalid(name, &value.to_string(), "true or false")),
        }
    }

    /// Takes an instant: a timestamp, a date or a text of one, in the session's time zone where it says
    /// none; or any expression without columns, such as `now() - interval '1 day'`.
    ///
    /// # Errors
    /// 42804 for a value of another type.
    pub fn take_instant(&mut self, name: &str) -> Result<Option<Expr>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        if matches!(&value, SqlExpr::Value(inner) if inner.value == Value::Null) {
            return Ok(None);
        }
        let schema = DFSchema::empty();
        let written = value.to_string();
        let expression = self.context.sql_to_expr(value, &schema)?;
        let zone = self.time_zone();
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.as_str().into()));
        let from_text = |expression| cast(cast(expression, zoned.clone()), instant_type());
        if matches!(expression, Expr::Placeholder(_)) {
            return Ok(Some(from_text(cast(expression, DataType::Utf8))));
        }
        match expression.get_type(&schema)? {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                check_instant(&expression, &zoned, name)?;
                Ok(Some(from_text(expression)))
            }
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
                Ok(Some(to_instant(&expression, &schema, &zone)?))
            }
            found => Err(FunnelError::WrongType {
                message: format!(
                    "{name} must be a date or timestamp, but {written} is of type {found}"
                ),
                hint: format!("Write {name} => '2026-01-01'."),
            }
            .into()),
        }
    }

    /// Takes a condition over `schema`: an expression, or a text of one.
    ///
    /// # Errors
    /// 42703 for an unknown column, 42804 for what is no condition, 42601 for a text that can't be read.
    pub fn take_condition(&mut self, name: &str, schema: &DFSchema) -> Result<Option<Expr>> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let value = match &value {
            SqlExpr::Value(_) => match self.text(name, &value)? {
                Some(text) => parse_expression(&text.into_string())?,
                None => return Ok(None),
            },
            _ => value,
        };
        let written = value.to_string();
        let condition = self.context.sql_to_expr(value, schema)?;
        match condition.get_type(schema)? {
            DataType::Boolean | DataType::Null => Ok(Some(condition)),
            found => Err(FunnelError::WrongType {
                message: format!("{name} must be a condition, but {written} is of type {found}"),
                hint: format!("Write a comparison: {name} => region = 'north'."),
            }
            .into()),
        }
    }

    /// An argument that can't be what it is.
    pub fn invalid(&self, name: &str, found: &str, wanted: &str) -> DataFusionError {
        FunnelError::InvalidArgument {
            message: format!("{name} of {}() can't be {found}", self.function),
            hint: format!("Write {wanted}."),
        }
        .into()
    }
}

impl Text {
    /// The text, wherever it came from.
    pub fn into_string(self) -> String {
        match self {
            Text::Literal(text) | Text::Parameter(text) => text,
        }
    }
}

/// The error with its place in the statement.
fn located(error: DataFusionError, place: Option<Span>) -> DataFusionError {
    match place.and_then(datafusion::common::Span::try_from_sqlparser_span) {
        Some(span) => {
            let diagnostic = Diagnostic::new_error(error.to_string(), Some(span));
            error.with_diagnostic(diagnostic)
        }
        None => error,
    }
}

fn split(function: &str, argument: FunctionArg) -> Result<(Option<String>, SqlExpr)> {
    let wrong = |what: &str| -> DataFusionError {
        FunnelError::WrongCall {
            message: format!("{function}() can't take {what}"),
            hint: "Write name => value.".to_owned(),
        }
        .into()
    };
    let (name, value) = match argument {
        FunctionArg::Unnamed(value) => (None, value),
        FunctionArg::Named { name, arg, .. } => (Some(folded(&name)), arg),
        FunctionArg::ExprNamed {
            name: SqlExpr::Identifier(name),
            arg,
            ..
        } => (Some(folded(&name)), arg),
        FunctionArg::ExprNamed { name, .. } => {
            return Err(wrong(&format!("an argument called {name}")));
        }
    };
    match value {
        FunctionArgExpr::Expr(value) => Ok((name, value)),
        other => Err(wrong(&other.to_string())),
    }
}

fn parameter_index(value: &SqlExpr) -> Option<usize> {
    match value {
        SqlExpr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse().ok(),
            _ => None,
        },
        SqlExpr::Cast { expr, .. } => parameter_index(expr),
        _ => None,
    }
}

fn list(value: &SqlExpr) -> Option<Vec<&SqlExpr>> {
    match value {
        SqlExpr::Array(array) => Some(array.elem.iter().collect()),
        _ => None,
    }
}

fn split_names(text: &str) -> Vec<String> {
    text.split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// A text that is no date is a fault of the call, found before anything runs.
fn check_instant(expression: &Expr, zoned: &DataType, name: &str) -> Result<()> {
    let Expr::Literal(value, _) = expression else {
        return Ok(());
    };
    if value.cast_to(zoned).is_ok() {
        return Ok(());
    }
    let text = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => text.clone(),
        other => other.to_string(),
    };
    Err(FunnelError::InvalidArgument {
        message: format!("{name} can't be \"{text}\": it is no date or timestamp"),
        hint: format!("Write {name} => '2026-01-01' or '2026-01-01 09:00:00+08'."),
    }
    .into())
}

/// The days of a number or of an interval without months.
pub fn days(text: &str) -> Option<f64> {
    if let Ok(days) = text.parse::<f64>() {
        return (days.is_finite() && days > 0.0).then_some(days);
    }
    let interval = Interval::parse(text).ok()?.value();
    let days = f64::from(interval.days) + interval.nanoseconds as f64 / 86_400e9;
    (interval.months == 0).then_some(days)
}
