//! Comparisons with a text that Postgres reads as the other side's type: `flag = 't'`, `polroles = '{0}'`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::casts;
use super::names_of_objects::Names;
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

    /// The text as what it stands beside; itself where DataFusion reads it so.
    fn read(&self, text: Expr, beside: &Expr, schema: &DFSchema) -> Result<Expr> {
        let Expr::Literal(ScalarValue::Utf8(Some(_)), _) = &text else {
            return Ok(text);
        };
        let field = beside.to_field(schema)?.1;
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

impl ExprPlanner for TextOperands {
    fn plan_binary_op(
        &self,
        expression: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        use BinaryOperator as O;
        if !matches!(
            expression.op,
            O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq
        ) {
            return Ok(PlannerResult::Original(expression));
        }
        let RawBinaryExpr { op, left, right } = expression;
        let left_read = self.read(left.clone(), &right, schema)?;
        let right_read = self.read(right, &left, schema)?;
        Ok(PlannerResult::Original(RawBinaryExpr {
            op,
            left: left_read,
            right: right_read,
        }))
    }
}
