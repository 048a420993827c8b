//! Statements that are prepared and run in SQL: `PREPARE`, `EXECUTE`, `DEALLOCATE`.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::ExprSchemable;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast;
use datafusion_funnel::error::FunnelError;

use super::outcome::{Outcome, Prepared};
use super::session::{Session, lock};
use crate::error::{Error, Result};
use crate::sql::Statement;

impl Session {
    pub(super) async fn prepare_named(
        &self,
        name: &str,
        types: &[ast::DataType],
        statement: Statement,
    ) -> Result<Outcome> {
        if lock(&self.prepared).contains_key(name) {
            return Err(Error::DuplicateStatement(name.to_owned()));
        }
        let most = self.engine.max_prepared_statements();
        if lock(&self.prepared).len() >= most {
            return Err(Error::too_many("prepared statements", most, "DEALLOCATE"));
        }
        let mut declared = Vec::with_capacity(types.len());
        for sql_type in types {
            declared.push(Some(self.type_of(sql_type)?));
        }
        let prepared = self.prepare(statement, &declared).await?;
        lock(&self.prepared).insert(name.to_owned(), Arc::new(prepared));
        Ok(Outcome::done("PREPARE"))
    }

    pub(super) async fn execute_named(&self, name: &str, values: &[ast::Expr]) -> Result<Outcome> {
        let prepared = self.prepared_named(name)?;
        let expected = prepared.parameter_types.len();
        if expected != values.len() {
            let name = name.to_owned();
            return Err(Error::ParameterCount {
                name,
                expected,
                given: values.len(),
            });
        }
        let mut scalars = Vec::with_capacity(values.len());
        for (value, wanted) in values.iter().zip(&prepared.parameter_types) {
            let scalar = self.constant(value)?;
            scalars.push(scalar.cast_to(wanted)?);
        }
        Box::pin(self.execute(&prepared, scalars)).await
    }

    pub(super) fn prepared_named(&self, name: &str) -> Result<Arc<Prepared>> {
        let prepared = lock(&self.prepared).get(name).map(Arc::clone);
        prepared.ok_or_else(|| Error::UnknownStatement(name.to_owned()))
    }

    pub(super) fn deallocate(&self, name: Option<&str>) -> Result<Outcome> {
        let mut prepared = lock(&self.prepared);
        match name {
            None => {
                prepared.clear();
                Ok(Outcome::done("DEALLOCATE ALL"))
            }
            Some(name) => match prepared.remove(name) {
                Some(_) => Ok(Outcome::done("DEALLOCATE")),
                None => Err(Error::UnknownStatement(name.to_owned())),
            },
        }
    }

    /// The value of an expression without columns.
    fn constant(&self, expression: &ast::Expr) -> Result<ScalarValue> {
        let state = self.context.state();
        let schema = Arc::new(DFSchema::empty());
        let planned = state.create_logical_expr(&expression.to_string(), &schema)?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(&schema))
            .build();
        match ExprSimplifier::new(context).simplify(planned)? {
            Expr::Literal(value, _) => Ok(value),
            other => Err(Error::from(FunnelError::InvalidArgument {
                message: format!("a parameter must be a constant, not {other}"),
                hint: "Write a literal.".to_owned(),
            })),
        }
    }

    fn type_of(&self, sql_type: &ast::DataType) -> Result<DataType> {
        let state = self.context.state();
        let text = format!("CAST(NULL AS {sql_type})");
        let schema = DFSchema::empty();
        let expression = state.create_logical_expr(&text, &schema)?;
        Ok(expression.get_type(&schema)?)
    }
}
