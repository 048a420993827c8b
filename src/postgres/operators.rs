//! Operators whose operands' types or columns decide what they are.
//!
//! A comparison with a text that Postgres reads as the other side's type (`flag = 't'`, `polroles = '{0}'`), one of
//! intervals (a day is 24 hours), and a relation's row.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference, field_not_found};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::casts;
use super::functions::{interval_length, present_row, whole_row};
use super::names;
use super::names_of_objects::Names;
use super::rewrite::{ROW_IS_THERE, ROW_OPERATOR};
use super::types;

/// Plans them.
#[derive(Debug)]
pub struct TextOperands {
    casts: Vec<Arc<ScalarUDF>>,
}

impl TextOperands {
    /// With the casts that know `names`.
    pub fn new(names: &Arc<dyn Names>) -> Self {
        Self {
            casts: casts::all(names).into_iter().map(Arc::new).collect(),
        }
    }

    /// How long an interval is, as Postgres compares them.
    fn length(&self, interval: Expr) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(interval_length()),
            vec![interval],
        ))
    }

    /// The text as what it stands beside; itself where DataFusion reads it so.
    fn read(&self, text: Expr, beside: &Expr, schema: &DFSchema) -> Result<Expr> {
        let Expr::Literal(ScalarValue::Utf8(Some(_)), _) = &text else {
            return Ok(text);
        };
        // A column that there isn't is DataFusion's to refuse: it knows where it was written.
        let Ok((_, field)) = beside.to_field(schema) else {
            return Ok(text);
        };
        let kind = match field.data_type() {
            DataType::Boolean => "bool".to_owned(),
            DataType::List(_) => match types::type_of(&field).as_str() {
                "int2vector" => "_int2".to_owned(),
                "oidvector" => "_oid".to_owned(),
                kind => kind.to_owned(),
            },
            DataType::Interval(_) => "interval".to_owned(),
            // In the session's time zone, where the text names none.
            DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
            DataType::Int32 if types::type_of(&field).starts_with("reg") => types::type_of(&field),
            _ => return Ok(text),
        };
        Ok(self.cast(text, &kind))
    }

    /// A local time beside an instant is one of the session's time zone.
    fn as_instant(&self, value: Expr, own: Option<&DataType>, beside: Option<&DataType>) -> Expr {
        match (own, beside) {
            (
                Some(DataType::Date32 | DataType::Timestamp(_, None)),
                Some(DataType::Timestamp(_, Some(_))),
            ) => self.cast(value, "timestamptz"),
            _ => value,
        }
    }

    fn cast(&self, value: Expr, kind: &str) -> Expr {
        let name = format!("cast_as_{kind}");
        match self.casts.iter().find(|cast| cast.name() == name) {
            Some(cast) => {
                Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![value]))
            }
            None => value,
        }
    }
}

/// The type of an expression, where it can be an interval or a moment at a glance.
fn type_at_a_glance(expression: &Expr, schema: &DFSchema) -> Option<DataType> {
    match expression {
        Expr::Literal(value, _) => Some(value.data_type()),
        Expr::Column(_) | Expr::ScalarFunction(_) | Expr::Cast(_) => {
            expression.get_type(schema).ok()
        }
        _ => None,
    }
}

fn is_interval(kind: Option<&DataType>) -> bool {
    matches!(kind, Some(DataType::Interval(_)))
}

/// The row of a relation, or the column of its name, which goes before.
fn row(name: &Expr, there: &Expr, schema: &DFSchema) -> Result<Expr> {
    let name = match name {
        Expr::Literal(ScalarValue::Utf8(Some(name)), _) => name.as_str(),
        _ => "",
    };
    if let Some(column) = schema
        .qualified_fields_with_unqualified_name(name)
        .first()
        .map(|(relation, field)| Column::from((*relation, *field)))
    {
        return Ok(Expr::Column(column));
    }
    let columns: Vec<Expr> = schema
        .iter()
        .filter(|(relation, _)| relation.is_some_and(|relation| relation.table() == name))
        // The places and numbers of rows are no columns of theirs.
        .filter(|(_, field)| !field.name().starts_with('\u{1f}'))
        .flat_map(|(relation, field)| {
            // Its name stands beside each column: what the optimizer calls a column is its own affair.
            let shown = names::shown(field.name()).to_owned();
            [
                Expr::Literal(ScalarValue::Utf8(Some(shown)), None),
                Expr::Column(Column::from((relation, field))),
            ]
        })
        .collect();
    if columns.is_empty() {
        return Err(field_not_found(None::<TableReference>, name, schema));
    }
    let there =
        matches!(there, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text == ROW_IS_THERE);
    let function = if there { present_row() } else { whole_row() };
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(function),
        columns,
    )))
}

impl ExprPlanner for TextOperands {
    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as O;
        if matches!(&expression.op, O::Custom(operator) if operator == ROW_OPERATOR) {
            return row(&expression.left, &expression.right, schema).map(PlannerResult::Planned);
        }
        if !matches!(
            expression.op,
            O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq
        ) {
            return Ok(PlannerResult::Original(expression));
        }
        let RawBinaryExpr { op, left, right } = expression;
        let left_read = self.read(left.clone(), &right, schema)?;
        let right_read = self.read(right, &left, schema)?;
        let left_type = type_at_a_glance(&left_read, schema);
        let right_type = type_at_a_glance(&right_read, schema);
        let (left_read, right_read) =
            match is_interval(left_type.as_ref()) || is_interval(right_type.as_ref()) {
                true => (self.length(left_read), self.length(right_read)),
                false => (
                    self.as_instant(left_read, left_type.as_ref(), right_type.as_ref()),
                    self.as_instant(right_read, right_type.as_ref(), left_type.as_ref()),
                ),
            };
        Ok(PlannerResult::Original(RawBinaryExpr {
            op,
            left: left_read,
            right: right_read,
        }))
    }
}
