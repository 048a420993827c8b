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
use super::functions::{interval_length, whole_row};
use super::names_of_objects::Names;
use super::rewrite::ROW_OPERATOR;
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
            DataType::Int32 if types::type_of(&field).starts_with("reg") => types::type_of(&field),
            _ => return Ok(text),
        };
        let name = format!("cast_as_{kind}");
        Ok(match self.casts.iter().find(|cast| cast.name() == name) {
            Some(cast) => {
                Expr::ScalarFunction(ScalarFunction::new_udf(Arc::clone(cast), vec![text]))
            }
            None => text,
        })
    }
}

/// Whether an expression is an interval. Only what can be one at a glance is asked for its type.
fn is_interval(expression: &Expr, schema: &DFSchema) -> bool {
    let asked = match expression {
        Expr::Literal(value, _) => return matches!(value.data_type(), DataType::Interval(_)),
        Expr::Column(_) | Expr::ScalarFunction(_) | Expr::Cast(_) => expression,
        _ => return false,
    };
    asked
        .get_type(schema)
        .is_ok_and(|kind| matches!(kind, DataType::Interval(_)))
}

/// The row of a relation, or the column of its name, which goes before.
fn row(name: &Expr, schema: &DFSchema) -> Result<Expr> {
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
        .map(|(relation, field)| Expr::Column(Column::from((relation, field))))
        .collect();
    if columns.is_empty() {
        return Err(field_not_found(None::<TableReference>, name, schema));
    }
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(whole_row()),
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
            return row(&expression.left, schema).map(PlannerResult::Planned);
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
        let (left_read, right_read) =
            match is_interval(&left_read, schema) || is_interval(&right_read, schema) {
                true => (self.length(left_read), self.length(right_read)),
                false => (left_read, right_read),
            };
        Ok(PlannerResult::Original(RawBinaryExpr {
            op,
            left: left_read,
            right: right_read,
        }))
    }
}
