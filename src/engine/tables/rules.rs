//! What holds of every row of a table beside its types, ready to be computed: its generated columns, and the conditions of its
//! `CHECK` constraints.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr as EngineExpr, ExprSchemable, Volatility};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, Visit, VisitMut, Visitor, VisitorMut};
use datafusion_funnel::definition::text::{folded, identifier};

use super::target::{assigned, expression, fitted, typed, whole};
use crate::catalog::plan_expression;
use crate::engine::session::Session;
use crate::error::{ChangeFault, Error, Fault, Result};
use crate::postgres::types;
use crate::tables::{
    CheckDefinition, ColumnDefinition, Shape, TableDefinition, columns_of_expression, converted,
    row_text,
};

/// The rules of a table, as a session computes them.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Columns that are computed of others, by their places.
    computed: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    /// Conditions, with their constraints' names.
    checks: Vec<(String, Arc<dyn PhysicalExpr>)>,
}

impl Rules {
    /// Rows that are about to be in a table of this shape.
    ///
    /// # Errors
    /// 22001, 22003 and 23502 for values that their columns can't have, and those of [`Self::check`].
    pub fn rows(&self, shape: &Shape, columns: &[ArrayRef]) -> Result<RecordBatch> {
        let mut columns = typed(shape, columns)?;
        self.compute(shape, &mut columns, None)?;
        let rows = whole(shape, columns)?;
        self.check(shape, &rows)?;
        Ok(rows)
    }

    /// Computes columns of others; in the rows that are marked, where some are.
    ///
    /// # Errors
    /// Whatever goes wrong while one is computed.
    pub fn compute(
        &self,
        shape: &Shape,
        columns: &mut [ArrayRef],
        marked: Option<&BooleanArray>,
    ) -> Result<()> {
        if self.computed.is_empty() {
            return Ok(());
        }
        let fields = shape.schema.fields();
        // What is computed may not be there yet.
        let nullable = fields
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let given =
            RecordBatch::try_new(schema, columns.to_vec()).map_err(DataFusionError::from)?;
        for (at, expression) in &self.computed {
            let field = &fields[*at];
            let values = expression.evaluate(&given)?.into_array(given.num_rows())?;
            let values = fitted(&converted(&values, field.data_type())?, field)?;
            columns[*at] = match marked {
                None => values,
                Some(marked) => {
                    zip(marked, &values, &columns[*at]).map_err(DataFusionError::from)?
                }
            };
        }
        Ok(())
    }

    /// Refuses rows that a condition is false for.
    ///
    /// # Errors
    /// 23514, and whatever goes wrong while a condition is computed.
    pub fn check(&self, shape: &Shape, rows: &RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        for (name, condition) in &self.checks {
            let fulfilled = condition.evaluate(rows)?.into_array(rows.num_rows())?;
            let fulfilled = fulfilled.as_boolean_opt().ok_or_else(not_boolean)?;
            // NULL passes, as in Postgres.
            if let Some(row) = fulfilled.iter().position(|row| row == Some(false)) {
                let message = format!(
                    "new row for relation \"{}\" violates check constraint \"{name}\"",
                    shape.definition.name
                );
                let texts = row_text(shape, rows, row);
                return Err(ChangeFault::Check
                    .error(message)
                    .detail(format!("Failing row contains ({}).", texts.join(", ")))
                    .of_constraint(&shape.definition, name)
                    .into());
            }
        }
        Ok(())
    }
}

fn not_boolean() -> DataFusionError {
    DataFusionError::Internal("a check constraint is no condition".to_owned())
}

impl Session {
    /// The rules of a table of this shape.
    ///
    /// # Errors
    /// Whatever has become wrong with an expression since it was defined.
    pub(in crate::engine) fn rules(&self, shape: &Shape) -> Result<Arc<Rules>> {
        let mut checks: Vec<&CheckDefinition> = shape.definition.checks.iter().collect();
        // Postgres looks at them in the order of their names.
        checks.sort_by(|a, b| a.name.cmp(&b.name));
        let checks = checks.into_iter().map(|check| {
            let condition = self.row_expression(&shape.schema, &check.expression)?;
            Ok((check.name.clone(), condition))
        });
        let columns = shape.definition.columns.iter().enumerate();
        let computed = columns.filter_map(|(at, column)| {
            let text = column.generated.as_ref()?;
            let computed = expression(text).and_then(|value| {
                self.row_expression(&shape.schema, &assigned(value, column).to_string())
            });
            Some(computed.map(|computed| (at, computed)))
        });
        Ok(Arc::new(Rules {
            computed: computed.collect::<Result<_>>()?,
            checks: checks.collect::<Result<_>>()?,
        }))
    }

    /// An expression over the columns of one row, ready to be computed.
    fn row_expression(&self, schema: &SchemaRef, text: &str) -> Result<Arc<dyn PhysicalExpr>> {
        let state = self.context.state();
        let planned = plan_expression(&state, schema, text)?;
        let schema = DFSchema::try_from(schema.as_ref().clone())?;
        Ok(state.create_physical_expr(planned, &schema)?)
    }

    /// Looks at the condition of a constraint that is about to be made; it is kept in words of the table's columns alone.
    ///
    /// # Errors
    /// 42804 for one that is no condition, 0A000 and 42803 for subqueries and aggregates in it, 42703 for a column that
    /// there isn't.
    pub(super) fn checked_condition(
        &self,
        definition: &TableDefinition,
        condition: &Expr,
    ) -> Result<String> {
        let text = own_words(definition, condition).to_string();
        let (planned, schema) = self.planned_of_row(definition, &text, "check constraint")?;
        let kind = planned.get_type(&schema)?;
        match kind {
            DataType::Boolean | DataType::Null => Ok(text),
            kind => {
                let name = types::type_of(&Field::new("value", kind, true));
                let name = types::sql_name(&name, -1);
                Err(Error::Query {
                    fault: Fault::DatatypeMismatch,
                    message: format!("argument of CHECK must be type boolean, not type {name}"),
                    position: None,
                })
            }
        }
    }

    /// Looks at the expressions of columns that are computed; they are kept in words of the table's columns alone.
    ///
    /// # Errors
    /// 42P17 for one that names another such column or that isn't the same each time, and those of expressions.
    pub(super) fn check_generated(&self, definition: &mut TableDefinition) -> Result<()> {
        const PLACE: &str = "column generation expression";
        let columns = definition.columns.iter();
        let generated = columns.filter(|column| column.generated.is_some());
        let generated: Vec<String> = generated.map(|column| column.name.clone()).collect();
        for at in 0..definition.columns.len() {
            let column = &definition.columns[at];
            let Some(text) = &column.generated else {
                continue;
            };
            let text = own_words(definition, &expression(text)?).to_string();
            let named = columns_in(definition, &text);
            if let Some(other) = named.iter().find(|column| generated.contains(column)) {
                return Err(ChangeFault::Other("42P17")
                    .error(format!(
                        "cannot use generated column \"{other}\" in column generation expression"
                    ))
                    .detail("A generated column cannot reference another generated column.")
                    .into());
            }
            if definition.partitioned_by.contains(&column.name) {
                return Err(super::change::unsupported(
                    "a partition by a generated column",
                ));
            }
            let written = assigned(expression(&text)?, column).to_string();
            let (planned, _) = self.planned_of_row(definition, &written, PLACE)?;
            if changes_by_itself(&planned)? {
                return Err(ChangeFault::Other("42P17")
                    .error("generation expression is not immutable")
                    .hint("It may be made of the row's other columns alone.")
                    .into());
            }
            definition.columns[at].generated = Some(text);
        }
        Ok(())
    }

    /// An expression over one row of a table that is about to be made or changed.
    fn planned_of_row(
        &self,
        definition: &TableDefinition,
        text: &str,
        place: &str,
    ) -> Result<(EngineExpr, DFSchema)> {
        let parsed = expression(text)?;
        if parsed.visit(&mut FindQuery).is_break() {
            return Err(Error::Unsupported {
                message: format!("cannot use subquery in {place}"),
                hint: None,
            });
        }
        let fields = definition.columns.iter().map(ColumnDefinition::field);
        let schema = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let state = self.context.state();
        let planned = plan_expression(&state, &schema, text)
            .map_err(|error| self.explain_error(Error::from_engine(&error, text).at(None)))?;
        let mut wrong = None;
        planned.apply(|part| {
            wrong = match part {
                EngineExpr::AggregateFunction(_) => Some("aggregate"),
                EngineExpr::WindowFunction(_) => Some("window"),
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            Ok(TreeNodeRecursion::Stop)
        })?;
        if let Some(kind) = wrong {
            return Err(Error::Query {
                fault: Fault::Grouping,
                message: format!("{kind} functions are not allowed in {place}s"),
                position: None,
            });
        }
        let schema = DFSchema::try_from(schema.as_ref().clone())?;
        // What can't be computed isn't found by the first row only.
        state.create_physical_expr(planned.clone(), &schema)?;
        Ok((planned, schema))
    }
}

/// Functions whose answer depends on who asks, and when. The other ones of ours call themselves stable as well: their
/// texts follow the session's settings.
const OF_THE_MOMENT: [&str; 16] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "today",
    "transaction_timestamp",
    "statement_timestamp",
    "clock_timestamp",
    "timeofday",
    "current_user",
    "session_user",
    "current_role",
    "user",
    "current_setting",
];

/// Whether an expression isn't the same each time.
fn changes_by_itself(planned: &EngineExpr) -> Result<bool> {
    Ok(planned.exists(|part| {
        Ok(match part {
            EngineExpr::ScalarFunction(call) => {
                let function = &call.func;
                function.signature().volatility == Volatility::Volatile
                    || OF_THE_MOMENT.contains(&function.name())
            }
            _ => false,
        })
    })?)
}

/// Finds whether there is a query in something.
pub struct FindQuery;

impl Visitor for FindQuery {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// An expression without the table's name before its columns: the table may be called otherwise one day.
pub fn own_words(definition: &TableDefinition, written: &Expr) -> Expr {
    struct Shorten<'a>(&'a TableDefinition);
    impl VisitorMut for Shorten<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expression
                && let [.., table, column] = parts.as_slice()
                && folded(table) == self.0.name
                && self
                    .0
                    .columns
                    .iter()
                    .any(|known| known.name == folded(column))
            {
                *expression = Expr::Identifier(column.clone());
            }
            ControlFlow::Continue(())
        }
    }
    let mut written = written.clone();
    let _ = VisitMut::visit(&mut written, &mut Shorten(definition));
    written
}

/// The columns of a table that an expression in its own words names, in the table's order.
pub fn columns_in(definition: &TableDefinition, text: &str) -> Vec<String> {
    let named = columns_of_expression(text);
    let columns = definition.columns.iter().map(|column| &column.name);
    columns
        .filter(|column| named.contains(column))
        .cloned()
        .collect()
}

/// An expression in a table's own words with another name for a column.
pub fn with_renamed(text: &str, from: &str, to: &str) -> String {
    struct Rename<'a>(&'a str, Ident);
    impl VisitorMut for Rename<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(name) = expression
                && folded(name) == self.0
            {
                *name = self.1.clone();
            }
            ControlFlow::Continue(())
        }
    }
    let Ok(mut parsed) = expression(text) else {
        return text.to_owned();
    };
    let written = identifier(to);
    let to = match written.starts_with('"') {
        true => Ident::with_quote('"', to),
        false => Ident::new(to),
    };
    let _ = VisitMut::visit(&mut parsed, &mut Rename(from, to));
    parsed.to_string()
}
