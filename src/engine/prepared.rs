//! Statements that are prepared and run in SQL: `PREPARE`, `EXECUTE`, `DEALLOCATE`.

use std::sync::Arc;

use chrono::Utc;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::ExprSchemable;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast;
use datafusion_funnel::error::FunnelError;

use super::outcome::{Outcome, Prepared};
use super::session::Session;
use crate::error::{Error, Result};
use crate::sql::Statement;

/// A statement that a session has prepared, in SQL or by the protocol.
#[derive(Debug, Clone)]
pub struct NamedStatement {
    /// What was prepared.
    pub prepared: Arc<Prepared>,
    /// What the client said.
    pub text: String,
    /// When, in microseconds since 1970.
    pub prepared_us: i64,
    /// By `PREPARE`.
    pub from_sql: bool,
}

impl NamedStatement {
    fn new(prepared: Arc<Prepared>, text: String, from_sql: bool) -> Self {
        Self {
            prepared,
            text,
            prepared_us: Utc::now().timestamp_micros(),
            from_sql,
        }
    }
}

impl Session {
    pub(super) async fn prepare_named(
        &self,
        name: &str,
        types: &[ast::DataType],
        statement: Statement,
        text: String,
    ) -> Result<Outcome> {
        if self.info.statements().contains_key(name) {
            return Err(Error::DuplicateStatement(name.to_owned()));
        }
        let most = self.engine.max_prepared_statements();
        if self.info.statements().len() >= most {
            return Err(Error::too_many("prepared statements", most, "DEALLOCATE"));
        }
        let mut declared = Vec::with_capacity(types.len());
        for sql_type in types {
            declared.push(Some(self.type_of(sql_type)?));
        }
        let prepared = self.prepare(statement, &declared).await?;
        let named = NamedStatement::new(Arc::new(prepared), text, true);
        self.info.statements().insert(name.to_owned(), named);
        Ok(Outcome::done("PREPARE"))
    }

    /// A statement that was prepared by the protocol has its name in SQL too: `EXECUTE`, `EXPLAIN EXECUTE`, `DEALLOCATE`.
    ///
    /// # Errors
    /// 42P05 where there is one of that name.
    pub fn share_prepared(&self, name: &str, prepared: &Arc<Prepared>) -> Result<()> {
        let mut known = self.info.statements();
        if known.contains_key(name) {
            return Err(Error::DuplicateStatement(name.to_owned()));
        }
        let text = prepared.statement.text.clone();
        let named = NamedStatement::new(Arc::clone(prepared), text, false);
        known.insert(name.to_owned(), named);
        Ok(())
    }

    /// A statement that was prepared by the protocol is closed.
    pub fn forget_prepared(&self, name: &str) {
        self.info.statements().remove(name);
    }

    pub(super) async fn execute_named(&self, name: &str, values: &[ast::Expr]) -> Result<Outcome> {
        let prepared = self.prepared_with(name, values.len())?;
        let mut scalars = Vec::with_capacity(values.len());
        for (value, wanted) in values.iter().zip(&prepared.parameters) {
            let scalar = self.constant(value)?;
            scalars.push(scalar.cast_to(wanted.data_type())?);
        }
        Box::pin(self.execute(&prepared, scalars)).await
    }

    /// The statement of that name, which takes so many values.
    pub(super) fn prepared_with(&self, name: &str, given: usize) -> Result<Arc<Prepared>> {
        let prepared = self.prepared_named(name)?;
        let expected = prepared.parameters.len();
        match expected == given {
            true => Ok(prepared),
            false => Err(Error::ParameterCount {
                name: name.to_owned(),
                expected,
                given,
            }),
        }
    }

    /// The statement of that name, whoever prepared it.
    ///
    /// # Errors
    /// 26000 where there is none.
    pub fn prepared_named(&self, name: &str) -> Result<Arc<Prepared>> {
        let known = self.info.statements();
        let prepared = known.get(name).map(|named| Arc::clone(&named.prepared));
        prepared.ok_or_else(|| Error::UnknownStatement(name.to_owned()))
    }

    pub(super) fn deallocate(&self, name: Option<&str>) -> Result<Outcome> {
        let mut prepared = self.info.statements();
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
