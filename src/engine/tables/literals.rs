//! Rows of `VALUES` that are written out: they are read as COPY reads its fields, without planning a query for them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr, UnaryOperator, Value};

use super::change::{check_width, is_default};
use super::insert::{check_assigned, own_family};
use super::target::{Target, expression, fitted};
use crate::engine::parameters;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::postgres::casts::from_texts;
use crate::postgres::style::Locale;
use crate::postgres::types;

/// A value that is written out.
enum Cell {
    Null,
    Text(String),
    /// A number with a fraction or exponent, which an integer's column rounds.
    Fraction(String),
    Bound(ScalarValue),
    /// What the column is where nothing is given.
    Default,
}

fn cell(value: &Expr, bound: &[ScalarValue]) -> Option<Cell> {
    Some(match value {
        Expr::Value(value) => match &value.value {
            Value::Null => Cell::Null,
            Value::Number(digits, _) => number(digits.clone()),
            Value::Boolean(truth) => Cell::Text(truth.to_string()),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Cell::Text(text.clone())
            }
            Value::DollarQuotedString(quoted) => Cell::Text(quoted.value.clone()),
            Value::Placeholder(name) => {
                let at = parameters::number(name)?;
                let value = bound.get(at.checked_sub(1)?)?;
                match value {
                    value if value.is_null() => Cell::Null,
                    ScalarValue::Utf8(Some(text))
                    | ScalarValue::LargeUtf8(Some(text))
                    | ScalarValue::Utf8View(Some(text)) => Cell::Text(text.clone()),
                    value => Cell::Bound(value.clone()),
                }
            }
            _ => return None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => number(format!("-{digits}")),
                _ => return None,
            },
            _ => return None,
        },
        value if is_default(value) => Cell::Default,
        _ => return None,
    })
}

/// What a written number or truth value is, and its type: no other column takes it.
fn written_kind(value: &Expr) -> Option<(&'static str, DataType)> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::Boolean(_) => Some(("truth value", DataType::Boolean)),
            Value::Number(digits, _) if digits.parse::<i32>().is_ok() => {
                Some(("number", DataType::Int32))
            }
            Value::Number(digits, _) if digits.parse::<i64>().is_ok() => {
                Some(("number", DataType::Int64))
            }
            Value::Number(..) => Some(("number", DataType::Decimal128(38, 0))),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => written_kind(expr).filter(|(family, _)| *family == "number"),
        _ => None,
    }
}

fn number(digits: String) -> Cell {
    match digits.contains(['.', 'e', 'E']) {
        true => Cell::Fraction(digits),
        false => Cell::Text(digits),
    }
}

impl Session {
    /// The rows of written values for the columns at `places`; nothing where a value has to be computed.
    ///
    /// # Errors
    /// 22P02 and its kin for a value that isn't its column's, 23502 for NULL where none may be, 42601 for a row of another
    /// length.
    pub(super) fn literal_rows(
        &self,
        target: &Target,
        places: &[usize],
        values: &ast::Values,
        bound: &[ScalarValue],
    ) -> Result<Option<RecordBatch>> {
        let locale = self.locale();
        let count = values.rows.len();
        let mut columns: Vec<Vec<Cell>> =
            places.iter().map(|_| Vec::with_capacity(count)).collect();
        let own = |at: &usize| own_family(&types::type_of(target.shape.schema.field(*at)));
        let families: Vec<Option<&str>> = places.iter().map(own).collect();
        for row in &values.rows {
            check_width(row.content.len(), places.len())?;
            for (at, (column, value)) in columns.iter_mut().zip(&row.content).enumerate() {
                if let (Some(own), Some((given, kind))) = (families[at], written_kind(value))
                    && given != own
                {
                    let value = Field::new("value", kind, true);
                    check_assigned(&value, target.shape.schema.field(places[at]))?;
                }
                match cell(value, bound) {
                    Some(cell) => column.push(cell),
                    None => return Ok(None),
                }
            }
        }
        let fields = target.shape.schema.fields();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(fields.len());
        let mut numbered = Vec::new();
        for (at, field) in fields.iter().enumerate() {
            let given = places.iter().position(|place| *place == at);
            let given = given
                .and_then(|given| columns.get_mut(given))
                .map(std::mem::take);
            let cells = given.unwrap_or_else(|| (0..count).map(|_| Cell::Default).collect());
            let defaults = cells.iter().filter(|cell| matches!(cell, Cell::Default));
            let defaults = defaults.count();
            if let Some(sequence) = target.column(at).sequence().filter(|_| defaults > 0) {
                // Its numbers are taken once it is known that nothing has to be computed.
                numbered.push((at, sequence, cells, defaults));
                arrays.push(new_null_array(field.data_type(), count));
                continue;
            }
            match array(target, at, field, cells, &locale)? {
                Some(array) => arrays.push(array),
                None => return Ok(None),
            }
        }
        if numbered
            .iter()
            .any(|(_, _, cells, _)| cells.iter().any(|cell| matches!(cell, Cell::Bound(_))))
        {
            return Ok(None);
        }
        for (at, sequence, mut cells, defaults) in numbered {
            let mut numbers = self.next_numbers(&sequence, defaults)?.into_iter();
            for cell in &mut cells {
                if matches!(cell, Cell::Default)
                    && let Some(number) = numbers.next()
                {
                    *cell = Cell::Text(number.to_string());
                }
            }
            match array(target, at, &fields[at], cells, &locale)? {
                Some(array) => arrays[at] = array,
                None => return Ok(None),
            }
        }
        target.rows(&arrays).map(Some)
    }
}

fn array(
    target: &Target,
    at: usize,
    field: &Field,
    cells: Vec<Cell>,
    locale: &Locale,
) -> Result<Option<ArrayRef>> {
    let integer = field.data_type().is_integer();
    let mut texts: Vec<Option<String>> = Vec::with_capacity(cells.len());
    let mut bound: Vec<ScalarValue> = Vec::new();
    for cell in cells {
        let cell = match cell {
            Cell::Default => match written_default(target, at)? {
                Some(cell) => cell,
                None => return Ok(None),
            },
            cell => cell,
        };
        match cell {
            Cell::Text(text) => texts.push(Some(text)),
            Cell::Fraction(_) if integer => return Ok(None),
            Cell::Fraction(text) => texts.push(Some(text)),
            Cell::Bound(value) => match fitting(value, field.data_type()) {
                Some(value) => bound.push(value),
                None => return Ok(None),
            },
            Cell::Null | Cell::Default => {
                texts.push(None);
                bound.push(ScalarValue::try_from(field.data_type())?);
            }
        }
    }
    // NULL is among both.
    let has_texts = texts.iter().any(Option::is_some);
    let has_bound = bound.iter().any(|value| !value.is_null());
    match (has_texts, has_bound) {
        (true, true) => Ok(None),
        (false, true) => Ok(Some(ScalarValue::iter_to_array(bound)?)),
        _ => read(&texts, field, locale).map(Some),
    }
}

/// A parameter's value as a column's, where nothing has to be rounded: drivers send small integers as such.
fn fitting(value: ScalarValue, kind: &DataType) -> Option<ScalarValue> {
    let given = value.data_type();
    let widens = given.is_integer() && (kind.is_integer() || kind.is_numeric());
    match given == *kind {
        true => Some(value),
        false if widens => value.cast_to(kind).ok().filter(|value| !value.is_null()),
        false => None,
    }
}

/// Texts as values of a column.
fn read(texts: &[Option<String>], field: &Field, locale: &Locale) -> Result<ArrayRef> {
    let texts: StringArray = texts.iter().map(Option::as_deref).collect();
    read_texts(&texts, field, locale)
}

/// Texts as values of a column, as they are assigned to it.
///
/// # Errors
/// 22P02 and its kin, 22001 for a text that is too long.
pub fn read_texts(texts: &StringArray, field: &Field, locale: &Locale) -> Result<ArrayRef> {
    let kind = types::type_of(field);
    if kind == "text" || kind == "varchar" || kind == "bpchar" {
        let texts: ArrayRef = Arc::new(texts.clone());
        return fitted(&texts, field);
    }
    from_texts(texts, field, locale).map_err(Error::from)
}

/// A default that is written out; nothing for one that has to be computed.
fn written_default(target: &Target, at: usize) -> Result<Option<Cell>> {
    match &target.column(at).default {
        None => Ok(Some(Cell::Null)),
        Some(text) => {
            Ok(cell(&expression(text)?, &[]).filter(|cell| !matches!(cell, Cell::Default)))
        }
    }
}
